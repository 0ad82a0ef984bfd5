//! Every channel of a function by itself, where no other speaks.

use super::*;

/// One call a second of a function with 1 GB that runs for two seconds: 12 cents an hour.
fn usual(at: EventTime) -> Invocation<'static> {
    let Record::Invocation(call) = invocation("api", at) else {
        panic!("not an invocation");
    };
    let billed = BilledMs::try_new(2_000).unwrap();
    Invocation { billed, memory: MemoryMb::try_new(1_024).unwrap(), ..call }
}

/// A fifth of a cent.
fn dear(at: EventTime) -> Invocation<'static> {
    Invocation { billed: BilledMs::try_new(120_000).unwrap(), ..usual(at) }
}

/// An hour of the usual, then `seconds` of what `unusual` makes of each call, `per_second` of them.
fn change(
    seconds: i64,
    per_second: impl Fn(i64) -> i64,
    unusual: impl Fn(i64, Invocation<'static>) -> Invocation<'static>,
) -> World {
    let mut world = world();
    for second in 0..3_600 + seconds {
        let at = at_ms(second * 1_000);
        world.feed(&invocation("beat", at));
        if second < 3_600 {
            world.feed(&Record::Invocation(usual(at)));
            continue;
        }
        let calls = per_second(second - 3_600);
        for call in 0..calls {
            let at = at.plus_ms(call * 1_000 / calls);
            world.feed(&Record::Invocation(unusual(second - 3_600, usual(at))));
        }
    }
    world
}

fn opened(world: &World) -> Vec<(&Alarm, Vec<Channel>)> {
    let alarms = world.alarms().into_iter().filter(|alarm| alarm.state == AlarmState::Opened);
    alarms.map(|alarm| (alarm, alarm.channels.keys().copied().collect())).collect()
}

/// The first alarm: how many seconds after the change it came, and of which channels.
fn first(world: &World) -> Option<(i64, Vec<Channel>)> {
    let (alarm, channels) = opened(world).into_iter().next()?;
    Some((alarm.evidence_at.second() - START - 3_600, channels))
}

#[test]
fn calls_that_take_five_times_as_long_are_an_alarm_of_duration() {
    let longer = |_: i64, call: Invocation<'static>| Invocation {
        billed: BilledMs::try_new(10_000).unwrap(),
        ..call
    };
    let (after, channels) = first(&change(600, |_| 1, longer)).expect("no alarm");
    assert_eq!(channels, [Channel::Duration]);
    assert!((1..300).contains(&after), "{after}");
    // Ten times as long is worth a page: eighteen seconds more at a gigabyte, once a second.
    let dear = |_: i64, call: Invocation<'static>| Invocation {
        billed: BilledMs::try_new(20_000).unwrap(),
        ..call
    };
    let world = change(1_200, |_| 1, dear);
    let page = opened(&world).into_iter().find(|(alarm, _)| alarm.severity == Severity::Page);
    let (page, _) = page.expect("no page");
    let per_hour = page.excess_per_hour.usd() / (18.0 * 3_600.0 * 1.67e-5);
    assert!((0.8..1.1).contains(&per_hour), "{per_hour}");
    assert_eq!(first(&change(600, |_| 1, |_, call| call)), None);
}

#[test]
fn four_times_the_memory_is_an_alarm_of_memory() {
    let larger = |_: i64, call: Invocation<'static>| Invocation {
        memory: MemoryMb::try_new(4_096).unwrap(),
        ..call
    };
    let (after, channels) = first(&change(600, |_| 1, larger)).expect("no alarm");
    assert_eq!(channels, [Channel::Memory]);
    assert!((1..300).contains(&after), "{after}");
}

#[test]
fn calls_that_fail_are_an_alarm_of_retry() {
    let failing = |second: i64, call: Invocation<'static>| Invocation {
        status: if second % 4 < 3 { Status::Error } else { Status::Success },
        ..call
    };
    let (after, channels) = first(&change(900, |_| 1, failing)).expect("no alarm");
    assert_eq!(channels, [Channel::Retry]);
    assert!((1..600).contains(&after), "{after}");
}

#[test]
fn doublings_below_the_known_peak_are_an_alarm_of_recursion() {
    let mut world = world();
    for minute in 0..60 {
        world.traffic("api", minute * 60, minute * 60 + 60, 10 + 3 * minute);
    }
    world.traffic("api", 3_600, 5_400, 1);
    assert_eq!(first(&world), None);
    for second in 0..200 {
        world.traffic("api", 5_400 + second, 5_401 + second, 1 << (second / 16).min(8));
    }
    let alarms = opened(&world);
    let (alarm, channels) = alarms.first().expect("no alarm");
    assert_eq!(channels, &[Channel::Recursion]);
    assert!(alarm.evidence_at.second() < START + 5_600, "{}", alarm.evidence_at);
}

#[test]
fn bursts_that_no_second_can_tell_add_up_to_an_alarm_of_yoyo() {
    // Calls that always came in clumps come in larger ones.
    let mut world = world();
    for second in 0..10_800 {
        let at = at_ms(second * 1_000);
        world.feed(&invocation("beat", at));
        let clump = if second < 7_200 { 10 } else { 30 };
        for _ in 0..if second % 60 == 7 { clump } else { 0 } {
            world.feed(&Record::Invocation(dear(at)));
        }
    }
    let alarms = opened(&world);
    let (alarm, channels) = alarms.first().expect("no alarm");
    assert_eq!(channels, &[Channel::Yoyo]);
    let after = alarm.evidence_at.second() - START - 7_200;
    assert!((1..3_600).contains(&after), "{after}");
}

