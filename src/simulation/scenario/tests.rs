use std::path::Path;

use super::*;
use crate::simulation::platform::Way;
use crate::simulation::recording::unread;

const SMALL: &str = r#"
question = "?"
[time]
length = "1h"
[[function]]
name = "api"
trigger = "rest"
[[function]]
name = "worker"
count = 3
trigger = "sqs"
[[load]]
function = "worker-*"
rps = 6
skew = 1
[[load]]
function = "api"
rps = 10
requests_per_session = 5
[[attack]]
kind = "flood"
function = "api"
rps = 50
"#;

fn small() -> Scenario {
    read_text(Path::new("small.toml"), SMALL, unread).unwrap()
}

#[test]
fn a_scenario_says_only_what_is_unusual() {
    let scenario = small();
    assert_eq!(scenario.name, "small");
    assert_eq!(scenario.past_ms, 3 * 3_600_000);
    assert_eq!(scenario.end().since_ms(scenario.begin()), 4 * 3_600_000);
    let names: Vec<_> = scenario.functions.iter().map(|spec| &*spec.key.name).collect();
    assert_eq!(names, ["api", "worker-1", "worker-2", "worker-3"]);
    let ways = scenario.functions.iter().map(way).collect::<Vec<_>>();
    assert_eq!(ways, [Way::Sync, Way::Queue, Way::Queue, Way::Queue]);
    assert_eq!(scenario.attacks[0].rps, Some(50.0));
}

#[test]
fn the_rate_of_a_load_is_that_of_all_its_functions_together() {
    let scenario = small();
    let rates: Vec<f64> = scenario.loads.iter().map(|load| load.pace.mean_rps()).collect();
    assert!((rates[..3].iter().sum::<f64>() - 6.0).abs() < 1e-9);
    assert!((rates[0] / rates[2] - 3.0).abs() < 1e-9, "{rates:?}");
    assert!((rates[3] - 10.0).abs() < 1e-9);
}

#[test]
fn a_surge_rises_stays_and_goes() {
    let surge = Surge {
        functions: vec![0],
        start_ms: 60_000,
        duration_ms: 600_000,
        rise_ms: 60_000,
        factor: 5.0,
        users: 1,
    };
    for (second, expected) in
        [(-5, 1.0), (59, 1.0), (90, 3.0), (120, 5.0), (600, 5.0), (630, 3.0), (660, 1.0)]
    {
        assert_eq!(surge.factor_at(second * 1_000), expected, "{second}");
    }
}

#[test]
fn seasons_peak_at_their_hour_and_rest_at_weekends() {
    let season = Season { daily: 0.5, peak_hour: 18.0, weekend: 0.2, growth_per_day: 0.0 };
    let start: EventTime = "2026-03-10T00:00:00Z".parse().unwrap();
    let at = |text: &str| season.factor(text.parse().unwrap(), start);
    assert!((at("2026-03-10T18:00:00Z") - 1.5).abs() < 1e-9);
    assert!((at("2026-03-10T06:00:00Z") - 0.5).abs() < 1e-9);
    assert!((at("2026-03-14T18:00:00Z") - 0.3).abs() < 1e-9);
    assert!((at("2026-03-15T18:00:00Z") - 0.3).abs() < 1e-9);
    assert!((at("2026-03-16T18:00:00Z") - 1.5).abs() < 1e-9);
    let grows = Season { growth_per_day: 0.02, ..Season::default() };
    let month = grows.factor(start.plus_ms(35 * 86_400_000), start);
    assert!((month - 2.0).abs() < 0.01, "{month}");
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    let error = read_text(Path::new("x.toml"), "question = \"?\"\n[[", unread).unwrap_err();
    assert!(error.to_string().starts_with("x.toml line 2: not valid TOML"), "{error}");
    let error = read_text(Path::new("x.toml"), "", unread).unwrap_err().to_string();
    assert!(error.contains("question: missing") && error.contains("function: missing"), "{error}");
}

#[test]
fn what_is_no_regular_file_is_refused_before_it_is_opened() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let problems = read(folder, unread).unwrap_err().to_string();
    assert!(problems.contains("no regular file"), "{problems}");
    let text = "question = \"?\"\n[[trace]]\ncalls = \"src\"\n";
    let problems = read_text(&folder.join("test.toml"), text, unread).unwrap_err().to_string();
    assert!(
        problems.contains("trace[0].calls") && problems.contains("no regular file"),
        "{problems}"
    );
}
