//! The text of a scenario to its value.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::de::DeTable;

use super::functions::{Deployed, functions};
use super::loads::loads;
use super::problems::{Problem, ScenarioProblems};
use super::recordings::{RECORDINGS_MAX, Window, recording};
use super::section::{Notes, Section};
use super::{
    Deploy, ENTRIES_MAX, Expect, LENGTH_MAX, Load, Money, PAST_MAX, Pace, Scenario, Surge,
};
use crate::simulation::attack::{ATTACKS_MAX, AttackError, AttackSpec};
use crate::simulation::platform::{PipelineFaults, PlatformSettings};
use crate::simulation::recording::Open;
use crate::units::{EventTime, NanoUsd};

/// The largest file that is read.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a file; recordings that it names are read by what `open` gives.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: &Path, open: Open) -> Result<Scenario, ScenarioProblems> {
    let fault = |words: String| ScenarioProblems {
        file: path.display().to_string(),
        problems: vec![Problem { line: 0, key: String::new(), words }],
    };
    // Opening a pipe would wait for somebody who writes.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(fault("no regular file; give a TOML file".to_owned()));
    }
    let file = File::open(path)
        .map_err(|error| fault(format!("cannot be read: {error}; check the path")))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes =
        read.map_err(|error| fault(format!("cannot be read: {error}; give a TOML file")))?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(fault(format!("larger than {FILE_BYTES_MAX} bytes; shorten its lists")));
    }
    read_text(path, &text, open)
}

/// As [`read`], with the text already read. Files that it names are looked for beside `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_text(path: &Path, text: &str, open: Open) -> Result<Scenario, ScenarioProblems> {
    let file = path.display().to_string();
    let notes = Notes::new(text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(0, |span| notes.line(span.start));
        let words = format!("not valid TOML: {}", error.message().replace('\n', " "));
        let problems = vec![Problem { line, key: String::new(), words }];
        ScenarioProblems { file: file.clone(), problems }
    })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new("."));
    let scenario = scenario(name, (folder, open), Section::root(table.get_ref(), &notes));
    let problems = notes.into_problems();
    if problems.is_empty() { Ok(scenario) } else { Err(ScenarioProblems { file, problems }) }
}

fn scenario(name: String, (folder, open): (&Path, Open), root: Section<'_>) -> Scenario {
    let question = root.needed("question").to_owned();
    let (start, past_ms, length_ms) = time(root.section("time"));
    let platform = platform(root.section("platform"));
    let money = money(root.section("budget"));
    let mut deployed = functions(root.list("function", ENTRIES_MAX));
    let (mut loads, mut files) = loads(&root, folder, (past_ms, length_ms), &mut deployed);
    let time = Window { start, past_ms, length_ms };
    let recordings = root.list("recording", RECORDINGS_MAX).into_iter();
    let recordings = recordings.filter_map(|section| {
        let recording = recording(&section, (folder, open), time, &mut deployed, &mut loads);
        section.finish();
        files.extend(recording.iter().flat_map(|recording| recording.files.paths.clone()));
        recording
    });
    let recordings = recordings.collect();
    if deployed.specs.is_empty() {
        root.missing("function", "at least one as [[function]], or a [[trace]] or [[recording]]");
    }
    let surges = root.list("surge", ENTRIES_MAX).into_iter();
    let surges = surges.map(|section| surge(section, &deployed, &loads, length_ms)).collect();
    let deploys = root.list("deploy", ENTRIES_MAX).into_iter();
    let deploys = deploys.map(|section| deploy(section, &deployed, length_ms)).collect();
    let attacks = root.list("attack", ATTACKS_MAX).into_iter();
    let attacks = attacks.filter_map(|section| attack(&section, &deployed, &loads, length_ms));
    let attacks = attacks.collect();
    let expect = Expect::read(root.section("expect"));
    root.finish();
    let functions = deployed.specs;
    Scenario {
        name,
        question,
        start,
        past_ms,
        length_ms,
        platform,
        money,
        functions,
        loads,
        recordings,
        surges,
        deploys,
        attacks,
        expect,
        files,
    }
}

fn time(section: Section<'_>) -> (EventTime, u64, u64) {
    // A Tuesday, in the middle of a month.
    let usual = "2026-03-10T10:00:00Z";
    let text = section.text("start").unwrap_or(usual);
    let start = text.parse().unwrap_or_else(|error| {
        section.problem("start", error);
        EventTime::MIN
    });
    let past_ms = section.span("past", ("0s", PAST_MAX)).unwrap_or(3 * 3_600_000);
    let length_ms = section.span("length", ("1m", LENGTH_MAX)).unwrap_or(3_600_000);
    for (key, ms) in [("past", past_ms), ("length", length_ms)] {
        if ms % 60_000 != 0 {
            section.problem(key, "not accepted, give whole minutes");
        }
    }
    if start.ms() % 60_000 != 0 {
        section.problem("start", "not accepted, give a whole minute");
    }
    let span = past_ms + length_ms;
    if start.since_ms(EventTime::MIN) < span.cast_signed()
        || EventTime::MAX.since_ms(start) < span.cast_signed()
    {
        section.problem("start", "not accepted, past and window must lie between 2014 and 2100");
    }
    section.finish();
    (start, past_ms, length_ms)
}

