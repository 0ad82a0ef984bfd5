//! Kinds of values: how one is read from a file or a variable, which range is accepted, how it is
//! written back, and which fields can hold it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use config::ValueKind;

use super::settings::{
    InputKind, KafkaStart, KafkaToken, KinesisStart, LogFormat, LogLevel, Release,
};
use crate::control::settings::Mode;
use crate::cost::{Capacity, Gateway};
use crate::units::{AccountId, EventTime, NanoUsd};

/// The longest text value, in bytes; enough for any path.
const TEXT_BYTES_MAX: usize = 4_096;

const DURATIONS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A value on its way from text to a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    /// Whole numbers, seconds and bytes.
    Count(u64),
    Real(f64),
    Flag(bool),
    Text(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// What a key accepts. Ranges include both ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Count(u64, u64),
    Real(f64, f64),
    /// Seconds, written `10s`, `5m`, `2h`, `1d`.
    Duration(u64, u64),
    /// Bytes, written `512B`, `4KiB`, `64MiB`, `1GiB`.
    Size(u64, u64),
    Flag,
    Choice(&'static [&'static str]),
    /// Free text that passes the check; the words say which.
    Text(&'static str, fn(&str) -> bool),
    /// At most so many texts, each passing the check.
    List(usize, &'static str, fn(&str) -> bool),
    /// librdkafka properties; the reader flattens nested tables before it comes here.
    Properties(usize),
}

impl Kind {
    /// Reads a value. Variables are always text, so numbers and lists are read from text there;
    /// a file has types, and a quoted number in it is a mistake.
    pub(super) fn read(&self, value: &ValueKind, variable: bool) -> Option<Datum> {
        match *self {
            Kind::Count(min, max) => {
                let count = match value {
                    ValueKind::I64(number) => u64::try_from(*number).ok()?,
                    ValueKind::U64(number) => *number,
                    ValueKind::String(text) if variable => text.trim().parse().ok()?,
                    _ => return None,
                };
                (min..=max).contains(&count).then_some(Datum::Count(count))
            }
            Kind::Real(min, max) => {
                let real = match value {
                    ValueKind::I64(number) => *number as f64,
                    ValueKind::Float(number) => *number,
                    ValueKind::String(text) if variable => text.trim().parse().ok()?,
                    _ => return None,
                };
                // Positive form, so that NaN fails.
                (real >= min && real <= max).then_some(Datum::Real(real))
            }
            Kind::Duration(min, max) => suffixed(text(value)?, &DURATIONS, min, max),
            Kind::Size(min, max) => suffixed(text(value)?, &SIZES, min, max),
            Kind::Flag => match value {
                ValueKind::Boolean(flag) => Some(Datum::Flag(*flag)),
                ValueKind::String(text) if variable => text.trim().parse().ok().map(Datum::Flag),
                _ => None,
            },
            Kind::Choice(choices) => {
                let text = text(value)?;
                choices.contains(&text).then(|| Datum::Text(text.to_owned()))
            }
            Kind::Text(_, check) => checked(text(value)?, check).map(Datum::Text),
            Kind::List(max, _, check) => read_list(value, variable, max, check),
            Kind::Properties(_) => None,
        }
    }

    /// The accepted range in words.
    pub(super) fn accepted(&self) -> String {
        match *self {
            Kind::Count(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Real(min, max) => format!("a number from {min} to {max}"),
            Kind::Duration(min, max) => format!(
                "a duration from {} to {} (units s, m, h, d)",
                with_suffix(min, &DURATIONS),
                with_suffix(max, &DURATIONS)
            ),
            Kind::Size(min, max) => format!(
                "a size from {} to {} (units B, KiB, MiB, GiB)",
                with_suffix(min, &SIZES),
                with_suffix(max, &SIZES)
            ),
            Kind::Flag => "true or false".to_owned(),
            Kind::Choice(choices) => {
                let quoted: Vec<String> = choices.iter().map(|name| quote(name)).collect();
                match quoted.split_last() {
                    Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
                    None => String::new(),
                }
            }
            Kind::Text(words, _) => words.to_owned(),
            Kind::List(max, words, _) => format!("a list of at most {max}: {words}"),
            Kind::Properties(max) => {
                format!("at most {max} librdkafka properties, each a text, number, true or false")
            }
        }
    }

    /// Writes a value as TOML, in the form in which [`Kind::read`] takes it.
    pub(super) fn show(&self, datum: &Datum) -> String {
        match (self, datum) {
            (Kind::Duration(..), Datum::Count(seconds)) => {
                quote(&with_suffix(*seconds, &DURATIONS))
            }
            (Kind::Size(..), Datum::Count(bytes)) => quote(&with_suffix(*bytes, &SIZES)),
            (_, Datum::Count(count)) => count.to_string(),
            (_, Datum::Real(real)) => format!("{real:?}"),
            (_, Datum::Flag(flag)) => flag.to_string(),
            (_, Datum::Text(text)) => quote(text),
            (_, Datum::List(items)) => {
                let quoted: Vec<String> = items.iter().map(|item| quote(item)).collect();
                format!("[{}]", quoted.join(", "))
            }
            (_, Datum::Map(map)) => {
                let pairs: Vec<String> = map
                    .iter()
                    .map(|(name, value)| format!("{} = {}", quote(name), quote(value)))
                    .collect();
                format!("{{ {} }}", pairs.join(", "))
            }
        }
    }
}

fn text(value: &ValueKind) -> Option<&str> {
    match value {
        ValueKind::String(text) => Some(text),
        _ => None,
    }
}

fn checked(text: &str, check: fn(&str) -> bool) -> Option<String> {
    (text.len() <= TEXT_BYTES_MAX && check(text)).then(|| text.to_owned())
}

fn read_list(
    value: &ValueKind,
    variable: bool,
    max: usize,
    check: fn(&str) -> bool,
) -> Option<Datum> {
    let items: Vec<String> = match value {
        ValueKind::Array(values) => {
            values.iter().map(|value| checked(text(&value.kind)?, check)).collect::<Option<_>>()?
        }
        ValueKind::String(text) if variable => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| checked(item, check))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    (items.len() <= max).then_some(Datum::List(items))
}

/// A whole number and one of the units; no fractions, so that nothing is rounded.
fn suffixed(text: &str, units: &[(&str, u64)], min: u64, max: u64) -> Option<Datum> {
    let text = text.trim();
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(end)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let value = number.parse::<u64>().ok()?.checked_mul(*factor)?;
    (min..=max).contains(&value).then_some(Datum::Count(value))
}

/// The largest unit that divides the value.
fn with_suffix(value: u64, units: &[(&str, u64)]) -> String {
    let (name, factor) = units
        .iter()
        .find(|(_, factor)| value > 0 && value.is_multiple_of(*factor))
        .or(units.last())
        .copied()
        .unwrap_or(("", 1));
    format!("{}{name}", value / factor)
}

/// A TOML basic string.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                let written = write!(quoted, "\\u{:04X}", u32::from(control));
                debug_assert!(written.is_ok(), "writing to a string does not fail");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A field that a key can be read into.
pub(super) trait Setting {
    /// Takes the value; false where it does not fit the field.
    fn set(&mut self, datum: Datum) -> bool;
    /// The value; `None` where the field is not set.
    fn get(&self) -> Option<Datum>;
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn set(&mut self, datum: Datum) -> bool {
                let Datum::Count(count) = datum else { return false };
                <$type>::try_from(count).map(|value| *self = value).is_ok()
            }
            fn get(&self) -> Option<Datum> {
                // No field is wider than 64 bits.
                u64::try_from(*self).ok().map(Datum::Count)
            }
        }
    )*};
}
whole_numbers!(u32, u64, usize);

