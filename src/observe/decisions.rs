//! The lines of the decisions: what was found, what was wanted, what became of it. JSON, one object
//! a line, times RFC 3339 UTC with milliseconds, money in integer nano-dollars.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::control::action::{Action, LossClass, OutcomeKind, Setting, Verb};
use crate::control::gate::{Gate, GateKind};
use crate::control::ladder::{Abstention, EffectTold};
use crate::control::restriction::Effect;
use crate::control::settings::Mode;
use crate::cost::{FootprintBill, Projection};
use crate::engine::alarm::{
    AccountAlarm, Alarm, AlarmState, Channel, Class, Excess, LiftedFunctions, Severity,
};
use crate::engine::attribution::Attribution;
use crate::engine::detect::rate::ChannelReading;
use crate::observe::orders::{Signed, Taken};
use crate::units::{AccountId, EventTime, NanoUsd};

/// Version of the lines' form.
pub const FORM: u32 = 1;

/// What stands behind a run: the first line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunLine {
    /// Version of the lines' form.
    pub v: u32,
    /// `run`.
    pub kind: &'static str,
    /// Version of bursar.
    pub version: &'static str,
    /// Fingerprint of the settings.
    pub config_sha256: String,
    /// Version of the price table.
    pub prices: String,
    /// Seed of the virtual platform; null where there is none.
    pub seed: Option<u64>,
    /// Observe or enforce.
    pub mode: Mode,
    /// Length of the fast channel's buckets.
    pub bucket_ms: u32,
    /// How late a record may be.
    pub lateness_ms: u32,
    /// What the thresholds stand for.
    pub promise: Promise,
}

/// The promise, with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promise {
    /// False pages a day over the whole estate.
    pub pages_per_day: f64,
    /// Functions that share it.
    pub estate_functions: u64,
    /// log10 of the evidence at which one channel of one function alarms.
    pub threshold_log10: f64,
    /// It holds while the mean rate stays below this many times the baseline.
    pub envelope: f64,
}

/// An alarm as a line. Of an account there is no region, function or position, and nothing is
/// projected: it is over many functions, each at its own price.
#[derive(Debug, Serialize)]
pub struct AlarmLine<'a> {
    kind: &'static str,
    /// The alarm's name.
    pub id: &'a str,
    /// Opened, updated or closed.
    pub state: AlarmState,
    /// Notice or page.
    pub severity: Severity,
    scope: &'static str,
    account: AccountId,
    region: Option<&'a str>,
    function: Option<&'a str>,
    onset: EventTime,
    evidence_at: EventTime,
    arrived_at: EventTime,
    decided_at: EventTime,
    position: Option<String>,
    channels: Cow<'a, BTreeMap<Channel, ChannelReading>>,
    class: Class,
    excess: Excess,
    excess_nano_usd_per_hour: NanoUsd,
    #[serde(skip_serializing_if = "Option::is_none")]
    projected: Option<&'a Projection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_bound_nano_usd: Option<NanoUsd>,
    attribution: Cow<'a, Attribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    functions: Option<&'a LiftedFunctions>,
}

impl<'a> AlarmLine<'a> {
    /// `lane` is the display name of the input that the deciding record stood in; `wall` the wall
    /// clock at which it arrived and at which it was decided, where the input is live.
    pub fn new(alarm: &'a Alarm, lane: &str, wall: Option<(EventTime, EventTime)>) -> Self {
        let (arrived_at, decided_at) = wall.unwrap_or((alarm.evidence_at, alarm.decided_at));
        Self {
            kind: "alarm",
            id: &alarm.id,
            state: alarm.state,
            severity: alarm.severity,
            scope: "function",
            account: alarm.function.account,
            region: Some(&alarm.function.region),
            function: Some(&alarm.function.name),
            onset: alarm.onset,
            evidence_at: alarm.evidence_at,
            arrived_at,
            decided_at,
            position: Some(format!("{lane}:{}", alarm.position.offset)),
            channels: Cow::Borrowed(&alarm.channels),
            class: alarm.class,
            excess: alarm.excess,
            excess_nano_usd_per_hour: alarm.excess_per_hour,
            projected: Some(&alarm.projected),
            loss_bound_nano_usd: Some(alarm.loss_bound),
            attribution: Cow::Borrowed(&alarm.attribution),
            functions: None,
        }
    }

    /// The name of this line, once for each state.
    pub fn name(&self) -> String {
        let state = match self.state {
            AlarmState::Opened => "opened",
            AlarmState::Updated => "updated",
            AlarmState::Closed => "closed",
        };
        format!("{}-{state}", self.id)
    }

    /// An alarm over an account. It is known when its minute is complete, so that is when its
    /// evidence arrived; `decided` is the wall clock at its decision, where the input is live.
    pub fn of_account(alarm: &'a AccountAlarm, decided: Option<EventTime>) -> Self {
        Self {
            kind: "alarm",
            id: &alarm.id,
            state: alarm.state,
            severity: alarm.severity,
            scope: "account",
            account: alarm.account,
            region: None,
            function: None,
            onset: alarm.onset,
            evidence_at: alarm.evidence_at,
            arrived_at: alarm.evidence_at,
            decided_at: decided.unwrap_or(alarm.decided_at),
            position: None,
            channels: Cow::Owned(BTreeMap::from([(Channel::Aggregate, alarm.reading)])),
            class: Class::Unknown,
            excess: alarm.excess,
            excess_nano_usd_per_hour: alarm.excess_per_hour,
            projected: None,
            loss_bound_nano_usd: None,
            attribution: Cow::Owned(Attribution { diffuse: true, ..Attribution::default() }),
            functions: Some(&alarm.functions),
        }
    }
}

