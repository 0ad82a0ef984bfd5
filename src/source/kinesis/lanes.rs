//! What was taken from the shards and not handed out, merged by event time; and which of what was
//! handed out is acknowledged.
//!
//! The service's sequence numbers do not fit a [`Position`], so messages are numbered in the order
//! in which they are handed out. What a number stands for is remembered once a chunk and lane,
//! because that is what is acknowledged: the list is as long as chunks are in use. A position in
//! the middle of a chunk acknowledges what lies before that chunk.

use std::collections::VecDeque;
use std::time::Duration;

use super::aggregate;
use super::client::Record;
use crate::record::Position;
use crate::source::merge::{Merge, Pop};
use crate::source::{Chunk, Headers, PeekTime};
use crate::units::ProcessingTime;

/// Counted for a queued message beside its bytes.
const ENTRY_BYTES: usize = 64;

/// All shards ever read by this process; the index is the lane.
#[derive(Debug)]
pub(super) struct Lanes {
    merge: Merge<Queued>,
    lanes: Vec<Lane>,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) shard: String,
    queued_bytes: usize,
    queued: usize,
    /// Number of the last message that was handed out, from 1.
    last: u64,
    /// Everything up to this number is acknowledged.
    acknowledged: u64,
    /// Once everything up to the number is acknowledged, so is the record with the sequence number.
    marks: VecDeque<(u64, Box<str>)>,
    /// The same for the chunk that is being filled.
    filling: Option<(u64, Box<str>)>,
    ended: bool,
}

#[derive(Debug)]
struct Queued {
    /// `None`: nothing to hand out, but the position moves.
    payload: Option<Vec<u8>>,
    /// Set on the last message of a record.
    sequence: Option<Box<str>>,
    arrived: ProcessingTime,
}

impl Lanes {
    pub(super) fn new(idle: Duration) -> Self {
        Self { merge: Merge::new(idle), lanes: Vec::new() }
    }

    /// Begins with a shard; gives its lane.
    pub(super) fn add(&mut self, shard: String, now: Duration) -> u32 {
        self.lanes.push(Lane {
            shard,
            queued_bytes: 0,
            queued: 0,
            last: 0,
            acknowledged: 0,
            marks: VecDeque::new(),
            filling: None,
            ended: false,
        });
        self.merge.add_lane(now)
    }

    pub(super) fn get(&self, lane: u32) -> &Lane {
        &self.lanes[lane as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter()
    }

    /// Queues a record, unpacked if it is a packed one. Empty messages say nothing and are not
    /// handed out.
    pub(super) fn queue(
        &mut self,
        lane: u32,
        record: Record,
        peek: PeekTime,
        arrived: ProcessingTime,
    ) {
        let packed = aggregate::unpack(&record.data).map(|packed| {
            packed.into_iter().filter(|data| !data.is_empty()).map(<[u8]>::to_vec).collect()
        });
        let mut payloads: Vec<Vec<u8>> = packed.unwrap_or_else(|| vec![record.data]);
        payloads.retain(|payload| !payload.is_empty());
        let last = payloads.pop();
        for payload in payloads {
            self.push(lane, Queued { payload: Some(payload), sequence: None, arrived }, peek);
        }
        let sequence = Some(record.sequence);
        self.push(lane, Queued { payload: last, sequence, arrived }, peek);
    }

    /// The position moves without a record.
    pub(super) fn pass(&mut self, lane: u32, sequence: Box<str>, arrived: ProcessingTime) {
        let passed = Queued { payload: None, sequence: Some(sequence), arrived };
        self.push(lane, passed, |_| None);
    }

    fn push(&mut self, lane: u32, item: Queued, peek: PeekTime) {
        let time = item.payload.as_deref().and_then(peek);
        let entry = &mut self.lanes[lane as usize];
        entry.queued_bytes += item.bytes();
        entry.queued += 1;
        self.merge.push(lane, time, item);
    }

    /// The shard is at its tip: nobody waits for it until it speaks again.
    pub(super) fn set_caught_up(&mut self, lane: u32) {
        self.merge.set_caught_up(lane);
    }

    /// The shard has nothing more than what is queued. Its lane holds others back like any other
    /// until it is left to its children; or those would be late when others are far behind.
    pub(super) fn end(&mut self, lane: u32) {
        self.lanes[lane as usize].ended = true;
    }

    /// Whoever follows the shard is known.
    pub(super) fn leave(&mut self, lane: u32) {
        self.merge.end(lane);
    }

    /// Hands out messages in order of time. Gives the moment until which a silent shard holds the
    /// rest back, if one does.
    pub(super) fn deliver(&mut self, chunk: &mut Chunk, now: Duration) -> Option<Duration> {
        let mut held = None;
        while !chunk.is_full() {
            let (lane, item) = match self.merge.pop(now) {
                Pop::Item { lane, item } => (lane, item),
                Pop::Held { until } => {
                    held = Some(until);
                    break;
                }
                Pop::Empty => break,
            };
            let entry = &mut self.lanes[lane as usize];
            entry.queued_bytes -= item.bytes();
            entry.queued -= 1;
            if let Some(payload) = &item.payload {
                entry.last += 1;
                let position = Position { lane, offset: entry.last };
                chunk.push(position, Some(item.arrived), Headers::default(), payload);
            }
            if let Some(sequence) = item.sequence {
                entry.filling = Some((entry.last, sequence));
            }
        }
        for entry in &mut self.lanes {
            entry.mark();
        }
        held
    }

    /// Everything up to the position is done; what was never handed out cannot be.
    pub(super) fn acknowledge(&mut self, position: Position) {
        if let Some(entry) = self.lanes.get_mut(position.lane as usize)
            && position.offset <= entry.last
        {
            entry.acknowledged = entry.acknowledged.max(position.offset);
        }
    }

    /// The records up to which shards are done, where that has moved.
    pub(super) fn take_done(&mut self) -> Vec<(u32, Box<str>)> {
        let lanes = (0..).zip(&mut self.lanes);
        lanes.filter_map(|(lane, entry)| Some((lane, entry.take_done()?))).collect()
    }
}

impl Lane {
    /// Bytes that wait.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Everything of the shard was handed out.
    pub(super) fn is_drained(&self) -> bool {
        self.ended && self.queued == 0
    }

