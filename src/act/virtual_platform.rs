//! The control plane of a virtual platform inside the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::Actuator;
use crate::control::action::{ActuatorKind, Intent, Outcome, OutcomeKind, Setting, Value};
use crate::record::FunctionKey;
use crate::simulation::embedded::EmbeddedWorld;
use crate::simulation::plant::Plant;
use crate::simulation::platform::{Command, ControlError};
use crate::units::EventTime;

/// Something with a virtual platform in it.
pub trait ControlPlane: Send {
    /// Carries out a command; the answer is when it takes effect.
    ///
    /// # Errors
    /// As the platform.
    fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError>;

    /// A function's reserved concurrency.
    ///
    /// # Errors
    /// No such function.
    fn reserved(&mut self, function: &FunctionKey) -> Result<Option<u32>, ControlError>;
}

impl ControlPlane for EmbeddedWorld {
    fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError> {
        self.platform().command(command, now)
    }

    fn reserved(&mut self, function: &FunctionKey) -> Result<Option<u32>, ControlError> {
        self.platform().reserved(function)
    }
}

impl ControlPlane for Plant {
    fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError> {
        Plant::command(self, command, now)
    }

    fn reserved(&mut self, function: &FunctionKey) -> Result<Option<u32>, ControlError> {
        Plant::reserved(self, function)
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
            ActuatorKind::ReservedConcurrency => reserve(intent, &mut *world, now),
        }
    }
}

fn reserve(intent: &Intent, platform: &mut impl ControlPlane, now: EventTime) -> Outcome {
    let function: FunctionKey = intent.function.clone();
    let from = match platform.reserved(&function) {
        Ok(Some(value)) => Setting::Set(Value::Number(value)),
        Ok(None) => Setting::Unset,
        Err(error) => return failure(OutcomeKind::Failed, Setting::Unknown, error.to_string()),
    };
    if let Some(objection) = intent.objection(&from) {
        return failure(OutcomeKind::Refused, from, objection);
    }
    let command = match &intent.to {
        Setting::Set(Value::Number(value)) => Command::SetReserved { function, value: *value },
        _ => Command::ClearReserved { function },
    };
    outcome(from, platform.command(command, now))
}

fn outcome<E: std::fmt::Display>(from: Setting, answer: Result<EventTime, E>) -> Outcome {
    match answer {
        Ok(at) => Outcome {
            kind: OutcomeKind::Applied,
            from,
            effective_at: Some(at),
            detail: String::new(),
        },
        // The platform has said no, so nothing has changed.
        Err(error) => failure(OutcomeKind::Refused, Setting::Unknown, error.to_string()),
    }
}

fn failure(kind: OutcomeKind, from: Setting, detail: String) -> Outcome {
    Outcome { kind, from, effective_at: None, detail }
}
