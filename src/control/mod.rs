//! From alarms to intents: which rung, how tight, and when to give back.
//!
//! A value without clock or I/O: alarms, pulses and outcomes go in, intents come out. Named
//! invariants, asserted in debug builds and by the tests:
//!
//! - **A1** no cap below what legitimate callers are expected to need, nor below the floor;
//! - **A2** every restriction is lifted in the end: by the canary, or when its time is over;
//! - **A3** in mode observe nothing is applied;
//! - **A4** a function on the never-touch list gets no intent.

pub mod settings;

pub mod action;
pub mod gate;
pub mod restriction;

pub mod ladder;

mod case;

pub mod cap;
pub mod room;

#[cfg(test)]
pub(crate) mod tests;
