//! What an attack makes of the answers to its requests.

use super::spec::AttackKind;
use crate::simulation::platform::{Ending, Outcome};
use crate::units::{EventTime, whole};

/// Requests of its own that one attack may have waiting; a recursion that has more has long
/// reached the account's limit.
const WAITING_MAX: u32 = 1_000_000;
/// An adaptive attack looks at its last answers in parts of this length, in milliseconds.
const LOOK_MS: i64 = 5_000;
/// It stays away when more than this share of them were refusals.
const REFUSED_SHARE: f64 = 0.5;
/// While it stays away it asks once in this many milliseconds whether it may come back.
const PROBE_MS: i64 = 10_000;

/// The state of an attack that listens.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    kind: AttackKind,
    waiting: u32,
    /// Fraction of a request that is still owed.
    owed: f64,
    since: EventTime,
    heard: u32,
    refused: u32,
    away: bool,
    probed: EventTime,
}

impl Answers {
    pub(super) fn new(kind: AttackKind) -> Self {
        Self {
            kind,
            waiting: 0,
            owed: 0.0,
            since: EventTime::MIN,
            heard: 0,
            refused: 0,
            away: false,
            probed: EventTime::MIN,
        }
    }

    /// How many of `count` requests it makes at `at`.
    pub(super) fn willing(&mut self, at: EventTime, count: u64) -> u64 {
        self.waiting = self.waiting.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if !self.away {
            return count;
        }
        if at.since_ms(self.probed) < PROBE_MS {
            return 0;
        }
        self.probed = at;
        count.min(1)
    }

    /// An answer has come; how many requests follow from it.
    pub(super) fn hear(&mut self, outcome: &Outcome, fanout: f64) -> u32 {
        let served = matches!(outcome.ending, Ending::Served | Ending::Failed | Ending::TimedOut);
        if self.kind == AttackKind::Adaptive {
            self.adapt(outcome.at, served);
            return 0;
        }
        self.waiting = self.waiting.saturating_sub(1);
        if !served || self.waiting >= WAITING_MAX {
            return 0;
        }
        self.owed += fanout;
        let more = u32::try_from(whole(self.owed.floor())).unwrap_or(0);
        self.owed -= f64::from(more);
        self.waiting += more;
        more
    }

    fn adapt(&mut self, at: EventTime, served: bool) {
        self.heard += 1;
        self.refused += u32::from(!served);
        if self.away && served {
            self.away = false;
        } else if at.since_ms(self.since) >= LOOK_MS {
            let share = f64::from(self.refused) / f64::from(self.heard);
            if !self.away && share > REFUSED_SHARE {
                self.away = true;
                self.probed = at;
            }
        } else {
            return;
        }
        (self.heard, self.refused, self.since) = (0, 0, at);
    }
}
