//! The engine of one shard: all functions of the virtual partitions that it owns.
//!
//! Feed it a batch or a tick, then drain its outputs. Records of one function must come in the
//! input's order; ticks come between batches, at the same place of the input for every shard. So
//! what it says depends neither on the sizes of the batches nor on the number of shards.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use hashbrown::HashTable;

use self::alarms::{follow, give_way, raise};
use super::alarm::{AlarmState, MinuteRow, Output};
use super::assess;
use super::batch::{Batch, Event, EventKind, Timeliness};
use super::detect::Thresholds;
use super::frontier::AHEAD_SECONDS;
use super::function::{FunctionState, Surroundings};
use super::learned::Dormant;
use super::partitions::{Deliveries, PARTITIONS, partition_of};
use super::rate_card::{RateCard, RateIndex, RateKey};
use super::saved::Part;
use super::settings::{DetectionSettings, EngineSettings};
use super::watch::{LATENESS_SECONDS_MAX, Touch};
use crate::cost::{FunctionRates, Month, Usage};
use crate::record::{FunctionKey, Status};
use crate::units::{AccountId, EventTime};

/// Partitions are swept in turn, each once a minute, from this second of the minute on: by then
/// the minute before is closed, however late a record may be.
const SWEEP_FROM: i64 = LATENESS_SECONDS_MAX;
/// And before the first record of the next minute can come, which may be ahead of event time:
/// swept later, a function would hold three minutes, and it has room for two.
const SWEEP_SECONDS: i64 = 60 - AHEAD_SECONDS - SWEEP_FROM;
/// From this second of the next minute on, all rows of a minute have been given out.
pub const ROWS_COMPLETE: i64 = SWEEP_FROM + SWEEP_SECONDS;
/// A function without an alarm that has been silent this long may make room for another.
const IDLE_SECONDS: i64 = 3_600;
/// The most pairs of account and price whose usage is totalled apart; the rest shares account 0.
pub const ACCOUNTS_MAX: usize = 10_000;

/// The most failed requests that are remembered in each partition, to recognise their repeats.
const FAILED_MAX: usize = 1_024;

/// Room for functions grows by this part at a time. Doubling would leave up to half of what is by
/// far the largest table unused.
const GROWTH: usize = 64;
/// So many records are looked up together: their cache misses then overlap. Enough to keep the
/// memory busy, few enough that nothing has left the first cache before it is used.
const GROUP: usize = 16;

/// What control wants the engine to know about a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The function.
    pub function: FunctionKey,
    /// Whether a restriction is in force.
    pub restricted: bool,
    /// The concurrency cap in force.
    pub cap: Option<u32>,
}

/// What became of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records that count.
    pub counted: u64,
    /// Of these, the ones too late for the detector.
    pub late: u64,
    /// Deliveries that had come before.
    pub duplicate: u64,
    /// Records of functions for which there was no room; their usage counts in the totals.
    pub shed: u64,
    /// Functions that made room for others.
    pub evicted: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.counted += other.counted;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.shed += other.shed;
        self.evicted += other.evicted;
    }
}

/// Borrows what a function's state needs beside itself, without borrowing the functions.
macro_rules! surroundings {
    ($engine:expr) => {
        Surroundings {
            detection: &$engine.detection,
            thresholds: $engine.thresholds,
            boundary: $engine.now.second() - i64::from($engine.settings.lateness_seconds),
            month: $engine.month,
            began: $engine.began.map_or(i64::MAX, EventTime::second),
            rates: &$engine.rates,
        }
    };
}

mod alarms;
mod learned;
mod regaining;
mod room;
mod saving;

pub use self::regaining::Dropped;

/// How long functions were followed, for the length of a test of the promise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// Seconds, summed over functions.
    pub function_seconds: u64,
    /// Of these, the ones before the function had a baseline.
    pub warmup_seconds: u64,
}

impl std::ops::AddAssign for Observed {
    fn add_assign(&mut self, other: Self) {
        self.function_seconds += other.function_seconds;
        self.warmup_seconds += other.warmup_seconds;
    }
}

