//! Control against a platform that is played by hand: alarms and pulses in, intents out.

mod effects;
mod orders;
mod queues;
mod rooms;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::action::{ActuatorKind, Intent, Outcome, OutcomeKind, Setting, Value, Verb};
use super::gate::{Gate, GateKind, Reading};
use super::ladder::Control;
use super::restriction::Stage;
use super::settings::{ControlSettings, Mode};
use crate::cost::{Budget, BudgetScope, Projection};
use crate::engine::alarm::{Alarm, AlarmState, Channel, Class, Excess, Pulse, Severity};
use crate::engine::attribution::{Attribution, SourceShare};
use crate::engine::batch::Dimension;
use crate::engine::detect::rate::ChannelReading;
use crate::record::{FunctionKey, Position};
use crate::units::{EventTime, NanoUsd};

pub(crate) fn at(second: i64) -> EventTime {
    EventTime::from_second(1_780_000_000 + second)
}

fn function(name: &str) -> FunctionKey {
    format!("111122223333:eu-west-1:{name}").parse().unwrap()
}

pub(crate) fn alarm(
    name: &str,
    state: AlarmState,
    usd_per_hour: f64,
    sources: usize,
    second: i64,
) -> Alarm {
    let share = 1.0 / sources.max(1) as f64;
    let sources = (0..sources).map(|index| SourceShare {
        dimension: Dimension::Address,
        source: format!("203.0.113.{index}").into(),
        share,
        low: share * 0.9,
        high: share,
        ordinary: 0.001,
    });
    let sources: Vec<_> = sources.collect();
    let reading = ChannelReading {
        evidence_log10: 11.0,
        threshold_log10: 10.2,
        expected: 10.0,
        observed: 400.0,
    };
    Alarm {
        id: format!("alarm-{name}"),
        state,
        severity: Severity::Page,
        function: function(name),
        onset: at(second),
        evidence_at: at(second),
        decided_at: at(second),
        position: Position::default(),
        sequence: 0,
        channels: BTreeMap::from([(Channel::RateFast, reading)]),
        class: Class::Unknown,
        excess: Excess { requests: 1_000, mb_ms: 1_000, nano_usd: NanoUsd(1) },
        excess_per_hour: NanoUsd::from_usd(usd_per_hour),
        projected: Projection::default(),
        loss_bound: NanoUsd(1),
        attribution: Attribution {
            diffuse: sources.is_empty(),
            distinct: 500,
            sources,
            ..Attribution::default()
        },
    }
}

/// 10 calls a second of 0.3 s are expected, one costs $4e-6; by Little's law about 10 at once are
/// legitimate.
pub(crate) fn pulse(name: &str, served: f64, throttled: f64) -> Pulse {
    Pulse {
        function: function(name),
        alarmed: true,
        served,
        forbidden: 0.0,
        throttled,
        expected: 10.0,
        tolerated: 16.0,
        dispersion: 0.1,
        billed_ms: 300.0,
        memory_mb: 512,
        usd_per_call: 4e-6,
    }
}

pub(crate) fn control(mode: Mode) -> Control {
    Control::new(ControlSettings { mode, ..ControlSettings::default() }, Vec::new())
}

/// Answers every intent as a willing platform does; returns what was wanted.
fn obey(control: &mut Control, now: EventTime) -> Vec<Intent> {
    let intents = control.intents();
    for intent in &intents {
        let acts = control.mode().acts();
        let kind = if acts { OutcomeKind::Applied } else { OutcomeKind::Planned };
        let outcome = Outcome { effective_at: Some(now), ..answer(kind, Setting::Unset) };
        control.outcome(intent.clone(), outcome);
    }
    intents
}

/// Runs seconds `from..to`, with the same pulse each; returns all intents with their second.
pub(crate) fn run(control: &mut Control, from: i64, to: i64, pulse: &Pulse) -> Vec<(i64, Intent)> {
    let mut wanted = Vec::new();
    for second in from..to {
        control.pulse(pulse.clone());
        control.tick(at(second));
        wanted.extend(obey(control, at(second)).into_iter().map(|intent| (second, intent)));
    }
    wanted
}

