//! The envelope in which a CloudWatch Logs subscription delivers log lines to Kinesis or Firehose:
//! gzip or plain JSON (CloudWatch Logs User Guide, "Real-time processing of log data with
//! subscriptions").
//!
//! `{"messageType","owner","logGroup","logStream","subscriptionFilters","logEvents":[{"id",
//! "timestamp","message"}]}`. The account is `owner`. The function is the log group's name behind
//! `/aws/lambda/`; a function that writes to a log group of another name is in the log stream's
//! name, `YYYY/MM/DD/FUNCTION[VERSION]ENVIRONMENT` (AWS Lambda Developer Guide, "Configuring
//! CloudWatch log groups"); the version is there in both cases. `timestamp` is when the line was
//! written: of a `REPORT` line the completion. `id` identifies the line for good, so a redelivery,
//! and the same line through a second subscription, has the same one.
//!
//! In a function's log only the platform's own forms count: a function may log anything, including
//! an access log line. In other log groups access log lines count as well. Whatever else the lines
//! hold is the application's business and no problem.
//!
//! Events are handed on while the envelope is still being read, so nothing is collected; what was
//! read before a break in the JSON is kept, and the break is a problem of its own.

use core::{fmt, mem};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use xxhash_rust::xxh3::xxh3_64;

use super::field::{Field, FieldWith};
use super::json::{self, Keys};
use super::outcome::{Ignored, Reason, Refused, Sink};
use super::{Format, Place, Scratch, access_log, report_line, telemetry, time};

pub(super) const FORMAT: Format = Format {
    keys: &["messageType", "logGroup", "logEvents"],
    array: false,
    text: |_| false,
    decode: |text, place, scratch, sink| decode(text, place, scratch, sink),
};

fn decode(
    text: &str,
    place: &Place<'_>,
    scratch: &mut Scratch,
    sink: &mut dyn Sink,
) -> Result<(), Refused> {
    // The header is needed to read the events. AWS writes it first; where somebody else did not,
    // the text is gone through twice.
    let header = if header_comes_first(text) {
        None
    } else {
        json::check_nesting(text)?;
        Some(json::parse::<Header<'_>>(text)?)
    };
    let mut parser = sonic_rs::Deserializer::from_str(text);
    let batch = (&mut parser).deserialize_map(Envelope {
        text,
        place,
        header: header.as_ref(),
        scratch,
        sink: &mut *sink,
    })?;
    parser.end()?;
    match batch? {
        Batch::Lines(0) => sink.ignored(Ignored::EmptyBatch),
        Batch::Lines(_) => {}
        Batch::Control => sink.ignored(Ignored::ControlMessage),
    }
    Ok(())
}

fn header_comes_first(text: &str) -> bool {
    let mut missing = 4;
    for (key, _) in Keys::of(text.as_bytes()) {
        match key {
            b"messageType" | b"owner" | b"logGroup" | b"logStream" => missing -= 1,
            b"logEvents" => break,
            _ => {}
        }
    }
    missing == 0
}

/// What an envelope held.
enum Batch {
    /// So many log lines, which have been handed on.
    Lines(usize),
    Control,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Header<'a> {
    message_type: Field<'a>,
    owner: Field<'a>,
    log_group: Field<'a>,
    log_stream: Field<'a>,
}

impl Header<'_> {
    /// Where the lines of this envelope were written; `None` for a control message.
    fn place<'a>(&'a self, outer: &Place<'a>) -> Result<Option<LogGroup<'a>>, Refused> {
        match self.message_type.text("messageType")? {
            Some("DATA_MESSAGE") => {}
            Some("CONTROL_MESSAGE") => return Ok(None),
            Some(other) => {
                let detail = format!("messageType {other:?}, accepted: DATA_MESSAGE");
                return Err(Refused::new(Reason::UnknownFormat, detail));
            }
            None => return Err(Refused::missing("messageType")),
        }
        let log_group = self.log_group.text("logGroup")?.unwrap_or_default();
        let log_stream = self.log_stream.text("logStream")?.unwrap_or_default();
        let (in_stream, version) = stream_parts(log_stream).unwrap_or_default();
        let function = match log_group.strip_prefix("/aws/lambda/") {
            Some(name) => name,
            None => in_stream,
        };
        let mut place =
            Place { log_group, version: (!version.is_empty()).then_some(version), ..*outer };
        if let Some(owner) = self.owner.text("owner")? {
            place.account = owner.parse()?;
        }
        // The account may have changed in the line above, and it is part of the function's name.
        let name = match outer.function {
            Some(assumed) if function.is_empty() => assumed.name,
            _ => function,
        };
        if !name.is_empty() {
            place.set_function(name)?;
        }
        Ok(Some(LogGroup { place, of_function: !function.is_empty() }))
    }
}

