//! The platform as a policy gets hold of it: every change goes through here and is noted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use core::net::IpAddr;

use crate::record::{FunctionKey, TriggerKind};
use crate::simulation::platform::{Command, ControlError, Controls, Platform};
use crate::units::EventTime;

/// Changes that are kept one by one; later ones are only counted.
const CHANGES_MAX: usize = 100_000;
/// Addresses that are kept with them.
const ADDRESSES_MAX: usize = 4_000_000;

/// A platform with somebody's hands on it.
#[derive(Debug, Default)]
pub struct Plant {
    /// None before the scored window begins: the past cannot be changed.
    platform: Option<Platform>,
    /// What the functions had before anybody changed something.
    prior: BTreeMap<FunctionKey, Controls>,
    held: BTreeSet<Place>,
    changes: Vec<Change>,
    /// Addresses in `changes`, and those that were not kept.
    addresses: usize,
    calls: u64,
    restored_at: Option<EventTime>,
}

/// The same plant for those who drive it and those who change it.
pub type SharedPlant = Arc<Mutex<Plant>>;

/// Takes the plant.
pub fn lock(plant: &SharedPlant) -> MutexGuard<'_, Plant> {
    plant.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where something was changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The reserved concurrency of a function.
    Function(FunctionKey),
    /// The limit of the mapping of its queue.
    Queue(FunctionKey),
    /// Whether it reads its queue and stream.
    Reading(FunctionKey),
    /// How its asynchronous events are treated.
    Events(FunctionKey),
    /// The limit of the stage that it is behind.
    Stage(FunctionKey),
    /// The firewall's set.
    Firewall,
}

impl Place {
    /// The function, where it is one's.
    pub fn function(&self) -> Option<&FunctionKey> {
        match self {
            Self::Function(function)
            | Self::Queue(function)
            | Self::Reading(function)
            | Self::Events(function)
            | Self::Stage(function) => Some(function),
            Self::Firewall => None,
        }
    }
}

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Less is let in.
    Tighter,
    /// More is let in.
    Wider,
    /// As it was at first.
    Restored,
}

/// A change that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it was asked for.
    pub at: EventTime,
    /// From when on it holds.
    pub effective: EventTime,
    /// Where.
    pub place: Place,
    /// In which direction.
    pub direction: Direction,
    /// The new number; `None` where it is unset, or no number is what was changed.
    pub value: Option<u32>,
    /// Addresses that are refused and were not before.
    pub added: Vec<IpAddr>,
}

impl Plant {
    /// Puts the platform under the hands.
    pub fn begin(&mut self, platform: Platform) {
        let functions = platform.functions();
        let told = |key: &FunctionKey| platform.controls(key).ok().map(|told| (key.clone(), told));
        self.prior = functions.filter_map(|spec| told(&spec.key)).collect();
        self.platform = Some(platform);
    }

    /// The platform, from the window's beginning on.
    pub fn platform(&mut self) -> Option<&mut Platform> {
        self.platform.as_mut()
    }

    /// What limits a function's concurrency without a loss, as the control plane tells it: its
    /// queue's own limit where one feeds it, its reservation elsewhere.
    ///
    /// # Errors
    /// No such function, or not yet.
    pub fn limit(&self, function: &FunctionKey) -> Result<Option<u32>, ControlError> {
        let controls = self.begun(function)?.controls(function)?;
        let by_queue = self.has_queue(function);
        Ok(if by_queue { controls.queue_concurrency } else { controls.reserved })
    }

    /// Whether a queue feeds a function.
    pub fn has_queue(&self, function: &FunctionKey) -> bool {
        let source = self.begun(function).and_then(|platform| platform.source(function));
        source == Ok(Some(TriggerKind::Sqs))
    }

    /// The platform, in whose window `function` is wanted.
    ///
    /// # Errors
    /// It is not there yet.
    pub fn begun(&self, function: &FunctionKey) -> Result<&Platform, ControlError> {
        let missing = || ControlError::NotFound { function: function.clone() };
        self.platform.as_ref().ok_or_else(missing)
    }

    /// The addresses in the firewall's set.
    pub fn blocked(&self) -> BTreeSet<IpAddr> {
        self.platform.as_ref().map(|platform| platform.blocked().clone()).unwrap_or_default()
    }

