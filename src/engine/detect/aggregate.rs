//! Are many functions of one account a little too busy, none of them enough to tell by itself?
//!
//! Each function gives an e-value for its count of the minute, [`minute_evidence`]. The arithmetic
//! mean of e-values is one under any dependence between them, and in essence the only symmetric way
//! to merge them of which that is true (Vovk & Wang, Ann. Statist. 49(3) 2021, doi
//! 10.1214/20-AOS2020); functions of one account do move together, so nothing stronger, such as the
//! product, would keep the promise. Over minutes the means go through the Shiryaev-Roberts
//! recursion (Shin, Ramdas, Rinaldo, arXiv 2203.03532): the mean time to a false alarm at threshold
//! A is at least A minutes, sixty times more than a promise in seconds asks for. The null: given
//! the past, every function's mean is at most what is tolerated of it.
//!
//! A mean is carried by its largest members: of two hundred functions at ten times what is
//! tolerated, the few busiest speak for all. So one flooded function would lift it, too, and the
//! one that it calls; these have their own alarms. The [`LEFT_OUT`] largest of a minute
//! therefore count as zero, and the share of the others is clipped. Both only make it smaller, so
//! it stays an e-value.
//!
//! A function that is left out counts as zero: allowed, but the evidence is less. A silent one is
//! worth [`minute_evidence`] of a count of zero, which changes only with its tolerance and can be
//! kept.

use super::negative_binomial;
use crate::keep::kept;

/// Growth factors of a function's minute: few calls tell nothing of small growth.
const FACTORS: [f64; 4] = [2.0, 5.0, 10.0, 30.0];
/// The most that one function may say in a minute. Less would cut off the few that carry a thin
/// attack; with more, one function could speak for a whole account.
pub const SHARE_MAX: f64 = 1e7;

/// The e-value of one function's minute with `count` calls, of which `tolerated` are normal with
/// dispersion `phi` (variance = mean + phi·mean²).
pub fn minute_evidence(count: u64, tolerated: f64, phi: f64) -> f64 {
    negative_binomial::evidence(count as f64, tolerated, phi, &FACTORS).min(SHARE_MAX)
}

/// So many of the largest e-values of a minute are left out: a flooded function and the one that it
/// calls. More would leave out the few that carry a thin attack.
pub const LEFT_OUT: usize = 2;

/// Evidence over all functions of an account or application.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aggregate {
    evidence: f64,
    sum: f64,
    /// The largest of the open minute, in no order; not part of the sum.
    largest: [f64; LEFT_OUT],
    /// Functions above 1 in the open minute, and in the latest closed one.
    lifting: u32,
    lifted: u32,
}

impl Aggregate {
    /// Takes in the e-value of one function for the open minute; each function at most once.
    pub fn add(&mut self, evidence: f64) {
        // Positive form: what is not a number says nothing.
        if evidence > 0.0 {
            let mut counted = evidence.min(SHARE_MAX);
            for larger in &mut self.largest {
                if *larger < counted {
                    std::mem::swap(larger, &mut counted);
                }
            }
            self.sum += counted;
        }
        self.lifting = self.lifting.saturating_add(u32::from(evidence > 1.0));
    }

    /// Takes in `functions` silent functions that share one e-value, or whose mean it is.
    pub fn add_silent(&mut self, functions: u64, evidence: f64) {
        if evidence > 0.0 {
            self.sum += evidence.min(1.0) * functions as f64;
        }
    }

    /// Closes the minute of an account with so many functions, added or not. Returns the mean.
    pub fn close(&mut self, functions: u64, threshold: f64) -> f64 {
        let mean = self.sum / functions.max(1) as f64;
        self.evidence = ((self.evidence + 1.0) * mean).min(threshold);
        self.sum = 0.0;
        self.largest = [0.0; LEFT_OUT];
        self.lifted = self.lifting;
        self.lifting = 0;
        mean
    }

    /// The evidence that the account as a whole is under attack.
    pub fn value(&self) -> f64 {
        self.evidence
    }

    /// Functions whose e-value was above 1 in the latest closed minute.
    pub fn lifted(&self) -> u32 {
        self.lifted
    }

    /// Forgets the evidence.
    pub fn restart(&mut self) {
        self.evidence = 0.0;
    }
}

kept!(Aggregate { evidence, sum, largest, lifting, lifted });

