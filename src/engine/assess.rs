//! From a function's state to a statement: excess, projection, bound, class and attribution.

use std::collections::BTreeMap;

use super::alarm::{Alarm, AlarmState, Channel, Class, Excess, Pulse, Severity};
use super::attribution::Attribution;
use super::detect::rate::ChannelReading;
use super::function::{FunctionState, Surroundings};
use super::open_alarm::OpenAlarm;
use crate::cost::projection::LEVEL_LOG_SD_DEFAULT;
use crate::cost::{Exposure, Projection, ProjectionInput, Usage, loss_bound, project};
use crate::units::{EventTime, NanoUsd};

/// Seconds over which the present rate is measured.
const RATE_SECONDS: i64 = 3;
/// Requests of known source before anything is said of who they come from.
const ATTRIBUTED_MIN: u64 = 20;
/// Concurrency of a region where nothing says otherwise: Lambda's default account limit.
const ACCOUNT_CONCURRENCY: u32 = 1_000;
/// Dispersion of hourly counts around their level; the level's own drift comes on top.
const HOURLY_DISPERSION: f64 = 0.05;
/// Log-odds that a function with no evidence keeps its present rate rather than its baseline.
const PERSIST_PRIOR: f64 = -10.0;

/// When something is said, and about what.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// How far event time has come.
    pub now: EventTime,
    /// Order among all statements.
    pub sequence: u64,
}

/// States how an alarm stands.
pub fn alarm(
    function: &FunctionState,
    open: &OpenAlarm,
    state: AlarmState,
    moment: Moment,
    around: &Surroundings<'_>,
) -> Alarm {
    let now = moment.now.max(open.evidence_at);
    let elapsed = now.since_ms(open.onset).max(500) as f64 / 1e3;
    let rates = function.rates(around);
    let expected = function.usual(open.expected * elapsed);
    let spent = rates.cost(&open.since);
    let excess = Excess {
        requests: open.since.requests.saturating_sub(expected.requests),
        mb_ms: open.since.mb_ms.0.saturating_sub(expected.mb_ms.0),
        nano_usd: spent.minus(rates.cost(&expected)).max(NanoUsd::ZERO),
    };
    let rate = present_rate(function, open, now);
    let usd_per_call = rates.per_request(mean_mb_ms(open, function));
    let usual = open.expected * rates.per_request(function.mean_mb_ms);
    let burn = rate * usd_per_call * 3_600.0;
    let attribution = attribution(function, open, now);
    Alarm {
        id: open.id.clone(),
        state,
        severity: Severity::Page,
        function: function.name.clone(),
        onset: open.onset,
        evidence_at: open.evidence_at,
        decided_at: now,
        position: open.position,
        sequence: moment.sequence,
        channels: channels(function, open, rate, around),
        class: class(open, &attribution),
        excess,
        excess_per_hour: NanoUsd::from_usd((burn - usual * 3_600.0).max(0.0)),
        projected: projection(function, burn, usual * 3_600.0, usd_per_call, now, around),
        loss_bound: bound(function, around),
        attribution,
    }
}

/// How a watched function is doing.
pub fn pulse(function: &FunctionState, now: EventTime, around: &Surroundings<'_>) -> Pulse {
    let second = now.second();
    let alarm = function.alarm.as_deref();
    let mean = alarm.map_or(function.mean_mb_ms, |open| mean_mb_ms(open, function));
    let memory = f64::from(function.memory_mb.max(1));
    let refused = alarm.map(|open| open.refused_rates(second, RATE_SECONDS));
    let (forbidden, throttled) = refused.unwrap_or_default();
    Pulse {
        function: function.name.clone(),
        alarmed: alarm.is_some(),
        served: function.served.rate(second, RATE_SECONDS),
        forbidden,
        throttled,
        expected: function.baseline.expected(),
        tolerated: function.tolerance,
        dispersion: function.baseline.dispersion(1.0, 1.0),
        billed_ms: mean / memory,
        memory_mb: function.memory_mb,
        usd_per_call: function.rates(around).per_request(mean),
    }
}

