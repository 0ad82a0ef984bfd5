//! Who makes room for others.

use super::{Engine, IDLE_SECONDS, Partition};

impl Engine {
    /// Drops the function of a full partition that has been silent longest, if any has for long.
    pub(super) fn evict(&mut self, partition: usize) -> bool {
        let functions = &self.functions;
        let Some(Partition { slots, .. }) = &self.partitions[partition] else {
            return false;
        };
        let idle = |slot: &&u32| {
            let function = &functions[**slot as usize];
            !function.is_needed() && self.now.second() - function.newest() >= IDLE_SECONDS
        };
        let order = |slot: &&u32| {
            let function = &functions[**slot as usize];
            (function.newest(), function.key)
        };
        let Some(&slot) = slots.iter().filter(idle).min_by_key(order) else {
            return false;
        };
        self.emit_minutes(slot, i64::MAX, 0);
        self.remove(slot);
        self.counters.evicted += 1;
        true
    }
}
