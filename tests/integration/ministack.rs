//! The whole loop around services that are not the project's own. ministack runs a function in
//! processes, writes its log, refuses what is above a reservation, and holds the stream that bursar
//! reads; the reservation is bursar's to set and to lift.
//!
//! `BURSAR_TEST_MINISTACK` names the executable; `tests/run` installs it.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::kinesis::fake::base64;
use super::lambda::now_ms;
use crate::support::{Daemon, PATIENCE, Running, bursar, kind, lines, now, run, until};

/// ministack takes an access key of twelve digits for the account.
const ACCOUNT: &str = "111122223333";
const FUNCTION: &str = "/2015-03-31/functions/shop";
/// The largest memory that Lambda has: sixteen of these at work burn ten dollars an hour, so every
/// floor of money keeps its default.
const MEMORY_MB: u64 = 10_240;
const SOURCE: &str = "import time\ndef handler(event, context):\n    time.sleep(0.08)\n";

/// Callers at usual times; each calls about one and a half times a second.
const USUAL_CALLERS: usize = 2;
const USUAL_PAUSE: Duration = Duration::from_millis(550);
/// Those of the flood call again at once, and wait a moment after a refusal.
const FLOOD_CALLERS: usize = 20;
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// What a call takes ministack, for the past that is learned from.
const USUAL_MS: u64 = 130;
const PAST_SECONDS: u64 = 3 * 3_600;

/// A flood that is not capped by then goes on no longer.
const CAP_WITHIN: Duration = Duration::from_secs(30);
const RESTORED_WITHIN: Duration = Duration::from_secs(60);
/// How long refusals are counted.
const WATCHED: Duration = Duration::from_secs(6);
/// Calls that were let in before a change are over by then.
const IN_FLIGHT: Duration = Duration::from_millis(1_500);
/// Between two looks at the log, and at the reservation.
const LOOK: Duration = Duration::from_millis(250);
/// The log is read again from so long before the newest line, which others may have passed.
const OVERLAP_MS: u64 = 5_000;

/// Where ministack listens.
#[derive(Clone)]
struct Services {
    address: String,
}

impl Services {
    /// Status and body of an answer. The signature is not looked at.
    fn call(&self, line: &str, headers: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (host, length) = (&self.address, body.len());
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/eu-west-1/lambda/\
             aws4_request, SignedHeaders=host, Signature=0\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    }

