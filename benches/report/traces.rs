//! Real traffic: four public traces, none of which is part of the project.
//!
//! - `azure2019-functions`: `invocations`, `durations` and `memory` (`.csv`, `.csv.gz`), functions
//!   over some hours, calls a minute. Azure Functions Trace 2019 (Shahrad et al., USENIX ATC 2020),
//!   CC-BY 4.0.
//! - `azure2019-days`: one `.csv`, `.csv.gz` or `.csv.xz` with `series,m1,…,m1440`; the same
//!   source.
//! - `nasa1995`: a text or a `.tbz2` of one with a count a second. Internet Traffic Archive, NASA
//!   Kennedy Space Center.
//! - `worldcup98`: one `.csv` or `.csv.gz` with `period,count`, a row a minute. Internet Traffic
//!   Archive, 1998 World Cup web site.
//!
//! Archives that the project does not read itself are unpacked by `xz` and `tar`.

use std::fs::File;
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use bursar::simulation::draw::{below, derive};
use bursar::simulation::duration::DurationModel;
use bursar::simulation::trace::{Trace, TraceError, TracePaths, TriggerGroup, Window};
use flate2::read::MultiGzDecoder;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::driver::{MONDAY, lone_function};
use crate::functions::{Counts, Duration, Function};
use crate::laws::negative_binomial;

/// What a call is taken to need where the trace does not say.
pub(crate) const ASSUMED_MS: u32 = 100;
pub(crate) const ASSUMED_MB: u32 = 128;

/// Where the trace does not tell what asks for a function, so many in a hundred are called through
/// an API, as in the whole of the Azure trace (Shahrad et al., USENIX ATC 2020, section 3.2).
const HTTP_PERCENT: u64 = 55;

/// The trace begins on a Saturday, 1995-07-01: 2026-07-04.
const SATURDAY: i64 = MONDAY + 124 * 86_400;
/// And this one on a Thursday, 1998-04-30 at 21:30: 2026-04-30 21:30.
const THURSDAY_EVENING: i64 = MONDAY + 59 * 86_400 + 77_400;

/// Reads the data set of a folder.
type Reader = fn(&Path) -> Result<DataSet>;

/// A folder with traces.
pub(crate) struct Traces(PathBuf);

/// Functions that were seen over the same time.
#[derive(Clone)]
pub(crate) struct DataSet {
    pub(crate) name: &'static str,
    /// Seconds since 1970.
    pub(crate) start: i64,
    pub(crate) minutes: usize,
    pub(crate) functions: Vec<Function>,
}

/// A dear function: a third of a minute's work in 2 GB, a tenth of a cent a call.
const DEAR_MEDIAN_MS: f64 = 20_000.0;
const DEAR_P99_MS: f64 = 80_000.0;
const DEAR_MB: u32 = 2_048;
/// And called at least so often.
const DEAR_PER_HOUR: u64 = 600;

impl DataSet {
    /// Keeps a share of the functions, evenly spread, or where there is only one of the time, at
    /// least a day.
    pub(crate) fn sampled(mut self, share: f64) -> Self {
        if self.functions.len() > 1 {
            let kept = |index: usize| (index as f64 * share).floor();
            let mut index = 0;
            self.functions.retain(|_| {
                index += 1;
                kept(index) > kept(index - 1) || share >= 1.0
            });
        } else {
            let minutes = (self.minutes as f64 * share) as usize;
            self.minutes = minutes.max(1_440).min(self.minutes);
        }
        self
    }

    /// The same calls of functions that are dear and often called, so that what is wrong with
    /// single calls is worth something: in the traces hardly any function is.
    pub(crate) fn dear(mut self) -> Result<Self> {
        let law = DurationModel::log_normal(DEAR_MEDIAN_MS, DEAR_P99_MS)?;
        let least = DEAR_PER_HOUR * self.minutes as u64 / 60;
        let minutes = self.minutes;
        self.functions.retain(|function| {
            (0..minutes).map(|minute| function.calls_in(minute)).sum::<u64>() >= least
        });
        for function in &mut self.functions {
            function.duration = Duration::Law(law.clone());
            function.memory_mb = DEAR_MB;
        }
        Ok(self)
    }

    /// Keeps one call in so many, by chance.
    pub(crate) fn thinned(mut self, one_in: u64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for function in &mut self.functions {
            if let Counts::Minutes(counts) = &mut function.counts {
                for count in counts {
                    let mean = f64::from(*count) / one_in as f64;
                    *count = negative_binomial(mean, 0.0, &mut rng) as u32;
                }
            }
        }
        self
    }
}

impl Traces {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            bail!("--data {}: not a folder", folder.display());
        }
        Ok(Self(folder.to_owned()))
    }

    /// Every data set that is there; the others are named on standard error.
    pub(crate) fn all(&self) -> Result<Vec<DataSet>> {
        let readers: [(&str, Reader); 4] = [
            ("azure2019-functions", azure_functions),
            ("azure2019-days", azure_days),
            ("nasa1995", nasa),
            ("worldcup98", world_cup),
        ];
        let mut sets = Vec::new();
        for (name, read) in readers {
            let folder = self.0.join(name);
            if folder.is_dir() {
                sets.push(read(&folder).with_context(|| folder.display().to_string())?);
            } else {
                eprintln!("SKIPPED {name}: no such folder in {}", self.0.display());
            }
        }
        Ok(sets)
    }
}

