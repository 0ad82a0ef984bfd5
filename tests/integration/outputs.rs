//! Outputs are looked at before the work: what cannot be written, and what would replace an input.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{bursar, run};

const SCENARIO: &str = r#"
question = "?"
[time]
past = "1m"
length = "1m"
[[trace]]
calls = "calls.csv"
"#;
const CALLS: &str = "HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,f,http,9,8\n";
const DURATIONS: &str = "HashFunction,percentile_Average_0,percentile_Average_1,\
    percentile_Average_25,percentile_Average_50,percentile_Average_75,percentile_Average_99,\
    percentile_Average_100\nf,1,2,3,4,5,6,7\n";
const MEMORY: &str = "HashFunction,AverageAllocatedMb\nf,100\n";

fn workshop() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in [
        ("shop.toml", SCENARIO),
        ("calls.csv", CALLS),
        ("durations.csv", DURATIONS),
        ("memory.csv", MEMORY),
        ("settings.toml", "[cost]\nprices_file = \"prices.toml\"\n"),
        ("prices.toml", ""),
        ("kept.json", "kept"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// What lies in a folder, with its content.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    let content =
        |path: &std::path::PathBuf| (path.display().to_string(), fs::read_to_string(path).unwrap());
    files.iter().map(content).collect()
}

#[test]
fn what_cannot_be_written_is_told_before_the_work_and_nothing_is_touched() {
    let folder = workshop();
    let cases: [(&[&str], &[&str]); 5] = [
        (&["simulate", "shop.toml"], &["--json", "--report"]),
        (&["simulate", "--swarm", "1"], &["--json"]),
        (&["tune", "shop.toml", "--evaluations", "2"], &["--out", "--report", "--state"]),
        (&["generate", "--trace", "calls.csv", "--minutes", "2", "--out", "r.jsonl"], &["--truth"]),
        (&["evaluate", "--truth", "kept.json", "--decisions", "kept.json"], &["--json"]),
    ];
    let before = contents(folder.path());
    for (args, options) in cases {
        for option in options {
            for bad in ["absent/out", "."] {
                let mut command = bursar(args);
                let done = run(command.args([option, bad]).current_dir(folder.path()));
                assert_eq!(done.code(), Some(1), "{args:?} {option} {done:?}");
                assert!(done.stderr.contains(&format!("cannot write {bad}")), "{done:?}");
                assert_eq!(done.stdout, "", "{args:?} {option}: nothing was done");
            }
        }
    }
    assert_eq!(contents(folder.path()), before);
}

#[cfg(unix)]
#[test]
fn no_input_is_replaced_by_whatever_way_it_is_named() {
    let folder = workshop();
    let inputs = ["shop.toml", "calls.csv", "durations.csv", "memory.csv"];
    let (linked, soft) = (folder.path().join("linked"), folder.path().join("soft"));
    let before = contents(folder.path());
    let refused = |args: &[&str], option: &str, path: &str| {
        let mut command = bursar(args);
        let done = run(command.args([option, path]).current_dir(folder.path()));
        assert_eq!(done.code(), Some(1), "{args:?} {option} {path} {done:?}");
        assert!(done.stderr.contains("is an input"), "{args:?} {option} {path} {done:?}");
    };
    let config = ["--config", "settings.toml"];
    for command in ["simulate", "tune"] {
        let args = [&[command, "shop.toml"], &config[..]].concat();
        for option in ["--report", if command == "tune" { "--out" } else { "--json" }] {
            for input in inputs.iter().chain(&["settings.toml", "prices.toml"]) {
                refused(&args, option, &format!("../{}/{input}", name(folder.path())));
            }
        }
    }
    let generate = ["generate", "--trace", "calls.csv", "--minutes", "2"];
    for (option, other) in [("--out", "--truth"), ("--truth", "--out")] {
        for input in &inputs[1..] {
            refused(&[&generate[..], &[other, "new"]].concat(), option, input);
        }
    }
    // Other names of one file.
    for input in inputs {
        fs::hard_link(folder.path().join(input), &linked).unwrap();
        std::os::unix::fs::symlink(input, &soft).unwrap();
        refused(&["simulate", "shop.toml"], "--json", "linked");
        refused(&["simulate", "shop.toml"], "--report", "soft");
        fs::remove_file(&linked).unwrap();
        fs::remove_file(&soft).unwrap();
    }
    assert_eq!(contents(folder.path()), before);
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}
