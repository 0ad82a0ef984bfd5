//! The most that can still be lost under a concurrency cap, whatever the callers do: a sum over
//! limits that the platform itself enforces, with no model of traffic in it.
//!
//! Per second: `C × M × price per GB-second`, plus `min(10 C, C / d_min)` served requests, plus
//! every further request that the gateway lets through and Lambda refuses (a function cap does not
//! stop gateway charges). Ten requests per second and unit of concurrency is Lambda's own limit for
//! synchronous calls (AWS Lambda Developer Guide, "Lambda quotas", invocation requests per
//! function).

use crate::cost::prices::MB_MS_PER_GB_SECOND;
use crate::cost::rates::{FunctionRates, round_up};
use crate::units::{MemoryMb, NanoUsd};

/// Requests per second that Lambda accepts per unit of concurrency.
const REQUESTS_PER_CONCURRENCY: u128 = 10;

/// The longest horizon of a bound, in milliseconds: one year.
const HORIZON_MS_MAX: f64 = 366.0 * 86_400_000.0;

/// What a cap does not limit, as far as it is known. The default is the worst of an ordinary
/// account behind a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// The shortest billed duration of an invocation in milliseconds; below 100 it does not matter,
    /// because of the request limit of synchronous calls.
    pub duration_ms_min: u32,
    /// Requests per second that the gateway lets through: the account's limit or the stage
    /// throttle; 0 without a gateway.
    pub gateway_per_second: u32,
    /// Invocations beyond the cap that were running when it was set; they run to their end.
    pub in_flight_above_cap: u32,
    /// The function's time-out in milliseconds.
    pub timeout_ms: u32,
    /// Provisioned concurrency, which is billed while idle. It is counted at the full price of
    /// on-demand compute, which is above its list price in every region.
    pub provisioned: u32,
    /// Whether asynchronous callers can reach the function; for them Lambda has no request limit
    /// beside concurrency.
    pub asynchronous: bool,
    /// The largest response in bytes, where bytes are priced as observed. 0 leaves egress out of
    /// the bound: the platform's own limit of 6 MB would drown every other part.
    pub response_bytes_max: u32,
}

impl Default for Exposure {
    fn default() -> Self {
        Self {
            duration_ms_min: 1,
            // API Gateway quotas: 10,000 requests per second per account and region.
            gateway_per_second: 10_000,
            in_flight_above_cap: 0,
            // Lambda quotas: function timeout 900 s.
            timeout_ms: 900_000,
            provisioned: 0,
            asynchronous: false,
            response_bytes_max: 0,
        }
    }
}

/// The most that `seconds` under a cap can cost, rounded up, at the dearest price step because the
/// meter may start anew meanwhile. NaN and negative seconds are zero; more than a year is a year.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0 ..= one year in milliseconds"
)]
pub fn loss_bound(
    concurrency_cap: u32,
    memory: MemoryMb,
    rates: &FunctionRates,
    seconds: f64,
    exposure: &Exposure,
) -> NanoUsd {
    let millis = u128::from((seconds * 1e3).clamp(0.0, HORIZON_MS_MAX).ceil() as u64);
    let cap = u128::from(concurrency_cap);
    let busy_ms = (cap + u128::from(exposure.provisioned)) * millis
        + u128::from(exposure.in_flight_above_cap) * u128::from(exposure.timeout_ms);
    let mb_ms = busy_ms * u128::from(memory.get());
    let compute = mb_ms
        .saturating_mul(u128::from(rates.compute_dearest()))
        .div_ceil(u128::from(MB_MS_PER_GB_SECOND));

    let by_quota = (REQUESTS_PER_CONCURRENCY * cap * millis).div_ceil(1_000);
    let by_duration = (cap * millis).div_ceil(u128::from(exposure.duration_ms_min.max(1)));
    let limited = if exposure.asynchronous { by_duration } else { by_quota.min(by_duration) };
    // What was running at the start ends, and is billed, within the horizon.
    let served = limited + cap + u128::from(exposure.in_flight_above_cap);
    let arrived = (u128::from(exposure.gateway_per_second) * millis).div_ceil(1_000);
    let response = u128::from(rates.observed_byte()) * u128::from(exposure.response_bytes_max);
    let served_price = u128::from(rates.served_request()).saturating_add(response);
    let refused_price = u128::from(rates.refused_request());
    let requests = served.saturating_mul(served_price.max(refused_price));
    let refusals = arrived.saturating_sub(served).saturating_mul(refused_price);
    round_up(compute.saturating_add(requests).saturating_add(refusals))
}
