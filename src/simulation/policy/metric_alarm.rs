//! An alarm of a cloud monitor on invocations a minute, three of three periods, with a fixed
//! threshold that somebody set by what they had seen: twice the busiest minute of the past.

use super::meter::{LEAST, Meter, ThreeOfThree};
use super::{Claims, Policy, Second};
use crate::simulation::plant::SharedPlant;
use crate::simulation::scenario::Scenario;

/// The threshold over the busiest minute.
const TIMES_BUSIEST: u64 = 2;

/// Stops a function after three minutes above its threshold.
#[derive(Debug)]
pub struct MetricAlarm {
    meter: Meter,
    busiest: Vec<u64>,
    alarm: ThreeOfThree,
}

impl MetricAlarm {
    /// Learns its thresholds from the past.
    pub fn new(scenario: &Scenario) -> Self {
        let functions = scenario.functions.len();
        Self {
            meter: Meter::new(functions),
            busiest: vec![0; functions],
            alarm: ThreeOfThree::new(scenario),
        }
    }
}

impl Policy for MetricAlarm {
    fn name(&self) -> &'static str {
        "minute alarm 3 of 3"
    }

    fn second(&mut self, second: &Second<'_>, plant: &SharedPlant) {
        if let Some((_, counts)) = self.meter.second(second) {
            for (function, count) in counts.into_iter().enumerate() {
                let busiest = &mut self.busiest[function];
                if second.in_window {
                    let threshold = (*busiest * TIMES_BUSIEST).max(LEAST);
                    self.alarm.minute(function, count > threshold, second.end);
                } else {
                    *busiest = count.max(*busiest);
                }
            }
        }
        self.alarm.second(second.end, plant);
    }

    fn claims(&self) -> Claims {
        self.alarm.claims()
    }
}
