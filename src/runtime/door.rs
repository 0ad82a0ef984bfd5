//! What one message holds, on its way in: records to the engine's door, the rest to be counted.

use crate::cost::Pattern;
use crate::decode::{Ignored, Problem, Sink};
use crate::engine::intake::{Entry, Intake};
use crate::keep::kept;
use crate::record::{Position, Record};
use crate::source::ProblemReason;
use crate::units::EventTime;

use super::dead_letter::DeadLetters;

/// Reason under which records from the future are counted.
pub(super) const FUTURE: &str = "future";
/// Reasons for which the pipeline and the sources reject, beside the decoder's.
pub(super) const REASONS: [&str; 4] = [
    FUTURE,
    ProblemReason::Oversize.as_str(),
    ProblemReason::Damage.as_str(),
    ProblemReason::Letter.as_str(),
];

/// Counts of what passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Passed {
    /// Messages.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Parts that could not be read.
    pub rejected: u64,
    /// Bytes of log lines that carried records.
    pub log_bytes: u64,
    /// Parts that are not about money, by kind.
    pub ignored: [u64; Ignored::ALL.len()],
}

impl Passed {
    /// One more of a kind that is not about money.
    pub(super) fn ignore(&mut self, kind: Ignored) {
        if let Some(place) = Ignored::ALL.iter().position(|&known| known == kind) {
            self.ignored[place] += 1;
        }
    }

    /// How many of it there were.
    pub fn ignored_as(&self, kind: Ignored) -> u64 {
        let mut counts = Ignored::ALL.iter().zip(self.ignored);
        counts.find(|(known, _)| **known == kind).map_or(0, |(_, count)| count)
    }
}

/// Receives what a message holds.
pub(super) struct Door<'a> {
    pub(super) intake: &'a mut Intake,
    pub(super) dead: &'a mut DeadLetters,
    pub(super) passed: &'a mut Passed,
    pub(super) position: Position,
    pub(super) wall: Option<EventTime>,
    /// Functions and log groups whose records do not count.
    pub(super) exclude: &'a [Pattern],
    /// Whether what comes is from such a log group.
    pub(super) excluded: bool,
    /// The parts that may come in; `None`: all.
    pub(super) wanted: Option<Vec<u32>>,
    /// Parts so far.
    pub(super) parts: u32,
}

impl Door<'_> {
    /// The place of the next part, unless it is not wanted.
    fn next(&mut self) -> Option<u32> {
        let part = self.parts;
        self.parts = part.saturating_add(1);
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&part)).then_some(part)
    }

    fn is_excluded(&self, record: &Record<'_>) -> bool {
        if self.exclude.is_empty() {
            return false;
        }
        let named = |function| self.exclude.iter().any(|pattern| pattern.matches(&function));
        self.excluded || record.function().is_some_and(named)
    }
}

impl Sink for Door<'_> {
    fn record(&mut self, record: &Record<'_>) {
        let Some(part) = self.next() else { return };
        if self.is_excluded(record) {
            return self.passed.ignore(Ignored::Excluded);
        }
        self.passed.records += 1;
        if self.intake.record(record, self.position, self.wall) == Entry::Future {
            let detail = format!("event time {} is ahead of the wall clock", record.at());
            self.dead.part(FUTURE, &detail, part);
        }
    }

    fn problem(&mut self, problem: Problem<'_>) {
        let Some(part) = self.next() else { return };
        self.passed.rejected += 1;
        self.dead.part(problem.reason.as_str(), &problem.detail, part);
    }

    fn ignored(&mut self, kind: Ignored) {
        if self.next().is_some() {
            self.passed.ignore(kind);
        }
    }

    fn log_group(&mut self, name: &str) {
        self.excluded = self.exclude.iter().any(|pattern| pattern.matches_text(name));
    }

    fn log_text(&mut self, bytes: usize) {
        self.passed.log_bytes += bytes as u64;
    }
}

/// A lane as it is shown.
pub(super) fn lane_name(lanes: &[String], lane: u32) -> &str {
    usize::try_from(lane).ok().and_then(|lane| lanes.get(lane)).map_or("?", String::as_str)
}

/// Notes how far a lane has come.
pub(super) fn reach(through: &mut Vec<Position>, position: Position) {
    match through.iter_mut().find(|known| known.lane == position.lane) {
        Some(known) => known.offset = known.offset.max(position.offset),
        None => through.push(position),
    }
}

kept!(Passed { messages, bytes, records, rejected, log_bytes, ignored });
