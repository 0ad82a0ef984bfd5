//! The closed loop from outside: scenarios in, scores out.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Done, bursar, run};

const SHOP: &str = r#"
question = "?"
[time]
past = "1h"
length = "25m"
[budget]
monthly_usd = 5000
[[function]]
name = "api"
trigger = "rest"
memory_mb = 1024
median_ms = 150
[[load]]
function = "api"
rps = 10
dispersion = 0.05
"#;
const FLOOD: &str = r#"
[[attack]]
kind = "flood"
function = "api"
rps = 300
sources = 20
start = "5m"
duration = "10m"
"#;
const CROWD: &str = r#"
[[surge]]
function = "api"
start = "5m"
duration = "15m"
rise = "2m"
factor = 6
users = 3000
[expect]
actions_max = 0
"#;

fn written(parts: &[&str]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("scenario.toml");
    fs::write(&path, parts.concat()).unwrap();
    (folder, path)
}

fn simulate(path: &Path, more: &[&str]) -> Done {
    let mut command = bursar(["simulate", "--json", "-"]);
    command.args(more).arg(path);
    run(&mut command)
}

fn policies(path: &Path, more: &[&str]) -> Vec<Value> {
    let report: Value = serde_json::from_str(&simulate(path, more).stdout).unwrap();
    report["scenarios"][0]["policies"].as_array().unwrap().clone()
}

fn of<'a>(policies: &'a [Value], name: &str) -> &'a Value {
    policies.iter().find(|policy| policy["policy"] == name).unwrap()
}

fn mean(policy: &Value, key: &str) -> f64 {
    policy[key]["mean"].as_f64().unwrap()
}

#[test]
fn one_seed_gives_the_same_bytes_on_any_number_of_threads_and_another_seed_does_not() {
    let (_folder, path) = written(&[SHOP, FLOOD]);
    let first = simulate(&path, &["--seed", "7", "--threads", "1"]).succeeded().stdout;
    assert_eq!(first, simulate(&path, &["--seed", "7", "--threads", "3"]).succeeded().stdout);
    assert_ne!(first, simulate(&path, &["--seed", "8"]).succeeded().stdout);
}

#[test]
fn a_flood_from_few_addresses_costs_seconds_with_bursar_and_half_an_hour_without() {
    let (_folder, path) = written(&[SHOP, FLOOD]);
    let policies = policies(&path, &["--seeds", "2"]);
    let (nothing, guard) = (of(&policies, "nothing"), of(&policies, "bursar"));
    let oracle = of(&policies, "oracle");
    assert!(mean(nothing, "leaked_usd") > 0.5, "{nothing:#}");
    assert!(mean(guard, "leaked_usd") < 0.05 * mean(nothing, "leaked_usd"), "{guard:#}");
    assert!(mean(oracle, "leaked_usd") <= mean(guard, "leaked_usd"), "{oracle:#}");
    assert_eq!(guard["denied"]["max"], 0.0, "{guard:#}");
    assert_eq!((&guard["detected"], &guard["broken"]), (&2.into(), &0.into()));
    assert_eq!(guard["holding"], 0);
    // What each of the others must and must not do.
    let changed = |name: &str| of(&policies, name)["calls"].as_u64().unwrap() > 0;
    for (name, acts) in [
        ("nothing", false),
        ("budget 8 h late", false),
        ("minute alarm 3 of 3", true),
        ("seasonal band", true),
        ("limit per source", true),
        ("monthly cost cap", false),
        ("oracle", true),
    ] {
        assert_eq!(changed(name), acts, "{name}");
    }
    // An alarm that stops the function stops its users.
    assert!(mean(of(&policies, "minute alarm 3 of 3"), "denied_share") > 0.2);
}

#[test]
fn a_spent_budget_stops_everything_under_the_cost_cap() {
    let poor = SHOP.replace("monthly_usd = 5000", "monthly_usd = 0.5");
    let (_folder, path) = written(&[&poor, FLOOD]);
    let policies = policies(&path, &[]);
    let cap = of(&policies, "monthly cost cap");
    assert!(mean(cap, "leaked_usd") < 0.9 * mean(of(&policies, "nothing"), "leaked_usd"));
    assert!(mean(cap, "denied_share") > 0.2, "{cap:#}");
    assert_eq!(cap["holding"], 1);
}

#[test]
fn a_flash_crowd_is_left_alone() {
    let (_folder, path) = written(&[SHOP, CROWD]);
    let policies = policies(&path, &[]);
    let guard = of(&policies, "bursar");
    assert_eq!((&guard["actions"], &guard["calls"]), (&0.into(), &0.into()), "{guard:#}");
    assert!(of(&policies, "minute alarm 3 of 3")["false_actions"].as_u64().unwrap() > 0);
}

