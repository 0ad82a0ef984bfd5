//! The report of a simulation: what each scenario asks, what came of it, and beside what.

use std::collections::BTreeMap;

use super::axis::{Clock, Unit};
use super::bars::{self, Bar};
use super::html::{Html, page};
use super::lanes::{self, Hold, Lane};
use super::scatter::{self, Point};
use super::timeline::{Band, Line, Mark, Timeline, means, sums};
use crate::simulation::closed_loop::{Run, Tick, Trial};
use crate::simulation::plant::{Change, Direction, Place};
use crate::simulation::scenario::Scenario;
use crate::simulation::scores::{GUARD, PolicyScore, ScenarioScore, Spread};
use crate::units::{EventTime, NanoUsd};

/// Changes that are drawn; a policy that makes more is not told apart in a picture.
const CHANGES_MAX: usize = 2_000;

/// What is kept of one trial: lines for pictures.
#[derive(Debug)]
pub struct Picture {
    seed: u64,
    span: (f64, f64),
    load: Vec<Line>,
    spend: Vec<Line>,
    attacks: Vec<Band>,
    marks: Vec<Mark>,
    holds: Vec<Lane>,
}

impl Picture {
    /// Takes it from a trial.
    pub fn new(scenario: &Scenario, trial: &Trial) -> Self {
        let seconds = scenario.length_ms as f64 / 1e3;
        let since = |at: EventTime| at.since_ms(scenario.start) as f64 / 1e3;
        let guard = trial.runs.iter().find(|run| run.policy == GUARD).or(trial.runs.first());
        let guard_ticks = guard.map_or(&[][..], |run| window(scenario, run));
        let series = |of: fn(&Tick) -> f64| -> Vec<f64> { guard_ticks.iter().map(of).collect() };
        let load = [
            ("legitimate requests a second", 3, series(|tick| tick.offered as f64)),
            ("hostile", 6, series(|tick| tick.attack_offered as f64)),
            (
                "legitimate and denied under bursar, whatever by",
                1,
                series(|tick| tick.denied as f64),
            ),
        ];
        let load = load.into_iter().map(|(name, colour, values)| Line {
            name: name.to_owned(),
            colour,
            bold: false,
            points: means(&values, 1.0),
        });
        let spend = trial.runs.iter().enumerate().map(|(colour, run)| {
            let costs: Vec<f64> =
                window(scenario, run).iter().map(|tick| cost(tick).usd()).collect();
            let bold = run.policy == GUARD;
            Line { name: run.policy.to_owned(), colour, bold, points: sums(&costs, 1.0) }
        });
        let attacks = trial.attacks.iter().enumerate().map(|(place, attack)| Band {
            from: since(attack.onset),
            to: since(attack.end),
            what: format!("attack {}", place + 1),
        });
        let holds = trial.runs.iter().enumerate().map(|(colour, run)| Lane {
            name: run.policy.to_owned(),
            colour,
            holds: holds(run, scenario.end(), &since),
        });
        Self {
            seed: trial.seed,
            span: (0.0, seconds),
            load: load.collect(),
            spend: spend.collect(),
            attacks: attacks.collect(),
            marks: guard.map(|run| marks(run, scenario.end(), &since)).unwrap_or_default(),
            holds: holds.collect(),
        }
    }
}

fn cost(tick: &Tick) -> NanoUsd {
    tick.cost.plus(tick.attack_cost)
}

/// What is drawn; the time after the window is not.
fn window<'a>(scenario: &Scenario, run: &'a Run) -> &'a [Tick] {
    &run.ticks[..run.ticks.len().min(scenario.second(scenario.end()))]
}

fn marks(run: &Run, end: EventTime, since: &impl Fn(EventTime) -> f64) -> Vec<Mark> {
    let alarms = run.claims.alarms.iter().filter(|(at, _)| *at < end);
    let alarms = alarms.map(|(at, function)| Mark {
        at: since(*at),
        is_action: false,
        what: format!("alarm {}", function.as_ref().map_or("", |function| &function.name)),
    });
    let changes = run.changes.iter().take(CHANGES_MAX).filter(|change| change.at < end);
    let changes =
        changes.map(|change| Mark { at: since(change.at), is_action: true, what: told(change) });
    alarms.chain(changes).collect()
}

/// Where a change was made, in words.
fn place(change: &Change) -> &str {
    change.place.function().map_or("firewall", |function| &function.name)
}

fn told(change: &Change) -> String {
    let what = match (change.direction, change.value, &change.place) {
        (Direction::Restored, ..) => "as before".to_owned(),
        (_, Some(value), Place::Stage(_)) => format!("at most {value} a second"),
        (_, Some(value), _) => format!("at most {value} at once"),
        (Direction::Tighter, None, Place::Firewall) => "addresses refused".to_owned(),
        (Direction::Wider, None, Place::Firewall) => "fewer addresses refused".to_owned(),
        (Direction::Tighter, None, _) => "less".to_owned(),
        (Direction::Wider, None, _) => "more".to_owned(),
    };
    format!("{}: {what}", place(change))
}

/// From each change to the next one at the same place, or to the end.
fn holds(run: &Run, end: EventTime, since: &impl Fn(EventTime) -> f64) -> Vec<Hold> {
    let mut holds: Vec<Hold> = Vec::new();
    let mut open: BTreeMap<&Place, usize> = BTreeMap::new();
    for change in run.changes.iter().take(CHANGES_MAX).filter(|change| change.effective < end) {
        let at = since(change.effective);
        if let Some(before) = open.remove(&change.place) {
            holds[before].to = at;
        }
        if change.direction != Direction::Restored {
            open.insert(&change.place, holds.len());
            let words = match change.value {
                Some(value) => format!("cap {value}"),
                None => place(change).to_owned(),
            };
            holds.push(Hold { from: at, to: since(end), words, what: told(change) });
        }
    }
    holds
}

