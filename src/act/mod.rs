//! Hands: what changes something on a platform, or only says that it would.

pub mod dry_run;
pub mod virtual_platform;

use crate::control::action::{Intent, Outcome};
use crate::units::EventTime;

/// Something that applies intents. Idempotent: the same intent twice has the effect of once.
pub trait Actuator: Send {
    /// Makes the intent true, or says why not. Reads what stood there before it writes.
    fn apply(&mut self, intent: &Intent, now: EventTime) -> Outcome;
}
