//! How busy all functions together were.

use std::collections::BTreeMap;

use crate::engine::alarm::MinuteRow;
use crate::units::NanoUsd;

/// The most cells; then they become twice as long. With the gaps between them a line over them has
/// at most three times as many points.
const CELLS_MAX: usize = 600;

/// Usage over equal stretches of time.
#[derive(Debug)]
pub struct Cells {
    /// Length of a cell.
    pub minutes: i64,
    /// What was used, by the number of the cell.
    pub cells: BTreeMap<i64, Cell>,
}

/// What was used in a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// Calls.
    pub requests: u64,
    /// Requests that were turned away.
    pub refused: u64,
    /// What it cost.
    pub nano_usd: NanoUsd,
}

impl Default for Cells {
    fn default() -> Self {
        Self { minutes: 1, cells: BTreeMap::new() }
    }
}

impl Cells {
    /// Adds a function's minute.
    pub(super) fn add(&mut self, row: &MinuteRow) {
        let cell = self.cells.entry(row.minute.div_euclid(self.minutes)).or_default();
        cell.add(Cell {
            requests: row.usage.requests,
            refused: row.usage.refused,
            nano_usd: row.nano_usd,
        });
        while self.cells.len() > CELLS_MAX {
            self.minutes *= 2;
            for (number, cell) in std::mem::take(&mut self.cells) {
                self.cells.entry(number.div_euclid(2)).or_default().add(cell);
            }
        }
    }

    /// First and last second, since the epoch.
    pub fn span(&self) -> Option<(i64, i64)> {
        let (first, last) = self.cells.keys().next().zip(self.cells.keys().next_back())?;
        Some((first * self.minutes * 60, (last + 1) * self.minutes * 60))
    }

    /// The middles of all cells, in seconds since the epoch, with something of them; where nothing
    /// was used there is nothing.
    pub fn line(&self, of: impl Fn(&Cell) -> f64) -> Vec<(f64, f64)> {
        let middle = |number: i64| (number as f64 + 0.5) * self.minutes as f64 * 60.0;
        let mut points = Vec::new();
        let mut before = None;
        for (&number, cell) in &self.cells {
            if let Some(before) = before.filter(|before| before + 1 < number) {
                points.push((middle(before + 1), 0.0));
                if before + 2 < number {
                    points.push((middle(number - 1), 0.0));
                }
            }
            points.push((middle(number), of(cell)));
            before = Some(number);
        }
        points
    }
}

impl Cell {
    fn add(&mut self, other: Cell) {
        self.requests = self.requests.saturating_add(other.requests);
        self.refused = self.refused.saturating_add(other.refused);
        self.nano_usd += other.nano_usd;
    }
}
