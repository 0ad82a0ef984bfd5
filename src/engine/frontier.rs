//! How far event time has come, when timestamps are chosen by whoever writes the record.
//!
//! The frontier is the running maximum of the *median* of the last nine messages' newest event
//! times. A maximum would let one forged record make every honest one late; the median moves only
//! where most of the recent messages agree, so an attacker would have to write more than half of
//! the stream. The price is a lag of four messages, which a live driver makes up for by moving the
//! frontier with its own clock while the stream is silent.
//!
//! Records ahead of the frontier by more than the ring can hold wait, in a small buffer of their
//! own, until the frontier comes near; where it never does they are refused as `future`.

use crate::units::EventTime;

/// Messages that the median looks at. Five of them must agree before time moves.
pub const MESSAGES: usize = 9;

/// A record this far ahead of the frontier still has a bucket in the ring, in seconds.
pub const AHEAD_SECONDS: i64 = 15;

/// The state of event time for one input.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    recent: [i64; MESSAGES],
    seen: usize,
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
        self.advance(EventTime::saturating_from_ms(sorted[(len - 1) / 2]));
    }

    /// Moves the frontier to `to` if that is later: at the end of the input, or by the driver's
    /// clock while the input is silent.
    pub fn advance(&mut self, to: EventTime) -> EventTime {
        let now = self.now.map_or(to, |now| now.max(to));
        self.now = Some(now);
        now
    }
}

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
