//! Windows, baselines, evidence and attribution: a value that is fed records and gives back alarms.

pub mod settings;
