//! An HTTP request as a function gets it: the event of a function URL and of an HTTP API (payload
//! 2.0), and of a REST API or an HTTP API in payload 1.0 (AWS Lambda Developer Guide, "Invoking
//! Lambda function URLs"; Amazon API Gateway Developer Guide, "Create AWS Lambda proxy integrations
//! for HTTP APIs").
//!
//! All that counts is in `requestContext`, which the platform writes: `apiId`, `stage`,
//! `domainName`, `accountId`, `requestId`, `timeEpoch` and `http.sourceIp`, `http.userAgent`; in
//! payload 1.0 `requestTimeEpoch` and `identity.sourceIp`, `identity.userAgent`. Whether it is a
//! function URL or an API says the domain, `ID.lambda-url.REGION.on.aws` for the former, and where
//! it is (`ID.execute-api.REGION.amazonaws.com`), unless the domain is the owner's own. Headers,
//! query and body are the caller's own and are not looked at; `accountId` is `anonymous` where a
//! URL asks for no credentials.
//!
//! Other keys of such an event also stand in access logs (`routeKey`, `httpMethod`), which have no
//! `requestContext`. A load balancer's event has no time and no request id: its access log says
//! more.

use core::net::IpAddr;

use serde::Deserialize;

use super::entry_point::Owner;
use super::field::{Field, cut};
use super::json;
use super::outcome::{Refused, Sink};
use super::{Format, Place, time};
use crate::record::{Record, RouteRef, Source, Target, Trigger, TriggerKind};

/// The key that tells the format whatever comes before it.
pub(super) const KEY: &str = "requestContext";

/// Keys of an access log line that may stand before it.
pub(super) const SHARED: [&[u8]; 2] = [b"routeKey", b"httpMethod"];

pub(super) const FORMAT: Format = Format {
    keys: &[KEY, "rawPath", "rawQueryString"],
    array: false,
    text: |_| false,
    decode: |text, place, _, sink| decode(text, place, sink),
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Event<'a> {
    request_context: Option<Context<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Context<'a> {
    account_id: Field<'a>,
    api_id: Field<'a>,
    stage: Field<'a>,
    domain_name: Field<'a>,
    request_id: Field<'a>,
    route_key: Field<'a>,
    http_method: Field<'a>,
    resource_path: Field<'a>,
    time_epoch: Field<'a>,
    request_time_epoch: Field<'a>,
    http: Option<Caller<'a>>,
    identity: Option<Caller<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Caller<'a> {
    source_ip: Field<'a>,
    user_agent: Field<'a>,
    api_key_id: Field<'a>,
    user_arn: Field<'a>,
}

fn decode(text: &str, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
    json::check_nesting(text)?;
    let event: Event<'_> = json::parse(text)?;
    let context = event.request_context.ok_or_else(|| Refused::missing(KEY))?;
    let route = context.route()?;
    let trigger = context.trigger(&route, place)?;
    sink.record(&Record::Trigger(trigger));
    Ok(())
}

impl<'a> Context<'a> {
    /// The route key; in payload 1.0 put together like one, as in access logs.
    fn route(&self) -> Result<String, Refused> {
        if let Some(key) = self.route_key.text("routeKey")? {
            return Ok(key.to_owned());
        }
        let method = self.http_method.text("httpMethod")?;
        let path = self.resource_path.text("resourcePath")?;
        Ok(match (method, path) {
            (Some(method), Some(path)) => format!("{method} {path}"),
            _ => String::new(),
        })
    }

    fn trigger<'s>(&'s self, route: &'s str, place: &Place<'s>) -> Result<Trigger<'s>, Refused> {
        let domain = self.domain_name.text("domainName")?.unwrap_or_default();
        let mut labels = domain.split('.').skip(1);
        let service = labels.next().unwrap_or_default();
        let is_url = service == "lambda-url";
        let api = self.api_id.text("apiId")?.ok_or_else(|| Refused::missing("apiId"))?;
        let mut owner = Owner { account: place.account, region: place.region };
        if let Some(region) = labels.next().filter(|_| is_url || service == "execute-api") {
            owner.region = region;
        }
        let account = self.account_id.text("accountId")?;
        if let Some(account) = account.filter(|account| *account != "anonymous") {
            owner.account = account.parse()?;
        }
        let at = match self.time_epoch.integer("timeEpoch")? {
            Some(ms) => Some(ms),
            None => self.request_time_epoch.integer("requestTimeEpoch")?,
        };
        let at = match at {
            Some(ms) => time::epoch_ms(ms)?,
            None => place.at.ok_or_else(|| Refused::missing("timeEpoch"))?,
        };
        let target = match owner.target(place, api, cut(route))? {
            Target::Route(route) => Target::Route(RouteRef {
                stage: self.stage.text("stage")?.unwrap_or_default(),
                ..route
            }),
            function @ Target::Function(_) => function,
        };
        Ok(Trigger {
            target,
            at,
            kind: if is_url { TriggerKind::FunctionUrl } else { TriggerKind::ApiGateway },
            source: Source { origin: Some(api), ..self.caller()? },
            request_id: self.request_id.text("requestId")?,
            response_bytes: 0,
            delivery: place.delivery,
        })
    }

    fn caller(&self) -> Result<Source<'_>, Refused> {
        let Some(caller) = self.http.as_ref().or(self.identity.as_ref()) else {
            return Ok(Source::default());
        };
        let address = caller.source_ip.text("sourceIp")?;
        let key = caller.api_key_id.text("apiKeyId")?;
        Ok(Source {
            // The gateway's own test console writes words in place of an address.
            address: address.and_then(|ip| ip.parse::<IpAddr>().ok()),
            principal: key.or(caller.user_arn.text("userArn")?),
            origin: None,
            user_agent: caller.user_agent.text("userAgent")?,
        })
    }
}
