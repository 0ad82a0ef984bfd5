//! How many requests an attack has made after so much activity.

use super::spec::{AttackShape, AttackSpec};
use crate::simulation::draw::{derive, unit};

/// A random flood has another level this often, in milliseconds.
const LEVEL_MS: u64 = 10_000;
/// A geometric flood begins with this share of its rate.
const FIRST_SHARE: f64 = 0.01;

/// The running total of an attack.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    rps: f64,
    shape: AttackShape,
    double_ms: f64,
    active_ms: f64,
    /// For a random flood: what was made before each level, and the level.
    levels: Vec<(f64, f64)>,
}

impl Volume {
    pub(super) fn new(spec: &AttackSpec, rps: f64, bits: u64) -> Self {
        let mut levels = Vec::new();
        if spec.shape == AttackShape::Random {
            let mut before = 0.0;
            for index in 0..=spec.active_ms() / LEVEL_MS {
                let level = 2.0 * rps * unit(derive(bits, 1 << 40 | index));
                levels.push((before, level));
                before += level * LEVEL_MS as f64 / 1_000.0;
            }
        }
        Self {
            rps,
            shape: spec.shape,
            double_ms: spec.double_ms as f64,
            active_ms: spec.active_ms() as f64,
            levels,
        }
    }

    /// Requests in the first `active_ms`, rounded down, so that parts add up to the whole.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rate and time are bounded: at most 2e5 × 86,400"
    )]
    pub(super) fn until(&self, active_ms: u64) -> u64 {
        let ms = active_ms as f64;
        let full = self.rps * ms / 1_000.0;
        let count = match self.shape {
            AttackShape::Constant => full,
            AttackShape::Ramp => full * ms / self.active_ms / 2.0,
            AttackShape::Geometric => {
                let ln2 = core::f64::consts::LN_2;
                let full_at = -libm::log2(FIRST_SHARE) * self.double_ms;
                let growing = ms.min(full_at);
                let grown = FIRST_SHARE * self.double_ms / ln2
                    * (libm::exp(growing / self.double_ms * ln2) - 1.0);
                self.rps * (grown + ms - growing) / 1_000.0
            }
            AttackShape::Random => {
                let index = usize::try_from(active_ms / LEVEL_MS).unwrap_or(usize::MAX);
                let (before, level) = self.levels.get(index).copied().unwrap_or_default();
                before + level * (active_ms % LEVEL_MS) as f64 / 1_000.0
            }
        };
        count as u64
    }
}
