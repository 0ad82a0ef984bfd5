//! Apache OpenWhisk's user events, which its controller and invokers write to the Kafka topic
//! `events` (`docs/metrics.md`; `Message.scala` of `common/scala`): one JSON object,
//! `{"source","body","subject","namespace","userId","eventType","timestamp"}`.
//!
//! An `Activation` is an invocation: `body` has `name` (namespace, package and action),
//! `activationId`, `statusCode` (0 success; 1, 2 and 3 errors of application, developer and
//! platform), `duration` and `initTime` in milliseconds, `memory` in MB, `kind`. The duration has
//! the initialisation in it, and is what a platform that bills, bills. `timestamp` is when the
//! event was written, just after completion. `subject` says who asked. Releases differ in which
//! further fields there are and of what type, so only these are looked at.
//!
//! Sequences and compositions (`kind` `sequence`) run nothing themselves: their actions have events
//! of their own, so theirs is a sum.
//!
//! A `Metric` named `ConcurrentRateLimit` or `TimedRateLimit` is a request that was turned away at
//! the limit of its namespace, which is all that is known of it; others are gauges.

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::entry_point::Owner;
use super::field::Field;
use super::json;
use super::outcome::{Ignored, Reason, Refused, Sink};
use super::{Format, Place, time};
use crate::record::{
    FunctionRef, Invocation, Record, Refusal, RefusalReason, Source, Status, Trigger, TriggerKind,
};
use crate::units::EventTime;

pub(super) const FORMAT: Format = Format {
    keys: &["eventType"],
    array: false,
    text: |_| false,
    decode: |text, place, _, sink| decode(text, place, sink),
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Event<'a> {
    event_type: Field<'a>,
    timestamp: Field<'a>,
    subject: Field<'a>,
    namespace: Field<'a>,
    body: Option<Body<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Body<'a> {
    name: Field<'a>,
    activation_id: Field<'a>,
    status_code: Field<'a>,
    duration: Field<'a>,
    init_time: Field<'a>,
    memory: Field<'a>,
    kind: Field<'a>,
    metric_name: Field<'a>,
}

fn decode(text: &str, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
    json::check_nesting(text)?;
    let event: Event<'_> = json::parse(text)?;
    let body = event.body.as_ref().ok_or_else(|| Refused::missing("body"))?;
    match event.event_type.text("eventType")? {
        Some("Activation") if body.kind.text("kind")? == Some("sequence") => {
            sink.ignored(Ignored::Usage);
        }
        Some("Activation") => {
            sink.record(&Record::Invocation(event.invocation(body, place)?));
        }
        Some("Metric") => match body.metric_name.text("metricName")? {
            Some("ConcurrentRateLimit" | "TimedRateLimit") => {
                let trigger = event.trigger(place)?;
                let reason = RefusalReason::Throttled;
                sink.record(&Record::Refusal(Refusal { trigger, reason }));
            }
            _ => sink.ignored(Ignored::Usage),
        },
        other => {
            let detail = format!("eventType {other:?}, accepted: Activation, Metric");
            return Err(Refused::new(Reason::UnknownFormat, detail));
        }
    }
    Ok(())
}

impl<'a> Event<'a> {
    fn invocation<'s>(
        &'s self,
        body: &'s Body<'_>,
        place: &Place<'s>,
    ) -> Result<Invocation<'s>, Refused> {
        // Not through the accessor, which cuts: a name that is too long is refused, not changed.
        let name = match &body.name {
            Field::Text(name) => name.as_ref(),
            other => {
                return Err(other.text("name").err().unwrap_or_else(|| Refused::missing("name")));
            }
        };
        let id = body.activation_id.text("activationId")?;
        let init = body.init_time.init("initTime")?;
        Ok(Invocation {
            function: FunctionRef::try_new(place.account, place.region, name)?,
            at: self.at(place)?,
            billed: body.duration.billed("duration")?,
            memory: body.memory.memory("memory")?,
            init_ms: init.filter(|ms| *ms > 0.0),
            status: match body.status_code.integer("statusCode")? {
                Some(0) => Status::Success,
                Some(_) => Status::Error,
                None => return Err(Refused::missing("statusCode")),
            },
            version: None,
            architecture: None,
            request_id: id,
            // Unlike a Lambda request id, one activation only has it.
            delivery: id.map(|id| xxh3_64(id.as_bytes())),
            source: Some(self.source()?),
        })
    }

    fn trigger<'s>(&'s self, place: &Place<'s>) -> Result<Trigger<'s>, Refused> {
        let namespace = self.namespace.text("namespace")?;
        let owner = Owner { account: place.account, region: place.region };
        Ok(Trigger {
            target: owner.target(place, namespace.unwrap_or_default(), "")?,
            at: self.at(place)?,
            kind: TriggerKind::Other,
            source: self.source()?,
            request_id: None,
            response_bytes: 0,
            delivery: place.delivery,
        })
    }

    fn at(&self, place: &Place<'_>) -> Result<EventTime, Refused> {
        match self.timestamp.integer("timestamp")? {
            Some(ms) => time::epoch_ms(ms),
            None => place.at.ok_or_else(|| Refused::missing("timestamp")),
        }
    }

    fn source(&self) -> Result<Source<'_>, Refused> {
        Ok(Source {
            principal: self.subject.text("subject")?,
            origin: self.namespace.text("namespace")?,
            ..Source::default()
        })
    }
}