#[cfg(test)]
mod tests {
    use super::super::tests::{Draw, negative_binomial, run_length};
    use super::*;
    use proptest::prelude::*;

    const A: f64 = 1e9;

    /// A minute of 2,000 functions, of which `attacked` are at `factor` times their tolerance.
    fn minute(
        draw: &mut Draw,
        aggregate: &mut Aggregate,
        (tolerated, phi): (f64, f64),
        (attacked, factor): (u32, f64),
        threshold: f64,
    ) {
        for function in 0..2_000 {
            let load = if function < attacked { factor } else { 1.0 };
            let count = draw.count(load * tolerated, phi);
            aggregate.add(minute_evidence(count, tolerated, phi));
        }
        aggregate.close(2_000, threshold);
    }

    #[test]
    fn a_thin_attack_over_a_tenth_of_the_functions_is_found_within_two_minutes() {
        for law in [(0.5, 0.1), (1.0, 0.1), (5.0, 0.1), (0.5, 0.3), (5.0, 0.3)] {
            for seed in 0..3 {
                let mut draw = Draw::new(seed);
                let mut aggregate = Aggregate::default();
                minute(&mut draw, &mut aggregate, law, (0, 1.0), A);
                assert!(aggregate.value() < A / 1e4);
                (0..2).for_each(|_| minute(&mut draw, &mut aggregate, law, (200, 10.0), A));
                assert!(aggregate.value() >= A, "{law:?}: {}", aggregate.value());
                assert!(aggregate.lifted() > 150);
                (0..60).for_each(|_| minute(&mut draw, &mut aggregate, law, (0, 1.0), A));
                assert!(aggregate.value() < A / 10.0, "{law:?}: {}", aggregate.value());
            }
        }
    }

    #[test]
    fn a_few_flooded_functions_never_speak_for_an_account() {
        let mut aggregate = Aggregate::default();
        for _ in 0..1_000 {
            (0..LEFT_OUT).for_each(|_| aggregate.add(minute_evidence(1 << 40, 1.0, 0.1)));
            aggregate.add_silent(1_993, minute_evidence(0, 1.0, 0.1));
            aggregate.close(2_000, A);
            assert_eq!(aggregate.lifted() as usize, LEFT_OUT);
        }
        assert!(aggregate.value() < 1.0);
    }

    #[test]
    fn the_run_length_keeps_the_promise_however_functions_move_together() {
        // So many functions in groups that always have the same count.
        for (threshold, groups) in [(100.0, 1), (100.0, 10), (1_000.0, 2)] {
            let length = run_length(threshold, 40, |seed| {
                let mut draw = Draw::new(seed);
                let mut aggregate = Aggregate::default();
                move || {
                    for _ in 0..groups {
                        let evidence = minute_evidence(draw.count(2.0, 0.2), 2.0, 0.2);
                        (0..50 / groups).for_each(|_| aggregate.add(evidence));
                    }
                    aggregate.close(50, threshold);
                    aggregate.value()
                }
            });
            assert!(length >= threshold, "{groups}: {length} of {threshold}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_mean_over_functions_is_at_most_one_for_every_smaller_mean_and_dispersion(
            functions in proptest::collection::vec(
                (0.01_f64..20.0, 0.01_f64..1.0, 0.01_f64..1.0, 0.05_f64..1.0), 1..6)
        ) {
            let mut aggregate = Aggregate::default();
            for &(tolerated, phi, share, calm) in &functions {
                let law = negative_binomial(tolerated * share, phi * calm, 5_000);
                let mean: f64 = (0_u64..)
                    .zip(&law)
                    .map(|(x, ln)| ln.exp() * minute_evidence(x, tolerated, phi))
                    .sum();
                prop_assert!(mean <= 1.0 + 1e-9, "{}", mean);
                aggregate.add(mean);
            }
            prop_assert!(aggregate.close(functions.len() as u64, A) <= 1.0 + 1e-9);
        }

        #[test]
        fn evidence_is_a_number_whatever_comes(
            minutes in proptest::collection::vec(
                (proptest::num::f64::ANY, any::<u64>(), proptest::num::f64::ANY, any::<u64>()),
                0..50)
        ) {
            let mut aggregate = Aggregate::default();
            for (evidence, silent, value, functions) in minutes {
                aggregate.add(evidence);
                aggregate.add_silent(silent, value);
                aggregate.close(functions, A);
                prop_assert!((0.0..=A).contains(&aggregate.value()));
            }
        }
    }
}
