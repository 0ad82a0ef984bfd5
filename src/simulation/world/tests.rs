use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::simulation::platform::Ending;
use crate::simulation::recording::unread;
use crate::simulation::scenario::read_text;

fn scenario(rest: &str) -> Scenario {
    let head = "question = \"?\"\n[time]\npast = \"10m\"\nlength = \"30m\"\n\
                [[function]]\nname = \"api\"\ntrigger = \"rest\"\n";
    read_text(Path::new("test.toml"), &format!("{head}{rest}"), unread).unwrap()
}

fn requests(scenario: &Scenario, seed: u64, step_ms: i64) -> Vec<Request> {
    let mut world = World::new(scenario, seed).unwrap();
    let mut out = Vec::new();
    let mut now = scenario.begin();
    while now < scenario.end() {
        now = now.plus_ms(step_ms);
        let first = out.len();
        world.take(now, &mut out);
        assert!(out[first..].iter().all(|request| request.at < now));
        assert!(out[first..].iter().all(|request| request.at >= now.plus_ms(-step_ms)));
    }
    out
}

#[test]
fn one_seed_gives_the_same_requests_whatever_the_steps_are() {
    let scenario = scenario(
        "[[load]]\nfunction = \"api\"\nrps = 5\ndispersion = 0.2\n\
         [[attack]]\nkind = \"flood\"\nrps = 20\nstart = \"10m\"\n",
    );
    let found = requests(&scenario, 1, 1_000);
    assert_eq!(found, requests(&scenario, 1, 60_000));
    assert_ne!(found, requests(&scenario, 2, 1_000));
    let hostile = found.iter().filter(|request| request.attack.is_some()).count();
    assert_eq!(hostile, 12_000);
    assert!(found.iter().all(|request| request.address.is_some()));
}

#[test]
fn random_load_has_the_mean_and_the_dispersion_asked_for() {
    let scenario = scenario("[[load]]\nfunction = \"api\"\nrps = 10\ndispersion = 0.5\n");
    let mut seconds: BTreeMap<i64, f64> = BTreeMap::new();
    for second in scenario.begin().second()..scenario.end().second() {
        seconds.insert(second, 0.0);
    }
    for request in requests(&scenario, 3, 1_000) {
        *seconds.entry(request.at.second()).or_default() += 1.0;
    }
    let n = seconds.len() as f64;
    let mean = seconds.values().sum::<f64>() / n;
    let variance = seconds.values().map(|count| (count - mean) * (count - mean)).sum::<f64>() / n;
    assert!((mean - 10.0).abs() < 0.8, "{mean}");
    // 10 + 0.5 × 100.
    assert!((variance - 60.0).abs() < 12.0, "{variance}");
}

#[test]
fn a_beat_beats_and_a_surge_brings_new_callers() {
    let beats =
        requests(&scenario("[[load]]\nfunction = \"api\"\nevery = \"5m\"\ncalls = 7\n"), 1, 1_000);
    assert_eq!(beats.len(), 8 * 7);
    assert!(beats.iter().all(|request| request.at.ms() % 300_000 == 0));
    let scenario = scenario(
        "[[load]]\nfunction = \"api\"\nrps = 10\nusers = 50\n\
         [[surge]]\nfunction = \"api\"\nstart = \"10m\"\nduration = \"10m\"\nfactor = 5\n",
    );
    let found = requests(&scenario, 1, 1_000);
    let inside =
        |request: &&Request| (600_000..1_200_000).contains(&request.at.since_ms(scenario.start));
    let (crowd, usual): (Vec<_>, Vec<_>) = found.iter().partition(inside);
    let callers = |requests: &[&Request]| {
        requests.iter().filter_map(|request| request.address).collect::<BTreeSet<_>>().len()
    };
    assert!(callers(&usual) <= 50 && callers(&crowd) > 3_000);
    let per_second = crowd.len() as f64 / 600.0;
    assert!((40.0..50.0).contains(&per_second), "{per_second}");
}

#[test]
fn whoever_asks_after_a_deploy_gets_the_new_version() {
    let scenario = scenario(
        "[[load]]\nfunction = \"api\"\nrps = 5\n\
         [[deploy]]\nfunction = \"api\"\nstart = \"5m\"\nslow = 2.5\n\
         [[attack]]\nkind = \"flood\"\nrps = 20\nslow = 2\nstart = \"4m\"\nduration = \"2m\"\n",
    );
    let since = scenario.start.plus_ms(300_000);
    for request in requests(&scenario, 1, 1_000) {
        let version = if request.at < since { 1.0 } else { 2.5 };
        let wish = if request.attack.is_some() { 2.0 } else { 1.0 };
        assert_eq!(request.stretch, version * wish, "{}", request.at);
    }
}

#[test]
fn users_think_try_again_and_give_up() {
    let scenario = scenario(
        "[[load]]\nfunction = \"api\"\nrps = 2\nrequests_per_session = 3\nthink = \"1s\"\n\
         retries = 2\nback_off = \"200ms\"\n",
    );
    for (ending, per_session) in [(Ending::Served, 3.0), (Ending::Throttled, 3.0)] {
        let mut world = World::new(&scenario, 1).unwrap();
        let (mut now, mut asked) = (scenario.begin(), 0);
        while now < scenario.end() {
            now = now.plus_ms(world.step_ms());
            let mut out = Vec::new();
            world.take(now, &mut out);
            asked += out.len();
            for request in out {
                let outcome = Outcome { client: request.client.unwrap(), at: now, ending };
                world.answer(&outcome);
            }
        }
        // Served sessions have three requests on average, refused ones exactly three attempts.
        let expected = 2.0 / 3.0 * 40.0 * 60.0 * per_session;
        assert!((asked as f64 / expected - 1.0).abs() < 0.1, "{ending:?}: {asked}");
    }
}
