//! The corners of each format: what belongs to one line of it, and what it refuses.

use super::*;

const REPORT: &str = r"REPORT RequestId: 1\tBilled Duration: 2 ms\tMemory Size: 128 MB";
const OTHER: &str = r"REPORT RequestId: 2\tBilled Duration: 3 ms\tMemory Size: 128 MB";

/// JSON as it reads best in source.
fn unquoted(text: &str) -> String {
    text.replace('\'', "\"")
}

fn envelope(group: &str, stream: &str, events: &str) -> String {
    unquoted(&format!(
        "{{'messageType':'DATA_MESSAGE','owner':'1','logGroup':'{group}','logStream':'{stream}',\
         'logEvents':[{events}]}}"
    ))
}

fn event(message: &str) -> String {
    format!(r#"{{"id":"7","timestamp":1767225600000,"message":"{message}"}}"#)
}

/// The first words of each outcome.
fn kinds(message: &str) -> Vec<String> {
    let words = |line: &String| {
        let (first, rest) = line.split_once(' ').unwrap();
        match first {
            "problem" | "ignored" => rest.split(':').next().unwrap().to_owned(),
            _ => first.to_owned(),
        }
    };
    outcomes(message.as_bytes()).iter().map(words).collect()
}

#[test]
fn a_log_event_that_is_no_event_spoils_only_itself() {
    for (bad, reason) in [
        ("null", "malformed_field"),
        ("true", "malformed_field"),
        ("7", "malformed_field"),
        ("-7", "malformed_field"),
        ("0.5", "malformed_field"),
        ("\"x\"", "malformed_field"),
        ("\"\\n\"", "malformed_field"),
        ("[[1],{}]", "malformed_field"),
        ("{}", "missing_field"),
        (r#"{"id":"1","timestamp":1767225600000}"#, "missing_field"),
        (r#"{"id":"1","timestamp":1767225600000,"message":{"a":[]}}"#, "malformed_field"),
        (&event(REPORT).replace("1767225600000", "null"), "missing_field"),
        (&event(REPORT).replace("1767225600000", "[1]"), "malformed_field"),
        (&event(REPORT).replace("1767225600000", "0"), "time_out_of_range"),
        (&event(REPORT).replace("1767225600000", "4102444800000"), "time_out_of_range"),
        (&event(REPORT).replace("1767225600000", "-1e300"), "out_of_range"),
        (&event(REPORT).replace("\"7\"", "7"), "malformed_field"),
        (&event(REPORT).replace("2 ms", "-2 ms"), "out_of_range"),
    ] {
        let events = [&event(REPORT), bad, &event(OTHER)].join(",");
        let message = envelope("/aws/lambda/fn", "s", &events);
        assert_eq!(kinds(&message), ["invocation", reason, "invocation"], "{bad}");
    }
}

#[test]
fn the_order_of_keys_in_an_envelope_does_not_matter() {
    let usual = envelope("/aws/lambda/fn", "2026/01/01/[3]a", &event(REPORT));
    let reversed = unquoted(&format!(
        "{{'logEvents':[{{'x':[1],'message':'{REPORT}','timestamp':1767225600000.0,'id':'7'}}],\
         'logStream':'2026/01/01/[3]a','y':{{}},'logGroup':'/aws/lambda/fn','owner':'1',\
         'messageType':'DATA_MESSAGE'}}"
    ));
    assert_eq!(outcomes(usual.as_bytes()), outcomes(reversed.as_bytes()));
    let control = r#"{"logEvents":[{}],"messageType":"CONTROL_MESSAGE"}"#;
    assert_eq!(kinds(control), ["control_message"]);
    assert_eq!(kinds(r#"{"messageType":"CONTROL_MESSAGE"}"#), ["control_message"]);
    assert_eq!(kinds(&envelope("g", "s", "")), ["empty_batch"]);
}

#[test]
fn events_before_a_break_in_the_envelope_are_kept_and_the_break_is_told() {
    let whole = envelope("/aws/lambda/fn", "s", &[event(REPORT), event(OTHER)].join(","));
    assert_eq!(kinds(&format!("{whole}}}")), ["invocation", "invocation", "invalid_json"]);
    let (cut, _) = whole.split_at(whole.len() - 20);
    assert_eq!(kinds(cut), ["invocation", "invalid_json"]);
    let twice = whole.replace("\"logEvents\"", r#""owner":"2","logEvents""#);
    assert_eq!(kinds(&twice), ["malformed_field"]);
}

#[test]
fn the_function_is_named_by_the_log_group_or_the_log_stream() {
    for (group, stream, function) in [
        ("/aws/lambda/fn", "2026/01/01/[$LATEST]ab", "fn:$LATEST"),
        ("/aws/lambda/fn", "whatever", "fn:None"),
        ("shop", "2026/01/01/checkout[7]ab", "checkout:7"),
        ("shop", "2026/01/01/[7]ab", "standin:7"),
        ("shop", "x/01/01/checkout[7]ab", "standin:None"),
        ("/aws/lambda/", "s", "standin:None"),
    ] {
        let (name, version) = function.split_once(':').unwrap();
        let lines = outcomes(envelope(group, stream, &event(REPORT)).as_bytes());
        let owned = format!("invocation 000000000001:eu-west-1:{name} {NOW}");
        assert!(lines[0].starts_with(&owned), "{lines:?}");
        let shown = match version {
            "None" => "version=None".to_owned(),
            version => format!("version=Some({version:?})"),
        };
        assert!(lines[0].contains(&shown), "{lines:?}");
    }
}

#[test]
fn what_a_function_logs_is_not_mistaken_for_what_the_platform_says() {
    let access = r#"{\"requestId\":\"1\",\"status\":200,\"routeKey\":\"GET /\"}"#;
    let app = r#"{\"level\":\"INFO\",\"requestId\":\"1\",\"record\":{},\"kind\":\"invocation\"}"#;
    let deep = format!(r#"{{\"type\":\"platform.report\",\"x\":{}"#, "[".repeat(100_000));
    for (line, in_function, elsewhere) in [
        (access, "application_log", "trigger"),
        (app, "application_log", "application_log"),
        (
            r#"{\"message\":\"{\\\"type\\\":\\\"platform.report\\\"}\"}"#,
            "application_log",
            "application_log",
        ),
        (r#"{\"x\":{\"type\":\"platform.report\"}}"#, "application_log", "application_log"),
        (r#"{\"type\":\"platform.start\",\"record\":{}}"#, "platform_event", "platform_event"),
        (r#"{\"type\":\"platform.report\",\"record\":{}}"#, "missing_field", "missing_field"),
        ("REPORT: all is well", "application_log", "application_log"),
        (r"INFO\tREPORT RequestId: 1", "application_log", "application_log"),
        (r"EXTENSION\tName: x\tState: Ready", "platform_event", "platform_event"),
        (&deep, "nested_too_deep", "nested_too_deep"),
        ("{", "application_log", "application_log"),
        ("", "application_log", "application_log"),
    ] {
        let (shown, _) = line.split_at(line.len().min(80));
        let message = envelope("/aws/lambda/fn", "s", &event(line));
        assert_eq!(kinds(&message), [in_function], "{shown}");
        let message = envelope("gateway", "s", &event(line));
        assert_eq!(kinds(&message), [elsewhere], "{shown}");
    }
}

#[test]
fn an_array_of_telemetry_goes_on_after_a_bad_entry() {
    let good = TELEMETRY.lines().next().unwrap();
    for (bad, reason) in [
        (r#"{"time":"2026-01-01T00:00:00Z"}"#.to_owned(), "missing_field"),
        (r#"{"type":7}"#.to_owned(), "malformed_field"),
        (r#"{"type":"something.else"}"#.to_owned(), "unknown_format"),
        (r#"{"type":"platform.report"}"#.to_owned(), "missing_field"),
        (r#"{"type":"platform.report","record":"text"}"#.to_owned(), "malformed_field"),
        (good.replace("\"metrics\"", "\"m\""), "missing_field"),
        (good.replace("\"time\"", "\"t\""), "missing_field"),
        (good.replace("2024-05-20T", "1970-01-01T"), "time_out_of_range"),
        (good.replace(":12,", ":-12,"), "out_of_range"),
        (good.replace(":12,", ":1e999,"), "out_of_range"),
        (good.replace(":128,", ":0,"), "out_of_range"),
        (good.replace(":128,", ":\"128\","), "malformed_field"),
        (good.replace("174.055", "-0.1"), "out_of_range"),
    ] {
        let message = format!("[{good}, {bad} ,{good}]");
        assert_eq!(kinds(&message), ["invocation", reason, "invocation"], "{bad}");
    }
    assert_eq!(kinds("[]"), ["empty_batch"]);
    assert_eq!(kinds(&format!("[{good},5]")), ["invocation", "malformed_field"]);
    let status = |to: &str| outcomes(good.replace("\"success\"", to).as_bytes())[0].clone();
    for (text, expected) in [
        ("\"success\"", "Success"),
        ("\"error\"", "Error"),
        ("\"failure\"", "Error"),
        ("\"timeout\"", "Timeout"),
        ("null", "Success"),
    ] {
        assert!(status(text).contains(&format!(" {expected} version")), "{text}");
    }
}

#[test]
fn access_log_fields_may_be_strings_numbers_or_a_dash() {
    let line = ACCESS_LOG.lines().nth(2).unwrap();
    for (from, to, expected) in [
        ("\"200\"", "429", "Throttled"),
        ("\"200\"", "\"-\"", "missing_field"),
        ("\"200\"", "\"OK\"", "malformed_field"),
        ("\"200\"", "[200]", "malformed_field"),
        ("\"2048\"", "2048.0", "bytes=2048"),
        ("\"2048\"", "\"-\"", "bytes=0"),
        ("\"2048\"", "-1", "out_of_range"),
        ("\"2048\"", "\"-1\"", "out_of_range"),
        ("1602338136123", "\"1602338136123\"", "13:55:36.123Z"),
        ("1602338136123", "\"-\"", "13:55:36.000Z"),
        ("1602338136123", "0", "time_out_of_range"),
        ("1602338136123", "1e18", "out_of_range"),
        ("\"127.0.0.1\"", "\"test-invoke-source-ip\"", "ip=None"),
        ("\"222222222222\"", "\"x\"", "out_of_range"),
        ("\"ip\"", "\"userAgent\"", "malformed_field"),
        ("\"apiKeyId\":\"k9xmpl\"", "\"x\":{\"requestTime\":[]}", "principal=None"),
        ("\"apiId\"", "\"x\"", "api=\"\""),
    ] {
        assert!(line.contains(from), "{from}");
        // Status 429 is a refusal only where no function ran.
        let line = line.replace("\"integrationRequestId\"", "\"z\"");
        let shown = &outcomes(line.replace(from, to).as_bytes())[0];
        assert!(shown.contains(expected), "{to} gave {shown}");
    }
    let snake = line.replace("integrationRequestId", "integration_request_id");
    assert_eq!(outcomes(line.as_bytes()), outcomes(snake.as_bytes()));
    let long = line.replace("k9xmpl", &"k".repeat(1_000));
    let kept = format!("principal=Some(\"{}\")", "k".repeat(256));
    assert!(outcomes(long.as_bytes())[0].contains(&kept));
}

#[test]
fn a_native_record_outside_its_documented_ranges_is_refused() {
    let line = NATIVE.lines().nth(1).unwrap();
    for (from, to, reason) in [
        ("\"invocation\"", "\"something\"", Reason::UnknownFormat),
        ("\"invocation\"", "7", Reason::MalformedField),
        ("\"invocation\"", "null", Reason::MissingField),
        ("11.2", "-1", Reason::OutOfRange),
        ("11.2", "\"11\"", Reason::MalformedField),
        ("11.2", "null", Reason::MissingField),
        ("11.2", "3600001", Reason::OutOfRange),
        ("512.0", "512.5", Reason::OutOfRange),
        ("512.0", "-512", Reason::OutOfRange),
        ("512.0", "0", Reason::OutOfRange),
        ("512.0", "18446744073709551616", Reason::OutOfRange),
        ("174.055", "1e9", Reason::OutOfRange),
        ("1767225600123", "0", Reason::TimeOutOfRange),
        ("1767225600123", "4102444800000", Reason::TimeOutOfRange),
        ("1767225600123", "1e300", Reason::OutOfRange),
        ("1767225600123", "\"yesterday\"", Reason::MalformedField),
        ("1767225600123", "null", Reason::MissingField),
        ("\"timeout\"", "\"slow\"", Reason::MalformedField),
        ("\"arm64\"", "\"riscv\"", Reason::MalformedField),
        ("\"203.0.113.7\"", "\"203.0.113\"", Reason::MalformedField),
        ("\"key-1\"", "{}", Reason::MalformedField),
        (":lambda:", ":s3:", Reason::MalformedField),
        (":444455556666:", ":x:", Reason::OutOfRange),
        (":us-east-1:", ":US EAST:", Reason::OutOfRange),
        (":checkout:7", ":", Reason::OutOfRange),
        (
            "arn:aws:lambda:us-east-1:444455556666:function:checkout:7",
            "two words",
            Reason::OutOfRange,
        ),
        ("\"init_ms\"", "\"billed_ms\"", Reason::MalformedField),
    ] {
        assert!(line.contains(from), "{from}");
        assert_eq!(refused(line.replace(from, to).as_bytes()), reason, "{to}");
    }
    let long =
        line.replace("arn:aws:lambda:us-east-1:444455556666:function:checkout:7", &"f".repeat(257));
    assert_eq!(refused(long.as_bytes()), Reason::OutOfRange);
    let refusal = NATIVE.lines().nth(3).unwrap();
    for (from, to, reason) in [
        ("\"throttled\"", "\"tired\"", Reason::MalformedField),
        ("\"throttled\"", "null", Reason::MissingField),
        ("\"api_gateway\"", "\"telepathy\"", Reason::MalformedField),
        ("\"trigger\"", "\"region\":\"No\",\"trigger\"", Reason::OutOfRange),
        ("\"trigger\"", "\"response_bytes\":-1,\"trigger\"", Reason::OutOfRange),
    ] {
        assert!(refusal.contains(from), "{from}");
        assert_eq!(refused(refusal.replace(from, to).as_bytes()), reason, "{to}");
    }
}
