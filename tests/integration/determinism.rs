//! The same records give the same bytes, however they are batched, sharded, packed or handed in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use bursar::decode::first_time;
use bursar::units::EventTime;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::support::{
    Recorded, Replayed, generate, generate_in_one_account, kind, lines, pages, replay,
};

const FLOOD: &str = "flood:factor=20,min_rps=50,start=14m,duration=2m,sources=20";

fn recorded() -> Recorded {
    generate(7, 18, Some(FLOOD))
}

/// Text with the string value of `key` blanked on every line, by `blanked`.
fn blank<'a>(text: &'a str, key: &str, blanked: impl Fn(&'a str) -> &'a str) -> String {
    let key = format!("\"{key}\":\"");
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&key) {
        let (before, value) = rest.split_at(at + key.len());
        let (value, after) = value.split_at(value.find('"').unwrap());
        out.push_str(before);
        out.push_str(blanked(value));
        rest = after;
    }
    out + rest
}

/// Decisions without the fingerprint of the settings, which differ on purpose.
fn without_settings(replayed: &Replayed) -> String {
    blank(&replayed.decisions, "config_sha256", |_| "")
}

/// And without the input's name; the line number stays.
fn without_input(replayed: &Replayed) -> String {
    blank(&without_settings(replayed), "position", |position| {
        position.rsplit_once(':').map_or(position, |(_, line)| line)
    })
}

#[track_caller]
fn check_same(what: &str, expected: (&str, &str), found: (&str, &str)) {
    for (file, expected, found) in
        [("decisions", expected.0, found.0), ("ledger", expected.1, found.1)]
    {
        let differing = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
        assert_eq!(differing, None, "{what}: {file}");
        assert_eq!(expected.len(), found.len(), "{what}: {file}");
    }
}

fn base(recorded: &Recorded) -> Replayed {
    let base = replay(recorded.folder.path(), |command| {
        command.arg(&recorded.records);
    });
    assert_eq!(pages(&base.lines()).len(), 1);
    base
}

#[test]
fn neither_batches_nor_shards_nor_a_second_run_change_a_byte() {
    let recorded = recorded();
    let base = base(&recorded);
    let again = replay(recorded.folder.path(), |command| {
        command.arg(&recorded.records);
    });
    let same = (&*base.decisions, &*base.ledger);
    check_same("a second run", same, (&again.decisions, &again.ledger));
    let expected = without_settings(&base);
    for shards in ["1", "2", "7"] {
        for batch in ["1", "7", "4096", "100000"] {
            let other = replay(recorded.folder.path(), |command| {
                command.env("BURSAR__ENGINE__SHARDS", shards);
                command.env("BURSAR__ENGINE__BATCH_RECORDS", batch);
                command.arg(&recorded.records);
            });
            let what = format!("{shards} shards, batches of {batch}");
            let found = without_settings(&other);
            check_same(&what, (&expected, &base.ledger), (&found, &other.ledger));
        }
    }
}

#[test]
fn an_alarm_over_an_account_is_the_same_however_its_functions_are_sharded() {
    let recorded =
        generate_in_one_account(7, 36, Some("spread:functions=60,rps=24,start=28m,duration=6m"));
    let replayed = |shards: &str, batch: &str| {
        replay(recorded.folder.path(), |command| {
            command.env("BURSAR__ENGINE__SHARDS", shards);
            command.env("BURSAR__ENGINE__BATCH_RECORDS", batch);
            command.arg(&recorded.records);
        })
    };
    let base = replayed("1", "4096");
    let of_account = |line: &&Value| line["scope"] == "account" && line["state"] == "opened";
    assert!(kind(&base.lines(), "alarm").into_iter().any(|line| of_account(&line)));
    for (shards, batch) in [("2", "1"), ("7", "100000")] {
        let other = replayed(shards, batch);
        let what = format!("{shards} shards, batches of {batch}");
        let (expected, found) = (without_settings(&base), without_settings(&other));
        check_same(&what, (&expected, &base.ledger), (&found, &other.ledger));
    }
}

