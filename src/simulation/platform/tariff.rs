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

/// Prices of the functions of a platform, in their order.
#[derive(Debug, Clone)]
pub struct Tariff(Box<[FunctionRates]>);

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
            FunctionRates::new(&rates, MbMillis(0), &drag, Some(spec.memory))
        };
        Self(functions.map(rates).collect())
    }

    /// What the counts of one function cost; nothing for a function that is not there.
    pub fn cost(&self, function: usize, counts: &Counts) -> NanoUsd {
        let rates = self.0.get(function);
        let cost = rates.map_or(NanoUsd::ZERO, |rates| rates.cost(&usage_of(counts)));
        cost.plus(blocked(counts))
    }

    /// The same in parts, which sum to it exactly.
    pub fn breakdown(&self, function: usize, counts: &Counts) -> Vec<(Component, NanoUsd)> {
        let rates = self.0.get(function);
        let mut parts =
            rates.map_or_else(Vec::new, |rates| rates.breakdown(&usage_of(counts)).to_vec());
        for (component, cost) in &mut parts {
            if *component == Component::Refused {
                *cost += blocked(counts);
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

fn blocked(counts: &Counts) -> NanoUsd {
    let count = i64::try_from(counts.blocked).unwrap_or(i64::MAX);
    NanoUsd(count.saturating_mul(BLOCKED_NANO_USD))
}
