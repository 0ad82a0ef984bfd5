//! How fast records come in from a real Kafka broker, beside a bare loop of the same client that
//! only parses the same messages.
//!
//! `BURSAR_TEST_KAFKA_LIBS=target/kafka cargo bench --bench kafka -- [--messages N] [--rounds N]
//! [--rate N]`
//!
//! With `--rate` only the delay is measured, at so many messages a second.
//!
//! Both read the same topic from its beginning, in turn, from the first message to the last. The
//! bare loop polls one `BaseConsumer` and parses each message with sonic-rs; bursar is the daemon
//! as it is shipped, whole: decoding, windows, detection, cost. What counts is the ratio.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a bench talks")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
#![allow(dead_code, reason = "not all of what the tests share is needed here")]

#[path = "../tests/integration/broker.rs"]
mod broker;
#[path = "../tests/integration/support.rs"]
mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord};

use broker::Broker;
use support::{Daemon, bursar, ms, now, until};

const TOPIC: &str = "costs";
const PARTITIONS: i32 = 8;
/// 2026-01-05T00:00:00Z.
const START_MS: u64 = 1_767_571_200_000;
/// Records of one second of event time.
const PER_SECOND: u64 = 20_000;
const FUNCTIONS: u64 = 2_000;
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    let messages = argument("--messages").unwrap_or(2_000_000);
    let rounds = argument("--rounds").unwrap_or(5);
    let Some(broker) = Broker::start("the rate of records from Kafka") else {
        std::process::exit(1);
    };
    let rate = match argument("--rate") {
        Some(rate) => rate as f64,
        None => rates(&broker, messages, rounds) / 2.0,
    };
    let delays = delays(&broker, rate);
    let part = |what: &str, of: fn(&Delay) -> f64| {
        let mut sorted: Vec<f64> = delays.iter().map(of).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
        println!("{what}: p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms", at(0.5), at(0.9), at(0.99));
    };
    println!("{} pages at {rate:.0} messages a second", delays.len());
    part("from append to decision", |delay| delay.whole);
    part("  of it from append to arrival", |delay| delay.arrival);
    part("  of it from arrival to decision", |delay| delay.decision);
}

/// The fastest of the daemon's rates, in messages a second; prints all, beside the bare loop's.
fn rates(broker: &Broker, messages: u64, rounds: u64) -> f64 {
    broker.create(TOPIC, PARTITIONS);
    let lines: Vec<String> = (0..messages).map(line).collect();
    let bytes: usize = lines.iter().map(String::len).sum();
    broker.produce(TOPIC, PARTITIONS, lines.iter().map(String::as_bytes));
    drop(lines);
    println!("{messages} messages of {} bytes, {PARTITIONS} partitions", bytes as u64 / messages);
    let (mut ratios, mut fastest) = (Vec::new(), 0.0_f64);
    for round in 0..rounds {
        let (bare, whole) = (bare(broker, round, messages), whole(broker, round, messages));
        ratios.push(whole / bare);
        fastest = fastest.max(whole);
        println!("round {round}: bare loop {bare:.0} a second, bursar {whole:.0} a second");
    }
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios[0], ratios.last().unwrap());
    println!("bursar / bare loop: median {:.2}, {low:.2} to {high:.2}", ratios[ratios.len() / 2]);
    fastest
}

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

fn line(number: u64) -> String {
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let function = (spread >> 40) * (spread >> 40 & 0xFFFF) % FUNCTIONS;
    let ms = START_MS + number * 1_000 / PER_SECOND;
    record(number, &format!("f{function:04}"), ms, 10 + (spread >> 20) % 200)
}

fn record(number: u64, function: &str, ms: u64, billed_ms: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms.cast_signed()).unwrap();
    format!(
        concat!(
            r#"{{"kind":"invocation","time":"{time}","account":"111122223333","#,
            r#""region":"eu-west-1","function":"{function}","#,
            r#""request_id":"{id:08x}-0000-4000-8000-{number:012x}","#,
            r#""billed_ms":{billed_ms},"memory_mb":512,"status":"success"}}"#
        ),
        time = time,
        function = function,
        number = number,
        billed_ms = billed_ms,
        id = number.wrapping_mul(0x9E37_79B9) >> 32,
    )
}

/// Messages a second of the bare loop.
fn bare(broker: &Broker, round: u64, messages: u64) -> f64 {
    let consumer: BaseConsumer = broker
        .client()
        .set("group.id", format!("bare-{round}"))
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    let (mut begin, mut read) = (None, 0);
    while read < messages {
        let Some(message) = consumer.poll(Duration::from_secs(10)) else {
            continue;
        };
        let message = message.unwrap();
        begin.get_or_insert_with(now);
        let value: sonic_rs::Value = sonic_rs::from_slice(message.payload().unwrap()).unwrap();
        std::hint::black_box(value);
        read += 1;
    }
    messages as f64 / begin.unwrap().elapsed().as_secs_f64()
}