/// So many calls in each minute of thirty days, and of `days` days more.
fn month(days: i64, calls: impl Fn(i64) -> i64) -> World {
    let mut world = world();
    for minute in 0..1_440 * (30 + days) {
        let at = at_ms(minute * 60_000);
        world.feed(&invocation("beat", at));
        for call in 0..calls(minute) {
            world.feed(&Record::Invocation(dear(at.plus_ms(call * 20_000))));
        }
    }
    world
}

#[test]
fn twice_as_much_for_hours_is_an_alarm_of_cost() {
    let world = month(2, |minute| if minute < 1_440 * 30 { 1 } else { 2 });
    let alarms = opened(&world);
    let (alarm, channels) = alarms.first().expect("no alarm");
    assert_eq!(channels, &[Channel::Cost]);
    let hours = (alarm.evidence_at.second() - START) / 3_600 - 30 * 24;
    assert!((3..24).contains(&hours), "{hours}");
    // A call more each minute, a fifth of a cent.
    let (lost, per_hour) = (alarm.excess.nano_usd.usd(), alarm.excess_per_hour.usd());
    assert!((0.05..0.2).contains(&lost) && (0.1..0.14).contains(&per_hour), "{lost} {per_hour}");
}

#[test]
fn half_as_much_again_for_days_is_an_alarm_of_leech() {
    // Every hour is unlike the same hour of other days, but days are alike.
    let uneven = |minute: i64| {
        let (day, hour) = (minute / 1_440, minute / 60);
        i64::from(minute % 60 < 2 + 2 * ((7 * hour + 5 * day) % 24))
    };
    let leech = |minute: i64| i64::from(minute >= 1_440 * 30 && minute % 5 == 0);
    let world = month(14, |minute| uneven(minute) + leech(minute));
    let alarms = opened(&world);
    let since = |alarm: &Alarm| alarm.evidence_at.second() - START >= 30 * 86_400;
    let (alarm, channels) = alarms.iter().find(|(alarm, _)| since(alarm)).expect("no alarm");
    assert_eq!((alarm.severity, channels.contains(&Channel::Leech)), (Severity::Notice, true));
    let days = (alarm.evidence_at.second() - START) / 86_400;
    assert!((31..45).contains(&days), "{days}");
}

#[test]
fn a_slow_function_under_attack_has_one_alarm() {
    let mut world = world();
    for second in 0..3 * 3_600 {
        let at = at_ms(second * 1_000);
        world.feed(&invocation("beat", at));
        let attack = second >= 3_600 && second % 8 == 3;
        if second % 100 == 0 || attack {
            world.feed(&Record::Invocation(dear(at)));
        }
    }
    let alarms = opened(&world);
    let ids: std::collections::BTreeSet<_> = alarms.iter().map(|(alarm, _)| &alarm.id).collect();
    assert_eq!(ids.len(), 1, "{alarms:?}");
    assert!(world.alarms().iter().all(|alarm| alarm.state != AlarmState::Closed));
}

#[test]
fn bursts_that_were_paged_teach_nothing_wherever_in_the_minute_they_begin() {
    for shift in [0, 25, 45] {
        let mut world = world();
        for second in 0..3 * 3_600 {
            let burst = second >= 3_600 && (second + shift) % 120 < 30;
            world.traffic("api", second, second + 1, if burst { 100 } else { 2 });
        }
        let last = world.minutes();
        let last = last.iter().rfind(|row| &*row.function.name == "api").unwrap();
        assert!(last.expected < 3.0, "{shift}: {}", last.expected);
        // Every burst is under an alarm, however often it has been told.
        let of_last_hour = |alarm: &&&Alarm| alarm.evidence_at.second() >= START + 2 * 3_600;
        let alarms = world.alarms();
        assert!(alarms.iter().filter(of_last_hour).count() >= 30, "{shift}");
    }
}

#[test]
fn who_has_only_just_begun_to_watch_takes_nobody_for_an_attacker() {
    let mut world = world();
    for second in 0..3_600 {
        world.traffic("api", second, second + 1, 40);
    }
    assert!(opened(&world).is_empty(), "{:?}", opened(&world));
}

#[test]
fn who_raises_the_rate_little_by_little_is_found_when_it_has_gone_beyond_what_days_differ_by() {
    // Two days of one call a second, then three percent more each minute: never a surprise to
    // whatever only remembers the last minutes.
    let days = 2 * 86_400;
    let mut world = world();
    for second in 0..days + 7_200 {
        let ramp = 1.03_f64.powi(i32::try_from((second - days).max(0) / 60).unwrap());
        // The whole calls that have come due.
        let due = |second: i64| (ramp * second as f64).floor() as i64;
        for call in due(second)..due(second + 1) {
            let at = at_ms(second * 1_000 + (call - due(second)) * 10);
            world.feed(&Record::Invocation(usual(at)));
        }
    }
    let (after, channels) = opened(&world)
        .into_iter()
        .find(|(alarm, _)| alarm.severity == Severity::Page)
        .map(|(alarm, channels)| (alarm.evidence_at.second() - START - days, channels))
        .expect("no page");
    assert_eq!(channels, [Channel::RateFast]);
    // What is worth a page, six calls a second, is reached after an hour.
    assert!((2_400..5_400).contains(&after), "{after}");
}
