//! Quantities with their unit in the type. Money and usage are integers, so sums are exact and do
//! not depend on the order in which records arrive; ratios are computed where they are shown.
//!
//! Every bounded number has one door, `try_new` or `FromStr`, and the error prints the accepted
//! range.

pub mod bounds;
pub mod calendar;

use std::fmt;
use std::str::FromStr;

use crate::keep::{Bytes, Keep, Unfit, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A value was outside the range that its type accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value} is out of range, accepted: {accepted}")]
pub struct OutOfRange {
    /// Which quantity, in words.
    pub what: &'static str,
    /// The value as it came.
    pub value: String,
    /// The accepted range, in words.
    pub accepted: &'static str,
}

impl OutOfRange {
    /// Builds the error for `value`.
    pub fn new(what: &'static str, value: impl fmt::Display, accepted: &'static str) -> Self {
        Self { what, value: value.to_string(), accepted }
    }
}

/// When something happened, stamped on the record: milliseconds since 1970-01-01T00:00:00Z.
///
/// For an invocation it is the completion. Accepted: 2014-01-01 (Lambda did not exist before) up to
/// but excluding 2100-01-01, because timestamps are chosen by whoever writes the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventTime(i64);

impl EventTime {
    /// 2014-01-01T00:00:00Z.
    pub const MIN: EventTime = EventTime(1_388_534_400_000);
    /// 2099-12-31T23:59:59.999Z.
    pub const MAX: EventTime = EventTime(4_102_444_799_999);

    /// Milliseconds since the Unix epoch, checked.
    ///
    /// # Errors
    /// Outside 2014-01-01 .. 2100-01-01.
    pub fn try_from_ms(ms: i64) -> Result<Self, OutOfRange> {
        if (Self::MIN.0..=Self::MAX.0).contains(&ms) {
            Ok(Self(ms))
        } else {
            Err(OutOfRange::new("event time (ms)", ms, "2014-01-01 up to 2099-12-31"))
        }
    }

    /// Milliseconds since the Unix epoch, moved into the accepted range. For computed times only,
    /// never for times that were read from a record.
    pub const fn saturating_from_ms(ms: i64) -> Self {
        if ms < Self::MIN.0 {
            Self::MIN
        } else if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: the number of the one-second bucket.
    pub const fn second(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The start of one-second bucket number `second`.
    pub const fn from_second(second: i64) -> Self {
        Self::saturating_from_ms(second.saturating_mul(1_000))
    }

    /// Whole minutes since the Unix epoch, rounded down.
    pub const fn minute(self) -> i64 {
        self.0.div_euclid(60_000)
    }

    /// This time moved by `ms`, kept inside the accepted range.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::saturating_from_ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is later.
    pub const fn since_ms(self, earlier: EventTime) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for EventTime {
    /// RFC 3339, UTC, always three decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{stamp:.3}")
    }
}

impl FromStr for EventTime {
    type Err = OutOfRange;

    /// RFC 3339 with any offset and precision; parts below a millisecond are cut off.
    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let stamp: Timestamp = text
            .parse()
            .map_err(|_| OutOfRange::new("event time", text, "an RFC 3339 date and time"))?;
        Self::try_from_ms(stamp.as_millisecond())
    }
}

impl Serialize for EventTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The wall clock of this process, milliseconds since 1970-01-01T00:00:00Z. Only `runtime/clock.rs`
/// makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessingTime(pub i64);

/// Money in nano-dollars: one Lambda request is 200.
///
/// An `i64` holds 9.2 billion dollars; all arithmetic saturates there, because a sum that large is
/// already beyond any budget and a wrapped one would read as credit.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NanoUsd(pub i64);

impl NanoUsd {
    /// No money.
    pub const ZERO: NanoUsd = NanoUsd(0);
    /// The largest amount that can be told.
    pub const MAX: NanoUsd = NanoUsd(i64::MAX);

