//! The text form of an attack.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::simulation::span::parse_span;

/// What `--attack` accepts; the help text and the documentation of [`AttackSpec`].
pub const GRAMMAR: &str = include_str!("grammar.txt");

/// One day, the longest time in a specification.
const DAY_MS: u64 = 86_400_000;

/// Kinds of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttackKind {
    /// A constant rate to one function.
    Flood,
    /// Bursts to one function, against controls that let go too soon.
    YoYo,
    /// A thin rate over many functions, against thresholds for one function.
    Spread,
    /// Invocations that ask for more of themselves.
    Recursion,
    /// A flood that stays away while it is turned away.
    Adaptive,
}

impl AttackKind {
    /// Whether what it does next depends on what became of its requests.
    pub fn needs_answers(self) -> bool {
        matches!(self, AttackKind::Recursion | AttackKind::Adaptive)
    }
}

/// How the rate of a flood goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttackShape {
    /// The same all the time.
    Constant,
    /// From a hundredth, twice as much in every `double`, up to the full rate.
    Geometric,
    /// Another level every ten seconds, from nothing to twice the rate.
    Random,
    /// From nothing to the full rate in a straight line, against what learns.
    Ramp,
}

/// An attack as it was asked for.
#[doc = ""]
#[doc = "```text"]
#[doc = include_str!("grammar.txt")]
#[doc = "```"]
#[derive(Debug, Clone, PartialEq)]
pub struct AttackSpec {
    /// Kind.
    pub kind: AttackKind,
    /// Name, beginning of a name, or `auto`.
    pub function: String,
    /// How many functions a spread has.
    pub functions: u32,
    /// Times the victims' mean rate.
    pub factor: f64,
    /// At least so many requests per second.
    pub min_rps: f64,
    /// So many instead.
    pub rps: Option<f64>,
    /// Begin, after the window's.
    pub start_ms: u64,
    /// Length.
    pub duration_ms: u64,
    /// Addresses at a time.
    pub sources: u32,
    /// How long a set of addresses is used.
    pub rotate_ms: Option<u64>,
    /// Burst; the whole length for kinds without bursts.
    pub on_ms: u64,
    /// Pause between bursts.
    pub off_ms: u64,
    /// How the rate goes on.
    pub shape: AttackShape,
    /// How long a geometric flood takes to double.
    pub double_ms: u64,
    /// Share of the requests that come from addresses of legitimate callers.
    pub overlap: f64,
    /// How many times as long as usual its requests run.
    pub slow: f64,
    /// Bytes of each answer; unset is as usual.
    pub response: Option<u32>,
    /// Bytes that each of its invocations writes to the log, besides what every one does.
    pub log: u32,
    /// Megabytes that its requests need; unset is as usual.
    pub memory: Option<u32>,
    /// Share of its requests that fail, besides those that fail anyway.
    pub fail: f64,
    /// How many more an invocation of a recursion asks for.
    pub fanout: f64,
}

/// A specification that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttackError {
    /// Not a kind.
    #[error("attack kind {0:?}, accepted: flood, yoyo, spread, recursion, adaptive")]
    Kind(String),
    /// Not KEY=VALUE, or a key that this kind does not have, or one given twice.
    #[error("attack key {key:?} {problem}, accepted for {kind}: {accepted}")]
    Key {
        /// As given.
        key: String,
        /// Unknown, twice, without a value.
        problem: &'static str,
        /// Kind.
        kind: String,
        /// Its keys.
        accepted: String,
    },
    /// A value out of range.
    #[error("attack key {key}: {value:?} does not fit, accepted: {accepted}")]
    Value {
        /// Key.
        key: &'static str,
        /// As given.
        value: String,
        /// The range in words.
        accepted: String,
    },
}

impl AttackError {
    pub(in crate::simulation) fn value(
        key: &'static str,
        value: &str,
        accepted: impl Into<String>,
    ) -> Self {
        Self::Value { key, value: value.chars().take(80).collect(), accepted: accepted.into() }
    }
}

impl AttackSpec {
    /// How long it is on, pauses left out.
    pub fn active_ms(&self) -> u64 {
        let cycle = self.on_ms + self.off_ms;
        let rest = (self.duration_ms % cycle).min(self.on_ms);
        self.duration_ms / cycle * self.on_ms + rest
    }

    fn set(&mut self, key: &'static str, value: &str) -> Result<(), AttackError> {
        match key {
            "function" if value.is_empty() => {
                return Err(AttackError::value(key, value, "a name, or auto"));
            }
            "function" => value.clone_into(&mut self.function),
            "functions" => self.functions = whole(key, value, 1_000, "1 to 1000")?,
            "sources" => self.sources = whole(key, value, 100_000, "1 to 100000")?,
            "factor" => self.factor = number(key, value, 10_000.0, "above 0, up to 10000")?,
            "rps" => self.rps = Some(number(key, value, 100_000.0, "above 0, up to 100000")?),
            "min_rps" if value == "0" => self.min_rps = 0.0,
            "min_rps" => self.min_rps = number(key, value, 100_000.0, "0 to 100000")?,
            "overlap" if value == "0" => self.overlap = 0.0,
            "overlap" => self.overlap = number(key, value, 1.0, "0 to 1")?,
            "slow" => self.slow = number(key, value, 10_000.0, "above 0, up to 10000")?,
            "response" => self.response = Some(whole(key, value, 6 << 20, "1 to 6291456")?),
            "log" => self.log = whole(key, value, 100 << 20, "1 to 104857600")?,
            "memory" => self.memory = Some(whole(key, value, 20_480, "1 to 20480")?),
            "fail" => self.fail = number(key, value, 1.0, "above 0, up to 1")?,
            "fanout" => self.fanout = number(key, value, 10.0, "above 0, up to 10")?,
            "shape" => self.shape = shape(key, value)?,
            "start" => self.start_ms = span(key, value, 0, "0s to 24h, as in 90s or 1h30m")?,
            _ => {
                let ms = span(key, value, 1_000, "1s to 24h, as in 90s or 1h30m")?;
                match key {
                    "duration" => self.duration_ms = ms,
                    "rotate" => self.rotate_ms = Some(ms),
                    "double" => self.double_ms = ms,
                    "on" => self.on_ms = ms,
                    _ => self.off_ms = ms,
                }
            }
        }
        Ok(())
    }
}

