//! What surrounds the pure parts in a running process: clock, threads, wiring, records of what was
//! decided.

pub mod daemon;

pub mod guard;
pub mod recorded;

pub mod baselines;
pub mod reach;
pub mod state;
pub mod wiring;

mod door;
pub mod feed;
pub mod pipeline;
pub mod shards;
pub mod wallets;

pub mod dead_letter;
pub mod gauges;
pub mod recorder;

pub mod clock;
