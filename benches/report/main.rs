//! Recomputes every number of detection from seeds and real traces:
//!
//! ```text
//! cargo bench --no-default-features --bench report -- [--sections clean,delay] [--data DIR]
//!     [--seed N] [--sample 0.01] [--json OUT.json] [--markdown OUT.md] [--check FILE.json]
//! ```
//!
//! It drives the engine's own value with records in memory: no files, no wire format, no clock. It
//! times nothing. The same seed gives the same numbers on every machine that computes floats alike.
//!
//! `--data` names a folder with the real traces (see `traces.rs` for names and forms); without it
//! the sections that need them are skipped, and that is said. `--sample` makes everything smaller
//! in proportion, for a quick look or for `--check`, which reruns the sections and exits with 1
//! when a number has become worse than the sampling of both runs explains.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a report prints, and the numbers are its own"
)]

mod attacks;
mod clean;
mod delay;
mod driver;
mod functions;
mod laws;
mod numbers;
mod parallel;
mod promise;
mod results;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use results::{Report, Section};
use traces::Traces;

/// Computes a section.
type Compute = fn(&Plan) -> Result<Section>;

/// The sections, in the order in which they are printed.
const SECTIONS: [(&str, Compute); 4] = [
    ("clean", clean::section),
    ("delay", delay::section),
    ("attacks", attacks::section),
    ("promise", promise::section),
];

#[derive(Parser)]
#[command(about = "Recomputes every number of detection from seeds and real traces.")]
struct Options {
    /// Which sections, separated by commas; all when not given.
    #[arg(long, value_delimiter = ',')]
    sections: Vec<String>,
    /// Folder with the real traces.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Of every draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of the full size, above 0 and at most 1.
    #[arg(long, default_value_t = 1.0)]
    sample: f64,
    /// Writes the report as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes the report as Markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Compares with a report that was written by `--json`.
    #[arg(long)]
    check: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a section is told.
struct Plan {
    seed: u64,
    sample: f64,
    traces: Option<Traces>,
}

impl Plan {
    /// `full` at full size, less in a sample, at least `least`.
    fn scaled(&self, full: usize, least: usize) -> usize {
        ((full as f64 * self.sample).round() as usize).max(least.min(full))
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing has become worse.
fn run(options: &Options) -> Result<bool> {
    if !(options.sample > 0.0 && options.sample <= 1.0) {
        bail!("--sample {} is out of range, accepted: above 0 up to 1", options.sample);
    }
    let known = SECTIONS.map(|(name, _)| name);
    if let Some(other) = options.sections.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no section {other}; choose from {}", known.join(", "));
    }
    let traces = options.data.as_deref().map(Traces::open).transpose()?;
    let plan = Plan { seed: options.seed, sample: options.sample, traces };
    let mut report = Report::new(plan.seed, plan.sample);
    for (name, section) in SECTIONS {
        if options.sections.is_empty() || options.sections.iter().any(|asked| asked == name) {
            eprintln!("{name}");
            let section = section(&plan).with_context(|| format!("section {name}"))?;
            println!("{}", section.markdown());
            report.sections.push(section);
        }
    }
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    if let Some(path) = &options.markdown {
        std::fs::write(path, report.markdown()).with_context(|| path.display().to_string())?;
    }
    match &options.check {
        Some(path) => report.is_no_worse_than(&Report::read_json(path)?),
        None => Ok(true),
    }
}
