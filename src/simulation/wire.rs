//! The messages of the real platform, byte for byte: REPORT lines inside a `CloudWatch` Logs
//! subscription envelope, and API Gateway access logs.
//!
//! Forms: Lambda developer guide, "Log and monitor" (REPORT); `CloudWatch` Logs user guide,
//! "Subscription filters" (envelope); API Gateway developer guide, "Set up logging" (access log
//! fields, `-` where a field has no value).

use core::net::IpAddr;
use std::fmt;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::record::{FunctionKey, Status, TriggerKind};
use crate::simulation::draw::derive;
use crate::units::{AccountId, BilledMs, EventTime, MemoryMb};

/// A request id, printed as a version 4 UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    high: u64,
    low: u64,
}

impl RequestId {
    /// The id that belongs to these random bits; `index` tells several ids of one request apart.
    pub fn new(bits: u64, index: u64) -> Self {
        Self {
            high: derive(bits, 2 * index) & !0xf000 | 0x4000,
            low: derive(bits, 2 * index + 1) >> 2 | 1 << 63,
        }
    }
}

impl RequestId {
    /// Its text, without going through a formatter: records as values are made by the million.
    pub fn text(self) -> IdText {
        let mut digits = [b'-'; 36];
        // Bytes of the id, and where their two digits stand.
        const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
        let bytes = self.high.to_be_bytes().into_iter().chain(self.low.to_be_bytes());
        for (place, byte) in PLACES.into_iter().zip(bytes) {
            digits[place] = HEX[usize::from(byte >> 4)];
            digits[place + 1] = HEX[usize::from(byte & 15)];
        }
        IdText(digits)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The text of a request id.
#[derive(Debug, Clone, Copy)]
pub struct IdText([u8; 36]);

impl IdText {
    /// As a string.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What a REPORT line says.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// The invocation.
    pub request_id: RequestId,
    /// Handler time in milliseconds, without initialisation.
    pub duration_ms: f64,
    /// What is billed: initialisation and duration, rounded up.
    pub billed: BilledMs,
    /// Configured memory.
    pub memory: MemoryMb,
    /// The most memory used, in megabytes.
    pub used_mb: u32,
    /// Initialisation in milliseconds, on a cold start.
    pub init_ms: Option<f64>,
    /// How it ended.
    pub status: Status,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {} ms\t\
             Memory Size: {} MB\tMax Memory Used: {} MB\t",
            self.request_id,
            self.duration_ms,
            self.billed.get(),
            self.memory.get(),
            self.used_mb,
        )?;
        if let Some(init_ms) = self.init_ms {
            write!(f, "Init Duration: {init_ms:.2} ms\t")?;
        }
        match self.status {
            Status::Success => {}
            Status::Error => f.write_str("Status: error")?,
            Status::Timeout => f.write_str("Status: timeout")?,
        }
        f.write_str("\n")
    }
}

/// The log events of one function, collected into one envelope.
#[derive(Debug, Clone, Default)]
pub struct LogBatch {
    events: Vec<u8>,
    count: u32,
}

impl LogBatch {
    /// How many events are in it.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Adds one event. `sequence` must differ between all events with the same time.
    pub fn push(&mut self, at: EventTime, sequence: u64, report: &Report) {
        let separator = if self.count == 0 { "" } else { "," };
        self.count += 1;
        // Real ids have 56 digits; so do these: time and sequence make them unique and ascending.
        let ms = at.ms();
        put(
            &mut self.events,
            format_args!(
                r#"{separator}{{"id":"3{ms:013}{sequence:042}","timestamp":{ms},"message":"#
            ),
        );
        put_json_string(&mut self.events, &report.to_string());
        self.events.push(b'}');
    }

    /// Takes the events out as one subscription message and leaves the batch empty.
    pub fn envelope(&mut self, owner: AccountId, name: &str, stream: &LogStream) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.events.len() + 256);
        put(
            &mut out,
            format_args!(r#"{{"messageType":"DATA_MESSAGE","owner":"{owner}","logGroup":"#),
        );
        put_json_string(&mut out, &format!("/aws/lambda/{name}"));
        put(
            &mut out,
            format_args!(
                r#","logStream":"{stream}","subscriptionFilters":["invocations"],"logEvents":["#
            ),
        );
        out.append(&mut self.events);
        out.extend_from_slice(b"]}");
        self.count = 0;
        out
    }
}

/// A log stream: the day on which an environment started, and the environment.
#[derive(Debug, Clone, Copy)]
pub struct LogStream {
    /// Any time on that day.
    pub at: EventTime,
    /// Random bits that belong to the environment.
    pub bits: u64,
}

impl fmt::Display for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = civil(self.at);
        let (high, low) = (derive(self.bits, 0), derive(self.bits, 1));
        write!(f, "{:04}/{:02}/{:02}", day.year(), day.month(), day.day())?;
        write!(f, "/[$LATEST]{high:016x}{low:016x}")
    }
}

