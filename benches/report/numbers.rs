//! Quantiles and sampling intervals.

use statrs::distribution::{Beta, Binomial, ContinuousCDF as _, DiscreteCDF as _, Gamma};

/// Chance that the truth lies beyond one end of an interval.
pub(crate) type Tail = f64;

/// Of the intervals that are shown: 95 % in all.
pub(crate) const SHOWN: Tail = 0.025;
/// Of those that another run is compared by. There are hundreds of numbers, and none of them may
/// look worse by chance.
pub(crate) const COMPARED: Tail = 5e-5;

/// Exact interval of the mean of a Poisson count (Garwood, Biometrika 28, 1936).
pub(crate) fn poisson_interval(count: usize, tail: Tail) -> (f64, f64) {
    let quantile =
        |shape: f64, p: f64| Gamma::new(shape, 1.0).map_or(f64::NAN, |law| law.inverse_cdf(p));
    let low = if count == 0 { 0.0 } else { quantile(count as f64, tail) };
    (low, quantile(count as f64 + 1.0, 1.0 - tail))
}

/// Exact interval of a share (Clopper and Pearson, Biometrika 26, 1934).
pub(crate) fn share_interval(count: usize, of: usize, tail: Tail) -> (f64, f64) {
    let (k, n) = (count as f64, of as f64);
    let quantile =
        |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |law| law.inverse_cdf(p));
    let low = if count == 0 { 0.0 } else { quantile(k, n - k + 1.0, tail) };
    let high = if count == of || of == 0 { 1.0 } else { quantile(k + 1.0, n - k, 1.0 - tail) };
    (low, high)
}

/// Numbers in order, some of which may be missing: a case without a detection has no delay, and
/// counts as longer than any other.
pub(crate) struct Sorted {
    known: Vec<f64>,
    all: usize,
}

impl Sorted {
    pub(crate) fn new(values: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut all = 0;
        let mut known: Vec<f64> = values.into_iter().inspect(|_| all += 1).flatten().collect();
        known.sort_by(f64::total_cmp);
        Self { known, all }
    }

    fn at(&self, index: usize) -> f64 {
        self.known.get(index).copied().unwrap_or(f64::INFINITY)
    }

    /// The nearest-rank quantile; infinite where it falls on a missing one, NaN of nothing.
    pub(crate) fn quantile(&self, p: f64) -> f64 {
        if self.all == 0 {
            return f64::NAN;
        }
        let rank = (p * self.all as f64).ceil().max(1.0) as usize;
        self.at(rank.min(self.all) - 1)
    }

    /// Distribution-free interval of a quantile, from the binomial law of its rank.
    pub(crate) fn quantile_interval(&self, p: f64, tail: Tail) -> (f64, f64) {
        let Ok(rank) = Binomial::new(p, self.all as u64) else {
            return (0.0, f64::INFINITY);
        };
        // So many may be below the quantile, at least and at most.
        let least = (0..self.all).take_while(|&below| rank.cdf(below as u64) <= tail).count();
        let most = (0..self.all).find(|&below| rank.cdf(below as u64) >= 1.0 - tail);
        let low = if least == 0 { 0.0 } else { self.at(least - 1) };
        (low, most.map_or(f64::INFINITY, |most| self.at(most)))
    }
}

/// Three significant digits, for people.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        _ if value.is_infinite() => "never".to_owned(),
        0.0 => "0".to_owned(),
        size if !(1e-3..1e7).contains(&size) => format!("{value:.2e}"),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
