//! The control plane of a virtual platform inside the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::Actuator;
use super::plane::Feed;
use crate::control::action::{
    ActuatorKind, Intent, Outcome, OutcomeKind, Room, Setting, Value, Verb,
};
use crate::record::{FunctionKey, TriggerKind};
use crate::simulation::embedded::EmbeddedWorld;
use crate::simulation::plant::Plant;
use crate::simulation::platform::{Command, ControlError, Controls};
use crate::units::EventTime;

/// Something with a virtual platform in it.
pub trait ControlPlane: Send {
    /// Carries out a command; the answer is when it takes effect.
    ///
    /// # Errors
    /// As the platform.
    fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError>;

    /// What an operator can change about a function, as it stands.
    ///
    /// # Errors
    /// No such function.
    fn controls(&mut self, function: &FunctionKey) -> Result<Controls, ControlError>;

    /// What feeds it.
    ///
    /// # Errors
    /// No such function.
    fn source(&mut self, function: &FunctionKey) -> Result<Option<TriggerKind>, ControlError>;

    /// The concurrency of its account, and what of it can still be reserved.
    ///
    /// # Errors
    /// No such function.
    fn room(&mut self, function: &FunctionKey) -> Result<(u32, u32), ControlError>;
}

impl ControlPlane for EmbeddedWorld {
    fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError> {
        self.platform().command(command, now)
    }

    fn controls(&mut self, function: &FunctionKey) -> Result<Controls, ControlError> {
        self.platform().controls(function)
    }

    fn source(&mut self, function: &FunctionKey) -> Result<Option<TriggerKind>, ControlError> {
        self.platform().source(function)
    }

    fn room(&mut self, function: &FunctionKey) -> Result<(u32, u32), ControlError> {
        self.platform().room(function)
    }
}

impl ControlPlane for Plant {
    fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError> {
        Plant::command(self, command, now)
    }

    fn controls(&mut self, function: &FunctionKey) -> Result<Controls, ControlError> {
        self.begun(function)?.controls(function)
    }

    fn source(&mut self, function: &FunctionKey) -> Result<Option<TriggerKind>, ControlError> {
        self.begun(function)?.source(function)
    }

    fn room(&mut self, function: &FunctionKey) -> Result<(u32, u32), ControlError> {
        self.begun(function)?.room(function)
    }
}

/// Acts on a virtual platform.
#[derive(Debug)]
pub struct VirtualActuator<W> {
    world: Arc<Mutex<W>>,
    /// The firewall has one set for all restrictions: what each of them wants in it.
    wanted: BTreeMap<String, BTreeSet<core::net::IpAddr>>,
}

impl<W: ControlPlane> VirtualActuator<W> {
    /// A hand for this world.
    pub fn new(world: Arc<Mutex<W>>) -> Self {
        Self { world, wanted: BTreeMap::new() }
    }

    fn block(&mut self, intent: &Intent, platform: &mut W, now: EventTime) -> Outcome {
        let from = match self.wanted.get(&intent.restriction_id) {
            Some(addresses) => {
                let shown = addresses.iter().map(|address| address.to_string().into());
                Setting::Set(Value::Addresses(shown.collect()))
            }
            None => Setting::Unset,
        };
        let parsed: BTreeSet<_> =
            intent.to.addresses().iter().filter_map(|text| text.parse().ok()).collect();
        let mut wanted = self.wanted.clone();
        if parsed.is_empty() {
            wanted.remove(&intent.restriction_id);
        } else {
            wanted.insert(intent.restriction_id.clone(), parsed);
        }
        let union = wanted.values().flatten().copied().collect();
        let answer = platform.command(Command::SetBlocked { addresses: union }, now);
        // What was refused must not come back with the next change.
        if answer.is_ok() {
            self.wanted = wanted;
        }
        outcome(from, answer)
    }
}

impl<W: ControlPlane> Actuator for VirtualActuator<W> {
    fn apply(&mut self, intent: &Intent, now: EventTime) -> Outcome {
        let world = Arc::clone(&self.world);
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        match intent.actuator {
            ActuatorKind::WafIpSet => self.block(intent, &mut world, now),
            ActuatorKind::ReservedConcurrency | ActuatorKind::SqsMaximumConcurrency => {
                let outcome = limit(intent, &mut *world, now).unwrap_or_else(|error| {
                    Outcome::of(OutcomeKind::Failed, Setting::Unknown, error.to_string())
                });
                let room = world.room(&intent.function).ok();
                Outcome { room: room.map(|(limit, free)| Room { limit, free }), ..outcome }
            }
        }
    }
}

fn limit(
    intent: &Intent,
    platform: &mut impl ControlPlane,
    now: EventTime,
) -> Result<Outcome, ControlError> {
    let function: FunctionKey = intent.function.clone();
    let controls = platform.controls(&function)?;
    if intent.verb == Verb::Restrict {
        let feed = match platform.source(&function)? {
            Some(TriggerKind::Sqs) => Feed::Queue(String::new()),
            _ => Feed::Calls,
        };
        if let Some((words, instead)) = feed.objection(intent) {
            let refused = Outcome::of(OutcomeKind::Refused, Setting::Unknown, words.to_owned());
            return Ok(Outcome { instead, ..refused });
        }
    }
    let by_queue = intent.actuator == ActuatorKind::SqsMaximumConcurrency;
    let found = if by_queue { controls.queue_concurrency } else { controls.reserved };
    let from = Setting::of_number(found);
    if let Some(objection) = intent.objection(&from) {
        return Ok(Outcome::of(OutcomeKind::Refused, from, objection));
    }
    let command = match intent.to.number() {
        value if by_queue => Command::SetQueueConcurrency { function, value },
        Some(value) => Command::SetReserved { function, value },
        None => Command::ClearReserved { function },
    };
    Ok(outcome(from, platform.command(command, now)))
}

fn outcome<E: std::fmt::Display>(from: Setting, answer: Result<EventTime, E>) -> Outcome {
    match answer {
        Ok(at) => Outcome {
            effective_at: Some(at),
            ..Outcome::of(OutcomeKind::Applied, from, String::new())
        },
        // The platform has said no, so nothing has changed.
        Err(error) => Outcome::of(OutcomeKind::Refused, Setting::Unknown, error.to_string()),
    }
}
