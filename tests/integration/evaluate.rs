//! The whole way: records with a known attack, what bursar said of them, and the score of that.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use tempfile::TempDir;

use crate::support::{Done, Recorded, bursar, generate, lines_of, ms, replay, run};

const FLOOD: &str = "flood:factor=20,min_rps=50,start=20m,duration=4m,sources=20";

/// A replay whose decisions and ledger lie beside the records.
fn replayed() -> Recorded {
    let recorded = generate(5, 30, Some(FLOOD));
    replay(recorded.folder.path(), |command| {
        command.arg(&recorded.records);
    });
    recorded
}

fn evaluate(recorded: &Recorded, decisions: &Path, more: impl FnOnce(&mut Command)) -> Done {
    let mut command = bursar(["evaluate", "--truth"]);
    command.arg(recorded.path("truth.json")).arg("--decisions").arg(decisions);
    more(&mut command);
    run(&mut command)
}

fn report(recorded: &Recorded, decisions: &str) -> Value {
    let done = evaluate(recorded, &recorded.path(decisions), |command| {
        command.arg("--ledger").arg(recorded.path("ledger.jsonl")).args(["--json", "-"]);
    });
    serde_json::from_str(&done.succeeded().stdout).unwrap()
}

fn without_alarms(recorded: &Recorded) {
    let lines = lines_of(&recorded.path("decisions.jsonl"));
    let kept = lines.iter().filter(|line| line["kind"] != "alarm");
    let kept: Vec<String> = kept.map(ToString::to_string).collect();
    fs::write(recorded.path("silent.jsonl"), kept.join("\n")).unwrap();
}

#[test]
fn a_flood_is_found_until_its_alarms_are_taken_out_of_the_decisions() {
    let recorded = replayed();
    let found = report(&recorded, "decisions.jsonl");
    let kind = &found["kinds"]["flood"];
    assert_eq!((&kind["attacks"], &kind["paged"]), (&1.into(), &1.into()));
    let attack = &found["runs"][0]["attacks"][0];
    assert_eq!(attack["found"], "page");
    assert_eq!(attack["alarm"]["channel"], "rate_fast");
    let delay = attack["decision_delay_ms"].as_i64().unwrap();
    assert!((0..2_000).contains(&delay), "{delay}");
    assert_eq!(ms(&attack["alarm"]["decided_at"]) - ms(&attack["first_record"]), delay);
    for (what, count) in [("sources", 20), ("right", 20), ("missed", 0), ("wrong", 0)] {
        assert_eq!(attack["attribution"][what], count, "{what} in {attack:#}");
    }
    let spend = attack["spend"]["nano_usd"].as_i64().unwrap();
    let excess = attack["spend"]["excess_nano_usd"].as_i64().unwrap();
    assert!(0 < excess && excess < spend, "{attack:#}");
    let alarms = &found["false_alarms"];
    assert_eq!((&alarms["pages"]["count"], &alarms["notices"]["count"]), (&0.into(), &0.into()));
    assert!(alarms["promised"]["pages"].as_f64().unwrap() < 1e-3);

    without_alarms(&recorded);
    let silent = report(&recorded, "silent.jsonl");
    let attack = &silent["runs"][0]["attacks"][0];
    assert_eq!((&attack["found"], &attack["spend"]["until"]), (&"nothing".into(), &"end".into()));
    assert_eq!(attack["attribution"]["missed"], 20);
    assert_eq!(silent["kinds"]["flood"]["missed"], 1);
    assert!(attack["spend"]["nano_usd"].as_i64().unwrap() > 10 * spend, "{attack:#}");
}

