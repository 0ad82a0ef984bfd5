//! What one message holds, on its way in: records to the engine's door, the rest to be counted.

use crate::decode::{Ignored, Problem, Sink};
use crate::engine::intake::{Entry, Intake};
use crate::record::{Position, Record};
use crate::units::EventTime;

use super::dead_letter::DeadLetters;
use super::pipeline::{FUTURE, Passed};

/// Receives what a message holds.
pub(super) struct Door<'a> {
    pub(super) intake: &'a mut Intake,
    pub(super) dead: &'a mut DeadLetters,
    pub(super) passed: &'a mut Passed,
    pub(super) lane: &'a str,
    pub(super) position: Position,
    pub(super) wall: Option<EventTime>,
}

impl Sink for Door<'_> {
    fn record(&mut self, record: &Record<'_>) {
        self.passed.records += 1;
        if self.intake.record(record, self.position, self.wall) == Entry::Future {
            let detail = format!("event time {} is ahead of the wall clock", record.at());
            self.dead.offer(FUTURE, self.lane, self.position.offset, &detail, &[]);
        }
    }

    fn problem(&mut self, problem: Problem<'_>) {
        self.passed.rejected += 1;
        let reason = problem.reason.as_str();
        self.dead.offer(reason, self.lane, self.position.offset, &problem.detail, problem.bytes);
    }

    fn ignored(&mut self, kind: Ignored) {
        if let Some(place) = Ignored::ALL.iter().position(|&known| known == kind) {
            self.passed.ignored[place] += 1;
        }
    }
}

/// A lane as it is shown.
pub(super) fn lane_name(lanes: &[String], lane: u32) -> &str {
    usize::try_from(lane).ok().and_then(|lane| lanes.get(lane)).map_or("?", String::as_str)
}
