//! Orders over HTTP: who may give them, what comes of them, and that no secret is told to anybody.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Daemon, PATIENCE, bursar, kind, ms, run, until};

const JSON: &str = "Content-Type: application/json\r\n";
const CHECKOUT: &str = "111122223333:us-east-1:checkout";

/// A token and its line, as the command makes them.
fn token(name: &str, more: &[&str]) -> (String, String) {
    let done = run(bursar(["token", name]).args(more)).succeeded();
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(lines[1].starts_with("bursar_") && lines[3].starts_with(name), "{}", done.stdout);
    (lines[1].to_owned(), lines[3].to_owned())
}

fn start(access: &Path) -> Daemon {
    Daemon::start(bursar(["run"]).env("BURSAR__SERVER__ACCESS_FILE", access))
}

fn signed(token: &str) -> String {
    format!("{JSON}Authorization: Bearer {token}\r\n")
}

fn access_file(folder: &tempfile::TempDir, lines: &[&str]) -> PathBuf {
    let path = folder.path().join("access");
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn wait_for_cap(daemon: &Daemon) -> String {
    until("a cap", PATIENCE, || {
        let decisions = daemon.decisions();
        let cap = kind(&decisions, "action").into_iter().find(|line| {
            line["verb"] == "restrict" && line["actuator"] == "reserved_concurrency"
        })?;
        Some(cap["target"].as_str().unwrap().to_owned())
    })
}

#[test]
fn an_order_is_carried_out_and_says_who_gave_it_and_from_where() {
    let (alice, line) = token("alice", &[]);
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(&access_file(&folder, &[&line]));
    let target = wait_for_cap(&daemon);
    let order = |path: &str, body: &str| daemon.order(path, &signed(&alice), body);

    let path = format!("/api/v1/restrictions/{target}/restore");
    let (status, answer) = order(&path, r#"{"reason":"the shop is ours"}"#);
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["order"]["who"], "alice");
    assert!(answer["restrictions"].as_u64() >= Some(1), "{answer}");
    let back = until("what is given back", PATIENCE, || {
        let decisions = daemon.decisions();
        kind(&decisions, "action").into_iter().find(|line| line["verb"] == "restore").cloned()
    });
    assert_eq!(
        (&back["reason"], &back["outcome"]),
        (&json!("alice has ordered it"), &json!("applied"))
    );
    until("nothing in force", PATIENCE, || {
        let shown = daemon.json("/api/v1/restrictions");
        shown["restrictions"].as_array().unwrap().is_empty().then_some(())
    });
    let decisions = daemon.decisions();
    let written = kind(&decisions, "order")[0];
    assert_eq!(written["who"], "alice");
    assert_eq!(written["from"], "127.0.0.1");
    assert_eq!(written["why"], "the shop is ours");
    assert_eq!((&written["order"], &written["target"]), (&json!("restore"), &json!(target)));
    // The attack goes on, and the function is left alone all the same.
    let began = |line: &&Value| {
        line["verb"] == "restrict" && ms(&line["decided_at"]) > ms(&written["decided_at"])
    };
    assert_eq!(kind(&decisions, "action").into_iter().filter(began).count(), 0);
    assert_eq!(order(&path, "{}").0, 409, "it is not restricted any more");

    for (path, expected) in [
        ("/api/v1/actions/stop", "stop"),
        ("/api/v1/actions/resume", "resume"),
        ("/api/v1/restore", "restore_all"),
        (&*format!("/api/v1/functions/{CHECKOUT}/leave-alone"), "leave_alone"),
    ] {
        let (status, answer) = order(path, "{}");
        assert_eq!((status, &answer["order"]["order"]), (202, &json!(expected)), "{answer}");
    }
    let granted = daemon.metric("bursar_access_total{outcome=\"granted\"}");
    assert_eq!(granted, Some(6.0));
    let (decisions, _) = daemon.stop();
    assert_eq!(kind(&decisions, "order").len(), 6);
}

#[test]
fn in_mode_approve_nothing_is_done_before_somebody_says_yes() {
    let (alice, line) = token("alice", &[]);
    let folder = tempfile::tempdir().unwrap();
    let access = access_file(&folder, &[&line]);
    let mut command = bursar(["run"]);
    let daemon = Daemon::start(
        command.env("BURSAR__SERVER__ACCESS_FILE", &access).env("BURSAR__MODE", "approve"),
    );
    let waiting = until("what waits", PATIENCE, || {
        let decisions = daemon.decisions();
        kind(&decisions, "abstention").into_iter().find(|line| line["gate"] == "approval").cloned()
    });
    assert_eq!(kind(&daemon.decisions(), "action").len(), 0);
    let id = waiting["alarm_id"].as_str().unwrap();
    assert!(waiting["reason"].as_str().unwrap().contains(id), "{waiting}");
    let approve =
        |id: &str| daemon.order(&format!("/api/v1/alarms/{id}/approve"), &signed(&alice), "{}");
    assert_eq!(approve("0123456789ab").0, 409, "there is no such alarm");
    assert_eq!(approve("..").0, 404);
    let (status, answer) = approve(id);
    assert_eq!((status, &answer["order"]["order"]), (202, &json!("approve")), "{answer}");
    let first = until("an action", PATIENCE, || {
        kind(&daemon.decisions(), "action").first().map(|line| (*line).clone())
    });
    assert_eq!((&first["alarm_id"], &first["outcome"]), (&json!(id), &json!("applied")));
    assert_eq!(first["mode"], "approve");
}

#[test]
fn nothing_new_begins_after_a_stop() {
    let (alice, line) = token("alice", &[]);
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(&access_file(&folder, &[&line]));
    assert_eq!(daemon.order("/api/v1/actions/stop", &signed(&alice), "{}").0, 202);
    let held_off = until("an abstention", PATIENCE, || {
        let decisions = daemon.decisions();
        let is_held = |line: &&Value| line["gate"] == "held_off";
        kind(&decisions, "abstention").into_iter().find(is_held).cloned()
    });
    assert_eq!(held_off["reason"], "actions are stopped by order");
    let decisions = daemon.decisions();
    assert!(kind(&decisions, "action").is_empty(), "{decisions:?}");
}

#[test]
fn who_may_not_is_told_so_and_changes_nothing() {
    let (alice, alice_line) = token("alice", &[]);
    let (bob, bob_line) = token("bob", &["--read"]);
    let folder = tempfile::tempdir().unwrap();
    let access = access_file(&folder, &[&alice_line, &bob_line]);
    let daemon = start(&access);
    let stop = "/api/v1/actions/stop";
    let with = |more: &str| signed(&alice) + more;
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(5_000));
    for (headers, body, expected) in [
        (JSON.to_owned(), "{}", 401),
        (signed("bursar_guess"), "{}", 401),
        (signed(&alice.to_uppercase()), "{}", 401),
        (format!("{JSON}Authorization: Basic {alice}\r\n"), "{}", 401),
        (format!("{JSON}Cookie: token={alice}\r\n"), "{}", 401),
        (signed(&bob), "{}", 403),
        (with("Origin: https://evil.example\r\n"), "{}", 403),
        (with("Origin: null\r\n"), "{}", 403),
        (with("Sec-Fetch-Site: cross-site\r\n"), "{}", 403),
        (signed(&alice).replace("application/json", "text/plain"), "{}", 415),
        (signed(&alice).replace(JSON, ""), "{}", 415),
        (signed(&alice), &*long, 413),
        (signed(&alice), "{\"reason\":1}", 400),
        (signed(&alice), "{\"force\":true}", 400),
        (signed(&alice), "", 400),
    ] {
        let (status, answer) = daemon.order(stop, &headers, body);
        assert_eq!(status, expected, "{headers} {body}: {answer}");
    }
    let wrong = daemon.order("/api/v1/restrictions/checkout/restore", &signed(&alice), "{}");
    assert_eq!(wrong.0, 404, "{}", wrong.1);
    assert_eq!(daemon.get(stop).0, 405);
    // Rotation: the new one is good at once, and the old one is not any more.
    let (new, new_line) = token("alice-2", &[]);
    fs::write(&access, new_line).unwrap();
    assert_eq!(daemon.order(stop, &signed(&alice), "{}").0, 401);
    assert_eq!(daemon.order(stop, &signed(&new), "{}").0, 202);
    fs::write(&access, "nonsense").unwrap();
    assert_eq!(daemon.order(stop, &signed(&new), "{}").0, 503);
    let decisions = daemon.decisions();
    assert_eq!(kind(&decisions, "order").len(), 1, "{decisions:?}");
    let said = daemon.said();
    assert!(said.contains("nobody is let in until it is mended"), "{said}");
}

