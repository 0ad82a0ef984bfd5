use proptest::prelude::*;

use super::at;
use crate::cost::{
    Forecaster, History, ProjectionInput, Quantiles, Season, Shape, probability_over, project,
    time_to_exhaustion,
};
use crate::units::NanoUsd;

/// 2026-11-16T00:00:00Z, a Monday, as an hour since the epoch.
const MONDAY: i64 = 498_552;

/// Fed with `hours` hours up to Monday.
fn fed(hours: i64, spend: impl Fn(i64) -> f64) -> (Forecaster, Shape) {
    let mut forecaster = Forecaster::watching_since(MONDAY - hours);
    let mut season = Season::default();
    let mut shape = season.shape(None);
    for hour in MONDAY - hours..MONDAY {
        forecaster.observe(hour, spend(hour), |hour| shape.weight(hour));
        season.observe(hour, spend(hour), forecaster.level());
        shape = season.shape(None);
    }
    (forecaster, shape)
}

/// A number from 0 to 1 that looks like chance.
fn noise(seed: i64) -> f64 {
    let mixed = seed.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

fn width(it: Quantiles) -> f64 {
    (it.p90.usd() - it.p10.usd()) / it.p50.usd()
}

#[test]
fn the_state_of_a_function_is_small() {
    assert!(size_of::<Forecaster>() <= 200, "{}", size_of::<Forecaster>());
}

#[test]
fn a_steady_function_is_foretold_closely_and_a_wild_one_loosely() {
    let (steady, _) = fed(500, |_| 2.0);
    let day = steady.quantiles(24.0, 24.0);
    assert!((day.p50.usd() - 48.0).abs() < 0.5 && width(day) < 0.05, "{day:?}");
    let (wild, _) = fed(500, |hour| if noise(hour) < 0.1 { 20.0 } else { 0.0 });
    let day = wild.quantiles(24.0, 24.0);
    assert!(width(day) > 0.5, "{day:?}");
    assert!(day.p10.usd() < 40.0 && day.p90.usd() > 55.0, "{day:?}");
}

#[test]
fn a_function_of_which_little_is_known_may_spend_anything_near_what_it_did() {
    let (young, _) = fed(1, |_| 1.0);
    let week = young.quantiles(168.0, 168.0);
    assert!(week.p10.usd() < 20.0 && week.p90.usd() > 300.0, "{week:?}");
    assert_eq!(Forecaster::default().quantiles(24.0, 24.0), Quantiles::default());
}

#[test]
fn a_day_and_a_night_are_told_apart_by_the_season() {
    let (forecaster, shape) = fed(24 * 28, |hour| if hour.rem_euclid(24) < 12 { 3.0 } else { 1.0 });
    let monday = MONDAY as f64;
    let morning = forecaster.quantiles(12.0, shape.load(monday, monday + 12.0));
    let evening = forecaster.quantiles(12.0, shape.load(monday + 12.0, monday + 24.0));
    assert!((morning.p50.usd() - 36.0).abs() < 4.0, "{morning:?}");
    assert!((evening.p50.usd() - 12.0).abs() < 3.0, "{evening:?}");
}

#[test]
fn growth_is_carried_on() {
    let grown = |hour: i64| libm::exp((hour - MONDAY) as f64 / (24.0 * 20.0));
    let (forecaster, _) = fed(24 * 50, grown);
    let week = forecaster.quantiles(168.0, 168.0);
    let flat = 168.0 * forecaster.level();
    let truth: f64 = (MONDAY..MONDAY + 168).map(grown).sum();
    assert!(week.p50.usd() > 1.2 * flat, "{week:?} {flat}");
    assert!(week.p10.usd() < truth && truth < week.p90.usd(), "{week:?} {truth}");
}

/// The day's total lies between p10 and p90 about as often as is said: over 400 functions with
/// their own rate, burst and wander.
#[test]
fn four_in_five_totals_lie_between_p10_and_p90() {
    let mut inside = 0;
    for function in 0..400_i64 {
        let burst = noise(function * 7 + 1);
        let spend = |hour: i64| {
            let seed = function * 1_000_003 + hour;
            let wander = libm::sin(hour as f64 / (20.0 + 60.0 * noise(function * 3)));
            let level = libm::exp(0.5 * burst * wander);
            level * (1.0 - burst + burst * -libm::log(1.0 - noise(seed)))
        };
        let (forecaster, shape) = fed(300, spend);
        let monday = MONDAY as f64;
        let said = forecaster.quantiles(24.0, shape.load(monday, monday + 24.0));
        let truth = NanoUsd::from_usd((MONDAY..MONDAY + 24).map(spend).sum());
        inside += i32::from(said.p10 <= truth && truth <= said.p90);
    }
    assert!((280..=372).contains(&inside), "{inside} of 400");
}

#[test]
fn a_silent_gap_is_lived_through_and_of_a_long_one_three_months_remain() {
    let (mut stepped, _) = fed(100, |_| 1.0);
    let mut jumped = stepped;
    for hour in MONDAY..MONDAY + 50 {
        stepped.observe(hour, 0.0, |_| 1.0);
    }
    stepped.observe(MONDAY + 50, 1.0, |_| 1.0);
    jumped.observe(MONDAY + 50, 1.0, |_| 1.0);
    assert_eq!(stepped, jumped);
    jumped.observe(MONDAY + 20, 9.0, |_| 1.0);
    assert_eq!(stepped, jumped, "a closed hour stays closed");
    jumped.observe(MONDAY + 10_000, 1.0, |_| 1.0);
    assert_eq!(jumped.seen(), 2_188);
    let mut late = Forecaster::watching_since(MONDAY);
    late.observe(MONDAY + 10_000, 1.0, |_| 1.0);
    assert_eq!(late, jumped);
}

fn input<'a>(history: Option<History<'a>>, persist_log_odds: f64) -> ProjectionInput<'a> {
    ProjectionInput {
        now: at("2026-11-16T00:00:00Z"),
        spent_month: NanoUsd::from_usd(100.0),
        burn_usd_per_hour: 10.0,
        baseline_usd_per_hour: 777.0,
        request_usd: 1e-5,
        request_usd_squared: 2e-10,
        dispersion: 0.01,
        level_log_sd: 0.05,
        persist_log_odds,
        history,
    }
}

