//! What accounts have left of their concurrency: asked now and then, reckoned in between.

use std::collections::BTreeMap;

use crate::act::plane::ControlPlane;
use crate::control::action::{Intent, Outcome, OutcomeKind, Place, Room};
use crate::record::FunctionKey;
use crate::units::EventTime;

/// An answer is good for so long: others reserve, too.
const GOOD_MS: i64 = 5_000;
/// Who does not answer is asked again after so long.
const SILENT_MS: i64 = 60_000;
/// More accounts and regions than this are invented.
const PLACES_MAX: usize = 4_096;

/// As last told, and when.
#[derive(Debug, Default)]
pub(super) struct Rooms(BTreeMap<Place, (EventTime, Option<Room>)>);

impl Rooms {
    /// What is left after this outcome.
    pub(super) fn after(
        &mut self,
        plane: &mut impl ControlPlane,
        intent: &Intent,
        outcome: &Outcome,
        now: EventTime,
    ) -> Option<Room> {
        let place = Place::of(&intent.function);
        if let Some((asked, Some(room))) = self.0.get_mut(&place) {
            if outcome.kind == OutcomeKind::Applied {
                let (to, from) = (intent.to.number(), outcome.from.number());
                room.free = room.free.saturating_add(from.unwrap_or(0));
                room.free = room.free.saturating_sub(to.unwrap_or(0));
            } else {
                // What was reckoned may be wrong.
                *asked = EventTime::MIN;
            }
        }
        self.of(plane, &intent.function, now)
    }

    /// What the function's account has left.
    pub(super) fn of(
        &mut self,
        plane: &mut impl ControlPlane,
        function: &FunctionKey,
        now: EventTime,
    ) -> Option<Room> {
        let place = Place::of(function);
        if let Some((asked, known)) = self.0.get(&place) {
            let good = if known.is_some() { GOOD_MS } else { SILENT_MS };
            if (0..good).contains(&now.since_ms(*asked)) {
                return *known;
            }
        }
        let told = plane.room(function).unwrap_or_else(|fault| {
            let region = &function.region;
            tracing::warn!(%region, "the account's room is not known: {}", fault.words());
            None
        });
        if self.0.len() >= PLACES_MAX {
            self.0.clear();
        }
        self.0.insert(place, (now, told));
        told
    }
}
