//! `bursar score`: what is unusual in a metric export.

use std::io::{BufRead, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::score::table::{Columns, Field};
use crate::score::{Scorer, Settings};
use crate::source::file;

use super::output::{self, Existing};

/// The longest line, in bytes: a row of a metric is a hundredth of it.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Say how unusual each value of a metric is beside all that came before it.
///
/// The input's rows come back with two columns more: score, from 0 to 1, and alarm, 1 at the single
/// records that somebody should look at. Neither looks ahead; the first day is only learned from.
#[derive(Debug, clap::Args)]
pub struct ScoreArgs {
    /// Where to write; - is standard output
    #[arg(long, value_name = "OUT.csv", default_value = "-")]
    output: PathBuf,
    /// A metric export, oldest first: timestamp,value and columns that are carried along, with or
    /// without a header; a missing value is empty or NaN; plain, gzip or zstd; - is standard input
    #[arg(value_name = "INPUT.csv")]
    input: PathBuf,
}

/// What was found.
#[derive(Debug, Default)]
struct Counts {
    records: u64,
    unreadable: u64,
    alarms: u64,
}

/// Scores; what was done is told on `notes`.
///
/// # Errors
/// An input that cannot be read or is no table, an output that cannot be written.
pub fn run(args: &ScoreArgs, notes: &mut dyn Write) -> anyhow::Result<()> {
    let input = BufReader::new(file::open(&args.input)?);
    output::check(std::slice::from_ref(&args.input), &[&args.output])?;
    let mut out = output::open(&args.output, Existing::Replace)?;
    let counts = score(input, &mut out, &args.input)?;
    out.flush()?;
    let Counts { records, unreadable, alarms } = counts;
    write!(notes, "{records} records, {alarms} alarms")?;
    if unreadable > 0 {
        write!(notes, ", {unreadable} values that are no numbers were passed over")?;
    }
    writeln!(notes)?;
    Ok(())
}

fn score(mut input: impl BufRead, out: &mut dyn Write, path: &Path) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let mut scorer = Scorer::new(Settings::default());
    let mut columns = None;
    let mut line = String::new();
    for number in 1_u64.. {
        let place = || format!("{}, line {number}", path.display());
        if !read_line(&mut input, &mut line).with_context(place)? {
            break;
        }
        let row = line.trim_end_matches(['\n', '\r']).trim_start_matches('\u{feff}');
        if row.is_empty() {
            continue;
        }
        let columns = match columns {
            Some(columns) => columns,
            None => {
                let found = Columns::of(row);
                let found = found.context("one column only, timestamp,value is needed");
                let found = *columns.insert(found.with_context(place)?);
                if found.has_header {
                    writeln!(out, "{row},score,alarm")?;
                    continue;
                }
                found
            }
        };
        let value = match columns.value(row) {
            Field::Number(value) => Some(value),
            Field::Missing => None,
            Field::Unreadable => {
                counts.unreadable += 1;
                None
            }
        };
        let said = scorer.score(columns.time(row), value);
        counts.records += 1;
        counts.alarms += u64::from(said.alarm);
        writeln!(out, "{row},{:.6},{}", said.score, u8::from(said.alarm))?;
    }
    Ok(counts)
}

/// The next line, if there is one; a longer one than is sensible is refused before it fills memory.
fn read_line(input: &mut impl BufRead, line: &mut String) -> anyhow::Result<bool> {
    line.clear();
    let count = input.take(LINE_BYTES_MAX).read_line(line)?;
    anyhow::ensure!(
        (count as u64) < LINE_BYTES_MAX || line.ends_with('\n'),
        "longer than {LINE_BYTES_MAX} bytes; is this a metric export?",
    );
    Ok(count > 0)
}
