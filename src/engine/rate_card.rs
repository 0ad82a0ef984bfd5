//! Prices resolved once per kind of function, so that functions carry an index.

use crate::cost::{CostSettings, FunctionRates, PriceBook};
use crate::keep::kept;
use crate::record::{Architecture, FunctionRef};
use crate::units::{EventTime, MbMillis};

/// Index of a price row.
pub type RateIndex = u16;

/// What decides a price row; the same on every shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RateKey {
    region: Box<str>,
    arm: bool,
    drag: usize,
    gateway_seen: bool,
}

impl RateKey {
    /// The region; empty for all that have no prices of their own.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The processor architecture.
    pub fn architecture(&self) -> Architecture {
        if self.arm { Architecture::Arm64 } else { Architecture::X86_64 }
    }
}

/// All price rows in use.
#[derive(Debug, Clone)]
pub struct RateCard {
    book: PriceBook,
    settings: CostSettings,
    /// With the time at whose prices they are.
    rows: Vec<(RateKey, FunctionRates, EventTime)>,
}

impl RateCard {
    /// No row yet; they are made as functions appear.
    pub fn new(book: PriceBook, settings: CostSettings) -> Self {
        Self { book, settings, rows: Vec::new() }
    }

    /// The row for a function that is first seen at `at`; `gateway_seen` says that requests come
    /// to it through an API. The marginal price is that of the first step: the dearest, and an
    /// attack does not wait for a discount.
    pub fn resolve(
        &mut self,
        function: &FunctionRef<'_>,
        architecture: Architecture,
        gateway_seen: bool,
        at: EventTime,
    ) -> RateIndex {
        let overrides = &self.settings.functions;
        let matching = overrides.iter().position(|entry| entry.functions.matches(function));
        let drag = matching.map_or(&self.settings.drag, |index| &overrides[index].drag);
        let which = matching.unwrap_or(overrides.len());
        let arm = architecture == Architecture::Arm64;
        // All regions without prices share one row: names of regions are written by whoever writes
        // the records, and the table must stay as small as the price book.
        let known = self.book.regions().any(|known| known == function.region);
        let region = if known { function.region } else { "" };
        let same = |(key, ..): &(RateKey, FunctionRates, EventTime)| {
            key.drag == which
                && key.arm == arm
                && key.gateway_seen == gateway_seen
                && *key.region == *region
        };
        let found = self.rows.iter().position(same).unwrap_or_else(|| {
            let prices = self.book.rates(region, architecture, at);
            let rates = FunctionRates::new(&prices, MbMillis(0), &drag.seen(gateway_seen), None);
            let key = RateKey { region: region.into(), arm, drag: which, gateway_seen };
            self.rows.push((key, rates, at));
            self.rows.len() - 1
        });
        RateIndex::try_from(found).unwrap_or_default()
    }

    /// The row that another card had with this key. Where the configuration has lost its drag
    /// meanwhile, it is the general one.
    pub fn regain(&mut self, mut key: RateKey, at: EventTime) -> RateIndex {
        key.drag = key.drag.min(self.settings.functions.len());
        let known = self.rows.iter().position(|(other, ..)| *other == key);
        let found = known.unwrap_or_else(|| {
            let overrides = self.settings.functions.get(key.drag);
            let drag = overrides.map_or(&self.settings.drag, |entry| &entry.drag);
            let prices = self.book.rates(&key.region, key.architecture(), at);
            let drag = drag.seen(key.gateway_seen);
            self.rows.push((key, FunctionRates::new(&prices, MbMillis(0), &drag, None), at));
            self.rows.len() - 1
        });
        RateIndex::try_from(found).unwrap_or_default()
    }

    /// The time at whose prices a row is.
    pub fn priced_at(&self, index: RateIndex) -> EventTime {
        self.rows[usize::from(index)].2
    }

    /// The prices of a row.
    pub fn rates(&self, index: RateIndex) -> &FunctionRates {
        &self.rows[usize::from(index)].1
    }

    /// What decides a row.
    pub fn key(&self, index: RateIndex) -> &RateKey {
        &self.rows[usize::from(index)].0
    }
}

kept!(RateKey { region, arm, drag, gateway_seen });
