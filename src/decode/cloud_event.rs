//! CloudEvents 1.0: structured, one JSON object with the attributes and `data`, and binary, a Kafka
//! message whose headers are the attributes and whose value is the data ("CloudEvents - Version
//! 1.0.2", "JSON Event Format", "Kafka Protocol Binding").
//!
//! What an event holds is told by its `type`, never by what its data look like: the data may be
//! anybody's, the type is its producer's.
//!
//! - `dev.bursar.invocation`, `.trigger`, `.refusal`: `data` is bursar's own form (`native.rs`).
//! - `dev.bursar.message`: `data` is a message in any other format that bursar reads.
//! - Any other type is a trigger: the event itself asks for an invocation. Its origin is `source`,
//!   and `source` and `type` are the entry point. Its data are not looked at.
//!
//! `source` and `id` together identify the delivery. `time` is used where the data have none.

use serde::Deserialize;
use sonic_rs::LazyValue;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::entry_point::Owner;
use super::field::{Field, cut};
use super::json;
use super::outcome::{Reason, Refused, Sink};
use super::{Format, Place, Scratch, native, read, text_of, time};
use crate::record::{Record, Source, Trigger, TriggerKind};
use crate::units::EventTime;

pub(super) const FORMAT: Format = Format {
    keys: &["specversion"],
    array: false,
    text: |_| false,
    decode: |text, place, scratch, sink| structured(text, place, scratch, sink),
};

/// The headers of a Kafka message that [`EventHeaders`] looks at; a source need keep no others.
pub const EVENT_HEADERS: [&str; 5] = ["ce_specversion", "ce_type", "ce_source", "ce_id", "ce_time"];

/// The attributes of a CloudEvent in binary mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventHeaders<'a> {
    kind: &'a [u8],
    source: &'a [u8],
    id: &'a [u8],
    time: &'a [u8],
}

impl<'a> EventHeaders<'a> {
    /// Picks the attributes out of a message's headers, in any order, with any others between them;
    /// the last of a name counts. `None` where `ce_specversion` is not there: the message is no
    /// event in binary mode. Nothing is checked yet.
    pub fn of(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<Self> {
        let mut event = Self::default();
        let mut is_event = false;
        for (name, value) in headers {
            match name {
                "ce_specversion" => is_event = true,
                "ce_type" => event.kind = value,
                "ce_source" => event.source = value,
                "ce_id" => event.id = value,
                "ce_time" => event.time = value,
                _ => {}
            }
        }
        is_event.then_some(event)
    }

    /// The attributes, checked.
    pub(super) fn attributes(&self) -> Result<Attributes<'a>, Refused> {
        let at = match text("ce_time", self.time)? {
            Some(text) => Some(time::rfc3339("ce_time", text)?),
            None => None,
        };
        Ok(Attributes {
            kind: text("ce_type", self.kind)?.ok_or_else(|| Refused::missing("ce_type"))?,
            source: text("ce_source", self.source)?.unwrap_or_default(),
            id: text("ce_id", self.id)?,
            at,
        })
    }
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<Option<&'a str>, Refused> {
    match std::str::from_utf8(value) {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(cut(text))),
        Err(error) => {
            let detail = format!("{name} at byte {}", error.valid_up_to());
            Err(Refused::new(Reason::InvalidUtf8, detail))
        }
    }
}

/// What an event says of itself.
pub(super) struct Attributes<'a> {
    kind: &'a str,
    source: &'a str,
    id: Option<&'a str>,
    at: Option<EventTime>,
}

impl<'a> Attributes<'a> {
    /// What of the type is bursar's own.
    fn own(&self) -> Option<&'a str> {
        self.kind.strip_prefix("dev.bursar.")
    }

    /// Whether its data are nothing that would be looked at.
    pub(super) fn is_opaque(&self) -> bool {
        self.own().is_none()
    }

    /// Reads the event by its type.
    pub(super) fn read(
        &self,
        data: &[u8],
        place: &Place<'_>,
        scratch: &mut Scratch,
        sink: &mut dyn Sink,
    ) {
        let told = match self.own() {
            None => self.trigger(place, sink),
            Some("message") => return message(data, &self.place(place), scratch, sink),
            Some(kind) => {
                text_of(data).and_then(|text| native::data(kind, text, &self.place(place), sink))
            }
        };
        if let Err(refused) = told {
            refused.tell(data, sink);
        }
    }

    /// Where the data are found.
    fn place<'p>(&self, outer: &Place<'p>) -> Place<'p> {
        let seed = xxh3_64(self.source.as_bytes());
        Place {
            at: self.at,
            delivery: self.id.map(|id| xxh3_64_with_seed(id.as_bytes(), seed)),
            ..*outer
        }
    }

    /// The event itself as a trigger.
    pub(super) fn trigger(&self, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
        let place = self.place(place);
        let owner = Owner { account: place.account, region: place.region };
        sink.record(&Record::Trigger(Trigger {
            target: owner.target(&place, self.source, self.kind)?,
            at: place.at.ok_or_else(|| Refused::missing("time"))?,
            kind: TriggerKind::Other,
            source: Source { origin: Some(self.source), ..Source::default() },
            request_id: self.id,
            response_bytes: 0,
            delivery: place.delivery,
        }));
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: Field<'a>,
    id: Field<'a>,
    source: Field<'a>,
    time: Field<'a>,
    data: Option<LazyValue<'a>>,
}

fn structured(
    text: &str,
    place: &Place<'_>,
    scratch: &mut Scratch,
    sink: &mut dyn Sink,
) -> Result<(), Refused> {
    if place.enveloped {
        let detail = "a CloudEvent in a CloudEvent, send the inner one alone";
        return Err(Refused::new(Reason::UnknownFormat, detail));
    }
    json::check_nesting(text)?;
    let event: Event<'_> = json::parse(text)?;
    let attributes = Attributes {
        kind: event.kind.text("type")?.ok_or_else(|| Refused::missing("type"))?,
        source: event.source.text("source")?.unwrap_or_default(),
        id: event.id.text("id")?,
        at: match event.time {
            Field::Absent => None,
            _ => Some(native::moment(&event.time)?),
        },
    };
    match &event.data {
        None if !attributes.is_opaque() => return Err(Refused::missing("data")),
        data => {
            let data = data.as_ref().map_or("", LazyValue::as_raw_str);
            attributes.read(data.as_bytes(), place, scratch, sink);
        }
    }
    Ok(())
}

/// Reads a message that was found in an event.
fn message(data: &[u8], place: &Place<'_>, scratch: &mut Scratch, sink: &mut dyn Sink) {
    // The event's identity is that of one record, not of each in an array.
    let delivery = place.delivery.filter(|_| data.trim_ascii_start().first() != Some(&b'['));
    read(data, &Place { delivery, enveloped: true, ..*place }, scratch, sink);
}
