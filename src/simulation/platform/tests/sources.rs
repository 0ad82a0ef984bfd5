use super::*;

const HOUR_MS: i64 = 3_600_000;

fn event(at: EventTime, way: Way) -> Request {
    Request { way, ..Request::new(at, 0) }
}

/// A platform with one function that takes one second, without initialisation.
fn one(change: impl FnOnce(&mut FunctionSpec)) -> Platform {
    let mut spec = FunctionSpec { init_ms: 0, ..function("f", constant(999.5)) };
    change(&mut spec);
    platform(vec![spec])
}

fn counts(platform: &Platform) -> Counts {
    platform.tally(None).counts
}

#[test]
fn throttled_asynchronous_events_wait_and_none_is_lost() {
    let mut platform = one(|spec| spec.reserved = Some(2));
    (0..600).for_each(|_| platform.offer(event(START, Way::Async)));
    platform.advance(START.plus_ms(10_000), &mut Vec::new());
    let early = counts(&platform);
    assert!(early.deferred > 600, "{early:?}");
    assert_eq!(platform.backlog(0), 600 - early.served);
    drain(&mut platform);
    let counts = counts(&platform);
    assert_eq!((counts.served, counts.dead, counts.invocations), (600, 0, 600));
    assert_eq!((counts.throttled, platform.backlog(0)), (0, 0));
}

#[test]
fn asynchronous_events_are_given_up_when_they_are_too_old_or_nothing_may_run() {
    for (reserved, age_ms_max, last_ms) in [(Some(1), 60_000, 60_000), (Some(0), 21_600_000, 0)] {
        let mut platform = one(|spec| {
            spec.reserved = reserved;
            spec.asynchronous.age_ms_max = age_ms_max;
        });
        (0..500).for_each(|number| {
            let client = Some(number);
            platform.offer(Request { client, ..event(START, Way::Async) });
        });
        drain(&mut platform);
        let counts = counts(&platform);
        assert_eq!(counts.served + counts.dead, 500);
        assert!(counts.dead > 400, "{counts:?}");
        let mut outcomes = Vec::new();
        platform.take_outcomes(&mut outcomes);
        assert_eq!(outcomes.len(), 500);
        let last = outcomes.iter().rfind(|outcome| outcome.ending == Ending::Dead).unwrap();
        assert!(last.at.since_ms(START) <= last_ms, "{last:?}");
    }
}

#[test]
fn the_back_off_of_throttled_events_ends_after_six_hours() {
    let mut platform = one(|spec| (spec.reserved, spec.timeout_ms) = (Some(1), 900_000));
    // Whatever comes in between finds the only environment busy.
    let blocker = Request { stretch: 1_000.0, ..Request::new(START, 0) };
    for turn in 0..7 * 4 {
        platform.offer(Request { at: START.plus_ms(turn * 900_001), ..blocker });
    }
    let early = START.plus_ms(100);
    (0..50).for_each(|_| platform.offer(event(early, Way::Async)));
    platform.advance(START.plus_ms(6 * HOUR_MS + 1_000), &mut Vec::new());
    assert_eq!(platform.backlog(0), 0);
    let counts = counts(&platform);
    assert_eq!(counts.dead, 50);
    // Doubling to five minutes, and then one in 225 s on average.
    assert!((50 * 90..=50 * 110).contains(&(counts.deferred)), "{counts:?}");
}

#[test]
fn failed_events_are_retried_after_one_and_two_minutes_and_then_given_up() {
    for (retries, attempts) in [(0, 1), (1, 2), (2, 3)] {
        let mut platform = one(|spec| spec.asynchronous.retries = retries);
        let poison = Request { error_share: 1.0, client: Some(7), ..event(START, Way::Async) };
        platform.offer(poison);
        let (reports, _) = records(&drain(&mut platform));
        assert_eq!(reports.len(), attempts);
        assert!(reports.iter().all(|report| report.contains("Status: error")), "{reports:?}");
        let id = |report: &String| report.split_whitespace().nth(2).unwrap().to_owned();
        assert!(reports.iter().all(|report| id(report) == id(&reports[0])), "{reports:?}");
        let mut outcomes = Vec::new();
        platform.take_outcomes(&mut outcomes);
        let at = START.plus_ms([1_000, 62_000, 183_000][attempts - 1]);
        assert_eq!(outcomes, [Outcome { client: 7, at, ending: Ending::Dead }]);
        assert_eq!((counts(&platform).failed, counts(&platform).dead), (attempts as u64, 1));
    }
}

#[test]
fn a_limit_of_the_mapping_lets_messages_wait_and_a_cap_on_the_function_kills_them() {
    for (concurrency, reserved, is_lossy) in [(Some(2), None, false), (None, Some(2), true)] {
        let mut platform = one(|spec| {
            spec.reserved = reserved;
            spec.queue =
                QueueSpec { batch: 1, receives_max: Some(3), concurrency, ..QueueSpec::default() };
        });
        for index in 0..1_200 {
            platform.offer(event(START.plus_ms(index * 100), Way::Queue));
        }
        let mut most = 0;
        while let Some(next) = platform.next_at() {
            platform.advance(next, &mut Vec::new());
            most = most.max(platform.busy(0));
        }
        let counts = counts(&platform);
        assert_eq!(most, 2);
        assert_eq!(counts.served + counts.dead, 1_200);
        assert_eq!(counts.dead > 100, is_lossy, "{counts:?}");
        assert_eq!(counts.dead == 0, !is_lossy, "{counts:?}");
        assert_eq!(platform.backlog(0), 0);
    }
}

