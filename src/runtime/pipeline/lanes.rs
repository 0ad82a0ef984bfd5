//! Lanes by name, in an order that outlives the process: what the state says of a lane must not
//! depend on the order in which a source comes by them.

use super::Pipeline;
use crate::record::Position;

impl Pipeline {
    /// The names of the source's lanes, for positions.
    pub fn set_lanes(&mut self, lanes: Vec<String>) {
        for name in lanes.into_iter().skip(self.places.len()) {
            let known = self.lanes.iter().position(|known| *known == name);
            let place = known.unwrap_or_else(|| {
                self.lanes.push(name);
                self.reached.push(None);
                self.lanes.len() - 1
            });
            self.places.push(u32::try_from(place).unwrap_or(u32::MAX));
        }
    }

    /// The position in our own order of lanes.
    pub fn own(&self, position: Position) -> Position {
        let place = usize::try_from(position.lane).ok().and_then(|lane| self.places.get(lane));
        Position { lane: place.copied().unwrap_or(position.lane), ..position }
    }
    /// Everything up to these positions of the source was taken in.
    pub(super) fn note(&mut self, through: &[Position]) {
        for &position in through {
            let Position { lane, offset } = self.own(position);
            if let Some(reached) = self.reached.get_mut(lane as usize) {
                *reached = Some(offset);
            }
        }
    }
}
