//! The costliest sources along one dimension, by name.

use crate::keep::kept;
use crate::record::SOURCE_BYTES_MAX;
use crate::units::whole;

/// Twenty attackers among two thousand users fit easily.
pub(super) const ENTRIES: usize = 256;
/// Registers of the distinct counter: a standard error of 1.04/√256, 6.5 %.
const REGISTERS: usize = 256;
/// Hashes that are compared at once.
const LANES: usize = 8;

/// Weighted SpaceSaving (Metwally, Agrawal, El Abbadi, ICDT 2005), by MB·ms. A source's cost lies
/// between its weight less its error and its weight; who is not in the table has at most the least.
#[derive(Debug)]
pub(super) struct Table {
    // Apart from the entries, because every request looks through them.
    hashes: Vec<u64>,
    weights: Vec<f64>,
    entries: Vec<Entry>,
    /// In places of `name_bytes` each. All memory is taken with the first source.
    names: Vec<u8>,
    name_bytes: usize,
    registers: [u8; REGISTERS],
    /// Cost of all requests, MB·ms.
    pub(super) total: f64,
    /// Requests.
    pub(super) requests: u64,
}

/// One source.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Cost that may be its predecessors'.
    pub(super) error: f64,
    /// Sum over its requests of their costs squared.
    pub(super) squares: f64,
    /// Its requests since it got its place.
    pub(super) requests: u32,
    /// One bit for each of its members, by hash: for a prefix, its addresses.
    pub(super) members: u64,
    name_len: u16,
}

/// One source as the table knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) hash: u64,
    pub(super) weight: f64,
    pub(super) entry: &'a Entry,
    pub(super) name: &'a [u8],
}

impl Table {
    /// A table of sources whose names have at most so many bytes.
    pub(super) fn new(name_bytes: usize) -> Self {
        Self {
            names: Vec::new(),
            name_bytes,
            hashes: Vec::new(),
            weights: Vec::new(),
            entries: Vec::new(),
            registers: [0; REGISTERS],
            total: 0.0,
            requests: 0,
        }
    }

    /// Notes a request by `member` of a source.
    pub(super) fn add(&mut self, hash: u64, member: u64, cost: f64, name: &[u8]) {
        self.total += cost;
        self.requests += 1;
        let register = usize::from(hash.to_le_bytes()[0]);
        let rank = (hash >> 8).trailing_zeros().min(55) + 1;
        self.registers[register] = self.registers[register].max(u8::try_from(rank).unwrap_or(56));
        let place = self.find(hash).unwrap_or_else(|| self.make_room(hash, name));
        self.weights[place] += cost;
        let entry = &mut self.entries[place];
        entry.squares += cost * cost;
        entry.members |= 1 << (member % 64);
        entry.requests = entry.requests.saturating_add(1);
    }

    fn make_room(&mut self, hash: u64, name: &[u8]) -> usize {
        let place = if self.entries.len() < ENTRIES {
            if self.entries.is_empty() {
                self.hashes.reserve_exact(ENTRIES);
                self.weights.reserve_exact(ENTRIES);
                self.entries.reserve_exact(ENTRIES);
                self.names = vec![0; ENTRIES * self.name_bytes];
            }
            self.hashes.push(hash);
            self.weights.push(0.0);
            self.entries.push(Entry::default());
            self.entries.len() - 1
        } else {
            let place = self.least();
            self.hashes[place] = hash;
            self.entries[place] = Entry { error: self.weights[place], ..Entry::default() };
            place
        };
        // As the batch had it: most sources of a flood make room again and are never shown.
        let name = &name[..name.len().min(self.name_bytes)];
        let at = place * self.name_bytes;
        self.names[at..at + name.len()].copy_from_slice(name);
        self.entries[place].name_len = u16::try_from(name.len()).unwrap_or_default();
        place
    }

    /// A request's cost turns out to be another than was assumed. A source that has lost its place
    /// meanwhile counts in the total only.
    pub(super) fn correct(&mut self, hash: u64, assumed: f64, cost: f64) {
        self.total += cost - assumed;
        if let Some(place) = self.find(hash) {
            let entry = &mut self.entries[place];
            self.weights[place] = (self.weights[place] + cost - assumed).max(entry.error);
            entry.squares = (entry.squares + cost * cost - assumed * assumed).max(0.0);
        }
    }

    /// Every source.
    pub(super) fn iter(&self) -> impl Iterator<Item = Known<'_>> {
        self.entries.iter().enumerate().map(|(place, entry)| {
            let at = place * self.name_bytes;
            let name = &self.names[at..at + usize::from(entry.name_len)];
            Known { hash: self.hashes[place], weight: self.weights[place], entry, name }
        })
    }

    /// The longest name that is kept.
    pub(super) fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    /// Whether its parts fit together.
    fn is_whole(&self) -> bool {
        let count = self.entries.len();
        let room = if count == 0 { 0 } else { ENTRIES * self.name_bytes };
        count <= ENTRIES
            && self.name_bytes <= SOURCE_BYTES_MAX
            && (self.hashes.len(), self.weights.len()) == (count, count)
            && self.names.len() == room
            && self.entries.iter().all(|entry| usize::from(entry.name_len) <= self.name_bytes)
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let mut chunks = self.hashes.chunks_exact(LANES);
        for (chunk, lanes) in chunks.by_ref().enumerate() {
            // Without a branch inside, so that the compiler compares them side by side.
            if lanes.iter().fold(false, |any, &one| any | (one == hash)) {
                return lanes.iter().position(|&one| one == hash).map(|at| chunk * LANES + at);
            }
        }
        let rest = chunks.remainder();
        let from = self.hashes.len() - rest.len();
        rest.iter().position(|&one| one == hash).map(|at| from + at)
    }

    fn least(&self) -> usize {
        let mut least = [f64::INFINITY; LANES];
        for lanes in self.weights.chunks_exact(LANES) {
            for (least, &one) in least.iter_mut().zip(lanes) {
                *least = if one < *least { one } else { *least };
            }
        }
        let least = least.into_iter().fold(f64::INFINITY, f64::min);
        self.weights.iter().position(|&one| one <= least).unwrap_or_default()
    }

    /// Number of distinct sources (HyperLogLog with linear counting for few; Flajolet, Fusy,
    /// Gandouet, Meunier, AofA 2007).
    pub(super) fn distinct(&self) -> u64 {
        let m = REGISTERS as f64;
        let empty = self.registers.iter().filter(|&&rank| rank == 0).count();
        let sum: f64 = self.registers.iter().map(|&rank| libm::exp2(-f64::from(rank))).sum();
        let raw = 0.718 * m * m / sum;
        let estimate =
            if empty > 0 && raw <= 2.5 * m { m * libm::log(m / empty as f64) } else { raw };
        whole(estimate - 0.5)
    }
}

impl Entry {
    /// About how many members it has; 64 bits tell up to some hundred and fifty.
    pub(super) fn members(&self) -> f64 {
        let empty = f64::from(self.members.count_zeros()).max(0.5);
        64.0 * libm::log(64.0 / empty)
    }
}

kept!(Table {
    hashes, weights, entries, names, name_bytes, registers, total, requests,
} if |table| table.is_whole());
kept!(Entry { error, squares, requests, members, name_len });
