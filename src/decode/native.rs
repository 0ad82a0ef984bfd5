//! bursar's own form, for platforms and pipelines that have none of the others: one flat JSON
//! object, bare or as the data of a CloudEvent (`cloud_event.rs`).
//!
//! Bare, the record's kind is `"kind": "invocation" | "trigger" | "refusal"`. As a CloudEvent it is
//! `type`, `dev.bursar.invocation` and so on; `source` and `id` together identify the delivery, and
//! `time` is used where `data` has none.
//!
//! Fields of all kinds; `*` marks those that are needed:
//!
//! - `time` *: RFC 3339, or milliseconds since 1970 as a number; 2014 to 2099. Of an invocation,
//!   the completion.
//! - `account`: 1 to 12 digits in a string; else the source's setting.
//! - `region`: for example `eu-west-1`; else the source's setting.
//! - `request_id`: the platform's.
//! - `id`: identity of this delivery; two records with the same one are one record. In a CloudEvent
//!   the event's own `id` and `source` count instead.
//! - `source_ip`: address of the caller, IPv4 or IPv6.
//! - `principal`, `origin`, `user_agent`: who the platform says the caller was; the API, queue or
//!   bucket that the request came through; the caller's own words.
//!
//! Of an invocation:
//!
//! - `function`: a name of 1 to 256 bytes without spaces, or
//!   `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:VERSION]`, whose parts then count before
//!   `account` and `region`; else the source's setting.
//! - `billed_ms` *: 0 to 3,600,000; a fraction is rounded up.
//! - `memory_mb` *: 1 to 32,768, whole.
//! - `init_ms`: 0 to 3,600,000; there on a cold start.
//! - `status`: `success` (also when left out), `error` or `timeout`.
//! - `version`; `architecture`: `x86_64` or `arm64`.
//!
//! Of a trigger and of a refusal:
//!
//! - `function`, or where it is not known `api` or `route` (and `stage`): what it points at.
//! - `trigger`: `api_gateway`, `function_url`, `load_balancer`, `s3`, `sqs`, `sns`, `kinesis`,
//!   `dynamo_db`, `event_bridge`, `schedule`, `kafka` or `other` (also when left out).
//! - `lambda_request_id`: of the invocation that followed, beside `api` or `route`.
//! - `response_bytes`: bytes that left the platform, 0 or more.
//! - `reason` * (refusal): `forbidden` or `throttled`.
//!
//! Strings other than names are cut at 256 bytes. Other fields are passed over; null is absent; a
//! field that is there twice is refused.

use core::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use xxhash_rust::xxh3::xxh3_64;

use super::field::{Field, Fields, cut, fill};
use super::outcome::{Reason, Refused, Sink};
use super::{Format, Place, Scratch, time};
use crate::record::{
    FunctionRef, Invocation, Record, Refusal, RouteRef, Source, Status, Target, Trigger,
    TriggerKind,
};
use crate::units::{AccountId, EventTime, OutOfRange};

pub(super) const FORMAT: Format = Format {
    keys: &["kind"],
    array: false,
    text: |_| false,
    decode: |text, place, _: &mut Scratch, sink| bare(text, place, sink),
};

#[derive(Default)]
struct Data<'a> {
    kind: Field<'a>,
    account: Field<'a>,
    region: Field<'a>,
    function: Field<'a>,
    time: Field<'a>,
    billed_ms: Field<'a>,
    memory_mb: Field<'a>,
    init_ms: Field<'a>,
    status: Field<'a>,
    version: Field<'a>,
    architecture: Field<'a>,
    request_id: Field<'a>,
    id: Field<'a>,
    source_ip: Field<'a>,
    principal: Field<'a>,
    origin: Field<'a>,
    user_agent: Field<'a>,
    api: Field<'a>,
    stage: Field<'a>,
    route: Field<'a>,
    trigger: Field<'a>,
    lambda_request_id: Field<'a>,
    response_bytes: Field<'a>,
    reason: Field<'a>,
}

