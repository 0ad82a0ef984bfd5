//! How low a function may be capped.
//!
//! A cap cannot tell users from attackers, so it is the *largest* concurrency whose cost the money
//! allows, and it is never below what legitimate callers need: the 99.9 % quantile of their
//! concurrency, which by Little's law has mean λ·d for λ calls per second of d seconds. The
//! quantile is that of a gamma law with the same mean and with the variance of negative-binomial
//! arrivals, mean + φ·mean².

use statrs::distribution::{ContinuousCDF, Gamma};

use crate::units::whole;

/// Share of the time that legitimate concurrency stays below the quantile.
const LEGITIMATE_QUANTILE: f64 = 0.999;
/// Dispersion is not taken to be larger: such a law has no useful quantile.
const DISPERSION_MAX: f64 = 5.0;

/// What a cap is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// Legitimate calls per second.
    pub expected: f64,
    /// All calls per second that reach the function now, served and throttled.
    pub offered: f64,
    /// Mean duration in seconds.
    pub seconds: f64,
    /// Upper bound of the dispersion of legitimate traffic.
    pub dispersion: f64,
    /// Price of one call, dollars.
    pub usd_per_call: f64,
}

/// A cap and what it means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cap {
    /// Concurrency.
    pub value: u32,
    /// Concurrency that legitimate callers need.
    pub legitimate: u32,
    /// Share of requests, legitimate ones included, that it is expected to refuse.
    pub refused_share: f64,
}

impl Demand {
    /// The concurrency that all requests together ask for.
    pub fn concurrency(&self) -> f64 {
        self.offered * self.seconds
    }

    /// The concurrency that legitimate callers need.
    pub fn legitimate(&self, floor: u32) -> u32 {
        let mean = self.expected * self.seconds;
        // Written positively so that NaN gives the floor.
        if !(mean > 1e-6 && mean < 1e9) {
            return floor;
        }
        let variance = mean + self.dispersion.clamp(0.0, DISPERSION_MAX) * mean * mean;
        let quantile = Gamma::new(mean * mean / variance, mean / variance)
            .map_or(mean, |law| law.inverse_cdf(LEGITIMATE_QUANTILE));
        u32::try_from(whole(quantile)).unwrap_or(u32::MAX).max(floor)
    }

    /// The largest cap that `usd_per_hour` allows, but at least what legitimate callers need.
    pub fn cap(&self, usd_per_hour: f64, floor: u32) -> Cap {
        let legitimate = self.legitimate(floor);
        let per_unit = self.usd_per_call * 3_600.0 / self.seconds.max(1e-3);
        let allowed = (usd_per_hour / per_unit.max(1e-12)).max(0.0).floor();
        let value = u32::try_from(whole(allowed)).unwrap_or(u32::MAX).max(legitimate);
        self.at(value, legitimate)
    }

    /// What a given cap means.
    pub fn at(&self, value: u32, legitimate: u32) -> Cap {
        let asked = self.concurrency();
        let refused_share =
            if asked > 0.0 { (1.0 - f64::from(value) / asked).max(0.0) } else { 0.0 };
        Cap { value, legitimate, refused_share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMAND: Demand = Demand {
        expected: 10.0,
        offered: 400.0,
        seconds: 0.3,
        dispersion: 0.1,
        usd_per_call: 4e-6,
    };

    #[test]
    fn the_cap_is_what_the_money_allows_but_never_below_what_users_need() {
        let rich = DEMAND.cap(1.0, 1);
        assert_eq!(rich.value, 20);
        assert!((rich.refused_share - (1.0 - 20.0 / 120.0)).abs() < 1e-9);
        let poor = DEMAND.cap(0.0, 1);
        assert_eq!(poor.value, poor.legitimate);
        assert!((9..16).contains(&poor.value), "{poor:?}");
    }

    #[test]
    fn nonsense_gives_the_floor() {
        for expected in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Demand { expected, ..DEMAND }.legitimate(2), 2);
        }
        assert_eq!(Demand { offered: 0.0, ..DEMAND }.cap(1.0, 1).refused_share, 0.0);
    }
}
