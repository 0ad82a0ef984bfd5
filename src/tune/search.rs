//! The search itself: evaluate, halve, and compare what is left on seeds that nobody has seen.

use std::ops::Range;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use super::halving::{Round, cost};
use super::knobs::{Candidate, KNOBS, Load, Turned};
use super::price::{Outcome, Prices, unavoidable};
use super::record::{Job, Record, fingerprint};
use crate::runtime::guard::Guard;
use crate::simulation::closed_loop::{self, Trial};
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
    /// Evaluations that this search has run.
    done: AtomicU64,
    /// Hears how far it is.
    tell: F,
}

/// How far a search is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Evaluations that have been run; what was known before is not among them.
    pub done: u64,
    /// How many there will be in all, as far as it can be told now.
    pub expected: u64,
}

/// A candidate at the end of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finalist {
    /// Its place among the candidates; 0 is what the search started from.
    pub candidate: usize,
    /// It keeps all promises on the unseen seeds, and no other finalist that does is better there
    /// in one respect and as good in the others.
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
    /// Promises that were not kept.
    pub broken: f64,
}

impl Mean {
    /// At least as good in what leaks, in who is denied and in false actions.
    fn reaches(&self, other: &Self) -> bool {
        let reached = [
            self.beyond_usd <= other.beyond_usd,
            self.denied <= other.denied,
            self.false_actions <= other.false_actions,
        ];
        reached == [true; 3]
    }
}

/// What is simulated at once: candidates on one scenario and seed.
struct Task<'a> {
    scenario: usize,
    seed: u64,
    candidates: Vec<&'a Candidate>,
}

impl<'a, F: Fn(Progress) + Sync> Search<'a, F> {
    /// A search over scenarios that goes on from what is known under the same premises.
    pub fn new(
        scenarios: &'a [Scenario],
        prices: Prices,
        threads: usize,
        (record, premises): (Record, &str),
        tell: F,
    ) -> Self {
        let fingerprints = scenarios.iter().map(|scenario| fingerprint(scenario, premises));
        let (fingerprints, record) = (fingerprints.collect(), Mutex::new(record));
        Self { scenarios, fingerprints, prices, threads, record, done: AtomicU64::new(0), tell }
    }