/// An action as a line.
#[derive(Debug, Serialize)]
pub struct ActionLine<'a> {
    kind: &'static str,
    id: &'a str,
    alarm_id: &'a str,
    restriction_id: &'a str,
    verb: Verb,
    actuator: &'static str,
    target: String,
    from: &'a Setting,
    to: &'a Setting,
    loss_class: LossClass,
    expires_at: EventTime,
    decided_at: EventTime,
    effective_at: Option<EventTime>,
    mode: Mode,
    outcome: OutcomeKind,
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    legit_refused_share: f64,
}

impl<'a> ActionLine<'a> {
    /// An action's line.
    pub fn new(action: &'a Action) -> Self {
        let Action { intent, outcome, mode } = action;
        Self {
            kind: "action",
            id: &intent.id,
            alarm_id: &intent.alarm_id,
            restriction_id: &intent.restriction_id,
            verb: intent.verb,
            actuator: intent.actuator.as_str(),
            target: intent.function.to_string(),
            from: &outcome.from,
            to: &intent.to,
            loss_class: intent.loss_class,
            expires_at: intent.expires_at,
            decided_at: intent.decided_at,
            effective_at: outcome.effective_at,
            mode: *mode,
            outcome: outcome.kind,
            reason: &intent.reason,
            detail: &outcome.detail,
            legit_refused_share: intent.legit_refused_share,
        }
    }
}

/// Why an alarm led to no action.
#[derive(Debug, Serialize)]
pub struct AbstentionLine<'a> {
    kind: &'static str,
    alarm_id: &'a str,
    target: String,
    decided_at: EventTime,
    gate: GateKind,
    reason: &'a str,
    gates: &'a [Gate],
}

impl<'a> AbstentionLine<'a> {
    /// An abstention's line.
    pub fn new(abstention: &'a Abstention, decided_at: EventTime) -> Self {
        Self {
            kind: "abstention",
            alarm_id: &abstention.alarm_id,
            target: abstention.function.to_string(),
            decided_at,
            gate: abstention.gate,
            reason: &abstention.reason,
            gates: &abstention.gates,
        }
    }
}

/// Whether a cap shows in what the function runs at once.
#[derive(Debug, Serialize)]
pub struct EffectLine<'a> {
    kind: &'static str,
    restriction_id: &'a str,
    alarm_id: &'a str,
    target: String,
    decided_at: EventTime,
    effect: Effect,
    concurrency: f64,
    cap: u32,
    after_seconds: f64,
}

impl<'a> EffectLine<'a> {
    /// An effect's line.
    pub fn new(told: &'a EffectTold, decided_at: EventTime) -> Self {
        Self {
            kind: "effect",
            restriction_id: &told.restriction_id,
            alarm_id: &told.alarm_id,
            target: told.function.to_string(),
            decided_at,
            effect: told.effect,
            concurrency: told.runs,
            cap: told.limit,
            after_seconds: told.after_ms as f64 / 1e3,
        }
    }
}

/// An order of a person's as a line.
#[derive(Debug, Serialize)]
pub struct OrderLine<'a> {
    kind: &'static str,
    order: &'static str,
    target: Option<String>,
    who: &'a str,
    from: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
    decided_at: EventTime,
    outcome: &'static str,
    restrictions: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
}

impl<'a> OrderLine<'a> {
    /// An order's line.
    pub fn new(signed: &'a Signed, taken: &'a Taken, decided_at: EventTime) -> Self {
        Self {
            kind: "order",
            order: signed.order.as_str(),
            target: signed.order.target(),
            who: &signed.who,
            from: &signed.from,
            why: &signed.why,
            decided_at,
            outcome: if taken.is_ok() { "taken" } else { "refused" },
            restrictions: *taken.as_ref().unwrap_or(&0),
            detail: taken.as_ref().err().map_or("", String::as_str),
        }
    }
}

/// What became of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecordCounts {
    /// They count.
    pub counted: u64,
    /// Of these, too late for the detector.
    pub late: u64,
    /// Had come before.
    pub duplicate: u64,
    /// Could not be read, or lie in the future.
    pub rejected: u64,
    /// Access-log lines whose function is not known.
    pub unrouted: u64,
    /// Of a function or from a log group that is excluded; in nothing else.
    pub excluded: u64,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SummaryLine {
    /// `summary`.
    pub kind: &'static str,
    /// What became of the records.
    pub records: RecordCounts,
    /// Functions that were tracked at the end.
    pub functions: usize,
    /// Days that functions were followed, summed over functions.
    pub function_days: f64,
    /// Of these, the days in which a function had no baseline yet.
    pub warmup_function_days: f64,
    /// Event time of the earliest record.
    pub first_event: Option<EventTime>,
    /// How far event time came.
    pub last_event: Option<EventTime>,
    /// What it all cost.
    pub spend_nano_usd: NanoUsd,
    /// What it cost to be told, beside that; an estimate.
    pub telemetry_nano_usd: FootprintBill,
    /// Alarms opened as pages.
    pub pages: u64,
    /// Alarms opened as notices.
    pub notices: u64,
    /// Actions, planned ones included.
    pub actions: u64,
}
