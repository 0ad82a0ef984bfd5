//! The gates between an alarm and a first restriction of its function: what each of them looks at,
//! how it stands and what would open it. All must be open; the first that is shut is the reason
//! why nothing is done.

use std::borrow::Cow;

use serde::Serialize;

use crate::keep::kept_words;

/// What a gate looks at, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// Only what wakes somebody is acted on, or what a budget does not stand for a day.
    Severity,
    /// Nothing new is begun while actions are stopped or the journal is not whole.
    HeldOff,
    /// What somebody else has changed is theirs for a while.
    LeftAlone,
    /// Nothing new is begun while people work on the function.
    Maintenance,
    /// Some functions are never touched.
    NeverTouch,
    /// A crowd is welcome for as long as a budget stands it.
    Crowd,
    /// Small money is not worth a restriction.
    ActionFloor,
    /// So many functions a minute and no more.
    FunctionsPerMinute,
    /// What legitimate callers need must be left of the account's concurrency.
    Room,
    /// A cap must be below what is asked for.
    Cap,
    /// A person must have approved it, where the mode says so.
    Approval,
}

/// A number or a word.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reading {
    /// In the gate's unit.
    Number(f64),
    /// As it is called elsewhere.
    Word(Cow<'static, str>),
}

/// How a gate stood.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// Which.
    #[serde(rename = "gate")]
    pub kind: GateKind,
    /// Whether it let the action pass.
    #[serde(rename = "open")]
    pub is_open: bool,
    /// What it saw.
    pub value: Reading,
    /// What opens it; of numbers, the least or the most.
    pub needs: Reading,
    /// Of the numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// Why it was shut, in plain words.
    #[serde(skip)]
    pub reason: String,
}

impl Gate {
    /// A gate that looks at words.
    pub fn of_words(
        kind: GateKind,
        is_open: bool,
        value: impl Into<Cow<'static, str>>,
        needs: &'static str,
    ) -> Self {
        let (value, needs) = (Reading::Word(value.into()), Reading::Word(needs.into()));
        Self { kind, is_open, value, needs, unit: None, reason: String::new() }
    }

    /// A gate that looks at numbers.
    pub fn of_numbers(
        kind: GateKind,
        is_open: bool,
        value: f64,
        needs: f64,
        unit: &'static str,
    ) -> Self {
        let (value, needs) = (Reading::Number(value), Reading::Number(needs));
        Self { kind, is_open, value, needs, unit: Some(unit), reason: String::new() }
    }

    /// Why it is shut, if it is: gates are asked every second.
    #[must_use]
    pub fn because(mut self, reason: impl FnOnce() -> String) -> Self {
        if !self.is_open {
            self.reason = reason();
        }
        self
    }
}

kept_words!(GateKind {
    Severity = 0,
    HeldOff = 1,
    LeftAlone = 2,
    NeverTouch = 3,
    Crowd = 4,
    ActionFloor = 5,
    FunctionsPerMinute = 6,
    Cap = 7,
    Room = 8,
    Maintenance = 9,
    Approval = 10,
});
