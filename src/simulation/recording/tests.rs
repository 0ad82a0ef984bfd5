use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::runtime::recorded::open;
use crate::simulation::platform::{Request, Way};
use crate::simulation::scenario::{Scenario, read_text};
use crate::simulation::world::World;

const ACCOUNT: &str = "111122223333";

/// An invocation in bursar's own form that ends `ms` after 2026-01-05T09:00:30Z.
fn invocation(name: &str, ms: i64, billed: u32, id: &str) -> String {
    json!({
        "kind": "invocation", "account": ACCOUNT, "region": "eu-west-1", "function": name,
        "time": at(ms).to_string(), "billed_ms": billed, "memory_mb": 512, "request_id": id,
    })
    .to_string()
}

/// A line of an API's access log, of the request that led to the invocation `id`.
fn access(ms: i64, address: &str, id: &str) -> String {
    json!({
        "requestId": format!("r{id}"), "ip": address, "requestTimeEpoch": at(ms).ms(),
        "routeKey": "GET /cart", "status": "200", "apiId": "a1b2c3d4e5", "stage": "live",
        "userAgent": "curl", "responseLength": "77", "integrationRequestId": id,
    })
    .to_string()
}

fn at(ms: i64) -> EventTime {
    "2026-01-05T09:00:30Z".parse::<EventTime>().unwrap().plus_ms(ms)
}

/// A scenario of two minutes of past and four minutes that plays `lines`.
fn scenario(folder: &TempDir, lines: &str, more: &str) -> Result<Scenario, String> {
    fs::write(folder.path().join("calls.jsonl"), lines).unwrap();
    let text = format!(
        "question = \"?\"\n[time]\npast = \"2m\"\nlength = \"4m\"\n\
         [[recording]]\nfiles = [\"calls.jsonl\"]\n{more}"
    );
    let path = folder.path().join("scenario.toml");
    read_text(Path::new(&path), &text, open).map_err(|problems| problems.to_string())
}

fn requests(scenario: &Scenario, seed: u64) -> Vec<Request> {
    let mut world = World::new(scenario, seed).unwrap();
    let (mut out, mut now) = (Vec::new(), scenario.begin());
    while now < scenario.end() {
        now = now.plus_ms(1_000);
        let first = out.len();
        world.take(now, &mut out);
        assert!(out[first..].iter().all(|request: &Request| request.at < now));
        assert!(out[first..].iter().all(|request| request.at >= now.plus_ms(-1_000)));
    }
    assert_eq!(world.fault(), None);
    out
}

/// Six minutes of calls, one every ten seconds, each behind its line of the access log.
fn minutes() -> String {
    let mut lines = String::new();
    for call in 0..36 {
        let (id, address) = (call.to_string(), format!("198.51.100.{}", call % 5));
        let said = [
            access(call * 10_000, &address, &id),
            invocation("cart", call * 10_000 + 250, 250, &id),
        ];
        // Which of the two is told first is the log pipeline's whim.
        let order = if call % 3 == 1 { [0, 1] } else { [1, 0] };
        for line in order.map(|place| &said[place]) {
            writeln!(lines, "{line}").unwrap();
        }
    }
    lines
}

#[test]
fn invocations_are_played_at_their_time_with_their_own_duration_and_their_callers() {
    let folder = TempDir::new().unwrap();
    let scenario = scenario(&folder, &minutes(), "").unwrap();
    let function = &scenario.functions[0];
    assert_eq!(function.key.to_string(), format!("{ACCOUNT}:eu-west-1:cart"));
    assert_eq!(function.memory.get(), 512);
    let api = function.api.as_ref().unwrap();
    assert_eq!((&*api.api_id, &*api.stage, &*api.route_key()), ("a1b2c3d4e5", "live", "GET /cart"));
    let played = requests(&scenario, 1);
    // The first minute of the recording is that of the past, so the seconds stay what they were.
    assert_eq!(played.len(), 33);
    for (call, request) in (0..).zip(&played) {
        assert_eq!(request.at, scenario.begin().plus_ms(30_000 + call * 10_000));
        assert_eq!(request.run_ms, Some(250.0));
        assert_eq!(request.address, format!("198.51.100.{}", call % 5).parse().ok());
        assert_eq!(request.response_bytes, Some(77));
    }
    assert_eq!(played, requests(&scenario, 2));
}

