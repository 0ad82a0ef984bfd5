//! Requests that are turned away day in, day out: by a reservation that is always full, by a
//! firewall. They are no part of an attack and must not keep its alarm open.

use crate::keep::kept;

/// Weight of a new minute.
const WEIGHT: f64 = 1.0 / 16.0;
/// Parts of a request in which the usual number is kept, for as long as there is room for them.
const PARTS: f64 = 16.0;

/// How many are usual. Small, because every function has it: where there are thousands a second,
/// fewer are taken to be usual than are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refusals {
    /// In the open minute.
    minute: u16,
    /// The square root of [`PARTS`] times those of a usual minute, in [`PARTS`] parts.
    usual_root: u16,
}

impl Refusals {
    /// Notes one.
    pub(super) fn note(&mut self) {
        self.minute = self.minute.saturating_add(1);
    }

    /// Closes a minute.
    pub(super) fn close(&mut self, learning: bool) {
        let minute = f64::from(std::mem::take(&mut self.minute));
        if learning {
            let usual = self.per_minute();
            self.set(usual + WEIGHT * (minute - usual));
        }
    }

    /// Closes `minutes` minutes without any.
    pub(super) fn silence(&mut self, minutes: u64) {
        self.set(self.per_minute() * libm::pow(1.0 - WEIGHT, minutes as f64));
    }

    /// How many a second are usual.
    pub(super) fn per_second(self) -> f64 {
        self.per_minute() / 60.0
    }

    fn per_minute(self) -> f64 {
        let root = f64::from(self.usual_root) / PARTS;
        root * root / PARTS
    }

    fn set(&mut self, per_minute: f64) {
        let root = libm::sqrt(per_minute * PARTS) * PARTS;
        // Away from what it was, or small steps would round to none.
        let root =
            if per_minute > self.per_minute() { libm::ceil(root) } else { libm::floor(root) };
        self.usual_root = u16::try_from(crate::units::whole(root)).unwrap_or(u16::MAX);
    }
}

kept!(Refusals { minute, usual_root });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_learned_and_forgotten_within_an_hour() {
        for each in [1_u16, 7, 60, 1_200, 30_000] {
            let mut refusals = Refusals::default();
            for _ in 0..90 {
                (0..each).for_each(|_| refusals.note());
                refusals.close(true);
            }
            let learned = refusals.per_second() * 60.0 / f64::from(each);
            assert!((0.9..1.1).contains(&learned), "{each}: {learned}");
            refusals.note();
            refusals.close(false);
            assert!(refusals.per_second() > 0.0);
            refusals.silence(90);
            assert!(refusals.per_second() * 60.0 < 0.01 * f64::from(each) + 0.01, "{each}");
        }
    }
}