#[test]
fn runs_are_given_in_pairs_and_the_tables_go_to_standard_output() {
    let recorded = replayed();
    without_alarms(&recorded);
    let done = evaluate(&recorded, &recorded.path("decisions.jsonl"), |command| {
        command.arg("--truth").arg(recorded.path("truth.json"));
        command.arg("--decisions").arg(recorded.path("silent.jsonl"));
        command.arg("--json").arg(recorded.path("score.json"));
    });
    let said = done.succeeded().stdout;
    assert!(said.contains("50.0 % (9.5 to 90.5)"), "{said}");
    let text = fs::read_to_string(recorded.path("score.json")).unwrap();
    let score: Value = serde_json::from_str(&text).unwrap();
    let kind = &score["kinds"]["flood"];
    assert_eq!((&kind["attacks"], &kind["paged_share"]), (&2.into(), &0.5.into()));
    assert_eq!(score["runs"].as_array().unwrap().len(), 2);
    assert_eq!(kind["before_page"], Value::Null);
}

#[test]
fn packed_files_are_read_and_damaged_ones_are_told_with_their_line() {
    let recorded = replayed();
    let decisions = fs::read(recorded.path("decisions.jsonl")).unwrap();
    let score = |name: &str, content: &[u8]| {
        fs::write(recorded.path(name), content).unwrap();
        evaluate(&recorded, &recorded.path(name), |_| {})
    };
    let whole = evaluate(&recorded, &recorded.path("decisions.jsonl"), |_| {}).succeeded().stdout;
    let packed = zstd::encode_all(&decisions[..], 1).unwrap();
    assert_eq!(score("packed.zst", &packed).succeeded().stdout, whole);

    let lines = lines_of(&recorded.path("decisions.jsonl")).len();
    let cut = score("cut.jsonl", &decisions[..decisions.len() - 9]);
    let last_whole = decisions[..decisions.len() - 1].iter().rposition(|byte| *byte == b'\n');
    let short = score("short.jsonl", &decisions[..=last_whole.unwrap()]);
    let torn = score("torn.zst", &packed[..packed.len() / 2]);
    let records = evaluate(&recorded, &recorded.records, |_| {});
    let truth = evaluate(&recorded, &recorded.path("truth.json"), |_| {});
    for (done, parts) in [
        (cut, ["cut.jsonl", &format!("line {lines}: not a line of decisions: EOF")]),
        (short, ["short.jsonl", "without a line of kind summary: it is cut off, replay again"]),
        (torn, ["torn.zst line ", "write the file again"]),
        (records, ["records.jsonl line 1", "as bursar replay --decisions writes it"]),
        (truth, ["truth.json line 1", "as bursar replay --decisions writes it"]),
    ] {
        assert_eq!(done.code(), Some(1), "{done:#?}");
        assert!(parts.iter().all(|part| done.stderr.contains(part)), "{parts:?} in {done:#?}");
        assert_eq!((done.stdout.len(), done.stderr.lines().count()), (0, 1), "{done:#?}");
    }
}

#[test]
fn files_of_other_runs_and_options_that_do_not_pair_up_are_refused() {
    let [one, other] = [2, 3].map(|minutes| generate(5, minutes, None));
    for recorded in [&one, &other] {
        replay(recorded.folder.path(), |command| {
            command.arg(&recorded.records);
        });
    }
    let foreign = evaluate(&one, &other.path("decisions.jsonl"), |_| {});
    let ledger = evaluate(&one, &one.path("decisions.jsonl"), |command| {
        command.arg("--ledger").arg(other.path("ledger.jsonl"));
    });
    let swapped = evaluate(&one, &one.path("ledger.jsonl"), |_| {});
    let mut command = bursar(["evaluate", "--decisions"]);
    command.arg(one.path("decisions.jsonl")).arg("--truth").arg(one.path("ledger.jsonl"));
    let no_truth = run(&mut command);
    let alone = evaluate(&one, &one.path("decisions.jsonl"), |command| {
        command.arg("--decisions").arg(other.path("decisions.jsonl"));
    });
    let over = evaluate(&one, &one.path("decisions.jsonl"), |command| {
        command.arg("--json").arg(one.path("truth.json"));
    });
    let bare = run(&mut bursar(["evaluate"]));
    for (done, code, part) in [
        (foreign, 1, "score each replay against the truth about its own records"),
        (ledger, 1, "give the whole ledger of the same replay"),
        (swapped, 1, "line 1: a line of kind \"minute\""),
        (no_truth, 1, "give the whole file that bursar generate --truth wrote"),
        (alone, 2, "1 of --truth, 2 of --decisions and 0 of --ledger do not pair up"),
        (over, 1, "truth.json is an input, name another file for the output"),
        (bare, 2, "--truth"),
    ] {
        assert_eq!(done.code(), Some(code), "{done:#?}");
        assert!(done.stderr.contains(part), "no {part:?} in {done:#?}");
    }
}