fn azure_functions(folder: &Path) -> Result<DataSet> {
    let calls = find(folder, "invocations.csv")?;
    let none = TracePaths { calls, durations: None, memory: None };
    let trace = whole(&none.with_siblings())?;
    let functions = trace.functions.into_iter().enumerate().map(|(index, function)| Function {
        key: lone_function(index),
        api: function.trigger == TriggerGroup::Http,
        counts: Counts::Minutes(function.counts),
        duration: Duration::Law(function.duration),
        memory_mb: function.memory.get(),
    });
    Ok(DataSet {
        name: "azure2019-functions",
        start: MONDAY + i64::from(trace.first_minute) * 60,
        minutes: trace.minutes as usize,
        functions: functions.collect(),
    })
}

fn azure_days(folder: &Path) -> Result<DataSet> {
    let mut calls = find(folder, ".csv")?;
    let unpacked;
    if calls.extension().is_some_and(|extension| extension == "xz") {
        unpacked = tempfile(&calls)?;
        calls = unpacked.0.clone();
    }
    let trace = whole(&TracePaths { calls, durations: None, memory: None })?;
    let functions = trace.functions.into_iter().enumerate().map(|(index, function)| Function {
        key: lone_function(index),
        api: below(derive(HTTP_PERCENT, index as u64), 100) < HTTP_PERCENT,
        counts: Counts::Minutes(function.counts),
        duration: Duration::Constant(ASSUMED_MS),
        memory_mb: ASSUMED_MB,
    });
    Ok(DataSet {
        name: "azure2019-days",
        start: MONDAY,
        minutes: trace.minutes as usize,
        functions: functions.collect(),
    })
}

fn nasa(folder: &Path) -> Result<DataSet> {
    let path = find(folder, "")?;
    let packed = path.extension().is_some_and(|extension| extension == "tbz2");
    let text = if packed {
        output("tar", &["-xjOf".as_ref(), path.as_os_str()])?
    } else {
        std::fs::read(&path)?
    };
    let text = String::from_utf8(text).context("the counts are not text")?;
    let counts = text.split_ascii_whitespace().map(str::parse);
    let counts: Vec<u16> = counts.collect::<Result<_, _>>().context("a count is not a number")?;
    Ok(alone("nasa1995", SATURDAY, counts.len() / 60, Counts::Seconds(counts)))
}

fn world_cup(folder: &Path) -> Result<DataSet> {
    let path = find(folder, ".csv")?;
    let mut text = String::new();
    let mut file = File::open(&path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        file.read_to_string(&mut text)?;
    }
    let mut counts: Vec<u32> = Vec::new();
    let mut began: Option<jiff::civil::DateTime> = None;
    for row in text.as_bytes().lines().skip(1) {
        let row = row?;
        let (period, count) = row.split_once(',').context("expected period,count")?;
        let period: jiff::civil::DateTime = period.parse()?;
        let since = period.duration_since(*began.get_or_insert(period));
        let minute = usize::try_from(since.as_mins()).context("rows are not in order")?;
        if minute < counts.len() {
            bail!("{period}: rows are not in order");
        }
        // A minute that is missing had no request.
        counts.resize(minute, 0);
        counts.push(count.parse().with_context(|| format!("{period}: not a count"))?);
    }
    Ok(alone("worldcup98", THURSDAY_EVENING, counts.len(), Counts::Minutes(counts)))
}

/// A web site as one function behind an API.
fn alone(name: &'static str, start: i64, minutes: usize, counts: Counts) -> DataSet {
    let function = Function {
        key: lone_function(0),
        api: true,
        counts,
        duration: Duration::Constant(ASSUMED_MS),
        memory_mb: ASSUMED_MB,
    };
    DataSet { name, start, minutes, functions: vec![function] }
}

/// A whole trace, however many minutes it has.
fn whole(paths: &TracePaths) -> Result<Trace> {
    match Trace::read(paths, Window { first: None, minutes: u32::MAX }) {
        Err(TraceError::Window { count, .. }) => {
            Ok(Trace::read(paths, Window { first: None, minutes: count })?)
        }
        other => Ok(other?),
    }
}

/// The first file, by name, whose name contains `part` and that is no licence or description.
fn find(folder: &Path, part: &str) -> Result<PathBuf> {
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in folder.read_dir()? {
        names.push(entry?.path());
    }
    names.sort();
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_file()
            && name.contains(part)
            && !name.starts_with("LICENSE")
            && !name.ends_with("md")
    };
    names.into_iter().find(fits).with_context(|| format!("no file with {part} in its name"))
}

/// A file that is removed in the end.
struct Unpacked(PathBuf);

impl Drop for Unpacked {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Unpacks an `.xz` beside other temporary files.
fn tempfile(packed: &Path) -> Result<Unpacked> {
    let path = std::env::temp_dir().join(format!("bursar-report-{}.csv", std::process::id()));
    let unpacked = Unpacked(path);
    std::fs::write(&unpacked.0, output("xz", &["-dc".as_ref(), packed.as_os_str()])?)?;
    Ok(unpacked)
}

/// What a command-line tool writes.
fn output(tool: &str, arguments: &[&std::ffi::OsStr]) -> Result<Vec<u8>> {
    let done = Command::new(tool).args(arguments).stderr(Stdio::inherit()).output();
    let done = done.with_context(|| format!("{tool}: install it, or unpack the file yourself"))?;
    if !done.status.success() {
        bail!("{tool} failed: {}; unpack the file yourself", done.status);
    }
    Ok(done.stdout)
}
