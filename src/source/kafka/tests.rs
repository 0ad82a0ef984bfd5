//! Against librdkafka's own mock cluster, in this process. It lets a group settle for three
//! seconds, so every test of a group takes at least that long.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::RDKafkaRespErr;

use super::*;
use crate::source::Brokers;
use crate::units::{EventTime, ProcessingTime};

mod commits;

/// Far beyond what any of this takes, so that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(90);

const SLICE: Duration = Duration::from_millis(50);

type Mock = MockCluster<'static, DefaultProducerContext>;

#[expect(clippy::disallowed_methods, reason = "a live broker is waited for in real time")]
fn elapsed() -> Duration {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed()
}

#[expect(clippy::disallowed_methods, reason = "messages arrive in real time")]
fn wall() -> ProcessingTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    ProcessingTime(since.as_millis() as i64)
}

/// Messages of these tests begin with their second.
fn peek(payload: &[u8]) -> Option<EventTime> {
    let digits = payload.split(|&byte| byte == b' ').next()?;
    let second: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(EventTime::saturating_from_ms(1_700_000_000_000 + second * 1_000))
}

fn settings(mock: &Mock, topic: &str) -> KafkaSettings {
    let properties = [
        ("heartbeat.interval.ms", "200"),
        ("reconnect.backoff.max.ms", "200"),
        ("session.timeout.ms", "6000"),
        ("topic.metadata.refresh.interval.ms", "500"),
    ];
    KafkaSettings {
        bootstrap_servers: mock.bootstrap_servers(),
        topics: vec![topic.to_owned()],
        group: "bursar".to_owned(),
        properties: properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        // A loaded machine must not make a partition count as silent.
        idle: Duration::from_secs(30),
        ..KafkaSettings::default()
    }
}

fn open(settings: KafkaSettings) -> KafkaSource {
    KafkaSource::open(settings, peek, Clock { wall, elapsed }).unwrap()
}

fn cluster(topic: &str, partitions: i32) -> Mock {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(topic, partitions, 1).unwrap();
    mock
}

type Sent<'a> = (i32, Option<&'a [u8]>, &'a [u8]);

fn produce<'a>(mock: &Mock, topic: &str, messages: impl IntoIterator<Item = Sent<'a>>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", mock.bootstrap_servers())
        .set("linger.ms", "20")
        .create()
        .unwrap();
    for (partition, id, payload) in messages {
        let mut record = BaseRecord::to(topic).partition(partition).payload(payload);
        if let Some(id) = id {
            let other = Header { key: "other", value: Some("not looked at") };
            let headers = OwnedHeaders::new().insert(other);
            record = record.headers(headers.insert(Header { key: "ce_id", value: Some(id) }));
        }
        producer.send::<[u8], [u8]>(record).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

/// Numbered texts, spread unevenly over the partitions.
fn produce_numbers(mock: &Mock, topic: &str, partitions: i32, numbers: std::ops::Range<i32>) {
    let texts: Vec<String> = numbers.clone().map(|number| format!("{number} x")).collect();
    let spread = |number: i32| number.wrapping_mul(number).wrapping_add(number / 7) % partitions;
    let sent = numbers.zip(&texts).map(|(n, text)| (spread(n), None, text.as_bytes()));
    produce(mock, topic, sent);
}

#[derive(Debug, Clone, PartialEq)]
struct Got {
    position: Position,
    id: Option<Vec<u8>>,
    payload: Vec<u8>,
}

impl Got {
    fn number(&self) -> i64 {
        (peek(&self.payload).unwrap().second()) - 1_700_000_000
    }
}

fn read_once(source: &mut KafkaSource, wait: Duration) -> Vec<Got> {
    let mut chunk = Chunk::with_limits(500, 1 << 20);
    source.read(&mut chunk, wait).unwrap();
    let got = chunk.messages().map(|message| {
        assert!(message.arrived.is_some());
        Got {
            position: message.position,
            id: message.headers.iter().map(|(_, value)| value.to_vec()).next(),
            payload: message.payload.to_vec(),
        }
    });
    got.collect()
}

fn read_until(
    source: &mut KafkaSource,
    mut done: impl FnMut(&KafkaSource, &[Got]) -> bool,
) -> Vec<Got> {
    let deadline = elapsed() + PATIENCE;
    let mut all = Vec::new();
    while !done(source, &all) {
        assert!(elapsed() < deadline, "{} came, {:?}", all.len(), source.readiness());
        all.extend(read_once(source, SLICE));
    }
    all
}

fn through(got: &[Got]) -> Vec<Position> {
    let mut highest = BTreeMap::new();
    for Got { position, .. } in got {
        let offset: &mut u64 = highest.entry(position.lane).or_default();
        *offset = position.offset.max(*offset);
    }
    highest.into_iter().map(|(lane, offset)| Position { lane, offset }).collect()
}

fn count(wanted: usize) -> impl FnMut(&KafkaSource, &[Got]) -> bool {
    move |_, got| got.len() >= wanted
}

#[test]
fn partitions_are_merged_in_order_of_event_time_and_nothing_is_lost() {
    let mock = cluster("costs", 4);
    produce_numbers(&mock, "costs", 4, 0..5_000);
    let mut source = open(settings(&mock, "costs"));
    assert!(source.readiness().unwrap_err().contains("waiting to be given partitions of costs"));
    let mut got = read_until(&mut source, count(1));
    let waiting = &source.progress().lags[0];
    assert!(&*waiting.input == "costs" && waiting.messages > 0, "{waiting:?}");
    got.extend(read_until(&mut source, count(5_000 - got.len())));
    let numbers: Vec<i64> = got.iter().map(Got::number).collect();
    assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());
    assert_eq!(source.readiness(), Ok(()));
    let mut names = source.lanes();
    names.sort();
    assert_eq!(names, ["costs/0", "costs/1", "costs/2", "costs/3"]);
    let progress = source.progress();
    assert_eq!((&progress.lags[..], progress.bytes_total), (&[Lag::none("costs")][..], None));
    assert!(progress.bytes_read > 20_000);
    read_until(&mut source, |source, _| {
        let Progress { rebalances, brokers, .. } = source.progress();
        rebalances == 1 && brokers == Some(Brokers { up: 1, connecting: 0, down: 0 })
    });
    // Live: what comes late is handed out without waiting for silent partitions.
    produce(&mock, "costs", [(2, None, &b"7 late"[..])]);
    assert_eq!(read_until(&mut source, count(1))[0].payload, b"7 late");
}

