//! API Gateway access logs in JSON, REST and HTTP APIs, with the field names of the samples in the
//! API Gateway Developer Guide ("Set up CloudWatch logging for REST APIs", "Customize HTTP API
//! access logs"): `requestId`, `ip`, `caller`, `user`, `requestTime`, `httpMethod`, `resourcePath`
//! or `routeKey`, `status`, `protocol`, `responseLength`. Worth adding to the template:
//! `requestTimeEpoch` (milliseconds; `requestTime` has whole seconds), `apiId`, `stage`,
//! `apiKeyId`, `userAgent`, `accountId`, `domainName`, and `integrationRequestId`
//! (`$context.integration.requestId`), the Lambda request id that ties the line to its invocation.
//!
//! The gateway fills a template with values, so numbers may arrive as strings, and a value that it
//! does not have is `-`. The same template decides what a caller can write: a header that is put
//! between quotes without escaping could close them and repeat a field. A line that has a field
//! twice is therefore refused, and one that is broken too, rather than believed in part.
//!
//! Status 403 and 429 are refusals, unless the line has an integration request id: then the
//! function ran, is billed, and has chosen that status itself.

use core::net::IpAddr;

use super::field::{Field, Fields, cut, fill};
use super::outcome::{Refused, Sink};
use super::{Format, Place, Scratch, time};
use crate::record::{
    Record, Refusal, RefusalReason, RouteRef, Source, Target, Trigger, TriggerKind,
};
use crate::units::{AccountId, EventTime, OutOfRange};

pub(super) const FORMAT: Format = Format {
    // The first key of all samples, and those that tell the format without it.
    keys: &[
        "requestId",
        "requestTime",
        "requestTimeEpoch",
        "httpMethod",
        "resourcePath",
        "routeKey",
    ],
    array: false,
    text: |_| false,
    decode: |text, place, scratch: &mut Scratch, sink| {
        decode(text, place, &mut scratch.route, sink);
        Ok(())
    },
};

/// Whether a log line with this key is an access log line. Applications log request ids too.
pub(super) fn is_key(key: &[u8]) -> bool {
    key != b"requestId" && FORMAT.has_key(key)
}

#[derive(Default)]
struct Line<'a> {
    request_id: Field<'a>,
    ip: Field<'a>,
    caller: Field<'a>,
    user: Field<'a>,
    request_time: Field<'a>,
    request_time_epoch: Field<'a>,
    http_method: Field<'a>,
    resource_path: Field<'a>,
    route_key: Field<'a>,
    status: Field<'a>,
    response_length: Field<'a>,
    api_id: Field<'a>,
    stage: Field<'a>,
    api_key_id: Field<'a>,
    user_agent: Field<'a>,
    account_id: Field<'a>,
    domain_name: Field<'a>,
    integration_request_id: Field<'a>,
}

impl<'a> Fields<'a> for Line<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Field<'a>> {
        Some(match name {
            "requestId" => &mut self.request_id,
            "ip" => &mut self.ip,
            "caller" => &mut self.caller,
            "user" => &mut self.user,
            "requestTime" => &mut self.request_time,
            "requestTimeEpoch" => &mut self.request_time_epoch,
            "httpMethod" => &mut self.http_method,
            "resourcePath" => &mut self.resource_path,
            "routeKey" => &mut self.route_key,
            "status" => &mut self.status,
            "responseLength" => &mut self.response_length,
            "apiId" => &mut self.api_id,
            "stage" => &mut self.stage,
            "apiKeyId" => &mut self.api_key_id,
            "userAgent" => &mut self.user_agent,
            "accountId" => &mut self.account_id,
            "domainName" => &mut self.domain_name,
            "integrationRequestId" | "integration_request_id" => &mut self.integration_request_id,
            _ => return None,
        })
    }
}

/// Reads one line; `route` is a buffer.
pub(super) fn decode(text: &str, place: &Place<'_>, route: &mut String, sink: &mut dyn Sink) {
    let mut line = Line::default();
    let told = fill(text, &mut line).and_then(|()| line.read(place, route, sink));
    if let Err(refused) = told {
        refused.tell(text.as_bytes(), sink);
    }
}