#[derive(Debug)]
struct Partition {
    deliveries: Deliveries,
    /// Requests that failed lately, mixed with their function's key.
    failed: Deliveries,
    slots: Vec<u32>,
    dormant: Dormant,
}

impl Partition {
    /// Whether an invocation does what failed before: the platform's own retries keep the id.
    fn is_repeat(&mut self, event: &Event) -> bool {
        if event.request == 0 || event.kind != EventKind::Invocation {
            return false;
        }
        let request = event.request ^ event.key;
        match event.status {
            Status::Success => self.failed.has(request),
            Status::Error | Status::Timeout => !self.failed.is_new(request),
        }
    }
}

/// The functions of some partitions.
#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    detection: DetectionSettings,
    thresholds: Thresholds,
    rates: RateCard,
    functions_max: usize,
    table: HashTable<u32>,
    functions: Vec<FunctionState>,
    /// By index; `None` where another shard owns it.
    partitions: Vec<Option<Partition>>,
    watched: BTreeSet<(u64, u32)>,
    /// Where the usage of an account at a price is added up in `totals`.
    accounts: BTreeMap<(AccountId, RateIndex), u32>,
    totals: Vec<Usage>,
    /// And how many functions of the account at that price are tracked.
    members: Vec<u64>,
    counters: Counters,
    now: EventTime,
    month: i32,
    began: Option<EventTime>,
    outputs: Vec<(u64, u64, Output)>,
    /// What is written down at present.
    saving: Option<saving::Saving>,
    /// Functions of the other round are still to be written down.
    round: bool,
    saved: Vec<Part>,
}

impl Engine {
    /// An engine for the partitions that `owns` says yes to. The limit on functions is shared in
    /// proportion.
    pub fn new(
        settings: EngineSettings,
        detection: DetectionSettings,
        rates: RateCard,
        owns: impl Fn(usize) -> bool,
    ) -> Self {
        let partition = || Partition {
            deliveries: Deliveries::new(settings.deliveries_max),
            failed: Deliveries::new(FAILED_MAX),
            slots: Vec::new(),
            dormant: Dormant::default(),
        };
        let partitions = (0..PARTITIONS).map(|index| owns(index).then(partition)).collect();
        Self {
            functions_max: settings.functions_max.div_ceil(PARTITIONS),
            thresholds: Thresholds::new(&detection),
            settings,
            detection,
            rates,
            table: HashTable::new(),
            functions: Vec::new(),
            partitions,
            watched: BTreeSet::new(),
            accounts: BTreeMap::new(),
            totals: Vec::new(),
            members: Vec::new(),
            counters: Counters::default(),
            now: EventTime::MIN,
            month: 0,
            began: None,
            outputs: Vec::new(),
            saving: None,
            round: false,
            saved: Vec::new(),
        }
    }

    /// Takes in a batch that was gathered while event time stood at the last tick.
    pub fn batch(&mut self, batch: &Batch) {
        for group in batch.events().chunks(GROUP) {
            let slots = self.touch(group);
            for (event, &slot) in group.iter().zip(&slots) {
                self.event(batch, event, slot);
            }
        }
    }

    /// Event time has reached `now`, which is a whole second. `sequence` is the place in the input
    /// where it did.
    pub fn tick(&mut self, now: EventTime, sequence: u64, directives: &[Directive]) {
        self.now = now;
        self.month = Month::of(now).number();
        self.began.get_or_insert(now);
        directives.iter().for_each(|directive| self.direct(directive));
        self.watch(now, sequence);
        self.sweep(now, sequence);
    }

