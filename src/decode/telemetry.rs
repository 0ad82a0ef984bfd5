//! `platform.report` as JSON: what the Lambda Telemetry API gives to an extension, and what stands
//! in a function's log when its log format is JSON (schema 2022-12-13).
//!
//! `{"time","type":"platform.report","record":{"requestId","status","metrics":{"durationMs",
//! "billedDurationMs","memorySizeMB","maxMemoryUsedMB","initDurationMs","restoreDurationMs"}}}`,
//! alone or in an array with entries of other types. `time` is the completion. The function's name
//! is not in it: it comes from the log envelope, from a `platform.initStart` earlier in the same
//! array (one array comes from one environment, hence from one function), or from the source's
//! settings.
//!
//! A Lambda Web Function has no report of a single call: `platform.invokeSummary` sums up what an
//! environment did in about 60 seconds, `platform.invokeReport` all it did (AWS Lambda Developer
//! Guide, "System log event schema for Lambda Web Functions"). Both are counted as sums.

use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use sonic_rs::LazyValue;

use super::field::Field;
use super::json;
use super::outcome::{Ignored, Reason, Refused, Sink};
use super::report_line::status;
use super::{Format, Place, Scratch, time};
use crate::record::{Invocation, Record};

pub(super) const FORMAT: Format = Format {
    keys: &["record"],
    array: true,
    text: |_| false,
    decode: |text, place, scratch, sink| {
        if text.starts_with('[') {
            array(text, place, scratch, sink);
        } else {
            object(text, place, sink);
        }
        Ok(())
    },
};

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Entry<'a> {
    time: Field<'a>,
    #[serde(rename = "type")]
    kind: Field<'a>,
    /// Read only where the type says that it is worth it: most entries are log lines.
    record: Option<LazyValue<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Report<'a> {
    request_id: Field<'a>,
    status: Field<'a>,
    metrics: Option<Metrics<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Metrics<'a> {
    billed_duration_ms: Field<'a>,
    #[serde(rename = "memorySizeMB")]
    memory_size_mb: Field<'a>,
    init_duration_ms: Field<'a>,
    restore_duration_ms: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct InitStart<'a> {
    function_name: Field<'a>,
    function_version: Field<'a>,
}

/// Reads one entry.
pub(super) fn object(text: &str, place: &Place<'_>, sink: &mut dyn Sink) {
    let told = json::check_nesting(text)
        .and_then(|()| json::parse::<Entry<'_>>(text))
        .and_then(|entry| entry.read(place, sink));
    if let Err(refused) = told {
        refused.tell(text.as_bytes(), sink);
    }
}

fn array(text: &str, place: &Place<'_>, scratch: &mut Scratch, sink: &mut dyn Sink) {
    if let Err(refused) = json::check_nesting(text) {
        return refused.tell(text.as_bytes(), sink);
    }
    let entries = Entries { place: *place, scratch, sink: &mut *sink, any: false };
    let mut parser = sonic_rs::Deserializer::from_str(text);
    let told = (&mut parser).deserialize_seq(entries).and_then(|any| parser.end().map(|()| any));
    match told {
        Ok(true) => {}
        Ok(false) => sink.ignored(Ignored::EmptyBatch),
        // What was read before the break has been handed on already.
        Err(error) => Refused::from(error).tell(text.as_bytes(), sink),
    }
}

/// Hands on each entry as it comes; its value is whether there was one.
struct Entries<'s, 'p> {
    place: Place<'p>,
    scratch: &'s mut Scratch,
    sink: &'s mut dyn Sink,
    any: bool,
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of telemetry entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<bool, A::Error> {
        let Scratch { line: name, route: version } = self.scratch;
        name.clear();
        version.clear();
        while let Some(entry) = seq.next_element::<Entry<'de>>()? {
            self.any = true;
            let started = entry.init_start();
            let mut place = self.place;
            let told = if name.is_empty() {
                entry.read(&place, self.sink)
            } else {
                place.version = (!version.is_empty()).then_some(version);
                let named = place.set_function(name);
                named.and_then(|()| entry.read(&place, self.sink))
            };
            if let Err(refused) = told {
                let part = entry.record.as_ref().map_or("", LazyValue::as_raw_str);
                refused.tell(part.as_bytes(), self.sink);
            }
            if let Some((started_name, started_version)) = started {
                name.clear();
                name.push_str(&started_name);
                version.clear();
                version.push_str(&started_version);
            }
        }
        Ok(self.any)
    }
}

impl Entry<'_> {
    fn read(&self, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
        match self.kind.text("type")? {
            Some("platform.report") => self.report(place, sink)?,
            Some("platform.invokeSummary" | "platform.invokeReport") => {
                sink.ignored(Ignored::Usage);
            }
            Some("function" | "extension") => sink.ignored(Ignored::ApplicationLog),
            Some(kind) if kind.starts_with("platform.") => sink.ignored(Ignored::PlatformEvent),
            Some(kind) => {
                let detail = format!("type {kind:?} is not one of the Telemetry API's");
                return Err(Refused::new(Reason::UnknownFormat, detail));
            }
            None => return Err(Refused::missing("type")),
        }
        Ok(())
    }

    fn report(&self, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
        let Some(raw) = &self.record else {
            return Err(Refused::missing("record"));
        };
        let record: Report<'_> = json::parse(raw.as_raw_str())?;
        let Some(metrics) = &record.metrics else {
            return Err(Refused::missing("metrics"));
        };
        let at = match (self.time.text("time")?, place.at) {
            (Some(text), _) => time::rfc3339("time", text)?,
            (None, Some(at)) => at,
            (None, None) => return Err(Refused::missing("time")),
        };
        let init = metrics.init_duration_ms.init("initDurationMs")?;
        let restore = metrics.restore_duration_ms.init("restoreDurationMs")?;
        sink.record(&Record::Invocation(Invocation {
            function: place.function()?,
            at,
            billed: metrics.billed_duration_ms.billed("billedDurationMs")?,
            memory: metrics.memory_size_mb.memory("memorySizeMB")?,
            init_ms: init.or(restore),
            status: status(record.status.text("status")?.unwrap_or("success")),
            version: place.version,
            architecture: None,
            request_id: record.request_id.text("requestId")?,
            delivery: place.delivery,
            source: None,
        }));
        Ok(())
    }

    /// Name and version of the function, where this entry tells them. An entry that does not have
    /// them is no problem: nothing is billed by it.
    fn init_start(&self) -> Option<(String, String)> {
        if self.kind.text("type").ok()? != Some("platform.initStart") {
            return None;
        }
        let start: InitStart<'_> = json::parse(self.record.as_ref()?.as_raw_str()).ok()?;
        let name = start.function_name.text("functionName").ok()??;
        let version = start.function_version.text("functionVersion").ok()?;
        Some((name.to_owned(), version.unwrap_or_default().to_owned()))
    }
}