#[test]
fn a_projection_with_a_history_reverts_to_it_along_the_season() {
    let (forecaster, shape) = fed(24 * 28, |hour| if hour.rem_euclid(24) < 12 { 3.0 } else { 1.0 });
    let history = Some(History { forecaster: &forecaster, shape: &shape });
    let reverted = project(&input(history, -20.0));
    assert!((reverted.day.p50.usd() - 48.0).abs() < 4.0, "{reverted:?}");
    assert!((reverted.month_end.p50.usd() - 820.0).abs() < 60.0, "{reverted:?}");
    let persists = project(&input(history, 20.0));
    assert!((persists.day.p50.usd() - 240.0).abs() < 10.0, "{persists:?}");
    let morning = history
        .map(|it| it.quantiles(at("2026-11-16T00:00:00Z"), at("2026-11-16T12:00:00Z")).p50.usd());
    assert!(morning.is_some_and(|usd| (usd - 36.0).abs() < 4.0), "{morning:?}");
    let unseen = Forecaster::default();
    let unseen = Some(History { forecaster: &unseen, shape: &shape });
    assert_eq!(project(&input(unseen, -20.0)), project(&input(None, -20.0)));
}

#[test]
fn a_budget_lasts_as_long_as_the_season_lets_it() {
    let (forecaster, shape) = fed(24 * 28, |hour| if hour.rem_euclid(24) < 12 { 3.0 } else { 1.0 });
    let history = Some(History { forecaster: &forecaster, shape: &shape });
    let lasts = |left: f64| {
        let budget = NanoUsd::from_usd(100.0 + left);
        time_to_exhaustion(&input(history, -20.0), budget).unwrap().p50.as_secs_f64() / 3_600.0
    };
    // The first half of the day spends 36 of its 48 dollars.
    assert!((lasts(18.0) - 6.0).abs() < 1.0, "{}", lasts(18.0));
    assert!((lasts(42.0) - 18.0).abs() < 3.0, "{}", lasts(42.0));
    let over = |usd: f64| probability_over(&input(history, -20.0), NanoUsd::from_usd(usd));
    assert!(over(200.0) > 0.99 && over(2_000.0) < 0.01);
}

