//! What holds for all formats together: golden records, bad input, detection.

mod events;
mod formats;
mod properties;

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::record::{Record, Source, Target, Trigger};

const NOW: &str = "2026-01-01T00:00:00.000Z";

fn context(function: Option<&str>) -> Context<'_> {
    Context { account: "111122223333".parse().unwrap(), region: "eu-west-1", function }
}

/// Everything that a message became, one line each.
#[derive(Default)]
struct Outcomes {
    lines: Vec<String>,
    reasons: Vec<Reason>,
}

impl Sink for Outcomes {
    fn record(&mut self, record: &Record<'_>) {
        self.lines.push(shown(record));
    }

    fn problem(&mut self, problem: Problem<'_>) {
        assert!(problem.detail.len() <= 256, "{problem:?}");
        let name = problem.reason.as_str();
        self.lines.push(format!("problem {name}: {}", problem.detail));
        self.reasons.push(problem.reason);
    }

    fn ignored(&mut self, kind: Ignored) {
        self.lines.push(format!("ignored {}", kind.as_str()));
    }
}

fn shown(record: &Record<'_>) -> String {
    match record {
        Record::Invocation(it) => {
            let mut line = format!(
                "invocation {} {} billed={} memory={} init={:?} {:?}",
                it.function,
                it.at,
                it.billed.get(),
                it.memory.get(),
                it.init_ms,
                it.status
            );
            write!(line, " version={:?} {:?}", it.version, it.architecture).unwrap();
            write!(line, " request={:?} delivery={:?}", it.request_id, it.delivery).unwrap();
            if let Some(source) = &it.source {
                line += &shown_source(source);
            }
            line
        }
        Record::Trigger(trigger) => format!("trigger {}", shown_trigger(trigger)),
        Record::Refusal(refusal) => {
            format!("refusal {:?} {}", refusal.reason, shown_trigger(&refusal.trigger))
        }
    }
}

fn shown_trigger(trigger: &Trigger<'_>) -> String {
    let target = match &trigger.target {
        Target::Function(function) => function.to_string(),
        Target::Route(route) => format!(
            "{}:{} api={:?} stage={:?} route={:?} lambda={:?}",
            route.account,
            route.region,
            route.api,
            route.stage,
            route.route,
            route.lambda_request_id
        ),
    };
    format!(
        "{target} {} {:?} request={:?} bytes={} delivery={:?}{}",
        trigger.at,
        trigger.kind,
        trigger.request_id,
        trigger.response_bytes,
        trigger.delivery,
        shown_source(&trigger.source)
    )
}

fn shown_source(source: &Source<'_>) -> String {
    format!(
        " ip={:?} principal={:?} origin={:?} agent={:?}",
        source.address, source.principal, source.origin, source.user_agent
    )
}

fn outcomes_in(message: &[u8], context: &Context<'_>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    Decoder::new(Limits::default()).decode(message, context, &mut outcomes);
    assert!(!outcomes.lines.is_empty(), "nothing came of {message:?}");
    outcomes
}

fn outcomes(message: &[u8]) -> Vec<String> {
    outcomes_in(message, &context(Some("standin"))).lines
}

/// The one reason for which the whole message is refused.
#[track_caller]
fn refused(message: &[u8]) -> Reason {
    let outcomes = outcomes_in(message, &context(Some("standin")));
    assert_eq!(outcomes.lines.len(), 1, "{:?}", outcomes.lines);
    *outcomes.reasons.first().unwrap_or_else(|| panic!("not refused: {:?}", outcomes.lines))
}

fn zipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/records/", $name))
    };
}

const REPORT_LINES: &str = fixture!("report_line.txt");
const CLOUDWATCH_LOGS: &str = fixture!("cloudwatch_logs.jsonl");
const TELEMETRY: &str = fixture!("telemetry.jsonl");
const ACCESS_LOG: &str = fixture!("access_log.jsonl");
const NATIVE: &str = fixture!("native.jsonl");
const CLOUD_EVENT: &str = fixture!("cloud_event.jsonl");
const EVENT_BATCH: &str = fixture!("event_batch.jsonl");
const EVENT_BUS: &str = fixture!("event_bus.jsonl");
const HTTP_EVENT: &str = fixture!("http_event.jsonl");
const LOAD_BALANCER: &str = fixture!("load_balancer.txt");
const COMMON_LOG: &str = fixture!("common_log.txt");
const METRIC_STREAM: &str = fixture!("metric_stream.jsonl");
const OPENWHISK: &str = fixture!("openwhisk.jsonl");
const OTLP: &[u8] = include_bytes!("../../tests/fixtures/records/otlp.bin");

