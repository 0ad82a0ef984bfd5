//! The scoring rules of the Numenta Anomaly Benchmark, version 1.1 (Lavin and Ahmad, ICMLA 2015,
//! doi:10.1109/ICMLA.2015.141, section II; and its `nab/sweeper.py`).
//!
//! In a window only the earliest detection counts, the more the earlier; a window without one costs
//! a miss; every detection outside of all windows costs a false alarm, less shortly after one.

use std::ops::RangeInclusive;

/// What hits, false alarms and misses weigh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    hit: f64,
    false_alarm: f64,
    miss: f64,
}

/// The three profiles of the benchmark.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile { name: "standard", hit: 1.0, false_alarm: 0.11, miss: 1.0 },
    Profile { name: "low_fp", hit: 1.0, false_alarm: 0.22, miss: 1.0 },
    Profile { name: "low_fn", hit: 1.0, false_alarm: 0.11, miss: 2.0 },
];

/// One series with its truth: windows in order, as record numbers from 0.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) records: usize,
    pub(crate) windows: Vec<RangeInclusive<usize>>,
}

impl Truth {
    /// Records at the beginning that are not judged.
    pub(crate) fn probation(&self) -> usize {
        (self.records * 15 / 100).min(750)
    }

    /// The sum of rewards and costs of detections, which come in order.
    pub(crate) fn raw(&self, detections: &[usize], profile: Profile) -> f64 {
        let mut sum = 0.0;
        let mut found = vec![false; self.windows.len()];
        for &record in detections.iter().filter(|&&record| record >= self.probation()) {
            let inside = self.windows.iter().position(|window| window.contains(&record));
            if let Some(window) = inside {
                if !found[window] {
                    found[window] = true;
                    sum += profile.hit * reward(record, &self.windows[window]);
                }
            } else {
                let before = self.windows.iter().rfind(|window| *window.end() < record);
                sum += profile.false_alarm * before.map_or(-1.0, |window| cost(record, window));
            }
        }
        let missed = found.iter().filter(|&&found| !found).count();
        sum - profile.miss * missed as f64
    }
}

/// From 0, silence, to 100, every window found at its first record and nothing else told.
pub(crate) fn normalised(raw: f64, windows: usize, profile: Profile) -> f64 {
    let windows = windows as f64;
    let (silent, perfect) = (-profile.miss * windows, profile.hit * windows);
    100.0 * (raw - silent) / (perfect - silent)
}

/// 1 at the first record of a window, falling towards 0 at its last.
fn reward(record: usize, window: &RangeInclusive<usize>) -> f64 {
    let length = window.end() - window.start() + 1;
    let left = window.end() - record + 1;
    sigmoid(-(left as f64) / length as f64) / sigmoid(-1.0)
}

/// 0 at the last record of a window, falling to -1 three windows later.
fn cost(record: usize, window: &RangeInclusive<usize>) -> f64 {
    let length = (window.end() - window.start()).max(1);
    let position = (record - window.end()) as f64 / length as f64;
    if position > 3.0 { -1.0 } else { sigmoid(position) }
}

fn sigmoid(position: f64) -> f64 {
    2.0 / (1.0 + libm::exp(5.0 * position)) - 1.0
}
