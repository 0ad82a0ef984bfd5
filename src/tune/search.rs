//! The search itself: evaluate, halve, and compare what is left on seeds that nobody has seen.

use std::ops::Range;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use super::halving::Round;
use super::knobs::{Candidate, Load, Turned};
use super::price::{Outcome, Prices, unavoidable};
use super::record::{Job, Record, fingerprint};
use crate::runtime::guard::Guard;
use crate::simulation::closed_loop::{self, Beside, trial};
use crate::simulation::plant::SharedPlant;
use crate::simulation::policy::Policy;
use crate::simulation::scenario::Scenario;
use crate::simulation::scores::TrialScore;

/// Candidates that are compared at the end, beside the settings the search started from.
pub const FINALISTS_MAX: usize = 8;
/// Candidates that share one simulated past; each holds a platform and an engine.
const TOGETHER_MAX: usize = 32;

/// Everything that an evaluation needs but the candidate and the seed.
#[derive(Debug)]
pub struct Search<'a, F> {
    scenarios: &'a [Scenario],
    fingerprints: Vec<String>,
    prices: Prices,
    threads: usize,
    record: Mutex<Record>,
    /// Hears how many evaluations have become known.
    tell: F,
}

/// A candidate at the end of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finalist {
    /// Its place among the candidates; 0 is what the search started from.
    pub candidate: usize,
    /// No other finalist leaks less and denies less on the unseen seeds.
    pub on_frontier: bool,
}

/// What came of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The place of the winner among the candidates; 0 when nothing better was found.
    pub winner: usize,
    /// By what leaks, the least first.
    pub finalists: Vec<Finalist>,
}

/// Mean over runs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    /// Priced, in dollars.
    pub usd: f64,
    /// Dollars that leaked beyond what nobody could have avoided.
    pub beyond_usd: f64,
    /// Legitimate requests denied.
    pub denied: f64,
    /// False actions.
    pub false_actions: f64,
}

/// What is simulated at once: candidates on one scenario and seed.
struct Task<'a> {
    scenario: usize,
    seed: u64,
    candidates: Vec<&'a Candidate>,
}

impl<'a, F: Fn(u64) + Sync> Search<'a, F> {
    /// A search over scenarios that goes on from what is known.
    pub fn new(
        scenarios: &'a [Scenario],
        prices: Prices,
        threads: usize,
        record: Record,
        tell: F,
    ) -> Self {
        let fingerprints = scenarios.iter().map(fingerprint).collect();
        Self { scenarios, fingerprints, prices, threads, record: Mutex::new(record), tell }
    }

    /// Halves the candidates round by round, from seed `first` on, turns back what does not pay in
    /// the best, and compares it with those that were left last, and with the first candidate, on
    /// the `unseen` seeds. The winner is the first candidate unless the best of the search costs
    /// less there, too.
    ///
    /// # Errors
    /// A scenario that cannot be run, or a record that cannot be written.
    pub fn run(
        &self,
        candidates: &mut Vec<Candidate>,
        load: &Load<'_>,
        rounds: &[Round],
        first: u64,
        unseen: Range<u64>,
    ) -> anyhow::Result<Found> {
        // The best first; behind them those that were dropped, the latest first.
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        let mut left = order.len();
        for round in rounds {
            let seeds = first..first.saturating_add(round.seeds);
            self.evaluate(candidates, &order[..left], seeds.clone())?;
            let cost = |place: &usize| self.mean(&candidates[*place], None, seeds.clone()).usd;
            let mut ranked: Vec<(f64, usize)> =
                order[..left].iter().map(|place| (cost(place), *place)).collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (slot, (_, place)) in order.iter_mut().zip(ranked) {
                *slot = place;
            }
            left = left.div_ceil(2);
        }
        let mut best = order.first().copied().unwrap_or(0);
        let seeds = rounds.last().map_or(0, |round| round.seeds);
        let simpler = self.simpler(&candidates[best], load, first..first.saturating_add(seeds))?;
        if let Some(simpler) = simpler {
            // It may be one that there is already: at the end of it all, the first.
            let known = candidates.iter().position(|known| known.sha256 == simpler.sha256);
            let place = known.unwrap_or(candidates.len());
            order.retain(|other| ![best, place].contains(other));
            order.insert(0, place);
            best = place;
            if known.is_none() {
                candidates.push(simpler);
            }
        }
        order.truncate(FINALISTS_MAX);
        if !order.contains(&0) {
            order.push(0);
        }
        self.evaluate(candidates, &order, unseen.clone())?;
        let mean = |place: usize| self.mean(&candidates[place], None, unseen.clone());
        let winner = if mean(best).usd < mean(0).usd { best } else { 0 };
        let mut finalists: Vec<(Mean, usize)> =
            order.iter().map(|place| (mean(*place), *place)).collect();
        finalists.sort_by(|(a, at), (b, bt)| {
            let order = a.beyond_usd.total_cmp(&b.beyond_usd);
            order.then(a.denied.total_cmp(&b.denied)).then(at.cmp(bt))
        });
        let mut least_denied = f64::INFINITY;
        let finalists = finalists.into_iter().map(|(mean, candidate)| {
            let on_frontier = mean.denied < least_denied;
            least_denied = least_denied.min(mean.denied);
            Finalist { candidate, on_frontier }
        });
        Ok(Found { winner, finalists: finalists.collect() })
    }

