//! The `REPORT` line that Lambda writes into a function's log after every invocation, with the
//! log format set to text.
//!
//! `REPORT RequestId: ID<tab>Duration: 128.83 ms<tab>Billed Duration: 200 ms<tab>Memory Size: 128
//! MB<tab>Max Memory Used: 74 MB`, then, each where it applies: `Init Duration`, `Restore Duration`
//! and `Billed Restore Duration` (snapshots; the latter is part of `Billed Duration` already),
//! `Status` (left out on success), `Error Type`, and on a line of their own `XRAY TraceId`,
//! `SegmentId`, `Sampled`. (AWS Lambda Developer Guide, "Log and monitor Lambda functions".) Fields
//! are found by name, in any order; the first of a name counts and unknown ones are passed over.
//!
//! `Billed Duration` is taken as it stands: what of the initialisation is billed has changed over
//! the years (all of it since August 2025), and the platform has done the sum.
//!
//! The line has no time and no function name of its own. In a log envelope both come from there;
//! without one, the time is an RFC 3339 prefix (`2026-01-01T00:00:00.000Z REPORT ...`, the form
//! that log tailers write) and the function is the source's setting.
//!
//! In a text log whoever makes the function print a line that starts like this one has forged a
//! record; the JSON log format and the Telemetry API do not have that weakness.

use memchr::{memchr, memchr2};

use super::field::{cut, init_ms};
use super::outcome::{Ignored, Reason, Refused, Sink};
use super::{Format, Place, Scratch, time};
use crate::record::{Invocation, Record, Status};
use crate::units::{BilledMs, MemoryMb, OutOfRange};

pub(super) const FORMAT: Format = Format {
    keys: &[],
    array: false,
    text: |text| {
        let (_, line) = split_time(text);
        is_report(line) || is_platform(line)
    },
    decode: |text, place, _: &mut Scratch, sink| {
        decode(text, place, sink);
        Ok(())
    },
};

const ID: &[u8] = b"RequestId: ";
/// A request id is a UUID in text form.
const UUID_BYTES: usize = 36;

/// How the platform's own lines about an environment start.
const PLATFORM: [&str; 10] = [
    "START RequestId: ",
    "END RequestId: ",
    "INIT_START ",
    "INIT_REPORT ",
    "RESTORE_START ",
    "RESTORE_REPORT ",
    "EXTENSION\t",
    "TELEMETRY\t",
    "LOGS\t",
    "XRAY TraceId: ",
];

/// Whether this is the line that carries money.
pub(super) fn is_report(line: &str) -> bool {
    line.starts_with("REPORT RequestId: ")
}

/// Whether this is another line of the platform's own.
pub(super) fn is_platform(line: &str) -> bool {
    PLATFORM.iter().any(|start| line.starts_with(start))
}

/// Reads a line, with or without a time before it.
pub(super) fn decode(text: &str, place: &Place<'_>, sink: &mut dyn Sink) {
    let (prefix, line) = split_time(text);
    if !is_report(line) {
        return sink.ignored(Ignored::PlatformEvent);
    }
    match invocation(line, prefix, place) {
        Ok(invocation) => sink.record(&Record::Invocation(invocation)),
        Err(refused) => refused.tell(text.as_bytes(), sink),
    }
}

fn split_time(text: &str) -> (Option<&str>, &str) {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return (None, text);
    }
    match text.split_once(['\t', ' ']) {
        Some((prefix, line)) => (Some(prefix), line),
        None => (None, text),
    }
}

fn invocation<'a>(
    line: &'a str,
    prefix: Option<&str>,
    place: &Place<'a>,
) -> Result<Invocation<'a>, Refused> {
    let report = Report::parse(line)?;
    let at = match (prefix, place.at) {
        (Some(prefix), _) => time::rfc3339("time before REPORT", prefix)?,
        (None, Some(at)) => at,
        (None, None) => return Err(Refused::missing("time before REPORT")),
    };
    let missing = |field| move || Refused::missing(field);
    Ok(Invocation {
        function: place.function()?,
        at,
        billed: report.billed.ok_or_else(missing("Billed Duration"))?,
        memory: report.memory.ok_or_else(missing("Memory Size"))?,
        // A restored snapshot is a cold start too.
        init_ms: report.init_ms.or(report.restore_ms),
        status: report.status.unwrap_or(Status::Success),
        version: place.version,
        architecture: None,
        request_id: report.request_id.map(cut),
        delivery: place.delivery,
        source: None,
    })
}

#[derive(Debug, Default, PartialEq)]
struct Report<'a> {
    request_id: Option<&'a str>,
    billed: Option<BilledMs>,
    memory: Option<MemoryMb>,
    init_ms: Option<f32>,
    restore_ms: Option<f32>,
    status: Option<Status>,
}

impl<'a> Report<'a> {
    fn parse(line: &'a str) -> Result<Self, Refused> {
        let mut report = Self::default();
        let line = line.strip_prefix("REPORT ").unwrap_or(line);
        let mut rest = report.take_usual(line).unwrap_or(line);
        while !rest.is_empty() {
            // The tracing fields stand behind a line break.
            let end = memchr2(b'\t', b'\n', rest.as_bytes()).unwrap_or(rest.len());
            let field = rest.get(..end).unwrap_or_default();
            rest = rest.get(end + 1..).unwrap_or_default();
            if let Some(colon) = memchr(b':', field.as_bytes()) {
                let value = field.get(colon + 1..).unwrap_or_default();
                report.take(field.get(..colon).unwrap_or_default(), value.trim_ascii())?;
            }
        }
        Ok(report)
    }

