//! The only place that reads a clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::units::{EventTime, ProcessingTime};

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall() -> ProcessingTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ProcessingTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Time since the first call, never going back.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn elapsed() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// A wall-clock time where an event time is wanted, for a live stream.
pub const fn as_event_time(time: ProcessingTime) -> EventTime {
    EventTime::saturating_from_ms(time.0)
}

/// What the present is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// Recorded input has none: there is only event time.
    Recorded,
    /// The input is live, and the present is the wall clock's.
    Wall,
    /// The same in a simulation, whose driver moves the clock.
    Virtual(EventTime),
}

impl Present {
    /// The time it is; `None` for recorded input.
    pub fn now(self) -> Option<EventTime> {
        match self {
            Present::Recorded => None,
            Present::Wall => Some(as_event_time(wall())),
            Present::Virtual(now) => Some(now),
        }
    }
}
