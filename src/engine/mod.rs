//! Windows, baselines, evidence and attribution: a value that is fed records and gives back alarms.

pub mod settings;

pub mod batch;
pub mod frontier;
pub mod partitions;
pub mod routes;

pub mod intake;

pub mod saved;
pub mod shard;

pub mod accounts;

pub mod account_share;
pub mod function;
pub mod watch;
pub mod window;

pub mod baseline;
pub mod detect;
pub mod learned;
pub mod ledger;
pub mod peaks;
pub mod rate_card;

pub mod alarm;
pub mod assess;
pub mod attribution;
pub mod open_alarm;

#[cfg(test)]
mod tests;
