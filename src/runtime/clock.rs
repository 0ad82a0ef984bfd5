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
