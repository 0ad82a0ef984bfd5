//! What is counted before it is priced: integers only, so sums are exact and free of order.

use serde::{Deserialize, Serialize};

use crate::keep::kept;
use crate::units::MbMillis;

/// What a function used over some period. Sums saturate: a count that large is beyond any budget,
/// and a wrapped one would read as a cheap month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Invocations that ran.
    pub requests: u64,
    /// Billed milliseconds × megabytes.
    pub mb_ms: MbMillis,
    /// Requests that were turned away.
    pub refused: u64,
    /// Bytes sent to callers, as access logs report them.
    pub response_bytes: u64,
}

impl Usage {
    /// Nothing.
    pub const ZERO: Usage =
        Usage { requests: 0, mb_ms: MbMillis(0), refused: 0, response_bytes: 0 };

    /// One invocation.
    pub const fn invocation(mb_ms: MbMillis) -> Self {
        Usage { requests: 1, mb_ms, ..Usage::ZERO }
    }

    /// What was added since `earlier`, part by part.
    #[must_use]
    pub const fn since(&self, earlier: &Usage) -> Self {
        Usage {
            requests: self.requests.saturating_sub(earlier.requests),
            mb_ms: MbMillis(self.mb_ms.0.saturating_sub(earlier.mb_ms.0)),
            refused: self.refused.saturating_sub(earlier.refused),
            response_bytes: self.response_bytes.saturating_sub(earlier.response_bytes),
        }
    }

    /// Every part `factor` times, rounded; what is no number and what is negative count as zero.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "float to integer `as` saturates, and NaN is zero"
    )]
    pub fn times(&self, factor: f64) -> Self {
        let times = |count: u64| (count as f64 * factor).round() as u64;
        Usage {
            requests: times(self.requests),
            mb_ms: MbMillis(times(self.mb_ms.0)),
            refused: times(self.refused),
            response_bytes: times(self.response_bytes),
        }
    }

    /// Saturating sum of every part.
    #[must_use]
    pub const fn plus(self, other: Usage) -> Self {
        Usage {
            requests: self.requests.saturating_add(other.requests),
            mb_ms: self.mb_ms.plus(other.mb_ms),
            refused: self.refused.saturating_add(other.refused),
            response_bytes: self.response_bytes.saturating_add(other.response_bytes),
        }
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        *self = self.plus(other);
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(iter: I) -> Self {
        iter.fold(Usage::ZERO, Usage::plus)
    }
}

kept!(Usage { requests, mb_ms, refused, response_bytes });
