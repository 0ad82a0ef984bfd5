//! One policy over one seed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::record::FunctionKey;
use crate::simulation::closed_loop::{Run, Tick, Trial};
use crate::simulation::plant::{Change, Direction, Place};
use crate::simulation::scenario::Scenario;
use crate::units::{EventTime, NanoUsd};

/// So long after the end a change may still belong to an attack, in milliseconds.
const TOLERANCE_MS: i64 = 60_000;
/// Contained is what leaks at most this share.
const CONTAINED_SHARE: f64 = 0.1;
/// Costs are compared over this many seconds: those of a second are mostly chance.
const CONTAINED_OVER: usize = 10;
/// A month, in seconds.
const MONTH_SECONDS: f64 = 30.0 * 86_400.0;
/// A bound is told for this long, in seconds.
const BOUND_SECONDS: usize = 3_600;

/// One policy over one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunScore {
    /// The policy.
    pub policy: &'static str,
    /// The seed.
    pub seed: u64,
    /// From the onset of each attack to the first alarm about it; null where there was none.
    pub detection_delays_ms: Vec<Option<i64>>,
    /// From the first onset until it is contained; null where it never is.
    pub contained_ms: Option<i64>,
    /// What hostile requests cost.
    pub leaked_nano_usd: NanoUsd,
    /// Less than without anybody's doing by this much.
    pub saved_nano_usd: NanoUsd,
    /// The leak beyond what is unavoidable, in milliseconds of the attack's mean burn.
    pub beyond_ms: Option<i64>,
    /// The leak over the oracle's.
    pub oracle_ratio: Option<f64>,
    /// What legitimate requests cost.
    pub legitimate_nano_usd: NanoUsd,
    /// Legitimate requests that were denied.
    pub denied: u64,
    /// Their share.
    pub denied_share: f64,
    /// Changes that let in less.
    pub actions: u64,
    /// Of these, without an attack on their target.
    pub false_actions: u64,
    /// The same for each function and month.
    pub false_actions_per_function_month: f64,
    /// From the end of the last attack until everything is given back; null where it is not, or
    /// where nothing was taken.
    pub restored_ms: Option<i64>,
    /// Something was taken and not given back by the end.
    pub holding: bool,
    /// Changes that let in less again after more.
    pub oscillations: u64,
    /// Control calls, refused ones included.
    pub calls: u64,
    /// Bounds that were told, and how many of them the victim's spend passed.
    pub bounds: u64,
    /// See `bounds`.
    pub bounds_passed: u64,
    /// Promises that were not kept.
    pub broken: Vec<String>,
}

/// When attacks are on and on whom.
struct Assault {
    onset: EventTime,
    end: EventTime,
    victims: BTreeSet<FunctionKey>,
}

impl RunScore {
    /// Scores a run beside those of nobody and of the oracle.
    pub(super) fn new(
        scenario: &Scenario,
        trial: &Trial,
        run: &Run,
        nothing: &Run,
        oracle: &Run,
    ) -> Self {
        let assault = assault(scenario, trial);
        let leak = |run: &Run| run.ticks.iter().map(|tick| tick.attack_cost).sum::<NanoUsd>();
        let leaked = leak(run);
        let (denied, denied_share) = denied(scenario, run, assault.as_ref());
        let actions = run.changes.iter().filter(|change| change.direction == Direction::Tighter);
        let false_actions =
            actions.clone().filter(|change| is_false(change, assault.as_ref())).count() as u64;
        let months = run.ticks.len() as f64 / MONTH_SECONDS * scenario.functions.len() as f64;
        let restored = run.restored_at.filter(|_| !run.changes.is_empty());
        let (bounds, bounds_passed) = bounds(scenario, run);
        let ratio = |of: NanoUsd| (of.0 > 0).then(|| leaked.usd() / of.usd());
        Self {
            policy: run.policy,
            seed: trial.seed,
            detection_delays_ms: detection(scenario, trial, run),
            contained_ms: assault
                .as_ref()
                .and_then(|assault| contained(scenario, &run.ticks, &nothing.ticks, assault)),
            leaked_nano_usd: leaked,
            saved_nano_usd: leak(nothing).minus(leaked),
            beyond_ms: assault
                .as_ref()
                .and_then(|assault| beyond(scenario, leaked, &nothing.ticks, assault)),
            oracle_ratio: assault.as_ref().and_then(|_| ratio(leak(oracle))),
            legitimate_nano_usd: run.ticks.iter().map(|tick| tick.cost).sum(),
            denied,
            denied_share,
            actions: actions.count() as u64,
            false_actions,
            false_actions_per_function_month: false_actions as f64 / months,
            restored_ms: restored.zip(assault).map(|(at, assault)| at.since_ms(assault.end).max(0)),
            holding: run.holding,
            oscillations: oscillations(&run.changes),
            calls: run.calls,
            bounds,
            bounds_passed,
            broken: run.broken.clone(),
        }
    }
}

fn assault(scenario: &Scenario, trial: &Trial) -> Option<Assault> {
    let victims = trial.attacks.iter().flat_map(|attack| &attack.functions);
    Some(Assault {
        onset: trial.attacks.iter().map(|attack| attack.onset).min()?,
        end: trial.attacks.iter().map(|attack| attack.end).max()?,
        victims: victims.map(|index| scenario.functions[*index].key.clone()).collect(),
    })
}