#[test]
fn sources_that_can_be_told_apart_are_throttled_first_and_the_cap_waits_for_the_effect() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
    let wanted = run(&mut control, 0, 10, &pulse("f", 400.0, 0.0));
    assert_eq!(wanted.len(), 1, "{wanted:?}");
    assert_eq!(wanted[0].1.actuator, ActuatorKind::WafIpSet);
    assert_eq!(wanted[0].1.to.addresses().len(), 20);
    // It works: nothing more is wanted.
    assert!(run(&mut control, 10, 100, &pulse("f", 10.0, 0.0)).is_empty());
    // It no longer does: now the function is capped.
    let wanted = run(&mut control, 100, 101, &pulse("f", 400.0, 0.0));
    assert_eq!(wanted[0].1.actuator, ActuatorKind::ReservedConcurrency);
    assert!(wanted[0].1.to.number().unwrap() >= 10, "A1");
    assert!(wanted[0].1.legit_refused_share > 0.5);
}

#[test]
fn a_diffuse_flood_is_capped_once_no_names_have_come() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, 0));
    let wanted = run(&mut control, 0, 20, &pulse("f", 400.0, 0.0));
    assert_eq!(wanted.len(), 1, "{wanted:?}");
    assert_eq!(wanted[0].1.actuator, ActuatorKind::ReservedConcurrency);
    assert_eq!(wanted[0].0, 5);
    let restriction = control.restrictions().next().unwrap();
    assert_eq!(restriction.prior, Setting::Unset);
    assert_eq!(restriction.stage, Stage::Applied);
}

#[test]
fn a_budget_with_room_widens_the_cap_and_a_spent_one_narrows_it_to_the_users_need() {
    let cap_with = |budget: Option<(f64, f64)>| {
        let budgets = budget.map(|(monthly, _)| Budget {
            scope: BudgetScope::Account("111122223333".parse().unwrap()),
            monthly: NanoUsd::from_usd(monthly),
        });
        let settings = ControlSettings { mode: Mode::Enforce, ..ControlSettings::default() };
        let mut control = Control::new(settings, budgets.into_iter().collect());
        if let Some((_, spent)) = budget {
            control.spent(0, NanoUsd::from_usd(spent));
        }
        control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, 0));
        let wanted = run(&mut control, 0, 20, &pulse("f", 400.0, 0.0));
        wanted.first().and_then(|(_, intent)| intent.to.number())
    };
    let (usual, rich, spent) =
        (cap_with(None), cap_with(Some((200.0, 0.0))), cap_with(Some((200.0, 200.0))));
    assert!(rich > usual && usual > spent, "{rich:?} {usual:?} {spent:?}");
    // With a million to spend the flood is affordable: no cap.
    assert_eq!(cap_with(Some((1e6, 0.0))), None);
}

#[test]
fn a_crowd_is_throttled_when_it_would_spend_what_is_left_of_a_budget_within_a_day() {
    let wanted = |monthly: f64, severity: Severity| {
        let budget = Budget {
            scope: BudgetScope::Account("111122223333".parse().unwrap()),
            monthly: NanoUsd::from_usd(monthly),
        };
        let settings = ControlSettings { mode: Mode::Enforce, ..ControlSettings::default() };
        let mut control = Control::new(settings, vec![budget]);
        let crowd = alarm("f", AlarmState::Opened, 5.0, 0, 0);
        control.alarm(&Alarm { class: Class::Crowd, severity, ..crowd });
        let wanted = run(&mut control, 0, 20, &pulse("f", 400.0, 0.0));
        (wanted.len(), control.abstentions().len())
    };
    assert_eq!(wanted(121.0, Severity::Page), (0, 1));
    assert_eq!(wanted(119.0, Severity::Page), (1, 0));
    assert_eq!(wanted(119.0, Severity::Notice), (1, 0));
    assert_eq!(wanted(121.0, Severity::Notice), (0, 0));
}

