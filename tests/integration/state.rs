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
/// One that the attack uses up, and one that it does not.
const BUDGETS: &str = "[[budgets]]\nfunction = \"*x\"\nmonthly_usd = 2.0\n\
                       [[budgets]]\nfunction = \"f05x\"\nmonthly_usd = 900.0\n";
const ATTACK: &str = "flood:factor=20,min_rps=50,start=70m,duration=8m,sources=20";

/// A daemon on recorded files that writes what it says to files of this life.
fn daemon(inputs: &[&Path], outputs: &Path, life: usize, state: Option<&Path>) -> Command {
    let config = outputs.join("bursar.toml");
    fs::write(&config, BUDGETS).unwrap();
    let mut command = bursar(["run", "--config"]);
    command.arg(config);
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
    budgets: BTreeSet<String>,
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
        told.budgets.extend(all("budget"));
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
    assert!(told.budgets.len() > 2, "{:?}", told.budgets);
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
            (life < KILLS).then(|| Duration::from_millis(900 + u64::from(draw.next_u32() % 900)));
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
    assert_eq!(found.budgets, expected.budgets);
    assert!(found.alarms == expected.alarms, "the alarms differ");
}

#[test]
fn whoever_is_killed_again_and_again_says_in_the_end_what_one_says_that_was_left_alone() {
    killed(&generate(5, 480, Some(ATTACK)), 77);
}

/// A recording of an hour, and the state of a daemon that has read it to its end in two lives.
fn twice() -> (Recorded, PathBuf, PathBuf) {
    let recorded = generate(6, 60, None);
    let [outputs, state] = ["outputs", "state"].map(|name| recorded.path(name));
    fs::create_dir(&outputs).unwrap();
    for life in 0..2 {
        live(&mut daemon(&[&recorded.records], &outputs, life, Some(&state)), None).unwrap();
    }
    (recorded, outputs, state)
}

#[test]
fn a_damaged_snapshot_is_put_aside_for_the_one_before_and_one_of_another_version_is_left_alone() {
    let (recorded, outputs, state) = twice();
    let input: &[&Path] = &[&recorded.records];
    let [_, newest] = &snapshots(&state)[..] else { panic!("not two snapshots") };
    let mut bytes = fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(newest, &bytes).unwrap();
    let done = live(&mut daemon(input, &outputs, 2, Some(&state)), None).unwrap();
    assert!(done.stderr.contains("was put aside"), "{}", done.stderr);
    let damaged = PathBuf::from(format!("{}.damaged", newest.display()));
    assert_eq!(fs::read(&damaged).unwrap(), bytes);
    let summary = |life| {
        let text = fs::read_to_string(outputs.join(format!("DECISIONS-{life}"))).unwrap();
        lines(&text).last().unwrap().clone()
    };
    assert_eq!(summary(2), summary(0), "nothing counts twice, nothing is lost");

    let newest = snapshots(&state).pop().unwrap();
    let mut newer = fs::read(&newest).unwrap();
    newer[8] += 1;
    let length = u32::from_le_bytes(newer[12..16].try_into().unwrap()) as usize;
    let sum = xxhash_rust::xxh3::xxh3_64(&newer[..16 + length]).to_le_bytes();
    newer[16 + length..24 + length].copy_from_slice(&sum);
    fs::write(&newest, &newer).unwrap();
    let refused = run(&mut daemon(input, &outputs, 3, Some(&state)));
    assert_eq!(refused.code(), Some(1));
    assert!(refused.stderr.contains("start the version that wrote it"), "{}", refused.stderr);
    assert_eq!(fs::read(&newest).unwrap(), newer);
}

#[test]
fn a_folder_belongs_to_one_process() {
    let recorded = generate(6, 1, None);
    let state = recorded.path("state");
    fs::create_dir(&state).unwrap();
    let other = fs::File::create(state.join("lock")).unwrap();
    other.lock().unwrap();
    let done = run(&mut daemon(&[&recorded.records], recorded.folder.path(), 0, Some(&state)));
    assert_eq!(done.code(), Some(1));
    assert!(done.stderr.contains("another bursar uses it"), "{}", done.stderr);
}

#[test]
fn what_is_in_a_state_can_be_looked_at_taken_out_and_put_into_another() {
    let (recorded, _, state) = twice();
    let done = run(bursar(["state", "inspect", "--json"]).arg(&state)).succeeded();
    let found: Value = serde_json::from_str(&done.stdout).unwrap();
    let records = fs::read_to_string(&recorded.records).unwrap().lines().count();
    assert_eq!(found["positions"][0]["position"], records);
    assert!(found["functions"].as_u64().unwrap() > 40, "{found}");
    assert_eq!(found["sections"]["functions"]["count"], found["functions"]);
    assert!(found["largest"][0]["bytes"].as_u64() > found["largest"][9]["bytes"].as_u64());
    let words = run(bursar(["state", "inspect"]).arg(&snapshots(&state)[1])).succeeded().stdout;
    assert!(words.contains("records.jsonl: up to") && words.contains("functions: "), "{words}");

    let [learned, exported] = ["learned.jsonl", "exported.jsonl"].map(|name| recorded.path(name));
    run(bursar(["learn", "--out"]).arg(&learned).arg(&recorded.records)).succeeded();
    run(bursar(["state", "export", "--out"]).arg(&exported).arg(&state)).succeeded();
    let [learned, text] = [&learned, &exported].map(|path| fs::read_to_string(path).unwrap());
    assert_eq!(text, learned, "what a state has learned is what bursar learn learns");

    let other = recorded.path("other");
    run(bursar(["state", "import"]).arg(&exported).arg(&other)).succeeded();
    let done = run(bursar(["state", "inspect", "--json"]).arg(&other)).succeeded();
    let found: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(found["sections"]["dormant"]["count"], text.lines().count() - 2);
    let again = run(bursar(["state", "import"]).arg(&exported).arg(&other));
    assert_eq!(again.code(), Some(1));
    assert!(again.stderr.contains("move it away first"), "{}", again.stderr);
    let missing = run(bursar(["state", "inspect"]).arg(recorded.path("nowhere")));
    assert_eq!(missing.code(), Some(1));
}
