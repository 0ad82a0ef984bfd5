//! The daemon as it starts without any settings: a virtual shop is attacked, protected, and given
//! back what was taken from it, while its state can be looked at.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Daemon, PATIENCE, bursar, kind, ms, pages, run, until};

/// The story takes 45 s where nothing else runs; a busy machine needs longer to read the past.
const STORY: Duration = PATIENCE;

fn actions<'a>(decisions: &'a [Value], verb: &str, actuator: &str) -> Vec<&'a Value> {
    let fits = |line: &&Value| line["verb"] == verb && line["actuator"] == actuator;
    kind(decisions, "action").into_iter().filter(fits).collect()
}

/// The first such action, once it is there.
fn wait_for(daemon: &Daemon, verb: &str, actuator: &str) -> Value {
    let what = format!("{verb} by {actuator}");
    until(&what, STORY, || actions(&daemon.decisions(), verb, actuator).first().copied().cloned())
}

const UNSET: &str = r#"{"state":"unset"}"#;

#[test]
fn the_demonstration_finds_throttles_and_restores_while_it_can_be_looked_at() {
    let daemon = Daemon::start(&mut bursar::<&str>([]));
    assert_eq!(daemon.json("/healthz")["status"], "alive");
    until("readiness", STORY, || (daemon.get("/readyz").0 == 200).then_some(()));

    let page = until("a page", STORY, || pages(&daemon.decisions()).first().copied().cloned());
    assert_eq!(page["function"], "checkout");
    let alarms = daemon.json("/api/v1/alarms");
    assert_eq!(alarms["alarms"][0]["id"], page["id"]);
    let open = "bursar_alarms_open{severity=\"page\"}";
    until("the gauge", STORY, || (daemon.metric(open) >= Some(1.0)).then_some(()));

    let waf = wait_for(&daemon, "restrict", "waf_ip_set");
    assert_eq!((&waf["outcome"], &waf["mode"]), (&"applied".into(), &"enforce".into()));
    assert_eq!(waf["to"]["state"], "set");
    assert!(waf["to"]["value"].as_array().unwrap().len() > 20, "{waf}");
    check_shown(&daemon, &waf);

    let cap = wait_for(&daemon, "restrict", "reserved_concurrency");
    assert_eq!((&cap["outcome"], &cap["target"]), (&"applied".into(), &waf["target"]));
    assert_eq!(cap["from"].to_string(), UNSET);
    assert!(cap["to"]["value"].as_u64().unwrap() >= 1);
    check_shown(&daemon, &cap);

    let closed = until("the end of the alarm", STORY, || {
        let decisions = daemon.decisions();
        kind(&decisions, "alarm").into_iter().find(|line| line["state"] == "closed").cloned()
    });
    assert_eq!(closed["function"], "checkout");
    for actuator in ["waf_ip_set", "reserved_concurrency"] {
        let back = wait_for(&daemon, "restore", actuator);
        assert_eq!((&back["outcome"], &*back["to"].to_string()), (&"applied".into(), UNSET));
        assert!(ms(&back["decided_at"]) > ms(&cap["decided_at"]));
    }
    check_over(&daemon);

    let (decisions, stdout) = daemon.stop();
    check_end(&decisions, &stdout);
    assert!(decisions.iter().all(|line| line["outcome"] != "failed"), "{stdout}");
    assert_eq!(decisions[0]["mode"], "enforce");
    for told in ["PAGE   checkout", "ACTION checkout: restrict", "OVER   checkout", "-> unset"] {
        assert!(stdout.contains(told), "no {told} in {stdout}");
    }
}

