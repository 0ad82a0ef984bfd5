//! Against a service in this process that keeps the limits and fails on demand.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Instant, SystemTime};

use super::*;
use crate::units::ProcessingTime;

mod fake;

use fake::{Fake, KEYS};

/// Far beyond what any of this takes, so that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(90);

const SLICE: Duration = Duration::from_millis(50);

#[expect(clippy::disallowed_methods, reason = "a live service is waited for in real time")]
fn elapsed() -> Duration {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed()
}

#[expect(clippy::disallowed_methods, reason = "messages arrive in real time")]
fn wall() -> ProcessingTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    ProcessingTime(since.as_millis() as i64)
}

fn settings(fake: &Fake) -> KinesisSettings {
    KinesisSettings {
        stream: "costs".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(fake.url.clone()),
        start: Start::TrimHorizon,
        ..KinesisSettings::default()
    }
}

fn kept(fake: &Fake, file: &Path) -> KinesisSettings {
    KinesisSettings { checkpoint_file: Some(file.to_owned()), ..settings(fake) }
}

fn subscribed(fake: &Fake) -> KinesisSettings {
    let consumer = "arn:aws:kinesis:eu-west-1:111122223333:stream/costs/consumer/bursar:1";
    KinesisSettings { consumer_arn: Some(consumer.to_owned()), ..settings(fake) }
}

fn open(settings: KinesisSettings) -> KinesisSource {
    KinesisSource::open(settings, |_| None, Clock { wall, elapsed }).unwrap()
}

/// A message: its key and its number among those of the key.
type Numbered = (u32, u32);

fn put(fake: &Fake, (key, number): Numbered) {
    fake.put(key, format!("{key} {number}").as_bytes());
}

fn numbered(payload: &[u8]) -> Numbered {
    let text = std::str::from_utf8(payload).unwrap();
    let (key, number) = text.split_once(' ').unwrap();
    (key.parse().unwrap(), number.parse().unwrap())
}

/// Reads once; gives what came and, per lane, the last position.
fn read(source: &mut KinesisSource) -> (Vec<Numbered>, Vec<Position>) {
    let mut chunk = Chunk::new();
    source.read(&mut chunk, SLICE).unwrap();
    let mut last = BTreeMap::new();
    let seen = chunk.messages().map(|message| {
        last.insert(message.position.lane, message.position);
        numbered(message.payload)
    });
    let seen = seen.collect();
    (seen, last.into_values().collect())
}

/// Reads and acknowledges until there are so many, or panics.
#[track_caller]
fn take(source: &mut KinesisSource, count: usize) -> Vec<Numbered> {
    let deadline = elapsed() + PATIENCE;
    let mut seen = Vec::new();
    while seen.len() < count {
        assert!(elapsed() < deadline, "{} of {count}: {:?}", seen.len(), source.readiness());
        let (new, last) = read(source);
        seen.extend(new);
        source.acknowledge(&last);
    }
    seen
}

#[track_caller]
fn read_until(source: &mut KinesisSource, what: impl Fn(&KinesisSource) -> bool) {
    let deadline = elapsed() + PATIENCE;
    while !what(source) {
        assert!(elapsed() < deadline, "{:?}", source.readiness());
        let (seen, _) = read(source);
        assert!(seen.is_empty(), "{seen:?}");
    }
}

/// Every number of every key, once and in order.
#[track_caller]
fn assert_in_order(seen: &[Numbered], keys: u32, each: u32) {
    let mut next: BTreeMap<u32, u32> = BTreeMap::new();
    for &(key, number) in seen {
        let expected = next.entry(key).or_default();
        assert_eq!(number, *expected, "of key {key}");
        *expected += 1;
    }
    assert_eq!(next.len(), keys as usize);
    assert!(next.values().all(|&count| count == each), "{next:?}");
}

/// Keys 5, 15, 25 ... of all.
fn keys(count: u32) -> impl Iterator<Item = u32> + Clone {
    (0..count).map(move |key| key * KEYS / count + 5)
}

