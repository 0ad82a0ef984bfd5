//! Bounds on what was counted, and quantiles without interpolation.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Gamma};

use crate::units::whole;

/// Standard normal quantile at 97.5 %: two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// What is left out on either side of a 95 % interval.
const TAIL: f64 = 0.025;

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's score interval (JASA 22:209, 1927) for a share: unlike the textbook one it says
/// something where all or none were found.
pub(super) fn wilson(found: u64, of: u64) -> Option<Interval> {
    if of == 0 || found > of {
        return None;
    }
    let (n, share) = (of as f64, found as f64 / of as f64);
    let z2 = Z * Z;
    let middle = share + z2 / (2.0 * n);
    let half = Z * libm::sqrt(share * (1.0 - share) / n + z2 / (4.0 * n * n));
    let end = |value: f64| (value / (1.0 + z2 / n)).clamp(0.0, 1.0);
    // The ends of nothing and of everything are exact; computed they are off by a rounding.
    let low = if found == 0 { 0.0 } else { end(middle - half) };
    let high = if found == of { 1.0 } else { end(middle + half) };
    Some(Interval { low, high })
}

/// Garwood's exact interval (Biometrika 28:437, 1936) for the mean of a Poisson count.
pub(super) fn poisson(count: u64) -> Interval {
    let quantile = |shape: f64, at: f64| Gamma::new(shape, 1.0).map(|law| law.inverse_cdf(at));
    let low = if count == 0 { Ok(0.0) } else { quantile(count as f64, TAIL) };
    let high = quantile(count as f64 + 1.0, 1.0 - TAIL);
    // Both shapes are positive, so neither can fail; an interval without bounds would be honest.
    Interval { low: low.unwrap_or(0.0), high: high.unwrap_or(f64::MAX) }
}

/// The smallest value that at least the share `at` of the values do not exceed.
pub(super) fn quantile(sorted: &[i64], at: f64) -> Option<i64> {
    let rank = whole(at * sorted.len() as f64).max(1);
    sorted.get(usize::try_from(rank - 1).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(interval: Interval, low: f64, high: f64) {
        let off = (interval.low - low).abs().max((interval.high - high).abs());
        assert!(off < 6e-4 * high.max(1.0), "{interval:?} is not {low} to {high}");
    }

    #[test]
    fn shares_have_the_intervals_that_are_printed_in_tables() {
        // Newcombe, Statistics in Medicine 17:857 (1998), table I, method 3.
        for (found, of, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
            (29, 29, 0.8830, 1.0),
        ] {
            close(wilson(found, of).unwrap(), low, high);
        }
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(2, 1), None);
    }

    #[test]
    fn counts_have_the_exact_intervals_that_are_printed_in_tables() {
        for (count, low, high) in [
            (0, 0.0, 3.6889),
            (1, 0.0253, 5.5716),
            (2, 0.2422, 7.2247),
            (5, 1.6235, 11.6683),
            (10, 4.7954, 18.3904),
            (100, 81.364, 121.627),
        ] {
            close(poisson(count), low, high);
        }
        let many = poisson(1_000_000);
        close(Interval { low: many.low / 1e6, high: many.high / 1e6 }, 0.998_041, 1.001_962);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7], 0.99), Some(7));
        assert_eq!(quantile(&[1, 2, 3, 4], 0.5), Some(2));
        assert_eq!(quantile(&[1, 2, 3, 4, 5], 0.5), Some(3));
        let hundred: Vec<i64> = (1..=100).collect();
        assert_eq!(quantile(&hundred, 0.99), Some(99));
    }
}