    /// Dollars as a float to nano-dollars, rounded; NaN is zero and the ends saturate.
    #[expect(clippy::cast_possible_truncation, reason = "float to integer `as` saturates")]
    pub fn from_usd(usd: f64) -> Self {
        Self((usd * 1e9).round() as i64)
    }

    /// For display and for statistics; exact up to 9 million dollars.
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Saturating sum.
    #[must_use]
    pub const fn plus(self, other: NanoUsd) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Saturating difference.
    #[must_use]
    pub const fn minus(self, other: NanoUsd) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::ops::AddAssign for NanoUsd {
    fn add_assign(&mut self, other: NanoUsd) {
        *self = self.plus(other);
    }
}

impl std::iter::Sum for NanoUsd {
    fn sum<I: Iterator<Item = NanoUsd>>(iter: I) -> Self {
        iter.fold(NanoUsd::ZERO, NanoUsd::plus)
    }
}

impl fmt::Display for NanoUsd {
    /// Dollars with two to six decimals: enough to tell two cents from two thousandths of a cent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usd = self.usd();
        if self.0 == 0 || usd.abs() >= 1.0 {
            write!(f, "${usd:.2}")
        } else if usd.abs() >= 0.01 {
            write!(f, "${usd:.3}")
        } else {
            write!(f, "${usd:.6}")
        }
    }
}

/// Compute time times memory: billed milliseconds × megabytes. One GB-second is 1,024,000.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MbMillis(pub u64);

impl MbMillis {
    /// What one invocation used.
    pub fn of(billed: BilledMs, memory: MemoryMb) -> Self {
        Self(u64::from(billed.get()) * u64::from(memory.get()))
    }

    /// Saturating sum.
    #[must_use]
    pub const fn plus(self, other: MbMillis) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Billed duration in whole milliseconds.
///
/// Accepted: 0 to 3,600,000. Lambda stops at 15 minutes; the rest is room for billed
/// initialisation and for platforms with longer limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BilledMs(u32);

impl BilledMs {
    /// The longest accepted duration.
    pub const MAX_MS: u32 = 3_600_000;

    /// Whole milliseconds, checked.
    ///
    /// # Errors
    /// Above one hour.
    pub fn try_new(ms: u64) -> Result<Self, OutOfRange> {
        match u32::try_from(ms) {
            Ok(ms) if ms <= Self::MAX_MS => Ok(Self(ms)),
            _ => Err(OutOfRange::new("billed duration (ms)", ms, "0 to 3600000")),
        }
    }

    /// A fractional number of milliseconds, rounded up as the platform bills it.
    ///
    /// # Errors
    /// Negative, NaN, infinite or above one hour.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked in the line above"
    )]
    pub fn try_from_f64(ms: f64) -> Result<Self, OutOfRange> {
        // Positive form, so that NaN fails.
        if ms >= 0.0 && ms <= f64::from(Self::MAX_MS) {
            Ok(Self(ms.ceil() as u32))
        } else {
            Err(OutOfRange::new("billed duration (ms)", ms, "0 to 3600000"))
        }
    }

    /// Whole milliseconds.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Configured memory in megabytes. Accepted: 1 to 32,768 (Lambda's own range is 128 to 10,240;
/// other platforms start lower and managed instances go higher).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryMb(u32);

impl MemoryMb {
    /// The largest accepted size.
    pub const MAX_MB: u32 = 32_768;

    /// Megabytes, checked.
    ///
    /// # Errors
    /// Zero or above 32,768.
    pub fn try_new(mb: u64) -> Result<Self, OutOfRange> {
        match u32::try_from(mb) {
            Ok(mb) if (1..=Self::MAX_MB).contains(&mb) => Ok(Self(mb)),
            _ => Err(OutOfRange::new("memory size (MB)", mb, "1 to 32768")),
        }
    }

    /// Megabytes.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A float to the whole number above it; negative and NaN are 0 and the upper end saturates. For
/// counts that come out of statistics.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer `as` saturates, which is what is wanted"
)]
pub fn whole(value: f64) -> u64 {
    value.ceil() as u64
}

