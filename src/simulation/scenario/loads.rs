//! `[[load]]` and `[[trace]]`: who calls what.

use std::fs;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::functions::Deployed;
use super::section::Section;
use super::{ENTRIES_MAX, Load, Pace, Season};
use crate::simulation::trace::{Trace, TracePaths, TriggerGroup, Window};

/// Callers of an application whose number is not given.
const USERS: u32 = 500;

/// Keys of a load that goes at random.
const RANDOM: [&str; 8] =
    ["rps", "dispersion", "skew", "requests_per_session", "think", "retries", "back_off", "users"];

pub(super) fn loads(
    root: &Section<'_>,
    folder: &Path,
    (past_ms, length_ms): (u64, u64),
    deployed: &mut Deployed,
) -> (Vec<Load>, Vec<PathBuf>) {
    let (mut loads, mut files) = (Vec::new(), Vec::new());
    for section in root.list("load", ENTRIES_MAX) {
        load(&section, deployed, &mut loads);
        section.finish();
    }
    let minutes = u32::try_from((past_ms + length_ms) / 60_000).unwrap_or(u32::MAX);
    for section in root.list("trace", ENTRIES_MAX) {
        trace(&section, folder, minutes, deployed, (&mut loads, &mut files));
        section.finish();
    }
    (loads, files)
}

fn load(section: &Section<'_>, deployed: &Deployed, loads: &mut Vec<Load>) {
    let functions = deployed.matching(section);
    let season = season(section);
    let users = section.whole("users", 1..=100_000_000).unwrap_or(USERS);
    let app = xxh3_64(section.text("app").unwrap_or("app").as_bytes());
    let every_ms = section.span("every", ("1s", "31d"));
    let calls = section.whole("calls", 1..=10_000_000).unwrap_or(1);
    let skew = section.number("skew", 0.0..=3.0).unwrap_or(0.0);
    let weight = |rank: usize| libm::pow(rank as f64 + 1.0, -skew);
    let total: f64 = (0..functions.len()).map(weight).sum();
    let pace = pace(section);
    let clash = RANDOM.iter().filter(|key| section.has(key));
    if every_ms.is_some() {
        clash.for_each(|key| section.problem(key, "excludes every, remove one"));
    } else if !section.has("rps") {
        section.missing("rps", "0 to 1000000, or every = \"5m\"");
    }
    for (rank, &function) in functions.iter().enumerate() {
        let pace = match every_ms {
            Some(every_ms) => Pace::Beat { every_ms, calls },
            None => shared(&pace, weight(rank) / total),
        };
        loads.push(Load { function, pace, season, users, app });
    }
}

/// What goes at random, over all functions of the entry.
fn pace(section: &Section<'_>) -> Pace {
    let rps = section.number("rps", 0.0..=1_000_000.0).unwrap_or(0.0);
    let dispersion = section.number("dispersion", 0.0..=100.0).unwrap_or(0.0);
    let requests = section.number("requests_per_session", 1.0..=10_000.0);
    let think = section.span("think", ("1ms", "1h"));
    let retries = section.whole("retries", 0..=100);
    let back_off = section.span("back_off", ("1ms", "10m"));
    let Some(requests) = requests else {
        for (key, given) in [
            ("think", think.is_some()),
            ("retries", retries.is_some()),
            ("back_off", back_off.is_some()),
        ] {
            if given {
                section.problem(key, "needs requests_per_session, give it too");
            }
        }
        return Pace::Random { rps, dispersion };
    };
    Pace::Sessions {
        per_second: rps / requests,
        requests,
        think_ms: think.unwrap_or(2_000) as f64,
        retries: retries.unwrap_or(3),
        back_off_ms: back_off.unwrap_or(500),
    }
}

fn shared(pace: &Pace, share: f64) -> Pace {
    let mut pace = pace.clone();
    if let Pace::Random { rps, .. } = &mut pace {
        *rps *= share;
    }
    if let Pace::Sessions { per_second, .. } = &mut pace {
        *per_second *= share;
    }
    pace
}

fn season(section: &Section<'_>) -> Season {
    let usual = Season::default();
    Season {
        daily: section.number("daily", 0.0..=1.0).unwrap_or(usual.daily),
        peak_hour: section.number("peak_hour", 0.0..=24.0).unwrap_or(usual.peak_hour),
        weekend: section.number("weekend", 0.0..=100.0).unwrap_or(usual.weekend),
        growth_per_day: section
            .number("growth_per_day", -0.5..=1.0)
            .unwrap_or(usual.growth_per_day),
    }
}

fn trace(
    section: &Section<'_>,
    folder: &Path,
    minutes: u32,
    deployed: &mut Deployed,
    (loads, files): (&mut Vec<Load>, &mut Vec<PathBuf>),
) {
    let path = |key| section.text(key).map(|name| folder.join(name));
    let (calls, durations, memory) = (path("calls"), path("durations"), path("memory"));
    let first = section.whole("first_minute", 0..=44_640);
    let keep = section.whole("functions", 1..=100_000);
    let Some(calls) = calls else {
        section.missing("calls", "a file of calls per minute");
        return;
    };
    let paths = TracePaths { calls, durations, memory }.with_siblings();
    // Opening a pipe would wait for somebody who writes.
    let is_other = |path: &Path| fs::metadata(path).is_ok_and(|found| !found.is_file());
    let others = [("durations", &paths.durations), ("memory", &paths.memory)];
    let others = others.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
    let mut all = others.chain([("calls", &paths.calls)]);
    if let Some((key, path)) = all.find(|(_, path)| is_other(path)) {
        section.problem(key, format!("{} is no regular file, give one", path.display()));
        return;
    }
    let mut trace = match Trace::read(&paths, Window { first, minutes }) {
        Ok(trace) => trace,
        Err(error) => {
            section.problem("calls", error);
            return;
        }
    };
    files.extend(paths.files().cloned());
    if let Some(keep) = keep {
        trace.keep_busiest(keep as usize);
    }
    for function in trace.functions {
        let index = deployed.specs.len();
        if !deployed.add(function.spec()) {
            let words =
                format!("function {} of the trace is taken or one too many", function.key.name);
            section.problem("calls", words);
            return;
        }
        let beat = function.trigger == TriggerGroup::Timer;
        let pace = Pace::Recorded { counts: function.counts, beat };
        let (season, users, app) = (Season::default(), USERS, function.app);
        loads.push(Load { function: index, pace, season, users, app });
    }
}
