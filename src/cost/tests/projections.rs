use core::time::Duration;

use proptest::prelude::*;

use super::at;
use crate::cost::projection::LEVEL_LOG_SD_DEFAULT;
use crate::cost::{ProjectionInput, Quantiles, probability_over, project, time_to_exhaustion};
use crate::units::{EventTime, NanoUsd};

/// Ten dollars an hour in requests of a thousandth of a cent, half way through November.
fn steady() -> ProjectionInput<'static> {
    ProjectionInput {
        now: at("2026-11-16T00:00:00Z"),
        spent_month: NanoUsd::from_usd(100.0),
        burn_usd_per_hour: 10.0,
        baseline_usd_per_hour: 1.0,
        request_usd: 1e-5,
        request_usd_squared: 2e-10,
        dispersion: 0.01,
        level_log_sd: LEVEL_LOG_SD_DEFAULT,
        persist_log_odds: 20.0,
        history: None,
    }
}

fn near(amount: NanoUsd, usd: f64, tolerance: f64) {
    let got = amount.usd();
    assert!((got - usd).abs() <= tolerance * usd, "{got} is not within {tolerance} of {usd}");
}

#[test]
fn a_burn_that_persists_is_multiplied_by_the_time_left() {
    let projection = project(&steady());
    near(projection.hour.p50, 10.0, 0.02);
    near(projection.day.p50, 240.0, 0.02);
    near(projection.month_end.p50, 100.0 + 3_600.0, 0.02);
    assert!(projection.hour.p90 < NanoUsd::from_usd(12.0));
    assert!(projection.month_end.p90 > NanoUsd::from_usd(4_500.0));
}

#[test]
fn the_hour_agrees_with_an_exact_gamma() {
    use statrs::distribution::{ContinuousCDF, Gamma};
    let input = ProjectionInput {
        // One request in ten minutes, a dollar each, nothing else uncertain: k = 6 / 2 = 3.
        burn_usd_per_hour: 6.0,
        request_usd: 1.0,
        request_usd_squared: 2.0,
        dispersion: 0.0,
        level_log_sd: 0.0,
        persist_log_odds: 1e9,
        ..steady()
    };
    let exact = Gamma::new(3.0, 0.5).unwrap();
    let hour = project(&input).hour;
    near(hour.p10, exact.inverse_cdf(0.1), 0.005);
    near(hour.p50, exact.inverse_cdf(0.5), 0.005);
    near(hour.p90, exact.inverse_cdf(0.9), 0.005);
}

#[test]
fn the_odds_move_the_projection_between_baseline_and_burn() {
    let with = |persist_log_odds| project(&ProjectionInput { persist_log_odds, ..steady() }).day;
    near(with(-20.0).p50, 24.0, 0.02);
    near(with(20.0).p50, 240.0, 0.02);
    let undecided = with(0.0);
    assert!(undecided.p10 < NanoUsd::from_usd(30.0), "{undecided:?}");
    assert!(undecided.p90 > NanoUsd::from_usd(230.0), "{undecided:?}");
}

#[test]
fn at_the_end_of_the_month_only_what_is_spent_counts() {
    let input = ProjectionInput { now: at("2026-11-30T23:59:59.999Z"), ..steady() };
    near(project(&input).month_end.p90, 100.0, 1e-5);
    let leap = ProjectionInput { now: at("2028-02-29T00:00:00Z"), ..steady() };
    near(project(&leap).month_end.p50, 340.0, 0.02);
}

#[test]
fn a_budget_is_broken_surely_probably_or_not() {
    let over = |usd: f64| probability_over(&steady(), NanoUsd::from_usd(usd));
    assert_eq!(over(99.0), 1.0);
    assert!(over(100.0) > 0.999);
    assert!((over(3_700.0) - 0.5).abs() < 0.05);
    assert!(over(1e6) < 1e-6);
}

#[test]
fn time_to_exhaustion_is_the_money_left_over_the_burn() {
    let left =
        |input: &ProjectionInput<'_>, usd: f64| time_to_exhaustion(input, NanoUsd::from_usd(usd));
    let day = left(&steady(), 340.0).unwrap();
    assert!((day.p50.as_secs_f64() / 86_400.0 - 1.0).abs() < 0.01, "{day:?}");
    assert!(day.p10 < day.p50 && day.p10 > Duration::from_secs(20 * 3_600));
    assert_eq!(left(&steady(), 100.0).unwrap().p10, Duration::ZERO);
    let idle = ProjectionInput { burn_usd_per_hour: 0.0, ..steady() };
    assert_eq!(left(&idle, 340.0), None);
    let slow = ProjectionInput { burn_usd_per_hour: 1e-6, ..steady() };
    assert_eq!(left(&slow, 340.0), None);
}