impl<'a> Fields<'a> for Data<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Field<'a>> {
        Some(match name {
            "kind" => &mut self.kind,
            "account" => &mut self.account,
            "region" => &mut self.region,
            "function" => &mut self.function,
            "time" => &mut self.time,
            "billed_ms" => &mut self.billed_ms,
            "memory_mb" => &mut self.memory_mb,
            "init_ms" => &mut self.init_ms,
            "status" => &mut self.status,
            "version" => &mut self.version,
            "architecture" => &mut self.architecture,
            "request_id" => &mut self.request_id,
            "id" => &mut self.id,
            "source_ip" => &mut self.source_ip,
            "principal" => &mut self.principal,
            "origin" => &mut self.origin,
            "user_agent" => &mut self.user_agent,
            "api" => &mut self.api,
            "stage" => &mut self.stage,
            "route" => &mut self.route,
            "trigger" => &mut self.trigger,
            "lambda_request_id" => &mut self.lambda_request_id,
            "response_bytes" => &mut self.response_bytes,
            "reason" => &mut self.reason,
            _ => return None,
        })
    }
}

fn bare(text: &str, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
    let mut fields = Data::default();
    fill(text, &mut fields)?;
    let delivery = fields.id.text("id")?.map(|id| xxh3_64(id.as_bytes()));
    let place = Place { delivery, ..*place };
    let kind = fields.kind.text("kind")?.ok_or_else(|| Refused::missing("kind"))?;
    fields.read(kind, &place, sink)
}

/// Reads the data of a CloudEvent, whose type says the kind.
pub(super) fn data(
    kind: &str,
    text: &str,
    place: &Place<'_>,
    sink: &mut dyn Sink,
) -> Result<(), Refused> {
    let mut fields = Data::default();
    fill(text, &mut fields)?;
    fields.read(kind, place, sink)
}

