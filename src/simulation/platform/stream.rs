//! Records of a stream: in each shard one batch at a time, or as many as the mapping's
//! parallelisation. What does not run or fails stands in the way of what comes after it, until it
//! is older than the stream keeps (Lambda developer guide, "Using Lambda with Kinesis").

use std::collections::VecDeque;

use super::asynchronous::backoff_ms;
use super::flight::{Flight, Job};
use super::request::Ending;
use super::{Event, Platform};
use crate::record::Status;

/// A shard, or one of its parallel parts: records with one key are always in the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    waiting: VecDeque<Box<Job>>,
    /// A batch runs, or waits before it is tried again.
    is_busy: bool,
    /// Attempts in a row that found no room or failed.
    waits: u16,
}

impl Platform {
    /// A record is in the stream.
    pub(super) fn append(&mut self, job: Box<Job>, key: u16) {
        let index = job.request.function;
        let lane = self.lane_of(index, key);
        self.functions[index].lanes[lane].waiting.push_back(job);
        self.read_lane(index, lane);
    }

    /// The wait of a lane is over.
    pub(super) fn resume(&mut self, index: usize, lane: usize) {
        self.functions[index].lanes[lane].is_busy = false;
        self.read_lane(index, lane);
    }

    /// Looks at all lanes: reading may have been switched on.
    pub(super) fn read_lanes(&mut self, index: usize) {
        (0..self.functions[index].lanes.len()).for_each(|lane| self.read_lane(index, lane));
    }

    /// A batch has run.
    pub(super) fn settle_stream(&mut self, flight: &mut Flight, key: u16) {
        let index = flight.first.request.function;
        let lane = self.lane_of(index, key);
        if flight.status == Status::Success {
            flight.jobs().for_each(|job| self.settle(job, Ending::Served));
            self.functions[index].lanes[lane].waits = 0;
            return self.resume(index, lane);
        }
        for job in flight.rest.drain(..).rev().chain([flight.first]) {
            let job = Box::new(Job { attempts: job.attempts.saturating_add(1), ..job });
            self.functions[index].lanes[lane].waiting.push_front(job);
        }
        self.wait(index, lane);
    }

    fn read_lane(&mut self, index: usize, lane: usize) {
        let spec = self.functions[index].spec.stream;
        self.drop_expired(index, lane);
        let function = &self.functions[index];
        let reader = &function.lanes[lane];
        let Some(front) = reader.waiting.front().cloned() else {
            return;
        };
        if reader.is_busy || !function.in_force.is_reading {
            return;
        }
        let Some(start) = self.start(index, false) else {
            self.defer(&front);
            return self.wait(index, lane);
        };
        let reader = &mut self.functions[index].lanes[lane];
        reader.is_busy = true;
        let count = reader.waiting.len().min(usize::from(spec.batch));
        let rest = reader.waiting.drain(..count).skip(1).map(|job| *job).collect();
        self.launch(start, front, rest, self.now);
    }

    fn drop_expired(&mut self, index: usize, lane: usize) {
        let retention_ms = i64::from(self.functions[index].spec.stream.retention_ms);
        loop {
            let lane = &mut self.functions[index].lanes[lane];
            let expired = lane.waiting.pop_front_if(|job| job.age_ms(self.now) > retention_ms);
            match expired {
                Some(job) => self.settle(&job, Ending::Dead),
                None => return,
            }
        }
    }

    fn wait(&mut self, index: usize, lane: usize) {
        let reader = &mut self.functions[index].lanes[lane];
        reader.is_busy = true;
        reader.waits = reader.waits.saturating_add(1);
        let again = self.now.plus_ms(backoff_ms(reader.waits));
        self.schedule(again, Event::Resume { function: index, lane });
    }

    fn lane_of(&self, index: usize, key: u16) -> usize {
        usize::from(key) % self.functions[index].lanes.len()
    }
}
