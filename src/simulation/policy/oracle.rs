//! Somebody who knows the attack, with the same controls and the same delays as bursar: what can be
//! done at best. It acts as soon as the first record of the attack can have come, refuses hostile
//! addresses where the firewall can do that, the costliest first, caps the victims elsewhere, and
//! gives everything back the moment the attack is over and what it has left in queues is worked
//! off. How tight a cap is best depends on what the attack costs and on whom the cap turns away, so
//! it is tried: each choice is a run of its own, and the best one counts.

use core::net::IpAddr;
use std::collections::BTreeSet;

use super::{Claims, Policy, Second, give_back};
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
/// Room of a cap above what legitimate callers need on average, in standard deviations of a Poisson
/// process: from hardly anything up to more than chance ever needs.
const ROOMS: [f64; 4] = [-2.0, 1.0, 4.0, 16.0];
/// The same where addresses are refused too.
const ROOMS_BESIDE: [f64; 2] = [1.0, 4.0];
/// Events that wait are usual up to this number.
const BACKLOG: u64 = 100;
/// The set of addresses is brought up to date this often, in milliseconds.
const UPDATE_MS: i64 = 5_000;

/// Knows everything in time.
#[derive(Debug)]
pub struct Oracle {
    plans: Vec<Plan>,
    delay_ms: i64,
    addresses_max: usize,
    blocked: BTreeSet<IpAddr>,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Choice {
    /// Refuses addresses where that can be done.
    refuse: bool,
    /// Caps the victims there too, and not only elsewhere.
    both: bool,
    /// Room of the caps.
    room: f64,
}

#[derive(Debug)]
struct Plan {
    attack: Attack,
    refuse: bool,
    cap: bool,
    /// What an address of it costs, up to a factor that all have.
    weight: f64,
    /// Each with its index, its cap and what it had before.
    victims: Vec<(usize, FunctionKey, u32, Option<u32>)>,
    /// So many of them are capped.
    capped: usize,
    /// When it was first seen.
    seen_at: Option<EventTime>,
}

impl Oracle {
    /// One for each choice that there is against the world's attacks.
    pub fn choices(scenario: &Scenario, world: &World) -> Vec<Self> {
        let refusable = world.attacks().iter().filter(|attack| is_refusable(scenario, attack));
        let sources: u64 = refusable.clone().map(|attack| u64::from(attack.spec.sources)).sum();
        let fits = sources <= scenario.platform.blocked_addresses_max as u64;
        let apart = refusable.clone().all(|attack| attack.spec.overlap <= 0.0);
        let (count, all) = (refusable.count(), world.attacks().len());
        let caps = |rooms: &[f64], refuse, both| {
            let choice = |room: &f64| Choice { refuse, both, room: *room };
            rooms.iter().map(choice).collect::<Vec<_>>()
        };
        let choices = if count == 0 {
            let rooms = if all == 0 { &ROOMS[..1] } else { &ROOMS };
            caps(rooms, false, false)
        } else if count == all && fits && apart {
            // Nothing is left for a cap but the seconds in which addresses are not yet refused.
            [caps(&[0.0], true, false), caps(&[4.0], true, true)].concat()
        } else {
            let alone = if count == all { &ROOMS_BESIDE[..1] } else { &ROOMS[1..] };
            let beside = caps(&ROOMS_BESIDE, true, true);
            [caps(alone, true, false), beside, caps(&ROOMS_BESIDE, false, false)].concat()
        };
        let mut oracles: Vec<Self> = Vec::new();
        for choice in choices {
            let oracle = Self::new(scenario, world, choice);
            // Where hardly anybody calls, every room comes to the same cap.
            if !oracles.iter().any(|known| known.does_the_same(&oracle)) {
                oracles.push(oracle);
            }
        }
        oracles
    }

    fn does_the_same(&self, other: &Self) -> bool {
        let same = |(a, b): (&Plan, &Plan)| {
            (a.refuse, a.cap) == (b.refuse, b.cap) && (!a.cap || a.victims == b.victims)
        };
        self.plans.iter().zip(&other.plans).all(same)
    }

    fn new(scenario: &Scenario, world: &World, choice: Choice) -> Self {
        let plans = world.attacks().iter().map(|attack| {
            let refuse = choice.refuse && is_refusable(scenario, attack);
            let victims = attack.functions.iter();
            Plan {
                refuse,
                cap: choice.both || !refuse,
                weight: weight(scenario, attack),
                victims: victims.map(|index| cap(scenario, *index, choice.room)).collect(),
                capped: 0,
                seen_at: None,
                attack: attack.clone(),
            }
        });
        let mut plans: Vec<Plan> = plans.collect();
        plans.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        Self {
            plans,
            delay_ms: scenario.telling_ms(),
            addresses_max: scenario.platform.blocked_addresses_max,
            blocked: BTreeSet::new(),
        }
    }

