//! Who called while nothing was wrong: 252 bytes a function, always on and nameless.
//!
//! Regulars are known one by one. All others are counted together in cells by hash: what is in a
//! caller's cell beyond what is in most cells bounds its share.

use std::cmp::Reverse;

use super::repeats::UNLIKE_MAX;
use crate::engine::batch::SourceSlot;
use crate::keep::kept;

/// Addresses that are told apart.
const ADDRESSES: usize = 8;
/// Cells of all other addresses.
const CELLS: usize = 64;
/// Cells of networks.
const PREFIX_CELLS: usize = 12;
/// The latest requests, with which the next is compared.
const RECENT: usize = 4;
/// Everything is halved when so many requests have come, so that it follows the present.
const TOTAL_MAX: u16 = 4_096;
/// A source with this share of the requests is a regular, by what the summary is sure of,
const REGULAR_SHARE: f64 = 1.0 / 64.0;
/// and with so many requests at least.
const REGULAR_REQUESTS: u16 = 4;
/// Fewer requests than these say nothing of how callers are.
const KNOWN_MIN: u16 = 64;
/// So much must come from others than regulars for ordinary callers to be a crowd.
const CROWD_SHARE: f64 = 0.05;
/// A source with more than the total over this is counted among the regulars only. It is what a
/// cell can hold.
const STEADY_PART: u16 = 16;
/// Words of either half of the filter.
const FILTER_WORDS: usize = 4;
/// The older half of the filter is forgotten when so many bits of the newer are set: half.
const FILTER_BITS_SET_MAX: u32 = 128;
/// Whoever sends so many requests in a time is not seen in it at all once in twenty times.
const UNSEEN: f64 = 3.0;
/// Standard errors by which counts are taken at their worst.
const WORST: f64 = 2.0;

/// Always-on summary of one function's callers.
#[derive(Debug, Clone)]
pub struct Reference {
    addresses: Summary,
    /// Requests of no regular, by address.
    cells: [u8; CELLS],
    prefixes: [u16; PREFIX_CELLS],
    known: Filter,
    recent: [u16; RECENT],
    /// Requests.
    total: u16,
    /// Of these, invocations and triggers that failed.
    failed: u16,
    /// Of these, the ones from an address that the filter did not know.
    strange: u16,
    /// Of these, the ones from no regular,
    others: u16,
    /// and how often one of them was from the same address as one of the latest.
    same: u16,
}

/// Range of the share of the ordinary requests that is one source's own, and the best estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ordinary {
    /// At least.
    pub low: f64,
    /// Best estimate.
    pub share: f64,
    /// At most.
    pub high: f64,
}

impl Default for Reference {
    fn default() -> Self {
        Self {
            addresses: Summary::default(),
            cells: [0; CELLS],
            prefixes: [0; PREFIX_CELLS],
            known: Filter::default(),
            recent: [0; RECENT],
            total: 0,
            failed: 0,
            strange: 0,
            others: 0,
            same: 0,
        }
    }
}

