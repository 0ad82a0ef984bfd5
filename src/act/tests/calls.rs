//! The real client against a control plane on a loopback port: what is called, and what each
//! answer is taken for.

use std::time::Duration;

use super::cloud::{Cloud, Fault as Trouble};
use crate::act::lambda::{Lambda, LambdaSettings};
use crate::act::plane::{ControlPlane, Fault, Feed, Release, Target};
use crate::control::action::ActuatorKind;
use crate::record::FunctionKey;

fn plane(cloud: &Cloud) -> Lambda {
    let settings = LambdaSettings {
        endpoint: Some(cloud.url.clone()),
        requests_per_second: 1_000,
        release_role: Some("arn:aws:iam::111122223333:role/release".to_owned()),
    };
    Lambda::new(&settings).unwrap()
}

fn reserved(function: &FunctionKey) -> Target<'_> {
    Target { function, actuator: ActuatorKind::ReservedConcurrency, mapping: None }
}

fn function(name: &str) -> FunctionKey {
    format!("111122223333:eu-west-1:{name}").parse().unwrap()
}

#[test]
fn a_reservation_is_read_set_and_taken_away_by_the_functions_own_arn() {
    let cloud = Cloud::start(&[("shop", None), ("shop-old", Some(7))]);
    let mut plane = plane(&cloud);
    let shop = function("shop");
    assert_eq!(plane.limit(reserved(&shop)), Ok(None));
    assert_eq!(plane.limit(reserved(&function("shop-old"))), Ok(Some(7)));
    assert_eq!(plane.set_limit(reserved(&shop), Some(12)), Ok(()));
    assert_eq!(plane.limit(reserved(&shop)), Ok(Some(12)));
    let limits = plane.account("eu-west-1").unwrap();
    assert_eq!((limits.concurrency, limits.unreserved), (1_000, 981));
    assert_eq!(plane.set_limit(reserved(&shop), None), Ok(()));
    assert_eq!(cloud.reserved("shop"), None);
    let calls = cloud.state().calls.clone();
    let arn = "arn%3Aaws%3Alambda%3Aeu-west-1%3A111122223333%3Afunction%3Ashop/concurrency";
    assert_eq!(calls[2], format!("PUT /2017-10-31/functions/{arn}"));
    assert_eq!(calls[5], format!("DELETE /2017-10-31/functions/{arn}"));
}

#[test]
fn every_answer_is_taken_for_what_it_means() {
    let says = |status, code, headers| Trouble::Says(status, code, "said", headers);
    let kind = |fault: &Fault| match fault {
        Fault::Missing(_) => "missing".to_owned(),
        Fault::Refused(_) => "refused".to_owned(),
        Fault::Busy(_, pause) => format!("busy {pause:?}"),
        Fault::Unclear(_) => "unclear".to_owned(),
    };
    let cases = [
        (says(404, "ResourceNotFoundException", ""), "missing"),
        (says(403, "AccessDeniedException", ""), "refused"),
        (says(400, "InvalidParameterValueException", ""), "refused"),
        (says(403, "ExpiredTokenException", ""), "refused"),
        (says(429, "TooManyRequestsException", ""), "busy None"),
        (says(429, "TooManyRequestsException", "retry-after: 2\r\n"), "busy Some(2s)"),
        (says(409, "ResourceConflictException", ""), "busy None"),
        (says(500, "ServiceException", ""), "unclear"),
        (says(503, "", ""), "unclear"),
        (Trouble::CutOff, "unclear"),
        (Trouble::Partial, "unclear"),
        (Trouble::Slow(Duration::from_secs(7)), "unclear"),
    ];
    for (trouble, expected) in cases {
        let cloud = Cloud::start(&[("shop", Some(3))]);
        cloud.fail("PUT /2017-10-31", [trouble.clone()]);
        let fault = plane(&cloud).set_limit(reserved(&function("shop")), Some(9)).unwrap_err();
        assert_eq!(kind(&fault), expected, "{trouble:?}: {fault:?}");
        let done = !matches!(trouble, Trouble::Says(..));
        assert_eq!(cloud.reserved("shop") == Some(9), done, "{trouble:?}");
    }
}

#[test]
fn what_must_stay_unreserved_is_told_in_the_platforms_own_words() {
    let cloud = Cloud::start(&[("shop", None), ("other", Some(900))]);
    let fault = plane(&cloud).set_limit(reserved(&function("shop")), Some(60)).unwrap_err();
    assert!(matches!(&fault, Fault::Refused(words) if words.contains("[50]")), "{fault:?}");
}

#[test]
fn names_that_are_none_are_never_sent() {
    let cloud = Cloud::start(&[("shop", None)]);
    let mut plane = plane(&cloud);
    for name in ["shop:live", "../shop", "arn:aws:lambda:x", &"a".repeat(65)] {
        let fault = plane.set_limit(reserved(&function(name)), Some(1)).unwrap_err();
        assert!(matches!(fault, Fault::Refused(_)), "{name}: {fault:?}");
    }
    assert!(cloud.state().calls.is_empty());
}

