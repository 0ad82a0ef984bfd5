//! `[[recording]]`: load as it was recorded, call by call.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::functions::{ACCOUNT, Deployed, REGION};
use super::section::Section;
use super::{LENGTH_MAX, Load, Pace, Season};
use crate::simulation::platform::FUNCTIONS_MAX;
use crate::simulation::recording::{Files, Open, Recording, Seen, Survey, name_bits};
use crate::units::EventTime;

/// The most recordings of a scenario; each is read by every policy.
pub(super) const RECORDINGS_MAX: usize = 64;

const MINUTE_MS: i64 = 60_000;

/// What time a scenario takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start: EventTime,
    pub(super) past_ms: u64,
    pub(super) length_ms: u64,
}

impl Window {
    fn begin(&self) -> EventTime {
        self.start.plus_ms(-self.past_ms.cast_signed())
    }

    fn end(&self) -> EventTime {
        self.start.plus_ms(self.length_ms.cast_signed())
    }
}

/// Reads an entry and what is in its files; adds the functions that they tell of, and their loads.
pub(super) fn recording(
    section: &Section<'_>,
    (folder, open): (&Path, Open),
    window: Window,
    deployed: &mut Deployed,
    loads: &mut Vec<Load>,
) -> Option<Recording> {
    let paths = section.texts("files").into_iter().map(|name| folder.join(name));
    let paths: Vec<PathBuf> = paths.collect();
    let scale = section.number("scale", 0.001..=1_000.0).unwrap_or(1.0);
    let start_ms = section.span("start", ("0s", LENGTH_MAX));
    let entry = section.has("function").then(|| deployed.matching(section));
    let function = section.text("function").map(str::to_owned);
    if entry.as_ref().is_some_and(|entry| entry.len() > 1) {
        section.problem("function", "that is more than one, give one name");
        return None;
    }
    check(section, &paths)?;
    let from = start_ms.map_or(window.begin(), |ms| window.start.plus_ms(ms.cast_signed()));
    let span_ms = window.end().since_ms(from);
    if span_ms <= 0 {
        section.problem("start", "nothing of it would be played, give less than time.length");
        return None;
    }
    let account = ACCOUNT.parse().unwrap_or_default();
    let mut files = Files { paths, account, region: REGION, function, stamp: None, open };
    let survey =
        Survey::of(&files, span_ms).map_err(|words| section.problem("files", words)).ok()?;
    files.stamp = Some(survey.stamp);
    let (first, last) = survey.first.zip(survey.last)?;
    // What runs on the beat of a minute stays there.
    let first = EventTime::saturating_from_ms(first.minute() * MINUTE_MS);
    if last.since_ms(first) < span_ms - MINUTE_MS {
        let (there, wanted) = (last.since_ms(first) / MINUTE_MS + 1, span_ms / MINUTE_MS);
        let words =
            format!("they hold {there} minutes of {wanted}; give more, or shorten time.past");
        section.problem("files", words);
        return None;
    }
    let entry = entry.and_then(|entry| entry.first().copied());
    let mut recording = Recording {
        files,
        digest: survey.digest,
        functions: BTreeMap::new(),
        entry,
        has_invocations: survey.has_invocations,
        shift_ms: from.since_ms(first),
        lag_ms: survey.lag_ms,
        end: window.end(),
        scale,
    };
    deploy(section, &survey, &mut recording, (window, deployed, loads))?;
    Some(recording)
}

fn check(section: &Section<'_>, paths: &[PathBuf]) -> Option<()> {
    // It is read more than once, which a pipe cannot be.
    let is_other = |path: &&PathBuf| fs::metadata(path).is_ok_and(|found| !found.is_file());
    if let Some(path) = paths.iter().find(is_other) {
        section.problem("files", format!("{} is no regular file, give one", path.display()));
        return None;
    }
    (!paths.is_empty()).then_some(())
}

/// Puts every recorded function in its place.
fn deploy(
    section: &Section<'_>,
    survey: &Survey,
    recording: &mut Recording,
    (window, deployed, loads): (Window, &mut Deployed, &mut Vec<Load>),
) -> Option<()> {
    let counts = |minutes: &BTreeMap<i64, u32>| minute_counts(minutes, recording, window);
    let load = |function, minutes: &_| Load {
        function,
        pace: Pace::Replayed { counts: counts(minutes) },
        season: Season::default(),
        users: 1,
        app: xxh3_64(b"recording"),
    };
    let mut functions = BTreeMap::new();
    for (key, seen) in &survey.functions {
        let place = deployed.add_recorded(key, || seen.spec(key)).or(recording.entry);
        let Some(place) = place else {
            let words = unplaced(key.name.as_ref(), seen, survey.has_invocations);
            section.problem("files", words);
            return None;
        };
        functions.insert(name_bits(key.as_ref()), place);
        loads.push(load(place, &seen.minutes));
    }
    if !survey.unnamed.is_empty() {
        let Some(entry) = recording.entry else {
            section.missing("function", "the name of the one that their requests go to");
            return None;
        };
        loads.push(load(entry, &survey.unnamed));
    }
    recording.functions = functions;
    Some(())
}

fn unplaced(name: &str, seen: &Seen, has_invocations: bool) -> String {
    if has_invocations {
        let calls: u64 = seen.minutes.values().map(|count| u64::from(*count)).sum();
        format!("no room for {name} with {calls} calls, accepted: {FUNCTIONS_MAX} functions")
    } else {
        format!("they ask for {name} and do not say what it takes; declare it as [[function]]")
    }
}

/// Calls of each minute from the beginning of the past.
fn minute_counts(minutes: &BTreeMap<i64, u32>, recording: &Recording, window: Window) -> Vec<u32> {
    let first = window.begin().minute() - recording.shift_ms / MINUTE_MS;
    let count = usize::try_from(window.end().minute() - window.begin().minute()).unwrap_or(0);
    let mut counts = vec![0; count];
    for (minute, calls) in minutes {
        let place = usize::try_from(minute - first).ok();
        if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
            *count = scaled(*calls, recording.scale);
        }
    }
    counts
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer `as` saturates, which is what is wanted"
)]
fn scaled(calls: u32, scale: f64) -> u32 {
    (f64::from(calls) * scale).round() as u32
}
