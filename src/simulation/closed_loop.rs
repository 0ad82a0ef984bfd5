//! The driver: world → platform → policy → platform, in virtual time, and what happened.
//!
//! The past is simulated once for a seed, with nobody's hands on the platform; then each policy
//! gets a copy of the platform and of the world as they are when the scored window begins. So all
//! of them face the same callers, and the past costs its price once.
//!
//! After the window nobody asks any more, but time goes on under every policy until all that waits
//! is settled and all that was taken is given back: what is put off is not saved.

mod opening;
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::simulation::attack::{Attack, AttackError};
use crate::simulation::plant::{Change, Place, Plant, SharedPlant, lock};
use crate::simulation::platform::{
    Counts, Delivery, LedgerRow, Outcome, Platform, PlatformError, Request, Tally, Tariff,
};
use crate::simulation::policy::{Claims, Nothing, Oracle, Policy, Second, references};
use crate::simulation::scenario::Scenario;
use crate::simulation::world::World;
use crate::units::{EventTime, NanoUsd};

use opening::Opening;

/// After the window every policy has this long until all is settled, in milliseconds: asynchronous
/// events are tried again for six hours, and what they ask for may keep a restriction in force as
/// long as that.
pub const TAIL_MS: u64 = 8 * 3_600_000;
/// What the oracle pays for a denied request when it chooses, in dollars: some ten times what it
/// costs to serve one.
const DENIED_USD: f64 = 0.000_1;

/// A scenario cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoopError {
    /// Its functions or conditions.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Its attacks.
    #[error(transparent)]
    Attack(#[from] AttackError),
    /// Recorded load that could be read before.
    #[error("a recording broke off while it was played: {0}; leave its files alone meanwhile")]
    Recording(String),
}

/// One second of all functions together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tick {
    /// Legitimate requests that came.
    pub offered: u64,
    /// Of these, turned away or given up.
    pub denied: u64,
    /// Hostile requests that came.
    pub attack_offered: u64,
    /// What legitimate ones cost.
    pub cost: NanoUsd,
    /// What hostile ones cost.
    pub attack_cost: NanoUsd,
}

/// One second of a victim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VictimTick {
    /// What it cost, whoever asked.
    pub cost: NanoUsd,
    /// Legitimate requests that came.
    pub offered: u64,
    /// Of these, turned away or given up.
    pub denied: u64,
}

/// The addresses of an attack that are no customers'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Those that were used.
    pub listed: BTreeSet<IpAddr>,
    /// More were used than are listed.
    pub cut: bool,
}

/// What came of one policy over one seed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// The policy.
    pub policy: &'static str,
    /// The seconds of the window, and those after it in which something was settled.
    pub ticks: Vec<Tick>,
    /// The same for each victim.
    pub victims: BTreeMap<usize, Vec<VictimTick>>,
    /// Of each attack, as it went under this policy.
    pub sources: Vec<Sources>,
    /// It watches a budget, and that never gave it a reason to act.
    pub is_idle: bool,
    /// What it changed.
    pub changes: Vec<Change>,
    /// Control calls, refused ones included.
    pub calls: u64,
    /// Since when everything is given back; `None` where it is not, or where nothing was taken.
    pub restored_at: Option<EventTime>,
    /// Something is still in force.
    pub holding: bool,
    /// What it said.
    pub claims: Claims,
    /// Promises that were not kept.
    pub broken: Vec<String>,
    /// What the month has cost at the end.
    pub spent: NanoUsd,
    /// What became of each attack.
    pub tallies: Vec<Tally>,
    /// Records that the log pipeline has delivered, the past's included.
    pub records: u64,
}

impl Run {
    /// What hostile requests have cost.
    pub fn leaked(&self) -> NanoUsd {
        self.ticks.iter().map(|tick| tick.attack_cost).sum()
    }

    /// Legitimate requests that came and that were denied in the seconds from the given one on.
    pub fn asked_from(&self, second: usize) -> (u64, u64) {
        let ticks = self.ticks.get(second..).unwrap_or_default();
        let add = |(offered, denied): (u64, u64), tick: &Tick| {
            (offered + tick.offered, denied + tick.denied)
        };
        ticks.iter().fold((0, 0), add)
    }
}

