//! Bytes to records, one file per wire format.
//!
//! One message goes in; records, problems and things to ignore come out through a [`Sink`], in the
//! order in which the message has them. Nothing here panics on input, keeps state from one message
//! to the next (only buffers), or looks at a clock.
//!
//! Which format a message has is read from the message itself: by its first byte, and for a JSON
//! object by the *keys of its outermost level*. A caller may choose strings inside a record (a user
//! agent, a path, a line of an application's log), and a key at the outermost level is the one
//! thing that a string, however it is written, cannot become. One format is not text: it is told by
//! bytes that no text starts with. In CloudEvents' binary mode the type is in headers beside the
//! message, which the source hands over.
//!
//! A new format is a new file with a `Format` in it and one more line in `FORMATS`.

mod access_log;
mod cloud_event;
mod cloudwatch_logs;
mod common_log;
mod entry_point;
mod event_batch;
mod event_bus;
mod field;
mod gzip;
mod http_event;
mod json;
mod load_balancer;
mod metric_stream;
mod native;
mod openwhisk;
mod otlp;
mod outcome;
mod peek;
mod report_line;
mod telemetry;
#[cfg(test)]
mod tests;
mod time;
mod words;

use std::fmt;

pub use cloud_event::{EVENT_HEADERS, EventHeaders};
pub use outcome::{Ignored, Problem, Reason, Sink};
pub use peek::first_time;

use crate::record::FunctionRef;
use crate::units::{AccountId, EventTime};
use outcome::Refused;

/// What to assume where the message itself does not say.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The account that the stream belongs to.
    pub account: AccountId,
    /// The region that the stream belongs to.
    pub region: &'a str,
    /// The function whose records these are, where a stream carries one function only.
    pub function: Option<&'a str>,
}

/// How much of one message is read. Larger ones become a [`Problem`], never a crash.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest message as it arrives. The default, 10 MiB, is what one Kinesis record can
    /// hold, and ten times a default Kafka message.
    pub message_bytes_max: usize,
    /// The longest message after decompression. The default is 64 MiB: deflate can reach 1,032:1,
    /// real log batches reach about 30:1.
    pub inflated_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 10 << 20, inflated_bytes_max: 64 << 20 }
    }
}

/// Reads messages. Holds nothing but buffers that are used again for the next message.
pub struct Decoder {
    limits: Limits,
    inflater: gzip::Inflater,
    scratch: Scratch,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder with empty buffers.
    pub fn new(limits: Limits) -> Self {
        Self { limits, inflater: gzip::Inflater::new(), scratch: Scratch::default() }
    }

    /// Reads one message. Whatever it holds, `sink` hears of it at least once.
    pub fn decode<S: Sink>(&mut self, message: &[u8], context: &Context<'_>, sink: &mut S) {
        self.open(message, context, sink, read);
    }

    /// Reads one message that came with the headers of a CloudEvent in binary mode.
    pub fn decode_event<S: Sink>(
        &mut self,
        message: &[u8],
        headers: &EventHeaders<'_>,
        context: &Context<'_>,
        sink: &mut S,
    ) {
        match headers.attributes() {
            // Whatever else a message is, it need not be readable to be an event.
            Ok(attributes) if attributes.is_opaque() => {
                let told = Place::of(context).and_then(|place| attributes.trigger(&place, sink));
                if let Err(refused) = told {
                    refused.tell(message, sink);
                }
            }
            Ok(attributes) => self.open(message, context, sink, |data, place, scratch, sink| {
                attributes.read(data, place, scratch, sink);
            }),
            Err(refused) => refused.tell(message, sink),
        }
    }

