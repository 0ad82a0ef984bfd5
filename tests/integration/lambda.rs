//! The daemon caps a function through the Lambda API, gives it back, and can be helped when it is
//! dead. Records come from a Kinesis and go to a Lambda on loopback ports.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Daemon, PATIENCE, bursar, kind, lines, run, until};

#[allow(dead_code, reason = "the tests of the client use the rest")]
#[path = "../../src/act/tests/cloud.rs"]
mod cloud;

use super::kinesis::fake::Fake;
use cloud::{Cloud, Fault};

const ACCOUNT: &str = "111122223333";
/// Usual calls a second, and those of the flood.
const USUAL: u64 = 4;
const FLOOD: u64 = 400;
/// Records of the usual past, long enough to be sure of it.
const PAST_SECONDS: u64 = 3 * 3_600;

fn record(out: &mut String, ms: u64) {
    let time = bursar::units::EventTime::saturating_from_ms(i64::try_from(ms).unwrap());
    writeln!(
        out,
        "{{\"kind\":\"invocation\",\"time\":\"{time}\",\"account\":\"{ACCOUNT}\",\
         \"region\":\"eu-west-1\",\"function\":\"shop\",\"billed_ms\":300,\"memory_mb\":1024}}"
    )
    .unwrap();
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(bursar::runtime::clock::wall().0).unwrap()
}

/// A function whose calls a second can be set, a Lambda that caps it, and the daemon's settings.
struct Estate {
    folder: TempDir,
    cloud: Cloud,
    rate: Arc<AtomicU64>,
    prior: Option<u64>,
}

impl Estate {
    fn new(prior: Option<u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(&[("shop", prior)]);
        let fake = Fake::start(1);
        let mut past = String::new();
        let begin = now_ms() / 1_000 - PAST_SECONDS;
        for second in 0..PAST_SECONDS {
            (0..USUAL).for_each(|call| record(&mut past, (begin + second) * 1_000 + call * 200));
        }
        let history = folder.path().join("history.jsonl");
        fs::write(&history, past).unwrap();
        let mut learn = bursar(["learn", "--out"]);
        run(learn.arg(folder.path().join("baselines.jsonl")).arg(&history)).succeeded();
        let text = format!(
            "mode = \"enforce\"\n[input]\nkind = \"kinesis\"\naccount = \"{ACCOUNT}\"\n\
             [input.kinesis]\nstream = \"costs\"\nregion = \"eu-west-1\"\nendpoint = \"{}\"\n\
             [engine]\nlateness = \"1s\"\nbaselines_file = \"{}\"\n\
             [control]\nsettle = \"2s\"\nquiet = \"4s\"\ncanary = \"2s\"\n\
             [lambda]\nenabled = true\nendpoint = \"{}\"\nrequests_per_second = 15\n\
             release = \"schedule\"\nrelease_role = \"arn:aws:iam::{ACCOUNT}:role/release\"\n\
             [state]\njournal = \"{}\"\n",
            fake.url,
            folder.path().join("baselines.jsonl").display(),
            cloud.url,
            folder.path().join("journal").display(),
        );
        fs::write(folder.path().join("bursar.toml"), text).unwrap();
        let rate = Arc::new(AtomicU64::new(USUAL));
        let (following, capped) = (Arc::clone(&rate), cloud.clone());
        // Calls are refused above the cap, as the platform does.
        thread::spawn(move || {
            while Arc::strong_count(&following) > 1 {
                thread::sleep(Duration::from_millis(250));
                let most = capped.reserved("shop").map_or(u64::MAX, |cap| cap * 1_000 / 300);
                let calls = following.load(Ordering::Relaxed).min(most).div_ceil(4);
                let now = now_ms();
                for call in 0..calls {
                    let mut message = String::new();
                    record(&mut message, now - 250 + call * 250 / calls);
                    fake.put(0, message.as_bytes());
                }
            }
        });
        Self { folder, cloud, rate, prior }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("bursar.toml")
    }

    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = bursar([name, "--config"]);
        command.arg(self.config()).args(args);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    fn start(&self) -> Daemon {
        Daemon::start(&mut self.command("run", &[]))
    }

    fn flood(&self, on: bool) {
        self.rate.store(if on { FLOOD } else { USUAL }, Ordering::Relaxed);
    }

    fn listed(&self) -> Vec<Value> {
        lines(&run(&mut self.command("restrictions", &["--json"])).succeeded().stdout)
    }

