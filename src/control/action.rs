//! What control wants, what became of it, and what is in force.

use serde::{Deserialize, Serialize};

use super::settings::Mode;
use crate::keep::{Bytes, Keep, Unfit, kept_words};
use crate::record::FunctionKey;
use crate::units::{AccountId, EventTime};

/// The hand that changes something on the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActuatorKind {
    /// A firewall's set of refused addresses, before the function.
    WafIpSet,
    /// The function's reserved concurrency.
    ReservedConcurrency,
    /// How many batches of its queue a function runs at once, in place of the former where a queue
    /// feeds it: what is too much waits in the queue.
    SqsMaximumConcurrency,
}

impl ActuatorKind {
    /// All of them.
    pub const ALL: [ActuatorKind; 3] = [
        ActuatorKind::WafIpSet,
        ActuatorKind::ReservedConcurrency,
        ActuatorKind::SqsMaximumConcurrency,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActuatorKind::WafIpSet => "waf_ip_set",
            ActuatorKind::ReservedConcurrency => "reserved_concurrency",
            ActuatorKind::SqsMaximumConcurrency => "sqs_maximum_concurrency",
        }
    }

    /// The least and the most that can be set, where it is a number (Lambda API,
    /// `PutFunctionConcurrency` and `ScalingConfig`).
    pub const fn range(self) -> (u32, u32) {
        match self {
            ActuatorKind::WafIpSet | ActuatorKind::ReservedConcurrency => (0, u32::MAX),
            ActuatorKind::SqsMaximumConcurrency => (2, 1_000),
        }
    }
}

/// What an action does to a restriction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Puts it in force.
    Restrict,
    /// Makes it stricter.
    Tighten,
    /// Gives part of it back, to see what happens.
    Relax,
    /// Gives everything back.
    Restore,
    /// Gives everything back because its time is over.
    Expire,
}

impl Verb {
    /// All of them.
    pub const ALL: [Verb; 5] =
        [Verb::Restrict, Verb::Tighten, Verb::Relax, Verb::Restore, Verb::Expire];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Restrict => "restrict",
            Verb::Tighten => "tighten",
            Verb::Relax => "relax",
            Verb::Restore => "restore",
            Verb::Expire => "expire",
        }
    }
}

/// What callers notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossClass {
    /// What is too much waits.
    Lossless,
    /// Callers see 403 or 429.
    Refusing,
    /// Messages of a queue may be lost.
    Lossy,
}

/// What stands at an actuator's target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "value", rename_all = "lowercase")]
pub enum Setting {
    /// Nobody has looked.
    Unknown,
    /// Nothing is set, which is not the same as any number.
    Unset,
    /// A set number or list.
    Set(Value),
}

/// A set value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Concurrency.
    Number(u32),
    /// Network addresses.
    Addresses(Vec<Box<str>>),
}

impl Setting {
    /// A concurrency, if one is set.
    pub fn of_number(number: Option<u32>) -> Self {
        number.map_or(Setting::Unset, |number| Setting::Set(Value::Number(number)))
    }

    /// The concurrency that is set, if this is one.
    pub fn number(&self) -> Option<u32> {
        match self {
            Setting::Set(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The addresses that are set, none if this is no list.
    pub fn addresses(&self) -> &[Box<str>] {
        match self {
            Setting::Set(Value::Addresses(addresses)) => addresses,
            _ => &[],
        }
    }
}

/// What became of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeKind {
    /// Mode observe: this is what would be done.
    Planned,
    /// It is in force.
    Applied,
    /// The platform said no.
    Refused,
    /// It could not be tried, or nobody knows.
    Failed,
}

impl OutcomeKind {
    /// All of them.
    pub const ALL: [OutcomeKind; 4] =
        [OutcomeKind::Planned, OutcomeKind::Applied, OutcomeKind::Refused, OutcomeKind::Failed];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            OutcomeKind::Planned => "planned",
            OutcomeKind::Applied => "applied",
            OutcomeKind::Refused => "refused",
            OutcomeKind::Failed => "failed",
        }
    }
}

