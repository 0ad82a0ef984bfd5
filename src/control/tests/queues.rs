//! What becomes of functions that a queue or a stream feeds.

use super::*;
use crate::control::action::LossClass;

#[test]
fn what_a_queue_feeds_is_limited_there_at_once_and_loses_nothing() {
    let mut control = control(Mode::Enforce);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, 0));
    control.pulse(pulse("f", 400.0, 0.0));
    control.tick(at(6));
    let cap = control.intents().remove(0);
    assert_eq!(cap.actuator, ActuatorKind::ReservedConcurrency);
    let refused = answer(OutcomeKind::Refused, Setting::Unknown);
    let by_queue = ActuatorKind::SqsMaximumConcurrency;
    control.outcome(cap, Outcome { instead: Some(by_queue), ..refused.clone() });
    control.tick(at(7));
    let limit = control.intents().remove(0);
    assert_eq!((limit.actuator, limit.legit_refused_share), (by_queue, 0.0));
    assert_eq!(limit.loss_class, LossClass::Lossless);
    // And back, where the queue was taken away meanwhile: not every second.
    let instead = Some(ActuatorKind::ReservedConcurrency);
    control.outcome(limit, Outcome { instead, ..refused.clone() });
    control.tick(at(8));
    assert!(control.intents().is_empty());
    control.tick(at(30));
    assert_eq!(control.intents()[0].actuator, ActuatorKind::ReservedConcurrency);
}

#[test]
fn a_queue_is_never_limited_below_two_nor_above_a_thousand() {
    for (per_second, expected) in [(30.0, Some(2)), (40_000.0, None)] {
        let mut control = control(Mode::Enforce);
        control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, 0));
        let mut pulse = pulse("f", per_second, 0.0);
        (pulse.expected, pulse.billed_ms, pulse.usd_per_call) = (0.1 * per_second, 300.0, 1e-3);
        if expected.is_some() {
            pulse.expected = 0.0;
        }
        control.pulse(pulse);
        control.tick(at(6));
        let cap = control.intents().remove(0);
        let refused = answer(OutcomeKind::Refused, Setting::Unknown);
        let instead = Some(ActuatorKind::SqsMaximumConcurrency);
        control.outcome(cap, Outcome { instead, ..refused });
        control.tick(at(7));
        let limits: Vec<_> = control.intents().iter().map(|it| it.to.number()).collect();
        assert_eq!(limits.first().copied().flatten(), expected, "{per_second}");
    }
}

#[test]
fn a_cap_that_can_lose_what_waits_says_so() {
    let settings = ControlSettings {
        mode: Mode::Enforce,
        lossy: vec!["f*".to_owned()],
        ..ControlSettings::default()
    };
    for (name, expected) in [("f", LossClass::Lossy), ("g", LossClass::Refusing)] {
        let mut control = Control::new(settings.clone(), Vec::new());
        control.alarm(&alarm(name, AlarmState::Opened, 5.0, 0, 0));
        control.pulse(pulse(name, 400.0, 0.0));
        control.tick(at(6));
        assert_eq!(control.intents()[0].loss_class, expected);
    }
}
