//! What is looked for is found where it is.

use super::defect::Defect;
use super::invariant::Invariant;
use super::seed;

/// So many seeds are tried, from one in which it showed when this was written.
const SEEDS: u64 = 100;

fn check(defect: Defect, by: Invariant, first: u64) {
    let is_caught = (first..first + SEEDS).any(|number| {
        let report = seed(number, Some(defect)).unwrap();
        report.broken.iter().any(|broken| broken.invariant == by)
    });
    assert!(is_caught, "{defect:?} is not caught by {by:?}");
}

#[test]
fn every_defect_is_caught_by_the_invariant_that_it_breaks() {
    for (defect, by, first) in [
        (Defect::ZeroCaps, Invariant::A1, 4),
        (Defect::KeptRestrictions, Invariant::A2, 3),
        (Defect::PlansCarriedOut, Invariant::A3, 1),
        (Defect::ForbiddenTouch, Invariant::A4, 5),
        (Defect::EmptyWord, Invariant::A5, 4),
        (Defect::WideCaps, Invariant::A7, 43),
        (Defect::MissedMessage, Invariant::C4, 1),
        (Defect::Hammering, Invariant::Q1, 3),
        (Defect::Phantoms, Invariant::B1, 1),
        (Defect::DeafToClosing, Invariant::L1, 1),
        (Defect::StoppedQueues, Invariant::L2, 4),
        (Defect::ActsOnSilence, Invariant::M1, 2),
        (Defect::CountsRefusals, Invariant::M2, 32),
        (Defect::CapsEverybody, Invariant::M3, 5),
        (Defect::Panics, Invariant::P1, 3),
    ] {
        check(defect, by, first);
    }
}

#[test]
fn one_seed_gives_one_report_and_another_seed_another() {
    assert_eq!(seed(5, None).unwrap(), seed(5, None).unwrap());
    assert_ne!(seed(5, None).unwrap().effort, seed(6, None).unwrap().effort);
}

#[test]
fn names_of_invariants_differ() {
    let names: std::collections::BTreeSet<_> = Invariant::ALL.map(Invariant::as_str).into();
    assert_eq!(names.len(), Invariant::ALL.len());
}
