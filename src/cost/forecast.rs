//! What a function, or an account, will spend, and how wrong that may be, learned from nothing but
//! its own closed steps. A step is an hour in the daemon; the code knows only numbers of steps.
//!
//! **A ladder of horizons.** Rung k forecasts blocks of 3^k steps, 1 to 729: an hour to a month.
//! Each rung has its own level, an exponentially weighted mean over three of its blocks, because
//! what is best for the next hour is not best for the month; a plain mean while it is young. When a
//! block closes, actual A is held against what the rung said at its start, F, by the relative error
//! r = (A - F) / max(A, F), which is within ±1 whatever happens. Each rung keeps the mean of r²
//! (how wrong) and of r (which way: growth).
//!
//! **Shrinkage.** A rung's error counts as many blocks as it has closed against
//! `PRIOR_BLOCKS` of what the rung below makes it expect, half of the trend from rung to rung
//! going on: independent errors average out over longer blocks, errors of the level do not. The
//! mean b of r is believed as far as the errors agree with each other, b·n·b²/(n·b² + r²): an
//! empirical-Bayes shrinkage in the manner of James and Stein, almost nothing for bursts.
//!
//! **Spread.** With v the expected r² of a span of s steps and n steps seen, v·(1 + s/n) is the
//! variance of a sum around a mean that is itself estimated. The sum is log-normal about that mean,
//! with a shift of a tenth so that nothing at all is possible. The levels of the other rungs, as
//! far as they remember no more than the span, widen the side on which they lie: what has just
//! changed may last.
//!
//! **Calibration.** Each side of each rung has a factor that follows its own misses: +0.09 in the
//! log for a miss, -0.01 for a hit, which comes to rest where one in ten misses. This is the
//! proportional ("P") term of conformal PID control (Angelopoulos, Candès and Tibshirani, NeurIPS
//! 2023, arXiv 2307.16895, section 2.1), whose long-run coverage holds for any sequence as long as
//! the factor is not at its end; the score is the error in units of the learned spread.
//!
//! Refs: Stein shrinkage: James and Stein, Proc. 4th Berkeley Symp. 1 (1961) 361. Combining levels
//! of several memories: Kourentzes, Petropoulos and Trapero, Int. J. Forecasting 30 (2014) 291,
//! doi 10.1016/j.ijforecast.2013.09.006.

use serde::{Deserialize, Serialize};

use crate::cost::distribution::{SHIFT, Spread, Z_90};
use crate::cost::projection::Quantiles;
use crate::keep::kept;
use crate::units::NanoUsd;
use crate::units::bounds::{up_to, within};

/// Rungs of the ladder.
const RUNGS: usize = 7;
/// Steps of a block, rung by rung. In hours: an hour, three, nine, a day, 3.4 and 10 days, a month.
const BLOCKS: [u32; RUNGS] = [1, 3, 9, 27, 81, 243, 729];
/// The rung whose level is the mean hour of about a week and more.
const SLOW: usize = 5;
/// Memory of a level, in blocks of its rung.
const MEMORY_BLOCKS: f64 = 3.0;
/// Blocks that the expectation from below is worth.
const PRIOR_BLOCKS: f64 = 1.0;
/// r² of a function of which nothing is known: as wrong as can be.
const PRIOR_ERROR: f64 = 1.0;
/// A span counts as at most so many times what was seen: further out it is not the number of steps
/// that is unknown, and a single hour must not make the median of a month nothing.
const LEAP_MAX: f64 = 3.0;
/// Which part of the trend from rung to rung goes on beyond what was seen.
const TREND: f64 = 0.5;
/// Weight of a new error once a rung is warm: twenty blocks.
const ERROR_WEIGHT: f64 = 0.05;
/// A drift beyond a factor of two is not extrapolated.
const DRIFT_MAX: f64 = 0.5;
/// Calibration steps in hundredths of the log: nine hits undo one miss at 10 %.
const MISS: i8 = 9;
const HIT: i8 = -1;
/// Factors stay within e^±1: misses beyond that are no matter of calibration.
const FACTOR_MAX: i8 = 100;
/// The longest silence that is lived through, three months of hours; after a longer one, it is all
/// that is remembered.
const GAP_MAX: i64 = 2_187;
/// Amounts and weights are cut here.
const USD_MAX: f64 = 1e9;
const WEIGHT_MAX: f64 = 1e3;

