//! The families that a projection mixes, and the first-passage time of a budget. All functions
//! are `libm`'s, so that a replay is equal to the last bit on every machine.
//!
//! **Short horizons**: compound counts, matched to a gamma by its first two moments; its
//! distribution by Wilson and Hilferty's cube root (PNAS 17 (1931) 684, doi
//! 10.1073/pnas.17.12.684): if X is gamma with shape k and mean m, then (X/m)^(1/3) is nearly
//! normal with mean 1 - 1/(9k) and standard deviation 1/(3 sqrt k). The probability is off by at
//! most 0.035 at k = 0.5, 0.01 at 1 and 0.002 from 10 on.
//!
//! **Long horizons**: the level of the traffic is what is uncertain, so a log-normal whose log
//! variance is that of the counts plus that of the level.
//!
//! **Learned horizons**: a log-normal with a width for each side, shifted down by a tenth of the
//! mean so that nothing at all is possible. Every quantile is a multiple of the mean.
//!
//! **C1, monotone in the mean.** Write the variance as a·m + c·m² with a and c fixed.
//! Gamma: t = m/k = a + c·m and k = m/t both rise with m, and the quantile is t·g(k)³ where
//! g(k) = k^(1/3) - k^(-2/3)/9 + z·k^(-1/6)/3. Its slope, 18·k^(5/3)·g' = 6k + 4/3 - z·√k, is
//! positive for every k when z < 5.6. Log-normal: with v = ln(1 + a/m + c) and s² = v + level the
//! quantile is m·exp(z·s - v/2), whose log rises with m when z < 4.1. Points beyond z = 4 count as
//! certain, so both distributions, and every mixture of them, move up and never down with the mean.

use core::f64::consts::{FRAC_1_SQRT_2, PI};

/// Beyond so many standard deviations a point counts as certain: 3 in 100,000, and still within
/// the range in which both families are monotone.
const CERTAIN: f64 = 4.0;

/// Standard normal quantile of 90 %.
pub(super) const Z_90: f64 = 1.281_551_565_544_6;

/// The shift of a learned spread, as a part of its mean.
pub(super) const SHIFT: f64 = 0.1;

/// The largest gamma shape: counts beyond it scatter by less than a millionth.
const SHAPE_MAX: f64 = 1e12;

/// A mean below a thousandth of a nano-dollar is nothing.
const MEAN_MIN: f64 = 1e-12;

/// How a sum of money scatters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spread {
    /// Always zero.
    Nothing,
    /// Mean and shape.
    Gamma { mean: f64, shape: f64 },
    /// Median and standard deviation of the log.
    LogNormal { median: f64, sigma: f64 },
    /// `mean × ((1 + SHIFT) × exp(center + sigma × z) - SHIFT)` with its own sigma on each side of
    /// the center; never negative.
    Shifted { mean: f64, center: f64, below: f64, above: f64 },
}

impl Spread {
    /// A sum with this mean and the variance `per_unit × mean + relative × mean²`.
    pub(super) fn gamma(mean: f64, per_unit: f64, relative: f64) -> Self {
        if mean < MEAN_MIN {
            return Spread::Nothing;
        }
        let shape = (1.0 / (per_unit / mean + relative)).min(SHAPE_MAX);
        Spread::Gamma { mean, shape }
    }

    /// The same counts on top of a level with log variance `level`, whose median is the present
    /// level.
    pub(super) fn log_normal(mean: f64, per_unit: f64, relative: f64, level: f64) -> Self {
        if mean < MEAN_MIN {
            return Spread::Nothing;
        }
        let counts = libm::log1p(per_unit / mean + relative);
        Spread::LogNormal {
            median: mean * libm::exp(-counts / 2.0),
            sigma: libm::sqrt(counts + level).max(1e-9),
        }
    }

    /// A learned spread: where the log's center lies, and how wide its sides are.
    pub(super) fn shifted(mean: f64, center: f64, below: f64, above: f64) -> Self {
        if mean < MEAN_MIN {
            return Spread::Nothing;
        }
        Spread::Shifted { mean, center, below: below.max(1e-9), above: above.max(1e-9) }
    }

    /// The probability of at most `x`.
    pub(super) fn at_most(&self, x: f64) -> f64 {
        let z = match *self {
            Spread::Nothing => return if x >= 0.0 { 1.0 } else { 0.0 },
            _ if x < 0.0 => return 0.0,
            Spread::Gamma { mean, shape } => {
                (libm::cbrt(x / mean) - 1.0 + 1.0 / (9.0 * shape)) * 3.0 * libm::sqrt(shape)
            }
            Spread::LogNormal { median, sigma } => libm::log(x / median) / sigma,
            Spread::Shifted { mean, center, below, above } => {
                let distance = libm::log((x / mean + SHIFT) / (1.0 + SHIFT)) - center;
                distance / if distance < 0.0 { below } else { above }
            }
        };
        if z >= CERTAIN { 1.0 } else { normal(z) }
    }