/// All policies over one seed, and what they faced.
#[derive(Debug)]
pub struct Trial {
    /// The seed.
    pub seed: u64,
    /// The attacks.
    pub attacks: Vec<Attack>,
    /// In the order of reports: nothing first, the oracle last if there is one.
    pub runs: Vec<Run>,
    /// What can be reached: dollars leaked and requests denied of all that the oracle could choose
    /// from.
    pub reach: Vec<(NanoUsd, u64)>,
}

impl Trial {
    /// The run of a policy.
    pub fn run_of(&self, policy: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.policy == policy)
    }
}

/// What all policies share.
struct Stage<'a> {
    scenario: &'a Scenario,
    /// Tells what is in deliveries; nothing ever happens on it.
    catalog: Platform,
    tariff: Tariff,
}

/// The world and what is on its way.
#[derive(Debug, Clone)]
struct Scene {
    world: World,
    now: EventTime,
    spent: NanoUsd,
    /// Of the present second.
    requests: Vec<Request>,
    /// Of the present second.
    rows: Vec<LedgerRow>,
    deliveries: Vec<Delivery>,
    outcomes: Vec<Outcome>,
    /// Records that the log pipeline has delivered.
    records: u64,
}

/// A policy, and the plant that it has its hands on.
pub type Hand = (Box<dyn Policy>, SharedPlant);

/// Runs the reference policies, `guards` and the oracle over one seed, up to `threads` at once.
///
/// # Errors
/// Conditions that the platform would refuse, or recorded load that breaks off.
pub fn trial(
    scenario: &Scenario,
    seed: u64,
    guards: Vec<Hand>,
    threads: usize,
) -> Result<Trial, LoopError> {
    let mut opening = Opening::new(scenario, seed)?;
    let references = references(scenario);
    let (count, guarded) = (references.len(), references.len() + guards.len());
    let choices = Oracle::choices(scenario, &opening.scene.world).into_iter();
    let with_plant = |policy| (policy, SharedPlant::default());
    let mut policies: Vec<Hand> = references.into_iter().map(with_plant).collect();
    policies.extend(guards);
    policies.extend(choices.map(|oracle| with_plant(Box::new(oracle))));
    opening.past(&mut policies)?;
    let mut runs = opening.runs(policies, threads)?;
    let choices = runs.split_off(guarded);
    let attacks = opening.scene.world.attacks().to_vec();
    let onset = attacks.iter().map(|attack| attack.onset).min();
    let first = scenario.second(onset.unwrap_or(scenario.start));
    let (oracle, reach) = best(&runs[..count], choices, first);
    runs.extend(oracle);
    Ok(Trial { seed, attacks, runs, reach })
}

/// Runs `guards` over one seed, up to `threads` at once, and hears of each as soon as it is done:
/// its place, and a trial of nobody's doing and of it.
///
/// # Errors
/// Conditions that the platform would refuse, or recorded load that breaks off.
pub fn each<R: Send>(
    scenario: &Scenario,
    seed: u64,
    mut guards: Vec<Hand>,
    threads: usize,
    hear: impl Fn(usize, &Trial) -> R + Sync,
) -> Result<Vec<R>, LoopError> {
    let mut opening = Opening::new(scenario, seed)?;
    opening.past(&mut guards)?;
    let nothing = opening.run((Box::new(Nothing), SharedPlant::default()))?;
    let attacks = opening.scene.world.attacks();
    let heard = all(guards.into_iter().enumerate().collect(), threads, |(place, guard)| {
        let (attacks, runs) = (attacks.to_vec(), vec![nothing.clone(), opening.run(guard)?]);
        Ok(hear(place, &Trial { seed, attacks, runs, reach: Vec::new() }))
    });
    heard.into_iter().collect()
}

/// The oracle's run: the best of its choices and of what the references came to, which somebody
/// who knows everything can do as well; and what all of them came to.
fn best(references: &[Run], choices: Vec<Run>, first: usize) -> (Option<Run>, Vec<(NanoUsd, u64)>) {
    let reached = |run: &Run| (run.leaked(), run.asked_from(first).1);
    let reach: Vec<_> = choices.iter().chain(references).map(reached).collect();
    let price = |(leaked, denied): &(NanoUsd, u64)| leaked.usd() + *denied as f64 * DENIED_USD;
    let priced = reach.iter().enumerate();
    let best = priced.min_by(|(_, a), (_, b)| price(a).total_cmp(&price(b)));
    let best = best.map_or(0, |(place, _)| place);
    let Some(own) = choices.first() else {
        return (None, Vec::new());
    };
    let (policy, claims) = (own.policy, own.claims.clone());
    let found = choices.iter().chain(references).nth(best).cloned();
    (found.map(|run| Run { policy, claims, is_idle: false, ..run }), reach)
}

