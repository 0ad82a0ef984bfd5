//! What must hold of bursar in a scenario, over all seeds.

use serde::Serialize;

use super::section::Section;

/// Limits; what is not given is not checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Expect {
    /// Every attack is noticed within this many milliseconds of its onset.
    pub detected_within_ms: Option<u64>,
    /// Milliseconds of the attack's burn beyond what delays make unavoidable, at the median.
    pub beyond_p50_ms: Option<u64>,
    /// The same at the 99th percentile.
    pub beyond_p99_ms: Option<u64>,
    /// Dollars leaked over those of the oracle, at most.
    pub oracle_ratio_max: Option<f64>,
    /// Share of the leak without anybody's doing that is saved, at least.
    pub saved_share_min: Option<f64>,
    /// Share of legitimate requests that are denied, at most.
    pub denied_share_max: Option<f64>,
    /// Everything is given back within this many milliseconds of the end of the last attack.
    pub restored_within_ms: Option<u64>,
    /// Changes that let in less, at most.
    pub actions_max: Option<u32>,
    /// A bound on an hour of the window is told, and the function's spend stays below each.
    pub bound_holds: bool,
    /// The share of legitimate requests that is said to be refused differs from what is denied by
    /// at most this share of it.
    pub refused_error_max: Option<f64>,
}

impl Expect {
    pub(super) fn read(section: Section<'_>) -> Self {
        let time = ("0s", "31d");
        let expect = Self {
            detected_within_ms: section.span("detected_within", time),
            beyond_p50_ms: section.span("beyond_p50", time),
            beyond_p99_ms: section.span("beyond_p99", time),
            oracle_ratio_max: section.number("oracle_ratio_max", 0.0..=1e6),
            saved_share_min: section.number("saved_share_min", 0.0..=1.0),
            denied_share_max: section.number("denied_share_max", 0.0..=1.0),
            restored_within_ms: section.span("restored_within", time),
            actions_max: section.whole("actions_max", 0..=1_000_000),
            bound_holds: section.flag("bound_holds"),
            refused_error_max: section.number("refused_error_max", 0.0..=1e6),
        };
        section.finish();
        expect
    }
}
