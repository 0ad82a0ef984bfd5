//! `bursar alarms` and `bursar explain`: what is going on and why, from the decisions file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::{Failure, settings};
use crate::observe::explanation::{Alarms, Explanation, Meant, harmless};

/// The longest line that is read: an alarm with all its sources has a few hundred kilobytes.
const LINE_MAX: u64 = 16 << 20;

/// List the open alarms, the costliest first.
#[derive(Debug, clap::Args)]
pub struct AlarmsArgs {
    /// Those that are over, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    from: From,
}

/// Say in plain words why something was done, or why not.
///
/// Evidence, money, callers, actions, and every gate that kept bursar from acting, with its value,
/// what it needed and how far off that was.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Name of an alarm, an action or a restriction, or how it begins
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    from: From,
}

#[derive(Debug, clap::Args)]
struct From {
    /// Decisions of bursar run, replay or simulate [default: output.decisions of the settings]
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Settings file
    #[arg(long, value_name = "FILE", conflicts_with = "decisions")]
    config: Option<PathBuf>,
}

/// Lists.
///
/// # Errors
/// Settings, or a file that cannot be read.
pub fn alarms(args: &AlarmsArgs) -> Result<(), Failure> {
    let mut alarms = Alarms::default();
    lines(&args.from.file()?, |line| alarms.take(line, args.all))?;
    let mut out = io::stdout().lock();
    let (listed, more) = alarms.listed();
    let mut text: String = listed.iter().map(|alarm| format!("{alarm}\n")).collect();
    if listed.is_empty() {
        text = if args.all { "no alarms\n" } else { "no open alarms\n" }.to_owned();
    }
    if more > 0 {
        text += &format!("and {more} more\n");
    }
    out.write_all(text.as_bytes()).context("standard output").map_err(Failure::Other)
}

/// Explains.
///
/// # Errors
/// Settings, a file that cannot be read, a name that means nothing or too much.
pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let file = args.from.file()?;
    let mut meant = Meant::new(&args.id);
    lines(&file, |line| {
        meant.take(line);
        Ok(())
    })?;
    let mut alarms = meant.alarms().iter();
    let (Some(id), None) = (alarms.next(), alarms.next()) else {
        return Err(Failure::Other(unclear(&args.id, &meant)));
    };
    let mut explanation = Explanation::new(id);
    lines(&file, |line| explanation.take(line))?;
    if !explanation.is_known() {
        let words = format!("{}: has no line of alarm {id} itself", file.display());
        return Err(Failure::Other(anyhow!(words)));
    }
    write!(io::stdout().lock(), "{explanation}").context("standard output").map_err(Failure::Other)
}

fn unclear(id: &str, meant: &Meant) -> anyhow::Error {
    if meant.alarms().is_empty() {
        return anyhow!("nothing is called {id:?} here; `bursar alarms --all` lists what there is");
    }
    let names: Vec<&str> = meant.alarms().iter().map(String::as_str).collect();
    anyhow!("{id:?} may be any of {}; give more of its name", names.join(", "))
}

impl From {
    fn file(&self) -> Result<PathBuf, Failure> {
        if let Some(file) = &self.decisions {
            return Ok(file.clone());
        }
        let words = "where are the decisions? give --decisions FILE, or --config FILE with \
                     output.decisions in it";
        settings(self.config.as_ref())?
            .output
            .decisions
            .ok_or_else(|| Failure::Usage(words.to_owned()))
    }
}

/// Reads a file of JSON lines. A daemon that died may have left half a line behind, and one that
/// lives may be writing the last: what cannot be read is counted, told, and left out.
#[expect(clippy::print_stderr, reason = "what is left out must be known beside the answer")]
fn lines(
    path: &PathBuf,
    mut take: impl FnMut(&Value) -> serde_json::Result<()>,
) -> Result<(), Failure> {
    let named = || path.display().to_string();
    let file = File::open(path).with_context(named)?;
    if !file.metadata().with_context(named)?.is_file() {
        let words = format!("{}: is no file; decisions are read twice", path.display());
        return Err(Failure::Other(anyhow!(words)));
    }
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let (mut unreadable, mut first) = (0_u64, 0);
    for number in 1_u64.. {
        line.clear();
        reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).with_context(named)?;
        let is_whole = line.last() == Some(&b'\n');
        if !is_whole && line.len() as u64 == LINE_MAX {
            reader.skip_until(b'\n').with_context(named)?;
        }
        let read = serde_json::from_slice(&line).map(harmless).and_then(|value| take(&value));
        if read.is_err() && (is_whole || line.len() as u64 == LINE_MAX) {
            (unreadable, first) = (unreadable + 1, if unreadable == 0 { number } else { first });
        }
        if line.is_empty() {
            break;
        }
    }
    if unreadable > 0 {
        eprintln!(
            "bursar: {}:{first}: is no line of decisions; {unreadable} such lines left out",
            path.display()
        );
    }
    Ok(())
}
