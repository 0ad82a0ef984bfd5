//! Recorded load: the calls that records tell of, as the load of a scenario.
//!
//! How records are written is the readers' business, and a platform that knew it could please them;
//! so who reads a scenario lends an [`Open`], and what comes from it are records as values. Files
//! are read message by message, once to see what is in them and once more by every policy that
//! faces them, and are never held: what is kept is bounded by the calls that run at once and by how
//! far their order is from that of time.
//!
//! Two kinds of recordings. Where invocations are recorded, each of them is a call with its own
//! duration, and the other records say who called. Where none is, every request that was logged is
//! a call, whatever came of it.

mod callers;
mod playback;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::record::{FunctionRef, Record};
use crate::units::{AccountId, EventTime};

pub use playback::Playback;
pub use survey::{Seen, Survey};

/// How far records may be from the order of their times, in milliseconds: the longest run of a
/// function and the longest delay of a log pipeline that is worth waiting for. What runs longer
/// than that before it is told is held in memory until then.
pub const LAG_MS_MAX: i64 = 30 * 60_000;

/// What a recording is read from.
#[derive(Clone)]
pub struct Files {
    /// Merged by time.
    pub paths: Vec<PathBuf>,
    /// Whose the records are where they do not say.
    pub account: AccountId,
    /// Where they were written, if they do not say.
    pub region: &'static str,
    /// Which function they are about, if they do not say.
    pub function: Option<String>,
    /// What they were as far as can be told without reading, once they have been read.
    pub stamp: Option<u64>,
    /// Reads them.
    pub open: Open,
}

/// Opens files of records at their beginning.
pub type Open = fn(&Files) -> Result<Box<dyn Records>, String>;

/// What a scenario without recordings is read with.
#[cfg(test)]
pub(crate) fn unread(_: &Files) -> Result<Box<dyn Records>, String> {
    Err("nothing is read here".to_owned())
}

/// Records in the order in which they are stored.
pub trait Records: fmt::Debug + Send {
    /// Reads the next message, if there is one, and tells the records in it.
    ///
    /// # Errors
    /// What is wrong with the files, in words.
    fn message(&mut self, tell: &mut dyn FnMut(&Record<'_>)) -> Result<bool, String>;

    /// Passes over so many messages.
    ///
    /// # Errors
    /// What is wrong with the files, in words.
    fn pass(&mut self, messages: u64) -> Result<(), String>;

    /// What the files are as far as can be told without reading them.
    fn stamp(&self) -> u64;

    /// Parts of messages that were refused so far, and why the first one was.
    fn refused(&self) -> (u64, Option<&str>);
}

/// Where the files lie is no part of what they say: their digest is.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("function", &self.function).finish_non_exhaustive()
    }
}

impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        self.paths == other.paths && self.function == other.function
    }
}

/// What was recorded, as a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Where it is read from.
    pub files: Files,
    /// Fingerprint of its calls.
    pub digest: u64,
    /// Which of a scenario's functions each recorded one is, by [`name_bits`].
    pub functions: BTreeMap<u64, usize>,
    /// Who gets the requests that name none of these.
    pub entry: Option<usize>,
    /// Invocations are recorded, not only requests.
    pub has_invocations: bool,
    /// Added to recorded times, in milliseconds.
    pub shift_ms: i64,
    /// How far records are from the order of their calls.
    pub lag_ms: i64,
    /// Nothing after this is read.
    pub end: EventTime,
    /// Calls for each recorded one.
    pub scale: f64,
}

impl Recording {
    /// The function that a record is about.
    fn place(&self, function: Option<FunctionRef<'_>>) -> Option<usize> {
        let named = function.and_then(|function| self.functions.get(&name_bits(function)));
        named.copied().or(self.entry)
    }
}

/// Stands for a function's name.
pub fn name_bits(function: FunctionRef<'_>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&function.account.get().to_le_bytes());
    hash.update(function.region.as_bytes());
    hash.update(b":");
    hash.update(function.name.as_bytes());
    hash.digest()
}

/// Stands for the request id that an invocation and its request share.
fn id_bits(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}
