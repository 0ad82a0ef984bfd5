//! The platform as a policy gets hold of it: every change goes through here and is noted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use core::net::IpAddr;

use crate::record::FunctionKey;
use crate::simulation::platform::{Command, ControlError, Platform};
use crate::units::EventTime;

/// Changes that are kept one by one; later ones are only counted.
const CHANGES_MAX: usize = 100_000;

/// A platform with somebody's hands on it.
#[derive(Debug, Default)]
pub struct Plant {
    /// None before the scored window begins: the past cannot be changed.
    platform: Option<Platform>,
    /// What the functions had before anybody changed something.
    prior: BTreeMap<FunctionKey, Option<u32>>,
    held: BTreeSet<Place>,
    changes: Vec<Change>,
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
    /// The firewall's set.
    Firewall,
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
    /// The new concurrency; `None` where it is unset, or is not what was changed.
    pub value: Option<u32>,
}

impl Plant {
    /// Puts the platform under the hands.
    pub fn begin(&mut self, platform: Platform) {
        let functions = platform.functions();
        self.prior = functions.map(|spec| (spec.key.clone(), spec.reserved)).collect();
        self.platform = Some(platform);
    }

    /// The platform, from the window's beginning on.
    pub fn platform(&mut self) -> Option<&mut Platform> {
        self.platform.as_mut()
    }

    /// A function's reserved concurrency as the control plane tells it.
    ///
    /// # Errors
    /// No such function, or not yet.
    pub fn reserved(&self, function: &FunctionKey) -> Result<Option<u32>, ControlError> {
        let missing = || ControlError::NotFound { function: function.clone() };
        self.platform.as_ref().ok_or_else(missing)?.reserved(function)
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
        let noted = match &command {
            Command::SetReserved { function, value } => {
                Some(reserved(&self.prior, platform, function, Some(*value)))
            }
            Command::ClearReserved { function } => {
                Some(reserved(&self.prior, platform, function, None))
            }
            Command::SetBlocked { addresses } => Some(blocked(platform.blocked(), addresses)),
            _ => None,
        };
        let effective = platform.command(command, now)?;
        if let Some((place, direction, value)) = noted {
            if direction == Direction::Restored {
                self.held.remove(&place);
            } else {
                self.held.insert(place.clone());
            }
            self.restored_at = self.held.is_empty().then_some(effective);
            if self.changes.len() < CHANGES_MAX {
                self.changes.push(Change { at: now, effective, place, direction, value });
            }
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

    /// Since when everything has been given back; `None` where it is not, or was never taken.
    pub fn restored_at(&self) -> Option<EventTime> {
        self.restored_at
    }
}

fn reserved(
    prior: &BTreeMap<FunctionKey, Option<u32>>,
    platform: &Platform,
    function: &FunctionKey,
    to: Option<u32>,
) -> (Place, Direction, Option<u32>) {
    let from = platform.reserved(function).unwrap_or_default();
    // Without a reservation there is no limit of the function's own.
    let room = |value: Option<u32>| value.unwrap_or(u32::MAX);
    let direction = if prior.get(function).is_some_and(|prior| *prior == to) {
        Direction::Restored
    } else if room(to) < room(from) {
        Direction::Tighter
    } else {
        Direction::Wider
    };
    (Place::Function(function.clone()), direction, to)
}

fn blocked(from: &BTreeSet<IpAddr>, to: &BTreeSet<IpAddr>) -> (Place, Direction, Option<u32>) {
    let direction = if to.is_empty() {
        Direction::Restored
    } else if to.is_subset(from) {
        Direction::Wider
    } else {
        Direction::Tighter
    };
    (Place::Firewall, direction, None)
}
