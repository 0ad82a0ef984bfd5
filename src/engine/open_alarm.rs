//! What is kept of a function while its alarm is open.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use super::alarm::{Channel, Severity};
use super::attribution::Attribution;
use super::batch::{Event, Timeliness};
use super::window::{RING, SecondRing};
use crate::cost::Usage;
use crate::keep::kept;
use crate::record::{Position, RefusalReason};
use crate::units::{EventTime, MbMillis};

/// Seconds after the opening at which an alarm speaks again: early while names and amounts settle,
/// then once a minute.
const UPDATES: [i64; 3] = [2, 5, 15];
const UPDATE_EVERY: i64 = 60;
/// Of what changes by the hour or the day.
const UPDATE_SLOW_EVERY: i64 = 3_600;
/// A notice is looked at every second for so long, whether it has become a page, and every alarm
/// every [`LOOK_EVERY`] seconds.
const LOOK_CLOSELY_SECONDS: i64 = 30;
const LOOK_EVERY: i64 = 5;
/// The most names that are remembered; later ones are told with the next update.
const NAMED_MAX: usize = 16_384;
/// A notice keeps the baseline as it was for so long. What lasts longer and wakes nobody is taken
/// for the new normal, step by step: else a service that has grown would be a notice for ever.
const FREEZE_SECONDS: i64 = 1_800;
/// And a page for a day: what nobody has stopped by then is what the function does.
const FREEZE_PAGE_SECONDS: i64 = 86_400;
/// A notice closes only after so much quiet: a busy day comes in waves, and each is no news.
const HOLD_SECONDS: i64 = 600;
/// Calls a second are told over so long.
const PACE_SECONDS: f64 = 600.0;

/// An open alarm.
#[derive(Debug)]
pub struct OpenAlarm {
    /// Its name.
    pub id: String,
    /// The statistic that opened it.
    pub channel: Channel,
    /// The highest severity that it has had; it never falls.
    pub severity: Severity,
    /// It has come as no crowd does, at one time or another.
    pub no_crowd: bool,
    /// When the excess began.
    pub onset: EventTime,
    /// Event time of the record that opened it.
    pub evidence_at: EventTime,
    /// Where that record stood.
    pub position: Position,
    /// Calls per second that were expected at the onset.
    pub expected: f64,
    /// MB·ms per call that were usual.
    pub usual_mb_ms: f64,
    /// Since when usage is counted: the onset, as far back as seconds are remembered.
    pub counted_from: EventTime,
    /// Usage since then.
    pub since: Usage,
    /// Dollars that had gathered before.
    pub gathered_usd: f64,
    /// Requests turned away before the function, by second.
    forbidden: SecondRing,
    /// Requests turned away for want of concurrency or by a rate limit, by second.
    throttled: SecondRing,
    /// Hashes of the sources that were named.
    named: BTreeSet<u64>,
    updates: usize,
    next_update: i64,
    quiet_since: Option<i64>,
    course: Course,
}

/// How the calls have gone since it opened, those turned away included.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// Calls above the tolerated, less than at their highest: never positive.
    excess: f64,
    highest_at: i64,
    /// Calls a second of the last [`PACE_SECONDS`], those turned away left out.
    rate: f64,
    /// So far it has been followed, and so many calls there had been.
    second: i64,
    served: u64,
    refused: u64,
}

/// How calm it has become.
#[derive(Debug, Clone, Copy)]
pub struct Lull {
    /// For so long no more have called than is tolerated.
    pub seconds: i64,
    /// Calls a second that are served.
    pub rate: f64,
}

impl OpenAlarm {
    /// An alarm opened by `event`, at so many calls a second.
    pub fn new(
        id: String,
        channel: Channel,
        onset: EventTime,
        event: &Event,
        usual: (f64, f64),
        rate: f64,
    ) -> Self {
        let second = event.at.second();
        Self {
            id,
            channel,
            severity: Severity::Notice,
            no_crowd: false,
            onset,
            evidence_at: event.at,
            position: event.position,
            expected: usual.0,
            usual_mb_ms: usual.1,
            counted_from: event.at,
            since: Usage::ZERO,
            gathered_usd: 0.0,
            forbidden: SecondRing::new(event.at.second() - RING),
            throttled: SecondRing::new(event.at.second() - RING),
            named: BTreeSet::new(),
            updates: 0,
            next_update: event.at.second() + UPDATES[0],
            quiet_since: None,
            course: Course { excess: 0.0, highest_at: second, rate, second, served: 0, refused: 0 },
        }
    }