#[test]
fn reading_needs_a_key_where_that_is_said() {
    let (bob, line) = token("bob", &["--read"]);
    let folder = tempfile::tempdir().unwrap();
    let mut command = bursar(["run"]);
    command.env("BURSAR__SERVER__ACCESS_FILE", access_file(&folder, &[&line]));
    let daemon = Daemon::start(command.env("BURSAR__SERVER__READ_NEEDS_KEY", "true"));
    assert_eq!(daemon.get("/metrics").0, 401);
    assert_eq!(daemon.get("/api/v1/alarms").0, 401);
    assert_eq!(daemon.get("/healthz").0, 200);
    let host = daemon.address().to_owned();
    let answer = daemon.raw(&format!(
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Authorization: Bearer {bob}\r\n\r\n"
    ));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for (name, expected) in
        [("evil.example", 421), ("127.0.0.1.evil.example:9477", 421), ("bursar", 401)]
    {
        let answer = daemon
            .raw(&format!("GET /metrics HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{name}: {answer}");
    }
}

#[test]
fn no_secret_is_in_anything_that_bursar_says() {
    let (alice, line) = token("alice", &[]);
    let digest = line.rsplit(' ').next().unwrap();
    let password = "pa55-of-the-broker";
    let folder = tempfile::tempdir().unwrap();
    let access = access_file(&folder, &[&line]);
    let secret = |command: &mut std::process::Command| {
        command.env("BURSAR__INPUT__KAFKA__PROPERTIES__SASL__PASSWORD", password);
        command.env("BURSAR__SERVER__ACCESS_FILE", &access);
        command.env("BURSAR__OUTPUT__DECISIONS", folder.path().join("d.jsonl"));
        command.env("BURSAR__LOG__LEVEL", "trace");
    };
    let mut command = bursar(["run"]);
    secret(&mut command);
    let daemon = Daemon::start(&mut command);
    for key in [&alice, "bursar_0123456789abcdef"] {
        daemon.order("/api/v1/actions/stop", &signed(key), "{}");
        daemon.order("/api/v1/nothing", &signed(key), "{}");
        daemon.order("/api/v1/restrictions/x/restore", &signed(key), "{}");
    }
    let mut said =
        ["/metrics", "/readyz", "/api/v1/run", "/api/v1/actions", "/api/v1/openapi.json"]
            .map(|path| daemon.get(path).1)
            .concat();
    said += &daemon.said();
    let decisions = daemon.decisions_file();
    said += &fs::read_to_string(decisions).unwrap();
    drop(daemon);
    let mut check = bursar(["check"]);
    secret(&mut check);
    let done = run(&mut check).succeeded();
    said += &(done.stdout + &done.stderr);
    // The token where its digest should be.
    fs::write(&access, format!("alice change token {alice}")).unwrap();
    let done = run(&mut check);
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(done.stderr.contains("make a new one"), "{done:?}");
    said += &(done.stdout + &done.stderr);
    assert!(said.len() > 10_000, "{said}");
    for hidden in [&*alice, password, digest, "0123456789abcdef"] {
        assert!(!said.contains(hidden), "{hidden} is told");
    }
}

#[test]
fn settings_that_would_give_keys_away_are_refused() {
    for (settings, key) in [
        ("[server]\naccess_file = \"/a\"", "server.access_file"),
        ("[server]\nread_needs_key = true", "server.read_needs_key"),
        ("[server]\ntls_certificate = \"/a\"", "server.tls_key"),
        ("[server]\ntls_client_ca = \"/a\"", "server.tls_client_ca"),
        (
            "[server]\nlisten = \"0.0.0.0:9477\"\naccess_file = \"/a\"\n[output]\n\
             decisions = \"/d\"",
            "server.access_file",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bursar.toml");
        fs::write(&path, settings).unwrap();
        let done = run(bursar(["check", "--config"]).arg(&path));
        assert_eq!(done.code(), Some(2), "{settings}: {done:?}");
        assert!(done.stderr.contains(key), "{settings}: {done:?}");
    }
    let open = run(bursar(["check"]).env("BURSAR__SERVER__LISTEN", "0.0.0.0:9477")).succeeded();
    assert!(open.stdout.contains("warning: whoever reaches server.listen"), "{open:?}");
}
