use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// Two http functions of different flavours, a timer and a queue.
fn trace_file(folder: &tempfile::TempDir) -> TracePaths {
    let mut text = "HashOwner,HashApp,HashFunction,Trigger".to_owned();
    (0..6).for_each(|minute| text.push_str(&format!(",{}", 480 + minute)));
    for (row, count) in [
        ("o1,a1,f1,http", 120),
        ("o1,a2,f2,http", 30),
        ("o2,a3,f3,timer", 1),
        ("o2,a4,f4,queue", 60),
    ] {
        text.push_str(&format!("\n{row}{}", format!(",{count}").repeat(6)));
    }
    let calls = folder.path().join("calls.csv");
    std::fs::write(&calls, text + "\n").unwrap();
    TracePaths { calls, durations: None, memory: None }
}

fn settings(paths: TracePaths, seed: u64, attacks: &[&str]) -> GenerateSettings {
    GenerateSettings {
        paths,
        attacks: attacks.iter().map(|spec| spec.parse().unwrap()).collect(),
        seed,
        window: Window { first: Some(481), minutes: 5 },
        date: "2026-01-05".parse().unwrap(),
        functions: None,
    }
}

fn run(seed: u64, attacks: &[&str]) -> (Vec<u8>, Truth) {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let settings = settings(trace_file(&folder), seed, attacks);
    let truth = generate(&settings, &mut out, &mut |_| {}).unwrap();
    (out, truth)
}

const ATTACKS: [&str; 2] = [
    "flood:function=f1,rps=20,start=1m,duration=2m,sources=7",
    "flood:function=f4,rps=5,start=3m,duration=30s",
];

/// What a reader without any knowledge of this crate finds on the lines.
#[derive(Default)]
struct Found {
    reports: usize,
    accesses: usize,
    addresses: BTreeSet<String>,
    ids: BTreeSet<String>,
}

fn find(lines: &[u8]) -> Found {
    let mut found = Found::default();
    for line in std::str::from_utf8(lines).unwrap().lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        if let Some(events) = value["logEvents"].as_array() {
            for event in events {
                found.reports += 1;
                assert!(event["message"].as_str().unwrap().starts_with("REPORT RequestId: "));
                assert!(found.ids.insert(format!("{}{}", value["logGroup"], event["id"])));
            }
        } else {
            found.accesses += 1;
            found.addresses.insert(value["ip"].as_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn the_lines_are_what_was_offered() {
    let (lines, truth) = run(1, &ATTACKS);
    let found = find(&lines);
    // 5 minutes of 150 http and 61 other calls; 2400 http and 150 direct attack requests.
    assert_eq!(found.reports, 5 * 211 + 2_550);
    assert_eq!(found.accesses, 5 * 150 + 2_400);
    assert_eq!(truth.records, (found.reports + found.accesses) as u64);
    for source in &truth.attacks[0].sources {
        assert!(found.addresses.contains(&source.to_string()), "{source}");
    }
}

#[test]
fn the_truth_tells_when_whom_and_how_much() {
    let (_, truth) = run(1, &ATTACKS);
    let start: EventTime = "2026-01-05T08:01:00Z".parse().unwrap();
    assert_eq!((truth.v, truth.seed, truth.trace.as_str()), (1, 1, "calls.csv"));
    assert_eq!((truth.start, truth.end), (start, start.plus_ms(300_000)));
    assert_eq!(truth.functions, 4);
    let [flood, direct] = &truth.attacks[..] else { panic!("{truth:?}") };
    assert_eq!((flood.requests, direct.requests), (2_400, 150));
    assert_eq!((flood.sources.len(), direct.sources.len()), (7, 0));
    assert_eq!(flood.onset, start.plus_ms(60_000));
    assert_eq!(flood.end, start.plus_ms(180_000));
    let (first, last) = (flood.first_record.unwrap(), flood.last_record.unwrap());
    assert!(first > flood.onset && last > flood.end.plus_ms(-1_000), "{first} {last}");
    assert_eq!((flood.rps, flood.factor), (20.0, Some(10.0)));
    assert!(flood.functions[0].to_string().ends_with(":us-east-1:f1"));
    let json = serde_json::to_value(&truth).unwrap();
    assert_eq!(json["attacks"][0]["kind"], "flood");
    assert_eq!(json["attacks"][0]["onset"], "2026-01-05T08:02:00.000Z");
    assert_eq!(json["attacks"][0]["functions"][0], flood.functions[0].to_string());
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let (lines, truth) = run(7, &ATTACKS);
    assert_eq!((&lines, &truth), (&run(7, &ATTACKS).0, &run(7, &ATTACKS).1));
    assert_ne!(lines, run(8, &ATTACKS).0);
}

#[test]
fn an_attack_leaves_the_legitimate_requests_as_they_were() {
    let addresses = |attacks: &[&str]| find(&run(1, attacks).0).addresses;
    assert!(addresses(&ATTACKS).is_superset(&addresses(&[])));
}

#[test]
fn progress_is_told_each_minute() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    let settings = settings(trace_file(&folder), 1, &[]);
    generate(&settings, &mut io::sink(), &mut |progress| told.push(progress.minutes)).unwrap();
    assert_eq!(told, [1, 2, 3, 4, 5]);
}

#[test]
fn settings_that_do_not_fit_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let base = settings(trace_file(&folder), 1, &[]);
    let attack = |spec: &str| vec![spec.parse().unwrap()];
    let many = vec!["flood:start=0s,duration=1s".parse().unwrap(); 65];
    for (settings, text) in [
        (GenerateSettings { attacks: many, ..base.clone() }, "65 attacks"),
        (GenerateSettings { attacks: attack("flood:start=20m"), ..base.clone() }, "key start"),
        (GenerateSettings { date: "1999-01-01".parse().unwrap(), ..base.clone() }, "2014-01-01"),
        (GenerateSettings { date: "2099-12-01".parse().unwrap(), ..base.clone() }, "2099-12-31"),
        (
            GenerateSettings { window: Window { first: None, minutes: 60 }, ..base.clone() },
            "--minutes",
        ),
    ] {
        let error = generate(&settings, &mut io::sink(), &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
