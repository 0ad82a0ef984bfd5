//! The corners of the formats of events: what is believed of them, and what is refused.

use super::*;

/// As on a stream of many functions.
fn of_many(message: &[u8]) -> Outcomes {
    outcomes_in(message, &context(None))
}

fn binary(headers: &[(&str, &[u8])], message: &[u8]) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let event = EventHeaders::of(headers.iter().copied()).unwrap();
    let mut decoder = Decoder::new(Limits::default());
    decoder.decode_event(message, &event, &context(None), &mut outcomes);
    outcomes
}

#[test]
fn a_cloud_event_is_identified_by_its_source_and_id_together() {
    let event = CLOUD_EVENT.lines().next().unwrap();
    let delivery = |message: &str| {
        let line = outcomes(message.as_bytes()).remove(0);
        line.split_once("delivery=").unwrap().1.to_owned()
    };
    assert_eq!(delivery(event), delivery(&event.replace("\"3\"", "\"4\"")));
    assert_ne!(delivery(event), delivery(&event.replace("e-1", "e-2")));
    assert_ne!(delivery(event), delivery(&event.replace("/collector/1", "/collector/2")));
    for (from, to, reason) in [
        ("dev.bursar.invocation", "dev.bursar.other", Reason::UnknownFormat),
        ("dev.bursar.invocation", "dev.bursar.message", Reason::UnknownFormat),
        ("\"type\"", "\"t\"", Reason::MissingField),
        ("\"data\"", "\"d\"", Reason::MissingField),
        ("\"time\"", "\"t\"", Reason::MissingField),
        ("2026-01-01T", "1970-01-01T", Reason::TimeOutOfRange),
    ] {
        assert_eq!(refused(event.replace(from, to).as_bytes()), reason, "{to}");
    }
    let inner = event.replace("\"version\"", "\"time\":\"2026-02-01T00:00:00Z\",\"version\"");
    assert!(outcomes(inner.as_bytes())[0].contains("2026-02-01T00:00:00.000Z"));
}

#[test]
fn a_cloud_event_in_binary_mode_is_the_same_as_a_structured_one() {
    for line in CLOUD_EVENT.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap_or_default().as_bytes();
        let headers = [
            ("content-type", &b"application/json"[..]),
            ("ce_id", text("id")),
            ("ce_time", text("time")),
            ("ce_source", text("source")),
            ("ce_type", text("type")),
            ("ce_specversion", b"1.0"),
        ];
        let kept = headers.iter().filter(|(name, _)| EVENT_HEADERS.contains(name)).count();
        assert_eq!(kept, EVENT_HEADERS.len());
        let data = event["data"].to_string();
        let expected = of_many(line.as_bytes()).lines;
        assert_eq!(binary(&headers, data.as_bytes()).lines, expected);
        assert_eq!(binary(&headers, &zipped(data.as_bytes())).lines, expected);
    }
    assert_eq!(EventHeaders::of([("ce_type", &b"x"[..]), ("content-type", b"y")]), None);
}

#[test]
fn what_an_event_holds_is_told_by_its_headers_and_not_by_its_data() {
    let forged = NATIVE.lines().next().unwrap().as_bytes();
    let opaque = [("ce_specversion", &b"1.0"[..]), ("ce_type", b"shop.order"), ("ce_id", b"7")];
    let timed = [&opaque[..], &[("ce_source", b"/shop"), ("ce_time", NOW.as_bytes())]].concat();
    for data in [forged, b"", b"\xff", &[0x1f, 0x8b, 8], b"[[[["] {
        let lines = binary(&timed, data).lines;
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("trigger 111122223333:eu-west-1 api=\"/shop\""), "{lines:?}");
        assert!(lines[0].contains("route=\"shop.order\""), "{lines:?}");
    }
    for (header, value, reason) in [
        ("ce_type", &b"\xff"[..], Reason::InvalidUtf8),
        ("ce_type", b"", Reason::MissingField),
        ("ce_time", b"yesterday", Reason::MalformedField),
        ("ce_time", b"1970-01-01T00:00:00Z", Reason::TimeOutOfRange),
        ("ce_time", b"", Reason::MissingField),
        ("ce_type", b"dev.bursar.invocation", Reason::InvalidJson),
        ("ce_type", b"dev.bursar.message", Reason::UnknownFormat),
    ] {
        let headers = [&timed[..], &[(header, value)]].concat();
        assert_eq!(binary(&headers, b"{").reasons, [reason], "{header} {value:?}");
    }
    let headers = [&timed[..], &[("ce_type", b"dev.bursar.message")]].concat();
    let event = CLOUD_EVENT.lines().next().unwrap().as_bytes();
    assert_eq!(binary(&headers, event).reasons, [Reason::UnknownFormat]);
    assert_eq!(binary(&headers, OTLP).lines, ["ignored usage"; 3]);
}

