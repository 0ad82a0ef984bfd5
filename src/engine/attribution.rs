//! Who carries the excess.
//!
//! Two tables along each [`Dimension`]. The *reference* is small, always on and nameless: a
//! SpaceSaving summary (Metwally, Agrawal, El Abbadi, ICDT 2005) of who called while nothing was
//! wrong. The *pane* is larger, knows names, and is started when evidence begins to gather; so it
//! sees almost nothing but the suspicious traffic. What a source carries beyond what the reference
//! allows it is its excess, with bounds from the summary's own error and from Poisson counting.

use std::cmp::Ordering;

use serde::Serialize;

use super::batch::{Batch, Dimension, Event, SourceSlot};

/// Entries of the always-on summary.
const REFERENCE_ENTRIES: usize = 12;
/// Entries of a pane along one dimension. Twenty attackers among two thousand users fit easily.
const PANE_ENTRIES: usize = 256;
/// Registers of the distinct counter: a standard error of 1.04/√256, 6.5 %.
const REGISTERS: usize = 256;
/// The reference is halved when its total reaches this, so that it follows the present.
const REFERENCE_TOTAL_MAX: u32 = 4_096;
/// Half-width of the bounds in standard errors: 95 % one-sided.
const Z_95: f64 = 1.645;
/// A source is named when, at its lower bound, it carries this many times what the reference lets
/// an ordinary source carry. Below that a busy legitimate client would be accused.
const ACCUSED_RATIO: f64 = 3.0;
/// And at least this many requests beyond that, so that nobody is accused for a handful.
const ACCUSED_REQUESTS: f64 = 3.0;
/// And this share of the excess: who carries less does not matter, whoever it is.
const ACCUSED_SHARE: f64 = 0.002;
/// The costliest that carry this part of what all accused carry are named in any case;
const NAMED_PART: f64 = 0.9;
/// behind them, whoever carries less than this part of what the one before carries ends the list.
/// A small summary cannot vouch for every regular user, and over a long alarm one or the other
/// passes the tests above; attackers pull together, so such users stand behind a step down.
const STEP_DOWN: f64 = 0.5;
/// The most sources that are named in one alarm, costliest first.
pub const NAMED_MAX: usize = 64;

/// Always-on summary of one function's callers by address.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference {
    hashes: [u64; REFERENCE_ENTRIES],
    weights: [u32; REFERENCE_ENTRIES],
    errors: [u32; REFERENCE_ENTRIES],
    total: u32,
}

impl Reference {
    /// Notes one request.
    pub fn add(&mut self, slot: SourceSlot) {
        self.total += 1;
        if let Some(index) = self.hashes.iter().position(|&hash| hash == slot.hash) {
            self.weights[index] += 1;
        } else {
            let least = (0..REFERENCE_ENTRIES).min_by_key(|&index| self.weights[index]);
            let least = least.unwrap_or_default();
            self.hashes[least] = slot.hash;
            self.errors[least] = self.weights[least];
            self.weights[least] += 1;
        }
        if self.total >= REFERENCE_TOTAL_MAX {
            self.total /= 2;
            self.weights.iter_mut().for_each(|weight| *weight /= 2);
            self.errors.iter_mut().for_each(|error| *error /= 2);
        }
    }

    /// The share of all requests that is ordinary for this source: its own, as far as the summary
    /// vouches for it, and for the unknown that of the middle entry. The summary's own bound for
    /// the unknown, its smallest weight, is no use where there are many callers: it is one twelfth
    /// of the traffic although nobody sends that much.
    fn ordinary_share(&self, hash: u64) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        let sure: [u32; REFERENCE_ENTRIES] =
            std::array::from_fn(|index| self.weights[index].saturating_sub(self.errors[index]));
        let own = self.hashes.iter().position(|&known| known == hash);
        let own = own.map_or(0, |index| sure[index]);
        let mut sorted = sure;
        sorted.sort_unstable();
        f64::from(own.max(sorted[REFERENCE_ENTRIES / 2])) / f64::from(self.total)
    }
}

