//! The daemon shows a token from a file to a real broker, which trusts those without a signature.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use crate::broker::Broker;
use crate::kafka::{counted, start};
use crate::support::{Daemon, PATIENCE, until};

/// Enough for a login, and little enough to wait for its end.
const LIFE: Duration = Duration::from_secs(5);

/// Replaces the token at a stroke, as whoever renews one has to.
fn write_token(path: &Path, header: &str, life: Duration) {
    let now = std::process::Command::new("date").arg("+%s").output().unwrap();
    let now: u64 = String::from_utf8(now.stdout).unwrap().trim().parse().unwrap();
    let claims = format!(r#"{{"sub":"bursar","iat":{now},"exp":{}}}"#, now + life.as_secs());
    let [header, claims] = [header, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let beside = path.with_extension("new");
    fs::write(&beside, format!("{header}.{claims}.\n")).unwrap();
    fs::rename(beside, path).unwrap();
}

/// Renews a token in good time, until it goes out of scope.
struct Renewal {
    going: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Renewal {
    fn start(path: &Path, header: &'static str) -> Self {
        write_token(path, header, LIFE);
        let (going, path) = (Arc::new(AtomicBool::new(true)), path.to_owned());
        let asked = Arc::clone(&going);
        let writer = thread::spawn(move || {
            while asked.load(Ordering::Relaxed) {
                write_token(&path, header, LIFE);
                thread::sleep(LIFE / 10);
            }
        });
        Self { going, writer: Some(writer) }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.going.store(false, Ordering::Relaxed);
        drop(self.writer.take().map(JoinHandle::join));
    }
}

fn record(number: usize) -> String {
    serde_json::json!({
        "kind": "invocation", "time": format!("2026-01-05T00:00:{:02}Z", number % 60),
        "account": "1", "region": "eu-west-1", "function": "f", "id": number.to_string(),
        "billed_ms": 9, "memory_mb": 128,
    })
    .to_string()
}

fn reason(daemon: &Daemon, words: &str) -> String {
    until(words, PATIENCE, || {
        let (status, body) = daemon.get("/readyz");
        (status == 503 && body.contains(words)).then_some(body)
    })
}

#[test]
fn a_token_from_a_file_is_renewed_refused_and_missed_and_reading_goes_on() {
    let Some(broker) = Broker::start("tokens from a file") else {
        return;
    };
    broker.create("costs", 2);
    let folder = tempfile::tempdir().unwrap();
    let [config, token] = ["bursar.toml", "token"].map(|name| folder.path().join(name));
    let text = format!(
        "[input]\nkind = \"kafka\"\n[input.kafka]\nbrokers = [\"{}\"]\ntopics = [\"costs\"]\n\
         start = \"earliest\"\ntoken = \"file\"\ntoken_file = \"{}\"\n[input.kafka.properties]\n\
         \"security.protocol\" = \"sasl_plaintext\"\n\"reconnect.backoff.max.ms\" = 500\n",
        broker.token_address,
        token.display(),
    );
    fs::write(&config, text).unwrap();
    let put = |numbers: std::ops::Range<usize>| {
        let records: Vec<String> = numbers.map(record).collect();
        broker.produce("costs", 2, records.iter().map(String::as_bytes));
    };
    let wait_for = |daemon: &Daemon, count: f64| {
        until("the records", PATIENCE, || (counted(daemon) >= count).then_some(()));
    };

    // A broker that trusts unsigned tokens refuses one that says that it is signed.
    let renewal = Renewal::start(&token, r#"{"alg":"RS256"}"#);
    let daemon = start(&config);
    let told = reason(&daemon, "uthentication");
    assert!(!told.contains("eyJ"), "the token is in {told}");
    put(0..10);
    assert!(counted(&daemon) < 1.0);
    drop(renewal);

    // For longer than a session or a token lasts.
    let renewal = Renewal::start(&token, r#"{"alg":"none"}"#);
    for round in 1..=8 {
        put(10 * round..10 * (round + 1));
        wait_for(&daemon, 10.0 * (round + 1) as f64);
        thread::sleep(LIFE / 4);
    }
    drop(renewal);

    let told = reason(&daemon, "expired at");
    assert!(told.contains(&*token.to_string_lossy()), "{told}");
    fs::remove_file(&token).unwrap();
    reason(&daemon, "input.kafka.token_file");
    put(90..100);
    write_token(&token, r#"{"alg":"none"}"#, 100 * LIFE);
    wait_for(&daemon, 100.0);
    until("readiness", PATIENCE, || (daemon.get("/readyz").0 == 200).then_some(()));
    let (decisions, words) = daemon.stop();
    assert_eq!(decisions.last().unwrap()["records"]["counted"], 100);
    assert!(!words.contains("eyJ"), "{words}");
}