/// A restriction that is in force is shown, with the action that made it.
fn check_shown(daemon: &Daemon, action: &Value) {
    let shown = daemon.json("/api/v1/actions");
    assert!(shown["actions"].as_array().unwrap().iter().any(|it| it["id"] == action["id"]));
    until("the restriction", STORY, || {
        let restrictions = daemon.json("/api/v1/restrictions");
        let mut all = restrictions["restrictions"].as_array().unwrap().iter();
        all.any(|held| held["id"] == action["restriction_id"]).then_some(())
    });
    let actuator = action["actuator"].as_str().unwrap();
    let series = format!("bursar_restrictions_in_force{{actuator=\"{actuator}\"}}");
    until(&series, STORY, || (daemon.metric(&series) == Some(1.0)).then_some(()));
    let functions = daemon.json("/api/v1/functions?order=at_risk");
    assert_eq!(functions["functions"][0]["function"], action["target"], "{functions:#}");
    assert_eq!(daemon.json("/api/v1/run")["run"]["kind"], "run");
}

/// What is shown when nothing is in force any more.
fn check_over(daemon: &Daemon) {
    until("no restrictions", STORY, || {
        let shown = daemon.json("/api/v1/restrictions");
        shown["restrictions"].as_array().unwrap().is_empty().then_some(())
    });
    assert_eq!(daemon.json("/api/v1/alarms")["alarms"], Value::Array(Vec::new()));
    assert_eq!(daemon.metric("bursar_alarms_open{severity=\"page\"}"), Some(0.0));
    let restored = "bursar_actions_total{outcome=\"applied\",verb=\"restore\"}";
    assert!(daemon.metric(restored) >= Some(2.0), "{}", daemon.get("/metrics").1);
    assert_eq!(daemon.metric("bursar_functions_tracked"), Some(40.0));
    // Those that were called in the last ten minutes.
    let functions = daemon.json("/api/v1/functions?limit=1000");
    let shown = functions["functions"].as_array().unwrap();
    assert!((30..=40).contains(&shown.len()) && functions["total"] == shown.len());
    let counted = daemon.metric("bursar_records_total{outcome=\"counted\"}").unwrap();
    assert!(counted > 500_000.0, "{counted}");
    assert!(daemon.metric("bursar_spend_usd_total").unwrap() > 0.01);
    assert_eq!(daemon.get("/api/v1/nothing").0, 404);
}

/// The last words.
fn check_end(decisions: &[Value], stdout: &str) {
    let summary = decisions.last().unwrap();
    assert_eq!(summary["kind"], "summary");
    assert!(summary["records"]["counted"].as_u64().unwrap() > 100_000, "{summary}");
    assert_eq!(summary["actions"], kind(decisions, "action").len());
    assert_eq!(summary["pages"], pages(decisions).len());
    let told = stdout.lines().last().unwrap();
    assert!(told.contains("records counted") && told.contains("40 functions"), "{told}");
}

#[test]
fn a_stop_gives_back_what_is_restricted() {
    let daemon = Daemon::start(&mut bursar::<&str>([]));
    let cap = wait_for(&daemon, "restrict", "reserved_concurrency");
    let waf = wait_for(&daemon, "restrict", "waf_ip_set");
    assert!(actions(&daemon.decisions(), "restore", "reserved_concurrency").is_empty());
    let (decisions, stdout) = daemon.stop();
    for held in [cap, waf] {
        let actuator = held["actuator"].as_str().unwrap();
        let [back] = &actions(&decisions, "restore", actuator)[..] else {
            panic!("not one restore by {actuator}: {stdout}");
        };
        assert_eq!(back["restriction_id"], held["restriction_id"]);
        assert_eq!((&back["outcome"], &*back["to"].to_string()), (&"applied".into(), UNSET));
        assert!(back["reason"].as_str().unwrap().contains("bursar is stopping"), "{back}");
    }
    check_end(&decisions, &stdout);
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = bursar(["run"]);
    let done = run(command.env("BURSAR__SERVER__LISTEN", &address));
    assert_eq!(done.code(), Some(1), "{done:#?}");
    assert!(done.stderr.contains(&address), "{done:#?}");
    assert_eq!(done.stdout, "");
}