/// Who has been calling since evidence began to gather.
#[derive(Debug)]
pub struct Pane {
    tables: [Table; Dimension::COUNT],
}

impl Default for Pane {
    fn default() -> Self {
        Self { tables: std::array::from_fn(|_| Table::default()) }
    }
}

#[derive(Debug)]
struct Table {
    entries: Vec<Entry>,
    registers: [u8; REGISTERS],
    total: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: Vec::new(), registers: [0; REGISTERS], total: 0 }
    }
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    weight: u64,
    error: u64,
    /// As the batch had it: most entries of a flood make room again and are never shown.
    name: Vec<u8>,
}

impl Pane {
    /// Notes one request with all that is known of its source.
    pub fn add(&mut self, batch: &Batch, event: &Event) {
        for dimension in Dimension::ALL {
            let slot = event.sources[dimension as usize];
            if slot.is_known() {
                self.tables[dimension as usize].add(slot.hash, batch.source_name(slot));
            }
        }
    }

    /// Requests whose source address was known.
    pub fn requests(&self) -> u64 {
        self.tables[Dimension::Address as usize].total
    }

    /// Names who carries the excess of a function that should have had `expected` requests while
    /// this pane was open.
    pub fn attribution(&self, reference: &Reference, expected: f64) -> Attribution {
        let address = &self.tables[Dimension::Address as usize];
        let mut sources: Vec<SourceShare> = Vec::new();
        for dimension in Dimension::ALL {
            let table = &self.tables[dimension as usize];
            let excess = (table.total as f64 - expected).max(1.0);
            let accused = table.entries.iter().filter_map(|entry| {
                let reference = (dimension == Dimension::Address).then_some(reference);
                entry.accused(dimension, reference, expected, excess)
            });
            let mut accused: Vec<SourceShare> = accused.collect();
            accused.sort_by(costliest_first);
            accused.truncate(before_step_down(&accused));
            sources.extend(accused);
        }
        sources.sort_by(costliest_first);
        let named = joint_low(shares_of(&sources, Dimension::Address));
        let keyed = shares_of(&sources, Dimension::Principal).map(|source| source.low);
        let keyed = keyed.fold(0.0, f64::max);
        sources.truncate(NAMED_MAX);
        Attribution { diffuse: named < 0.5 && keyed < 0.5, distinct: address.distinct(), sources }
    }
}

/// Lower bound of what several sources carry together. Their counts are independent, so the widths
/// of their bounds add as squares; the sum of the bounds would call twenty equal sources nobody.
fn joint_low<'a>(sources: impl Iterator<Item = &'a SourceShare>) -> f64 {
    let (mut sum, mut squares) = (0.0, 0.0);
    for source in sources {
        sum += source.share;
        squares += (source.share - source.low) * (source.share - source.low);
    }
    sum - libm::sqrt(squares)
}

fn costliest_first(a: &SourceShare, b: &SourceShare) -> Ordering {
    b.share.total_cmp(&a.share).then_with(|| a.source.cmp(&b.source))
}

/// How many of the accused, costliest first, stand before the step down to the regular users.
fn before_step_down(accused: &[SourceShare]) -> usize {
    let all: f64 = accused.iter().map(|source| source.share).sum();
    let (mut covered, mut before) = (0.0, 0.0);
    let step = accused.iter().position(|source| {
        let is_step = covered >= NAMED_PART * all && source.share < STEP_DOWN * before;
        covered += source.share;
        before = source.share;
        is_step
    });
    step.unwrap_or(accused.len())
}

fn shares_of(sources: &[SourceShare], dimension: Dimension) -> impl Iterator<Item = &SourceShare> {
    sources.iter().filter(move |source| source.dimension == dimension)
}

