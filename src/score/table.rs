//! Where time and value stand in a line of a metric export, and what they say.
//!
//! `timestamp,value` with or without a header, and with other columns, which are carried along.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Numbers below this are seconds since 1970, others milliseconds: as seconds it is the year 5138,
/// as milliseconds it is 1973.
const SECONDS_MAX: f64 = 1e11;

/// What stands for a value that is not there, in any case, beside nothing at all.
const MISSING: [&str; 5] = ["nan", "null", "none", "na", "-"];

/// Where they stand in the lines of one export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    time: usize,
    value: usize,
    /// Whether the line that this was made from names the columns.
    pub has_header: bool,
}

/// What stands in the value's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field {
    /// A number; it may be infinite.
    Number(f64),
    /// Nothing, or a word for it.
    Missing,
    /// Anything else, or fewer columns.
    Unreadable,
}

impl Columns {
    /// From the first line: a header if its second column is not a number. The column named
    /// `value` is taken, or else the second; and for the time the one named `timestamp`, or else
    /// the first other one. `None` where there is one column only.
    pub fn of(first: &str) -> Option<Self> {
        let second = fields(first).nth(1)?;
        if field(second) != Field::Unreadable {
            return Some(Self { time: 0, value: 1, has_header: false });
        }
        let named = |wanted| fields(first).position(|name| name.eq_ignore_ascii_case(wanted));
        let value = named("value").unwrap_or(1);
        let time = named("timestamp").unwrap_or(usize::from(value == 0));
        Some(Self { time, value, has_header: true })
    }

    /// The time in a line, in milliseconds since 1970; `None` where there is none that can be read.
    pub fn time(self, line: &str) -> Option<i64> {
        time(fields(line).nth(self.time)?)
    }

    /// The value in a line.
    pub fn value(self, line: &str) -> Field {
        fields(line).nth(self.value).map_or(Field::Unreadable, field)
    }
}

fn field(text: &str) -> Field {
    if text.is_empty() || MISSING.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Field::Missing;
    }
    text.parse().map_or(Field::Unreadable, Field::Number)
}

/// Seconds or milliseconds since 1970, or a date and time (ISO 8601, or with a blank between them);
/// without an offset it is UTC.
#[expect(clippy::cast_possible_truncation, reason = "float to integer `as` saturates")]
fn time(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<f64>() {
        let ms = if number.abs() < SECONDS_MAX { number * 1_000.0 } else { number };
        return ms.is_finite().then_some(ms as i64);
    }
    let stamp = text.parse::<Timestamp>().or_else(|_| {
        text.parse::<DateTime>()?.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    stamp.ok().map(Timestamp::as_millisecond)
}

/// The fields of a line (RFC 4180), without their quotes and the blanks around them. Commas inside
/// quotes do not separate.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let separates = move |character: char| {
        quoted ^= character == '"';
        character == ',' && !quoted
    };
    line.split(separates).map(|field| {
        let field = field.trim();
        let inside = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
        inside.unwrap_or(field).trim()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_may_be_missing_and_the_value_stand_anywhere() {
        for (first, expected) in [
            ("timestamp,value", Some((0, 1, true))),
            ("\"TimeStamp\",\"Value\",\"Label\"", Some((0, 1, true))),
            ("host,VALUE,timestamp", Some((2, 1, true))),
            ("value,time", Some((1, 0, true))),
            ("time,requests", Some((0, 1, true))),
            ("2014-04-01 00:00:00,20.5", Some((0, 1, false))),
            ("1396310400,", Some((0, 1, false))),
            ("1396310400000,NaN,x", Some((0, 1, false))),
            ("value", None),
            ("", None),
        ] {
            let columns =
                expected.map(|(time, value, has_header)| Columns { time, value, has_header });
            assert_eq!(Columns::of(first), columns, "{first}");
        }
    }

    #[test]
    fn a_value_is_a_number_missing_or_unreadable() {
        let columns = Columns { time: 0, value: 1, has_header: false };
        for (line, expected) in [
            ("t,1.5", Field::Number(1.5)),
            ("t, -2e3 ,0", Field::Number(-2_000.0)),
            ("\"1 May, 2018\",\"0\",\"1\"", Field::Number(0.0)),
            ("t,", Field::Missing),
            ("t,NaN", Field::Missing),
            ("t,null,1", Field::Missing),
            ("t,\"\"", Field::Missing),
            ("t,inf", Field::Number(f64::INFINITY)),
            ("t,many", Field::Unreadable),
            ("t", Field::Unreadable),
            ("", Field::Unreadable),
        ] {
            assert_eq!(columns.value(line), expected, "{line}");
        }
    }

    #[test]
    fn times_are_read_in_every_form_and_never_stop_a_line() {
        let columns = Columns { time: 0, value: 1, has_header: false };
        for (text, expected) in [
            ("2014-04-01 00:00:00", Some(1_396_310_400_000)),
            ("2014-04-01 00:00:00.250", Some(1_396_310_400_250)),
            ("\"2014-04-01T00:00:00Z\"", Some(1_396_310_400_000)),
            ("2014-04-01T02:00:00+02:00", Some(1_396_310_400_000)),
            ("1396310400", Some(1_396_310_400_000)),
            ("1396310400.5", Some(1_396_310_400_500)),
            ("1396310400000", Some(1_396_310_400_000)),
            ("-1e300", Some(i64::MIN)),
            ("NaN", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(columns.time(&format!("{text},1")), expected, "{text}");
        }
    }
}
