//! What was learned of functions, to be kept between two engines: levels, peaks, dispersion, size
//! and failures of calls, hours and days. Not what is going on: open seconds, evidence, alarms. Nor
//! who calls: the hash of an address is as good as the address, and a file travels.
//!
//! Between the end of the history and the first tick of the engine that goes on from it nobody was
//! watching. That time is not silence: it fades nothing, neither levels nor peaks, and it proves no
//! calendar, however long it was. From the first tick on, silence is silence again.

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::detect::retry::RetryChannel;
use super::detect::size::SizeChannel;
use super::ledger::Ledger;
use crate::keep::kept;
use crate::record::FunctionKey;
use crate::units::bounds::up_to;

/// No function has been watched for longer, and no minute since the epoch is later: seconds fit 32
/// bits.
pub const MINUTES_MAX: u64 = u32::MAX as u64 / 60;

/// A function and what was learned of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// The function.
    pub function: FunctionKey,
    /// What was learned of it.
    pub past: Past,
}

/// What was learned of one function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// The second, since the epoch, up to which it was learned.
    pub until: u32,
    /// The second of its newest call.
    pub newest: u32,
    /// Mean MB·ms per call: 15 minutes at 10 GB are nine thousand million.
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000_000>")]
    pub mean_mb_ms: f32,
    /// Configured memory as last seen.
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000>")]
    pub memory_mb: u32,
    /// How often it is called.
    pub baseline: Baseline,
    /// Billed durations and memory.
    pub size: SizeChannel,
    /// Failures and repeats.
    pub retry: RetryChannel,
    /// Its hours and days, where they cost something.
    pub ledger: Option<Box<Ledger>>,
}

/// Functions of one partition that have a past and were not called since the start. Each leaves
/// when it is first called; what never is stays, which is why there is a limit: beyond it the ones
/// that have been idle longest are dropped.
#[derive(Debug, Default)]
pub struct Dormant {
    table: HashTable<(u64, Box<Past>)>,
}

impl Dormant {
    /// Adds the function with this key, in place of the idlest where there are `max` already.
    pub fn add(&mut self, key: u64, past: Past, max: usize) {
        self.take(key);
        self.table.insert_unique(key, (key, Box::new(past)), |&(key, _)| key);
        if self.table.len() > max {
            let idlest = self.table.iter().map(|(key, past)| (past.newest, *key)).min();
            idlest.and_then(|(_, key)| self.take(key));
        }
    }

    /// Takes out the past of the function with this key.
    pub fn take(&mut self, key: u64) -> Option<Box<Past>> {
        let entry = self.table.find_entry(key, |&(other, _)| other == key).ok()?;
        Some(entry.remove().0.1)
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Past)> {
        self.table.iter().map(|(key, past)| (*key, &**past))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

kept!(Past { until, newest, mean_mb_ms, memory_mb, baseline, size, retry, ledger });
