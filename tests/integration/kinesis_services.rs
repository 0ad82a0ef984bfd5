//! The daemon on two services that speak Kinesis and are not the project's own: a backlog and what
//! comes while shards split and merge, each record once and none of them late.
//!
//! `BURSAR_TEST_FERROKINESIS` names the one's executable, `BURSAR_TEST_KINESIS_LOCAL` the other's
//! `main.js`; `tests/run` installs both.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard, StreamStatus};
use tokio::runtime::{Builder, Runtime};

use super::kinesis::{counted, start};
use crate::support::{PATIENCE, Running, until};

const STREAM: &str = "costs";
const SHARDS: i32 = 2;
const KEYS: usize = 20;
/// Rounds of one record a key: those that lie there before the start, a second of their own time
/// apart; and those that come afterwards.
const BACKLOG: usize = 200;
const LIVE: usize = 200;
/// Between two rounds that come afterwards, which is also what lies between their times.
const PACE: Duration = Duration::from_millis(20);

/// A service that runs for as long as a test lasts, and the way to it.
struct Service {
    running: Running,
    url: String,
    runtime: Runtime,
    client: Client,
}

/// The path in a variable, or a loud word.
fn installed(variable: &str, name: &str) -> Option<PathBuf> {
    let path = env::var_os(variable);
    if path.is_none() {
        eprintln!(
            "LEFT OUT for want of {name}: a split and a merge under load ({variable} is not set; \
             tests/run sets it)"
        );
    }
    Some(fs::canonicalize(path?).unwrap())
}

impl Service {
    fn start(port: u16, command: &mut Command) -> Self {
        let url = format!("http://127.0.0.1:{port}");
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&url)
            .build();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (running, client) = (Running::start(command), Client::from_conf(config));
        let mut service = Self { running, url, runtime, client };
        until("the service", PATIENCE, || {
            assert!(!service.running.has_ended(), "{}", service.running.stderr());
            let call = service.client.create_stream().stream_name(STREAM).shard_count(SHARDS);
            service.runtime.block_on(call.send()).ok()
        });
        service.settle();
        service
    }

    /// Waits until nothing is being changed.
    fn settle(&self) {
        until("the stream", PATIENCE, || {
            let call = self.client.describe_stream_summary().stream_name(STREAM);
            let told = self.runtime.block_on(call.send()).ok()?;
            let status = &told.stream_description_summary()?.stream_status;
            (*status == StreamStatus::Active).then_some(())
        });
    }

    /// One record a key, those that a service would not take once more.
    fn put(&self, round: usize) {
        let ms = if round < BACKLOG {
            round as u128 * 1_000
        } else {
            BACKLOG as u128 * 1_000 + (round - BACKLOG) as u128 * PACE.as_millis()
        };
        let time = 1_767_571_200_000 + i64::try_from(ms).unwrap();
        let time = bursar::units::EventTime::saturating_from_ms(time).to_string();
        let entry = |key: usize| {
            let record = serde_json::json!({
                "kind": "invocation", "time": time, "account": "1", "region": "eu-west-1",
                "function": format!("f{key}"), "id": format!("{key} {round}"),
                "billed_ms": 9, "memory_mb": 128,
            });
            let hash = u128::MAX / KEYS as u128 * key as u128;
            PutRecordsRequestEntry::builder()
                .data(Blob::new(record.to_string()))
                .partition_key(key.to_string())
                .explicit_hash_key(hash.to_string())
                .build()
                .unwrap()
        };
        let mut left: Vec<PutRecordsRequestEntry> = (0..KEYS).map(entry).collect();
        until("the records to be taken", PATIENCE, || {
            let call = self.client.put_records().stream_name(STREAM);
            let call = call.set_records(Some(left.clone()));
            let told = self.runtime.block_on(call.send()).unwrap();
            let refused = told.records().iter().map(|record| record.error_code().is_some());
            let mut refused = refused.collect::<Vec<_>>().into_iter();
            left.retain(|_| refused.next().unwrap());
            left.is_empty().then_some(())
        });
    }

    /// Shards that get records, in the order of what they get.
    fn open(&self) -> Vec<(u128, u128, Shard)> {
        let call = self.client.list_shards().stream_name(STREAM);
        let shards = self.runtime.block_on(call.send()).unwrap().shards.unwrap();
        let is_open = |shard: &Shard| {
            let range = shard.sequence_number_range().unwrap();
            range.ending_sequence_number().is_none()
        };
        let mut open: Vec<_> = shards
            .into_iter()
            .filter(is_open)
            .map(|shard| {
                let range = shard.hash_key_range().unwrap();
                let [start, end] = [range.starting_hash_key(), range.ending_hash_key()];
                (start.parse().unwrap(), end.parse().unwrap(), shard)
            })
            .collect();
        open.sort_by_key(|(start, _, _)| *start);
        open
    }

    fn split(&self, place: usize) {
        let (start, end, shard) = &self.open()[place];
        let middle = start + (end - start) / 2;
        let call = self.client.split_shard().stream_name(STREAM).shard_to_split(shard.shard_id());
        self.runtime.block_on(call.new_starting_hash_key(middle.to_string()).send()).unwrap();
        self.settle();
    }

    fn merge(&self, place: usize) {
        let open = self.open();
        let [left, right] = [place, place + 1].map(|place| open[place].2.shard_id());
        let call = self.client.merge_shards().stream_name(STREAM).shard_to_merge(left);
        self.runtime.block_on(call.adjacent_shard_to_merge(right).send()).unwrap();
        self.settle();
    }
}

