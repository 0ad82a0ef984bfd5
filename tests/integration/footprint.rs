//! The guard's own part: what it costs to be told, and that what it is told of itself is no usage.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Replayed, kind, replay};

/// 2026-01-05T00:00:00Z.
const BEGIN: i64 = 1_767_571_200_000;

/// Calls of a function a second apart, as a log subscription delivers them. The function's own
/// name is in the stream where the group is not named after it.
fn subscribed(group: &str, stream: &str, calls: i64) -> String {
    let line = |call: i64| {
        let at = BEGIN + call * 1_000;
        let message = format!(
            "REPORT RequestId: 00000000-0000-4000-8000-{call:012}\tDuration: 9.50 ms\t\
             Billed Duration: 10 ms\tMemory Size: 128 MB\tMax Memory Used: 60 MB\t\n"
        );
        let event = json!({ "id": format!("{group}{call}"), "timestamp": at, "message": message });
        let said = json!({ "id": "-", "timestamp": at, "message": "{\"kind\":\"alarm\"}\n" });
        let envelope = json!({
            "messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": group,
            "logStream": format!("2026/01/05/{stream}[$LATEST]abcdef"),
            "subscriptionFilters": ["all"], "logEvents": [event, said],
        });
        format!("{envelope}\n")
    };
    (0..calls).map(line).collect()
}

/// Everybody's logs, bursar's own among them: a tap that runs as a function, and a group that
/// functions of the guard's own stack share.
fn everything() -> String {
    let mut all = subscribed("/aws/lambda/shop", "", 60);
    all += &subscribed("/aws/lambda/bursar-tap", "", 50);
    all += &subscribed("/stacks/guard", "notify", 40);
    all
}

fn replayed(folder: &TempDir, records: &str, exclude: &str) -> Replayed {
    let input = folder.path().join("records.jsonl");
    fs::write(&input, records).unwrap();
    replay(folder.path(), |command| {
        command.arg(&input).env("BURSAR__INPUT__EXCLUDE", exclude);
    })
}

fn summary(replayed: &Replayed) -> Value {
    kind(&replayed.lines(), "summary")[0].clone()
}

#[test]
fn what_bursar_runs_on_is_ignored_and_nobody_elses_records_are() {
    let folder = TempDir::new().unwrap();
    for (exclude, counted, excluded) in [
        ("", 150, 0),
        ("bursar-*", 100, 50),
        ("/aws/lambda/bursar-tap", 100, 50),
        ("111122223333:us-east-1:bursar-tap", 100, 50),
        ("/stacks/guard", 110, 40),
        ("notify", 110, 40),
        ("bursar-*,/stacks/*", 60, 90),
    ] {
        let replayed = replayed(&folder, &everything(), exclude);
        let records = &summary(&replayed)["records"];
        assert_eq!(records["counted"], counted, "{exclude}");
        assert_eq!(records["excluded"], excluded, "{exclude}");
        assert_eq!(records["rejected"], 0, "{exclude}");
        let names = replayed.ledger.lines().filter(|line| line.contains("bursar-tap")).count();
        assert_eq!(names > 0, excluded == 0 || excluded == 40, "{exclude}: {}", replayed.ledger);
    }
}

#[test]
fn an_excluded_record_changes_nothing_but_the_count_and_the_cost_of_the_telemetry() {
    let folder = TempDir::new().unwrap();
    let alone = replayed(&folder, &subscribed("/aws/lambda/shop", "", 60), "");
    let among = replayed(&folder, &everything(), "bursar-*,/stacks/*");
    assert_eq!(alone.ledger, among.ledger);
    let (mut alone, mut among) = (summary(&alone), summary(&among));
    for (line, lines) in [(&mut alone, 60), (&mut among, 150)] {
        // Of each report 140 bytes at $0.50 a GB; what applications say is not bursar's cost.
        assert_eq!(line["telemetry_nano_usd"]["logs"], (lines * 140 + 1) / 2, "{line}");
        assert_eq!(line["telemetry_nano_usd"]["stream"], 0);
        line["telemetry_nano_usd"].take();
        line["records"]["excluded"].take();
    }
    assert_eq!(alone, among);
}
