//! A world in motion: callers, platform, log pipeline and the troubles on the way.

use super::plan::{Plan, Trouble, TroubleKind, Which};
use crate::control::action::ActuatorKind;
use crate::cost::{CostSettings, PriceBook};
use crate::record::FunctionKey;
use crate::simulation::plant::{SharedPlant, lock};
use crate::simulation::platform::{
    Command, Counts, Delivery, Feed, LedgerRow, Outcome, Packing, Platform, PlatformSettings,
    Request, Tariff,
};
use crate::simulation::world::World;
use crate::units::{EventTime, NanoUsd};

/// More than anything takes that is under way: an invocation, its message, and a late one's delay.
const DRAIN_MS: i64 = 3_600_000;

/// What a world has cost and whom it has turned away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) cost: NanoUsd,
    /// Legitimate requests that were turned away or given up.
    pub(super) denied: u64,
}

/// A world.
pub(super) struct Lab<'a> {
    plan: &'a Plan,
    world: World,
    /// Tells what is in deliveries.
    pub(super) catalog: Platform,
    pub(super) plant: SharedPlant,
    tariff: Tariff,
    pub(super) now: EventTime,
    pub(super) sums: Sums,
    /// What others have set and when, in their order.
    pub(super) foreign: Vec<(EventTime, FunctionKey, Option<u32>)>,
    /// Messages that did not come in time.
    pub(super) withheld: u64,
    held: Vec<Delivery>,
    /// Whose turn has passed.
    done: Vec<bool>,
    requests: Vec<Request>,
    rows: Vec<LedgerRow>,
    outcomes: Vec<Outcome>,
}

/// What came in a step; `None` from a source that is not well.
pub(super) type Came = Option<Vec<Delivery>>;

impl<'a> Lab<'a> {
    pub(super) fn new(plan: &'a Plan) -> anyhow::Result<Self> {
        let scenario = &plan.scenario;
        let settings =
            PlatformSettings { ledger: true, packing: Packing::Typed, ..scenario.platform.clone() };
        let platform = Platform::new(plan.seed, settings, scenario.functions.clone())?;
        let (charges, book) = (CostSettings::default(), PriceBook::builtin());
        let tariff = Tariff::new(platform.functions(), &charges, &book, scenario.start);
        let (plant, catalog) = (SharedPlant::default(), platform.clone());
        lock(&plant).begin(platform);
        Ok(Self {
            plan,
            world: World::new(scenario, plan.seed)?,
            catalog,
            plant,
            tariff,
            now: scenario.begin(),
            sums: Sums::default(),
            foreign: Vec::new(),
            withheld: 0,
            held: Vec::new(),
            done: vec![false; plan.troubles.len()],
            requests: Vec::new(),
            rows: Vec::new(),
            outcomes: Vec::new(),
        })
    }

    /// How many attacks there are.
    pub(super) fn attacks(&self) -> usize {
        self.world.attacks().len()
    }

    /// Seconds since the world began.
    pub(super) fn second(&self) -> i64 {
        self.now.since_ms(self.plan.scenario.begin()) / 1_000
    }

    /// Moves time by a step.
    pub(super) fn step(&mut self) -> Came {
        self.now = self.now.plus_ms(self.world.step_ms());
        self.meddle();
        let mut came = Vec::new();
        self.world.take(self.now, &mut self.requests);
        let mut plant = lock(&self.plant);
        if let Some(platform) = plant.platform() {
            for request in self.requests.drain(..) {
                platform.offer(request);
            }
            // What happens at `now` belongs to the next step.
            platform.advance(self.now.plus_ms(-1), &mut came);
            platform.take_outcomes(&mut self.outcomes);
            platform.take_ledger(&mut self.rows);
        }
        drop(plant);
        for outcome in self.outcomes.drain(..) {
            self.world.answer(&outcome);
        }
        for row in self.rows.drain(..) {
            let function = row.function as usize;
            // The firewall is paid by who has one, whatever it does.
            let cost =
                |counts: &Counts| self.tariff.cost(function, &Counts { blocked: 0, ..*counts });
            self.sums.cost += cost(&row.legitimate).plus(cost(&row.attack));
            let Counts { throttled, limited, blocked, dead, .. } = row.legitimate;
            self.sums.denied += throttled + limited + blocked + dead;
        }
        self.deliver(came)
    }

