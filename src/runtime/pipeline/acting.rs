//! Between control and its hands: intents out, outcomes in.

use std::time::Duration;

use super::Pipeline;
use crate::act::Held;
use crate::act::hands::Heard;
use crate::control::restriction::Restriction;
use crate::observe::orders::{Order, Signed};
use crate::runtime::clock;
use crate::units::EventTime;

/// What is in force is looked after so often.
const TENDED_EVERY_MS: i64 = 10_000;
/// A stop waits so long for what it has given back.
const RESTORE_PATIENCE: Duration = Duration::from_secs(3);

impl Pipeline {
    /// Takes over restrictions that are in force since before the start.
    pub fn adopt(&mut self, restrictions: Vec<Restriction>, now: EventTime) {
        for restriction in restrictions {
            self.control.adopt(restriction, now);
        }
    }

    /// Hears what the hands have done meanwhile and lets them look after what is in force. To be
    /// called whether or not there is anything to read.
    pub fn attend(&mut self) {
        let Some(present) = self.present.now() else {
            return;
        };
        while let Some(word) = self.hands.heard() {
            self.hear(word, present);
        }
        if !self.stopping && self.control.give_back_wanted(present) {
            self.act(present);
        }
        let due = self.tended.is_none_or(|last| present.since_ms(last) >= TENDED_EVERY_MS);
        if due && !self.stopping {
            self.tended = Some(present);
            let held = self.control.restrictions().map(|held| Held {
                id: held.id.clone(),
                expires_at: held.expires_at,
                in_force: held.is_in_force(),
            });
            self.hands.tend(held.collect(), present);
        }
    }

    /// Does what a person has ordered, and writes down who, from where and what came of it.
    pub fn obey(&mut self, signed: &Signed) -> Result<usize, String> {
        let Some(now) = self.present.now() else {
            return Err("what is read is the past, about which nothing can be done".to_owned());
        };
        let taken = match &signed.order {
            _ if self.stopping => Err("bursar is stopping".to_owned()),
            Order::Restore(function) => match self.control.give_back(function, &signed.who, now) {
                0 => Err("nothing is restricted there; it is left alone from now on".to_owned()),
                count => Ok(count),
            },
            Order::LeaveAlone(function) => Ok(self.control.give_back(function, &signed.who, now)),
            Order::Approve(id) => self.control.approve(id),
            Order::Acknowledge(id) if self.recorder.knows_action(id) => Ok(0),
            Order::Acknowledge(_) => Err("no such decision among the latest".to_owned()),
            Order::RestoreAll => Ok(self.control.give_all_back(&signed.who, now)),
            Order::Stop | Order::Resume => {
                let switched = self.hands.set_stopped(signed.order == Order::Stop);
                self.control.hold_off(self.hands.stopped());
                switched.map(|()| 0).map_err(|error| format!("{error:#}"))
            }
        };
        // The order stands before what comes of it.
        self.recorder.order(signed, &taken, now);
        self.act(now);
        taken
    }

    /// Gives every restriction back; from here on nothing is acted on any more. What is not done
    /// within seconds stays in the hands' own journal.
    pub fn restore_all(&mut self, now: EventTime) {
        self.stopping = true;
        self.control.restore_all(now);
        self.act(now);
        self.hands.finish(now);
        let deadline = clock::elapsed() + RESTORE_PATIENCE;
        while self.hands.is_busy() {
            let left = deadline.saturating_sub(clock::elapsed());
            match self.hands.listen(left) {
                Some(word) => self.hear(word, now),
                None => break,
            }
        }
        if self.hands.awaited() > 0 {
            tracing::error!(
                unanswered = self.hands.awaited(),
                "not everything could be given back in time; `bursar restore --all` does the rest"
            );
        }
    }

    /// Hands over what control wants.
    pub(super) fn act(&mut self, now: EventTime) {
        let at = self.present.now().unwrap_or(now);
        for intent in self.control.intents() {
            self.hands.give(intent, at);
        }
        while let Some(word) = self.hands.heard() {
            self.hear(word, at);
        }
        for effect in self.control.effects() {
            self.recorder.effect(&effect, now);
        }
        for abstention in self.control.abstentions() {
            self.recorder.abstention(&abstention, now);
        }
    }

    fn hear(&mut self, word: Heard, now: EventTime) {
        match word {
            Heard::Done(intent, outcome) => {
                let action = self.control.outcome(*intent, outcome);
                self.recorder.action(&action);
            }
            Heard::Found(found) => {
                if self.control.found(&found.id, &found.setting, found.lapsed, now) {
                    self.recorder.drift();
                }
            }
            Heard::Room(place, room) => self.control.room(place, room),
            Heard::Rested => {}
        }
    }
}