/// While records of 20 keys pour in, shards are split and merged and everything goes wrong that
/// may.
fn reshard_under_load(tells_children: bool) {
    const EACH: u32 = 600;
    let fake = Fake::start(2);
    fake.state().tells_children = tells_children;
    fake.state().stutters = true;
    let throttled = "ProvisionedThroughputExceededException";
    fake.fail("GetRecords", &[throttled, "InternalFailure", throttled]);
    fake.fail("GetShardIterator", &["LimitExceededException"]);
    fake.fail("ListShards", &["LimitExceededException"]);
    let mut source = open(settings(&fake));
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..EACH {
                for key in keys(20) {
                    put(&fake, (key, number));
                }
                match number {
                    100 => fake.split(250),
                    200 => fake.expire_iterators(),
                    300 => fake.merge(249, 250),
                    400 => fake.merge(499, 500),
                    450 => fake.fail("GetRecords", &[throttled, "InternalFailure"]),
                    500 => fake.split(700),
                    _ => {}
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        take(&mut source, 20 * EACH as usize)
    });
    assert_in_order(&seen, 20, EACH);
    assert!(read(&mut source).0.is_empty());
    assert_eq!(fake.state().refused, 0, "a limit was not kept");
    assert_eq!(source.lanes().len(), 2 + 2 + 1 + 1 + 2);
    assert_eq!(source.lanes()[0], "costs/shardId-000000000000");
    read_until(&mut source, |source| source.readiness().is_ok());
    assert_eq!(source.progress().behind, Some(Duration::ZERO));
}

#[test]
fn every_record_comes_once_and_in_order_through_splits_and_merges() {
    reshard_under_load(false);
}

#[test]
fn the_same_where_answers_name_the_children() {
    reshard_under_load(true);
}

#[test]
fn subscriptions_bring_the_same_through_reshards_and_broken_connections() {
    const EACH: u32 = 400;
    let fake = Fake::start(2);
    fake.fail("SubscribeToShard", &["LimitExceededException", "InternalFailure"]);
    let mut source = open(subscribed(&fake));
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..EACH {
                for key in keys(20) {
                    put(&fake, (key, number));
                }
                match number {
                    100 => fake.drop_subscriptions(),
                    200 => fake.split(250),
                    300 => fake.merge(249, 250),
                    _ => {}
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        take(&mut source, 20 * EACH as usize)
    });
    assert_in_order(&seen, 20, EACH);
    read_until(&mut source, |source| source.readiness().is_ok());
    assert_eq!(fake.calls("GetRecords"), 0);
    assert_eq!(fake.state().refused, 0, "a limit was not kept");
}

#[test]
fn a_subscription_moves_the_position_where_there_are_no_records() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint.json");
    let fake = Fake::start(1);
    put(&fake, (5, 0));
    let kept = || KinesisSettings { checkpoint_file: Some(file.clone()), ..subscribed(&fake) };
    let mut source = open(kept());
    assert_eq!(take(&mut source, 1), [(5, 0)]);
    drop(source);
    put(&fake, (5, 1));
    // The place of the checkpoint is that of the next subscription.
    let mut source = open(kept());
    assert_eq!(take(&mut source, 1), [(5, 1)]);
    read_until(&mut source, |source| source.readiness().is_ok());
}

