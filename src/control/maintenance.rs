//! Times in which people work on functions themselves, and nothing new is restricted: releases,
//! migrations, load tests.

use crate::cost::Pattern;
use crate::record::FunctionRef;
use crate::units::EventTime;

/// As they are written; the epoch's first day was a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY_MINUTES: i64 = 1_440;

/// A time of the day, on some days of the week, for some functions. UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    text: String,
    days: [bool; 7],
    from: i64,
    to: i64,
    functions: Option<Pattern>,
}

impl Window {
    /// Reads `[Mon,Tue ]22:00-04:00[ pattern]`: days on which it begins, every day if left out;
    /// from and to, over midnight if it ends earlier than it begins, a whole day if both are the
    /// same; functions, all if left out. `None` if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').peekable();
        let mut days = [true; 7];
        if words.peek()?.starts_with(|first: char| first.is_ascii_alphabetic()) {
            days = [false; 7];
            for day in words.next()?.split(',') {
                days[DAYS.iter().position(|name| *name == day)?] = true;
            }
        }
        let (from, to) = words.next()?.split_once('-')?;
        let functions = words.next().map(|word| (!word.is_empty()).then(|| Pattern::new(word)));
        let functions = match functions {
            Some(pattern) => Some(pattern?),
            None => None,
        };
        if words.next().is_some() {
            return None;
        }
        Some(Self { text: text.to_owned(), days, from: minute(from)?, to: minute(to)?, functions })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is open for a function.
    pub fn holds(&self, function: &FunctionRef<'_>, now: EventTime) -> bool {
        let minutes = now.second().div_euclid(60);
        let (day, minute) = (minutes.div_euclid(DAY_MINUTES), minutes.rem_euclid(DAY_MINUTES));
        let begins = |day: i64| {
            let place = usize::try_from(day.rem_euclid(7)).unwrap_or_default();
            self.days.get(place).copied().unwrap_or(false)
        };
        let is_open = if self.from < self.to {
            begins(day) && (self.from..self.to).contains(&minute)
        } else {
            begins(day) && minute >= self.from || begins(day - 1) && minute < self.to
        };
        is_open && self.functions.as_ref().is_none_or(|pattern| pattern.matches(function))
    }
}

/// A minute of the day, from `HH:MM`.
fn minute(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str| {
        let is_plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_plain.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60).then_some(60 * hour + minute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FunctionKey;

    /// Whether a window is open at a time for a function of that name.
    fn is_open(window: &str, time: &str, name: &str) -> bool {
        let function: FunctionKey = format!("111122223333:eu-west-1:{name}").parse().unwrap();
        let now = time.parse::<jiff::Timestamp>().unwrap().as_second();
        let window = Window::parse(window).unwrap();
        window.holds(&function.as_ref(), EventTime::from_second(now))
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_to_before_its_last_on_its_days_only() {
        // 2026-11-21 is a Saturday.
        let cases = [
            ("09:00-10:30", "2026-11-21T08:59:59Z", false),
            ("09:00-10:30", "2026-11-21T09:00:00Z", true),
            ("09:00-10:30", "2026-11-21T10:29:59Z", true),
            ("09:00-10:30", "2026-11-21T10:30:00Z", false),
            ("Sat 22:00-04:00", "2026-11-21T23:00:00Z", true),
            ("Sat 22:00-04:00", "2026-11-22T03:59:00Z", true),
            ("Sat 22:00-04:00", "2026-11-22T04:00:00Z", false),
            ("Sat 22:00-04:00", "2026-11-21T03:00:00Z", false),
            ("Sun,Mon 00:00-00:00", "2026-11-22T12:00:00Z", true),
            ("Sun,Mon 00:00-00:00", "2026-11-24T00:00:00Z", false),
        ];
        for (window, time, expected) in cases {
            assert_eq!(is_open(window, time, "f"), expected, "{window} at {time}");
        }
        assert!(is_open("09:00-10:30 pay*", "2026-11-21T09:00:00Z", "payments"));
        assert!(!is_open("09:00-10:30 pay*", "2026-11-21T09:00:00Z", "login"));
    }

    #[test]
    fn anything_else_is_no_window() {
        for text in [
            "",
            " ",
            "Sat",
            "sat 09:00-10:00",
            "Sat,, 09:00-10:00",
            "9:00-10:00",
            "09:00-24:00",
            "09:60-10:00",
            "09:00 10:00",
            "09:00-10:00 ",
            "09:00-10:00 a b",
            "09:00-10:00-11:00",
            "+9:00-10:00",
        ] {
            assert_eq!(Window::parse(text), None, "{text:?}");
        }
    }
}
