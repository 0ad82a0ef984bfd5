//! Whether a function may be restricted, and if not, why.

use std::borrow::Cow;

use super::{Abstention, Control};
use crate::control::case::Case;
use crate::control::gate::{Gate, GateKind};
use crate::control::maintenance::Window;
use crate::control::settings::Mode;
use crate::engine::alarm::{Alarm, Class, Severity};
use crate::units::{EventTime, NanoUsd};

/// How one gate stands.
type Ask = fn(&Control, &Case, &Alarm, EventTime) -> Gate;

/// What is asked before a rung is chosen, in this order.
const BEFORE: [Ask; 8] = [
    Control::severity,
    Control::held_off,
    Control::left_alone,
    Control::maintenance,
    Control::never_touched,
    Control::crowd,
    Control::action_floor,
    Control::functions_per_minute,
];
/// And where something is in force already: what it was begun for does not count any more, only
/// whether anything may be done at all.
const ALWAYS: [Ask; 3] = [Control::held_off, Control::left_alone, Control::never_touched];

impl Control {
    /// The first gate that is shut, if any.
    pub(super) fn shut_gate(&self, case: &Case, alarm: &Alarm, now: EventTime) -> Option<Gate> {
        let asked = if case.holds_nothing() { &BEFORE[..] } else { &ALWAYS[..] };
        asked.iter().map(|ask| ask(self, case, alarm, now)).find(|gate| !gate.is_open)
    }

    /// Says why nothing is done, and how every gate stood: once an alarm and gate, and not in the
    /// first seconds, when amounts are rough and the gate may yet open.
    pub(super) fn abstain(&mut self, case: &mut Case, alarm: &Alarm, now: EventTime, shut: Gate) {
        if !case.tells(shut.kind, now) {
            return;
        }
        let mut gates: Vec<Gate> = BEFORE.iter().map(|ask| ask(self, case, alarm, now)).collect();
        let (alarm_id, function) = (alarm.id.clone(), alarm.function.clone());
        let (gate, reason) = (shut.kind, shut.reason.clone());
        if matches!(shut.kind, GateKind::Room | GateKind::Cap | GateKind::Approval) {
            gates.push(shut);
        }
        self.abstentions.push(Abstention { alarm_id, function, reason, gate, gates });
    }

    /// Whether what is about to begin waits for a person, which is said once an alarm.
    pub(super) fn waits_for_approval(
        &mut self,
        case: &mut Case,
        now: EventTime,
        planned: impl FnOnce() -> String,
    ) -> bool {
        let asks = self.settings.mode == Mode::Approve && !case.approved && case.holds_nothing();
        let Some(alarm) = case.alarm.clone().filter(|_| asks) else {
            return false;
        };
        let words = planned();
        let gate = Gate::of_words(GateKind::Approval, false, "not approved", "approved")
            .because(|| format!("it waits for somebody to approve alarm {}: {words}", alarm.id));
        self.abstain(case, &alarm, now, gate);
        true
    }

    fn severity(&self, case: &Case, alarm: &Alarm, _: EventTime) -> Gate {
        let is_page = alarm.severity == Severity::Page;
        let is_open = is_page || self.budget_is_at_risk(&case.function, alarm);
        let needs = "page, or a budget that lasts for less than a day";
        Gate::of_words(GateKind::Severity, is_open, alarm.severity.as_str(), needs)
            .because(|| "it is a notice, and no budget is at risk".to_owned())
    }

    fn held_off(&self, _: &Case, _: &Alarm, _: EventTime) -> Gate {
        let reason = self.held_off.clone();
        let is_open = reason.is_none();
        let value = reason.clone().map_or("nothing".into(), Cow::from);
        Gate::of_words(GateKind::HeldOff, is_open, value, "nothing")
            .because(|| reason.unwrap_or_default())
    }

    fn left_alone(&self, case: &Case, _: &Alarm, now: EventTime) -> Gate {
        let until = self.left_alone_until(&case.function, now);
        let until = until.map(|until| format!("left alone until {until}"));
        let value = until.clone().map_or("nobody's".into(), Cow::from);
        Gate::of_words(GateKind::LeftAlone, until.is_none(), value, "nobody's").because(|| {
            let until = until.unwrap_or_default();
            format!("somebody else has changed what was restricted here, so it is {until}")
        })
    }

    fn maintenance(&self, case: &Case, _: &Alarm, now: EventTime) -> Gate {
        let function = case.function.as_ref();
        let open = self.maintenance.iter().find(|window| window.holds(&function, now));
        let value = open.map_or("none".into(), |it| Cow::from(it.as_str().to_owned()));
        Gate::of_words(GateKind::Maintenance, open.is_none(), value, "none").because(|| {
            let window = open.map(Window::as_str).unwrap_or_default();
            format!("nothing new is restricted in the maintenance window {window} (UTC)")
        })
    }

    fn never_touched(&self, case: &Case, _: &Alarm, _: EventTime) -> Gate {
        let function = case.function.as_ref();
        let is_listed = self.never_touch.iter().any(|pattern| pattern.matches(&function));
        let value = if is_listed { "on the list" } else { "not on the list" };
        Gate::of_words(GateKind::NeverTouch, !is_listed, value, "not on the list")
            .because(|| "the function is on the never-touch list".to_owned())
    }

    fn crowd(&self, case: &Case, alarm: &Alarm, _: EventTime) -> Gate {
        let is_crowd = alarm.class == Class::Crowd;
        let is_open = !is_crowd || self.budget_is_at_risk(&case.function, alarm);
        let needs = "no crowd, or a budget that lasts for less than a day";
        Gate::of_words(GateKind::Crowd, is_open, alarm.class.as_str(), needs).because(|| {
            "the callers look like a crowd of ordinary ones, and no budget is at risk".to_owned()
        })
    }

    /// The alarm speaks once a minute, the pulse every second; and an attack that is thin on every
    /// single function is none on the account.
    fn action_floor(&self, case: &Case, alarm: &Alarm, _: EventTime) -> Gate {
        let floor = NanoUsd::from_usd(self.settings.action_floor_usd_per_hour);
        let excess = alarm.excess_per_hour.max(NanoUsd::from_usd(case.residual_per_hour()));
        let together = self.at_stake.get(&case.function.account).copied().unwrap_or_default();
        let value = excess.max(together);
        let (kind, unit) = (GateKind::ActionFloor, "dollars an hour at least");
        Gate::of_numbers(kind, value >= floor, value.usd(), floor.usd(), unit).because(|| {
            let others = match together > excess {
                true => format!("; all attacks on the account together burn {together}"),
                false => String::new(),
            };
            format!(
                "the excess of {excess} an hour is below the action floor of {floor} an \
                 hour{others}"
            )
        })
    }

    fn functions_per_minute(&self, _: &Case, _: &Alarm, _: EventTime) -> Gate {
        let most = self.settings.functions_per_minute_max;
        let lately = u32::try_from(self.restricted_lately.len()).unwrap_or(u32::MAX);
        let (kind, unit) = (GateKind::FunctionsPerMinute, "functions a minute at most");
        Gate::of_numbers(kind, lately < most, f64::from(lately) + 1.0, f64::from(most), unit)
            .because(|| format!("{most} functions were restricted within the last minute"))
    }
}
