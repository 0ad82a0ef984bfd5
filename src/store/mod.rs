//! What must outlive the process.

pub mod journal;

pub mod disk;
pub mod snapshot;
pub mod snapshots;
