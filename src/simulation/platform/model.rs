//! What is deployed, asked, told and counted.

use core::net::IpAddr;

use crate::record::{Architecture, FunctionKey};
use crate::simulation::duration::DurationModel;
use crate::simulation::platform::ControlError;
use crate::simulation::wire::ApiKind;
use crate::units::{EventTime, MbMillis, MemoryMb};

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
    /// Its API; without one it is invoked directly.
    pub api: Option<ApiSpec>,
    /// Reserved concurrency; unset is not a number.
    pub reserved: Option<u32>,
}

/// How subscription messages are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// JSON text.
    Plain,
    /// As on Kinesis.
    Gzip,
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
    /// How subscription messages are packed.
    pub packing: Packing,
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
            packing: Packing::Plain,
        }
    }
}

/// Someone asks for an invocation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// When; times that have passed are taken as now.
    pub at: EventTime,
    /// Index into the list that the platform was built from.
    pub function: usize,
    /// Caller, for functions with an API.
    pub address: Option<IpAddr>,
    /// API key id.
    pub api_key: Option<&'static str>,
    /// The client's description of itself.
    pub user_agent: Option<&'static str>,
    /// Which attack it belongs to. Ground truth: never on the wire.
    pub attack: Option<u16>,
}

/// A message that has come out of the log pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: EventTime,
    /// One envelope or one access-log line.
    pub payload: Vec<u8>,
    /// How many records are in it.
    pub records: u32,
}

/// Ground truth about the requests of one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Requests that came: served + throttled + blocked.
    pub offered: u64,
    /// Started.
    pub served: u64,
    /// Refused at a concurrency or scaling limit.
    pub throttled: u64,
    /// Refused at the edge.
    pub blocked: u64,
    /// What completed ones were billed for.
    pub usage: MbMillis,
    /// When the first record about them was written.
    pub first_record: Option<EventTime>,
    /// When the last one was.
    pub last_record: Option<EventTime>,
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
    /// Reservations beyond the account's limit.
    #[error(transparent)]
    Reserved(#[from] ControlError),
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
    if settings.delay_ms_min > settings.delay_ms_max {
        return Err(PlatformError::Setting("delay_ms_min is above delay_ms_max"));
    }
    if settings.unreserved_minimum > settings.concurrency {
        return Err(PlatformError::Setting("unreserved_minimum is above concurrency"));
    }
    if settings.scaling_environments == 0 || settings.scaling_period_ms == 0 {
        return Err(PlatformError::Setting("scaling_* is 0, accepted: from 1"));
    }
    Ok(())
}
