use std::collections::BTreeMap;

use super::*;
use crate::simulation::platform::Ending;
const START: EventTime = EventTime::saturating_from_ms(1_767_600_000_000);
const HOUR_MS: u64 = 3_600_000;

/// Functions with an API or without, and their calls a minute.
fn victims<'a>(functions: &[(&'a str, bool, u32)]) -> Vec<Victim<'a>> {
    let victim = |(function, &(name, http, calls)): (usize, &(&'a str, bool, u32))| Victim {
        name,
        function,
        callers: http.then(|| Callers::new(1, 5)),
        way: Way::Sync,
        mean_rps: f64::from(calls) / 60.0,
    };
    functions.iter().enumerate().map(victim).collect()
}

fn usual() -> Vec<Victim<'static>> {
    victims(&[("quiet", true, 6), ("busy", true, 600), ("queue", false, 6_000)])
}

fn try_aim(spec: &str, victims: &[Victim<'_>]) -> Result<Attack, AttackError> {
    Attack::new(&spec.parse().unwrap(), 0, victims, 1, START, HOUR_MS)
}

fn aim(spec: &str) -> Attack {
    try_aim(spec, &usual()).unwrap()
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
    let attack = try_aim("flood", &victims(&[("f", true, 0)])).unwrap();
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
fn floods_of_other_shapes_grow_as_they_say() {
    let per_minute = |spec: &str| {
        let mut counts = [0_u32; 10];
        for request in all(&mut aim(spec)) {
            counts[(request.at.since_ms(START) / 60_000) as usize] += 1;
        }
        counts
    };
    let ramp = per_minute("flood:rps=100,start=0s,duration=10m,shape=ramp");
    assert!(ramp[0].abs_diff(300) < 5 && ramp[9].abs_diff(5_700) < 5, "{ramp:?}");
    let geometric = per_minute("flood:rps=100,start=0s,duration=10m,shape=geometric,double=60s");
    for minute in 1..6 {
        let doubled = geometric[minute].abs_diff(2 * geometric[minute - 1]);
        assert!(doubled < 5, "{geometric:?}");
    }
    assert!(geometric[9] == 6_000, "{geometric:?}");
    let random = per_minute("flood:rps=100,start=0s,duration=10m,shape=random");
    let total: u32 = random.iter().sum();
    assert!(total.abs_diff(60_000) < 12_000, "{total}");
    assert!(random.iter().max() > random.iter().min(), "{random:?}");
}

#[test]
fn an_overlapping_botnet_also_uses_addresses_of_legitimate_callers() {
    let mut attack = aim("flood:rps=50,duration=10m,sources=5,overlap=0.4");
    let requests = all(&mut attack);
    let own = attack.addresses(attack.onset);
    let legitimate = requests.iter().filter(|request| !own.contains(&request.address.unwrap()));
    let share = legitimate.count() as f64 / requests.len() as f64;
    assert!((share - 0.4).abs() < 0.02, "{share}");
    assert_eq!(attack.sources, own);
}

#[test]
fn a_recursion_grows_by_its_answers_and_dies_when_it_is_refused() {
    let mut attack = aim("recursion:function=queue,rps=1,start=0s,fanout=2");
    let mut requests = Vec::new();
    attack.take(START.plus_ms(1_000), &mut requests);
    assert_eq!(requests.len(), 1);
    let outcome = |ending| Outcome { client: CLIENT_FIRST, at: START.plus_ms(1_000), ending };
    for generation in 1..=5 {
        for _ in 0..requests.len() {
            attack.answer(&outcome(Ending::Served));
        }
        requests.clear();
        attack.take(START.plus_ms(2_000), &mut requests);
        assert_eq!(requests.len(), 1 << generation);
    }
    (0..32).for_each(|_| attack.answer(&outcome(Ending::Throttled)));
    requests.clear();
    attack.take(START.plus_ms(60_000), &mut requests);
    assert_eq!(requests, []);
}

#[test]
fn an_adaptive_flood_stays_away_while_it_is_refused_and_comes_back_when_it_is_let_in() {
    let mut attack = aim("adaptive:rps=100,start=0s");
    let mut asked = [0_usize; 60];
    for (second, asked) in (0..).zip(&mut asked) {
        let mut requests = Vec::new();
        let now = START.plus_ms(1_000 * (second + 1));
        attack.take(now, &mut requests);
        *asked = requests.len();
        let blocked = (10..40).contains(&second);
        let ending = if blocked { Ending::Blocked } else { Ending::Served };
        for request in requests {
            attack.answer(&Outcome { client: request.client.unwrap(), at: now, ending });
        }
    }
    assert_eq!(asked[5], 100);
    assert!(asked[20..40].iter().sum::<usize>() < 5, "{asked:?}");
    assert_eq!(asked[59], 100);
}

#[test]
fn direct_invocations_have_no_address_and_a_trace_without_apis_has_a_busiest() {
    let requests = all(&mut aim("flood:function=queue,duration=1s"));
    assert!(requests.len() > 100);
    assert!(requests.iter().all(|request| request.address.is_none()));
    let attack = try_aim("flood", &victims(&[("a", false, 1), ("b", false, 9)])).unwrap();
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
        ("flood:start=55m", ["key start", "60 minutes"]),
    ] {
        let error = try_aim(spec, &usual()).unwrap_err().to_string();
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
