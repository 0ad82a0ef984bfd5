//! CloudWatch metric streams in their OpenTelemetry 1.0 format: `ExportMetricsServiceRequest`s in
//! protocol buffers, each behind its length as a varint, one or more a message (Amazon CloudWatch
//! User Guide, "CloudWatch metric stream output in OpenTelemetry 1.0.0 format"; field numbers from
//! opentelemetry-proto 1.0.0, `metrics/v1/metrics.proto`). The 0.7.0 format differs in attributes
//! only, which are not looked at, so it is read the same way.
//!
//! What a data point is good for is said in `metric_stream.rs`: it is counted and goes no further.
//! So the reader goes down the five levels to the data points and checks the framing on its way;
//! for that a generated parser, which would build every string and attribute, is not needed.
//!
//! A message is taken for this format by its first bytes: a length of at least two bytes, which
//! every stream's has because of its resource attributes, and the tag of the one field that a
//! request has. No text starts like that: such a length is not UTF-8, or has a control character
//! in it.

use super::outcome::{Ignored, Reason, Refused, Sink};
use super::time;

/// `ExportMetricsServiceRequest.resource_metrics`, `ResourceMetrics.scope_metrics`,
/// `ScopeMetrics.metrics`: the way down to a metric.
const WAY: [u64; 3] = [1, 2, 2];
/// `Metric.gauge`, `sum`, `histogram`, `exponential_histogram` and `summary`, one of which a metric
/// has, with the field `data_points` in each. Streams use the last.
const KINDS: [u64; 5] = [5, 7, 9, 10, 11];
const DATA_POINTS: u64 = 1;
/// `time_unix_nano` of a data point of any kind.
const TIME: u64 = 3;
const NANOS_PER_MS: u64 = 1_000_000;
/// The tag of `resource_metrics`: field 1, with a length.
const FIRST_TAG: u8 = 0x0a;

/// Whether this message is in this format.
pub(super) fn tells(message: &[u8]) -> bool {
    let mut reader = Reader(message);
    let length = reader.varint();
    let is_long = message.len() - reader.0.len() > 1;
    length.is_ok() && is_long && reader.0.first() == Some(&FIRST_TAG)
}

/// Reads a whole message.
pub(super) fn decode(message: &[u8], sink: &mut dyn Sink) {
    let mut points = 0_u64;
    let told = requests(message, &mut points);
    for _ in 0..points {
        sink.ignored(Ignored::Usage);
    }
    match told {
        Ok(()) if points == 0 => sink.ignored(Ignored::EmptyBatch),
        Ok(()) => {}
        Err(refused) => refused.tell(message, sink),
    }
}

fn requests(message: &[u8], points: &mut u64) -> Result<(), Refused> {
    let mut reader = Reader(message);
    while !reader.0.is_empty() {
        let request = reader.bytes()?;
        descend(request, &WAY, points)?;
    }
    Ok(())
}

/// Goes down to the metrics below `message`; as deep as the way is long.
fn descend(message: &[u8], way: &[u64], points: &mut u64) -> Result<(), Refused> {
    let Some((next, way)) = way.split_first() else {
        return metric(message, points);
    };
    let mut reader = Reader(message);
    while let Some((field, value)) = reader.field()? {
        if field == *next {
            descend(value.message()?, way, points)?;
        }
    }
    Ok(())
}

fn metric(message: &[u8], points: &mut u64) -> Result<(), Refused> {
    let mut reader = Reader(message);
    while let Some((field, value)) = reader.field()? {
        if !KINDS.contains(&field) {
            continue;
        }
        let mut kind = Reader(value.message()?);
        while let Some((field, value)) = kind.field()? {
            if field == DATA_POINTS {
                data_point(value.message()?)?;
                *points += 1;
            }
        }
    }
    Ok(())
}

fn data_point(message: &[u8]) -> Result<(), Refused> {
    let mut reader = Reader(message);
    let mut at = None;
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (TIME, Value::Fixed64(nanos)) => at = Some(nanos / NANOS_PER_MS),
            (TIME, _) => return Err(damaged("a time that is not fixed64")),
            _ => {}
        }
    }
    let ms = at.ok_or_else(|| Refused::missing("time_unix_nano"))?;
    time::epoch_ms(i64::try_from(ms).unwrap_or(i64::MAX)).map(|_| ())
}

/// The rest of a message in protocol buffers.
struct Reader<'a>(&'a [u8]);

enum Value<'a> {
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// A varint or 32 bits: no field that is looked at has them.
    Small,
}

impl<'a> Value<'a> {
    fn message(self) -> Result<&'a [u8], Refused> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(damaged("a number where a message belongs")),
        }
    }
}

impl<'a> Reader<'a> {
    /// The next field's number and value; `None` at the end.
    fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, Refused> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => {
                self.varint()?;
                Value::Small
            }
            1 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or_else(truncated)?;
                self.0 = rest;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => Value::Bytes(self.bytes()?),
            5 => {
                self.0 = self.0.get(4..).ok_or_else(truncated)?;
                Value::Small
            }
            // Groups, which no version of the format has had, and two that do not exist.
            _ => return Err(damaged("an unknown wire type")),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Refused> {
        let length = usize::try_from(self.varint()?).map_err(|_| truncated())?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Seven bits a byte, the lowest first; ten bytes at most.
    fn varint(&mut self) -> Result<u64, Refused> {
        let mut value = 0;
        for (shift, byte) in (0..64).step_by(7).zip(self.0) {
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.0 = self.0.get(shift / 7 + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        if self.0.len() < 10 { Err(truncated()) } else { Err(damaged("a number of over 64 bits")) }
    }
}

#[cold]
fn truncated() -> Refused {
    damaged("it ends in the middle of a field")
}

#[cold]
fn damaged(what: &str) -> Refused {
    Refused::new(Reason::InvalidProtobuf, what)
}
