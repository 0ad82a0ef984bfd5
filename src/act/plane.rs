//! The calls that a hand on a real platform makes, and what can become of them.

use std::time::Duration;

use crate::control::action::{ActuatorKind, Intent, LossClass, Room};
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

/// A limit of how much runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Whose.
    pub function: &'a FunctionKey,
    /// Which one.
    pub actuator: ActuatorKind,
    /// The mapping of the queue whose limit it is, where it is known already.
    pub mapping: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// That of a restriction.
    pub fn of(restriction: &'a Restriction) -> Self {
        let Restriction { function, actuator, mapping, .. } = restriction;
        Self { function, actuator: *actuator, mapping: mapping.as_deref() }
    }
}

/// What feeds a function, as far as a cap would lose of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// Callers, or streams: these keep what a cap holds up, for a day at least.
    Calls,
    /// One queue, whose own limit loses nothing; the mapping that reads it.
    Queue(String),
    /// Several event sources, a queue among them.
    Several,
}

impl Feed {
    /// Why a function that is so fed must not be restricted by this intent, and by what it can be
    /// without a loss.
    pub fn objection(&self, intent: &Intent) -> Option<(&'static str, Option<ActuatorKind>)> {
        let by_queue = intent.actuator == ActuatorKind::SqsMaximumConcurrency;
        match self {
            Feed::Queue(_) if by_queue => None,
            Feed::Calls if !by_queue => None,
            _ if intent.loss_class == LossClass::Lossy => None,
            Feed::Queue(_) => Some((
                "a queue feeds it, of which a cap would send good messages to the dead letters",
                Some(ActuatorKind::SqsMaximumConcurrency),
            )),
            Feed::Calls | Feed::Several if by_queue => {
                let words = "it is not one queue that feeds it";
                Some((words, Some(ActuatorKind::ReservedConcurrency)))
            }
            Feed::Calls | Feed::Several => Some((
                "several event sources feed it, a queue among them, of which a cap would send \
                 good messages to the dead letters; control.lossy allows that",
                None,
            )),
        }
    }
}

/// What the platform is to do by itself when nobody renews a restriction.
#[derive(Debug, Clone)]
pub struct Release<'a> {
    /// Its name, which is that of what is restricted: a later restriction of the same function
    /// takes the place of an earlier one's release.
    pub key: String,
    /// What is given back.
    pub target: Target<'a>,
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
            target: Target::of(restriction),
            prior: restriction.prior.number(),
            expires_at: restriction.expires_at,
        }
    }
}

/// The calls that are needed; one attempt each.
pub trait ControlPlane: Send {
    /// What feeds a function.
    ///
    /// # Errors
    /// See [`Fault`].
    fn feed(&mut self, function: &FunctionKey) -> Result<Feed, Fault>;

    /// What the function's account has left of its concurrency; `None` where nobody can tell.
    ///
    /// # Errors
    /// See [`Fault`].
    fn room(&mut self, function: &FunctionKey) -> Result<Option<Room>, Fault>;

    /// A limit; `None` where there is none.
    ///
    /// # Errors
    /// See [`Fault`].
    fn limit(&mut self, target: Target<'_>) -> Result<Option<u32>, Fault>;

    /// Sets it, or takes it away.
    ///
    /// # Errors
    /// See [`Fault`].
    fn set_limit(&mut self, target: Target<'_>, value: Option<u32>) -> Result<(), Fault>;

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
