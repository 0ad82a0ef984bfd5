mod control;
mod pipeline;
mod sources;
mod tariff;
mod validation;

use serde_json::Value;

use super::*;
use crate::simulation::draw::Draw;
use crate::simulation::duration::DurationModel;
use crate::units::{MbMillis, MemoryMb};

const START: EventTime = EventTime::saturating_from_ms(1_767_600_000_000);

fn constant(ms: f64) -> DurationModel {
    DurationModel::log_normal(ms, ms).unwrap()
}

fn function(name: &str, duration: DurationModel) -> FunctionSpec {
    let key = format!("111122223333:us-east-1:{name}").parse().unwrap();
    FunctionSpec {
        timeout_ms: 30_000,
        ..FunctionSpec::new(key, MemoryMb::try_new(512).unwrap(), duration)
    }
}

fn with_api(name: &str, duration: DurationModel, kind: ApiKind) -> FunctionSpec {
    FunctionSpec {
        api: Some(ApiSpec {
            api_id: "a1b2c3d4e5".to_owned(),
            stage: "prod".to_owned(),
            method: "GET".to_owned(),
            route: format!("/{name}"),
            kind,
        }),
        ..function(name, duration)
    }
}

fn request(at: EventTime, function: usize) -> Request {
    Request {
        address: Some("203.0.113.7".parse().unwrap()),
        user_agent: Some("test/1"),
        ..Request::new(at, function)
    }
}

fn platform(functions: Vec<FunctionSpec>) -> Platform {
    Platform::new(1, PlatformSettings::default(), functions).unwrap()
}

/// Runs to the end and returns all messages.
fn drain(platform: &mut Platform) -> Vec<Delivery> {
    let mut out = Vec::new();
    while let Some(next) = platform.next_at() {
        platform.advance(next, &mut out);
    }
    out
}

/// REPORT lines and access-log lines of some messages.
fn records(deliveries: &[Delivery]) -> (Vec<String>, Vec<Value>) {
    let (mut reports, mut accesses) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        let value: Value = serde_json::from_slice(delivery.text()).unwrap();
        match value["logEvents"].as_array() {
            Some(events) => {
                assert_eq!(events.len(), delivery.records() as usize);
                let line = |event: &Value| event["message"].as_str().unwrap().to_owned();
                reports.extend(events.iter().map(line));
            }
            None => accesses.push(value),
        }
    }
    (reports, accesses)
}

