//! What can be read off the files of `deploy/`: rules, dashboards and runbooks name metrics that
//! there are, every alert says what to do and is tested both ways, and runbooks name commands that
//! there are.
#![expect(clippy::string_slice, reason = "it cuts where it has found something")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bursar::observe::catalogue::{CATALOGUE, MetricKind};

use crate::dashboards::deploy;
use crate::support::{bursar, run};

/// Labels that Prometheus and the format itself add.
const COMMON_LABELS: [&str; 3] = ["job", "instance", "le"];
const SEVERITIES: [&str; 2] = ["page", "ticket"];

/// Files of a folder of `deploy/`: name without extension, and text.
fn files(folder: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(deploy().join(folder)).unwrap();
    let read = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    entries.map(|entry| read(&entry.unwrap().path())).collect()
}

fn rules() -> String {
    fs::read_to_string(deploy().join("prometheus/bursar.rules.yml")).unwrap()
}

/// Every series that a text names: the metric or recorded series, and the labels in braces.
fn series(text: &str) -> Vec<(&str, Vec<&str>)> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (start, _) in text.match_indices("bursar") {
        let name = &text[start..];
        let name = &name[..name.find(|c| !is_part(c)).unwrap_or(name.len())];
        let before = text[..start].chars().next_back();
        let begins = before.is_none_or(|c| !is_part(c) && !c.is_ascii_alphanumeric());
        if begins && name.len() > "bursar_".len() {
            let rest = &text[start + name.len()..];
            let inside = rest.strip_prefix('{').and_then(|rest| Some(rest.split_once('}')?.0));
            found.push((name, labels_of(inside.unwrap_or_default())));
        }
    }
    found
}

/// The label names of `a="x", b=~"y"`; no value has a comma.
fn labels_of(inside: &str) -> Vec<&str> {
    let names = inside.split(',').filter_map(|matcher| matcher.split(['=', '!']).next());
    names.map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// What is wrong with the series that a text names.
fn unknown(text: &str, recorded: &BTreeSet<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, labels) in series(text) {
        let metric = CATALOGUE.iter().find(|metric| {
            let part = name.strip_prefix(metric.name);
            let histogram = metric.kind == MetricKind::Histogram;
            part == Some("")
                || histogram && part.is_some_and(|it| ["_bucket", "_sum", "_count"].contains(&it))
        });
        match metric {
            None if recorded.contains(name) => {}
            None => wrong.push(format!("there is no {name}")),
            Some(metric) => wrong.extend(
                labels
                    .iter()
                    .filter(|label| !metric.labels.contains(label))
                    .filter(|label| !COMMON_LABELS.contains(label))
                    .map(|label| format!("{name} has no label {label}")),
            ),
        }
    }
    wrong
}

/// What follows a key at the beginning of a line, list or not.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let start = format!("{key}: ");
    let line = |line: &'a str| line.trim_start().trim_start_matches("- ").strip_prefix(&start);
    text.lines().filter_map(line).map(str::trim).collect()
}

#[test]
fn rules_dashboards_and_runbooks_name_metrics_that_there_are() {
    let rules = rules();
    let recorded: BTreeSet<&str> = values(&rules, "record").into_iter().collect();
    let mut shown = String::new();
    for folder in ["prometheus", "grafana/dashboards", "runbooks"] {
        for (name, text) in files(folder) {
            let wrong = unknown(&text, &recorded);
            assert!(wrong.is_empty(), "{folder}/{name}: {wrong:?}");
            shown += &text;
        }
    }
    let shown: BTreeSet<&str> = series(&shown).into_iter().map(|(name, _)| name).collect();
    for metric in CATALOGUE {
        let is_shown = shown.iter().any(|name| name.starts_with(metric.name));
        assert!(is_shown, "{} is on no dashboard and in no rule", metric.name);
    }
}

#[test]
fn a_broken_name_or_label_is_found() {
    let recorded = BTreeSet::from(["bursar:ratio"]);
    let wrong = |text| unknown(text, &recorded);
    for fine in [
        "rate(bursar_messages_total[5m]) > bursar:ratio",
        r#"sum(bursar_alarms_open{severity="page", job="bursar"})"#,
        r#""expr": "bursar_budget_used_usd{scope=\"$scope\"}""#,
        "bursar_batch_seconds_bucket",
        "bursar restore --all, deploy/bursar.toml, BursarDown",
    ] {
        assert_eq!(wrong(fine), [""; 0], "{fine}");
    }
    assert_eq!(wrong("bursar_mesages_total > 1"), ["there is no bursar_mesages_total"]);
    assert_eq!(wrong("bursar:ration"), ["there is no bursar:ration"]);
    assert_eq!(wrong("bursar_messages_total_bucket").len(), 1);
    let label = r#"bursar_alarms_open{colour!="red"}"#;
    assert_eq!(wrong(label), ["bursar_alarms_open has no label colour"]);
}

#[test]
fn every_alert_has_a_severity_a_sentence_and_a_runbook() {
    let rules = rules();
    let runbooks = files("runbooks");
    let mut alerts = rules.split("- alert: ");
    alerts.next();
    let mut seen = BTreeSet::new();
    for alert in alerts {
        let name = alert.lines().next().unwrap().trim();
        let severity = values(alert, "severity");
        assert!(severity.len() == 1 && SEVERITIES.contains(&severity[0]), "{name}");
        assert_eq!(values(alert, "summary").len(), 1, "{name}");
        let page = format!("deploy/runbooks/{name}.md");
        assert_eq!(values(alert, "runbook_url"), [page.as_str()], "{name}");
        let text = runbooks.get(name).unwrap_or_else(|| panic!("{page} is missing"));
        assert!(text.starts_with(&format!("# {name}\n")), "{page}");
        let parts = ["What it means", "What to look at", "What to do", "How to silence it"];
        for part in parts {
            assert!(text.contains(&format!("\n## {part}\n")), "{page}: {part}");
        }
        assert!(text.contains(&format!("alertname={name}")), "{page}");
        seen.insert(name);
    }
    let pages: BTreeSet<&str> = runbooks.keys().map(String::as_str).collect();
    assert_eq!(pages, seen, "runbooks without an alert");
}