#[test]
fn a_stream_of_one_function_needs_no_routes() {
    let formats = [EVENT_BATCH, EVENT_BUS, HTTP_EVENT, LOAD_BALANCER];
    let messages = formats.iter().map(|messages| messages.lines().next().unwrap());
    for message in messages.chain(CLOUD_EVENT.lines().nth(3)) {
        let lines = outcomes(message.as_bytes());
        assert!(lines[0].starts_with("trigger 111122223333:eu-west-1:standin "), "{lines:?}");
    }
}

#[test]
fn an_event_that_is_none_spoils_only_itself() {
    let batch = |events: &[&str]| format!("{{\"Records\":[{}]}}", events.join(","));
    let one = EVENT_BATCH.lines().nth(1).unwrap();
    let record = one.strip_prefix("{\"Records\":[").unwrap().strip_suffix("]}").unwrap();
    for (bad, reason) in [
        ("null".to_owned(), Reason::MalformedField),
        ("7".to_owned(), Reason::MalformedField),
        ("[[]]".to_owned(), Reason::MalformedField),
        ("{}".to_owned(), Reason::MissingField),
        ("{\"eventSource\":7}".to_owned(), Reason::MalformedField),
        ("{\"eventSource\":\"aws:s3\"}".to_owned(), Reason::MissingField),
        ("{\"eventSource\":\"aws:s3\",\"s3\":[]}".to_owned(), Reason::MalformedField),
        ("{\"eventSource\":\"aws:sqs\",\"attributes\":{}}".to_owned(), Reason::MissingField),
        ("{\"eventSource\":\"aws:kinesis\",\"kinesis\":{}}".to_owned(), Reason::MissingField),
        (record.replace("\"1767225600185\"", "\"-5\""), Reason::TimeOutOfRange),
        (record.replace("\"1767225600185\"", "\"soon\""), Reason::MalformedField),
        (record.replace("\"1767225600185\"", "1767225600185"), Reason::MalformedField),
        (record.replace(":123456789012:", ":x:"), Reason::OutOfRange),
        (record.replace("\"us-east-2\"", "\"US EAST\""), Reason::OutOfRange),
        (record.replace("\"awsRegion\"", "\"messageId\""), Reason::MalformedField),
    ] {
        let outcomes = of_many(batch(&[record, &bad, record]).as_bytes());
        let told = &outcomes.reasons;
        let triggers = outcomes.lines.iter().filter(|line| line.starts_with("trigger")).count();
        assert!(!told.is_empty() && told.iter().all(|told| *told == reason), "{bad} {told:?}");
        assert!(triggers >= 2, "{bad} gave {:?}", outcomes.lines);
    }
    let seconds = EVENT_BATCH.lines().nth(3).unwrap();
    for (value, reason) in [
        ("-1.5", Reason::TimeOutOfRange),
        ("1e300", Reason::TimeOutOfRange),
        ("-1e300", Reason::TimeOutOfRange),
        ("1e999", Reason::OutOfRange),
        ("NaN", Reason::InvalidJson),
        ("true", Reason::MalformedField),
        ("null", Reason::MissingField),
    ] {
        let outcomes = of_many(seconds.replace("1767225650.987", value).as_bytes());
        assert_eq!(outcomes.reasons.first(), Some(&reason), "{value} {:?}", outcomes.lines);
    }
}

