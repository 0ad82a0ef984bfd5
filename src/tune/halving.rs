//! How many candidates are tried on how many seeds.

use std::iter;

/// Candidates at most: a round holds a platform and an engine for each of them.
pub const CANDIDATES_MAX: u64 = 256;

/// A round: so many candidates are known on so many seeds of all scenarios when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// The candidates that are left.
    pub candidates: u64,
    /// Seeds, those of earlier rounds included.
    pub seeds: u64,
}

/// The rounds that `evaluations` runs are enough for: as many candidates as can be, halved in each
/// round while their seeds double, up to `seeds_max`; what then is left goes into more seeds from
/// the first round on. What is known from an earlier round costs nothing again. Empty where not
/// even two candidates can see every scenario once.
pub fn rounds(evaluations: u64, scenarios: u64, seeds_max: u64) -> Vec<Round> {
    let affordable = |candidates, seeds| {
        let rounds = plan(candidates, seeds, seeds_max.max(1));
        (cost(&rounds, scenarios.max(1)) <= evaluations).then_some(rounds)
    };
    let most = (2..=CANDIDATES_MAX).rev().find(|count| affordable(*count, 1).is_some());
    let seeds = 1..=seeds_max.max(1);
    let dearest = most.and_then(|count| seeds.map_while(|seeds| affordable(count, seeds)).last());
    dearest.unwrap_or_default()
}

/// How many evaluations these rounds take, each counted once.
pub fn cost(rounds: &[Round], scenarios: u64) -> u64 {
    let known = iter::once(0).chain(rounds.iter().map(|round| round.seeds));
    let runs = rounds.iter().zip(known).map(|(round, known)| {
        let new = round.candidates.saturating_mul(round.seeds - known);
        new.saturating_mul(scenarios)
    });
    runs.fold(0, u64::saturating_add)
}

/// Halves candidates until one is left, on twice as many seeds each time.
fn plan(candidates: u64, seeds: u64, seeds_max: u64) -> Vec<Round> {
    let halved = |round: &Round| {
        let seeds = round.seeds.saturating_mul(2).min(seeds_max);
        Some(Round { candidates: round.candidates.div_ceil(2), seeds })
    };
    let first = Round { candidates, seeds: seeds.min(seeds_max) };
    iter::successors(Some(first), halved).take_while(|round| round.candidates > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_halved_while_their_seeds_double() {
        let shown = |evaluations, scenarios, seeds| -> Vec<_> {
            let rounds = rounds(evaluations, scenarios, seeds);
            rounds.iter().map(|round| (round.candidates, round.seeds)).collect()
        };
        // Each evaluation counts once: 5 x (14 + 7 + 4 x 2 + 2 x 4) of them.
        assert_eq!(shown(185, 5, 100), [(14, 1), (7, 2), (4, 4), (2, 8)]);
        // Seeds are few: 16 x 2 are enough for the last round.
        assert_eq!(shown(50, 2, 2), [(16, 1), (8, 2), (4, 2), (2, 2)]);
        // Candidates are few: they see more seeds from the beginning.
        assert_eq!(shown(1_100, 1, 8).first(), Some(&(CANDIDATES_MAX, 2)));
    }

    #[test]
    fn no_plan_takes_more_than_it_is_given_or_leaves_room_for_another_candidate() {
        for evaluations in [0, 1, 7, 16, 200, 10_000, 1_000_000] {
            for scenarios in [1, 3, 42] {
                for seeds in [1, 4, 1_000] {
                    let rounds = rounds(evaluations, scenarios, seeds);
                    let mut known = 0;
                    let mut taken = 0;
                    for round in &rounds {
                        assert!(round.seeds >= known && round.seeds <= seeds.max(1));
                        taken += round.candidates * (round.seeds - known) * scenarios;
                        known = round.seeds;
                    }
                    let told = format!("{evaluations} {scenarios} {seeds}: {rounds:?}");
                    assert!(taken <= evaluations && taken == cost(&rounds, scenarios), "{told}");
                    assert_eq!(rounds.is_empty(), evaluations < 2 * scenarios);
                    let count = rounds.first().map_or(1, |round| round.candidates);
                    let more = cost(&plan(count + 1, 1, seeds), scenarios);
                    assert!(count == CANDIDATES_MAX || more > evaluations, "{told}");
                }
            }
        }
    }
}
