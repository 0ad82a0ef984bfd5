//! Sums of hours or days against an anchor that may grow by one percent a day.
//!
//! The logarithm of a sum, less what the season adds to it, is compared with the anchor: the mean
//! of the last fortnight. The anchor may be taught at most 1 % of growth a day, so a slow ramp
//! cannot make itself normal: it leaves its anchor behind. A busy hour follows a busy hour: what a
//! sum usually takes over from the one before, by the learned correlation, is expected as well. The
//! rest, less an envelope, is standardised with the learned spread and the error of a young anchor,
//! clipped to ±3, and tilted as exp(h·z − h²/2): an e-value for every law that is sub-Gaussian
//! after the clipping with a standardised mean of at most zero. The Shiryaev-Roberts recursion
//! (Shin, Ramdas, Rinaldo, arXiv 2203.03532) runs over these, averaged over a small mixture of
//! tilts. Spread and anchor learn from residuals cut off at 2.5 spreads, so that one wild sum moves
//! them little.

use serde::{Deserialize, Serialize};

use crate::keep::kept;
use crate::units::bounds::{up_to, within};

/// What a sum may be over the anchor, as a logarithm, and in spreads where that is more: the anchor
/// itself errs in proportion to them.
const LN_ENVELOPE: f64 = 0.05;
const SPREADS_ENVELOPE: f64 = 0.2;
/// Tilts of the mixture: from a shift of half a spread to one of two.
const TILTS: [f64; 3] = [0.5, 1.0, 2.0];
/// Standardised residuals are clipped here.
const CLIP: f64 = 3.0;
/// Days that the anchor remembers. An anchor trails steady growth by as many days of
/// it: a fortnight of half a percent a day is just the envelope, a month would be twice that.
const ANCHOR_DAYS: f64 = 14.0;
/// Days that the spread remembers: longer, since an understated one breaks the promise.
const SPREAD_DAYS: f64 = 28.0;
/// Most that the anchor learns upwards in a day.
pub(super) const GROWTH_CAP: f64 = 0.01;
/// Days of plain learning, one week, before anything is tested or capped.
const DAYS_TO_LEARN: f64 = 7.0;
/// A jump by more than this, as a logarithm, in the first week begins it anew: what was before was
/// not yet in use, and an anchor that low would take months to rise.
const LN_JUMP: f64 = 2.08;
/// Spread of sums before any was seen, and the sums that this guess is worth.
const SPREAD_PRIOR: f64 = 0.25;
const PRIOR_SUMS: f64 = 5.0;
/// Sums never count as steadier than this.
const SPREAD_MIN: f64 = 0.05;
/// Sums are never taken to be more alike than this: nothing would be evidence any more.
const CORRELATION_MAX: f64 = 0.9;
/// What is learned from a residual is cut off at so many spreads.
const HUBER: f64 = 2.5;

/// Anchor, spread and evidence of one function's sums, `PER_DAY` of them a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor<const PER_DAY: u32> {
    #[serde(skip)]
    evidence: [f64; TILTS.len()],
    /// Logarithm of the anchor.
    #[serde(deserialize_with = "within::<_, _, 1_000>")]
    level: f32,
    /// Of the residuals.
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000>")]
    variance: f32,
    /// Of a residual and the one before.
    #[serde(deserialize_with = "within::<_, _, 1_000_000>")]
    covariance: f32,
    sums: u32,
    /// The residual before.
    #[serde(skip)]
    before: f32,
}

impl<const PER_DAY: u32> Anchor<PER_DAY> {
    /// Tests one sum, given as a logarithm, to which the season adds `season`. `alike` is how many
    /// sums of its season were seen; `threshold` is in sums. Nothing is tested in the first week.
    pub fn test(&mut self, ln_sum: f64, season: f64, alike: u32, threshold: f64) {
        if self.is_young() {
            return;
        }
        let days = f64::from(self.sums) / f64::from(PER_DAY);
        let young = 1.0 / days.min(ANCHOR_DAYS) + 1.0 / f64::from(alike.saturating_add(1));
        let correlation = self.correlation();
        let fresh = libm::sqrt(1.0 - correlation * correlation);
        let spread = self.spread() * fresh * libm::sqrt(1.0 + young);
        let envelope = LN_ENVELOPE.max(SPREADS_ENVELOPE * self.spread());
        let taken_over = correlation * f64::from(self.before).max(0.0);
        let rest = ln_sum - self.level(season) - taken_over - envelope;
        let z = (rest / spread).clamp(-CLIP, CLIP);
        for (evidence, tilt) in self.evidence.iter_mut().zip(TILTS) {
            let ratio = libm::exp(tilt * z - tilt * tilt / 2.0);
            *evidence = ((*evidence + 1.0) * ratio).min(TILTS.len() as f64 * threshold);
        }
    }

