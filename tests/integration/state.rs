//! State that survives a restart: the daemon is killed again and again, and says in the end what
//! one says that was left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::support::{
    Done, PATIENCE, Recorded, Running, bursar, generate, kind, lines, run, until,
};

const KILLS: usize = 12;
const ATTACK: &str = "flood:factor=20,min_rps=50,start=70m,duration=8m,sources=20";

/// A daemon on recorded files that writes what it says to files of this life.
fn daemon(inputs: &[&Path], outputs: &Path, life: usize, state: Option<&Path>) -> Command {
    let mut command = bursar(["run"]);
    let inputs: Vec<_> = inputs.iter().map(|path| path.to_str().unwrap()).collect();
    command.env("BURSAR__INPUT__KIND", "files").env("BURSAR__SERVER__ENABLED", "false");
    command.env("BURSAR__INPUT__FILES__PATHS", inputs.join(","));
    for name in ["DECISIONS", "LEDGER"] {
        let path = outputs.join(format!("{name}-{life}"));
        command.env(format!("BURSAR__OUTPUT__{name}"), path);
    }
    if let Some(state) = state {
        command.env("BURSAR__STATE__DIRECTORY", state).env("BURSAR__STATE__INTERVAL", "1s");
    }
    command
}

/// What was said in one life or several; rows and alarms that were said again count once.
#[derive(Debug, Default, PartialEq)]
struct Told {
    summary: Value,
    alarms: BTreeSet<String>,
    actions: BTreeSet<String>,
    rows: BTreeMap<String, Value>,
}

fn told(outputs: &Path, lives: usize) -> Told {
    let mut told = Told::default();
    for life in 0..lives {
        let text = |name: &str| {
            fs::read_to_string(outputs.join(format!("{name}-{life}"))).unwrap_or_default()
        };
        let decisions = lines(&text("DECISIONS"));
        let all = |what| kind(&decisions, what).into_iter().map(Value::to_string);
        told.alarms.extend(all("alarm"));
        told.actions.extend(all("action"));
        if let Some(summary) = kind(&decisions, "summary").first() {
            told.summary = (*summary).clone();
        }
        for row in lines(&text("LEDGER")) {
            let before =
                told.rows.insert(format!("{} {}", row["minute"], row["function"]), row.clone());
            assert!(before.is_none_or(|before| before == row), "{row} was another");
        }
    }
    told
}

fn straight(inputs: &[&Path], outputs: &Path) -> Told {
    run(&mut daemon(inputs, outputs, 0, None)).succeeded();
    let told = told(outputs, 1);
    assert!(!told.alarms.is_empty() && !told.actions.is_empty(), "{told:?}");
    told
}

fn snapshots(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "bursar")).collect();
    found.sort();
    found
}

/// Lives until it is killed, or to the end; whether it came there.
fn live(command: &mut Command, limit: Option<Duration>) -> Option<Done> {
    let mut running = Running::start(command);
    if let Some(limit) = limit {
        thread::sleep(limit);
        if !running.has_ended() {
            running.signal("KILL");
            until("the death", PATIENCE, || running.has_ended().then_some(()));
            return None;
        }
    }
    Some(running.wait().succeeded())
}

fn killed(recorded: &Recorded, seed: u64) {
    let input: &[&Path] = &[&recorded.records];
    let folder = |name: &str| {
        let path = recorded.path(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (one, many) = (folder("one"), folder("many"));
    let expected = straight(input, &one);
    let state = recorded.path("state");
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let (mut life, mut gone_on) = (0, 0);
    loop {
        let limit =
            (life < KILLS).then(|| Duration::from_millis(500 + u64::from(draw.next_u32() % 2_000)));
        gone_on += usize::from(!snapshots(&state).is_empty());
        let mut command = daemon(input, &many, life, Some(&state));
        // Another number of shards each time.
        command.env("BURSAR__ENGINE__SHARDS", (1 + life % 4).to_string());
        life += 1;
        if live(&mut command, limit).is_some() {
            break;
        }
    }
    assert!(gone_on > 0, "it was never far enough to go on from anything");
    eprintln!("{life} lives, of which {gone_on} went on from a snapshot");
    let found = told(&many, life);
    assert_eq!(found.summary, expected.summary);
    assert_eq!(found.rows, expected.rows);
    assert_eq!(found.actions, expected.actions);
    assert!(found.alarms == expected.alarms, "the alarms differ");
}

#[test]
fn whoever_is_killed_again_and_again_says_in_the_end_what_one_says_that_was_left_alone() {
    killed(&generate(5, 480, Some(ATTACK)), 77);
}