impl Table {
    fn add(&mut self, hash: u64, name: &[u8]) {
        self.total += 1;
        let register = usize::from(hash.to_le_bytes()[0]);
        let rank = (hash >> 8).trailing_zeros().min(55) + 1;
        self.registers[register] = self.registers[register].max(u8::try_from(rank).unwrap_or(56));
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.hash == hash) {
            entry.weight += 1;
        } else if self.entries.len() < PANE_ENTRIES {
            self.entries.push(Entry { hash, weight: 1, error: 0, name: name.to_vec() });
        } else if let Some(least) = self.entries.iter_mut().min_by_key(|entry| entry.weight) {
            // In place, for the memory of its name: this is what most records of a flood do.
            least.hash = hash;
            least.error = least.weight;
            least.weight += 1;
            least.name.clear();
            least.name.extend_from_slice(name);
        }
    }

    /// Number of distinct sources (HyperLogLog with linear counting for few; Flajolet, Fusy,
    /// Gandouet, Meunier, AofA 2007).
    fn distinct(&self) -> u64 {
        let m = REGISTERS as f64;
        let empty = self.registers.iter().filter(|&&rank| rank == 0).count();
        let sum: f64 = self.registers.iter().map(|&rank| libm::exp2(-f64::from(rank))).sum();
        let raw = 0.718 * m * m / sum;
        let estimate =
            if empty > 0 && raw <= 2.5 * m { m * libm::log(m / empty as f64) } else { raw };
        crate::units::whole(estimate - 0.5)
    }
}

impl Entry {
    fn accused(
        &self,
        dimension: Dimension,
        reference: Option<&Reference>,
        expected: f64,
        excess: f64,
    ) -> Option<SourceShare> {
        let ordinary = match reference {
            Some(reference) => reference.ordinary_share(self.hash) * expected,
            // No reference along this dimension: an API serves everybody, so it is accused only
            // for what is beyond all that was expected.
            None => expected,
        };
        let least = (self.weight - self.error) as f64;
        let low = least - Z_95 * libm::sqrt(least);
        let least_share = ACCUSED_SHARE * excess;
        if low < (ACCUSED_RATIO * ordinary + ACCUSED_REQUESTS).max(ordinary + least_share) {
            return None;
        }
        let most = self.weight as f64;
        let high = most + Z_95 * libm::sqrt(most);
        let within = |requests: f64| (requests / excess).clamp(0.0, 1.0);
        Some(SourceShare {
            dimension,
            source: dimension.shown(&self.name),
            share: within(least - ordinary),
            low: within(low - ordinary),
            high: within(high),
            ordinary: if expected > 0.0 { (ordinary / expected).min(1.0) } else { 0.0 },
        })
    }
}

/// Which sources carry the excess requests, or that nobody in particular does.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Attribution {
    /// No address set and no single principal carries half of the excess.
    pub diffuse: bool,
    /// About how many addresses called since the evidence began to gather.
    pub distinct: u64,
    /// Who carries what, largest share first.
    pub sources: Vec<SourceShare>,
}

impl Attribution {
    /// The named sources along one dimension.
    pub fn along(&self, dimension: Dimension) -> impl Iterator<Item = &SourceShare> {
        shares_of(&self.sources, dimension)
    }
}