#[test]
fn what_is_given_back_goes_in_steps_and_ends_with_the_prior_state() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, 0));
    run(&mut control, 0, 20, &pulse("f", 400.0, 0.0));
    control.alarm(&alarm("f", AlarmState::Closed, 0.0, 0, 20));
    let wanted = run(&mut control, 20, 620, &pulse("f", 10.0, 0.0));
    let verbs: Vec<Verb> = wanted.iter().map(|(_, intent)| intent.verb).collect();
    assert_eq!(verbs, [Verb::Relax, Verb::Relax, Verb::Restore]);
    assert_eq!(wanted[2].1.to, Setting::Unset);
    assert!(wanted[2].0 - 20 <= 600, "restored {} s after the end", wanted[2].0 - 20);
    assert_eq!(control.restrictions().count(), 0);
}

#[test]
fn who_trips_the_canary_waits_longer_for_the_next() {
    let mut control = control(Mode::Enforce);
    let mut first_relax = Vec::new();
    let mut second = 0;
    for _ in 0..4 {
        control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, second));
        run(&mut control, second, second + 40, &pulse("f", 400.0, 0.0));
        second += 40;
        let quiet_from = second;
        control.alarm(&alarm("f", AlarmState::Closed, 0.0, 0, second));
        while control.restrictions().all(|held| held.stage == Stage::Applied) {
            run(&mut control, second, second + 1, &pulse("f", 10.0, 0.0));
            second += 1;
        }
        first_relax.push(second - quiet_from);
    }
    assert!(first_relax.windows(2).all(|pair| pair[1] > pair[0]), "{first_relax:?}");
    assert!(first_relax[3] >= 2 * first_relax[2] - 2, "{first_relax:?}");
}

#[test]
fn a_tripped_canary_of_a_single_source_does_not_jam_the_ladder() {
    for sources in 1..4 {
        let mut control = control(Mode::Enforce);
        control.alarm(&alarm("f", AlarmState::Opened, 5.0, sources, 0));
        run(&mut control, 0, 20, &pulse("f", 10.0, 0.0));
        control.alarm(&alarm("f", AlarmState::Closed, 0.0, 0, 20));
        let relaxed = run(&mut control, 20, 180, &pulse("f", 10.0, 0.0));
        assert_eq!(relaxed[0].1.verb, Verb::Relax, "{sources}");
        control.alarm(&alarm("f", AlarmState::Opened, 5.0, sources, 180));
        let wanted = run(&mut control, 180, 300, &pulse("f", 400.0, 0.0));
        assert!(
            wanted.iter().any(|(_, i)| i.actuator == ActuatorKind::ReservedConcurrency),
            "{sources}: {wanted:?}"
        );
        let trips = wanted.iter().filter(|(_, i)| i.reason.contains("trip")).count();
        assert!(trips <= 1, "{sources}: {wanted:?}");
    }
}

#[test]
fn what_has_lapsed_is_lifted_even_while_the_stream_lags() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
    run(&mut control, 0, 5, &pulse("f", 400.0, 0.0));
    control.expire(at(3_000));
    assert!(control.intents().is_empty());
    control.expire(at(4_000));
    let lifted = obey(&mut control, at(4_000));
    assert_eq!(lifted.len(), 1);
    assert_eq!((lifted[0].verb, &lifted[0].to), (Verb::Expire, &Setting::Unset));
}

#[test]
fn a_cap_that_is_used_to_the_full_is_not_taken_for_quiet() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, 0));
    let wanted = run(&mut control, 0, 20, &pulse("f", 400.0, 0.0));
    let cap = f64::from(wanted[0].1.to.number().unwrap());
    control.alarm(&alarm("f", AlarmState::Closed, 0.0, 0, 20));
    let saturated = pulse("f", cap / 0.3, 0.0);
    assert!(run(&mut control, 20, 1_000, &saturated).is_empty());
    // But not for ever: its time runs out (A2).
    let wanted = run(&mut control, 1_000, 5_000, &saturated);
    assert_eq!(wanted.len(), 1);
    assert_eq!(wanted[0].1.verb, Verb::Expire);
}