    /// Notes a call that was served.
    pub fn served(&mut self, mb_ms: MbMillis, response_bytes: u64) {
        self.since.requests += 1;
        self.since.mb_ms = self.since.mb_ms.plus(mb_ms);
        self.since.response_bytes = self.since.response_bytes.saturating_add(response_bytes);
    }

    /// Notes a request that was turned away.
    pub fn turned_away(&mut self, event: &Event, reason: RefusalReason) {
        self.since.refused += 1;
        if event.timeliness == Timeliness::OnTime {
            match reason {
                RefusalReason::Forbidden => self.forbidden.add(event.at.second()),
                RefusalReason::Throttled => self.throttled.add(event.at.second()),
            }
        }
    }

    /// The newest second in which something was turned away.
    pub fn newest_refusal(&self) -> i64 {
        self.forbidden.newest().max(self.throttled.newest())
    }

    /// Requests turned away in one second.
    pub fn refused_in(&self, second: i64) -> u64 {
        self.forbidden.get(second) + self.throttled.get(second)
    }

    /// Requests per second that were turned away over the `seconds` before `now`: before the
    /// function, and at it.
    pub fn refused_rates(&self, now: i64, seconds: i64) -> (f64, f64) {
        (self.forbidden.rate(now, seconds), self.throttled.rate(now, seconds))
    }

    /// Whether it is time to say how things stand; once per due time.
    pub fn is_due(&mut self, now: i64) -> bool {
        if now < self.next_update {
            return false;
        }
        self.updates += 1;
        let opened = self.evidence_at.second();
        self.next_update = match UPDATES.get(self.updates) {
            Some(after) => opened + after,
            None if self.channel == Channel::Cost || self.channel == Channel::Leech => {
                now + UPDATE_SLOW_EVERY
            }
            None => now + UPDATE_EVERY,
        };
        true
    }

    /// Follows the calls up to `second`. The lull began when those above `tolerated` a second added
    /// up to the most so far: a beat is no end of it, and the gap between two beats no beginning.
    pub fn follow_calls(&mut self, second: i64, tolerated: f64) -> Lull {
        let Usage { requests: served, refused, .. } = self.since;
        let course = &mut self.course;
        let passed = (second - course.second).max(0) as f64;
        let came = served.saturating_sub(course.served) as f64;
        let kept_out = refused.saturating_sub(course.refused) as f64;
        course.excess += came + kept_out - tolerated * passed;
        if course.excess >= 0.0 {
            (course.excess, course.highest_at) = (0.0, second);
        }
        let fades = libm::exp(-passed / PACE_SECONDS);
        course.rate = course.rate * fades + came / PACE_SECONDS;
        (course.second, course.served, course.refused) = (second, served, refused);
        Lull { seconds: second - course.highest_at, rate: course.rate }
    }

    /// Whether the baseline must not learn in `second`.
    pub fn freezes(&self, second: i64) -> bool {
        let most = match self.severity {
            Severity::Notice => FREEZE_SECONDS,
            Severity::Page => FREEZE_PAGE_SECONDS,
        };
        second - self.evidence_at.second() < most
    }

    /// Whether an alarm of `channel` would be news: a notice of anything slower must not hide it.
    pub fn gives_way_to(&self, channel: Channel) -> bool {
        self.severity == Severity::Notice && channel < self.channel
    }

    /// Whether it is time to see if a notice has become a page, or a page has new names.
    pub fn is_watched_closely(&self, now: i64) -> bool {
        let age = now - self.evidence_at.second();
        let is_new = self.severity == Severity::Notice && age <= LOOK_CLOSELY_SECONDS;
        is_new || now.rem_euclid(LOOK_EVERY) == 0
    }

    /// Notes whom it names; whether somebody was not named before.
    pub fn names(&mut self, attribution: &Attribution) -> bool {
        let mut is_news = false;
        for source in &attribution.sources {
            if self.named.len() < NAMED_MAX {
                is_news |= self.named.insert(xxh3_64(source.source.as_bytes()));
            }
        }
        is_news
    }

    /// Whether it closes now, `quiet` being whether its evidence has gone.
    pub fn is_over(&mut self, now: i64, quiet: bool) -> bool {
        if !quiet {
            self.quiet_since = None;
            return false;
        }
        let since = *self.quiet_since.get_or_insert(now);
        self.severity == Severity::Page || now - since >= HOLD_SECONDS
    }
}

kept!(OpenAlarm {
    id, channel, severity, no_crowd, onset, evidence_at, position, expected, usual_mb_ms,
    counted_from, since, gathered_usd, forbidden, throttled, named, updates, next_update,
    quiet_since, course,
} if |alarm| alarm.named.len() <= NAMED_MAX);
kept!(Course { excess, highest_at, rate, second, served, refused });
