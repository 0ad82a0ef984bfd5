//! Counts of the last seconds of event time.

use crate::keep::kept;

/// Seconds that are remembered: enough for the latest permitted and the earliest permitted record
/// at once.
pub const RING: i64 = SLOTS as i64;
const SLOTS: usize = 32;

/// One count a second for the last [`RING`] seconds up to the newest.
#[derive(Debug, Clone)]
pub struct SecondRing {
    /// Lower halves of the counts.
    counts: [u16; SLOTS],
    /// Upper halves: hardly any function is ever called 65,536 times within a second.
    high: Option<Box<[u16; SLOTS]>>,
    newest: u32,
}

impl SecondRing {
    /// An empty ring that ends with second `newest`.
    pub fn new(newest: i64) -> Self {
        Self { counts: [0; SLOTS], high: None, newest: whole(newest) }
    }

    /// Counts one in `second`; where that is newer than the newest, the ring moves on. A second
    /// older than the ring is dropped.
    pub fn add(&mut self, second: i64) {
        let newest = self.newest();
        if second > newest {
            // What is skipped was silent; a whole ring at most needs clearing.
            let skipped = (second - newest).min(RING);
            for fresh in second - skipped + 1..=second {
                self.counts[slot(fresh)] = 0;
                if let Some(high) = &mut self.high {
                    high[slot(fresh)] = 0;
                }
            }
            self.newest = whole(second);
        }
        if second > self.newest() - RING {
            let (count, carried) = self.counts[slot(second)].overflowing_add(1);
            self.counts[slot(second)] = count;
            if carried {
                let high = self.high.get_or_insert_default();
                high[slot(second)] = high[slot(second)].saturating_add(1);
            }
        }
    }

    /// The count of one second; zero outside the ring.
    pub fn get(&self, second: i64) -> u64 {
        if second > self.newest() || second <= self.newest() - RING {
            return 0;
        }
        let high = self.high.as_ref().map_or(0, |high| high[slot(second)]);
        u64::from(high) << 16 | u64::from(self.counts[slot(second)])
    }

    /// Reads from all of its cache lines.
    pub fn touch(&self) -> u64 {
        u64::from(self.counts[0] ^ self.counts[SLOTS - 1])
    }

    /// The newest second with a count.
    pub fn newest(&self) -> i64 {
        self.newest.into()
    }

    /// Mean count per second over the `seconds` before `now`, `now` itself left out.
    pub fn rate(&self, now: i64, seconds: i64) -> f64 {
        let sum: u64 = (now - seconds..now).map(|second| self.get(second)).sum();
        sum as f64 / seconds as f64
    }
}

/// Seconds since the epoch; the range of event time ends before they would overflow.
fn whole(second: i64) -> u32 {
    u32::try_from(second.max(0)).unwrap_or(u32::MAX)
}

fn slot(second: i64) -> usize {
    usize::try_from(second.rem_euclid(RING)).unwrap_or_default()
}

kept!(SecondRing { counts, high, newest });

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn more_calls_than_half_a_word_holds_are_counted_and_forgotten() {
        let mut ring = SecondRing::new(0);
        (0..200_000).for_each(|_| ring.add(5));
        assert_eq!((ring.get(5), ring.get(4)), (200_000, 0));
        ring.add(5 + RING);
        assert_eq!((ring.get(5), ring.get(5 + RING)), (0, 1));
    }

    proptest! {
        #[test]
        fn remembers_what_a_map_would_for_the_last_seconds(
            steps in proptest::collection::vec((-40_i64..80, 1_u64..4), 1..200)
        ) {
            let mut ring = SecondRing::new(1_000);
            let mut naive: BTreeMap<i64, u64> = BTreeMap::new();
            let mut newest = 1_000;
            for (step, times) in steps {
                let second = newest + step;
                for _ in 0..times {
                    ring.add(second);
                    if second > newest - RING {
                        *naive.entry(second).or_default() += 1;
                    }
                    newest = newest.max(second);
                }
                naive.retain(|&second, _| second > newest - RING);
                for second in newest - 2 * RING..newest + 5 {
                    let expected = naive.get(&second).copied().unwrap_or_default();
                    prop_assert_eq!(ring.get(second), expected);
                }
            }
        }
    }
}
