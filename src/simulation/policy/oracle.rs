//! Somebody who knows the attack, with the same controls and the same delays as bursar: what can be
//! done at best. It acts as soon as the first record of the attack can have come, refuses exactly
//! the hostile addresses where the firewall can do that, else caps each victim at what legitimate
//! callers need, and gives everything back the moment the attack is over and what
//! it has left in queues is worked off.

use core::net::IpAddr;
use std::collections::BTreeSet;

use super::{Claims, Policy, Second};
use crate::record::FunctionKey;
use crate::simulation::attack::Attack;
use crate::simulation::plant::{Plant, SharedPlant, lock};
use crate::simulation::platform::{Command, FunctionSpec};
use crate::simulation::scenario::Scenario;
use crate::simulation::wire::ApiKind;
use crate::simulation::world::World;
use crate::units::{EventTime, whole};

/// Addresses that change faster than this are gone before they can be refused.
const ROTATION_MS_MIN: u64 = 30_000;
/// Room above the mean, in standard deviations of a Poisson process.
const ROOM: f64 = 4.0;
/// Events that wait are usual up to this number.
const BACKLOG: u64 = 100;
/// The set of addresses is brought up to date this often, in milliseconds.
const UPDATE_MS: i64 = 5_000;

/// Knows everything in time.
#[derive(Debug)]
pub struct Oracle {
    plans: Vec<Plan>,
    delay_ms: i64,
    blocked: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct Plan {
    attack: Attack,
    /// Refuse its addresses; else cap the victims.
    refuse: bool,
    /// Each with its index and what its legitimate callers need at once.
    victims: Vec<(usize, FunctionKey, u32)>,
    /// So many of them are capped.
    capped: usize,
    /// When it was first seen.
    seen_at: Option<EventTime>,
}

impl Oracle {
    /// Knows the world's attacks.
    pub fn new(scenario: &Scenario, world: &World) -> Self {
        let limit = scenario.platform.blocked_addresses_max as u64;
        let plans = world.attacks().iter().map(|attack| {
            let specs: Vec<&FunctionSpec> =
                attack.functions.iter().map(|index| &scenario.functions[*index]).collect();
            let rest = |spec: &&FunctionSpec| {
                spec.api.as_ref().is_some_and(|api| api.kind == ApiKind::Rest)
            };
            let slow = attack.spec.rotate_ms.is_none_or(|rotate| rotate >= ROTATION_MS_MIN);
            let few = u64::from(attack.spec.sources) <= limit;
            let victims = attack.functions.iter().map(|index| need(scenario, *index));
            Plan {
                refuse: specs.iter().all(rest) && slow && few && attack.spec.overlap < 1.0,
                victims: victims.collect(),
                capped: 0,
                seen_at: None,
                attack: attack.clone(),
            }
        });
        Self { plans: plans.collect(), delay_ms: scenario.telling_ms(), blocked: BTreeSet::new() }
    }
}

/// A function and the concurrency that its legitimate callers need (Little's law).
fn need(scenario: &Scenario, index: usize) -> (usize, FunctionKey, u32) {
    let spec = &scenario.functions[index];
    let own = scenario.loads.iter().filter(|load| load.function == index);
    let peak = own.map(|load| load.pace.mean_rps() * (1.0 + load.season.daily)).sum::<f64>();
    let places = (0..1_000).map(|place| spec.duration.quantile((f64::from(place) + 0.5) / 1e3));
    let seconds = places.sum::<f64>() / 1e6;
    let mean = peak * seconds;
    let cap = whole(mean + ROOM * libm::sqrt(mean)) + 1;
    (index, spec.key.clone(), u32::try_from(cap).unwrap_or(u32::MAX))
}

impl Plan {
    fn has_backlog(&self, plant: &mut Plant) -> bool {
        let platform = plant.platform();
        platform.is_some_and(|platform| {
            self.victims.iter().any(|(index, ..)| platform.backlog(*index) > BACKLOG)
        })
    }

    /// Caps the victims or gives them back, one after the other; what a quota refuses goes on with
    /// the next second.
    fn cap(&mut self, on: bool, plant: &mut Plant, now: EventTime) {
        loop {
            let next = if on { Some(self.capped) } else { self.capped.checked_sub(1) };
            let Some((_, function, value)) = next.and_then(|next| self.victims.get(next)) else {
                return;
            };
            let function = function.clone();
            let command = match on {
                true => Command::SetReserved { function, value: *value },
                false => Command::ClearReserved { function },
            };
            if plant.command(command, now).is_err() {
                return;
            }
            self.capped = if on { self.capped + 1 } else { self.capped - 1 };
        }
    }
}

impl Policy for Oracle {
    fn name(&self) -> &'static str {
        "oracle"
    }

    fn second(&mut self, second: &Second<'_>, plant: &SharedPlant) {
        if !second.in_window {
            return;
        }
        let now = second.end;
        // What it sees now.
        let seen = now.plus_ms(-self.delay_ms);
        let mut hostile = BTreeSet::new();
        for plan in &mut self.plans {
            let on = plan.attack.onset <= seen && now < plan.attack.end;
            if on {
                plan.seen_at.get_or_insert(now);
            }
            if !plan.refuse {
                let plant = &mut lock(plant);
                // Given back any earlier, a backlog of hostile events would run all the same.
                let held = plan.capped > 0 && plan.has_backlog(plant);
                plan.cap(on || held, plant, now);
            } else if on {
                hostile.extend(plan.attack.addresses(seen));
            }
        }
        let due = now.ms() % UPDATE_MS == 0 || hostile.is_empty() || self.blocked.is_empty();
        if due && hostile != self.blocked {
            let addresses = hostile.clone();
            if lock(plant).command(Command::SetBlocked { addresses }, now).is_ok() {
                self.blocked = hostile;
            }
        }
    }

    fn claims(&self) -> Claims {
        let seen = self.plans.iter().filter_map(|plan| plan.seen_at);
        Claims { alarms: seen.map(|at| (at, None)).collect(), bounds: Vec::new() }
    }
}
