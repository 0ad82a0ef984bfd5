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
const BYTES_PER_SECOND: f64 = 2e6;

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
    /// Subscribe from this place on.
    Subscribe(Place),
    /// Wait for what the subscription brings.
    Listen,
}

/// A shard accepts a new subscription of the same consumer five seconds after the last one.
const SUBSCRIBE_INTERVAL: Duration = Duration::from_secs(5);

/// How a shard is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// A call for records at most once in this time.
    Poll(Duration),
    /// A subscription, which brings them.
    Subscribe,
}

/// One shard that is being read.
#[derive(Debug)]
pub(super) struct Shard {
    manner: Manner,
    taken: Place,
    subscribed: bool,
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
    /// The sequence number of the place that was come to, if it has one.
    pub(super) through: Option<&'a str>,
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) behind: Option<Duration>,
}

impl Shard {
    pub(super) fn new(from: Place, manner: Manner, seed: u64) -> Self {
        Self {
            manner,
            taken: from,
            subscribed: false,
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
        if self.subscribed {
            return Step::Listen;
        }
        if self.not_before > now {
            return Step::Wait(self.not_before);
        }
        match (self.manner, &self.iterator) {
            (Manner::Subscribe, _) => Step::Subscribe(self.taken.clone()),
            (Manner::Poll(_), None) => Step::Iterator(self.taken.clone()),
            (Manner::Poll(_), Some(iterator)) => {
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

    /// The subscription is being listened to.
    pub(super) fn listening(&mut self) {
        self.busy = true;
    }

    pub(super) fn on_iterator(&mut self, iterator: String) {
        self.busy = false;
        self.iterator = Some(iterator);
    }

    /// Records, or none: the place moves either way, because the next iterator stands behind what
    /// was looked at.
    pub(super) fn on_records(&mut self, answer: Answer<'_>, next: Option<String>) {
        self.busy = false;
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
        self.iterator = next;
        if let Manner::Poll(interval) = self.manner {
            let read = u32::try_from(answer.bytes).unwrap_or(u32::MAX);
            let worth = Duration::from_secs(1).mul_f64(f64::from(read) / BYTES_PER_SECOND);
            self.not_before = self.asked_at.saturating_add(interval.max(worth));
        }
    }

    pub(super) fn on_subscribed(&mut self) {
        self.busy = false;
        self.subscribed = true;
        self.not_before = self.asked_at.saturating_add(SUBSCRIBE_INTERVAL);
    }

    /// The subscription is over, as each is after five minutes.
    pub(super) fn on_unsubscribed(&mut self) {
        self.busy = false;
        self.subscribed = false;
    }

    /// Nothing is behind the place that is taken.
    pub(super) fn end(&mut self) {
        self.busy = false;
        self.subscribed = false;
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
        self.subscribed = false;
        let again = now.saturating_add(back_off(self.failures, self.seed));
        self.not_before = self.not_before.max(again);
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
}

/// A wait drawn from the whole of an interval that doubles with every failure.
pub(super) fn back_off(failures: u32, seed: u64) -> Duration {
    let interval = BACK_OFF_MIN.saturating_mul(1 << failures.min(DOUBLINGS_MAX)).min(BACK_OFF_MAX);
    let draw = xxh3_64_with_seed(&failures.to_le_bytes(), seed);
    // The upper 32 bits as a share of one.
    interval.mul_f64((draw >> 32) as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Duration = Duration::from_millis(250);
    const ROOM: usize = 1 << 20;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn answer(through: Option<&str>, records: usize, bytes: usize) -> Answer<'_> {
        Answer { through, records, bytes, behind: Some(Duration::ZERO) }
    }

    fn polled() -> Shard {
        let mut shard = Shard::new(Place::Horizon, Manner::Poll(QUARTER), 7);
        assert_eq!(shard.step(ms(0), ROOM), Step::Iterator(Place::Horizon));
        shard.asked(ms(0));
        assert_eq!(shard.step(ms(0), ROOM), Step::Rest);
        shard.on_iterator("a".to_owned());
        shard
    }

    fn ask(iterator: &str, limit: i32) -> Step {
        Step::Records { iterator: iterator.to_owned(), limit }
    }

    #[test]
    fn polls_keep_both_limits_and_ask_for_what_there_is_room_for() {
        let mut shard = polled();
        assert_eq!(shard.step(ms(0), 0), Step::Rest);
        assert_eq!(shard.step(ms(0), ROOM), ask("a", 1_024));
        shard.asked(ms(10));
        shard.on_records(answer(Some("9"), 0, 0), Some("b".to_owned()));
        assert_eq!(shard.step(ms(10), ROOM), Step::Wait(ms(260)));
        assert_eq!(shard.step(ms(260), ROOM), ask("b", 1_024));
        // 5 MB are worth two and a half seconds.
        shard.asked(ms(300));
        shard.on_records(answer(Some("12"), 5, 5_000_000), Some("c".to_owned()));
        assert_eq!(shard.step(ms(400), ROOM), Step::Wait(ms(2_800)));
        assert_eq!(shard.step(ms(2_800), ROOM), ask("c", 1));
        assert_eq!(shard.step(ms(2_800), usize::MAX), ask("c", 10_000));
    }

    #[test]
    fn an_expired_iterator_is_renewed_from_the_place_that_is_taken() {
        let mut shard = polled();
        shard.asked(ms(0));
        shard.on_expired();
        assert_eq!(shard.step(ms(0), ROOM), Step::Iterator(Place::Horizon));
        shard.on_iterator("b".to_owned());
        shard.asked(ms(0));
        shard.on_records(answer(Some("12"), 1, 1), Some("c".to_owned()));
        // An empty answer moves the iterator and not the place.
        shard.asked(ms(300));
        shard.on_records(answer(None, 0, 0), Some("d".to_owned()));
        shard.on_expired();
        assert_eq!(shard.step(ms(900), ROOM), Step::Iterator(Place::After("12".into())));
    }

    #[test]
    fn failures_wait_longer_and_longer_within_bounds_until_a_call_works() {
        let mut shard = polled();
        for failures in 0..40 {
            let now = ms(100_000 * (failures + 1));
            shard.on_failure(now, "no".to_owned(), false);
            let bound = ms(400 << failures.min(6)).min(ms(10_000));
            match shard.step(now, ROOM) {
                Step::Wait(until) => assert!(until <= now + bound, "{until:?}"),
                // A draw of nothing.
                step => assert_eq!(step, ask("a", 1_024)),
            }
        }
        assert_eq!(shard.trouble(), Some("no"));
        shard.asked(ms(9_000_000));
        shard.on_records(answer(None, 0, 0), Some("b".to_owned()));
        assert_eq!((shard.trouble(), shard.failures), (None, 0));
    }

    #[test]
    fn waits_of_shards_that_fail_together_spread_over_the_whole_interval() {
        let waits = (0..1_000).map(|seed| back_off(2, seed).as_secs_f64() / 1.6);
        let mut tenths = [0; 10];
        waits.for_each(|share| tenths[((share * 10.0) as usize).min(9)] += 1);
        assert!(tenths.iter().all(|&count| (60..140).contains(&count)), "{tenths:?}");
    }

    #[test]
    fn a_subscription_is_opened_again_no_sooner_than_the_service_accepts_it() {
        let mut shard =
            Shard::new(Place::Time("2026-01-05T00:00:00Z".parse().unwrap()), Manner::Subscribe, 7);
        assert!(matches!(shard.step(ms(0), ROOM), Step::Subscribe(Place::Time(_))));
        shard.asked(ms(0));
        shard.on_subscribed();
        assert_eq!(shard.step(ms(10), ROOM), Step::Listen);
        assert_eq!(shard.step(ms(10), 0), Step::Rest);
        shard.listening();
        assert_eq!(shard.step(ms(10), ROOM), Step::Rest);
        shard.on_records(answer(Some("12"), 0, 0), None);
        assert_eq!(shard.step(ms(20), ROOM), Step::Listen);
        shard.on_failure(ms(20), "dropped".to_owned(), false);
        assert_eq!(shard.step(ms(20), ROOM), Step::Wait(ms(5_000)));
        assert_eq!(shard.step(ms(5_000), ROOM), Step::Subscribe(Place::After("12".into())));
        shard.asked(ms(5_000));
        shard.on_subscribed();
        shard.on_unsubscribed();
        assert_eq!(shard.step(ms(400_000), ROOM), Step::Subscribe(Place::After("12".into())));
        shard.end();
        assert_eq!(shard.step(ms(400_000), ROOM), Step::Rest);
    }
}
