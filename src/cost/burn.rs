//! How fast a month's budget burns, against how fast it should at this time of the week.
//!
//! Burn is (spend in a window / budget) / (the share of the month's spend that the season expects
//! in that window): at 1 the budget lasts just the month. With the plain share, window over month,
//! every Monday morning would burn too fast. A long window says that it matters, a short one of a
//! twelfth that it still goes on, so that an alert ends soon after its cause. The three pairs and
//! their factors are those of Beyer et al., "The Site Reliability Workbook" (O'Reilly 2018, ISBN
//! 978-1-492-02950-2), chapter 5, "Alerting on SLOs", section 6, "Multiwindow, Multi-Burn-Rate
//! Alerts": in an even month of 30 days they are 2, 5 and 10 % of the budget in the long window.

use serde::Serialize;

use crate::cost::month::Month;
use crate::cost::season::Shape;
use crate::keep::{kept, kept_words};
use crate::units::{EventTime, NanoUsd};

/// Slots that a window is made of. The open slot is partly in the future, so a window covers
/// between eleven and twelve of them.
const SLOTS: usize = 12;
/// Milliseconds in a minute and in an hour.
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: f64 = 3_600_000.0;

/// What a pair asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BurnUrgency {
    /// Tell; what a ticket would be.
    Notice,
    /// Act.
    Page,
}

/// A long window, the short one that ends it, and how many times too fast is too fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurnPair {
    /// In minutes.
    pub long_minutes: i64,
    /// In minutes.
    pub short_minutes: i64,
    /// Both windows must burn at least this fast.
    pub factor: f64,
    /// What it asks for.
    pub urgency: BurnUrgency,
}

/// The pairs that are watched.
pub const BURN_PAIRS: [BurnPair; 3] = [
    BurnPair { long_minutes: 60, short_minutes: 5, factor: 14.4, urgency: BurnUrgency::Page },
    BurnPair { long_minutes: 360, short_minutes: 30, factor: 6.0, urgency: BurnUrgency::Page },
    BurnPair { long_minutes: 4_320, short_minutes: 360, factor: 1.0, urgency: BurnUrgency::Notice },
];

/// How a pair stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burn {
    /// Which pair.
    pub pair: BurnPair,
    /// Times too fast in the long window; infinite against a budget of nothing.
    pub long: f64,
    /// And in the short one.
    pub short: f64,
    /// Spend in the long window.
    pub spent: NanoUsd,
    /// And in the short one.
    pub spent_short: NanoUsd,
    /// Both windows burn too fast, and the money in the long one is worth it.
    pub firing: bool,
}

/// Spend of the last minutes to days, in about 650 bytes a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BurnMeter {
    windows: [[Window; 2]; BURN_PAIRS.len()],
}

impl BurnMeter {
    /// Counts spend at `at`. Pass the time of the tick, which a single record cannot move; what is
    /// older than a window is left out of it.
    pub fn spend(&mut self, at: EventTime, amount: NanoUsd) {
        for (pair, [long, short]) in BURN_PAIRS.iter().zip(&mut self.windows) {
            long.spend(slot_of(at, pair.long_minutes), amount);
            short.spend(slot_of(at, pair.short_minutes), amount);
        }
    }

    /// How every pair stands at `now` against a `budget` of the month, with the season `shape` of
    /// what it covers. Less than `floor` in the long window is not worth an alert.
    pub fn read(
        &self,
        now: EventTime,
        budget: NanoUsd,
        shape: &Shape,
        floor: NanoUsd,
    ) -> [Burn; BURN_PAIRS.len()] {
        let month = Month::of(now);
        let period = (hours(month.start()), hours(month.end()));
        let rate = |window: &Window, minutes: i64| {
            let spent = window.sum(slot_of(now, minutes));
            let share = shape.share((hours(start_of(now, minutes)), hours(now)), period);
            let allowed = budget.usd().max(0.0) * share;
            // Positive form: nothing spent burns nothing, whatever the budget.
            let burn = if spent > NanoUsd::ZERO { spent.usd() / allowed } else { 0.0 };
            (spent, burn)
        };
        core::array::from_fn(|index| {
            let (pair, [long, short]) = (BURN_PAIRS[index], &self.windows[index]);
            let (spent, long) = rate(long, pair.long_minutes);
            let (spent_short, short) = rate(short, pair.short_minutes);
            let fast = long >= pair.factor && short >= pair.factor;
            Burn { pair, long, short, spent, spent_short, firing: fast && spent >= floor }
        })
    }
}

