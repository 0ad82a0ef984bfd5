//! One budget over its month: what was spent, how fast it burns, where the month will end.
//!
//! A wallet is told once a minute of event time what its budget has been charged this month. It
//! closes its own hours, from which the forecast and the season learn, and warns when a pair of
//! [`BURN_PAIRS`] fires. A pair fires when both windows burn too fast, lets go when the short one
//! no longer does, so that spend near a threshold does not open and close it all the time.
//!
//! - **An hour in which it pages teaches no season**: an attack at nine is not what nine is like.
//!   The forecast does learn from it, because that money is spent.
//! - **While it pages, the burn persists one time in three**; otherwise the forecast alone speaks.
//!   With even odds the median would jump between the two at the slightest change.
//! - **Before its first whole hour** it goes by the mean since it began to watch, with the widest
//!   spread there is.
//! - **The first cents are no alarm**: less than a dollar in the long window, or than a twentieth
//!   of a small budget, is not worth one.

use core::time::Duration;

use serde::Serialize;

use crate::cost::burn::{BURN_PAIRS, Burn, BurnMeter, BurnUrgency};
use crate::cost::forecast::Forecaster;
use crate::cost::month::Month;
use crate::cost::projection::{
    History, ProjectionInput, Quantiles, probability_over, project, time_to_exhaustion,
};
use crate::cost::season::{Season, Shape};
use crate::keep::kept;
use crate::units::{EventTime, NanoUsd};

/// Spend in a long window that is worth a warning, unless a part of the budget is less.
const FLOOR: NanoUsd = NanoUsd(1_000_000_000);
/// The part: what 6 times too fast over six hours spend of an even month.
const FLOOR_PARTS: i64 = 20;
/// While a warning stands it is repeated after this long.
const REPEAT_MS: i64 = HOUR_MS;
/// Silent hours that the season learns from; after two weeks every slot knows.
const SILENT_HOURS_MAX: i64 = 336;
/// The current burn is read off the shortest window of five minutes.
const SHORT_PER_HOUR: f64 = 12.0;
/// ln(1/2).
const PERSIST_LOG_ODDS: f64 = -core::f64::consts::LN_2;
/// Scatter that is assumed before anything was learned: hours as far from their mean as the mean
/// itself, and a level that may be anything.
const YOUNG_DISPERSION: f64 = 1.0;
const YOUNG_LEVEL_LOG_SD: f64 = 1.0;
/// Milliseconds in a minute and in an hour.
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// What became of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningState {
    /// A first pair fires.
    Opened,
    /// It has become a page, or an hour has passed.
    Updated,
    /// Nothing new.
    Standing,
    /// No pair fires any more.
    Closed,
}

/// Something to say of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// What became of it.
    pub state: WarningState,
    /// The gravest of the pairs that fire; of a closed one, what was said last.
    pub urgency: BurnUrgency,
    /// When it opened.
    pub since: EventTime,
}

/// How a budget stands and where its month will end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetOutlook {
    /// Spent since the first of the month, as far as it was seen.
    pub spent: NanoUsd,
    /// The ceiling.
    pub monthly: NanoUsd,
    /// The pairs; `firing` lasts until the short window lets go.
    pub burns: [Burn; BURN_PAIRS.len()],
    /// Spend of the whole month.
    pub month_end: Quantiles,
    /// Probability that this is above the ceiling.
    pub over: f64,
    /// Until the ceiling is reached one time in ten, where that is within the month.
    pub exhausted_p10: Option<Duration>,
    /// The median, likewise.
    pub exhausted_p50: Option<Duration>,
}

/// A budget's memory, in about two kilobytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Wallet {
    monthly: NanoUsd,
    /// When it began to watch.
    watching: Option<EventTime>,
    month: Month,
    spent: NanoUsd,
    /// Since it began to watch.
    seen: NanoUsd,
    meter: BurnMeter,
    forecaster: Forecaster,
    season: Season,
    shape: Shape,
    hour: Hour,
    firing: [bool; BURN_PAIRS.len()],
    open: Option<Open>,
}

/// The open hour.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Hour {
    /// Since the epoch.
    number: i64,
    spent: NanoUsd,
    paged: bool,
}

/// A warning that stands.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Open {
    since: EventTime,
    told_at: EventTime,
    told: BurnUrgency,
}

impl Wallet {
    /// One that has seen nothing.
    pub fn new(monthly: NanoUsd) -> Self {
        Self {
            monthly,
            watching: None,
            month: Month::of(EventTime::MIN),
            spent: NanoUsd::ZERO,
            seen: NanoUsd::ZERO,
            meter: BurnMeter::default(),
            forecaster: Forecaster::default(),
            season: Season::default(),
            shape: Shape::flat(),
            hour: Hour::default(),
            firing: [false; BURN_PAIRS.len()],
            open: None,
        }
    }

