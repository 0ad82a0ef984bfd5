//! Writing a shard's state down while it goes on: everything as it stood at one place of the input,
//! without holding up the records behind that place for longer than a few thousand functions take.
//!
//! What is small is written at once. Functions follow little by little; one that is about to change
//! is written first. So every function is written once, as it was when saving began.

use super::{Engine, Partition};
use crate::engine::learned::Past;
use crate::engine::partitions::PARTITIONS;
use crate::engine::saved::{Kind, Part, Sums};
use crate::keep::Keep as _;

/// A part is handed on when it has so many bytes.
const PART_BYTES: usize = 1 << 20;

/// What is being written.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// Functions before this place are written.
    next: usize,
    /// Partitions before this one have written what is dormant.
    partition: usize,
    functions: (u32, Vec<u8>),
    dormant: (u32, Vec<u8>),
}

impl Saving {
    /// What was dormant wakes up.
    pub(super) fn leaves(&mut self, partition: usize, key: u64, past: &Past) {
        if partition >= self.partition {
            self.dormant(key, past);
        }
    }

    fn dormant(&mut self, key: u64, past: &Past) {
        self.dormant.0 += 1;
        key.keep(&mut self.dormant.1);
        past.keep(&mut self.dormant.1);
    }
}

impl Engine {
    /// Begins to write the state down as it is now; between two jobs, with nothing left to drain.
    pub fn save(&mut self) {
        debug_assert!(self.saving.is_none() && self.outputs.is_empty(), "one at a time");
        self.round = !self.round;
        self.saving = Some(Saving::default());
        let mut bytes = Vec::new();
        self.sums().keep(&mut bytes);
        self.saved.push(Part { kind: Kind::Sums, count: 1, bytes });
        for (index, partition) in (0_u32..).zip(&self.partitions) {
            let Some(Partition { deliveries, failed, slots: _, dormant: _ }) = partition else {
                continue;
            };
            let mut bytes = Vec::new();
            index.keep(&mut bytes);
            deliveries.keep(&mut bytes);
            failed.keep(&mut bytes);
            self.saved.push(Part { kind: Kind::Partition, count: 1, bytes });
        }
    }

    /// Goes on with so many functions. True when nothing is left to write.
    pub fn save_on(&mut self, functions: usize) -> bool {
        let Some(mut saving) = self.saving.take() else {
            return true;
        };
        if saving.partition < PARTITIONS {
            if let Some(partition) = &self.partitions[saving.partition] {
                partition.dormant.iter().for_each(|(key, past)| saving.dormant(key, past));
            }
            saving.partition += 1;
            while saving.partition < PARTITIONS
                && self.partitions[saving.partition].as_ref().is_none_or(|p| p.dormant.is_empty())
            {
                saving.partition += 1;
            }
        }
        let end = self.functions.len().min(saving.next + functions);
        let from = saving.next;
        saving.next = end;
        self.saving = Some(saving);
        for slot in from..end {
            self.save_first(u32::try_from(slot).unwrap_or(u32::MAX));
        }
        let Some(saving) = &mut self.saving else {
            return true;
        };
        let done = saving.next >= self.functions.len() && saving.partition >= PARTITIONS;
        if done || saving.dormant.1.len() >= PART_BYTES {
            self.saved.extend(part(Kind::Dormant, &mut saving.dormant));
        }
        if done {
            self.saved.extend(part(Kind::Functions, &mut saving.functions));
            self.saving = None;
        }
        done
    }

    /// Takes the parts that were written since the last time.
    pub fn saved(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.saved)
    }

    /// A function is about to change: it is written as it was, if it was not yet.
    pub(super) fn save_first(&mut self, slot: u32) {
        let Some(saving) = &mut self.saving else {
            return;
        };
        let Some(function) = self.functions.get_mut(slot as usize) else {
            return;
        };
        if function.round != self.round {
            function.round = self.round;
            saving.functions.0 += 1;
            function.keep(&self.rates, &mut saving.functions.1);
            if saving.functions.1.len() >= PART_BYTES {
                self.saved.extend(part(Kind::Functions, &mut saving.functions));
            }
        }
    }

    fn sums(&self) -> Sums {
        let usage = self.accounts.iter().map(|(&(account, rate), &total)| {
            let at = self.rates.priced_at(rate);
            (account, self.rates.key(rate).clone(), at, self.totals[total as usize])
        });
        let (now, began, counters) = (self.now, self.began, self.counters);
        Sums { now, began, counters, usage: usage.collect() }
    }
}

/// What has gathered, if anything has.
fn part(kind: Kind, gathered: &mut (u32, Vec<u8>)) -> Option<Part> {
    let (count, bytes) = std::mem::take(gathered);
    (count > 0).then_some(Part { kind, count, bytes })
}
