//! Merging of lanes by event time. Pure: it holds queued items and decides whose turn it is.
//!
//! The lane whose queue holds the smallest time goes first; among equals, the lower lane. The
//! whole queue counts and not only its head, because times are chosen by whoever wrote the
//! message: a head from the year 2099 would otherwise block everything behind it. For lanes that
//! are sorted the two are the same.
//!
//! A lane whose queue is empty and that may still speak holds the merge back, but no longer than
//! `idle`; then the others go on without it until it speaks again.
//!
//! The winner is kept in a tournament tree over the lanes: an update costs log2(lanes) comparisons
//! and, unlike in a heap of heads, no stale entries pile up when a queue's minimum falls.

use std::collections::VecDeque;
use std::time::Duration;

use crate::units::EventTime;

/// Marks a lane that has nothing queued; above every [`EventTime`].
const NOTHING: i64 = i64::MAX;

/// Lanes of queued items, merged by time.
#[derive(Debug)]
pub struct Merge<T> {
    lanes: Vec<Lane<T>>,
    /// Nodes 1.. of a binary tree, each the winner of its two children; leaf of lane `i` is node
    /// `leaves + i`.
    winners: Vec<u32>,
    leaves: usize,
    /// Open lanes with an empty queue, in no particular order.
    hungry: Vec<u32>,
    idle: Duration,
}

/// What [`Merge::pop`] gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Pop<T> {
    /// The next item.
    Item {
        /// Where it came from.
        lane: u32,
        /// As it was pushed.
        item: T,
    },
    /// A silent lane holds the others back, at the latest until this moment.
    Held {
        /// On the clock that `now` is read from.
        until: Duration,
    },
    /// Nothing is queued.
    Empty,
}

#[derive(Debug)]
struct Lane<T> {
    queue: VecDeque<T>,
    /// Sequence number of the head of the queue.
    head: u64,
    /// (time, sequence number) in rising order of both: the smallest times of the queue's tails.
    minima: VecDeque<(i64, u64)>,
    /// The time of the newest item, for items without one.
    last: i64,
    state: State,
    hungry_since: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// At the tip of a live input: more may come, but it need not be waited for.
    CaughtUp,
    /// No more will come.
    Ended,
}

impl<T> Lane<T> {
    fn smallest(&self) -> i64 {
        self.minima.front().map_or(NOTHING, |&(time, _)| time)
    }
}

impl<T> Merge<T> {
    /// No lanes yet; `idle` is how long a silent lane is waited for.
    pub fn new(idle: Duration) -> Self {
        Self { lanes: Vec::new(), winners: Vec::new(), leaves: 0, hungry: Vec::new(), idle }
    }

    /// A further lane, open and empty; lanes are numbered from 0.
    pub fn add_lane(&mut self, now: Duration) -> u32 {
        let lane = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        self.lanes.push(Lane {
            queue: VecDeque::new(),
            head: 0,
            minima: VecDeque::new(),
            last: EventTime::MIN.ms(),
            state: State::Ended,
            hungry_since: now,
        });
        if self.lanes.len() > self.leaves {
            self.rebuild();
        }
        self.open(lane, now);
        lane
    }

    /// Queues an item behind the others of its lane; without a time it has that of its
    /// predecessor.
    pub fn push(&mut self, lane: u32, time: Option<EventTime>, item: T) {
        let entry = &mut self.lanes[lane as usize];
        let time = time.map_or(entry.last, EventTime::ms);
        entry.last = time;
        let before = entry.smallest();
        let sequence = entry.head + entry.queue.len() as u64;
        while entry.minima.back().is_some_and(|&(least, _)| least >= time) {
            entry.minima.pop_back();
        }
        entry.minima.push_back((time, sequence));
        entry.queue.push_back(item);
        if entry.state == State::CaughtUp {
            entry.state = State::Open;
        }
        if entry.smallest() != before {
            self.replay(lane);
        }
        if self.lanes[lane as usize].queue.len() == 1 {
            self.hungry.retain(|&other| other != lane);
        }
    }

