//! The command line: exit codes, and words that say what to do next.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::{Done, bursar, generate, run};

#[track_caller]
fn check(done: &Done, code: i32, parts: &[&str]) {
    assert_eq!(done.code(), Some(code), "{done:#?}");
    let said = if code == 0 { &done.stdout } else { &done.stderr };
    parts.iter().for_each(|part| assert!(said.contains(part), "no {part:?} in {done:#?}"));
}

#[test]
fn exit_codes_tell_done_from_failed_from_misused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("wrong.toml"), "mode = \"never\"\n").unwrap();
    fs::write(path("good.toml"), "[engine]\nshards = 2\n").unwrap();
    fs::write(path("empty.jsonl"), "").unwrap();
    let [wrong, good, empty, absent] =
        ["wrong.toml", "good.toml", "empty.jsonl", "absent.jsonl"].map(path);
    let folder = folder.path().display().to_string();
    for (args, code, parts) in [
        (&["--version"][..], 0, &["bursar ", env!("CARGO_PKG_VERSION")][..]),
        (&["check"], 0, &["settings are good: fingerprint "]),
        (&["check", "--config", &good], 0, &["settings are good"]),
        (&["replay", &empty], 0, &["0 records counted"]),
        (&["replay", &absent], 1, &["absent.jsonl", "check that it exists"]),
        (&["replay", &folder], 1, &[&folder, "is a directory"]),
        (&["replay", &empty, "--decisions", "/nowhere/d.jsonl"], 1, &["/nowhere/d.jsonl"]),
        (&["replay", "-", "-"], 1, &["standard input is named twice"]),
        (&["check", "--config", &wrong], 2, &["mode = \"never\"", "\"approve\" or \"enforce\""]),
        (&["run", "--config", &wrong], 2, &["mode = \"never\""]),
        (&["replay", "--config", &wrong, &empty], 2, &["mode = \"never\""]),
        (&["check", "--config", &absent], 2, &["absent.jsonl"]),
        (&["replay"], 2, &["<INPUT>"]),
        (&["reply"], 2, &["reply", "replay"]),
        (&["check", "--confg", "x"], 2, &["--confg", "--config"]),
        (&["generate", "--attack", "flod"], 2, &["flod", "flood"]),
    ] {
        check(&run(&mut bursar(args)), code, parts);
    }
}

#[test]
fn a_failure_says_one_thing_and_nothing_else() {
    let done = run(&mut bursar(["replay", "/nowhere/records.jsonl"]));
    assert_eq!(done.code(), Some(1));
    assert_eq!(done.stdout, "");
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.starts_with("bursar: cannot read /nowhere/records.jsonl"));
}

#[test]
fn all_problems_of_the_settings_are_told_at_once_with_file_line_and_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bursar.toml");
    let text = "[engine]\nlatenes = \"5s\"\nshards = 65\n\n[cost]\nfree_tier = \"yes\"\n\n\
                [controll]\nquiet = \"1m\"\n";
    fs::write(&path, text).unwrap();
    let mut command = bursar(["check", "--config"]);
    command.arg(&path).env("BURSAR__LOG__LEVEL", "loud").env("BURSAR__SERVER__PORT", "80");
    let done = run(&mut command);
    check(&done, 2, &[]);
    assert_eq!(done.stdout, "");
    for parts in [
        ["engine.latenes", "did you mean engine.lateness?", "line 2"],
        ["engine.shards = 65", "a whole number from 0 to 64", "line 3"],
        ["cost.free_tier = \"yes\"", "true or false", "line 6"],
        ["controll", "did you mean control?", "line 8"],
        ["log.level = \"loud\"", "\"warn\"", "BURSAR__LOG__LEVEL"],
        ["server.port", "unknown key", "BURSAR__SERVER__PORT"],
    ] {
        let told = |line: &str| parts.iter().all(|part| line.contains(part));
        assert_eq!(done.stderr.lines().filter(|line| told(line)).count(), 1, "{parts:?} {done:#?}");
    }
    assert_eq!(done.stderr.lines().count(), 6, "{}", done.stderr);
}

#[test]
fn the_default_file_is_the_documented_one_and_is_accepted() {
    let done = run(&mut bursar(["check", "--print-default"])).succeeded();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/bursar.toml");
    assert_eq!(done.stdout, fs::read_to_string(path).unwrap());
    let with = run(&mut bursar(["check", "--config", path])).succeeded();
    let without = run(&mut bursar(["check"])).succeeded();
    assert_eq!(with.stdout, without.stdout);
}

#[test]
fn the_fingerprint_is_that_of_the_values_and_not_of_where_they_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bursar.toml");
    fs::write(&path, "[engine]\nlateness = \"5s\"\n").unwrap();
    let file = run(bursar(["check", "--config"]).arg(path)).succeeded().stdout;
    let mut command = bursar(["check"]);
    let variable = run(command.env("BURSAR__ENGINE__LATENESS", "5s")).succeeded().stdout;
    let default = run(&mut bursar(["check"])).succeeded().stdout;
    assert_eq!(file, variable);
    assert_ne!(file, default);
}

#[test]
fn help_names_the_commands_and_what_they_take() {
    for (args, parts) in [
        (&["--help"][..], &["run", "replay", "generate", "evaluate", "check", "Examples:"][..]),
        (&["run", "--help"], &["--config <FILE>"]),
        (&["replay", "--help"], &["--decisions", "--ledger", "--json", "<INPUT>...", "zstd"]),
        (&["learn", "--help"], &["--config", "--out", "<INPUT>...", "zst"]),
        (&["generate", "--help"], &["--trace", "--attack", "yoyo", "min_rps=50", "--truth"]),
        (&["evaluate", "--help"], &["--truth", "--decisions", "--ledger", "--json", "60 s"]),
        (&["check", "--help"], &["--config", "--print-default"]),
    ] {
        check(&run(&mut bursar(args)), 0, parts);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let recorded = generate(3, 15, Some("flood:start=11m,duration=1m"));
    for args in [&["replay"][..], &["replay", "--decisions", "-"]] {
        let mut command = bursar(args);
        command.arg(&recorded.records).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        if args.len() > 1 {
            out.read_line(&mut first).unwrap();
            assert!(first.starts_with("{\"v\":1,\"kind\":\"run\""), "{first}");
        }
        drop(out);
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!((done.status.code(), &*said), (Some(0), ""), "{args:?}");
    }
}