impl Data<'_> {
    fn read(&self, kind: &str, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
        match kind {
            "invocation" => self.invocation(place, sink)?,
            "trigger" => sink.record(&Record::Trigger(self.trigger(place)?)),
            "refusal" => {
                let reason = named(&self.reason, "reason")?;
                sink.record(&Record::Refusal(Refusal {
                    trigger: self.trigger(place)?,
                    reason: reason.ok_or_else(|| Refused::missing("reason"))?,
                }));
            }
            _ => {
                let detail = format!("kind {kind:?}, accepted: invocation, trigger, refusal");
                return Err(Refused::new(Reason::UnknownFormat, detail));
            }
        }
        Ok(())
    }

    /// Hands the record on instead of giving it back: it is large, and this is the hot path.
    fn invocation(&self, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
        let (function, qualifier) = self.function(place)?;
        let mut source = None;
        if !self.source_is_absent() {
            self.source(source.insert(Source::default()))?;
        }
        sink.record(&Record::Invocation(Invocation {
            function,
            at: self.time(place)?,
            billed: self.billed_ms.billed("billed_ms")?,
            memory: self.memory_mb.memory("memory_mb")?,
            init_ms: self.init_ms.init("init_ms")?,
            status: named(&self.status, "status")?.unwrap_or(Status::Success),
            version: self.version.text("version")?.or(qualifier),
            architecture: named(&self.architecture, "architecture")?,
            request_id: self.request_id.text("request_id")?,
            delivery: place.delivery,
            source,
        }));
        Ok(())
    }

    fn source_is_absent(&self) -> bool {
        let parts = [&self.source_ip, &self.principal, &self.origin, &self.user_agent];
        parts.iter().all(|part| part.is_absent())
    }

    fn trigger<'a>(&'a self, place: &Place<'a>) -> Result<Trigger<'a>, Refused> {
        let bytes = self.response_bytes.integer("response_bytes")?.unwrap_or(0);
        let Ok(response_bytes) = u64::try_from(bytes) else {
            return Err(OutOfRange::new("response_bytes", bytes, "0 or more").into());
        };
        let mut source = Source::default();
        self.source(&mut source)?;
        Ok(Trigger {
            target: self.target(place)?,
            at: self.time(place)?,
            kind: named(&self.trigger, "trigger")?.unwrap_or(TriggerKind::Other),
            source,
            request_id: self.request_id.text("request_id")?,
            response_bytes,
            delivery: place.delivery,
        })
    }

    fn target<'a>(&'a self, place: &Place<'a>) -> Result<Target<'a>, Refused> {
        let api = self.api.text("api")?;
        let stage = self.stage.text("stage")?;
        let route = self.route.text("route")?;
        if !self.function.is_absent() || (api.is_none() && route.is_none()) {
            return Ok(Target::Function(self.function(place)?.0));
        }
        let (account, region) = self.owner(place)?;
        // A route has no constructor of its own; a function's checks the region.
        FunctionRef::try_new(account, region, "any")?;
        Ok(Target::Route(RouteRef {
            account,
            region,
            api: api.unwrap_or_default(),
            stage: stage.unwrap_or_default(),
            route: route.unwrap_or_default(),
            lambda_request_id: self.lambda_request_id.text("lambda_request_id")?,
        }))
    }

    fn owner<'a>(&'a self, place: &Place<'a>) -> Result<(AccountId, &'a str), Refused> {
        let account = match self.account.text("account")? {
            Some(account) => account.parse()?,
            None => place.account,
        };
        Ok((account, self.region.text("region")?.unwrap_or(place.region)))
    }

    /// The function, and the version or alias that an ARN may end in.
    fn function<'a>(
        &'a self,
        place: &Place<'a>,
    ) -> Result<(FunctionRef<'a>, Option<&'a str>), Refused> {
        // Not through the accessor, which cuts: a name that is too long is refused, not changed.
        let name = match &self.function {
            Field::Text(name) => name.as_ref(),
            Field::Absent => return Ok((place.function()?, None)),
            other => return Err(other.text("function").err().unwrap_or_else(unreadable)),
        };
        if !name.starts_with("arn:") {
            let (account, region) = self.owner(place)?;
            return Ok((FunctionRef::try_new(account, region, name)?, None));
        }
        let mut parts = name.splitn(8, ':').skip(2);
        let mut part = || parts.next().unwrap_or_default();
        let (service, region, account, kind) = (part(), part(), part(), part());
        if service != "lambda" || kind != "function" {
            let accepted = "arn:aws:lambda:REGION:ACCOUNT:function:NAME[:VERSION]";
            return Err(Refused::malformed("function", name, accepted));
        }
        let function = FunctionRef::try_new(account.parse()?, region, part())?;
        Ok((function, parts.next().map(cut)))
    }

    fn time(&self, place: &Place<'_>) -> Result<EventTime, Refused> {
        match (&self.time, place.at) {
            (Field::Absent, Some(at)) => Ok(at),
            (field, _) => moment(field),
        }
    }

    fn source<'a>(&'a self, source: &mut Source<'a>) -> Result<(), Refused> {
        if let Some(text) = self.source_ip.text("source_ip")? {
            match text.parse::<IpAddr>() {
                Ok(address) => source.address = Some(address),
                Err(_) => return Err(Refused::malformed("source_ip", text, "an IP address")),
            }
        }
        source.principal = self.principal.text("principal")?;
        source.origin = self.origin.text("origin")?;
        source.user_agent = self.user_agent.text("user_agent")?;
        Ok(())
    }
}

fn unreadable() -> Refused {
    Refused::missing("function")
}

/// A time in either form.
pub(super) fn moment(field: &Field<'_>) -> Result<EventTime, Refused> {
    match field {
        Field::Text(text) => time::rfc3339("time", text),
        _ => match field.integer("time")? {
            Some(ms) => time::epoch_ms(ms),
            None => Err(Refused::missing("time")),
        },
    }
}

/// A word from a closed set.
fn named<T: DeserializeOwned>(field: &Field<'_>, name: &str) -> Result<Option<T>, Refused> {
    let Some(text) = field.text(name)? else {
        return Ok(None);
    };
    match T::deserialize(StrDeserializer::<ValueError>::new(text)) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(Refused::new(Reason::MalformedField, format!("{name}: {error}"))),
    }
}