/// Does `work` for each of `items`, on up to `threads` threads; the results are in their order.
pub fn all<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let mut slots: Vec<(Option<T>, Option<R>)> =
        items.into_iter().map(|item| (Some(item), None)).collect();
    let threads = threads.clamp(1, slots.len().max(1));
    let queue = Mutex::new(slots.iter_mut());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((item, result)) = next else {
                        return;
                    };
                    *result = item.take().map(&work);
                }
            });
        }
    });
    slots.into_iter().filter_map(|(_, result)| result).collect()
}

impl Scene {
    fn new(scenario: &Scenario, seed: u64) -> Result<Self, LoopError> {
        Ok(Self {
            world: World::new(scenario, seed)?,
            now: scenario.begin(),
            spent: scenario.money.spent,
            requests: Vec::new(),
            rows: Vec::new(),
            deliveries: Vec::new(),
            outcomes: Vec::new(),
            records: 0,
        })
    }

    /// # Errors
    /// Load broke off.
    fn whole(&self) -> Result<(), LoopError> {
        self.world.fault().map_or(Ok(()), |fault| Err(LoopError::Recording(fault.to_owned())))
    }

    /// Moves time by a step; `tell` hears each row of the ledger with what its legitimate and its
    /// hostile part cost.
    fn step(
        &mut self,
        stage: &Stage<'_>,
        platform: &mut Platform,
        tell: &mut dyn FnMut(&LedgerRow, NanoUsd, NanoUsd),
    ) {
        self.now = self.now.plus_ms(self.world.step_ms());
        let (first_request, first_row) = (self.requests.len(), self.rows.len());
        self.world.take(self.now, &mut self.requests);
        for request in &self.requests[first_request..] {
            platform.offer(*request);
        }
        // What happens at `now` belongs to the next step.
        platform.advance(self.now.plus_ms(-1), &mut self.deliveries);
        platform.take_outcomes(&mut self.outcomes);
        for outcome in self.outcomes.drain(..) {
            self.world.answer(&outcome);
        }
        platform.take_ledger(&mut self.rows);
        for row in &self.rows[first_row..] {
            let (legitimate, attack) = price(&stage.tariff, row);
            self.spent = self.spent.plus(legitimate).plus(attack);
            tell(row, legitimate, attack);
        }
    }

    /// The second that has just ended, if one has.
    fn second(&self, in_window: bool) -> Option<Second<'_>> {
        (self.now.ms() % 1_000 == 0).then_some(Second {
            end: self.now,
            in_window,
            rows: &self.rows,
            requests: &self.requests,
            spent: self.spent,
        })
    }

    fn clear(&mut self) {
        let told = self.deliveries.iter().map(|delivery| u64::from(delivery.records()));
        self.records += told.sum::<u64>();
        self.deliveries.clear();
        if self.now.ms() % 1_000 == 0 {
            self.requests.clear();
            self.rows.clear();
        }
    }
}

/// The scored window under one policy, and what follows from it.
fn window(
    stage: &Stage<'_>,
    mut scene: Scene,
    mut policy: Box<dyn Policy>,
    plant: &SharedPlant,
) -> Result<Run, LoopError> {
    let scenario = stage.scenario;
    let mut run = Run::begun(policy.name(), scenario, scene.world.attacks());
    let until = scenario.end().plus_ms(TAIL_MS.cast_signed());
    while scene.now < scenario.end() || (scene.now < until && !lock(plant).is_settled()) {
        if scene.now == scenario.end() {
            scene.world.close();
        }
        if let Some(platform) = lock(plant).platform() {
            scene.step(stage, platform, &mut |row, legitimate, attack| {
                run.note(scenario, row, legitimate, attack);
            });
        }
        if policy.reads() {
            policy.read(&stage.catalog, &scene.deliveries, scene.now);
        }
        if let Some(second) = scene.second(true) {
            policy.second(&second, plant);
        }
        scene.clear();
    }
    policy.over();
    scene.whole()?;
    let mut plant = lock(plant);
    let tallies = (0..).zip(scene.world.attacks()).map(|(number, _)| {
        plant.platform().map_or_else(Tally::default, |platform| platform.tally(Some(number)))
    });
    let tallies = tallies.collect();
    let waiting = plant.platform().map_or(0, |platform| platform.tally(None).counts.unsettled());
    if let Some(last) = run.ticks.last_mut() {
        // Who has waited for so long does not wait any more.
        last.denied += waiting;
    }
    let sources = scene.world.attacks().iter();
    Ok(Run {
        sources: sources
            .map(|attack| Sources { listed: attack.sources.clone(), cut: attack.sources_cut })
            .collect(),
        is_idle: policy.watches_budget() && plant.calls() == 0,
        changes: plant.changes().to_vec(),
        calls: plant.calls(),
        restored_at: plant.restored_at(),
        holding: !plant.is_restored(),
        claims: policy.claims(),
        broken: broken(policy.as_ref(), &plant),
        spent: scene.spent,
        tallies,
        records: scene.records,
        ..run
    })
}