/// A shop that is flooded twice, and records of which some come twice and some never.
const SCENARIO: &str = r#"
question = "?"
[time]
past = "40m"
length = "40m"
[platform]
duplicate = 0.05
lost = 0.01
[[function]]
name = "api"
trigger = "rest"
memory_mb = 1024
median_ms = 150
[[function]]
name = "resize"
trigger = "s3"
median_ms = 90
[[load]]
function = "api"
rps = 10
dispersion = 0.05
[[load]]
function = "resize"
rps = 2
[[attack]]
kind = "flood"
function = "api"
rps = 300
sources = 20
start = "5m"
duration = "8m"
[[attack]]
kind = "flood"
function = "api"
rps = 200
sources = 15
start = "25m"
duration = "5m"
"#;

#[test]
fn a_simulation_scores_itself_as_its_files_do() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("shop.toml"), SCENARIO).unwrap();
    let files = ["--decisions", "d.jsonl", "--ledger", "l.jsonl", "--truth", "t.json"];
    let mut command = bursar(["simulate", "--json", "-", "shop.toml"]);
    let told = run(command.args(files).current_dir(folder.path())).succeeded().stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    let policies = told["scenarios"][0]["policies"].as_array().unwrap();
    let own = policies.iter().find(|policy| policy["policy"] == "bursar").unwrap();
    let own = &own["runs"][0];
    let mut command = bursar(["evaluate", "--json", "-"]);
    let found = run(command.args(files).current_dir(folder.path())).succeeded().stdout;
    let found: Value = serde_json::from_str(&found).unwrap();

    let truth: Value = serde_json::from_str(&fs::read_to_string(path("t.json")).unwrap()).unwrap();
    let attacks = found["runs"][0]["attacks"].as_array().unwrap();
    let delays = own["detection_delays_ms"].as_array().unwrap();
    assert_eq!((attacks.len(), delays.len()), (2, 2), "{own:#}");
    for (number, attack) in attacks.iter().enumerate() {
        assert_eq!(attack["found"], "page", "{attack:#}");
        let onset = ms(&truth["attacks"][number]["onset"]);
        let decided = ms(&attack["alarm"]["decided_at"]);
        assert_eq!(delays[number], decided - onset, "{attack:#}");
        assert_eq!(attack["attribution"]["wrong"], 0, "{attack:#}");
        assert!(attack["spend"]["nano_usd"].as_i64().unwrap() > 0, "{attack:#}");
    }
    let [within, outside] = ["in_attack", "outside"]
        .map(|part| found["runs"][0]["actions"][part]["applied"].as_u64().unwrap());
    assert_eq!(own["actions"], within + outside, "{found:#}");
    assert_eq!((&own["false_actions"], outside), (&0.into(), 0), "{found:#}");
    // A policy's own files do not change what comes of it.
    let again = run(bursar(["simulate", "--json", "-", "shop.toml"]).current_dir(folder.path()));
    assert_eq!(serde_json::from_str::<Value>(&again.succeeded().stdout).unwrap(), told);
}

#[test]
fn files_of_a_simulation_are_about_one_run() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("shop.toml"), SCENARIO).unwrap();
    for more in [&["--seeds", "2", "shop.toml"][..], &["shop.toml", "shop.toml"]] {
        for option in ["--decisions", "--ledger", "--truth"] {
            let mut command = bursar(["simulate", option, "out"]);
            let done = run(command.args(more).current_dir(folder.path()));
            assert_eq!(done.code(), Some(2), "{done:?}");
            assert!(done.stderr.contains("give one scenario and one seed"), "{done:?}");
        }
    }
}
