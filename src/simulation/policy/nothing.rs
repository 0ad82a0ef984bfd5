//! Nobody does anything.

use super::{Claims, Policy};

/// Lets everything pass.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Policy for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn claims(&self) -> Claims {
        Claims::default()
    }
}