/// Function and version in `YYYY/MM/DD/FUNCTION[VERSION]ENVIRONMENT`. The function is empty in a
/// log group of its own.
fn stream_parts(log_stream: &str) -> Option<(&str, &str)> {
    let mut parts = log_stream.splitn(4, '/');
    let dated = parts.by_ref().take(3).all(|part| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        digits && !part.is_empty()
    });
    let (function, rest) = parts.next()?.split_once('[')?;
    let (version, _) = rest.split_once(']')?;
    dated.then_some((function, version))
}

struct LogGroup<'a> {
    place: Place<'a>,
    /// Whether a function writes here, and nobody else.
    of_function: bool,
}

impl<'a> LogGroup<'a> {
    /// Where and when one of its lines was written.
    fn line(&self, id: &Field<'_>, timestamp: &Field<'_>) -> Result<Place<'a>, Refused> {
        let Some(ms) = timestamp.integer("timestamp")? else {
            return Err(Refused::missing("timestamp"));
        };
        Ok(Place {
            at: Some(time::epoch_ms(ms)?),
            delivery: id.text("id")?.map(|id| xxh3_64(id.as_bytes())),
            ..self.place
        })
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum EnvelopeKey {
    MessageType,
    Owner,
    LogGroup,
    LogStream,
    LogEvents,
    #[serde(other)]
    Other,
}

struct Envelope<'s, 'p> {
    text: &'s str,
    place: &'s Place<'p>,
    /// Where it had to be read beforehand.
    header: Option<&'s Header<'s>>,
    scratch: &'s mut Scratch,
    sink: &'s mut dyn Sink,
}

impl<'de> Visitor<'de> for Envelope<'_, '_> {
    type Value = Result<Batch, Refused>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log envelope")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut own = Header::default();
        let mut batch = None;
        while let Some(key) = map.next_key::<EnvelopeKey>()? {
            let slot = match key {
                EnvelopeKey::MessageType => &mut own.message_type,
                EnvelopeKey::Owner => &mut own.owner,
                EnvelopeKey::LogGroup => &mut own.log_group,
                EnvelopeKey::LogStream => &mut own.log_stream,
                EnvelopeKey::LogEvents if batch.is_none() => {
                    batch = Some(self.events(self.header.unwrap_or(&own), &mut map)?);
                    continue;
                }
                EnvelopeKey::LogEvents => return Err(A::Error::duplicate_field("logEvents")),
                EnvelopeKey::Other => {
                    map.next_value::<Field<'de>>()?;
                    continue;
                }
            };
            if !slot.is_absent() {
                return Err(A::Error::custom("duplicate field in the header"));
            }
            *slot = map.next_value()?;
        }
        Ok(batch.unwrap_or_else(|| match self.header.unwrap_or(&own).place(self.place) {
            Ok(Some(_)) => Err(Refused::missing("logEvents")),
            Ok(None) => Ok(Batch::Control),
            Err(refused) => Err(refused),
        }))
    }
}

impl Envelope<'_, '_> {
    fn events<'de, A: MapAccess<'de>>(
        &mut self,
        header: &Header<'_>,
        map: &mut A,
    ) -> Result<Result<Batch, Refused>, A::Error> {
        let group = match header.place(self.place) {
            Ok(Some(group)) => group,
            other => {
                map.next_value::<Field<'de>>()?;
                return Ok(other.map(|_| Batch::Control));
            }
        };
        self.sink.log_group(group.place.log_group);
        let lines = map.next_value_seed(Lines {
            text: self.text,
            group: &group,
            scratch: self.scratch,
            sink: self.sink,
        })?;
        Ok(Ok(Batch::Lines(lines)))
    }
}