#[test]
fn headers_of_events_and_payloads_pass_through_untouched() {
    let mock = cluster("raw", 1);
    let sent: [Sent<'_>; 5] = [
        (0, None, b"no headers"),
        (0, Some(b"id"), b"{\"broken\":"),
        (0, Some(b""), b"\xff\xfe\0"),
        (0, None, b""),
        (0, Some(b"\0\xff"), b"last"),
    ];
    produce(&mock, "raw", sent);
    let mut source = open(settings(&mock, "raw"));
    let got = read_until(&mut source, count(5));
    let seen: Vec<_> = got.iter().map(|g| (0, g.id.as_deref(), &g.payload[..])).collect();
    assert_eq!(seen, sent);
    let offsets: Vec<u64> = got.iter().map(|g| g.position.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
}

#[test]
fn a_restart_goes_on_after_what_was_acknowledged() {
    let mock = cluster("again", 4);
    produce_numbers(&mock, "again", 4, 0..400);
    let mut source = open(settings(&mock, "again"));
    let got = read_until(&mut source, count(400));
    source.acknowledge(&through(&got[..150]));
    // Neither what was never handed out nor an unknown lane may move the group.
    source.acknowledge(&[Position { lane: 0, offset: 10_000 }, Position { lane: 9, offset: 1 }]);
    source.close();
    assert_eq!(source.read(&mut Chunk::new(), SLICE).unwrap(), Read::End);
    produce_numbers(&mock, "again", 4, 400..500);
    let mut source = open(settings(&mock, "again"));
    let got = read_until(&mut source, count(350));
    let numbers: Vec<i64> = got.iter().map(Got::number).collect();
    assert_eq!(numbers, (150..500).collect::<Vec<_>>());
}

#[test]
fn a_client_that_broke_is_replaced_and_goes_on_after_what_was_acknowledged() {
    let mock = cluster("broke", 2);
    produce_numbers(&mock, "broke", 2, 0..100);
    let mut source = open(settings(&mock, "broke"));
    let got = read_until(&mut source, count(100));
    source.acknowledge(&through(&got[..40]));
    let names = source.lanes();
    source.leave();
    assert!(source.readiness().is_err());
    let numbers: Vec<i64> = read_until(&mut source, count(60)).iter().map(Got::number).collect();
    assert_eq!(numbers, (40..100).collect::<Vec<_>>());
    assert_eq!(source.lanes(), names);
}

#[test]
fn a_start_at_the_end_reads_only_what_comes_later() {
    let mock = cluster("tail", 1);
    produce_numbers(&mock, "tail", 1, 0..100);
    let latest = KafkaSettings { start: Start::Latest, ..settings(&mock, "tail") };
    let mut source = open(latest);
    let mut next = 100;
    let got = read_until(&mut source, |source, got| {
        // Until the position is settled, what is produced may lie before it.
        if source.readiness().is_ok() && next < 150 {
            produce_numbers(&mock, "tail", 1, next..next + 1);
            next += 1;
        }
        !got.is_empty()
    });
    assert!(got[0].number() >= 100);
}

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let mock = cluster("down", 2);
    produce_numbers(&mock, "down", 2, 0..50);
    mock.broker_down(1).unwrap();
    let mut source = open(settings(&mock, "down"));
    read_until(&mut source, |source, _| {
        source.readiness().is_err_and(|reason| reason.contains("brokers are down"))
    });
    mock.broker_up(1).unwrap();
    let got = read_until(&mut source, count(50));
    assert_eq!(got.len(), 50);
    assert_eq!(source.readiness(), Ok(()));
    // And again while running and with nothing new to read.
    mock.broker_down(1).unwrap();
    read_until(&mut source, |source, _| source.readiness().is_err());
    mock.broker_up(1).unwrap();
    read_until(&mut source, |source, _| source.readiness().is_ok());
}

