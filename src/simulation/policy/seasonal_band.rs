//! The seasonal band of a cloud monitor: what minutes of this hour of the day were like over two
//! weeks, give or take three standard deviations; three minutes above it in a row stop the
//! function.
//! (CloudWatch user guide, "Using CloudWatch anomaly detection": it trains on up to two weeks and
//! knows hourly, daily and weekly patterns; two to three is the usual width.)
//!
//! A scenario's past may be shorter than two weeks, so the band does not come from it but from the
//! rates by which the load is drawn.

use super::meter::{LEAST, Meter, ThreeOfThree};
use super::{Claims, Policy, Second};
use crate::simulation::plant::SharedPlant;
use crate::simulation::scenario::{Load, Pace, Scenario};
use crate::units::EventTime;

/// Half the width of the band, in standard deviations.
const WIDTH: f64 = 3.0;
/// Minutes of the past: two weeks.
const PAST_MINUTES: i64 = 14 * 24 * 60;

/// Stops a function after three minutes above its band.
#[derive(Debug)]
pub struct SeasonalBand {
    meter: Meter,
    /// Of each function the upper edge by hour of the day, UTC.
    upper: Vec<[f64; 24]>,
    alarm: ThreeOfThree,
}

impl SeasonalBand {
    /// Knows its bands from what the load is known to be.
    pub fn new(scenario: &Scenario) -> Self {
        let functions = scenario.functions.len();
        Self {
            meter: Meter::new(functions),
            upper: (0..functions).map(|function| upper(scenario, function)).collect(),
            alarm: ThreeOfThree::new(scenario),
        }
    }
}

impl Policy for SeasonalBand {
    fn name(&self) -> &'static str {
        "seasonal band"
    }

    fn second(&mut self, second: &Second<'_>, plant: &SharedPlant) {
        if let Some((minute, counts)) = self.meter.second(second)
            && second.in_window
        {
            for (function, count) in counts.into_iter().enumerate() {
                let upper = self.upper[function][hour(minute)].max(LEAST as f64);
                self.alarm.minute(function, count as f64 > upper, second.end);
            }
        }
        self.alarm.second(second.end, plant);
    }

    fn claims(&self) -> Claims {
        self.alarm.claims()
    }
}

fn hour(minute: i64) -> usize {
    usize::try_from(minute.div_euclid(60).rem_euclid(24)).unwrap_or(0)
}

/// Number, sum and sum of squares of minutes, and what chance adds to their variance.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
    chance: f64,
}

impl Moments {
    fn upper(&self) -> f64 {
        let count = self.count.max(1.0);
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0) + self.chance / count;
        mean + WIDTH * libm::sqrt(variance)
    }
}

/// The upper edges of a function's bands.
fn upper(scenario: &Scenario, function: usize) -> [f64; 24] {
    let loads: Vec<&Load> =
        scenario.loads.iter().filter(|load| load.function == function).collect();
    let mut past = [Moments::default(); 24];
    // What was recorded does not reach further back than the scenario's past.
    let is_recorded = loads.iter().any(|load| load.pace.is_recorded());
    let recorded = i64::try_from(scenario.past_ms / 60_000).unwrap_or(0);
    let minutes = if is_recorded { recorded.min(PAST_MINUTES) } else { PAST_MINUTES };
    for minute in scenario.start.minute() - minutes..scenario.start.minute() {
        let of = loads.iter().map(|load| of_minute(scenario, load, minute));
        let (mean, chance) = of.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let moments = &mut past[hour(minute)];
        moments.count += 1.0;
        moments.sum += mean;
        moments.squares += mean * mean;
        moments.chance += chance;
    }
    let upper = past.map(|moments| (moments.count > 0.0).then(|| moments.upper()));
    // Hours that nobody has seen are taken for the busiest.
    let busiest = upper.iter().flatten().copied().fold(0.0, f64::max);
    upper.map(|upper| upper.unwrap_or(busiest))
}

/// Mean and variance of a load's calls in a minute.
fn of_minute(scenario: &Scenario, load: &Load, minute: i64) -> (f64, f64) {
    let begin = EventTime::saturating_from_ms(minute * 60_000);
    let mean = 60.0 * load.pace.mean_rps() * load.season.factor(begin, scenario.start);
    match &load.pace {
        Pace::Random { dispersion, .. } => {
            // m + d × m² for each second.
            (mean, mean + dispersion * mean * mean / 60.0)
        }
        // A geometric number of requests comes with each user: E[N²] / E[N] = 2 E[N] − 1.
        Pace::Sessions { requests, .. } => (mean, mean * (2.0 * requests - 1.0)),
        Pace::Beat { every_ms, calls } => {
            let beats = |ms: i64| (ms - 1).div_euclid(every_ms.cast_signed());
            let beats = beats(begin.ms() + 60_000) - beats(begin.ms());
            (beats as f64 * f64::from(*calls), 0.0)
        }
        Pace::Recorded { counts, .. } | Pace::Replayed { counts } => {
            let place = usize::try_from(minute - scenario.begin().minute()).ok();
            let count = place.and_then(|place| counts.get(place)).copied().unwrap_or(0);
            (f64::from(count), 0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::simulation::recording::unread;
    use crate::simulation::scenario::read_text;

    fn bands(load: &str) -> [f64; 24] {
        let text = format!(
            "question = \"?\"\n[time]\npast = \"3h\"\n[[function]]\nname = \"f\"\n\
             trigger = \"rest\"\n[[load]]\nfunction = \"f\"\n{load}"
        );
        upper(&read_text(Path::new("t.toml"), &text, unread).unwrap(), 0)
    }

    #[test]
    fn the_band_is_the_mean_of_the_hour_and_three_standard_deviations() {
        // 10 a second: mean 600, variance 600; dispersed 60 × (10 + 0.5 × 100) = 3,600.
        let steady = bands("rps = 10");
        assert!(steady.iter().all(|upper| (upper - 600.0 - 3.0 * 600.0_f64.sqrt()).abs() < 1e-6));
        let wild = bands("rps = 10\ndispersion = 0.5");
        assert!((wild[7] - 780.0).abs() < 1e-6, "{}", wild[7]);
        // Five beats of 30 within an hour: 150 / 60 a minute, variance 5 × 900 / 60 − 2.5².
        let beat = bands("every = \"12m\"\ncalls = 30");
        let expected = 2.5 + 3.0 * (75.0_f64 - 6.25).sqrt();
        assert!((beat[3] - expected).abs() < 1e-6, "{} {expected}", beat[3]);
    }

    #[test]
    fn each_hour_of_the_day_has_its_own_band() {
        let bands = bands("rps = 10\ndaily = 0.5\npeak_hour = 18");
        assert!(bands[18] > 900.0 && bands[6] < 400.0, "{bands:?}");
    }
}
