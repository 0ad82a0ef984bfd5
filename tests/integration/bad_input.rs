//! Everything nasty in the middle of good records: the good ones still count, the attack among
//! them is still found, every bad one is counted under its reason and kept with its place, and
//! memory stays bounded, because an attacker chooses names, addresses and times.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, Recorded, Running, bursar, generate, kind, lines_of, ms, pages, replay, run, until,
};

/// A good line may be followed by one bad one, so that in any nine messages the good ones agree
/// about the time.
const GOOD_BETWEEN: usize = 40;

const INVENTED: u32 = 100_000;

/// Measured: 140 MB, most of it the state of invented functions, which has a configured limit.
const RSS_KIB_MAX: u64 = 256 << 10;

/// Messages and the reason under which each is refused; one of each is put at many places.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let with = |part: &str| {
        let common = r#""kind":"invocation","region":"eu-west-1","account":"1""#;
        format!("{{{common},{part}}}").into_bytes()
    };
    let f = r#""function":"bad""#;
    let usage = r#""billed_ms":10,"memory_mb":128"#;
    let now = r#""time":"2026-01-05T00:03:00.000Z""#;
    vec![
        ("truncated_gzip", truncated_gzip()),
        ("invalid_utf8", [&with(f)[..], b"\xff\xfe"].concat()),
        ("invalid_json", with(&format!(r#"{f},{now},"memory_mb":128,"billed_ms":NaN"#))),
        ("invalid_json", with(&format!("{f},{now},{usage}")).split_last().unwrap().1.to_vec()),
        ("out_of_range", with(&format!(r#"{f},{now},"memory_mb":128,"billed_ms":-1"#))),
        ("out_of_range", with(&format!(r#"{f},{now},"memory_mb":128,"billed_ms":1e999"#))),
        ("out_of_range", with(&format!(r#"{f},{now},"memory_mb":128,"billed_ms":3600001"#))),
        ("out_of_range", with(&format!(r#"{f},{now},"billed_ms":10,"memory_mb":0"#))),
        ("out_of_range", with(&format!(r#"{now},{usage},"function":"two words""#))),
        ("malformed_field", with(&format!(r#"{f},{now},"memory_mb":128,"billed_ms":"NaN""#))),
        ("malformed_field", with(&format!(r#"{f},{usage},"time":"yesterday""#))),
        ("missing_field", with(&format!(r#"{f},{now},"memory_mb":128"#))),
        ("function_unknown", with(&format!("{now},{usage}"))),
        ("time_out_of_range", with(&format!(r#"{f},{usage},"time":0"#))),
        ("time_out_of_range", with(&format!(r#"{f},{usage},"time":"1970-01-01T00:00:00Z""#))),
        ("time_out_of_range", with(&format!(r#"{f},{usage},"time":"2100-01-01T00:00:00Z""#))),
        ("unknown_format", br#"{"kind":"gauge","value":1}"#.to_vec()),
        ("unknown_format", br#"{"colour":"blue"}"#.to_vec()),
        ("unknown_format", b"what is this?".to_vec()),
        ("nested_too_deep", nested()),
        // More than a year ahead of the good ones: event time never comes there.
        ("future", with(&format!(r#"{f},{usage},"time":"2028-01-05T00:00:00Z""#))),
        ("future", with(&format!(r#"{f},{usage},"time":"2099-12-31T23:59:59.999Z""#))),
    ]
}

/// Years back in time: they count, and are late.
fn late() -> [Vec<u8>; 2] {
    ["2015-06-01T00:00:00Z", "2025-01-05T00:00:00Z"].map(|time| {
        json!({
            "kind": "invocation", "account": "1", "region": "eu-west-1", "function": "old",
            "time": time, "billed_ms": 10, "memory_mb": 128,
        })
        .to_string()
        .into_bytes()
    })
}

fn nested() -> Vec<u8> {
    let depth = 50_000;
    format!("{{\"specversion\":\"1.0\",\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
        .into()
}

/// The first half of a compressed record, without a line end in it.
fn truncated_gzip() -> Vec<u8> {
    let halves = (0..).map(|number| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        write!(encoder, "{{\"kind\":\"invocation\",\"function\":\"f{number}\"}}").unwrap();
        let mut bytes = encoder.finish().unwrap();
        bytes.truncate(bytes.len() / 2);
        bytes
    });
    halves.into_iter().find(|half| !half.contains(&b'\n')).unwrap()
}

/// What was written, and what must come of it.
struct Mixed {
    path: PathBuf,
    /// Reason and line of everything that is refused.
    refused: BTreeSet<(String, u64)>,
    late: u64,
    /// What counts beside the good records.
    invented: u64,
}

struct Mixer {
    out: BufWriter<File>,
    line: u64,
    mixed: Mixed,
}

impl Mixer {
    fn line(&mut self, bytes: &[u8]) {
        self.out.write_all(bytes).unwrap();
        self.out.write_all(b"\n").unwrap();
        self.line += 1;
    }

    fn refused(&mut self, reason: &str, bytes: &[u8]) {
        self.line(bytes);
        self.mixed.refused.insert((reason.to_owned(), self.line));
    }

    /// Functions that nobody has heard of, each once.
    fn functions(&mut self, now: i64) {
        for number in 0..INVENTED {
            let record = json!({
                "kind": "invocation", "account": "1", "region": "eu-west-1", "time": now,
                "function": format!("invented-{number}"), "billed_ms": 1, "memory_mb": 128,
            });
            self.line(record.to_string().as_bytes());
        }
        self.mixed.invented += u64::from(INVENTED);
    }

    /// Addresses that come once, all to one function.
    fn addresses(&mut self, now: i64, function: &str) {
        let [account, region, name] =
            function.splitn(3, ':').collect::<Vec<_>>().try_into().unwrap();
        for number in 0..INVENTED {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
            let record = json!({
                "kind": "trigger", "account": account, "region": region, "function": name,
                "time": now, "source_ip": address, "trigger": "function_url",
            });
            self.line(record.to_string().as_bytes());
        }
        self.mixed.invented += u64::from(INVENTED);
    }
}

/// Time of a good line, for access-log lines.
fn time_of(line: &str) -> Option<i64> {
    let (_, rest) = line.split_once("\"requestTimeEpoch\":\"")?;
    rest.split_once('"')?.0.parse().ok()
}

fn mix(recorded: &Recorded) -> Mixed {
    let path = recorded.path("mixed.jsonl");
    let out = BufWriter::new(File::create(&path).unwrap());
    let mixed = Mixed { path, refused: BTreeSet::new(), late: 0, invented: 0 };
    let mut mixer = Mixer { out, line: 0, mixed };
    let (bad, late) = (refused(), late());
    let attack = recorded.attack();
    let victim = attack["functions"][0].as_str().unwrap();
    let mut names_at = ms(&attack["onset"]) - 4 * 60_000;
    let mut addresses_at = ms(&attack["onset"]) + 30_000;
    let good = fs::read_to_string(&recorded.records).unwrap();
    for (index, line) in good.lines().enumerate() {
        mixer.line(line.as_bytes());
        if let Some(now) = time_of(line) {
            if now > names_at {
                mixer.functions(now);
                names_at = i64::MAX;
            }
            if now > addresses_at {
                mixer.addresses(now, victim);
                addresses_at = i64::MAX;
            }
        }
        if index % GOOD_BETWEEN != GOOD_BETWEEN - 1 {
            continue;
        }
        let turn = index / GOOD_BETWEEN;
        if let Some((reason, bytes)) = bad.get(turn % (bad.len() + late.len())) {
            mixer.refused(reason, bytes);
        } else {
            mixer.line(&late[turn % late.len()]);
            mixer.mixed.late += 1;
        }
        if turn == 20 {
            mixer.refused("oversize", &b"x".repeat(10 << 20));
        }
    }
    mixer.out.flush().unwrap();
    mixer.mixed
}

/// The most memory that a process has had so far, in KiB.
fn peak_rss(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[test]
fn good_records_count_and_an_attack_is_found_among_everything_that_is_bad() {
    let recorded =
        generate(5, 16, Some("flood:factor=20,min_rps=50,start=12m,duration=2m,sources=20"));
    let clean = replay(recorded.folder.path(), |command| {
        command.arg(&recorded.records);
    });
    let clean = clean.lines();
    let mixed = mix(&recorded);
    let [decisions, dead] = ["mixed-decisions.jsonl", "dead.jsonl"].map(|name| recorded.path(name));
    let mut command = bursar(["replay", "--decisions"]);
    command.arg(&decisions).arg(&mixed.path).env("BURSAR__OUTPUT__DEAD_LETTERS", &dead);
    let mut running = Running::start(&mut command);
    let mut rss = 0;
    until("the end of the replay", PATIENCE, || {
        rss = rss.max(peak_rss(running.pid()).unwrap_or(0));
        running.has_ended().then_some(())
    });
    let done = running.wait().succeeded();
    let decisions = lines_of(&decisions);

    let count = |of: &[Value], what: &str| of.last().unwrap()["records"][what].as_u64().unwrap();
    let good = count(&clean, "counted");
    assert_eq!(count(&decisions, "counted"), good + mixed.invented + mixed.late);
    assert_eq!(count(&decisions, "late"), mixed.late);
    assert_eq!(count(&decisions, "rejected"), mixed.refused.len() as u64);
    assert_eq!(count(&decisions, "duplicate"), 0);

    let opened = |of: &[Value]| {
        let [page] = &pages(of)[..] else { panic!("not one page") };
        [&page["id"], &page["function"], &page["onset"], &page["evidence_at"]].map(Value::clone)
    };
    assert_eq!(opened(&decisions), opened(&clean));
    let truth = recorded.attack()["sources"].as_array().unwrap();
    for alarm in kind(&decisions, "alarm") {
        for source in alarm["attribution"]["sources"].as_array().unwrap() {
            let is_address = source["dimension"] == "address";
            assert!(!is_address || truth.contains(&source["source"]), "{source}");
        }
    }
    check_reasons(&mixed, &done.stdout, &lines_of(&dead));
    if cfg!(target_os = "linux") {
        assert!((10 << 10..RSS_KIB_MAX).contains(&rss), "{rss} KiB");
    }
}

/// Counted by reason for people, and each kept with its place.
fn check_reasons(mixed: &Mixed, narration: &str, dead: &[Value]) {
    let mut counts = BTreeMap::<&str, u64>::new();
    mixed.refused.iter().for_each(|(reason, _)| *counts.entry(reason).or_default() += 1);
    assert_eq!(counts.len(), 12);
    let counts = counts.iter().map(|(reason, count)| format!("{reason} {count}"));
    let expected = format!("rejected by reason: {}", counts.collect::<Vec<_>>().join(", "));
    assert!(narration.lines().any(|line| line == expected), "no {expected}\n{narration}");
    let kept = dead.iter().map(|letter| {
        assert_eq!(letter["lane"], mixed.path.display().to_string());
        (letter["reason"].as_str().unwrap().to_owned(), letter["offset"].as_u64().unwrap())
    });
    assert_eq!(kept.collect::<BTreeSet<_>>(), mixed.refused);
}

#[test]
fn a_file_that_is_cut_off_ends_with_a_problem_and_the_others_go_on() {
    let recorded = generate(6, 3, None);
    let plain = fs::read(&recorded.records).unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    let cut = recorded.path("cut.jsonl.gz");
    fs::write(&cut, &packed[..packed.len() / 2]).unwrap();
    let [decisions, dead] = ["decisions.jsonl", "dead.jsonl"].map(|name| recorded.path(name));
    let mut command = bursar(["replay", "--decisions"]);
    command.arg(&decisions).arg(&cut).arg(&recorded.records);
    let done = run(command.env("BURSAR__OUTPUT__DEAD_LETTERS", &dead)).succeeded();
    assert!(done.stdout.contains("rejected by reason: damage 1"), "{}", done.stdout);
    let [letter] = &lines_of(&dead)[..] else { panic!("not one letter") };
    assert_eq!(letter["lane"], cut.display().to_string());
    let whole = letter["offset"].as_u64().unwrap() - 1;
    assert!(letter["detail"].as_str().unwrap().contains(&format!("cut off after line {whole}")));
    assert!(done.stderr.contains("input is damaged here"), "{}", done.stderr);
    let lines = lines_of(&decisions);
    let records = &lines.last().unwrap()["records"];
    let good = recorded.truth["records"].as_u64().unwrap();
    // Its log events have identities: they are the same records again.
    assert!(records["duplicate"].as_u64().unwrap() > 0, "{records}");
    assert!(records["counted"].as_u64().unwrap() >= good, "{records}");
    assert!(whole > 100 && whole < plain.iter().filter(|byte| **byte == b'\n').count() as u64);
}
