//! One object with the whole state: what it is, the input positions that it includes, and the
//! parts, each compressed and with a checksum of its own.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic |
//! | 4 | form, see [`crate::keep::FORM`] |
//! | 4 | length of the header |
//! | | the header |
//! | 8 | XXH3 of all before |
//! | 21 + stored | a part: kind, count, length, stored length, XXH3 of these and what is stored |
//! | 29 | the end: kind 255, number of parts, and the XXH3 of the beginning and all checksums |
//!
//! Numbers are little-endian. Up to the first checksum it is the same in every form, so that an
//! object of another form is told from a damaged one.

use std::io::{self, Read};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::engine::partitions::{PARTITIONS, key_of};
use crate::engine::saved::{Kind, Part};
use crate::keep::{FORM, Keep as _, kept, read, written};
use crate::record::FunctionRef;
use crate::units::{AccountId, EventTime};

const MAGIC: [u8; 8] = *b"BURSARST";
/// Names and positions of sixty thousand lanes fit.
const HEADER_BYTES_MAX: usize = 16 << 20;
/// The longest part, before and after compression.
const PART_BYTES_MAX: usize = 1 << 30;
const END: u8 = 255;
const PART_HEAD_BYTES: usize = 21;
/// The fastest level: the disk is not what is scarce, and neighbours are much alike.
const LEVEL: i32 = 1;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who wrote it.
    pub version: String,
    /// When, in milliseconds since the epoch, by the wall clock.
    pub created_ms: i64,
    /// How far event time had come.
    pub event_time: Option<EventTime>,
    /// Functions in it.
    pub functions: u64,
    /// Lanes of the input, and the last position of each that the state includes.
    pub positions: Vec<(String, Option<u64>)>,
    /// What decides to which partition a function belongs; another cannot go on from here.
    fingerprint: (u64, u64),
}
kept!(Header { version, created_ms, event_time, functions, positions, fingerprint });

impl Header {
    /// A header of this version.
    pub fn new(
        created_ms: i64,
        event_time: Option<EventTime>,
        functions: u64,
        positions: Vec<(String, Option<u64>)>,
    ) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, created_ms, event_time, functions, positions, fingerprint: fingerprint() }
    }
}

/// Number of partitions, and the key of a certain function.
fn fingerprint() -> (u64, u64) {
    let probe = FunctionRef { account: AccountId::default(), region: "probe", name: "probe" };
    (PARTITIONS as u64, key_of(probe))
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system says no.
    #[error("it cannot be read ({0})")]
    Io(#[from] io::Error),
    /// It is not one.
    #[error("it is no snapshot of bursar")]
    Foreign,
    /// It is of another form.
    #[error(
        "it has form {found}, written by another version, and this one reads form {FORM}; start \
         the version that wrote it, or move the file away to begin anew"
    )]
    Form {
        /// Its form.
        found: u32,
    },
    /// Its functions belong to other partitions.
    #[error(
        "its functions are shared out otherwise than this version does; start the version that \
         wrote it, or move the file away to begin anew"
    )]
    Partitions,
    /// It is not whole.
    #[error("it is damaged ({0})")]
    Damaged(&'static str),
}

impl SnapshotError {
    /// Whether an older snapshot is to be taken instead. What another version has written is left
    /// for that one, and nothing else is begun over it.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Foreign | Self::Damaged(_))
    }
}

/// Turns header and parts into bytes.
pub struct Encoder {
    compressor: zstd::bulk::Compressor<'static>,
    parts: u32,
    chain: Xxh3,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Nothing so far.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new() -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { compressor, parts: 0, chain: Xxh3::new() })
    }

    /// The beginning.
    pub fn header(&mut self, header: &Header) -> Vec<u8> {
        let out = head(FORM, &written(header));
        self.chain.update(&out);
        out
    }

    /// The next part.
    ///
    /// # Errors
    /// It is too long.
    pub fn part(&mut self, part: &Part) -> io::Result<Vec<u8>> {
        if part.bytes.len() > PART_BYTES_MAX {
            return Err(io::Error::other("a part of the state is longer than 1 GiB"));
        }
        let stored = self.compressor.compress(&part.bytes)?;
        let mut out = Vec::with_capacity(PART_HEAD_BYTES + stored.len());
        part.kind.keep(&mut out);
        self.frame(part.count, part.bytes.len(), &stored, &mut out);
        self.parts += 1;
        Ok(out)
    }

    /// The end.
    pub fn end(mut self) -> Vec<u8> {
        let mut out = vec![END];
        let chain = self.chain.digest().to_le_bytes();
        self.frame(self.parts, 0, &chain, &mut out);
        out
    }

    fn frame(&mut self, count: u32, length: usize, stored: &[u8], out: &mut Vec<u8>) {
        count.keep(out);
        u32::try_from(length).unwrap_or(u32::MAX).keep(out);
        u32::try_from(stored.len()).unwrap_or(u32::MAX).keep(out);
        let mut sum = Xxh3::new();
        sum.update(out);
        sum.update(stored);
        let sum = sum.digest().to_le_bytes();
        self.chain.update(&sum);
        out.extend_from_slice(&sum);
        out.extend_from_slice(stored);
    }
}

