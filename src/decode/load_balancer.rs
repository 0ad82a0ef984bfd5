//! Access log lines of an Application Load Balancer (Elastic Load Balancing, "Access logs for your
//! Application Load Balancer", "Syntax"): fields with a blank between them, some in quotes.
//!
//! `type time elb client:port target:port 3 durations elb_status target_status received sent
//! "request" "user_agent" cipher protocol target_group_arn "trace_id" ...`; what comes after is not
//! needed and, having grown several times, not counted either. `-` is a value that there is not.
//!
//! A Lambda target is the only one of its target group, so the group's ARN is the entry point that
//! `[[routes]]` names; it says account and region too. The path is the caller's own and is not made
//! a route. The logs come in files every five minutes, which is too late for an alarm and early
//! enough to say afterwards who it was.
//!
//! 403 and 429 are refusals, unless the target answered: then it ran and chose that status itself.

use super::entry_point::Owner;
use super::field::cut;
use super::outcome::{Refused, Sink};
use super::words::Words;
use super::{Format, Place, time};
use crate::record::{Record, Refusal, RefusalReason, Source, Trigger, TriggerKind};

pub(super) const FORMAT: Format = Format {
    keys: &[],
    array: false,
    text: |text| time_of(text).is_some(),
    decode: |text, place, _, sink| decode(text, place, sink),
};

const TYPES: [&str; 6] = ["http", "https", "h2", "grpcs", "ws", "wss"];

/// The text from the time on, if this is such a line.
pub(super) fn time_of(text: &str) -> Option<&str> {
    let (kind, rest) = text.split_once(' ')?;
    let is_dated = rest.starts_with(|first: char| first.is_ascii_digit());
    (is_dated && TYPES.contains(&kind)).then_some(rest)
}

fn decode(text: &str, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
    let mut words = Words(text);
    words.next();
    let at = time::rfc3339("time", words.needed("time")?)?;
    let balancer = words.needed("elb")?;
    let client = words.needed("client:port")?;
    for name in ["target:port", "request time", "target time", "response time"] {
        words.needed(name)?;
    }
    let status = words.needed("elb_status_code")?;
    let target_status = words.needed("target_status_code")?;
    words.needed("received_bytes")?;
    let sent = words.needed("sent_bytes")?;
    words.needed("request")?;
    let user_agent = words.needed("user_agent")?;
    words.needed("ssl_cipher")?;
    words.needed("ssl_protocol")?;
    let group = words.needed("target_group_arn")?;
    let trace = words.needed("trace_id")?;

    let entry = known(group).unwrap_or(balancer);
    let (address, _) = client.rsplit_once(':').unwrap_or((client, ""));
    let trigger = Trigger {
        target: Owner::of_arn(entry, place)?.target(place, entry, "")?,
        at,
        kind: TriggerKind::LoadBalancer,
        source: Source {
            address: address.trim_matches(['[', ']']).parse().ok(),
            principal: None,
            origin: Some(cut(balancer)),
            user_agent: known(user_agent).map(cut),
        },
        request_id: known(trace).map(cut),
        response_bytes: sent
            .parse()
            .map_err(|_| Refused::malformed("sent_bytes", sent, "a whole number, 0 or more"))?,
        delivery: place.delivery,
    };
    let reason = match status {
        "403" => Some(RefusalReason::Forbidden),
        "429" => Some(RefusalReason::Throttled),
        _ => None,
    };
    sink.record(&match reason {
        Some(reason) if known(target_status).is_none() => {
            Record::Refusal(Refusal { trigger, reason })
        }
        _ => Record::Trigger(trigger),
    });
    Ok(())
}

fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !matches!(*text, "-" | ""))
}
