//! Attacks by rule on real functions, each kind by itself.

mod kind;
mod pass;

use anyhow::Result;
use bursar::control::settings::ControlSettings;
use bursar::simulation::draw::{Draw, derive};

use crate::Plan;
use crate::clean::LEARNING_MINUTES;
use crate::functions::Clients;
use crate::numbers::{COMPARED, SHOWN, Sorted, share_interval, shown};
use crate::parallel;
use crate::results::{Better, Measure, Section, Table};
use crate::traces::DataSet;
use kind::{Attack, Kind};
use pass::{Calm, Outcome, Stage};

/// An attack lasts so long unless it is a slow one.
const SECONDS: i64 = 600;
const DAY: i64 = 86_400;
/// Passes over a set of many functions, each with one attack a function.
const PASSES: usize = 4;
/// Attacks of a kind on a set of one function.
const CASES: usize = 8;
/// Only one in so many requests of the World Cup is taken, to keep the time in bounds.
const THINNED: u64 = 10;
/// Functions with fewer calls an hour are near-idle: a multiple of nothing is nothing.
const IDLE_PER_HOUR: f64 = 60.0;
const ACTIVE_PER_HOUR: f64 = 10.0;
/// Functions of one account over which an attack is spread, and calls a second to each.
const THIN_FUNCTIONS: usize = 200;
const THIN_RATE: f64 = 3.0;

/// What befalls functions that are in use.
const ON_ACTIVE: [Kind; 8] = [
    Kind::Blast(5.0),
    Kind::Blast(20.0),
    Kind::Blast(100.0),
    Kind::YoYo,
    Kind::Recursion,
    Kind::Longer(5),
    Kind::Larger(4),
    Kind::Retries,
];
/// What is worth nothing on cheap functions.
const ON_DEAR: [Kind; 5] =
    [Kind::Blast(5.0), Kind::Blast(20.0), Kind::Longer(5), Kind::Larger(4), Kind::Retries];
/// What goes on for days.
const SLOW: [(Kind, i64); 3] =
    [(Kind::Leech(0.2), 7 * DAY), (Kind::Creep(0.05), 20 * DAY), (Kind::Creep(0.03), 30 * DAY)];
/// And near-idle ones.
const ON_IDLE: [Kind; 2] = [Kind::Flood(50.0), Kind::Flood(200.0)];

pub(crate) fn section(plan: &Plan) -> Result<Section> {
    let Some(traces) = &plan.traces else {
        return Ok(Section::skipped(
            "attacks",
            "it needs real traces; name their folder by --data",
        ));
    };
    let mut section = Section::new("attacks");
    notes(&mut section);
    let clients = Clients::new(plan.seed);
    for set in traces.all()? {
        eprintln!("  {}", set.name);
        let many = set.functions.len() > 1;
        if set.name == "azure2019-functions" {
            dear_functions(plan, set.clone().dear()?, &clients, &mut section);
        }
        let set = match set.name {
            _ if many => set.sampled((plan.sample * PASSES as f64).min(1.0)),
            "worldcup98" => set.thinned(THINNED, plan.seed),
            _ => set,
        };
        let stage = Stage::new(&set, &clients, plan.seed);
        let calm = stage.calm();
        let mut board = Board::new(&set, &calm);
        if many {
            many_functions(plan, &stage, &mut board);
        } else {
            one_function(plan, &stage, &mut board);
        }
        board.finish(&mut section);
    }
    Ok(section)
}

fn notes(section: &mut Section) {
    let floor = ControlSettings::default().action_floor_usd_per_hour;
    section.note(format!(
        "An attack lasts {SECONDS} s unless it is a slow one, and begins at a random second after \
         hour 2 (after day 1 where a set has days). Settings as shipped; calls of API functions \
         carry addresses, and {ATTACKERS} addresses attack them.",
        ATTACKERS = kind::ATTACKERS
    ));
    section.note(format!(
        "Multiples are of the function's mean and only on functions with {ACTIVE_PER_HOUR} calls \
         an hour or more; near-idle are those with fewer than {IDLE_PER_HOUR}. Worth: costs more \
         than {floor} $/h by itself. Delays and dollars are of the worth ones; one that was not \
         paged has no delay (never) and costs all it cost."
    ));
    section.note(
        "Functions made dear: those of azure2019-functions with 600 calls an hour or more, their \
         calls running 20 s (median, log-normal, 80 s at p99) in 2,048 MB.",
    );
    section.note(
        "TPR at 1 % FPR: share of all cases whose highest evidence in the ledger (a row a minute) \
         exceeds what one in a hundred windows of the same length has without an attack. Paged \
         without it: share of cases in whose time the same functions page when nobody attacks.",
    );
    section.note(format!(
        "Of the World Cup one request in {THINNED} is taken here. Attacks that begin while a false \
         alarm is open are left out."
    ));
}

