//! The virtual platform inside the process as a source: its past at once, then its present at the
//! wall clock's pace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Chunk, Clock, Headers, Progress, Read, Source, SourceError};
use crate::record::Position;
use crate::simulation::embedded::{EmbeddedWorld, HISTORY_MINUTES};
use crate::simulation::platform::Delivery;
use crate::units::EventTime;

/// How often the present is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Reads the world's messages.
#[derive(Debug)]
pub struct PlatformSource {
    world: Arc<Mutex<EmbeddedWorld>>,
    clock: Clock,
    pending: Vec<Delivery>,
    next: usize,
    /// Minutes of the past that are still to come.
    past: Vec<Vec<Delivery>>,
    offset: u64,
    bytes_read: u64,
    closed: bool,
}

impl PlatformSource {
    /// A source over a world that nobody has stepped yet; makes its past.
    pub fn new(world: Arc<Mutex<EmbeddedWorld>>, clock: Clock) -> Self {
        let mut past: Vec<Vec<Delivery>> = {
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            world.history(HISTORY_MINUTES).collect()
        };
        past.reverse();
        let pending = Vec::new();
        Self { world, clock, pending, next: 0, past, offset: 0, bytes_read: 0, closed: false }
    }

    fn refill(&mut self) {
        self.pending.clear();
        self.next = 0;
        if let Some(minute) = self.past.pop() {
            self.pending = minute;
            return;
        }
        let now = EventTime::saturating_from_ms((self.clock.wall)().0);
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.step(now, &mut self.pending);
    }
}

impl Source for PlatformSource {
    fn read(&mut self, chunk: &mut Chunk, wait: Duration) -> Result<Read, SourceError> {
        chunk.clear();
        if self.closed {
            return Ok(Read::End);
        }
        if self.next == self.pending.len() {
            self.refill();
        }
        if self.pending.is_empty() {
            std::thread::sleep(STEP.min(wait));
            return Ok(Read::Idle);
        }
        let arrived = self.past.is_empty().then(|| (self.clock.wall)());
        while let Some(delivery) = self.pending.get(self.next) {
            if chunk.is_full() {
                break;
            }
            self.offset += 1;
            self.next += 1;
            self.bytes_read += delivery.text().len() as u64;
            let position = Position { lane: 0, offset: self.offset };
            chunk.push(position, arrived, Headers::default(), delivery.text());
        }
        Ok(Read::Messages)
    }

    fn lanes(&self) -> Vec<String> {
        vec!["embedded".to_owned()]
    }

    fn acknowledge(&mut self, _: &[Position]) {}

    fn progress(&self) -> Progress {
        Progress { bytes_read: self.bytes_read, ..Progress::default() }
    }

    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    fn close(&mut self) {
        self.closed = true;
    }
}