#[test]
fn quantiles_are_written_in_nano_dollars() {
    let quantiles = Quantiles { p10: NanoUsd(1), p50: NanoUsd(2), p90: NanoUsd(3) };
    assert_eq!(
        serde_json::to_string(&quantiles).unwrap(),
        r#"{"p10_nano_usd":1,"p50_nano_usd":2,"p90_nano_usd":3}"#
    );
}

#[test]
fn what_is_no_number_counts_as_zero() {
    for bad in [f64::NAN, f64::NEG_INFINITY, -1.0] {
        let input = ProjectionInput {
            burn_usd_per_hour: bad,
            baseline_usd_per_hour: bad,
            request_usd: bad,
            request_usd_squared: bad,
            dispersion: bad,
            level_log_sd: bad,
            persist_log_odds: bad,
            ..steady()
        };
        let projection = project(&input);
        assert_eq!(projection.day, Quantiles::default(), "{bad}");
        assert_eq!(projection.month_end.p90, input.spent_month);
    }
    let endless = ProjectionInput { burn_usd_per_hour: f64::INFINITY, ..steady() };
    assert!(project(&endless).hour.p50 > NanoUsd::from_usd(9e8));
}

fn magnitude() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        (-12.0..9.0f64).prop_map(|power| libm::pow(10.0, power)),
        any::<f64>().prop_filter("finite", |value| value.is_finite()),
    ]
}

fn any_input() -> impl Strategy<Value = ProjectionInput<'static>> {
    let rates = (magnitude(), magnitude(), magnitude(), magnitude());
    let rest = (magnitude(), 0.0..2.0f64, -50.0..50.0f64, any::<i64>());
    let times = EventTime::MIN.ms()..=EventTime::MAX.ms();
    (rates, rest, times).prop_map(|((burn, base, m1, m2), (phi, level, odds, spent), ms)| {
        ProjectionInput {
            now: EventTime::saturating_from_ms(ms),
            spent_month: NanoUsd(spent),
            burn_usd_per_hour: burn,
            baseline_usd_per_hour: base,
            request_usd: m1,
            request_usd_squared: m2,
            dispersion: phi,
            level_log_sd: level,
            persist_log_odds: odds,
            history: None,
        }
    })
}

/// `a` is not above `b`, but for the rounding of the last digits.
fn not_above(a: NanoUsd, b: NanoUsd) -> bool {
    a.0 as f64 <= b.0 as f64 * (1.0 + 1e-9) + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn quantiles_are_in_order_for_any_input(input in any_input()) {
        let projection = project(&input);
        for it in [projection.hour, projection.day, projection.month_end] {
            prop_assert!(it.p10 <= it.p50 && it.p50 <= it.p90, "{:?}", it);
        }
        prop_assert!(projection.month_end.p10 >= input.spent_month);
        let over = probability_over(&input, NanoUsd(1_000_000_000_000));
        prop_assert!((0.0..=1.0).contains(&over), "{}", over);
        if let Some(exhaustion) = time_to_exhaustion(&input, NanoUsd::MAX) {
            prop_assert!(exhaustion.p10 <= exhaustion.p50);
        }
    }

    /// Invariant C1.
    #[test]
    fn a_faster_burn_never_projects_less(input in any_input(), factor in 1.0..100.0f64) {
        let burn = input.burn_usd_per_hour.abs();
        let input = ProjectionInput {
            spent_month: NanoUsd::ZERO, burn_usd_per_hour: burn, ..input
        };
        let faster = ProjectionInput {
            burn_usd_per_hour: burn * factor, ..input
        };
        let (slow, fast) = (project(&input), project(&faster));
        for (a, b) in [
            (slow.hour, fast.hour), (slow.day, fast.day), (slow.month_end, fast.month_end),
        ] {
            prop_assert!(not_above(a.p10, b.p10), "p10 {:?} {:?}", a, b);
            prop_assert!(not_above(a.p50, b.p50), "p50 {:?} {:?}", a, b);
            prop_assert!(not_above(a.p90, b.p90), "p90 {:?} {:?}", a, b);
        }
        let budget = NanoUsd(5_000_000_000);
        prop_assert!(probability_over(&input, budget) <= probability_over(&faster, budget) + 1e-9);
    }
}
