//! What could not be read is counted, and a sample of it is kept in a file, so that a change of
//! format upstream can be told from a broken record without reading the stream again. A letter
//! holds the message as it came, because what is in an envelope cannot be read without it, and
//! says which of its parts were refused; [`letters`] reads those back.
//!
//! It never fails its caller: losing a sample must not stop the watch over the bill.

pub mod letters;

mod letter;
#[cfg(feature = "kafka")]
pub mod topic;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use self::letter::{Letter, Sent};
use crate::source::Headers;

/// The part of one message that is kept: a little less than a Kafka broker accepts by default, for
/// the headers.
pub const SAMPLE_BYTES_MAX: usize = 960 << 10;

/// The part of a detail that is kept: parsers quote their input.
pub const DETAIL_BYTES_MAX: usize = 1 << 10;

/// Parts of one message that its letter names; of the others it is not told which they were.
const PARTS_MAX: usize = 1_000;

/// The dead-letter file could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the dead-letter file {path} ({cause}), name a writable one or leave it out")]
pub struct DeadLetterError {
    path: PathBuf,
    cause: io::Error,
}

/// Counts what could not be read, by reason, and keeps a bounded sample.
#[derive(Debug)]
pub struct DeadLetters {
    file: Option<File>,
    postbox: Option<Box<dyn Postbox>>,
    bytes_left: u64,
    per_reason_max: u64,
    counts: BTreeMap<&'static str, u64>,
    kept: BTreeMap<&'static str, u64>,
    refused: Option<Refused>,
    beyond: u64,
    failures: u64,
    line: Vec<u8>,
}

/// Parts of the present message that are in the sample.
#[derive(Debug)]
struct Refused {
    detail: String,
    parts: Vec<(&'static str, u32)>,
}

/// Somewhere else that letters are sent to.
pub trait Postbox: Send + std::fmt::Debug {
    /// Takes a letter, without waiting; false when it does not.
    fn post(&mut self, letter: &Letter<'_>, sent: &Sent<'_>) -> bool;

    /// How many did not arrive.
    fn lost(&self) -> u64;
}

impl DeadLetters {
    /// Appends to `path` until the file has `bytes_max`; without a path it only counts. Of every
    /// reason the first `per_reason_max` are kept, then the 2nd, 4th, 8th, ... up the powers of
    /// two that lie beyond.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn open(
        path: Option<&Path>,
        bytes_max: u64,
        per_reason_max: u64,
    ) -> Result<Self, DeadLetterError> {
        let mut letters = Self {
            file: None,
            postbox: None,
            bytes_left: 0,
            per_reason_max,
            counts: BTreeMap::new(),
            kept: BTreeMap::new(),
            refused: None,
            beyond: 0,
            failures: 0,
            line: Vec::new(),
        };
        if let Some(path) = path {
            let failed = |cause| DeadLetterError { path: path.to_path_buf(), cause };
            let mut options = OpenOptions::new();
            let file = options.create(true).append(true).open(path).map_err(failed)?;
            // What an earlier run left counts too: a restart loop must not fill the disk.
            let present = file.metadata().map_err(failed)?.len();
            letters.bytes_left = bytes_max.saturating_sub(present);
            letters.file = Some(file);
        }
        Ok(letters)
    }

    /// Sends what is in the sample there as well.
    #[must_use]
    pub fn with_postbox(mut self, postbox: Option<Box<dyn Postbox>>) -> Self {
        self.postbox = postbox;
        self
    }

    /// Counts a part of a message that could not be read. Once the message has been taken in
    /// whole, [`Self::message`] keeps it if one of its parts is in the sample.
    pub fn part(&mut self, reason: &'static str, detail: &str, index: u32) {
        if !self.count(reason) {
            return;
        }
        let refused = self
            .refused
            .get_or_insert_with(|| Refused { detail: detail.to_owned(), parts: Vec::new() });
        if refused.parts.len() < PARTS_MAX {
            refused.parts.push((reason, index));
        } else {
            self.beyond += 1;
        }
    }

