//! How honest the spend projection is: at a quarter, half and three quarters of a period, how often
//! the period's true total lies between the p10 and p90 that were said then, and how wide that is.
//!
//! `cargo bench --bench projection -- --data DIR [--seed N] [--json OUT]`
//!
//! `DIR` holds one folder a data set; those that are missing are left out.
//!
//! | folder | files | period | step |
//! |---|---|---|---|
//! | `nasa1995` | `*.tbz2`: calls per second, from 1995-07-01 | 7 and 28 days | 1 h |
//! | `worldcup98` | `*.csv.gz`: time, calls per minute | 7 and 28 days | 1 h |
//! | `azure2019-days` | `*.csv.xz`: series, calls per minute of a day | the day | 1 min |
//! | `azure2019-functions` | `invocations`, `durations`, `memory` | the 8 hours | 1 min |
//!
//! The first two are NASA-HTTP and WorldCup98 of the Internet Traffic Archive, the others the Azure
//! Functions Trace 2019 (Shahrad et al., USENIX ATC 2020). Calls are counted as spend at a price of
//! one; for the functions with measured durations and memory the calls are also priced: each call's
//! duration is drawn from its function's percentiles by the seed. A function is forecast once it
//! has been called, as in the daemon, from silence since the start of its period on.
//!
//! A pair of series and period counts once in a Wilson interval (Wilson, JASA 22 (1927) 209, doi
//! 10.1080/01621459.1927.10502953); the three times of one pair are dependent and kept apart.
//! Pinball loss is the mean of the three quantiles' losses as a part of the true total, beside the
//! same loss of two forecasts that give one number: the mean so far goes on, and as in the last
//! period. `xz`, `bzip2` and `tar` unpack the files.
#![expect(clippy::unwrap_used, reason = "what cannot be read ends the measurement")]

#[path = "projection/data.rs"]
mod data;
#[path = "projection/table.rs"]
mod table;

use std::io::Write;
use std::path::PathBuf;

use bursar::cost::{Forecaster, Season, Shape};

use data::Series;
use table::{Outcome, Row};

/// When a forecast is asked for, as parts of the period.
const PARTS: [f64; 3] = [0.25, 0.5, 0.75];

fn main() {
    let (mut data, mut json, mut seed) = (None, None, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--data" => data = arguments.next().map(PathBuf::from),
            "--json" => json = arguments.next().map(PathBuf::from),
            "--seed" => seed = arguments.next().and_then(|it| it.parse().ok()).unwrap(),
            // Cargo adds `--bench`.
            _ => {}
        }
    }
    let mut out = std::io::stdout().lock();
    let Some(data) = data else {
        writeln!(out, "projection: give the recorded series by --data DIR").unwrap();
        return;
    };
    let mut outcomes = Vec::new();
    for series in data::load(&data, seed) {
        outcomes.extend(outcomes_of(&series));
    }
    let rows = table::rows(&outcomes);
    writeln!(out, "{}", table::markdown(&rows)).unwrap();
    if let Some(path) = json {
        let lines = serde_json::json!({ "seed": seed, "rows": rows.iter().map(Row::json)
            .collect::<Vec<_>>() });
        std::fs::write(path, format!("{lines:#}\n")).unwrap();
    }
}

/// Every forecast of one series against what came.
fn outcomes_of(series: &Series) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut forecaster = Forecaster::watching_since(series.start);
    let mut season = Season::default();
    let mut shape = Shape::flat();
    for (at, &spent) in series.spend.iter().enumerate() {
        for part in PARTS {
            outcomes.extend(series.forecast(at, part, &forecaster, &shape));
        }
        let step = series.start + i64::try_from(at).unwrap();
        if !series.hourly {
            forecaster.observe(step, spent, |_| 1.0);
            continue;
        }
        forecaster.observe(step, spent, |hour| shape.weight(hour));
        season.observe(step, spent, forecaster.level());
        shape = season.shape(None);
    }
    outcomes
}

impl Series {
    /// What is said at `at` if just `part` of a period is over then.
    fn forecast(
        &self,
        at: usize,
        part: f64,
        forecaster: &Forecaster,
        shape: &Shape,
    ) -> Option<Outcome> {
        let length = self.period;
        let start = at.checked_sub(self.first)? / length * length + self.first;
        let end = start + length;
        let passed = (at - start) as f64;
        let now = (part * length as f64).floor();
        if (passed - now).abs() > 0.1 || end > self.spend.len() {
            return None;
        }
        let spent: f64 = self.spend[start..at].iter().sum();
        // Who was never called is not known.
        if self.spend[..at].iter().all(|&spend| spend <= 0.0) {
            return None;
        }
        let truth: f64 = self.spend[start..end].iter().sum();
        let steps = (end - at) as f64;
        let from = self.start as f64 + at as f64;
        let load = if self.hourly { shape.load(from, from + steps) } else { steps };
        let said = forecaster.quantiles(steps, load);
        let whole = |usd: f64, round: fn(f64) -> f64| match self.unit {
            Some(unit) => round(usd / unit) * unit,
            None => usd,
        };
        let last = start.checked_sub(length).filter(|&from| from >= self.first);
        Some(Outcome {
            set: self.set,
            part,
            truth,
            p10: spent + whole(said.p10.usd(), f64::floor),
            p50: spent + said.p50.usd(),
            p90: spent + whole(said.p90.usd(), f64::ceil),
            persisted: spent / passed * length as f64,
            repeated: last.map(|from| self.spend[from..from + length].iter().sum()),
        })
    }
}