impl Reference {
    /// Notes one request, and whether it failed.
    pub fn add(&mut self, address: SourceSlot, failed: bool) {
        let print = print_of(address.hash);
        self.total += 1;
        self.failed += u16::from(failed);
        self.strange += u16::from(self.known.add(print));
        let place = self.addresses.add(print);
        let network = cell_of(prefix_print_of(address.hash), PREFIX_CELLS);
        self.prefixes[network] += 1;
        // Whoever has more keeps its place among the regulars.
        if self.addresses.sure(place) <= self.total / STEADY_PART {
            let cell = &mut self.cells[cell_of(print, CELLS)];
            *cell = cell.saturating_add(1);
        }
        if !self.is_regular(place) {
            // Zero stands for nobody.
            let short = u16::try_from(print >> 16).unwrap_or_default().max(1);
            let same = self.recent.iter().map(|&one| u16::from(one == short)).sum::<u16>();
            self.recent[usize::from(self.others) % RECENT] = short;
            self.others += 1;
            self.same += same;
        }
        if self.total >= TOTAL_MAX {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.addresses.halve();
        self.cells.iter_mut().for_each(|cell| *cell /= 2);
        self.prefixes.iter_mut().for_each(|cell| *cell /= 2);
        let counts = [&mut self.total, &mut self.failed, &mut self.strange, &mut self.others];
        counts.into_iter().for_each(|count| *count /= 2);
        self.same /= 2;
    }

    /// How many requests it stands for.
    pub fn requests(&self) -> u16 {
        self.total
    }

    /// Share of the requests that failed; `None` where nothing is known.
    pub fn failed_share(&self) -> Option<f64> {
        (self.total > 0).then(|| f64::from(self.failed) / f64::from(self.total))
    }

    /// Share of the requests that came from addresses the filter did not know.
    pub fn strange_share(&self) -> f64 {
        f64::from(self.strange) / f64::from(self.total.max(1))
    }

    /// The same if every request came from an address never seen: the filter has false positives.
    pub fn strange_share_of_strangers(&self) -> f64 {
        self.known.unset_share()
    }

    /// Whether the filter does not know an address.
    pub fn is_strange(&self, hash: u64) -> bool {
        !self.known.has(print_of(hash))
    }

    /// Whether an address has a share of its own in ordinary traffic.
    pub fn is_regular_address(&self, hash: u64) -> bool {
        self.addresses.find(print_of(hash)).is_some_and(|place| self.is_regular(place))
    }

    fn is_regular(&self, place: usize) -> bool {
        let sure = self.addresses.sure(place);
        sure >= REGULAR_REQUESTS && f64::from(sure) >= REGULAR_SHARE * f64::from(self.total)
    }

    /// What is ordinary for an address.
    pub fn ordinary_address(&self, hash: u64) -> Ordinary {
        let print = print_of(hash);
        let place = self.addresses.find(print).filter(|&place| self.is_regular(place));
        if let Some(place) = place {
            return self.range(self.addresses.sure(place), self.addresses.weights[place]);
        }
        let cell = cell_of(print, CELLS);
        let ordinary = self.beyond_most(self.cells.map(u16::from), cell);
        let full = self.total / STEADY_PART / 2;
        if u16::from(self.cells[cell]) < full.max(1) {
            return ordinary;
        }
        // It may have been a steady one for a while; SpaceSaving itself bounds who is no longer.
        Ordinary { high: ordinary.high.max(2.0 / f64::from(STEADY_PART)), ..ordinary }
    }

    /// What is ordinary for a network, given by the hash of any address in it.
    pub fn ordinary_prefix(&self, hash: u64) -> Ordinary {
        self.beyond_most(self.prefixes, cell_of(prefix_print_of(hash), PREFIX_CELLS))
    }

    /// What one source in a cell has: what is beyond the middle of all cells.
    fn beyond_most<const N: usize>(&self, cells: [u16; N], place: usize) -> Ordinary {
        let mut sorted = cells;
        sorted.sort_unstable();
        // Others are in the same cell, as many as in one of the emptiest at least.
        let (few, middle) = (sorted[N / 10], sorted[N / 2]);
        let total = f64::from(self.total.max(1));
        let most = f64::from(cells[place].saturating_sub(few)) + UNSEEN;
        let share = f64::from(cells[place].saturating_sub(middle)) / total;
        Ordinary { low: 0.0, share, high: (most / total).min(1.0) }
    }

    fn range(&self, sure: u16, most: u16) -> Ordinary {
        let total = f64::from(self.total.max(1));
        let (sure, most) = (f64::from(sure), f64::from(most));
        Ordinary {
            low: (sure - WORST * libm::sqrt(sure)).max(0.0) / total,
            share: sure / total,
            high: ((most + WORST * libm::sqrt(most + 1.0)) / total).min(1.0),
        }
    }

    /// About how many addresses it has seen lately; some hundreds are as many as can be told.
    pub fn distinct(&self) -> f64 {
        self.known.distinct()
    }

    /// Chance that two requests of no regular, close to one another, are from the same address, at
    /// most.
    fn unlike_others(&self) -> f64 {
        let pairs = RECENT as f64 * f64::from(self.others.max(1));
        let same = f64::from(self.same);
        ((same + WORST * libm::sqrt(same + 1.0) + 1.0) / pairs).min(1.0)
    }

    /// Chance that two requests are from the same address, at most, when the busiest address is
    /// left out: how unlike one another ordinary callers are, as one number. `None` where hardly
    /// anybody but regulars calls, who say nothing of what a crowd would be like.
    pub fn unlike(&self) -> Option<f64> {
        let total = f64::from(self.total);
        if self.total < KNOWN_MIN || f64::from(self.others) < CROWD_SHARE * total {
            return None;
        }
        let mut regulars: [u16; ADDRESSES] = std::array::from_fn(|place| {
            if self.is_regular(place) { self.addresses.sure(place) } else { 0 }
        });
        regulars.sort_unstable_by_key(|&sure| Reverse(sure));
        let shares = regulars.map(|sure| f64::from(sure) / total);
        let left = (1.0 - shares[0]).max(1e-3);
        let regular: f64 = shares[1..].iter().sum();
        let squares: f64 = shares[1..].iter().map(|share| share * share).sum();
        let others = (left - regular).max(0.0);
        let chance = (squares + others * others * self.unlike_others()) / (left * left);
        Some(chance.min(UNLIKE_MAX))
    }
}

/// SpaceSaving (Metwally, Agrawal, El Abbadi, ICDT 2005).
#[derive(Debug, Clone, Default)]
struct Summary {
    prints: [u32; ADDRESSES],
    weights: [u16; ADDRESSES],
    errors: [u16; ADDRESSES],
}

impl Summary {
    fn find(&self, print: u32) -> Option<usize> {
        self.prints.iter().position(|&known| known == print)
    }

