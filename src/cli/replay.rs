//! `bursar replay`: recorded records through the same engine, in event time, as fast as it goes.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::act::dry_run::DryRun;
use crate::act::hands::Hands;
use crate::config::settings::{InputKind, Settings};
use crate::control::settings::Mode;
use crate::decode;
use crate::engine::accounts::Accounts;
use crate::engine::intake::Intake;
use crate::report;
use crate::runtime::clock::Present;
use crate::runtime::dead_letter::DeadLetters;
use crate::runtime::dead_letter::letters::LetterSource;
use crate::runtime::feed::{Fed, Feed};
use crate::runtime::pipeline::{Defaults, Parts, Pipeline};
use crate::runtime::recorder::Recorder;
use crate::runtime::shards::Shards;
use crate::runtime::wiring::{self, Prices};
use crate::source::file::{FileSettings, FileSource};
use crate::source::{Progress, Source};

use super::output::{self, Existing};
use super::{Failure, settings};

/// Send recorded records through the engine and print what bursar would have done and when.
///
/// Nothing is changed anywhere: replay always observes.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Decisions, one JSON object per line
    #[arg(long, value_name = "OUT.jsonl")]
    decisions: Option<PathBuf>,
    /// Usage and money per minute and function, one JSON object per line
    #[arg(long, value_name = "OUT.jsonl")]
    ledger: Option<PathBuf>,
    /// What is normal, as bursar learn wrote it, instead of engine.baselines_file
    #[arg(long, value_name = "FILE")]
    baselines: Option<PathBuf>,
    /// Everything in one JSON document
    #[arg(long, value_name = "OUT.json")]
    json: Option<PathBuf>,
    /// What would have happened, with pictures, as one HTML file that needs no network
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,
    /// The inputs are files of dead letters: take in the records that were refused then
    #[arg(long)]
    dead_letters: bool,
    /// Records, one message per line; plain, gzip or zstd; - is standard input; several files are
    /// merged by time
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

/// Replays.
///
/// # Errors
/// Settings, an input that cannot be read, an output that cannot be written.
pub fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let mut settings = settings(args.config.as_ref())?;
    // Recorded records cannot be acted on, whatever the settings say of the live stream; and the
    // input is what the command line names.
    settings.control.mode = Mode::Observe;
    settings.input.kind = InputKind::Files;
    settings.baselines_file = args.baselines.clone().or(settings.baselines_file);
    crate::observe::logging::init(settings.log).context("cannot set up the log")?;
    replay(args, &settings)?;
    Ok(())
}

fn replay(args: &ReplayArgs, settings: &Settings) -> anyhow::Result<()> {
    let source: Box<dyn Source> = match args.dead_letters {
        false => Box::new(open(&args.inputs)?),
        true => Box::new(LetterSource::open(&args.inputs)?),
    };
    let mut pipeline = pipeline(args, settings)?;
    read(source, settings, &mut pipeline)?;
    let summary = pipeline.finish()?;
    let dead = pipeline.dead().counts().map(|(reason, count)| format!("{reason} {count}"));
    let dead: Vec<String> = dead.collect();
    let recorder = pipeline.recorder();
    if !dead.is_empty() {
        recorder.say(&format!("rejected by reason: {}", dead.join(", ")));
    }
    let story = recorder.take_story().unwrap_or_default();
    if let Some(path) = &args.json {
        let (lines, would_have) = (recorder.kept(), story.would_have());
        let all = json!({ "summary": summary, "lines": lines, "would_have": would_have });
        output::write_json(path, &all)?;
    }
    if let Some(path) = &args.report {
        output::write_text(path, &report::replay::render(&story, &summary))?;
    }
    anyhow::ensure!(!recorder.has_failed(), "not everything could be written, see the log");
    Ok(())
}

/// Opens recorded files.
///
/// # Errors
/// One cannot be read.
pub(super) fn open(inputs: &[PathBuf]) -> anyhow::Result<FileSource> {
    Ok(FileSource::open(inputs, decode::first_time, FileSettings::default())?)
}

