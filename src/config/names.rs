//! Which texts can be names.

use crate::control::maintenance::Window;
use crate::record::{FunctionKey, FunctionRef};
use crate::units::{AccountId, EventTime};

pub(super) fn any_text(_: &str) -> bool {
    true
}

pub(super) fn not_empty(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

pub(super) fn is_word(text: &str) -> bool {
    (1..=255).contains(&text.len()) && is_word_of(text)
}

pub(super) fn is_time_or_empty(text: &str) -> bool {
    text.is_empty() || text.parse::<EventTime>().is_ok()
}

pub(super) fn is_region(text: &str) -> bool {
    FunctionRef::try_new(AccountId::default(), text, "f").is_ok()
}

/// A topic or nothing.
pub(super) fn is_topic_or_empty(text: &str) -> bool {
    text.is_empty() || is_topic(text)
}

pub(super) fn is_function_or_empty(text: &str) -> bool {
    text.is_empty() || is_bare_function(text)
}

fn is_bare_function(text: &str) -> bool {
    FunctionRef::try_new(AccountId::default(), "r", text).is_ok()
}

pub(super) fn is_function(text: &str) -> bool {
    is_bare_function(text) || text.parse::<FunctionKey>().is_ok()
}

/// Room for account, region, name and a few stars.
pub(super) fn is_pattern(text: &str) -> bool {
    text.len() <= 320 && not_empty(text) && !text.contains(char::is_whitespace)
}

/// What [`is_window`] accepts.
pub(super) const WINDOW: &str = "a time such as \"02:00-03:30\" or \"Sat,Sun 22:00-04:00 \
                                 payments-*\": days on which it begins (Mon to Sun), from and to, \
                                 a name or * pattern";

pub(super) fn is_window(text: &str) -> bool {
    text.len() <= 400 && Window::parse(text).is_some()
}

pub(super) fn is_broker(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    is_word(text) && !text.contains(',') && matches!(port, Some(Ok(1..)))
}

/// Amazon's own rule for stream names, or an ARN that ends in one.
pub(super) fn is_stream_or_empty(text: &str) -> bool {
    let name = match text.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":stream/").map(|(_, name)| name),
        None => Some(text),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let named = |name: &str| (1..=128).contains(&name.len()) && name.bytes().all(allowed);
    text.is_empty() || name.is_some_and(named)
}

pub(super) fn is_consumer_or_empty(text: &str) -> bool {
    let arn = text.starts_with("arn:") && text.contains(":stream/") && text.contains("/consumer/");
    text.is_empty() || (arn && text.len() <= 2_048 && not_empty(text))
}

pub(super) fn is_role_or_empty(text: &str) -> bool {
    let arn = text.starts_with("arn:") && text.contains(":iam::") && text.contains(":role/");
    text.is_empty() || (arn && is_word(text))
}

pub(super) fn is_region_or_empty(text: &str) -> bool {
    text.is_empty() || is_region(text)
}

pub(super) fn is_url_or_empty(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text.is_empty() || host.is_some_and(is_word)
}

/// Kafka's own rule for topic names; the one pattern that librdkafka would read into a name, a
/// leading `^`, is not among these characters.
pub(super) fn is_topic(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&text.len()) && text.bytes().all(allowed)
}

/// An address for decisions, which are not for everybody to read.
pub(super) fn is_hook(text: &str) -> bool {
    let secret = text.strip_prefix("https://").is_some_and(|host| !host.is_empty());
    let near = text.strip_prefix("http://").is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        // No user before the host, behind which another one could stand.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if !authority.bytes().all(plain) {
            return false;
        }
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host.parse().is_ok_and(|ip: core::net::IpAddr| ip.is_loopback());
        loopback || (!host.is_empty() && !host.contains(['.', ':']))
    });
    (secret || near) && text.len() <= 2_048 && is_word_of(text)
}

fn is_word_of(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