/// Calls per second since the onset, over the last seconds at most.
fn present_rate(function: &FunctionState, open: &OpenAlarm, now: EventTime) -> f64 {
    let from = open.onset.second().max(now.second() - RATE_SECONDS);
    let calls: u64 = (from..=now.second()).map(|second| function.served.get(second)).sum();
    let span = now.since_ms(EventTime::from_second(from)).max(500) as f64 / 1e3;
    calls as f64 / span
}

/// Mean usage of the calls since the onset.
fn mean_mb_ms(open: &OpenAlarm, function: &FunctionState) -> f64 {
    match open.since.requests {
        0 => function.mean_mb_ms,
        requests => open.since.mb_ms.0 as f64 / requests as f64,
    }
}

fn channels(
    function: &FunctionState,
    open: &OpenAlarm,
    rate: f64,
    around: &Surroundings<'_>,
) -> BTreeMap<Channel, ChannelReading> {
    let threshold_log10 = libm::log10(around.threshold);
    let log10 = |value: f64| libm::log10(value.max(1e-9));
    let reading = match open.channel {
        Channel::RateFast => ChannelReading {
            evidence_log10: log10(function.evidence_now(around)),
            threshold_log10,
            expected: open.expected,
            observed: rate,
        },
        Channel::Duration => ChannelReading {
            evidence_log10: log10(function.duration.value()),
            threshold_log10,
            expected: function.duration.expected_ms(),
            observed: function.duration.observed_ms(),
        },
    };
    BTreeMap::from([(open.channel, reading)])
}

fn attribution(function: &FunctionState, open: &OpenAlarm, now: EventTime) -> Attribution {
    let Some(pane) = &function.pane else {
        return Attribution::default();
    };
    if pane.requests() < ATTRIBUTED_MIN {
        return Attribution::default();
    }
    let elapsed = now.since_ms(open.onset).max(0) as f64 / 1e3;
    pane.attribution(function.reference(), open.expected * elapsed)
}

fn class(open: &OpenAlarm, attribution: &Attribution) -> Class {
    if !attribution.sources.is_empty() && !attribution.diffuse {
        Class::Attack
    } else if open.channel == Channel::Duration {
        Class::Runaway
    } else {
        Class::Unknown
    }
}

fn projection(
    function: &FunctionState,
    burn: f64,
    usual: f64,
    usd_per_call: f64,
    now: EventTime,
    around: &Surroundings<'_>,
) -> Projection {
    let evidence = function.evidence_now(around).max(function.duration.value());
    project(&ProjectionInput {
        now,
        spent_month: function.rates(around).cost(&function.month_usage),
        burn_usd_per_hour: burn,
        baseline_usd_per_hour: usual,
        request_usd: usd_per_call,
        // Second moment of an exponential law: durations are at least that uneven.
        request_usd_squared: 2.0 * usd_per_call * usd_per_call,
        dispersion: HOURLY_DISPERSION,
        level_log_sd: LEVEL_LOG_SD_DEFAULT,
        persist_log_odds: libm::log(evidence.max(1e-9)) + PERSIST_PRIOR,
        history: None,
    })
}

fn bound(function: &FunctionState, around: &Surroundings<'_>) -> NanoUsd {
    let Some(memory) = function.memory() else {
        return NanoUsd::ZERO;
    };
    let cap = function.cap.unwrap_or(ACCOUNT_CONCURRENCY);
    loss_bound(cap, memory, function.rates(around), 3_600.0, &Exposure::default())
}

/// Usage since the onset, as far as the ring remembers it, for an alarm that is opening.
pub fn usage_since(function: &FunctionState, onset: i64) -> Usage {
    let calls: u64 =
        (onset..=function.served.newest()).map(|second| function.served.get(second)).sum();
    function.usual(calls as f64)
}