fn head(form: u32, header: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    form.keep(&mut out);
    u32::try_from(header.len()).unwrap_or(u32::MAX).keep(&mut out);
    out.extend_from_slice(header);
    xxh3_64(&out).keep(&mut out);
    out
}

/// A part as it is stored.
#[derive(Debug)]
pub struct Stored {
    /// What it holds.
    pub kind: Kind,
    /// How many of it.
    pub count: u32,
    /// Its length before compression.
    pub length: usize,
    /// Its bytes.
    pub stored: Vec<u8>,
}

impl Stored {
    /// As it was before.
    ///
    /// # Errors
    /// It cannot be unpacked.
    pub fn unpack(&self) -> Result<Part, SnapshotError> {
        let bytes = zstd::bulk::decompress(&self.stored, self.length)
            .map_err(|_| SnapshotError::Damaged("a part cannot be unpacked"))?;
        if bytes.len() != self.length {
            return Err(SnapshotError::Damaged("a part has another length"));
        }
        Ok(Part { kind: self.kind, count: self.count, bytes })
    }
}

/// Reads bytes back, part by part.
#[derive(Debug)]
pub struct Decoder<R> {
    from: R,
    parts: u32,
    chain: Xxh3Debug,
}

/// A hash that says nothing of itself.
struct Xxh3Debug(Xxh3);

impl std::fmt::Debug for Xxh3Debug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Xxh3")
    }
}

impl<R: Read> Decoder<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is none that can be used.
    pub fn open(mut from: R) -> Result<(Self, Header), SnapshotError> {
        let mut start = [0; 16];
        fill(&mut from, &mut start)?;
        let (magic, numbers) = start.split_at(8);
        if magic != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let (form, length): (u32, u32) = read(numbers).map_err(|_| SnapshotError::Foreign)?;
        let length = length as usize;
        if length > HEADER_BYTES_MAX {
            return Err(SnapshotError::Damaged("its header has an impossible length"));
        }
        let mut rest = vec![0; length + 8];
        fill(&mut from, &mut rest)?;
        let (body, sum) = rest.split_at(length);
        if xxh3_64(&[&start, body].concat()).to_le_bytes() != sum {
            return Err(SnapshotError::Damaged("its header has changed"));
        }
        if form != FORM {
            return Err(SnapshotError::Form { found: form });
        }
        let header: Header =
            read(body).map_err(|_| SnapshotError::Damaged("its header makes no sense"))?;
        if header.fingerprint != fingerprint() {
            return Err(SnapshotError::Partitions);
        }
        let mut chain = Xxh3::new();
        chain.update(&start);
        chain.update(&rest);
        Ok((Self { from, parts: 0, chain: Xxh3Debug(chain) }, header))
    }

    /// The next part; `None` at the end, behind which nothing follows.
    ///
    /// # Errors
    /// Something is missing or has changed.
    pub fn next_part(&mut self) -> Result<Option<Stored>, SnapshotError> {
        let mut head = [0; PART_HEAD_BYTES];
        fill(&mut self.from, &mut head)?;
        let (numbers, sum) = head.split_at(PART_HEAD_BYTES - 8);
        let (kind, count, length, stored): (u8, u32, u32, u32) =
            read(numbers).map_err(|_| SnapshotError::Damaged("a part makes no sense"))?;
        let (length, bytes) = (length as usize, stored as usize);
        if length > PART_BYTES_MAX || bytes > PART_BYTES_MAX {
            return Err(SnapshotError::Damaged("a part has an impossible length"));
        }
        // Not taken at its word: memory grows with what is really there.
        let mut stored = Vec::new();
        (&mut self.from).take(bytes as u64).read_to_end(&mut stored)?;
        let mut found = Xxh3::new();
        found.update(numbers);
        found.update(&stored);
        if stored.len() != bytes || found.digest().to_le_bytes() != sum {
            return Err(SnapshotError::Damaged("a part has changed"));
        }
        if kind == END {
            let is_whole = count == self.parts && stored == self.chain.0.digest().to_le_bytes();
            return match is_whole && self.from.read(&mut [0])? == 0 {
                true => Ok(None),
                false => Err(SnapshotError::Damaged("its end is another's")),
            };
        }
        let kind = read(&[kind]).map_err(|_| SnapshotError::Damaged("a part is of no kind"))?;
        self.chain.0.update(sum);
        self.parts += 1;
        Ok(Some(Stored { kind, count, length, stored }))
    }
}

