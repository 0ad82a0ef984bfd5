//! What the rest of the program is told. Every field was checked; `Default` is the only place
//! where a default stands.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::act::webhook::Target;
use crate::control::settings::ControlSettings;
use crate::cost::{Budget, Capacity, Gateway};
use crate::engine::routes::ConfiguredRoute;
use crate::engine::settings::{DetectionSettings, EngineSettings};
use crate::units::{AccountId, EventTime};

/// Everything that can be set. The mode is `control.mode`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where messages come from.
    pub input: InputSettings,
    /// Sizes and times of the engine.
    pub engine: EngineSettings,
    /// Worker threads; 0 is one for each core.
    pub shards: usize,
    /// The most records that the engine is fed in one batch.
    pub batch_records: usize,
    /// The most chunks of messages that wait for the engine; beyond it the source waits.
    pub queue_chunks: usize,
    /// What was learned before the start.
    pub baselines_file: Option<PathBuf>,
    /// The promise and the money below which nothing is worth a page.
    pub detection: DetectionSettings,
    /// What an invocation costs.
    pub cost: CostConfig,
    /// Monthly ceilings.
    pub budgets: Vec<Budget>,
    /// Limits and times of the control ladder, and the mode.
    pub control: ControlSettings,
    /// Capping functions through the Lambda API.
    pub lambda: LambdaConfig,
    /// Where restrictions are journalled.
    pub journal: String,
    /// Where the state is written to go on from after a restart; `None`: nowhere.
    pub state_directory: Option<PathBuf>,
    /// How often.
    pub state_interval_seconds: u32,
    /// Which function stands behind an entry point.
    pub routes: Vec<ConfiguredRoute>,
    /// The HTTP server.
    pub server: ServerSettings,
    /// Where decisions are posted.
    pub webhooks: Vec<Target>,
    /// What is logged and how.
    pub log: LogSettings,
    /// What is written where.
    pub output: OutputSettings,
    /// Bounds of the exported metrics.
    pub metrics: MetricsSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            input: InputSettings::default(),
            engine: EngineSettings::default(),
            shards: 0,
            batch_records: 4_096,
            queue_chunks: 16,
            baselines_file: None,
            detection: DetectionSettings::default(),
            cost: CostConfig::default(),
            budgets: Vec::new(),
            control: ControlSettings::default(),
            lambda: LambdaConfig::default(),
            journal: "bursar-journal".to_owned(),
            state_directory: None,
            state_interval_seconds: 60,
            routes: Vec::new(),
            server: ServerSettings::default(),
            webhooks: Vec::new(),
            log: LogSettings::default(),
            output: OutputSettings::default(),
            metrics: MetricsSettings::default(),
        }
    }
}

/// Where messages come from, and what is assumed where they do not say.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSettings {
    /// Which of the sources below is read.
    pub kind: InputKind,
    /// The account of records that name none.
    pub account: AccountId,
    /// The region of records that name none.
    pub region: String,
    /// The function of records that name none; empty: such records are rejected.
    pub function: String,
    /// Names or `*` patterns of functions and log groups whose records do not count.
    pub exclude: Vec<String>,
    /// The Kafka source.
    pub kafka: KafkaSettings,
    /// The Kinesis source.
    pub kinesis: KinesisSettings,
    /// Recorded files, read in this order; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Seed of the virtual platform inside the process.
    pub embedded_seed: u64,
}

impl Default for InputSettings {
    fn default() -> Self {
        Self {
            kind: InputKind::Embedded,
            account: AccountId::default(),
            region: "us-east-1".to_owned(),
            function: String::new(),
            exclude: Vec::new(),
            kafka: KafkaSettings::default(),
            kinesis: KinesisSettings::default(),
            files: Vec::new(),
            embedded_seed: 1,
        }
    }
}

