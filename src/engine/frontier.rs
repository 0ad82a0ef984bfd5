//! How far event time has come, when timestamps are chosen by whoever writes the record.
//!
//! The frontier is the running maximum of the *median* of the last nine messages' newest event
//! times. A maximum would let one forged record make every honest one late; the median moves only
//! where most of the recent messages agree, so an attacker would have to write more than half of
//! the stream. The price is a lag of four messages, which a live driver makes up for by moving the
//! frontier with its own clock while the stream is silent.
//!
//! Where messages come in no order, the frontier keeps behind that median, by as much as nine of
//! ten messages are behind it: else a second would be judged before most of its records are there.
//! It never waits for more than ten seconds, so whoever forges times gains little by it, and what
//! comes later than could be waited for has no say.
//!
//! Records ahead of the frontier by more than the ring can hold wait, in a small buffer of their
//! own, until the frontier comes near; where it never does they are refused as `future`.

use crate::keep::kept;
use crate::units::EventTime;

/// Messages that the median looks at. Five of them must agree before time moves.
pub const MESSAGES: usize = 9;

/// A record this far ahead of the frontier still has a bucket in the ring, in seconds.
pub const AHEAD_SECONDS: i64 = 15;

/// The most that the frontier keeps behind the median.
const WAIT_MAX_MS: i64 = 10_000;
/// How fast it learns by how much: a message behind what is waited for adds nine parts, any other
/// takes one away, so that they balance where one in ten is behind.
const WAIT_STEP_MS: i64 = 50;
const BEHIND_PARTS: i64 = 9;

/// The state of event time for one input.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    recent: [i64; MESSAGES],
    seen: usize,
    /// The running maximum of the medians.
    median: Option<i64>,
    wait_ms: i64,
    now: Option<EventTime>,
}

impl Frontier {
    /// How far event time has come; `None` before the first messages.
    pub fn now(&self) -> Option<EventTime> {
        self.now
    }

    /// Takes note of one message's newest event time. The frontier stays unknown until enough
    /// messages have come for a forged one not to decide.
    pub fn message(&mut self, newest: EventTime) {
        self.learn_wait(newest.ms());
        self.recent[self.seen % MESSAGES] = newest.ms();
        self.seen += 1;
        if self.seen > MESSAGES / 2 {
            self.begin();
        }
    }

    /// Takes the median of what has been seen so far, however little: nothing more comes for now.
    pub fn begin(&mut self) {
        let len = self.seen.min(MESSAGES);
        if len == 0 {
            return;
        }
        let mut sorted = self.recent;
        sorted[..len].sort_unstable();
        let median = sorted[(len - 1) / 2];
        let median = self.median.map_or(median, |highest| highest.max(median));
        self.median = Some(median);
        self.advance(EventTime::saturating_from_ms(median.saturating_sub(self.wait_ms)));
    }

    /// Learns for how long to wait from a message with this newest event time.
    fn learn_wait(&mut self, newest: i64) {
        let behind = self.median.map_or(0, |median| median.saturating_sub(newest));
        if behind > self.wait_ms && behind <= WAIT_MAX_MS + AHEAD_SECONDS * 1_000 {
            self.wait_ms = (self.wait_ms + BEHIND_PARTS * WAIT_STEP_MS).min(WAIT_MAX_MS);
        } else {
            self.wait_ms = (self.wait_ms - WAIT_STEP_MS).max(0);
        }
    }

    /// Moves the frontier to `to` if that is later: at the end of the input, or by the driver's
    /// clock while the input is silent.
    pub fn advance(&mut self, to: EventTime) -> EventTime {
        let now = self.now.map_or(to, |now| now.max(to));
        self.now = Some(now);
        now
    }
}

kept!(Frontier { recent, seen, median, wait_ms, now });

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> EventTime {
        EventTime::from_second(1_700_000_000 + second)
    }

    #[test]
    fn follows_an_ordered_stream_four_messages_behind() {
        let mut frontier = Frontier::default();
        for second in 0..100 {
            frontier.message(at(second));
        }
        assert_eq!(frontier.now(), Some(at(95)));
    }

    #[test]
    fn a_minority_of_forged_times_moves_nothing() {
        let mut frontier = Frontier::default();
        for second in 0..1_000 {
            frontier.message(at(second));
            if second % 2 == 0 {
                frontier.message(EventTime::MAX);
                frontier.message(EventTime::MIN);
            }
            assert!(frontier.now().is_none_or(|now| now <= at(second)));
        }
        assert!(frontier.now().unwrap() >= at(990));
    }

    /// Four messages a second, each up to `disorder` seconds old. Returns what share of them was
    /// more than ten seconds behind the frontier, and how far that was behind the newest.
    fn scattered(disorder: i64) -> (f64, i64) {
        let mut frontier = Frontier::default();
        let (mut late, mut behind) = (0, 0);
        for step in 0..4_000_i64 {
            // Low-discrepancy ages: as even as random ones, without a seed.
            let age = step * 7_919 % (1_000 * disorder + 1);
            let newest = EventTime::saturating_from_ms(1_700_000_000_000 + 250 * step - age);
            frontier.message(newest);
            if let Some(now) = frontier.now().filter(|_| step >= 2_000) {
                late += i32::from(now.since_ms(newest) > 10_000);
                behind = behind.max(1_700_000_000_000 + 250 * step - now.ms());
            }
        }
        (f64::from(late) / 2_000.0, behind)
    }

    #[test]
    fn waits_for_messages_that_come_in_no_order_and_never_for_more_than_ten_seconds() {
        let (late, behind) = scattered(25);
        assert!(late < 0.02, "{late}");
        assert!(behind > 15_000, "{behind}");
        let (late, behind) = scattered(4);
        assert!(late <= 0.0 && behind < 6_000, "{late}, {behind}");
        let (_, behind) = scattered(120);
        assert!(behind < 120_000 / 2 + 12_000, "{behind}");
    }

    #[test]
    fn a_few_that_come_hours_late_hold_nothing_up() {
        let mut frontier = Frontier::default();
        for second in 0..1_000 {
            frontier.message(at(second));
            if second % 4 == 0 {
                frontier.message(at(second - 3_600));
            }
        }
        assert!(frontier.now().unwrap() >= at(990));
    }

    proptest! {
        #[test]
        fn never_goes_back(times in proptest::collection::vec(0_i64..10_000, 1..200)) {
            let mut frontier = Frontier::default();
            let mut before = EventTime::MIN;
            for time in times {
                frontier.message(at(time));
                let now = frontier.now().unwrap_or(EventTime::MIN);
                prop_assert!(now >= before);
                before = now;
            }
        }
    }
}
