//! `bursar alarms` and `bursar explain`: what is going on and why, from the decisions file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::{Failure, settings};
use crate::observe::explanation::{Alarms, Explanation, Meant};

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
    let by_cost = alarms.by_cost();
    let written = by_cost.iter().try_for_each(|alarm| writeln!(out, "{alarm}"));
    let none = if args.all { "no alarms" } else { "no open alarms" };
    let said = if by_cost.is_empty() { writeln!(out, "{none}") } else { Ok(()) };
    written.and(said).context("standard output").map_err(Failure::Other)
}

/// Explains.
///
/// # Errors
/// Settings, a file that cannot be read, a name that means nothing or too much.
pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let file = args.from.file()?;
    let mut meant = Meant::new(&args.id);
    lines(&file, |line| meant.take(line))?;
    let mut alarms = meant.alarms().iter();
    let (Some(id), None) = (alarms.next(), alarms.next()) else {
        return Err(Failure::Other(unclear(&args.id, &meant)));
    };
    let mut explanation = Explanation::new(id);
    lines(&file, |line| explanation.take(line))?;
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

/// Reads a file of JSON lines. The last may be cut off, since the daemon is writing it.
fn lines(path: &PathBuf, mut take: impl FnMut(&Value)) -> Result<(), Failure> {
    let named = || path.display().to_string();
    let file = File::open(path).with_context(named)?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).with_context(named)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        let value = serde_json::from_slice(&line).with_context(|| {
            format!("{}:{number}: is no line of a decisions file", path.display())
        })?;
        take(&value);
    }
    Ok(())
}