/// The whole report; scenarios come with their pictures.
pub fn render(scenarios: &[ScenarioScore], pictures: &[Picture]) -> String {
    let mut body = Html::default();
    body.raw("<p>Every policy met the same callers and the same attacks in virtual time. ");
    body.raw("Leaked is what hostile requests cost; denied are legitimate requests that came to ");
    body.raw("nothing, for whatever reason. Left and low is better. Numbers include what follows ");
    body.raw("after the window from what came in it; pictures end with the window.</p>\n");
    if scenarios.len() > 1 {
        overview(&mut body, scenarios);
    }
    for (score, picture) in scenarios.iter().zip(pictures) {
        section(&mut body, score, picture);
    }
    page("bursar simulate", &body)
}

fn overview(body: &mut Html, scenarios: &[ScenarioScore]) {
    body.raw("<h2>All scenarios</h2>\n");
    let held = scenarios.iter().filter(|score| score.holds()).count();
    body.raw("<p class=\"say\">What is expected holds in ").text(&held.to_string()).raw(" of ");
    body.text(&scenarios.len().to_string()).raw(".</p>\n");
    let mut sums: Vec<Point> = Vec::new();
    for score in scenarios {
        for point in points(score) {
            match sums.iter_mut().find(|sum| sum.name == point.name) {
                Some(sum) => {
                    sum.usd += point.usd;
                    sum.count += point.count;
                }
                None => sums.push(point),
            }
        }
    }
    trade_off(body, "All scenarios together, mean over seeds", &sums);
    let rows = scenarios.iter().map(|score| {
        let of = |name: &str| score.policies.iter().find(|policy| policy.policy == name);
        let leaked = |name| of(name).map_or(0.0, |policy| mean(policy.leaked_usd));
        let usd = |name| NanoUsd::from_usd(leaked(name)).to_string();
        let (first, last) = (score.policies.first(), score.policies.last());
        let name = |policy: Option<&PolicyScore>| policy.map_or("", |policy| policy.policy);
        let share = of(GUARD).map_or(0.0, |policy| mean(policy.denied_share));
        vec![
            score.scenario.clone(),
            if score.holds() { "holds" } else { "DOES NOT HOLD" }.to_owned(),
            usd(GUARD),
            usd(name(last)),
            usd(name(first)),
            format!("{:.3} %", 100.0 * share),
        ]
    });
    let heading = ["scenario", "verdict", "leaked: bursar", "oracle", "nothing", "denied: bursar"];
    body.table(heading.into_iter(), &rows.collect::<Vec<_>>());
}

fn section(body: &mut Html, score: &ScenarioScore, picture: &Picture) {
    body.raw("<section><h2>").text(&score.scenario);
    body.raw("</h2>\n<p class=\"say\">").text(&score.question).raw("</p>\n<ul>");
    for verdict in &score.expect {
        body.raw(if verdict.holds { "<li class=\"good\">" } else { "<li class=\"bad\">" });
        body.text(&verdict.to_string()).raw("</li>");
    }
    body.raw("</ul>\n");
    let (heading, rows) = score.table();
    body.table(heading.into_iter(), &rows);
    let title = format!("Load that bursar met, seed {}; dashed: alarms and changes", picture.seed);
    let timeline = Timeline {
        title: &title,
        unit: Unit::Count,
        clock: Clock::Since,
        span: picture.span,
        lines: &picture.load,
        bands: &picture.attacks,
        marks: &picture.marks,
    };
    timeline.draw(body);
    let title = format!("Spend so far under each policy, seed {}", picture.seed);
    let lines = &picture.spend;
    Timeline { title: &title, unit: Unit::Usd, lines, marks: &[], ..timeline }.draw(body);
    let title = format!("Caps and refused addresses in force, seed {}", picture.seed);
    lanes::draw(body, &title, picture.span, &picture.holds);
    let points = points(score);
    let bars = |of: fn(&Point) -> f64| -> Vec<Bar> {
        let bar = |point: &Point| Bar {
            name: point.name.clone(),
            colour: point.colour,
            value: of(point),
        };
        points.iter().map(bar).collect()
    };
    let is_attacked = score.policies.iter().any(|policy| policy.attacks > 0);
    if is_attacked {
        trade_off(body, "Trade-off, mean over seeds", &points);
        bars::draw(body, "Dollars leaked, mean over seeds", Unit::Usd, &bars(|point| point.usd));
    }
    let title = "Legitimate requests denied, mean over seeds";
    bars::draw(body, title, Unit::Count, &bars(|point| point.count));
    body.raw("</section>\n");
}

fn trade_off(body: &mut Html, title: &str, points: &[Point]) {
    scatter::draw(body, title, ("dollars leaked", "legitimate requests denied"), points);
}

/// A point for each policy.
fn points(score: &ScenarioScore) -> Vec<Point> {
    let point = |(colour, policy): (usize, &PolicyScore)| Point {
        name: policy.policy.to_owned(),
        colour,
        bold: policy.policy == GUARD,
        usd: mean(policy.leaked_usd),
        count: mean(policy.denied),
    };
    score.policies.iter().enumerate().map(point).collect()
}

fn mean(spread: Option<Spread>) -> f64 {
    spread.map_or(0.0, |spread| spread.mean)
}
