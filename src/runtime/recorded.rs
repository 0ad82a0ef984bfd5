//! Recorded files as the load of a simulation: read and decoded as by a replay.

use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use crate::decode::{self, Context, Decoder, Ignored, Limits, Sink};
use crate::record::Record;
use crate::simulation::recording::{Files, Records};
use crate::source::file::{FileSettings, FileSource};
use crate::source::{Chunk, ProblemReason, Read, Source as _};
use crate::units::AccountId;

/// Messages that are read at once, of up to so many bytes: every policy has a reader of its own.
const CHUNK_MESSAGES_MAX: usize = 1_024;
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Opens files of records, in whatever format a replay reads.
///
/// # Errors
/// One of them cannot be read.
pub fn open(files: &Files) -> Result<Box<dyn Records>, String> {
    let stamp = stamp(&files.paths);
    if files.stamp.is_some_and(|before| before != stamp) {
        return Err(format!("{} or another file {CHANGED}", shown(&files.paths)));
    }
    let source = FileSource::open(&files.paths, decode::first_time, FileSettings::default());
    Ok(Box::new(RecordedFiles {
        source: source.map_err(|error| error.to_string())?,
        decoder: Decoder::new(Limits::default()),
        chunk: Chunk::with_limits(CHUNK_MESSAGES_MAX, CHUNK_BYTES_MAX),
        next: 0,
        account: files.account,
        region: files.region,
        function: files.function.clone(),
        refused: (0, None),
        paths: files.paths.clone(),
        stamp,
    }))
}

const CHANGED: &str = "has changed since it was first read; let it be while it is played";

/// Lengths and times of the files' last change.
fn stamp(paths: &[PathBuf]) -> u64 {
    let mut hash = Xxh3::new();
    for found in paths.iter().map(fs::metadata) {
        let found = found.ok().map(|found| (found.len(), found.modified().ok()));
        found.hash(&mut hash);
    }
    hash.finish()
}

fn shown(paths: &[PathBuf]) -> String {
    paths.first().map_or(String::new(), |path| path.display().to_string())
}

#[derive(Debug)]
struct RecordedFiles {
    source: FileSource,
    decoder: Decoder,
    chunk: Chunk,
    /// The place of the next message in the chunk.
    next: usize,
    account: AccountId,
    region: &'static str,
    function: Option<String>,
    refused: (u64, Option<String>),
    paths: Vec<PathBuf>,
    stamp: u64,
}

impl RecordedFiles {
    /// Makes sure that there is a next message; false at the end.
    fn fill(&mut self) -> Result<bool, String> {
        while self.next >= self.chunk.messages().len() {
            self.next = 0;
            match self.source.read(&mut self.chunk, Duration::ZERO) {
                Ok(Read::Messages | Read::Idle) => self.note_problems()?,
                Ok(Read::End) if stamp(&self.paths) == self.stamp => return Ok(false),
                Ok(Read::End) => {
                    return Err(format!("{} or another file {CHANGED}", shown(&self.paths)));
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(true)
    }

    fn note_problems(&mut self) -> Result<(), String> {
        for problem in self.chunk.problems() {
            let lane = problem.position.lane as usize;
            let lane = self.source.lanes().into_iter().nth(lane).unwrap_or_default();
            let (line, detail) = (problem.position.offset, problem.detail);
            let words = format!("{lane} line {line}: {detail}");
            if problem.reason == ProblemReason::Damage {
                return Err(format!("{words}; give a whole file"));
            }
            self.refused.0 += 1;
            self.refused.1.get_or_insert(words);
        }
        Ok(())
    }
}

impl Records for RecordedFiles {
    fn message(&mut self, tell: &mut dyn FnMut(&Record<'_>)) -> Result<bool, String> {
        if !self.fill()? {
            return Ok(false);
        }
        let Some(message) = self.chunk.message(self.next) else {
            return Ok(false);
        };
        self.next += 1;
        let function = self.function.as_deref();
        let context = Context { account: self.account, region: self.region, function };
        let mut teller = Teller { tell, refused: &mut self.refused };
        self.decoder.decode(message.payload, &context, &mut teller);
        Ok(true)
    }

    fn pass(&mut self, mut messages: u64) -> Result<(), String> {
        while messages > 0 && self.fill()? {
            let there = self.chunk.messages().len() - self.next;
            let passed = usize::try_from(messages).unwrap_or(usize::MAX).min(there);
            self.next += passed;
            messages -= passed as u64;
        }
        Ok(())
    }

    fn stamp(&self) -> u64 {
        self.stamp
    }

    fn refused(&self) -> (u64, Option<&str>) {
        (self.refused.0, self.refused.1.as_deref())
    }
}

struct Teller<'a> {
    tell: &'a mut dyn FnMut(&Record<'_>),
    refused: &'a mut (u64, Option<String>),
}

impl Sink for Teller<'_> {
    fn record(&mut self, record: &Record<'_>) {
        (self.tell)(record);
    }

    fn problem(&mut self, problem: decode::Problem<'_>) {
        self.refused.0 += 1;
        self.refused.1.get_or_insert_with(|| problem.detail.clone());
    }

    fn ignored(&mut self, _kind: Ignored) {}
}
