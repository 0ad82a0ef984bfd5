//! An engine that goes on from what another has learned.

use super::Engine;
use crate::engine::function::{FunctionState, Surroundings};
use crate::engine::learned::Learned;
use crate::engine::partitions::{key_of, partition_of};
use crate::units::EventTime;

impl Engine {
    /// Before the first tick: keeps what was learned of a function until the function is called.
    /// Where there are more than the limit on functions allows, those drop out that have been idle
    /// longest; functions of other shards are left alone.
    pub fn start_from(&mut self, learned: Learned) {
        debug_assert!(self.began.is_none(), "what was learned comes before the first tick");
        let key = key_of(learned.function.as_ref());
        if let Some(partition) = &mut self.partitions[partition_of(key)] {
            partition.dormant.add(key, learned.past, self.functions_max);
        }
    }

    /// How many functions with a past were not called yet.
    pub fn dormant(&self) -> usize {
        self.partitions.iter().flatten().map(|partition| partition.dormant.len()).sum()
    }

    /// At the end: what was learned of every function that is watched, in no particular order. The
    /// functions themselves are let go on the way, so that memory hardly grows.
    pub fn learned(&mut self) -> Vec<Learned> {
        let functions = std::mem::take(&mut self.functions);
        self.table.clear();
        self.watched.clear();
        self.partitions.iter_mut().flatten().for_each(|partition| partition.slots.clear());
        let around = surroundings!(self);
        functions.into_iter().filter_map(|function| learned(function, &around)).collect()
    }
}

fn learned(mut function: FunctionState, around: &Surroundings<'_>) -> Option<Learned> {
    function.close(around);
    Some(Learned { function: function.to_key(), past: function.into_past(around)? })
}
