use core::net::IpAddr;
use std::path::Path;

use super::measures::{Span, beyond, bounds, contained, is_false, reached, refusals};
use super::*;
use crate::record::FunctionKey;
use crate::simulation::closed_loop::{Run, Sources, Tick, VictimTick};
use crate::simulation::plant::{Change, Direction, Place};
use crate::simulation::policy::Refusal;
use crate::simulation::recording::unread;
use crate::simulation::scenario::read_text;
use crate::simulation::world::World;
use crate::units::NanoUsd;

/// Two functions, and two attacks: on the first from second 60 to 120, on the second from second
/// 300 to 360. Records tell after 1 s and 1 s to 3 s, and changes take 2 s: 5 s are unavoidable.
fn scenario(length: &str, expect: &str) -> Scenario {
    let text = format!(
        "question = \"?\"\n[time]\npast = \"0s\"\nlength = \"{length}\"\n\
         [platform]\nbatch = \"1s\"\ndelay_min = \"1s\"\ndelay_max = \"3s\"\n\
         propagation = \"2s\"\n\
         [[function]]\nname = \"a\"\ntrigger = \"rest\"\n\
         [[function]]\nname = \"b\"\ntrigger = \"rest\"\n\
         [[load]]\nfunction = \"*\"\nrps = 2\n\
         [[attack]]\nkind = \"flood\"\nfunction = \"a\"\nrps = 10\nsources = 2\n\
         start = \"60s\"\nduration = \"60s\"\n\
         [[attack]]\nkind = \"flood\"\nfunction = \"b\"\nrps = 10\nsources = 2\n\
         start = \"300s\"\nduration = \"60s\"\n[expect]\n{expect}"
    );
    read_text(Path::new("test.toml"), &text, unread).unwrap()
}

fn trial(scenario: &Scenario, runs: Vec<Run>) -> Trial {
    let attacks = World::new(scenario, 1).unwrap().attacks().to_vec();
    let first = scenario.second(attacks[0].onset);
    let reach = runs.iter().map(|run| (run.leaked(), run.asked_from(first).1)).collect();
    Trial { seed: 1, attacks, runs, reach }
}

/// A run whose seconds cost and deny what `of` says: hostile cost in nano-dollars, denied of ten
/// that come as long as the window lasts.
fn run(
    policy: &'static str,
    scenario: &Scenario,
    seconds: usize,
    of: impl Fn(usize) -> (i64, u64),
) -> Run {
    let window = scenario.second(scenario.end());
    let tick = |second: usize| {
        let (cost, denied) = of(second);
        let offered = if second < window { 10 } else { 0 };
        Tick { offered, denied, attack_cost: NanoUsd(cost), ..Tick::default() }
    };
    Run { policy, ticks: (0..seconds).map(tick).collect(), ..Run::default() }
}

fn is_on(second: usize) -> bool {
    (60..120).contains(&second) || (300..360).contains(&second)
}

fn name(scenario: &Scenario, index: usize) -> FunctionKey {
    scenario.functions[index].key.clone()
}