    /// The point that lies `z` standard deviations from the center.
    pub(super) fn point(&self, z: f64) -> f64 {
        match *self {
            Spread::Nothing => 0.0,
            Spread::Gamma { mean, shape } => {
                let root = 1.0 - 1.0 / (9.0 * shape) + z / (3.0 * libm::sqrt(shape));
                mean * libm::pow(root.max(0.0), 3.0)
            }
            Spread::LogNormal { median, sigma } => median * libm::exp(z * sigma),
            Spread::Shifted { mean, center, below, above } => {
                let sigma = if z < 0.0 { below } else { above };
                let factor = (1.0 + SHIFT) * libm::exp(center + z * sigma) - SHIFT;
                mean * factor.max(0.0)
            }
        }
    }
}

/// Standard normal distribution function.
pub(super) fn normal(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The probability that a level `distance` away was reached by time `t` by a process with drift
/// `drift` and variance `variance` per unit of time: the inverse Gaussian distribution
/// (Folks and Chhikara, JRSS B 40 (1978) 263, doi 10.1111/j.2517-6161.1978.tb01039.x).
pub(super) fn reached_by(t: f64, distance: f64, drift: f64, variance: f64) -> f64 {
    if t <= 0.0 || drift <= 0.0 {
        return 0.0;
    }
    let spread = libm::sqrt(variance * t);
    let ahead = drift * t - distance;
    if spread <= 1e-9 * distance {
        return if ahead >= 0.0 { 1.0 } else { 0.0 };
    }
    // The textbook's second term is exp(huge) × Φ(-huge); in this form both are of ordinary size.
    let b = ahead / spread;
    let a = (drift * t + distance) / spread;
    (normal(b) + libm::exp(-b * b / 2.0) * scaled_tail(a)).min(1.0)
}

/// exp(a²/2) × Φ(-a) for a ≥ 0; by its asymptotic series, which is then good to 2e-10, where one
/// factor nears the end of the number range.
fn scaled_tail(a: f64) -> f64 {
    if a < 30.0 {
        return libm::exp(a * a / 2.0) * normal(-a);
    }
    let r = 1.0 / (a * a);
    (1.0 - r * (1.0 - r * (3.0 - r * 15.0))) / (a * libm::sqrt(2.0 * PI))
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, Gamma, Normal};

    #[test]
    fn the_normal_distribution_agrees_with_a_reference() {
        let reference = Normal::new(0.0, 1.0).unwrap();
        for z in [-6.0, -2.5, -1.2816, -0.1, 0.0, 0.7, 1.2816, 3.9] {
            assert!((normal(z) - reference.cdf(z)).abs() < 1e-9, "{z}");
        }
    }

    #[test]
    fn the_cube_root_gamma_agrees_with_the_exact_one() {
        for (shape, tolerance) in
            [(0.5, 0.035), (1.0, 0.01), (2.0, 0.005), (10.0, 0.002), (1e4, 1e-4)]
        {
            let exact = Gamma::new(shape, shape).unwrap();
            let ours = Spread::Gamma { mean: 1.0, shape };
            for p in [0.1, 0.25, 0.5, 0.75, 0.9, 0.99] {
                let x = exact.inverse_cdf(p);
                let got = ours.at_most(x);
                assert!((got - p).abs() < tolerance, "shape {shape} p {p} got {got}");
            }
        }
    }

    #[test]
    fn first_passage_agrees_with_the_textbook_form_where_that_does_not_overflow() {
        let (distance, drift, variance) = (10.0, 2.0, 3.0);
        let (mean, shape) = (distance / drift, distance * distance / variance);
        for t in [0.5, 2.0, 4.0, 5.0, 6.0, 9.0, 30.0] {
            let root = libm::sqrt(shape / t);
            let textbook = normal(root * (t / mean - 1.0))
                + libm::exp(2.0 * shape / mean) * normal(-root * (t / mean + 1.0));
            let got = reached_by(t, distance, drift, variance);
            assert!((got - textbook).abs() < 1e-5, "{t}: {got} {textbook}");
        }
        assert!(reached_by(1e6, 1e9, 1e3, 1e-3) > 0.4);
        assert_eq!(reached_by(1.0, 1e9, 1e3, 1e-3), 0.0);
    }
}
