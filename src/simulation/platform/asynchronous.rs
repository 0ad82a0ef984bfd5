//! Events that the platform takes at once and carries out later: a throttled one waits and tries
//! again for hours, a failed one is retried twice, and what is given up is a dead letter (Lambda
//! developer guide, "Asynchronous invocation").

use super::flight::Job;
use super::request::Ending;
use super::{Event, Platform};
use crate::record::Status;
use crate::simulation::draw::{below, derive};

/// Between attempts that find no room: from one second, doubling, to five minutes.
const BACKOFF_MS_MIN: i64 = 1_000;
const BACKOFF_MS_MAX: i64 = 300_000;

/// Before the first retry of a failed event; twice that before the second.
const RETRY_MS: i64 = 60_000;

impl Platform {
    /// An event tries to run.
    pub(super) fn try_async(&mut self, mut job: Box<Job>) {
        let index = job.request.function;
        if let Some(start) = self.start(index, false) {
            job.waits = 0;
            self.launch(start, job, Vec::new(), self.now);
            return;
        }
        self.defer(&job);
        job.waits += 1;
        let controls = &self.functions[index].in_force;
        // Between half and all of it, so that a crowd that was turned away together spreads out.
        let (half_ms, bits) =
            (backoff_ms(job.waits) / 2, derive(job.fate, 2_000 + u64::from(job.waits)));
        let wait_ms = half_ms + below(bits, half_ms.unsigned_abs() + 1).cast_signed();
        let is_too_old =
            job.age_ms(self.now) + wait_ms > i64::from(controls.asynchronous.age_ms_max);
        // With a reservation of zero nothing is retried.
        if is_too_old || controls.reserved == Some(0) {
            self.settle(&job, Ending::Dead);
        } else {
            self.schedule(self.now.plus_ms(wait_ms), Event::Retry(job));
        }
    }

    /// An event has run.
    pub(super) fn settle_async(&mut self, mut job: Box<Job>, status: Status) {
        if status == Status::Success {
            self.settle(&job, Ending::Served);
            return self.spare.keep_job(job);
        }
        job.attempts += 1;
        let asynchronous = self.functions[job.request.function].in_force.asynchronous;
        let wait_ms = RETRY_MS * i64::from(job.attempts);
        let is_too_old = job.age_ms(self.now) + wait_ms > i64::from(asynchronous.age_ms_max);
        if is_too_old || job.attempts > u16::from(asynchronous.retries) {
            self.settle(&job, Ending::Dead);
        } else {
            self.schedule(self.now.plus_ms(wait_ms), Event::Retry(job));
        }
    }
}

/// How long to wait after so many attempts in a row that found no room.
pub(super) fn backoff_ms(waits: u16) -> i64 {
    let doubled = BACKOFF_MS_MIN << u32::from(waits.clamp(1, 10) - 1);
    doubled.min(BACKOFF_MS_MAX)
}