#[test]
fn a_copy_of_the_world_goes_on_where_it_was_copied() {
    let folder = TempDir::new().unwrap();
    let scenario = scenario(&folder, &minutes(), "").unwrap();
    let mut world = World::new(&scenario, 1).unwrap();
    let (mut past, mut rest, mut again) = (Vec::new(), Vec::new(), Vec::new());
    world.take(scenario.start, &mut past);
    let mut copy = world.clone();
    world.take(scenario.end(), &mut rest);
    copy.take(scenario.end(), &mut again);
    assert_eq!(rest, again);
    assert_eq!([past, rest].concat(), requests(&scenario, 1));
}

#[test]
fn calls_that_are_told_in_the_order_of_their_ends_come_in_the_order_of_their_beginnings() {
    let folder = TempDir::new().unwrap();
    // A run of four minutes is told after all that began and ended meanwhile.
    let mut lines = minutes();
    writeln!(lines, "{}", invocation("report", 355_000, 240_000, "long")).unwrap();
    let scenario = scenario(&folder, &lines, "").unwrap();
    assert_eq!(scenario.recordings[0].lag_ms, 240_000);
    let played = requests(&scenario, 1);
    assert!(played.is_sorted_by_key(|request| request.at));
    let long = played.iter().find(|request| request.function == 1).unwrap();
    assert_eq!(long.at, scenario.begin().plus_ms(30_000 + 115_000));
    assert_eq!(long.run_ms, Some(240_000.0));
}

#[test]
fn an_access_log_is_played_on_the_function_that_is_named_for_it() {
    let folder = TempDir::new().unwrap();
    let log: String = (0..36)
        .map(|call| {
            let time = at(call * 10_000).to_string();
            let (clock, _) = time.split_at(19);
            let clock = clock.replacen("2026-01-05T", "05/Jan/2026:", 1);
            format!("203.0.113.{call} - - [{clock} +0000] \"GET /{call} HTTP/1.1\" 200 512\n")
        })
        .collect();
    let more = "function = \"web\"\nscale = 2.5\n\
                [[function]]\nname = \"web\"\ntrigger = \"rest\"\n";
    let scenario = scenario(&folder, &log, more).unwrap();
    let played = requests(&scenario, 1);
    assert!((75..=90).contains(&played.len()), "{}", played.len());
    let first: Vec<_> = played.iter().take(2).map(|request| request.address).collect();
    assert_eq!(first, ["203.0.113.0".parse().ok(); 2]);
    assert!(played.iter().all(|request| request.way == Way::Sync && request.run_ms.is_none()));
}

#[test]
fn a_recorded_function_that_is_declared_is_the_declared_one() {
    let folder = TempDir::new().unwrap();
    let more = "start = \"0s\"\n[[function]]\nname = \"cart\"\nmemory_mb = 128\n";
    let scenario = scenario(&folder, &minutes(), more).unwrap();
    assert_eq!(scenario.functions.len(), 1);
    assert_eq!(scenario.functions[0].memory.get(), 128);
    let played = requests(&scenario, 1);
    assert_eq!(played.first().map(|request| request.at), Some(scenario.start.plus_ms(30_000)));
    // What is declared without an API has callers without addresses.
    assert!(played.iter().all(|request| request.address.is_none()));
}

