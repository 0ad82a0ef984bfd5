//! Boxes that were used and will be again. A request needs two of them one after the other, a busy
//! second needs thousands at once, and asking the allocator for each was a quarter of all time.

use super::flight::{Flight, Job};

/// Boxes of each kind that are kept, some 20 MB: those of a few seconds of a busy platform.
const KEPT_MAX: usize = 1 << 16;

#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is kept")]
pub(super) struct Spare {
    jobs: Vec<Box<Job>>,
    flights: Vec<Box<Flight>>,
}

/// A copy of a platform gathers its own.
impl Clone for Spare {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Spare {
    pub(super) fn job(&mut self, job: Job) -> Box<Job> {
        boxed(&mut self.jobs, job)
    }

    pub(super) fn flight(&mut self, flight: Flight) -> Box<Flight> {
        boxed(&mut self.flights, flight)
    }

    pub(super) fn keep_job(&mut self, job: Box<Job>) {
        keep(&mut self.jobs, job);
    }

    pub(super) fn keep_flight(&mut self, flight: Box<Flight>) {
        keep(&mut self.flights, flight);
    }
}

fn boxed<T>(spare: &mut Vec<Box<T>>, value: T) -> Box<T> {
    match spare.pop() {
        Some(mut kept) => {
            *kept = value;
            kept
        }
        None => Box::new(value),
    }
}

fn keep<T>(spare: &mut Vec<Box<T>>, used: Box<T>) {
    if spare.len() < KEPT_MAX {
        spare.push(used);
    }
}
