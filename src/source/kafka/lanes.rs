//! The partitions of this member: what they have queued, merged by event time.

use std::collections::HashMap;
use std::time::Duration;

use crate::record::Position;
use crate::source::merge::{Merge, Pop};
use crate::source::{Chunk, Headers, PeekTime};
use crate::units::ProcessingTime;

/// Space that a backlog gives back once it is empty; what it keeps is below.
const BACKLOG_KEPT_BYTES: usize = 256 << 10;

/// All partitions ever given to this member; the index is the lane.
#[derive(Debug)]
pub(super) struct Lanes {
    merge: Merge<Queued>,
    partitions: Vec<Partition>,
    by_name: HashMap<String, Vec<Option<u32>>>,
    /// Partitions held now.
    held: usize,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) number: i32,
    pub(super) held: bool,
    /// The client was told to send no more for now.
    pub(super) paused: bool,
    backlog: Backlog,
    /// First offset handed out in this assignment, and one past the last.
    delivered: Option<(u64, u64)>,
}

/// A message whose bytes are in the backlog of its lane.
#[derive(Debug)]
struct Queued {
    offset: u64,
    arrived: ProcessingTime,
    header_bytes: usize,
    payload_bytes: usize,
}

/// A message as the client lends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lent<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: u64,
    pub(super) headers: Headers<'a>,
    pub(super) payload: &'a [u8],
}

impl Lanes {
    pub(super) fn new(idle: Duration) -> Self {
        Self { merge: Merge::new(idle), partitions: Vec::new(), by_name: HashMap::new(), held: 0 }
    }

    pub(super) fn lane_of(&self, topic: &str, partition: i32) -> Option<u32> {
        let index = usize::try_from(partition).ok()?;
        *self.by_name.get(topic)?.get(index)?
    }

    pub(super) fn get(&self, lane: u32) -> Option<&Partition> {
        self.partitions.get(lane as usize)
    }

    pub(super) fn get_mut(&mut self, lane: u32) -> Option<&mut Partition> {
        self.partitions.get_mut(lane as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Partition)> {
        (0..).zip(&self.partitions)
    }

    /// Partitions held now.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// A partition is given to this member; its lane keeps its number for ever.
    pub(super) fn give(&mut self, topic: &str, partition: i32, now: Duration) -> Option<u32> {
        let index = usize::try_from(partition).ok()?;
        let lane = if let Some(lane) = self.lane_of(topic, partition) {
            lane
        } else {
            let lane = self.merge.add_lane(now);
            self.merge.end(lane);
            self.partitions.push(Partition {
                topic: topic.to_owned(),
                number: partition,
                held: false,
                paused: false,
                backlog: Backlog::default(),
                delivered: None,
            });
            let numbers = self.by_name.entry(topic.to_owned()).or_default();
            if numbers.len() <= index {
                numbers.resize(index + 1, None);
            }
            numbers[index] = Some(lane);
            lane
        };
        let entry = &mut self.partitions[lane as usize];
        if !entry.held {
            entry.held = true;
            entry.delivered = None;
            self.held += 1;
            self.merge.open(lane, now);
        }
        Some(lane)
    }

    /// A partition is taken from this member: what it has queued is somebody else's now.
    pub(super) fn take_away(&mut self, lane: u32) {
        let entry = &mut self.partitions[lane as usize];
        if entry.held {
            entry.held = false;
            entry.backlog = Backlog::default();
            self.held -= 1;
            self.merge.drop_queue(lane);
        }
    }

    /// The client has nothing more of this partition number. It does not say of which topic: with
    /// several topics a lane may count as caught up too early, until its next message.
    pub(super) fn set_caught_up(&mut self, partition: i32) {
        for (lane, entry) in (0..).zip(&self.partitions) {
            if entry.number == partition && entry.held {
                self.merge.set_caught_up(lane);
            }
        }
    }

    /// Queues a message, if its partition is held; gives its lane.
    pub(super) fn queue(
        &mut self,
        message: Lent<'_>,
        peek: PeekTime,
        arrived: ProcessingTime,
    ) -> Option<u32> {
        let lane = self.lane_of(message.topic, message.partition)?;
        let entry = &mut self.partitions[lane as usize];
        if !entry.held {
            return None;
        }
        let time = if self.held > 1 { peek(message.payload) } else { None };
        entry.backlog.push(message.headers.as_bytes());
        entry.backlog.push(message.payload);
        let queued = Queued {
            offset: message.offset,
            arrived,
            header_bytes: message.headers.as_bytes().len(),
            payload_bytes: message.payload.len(),
        };
        self.merge.push(lane, time, queued);
        Some(lane)
    }

    /// Hands out messages in order of time. Gives the moment until which a silent partition holds
    /// the rest back, if one does.
    pub(super) fn deliver(&mut self, chunk: &mut Chunk, now: Duration) -> Option<Duration> {
        while !chunk.is_full() {
            let (lane, message) = match self.merge.pop(now) {
                Pop::Item { lane, item } => (lane, item),
                Pop::Held { until } => return Some(until),
                Pop::Empty => return None,
            };
            let entry = &mut self.partitions[lane as usize];
            let size = message.header_bytes + message.payload_bytes;
            let bytes = entry.backlog.front(size);
            let (headers, payload) = bytes.split_at(message.header_bytes);
            let offset = message.offset;
            chunk.push(
                Position { lane, offset },
                Some(message.arrived),
                Headers::new(headers),
                payload,
            );
            entry.backlog.consume(size);
            let first = entry.delivered.map_or(offset, |(first, _)| first);
            entry.delivered = Some((first, offset.saturating_add(1)));
        }
        None
    }

    /// Messages of a held lane that are not handed out, as far as they are known. Before the first
    /// of them those count that are not committed.
    pub(super) fn lag(&self, lane: u32, high: Option<u64>, uncommitted: Option<u64>) -> u64 {
        let queued = self.merge.queued(lane) as u64;
        let behind = match self.get(lane).and_then(|entry| entry.delivered) {
            Some((_, next)) => high.map(|high| high.saturating_sub(next)),
            None => uncommitted,
        };
        behind.unwrap_or(0).max(queued)
    }
}

impl Partition {
    pub(super) fn queued_bytes(&self) -> usize {
        self.backlog.len()
    }

