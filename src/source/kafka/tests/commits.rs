//! What is committed, when, and who reads on from there.

use std::collections::BTreeSet;

use rdkafka::types::RDKafkaApiKey;

use super::*;

fn committed(source: &KafkaSource, topic: &str, partitions: i32) -> Vec<Offset> {
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let consumer = source.consumer.as_ref().unwrap();
    let list = consumer.committed_offsets(list, Duration::from_secs(5)).unwrap();
    list.elements().iter().map(|element| element.offset()).collect()
}

/// What two members have read, each acknowledging at once.
#[derive(Default)]
struct Pair {
    seen: BTreeSet<i64>,
    doubled: usize,
    next: BTreeMap<String, i64>,
}

impl Pair {
    fn drain(&mut self, source: &mut KafkaSource) {
        let got = read_once(source, SLICE);
        source.acknowledge(&through(&got));
        let names = source.lanes();
        for got in got {
            let next = got.position.offset as i64 + 1;
            self.next.insert(names[got.position.lane as usize].clone(), next);
            self.doubled += usize::from(!self.seen.insert(got.number()));
        }
    }
}

#[test]
fn two_members_share_the_partitions_without_loss_or_doubling() {
    let mock = cluster("shared", 4);
    let mut first = open(settings(&mock, "shared"));
    let mut pair = Pair::default();
    let deadline = elapsed() + PATIENCE;
    let mut produced = 0;
    let mut more = |count: i32| {
        produce_numbers(&mock, "shared", 4, produced..produced + count);
        produced += count;
        usize::try_from(produced).unwrap()
    };
    let mut total = more(1_000);
    let mut second = open(settings(&mock, "shared"));
    while first.lanes.held() != 2 || second.lanes.held() != 2 || pair.seen.len() < total {
        if pair.seen.len() == total && total < 5_000 {
            total = more(10);
        }
        pair.drain(&mut first);
        pair.drain(&mut second);
        assert!(elapsed() < deadline, "{} of {total}", pair.seen.len());
    }
    // Up to here the mock may have refused commits: it does so for the whole of a rebalance, a
    // real broker only while the partitions are being told to the members.
    pair.doubled = 0;
    let acknowledged =
        |pair: &Pair| -> Vec<_> { pair.next.values().map(|&next| Offset::Offset(next)).collect() };
    while committed(&first, "shared", 4) != acknowledged(&pair) {
        pair.drain(&mut first);
        pair.drain(&mut second);
        assert!(elapsed() < deadline, "{:?}", committed(&first, "shared", 4));
    }
    first.close();
    total = more(1_000);
    while pair.seen.len() < total {
        pair.drain(&mut second);
        assert!(elapsed() < deadline, "{} of {total}", pair.seen.len());
    }
    assert_eq!(second.lanes.held(), 4);
    assert_eq!(pair.doubled, 0);
}

#[test]
fn a_commit_that_was_refused_is_sent_again() {
    let mock = cluster("refused", 1);
    produce_numbers(&mock, "refused", 1, 0..100);
    let mut source = open(settings(&mock, "refused"));
    let got = read_until(&mut source, count(100));
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    mock.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal]);
    source.acknowledge(&through(&got));
    let wanted = [Offset::Offset(100)];
    read_until(&mut source, |source, _| committed(source, "refused", 1) == wanted);
}

#[test]
fn acknowledged_positions_are_committed_while_running_too() {
    let mock = cluster("running", 1);
    produce_numbers(&mock, "running", 1, 0..100);
    let mut source = open(settings(&mock, "running"));
    let got = read_until(&mut source, count(100));
    source.acknowledge(&through(&got[..60]));
    read_until(&mut source, |source, _| committed(source, "running", 1) == [Offset::Offset(60)]);
}