/// A twelve-digit account number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AccountId(u64);

impl AccountId {
    /// The account as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl FromStr for AccountId {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && (1..=12).contains(&text.len()) {
            let number = text.parse().map_err(|_| Self::error(text))?;
            Ok(Self(number))
        } else {
            Err(Self::error(text))
        }
    }
}

impl AccountId {
    fn error(text: &str) -> OutOfRange {
        let shown: String = text.chars().take(40).collect();
        OutOfRange::new("account id", shown, "1 to 12 digits")
    }
}

impl Serialize for AccountId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Keep for EventTime {
    fn keep(&self, out: &mut Vec<u8>) {
        self.0.keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        match i64::regain(from)? {
            // What never was set.
            0 => Ok(Self(0)),
            ms => Self::try_from_ms(ms).map_err(|_| Unfit),
        }
    }
}

impl Keep for AccountId {
    fn keep(&self, out: &mut Vec<u8>) {
        self.0.keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        let number = u64::regain(from)?;
        ensure(number < 1_000_000_000_000)?;
        Ok(Self(number))
    }
}

impl Keep for NanoUsd {
    fn keep(&self, out: &mut Vec<u8>) {
        self.0.keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        i64::regain(from).map(Self)
    }
}

impl Keep for MbMillis {
    fn keep(&self, out: &mut Vec<u8>) {
        self.0.keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        u64::regain(from).map(Self)
    }
}

impl Keep for BilledMs {
    fn keep(&self, out: &mut Vec<u8>) {
        self.0.keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        Self::try_new(u32::regain(from)?.into()).map_err(|_| Unfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_time_prints_utc_with_milliseconds_and_reads_itself_back() {
        let time = EventTime::try_from_ms(1_700_000_000_120).unwrap();
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.120Z");
        assert_eq!(time.to_string().parse::<EventTime>().unwrap(), time);
        assert_eq!("2023-11-14T23:13:20.1209+01:00".parse::<EventTime>().unwrap(), time);
    }

    #[test]
    fn times_before_lambda_and_after_the_century_are_refused() {
        for ms in [0, -1, i64::MIN, i64::MAX, EventTime::MIN.ms() - 1, EventTime::MAX.ms() + 1] {
            assert!(EventTime::try_from_ms(ms).is_err(), "{ms}");
        }
        assert!("1970-01-01T00:00:00Z".parse::<EventTime>().is_err());
        assert!("2100-01-01T00:00:00Z".parse::<EventTime>().is_err());
        assert!("yesterday".parse::<EventTime>().is_err());
    }

    #[test]
    fn durations_that_are_not_a_duration_are_refused() {
        for ms in [-0.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3_600_000.5] {
            assert!(BilledMs::try_from_f64(ms).is_err(), "{ms}");
        }
        assert_eq!(BilledMs::try_from_f64(11.642).unwrap().get(), 12);
        assert_eq!(BilledMs::try_new(0).unwrap().get(), 0);
        assert!(MemoryMb::try_new(0).is_err());
        assert!(MemoryMb::try_new(u64::MAX).is_err());
    }

    #[test]
    fn accounts_are_one_to_twelve_digits() {
        assert_eq!("111122223333".parse::<AccountId>().unwrap().to_string(), "111122223333");
        assert_eq!("42".parse::<AccountId>().unwrap().to_string(), "000000000042");
        for bad in ["", "1111222233334", "12a", "-1", "٣"] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn money_saturates_instead_of_turning_into_credit() {
        assert_eq!(NanoUsd::MAX.plus(NanoUsd(1)), NanoUsd::MAX);
        assert_eq!(NanoUsd::from_usd(f64::NAN), NanoUsd::ZERO);
        assert_eq!(NanoUsd::from_usd(2e-7), NanoUsd(200));
        assert_eq!(NanoUsd(1_234_000_000).to_string(), "$1.23");
    }
}
