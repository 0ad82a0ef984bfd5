//! From a function's state to a statement: excess, projection, bound, class and attribution.

use std::collections::BTreeMap;

use super::account_share::JUDGED_AFTER_SECONDS;
use super::alarm::{Alarm, AlarmState, Busyness, Channel, Class, Excess, Pulse, Severity};
use super::attribution::crowd::{Crowd, Reason, Verdict};
use super::attribution::{Attribution, Usual};
use super::detect::rate::ChannelReading;
use super::function::{FunctionState, Minute, Surroundings, usage_of};
use super::open_alarm::OpenAlarm;
use super::settings::DetectionSettings;
use super::watch::Watch;
use crate::cost::projection::LEVEL_LOG_SD_DEFAULT;
use crate::cost::{
    Exposure, FunctionRates, History, Projection, ProjectionInput, Usage, loss_bound, project,
};
use crate::units::{EventTime, NanoUsd};

/// Seconds over which the present rate is measured.
const RATE_SECONDS: i64 = 3;
/// Requests of known source before anything is said of who they come from.
const ATTRIBUTED_MIN: u64 = 10;
/// Concurrency of a region where nothing says otherwise: Lambda's default account limit.
const ACCOUNT_CONCURRENCY: u32 = 1_000;
/// Dispersion of hourly counts around their level; the level's own drift comes on top.
const HOURLY_DISPERSION: f64 = 0.05;
/// Callers that are known and cannot be told from ordinary ones, for so many times the money.
const DIFFUSE_FACTOR: f64 = 5.0;
/// Real crowds were seen to come up to six times as many as ever before within a minute.
const STEEP: f64 = 10.0;
/// Ever new addresses look like a crowd. But people come back: a surge to so many times the highest
/// rate ever, over some seconds, in which hardly anybody does, is not called one.
const NO_CROWD: f64 = 20.0;
/// Of so many requests fewer than this share are somebody's second.
const COMPARED_MIN: u32 = 200;
const RETURNS_MIN: f64 = 0.05;
/// So many of them must have been seen for that.
const KNOWN_CALLERS: u64 = 100;
/// A crowd is worth a page where anything else would be worth so many.
const CROWD_FACTOR: f64 = 20.0;
/// Log-odds that a function with no evidence keeps its present rate rather than its baseline.
const PERSIST_PRIOR: f64 = -10.0;

/// What an alarm is about, without where it leads.
#[derive(Debug)]
pub struct Standing {
    now: EventTime,
    /// Calls per second.
    rate: f64,
    usd_per_call: f64,
    /// Dollars an hour.
    burn: f64,
    usual: f64,
    excess: Excess,
    attribution: Attribution,
    class: Class,
    /// What it is worth now, or was at its worst.
    pub severity: Severity,
    /// It has come as no crowd does.
    pub no_crowd: bool,
}

impl Standing {
    /// Of the alarm `open` of `function` at `now`.
    pub fn new(
        function: &FunctionState,
        watch: &Watch,
        open: &OpenAlarm,
        now: EventTime,
        around: &Surroundings<'_>,
    ) -> Self {
        let now = now.max(open.evidence_at);
        let elapsed = now.since_ms(open.counted_from).max(500) as f64 / 1e3;
        let rates = function.rates(around);
        let expected = usage_of(open.expected * elapsed, open.usual_mb_ms);
        let mut excess = excess(&open.since, &expected, rates);
        excess.nano_usd = excess.nano_usd.plus(NanoUsd::from_usd(open.gathered_usd));
        let usd_per_call = rates.per_request(mean_mb_ms(open, function));
        let usual = open.expected * rates.per_request(open.usual_mb_ms) * 3_600.0;
        let rate = match open.channel {
            Channel::RateFast | Channel::Recursion | Channel::Aggregate => {
                present_rate(watch, open, now)
            }
            Channel::Duration | Channel::Memory | Channel::Retry | Channel::Yoyo => {
                watch.lasting_rate(now.second())
            }
            Channel::Cost | Channel::Leech => {
                let excess = watch.excess_per_hour(open.channel);
                open.expected + excess / usd_per_call.max(f64::MIN_POSITIVE) / 3_600.0
            }
        };
        let burn = rate * usd_per_call * 3_600.0;
        let attribution = attribution(watch, open, open.usual_mb_ms);
        // What is far beyond anything that ever was need not prove itself by what it has cost.
        let highest = watch.baseline.highest().max(open.expected);
        let steep = open.channel == Channel::RateFast && rate >= STEEP * highest;
        let is_sure = open.channel == Channel::RateFast && elapsed >= RATE_SECONDS as f64;
        let sudden = is_sure && rate >= NO_CROWD * highest;
        let no_crowd = open.no_crowd || sudden && hardly_return(&attribution.crowd);
        let class = match class(open, &attribution) {
            Class::Crowd if no_crowd => Class::Unknown,
            class => class,
        };
        let known = attribution.crowd.requests >= KNOWN_CALLERS && attribution.diffuse;
        let lost = if steep { f64::INFINITY } else { excess.nano_usd.usd() };
        let worth = severity(class, known, burn - usual, lost, around.detection);
        // Growth by the day is told and wakes nobody: it may be honest, and can wait for morning.
        let severity = if open.channel == Channel::Leech { Severity::Notice } else { worth };
        let severity = open.severity.max(severity);
        Self {
            now,
            rate,
            usd_per_call,
            burn,
            usual,
            excess,
            attribution,
            class,
            severity,
            no_crowd,
        }
    }