fn change(scenario: &Scenario, second: i64, place: Place, added: &[&str]) -> Change {
    let at = scenario.start.plus_ms(second * 1_000);
    Change {
        at,
        effective: at,
        place,
        direction: Direction::Tighter,
        value: None,
        added: added.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

#[test]
fn what_is_put_off_until_after_the_window_is_not_saved() {
    let scenario = scenario("10m", "");
    // 120 seconds at 1,000 without anybody's doing; a queue lets half of it pass later and gives up
    // three legitimate events then.
    let nothing = run("nothing", &scenario, 600, |second| (i64::from(is_on(second)) * 1_000, 0));
    let late = run("bursar", &scenario, 660, |second| match second {
        600..660 => (1_000, u64::from(second >= 657)),
        _ => (0, 0),
    });
    let score = TrialScore::new(&scenario, &trial(&scenario, vec![nothing, late]));
    let [_, late] = score.runs() else { panic!("two runs") };
    assert_eq!((late.leaked_nano_usd, late.saved_nano_usd), (NanoUsd(60_000), NanoUsd(60_000)));
    // Of the 5,400 that came from second 60 to the end of the window.
    assert_eq!(late.denied, 3);
    assert!((late.denied_share - 3.0 / 5_400.0).abs() < 1e-12);
    // Five unavoidable seconds are 5,000; 55,000 more are 55 seconds of the mean burn.
    assert_eq!(late.beyond_ms, Some(55_000));
}

#[test]
fn the_burn_is_that_of_the_attack_and_not_of_what_follows() {
    let scenario = scenario("10m", "");
    let trial = trial(&scenario, Vec::new());
    let span = Span::of(&scenario, &trial.attacks).unwrap();
    // The same attack, but an hour of retries after it at 1 a second.
    let free = run("nothing", &scenario, 4_200, |second| match second {
        _ if is_on(second) => (1_000, 0),
        600.. => (1, 0),
        _ => (0, 0),
    });
    assert_eq!(beyond(&span, NanoUsd(25_000), &free.ticks), Some(20_000));
    assert_eq!(beyond(&span, NanoUsd(4_000), &free.ticks), Some(0));
}

#[test]
fn contained_is_what_stays_below_a_tenth() {
    let ticks = |costs: &dyn Fn(usize) -> i64| -> Vec<Tick> {
        let tick = |second| Tick { attack_cost: NanoUsd(costs(second)), ..Tick::default() };
        (0..60).map(tick).collect()
    };
    let free = ticks(&|_| 1_000);
    // Seven full seconds: the last ten-second window with more than a tenth begins at second 5.
    let stopped = ticks(&|second| if second < 7 { 1_000 } else { 0 });
    assert_eq!(contained(&stopped, &free), Some(6_000));
    assert_eq!(contained(&free, &free), None);
    assert_eq!(contained(&ticks(&|_| 90), &free), Some(0));
}

#[test]
fn the_least_leak_is_looked_for_at_no_more_denials() {
    let reach = [(NanoUsd(900), 0), (NanoUsd(300), 10), (NanoUsd(100), 50)];
    // From 10 to 50 denials 200 less: 5 less for each.
    for (denied, least) in [(0, 900), (9, 360), (10, 300), (49, 105), (50, 100), (1_000, 100)] {
        assert_eq!(reached(&reach, denied), Some(NanoUsd(least)));
    }
    assert_eq!(reached(&reach[1..], 9), None);
}

#[test]
fn a_change_is_false_unless_one_attack_is_its_reason() {
    let scenario = scenario("10m", "");
    let trial = trial(&scenario, Vec::new());
    let hostile: [IpAddr; 2] = ["198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap()];
    let sources = hostile.map(|address| Sources { listed: [address].into(), cut: false });
    let run = Run { sources: sources.to_vec(), ..Run::default() };
    let (a, b) = (|| name(&scenario, 0), || name(&scenario, 1));
    for (second, place, added, is_it) in [
        (59, Place::Function(a()), &[][..], true),
        (60, Place::Function(a()), &[], false),
        // A minute after the end it still counts, later it does not, and not until the next.
        (180, Place::Function(a()), &[], false),
        (181, Place::Function(a()), &[], true),
        (320, Place::Function(a()), &[], true),
        (320, Place::Function(b()), &[], false),
        (70, Place::Function(b()), &[], true),
        (320, Place::Queue(b()), &[], false),
        (70, Place::Stage(b()), &[], true),
        (70, Place::Firewall, &["203.0.113.7"], true),
        (70, Place::Firewall, &["203.0.113.7", "198.51.100.1"], false),
        (320, Place::Firewall, &["198.51.100.1"], true),
        (320, Place::Firewall, &["198.51.100.2"], false),
    ] {
        let change = change(&scenario, second, place, added);
        assert_eq!(is_false(&scenario, &trial, &run, &change), is_it, "{change:?}");
    }
}

fn victim(cost: i64, seconds: usize) -> Vec<VictimTick> {
    vec![VictimTick { cost: NanoUsd(cost), offered: 4, denied: 1 }; seconds]
}

#[test]
fn a_bound_counts_where_its_hour_lies_in_the_window() {
    let scenario = scenario("90m", "");
    let mut told = Run { victims: [(0, victim(10, 5_400))].into(), ..Run::default() };
    let nothing = Run { victims: [(0, victim(40, 5_400))].into(), ..Run::default() };
    assert_eq!(bounds(&scenario, &told, &nothing).told, 0);
    let at = |second: i64| scenario.start.plus_ms(second * 1_000);
    // 3,600 seconds at 10 are 36,000, without anybody's doing 144,000. The last hour that is
    // complete begins at second 1,800.
    told.claims.bounds = vec![
        (at(60), name(&scenario, 0), NanoUsd(36_000)),
        (at(1_800), name(&scenario, 0), NanoUsd(35_999)),
        (at(1_801), name(&scenario, 0), NanoUsd(1)),
        (at(60), name(&scenario, 1), NanoUsd(1)),
    ];
    let found = bounds(&scenario, &told, &nothing);
    assert_eq!((found.told, found.passed), (2, 1));
    assert!((found.reach.unwrap() - 144_000.0 / 35_999.0).abs() < 1e-9);
}

#[test]
fn what_was_said_to_be_refused_is_beside_what_was_denied() {
    let scenario = scenario("10m", "");
    let mut run = Run { victims: [(0, victim(10, 600))].into(), ..Run::default() };
    assert_eq!(refusals(&scenario, &run), None);
    let refusal = |from: i64, until: Option<i64>, share| Refusal {
        from: scenario.start.plus_ms(from * 1_000),
        until: until.map(|until| scenario.start.plus_ms(until * 1_000)),
        function: name(&scenario, 0),
        share,
    };
    // 100 seconds at 0.2, then 300 at 0.4, of which 100 overlap with 0.6; one of four is denied.
    run.claims.refusals = vec![
        refusal(100, Some(200), 0.2),
        refusal(200, Some(500), 0.4),
        refusal(400, Some(500), 0.6),
    ];
    let (said, denied) = refusals(&scenario, &run).unwrap();
    assert!((said - (0.2 * 100.0 + 0.4 * 200.0 + 0.6 * 100.0) / 400.0).abs() < 1e-9);
    assert!((denied - 0.25).abs() < 1e-9);
    // What is never given back is followed to the end of the window and no further.
    run.claims.refusals = vec![refusal(500, None, 0.1)];
    assert!((refusals(&scenario, &run).unwrap().0 - 0.1).abs() < 1e-9);
}

#[test]
fn the_worst_seed_counts_and_not_the_sum_over_seeds() {
    let scenario = scenario("10m", "actions_max = 2\nbound_holds = true");
    let scored = |seed: u64, actions: i64| {
        let mut run = run("bursar", &scenario, 600, |_| (0, 0));
        let place = || Place::Function(name(&scenario, 0));
        run.changes = (0..actions).map(|at| change(&scenario, 60 + at, place(), &[])).collect();
        TrialScore::new(&scenario, &Trial { seed, ..trial(&scenario, vec![run]) })
    };
    let score = ScenarioScore::new(&scenario, vec![scored(1, 2), scored(2, 1), scored(3, 2)]);
    assert_eq!((score.policies[0].actions, score.seeds.as_slice()), (5, &[1, 2, 3][..]));
    let of = |what: &str| score.expect.iter().find(|verdict| verdict.what == what).unwrap();
    assert!(of("actions_max").holds);
    // No bound was told, so none has held.
    assert_eq!((of("bound_holds").found, of("bound_holds").holds), (None, false));
    let score = ScenarioScore::new(&scenario, vec![scored(1, 3)]);
    assert!(!score.expect.iter().any(|verdict| verdict.what == "actions_max" && verdict.holds));
}

#[test]
fn a_policy_that_waits_for_a_budget_says_that_it_cannot_act() {
    let scenario = scenario("10m", "");
    let idle = Run { is_idle: true, ..run("monthly cost cap", &scenario, 600, |_| (7, 0)) };
    let nothing = run("nothing", &scenario, 600, |_| (7, 0));
    let score = TrialScore::new(&scenario, &trial(&scenario, vec![nothing, idle]));
    let score = ScenarioScore::new(&scenario, vec![score]);
    let rows = score.table().1;
    assert_eq!(rows[0][1], "0/2");
    assert_eq!(rows[1][..3], ["monthly cost cap", "cannot act here", "-"]);
}
