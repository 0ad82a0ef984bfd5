//! Who has been calling since evidence began to gather, by name and by what it cost.

use super::crowd::Crowd;
use super::join::{Join, Known};
use super::reference::Reference;
use super::repeats::Repeats;
use super::table::Table;
use crate::engine::batch::{Batch, Dimension, Event, EventKind, Timeliness, prefix_of};
use crate::keep::kept;
use crate::record::{SOURCE_BYTES_MAX, Status};
use crate::units::EventTime;

/// The usual cost of a request weighs as much as so many that were seen.
const USUAL_WEIGHT: f64 = 8.0;
/// How many of the busiest the top share is about.
const TOP: usize = 8;

/// Callers since evidence began to gather.
#[derive(Debug)]
pub struct Pane {
    tables: [Table; Dimension::COUNT],
    join: Join<{ Dimension::COUNT }>,
    repeats: Repeats,
    /// First and newest request on time.
    span: Option<(EventTime, EventTime)>,
    usual_mb_ms: f64,
    /// Invocations, what they cost, and how many failed.
    invocations: u64,
    mb_ms: f64,
    failed: u64,
    /// Requests whose caller was known.
    callers: u64,
    /// Of these, the ones of addresses that the reference did not know.
    strange: u64,
    /// Invocations with their caller in the same record.
    judged: u64,
}

impl Pane {
    /// A pane of a function whose requests usually cost `usual_mb_ms`, against `reference`.
    pub fn new(usual_mb_ms: f64, reference: &Reference) -> Self {
        Self {
            tables: Dimension::ALL.map(|dimension| Table::new(name_bytes(dimension))),
            join: Join::default(),
            repeats: Repeats::new(reference),
            span: None,
            // A function known only from triggers costs something too.
            usual_mb_ms: usual_mb_ms.max(1.0),
            invocations: 0,
            mb_ms: 0.0,
            failed: 0,
            callers: 0,
            strange: 0,
            judged: 0,
        }
    }

    /// Notes one invocation or trigger with all that is known of it.
    pub fn add(&mut self, batch: &Batch, event: &Event, reference: &Reference) {
        if event.timeliness == Timeliness::OnTime {
            let (first, newest) = self.span.unwrap_or((event.at, event.at));
            self.span = Some((first.min(event.at), newest.max(event.at)));
        }
        let known = self.join.get(event.request);
        let has_caller = event.sources.iter().any(|slot| slot.is_known());
        if event.kind == EventKind::Invocation {
            let cost = event.mb_ms.0 as f64;
            self.invocations += 1;
            self.mb_ms += cost;
            if let Some(Known::Caller(hashes, assumed)) = known {
                self.correct(&hashes, assumed, cost);
                // The platform's own retries have the same id, and their cost comes on top.
                self.join.put(event.request, Known::Caller(hashes, 0.0));
            } else if has_caller {
                self.judged += 1;
                self.failed += u64::from(event.status != Status::Success);
                self.caller(batch, event, cost, reference);
                self.join.put(event.request, Known::Both);
            } else {
                self.join.put(event.request, Known::Cost(cost));
            }
        } else if has_caller {
            let (cost, assumed) = match known {
                Some(Known::Both) => return,
                Some(Known::Cost(cost)) => (cost, 0.0),
                _ => (self.mean_mb_ms(), self.mean_mb_ms()),
            };
            let hashes = self.caller(batch, event, cost, reference);
            self.join.put(event.request, Known::Caller(hashes, assumed));
        }
    }

    /// Notes who asked. Returns the hashes under which the tables know it.
    fn caller(
        &mut self,
        batch: &Batch,
        event: &Event,
        cost: f64,
        reference: &Reference,
    ) -> [u64; Dimension::COUNT] {
        self.callers += 1;
        let mut hashes = [0; Dimension::COUNT];
        for (index, &slot) in event.sources.iter().enumerate() {
            if slot.is_known() {
                hashes[index] = slot.hash;
                let name = batch.source_name(slot);
                self.tables[index].add(slot.hash, slot.hash, cost, name);
                if index == Dimension::Address as usize {
                    let prefix = Dimension::Prefix as usize;
                    hashes[prefix] = prefix_hash(slot.hash);
                    let network = prefix_of(name);
                    self.tables[prefix].add(hashes[prefix], slot.hash, cost, &network);
                    self.strange += u64::from(reference.is_strange(slot.hash));
                    self.repeats.note(slot.hash, reference);
                }
            }
        }
        hashes
    }

    fn correct(&mut self, hashes: &[u64; Dimension::COUNT], assumed: f64, cost: f64) {
        for (table, &hash) in self.tables.iter_mut().zip(hashes) {
            if hash != 0 {
                table.correct(hash, assumed, cost);
            }
        }
    }

    /// Mean cost of a request.
    pub(super) fn mean_mb_ms(&self) -> f64 {
        (USUAL_WEIGHT * self.usual_mb_ms + self.mb_ms) / (USUAL_WEIGHT + self.invocations as f64)
    }

    /// Whether they are a crowd.
    pub fn crowd(&self, reference: &Reference) -> Crowd {
        Crowd::of(self, reference)
    }

    /// Requests whose source address was known.
    pub fn requests(&self) -> u64 {
        self.table(Dimension::Address).requests
    }

    /// Addresses, about.
    pub fn distinct(&self) -> u64 {
        self.table(Dimension::Address).distinct()
    }

    pub(super) fn table(&self, dimension: Dimension) -> &Table {
        &self.tables[dimension as usize]
    }

    pub(super) fn repeats(&self) -> &Repeats {
        &self.repeats
    }

    /// Seconds from the first request to the newest.
    pub(super) fn seconds(&self) -> f64 {
        self.span.map_or(0.0, |(first, newest)| newest.since_ms(first) as f64 / 1e3)
    }

    /// Requests, as far as triggers and invocations of the same ones can be told.
    pub(super) fn all_requests(&self) -> u64 {
        self.invocations.max(self.callers)
    }

    /// Addresses in the table with their requests.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (u64, u32)> {
        self.table(Dimension::Address).iter().map(|known| (known.hash, known.entry.requests))
    }

    pub(super) fn strange_share(&self) -> f64 {
        self.strange as f64 / self.requests().max(1) as f64
    }

    pub(super) fn failed_share(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.failed as f64 / self.judged as f64)
    }

    pub(super) fn top_share(&self) -> f64 {
        let mut requests: Vec<u32> = self.addresses().map(|(_, requests)| requests).collect();
        requests.sort_unstable();
        let top: f64 = requests.iter().rev().take(TOP).map(|&requests| f64::from(requests)).sum();
        top / self.requests().max(1) as f64
    }
}

/// The longest name of a source along a dimension.
const fn name_bytes(dimension: Dimension) -> usize {
    if dimension.is_network() { 16 } else { SOURCE_BYTES_MAX }
}

/// The hash of an address's network; never 0.
pub(super) fn prefix_hash(address: u64) -> u64 {
    address | 0xffff_ffff
}

kept!(Pane {
    tables, join, repeats, span, usual_mb_ms, invocations, mb_ms, failed, callers, strange, judged,
} if |pane| {
    let mut tables = pane.tables.iter().zip(Dimension::ALL);
    tables.all(|(table, dimension)| table.name_bytes() == name_bytes(dimension))
});
