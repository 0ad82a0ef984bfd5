//! What a stream tells bursar: invocations that were billed, triggers that asked for them and
//! refusals that turned a request away. Records borrow from the message they were decoded from.

use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::keep::{Bytes, Keep, Unfit, kept, kept_words};
use crate::units::{AccountId, BilledMs, EventTime, MbMillis, MemoryMb, OutOfRange};

/// The longest function name that is kept, in bytes. Lambda allows 64 characters, 140 with a
/// version; other platforms add a namespace.
pub const FUNCTION_NAME_BYTES_MAX: usize = 256;

/// The longest region name that is kept, in bytes.
pub const REGION_BYTES_MAX: usize = 32;

/// The longest source name (principal, API key, queue, user agent) that is kept, in bytes; longer
/// ones are cut at a character boundary.
pub const SOURCE_BYTES_MAX: usize = 256;

/// Names a function while a message is being read. The key of everything is account + region +
/// name: the same name in two regions is two functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionRef<'a> {
    /// The owner.
    pub account: AccountId,
    /// For example `eu-west-1`.
    pub region: &'a str,
    /// The function's name without version or alias.
    pub name: &'a str,
}

impl<'a> FunctionRef<'a> {
    /// Checked names.
    ///
    /// # Errors
    /// An empty or over-long region or name, or one with control characters or spaces in it.
    pub fn try_new(account: AccountId, region: &'a str, name: &'a str) -> Result<Self, OutOfRange> {
        if !is_region(region) {
            let shown: String = region.chars().take(40).collect();
            return Err(OutOfRange::new("region", shown, "1 to 32 of a-z, 0-9 and -"));
        }
        let printable = name.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        if name.is_empty() || name.len() > FUNCTION_NAME_BYTES_MAX || !printable {
            let shown: String = name.chars().take(40).collect();
            return Err(OutOfRange::new("function name", shown, "1 to 256 bytes without spaces"));
        }
        Ok(Self { account, region, name })
    }

    /// An owned copy.
    pub fn to_key(self) -> FunctionKey {
        FunctionKey { account: self.account, region: self.region.into(), name: self.name.into() }
    }
}

fn is_region(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=REGION_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// An owned function name: account, region and name. Written `account:region:name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionKey {
    /// The owner.
    pub account: AccountId,
    /// For example `eu-west-1`.
    pub region: Box<str>,
    /// The function's name without version or alias.
    pub name: Box<str>,
}

impl FunctionKey {
    /// A borrowed view.
    pub fn as_ref(&self) -> FunctionRef<'_> {
        FunctionRef { account: self.account, region: &self.region, name: &self.name }
    }
}

impl fmt::Display for FunctionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Display for FunctionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.account, self.region, self.name)
    }
}

impl FromStr for FunctionKey {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let mut parts = text.splitn(3, ':');
        let (Some(account), Some(region), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(OutOfRange::new("function", text, "account:region:name"));
        };
        Ok(FunctionRef::try_new(account.parse()?, region, name)?.to_key())
    }
}

impl Serialize for FunctionKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FunctionKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It returned.
    Success,
    /// The function's own code failed.
    Error,
    /// The function was cut off at its configured limit and billed up to there.
    Timeout,
}

/// Processor architecture, which decides the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Intel or AMD; what is assumed where the record does not say.
    #[default]
    #[serde(alias = "x86", alias = "amd64")]
    X86_64,
    /// Graviton.
    #[serde(alias = "aarch64")]
    Arm64,
}

/// Who or what asked. Any part may be unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Source<'a> {
    /// The caller's network address.
    pub address: Option<IpAddr>,
    /// API key id, IAM principal, queue sender: who the platform says it was.
    pub principal: Option<&'a str>,
    /// Where the event came from: API id, queue, bucket or bus ARN.
    pub origin: Option<&'a str>,
    /// The client's own description of itself; chosen by the caller.
    pub user_agent: Option<&'a str>,
}

/// One billed execution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Invocation<'a> {
    /// What ran.
    pub function: FunctionRef<'a>,
    /// When it completed.
    pub at: EventTime,
    /// What the platform bills.
    pub billed: BilledMs,
    /// Configured memory.
    pub memory: MemoryMb,
    /// Initialisation in milliseconds, on a cold start.
    pub init_ms: Option<f32>,
    /// How it ended.
    pub status: Status,
    /// Published version, where the record says.
    pub version: Option<&'a str>,
    /// Architecture, where the record says.
    pub architecture: Option<Architecture>,
    /// The platform's request id. Retries of asynchronous calls reuse it: not an identity.
    pub request_id: Option<&'a str>,
    /// Identity of this delivery (log-event id, CloudEvents source + id), hashed; two records with
    /// the same one are the same record delivered twice.
    pub delivery: Option<u64>,
    /// Who asked, where the same record says.
    pub source: Option<Source<'a>>,
}

impl Invocation<'_> {
    /// Billed duration × memory.
    pub fn usage(&self) -> MbMillis {
        MbMillis::of(self.billed, self.memory)
    }
}