fn fill(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), SnapshotError> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::Damaged("it is cut off"),
        _ => SnapshotError::Io(error),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes of a small snapshot.
    pub(crate) fn sample(number: u8) -> Vec<u8> {
        let positions = vec![("a/0".to_owned(), Some(7)), ("a/1".to_owned(), None)];
        let header = Header::new(1, Some(EventTime::MIN), number.into(), positions);
        let mut encoder = Encoder::new().unwrap();
        let mut bytes = encoder.header(&header);
        for (kind, length) in [(Kind::Whole, 90), (Kind::Sums, 0), (Kind::Functions, 400)] {
            let part = Part { kind, count: 1, bytes: vec![number; length] };
            bytes.extend(encoder.part(&part).unwrap());
        }
        bytes.extend(encoder.end());
        bytes
    }

    pub(crate) fn decoded(bytes: &[u8]) -> Result<(Header, Vec<Part>), SnapshotError> {
        let (mut decoder, header) = Decoder::open(bytes)?;
        let mut parts = Vec::new();
        while let Some(stored) = decoder.next_part()? {
            parts.push(stored.unpack()?);
        }
        Ok((header, parts))
    }

    #[test]
    fn what_was_written_comes_back() {
        let (header, parts) = decoded(&sample(3)).unwrap();
        assert_eq!((header.functions, header.positions.len()), (3, 2));
        let lengths: Vec<_> = parts.iter().map(|part| (part.kind, part.bytes.len())).collect();
        assert_eq!(lengths, [(Kind::Whole, 90), (Kind::Sums, 0), (Kind::Functions, 400)]);
    }

    #[test]
    fn every_cut_and_every_changed_bit_is_noticed() {
        let bytes = sample(3);
        for end in 0..bytes.len() {
            assert!(decoded(&bytes[..end]).unwrap_err().is_damage(), "cut at {end}");
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                let error = decoded(&changed).unwrap_err();
                assert!(error.is_damage(), "byte {place}, bit {bit}: {error}");
            }
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decoded(&longer).unwrap_err().is_damage());
        assert!(decoded(&[&bytes[..], &bytes[..]].concat()).unwrap_err().is_damage());
    }

    #[test]
    fn parts_that_change_places_or_come_from_another_are_noticed() {
        let (one, other) = (sample(3), sample(4));
        assert_eq!(one.len(), other.len());
        for at in [60, 102, one.len() / 2, one.len() - 29] {
            let mixed = [&one[..at], &other[at..]].concat();
            assert!(decoded(&mixed).is_err(), "{at}");
        }
    }

    #[test]
    fn another_form_and_other_files_are_told_from_damage() {
        let newer = head(FORM + 1, b"whatever that is");
        let error = decoded(&newer).unwrap_err();
        assert!(!error.is_damage() && error.to_string().contains("start the version"), "{error}");
        let header = Header { fingerprint: (128, 0), ..Header::new(1, None, 0, Vec::new()) };
        let error = decoded(&head(FORM, &written(&header))).unwrap_err();
        assert!(matches!(error, SnapshotError::Partitions));
        for foreign in [&b"{\"bursar_baselines\":1}\n"[..], &[0x1f; 60], &[0; 60]] {
            assert!(matches!(decoded(foreign).unwrap_err(), SnapshotError::Foreign));
        }
        assert!(decoded(b"").unwrap_err().is_damage());
    }
}