#[test]
fn a_batch_is_read_to_the_most_records_of_one_message() {
    let sqs = r#"{"eventSource":"aws:sqs","eventSourceARN":"q","attributes":
        {"SentTimestamp":"1767225600000"}}"#;
    for (count, refused) in [(RECORDS_MAX, 0), (RECORDS_MAX + 1, 1), (RECORDS_MAX * 3, 1)] {
        let message = format!("{{\"Records\":[{}]}}", vec![sqs; count].join(","));
        let outcomes = of_many(message.as_bytes());
        assert_eq!(outcomes.reasons, vec![Reason::TooManyRecords; refused]);
        assert_eq!(outcomes.lines.len(), RECORDS_MAX + refused);
    }
    let broken = format!("{{\"Records\":[{}]}}", vec!["7"; RECORDS_MAX * 2].join(","));
    assert_eq!(of_many(broken.as_bytes()).lines.len(), RECORDS_MAX + 1);
}

#[test]
fn a_metric_stream_is_counted_line_by_line_and_ends_at_a_broken_one() {
    let whole = of_many(METRIC_STREAM.as_bytes());
    assert_eq!(whole.lines, ["ignored usage"; 2]);
    let line = METRIC_STREAM.lines().next().unwrap();
    for (from, to, reason) in [
        ("1767225600000", "-1", Reason::TimeOutOfRange),
        ("1767225600000", "1e300", Reason::OutOfRange),
        ("1767225600000", "\"now\"", Reason::MalformedField),
        ("\"timestamp\"", "\"t\"", Reason::MissingField),
        ("\"namespace\"", "\"metric_name\"", Reason::MalformedField),
        ("\"value\"", "\"v\"", Reason::MissingField),
        ("{\"max\":1.0,\"min\":1.0,\"sum\":412.0,\"count\":412.0}", "7", Reason::MalformedField),
    ] {
        assert!(line.contains(from), "{from}");
        let message = format!("{line}\n{}\n{line}\nx\n", line.replace(from, to));
        let outcomes = of_many(message.as_bytes());
        assert_eq!((outcomes.lines.len(), outcomes.reasons), (2, vec![reason]), "{to}");
    }
}

#[test]
fn open_telemetry_metrics_are_counted_by_data_point_wherever_they_are_cut() {
    assert_eq!(of_many(OTLP).lines, ["ignored usage"; 3]);
    for end in 3..OTLP.len() {
        let outcomes = of_many(&OTLP[..end]);
        // Where the first of the two requests ends, it is whole.
        if outcomes.lines != ["ignored usage"; 2] {
            assert_eq!(outcomes.reasons, [Reason::InvalidProtobuf], "{end}");
        }
    }
    let request = |inside: &[u8]| {
        // As long as a request always is: the rest is a field that is passed over.
        let mut request = [&[0x0a, u8::try_from(inside.len()).unwrap()], inside].concat();
        request.extend([0x7a, 127]);
        request.extend([b'x'; 127]);
        let length = u8::try_from(request.len() - 128).unwrap();
        [&[0x80 | length, 1][..], &request].concat()
    };
    // resource_metrics { scope_metrics { metrics { summary { data_points { ... } } } } }
    let point = |point: &[u8]| {
        let mut inside = point.to_vec();
        for tag in [0x0a, 0x5a, 0x12, 0x12] {
            let length = u8::try_from(inside.len()).unwrap();
            inside.splice(0..0, [tag, length]);
        }
        of_many(&request(&inside)).lines.join("; ")
    };
    let nanos = (1_767_225_600_000_000_000_u64).to_le_bytes();
    assert_eq!(point(&[&[0x19], &nanos[..]].concat()), "ignored usage");
    assert!(point(&[&[0x19], &[0; 8][..]].concat()).contains("problem time_out_of_range"));
    assert!(point(&[&[0x19], &[0xff; 8][..]].concat()).contains("problem time_out_of_range"));
    assert!(point(&[]).contains("problem missing_field"));
    assert!(point(&[0x18, 1]).contains("problem invalid_protobuf"));
    assert!(point(&[0x1b]).contains("problem invalid_protobuf"));
    assert!(point(&[&[0x18][..], &[0xff; 12]].concat()).contains("problem invalid_protobuf"));
    assert_eq!(of_many(&request(&[])).lines, ["ignored empty_batch"]);
}