/// Messages, and what must come of them.
const FIXTURES: [(&str, &str); 13] = [
    (REPORT_LINES, fixture!("report_line.expected")),
    (CLOUDWATCH_LOGS, fixture!("cloudwatch_logs.expected")),
    (TELEMETRY, fixture!("telemetry.expected")),
    (ACCESS_LOG, fixture!("access_log.expected")),
    (NATIVE, fixture!("native.expected")),
    (CLOUD_EVENT, fixture!("cloud_event.expected")),
    (EVENT_BATCH, fixture!("event_batch.expected")),
    (EVENT_BUS, fixture!("event_bus.expected")),
    (HTTP_EVENT, fixture!("http_event.expected")),
    (LOAD_BALANCER, fixture!("load_balancer.expected")),
    (COMMON_LOG, fixture!("common_log.expected")),
    (METRIC_STREAM, fixture!("metric_stream.expected")),
    (OPENWHISK, fixture!("openwhisk.expected")),
];

/// Events and access logs that name an entry point are read as on a stream of many functions.
fn golden(messages: &str) -> Context<'static> {
    let of_many =
        [CLOUD_EVENT, EVENT_BATCH, EVENT_BUS, HTTP_EVENT, LOAD_BALANCER, METRIC_STREAM, OPENWHISK];
    context(Some("standin").filter(|_| !of_many.contains(&messages)))
}

#[test]
fn public_examples_become_the_records_that_they_stand_for() {
    for (messages, expected) in FIXTURES {
        let mut actual = String::new();
        for (number, message) in (1..).zip(messages.lines()) {
            for line in outcomes_in(message.as_bytes(), &golden(messages)).lines {
                writeln!(actual, "{number} {line}").unwrap();
            }
        }
        assert_eq!(actual, expected, "this came out:\n{actual}");
    }
}

#[test]
fn a_compressed_envelope_is_the_same_as_a_plain_one() {
    let plain = CLOUDWATCH_LOGS.lines().next().unwrap();
    let gzip = include_bytes!("../../tests/fixtures/records/cloudwatch_logs.json.gz");
    assert_eq!(outcomes(gzip), outcomes(plain.as_bytes()));
    assert_eq!(first_time(gzip), first_time(plain.as_bytes()));
    assert_eq!(first_time(gzip).unwrap().to_string(), "2015-05-28T15:27:35.000Z");
}

#[test]
fn the_first_time_of_a_message_is_seen_without_reading_it() {
    for (message, expected) in [
        (REPORT_LINES, "2019-10-10T00:00:00.000Z"),
        (TELEMETRY, "2024-05-20T16:29:45.022Z"),
        (TELEMETRY.lines().nth(3).unwrap(), "2022-10-12T00:00:15.064Z"),
        (ACCESS_LOG, "2020-10-10T13:55:36.000Z"),
        (ACCESS_LOG.lines().nth(2).unwrap(), "2020-10-10T13:55:36.123Z"),
        (NATIVE, NOW),
        (NATIVE.lines().nth(1).unwrap(), "2026-01-01T00:00:00.123Z"),
        (NATIVE.lines().last().unwrap(), NOW),
        (CLOUD_EVENT, NOW),
        (EVENT_BATCH, "2026-01-01T00:00:00.250Z"),
        (EVENT_BATCH.lines().nth(1).unwrap(), "2026-01-01T00:00:00.185Z"),
        (EVENT_BATCH.lines().nth(2).unwrap(), "2026-01-01T00:00:45.750Z"),
        (EVENT_BATCH.lines().nth(3).unwrap(), "2026-01-01T00:00:50.000Z"),
        (EVENT_BUS, "2026-01-01T00:05:00.000Z"),
        (HTTP_EVENT.lines().next().unwrap(), "2026-01-01T00:00:00.390Z"),
        (HTTP_EVENT.lines().nth(2).unwrap(), "2026-01-01T00:00:02.000Z"),
        (LOAD_BALANCER, "2026-01-01T00:00:00.186Z"),
        (COMMON_LOG, "2020-10-10T13:55:36.000Z"),
        (METRIC_STREAM, NOW),
        (OPENWHISK, "2026-01-01T00:00:00.676Z"),
    ] {
        let time = first_time(message.as_bytes()).unwrap();
        assert_eq!(time.to_string(), expected, "{message}");
    }
    for unsure in
        ["", "{", "{}", "[", "[1]", "REPORT RequestId: x", "1970 x", "{\"time\":1}", "\u{1f}"]
    {
        assert_eq!(first_time(unsure.as_bytes()), None, "{unsure}");
    }
    assert_eq!(first_time(&[0x1f, 0x8b, 8]), None);
}

fn report(tail: &str) -> String {
    format!(
        "{NOW}\tREPORT RequestId: 1\tDuration: 1.5 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t\
         Max Memory Used: 74 MB{tail}"
    )
}

