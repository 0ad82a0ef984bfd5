//! Whether a function may be restricted, and if not, why.

use super::{Abstention, Control};
use crate::control::case::Case;
use crate::control::gate::{Gate, GateKind};
use crate::cost::Pattern;
use crate::engine::alarm::{Alarm, Class, Severity};
use crate::record::FunctionKey;
use crate::units::{EventTime, NanoUsd};

/// What a budget that does not last opens.
const OR_BUDGET: &str = "or a budget that lasts for less than a day";

impl Control {
    /// The first gate that is shut, if any. Where something is in force already, what it was begun
    /// for does not count any more: only whether anything may be done at all.
    pub(super) fn shut_gate(&self, case: &Case, alarm: &Alarm, now: EventTime) -> Option<Gate> {
        let fresh = case.source.is_none() && case.cap.is_none();
        let always = [GateKind::HeldOff, GateKind::LeftAlone, GateKind::NeverTouch];
        let asked = GateKind::BEFORE.into_iter().filter(|kind| fresh || always.contains(kind));
        asked.map(|kind| self.gate(kind, case, alarm, now)).find(|gate| !gate.is_open)
    }

    /// Says why nothing is done, and how every gate stood: once an alarm and gate, and not in the
    /// first seconds, when amounts are rough and the gate may yet open.
    pub(super) fn abstain(&mut self, case: &mut Case, alarm: &Alarm, now: EventTime, shut: Gate) {
        if !case.tells(shut.kind, now) {
            return;
        }
        let before = GateKind::BEFORE.into_iter().map(|kind| self.gate(kind, case, alarm, now));
        let mut gates: Vec<Gate> = before.collect();
        let (alarm_id, function) = (alarm.id.clone(), alarm.function.clone());
        let (gate, reason) = (shut.kind, shut.reason.clone());
        if !GateKind::BEFORE.contains(&shut.kind) {
            gates.push(shut);
        }
        self.abstentions.push(Abstention { alarm_id, function, reason, gate, gates });
    }

    fn gate(&self, kind: GateKind, case: &Case, alarm: &Alarm, now: EventTime) -> Gate {
        let function = &case.function;
        match kind {
            GateKind::Severity => {
                let is_page = alarm.severity == Severity::Page;
                let is_open = is_page || self.budget_is_at_risk(function, alarm);
                let needs = format!("page, {OR_BUDGET}");
                Gate::of_words(kind, is_open, alarm.severity.as_str(), &needs)
                    .because("it is a notice, and no budget is at risk")
            }
            GateKind::HeldOff => match &self.held_off {
                Some(reason) => Gate::of_words(kind, false, reason, "nothing").because(reason),
                None => Gate::of_words(kind, true, "nothing", "nothing"),
            },
            GateKind::LeftAlone => match self.left_alone_until(function, now) {
                Some(until) => {
                    let until = format!("left alone until {until}");
                    Gate::of_words(kind, false, &until, "nobody's").because(format!(
                        "somebody else has changed what was restricted here, so it is {until}"
                    ))
                }
                None => Gate::of_words(kind, true, "nobody's", "nobody's"),
            },
            GateKind::NeverTouch => self.never_touched(function),
            GateKind::Crowd => {
                let is_crowd = alarm.class == Class::Crowd;
                let is_open = !is_crowd || self.budget_is_at_risk(function, alarm);
                let needs = format!("no crowd, {OR_BUDGET}");
                Gate::of_words(kind, is_open, alarm.class.as_str(), &needs).because(
                    "the callers look like a crowd of ordinary ones, and no budget is at risk",
                )
            }
            GateKind::ActionFloor => self.worth_acting(case, alarm),
            GateKind::FunctionsPerMinute | GateKind::Cap => {
                let most = self.settings.functions_per_minute_max;
                let lately = u32::try_from(self.restricted_lately.len()).unwrap_or(u32::MAX);
                let (value, needs) = (f64::from(lately) + 1.0, f64::from(most));
                Gate::of_numbers(kind, lately < most, value, needs, "functions a minute at most")
                    .because(format!("{most} functions were restricted within the last minute"))
            }
        }
    }

    fn never_touched(&self, function: &FunctionKey) -> Gate {
        let matches = |pattern: &&Pattern| pattern.matches(&function.as_ref());
        let found = self.never_touch.iter().find(matches).is_some();
        let value = if found { "on the list" } else { "not on the list" };
        Gate::of_words(GateKind::NeverTouch, !found, value, "not on the list")
            .because("the function is on the never-touch list")
    }

    /// The alarm speaks once a minute, the pulse every second; and an attack that is thin on every
    /// single function is none on the account.
    fn worth_acting(&self, case: &Case, alarm: &Alarm) -> Gate {
        let floor = NanoUsd::from_usd(self.settings.action_floor_usd_per_hour);
        let excess = alarm.excess_per_hour.max(NanoUsd::from_usd(case.residual_per_hour()));
        let together = self.at_stake.get(&case.function.account).copied().unwrap_or_default();
        let value = excess.max(together);
        let others = match together > excess {
            true => format!("; all attacks on the account together burn {together}"),
            false => String::new(),
        };
        let is_open = value >= floor;
        let (kind, unit) = (GateKind::ActionFloor, "dollars an hour at least");
        Gate::of_numbers(kind, is_open, value.usd(), floor.usd(), unit).because(format!(
            "the excess of {excess} an hour is below the action floor of {floor} an hour{others}"
        ))
    }
}
