//! What a person orders while bursar runs: to act on an alarm, to give a function back and leave it
//! alone.

use super::Control;
use crate::control::action::Verb;
use crate::control::case::Case;
use crate::control::settings::Mode;
use crate::record::FunctionKey;
use crate::units::EventTime;

/// An order whose change was refused or lost is carried out again after so long.
const AGAIN_AFTER_MS: i64 = 5_000;

/// A function that a person wants back.
#[derive(Debug)]
pub(super) struct Wanted {
    who: String,
    tried: Option<EventTime>,
}

impl Control {
    /// Gives back what is in force or planned for a function and leaves it alone for
    /// `control.veto`. Returns how many restrictions that ends. It does not wait for a tick: these
    /// come with records, and an order counts without any.
    pub fn give_back(&mut self, function: &FunctionKey, who: &str, now: EventTime) -> usize {
        self.leave_alone(function.clone(), now);
        let held = self.cases.get(function).map_or(0, |case| case.held().len());
        let waits = self.cases.get(function).is_some_and(|case| case.waiting > 0);
        if held > 0 || waits {
            let wanted = Wanted { who: who.to_owned(), tried: None };
            self.wanted_back.insert(function.clone(), wanted);
            self.give_back_wanted(now);
        }
        held
    }

    /// Lets an open alarm be acted on, for as long as it is open.
    ///
    /// # Errors
    /// There is no such alarm, or nobody need approve it.
    pub fn approve(&mut self, alarm_id: &str) -> Result<usize, String> {
        if self.settings.mode != Mode::Approve {
            return Err("nothing waits for approval, the mode is another one".to_owned());
        }
        let open = |case: &&mut Case| case.alarm_id == alarm_id && case.alarm.is_some();
        let case = self.cases.values_mut().find(open).ok_or("no such alarm is open")?;
        case.approved = true;
        Ok(0)
    }

    /// The same for every function with a restriction.
    pub fn give_all_back(&mut self, who: &str, now: EventTime) -> usize {
        let busy = self.cases.iter().filter(|(_, case)| !case.holds_nothing() || case.waiting > 0);
        let functions: Vec<_> = busy.map(|(function, _)| function.clone()).collect();
        functions.iter().map(|function| self.give_back(function, who, now)).sum()
    }

    /// Goes on with what could not be done at once: a change was under way, or it failed. Says
    /// whether there are new intents.
    pub fn give_back_wanted(&mut self, now: EventTime) -> bool {
        let before = self.intents.len();
        let functions: Vec<_> = self.wanted_back.keys().cloned().collect();
        for function in functions {
            let Some(mut case) = self.cases.remove(&function) else {
                self.wanted_back.remove(&function);
                continue;
            };
            if case.waiting == 0 && case.holds_nothing() {
                self.wanted_back.remove(&function);
            } else if case.waiting == 0
                && let Some(wanted) = self.wanted_back.get_mut(&function)
                && wanted.tried.is_none_or(|tried| now.since_ms(tried) >= AGAIN_AFTER_MS)
            {
                wanted.tried = Some(now);
                let reason = format!("{} has ordered it", wanted.who);
                for held in case.held() {
                    let to = held.prior.clone();
                    let intent = self.change(&held, Verb::Restore, to, now, reason.clone());
                    self.intents.push(intent);
                    case.waiting += 1;
                }
            }
            self.cases.insert(function, case);
        }
        self.intents.len() > before
    }
}