    /// The message whose parts were told has been taken in.
    pub fn message(&mut self, lane: &str, offset: u64, headers: Headers<'_>, payload: &[u8]) {
        let Some(Refused { detail, parts }) = self.refused.take() else {
            return;
        };
        let sent = Sent { lane, offset, headers, payload, whole: true };
        self.keep(&detail, &parts, &sent);
    }

    /// Counts what gave no message, or one that is no longer there, and keeps what there is of it
    /// if it is in the sample.
    pub fn offer(
        &mut self,
        reason: &'static str,
        lane: &str,
        offset: u64,
        detail: &str,
        bytes: &[u8],
    ) {
        if self.count(reason) {
            let headers = Headers::default();
            let sent = Sent { lane, offset, headers, payload: bytes, whole: false };
            self.keep(detail, &[(reason, 0)], &sent);
        }
    }

    /// Whether it is in the sample.
    fn count(&mut self, reason: &'static str) -> bool {
        let count = self.counts.entry(reason).or_default();
        *count = count.saturating_add(1);
        let sampled = *count <= self.per_reason_max || count.is_power_of_two();
        let sampled = sampled && (self.bytes_left > 0 || self.postbox.is_some());
        self.beyond += u64::from(!sampled && (self.file.is_some() || self.postbox.is_some()));
        sampled
    }

    fn keep(&mut self, detail: &str, parts: &[(&'static str, u32)], sent: &Sent<'_>) {
        let letter = Letter::new(detail, parts, sent);
        let failures = self.failures();
        let posted = self.postbox.as_mut().is_some_and(|postbox| postbox.post(&letter, sent));
        match self.write(&letter) {
            Ok(written) => {
                if written || posted {
                    for (reason, _) in parts {
                        *self.kept.entry(reason).or_default() += 1;
                    }
                } else if self.failures() == failures {
                    self.beyond += parts.len() as u64;
                }
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    tracing::warn!(%error, "dead letters cannot be written, they are only counted");
                }
            }
        }
    }

    /// Writes a line, if there is a file and room in it.
    fn write(&mut self, letter: &Letter<'_>) -> io::Result<bool> {
        let Some(file) = self.file.as_mut().filter(|_| self.bytes_left > 0) else {
            return Ok(false);
        };
        self.line.clear();
        serde_json::to_writer(&mut self.line, letter)?;
        self.line.push(b'\n');
        if self.line.len() as u64 > self.bytes_left {
            // Full is full: a later, shorter line would make the gap invisible.
            self.bytes_left = 0;
            return Ok(false);
        }
        // One write a line, so that a crash leaves at most one incomplete line.
        file.write_all(&self.line)?;
        self.bytes_left -= self.line.len() as u64;
        Ok(true)
    }

    /// How many came, by reason.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(&reason, &count)| (reason, count))
    }

    /// How many of them were kept, by reason.
    pub fn kept(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.kept.iter().map(|(&reason, &count)| (reason, count))
    }

    /// How many were left out because one of the limits on letters was reached.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// How many should have been written or sent and could not be.
    pub fn failures(&self) -> u64 {
        self.failures + self.postbox.as_ref().map_or(0, |postbox| postbox.lost())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::headers;
    use serde_json::Value;
    use tempfile::TempDir;

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn letters_are_json_lines_with_text_or_base64() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("dead.jsonl");
        let mut letters = DeadLetters::open(Some(&path), 1 << 20, 10).unwrap();
        let mut block = Vec::new();
        headers::push(&mut block, "ce_id", b"x");
        letters.part("malformed", "expected value", 0);
        letters.part("out_of_range", "too much", 3);
        letters.message("t/0", 7, Headers::new(&block), "not \"json\" é".as_bytes());
        letters.message("t/0", 8, Headers::default(), b"all was well");
        letters.offer("malformed", "t/1", 8, "", b"\xff\x00");
        let seen = lines(&path);
        assert_eq!(
            seen[0],
            serde_json::json!({
                "reason": "malformed", "lane": "t/0", "offset": 7, "detail": "expected value",
                "parts": [0, 3], "headers": { "ce_id": "x" },
                "text": "not \"json\" é", "truncated": false,
            })
        );
        assert_eq!(seen[1]["bytes_base64"], "/wA=");
        assert_eq!(seen[1].get("text"), None);
        // Nobody knows what else there was.
        assert_eq!(seen[1]["truncated"], true);
    }

