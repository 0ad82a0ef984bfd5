//! What one invocation drags along besides Lambda itself: for a small function several times the
//! price of its compute time. Access patterns are not in the billing record, so this is configured
//! per function.

use serde::{Deserialize, Serialize};

/// Text that the platform writes per invocation: START, END and REPORT are about 377 bytes
/// (AWS Lambda Developer Guide, "Viewing CloudWatch logs for Lambda functions"), rounded up.
pub const LOG_BYTES_DEFAULT: u32 = 400;

/// Storage that every function has at no charge, in MB (AWS Lambda Pricing, "Ephemeral storage").
pub const STORAGE_MB_FREE: u32 = 512;

/// What stands in front of the function and is billed per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gateway {
    /// An HTTP API for the functions whose access logs are seen, nothing for the others.
    #[default]
    Observed,
    /// Nothing that is billed per request: queue, schedule, function URL.
    None,
    /// API Gateway HTTP API. Requests are billed in units of 512 KB; one unit is assumed.
    HttpApi,
    /// API Gateway REST API.
    RestApi,
}

/// What a request costs that was turned away.
///
/// API Gateway does not bill requests that it refuses itself (throttled by an account, stage or
/// usage-plan limit, failed authorisation, missing API key), but it does bill a request that it
/// passed on and that Lambda then throttled; Lambda bills neither. Sources: API Gateway Developer
/// Guide, page "api-gateway-pricing" (since withdrawn), and re:Post answers
/// QUm1jSF1ieSQ25Ol1RzFLysA (2020) and QUY2x146iORPmsJHpff8u0eA (confirmed as still the case).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedCharge {
    /// The gateway's request price: right where a function cap refuses behind the gateway, and the
    /// default because it never understates.
    #[default]
    Gateway,
    /// Nothing: right where stage throttles, usage plans or authorisers refuse.
    Free,
    /// So many nano-dollars: 600 for a request that a WAF blocks ($0.60 per million).
    NanoUsd(u64),
}

/// Charges beside Lambda, per invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drag {
    /// What stands in front.
    pub gateway: Gateway,
    /// Bytes of log text per invocation, those of the platform included.
    pub log_bytes: u32,
    /// Bytes sent to the internet per invocation. `None` prices the bytes that access logs report;
    /// a number replaces them, so that nothing is counted twice.
    pub response_bytes: Option<u32>,
    /// Queues, tables and other services that each invocation calls, in nano-dollars.
    pub downstream_nano_usd: u64,
    /// What a refused request costs.
    pub refused: RefusedCharge,
    /// Configured ephemeral storage in MB; 512 are free.
    pub storage_mb: u32,
}

impl Default for Drag {
    fn default() -> Self {
        Self {
            gateway: Gateway::Observed,
            log_bytes: LOG_BYTES_DEFAULT,
            response_bytes: None,
            downstream_nano_usd: 0,
            refused: RefusedCharge::Gateway,
            storage_mb: STORAGE_MB_FREE,
        }
    }
}

impl Drag {
    /// The same with [`Gateway::Observed`] settled.
    #[must_use]
    pub const fn seen(mut self, gateway_seen: bool) -> Self {
        if matches!(self.gateway, Gateway::Observed) {
            self.gateway = if gateway_seen { Gateway::HttpApi } else { Gateway::None };
        }
        self
    }

    /// Lambda alone.
    pub const NONE: Drag = Drag {
        gateway: Gateway::None,
        log_bytes: 0,
        response_bytes: Some(0),
        downstream_nano_usd: 0,
        refused: RefusedCharge::Free,
        storage_mb: STORAGE_MB_FREE,
    };
}
