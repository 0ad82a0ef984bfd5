//! What the engine says: alarms with their evidence, pulses of the functions that are watched, and
//! the minute rows of the ledger.

use std::collections::BTreeMap;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::attribution::Attribution;
use super::detect::rate::ChannelReading;
use crate::cost::{Projection, Usage};
use crate::keep::{kept, kept_words};
use crate::record::{FunctionKey, Position};
use crate::units::{AccountId, EventTime, NanoUsd};

/// Where an alarm is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// Evidence has reached its threshold; or what was a notice has become a page.
    Opened,
    /// It is still open; numbers are newer.
    Updated,
    /// Evidence has fallen below the square root of the threshold, or calls have kept to what is
    /// tolerated for twenty seconds; for a notice, ten minutes ago.
    Closed,
}

/// Whether somebody should be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth telling.
    Notice,
    /// Worth acting on.
    Page,
}

impl Severity {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Notice => "notice",
            Severity::Page => "page",
        }
    }
}

/// Which statistic spoke; the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Calls per second.
    RateFast,
    /// Growth by the same factor in equal times.
    Recursion,
    /// Billed duration.
    Duration,
    /// Configured memory.
    Memory,
    /// Share of calls that fail, or that were made before.
    Retry,
    /// Dollars above the allowed that gather over bursts and pauses.
    Yoyo,
    /// Dollars of the hour, against those of the same hour on other days.
    Cost,
    /// Dollars of the day, against those of the days before.
    Leech,
    /// Calls a minute, over all functions of an account; no single function has it.
    Aggregate,
}

impl Channel {
    /// All of them.
    pub const ALL: [Channel; 9] = [
        Channel::RateFast,
        Channel::Recursion,
        Channel::Duration,
        Channel::Memory,
        Channel::Retry,
        Channel::Yoyo,
        Channel::Cost,
        Channel::Leech,
        Channel::Aggregate,
    ];
    /// Those of a function whose evidence changes with seconds and blocks, not with every call.
    pub const SELDOM: [Channel; 7] = [
        Channel::Recursion,
        Channel::Duration,
        Channel::Memory,
        Channel::Retry,
        Channel::Yoyo,
        Channel::Cost,
        Channel::Leech,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Channel::RateFast => "rate_fast",
            Channel::Duration => "duration",
            Channel::Memory => "memory",
            Channel::Retry => "retry",
            Channel::Recursion => "recursion",
            Channel::Yoyo => "yoyo",
            Channel::Cost => "cost",
            Channel::Leech => "leech",
            Channel::Aggregate => "aggregate",
        }
    }
}

/// What kind of trouble it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Few sources carry the excess, or callers behave as no crowd does.
    Attack,
    /// Many callers, each like any other: a busy day.
    Crowd,
    /// The function itself costs more; nobody new calls it.
    Runaway,
    /// Not enough is known of who calls.
    Unknown,
}

impl Class {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Attack => "attack",
            Class::Crowd => "crowd",
            Class::Runaway => "runaway",
            Class::Unknown => "unknown",
        }
    }
}

/// What was used beyond what the baseline expected, since the onset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Excess {
    /// Invocations.
    pub requests: u64,
    /// Billed milliseconds × megabytes.
    pub mb_ms: u64,
    /// Priced.
    pub nano_usd: NanoUsd,
}

/// One statement about one alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// Hash of scope, channel and onset: the same in every run over the same records.
    pub id: String,
    /// Opened, updated or closed.
    pub state: AlarmState,
    /// Notice or page.
    pub severity: Severity,
    /// The function it is about.
    pub function: FunctionKey,
    /// When the excess began, to the second.
    pub onset: EventTime,
    /// Event time of the record that lifted the evidence over its threshold.
    pub evidence_at: EventTime,
    /// Event time had come this far when it was said.
    pub decided_at: EventTime,
    /// Where that record stood in the input.
    pub position: Position,
    /// Order among all statements: sequence number of the record or of the tick.
    pub sequence: u64,
    /// The evidence, by channel.
    pub channels: BTreeMap<Channel, ChannelReading>,
    /// What it looks like.
    pub class: Class,
    /// What it has cost so far.
    pub excess: Excess,
    /// Excess burn now, in nano-dollars an hour: the money at risk.
    pub excess_per_hour: NanoUsd,
    /// What the function will have cost by the hour, the day and the month's end.
    pub projected: Projection,
    /// The most that the function can cost in the next hour, whatever comes.
    pub loss_bound: NanoUsd,
    /// Who carries it.
    pub attribution: Attribution,
}

