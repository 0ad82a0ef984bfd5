//! Prices resolved once per kind of function, so that functions carry an index.

use crate::cost::{CostSettings, FunctionRates, PriceBook};
use crate::record::{Architecture, FunctionRef};
use crate::units::{EventTime, MbMillis};

/// The most distinct price rows; regions are written by whoever writes the records. Beyond it, the
/// first row of the same architecture stands in.
const ROWS_MAX: usize = 1_024;

/// Index of a price row.
pub type RateIndex = u16;

#[derive(Debug, Clone)]
struct Row {
    region: Box<str>,
    architecture: Architecture,
    drag: usize,
    rates: FunctionRates,
}

/// All price rows in use.
#[derive(Debug, Clone)]
pub struct RateCard {
    book: PriceBook,
    settings: CostSettings,
    rows: Vec<Row>,
}

impl RateCard {
    /// No row yet; they are made as functions appear.
    pub fn new(book: PriceBook, settings: CostSettings) -> Self {
        Self { book, settings, rows: Vec::new() }
    }

    /// The row for a function that is first seen at `at`. The marginal price is that of the first
    /// step: the dearest, and an attack does not wait for a discount.
    pub fn resolve(
        &mut self,
        function: &FunctionRef<'_>,
        architecture: Architecture,
        at: EventTime,
    ) -> RateIndex {
        let drag = self.settings.drag_of(function);
        let overrides = &self.settings.functions;
        let which = overrides.iter().position(|entry| std::ptr::eq(&raw const entry.drag, drag));
        let which = which.unwrap_or(overrides.len());
        let same = |row: &Row| {
            row.architecture == architecture && row.drag == which && *row.region == *function.region
        };
        let found = self.rows.iter().position(same).unwrap_or_else(|| {
            if self.rows.len() >= ROWS_MAX {
                return 0;
            }
            let prices = self.book.rates(function.region, architecture, at);
            let rates = FunctionRates::new(&prices, MbMillis(0), drag, None);
            let region = function.region.into();
            self.rows.push(Row { region, architecture, drag: which, rates });
            self.rows.len() - 1
        });
        RateIndex::try_from(found).unwrap_or_default()
    }

    /// The prices of a row.
    pub fn rates(&self, index: RateIndex) -> &FunctionRates {
        &self.rows[usize::from(index)].rates
    }
}
