//! Rises that are found in the Microsoft cloud monitoring data, and the false alarms beside them.

use std::ops::RangeInclusive;

use crate::input::Series;

/// Records before a segment that show which way it goes.
const BEFORE: usize = 60;

/// What a detector came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) rises: usize,
    pub(crate) found: usize,
    pub(crate) false_alarms: usize,
    pub(crate) days: f64,
}

impl Found {
    /// Adds one series.
    pub(crate) fn add(&mut self, series: &Series, detections: &[usize]) {
        let segments = &series.truth.windows;
        let told = |segment: &RangeInclusive<usize>| {
            detections.iter().any(|record| segment.contains(record))
        };
        let rises = segments.iter().filter(|segment| is_rise(&series.values, segment));
        self.rises += rises.clone().count();
        self.found += rises.filter(|segment| told(segment)).count();
        let outside = |record: &&usize| !segments.iter().any(|segment| segment.contains(record));
        self.false_alarms += detections.iter().filter(outside).count();
        let times = || series.times.iter().flatten();
        let length_ms =
            times().next_back().zip(times().next()).map_or(0, |(last, first)| last - first);
        self.days += length_ms as f64 / 86_400_000.0;
    }

    pub(crate) fn recall(&self) -> f64 {
        self.found as f64 / self.rises as f64
    }

    pub(crate) fn false_alarms_per_day(&self) -> f64 {
        self.false_alarms as f64 / self.days
    }
}

/// Whether a segment reaches further above the median of the records before it than below.
fn is_rise(values: &[Option<f64>], segment: &RangeInclusive<usize>) -> bool {
    let before = &values[segment.start().saturating_sub(BEFORE)..*segment.start()];
    let mut before: Vec<f64> = before.iter().flatten().copied().collect();
    before.sort_by(f64::total_cmp);
    let usual = before.get(before.len() / 2).copied().unwrap_or_default();
    let inside = || values[segment.clone()].iter().flatten().copied();
    let highest = inside().fold(f64::NEG_INFINITY, f64::max);
    let lowest = inside().fold(f64::INFINITY, f64::min);
    highest - usual > usual - lowest
}