/// A ring of the last slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Window {
    /// Number of the newest slot.
    newest: i64,
    sums: [NanoUsd; SLOTS],
}

impl Window {
    fn spend(&mut self, slot: i64, amount: NanoUsd) {
        if slot > self.newest {
            let gone = (slot - self.newest).min(SLOTS as i64);
            for empty in slot - gone + 1..=slot {
                self.sums[place(empty)] = NanoUsd::ZERO;
            }
            self.newest = slot;
        }
        if slot > self.newest - SLOTS as i64 {
            self.sums[place(slot)] += amount;
        }
    }

    /// The sum over the twelve slots up to `slot`; what is newer is left out.
    fn sum(&self, slot: i64) -> NanoUsd {
        let oldest = slot.max(self.newest) - SLOTS as i64 + 1;
        let slots = oldest.max(slot - SLOTS as i64 + 1)..=slot.min(self.newest);
        slots.map(|slot| self.sums[place(slot)]).sum()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "0 <= it < SLOTS")]
const fn place(slot: i64) -> usize {
    slot.rem_euclid(SLOTS as i64) as usize
}

/// Length of a slot of a window of so many minutes.
const fn slot_ms(minutes: i64) -> i64 {
    minutes * MINUTE_MS / SLOTS as i64
}

const fn slot_of(at: EventTime, minutes: i64) -> i64 {
    at.ms().div_euclid(slot_ms(minutes))
}

/// When the oldest slot of a window began that ends at `now`.
const fn start_of(now: EventTime, minutes: i64) -> EventTime {
    EventTime::saturating_from_ms((slot_of(now, minutes) - SLOTS as i64 + 1) * slot_ms(minutes))
}

fn hours(at: EventTime) -> f64 {
    at.ms() as f64 / HOUR_MS
}