/// Capping functions through the Lambda API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaConfig {
    /// Whether it is done in mode enforce.
    pub enabled: bool,
    /// Another service than the cloud's own; empty for that.
    pub endpoint: String,
    /// Calls a second, at most.
    pub requests_per_second: u32,
    /// Who gives back when this process no longer can.
    pub release: Release,
    /// The role by which the scheduler does.
    pub release_role: String,
}

impl Default for LambdaConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            endpoint: String::new(),
            requests_per_second: 5,
            release: Release::Nobody,
            release_role: String::new(),
        }
    }
}

/// Who gives back what is restricted when the daemon no longer can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Nobody: nothing may be restricted.
    Nobody,
    /// The platform itself, by a schedule that is left with each restriction.
    Schedule,
    /// A timer of the operator's that runs `bursar restore --expired`.
    Timer,
}

/// The sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// A virtual platform inside the process.
    Embedded,
    /// Kafka topics.
    Kafka,
    /// A Kinesis stream.
    Kinesis,
    /// Files or standard input.
    Files,
}

/// The Kafka source.
#[derive(Clone, PartialEq)]
pub struct KafkaSettings {
    /// `host:port` of the first brokers to ask.
    pub brokers: Vec<String>,
    /// Topics to read.
    pub topics: Vec<String>,
    /// Consumer group.
    pub group: String,
    /// Where to begin when the group has no position yet.
    pub start: KafkaStart,
    /// The time of [`KafkaStart::Timestamp`].
    pub start_time: Option<EventTime>,
    /// librdkafka properties, passed on as they are. May hold passwords, which is why `Debug`
    /// prints the names only.
    pub properties: BTreeMap<String, String>,
    /// Where the token comes from that is shown to the brokers.
    pub token: KafkaToken,
    /// The file of [`KafkaToken::File`].
    pub token_file: Option<PathBuf>,
    /// The region of [`KafkaToken::AwsMskIam`]; empty: as the environment says.
    pub token_region: String,
}

/// Where the token comes from that is shown to the brokers (SASL OAUTHBEARER).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaToken {
    /// None is shown.
    None,
    /// Signed for Amazon MSK.
    AwsMskIam,
    /// Read from a file.
    File,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topics: Vec::new(),
            group: "bursar".to_owned(),
            start: KafkaStart::Latest,
            start_time: None,
            properties: BTreeMap::new(),
            token: KafkaToken::None,
            token_file: None,
            token_region: String::new(),
        }
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("start", &self.start)
            .field("start_time", &self.start_time)
            .field("properties", &names)
            .field("token", &self.token)
            .field("token_file", &self.token_file)
            .field("token_region", &self.token_region)
            .finish()
    }
}

/// Where to begin when the group has no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaStart {
    /// The oldest message that is still kept.
    Earliest,
    /// The next message that arrives.
    Latest,
    /// The first message that the broker dates at or after a time.
    Timestamp,
}

/// The Kinesis source.
#[derive(Debug, Clone, PartialEq)]
pub struct KinesisSettings {
    /// Name or ARN of the stream.
    pub stream: String,
    /// Empty: as the ARN, the environment or the profile says.
    pub region: String,
    /// Empty: the region's own.
    pub endpoint: String,
    /// Empty: polling; else the consumer to subscribe as.
    pub consumer_arn: String,
    /// Where to begin without a checkpoint.
    pub start: KinesisStart,
    /// The time of [`KinesisStart::AtTimestamp`].
    pub start_time: Option<EventTime>,
    /// Where acknowledged positions are kept.
    pub checkpoint_file: Option<PathBuf>,
    /// Calls for records, a second and shard.
    pub polls_per_second: f64,
    /// How the stream is paid for.
    pub capacity: Capacity,
}

impl Default for KinesisSettings {
    fn default() -> Self {
        Self {
            stream: String::new(),
            region: String::new(),
            endpoint: String::new(),
            consumer_arn: String::new(),
            start: KinesisStart::Latest,
            start_time: None,
            checkpoint_file: None,
            // One in five is left to other readers.
            polls_per_second: 4.0,
            capacity: Capacity::Provisioned,
        }
    }
}

