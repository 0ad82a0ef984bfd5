//! The nearest of all that was seen.
//!
//! An exact search, not an approximate one: points are kept in the order of their newest value, and
//! the search goes outwards from there until that value alone is further off than the nearest point
//! found. A metric repeats itself, so it mostly ends after a few steps.

use std::collections::{BTreeMap, VecDeque};

/// Points that are remembered; the oldest are forgotten. Three weeks of minutes, sixteen of
/// five minutes.
pub const POINTS_MAX: usize = 32_768;

/// Differences below this share of the numbers themselves are what rounding leaves.
const ROUNDING: f64 = 1e-9;

/// Where a point stands: its newest value, as an integer of the same order, and its number.
type Place = (u64, u64);

/// Points of `LENGTH` values in a row, newest first.
#[derive(Debug, Default)]
pub struct Memory<const LENGTH: usize> {
    points: BTreeMap<Place, Point<LENGTH>>,
    /// Places in order of age.
    ages: VecDeque<Place>,
    /// The latest points, which overlap the next one or touch it and are like it for that reason.
    waiting: VecDeque<[f64; LENGTH]>,
    number: u64,
}

/// A point as it was given.
#[derive(Debug)]
struct Point<const LENGTH: usize>([f64; LENGTH]);

impl<const LENGTH: usize> Memory<LENGTH> {
    /// The distance to the nearest point, as the sum of the absolute differences; 0 where there is
    /// no point yet. The values are finite.
    pub fn distance(&self, point: &[f64; LENGTH]) -> f64 {
        let (Some(&newest), false) = (point.first(), self.points.is_empty()) else {
            return 0.0;
        };
        let start = (ordered(newest), 0);
        let below = self.points.range(..start).rev();
        let above = self.points.range(start..);
        let nearest = f64::INFINITY;
        let nearest = search(point, below.map(|(_, known)| &known.0), nearest);
        let nearest = search(point, above.map(|(_, known)| &known.0), nearest);
        let size = point.iter().fold(0.0, |size: f64, value| size.max(value.abs()));
        if nearest <= size * ROUNDING { 0.0 } else { nearest }
    }

    /// Keeps a point, to be found once it does not touch the next one any more.
    pub fn remember(&mut self, point: [f64; LENGTH]) {
        self.waiting.push_back(point);
        if self.waiting.len() <= LENGTH {
            return;
        }
        let Some(point) = self.waiting.pop_front() else {
            return;
        };
        let place = (ordered(point.first().copied().unwrap_or_default()), self.number);
        self.number += 1;
        self.points.insert(place, Point(point));
        self.ages.push_back(place);
        if self.ages.len() > POINTS_MAX
            && let Some(oldest) = self.ages.pop_front()
        {
            self.points.remove(&oldest);
        }
    }
}

/// The distance to the nearest of `points`, which come in order of the distance of their newest
/// value, if it is below `nearest`.
fn search<'a, const LENGTH: usize>(
    point: &[f64; LENGTH],
    points: impl Iterator<Item = &'a [f64; LENGTH]>,
    mut nearest: f64,
) -> f64 {
    for known in points {
        let mut differences = point.iter().zip(known).map(|(value, known)| (value - known).abs());
        let first = differences.next().unwrap_or_default();
        if first >= nearest {
            break;
        }
        nearest = nearest.min(first + differences.sum::<f64>());
    }
    nearest
}

/// An integer of the same order as the float (IEEE 754-2019, section 5.10). The two zeros are one.
fn ordered(value: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integer_has_the_order_of_the_float() {
        let values = [f64::MIN, -2.5, -1e-300, 0.0, 1e-300, 1.0, 1.5, 1e18, f64::MAX];
        assert!(values.is_sorted_by_key(|&value| ordered(value)));
        assert_eq!(ordered(-0.0), ordered(0.0));
    }

    #[test]
    fn the_search_finds_what_looking_at_every_point_finds() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 58) as f64) - 30.0
        };
        let mut memory = Memory::<3>::default();
        let mut all: Vec<[f64; 3]> = Vec::new();
        for _ in 0..2_000 {
            let point = [next(), next() * 3.7, next()];
            let found = all.iter().rev().skip(3).map(|known: &[f64; 3]| {
                known.iter().zip(point).map(|(known, value)| (known - value).abs()).sum::<f64>()
            });
            let expected = found.reduce(f64::min).unwrap_or(0.0);
            assert!((memory.distance(&point) - expected).abs() < 1e-9);
            memory.remember(point);
            all.push(point);
        }
    }

    #[test]
    fn the_oldest_points_are_forgotten_at_the_limit() {
        let mut memory = Memory::<1>::default();
        memory.remember([-5.0]);
        for _ in 0..POINTS_MAX {
            memory.remember([1.0]);
        }
        assert_eq!(memory.distance(&[-5.0]), 0.0);
        memory.remember([1.0]);
        assert_eq!(memory.distance(&[-5.0]), 6.0);
        assert_eq!((memory.points.len(), memory.ages.len()), (POINTS_MAX, POINTS_MAX));
    }
}
