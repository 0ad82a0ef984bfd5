//! Ranks among all that was seen, exact where it matters: at the top.

/// Numbers that are kept. What ranks below is no surprise: this is the top quarter of two weeks of
/// five-minute values, and an alarm needs the top hundredth.
pub const KEPT_MAX: usize = 1_024;

/// The largest of the numbers seen.
#[derive(Debug, Default)]
pub struct Largest {
    /// Ascending.
    kept: Vec<f64>,
    seen: u64,
}

impl Largest {
    /// Takes a number in.
    pub fn insert(&mut self, number: f64) {
        self.seen += 1;
        if self.kept.len() == KEPT_MAX {
            if self.kept.first().is_some_and(|&least| number <= least) {
                return;
            }
            self.kept.remove(0);
        }
        let rank = self.kept.partition_point(|&kept| kept < number);
        self.kept.insert(rank, number);
    }

    /// How many were at least as large, up to [`KEPT_MAX`].
    pub fn at_least(&self, number: f64) -> usize {
        self.kept.len() - self.kept.partition_point(|&kept| kept < number)
    }

    /// How surprising a number is after all seen, from 0 to 1. The logarithm of its rank, as a
    /// share of the most that could be, goes from 0 to one half; by how much it exceeds the
    /// largest, from there to 1. What is not above zero is no surprise.
    pub fn surprise(&self, number: f64) -> f64 {
        let rank = self.at_least(number);
        if number <= 0.0 || rank >= KEPT_MAX {
            return 0.0;
        }
        let most = libm::log(self.seen as f64 + 2.0);
        let by_rank = 1.0 - libm::log(rank as f64 + 1.0) / most;
        let by_margin = match self.kept.last() {
            Some(&largest) if rank == 0 => (number - largest) / number,
            Some(_) => 0.0,
            None => 1.0,
        };
        f64::midpoint(by_rank, by_margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_grows_with_the_rank_and_then_with_the_margin() {
        let mut largest = Largest::default();
        (1..=999).for_each(|number| largest.insert(f64::from(number)));
        let surprises = [0.0, 1.0, 10.0, 900.0, 998.0, 1_000.0, 2_000.0, 1e300];
        let surprises = surprises.map(|number| largest.surprise(number));
        assert!(surprises.is_sorted(), "{surprises:?}");
        assert_eq!(surprises[0], 0.0);
        assert!((surprises[6] - 0.750_25).abs() < 1e-9, "{surprises:?}");
        assert!(surprises[7] <= 1.0);
    }

    #[test]
    fn only_the_largest_are_kept() {
        let mut largest = Largest::default();
        (0..5_000).for_each(|number| largest.insert(f64::from(number % 2_500)));
        assert_eq!(largest.kept.len(), KEPT_MAX);
        assert_eq!(largest.at_least(2_499.0), 2);
        assert_eq!(largest.at_least(2_400.0), 200);
        assert_eq!(largest.at_least(0.0), KEPT_MAX);
        assert_eq!(largest.surprise(100.0), 0.0);
    }
}
