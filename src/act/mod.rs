//! Hands: what changes something on a platform, or only says that it would.

pub mod dry_run;

pub mod hands;

#[cfg(feature = "aws")]
pub mod lambda;

pub mod reserved;

pub mod virtual_platform;

use crate::control::action::{Intent, Outcome, Setting};
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

/// Something that applies intents. Idempotent: the same intent twice has the effect of once.
pub trait Actuator: Send {
    /// Makes the intent true, or says why not. Reads what stood there before it writes.
    fn apply(&mut self, intent: &Intent, now: EventTime) -> Outcome;

    /// Looks after what is in force: `held` is all that control wants there. Returns
    /// what stands where it should not, by the restriction's name.
    fn tend(&mut self, held: &[Held], now: EventTime) -> Vec<(String, Setting)> {
        let _ = (held, now);
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
