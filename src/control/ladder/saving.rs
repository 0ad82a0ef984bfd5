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
            lossy: _,
            maintenance: _,
            budgets: _,
            cases,
            restricted_lately,
            intents: _,
            abstentions: _,
            effects: _,
            directives,
            // The rest is told anew with every tick.
            spent: _,
            left_alone,
            held_off: _,
            at_stake: _,
            // Whoever ordered it was told; what is in force is in the journal.
            wanted_back: _,
            rooms: _,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::{alarm, at, control, pulse, run};
    use crate::engine::alarm::AlarmState;

    /// Control that restricts a function and leaves it alone, and another that goes on from it.
    fn cut(mode: Mode) -> (Control, Control) {
        let mut one = control(mode);
        one.alarm(&alarm("f", AlarmState::Opened, 5.0, 20, 0));
        assert!(!run(&mut one, 0, 40, &pulse("f", 400.0, 0.0)).is_empty());
        one.leave_alone(one.cases.keys().next().unwrap().clone(), at(40));
        let mut bytes = Vec::new();
        one.keep(&mut bytes);
        let mut other = control(mode);
        let mut from = Bytes::new(&bytes);
        other.regain(&mut from).unwrap();
        assert!(from.is_empty());
        for end in 0..bytes.len() {
            assert!(control(mode).regain(&mut Bytes::new(&bytes[..end])).is_err());
        }
        (one, other)
    }

    #[test]
    fn who_only_plans_goes_on_planning() {
        let (mut one, mut other) = cut(Mode::Observe);
        assert_eq!(other.restrictions().count(), one.restrictions().count());
        let closed = alarm("f", AlarmState::Closed, 5.0, 20, 50);
        let [expected, found] = [&mut one, &mut other].map(|control| {
            control.alarm(&closed);
            let wanted = run(control, 41, 3_000, &pulse("f", 10.0, 0.0));
            (wanted, format!("{control:?}"))
        });
        assert!(!expected.0.is_empty());
        assert_eq!(found.0, expected.0);
    }

    #[test]
    fn what_is_in_force_is_believed_of_the_journal_alone() {
        let (one, mut other) = cut(Mode::Enforce);
        assert_eq!(other.restrictions().count(), 0);
        assert_eq!(other.left_alone, one.left_alone);
        assert!(!other.directives().last().unwrap().restricted, "all is lifted in the engine");
        let cap = one.restrictions().last().unwrap().clone();
        other.adopt(cap.clone(), at(60));
        assert_eq!(other.restrictions().map(|held| &held.id).collect::<Vec<_>>(), [&cap.id]);
        assert!(other.directives().iter().all(|directive| directive.restricted));
    }
}
