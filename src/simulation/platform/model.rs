//! What is deployed, and under which conditions.

use super::control::{ControlError, check_async};
use crate::record::{Architecture, FunctionKey, TriggerKind};
use crate::simulation::duration::DurationModel;
use crate::simulation::wire::ApiKind;
use crate::units::MemoryMb;

/// The most functions of one platform; each holds about a kilobyte, so this bounds memory.
pub const FUNCTIONS_MAX: usize = 100_000;

/// The longest a function may run, in milliseconds (Lambda quotas: 15 minutes).
pub const TIMEOUT_MS_MAX: u32 = 900_000;

/// An API in front of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSpec {
    /// Ten letters and digits.
    pub api_id: String,
    /// Stage.
    pub stage: String,
    /// Method.
    pub method: String,
    /// Path.
    pub route: String,
    /// Flavour.
    pub kind: ApiKind,
}

impl ApiSpec {
    /// Method and path, as an HTTP API's route key.
    pub fn route_key(&self) -> String {
        format!("{} {}", self.method, self.route)
    }
}

/// A function as it is deployed.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionSpec {
    /// Account, region and name.
    pub key: FunctionKey,
    /// Configured memory.
    pub memory: MemoryMb,
    /// Architecture; it decides the price and is not on the wire.
    pub architecture: Architecture,
    /// How long the handler runs.
    pub duration: DurationModel,
    /// Mean initialisation on a cold start, in milliseconds.
    pub init_ms: u32,
    /// Where it is cut off, 1 to 900,000 ms.
    pub timeout_ms: u32,
    /// The share of attempts that its own code fails, 0.0 to 1.0.
    pub error_share: f64,
    /// Its API; without one it is invoked directly.
    pub api: Option<ApiSpec>,
    /// What tells of the events that reach it without an API, where anything does.
    pub origin: Option<Origin>,
    /// Reserved concurrency; unset is not a number.
    pub reserved: Option<u32>,
    /// How its asynchronous events are treated.
    pub asynchronous: AsyncSpec,
    /// The queue that it reads.
    pub queue: QueueSpec,
    /// The stream that it reads.
    pub stream: StreamSpec,
}

impl FunctionSpec {
    /// A function with a small initialisation and the platform's defaults.
    pub fn new(key: FunctionKey, memory: MemoryMb, duration: DurationModel) -> Self {
        Self {
            key,
            memory,
            architecture: Architecture::X86_64,
            duration,
            init_ms: 100,
            timeout_ms: TIMEOUT_MS_MAX,
            error_share: 0.0,
            api: None,
            origin: None,
            reserved: None,
            asynchronous: AsyncSpec::default(),
            queue: QueueSpec::default(),
            stream: StreamSpec::default(),
        }
    }
}

/// A bucket, queue, table or bus whose events are told about in records of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What it is.
    pub kind: TriggerKind,
    /// Its ARN.
    pub name: String,
}

/// Asynchronous invocation (Lambda developer guide, "Asynchronous invocation"; quotas of
/// `PutFunctionEventInvokeConfig`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsyncSpec {
    /// Events that are older go to the dead letters, 60,000 to 21,600,000 ms.
    pub age_ms_max: u32,
    /// Retries after an error of the function, 0 to 2.
    pub retries: u8,
}

impl Default for AsyncSpec {
    fn default() -> Self {
        Self { age_ms_max: 21_600_000, retries: 2 }
    }
}

/// An SQS queue and the mapping that reads it (Lambda developer guide, "Using Lambda with Amazon
/// SQS"; SQS developer guide, "Visibility timeout").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSpec {
    /// Messages of one invocation, 1 to 10,000.
    pub batch: u16,
    /// How long a message that was received stays hidden.
    pub visibility_ms: u32,
    /// How often a message is received before it goes to the dead letters; `None` lets it come
    /// back until its retention is over.
    pub receives_max: Option<u16>,
    /// How long a message is kept.
    pub retention_ms: u32,
    /// The mapping's own limit of invocations at once, 2 to 1,000.
    pub concurrency: Option<u32>,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self {
            batch: 10,
            visibility_ms: 30_000,
            receives_max: None,
            retention_ms: 345_600_000,
            concurrency: None,
        }
    }
}

