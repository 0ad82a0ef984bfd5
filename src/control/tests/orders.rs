//! What a person orders.

use super::*;

#[test]
fn an_order_waits_for_the_change_that_is_under_way_and_is_repeated_until_it_is_done() {
    let mut control = control(Mode::Enforce);
    let cap = capped(&mut control);
    // Whether it is in force nobody knows yet, nor what stood there before.
    assert_eq!(control.give_back(&function("f"), "alice", at(30)), 1);
    assert!(control.intents().is_empty());
    control.outcome(cap, answer(OutcomeKind::Applied, number(50)));
    assert!(control.give_back_wanted(at(31)));
    let back = control.intents().pop().unwrap();
    assert_eq!((back.verb, &back.to), (Verb::Restore, &number(50)));
    assert_eq!(back.reason, "alice has ordered it");
    let standing = back.from.clone();
    control.outcome(back, answer(OutcomeKind::Failed, standing));
    assert!(!control.give_back_wanted(at(33)), "the platform is not asked every second");
    assert!(control.give_back_wanted(at(37)));
    let back = control.intents().pop().unwrap();
    control.outcome(back, answer(OutcomeKind::Applied, Setting::Unset));
    assert_eq!(control.restrictions().count(), 0);
    assert!(!control.give_back_wanted(at(60)));
}

#[test]
fn what_was_ordered_back_is_left_alone_for_the_veto_and_no_other_function_is() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
    assert_eq!(run(&mut control, 0, 10, &pulse("f", 400.0, 0.0)).len(), 1);
    assert_eq!(control.give_back(&function("g"), "alice", at(10)), 0);
    assert_eq!(control.give_all_back("alice", at(10)), 1);
    obey(&mut control, at(10));
    assert_eq!(control.restrictions().count(), 0);
    // The attack goes on.
    assert!(run(&mut control, 11, 300, &pulse("f", 400.0, 0.0)).is_empty());
    let told = control.abstentions();
    assert!(told.iter().any(|one| one.gate == GateKind::LeftAlone), "{told:?}");
    control.alarm(&alarm("h", AlarmState::Opened, 5.0, 20, 300));
    assert_eq!(run(&mut control, 300, 310, &pulse("h", 400.0, 0.0)).len(), 1);
}

#[test]
fn what_waits_for_approval_says_what_it_would_do_and_is_done_once_somebody_says_yes() {
    let mut control = control(Mode::Approve);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
    assert!(run(&mut control, 0, 60, &pulse("f", 400.0, 0.0)).is_empty());
    let told = control.abstentions();
    assert_eq!(told.iter().map(|told| told.gate).collect::<Vec<_>>(), [GateKind::Approval]);
    let reason = &told[0].reason;
    assert!(reason.contains("alarm alarm-f: waf_ip_set of 20 addresses"), "{reason}");
    assert!(told[0].gates.iter().all(|gate| gate.is_open == (gate.kind != GateKind::Approval)));
    assert_eq!(control.approve("alarm-g").unwrap_err(), "no such alarm is open");
    control.approve("alarm-f").unwrap();
    let wanted = run(&mut control, 60, 61, &pulse("f", 400.0, 0.0));
    assert_eq!(wanted.len(), 1);
    assert_eq!(wanted[0].1.to.addresses().len(), 20);
    // The next rung of the same alarm needs no other yes, another alarm does.
    let wanted = run(&mut control, 61, 100, &pulse("f", 400.0, 0.0));
    assert!(wanted.iter().any(|(_, it)| it.actuator == ActuatorKind::ReservedConcurrency));
    control.alarm(&alarm("h", AlarmState::Opened, 5.0, 20, 100));
    assert!(run(&mut control, 100, 120, &pulse("h", 400.0, 0.0)).is_empty());
}

#[test]
fn nobody_approves_anything_where_nothing_asks() {
    for mode in [Mode::Observe, Mode::Enforce] {
        let mut control = control(mode);
        control.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
        assert!(control.approve("alarm-f").is_err());
    }
}