fn field(report: &str, name: &str) -> f64 {
    let after = report.split(name).nth(1).unwrap();
    after.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn every_request_is_one_report_and_one_access_line_with_the_same_id() {
    let mut platform = platform(vec![with_api("f", constant(50.0), ApiKind::Rest)]);
    for index in 0..500 {
        platform.offer(request(START.plus_ms(index * 37), 0));
    }
    let (reports, accesses) = records(&drain(&mut platform));
    assert_eq!((reports.len(), accesses.len()), (500, 500));
    for access in &accesses {
        let id = access["integrationRequestId"].as_str().unwrap();
        assert_eq!(access["status"], "200");
        assert_eq!(reports.iter().filter(|report| report.contains(id)).count(), 1);
    }
    let tally = platform.tally(None).counts;
    assert_eq!((tally.offered, tally.served), (500, 500));
    let billed: f64 = reports.iter().map(|report| field(report, "Billed Duration: ")).sum();
    assert_eq!(tally.usage, MbMillis(billed as u64 * 512));
}

#[test]
fn running_invocations_follow_littles_law() {
    let mut platform = platform(vec![function("f", constant(200.0))]);
    let mut draw = Draw::new(5, 0);
    let mut at = 0.0;
    while at < 600_000.0 {
        platform.offer(request(START.plus_ms(at as i64), 0));
        at += draw.wait(10.0);
    }
    let mut sum = 0;
    for second in 60..600 {
        platform.advance(START.plus_ms(second * 1_000), &mut Vec::new());
        sum += platform.busy(0);
    }
    // 100 requests per second × 0.2 s = 20 at once.
    let mean = f64::from(sum) / 540.0;
    assert!((mean - 20.0).abs() < 1.0, "{mean}");
}

#[test]
fn a_cap_refuses_what_is_above_it_and_serves_what_is_below() {
    let capped =
        FunctionSpec { reserved: Some(5), ..with_api("f", constant(990.0), ApiKind::Http) };
    for (rate_per_second, served_all) in [(4, true), (20, false)] {
        let mut platform = platform(vec![FunctionSpec { init_ms: 0, ..capped.clone() }]);
        for index in 0..60 * rate_per_second {
            platform.offer(request(START.plus_ms(index * 1_000 / rate_per_second), 0));
        }
        let (reports, accesses) = records(&drain(&mut platform));
        let refused = accesses.iter().filter(|access| access["status"] == "429").count();
        let tally = platform.tally(None).counts;
        assert_eq!(tally.throttled as usize, refused);
        assert_eq!(tally.offered, tally.served + tally.throttled);
        assert_eq!(tally.served as usize, reports.len());
        assert_eq!(refused == 0, served_all);
        // Five environments of about a second each do about five requests per second.
        let served_rate = tally.served as f64 / 60.0;
        assert!(served_all || (served_rate - 5.0).abs() < 0.2, "{served_rate}");
    }
}

#[test]
fn unset_lends_the_account_limit_and_zero_serves_nothing() {
    for (reserved, served) in [(None, 1_000), (Some(0), 0), (Some(7), 7)] {
        let mut platform =
            platform(vec![FunctionSpec { reserved, ..function("f", constant(900.0)) }]);
        for _ in 0..1_200 {
            platform.offer(request(START, 0));
        }
        drain(&mut platform);
        assert_eq!(platform.tally(None).counts.served, served, "{reserved:?}");
    }
}

#[test]
fn initialisation_is_billed_on_cold_starts_only() {
    let mut platform = platform(vec![function("f", constant(50.0))]);
    for second in [0, 1, 2, 700] {
        platform.offer(request(START.plus_ms(second * 1_000), 0));
    }
    let (reports, _) = records(&drain(&mut platform));
    let cold: Vec<_> = reports.iter().map(|report| report.contains("Init Duration")).collect();
    assert_eq!(cold, [true, false, false, true]);
    for report in &reports {
        let init = if report.contains("Init") { field(report, "Init Duration: ") } else { 0.0 };
        let wanted = field(report, "\tDuration: ") + init;
        let billed = field(report, "Billed Duration: ");
        // The printed parts are rounded to hundredths before they are added here.
        assert!(billed >= wanted - 0.011 && billed < wanted + 1.011, "{report}");
    }
}

#[test]
fn a_handler_is_cut_off_at_its_limit_and_billed_up_to_there() {
    let slow = FunctionSpec {
        timeout_ms: 3_000,
        init_ms: 0,
        ..with_api("f", constant(9_000.0), ApiKind::Rest)
    };
    let mut platform = platform(vec![slow]);
    platform.offer(request(START, 0));
    let (reports, accesses) = records(&drain(&mut platform));
    assert!(reports[0].contains("Status: timeout"), "{}", reports[0]);
    assert_eq!(field(&reports[0], "Billed Duration: "), 3_000.0);
    assert_eq!(accesses[0]["status"], "504");
}

#[test]
fn a_function_starts_a_thousand_environments_in_ten_seconds_refilled_continuously() {
    let settings = PlatformSettings { concurrency: 5_000, ..PlatformSettings::default() };
    let mut platform = Platform::new(1, settings, vec![function("f", constant(29_000.0))]).unwrap();
    for at in [0, 5_000] {
        (0..2_000).for_each(|_| platform.offer(request(START.plus_ms(at), 0)));
    }
    platform.advance(START.plus_ms(1), &mut Vec::new());
    assert_eq!(platform.tally(None).counts.served, 1_000);
    platform.advance(START.plus_ms(6_000), &mut Vec::new());
    assert_eq!(platform.tally(None).counts.served, 1_500);
}

#[test]
fn messages_come_in_order_within_the_delay_and_a_seed_gives_the_same_bytes() {
    let run = |seed, step| {
        let functions = vec![
            with_api("f", DurationModel::log_normal(80.0, 900.0).unwrap(), ApiKind::Rest),
            function("g", constant(5.0)),
        ];
        let mut platform = Platform::new(seed, PlatformSettings::default(), functions).unwrap();
        for index in 0..2_000 {
            let at = START.plus_ms(index * 13);
            platform.offer(request(at, usize::from(index % 3 == 0)));
        }
        let mut out = Vec::new();
        (0..60_000).step_by(step).for_each(|ms| platform.advance(START.plus_ms(ms), &mut out));
        out
    };
    let out = run(1, 500);
    assert!(out.windows(2).all(|pair| pair[0].at <= pair[1].at));
    for delivery in &out {
        let value: Value = serde_json::from_slice(delivery.text()).unwrap();
        if let Some(last) = value["logEvents"].as_array().and_then(|events| events.last()) {
            let wait = delivery.at.ms() - last["timestamp"].as_i64().unwrap();
            assert!((200..=2_500).contains(&wait), "{wait}");
        }
    }
    assert_eq!(out, run(1, 500));
    assert_eq!(out, run(1, 7));
    assert_ne!(out, run(2, 500));
}

#[test]
fn attack_marks_are_counted_but_never_written() {
    let build = || platform(vec![with_api("f", constant(20.0), ApiKind::Rest)]);
    let (mut marked, mut plain) = (build(), build());
    for index in 0..100 {
        let request = request(START.plus_ms(index * 10), 0);
        plain.offer(request);
        marked.offer(Request { attack: (index % 4 == 0).then_some(3), ..request });
    }
    assert_eq!(drain(&mut marked), drain(&mut plain));
    assert_eq!(marked.tally(Some(3)).counts.served, 25);
    assert_eq!(marked.tally(None).counts.served, 75);
    assert_eq!(marked.tally(Some(2)), Tally::default());
    let first = marked.tally(Some(3)).first_record.unwrap();
    assert!(first > START && first < START.plus_ms(150), "{first}");
}

#[test]
fn platforms_that_could_not_exist_are_refused() {
    let one = || function("f", constant(9.0));
    let defaults = PlatformSettings::default;
    for (settings, functions, text) in [
        (defaults(), vec![one(), one()], "deployed twice"),
        (defaults(), vec![FunctionSpec { reserved: Some(901), ..one() }], "minimum value of [100]"),
        (defaults(), vec![FunctionSpec { timeout_ms: 0, ..one() }], "1 to 900000"),
        (PlatformSettings { delay_ms_min: 9_999, ..defaults() }, vec![one()], "delay_ms_min"),
        (PlatformSettings { concurrency: 99, ..defaults() }, vec![one()], "unreserved_minimum"),
        (PlatformSettings { scaling_period_ms: 0, ..defaults() }, vec![one()], "scaling_"),
    ] {
        let error = Platform::new(1, settings, functions).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
