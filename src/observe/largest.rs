//! The few largest of many, in one pass and with memory for a few only.

use std::cmp::Ordering;

/// The `count` greatest items, the greatest first. Ties must be broken by `order` for the result
/// to be the same in every run.
pub(super) fn largest<T>(
    items: impl Iterator<Item = T>,
    count: usize,
    order: impl Fn(&T, &T) -> Ordering,
) -> Vec<T> {
    let descending = |a: &T, b: &T| order(b, a);
    if count == 0 {
        return Vec::new();
    }
    // Cutting back at twice the count costs a constant for each item.
    let mut kept: Vec<T> = Vec::new();
    for item in items {
        kept.push(item);
        if kept.len() >= count.saturating_mul(2) {
            kept.select_nth_unstable_by(count - 1, descending);
            kept.truncate(count);
        }
    }
    kept.sort_unstable_by(descending);
    kept.truncate(count);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_result_is_the_head_of_the_sorted_list(
            items in prop::collection::vec(any::<u16>(), 0..200),
            count in 0_usize..40,
        ) {
            let mut sorted = items.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            sorted.truncate(count);
            prop_assert_eq!(largest(items.into_iter(), count, u16::cmp), sorted);
        }
    }
}