/// Messages a second of the daemon.
fn whole(broker: &Broker, round: u64, messages: u64) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bursar.toml");
    let text = format!(
        "[input]\nkind = \"kafka\"\n[input.kafka]\nbrokers = [\"{}\"]\ntopics = [\"{TOPIC}\"]\n\
         start = \"earliest\"\ngroup = \"whole-{round}\"\n",
        broker.address
    );
    fs::write(&config, text).unwrap();
    let daemon = Daemon::start(bursar(["run", "--config"]).arg(&config));
    let counted = || {
        let outcome = |name| daemon.metric(&format!("bursar_records_total{{outcome=\"{name}\"}}"));
        ["counted", "late", "unrouted", "duplicate"].into_iter().filter_map(outcome).sum::<f64>()
    };
    let (begin, first) = until("the first", PATIENCE, || {
        let count = counted();
        (count > 0.0).then(|| (now(), count))
    });
    let end = until("the last", PATIENCE, || (counted() >= messages as f64).then(now));
    drop(daemon.stop());
    (messages as f64 - first) / end.duration_since(begin).as_secs_f64()
}

/// Functions that are flooded one after another, while everything else goes on.
const VICTIMS: u64 = 100;
/// Their past, called once a second each.
const PAST_SECONDS: u64 = 1_200;
/// Between two floods.
const EVERY: Duration = Duration::from_millis(300);
/// Calls of a flood, appended at once.
const FLOOD: u64 = 400;

/// Milliseconds from the append of the record that gave the evidence; event time is the time of the
/// append.
struct Delay {
    /// To the page that is read from the decisions.
    whole: f64,
    /// To the arrival of the record in the daemon.
    arrival: f64,
    /// From there to the decision.
    decision: f64,
}

fn delays(broker: &Broker, rate: f64) -> Vec<Delay> {
    let topic = "paced";
    broker.create(topic, PARTITIONS);
    let begin_ms = wall_ms();
    let mut number = 0;
    let past: Vec<String> = (0..PAST_SECONDS)
        .flat_map(|second| (0..VICTIMS).map(move |victim| (second, victim)))
        .map(|(second, victim)| {
            number += 1;
            let ms = begin_ms - (PAST_SECONDS - second) * 1_000 + victim * 9;
            record(number, &format!("victim{victim:03}"), ms, 100)
        })
        .collect();
    broker.produce(topic, 1, past.iter().map(String::as_bytes));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bursar.toml");
    let text = format!(
        "[input]\nkind = \"kafka\"\n[input.kafka]\nbrokers = [\"{}\"]\ntopics = [\"{topic}\"]\n\
         start = \"earliest\"\ngroup = \"delays\"\n[detection]\npages_per_day = 100.0\n",
        broker.address
    );
    fs::write(&config, text).unwrap();
    let daemon = Daemon::start(bursar(["run", "--config"]).arg(&config));
    let producer: BaseProducer = broker
        .client()
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .unwrap();
    let send = |number: u64, line: String| {
        let partition = (number % PARTITIONS as u64) as i32;
        let mut record =
            BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(line.as_bytes());
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(1));
            record = back;
        }
        producer.poll(Duration::ZERO);
    };
    // A flood during the catching-up would measure that.
    let past = past.len() as f64;
    let counted = || daemon.metric("bursar_records_total{outcome=\"counted\"}");
    until("the past", PATIENCE, || counted().filter(|&count| count >= past));
    let found = Mutex::new(Vec::new());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| follow(&daemon, &found, &done));
        let (begin, mut sent, mut floods) = (now(), 0, 0);
        let is_over = || found.lock().unwrap().len() as u64 >= VICTIMS;
        while !is_over() && begin.elapsed() < EVERY * (VICTIMS as u32 + 60) {
            while (sent as f64) < begin.elapsed().as_secs_f64() * rate {
                number += 1;
                sent += 1;
                send(number, record(number, &format!("f{:04}", number % FUNCTIONS), wall_ms(), 20));
            }
            if floods < VICTIMS && begin.elapsed() > Duration::from_secs(3) + EVERY * floods as u32
            {
                for _ in 0..FLOOD {
                    number += 1;
                    send(number, record(number, &format!("victim{floods:03}"), wall_ms(), 3_000));
                }
                floods += 1;
            }
            producer.poll(Duration::from_millis(2));
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(daemon.stop());
    found.into_inner().unwrap()
}

/// Reads the decisions as they are written, on a thread of its own: whoever sends is busy.
fn follow(daemon: &Daemon, found: &Mutex<Vec<Delay>>, done: &AtomicBool) {
    let mut seen = 0;
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
        let fresh = daemon.decisions_after(&mut seen);
        let read_ms = wall_ms();
        for line in fresh {
            let is_page = line["state"] == "opened" && line["severity"] == "page";
            if is_page && line["function"].as_str().is_some_and(|name| name.starts_with("victim")) {
                let [at, arrived, decided] =
                    ["evidence_at", "arrived_at", "decided_at"].map(|time| ms(&line[time]) as f64);
                let whole = read_ms as f64 - at;
                let delay = Delay { whole, arrival: arrived - at, decision: decided - arrived };
                found.lock().unwrap().push(delay);
            }
        }
    }
}

fn wall_ms() -> u64 {
    jiff::Timestamp::now().as_millisecond().unsigned_abs()
}
