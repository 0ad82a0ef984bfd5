//! What must outlive the process.

pub mod journal;
