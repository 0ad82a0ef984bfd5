use std::collections::BTreeSet;

use core::net::IpAddr;

use super::*;

#[test]
fn a_reservation_takes_from_what_the_others_share() {
    let reserved = FunctionSpec { reserved: Some(900), ..function("big", constant(900.0)) };
    let mut platform = platform(vec![reserved, function("small", constant(900.0))]);
    for _ in 0..150 {
        platform.offer(request(START, 1));
    }
    drain(&mut platform);
    assert_eq!(platform.tally(None).counts.served, 100);
}

#[test]
fn a_change_shows_at_once_and_acts_after_its_delay_also_on_those_that_run() {
    let mut platform = platform(vec![function("f", constant(500.0))]);
    let key = platform.functions().next().unwrap().key.clone();
    for index in 0..1_000 {
        platform.offer(request(START.plus_ms(index * 10), 0));
    }
    platform.advance(START.plus_ms(2_000), &mut Vec::new());
    let set = Command::SetReserved { function: key.clone(), value: 10 };
    let effective = platform.command(set, platform.now()).unwrap();
    assert_eq!(effective, START.plus_ms(4_000));
    assert_eq!(platform.reserved(&key).unwrap(), Some(10));
    platform.advance(START.plus_ms(3_999), &mut Vec::new());
    assert_eq!(platform.tally(None).counts.throttled, 0);
    platform.advance(START.plus_ms(6_000), &mut Vec::new());
    assert!(platform.tally(None).counts.throttled > 100);
    assert!(platform.busy(0) <= 10);
    let clear = Command::ClearReserved { function: key.clone() };
    platform.command(clear, platform.now()).unwrap();
    assert_eq!(platform.reserved(&key).unwrap(), None);
    platform.advance(START.plus_ms(8_001), &mut Vec::new());
    let throttled = platform.tally(None).counts.throttled;
    drain(&mut platform);
    assert_eq!(platform.tally(None).counts.throttled, throttled);
    assert_eq!(platform.busy(0), 0);
}

#[test]
fn a_reservation_must_leave_the_unreserved_minimum() {
    let functions = vec![function("a", constant(9.0)), function("b", constant(9.0))];
    let mut platform = platform(functions.clone());
    let [a, b] = [0, 1].map(|index: usize| functions[index].key.clone());
    let mut set = |function: &FunctionKey, value| {
        platform.command(Command::SetReserved { function: function.clone(), value }, START)
    };
    set(&a, 600).unwrap();
    set(&b, 300).unwrap();
    let error = set(&b, 301).unwrap_err();
    assert_eq!(error, ControlError::UnreservedMinimum { minimum: 100 });
    assert!(error.to_string().contains("below its minimum value of [100]"), "{error}");
    set(&a, 599).unwrap();
    set(&b, 301).unwrap();
    assert_eq!(platform.reserved(&b).unwrap(), Some(301));
    let nobody: FunctionKey = "1:us-east-1:nobody".parse().unwrap();
    let error = platform.command(Command::ClearReserved { function: nobody }, START).unwrap_err();
    assert!(error.to_string().starts_with("ResourceNotFoundException"), "{error}");
}

#[test]
fn fifteen_calls_a_second_are_taken_and_no_more() {
    let mut platform = platform(vec![function("f", constant(9.0))]);
    let key = platform.functions().next().unwrap().key.clone();
    let mut call =
        |at, value| platform.command(Command::SetReserved { function: key.clone(), value }, at);
    let taken = (1..=40).filter(|value| call(START, *value).is_ok()).count();
    assert_eq!(taken, 15);
    let error = call(START, 1).unwrap_err();
    assert!(error.to_string().starts_with("TooManyRequestsException"), "{error}");
    let taken = (1..=40).filter(|value| call(START.plus_ms(200), *value).is_ok()).count();
    assert_eq!(taken, 3);
    assert_eq!(platform.reserved(&key).unwrap(), Some(3));
}