#[test]
fn every_optional_part_of_a_report_line_is_read_or_passed_over() {
    let plain = "billed=2 memory=128 init=None Success";
    for (tail, expected) in [
        ("", plain),
        ("\n", plain),
        ("\t\n", plain),
        ("\tInit Duration: 1.5 ms", "init=Some(1.5) Success"),
        ("\tInit Duration: 2 ms\tRestore Duration: 9 ms", "init=Some(2.0) Success"),
        (
            "\tRestore Duration: 9 ms\tBilled Restore Duration: 3 ms",
            "billed=2 memory=128 init=Some(9.0)",
        ),
        ("\t\nXRAY TraceId: 1-5\tSegmentId: 3d\tSampled: true\t\n", plain),
        ("\tStatus: success", plain),
        ("\tStatus: timeout", "init=None Timeout"),
        ("\tStatus: error\tError Type: Runtime.ExitError", "init=None Error"),
        ("\tError Type: X: Y\tStatus: error\tInit Duration: 0.5 ms", "init=Some(0.5) Error"),
        ("\tStatus: something new", "init=None Error"),
        ("\tStatus: timeout\tStatus: success", "init=None Timeout"),
        ("\tBilled Duration: 900 ms\tMemory Size: 1 MB", plain),
        ("\tNew Field: 3 GB\tno colon\t:\t\t", plain),
    ] {
        let lines = outcomes(report(tail).as_bytes());
        assert!(lines[0].contains(expected), "{tail:?} gave {lines:?}");
    }
    let mixed = format!("{NOW} REPORT RequestId: 1\tMemory Size: 128 MB\tBilled Duration: 1.2 ms");
    assert!(outcomes(mixed.as_bytes())[0].contains("billed=2 memory=128"));
}

#[test]
fn a_report_line_that_cannot_be_true_is_refused() {
    let line = report("");
    for (from, to, reason) in [
        (" 2 ms", " -2 ms", Reason::OutOfRange),
        (" 2 ms", " NaN ms", Reason::OutOfRange),
        (" 2 ms", " inf ms", Reason::OutOfRange),
        (" 2 ms", " 3600001 ms", Reason::OutOfRange),
        (" 2 ms", " 99999999999999999999999 ms", Reason::OutOfRange),
        (" 2 ms", " 2 s", Reason::MalformedField),
        (" 2 ms", " ms", Reason::MalformedField),
        (" 2 ms", "", Reason::MalformedField),
        ("\tBilled Duration: 2 ms", "", Reason::MissingField),
        ("\tMemory Size: 128 MB", "", Reason::MissingField),
        ("128 MB", "0 MB", Reason::OutOfRange),
        ("128 MB", "128.5 MB", Reason::OutOfRange),
        ("128 MB", "32769 MB", Reason::OutOfRange),
        ("128 MB", "128 GB", Reason::MalformedField),
        ("74 MB", "74 MB\tInit Duration: -1 ms", Reason::OutOfRange),
        ("74 MB", "74 MB\tInit Duration: NaN ms", Reason::OutOfRange),
        (NOW, "2026-13-01T00:00:00Z", Reason::MalformedField),
        (NOW, "1970-01-01T00:00:00.000Z", Reason::TimeOutOfRange),
        (NOW, "2100-01-01T00:00:00.000Z", Reason::TimeOutOfRange),
        ("2026-01-01T00:00:00.000Z\t", "", Reason::MissingField),
    ] {
        assert!(line.contains(from));
        assert_eq!(refused(line.replace(from, to).as_bytes()), reason, "{to}");
    }
}

