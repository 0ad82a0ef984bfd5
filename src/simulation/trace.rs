//! Reads recorded call counts: functions by row, minutes by column.
//!
//! Two forms, told apart by their header, plain or gzip:
//! - Azure Functions Trace 2019 (Shahrad et al., USENIX ATC 2020):
//!   `HashOwner,HashApp,HashFunction,Trigger,1,2,…`, joined on `HashFunction` with optional tables
//!   of durations (`percentile_Average_*`, ms) and memory (`AverageAllocatedMb`);
//! - `series,m1,m2,…`: counts only; durations are then drawn from the law of the first form's.
//!
//! Column N holds the calls of the minute that begins N minutes after midnight.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::record::{FunctionKey, FunctionRef};
use crate::simulation::draw::{below, derive, unit};
use crate::simulation::duration::DurationModel;
use crate::simulation::platform::{ApiSpec, FUNCTIONS_MAX, FunctionSpec};
use crate::simulation::wire::ApiKind;
use crate::units::{AccountId, MemoryMb};

pub use table::{LINE_BYTES_MAX, TraceError};

use table::Table;

/// The most calls of one function in one minute, 33,000 per second: a minute of requests is held in
/// memory.
pub const CALLS_PER_MINUTE_MAX: u32 = 2_000_000;

/// The last minute column that is read: one month.
pub const MINUTE_MAX: u32 = 31 * 1_440;

/// Where the functions are deployed; traces do not say.
const REGION: &str = "us-east-1";

/// Percentiles that the duration table has.
const PERCENTS: [u8; 7] = [0, 1, 25, 50, 75, 99, 100];

/// The tables of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracePaths {
    /// Call counts.
    pub calls: PathBuf,
    /// Durations.
    pub durations: Option<PathBuf>,
    /// Memory.
    pub memory: Option<PathBuf>,
}

impl TracePaths {
    /// Fills in `durations.csv` and `memory.csv`, plain or `.gz`, from beside the call counts where
    /// no other file was named.
    #[must_use]
    pub fn with_siblings(mut self) -> Self {
        let sibling = |name: &str| {
            let plain = self.calls.with_file_name(format!("{name}.csv"));
            let packed = self.calls.with_file_name(format!("{name}.csv.gz"));
            [plain, packed].into_iter().find(|path| path.is_file())
        };
        self.durations = self.durations.take().or_else(|| sibling("durations"));
        self.memory = self.memory.take().or_else(|| sibling("memory"));
        self
    }

    /// All of them that there are.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.calls), self.durations.as_ref(), self.memory.as_ref()].into_iter().flatten()
    }
}

/// Which minutes to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first column; the trace's first when not given.
    pub first: Option<u32>,
    /// How many columns.
    pub minutes: u32,
}

/// What asks for a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerGroup {
    /// People and programs, through an API.
    Http,
    /// A clock.
    Timer,
    /// Queues, storage, events and what is not told.
    Other,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceFunction {
    /// Account and name stand for the owner and the function of the trace.
    pub key: FunctionKey,
    /// Functions of one application share their API and their callers.
    pub app: u64,
    /// What asks for it.
    pub trigger: TriggerGroup,
    /// Calls per minute of the window.
    pub counts: Vec<u32>,
    /// How long it runs.
    pub duration: DurationModel,
    /// Configured memory.
    pub memory: MemoryMb,
}

impl TraceFunction {
    /// Calls in the window.
    pub fn calls(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The function as it is deployed. What the trace does not tell is derived from its name.
    pub fn spec(&self) -> FunctionSpec {
        let bits = xxh3_64(self.key.name.as_bytes());
        let http = self.trigger == TriggerGroup::Http;
        FunctionSpec {
            // Assumed: a tenth of a second for small functions, half a second for large ones.
            init_ms: 100 + u32::try_from(below(derive(bits, 0), 400)).unwrap_or(0),
            api: http.then(|| self.api()),
            ..FunctionSpec::new(self.key.clone(), self.memory, self.duration.clone())
        }
    }

    /// One API for each application and one route for each function.
    fn api(&self) -> ApiSpec {
        let letter = |index| {
            let place = below(derive(self.app, index), 36);
            char::from_digit(u32::try_from(place).unwrap_or(0), 36).unwrap_or('0')
        };
        let route: String = self.key.name.chars().take(16).collect();
        ApiSpec {
            api_id: (0..10).map(letter).collect(),
            stage: "prod".to_owned(),
            method: if self.app & 2 == 0 { "GET" } else { "POST" }.to_owned(),
            route: format!("/{route}"),
            kind: if self.app & 1 == 0 { ApiKind::Rest } else { ApiKind::Http },
        }
    }
}

/// A window of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Rows, in the order of the file.
    pub functions: Vec<TraceFunction>,
    /// The first minute of the window, counted from midnight.
    pub first_minute: u32,
    /// Its length.
    pub minutes: u32,
}

