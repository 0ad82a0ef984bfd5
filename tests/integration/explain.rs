//! What is said of an alarm afterwards, from the decisions file alone.

use std::fs;

use serde_json::Value;

use crate::support::{Done, Recorded, bursar, generate, kind, replay, run};

const FLOOD: &str = "flood:factor=20,min_rps=50,start=30m,duration=5m,sources=20";

/// A flood under settings with this floor for actions, in dollars an hour, and its decisions.
fn decided(floor: &str) -> (Recorded, Vec<Value>) {
    let recorded = generate(1, 60, Some(FLOOD));
    let config = recorded.path("bursar.toml");
    fs::write(&config, format!("[control]\naction_floor_usd_per_hour = {floor}\n")).unwrap();
    let replayed = replay(recorded.folder.path(), |command| {
        command.arg("--config").arg(&config).arg(&recorded.records);
    });
    let decisions = replayed.lines();
    let text: String = decisions.iter().map(|line| format!("{line}\n")).collect();
    // The daemon may be in the middle of a line.
    fs::write(recorded.path("told.jsonl"), text + "{\"kind\":\"al").unwrap();
    (recorded, decisions)
}

fn asked(recorded: &Recorded, args: &[&str]) -> Done {
    run(bursar(args).arg("--decisions").arg(recorded.path("told.jsonl")))
}

#[test]
fn what_was_not_done_is_explained_by_every_gate_with_its_numbers() {
    let (recorded, decisions) = decided("1000.0");
    let told = kind(&decisions, "abstention");
    let floor = told.iter().find(|line| line["gate"] == "action_floor").expect("a reason");
    let gates = floor["gates"].as_array().unwrap();
    let gate = gates.iter().find(|gate| gate["gate"] == "action_floor").unwrap();
    assert_eq!((&gate["open"], &gate["needs"]), (&false.into(), &1000.0.into()));
    let value = gate["value"].as_f64().unwrap();
    assert!((0.01..900.0).contains(&value), "{gate}");
    let open = gates.iter().filter(|gate| gate["open"] == true).count();
    assert_eq!(open, gates.len() - 1, "{gates:#?}");

    let alarm = floor["alarm_id"].as_str().unwrap();
    let done = asked(&recorded, &["explain", alarm.get(..6).unwrap()]).succeeded();
    let numbers = format!(
        "SHUT  action floor: {value:.2}, needed 1000.00 dollars an hour at least; off by {:.2}",
        1000.0 - value
    );
    for words in [&format!("page {alarm}, over"), &numbers, "open  severity: page"] {
        assert!(done.stdout.contains(words), "{words}\n{}", done.stdout);
    }
    let lost = kind(&decisions, "alarm").into_iter().rfind(|line| line["id"] == alarm).unwrap();
    let requests = format!("and {} requests above normal", lost["excess"]["requests"]);
    assert!(done.stdout.contains(&requests), "{}", done.stdout);
}

#[test]
fn an_action_is_explained_under_its_own_name_and_its_alarm_s() {
    let (recorded, decisions) = decided("0.001");
    let action = kind(&decisions, "action")[0];
    let by_action = asked(&recorded, &["explain", action["id"].as_str().unwrap()]).succeeded();
    let by_alarm = asked(&recorded, &["explain", action["alarm_id"].as_str().unwrap()]).succeeded();
    assert_eq!(by_action.stdout, by_alarm.stdout);
    let reason = action["reason"].as_str().unwrap();
    assert!(by_action.stdout.contains(reason), "{}", by_action.stdout);
    let addresses = action["to"]["value"].as_array().unwrap().len();
    let said = format!("restrict waf_ip_set -> {addresses} addresses: planned (only observed)");
    assert!(by_action.stdout.contains(&said), "{}", by_action.stdout);
}

#[test]
fn alarms_are_listed_by_what_they_cost_and_names_must_mean_one_of_them() {
    let (recorded, decisions) = decided("1.0");
    assert_eq!(asked(&recorded, &["alarms"]).succeeded().stdout, "no open alarms\n");
    let listed = asked(&recorded, &["alarms", "--all"]).succeeded();
    let mut ids: Vec<&str> =
        kind(&decisions, "alarm").iter().map(|line| line["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(listed.stdout.lines().count(), ids.len());
    assert!(ids.iter().all(|id| listed.stdout.contains(id)), "{}", listed.stdout);

    let unknown = asked(&recorded, &["explain", "nobody"]);
    assert_eq!(unknown.code(), Some(1));
    assert!(unknown.stderr.contains("nothing is called \"nobody\" here"), "{unknown:#?}");
    let nowhere = run(&mut bursar(["alarms"]));
    assert_eq!(nowhere.code(), Some(2));
    assert!(nowhere.stderr.contains("give --decisions FILE"), "{nowhere:#?}");
    fs::write(recorded.path("told.jsonl"), "{}\nno line\n").unwrap();
    let broken = asked(&recorded, &["alarms"]).succeeded();
    assert!(broken.stderr.contains("told.jsonl:2: is no line of decisions; 1 such"), "{broken:#?}");
    let pipe = run(bursar(["alarms", "--decisions"]).arg(recorded.folder.path()));
    assert_eq!(pipe.code(), Some(1));
    assert!(pipe.stderr.contains("is no file"), "{pipe:#?}");
}

#[test]
fn names_cannot_act_on_the_terminal_and_a_new_run_ends_what_was_open() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told.jsonl");
    let alarm = serde_json::json!({
        "kind": "alarm", "id": "aaaa", "state": "opened", "severity": "page", "scope": "account",
        "account": "111122223333", "region": null, "function": null,
        "onset": "2026-01-05T08:00:00.000Z", "evidence_at": "2026-01-05T08:00:01.000Z",
        "decided_at": "2026-01-05T08:00:02.000Z", "class": "un\u{1b}[2Jknown\u{202e}\n",
        "channels": {"aggregate\u{1b}": {
            "evidence_log10": 11.0, "threshold_log10": 10.2, "expected": 1.0, "observed": 9.0
        }},
        "excess": {"requests": 5, "mb_ms": 1, "nano_usd": 7_000_000_000_i64},
        "excess_nano_usd_per_hour": 4_000_000_000_i64,
    });
    let asked = |command: &[&str]| run(bursar(command).arg("--decisions").arg(&told)).succeeded();
    // A daemon has died in the middle of a line, and its successor appends.
    fs::write(&told, format!("{alarm}\n{{\"kind\":\"al{{\"v\":1\n")).unwrap();
    let listed = asked(&["alarms"]);
    assert!(listed.stdout.contains("account 111122223333"), "{listed:#?}");
    assert_eq!(listed.stdout.lines().count(), 1);
    let explained = asked(&["explain", "aa"]);
    assert!(explained.stdout.contains("page aaaa, open, account 111122223333"), "{explained:#?}");
    for text in [&listed.stdout, &explained.stdout] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
    }
    assert!(listed.stderr.contains("told.jsonl:2"), "{listed:#?}");
    fs::write(&told, format!("{alarm}\n{{\"kind\":\"run\",\"v\":1}}\n")).unwrap();
    assert_eq!(asked(&["alarms"]).stdout, "no open alarms\n");
    assert!(asked(&["explain", "aa"]).stdout.contains("started anew"));
}