/// The learned state, in less than 200 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecaster {
    /// Dollars per unit of weight.
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000_000_000_000>")]
    level: [f32; RUNGS],
    /// The level when the open block began.
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000_000_000_000>")]
    issued: [f32; RUNGS],
    /// Means of r² and r.
    #[serde(deserialize_with = "up_to::<_, _, 1>")]
    error: [f32; RUNGS],
    #[serde(deserialize_with = "within::<_, _, 1>")]
    drift: [f32; RUNGS],
    /// Dollars and weight of the open block, as far as the blocks of the rung below are closed; the
    /// first rung needs none.
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000_000_000_000>")]
    usd: [f32; RUNGS - 1],
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000_000_000_000>")]
    weight: [f32; RUNGS - 1],
    /// Blocks that r was measured on.
    blocks: [u8; RUNGS],
    /// Log factors of the lower and upper side, in hundredths.
    #[serde(deserialize_with = "within::<_, _, 100>")]
    below: [i8; RUNGS],
    #[serde(deserialize_with = "within::<_, _, 100>")]
    above: [i8; RUNGS],
    /// Steps seen, their weight, and the step that comes next.
    seen: u32,
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000_000_000_000>")]
    seen_weight: f32,
    next: u32,
}

/// What is known of one horizon.
#[derive(Debug, Clone, Copy, Default)]
struct Rung {
    level: f64,
    error: f64,
    drift: f64,
    below: f64,
    above: f64,
}

impl Forecaster {
    /// One that has been watching since the start of step `step`: silence from there on counts, a
    /// function that then turns up is not taken for one that always ran.
    pub fn watching_since(step: i64) -> Self {
        Self { next: number(step), ..Self::default() }
    }

    /// Goes on with step `step`: of those since the last one nothing is known, and they are left
    /// out.
    pub fn go_on(&mut self, step: i64) {
        self.next = self.next.max(number(step));
    }

    /// Learns that `usd` were spent in step `step`, now closed; steps that were left out had no
    /// spend. `weight` is what the season says of a step, one on average. A step that was already
    /// closed changes nothing; what is no amount counts as zero.
    pub fn observe(&mut self, step: i64, usd: f64, weight: impl Fn(i64) -> f64) {
        let step = i64::from(number(step));
        let next = i64::from(self.next);
        if self.next == 0 {
            self.next = number(step);
        } else if step - next > GAP_MAX {
            *self = Self::watching_since(step - GAP_MAX);
        } else if step < next {
            return;
        }
        for silent in i64::from(self.next)..step {
            self.close(0.0, weight(silent));
        }
        self.close(usd, weight(step));
        self.next = number(step + 1);
    }

    /// Steps that it has seen, silent ones included.
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Dollars per step of weight one, over about the last weeks: the mean hour that
    /// [`Season::observe`](super::Season::observe) asks for.
    pub fn level(&self) -> f64 {
        f64::from(self.level[SLOW])
    }

    /// Spend of the next `steps` steps, which weigh `load`
    /// ([`Shape::load`](super::Shape::load); the same as `steps` without a season).
    pub fn quantiles(&self, steps: f64, load: f64) -> Quantiles {
        let spread = self.spread(steps, load);
        let at = |z: f64| NanoUsd::from_usd(spread.point(z));
        let p10 = at(-Z_90);
        let p50 = at(0.0).max(p10);
        Quantiles { p10, p50, p90: at(Z_90).max(p50) }
    }