    /// Carries out a command and notes it.
    ///
    /// # Errors
    /// As the platform; before the window begins there is no function to change.
    pub fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError> {
        let Some(platform) = &mut self.platform else {
            return Err(ControlError::TooManyRequests);
        };
        self.calls += 1;
        let noted = noted(&self.prior, platform, &command);
        let effective = platform.command(command, now)?;
        let Some((place, direction, value, added)) = noted else {
            return Ok(effective);
        };
        if direction == Direction::Restored {
            self.held.remove(&place);
        } else {
            self.held.insert(place.clone());
        }
        self.restored_at = self.held.is_empty().then_some(effective);
        if self.changes.len() < CHANGES_MAX {
            self.addresses += added.len();
            let added = if self.addresses <= ADDRESSES_MAX { added } else { Vec::new() };
            self.changes.push(Change { at: now, effective, place, direction, value, added });
        }
        Ok(effective)
    }

    /// The changes so far.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Control calls so far, refused ones included.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether everything is as it was at first.
    pub fn is_restored(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether everything is as it was at first, and nothing will happen any more.
    pub fn is_settled(&self) -> bool {
        let platform = self.platform.as_ref();
        self.is_restored() && platform.is_none_or(|platform| platform.next_at().is_none())
    }

    /// Since when everything has been given back; `None` where it is not, or was never taken.
    pub fn restored_at(&self) -> Option<EventTime> {
        self.restored_at
    }
}

type Noted = (Place, Direction, Option<u32>, Vec<IpAddr>);

/// What a command changes; nothing where there is no such function.
fn noted(
    prior: &BTreeMap<FunctionKey, Controls>,
    platform: &Platform,
    command: &Command,
) -> Option<Noted> {
    // Without a limit of its own there is room for everything.
    let room = |value: Option<u32>| value.map_or(u64::MAX, u64::from);
    let controls =
        |function: &FunctionKey| Some((*prior.get(function)?, platform.controls(function).ok()?));
    let at = |place, rooms: [u64; 3], value| (place, direction(rooms), value, Vec::new());
    Some(match command {
        Command::SetReserved { function, .. } | Command::ClearReserved { function } => {
            let value = match command {
                Command::SetReserved { value, .. } => Some(*value),
                _ => None,
            };
            let (prior, from) = controls(function)?;
            let rooms = [prior.reserved, from.reserved, value].map(room);
            at(Place::Function(function.clone()), rooms, value)
        }
        Command::SetQueueConcurrency { function, value } => {
            let (prior, from) = controls(function)?;
            let rooms = [prior.queue_concurrency, from.queue_concurrency, *value].map(room);
            at(Place::Queue(function.clone()), rooms, *value)
        }
        Command::SetReading { function, is_reading } => {
            let (prior, from) = controls(function)?;
            let rooms = [prior.is_reading, from.is_reading, *is_reading].map(u64::from);
            at(Place::Reading(function.clone()), rooms, None)
        }
        Command::SetAsync { function, value } => {
            let (prior, from) = controls(function)?;
            // Attempts come before age: both let in less, and one number is compared.
            let rooms = [prior.asynchronous, from.asynchronous, *value];
            let rooms =
                rooms.map(|value| u64::from(value.retries) << 32 | u64::from(value.age_ms_max));
            at(Place::Events(function.clone()), rooms, None)
        }
        Command::SetStageLimit { function, value } => {
            let from = platform.stage_limit(function).ok()?;
            let rooms = [None, from, *value].map(|limit| room(limit.map(|limit| limit.rps)));
            at(Place::Stage(function.clone()), rooms, value.map(|limit| limit.rps))
        }
        Command::SetBlocked { addresses } => {
            let added: Vec<IpAddr> = addresses.difference(platform.blocked()).copied().collect();
            let direction = match (addresses.is_empty(), added.is_empty()) {
                (true, _) => Direction::Restored,
                (false, true) => Direction::Wider,
                (false, false) => Direction::Tighter,
            };
            (Place::Firewall, direction, None, added)
        }
    })
}

/// From the room that there was at first and just now to the new one.
fn direction([prior, from, to]: [u64; 3]) -> Direction {
    match to {
        to if to == prior => Direction::Restored,
        to if to < from => Direction::Tighter,
        _ => Direction::Wider,
    }
}