#[test]
fn settings_of_event_sources_are_checked_and_told() {
    let mut platform = platform(vec![function("f", constant(9.0))]);
    let function = platform.functions().next().unwrap().key.clone();
    let of = || function.clone();
    let hour = AsyncSpec { age_ms_max: 3_600_000, retries: 0 };
    let accepted = [
        Command::SetQueueConcurrency { function: of(), value: Some(2) },
        Command::SetReading { function: of(), is_reading: false },
        Command::SetAsync { function: of(), value: hour },
    ];
    for command in accepted {
        platform.command(command, START).unwrap();
    }
    let told = platform.controls(&function).unwrap();
    assert_eq!((told.queue_concurrency, told.is_reading), (Some(2), false));
    assert_eq!(told.asynchronous, hour);
    for (command, text) in [
        (Command::SetQueueConcurrency { function: of(), value: Some(1) }, "2 to 1000"),
        (Command::SetQueueConcurrency { function: of(), value: Some(1_001) }, "2 to 1000"),
        (
            Command::SetAsync { function: of(), value: AsyncSpec { age_ms_max: 59_999, ..hour } },
            "60 to 21600",
        ),
        (Command::SetAsync { function: of(), value: AsyncSpec { retries: 3, ..hour } }, "0 to 2"),
        (Command::SetStageLimit { function: of(), value: None }, "not found"),
    ] {
        let error = platform.command(command, START).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    assert_eq!(platform.controls(&function).unwrap(), told);
}

#[test]
fn a_stage_limit_holds_for_all_behind_the_stage_and_costs_the_functions_nothing() {
    let functions = ["a", "b"].map(|name| with_api(name, constant(20.0), ApiKind::Http));
    let key = functions[0].key.clone();
    let mut platform = platform(functions.into());
    let limit = Some(StageLimit { rps: 50, burst: 10 });
    let command = |value| Command::SetStageLimit { function: key.clone(), value };
    platform.command(command(limit), START).unwrap();
    assert_eq!(platform.stage_limit(&key).unwrap(), limit);
    for index in 0..20_000_i64 {
        let number = usize::from(index % 2 == 0);
        platform.offer(request(START.plus_ms(2_001 + index), number));
    }
    platform.advance(START.plus_ms(12_000), &mut Vec::new());
    let counts = platform.tally(None).counts;
    // Ten at once, and fifty a second for ten seconds.
    assert!(counts.served.abs_diff(10 + 500) <= 1, "{counts:?}");
    assert_eq!(counts.offered, counts.served + counts.limited);
    platform.command(command(None), platform.now()).unwrap();
    platform.advance(START.plus_ms(14_001), &mut Vec::new());
    let limited = platform.tally(None).counts.limited;
    drain(&mut platform);
    assert_eq!(platform.tally(None).counts.limited, limited);
}

#[test]
fn synchronous_requests_are_at_most_ten_a_second_for_each_environment() {
    for (way, served) in [(Way::Sync, 20), (Way::Async, 100)] {
        let quick = FunctionSpec { reserved: Some(2), init_ms: 0, ..function("f", constant(1.0)) };
        let mut platform = platform(vec![quick]);
        for index in 0..100 {
            platform.offer(Request { way, ..request(START.plus_ms(index * 5 / 10), 0) });
        }
        platform.advance(START.plus_ms(60_000), &mut Vec::new());
        assert_eq!(platform.tally(None).counts.served, served, "{way:?}");
    }
}

#[test]
fn blocked_addresses_get_403_from_rest_apis_only_and_start_nothing() {
    for (kind, blocked) in [(ApiKind::Rest, 50), (ApiKind::Http, 0)] {
        let mut platform = platform(vec![with_api("f", constant(20.0), kind)]);
        let (bad, good) = ("203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap());
        let addresses = BTreeSet::from([bad]);
        platform.command(Command::SetBlocked { addresses: addresses.clone() }, START).unwrap();
        assert_eq!(platform.blocked(), &addresses);
        platform.advance(START.plus_ms(2_000), &mut Vec::new());
        for index in 0..100 {
            let address = Some(if index % 2 == 0 { bad } else { good });
            platform.offer(Request { address, ..request(START.plus_ms(3_000 + index), 0) });
        }
        let (reports, accesses) = records(&drain(&mut platform));
        let refused: Vec<_> = accesses.iter().filter(|access| access["status"] == "403").collect();
        assert_eq!(refused.len(), blocked, "{kind:?}");
        assert!(refused.iter().all(|access| access["ip"] == "203.0.113.7"));
        assert!(refused.iter().all(|access| access["integrationRequestId"] == "-"));
        assert_eq!(reports.len(), 100 - blocked);
    }
    let many: BTreeSet<IpAddr> =
        (0..10_001_u32).map(|bits| IpAddr::from(bits.to_be_bytes())).collect();
    let mut platform = platform(vec![function("f", constant(9.0))]);
    let error = platform.command(Command::SetBlocked { addresses: many }, START).unwrap_err();
    assert_eq!(error, ControlError::AddressLimit { count: 10_001, limit: 10_000 });
}
