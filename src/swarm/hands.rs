//! bursar's hands in a world: the control plane as it is on a bad day, and a note of every change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::defect::Defect;
use super::plan::{Plan, Trouble, TroubleKind};
use crate::act::Actuator;
use crate::act::dry_run::DryRun;
use crate::act::virtual_platform::VirtualActuator;
use crate::control::action::{ActuatorKind, Intent, Outcome, OutcomeKind, Setting, Value, Verb};
use crate::control::settings::Mode;
use crate::simulation::plant::{Plant, SharedPlant, lock};
use crate::simulation::platform::{Command, FunctionSpec};
use crate::units::EventTime;

/// What was asked of the control plane and what it answered.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    /// The wall clock.
    pub(super) at: EventTime,
    pub(super) intent: Intent,
    /// As bursar was told.
    pub(super) outcome: Outcome,
    /// The platform has changed, whatever was told.
    pub(super) is_done: bool,
    /// The limit of the function's concurrency before and after, as the control plane tells it.
    pub(super) before: Option<u32>,
    pub(super) after: Option<u32>,
}

/// Deeds in their order, and how many answers were spoilt.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    pub(super) all: Vec<Deed>,
    pub(super) spoilt: u64,
}

/// The same deeds for the hands and for who watches them.
pub(super) type SharedDeeds = Arc<Mutex<Deeds>>;

pub(super) fn deeds_of(deeds: &SharedDeeds) -> MutexGuard<'_, Deeds> {
    deeds.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hands.
#[derive(Debug)]
pub(super) struct Hands {
    is_dry: bool,
    live: VirtualActuator<Plant>,
    plant: SharedPlant,
    deeds: SharedDeeds,
    start: EventTime,
    troubles: Vec<Trouble>,
    defect: Option<Defect>,
}

impl Hands {
    pub(super) fn new(
        plan: &Plan,
        plant: &SharedPlant,
        deeds: &SharedDeeds,
        defect: Option<Defect>,
    ) -> Self {
        let is_dry = plan.settings.control.mode == Mode::Observe;
        Self {
            is_dry: is_dry && defect != Some(Defect::PlansCarriedOut),
            live: VirtualActuator::new(Arc::clone(plant)),
            plant: Arc::clone(plant),
            deeds: Arc::clone(deeds),
            start: plan.scenario.start,
            troubles: plan.troubles.clone(),
            defect,
        }
    }

    fn trouble(&self, now: EventTime) -> Option<&TroubleKind> {
        let ms = now.since_ms(self.start);
        let on = |trouble: &&Trouble| trouble.from_ms <= ms && ms < trouble.until_ms;
        let kinds = self.troubles.iter().filter(on).map(|trouble| &trouble.kind);
        let mut control = kinds.filter(|kind| {
            !matches!(kind, TroubleKind::Foreign { .. } | TroubleKind::Silent { .. })
        });
        control.next()
    }

    fn carry_out(&mut self, intent: &Intent, now: EventTime) -> Outcome {
        match self.defect {
            Some(Defect::KeptRestrictions | Defect::EmptyWord) if self.is_dropped(intent) => {
                let done = OutcomeKind::Applied;
                let outcome = Outcome::of(done, Setting::Unset, String::new());
                Outcome { effective_at: Some(now), ..outcome }
            }
            Some(Defect::WideCaps) => {
                // What bursar believes would keep it from widening anything.
                let wide = capped(intent, |cap| cap * 4 + 40);
                let found = lock(&self.plant).limit(&intent.function).unwrap_or_default();
                let from = found.map_or(Setting::Unset, |cap| Setting::Set(Value::Number(cap)));
                self.live.apply(&Intent { from, ..wide }, now)
            }
            Some(Defect::ZeroCaps) => self.live.apply(&capped(intent, |_| 0), now),
            Some(Defect::Hammering) => {
                for _ in 0..19 {
                    drop(self.live.apply(intent, now));
                }
                self.live.apply(intent, now)
            }
            Some(Defect::StoppedQueues) => {
                let mut plant = lock(&self.plant);
                let names: Vec<_> = plant.platform().map_or_else(Vec::new, |platform| {
                    platform.functions().map(|spec: &FunctionSpec| spec.key.clone()).collect()
                });
                for function in names {
                    let stop = Command::SetReading { function, is_reading: false };
                    drop(plant.command(stop, now));
                }
                drop(plant);
                self.live.apply(intent, now)
            }
            Some(Defect::Panics) => panic!("a defect on purpose"),
            _ => self.live.apply(intent, now),
        }
    }

    fn is_dropped(&self, intent: &Intent) -> bool {
        let is_end = matches!(intent.verb, Verb::Restore | Verb::Expire);
        is_end == (self.defect == Some(Defect::KeptRestrictions))
    }
}

impl Actuator for Hands {
    fn apply(&mut self, intent: &Intent, now: EventTime) -> Outcome {
        let before = lock(&self.plant).limit(&intent.function).unwrap_or_default();
        let fails = |kind, detail: &str| Outcome::of(kind, Setting::Unknown, detail.to_owned());
        let (outcome, is_done, is_spoilt) = match self.trouble(now) {
            _ if self.is_dry => (DryRun.apply(intent, now), false, false),
            Some(TroubleKind::TooMany) => {
                (fails(OutcomeKind::Refused, "TooManyRequestsException"), false, true)
            }
            Some(TroubleKind::Refusing) => {
                (fails(OutcomeKind::Refused, "AccessDeniedException"), false, true)
            }
            Some(TroubleKind::Failing) => {
                (fails(OutcomeKind::Failed, "ServiceException"), false, true)
            }
            Some(TroubleKind::Unanswered) => {
                let outcome = self.carry_out(intent, now);
                let is_done = outcome.kind == OutcomeKind::Applied;
                // What stands there is read before anything is written.
                let failed = fails(OutcomeKind::Failed, "no answer came in time");
                (Outcome { from: outcome.from, ..failed }, is_done, true)
            }
            _ if self.defect == Some(Defect::PlansCarriedOut) => {
                let is_done = self.carry_out(intent, now).kind == OutcomeKind::Applied;
                (DryRun.apply(intent, now), is_done, false)
            }
            _ => {
                let outcome = self.carry_out(intent, now);
                let is_done = outcome.kind == OutcomeKind::Applied;
                (outcome, is_done, false)
            }
        };
        let after = lock(&self.plant).limit(&intent.function).unwrap_or_default();
        let (intent, told) = (intent.clone(), outcome.clone());
        let mut deeds = deeds_of(&self.deeds);
        deeds.spoilt += u64::from(is_spoilt);
        deeds.all.push(Deed { at: now, intent, outcome: told, is_done, before, after });
        outcome
    }
}

fn capped(intent: &Intent, change: impl Fn(u32) -> u32) -> Intent {
    let mut intent = intent.clone();
    if intent.actuator == ActuatorKind::ReservedConcurrency
        && let Some(cap) = intent.to.number()
    {
        intent.to = Setting::Set(Value::Number(change(cap)));
    }
    intent
}
