//! How Kinesis is read.

use std::path::PathBuf;
use std::time::Duration;

use super::shard::Manner;
use crate::source::SourceError;
use crate::units::EventTime;

/// `GetRecords` calls a second that a shard answers, for all who read it together (AWS, Kinesis
/// Data Streams Developer Guide, "Quotas and limits").
pub const POLLS_PER_SECOND_MAX: f64 = 5.0;

/// What a shard may queue however many there are: with four answers of this size a second, a shard
/// is read at its limit of 2 MB/s.
pub const SHARD_BYTES_MIN: usize = 512 << 10;

/// How Kinesis is read.
#[derive(Debug, Clone, PartialEq)]
pub struct KinesisSettings {
    /// Name or ARN of the stream.
    pub stream: String,
    /// `None`: that of the ARN, else what the environment or the profile says.
    pub region: Option<String>,
    /// Another address than the region's own.
    pub endpoint: Option<String>,
    /// Enhanced fan-out: read as this registered consumer instead of polling.
    pub consumer_arn: Option<String>,
    /// Where to begin without a checkpoint.
    pub start: Start,
    /// Where acknowledged positions are kept; `None`: nowhere, every start is a first one.
    pub checkpoint_file: Option<PathBuf>,
    /// `GetRecords` calls a second and shard, above 0 and at most [`POLLS_PER_SECOND_MAX`].
    pub polls_per_second: f64,
    /// Messages that wait to be merged, over all shards together. A shard may always hold
    /// [`SHARD_BYTES_MIN`], and its limit is soft by one answer.
    pub queue_bytes_max: usize,
    /// How long a silent shard, that is not at its tip, holds back the others.
    pub idle: Duration,
}

/// Where to begin without a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that is still kept.
    TrimHorizon,
    /// Only what arrives from now on.
    Latest,
    /// What arrived at or after this time.
    AtTimestamp(EventTime),
}

impl Default for KinesisSettings {
    /// The name has no default. Four polls a second leave one in five to other readers. 64 MiB as
    /// for Kafka. 10 s is what a call may take: only a shard that is behind holds back others.
    fn default() -> Self {
        Self {
            stream: String::new(),
            region: None,
            endpoint: None,
            consumer_arn: None,
            start: Start::Latest,
            checkpoint_file: None,
            polls_per_second: 4.0,
            queue_bytes_max: 64 << 20,
            idle: Duration::from_secs(10),
        }
    }
}

impl KinesisSettings {
    pub(super) fn check(&self) -> Result<(), SourceError> {
        let refuse = |cause: &str| Err(SourceError::KinesisSettings { cause: cause.to_owned() });
        if self.stream.trim().is_empty() {
            return refuse("no stream is named");
        }
        let polls = self.polls_per_second;
        // Positive form, so that NaN fails.
        if !(polls > 0.0 && polls <= POLLS_PER_SECOND_MAX) {
            return refuse("a shard answers at most 5 polls a second");
        }
        Ok(())
    }

    pub(super) fn manner(&self) -> Manner {
        match self.consumer_arn {
            Some(_) => Manner::Subscribe,
            None => Manner::Poll(Duration::from_secs(1).div_f64(self.polls_per_second)),
        }
    }

    /// The stream's name without the rest of its ARN.
    pub(super) fn stream_name(&self) -> &str {
        self.stream.rsplit('/').next().unwrap_or(&self.stream)
    }

    /// Set, or part of the ARN.
    pub(super) fn known_region(&self) -> Option<String> {
        let of_arn = || self.stream.strip_prefix("arn:")?.split(':').nth(2);
        self.region.clone().or_else(|| of_arn().map(str::to_owned))
    }
}
