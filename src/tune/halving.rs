//! How many candidates are tried on how many seeds.

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

/// The rounds that `evaluations` runs are enough for: as many candidates as can see every scenario
/// once, halved in each round while their seeds double, up to `seeds_max`. Empty where not even two
/// candidates can.
pub fn rounds(evaluations: u64, scenarios: u64, seeds_max: u64) -> Vec<Round> {
    let scenarios = scenarios.max(1);
    let affordable = |count: &u64| count * halvings(*count) * scenarios <= evaluations;
    let Some(count) = (2..=CANDIDATES_MAX).rev().find(affordable) else {
        return Vec::new();
    };
    let share = evaluations / halvings(count);
    let mut left = count;
    let mut rounds = Vec::new();
    while left > 1 {
        let seeds = (share / (left * scenarios)).clamp(1, seeds_max.max(1));
        rounds.push(Round { candidates: left, seeds });
        left = left.div_ceil(2);
    }
    rounds
}

/// How often a number is halved until one is left.
fn halvings(count: u64) -> u64 {
    u64::from(count.next_power_of_two().trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_halved_while_their_seeds_double() {
        let rounds = rounds(160, 5, 100);
        let shown: Vec<_> = rounds.iter().map(|round| (round.candidates, round.seeds)).collect();
        assert_eq!(shown, [(8, 1), (4, 2), (2, 5)]);
    }

    #[test]
    fn no_plan_takes_more_than_it_is_given() {
        for evaluations in [0, 1, 7, 16, 200, 10_000, 1_000_000] {
            for scenarios in [1, 3, 42] {
                for seeds in [1, 4, 1_000] {
                    let plan = rounds(evaluations, scenarios, seeds);
                    let mut known = 0;
                    let mut taken = 0;
                    for round in &plan {
                        assert!(round.seeds >= known && round.seeds <= seeds.max(1));
                        taken += round.candidates * (round.seeds - known) * scenarios;
                        known = round.seeds;
                    }
                    assert!(taken <= evaluations, "{evaluations} {scenarios} {seeds}: {plan:?}");
                    assert_eq!(plan.is_empty(), evaluations < 2 * scenarios);
                }
            }
        }
    }
}
