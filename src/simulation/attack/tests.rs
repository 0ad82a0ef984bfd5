use std::collections::BTreeMap;

use super::*;
use crate::simulation::duration::DurationModel;
use crate::simulation::trace::TraceFunction;
use crate::units::MemoryMb;

const START: EventTime = EventTime::saturating_from_ms(1_767_600_000_000);

fn trace(functions: &[(&str, TriggerGroup, u32)]) -> Trace {
    let function = |&(name, trigger, count): &(&str, TriggerGroup, u32)| TraceFunction {
        key: format!("1:us-east-1:{name}").parse().unwrap(),
        app: 5,
        trigger,
        counts: vec![count; 60],
        duration: DurationModel::log_normal(10.0, 20.0).unwrap(),
        memory: MemoryMb::try_new(128).unwrap(),
    };
    Trace { functions: functions.iter().map(function).collect(), first_minute: 0, minutes: 60 }
}

fn usual() -> Trace {
    trace(&[
        ("quiet", TriggerGroup::Http, 6),
        ("busy", TriggerGroup::Http, 600),
        ("queue", TriggerGroup::Other, 6_000),
    ])
}

fn aim(spec: &str) -> Attack {
    Attack::new(&spec.parse().unwrap(), 0, &usual(), 1, START).unwrap()
}

fn all(attack: &mut Attack) -> Vec<Request> {
    let mut out = Vec::new();
    for minute in 1..=60 {
        let before = out.len();
        let until = START.plus_ms(minute * 60_000);
        attack.take(until, &mut out);
        assert!(out[before..].iter().all(|request| request.at < until));
        assert!(out[before..].iter().all(|request| request.at >= until.plus_ms(-60_000)));
    }
    out
}

#[test]
fn a_flood_makes_exactly_its_requests_in_its_time_from_its_addresses() {
    let mut attack = aim("flood:rps=400,start=5m,duration=90s,sources=40");
    let requests = all(&mut attack);
    assert_eq!((requests.len(), attack.total()), (36_000, 36_000));
    assert!(requests.iter().all(|request| request.at >= attack.onset && request.at < attack.end));
    assert_eq!(attack.onset, START.plus_ms(300_000));
    assert_eq!(attack.end, START.plus_ms(390_000));
    let used: BTreeSet<_> = requests.iter().filter_map(|request| request.address).collect();
    assert_eq!(used.len(), 40);
    assert_eq!(used, attack.sources);
    let mut seconds: BTreeMap<i64, u32> = BTreeMap::new();
    requests.iter().for_each(|request| *seconds.entry(request.at.second()).or_default() += 1);
    assert!(seconds.values().all(|count| *count == 400));
}

#[test]
fn rates_come_from_the_victims_mean_the_minimum_or_the_number_given() {
    for (spec, functions, rps, factor) in [
        ("flood", vec![1], 200.0, 20.0),
        ("flood:function=quiet", vec![0], 50.0, 500.0),
        ("flood:function=qui,factor=3,min_rps=0", vec![0], 0.3, 3.0),
        ("flood:function=queue,factor=2", vec![2], 200.0, 2.0),
        ("flood:rps=7.5", vec![1], 7.5, 0.75),
        ("spread:functions=2,factor=2,min_rps=1", vec![1, 0], 20.2, 2.0),
    ] {
        let attack = aim(spec);
        assert_eq!(attack.functions, functions, "{spec}");
        assert!((attack.rps - rps).abs() < 1e-9, "{spec}: {}", attack.rps);
        assert!((attack.factor.unwrap() - factor).abs() < 1e-9, "{spec}: {:?}", attack.factor);
    }
    let silent = trace(&[("f", TriggerGroup::Http, 0)]);
    let attack = Attack::new(&"flood".parse().unwrap(), 0, &silent, 1, START).unwrap();
    assert_eq!((attack.rps, attack.factor), (50.0, None));
}

#[test]
fn a_yoyo_is_silent_in_its_pauses() {
    let mut attack = aim("yoyo:rps=10,start=0s,duration=5m,on=30s,off=90s");
    let requests = all(&mut attack);
    // Bursts at 0, 2 and 4 minutes.
    assert_eq!(requests.len(), 900);
    for request in &requests {
        assert!(request.at.since_ms(START) % 120_000 < 30_000, "{}", request.at);
    }
    let mut cut = aim("yoyo:rps=10,start=0s,duration=130s,on=30s,off=90s");
    assert_eq!(all(&mut cut).len(), 400);
    let mut odd = aim("yoyo:rps=100,start=0s,duration=20s,on=1500ms,off=1700ms");
    let requests = all(&mut odd);
    assert_eq!(requests.len() as u64, odd.total());
    assert!(requests.iter().all(|request| request.at.since_ms(START) % 3_200 < 1_500));
}