#[test]
fn what_is_no_load_is_told_with_line_and_key() {
    let folder = TempDir::new().unwrap();
    let (line, minutes) = (invocation("cart", 0, 5, "x"), minutes());
    let back = format!("{}\n{line}\n", invocation("cart", 3_600_000, 5, "y"));
    let log: String =
        (0..40).map(|call| access(call * 10_000, "203.0.113.9", "1") + "\n").collect();
    let overlap = "[[attack]]\nkind = \"flood\"\nfunction = \"cart\"\noverlap = 0.5\n\
                   start = \"1m\"\nduration = \"1m\"\n";
    for (lines, more, expected) in [
        (&*line, "", "line 6: recording[0].files: they hold 1 minutes of 6; give more"),
        (&back, "", "recording[0].files: times go back by 60 minutes at message 2"),
        ("{}\n", "", "recording[0].files: no calls in 1 messages, 1 parts refused: "),
        ("", "", "recording[0].files: no calls in 0 messages"),
        (&log, "", "recording[0].function: missing, give the name of the one"),
        (&minutes, "function = \"none\"\n", "recording[0].function: \"none\": no such function"),
        (&minutes, "scale = -1\n", "recording[0].scale: -1: not accepted"),
        (&minutes, "start = \"4m\"\n", "recording[0].start: nothing of it would be played"),
        (&minutes, "speed = 2\n", "recording[0].speed: unknown key"),
        (
            &minutes,
            overlap,
            "attack[0].overlap: attack key overlap: \"0.5\" does not fit, accepted: 0 where",
        ),
    ] {
        let problems = scenario(&folder, lines, more).unwrap_err();
        assert!(problems.contains(expected), "{expected}\n{problems}");
    }
    for (files, expected) in [
        ("[\"nowhere\"]", "nowhere (No such file or directory"),
        ("[\".\"]", "no regular file"),
        ("[]", "not accepted, give a list of texts"),
        ("\"calls.jsonl\"", "not accepted, give a list of texts"),
    ] {
        let text = format!("question = \"?\"\n[[recording]]\nfiles = {files}\n");
        let problems = read_text(&folder.path().join("x.toml"), &text, open).unwrap_err();
        let problems = problems.to_string();
        assert!(problems.contains("line 3: recording[0].files"), "{problems}");
        assert!(problems.contains(expected), "{expected}\n{problems}");
    }
}

#[test]
fn files_that_change_while_they_are_played_are_told() {
    let folder = TempDir::new().unwrap();
    let scenario = scenario(&folder, &minutes(), "").unwrap();
    fs::remove_file(folder.path().join("calls.jsonl")).unwrap();
    let mut world = World::new(&scenario, 1).unwrap();
    world.take(scenario.end(), &mut Vec::new());
    assert!(world.fault().is_some_and(|fault| fault.contains("calls.jsonl")));

    let folder = TempDir::new().unwrap();
    let scenario = self::scenario(&folder, &minutes(), "").unwrap();
    let half = minutes().len() / 2;
    fs::write(folder.path().join("calls.jsonl"), minutes().get(..half).unwrap()).unwrap();
    let mut world = World::new(&scenario, 1).unwrap();
    world.take(scenario.end(), &mut Vec::new());
    assert!(world.fault().is_some_and(|fault| fault.contains("has changed")));
}

#[test]
fn calls_that_are_misdated_do_not_take_the_place_of_all_others() {
    let folder = TempDir::new().unwrap();
    let stray = invocation("cart", -3 * 86_400_000, 100, "stray");
    let wrong = scenario(&folder, &format!("{stray}\n{}", minutes()), "").unwrap_err();
    assert!(wrong.to_string().contains("before all others"), "{wrong}");
}

#[test]
fn what_is_held_of_a_long_recording_is_what_runs_at_once() {
    let folder = TempDir::new().unwrap();
    let lines: String = (0..360_i64)
        .flat_map(|second| (0..50).map(move |call| (second, call)))
        .fold(String::new(), |mut lines, (second, call)| {
            let (ms, id) = (second * 1_000 + call * 20, format!("{second}-{call}"));
            writeln!(lines, "{}", access(ms - 100, "203.0.113.9", &id)).unwrap();
            writeln!(lines, "{}", invocation("cart", ms, 100, &id)).unwrap();
            lines
        });
    let scenario = scenario(&folder, &lines, "").unwrap();
    let recording = &scenario.recordings[0];
    assert_eq!(recording.lag_ms, 100);
    let mut playback = Playback::new(
        recording,
        vec![(Way::Sync, false)],
        crate::simulation::draw::Draw::new(1, 1),
    );
    let mut now = scenario.begin();
    let mut played = Vec::new();
    while now < scenario.end() {
        now = now.plus_ms(1_000);
        playback.take(now, &mut played);
        // Callers of the last minute and what is read ahead, of 18,000.
        assert!(playback.held() <= 62 * 50, "{} are held", playback.held());
    }
    // Those that begin within the five and a half minutes that there is room for.
    assert_eq!(played.len(), (330_000 + 100) / 20);
}