#[test]
fn cheap_excess_and_protected_functions_are_left_alone_and_the_gate_is_told_once() {
    let settings = ControlSettings {
        mode: Mode::Enforce,
        never_touch: vec!["pay-*".into()],
        ..ControlSettings::default()
    };
    let mut control = Control::new(settings, Vec::new());
    control.alarm(&alarm("cheap", AlarmState::Opened, 0.5, 5, 0));
    control.alarm(&alarm("pay-card", AlarmState::Opened, 500.0, 5, 0));
    let notice = alarm("quiet", AlarmState::Opened, 50.0, 5, 0);
    control.alarm(&Alarm { severity: Severity::Notice, ..notice });
    let mut told = Vec::new();
    for second in 0..60 {
        control.tick(at(second));
        assert!(control.intents().is_empty());
        told.extend(control.abstentions().into_iter().map(|told| (second, told)));
    }
    let shut = |gates: &[Gate]| {
        let shut = gates.iter().filter(|gate| !gate.is_open);
        shut.map(|gate| gate.kind).collect::<Vec<_>>()
    };
    let summary: Vec<_> = told
        .iter()
        .map(|(second, told)| (*second, &*told.function.name, told.gate, shut(&told.gates)))
        .collect();
    let expected = [
        (5, "pay-card", GateKind::NeverTouch),
        (5, "cheap", GateKind::ActionFloor),
        (30, "quiet", GateKind::Severity),
    ];
    assert_eq!(summary, expected.map(|(second, name, gate)| (second, name, gate, vec![gate])));
    assert!(told.iter().all(|(_, told)| told.gates.len() == 8));
    let floor = told[1].1.gates.iter().find(|gate| gate.kind == GateKind::ActionFloor).unwrap();
    assert_eq!((&floor.value, &floor.needs), (&Reading::Number(0.5), &Reading::Number(1.0)));
    assert!(told[1].1.reason.contains("action floor"));
}

#[test]
fn an_attack_that_is_thin_on_every_function_is_acted_on_for_what_it_burns_on_the_account() {
    for (class, burn, acts) in
        [(Class::Attack, 0.05, true), (Class::Attack, 0.03, false), (Class::Unknown, 0.05, false)]
    {
        let mut control = control(Mode::Enforce);
        let opened = |index: u8, usd| {
            let thin = alarm(&format!("f{index}"), AlarmState::Opened, usd, 5, 0);
            Alarm { class, ..thin }
        };
        (0..30).for_each(|index| control.alarm(&opened(index, burn)));
        let mut wanted = Vec::new();
        for second in 0..180 {
            control.tick(at(second));
            for intent in obey(&mut control, at(second)) {
                // What is refused burns no more, and the rest must not be forgiven for that.
                let held = Alarm { class, ..alarm("f0", AlarmState::Updated, 0.0, 5, second) };
                let (function, id) = (intent.function.clone(), intent.alarm_id.clone());
                control.alarm(&Alarm { function, id, ..held });
                wanted.push(intent);
            }
        }
        assert_eq!(wanted.len(), if acts { 30 } else { 0 }, "{class:?} at {burn}");
        assert!(wanted.iter().all(|intent| intent.actuator == ActuatorKind::WafIpSet));
    }
}

#[test]
fn a_cap_that_would_stop_nothing_is_not_set_and_the_reason_is_told() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("dear", AlarmState::Opened, 5.0, 0, 0));
    // Nobody calls more often than usual, but every call is dear.
    let dear = Pulse { usd_per_call: 4e-4, expected: 8.0, ..pulse("dear", 9.0, 0.0) };
    assert_eq!(run(&mut control, 0, 60, &dear), []);
    let reasons: Vec<_> = control.abstentions().into_iter().map(|told| told.reason).collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("would stop next to nothing"), "{reasons:?}");
}

#[test]
fn only_so_many_functions_are_restricted_in_a_minute_and_the_costliest_go_first() {
    let settings = ControlSettings {
        mode: Mode::Enforce,
        functions_per_minute_max: 3,
        ..ControlSettings::default()
    };
    let mut control = Control::new(settings, Vec::new());
    for index in 0..10_u8 {
        let name = format!("f{index}");
        control.alarm(&alarm(&name, AlarmState::Opened, 5.0 + f64::from(index), 5, 0));
    }
    let mut wanted = Vec::new();
    for second in 0..120 {
        control.tick(at(second));
        wanted.extend(obey(&mut control, at(second)).into_iter().map(|intent| (second, intent)));
    }
    let first: Vec<_> =
        wanted.iter().filter(|(s, _)| *s < 60).map(|(_, i)| &*i.function.name).collect();
    assert_eq!(first, ["f9", "f8", "f7"]);
    assert_eq!(wanted.len(), 6, "{wanted:?}");
}