/// One source's share of the excess requests, 0 to 1, with 95 % one-sided bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceShare {
    /// Along which line it was told apart.
    pub dimension: Dimension,
    /// Its name.
    pub source: Box<str>,
    /// Best estimate.
    pub share: f64,
    /// It carries at least this.
    pub low: f64,
    /// It carries at most this.
    pub high: f64,
    /// Share of the legitimate requests that are usually its own.
    #[serde(skip)]
    pub ordinary: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::batch::{EventBody, EventKind, Timeliness};
    use crate::record::{Architecture, FunctionRef, Source, Status};
    use crate::units::{BilledMs, EventTime};

    fn requests(addresses: impl Iterator<Item = u32>) -> Batch {
        let function = FunctionRef::try_new("1".parse().unwrap(), "eu-west-1", "f").unwrap();
        let mut batch = Batch::default();
        for address in addresses {
            let body = EventBody {
                sequence: 0,
                position: crate::record::Position::default(),
                at: EventTime::MIN,
                delivery: 0,
                billed: BilledMs::default(),
                memory: None,
                response_bytes: 0,
                version: 0,
                kind: EventKind::Trigger,
                timeliness: Timeliness::OnTime,
                gateway: false,
                status: Status::Success,
                architecture: Architecture::X86_64,
            };
            let address = core::net::Ipv4Addr::from_bits(0xc633_0000 + address);
            let source = Source { address: Some(address.into()), ..Source::default() };
            batch.push(function, 0, body, &source);
        }
        batch
    }

    /// Users 1000..3000 come in turn; every `one_in`-th request is one of 20 attackers.
    fn traffic(one_in: u32, count: u32) -> Batch {
        requests(
            (0..count).map(|i| {
                if i % one_in == 0 { (i / one_in) % 20 } else { 1_000 + (i * 7919) % 2_000 }
            }),
        )
    }

    fn quiet_reference() -> Reference {
        let batch = requests((0..3_000).map(|i| 1_000 + (i * 7919) % 2_000));
        let mut reference = Reference::default();
        batch.events().iter().for_each(|event| reference.add(event.sources[0]));
        reference
    }

    #[test]
    fn twenty_attackers_among_two_thousand_users_are_named_and_nobody_else() {
        let batch = traffic(2, 4_000);
        let mut pane = Pane::default();
        batch.events().iter().for_each(|event| pane.add(&batch, event));
        let attribution = pane.attribution(&quiet_reference(), 2_000.0);
        assert!(!attribution.diffuse);
        assert_eq!(attribution.sources.len(), 20, "{attribution:?}");
        for source in &attribution.sources {
            assert!(source.source.starts_with("198.51.0."), "{source:?}");
            assert!(source.low <= 0.05 && source.high >= 0.05, "{source:?}");
        }
        assert!((900..1_150).contains(&attribution.distinct), "{}", attribution.distinct);
    }

    #[test]
    fn regular_users_that_the_reference_does_not_know_stand_behind_a_step_down() {
        // One request in 41 comes from one of three users, the rest from 20 attackers.
        let users = |i: u32| if i.is_multiple_of(41) { 1_000 + (i / 41) % 3 } else { i % 20 };
        let batch = requests((0..6_000).map(users));
        let mut pane = Pane::default();
        batch.events().iter().for_each(|event| pane.add(&batch, event));
        let attribution = pane.attribution(&quiet_reference(), 300.0);
        assert_eq!(attribution.sources.len(), 20, "{attribution:?}");
        // Uneven attackers have steps between them too; all that carry something are named.
        let uneven = |i: u32| if i.is_multiple_of(2) { 0 } else { 1 + (i / 2) % 20 };
        let batch = requests((0..6_000).map(uneven));
        let mut pane = Pane::default();
        batch.events().iter().for_each(|event| pane.add(&batch, event));
        let attribution = pane.attribution(&quiet_reference(), 300.0);
        assert_eq!(attribution.sources.len(), 21, "{attribution:?}");
    }

    #[test]
    fn a_flood_from_everywhere_is_called_diffuse() {
        let batch = requests((0..20_000).map(|i| (i * 7919) % 16_000));
        let mut pane = Pane::default();
        batch.events().iter().for_each(|event| pane.add(&batch, event));
        let attribution = pane.attribution(&quiet_reference(), 1_000.0);
        assert!(attribution.diffuse);
        assert!(attribution.sources.is_empty(), "{attribution:?}");
    }

    #[test]
    fn the_pane_does_not_grow_with_the_number_of_sources() {
        let batch = requests(0..50_000);
        let mut pane = Pane::default();
        batch.events().iter().for_each(|event| pane.add(&batch, event));
        assert_eq!(pane.tables[0].entries.len(), PANE_ENTRIES);
    }
}
