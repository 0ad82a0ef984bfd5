//! What is compared: bursar and three bands that cloud monitors offer.
//!
//! The bands get what bursar gives itself: they learn from the past only, say nothing of the first
//! day, and tell only the record with which the metric leaves the band.

use bursar::score::{Scorer, Settings};

use crate::input::Series;

/// Records that the rolling window and the exponential averages look back on: a day of five-minute
/// values.
const SPAN: usize = 288;

/// Values that a standard deviation is taken of, at the least.
const VALUES_MIN: f64 = 5.0;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// What each record scores, and how a threshold makes detections of it.
#[derive(Debug)]
pub(crate) struct Scored {
    scores: Vec<f64>,
    is_band: bool,
}

/// A detector under its name, with its usual threshold; bursar has its own.
pub(crate) struct Detector {
    pub(crate) name: &'static str,
    pub(crate) threshold: Option<f64>,
    pub(crate) run: fn(&Series) -> Scored,
}

/// Three standard deviations are the textbook's threshold.
pub(crate) const DETECTORS: [Detector; 4] = [
    Detector { name: "bursar", threshold: None, run: default_bursar },
    Detector { name: "rolling z-score", threshold: Some(3.0), run: rolling },
    Detector { name: "EWMA band", threshold: Some(3.0), run: ewma },
    Detector { name: "seasonal band", threshold: Some(3.0), run: seasonal },
];

impl Scored {
    /// The records that are told at a threshold, in order.
    pub(crate) fn detections(&self, threshold: f64) -> Vec<usize> {
        let is_out = |record: &usize| self.scores[*record] >= threshold;
        let was_out = |record: &usize| *record > 0 && is_out(&(record - 1));
        let records = (0..self.scores.len()).filter(is_out);
        records.filter(|record| !(self.is_band && was_out(record))).collect()
    }
}

fn default_bursar(series: &Series) -> Scored {
    bursar(series, Settings::default())
}

pub(crate) fn bursar(series: &Series, settings: Settings) -> Scored {
    let mut scorer = Scorer::new(settings);
    let records = series.times.iter().zip(&series.values);
    let scores = records.map(|(&time, &value)| scorer.score(time, value).score).collect();
    Scored { scores, is_band: false }
}

/// Mean and standard deviation of the last values.
fn rolling(series: &Series) -> Scored {
    let mut window = std::collections::VecDeque::new();
    band(series, |_, value| {
        let count = window.len() as f64;
        let mean = window.iter().sum::<f64>() / count;
        let square = window.iter().map(|known: &f64| (known - mean).powi(2)).sum::<f64>() / count;
        window.push_back(value);
        if window.len() > SPAN {
            window.pop_front();
        }
        (count >= VALUES_MIN).then(|| (mean, square.sqrt()))
    })
}

/// Exponentially weighted mean and standard deviation.
fn ewma(series: &Series) -> Scored {
    let mut average = Average::default();
    band(series, |_, value| average.next(value, 2.0 / (SPAN as f64 + 1.0)))
}

/// Mean and standard deviation of the same hour of earlier days.
fn seasonal(series: &Series) -> Scored {
    let mut hours: [Average; 24] = Default::default();
    band(series, |time, value| {
        let hour = time.map_or(0, |time| time.rem_euclid(DAY_MS) / HOUR_MS);
        let average = &mut hours[usize::try_from(hour).unwrap_or_default()];
        average.next(value, 0.0)
    })
}

/// By how many standard deviations each value is off, in either direction. `learn` gives the mean
/// and the standard deviation before a value.
fn band(series: &Series, mut learn: impl FnMut(Option<i64>, f64) -> Option<(f64, f64)>) -> Scored {
    let first = series.times.iter().flatten().next().copied().unwrap_or_default();
    let mut seen = 0;
    let records = series.times.iter().zip(&series.values).map(|(&time, &value)| {
        let Some(value) = value else {
            return 0.0;
        };
        seen += 1;
        let Some((mean, deviation)) = learn(time, value) else {
            return 0.0;
        };
        let day_is_over = time.is_none_or(|time| time - first >= DAY_MS) || seen > 1_440;
        let off = (value - mean).abs();
        if seen <= 50 || !day_is_over || off <= 1e-9 * value.abs() {
            0.0
        } else if deviation > 0.0 {
            off / deviation
        } else {
            f64::INFINITY
        }
    });
    Scored { scores: records.collect(), is_band: true }
}

/// Weighted by at least one over the number of values, so that it begins as a plain mean.
#[derive(Debug, Default)]
struct Average {
    count: f64,
    mean: f64,
    square: f64,
}

impl Average {
    /// Mean and standard deviation before `value`, which is then learned.
    fn next(&mut self, value: f64, weight: f64) -> Option<(f64, f64)> {
        let before = (self.count >= VALUES_MIN).then(|| (self.mean, self.square.sqrt()));
        self.count += 1.0;
        let weight = weight.max(1.0 / self.count);
        let off = value - self.mean;
        self.mean += weight * off;
        self.square = (1.0 - weight) * (self.square + weight * off * off);
        before
    }
}