    /// Takes in `sums` silent ones, in closed form. They speak against an excess and teach nothing:
    /// a function that comes back is not to be measured against its absence.
    pub fn silence(&mut self, sums: u64) {
        if sums > 0 {
            self.before = 0.0;
        }
        for (evidence, tilt) in self.evidence.iter_mut().zip(TILTS) {
            let ln_ratio = -CLIP * tilt - tilt * tilt / 2.0;
            let decay = libm::exp(ln_ratio * sums as f64);
            // Sum of the geometric series of the restarts on the way.
            let ratio = libm::exp(ln_ratio);
            *evidence = *evidence * decay + ratio * (1.0 - decay) / (1.0 - ratio);
        }
    }

    /// Learns from one sum, and returns what is left of its residual for the season to learn.
    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    pub fn learn(&mut self, ln_sum: f64, season: f64) -> f64 {
        let jumps = self.is_young() && ln_sum - self.level(season) > LN_JUMP;
        if self.sums == 0 || jumps {
            let variance = (SPREAD_PRIOR * SPREAD_PRIOR) as f32;
            *self = Self { level: (ln_sum - season) as f32, variance, ..Self::default() };
        }
        let spread = self.spread();
        let cut = if self.is_young() { f64::INFINITY } else { HUBER * spread };
        let residual = (ln_sum - self.level(season)).clamp(-cut, cut);
        let (seen, per_day) = (f64::from(self.sums), f64::from(PER_DAY));
        let weight = (1.0 / (SPREAD_DAYS * per_day)).max(1.0 / (seen + PRIOR_SUMS));
        let variance = f64::from(self.variance);
        self.variance = (variance + weight * (residual * residual - variance)) as f32;
        let (both, covariance) = (residual * f64::from(self.before), f64::from(self.covariance));
        self.covariance = (covariance + weight * (both - covariance)) as f32;
        self.before = residual as f32;
        let growth = GROWTH_CAP / per_day;
        let cap = if self.is_young() { f64::INFINITY } else { growth };
        // A spread moves the level by no more than the cap. If more were cut off above and not
        // below, the anchor of an uneven function would sink.
        let steady = (1.0 / (ANCHOR_DAYS * per_day)).min(growth / spread);
        let step = (residual * steady.max(1.0 / (seen + 1.0))).min(cap);
        self.level = (f64::from(self.level) + step) as f32;
        self.sums = self.sums.saturating_add(1);
        residual - step
    }

    /// The evidence for an excess.
    pub fn value(&self) -> f64 {
        self.evidence.iter().sum::<f64>() / TILTS.len() as f64
    }

    /// Logarithm of what a sum of this season is expected to be.
    pub fn level(&self, season: f64) -> f64 {
        f64::from(self.level) + season
    }

    /// How many sums it has learned from.
    pub fn sums(&self) -> u32 {
        self.sums
    }

    /// Whether it is still learning what is normal.
    pub fn is_young(&self) -> bool {
        f64::from(self.sums) < DAYS_TO_LEARN * f64::from(PER_DAY)
    }

    /// Forgets the evidence, keeps what was learned.
    pub fn restart(&mut self) {
        self.evidence = [0.0; TILTS.len()];
    }

    /// What was learned, without what is going on.
    pub fn learned(&self) -> Self {
        Self { evidence: [0.0; TILTS.len()], before: 0.0, ..*self }
    }

    /// Between a sum and the one before. Days are too few to learn it from.
    fn correlation(&self) -> f64 {
        if PER_DAY == 1 {
            return 0.0;
        }
        let variance = f64::from(self.variance).max(SPREAD_MIN * SPREAD_MIN);
        (f64::from(self.covariance) / variance).clamp(0.0, CORRELATION_MAX)
    }

    fn spread(&self) -> f64 {
        libm::sqrt(f64::from(self.variance)).max(SPREAD_MIN)
    }
}

kept!(Anchor<1> { evidence, level, variance, covariance, sums, before });
kept!(Anchor<24> { evidence, level, variance, covariance, sums, before });
