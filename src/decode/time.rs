//! Times as the wire formats write them.

use jiff::Timestamp;

use super::outcome::{Reason, Refused};
use crate::units::EventTime;

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Milliseconds since 1970, checked.
pub(super) fn epoch_ms(ms: i64) -> Result<EventTime, Refused> {
    EventTime::try_from_ms(ms).map_err(|error| Refused::new(Reason::TimeOutOfRange, error))
}

/// RFC 3339 with any offset and precision; parts below a millisecond are cut off.
pub(super) fn rfc3339(field: &str, text: &str) -> Result<EventTime, Refused> {
    if let Some(ms) = utc_ms(text.as_bytes()) {
        return epoch_ms(ms);
    }
    match text.parse::<Timestamp>() {
        Ok(stamp) => epoch_ms(stamp.as_millisecond()),
        Err(_) => Err(Refused::malformed(field, text, "an RFC 3339 time")),
    }
}

/// The form that every platform really writes, `2026-01-01T00:00:00.000Z` with or without its
/// milliseconds. The general parser takes several times as long.
fn utc_ms(text: &[u8]) -> Option<i64> {
    let (date_time, fraction) = text.split_at_checked(19)?;
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1] =
        date_time
    else {
        return None;
    };
    let ms = match fraction {
        b"Z" => 0,
        &[b'.', a, b, c, b'Z'] => number(&[a, b, c])?,
        _ => return None,
    };
    civil_ms(
        [
            number(&[y0, y1, y2, y3])?,
            number(&[m0, m1])?,
            number(&[d0, d1])?,
            number(&[h0, h1])?,
            number(&[n0, n1])?,
            number(&[s0, s1])?,
            ms,
        ],
        0,
    )
}

/// The common log format, `10/Oct/2020:13:55:36 +0000`, which access logs use. One second of
/// resolution.
pub(super) fn common_log(field: &str, text: &str) -> Result<EventTime, Refused> {
    match common_log_ms(text.as_bytes()) {
        Some(ms) => epoch_ms(ms),
        None => Err(Refused::malformed(field, text, "a time like 10/Oct/2020:13:55:36 +0000")),
    }
}

fn common_log_ms(text: &[u8]) -> Option<i64> {
    let &[
        d0,
        d1,
        b'/',
        ref month @ ..,
        b'/',
        y0,
        y1,
        y2,
        y3,
        b':',
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
        b' ',
        sign,
        oh0,
        oh1,
        on0,
        on1,
    ] = text
    else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let (hours, minutes) = (number(&[oh0, oh1])?, number(&[on0, on1])?);
    let offset = match sign {
        b'+' if hours < 24 && minutes < 60 => (hours * 60 + minutes) * 60,
        b'-' if hours < 24 && minutes < 60 => (hours * 60 + minutes) * -60,
        _ => return None,
    };
    civil_ms(
        [
            number(&[y0, y1, y2, y3])?,
            i64::try_from(month).ok()? + 1,
            number(&[d0, d1])?,
            number(&[h0, h1])?,
            number(&[n0, n1])?,
            number(&[s0, s1])?,
            0,
        ],
        offset,
    )
}

/// Year, month, day, hour, minute, second and millisecond at an offset from UTC, as milliseconds
/// since 1970. `None` for what is not a date and a time; a leap second is one for the general
/// parser. The Gregorian calendar repeats after 400 years of 146,097 days; counting years from
/// March puts the leap day last, where it disturbs no month before it.
fn civil_ms(parts: [i64; 7], offset_seconds: i64) -> Option<i64> {
    let [year, month, day, hour, minute, second, ms] = parts;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let from_march = (month + 9) % 12;
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = year * 365 + year / 4 - year / 100 + day_of_year;
    // From 0000-03-01 to 1970-01-01.
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset_seconds;
    Some(seconds * 1_000 + ms)
}

/// Up to four digits.
fn number(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn access_log_times_are_read_with_their_offset() {
        for (text, expected) in [
            ("10/Oct/2020:13:55:36 +0000", "2020-10-10T13:55:36.000Z"),
            ("10/Oct/2020:13:55:36 -0700", "2020-10-10T20:55:36.000Z"),
            ("29/Feb/2024:00:00:00 +0530", "2024-02-28T18:30:00.000Z"),
        ] {
            let time = common_log("requestTime", text).unwrap();
            assert_eq!(time.to_string(), expected);
        }
    }

    #[test]
    fn access_log_times_of_another_form_are_refused() {
        for (text, reason) in [
            ("", Reason::MalformedField),
            ("10/Okt/2020:13:55:36 +0000", Reason::MalformedField),
            ("29/Feb/2023:13:55:36 +0000", Reason::MalformedField),
            ("10/Oct/2020:24:55:36 +0000", Reason::MalformedField),
            ("10/Oct/2020:13:55:36 *0000", Reason::MalformedField),
            ("10/Oct/2020:13:55:36 +9999", Reason::MalformedField),
            ("1o/Oct/2020:13:55:36 +0000", Reason::MalformedField),
            ("10/Oct/1970:13:55:36 +0000", Reason::TimeOutOfRange),
            ("10/Oct/2100:13:55:36 +0000", Reason::TimeOutOfRange),
        ] {
            assert_eq!(common_log("t", text).unwrap_err().reason, reason, "{text}");
        }
    }

    #[test]
    fn unusual_but_valid_rfc_3339_is_read_too() {
        for text in
            ["2026-01-01T01:00:00.5+01:00", "2026-01-01T00:00:00.500999Z", "2026-01-01 00:00:00.5Z"]
        {
            let time = rfc3339("time", text).unwrap();
            assert_eq!(time.to_string(), "2026-01-01T00:00:00.500Z", "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_gives_what_the_general_parser_gives(
            ms in EventTime::MIN.ms()..=EventTime::MAX.ms(),
        ) {
            let text = EventTime::try_from_ms(ms).unwrap().to_string();
            prop_assert_eq!(utc_ms(text.as_bytes()), Some(ms));
        }

        #[test]
        fn the_short_way_refuses_what_the_general_parser_refuses(
            date in "20[0-9]{2}-[0-1][0-9]-[0-3][0-9]",
            time in "[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{3})?",
        ) {
            let text = format!("{date}T{time}Z");
            if let Some(ms) = utc_ms(text.as_bytes()) {
                let stamp: Timestamp = text.parse().unwrap();
                prop_assert_eq!(stamp.as_millisecond(), ms);
            }
        }
    }
}