    /// Whether an offset was handed out in this assignment; a late acknowledgement of an earlier
    /// one must not move the group.
    pub(super) fn has_delivered(&self, offset: u64) -> bool {
        let within = |(first, next)| (first..next).contains(&offset);
        self.held && self.delivered.is_some_and(within)
    }
}

/// Bytes, first in first out, in one allocation.
#[derive(Debug, Default)]
struct Backlog {
    bytes: Vec<u8>,
    start: usize,
}

impl Backlog {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn front(&self, count: usize) -> &[u8] {
        let end = (self.start + count).min(self.bytes.len());
        &self.bytes[self.start..end]
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(BACKLOG_KEPT_BYTES);
            self.start = 0;
        } else if self.start > self.bytes.len() / 2 && self.start > BACKLOG_KEPT_BYTES / 4 {
            // Moves fewer bytes than were consumed since the last move.
            self.bytes.copy_within(self.start.., 0);
            self.bytes.truncate(self.bytes.len() - self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_gives_back_what_went_in_and_does_not_grow_with_what_passed() {
        let mut backlog = Backlog::default();
        let (mut pushed, mut taken) = (0_usize, 0_usize);
        for round in 0..20_000_usize {
            let size = round % 97;
            backlog.push(&vec![(pushed % 251) as u8; size]);
            pushed += 1;
            if round > 200 {
                let size = taken % 97;
                let expected = vec![(taken % 251) as u8; size];
                assert_eq!(backlog.front(size), expected);
                backlog.consume(size);
                taken += 1;
            }
        }
        assert!(backlog.bytes.capacity() <= 2 * BACKLOG_KEPT_BYTES);
        assert!(backlog.len() > 0);
    }

    fn drain(lanes: &mut Lanes) -> Vec<(u32, u64)> {
        let mut chunk = Chunk::new();
        lanes.deliver(&mut chunk, Duration::ZERO);
        chunk.messages().map(|m| (m.position.lane, m.position.offset)).collect()
    }

    #[test]
    fn lanes_keep_their_numbers_and_forget_what_was_taken_away() {
        let mut lanes = Lanes::new(Duration::ZERO);
        let queue = |lanes: &mut Lanes, topic, partition, offset| {
            let (headers, payload) = (Headers::default(), &b"x"[..]);
            let lent = Lent { topic, partition, offset, headers, payload };
            lanes.queue(lent, |_| None, ProcessingTime(0))
        };
        let now = Duration::ZERO;
        assert_eq!(lanes.give("a", 3, now), Some(0));
        assert_eq!(lanes.give("b", 3, now), Some(1));
        assert_eq!(lanes.give("a", -1, now), None);
        assert_eq!(queue(&mut lanes, "a", 3, 7), Some(0));
        assert_eq!(queue(&mut lanes, "b", 3, 8), Some(1));
        assert_eq!(queue(&mut lanes, "b", 4, 9), None);
        assert_eq!(drain(&mut lanes), [(0, 7), (1, 8)]);
        assert!(lanes.get(0).unwrap().has_delivered(7));
        assert!(!lanes.get(0).unwrap().has_delivered(8));
        assert_eq!((lanes.lag(0, Some(10), Some(99)), lanes.lag(1, None, None)), (2, 0));
        queue(&mut lanes, "a", 3, 8);
        queue(&mut lanes, "b", 3, 9);
        lanes.take_away(0);
        assert_eq!(queue(&mut lanes, "a", 3, 9), None);
        assert_eq!(drain(&mut lanes), [(1, 9)]);
        assert!(!lanes.get(0).unwrap().has_delivered(7));
        assert_eq!(lanes.give("a", 3, now), Some(0));
        assert_eq!(queue(&mut lanes, "a", 3, 8), Some(0));
        assert_eq!(drain(&mut lanes), [(0, 8)]);
    }
}
