//! How unusual each value of a metric is beside all that came before it: `bursar score`.
//!
//! Apart from the rest: a metric export knows neither functions nor callers nor money, so nothing
//! of the engine applies, and nothing here shapes the engine.
//!
//! Why so plain a method: on the Numenta Anomaly Benchmark (Lavin and Ahmad, ICMLA 2015,
//! doi:10.1109/ICMLA.2015.141) the leading detectors share four ideas, and these four alone reach
//! them: *novelty* (how far is this from everything seen), at the scale of the *series' own past*,
//! said *once* and not for as long as it lasts, and *less each time* the series does it again.
//! Further features and fitted weights raise the figure on the files that they are fitted to and
//! lower it on others.
//!
//! 1. [`memory`]: the distance of the value to the nearest value seen, and of the last four values
//!    together to the nearest four in a row. The first also finds values outside of all seen and in
//!    gaps between them; the second finds usual values in an unusual order.
//! 2. [`largest`]: each distance becomes a surprise by its rank among all earlier distances, so
//!    units, scale and tails of the metric do not matter.
//! 3. [`pulse`]: only records that surprise more than any of a refractory time before are told, and
//!    one counts less the more earlier peaks were as high.
//!
//! One pass, causal: a score depends on earlier values and its own. Of the time stamps only the
//! first day is read, of which nothing is said: metrics follow the day, and until one is over
//! everything is new. Gaps, steps and the clock's direction play no part. Memory is bounded by the
//! limits named in the three files.

pub mod largest;

pub mod memory;

pub mod pulse;

pub mod table;

#[cfg(test)]
mod tests;

use self::largest::Largest;
use self::memory::Memory;
use self::pulse::Pulse;

/// Values that make a shape. Three to eight do about as well on the 31 files that this was chosen
/// on; one alone cannot see order.
const SHAPE_RECORDS: usize = 4;

/// Values beyond this are taken as this, so that sums of differences stay finite.
const VALUE_MAX: f64 = f64::MAX / 64.0;

/// What is learned before anything is said: a day, but at most the minutes of one, so that a metric
/// by the second does not stay silent for 86,400 records.
const DAY_MS: i64 = 86_400_000;
const DAY_RECORDS_MAX: u64 = 1_440;

/// What can be chosen. The defaults hold for every series; they are here to be varied by the
/// benchmark, which shows how little depends on them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Values that are only learned from, at the start.
    pub warmup_records: u64,
    /// The refractory time, as a share of the values seen so far.
    pub refractory_share: f64,
    /// How much earlier peaks take off a score: the exponent on one plus their number.
    pub habituation: f64,
    /// The score from which a record is an alarm.
    pub alarm_score: f64,
}

impl Default for Settings {
    /// 50: a rank among fewer says nothing. 4 %: less than half of the time that the benchmark's
    /// labels give an anomaly. A square root: no exponent from 0.4 to 1 does much better or worse.
    /// The threshold is a little below the best on half of the benchmark's files, because above it
    /// the figures fall more steeply than below.
    fn default() -> Self {
        Self { warmup_records: 50, refractory_share: 0.04, habituation: 0.5, alarm_score: 0.125 }
    }
}

/// What is said of one record.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// From 0, nothing new, to 1.
    pub score: f64,
    /// Whether to tell somebody; set at single records, never held.
    pub alarm: bool,
}

/// Scores the values of one metric, in their order.
#[derive(Debug)]
pub struct Scorer {
    settings: Settings,
    seen: u64,
    day: Day,
    recent: [f64; SHAPE_RECORDS],
    values: Novelty<1>,
    shapes: Novelty<SHAPE_RECORDS>,
    pulse: Pulse,
}

impl Scorer {
    /// A scorer that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            seen: 0,
            day: Day::default(),
            recent: [0.0; SHAPE_RECORDS],
            values: Novelty::default(),
            shapes: Novelty::default(),
            pulse: Pulse::new(settings.refractory_share, settings.habituation),
        }
    }

    /// Scores the next value, at `time` in milliseconds since any start, if it has one. A value
    /// that is missing, not a number or infinite scores nothing and is passed over.
    pub fn score(&mut self, time: Option<i64>, value: Option<f64>) -> Score {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return Score::default();
        };
        let value = value.clamp(-VALUE_MAX, VALUE_MAX);
        self.recent.rotate_right(1);
        self.recent[0] = value;
        self.seen += 1;
        let warm = self.seen > self.settings.warmup_records;
        let by_value = self.values.surprise([value], warm);
        let by_shape = if self.seen >= SHAPE_RECORDS as u64 {
            self.shapes.surprise(self.recent, warm)
        } else {
            0.0
        };
        let score = self.pulse.next(f64::midpoint(by_value, by_shape), self.seen);
        if !self.day.is_over(time) && self.seen <= DAY_RECORDS_MAX {
            return Score::default();
        }
        Score { score, alarm: score >= self.settings.alarm_score }
    }
}

/// The first day of a series.
#[derive(Debug, Default)]
struct Day {
    first: Option<i64>,
    is_over: bool,
}

impl Day {
    /// A series without times has no day to wait for.
    fn is_over(&mut self, time: Option<i64>) -> bool {
        if let (Some(time), false) = (time, self.is_over) {
            let first = *self.first.get_or_insert(time);
            self.is_over = time.saturating_sub(first) >= DAY_MS;
        }
        self.is_over || self.first.is_none()
    }
}

/// How new a point is, on the scale of how new its predecessors were.
#[derive(Debug, Default)]
struct Novelty<const LENGTH: usize> {
    memory: Memory<LENGTH>,
    distances: Largest,
}

impl<const LENGTH: usize> Novelty<LENGTH> {
    fn surprise(&mut self, point: [f64; LENGTH], warm: bool) -> f64 {
        let distance = self.memory.distance(&point);
        self.memory.remember(point);
        let surprise = self.distances.surprise(distance);
        self.distances.insert(distance);
        if warm { surprise } else { 0.0 }
    }
}
