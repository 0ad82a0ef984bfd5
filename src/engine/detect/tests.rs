//! What the tests of the channels share: seeded draws and a measured run length.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, Gamma, Poisson, StandardNormal, StandardUniform};

/// Seeded draws.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From the standard normal law.
    pub(super) fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// Whether something of this probability happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        let uniform: f64 = StandardUniform.sample(&mut self.0);
        uniform < probability
    }

    /// A negative-binomial count: a Poisson one whose mean is gamma-distributed.
    pub(super) fn count(&mut self, mean: f64, phi: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        let mean = Gamma::new(1.0 / phi, mean * phi).unwrap().sample(&mut self.0);
        if mean <= 1e-12 { 0 } else { Poisson::new(mean).unwrap().sample(&mut self.0) as u64 }
    }
}

/// Mean number of looks until evidence first reaches `threshold`, over `runs` seeds. A run is cut
/// off at fifty times the threshold, which can only lower the mean.
pub(super) fn run_length<Look: FnMut() -> f64>(
    threshold: f64,
    runs: u64,
    start: impl Fn(u64) -> Look,
) -> f64 {
    let longest = (50.0 * threshold) as u64;
    let lengths = (0..runs).map(|seed| {
        let mut look = start(seed);
        (1..longest).find(|_| look() >= threshold).unwrap_or(longest) as f64
    });
    lengths.sum::<f64>() / runs as f64
}

/// Logarithms of negative-binomial probabilities, by recurrence from that of zero.
pub(super) fn negative_binomial(mean: f64, phi: f64, counts: u32) -> Vec<f64> {
    let size = 1.0 / phi;
    let p = phi * mean / (1.0 + phi * mean);
    let mut ln = vec![size * (-p).ln_1p()];
    for x in (0..counts).map(f64::from) {
        let last = ln[ln.len() - 1];
        ln.push(last + (p * (size + x) / (x + 1.0)).ln());
    }
    ln
}
