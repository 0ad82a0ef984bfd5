//! How spend is spread over a week: 48 slots, hour of the day × weekday or weekend, UTC.
//!
//! A profile of 168 hours needs weeks to fill and quiet functions never fill it; 48 slots are warm
//! in days. Young slots are drawn towards a parent, `s = (n·s + k·parent) / (n + k)` with n visits,
//! the usual posterior mean under a prior worth k visits (Gelman et al., "Bayesian Data Analysis",
//! 3rd ed., section 2.5). The parent is another profile, such as the account's; without one it is
//! the weekday for a weekend slot, and an even day for a weekday.

use serde::{Deserialize, Serialize};

use crate::keep::kept;
use crate::units::bounds::array;
use crate::units::calendar::hour_slot;

/// Hours in a week.
const WEEK: usize = 168;
/// Hours in a day.
const DAY: usize = 24;
/// Visits that the parent is worth: two days of a kind.
const PARENT_VISITS: f64 = 2.0;
/// Weight of a visit once a slot is warm: ten visits, two weeks of weekdays.
const VISIT: f64 = 0.1;
/// A slot weighs at most this, as if a day's spend fell into one hour.
const WEIGHT_MAX: f64 = 24.0;
/// And at least this, so that spend in an hour that is usually quiet is surprising, not impossible.
const WEIGHT_MIN: f64 = 0.01;
/// Codes per doubling of a weight: steps of 0.03 %, over a range of 2^±16.
const CODES_PER_DOUBLING: f64 = 2_048.0;
/// The code of weight one.
const CODE_ONE: u16 = 1 << 15;
/// The epoch was a Thursday; hour 0 of the week is Monday's first.
const EPOCH_HOUR_OF_WEEK: i64 = 3 * DAY as i64;

/// A learned profile in 100 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Season {
    /// Spend relative to the mean hour; logarithmic.
    #[serde(with = "array")]
    slots: [u16; 2 * DAY],
    /// Hours learned from: weekday, weekend.
    hours: [u16; 2],
}

impl Default for Season {
    fn default() -> Self {
        Self { slots: [CODE_ONE; 2 * DAY], hours: [0; 2] }
    }
}

impl Season {
    /// Learns from the closed hour number `hour` since the epoch, in which `usd` were spent while
    /// the mean hour costs `mean_usd` ([`Forecaster::level`](super::Forecaster::level)). Without a
    /// mean there is nothing to compare with, and nothing is learned.
    pub fn observe(&mut self, hour: i64, usd: f64, mean_usd: f64) {
        let ratio = usd / mean_usd;
        // Positive form, so that NaN fails.
        if !(mean_usd > 0.0 && ratio >= 0.0) {
            return;
        }
        let slot = hour_slot(hour);
        let hours = &mut self.hours[slot / DAY];
        let visits = f64::from(*hours) / DAY as f64;
        *hours = hours.saturating_add(1);
        let weight = (1.0 / (visits + 1.0).floor()).max(VISIT);
        let old = decoded(self.slots[slot]);
        self.slots[slot] = encoded(old + weight * (ratio.min(WEIGHT_MAX) - old));
    }

    /// The profile with young slots drawn towards `parent`, ready for sums.
    pub fn shape(&self, parent: Option<&Season>) -> Shape {
        let mut weights = [1.0; 2 * DAY];
        for slot in 0..2 * DAY {
            let towards = match parent {
                Some(parent) => decoded(parent.slots[slot]),
                None if slot >= DAY => weights[slot - DAY],
                None => 1.0,
            };
            let visits = f64::from(self.hours[slot / DAY]) / DAY as f64;
            let own = decoded(self.slots[slot]);
            weights[slot] = (visits * own + PARENT_VISITS * towards) / (visits + PARENT_VISITS);
        }
        Shape::of(|hour| weights[hour_slot(hour)])
    }
}

/// A week's profile with a mean of one, as running sums.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Sum of the weights before hour `i` of the week, Monday first.
    before: [f32; WEEK + 1],
}

impl Shape {
    /// Every hour alike.
    pub fn flat() -> Self {
        Shape::of(|_| 1.0)
    }

    #[expect(clippy::cast_possible_truncation, reason = "weights are kept in single precision")]
    fn of(weight: impl Fn(i64) -> f64) -> Self {
        let mut before = [0.0; WEEK + 1];
        let mut sum = 0.0;
        for (hour, before) in (-EPOCH_HOUR_OF_WEEK..).zip(before.iter_mut().skip(1)) {
            sum += weight(hour).max(WEIGHT_MIN);
            *before = sum as f32;
        }
        let scale = (WEEK as f64 / sum) as f32;
        Shape { before: before.map(|sum| sum * scale) }
    }

    /// The weight of hour number `hour` since the epoch; one on average.
    pub fn weight(&self, hour: i64) -> f64 {
        let hour = hour_of_week(hour);
        f64::from(self.before[hour + 1]) - f64::from(self.before[hour])
    }

    /// The weight of a span in hours since the epoch: its length where every hour is alike. A span
    /// that ends before it starts weighs nothing, and so does one that is no number.
    pub fn load(&self, from: f64, to: f64) -> f64 {
        let load = self.since_monday(to) - self.since_monday(from);
        if load > 0.0 { load } else { 0.0 }
    }

