//! A scenario: one question as a value. Conditions, functions, load, surprises, attacks, and what
//! must hold.

mod expect;
mod functions;
mod loads;
mod problems;
mod reader;
mod recordings;
mod section;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::simulation::attack::AttackSpec;
use crate::simulation::platform::{FunctionSpec, PlatformSettings};
use crate::simulation::recording::Recording;
use crate::units::{EventTime, NanoUsd};

pub use expect::Expect;
pub(in crate::simulation) use functions::way;
pub use problems::{Problem, ScenarioProblems};
pub use reader::{FILE_BYTES_MAX, read, read_text};

/// The longest window that is scored, in words.
pub const LENGTH_MAX: &str = "31d";
/// The longest past, in words.
pub const PAST_MAX: &str = "60d";
/// The most entries of a list.
pub const ENTRIES_MAX: usize = 1_000;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The name of its file, without the ending.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// When the scored window begins.
    pub start: EventTime,
    /// How much past comes before, from which baselines are learned.
    pub past_ms: u64,
    /// How long the window is.
    pub length_ms: u64,
    /// Limits and delays.
    pub platform: PlatformSettings,
    /// The month's money.
    pub money: Money,
    /// What is deployed.
    pub functions: Vec<FunctionSpec>,
    /// Who calls what.
    pub loads: Vec<Load>,
    /// What was recorded call by call.
    pub recordings: Vec<Recording>,
    /// More callers than usual, for a while.
    pub surges: Vec<Surge>,
    /// Other code than before.
    pub deploys: Vec<Deploy>,
    /// Attacks.
    pub attacks: Vec<AttackSpec>,
    /// What must hold.
    pub expect: Expect,
    /// Files that it has read, in the order of its entries.
    pub files: Vec<PathBuf>,
}

/// The month's money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Money {
    /// The budget of the account; without one nobody is warned.
    pub monthly: Option<NanoUsd>,
    /// What the month has cost before the past begins.
    pub spent: NanoUsd,
}

/// The legitimate load of one function.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Index of the function.
    pub function: usize,
    /// How calls follow one another.
    pub pace: Pace,
    /// How the rate changes over days.
    pub season: Season,
    /// How many callers an API has.
    pub users: u32,
    /// Functions of one application share their callers.
    pub app: u64,
}

/// How calls follow one another.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// At random.
    Random {
        /// Calls per second, on average.
        rps: f64,
        /// Variance beyond a Poisson process: variance of a second's count = m + dispersion × m².
        dispersion: f64,
    },
    /// On the beat.
    Beat {
        /// Between two beats.
        every_ms: u64,
        /// Calls at each.
        calls: u32,
    },
    /// Call by call as in a recording.
    Replayed {
        /// Calls of each minute from the beginning of the past.
        counts: Vec<u32>,
    },
    /// As recorded, by minutes from the beginning of the past.
    Recorded {
        /// Calls of each minute.
        counts: Vec<u32>,
        /// Whether they come on the beat.
        beat: bool,
    },
    /// Users who come, ask several times, and try again when they are refused.
    Sessions {
        /// Users per second who begin.
        per_second: f64,
        /// Requests of one session, on average.
        requests: f64,
        /// From an answer to the next request, on average.
        think_ms: f64,
        /// How often a refused request is tried again.
        retries: u32,
        /// Wait before the first retry, doubled before each further one.
        back_off_ms: u64,
    },
}

impl Pace {
    /// Whether it is known minute by minute, and for no other ones.
    pub fn is_recorded(&self) -> bool {
        matches!(self, Pace::Recorded { .. } | Pace::Replayed { .. })
    }

    /// Calls per second, on average.
    pub fn mean_rps(&self) -> f64 {
        match self {
            Pace::Random { rps, .. } => *rps,
            Pace::Beat { every_ms, calls } => f64::from(*calls) * 1_000.0 / *every_ms as f64,
            Pace::Recorded { counts, .. } | Pace::Replayed { counts } => {
                let calls: u64 = counts.iter().map(|count| u64::from(*count)).sum();
                calls as f64 / (counts.len().max(1) as f64 * 60.0)
            }
            Pace::Sessions { per_second, requests, .. } => per_second * requests,
        }
    }
}

/// How a rate changes over days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Season {
    /// Peak of the day over its mean, minus one.
    pub daily: f64,
    /// Hour of the peak, UTC.
    pub peak_hour: f64,
    /// Weekends relative to other days.
    pub weekend: f64,
    /// Share by which every day is busier than the day before.
    pub growth_per_day: f64,
}

impl Default for Season {
    fn default() -> Self {
        Self { daily: 0.0, peak_hour: 18.0, weekend: 1.0, growth_per_day: 0.0 }
    }
}

const DAY_MS: f64 = 86_400_000.0;

impl Season {
    /// The rate at `at` relative to its mean at `start`.
    pub fn factor(&self, at: EventTime, start: EventTime) -> f64 {
        let day = at.ms() as f64 / DAY_MS;
        let hour = (day - day.floor()) * 24.0;
        let turn = (hour - self.peak_hour) / 24.0 * core::f64::consts::TAU;
        // The epoch was a Thursday: day 2 and 3 of each week from there are a weekend.
        let weekday = at.ms().div_euclid(86_400_000).rem_euclid(7);
        let weekend = if matches!(weekday, 2 | 3) { self.weekend } else { 1.0 };
        let days = at.since_ms(start) as f64 / DAY_MS;
        let growth = libm::exp(days * libm::log1p(self.growth_per_day));
        (1.0 + self.daily * libm::cos(turn)) * weekend * growth
    }
}

/// More callers than usual: a flash crowd, a campaign, a backfill.
#[derive(Debug, Clone, PartialEq)]
pub struct Surge {
    /// Which functions.
    pub functions: Vec<usize>,
    /// After the window's begin.
    pub start_ms: u64,
    /// How long.
    pub duration_ms: u64,
    /// How long it takes to come and to go.
    pub rise_ms: u64,
    /// Times the usual rate at its height.
    pub factor: f64,
    /// Callers who have not been here before.
    pub users: u32,
}

impl Surge {
    /// Times the usual rate, `ms` after the window's begin.
    pub fn factor_at(&self, ms: i64) -> f64 {
        let (start, length) = (self.start_ms as f64, self.duration_ms as f64);
        let since = ms as f64 - start;
        if since < 0.0 || since >= length {
            return 1.0;
        }
        let rise = (self.rise_ms as f64).max(1.0);
        let height = (since / rise).min((length - since) / rise).clamp(0.0, 1.0);
        1.0 + (self.factor - 1.0) * height
    }
}

/// A new version.
#[derive(Debug, Clone, PartialEq)]
pub struct Deploy {
    /// Which functions.
    pub functions: Vec<usize>,
    /// After the window's begin.
    pub start_ms: u64,
    /// Times the duration of the version before.
    pub slow: f64,
}

impl Scenario {
    /// When the past begins.
    pub fn begin(&self) -> EventTime {
        self.start.plus_ms(-self.past_ms.cast_signed())
    }

    /// When the window is over.
    pub fn end(&self) -> EventTime {
        self.start.plus_ms(self.length_ms.cast_signed())
    }
}
