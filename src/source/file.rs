//! Files and standard input, plain, gzip or zstd, one message a line, merged by event time.
//!
//! Regular files are read in place; anything that can keep one waiting (pipes, terminals, standard
//! input) has a thread that reads ahead, so that `wait` is kept. What is damaged ends its own lane
//! and no other.

mod input;
mod lines;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::input::Input;
use self::lines::{Filled, Lines, Piece};
use super::merge::{Merge, Pop};
use super::{Chunk, Headers, PeekTime, ProblemReason, Progress, Read, Source, SourceError};
use crate::record::Position;

/// Inputs that are merged at once: each costs a buffer and an open file, and systems commonly
/// allow a process 1,024 of those.
pub const INPUTS_MAX: usize = 512;

/// Refills within one read; an input of nothing but empty lines gives no message however long it
/// is read, and a reader must come back to see that it should stop.
const REFILLS_MAX: u32 = 64;

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSettings {
    /// A longer line is not kept in memory: it becomes a problem, and reading goes on behind it.
    pub line_bytes_max: usize,
    /// How long a silent pipe holds back the other inputs.
    pub idle: Duration,
}

impl Default for FileSettings {
    /// 8 MiB: Kinesis allows 10 MiB a record but a gzipped log envelope unpacks to 1 MB or so.
    /// 2 s: as for Kafka.
    fn default() -> Self {
        Self { line_bytes_max: 8 << 20, idle: Duration::from_secs(2) }
    }
}

/// The decompressed bytes of one file, or of standard input for `-`, for who reads them in his own
/// way.
///
/// # Errors
/// It cannot be opened or its beginning cannot be read.
pub fn open(path: &Path) -> Result<Box<dyn io::Read + Send>, SourceError> {
    let unreadable = |cause| SourceError::Unreadable { path: path.display().to_string(), cause };
    if path == Path::new("-") {
        return input::decoded(io::stdin()).map_err(unreadable);
    }
    if path.is_dir() {
        return Err(SourceError::Directory { path: path.display().to_string() });
    }
    input::decoded(File::open(path).map_err(unreadable)?).map_err(unreadable)
}

/// Reads lines from one or several inputs.
#[derive(Debug)]
pub struct FileSource {
    lanes: Vec<Lane>,
    merge: Merge<Piece>,
    peek: PeekTime,
    bytes_read: Arc<AtomicU64>,
    bytes_total: Option<u64>,
    /// The sum of all waits that were waited in vain: the clock on which a pipe is silent.
    waited: Duration,
    closed: bool,
}

#[derive(Debug)]
struct Lane {
    name: String,
    lines: Lines,
}

impl FileSource {
    /// Opens every input; `-` is standard input.
    ///
    /// # Errors
    /// None or too many inputs, a directory, or a file that cannot be read; the error names it.
    pub fn open(
        paths: &[PathBuf],
        peek: PeekTime,
        settings: FileSettings,
    ) -> Result<Self, SourceError> {
        let dash = |path: &&PathBuf| path.as_path() == Path::new("-");
        if paths.is_empty() {
            return Err(SourceError::NoInput);
        }
        if paths.len() > INPUTS_MAX {
            return Err(SourceError::TooManyInputs { count: paths.len(), max: INPUTS_MAX });
        }
        if paths.iter().filter(dash).count() > 1 {
            return Err(SourceError::StandardInputTwice);
        }
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut bytes_total = Some(0_u64);
        let mut inputs = Vec::with_capacity(paths.len());
        for path in paths {
            let (input, bytes) = Input::open(path, &bytes_read)?;
            bytes_total = bytes_total.zip(bytes).map(|(sum, more)| sum.saturating_add(more));
            inputs.push((path.display().to_string(), input));
        }
        let mut source = Self::over(inputs, peek, settings);
        source.bytes_read = bytes_read;
        source.bytes_total = bytes_total;
        Ok(source)
    }

    fn over(inputs: Vec<(String, Input)>, peek: PeekTime, settings: FileSettings) -> Self {
        let mut merge = Merge::new(settings.idle);
        let lanes = inputs
            .into_iter()
            .map(|(name, input)| {
                merge.add_lane(Duration::ZERO);
                Lane { name, lines: Lines::new(input, settings.line_bytes_max) }
            })
            .collect();
        Self {
            lanes,
            merge,
            peek,
            bytes_read: Arc::default(),
            bytes_total: None,
            waited: Duration::ZERO,
            closed: false,
        }
    }

