//! What happens when: a timing wheel with one slot a millisecond, and an ordered map beyond it.
//!
//! Times are whole milliseconds, so what shares one is a plain queue, and the order of creation
//! needs no number to be kept: entries of the map come into the wheel as soon as it reaches their
//! time, before anything could be put there directly. Both ends cost the same however much is
//! waiting, where a tree or a heap of some hundred thousand entries costs a dozen cache misses.
//! (Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987,
//! doi 10.1145/41457.37504.)

use std::collections::BTreeMap;

use crate::units::EventTime;

/// Slots: 65.5 seconds, so that a minute of load announced ahead fits.
const SLOTS: usize = 1 << 16;
const WORDS: usize = SLOTS / 64;
const NONE: u32 = u32::MAX;

/// Entries in the order of their time, then of their creation.
#[derive(Debug, Clone)]
pub(super) struct Calendar<T> {
    /// The wheel covers this millisecond and the `SLOTS` - 1 after it.
    now: i64,
    slots: Box<[Slot]>,
    /// One bit a slot, and one bit a word of those.
    occupied: Box<[u64]>,
    summary: [u64; WORDS / 64],
    nodes: Vec<Node<T>>,
    free: u32,
    later: BTreeMap<i64, Vec<T>>,
}

/// First and last entry of a millisecond.
#[derive(Debug, Clone, Copy)]
struct Slot {
    head: u32,
    tail: u32,
}

#[derive(Debug, Clone)]
struct Node<T> {
    item: Option<T>,
    next: u32,
}

impl<T> Calendar<T> {
    pub(super) fn new(now: EventTime) -> Self {
        Self {
            now: now.ms(),
            slots: vec![Slot { head: NONE, tail: NONE }; SLOTS].into_boxed_slice(),
            occupied: vec![0; WORDS].into_boxed_slice(),
            summary: [0; WORDS / 64],
            nodes: Vec::new(),
            free: NONE,
            later: BTreeMap::new(),
        }
    }

    /// Adds an entry; times that have passed are taken as now.
    pub(super) fn push(&mut self, at: EventTime, item: T) {
        let ms = at.ms().max(self.now);
        if ms - self.now < SLOTS as i64 {
            self.put(ms, item);
        } else {
            self.later.entry(ms).or_default().push(item);
        }
    }

    /// Takes the first entry if it is not after `until`. Without one, time moves to `until`.
    pub(super) fn pop(&mut self, until: EventTime) -> Option<(EventTime, T)> {
        match self.next_ms().filter(|next| *next <= until.ms()) {
            Some(next) => {
                self.move_to(next);
                Some((EventTime::saturating_from_ms(next), self.take(next)?))
            }
            None => {
                self.move_to(until.ms());
                None
            }
        }
    }

    /// When the first entry is.
    pub(super) fn next_at(&self) -> Option<EventTime> {
        self.next_ms().map(EventTime::saturating_from_ms)
    }

    fn next_ms(&self) -> Option<i64> {
        // What is beyond the wheel is after all that is in it.
        let in_wheel = self.next_slot().map(|slot| {
            let ahead = slot.wrapping_sub(slot_of(self.now)) % SLOTS;
            self.now + ahead as i64
        });
        in_wheel.or_else(|| self.later.first_key_value().map(|(ms, _)| *ms))
    }

    /// The first occupied slot from the present one on, around the wheel.
    fn next_slot(&self) -> Option<usize> {
        let from = slot_of(self.now);
        let word = from / 64;
        let rest = self.occupied[word] & (u64::MAX << (from % 64));
        if rest != 0 {
            return Some(word * 64 + rest.trailing_zeros() as usize);
        }
        let word = first_set(&self.summary, word + 1).or_else(|| first_set(&self.summary, 0))?;
        Some(word * 64 + self.occupied[word].trailing_zeros() as usize)
    }

    fn move_to(&mut self, ms: i64) {
        self.now = self.now.max(ms);
        while let Some(entry) = self.later.first_entry() {
            let at = *entry.key();
            if at - self.now >= SLOTS as i64 {
                break;
            }
            entry.remove().into_iter().for_each(|item| self.put(at, item));
        }
    }

    fn put(&mut self, ms: i64, item: T) {
        let node = Node { item: Some(item), next: NONE };
        let index = if self.free == NONE {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            index
        };
        let slot = slot_of(ms);
        let tail = self.slots[slot].tail;
        if tail == NONE {
            self.slots[slot].head = index;
            self.occupied[slot / 64] |= 1 << (slot % 64);
            self.summary[slot / 64 / 64] |= 1 << (slot / 64 % 64);
        } else {
            self.nodes[tail as usize].next = index;
        }
        self.slots[slot].tail = index;
    }

    fn take(&mut self, ms: i64) -> Option<T> {
        let slot = slot_of(ms);
        let index = self.slots[slot].head;
        let node = self.nodes.get_mut(index as usize)?;
        let item = node.item.take();
        let next = std::mem::replace(&mut node.next, self.free);
        self.free = index;
        self.slots[slot].head = next;
        if next == NONE {
            self.slots[slot].tail = NONE;
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            if self.occupied[slot / 64] == 0 {
                self.summary[slot / 64 / 64] &= !(1 << (slot / 64 % 64));
            }
        }
        item
    }
}

/// The low bits of a time; all times are after 1970.
fn slot_of(ms: i64) -> usize {
    usize::try_from(ms.rem_euclid(SLOTS as i64)).unwrap_or(0)
}

/// The first bit that is set at or after `from`.
fn first_set(words: &[u64], from: usize) -> Option<usize> {
    let first = words.get(from / 64)? & (u64::MAX << (from % 64));
    if first != 0 {
        return Some(from / 64 * 64 + first.trailing_zeros() as usize);
    }
    let index = (from / 64 + 1..words.len()).find(|index| words[*index] != 0)?;
    Some(index * 64 + words[index].trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const START: EventTime = EventTime::saturating_from_ms(1_767_600_000_000);

    proptest! {
        #[test]
        fn entries_come_as_from_a_map_ordered_by_time_and_number(
            steps in prop::collection::vec((0_i64..200_000, 0_i64..90_000), 1..400),
        ) {
            let mut calendar = Calendar::new(START);
            let mut map = BTreeMap::new();
            let mut now = START;
            for (number, (ahead, step)) in steps.into_iter().enumerate() {
                // Few different times, so that many share one.
                let at = now.plus_ms(ahead / 500 * 500);
                calendar.push(at, number);
                map.insert((at, number), ());
                if number % 3 != 0 {
                    continue;
                }
                now = now.plus_ms(step);
                prop_assert_eq!(calendar.next_at(), map.first_key_value().map(|(key, ())| key.0));
                while let Some((key, ())) = map.first_key_value().filter(|(key, ())| key.0 <= now) {
                    prop_assert_eq!(calendar.pop(now), Some(*key));
                    map.pop_first();
                }
                prop_assert_eq!(calendar.pop(now), None);
            }
            for (key, ()) in map {
                prop_assert_eq!(calendar.pop(EventTime::MAX), Some(key));
            }
            prop_assert_eq!(calendar.next_at(), None);
        }
    }

    #[test]
    fn what_is_pushed_into_the_past_comes_now() {
        let mut calendar = Calendar::new(START);
        calendar.push(START.plus_ms(-5), "past");
        assert_eq!(calendar.pop(START), Some((START, "past")));
    }
}
