//! History first: what a start from baselines knows that a bare start does not.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bursar::units::EventTime;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Replayed, bursar, kind, lines_of, ms, replay, run};

/// 2026-01-05T12:00:00Z, a Monday.
const MONDAY_NOON: i64 = 1_767_614_400;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Two days that begin and end at noon, and most of the third, in files of their own.
struct Week {
    folder: TempDir,
    history: PathBuf,
    third: PathBuf,
}

/// One invocation of `function`, as a line.
fn call(out: &mut String, function: &str, ms: i64, billed_ms: i64, memory_mb: u32) {
    let time = EventTime::try_from_ms(ms).unwrap();
    writeln!(
        out,
        "{{\"kind\":\"invocation\",\"function\":\"{function}\",\"time\":\"{time}\",\
         \"billed_ms\":{billed_ms},\"memory_mb\":{memory_mb}}}"
    )
    .unwrap();
}

/// `shop` is called all day; `reports`, where it has `hours`, from seven in the morning to nine in
/// the evening and hardly at night. Where the shop is `flooded`, it is from the second minute on,
/// for two minutes.
fn day(from: i64, to: i64, hours: bool, flooded: bool) -> String {
    let mut out = String::new();
    for second in from..to {
        let busy = hours && (7 * HOUR..21 * HOUR).contains(&second.rem_euclid(DAY));
        let flood = flooded && (60..180).contains(&(second - from));
        if second % 2 == 0 {
            call(&mut out, "shop", second * 1_000 + 100, 200 + second % 7 * 10, 1_024);
        }
        for request in 0..if flood { 30 } else { 0 } {
            call(&mut out, "shop", second * 1_000 + 110 + request, 230, 1_024);
        }
        for request in 0..if busy { 4 } else { i64::from(second % 60 == 7) } {
            let billed = 500 + second % 11 * 20;
            call(&mut out, "reports", second * 1_000 + 300 + request, billed, 1_024);
        }
    }
    out
}

/// Weeks with busy hours have no flood, and the others have one.
fn week(start: i64, hours: bool) -> Week {
    let folder = tempfile::tempdir().unwrap();
    let [history, third] = ["history.jsonl", "third.jsonl"].map(|name| folder.path().join(name));
    fs::write(&history, day(MONDAY_NOON, MONDAY_NOON + 2 * DAY, hours, false)).unwrap();
    let start = MONDAY_NOON + 2 * DAY + start;
    fs::write(&third, day(start, start + 12 * HOUR, hours, !hours)).unwrap();
    Week { folder, history, third }
}

fn learn(week: &Week, name: &str, settings: &[(&str, &str)]) -> (PathBuf, String) {
    let out = week.folder.path().join(name);
    let mut command = bursar(["learn", "--out"]);
    command.arg(&out).arg(&week.history).envs(settings.iter().copied());
    let done = run(&mut command).succeeded();
    assert_eq!(done.stdout, "");
    (out, done.stderr)
}

fn third_day(week: &Week, baselines: Option<&Path>) -> Replayed {
    replay(week.folder.path(), |command| {
        if let Some(path) = baselines {
            command.arg("--baselines").arg(path);
        }
        command.arg(&week.third);
    })
}

fn opened(replayed: &Replayed) -> Vec<Value> {
    let lines = replayed.lines();
    let alarms = kind(&lines, "alarm").into_iter().filter(|alarm| alarm["state"] == "opened");
    alarms.cloned().collect()
}

#[test]
fn busy_hours_are_news_to_a_bare_start_and_none_to_one_from_baselines() {
    let week = week(10 * HOUR, true);
    let bare = opened(&third_day(&week, None));
    assert!(bare.iter().any(|alarm| alarm["function"] == "reports"), "{bare:#?}");
    let (baselines, told) = learn(&week, "baselines.jsonl", &[]);
    assert!(told.contains("baselines of 2 functions from "), "{told}");
    let learned = third_day(&week, Some(&baselines));
    assert_eq!(opened(&learned), Vec::<Value>::new());
    let warmup = |replayed: &Replayed| {
        kind(&replayed.lines(), "summary")[0]["warmup_function_days"].as_f64().unwrap()
    };
    assert!(warmup(&learned) <= 0.0 && warmup(&third_day(&week, None)) > 0.01);
}

