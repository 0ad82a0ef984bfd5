//! `bursar learn`: what is normal, from history, before the first start.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::config::settings::{InputKind, Settings};
use crate::control::settings::Mode;
use crate::runtime::baselines::{self, Header};
use crate::runtime::recorder::Recorder;
use crate::runtime::wiring;

use super::output::{self, is_stdout, replace_whole};
use super::{Failure, replay, settings};

/// Learn from recorded records what is normal for each function, and keep it in a file.
///
/// Records go through the same engine as in a replay, in event time, and nothing is decided. A file
/// that is there already is replaced once the new one is whole; engine.baselines_file is not read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  bursar learn --out baselines.jsonl.gz monday.jsonl.gz tuesday.jsonl.gz
  bursar replay --baselines baselines.jsonl.gz wednesday.jsonl.gz

The daemon starts from the file that engine.baselines_file names.")]
pub struct LearnArgs {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Baselines, one function per line; .gz and .zst are compressed
    #[arg(long, value_name = "BASELINES")]
    out: PathBuf,
    /// Records, one message per line; plain, gzip or zstd; - is standard input; several files are
    /// merged by time
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

/// Learns; what was done is told on `notes`.
///
/// # Errors
/// Settings, an input that cannot be read or has no records, an output that cannot be written.
pub fn run(args: &LearnArgs, notes: &mut dyn Write) -> Result<(), Failure> {
    if is_stdout(&args.out) {
        return Err(Failure::Usage("--out must be a file, to be put in its place whole".into()));
    }
    let mut settings = settings(args.config.as_ref())?;
    settings.control.mode = Mode::Observe;
    settings.input.kind = InputKind::Files;
    settings.baselines_file = None;
    crate::observe::logging::init(settings.log).context("cannot set up the log")?;
    learn(args, &settings, notes)?;
    Ok(())
}

fn learn(args: &LearnArgs, settings: &Settings, notes: &mut dyn Write) -> anyhow::Result<()> {
    output::check(&args.inputs, &[&args.out])?;
    let source = replay::open(&args.inputs)?;
    let prices = wiring::prices(settings)?;
    let version = prices.version.clone();
    let engine = wiring::engine(settings, &prices.card, settings.baselines_file.as_deref())?;
    let mut pipeline = replay::assemble(settings, prices, engine, Recorder::new())?;
    replay::read(Box::new(source), settings, &mut pipeline)?;
    let learned = pipeline.learned()?;
    let span = pipeline.span().context("the inputs have no records, nothing was learned")?;
    let header = Header::new(settings, version, span, learned.len());
    replace_whole(&args.out, |out| baselines::write(&header, &learned, out))?;
    let records = pipeline.passed().records;
    let (functions, (first, last)) = (learned.len(), span);
    writeln!(
        notes,
        "baselines of {functions} functions from {records} records, {first} to {last}"
    )?;
    Ok(())
}