fn platform(section: Section<'_>) -> PlatformSettings {
    let usual = PlatformSettings::default();
    let ms = |key, most: &'static str, usual: u32| {
        let ms = section.span(key, ("0s", most));
        ms.map_or(usual, |ms| u32::try_from(ms).unwrap_or(u32::MAX))
    };
    let share = |key| section.number(key, 0.0..=1.0).unwrap_or(0.0);
    let count = |key, usual: u32| section.whole(key, 1..=10_000_000).unwrap_or(usual);
    let blocked = section.whole("blocked_addresses_max", 1..=100_000);
    let settings = PlatformSettings {
        concurrency: count("concurrency", usual.concurrency),
        unreserved_minimum: section
            .whole("unreserved_minimum", 0..=10_000_000)
            .unwrap_or(usual.unreserved_minimum),
        keep_alive_ms: ms("keep_alive", "1h", usual.keep_alive_ms),
        scaling_environments: count("scaling_environments", usual.scaling_environments),
        propagation_ms: ms("propagation", "1h", usual.propagation_ms),
        delay_ms_min: ms("delay_min", "1h", 1_000),
        delay_ms_max: ms("delay_max", "1h", 5_000),
        batch_ms: ms("batch", "10m", usual.batch_ms),
        blocked_addresses_max: blocked.map_or(usual.blocked_addresses_max, |most| most as usize),
        faults: PipelineFaults {
            late: share("late"),
            late_ms_max: ms("late_max", "1h", 60_000),
            duplicate: share("duplicate"),
            lost: share("lost"),
            reordered: share("reordered"),
        },
        gateway_rps: count("gateway_rps", usual.gateway_rps),
        gateway_burst: count("gateway_burst", usual.gateway_burst),
        control_rps: count("control_rps", usual.control_rps),
        ..usual
    };
    if settings.delay_ms_min > settings.delay_ms_max {
        section.problem("delay_min", "above delay_max, lower it");
    }
    if settings.unreserved_minimum > settings.concurrency {
        section.problem("unreserved_minimum", "above concurrency, lower it");
    }
    section.finish();
    settings
}

fn money(section: Section<'_>) -> Money {
    let usd = |key| section.number(key, 0.0..=1e9).map(NanoUsd::from_usd);
    let (monthly, spent) = (usd("monthly_usd"), usd("spent_usd").unwrap_or_default());
    if section.is_there() && !section.has("monthly_usd") {
        section.missing("monthly_usd", "0 to 1000000000");
    }
    section.finish();
    Money { monthly, spent }
}

/// Start and duration within the window.
fn when(section: &Section<'_>, duration: Option<u64>, length_ms: u64) -> u64 {
    let start_ms = section.span("start", ("0s", LENGTH_MAX)).unwrap_or(20 * 60_000);
    if start_ms.saturating_add(duration.unwrap_or(0)) > length_ms {
        let minutes = length_ms / 60_000;
        section.problem(
            "start",
            format!("it must be over within the {minutes} minutes of time.length"),
        );
    }
    start_ms
}

fn surge(section: Section<'_>, deployed: &Deployed, loads: &[Load], length_ms: u64) -> Surge {
    let duration_ms = section.span("duration", ("1s", LENGTH_MAX)).unwrap_or(20 * 60_000);
    let functions = deployed.matching(&section);
    let can_surge = |load: &Load| {
        let at_random = matches!(load.pace, Pace::Random { .. } | Pace::Sessions { .. });
        at_random && functions.contains(&load.function)
    };
    if !functions.is_empty() && !loads.iter().any(can_surge) {
        section.problem("function", "nothing calls it at random, give it a [[load]] with rps");
    }
    let surge = Surge {
        functions,
        start_ms: when(&section, Some(duration_ms), length_ms),
        duration_ms,
        rise_ms: section.span("rise", ("0s", LENGTH_MAX)).unwrap_or(60_000),
        factor: section.number("factor", 1.0..=100_000.0).unwrap_or(5.0),
        users: section.whole("users", 1..=100_000_000).unwrap_or(5_000),
    };
    section.finish();
    surge
}

fn deploy(section: Section<'_>, deployed: &Deployed, length_ms: u64) -> Deploy {
    let deploy = Deploy {
        functions: deployed.matching(&section),
        start_ms: when(&section, None, length_ms),
        slow: section.number("slow", 0.001..=1_000.0).unwrap_or(1.0),
    };
    section.finish();
    deploy
}

/// The keys are those of `bursar generate --attack`, so that nothing is said in two ways.
fn attack(
    section: &Section<'_>,
    deployed: &Deployed,
    loads: &[Load],
    length_ms: u64,
) -> Option<AttackSpec> {
    let kind = section.needed("kind");
    let pairs = section.pairs(&["kind"]);
    let pairs = pairs.iter().map(|(key, value)| Ok((*key, value.as_str())));
    let spec = AttackSpec::from_pairs(kind, pairs);
    let checked = spec.and_then(|spec| {
        let victims = deployed.check_attack(&spec, length_ms)?;
        let is_replayed = |load: &Load| {
            matches!(load.pace, Pace::Replayed { .. }) && victims.contains(&load.function)
        };
        if spec.overlap > 0.0 && loads.iter().any(is_replayed) {
            let accepted = "0 where callers are recorded: their addresses are not drawn";
            return Err(AttackError::value("overlap", &spec.overlap.to_string(), accepted));
        }
        Ok(spec)
    });
    checked.map_err(|error| section.problem(key_of(&error), &error)).ok()
}

fn key_of(error: &AttackError) -> &str {
    match error {
        AttackError::Kind(_) => "kind",
        AttackError::Key { key, .. } => key,
        AttackError::Value { key, .. } => key,
    }
}
