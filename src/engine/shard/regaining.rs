//! A shard that goes on from what was written down, by however many shards.

use super::{Engine, Partition};
use crate::cost::Month;
use crate::engine::function::FunctionState;
use crate::engine::learned::Past;
use crate::engine::partitions::partition_of;
use crate::engine::saved::{Kind, Part, Sums, is_partition};
use crate::keep::{Bytes, Keep as _, Unfit, ensure};

/// What there was no room for any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Functions that have to be learned anew. Their usage is in the sums.
    pub functions: u64,
}

impl Engine {
    /// Before the first record: takes its own of a part. `first` is the shard that goes on with
    /// the sums of all.
    ///
    /// # Errors
    /// The part does not hold what it says. The engine is of no use then.
    pub fn regain(&mut self, part: &Part, first: bool) -> Result<Dropped, Unfit> {
        let mut from = Bytes::new(&part.bytes);
        let mut dropped = Dropped::default();
        match part.kind {
            Kind::Whole => return Ok(dropped),
            Kind::Sums => self.regain_sums(&Sums::regain(&mut from)?, first),
            Kind::Partition => self.regain_partition(&mut from)?,
            Kind::Functions => {
                for _ in 0..part.count {
                    dropped.functions += u64::from(!self.regain_function(&mut from)?);
                }
            }
            Kind::Dormant => {
                for _ in 0..part.count {
                    self.regain_dormant(&mut from)?;
                }
            }
        }
        ensure(from.is_empty() || part.kind == Kind::Partition)?;
        Ok(dropped)
    }

    fn regain_sums(&mut self, sums: &Sums, first: bool) {
        self.now = self.now.max(sums.now);
        self.month = Month::of(self.now).number();
        self.began = self.began.or(sums.began);
        if !first {
            return;
        }
        self.counters += sums.counters;
        for (account, key, at, usage) in &sums.usage {
            let rate = self.rates.regain(key.clone(), *at);
            let total = self.total_of(*account, rate);
            self.totals[total as usize] += *usage;
        }
    }

    fn regain_partition(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        let index = u32::regain(from)?;
        ensure(is_partition(index))?;
        if let Some(Partition { deliveries, failed, .. }) = &mut self.partitions[index as usize] {
            deliveries.regain(from)?;
            failed.regain(from)?;
            ensure(from.is_empty())?;
        }
        Ok(())
    }

    /// False when there is no room for it.
    fn regain_function(&mut self, from: &mut Bytes<'_>) -> Result<bool, Unfit> {
        let partitions = &self.partitions;
        let owns = |key| partitions[partition_of(key)].is_some();
        let Some(mut function) = FunctionState::regain(from, &mut self.rates, owns)? else {
            return Ok(true);
        };
        let (key, index) = (function.key, partition_of(function.key));
        ensure(self.find(key).is_none())?;
        if self.partitions[index].as_ref().is_none_or(|p| p.slots.len() >= self.functions_max) {
            return Ok(false);
        }
        let slot = u32::try_from(self.functions.len()).map_err(|_| Unfit)?;
        function.total = self.total_of(function.name().account, function.rate);
        function.round = self.round;
        self.members[function.total as usize] += 1;
        if function.is_needed() {
            self.watched.insert((key, slot));
        }
        self.reserve();
        self.functions.push(function);
        let functions = &self.functions;
        self.table.insert_unique(key, slot, |&slot| functions[slot as usize].key);
        if let Some(partition) = &mut self.partitions[index] {
            partition.slots.push(slot);
        }
        Ok(true)
    }

    fn regain_dormant(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        let (key, past) = <(u64, Past)>::regain(from)?;
        if let Some(partition) = &mut self.partitions[partition_of(key)] {
            partition.dormant.add(key, past, self.functions_max);
        }
        Ok(())
    }
}