/// Functions of which single calls are worth something.
fn dear_functions(plan: &Plan, set: DataSet, clients: &Clients, section: &mut Section) {
    let set = DataSet { name: "azure2019-functions made dear", ..set };
    let stage = Stage::new(&set, clients, plan.seed);
    let calm = stage.calm();
    let mut board = Board::new(&set, &calm);
    let passes = plan.scaled(PASSES, 1);
    for kind in ON_DEAR {
        let outcomes = parallel::map(passes, |pass| {
            stage.attack(&plans(&set, kind, derive(plan.seed, pass as u64)))
        });
        board.row(&kind.name(), outcomes.into_iter().flatten().flatten().collect(), true);
    }
    board.finish(section);
}

/// Sets of many functions: each function is attacked once in a pass.
fn many_functions(plan: &Plan, stage: &Stage<'_>, board: &mut Board<'_>) {
    let passes = plan.scaled(PASSES, 1);
    let kinds = || ON_ACTIVE.iter().chain(&ON_IDLE).copied();
    let jobs: Vec<_> = kinds().flat_map(|kind| (0..passes).map(move |pass| (kind, pass))).collect();
    let outcomes = parallel::map(jobs.len(), |job| {
        let (kind, pass) = jobs[job];
        stage.attack(&plans(stage.set, kind, derive(plan.seed, pass as u64)))
    });
    for kind in kinds() {
        let of_kind = jobs.iter().zip(&outcomes).filter(|((other, _), _)| *other == kind);
        let all = of_kind.flat_map(|(_, outcomes)| outcomes.iter().flatten().copied());
        board.row(&kind.name(), all.collect(), true);
    }
    if stage.set.functions.len() >= THIN_FUNCTIONS {
        let runs = plan.scaled(5 * PASSES, 2);
        let thin = parallel::map(runs, |run| {
            let attacks = thin(stage.set, derive(plan.seed, run as u64));
            stage.in_one_account().campaign(&attacks)
        });
        board.row(&format!("thin: {THIN_RATE}/s to each of {THIN_FUNCTIONS}"), thin, false);
    }
}

/// One attack on each function that the kind is for.
fn plans(set: &DataSet, kind: Kind, seed: u64) -> Vec<Vec<Attack>> {
    let first = 60 * LEARNING_MINUTES as i64;
    let room = set.minutes as i64 * 60 - SECONDS - 240 - first;
    let functions = set.functions.iter().enumerate();
    functions
        .map(|(index, function)| {
            let calls: u64 = (0..set.minutes).map(|minute| function.calls_in(minute)).sum();
            let mean = calls as f64 / set.minutes as f64 / 60.0;
            let per_hour = mean * 3_600.0;
            let fits = match kind {
                Kind::Flood(_) => per_hour < IDLE_PER_HOUR,
                _ => per_hour >= ACTIVE_PER_HOUR,
            };
            let mut draw = Draw::new(seed, index as u64);
            let start = first + draw.below(room.max(1) as u64) as i64;
            let seed = draw.bits();
            let attack = Attack { kind, start, seconds: SECONDS, mean, seed };
            if fits { vec![attack] } else { Vec::new() }
        })
        .collect()
}

/// A little on each of many functions at once.
fn thin(set: &DataSet, seed: u64) -> Vec<Vec<Attack>> {
    let mut attacks = plans(set, Kind::Flood(THIN_RATE), seed);
    let start = Draw::new(seed, 0).below((set.minutes * 60 - 8_000) as u64) as i64 + 7_200;
    for (index, attacks) in attacks.iter_mut().enumerate() {
        let kind = Kind::Flood(THIN_RATE);
        let attack =
            Attack { kind, start, seconds: SECONDS, mean: 0.0, seed: derive(seed, index as u64) };
        *attacks = if index < THIN_FUNCTIONS { vec![attack] } else { Vec::new() };
    }
    attacks
}

/// Sets of one function over many days: each attack in a pass of its own.
fn one_function(plan: &Plan, stage: &Stage<'_>, board: &mut Board<'_>) {
    let cases = plan.scaled(CASES, 1);
    let function = &stage.set.functions[0];
    let calls: u64 = (0..stage.set.minutes).map(|minute| function.calls_in(minute)).sum();
    let mean = calls as f64 / stage.set.minutes as f64 / 60.0;
    let end = stage.set.minutes as i64 * 60 - 600;
    let attack = |kind, start, seconds, seed| Attack { kind, start, seconds, mean, seed };
    let mut rows: Vec<(String, Vec<Vec<Attack>>, bool)> = Vec::new();
    for (kind, seconds) in ON_ACTIVE.map(|kind| (kind, SECONDS)).into_iter().chain(SLOW) {
        let name = match seconds {
            SECONDS => kind.name(),
            days => format!("{} for {} days", kind.name(), days / DAY),
        };
        let one = |case| {
            let mut draw = Draw::new(plan.seed, case as u64);
            let start = DAY + draw.below((end - seconds - DAY) as u64) as i64;
            vec![attack(kind, start, seconds, draw.bits())]
        };
        rows.push((name, (0..cases).map(one).collect(), seconds == SECONDS));
    }
    for ramp in [true, false] {
        let one = |case| {
            let mut draw = Draw::new(plan.seed, 1_000 + case as u64);
            let start = DAY + draw.below((end - 31 * DAY - SECONDS) as u64) as i64;
            let teach = attack(Kind::Creep(0.03), start, 30 * DAY, draw.bits());
            let blast = attack(Kind::Blast(20.0), teach.end(), SECONDS, draw.bits());
            if ramp { vec![teach, blast] } else { vec![blast] }
        };
        let how = if ramp { "after 30 days of +3 % a day" } else { "the same without that ramp" };
        rows.push((format!("blast x20 {how}"), (0..cases).map(one).collect(), true));
    }
    let jobs: Vec<_> = rows.iter().flat_map(|(_, cases, _)| cases).collect();
    let outcomes = parallel::map(jobs.len(), |job| stage.attack(&[jobs[job].clone()])[0]);
    let mut outcomes = outcomes.into_iter();
    for (name, cases, short) in &rows {
        let of_row = outcomes.by_ref().take(cases.len()).flatten().collect();
        board.row(name, of_row, *short);
    }
}