impl Trace {
    /// Reads the window of a trace line by line, so that only the window is held.
    ///
    /// # Errors
    /// Names file, line and column of what cannot be read.
    pub fn read(paths: &TracePaths, window: Window) -> Result<Self, TraceError> {
        let mut table = Table::open(&paths.calls)?;
        let header = Header::read(&mut table, window)?;
        let mut functions = Vec::new();
        let mut index = BTreeMap::new();
        while table.advance()? {
            let function = header.row(&table)?;
            let name = function.key.name.clone();
            if index.insert(name, functions.len()).is_some() {
                return Err(table.error(header.function, "appears twice; keep one row"));
            }
            if functions.len() == FUNCTIONS_MAX {
                return Err(table.error(header.function, "too many rows, accepted: 100000"));
            }
            functions.push(function);
        }
        if let Some(path) = &paths.durations {
            read_durations(path, &index, &mut functions)?;
        }
        if let Some(path) = &paths.memory {
            read_memory(path, &index, &mut functions)?;
        }
        Ok(Self { functions, first_minute: header.first_minute, minutes: window.minutes })
    }

    /// Keeps the `count` functions with the most calls, in the order of the file.
    pub fn keep_busiest(&mut self, count: usize) {
        let mut calls: Vec<_> =
            self.functions.iter().map(TraceFunction::calls).enumerate().collect();
        calls.sort_by_key(|&(index, calls)| (std::cmp::Reverse(calls), index));
        let mut kept = vec![false; calls.len()];
        calls.iter().take(count).for_each(|&(index, _)| kept[index] = true);
        let mut kept = kept.into_iter();
        self.functions.retain(|_| kept.next().unwrap_or(false));
    }
}

/// Where things are in a table of calls.
#[derive(Debug)]
struct Header {
    /// Absent in the `series` form.
    owner_app_trigger: Option<(usize, usize, usize)>,
    function: usize,
    /// The window: first column and minute.
    first_column: usize,
    first_minute: u32,
    minutes: u32,
}

impl Header {
    fn read(table: &mut Table, window: Window) -> Result<Self, TraceError> {
        let names = table.header();
        let place = |name: &str| names.iter().position(|column| column == name);
        let (owner_app_trigger, function) = if let Some(series) = place("series") {
            (None, series)
        } else {
            let owner = table.column("HashOwner")?;
            let app = table.column("HashApp")?;
            let trigger = table.column("Trigger")?;
            (Some((owner, app, trigger)), table.column("HashFunction")?)
        };
        let minute = |name: &String| name.strip_prefix('m').unwrap_or(name).parse::<u32>().ok();
        let start = names.iter().position(|name| minute(name).is_some());
        let Some(start) = start else {
            return Err(table.error(names.len(), "no minute columns; expected 1,2,… or m1,m2,…"));
        };
        let first = minute(&names[start]).unwrap_or(0);
        for (number, name) in (first..).zip(&names[start..]) {
            if minute(name) != Some(number) || number > MINUTE_MAX {
                let problem = format!("expected minute {number}, accepted: up to {MINUTE_MAX}");
                return Err(table.error((number - first) as usize + start, &problem));
            }
        }
        let count = u32::try_from(names.len() - start).unwrap_or(u32::MAX);
        let from = window.first.unwrap_or(first);
        let fits = from >= first
            && u64::from(from) + u64::from(window.minutes) <= u64::from(first) + u64::from(count);
        if !fits || window.minutes == 0 {
            return Err(TraceError::Window {
                path: table.path().to_owned(),
                first,
                count,
                asked: from,
                asked_count: window.minutes,
            });
        }
        Ok(Self {
            owner_app_trigger,
            function,
            first_column: start + (from - first) as usize,
            first_minute: from,
            minutes: window.minutes,
        })
    }

