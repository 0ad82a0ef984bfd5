//! Decisions posted to other programs: signed, once each, retried, acknowledged, and never in the
//! way of the next decision.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Daemon, PATIENCE, bursar, kind, run, until};

const SECRET: &str = "a secret that both sides know";
const SCHEMA: &str = include_str!("../../docs/webhook.schema.json");

/// A request that came: its headers in lower case, and its body.
#[derive(Clone)]
struct Posted {
    headers: BTreeMap<String, String>,
    body: String,
}

type Answer = fn(&[Posted]) -> Option<&'static str>;

/// A receiver that answers by what has come so far; `None`: it hangs.
fn receiver(answer: Answer) -> (SocketAddr, Arc<Mutex<Vec<Posted>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let posted = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&posted);
    thread::spawn(move || {
        let mut hanging = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(request) = read(&mut stream) else { continue };
            let mut all = kept.lock().unwrap();
            all.push(request);
            match answer(&all) {
                Some(text) => drop(stream.write_all(text.as_bytes())),
                None => hanging.push(stream),
            }
        }
    });
    (address, posted)
}

fn read(stream: &mut TcpStream) -> Option<Posted> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        match line.trim().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_owned())),
            None if line.trim().is_empty() => break,
            None => assert!(line.starts_with("POST /hook HTTP/1.1"), "{line}"),
        }
    }
    let length = headers["content-length"].parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Posted { headers, body: String::from_utf8(body).unwrap() })
}

