//! Deeds that bursar would never do, for the defects that consist of them.

use std::sync::Arc;

use super::defect::Defect;
use super::hands::{Hands, SharedDeeds};
use super::lab::Lab;
use super::plan::Plan;
use crate::act::Actuator as _;
use crate::control::action::{ActuatorKind, Intent, LossClass, Setting, Value, Verb};
use crate::record::FunctionKey;
use crate::simulation::plant::lock;
use crate::simulation::platform::Command;
use crate::units::EventTime;

/// Does what a defect wants done when the window begins.
pub(super) fn at_start(plan: &Plan, lab: &Lab<'_>, deeds: &SharedDeeds, defect: Option<Defect>) {
    match defect {
        Some(Defect::CapsEverybody) => {
            for spec in &plan.scenario.functions {
                let function = spec.key.clone();
                let stop = Command::SetReserved { function, value: 0 };
                drop(lock(&lab.plant).command(stop, lab.now));
            }
        }
        Some(Defect::ForbiddenTouch) => {
            let forbidden = &plan.settings.control.never_touch;
            let specs = plan.scenario.functions.iter();
            let mut touched = specs.filter(|spec| forbidden.iter().any(|n| **n == *spec.key.name));
            if let Some(spec) = touched.next() {
                cap(plan, lab, deeds, &spec.key);
            }
        }
        _ => {}
    }
}

/// Caps a function.
pub(super) fn cap(plan: &Plan, lab: &Lab<'_>, deeds: &SharedDeeds, function: &FunctionKey) {
    let intent = intent(function, lab.now);
    let mut hands = Hands::new(plan, &lab.plant, &Arc::clone(deeds), None);
    hands.apply(&intent, lab.now);
}

fn intent(function: &FunctionKey, now: EventTime) -> Intent {
    Intent {
        id: String::new(),
        alarm_id: String::new(),
        restriction_id: String::new(),
        function: function.clone(),
        verb: Verb::Restrict,
        actuator: ActuatorKind::ReservedConcurrency,
        from: Setting::Unknown,
        perhaps: None,
        to: Setting::Set(Value::Number(1)),
        loss_class: LossClass::Refusing,
        expires_at: now,
        decided_at: now,
        reason: String::new(),
        legit_refused_share: 0.0,
    }
}
