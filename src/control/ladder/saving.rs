//! Control that is written down and goes on elsewhere.

use super::{CASES_MAX, Control};
use crate::control::settings::Mode;
use crate::engine::shard::Directive;
use crate::keep::{Bytes, Keep, Unfit, ensure};

impl Control {
    /// Writes down what it knows; with no intent left to take.
    pub fn keep(&self, out: &mut Vec<u8>) {
        let Self {
            settings: _,
            never_touch: _,
            budgets: _,
            cases,
            restricted_lately,
            intents: _,
            abstentions: _,
            directives,
            // The rest is told anew with every tick.
            spent: _,
            left_alone,
            held_off: _,
            at_stake: _,
        } = self;
        cases.keep(out);
        restricted_lately.keep(out);
        directives.keep(out);
        left_alone.keep(out);
    }

    /// Goes on from there. What is really in force is in the journal and comes back from there, by
    /// [`Self::adopt`]; only what was planned is taken from here, and only to go on planning.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.cases = Keep::regain(from)?;
        self.restricted_lately = Keep::regain(from)?;
        self.directives = Keep::regain(from)?;
        self.left_alone = Keep::regain(from)?;
        // Those that were adopted come on top.
        ensure(self.cases.len() <= 2 * CASES_MAX && self.left_alone.len() <= CASES_MAX)?;
        let plans = self.settings.mode == Mode::Observe;
        for (function, case) in &mut self.cases {
            ensure(case.function == *function)?;
            // Nobody will answer any more.
            case.waiting = 0;
            for held in [&mut case.source, &mut case.cap] {
                let Some(restriction) = held else { continue };
                if restriction.is_in_force() || !plans {
                    let function = function.clone();
                    self.directives.push(Directive { function, restricted: false, cap: None });
                    *held = None;
                }
            }
        }
        Ok(())
    }
}