    /// A call of Lambda that has to succeed.
    fn lambda(&self, line: &str, body: &Value) -> Value {
        let headers = "Content-Type: application/json\r\n";
        let (status, text) = self.call(line, headers, &body.to_string()).unwrap();
        assert!((200..300).contains(&status), "{line}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A call of a service of the JSON protocol that has to succeed.
    fn json(&self, target: &str, body: &Value) -> Value {
        let headers =
            format!("Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: {target}\r\n");
        let (status, text) = self.call("POST /", &headers, &body.to_string()).unwrap();
        assert_eq!(status, 200, "{target}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Whether a call of the function is served; otherwise it is refused for its reservation.
    fn invoke(&self) -> bool {
        let (status, text) = self.call(&format!("POST {FUNCTION}/invocations"), "", "{}").unwrap();
        if status == 200 {
            return true;
        }
        let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
        assert!(status == 429 && text.contains(reason), "{status} {text}");
        false
    }

    fn reserved(&self) -> Option<u64> {
        thread::sleep(LOOK);
        let answer = self.lambda("GET /2019-09-30/functions/shop/concurrency", &json!({}));
        answer["ReservedConcurrentExecutions"].as_u64()
    }

    /// Lets the function read a queue. Returns the mapping.
    fn feed(&self) -> String {
        self.json("AmazonSQS.CreateQueue", &json!({ "QueueName": "orders" }));
        let mapping = json!({
            "FunctionName": "shop", "BatchSize": 10,
            "EventSourceArn": format!("arn:aws:sqs:eu-west-1:{ACCOUNT}:orders"),
        });
        let mapping = self.lambda("POST /2015-03-31/event-source-mappings/", &mapping);
        mapping["UUID"].as_str().unwrap().to_owned()
    }

    /// How many batches of the queue may run at once.
    fn queue_limit(&self, mapping: &str) -> Option<u64> {
        thread::sleep(LOOK);
        let line = format!("GET /2015-03-31/event-source-mappings/{mapping}");
        self.lambda(&line, &json!({}))["ScalingConfig"]["MaximumConcurrency"].as_u64()
    }

    /// The function and the stream, ready for use.
    fn create(&self, zip: &[u8]) {
        let function = json!({
            "FunctionName": "shop", "Runtime": "python3.11", "Handler": "index.handler",
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/shop"), "MemorySize": MEMORY_MB,
            "Timeout": 10, "Code": { "ZipFile": base64(zip) },
        });
        self.lambda("POST /2015-03-31/functions", &function);
        until("the function", PATIENCE, || {
            let state = self.lambda(&format!("GET {FUNCTION}/configuration"), &json!({}));
            (state["State"] == "Active").then_some(())
        });
        self.json(
            "Kinesis_20131202.CreateStream",
            &json!({ "StreamName": "costs", "ShardCount": 1 }),
        );
    }
}

/// ministack for as long as a test lasts, and the daemon's settings. Fields are dropped in order:
/// the process is gone before its files are.
struct Ministack {
    _running: Running,
    services: Services,
    folder: TempDir,
}

impl Ministack {
    /// Starts one; `None`, and a loud word, where there is none.
    fn start(left_out: &str) -> Option<Self> {
        let Some(executable) = env::var_os("BURSAR_TEST_MINISTACK") else {
            eprintln!(
                "LEFT OUT for want of ministack: {left_out} (BURSAR_TEST_MINISTACK is not set; \
                 tests/run sets it)"
            );
            return None;
        };
        let executable = fs::canonicalize(executable).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = without_credentials(Command::new(&executable));
        command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
        command.env("LAMBDA_EXECUTOR", "local").env("LAMBDA_ACCOUNT_CONCURRENCY", "1000");
        command.env("MINISTACK_REGION", "eu-west-1").env("LOG_LEVEL", "WARNING");
        // The functions' files too.
        command.env("TMPDIR", folder.path());
        let mut running = Running::start(&mut command);
        let services = Services { address: format!("127.0.0.1:{port}") };
        until("ministack", PATIENCE, || {
            assert!(!running.has_ended(), "{}", running.stderr());
            let answer = services.call("GET /_ministack/health", "", "").ok()?;
            (answer.0 == 200).then_some(())
        });
        services.create(&zipped(folder.path(), &executable.with_file_name("python")));
        Some(Self { _running: running, services, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program with the settings of the daemon, all of them the default but for addresses and
    /// for pauses, which no test can wait for.
    fn bursar(&self, args: &[&str]) -> Command {
        let mut command = without_credentials(bursar(args));
        command.arg("--config").arg(self.path("bursar.toml"));
        command.env("AWS_ACCESS_KEY_ID", ACCOUNT).env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    fn configure(&self) {
        let mut past = String::new();
        let begin = now_ms() - PAST_SECONDS * 1_000;
        let round_ms = USUAL_MS + u64::try_from(USUAL_PAUSE.as_millis()).unwrap();
        let period_ms = usize::try_from(round_ms).unwrap() / USUAL_CALLERS;
        for ms in (0..PAST_SECONDS * 1_000).step_by(period_ms) {
            let at = i64::try_from(begin + ms).unwrap();
            let record = json!({
                "kind": "invocation", "account": ACCOUNT, "region": "eu-west-1",
                "function": "shop", "billed_ms": USUAL_MS, "memory_mb": MEMORY_MB,
                "time": bursar::units::EventTime::saturating_from_ms(at).to_string(),
            });
            past.push_str(&format!("{record}\n"));
        }
        fs::write(self.path("past.jsonl"), past).unwrap();
        let mut learn = bursar(["learn", "--out"]);
        learn.arg(self.path("baselines.jsonl")).arg(self.path("past.jsonl"));
        run(&mut learn).succeeded();
        let text = format!(
            "mode = \"enforce\"\n[input]\nkind = \"kinesis\"\nregion = \"eu-west-1\"\n\
             account = \"{ACCOUNT}\"\n[input.kinesis]\nstream = \"costs\"\nregion = \"eu-west-1\"\n\
             start = \"trim_horizon\"\nendpoint = \"http://{address}\"\n\
             [engine]\nbaselines_file = \"{baselines}\"\n[control]\nsettle = \"3s\"\n\
             quiet = \"4s\"\ncanary = \"2s\"\n[lambda]\nenabled = true\n\
             endpoint = \"http://{address}\"\nrelease = \"timer\"\n[state]\n\
             journal = \"{journal}\"\n",
            address = self.services.address,
            baselines = self.path("baselines.jsonl").display(),
            journal = self.path("journal").display(),
        );
        fs::write(self.path("bursar.toml"), text).unwrap();
    }
}

fn without_credentials(mut command: Command) -> Command {
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    command
}

/// The function's code, packed by the Python that ministack has.
fn zipped(folder: &Path, python: &Path) -> Vec<u8> {
    fs::write(folder.join("index.py"), SOURCE).unwrap();
    let mut command = Command::new(python);
    run(command.args(["-m", "zipfile", "-c", "shop.zip", "index.py"]).current_dir(folder))
        .succeeded();
    fs::read(folder.join("shop.zip")).unwrap()
}

/// Threads that go on until this is dropped, which happens on a panic too.
struct Threads {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    fn start(count: usize, round: impl FnMut() + Clone + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let start = |_| {
            let (over, mut round) = (Arc::clone(&over), round.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    round();
                }
            })
        };
        let threads = (0..count).map(start).collect();
        Self { over, threads }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || thread::panicking(), "see above");
        }
    }
}

/// What became of calls.
#[derive(Default)]
struct Calls {
    passed: AtomicU64,
    refused: AtomicU64,
}

impl Calls {
    fn callers(self: &Arc<Self>, services: &Services, count: usize, pause: Duration) -> Threads {
        let (calls, services) = (Arc::clone(self), services.clone());
        Threads::start(count, move || {
            if services.invoke() {
                calls.passed.fetch_add(1, Ordering::Relaxed);
                thread::sleep(pause);
            } else {
                calls.refused.fetch_add(1, Ordering::Relaxed);
                thread::sleep(pause.max(REFUSED_PAUSE));
            }
        })
    }

    fn so_far(&self) -> [u64; 2] {
        [&self.passed, &self.refused].map(|count| count.load(Ordering::Relaxed))
    }
}

/// A run of the function, by its REPORT line.
struct Report {
    end_ms: u64,
    billed_ms: u64,
}

/// Brings each REPORT line to the stream once, as a subscription of the log group would: gzip, one
/// envelope for a log stream. ministack stores subscriptions to a stream and delivers nothing.
#[derive(Clone)]
struct Subscription {
    services: Services,
    /// Each invocation has a log stream of its own there.
    brought: HashSet<String>,
    newest_ms: u64,
    reports: Arc<Mutex<Vec<Report>>>,
}

impl Subscription {
    fn deliver(&mut self) {
        let asked = json!({
            "logGroupName": "/aws/lambda/shop", "filterPattern": "REPORT",
            "startTime": self.newest_ms.saturating_sub(OVERLAP_MS),
        });
        let found = self.services.json("Logs_20140328.FilterLogEvents", &asked);
        let mut records = Vec::new();
        for event in found["events"].as_array().unwrap() {
            let log_stream = event["logStreamName"].as_str().unwrap();
            if !self.brought.insert(log_stream.to_owned()) {
                continue;
            }
            let message = event["message"].as_str().unwrap();
            let billed = message.split("Billed Duration: ").nth(1).unwrap();
            let report = Report {
                end_ms: event["timestamp"].as_u64().unwrap(),
                billed_ms: billed.split(' ').next().unwrap().parse().unwrap(),
            };
            self.newest_ms = self.newest_ms.max(report.end_ms);
            let envelope = json!({
                "messageType": "DATA_MESSAGE", "owner": ACCOUNT, "logGroup": "/aws/lambda/shop",
                "logStream": log_stream, "subscriptionFilters": ["costs"],
                "logEvents": [{ "id": log_stream, "timestamp": report.end_ms, "message": message }],
            });
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(envelope.to_string().as_bytes()).unwrap();
            let data = base64(&encoder.finish().unwrap());
            records.push(json!({ "Data": data, "PartitionKey": log_stream }));
            self.reports.lock().unwrap().push(report);
        }
        // The most that a call takes.
        for records in records.chunks(500) {
            let put = json!({ "StreamName": "costs", "Records": records });
            let put = self.services.json("Kinesis_20131202.PutRecords", &put);
            assert_eq!(put["FailedRecordCount"], 0);
        }
        thread::sleep(LOOK);
    }
}

/// How many runs there were at a time, on average.
fn concurrency(reports: &Mutex<Vec<Report>>, from_ms: u64, until_ms: u64) -> f64 {
    let reports = reports.lock().unwrap();
    let busy_ms: u64 = reports
        .iter()
        .map(|run| {
            let begin = (run.end_ms - run.billed_ms).max(from_ms);
            run.end_ms.min(until_ms).saturating_sub(begin)
        })
        .sum();
    busy_ms as f64 / (until_ms - from_ms) as f64
}

/// How often bursar did this to the reservation.
fn applied(decisions: &[Value], verb: &str) -> usize {
    let actions = kind(decisions, "action").into_iter();
    let applied = actions.filter(|line| line["verb"] == verb && line["outcome"] == "applied");
    applied.filter(|line| line["actuator"] == "reserved_concurrency").count()
}

#[test]
fn a_flood_on_running_functions_is_capped_refused_and_forgiven() {
    let Some(ministack) = Ministack::start("a function that is really capped and given back")
    else {
        return;
    };
    ministack.configure();
    let services = &ministack.services;
    assert!(services.invoke());
    let reports = Arc::default();
    let mut subscription = Subscription {
        services: services.clone(),
        brought: HashSet::new(),
        newest_ms: 0,
        reports: Arc::clone(&reports),
    };
    let calls = Arc::<Calls>::default();
    let daemon = Daemon::start(&mut ministack.bursar(&["run"]));
    let delivery = Threads::start(1, move || subscription.deliver());
    let usual = calls.callers(services, USUAL_CALLERS, USUAL_PAUSE);
    let counted = "bursar_records_total{outcome=\"counted\"}";
    until("usual records", PATIENCE, || daemon.metric(counted).filter(|count| *count >= 20.0));
    assert_eq!(services.reserved(), None);

    let (begun, begun_ms) = (now(), now_ms());
    let flood = calls.callers(services, FLOOD_CALLERS, Duration::ZERO);
    until("a cap", CAP_WITHIN, || services.reserved());
    let (until_cap, capped_ms) = (begun.elapsed(), now_ms());

    thread::sleep(IN_FLIGHT);
    let (before, from_ms) = (calls.so_far(), now_ms());
    // The largest that stood there meanwhile.
    let mut cap = services.reserved().unwrap();
    let watched = now();
    while watched.elapsed() < WATCHED {
        cap = cap.max(services.reserved().unwrap());
    }
    let (after, until_ms) = (calls.so_far(), now_ms());
    let [passed, refused] = [0, 1].map(|which| after[which] - before[which]);
    drop(flood);
    let ended = now();
    until("no reservation", RESTORED_WITHIN, || services.reserved().is_none().then_some(()));
    let until_restored = ended.elapsed();

    thread::sleep(IN_FLIGHT);
    let before = calls.so_far();
    until("usual calls", PATIENCE, || (calls.so_far()[0] >= before[0] + 10).then_some(()));
    assert_eq!(calls.so_far()[1], before[1], "refused although nothing is reserved");
    drop(usual);
    let served = calls.so_far()[0] + 1;
    until("all records", PATIENCE, || (daemon.metric(counted)? >= served as f64).then_some(()));
    drop(delivery);
    let [flooded, held] = [(begun_ms, capped_ms), (from_ms, until_ms)]
        .map(|(from_ms, until_ms)| concurrency(&reports, from_ms, until_ms));
    eprintln!(
        "capped at {cap} after {:.1} s, {flooded:.1} ran at a time; in {:.1} s then {passed} \
         passed and {refused} were refused, {held:.1} ran at a time; given back {:.1} s after \
         the flood",
        until_cap.as_secs_f64(),
        (until_ms - from_ms) as f64 / 1e3,
        until_restored.as_secs_f64(),
    );
    assert!(passed > 0 && refused > passed, "{passed} passed, {refused} were refused");
    assert!(held <= cap as f64 && flooded > 2.0 * held, "{flooded} and {held} at a cap of {cap}");

    let listed = run(&mut ministack.bursar(&["restrictions", "--json"])).succeeded();
    // What was given back is looked at once more before the journal forgets it.
    let given_back = |entry: &Value| entry["step"] == "given_back";
    assert!(lines(&listed.stdout).iter().all(given_back), "{listed:#?}");
    let (decisions, _) = daemon.stop();
    for verb in ["restrict", "restore"] {
        assert_eq!(applied(&decisions, verb), 1, "{verb}: {decisions:#?}");
    }
    // Every run was counted once, however often the log was read.
    let summary = decisions.last().unwrap();
    let records = &summary["records"];
    assert_eq!((&records["counted"], &records["rejected"]), (&served.into(), &0.into()));
}

#[test]
fn a_function_that_a_queue_feeds_is_limited_at_the_queue_and_never_capped() {
    let Some(ministack) = Ministack::start("a queue that is really limited and given back") else {
        return;
    };
    ministack.configure();
    let services = &ministack.services;
    let mapping = services.feed();
    assert!(services.invoke());
    let mut subscription = Subscription {
        services: services.clone(),
        brought: HashSet::new(),
        newest_ms: 0,
        reports: Arc::default(),
    };
    let calls = Arc::<Calls>::default();
    let daemon = Daemon::start(&mut ministack.bursar(&["run"]));
    let delivery = Threads::start(1, move || subscription.deliver());
    let usual = calls.callers(services, USUAL_CALLERS, USUAL_PAUSE);
    let counted = "bursar_records_total{outcome=\"counted\"}";
    until("usual records", PATIENCE, || daemon.metric(counted).filter(|count| *count >= 20.0));
    let flood = calls.callers(services, FLOOD_CALLERS, Duration::ZERO);
    let limit = until("a limit", CAP_WITHIN, || services.queue_limit(&mapping));
    assert!((2..=1_000).contains(&limit), "{limit}");
    assert_eq!(services.reserved(), None);
    drop(flood);
    let lifted = || services.queue_limit(&mapping).is_none().then_some(());
    until("no limit", RESTORED_WITHIN, lifted);
    drop(usual);
    drop(delivery);
    let (decisions, _) = daemon.stop();
    let kinds: Vec<_> = kind(&decisions, "action")
        .iter()
        .filter(|line| line["outcome"] == "applied")
        .map(|line| (line["actuator"].clone(), line["loss_class"].clone()))
        .collect();
    let expected = ("sqs_maximum_concurrency".into(), "lossless".into());
    assert!(kinds.len() >= 2 && kinds.iter().all(|kind| *kind == expected), "{decisions:#?}");
    let refused = &kind(&decisions, "action")[0];
    assert_eq!(refused["outcome"], "refused", "{refused}");
    assert_eq!(refused["actuator"], "reserved_concurrency");
}
