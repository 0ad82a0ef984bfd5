//! What surrounds the pure parts in a running process.

pub mod dead_letter;
