//! Where messages come from: files, standard input, Kafka, Kinesis.
//!
//! A source hands out undecoded messages in chunks, merged by event time over its lanes (files or
//! partitions), because baselines learn from time in order and a replay of several files must not
//! read one day after the other. It blocks, so it runs on a thread of its own. Nothing is decoded
//! here; the decoder lends a cheap look at a message's time.

pub mod chunk;
pub mod headers;
pub mod merge;
pub mod platform;

pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kinesis")]
pub mod kinesis;

use std::io;
use std::time::Duration;

pub use chunk::{Chunk, Message, Problem, ProblemReason};
pub use headers::Headers;

use crate::cost::StreamUse;
use crate::record::Position;
use crate::units::{EventTime, ProcessingTime};

/// A cheap look at the event time of an undecoded message; `None` where it has none.
pub type PeekTime = fn(&[u8]) -> Option<EventTime>;

/// Something that messages are read from.
pub trait Source: Send {
    /// Empties `chunk` and fills it up to its limits, waiting at most about `wait` for the first
    /// message.
    ///
    /// # Errors
    /// What cannot be waited out inside the source; [`SourceError::retry`] says what to do.
    fn read(&mut self, chunk: &mut Chunk, wait: Duration) -> Result<Read, SourceError>;

    /// Display names, indexed by [`Position::lane`]: the file's path, `topic/partition`, or
    /// `stream/shard`. The
    /// list only grows; an index keeps its meaning.
    fn lanes(&self) -> Vec<String>;

    /// Everything up to and including these positions is fully processed. One per lane; lanes may
    /// be left out.
    fn acknowledge(&mut self, through: &[Position]);

    /// How far it has come.
    fn progress(&self) -> Progress;

    /// # Errors
    /// Why messages cannot be expected now, in words for an operator.
    fn readiness(&self) -> Result<(), String>;

    /// Makes acknowledged positions permanent and lets go of the input; [`Source::read`] says
    /// [`Read::End`] from here on. Dropping the source does the same.
    fn close(&mut self);
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The chunk holds messages or problems.
    Messages,
    /// Nothing came within the wait.
    Idle,
    /// Nothing will ever come again.
    End,
}

/// How far a source has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes taken from the input, as stored (compressed files count compressed).
    pub bytes_read: u64,
    /// Size of the whole input, where it has one.
    pub bytes_total: Option<u64>,
    /// What each input (a topic) still holds, where that is known.
    pub lags: Vec<Lag>,
    /// The connections to brokers, where there are any.
    pub brokers: Option<Brokers>,
    /// How often parts of the input were given to this process or taken from it.
    pub rebalances: u64,
    /// Messages that were to be read and that the input does not hold any more.
    pub missed: u64,
    /// How long what was taken last had been waiting in the input, where the input says so.
    pub behind: Option<Duration>,
    /// What was used of a stream that is paid for by use.
    pub stream: StreamUse,
}

/// Messages that one input holds and that were not handed out yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// Its name.
    pub input: Box<str>,
    /// How many.
    pub messages: u64,
}

impl Lag {
    /// An input that holds nothing.
    pub fn none(input: &str) -> Self {
        Self { input: input.into(), messages: 0 }
    }
}

/// Connections, by their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Brokers {
    /// They can be asked.
    pub up: u32,
    /// Not yet: addresses, certificates and passwords are being exchanged.
    pub connecting: u32,
    /// There is none, whether it is wanted now or not.
    pub down: u32,
}

/// The clocks that a live source reads. Handed in, because time is read in one place only.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The wall clock, for the arrival of messages.
    pub wall: fn() -> ProcessingTime,
    /// Time since some fixed moment, never going back, for waiting.
    pub elapsed: fn() -> Duration,
}

/// What to do about a [`SourceError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Trying again cannot help: somebody has to change something.
    Fatal,
    /// Read again after this long; the source is still good.
    After(Duration),
}

/// Why a source could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An empty list of inputs.
    #[error("no input is named, give at least one file or - for standard input")]
    NoInput,
    /// More inputs than can be open at once.
    #[error("{count} inputs are more than the {max} that are merged at once, concatenate some")]
    TooManyInputs {
        /// How many were named.
        count: usize,
        /// How many are accepted.
        max: usize,
    },
    /// Standard input has only one reader.
    #[error("standard input is named twice, name - once")]
    StandardInputTwice,
    /// A directory where a file was expected.
    #[error("{path} is a directory, name the files in it")]
    Directory {
        /// As it was given.
        path: String,
    },
    /// A file that could not be opened.
    #[error("cannot read {path} ({cause}), check that it exists and that this user may read it")]
    Unreadable {
        /// As it was given.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A property that decides whether messages are lost or doubled, or how much memory is used.
    #[error("kafka property {key} is set by bursar itself, remove it from the properties")]
    OwnedProperty {
        /// Its name.
        key: String,
    },
    /// Settings that no client can be built from.
    #[error("the kafka client refuses its settings ({cause}), correct them and start again")]
    KafkaSettings {
        /// What the client said.
        cause: String,
    },
    /// The client broke and could not be replaced yet.
    #[error("the kafka client could not be built anew ({cause}), it is tried again later")]
    KafkaRestart {
        /// What the client said.
        cause: String,
    },
    /// Settings that Kinesis cannot be read with.
    #[error("kinesis cannot be read with these settings ({cause}), correct them and start again")]
    KinesisSettings {
        /// What is wrong.
        cause: String,
    },
    /// A call ended without an answer or an error.
    #[error("a kinesis call broke off ({cause}), start again")]
    KinesisCall {
        /// What is known of it.
        cause: String,
    },
    /// A file of positions that cannot be used.
    #[error(
        "cannot use input.kinesis.checkpoint_file {path} ({cause}), name another one, or remove it \
         to begin at input.kinesis.start"
    )]
    Checkpoint {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl SourceError {
    /// Whether reading again can help.
    pub fn retry(&self) -> Retry {
        match self {
            SourceError::KafkaRestart { .. } => Retry::After(Duration::from_secs(5)),
            SourceError::NoInput
            | SourceError::TooManyInputs { .. }
            | SourceError::StandardInputTwice
            | SourceError::Directory { .. }
            | SourceError::Unreadable { .. }
            | SourceError::OwnedProperty { .. }
            | SourceError::KafkaSettings { .. }
            | SourceError::KinesisSettings { .. }
            | SourceError::KinesisCall { .. }
            | SourceError::Checkpoint { .. } => Retry::Fatal,
        }
    }
}
