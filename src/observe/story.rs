//! A replay in short, for its report: how busy it was, what was said, what would have been done,
//! and what that would have saved and refused.
//!
//! Nothing here grows with the records: time is cut into cells that become longer as it goes on,
//! and alarms, actions and minutes beyond a maximum are only counted.

mod cells;
#[cfg(test)]
mod tests;
mod would_have;

use std::collections::BTreeMap;

use crate::control::action::Action;
use crate::engine::alarm::{AccountAlarm, Alarm, AlarmState, Class, MinuteRow, Severity};
use crate::engine::attribution::Attribution;
use crate::record::FunctionKey;
use crate::units::{EventTime, NanoUsd};

pub use cells::{Cell, Cells};
pub use would_have::WouldHave;

use would_have::Plans;

/// Alarms that are told one by one.
const ALARMS_MAX: usize = 5_000;
/// The same for actions.
const ACTIONS_MAX: usize = 5_000;

/// A replay in short.
#[derive(Debug, Default)]
pub struct Story {
    /// How busy it was.
    pub cells: Cells,
    /// What was said, by the alarms' names.
    pub alarms: BTreeMap<String, AlarmStory>,
    /// What would have been done, by time.
    pub actions: Vec<ActionStory>,
    /// Alarms and actions that are not among these.
    pub omitted: u64,
    plans: Plans,
}

/// An alarm, as it was last told.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmStory {
    /// Whom it is about.
    pub about: String,
    /// When it was first said.
    pub at: EventTime,
    /// When it was last said.
    pub until: EventTime,
    /// Whether that closed it.
    pub closed: bool,
    /// The worst it has been.
    pub page: bool,
    /// What it looked like.
    pub class: Class,
    /// What it has cost beyond what was expected.
    pub excess: NanoUsd,
    /// Shares of the excess by source.
    shares: BTreeMap<Box<str>, f64>,
}

/// An action.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionStory {
    /// When.
    pub at: EventTime,
    /// What, to whom.
    pub what: String,
    /// Why.
    pub reason: String,
    /// Share of legitimate requests that it was expected to refuse.
    pub legit_refused_share: f64,
}

impl Story {
    /// An alarm has opened, changed or closed.
    pub fn alarm(&mut self, alarm: &Alarm) {
        let stated = AlarmStory {
            about: alarm.function.to_string(),
            at: alarm.decided_at,
            until: alarm.decided_at,
            closed: alarm.state == AlarmState::Closed,
            page: alarm.severity == Severity::Page,
            class: alarm.class,
            excess: alarm.excess.nano_usd,
            shares: shares(&alarm.attribution),
        };
        self.state(&alarm.id, stated);
    }

    /// The same for an alarm over an account.
    pub fn account_alarm(&mut self, alarm: &AccountAlarm) {
        let stated = AlarmStory {
            about: format!("account {}", alarm.account),
            at: alarm.decided_at,
            until: alarm.decided_at,
            closed: alarm.state == AlarmState::Closed,
            page: alarm.severity == Severity::Page,
            class: Class::Unknown,
            excess: alarm.excess.nano_usd,
            shares: BTreeMap::new(),
        };
        self.state(&alarm.id, stated);
    }

    fn state(&mut self, id: &str, stated: AlarmStory) {
        if let Some(known) = self.alarms.get_mut(id) {
            *known = AlarmStory { at: known.at, page: known.page || stated.page, ..stated };
        } else if self.alarms.len() < ALARMS_MAX {
            self.alarms.insert(id.to_owned(), stated);
        } else if !stated.closed {
            self.omitted += 1;
        }
    }

    /// Something would have been done.
    pub fn action(&mut self, action: &Action) {
        let intent = &action.intent;
        let shares = self.alarms.get(&intent.alarm_id).map(|alarm| &alarm.shares);
        let covers: f64 = intent.to.addresses().iter().filter_map(|name| shares?.get(name)).sum();
        self.plans.action(action, covers.min(1.0));
        if self.actions.len() >= ACTIONS_MAX {
            self.omitted += 1;
            return;
        }
        let to = match (intent.to.number(), intent.to.addresses().len()) {
            (Some(cap), _) => format!(" to {cap}"),
            (None, 0) => String::new(),
            (None, addresses) => format!(" {addresses} addresses"),
        };
        let (verb, actuator) = (intent.verb.as_str(), intent.actuator.as_str());
        self.actions.push(ActionStory {
            at: intent.decided_at,
            what: format!("{verb} {actuator}{to} {}", intent.function),
            reason: intent.reason.clone(),
            legit_refused_share: intent.legit_refused_share,
        });
    }

    /// A function's minute is over.
    pub fn minute(&mut self, row: &MinuteRow) {
        self.cells.add(row);
        self.plans.minute(row);
    }

    /// What the planned actions would have come to.
    pub fn would_have(&self) -> WouldHave {
        self.plans.would_have()
    }

    /// What alarms have found beyond the expected, by function or account, the largest first.
    pub fn excesses(&self) -> Vec<(&str, NanoUsd)> {
        let mut sums: BTreeMap<&str, NanoUsd> = BTreeMap::new();
        for alarm in self.alarms.values() {
            *sums.entry(&alarm.about).or_default() += alarm.excess;
        }
        let mut sums: Vec<(&str, NanoUsd)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, excess)| std::cmp::Reverse(*excess));
        sums
    }
}

/// Shares of addresses and networks; a firewall knows no others.
fn shares(attribution: &Attribution) -> BTreeMap<Box<str>, f64> {
    attribution.networks().map(|source| (source.source.clone(), source.share)).collect()
}

/// A function's minute.
type Place = (FunctionKey, i64);