/// A Kinesis or DynamoDB stream and the mapping that reads it: one batch at a time for each shard
/// and each degree of parallelism (Lambda developer guide, "Using Lambda with Kinesis").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpec {
    /// Shards, from 1.
    pub shards: u16,
    /// Batches of one shard at once, 1 to 10.
    pub parallel: u16,
    /// Records of one invocation, 1 to 10,000.
    pub batch: u16,
    /// How long a record is kept. A batch that fails stands in the way until then.
    pub retention_ms: u32,
}

impl Default for StreamSpec {
    fn default() -> Self {
        Self { shards: 1, parallel: 1, batch: 100, retention_ms: 86_400_000 }
    }
}

/// How subscription messages are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// JSON text.
    Plain,
    /// As on Kinesis.
    Gzip,
    /// Not at all: records as values, which spares writing and reading text.
    Typed,
}

/// What goes wrong between the platform and whoever reads its records: shares of messages, 0.0 to
/// 1.0. Assumed, as no provider publishes any.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PipelineFaults {
    /// Come up to `late_ms_max` later.
    pub late: f64,
    /// See `late`.
    pub late_ms_max: u32,
    /// Come twice.
    pub duplicate: f64,
    /// Never come.
    pub lost: f64,
    /// Take the longest way once more, so that those after them come first.
    pub reordered: f64,
}

/// Limits and delays. The defaults are those of a new Lambda account (developer guide, "Lambda
/// quotas" and "Lambda function scaling"); the delays are assumptions, as AWS publishes none.
#[derive(Debug, Clone, PartialEq)]
pub struct PlatformSettings {
    /// Concurrent executions of one account in one region.
    pub concurrency: u32,
    /// What reservations must leave for functions without one.
    pub unreserved_minimum: u32,
    /// How long an idle environment is kept. AWS does not say; 10 minutes is what measurements
    /// show (pacslab/serverless-performance-modeling).
    pub keep_alive_ms: u32,
    /// How many environments a function may start in `scaling_period_ms`, refilled continuously.
    pub scaling_environments: u32,
    /// See `scaling_environments`.
    pub scaling_period_ms: u32,
    /// From a control call's answer to its effect.
    pub propagation_ms: u32,
    /// The shortest way of a message through the log pipeline.
    pub delay_ms_min: u32,
    /// The longest.
    pub delay_ms_max: u32,
    /// How long log events of one function are collected into one message.
    pub batch_ms: u32,
    /// Addresses that fit the edge's set (WAF quota: 10,000).
    pub blocked_addresses_max: usize,
    /// What goes wrong on that way.
    pub faults: PipelineFaults,
    /// How subscription messages are packed.
    pub packing: Packing,
    /// Requests per second that the APIs of one account in one region let in (API Gateway quota:
    /// 10,000, and 5,000 at once).
    pub gateway_rps: u32,
    /// See `gateway_rps`.
    pub gateway_burst: u32,
    /// Control calls per second (Lambda quota: 15 for all calls that change something).
    pub control_rps: u32,
    /// Whether the ledger is kept; who asks for it has to take it.
    pub ledger: bool,
}

impl Default for PlatformSettings {
    fn default() -> Self {
        Self {
            concurrency: 1_000,
            unreserved_minimum: 100,
            keep_alive_ms: 600_000,
            scaling_environments: 1_000,
            scaling_period_ms: 10_000,
            propagation_ms: 2_000,
            delay_ms_min: 200,
            delay_ms_max: 1_500,
            batch_ms: 1_000,
            blocked_addresses_max: 10_000,
            faults: PipelineFaults::default(),
            packing: Packing::Plain,
            gateway_rps: 10_000,
            gateway_burst: 5_000,
            control_rps: 15,
            ledger: false,
        }
    }
}

