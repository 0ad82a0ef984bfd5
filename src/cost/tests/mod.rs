//! Whole bills, price files, forecasts and projections, seen from outside.

mod bills;
mod forecasts;
mod price_books;
mod projections;

use crate::cost::{Drag, FunctionRates, PriceBook};
use crate::record::Architecture;
use crate::units::{EventTime, MbMillis};

fn at(text: &str) -> EventTime {
    text.parse().unwrap()
}

fn today() -> EventTime {
    at("2026-11-15T12:00:00Z")
}

/// us-east-1 on x86, at the first price step.
fn virginia(drag: &Drag) -> FunctionRates {
    let rates = PriceBook::builtin().rates("us-east-1", Architecture::X86_64, today());
    FunctionRates::new(&rates, MbMillis(0), drag, None)
}
