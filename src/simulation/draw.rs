//! Seeded draws. `ChaCha8Rng` is named because its stream is fixed for good, which the generic
//! `StdRng` does not promise; the ways from bits to numbers are written out here for the same
//! reason, and transcendental functions come from `libm`, which is the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of draws.
#[derive(Debug, Clone)]
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// Streams of one seed do not overlap, so one part may draw more without moving another.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in 0.0 .. 1.0.
    pub fn unit(&mut self) -> f64 {
        unit(self.bits())
    }

    /// Uniform in 0 .. `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        below(self.bits(), bound)
    }

    /// Exponential waiting time with the given mean.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// A Poisson count with the given mean, by inversion: one draw for each `POISSON_PART` of the
    /// mean, because the sum of Poisson counts is one.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        self.poisson_of(&PoissonLaw::new(mean))
    }

    /// The same for a mean that is drawn from again and again.
    pub fn poisson_of(&mut self, law: &PoissonLaw) -> u64 {
        let mut left = law.mean;
        let mut count = 0;
        while left > 0.0 {
            let part = left.min(POISSON_PART);
            let none = if part < left { libm::exp(-POISSON_PART) } else { law.none };
            count += inverse_poisson(self.unit(), part, none);
            left -= part;
        }
        count
    }

    /// A standard normal number (Box and Muller, Ann. Math. Stat. 29:610, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(core::f64::consts::TAU * self.unit())
    }

    /// A gamma number with mean 1 and the given variance, above 0 (Marsaglia and Tsang, ACM TOMS
    /// 26:363, 2000; their section 6 for shapes below 1).
    pub fn gamma(&mut self, variance: f64) -> f64 {
        let shape = 1.0 / variance;
        if shape < 1.0 {
            let boost = libm::pow(1.0 - self.unit(), variance);
            return self.gamma_from_one(shape + 1.0) * boost * variance;
        }
        self.gamma_from_one(shape) * variance
    }

    fn gamma_from_one(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            let v = v * v * v;
            if v > 0.0 {
                let u = 1.0 - self.unit();
                if libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                    return d * v;
                }
            }
        }
    }
}

/// The largest mean of one inversion: e^-500 is still a normal number.
const POISSON_PART: f64 = 500.0;

/// The law of a Poisson count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoissonLaw {
    mean: f64,
    /// The probability that the last part of the mean brings none.
    none: f64,
}

impl PoissonLaw {
    /// The law with this mean.
    pub fn new(mean: f64) -> Self {
        let mut last = mean;
        while last > POISSON_PART {
            last -= POISSON_PART;
        }
        Self { mean, none: libm::exp(-last) }
    }
}

fn inverse_poisson(place: f64, mean: f64, none: f64) -> u64 {
    let mut probability = none;
    let mut sum = probability;
    let mut count = 0_u64;
    // Rounding may keep the sum below a place next to 1; so far out no count is drawn any more.
    let most = mean + 40.0 * libm::sqrt(mean) + 40.0;
    while place >= sum && (count as f64) < most {
        count += 1;
        probability *= mean / count as f64;
        sum += probability;
    }
    count
}

/// Bits to a number in 0.0 .. 1.0: the upper 53 bits, as many as an `f64` holds exactly.
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Bits to a number in 0 .. `bound`. The bias is below `bound` / 2^64.
pub fn below(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// The `index`-th value derived from `bits`: the output function of `SplitMix64` (Steele, Lea and
/// Flood, OOPSLA 2014, doi 10.1145/2660193.2660195). For numbers that belong to one thing, such as
/// the address of the fifth user, without keeping a table.
pub fn derive(bits: u64, index: u64) -> u64 {
    let mut z = bits.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream_and_another_stream_differs() {
        let take = |seed, stream| {
            let mut draw = Draw::new(seed, stream);
            (0..8).map(|_| draw.bits()).collect::<Vec<_>>()
        };
        assert_eq!(take(1, 0), take(1, 0));
        assert_ne!(take(1, 0), take(1, 1));
        assert_ne!(take(1, 0), take(2, 0));
    }

    #[test]
    fn draws_stay_in_their_range_at_both_ends() {
        assert_eq!(unit(0), 0.0);
        assert!(unit(u64::MAX) < 1.0);
        assert_eq!(below(0, 7), 0);
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(u64::MAX, 0), 0);
    }

    #[test]
    fn waiting_times_have_the_mean_asked_for() {
        let mut draw = Draw::new(3, 0);
        let sum: f64 = (0..100_000).map(|_| draw.wait(40.0)).sum();
        assert!((sum / 100_000.0 - 40.0).abs() < 0.5, "{sum}");
    }

    #[test]
    fn counts_have_the_mean_and_variance_asked_for() {
        let moments = |draws: Vec<f64>| {
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let square = |draw: &f64| (draw - mean) * (draw - mean);
            (mean, draws.iter().map(square).sum::<f64>() / draws.len() as f64)
        };
        let mut draw = Draw::new(5, 0);
        for mean in [0.02, 3.0, 40.0, 1_300.0] {
            let (found, variance) =
                moments((0..50_000).map(|_| draw.poisson(mean) as f64).collect());
            assert!((found / mean - 1.0).abs() < 0.15, "{mean}: {found}");
            assert!((variance / mean - 1.0).abs() < 0.15, "{mean}: {variance}");
        }
        for asked in [0.05, 0.8, 4.0] {
            let (mean, variance) = moments((0..50_000).map(|_| draw.gamma(asked)).collect());
            assert!((mean - 1.0).abs() < 0.05, "{asked}: {mean}");
            assert!((variance / asked - 1.0).abs() < 0.1, "{asked}: {variance}");
        }
        assert_eq!(draw.poisson(0.0), 0);
    }
}