    /// The fields that every line starts with, in the order in which Lambda has always written
    /// them, which spares the search for their ends; gives back what follows. `None` where a line
    /// is different: then nothing has been taken.
    fn take_usual(&mut self, line: &'a str) -> Option<&'a str> {
        let id_and_rest = line.as_bytes().strip_prefix(ID)?;
        let (request_id, rest) = id_and_rest.split_first_chunk::<UUID_BYTES>()?;
        // Without a branch per byte.
        let blank = |found, byte: &u8| found | (*byte <= b' ');
        if request_id.iter().fold(false, blank) {
            return None;
        }
        let (_, rest) = digits(rest.strip_prefix(b"\tDuration: ")?)?;
        let (_, rest) = digits(rest.strip_prefix(b".")?)?;
        let (billed, rest) = digits(rest.strip_prefix(b" ms\tBilled Duration: ")?)?;
        let (memory, rest) = digits(rest.strip_prefix(b" ms\tMemory Size: ")?)?;
        let (_, rest) = digits(rest.strip_prefix(b" MB\tMax Memory Used: ")?)?;
        let rest = rest.strip_prefix(b" MB")?;
        let request_id = line.get(ID.len()..ID.len() + UUID_BYTES)?;
        let rest = line.get(line.len() - rest.len()..)?;
        let billed = BilledMs::try_new(billed).ok()?;
        let memory = MemoryMb::try_new(memory).ok()?;
        self.request_id = Some(request_id);
        self.billed = Some(billed);
        self.memory = Some(memory);
        Some(rest)
    }

    fn take(&mut self, name: &str, value: &'a str) -> Result<(), Refused> {
        match name {
            "RequestId" if self.request_id.is_none() => self.request_id = Some(value),
            "Billed Duration" if self.billed.is_none() => {
                self.billed = Some(match quantity(name, value, "ms")? {
                    Quantity::Whole(ms) => BilledMs::try_new(ms)?,
                    Quantity::Fraction(ms) => BilledMs::try_from_f64(ms)?,
                });
            }
            "Memory Size" if self.memory.is_none() => {
                self.memory = Some(match quantity(name, value, "MB")? {
                    Quantity::Whole(mb) => MemoryMb::try_new(mb)?,
                    Quantity::Fraction(mb) => {
                        let accepted = "a whole number, 1 to 32768";
                        return Err(OutOfRange::new("memory size (MB)", mb, accepted).into());
                    }
                });
            }
            "Init Duration" if self.init_ms.is_none() => {
                self.init_ms = Some(init_ms(quantity(name, value, "ms")?.float())?);
            }
            "Restore Duration" if self.restore_ms.is_none() => {
                self.restore_ms = Some(init_ms(quantity(name, value, "ms")?.float())?);
            }
            "Status" if self.status.is_none() => self.status = Some(status(value)),
            _ => {}
        }
        Ok(())
    }
}

/// A status in the platform's words. One that is not known yet is not a success, because successes
/// are told by leaving the field out or by that very word.
pub(super) fn status(text: &str) -> Status {
    match text {
        "success" => Status::Success,
        "timeout" => Status::Timeout,
        _ => Status::Error,
    }
}

enum Quantity {
    Whole(u64),
    Fraction(f64),
}

impl Quantity {
    fn float(self) -> f64 {
        match self {
            Quantity::Whole(value) => value as f64,
            Quantity::Fraction(value) => value,
        }
    }
}

/// The whole number at the start of a text, and what follows it. `None` also for one that is too
/// long to be in any range.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        value = value * 10 + u64::from(digit - b'0');
        rest = after;
        if text.len() - rest.len() > 9 {
            return None;
        }
    }
    (rest.len() < text.len()).then_some((value, rest))
}

/// A number with its unit, `128.83 ms`.
fn quantity(name: &str, value: &str, unit: &str) -> Result<Quantity, Refused> {
    let malformed = || {
        let detail = format!("{name} {value:.80}, accepted: a number of {unit}");
        Refused::new(Reason::MalformedField, detail)
    };
    let number = value.strip_suffix(unit).ok_or_else(malformed)?.trim_ascii_end();
    match number.parse() {
        Ok(whole) => Ok(Quantity::Whole(whole)),
        Err(_) => number.parse().map(Quantity::Fraction).map_err(|_| malformed()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_usual_order_is_read_like_any_other(
            id in "[0-9a-f-]{34,37}",
            duration in "[0-9]{1,10}(\\.[0-9]{0,2})?",
            billed in "[0-9]{0,8}",
            memory in "[0-9]{1,6}",
            tail in "(\tInit Duration: 1.5 ms)?(\tStatus: timeout)?(\t\n)?",
        ) {
            let (id, duration) = (format!("RequestId: {id}"), format!("Duration: {duration} ms"));
            let billed = format!("Billed Duration: {billed} ms");
            let memory = format!("Memory Size: {memory} MB");
            let used = "Max Memory Used: 74 MB";
            let usual = [&id, &duration, &billed, &memory, used].join("\t") + &tail;
            let other = [used, &id, &billed, &duration, &memory].join("\t") + &tail;
            match (Report::parse(&usual), Report::parse(&other)) {
                (Ok(usual), Ok(other)) => prop_assert_eq!(usual, other),
                (Err(usual), Err(other)) => prop_assert_eq!(usual.reason, other.reason),
                (usual, other) => prop_assert!(false, "{usual:?} {other:?}"),
            }
        }
    }
}
