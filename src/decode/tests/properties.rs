//! Whatever arrives is answered and never ends the process; and bursar's own form is read exactly
//! as a plain reading of its documentation would.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use super::*;
use crate::units::{BilledMs, MemoryMb, OutOfRange};

fn corpus() -> Vec<Vec<u8>> {
    let texts = FIXTURES.iter().flat_map(|(messages, _)| messages.lines());
    let mut messages: Vec<_> = texts.map(|message| message.as_bytes().to_vec()).collect();
    messages.push(OTLP.to_vec());
    messages.push(METRIC_STREAM.as_bytes().to_vec());
    let gzip: Vec<_> = messages.iter().map(|message| zipped(message)).collect();
    messages.extend(gzip);
    messages
}

#[derive(Debug, Clone)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

impl Mutation {
    fn apply(&self, message: &mut Vec<u8>) {
        if message.is_empty() {
            return;
        }
        let length = message.len();
        match self {
            Mutation::Replace(at, byte) => message[at.index(length)] = *byte,
            Mutation::Insert(at, bytes) => {
                let at = at.index(length);
                message.splice(at..at, bytes.iter().copied());
            }
            Mutation::Remove(at, count) => {
                let at = at.index(length);
                message.drain(at..length.min(at + count));
            }
            Mutation::Repeat(at, count) => {
                let at = at.index(length);
                let part = message[at..length.min(at + count)].to_vec();
                message.splice(at..at, part);
            }
            Mutation::Cut(at) => message.truncate(at.index(length)),
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = prop_oneof![select(br#"{}[]":,\-0u "#.to_vec()), any::<u8>()];
    prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<Index>(), vec(byte, 1..4)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (any::<Index>(), 1..80_usize).prop_map(|(at, count)| Mutation::Repeat(at, count)),
        any::<Index>().prop_map(Mutation::Cut),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        select(vec![
            "DATA_MESSAGE",
            "platform.report",
            "invocation",
            "-",
            NOW,
            "1",
            "aws:s3",
            "aws:sqs",
            "aws:sns",
            "aws:kinesis",
            "aws:dynamodb",
            "aws.s3",
            "Activation",
            "Metric",
            "dev.bursar.message",
            "x.lambda-url.y.on.aws",
            "arn:aws:sqs:eu-west-1:1:q",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let object = vec((known_key(), inner.clone()), 0..6);
        prop_oneof![
            vec(inner, 0..6).prop_map(Value::from),
            object.prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn known_key() -> impl Strategy<Value = String> {
    let names = "messageType owner logGroup logStream logEvents id timestamp message time type \
                 record metrics billedDurationMs memorySizeMB requestId status kind specversion \
                 data function billed_ms memory_mb requestTime routeKey httpMethod ip x Records \
                 eventSource eventSourceARN attributes s3 bucket object Sns kinesis dynamodb \
                 source SentTimestamp approximateArrivalTimestamp detail-type resources detail \
                 region requestContext http timeEpoch apiId domainName metric_name namespace \
                 value eventType body name duration memory statusCode";
    select(names.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

fn answered(message: &[u8]) {
    outcomes(message);
    first_time(message);
    let own = [("ce_specversion", message), ("ce_type", &b"dev.bursar.message"[..])];
    let foreign = [("ce_specversion", &b""[..]), ("ce_type", message), ("ce_time", message)];
    for headers in [&own[..], &foreign] {
        let event = EventHeaders::of(headers.iter().copied()).unwrap();
        let mut outcomes = Outcomes::default();
        let mut decoder = Decoder::new(Limits::default());
        decoder.decode_event(message, &event, &context(None), &mut outcomes);
        assert!(!outcomes.lines.is_empty());
    }
}

/// Whether the other JSON library reads this text, as a whole or line by line.
fn is_json<T: serde::de::DeserializeOwned>(text: &str) -> bool {
    let reads = |text: &str| serde_json::from_str::<T>(text).is_ok();
    let mut lines = text.lines().filter(|line| !line.trim_ascii().is_empty());
    reads(text) || lines.all(reads)
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered(message in vec(any::<u8>(), 0..400)) {
        answered(&message);
        answered(&[&[0x1f, 0x8b, 8], &message[..]].concat());
        answered(&zipped(&message));
    }

    #[test]
    fn damaged_messages_are_answered(
        which in any::<Index>(),
        mutations in vec(mutation(), 1..6),
    ) {
        let corpus = corpus();
        let mut message = which.get(&corpus).clone();
        for mutation in &mutations {
            mutation.apply(&mut message);
        }
        answered(&message);
    }

    #[test]
    fn two_json_libraries_agree_on_what_is_json(
        which in any::<Index>(),
        mutations in vec(mutation(), 1..6),
    ) {
        let jsons = corpus().into_iter().filter(|message| message.starts_with(b"{"));
        let mut message = which.get(&jsons.collect::<Vec<_>>()).clone();
        for mutation in &mutations {
            mutation.apply(&mut message);
        }
        let Ok(text) = std::str::from_utf8(&message) else {
            return Ok(());
        };
        // White space around a message is not part of it, form feeds included, which JSON lacks.
        let text = text.trim_ascii();
        if !text.starts_with(['{', '[']) {
            return Ok(());
        }
        let outcomes = outcomes_in(&message, &context(Some("standin")));
        let refused = outcomes.reasons.contains(&Reason::InvalidJson);
        if outcomes.reasons.is_empty() {
            prop_assert!(is_json::<serde::de::IgnoredAny>(text), "{text} {:?}", outcomes.lines);
        }
        // JSON inside a string is read as well, and may be broken where the outer is not.
        if is_json::<Value>(text) && !text.contains("\\\"") {
            prop_assert!(!refused, "{text} {:?}", outcomes.lines);
        }
    }

    #[test]
    fn valid_json_of_any_shape_is_answered(value in any_json()) {
        let text = value.to_string();
        answered(text.as_bytes());
        // The same as a line of a log.
        let event = json!({"id": "1", "timestamp": 1_767_225_600_000_u64, "message": text});
        let mut envelope = json!({"messageType": "DATA_MESSAGE", "logGroup": "g"});
        envelope["logEvents"] = json!([event]);
        answered(envelope.to_string().as_bytes());
    }

    #[test]
    fn a_string_cannot_become_a_key(text in r#"[\\"{}:,a-z]{0,30}"#) {
        let hostile = format!("{text}\",\"kind\":\"invocation\",\"x\":\"");
        let line = json!({"requestId": hostile, "status": "200", "requestTime": hostile});
        let lines = outcomes(line.to_string().as_bytes());
        prop_assert!(lines[0].starts_with("problem malformed_field: requestTime"), "{:?}", lines);
    }

    #[test]
    fn a_native_invocation_is_what_its_documentation_says(
        record in native_record(),
    ) {
        let text = Value::Object(record.clone()).to_string();
        prop_assert_eq!(outcomes(text.as_bytes()), vec![naive(&record)]);
    }
}

fn native_record() -> impl Strategy<Value = Map<String, Value>> {
    let number = prop_oneof![
        (0..4_000_000_i64).prop_map(Value::from),
        (-2_000.0..5_000_000.0_f64).prop_map(Value::from),
        (0..4_000_u32).prop_map(|ms| Value::from(f64::from(ms))),
    ];
    let text = || prop_oneof!["[a-z0-9-]{1,12}", ".{0,20}", "[é\"\\\\\n]{1,200}"];
    let time = (1_388_000_000_000_i64..4_103_000_000_000).prop_map(Value::from);
    let status = select(vec!["success", "error", "timeout", "other"]).prop_map(Value::from);
    let needed = (text(), time, number.clone(), number.clone());
    let optional = (
        option::of(number),
        option::of(status),
        option::of(text()),
        option::of(text()),
        option::of(any::<core::net::IpAddr>()),
    );
    (needed, optional).prop_map(|((function, time, billed, memory), optional)| {
        let (init, status, request, agent, ip) = optional;
        let fields = [
            ("kind", Some("invocation".into())),
            ("function", Some(function.into())),
            ("time", Some(time)),
            ("billed_ms", Some(billed)),
            ("memory_mb", Some(memory)),
            ("init_ms", init),
            ("status", status),
            ("request_id", request.map(Value::from)),
            ("source_ip", ip.map(|ip| ip.to_string().into())),
            ("user_agent", agent.map(Value::from)),
        ];
        let there = |(name, value): (&str, Option<Value>)| Some((name.to_owned(), value?));
        fields.into_iter().filter_map(there).collect()
    })
}

/// The outcome, by the other JSON library and the types' own doors, in the order of the decoder.
fn naive(record: &Map<String, Value>) -> String {
    let text = |name: &str| record.get(name).and_then(Value::as_str).map(kept);
    let float = |name: &str| record.get(name).and_then(Value::as_f64);
    let out = |error: OutOfRange| format!("problem out_of_range: {error}");
    let place = context(None);
    let name = record["function"].as_str().unwrap();
    let function = match FunctionRef::try_new(place.account, place.region, name) {
        Ok(function) => function,
        Err(error) => return out(error),
    };
    let at = match EventTime::try_from_ms(record["time"].as_i64().unwrap()) {
        Ok(at) => at,
        Err(error) => return format!("problem time_out_of_range: {error}"),
    };
    let billed = match BilledMs::try_from_f64(float("billed_ms").unwrap()) {
        Ok(billed) => billed.get(),
        Err(error) => return out(error),
    };
    let memory = float("memory_mb").unwrap();
    if memory.fract() != 0.0 {
        let accepted = "a whole number below 2^53";
        return out(OutOfRange::new("memory_mb", memory, accepted));
    }
    let memory = match MemoryMb::try_new(memory.max(0.0) as u64) {
        Ok(size) if memory >= 0.0 => size.get(),
        _ => return out(OutOfRange::new("memory size (MB)", memory, "1 to 32768")),
    };
    let init = float("init_ms").map(|ms| ms as f32);
    if let Some(ms) = float("init_ms").filter(|ms| !(0.0..=3_600_000.0).contains(ms)) {
        return out(OutOfRange::new("initialisation (ms)", ms, "0 to 3600000"));
    }
    let status = match text("status") {
        None | Some("success") => "Success",
        Some("error") => "Error",
        Some("timeout") => "Timeout",
        Some(other) => {
            let accepted = "expected one of `success`, `error`, `timeout`";
            let detail = format!("status: unknown variant `{other}`, {accepted}");
            return format!("problem malformed_field: {detail}");
        }
    };
    let mut line = format!(
        "invocation {function} {at} billed={billed} memory={memory} init={init:?} {status} \
         version=None None request={:?} delivery=None",
        text("request_id")
    );
    let ip: Option<core::net::IpAddr> = text("source_ip").map(|ip| ip.parse().unwrap());
    let agent = text("user_agent");
    if ip.is_some() || agent.is_some() {
        write!(line, " ip={ip:?} principal=None origin=None agent={agent:?}").unwrap();
    }
    line
}

fn kept(text: &str) -> &str {
    let ends = text.char_indices().map(|(at, char)| at + char.len_utf8());
    let end = ends.take_while(|end| *end <= 256).last().unwrap_or(0);
    text.split_at(end).0
}