    /// Others change what is theirs to change.
    fn meddle(&mut self) {
        let ms = self.now.since_ms(self.plan.scenario.start);
        for (trouble, done) in self.plan.troubles.iter().zip(&mut self.done) {
            let TroubleKind::Foreign { function, value } = &trouble.kind else {
                continue;
            };
            if *done || ms < trouble.from_ms {
                continue;
            }
            *done = true;
            let function = function.clone();
            let mut plant = lock(&self.plant);
            let by_queue = plant.has_queue(&function);
            let (least, most) = ActuatorKind::SqsMaximumConcurrency.range();
            let value = if by_queue { value.map(|it| it.clamp(least, most)) } else { *value };
            let command = match value {
                _ if by_queue => Command::SetQueueConcurrency { function: function.clone(), value },
                Some(value) => Command::SetReserved { function: function.clone(), value },
                None => Command::ClearReserved { function: function.clone() },
            };
            let accepted = plant.platform().map(|platform| platform.command(command, self.now));
            if let Some(Ok(_)) = accepted {
                self.foreign.push((self.now, function, value));
            }
        }
    }

    /// What of it arrives.
    fn deliver(&mut self, came: Vec<Delivery>) -> Came {
        let ms = self.now.since_ms(self.plan.scenario.start);
        let silent = self.plan.troubles.iter().filter_map(|trouble| match trouble {
            Trouble { kind: TroubleKind::Silent { which, kept }, from_ms, until_ms } => {
                (*from_ms <= ms && ms < *until_ms).then_some((*which, *kept))
            }
            _ => None,
        });
        let silent: Vec<(Which, bool)> = silent.collect();
        let mut arrives = Vec::new();
        if silent.is_empty() {
            arrives.extend(self.held.drain(..).map(|late| Delivery { at: self.now, ..late }));
        }
        for delivery in came {
            match silent.iter().find(|(which, _)| which.has(&delivery)) {
                None => arrives.push(delivery),
                Some((_, kept)) => {
                    self.withheld += 1;
                    if *kept {
                        self.held.push(delivery);
                    }
                }
            }
        }
        let is_well = silent.iter().all(|(which, _)| *which != Which::All);
        is_well.then_some(arrives)
    }

    /// Lets everything come to its end that is under way, and nothing new begin.
    pub(super) fn drain(&mut self) -> Vec<Delivery> {
        let mut came: Vec<Delivery> =
            self.held.drain(..).map(|late| Delivery { at: self.now, ..late }).collect();
        self.now = self.now.plus_ms(DRAIN_MS);
        if let Some(platform) = lock(&self.plant).platform() {
            platform.advance(self.now, &mut came);
        }
        came
    }

    /// Whether records are held back.
    pub(super) fn is_holding_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// Events that are not settled.
    pub(super) fn backlog(&self) -> u64 {
        let mut plant = lock(&self.plant);
        let functions = 0..self.plan.scenario.functions.len();
        plant.platform().map_or(0, |platform| functions.map(|at| platform.backlog(at)).sum())
    }

    /// The limit of a function's concurrency as the control plane tells it.
    pub(super) fn told(&self, function: &FunctionKey) -> Option<u32> {
        lock(&self.plant).limit(function).unwrap_or_default()
    }
}

impl Which {
    /// Whether a message is among them.
    pub(super) fn has(self, delivery: &Delivery) -> bool {
        match (self, delivery.about()) {
            (Which::All, _) => true,
            (Which::Invocations(which), Some((function, Feed::Invocations))) => which == function,
            (Which::Callers, Some((_, Feed::Callers))) => true,
            _ => false,
        }
    }
}
