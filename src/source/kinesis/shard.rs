//! One shard: what to ask next, and when. It makes no calls itself and reads no clock.
//!
//! Iterators live five minutes and are renewed from the place that is taken; so an expired one
//! costs a call and loses nothing. Waits after failures are drawn from the whole of a doubling
//! interval ("full jitter"), so that shards that were refused together do not come back together
//! (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::place::Place;

/// Bytes a second that a shard gives out, for all who poll it together.
const BYTES_PER_SECOND: u32 = 2_000_000;

/// The most records that one call may ask for, which is also the service's own limit.
const RECORDS_MAX: i32 = 10_000;

/// Assumed size of a record before one was seen.
const RECORD_BYTES_GUESS: usize = 1 << 10;

/// Bounds of the interval from which the first and the later waits after a failure are drawn.
const BACK_OFF_MIN: Duration = Duration::from_millis(400);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// Doubling further would not change the interval any more.
const DOUBLINGS_MAX: u32 = 6;

/// What to do for a shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this moment.
    Wait(Duration),
    /// Nothing until an answer has come or the shard is given room.
    Rest,
    /// Ask for an iterator at this place.
    Iterator(Place),
    /// Ask for records.
    Records {
        /// As it was given.
        iterator: String,
        /// At most so many.
        limit: i32,
    },
}

/// One shard that is being read.
#[derive(Debug)]
pub(super) struct Shard {
    interval: Duration,
    taken: Place,
    iterator: Option<String>,
    busy: bool,
    not_before: Duration,
    asked_at: Duration,
    failures: u32,
    seed: u64,
    record_bytes: usize,
    behind: Option<Duration>,
    trouble: Option<String>,
    missing: bool,
}

/// What of an answer matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    /// Of the last record, or of the place that an empty answer has come to, if it says.
    pub(super) through: Option<&'a str>,
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) behind: Option<Duration>,
}

impl Shard {
    pub(super) fn new(from: Place, interval: Duration, seed: u64) -> Self {
        Self {
            interval,
            taken: from,
            iterator: None,
            busy: false,
            not_before: Duration::ZERO,
            asked_at: Duration::ZERO,
            failures: 0,
            seed,
            record_bytes: RECORD_BYTES_GUESS,
            behind: None,
            trouble: None,
            missing: false,
        }
    }

    /// What to do now; `room` is what its queue can take, in bytes.
    pub(super) fn step(&self, now: Duration, room: usize) -> Step {
        if self.busy || room == 0 || self.taken == Place::End {
            return Step::Rest;
        }
        if self.not_before > now {
            return Step::Wait(self.not_before);
        }
        match &self.iterator {
            None => Step::Iterator(self.taken.clone()),
            Some(iterator) => {
                let fitting = i32::try_from(room / self.record_bytes).unwrap_or(RECORDS_MAX);
                let limit = fitting.clamp(1, RECORDS_MAX);
                Step::Records { iterator: iterator.clone(), limit }
            }
        }
    }

    /// The step is being done.
    pub(super) fn asked(&mut self, now: Duration) {
        self.busy = true;
        self.asked_at = now;
    }

    pub(super) fn on_iterator(&mut self, iterator: String) {
        self.busy = false;
        self.iterator = Some(iterator);
    }

    /// Records, or none: the place moves either way, because the next iterator stands behind what
    /// was looked at.
    pub(super) fn on_records(&mut self, answer: Answer<'_>, next: Option<String>) {
        self.busy = false;
        self.note(answer);
        self.iterator = next;
        if self.iterator.is_none() {
            self.end();
        }
        let read = u32::try_from(answer.bytes).unwrap_or(u32::MAX);
        let worth = Duration::from_secs(1).mul_f64(f64::from(read) / f64::from(BYTES_PER_SECOND));
        self.not_before = self.asked_at.saturating_add(self.interval.max(worth));
    }

    /// Nothing is behind the place that is taken.
    pub(super) fn end(&mut self) {
        self.busy = false;
        self.taken = Place::End;
        self.trouble = None;
        self.missing = false;
        self.behind = Some(Duration::ZERO);
    }

    /// The iterator is too old: a new one from the place that is taken.
    pub(super) fn on_expired(&mut self) {
        self.busy = false;
        self.iterator = None;
    }

    /// The call failed and is made again later. `trouble` is for people; missing: the
    /// service says that the shard or its stream is not there.
    pub(super) fn on_failure(&mut self, now: Duration, trouble: String, missing: bool) {
        self.missing = missing;
        self.busy = false;
        self.not_before = now.saturating_add(back_off(self.failures, self.seed));
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some(trouble);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.taken == Place::End
    }

    /// How far its last answer was behind its tip; `None` before the first.
    pub(super) fn behind(&self) -> Option<Duration> {
        self.behind
    }

    /// Why the last call failed, until one works.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The last call said that the shard or its stream is not there.
    pub(super) fn is_missing(&self) -> bool {
        self.missing
    }

    fn note(&mut self, answer: Answer<'_>) {
        self.failures = 0;
        self.trouble = None;
        self.missing = false;
        self.behind = answer.behind.or(self.behind);
        if let Some(through) = answer.through {
            self.taken = Place::After(through.into());
        }
        if let Some(mean) = answer.bytes.checked_div(answer.records) {
            self.record_bytes = mean.max(1);
        }
    }
}

/// A wait drawn from the whole of an interval that doubles with every failure.
pub(super) fn back_off(failures: u32, seed: u64) -> Duration {
    let interval = BACK_OFF_MIN.saturating_mul(1 << failures.min(DOUBLINGS_MAX)).min(BACK_OFF_MAX);
    let draw = xxh3_64_with_seed(&failures.to_le_bytes(), seed);
    // The upper 32 bits as a share of one.
    interval.mul_f64((draw >> 32) as f64 / f64::from(u32::MAX))
}
