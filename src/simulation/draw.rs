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
}
