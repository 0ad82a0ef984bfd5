//! What one function's minute says of its whole account: an e-value for its calls, beside what was
//! known before.
//!
//! The baseline learns within minutes, which is right for a function that can raise its own alarm
//! first. A thin attack raises none: it would teach the baseline before the account can speak. So
//! what was learned within the last ten minutes does not count here. Money does not count either:
//! what each function wastes may be next to nothing.

use super::baseline::Baseline;
use super::detect::aggregate::minute_evidence;
use super::detect::rounded_down;
use crate::keep::kept;

/// What is known counts when it is at least so old, and at most twice so old.
const PERIOD_MINUTES: u32 = 10;
/// A function is judged when it was first seen so long ago: a new one has everything to teach.
pub const JUDGED_AFTER_SECONDS: u64 = 2 * 60 * PERIOD_MINUTES as u64;
/// Calls a minute that are tolerated of any function: one in three minutes, which comes in twos and
/// threes.
const TOLERATED: f64 = 0.3;

/// One function's part in the evidence over its account.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccountShare {
    /// The latest closed minute with calls.
    number: u32,
    /// How much its calls that were on time speak against the baseline: an e-value.
    evidence: f32,
    /// What was known in the period of that minute, when it was first called in it, and before.
    latest: Known,
    before: Known,
}

/// What was known at some time: the rate to expect and the highest normal one, calls per second,
/// and the dispersion of a minute's count.
#[derive(Debug, Clone, Copy)]
struct Known {
    expected: f32,
    highest: f32,
    phi: f32,
}

impl Default for Known {
    fn default() -> Self {
        Self::of(&Baseline::default(), 1.0)
    }
}

impl AccountShare {
    /// Judges a minute in which there were `calls`, before the baseline has learned from it.
    pub fn minute(&mut self, number: u32, calls: u64, baseline: &Baseline, envelope: f64) {
        let (period, last) = (number / PERIOD_MINUTES, self.number / PERIOD_MINUTES);
        if period != last {
            let known = Known::of(baseline, envelope);
            // After a longer silence everything that is known is old enough.
            self.before = if period == last + 1 { self.latest } else { known };
            self.latest = known;
        }
        let allowed = baseline.allowed(number).min(self.before.highest.into());
        let tolerated = (envelope * allowed * 60.0).max(TOLERATED);
        let evidence = minute_evidence(calls, tolerated, self.before.phi.into());
        self.number = number;
        self.evidence = rounded_down(evidence);
    }

    /// The e-value of minute `number` and the calls that were expected in it; `None` where it had
    /// no calls or no baseline.
    pub fn of(&self, number: i64) -> Option<(f64, f64)> {
        let expected = f64::from(self.before.expected) * 60.0;
        (number == i64::from(self.number)).then_some((self.evidence.into(), expected))
    }
}

impl Known {
    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    fn of(baseline: &Baseline, envelope: f64) -> Self {
        let highest = baseline.highest();
        let allowed = envelope * highest;
        let phi = baseline.minute_dispersion(allowed, allowed.max(TOLERATED / 60.0));
        let expected = baseline.expected() as f32;
        Self { expected, highest: highest as f32, phi: phi as f32 }
    }
}

kept!(AccountShare { number, evidence, latest, before });
kept!(Known { expected, highest, phi });
