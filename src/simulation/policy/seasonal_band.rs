//! The seasonal band of a cloud monitor: what minutes of this hour were like in the past, give or
//! take three standard deviations; three minutes above it in a row stop the function. (CloudWatch
//! user guide, "Using CloudWatch anomaly detection": hourly, daily and weekly patterns; two to
//! three is the usual width.)

use super::meter::{Meter, ThreeOfThree};
use super::{Claims, Policy, Second, names};
use crate::simulation::plant::SharedPlant;
use crate::simulation::scenario::Scenario;

/// Half the width of the band, in standard deviations.
const WIDTH: f64 = 3.0;
/// Minutes of the same hour that are needed; with fewer all hours count alike.
const MINUTES_MIN: f64 = 30.0;

/// Number, sum and sum of squares of minutes.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    fn upper(&self) -> f64 {
        let mean = self.sum / self.count.max(1.0);
        let variance = (self.squares / self.count.max(1.0) - mean * mean).max(mean).max(1.0);
        mean + WIDTH * libm::sqrt(variance)
    }
}

/// Stops a function after three minutes above its band.
#[derive(Debug)]
pub struct SeasonalBand {
    meter: Meter,
    /// By function: each hour of the day, then all of them.
    past: Vec<[Moments; 25]>,
    alarm: ThreeOfThree,
}

impl SeasonalBand {
    /// Learns its bands from the past.
    pub fn new(scenario: &Scenario) -> Self {
        let functions = scenario.functions.len();
        Self {
            meter: Meter::new(functions),
            past: vec![[Moments::default(); 25]; functions],
            alarm: ThreeOfThree::new(names(scenario)),
        }
    }
}

impl Policy for SeasonalBand {
    fn name(&self) -> &'static str {
        "seasonal band"
    }

    fn second(&mut self, second: &Second<'_>, plant: &SharedPlant) {
        if let Some((minute, counts)) = self.meter.second(second) {
            let hour = usize::try_from(minute.div_euclid(60).rem_euclid(24)).unwrap_or(0);
            for (function, count) in counts.into_iter().enumerate() {
                let past = &mut self.past[function];
                if second.in_window {
                    let own = past[hour].count >= MINUTES_MIN;
                    let upper = if own { past[hour].upper() } else { past[24].upper() };
                    self.alarm.minute(function, count as f64 > upper, second.end);
                } else {
                    past[hour].add(count as f64);
                    past[24].add(count as f64);
                }
            }
        }
        self.alarm.second(second.end, plant);
    }

    fn claims(&self) -> Claims {
        self.alarm.claims()
    }
}