macro_rules! choices {
    ($($type:ident: $($name:literal = $variant:ident),*;)*) => {$(
        impl $type {
            /// The names, in the order of the variants.
            pub(super) const NAMES: &'static [&'static str] = &[$($name),*];
        }
        impl Setting for $type {
            fn set(&mut self, datum: Datum) -> bool {
                let Datum::Text(text) = datum else { return false };
                match text.as_str() {
                    $($name => *self = Self::$variant,)*
                    _ => return false,
                }
                true
            }
            fn get(&self) -> Option<Datum> {
                Some(Datum::Text(match self { $(Self::$variant => $name),* }.to_owned()))
            }
        }
    )*};
}
choices! {
    Mode: "observe" = Observe, "approve" = Approve, "enforce" = Enforce;
    InputKind: "embedded" = Embedded, "kafka" = Kafka, "kinesis" = Kinesis,
        "files" = Files;
    KafkaStart: "earliest" = Earliest, "latest" = Latest, "timestamp" = Timestamp;
    KafkaToken: "none" = None, "aws_msk_iam" = AwsMskIam, "file" = File;
    KinesisStart: "trim_horizon" = TrimHorizon, "latest" = Latest, "at_timestamp" = AtTimestamp;
    Capacity: "provisioned" = Provisioned, "on_demand" = OnDemand;
    Release: "nobody" = Nobody, "schedule" = Schedule, "timer" = Timer;
    Gateway: "observed" = Observed, "none" = None, "http_api" = HttpApi, "rest_api" = RestApi;
    LogFormat: "human" = Human, "json" = Json;
    LogLevel: "error" = Error, "warn" = Warn, "info" = Info, "debug" = Debug, "trace" = Trace;
}