/// As a receiver would: the HMAC of the time and the body.
fn is_signed(posted: &Posted) -> bool {
    let (time, signature) = posted.headers["bursar-signature"].split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let seconds: i64 = time.strip_prefix("t=").unwrap().parse().unwrap();
    mac.update(format!("{seconds}.{}", posted.body).as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let age = bursar::runtime::clock::wall().0 / 1_000 - seconds;
    signature == expected && (0..120).contains(&age)
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 48\r\n\r\n\
                    {\"acknowledged\": true, \"detail\": \"done by hand\"} ";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const ELSEWHERE: &str = "HTTP/1.1 307 Elsewhere\r\nConnection: close\r\nContent-Length: 0\r\n\
                         Location: http://127.0.0.1:1/stolen\r\n\r\n";

#[test]
fn decisions_are_posted_signed_retried_and_acknowledged_while_other_targets_hang() {
    let (good, posted) = receiver(|all| if all.len() == 1 { Some(BUSY) } else { Some(GOOD) });
    let (hanging, hung) = receiver(|_| None);
    let (redirecting, redirected) = receiver(|_| Some(ELSEWHERE));
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let (token, line) = {
        let made = run(&mut bursar(["token", "alice"])).succeeded().stdout;
        let lines: Vec<String> = made.lines().map(str::to_owned).collect();
        (lines[1].clone(), lines[3].clone())
    };
    fs::write(folder.path().join("access"), line).unwrap();
    let hooks = [hanging, redirecting, good].map(|address| {
        let secret = secret.display();
        format!("[[webhooks]]\nurl = \"http://{address}/hook\"\nsecret_file = \"{secret}\"\n")
    });
    let access = folder.path().join("access");
    let text = format!(
        "mode = \"enforce\"\n[engine]\nlateness = \"4s\"\n[control]\nsettle = \"5s\"\n\
         quiet = \"3s\"\ncanary = \"2s\"\n[server]\naccess_file = \"{}\"\n{}",
        access.display(),
        hooks.concat()
    );
    let config = folder.path().join("bursar.toml");
    fs::write(&config, text).unwrap();
    let daemon = Daemon::start(bursar(["run", "--config"]).arg(&config));

    let restored = until("a restore that is acknowledged", PATIENCE, || {
        let decisions = daemon.decisions();
        let is_restore = |line: &&Value| line["verb"] == "restore";
        let restore = kind(&decisions, "action").into_iter().find(is_restore).cloned()?;
        let acknowledged = |line: &&Value| line["target"] == restore["id"];
        kind(&decisions, "order").into_iter().find(acknowledged).cloned()
    });
    assert_eq!((&restored["order"], &restored["who"]), (&json!("acknowledge"), &json!("webhook")));
    assert_eq!(
        (&restored["why"], &restored["from"]),
        (&json!("done by hand"), &json!(good.to_string()))
    );

    let came = posted.lock().unwrap().clone();
    assert!(came.iter().all(is_signed));
    // Tried again after 503, under the same key.
    let key = |posted: &Posted| posted.headers["idempotency-key"].clone();
    assert_eq!((key(&came[0]), &came[0].body), (key(&came[1]), &came[1].body));
    let mut keys: Vec<String> = came[1..].iter().map(key).collect();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count, "one was posted twice");
    let decisions = daemon.decisions();
    for posted in &came {
        let body: Value = serde_json::from_str(&posted.body).unwrap();
        check(&body);
        let mut written = decisions
            .iter()
            .filter(|line| line["id"] == body["id"] && line["state"] == body["state"]);
        let written = written.next().expect("a decision");
        assert_eq!(written["decided_at"], body["decided_at"]);
    }
    assert!(hung.lock().unwrap().len() < came.len());
    assert!(!redirected.lock().unwrap().is_empty());
    until("failures are counted", PATIENCE, || {
        let failed = daemon.metric("bursar_webhook_decisions_total{outcome=\"failed\"}");
        (failed >= Some(1.0)).then_some(())
    });

    // The other way to acknowledge.
    let action = kind(&decisions, "action")[0]["id"].as_str().unwrap();
    let signed = format!("Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n");
    let (status, answer) = daemon.order(&format!("/api/v1/intents/{action}/ack"), &signed, "{}");
    assert_eq!((status, &answer["order"]["who"]), (202, &json!("alice")), "{answer}");
    assert_eq!(daemon.order("/api/v1/intents/0123456789ab/ack", &signed, "{}").0, 409);
    let said = daemon.said();
    assert!(said.contains("redirects are not followed"), "{said}");
    assert!(!said.contains(SECRET) && !said.contains("/hook"), "{said}");
    // A stop does not wait for who hangs.
    daemon.stop();
}

/// Holds a body against the documented schema, and the schema against the body: a field that is not
/// documented is a mistake here.
fn check(body: &Value) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let kind = body["kind"].as_str().unwrap();
    valid(&schema, &schema["$defs"][kind], body, kind);
    let known = schema["$defs"][kind]["properties"].as_object().unwrap();
    let optional = ["evidence_at", "arrived_at", "position", "projected", "functions"];
    for field in body.as_object().unwrap().keys() {
        let is_known = known.contains_key(field) || optional.contains(&field.as_str());
        assert!(is_known, "{kind}.{field} is not in docs/webhook.schema.json");
    }
}

fn valid(root: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        return valid(root, &root["$defs"][name], value, at);
    }
    if let Some(choices) = schema["enum"].as_array() {
        assert!(choices.contains(value), "{at}: {value} is none of {choices:?}");
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &&str| match *kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        _ => value.is_object(),
    };
    assert!(types.is_empty() || types.iter().any(is), "{at}: {value} is no {types:?}");
    for field in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(field.as_str().unwrap()).is_some(), "{at} has no {field}: {value}");
    }
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(field) {
            valid(root, schema, value, &format!("{at}.{field}"));
        }
    }
}

#[test]
fn targets_of_no_use_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [config, secret] = ["bursar.toml", "secret"].map(|name| folder.path().join(name));
    fs::write(&secret, "short").unwrap();
    for (url, code, told) in [
        ("http://hooks.example/x", 2, "webhooks"),
        ("ftp://hooks.example/x", 2, "webhooks"),
        ("http://127.0.0.1.evil.example/x", 2, "webhooks"),
        ("http://localhost:1@evil.example/x", 2, "webhooks"),
        ("http://localhost?@evil.example/x", 2, "webhooks"),
        ("https://hooks.example/x", 1, "does not hold 16"),
    ] {
        let secret = secret.display();
        let text = format!("[[webhooks]]\nurl = \"{url}\"\nsecret_file = \"{secret}\"\n");
        fs::write(&config, text).unwrap();
        let done = run(bursar(["check", "--config"]).arg(&config));
        assert_eq!(done.code(), Some(code), "{url}: {done:?}");
        assert!(done.stderr.contains(told) && !done.stderr.contains("short"), "{done:?}");
    }
}
