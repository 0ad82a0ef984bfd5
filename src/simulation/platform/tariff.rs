//! What the provider charges for what happened, by the prices that the detector reckons with too.
//! The difference is that the provider knows which gateway stands in front, and who refused.

use super::ledger::Counts;
use super::model::FunctionSpec;
use crate::cost::{
    Component, CostSettings, Drag, FunctionRates, Gateway, PriceBook, RefusedCharge, Usage,
};
use crate::simulation::wire::ApiKind;
use crate::units::{EventTime, MbMillis, NanoUsd};

/// A request that the firewall looks at and blocks: $0.60 per million (AWS WAF pricing). The
/// gateway behind it charges nothing then, nor for what it refuses itself.
const BLOCKED_NANO_USD: i64 = 600;

/// Femto-dollars, in which the price of a byte is told.
const FEMTO_PER_NANO: u128 = 1_000_000;

/// Prices of the functions of a platform, in their order; beside each what a byte of log text
/// costs, in femto-dollars.
#[derive(Debug, Clone)]
pub struct Tariff(Box<[(FunctionRates, u64)]>);

impl Tariff {
    /// The prices that hold at `at`, of the first step: an attack does not wait for a discount.
    /// Charges beside Lambda are those of the settings; a gateway that they leave to observation is
    /// the one that is there.
    pub fn new<'a>(
        functions: impl Iterator<Item = &'a FunctionSpec>,
        settings: &CostSettings,
        book: &PriceBook,
        at: EventTime,
    ) -> Self {
        let rates = |spec: &FunctionSpec| {
            let drag = settings.drag_of(&spec.key.as_ref());
            let gateway = match (drag.gateway, spec.api.as_ref().map(|api| api.kind)) {
                (Gateway::Observed, Some(ApiKind::Rest)) => Gateway::RestApi,
                (Gateway::Observed, Some(ApiKind::Http)) => Gateway::HttpApi,
                (Gateway::Observed, None) => Gateway::None,
                (given, _) => given,
            };
            let drag = Drag { gateway, refused: RefusedCharge::Gateway, ..*drag };
            let rates = book.rates(&spec.key.region, spec.architecture, at);
            let log_byte = rates.log_byte;
            (FunctionRates::new(&rates, MbMillis(0), &drag, Some(spec.memory)), log_byte)
        };
        Self(functions.map(rates).collect())
    }

    /// What the counts of one function cost; nothing for a function that is not there.
    pub fn cost(&self, function: usize, counts: &Counts) -> NanoUsd {
        let cost = self.0.get(function).map_or(NanoUsd::ZERO, |(rates, log_byte)| {
            rates.cost(&usage_of(counts)).plus(logs(counts, *log_byte))
        });
        cost.plus(blocked(counts))
    }

    /// The same in parts, which sum to it exactly.
    pub fn breakdown(&self, function: usize, counts: &Counts) -> Vec<(Component, NanoUsd)> {
        let rates = self.0.get(function);
        let mut parts =
            rates.map_or_else(Vec::new, |(rates, _)| rates.breakdown(&usage_of(counts)).to_vec());
        let log_byte = rates.map_or(0, |(_, log_byte)| *log_byte);
        for (component, cost) in &mut parts {
            match component {
                Component::Refused => *cost += blocked(counts),
                Component::Logs => *cost += logs(counts, log_byte),
                _ => {}
            }
        }
        parts
    }
}

/// What is charged for by use. A request that the function's limits refuse has passed the gateway.
fn usage_of(counts: &Counts) -> Usage {
    Usage {
        requests: counts.invocations,
        mb_ms: counts.usage,
        refused: counts.throttled,
        response_bytes: counts.response_bytes,
    }
}

fn logs(counts: &Counts, log_byte: u64) -> NanoUsd {
    let nano = u128::from(counts.log_bytes) * u128::from(log_byte) / FEMTO_PER_NANO;
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
}

fn blocked(counts: &Counts) -> NanoUsd {
    let count = i64::try_from(counts.blocked).unwrap_or(i64::MAX);
    NanoUsd(count.saturating_mul(BLOCKED_NANO_USD))
}
