//! An alarm ends when what led to it has, and not before.

use super::*;

/// After an hour of the usual a flood of 200 calls a second for half a minute, and the usual again:
/// when the first alarm closed, in seconds after the flood's end.
fn closed_after(usual: impl Fn(&mut World, i64), until: i64) -> Option<i64> {
    let mut world = world();
    for second in 0..until {
        usual(&mut world, second);
        let flood = if (3_600..3_630).contains(&second) { 200 } else { 0 };
        world.traffic("api", second, second + 1, flood);
    }
    let alarms = world.alarms();
    assert!(alarms.iter().any(|alarm| alarm.severity == Severity::Page), "the flood was missed");
    let closed = alarms.iter().find(|alarm| alarm.state == AlarmState::Closed)?;
    Some(closed.decided_at.second() - START - 3_630)
}

#[test]
fn calls_that_come_in_bursts_end_an_alarm_as_soon_as_even_ones() {
    let bursts = |world: &mut World, second: i64| {
        if second % 30 == 0 {
            world.traffic("api", second, second + 1, 30);
        }
    };
    let even = |world: &mut World, second: i64| world.traffic("api", second, second + 1, 1);
    for (name, closed) in
        [("bursts", closed_after(bursts, 3_900)), ("even", closed_after(even, 3_900))]
    {
        assert!(closed.is_some_and(|after| (5..=90).contains(&after)), "{name}: {closed:?}");
    }
}

#[test]
fn what_is_always_turned_away_keeps_no_alarm_open() {
    let full = |world: &mut World, second: i64| {
        world.traffic("api", second, second + 1, 1);
        world.refusals("api", second, 20);
    };
    let closed = closed_after(full, 3_900);
    assert!(closed.is_some_and(|after| (5..=90).contains(&after)), "{closed:?}");
}

#[test]
fn what_has_become_dear_is_over_when_nobody_calls_it_any_more() {
    let mut world = world();
    for second in 0..8_000 {
        world.feed(&invocation("beat", at_ms(second * 1_000)));
        let billed = if second < 3_600 { 150 } else { 30_000 };
        let Record::Invocation(call) = invocation("api", at_ms(second * 1_000)) else {
            panic!("not an invocation");
        };
        if second < 3_900 {
            let billed = BilledMs::try_new(billed).unwrap();
            world.feed(&Record::Invocation(Invocation { billed, ..call }));
        }
    }
    let alarms = world.alarms();
    let opened = alarms.first().expect("no alarm");
    assert!(opened.channels.contains_key(&Channel::Duration), "{:?}", opened.channels);
    let closed = alarms.iter().find(|alarm| alarm.state == AlarmState::Closed).expect("still open");
    let after = closed.decided_at.second() - START - 3_900;
    assert!((60..=3_600).contains(&after), "{after}");
}
