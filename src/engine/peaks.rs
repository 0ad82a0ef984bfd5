//! When a function is busy: its highest rates by hour of the day (weekdays and weekends apart) and
//! by minute of the hour, so that the nightly batch and the cron job at the full hour are no news,
//! and a flood at an hour or a minute at which nothing ever happens is.
//!
//! A calendar that is believed too early makes false alarms. So each of the two has to earn it: it
//! counts only after it has foretold every busy minute for a while (a week for the hours, two days
//! for the minutes). One busy minute that it did not foretell, and the waiting starts anew; until
//! then the highest minute of all, whenever it was, is what may come back.
//!
//! Times are UTC. What is remembered fades with the calendar, not with use: after a long silence it
//! has faded as much as it would have with traffic.

use serde::{Deserialize, Serialize};

use super::learned::MINUTES_MAX;
use crate::keep::kept;
use crate::units::bounds::{array, up_to};
use crate::units::calendar::hour_slot;

/// Half-life of the highest minute of all, in minutes: two days.
const HALF_LIFE: f64 = 2_880.0;
/// An hour's peak fades to half in twelve days: from Sunday to Saturday by less than is tolerated.
const HOUR_FADE: u8 = 1;
/// A minute's peak fades to half in two days.
const MINUTE_FADE: u8 = 6;
/// Steps of a code per factor of two: a step is 6 %, and codes reach 32,000 calls a second. What is
/// beyond is never foretold, so that the highest minute of all goes on to count.
const OCTAVE: f64 = 12.0;
/// Rates below 2 to the power of minus this, per second, count as none: one call a minute.
const LOWEST: f64 = 6.0;
/// A minute this many times what was foretold was not foretold; the envelope's default.
const FORETOLD: f64 = 1.6;
/// Minutes without surprise after which the hours, and the minutes, are believed.
const HOURS_PROOF: u32 = 7 * DAY;
const MINUTES_PROOF: u32 = 2 * DAY;
const DAY: u32 = 1_440;
/// The hour is told apart in so many parts, of two minutes each.
const MINUTES: usize = 30;
/// So close to its edge an hour is as busy as its neighbour.
const EDGE_MINUTES: u32 = 15;

/// Highest rates, in calls per second, by time of day and of the hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peaks {
    /// The highest of all, fading.
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000>")]
    highest: f32,
    /// And what it was when the day began.
    #[serde(default, deserialize_with = "up_to::<_, _, 1_000_000_000>")]
    before_today: f32,
    /// The day, counted from the epoch, up to which the rest has faded.
    day: u16,
    /// The minute, counted from the epoch, since which the hours have foretold everything.
    #[serde(deserialize_with = "up_to::<_, _, MINUTES_MAX>")]
    hours_since: u32,
    #[serde(deserialize_with = "up_to::<_, _, MINUTES_MAX>")]
    minutes_since: u32,
    #[serde(with = "array")]
    hours: [u8; 48],
    #[serde(with = "array")]
    minutes: [u8; MINUTES],
}

impl Default for Peaks {
    fn default() -> Self {
        Self {
            highest: 0.0,
            before_today: 0.0,
            day: 0,
            hours_since: 0,
            minutes_since: 0,
            hours: [0; 48],
            minutes: [0; MINUTES],
        }
    }
}

impl Peaks {
    /// Learns that in minute `number` since the epoch the rate was surely at least `rate`. That
    /// time has passed is told apart, by [`Peaks::pass`].
    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    pub fn minute(&mut self, number: u32, rate: f64) {
        self.fade(number, 0);
        // In the positive form, so that NaN is nothing; no platform starts a billion a second.
        let rate = if rate > 0.0 { rate.min(1e9) } else { 0.0 };
        if code(rate) == 0 {
            return;
        }
        if rate > f64::from(self.by_hour(number)) * FORETOLD {
            self.hours_since = number;
        }
        if rate > f64::from(self.by_minute(number)) * FORETOLD {
            self.minutes_since = number;
        }
        self.highest = self.highest.max(rate as f32);
        let hour = &mut self.hours[slot(number)];
        *hour = (*hour).max(code(rate));
        let minute = &mut self.minutes[(number % 60) as usize / 2];
        *minute = (*minute).max(code(rate));
    }

    /// The highest rate of all, whenever it was.
    pub fn highest(&self) -> f64 {
        self.highest.into()
    }

    /// The highest rate of all before today.
    pub fn before_today(&self) -> f64 {
        self.before_today.into()
    }

    /// So many minutes have passed, up to and with `number`.
    pub fn pass(&mut self, number: u32, minutes: u64) {
        self.fade(number, minutes);
    }

    /// So many minutes up to `number` were seen by nobody: they neither fade anything nor prove
    /// that it was foretold.
    pub fn skip(&mut self, number: u32, minutes: u32) {
        let days = (number / DAY).saturating_sub(number.saturating_sub(minutes) / DAY);
        self.day = self.day.saturating_add(u16::try_from(days).unwrap_or(u16::MAX));
        self.hours_since = self.hours_since.saturating_add(minutes);
        self.minutes_since = self.minutes_since.saturating_add(minutes);
    }

    /// The highest rate that is known to be normal in minute `number`.
    pub fn allowed(&self, number: u32) -> f64 {
        let mut allowed = self.highest;
        if number.saturating_sub(self.hours_since) >= HOURS_PROOF {
            allowed = allowed.min(self.by_hour(number));
        }
        if number.saturating_sub(self.minutes_since) >= MINUTES_PROOF {
            allowed = allowed.min(self.by_minute(number));
        }
        f64::from(allowed)
    }

