//! The whole state: written down between two chunks of messages, and gone on from at the start.

use std::sync::Arc;

use super::Pipeline;
use crate::engine::saved::{Kind, Part};
use crate::keep::{Bytes, Keep, Unfit, ensure};
use crate::runtime::shards::{RegainError, ShardDied};
use crate::units::EventTime;

/// What goes ahead of the parts.
#[derive(Debug)]
pub struct Outline {
    /// How far event time has come.
    pub now: Option<EventTime>,
    /// Functions that are tracked.
    pub functions: u64,
    /// The lanes, and how far each has been taken in.
    pub positions: Vec<(String, Option<u64>)>,
    /// What is not the shards'.
    pub whole: Part,
}

impl Pipeline {
    /// Begins to write the state down: all that was taken in so far and nothing else. The shards
    /// follow, with what comes next.
    ///
    /// # Errors
    /// A shard has died.
    pub fn save(&mut self) -> Result<Outline, ShardDied> {
        self.flush()?;
        // What it takes to be written must not be written again.
        self.recorder.flush();
        self.shards.save()?;
        let mut bytes = Vec::new();
        self.keep(&mut bytes);
        Ok(Outline {
            now: self.intake.now(),
            functions: self.shards.totals().functions as u64,
            positions: self.positions(),
            whole: Part { kind: Kind::Whole, count: 1, bytes },
        })
    }

    /// Goes on with so many functions a shard, where there is nothing else to do.
    ///
    /// # Errors
    /// A shard has died.
    pub fn save_on(&mut self, functions: usize) -> Result<(), ShardDied> {
        self.flush()?;
        self.shards.save_on(functions)
    }

    /// The parts of the shards that were written since the last time, and whether that was all.
    pub fn saved(&mut self) -> (Vec<Part>, bool) {
        self.shards.saved()
    }

    /// How far each lane has been taken in.
    pub fn positions(&self) -> Vec<(String, Option<u64>)> {
        self.lanes.iter().cloned().zip(self.reached.iter().copied()).collect()
    }

    fn keep(&self, out: &mut Vec<u8>) {
        self.lanes.keep(out);
        self.reached.keep(out);
        self.intake.keep(out);
        self.accounts.keep(out);
        self.bills.keep(out);
        self.billed.keep(out);
        self.footprint.keep(out);
        self.control.keep(out);
        self.recorder.keep(out);
        self.wallets.keep(self.control.budgets(), &self.budget_spent, out);
        (self.second, self.month, self.passed).keep(out);
        self.shards.totals().members.keep(out);
    }

    /// Before anything is read: goes on from a part. Returns for how many functions there is no
    /// room any more.
    ///
    /// # Errors
    /// The part is of no use, and neither is the pipeline then; or a shard has died.
    pub fn regain(&mut self, part: Part) -> Result<u64, RegainError> {
        if part.kind != Kind::Whole {
            return self.shards.regain(&Arc::new(part));
        }
        let mut from = Bytes::new(&part.bytes);
        self.regain_whole(&mut from)?;
        ensure(from.is_empty())?;
        Ok(0)
    }

    /// All parts were taken.
    ///
    /// # Errors
    /// A shard has died.
    pub fn regained(&mut self) -> Result<(), ShardDied> {
        let members = self.shards.totals().members.clone();
        self.shards.look()?;
        self.shards.set_members(members);
        Ok(())
    }

    fn regain_whole(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.lanes = Vec::regain(from)?;
        self.reached = Vec::regain(from)?;
        ensure(self.lanes.len() == self.reached.len())?;
        self.intake.regain(from)?;
        self.accounts.regain(from)?;
        self.bills.regain(from)?;
        self.billed = Vec::regain(from)?;
        self.footprint.regain(from)?;
        self.control.regain(from)?;
        self.recorder.regain(from)?;
        let budgets = self.control.budgets();
        self.wallets.regain(budgets, &mut self.budget_spent, from)?;
        self.second = Option::regain(from)?;
        (self.month, self.passed) = Keep::regain(from)?;
        self.shards.set_members(Keep::regain(from)?);
        Ok(())
    }

    /// The process stops and another goes on from what was written down: says what it came to, and
    /// closes nothing.
    ///
    /// # Errors
    /// A shard has died.
    pub fn pause(&mut self) -> Result<(), ShardDied> {
        self.shards.look()?;
        let summary = self.summary();
        self.recorder.pause(&summary);
        Ok(())
    }
}
