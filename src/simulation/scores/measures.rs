//! How each score of a run is worked out.

use std::collections::BTreeMap;

use crate::record::FunctionKey;
use crate::simulation::attack::Attack;
use crate::simulation::closed_loop::{Run, Tick, Trial, VictimTick};
use crate::simulation::plant::{Change, Direction, Place};
use crate::simulation::policy::Refusal;
use crate::simulation::scenario::Scenario;
use crate::units::{EventTime, NanoUsd};

/// So long after the end a change may still belong to an attack, in milliseconds.
const TOLERANCE_MS: i64 = 60_000;
/// Contained is what leaks at most this share.
const CONTAINED_SHARE: f64 = 0.1;
/// Costs are compared over this many seconds: those of a second are mostly chance.
const CONTAINED_OVER: usize = 10;
/// A bound is told for this long, in seconds.
const BOUND_SECONDS: usize = 3_600;

/// The seconds of the window from the first onset to the last end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first.
    pub(super) onset: usize,
    /// The one after the last.
    end: usize,
    /// Seconds from the onset that nobody can do anything about.
    blind: usize,
}

impl Span {
    /// None without an attack.
    pub(super) fn of(scenario: &Scenario, attacks: &[Attack]) -> Option<Self> {
        let delay = scenario.telling_ms() + i64::from(scenario.platform.propagation_ms);
        let onset = attacks.iter().map(|attack| attack.onset).min()?;
        let first = scenario.second(onset);
        Some(Self {
            onset: first,
            end: scenario.second(attacks.iter().map(|attack| attack.end).max()?),
            blind: scenario.second(onset.plus_ms(delay)) - first,
        })
    }

    /// The ticks while attacks are on.
    pub(super) fn during<'a>(&self, ticks: &'a [Tick]) -> &'a [Tick] {
        ticks.get(self.onset..self.end.min(ticks.len())).unwrap_or_default()
    }
}

/// From the onset of each attack to the first alarm about it, in milliseconds.
pub(super) fn detection(scenario: &Scenario, trial: &Trial, run: &Run) -> Vec<Option<i64>> {
    let delays = trial.attacks.iter().map(|attack| {
        let about = |function: &Option<FunctionKey>| {
            function.as_ref().is_none_or(|function| is_victim(scenario, attack, function))
        };
        let alarms = run.claims.alarms.iter();
        let first = alarms.filter(|(at, function)| *at >= attack.onset && about(function));
        first.map(|(at, _)| at.since_ms(attack.onset)).min()
    });
    delays.collect()
}

fn is_victim(scenario: &Scenario, attack: &Attack, function: &FunctionKey) -> bool {
    attack.functions.iter().any(|index| scenario.functions[*index].key == *function)
}