/// A platform could not be built from these functions and settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Two functions with one name.
    #[error("function {0} is deployed twice; remove one")]
    Duplicate(FunctionKey),
    /// More than the platform holds.
    #[error("{0} functions, accepted: up to {FUNCTIONS_MAX}; keep the busiest only")]
    TooMany(usize),
    /// A limit that cannot be met.
    #[error("function {0}: timeout {1} ms is out of range, accepted: 1 to {TIMEOUT_MS_MAX}")]
    Timeout(FunctionKey, u32),
    /// Settings that contradict each other.
    #[error("platform setting {0}")]
    Setting(&'static str),
    /// A part of a function that cannot be.
    #[error("function {0}: {1}")]
    Function(FunctionKey, &'static str),
    /// What the control plane would refuse.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Refuses what the real platform would refuse, or what the arithmetic here cannot hold.
pub(super) fn check(
    settings: &PlatformSettings,
    specs: &[FunctionSpec],
) -> Result<(), PlatformError> {
    if specs.len() > FUNCTIONS_MAX {
        return Err(PlatformError::TooMany(specs.len()));
    }
    let wrong = |spec: &&FunctionSpec| !(1..=TIMEOUT_MS_MAX).contains(&spec.timeout_ms);
    if let Some(spec) = specs.iter().find(wrong) {
        return Err(PlatformError::Timeout(spec.key.clone(), spec.timeout_ms));
    }
    for spec in specs {
        check_sources(spec)?;
    }
    if settings.delay_ms_min > settings.delay_ms_max {
        return Err(PlatformError::Setting("delay_ms_min is above delay_ms_max"));
    }
    if settings.unreserved_minimum > settings.concurrency {
        return Err(PlatformError::Setting("unreserved_minimum is above concurrency"));
    }
    if settings.scaling_environments == 0 || settings.scaling_period_ms == 0 {
        return Err(PlatformError::Setting("scaling_* is 0, accepted: from 1"));
    }
    let faults = &settings.faults;
    let shares = [faults.late, faults.duplicate, faults.lost, faults.reordered];
    if !shares.iter().all(|share| (0.0..=1.0).contains(share)) {
        return Err(PlatformError::Setting("faults.* is out of range, accepted: 0.0 to 1.0"));
    }
    if [settings.gateway_rps, settings.gateway_burst, settings.control_rps].contains(&0) {
        return Err(PlatformError::Setting("gateway_* or control_rps is 0, accepted: from 1"));
    }
    Ok(())
}

fn check_sources(spec: &FunctionSpec) -> Result<(), PlatformError> {
    let (queue, stream) = (&spec.queue, &spec.stream);
    let is_size = |size: u16| (1..=10_000).contains(&size);
    let wrong = if !(0.0..=1.0).contains(&spec.error_share) {
        "error_share is out of range, accepted: 0.0 to 1.0"
    } else if !is_size(queue.batch) || !is_size(stream.batch) {
        "batch is out of range, accepted: 1 to 10000"
    } else if queue.visibility_ms == 0 || queue.receives_max == Some(0) {
        "queue.visibility_ms or receives_max is 0, accepted: from 1"
    } else if queue.concurrency.is_some_and(|limit| !(2..=1_000).contains(&limit)) {
        "queue.concurrency is out of range, accepted: 2 to 1000"
    } else if !(1..=1_000).contains(&stream.shards) || !(1..=10).contains(&stream.parallel) {
        "stream is out of range, accepted: 1 to 1000 shards, parallel 1 to 10"
    } else {
        return Ok(check_async(spec.asynchronous)?);
    };
    Err(PlatformError::Function(spec.key.clone(), wrong))
}