#[test]
fn a_spread_is_thin_over_its_functions() {
    let mut attack = aim("spread:functions=2,rps=20,duration=10m");
    let mut counts = [0_u32; 3];
    all(&mut attack).iter().for_each(|request| counts[request.function] += 1);
    assert_eq!(counts.iter().sum::<u32>(), 12_000);
    assert!(counts[0].abs_diff(6_000) < 300 && counts[2] == 0, "{counts:?}");
}

#[test]
fn rotation_changes_all_addresses() {
    let mut attack = aim("flood:rps=50,duration=10m,sources=5,rotate=2m");
    let mut epochs: BTreeMap<i64, BTreeSet<IpAddr>> = BTreeMap::new();
    for request in all(&mut attack) {
        let epoch = request.at.since_ms(attack.onset) / 120_000;
        epochs.entry(epoch).or_default().extend(request.address);
    }
    assert_eq!(epochs.len(), 5);
    assert!(epochs.values().all(|addresses| addresses.len() == 5));
    assert_eq!(attack.sources.len(), 25);
    assert!(!attack.sources_cut);
}

#[test]
fn direct_invocations_have_no_address_and_a_trace_without_apis_has_a_busiest() {
    let requests = all(&mut aim("flood:function=queue,duration=1s"));
    assert!(requests.len() > 100);
    assert!(requests.iter().all(|request| request.address.is_none()));
    let plain = trace(&[("a", TriggerGroup::Other, 1), ("b", TriggerGroup::Timer, 9)]);
    let attack = Attack::new(&"flood".parse().unwrap(), 0, &plain, 1, START).unwrap();
    assert_eq!(attack.functions, [1]);
}

#[test]
fn specifications_that_mean_nothing_name_the_key_and_what_is_accepted() {
    for (spec, parts) in [
        ("", ["kind", "flood, yoyo, spread"]),
        ("drizzle:rps=1", ["drizzle", "flood, yoyo, spread"]),
        ("flood:color=red", ["\"color\" is unknown", "sources"]),
        ("flood:on=30s", ["\"on\" is unknown", "accepted for flood"]),
        ("spread:function=a", ["\"function\" is unknown", "functions"]),
        ("flood:rps", ["\"rps\" has no value", "key=value"]),
        ("flood:rps=1,rps=2", ["\"rps\" is given twice", "accepted"]),
        ("flood:rps=1,factor=2", ["\"rps\" excludes", "accepted"]),
        ("flood:rps=0", ["key rps", "up to 100000"]),
        ("flood:rps=NaN", ["key rps", "up to 100000"]),
        ("flood:factor=-1", ["key factor", "up to 10000"]),
        ("flood:min_rps=1e9", ["key min_rps", "0 to 100000"]),
        ("flood:sources=0", ["key sources", "1 to 100000"]),
        ("flood:start=soon", ["key start", "24h"]),
        ("flood:start=20", ["key start", "24h"]),
        ("flood:duration=0s", ["key duration", "1s to 24h"]),
        ("flood:duration=25h", ["key duration", "1s to 24h"]),
        ("flood:rotate=5d", ["key rotate", "1s to 24h"]),
        ("yoyo:on=99999999999999999999h", ["key on", "1s to 24h"]),
        ("yoyo:off=1ms", ["key off", "1s to 24h"]),
        ("spread:functions=1001", ["key functions", "1 to 1000"]),
        ("flood:function=", ["key function", "auto"]),
    ] {
        let error = spec.parse::<AttackSpec>().unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{spec}: {error}");
    }
    for (spec, parts) in [
        ("flood:function=nobody", ["key function", "not 0"]),
        ("flood:function=qu", ["key function", "not 2"]),
        ("spread:functions=3", ["key functions", "at most the 2"]),
        ("flood:start=55m", ["key start", "60 emitted minutes"]),
    ] {
        let spec: AttackSpec = spec.parse().unwrap();
        let error = Attack::new(&spec, 0, &usual(), 1, START).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn the_grammar_names_every_key_and_its_default() {
    for key in [
        "factor=20",
        "min_rps=50",
        "rps=N",
        "start=20m",
        "duration=10m",
        "sources=20",
        "rotate=",
        "function=auto",
        "on=30s",
        "off=90s",
        "functions=10",
    ] {
        assert!(GRAMMAR.contains(key), "{key}");
    }
}