/// The `logEvents` array; its value is how many there were.
struct Lines<'s> {
    text: &'s str,
    group: &'s LogGroup<'s>,
    scratch: &'s mut Scratch,
    sink: &'s mut dyn Sink,
}

impl<'de> DeserializeSeed<'de> for Lines<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Lines<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of log events")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while seq.next_element_seed(Event { lines: &mut self })?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

impl Lines<'_> {
    fn hand_on(&mut self, line: &str, id: &Field<'_>, timestamp: &Field<'_>) {
        let form = Form::of(line, self.group.of_function);
        match form {
            Form::Platform => self.sink.ignored(Ignored::PlatformEvent),
            Form::Application => self.sink.ignored(Ignored::ApplicationLog),
            Form::Report | Form::Entry | Form::Access => {
                self.sink.log_text(line.len());
                match self.group.line(id, timestamp) {
                    Ok(place) if form == Form::Report => {
                        report_line::decode(line, &place, self.sink);
                    }
                    Ok(place) if form == Form::Entry => telemetry::object(line, &place, self.sink),
                    Ok(place) => {
                        access_log::decode(line, &place, &mut self.scratch.route, self.sink);
                    }
                    Err(refused) => refused.tell(line.as_bytes(), self.sink),
                }
            }
        }
    }

    /// For an event that has no line.
    fn refuse(&mut self, refused: Refused) {
        refused.tell(self.text.as_bytes(), self.sink);
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum EventKey {
    Id,
    Timestamp,
    Message,
    #[serde(other)]
    Other,
}

/// One event, handed on as soon as it is known.
struct Event<'s, 'l> {
    lines: &'s mut Lines<'l>,
}

impl Event<'_, '_> {
    fn not_an_object<E>(self) -> Result<(), E> {
        self.lines.refuse(Refused::new(Reason::MalformedField, "a log event that is no object"));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Event<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Not as a map: what is not one must not make the events after it unreadable.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Event<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { lines } = self;
        let (mut id, mut timestamp) = (Field::Absent, Field::Absent);
        let mut message = Field::Absent;
        let mut is_buffered = false;
        while let Some(key) = map.next_key()? {
            match key {
                EventKey::Id => id = map.next_value()?,
                EventKey::Timestamp => timestamp = map.next_value()?,
                EventKey::Message => {
                    // The unescaped line is in the parser's buffer and gone afterwards. CloudWatch
                    // writes the message last, so it need not be copied.
                    message = map.next_value_seed(FieldWith(|line: &str| {
                        is_buffered = id.is_absent() || timestamp.is_absent();
                        if is_buffered {
                            lines.scratch.line.clear();
                            lines.scratch.line.push_str(line);
                        } else {
                            lines.hand_on(line, &id, &timestamp);
                        }
                        Field::Given
                    }))?;
                }
                EventKey::Other => {
                    map.next_value::<Field<'de>>()?;
                }
            }
        }
        match message {
            Field::Given if is_buffered => {
                let line = mem::take(&mut lines.scratch.line);
                lines.hand_on(&line, &id, &timestamp);
                lines.scratch.line = line;
            }
            Field::Given => {}
            Field::Text(line) => lines.hand_on(&line, &id, &timestamp),
            Field::Absent => lines.refuse(Refused::missing("message")),
            _ => lines.refuse(Refused::malformed("message", "not text", "a string")),
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<Field<'de>>()?.is_some() {}
        self.not_an_object()
    }
}

/// What a line is, told without parsing it.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Report,
    Entry,
    Access,
    Platform,
    Application,
}

impl Form {
    fn of(line: &str, of_function: bool) -> Self {
        if report_line::is_report(line) {
            return Form::Report;
        }
        if !line.starts_with('{') {
            return if report_line::is_platform(line) { Form::Platform } else { Form::Application };
        }
        Keys::of(line.as_bytes())
            .find_map(|(key, value)| {
                if key == b"type" && value.starts_with(b"\"platform.") {
                    return Some(Form::Entry);
                }
                (!of_function && access_log::is_key(key)).then_some(Form::Access)
            })
            .unwrap_or(Form::Application)
    }
}