    /// Checks and decompresses a message, and gives it to `read`.
    fn open<S: Sink>(
        &mut self,
        message: &[u8],
        context: &Context<'_>,
        sink: &mut S,
        read: impl FnOnce(&[u8], &Place<'_>, &mut Scratch, &mut dyn Sink),
    ) {
        if message.len() > self.limits.message_bytes_max {
            let detail = format!(
                "{} bytes, accepted: up to {}",
                message.len(),
                self.limits.message_bytes_max
            );
            return Refused::new(Reason::MessageTooLong, detail).tell(message, sink);
        }
        let place = match Place::of(context) {
            Ok(place) => place,
            Err(refused) => return refused.tell(message, sink),
        };
        if !gzip::tells(message) {
            return read(message, &place, &mut self.scratch, sink);
        }
        let bytes_max = self.limits.inflated_bytes_max;
        match self.inflater.inflate(message, bytes_max) {
            Ok(plain) => read(plain, &place, &mut self.scratch, sink),
            Err(refused) => refused.tell(message, sink),
        }
    }
}

/// A wire format: how it is recognised, and how it is read.
struct Format {
    /// Keys that only this format has at the outermost level of its JSON object.
    keys: &'static [&'static str],
    /// Whether a JSON array is this format.
    array: bool,
    /// Whether this text, which is not JSON, is this format.
    text: fn(&str) -> bool,
    /// Reads a whole message that was recognised; refuses all of it, or tells what it refuses.
    decode: fn(&str, &Place<'_>, &mut Scratch, &mut dyn Sink) -> Result<(), Refused>,
}

/// All formats of text. No key stands in two of them.
const FORMATS: [Format; 13] = [
    native::FORMAT,
    cloudwatch_logs::FORMAT,
    access_log::FORMAT,
    telemetry::FORMAT,
    report_line::FORMAT,
    cloud_event::FORMAT,
    event_batch::FORMAT,
    event_bus::FORMAT,
    http_event::FORMAT,
    load_balancer::FORMAT,
    common_log::FORMAT,
    metric_stream::FORMAT,
    openwhisk::FORMAT,
];

/// The most records that are taken from one message of a format that has batches of events: the
/// largest batch that Lambda hands to a function (of SQS, Kinesis and DynamoDB streams).
const RECORDS_MAX: usize = 10_000;

/// Buffers that are used again from message to message.
#[derive(Debug, Default)]
struct Scratch {
    /// A log line with its escapes resolved.
    line: String,
    /// A route, put together from its parts.
    route: String,
}

/// Where a record was found: what holds for it unless it says otherwise.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    account: AccountId,
    region: &'a str,
    function: Option<FunctionRef<'a>>,
    version: Option<&'a str>,
    log_group: &'a str,
    at: Option<EventTime>,
    delivery: Option<u64>,
    /// Whether this is the inside of a CloudEvent.
    enveloped: bool,
}

impl<'a> Place<'a> {
    fn of(context: &Context<'a>) -> Result<Self, Refused> {
        let mut place = Self {
            account: context.account,
            region: context.region,
            function: None,
            version: None,
            log_group: "",
            at: None,
            delivery: None,
            enveloped: false,
        };
        if let Some(name) = context.function {
            place.set_function(name)?;
        }
        Ok(place)
    }

    /// The names are checked here, once for all records that come from this place.
    fn set_function(&mut self, name: &'a str) -> Result<(), Refused> {
        self.function = Some(FunctionRef::try_new(self.account, self.region, name)?);
        Ok(())
    }

    fn function(&self) -> Result<FunctionRef<'a>, Refused> {
        self.function.ok_or_else(|| {
            Refused::new(
                Reason::FunctionUnknown,
                "neither the record, its log group nor the source's settings name the function",
            )
        })
    }
}

fn read(message: &[u8], place: &Place<'_>, scratch: &mut Scratch, sink: &mut dyn Sink) {
    if otlp::tells(message) {
        return otlp::decode(message, sink);
    }
    let told = text_of(message).and_then(|text| {
        let format = recognise(text)?;
        (format.decode)(text, place, scratch, sink)
    });
    if let Err(refused) = told {
        refused.tell(message.trim_ascii(), sink);
    }
}

fn text_of(message: &[u8]) -> Result<&str, Refused> {
    match std::str::from_utf8(message) {
        Ok(text) => Ok(text.trim_ascii()),
        Err(error) => {
            let detail = format!("at byte {}", error.valid_up_to());
            Err(Refused::new(Reason::InvalidUtf8, detail))
        }
    }
}

fn recognise(text: &str) -> Result<&'static Format, Refused> {
    let found = match text.as_bytes().first() {
        Some(b'{') => of_object(text.as_bytes()),
        Some(b'[') => FORMATS.iter().find(|format| format.array),
        _ => FORMATS.iter().find(|format| (format.text)(text)),
    };
    found.ok_or_else(|| {
        let start: String = text.chars().take(60).collect();
        let detail = format!("no known format starts with or has the keys of {start:?}");
        Refused::new(Reason::UnknownFormat, detail)
    })
}

fn of_object(object: &[u8]) -> Option<&'static Format> {
    let mut keys = json::Keys::of(object);
    let (key, format) = keys.by_ref().find_map(|(key, _)| {
        let format = FORMATS.iter().find(|format| format.has_key(key))?;
        Some((key, format))
    })?;
    // The one thing that two formats share.
    let is_event =
        http_event::SHARED.contains(&key) && keys.any(|(key, _)| key == http_event::KEY.as_bytes());
    Some(if is_event { &http_event::FORMAT } else { format })
}

impl Format {
    fn has_key(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|known| known.as_bytes() == key)
    }
}
