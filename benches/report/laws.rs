//! Laws of call counts, and how far apart they are.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Gamma, Poisson};

/// A negative-binomial count with variance `mean` + `phi`·`mean`²; Poisson when `phi` is 0.
pub(crate) fn negative_binomial(mean: f64, phi: f64, rng: &mut ChaCha8Rng) -> u64 {
    let rate = if phi > 0.0 {
        Gamma::new(1.0 / phi, phi * mean).map_or(mean, |law| law.sample(rng))
    } else {
        mean
    };
    Poisson::new(rate).map_or(0, |law| law.sample(rng) as u64)
}

/// Kullback-Leibler divergence of a negative-binomial law of mean `attack` from one of mean
/// `calm`, of the same dispersion, in nats.
pub(crate) fn divergence(attack: f64, calm: f64, phi: f64) -> f64 {
    attack * (attack / calm).ln()
        + (attack + 1.0 / phi) * ((1.0 + phi * calm) / (1.0 + phi * attack)).ln()
}
