//! The time of a message without reading the message: enough to merge several inputs in order.

use memchr::memmem;

use super::json::Keys;
use super::{common_log, gzip, load_balancer, time};
use crate::units::EventTime;

/// How much of a message is looked at. The header of a log envelope is about 300 bytes.
const HEAD_BYTES: usize = 4_096;

/// Where the records of a batch of events have their time: in milliseconds since 1970 or RFC 3339,
const EVENT_TIMES: [&[u8]; 5] = [
    b"\"eventTime\"",
    b"\"ApproximateFirstReceiveTimestamp\"",
    b"\"Timestamp\"",
    b"\"requestTimeEpoch\"",
    b"\"timeEpoch\"",
];
/// and in seconds.
const EVENT_SECONDS: [&[u8]; 2] =
    [b"\"approximateArrivalTimestamp\"", b"\"ApproximateCreationDateTime\""];

/// The time of the first record in a message, or of the message; `None` where a look at its first
/// 4 KiB does not tell. The message need not be valid.
pub fn first_time(message: &[u8]) -> Option<EventTime> {
    let mut buffer = [0; HEAD_BYTES];
    let head = if gzip::tells(message) {
        gzip::head(message, &mut buffer)
    } else {
        message.get(..HEAD_BYTES).unwrap_or(message)
    };
    let head = head.trim_ascii();
    match head.first()? {
        b'{' => of_object(head),
        b'[' => of_object(head.get(1..)?.trim_ascii_start()),
        _ => {
            let text = std::str::from_utf8(head).ok();
            if let Some(time) = text.and_then(common_log::time_of) {
                return Some(time);
            }
            let text = text.and_then(load_balancer::time_of);
            let head = text.map_or(head, str::as_bytes);
            let end = memchr::memchr2(b'\t', b' ', head)?;
            rfc3339(head.get(..end)?)
        }
    }
}

fn of_object(object: &[u8]) -> Option<EventTime> {
    let mut coarse = None;
    for (key, value) in Keys::of(object) {
        match key {
            b"time" => return string(value).map_or_else(|| number(value), rfc3339),
            b"requestTimeEpoch" | b"timestamp" => return number(string(value).unwrap_or(value)),
            b"logEvents" => {
                // The first key of this name cannot be inside a string, where quotes are escaped.
                let at = memmem::find(value, b"\"timestamp\"")?;
                let (_, value) = Keys::of_member(value.get(at..)?)?;
                return number(value);
            }
            b"Records" | b"requestContext" => return of_event(value),
            b"requestTime" => {
                let text = std::str::from_utf8(string(value)?).ok()?;
                coarse = time::common_log("requestTime", text).ok();
            }
            _ => {}
        }
    }
    coarse
}

/// The first time of an event or a batch of them. A sender may put a key of that name into what it
/// sends; it would only stand in the wrong place among other files' messages.
fn of_event(value: &[u8]) -> Option<EventTime> {
    let find = |key: &&[u8]| {
        let at = memmem::find(value, key)?;
        Some(Keys::of_member(value.get(at..)?)?.1)
    };
    if let Some(value) = EVENT_TIMES.iter().find_map(find) {
        let inside = string(value);
        return inside.and_then(rfc3339).or_else(|| number(inside.unwrap_or(value)));
    }
    let seconds = EVENT_SECONDS.iter().find_map(find)?;
    let digits = seconds.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let seconds: i64 = std::str::from_utf8(seconds.get(..digits)?).ok()?.parse().ok()?;
    time::epoch_ms(seconds.saturating_mul(1_000)).ok()
}

/// The inside of the string at the start of `value`; times have no escapes.
fn string(value: &[u8]) -> Option<&[u8]> {
    let inside = value.strip_prefix(b"\"")?;
    inside.get(..memchr::memchr(b'"', inside)?)
}

fn rfc3339(text: &[u8]) -> Option<EventTime> {
    time::rfc3339("time", std::str::from_utf8(text).ok()?).ok()
}

/// The whole number at the start of `value`. One that lost its last digits to the end of the
/// head is a time before 2014, and so refused.
fn number(value: &[u8]) -> Option<EventTime> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    let digits = value.get(..digits.count())?;
    let ms = std::str::from_utf8(digits).ok()?.parse().ok()?;
    time::epoch_ms(ms).ok()
}