impl FromStr for AttackSpec {
    type Err = AttackError;

    fn from_str(text: &str) -> Result<Self, AttackError> {
        let (kind, pairs) = text.split_once(':').unwrap_or((text, ""));
        let pairs = pairs.split(',').filter(|_| !pairs.is_empty());
        Self::from_pairs(kind, pairs.map(|pair| pair.split_once('=').ok_or(pair)))
    }
}

/// Keys of every kind.
const COMMON: [&str; 13] = [
    "factor", "min_rps", "rps", "start", "duration", "sources", "rotate", "overlap", "slow",
    "response", "log", "memory", "fail",
];

impl AttackSpec {
    /// A kind and its keys with their values; what has no value comes as an error.
    ///
    /// # Errors
    /// The first key that means nothing.
    pub fn from_pairs<'a>(
        name: &str,
        pairs: impl Iterator<Item = Result<(&'a str, &'a str), &'a str>>,
    ) -> Result<Self, AttackError> {
        let (kind, own): (_, &[&str]) = match name {
            "flood" => (AttackKind::Flood, &["function", "shape", "double"]),
            "yoyo" => (AttackKind::YoYo, &["function", "on", "off"]),
            "spread" => (AttackKind::Spread, &["functions"]),
            "recursion" => (AttackKind::Recursion, &["function", "fanout"]),
            "adaptive" => (AttackKind::Adaptive, &["function"]),
            _ => return Err(AttackError::Kind(name.chars().take(80).collect())),
        };
        let mut spec = Self::usual(kind);
        let accepted: Vec<&'static str> = COMMON.iter().chain(own).copied().collect();
        let refuse = |key: &str, problem| AttackError::Key {
            key: key.chars().take(80).collect(),
            problem,
            kind: name.to_owned(),
            accepted: accepted.join(", "),
        };
        let mut seen = BTreeSet::new();
        for pair in pairs {
            let (key, value) =
                pair.map_err(|key| refuse(key, "has no value; write it as key=value"))?;
            let Some(key) = accepted.iter().copied().find(|known| *known == key) else {
                return Err(refuse(key, "is unknown"));
            };
            if !seen.insert(key) {
                return Err(refuse(key, "is given twice"));
            }
            spec.set(key, value)?;
        }
        if seen.contains("rps") && (seen.contains("factor") || seen.contains("min_rps")) {
            return Err(refuse("rps", "excludes factor and min_rps"));
        }
        if kind != AttackKind::YoYo {
            (spec.on_ms, spec.off_ms) = (spec.duration_ms, 0);
        }
        Ok(spec)
    }

    /// What is not said.
    fn usual(kind: AttackKind) -> Self {
        AttackSpec {
            kind,
            function: "auto".to_owned(),
            functions: 10,
            factor: 20.0,
            min_rps: 50.0,
            rps: None,
            start_ms: 20 * 60_000,
            duration_ms: 10 * 60_000,
            sources: 20,
            rotate_ms: None,
            on_ms: 30_000,
            off_ms: 90_000,
            shape: AttackShape::Constant,
            double_ms: 60_000,
            overlap: 0.0,
            slow: 1.0,
            response: None,
            log: 0,
            memory: None,
            fail: 0.0,
            fanout: 1.1,
        }
    }
}

fn shape(key: &'static str, value: &str) -> Result<AttackShape, AttackError> {
    match value {
        "constant" => Ok(AttackShape::Constant),
        "geometric" => Ok(AttackShape::Geometric),
        "random" => Ok(AttackShape::Random),
        "ramp" => Ok(AttackShape::Ramp),
        _ => Err(AttackError::value(key, value, "constant, geometric, random, ramp")),
    }
}

fn whole(
    key: &'static str,
    value: &str,
    most: u32,
    accepted: &'static str,
) -> Result<u32, AttackError> {
    let number = value.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| AttackError::value(key, value, accepted))
}

fn number(
    key: &'static str,
    value: &str,
    most: f64,
    accepted: &'static str,
) -> Result<f64, AttackError> {
    let number = value.parse().ok().filter(|number| *number > 0.0 && *number <= most);
    number.ok_or_else(|| AttackError::value(key, value, accepted))
}

/// A time such as `90s`, `1h30m` or `500ms`, in milliseconds, from `least` to one day.
fn span(
    key: &'static str,
    value: &str,
    least: u64,
    accepted: &'static str,
) -> Result<u64, AttackError> {
    let ms = parse_span(value).filter(|ms| (least..=DAY_MS).contains(ms));
    ms.ok_or_else(|| AttackError::value(key, value, accepted))
}