    /// Goes on from where another was, with its own ceiling.
    pub fn regain(&mut self, from: Self) {
        *self = Self { monthly: self.monthly, ..from };
    }

    /// At the full minute `now` the budget stands at `spent` since the first of the month. What is
    /// new was spent before `now`, so it counts to the minute and the hour that just ended.
    pub fn charge(&mut self, now: EventTime, spent: NanoUsd) -> Option<Warning> {
        let at = before(now);
        if self.watching.is_none() {
            let start = now.plus_ms(-MINUTE_MS);
            self.watching = Some(start);
            self.hour.number = hour_of(at);
            let whole = hour_of(start.plus_ms(HOUR_MS - 1));
            self.forecaster = Forecaster::watching_since(whole);
        }
        let month = Month::of(now);
        let before = if month == self.month { self.spent } else { NanoUsd::ZERO };
        let new = spent.minus(before).max(NanoUsd::ZERO);
        (self.month, self.spent) = (month, spent);
        self.close_hours(hour_of(at));
        self.hour.spent += new;
        self.seen += new;
        self.meter.spend(at, new);
        self.judge(now)
    }

    /// How it stands at `now`.
    pub fn outlook(&self, now: EventTime) -> BudgetOutlook {
        let mut burns = self.burns(now);
        for (burn, firing) in burns.iter_mut().zip(self.firing) {
            burn.firing = firing;
        }
        let mean = self.mean(now);
        let learned = self.forecaster.seen() > 0;
        let current = burns[0].spent_short.usd() * SHORT_PER_HOUR;
        let pages = self.urgency() == Some(BurnUrgency::Page);
        let input = ProjectionInput {
            now,
            spent_month: self.spent,
            burn_usd_per_hour: if learned || pages { current } else { mean },
            baseline_usd_per_hour: mean,
            request_usd: 0.0,
            request_usd_squared: 0.0,
            dispersion: YOUNG_DISPERSION,
            level_log_sd: YOUNG_LEVEL_LOG_SD,
            persist_log_odds: if pages { PERSIST_LOG_ODDS } else { f64::NEG_INFINITY },
            history: Some(History { forecaster: &self.forecaster, shape: &self.shape }),
        };
        let left = Duration::from_secs_f64(Month::of(now).hours_left(now) * 3_600.0);
        let exhaustion = time_to_exhaustion(&input, self.monthly);
        BudgetOutlook {
            spent: self.spent,
            monthly: self.monthly,
            burns,
            month_end: project(&input).month_end,
            over: probability_over(&input, self.monthly),
            exhausted_p10: exhaustion.map(|at| at.p10).filter(|p10| *p10 <= left),
            exhausted_p50: exhaustion.map(|at| at.p50).filter(|p50| *p50 <= left),
        }
    }

    /// The warning that stands.
    pub fn standing(&self) -> Option<Warning> {
        let standing = |open: Open| Warning {
            state: WarningState::Standing,
            urgency: open.told,
            since: open.since,
        };
        self.open.map(standing)
    }

    /// Dollars an hour since it began to watch.
    fn mean(&self, now: EventTime) -> f64 {
        let watched = self.watching.map_or(0, |start| now.since_ms(start)).max(MINUTE_MS);
        self.seen.usd() * HOUR_MS as f64 / watched as f64
    }

    fn burns(&self, now: EventTime) -> [Burn; BURN_PAIRS.len()] {
        let floor = FLOOR.min(NanoUsd(self.monthly.0 / FLOOR_PARTS));
        self.meter.read(before(now), self.monthly, &self.shape, floor)
    }

    /// The gravest of what fires.
    fn urgency(&self) -> Option<BurnUrgency> {
        let firing = BURN_PAIRS.iter().zip(self.firing).filter(|(_, firing)| *firing);
        firing.map(|(pair, _)| pair.urgency).max()
    }

    fn judge(&mut self, now: EventTime) -> Option<Warning> {
        for (burn, firing) in self.burns(now).iter().zip(&mut self.firing) {
            let short = burn.short >= burn.pair.factor;
            *firing = if *firing { short } else { burn.firing };
        }
        let urgency = self.urgency();
        self.hour.paged |= urgency == Some(BurnUrgency::Page);
        let (state, open) = match (self.open, urgency) {
            (None, None) => return None,
            (None, Some(told)) => {
                (WarningState::Opened, Some(Open { since: now, told_at: now, told }))
            }
            (Some(open), None) => {
                self.open = None;
                let Open { since, told: urgency, .. } = open;
                return Some(Warning { state: WarningState::Closed, urgency, since });
            }
            (Some(open), Some(told)) => {
                if told <= open.told && now.since_ms(open.told_at) < REPEAT_MS {
                    return None;
                }
                (WarningState::Updated, Some(Open { told_at: now, told, ..open }))
            }
        };
        self.open = open;
        open.map(|Open { since, told: urgency, .. }| Warning { state, urgency, since })
    }