kept!(BurnMeter { windows });
kept!(Window { newest, sums });
kept_words!(BurnUrgency { Notice = 0, Page = 1 });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::season::Season;
    use proptest::prelude::*;

    /// A Monday, in a month of 30 days.
    const MONDAY: &str = "2026-11-16T00:00:00Z";
    /// A thousand dollars, and a floor of one.
    const BUDGET: NanoUsd = NanoUsd(1_000_000_000_000);
    const FLOOR: NanoUsd = NanoUsd(1_000_000_000);

    fn monday(hours: f64) -> EventTime {
        let start: EventTime = MONDAY.parse().unwrap();
        start.plus_ms((hours * HOUR_MS) as i64)
    }

    /// Spends at `rate` dollars an hour, minute by minute.
    fn burnt(meter: &mut BurnMeter, from: f64, to: f64, rate: f64) {
        let minutes = ((to - from) * 60.0).round() as i64;
        for minute in 0..minutes {
            let at = monday(from).plus_ms(minute * MINUTE_MS);
            meter.spend(at, NanoUsd::from_usd(rate / 60.0));
        }
    }

    fn firing(meter: &BurnMeter, hour: f64, shape: &Shape) -> [bool; 3] {
        meter.read(monday(hour), BUDGET, shape, FLOOR).map(|burn| burn.firing)
    }

    #[test]
    fn a_budget_that_lasts_just_the_month_burns_at_one() {
        let mut meter = BurnMeter::default();
        burnt(&mut meter, -80.0, 0.0, 1_000.0 / 720.0);
        for burn in meter.read(monday(0.0), BUDGET, &Shape::flat(), FLOOR) {
            assert!((burn.long - 1.0).abs() < 0.03, "{burn:?}");
            assert!((burn.short - 1.0).abs() < 0.25, "{burn:?}");
        }
    }

    #[test]
    fn a_fast_burn_pages_after_a_while_and_ends_soon_after_its_cause() {
        let mut meter = BurnMeter::default();
        burnt(&mut meter, -80.0, 0.0, 0.1);
        // A hundred dollars an hour are 72 times too fast: a fifth of an hour is enough.
        burnt(&mut meter, 0.0, 0.1, 100.0);
        assert_eq!(firing(&meter, 0.1, &Shape::flat()), [false, false, false]);
        burnt(&mut meter, 0.1, 0.3, 100.0);
        assert!(firing(&meter, 0.3, &Shape::flat())[0]);
        burnt(&mut meter, 0.3, 0.45, 0.1);
        assert!(!firing(&meter, 0.45, &Shape::flat())[0]);
    }

    #[test]
    fn what_the_season_expects_does_not_burn() {
        let mut season = Season::default();
        let office = |hour: i64| if (8..12).contains(&hour.rem_euclid(24)) { 10.0 } else { 0.5 };
        let first = monday(-24.0 * 56.0).ms() / 3_600_000;
        for hour in first..first + 24 * 56 {
            season.observe(hour, office(hour), 50.0 / 24.0);
        }
        let mut meter = BurnMeter::default();
        let scale = 1_000.0 / 720.0 / (50.0 / 24.0);
        for hour in -72..12_i32 {
            let rate = 1.3 * scale * office(i64::from(hour));
            burnt(&mut meter, f64::from(hour), f64::from(hour) + 1.0, rate);
        }
        let burns = meter.read(monday(12.0), BUDGET, &season.shape(None), FLOOR);
        assert!(burns[1].long < 2.0, "{burns:?}");
        let flat = meter.read(monday(12.0), BUDGET, &Shape::flat(), FLOOR);
        assert!(flat[1].long > 4.0, "{flat:?}");
    }

    #[test]
    fn small_money_does_not_page_and_no_budget_burns_without_end() {
        let mut meter = BurnMeter::default();
        burnt(&mut meter, 0.0, 1.0, 0.5);
        let small = meter.read(monday(1.0), NanoUsd(1_000_000_000), &Shape::flat(), FLOOR);
        assert!(small[0].long > 14.4 && !small[0].firing, "{small:?}");
        let none = meter.read(monday(1.0), NanoUsd::ZERO, &Shape::flat(), NanoUsd::ZERO);
        assert!(none[0].long.is_infinite() && none[0].firing, "{none:?}");
        let idle = BurnMeter::default().read(monday(1.0), NanoUsd::ZERO, &Shape::flat(), FLOOR);
        assert!(idle.iter().all(|burn| burn.long == 0.0 && !burn.firing), "{idle:?}");
    }

    proptest! {
        /// Against a list of everything that was spent.
        #[test]
        fn windows_sum_what_a_list_of_all_spend_sums(
            spends in prop::collection::vec((0..6_000i64, 0..1_000_000i64), 0..60),
            later in 0..600i64,
        ) {
            let mut spends = spends;
            spends.sort_unstable();
            let mut meter = BurnMeter::default();
            for (minute, amount) in &spends {
                meter.spend(monday(0.0).plus_ms(minute * MINUTE_MS), NanoUsd(*amount));
            }
            let last = spends.last().map_or(0, |(minute, _)| *minute);
            let now = monday(0.0).plus_ms((last + later) * MINUTE_MS);
            for burn in meter.read(now, BUDGET, &Shape::flat(), FLOOR) {
                let start = start_of(now, burn.pair.long_minutes);
                let within = spends.iter().filter(|(minute, _)| {
                    monday(0.0).plus_ms(minute * MINUTE_MS) >= start
                });
                prop_assert_eq!(burn.spent, within.map(|(_, amount)| NanoUsd(*amount)).sum());
            }
        }

        #[test]
        fn no_input_makes_a_burn_that_is_no_number(
            spends in prop::collection::vec((any::<i64>(), any::<i64>()), 0..8),
            now in any::<i64>(), budget in any::<i64>(),
        ) {
            let mut meter = BurnMeter::default();
            for (at, amount) in spends {
                meter.spend(EventTime::saturating_from_ms(at), NanoUsd(amount));
            }
            let now = EventTime::saturating_from_ms(now);
            for burn in meter.read(now, NanoUsd(budget), &Shape::flat(), FLOOR) {
                prop_assert!(!burn.long.is_nan() && !burn.short.is_nan(), "{:?}", burn);
            }
        }
    }
}