#[test]
fn a_release_writes_the_prior_state_back_and_can_be_moved_and_withdrawn() {
    let cloud = Cloud::start(&[]);
    let mut plane = plane(&cloud);
    let shop = function("shop");
    let release = |prior, expires: &str| Release {
        key: "abc123".to_owned(),
        target: reserved(&shop),
        prior,
        expires_at: expires.parse().unwrap(),
    };
    let unset = release(None, "2026-01-05T01:00:00Z");
    assert_eq!(plane.leave_release(&unset), Ok(()));
    let schedule = cloud.state().schedules["bursar-abc123"].clone();
    assert_eq!(schedule["ScheduleExpression"], "at(2026-01-05T01:05:00)");
    assert_eq!(schedule["ActionAfterCompletion"], "DELETE");
    assert_eq!(schedule["FlexibleTimeWindow"]["Mode"], "OFF");
    let target = &schedule["Target"];
    assert_eq!(target["Arn"], "arn:aws:scheduler:::aws-sdk:lambda:deleteFunctionConcurrency");
    assert_eq!(target["RoleArn"], "arn:aws:iam::111122223333:role/release");
    let arn = "arn:aws:lambda:eu-west-1:111122223333:function:shop";
    assert_eq!(target["Input"], format!(r#"{{"FunctionName":"{arn}"}}"#));

    let set = release(Some(40), "2026-01-05T02:00:00Z");
    assert_eq!(plane.leave_release(&set), Ok(()), "one that is there is moved");
    let schedule = cloud.state().schedules["bursar-abc123"].clone();
    assert_eq!(schedule["ScheduleExpression"], "at(2026-01-05T02:05:00)");
    let target = &schedule["Target"];
    assert_eq!(target["Arn"], "arn:aws:scheduler:::aws-sdk:lambda:putFunctionConcurrency");
    let input = format!(r#"{{"FunctionName":"{arn}","ReservedConcurrentExecutions":40}}"#);
    assert_eq!(target["Input"], input);

    assert_eq!(plane.withdraw_release(&set), Ok(()));
    assert_eq!(plane.withdraw_release(&set), Ok(()), "one that is not there is no error");
    assert!(cloud.state().schedules.is_empty());
}

const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:orders";
const STREAM: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/clicks";

#[test]
fn what_feeds_a_function_is_told_by_its_mappings_that_are_on() {
    let queue = || Feed::Queue("m1".to_owned());
    let cases = [
        (vec![], Feed::Calls),
        (vec![("m1", QUEUE, "Enabled")], queue()),
        (vec![("m1", QUEUE, "Disabled")], Feed::Calls),
        (vec![("m0", STREAM, "Disabled"), ("m1", QUEUE, "Updating")], queue()),
        (vec![("m1", QUEUE, "Enabled"), ("m2", QUEUE, "Enabled")], Feed::Several),
        (vec![("m1", STREAM, "Enabled")], Feed::Calls),
        (vec![("m0", STREAM, "Enabled"), ("m1", QUEUE, "Enabled")], Feed::Several),
    ];
    for (mappings, expected) in cases {
        let cloud = Cloud::start(&[("shop", None)]);
        for (id, arn, state) in mappings {
            cloud.state().map("shop", id, arn, state);
        }
        assert_eq!(plane(&cloud).feed(&function("shop")), Ok(expected));
    }
}

#[test]
fn a_queues_limit_is_read_set_and_taken_away_by_its_mapping() {
    let cloud = Cloud::start(&[("shop", None)]);
    for number in 0..150 {
        cloud.state().map("other", &format!("o{number}"), STREAM, "Enabled");
    }
    cloud.state().map("shop", "m1", QUEUE, "Enabled");
    let (mut plane, shop) = (plane(&cloud), function("shop"));
    let target = Target { actuator: ActuatorKind::SqsMaximumConcurrency, ..reserved(&shop) };
    assert_eq!(plane.limit(target), Ok(None));
    assert_eq!(plane.set_limit(target, Some(5)), Ok(()));
    let known = Target { mapping: Some("m1"), ..target };
    assert_eq!(plane.limit(known), Ok(Some(5)));
    let fault = plane.set_limit(known, Some(1)).unwrap_err();
    assert!(matches!(fault, Fault::Refused(_)), "{fault:?}");
    // A second queue must not keep what was restricted from being given back.
    cloud.state().map("shop", "m2", QUEUE, "Enabled");
    assert!(matches!(plane.limit(target), Err(Fault::Refused(_))));
    assert_eq!(plane.set_limit(known, None), Ok(()));
    assert_eq!(plane.limit(known), Ok(None));

    let expires_at = "2026-01-05T02:00:00Z".parse().unwrap();
    for (prior, scaling) in [(Some(7), r#"{"MaximumConcurrency":7}"#), (None, "{}")] {
        let release = Release { key: "abc123".to_owned(), target: known, prior, expires_at };
        assert_eq!(plane.leave_release(&release), Ok(()));
        let left = cloud.state().schedules["bursar-abc123"]["Target"].clone();
        assert_eq!(left["Arn"], "arn:aws:scheduler:::aws-sdk:lambda:updateEventSourceMapping");
        assert_eq!(left["Input"], format!(r#"{{"ScalingConfig":{scaling},"Uuid":"m1"}}"#));
    }
    cloud.state().mappings.clear();
    assert!(matches!(plane.limit(known), Err(Fault::Missing(_))));
    assert!(matches!(plane.set_limit(known, Some(9)), Err(Fault::Missing(_))));
}
