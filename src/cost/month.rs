//! The billing month: a civil month in UTC, which is how the platform bills. No time-zone database
//! is involved.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use crate::keep::{Bytes, Keep, Unfit, ensure};
use crate::units::EventTime;

/// Milliseconds in an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// A month of a year, UTC. Covers what [`EventTime`] accepts: 2014-01 to 2099-12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Month(
    /// Months since year 0, so that the next month is the next number.
    i32,
);

impl Month {
    /// The month in which `at` lies.
    pub fn of(at: EventTime) -> Self {
        let stamp = Timestamp::from_millisecond(at.ms()).unwrap_or(Timestamp::UNIX_EPOCH);
        let date = Offset::UTC.to_datetime(stamp).date();
        Month(i32::from(date.year()) * 12 + i32::from(date.month()) - 1)
    }

    /// The month after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Month(self.0.saturating_add(1))
    }

    /// Four-digit year.
    pub const fn year(self) -> i32 {
        self.0.div_euclid(12)
    }

    /// 1 to 12.
    pub const fn number(self) -> i32 {
        self.0.rem_euclid(12) + 1
    }

    /// The first instant of the month, kept within the range of [`EventTime`].
    pub fn start(self) -> EventTime {
        self.first_day().map_or(EventTime::MAX, |date| {
            Offset::UTC
                .to_timestamp(date.to_datetime(jiff::civil::Time::midnight()))
                .map_or(EventTime::MAX, |stamp| {
                    EventTime::saturating_from_ms(stamp.as_millisecond())
                })
        })
    }

    /// The first instant of the next month. The last month ends one millisecond early, where
    /// [`EventTime`] ends.
    pub fn end(self) -> EventTime {
        self.next().start()
    }

    /// 28 to 31.
    pub fn days(self) -> u32 {
        self.first_day().map_or(30, |date| u32::from(date.days_in_month().unsigned_abs()))
    }

    /// Hours from `at` to the end of this month; zero when `at` is past it.
    pub fn hours_left(self, at: EventTime) -> f64 {
        self.end().since_ms(at).max(0) as f64 / HOUR_MS
    }

    fn first_day(self) -> Option<Date> {
        let year = i16::try_from(self.year()).ok()?;
        let month = i8::try_from(self.number()).ok()?;
        Date::new(year, month, 1).ok()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year(), self.number())
    }
}

impl Keep for Month {
    fn keep(&self, out: &mut Vec<u8>) {
        self.0.keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        let month = Self(i32::regain(from)?);
        ensure((Self::of(EventTime::MIN)..=Self::of(EventTime::MAX)).contains(&month))?;
        Ok(month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> EventTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_starts_at_midnight_utc_and_ends_where_the_next_begins() {
        for (inside, name, days, start, end) in [
            ("2026-02-14T12:00:00Z", "2026-02", 28, "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("2028-02-29T23:59:59Z", "2028-02", 29, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (
                "2026-12-31T23:59:59.999Z",
                "2026-12",
                31,
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            ("2027-01-01T00:00:00Z", "2027-01", 31, "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
            ("2026-04-30T00:00:00Z", "2026-04", 30, "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"),
        ] {
            let month = Month::of(at(inside));
            assert_eq!(month.to_string(), name);
            assert_eq!(month.days(), days, "{name}");
            assert_eq!(month.start(), at(start), "{name}");
            assert_eq!(month.end(), at(end), "{name}");
            assert_eq!(month.next(), Month::of(month.end()), "{name}");
        }
    }

    #[test]
    fn hours_left_runs_down_to_zero_and_stays_there() {
        let month = Month::of(at("2026-11-01T00:00:00Z"));
        assert_eq!(month.hours_left(month.start()), 720.0);
        assert_eq!(month.hours_left(at("2026-11-30T23:00:00Z")), 1.0);
        assert_eq!(month.hours_left(at("2026-12-05T00:00:00Z")), 0.0);
    }

    #[test]
    fn the_first_and_last_accepted_times_have_a_month() {
        assert_eq!(Month::of(EventTime::MIN).to_string(), "2014-01");
        let last = Month::of(EventTime::MAX);
        assert_eq!(last.to_string(), "2099-12");
        assert_eq!(last.end(), EventTime::MAX);
    }
}