#[test]
fn bytes_that_are_no_message_are_refused_with_their_reason() {
    let native = NATIVE.lines().next().unwrap();
    let envelope = CLOUDWATCH_LOGS.lines().next().unwrap();
    let gzip = zipped(envelope.as_bytes());
    let mut invalid_utf8 = native.as_bytes().to_vec();
    invalid_utf8[30] = 0xff;
    let mut inside_gzip = envelope.as_bytes().to_vec();
    inside_gzip[40] = 0xff;
    for (message, reason) in [
        (&b""[..], Reason::UnknownFormat),
        (b" \n", Reason::UnknownFormat),
        (b"hello", Reason::UnknownFormat),
        (b"{}", Reason::UnknownFormat),
        (b"{\"a\":1}", Reason::UnknownFormat),
        (
            b"{\"message\":\"\\\"kind\\\":\\\"invocation\\\"\",\"x\":{\"kind\":1}}",
            Reason::UnknownFormat,
        ),
        (b"3", Reason::UnknownFormat),
        (b"null", Reason::UnknownFormat),
        (&zipped(b"hello"), Reason::UnknownFormat),
        (&zipped(&gzip), Reason::InvalidUtf8),
        (&gzip[..gzip.len() / 2], Reason::TruncatedGzip),
        (&gzip[..gzip.len() - 1], Reason::TruncatedGzip),
        (&[0x1f, 0x8b, 8], Reason::TruncatedGzip),
        (&zipped(&vec![b' '; 65 << 20]), Reason::GzipTooLarge),
        (&invalid_utf8, Reason::InvalidUtf8),
        (&zipped(&inside_gzip), Reason::InvalidUtf8),
        (b"\xff", Reason::InvalidUtf8),
        (&vec![b'x'; (10 << 20) + 1], Reason::MessageTooLong),
        (&vec![b'x'; 7 << 20], Reason::UnknownFormat),
        (&native.as_bytes()[..native.len() - 1], Reason::InvalidJson),
        (format!("{native}x").as_bytes(), Reason::InvalidJson),
        (format!("{native}{native}").as_bytes(), Reason::InvalidJson),
        (b"{\"kind\":\"invocation\",}", Reason::InvalidJson),
        (b"{\"kind\":\"invo\ncation\"}", Reason::InvalidJson),
        (b"{\"kind\":\"\\ud800\"}", Reason::InvalidJson),
        (b"[1]", Reason::MalformedField),
        (b"[}", Reason::InvalidJson),
        (b"[{\"type\":\"platform.start\"}", Reason::InvalidJson),
        (b"{\"logEvents\":[]}", Reason::MissingField),
        (b"{\"messageType\":\"DATA_MESSAGE\"}", Reason::MissingField),
        (b"{\"messageType\":\"OTHER\",\"logEvents\":[]}", Reason::UnknownFormat),
        (
            b"{\"messageType\":\"DATA_MESSAGE\",\"owner\":\"x\",\"logEvents\":[]}",
            Reason::OutOfRange,
        ),
        (b"{\"messageType\":\"DATA_MESSAGE\",\"logEvents\":7}", Reason::MalformedField),
        (b"{\"Records\":7}", Reason::MalformedField),
        (b"{\"Records\":[", Reason::InvalidJson),
        (b"{\"Records\":[1]}", Reason::MalformedField),
        (b"{\"detail-type\":\"x\"}", Reason::MissingField),
        (b"{\"requestContext\":{}}", Reason::MissingField),
        (b"{\"eventType\":\"AwsApiCall\",\"body\":{}}", Reason::UnknownFormat),
        (b"{\"metric_name\":\"x\"}", Reason::MissingField),
        (b"http 2026", Reason::MalformedField),
        (&OTLP[..OTLP.len() - 1], Reason::InvalidProtobuf),
    ] {
        let shown = String::from_utf8_lossy(&message[..message.len().min(80)]).into_owned();
        let outcomes = outcomes_in(message, &context(None));
        assert_eq!(outcomes.reasons.last(), Some(&reason), "{shown} gave {:?}", outcomes.lines);
        first_time(message);
    }
}

#[test]
fn nesting_does_not_exhaust_the_stack() {
    let arrays = "[".repeat(4 << 20);
    let objects = "{\"a\":".repeat(1 << 20);
    for message in [
        arrays.clone(),
        format!("{{\"kind\":{arrays}"),
        format!("{{\"kind\":\"invocation\",\"unknown\":{objects}"),
        format!("{{\"logGroup\":\"x\",\"y\":{objects}"),
        format!("{{\"requestId\":1,\"y\":{objects}"),
        format!("{{\"specversion\":\"1.0\",\"data\":{arrays}"),
        format!("{{\"type\":\"platform.report\",\"record\":{objects}"),
        format!("{{\"Records\":{arrays}"),
        format!("{{\"Records\":[{objects}"),
        format!("{{\"detail-type\":\"x\",\"detail\":{objects}"),
        format!("{{\"requestContext\":{objects}"),
        format!("{{\"eventType\":\"x\",\"body\":{objects}"),
        format!("{{\"metric_name\":\"x\",\"value\":{objects}"),
    ] {
        let (start, _) = message.split_at(40);
        assert_eq!(refused(message.as_bytes()), Reason::NestedTooDeep, "{start}");
        first_time(message.as_bytes());
    }
}

#[test]
fn a_stream_of_one_function_needs_its_name_and_says_so() {
    for message in [report(""), TELEMETRY.lines().next().unwrap().to_owned()] {
        let named = outcomes_in(message.as_bytes(), &context(Some("standin")));
        assert!(named.lines[0].contains("111122223333:eu-west-1:standin"), "{:?}", named.lines);
        let unnamed = outcomes_in(message.as_bytes(), &context(None));
        assert_eq!(unnamed.reasons, [Reason::FunctionUnknown]);
        let misnamed = outcomes_in(message.as_bytes(), &context(Some("two words")));
        assert_eq!(misnamed.reasons, [Reason::OutOfRange]);
    }
}

#[test]
fn formats_do_not_share_a_key() {
    let mut keys: Vec<_> = FORMATS.iter().flat_map(|format| format.keys).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
}