    /// Who carries it.
    pub fn attribution(&self) -> &Attribution {
        &self.attribution
    }

    /// Says it, with projections.
    pub fn alarm(
        self,
        function: &FunctionState,
        watch: &Watch,
        open: &OpenAlarm,
        state: AlarmState,
        sequence: u64,
        around: &Surroundings<'_>,
    ) -> Alarm {
        let excess_per_hour = (self.burn - self.usual).max(0.0);
        Alarm {
            id: open.id.clone(),
            state,
            severity: self.severity,
            function: function.to_key(),
            onset: open.onset,
            evidence_at: open.evidence_at,
            decided_at: self.now,
            position: open.position,
            sequence,
            channels: self.channels(watch, open, around),
            class: self.class,
            excess: self.excess,
            excess_per_hour: NanoUsd::from_usd(excess_per_hour),
            projected: self.projection(function, watch, around),
            loss_bound: bound(function, around),
            attribution: self.attribution,
        }
    }

    /// The channel that spoke first, and all others that are past their threshold.
    fn channels(
        &self,
        watch: &Watch,
        open: &OpenAlarm,
        around: &Surroundings<'_>,
    ) -> BTreeMap<Channel, ChannelReading> {
        let reading = |channel| watch.reading(channel, open.expected, self.rate, around);
        let all = Channel::ALL.into_iter().map(|channel| (channel, reading(channel)));
        let speaks = |reading: &ChannelReading| reading.evidence_log10 >= reading.threshold_log10;
        all.filter(|(channel, reading)| *channel == open.channel || speaks(reading)).collect()
    }

    fn projection(
        &self,
        function: &FunctionState,
        watch: &Watch,
        around: &Surroundings<'_>,
    ) -> Projection {
        let evidence = watch.evidence_so_far(around);
        let shape = watch.ledger.as_ref().map(|ledger| ledger.shape());
        let ledger = watch.ledger.as_ref().zip(shape.as_ref());
        let history =
            ledger.map(|(ledger, shape)| History { forecaster: ledger.forecaster(), shape });
        project(&ProjectionInput {
            now: self.now,
            spent_month: function.rates(around).cost(&function.month_usage),
            burn_usd_per_hour: self.burn,
            baseline_usd_per_hour: self.usual,
            request_usd: self.usd_per_call,
            // Second moment of an exponential law: durations are at least that uneven.
            request_usd_squared: 2.0 * self.usd_per_call * self.usd_per_call,
            dispersion: HOURLY_DISPERSION,
            level_log_sd: LEVEL_LOG_SD_DEFAULT,
            persist_log_odds: libm::log(evidence.max(1e-9)) + PERSIST_PRIOR,
            history,
        })
    }
}

/// What an excess of so many dollars an hour is worth that has cost `lost` dollars so far.
///
/// An attack that can be pinned on its sources is worth a page as soon as it is worth anything:
/// there is something to do about it. What nobody in particular carries may be a busy day, and
/// wakes somebody for its money only: for more where the callers are known and none of them can be
/// accused, for a lot where they are like a crowd.
pub fn severity(
    class: Class,
    diffuse: bool,
    per_hour: f64,
    lost: f64,
    settings: &DetectionSettings,
) -> Severity {
    let (floor, after) = match class {
        Class::Attack => (settings.notice_floor_usd_per_hour, 0.0),
        Class::Unknown if diffuse => (
            DIFFUSE_FACTOR * settings.page_floor_usd_per_hour,
            DIFFUSE_FACTOR * settings.page_after_usd,
        ),
        Class::Runaway | Class::Unknown => {
            (settings.page_floor_usd_per_hour, settings.page_after_usd)
        }
        Class::Crowd => (
            CROWD_FACTOR * settings.page_floor_usd_per_hour,
            CROWD_FACTOR * settings.page_after_usd,
        ),
    };
    if per_hour >= floor && lost >= after { Severity::Page } else { Severity::Notice }
}