    fn by_hour(&self, number: u32) -> f32 {
        let minute = number % 60;
        let mut highest = self.hours[slot(number)];
        if minute < EDGE_MINUTES {
            highest = highest.max(self.hours[slot(number.saturating_sub(60))]);
        }
        if minute >= 60 - EDGE_MINUTES {
            highest = highest.max(self.hours[slot(number.saturating_add(60))]);
        }
        rate(highest)
    }

    /// A job's minute may slip by one.
    fn by_minute(&self, number: u32) -> f32 {
        let at = |minute: u32| self.minutes[(minute % 60) as usize / 2];
        rate(at(number % 60).max(at(number % 60 + 1)).max(at(number % 60 + 59)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    fn fade(&mut self, number: u32, minutes: u64) {
        if self.day == 0 {
            (self.day, self.hours_since, self.minutes_since) = (day_of(number), number, number);
        }
        self.highest *= libm::exp2(-(minutes as f64) / HALF_LIFE) as f32;
        let days = day_of(number).saturating_sub(self.day);
        if days == 0 {
            return;
        }
        self.day = day_of(number);
        self.before_today = self.highest;
        let days = u8::try_from(days).unwrap_or(u8::MAX);
        let faded = days.saturating_mul(HOUR_FADE);
        self.hours.iter_mut().for_each(|hour| *hour = hour.saturating_sub(faded));
        let faded = days.saturating_mul(MINUTE_FADE);
        self.minutes.iter_mut().for_each(|minute| *minute = minute.saturating_sub(faded));
    }
}

/// Days since the epoch; event time ends before they would overflow.
fn day_of(number: u32) -> u16 {
    u16::try_from(number / DAY).unwrap_or(u16::MAX)
}

/// Place of the hour of minute `number`.
fn slot(number: u32) -> usize {
    hour_slot(i64::from(number / 60))
}

/// A rate as a logarithm, rounded up; 0 for next to nothing.
fn code(rate: f64) -> u8 {
    if rate <= 0.0 {
        return 0;
    }
    let steps = libm::ceil((libm::log2(rate) + LOWEST) * OCTAVE);
    u8::try_from(crate::units::whole(steps)).unwrap_or(u8::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
fn rate(code: u8) -> f32 {
    if code == 0 {
        return 0.0;
    }
    libm::exp2(f64::from(code) / OCTAVE - LOWEST) as f32
}

kept!(Peaks { highest, before_today, day, hours_since, minutes_since, hours, minutes });

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday.
    const MONDAY: u32 = 20_514 * DAY;

    fn after(days: u32, rate_at: impl Fn(u32) -> f64) -> Peaks {
        let mut peaks = Peaks::default();
        (MONDAY..MONDAY + days * DAY).for_each(|minute| one(&mut peaks, minute, rate_at(minute)));
        peaks
    }

    fn one(peaks: &mut Peaks, minute: u32, rate: f64) {
        peaks.pass(minute, 1);
        peaks.minute(minute, rate);
    }

    fn close(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 0.13
    }

    #[test]
    fn a_cron_job_is_allowed_at_its_minute_only_once_it_has_kept_to_it_for_two_days() {
        let cron = |minute: u32| if minute % 60 == 5 { 100.0 } else { 0.1 };
        let peaks = after(1, cron);
        assert!(close(peaks.allowed(MONDAY + DAY + 30), 100.0), "the highest, just now");
        let peaks = after(4, cron);
        let next = MONDAY + 4 * DAY;
        assert!(close(peaks.allowed(next + 5), 100.0), "{}", peaks.allowed(next + 5));
        assert!(peaks.allowed(next + 6) > 50.0, "it may slip by a minute");
        assert!(peaks.allowed(next + 30) < 0.2, "{}", peaks.allowed(next + 30));
    }

    #[test]
    fn a_busy_hour_is_allowed_at_its_hour_only_once_it_has_kept_to_it_for_a_week() {
        let day = |minute: u32| if (minute % DAY) / 60 == 14 { 50.0 } else { 1.0 };
        let night = 14 * DAY + 3 * 60 + 30;
        assert!(after(5, day).allowed(MONDAY + 5 * DAY + 3 * 60 + 30) > 20.0);
        let peaks = after(14, day);
        assert!(peaks.allowed(MONDAY + night) < 1.3, "{}", peaks.allowed(MONDAY + night));
        assert!(peaks.allowed(MONDAY + 14 * DAY + 14 * 60 + 30) > 30.0);
    }

    #[test]
    fn a_burst_at_an_odd_time_takes_the_trust_away_again() {
        let mut peaks = after(14, |minute| if minute % 60 == 5 { 100.0 } else { 0.1 });
        let next = MONDAY + 14 * DAY;
        (next..next + 40).for_each(|minute| one(&mut peaks, minute, 0.1));
        one(&mut peaks, next + 40, 50.0);
        assert!(peaks.allowed(next + 50) > 40.0);
    }

    #[test]
    fn what_is_remembered_fades_through_silence_as_through_quiet() {
        let mut peaks = after(3, |_| 8.0);
        let mut quiet = peaks;
        let end = MONDAY + 10 * DAY;
        peaks.pass(end - 1, u64::from(7 * DAY));
        (MONDAY + 3 * DAY..end).for_each(|minute| one(&mut quiet, minute, 0.0));
        for minute in (end..end + DAY).step_by(7) {
            let (a, b) = (peaks.allowed(minute), quiet.allowed(minute));
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }

    #[test]
    fn any_rate_and_any_time_are_survived() {
        let mut peaks = Peaks::default();
        for rate in [0.0, -1.0, f64::MIN_POSITIVE, 1e300, f64::INFINITY, f64::NAN] {
            for minute in [0, 1, u32::MAX, 5, u32::MAX - 1] {
                peaks.minute(minute, rate);
                assert!(!peaks.allowed(minute).is_nan());
            }
        }
    }
}
