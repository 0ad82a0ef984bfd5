//! Messages in a queue, and the pollers that hand them to the function. A message that is not
//! carried out comes back when its visibility timeout is over, and after so many receives it is a
//! dead letter: that is how a cap on the function loses good messages, while a limit of the mapping
//! only lets them wait.
//! (Lambda developer guide, "Using Lambda with Amazon SQS" and "Configuring scaling behavior".)

use std::collections::VecDeque;

use super::asynchronous::backoff_ms;
use super::flight::{Flight, Job};
use super::request::Ending;
use super::{Event, Platform};
use crate::record::Status;
use crate::units::EventTime;

/// Invocations at once when messages begin to wait,
const POLLERS_MIN: i64 = 5;
/// how many more for each second that they go on waiting (300 a minute),
const POLLERS_PER_SECOND: i64 = 5;
/// and the most.
const POLLERS_MAX: i64 = 1_250;

/// Messages that can be received, and who is receiving.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Box<Job>>,
    /// Pollers that hold a batch, running or waiting for room.
    pollers: i64,
    /// Since when messages have been waiting.
    since: Option<EventTime>,
    /// A look at the queue is scheduled.
    is_awaited: bool,
}

/// A batch that found no room, in the hands of its poller.
#[derive(Debug, Clone)]
pub(super) struct Held {
    jobs: Vec<Job>,
    received: EventTime,
    waits: u16,
}

impl Platform {
    /// A message can be received, for the first time or again.
    pub(super) fn enqueue(&mut self, job: Box<Job>) {
        let index = job.request.function;
        let function = &mut self.functions[index];
        if function.spec.queue.receives_max.is_some_and(|most| job.attempts >= most) {
            return self.settle(&job, Ending::Dead);
        }
        function.queue.waiting.push_back(job);
        self.poll(index);
    }

    /// Hands out messages as far as the pollers go.
    pub(super) fn poll(&mut self, index: usize) {
        loop {
            let now = self.now;
            let function = &mut self.functions[index];
            let queue = &mut function.queue;
            if queue.waiting.is_empty() {
                queue.since = None;
                return;
            }
            if !function.in_force.is_reading {
                return;
            }
            let waited_ms = now.since_ms(*queue.since.get_or_insert(now));
            let ramp = (POLLERS_MIN + POLLERS_PER_SECOND * waited_ms / 1_000).min(POLLERS_MAX);
            let limit = function.in_force.queue_concurrency.map_or(POLLERS_MAX, i64::from);
            if queue.pollers >= ramp.min(limit) {
                // Below the limit of the mapping a second brings more pollers.
                if queue.pollers < limit.min(POLLERS_MAX) && !queue.is_awaited {
                    queue.is_awaited = true;
                    self.schedule(now.plus_ms(1_000), Event::Poll { function: index });
                }
                return;
            }
            self.receive(index);
        }
    }

    /// The look that was scheduled.
    pub(super) fn poll_again(&mut self, index: usize) {
        self.functions[index].queue.is_awaited = false;
        self.poll(index);
    }

    /// One poller takes a batch.
    fn receive(&mut self, index: usize) {
        let function = &mut self.functions[index];
        let (spec, queue) = (function.spec.queue, &mut function.queue);
        let count = queue.waiting.len().min(usize::from(spec.batch));
        let (mut jobs, expired): (Vec<Job>, Vec<Job>) = queue
            .waiting
            .drain(..count)
            .map(|job| *job)
            .partition(|job| job.age_ms(self.now) <= i64::from(spec.retention_ms));
        expired.iter().for_each(|job| self.settle(job, Ending::Dead));
        if !jobs.is_empty() {
            jobs.iter_mut().for_each(|job| job.attempts += 1);
            self.functions[index].queue.pollers += 1;
            self.hand_over(Held { jobs, received: self.now, waits: 0 });
        }
    }

    /// A poller tries to invoke the function with its batch, until the messages come back.
    pub(super) fn hand_over(&mut self, mut held: Held) {
        let Some(first) = held.jobs.first().copied() else {
            return;
        };
        let index = first.request.function;
        if let Some(start) = self.start(index, false) {
            let rest = held.jobs.split_off(1);
            return self.launch(start, Box::new(first), rest, held.received);
        }
        held.jobs.iter().for_each(|job| self.defer(job));
        held.waits += 1;
        let again = self.now.plus_ms(backoff_ms(held.waits));
        let visible = self.visible_at(index, held.received);
        if again < visible {
            return self.schedule(again, Event::Hold(Box::new(held)));
        }
        self.functions[index].queue.pollers -= 1;
        held.jobs.into_iter().for_each(|job| self.schedule(visible, Event::Visible(Box::new(job))));
    }

    /// A batch has run.
    pub(super) fn settle_queue(&mut self, flight: &Flight) {
        let index = flight.first.request.function;
        self.functions[index].queue.pollers -= 1;
        let visible = self.visible_at(index, flight.received);
        for job in flight.jobs() {
            if flight.status == Status::Success {
                self.settle(job, Ending::Served);
            } else {
                self.schedule(visible, Event::Visible(Box::new(*job)));
            }
        }
        self.poll(index);
    }

    fn visible_at(&self, index: usize, received: EventTime) -> EventTime {
        received.plus_ms(i64::from(self.functions[index].spec.queue.visibility_ms))
    }
}
