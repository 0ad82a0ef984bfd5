use super::*;

/// A daily wave of five-minute values with noise that repeats itself nowhere.
fn wave(records: u32) -> Vec<f64> {
    let mut state = 7_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let value = |record: u32| {
        let phase = f64::from(record) * std::f64::consts::TAU / 288.0;
        100.0 + 40.0 * libm::sin(phase) + 10.0 * noise()
    };
    (0..records).map(value).collect()
}

fn scores(values: impl IntoIterator<Item = Option<f64>>) -> Vec<Score> {
    let mut scorer = Scorer::new(Settings::default());
    values.into_iter().map(|value| scorer.score(None, value)).collect()
}

fn alarms(values: &[f64]) -> Vec<usize> {
    let scores = scores(values.iter().copied().map(Some));
    scores.iter().enumerate().filter(|(_, said)| said.alarm).map(|(record, _)| record).collect()
}

#[test]
fn a_spike_a_drop_and_an_unusual_order_are_each_told_at_once() {
    for (what, values) in [
        ("a spike", &[400.0][..]),
        ("a drop", &[-60.0]),
        ("usual values in an unusual order", &[55.0, 145.0, 55.0, 145.0]),
    ] {
        let mut series = wave(2_400);
        series[2_000..2_000 + values.len()].copy_from_slice(values);
        let told = alarms(&series);
        let told = told.iter().find(|&&record| record >= 2_000);
        assert!(told.is_some_and(|&record| record < 2_004), "{what}: {told:?}");
    }
}

#[test]
fn an_anomaly_that_lasts_is_told_once() {
    let mut series = wave(3_000);
    series[2_000..2_080].fill(400.0);
    let told = alarms(&series);
    assert_eq!(told.iter().filter(|record| (2_000..2_100).contains(*record)).count(), 1);
}

#[test]
fn what_happens_every_day_is_no_alarm_any_more() {
    let mut series = wave(288 * 21);
    for day in 2..21 {
        series[day * 288 + 36] = 400.0;
    }
    let told = alarms(&series);
    let spikes = |days: std::ops::Range<usize>| {
        let spikes = days.map(|day| day * 288 + 36);
        spikes.filter(|record| told.contains(record)).count()
    };
    assert_eq!(spikes(2..3), 1);
    assert_eq!(spikes(10..21), 0);
}

#[test]
fn the_score_of_a_beginning_is_the_beginning_of_the_score() {
    let mut series = wave(1_500);
    series[700] = 500.0;
    series[1_200] = -500.0;
    let whole = scores(series.iter().copied().map(Some));
    for length in [0, 1, 49, 51, 700, 701, 1_201] {
        let part = scores(series[..length].iter().copied().map(Some));
        assert_eq!(part, whole[..length], "{length}");
    }
}

#[test]
fn a_missing_value_scores_nothing_and_changes_nothing() {
    let series = wave(1_000);
    let expected = scores(series.iter().copied().map(Some));
    for hole in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
        let with_holes = scores(series.iter().flat_map(|&value| [hole, Some(value)]));
        assert!(with_holes.iter().step_by(2).all(|said| *said == Score::default()));
        let values: Vec<_> = with_holes.into_iter().skip(1).step_by(2).collect();
        assert_eq!(values, expected);
    }
}

#[test]
fn what_is_constant_periodic_or_short_gives_no_alarm() {
    let rounded = |record: u32| f64::from(record % 7) / 10.0 + 0.1 - f64::from(record % 7) / 10.0;
    for (what, series) in [
        ("nothing", Vec::new()),
        ("one value", vec![1e18]),
        ("zero", vec![0.0; 3_000]),
        ("constant", vec![-17.25; 3_000]),
        ("constant but for rounding", (0..3_000).map(rounded).collect()),
        ("both zeros", (0..3_000).map(|record| if record % 2 == 0 { 0.0 } else { -0.0 }).collect()),
        ("periodic", (0..3_000).map(|record| f64::from(record % 24)).collect()),
        ("fewer than the warm-up", wave(50)),
    ] {
        assert_eq!(alarms(&series), [0_usize; 0], "{what}");
    }
}

#[test]
fn every_score_is_between_nothing_and_one_whatever_comes() {
    let large = 2_f64.powi(60);
    let values = [0.0, -0.0, large, -large, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 1e-310, 0.5];
    let mut state = 3_usize;
    let series = (0..6_000).map(|record| {
        state = (state * 31 + record) % 1_009;
        Some(values[state % values.len()] * if state.is_multiple_of(5) { 0.3 } else { 1.0 })
    });
    for said in scores(series) {
        assert!((0.0..=1.0).contains(&said.score), "{said:?}");
    }
}

#[test]
fn the_unit_of_the_metric_does_not_matter() {
    let series = wave(2_000);
    let expected = alarms(&series);
    for factor in [2_f64.powi(-40), -1.0, 2_f64.powi(40)] {
        let scaled: Vec<f64> = series.iter().map(|value| value * factor).collect();
        assert_eq!(alarms(&scaled), expected, "{factor}");
    }
}

#[test]
fn nothing_is_said_of_the_first_day_however_long_the_steps_are_or_wherever_the_clock_goes() {
    let minute = 60_000_i64;
    for (what, step_ms, jump_ms, first) in [
        ("no time", None, 0, 50),
        ("hours", Some(60 * minute), 0, 50),
        ("five minutes", Some(5 * minute), 0, 288),
        ("seconds", Some(1_000), 0, 1_440),
        ("standing still", Some(0), 0, 1_440),
        ("back to the beginning of time", Some(minute), i64::MIN, 1_440),
        ("forward to its end", Some(minute), i64::MAX, 100),
    ] {
        let mut scorer = Scorer::new(Settings::default());
        // From record 55 on each value surprises more than the one before.
        let said = (0..2_000_i32).position(|record| {
            let jump = if record == 100 { jump_ms } else { 0 };
            let time = step_ms.map(|step: i64| (i64::from(record) * step).saturating_add(jump));
            scorer.score(time, Some(libm::exp(f64::from(record * record) / 6_000.0))).score > 0.0
        });
        assert_eq!(said, Some(first), "{what}");
    }
}