/// Something that control wants to be true.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Names the intent.
    pub id: String,
    /// The alarm behind it.
    pub alarm_id: String,
    /// The restriction that it begins, changes or ends.
    pub restriction_id: String,
    /// The function that is protected.
    pub function: FunctionKey,
    /// What to do.
    pub verb: Verb,
    /// With what.
    pub actuator: ActuatorKind,
    /// What stands at the target as far as control knows: unknown, or what it has set itself.
    pub from: Setting,
    /// What stands there perhaps: a change to it was not answered.
    pub perhaps: Option<Setting>,
    /// What should stand at the target then.
    pub to: Setting,
    /// What callers notice.
    pub loss_class: LossClass,
    /// When it lapses unless renewed.
    pub expires_at: EventTime,
    /// When it was decided.
    pub decided_at: EventTime,
    /// Why, in plain words.
    pub reason: String,
    /// Share of legitimate requests that are expected to be refused, 0 to 1.
    pub legit_refused_share: f64,
}

impl Intent {
    /// Why it must not be carried out where an actuator has found `found`: somebody else has been
    /// there since, or what stands there is as strict already.
    pub fn objection(&self, found: &Setting) -> Option<String> {
        if self.from == Setting::Unknown {
            let (found, wanted) = (found.number()?, self.to.number()?);
            return (found <= wanted)
                .then(|| format!("its own limit of {found} is no wider than {wanted}"));
        }
        let own = [Some(&self.from), Some(&self.to), self.perhaps.as_ref()];
        let foreign = !own.contains(&Some(found));
        foreign.then(|| "somebody else has changed it meanwhile, so it is left alone".to_owned())
    }
}

/// An account's region: each has a concurrency of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Whose.
    pub account: AccountId,
    /// Where.
    pub region: Box<str>,
}

impl Place {
    /// That of a function.
    pub fn of(function: &FunctionKey) -> Self {
        Self { account: function.account, region: function.region.clone() }
    }
}

/// What an account has left of its concurrency in a region. A reservation is taken from what all
/// other functions share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Concurrent runs of all its functions together.
    pub limit: u32,
    /// Of these, how many can still be reserved: the platform wants some to stay unreserved.
    pub free: u32,
}

/// What an actuator answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it went.
    pub kind: OutcomeKind,
    /// What stood there before.
    pub from: Setting,
    /// From when on it holds; `None` when it does not.
    pub effective_at: Option<EventTime>,
    /// What the platform said, where it refused or failed.
    pub detail: String,
    /// Refused because of how the function is fed: what can restrict it without a loss.
    pub instead: Option<ActuatorKind>,
    /// What the account has left after it, where the actuator knows.
    pub room: Option<Room>,
}

impl Outcome {
    /// One of which nobody says from when on it holds.
    pub fn of(kind: OutcomeKind, from: Setting, detail: String) -> Self {
        Self { kind, from, effective_at: None, detail, instead: None, room: None }
    }
}

/// An intent with its outcome: a line of the decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// What was wanted.
    pub intent: Intent,
    /// What became of it.
    pub outcome: Outcome,
    /// The mode it was decided in.
    pub mode: Mode,
}

kept_words!(ActuatorKind { WafIpSet = 0, ReservedConcurrency = 1, SqsMaximumConcurrency = 2 });
kept_words!(LossClass { Refusing = 0, Lossless = 1, Lossy = 2 });

impl Keep for Setting {
    fn keep(&self, out: &mut Vec<u8>) {
        match self {
            Setting::Unknown => out.push(0),
            Setting::Unset => out.push(1),
            Setting::Set(Value::Number(number)) => (2_u8, *number).keep(out),
            Setting::Set(Value::Addresses(addresses)) => {
                out.push(3);
                addresses.keep(out);
            }
        }
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        Ok(match u8::regain(from)? {
            0 => Setting::Unknown,
            1 => Setting::Unset,
            2 => Setting::Set(Value::Number(u32::regain(from)?)),
            3 => Setting::Set(Value::Addresses(Keep::regain(from)?)),
            _ => return Err(Unfit),
        })
    }
}
