//! Where the spend is going: the next hour, the next day, the month; how likely a budget breaks and
//! how soon.
//!
//! Two scenarios are mixed, because either alone misleads: what burns now **persists**, or spend
//! **reverts** to its baseline. Their weights are the posterior odds that the caller has. Where a
//! [`History`] is given, the baseline is what the function has learned of itself, along its season
//! and as wide as its own forecasts were wrong; without one it is a flat rate with an assumed
//! spread. A burn that persists is a flat rate always: an attack has no season. There the hour is a
//! compound count (gamma) and longer spans are log-normal, where the level of the traffic is the
//! larger unknown; `distribution` has the formulas and the proof of invariant C1. Quantiles are the
//! smallest whole nano-dollar at which the mixture reaches 10, 50 and 90 %.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cost::distribution::{Spread, Z_90, reached_by};
use crate::cost::forecast::Forecaster;
use crate::cost::month::Month;
use crate::cost::season::Shape;
use crate::keep::kept;
use crate::units::{EventTime, NanoUsd};

/// Default step of the log level per square root of an hour: 5 % in an hour, 17 % in half a day.
pub const LEVEL_LOG_SD_DEFAULT: f64 = 0.05;

/// The level's log variance stops here (a factor of 2.7 either way): traffic that is far from its
/// level is drawn back to it, which a random walk would never be.
const LEVEL_LOG_VARIANCE_MAX: f64 = 1.0;

/// Inputs are cut here; a dollar rate of 1e9 an hour is a hundred times the whole platform.
const USD_MAX: f64 = 1e9;

/// A quantile is searched to one part in 2^33.
const DIGITS: u32 = 33;

/// Milliseconds in an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// Exhaustion further away than a hundred years is never.
const EXHAUSTION_HOURS_MAX: f64 = 876_600.0;

/// What a function, or an account, has learned of itself in steps of an hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct History<'a> {
    /// Fed with every closed hour.
    pub forecaster: &'a Forecaster,
    /// Its season.
    pub shape: &'a Shape,
}

impl History<'_> {
    /// Spend from `now` up to `end`.
    pub fn quantiles(&self, now: EventTime, end: EventTime) -> Quantiles {
        let hours = end.since_ms(now).max(0) as f64 / HOUR_MS;
        self.forecaster.quantiles(hours, self.load(now, hours))
    }

    fn load(&self, now: EventTime, hours: f64) -> f64 {
        let from = now.ms() as f64 / HOUR_MS;
        self.shape.load(from, from + hours)
    }
}

/// What is known when a projection is made. NaN and negative numbers count as zero, numbers above
/// 1e9, infinity included, as 1e9.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProjectionInput<'a> {
    /// Event time of the projection.
    pub now: EventTime,
    /// Spent since the first of the month.
    pub spent_month: NanoUsd,
    /// Current burn in dollars an hour.
    pub burn_usd_per_hour: f64,
    /// Burn when nothing unusual happens, in dollars an hour; not asked where there is a history.
    pub baseline_usd_per_hour: f64,
    /// Mean cost of a request in dollars.
    pub request_usd: f64,
    /// Mean squared cost of a request, dollars squared.
    pub request_usd_squared: f64,
    /// Overdispersion φ of hourly counts: variance = mean + φ × mean². Hours are taken as
    /// independent, so over H hours it is φ / H.
    pub dispersion: f64,
    /// Standard deviation of the log level after one hour; [`LEVEL_LOG_SD_DEFAULT`].
    pub level_log_sd: f64,
    /// Natural log of the odds that the current burn persists.
    pub persist_log_odds: f64,
    /// What was learned; one that has seen nothing counts as none.
    pub history: Option<History<'a>>,
}

/// Three points of a distribution of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// One time in ten it stays below.
    #[serde(rename = "p10_nano_usd")]
    pub p10: NanoUsd,
    /// The median.
    #[serde(rename = "p50_nano_usd")]
    pub p50: NanoUsd,
    /// One time in ten it goes above.
    #[serde(rename = "p90_nano_usd")]
    pub p90: NanoUsd,
}

/// Spend to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Projection {
    /// In the next 60 minutes.
    pub hour: Quantiles,
    /// In the next 24 hours.
    pub day: Quantiles,
    /// In the whole month, what is spent so far included.
    pub month_end: Quantiles,
}

/// When a budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhaustion {
    /// One time in ten it is sooner. This is the one to act on.
    pub p10: Duration,
    /// The median.
    pub p50: Duration,
}

/// Spend of the next hour, day and month.
pub fn project(input: &ProjectionInput<'_>) -> Projection {
    let month = Outlook::month(input);
    let hour = Outlook::over(input, 1.0, Family::Gamma);
    let day = Outlook::over(input, 24.0, Family::LogNormal);
    let so_far = |quantiles: Quantiles| Quantiles {
        p10: input.spent_month.plus(quantiles.p10),
        p50: input.spent_month.plus(quantiles.p50),
        p90: input.spent_month.plus(quantiles.p90),
    };
    Projection {
        hour: hour.quantiles(),
        day: day.quantiles(),
        month_end: so_far(month.quantiles()),
    }
}

/// The probability that the month ends above `budget`.
pub fn probability_over(input: &ProjectionInput<'_>, budget: NanoUsd) -> f64 {
    let left = budget.minus(input.spent_month);
    if left < NanoUsd::ZERO {
        return 1.0;
    }
    (1.0 - Outlook::month(input).at_most(left)).clamp(0.0, 1.0)
}