#[test]
fn how_the_records_are_packed_and_handed_in_does_not_matter() {
    let recorded = recorded();
    let base = base(&recorded);
    let expected = without_input(&base);
    let plain = fs::read(&recorded.records).unwrap();
    let gzip = recorded.path("records.jsonl.gz");
    let mut encoder = GzEncoder::new(File::create(&gzip).unwrap(), Compression::fast());
    encoder.write_all(&plain).unwrap();
    encoder.finish().unwrap();
    let zstd = recorded.path("records.jsonl.zst");
    fs::write(&zstd, zstd::encode_all(&*plain, 1).unwrap()).unwrap();
    for input in [&gzip, &zstd] {
        let other = replay(recorded.folder.path(), |command| {
            command.arg(input);
        });
        let found = without_input(&other);
        let what = input.display().to_string();
        check_same(&what, (&expected, &base.ledger), (&found, &other.ledger));
    }
    for input in [&recorded.records, &gzip, &zstd] {
        let other = replay(recorded.folder.path(), |command| {
            command.arg("-").stdin(Stdio::from(File::open(input).unwrap()));
        });
        let found = without_input(&other);
        let what = format!("{} as standard input", input.display());
        check_same(&what, (&expected, &base.ledger), (&found, &other.ledger));
    }
}

/// Lines in order of time, those of one moment together.
fn moments(from: &Path) -> BTreeMap<Option<EventTime>, String> {
    let mut moments = BTreeMap::<_, String>::new();
    for line in fs::read_to_string(from).unwrap().lines() {
        moments.entry(first_time(line.as_bytes())).or_default().extend([line, "\n"]);
    }
    moments
}

#[test]
fn several_files_that_share_the_records_give_what_one_gives() {
    let recorded = recorded();
    let moments = moments(&recorded.records);
    assert!(!moments.contains_key(&None) && moments.len() > 10_000);
    let whole = recorded.path("whole.jsonl");
    fs::write(&whole, moments.values().map(String::as_str).collect::<String>()).unwrap();
    let base = replay(recorded.folder.path(), |command| {
        command.arg(&whole);
    });
    assert_eq!(pages(&base.lines()).len(), 1);
    let expected = blank(&without_settings(&base), "position", |_| "");
    for count in [2, 5] {
        let paths: Vec<_> = (0..count).map(|n| recorded.path(&format!("part-{n}.jsonl"))).collect();
        let mut parts = vec![String::new(); count];
        moments.values().enumerate().for_each(|(n, lines)| parts[n % count].push_str(lines));
        paths.iter().zip(parts).for_each(|(path, part)| fs::write(path, part).unwrap());
        let other = replay(recorded.folder.path(), |command| {
            command.args(&paths);
        });
        let found = blank(&without_settings(&other), "position", |_| "");
        let what = format!("{count} files");
        check_same(&what, (&expected, &base.ledger), (&found, &other.ledger));
    }
}

#[test]
fn files_dealt_out_line_by_line_give_the_same_alarms_and_the_same_money() {
    let recorded = recorded();
    let base = base(&recorded);
    // Delivery is not in order of time, so the order of lines is lost with the file that had it:
    // decisions may fall a moment earlier or later, what was used may not.
    let text = fs::read_to_string(&recorded.records).unwrap();
    let paths = [0, 1, 2].map(|n| recorded.path(&format!("dealt-{n}.jsonl")));
    for (n, path) in paths.iter().enumerate() {
        let lines = text.lines().skip(n).step_by(paths.len());
        fs::write(path, lines.flat_map(|line| [line, "\n"]).collect::<String>()).unwrap();
    }
    let dealt = replay(recorded.folder.path(), |command| {
        command.args(&paths);
    });
    let opened = |replayed: &Replayed| {
        let lines = replayed.lines();
        let [page] = &pages(&lines)[..] else { panic!("not one page") };
        ["id", "account", "function", "onset"].map(|field| page[field].clone())
    };
    assert_eq!(opened(&dealt), opened(&base));
    // Nor may money, but for the first calls of an API before its first access-log line.
    let usage = |replayed: &Replayed| {
        let mut rows = lines(&replayed.ledger);
        rows.iter_mut().for_each(|row| row["nano_usd"] = Value::Null);
        rows
    };
    assert_eq!(usage(&dealt), usage(&base));
    let [dealt, base] = [&dealt, &base].map(|replayed| replayed.lines().pop().unwrap());
    for field in ["functions", "pages", "first_event"] {
        assert_eq!(dealt[field], base[field], "{field}");
    }
    let known = |of: &Value| {
        let count = |what: &str| of["records"][what].as_u64().unwrap();
        (count("counted") + count("unrouted"), count("late"), count("duplicate"), count("rejected"))
    };
    assert_eq!(known(&dealt), known(&base));
    let spend = |of: &Value| of["spend_nano_usd"].as_f64().unwrap();
    assert!((spend(&dealt) / spend(&base) - 1.0).abs() < 1e-3);
}