    /// The candidate without the knobs that might as well stay as they were, if it has such: they
    /// are tried one by one, and then all together.
    fn simpler(
        &self,
        candidate: &Candidate,
        load: &Load<'_>,
        seeds: Range<u64>,
    ) -> anyhow::Result<Option<Candidate>> {
        let tried = candidate.turned_back(load);
        let others: Vec<Candidate> = tried.iter().flatten().cloned().collect();
        let places: Vec<usize> = (0..others.len()).collect();
        self.evaluate(&others, &places, seeds.clone())?;
        let cost = |candidate: &Candidate| self.mean(candidate, None, seeds.clone()).usd;
        let limit = cost(candidate);
        let needed =
            candidate.turned.iter().zip(&tried).filter(|(_, without)| {
                without.as_ref().is_none_or(|without| cost(without) > limit)
            });
        let needed: Vec<Turned> = needed.map(|(turned, _)| turned.clone()).collect();
        if needed.len() == candidate.turned.len() {
            return Ok(None);
        }
        let Ok(simpler) = Candidate::new(needed, load) else {
            return Ok(None);
        };
        self.evaluate(slice::from_ref(&simpler), &[0], seeds.clone())?;
        Ok((cost(&simpler) <= limit).then_some(simpler))
    }

    /// Evaluates what is not known yet, in parallel.
    fn evaluate(
        &self,
        candidates: &[Candidate],
        places: &[usize],
        seeds: Range<u64>,
    ) -> anyhow::Result<()> {
        let mut tasks = Vec::new();
        for seed in seeds {
            for scenario in 0..self.scenarios.len() {
                let wanted = places.iter().map(|place| &candidates[*place]);
                let missing: Vec<&Candidate> =
                    wanted.filter(|candidate| !self.knows(candidate, scenario, seed)).collect();
                tasks.extend(missing.chunks(TOGETHER_MAX).map(|candidates| Task {
                    scenario,
                    seed,
                    candidates: candidates.to_vec(),
                }));
            }
        }
        let inside = (self.threads / tasks.len().max(1)).max(1);
        let done = closed_loop::all(tasks, self.threads, |task| self.simulate(&task, inside));
        done.into_iter().collect()
    }

    fn simulate(&self, task: &Task<'_>, threads: usize) -> anyhow::Result<()> {
        let scenario = &self.scenarios[task.scenario];
        let guards = task.candidates.iter().map(|candidate| {
            let plant = SharedPlant::default();
            let guard = Guard::new(&candidate.settings, scenario, &plant)?;
            Ok((Box::new(guard) as Box<dyn Policy>, plant))
        });
        let guards = guards.collect::<anyhow::Result<Vec<_>>>()?;
        let trial = trial(scenario, task.seed, guards, Beside::Nothing, threads)
            .with_context(|| scenario.name.clone())?;
        let free = unavoidable(scenario, &trial);
        let score = TrialScore::new(scenario, &trial);
        // The first run is nobody's.
        for (candidate, run) in task.candidates.iter().zip(score.runs().iter().skip(1)) {
            let job = self.job(candidate, task.scenario, task.seed);
            let put = self.record().put(job, Outcome::new(run, free));
            put.context("cannot write down what was found")?;
            (self.tell)(1);
        }
        Ok(())
    }

    /// The mean over seeds and one scenario or all; of what is not known there is nothing in it.
    pub fn mean(&self, candidate: &Candidate, scenario: Option<usize>, seeds: Range<u64>) -> Mean {
        let all = 0..self.scenarios.len();
        let scenarios = all.filter(|place| scenario.is_none_or(|only| only == *place));
        let record = self.record();
        let (mut sum, mut count) = (Mean::default(), 0.0_f64);
        for place in scenarios {
            for seed in seeds.clone() {
                if let Some(outcome) = record.get(&self.job(candidate, place, seed)) {
                    sum.usd += outcome.usd(&self.prices);
                    sum.beyond_usd += outcome.beyond_nano_usd.usd();
                    sum.denied += outcome.denied as f64;
                    sum.false_actions += outcome.false_actions as f64;
                    count += 1.0;
                }
            }
        }
        let count = count.max(1.0);
        Mean {
            usd: sum.usd / count,
            beyond_usd: sum.beyond_usd / count,
            denied: sum.denied / count,
            false_actions: sum.false_actions / count,
        }
    }

    fn knows(&self, candidate: &Candidate, scenario: usize, seed: u64) -> bool {
        self.record().get(&self.job(candidate, scenario, seed)).is_some()
    }

    fn job(&self, candidate: &Candidate, scenario: usize, seed: u64) -> Job {
        let settings = candidate.sha256.clone();
        Job { settings, scenario: self.fingerprints[scenario].clone(), seed }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
