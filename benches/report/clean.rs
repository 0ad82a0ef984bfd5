//! Real traffic in which nobody attacks: everything that is said is a false alarm.

use anyhow::Result;
use bursar::control::settings::ControlSettings;
use bursar::engine::settings::DetectionSettings;
use bursar::units::EventTime;

use crate::Plan;
use crate::driver::{Case, Driver};
use crate::functions::{Clients, Function};
use crate::numbers::{COMPARED, SHOWN, poisson_interval, shown};
use crate::parallel;
use crate::results::{Better, Measure, Section, Table};
use crate::traces::{ASSUMED_MB, ASSUMED_MS, DataSet};

/// Minutes of each set that only teach.
pub(crate) const LEARNING_MINUTES: usize = 120;

/// What one pass over a set gave.
struct Pass {
    cases: Vec<Case>,
    records: u64,
}

pub(crate) fn section(plan: &Plan) -> Result<Section> {
    let Some(traces) = &plan.traces else {
        return Ok(Section::skipped("clean", "it needs real traces; name their folder by --data"));
    };
    let mut section = Section::new("clean");
    section.note(format!(
        "Real traffic without an attack. The first {LEARNING_MINUTES} minutes of a set only teach; \
         functions that are first called later have been silent so far. One account a function."
    ));
    section.note(format!(
        "Durations and memory are the trace's; where it has none (azure2019-days, nasa1995, \
         worldcup98) {ASSUMED_MS} ms and {ASSUMED_MB} MB. The calls of a minute are spread over it \
         uniformly. HTTP functions and both web sites pay for a gateway."
    ));
    section.note(
        "With sources, calls of HTTP functions carry client addresses from a heavy-tailed pool: \
         when more calls come, more clients have come.",
    );
    section.note(
        "Others: how busy the set's other functions are in the hour of the alarm, as a share of \
         their busiest hour before. Each counts by its own mean, up to five times of it, and only \
         with three calls an hour or more. About one or less: what they do together, which is all \
         that a profile of the account could tell a young function, foretells nothing.",
    );
    let mut totals = Table::new(
        "False alarms",
        &[
            "set",
            "sources",
            "functions",
            "function-days",
            "records",
            "pages",
            "notices",
            "would act",
            "pages / 1,000 function-days (95 %)",
            "promised",
        ],
    );
    let mut list = Table::new(
        "Every alarm",
        &[
            "set",
            "sources",
            "function",
            "opened",
            "severity",
            "channels",
            "expected",
            "observed",
            "excess $/h",
            "class",
            "minutes",
            "others",
        ],
    );
    let sets: Vec<_> = traces.all()?.into_iter().map(|set| set.sampled(plan.sample)).collect();
    let of = |index: usize| (&sets[index / 2], index % 2 == 1);
    let passes = parallel::map(2 * sets.len(), |index| {
        let (set, sources) = of(index);
        pass(set, plan.seed, sources)
    });
    for (index, pass) in passes.iter().enumerate() {
        let (set, sources) = of(index);
        count(&mut section, &mut totals, set, sources, pass);
        pass.cases.iter().for_each(|case| list.row(describe(set, sources, case)));
    }
    section.tables.extend([totals, list]);
    Ok(section)
}

fn pass(set: &DataSet, seed: u64, with_sources: bool) -> Pass {
    eprintln!("  {}, sources: {with_sources}", set.name);
    let clients = with_sources.then(|| Clients::new(seed));
    let functions = set.functions.iter().map(|function| (function.key.clone(), function.api));
    let mut driver = Driver::new(functions, set.start, DetectionSettings::default());
    let mut calls = Vec::new();
    for minute in 0..set.minutes {
        calls.clear();
        for (index, function) in (0..).zip(&set.functions) {
            function.minute(index, minute, seed, clients.as_ref(), &mut calls);
        }
        driver.minute(&mut calls);
    }
    let from = EventTime::from_second(set.start + 60 * LEARNING_MINUTES as i64);
    let cases = driver.cases(0).iter().filter(|case| case.decided_at >= from).cloned();
    Pass { cases: cases.collect(), records: driver.records() }
}