    fn row(&self, table: &Table) -> Result<TraceFunction, TraceError> {
        let raw = table.text(self.function)?;
        let (owner, app, trigger, name) = match self.owner_app_trigger {
            Some((owner, app, trigger)) => {
                (table.text(owner)?, table.text(app)?, table.text(trigger)?, raw.to_owned())
            }
            None => ("series", raw, "", format!("series-{raw}")),
        };
        let account = account(owner);
        let key = FunctionRef::try_new(account, REGION, &name)
            .map_err(|error| table.error(self.function, &error.to_string()))?
            .to_key();
        let window = self.first_column..self.first_column + self.minutes as usize;
        let mut counts = Vec::with_capacity(window.len());
        for column in window {
            let count = table.text(column)?.parse().ok();
            let count = count.filter(|count: &u32| *count <= CALLS_PER_MINUTE_MAX);
            counts.push(count.ok_or_else(|| {
                table.error(column, "not a count of calls, accepted: 0 to 2000000")
            })?);
        }
        Ok(TraceFunction {
            duration: unknown_duration(&name),
            memory: memory(0.0),
            app: xxh3_64(app.as_bytes()),
            trigger: match trigger {
                "http" => TriggerGroup::Http,
                "timer" => TriggerGroup::Timer,
                _ => TriggerGroup::Other,
            },
            key,
            counts,
        })
    }
}

fn read_durations(
    path: &Path,
    index: &BTreeMap<Box<str>, usize>,
    functions: &mut [TraceFunction],
) -> Result<(), TraceError> {
    let mut table = Table::open(path)?;
    let function = table.column("HashFunction")?;
    let mut columns = Vec::with_capacity(PERCENTS.len());
    for percent in PERCENTS {
        let column = table.column(&format!("percentile_Average_{percent}"))?;
        columns.push((f64::from(percent), column));
    }
    while table.advance()? {
        let Some(place) = index.get(table.text(function)?) else {
            continue;
        };
        let mut points = Vec::with_capacity(columns.len());
        for &(percent, column) in &columns {
            points.push((percent, table.number(column)?));
        }
        let model = DurationModel::percentiles(&points);
        functions[*place].duration =
            model.map_err(|error| table.error(columns[0].1, &error.to_string()))?;
    }
    Ok(())
}

fn read_memory(
    path: &Path,
    index: &BTreeMap<Box<str>, usize>,
    functions: &mut [TraceFunction],
) -> Result<(), TraceError> {
    let mut table = Table::open(path)?;
    let function = table.column("HashFunction")?;
    let average = table.column("AverageAllocatedMb")?;
    while table.advance()? {
        if let Some(place) = index.get(table.text(function)?) {
            functions[*place].memory = memory(table.number(average)?);
        }
    }
    Ok(())
}

/// A size that can be configured: at least 128 MB and at most 10,240, in steps of 64.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 128 .. 10240 before the cast"
)]
fn memory(average_mb: f64) -> MemoryMb {
    let mb = ((average_mb / 64.0).ceil() * 64.0).clamp(128.0, 10_240.0) as u64;
    match MemoryMb::try_new(mb) {
        Ok(memory) => memory,
        Err(error) => unreachable!("{error}"),
    }
}

/// Twelve digits that stand for an owner.
fn account(owner: &str) -> AccountId {
    let number = 100_000_000_000 + below(derive(xxh3_64(owner.as_bytes()), 0), 900_000_000_000);
    number.to_string().parse().unwrap_or_default()
}

/// For functions whose duration the trace does not tell. Over 250 functions of the Azure trace the
/// averages have a geometric mean of 463 ms with a standard deviation of 2.63 in the logarithm, and
/// the median ratio of p99 to p50 is 3.3; the ends are cut so that no function is all overhead or
/// runs into every limit.
fn unknown_duration(name: &str) -> DurationModel {
    let z99 = 2.326_348;
    let averages = DurationModel::log_normal(463.0, 463.0 * libm::exp(2.63 * z99));
    let place = unit(derive(xxh3_64(name.as_bytes()), 1));
    let median = averages.map_or(463.0, |law| law.quantile(place)).clamp(5.0, 30_000.0);
    match DurationModel::log_normal(median, median * 3.3) {
        Ok(model) => model,
        Err(error) => unreachable!("{error}"),
    }
}
