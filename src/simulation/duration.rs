//! How long a function runs: a quantile curve, straight in the logarithm between its knots.
//!
//! One curve serves both measured percentiles and a log-normal law given by two of its quantiles,
//! one draw gives one duration, and the tail is bounded, which a true log-normal's is not.

use crate::units::OutOfRange;

/// The shortest duration, in milliseconds: the smallest that platform logs show is below one
/// millisecond, and a logarithm needs a positive number.
pub const DURATION_MS_MIN: f64 = 0.5;

/// The longest duration in the curve, in milliseconds: one hour, as in `units::BilledMs`.
pub const DURATION_MS_MAX: f64 = 3_600_000.0;

/// Quantiles of the standard normal law at which a log-normal curve is exact; outermost ones cut
/// the tails at 1 in 20,000.
const NORMAL_KNOTS: [(f64, f64); 13] = [
    (0.0, -3.890_592),
    (0.001, -3.090_232),
    (0.01, -2.326_348),
    (0.05, -1.644_854),
    (0.1, -1.281_552),
    (0.25, -0.674_490),
    (0.5, 0.0),
    (0.75, 0.674_490),
    (0.9, 1.281_552),
    (0.95, 1.644_854),
    (0.99, 2.326_348),
    (0.999, 3.090_232),
    (1.0, 3.890_592),
];

/// A distribution of durations.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationModel {
    /// Probability and logarithm of milliseconds, both ascending, from 0.0 to 1.0.
    knots: Box<[(f64, f64)]>,
}

impl DurationModel {
    /// A log-normal law with this median and 99th percentile, in milliseconds.
    ///
    /// # Errors
    /// Not 0 < median <= p99 <= one hour.
    pub fn log_normal(median_ms: f64, p99_ms: f64) -> Result<Self, OutOfRange> {
        let ordered = median_ms > 0.0 && median_ms <= p99_ms && p99_ms <= DURATION_MS_MAX;
        if !ordered {
            return Err(OutOfRange::new(
                "median and p99 duration (ms)",
                format!("{median_ms} and {p99_ms}"),
                "0 < median <= p99 <= 3600000",
            ));
        }
        let (low, high) = (libm::log(median_ms), libm::log(p99_ms));
        let sigma = (high - low) / 2.326_348;
        let knot = |(p, z): (f64, f64)| (p, clamp_ln(low + sigma * z));
        Ok(Self { knots: NORMAL_KNOTS.into_iter().map(knot).collect() })
    }

    /// Measured percentiles: (percent, milliseconds), ascending in both, from 0 to 100.
    ///
    /// # Errors
    /// Fewer than two, not from 0 to 100 percent, descending, negative or above one hour.
    pub fn percentiles(points: &[(f64, f64)]) -> Result<Self, OutOfRange> {
        let ends = (points.first(), points.last());
        let whole =
            matches!(ends, (Some((a, _)), Some((b, _))) if *a <= 0.0 && *b >= 100.0 && a < b);
        let rises = |pair: &[(f64, f64)]| match pair {
            [(p, a), (q, b)] => p < q && *a >= 0.0 && a <= b && *b <= DURATION_MS_MAX,
            _ => false,
        };
        let ascending = points.windows(2).all(rises);
        if !whole || !ascending {
            let shown: Vec<_> = points.iter().take(12).map(|(_, ms)| ms.to_string()).collect();
            return Err(OutOfRange::new(
                "duration percentiles (ms)",
                shown.join(" "),
                "0 to 3600000, none below the one before it",
            ));
        }
        let knot = |&(percent, ms): &(f64, f64)| (percent / 100.0, clamp_ln(libm::log(ms)));
        Ok(Self { knots: points.iter().map(knot).collect() })
    }

    /// The quantile at `p` (0.0 .. 1.0), in milliseconds: feed a uniform draw to sample.
    pub fn quantile(&self, p: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.0 <= p);
        let last = self.knots.len() - 1;
        let (p0, y0) = self.knots[above.saturating_sub(1).min(last)];
        let (p1, y1) = self.knots[above.min(last)];
        let share = if p1 > p0 { (p - p0) / (p1 - p0) } else { 0.0 };
        libm::exp(y0 + (y1 - y0) * share)
    }
}

fn clamp_ln(ln_ms: f64) -> f64 {
    ln_ms.clamp(libm::log(DURATION_MS_MIN), libm::log(DURATION_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_normal_has_the_median_and_the_p99_it_was_given() {
        let model = DurationModel::log_normal(300.0, 1_200.0).unwrap();
        assert!((model.quantile(0.5) - 300.0).abs() < 1e-6);
        assert!((model.quantile(0.99) - 1_200.0).abs() < 1e-6);
        assert!(model.quantile(0.999_999) < 4_000.0);
    }

    #[test]
    fn percentiles_are_met_and_zero_is_lifted_to_the_shortest_duration() {
        let points =
            [(0.0, 0.0), (1.0, 0.0), (25.0, 2.0), (50.0, 8.0), (99.0, 40.0), (100.0, 90.0)];
        let model = DurationModel::percentiles(&points).unwrap();
        assert!((model.quantile(0.0) - DURATION_MS_MIN).abs() < 1e-9);
        assert!((model.quantile(0.25) - 2.0).abs() < 1e-9);
        assert!((model.quantile(0.375) - 4.0).abs() < 1e-9);
        assert!((model.quantile(1.0) - 90.0).abs() < 1e-9);
    }

    #[test]
    fn curves_that_are_not_a_distribution_are_refused() {
        for (median, p99) in [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (1.0, 4e6)] {
            assert!(DurationModel::log_normal(median, p99).is_err(), "{median} {p99}");
        }
        for points in [
            &[][..],
            &[(0.0, 1.0)],
            &[(0.0, 1.0), (99.0, 2.0)],
            &[(1.0, 1.0), (100.0, 2.0)],
            &[(0.0, 2.0), (100.0, 1.0)],
            &[(0.0, -1.0), (100.0, 1.0)],
            &[(0.0, 1.0), (100.0, f64::NAN)],
        ] {
            assert!(DurationModel::percentiles(points).is_err(), "{points:?}");
        }
    }
}
