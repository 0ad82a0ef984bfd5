//! The driver: world → platform → policy → platform, in virtual time, and what happened.
//!
//! The past is simulated once for a seed, with nobody's hands on the platform; then each policy
//! gets a copy of the platform and of the world as they are when the scored window begins. So all
//! of them face the same callers, and the past costs its price once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::cost::{CostSettings, PriceBook};
use crate::simulation::attack::{Attack, AttackError};
use crate::simulation::plant::{Change, Place, Plant, SharedPlant, lock};
use crate::simulation::platform::{
    Counts, Delivery, LedgerRow, Outcome, Packing, Platform, PlatformError, PlatformSettings,
    Request, Tariff,
};
use crate::simulation::policy::{Claims, Policy, Second, references};
use crate::simulation::scenario::Scenario;
use crate::simulation::world::World;
use crate::units::{EventTime, NanoUsd};

/// After the window a policy that promises to give everything back has this long to do so, in
/// milliseconds: asynchronous events are tried again for six hours, and what they ask for may keep
/// a restriction in force as long as that.
const LIVENESS_MS: i64 = 8 * 3_600_000;

/// A scenario cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoopError {
    /// Its functions or conditions.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// Its attacks.
    #[error(transparent)]
    Attack(#[from] AttackError),
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

/// What came of one policy over one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The policy.
    pub policy: &'static str,
    /// The seconds of the window.
    pub ticks: Vec<Tick>,
    /// Dollars of each victim by second.
    pub victims: BTreeMap<usize, Vec<NanoUsd>>,
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
}

/// All policies over one seed, and what they faced.
#[derive(Debug)]
pub struct Trial {
    /// The seed.
    pub seed: u64,
    /// The attacks.
    pub attacks: Vec<Attack>,
    /// In the order of reports: nothing first, the oracle last.
    pub runs: Vec<Run>,
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
}

/// Runs the reference policies and `guards` over one seed, up to `threads` at once. A guard comes
/// with the plant that it has its hands on.
///
/// # Errors
/// Conditions that the platform would refuse.
pub fn trial(
    scenario: &Scenario,
    seed: u64,
    guards: Vec<(Box<dyn Policy>, SharedPlant)>,
    threads: usize,
) -> Result<Trial, LoopError> {
    let settings =
        PlatformSettings { ledger: true, packing: Packing::Typed, ..scenario.platform.clone() };
    let mut platform = Platform::new(seed, settings, scenario.functions.clone())?;
    let mut scene = Scene::new(scenario, seed)?;
    let (charges, book) = (CostSettings::default(), PriceBook::builtin());
    let tariff = Tariff::new(platform.functions(), &charges, &book, scenario.start);
    let stage = Stage { scenario, catalog: platform.clone(), tariff };
    let references = references(scenario, &scene.world).into_iter();
    let mut policies: Vec<_> = references.map(|policy| (policy, SharedPlant::default())).collect();
    // The oracle stays last.
    policies.splice(policies.len() - 1..policies.len() - 1, guards);
    while scene.now < scenario.start {
        scene.step(&stage, &mut platform, &mut |_, _, _| {});
        let second = scene.second(false);
        for (policy, plant) in &mut policies {
            if policy.reads() {
                policy.read(&stage.catalog, &scene.deliveries, scene.now);
            }
            if let Some(second) = &second {
                policy.second(second, plant);
            }
        }
        scene.clear();
    }
    let attacks = scene.world.attacks().to_vec();
    let runs = all(policies, threads, |(policy, plant)| {
        lock(&plant).begin(platform.clone());
        window(&stage, scene.clone(), policy, &plant)
    });
    Ok(Trial { seed, attacks, runs })
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
        })
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
        self.deliveries.clear();
        if self.now.ms() % 1_000 == 0 {
            self.requests.clear();
            self.rows.clear();
        }
    }
}

/// The scored window under one policy.
fn window(
    stage: &Stage<'_>,
    mut scene: Scene,
    mut policy: Box<dyn Policy>,
    plant: &SharedPlant,
) -> Run {
    let scenario = stage.scenario;
    let seconds = usize::try_from(scenario.length_ms / 1_000).unwrap_or(0);
    let mut ticks = vec![Tick::default(); seconds];
    let victims = scene.world.attacks().iter().flat_map(|attack| attack.functions.iter().copied());
    let mut victims: BTreeMap<usize, Vec<NanoUsd>> =
        victims.map(|victim| (victim, vec![NanoUsd::ZERO; seconds])).collect();
    let mut tell = |row: &LedgerRow, legitimate: NanoUsd, attack: NanoUsd| {
        let second = usize::try_from(row.second - scenario.start.second()).ok();
        let Some(tick) = second.and_then(|second| ticks.get_mut(second)) else {
            return;
        };
        tick.offered += row.legitimate.offered;
        tick.denied += denied(&row.legitimate);
        tick.attack_offered += row.attack.offered;
        tick.cost += legitimate;
        tick.attack_cost += attack;
        if let Some(victim) = victims.get_mut(&(row.function as usize)) {
            victim[second.unwrap_or(0)] += legitimate.plus(attack);
        }
    };
    let live_until = scenario.end().plus_ms(if policy.promises() { LIVENESS_MS } else { 0 });
    while scene.now < scenario.end() || (scene.now < live_until && !lock(plant).is_restored()) {
        if let Some(platform) = lock(plant).platform() {
            scene.step(stage, platform, &mut tell);
        }
        if policy.reads() {
            policy.read(&stage.catalog, &scene.deliveries, scene.now);
        }
        if let Some(second) = scene.second(true) {
            policy.second(&second, plant);
        }
        scene.clear();
    }
    let plant = lock(plant);
    Run {
        policy: policy.name(),
        ticks,
        victims,
        changes: plant.changes().to_vec(),
        calls: plant.calls(),
        restored_at: plant.restored_at(),
        holding: !plant.is_restored(),
        claims: policy.claims(),
        broken: if policy.promises() { broken(&plant) } else { Vec::new() },
    }
}

/// Promises that were not kept.
fn broken(plant: &Plant) -> Vec<String> {
    let mut broken = Vec::new();
    if !plant.is_restored() {
        broken.push("A2: something is still in force long after the window".to_owned());
    }
    let zero = plant.changes().iter().find(|change| change.value == Some(0));
    if let Some(Change { at, place: Place::Function(function), .. }) = zero {
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
    /// How long it takes, on average, until what happens is told, in milliseconds.
    pub fn telling_ms(&self) -> i64 {
        let platform = &self.platform;
        let delay = i64::from(platform.delay_ms_min) + i64::from(platform.delay_ms_max);
        i64::from(platform.batch_ms) + delay / 2
    }
}
