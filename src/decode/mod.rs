//! Bytes to records, one file per wire format.
//!
//! One message goes in; records, problems and things to ignore come out through a [`Sink`], in the
//! order in which the message has them. Nothing here panics on input, keeps state from one message
//! to the next (only buffers), or looks at a clock.
//!
//! Which format a message has is read from the message itself: by its first byte, and for a JSON
//! object by the *keys of its outermost level*. A caller may choose strings inside a record (a user
//! agent, a path, a line of an application's log), and a key at the outermost level is the one
//! thing that a string, however it is written, cannot become.
//!
//! A new format is a new file with a `Format` in it and one more line in `FORMATS`.

mod access_log;
mod cloudwatch_logs;
mod field;
mod gzip;
mod json;
mod native;
mod outcome;
mod peek;
mod report_line;
mod telemetry;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

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
        if message.len() > self.limits.message_bytes_max {
            let detail = format!(
                "{} bytes, accepted: up to {}",
                message.len(),
                self.limits.message_bytes_max
            );
            return Refused::new(Reason::MessageTooLong, detail).tell(message, sink);
        }
        let mut place = Place::of(context);
        if let Some(name) = context.function
            && let Err(refused) = place.set_function(name)
        {
            return refused.tell(message, sink);
        }
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
    /// Reads a whole message that was recognised.
    decode: fn(&str, &Place<'_>, &mut Scratch, &mut dyn Sink),
}

/// All formats. No key stands in two of them.
const FORMATS: [Format; 6] = [
    native::BARE,
    native::EVENT,
    cloudwatch_logs::FORMAT,
    access_log::FORMAT,
    telemetry::FORMAT,
    report_line::FORMAT,
];

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
}

impl<'a> Place<'a> {
    fn of(context: &Context<'a>) -> Self {
        Self {
            account: context.account,
            region: context.region,
            function: None,
            version: None,
            log_group: "",
            at: None,
            delivery: None,
        }
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
    let text = match std::str::from_utf8(message) {
        Ok(text) => text.trim_ascii(),
        Err(error) => {
            let detail = format!("at byte {}", error.valid_up_to());
            return Refused::new(Reason::InvalidUtf8, detail).tell(message, sink);
        }
    };
    match recognise(text) {
        Ok(format) => (format.decode)(text, place, scratch, sink),
        Err(refused) => refused.tell(message, sink),
    }
}

fn recognise(text: &str) -> Result<&'static Format, Refused> {
    let found = match text.as_bytes().first() {
        Some(b'{') => json::Keys::of(text.as_bytes())
            .find_map(|(key, _)| FORMATS.iter().find(|format| format.has_key(key))),
        Some(b'[') => FORMATS.iter().find(|format| format.array),
        _ => FORMATS.iter().find(|format| (format.text)(text)),
    };
    found.ok_or_else(|| {
        let start: String = text.chars().take(60).collect();
        let detail = format!("no known format starts with or has the keys of {start:?}");
        Refused::new(Reason::UnknownFormat, detail)
    })
}

impl Format {
    fn has_key(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|known| known.as_bytes() == key)
    }
}