    fn capped(&self) -> u64 {
        until("a cap", PATIENCE, || {
            self.cloud.reserved("shop").filter(|cap| Some(*cap) != self.prior)
        })
    }
}

#[test]
fn a_flood_is_capped_on_lambda_and_given_back_when_it_is_over() {
    let estate = Estate::new(None);
    // The control plane has a bad day at first.
    let said = |status, code| Fault::Says(status, code, "not now", "retry-after: 1\r\n");
    estate.cloud.fail("GET /2019-09-30", [Fault::CutOff, said(500, "ServiceException")]);
    estate.cloud.fail(
        "PUT /2017-10-31",
        [said(429, "TooManyRequestsException"), said(409, "ResourceConflictException")],
    );
    let daemon = estate.start();
    estate.flood(true);
    let cap = estate.capped();
    // Four calls a second of 0.3 s: legitimate callers have room, the flood has not.
    assert!((2..60).contains(&cap), "{cap}");
    let calls = estate.cloud.state().calls.clone();
    let first = |begin: &str| calls.iter().position(|call| call.starts_with(begin));
    assert!(first("POST /schedules/bursar-") < first("PUT /2017-10-31"), "{calls:?}");
    let listed = estate.listed();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["restriction"]["prior"]["state"], "unset");

    estate.flood(false);
    until("everything given back", PATIENCE, || {
        estate.cloud.reserved("shop").is_none().then_some(())
    });
    let (decisions, _) = daemon.stop();
    let actions = kind(&decisions, "action");
    let applied = |verb: &str| {
        let of = |line: &&&Value| line["verb"] == verb && line["outcome"] == "applied";
        actions.iter().filter(of).count()
    };
    assert_eq!(applied("restrict"), 1, "{actions:#?}");
    assert!(applied("relax") >= 2 && applied("restore") >= 1, "{actions:#?}");
    assert!(actions.iter().all(|line| line["actuator"] == "reserved_concurrency"));
}

#[test]
fn what_a_dead_daemon_held_is_listed_and_given_back_from_the_journal() {
    let estate = Estate::new(Some(70));
    let daemon = estate.start();
    estate.flood(true);
    let cap = estate.capped();
    daemon.signal("KILL");
    let listed = until("a confirmed entry", PATIENCE, || {
        Some(estate.listed()).filter(|listed| listed.len() == 1)
    });
    assert_eq!(listed[0]["restriction"]["prior"]["value"], 70);

    let dry = run(&mut estate.command("restore", &["--all", "--dry-run"])).succeeded();
    assert!(dry.stdout.contains(&format!("a reservation of {cap} would become")), "{dry:#?}");
    assert_eq!(estate.cloud.reserved("shop"), Some(cap));
    let none = run(&mut estate.command("restore", &["--expired"])).succeeded();
    assert!(none.stdout.contains("nothing to give back"), "{none:#?}");
    let unknown = run(&mut estate.command("restore", &["shoe"]));
    assert_eq!(unknown.code(), Some(1), "{unknown:#?}");

    estate.cloud.fail("PUT /2017-10-31", [Fault::Says(403, "AccessDeniedException", "no", "")]);
    let denied = run(&mut estate.command("restore", &["shop"]));
    assert_eq!(denied.code(), Some(1), "{denied:#?}");
    assert!(denied.stdout.contains("PutFunctionConcurrency is not allowed"), "{denied:#?}");
    run(&mut estate.command("restore", &["shop"])).succeeded();
    assert_eq!(estate.cloud.reserved("shop"), Some(70));
    assert_eq!(estate.listed(), Vec::<Value>::new());
    assert!(estate.cloud.state().schedules.is_empty());
}

#[test]
fn a_restart_takes_over_what_is_in_force_and_a_second_daemon_is_refused() {
    let estate = Estate::new(None);
    let daemon = estate.start();
    estate.flood(true);
    estate.capped();
    let second = run(&mut estate.command("run", &[]));
    assert_eq!(second.code(), Some(1), "{second:#?}");
    assert!(second.stderr.contains("another bursar acts from it"), "{second:#?}");
    daemon.signal("KILL");
    drop(daemon);
    estate.flood(false);
    let daemon = estate.start();
    until("everything given back", PATIENCE, || {
        estate.cloud.reserved("shop").is_none().then_some(())
    });
    drop(daemon);
}

