//! The file that baselines are kept in between two processes: JSON lines, plain, gzip or zstd.
//!
//! The first line says what it is, of which version and time, and how many functions follow; then
//! comes one line a function, sorted by name; the last line repeats the count, so that a file that
//! was cut off is noticed. The same history gives the same bytes, whatever the shards and batches.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::config::settings::Settings;
use crate::engine::learned::Learned;
use crate::source::file::{FileSettings, FileSource};
use crate::source::{Chunk, Read, Source as _};
use crate::units::EventTime;

use super::shards::Shards;

/// The form of the lines; one that cannot be read any more gets the next number.
const FORM: u32 = 1;
/// A line with everything in it has some three thousand bytes.
const LINE_BYTES_MAX: usize = 1 << 16;
/// So many functions are handed to the engine at once.
const LOT: usize = 4_096;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The form of the lines.
    bursar_baselines: u32,
    /// Who wrote it.
    version: String,
    /// The first event of the history.
    pub first_event: EventTime,
    /// The last one.
    pub last_event: EventTime,
    /// How many functions follow.
    pub functions: usize,
    /// Settings under which something else would have been learned, for whoever wonders.
    settings: Shaping,
}

/// See [`Header`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shaping {
    lateness_seconds: u32,
    envelope: f64,
    notice_floor_usd_per_hour: f64,
    prices: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: usize,
}

impl Header {
    /// The header of a file about `functions` functions, priced by the table `prices`.
    pub fn new(
        settings: &Settings,
        prices: String,
        (first_event, last_event): (EventTime, EventTime),
        functions: usize,
    ) -> Self {
        Self {
            bursar_baselines: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            first_event,
            last_event,
            functions,
            settings: Shaping {
                lateness_seconds: settings.engine.lateness_seconds,
                envelope: settings.detection.envelope,
                notice_floor_usd_per_hour: settings.detection.notice_floor_usd_per_hour,
                prices,
            },
        }
    }
}

/// Writes all lines.
///
/// # Errors
/// `out` cannot be written.
pub fn write(header: &Header, learned: &[Learned], out: &mut dyn Write) -> io::Result<()> {
    line(header, out)?;
    learned.iter().try_for_each(|learned| line(learned, out))?;
    line(&End { end: learned.len() }, out)
}

fn line(line: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// What came of a file.
#[derive(Debug)]
pub struct Loaded {
    /// Its first line.
    pub header: Header,
    /// Functions for which there was no room; the idlest.
    pub dropped: usize,
}

/// Lets the shards start from a file, which must be whole. They have seen nothing yet.
///
/// # Errors
/// The file cannot be read, or is not what it should be; with the number of the line.
pub fn load(path: &Path, shards: &mut Shards) -> anyhow::Result<Loaded> {
    let (mut lot, mut known) = (Vec::with_capacity(LOT), 0);
    let header = read(path, |learned| {
        lot.push(learned);
        if lot.len() == LOT {
            known = shards.start_from(lot.drain(..))?;
        }
        Ok(())
    })?;
    if !lot.is_empty() {
        known = shards.start_from(lot.drain(..))?;
    }
    Ok(Loaded { dropped: header.functions.saturating_sub(known), header })
}

/// Reads a file and hands out its functions.
fn read(
    path: &Path,
    mut take: impl FnMut(Learned) -> anyhow::Result<()>,
) -> anyhow::Result<Header> {
    let settings = FileSettings { line_bytes_max: LINE_BYTES_MAX, ..FileSettings::default() };
    let mut source = FileSource::open(&[path.to_path_buf()], |_| None, settings)?;
    let mut reader = Reader::default();
    let mut chunk = Chunk::new();
    let place = |number: u64| format!("{} line {number}", path.display());
    loop {
        match source.read(&mut chunk, Duration::from_secs(1))? {
            Read::Messages => {}
            Read::Idle => continue,
            Read::End => return reader.finish().with_context(|| path.display().to_string()),
        }
        if let Some(problem) = chunk.problems().next() {
            bail!("{}: {}, {AGAIN}", place(problem.position.offset), problem.detail);
        }
        for message in chunk.messages() {
            let learned = reader.line(message.payload);
            let learned = learned.with_context(|| place(message.position.offset))?;
            learned.map_or(Ok(()), &mut take)?;
        }
    }
}

/// What to do about a file that is of no use.
const AGAIN: &str = "write the file again with bursar learn";

/// Where in the file it is.
#[derive(Debug, Default)]
struct Reader {
    header: Option<Header>,
    seen: usize,
    last: Option<Learned>,
    is_over: bool,
}

impl Reader {
    /// Reads the next line. A function is handed out with the line behind it, by which its order
    /// is known.
    fn line(&mut self, text: &[u8]) -> anyhow::Result<Option<Learned>> {
        let Some(header) = &self.header else {
            self.header = Some(header(text)?);
            return Ok(None);
        };
        ensure!(!self.is_over, "comes after the end, {AGAIN}");
        if text.starts_with(br#"{"end""#) {
            let End { end } = serde_json::from_slice(text).map_err(told)?;
            let (seen, told) = (self.seen, header.functions);
            ensure!(
                end == seen && told == seen,
                "{seen} functions came before it, {end} are its count and {told} the first \
                 line's, {AGAIN}"
            );
            self.is_over = true;
            return Ok(self.last.take());
        }
        let learned: Learned = serde_json::from_slice(text).map_err(told)?;
        let in_order = self.last.as_ref().is_none_or(|last| last.function < learned.function);
        ensure!(in_order, "{} is out of order, {AGAIN}", learned.function);
        self.seen += 1;
        Ok(self.last.replace(learned))
    }

    fn finish(self) -> anyhow::Result<Header> {
        let Some(header) = self.header else { bail!("is empty, {AGAIN}") };
        let (seen, told) = (self.seen, header.functions);
        ensure!(self.is_over, "is cut off: {seen} of {told} functions and no last line, {AGAIN}");
        Ok(header)
    }
}

fn header(text: &[u8]) -> anyhow::Result<Header> {
    /// What the first line of every version says.
    #[derive(Deserialize)]
    struct Form {
        bursar_baselines: u32,
    }
    let form: Form = serde_json::from_slice(text).map_err(told)?;
    let found = form.bursar_baselines;
    ensure!(found == FORM, "form {found}, but this bursar reads form {FORM}, {AGAIN}");
    serde_json::from_slice(text).map_err(told)
}

/// Every line is a document of its own, whose lines need not be counted.
fn told(error: serde_json::Error) -> anyhow::Error {
    anyhow::anyhow!("{}, {AGAIN}", error.to_string().replace("line 1 column", "column"))
}

#[cfg(test)]
mod tests;