#[test]
fn a_stop_without_a_broker_does_not_hang() {
    let mock = cluster("stop", 1);
    produce_numbers(&mock, "stop", 1, 0..50);
    let mut source = open(settings(&mock, "stop"));
    let got = read_until(&mut source, count(50));
    mock.broker_down(1).unwrap();
    read_until(&mut source, |source, _| source.readiness().is_err());
    source.acknowledge(&through(&got));
    let begin = elapsed();
    source.close();
    assert!(elapsed() - begin < Duration::from_secs(5), "{:?}", elapsed() - begin);
}

#[test]
fn a_missing_topic_is_a_readiness_reason_until_it_appears() {
    let mock = MockCluster::new(1).unwrap();
    let mut source = open(settings(&mock, "missing"));
    read_until(&mut source, |source, _| {
        source
            .readiness()
            .is_err_and(|reason| reason.contains("missing: Broker: Unknown topic or partition"))
    });
    mock.create_topic("missing", 2, 1).unwrap();
    produce_numbers(&mock, "missing", 2, 0..50);
    assert_eq!(read_until(&mut source, count(50)).len(), 50);
    assert_eq!(source.readiness(), Ok(()));
}

#[test]
fn a_forbidden_topic_is_a_readiness_reason_until_it_is_allowed() {
    let mock = cluster("forbidden", 1);
    produce_numbers(&mock, "forbidden", 1, 0..50);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    mock.topic_error("forbidden", denied).unwrap();
    let mut source = open(settings(&mock, "forbidden"));
    read_until(&mut source, |source, _| {
        source.readiness().is_err_and(|reason| reason.contains("Topic authorization failed"))
    });
    mock.topic_error("forbidden", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    assert_eq!(read_until(&mut source, count(50)).len(), 50);
    assert_eq!(source.readiness(), Ok(()));
}

#[test]
fn uneven_partitions_are_paused_at_their_share_and_lose_nothing() {
    let mock = cluster("uneven", 2);
    let filler = "x".repeat(200);
    let texts: Vec<String> = (0..20_000).map(|number| format!("{number} {filler}")).collect();
    // The whole of partition 1 is later than partition 0, and waits for it.
    let sent = (0..).zip(&texts).map(|(n, text)| (n / 10_000, None, text.as_bytes()));
    produce(&mock, "uneven", sent);
    let small = KafkaSettings { queue_bytes_max: 1, ..settings(&mock, "uneven") };
    let mut source = open(small);
    let (mut paused, mut bytes) = (0, 0);
    let got = read_until(&mut source, |source, got| {
        paused = paused.max(source.paused);
        let queued = source.lanes.iter().map(|(_, entry)| entry.queued_bytes());
        bytes = bytes.max(queued.max().unwrap_or(0));
        got.len() >= 20_000
    });
    let numbers: Vec<i64> = got.iter().map(Got::number).collect();
    assert!(numbers.is_sorted());
    assert_eq!(numbers.len(), 20_000);
    assert!(paused > 0);
    assert!(bytes <= PARTITION_BYTES_MIN + 300, "{bytes}");
}

#[test]
fn settings_that_cannot_work_are_refused_by_name_and_secrets_are_not_shown() {
    let mock = cluster("any", 1);
    let with = |key: &str, value: &str| {
        let mut settings = settings(&mock, "any");
        settings.properties.insert(key.to_owned(), value.to_owned());
        settings
    };
    let refused = |settings| {
        KafkaSource::open(settings, peek, Clock { wall, elapsed }).unwrap_err().to_string()
    };
    for (settings, words) in [
        (with("group.id", "other"), "kafka property group.id is set by bursar itself"),
        (with("enable.auto.commit", "true"), "remove it from the properties"),
        (with("no.such.property", "1"), "no.such.property"),
        // Its properties have a session timeout, which the newer protocol leaves to the broker.
        (with("group.protocol", "consumer"), "session.timeout.ms"),
        (with("sasl.oauthbearer.method", "oidc"), "libcurl"),
        (KafkaSettings { topics: vec![], ..settings(&mock, "any") }, "no topic is named"),
        (KafkaSettings { group: String::new(), ..settings(&mock, "any") }, "no consumer group"),
        (
            KafkaSettings { bootstrap_servers: " ".to_owned(), ..settings(&mock, "any") },
            "no bootstrap server",
        ),
    ] {
        let error = refused(settings);
        assert!(error.contains(words), "{error}");
    }
    let secret = with("sasl.password", "hunter2");
    assert!(!format!("{secret:?}").contains("hunter2"));
}
