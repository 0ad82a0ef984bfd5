//! The daemon on Kinesis, against a service in this process: what a replay of the same records
//! finds is found, a restart goes on from the checkpoint, and what is wrong is said.

use std::fs;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::io::Write as _;

use crate::support::{Daemon, PATIENCE, bursar, generate, kind, ms, replay, run, until};

#[allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the tests of the source use the rest; tests cast"
)]
#[path = "../../src/source/kinesis/tests/fake.rs"]
pub(crate) mod fake;

use fake::{Fake, KEYS};

/// A program that knows nobody's credentials but these, and no machine's.
fn alone(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    command
}

pub(crate) fn start(config: &Path) -> Daemon {
    let mut command = alone(bursar(["run", "--config"]));
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    Daemon::start(command.arg(config))
}

fn put(fake: &Fake, key: u32, message: &str) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message.as_bytes()).unwrap();
    fake.put(key, &encoder.finish().unwrap());
}

pub(crate) fn counted(daemon: &Daemon) -> f64 {
    let outcome = |name| daemon.metric(&format!("bursar_records_total{{outcome=\"{name}\"}}"));
    ["counted", "late", "unrouted"].into_iter().filter_map(outcome).sum()
}

/// What does not depend on when it was said.
fn alarms(decisions: &[Value]) -> Vec<(&Value, &Value, i64)> {
    let opened = |line: &&Value| line["state"] == "opened";
    let opened = kind(decisions, "alarm").into_iter().filter(opened);
    opened.map(|line| (&line["id"], &line["function"], ms(&line["onset"]))).collect()
}

#[test]
fn kinesis_gives_the_alarms_that_a_replay_gives_and_a_restart_goes_on() {
    let recorded =
        generate(8, 15, Some("flood:factor=20,min_rps=50,start=11m,duration=2m,sources=20"));
    let replayed = replay(recorded.folder.path(), |command| {
        command.arg(&recorded.records);
    });
    let fake = Fake::start(4);
    let text = fs::read_to_string(&recorded.records).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // Round robin over the shards, the first of which is split halfway.
    let (before, after) = lines.split_at(lines.len() / 2);
    let keys = || (0..8).map(|key| key * KEYS / 8).cycle();
    keys().zip(before).for_each(|(key, line)| put(&fake, key, line));
    fake.split(KEYS / 8);
    keys().zip(after).for_each(|(key, line)| put(&fake, key, line));
    let (config, checkpoint) = (recorded.path("bursar.toml"), recorded.path("checkpoint.json"));
    let text = format!(
        "[input]\nkind = \"kinesis\"\n[input.kinesis]\nstream = \"costs\"\nregion = \"eu-west-1\"\n\
         endpoint = \"{}\"\nstart = \"trim_horizon\"\ncheckpoint_file = \"{}\"\n",
        fake.url,
        checkpoint.display(),
    );
    fs::write(&config, text).unwrap();
    run(bursar(["check", "--config"]).arg(&config)).succeeded();

    let daemon = start(&config);
    let records = recorded.truth["records"].as_u64().unwrap();
    until("all records", PATIENCE, || (counted(&daemon) >= records as f64).then_some(()));
    until("readiness", PATIENCE, || (daemon.get("/readyz").0 == 200).then_some(()));
    assert_eq!(daemon.metric("bursar_input_behind_seconds"), Some(0.0));
    let (decisions, stdout) = daemon.stop();
    assert!(stdout.contains("Kinesis"), "{stdout}");
    let expected = replayed.lines();
    assert_eq!(alarms(&expected).len(), 1);
    assert_eq!(alarms(&decisions), alarms(&expected));
    let [summary, replayed_summary] = [&decisions, &expected].map(|lines| lines.last().unwrap());
    // Shards are merged by time, so a few lines change places.
    let close = |path: &str| {
        let [one, other] = [summary, replayed_summary].map(|line| line.pointer(path).unwrap());
        let [one, other] = [one, other].map(|number| number.as_f64().unwrap());
        assert!((one / other - 1.0).abs() < 1e-3, "{path}: {one} and {other}");
    };
    close("/records/counted");
    close("/spend_nano_usd");
    // Each message is one PUT unit of $0.014 a million, and the shards cost less than a cent.
    let [puts, stream] =
        [lines.len() as i64 * 14, summary["telemetry_nano_usd"]["stream"].as_i64().unwrap()];
    assert!((puts..puts + 10_000_000).contains(&stream), "{stream} of {puts}");
    assert_eq!(replayed_summary["telemetry_nano_usd"]["stream"], 0);
    for what in ["duplicate", "rejected"] {
        assert_eq!(summary["records"][what], 0, "{what}");
    }
    for line in kind(&decisions, "alarm") {
        let position = line["position"].as_str().unwrap();
        assert!(position.starts_with("costs/shardId-"), "{position}");
    }

    let daemon = start(&config);
    for second in 0..40 {
        let record = serde_json::json!({
            "kind": "invocation", "time": format!("2026-01-05T01:00:{second:02}Z"), "account": "1",
            "region": "eu-west-1", "function": "extra", "billed_ms": 9, "memory_mb": 128,
        });
        put(&fake, second * KEYS / 40, &record.to_string());
    }
    until("the new records", PATIENCE, || (counted(&daemon) >= 40.0).then_some(()));
    let (decisions, _) = daemon.stop();
    let summary = decisions.last().unwrap();
    assert_eq!((&summary["records"]["counted"], &summary["functions"]), (&40.into(), &1.into()));
}

#[test]
fn a_daemon_without_region_or_credentials_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start(1);
    let config = folder.path().join("bursar.toml");
    let kinesis = "[server]\nlisten = \"127.0.0.1:0\"\n[input]\nkind = \"kinesis\"\n\
                   [input.kinesis]\nstream = \"costs\"\n";
    fs::write(&config, kinesis).unwrap();
    let done = run(alone(bursar(["run", "--config"])).arg(&config));
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(done.stderr.contains("set input.kinesis.region or AWS_REGION"), "{done:?}");

    fs::write(&config, format!("{kinesis}region = \"eu-west-1\"\nendpoint = \"{}\"\n", fake.url))
        .unwrap();
    let daemon = Daemon::start(alone(bursar(["run", "--config"])).arg(&config));
    let body = until("the reason", PATIENCE, || {
        let (status, body) = daemon.get("/readyz");
        (status == 503 && body.contains("no credentials")).then_some(body)
    });
    assert!(body.contains("AWS_PROFILE"), "{body}");
    daemon.stop();
}