/// How long `budget` lasts; `None` when that is more than a hundred years. The month's end is not
/// considered. With a history it is the time by which both scenarios together have used it up with
/// that probability; without one the current burn is taken to persist.
pub fn time_to_exhaustion(input: &ProjectionInput<'_>, budget: NanoUsd) -> Option<Exhaustion> {
    let left = budget.minus(input.spent_month);
    if left <= NanoUsd::ZERO {
        return Some(Exhaustion { p10: Duration::ZERO, p50: Duration::ZERO });
    }
    let drift = tame(input.burn_usd_per_hour);
    let variance = per_unit(input) * drift + tame(input.dispersion) * drift * drift;
    let reached = |hours: f64| match input.history {
        Some(history) if history.forecaster.seen() > 0 => {
            1.0 - Outlook::over(input, hours, Family::LogNormal).at_most(left)
        }
        _ => reached_by(hours, left.usd(), drift, variance),
    };
    let p50 = passage_hours(0.5, reached)?;
    let p10 = passage_hours(0.1, reached).unwrap_or(p50).min(p50);
    let span = |hours: f64| Duration::try_from_secs_f64(hours * 3_600.0).unwrap_or(Duration::MAX);
    Some(Exhaustion { p10: span(p10), p50: span(p50) })
}

/// The time in hours by which something is reached with probability `p`, by bisection: 60 halvings
/// leave less than a microsecond of a hundred years.
fn passage_hours(p: f64, reached: impl Fn(f64) -> f64) -> Option<f64> {
    let (mut low, mut high) = (0.0, EXHAUSTION_HOURS_MAX);
    if reached(high) < p {
        return None;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if reached(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

#[derive(Debug, Clone, Copy)]
enum Family {
    Gamma,
    LogNormal,
}

/// Both scenarios over one span.
struct Outlook {
    persist: f64,
    current: Spread,
    baseline: Spread,
}

impl Outlook {
    fn month(input: &ProjectionInput<'_>) -> Self {
        let hours = Month::of(input.now).hours_left(input.now);
        Outlook::over(input, hours, Family::LogNormal)
    }

    fn over(input: &ProjectionInput<'_>, hours: f64, family: Family) -> Self {
        let relative = tame(input.dispersion) / hours.max(1.0);
        let sd = tame(input.level_log_sd);
        // The mean of a random walk over a span has a third of the variance of its end.
        let level = (sd * sd * hours / 3.0).min(LEVEL_LOG_VARIANCE_MAX);
        let per_unit = per_unit(input);
        let spread = |usd_per_hour: f64| {
            let mean = tame(usd_per_hour) * hours;
            match family {
                Family::Gamma => Spread::gamma(mean, per_unit, relative + libm::expm1(level)),
                Family::LogNormal => Spread::log_normal(mean, per_unit, relative, level),
            }
        };
        let odds = input.persist_log_odds;
        let odds = if odds.is_nan() { 0.0 } else { odds.clamp(-700.0, 700.0) };
        Outlook {
            persist: 1.0 / (1.0 + libm::exp(-odds)),
            current: spread(input.burn_usd_per_hour),
            baseline: match input.history {
                Some(history) if history.forecaster.seen() > 0 => {
                    history.forecaster.spread(hours, history.load(input.now, hours))
                }
                _ => spread(input.baseline_usd_per_hour),
            },
        }
    }

    fn at_most(&self, amount: NanoUsd) -> f64 {
        let usd = amount.usd();
        self.persist * self.current.at_most(usd) + (1.0 - self.persist) * self.baseline.at_most(usd)
    }

    fn quantiles(&self) -> Quantiles {
        let p10 = self.quantile(0.1, -Z_90);
        let p50 = self.quantile(0.5, 0.0).max(p10);
        Quantiles { p10, p50, p90: self.quantile(0.9, Z_90).max(p50) }
    }

    /// The smallest whole amount that is reached with probability `p`, to ten digits. It lies
    /// between the points that the scenarios alone have there, `z` standard deviations out.
    fn quantile(&self, p: f64, z: f64) -> NanoUsd {
        if self.at_most(NanoUsd::ZERO) >= p {
            return NanoUsd::ZERO;
        }
        let (a, b) = (self.current.point(z), self.baseline.point(z));
        let mut low = NanoUsd::from_usd(a.min(b)).0.saturating_sub(2).max(0);
        let mut high = NanoUsd::from_usd(a.max(b)).0.saturating_add(2);
        if self.at_most(NanoUsd(low)) >= p {
            low = 0;
        }
        while high - low > 1 + (high >> DIGITS) {
            let middle = low + (high - low) / 2;
            if self.at_most(NanoUsd(middle)) >= p {
                high = middle;
            } else {
                low = middle;
            }
        }
        NanoUsd(high)
    }
}

/// Variance per dollar of mean that single requests bring: m2 / m1.
fn per_unit(input: &ProjectionInput<'_>) -> f64 {
    let mean = tame(input.request_usd);
    if mean > 0.0 { (tame(input.request_usd_squared) / mean).min(USD_MAX) } else { 0.0 }
}

/// Zero for what is no amount, and never beyond reason.
fn tame(value: f64) -> f64 {
    // Positive form, so that NaN fails.
    if value > 0.0 { value.min(USD_MAX) } else { 0.0 }
}

kept!(Quantiles { p10, p50, p90 });
kept!(Projection { hour, day, month_end });