    #[test]
    fn samples_and_details_are_cut_at_a_character() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("dead.jsonl");
        let mut letters = DeadLetters::open(Some(&path), 8 << 20, 10).unwrap();
        let long = format!("x{}", "é".repeat(SAMPLE_BYTES_MAX));
        letters.offer("malformed", "t/0", 1, &long, long.as_bytes());
        let mut binary = long.clone().into_bytes();
        binary[10] = 0xff;
        letters.offer("malformed", "t/0", 2, "", &binary);
        let seen = lines(&path);
        assert_eq!(seen[0]["text"].as_str().unwrap().len(), SAMPLE_BYTES_MAX - 1);
        assert_eq!(seen[0]["detail"].as_str().unwrap().len(), DETAIL_BYTES_MAX - 1);
        assert_eq!(seen[0]["truncated"], true);
        assert_eq!(
            seen[1]["bytes_base64"].as_str().unwrap().len(),
            SAMPLE_BYTES_MAX.div_ceil(3) * 4
        );
    }

    #[test]
    fn of_each_reason_the_first_and_then_the_powers_of_two_are_kept_and_all_are_counted() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("dead.jsonl");
        let mut letters = DeadLetters::open(Some(&path), 1 << 20, 3).unwrap();
        for offset in 1..=100 {
            letters.offer("malformed", "t/0", offset, "", b"x");
        }
        letters.offer("oversize", "t/0", 101, "", b"x");
        let offsets: Vec<_> = lines(&path).iter().map(|l| l["offset"].as_u64().unwrap()).collect();
        assert_eq!(offsets, [1, 2, 3, 4, 8, 16, 32, 64, 101]);
        let counts: Vec<_> = letters.counts().collect();
        assert_eq!(counts, [("malformed", 100), ("oversize", 1)]);
        assert_eq!(letters.kept().collect::<Vec<_>>(), [("malformed", 8), ("oversize", 1)]);
        assert_eq!((letters.beyond(), letters.failures()), (92, 0));
    }

    #[test]
    fn the_file_stays_below_its_limit_over_restarts() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("dead.jsonl");
        for _ in 0..3 {
            let mut letters = DeadLetters::open(Some(&path), 1_000, 100).unwrap();
            for offset in 0..50 {
                letters.offer("malformed", "t/0", offset, "", b"some bytes");
            }
            assert_eq!(letters.counts().next(), Some(("malformed", 50)));
            assert!(std::fs::metadata(&path).unwrap().len() <= 1_000);
            assert!(!lines(&path).is_empty());
            let kept: u64 = letters.kept().map(|(_, count)| count).sum();
            assert_eq!((kept + letters.beyond(), letters.failures()), (50, 0));
        }
    }

    #[test]
    fn without_a_path_it_only_counts_and_a_path_that_cannot_be_written_is_named() {
        let mut letters = DeadLetters::open(None, 1 << 20, 10).unwrap();
        letters.offer("malformed", "t/0", 1, "", b"x");
        assert_eq!(letters.counts().next(), Some(("malformed", 1)));
        assert_eq!((letters.kept().count(), letters.beyond()), (0, 0));
        let dir = TempDir::new().unwrap();
        let error = DeadLetters::open(Some(dir.path()), 1, 1).unwrap_err();
        assert!(error.to_string().contains(&dir.path().display().to_string()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_counted_and_does_not_stop_the_caller() {
        let full = Some(Path::new("/dev/full"));
        let mut letters = DeadLetters::open(full, 1 << 20, 10).unwrap();
        letters.offer("malformed", "t/0", 1, "", b"x");
        letters.offer("malformed", "t/0", 2, "", b"x");
        assert_eq!((letters.kept().count(), letters.beyond(), letters.failures()), (0, 0, 2));
    }
}
