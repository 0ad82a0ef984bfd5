//! Snapshots in a folder, each in a file with a number of its own; the two newest are kept.
//!
//! A new one is written under another name, made to last, given its name, and that made to last:
//! then it counts, and the last but one is removed. So whenever the power goes, the newest that was
//! said to be written is there, whole. What turns out to be damaged all the same is put aside under
//! another name, where nothing overwrites it, and the one before is taken.

#[cfg(test)]
mod power;
#[cfg(test)]
mod tests;

use std::io;

use super::disk::Disk;
use super::snapshot::{Decoder, Encoder, Header, SnapshotError};
use crate::engine::saved::Part;

const BEFORE: &str = "snapshot-";
const AFTER: &str = ".bursar";
/// A file that is being written.
const NEW: &str = ".new";
/// A file that is of no use, for whoever wants to know why.
const DAMAGED: &str = ".damaged";
/// Of those the newest are kept.
const DAMAGED_KEPT: usize = 3;
/// Snapshots that are kept.
const KEPT: usize = 2;

/// The folder.
pub struct Snapshots {
    disk: Box<dyn Disk>,
    /// In rising order.
    numbers: Vec<u64>,
    next: u64,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots").field("numbers", &self.numbers).finish_non_exhaustive()
    }
}

/// A snapshot that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub name: String,
    /// What it says of itself.
    pub header: Header,
}

/// What the folder has.
#[derive(Debug)]
pub struct Newest {
    /// The newest whole one.
    pub found: Option<Found>,
    /// Files that were put aside on the way to it, and why.
    pub damaged: Vec<(String, SnapshotError)>,
}

impl Snapshots {
    /// Looks into the folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(disk: Box<dyn Disk>) -> io::Result<Self> {
        let mut numbers: Vec<u64> = disk.names()?.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        let damaged = disk.names()?.into_iter();
        let damaged = damaged.filter_map(|name| number(name.strip_suffix(DAMAGED)?));
        let last = numbers.last().copied().max(damaged.max()).unwrap_or(0);
        Ok(Self { disk, numbers, next: last.saturating_add(1) })
    }

    /// The newest whole snapshot. Damaged ones are put aside.
    ///
    /// # Errors
    /// One was written by another version, and is not to be passed over.
    pub fn newest(&mut self) -> Result<Newest, (String, SnapshotError)> {
        let mut damaged = Vec::new();
        while let Some(&number) = self.numbers.last() {
            let name = name(number);
            match self.check(&name) {
                Ok(header) => return Ok(Newest { found: Some(Found { name, header }), damaged }),
                Err(error) if error.is_damage() => {
                    // Where that fails it stays, and the next ones have higher numbers.
                    drop(self.disk.rename(&name, &format!("{name}{DAMAGED}")));
                    self.numbers.pop();
                    damaged.push((name, error));
                }
                Err(error) => return Err((name, error)),
            }
        }
        Ok(Newest { found: None, damaged })
    }

    /// Files of snapshots, the newest first.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.numbers.iter().rev().map(|&number| name(number))
    }

    /// Reads a snapshot to its end without unpacking it.
    ///
    /// # Errors
    /// It is not whole, or of another version.
    pub fn check(&self, name: &str) -> Result<Header, SnapshotError> {
        let (mut decoder, header) = Decoder::open(self.disk.open(name)?)?;
        while decoder.next_part()?.is_some() {}
        Ok(header)
    }

    /// Hands out the parts of a snapshot.
    ///
    /// # Errors
    /// It cannot be read, or `take` says so.
    pub fn parts<E: From<SnapshotError>>(
        &self,
        name: &str,
        mut take: impl FnMut(Part, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = self.disk.open(name).map_err(SnapshotError::from)?;
        let (mut decoder, _) = Decoder::open(from)?;
        while let Some(stored) = decoder.next_part()? {
            take(stored.unpack()?, stored.stored.len())?;
        }
        Ok(())
    }

    /// Begins a new one.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub fn begin(&mut self, header: &Header) -> io::Result<Writing> {
        let number = self.next;
        let mut encoder = Encoder::new()?;
        let name = format!("{}{NEW}", name(number));
        self.disk.create(&name)?;
        let head = encoder.header(header);
        self.disk.append(&name, &head)?;
        Ok(Writing { name, number, encoder, bytes: head.len() as u64 })
    }

    /// Writes a part of it.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub fn part(&mut self, writing: &mut Writing, part: &Part) -> io::Result<()> {
        let bytes = writing.encoder.part(part)?;
        writing.bytes += bytes.len() as u64;
        self.disk.append(&writing.name, &bytes)
    }

    /// Ends it; from here on it is the one to go on from. Returns how long it is.
    ///
    /// # Errors
    /// The disk is full or broken. The snapshots before are untouched.
    pub fn end(&mut self, writing: Writing) -> io::Result<u64> {
        let end = writing.encoder.end();
        self.disk.append(&writing.name, &end)?;
        self.disk.sync(&writing.name)?;
        self.disk.rename(&writing.name, &name(writing.number))?;
        // The number is taken, whether the name lasts or not.
        self.numbers.push(writing.number);
        self.next = writing.number.saturating_add(1);
        self.disk.sync_names()?;
        self.tidy();
        Ok(writing.bytes + end.len() as u64)
    }

    /// Removes what is not needed any more. What cannot be removed is tried again the next time.
    fn tidy(&mut self) {
        let keep = self.numbers.len().saturating_sub(KEPT);
        let newest = self.numbers.last().map(|&number| format!("{}{NEW}", name(number + 1)));
        let mut gone: Vec<String> = self.numbers.drain(..keep).map(name).collect();
        let names = self.disk.names().unwrap_or_default();
        gone.extend(names.iter().filter(|name| is_left(name, newest.as_deref())).cloned());
        let mut damaged: Vec<_> =
            names.into_iter().filter(|name| name.ends_with(DAMAGED)).collect();
        damaged.sort_unstable();
        damaged.truncate(damaged.len().saturating_sub(DAMAGED_KEPT));
        for name in gone.iter().chain(&damaged) {
            drop(self.disk.remove(name));
        }
    }
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Writing {
    name: String,
    number: u64,
    encoder: Encoder,
    bytes: u64,
}

/// Twenty digits, so that names are in the order of numbers.
fn name(number: u64) -> String {
    format!("{BEFORE}{number:020}{AFTER}")
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Whether a file was begun and never ended.
fn is_left(name: &str, current: Option<&str>) -> bool {
    name.starts_with(BEFORE) && name.ends_with(NEW) && Some(name) != current
}
