//! The daemon's decisions as a chain over a crash and restarts, and what is found when somebody
//! touches it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::support::{Done, PATIENCE, Running, bursar, generate, kind, lines, run, until};

const FLOOD: &str = "flood:factor=20,min_rps=50,start=30m,duration=5m,sources=20";

fn verify(args: &[&Path], more: &[&str]) -> Done {
    run(bursar(["audit", "verify"]).args(more).args(args))
}

#[test]
fn the_record_survives_a_kill_and_a_rotation_and_shows_what_was_touched() {
    let recorded = generate(1, 60, Some(FLOOD));
    let path = recorded.path("decisions.jsonl");
    let mut demonstration = bursar(["run"]);
    demonstration.env("BURSAR__OUTPUT__DECISIONS", &path).env("BURSAR__SERVER__ENABLED", "false");
    let mut killed = Running::start(&mut demonstration);
    let action = until("an action", PATIENCE, || {
        let told = lines(&fs::read_to_string(&path).unwrap_or_default());
        kind(&told, "action").first().copied().cloned()
    });
    killed.signal("KILL");
    until("the end", PATIENCE, || killed.has_ended().then_some(()));
    let mut explain = bursar(["explain", action["id"].as_str().unwrap(), "--decisions"]);
    let told = run(explain.arg(&path)).succeeded().stdout;
    let since =
        format!("since {}, when the first restriction", action["effective_at"].as_str().unwrap());
    assert!(told.contains("Without bursar\n  about $") && told.contains(&since), "{told}");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"kind\":\"alarm\",\"id\":\"4e").unwrap();

    let again = |path: &Path| {
        let mut command = bursar(["run"]);
        command.env("BURSAR__INPUT__KIND", "files").env("BURSAR__SERVER__ENABLED", "false");
        command.env("BURSAR__INPUT__FILES__PATHS", &recorded.records);
        run(command.env("BURSAR__OUTPUT__DECISIONS", path)).succeeded();
    };
    again(&path);
    let older = recorded.path("decisions.jsonl.1");
    fs::rename(&path, &older).unwrap();
    again(&path);
    let done = verify(&[&older, &path], &[]).succeeded();
    assert!(done.stdout.contains("1 torn line"), "{}", done.stdout);
    let head = done.stdout.lines().find_map(|line| line.strip_prefix("head ")).unwrap().to_owned();
    verify(&[&older, &path], &["--head", &head]).succeeded();

    let whole = fs::read_to_string(&path).unwrap();
    let written: Vec<&str> = whole.split_inclusive('\n').collect();
    assert!(written.len() > 5, "{whole}");
    let touch = |text: String, told: &str| {
        fs::write(&path, text).unwrap();
        let done = verify(&[&older, &path], &["--head", &head]);
        assert_eq!(done.code(), Some(1), "{done:?}");
        assert!(done.stderr.contains(told), "{told}: {done:?}");
    };
    let name = path.display();
    touch(whole.replacen("\"page\"", "\"notice\"", 1), "this line was changed");
    touch([&written[..2], &written[3..]].concat().concat(), &format!("{name}:3: before this line"));
    touch([&written[..3], &["{}\n"], &written[3..]].concat().concat(), "4: this line was inserted");
    touch([written[0], written[2], written[1]].concat(), &format!("{name}:2: before this line"));
    // The end cut off: told by the head that was noted alone.
    touch(written[..written.len() - 1].concat(), "the end is not the one that was noted");
    verify(&[&older, &path], &[]).succeeded();
    assert_eq!(verify(&[&path, &older], &[]).code(), Some(1));
}
