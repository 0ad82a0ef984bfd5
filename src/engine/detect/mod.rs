//! Evidence, one file a channel. Evidence is an e-value: a number whose mean is at most one while
//! the function behaves as its baseline allows, however it is looked at; so a large one is rare by
//! Markov's inequality, and how rare is known beforehand.

pub mod aggregate;
pub mod duration;
pub mod leech;
pub mod negative_binomial;
pub mod rate;
pub mod recursion;
pub mod retry;
pub mod size;
pub mod yoyo;

use super::settings::DetectionSettings;

#[cfg(test)]
mod tests;

/// Seconds in a day: the rate channel takes one look a second.
const LOOKS_PER_DAY: f64 = 86_400.0;
/// Channels that share the promise.
const CHANNELS: f64 = 2.0;

/// The evidence at which a channel of one function alarms, so that false pages over the whole
/// estate keep to the promise: the mean time to a false alarm is at least the threshold, in looks.
pub fn threshold(settings: &DetectionSettings) -> f64 {
    let looks = LOOKS_PER_DAY * CHANNELS * settings.estate_functions as f64;
    (looks / settings.pages_per_day).max(10.0)
}
