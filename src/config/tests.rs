use std::path::{Path, PathBuf};

use super::settings::{InputKind, KafkaStart, LogFormat, Settings};
use super::{file, load, load_text};
use crate::control::settings::Mode;
use crate::cost::{Budget, BudgetScope, Gateway, Pattern};
use crate::engine::routes::ConfiguredRoute;
use crate::units::NanoUsd;

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let owned: Vec<(String, String)> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    owned.into_iter()
}

fn good(text: &str, environment: &[(&str, &str)]) -> Settings {
    load_text("bursar.toml", text, variables(environment))
        .unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn bad(text: &str, environment: &[(&str, &str)]) -> String {
    match load_text("bursar.toml", text, variables(environment)) {
        Ok(_) => panic!("accepted: {text} {environment:?}"),
        Err(problems) => problems.to_string(),
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares with a committed file; `BURSAR_BLESS=1` writes it instead.
fn committed(name: &str, text: &str) {
    if std::env::var_os("BURSAR_BLESS").is_some() {
        std::fs::write(path(name), text).unwrap();
    }
    let found = std::fs::read_to_string(path(name)).unwrap_or_default();
    assert_eq!(found, text, "{name} is stale, run the test with BURSAR_BLESS=1");
}

#[test]
fn the_committed_default_file_is_generated_and_loads_to_the_defaults() {
    committed("deploy/bursar.toml", &file::default_file());
    let settings = load(Some(&path("deploy/bursar.toml")), variables(&[])).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(load(None, variables(&[])).unwrap(), Settings::default());
}

#[test]
fn the_examples_of_the_default_file_can_be_uncommented() {
    let text: String = file::default_file()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(example) if !example.starts_with(' ') => format!("{example}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let settings = good(&text, &[]);
    assert_eq!(settings.budgets.len(), 2);
    assert_eq!(settings.routes.len(), 1);
    assert_eq!(settings.cost.functions.len(), 1);
}

#[test]
fn every_default_lies_in_its_accepted_range() {
    let mut settings = Settings::default();
    for key in super::keys::KEYS {
        let Some(datum) = (key.field)(&mut settings).get() else {
            panic!("{} has no default", key.path);
        };
        assert!((key.field)(&mut settings).set(datum), "{}", key.path);
    }
    assert_eq!(settings, Settings::default());
}

#[test]
fn all_problems_are_told_at_once_with_key_value_range_and_line() {
    let name = "tests/fixtures/config/everything_wrong.toml";
    let text = std::fs::read_to_string(path(name)).unwrap();
    let told = bad(&text, &[]);
    committed("tests/fixtures/config/everything_wrong.expected", &format!("{told}\n"));
    assert!(!told.contains("hunter2"), "a password was printed");
}

#[test]
fn every_kind_of_mistake_is_refused() {
    for (text, expected) in [
        ("engine = 5", "engine = 5: not accepted, give a section with keys (bursar.toml line 1)"),
        ("[engine.shards]\nx = 1", "engine.shards = { ... }: not accepted"),
        ("[engine]\nlateness = \"1.5s\"", "engine.lateness = \"1.5s\""),
        ("[engine]\nlateness = \"-1s\"", "a duration from 1s to 16s (units s, m, h, d)"),
        ("[engine]\nlateness = \"18446744073709551616s\"", "engine.lateness"),
        ("[engine]\nlateness = \"9999999999999999999d\"", "engine.lateness"),
        ("[engine]\nlateness = 10", "engine.lateness = 10: not accepted, give a duration"),
        ("[engine]\nshards = 99999999999999999999", "too many digits (bursar.toml)"),
        ("[control]\nsettle = \"10m\"\nexpiry = \"10m\"", "must be less than control.expiry"),
        ("budgets = 5", "budgets = 5: not accepted, give entries as [[budgets]]"),
        ("budgets = [5]", "budgets[0] = 5: not accepted, give an entry as [[budgets]]"),
        ("[[budgets]]\nmonthly_usd = nan\naccount = \"1\"", "budgets[0].monthly_usd = NaN"),
        ("[[budgets]]\nmonthly_usd = 1", "budgets[0]: give exactly one of account and function"),
        ("[[routes]]\nfunction = \"f\"", "routes[0].api: missing, give an API id"),
        (
            "[[routes]]\napi=\"a\"\nfunction=\"f\"\n[[routes]]\napi=\"a\"\nfunction=\"g\"",
            "routes[1]: stands for the same as routes[0], keep one of them (bursar.toml line 4)",
        ),
        ("[input]\nkind = \"kafka\"", "input.kafka.brokers: needed by this input.kind"),
        ("[input]\nkind = \"kinesis\"", "input.kinesis.stream: needed by this input.kind"),
        ("[input.kinesis]\nstream = \"a/b\"", "give a stream's name or ARN"),
        ("[input.kinesis]\nstream = \"arn:aws:kinesis:r:1:a\"", "give a stream's name or ARN"),
        ("[input.kinesis]\nendpoint = \"localhost:4566\"", "give http:// or https://"),
        ("[input.kinesis]\nconsumer_arn = \"arn:aws:x\"", "the ARN of a registered consumer"),
        ("[input.kinesis]\npolls_per_second = 6", "a number from 0.1 to 5"),
        ("[input.kinesis]\nstart = \"at_timestamp\"", "input.kinesis.start_time: goes with"),
        ("[input.kinesis]\nstart_time = \"2026-01-05T00:00:00Z\"", "give both or neither"),
        ("[input.kinesis]\nstart_time = \"monday\"", "give an RFC 3339 date and time"),
        ("[input]\nkind = \"files\"", "input.files.paths: needed by this input.kind"),
        (
            "mode = \"enforce\"\n[input]\nkind = \"files\"\nfiles.paths = [\"-\"]",
            "mode: \"enforce\" needs an actuator",
        ),
        ("[input.kafka.properties]\n\"group.id\" = \"x\"", "set by input.kafka.brokers"),
        ("[input.kafka]\ntoken = \"file\"", "input.kafka.token_file: goes with"),
        ("[input.kafka]\ntoken_file = \"/a\"", "give both or neither"),
        ("[input.kafka]\ntoken_region = \"eu-west-1\"", "input.kafka.token_region: goes with"),
        (
            "[input.kafka]\ntoken = \"aws_msk_iam\"\nproperties.sasl.mechanism = \"PLAIN\"",
            "input.kafka.properties.sasl.mechanism: input.kafka.token goes with OAUTHBEARER alone",
        ),
        (
            "[input.kafka]\ntoken = \"aws_msk_iam\"\nproperties.security.protocol = \"ssl\"",
            "input.kafka.properties.security.protocol: input.kafka.token goes with \"sasl_ssl\"",
        ),
        (
            "[input.kafka.properties]\nsasl.mechanisms = \"oauthbearer\"",
            "needs a token to show, set input.kafka.token",
        ),
        (
            "[input.kafka.properties]\nsasl.oauthbearer.method = \"oidc\"",
            "sasl.oauthbearer.method: the client is built without HTTP",
        ),
        ("[kafka]\ngroup = \"x\"", "kafka: unknown key, did you mean input.kafka? "),
        ("seed = 7", "seed = 7: unknown key, did you mean input.embedded.seed?"),
        ("[log]\nlevle = \"info\"", "log.levle = \"info\": unknown key, did you mean log.level?"),
        ("\"budgets[9999999999]\" = 1", "write sections as [section] (bursar.toml line 1)"),
        ("mode = \"observe\"\nmode = \"observe\"", "not valid TOML: duplicate key"),
        ("\n\nmode = ", "(bursar.toml line 3)"),
    ] {
        let told = bad(text, &[]);
        assert!(told.contains(expected), "{text}\ngave: {told}\nnot:  {expected}");
    }
}

#[test]
fn the_environment_lies_over_the_file_and_its_problems_name_the_variable() {
    let text = "mode = \"enforce\"\n[engine]\nlateness = \"12s\"\nshards = 2";
    let settings = good(
        text,
        &[
            ("BURSAR__ENGINE__LATENESS", "15s"),
            ("BURSAR__ENGINE__BATCH_RECORDS", "17"),
            ("BURSAR__DETECTION__ENVELOPE", "2.5"),
            ("BURSAR__SERVER__ENABLED", "false"),
            ("BURSAR__CONTROL__NEVER_TOUCH", "pay-*, 1:eu-west-1:login"),
            ("BURSAR__OUTPUT__DECISIONS", ""),
            ("BURSAR_BLESS", "1"),
            ("PATH", "/bin"),
        ],
    );
    assert_eq!(settings.engine.lateness_seconds, 15);
    assert_eq!(settings.shards, 2);
    assert_eq!(settings.batch_records, 17);
    assert_eq!(settings.detection.envelope, 2.5);
    assert!(!settings.server.enabled);
    assert_eq!(settings.control.never_touch, ["pay-*", "1:eu-west-1:login"]);
    assert_eq!(settings.control.mode, Mode::Enforce);
    assert_eq!(settings.output.decisions, None);

    let told = bad(
        text,
        &[
            ("BURSAR__ENGINE__SHARDS", "many"),
            ("BURSAR__ENGINE__SHARD", "4"),
            ("BURSAR__ENGINE", "4"),
            ("BURSAR__BUDGETS", "4"),
            ("BURSAR__engine__shards", "4"),
            ("BURSAR__", "4"),
        ],
    );
    for expected in [
        "engine.shards = \"many\": not accepted, give a whole number from 0 to 64 (environment \
         variable BURSAR__ENGINE__SHARDS)",
        "did you mean BURSAR__ENGINE__SHARDS? (environment variable BURSAR__ENGINE__SHARD)",
        "engine: unknown key",
        "lists of tables can be given in the file only (environment variable BURSAR__BUDGETS)",
        "in upper case (environment variable BURSAR__engine__shards)",
    ] {
        assert!(told.contains(expected), "{told}\nlacks: {expected}");
    }
    assert_eq!(told.lines().count(), 6, "{told}");
}

#[test]
fn a_whole_file_arrives_in_the_settings() {
    let settings = good(
        r#"
        [input]
        kind = "kafka"
        account = "42"
        region = "eu-west-1"
        [input.kafka]
        brokers = ["a:9092", "b:9092"]
        topics = ["logs"]
        start = "earliest"
        [input.kafka.properties]
        "security.protocol" = "plaintext"
        fetch.min.bytes = 1
        [cost]
        gateway = "rest_api"
        [[cost.functions]]
        match = "img-*"
        response_bytes = "3KiB"
        [[budgets]]
        function = "img-*"
        monthly_usd = 12.5
        [[routes]]
        api = "a1"
        function = "img"
        [[routes]]
        api = "a1"
        stage = "prod"
        function = "7:us-east-1:img"
        [log]
        format = "json"
        "#,
        &[("BURSAR__INPUT__KAFKA__PROPERTIES__SECURITY__PROTOCOL", "ssl")],
    );
    assert_eq!(settings.input.kind, InputKind::Kafka);
    assert_eq!(settings.input.kafka.start, KafkaStart::Earliest);
    let properties: Vec<_> = settings.input.kafka.properties.iter().collect();
    assert_eq!(
        format!("{properties:?}"),
        r#"[("fetch.min.bytes", "1"), ("security.protocol", "ssl")]"#
    );
    assert_eq!(settings.cost.gateway, Gateway::RestApi);
    assert_eq!(settings.cost.functions[0].response_bytes, Some(3_072));
    assert_eq!(settings.cost.functions[0].gateway, None);
    assert_eq!(
        settings.budgets,
        [Budget {
            scope: BudgetScope::Function(Pattern::new("img-*")),
            monthly: NanoUsd::from_usd(12.5),
        }]
    );
    let route = |stage: Option<&str>, function: &str| ConfiguredRoute {
        api: "a1".to_owned(),
        stage: stage.map(str::to_owned),
        route: None,
        function: function.parse().unwrap(),
    };
    assert_eq!(
        settings.routes,
        [route(None, "42:eu-west-1:img"), route(Some("prod"), "7:us-east-1:img")]
    );
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn a_file_that_is_missing_or_not_a_file_says_what_to_do() {
    for (name, expected) in [
        ("no/such/bursar.toml", "does not exist; check the path"),
        ("src", "must be a regular file"),
    ] {
        let told = load(Some(&path(name)), variables(&[])).unwrap_err().to_string();
        assert!(told.contains(expected) && told.contains(name), "{told}");
    }
}

#[test]
fn the_fingerprint_follows_values_and_neither_spelling_nor_passwords() {
    let base = good("", &[]).sha256();
    assert_eq!(base.len(), 64);
    assert_eq!(good("[engine]\nlateness = \"10s\"", &[]).sha256(), base);
    let minute = good("[control]\nquiet = \"60s\"", &[]);
    assert_ne!(minute.sha256(), base);
    assert_eq!(good("[control]\nquiet = \"1m\"", &[]).sha256(), minute.sha256());
    let password = |text| good(text, &[]);
    let one = password("[input.kafka.properties]\nsasl.password = \"hunter1\"");
    let two = password("[input.kafka.properties]\n\"sasl.password\" = \"hunter2\"");
    assert_eq!(one.sha256(), two.sha256());
    assert_ne!(one.sha256(), base);
    assert!(!format!("{one:?}").contains("hunter"));
    for text in [
        "[[budgets]]\naccount = \"1\"\nmonthly_usd = 1",
        "[[routes]]\napi = \"a\"\nfunction = \"f\"",
        "[[cost.functions]]\nmatch = \"f\"",
    ] {
        assert_ne!(good(text, &[]).sha256(), base, "{text}");
    }
}