/// How a watched function is doing.
pub fn pulse(
    function: &FunctionState,
    watch: &Watch,
    now: EventTime,
    around: &Surroundings<'_>,
) -> Pulse {
    let second = now.second();
    let alarm = watch.alarm.as_deref();
    let mean = alarm.map_or(function.mean_mb_ms(), |open| mean_mb_ms(open, function));
    let memory = f64::from(function.memory_mb.max(1));
    let refused = alarm.map(|open| open.refused_rates(second, RATE_SECONDS));
    let (forbidden, throttled) = refused.unwrap_or_default();
    Pulse {
        function: function.to_key(),
        alarmed: alarm.is_some(),
        served: watch.served.rate(second, RATE_SECONDS),
        forbidden,
        throttled,
        expected: watch.baseline.expected(),
        tolerated: watch.tolerance.into(),
        dispersion: watch.baseline.learned_dispersion(),
        billed_ms: mean / memory,
        memory_mb: function.memory_mb,
        usd_per_call: function.rates(around).per_request(mean),
    }
}

/// How a function's minute stands beside what was expected of it.
pub fn busyness(
    function: &FunctionState,
    minute: &Minute,
    around: &Surroundings<'_>,
) -> Option<Busyness> {
    let (evidence, expected) = function.watch.as_ref()?.share.of(minute.number)?;
    if function.observed(minute.number * 60).0 < JUDGED_AFTER_SECONDS {
        return None;
    }
    let rates = function.rates(around);
    let excess = excess(&minute.usage, &function.usual(expected), rates);
    Some(Busyness { evidence, expected, excess })
}

fn excess(used: &Usage, expected: &Usage, rates: &FunctionRates) -> Excess {
    Excess {
        requests: used.requests.saturating_sub(expected.requests),
        mb_ms: used.mb_ms.0.saturating_sub(expected.mb_ms.0),
        nano_usd: rates.cost(used).minus(rates.cost(expected)).max(NanoUsd::ZERO),
    }
}

/// Calls per second since the onset, over the last seconds at most.
fn present_rate(watch: &Watch, open: &OpenAlarm, now: EventTime) -> f64 {
    let from = open.onset.second().max(now.second() - RATE_SECONDS);
    let calls: u64 = (from..=now.second()).map(|second| watch.served.get(second)).sum();
    let span = now.since_ms(EventTime::from_second(from)).max(500) as f64 / 1e3;
    calls as f64 / span
}

/// Mean usage of the calls since the onset.
fn mean_mb_ms(open: &OpenAlarm, function: &FunctionState) -> f64 {
    match open.since.requests {
        0 => function.mean_mb_ms(),
        requests => open.since.mb_ms.0 as f64 / requests as f64,
    }
}

fn attribution(watch: &Watch, open: &OpenAlarm, mb_ms: f64) -> Attribution {
    let Some(pane) = &watch.pane else {
        return Attribution::default();
    };
    if pane.requests() < ATTRIBUTED_MIN {
        return Attribution::default();
    }
    let dispersion = watch.baseline.learned_dispersion();
    let usual = Usual { per_second: open.expected, mb_ms, dispersion };
    pane.attribution(watch.reference(), &usual)
}

fn hardly_return(crowd: &Crowd) -> bool {
    let compared = f64::from(crowd.compared);
    crowd.compared >= COMPARED_MIN && f64::from(crowd.repeats) < RETURNS_MIN * compared
}

/// The callers decide where they tell anything, else the channel does. Whoever can be named for
/// half of the excess is no crowd, however many ordinary callers there are beside.
fn class(open: &OpenAlarm, attribution: &Attribution) -> Class {
    let otherwise = match open.channel {
        Channel::RateFast | Channel::Yoyo | Channel::Cost | Channel::Leech | Channel::Aggregate => {
            Class::Unknown
        }
        Channel::Duration | Channel::Memory | Channel::Retry | Channel::Recursion => Class::Runaway,
    };
    let named = !attribution.sources.is_empty() && !attribution.diffuse;
    match (attribution.crowd.verdict, attribution.crowd.reason) {
        (Verdict::Attack, _) => Class::Attack,
        // As likely a batch job as an attacker.
        (_, Reason::OneSource | Reason::RegularGrew) => otherwise,
        _ if named => Class::Attack,
        (Verdict::Crowd, _) => Class::Crowd,
        (Verdict::Unknown, _) => otherwise,
    }
}

fn bound(function: &FunctionState, around: &Surroundings<'_>) -> NanoUsd {
    let Some(memory) = function.memory() else {
        return NanoUsd::ZERO;
    };
    let cap = function.cap().unwrap_or(ACCOUNT_CONCURRENCY);
    loss_bound(cap, memory, function.rates(around), 3_600.0, &Exposure::default())
}

/// Usage since the onset, as far as the ring remembers it, for an alarm that is opening.
pub fn usage_since(function: &FunctionState, watch: &Watch, onset: i64) -> Usage {
    let calls: u64 = (onset..=watch.served.newest()).map(|second| watch.served.get(second)).sum();
    function.usual(calls as f64)
}