#[test]
fn stopped_actions_stay_stopped_until_somebody_allows_them_again() {
    let estate = Estate::new(None);
    let elsewhere = run(&mut estate.command("stop-actions", &[]));
    assert_eq!(elsewhere.code(), Some(1), "{elsewhere:#?}");
    assert!(elsewhere.stderr.contains("there is no journal at"), "{elsewhere:#?}");
    fs::create_dir(estate.folder.path().join("journal")).unwrap();
    run(&mut estate.command("stop-actions", &[])).succeeded();
    let daemon = estate.start();
    estate.flood(true);
    let told = until("a reason for not acting", PATIENCE, || {
        let decisions = daemon.decisions();
        kind(&decisions, "abstention").first().map(|line| (*line).clone())
    });
    assert!(told["reason"].as_str().unwrap().contains("stop-actions --resume"), "{told}");
    assert_eq!(estate.cloud.reserved("shop"), None);
    run(&mut estate.command("stop-actions", &["--resume"])).succeeded();
    estate.capped();
    run(&mut estate.command("stop-actions", &["--restore"])).succeeded();
    assert_eq!(estate.cloud.reserved("shop"), None);
    drop(daemon);
}

#[test]
fn a_damaged_journal_is_told_and_hides_nothing_else() {
    let estate = Estate::new(None);
    let journal = estate.folder.path().join("journal");
    fs::create_dir_all(&journal).unwrap();
    fs::write(journal.join("aaaa.json"), "{\"v\":1,\"owner\":\"x\"\n").unwrap();
    let done = run(&mut estate.command("restrictions", &[]));
    assert_eq!(done.code(), Some(1), "{done:#?}");
    assert!(done.stderr.contains("aaaa.json: it is cut off"), "{done:#?}");
    let daemon = estate.start();
    estate.flood(true);
    let told = until("a reason for not acting", PATIENCE, || {
        let decisions = daemon.decisions();
        kind(&decisions, "abstention").first().map(|line| (*line).clone())
    });
    assert!(told["reason"].as_str().unwrap().contains("aaaa.json"), "{told}");
    assert_eq!(estate.cloud.reserved("shop"), None);
}

#[test]
fn a_live_check_tells_what_is_missing_and_what_has_drifted_and_changes_nothing() {
    let estate = Estate::new(Some(70));
    let good = run(&mut estate.command("check", &["--live"])).succeeded();
    for part in [
        "concurrency 1000 in all, 930 of it unreserved",
        "lambda:PutFunctionConcurrency is allowed",
        "lambda:GetEventSourceMapping is allowed",
        "scheduler:CreateSchedule and UpdateSchedule with lambda.release_role is allowed",
    ] {
        assert!(good.stdout.contains(part), "{part}: {good:#?}");
    }
    assert_eq!(estate.cloud.reserved("shop"), Some(70));
    assert!(estate.cloud.state().schedules.is_empty());

    let denied = || Fault::Says(403, "AccessDeniedException", "no", "");
    estate.cloud.fail("DELETE /2017-10-31", [denied()]);
    estate.cloud.fail("POST /schedules/", [denied()]);
    let missing = run(&mut estate.command("check", &["--live"]));
    assert_eq!(missing.code(), Some(1), "{missing:#?}");
    assert!(missing.stderr.contains("2 problems"), "{missing:#?}");
    assert!(missing.stdout.contains("DeleteFunctionConcurrency is not allowed"), "{missing:#?}");

    let daemon = estate.start();
    estate.flood(true);
    estate.capped();
    until("a confirmed entry", PATIENCE, || {
        (estate.listed().first()?["step"] == "confirmed").then_some(())
    });
    daemon.signal("KILL");
    drop(daemon);
    let same = run(&mut estate.command("check", &["--live"])).succeeded();
    assert!(same.stdout.contains("as the journal says"), "{same:#?}");
    estate.cloud.state().reserved.insert("shop".to_owned(), Some(33));
    let drifted = run(&mut estate.command("check", &["--live"]));
    assert_eq!(drifted.code(), Some(1), "{drifted:#?}");
    assert!(drifted.stdout.contains("BAD  restriction"), "{drifted:#?}");
    let left = run(&mut estate.command("restore", &["--all"])).succeeded();
    assert!(left.stdout.contains("left alone; --force overrides"), "{left:#?}");
    assert_eq!(estate.cloud.reserved("shop"), Some(33));
}
