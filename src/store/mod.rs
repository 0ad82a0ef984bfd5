//! What must outlive the process.

pub mod journal;

pub mod chain;

pub mod disk;
pub mod snapshot;
pub mod snapshots;
