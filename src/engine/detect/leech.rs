//! Is somebody taking a little more each day?
//!
//! A leech stays below every bound that a single second could break, so its sums are compared over
//! days, against an [`Anchor`] with an offset for weekends. The threshold is a run length in days.
//!
//! What is possible depends on how much a day differs from its like, by simulation of a hundred
//! days with a weekly season and independent deviations of 15 %: of the runs 2 % reach an evidence
//! of 100 without cause and 46 % reach 30. Five percent more each day reaches 100 after nine days;
//! a fifth more reaches 30 within a fortnight in six runs of ten, and 100 in one or two. At
//! deviations of 30 % it is 41 % of the runs that reach 100 without cause, and eleven days. Where
//! days resemble the one before (correlation one half), evidence of 100 comes without cause in 41 %
//! of the runs at 15 % and in nearly all at 30 %: there the run length is shorter than promised.
//! Honest growth of more than half a percent a day is found as well, since nothing in the sums
//! tells it from a leech; what it costs has to.

use serde::{Deserialize, Serialize};

use super::anchor::{Anchor, GROWTH_CAP};
use crate::keep::kept;
use crate::units::bounds::within;

/// Weight of a new weekend day in the weekend's offset: three weekends or so.
const WEEKEND_WEIGHT: f64 = 0.15;
/// Days of the week per weekend day: what the offset may learn upwards at once, in growth caps.
const DAYS_PER_WEEKEND_DAY: f64 = 3.5;
/// Weekend days after which the offset is capped.
const WEEKEND_DAYS_TO_LEARN: u32 = 4;

/// The state of the leech channel of one function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayLeech {
    anchor: Anchor<1>,
    /// What a weekend day adds to the logarithm.
    #[serde(deserialize_with = "within::<_, _, 1_000>")]
    weekend: f32,
    weekend_days: u32,
    #[serde(skip)]
    latest: f32,
}

impl DayLeech {
    /// Takes in one closed day with `sum` calls or dollars, more than one in whatever small unit;
    /// less is a silent day. `learning` is false while the baseline is frozen, `threshold` is in
    /// days.
    #[expect(clippy::cast_possible_truncation, reason = "for display only")]
    pub fn day(&mut self, sum: f64, is_weekend: bool, learning: bool, threshold: f64) {
        // `max` takes 1 for what is not a number: a silent day.
        let day = libm::log(sum.clamp(f64::MIN, f64::MAX).max(1.0));
        if day <= 0.0 {
            self.anchor.silence(1);
            return;
        }
        let weekdays = self.anchor.sums().saturating_sub(self.weekend_days);
        let alike = if is_weekend { self.weekend_days } else { weekdays };
        let season = self.season(is_weekend);
        if !self.anchor.is_young() {
            self.latest = day as f32;
        }
        self.anchor.test(day, season, alike, threshold);
        if learning || self.anchor.is_young() {
            let left = self.anchor.learn(day, season);
            if is_weekend {
                self.learn_weekend(left);
            }
        }
    }

    /// Takes in `days` silent days, in closed form.
    pub fn silence(&mut self, days: u64) {
        self.anchor.silence(days);
    }

    /// The evidence for a leech by the day.
    pub fn value(&self) -> f64 {
        self.anchor.value()
    }

    /// What a day like this is expected to sum up to.
    pub fn expected(&self, is_weekend: bool) -> f64 {
        libm::exp(self.anchor.level(self.season(is_weekend))).min(f64::MAX)
    }

    /// The sum of the latest day that was tested; 1 before the first.
    pub fn observed(&self) -> f64 {
        libm::exp(f64::from(self.latest)).min(f64::MAX)
    }

    /// Forgets the evidence, keeps what was learned.
    pub fn restart(&mut self) {
        self.anchor.restart();
    }

    /// What was learned, without what is going on.
    pub fn learned(&self) -> Self {
        Self { anchor: self.anchor.learned(), latest: 0.0, ..*self }
    }

