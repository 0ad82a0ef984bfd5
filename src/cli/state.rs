//! `bursar state`: what is in the state that a daemon has left, and the way in and out for what was
//! learned.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::config::settings::{InputKind, Settings};
use crate::control::settings::Mode;
use crate::engine::saved::{Kind, functions};
use crate::record::FunctionKey;
use crate::runtime::baselines;
use crate::runtime::pipeline::Pipeline;
use crate::runtime::recorder::Recorder;
use crate::runtime::state::Kept;
use crate::runtime::wiring;
use crate::store::disk::Folder;
use crate::store::snapshot::Header;
use crate::store::snapshots::Snapshots;
use crate::units::EventTime;

use super::output::{self, is_stdout, replace_whole};
use super::{Failure, replay, settings};

/// Functions that are named as the largest.
const LARGEST: usize = 10;

/// What a daemon has left to go on from: look at it, or take out and put in what was learned.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(InspectArgs),
    Export(ExportArgs),
    Import(ImportArgs),
}

/// Say what a snapshot is, which input it includes and what takes the room
///
/// Nothing is changed, and a daemon may be running meanwhile.
#[derive(Debug, clap::Args)]
struct InspectArgs {
    /// The folder, of which the newest is taken, or one snapshot in it
    #[arg(value_name = "STATE")]
    state: PathBuf,
    /// One JSON object instead of words
    #[arg(long)]
    json: bool,
}

/// Write what was learned of each function, as bursar learn does
///
/// Functions that have only been read from baselines and were never called since are not in it.
#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Baselines, one function per line; .gz and .zst are compressed
    #[arg(long, value_name = "BASELINES")]
    out: PathBuf,
    /// The folder, of which the newest is taken, or one snapshot in it
    #[arg(value_name = "STATE")]
    state: PathBuf,
}

/// Begin a state with what was learned elsewhere, as export or bursar learn wrote it
#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Baselines
    #[arg(value_name = "BASELINES")]
    baselines: PathBuf,
    /// The folder, in which there must be no snapshot yet
    #[arg(value_name = "STATE")]
    state: PathBuf,
}

/// Does what is asked for.
///
/// # Errors
/// Settings, a state that is not there or not whole, an output that cannot be written.
pub fn run(args: &StateArgs, out: &mut dyn Write, notes: &mut dyn Write) -> Result<(), Failure> {
    match &args.command {
        Command::Inspect(args) => inspect(args, out)?,
        Command::Export(args) => {
            if is_stdout(&args.out) {
                let words = "--out must be a file, to be put in its place whole";
                return Err(Failure::Usage(words.into()));
            }
            export(args, &apart(args.config.as_ref())?, notes)?;
        }
        Command::Import(args) => import(args, apart(args.config.as_ref())?, notes)?,
    }
    Ok(())
}

/// Settings for something that reads no input and acts on nothing.
fn apart(config: Option<&PathBuf>) -> Result<Settings, Failure> {
    let mut settings = settings(config)?;
    settings.control.mode = Mode::Observe;
    settings.input.kind = InputKind::Files;
    settings.baselines_file = None;
    Ok(settings)
}

/// A snapshot and the folder that it is in.
fn find(path: &Path) -> anyhow::Result<(Snapshots, String, Header)> {
    let is_folder = path.is_dir();
    let folder = if is_folder { Some(path) } else { path.parent() };
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    let shown = || path.display().to_string();
    let snapshots = Snapshots::open(Box::new(Folder::existing(folder))).with_context(shown)?;
    if !is_folder {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.with_context(shown)?;
        let header = snapshots.check(&name).with_context(shown)?;
        return Ok((snapshots, name, header));
    }
    let name = snapshots.names().next().with_context(|| format!("{} has no snapshot", shown()))?;
    let header = snapshots.check(&name).with_context(|| path.join(&name).display().to_string())?;
    Ok((snapshots, name, header))
}

/// What a snapshot holds.
#[derive(Debug, Serialize)]
struct Inspected {
    v: u32,
    kind: &'static str,
    file: String,
    version: String,
    created: EventTime,
    event_time: Option<EventTime>,
    functions: u64,
    positions: Vec<LanePosition>,
    sections: BTreeMap<&'static str, Section>,
    largest: Vec<Largest>,
}

