//! A token bucket that refills continuously and exactly.

use crate::units::EventTime;

/// Lets through so many per period. A token is `period_ms` units and each millisecond brings
/// `rate` of them, so no fraction is lost or gained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    units: u64,
    units_max: u64,
    rate: u64,
    period_ms: u64,
    refilled: EventTime,
}

impl Bucket {
    /// A full bucket: `rate` tokens per `period_ms`, at most `burst` at once.
    pub(super) fn new(rate: u32, period_ms: u32, burst: u32) -> Self {
        let period_ms = u64::from(period_ms);
        let units_max = u64::from(burst) * period_ms;
        let (units, rate) = (units_max, u64::from(rate));
        Self { units, units_max, rate, period_ms, refilled: EventTime::MIN }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now: EventTime) -> bool {
        let passed = now.since_ms(self.refilled).max(0).unsigned_abs();
        self.units = self.units.saturating_add(passed.saturating_mul(self.rate));
        self.units = self.units.min(self.units_max);
        self.refilled = self.refilled.max(now);
        match self.units.checked_sub(self.period_ms) {
            Some(rest) => {
                self.units = rest;
                true
            }
            None => false,
        }
    }
}