#[test]
fn a_rung_that_the_platform_refuses_is_tried_again_ever_more_rarely() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
    let mut tries = Vec::new();
    for second in 0..300 {
        control.pulse(pulse("f", 400.0, 0.0));
        control.tick(at(second));
        for intent in control.intents() {
            tries.push(second);
            let outcome = Outcome::of(OutcomeKind::Refused, Setting::Unknown, "no".into());
            control.outcome(intent, outcome);
        }
    }
    assert_eq!(tries, [0, 15, 45, 105, 225], "each time after twice as long");
    assert_eq!(control.restrictions().count(), 0);
}

#[test]
fn observing_plans_the_same_rungs_and_takes_what_they_would_stop_off_the_excess() {
    let mut control = control(Mode::Observe);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
    // Nothing changes on the platform, so the flood goes on; the plan covers all of it.
    let wanted = run(&mut control, 0, 120, &pulse("f", 400.0, 0.0));
    assert_eq!(wanted.len(), 1, "{wanted:?}");
    assert!(control.restrictions().all(|held| held.stage == Stage::Planned));
    assert!(control.directives().iter().all(|directive| !directive.restricted), "A3");
}

/// What may happen to one function in one second.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Open,
    Update,
    Close,
    Nothing,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        1 => Just(Happening::Open),
        2 => Just(Happening::Update),
        2 => Just(Happening::Close),
        20 => Just(Happening::Nothing),
    ]
}

proptest! {
    /// A1 and A2, whatever alarms, rates and answers come in whatever order.
    #[test]
    fn no_cap_falls_below_the_floor_and_everything_is_lifted_in_the_end(
        steps in proptest::collection::vec(
            (happening(), 0.0_f64..2_000.0, 0_usize..40, 0_u8..10), 1..300)
    ) {
        let mut control = control(Mode::Enforce);
        let mut second = 0;
        for (happening, served, sources, luck) in steps {
            let say = |state| alarm("f", state, served * 0.0144, sources, second);
            match happening {
                Happening::Open => control.alarm(&say(AlarmState::Opened)),
                Happening::Update => control.alarm(&say(AlarmState::Updated)),
                Happening::Close => control.alarm(&say(AlarmState::Closed)),
                Happening::Nothing => {}
            }
            control.pulse(pulse("f", served, 0.0));
            control.tick(at(second));
            for intent in control.intents() {
                if let Setting::Set(Value::Number(cap)) = &intent.to {
                    prop_assert!(*cap >= 1);
                    prop_assert!(*cap >= 9, "below what users need: {cap}");
                }
                let kind = match luck {
                    0 => OutcomeKind::Refused,
                    1 => OutcomeKind::Failed,
                    _ => OutcomeKind::Applied,
                };
                let answered = answer(kind, Setting::Unset);
                let outcome = Outcome { effective_at: Some(at(second)), ..answered };
                control.outcome(intent, outcome);
            }
            second += 7;
        }
        // The attack ends; restrictions do not outlive it.
        control.alarm(&alarm("f", AlarmState::Closed, 0.0, 0, second));
        for _ in 0..10_000 {
            control.pulse(pulse("f", 10.0, 0.0));
            control.tick(at(second));
            obey(&mut control, at(second));
            second += 1;
        }
        prop_assert_eq!(control.restrictions().count(), 0);
    }
}

fn answer(kind: OutcomeKind, from: Setting) -> Outcome {
    Outcome::of(kind, from, String::new())
}

fn number(value: u32) -> Setting {
    Setting::Set(Value::Number(value))
}

/// The cap that is wanted in the first seconds of a flood.
fn capped(control: &mut Control) -> Intent {
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, 0));
    for second in 0..20 {
        control.pulse(pulse("f", 400.0, 0.0));
        control.tick(at(second));
        if let Some(intent) = control.intents().pop() {
            return intent;
        }
    }
    panic!("no cap is wanted");
}