fn amount() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..100.0f64,
        2 => Just(0.0),
        1 => (-12.0..12.0f64).prop_map(|power| libm::pow(10.0, power)),
        1 => any::<f64>(),
    ]
}

fn any_forecaster() -> impl Strategy<Value = Forecaster> {
    let steps = prop::collection::vec((0..40i64, amount(), amount()), 0..200);
    (any::<i64>(), steps).prop_map(|(start, steps)| {
        let mut forecaster = Forecaster::default();
        let mut step = start;
        for (ahead, usd, weight) in steps {
            step = step.saturating_add(ahead);
            forecaster.observe(step, usd, |_| weight);
        }
        forecaster
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn quantiles_are_in_order_whatever_was_spent(
        forecaster in any_forecaster(), steps in amount(), load in amount(), odds in -50.0..50.0f64,
    ) {
        let it = forecaster.quantiles(steps, load);
        prop_assert!(NanoUsd::ZERO <= it.p10 && it.p10 <= it.p50 && it.p50 <= it.p90, "{:?}", it);
        let over = forecaster.probability_over(it.p50, steps, load);
        prop_assert!((0.0..=1.0).contains(&over), "{}", over);
        let history = Some(History { forecaster: &forecaster, shape: &Shape::flat() });
        let input = input(history, odds);
        let projection = project(&input);
        for it in [projection.hour, projection.day, projection.month_end] {
            prop_assert!(it.p10 <= it.p50 && it.p50 <= it.p90, "{:?}", it);
        }
        if let Some(it) = time_to_exhaustion(&input, NanoUsd::from_usd(500.0)) {
            prop_assert!(it.p10 <= it.p50);
        }
        let over = probability_over(&input, NanoUsd::from_usd(500.0));
        prop_assert!((0.0..=1.0).contains(&over), "{}", over);
    }

    /// Invariant C1.
    #[test]
    fn a_faster_burn_never_projects_less_than_the_history_allows(
        forecaster in any_forecaster(), burn in 0.0..1e6f64, factor in 1.0..100.0f64,
        odds in -50.0..50.0f64,
    ) {
        let history = Some(History { forecaster: &forecaster, shape: &Shape::flat() });
        let slow = ProjectionInput { burn_usd_per_hour: burn, ..input(history, odds) };
        let fast = ProjectionInput { burn_usd_per_hour: burn * factor, ..slow };
        let (slow, fast) = (project(&slow), project(&fast));
        for (a, b) in [
            (slow.hour, fast.hour), (slow.day, fast.day), (slow.month_end, fast.month_end),
        ] {
            for (a, b) in [(a.p10, b.p10), (a.p50, b.p50), (a.p90, b.p90)] {
                prop_assert!(a.0 as f64 <= b.0 as f64 * (1.0 + 1e-9) + 1.0, "{} {}", a, b);
            }
        }
    }

    /// Money has no unit of its own: a thousand times the spend is a thousand times the forecast.
    #[test]
    fn a_forecast_scales_with_the_spend(
        spend in prop::collection::vec(0.0..10.0f64, 1..300), steps in 1.0..1_000.0f64,
    ) {
        let (mut small, mut large) = (Forecaster::default(), Forecaster::default());
        for (step, usd) in (1..).zip(&spend) {
            small.observe(step, *usd, |_| 1.0);
            large.observe(step, usd * 1_000.0, |_| 1.0);
        }
        let (small, large) = (small.quantiles(steps, steps), large.quantiles(steps, steps));
        for (a, b) in [(small.p10, large.p10), (small.p50, large.p50), (small.p90, large.p90)] {
            let off = (a.usd() * 1_000.0 - b.usd()).abs();
            prop_assert!(off <= 1e-3 * b.usd() + 1e-5, "{} {}", a, b);
        }
    }
}
