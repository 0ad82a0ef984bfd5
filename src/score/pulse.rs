//! One word for one anomaly, and a quieter one each time it comes again.
//!
//! An alarm that is held, or rises with every record of a slow climb, costs as much as many false
//! ones; one that a nightly backup sets off every night soon goes unread.

use std::collections::VecDeque;

use super::largest::Largest;

/// The longest refractory time, in records.
pub const REFRACTORY_RECORDS_MAX: u64 = 1_000;

/// Turns surprises into pulses.
#[derive(Debug)]
pub struct Pulse {
    refractory_share: f64,
    habituation: f64,
    /// Number and surprise of the records of the refractory time that no later one has reached:
    /// the first is the largest of all.
    recent: VecDeque<(u64, f64)>,
    /// The last pulse, which may still rise.
    rising: Option<(u64, f64)>,
    /// Heights of the pulses that are over.
    peaks: Largest,
}

impl Pulse {
    /// With the refractory time as a share of what was seen, and the exponent of habituation.
    pub fn new(refractory_share: f64, habituation: f64) -> Self {
        Self {
            refractory_share,
            habituation,
            recent: VecDeque::new(),
            rising: None,
            peaks: Largest::default(),
        }
    }

    /// The score of record number `number`, counted from 1 without a gap.
    pub fn next(&mut self, surprise: f64, number: u64) -> f64 {
        let time = self.refractory_records(number);
        let is_over = |then: u64| then + time < number;
        while self.recent.front().is_some_and(|&(then, _)| is_over(then)) {
            self.recent.pop_front();
        }
        if let Some((_, height)) = self.rising.take_if(|&mut (then, _)| is_over(then)) {
            self.peaks.insert(height);
        }
        let reached = self.recent.front().map_or(0.0, |&(_, height)| height);
        while self.recent.back().is_some_and(|&(_, height)| height <= surprise) {
            self.recent.pop_back();
        }
        self.recent.push_back((number, surprise));
        if surprise <= reached {
            return 0.0;
        }
        self.rising = Some((number, surprise));
        let peers = self.peaks.at_least(surprise);
        surprise / libm::pow(1.0 + peers as f64, self.habituation)
    }

    fn refractory_records(&self, number: u64) -> u64 {
        let share = crate::units::whole(self.refractory_share * number as f64);
        share.clamp(2, REFRACTORY_RECORDS_MAX)
    }
}
