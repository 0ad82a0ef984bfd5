use super::*;
use crate::control::action::{
    ActuatorKind, Intent, LossClass, Outcome, OutcomeKind, Setting, Value, Verb,
};
use crate::control::settings::Mode;
use crate::cost::Usage;

const START: i64 = 30_000_000;

fn function() -> FunctionKey {
    FunctionKey {
        account: "1".parse().unwrap(),
        region: "us-east-1".into(),
        name: "checkout".into(),
    }
}

fn row(minute: i64, requests: u64, expected: f64) -> MinuteRow {
    MinuteRow {
        minute,
        function: function(),
        usage: Usage { requests, ..Usage::ZERO },
        nano_usd: NanoUsd(requests.cast_signed() * 1_000),
        expected,
        billed_ms: 100.0,
        memory_mb: 128,
        evidence_log10: 0.0,
        busyness: None,
    }
}

fn planned(verb: Verb, to: Setting, seconds: i64, legit_refused_share: f64) -> Action {
    let cap = matches!(to, Setting::Set(Value::Number(_)));
    let at = EventTime::saturating_from_ms(START * 60_000 + seconds * 1_000);
    let intent = Intent {
        id: "i".to_owned(),
        alarm_id: "a".to_owned(),
        restriction_id: if cap { "cap" } else { "set" }.to_owned(),
        function: function(),
        verb,
        actuator: if cap { ActuatorKind::ReservedConcurrency } else { ActuatorKind::WafIpSet },
        from: Setting::Unknown,
        perhaps: None,
        to,
        loss_class: LossClass::Refusing,
        expires_at: at,
        decided_at: at,
        reason: String::new(),
        legit_refused_share,
    };
    let outcome = Outcome::of(OutcomeKind::Planned, Setting::Unknown, String::new());
    Action { intent, outcome, mode: Mode::Observe }
}

#[test]
fn refused_sources_take_their_share_of_the_excess_while_the_plan_stands() {
    let mut plans = Plans::default();
    let addresses = Setting::Set(Value::Addresses(vec!["192.0.2.1".into()]));
    plans.action(&planned(Verb::Restrict, addresses, 30, 0.01), 0.8);
    plans.action(&planned(Verb::Restore, Setting::Unset, 120, 0.0), 0.0);
    // 600 calls are expected and 3,000 come, in two parts: 0.8 × 2,400 are the sources'.
    for minute in 0..3 {
        plans.minute(&row(START + minute, 1_000, 10.0));
        plans.minute(&row(START + minute, 2_000, 10.0));
    }
    let would_have = plans.would_have();
    // Half of the first minute, all of the second, none of the third.
    assert_eq!(would_have.refused_requests.round(), 1.5 * 1_920.0);
    assert_eq!(would_have.refused_legitimate_requests.round(), 1.5 * 6.0);
    assert_eq!(would_have.saved_nano_usd, NanoUsd(2_880_000));
    assert_eq!(would_have.spent_nano_usd, NanoUsd(6_000_000));
}

#[test]
fn a_cap_lets_in_what_it_has_room_for() {
    let mut plans = Plans::default();
    plans.action(&planned(Verb::Restrict, Setting::Set(Value::Number(4)), 0, 0.0), 0.0);
    plans.action(&planned(Verb::Tighten, Setting::Set(Value::Number(2)), 60, 0.1), 0.0);
    // Four at once, 100 ms each: 2,400 calls a minute; then 1,200.
    plans.minute(&row(START, 3_000, 10.0));
    plans.minute(&row(START + 1, 3_000, 10.0));
    let would_have = plans.would_have();
    assert_eq!(would_have.refused_requests.round(), 600.0 + 1_800.0);
    assert_eq!(would_have.refused_legitimate_requests.round(), 60.0);
}

#[test]
fn cells_become_longer_and_lose_nothing() {
    let mut cells = Cells::default();
    for minute in 0..100_000 {
        cells.add(&row(START + minute * 3, 2, 0.0));
    }
    assert!(cells.cells.len() <= 600, "{}", cells.cells.len());
    assert_eq!(cells.cells.values().map(|cell| cell.requests).sum::<u64>(), 200_000);
    let line = cells.line(|cell| cell.requests as f64);
    assert!(line.len() <= 2_000);
    assert!(line.is_sorted_by(|a, b| a.0 < b.0));
}
