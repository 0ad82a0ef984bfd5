//! Hands: what changes something on a platform, or only says that it would.

pub mod concurrency;

pub mod dry_run;

pub mod hands;

#[cfg(feature = "aws")]
pub mod lambda;

pub mod plane;

pub mod virtual_platform;

pub mod webhook;

use crate::control::action::{Intent, Outcome, Place, Room, Setting};
use crate::units::EventTime;

/// A restriction that control wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub id: String,
    /// Until when.
    pub expires_at: EventTime,
    /// It is in force as far as control knows; otherwise it is about to be.
    pub in_force: bool,
}

/// What stands where a restriction should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The restriction's name.
    pub id: String,
    /// What stands there; unknown where there is no such function any more.
    pub setting: Setting,
    /// Nobody renewed it in time, so the platform or a timer gave it back.
    pub lapsed: bool,
}

/// Something that applies intents. Idempotent: the same intent twice has the effect of once.
pub trait Actuator: Send {
    /// Makes the intent true, or says why not. Reads what stood there before it writes.
    fn apply(&mut self, intent: &Intent, now: EventTime) -> Outcome;

    /// Looks after what is in force: `held` is all that control wants there. Returns what stands
    /// where it should not.
    fn tend(&mut self, held: &[Held], now: EventTime) -> Vec<Found> {
        let _ = (held, now);
        Vec::new()
    }

    /// What the accounts of what is in force have left, as far as it can tell.
    fn rooms(&mut self, now: EventTime) -> Vec<(Place, Room)> {
        let _ = now;
        Vec::new()
    }

    /// Nothing will be wanted any more: leaves nothing behind of what is given back.
    fn finish(&mut self, now: EventTime) {
        let _ = now;
    }
}

#[cfg(test)]
mod tests;
