//! The `bursar` executable.

fn main() {}
