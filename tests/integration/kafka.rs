//! The daemon on Kafka, against librdkafka's mock cluster in this process: what a replay of the
//! same records finds is found, and what was acknowledged is not read again.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use serde_json::Value;

use crate::support::{Daemon, PATIENCE, bursar, generate, kind, ms, replay, until};

pub(crate) const TOPIC: &str = "costs";
pub(crate) const PARTITIONS: i32 = 4;

pub(crate) type Mock = MockCluster<'static, DefaultProducerContext>;

/// Round robin over the partitions. The cluster keeps 5 MB of each, hence the compression.
pub(crate) fn produce(brokers: &str, messages: &[String]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "500")
        .create()
        .unwrap();
    for (partition, message) in (0..PARTITIONS).cycle().zip(messages) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(message.as_bytes()).unwrap();
        let payload = encoder.finish().unwrap();
        let record = BaseRecord::<[u8], [u8]>::to(TOPIC).partition(partition).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

pub(crate) fn start(config: &std::path::Path) -> Daemon {
    Daemon::start(bursar(["run", "--config"]).arg(config))
}

pub(crate) fn counted(daemon: &Daemon) -> f64 {
    let outcome = |name| daemon.metric(&format!("bursar_records_total{{outcome=\"{name}\"}}"));
    ["counted", "late", "unrouted"].into_iter().filter_map(outcome).sum()
}

/// What does not depend on when it was said.
fn alarms(decisions: &[Value]) -> Vec<(&Value, &Value, i64)> {
    let opened = |line: &&Value| line["state"] == "opened";
    let opened = kind(decisions, "alarm").into_iter().filter(opened);
    opened.map(|line| (&line["id"], &line["function"], ms(&line["onset"]))).collect()
}

#[test]
fn kafka_gives_the_alarms_that_a_replay_gives_and_no_message_is_read_twice() {
    let mock: Mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    gives_the_alarms_of_a_replay(&mock.bootstrap_servers(), |messages| {
        produce(&mock.bootstrap_servers(), messages);
    });
}

/// A recorded flood from brokers, then from a file; and then what comes after a restart.
pub(crate) fn gives_the_alarms_of_a_replay(brokers: &str, produce: impl Fn(&[String])) {
    let recorded =
        generate(8, 15, Some("flood:factor=20,min_rps=50,start=11m,duration=2m,sources=20"));
    let replayed = replay(recorded.folder.path(), |command| {
        command.arg(&recorded.records);
    });
    let lines = fs::read_to_string(&recorded.records).unwrap();
    produce(&lines.lines().map(str::to_owned).collect::<Vec<_>>());
    let config = recorded.path("bursar.toml");
    // The mock cluster lets a group whose member has left rest for the length of a session.
    let text = format!(
        "[input]\nkind = \"kafka\"\n[input.kafka]\nbrokers = [\"{brokers}\"]\n\
         topics = [\"{TOPIC}\"]\n\
         start = \"earliest\"\nproperties = {{ \"session.timeout.ms\" = 6000 }}\n",
    );
    fs::write(&config, text).unwrap();

    let daemon = start(&config);
    let records = recorded.truth["records"].as_u64().unwrap();
    until("all records", PATIENCE, || (counted(&daemon) >= records as f64).then_some(()));
    assert_eq!(daemon.get("/readyz").0, 200);
    let (decisions, _) = daemon.stop();
    let expected = replayed.lines();
    assert_eq!(alarms(&expected).len(), 1);
    assert_eq!(alarms(&decisions), alarms(&expected));
    let [summary, replayed_summary] = [&decisions, &expected].map(|lines| lines.last().unwrap());
    let of = |what: &str| &summary["records"][what];
    // Partitions are merged by time, so a few lines change places.
    let close = |field: &Value, of: &Value| {
        let [one, other] = [field, of].map(|number| number.as_f64().unwrap());
        assert!((one / other - 1.0).abs() < 1e-3, "{one} and {other}");
    };
    close(of("counted"), &replayed_summary["records"]["counted"]);
    close(&summary["spend_nano_usd"], &replayed_summary["spend_nano_usd"]);
    for what in ["duplicate", "rejected"] {
        assert_eq!(of(what), 0, "{what}");
    }
    let plans = |lines: &[Value]| {
        let actions = kind(lines, "action").into_iter();
        actions.map(|line| (line["verb"].clone(), line["target"].clone())).next()
    };
    assert_eq!(plans(&decisions), plans(&expected));
    for line in kind(&decisions, "alarm") {
        let position = line["position"].as_str().unwrap();
        assert!(position.starts_with("costs/"), "{position}");
        assert!(ms(&line["arrived_at"]) > ms(&line["evidence_at"]), "{line}");
    }

    let daemon = start(&config);
    let extra = (0..40).map(|second| {
        let record = serde_json::json!({
            "kind": "invocation", "time": format!("2026-01-05T01:00:{second:02}Z"), "account": "1",
            "region": "eu-west-1", "function": "extra", "billed_ms": 9, "memory_mb": 128,
        });
        record.to_string()
    });
    let extra: Vec<String> = extra.collect();
    produce(&extra);
    until("the new records", PATIENCE, || (counted(&daemon) >= 40.0).then_some(()));
    let (decisions, stdout) = daemon.stop();
    let summary = decisions.last().unwrap();
    assert_eq!((&summary["records"]["counted"], &summary["functions"]), (&40.into(), &1.into()));
    assert!(stdout.contains("Kafka"), "{stdout}");
}