/// From the beginning of `ticks` to the last second in which more leaked than [`CONTAINED_SHARE`]
/// of what leaks without anybody's doing, both as means over some seconds, in milliseconds; none
/// when that goes on to the end.
pub(super) fn contained(ticks: &[Tick], nothing: &[Tick]) -> Option<i64> {
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

/// What leaked beyond the unavoidable, in milliseconds of the burn that the attack has on average
/// in the seconds in which it costs anything while it is on.
pub(super) fn beyond(span: &Span, leaked: NanoUsd, nothing: &[Tick]) -> Option<i64> {
    let free = span.during(nothing);
    let unavoidable: NanoUsd = free.iter().take(span.blind).map(|tick| tick.attack_cost).sum();
    let total: NanoUsd = free.iter().map(|tick| tick.attack_cost).sum();
    let active = free.iter().filter(|tick| tick.attack_cost.0 > 0).count();
    if active == 0 || total.0 <= 0 {
        return None;
    }
    let burn = total.usd() / active as f64;
    #[expect(clippy::cast_possible_truncation, reason = "float to integer `as` saturates")]
    Some((leaked.minus(unavoidable).usd().max(0.0) / burn * 1_000.0) as i64)
}

/// The least leak that is reached at no more than `denied` requests denied. Between two choices
/// everything can be reached: by the one for a part of the time and by the other for the rest.
pub(super) fn reached(reach: &[(NanoUsd, u64)], denied: u64) -> Option<NanoUsd> {
    let (within, beyond): (Vec<_>, Vec<_>) = reach.iter().partition(|(_, own)| *own <= denied);
    let between = within.iter().flat_map(|(free, few)| {
        beyond.iter().map(move |(tight, many)| {
            let part = (denied - few) as f64 / (many - few) as f64;
            let usd = free.usd() + part * (tight.usd() - free.usd());
            NanoUsd::from_usd(usd)
        })
    });
    between.chain(within.iter().map(|(leaked, _)| *leaked)).min()
}

/// Whether a change is about no attack.
pub(super) fn is_false(scenario: &Scenario, trial: &Trial, run: &Run, change: &Change) -> bool {
    let mut attacks = trial.attacks.iter().enumerate();
    !attacks.any(|(number, attack)| {
        let in_time = change.at >= attack.onset && change.at.since_ms(attack.end) <= TOLERANCE_MS;
        let on_target = match change.place.function() {
            Some(function) => is_victim(scenario, attack, function),
            None => run.sources.get(number).is_some_and(|sources| {
                sources.cut || change.added.iter().any(|added| sources.listed.contains(added))
            }),
        };
        in_time && on_target
    })
}

/// Changes that let in less again after more at the same place.
pub(super) fn oscillations(changes: &[Change]) -> u64 {
    let mut loosened: BTreeMap<&Place, bool> = BTreeMap::new();
    let mut count = 0;
    for change in changes {
        let tighter = change.direction == Direction::Tighter;
        let before = loosened.insert(&change.place, !tighter);
        count += u64::from(tighter && before == Some(true));
    }
    count
}

/// What came of the bounds that were told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Bounds {
    pub(super) told: u64,
    pub(super) passed: u64,
    /// The most that an hour costs without anybody's doing over its bound.
    pub(super) reach: Option<f64>,
}

/// Bounds on the next hour. One whose hour goes on after the window is left out, because nobody
/// asks any more then.
pub(super) fn bounds(scenario: &Scenario, run: &Run, nothing: &Run) -> Bounds {
    let mut bounds = Bounds::default();
    let window = scenario.second(scenario.end());
    for (at, function, bound) in &run.claims.bounds {
        let from = scenario.second(*at);
        if from + BOUND_SECONDS > window {
            continue;
        }
        let spent = |run: &Run| {
            let costs = victim(scenario, run, function)?.get(from..from + BOUND_SECONDS)?;
            Some(costs.iter().map(|tick| tick.cost).sum::<NanoUsd>())
        };
        if let Some((here, free)) = spent(run).zip(spent(nothing)) {
            bounds.told += 1;
            bounds.passed += u64::from(here > *bound);
            let reach = free.usd() / bound.usd().max(1e-9);
            bounds.reach = Some(bounds.reach.map_or(reach, |most| most.max(reach)));
        }
    }
    bounds
}

fn victim<'a>(
    scenario: &Scenario,
    run: &'a Run,
    function: &FunctionKey,
) -> Option<&'a [VictimTick]> {
    let mut victims = run.victims.iter();
    let found = victims.find(|(index, _)| scenario.functions[**index].key == *function);
    found.map(|(_, ticks)| ticks.as_slice())
}

/// Which share of the victims' legitimate requests was said to be refused, and which was denied,
/// over those that came in the window while something was held. Where two restrictions hold, the
/// larger share was said.
pub(super) fn refusals(scenario: &Scenario, run: &Run) -> Option<(f64, f64)> {
    let mut told: BTreeMap<(&FunctionKey, usize), f64> = BTreeMap::new();
    for Refusal { from, until, function, share } in &run.claims.refusals {
        let until = until.unwrap_or(EventTime::MAX).min(scenario.end());
        for second in scenario.second(*from)..scenario.second(until) {
            let told = told.entry((function, second)).or_default();
            *told = told.max(*share);
        }
    }
    let (mut offered, mut said, mut denied) = (0.0, 0.0, 0.0);
    for ((function, second), share) in told {
        let tick = victim(scenario, run, function).and_then(|ticks| ticks.get(second));
        let tick = tick.copied().unwrap_or_default();
        offered += tick.offered as f64;
        said += share * tick.offered as f64;
        denied += tick.denied as f64;
    }
    (offered > 0.0).then(|| (said / offered, denied / offered))
}
