//! The parts in which the state of all shards is written down. None of them knows how many shards
//! there were: a function goes to the shard that owns it now.

use super::partitions::PARTITIONS;
use super::rate_card::RateKey;
use super::shard::{Counters, Directive};
use crate::cost::Usage;
use crate::keep::{Bytes, Keep as _, Unfit, kept, kept_words};
use crate::record::FunctionKey;
use crate::units::{AccountId, EventTime};

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What is not a shard's: the door, accounts, bills, control.
    Whole,
    /// What a shard has beside its functions: [`Sums`].
    Sums,
    /// What a partition has beside its functions: deliveries and failed requests.
    Partition,
    /// Functions, one after the other.
    Functions,
    /// What was learned of functions that were not called since.
    Dormant,
}
kept_words!(Kind { Whole = 1, Sums = 2, Partition = 3, Functions = 4, Dormant = 5 });

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] =
        [Kind::Whole, Kind::Sums, Kind::Partition, Kind::Functions, Kind::Dormant];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Whole => "whole",
            Kind::Sums => "sums",
            Kind::Partition => "partition",
            Kind::Functions => "functions",
            Kind::Dormant => "dormant",
        }
    }
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it holds.
    pub kind: Kind,
    /// How many of it.
    pub count: u32,
    /// As it was written.
    pub bytes: Vec<u8>,
}

/// What a shard has added up.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// How far event time had come.
    pub now: EventTime,
    /// Its first tick.
    pub began: Option<EventTime>,
    /// What became of the records.
    pub counters: Counters,
    /// Usage by account and price, with the time of the price.
    pub usage: Vec<(AccountId, RateKey, EventTime, Usage)>,
}
kept!(Sums { now, began, counters, usage });
kept!(Directive { function, restricted, cap });
kept!(Counters { counted, late, duplicate, shed, evicted });

/// The functions of a part, by name, and how many bytes each takes.
///
/// # Errors
/// It holds something else.
pub fn functions(part: &Part) -> Result<Vec<(FunctionKey, usize)>, Unfit> {
    let mut from = Bytes::new(&part.bytes);
    let function = |_| {
        let length = from.count()?;
        let mut bytes = Bytes::new(from.take(length)?);
        let (_, name) = <(u64, FunctionKey)>::regain(&mut bytes)?;
        Ok((name, length))
    };
    (0..part.count).map(function).collect()
}

/// Whether a number is that of a partition.
pub const fn is_partition(index: u32) -> bool {
    (index as usize) < PARTITIONS
}