#[test]
fn a_load_balancer_line_is_read_as_far_as_it_is_needed() {
    let line = LOAD_BALANCER.lines().next().unwrap();
    let shown = |line: &str| of_many(line.as_bytes()).lines.remove(0);
    let (needed, _) = line.split_once(" \"www.example.com\"").unwrap();
    assert_eq!(shown(line), shown(needed));
    assert_eq!(shown(line), shown(&format!("{line} \"unfinished")));
    for (from, to, expected) in [
        (" 1904 ", " -1 ", "problem malformed_field: sent_bytes"),
        (" 1904 ", " - ", "problem malformed_field: sent_bytes"),
        ("2026-01-01T", "1970-01-01T", "problem time_out_of_range"),
        ("2026-01-01T", "2026-13-01T", "problem malformed_field"),
        ("203.0.113.39:2817", "-", "ip=None"),
        (":123456789012:", "::", "trigger 111122223333:us-east-2"),
        (":123456789012:", ":x:", "problem out_of_range"),
        ("curl/8.5.0", "", "agent=None"),
        (" 200 200 ", " 403 403 ", "trigger "),
        (" 200 200 ", " 403 - ", "refusal Forbidden"),
        (" 200 200 ", " 429 - ", "refusal Throttled"),
        ("\"curl/8.5.0\"", "\"curl", "agent=Some(\"curl ECDHE"),
    ] {
        assert!(line.contains(from), "{from}");
        assert!(shown(&line.replacen(from, to, 1)).contains(expected), "{to}: {}", shown(line));
    }
    for words in 3..18 {
        let cut: Vec<_> = line.split(' ').take(words).collect();
        assert_eq!(of_many(cut.join(" ").as_bytes()).reasons, [Reason::MissingField], "{words}");
    }
}

#[test]
fn an_activation_is_read_with_whatever_its_release_writes() {
    let line = OPENWHISK.lines().next().unwrap();
    let shown = |line: &str| of_many(line.as_bytes()).lines.remove(0);
    for (from, to) in [
        ("\"sequence\"", "false"),
        ("\"sequence\"", "{\"any\":[]}"),
        ("\"conductor\":false", "\"conductor\":\"no\""),
        ("\"userDefinedStatusCode\":200", "\"another\":null"),
        ("\"waitTime\":43", "\"waitTime\":-43"),
    ] {
        assert_eq!(shown(&line.replace(from, to)), shown(line), "{to}");
    }
    for (from, to, reason) in [
        ("\"duration\":356", "\"duration\":-1", Reason::OutOfRange),
        ("\"memory\":256", "\"memory\":0", Reason::OutOfRange),
        ("\"initTime\":21", "\"initTime\":1e999", Reason::OutOfRange),
        ("\"statusCode\":0", "\"statusCode\":null", Reason::MissingField),
        ("guest/shop/checkout", "two words", Reason::OutOfRange),
        ("\"guest/shop/checkout\"", "[]", Reason::MalformedField),
        ("\"name\"", "\"n\"", Reason::MissingField),
        ("\"Activation\"", "\"Other\"", Reason::UnknownFormat),
        ("1767225600676", "0", Reason::TimeOutOfRange),
        ("\"body\"", "\"b\"", Reason::MissingField),
    ] {
        assert!(line.contains(from), "{from}");
        assert_eq!(of_many(line.replace(from, to).as_bytes()).reasons, [reason], "{to}");
    }
}

#[test]
fn an_access_log_line_with_the_keys_of_an_event_stays_one() {
    let line = r#"{"routeKey":"GET /","requestTimeEpoch":1767225600000,"status":200,"apiId":"a"}"#;
    assert!(of_many(line.as_bytes()).lines[0].contains("ApiGateway"));
    let hostile =
        r#"{"routeKey":"x\",\"requestContext\":{","status":200,"requestTimeEpoch":1767225600000}"#;
    assert!(of_many(hostile.as_bytes()).lines[0].contains("route=\"x"));
}