/// The ticks from `from` up to `until`.
fn between<'a>(
    scenario: &Scenario,
    ticks: &'a [Tick],
    from: EventTime,
    until: EventTime,
) -> &'a [Tick] {
    let place = |at: EventTime| {
        let second = at.since_ms(scenario.start).div_euclid(1_000).max(0);
        usize::try_from(second).unwrap_or(usize::MAX).min(ticks.len())
    };
    &ticks[place(from).min(place(until))..place(until)]
}

fn detection(scenario: &Scenario, trial: &Trial, run: &Run) -> Vec<Option<i64>> {
    let delays = trial.attacks.iter().map(|attack| {
        let about = |function: &Option<FunctionKey>| {
            let is_victim = |name: &FunctionKey| {
                attack.functions.iter().any(|index| scenario.functions[*index].key == *name)
            };
            function.as_ref().is_none_or(is_victim)
        };
        let alarms = run.claims.alarms.iter();
        let first = alarms.filter(|(at, function)| *at >= attack.onset && about(function));
        first.map(|(at, _)| at.since_ms(attack.onset)).min()
    });
    delays.collect()
}

/// From the onset to the last second in which more leaked than [`CONTAINED_SHARE`] of what leaks
/// without anybody's doing, both as means over some seconds; none when that goes on to the end.
fn contained(
    scenario: &Scenario,
    ticks: &[Tick],
    nothing: &[Tick],
    assault: &Assault,
) -> Option<i64> {
    let ticks = between(scenario, ticks, assault.onset, assault.end);
    let nothing = between(scenario, nothing, assault.onset, assault.end);
    let cost = |ticks: &[Tick]| ticks.iter().map(|tick| tick.attack_cost.usd()).sum::<f64>();
    let pairs = ticks.windows(CONTAINED_OVER).zip(nothing.windows(CONTAINED_OVER));
    let leaks = pairs.map(|(here, free)| {
        let (here, free) = (cost(here), cost(free));
        (here > CONTAINED_SHARE * free, free > 0.0)
    });
    let leaks: Vec<(bool, bool)> = leaks.collect();
    let last = leaks.iter().rposition(|(leaks, _)| *leaks).map_or(0, |last| last + 1);
    // Nobody has contained what has ended by itself.
    let goes_on = leaks.iter().skip(last).any(|(_, asked)| *asked);
    goes_on.then(|| i64::try_from(last).unwrap_or(i64::MAX).saturating_mul(1_000))
}

fn beyond(
    scenario: &Scenario,
    leaked: NanoUsd,
    nothing: &[Tick],
    assault: &Assault,
) -> Option<i64> {
    let delay = scenario.telling_ms() + i64::from(scenario.platform.propagation_ms);
    let free = between(scenario, nothing, assault.onset, assault.onset.plus_ms(delay));
    let unavoidable: NanoUsd = free.iter().map(|tick| tick.attack_cost).sum();
    let total: NanoUsd = nothing.iter().map(|tick| tick.attack_cost).sum();
    let active = nothing.iter().filter(|tick| tick.attack_cost.0 > 0).count();
    if active == 0 || total.0 <= 0 {
        return None;
    }
    let burn = total.usd() / active as f64;
    #[expect(clippy::cast_possible_truncation, reason = "float to integer `as` saturates")]
    Some((leaked.minus(unavoidable).usd().max(0.0) / burn * 1_000.0) as i64)
}

fn denied(scenario: &Scenario, run: &Run, assault: Option<&Assault>) -> (u64, f64) {
    let from = assault.map_or(scenario.start, |assault| assault.onset);
    let ticks = between(scenario, &run.ticks, from, scenario.end());
    let offered: u64 = ticks.iter().map(|tick| tick.offered).sum();
    let denied: u64 = ticks.iter().map(|tick| tick.denied).sum();
    (denied, denied as f64 / offered.max(1) as f64)
}

fn is_false(change: &Change, assault: Option<&Assault>) -> bool {
    let Some(assault) = assault else {
        return true;
    };
    let in_time = change.at >= assault.onset && change.at.since_ms(assault.end) <= TOLERANCE_MS;
    let on_victim = match &change.place {
        Place::Function(function) => assault.victims.contains(function),
        Place::Firewall => true,
    };
    !(in_time && on_victim)
}

fn oscillations(changes: &[Change]) -> u64 {
    let mut loosened: BTreeMap<&Place, bool> = BTreeMap::new();
    let mut count = 0;
    for change in changes {
        let tighter = change.direction == Direction::Tighter;
        let before = loosened.insert(&change.place, !tighter);
        count += u64::from(tighter && before == Some(true));
    }
    count
}

/// How many bounds on the next hour were told, and how many of them were passed within it.
fn bounds(scenario: &Scenario, run: &Run) -> (u64, u64) {
    let (mut told, mut passed) = (0, 0);
    for (at, function, bound) in &run.claims.bounds {
        let victim =
            run.victims.iter().find(|(index, _)| scenario.functions[**index].key == *function);
        let second = usize::try_from(at.since_ms(scenario.start).max(0) / 1_000).unwrap_or(0);
        if let Some((_, costs)) = victim {
            told += 1;
            let hour = costs.iter().skip(second).take(BOUND_SECONDS).copied().sum::<NanoUsd>();
            passed += u64::from(hour > *bound);
        }
    }
    (told, passed)
}
