use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use serde_json::Value;

use super::*;
use crate::simulation::platform::Command;

const START: EventTime = EventTime::saturating_from_ms(1_767_614_400_000);

fn world(seed: u64) -> EmbeddedWorld {
    EmbeddedWorld::new(seed, START).unwrap()
}

fn steps(world: &mut EmbeddedWorld, from_ms: i64, to_ms: i64) -> Vec<Delivery> {
    let mut out = Vec::new();
    for ms in (from_ms..to_ms).step_by(100) {
        world.step(START.plus_ms(ms + 100), &mut out);
    }
    out
}

fn json(payload: &[u8]) -> Value {
    if payload.starts_with(b"\x1f\x8b") {
        let mut text = String::new();
        flate2::read::GzDecoder::new(payload).read_to_string(&mut text).unwrap();
        return serde_json::from_str(&text).unwrap();
    }
    serde_json::from_slice(payload).unwrap()
}

#[test]
fn the_past_has_sixty_to_a_hundred_requests_per_second_and_no_attack() {
    let mut world = world(1);
    let minutes: Vec<usize> = world.history(10).map(|deliveries| deliveries.len()).collect();
    assert_eq!(minutes.len(), 10);
    let tally = world.platform().tally(None).counts;
    let rate = tally.offered as f64 / 600.0;
    assert!((60.0..=100.0).contains(&rate), "{rate}");
    assert_eq!(tally.offered, tally.served);
    assert_eq!(world.platform().tally(Some(ATTACK)).counts.offered, 0);
    assert_eq!(world.platform().now(), START);
}

#[test]
fn rates_stay_in_their_range_all_day_and_names_differ() {
    let sum: f64 = SHOP
        .iter()
        .map(|service| match service.pace {
            Pace::PerSecond(rate) => rate,
            Pace::EveryMs(period_ms) => 1_000.0 / period_ms as f64,
        })
        .sum();
    for hour in 0..24 {
        let rate = sum * time_of_day(START.plus_ms(hour * 3_600_000));
        assert!((60.0..=100.0).contains(&rate), "{hour}: {rate}");
    }
    let names: BTreeSet<_> = SHOP.iter().map(|service| service.name).collect();
    assert_eq!(names.len(), SHOP.len());
}

#[test]
fn the_attack_begins_with_few_addresses_and_goes_on_with_ever_new_ones() {
    let mut world = world(1);
    let mut per_second: BTreeMap<i64, (u64, BTreeSet<String>)> = BTreeMap::new();
    let mut out = Vec::new();
    for second in 0..40 {
        let before = world.platform().tally(Some(ATTACK)).counts.offered;
        world.step(START.plus_ms((second + 1) * 1_000), &mut out);
        let made = world.platform().tally(Some(ATTACK)).counts.offered - before;
        let attacked = (4..27).contains(&second);
        // A step includes its last millisecond, so one request may be counted a second early.
        assert!(made.abs_diff(if attacked { 400 } else { 0 }) <= 1, "{second}: {made}");
    }
    world.step(START.plus_ms(60_000), &mut out);
    for delivery in &out {
        let value = json(delivery.text());
        if value["resourcePath"] == "/checkout" {
            let epoch: i64 = value["requestTimeEpoch"].as_str().unwrap().parse().unwrap();
            let entry = per_second.entry(epoch.div_euclid(1_000) - START.second()).or_default();
            entry.0 += 1;
            entry.1.insert(value["ip"].as_str().unwrap().to_owned());
        }
    }
    let addresses = |second| per_second[&second].1.len();
    assert!(addresses(10) <= 60 && addresses(20) > 350);
    assert_eq!(world.platform().tally(Some(ATTACK)).counts.offered, 23 * 400);
}

#[test]
fn blocking_and_capping_hold_the_attack() {
    let mut world = world(1);
    steps(&mut world, 0, 10_000);
    let known: BTreeSet<_> =
        (0..ATTACK_SOURCES).map(|source| address(derive(derive(1, 30), source))).collect();
    let now = world.platform().now();
    let block = Command::SetBlocked { addresses: known };
    assert_eq!(world.platform().command(block, now).unwrap(), START.plus_ms(11_000));
    steps(&mut world, 10_000, 14_000);
    let tally = world.platform().tally(Some(ATTACK)).counts;
    assert!(tally.blocked.abs_diff(3 * 400) <= 8, "{tally:?}");
    let key = world.platform().functions().next().unwrap().key.clone();
    let now = world.platform().now();
    world.platform().command(Command::SetReserved { function: key, value: 5 }, now).unwrap();
    steps(&mut world, 14_000, 18_000);
    let tally = world.platform().tally(Some(ATTACK)).counts;
    assert!(tally.throttled > 900, "{tally:?}");
}

#[test]
fn a_seed_gives_one_world_however_it_is_stepped() {
    let run = |seed, step_ms| {
        let mut world = world(seed);
        let mut out: Vec<_> = world.history(2).flatten().collect();
        for ms in (0..20_000).step_by(step_ms) {
            world.step(START.plus_ms(ms + step_ms as i64), &mut out);
        }
        out
    };
    let in_one = run(1, 20_000);
    assert_eq!(run(1, 100), run(1, 100));
    assert_ne!(run(1, 100), run(2, 100));
    // Steps of another size draw in another order, but deliver as much.
    let records = |out: &[Delivery]| out.iter().map(|delivery| delivery.records()).sum::<u32>();
    let (few, many) = (records(&in_one), records(&run(1, 100)));
    assert!(few.abs_diff(many) < many / 50, "{few} {many}");
}

#[test]
fn a_long_pause_is_caught_up_in_bounded_steps_and_time_never_goes_back() {
    let mut world = world(1);
    let mut out = Vec::new();
    let reached = world.step(START.plus_ms(3_600_000), &mut out);
    assert_eq!(reached, START.plus_ms(STEP_MS_MAX));
    assert_eq!(world.step(START, &mut out), reached);
    assert!(out.windows(2).all(|pair| pair[0].at <= pair[1].at));
}
