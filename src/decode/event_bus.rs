//! EventBridge events (Amazon EventBridge Events Reference, "Event structure"):
//! `{"version","id","detail-type","source","account","time","region","resources","detail"}`, each a
//! trigger. A rule's clock sends `Scheduled Event` from `aws.events`, with the rule in `resources`.
//!
//! The origin is the first of `resources`, for example the rule or a bucket, and where there is
//! none `source`; `detail-type` tells apart what leads to different functions. Of `detail`, which
//! belongs to the sender, only what S3 says of its caller is read (Amazon S3 User Guide,
//! "EventBridge event message structure"), and only where `source` is `aws.s3`, a name that no
//! account can send under.

use serde::Deserialize;
use sonic_rs::LazyValue;

use super::entry_point::{Owner, identity};
use super::field::{Field, cut};
use super::json;
use super::outcome::{Refused, Sink};
use super::{Format, Place, time};
use crate::record::{Record, Source, Trigger, TriggerKind};

pub(super) const FORMAT: Format = Format {
    keys: &["detail-type"],
    array: false,
    text: |_| false,
    decode: |text, place, _, sink| decode(text, place, sink),
};

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Event<'a> {
    id: Field<'a>,
    #[serde(rename = "detail-type")]
    detail_type: Field<'a>,
    source: Field<'a>,
    account: Field<'a>,
    time: Field<'a>,
    region: Field<'a>,
    resources: Option<LazyValue<'a>>,
    detail: Option<LazyValue<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", bound(deserialize = "'de: 'a"))]
struct Detail<'a> {
    source_ip_address: Field<'a>,
    requester: Field<'a>,
    request_id: Field<'a>,
}

fn decode(text: &str, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
    json::check_nesting(text)?;
    let event: Event<'_> = json::parse(text)?;
    let needed = |name| move || Refused::missing(name);
    let sender = event.source.text("source")?.ok_or_else(needed("source"))?;
    let kind = event.detail_type.text("detail-type")?.ok_or_else(needed("detail-type"))?;
    let at = match event.time.text("time")? {
        Some(text) => time::rfc3339("time", text)?,
        None => place.at.ok_or_else(needed("time"))?,
    };
    let first = match &event.resources {
        Some(resources) => json::elements("resources", resources)?.next().transpose()?,
        None => None,
    };
    let resource: Field<'_> = match &first {
        Some(first) => json::parse(first.as_raw_str())?,
        None => Field::Absent,
    };
    let origin = resource.text("resources")?.unwrap_or(sender);
    let mut owner = Owner { account: place.account, region: place.region };
    if let Some(account) = event.account.text("account")? {
        owner.account = account.parse()?;
    }
    if let Some(region) = event.region.text("region")? {
        owner.region = region;
    }
    let detail: Detail<'_> = match &event.detail {
        Some(detail) if sender == "aws.s3" => json::parse(detail.as_raw_str())?,
        _ => Detail::default(),
    };
    let id = event.id.text("id")?;
    let is_clock = sender == "aws.events" && kind == "Scheduled Event";
    sink.record(&Record::Trigger(Trigger {
        target: owner.target(place, origin, kind)?,
        at,
        kind: if is_clock { TriggerKind::Schedule } else { TriggerKind::EventBridge },
        source: Source {
            address: detail
                .source_ip_address
                .text("source-ip-address")?
                .and_then(|text| text.parse().ok()),
            principal: detail.requester.text("requester")?,
            origin: Some(cut(origin)),
            user_agent: None,
        },
        request_id: detail.request_id.text("request-id")?.or(id),
        response_bytes: 0,
        delivery: id.map(|id| identity(&[id])),
    }));
    Ok(())
}