    /// The next item in order of time, unless a silent lane has to be waited for.
    pub fn pop(&mut self, now: Duration) -> Pop<T> {
        if let Some(until) = self.held_until(now) {
            return Pop::Held { until };
        }
        let lane = self.winners.get(1).copied().unwrap_or(0);
        let Some(entry) = self.lanes.get_mut(lane as usize) else {
            return Pop::Empty;
        };
        let Some(item) = entry.queue.pop_front() else {
            return Pop::Empty;
        };
        let before = entry.smallest();
        if entry.minima.front().is_some_and(|&(_, sequence)| sequence == entry.head) {
            entry.minima.pop_front();
        }
        entry.head += 1;
        if entry.smallest() != before {
            self.replay(lane);
        }
        self.note_hunger(lane, now);
        Pop::Item { lane, item }
    }

    /// The lane is at the tip of its input: until it speaks again nobody waits for it.
    pub fn set_caught_up(&mut self, lane: u32) {
        if self.lanes[lane as usize].state == State::Open {
            self.lanes[lane as usize].state = State::CaughtUp;
            self.hungry.retain(|&other| other != lane);
        }
    }

    /// Nothing more will be pushed; what is queued still comes out.
    pub fn end(&mut self, lane: u32) {
        self.lanes[lane as usize].state = State::Ended;
        self.hungry.retain(|&other| other != lane);
    }

    /// An ended lane speaks again.
    pub fn open(&mut self, lane: u32, now: Duration) {
        if self.lanes[lane as usize].state == State::Ended {
            self.lanes[lane as usize].state = State::Open;
            self.note_hunger(lane, now);
        }
    }

    /// Ends the lane and forgets what it has queued.
    pub fn drop_queue(&mut self, lane: u32) {
        let entry = &mut self.lanes[lane as usize];
        entry.head += entry.queue.len() as u64;
        entry.queue.clear();
        entry.minima.clear();
        self.end(lane);
        self.replay(lane);
    }

    /// Open lanes with an empty queue, waited for or not.
    pub fn hungry(&self) -> &[u32] {
        &self.hungry
    }

    /// Items queued in a lane.
    pub fn queued(&self, lane: u32) -> usize {
        self.lanes[lane as usize].queue.len()
    }

    /// Every lane has ended and nothing is queued.
    pub fn is_exhausted(&self) -> bool {
        let done = |lane: &Lane<T>| lane.state == State::Ended && lane.queue.is_empty();
        self.hungry.is_empty() && self.lanes.iter().all(done)
    }

    fn held_until(&self, now: Duration) -> Option<Duration> {
        self.hungry
            .iter()
            .map(|&lane| self.lanes[lane as usize].hungry_since.saturating_add(self.idle))
            .filter(|&until| until > now)
            .max()
    }

    fn note_hunger(&mut self, lane: u32, now: Duration) {
        let entry = &mut self.lanes[lane as usize];
        if entry.queue.is_empty() && entry.state == State::Open {
            entry.hungry_since = now;
            self.hungry.push(lane);
        }
    }

    /// Plays the lane's matches again, from its leaf to the root.
    fn replay(&mut self, lane: u32) {
        let mut node = (self.leaves + lane as usize) / 2;
        while node >= 1 {
            self.winners[node] = self.match_of(node);
            node /= 2;
        }
    }

    fn match_of(&self, node: usize) -> u32 {
        let (left, right) = (self.winners[2 * node], self.winners[2 * node + 1]);
        let smallest =
            |lane: u32| self.lanes.get(lane as usize).map_or(NOTHING, |lane| lane.smallest());
        // The left subtree holds the lower lanes, so a tie goes to the lower lane.
        if smallest(right) < smallest(left) { right } else { left }
    }

    fn rebuild(&mut self) {
        self.leaves = self.lanes.len().next_power_of_two().max(2);
        self.winners = vec![0; 2 * self.leaves];
        for (lane, leaf) in (0..).zip(&mut self.winners[self.leaves..]) {
            *leaf = lane;
        }
        for node in (1..self.leaves).rev() {
            self.winners[node] = self.match_of(node);
        }
    }
}

#[cfg(test)]
mod tests;