/// One statement about one alarm over all functions of an account.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountAlarm {
    /// Hash of scope, channel and onset.
    pub id: String,
    /// Opened, updated or closed.
    pub state: AlarmState,
    /// Notice or page.
    pub severity: Severity,
    /// The account it is about.
    pub account: AccountId,
    /// The beginning of the first minute in which evidence gathered.
    pub onset: EventTime,
    /// The end of the minute that lifted the evidence over its threshold.
    pub evidence_at: EventTime,
    /// Event time had come this far when it was said.
    pub decided_at: EventTime,
    /// The evidence, and calls per second of the functions that are too busy.
    pub reading: ChannelReading,
    /// What these functions have cost so far beyond what was expected.
    pub excess: Excess,
    /// Excess burn in the latest minute, in nano-dollars an hour.
    pub excess_per_hour: NanoUsd,
    /// Who it is.
    pub functions: LiftedFunctions,
}

/// The functions of an account that were too busy in the latest minute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiftedFunctions {
    /// How many.
    pub lifted: u32,
    /// How many functions the account has.
    pub of: u64,
    /// Those with the largest excess, largest first.
    pub largest: Vec<FunctionExcess>,
}

/// One function's part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunctionExcess {
    /// The function.
    pub function: FunctionKey,
    /// Its excess of the latest minute.
    #[serde(flatten)]
    pub excess: Excess,
}

/// The hash that names an alarm about `place`: a function or an account.
pub fn alarm_id(
    scope: &str,
    place: &impl core::fmt::Display,
    channel: Channel,
    onset: EventTime,
) -> String {
    let text = format!("{scope}|{place}|{}|{}", channel.as_str(), onset.ms());
    format!("{:012x}", xxh3_64(text.as_bytes()) >> 16)
}

/// How a function under an alarm or a restriction is doing, once a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulse {
    /// The function.
    pub function: FunctionKey,
    /// Whether its alarm is open.
    pub alarmed: bool,
    /// Served calls per second, mean of the last three seconds.
    pub served: f64,
    /// Requests per second that were turned away before the function, over the same time.
    pub forbidden: f64,
    /// Requests per second that were turned away at the function, over the same time.
    pub throttled: f64,
    /// Calls per second that the baseline expects.
    pub expected: f64,
    /// Calls per second that the baseline allows, envelope included.
    pub tolerated: f64,
    /// Upper bound of the learned dispersion.
    pub dispersion: f64,
    /// Mean billed duration, milliseconds.
    pub billed_ms: f64,
    /// Configured memory, MB.
    pub memory_mb: u32,
    /// Marginal price of one call at the present duration, dollars.
    pub usd_per_call: f64,
}

/// How a function's minute stands beside what was expected, for the evidence over its account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Busyness {
    /// An e-value against the baseline as it was when the minute began. What the calls cost has no
    /// part in it.
    pub evidence: f64,
    /// Calls that were expected when what is known was last beyond doubt.
    pub expected: f64,
    /// What was used beyond that.
    pub excess: Excess,
}

/// One function's minute: a row of the ledger, and what the view shows.
#[derive(Debug, Clone, PartialEq)]
pub struct MinuteRow {
    /// Minutes since the Unix epoch.
    pub minute: i64,
    /// The function.
    pub function: FunctionKey,
    /// What it used.
    pub usage: Usage,
    /// Priced.
    pub nano_usd: NanoUsd,
    /// Calls per second that the baseline expects.
    pub expected: f64,
    /// Mean billed duration, milliseconds.
    pub billed_ms: f64,
    /// Configured memory, MB.
    pub memory_mb: u32,
    /// log10 of the evidence.
    pub evidence_log10: f64,
    /// `None` for a function without a baseline, and for the part of a minute.
    pub busyness: Option<Busyness>,
}

/// Anything the engine says.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// An alarm opened, changed or closed.
    Alarm(Box<Alarm>),
    /// A watched function's second.
    Pulse(Pulse),
    /// A function's minute.
    Minute(Box<MinuteRow>),
}

kept_words!(Severity { Notice = 0, Page = 1 });
kept_words!(Channel {
    RateFast = 0,
    Recursion = 1,
    Duration = 2,
    Memory = 3,
    Retry = 4,
    Yoyo = 5,
    Cost = 6,
    Leech = 7,
    Aggregate = 8,
});
kept!(Excess { requests, mb_ms, nano_usd });
kept!(FunctionExcess { function, excess });

kept_words!(AlarmState { Opened = 0, Updated = 1, Closed = 2 });
kept_words!(Class { Attack = 0, Crowd = 1, Runaway = 2, Unknown = 3 });
kept!(Busyness { evidence, expected, excess });
kept!(MinuteRow {
    minute,
    function,
    usage,
    nano_usd,
    expected,
    billed_ms,
    memory_mb,
    evidence_log10,
    busyness,
});
kept!(Alarm {
    id,
    state,
    severity,
    function,
    onset,
    evidence_at,
    decided_at,
    position,
    sequence,
    channels,
    class,
    excess,
    excess_per_hour,
    projected,
    loss_bound,
    attribution,
});
kept!(Pulse {
    function,
    alarmed,
    served,
    forbidden,
    throttled,
    expected,
    tolerated,
    dispersion,
    billed_ms,
    memory_mb,
    usd_per_call,
});