/// Which flavour of API Gateway; they differ in their access log fields, and only REST APIs can
/// stand behind a web application firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKind {
    /// HTTP API: `routeKey`.
    Http,
    /// REST API: `httpMethod` and `resourcePath`.
    Rest,
}

/// One line of an access log.
#[derive(Debug, Clone, Copy)]
pub struct AccessEntry<'a> {
    /// The gateway's own request id.
    pub request_id: RequestId,
    /// Caller.
    pub address: Option<IpAddr>,
    /// When the request came in.
    pub at: EventTime,
    /// Flavour of the API.
    pub kind: ApiKind,
    /// Method, for example `GET`.
    pub method: &'a str,
    /// Path, for example `/checkout`.
    pub route: &'a str,
    /// Response status.
    pub status: u16,
    /// Bytes of the response body.
    pub response_bytes: u64,
    /// API id.
    pub api_id: &'a str,
    /// Stage.
    pub stage: &'a str,
    /// Owner.
    pub account: AccountId,
    /// API key id.
    pub api_key: Option<&'a str>,
    /// The client's description of itself.
    pub user_agent: Option<&'a str>,
    /// The Lambda request id, for requests that reached the function.
    pub integration: Option<RequestId>,
}

/// One access-log message, without a line end.
pub fn access_line(entry: &AccessEntry<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    put(&mut out, format_args!(r#"{{"requestId":"{}","ip":""#, entry.request_id));
    match entry.address {
        Some(address) => put(&mut out, format_args!("{address}")),
        None => out.push(b'-'),
    }
    let clf = CommonLogTime(entry.at);
    let ms = entry.at.ms();
    put(&mut out, format_args!(r#"","requestTime":"{clf}","requestTimeEpoch":"{ms}","#));
    match entry.kind {
        ApiKind::Rest => {
            out.extend_from_slice(br#""httpMethod":"#);
            put_json_string(&mut out, entry.method);
            out.extend_from_slice(br#","resourcePath":"#);
            put_json_string(&mut out, entry.route);
        }
        ApiKind::Http => {
            out.extend_from_slice(br#""routeKey":"#);
            put_json_string(&mut out, &format!("{} {}", entry.method, entry.route));
        }
    }
    let (status, bytes) = (entry.status, entry.response_bytes);
    put(
        &mut out,
        format_args!(r#","status":"{status}","protocol":"HTTP/1.1","responseLength":"{bytes}","#),
    );
    for (key, text) in [
        ("apiId", entry.api_id),
        ("stage", entry.stage),
        ("apiKeyId", entry.api_key.unwrap_or("-")),
        ("userAgent", entry.user_agent.unwrap_or("-")),
    ] {
        put(&mut out, format_args!(r#""{key}":"#));
        put_json_string(&mut out, text);
        out.push(b',');
    }
    put(&mut out, format_args!(r#""accountId":"{}","integrationRequestId":""#, entry.account));
    match entry.integration {
        Some(id) => put(&mut out, format_args!("{id}")),
        None => out.push(b'-'),
    }
    out.extend_from_slice(br#""}"#);
    out
}

/// An event that was handed to a function without an API.
#[derive(Debug, Clone, Copy)]
pub struct EventEntry<'a> {
    /// When it came.
    pub at: EventTime,
    /// Where it went.
    pub function: &'a FunctionKey,
    /// What it came from.
    pub kind: TriggerKind,
    /// The invocation's id where there is one already, else the event's own.
    pub request_id: RequestId,
    /// ARN of the bucket, queue or table.
    pub origin: &'a str,
    /// Who caused it.
    pub principal: Option<&'a str>,
    /// Must differ between all events.
    pub sequence: u64,
}

/// One event in the detector's own form, without a line end: the platforms' notifications name no
/// function, so whoever passes them on has to add it.
pub fn event_line(entry: &EventEntry<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    let (account, region) = (entry.function.account, &entry.function.region);
    let (ms, id, sequence) = (entry.at.ms(), entry.request_id, entry.sequence);
    put(&mut out, format_args!(r#"{{"kind":"trigger","time":{ms},"account":"{account}","#));
    put(&mut out, format_args!(r#""region":"{region}","request_id":"{id}","id":"{sequence}","#));
    for (key, text) in [("function", Some(&*entry.function.name)), ("principal", entry.principal)] {
        if let Some(text) = text {
            put(&mut out, format_args!(r#""{key}":"#));
            put_json_string(&mut out, text);
            out.push(b',');
        }
    }
    out.extend_from_slice(br#""origin":"#);
    put_json_string(&mut out, entry.origin);
    out.extend_from_slice(br#","trigger":"#);
    if serde_json::to_writer(&mut out, &entry.kind).is_err() {
        unreachable!("a vector takes every byte");
    }
    out.push(b'}');
    out
}

/// A gzip stream, as subscription messages are on Kinesis. No time in its header, so that equal
/// messages are equal bytes.
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::fast());
    match encoder.write_all(plain).and_then(|()| encoder.finish()) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("compressing into memory failed: {error}"),
    }
}

/// `05/Jan/2026:08:00:01 +0000`.
struct CommonLogTime(EventTime);

impl fmt::Display for CommonLogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let at = civil(self.0);
        let index = usize::from(at.month().unsigned_abs()) - 1;
        write!(f, "{:02}/{}/{:04}", at.day(), MONTHS[index % 12], at.year())?;
        write!(f, ":{:02}:{:02}:{:02} +0000", at.hour(), at.minute(), at.second())
    }
}

fn civil(at: EventTime) -> DateTime {
    Offset::UTC.to_datetime(Timestamp::from_millisecond(at.ms()).unwrap_or_default())
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    if out.write_fmt(text).is_err() {
        unreachable!("a vector takes every byte");
    }
}

fn put_json_string(out: &mut Vec<u8>, text: &str) {
    if serde_json::to_writer(out, text).is_err() {
        unreachable!("a string is always valid JSON");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::Value;

    use super::*;

    fn at() -> EventTime {
        "2026-01-05T08:00:01.250Z".parse().unwrap()
    }

    fn report(init_ms: Option<f64>, status: Status) -> Report {
        Report {
            request_id: RequestId::new(7, 0),
            duration_ms: 128.834,
            billed: BilledMs::try_new(129).unwrap(),
            memory: MemoryMb::try_new(512).unwrap(),
            used_mb: 74,
            init_ms,
            status,
        }
    }

    #[test]
    fn request_ids_have_the_shape_of_a_random_uuid() {
        let id = RequestId::new(42, 0).to_string();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert_ne!(id, RequestId::new(42, 1).to_string());
    }

    #[test]
    fn report_lines_are_tab_separated_with_their_optional_tails() {
        let id = RequestId::new(7, 0);
        let plain = format!(
            "REPORT RequestId: {id}\tDuration: 128.83 ms\tBilled Duration: 129 ms\t\
             Memory Size: 512 MB\tMax Memory Used: 74 MB\t"
        );
        assert_eq!(report(None, Status::Success).to_string(), format!("{plain}\n"));
        assert_eq!(
            report(Some(166.62), Status::Timeout).to_string(),
            format!("{plain}Init Duration: 166.62 ms\tStatus: timeout\n")
        );
    }

    #[test]
    fn an_envelope_is_json_and_carries_each_event_once_under_its_own_id() {
        let mut batch = LogBatch::default();
        batch.push(at(), 0, &report(None, Status::Success));
        batch.push(at(), 1, &report(Some(10.0), Status::Success));
        let owner = "1".parse().unwrap();
        let stream = LogStream { at: at(), bits: 9 };
        let bytes = batch.envelope(owner, "odd\"name", &stream);
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["owner"], "000000000001");
        assert_eq!(value["logGroup"], "/aws/lambda/odd\"name");
        let stream = value["logStream"].as_str().unwrap();
        assert!(stream.starts_with("2026/01/05/[$LATEST]"), "{stream}");
        let events = value["logEvents"].as_array().unwrap();
        assert_eq!(events.len(), 2);
        assert_ne!(events[0]["id"], events[1]["id"]);
        assert_eq!(events[0]["id"].as_str().unwrap().len(), 56);
        assert_eq!(events[1]["timestamp"], at().ms());
        assert_eq!(batch.count(), 0);
    }

    #[test]
    fn access_lines_name_the_route_in_the_way_of_their_api() {
        let mut entry = AccessEntry {
            request_id: RequestId::new(1, 0),
            address: "2001:db8::1".parse().ok(),
            at: at(),
            kind: ApiKind::Rest,
            method: "POST",
            route: "/checkout",
            status: 429,
            response_bytes: 31,
            api_id: "a1b2c3d4e5",
            stage: "prod",
            account: "111122223333".parse().unwrap(),
            api_key: None,
            user_agent: Some("say \"hi\""),
            integration: None,
        };
        let rest: Value = serde_json::from_slice(&access_line(&entry)).unwrap();
        assert_eq!(rest["httpMethod"], "POST");
        assert_eq!(rest["resourcePath"], "/checkout");
        assert_eq!(rest["requestTime"], "05/Jan/2026:08:00:01 +0000");
        assert_eq!(rest["requestTimeEpoch"], at().ms().to_string());
        assert_eq!(rest["status"], "429");
        assert_eq!(rest["ip"], "2001:db8::1");
        assert_eq!(rest["apiKeyId"], "-");
        assert_eq!(rest["integrationRequestId"], "-");
        assert_eq!(rest["userAgent"], "say \"hi\"");
        entry.kind = ApiKind::Http;
        entry.integration = Some(RequestId::new(1, 1));
        let http: Value = serde_json::from_slice(&access_line(&entry)).unwrap();
        assert_eq!(http["routeKey"], "POST /checkout");
        assert_eq!(http["integrationRequestId"], RequestId::new(1, 1).to_string());
        assert!(http.get("resourcePath").is_none());
    }

    #[test]
    fn gzip_unpacks_to_what_went_in() {
        let plain = b"abc".repeat(1_000);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(gzip(&plain).as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }
}