    /// Before the first read: passes over the lines that are known, up to these positions.
    pub fn resume(&mut self, from: &[(String, Option<u64>)]) {
        for (name, known) in from {
            let lane = self.lanes.iter_mut().find(|lane| lane.name == *name);
            if let (Some(lane), Some(known)) = (lane, known) {
                lane.lines.pass_over(*known);
            }
        }
    }

    /// Reads on where the queue is empty, without waiting; true when anything came or ended.
    fn refill(&mut self) -> bool {
        let peeks = self.lanes.len() > 1;
        let hungry: Vec<u32> = self.merge.hungry().to_vec();
        let mut moved = false;
        for lane in hungry {
            let (merge, peek) = (&mut self.merge, self.peek);
            let filled = self.lanes[lane as usize].lines.fill(&mut |piece, bytes| {
                let time = if peeks { peek(bytes) } else { None };
                merge.push(lane, time, piece);
            });
            if filled == Filled::End {
                let Lane { name, lines } = &self.lanes[lane as usize];
                let missing = lines.missing();
                if missing > 0 {
                    tracing::warn!(
                        input = %name, missing,
                        "the input is shorter than what is known of it, nothing new is in it"
                    );
                }
                self.merge.end(lane);
            }
            moved |= filled != Filled::Nothing;
        }
        moved
    }

    /// Gives the moment until which a silent pipe holds the rest back, if one does.
    fn deliver(&mut self, chunk: &mut Chunk) -> Option<Duration> {
        while !chunk.is_full() {
            let (lane, item) = match self.merge.pop(self.waited) {
                Pop::Item { lane, item } => (lane, item),
                Pop::Held { until } => return Some(until),
                Pop::Empty => return None,
            };
            let position = |offset| Position { lane, offset };
            match item {
                Piece::Line { number, start, end } => {
                    let line = self.lanes[lane as usize].lines.bytes(start, end);
                    chunk.push(position(number), None, Headers::default(), line);
                }
                Piece::Oversize { number, length, sample } => {
                    let detail = format!("line of {length} bytes");
                    chunk.push_problem(position(number), ProblemReason::Oversize, detail, &sample);
                }
                Piece::Damage { number, cause, rest } => {
                    let name = &self.lanes[lane as usize].name;
                    tracing::warn!(input = %name, line = number, %cause, "input is damaged here");
                    chunk.push_problem(position(number), ProblemReason::Damage, cause, &rest);
                }
            }
        }
        None
    }
}

impl Source for FileSource {
    fn read(&mut self, chunk: &mut Chunk, wait: Duration) -> Result<Read, SourceError> {
        chunk.clear();
        let mut waited = Duration::ZERO;
        let mut refills = 0;
        loop {
            if self.closed {
                return Ok(Read::End);
            }
            let held = self.deliver(chunk);
            if !chunk.is_full() && refills < REFILLS_MAX && self.refill() {
                refills += 1;
                continue;
            }
            if !chunk.is_empty() {
                return Ok(Read::Messages);
            }
            if self.merge.is_exhausted() {
                return Ok(Read::End);
            }
            if waited >= wait || refills >= REFILLS_MAX {
                return Ok(Read::Idle);
            }
            // No longer than until a silent pipe is left out.
            let part = held.map_or(Duration::MAX, |until| until.saturating_sub(self.waited));
            let part = part.min(wait - waited);
            let hungry = self.merge.hungry().iter();
            let pipes = hungry.filter_map(|&lane| self.lanes[lane as usize].lines.pipe());
            if !input::wait_for_any(pipes, part) {
                waited += part;
                self.waited = self.waited.saturating_add(part);
            }
        }
    }

    fn lanes(&self) -> Vec<String> {
        self.lanes.iter().map(|lane| lane.name.clone()).collect()
    }

    fn acknowledge(&mut self, _through: &[Position]) {}

    fn progress(&self) -> Progress {
        Progress {
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            bytes_total: self.bytes_total,
            ..Progress::default()
        }
    }

    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    fn close(&mut self) {
        self.closed = true;
        for lane in &mut self.lanes {
            lane.lines.close();
        }
    }
}

#[cfg(test)]
mod tests;