/// Where to begin in a stream without a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KinesisStart {
    /// The oldest record that is still kept.
    TrimHorizon,
    /// The next record that arrives.
    Latest,
    /// The first record that arrived at or after a time.
    AtTimestamp,
}

/// What an invocation costs, with what it drags along.
#[derive(Debug, Clone, PartialEq)]
pub struct CostConfig {
    /// Prices that replace the built-in ones.
    pub prices_file: Option<PathBuf>,
    /// What stands in front of the functions.
    pub gateway: Gateway,
    /// Log bytes that one invocation writes.
    pub log_bytes_per_invocation: u64,
    /// Response bytes that leave the platform, where the record does not say.
    pub response_bytes: u64,
    /// Everything else that a request causes: queues, tables, calls to others.
    pub extra_usd_per_million_requests: f64,
    /// Whether the account's monthly free tier is taken off.
    pub free_tier: bool,
    /// Exceptions; the first that matches counts.
    pub functions: Vec<FunctionCost>,
}

impl Default for CostConfig {
    fn default() -> Self {
        Self {
            prices_file: None,
            gateway: Gateway::Observed,
            // The START, END and REPORT lines that the platform itself writes.
            log_bytes_per_invocation: 377,
            response_bytes: 0,
            extra_usd_per_million_requests: 0.0,
            free_tier: false,
            functions: Vec::new(),
        }
    }
}

/// What is different for some functions; `None` keeps the general value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FunctionCost {
    /// Name or `*` pattern, matched against `account:region:name` and against the bare name.
    pub pattern: String,
    /// See [`CostConfig::gateway`].
    pub gateway: Option<Gateway>,
    /// See [`CostConfig::log_bytes_per_invocation`].
    pub log_bytes_per_invocation: Option<u64>,
    /// See [`CostConfig::response_bytes`].
    pub response_bytes: Option<u64>,
    /// See [`CostConfig::extra_usd_per_million_requests`].
    pub extra_usd_per_million_requests: Option<f64>,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Whether it runs.
    pub enabled: bool,
    /// Address and port.
    pub listen: SocketAddr,
    /// What it is called besides its addresses and names without a dot.
    pub hosts: Vec<String>,
    /// Who may read and change.
    pub access_file: Option<PathBuf>,
    /// Whether reading needs a key, too.
    pub read_needs_key: bool,
    /// The chain of certificates that is shown; `None`: no TLS.
    pub tls_certificate: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// Authorities of which a client must have a certificate.
    pub tls_client_ca: Option<PathBuf>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9_477)),
            hosts: Vec::new(),
            access_file: None,
            read_needs_key: false,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
        }
    }
}

/// What is logged and how; always to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: LogLevel::Info }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line for each event.
    Human,
    /// One JSON object for each event.
    Json,
}

/// Log levels, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something needs a look.
    Warn,
    /// What a person wants to follow.
    Info,
    /// Why decisions were taken.
    Debug,
    /// Everything.
    Trace,
}

/// What is written where; `None` is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSettings {
    /// Decisions: run, alarm, action and summary lines.
    pub decisions: Option<PathBuf>,
    /// The ledger: usage and money for each minute and function.
    pub ledger: Option<PathBuf>,
    /// Records that could not be read.
    pub dead_letters: Option<PathBuf>,
    /// The dead-letter file stops growing here; what comes later is only counted.
    pub dead_letter_bytes_max: u64,
    /// A topic where they are sent; empty: none.
    pub dead_letter_topic: String,
    /// At most this many dead letters are kept for each reason.
    pub dead_letters_per_reason_max: u64,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            decisions: None,
            ledger: None,
            dead_letters: None,
            dead_letter_bytes_max: 64 << 20,
            dead_letter_topic: String::new(),
            dead_letters_per_reason_max: 1_000,
        }
    }
}

/// Bounds of the exported metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsSettings {
    /// How many functions have series of their own: those with the most money at risk.
    pub top_functions: usize,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { top_functions: 50 }
    }
}
