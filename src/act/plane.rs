//! The calls that a hand on a real platform makes, and what can become of them.

use std::time::Duration;

use crate::control::restriction::Restriction;
use crate::record::FunctionKey;
use crate::store::journal::key;
use crate::units::EventTime;

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There is no such function.
    Missing(String),
    /// It is not allowed, or not possible: nothing has changed and nothing will by asking again.
    Refused(String),
    /// Too many calls, or another change is under way: nothing has changed, and asking again may
    /// help, after the pause that the platform wants.
    Busy(String, Option<Duration>),
    /// Nobody knows whether it was carried out.
    Unclear(String),
}

impl Fault {
    /// In words.
    pub fn words(&self) -> &str {
        match self {
            Fault::Missing(words)
            | Fault::Refused(words)
            | Fault::Busy(words, _)
            | Fault::Unclear(words) => words,
        }
    }
}

/// What the platform is to do by itself when nobody renews a restriction.
#[derive(Debug, Clone)]
pub struct Release<'a> {
    /// Its name, which is that of what is restricted: a later restriction of the same function
    /// takes the place of an earlier one's release.
    pub key: String,
    /// The function.
    pub function: &'a FunctionKey,
    /// What stood there before.
    pub prior: Option<u32>,
    /// When the restriction lapses.
    pub expires_at: EventTime,
}

impl<'a> Release<'a> {
    /// That of a restriction.
    pub fn of(restriction: &'a Restriction) -> Self {
        Self {
            key: key(&restriction.function, restriction.actuator),
            function: &restriction.function,
            prior: restriction.prior.number(),
            expires_at: restriction.expires_at,
        }
    }
}

/// The calls that are needed; one attempt each.
pub trait ControlPlane: Send {
    /// A function's reserved concurrency; `None` where it has none.
    ///
    /// # Errors
    /// See [`Fault`].
    fn reserved(&mut self, function: &FunctionKey) -> Result<Option<u32>, Fault>;

    /// Sets it, or takes it away.
    ///
    /// # Errors
    /// See [`Fault`].
    fn reserve(&mut self, function: &FunctionKey, value: Option<u32>) -> Result<(), Fault>;

    /// Leaves or moves the release of a restriction: at its expiry the platform itself writes the
    /// prior state back.
    ///
    /// # Errors
    /// See [`Fault`].
    fn leave_release(&mut self, release: &Release<'_>) -> Result<(), Fault>;

    /// Withdraws it; one that is not there is no error.
    ///
    /// # Errors
    /// See [`Fault`].
    fn withdraw_release(&mut self, release: &Release<'_>) -> Result<(), Fault>;

    /// Lets time pass.
    fn pause(&mut self, time: Duration);
}