impl Line<'_> {
    fn read(
        &self,
        place: &Place<'_>,
        route: &mut String,
        sink: &mut dyn Sink,
    ) -> Result<(), Refused> {
        let lambda_request_id = known(&self.integration_request_id, "integrationRequestId")?;
        let trigger = Trigger {
            target: Target::Route(RouteRef {
                account: self.account(place)?,
                region: place.region,
                api: self.api(place)?,
                stage: known(&self.stage, "stage")?.unwrap_or_default(),
                route: self.route(route)?,
                lambda_request_id,
            }),
            at: self.time(place)?,
            kind: TriggerKind::ApiGateway,
            source: self.source()?,
            request_id: known(&self.request_id, "requestId")?,
            response_bytes: count(&self.response_length, "responseLength")?.unwrap_or(0),
            delivery: place.delivery,
        };
        let reason = match count(&self.status, "status")? {
            Some(403) => Some(RefusalReason::Forbidden),
            Some(429) => Some(RefusalReason::Throttled),
            Some(_) => None,
            None => return Err(Refused::missing("status")),
        };
        sink.record(&match reason {
            Some(reason) if lambda_request_id.is_none() => {
                Record::Refusal(Refusal { trigger, reason })
            }
            _ => Record::Trigger(trigger),
        });
        Ok(())
    }

    fn account(&self, place: &Place<'_>) -> Result<AccountId, Refused> {
        match known(&self.account_id, "accountId")? {
            Some(account) => Ok(account.parse()?),
            None => Ok(place.account),
        }
    }

    /// The API's id; a default endpoint (`ID.execute-api.REGION.amazonaws.com`) has it in its name.
    fn api<'a>(&'a self, place: &Place<'a>) -> Result<&'a str, Refused> {
        if let Some(api) = known(&self.api_id, "apiId")? {
            return Ok(api);
        }
        let domain = known(&self.domain_name, "domainName")?.unwrap_or_default();
        Ok(match domain.split_once('.') {
            Some((api, rest)) if rest.starts_with("execute-api.") => api,
            _ => place.log_group,
        })
    }

    fn route<'a>(&'a self, buffer: &'a mut String) -> Result<&'a str, Refused> {
        if let Some(key) = known(&self.route_key, "routeKey")? {
            return Ok(key);
        }
        let method = known(&self.http_method, "httpMethod")?;
        let path = known(&self.resource_path, "resourcePath")?;
        buffer.clear();
        if let (Some(method), Some(path)) = (method, path) {
            buffer.push_str(method);
            buffer.push(' ');
            buffer.push_str(path);
        }
        Ok(cut(buffer))
    }

    fn time(&self, place: &Place<'_>) -> Result<EventTime, Refused> {
        if let Some(ms) = count(&self.request_time_epoch, "requestTimeEpoch")? {
            return time::epoch_ms(i64::try_from(ms).unwrap_or(i64::MAX));
        }
        if let Some(text) = known(&self.request_time, "requestTime")? {
            return time::common_log("requestTime", text);
        }
        let missing = || Refused::missing("requestTimeEpoch or requestTime");
        place.at.ok_or_else(missing)
    }

    fn source(&self) -> Result<Source<'_>, Refused> {
        // The gateway's own test console writes words in place of an address.
        let address = known(&self.ip, "ip")?.and_then(|ip| ip.parse::<IpAddr>().ok());
        let key = known(&self.api_key_id, "apiKeyId")?;
        let user = known(&self.user, "user")?;
        let caller = known(&self.caller, "caller")?;
        Ok(Source {
            address,
            principal: key.or(user).or(caller),
            origin: known(&self.api_id, "apiId")?,
            user_agent: known(&self.user_agent, "userAgent")?,
        })
    }
}

/// A string that is not the gateway's `-`.
fn known<'a>(field: &'a Field<'_>, name: &str) -> Result<Option<&'a str>, Refused> {
    Ok(field.text(name)?.filter(|text| !matches!(*text, "-" | "")))
}

/// A whole number, as such or in a string.
fn count(field: &Field<'_>, name: &'static str) -> Result<Option<u64>, Refused> {
    let number = match field {
        Field::Text(_) => match known(field, name)? {
            Some(text) => match text.parse::<i64>() {
                Ok(number) => number,
                Err(_) => return Err(Refused::malformed(name, text, "a whole number")),
            },
            None => return Ok(None),
        },
        _ => match field.integer(name)? {
            Some(number) => number,
            None => return Ok(None),
        },
    };
    match u64::try_from(number) {
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(OutOfRange::new(name, number, "0 or more").into()),
    }
}