#[test]
fn every_alert_is_tested_both_ways() {
    let tests = fs::read_to_string(deploy().join("prometheus/bursar.test.yml")).unwrap();
    let mut cases: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    for case in tests.split("- alertname: ").skip(1) {
        let fires = !case.contains("exp_alerts: []");
        assert!(!fires || case.contains("exp_labels"), "{case}");
        cases.entry(case.lines().next().unwrap()).or_default().insert(fires);
    }
    let rules = rules();
    let alerts: BTreeSet<&str> = values(&rules, "alert").into_iter().collect();
    assert_eq!(cases.keys().copied().collect::<BTreeSet<_>>(), alerts);
    for (name, ways) in cases {
        assert_eq!(ways.len(), 2, "{name} is tested one way only: fires {ways:?}");
    }
}

#[test]
fn runbooks_name_commands_that_there_are() {
    let mut commands = BTreeSet::new();
    for text in files("runbooks").values() {
        for (at, _) in text.match_indices("bursar ") {
            // In a code block or in a code span.
            if text[..at].ends_with("$ ") || text[..at].ends_with('`') {
                let words = text[at..].split_whitespace().skip(1);
                let word = words.take(1).map(|word| word.trim_end_matches('`'));
                commands.extend(word.map(str::to_owned));
            }
        }
    }
    assert!(commands.len() >= 6, "{commands:?}");
    // These act on the cloud, and are there where its libraries are.
    let cloud = ["restrictions", "restore", "stop-actions"];
    for command in commands {
        if cfg!(feature = "aws") || !cloud.contains(&command.as_str()) {
            run(&mut bursar([command.as_str(), "--help"])).succeeded();
        }
    }
}

/// Every source of a test, and of code with tests in it.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            *text += &fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_line_of_the_threat_model_names_a_test_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    ["src", "tests"].iter().for_each(|folder| sources(&root.join(folder), &mut tests));
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        let name = last.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or(row);
        let defined = format!("fn {name}(");
        let at = tests.find(&defined).unwrap_or_else(|| panic!("there is no test {name}"));
        let before = tests[..at].trim_end().lines().next_back().unwrap_or_default();
        let is_test = before.contains("#[test]") || before.trim_start().starts_with('#');
        assert!(is_test || defined_in_proptest(&tests[..at]), "{name} is no test");
    }
}

/// Inside the macro, the attribute may stand above comments and arguments.
fn defined_in_proptest(before: &str) -> bool {
    before.rfind("#[test]").is_some_and(|at| !before[at..].contains("\n}"))
}

#[test]
fn what_compose_and_kustomize_name_is_there() {
    let read = |name: &str| fs::read_to_string(deploy().join(name)).unwrap();
    let compose = read("compose.yaml");
    let mounts = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./"));
    let mounts: Vec<&str> = mounts.filter_map(|mount| mount.split(':').next()).collect();
    assert!(mounts.len() >= 5, "{mounts:?}");
    for mount in mounts {
        assert!(deploy().join(mount).exists(), "compose.yaml mounts {mount}");
    }
    // The data source that Grafana is given is the one that compose starts.
    let source = read("grafana/provisioning/datasources/bursar.yml");
    assert!(source.contains("url: http://127.0.0.1:9090\n"));
    assert!(compose.contains("127.0.0.1:9090:9090"));
    let folder = "/var/lib/grafana/dashboards";
    let provider = read("grafana/provisioning/dashboards/bursar.yml");
    assert!(provider.contains(&format!("path: {folder}\n")));
    assert!(compose.contains(&format!("./grafana/dashboards:{folder}:ro")));
    // The user is the image's.
    assert!(read("container/Dockerfile").contains("\nUSER 10001:10001\n"));
    let pod = read("kubernetes/deployment.yaml");
    assert_eq!(
        (values(&pod, "runAsUser"), values(&pod, "fsGroup")),
        (vec!["10001"], vec!["10001"])
    );
}

#[test]
fn the_stack_allows_what_the_policy_does() {
    let policy = fs::read_to_string(deploy().join("iam/lambda.json")).unwrap();
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    let stack = fs::read_to_string(deploy().join("cloudformation/telemetry.yaml")).unwrap();
    let (_, daemon) = stack.split_once("  DaemonPolicy:").unwrap();
    let mut allowed = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        let actions = &statement["Action"];
        match actions.as_array() {
            Some(all) => allowed.extend(all.iter().map(|it| it.as_str().unwrap())),
            None => allowed.extend(actions.as_str()),
        }
    }
    let services = ["lambda:", "scheduler:", "iam:Pass", "kinesis:"];
    let is_action = |word: &&str| services.iter().any(|service| word.starts_with(service));
    let words = daemon.split_whitespace().filter(is_action).filter(|word| !word.ends_with(':'));
    let (read, write): (BTreeSet<&str>, BTreeSet<&str>) =
        words.partition(|word| word.starts_with("kinesis:"));
    assert_eq!(write, allowed);
    for (name, text) in files("iam").into_iter().filter(|(_, text)| text.starts_with('{')) {
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["Version"], "2012-10-17", "{name}");
        assert!(document["Statement"].as_array().is_some_and(|it| !it.is_empty()), "{name}");
    }
    assert_eq!(
        read,
        BTreeSet::from(["kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"])
    );
}
