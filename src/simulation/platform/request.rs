//! Who asks, and what became of it.

use core::net::IpAddr;

use crate::units::EventTime;

/// In which way an invocation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// The caller waits, directly or behind an API, and hears of a refusal.
    #[default]
    Sync,
    /// The platform takes the event and retries by itself.
    Async,
    /// A message in the function's queue.
    Queue,
    /// A record in the function's stream; equal keys are in one shard.
    Stream {
        /// Partition key.
        key: u16,
    },
}

/// Someone asks for an invocation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// When; times that have passed are taken as now.
    pub at: EventTime,
    /// Index into the list that the platform was built from.
    pub function: usize,
    /// In which way.
    pub way: Way,
    /// Caller, for functions with an API.
    pub address: Option<IpAddr>,
    /// API key id; for events without an API the principal that caused them.
    pub api_key: Option<&'static str>,
    /// The client's description of itself.
    pub user_agent: Option<&'static str>,
    /// How long the function takes for it, in milliseconds; `None` draws it.
    pub run_ms: Option<f32>,
    /// Times the duration that the function takes otherwise.
    pub stretch: f32,
    /// Probability that an attempt fails, besides the function's own; 1.0 never succeeds.
    pub error_share: f32,
    /// Bytes of the answer; `None` draws some.
    pub response_bytes: Option<u32>,
    /// Bytes that each of its runs writes to the log, besides what every run does.
    pub log_bytes: u32,
    /// Megabytes that it needs; `None` is as usual. A run that has less is killed, and its
    /// environment with it.
    pub needed_mb: Option<u32>,
    /// Which attack it belongs to. Ground truth: never on the wire.
    pub attack: Option<u16>,
    /// Who wants to hear of its outcome; numbers are the caller's own.
    pub client: Option<u32>,
}

impl Request {
    /// A synchronous request by nobody in particular.
    pub fn new(at: EventTime, function: usize) -> Self {
        Self {
            at,
            function,
            way: Way::Sync,
            address: None,
            api_key: None,
            user_agent: None,
            run_ms: None,
            stretch: 1.0,
            error_share: 0.0,
            response_bytes: None,
            log_bytes: 0,
            needed_mb: None,
            attack: None,
            client: None,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// It was carried out.
    Served,
    /// The function's code failed, and the caller knows.
    Failed,
    /// The function was cut off at its limit, and the caller knows.
    TimedOut,
    /// 429 at a concurrency, rate or scaling limit of the function or its account.
    Throttled,
    /// 429 at a limit of the gateway, before the function was asked.
    Limited,
    /// 403 at the firewall.
    Blocked,
    /// Given up after retries, age or a full backlog: a dead letter.
    Dead,
}

/// What a client hears of its request. Asynchronous, queue and stream events are told of when they
/// are settled, which a real client would not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The number on the request.
    pub client: u32,
    /// When.
    pub at: EventTime,
    /// How it ended.
    pub ending: Ending,
}