    /// Takes all outputs since the last time, each with its order: place in the input, then key.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, u64, Output)> {
        self.outputs.drain(..)
    }

    /// How many functions are tracked.
    pub fn functions(&self) -> usize {
        self.table.len()
    }

    /// How many functions have an alarm or a restriction.
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// What became of the records so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Usage since the start by account and price row. Exact sums: they are priced when read.
    pub fn usage(&self) -> impl Iterator<Item = (AccountId, RateKey, FunctionRates, Usage)> {
        self.accounts.iter().map(|(&(account, rate), &total)| {
            let usage = self.totals[total as usize];
            (account, self.rates.key(rate).clone(), *self.rates.rates(rate), usage)
        })
    }

    /// How many functions of each account are tracked; an account comes once for each price.
    pub fn members(&self) -> impl Iterator<Item = (AccountId, u64)> {
        self.accounts.iter().map(|(&(account, _), &total)| (account, self.members[total as usize]))
    }

    /// How long the functions that are tracked now have been followed.
    pub fn observed(&self) -> Observed {
        let now = self.now.second();
        let mut observed = Observed::default();
        for function in &self.functions {
            let (function_seconds, warmup_seconds) = function.observed(now);
            observed += Observed { function_seconds, warmup_seconds };
        }
        observed
    }

    /// Closes all that is open, as if event time had come far enough; at the end of an input.
    pub fn finish(&mut self, sequence: u64) {
        let end = self.now.plus_ms(120_000);
        self.now = end;
        for index in 0..PARTITIONS {
            self.sweep_partition(index, end, sequence);
        }
    }

    /// Finds the functions of some records, and brings what their state holds into the cache. The
    /// loads do not wait for one another, as they would with the work between them.
    fn touch(&self, group: &[Event]) -> [u32; GROUP] {
        let mut slots = [0; GROUP];
        for (slot, event) in slots.iter_mut().zip(group) {
            *slot = self.find(event.key).unwrap_or_default();
        }
        let found = || slots.iter().filter_map(|&slot| self.functions.get(slot as usize));
        black_box(found().fold(0, |sum, function| sum ^ function.touch()));
        let watches = found().filter_map(|function| function.watch.as_ref());
        black_box(watches.fold(0, |sum, watch| sum ^ watch.touch()));
        slots
    }

    /// Takes in one record; its function was at `slot` a moment ago, or is new.
    fn event(&mut self, batch: &Batch, event: &Event, slot: u32) {
        let Some(partition) = &mut self.partitions[partition_of(event.key)] else {
            debug_assert!(false, "an event of a partition that this shard does not own");
            return;
        };
        if event.delivery != 0 && !partition.deliveries.is_new(event.delivery) {
            self.counters.duplicate += 1;
            return;
        }
        let repeat = partition.is_repeat(event);
        self.counters.counted += 1;
        self.counters.late += u64::from(event.timeliness == Timeliness::Late);
        // Another may have moved there if one was evicted meanwhile.
        let still = self.functions.get(slot as usize).is_some_and(|known| known.key == event.key);
        let slot = match Some(slot).filter(|_| still).or_else(|| self.find(event.key)) {
            Some(slot) => slot,
            None => match self.admit(batch, event) {
                Some(slot) => slot,
                None => return self.shed(batch, event),
            },
        };
        self.save_first(slot);
        if event.gateway && !self.functions[slot as usize].gateway_seen {
            // What was used before is a row at the old price, so that rows add up to the spend.
            self.emit_minutes(slot, i64::MAX, event.sequence);
            self.gateway_seen(slot, event.at);
        }
        let around = surroundings!(self);
        let function = &mut self.functions[slot as usize];
        self.totals[function.total as usize] += event.usage();
        if let Touch::Alarming(channel) = function.take(batch, event, repeat, &around)
            && let Some(mut watch) = function.watch.take()
        {
            let before = give_way(function, &mut watch, self.now, event.sequence, &around);
            let before = before.map(|alarm| Output::Alarm(Box::new(alarm)));
            self.outputs.extend(before.map(|output| (event.sequence, event.key, output)));
            let alarm = raise(function, &mut watch, channel, event, self.now, &around);
            function.watch = Some(watch);
            self.watched.insert((event.key, slot));
            self.outputs.push((event.sequence, event.key, Output::Alarm(Box::new(alarm))));
        }
    }

    /// From now on the gateway in front of the function is part of its price.
    fn gateway_seen(&mut self, slot: u32, at: EventTime) {
        let function = &mut self.functions[slot as usize];
        function.gateway_seen = true;
        let architecture = self.rates.key(function.rate).architecture();
        let rate = self.rates.resolve(&function.name(), architecture, true, at);
        let account = function.name().account;
        let total = self.total_of(account, rate);
        let function = &mut self.functions[slot as usize];
        function.rate = rate;
        self.members[std::mem::replace(&mut function.total, total) as usize] -= 1;
        self.members[total as usize] += 1;
    }

    /// Where usage of this account at this price is added up. Beyond the limit, new accounts share
    /// one; the sum over all is exact anyway.
    fn total_of(&mut self, account: AccountId, rate: RateIndex) -> u32 {
        let full =
            self.totals.len() >= ACCOUNTS_MAX && !self.accounts.contains_key(&(account, rate));
        let account = if full { AccountId::default() } else { account };
        *self.accounts.entry((account, rate)).or_insert_with(|| {
            self.totals.push(Usage::ZERO);
            self.members.push(0);
            u32::try_from(self.totals.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn find(&self, key: u64) -> Option<u32> {
        self.table.find(key, |&slot| self.functions[slot as usize].key == key).copied()
    }

    /// Makes room for a new function, or not.
    fn admit(&mut self, batch: &Batch, event: &Event) -> Option<u32> {
        let index = partition_of(event.key);
        let full = self.partitions[index].as_ref()?.slots.len() >= self.functions_max;
        if full && !self.evict(index) {
            return None;
        }
        let name = batch.function(event);
        let rate = self.rates.resolve(&name, event.architecture, event.gateway, event.at);
        let total = self.total_of(name.account, rate);
        let around = surroundings!(self);
        let mut state = FunctionState::new(name, event, rate, total, &around);
        state.round = self.round;
        if let Some(past) = self.partitions[index].as_mut()?.dormant.take(event.key) {
            if let Some(saving) = &mut self.saving {
                saving.leaves(index, event.key, &past);
            }
            state.go_on(*past, &around);
        }
        let slot = u32::try_from(self.functions.len()).ok()?;
        self.reserve();
        self.functions.push(state);
        self.members[total as usize] += 1;
        let functions = &self.functions;
        self.table.insert_unique(event.key, slot, |&slot| functions[slot as usize].key);
        self.partitions[index].as_mut()?.slots.push(slot);
        Some(slot)
    }

    /// Makes room for one more.
    fn reserve(&mut self) {
        if self.functions.len() == self.functions.capacity() {
            self.functions.reserve_exact(self.functions.len() / GROWTH + 64);
        }
    }

    fn remove(&mut self, slot: u32) {
        self.save_first(slot);
        // It moves to where saving may have been already.
        self.save_first(u32::try_from(self.functions.len() - 1).unwrap_or(u32::MAX));
        let key = self.functions[slot as usize].key;
        if let Ok(entry) = self.table.find_entry(key, |&other| other == slot) {
            entry.remove();
        }
        self.replace_slot(key, slot, None);
        let gone = self.functions.swap_remove(slot as usize);
        self.members[gone.total as usize] -= 1;
        // The last function has moved into the hole.
        let moved = u32::try_from(self.functions.len()).unwrap_or(u32::MAX);
        if moved != slot {
            let key = self.functions[slot as usize].key;
            if let Some(entry) = self.table.find_mut(key, |&other| other == moved) {
                *entry = slot;
            }
            self.replace_slot(key, moved, Some(slot));
            if self.watched.remove(&(key, moved)) {
                self.watched.insert((key, slot));
            }
        }
    }

    fn replace_slot(&mut self, key: u64, old: u32, new: Option<u32>) {
        let Some(partition) = &mut self.partitions[partition_of(key)] else {
            return;
        };
        if let Some(place) = partition.slots.iter().position(|&slot| slot == old) {
            match new {
                Some(new) => partition.slots[place] = new,
                None => drop(partition.slots.swap_remove(place)),
            }
        }
    }

    /// A record of a function for which there is no room: its money still counts.
    fn shed(&mut self, batch: &Batch, event: &Event) {
        self.counters.shed += 1;
        let name = batch.function(event);
        let rate = self.rates.resolve(&name, event.architecture, event.gateway, event.at);
        let total = self.total_of(name.account, rate);
        self.totals[total as usize] += event.usage();
    }

    fn direct(&mut self, directive: &Directive) {
        let key = super::partitions::key_of(directive.function.as_ref());
        let Some(slot) = self.find(key) else {
            return;
        };
        self.save_first(slot);
        let around = surroundings!(self);
        let function = &mut self.functions[slot as usize];
        function.direct(directive.restricted, directive.cap, &around);
        if directive.restricted {
            self.watched.insert((key, slot));
        }
    }

    /// Looks at every function with an alarm or a restriction.
    fn watch(&mut self, now: EventTime, sequence: u64) {
        let watched: Vec<_> = self.watched.iter().copied().collect();
        for (key, slot) in watched {
            self.save_first(slot);
            let around = surroundings!(self);
            let function = &mut self.functions[slot as usize];
            function.close(&around);
            let Some(mut watch) = function.watch.take() else {
                self.watched.remove(&(key, slot));
                continue;
            };
            let alarm = follow(function, &mut watch, now, sequence, &around);
            let over = alarm.as_ref().is_some_and(|alarm| alarm.state == AlarmState::Closed);
            let output = alarm.map(|alarm| (sequence, key, Output::Alarm(Box::new(alarm))));
            self.outputs.extend(output);
            function.watch = Some(watch);
            if over {
                function.alarm_is_over(&around);
            }
            let pulse = function.watch.as_ref();
            let pulse = pulse.map(|watch| assess::pulse(function, watch, now, &around));
            self.outputs.extend(pulse.map(|pulse| (sequence, key, Output::Pulse(pulse))));
            if !function.is_needed() {
                self.watched.remove(&(key, slot));
            }
        }
    }

    fn sweep(&mut self, now: EventTime, sequence: u64) {
        let turn = now.second().rem_euclid(60) - SWEEP_FROM;
        if !(0..SWEEP_SECONDS).contains(&turn) {
            return;
        }
        let turn = usize::try_from(turn).unwrap_or_default();
        let step = usize::try_from(SWEEP_SECONDS).unwrap_or(1);
        for index in (turn..PARTITIONS).step_by(step) {
            self.sweep_partition(index, now, sequence);
        }
    }

    /// Closes what the partition's functions have open and takes out their finished minutes.
    fn sweep_partition(&mut self, index: usize, now: EventTime, sequence: u64) {
        let Some(partition) = &self.partitions[index] else {
            return;
        };
        for slot in partition.slots.clone() {
            self.save_first(slot);
            let around = surroundings!(self);
            let function = &mut self.functions[slot as usize];
            function.close(&around);
            function.calm_down(now.second());
            let minute = EventTime::from_second(around.boundary).minute();
            self.emit_minutes(slot, minute, sequence);
        }
        debug_assert!(now >= self.now);
    }

    fn emit_minutes(&mut self, slot: u32, before: i64, sequence: u64) {
        self.save_first(slot);
        let around = surroundings!(self);
        let function = &mut self.functions[slot as usize];
        let watch = function.watch.as_ref();
        let evidence = watch.map_or(0.0, |watch| watch.evidence()).max(1e-9);
        let expected = watch.map_or(0.0, |watch| watch.baseline.expected());
        let rows: Vec<_> = function.take_minutes(before).collect();
        for row in rows {
            let busyness = assess::busyness(function, &row, &around);
            let row = MinuteRow {
                minute: row.number,
                function: function.to_key(),
                usage: row.usage,
                nano_usd: function.rates(&around).cost(&row.usage),
                expected,
                billed_ms: function.billed_ms(),
                memory_mb: function.memory_mb,
                evidence_log10: libm::log10(evidence),
                busyness,
            };
            self.outputs.push((sequence, function.key, Output::Minute(Box::new(row))));
        }
    }
}
