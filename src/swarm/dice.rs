//! Choices of a world, drawn from its seed.

use crate::simulation::draw::Draw;

/// A stream of choices.
#[derive(Debug)]
pub(super) struct Dice(Draw);

/// Streams of draws below this belong to the platform and to its callers.
const FIRST_STREAM: u64 = 1 << 40;

impl Dice {
    /// The choices about `part` of the world of `seed`.
    pub(super) fn new(seed: u64, part: u64) -> Self {
        Self(Draw::new(seed, FIRST_STREAM + part))
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.unit() < probability
    }

    /// A whole number, both ends included.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        let span = u64::from(high.saturating_sub(low)) + 1;
        low + u32::try_from(self.0.below(span)).unwrap_or(0)
    }

    /// A number whose logarithm is uniform.
    pub(super) fn scale(&mut self, low: f64, high: f64) -> f64 {
        low * libm::pow(high / low, self.0.unit())
    }

    /// A number.
    pub(super) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.unit()
    }

    /// One of them.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.0.below(choices.len() as u64)).unwrap_or(0)]
    }
}