/// A split and a merge lie in the backlog, and others come while it is read.
fn reads_each_record_once(service: &Service) {
    for round in 0..BACKLOG {
        service.put(round);
        match round {
            60 => service.split(0),
            130 => service.merge(0),
            _ => {}
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bursar.toml");
    let text = format!(
        "[input]\nkind = \"kinesis\"\n[input.kinesis]\nstream = \"{STREAM}\"\n\
         region = \"eu-west-1\"\nendpoint = \"{}\"\nstart = \"trim_horizon\"\n",
        service.url
    );
    fs::write(&config, text).unwrap();
    let daemon = start(&config);
    for round in BACKLOG..BACKLOG + LIVE {
        service.put(round);
        match round - BACKLOG {
            50 => service.split(1),
            100 => service.merge(0),
            _ => std::thread::sleep(PACE),
        }
    }
    let all = (KEYS * (BACKLOG + LIVE)) as f64;
    until("all records", PATIENCE, || (counted(&daemon) >= all).then_some(()));
    let behind = || daemon.metric("bursar_input_behind_seconds");
    until("the tip", PATIENCE, || (behind() == Some(0.0)).then_some(()));
    until("readiness", PATIENCE, || (daemon.get("/readyz").0 == 200).then_some(()));
    let (decisions, _) = daemon.stop();
    let records = &decisions.last().unwrap()["records"];
    assert_eq!(records["counted"], KEYS * (BACKLOG + LIVE), "{records}");
    for what in ["late", "duplicate", "rejected"] {
        assert_eq!(records[what], 0, "{records}");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn ferrokinesis_is_read_through_a_split_and_a_merge_under_load() {
    let Some(executable) = installed("BURSAR_TEST_FERROKINESIS", "ferrokinesis") else {
        return;
    };
    let port = free_port();
    let mut command = Command::new(executable);
    command.args(["--port", &port.to_string(), "--log-level", "warn"]);
    command.args(["--create-stream-ms", "50", "--update-stream-ms", "100"]);
    reads_each_record_once(&Service::start(port, &mut command));
}

/// A second opinion: it names the children of a shard, and says how far behind an answer is.
#[test]
fn kinesis_local_is_read_through_a_split_and_a_merge_under_load() {
    let Some(script) = installed("BURSAR_TEST_KINESIS_LOCAL", "kinesis-local") else {
        return;
    };
    let [port, unused] = [free_port(), free_port()];
    let mut command = Command::new("node");
    command.env("KINESIS_MOCK_CERT_PATH", script.with_file_name("server.json"));
    command.env("KINESIS_MOCK_PLAIN_PORT", port.to_string());
    command.env("KINESIS_MOCK_TLS_PORT", unused.to_string()).env("LOG_LEVEL", "ERROR");
    reads_each_record_once(&Service::start(port, command.arg(script)));
}