    fn season(&self, is_weekend: bool) -> f64 {
        if is_weekend { self.weekend.into() } else { 0.0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    fn learn_weekend(&mut self, residual: f64) {
        self.weekend_days = self.weekend_days.saturating_add(1);
        let weight = WEEKEND_WEIGHT.max(1.0 / (f64::from(self.weekend_days) + 1.0));
        let is_young = self.weekend_days <= WEEKEND_DAYS_TO_LEARN;
        let cap = if is_young { f64::INFINITY } else { GROWTH_CAP * DAYS_PER_WEEKEND_DAY };
        self.weekend = (f64::from(self.weekend) + (weight * residual).min(cap)) as f32;
    }
}

kept!(DayLeech { anchor, weekend, weekend_days, latest });

#[cfg(test)]
mod tests {
    use super::super::tests::{Draw, run_length};
    use super::*;
    use proptest::prelude::*;

    /// Requests a day to the NASA web server from Saturday, 1 July 1995 (Internet Traffic Archive,
    /// NASA-HTTP, collected by J. Dumoulin and contributed by M. Arlitt and C. Williamson; may be
    /// freely redistributed). On day 29 it was switched off for a hurricane.
    const NASA: [u32; 58] = [
        64715, 60266, 89582, 70452, 94575, 100960, 87235, 38866, 35273, 72860, 80405, 92536,
        134204, 84102, 45533, 47853, 74981, 64282, 72740, 66592, 64628, 35268, 39198, 64259, 62700,
        58848, 61680, 44841, 16275, 336, 60076, 50457, 31680, 40389, 55892, 63198, 60353, 60844,
        52994, 37419, 44459, 59024, 58156, 56738, 59655, 50325, 31361, 38502, 55484, 58388, 55980,
        56081, 48457, 32970, 38087, 58531, 71880, 91653,
    ];

    /// How many days from day `start` on, which `load` multiplies, until the page at 100 days.
    fn nasa_delay(start: usize, load: impl Fn(usize) -> f64) -> Option<usize> {
        let mut leech = DayLeech::default();
        for (day, sum) in NASA.into_iter().enumerate() {
            let factor = if day < start { 1.0 } else { load(day - start) };
            leech.day(f64::from(sum) * factor, day % 7 < 2, true, 1e4);
            if leech.value() >= 100.0 {
                return Some((day + 1).saturating_sub(start));
            }
        }
        None
    }

    /// Days of a site with a weekly season and independent deviations.
    fn site(draw: &mut Draw, day: u32, spread: f64) -> f64 {
        let season = if day % 7 < 2 { -0.6 } else { 0.0 };
        (11.0 + season + spread * draw.normal()).exp()
    }

    #[test]
    fn two_real_months_hold_no_page_and_leeches_in_them_are_found() {
        assert_eq!(nasa_delay(usize::MAX, |_| 1.0), None);
        let held = |factor: f64| {
            let delays = (21..45).step_by(2).filter_map(|start| nasa_delay(start, |_| factor));
            delays.filter(|&delay| delay <= 14).count()
        };
        assert!(held(2.0) >= 11, "{}", held(2.0));
        assert!(held(1.5) >= 7, "{}", held(1.5));
        let five_percent = |since: usize| (0..=since).fold(1.0, |load, _| load * 1.05);
        for start in (21..37).step_by(2) {
            let delay = nasa_delay(start, five_percent);

            assert!(delay.is_some_and(|delay| delay <= 18), "{start}: {delay:?}");
        }
    }

    #[test]
    fn a_fifth_more_for_a_fortnight_is_mostly_found_on_a_steady_site() {
        let found = (0..100).filter(|&seed| {
            let mut draw = Draw::new(seed);
            let mut leech = DayLeech::default();
            (0..40).for_each(|day| leech.day(site(&mut draw, day, 0.15), day % 7 < 2, true, 1e4));
            leech.restart();
            (40..54).any(|day| {
                leech.day(1.2 * site(&mut draw, day, 0.15), day % 7 < 2, true, 1e4);
                leech.value() >= 30.0
            })
        });
        let found = found.count();
        assert!(found >= 50, "{found} of 100");
    }

    #[test]
    fn half_a_percent_a_day_is_normal_and_the_anchor_never_follows_faster_than_one() {
        let mut leech = DayLeech::default();
        for day in 0..200_u32 {
            leech.day((11.0 + 0.005 * f64::from(day)).exp(), day % 7 < 2, true, 1e4);
        }
        assert!(leech.value() < 100.0, "{}", leech.value());
        let mut leech = DayLeech::default();
        (0..28).for_each(|day| leech.day(1e5, day % 7 < 2, true, 1e4));
        (28..56).for_each(|day| leech.day(1e6, day % 7 < 2, true, 1e4));
        assert!(leech.expected(false) <= 1e5 * (0.01_f64 * 28.0).exp() * 1.001);
        assert!(leech.expected(true) <= 1e5 * (0.02_f64 * 30.0).exp() * 1.001);
    }

    #[test]
    fn the_run_length_in_days_keeps_the_promise() {
        for (threshold, spread) in [(100.0, 0.15), (100.0, 0.3), (1_000.0, 0.3)] {
            let days = run_length(threshold, 100, |seed| {
                let mut draw = Draw::new(seed);
                let mut leech = DayLeech::default();
                let mut day = 0;
                let mut look = move || {
                    leech.day(site(&mut draw, day, spread), day % 7 < 2, true, threshold);
                    day += 1;
                    leech.value()
                };
                (0..28).for_each(|_| assert!(look() >= 0.0));
                look
            });
            assert!(days >= threshold, "{spread}: {days} of {threshold}");
        }
    }

    proptest! {
        #[test]
        fn silence_equals_silent_days(sums in proptest::collection::vec(1.0_f64..1e6, 0..40),
            gap in 0_u16..100
        ) {
            let mut stepped = DayLeech::default();
            for (day, sum) in sums.into_iter().enumerate() {
                stepped.day(sum, day % 7 < 2, true, 1e4);
            }
            let mut jumped = stepped;
            (0..gap).for_each(|_| stepped.day(0.0, false, true, 1e4));
            jumped.silence(u64::from(gap));
            let (a, b) = (stepped.value(), jumped.value());
            prop_assert!((a - b).abs() <= 1e-9 * a.max(1.0));
        }

        #[test]
        fn evidence_is_a_number_whatever_comes(
            looks in proptest::collection::vec(
                (proptest::num::f64::ANY, any::<bool>(), any::<bool>()), 0..100)
        ) {
            let mut day = DayLeech::default();
            for (sum, is_weekend, learning) in looks {
                day.day(sum, is_weekend, learning, 1e4);
                for value in [day.value(), day.expected(true), day.observed()] {
                    prop_assert!(value.is_finite() && value >= 0.0);
                }
            }
        }
    }
}