/// Sends all records through the pipeline, up to the end of the input.
///
/// # Errors
/// The input can no longer be read, or the engine has died.
pub(super) fn read(
    source: Box<dyn Source>,
    settings: &Settings,
    pipeline: &mut Pipeline,
) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let feed = Feed::start(source, settings.queue_chunks, stop)?;
    let mut bar = Bar::new();
    loop {
        match feed.next(Duration::from_secs(1)) {
            Some(Fed::Chunk(chunk, lanes, progress)) => {
                if let Some(lanes) = lanes {
                    pipeline.set_lanes(lanes);
                }
                pipeline.chunk(&chunk)?;
                bar.show(progress, pipeline);
                feed.done(chunk, Vec::new());
            }
            Some(Fed::Idle(..)) | None => {}
            Some(Fed::End) => break,
            Some(Fed::Failed(error)) => return Err(error.into()),
        }
    }
    bar.clear();
    Ok(())
}

fn pipeline(args: &ReplayArgs, settings: &Settings) -> anyhow::Result<Pipeline> {
    let prices = wiring::prices(settings)?;
    let engine = wiring::engine(settings, &prices.card, settings.baselines_file.as_deref())?;
    let decisions = args.decisions.as_deref().or(settings.output.decisions.as_deref());
    let ledger = args.ledger.as_deref().or(settings.output.ledger.as_deref());
    // What goes to standard output must not be mixed with words for people.
    let outputs = [decisions, ledger, args.json.as_deref(), args.report.as_deref()];
    let outputs: Vec<&Path> = outputs.into_iter().flatten().collect();
    let baselines = settings.baselines_file.iter().cloned();
    let inputs: Vec<PathBuf> = args.inputs.iter().cloned().chain(baselines).collect();
    output::check(&inputs, &outputs)?;
    if args.dead_letters
        && let Some(path) = settings.output.dead_letters.as_deref()
    {
        // What is refused again would be read again.
        output::check(&inputs, &[path])?;
    }
    let machine = outputs.iter().any(|path| output::is_stdout(path));
    let mut recorder = Recorder::new()
        .with_decisions(output::open_if_named(decisions, Existing::Replace)?)
        .with_ledger(output::open_if_named(ledger, Existing::Replace)?)
        .with_narration((!machine).then(output::narration))
        .with_story(args.json.is_some() || args.report.is_some())
        .keeping(args.json.is_some());
    recorder.run(&wiring::run_line(settings, prices.version.clone()));
    assemble(settings, prices, engine, recorder)
}

/// The parts of a replay, put together.
///
/// # Errors
/// Dead letters cannot be written.
pub(super) fn assemble(
    settings: &Settings,
    prices: Prices,
    (intake, shards): (Intake, Shards),
    recorder: Recorder,
) -> anyhow::Result<Pipeline> {
    let dead = DeadLetters::open(
        settings.output.dead_letters.as_deref(),
        settings.output.dead_letter_bytes_max,
        settings.output.dead_letters_per_reason_max,
    )?;
    Ok(Pipeline::new(Parts {
        defaults: Defaults {
            account: settings.input.account,
            region: settings.input.region.clone(),
            function: settings.input.function.clone(),
            exclude: wiring::excluded(settings),
        },
        intake,
        shards,
        accounts: Accounts::new(settings.detection.clone()),
        bills: prices.bills,
        footprint: prices.footprint,
        control: wiring::control(settings),
        hands: Hands::here(Box::new(DryRun)),
        recorder,
        dead,
        batch_records: settings.batch_records,
        present: Present::Recorded,
    }))
}

/// Progress on standard error, where that is a terminal.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let style = "{bar:30} {bytes}/{total_bytes} {msg} {eta}";
        let style = ProgressStyle::with_template(style);
        Self(Some(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))))
    }

    fn show(&mut self, progress: Progress, pipeline: &Pipeline) {
        let Some(bar) = &self.0 else {
            return;
        };
        if let Some(total) = progress.bytes_total {
            bar.set_length(total);
        }
        bar.set_position(progress.bytes_read);
        let now = pipeline.now().map(|now| now.to_string()).unwrap_or_default();
        bar.set_message(format!("{} records, {now}", pipeline.passed().records));
    }

    fn clear(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
