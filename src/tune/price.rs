//! What a run has cost: dollars that leaked, a price for each request denied, and for what should
//! not happen at all.

use serde::{Deserialize, Serialize};

use crate::simulation::closed_loop::Trial;
use crate::simulation::scenario::Scenario;
use crate::simulation::scores::RunScore;
use crate::units::NanoUsd;

/// A promise that was not kept weighs more than any saving.
const BROKEN_USD: f64 = 1_000.0;

/// What things are worth, in dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A legitimate request that was denied.
    pub denied_usd: f64,
    /// A change that lets in less, without an attack on its target.
    pub false_action_usd: f64,
}

/// What came of one run, as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What hostile requests cost beyond what nobody could have avoided.
    pub beyond_nano_usd: NanoUsd,
    /// Legitimate requests that were denied.
    pub denied: u64,
    /// Changes that let in less, without an attack on their target.
    pub false_actions: u64,
    /// Promises that were not kept.
    pub broken: u64,
}

impl Outcome {
    /// Takes it from a score.
    pub fn new(score: &RunScore, unavoidable: NanoUsd) -> Self {
        let beyond = score.leaked_nano_usd.minus(unavoidable);
        Self {
            beyond_nano_usd: beyond.max(NanoUsd::ZERO),
            denied: score.denied,
            false_actions: score.false_actions,
            broken: score.broken.len() as u64,
        }
    }

    /// Priced, in dollars.
    pub fn usd(&self, prices: &Prices) -> f64 {
        self.beyond_nano_usd.usd()
            + self.denied as f64 * prices.denied_usd
            + self.false_actions as f64 * prices.false_action_usd
            + self.broken as f64 * BROKEN_USD
    }
}

/// What the attacks cost without anybody's doing until the first record can have come and a change
/// can have taken effect.
pub fn unavoidable(scenario: &Scenario, trial: &Trial) -> NanoUsd {
    let onset = trial.attacks.iter().map(|attack| attack.onset).min();
    let (Some(onset), Some(nothing)) = (onset, trial.runs.first()) else {
        return NanoUsd::ZERO;
    };
    let delay = scenario.telling_ms() + i64::from(scenario.platform.propagation_ms);
    let second = |ms: i64| usize::try_from(ms.max(0) / 1_000).unwrap_or(usize::MAX);
    let from = onset.since_ms(scenario.start);
    let ticks = nothing.ticks.iter().take(second(from + delay)).skip(second(from));
    ticks.map(|tick| tick.attack_cost).sum()
}
