//! One policy over one seed.

use serde::Serialize;

use super::measures::{
    Span, beyond, bounds, contained, detection, is_false, oscillations, reached, refusals,
};
use crate::simulation::closed_loop::{Run, Trial};
use crate::simulation::plant::Direction;
use crate::simulation::scenario::Scenario;
use crate::units::NanoUsd;

/// A month, in milliseconds.
const MONTH_MS: f64 = 30.0 * 86_400_000.0;

/// One policy over one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunScore {
    /// The policy.
    pub policy: &'static str,
    /// The seed.
    pub seed: u64,
    /// From the onset of each attack to the first alarm about it; null where there was none.
    pub detection_delays_ms: Vec<Option<i64>>,
    /// From the first onset until it is contained; null where it never is.
    pub contained_ms: Option<i64>,
    /// What hostile requests cost.
    pub leaked_nano_usd: NanoUsd,
    /// Less than without anybody's doing by this much.
    pub saved_nano_usd: NanoUsd,
    /// The leak beyond what is unavoidable, in milliseconds of the attack's mean burn.
    pub beyond_ms: Option<i64>,
    /// The leak over the least that is reached at no more requests denied.
    pub oracle_ratio: Option<f64>,
    /// What legitimate requests cost.
    pub legitimate_nano_usd: NanoUsd,
    /// Legitimate requests that were denied.
    pub denied: u64,
    /// Their share.
    pub denied_share: f64,
    /// Changes that let in less.
    pub actions: u64,
    /// Of these, without an attack on their target.
    pub false_actions: u64,
    /// The same for each function and month.
    pub false_actions_per_function_month: f64,
    /// From the end of the last attack until everything is given back; null where it is not, or
    /// where nothing was taken.
    pub restored_ms: Option<i64>,
    /// Something was taken and not given back by the end.
    pub holding: bool,
    /// Changes that let in less again after more.
    pub oscillations: u64,
    /// Control calls, refused ones included.
    pub calls: u64,
    /// Bounds that were told of an hour of the window, and how many of them the victim's spend
    /// passed.
    pub bounds: u64,
    /// See `bounds`.
    pub bounds_passed: u64,
    /// The same hour's spend without anybody's doing over the bound, where that is most: far below
    /// one a bound says little.
    pub bound_reach: Option<f64>,
    /// Share of the victims' legitimate requests that was said to be refused, mean over those that
    /// came while something was held.
    pub refused_told: Option<f64>,
    /// Share of these that was denied.
    pub refused_measured: Option<f64>,
    /// It watches a budget, and that never gave it a reason to act.
    pub is_idle: bool,
    /// Promises that were not kept.
    pub broken: Vec<String>,
}

impl RunScore {
    /// Scores a run beside the others of its trial.
    pub(super) fn new(scenario: &Scenario, trial: &Trial, run: &Run) -> Self {
        let none = Run::default();
        let nothing = trial.runs.first().unwrap_or(&none);
        let span = Span::of(scenario, &trial.attacks);
        let first = span.as_ref().map_or(0, |span| span.onset);
        let leaked = run.leaked();
        let (offered, denied) = run.asked_from(first);
        let actions = run.changes.iter().filter(|change| change.direction == Direction::Tighter);
        let false_actions =
            actions.clone().filter(|change| is_false(scenario, trial, run, change)).count() as u64;
        let months = scenario.length_ms as f64 / MONTH_MS * scenario.functions.len() as f64;
        let restored = run.restored_at.filter(|_| !run.changes.is_empty());
        let end = trial.attacks.iter().map(|attack| attack.end).max();
        let bounds = bounds(scenario, run, nothing);
        let refused = refusals(scenario, run);
        let ratio = |of: NanoUsd| (of.0 > 0).then(|| leaked.usd() / of.usd());
        Self {
            policy: run.policy,
            seed: trial.seed,
            detection_delays_ms: detection(scenario, trial, run),
            contained_ms: span
                .as_ref()
                .and_then(|span| contained(span.during(&run.ticks), span.during(&nothing.ticks))),
            leaked_nano_usd: leaked,
            saved_nano_usd: nothing.leaked().minus(leaked),
            beyond_ms: span.as_ref().and_then(|span| beyond(span, leaked, &nothing.ticks)),
            oracle_ratio: reached(&trial.reach, denied).filter(|_| span.is_some()).and_then(ratio),
            legitimate_nano_usd: run.ticks.iter().map(|tick| tick.cost).sum(),
            denied,
            denied_share: denied as f64 / offered.max(1) as f64,
            actions: actions.count() as u64,
            false_actions,
            false_actions_per_function_month: false_actions as f64 / months,
            restored_ms: restored.zip(end).map(|(at, end)| at.since_ms(end).max(0)),
            holding: run.holding,
            oscillations: oscillations(&run.changes),
            calls: run.calls,
            bounds: bounds.told,
            bounds_passed: bounds.passed,
            bound_reach: bounds.reach,
            refused_told: refused.map(|(told, _)| told),
            refused_measured: refused.map(|(_, measured)| measured),
            is_idle: run.is_idle,
            broken: run.broken.clone(),
        }
    }
}
