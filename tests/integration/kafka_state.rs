//! State that survives a restart, on Kafka: no message is lost or counted twice, however often the
//! daemon is killed while they flow, and wherever the group has committed.

use std::fs;
use std::thread;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rdkafka::mocking::MockCluster;

use crate::kafka::{Mock, PARTITIONS, TOPIC, counted, produce, start};
use crate::support::{PATIENCE, until};

const KILLS: u32 = 4;
const MESSAGES: usize = 24_000;

/// Without an id, by which one that is read again could be known.
fn record(number: usize) -> String {
    let (second, ms) = (number / 40, number % 40 * 25);
    let (minute, second) = (second / 60, second % 60);
    serde_json::json!({
        "kind": "invocation", "time": format!("2026-01-05T00:{minute:02}:{second:02}.{ms:03}Z"),
        "account": "1", "region": "eu-west-1", "function": format!("f{}", number % 20),
        "billed_ms": 9, "memory_mb": 128,
    })
    .to_string()
}

#[test]
fn every_message_counts_once_although_its_reader_is_killed_while_they_flow() {
    let mock: Mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    let brokers = mock.bootstrap_servers();
    let folder = tempfile::tempdir().unwrap();
    let (config, state) = (folder.path().join("bursar.toml"), folder.path().join("state"));
    let text = format!(
        "[input]\nkind = \"kafka\"\n[input.kafka]\nbrokers = [\"{}\"]\n\
         topics = [\"{TOPIC}\"]\nstart = \"earliest\"\n\
         properties = {{ \"session.timeout.ms\" = 6000 }}\n\
         [state]\ndirectory = \"{}\"\ninterval = \"1s\"\n",
        brokers,
        state.display(),
    );
    fs::write(&config, text).unwrap();
    let messages: Vec<String> = (0..MESSAGES).map(record).collect();
    let mut draw = ChaCha8Rng::seed_from_u64(41);
    thread::scope(|scope| {
        scope.spawn(|| {
            for some in messages.chunks(400) {
                produce(&brokers, some);
                thread::sleep(Duration::from_millis(300));
            }
        });
        for _ in 0..KILLS {
            let daemon = start(&config);
            let enough = f64::from(100 + draw.next_u32() % 2_000);
            until("some records", PATIENCE, || (counted(&daemon) >= enough).then_some(()));
            thread::sleep(Duration::from_millis((draw.next_u32() % 1_500).into()));
            daemon.signal("KILL");
        }
    });
    let daemon = start(&config);
    let lag = format!("bursar_input_lag_messages{{input=\"{TOPIC}\"}}");
    until("all records", PATIENCE, || (counted(&daemon) > 0.0).then_some(()));
    until("nothing to wait", PATIENCE, || (daemon.metric(&lag) == Some(0.0)).then_some(()));
    thread::sleep(Duration::from_secs(1));
    let (decisions, _) = daemon.stop();
    let records = &decisions.last().unwrap()["records"];
    assert_eq!((&records["counted"], &records["duplicate"]), (&MESSAGES.into(), &0.into()));
}
