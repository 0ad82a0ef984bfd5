//! One restriction, from the wish to the last canary step.

use serde::{Deserialize, Serialize};

use super::action::{ActuatorKind, Intent, LossClass, Outcome, OutcomeKind, Setting, Verb};
use crate::keep::{Bytes, Keep, Unfit, kept, kept_words};
use crate::record::FunctionKey;
use crate::units::EventTime;

/// Where a restriction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Decided in mode observe; nothing was changed.
    Planned,
    /// In force.
    Applied,
    /// Partly given back, to see what happens; the number of the canary step.
    Canary(u8),
}

/// Whether what the function does shows that a cap holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It is too early to say, or nobody looks: sets of addresses are judged by the excess.
    #[default]
    Awaited,
    /// No more runs at once than is allowed.
    Seen,
    /// More runs at once, for a minute by now.
    Missing,
}

impl Effect {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Effect::Awaited => "awaited",
            Effect::Seen => "seen",
            Effect::Missing => "missing",
        }
    }
}

/// A restriction that is in force or planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restriction {
    /// Its name.
    pub id: String,
    /// The alarm behind it.
    pub alarm_id: String,
    /// The function that is protected.
    pub function: FunctionKey,
    /// With what.
    pub actuator: ActuatorKind,
    /// The mapping of the queue that is restricted, as the platform calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// What stood there before bursar came.
    pub prior: Setting,
    /// What should stand there at full strength.
    pub full: Setting,
    /// What stands there now.
    pub current: Setting,
    /// What stands there perhaps: the latest change was not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perhaps: Option<Setting>,
    /// What callers notice.
    pub loss_class: LossClass,
    /// Where it stands.
    pub stage: Stage,
    /// Whether it shows.
    #[serde(default)]
    pub effect: Effect,
    /// When it was first applied.
    pub since: EventTime,
    /// When it last changed.
    pub changed_at: EventTime,
    /// When it lapses unless renewed.
    pub expires_at: EventTime,
    /// Share of the excess that it is meant to stop.
    pub covers: f64,
    /// Share of legitimate requests that it is expected to refuse.
    pub legit_refused_share: f64,
    /// Why, in plain words.
    pub reason: String,
}

impl Restriction {
    /// One that is about to begin where `found` stands, or that only control remembers.
    pub fn begun(
        intent: &Intent,
        mapping: Option<String>,
        found: &Setting,
        now: EventTime,
    ) -> Self {
        let begins = intent.verb == Verb::Restrict;
        Self {
            id: intent.restriction_id.clone(),
            alarm_id: intent.alarm_id.clone(),
            function: intent.function.clone(),
            actuator: intent.actuator,
            mapping,
            prior: if begins { found.clone() } else { intent.to.clone() },
            full: if begins { intent.to.clone() } else { found.clone() },
            current: found.clone(),
            perhaps: Some(intent.to.clone()),
            loss_class: intent.loss_class,
            stage: Stage::Applied,
            effect: Effect::Awaited,
            since: now,
            changed_at: now,
            expires_at: intent.expires_at,
            covers: 1.0,
            legit_refused_share: intent.legit_refused_share,
            reason: intent.reason.clone(),
        }
    }

    /// Brings it in line with what became of an intent that did not end it.
    pub(super) fn settle(&mut self, intent: &Intent, outcome: &Outcome) {
        let at = outcome.effective_at.unwrap_or(intent.decided_at);
        let is_known = outcome.from != Setting::Unknown;
        let next = match self.stage {
            Stage::Canary(step) => Stage::Canary(step + 1),
            Stage::Planned | Stage::Applied => Stage::Canary(1),
        };
        let took = matches!(outcome.kind, OutcomeKind::Applied | OutcomeKind::Planned);
        if took && intent.verb == Verb::Tighten {
            self.full = intent.to.clone();
        }
        match (outcome.kind, intent.verb) {
            (OutcomeKind::Applied, verb) => {
                if self.prior == Setting::Unknown {
                    self.prior = outcome.from.clone();
                }
                self.stage = if verb == Verb::Relax { next } else { Stage::Applied };
                self.effect = Effect::Awaited;
                self.current = intent.to.clone();
                self.perhaps = None;
                self.changed_at = at;
            }
            (OutcomeKind::Planned, _) => self.changed_at = at,
            // Nobody knows whether it was carried out, so it is taken to be: it will be given back.
            (OutcomeKind::Failed, Verb::Restrict) if is_known => {
                self.prior = outcome.from.clone();
                self.current = intent.to.clone();
                self.perhaps = Some(outcome.from.clone());
                self.stage = Stage::Applied;
                self.changed_at = intent.decided_at;
            }
            // There is no room for it, perhaps; the way back goes on all the same.
            (OutcomeKind::Refused, Verb::Relax) => {
                self.stage = next;
                self.changed_at = intent.decided_at;
            }
            (kind, _) => {
                if kind == OutcomeKind::Failed && is_known {
                    self.current = outcome.from.clone();
                    self.perhaps = Some(intent.to.clone());
                }
                self.changed_at = intent.decided_at;
            }
        }
    }

    /// Whether it holds anything back on the platform.
    pub fn is_in_force(&self) -> bool {
        self.stage != Stage::Planned
    }
}

kept!(Restriction {
    id,
    alarm_id,
    function,
    actuator,
    prior,
    full,
    current,
    perhaps,
    loss_class,
    stage,
    effect,
    since,
    changed_at,
    expires_at,
    covers,
    legit_refused_share,
    reason,
    mapping,
});

kept_words!(Effect { Awaited = 0, Seen = 1, Missing = 2 });

impl Keep for Stage {
    fn keep(&self, out: &mut Vec<u8>) {
        match self {
            Stage::Planned => out.push(0),
            Stage::Applied => out.push(1),
            Stage::Canary(step) => (2_u8, *step).keep(out),
        }
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        Ok(match u8::regain(from)? {
            0 => Stage::Planned,
            1 => Stage::Applied,
            2 => Stage::Canary(u8::regain(from)?),
            _ => return Err(Unfit),
        })
    }
}
