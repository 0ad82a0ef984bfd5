//! The recorded series, read from the files as their publishers packed them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a call costs where only calls are known: a thousand nano-dollars.
const CALL_USD: f64 = 1e-6;
/// Lambda's list price of an x86 GB-second and of a request in us-east-1.
const GB_SECOND_USD: f64 = 0.000_016_666_7;
const REQUEST_USD: f64 = 2e-7;
/// The smallest memory that Lambda bills, in MB.
const MEMORY_MB_MIN: f64 = 128.0;
/// Calls of one minute beyond this share the mean of as many draws.
const DRAWS_MAX: u64 = 200;
/// Hours from the epoch to 1995-07-01.
const NASA_START: i64 = 223_488;

/// The data sets, in the order of the table.
pub(crate) const WEEKS: [&str; 2] = ["nasa1995, weeks", "worldcup98, weeks"];
pub(crate) const MONTHS: [&str; 2] = ["nasa1995, 28 days", "worldcup98, 28 days"];
pub(crate) const DAYS: &str = "azure2019-days, calls";
pub(crate) const CALLS: &str = "azure2019-functions, calls";
pub(crate) const DOLLARS: &str = "azure2019-functions, dollars";

/// One function, or one site.
#[derive(Clone)]
pub(crate) struct Series {
    pub(crate) set: &'static str,
    /// Number of the first step: hours since the epoch, or minutes of a day, from one on.
    pub(crate) start: i64,
    /// Whether steps are hours and have a season.
    pub(crate) hourly: bool,
    /// Dollars a step.
    pub(crate) spend: Vec<f64>,
    /// What a call costs, where totals are whole calls.
    pub(crate) unit: Option<f64>,
    /// Where the first period starts, and how many steps it has.
    pub(crate) first: usize,
    pub(crate) period: usize,
}

/// Everything that is there.
pub(crate) fn load(folder: &Path, seed: u64) -> Vec<Series> {
    let mut all = Vec::new();
    if let Some(file) = find(&folder.join("nasa1995"), "tbz2") {
        let text = unpacked("tar", &["-xjOf"], &file);
        let seconds: Vec<f64> = text.split_whitespace().map(|it| it.parse().unwrap()).collect();
        long(&mut all, 0, NASA_START, &seconds, 3_600);
    }
    if let Some(file) = find(&folder.join("worldcup98"), "gz") {
        let text = unpacked("gzip", &["-dc"], &file);
        let rows: Vec<(&str, f64)> = text.lines().skip(1).map(row).collect();
        let first: Timestamp = format!("{}Z", rows[0].0).parse().unwrap();
        let first = first.as_second() / 60;
        // Hours start on the hour.
        let skipped = (-first).rem_euclid(60);
        let start = (first + skipped) / 60;
        let skipped = usize::try_from(skipped).unwrap();
        let minutes: Vec<f64> = rows.iter().skip(skipped).map(|&(_, calls)| calls).collect();
        long(&mut all, 1, start, &minutes, 60);
    }
    if let Some(file) = find(&folder.join("azure2019-days"), "xz") {
        let text = unpacked("xz", &["-dc"], &file);
        for line in text.lines().skip(1) {
            all.push(day(DAYS, line.split(',').skip(1)));
        }
    }
    let functions = folder.join("azure2019-functions");
    if functions.join("invocations.csv.gz").exists() {
        azure_functions(&mut all, &functions, seed);
    }
    all
}

/// Adds a site's hours twice: to be forecast by weeks and by four weeks, from midnight on.
fn long(all: &mut Vec<Series>, which: usize, start: i64, counts: &[f64], per_hour: usize) {
    let hours = counts.chunks_exact(per_hour);
    let spend: Vec<f64> = hours.map(|hour| hour.iter().sum::<f64>() * CALL_USD).collect();
    let first = usize::try_from((-start).rem_euclid(24)).unwrap();
    for (set, period) in [(WEEKS[which], 7 * 24), (MONTHS[which], 28 * 24)] {
        let spend = spend.clone();
        all.push(Series { set, start, hourly: true, spend, unit: None, first, period });
    }
}

/// A function's minutes, all of which are one period.
fn day<'a>(set: &'static str, calls: impl Iterator<Item = &'a str>) -> Series {
    let spend: Vec<f64> = calls.map(|it| it.parse::<f64>().unwrap() * CALL_USD).collect();
    let period = spend.len();
    Series { set, start: 1, hourly: false, spend, unit: Some(CALL_USD), first: 0, period }
}

fn azure_functions(all: &mut Vec<Series>, folder: &Path, seed: u64) {
    let table = |name: &str| unpacked("gzip", &["-dc"], &folder.join(name));
    let durations = table("durations.csv.gz");
    let durations = columns(&durations, "percentile_Average_");
    let memory = table("memory.csv.gz");
    let memory = columns(&memory, "AverageAllocatedMb");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for line in table("invocations.csv.gz").lines().skip(1) {
        let mut fields = line.split(',');
        let function = fields.nth(2).unwrap();
        let calls = day(CALLS, fields.skip(1));
        if let Some(durations) = durations.get(function) {
            let mb = memory.get(function).map_or(MEMORY_MB_MIN, |mb| mb[0].max(MEMORY_MB_MIN));
            let mut priced = |spend: &f64| {
                let calls = spend / CALL_USD;
                let draws = whole(calls).min(DRAWS_MAX);
                let millis: f64 = (0..draws).map(|_| drawn(durations, random.random())).sum();
                let mean = if draws > 0 { millis / draws as f64 } else { 0.0 };
                calls * (REQUEST_USD + mean / 1e3 * mb / 1024.0 * GB_SECOND_USD)
            };
            let spend = calls.spend.iter().map(&mut priced).collect();
            all.push(Series { set: DOLLARS, unit: None, spend, ..calls.clone() });
        }
        all.push(calls);
    }
}

/// The columns whose name starts so, by the function's hash.
fn columns<'a>(text: &'a str, prefix: &str) -> BTreeMap<&'a str, Vec<f64>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let name = header.iter().position(|it| *it == "HashFunction").unwrap();
    let read = |line: &'a str| {
        let fields: Vec<&str> = line.split(',').collect();
        let wanted = header.iter().zip(&fields).filter(|(name, _)| name.starts_with(prefix));
        (fields[name], wanted.map(|(_, field)| field.parse().unwrap()).collect())
    };
    lines.map(read).collect()
}

/// A duration in milliseconds at the percentile `part`, between the measured ones.
fn drawn(percentiles: &[f64], part: f64) -> f64 {
    const MEASURED: [f64; 7] = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0];
    let above = (1..MEASURED.len() - 1).find(|&it| part <= MEASURED[it]).unwrap_or(6);
    let (low, high) = (MEASURED[above - 1], MEASURED[above]);
    let within = (part - low) / (high - low);
    // Lambda bills at least a millisecond.
    (percentiles[above - 1] + within * (percentiles[above] - percentiles[above - 1])).max(1.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of calls")]
fn whole(calls: f64) -> u64 {
    calls.round() as u64
}

fn row(line: &str) -> (&str, f64) {
    let (time, calls) = line.split_once(',').unwrap();
    (time, calls.parse().unwrap())
}

fn find(folder: &Path, extension: &str) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|it| it == extension)).min()
}

fn unpacked(program: &str, options: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(options).arg(file).output().unwrap();
    assert!(output.status.success(), "{program} cannot unpack {}", file.display());
    String::from_utf8(output.stdout).unwrap()
}