impl Run {
    fn begun(policy: &'static str, scenario: &Scenario, attacks: &[Attack]) -> Self {
        let seconds = scenario.second(scenario.end());
        let victims = attacks.iter().flat_map(|attack| attack.functions.iter().copied());
        let victims = victims.map(|victim| (victim, vec![VictimTick::default(); seconds]));
        let (ticks, victims) = (vec![Tick::default(); seconds], victims.collect());
        Self { policy, ticks, victims, ..Self::default() }
    }

    fn note(&mut self, scenario: &Scenario, row: &LedgerRow, legitimate: NanoUsd, attack: NanoUsd) {
        let Ok(second) = usize::try_from(row.second - scenario.start.second()) else {
            return;
        };
        if second >= self.ticks.len() {
            self.ticks.resize(second + 1, Tick::default());
        }
        let tick = &mut self.ticks[second];
        tick.offered += row.legitimate.offered;
        tick.denied += denied(&row.legitimate);
        tick.attack_offered += row.attack.offered;
        tick.cost += legitimate;
        tick.attack_cost += attack;
        if let Some(victim) = self.victims.get_mut(&(row.function as usize)) {
            if second >= victim.len() {
                victim.resize(second + 1, VictimTick::default());
            }
            let tick = &mut victim[second];
            tick.cost += legitimate.plus(attack);
            tick.offered += row.legitimate.offered;
            tick.denied += denied(&row.legitimate);
        }
    }
}

/// Promises that were not kept.
fn broken(policy: &dyn Policy, plant: &Plant) -> Vec<String> {
    let mut broken: Vec<String> = policy.fault().into_iter().collect();
    if !policy.promises() {
        return broken;
    }
    if !plant.is_restored() {
        broken.push("A2: something is still in force long after the window".to_owned());
    }
    let is_stop =
        |change: &&Change| change.value == Some(0) && matches!(change.place, Place::Function(_));
    if let Some(Change { at, place: Place::Function(function), .. }) =
        plant.changes().iter().find(is_stop)
    {
        broken.push(format!("A1: {function} was stopped altogether at {at}"));
    }
    broken
}

/// Requests that came to nothing.
fn denied(counts: &Counts) -> u64 {
    counts.throttled + counts.limited + counts.blocked + counts.dead
}

/// What a second of a function costs. The firewall's price is the same for what it lets in: whoever
/// has one pays it under every policy, so it is left out.
fn price(tariff: &Tariff, row: &LedgerRow) -> (NanoUsd, NanoUsd) {
    let cost =
        |counts: Counts| tariff.cost(row.function as usize, &Counts { blocked: 0, ..counts });
    (cost(row.legitimate), cost(row.attack))
}

impl Scenario {
    /// The place of the second at `at` among those of the window.
    pub fn second(&self, at: EventTime) -> usize {
        let second = at.since_ms(self.start).div_euclid(1_000).max(0);
        usize::try_from(second).unwrap_or(usize::MAX)
    }

    /// How long it takes, on average, until what happens is told, in milliseconds.
    pub fn telling_ms(&self) -> i64 {
        let platform = &self.platform;
        let delay = i64::from(platform.delay_ms_min) + i64::from(platform.delay_ms_max);
        i64::from(platform.batch_ms) + delay / 2
    }
}
