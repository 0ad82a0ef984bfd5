//! The daemon on a real Apache Kafka broker: what librdkafka's mock cluster does not do.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::broker::{Broker, PASSWORD, USER};
use crate::kafka::{counted, gives_the_alarms_of_a_replay, start};
use crate::support::{Daemon, PATIENCE, until};

const TOPIC: &str = "costs";

/// Most of the memory that the daemon may have used, in kilobytes.
const RESIDENT_MAX: u64 = 400_000;

fn record(number: usize) -> String {
    let (second, ms) = (number / 1_000, number % 1_000);
    let (minute, second) = (second / 60, second % 60);
    serde_json::json!({
        "kind": "invocation", "time": format!("2026-01-05T00:{minute:02}:{second:02}.{ms:03}Z"),
        "account": "1", "region": "eu-west-1", "function": format!("f{}", number % 20),
        "id": number.to_string(),
        "billed_ms": 9, "memory_mb": 128,
    })
    .to_string()
}

fn records(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(record).collect()
}

fn config(broker: &str, more: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bursar.toml");
    let text = format!(
        "[input]\nkind = \"kafka\"\n[input.kafka]\nbrokers = [\"{broker}\"]\n\
         topics = [\"{TOPIC}\"]\n{more}\n"
    );
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// Highest resident memory so far, in kilobytes.
fn resident_peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn metric(daemon: &Daemon, name: &str) -> f64 {
    daemon.metric(name).unwrap()
}

fn connections(daemon: &Daemon) -> f64 {
    metric(daemon, "bursar_input_brokers{state=\"up\"}")
}

fn wait_for(daemon: &Daemon, records: usize) {
    let what = format!("{records} records");
    until(&what, PATIENCE, || (counted(daemon) >= records as f64).then_some(()));
}

#[test]
fn a_real_broker_gives_the_alarms_that_a_replay_gives_too() {
    let Some(broker) = Broker::start("the same alarms as from a replay") else {
        return;
    };
    broker.create(TOPIC, 4);
    gives_the_alarms_of_a_replay(&broker.address, |messages| {
        broker.produce(TOPIC, 4, messages.iter().map(String::as_bytes));
    });
}

#[test]
fn nothing_is_lost_when_the_broker_dies_the_topic_grows_or_the_reader_stands_still() {
    let Some(mut broker) = Broker::start("a broker that dies, a topic that grows") else {
        return;
    };
    broker.create(TOPIC, 4);
    let (_folder, path) = config(
        &broker.address,
        "start = \"earliest\"\n[input.kafka.properties]\n\"session.timeout.ms\" = 6000\n\
         \"max.poll.interval.ms\" = 6000\n\"topic.metadata.refresh.interval.ms\" = 1000\n\
         \"reconnect.backoff.max.ms\" = 500",
    );
    let daemon = start(&path);

    // Killed while messages are on their way in.
    let all = records(0..160_000);
    let (first, rest) = all.split_at(80_000);
    let client = broker.client();
    thread::scope(|scope| {
        let writer = scope.spawn(|| Broker::produce_slowly(&client, TOPIC, 4, first));
        wait_for(&daemon, 10_000);
        broker.kill();
        until("a reason", PATIENCE, || (daemon.get("/readyz").0 == 503).then_some(()));
        until("no connection", PATIENCE, || (connections(&daemon) == 0.0).then_some(()));
        broker.run();
        writer.join().unwrap();
    });
    wait_for(&daemon, first.len());
    until("a connection", PATIENCE, || (connections(&daemon) > 0.0).then_some(()));

    let rebalances = metric(&daemon, "bursar_input_rebalances_total");
    broker.grow(TOPIC, 8);
    let (second, third) = rest.split_at(40_000);
    broker.produce(TOPIC, 8, second.iter().map(String::as_bytes));
    wait_for(&daemon, first.len() + second.len());
    until("the rebalance to be counted", PATIENCE, || {
        (metric(&daemon, "bursar_input_rebalances_total") > rebalances).then_some(())
    });

    // Longer than the group keeps a member that says nothing.
    daemon.signal("STOP");
    broker.produce(TOPIC, 8, third.iter().map(String::as_bytes));
    until("the group to let it go", PATIENCE, || broker.members("bursar").eq(&0).then_some(()));
    daemon.signal("CONT");
    wait_for(&daemon, all.len());
    let lag = format!("bursar_input_lag_messages{{input=\"{TOPIC}\"}}");
    until("nothing to wait", PATIENCE, || (metric(&daemon, &lag) == 0.0).then_some(()));

    let peak = resident_peak(&daemon);
    assert!(peak < RESIDENT_MAX, "{peak} kB");
    let (decisions, _) = daemon.stop();
    // What was read again after the standstill is recognised.
    let summary = decisions.last().unwrap();
    assert_eq!(summary["records"]["counted"], all.len(), "{summary}");
}

#[test]
fn what_is_refused_is_sent_to_a_topic_as_it_came() {
    let Some(broker) = Broker::start("dead letters to a topic") else {
        return;
    };
    broker.create(TOPIC, 1);
    broker.create("refused", 1);
    let good = record(1);
    let sent: [&[u8]; 3] = [good.as_bytes(), b"\xff\xfe", good.as_bytes()];
    broker.produce(TOPIC, 1, sent.into_iter());
    let output = "start = \"earliest\"\n[output]\ndead_letter_topic = \"refused\"";
    let (_folder, path) = config(&broker.address, output);
    let daemon = start(&path);
    let name = "bursar_dead_letters_total{reason=\"invalid_utf8\"}";
    until("the letter", PATIENCE, || (metric(&daemon, name) > 0.0).then_some(()));
    drop(daemon.stop());
    let consumer: BaseConsumer = broker
        .client()
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["refused"]).unwrap();
    let letter = until("a letter", PATIENCE, || consumer.poll(Duration::from_millis(100))).unwrap();
    assert_eq!(letter.payload(), Some(&b"\xff\xfe"[..]));
    let told: Vec<(String, String)> = letter
        .headers()
        .unwrap()
        .iter()
        .map(|header| {
            (header.key.to_owned(), String::from_utf8(header.value.unwrap().to_vec()).unwrap())
        })
        .collect();
    let expected = [
        ("bursar_reason", "invalid_utf8"),
        ("bursar_position", "costs/0@1"),
        ("bursar_detail", "at byte 0"),
        ("bursar_parts", "0"),
        ("bursar_truncated", "false"),
    ];
    assert_eq!(told, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

/// The newer protocol (KIP-848), in which the broker shares out the partitions.
#[test]
fn a_group_of_the_newer_protocol_reads_each_record_once_while_the_topic_grows() {
    let Some(broker) = Broker::start("a group of the newer protocol") else {
        return;
    };
    broker.create(TOPIC, 4);
    let (_folder, path) = config(
        &broker.address,
        "start = \"earliest\"\n[input.kafka.properties]\n\"group.protocol\" = \"consumer\"\n\
         \"topic.metadata.refresh.interval.ms\" = 1000",
    );
    let all = records(0..60_000);
    let (first, rest) = all.split_at(20_000);
    let (second, third) = rest.split_at(20_000);
    broker.produce(TOPIC, 4, first.iter().map(String::as_bytes));
    let daemon = start(&path);
    wait_for(&daemon, first.len());
    broker.grow(TOPIC, 8);
    broker.produce(TOPIC, 8, second.iter().map(String::as_bytes));
    wait_for(&daemon, first.len() + second.len());
    let (before, _) = daemon.stop();

    // Its successor goes on where it left the group.
    let daemon = start(&path);
    broker.produce(TOPIC, 8, third.iter().map(String::as_bytes));
    wait_for(&daemon, third.len());
    let (after, _) = daemon.stop();
    let counted =
        |decisions: &[serde_json::Value]| decisions.last().unwrap()["records"]["counted"].clone();
    assert_eq!(counted(&before), first.len() + second.len());
    assert_eq!(counted(&after), third.len());
}

#[test]
fn an_event_in_binary_mode_is_told_by_its_headers() {
    let Some(broker) = Broker::start("CloudEvents in binary mode") else {
        return;
    };
    broker.create(TOPIC, 1);
    let producer: BaseProducer = broker.client().create().unwrap();
    let data = record(1);
    for id in ["1", "2", "2"] {
        let mut headers = OwnedHeaders::new();
        for (key, value) in [
            ("ce_specversion", "1.0"),
            ("ce_type", "dev.bursar.invocation"),
            ("ce_source", "/a/test"),
            ("ce_id", id),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = BaseRecord::<[u8], [u8]>::to(TOPIC).payload(data.as_bytes());
        producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let (_folder, path) = config(&broker.address, "start = \"earliest\"");
    let daemon = start(&path);
    wait_for(&daemon, 2);
    let (decisions, _) = daemon.stop();
    let records = &decisions.last().unwrap()["records"];
    assert_eq!((&records["counted"], &records["duplicate"]), (&2.into(), &1.into()));
}

#[test]
fn reading_begins_at_a_time() {
    let Some(broker) = Broker::start("reading from a time on") else {
        return;
    };
    broker.create(TOPIC, 2);
    let all = records(0..60);
    let begin_ms = 1_767_571_200_000;
    for (number, text) in all.iter().enumerate() {
        let ms = begin_ms + number as i64 * 60_000;
        broker.produce_dated(TOPIC, 2, Some(ms), [text.as_bytes()].into_iter());
    }
    let time = "start = \"timestamp\"\nstart_time = \"2026-01-05T00:20:00Z\"";
    let (_folder, path) = config(&broker.address, time);
    let daemon = start(&path);
    wait_for(&daemon, 40);
    broker.produce(TOPIC, 2, records(60..70).iter().map(String::as_bytes));
    wait_for(&daemon, 50);
    let (decisions, _) = daemon.stop();
    assert_eq!(decisions.last().unwrap()["records"]["counted"], 50);
}

#[test]
fn a_broker_is_read_through_tls_with_a_password_and_a_wrong_one_is_told() {
    let Some(broker) = Broker::start("TLS and SCRAM") else {
        return;
    };
    broker.create(TOPIC, 2);
    broker.produce(TOPIC, 2, records(0..50).iter().map(String::as_bytes));
    let secure = |password: &str| {
        format!(
            "start = \"earliest\"\n[input.kafka.properties]\n\"security.protocol\" = \"sasl_ssl\"\n\
             \"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\"sasl.username\" = \"{USER}\"\n\
             \"sasl.password\" = \"{password}\"\n\"ssl.ca.location\" = \"{}\"",
            broker.certificate().display()
        )
    };
    let (_folder, path) = config(&broker.secure_address, &secure("wrong"));
    let daemon = start(&path);
    let reason = until("a reason", PATIENCE, || {
        let (status, body) = daemon.get("/readyz");
        (status == 503 && body.contains("uthentication")).then_some(body)
    });
    assert!(!reason.contains("wrong"), "{reason}");
    drop(daemon.stop());

    let (_folder, path) = config(&broker.secure_address, &secure(PASSWORD));
    let daemon = start(&path);
    wait_for(&daemon, 50);
    let (decisions, words) = daemon.stop();
    assert_eq!(decisions.last().unwrap()["records"]["counted"], 50);
    assert!(!words.contains(PASSWORD), "{words}");
}
