//! Does a function cost more, hour after hour, than this hour of the week lets expect?
//!
//! What is below the bounds of every second, because the function has been as busy before or is
//! uneven, adds up over hours. Dollars are calls times what a call costs, so more calls, longer
//! ones and dearer ones show alike, and several small changes show together. The hour's dollars,
//! less what the season of 48 hours adds to them, are compared with an [`Anchor`]. The threshold is
//! a run length in hours.
//!
//! Hours of one day move together. The null knows that an hour takes over a part of what the one
//! before it had too much; what lasts for longer than that explains makes the run length shorter
//! than promised, and for real functions it is measured.

use serde::{Deserialize, Serialize};

use super::anchor::Anchor;
use crate::keep::kept;

/// Hours in a day.
const HOURS: u32 = 24;

/// The state of the cost channel of one function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HourCost {
    anchor: Anchor<HOURS>,
    #[serde(skip)]
    latest: f32,
    #[serde(skip)]
    expected: f32,
}

impl HourCost {
    /// Takes in one closed hour with `sum` dollars in some small unit, of which less than one is a
    /// silent hour; `weight` is what the season gives to it, an even hour having one. `learning` is
    /// false while the baseline is frozen, `threshold` is in hours.
    #[expect(clippy::cast_possible_truncation, reason = "for display only")]
    pub fn hour(&mut self, sum: f64, weight: f64, learning: bool, threshold: f64) {
        // `max` takes 1 for what is not a number: a silent hour.
        let hour = libm::log(sum.clamp(f64::MIN, f64::MAX).max(1.0));
        if hour <= 0.0 {
            self.anchor.silence(1);
            return;
        }
        let season = libm::log(weight.clamp(1e-3, 1e3));
        self.latest = hour as f32;
        self.expected = self.anchor.level(season) as f32;
        let alike = self.anchor.sums() / HOURS;
        self.anchor.test(hour, season, alike, threshold);
        if learning || self.anchor.is_young() {
            self.anchor.learn(hour, season);
        }
    }

    /// Takes in `hours` silent hours, in closed form.
    pub fn silence(&mut self, hours: u64) {
        self.anchor.silence(hours);
    }

    /// The evidence for a higher cost by the hour.
    pub fn value(&self) -> f64 {
        self.anchor.value()
    }

    /// What the latest hour was expected to sum up to, and what it did.
    pub fn latest(&self) -> (f64, f64) {
        let sum = |ln: f32| libm::exp(f64::from(ln)).min(f64::MAX);
        (sum(self.expected), sum(self.latest))
    }

    /// Forgets the evidence, keeps what was learned.
    pub fn restart(&mut self) {
        self.anchor.restart();
    }

    /// What was learned, without what is going on.
    pub fn learned(&self) -> Self {
        Self { anchor: self.anchor.learned(), ..Self::default() }
    }
}

kept!(HourCost { anchor, latest, expected });

#[cfg(test)]
mod tests {
    use super::super::tests::{Draw, run_length};
    use super::*;
    use proptest::prelude::*;

    /// Hours of a site whose season is known, with deviations that keep half of the one before.
    fn site(draw: &mut Draw, spread: f64, before: &mut f64) -> f64 {
        let fresh = spread * (1.0_f64 - 0.25).sqrt() * draw.normal();
        *before = 0.5 * *before + fresh;
        (9.0 + *before).exp()
    }

    #[test]
    fn a_higher_cost_is_found_within_days_though_hours_resemble_the_one_before() {
        for (spread, factor, hours_max) in [(0.3, 2.0, 72), (0.15, 1.5, 72)] {
            for seed in 0..20 {
                let (mut draw, mut before) = (Draw::new(seed), 0.0);
                let mut cost = HourCost::default();
                let mut hour = |factor: f64| {
                    cost.hour(factor * site(&mut draw, spread, &mut before), 1.0, true, 1e7);
                    cost.value()
                };
                assert!((0..24 * 28).all(|_| hour(1.0) < 1e7), "{spread}: without cause");
                let found = (1..200).find(|_| hour(factor) >= 1e7).expect("never found");
                assert!(found <= hours_max, "{spread}: {found}");
            }
        }
    }

    #[test]
    fn the_run_length_in_hours_keeps_the_promise() {
        for (threshold, spread) in [(100.0, 0.15), (1_000.0, 0.3)] {
            let hours = run_length(threshold, 100, |seed| {
                let mut draw = Draw::new(seed);
                let mut cost = HourCost::default();
                let mut look = move || {
                    let hour = (9.0 + spread * draw.normal()).exp();
                    cost.hour(hour, 1.0, true, threshold);
                    cost.value()
                };
                (0..24 * 28).for_each(|_| assert!(look() >= 0.0));
                look
            });
            assert!(hours >= threshold, "{spread}: {hours} of {threshold}");
        }
    }

    proptest! {
        #[test]
        fn evidence_is_a_number_whatever_comes(
            looks in proptest::collection::vec(
                (proptest::num::f64::ANY, proptest::num::f64::ANY, any::<bool>()), 0..300)
        ) {
            let mut cost = HourCost::default();
            for (sum, weight, learning) in looks {
                cost.hour(sum, weight, learning, 1e4);
                let (expected, observed) = cost.latest();
                for value in [cost.value(), expected, observed] {
                    prop_assert!(value.is_finite() && value >= 0.0);
                }
            }
        }
    }
}