#[test]
fn a_message_that_always_fails_comes_back_until_it_is_a_dead_letter() {
    let mut platform = one(|spec| spec.queue.receives_max = Some(4));
    let client = Some(1);
    platform.offer(Request { error_share: 1.0, client, ..event(START, Way::Queue) });
    let (reports, _) = records(&drain(&mut platform));
    assert_eq!(reports.len(), 4);
    let mut outcomes = Vec::new();
    platform.take_outcomes(&mut outcomes);
    // Hidden for 30 seconds each time.
    let at = START.plus_ms(120_000);
    assert_eq!(outcomes, [Outcome { client: 1, at, ending: Ending::Dead }]);
}

#[test]
fn pollers_grow_by_three_hundred_a_minute_and_batches_share_an_invocation() {
    let mut platform = one(|spec| {
        spec.timeout_ms = 900_000;
        spec.queue.batch = 10;
        spec.queue.visibility_ms = 900_000;
    });
    (0..20_000).for_each(|_| platform.offer(event(START, Way::Queue)));
    for (second, pollers) in [(0, 5), (10, 55), (60, 305)] {
        platform.advance(START.plus_ms(second * 1_000 + 1), &mut Vec::new());
        assert!(platform.busy(0).abs_diff(pollers) <= 5, "{second}: {}", platform.busy(0));
    }
    drain(&mut platform);
    let counts = counts(&platform);
    // The first message is taken before there are others.
    assert!(counts.invocations.abs_diff(2_000) <= 5, "{counts:?}");
    assert_eq!(counts.served, 20_000);
    // Ten times 999.5 ms, rounded up once.
    let billed_ms = counts.usage.0 / 512;
    assert!(billed_ms.abs_diff(20_000 * 1_000) <= 2_000 * 10, "{billed_ms}");
}

#[test]
fn a_shard_runs_one_batch_at_a_time_and_parallel_parts_as_many() {
    for (shards, parallel, busy) in [(1, 1, 1), (4, 1, 4), (2, 10, 20)] {
        let mut platform = one(|spec| {
            spec.stream = StreamSpec { shards, parallel, batch: 5, ..StreamSpec::default() };
        });
        for index in 0..2_000 {
            let way = Way::Stream { key: index };
            platform.offer(event(START.plus_ms(i64::from(index)), way));
        }
        let mut most = 0;
        while let Some(next) = platform.next_at() {
            platform.advance(next, &mut Vec::new());
            most = most.max(platform.busy(0));
        }
        assert_eq!((most, counts(&platform).served), (busy, 2_000));
    }
}

#[test]
fn a_record_that_always_fails_blocks_its_shard_until_it_expires_and_no_other() {
    let mut platform = one(|spec| {
        spec.stream =
            StreamSpec { shards: 2, batch: 1, retention_ms: 3_600_000, ..StreamSpec::default() };
    });
    let way = Way::Stream { key: 0 };
    platform.offer(Request { error_share: 1.0, ..event(START, way) });
    for index in 1..100 {
        platform.offer(event(START.plus_ms(index), Way::Stream { key: index as u16 % 2 }));
    }
    platform.advance(START.plus_ms(HOUR_MS - 1), &mut Vec::new());
    assert_eq!((counts(&platform).served, platform.backlog(0)), (50, 50));
    assert!(counts(&platform).failed > 10);
    drain(&mut platform);
    // What waited behind it is as old by then, but for what is younger by the last back-off.
    assert_eq!(counts(&platform).served + counts(&platform).dead, 100);
    assert_eq!(platform.backlog(0), 0);
}

#[test]
fn a_pause_loses_nothing_within_the_retention() {
    for way in [Way::Queue, Way::Stream { key: 3 }] {
        // A batch of a hundred takes a hundred seconds.
        let mut platform = one(|spec| spec.timeout_ms = 900_000);
        let key = platform.functions().next().unwrap().key.clone();
        let switch = |is_reading| Command::SetReading { function: key.clone(), is_reading };
        platform.command(switch(false), START).unwrap();
        for index in 0..50 {
            platform.offer(event(START.plus_ms(5_000 + index * 100), way));
        }
        platform.advance(START.plus_ms(60_000), &mut Vec::new());
        assert_eq!((counts(&platform).served, platform.backlog(0)), (0, 50), "{way:?}");
        platform.command(switch(true), platform.now()).unwrap();
        drain(&mut platform);
        assert_eq!((counts(&platform).served, platform.backlog(0)), (50, 0), "{way:?}");
    }
}

#[test]
fn one_record_too_many_in_all_backlogs_is_given_up_at_once() {
    let mut platform = one(|spec| spec.reserved = Some(1));
    platform.backlog = BACKLOG_MAX;
    platform.offer(event(START, Way::Async));
    platform.advance(START, &mut Vec::new());
    assert_eq!((counts(&platform).dead, platform.backlog), (1, BACKLOG_MAX));
}

#[test]
fn events_with_an_origin_are_told_of_once_and_their_invocations_carry_their_id() {
    let mut platform = one(|spec| {
        let name = "arn:aws:s3:::uploads".to_owned();
        spec.origin = Some(Origin { kind: crate::record::TriggerKind::S3, name });
    });
    let api_key = Some("AROAEXAMPLE");
    platform.offer(Request { api_key, error_share: 1.0, ..event(START, Way::Async) });
    let (reports, events) = records(&drain(&mut platform));
    assert_eq!((reports.len(), events.len()), (3, 1));
    let id = events[0]["request_id"].as_str().unwrap();
    assert!(reports.iter().all(|report| report.contains(id)));
    for (key, value) in [
        ("kind", "trigger"),
        ("trigger", "s3"),
        ("origin", "arn:aws:s3:::uploads"),
        ("principal", "AROAEXAMPLE"),
        ("function", "f"),
    ] {
        assert_eq!(events[0][key], value);
    }
}