macro_rules! plain {
    ($($type:ty, $variant:ident;)*) => {$(
        impl Setting for $type {
            fn set(&mut self, datum: Datum) -> bool {
                let Datum::$variant(value) = datum else { return false };
                *self = value;
                true
            }
            fn get(&self) -> Option<Datum> {
                Some(Datum::$variant(self.clone()))
            }
        }
    )*};
}
plain! {
    f64, Real;
    bool, Flag;
    String, Text;
    Vec<String>, List;
    BTreeMap<String, String>, Map;
}

macro_rules! parsed {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn set(&mut self, datum: Datum) -> bool {
                let Datum::Text(text) = datum else { return false };
                let Ok(value) = text.parse() else { return false };
                *self = value;
                true
            }
            fn get(&self) -> Option<Datum> {
                Some(Datum::Text(self.to_string()))
            }
        }
    )*};
}
parsed!(AccountId, SocketAddr);

macro_rules! optional {
    ($($type:ty),*) => {$(
        impl Setting for Option<$type> {
            fn set(&mut self, datum: Datum) -> bool {
                let mut value = <$type>::default();
                let fits = value.set(datum);
                *self = fits.then_some(value);
                fits
            }
            fn get(&self) -> Option<Datum> {
                self.as_ref().and_then(Setting::get)
            }
        }
    )*};
}
optional!(Gateway, u64, f64, AccountId, String);

impl Setting for NanoUsd {
    fn set(&mut self, datum: Datum) -> bool {
        let Datum::Real(usd) = datum else {
            return false;
        };
        *self = NanoUsd::from_usd(usd);
        true
    }

    fn get(&self) -> Option<Datum> {
        Some(Datum::Real(self.usd()))
    }
}

impl Setting for Option<EventTime> {
    /// The empty text is no time.
    fn set(&mut self, datum: Datum) -> bool {
        let Datum::Text(text) = datum else {
            return false;
        };
        *self = text.parse().ok();
        self.is_some() || text.is_empty()
    }

    fn get(&self) -> Option<Datum> {
        Some(Datum::Text(self.map(|time| time.to_string()).unwrap_or_default()))
    }
}

impl Setting for Option<PathBuf> {
    /// The empty text is no path.
    fn set(&mut self, datum: Datum) -> bool {
        let Datum::Text(text) = datum else {
            return false;
        };
        *self = (!text.is_empty()).then(|| PathBuf::from(text));
        true
    }

    fn get(&self) -> Option<Datum> {
        let path = self.as_ref().map(|path| path.display().to_string());
        Some(Datum::Text(path.unwrap_or_default()))
    }
}

impl Setting for PathBuf {
    fn set(&mut self, datum: Datum) -> bool {
        let Datum::Text(text) = datum else {
            return false;
        };
        *self = PathBuf::from(text);
        true
    }

    fn get(&self) -> Option<Datum> {
        Some(Datum::Text(self.display().to_string()))
    }
}

impl Setting for Vec<PathBuf> {
    fn set(&mut self, datum: Datum) -> bool {
        let Datum::List(items) = datum else {
            return false;
        };
        *self = items.into_iter().map(PathBuf::from).collect();
        true
    }

    fn get(&self) -> Option<Datum> {
        let items = self.iter().map(|path| path.display().to_string());
        Some(Datum::List(items.collect()))
    }
}
