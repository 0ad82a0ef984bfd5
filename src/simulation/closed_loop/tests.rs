use std::path::Path;

use super::*;
use crate::simulation::recording::unread;
use crate::simulation::scenario::{Money, read_text};

fn scenario(function: &str, rest: &str) -> Scenario {
    let text = format!(
        "question = \"?\"\n[time]\npast = \"5m\"\nlength = \"10m\"\n\
         [[function]]\nname = \"f\"\nmemory_mb = 512\nmedian_ms = 500\np99_ms = 600\n{function}\n\
         [[load]]\nfunction = \"f\"\nrps = 0.2\n{rest}"
    );
    read_text(Path::new("test.toml"), &text, unread).unwrap()
}

const ATTACK: &str = "[[attack]]\nkind = \"flood\"\nfunction = \"f\"\nrps = 10\n\
                      start = \"8m\"\nduration = \"2m\"\nsources = 5\n";

fn runs(scenario: &Scenario) -> Trial {
    trial(scenario, 1, Vec::new(), 1).unwrap()
}

fn run<'a>(trial: &'a Trial, policy: &str) -> &'a Run {
    trial.runs.iter().find(|run| run.policy == policy).unwrap()
}

#[test]
fn what_waits_when_the_window_ends_is_run_and_paid() {
    let free = runs(&scenario("trigger = \"s3\"", ATTACK));
    let narrow = runs(&scenario("trigger = \"s3\"\nreserved = 1", ATTACK));
    let (free, narrow) = (run(&free, "nothing"), run(&narrow, "nothing"));
    // Twenty times as much comes as one environment does in the window, and all of it is done.
    assert!(free.ticks.len() < 660 && narrow.ticks.len() > 900, "{}", narrow.ticks.len());
    let ratio = narrow.leaked().usd() / free.leaked().usd();
    assert!((0.9..1.01).contains(&ratio), "{ratio}");
    assert_eq!(narrow.asked_from(0).1, 0);
}

#[test]
fn who_stops_a_function_for_good_denies_what_waits() {
    let text = scenario("trigger = \"s3\"", ATTACK);
    let money = Money { monthly: Some(NanoUsd(1)), spent: NanoUsd(1) };
    let trial = runs(&Scenario { money, ..text });
    let cap = run(&trial, "monthly cost cap");
    let late = run(&trial, "budget 8 h late");
    // The month was over before the window: both stop at once, and leak next to nothing.
    for run in [cap, late] {
        assert!(run.holding && !run.is_idle, "{}", run.policy);
        assert!(run.leaked().usd() < 0.01 * trial.runs[0].leaked().usd());
        let (offered, denied) = run.asked_from(30);
        assert_eq!(offered, denied);
    }
}

#[test]
fn no_reference_does_better_than_the_oracle_at_no_more_denials() {
    for function in ["trigger = \"rest\"", "trigger = \"http\"", "trigger = \"sqs\""] {
        let rotating = format!("{ATTACK}rotate = \"1s\"\n");
        for attack in [ATTACK, &rotating, &format!("{ATTACK}{rotating}")] {
            let scenario = scenario(function, attack);
            let trial = runs(&scenario);
            let oracle = trial.runs.last().unwrap();
            let first = scenario.second(trial.attacks[0].onset);
            assert_eq!(oracle.policy, "oracle");
            for other in &trial.runs {
                let worse = other.asked_from(first).1 > oracle.asked_from(first).1;
                assert!(worse || other.leaked() >= oracle.leaked(), "{}", other.policy);
            }
        }
    }
}

#[test]
fn the_oracle_refuses_as_many_addresses_as_fit_and_gives_back_what_was_there() {
    let wide = ATTACK.replace("sources = 5", "sources = 40");
    let text = scenario("trigger = \"rest\"\nreserved = 50", &wide);
    let mut platform = text.platform.clone();
    platform.blocked_addresses_max = 30;
    let trial = runs(&Scenario { platform, ..text });
    let oracle = trial.runs.last().unwrap();
    let refused = oracle.changes.iter().filter(|change| change.place == Place::Firewall);
    assert_eq!(refused.map(|change| change.added.len()).max(), Some(30));
    assert!(!oracle.holding);
    assert!(oracle.leaked().usd() < 0.5 * trial.runs[0].leaked().usd());
}

/// Stands for a pipeline of which a part has died.
#[derive(Debug)]
struct Dead;

impl Policy for Dead {
    fn name(&self) -> &'static str {
        "dead"
    }

    fn claims(&self) -> Claims {
        Claims::default()
    }

    fn fault(&self) -> Option<String> {
        Some("a shard of the pipeline has died".to_owned())
    }
}

#[test]
fn who_has_died_has_broken_a_promise() {
    let scenario = scenario("trigger = \"rest\"", "");
    let guards: Vec<Hand> = vec![(Box::new(Dead), SharedPlant::default())];
    let told = each(&scenario, 1, guards, 1, |place, trial| {
        let told = trial.runs.iter().map(|run| (run.policy, run.broken.clone()));
        (place, told.collect::<Vec<_>>())
    });
    let broken = vec!["a shard of the pipeline has died".to_owned()];
    assert_eq!(told.unwrap(), [(0, vec![("nothing", Vec::new()), ("dead", broken)])]);
}
