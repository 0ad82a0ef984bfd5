//! The hours and days of a function that costs money: what the projections of its alarms rest on,
//! and whether somebody takes a little more each day.
//!
//! Kept only for functions that have spent [`WORTH_USD`] in a month: a leech of a function that
//! costs nothing takes nothing, and memory follows the money. Hours are closed with the seconds of
//! the [watch](super::watch), from the exact usage of the month; what is used while an alarm is
//! open is not learned, and the season's own expectation stands in for it.

use serde::{Deserialize, Serialize};

use super::detect::Thresholds;
use super::detect::cost::HourCost;
use super::detect::leech::DayLeech;
use super::watch::Calling;
use crate::cost::{Forecaster, Season, Shape, Usage};
use crate::keep::kept;
use crate::units::calendar::is_weekend;

/// Dollars a month from which on a function's hours are kept.
pub const WORTH_USD: f64 = 0.05;
const HOURS_A_DAY: i64 = 24;
/// Dollars in the unit of the sums, of which there is to be at least one.
const UNIT_USD: f64 = 1e-6;

/// What a function has spent by hour and day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    season: Season,
    forecaster: Forecaster,
    /// Hourly sums against their own past.
    pub cost: HourCost,
    /// And daily ones.
    pub leech: DayLeech,
    /// The hour that is open.
    #[serde(skip)]
    hour: i64,
    /// The month's usage when it began, and which month that was.
    #[serde(skip)]
    before: Usage,
    #[serde(skip)]
    month: i32,
    #[serde(skip)]
    day_usd: f64,
    /// Not all of the hour that is open, and of its day, was as usual.
    #[serde(skip)]
    unusual: [bool; 2],
    /// The day began before anybody looked, and its sum says nothing.
    #[serde(skip)]
    is_part: bool,
}

impl Ledger {
    /// Begins with hour `hour`; before, the function was silent for `silent_hours`.
    pub fn new(hour: i64, silent_hours: i64, calling: &Calling<'_>) -> Self {
        Self {
            season: Season::default(),
            forecaster: Forecaster::watching_since(hour - silent_hours),
            cost: HourCost::default(),
            leech: DayLeech::default(),
            hour,
            before: calling.used,
            month: calling.month,
            day_usd: 0.0,
            unusual: [false; 2],
            is_part: false,
        }
    }

    /// What was learned, without what is going on.
    #[must_use]
    pub fn learned(self) -> Self {
        Self {
            cost: self.cost.learned(),
            leech: self.leech.learned(),
            hour: 0,
            before: Usage::ZERO,
            month: 0,
            day_usd: 0.0,
            unusual: [false; 2],
            is_part: false,
            ..self
        }
    }

    /// Goes on with hour `hour`, before which the function was silent for `silent_hours`. Of the
    /// hours before these nothing is known.
    pub fn go_on(&mut self, hour: i64, silent_hours: i64, calling: &Calling<'_>) {
        self.forecaster.go_on(hour - silent_hours);
        (self.hour, self.before, self.month) = (hour, calling.used, calling.month);
        self.is_part = hour.rem_euclid(HOURS_A_DAY) != 0;
    }

    /// Closes every hour before `hour`; to be called every minute. `frozen` says that the last
    /// minute was not as usual.
    pub fn close(
        &mut self,
        hour: i64,
        frozen: bool,
        calling: &Calling<'_>,
        thresholds: &Thresholds,
    ) {
        self.unusual = self.unusual.map(|unusual| unusual || frozen);
        if hour <= self.hour {
            return;
        }
        let [frozen, _] = self.unusual;
        self.unusual[0] = false;
        if calling.month != self.month {
            // The seconds around midnight that the old month had are lost to the forecast.
            (self.month, self.before) = (calling.month, Usage::ZERO);
        }
        let spent = calling.rates.cost(&calling.used.since(&self.before)).usd();
        let shape = self.shape();
        let usd = if frozen { self.forecaster.level() * shape.weight(self.hour) } else { spent };
        self.forecaster.observe(self.hour, usd, |hour| shape.weight(hour));
        self.season.observe(self.hour, usd, self.forecaster.level());
        self.cost.hour(spent / UNIT_USD, shape.weight(self.hour), !frozen, thresholds.cost);
        self.cost.silence((hour - self.hour - 1).unsigned_abs());
        self.day_usd += spent;
        let (day, next) = (self.hour.div_euclid(HOURS_A_DAY), hour.div_euclid(HOURS_A_DAY));
        if next > day {
            if !std::mem::take(&mut self.is_part) {
                let sum = self.day_usd / UNIT_USD;
                self.leech.day(sum, is_weekend(day), !self.unusual[1], thresholds.leech);
            }
            self.leech.silence((next - day - 1).unsigned_abs());
            self.day_usd = 0.0;
            self.unusual[1] = false;
        }
        self.hour = hour;
        self.before = calling.used;
    }

    /// Dollars of the latest day, and of one that is expected.
    pub fn days_usd(&self) -> (f64, f64) {
        let day = self.hour.div_euclid(HOURS_A_DAY) - 1;
        let expected = self.leech.expected(is_weekend(day));
        (expected * UNIT_USD, self.leech.observed() * UNIT_USD)
    }

    /// Dollars of the latest hour that was expected, and those that it cost.
    pub fn hours_usd(&self) -> (f64, f64) {
        let (expected, observed) = self.cost.latest();
        (expected * UNIT_USD, observed * UNIT_USD)
    }

    /// The season as far as it is known.
    pub fn shape(&self) -> Shape {
        self.season.shape(None)
    }

    /// What has been learned of the hours.
    pub fn forecaster(&self) -> &Forecaster {
        &self.forecaster
    }
}

kept!(Ledger { season, forecaster, cost, leech, hour, before, month, day_usd, unusual, is_part });
