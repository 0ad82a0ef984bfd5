//! Real traffic in which nobody attacks: everything that is said is a false alarm.

use anyhow::Result;
use bursar::control::settings::ControlSettings;
use bursar::engine::settings::DetectionSettings;
use bursar::units::EventTime;

use crate::Plan;
use crate::driver::{Case, Driver};
use crate::functions::Clients;
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
    ]
}