#[test]
fn a_backlog_comes_in_order_of_time_across_shards_and_reshards() {
    const EACH: u32 = 200;
    let fake = Fake::start(3);
    fake.state().lingers = true;
    for number in 0..EACH {
        for key in keys(12) {
            put(&fake, (key, number));
        }
        match number {
            70 => fake.split(100),
            140 => fake.merge(99, 100),
            _ => {}
        }
    }
    // The number of a message is its time.
    let peek = |payload: &[u8]| {
        let ms = 1_700_000_000_000 + i64::from(numbered(payload).1);
        Some(EventTime::saturating_from_ms(ms))
    };
    // A loaded machine must not make a shard count as silent.
    let settings = KinesisSettings { idle: Duration::from_secs(30), ..settings(&fake) };
    let mut source = KinesisSource::open(settings, peek, Clock { wall, elapsed }).unwrap();
    // All but the last record of the first shard that ends; so that, on a machine as slow as this,
    // its end is told between that record and the word that this is done.
    let mut chunk = Chunk::with_limits(12 * 70 + 3, usize::MAX);
    let mut seen = Vec::new();
    while seen.len() < (12 * EACH) as usize {
        source.read(&mut chunk, SLICE).unwrap();
        seen.extend(chunk.messages().map(|message| numbered(message.payload)));
        thread::sleep(6 * SLICE);
        source.run_calls(SLICE).unwrap();
        let last: Vec<Position> = chunk.messages().map(|message| message.position).collect();
        source.acknowledge(&last);
    }
    assert!(seen.is_sorted_by_key(|(_, number)| *number), "{seen:?}");
    assert_in_order(&seen, 12, EACH);
}

#[test]
fn what_is_acknowledged_is_not_read_again_and_the_rest_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint.json");
    let fake = Fake::start(2);
    let all = |numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| keys(10).for_each(|key| put(&fake, (key, number))));
    };
    all(0..30);
    let mut source = open(kept(&fake, &file));
    let mut seen = take(&mut source, 300);
    all(30..40);
    // Handed out, and lost with the process.
    let (lost, _) = (0..100).map(|_| read(&mut source)).find(|(seen, _)| !seen.is_empty()).unwrap();
    assert!(lost.iter().all(|(_, number)| *number >= 30));
    drop(source);

    fake.split(250);
    all(40..50);
    let mut source = open(kept(&fake, &file));
    seen.extend(take(&mut source, 200));
    assert_in_order(&seen, 10, 50);
    let ended = |source: &KinesisSource| source.ending.is_empty();
    read_until(&mut source, ended);
    drop(source);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(r#""shardId-000000000000":"end""#), "{text}");

    // A shard beyond its retention is forgotten, and its children go on.
    fake.forget(0);
    all(50..60);
    let mut source = open(kept(&fake, &file));
    seen.extend(take(&mut source, 100));
    assert_in_order(&seen, 10, 60);
    drop(source);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("shardId-000000000000"), "{text}");
}

#[test]
fn a_first_start_at_the_latest_skips_the_past_and_nothing_that_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint.json");
    let fake = Fake::start(1);
    put(&fake, (5, 0));
    fake.split(500);
    put(&fake, (5, 1));
    thread::sleep(SLICE);
    let latest = || KinesisSettings { start: Start::Latest, ..kept(&fake, &file) };
    let mut source = open(latest());
    read_until(&mut source, |source| source.readiness().is_ok());
    assert_eq!(source.lanes(), ["costs/shardId-000000000001", "costs/shardId-000000000002"]);
    // Neither an expired iterator nor a restart makes "latest" a later one.
    drop(source);
    put(&fake, (5, 2));
    let mut source = open(latest());
    fake.expire_iterators();
    assert_eq!(take(&mut source, 1), [(5, 2)]);
}

#[test]
fn empty_and_packed_records_move_the_position() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint.json");
    let fake = Fake::start(1);
    fake.put(5, b"");
    fake.put(5, &aggregate::tests::aggregated(&[b"5 0", b"", b"5 1"]));
    fake.put(5, &aggregate::tests::aggregated(&[]));
    fake.put(5, b"");
    let mut source = open(kept(&fake, &file));
    assert_eq!(take(&mut source, 2), [(5, 0), (5, 1)]);
    drop(source);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("00000000000004\"}"), "{text}");
    // Records of nothing alone are done without anybody who acknowledges them.
    fake.put(5, b"");
    let mut source = open(kept(&fake, &file));
    read_until(&mut source, |source| source.progress().behind.is_some());
    drop(source);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("00000000000005\"}"), "{text}");
}

