//! Changes nothing: every intent stays a plan.

use super::Actuator;
use crate::control::action::{Intent, Outcome, OutcomeKind, Setting};
use crate::units::EventTime;

/// The hand of mode observe and of every replay.
#[derive(Debug, Clone, Copy, Default)]
pub struct DryRun;

impl Actuator for DryRun {
    fn apply(&mut self, _: &Intent, _: EventTime) -> Outcome {
        // Nobody has looked, and a recorded stream could not be asked.
        Outcome::of(OutcomeKind::Planned, Setting::Unknown, String::new())
    }
}
