//! Prices, usage to money, projections and budgets. Pure: no clock, no input or output.
//!
//! Money is counted in two integer units. Prices are **femto-dollars** (1e-15 USD): a GB-second at
//! $0.0000166667 is 16,666,700,000 of them and one Lambda request 200,000,000, both exact. Amounts
//! are nano-dollars ([`NanoUsd`](crate::units::NanoUsd)). Usage is kept as integers and priced when
//! read, with one rounding (half up) at the end, so the order in which records arrive cannot change
//! a bill. A GB is 10^9 bytes for logs and egress, which overstates by at most 7 % where the bill
//! counts 2^30; a GB of memory is 1,024 MB, as the platform defines it.
//!
//! Named invariants: **C1** every quantile of a projection is monotone in the burn rate; **C2** the
//! parts of a bill sum to the bill; **C3** a loss bound is never below what the same usage costs.

pub mod month;
pub mod pattern;
pub mod prices;
pub mod usage;

mod price_file;

pub mod budget;
pub mod burn;
pub mod drag;
pub mod rates;
pub mod settings;
pub mod tiers;

pub mod account;
pub mod footprint;

pub mod bound;
mod distribution;
pub mod forecast;
pub mod projection;
pub mod season;

pub mod wallet;

pub use account::{AccountBook, UsageQuantiles};
pub use bound::{Exposure, loss_bound};
pub use budget::{Budget, BudgetScope};
pub use burn::{BURN_PAIRS, Burn, BurnMeter, BurnPair, BurnUrgency};
pub use drag::{Drag, Gateway, RefusedCharge};
pub use footprint::{Capacity, Footprint, FootprintBill, StreamTerms, StreamUse};
pub use forecast::Forecaster;
pub use month::Month;
pub use pattern::Pattern;
pub use price_file::PriceProblem;
pub use prices::{PriceBook, Rates};
pub use projection::{
    Exhaustion, History, Projection, ProjectionInput, Quantiles, probability_over, project,
    time_to_exhaustion,
};
pub use rates::{Component, FunctionRates};
pub use season::{Season, Shape};
pub use settings::{CostSettings, DragOverride};
pub use tiers::TierMeter;
pub use usage::Usage;
pub use wallet::{BudgetOutlook, Wallet, Warning, WarningState};

#[cfg(test)]
mod tests;
