//! Prices folded for one function, so that pricing its usage is five multiplications.

use serde::Serialize;

use crate::cost::drag::{Drag, Gateway, RefusedCharge, STORAGE_MB_FREE};
use crate::cost::prices::{MB_MS_PER_GB_SECOND, Rates};
use crate::cost::usage::Usage;
use crate::units::{MbMillis, MemoryMb, NanoUsd};

/// Femto-dollars in a nano-dollar.
pub(super) const FEMTO_PER_NANO: u64 = 1_000_000;

/// The smallest memory of a Lambda function in MB, at which storage weighs most.
const MEMORY_MB_MIN: u64 = 128;

/// The largest folded price, in femto-dollars: about $1,150 per request. Five of them still fit 64
/// bits, and times any count 128, so that no sum of a bill saturates before the bill does.
const PRICE_MAX: u64 = 1 << 60;

/// A part of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Lambda's price per request.
    LambdaRequests,
    /// The gateway's price per served request.
    Gateway,
    /// Log text.
    Logs,
    /// Bytes to the internet.
    Egress,
    /// Services that each invocation calls.
    Downstream,
    /// Requests that were turned away.
    Refused,
    /// Memory and storage over time.
    LambdaCompute,
}

/// Everything that one function's usage costs, in femto-dollars (1e-15 USD). Prices are marginal:
/// those of the step that the month's usage has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionRates {
    lambda_request: u64,
    gateway: u64,
    logs: u64,
    downstream: u64,
    /// Per request, where the configuration says how many bytes one answer has.
    egress_request: u64,
    /// Per observed byte, where it does not.
    egress_byte: u64,
    refused: u64,
    compute: u64,
    compute_dearest: u64,
}

impl FunctionRates {
    /// Folds prices and charges; each part is cut at about $1,150 per request. `month_to_date`
    /// picks the price step. `memory` matters only where `drag` has extra storage: storage is
    /// billed by time and usage is counted by memory × time; without it the smallest memory is
    /// assumed, at which storage is dearest.
    pub fn new(
        rates: &Rates,
        month_to_date: MbMillis,
        drag: &Drag,
        memory: Option<MemoryMb>,
    ) -> Self {
        let gateway = match drag.gateway {
            // Unsettled counts as nothing; [`Drag::seen`] settles it.
            Gateway::None | Gateway::Observed => 0,
            Gateway::HttpApi => rates.http_api,
            Gateway::RestApi => rates.rest_api,
        };
        let storage_mb = u64::from(drag.storage_mb.saturating_sub(STORAGE_MB_FREE));
        let memory_mb = memory.map_or(MEMORY_MB_MIN, |memory| u64::from(memory.get()));
        let storage = priced(rates.ephemeral_gb_second, storage_mb).div_ceil(memory_mb.max(1));
        let (egress_request, egress_byte) = match drag.response_bytes {
            Some(bytes) => (priced(rates.egress_byte, u64::from(bytes)), 0),
            None => (0, rates.egress_byte),
        };
        FunctionRates {
            lambda_request: rates.request,
            gateway,
            logs: priced(rates.log_byte, u64::from(drag.log_bytes)),
            downstream: priced(FEMTO_PER_NANO, drag.downstream_nano_usd),
            egress_request,
            egress_byte,
            refused: match drag.refused {
                RefusedCharge::Gateway => gateway,
                RefusedCharge::Free => 0,
                RefusedCharge::NanoUsd(nano) => priced(FEMTO_PER_NANO, nano),
            },
            compute: rates.compute.marginal(month_to_date).saturating_add(storage),
            compute_dearest: rates.compute.dearest().saturating_add(storage),
        }
    }

    /// What `usage` costs, rounded once, half up.
    pub fn cost(&self, usage: &Usage) -> NanoUsd {
        let requests = product(usage.requests, self.served_request());
        let egress = product(usage.response_bytes, self.egress_byte);
        let refused = product(usage.refused, self.refused);
        let flat = requests.saturating_add(egress).saturating_add(refused);
        round_half_up(flat.saturating_add(self.compute_femto(usage.mb_ms)))
    }

    /// The same, in parts. Invariant C2: the parts sum to [`Self::cost`] exactly, because each one
    /// is the difference between two rounded running totals.
    pub fn breakdown(&self, usage: &Usage) -> [(Component, NanoUsd); 7] {
        let requests = usage.requests;
        let egress = product(requests, self.egress_request)
            .saturating_add(product(usage.response_bytes, self.egress_byte));
        let parts = [
            (Component::LambdaRequests, product(requests, self.lambda_request)),
            (Component::Gateway, product(requests, self.gateway)),
            (Component::Logs, product(requests, self.logs)),
            (Component::Egress, egress),
            (Component::Downstream, product(requests, self.downstream)),
            (Component::Refused, product(usage.refused, self.refused)),
            (Component::LambdaCompute, self.compute_femto(usage.mb_ms)),
        ];
        let mut total = 0u128;
        parts.map(|(component, femto)| {
            let before = round_half_up(total);
            total = total.saturating_add(femto);
            (component, round_half_up(total).minus(before))
        })
    }

    /// What the next served request of this size is expected to cost, in dollars; for thresholds
    /// and statistics, never for sums. NaN and negative sizes count as zero.
    pub fn per_request(&self, mean_mb_ms: f64) -> f64 {
        let gb_seconds = mean_mb_ms.max(0.0) / MB_MS_PER_GB_SECOND as f64;
        (self.served_request() as f64 + gb_seconds * self.compute as f64) * 1e-15
    }

    /// What a refused request costs, in dollars.
    pub fn per_refusal(&self) -> f64 {
        self.refused as f64 * 1e-15
    }

    /// Femto-dollars for a served request without its compute time.
    pub(super) fn served_request(&self) -> u64 {
        self.lambda_request
            .saturating_add(self.gateway)
            .saturating_add(self.logs)
            .saturating_add(self.downstream)
            .saturating_add(self.egress_request)
    }

    /// Femto-dollars for a refused request.
    pub(super) const fn refused_request(&self) -> u64 {
        self.refused
    }

    /// Femto-dollars per byte where bytes are observed.
    pub(super) const fn observed_byte(&self) -> u64 {
        self.egress_byte
    }

    /// Femto-dollars per GB-second at the dearest step.
    pub(super) const fn compute_dearest(&self) -> u64 {
        self.compute_dearest
    }

    /// Cut off below one femto-dollar. Every other part is whole, so the cut cannot move the half
    /// at which the total is rounded.
    fn compute_femto(&self, mb_ms: MbMillis) -> u128 {
        product(mb_ms.0, self.compute) / u128::from(MB_MS_PER_GB_SECOND)
    }
}

fn priced(price: u64, count: u64) -> u64 {
    price.saturating_mul(count).min(PRICE_MAX)
}

/// Two 64-bit factors always fit 128 bits.
fn product(count: u64, price: u64) -> u128 {
    u128::from(count) * u128::from(price)
}

/// Femto-dollars to nano-dollars; saturates at the largest amount that can be told.
pub(super) fn round_half_up(femto: u128) -> NanoUsd {
    let half = u128::from(FEMTO_PER_NANO / 2);
    let nano = femto.saturating_add(half) / u128::from(FEMTO_PER_NANO);
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
}

/// Femto-dollars to nano-dollars, for bounds.
pub(super) fn round_up(femto: u128) -> NanoUsd {
    let nano = femto.div_ceil(u128::from(FEMTO_PER_NANO));
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
}