/// What kind of event source asked for an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// REST or HTTP API.
    ApiGateway,
    /// The function's own HTTPS endpoint.
    FunctionUrl,
    /// Application load balancer.
    LoadBalancer,
    /// Object storage notification.
    S3,
    /// Queue.
    Sqs,
    /// Topic.
    Sns,
    /// Stream.
    Kinesis,
    /// Table stream.
    DynamoDb,
    /// Event bus.
    EventBridge,
    /// A clock.
    Schedule,
    /// Kafka topic.
    Kafka,
    /// Anything else.
    Other,
}

/// An entry point whose function is not named in the record itself: access logs carry the API, not
/// the function. `engine::routes` joins the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteRef<'a> {
    /// The owner of the entry point.
    pub account: AccountId,
    /// Where it is.
    pub region: &'a str,
    /// API id; where the record does not have one, the log group that it came from; else empty.
    pub api: &'a str,
    /// Stage, or empty.
    pub stage: &'a str,
    /// Route key or method and resource path, or empty.
    pub route: &'a str,
    /// The Lambda request id of the integration, where the access log has it: the key that joins.
    pub lambda_request_id: Option<&'a str>,
}

/// What a trigger points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The record names the function.
    Function(FunctionRef<'a>),
    /// The record names an entry point.
    Route(RouteRef<'a>),
}

/// One event that asks for an invocation, whether it was served or turned away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trigger<'a> {
    /// What it points at.
    pub target: Target<'a>,
    /// When it was seen.
    pub at: EventTime,
    /// Kind of event source.
    pub kind: TriggerKind,
    /// Who asked.
    pub source: Source<'a>,
    /// The trigger's own request id.
    pub request_id: Option<&'a str>,
    /// Response bytes that left the platform, for egress.
    pub response_bytes: u64,
    /// Identity of this delivery, hashed; see [`Invocation::delivery`].
    pub delivery: Option<u64>,
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// 403 at the gateway or firewall.
    Forbidden,
    /// 429: a rate, quota or concurrency limit.
    Throttled,
}

/// A trigger that was turned away: it asked, and no invocation follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refusal<'a> {
    /// The request.
    pub trigger: Trigger<'a>,
    /// Why.
    pub reason: RefusalReason,
}

/// One thing that a stream said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record<'a> {
    /// A billed execution.
    Invocation(Invocation<'a>),
    /// A request that was let through.
    Trigger(Trigger<'a>),
    /// A request that was turned away.
    Refusal(Refusal<'a>),
}

impl Record<'_> {
    /// When it happened.
    pub fn at(&self) -> EventTime {
        match self {
            Record::Invocation(invocation) => invocation.at,
            Record::Trigger(trigger) => trigger.at,
            Record::Refusal(refusal) => refusal.trigger.at,
        }
    }

    /// The function, where the record itself names it.
    pub fn function(&self) -> Option<FunctionRef<'_>> {
        let target = match self {
            Record::Invocation(invocation) => return Some(invocation.function),
            Record::Trigger(trigger) => trigger.target,
            Record::Refusal(refusal) => refusal.trigger.target,
        };
        match target {
            Target::Function(function) => Some(function),
            Target::Route(_) => None,
        }
    }
}

/// Where in its input a message stood, for reports and dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Which file, or which partition of a topic: an index into the source's list of lanes.
    pub lane: u32,
    /// Line number from 1, or offset.
    pub offset: u64,
}

kept!(Position { lane, offset });
kept_words!(Status { Success = 0, Error = 1, Timeout = 2 });
kept_words!(Architecture { X86_64 = 0, Arm64 = 1 });
kept_words!(RefusalReason { Forbidden = 0, Throttled = 1 });

impl Keep for FunctionKey {
    fn keep(&self, out: &mut Vec<u8>) {
        (self.account, (self.region.clone(), self.name.clone())).keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        let (account, (region, name)) = <(AccountId, (Box<str>, Box<str>))>::regain(from)?;
        let name = FunctionRef::try_new(account, &region, &name).map_err(|_| Unfit)?;
        Ok(name.to_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_keys_read_back_and_may_contain_colons_in_the_name() {
        for text in ["111122223333:eu-west-1:checkout", "000000000001:us-east-1:ns/pkg:action"] {
            assert_eq!(text.parse::<FunctionKey>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_that_could_not_be_names_are_refused() {
        let account: AccountId = "1".parse().unwrap();
        let long = "f".repeat(FUNCTION_NAME_BYTES_MAX + 1);
        for name in ["", " ", "a b", "a\nb", "a\u{7f}", &long] {
            assert!(FunctionRef::try_new(account, "eu-west-1", name).is_err(), "{name:?}");
        }
        for region in ["", "EU", "eu west", &"r".repeat(33)] {
            assert!(FunctionRef::try_new(account, region, "f").is_err(), "{region:?}");
        }
    }
}