    /// The probability of spending more than `amount` in the next `steps` steps, which weigh
    /// `load`.
    pub fn probability_over(&self, amount: NanoUsd, steps: f64, load: f64) -> f64 {
        (1.0 - self.spread(steps, load).at_most(amount.usd())).clamp(0.0, 1.0)
    }

    /// How the spend of the next `steps` steps scatters.
    pub(super) fn spread(&self, steps: f64, load: f64) -> Spread {
        let steps = if steps > 0.0 { steps.min(USD_MAX) } else { 0.0 };
        let rung = self.rung_for(steps);
        // Drift is A over F, as r tells it.
        let drift = rung.drift.clamp(-DRIFT_MAX, DRIFT_MAX);
        let factor = if drift > 0.0 { 1.0 / (1.0 - drift) } else { 1.0 + drift };
        let mean = rung.level * factor * if load > 0.0 { load.min(USD_MAX) } else { 0.0 };
        let error = (rung.error - drift * drift).max(rung.error / 4.0);
        let seen = f64::from(self.seen.max(1));
        let variance = libm::log1p(error * (1.0 + (steps / seen).min(LEAP_MAX)));
        let (down, up) = self.disagreement(steps, rung.level);
        Spread::shifted(
            mean,
            variance / -2.0,
            rung.below * libm::sqrt(variance + down),
            rung.above * libm::sqrt(variance + up),
        )
    }

    /// Mean squared log distance of the levels below and above `level`, over the rungs that
    /// remember no more than `steps`.
    fn disagreement(&self, steps: f64, level: f64) -> (f64, f64) {
        let (mut down, mut up, mut count) = (0.0, 0.0, 0.0);
        for (block, other) in BLOCKS.iter().zip(&self.level).skip(1) {
            if *block > self.seen || f64::from(*block) > steps || level <= 0.0 {
                break;
            }
            let distance = log_ratio(f64::from(*other), level);
            count += 1.0;
            let side = if distance < 0.0 { &mut down } else { &mut up };
            *side += distance * distance;
        }
        if count > 0.0 { (down / count, up / count) } else { (0.0, 0.0) }
    }

    /// Between the two rungs next to `steps`, by the logarithm of the horizon.
    fn rung_for(&self, steps: f64) -> Rung {
        let height = libm::log(steps.max(1.0)) / libm::log(3.0);
        let mut lower = 0;
        while lower < RUNGS - 2 && height >= (lower + 1) as f64 {
            lower += 1;
        }
        let part = (height - lower as f64).clamp(0.0, 1.0);
        let rungs = self.rungs();
        let (a, b) = (rungs[lower], rungs[lower + 1]);
        let between = |a: f64, b: f64| a + part * (b - a);
        Rung {
            level: between(a.level, b.level),
            error: between(a.error, b.error),
            drift: between(a.drift, b.drift),
            below: between(a.below, b.below),
            above: between(a.above, b.above),
        }
    }

    /// All rungs, each shrunk towards what the one below makes it expect.
    fn rungs(&self) -> [Rung; RUNGS] {
        let mut rungs = [Rung::default(); RUNGS];
        let (mut expected, mut last, mut trend) = (PRIOR_ERROR, PRIOR_ERROR, 0.0);
        for (k, rung) in rungs.iter_mut().enumerate() {
            let n = f64::from(self.blocks[k]);
            let (own, drift) = (f64::from(self.error[k]), f64::from(self.drift[k]));
            let trust = n / (n + PRIOR_BLOCKS);
            let error = (expected + trust * (own - expected)).max(1e-9);
            if k > 0 {
                trend += trust * (libm::log(error / last) - trend);
            }
            last = error;
            expected = (error * libm::exp(TREND * trend)).min(PRIOR_ERROR);
            let agreed = n * drift * drift;
            *rung = Rung {
                level: f64::from(self.level[k]),
                error,
                drift: trust * drift * agreed / (agreed + own).max(1e-9),
                below: factor(self.below[k]),
                above: factor(self.above[k]),
            };
        }
        rungs
    }

