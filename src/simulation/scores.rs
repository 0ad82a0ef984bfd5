//! What came of it, in dollars and in denied requests.
//!
//! - The *leak* is what hostile requests cost, with everything that they drag along, in the window
//!   and after it: what is put off is not saved.
//! - *Unavoidable* is what they cost without anybody's doing until the first record of the attack
//!   can have come and a change can have taken effect. What leaks beyond that is told in seconds of
//!   the attack's mean burn, so that attacks of different size can be compared.
//! - Requests are *denied* when they are turned away or given up, for whatever reason; each attempt
//!   counts. They are counted from the first onset on, or over the whole window where there is no
//!   attack, and as a share of what came then.
//! - The leak *over the oracle's* is the one over the least that is reached, at no more requests
//!   denied, by anything that the oracle could choose from, or by two of it in turn.
//! - A change that lets in less is *false* unless there is an attack that it is about: between its
//!   onset and a minute after its end, on one of its victims; in the firewall, on at least one
//!   address that it uses and no customer has.
//! - An attack is *contained* from the second on after which never more than a tenth leaks of what
//!   leaks at that time without anybody's doing, as long as attacks are on.
//! - A *bound* on the next hour counts where that hour lies in the window.

mod measures;
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

/// One seed: a score for each policy. All that is kept of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialScore {
    seed: u64,
    runs: Vec<RunScore>,
}

impl TrialScore {
    /// Scores all runs of a trial.
    pub fn new(scenario: &Scenario, trial: &Trial) -> Self {
        let score = |run| RunScore::new(scenario, trial, run);
        Self { seed: trial.seed, runs: trial.runs.iter().map(score).collect() }
    }

    /// In the order of reports.
    pub fn runs(&self) -> &[RunScore] {
        &self.runs
    }
}

impl ScenarioScore {
    /// Puts all seeds of a scenario together.
    pub fn new(scenario: &Scenario, trials: Vec<TrialScore>) -> Self {
        let seeds = trials.iter().map(|trial| trial.seed).collect();
        let mut runs: Vec<Vec<RunScore>> = Vec::new();
        for (place, score) in
            trials.into_iter().flat_map(|trial| trial.runs.into_iter().enumerate())
        {
            match runs.get_mut(place) {
                Some(runs) => runs.push(score),
                None => runs.push(vec![score]),
            }
        }
        let policies: Vec<_> = runs.into_iter().map(PolicyScore::new).collect();
        let guard = policies.iter().find(|score| score.policy == GUARD);
        let expect = guard.map(|score| summary::verdicts(&scenario.expect, score));
        Self {
            scenario: scenario.name.clone(),
            question: scenario.question.clone(),
            seeds,
            expect: expect.unwrap_or_default(),
            policies,
        }
    }

    /// Whether everything holds that must.
    pub fn holds(&self) -> bool {
        self.expect.iter().all(|verdict| verdict.holds)
    }
}
