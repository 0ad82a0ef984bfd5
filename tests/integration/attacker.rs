//! The attacker's turn at the HTTP server: what strangers may do to it, and that it answers others
//! all the same.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Daemon, bursar, now, run};

/// Connections in all, and how many of them are held open from this side: the system lets a process
/// have a thousand or so.
const CONNECTIONS: usize = 10_000;
const HELD: usize = 500;
/// What `/metrics` may take beside all that.
const SCRAPE: Duration = Duration::from_secs(1);
/// By how much the process may grow.
const GROWTH_KB: u64 = 48 << 10;

/// A daemon that has nothing to read yet, so that its memory is the server's doing.
fn start() -> Daemon {
    Daemon::start(&mut idle())
}

fn idle() -> Command {
    let mut command = bursar(["run"]);
    command.env("BURSAR__INPUT__KIND", "files").env("BURSAR__INPUT__FILES__PATHS", "-");
    command.stdin(Stdio::piped());
    command
}

/// Resident memory, in kibibytes.
fn resident(daemon: &Daemon) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[track_caller]
fn scrape(daemon: &Daemon) {
    let began = now();
    assert_eq!(daemon.get("/metrics").0, 200);
    let took = now() - began;
    assert!(took < SCRAPE, "/metrics took {took:?}");
}

fn connect(daemon: &Daemon) -> TcpStream {
    TcpStream::connect(daemon.address()).unwrap()
}

#[test]
fn ten_thousand_connections_hold_up_no_scrape() {
    let daemon = start();
    let before = resident(&daemon);
    let mut held = std::collections::VecDeque::new();
    for number in 0..CONNECTIONS {
        held.push_back(connect(&daemon));
        if held.len() > HELD {
            held.pop_front();
        }
        if number % 1_000 == 999 {
            scrape(&daemon);
        }
    }
    scrape(&daemon);
    if let (Some(before), Some(after)) = (before, resident(&daemon)) {
        assert!(after < before + GROWTH_KB, "from {before} to {after} KiB");
    }
}

#[test]
fn slow_writers_and_slow_readers_make_room() {
    let daemon = start();
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut trickle = connect(&daemon);
        trickle.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
        slow.push(trickle);
        let mut deaf = connect(&daemon);
        // Answers for more than any buffer holds, which nobody takes.
        let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
        drop(deaf.write_all(many.as_bytes()));
        slow.push(deaf);
        scrape(&daemon);
    }
    for stream in &mut slow {
        // Those that have lost their seat are closed.
        drop(stream.write_all(b"x"));
    }
    scrape(&daemon);
}

#[test]
fn heads_and_bodies_beyond_the_limit_are_cut_off() {
    let daemon = start();
    let before = resident(&daemon);
    let huge = "x".repeat(4 << 20);
    for request in [
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Huge: {huge}\r\n\r\n"),
        format!("GET /{huge} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!(
            "POST /api/v1/restore HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n{huge}"
        ),
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: 1\r\n".repeat(5_000)),
    ] {
        let mut stream = connect(&daemon);
        // It may be closed before all of it is taken.
        drop(stream.write_all(request.as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        let refused = ["HTTP/1.1 413", "HTTP/1.1 414", "HTTP/1.1 431"];
        let is_refused = refused.iter().any(|status| answer.starts_with(status));
        assert!(answer.is_empty() || is_refused, "{answer}");
    }
    scrape(&daemon);
    if let (Some(before), Some(after)) = (before, resident(&daemon)) {
        assert!(after < before + GROWTH_KB, "from {before} to {after} KiB");
    }
}

#[test]
fn no_path_leads_anywhere_but_to_the_resources() {
    let daemon = start();
    for path in [
        "/api/v1/../../metrics",
        "//metrics",
        "/metrics/",
        "/metrics/../api/v1/alarms",
        "/%6detrics%2f",
        "/api/v1/restrictions/../restore",
        "/api/v1/alarms%00",
        "/etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
    ] {
        let (status, body) = daemon.get(path);
        assert!([404, 405].contains(&status), "{path}: {body}");
        assert!(!body.contains("root:"), "{path}");
    }
    for raw in ["GET * HTTP/1.1", "GET metrics HTTP/1.1", "GET /\u{0} HTTP/1.1", "\u{1}"] {
        let answer = daemon.raw(&format!("{raw}\r\nHost: x\r\nConnection: close\r\n\r\n"));
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.is_empty() || first.contains(" 400 ") || first.contains(" 404 "), "{answer}");
    }
}

#[test]
fn two_requests_in_one_are_not_taken_for_two() {
    let daemon = start();
    let hidden = "POST /api/v1/restore HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    for head in [
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 83",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 83\r\nTransfer-Encoding: chunked",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\nContent-Length: 83",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: +83",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length : 83",
    ] {
        let answer = daemon.raw(&format!("{head}\r\n\r\n{hidden}"));
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{head}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 200"), "{head}: {answer}");
    }
}

/// Thousands of requests that the document allows or nearly allows, by schemathesis: where
/// `tests/run` has installed it. Orders are limited, so most of them meet that limit.
#[test]
fn schemathesis_finds_no_answer_that_is_not_documented() {
    let Some(tool) = std::env::var_os("BURSAR_TEST_SCHEMATHESIS") else {
        eprintln!("left out: BURSAR_TEST_SCHEMATHESIS does not name the executable");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let made = run(&mut bursar(["token", "fuzz"])).succeeded().stdout;
    let lines: Vec<&str> = made.lines().collect();
    let access = folder.path().join("access");
    fs::write(&access, lines[3]).unwrap();
    let mut command = idle();
    let daemon = Daemon::start(command.env("BURSAR__SERVER__ACCESS_FILE", access));
    let mut fuzz = Command::new(tool);
    fuzz.args(["run", "--checks", "all", "--max-examples", "50", "--workers", "1", "--seed", "1"]);
    fuzz.args(["-H", &format!("Authorization: Bearer {}", lines[1])]);
    fuzz.arg(format!("http://{}/api/v1/openapi.json", daemon.address()));
    let done = run(fuzz.current_dir(folder.path()));
    assert_eq!(done.code(), Some(0), "{}", done.stdout);
    scrape(&daemon);
}

#[test]
fn every_resource_of_the_openapi_document_answers_as_it_says() {
    let daemon = start();
    let document = daemon.json("/api/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for path in ["/metrics", "/healthz", "/api/v1/alarms", "/api/v1/restore", "/api/v1/run"] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let (status, field) = match method.as_str() {
                "get" => {
                    let (status, body) = daemon.get(path);
                    let answer = &operation["responses"][status.to_string()];
                    let schema = &answer["content"]["application/json"]["schema"];
                    let field = schema["required"][0].as_str().map(str::to_owned);
                    if let Some(field) = &field {
                        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                        assert!(body.get(field).is_some(), "{path}: {body}");
                    }
                    (status, field)
                }
                _ => (daemon.order(path, "Content-Type: application/json\r\n", "{}").0, None),
            };
            let documented = operation["responses"].get(status.to_string());
            assert!(documented.is_some(), "{method} {path}: {status} is not in the document");
            assert!(field.is_some() || path == "/metrics" || method == "post", "{path}");
        }
    }
}