    #[expect(clippy::cast_possible_truncation, reason = "kept in single precision")]
    fn close(&mut self, usd: f64, weight: f64) {
        let usd = if usd > 0.0 { usd.min(USD_MAX) } else { 0.0 };
        let weight = if weight > 0.0 { weight.min(WEIGHT_MAX) } else { 0.0 };
        self.seen = self.seen.saturating_add(1);
        self.seen_weight += weight as f32;
        let young = 1.0 / f64::from(self.seen_weight).max(1e-9);
        for (level, block) in self.level.iter_mut().zip(BLOCKS) {
            let steady = 1.0 / (MEMORY_BLOCKS * f64::from(block) + 0.5);
            let gain = steady.max(young).min(1.0 / weight.max(1e-9));
            let old = f64::from(*level);
            *level = (old + gain * (usd - weight * old)).max(0.0) as f32;
        }
        self.climb(usd, weight);
    }

    /// Closes the blocks that end with this step, from the shortest on.
    #[expect(clippy::cast_possible_truncation, reason = "kept in single precision")]
    fn climb(&mut self, usd: f64, weight: f64) {
        let (mut usd, mut weight) = (usd, weight);
        for (k, block) in BLOCKS.into_iter().enumerate() {
            if !self.seen.is_multiple_of(block) {
                return;
            }
            if let Some(below) = k.checked_sub(1) {
                usd = f64::from(core::mem::take(&mut self.usd[below]));
                weight = f64::from(core::mem::take(&mut self.weight[below]));
            }
            if self.seen > block {
                self.judge(k, usd, weight);
            }
            self.issued[k] = self.level[k];
            if k + 1 < RUNGS {
                self.usd[k] += usd as f32;
                self.weight[k] += weight as f32;
            }
        }
    }

    /// Holds a closed block against what rung `k` said of it.
    #[expect(clippy::cast_possible_truncation, reason = "kept in single precision")]
    fn judge(&mut self, k: usize, usd: f64, weight: f64) {
        let forecast = f64::from(self.issued[k]) * weight;
        let larger = usd.max(forecast);
        // Nothing foretold and nothing spent says nothing of how good a forecast is.
        if larger <= 0.0 {
            return;
        }
        if self.blocks[k] > 0 && forecast > 0.0 {
            let rung = self.rungs()[k];
            let variance = libm::log1p(rung.error);
            let from_median = log_ratio(usd, forecast) + variance / 2.0;
            let reach = Z_90 * libm::sqrt(variance);
            step(&mut self.below[k], from_median < -reach * rung.below);
            step(&mut self.above[k], from_median > reach * rung.above);
        }
        self.blocks[k] = self.blocks[k].saturating_add(1);
        let weight = (1.0 / f64::from(self.blocks[k])).max(ERROR_WEIGHT) as f32;
        let error = ((usd - forecast) / larger) as f32;
        self.error[k] += weight * (error * error - self.error[k]);
        self.drift[k] += weight * (error - self.drift[k]);
    }
}

/// ln(a / b), with both moved up by a tenth of `b`, so that nothing is a number as well.
fn log_ratio(a: f64, b: f64) -> f64 {
    libm::log((a / b + SHIFT) / (1.0 + SHIFT))
}

fn step(factor: &mut i8, missed: bool) {
    let by = if missed { MISS } else { HIT };
    *factor = factor.saturating_add(by).clamp(-FACTOR_MAX, FACTOR_MAX);
}

fn factor(hundredths: i8) -> f64 {
    libm::exp(f64::from(hundredths) / 100.0)
}

/// Step numbers start at one, so that zero can say that nothing was seen.
fn number(step: i64) -> u32 {
    u32::try_from(step.max(1)).unwrap_or(u32::MAX)
}

kept!(Forecaster {
    level,
    issued,
    error,
    drift,
    usd,
    weight,
    blocks,
    below,
    above,
    seen,
    seen_weight,
    next,
});
