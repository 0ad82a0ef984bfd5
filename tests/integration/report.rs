//! Reports as files: one page that loads nothing, whatever names it shows, with the numbers of the
//! JSON document.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{bursar, generate, run};

const HOSTILE: &str = r#"</td><script src="https://x.example/a.js">alert(1)</script><img src=x>"#;

/// What stands between tags, and that every tag is closed where it must be.
fn texts(html: &str) -> Vec<String> {
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];
    let mut open: Vec<String> = Vec::new();
    let mut texts = Vec::new();
    for part in html.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("unclosed: {part}"));
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "<{tag}>");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name.to_owned());
        }
        if !text.trim().is_empty() {
            texts.push(text.trim().to_owned());
        }
    }
    assert!(open.is_empty(), "{open:?}");
    texts
}

fn check_alone(html: &str) {
    for outside in ["http://", "https://", "src=", "href=", "url(", "@import", "<script", "<img"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let kinds = ["<svg", "prefers-color-scheme", "name=\"viewport\"", "Content-Security-Policy"];
    for part in kinds {
        assert!(html.contains(part), "{part}");
    }
}

fn cells(html: &str, first: &str) -> Vec<String> {
    let (_, row) = html.split_once(&format!("<tr><td>{first}</td>")).unwrap();
    let (row, _) = row.split_once("</tr>").unwrap();
    texts(row)
}

fn usd(value: &Value) -> String {
    bursar::units::NanoUsd::from_usd(value.as_f64().unwrap()).to_string()
}

#[test]
fn a_simulation_is_told_in_pictures_with_the_numbers_of_the_json() {
    let folder = TempDir::new().unwrap();
    let [scenario, json, html] =
        ["shop.toml", "scores.json", "report.html"].map(|name| folder.path().join(name));
    let question = HOSTILE.replace('"', "'");
    let text = format!(
        r#"
question = "{question}"
[time]
past = "30m"
length = "15m"
[[function]]
name = "api"
trigger = "rest"
memory_mb = 1024
median_ms = 150
[[load]]
function = "api"
rps = 5
dispersion = 0.05
[[attack]]
kind = "flood"
function = "api"
rps = 100
sources = 20
start = "3m"
duration = "5m"
"#
    );
    fs::write(&scenario, text).unwrap();
    let mut command = bursar(["simulate", "--json"]);
    command.arg(&json).arg("--report").arg(&html).arg(&scenario);
    run(&mut command).succeeded();
    let html = fs::read_to_string(html).unwrap();
    check_alone(&html);
    let texts = texts(&html);
    assert!(html.len() < 400_000, "{}", html.len());
    let pictures = html.matches("<figure>").count();
    assert_eq!(pictures, 6, "load, spend, caps, trade-off, leaked, denied");
    assert!(texts.iter().any(|text| text.starts_with("&lt;&#47;td&gt;&lt;script")));
    let scores: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let scores = scores["scenarios"][0]["policies"].as_array().unwrap();
    for score in scores {
        let cells = cells(&html, score["policy"].as_str().unwrap());
        if score["idle"] == 1 {
            assert_eq!(cells[0], "cannot act here");
            continue;
        }
        assert_eq!(cells[4], usd(&score["leaked_usd"]["mean"]), "{cells:?}");
        let denied = score["denied"]["mean"].as_f64().unwrap();
        assert_eq!(cells[8], format!("{denied:.1}"), "{cells:?}");
        assert_eq!(cells[13], score["calls"].to_string(), "{cells:?}");
    }
    let lines = html.split("<path class=\"l ").skip(1);
    let points = lines.map(|line| line.split('>').next().unwrap().matches('L').count());
    assert!(points.max().unwrap() <= 2_000);
}

#[test]
fn a_replay_tells_what_would_have_happened() {
    let recorded =
        generate(1, 60, Some("flood:factor=20,min_rps=50,start=30m,duration=5m,sources=20"));
    // The victim gets a name that would break out of any page.
    let victim = recorded.attack()["functions"][0].as_str().unwrap();
    let victim = victim.splitn(3, ':').last().unwrap();
    let records = fs::read_to_string(&recorded.records).unwrap();
    let hostile = serde_json::to_string("a\u{202e}<b>'x").unwrap();
    let hostile = hostile.trim_matches('"');
    fs::write(&recorded.records, records.replace(victim, hostile)).unwrap();
    let [json, html] = ["all.json", "report.html"].map(|name| recorded.path(name));
    let mut command = bursar(["replay", "--json"]);
    command.arg(&json).arg("--report").arg(&html).arg(&recorded.records);
    run(&mut command).succeeded();
    let html = fs::read_to_string(html).unwrap();
    check_alone(&html);
    texts(&html);
    assert!(!html.contains("<b>") && !html.contains('\u{202e}'));
    let all: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let summary = &all["summary"];
    let nano = |value: &Value| bursar::units::NanoUsd(value.as_i64().unwrap()).to_string();
    for (name, shown) in [
        ("records", summary["records"]["counted"].to_string()),
        ("spend", nano(&summary["spend_nano_usd"])),
        ("pages", summary["pages"].to_string()),
        ("planned actions", summary["actions"].to_string()),
    ] {
        assert_eq!(cells(&html, name), [shown], "{name}");
    }
    let would_have = &all["would_have"];
    assert!(would_have["saved_nano_usd"].as_i64().unwrap() > 0, "{would_have}");
    let saved = format!("saved {}", nano(&would_have["saved_nano_usd"]));
    assert!(html.contains(&saved), "{saved}");
    assert!(html.contains("<h2>Planned actions</h2>") && html.contains("<h2>Alarms</h2>"));
}
