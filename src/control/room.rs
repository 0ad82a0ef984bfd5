//! How caps share what an account has left of its concurrency: max-min fairness, also called
//! water-filling (Bertsekas and Gallager, Data Networks, 2nd edition, 1992, section 6.5.2). Nobody
//! gets more than it asks for, nobody less than it needs, and what is left is spread so that the
//! smallest get as much as can be.

/// What one cap asks for, in concurrent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// What its legitimate callers need.
    pub least: u32,
    /// What the money allows.
    pub most: u32,
}

impl Claim {
    /// What it gets at this level.
    pub fn at(self, level: u32) -> u32 {
        self.most.min(level).max(self.least)
    }
}

/// The highest level at which all claims together fit in `room`: `u32::MAX` where all get what
/// they ask for, 0 where not even what they need is there.
pub fn level(claims: &[Claim], room: u64) -> u32 {
    let fits = |level: u32| claims.iter().map(|it| u64::from(it.at(level))).sum::<u64>() <= room;
    if fits(u32::MAX) {
        return u32::MAX;
    }
    // Between a level that fits, or zero, and one that does not.
    let (mut low, mut high) = (0, u32::MAX);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn claims(pairs: &[(u32, u32)]) -> Vec<Claim> {
        pairs.iter().map(|&(least, most)| Claim { least, most }).collect()
    }

    #[test]
    fn what_is_left_of_small_claims_goes_to_the_large_ones() {
        let three = claims(&[(1, 10), (1, 100), (1, 100)]);
        assert_eq!(level(&three, 210), u32::MAX);
        assert_eq!(level(&three, 110), 50, "ten, fifty and fifty");
        assert_eq!(level(&three, 9), 3);
        assert_eq!(level(&claims(&[(60, 90), (1, 90)]), 100), 40, "sixty are needed");
        assert_eq!(level(&claims(&[(60, 90), (60, 90)]), 100), 0, "that is not there");
        assert_eq!(level(&[], 0), u32::MAX);
    }

    proptest! {
        #[test]
        fn the_level_fits_and_the_next_one_does_not(
            pairs in vec((0..100_u32, 0..100_u32), 0..20),
            room in 0..1_000_u64,
        ) {
            let claims: Vec<_> = pairs
                .iter()
                .map(|&(least, more)| Claim { least, most: least + more })
                .collect();
            let sum = |level: u32| claims.iter().map(|it| u64::from(it.at(level))).sum::<u64>();
            let found = level(&claims, room);
            prop_assert!(sum(found) <= room || sum(0) > room);
            prop_assert!(found == u32::MAX || sum(found + 1) > room);
        }
    }
}