/// The table of one data set.
struct Board<'a> {
    set: &'a DataSet,
    calm: &'a Calm,
    /// Evidence that one in a hundred windows exceeds without an attack, as log10.
    one_percent: f64,
    table: Table,
    measures: Vec<(String, Measure)>,
}

impl<'a> Board<'a> {
    fn new(set: &'a DataSet, calm: &'a Calm) -> Self {
        let peaks = calm.peaks(SECONDS, LEARNING_MINUTES);
        let one_percent = Sorted::new(peaks.into_iter().map(Some)).quantile(0.99);
        let columns = [
            "attack",
            "cases",
            "median $/h",
            "worth",
            "paged of worth (95 %)",
            "paged of all",
            "paged without it",
            "noticed only",
            "delay median s",
            "p99 s",
            "$ before the page median",
            "p99",
            "delay median of all s",
            "TPR at 1 % FPR",
        ];
        let title = format!("{}: 1 % of calm windows reach 10^{one_percent:.2}", set.name);
        Self { set, calm, one_percent, table: Table::new(title, &columns), measures: Vec::new() }
    }

    fn row(&mut self, name: &str, outcomes: Vec<Outcome>, has_windows: bool) {
        let floor = ControlSettings::default().action_floor_usd_per_hour;
        let all: Vec<_> = outcomes.iter().filter(|it| it.usd > 0.0 && !it.open_before).collect();
        let worth: Vec<_> = all.iter().filter(|it| it.usd_per_hour > floor).copied().collect();
        let paged = |of: &[&Outcome]| of.iter().filter(|it| it.page.is_some()).count();
        let found = share(paged(&all), all.len());
        let by_chance = share(all.iter().filter(|it| self.calm.paged(it)).count(), all.len());
        let above = all.iter().filter(|it| it.peak > self.one_percent).count();
        let above = share(above, all.len());
        let of_worth = share(paged(&worth), worth.len());
        let delay = Sorted::new(worth.iter().map(|it| it.page));
        let usd = Sorted::new(worth.iter().map(|it| Some(it.usd)));
        let any_delay = Sorted::new(all.iter().map(|it| it.page));
        let per_hour = Sorted::new(all.iter().map(|it| Some(it.usd_per_hour)));
        self.table.row(vec![
            name.to_owned(),
            all.len().to_string(),
            shown(per_hour.quantile(0.5)),
            worth.len().to_string(),
            with_interval(of_worth, share_interval(paged(&worth), worth.len(), SHOWN)),
            percent(found),
            percent(by_chance),
            all.iter().filter(|it| it.notice).count().to_string(),
            shown(delay.quantile(0.5)),
            shown(delay.quantile(0.99)),
            shown(usd.quantile(0.5)),
            shown(usd.quantile(0.99)),
            shown(any_delay.quantile(0.5)),
            if has_windows { percent(above) } else { "-".to_owned() },
        ]);
        let median = |of: &Sorted| {
            Measure::new(of.quantile(0.5), of.quantile_interval(0.5, COMPARED), Better::Lower)
        };
        let mut note = |what: &str, measure| {
            self.measures.push((format!("{}, {name}: {what}", self.set.name), measure));
        };
        if all.is_empty() {
            return;
        }
        note("share paged of all", found);
        if has_windows {
            note("TPR at 1 % FPR", above);
        }
        if !worth.is_empty() {
            note("share paged of worth", of_worth);
            note("median seconds to the page, of worth", median(&delay));
            note("median dollars before the page, of worth", median(&usd));
        }
    }

    fn finish(self, section: &mut Section) {
        section.tables.push(self.table);
        section.measures.extend(self.measures);
    }
}

/// A share of some cases; of none, anything.
fn share(count: usize, of: usize) -> Measure {
    Measure::new(count as f64 / of as f64, share_interval(count, of, COMPARED), Better::Higher)
}

fn percent(share: Measure) -> String {
    if share.value.is_nan() { "-".to_owned() } else { format!("{:.1} %", share.value * 100.0) }
}

fn with_interval(share: Measure, (low, high): (f64, f64)) -> String {
    let (low, high) = (low * 100.0, high * 100.0);
    match percent(share) {
        none if none == "-" => none,
        percent => format!("{percent} ({low:.1} to {high:.1})"),
    }
}