    /// Returns where it stands.
    fn add(&mut self, print: u32) -> usize {
        if let Some(place) = self.find(print) {
            self.weights[place] += 1;
            return place;
        }
        let least = (0..ADDRESSES).min_by_key(|&place| self.weights[place]).unwrap_or_default();
        self.prints[least] = print;
        self.errors[least] = self.weights[least];
        self.weights[least] += 1;
        least
    }

    fn sure(&self, place: usize) -> u16 {
        self.weights[place] - self.errors[place]
    }

    fn halve(&mut self) {
        for (weight, error) in self.weights.iter_mut().zip(&mut self.errors) {
            // The error rounds up, so that what is sure stays sure.
            *weight /= 2;
            *error = error.div_ceil(2).min(*weight);
        }
    }
}

/// Bloom filter with one hash function in two halves, of which the older is forgotten in turn.
#[derive(Debug, Clone, Default)]
struct Filter {
    newer: [u64; FILTER_WORDS],
    older: [u64; FILTER_WORDS],
}

impl Filter {
    /// Returns whether it was not known.
    fn add(&mut self, print: u32) -> bool {
        let (word, bit) = Self::place(print);
        if self.newer[word] & bit != 0 {
            return false;
        }
        let is_new = self.older[word] & bit == 0;
        self.newer[word] |= bit;
        if self.newer.iter().map(|word| word.count_ones()).sum::<u32>() > FILTER_BITS_SET_MAX {
            self.older = self.newer;
            self.newer = [0; FILTER_WORDS];
            self.newer[word] = bit;
        }
        is_new
    }

    fn has(&self, print: u32) -> bool {
        let (word, bit) = Self::place(print);
        (self.newer[word] | self.older[word]) & bit != 0
    }

    fn place(print: u32) -> (usize, u64) {
        let at = print as usize % (64 * FILTER_WORDS);
        (at / 64, 1 << (at % 64))
    }

    /// Linear counting (Whang, Vander-Zanden, Taylor, ACM TODS 15(2), 1990).
    fn distinct(&self) -> f64 {
        let bits = (64 * FILTER_WORDS) as f64;
        -bits * libm::log(self.unset_share().max(0.5 / bits))
    }

    fn unset_share(&self) -> f64 {
        let both = self.newer.iter().zip(&self.older);
        let unset: u32 = both.map(|(newer, older)| (newer | older).count_zeros()).sum();
        f64::from(unset) / (64 * FILTER_WORDS) as f64
    }
}

/// 32 bits of both halves of an address's hash.
fn print_of(hash: u64) -> u32 {
    let [lower, upper] = halves(hash);
    lower ^ upper.rotate_left(16)
}

fn cell_of(print: u32, cells: usize) -> usize {
    (print >> 8) as usize % cells
}

fn prefix_print_of(hash: u64) -> u32 {
    halves(hash)[1]
}

fn halves(hash: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

kept!(Reference {
    addresses,
    cells,
    prefixes,
    known,
    recent,
    total,
    failed,
    strange,
    others,
    same,
});
kept!(Summary { prints, weights, errors });
kept!(Filter { newer, older });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_at_most_256_bytes() {
        assert!(size_of::<Reference>() <= 256, "{}", size_of::<Reference>());
    }
}