    /// Which part of the spend of a `period` is expected in `span`; both from and to, in hours
    /// since the epoch.
    pub fn share(&self, span: (f64, f64), period: (f64, f64)) -> f64 {
        let whole = self.load(period.0, period.1);
        if whole > 0.0 { self.load(span.0, span.1) / whole } else { 0.0 }
    }

    /// The weight of everything between the epoch's Monday and `at`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 <= within < 168, and float to integer `as` saturates"
    )]
    fn since_monday(&self, at: f64) -> f64 {
        let at = at + EPOCH_HOUR_OF_WEEK as f64;
        let weeks = (at / WEEK as f64).floor();
        let within = at - weeks * WEEK as f64;
        let hour = (within as usize).min(WEEK - 1);
        let (start, end) = (f64::from(self.before[hour]), f64::from(self.before[hour + 1]));
        weeks * WEEK as f64 + start + (within - hour as f64) * (end - start)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "0 <= it < 168")]
const fn hour_of_week(hour: i64) -> usize {
    (hour.rem_euclid(WEEK as i64) + EPOCH_HOUR_OF_WEEK).rem_euclid(WEEK as i64) as usize
}

fn decoded(code: u16) -> f64 {
    libm::exp2((f64::from(code) - f64::from(CODE_ONE)) / CODES_PER_DOUBLING)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer `as` saturates"
)]
fn encoded(weight: f64) -> u16 {
    (libm::log2(weight.max(0.0)) * CODES_PER_DOUBLING + f64::from(CODE_ONE)).round() as u16
}

kept!(Season { slots, hours });
kept!(Shape { before });

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-16T00:00:00Z, a Monday.
    const MONDAY: i64 = 498_552;

    /// Four dollars an hour from 8 to 20 on weekdays, one at any other time.
    fn office(hour: i64) -> f64 {
        let (day, hour) = ((hour - MONDAY).div_euclid(24).rem_euclid(7), hour.rem_euclid(24));
        if day < 5 && (8..20).contains(&hour) { 4.0 } else { 1.0 }
    }

    fn learned(weeks: i64) -> Season {
        let mean = (MONDAY..MONDAY + 168).map(office).sum::<f64>() / 168.0;
        let mut season = Season::default();
        for hour in MONDAY..MONDAY + weeks * 168 {
            season.observe(hour, office(hour), mean);
        }
        season
    }

    #[test]
    fn the_profile_is_small() {
        assert_eq!(size_of::<Season>(), 100);
    }

    #[test]
    fn weekdays_weekends_and_hours_are_told_apart() {
        let shape = learned(8).shape(None);
        let (noon, night) = (shape.weight(MONDAY + 12), shape.weight(MONDAY + 2));
        let weekend = shape.weight(MONDAY + 5 * 24 + 12);
        assert!((noon / night - 4.0).abs() < 0.4, "{noon} {night}");
        assert!((weekend / night - 1.0).abs() < 0.3, "{weekend} {night}");
    }

    #[test]
    fn a_young_profile_follows_its_parent() {
        let parent = learned(8);
        let young = Season::default();
        let shape = young.shape(Some(&parent));
        assert!(shape.weight(MONDAY + 12) > 3.0 * shape.weight(MONDAY + 2));
        assert_eq!(young.shape(None), Shape::flat());
    }

    #[test]
    fn a_week_weighs_its_hours_and_a_share_is_a_part_of_it() {
        let shape = learned(3).shape(None);
        let monday = MONDAY as f64;
        assert!((shape.load(monday + 3.5, monday + 171.5) - 168.0).abs() < 1e-3);
        let working_day = shape.share((monday + 8.0, monday + 20.0), (monday, monday + 24.0));
        assert!(working_day > 0.7 && working_day < 0.85, "{working_day}");
        assert!((Shape::flat().share((0.0, 6.0), (0.0, 24.0)) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_number_teaches_nothing() {
        let mut season = Season::default();
        for (usd, mean) in [(f64::NAN, 1.0), (1.0, 0.0), (1.0, f64::NAN), (-1.0, 1.0)] {
            season.observe(MONDAY, usd, mean);
        }
        assert_eq!(season, Season::default());
        season.observe(i64::MAX, f64::MAX, f64::MIN_POSITIVE);
        season.observe(i64::MIN, f64::INFINITY, 1.0);
        assert_eq!(Shape::flat().load(f64::NAN, 1.0), 0.0);
        assert_eq!(Shape::flat().load(2.0, 1.0), 0.0);
    }

    proptest! {
        #[test]
        fn a_load_is_the_sum_of_its_hours(
            from in MONDAY - 1_000..MONDAY + 1_000, hours in 0..1_000i64, weeks in 0..4i64,
        ) {
            let shape = learned(weeks).shape(None);
            let naive: f64 = (from..from + hours).map(|hour| shape.weight(hour)).sum();
            let load = shape.load(from as f64, (from + hours) as f64);
            prop_assert!((load - naive).abs() < 1e-3, "{} {}", load, naive);
        }

        #[test]
        fn a_weight_survives_its_code(weight in 1e-4..1e4f64) {
            prop_assert!((decoded(encoded(weight)) / weight - 1.0).abs() < 5e-4);
        }
    }
}