#[test]
fn a_flood_in_the_first_minutes_is_found_from_baselines_only() {
    let week = week(0, false);
    assert_eq!(opened(&third_day(&week, None)), Vec::<Value>::new());
    let (baselines, _) = learn(&week, "baselines.jsonl.gz", &[]);
    let alarms = opened(&third_day(&week, Some(&baselines)));
    let [alarm] = &alarms[..] else { panic!("{alarms:#?}") };
    assert_eq!(alarm["function"], "shop");
    let began = (MONDAY_NOON + 2 * DAY + 60) * 1_000;
    let delay = ms(&alarm["evidence_at"]) - began;
    assert!((0..10_000).contains(&delay), "{delay} ms");
}

#[test]
fn the_same_history_gives_the_same_file_whatever_the_shards_and_batches() {
    let week = week(0, false);
    let (plain, _) = learn(&week, "a.jsonl", &[]);
    let expected = fs::read(&plain).unwrap();
    for (shards, batch) in [("1", "1"), ("3", "100000")] {
        let settings =
            [("BURSAR__ENGINE__SHARDS", shards), ("BURSAR__ENGINE__BATCH_RECORDS", batch)];
        let (other, _) = learn(&week, "b.jsonl", &settings);
        assert_eq!(fs::read(other).unwrap(), expected, "{shards} shards, batches of {batch}");
    }
    let (packed, _) = learn(&week, "c.jsonl.zst", &[]);
    assert_eq!(zstd::decode_all(&*fs::read(packed).unwrap()).unwrap(), expected);
    let lines = lines_of(&plain);
    assert_eq!((&lines[0]["functions"], &lines[3]["end"]), (&2.into(), &2.into()));
    assert_eq!(lines[0]["first_event"], "2026-01-05T12:00:00.100Z");
    let names = fs::read_dir(week.folder.path()).unwrap();
    assert!(names.flatten().all(|file| !file.file_name().to_string_lossy().starts_with('.')));
}

#[test]
fn files_that_are_of_no_use_are_refused_and_one_that_is_there_stays_until_the_new_one_is_whole() {
    let week = week(0, false);
    let (baselines, _) = learn(&week, "baselines.jsonl", &[]);
    let text = fs::read_to_string(&baselines).unwrap();
    let check = |command: &mut std::process::Command, code: i32, parts: &[&str]| {
        let done = run(command);
        assert_eq!(done.code(), Some(code), "{done:#?}");
        parts.iter().for_each(|part| assert!(done.stderr.contains(part), "{part}: {done:#?}"));
    };
    let half = week.folder.path().join("half.jsonl");
    fs::write(&half, text.split_inclusive('\n').take(2).collect::<String>()).unwrap();
    let mut command = bursar(["replay", "--baselines"]);
    check(command.arg(&half).arg(&week.third), 1, &["half.jsonl", "cut off", "bursar learn"]);
    fs::write(&half, text.replace("\"fast\":", "\"fast\":-")).unwrap();
    let mut command = bursar(["run"]);
    command.env("BURSAR__INPUT__KIND", "files").env("BURSAR__SERVER__ENABLED", "false");
    command.env("BURSAR__INPUT__FILES__PATHS", &week.third);
    command.env("BURSAR__ENGINE__BASELINES_FILE", &half);
    check(&mut command, 1, &["half.jsonl line 2", "engine.baselines_file"]);
    let empty = week.folder.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    let mut command = bursar(["learn", "--out"]);
    check(command.arg(&baselines).arg(&empty), 1, &["no records"]);
    let mut command = bursar(["learn", "--out"]);
    check(command.arg(&week.history).arg(&week.history), 1, &["is an input"]);
    check(&mut bursar(["learn", "--out", "-", "x"]), 2, &["--out must be a file"]);
    assert_eq!(fs::read_to_string(&baselines).unwrap(), text);
}
