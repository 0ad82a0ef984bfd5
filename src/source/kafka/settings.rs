//! How Kafka is read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::token::{TokenSource, Tokens};
use crate::source::SourceError;
use crate::units::EventTime;

/// How Kafka is read.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Topics, at least one.
    pub topics: Vec<String>,
    /// Consumer group; its members share the partitions.
    pub group: String,
    /// Where to begin in a partition for which the group has committed nothing.
    pub start: Start,
    /// Further librdkafka properties (security, timeouts), passed through as they are.
    pub properties: BTreeMap<String, String>,
    /// Where the token comes from that is shown to the brokers, if one is.
    pub token: Option<TokenSource>,
    /// Messages that wait to be merged, over all partitions together. Soft by one message a
    /// partition, and a partition may always hold [`PARTITION_BYTES_MIN`].
    pub queue_bytes_max: usize,
    /// How long a silent partition, that is not at its end, holds back the others.
    pub idle: Duration,
}

/// What a partition may hold however many there are: a few fetches, so that each is not paused
/// after every one.
pub const PARTITION_BYTES_MIN: usize = 64 << 10;

/// Where to begin without a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Everything that is retained.
    #[default]
    Earliest,
    /// Only what comes from now on.
    Latest,
    /// What the brokers date at or after a time.
    At(EventTime),
}

/// Properties that decide whether messages are lost or doubled or how much memory is used, with
/// their aliases.
const OWNED: [&str; 14] = [
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "group.id",
    "max.partition.fetch.bytes",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "statistics.interval.ms",
];

impl Default for KafkaSettings {
    /// Names have no default. 64 MiB hold about ten seconds of 10,000 messages a second. 2 s is
    /// longer than a change of partition leader commonly takes, and still one bucket of delay.
    fn default() -> Self {
        Self {
            bootstrap_servers: String::new(),
            topics: Vec::new(),
            group: String::new(),
            start: Start::default(),
            properties: BTreeMap::new(),
            token: None,
            queue_bytes_max: 64 << 20,
            idle: Duration::from_secs(2),
        }
    }
}

impl fmt::Debug for KafkaSettings {
    /// Without the values of the properties: passwords are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("start", &self.start)
            .field("properties", &self.properties.keys())
            .field("token", &self.token)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .field("idle", &self.idle)
            .finish()
    }
}

impl KafkaSettings {
    pub(super) fn client_config(&self) -> Result<ClientConfig, SourceError> {
        let refuse = |cause: &str| Err(SourceError::KafkaSettings { cause: cause.to_owned() });
        if self.bootstrap_servers.trim().is_empty() {
            return refuse("no bootstrap server is named");
        }
        if self.topics.is_empty() || self.topics.iter().any(|topic| topic.trim().is_empty()) {
            return refuse("no topic is named");
        }
        if self.group.trim().is_empty() {
            return refuse("no consumer group is named");
        }
        let mut config = ClientConfig::new();
        // May be overridden: half of the default delay of a retry, and of noticing a new topic.
        config
            .set("client.id", "bursar")
            .set("fetch.wait.max.ms", "50")
            .set("reconnect.backoff.max.ms", "5000")
            .set("topic.metadata.refresh.interval.ms", "10000");
        for (key, value) in &self.properties {
            if OWNED.contains(&key.trim()) {
                return Err(SourceError::OwnedProperty { key: key.clone() });
            }
            config.set(key, value);
        }
        if self.token.is_some() {
            Tokens::prepare(&mut config);
        }
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set(
                "auto.offset.reset",
                match self.start {
                    Start::Earliest => "earliest",
                    Start::Latest | Start::At(_) => "latest",
                },
            )
            // Smaller fetches than these bound the rate by round trips; a larger message still
            // comes through, because a broker always sends at least one.
            .set("fetch.message.max.bytes", "1048576")
            .set("fetch.max.bytes", "33554432")
            .set("queued.max.messages.kbytes", "32768")
            // Feeds the lag, and tells what is committed and, while no message comes, that brokers
            // are back.
            .set("statistics.interval.ms", "2000");
        // In the newer protocol (KIP-848) the broker shares the partitions out, and the client
        // refuses to be told how.
        if config.get("group.protocol") != Some("consumer") {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        Ok(config)
    }
}