#[derive(Debug, Serialize)]
struct LanePosition {
    lane: String,
    position: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
struct Section {
    count: u64,
    bytes: u64,
    stored_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Largest {
    function: FunctionKey,
    bytes: usize,
}

fn inspect(args: &InspectArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let (snapshots, name, header) = find(&args.state)?;
    let mut sections: BTreeMap<&'static str, Section> = BTreeMap::new();
    let mut largest: Vec<Largest> = Vec::new();
    snapshots.parts(&name, |part, stored| -> anyhow::Result<()> {
        let section = sections.entry(part.kind.as_str()).or_default();
        section.count += u64::from(part.count);
        section.bytes += part.bytes.len() as u64;
        section.stored_bytes += stored as u64;
        if part.kind == Kind::Functions {
            let named = functions(&part)?.into_iter();
            largest.extend(named.map(|(function, bytes)| Largest { function, bytes }));
            largest.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.function.cmp(&b.function)));
            largest.truncate(LARGEST);
        }
        Ok(())
    })?;
    let positions = header.positions.into_iter();
    let inspected = Inspected {
        v: 1,
        kind: "state",
        file: name,
        version: header.version,
        created: EventTime::saturating_from_ms(header.created_ms),
        event_time: header.event_time,
        functions: header.functions,
        positions: positions.map(|(lane, position)| LanePosition { lane, position }).collect(),
        sections,
        largest,
    };
    if args.json {
        serde_json::to_writer(&mut *out, &inspected)?;
        writeln!(out)?;
    } else {
        tell(&inspected, out)?;
    }
    Ok(())
}

fn tell(inspected: &Inspected, out: &mut dyn Write) -> anyhow::Result<()> {
    let Inspected { file, version, created, functions, .. } = inspected;
    writeln!(out, "{file}, written by bursar {version} at {created}")?;
    match inspected.event_time {
        Some(now) => writeln!(out, "{functions} functions, event time {now}")?,
        None => writeln!(out, "{functions} functions, no event yet")?,
    }
    for LanePosition { lane, position } in &inspected.positions {
        match position {
            Some(position) => writeln!(out, "  input {lane}: up to {position}")?,
            None => writeln!(out, "  input {lane}: nothing yet")?,
        }
    }
    for (kind, Section { count, bytes, stored_bytes }) in &inspected.sections {
        writeln!(out, "  {kind}: {count}, {bytes} bytes, {stored_bytes} compressed")?;
    }
    for Largest { function, bytes } in &inspected.largest {
        writeln!(out, "  {function}: {bytes} bytes")?;
    }
    Ok(())
}

/// A pipeline that reads nothing, and the version of its prices.
fn pipeline(settings: &Settings, from: Option<&Path>) -> anyhow::Result<(Pipeline, String)> {
    let prices = wiring::prices(settings)?;
    let version = prices.version.clone();
    let engine = wiring::engine(settings, &prices.card, from)?;
    Ok((replay::assemble(settings, prices, engine, Recorder::new())?, version))
}

fn export(args: &ExportArgs, settings: &Settings, notes: &mut dyn Write) -> anyhow::Result<()> {
    output::check(std::slice::from_ref(&args.state), &[&args.out])?;
    let (snapshots, name, _) = find(&args.state)?;
    let (mut pipeline, version) = pipeline(settings, None)?;
    snapshots.parts(&name, |part, _| -> anyhow::Result<()> {
        pipeline.regain(part)?;
        Ok(())
    })?;
    pipeline.regained()?;
    let learned = pipeline.learned()?;
    let span = pipeline.span().context("the state has seen no records, nothing was learned")?;
    let header = baselines::Header::new(settings, version, span, learned.len());
    replace_whole(&args.out, |out| baselines::write(&header, &learned, out))?;
    let ((first, last), functions) = (span, learned.len());
    writeln!(notes, "baselines of {functions} functions, {first} to {last}")?;
    Ok(())
}

fn import(args: &ImportArgs, mut settings: Settings, notes: &mut dyn Write) -> anyhow::Result<()> {
    let (mut pipeline, _) = pipeline(&settings, Some(&args.baselines))?;
    settings.state_directory = Some(args.state.clone());
    let kept = Kept::open(&settings)?.context("no folder is named")?;
    kept.write(&mut pipeline)?;
    writeln!(notes, "a state that begins with {}", args.baselines.display())?;
    Ok(())
}