#[test]
fn what_is_expected_and_does_not_hold_is_told_and_fails() {
    let (_folder, path) = written(&[SHOP, FLOOD, "[expect]\nactions_max = 0\n"]);
    let done = run(bursar(["simulate"]).arg(&path));
    assert_eq!(done.code(), Some(1), "{done:#?}");
    assert!(done.stdout.contains("actions_max: 1.0000, limit 0: DOES NOT HOLD"), "{done:#?}");
    assert!(done.stderr.contains("does not hold in scenario"), "{done:#?}");
}

#[test]
fn everything_that_is_wrong_with_a_scenario_is_told_at_once_with_line_and_key() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scenarios");
    let done = run(bursar(["simulate", "everything_wrong.toml"]).current_dir(&folder));
    assert_eq!(done.code(), Some(2), "{done:#?}");
    let expected = fs::read_to_string(folder.join("everything_wrong.expected")).unwrap();
    assert_eq!(done.stderr, expected);
}

#[test]
fn a_file_that_is_not_there_is_a_usage_error() {
    let done = run(&mut bursar(["simulate", "no_such_scenario.toml"]));
    assert_eq!(done.code(), Some(2), "{done:#?}");
    assert!(done.stderr.contains("no_such_scenario.toml: cannot be read"), "{done:#?}");
}

/// The project's own recording, with a flood in its second half.
fn recorded(more: &str) -> (TempDir, PathBuf) {
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations/recorded_hour.jsonl.gz");
    let (folder, path) = written(&[
        "question = \"?\"\n[time]\npast = \"40m\"\nlength = \"30m\"\n[[recording]]\n",
        "files = [\"recorded.jsonl.gz\"]\n",
        more,
    ]);
    fs::copy(records, folder.path().join("recorded.jsonl.gz")).unwrap();
    (folder, path)
}

#[test]
fn recorded_calls_are_served_call_by_call_and_an_attack_on_them_is_found() {
    let flood = "[[attack]]\nkind = \"flood\"\nfunction = \"checkout\"\nrps = 100\n\
                 sources = 20\nstart = \"5m\"\nduration = \"10m\"\n";
    let (folder, path) = recorded(flood);
    let ledger = folder.path().join("ledger.jsonl");
    let report = simulate(&path, &["--ledger", ledger.to_str().unwrap()]).succeeded().stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    let policies = report["scenarios"][0]["policies"].as_array().unwrap();
    assert!(mean(of(policies, "nothing"), "leaked_usd") > 0.1);
    let own = of(policies, "bursar");
    assert!(mean(own, "leaked_usd") < 0.1 * mean(of(policies, "nothing"), "leaked_usd"), "{own}");
    assert!(mean(own, "denied_share") < 0.001, "{own}");
    // The past is the recording and nothing else: about half of its 1,544 runs.
    let calls = fs::read_to_string(&ledger).unwrap();
    let lines = calls.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let past =
        lines.filter(|line| line["minute"].as_str().is_some_and(|at| at < "2026-03-10T10:00"));
    let served: u64 = past.filter_map(|line| line["requests"].as_u64()).sum();
    assert!((600..900).contains(&served), "{served}");
}

#[test]
fn every_scenario_of_the_project_can_be_read_and_stands_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations");
    let table = fs::read_to_string(folder.join("README.md")).unwrap();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let scenarios: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    assert!(scenarios.len() >= 30, "{}", scenarios.len());
    for path in scenarios {
        let scenario = bursar::simulation::scenario::read(&path, bursar::runtime::recorded::open);
        let scenario = scenario.unwrap_or_else(|problems| panic!("{problems}"));
        assert!(table.contains(&format!("| {} |", scenario.name)), "{}", scenario.name);
    }
}

#[test]
fn a_small_swarm_holds_and_says_what_it_did() {
    let done = run(&mut bursar(["simulate", "--swarm", "60", "--json", "-"])).succeeded();
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&report["kind"], &report["failures"]), (&"swarm".into(), &Value::Array(vec![])));
    assert_eq!(report["effort"]["seeds"], 60);
    for counted in ["simulated_ms", "invocations", "records", "faults", "alarms", "actions"] {
        assert!(report["effort"][counted].as_u64().unwrap() > 0, "{counted}: {report:#}");
    }
}

#[test]
fn a_seed_of_the_swarm_gives_the_same_report_on_any_number_of_threads() {
    let swarm = |threads| {
        let args = ["simulate", "--swarm", "3", "--seed", "13", "--threads", threads];
        run(&mut bursar(args)).stdout
    };
    assert_eq!(swarm("1"), swarm("3"));
}

#[test]
fn a_swarm_has_no_scenarios_beside_it() {
    let done = run(&mut bursar(["simulate", "--swarm", "3", "simulations/leech.toml"]));
    assert_eq!(done.code(), Some(2), "{done:#?}");
}
