//! Splits an input into lines, in a buffer that the lines are lent from.

use std::io;

use memchr::memchr;

use super::super::chunk::SAMPLE_BYTES_MAX;
use super::input::{Input, Pipe, Portion};

/// One read. Large enough that the scan and not the system call dominates, small enough that a
/// few hundred inputs fit into memory.
const BUFFER_BYTES: usize = 128 << 10;

/// The lines of one input.
#[derive(Debug)]
pub(super) struct Lines {
    input: Input,
    line_bytes_max: usize,
    buffer: Vec<u8>,
    /// The unfinished line is `buffer[start..filled]`; before it are the lines that are lent.
    start: usize,
    filled: usize,
    /// Lines that were finished so far.
    number: u64,
    /// So many of them are known already and are passed over.
    known: u64,
    overlong: Option<Overlong>,
    ended: bool,
}

/// One thing found in the input.
#[derive(Debug)]
pub(super) enum Piece {
    /// A line without its end, to be had from [`Lines::bytes`] until the next [`Lines::fill`].
    Line { number: u64, start: usize, end: usize },
    /// A line above the limit.
    Oversize { number: u64, length: u64, sample: Box<[u8]> },
    /// The input cannot be read any further; `rest` is the unfinished line.
    Damage { number: u64, cause: String, rest: Box<[u8]> },
}

/// What a [`Lines::fill`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// Bytes came, perhaps no whole line yet.
    Some,
    /// A pipe has nothing now.
    Nothing,
    /// That was all.
    End,
}

#[derive(Debug)]
struct Overlong {
    length: u64,
    sample: Box<[u8]>,
}

fn sample_of(bytes: &[u8]) -> Box<[u8]> {
    bytes.get(..SAMPLE_BYTES_MAX).unwrap_or(bytes).into()
}

impl Lines {
    pub(super) fn new(input: Input, line_bytes_max: usize) -> Self {
        Self {
            input,
            line_bytes_max,
            buffer: Vec::new(),
            start: 0,
            filled: 0,
            number: 0,
            known: 0,
            overlong: None,
            ended: false,
        }
    }

    /// A line that was found by the last [`Lines::fill`].
    pub(super) fn bytes(&self, start: usize, end: usize) -> &[u8] {
        self.buffer.get(start..end).unwrap_or_default()
    }

    /// Passes over so many lines at its beginning.
    pub(super) fn pass_over(&mut self, known: u64) {
        self.known = known;
    }

    /// Lines that were to be passed over and did not come.
    pub(super) fn missing(&self) -> u64 {
        self.known.saturating_sub(self.number)
    }

    /// The pipe behind it, if it is one and can still say something.
    pub(super) fn pipe(&self) -> Option<&Pipe> {
        self.input.pipe()
    }

    /// Lets go of the input.
    pub(super) fn close(&mut self) {
        self.ended = true;
        self.input = Input::Direct(Box::new(io::empty()));
        self.buffer = Vec::new();
        (self.start, self.filled) = (0, 0);
    }

    /// Reads once, without waiting for a pipe, and shows every piece with its bytes. The lines
    /// lent before are gone.
    pub(super) fn fill(&mut self, found: &mut impl FnMut(Piece, &[u8])) -> Filled {
        if self.ended {
            return Filled::End;
        }
        self.make_room();
        match self.input.read(&mut self.buffer[self.filled..]) {
            Ok(Portion::Nothing) => Filled::Nothing,
            Ok(Portion::Bytes(count)) => {
                let fresh = self.filled;
                self.filled += count;
                self.split(fresh, found);
                Filled::Some
            }
            Ok(Portion::End) => {
                self.ended = true;
                if self.start < self.filled || self.overlong.is_some() {
                    self.finish(self.filled, found);
                    self.start = self.filled;
                }
                Filled::End
            }
            Err(error) => {
                self.ended = true;
                let rest = match self.overlong.take() {
                    Some(overlong) => overlong.sample,
                    None => sample_of(&self.buffer[self.start..self.filled]),
                };
                let number = self.number + 1;
                let cause = describe(&error, self.number);
                if number <= self.known {
                    return Filled::End;
                }
                found(Piece::Damage { number, cause, rest }, &[]);
                Filled::End
            }
        }
    }

    /// Moves the unfinished line to the front and makes space behind it; gives back what a long
    /// line had needed.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.filled > self.line_bytes_max && self.overlong.is_none() {
            self.overlong =
                Some(Overlong { length: 0, sample: sample_of(&self.buffer[..self.filled]) });
        }
        if let Some(overlong) = &mut self.overlong {
            overlong.length += self.filled as u64;
            self.filled = 0;
        }
        if self.buffer.len() - self.filled < BUFFER_BYTES / 2 {
            let double = self.buffer.len().saturating_mul(2);
            self.buffer.resize(double.max(BUFFER_BYTES), 0);
        } else if self.filled < BUFFER_BYTES / 2 && self.buffer.len() > BUFFER_BYTES {
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    /// Finds the line ends in what has come since `fresh`.
    fn split(&mut self, fresh: usize, found: &mut impl FnMut(Piece, &[u8])) {
        let mut scanned = fresh;
        while let Some(length) = memchr(b'\n', &self.buffer[scanned..self.filled]) {
            let end = scanned + length;
            self.finish(end, found);
            self.start = end + 1;
            scanned = end + 1;
        }
    }

    /// The unfinished line ends before `end`.
    fn finish(&mut self, end: usize, found: &mut impl FnMut(Piece, &[u8])) {
        self.number += 1;
        let number = self.number;
        if number <= self.known {
            self.overlong = None;
            return;
        }
        let line = &self.buffer[self.start..end];
        if let Some(Overlong { length, sample }) = self.overlong.take() {
            let length = length + line.len() as u64;
            found(Piece::Oversize { number, length, sample }, &[]);
            return;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.line_bytes_max {
            let (length, sample) = (line.len() as u64, sample_of(line));
            found(Piece::Oversize { number, length, sample }, &[]);
        } else if !line.is_empty() {
            let (start, end) = (self.start, self.start + line.len());
            found(Piece::Line { number, start, end }, line);
        }
    }
}

fn describe(error: &io::Error, lines: u64) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("compressed data is cut off after line {lines}"),
        _ => format!("cannot be read after line {lines}: {error}"),
    }
}