    /// Everything of the shard is acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.is_drained() && self.marks.is_empty()
    }

    fn mark(&mut self) {
        let Some((number, sequence)) = self.filling.take() else {
            return;
        };
        match self.marks.back_mut() {
            Some((last, mark)) if *last == number => *mark = sequence,
            _ => self.marks.push_back((number, sequence)),
        }
    }

    fn take_done(&mut self) -> Option<Box<str>> {
        let done = self.marks.partition_point(|(number, _)| *number <= self.acknowledged);
        self.marks.drain(..done).next_back().map(|(_, sequence)| sequence)
    }
}

impl Queued {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.payload.as_ref().map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::aggregate::tests::aggregated;
    use super::*;

    fn lanes(count: u32) -> Lanes {
        let mut lanes = Lanes::new(Duration::ZERO);
        for lane in 0..count {
            lanes.add(format!("shard {lane}"), Duration::ZERO);
        }
        lanes
    }

    fn queue(lanes: &mut Lanes, lane: u32, sequence: u32, data: &[u8]) {
        let record = Record { sequence: sequence.to_string().into(), data: data.to_vec() };
        lanes.queue(lane, record, |_| None, ProcessingTime(0));
    }

    /// Hands out at most so many.
    fn deliver(lanes: &mut Lanes, most: usize) -> Vec<Position> {
        let mut chunk = Chunk::with_limits(most, usize::MAX);
        lanes.deliver(&mut chunk, Duration::ZERO);
        chunk.messages().map(|message| message.position).collect()
    }

    fn done(lanes: &mut Lanes, through: &[Position]) -> Vec<(u32, String)> {
        through.iter().for_each(|&position| lanes.acknowledge(position));
        lanes.take_done().into_iter().map(|(lane, done)| (lane, done.into())).collect()
    }

    #[test]
    fn a_record_is_done_when_all_that_was_packed_in_it_is() {
        let mut lanes = lanes(1);
        queue(&mut lanes, 0, 1, b"one");
        queue(&mut lanes, 0, 2, &aggregated(&[b"two", b"three", b"", b"four"]));
        queue(&mut lanes, 0, 3, b"");
        let first = deliver(&mut lanes, 2);
        let second = deliver(&mut lanes, 9);
        assert_eq!((first.len(), second.len()), (2, 2));
        assert_eq!(done(&mut lanes, &first), [(0, "1".to_owned())]);
        assert_eq!(done(&mut lanes, &second[..1]), []);
        // Behind the last message lies a record of nothing, done with it.
        assert_eq!(done(&mut lanes, &second), [(0, "3".to_owned())]);
        assert_eq!(lanes.get(0).queued_bytes(), 0);
    }

    #[test]
    fn acknowledgements_may_be_late_repeated_or_of_something_else() {
        let mut lanes = lanes(2);
        queue(&mut lanes, 0, 1, b"a");
        queue(&mut lanes, 1, 2, b"b");
        let positions = deliver(&mut lanes, 9);
        let strange = [Position { lane: 0, offset: 99 }, Position { lane: 7, offset: 1 }];
        assert_eq!(done(&mut lanes, &strange), []);
        assert_eq!(done(&mut lanes, &positions), [(0, "1".to_owned()), (1, "2".to_owned())]);
        assert_eq!(done(&mut lanes, &positions), []);
        queue(&mut lanes, 1, 3, b"c");
        queue(&mut lanes, 1, 4, b"d");
        let (first, second) = (deliver(&mut lanes, 1), deliver(&mut lanes, 1));
        // The later one stands for both.
        assert_eq!(done(&mut lanes, &second), [(1, "4".to_owned())]);
        assert_eq!(done(&mut lanes, &first), []);
    }

    #[test]
    fn a_shard_is_settled_when_its_end_is_acknowledged() {
        let mut lanes = lanes(1);
        queue(&mut lanes, 0, 1, b"a");
        lanes.end(0);
        assert!(!lanes.get(0).is_drained());
        let positions = deliver(&mut lanes, 9);
        assert!(lanes.get(0).is_drained() && !lanes.get(0).is_settled());
        done(&mut lanes, &positions);
        assert!(lanes.get(0).is_settled());
    }
}