#[test]
fn a_cap_that_would_widen_what_is_reserved_or_undo_what_another_has_set_is_objected_to() {
    let mut control = control(Mode::Enforce);
    let cap = capped(&mut control);
    let value = cap.to.number().unwrap();
    assert!(cap.objection(&number(value)).is_some() && cap.objection(&number(1)).is_some());
    assert!(
        cap.objection(&number(value + 1)).is_none() && cap.objection(&Setting::Unset).is_none()
    );
    let restore = Intent { from: number(value), to: Setting::Unset, verb: Verb::Restore, ..cap };
    assert!(restore.objection(&number(value)).is_none());
    assert!(restore.objection(&Setting::Unset).is_none(), "what is there already is no objection");
    assert!(restore.objection(&number(value + 7)).is_some());
}

#[test]
fn what_somebody_else_has_changed_is_theirs() {
    let mut control = control(Mode::Enforce);
    let cap = capped(&mut control);
    control.outcome(cap, answer(OutcomeKind::Applied, Setting::Unset));
    control.restore_all(at(30));
    let restore = control.intents().pop().unwrap();
    control.outcome(restore, answer(OutcomeKind::Refused, number(26)));
    assert_eq!(control.restrictions().count(), 0);
}

#[test]
fn a_cap_of_which_nobody_knows_whether_it_was_set_is_given_back() {
    let mut control = control(Mode::Enforce);
    let cap = capped(&mut control);
    control.outcome(cap, answer(OutcomeKind::Failed, number(50)));
    control.alarm(&alarm("f", AlarmState::Closed, 0.0, 0, 20));
    let wanted = run(&mut control, 20, 620, &pulse("f", 10.0, 0.0));
    assert_eq!(wanted.last().unwrap().1.to, number(50));
    let widest = wanted.iter().filter_map(|(_, intent)| intent.to.number()).max();
    assert_eq!(widest, Some(50), "never wider than it was");
}

#[test]
fn addresses_that_are_named_later_join_those_that_are_refused() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 4, 0));
    let wanted = run(&mut control, 0, 8, &pulse("f", 400.0, 0.0));
    assert_eq!(wanted[0].1.to.addresses().len(), 4);
    control.alarm(&alarm("f", AlarmState::Updated, 5.0, 9, 8));
    let wanted = run(&mut control, 8, 14, &pulse("f", 400.0, 0.0));
    let more: Vec<_> = wanted.iter().map(|(_, it)| (it.verb, it.to.addresses().len())).collect();
    assert_eq!(more, [(Verb::Tighten, 9)]);
}

#[test]
fn a_change_of_which_nobody_knows_whether_it_was_made_is_followed_by_either() {
    for found in [Setting::Unset, number(3)] {
        let mut control = control(Mode::Enforce);
        let cap = capped(&mut control);
        let value = cap.to.number().unwrap();
        control.outcome(cap, answer(OutcomeKind::Applied, Setting::Unset));
        control.restore_all(at(30));
        let restore = control.intents().pop().unwrap();
        control.outcome(restore, answer(OutcomeKind::Failed, number(value)));
        control.restore_all(at(60));
        let again = control.intents().pop().expect("it is not tried again");
        let is_foreign = again.objection(&found).is_some();
        assert_eq!(is_foreign, found == number(3), "{found:?}");
        assert!(again.objection(&number(value)).is_none());
    }
}

#[test]
fn in_a_maintenance_window_nothing_is_begun_and_behind_it_is() {
    // `at(0)` is 2026-05-28 20:26:40, a Thursday.
    let settings = ControlSettings {
        mode: Mode::Enforce,
        maintenance: vec!["Thu 20:00-20:27 f*".to_owned()],
        ..ControlSettings::default()
    };
    let mut control = Control::new(settings, Vec::new());
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
    control.alarm(&alarm("g", AlarmState::Opened, 5.0, 20, 0));
    assert_eq!(run(&mut control, 0, 20, &pulse("f", 400.0, 0.0)).len(), 1, "g");
    let told = control.abstentions();
    assert_eq!(told.iter().map(|told| told.gate).collect::<Vec<_>>(), [GateKind::Maintenance]);
    assert!(told[0].reason.contains("Thu 20:00-20:27 f*"), "{}", told[0].reason);
    let wanted = run(&mut control, 20, 30, &pulse("f", 400.0, 0.0));
    assert_eq!(wanted.len(), 1);
    assert_eq!(&*wanted[0].1.function.name, "f");
}
