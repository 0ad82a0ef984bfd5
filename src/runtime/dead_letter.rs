//! What could not be read is counted, and a sample of it is kept in a file, so that a change of
//! format upstream can be told from a broken record without reading the stream again.
//!
//! It never fails its caller: losing a sample must not stop the watch over the bill.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The part of one message that is kept.
pub const SAMPLE_BYTES_MAX: usize = 64 << 10;

/// The part of a detail that is kept: parsers quote their input.
pub const DETAIL_BYTES_MAX: usize = 1 << 10;

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
    bytes_left: u64,
    per_reason_max: u64,
    counts: BTreeMap<&'static str, u64>,
    written: u64,
    failures: u64,
    line: Vec<u8>,
}

#[derive(Serialize)]
struct Letter<'a> {
    reason: &'a str,
    lane: &'a str,
    offset: u64,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_base64: Option<String>,
    truncated: bool,
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
            bytes_left: 0,
            per_reason_max,
            counts: BTreeMap::new(),
            written: 0,
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

    /// Counts one message that could not be read, and keeps it if it is in the sample.
    pub fn offer(
        &mut self,
        reason: &'static str,
        lane: &str,
        offset: u64,
        detail: &str,
        bytes: &[u8],
    ) {
        let count = self.counts.entry(reason).or_default();
        *count = count.saturating_add(1);
        let sampled = *count <= self.per_reason_max || count.is_power_of_two();
        if !sampled || self.bytes_left == 0 {
            return;
        }
        let Some(file) = &mut self.file else {
            return;
        };
        self.line.clear();
        let letter = Letter::new(reason, lane, offset, detail, bytes);
        let result = serde_json::to_writer(&mut self.line, &letter)
            .map_err(io::Error::from)
            .and_then(|()| {
                self.line.push(b'\n');
                if self.line.len() as u64 > self.bytes_left {
                    // Full is full: a later, shorter line would make the gap invisible.
                    self.bytes_left = 0;
                    return Ok(());
                }
                // One write a line, so that a crash leaves at most one incomplete line.
                file.write_all(&self.line)?;
                self.bytes_left -= self.line.len() as u64;
                self.written += 1;
                Ok(())
            });
        if let Err(error) = result {
            self.failures = self.failures.saturating_add(1);
            if self.failures == 1 {
                tracing::warn!(%error, "dead letters cannot be written, they are only counted");
            }
        }
    }

    /// How many came, by reason.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(&reason, &count)| (reason, count))
    }

    /// How many were written to the file by this process.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many should have been written and could not be.
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

impl<'a> Letter<'a> {
    fn new(reason: &'a str, lane: &'a str, offset: u64, detail: &'a str, bytes: &'a [u8]) -> Self {
        let kept = bytes.get(..SAMPLE_BYTES_MAX).unwrap_or(bytes);
        let truncated = kept.len() < bytes.len();
        let text = match std::str::from_utf8(kept) {
            Ok(text) => Some(text),
            // A character that only the cut has split.
            Err(error) if truncated && error.error_len().is_none() => {
                let whole = kept.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(whole).ok()
            }
            Err(_) => None,
        };
        let detail_end = detail.floor_char_boundary(DETAIL_BYTES_MAX);
        Self {
            reason,
            lane,
            offset,
            detail: detail.get(..detail_end).unwrap_or(detail),
            text,
            bytes_base64: text.is_none().then(|| base64(kept)),
            truncated,
        }
    }
}

/// RFC 4648 section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(symbol) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
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
        letters.offer("malformed", "t/0", 7, "expected value", "not \"json\" é".as_bytes());
        letters.offer("malformed", "t/1", 8, "", b"\xff\x00");
        let seen = lines(&path);
        assert_eq!(
            seen[0],
            serde_json::json!({
                "reason": "malformed", "lane": "t/0", "offset": 7, "detail": "expected value",
                "text": "not \"json\" é", "truncated": false,
            })
        );
        assert_eq!(seen[1]["bytes_base64"], "/wA=");
        assert_eq!(seen[1].get("text"), None);
    }

    #[test]
    fn samples_and_details_are_cut_at_a_character() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("dead.jsonl");
        let mut letters = DeadLetters::open(Some(&path), 1 << 20, 10).unwrap();
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
        assert_eq!((letters.written(), letters.failures()), (9, 0));
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
        }
    }

    #[test]
    fn without_a_path_it_only_counts_and_a_path_that_cannot_be_written_is_named() {
        let mut letters = DeadLetters::open(None, 1 << 20, 10).unwrap();
        letters.offer("malformed", "t/0", 1, "", b"x");
        assert_eq!(letters.counts().next(), Some(("malformed", 1)));
        assert_eq!(letters.written(), 0);
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
        assert_eq!((letters.written(), letters.failures()), (0, 2));
    }

    #[test]
    fn base64_agrees_with_the_vectors_of_rfc_4648() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }
}
