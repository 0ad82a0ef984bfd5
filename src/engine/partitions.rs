//! 256 fixed virtual partitions: the unit that shards and processes own. A function's partition
//! depends on its name alone, so any set of owners computes the same results.

use xxhash_rust::xxh3::Xxh3;

use crate::keep::{Bytes, Keep, Unfit, keep_count};
use crate::record::FunctionRef;

/// How many virtual partitions there are. Fixed for ever: snapshots and topics are keyed by it.
pub const PARTITIONS: usize = 256;

/// Hash of account, region and name: the key of a function everywhere in the engine.
pub fn key_of(function: FunctionRef<'_>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&function.account.get().to_le_bytes());
    hash.update(function.region.as_bytes());
    // A byte that occurs in neither, so that ("ab", "c") and ("a", "bc") differ.
    hash.update(&[0]);
    hash.update(function.name.as_bytes());
    hash.digest()
}

/// The partition of a key: its top byte, because hash tables use the low bits.
pub const fn partition_of(key: u64) -> usize {
    (key >> 56) as usize
}

/// Which of `shards` owns a partition.
pub const fn shard_of(partition: usize, shards: usize) -> usize {
    partition % shards
}

/// Log-event identities seen lately, in two generations of bounded size: when the younger is full
/// it becomes the older, whose identities are forgotten.
#[derive(Debug)]
pub struct Deliveries {
    generations: [hashbrown::HashTable<u64>; 2],
    max: usize,
}

impl Deliveries {
    /// Remembers between `max` and twice as many identities.
    pub fn new(max: usize) -> Self {
        Self { generations: [hashbrown::HashTable::new(), hashbrown::HashTable::new()], max }
    }

    /// Whether an identity was noted lately.
    pub fn has(&self, delivery: u64) -> bool {
        let same = |seen: &u64| *seen == delivery;
        self.generations.iter().any(|known| known.find(delivery, same).is_some())
    }

    /// Notes an identity; false when it was seen before.
    pub fn is_new(&mut self, delivery: u64) -> bool {
        if self.has(delivery) {
            return false;
        }
        if self.generations[0].len() >= self.max {
            self.generations.swap(0, 1);
            self.generations[0].clear();
        }
        self.generations[0].insert_unique(delivery, delivery, |seen| *seen);
        true
    }

    /// Writes them down.
    pub fn keep(&self, out: &mut Vec<u8>) {
        for generation in &self.generations {
            keep_count(generation.len(), out);
            generation.iter().for_each(|delivery| delivery.keep(out));
        }
    }

    /// Reads them back, as many as there is room for now.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        for generation in &mut self.generations {
            for delivery in Vec::<u64>::regain(from)? {
                let known = generation.find(delivery, |seen| *seen == delivery).is_some();
                if !known && generation.len() < self.max {
                    generation.insert_unique(delivery, delivery, |seen| *seen);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_in_two_regions_is_two_functions() {
        let account = "1".parse().unwrap();
        let keys = ["eu-west-1", "eu-west-2"]
            .map(|region| key_of(FunctionRef::try_new(account, region, "f").unwrap()));
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn repeated_deliveries_are_known_and_memory_is_bounded() {
        let mut deliveries = Deliveries::new(100);
        for id in 0..1_000_u64 {
            let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert!(deliveries.is_new(hash));
            assert!(!deliveries.is_new(hash));
        }
        assert!(deliveries.generations.iter().map(|g| g.len()).sum::<usize>() <= 200);
    }
}
