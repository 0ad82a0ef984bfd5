//! What is in force between decisions: taken over from before a restart, found changed by somebody
//! else, or not to be added to.

use std::collections::btree_map::Entry;

use super::{Abstention, CASES_MAX, Control};
use crate::control::action::{ActuatorKind, Setting};
use crate::control::case::Case;
use crate::control::gate::GateKind;
use crate::control::restriction::{Restriction, Stage};
use crate::engine::shard::Directive;
use crate::record::FunctionKey;
use crate::units::EventTime;

impl Control {
    /// Takes over a restriction that is in force since before the start. It is given back in steps
    /// like any other once demand has been normal.
    pub fn adopt(&mut self, mut restriction: Restriction, now: EventTime) {
        let function = restriction.function.clone();
        // What nobody has confirmed may be in force.
        restriction.stage = Stage::Applied;
        let alarm_id = restriction.alarm_id.clone();
        let case = self
            .cases
            .entry(function.clone())
            .or_insert_with(|| Case::adopted(function.clone(), alarm_id, now));
        let cap = restriction.current.number();
        let actuator = restriction.actuator;
        if actuator != ActuatorKind::WafIpSet {
            case.cap_by = actuator;
        }
        *case.place(actuator) = Some(restriction);
        self.directives.push(Directive { function, restricted: true, cap });
    }

    /// What an actuator has found standing where a restriction should be, perhaps because it has
    /// lapsed there. Returns whether somebody else has put it there, in which case the function is
    /// left alone for a while.
    pub fn found(&mut self, id: &str, found: &Setting, lapsed: bool, now: EventTime) -> bool {
        let held = self.cases.values_mut().find_map(|case| case.held_by_id(id));
        let Some(place) = held else {
            return false;
        };
        let Some(restriction) = place.as_mut() else {
            return false;
        };
        if restriction.perhaps.as_ref() == Some(found) {
            restriction.current = found.clone();
        }
        let is_own = restriction.current == *found;
        if is_own {
            restriction.perhaps = None;
        }
        let never_applied = is_own && *found == restriction.prior;
        if is_own && !never_applied && !lapsed {
            return false;
        }
        let foreign = !is_own && !lapsed;
        let function = restriction.function.clone();
        let alarm_id = restriction.alarm_id.clone();
        *place = None;
        self.directives.push(Directive {
            function: function.clone(),
            restricted: false,
            cap: None,
        });
        if foreign {
            let hours = f64::from(self.settings.veto_seconds) / 3_600.0;
            let reason = format!(
                "somebody else has changed what was restricted here, so it is left alone for \
                 {hours:.1} hours"
            );
            self.abstentions.push(Abstention {
                alarm_id,
                function: function.clone(),
                gate: GateKind::LeftAlone,
                reason,
                gates: Vec::new(),
            });
            self.leave_alone(function, now);
        }
        foreign
    }

    /// Says once more what is in force where the engine has not answered yet: it may not have known
    /// the function before.
    pub(super) fn remind(&mut self) {
        let unanswered = self.cases.values().filter(|case| case.is_unseen());
        self.directives.extend(unanswered.map(|case| Directive {
            function: case.function.clone(),
            restricted: true,
            cap: case.cap.as_ref().and_then(|cap| cap.current.number()),
        }));
    }

    /// What a person has lifted or changed stays as that person left it.
    pub(super) fn leave_alone(&mut self, function: FunctionKey, now: EventTime) {
        self.left_alone.retain(|_, until| *until > now);
        let until = now.plus_ms(i64::from(self.settings.veto_seconds) * 1_000);
        let room = self.left_alone.len() < CASES_MAX;
        match self.left_alone.entry(function) {
            Entry::Occupied(mut known) => *known.get_mut() = until,
            Entry::Vacant(place) if room => drop(place.insert(until)),
            Entry::Vacant(_) => {}
        }
    }

    /// Until when a function is left to people, if it is.
    pub(super) fn left_alone_until(
        &self,
        function: &FunctionKey,
        now: EventTime,
    ) -> Option<EventTime> {
        self.left_alone.get(function).copied().filter(|until| *until > now)
    }

    /// Begins nothing new while there is a reason not to; what is in force is still given back.
    pub fn hold_off(&mut self, reason: Option<String>) {
        self.held_off = reason;
    }
}
