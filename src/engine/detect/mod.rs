//! Evidence, one file a channel. Evidence is an e-value: a number whose mean is at most one while
//! the function behaves as its baseline allows, however it is looked at; so a large one is rare by
//! Markov's inequality, and how rare is known beforehand.

pub mod aggregate;
pub mod anchor;
pub mod cost;
pub mod leech;
pub mod negative_binomial;
pub mod rate;
pub mod recursion;
pub mod retry;
pub mod size;
pub mod yoyo;

use self::yoyo::YoyoSettings;
use super::accounts::LIFTED_MIN;
use super::alarm::Channel;
use super::settings::DetectionSettings;

#[cfg(test)]
mod tests;

/// The next single-precision number that is not above a number from zero up: evidence that is kept
/// in single precision, as there is so much of it, is never more than it was. Without a branch, as
/// every other one would be taken.
#[expect(clippy::cast_possible_truncation, reason = "rounded down right here")]
pub(super) fn rounded_down(value: f64) -> f32 {
    let near = value as f32;
    f32::from_bits(near.to_bits() - u32::from(f64::from(near) > value))
}

/// Seconds in a day: no channel takes more than one look a second.
const LOOKS_PER_DAY: f64 = 86_400.0;
/// Nor does an account take more than one a minute.
const ACCOUNT_LOOKS_PER_DAY: f64 = 1_440.0;
/// And the cost channel one an hour.
const COST_LOOKS_PER_DAY: f64 = 24.0;
/// The fast rate has half of the promise, because seconds matter to it; the others share the rest.
const FAST_SHARE: f64 = 0.5;

/// The bucket leaks this part of the page floor: bursts that burn the floor a quarter of the time
/// must fill it.
const YOYO_LEAK: f64 = 8.0;
/// And it holds what so many bursts cost that are just not worth a page by themselves.
const YOYO_CAPACITY: f64 = 3.0;
/// A leech is told as if each function that costs money may be told of wrongly once a year. With
/// the promise of the other channels it would take tens of thousands of days; so it never wakes
/// anybody.
const LEECH_DAYS: f64 = 365.0;

/// The evidence at which a channel of one function alarms, so that false alarms over the whole
/// estate keep to the promise: the mean time to a false alarm is at least the threshold, in
/// seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Of [`Channel::RateFast`].
    pub fast: f64,
    /// Of any other.
    pub other: f64,
    /// Of [`Channel::Aggregate`], in minutes. An account with fewer functions than it takes to
    /// speak for one cannot alarm, so the estate has at most so many times fewer accounts.
    pub account: f64,
    /// Of [`Channel::Yoyo`], which counts in dollars.
    pub yoyo: YoyoSettings,
    /// Of [`Channel::Cost`], which counts in hours.
    pub cost: f64,
    /// Of [`Channel::Leech`], which counts in days.
    pub leech: f64,
}

impl Thresholds {
    /// Shares the promise among functions and channels.
    pub fn new(settings: &DetectionSettings) -> Self {
        let looks = LOOKS_PER_DAY * settings.estate_functions as f64 / settings.pages_per_day;
        // The bucket of dollars takes no part in it, and the leech has a promise of its own; the
        // account as a whole is one of them.
        let others = Channel::ALL.len() as f64 - 3.0;
        let other_share = (1.0 - FAST_SHARE) / others;
        let accounts = settings.estate_functions as f64 / f64::from(LIFTED_MIN);
        let account_looks = ACCOUNT_LOOKS_PER_DAY * accounts / settings.pages_per_day;
        Self {
            fast: (looks / FAST_SHARE).max(10.0),
            other: (looks / other_share).max(10.0),
            account: (account_looks / other_share).max(10.0),
            yoyo: YoyoSettings {
                leak_usd_per_hour: settings.page_floor_usd_per_hour / YOYO_LEAK,
                capacity_usd: settings.page_after_usd.max(1e-6) * YOYO_CAPACITY,
            },
            cost: (COST_LOOKS_PER_DAY / LOOKS_PER_DAY * looks / other_share).max(10.0),
            leech: LEECH_DAYS,
        }
    }

    /// The evidence below which an alarm of `channel` is over.
    pub fn clears(&self, channel: Channel) -> f64 {
        match channel {
            // Dollars, which leak away.
            Channel::Yoyo => self.yoyo.capacity_usd / 2.0,
            _ => libm::sqrt(self.of(channel)),
        }
    }

    /// Of `channel`.
    pub fn of(&self, channel: Channel) -> f64 {
        match channel {
            Channel::RateFast => self.fast,
            Channel::Yoyo => self.yoyo.capacity_usd,
            Channel::Cost => self.cost,
            Channel::Leech => self.leech,
            Channel::Aggregate => self.account,
            _ => self.other,
        }
    }
}
