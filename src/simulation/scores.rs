//! What came of it, in dollars and in denied requests.
//!
//! - The *leak* is what hostile requests cost, with everything that they drag along.
//! - *Unavoidable* is what they cost without anybody's doing until the first record of the attack
//!   can have come and a change can have taken effect. What leaks beyond that is told in seconds of
//!   the attack's mean burn, so that attacks of different size can be compared.
//! - Requests are *denied* when they are turned away or given up, for whatever reason; each attempt
//!   counts. They are counted, and their share is taken, from the first onset to the end of the
//!   window, or over the whole window where there is no attack.
//! - A change that lets in less is *false* when no attack is on its target: before the onset, more
//!   than a minute after the end, or on a function that is no victim.
//! - An attack is *contained* from the second on after which never more than a tenth leaks of what
//!   leaks at that time without anybody's doing.

mod run;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::simulation::closed_loop::Trial;
use crate::simulation::scenario::Scenario;

pub use run::RunScore;
pub use summary::{PolicyScore, Spread, Verdict};

/// The policy that `[expect]` is about.
pub const GUARD: &str = "bursar";

/// One scenario over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioScore {
    /// Its name.
    pub scenario: String,
    /// What it asks.
    pub question: String,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// One for each policy, in the order of reports.
    pub policies: Vec<PolicyScore>,
    /// Whether what must hold does.
    pub expect: Vec<Verdict>,
}

impl ScenarioScore {
    /// Scores all trials of a scenario.
    pub fn new(scenario: &Scenario, trials: &[Trial]) -> Self {
        let mut runs: Vec<Vec<RunScore>> = Vec::new();
        for trial in trials {
            let nothing = trial.runs.first();
            let oracle = trial.runs.last();
            let Some((nothing, oracle)) = nothing.zip(oracle) else {
                continue;
            };
            for (place, run) in trial.runs.iter().enumerate() {
                let score = RunScore::new(scenario, trial, run, nothing, oracle);
                match runs.get_mut(place) {
                    Some(runs) => runs.push(score),
                    None => runs.push(vec![score]),
                }
            }
        }
        let policies: Vec<_> = runs.into_iter().map(PolicyScore::new).collect();
        let guard = policies.iter().find(|score| score.policy == GUARD);
        let expect = guard.map(|score| summary::verdicts(&scenario.expect, score));
        Self {
            scenario: scenario.name.clone(),
            question: scenario.question.clone(),
            seeds: trials.iter().map(|trial| trial.seed).collect(),
            expect: expect.unwrap_or_default(),
            policies,
        }
    }

    /// Whether everything holds that must.
    pub fn holds(&self) -> bool {
        self.expect.iter().all(|verdict| verdict.holds)
    }
}
