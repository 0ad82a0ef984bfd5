//! Access logs in the Common Log Format of NCSA httpd and the Combined one (Apache HTTP Server,
//! "Log Files"), which web servers, proxies and API Gateway's own "CLF" template write:
//!
//! `address ident user [time] "METHOD path PROTOCOL" status bytes "referer" "user agent"`
//!
//! In Common the line ends behind the bytes; what a server adds behind the user agent is passed
//! over. API Gateway puts its request id, which has no quotes, behind the bytes. `-` is a value
//! that there is not. The path is the caller's own: its query is left out of the route.
//!
//! Such a line names neither function nor API, so it is known by its path alone. Times have whole
//! seconds. 403 and 429 are refusals.

use core::net::IpAddr;

use super::field::cut;
use super::outcome::{Refused, Sink};
use super::words::Words;
use super::{Format, Place, Scratch, time};
use crate::record::{
    Record, Refusal, RefusalReason, RouteRef, Source, Target, Trigger, TriggerKind,
};
use crate::units::EventTime;

pub(super) const FORMAT: Format = Format {
    keys: &[],
    array: false,
    text: |text| head_of(text).is_some(),
    decode: |text, place, scratch: &mut Scratch, sink| {
        decode(text, place, &mut scratch.route, sink)
    },
};

/// What stands before the request.
struct Head<'a> {
    address: Option<IpAddr>,
    user: &'a str,
    time: &'a str,
    rest: &'a str,
}

/// How a time is written.
const TIME: &str = "10/Oct/2020:13:55:36 +0000";

/// The beginning of a line of this kind: three words and a time in brackets. Hosts may be written
/// by name; a user may have blanks in his.
fn head_of(text: &str) -> Option<Head<'_>> {
    // A user may have brackets in his name, but no quotes: servers escape these.
    let (before, rest) = text.split_once("] \"")?;
    let (before, time) = before.split_at_checked(before.len().checked_sub(TIME.len())?)?;
    let before = before.strip_suffix(" [")?;
    let (host, before) = before.split_once(' ')?;
    let (_ident, user) = before.split_once(' ')?;
    let is_time = time.contains("/20");
    let is_head = is_time && !host.is_empty() && !host.starts_with(['"', '{', '[']);
    is_head.then(|| Head { address: host.parse().ok(), user, time, rest })
}

/// The time of a line, if it is one of this kind.
pub(super) fn time_of(text: &str) -> Option<EventTime> {
    time::common_log("time", head_of(text)?.time).ok()
}

fn decode(
    text: &str,
    place: &Place<'_>,
    route: &mut String,
    sink: &mut dyn Sink,
) -> Result<(), Refused> {
    let Some(head) = head_of(text) else {
        return Err(Refused::missing("time"));
    };
    // The quote before the request went with the head.
    let (request, rest) = Words::quoted(head.rest).ok_or_else(|| Refused::missing("request"))?;
    let mut words = Words(rest);
    let status = words.needed("status")?;
    let bytes = words.needed("bytes")?;
    let is_quoted = words.0.trim_ascii_start().starts_with('"');
    let after = words.next();
    let (request_id, user_agent) = if is_quoted { (None, words.next()) } else { (after, None) };
    let malformed = |name, text| Refused::malformed(name, text, "a whole number below 2^64");
    let status: u16 =
        status.parse().map_err(|_| Refused::malformed("status", status, "0 to 65535"))?;
    let trigger = Trigger {
        target: Target::Route(RouteRef {
            account: place.account,
            region: place.region,
            api: place.log_group,
            stage: "",
            route: route_of(request, route),
            lambda_request_id: None,
        }),
        at: time::common_log("time", head.time)?,
        kind: TriggerKind::Other,
        source: Source {
            address: head.address,
            principal: known(head.user).map(cut),
            origin: None,
            user_agent: user_agent.and_then(known).map(cut),
        },
        request_id: request_id.and_then(known).map(cut),
        response_bytes: match known(bytes) {
            Some(bytes) => bytes.parse().map_err(|_| malformed("bytes", bytes))?,
            None => 0,
        },
        delivery: place.delivery,
    };
    let reason = match status {
        403 => Some(RefusalReason::Forbidden),
        429 => Some(RefusalReason::Throttled),
        _ => None,
    };
    sink.record(&match reason {
        Some(reason) => Record::Refusal(Refusal { trigger, reason }),
        None => Record::Trigger(trigger),
    });
    Ok(())
}

/// Method and path; empty where the request is none.
fn route_of<'a>(request: &str, buffer: &'a mut String) -> &'a str {
    buffer.clear();
    let mut words = request.split(' ');
    if let (Some(method), Some(path)) = (words.next(), words.next()) {
        buffer.push_str(method);
        buffer.push(' ');
        buffer.push_str(path.split_once('?').map_or(path, |(path, _)| path));
    }
    cut(buffer)
}

fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !matches!(*text, "-" | ""))
}
