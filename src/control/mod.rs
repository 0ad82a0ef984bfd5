//! From alarms to intents: which rung, how tight, and when to give back.

pub mod settings;
