//! The search for settings from outside: scenarios in, a settings file out.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::{Done, bursar, run};

const SHOP: &str = r#"
question = "?"
[time]
past = "20m"
length = "10m"
[[function]]
name = "api"
trigger = "rest"
memory_mb = 1024
median_ms = 150
[[load]]
function = "api"
rps = 3
dispersion = 0.05
"#;
const FLOOD: &str = r#"
[[attack]]
kind = "flood"
function = "api"
rps = 150
sources = 20
start = "2m"
duration = "4m"
"#;
/// Nobody acts on an attack that must cost a thousand dollars an hour.
const BLIND: &str = "[control]\naction_floor_usd_per_hour = 1000\n";

struct Workshop {
    folder: TempDir,
}

impl Workshop {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("flood.toml"), [SHOP, FLOOD].concat()).unwrap();
        fs::write(folder.path().join("quiet.toml"), SHOP).unwrap();
        fs::write(folder.path().join("blind.toml"), BLIND).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn tune(&self, more: &[&str]) -> Done {
        let mut command = bursar(["tune", "--config", "blind.toml", "--evaluations", "160"]);
        command.args(["--seeds", "2"]).args(more).args(["flood.toml", "quiet.toml"]);
        run(command.current_dir(self.folder.path()))
    }
}

#[test]
fn a_bad_default_is_beaten_and_the_file_says_by_what_and_is_accepted() {
    let workshop = Workshop::new();
    let told = workshop.tune(&["--out", "tuned.toml", "--report", "r.html"]).succeeded().stdout;
    assert!(told.contains("cost less there, too"), "{told}");
    let file = workshop.read("tuned.toml");
    assert!(file.contains("# Before: 1000.0."), "{file}");
    assert!(file.contains("[control]\n") && file.contains("\naction_floor_usd_per_hour = "));
    assert!(!file.contains("brokers"), "only what is different: {file}");
    run(bursar(["check", "--config"]).arg(workshop.path("tuned.toml"))).succeeded();
    let html = workshop.read("r.html");
    for outside in ["http://", "https://", "src=", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("Trade-off") && html.contains("<circle"));
}

#[test]
fn one_seed_gives_one_file_and_a_search_that_was_stopped_gives_the_same() {
    let workshop = Workshop::new();
    let straight = workshop.tune(&["--threads", "1", "--state", "a.jsonl"]).succeeded().stdout;
    let state = workshop.read("a.jsonl");
    // What a process leaves that was killed while it wrote.
    let half = state.lines().count() / 2;
    let whole: String = state.lines().take(half).map(|line| format!("{line}\n")).collect();
    let torn = state.lines().nth(half).unwrap().get(..40).unwrap();
    fs::write(workshop.path("b.jsonl"), whole + torn).unwrap();
    let resumed = workshop.tune(&["--threads", "3", "--state", "b.jsonl"]).succeeded().stdout;
    assert_eq!(straight, resumed);
    let sorted = |name: &str| {
        let mut lines: Vec<String> = workshop.read(name).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted("a.jsonl"), sorted("b.jsonl"), "nothing is run twice and nothing is missing");
    // A finished search runs nothing again.
    let again = workshop.tune(&["--state", "a.jsonl"]).succeeded().stdout;
    assert_eq!((again, workshop.read("a.jsonl")), (straight, state));
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let workshop = Workshop::new();
    fs::write(workshop.path("other.jsonl"), "{\"v\":9}\n").unwrap();
    fs::write(workshop.path("notes.txt"), "precious, and no line end").unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["flood.toml", "flood.toml"], 2, "flood is given twice"),
        (&["missing.toml"], 2, "missing.toml"),
        (&["blind.toml"], 2, "blind.toml"),
        (&["--evaluations", "1", "flood.toml"], 2, "give at least 2"),
        (&["--denied-usd", "NaN", "flood.toml"], 2, "from 0 to 1000000"),
        (&["--state", "other.jsonl", "flood.toml"], 1, "line 1 is no evaluation"),
        (&["--state", "notes.txt", "flood.toml"], 1, "line 1 is no evaluation"),
        (&["--state", "new", "--out", "./new", "flood.toml"], 1, "named for two outputs"),
    ];
    for (args, code, words) in cases {
        let mut command = bursar(["tune"]);
        let done = run(command.args(args).current_dir(workshop.folder.path()));
        assert_eq!(done.code(), Some(code), "{args:?} {done:?}");
        assert!(done.stderr.contains(words), "{args:?} {}", done.stderr);
    }
    assert_eq!(workshop.read("notes.txt"), "precious, and no line end");
}