    /// Halves the candidates round by round, from seed `first` on, turns back what does not pay in
    /// the best, and compares it with those that were left last, and with the first candidate, on
    /// the `unseen` seeds. The winner is the first candidate unless the best of the search costs
    /// less there, too, and keeps all promises.
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
        let scenarios = self.scenarios.len() as u64;
        let finalists = (candidates.len().min(FINALISTS_MAX) + 1) as u64;
        let compared = finalists * scenarios * (unseen.end - unseen.start);
        let mut order = self.halve(candidates, rounds, first, compared)?;
        let best = order.first().copied().unwrap_or(0);
        let seeds = rounds.last().map_or(0, |round| round.seeds);
        let seeds = first..first.saturating_add(seeds);
        let best = match self.simpler(&candidates[best], load, seeds, compared)? {
            Some(simpler) => {
                // It may be one that there is already: at the end of it all, the first.
                let known = candidates.iter().position(|known| known.sha256 == simpler.sha256);
                let place = known.unwrap_or(candidates.len());
                order.retain(|other| ![best, place].contains(other));
                order.insert(0, place);
                if known.is_none() {
                    candidates.push(simpler);
                }
                place
            }
            None => best,
        };
        order.truncate(FINALISTS_MAX);
        if !order.contains(&0) {
            order.push(0);
        }
        self.evaluate(candidates, &order, unseen.clone(), 0)?;
        let mean = |place: usize| self.mean(&candidates[place], None, unseen.clone());
        let is_better = mean(best).usd < mean(0).usd && mean(best).broken <= 0.0;
        let means = order.iter().map(|place| (mean(*place), *place)).collect();
        let winner = if is_better { best } else { 0 };
        Ok(Found { winner, finalists: finalists_of(means, winner) })
    }

    /// Places of candidates, the best first; behind them those that were dropped, the latest first.
    fn halve(
        &self,
        candidates: &[Candidate],
        rounds: &[Round],
        first: u64,
        compared: u64,
    ) -> anyhow::Result<Vec<usize>> {
        let scenarios = self.scenarios.len() as u64;
        let seeds = rounds.last().map_or(0, |round| round.seeds);
        // About half of the knobs are turned, and those that do not pay are tried without at once.
        let turning = (KNOBS.len() as u64 / 2 + 1) * scenarios * seeds;
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        let mut left = order.len();
        for (place, round) in rounds.iter().enumerate() {
            let seeds = first..first.saturating_add(round.seeds);
            let rest = cost(rounds, scenarios) - cost(&rounds[..=place], scenarios);
            self.evaluate(candidates, &order[..left], seeds.clone(), rest + turning + compared)?;
            let cost = |place: &usize| self.mean(&candidates[*place], None, seeds.clone()).usd;
            let mut ranked: Vec<(f64, usize)> =
                order[..left].iter().map(|place| (cost(place), *place)).collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (slot, (_, place)) in order.iter_mut().zip(ranked) {
                *slot = place;
            }
            left = left.div_ceil(2);
        }
        Ok(order)
    }

    /// The candidate without the knobs that might as well stay as they were, if it has such: they
    /// are tried one by one, and then all together.
    fn simpler(
        &self,
        candidate: &Candidate,
        load: &Load<'_>,
        seeds: Range<u64>,
        later: u64,
    ) -> anyhow::Result<Option<Candidate>> {
        let tried = candidate.turned_back(load);
        let others: Vec<Candidate> = tried.iter().flatten().cloned().collect();
        let places: Vec<usize> = (0..others.len()).collect();
        let together = self.scenarios.len() as u64 * (seeds.end - seeds.start);
        self.evaluate(&others, &places, seeds.clone(), together + later)?;
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
        self.evaluate(slice::from_ref(&simpler), &[0], seeds.clone(), later)?;
        Ok((cost(&simpler) <= limit).then_some(simpler))
    }

    /// Evaluates what is not known yet, in parallel; about so many evaluations come `later`.
    fn evaluate(
        &self,
        candidates: &[Candidate],
        places: &[usize],
        seeds: Range<u64>,
        later: u64,
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
        let missing: usize = tasks.iter().map(|task| task.candidates.len()).sum();
        let done = self.done.load(Ordering::Relaxed);
        let expected = done + missing as u64 + later;
        (self.tell)(Progress { done, expected });
        let tell = || {
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            (self.tell)(Progress { done, expected });
        };
        let done =
            closed_loop::all(tasks, self.threads, |task| self.simulate(&task, inside, &tell));
        done.into_iter().collect()
    }

    /// What came of each candidate is written down as soon as it is known, so that a search that is
    /// stopped loses only what it was just at.
    fn simulate(
        &self,
        task: &Task<'_>,
        threads: usize,
        tell: &(impl Fn() + Sync),
    ) -> anyhow::Result<()> {
        let scenario = &self.scenarios[task.scenario];
        let guards = task.candidates.iter().map(|candidate| {
            let plant = SharedPlant::default();
            let guard = Guard::new(&candidate.settings, scenario, &plant)?;
            Ok((Box::new(guard) as Box<dyn Policy>, plant))
        });
        let guards = guards.collect::<anyhow::Result<Vec<_>>>()?;
        let hear = |place: usize, trial: &Trial| {
            let score = TrialScore::new(scenario, trial);
            // The first run is nobody's.
            if let Some(run) = score.runs().last() {
                let job = self.job(task.candidates[place], task.scenario, task.seed);
                let outcome = Outcome::new(run, unavoidable(scenario, trial));
                let put = self.record().put(job, outcome);
                put.context("cannot write down what was found")?;
                tell();
            }
            Ok(())
        };
        let done = closed_loop::each(scenario, task.seed, guards, threads, hear);
        done.with_context(|| scenario.name.clone())?.into_iter().collect()
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
                    sum.broken += outcome.broken as f64;
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
            broken: sum.broken / count,
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

/// Finalists of their means and places, by what leaks; of equals only one is on the frontier, the
/// winner before others.
fn finalists_of(mut means: Vec<(Mean, usize)>, winner: usize) -> Vec<Finalist> {
    means.sort_by(|(a, at), (b, bt)| {
        let order = a.beyond_usd.total_cmp(&b.beyond_usd);
        let order = order.then(a.denied.total_cmp(&b.denied));
        let order = order.then(a.false_actions.total_cmp(&b.false_actions));
        order.then((*at != winner).cmp(&(*bt != winner))).then(at.cmp(bt))
    });
    let kept: Vec<bool> = means.iter().map(|(mean, _)| mean.broken <= 0.0).collect();
    let finalists = means.iter().enumerate().map(|(place, (mean, candidate))| {
        let mut others = means.iter().enumerate().filter(|(other, _)| kept[*other]);
        // Of equals the one that stands before is enough.
        let beaten = others.any(|(other, (better, _))| {
            better.reaches(mean) && (other < place || !mean.reaches(better))
        });
        Finalist { candidate: *candidate, on_frontier: kept[place] && !beaten }
    });
    finalists.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::simulation::recording::unread;
    use crate::simulation::scenario::read_text;
    use crate::tune::knobs::candidates;

    const SHOP: &str = "question = \"?\"\n[time]\npast = \"1m\"\nlength = \"1m\"\n\
                        [[function]]\nname = \"api\"\n[[load]]\nfunction = \"api\"\nrps = 3\n";

    #[test]
    fn what_is_finished_is_written_down_at_once_and_progress_ends_at_what_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.jsonl");
        let scenarios = [read_text(Path::new("shop.toml"), SHOP, unread).unwrap()];
        let load = |turned: Vec<Turned>| crate::config::load(None, turned.into_iter());
        let rounds = [Round { candidates: 4, seeds: 1 }, Round { candidates: 2, seeds: 2 }];
        let search = || {
            let heard = Mutex::new(Vec::new());
            let tell = |progress: Progress| {
                let lines = std::fs::read_to_string(&path).unwrap().lines().count() as u64;
                heard.lock().unwrap().push((progress, lines));
            };
            let prices = Prices { denied_usd: 0.01, false_action_usd: 10.0 };
            let record = (Record::open(&path).unwrap(), "");
            let search = Search::new(&scenarios, prices, 1, record, tell);
            let mut candidates = candidates(4, 1, &load).unwrap();
            search.run(&mut candidates, &load, &rounds, 1, 10..11).unwrap();
            heard.into_inner().unwrap()
        };
        let heard = search();
        assert!(heard.iter().all(|(progress, lines)| progress.done == *lines), "{heard:?}");
        let (last, _) = heard.last().unwrap();
        assert!(last.done == last.expected && last.done >= 4 + 2, "{last:?}");
        // What is known is neither run nor waited for again.
        let (again, _) = *search().last().unwrap();
        assert_eq!(again, Progress { done: 0, expected: 0 });
    }

    #[test]
    fn the_frontier_keeps_promises_and_counts_false_actions() {
        let mean = |beyond_usd, denied, false_actions, broken| Mean {
            usd: 0.0,
            beyond_usd,
            denied,
            false_actions,
            broken,
        };
        let means = [
            // The least of all, but a promise is broken.
            (mean(0.0, 0.0, 0.0, 0.1), false),
            (mean(1.0, 9.0, 5.0, 0.0), false),
            // Fewer false actions, and else the same.
            (mean(1.0, 9.0, 2.0, 0.0), true),
            (mean(2.0, 9.0, 1.0, 0.0), true),
            (mean(3.0, 9.0, 1.0, 0.0), false),
            (mean(3.0, 4.0, 3.0, 0.0), true),
            // Two of a kind: the winner is enough.
            (mean(4.0, 1.0, 0.0, 0.0), false),
            (mean(4.0, 1.0, 0.0, 0.0), true),
        ];
        let means: Vec<_> = means.into_iter().enumerate().collect();
        let found =
            finalists_of(means.iter().map(|(place, (mean, _))| (*mean, *place)).collect(), 7);
        for finalist in found {
            assert_eq!(finalist.on_frontier, means[finalist.candidate].1.1, "{finalist:?}");
        }
    }
}