    /// Closes what lies before hour `number`.
    fn close_hours(&mut self, number: i64) {
        if number <= self.hour.number {
            return;
        }
        let closed = core::mem::replace(&mut self.hour, Hour { number, ..Hour::default() });
        self.learn(closed.number, closed.spent.usd(), !closed.paged);
        for silent in (closed.number + 1).max(number - SILENT_HOURS_MAX)..number {
            self.learn(silent, 0.0, true);
        }
        self.shape = self.season.shape(None);
    }

    fn learn(&mut self, hour: i64, usd: f64, ordinary: bool) {
        self.forecaster.observe(hour, usd, |hour| self.shape.weight(hour));
        if ordinary {
            self.season.observe(hour, usd, self.forecaster.level());
        }
    }
}

/// A full minute belongs to what it ends.
const fn before(now: EventTime) -> EventTime {
    now.plus_ms(-1)
}

const fn hour_of(at: EventTime) -> i64 {
    at.ms().div_euclid(HOUR_MS)
}

kept!(Wallet {
    monthly,
    watching,
    month,
    spent,
    seen,
    meter,
    forecaster,
    season,
    shape,
    hour,
    firing,
    open,
});
kept!(Hour { number, spent, paged });
kept!(Open { since, told_at, told });

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday, in a month of 30 days; 21 days lie before it.
    const MONDAY: &str = "2026-11-16T00:00:00Z";
    /// At an even rate a dollar an hour.
    const BUDGET: NanoUsd = NanoUsd(720_000_000_000);

    /// A wallet and its driver: minute by minute, with the reset at the turn of a month.
    struct Told {
        wallet: Wallet,
        now: EventTime,
        month: Month,
        spent: NanoUsd,
        warnings: Vec<(f64, Warning)>,
    }

    impl Told {
        fn new(budget: NanoUsd) -> Self {
            let now: EventTime = MONDAY.parse().unwrap();
            let wallet = Wallet::new(budget);
            Told { wallet, now, month: Month::of(now), spent: NanoUsd::ZERO, warnings: Vec::new() }
        }

        /// Spends at `rate` dollars an hour.
        fn spends(mut self, hours: f64, rate: impl Fn(i64) -> f64) -> Self {
            for _ in 0..(hours * 60.0).round() as i64 {
                let rate = rate(hour_of(self.now));
                self.now = self.now.plus_ms(MINUTE_MS);
                let month = Month::of(self.now);
                if month != self.month {
                    (self.month, self.spent) = (month, NanoUsd::ZERO);
                }
                self.spent += NanoUsd::from_usd(rate / 60.0);
                let start: EventTime = MONDAY.parse().unwrap();
                let hour = self.now.since_ms(start) as f64 / HOUR_MS as f64;
                let warning = self.wallet.charge(self.now, self.spent);
                self.warnings.extend(warning.map(|warning| (hour, warning)));
            }
            self
        }

        fn said(&self) -> Vec<(f64, WarningState, BurnUrgency)> {
            let said = self.warnings.iter();
            said.map(|(hour, warning)| (*hour, warning.state, warning.urgency)).collect()
        }

        fn outlook(&self) -> BudgetOutlook {
            self.wallet.outlook(self.now)
        }
    }

    #[test]
    fn steady_spend_under_the_budget_is_silent_and_its_end_is_foreseen() {
        let told = Told::new(BUDGET).spends(24.0 * 10.0, |_| 0.5);
        assert_eq!(told.said(), []);
        let outlook = told.outlook();
        // Watched from the 16th on: 15 days at half a dollar an hour.
        assert_eq!(outlook.spent, NanoUsd(119_999_995_200));
        assert!((outlook.month_end.p50.usd() / 180.0 - 1.0).abs() < 0.1, "{outlook:?}");
        assert!(outlook.month_end.p10 <= outlook.month_end.p50);
        assert!(outlook.over < 0.01 && outlook.exhausted_p10.is_none(), "{outlook:?}");
    }

    #[test]
    fn a_fast_burn_pages_within_the_hour_and_the_page_ends_soon_after_it() {
        let told = Told::new(BUDGET).spends(72.0, |_| 0.5).spends(1.0, |_| 20.0);
        let [(hour, WarningState::Opened, BurnUrgency::Page)] = told.said()[..] else {
            panic!("{:?}", told.said());
        };
        // 14.4 times in an hour are reached after 0.72 of one.
        assert!((72.6..72.8).contains(&hour), "{hour}");
        let burning = told.outlook();
        assert!(burning.burns[0].firing && !burning.burns[2].firing, "{burning:?}");
        assert!(burning.exhausted_p10.is_some(), "{burning:?}");
        let told = told.spends(1.0, |_| 0.5);
        let [_, (hour, WarningState::Closed, BurnUrgency::Page)] = told.said()[..] else {
            panic!("{:?}", told.said());
        };
        assert!((73.0..73.1).contains(&hour), "{hour}");
        assert!(told.outlook().over < burning.over);
    }

    #[test]
    fn a_slow_burn_is_a_notice_that_is_repeated_by_the_hour() {
        let told = Told::new(BUDGET).spends(96.0, |_| 2.0);
        let said = told.said();
        assert_eq!((said[0].1, said[0].2), (WarningState::Opened, BurnUrgency::Notice));
        // Three days at twice the rate fill a window of three days half way.
        assert!((34.0..38.0).contains(&said[0].0), "{}", said[0].0);
        for pair in said.windows(2) {
            assert_eq!((pair[1].1, pair[1].2), (WarningState::Updated, BurnUrgency::Notice));
            assert!((pair[1].0 - pair[0].0 - 1.0).abs() < 1e-9, "{pair:?}");
        }
        assert!(told.warnings.iter().all(|(_, warning)| warning.since == told.warnings[0].1.since));
    }

    #[test]
    fn what_becomes_worse_is_said_at_once() {
        let told = Told::new(BUDGET).spends(40.25, |_| 2.0).spends(1.0, |_| 40.0);
        let pages = told.said().into_iter().filter(|said| said.2 == BurnUrgency::Page);
        let pages: Vec<_> = pages.collect();
        assert!(matches!(pages[..], [(_, WarningState::Updated, _)]), "{pages:?}");
        assert!((40.5..40.8).contains(&pages[0].0), "{pages:?}");
    }

    #[test]
    fn the_first_cents_of_a_budget_are_no_alarm() {
        // Half a cent a minute against four dollars a month: fifty times too fast.
        let told = Told::new(NanoUsd(4_000_000_000)).spends(0.6, |_| 0.3);
        assert_eq!(told.said(), []);
        assert!(told.outlook().burns[0].long > 14.4);
        assert_eq!(told.spends(0.2, |_| 0.3).said().len(), 1);
    }

    #[test]
    fn a_new_month_has_its_money_again_and_keeps_what_was_learned() {
        let told = Told::new(BUDGET).spends(24.0 * 15.0, |_| 0.5);
        assert_eq!(told.outlook().spent, NanoUsd::from_usd(0.5 / 60.0));
        let told = told.spends(24.0, |_| 0.5);
        let outlook = told.outlook();
        assert_eq!(Month::of(told.now).to_string(), "2026-12");
        assert!((outlook.spent.usd() - 12.0).abs() < 0.02, "{outlook:?}");
        assert!((outlook.month_end.p50.usd() / 372.0 - 1.0).abs() < 0.1, "{outlook:?}");
        assert_eq!(told.said(), []);
    }

    #[test]
    fn a_season_is_no_burn_once_it_is_known() {
        let office = |hour: i64| if (8..12).contains(&hour.rem_euclid(24)) { 4.2 } else { 0.2 };
        let known = Told::new(BUDGET).spends(24.0 * 28.0 + 12.0, office);
        let last_week = known.said().into_iter().filter(|said| said.0 > 24.0 * 21.0);
        assert_eq!(last_week.count(), 0, "{:?}", known.said());
        assert!(known.outlook().burns[1].long < 1.5, "{:?}", known.outlook().burns);
    }

    #[test]
    fn a_budget_that_is_used_up_is_over_and_has_no_time_left() {
        let told = Told::new(NanoUsd(1_000_000_000)).spends(30.0, |_| 0.1);
        let outlook = told.outlook();
        assert_eq!(outlook.over, 1.0);
        assert_eq!(outlook.exhausted_p50, Some(Duration::ZERO));
    }

    #[test]
    fn before_the_first_hour_the_mean_speaks_with_a_wide_spread() {
        let told = Told::new(BUDGET).spends(0.5, |_| 1.0);
        let Quantiles { p10, p50, p90 } = told.outlook().month_end;
        assert!(p50.usd() > 150.0 && p50.usd() < 400.0, "{p50}");
        assert!(p10.usd() < p50.usd() / 2.0 && p90.usd() > p50.usd() * 2.0, "{p10} {p90}");
    }
}