fn count(section: &mut Section, table: &mut Table, set: &DataSet, sources: bool, pass: &Pass) {
    let floor = ControlSettings::default().action_floor_usd_per_hour;
    let minutes = set.functions.len() * set.minutes.saturating_sub(LEARNING_MINUTES);
    let days = minutes as f64 / 1_440.0;
    let pages = pass.cases.iter().filter(|case| case.page_at.is_some()).count();
    let notices = pass.cases.len() - pages;
    let acts = pass.cases.iter().filter(|case| case.would_act(floor)).count();
    let detection = DetectionSettings::default();
    let promised = detection.pages_per_day / detection.estate_functions as f64 * 1e3;
    let (low, high) = poisson_interval(pages, SHOWN);
    let per_thousand = |count: f64| count / days * 1e3;
    let with = if sources { "yes" } else { "no" };
    table.row(vec![
        set.name.to_owned(),
        with.to_owned(),
        set.functions.len().to_string(),
        format!("{days:.1}"),
        pass.records.to_string(),
        pages.to_string(),
        notices.to_string(),
        acts.to_string(),
        format!(
            "{} ({} to {})",
            shown(per_thousand(pages as f64)),
            shown(per_thousand(low)),
            shown(per_thousand(high))
        ),
        shown(promised),
    ]);
    for (what, count) in [("pages", pages), ("notices", notices), ("acts", acts)] {
        let (low, high) = poisson_interval(count, COMPARED);
        let interval = (low / days, high / days);
        let name = format!("{}, sources {with}: {what} per function-day", set.name);
        section.measure(name, Measure::new(count as f64 / days, interval, Better::Lower));
    }
}

fn describe(set: &DataSet, sources: bool, case: &Case) -> Vec<String> {
    vec![
        set.name.to_owned(),
        if sources { "yes" } else { "no" }.to_owned(),
        set.functions.get(case.function).map_or("account", |it| &it.key.name).to_owned(),
        case.evidence_at.to_string(),
        if case.page_at.is_some() { "page" } else { "notice" }.to_owned(),
        case.channels.clone(),
        shown(case.expected),
        shown(case.observed),
        shown(case.usd_per_hour),
        case.class.clone(),
        shown(case.last_at.since_ms(case.evidence_at) as f64 / 60e3),
        others(set, case).map_or_else(|| "none".to_owned(), shown),
    ]
}

/// Calls a minute that a function needs to say anything of how busy its set is.
const HEARD: f64 = 0.05;
/// Times its own mean that a function counts for at most.
const LOUDEST: f64 = 5.0;

/// How busy the other functions are in the hour of an alarm, to their busiest hour before it.
fn others(set: &DataSet, case: &Case) -> Option<f64> {
    let at = usize::try_from((case.evidence_at.second() - set.start) / 60).ok()?;
    let mean_of = |function: &Function, from: usize, to: usize| {
        let calls: u64 = (from..to).map(|minute| function.calls_in(minute)).sum();
        calls as f64 / (to - from).max(1) as f64
    };
    let heard: Vec<_> = (0..)
        .zip(&set.functions)
        .filter(|(index, _)| *index != case.function)
        .map(|(_, function)| (function, mean_of(function, 0, set.minutes)))
        .filter(|(_, mean)| *mean > HEARD)
        .collect();
    let busy = |from: usize| {
        let to = (from + 60).min(set.minutes);
        let level = heard.iter().map(|(it, mean)| (mean_of(it, from, to) / mean).min(LOUDEST));
        level.sum::<f64>()
    };
    let before = (0..at / 60).map(|hour| busy(60 * hour)).max_by(f64::total_cmp)?;
    (!heard.is_empty()).then(|| busy(at) / before)
}