    /// The addresses to refuse of what is seen at `seen`: as many as fit, the costliest first.
    fn hostile(&self, seen: EventTime, now: EventTime) -> BTreeSet<IpAddr> {
        let mut hostile = BTreeSet::new();
        for plan in self.plans.iter().filter(|plan| plan.refuse && plan.is_on(seen, now)) {
            for address in plan.attack.addresses(seen) {
                if hostile.len() < self.addresses_max {
                    hostile.insert(address);
                }
            }
        }
        hostile
    }
}

/// Whether the firewall knows some of its addresses in time.
fn is_refusable(scenario: &Scenario, attack: &Attack) -> bool {
    let mut specs = attack.functions.iter().map(|index| &scenario.functions[*index]);
    let rest = |spec: &FunctionSpec| spec.api.as_ref().is_some_and(|api| api.kind == ApiKind::Rest);
    let slow = attack.spec.rotate_ms.is_none_or(|rotate| rotate >= ROTATION_MS_MIN);
    specs.all(rest) && slow && attack.spec.overlap < 1.0
}

/// Milliseconds and megabytes that one address costs in a second.
fn weight(scenario: &Scenario, attack: &Attack) -> f64 {
    let use_of = |spec: &FunctionSpec| mean_seconds(spec) * f64::from(spec.memory.get());
    let uses = attack.functions.iter().map(|index| use_of(&scenario.functions[*index]));
    let mean = uses.sum::<f64>() / attack.functions.len().max(1) as f64;
    attack.rps / f64::from(attack.spec.sources.max(1)) * mean * attack.spec.slow
}

fn mean_seconds(spec: &FunctionSpec) -> f64 {
    let places = (0..1_000).map(|place| spec.duration.quantile((f64::from(place) + 0.5) / 1e3));
    places.sum::<f64>() / 1e6
}

/// A function with a cap so far above the concurrency that its legitimate callers need on average
/// (Little's law), and what it had.
fn cap(scenario: &Scenario, index: usize, room: f64) -> (usize, FunctionKey, u32, Option<u32>) {
    let spec = &scenario.functions[index];
    let own = scenario.loads.iter().filter(|load| load.function == index);
    let peak = own.map(|load| load.pace.mean_rps() * (1.0 + load.season.daily)).sum::<f64>();
    let mean = peak * mean_seconds(spec);
    let cap = whole((mean + room * libm::sqrt(mean)).max(0.0)) + 1;
    let cap = u32::try_from(cap).unwrap_or(u32::MAX).min(spec.reserved.unwrap_or(u32::MAX));
    (index, spec.key.clone(), cap, spec.reserved)
}

impl Plan {
    fn is_on(&self, seen: EventTime, now: EventTime) -> bool {
        self.attack.onset <= seen && now < self.attack.end
    }

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
            let Some((_, function, value, prior)) = next.and_then(|next| self.victims.get(next))
            else {
                return;
            };
            let function = function.clone();
            let command = match on {
                true => Command::SetReserved { function, value: *value },
                false => give_back(function, *prior),
            };
            if plant.command(command, now).is_err() {
                return;
            }
            self.capped = if on { self.capped + 1 } else { self.capped - 1 };
        }
    }
}

impl Policy for Oracle {
    fn needs_attack(&self) -> bool {
        true
    }

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
        for plan in &mut self.plans {
            let on = plan.is_on(seen, now);
            if on {
                plan.seen_at.get_or_insert(now);
            }
            if plan.cap {
                let plant = &mut lock(plant);
                // Given back any earlier, a backlog of hostile events would run all the same.
                let held = plan.capped > 0 && plan.has_backlog(plant);
                plan.cap(on || held, plant, now);
            }
        }
        let any = self.plans.iter().any(|plan| plan.refuse && plan.is_on(seen, now));
        if now.ms() % UPDATE_MS != 0 && any != self.blocked.is_empty() {
            return;
        }
        let hostile = self.hostile(seen, now);
        if hostile != self.blocked {
            let addresses = hostile.clone();
            if lock(plant).command(Command::SetBlocked { addresses }, now).is_ok() {
                self.blocked = hostile;
            }
        }
    }

    fn claims(&self) -> Claims {
        let seen = self.plans.iter().filter_map(|plan| plan.seen_at);
        Claims { alarms: seen.map(|at| (at, None)).collect(), ..Claims::default() }
    }
}