#[test]
fn a_shard_stops_asking_while_nobody_takes_what_it_has() {
    let fake = Fake::start(1);
    let large = vec![b'x'; 10 << 20];
    fake.put(5, &large);
    let size = 20_000;
    let padding = " ".repeat(size);
    for number in 0..400 {
        fake.put(5, format!("{number}{padding}").as_bytes());
    }
    let queue_bytes_max = 1 << 20;
    let mut source = open(KinesisSettings { queue_bytes_max, ..settings(&fake) });
    let mut chunk = Chunk::with_limits(1, 1);
    let (mut count, mut bytes, mut most) = (0, 0, 0);
    while count < 401 {
        source.read(&mut chunk, SLICE).unwrap();
        count += chunk.len();
        bytes += chunk.bytes();
        // The first record is larger than all that may wait.
        if count > 1 {
            most = most.max(source.lanes.get(0).queued_bytes());
        }
    }
    assert!(bytes > large.len() + 400 * size);
    assert!(most > queue_bytes_max / 2 && most < queue_bytes_max * 2, "{most}");
    assert!(fake.state().answer_records_max < 60, "{}", fake.state().answer_records_max);
}

#[test]
fn what_is_wrong_is_said_with_what_to_do_and_passes() {
    let fake = Fake::start(1);
    let wrong = KinesisSettings { stream: "cots".to_owned(), ..settings(&fake) };
    let mut source = open(wrong);
    let told = |source: &KinesisSource, words: &str| {
        source.readiness().is_err_and(|reason| reason.contains(words))
    };
    assert!(told(&source, "waiting for the list"));
    read_until(&mut source, |source| told(source, "correct input.kinesis.stream"));

    fake.stick("ListShards", "AccessDeniedException");
    let mut source = open(settings(&fake));
    let mut last = "ListShards";
    for (operation, code, words) in [
        ("ListShards", "AccessDeniedException", "allow kinesis:ListShards"),
        ("GetShardIterator", "ExpiredTokenException", "credentials are refused"),
        ("GetShardIterator", "InvalidArgumentException", "remove input.kinesis.checkpoint_file"),
        ("GetRecords", "ProvisionedThroughputExceededException", "is throttled"),
        ("GetRecords", "KMSAccessDeniedException", "kms:Decrypt"),
        ("GetRecords", "Surprise", "GetRecords failed (Surprise"),
    ] {
        fake.stick(operation, code);
        if operation != last {
            fake.heal(last);
        }
        last = operation;
        read_until(&mut source, |source| told(source, words));
    }
    fake.heal(last);
    read_until(&mut source, |source| source.readiness().is_ok());
    let nobody = KinesisSettings { endpoint: Some("http://127.0.0.1:9".into()), ..settings(&fake) };
    let mut source = open(nobody);
    read_until(&mut source, |source| told(source, "check the network"));
}

#[test]
fn a_shard_that_is_gone_ends_and_holds_up_nobody() {
    let fake = Fake::start(1);
    put(&fake, (5, 0));
    let mut source = open(settings(&fake));
    assert_eq!(take(&mut source, 1), [(5, 0)]);
    fake.split(500);
    put(&fake, (5, 1));
    fake.stick("GetRecords", "InternalFailure");
    fake.forget(0);
    fake.heal("GetRecords");
    assert_eq!(take(&mut source, 1), [(5, 1)]);
}

#[test]
fn a_checkpoint_that_is_of_no_use_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start(1);
    for (name, content, words) in [
        ("cut", r#"{"v":1,"stream":"costs","shards":{"#, "EOF"),
        ("other", r#"{"v":1,"stream":"logs","shards":{}}"#, "it is of the stream logs"),
        ("form", r#"{"v":2,"stream":"costs","shards":{}}"#, "it has form 2"),
        ("place", r#"{"v":1,"stream":"costs","shards":{"a":"middle"}}"#, "unknown variant"),
        ("no/folder", "", "No such file"),
    ] {
        let file = folder.path().join(name);
        // The last one has nowhere to be.
        drop(std::fs::write(&file, content));
        let refused = KinesisSource::open(kept(&fake, &file), |_| None, Clock { wall, elapsed });
        let told = refused.unwrap_err().to_string();
        assert!(told.contains(words) && told.contains("checkpoint_file"), "{told}");
    }
}
