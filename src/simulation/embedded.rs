//! The built-in world: a small web shop on a virtual platform, two hours of its past, and a
//! denial-of-wallet attack a few seconds after the present begins.
//!
//! The attack has two parts, because they call for different answers: first few addresses, which
//! can be told apart and blocked, then addresses that never come twice, which cannot.

mod shop;
#[cfg(test)]
mod tests;

use crate::simulation::draw::{Draw, derive};
use crate::simulation::load::{Callers, address, user_agent};
use crate::simulation::platform::{
    Delivery, Packing, Platform, PlatformError, PlatformSettings, Request,
};
use crate::units::EventTime;

use shop::{Pace, SHOP, Service};

/// The most virtual time that one step covers, in milliseconds: after a pause of the machine the
/// world catches up in steps of bounded size instead of in one large one.
pub const STEP_MS_MAX: i64 = 60_000;

/// Where the shop is.
pub const REGION: &str = "eu-west-1";

/// How much past the world is made with.
pub const HISTORY_MINUTES: u32 = 120;

/// Log events are collected for this long in the past; fewer and larger messages are cheaper, and
/// nobody waits for them.
const HISTORY_BATCH_MS: u32 = 1_000;

/// In the present they are collected only briefly, so that the control loop can be watched.
const LIVE_BATCH_MS: u32 = 200;

/// Peak to mean of the day, minus one.
const DIURNAL: f64 = 0.2;

const DAY_MS: i64 = 86_400_000;

/// The attack on `checkout`, in milliseconds after the present begins.
const ATTACK_START_MS: i64 = 4_000;
/// From here on every request has a new address.
const ATTACK_DIFFUSE_MS: i64 = 14_000;
const ATTACK_END_MS: i64 = 27_000;
/// 400 requests per second.
const ATTACK_PER_10_MS: i64 = 4;
const ATTACK_SOURCES: u64 = 40;

/// The mark on the attack's requests.
pub const ATTACK: u16 = 0;

/// The world.
#[derive(Debug)]
pub struct EmbeddedWorld {
    platform: Platform,
    seed: u64,
    /// When the present begins.
    live: EventTime,
    /// Load is offered up to here.
    now: EventTime,
    draw: Draw,
    /// Services that are called at random, with the running sum of their rates.
    weights: Vec<(f64, usize)>,
    /// The next such call, in milliseconds since the epoch.
    next_ms: f64,
    victim: usize,
    attackers: Draw,
}

impl EmbeddedWorld {
    /// A world whose present begins at `start`.
    ///
    /// # Errors
    /// Never for the built-in functions; the type says what the platform checks.
    pub fn new(seed: u64, start: EventTime) -> Result<Self, PlatformError> {
        let settings = PlatformSettings {
            propagation_ms: 1_000,
            delay_ms_min: 50,
            delay_ms_max: 400,
            batch_ms: LIVE_BATCH_MS,
            packing: Packing::Gzip,
            ..PlatformSettings::default()
        };
        let specs = SHOP.iter().map(Service::spec).collect();
        let mut sum = 0.0;
        let mut weights = Vec::new();
        for (index, service) in SHOP.iter().enumerate() {
            if let Pace::PerSecond(rate) = service.pace {
                sum += rate;
                weights.push((sum, index));
            }
        }
        Ok(Self {
            platform: Platform::new(seed, settings, specs)?,
            seed,
            live: start,
            now: start,
            draw: Draw::new(seed, 3),
            weights,
            next_ms: start.ms() as f64,
            victim: SHOP.iter().position(|service| service.name == "checkout").unwrap_or(0),
            attackers: Draw::new(seed, 4),
        })
    }

    /// The last `minutes` before the present, one item for each minute of messages. To be read to
    /// its end before the first step; messages still under way then come with that step.
    pub fn history(&mut self, minutes: u32) -> History<'_> {
        self.now = self.live.plus_ms(-60_000 * i64::from(minutes));
        self.next_ms = self.now.ms() as f64;
        self.platform.set_batch_ms(HISTORY_BATCH_MS);
        History { world: self }
    }

    /// Moves the world to `until`, or by [`STEP_MS_MAX`] when that is earlier, and appends what is
    /// delivered up to then. The time reached is the answer.
    pub fn step(&mut self, until: EventTime, out: &mut Vec<Delivery>) -> EventTime {
        let until = until.min(self.now.plus_ms(STEP_MS_MAX));
        if until > self.now {
            self.offer_shoppers(until);
            self.offer_timers(until);
            self.offer_attack(until);
            self.now = until;
        }
        self.platform.advance(self.now, out);
        self.now
    }

    /// The platform, for the control plane and the truth.
    pub fn platform(&mut self) -> &mut Platform {
        &mut self.platform
    }

    /// Calls at random, a Poisson process whose rate follows the time of day.
    fn offer_shoppers(&mut self, until: EventTime) {
        let total = self.weights.last().map_or(0.0, |(sum, _)| *sum);
        while self.next_ms < until.ms() as f64 {
            #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
            let at = EventTime::saturating_from_ms(self.next_ms as i64);
            let place = self.draw.unit() * total;
            let found = self.weights.partition_point(|(sum, _)| *sum <= place);
            if let Some((_, function)) = self.weights.get(found) {
                let request = self.request(at, *function);
                self.platform.offer(request);
            }
            self.next_ms += self.draw.wait(1_000.0 / (total * time_of_day(at)));
        }
    }

    fn offer_timers(&mut self, until: EventTime) {
        for (index, service) in SHOP.iter().enumerate() {
            let Pace::EveryMs(period_ms) = service.pace else {
                continue;
            };
            let first = (self.now.ms() + period_ms - 1).div_euclid(period_ms);
            for beat in first..(until.ms() + period_ms - 1).div_euclid(period_ms) {
                let at = EventTime::saturating_from_ms(beat * period_ms);
                let request = self.request(at, index);
                self.platform.offer(request);
            }
        }
    }

    fn offer_attack(&mut self, until: EventTime) {
        let end = until.since_ms(self.live).min(ATTACK_END_MS);
        let begin = self.now.since_ms(self.live).max(ATTACK_START_MS);
        for ms in begin..end {
            // Four in ten milliseconds: one in each of the first four.
            if (ms - ATTACK_START_MS) % 10 >= ATTACK_PER_10_MS {
                continue;
            }
            let bits = if ms < ATTACK_DIFFUSE_MS {
                derive(derive(self.seed, 30), self.attackers.below(ATTACK_SOURCES))
            } else {
                self.attackers.bits()
            };
            self.platform.offer(Request {
                address: Some(address(bits)),
                user_agent: Some(user_agent(derive(bits, 3))),
                attack: Some(ATTACK),
                ..Request::new(self.live.plus_ms(ms), self.victim)
            });
        }
    }

    /// A legitimate call.
    fn request(&mut self, at: EventTime, function: usize) -> Request {
        let web = SHOP[function].api.is_some();
        // All parts of the shop share its users.
        let caller = web.then(|| Callers::new(self.seed, 0).draw(&mut self.draw));
        Request {
            address: caller.map(|(address, _)| address),
            user_agent: caller.map(|(_, user_agent)| user_agent),
            ..Request::new(at, function)
        }
    }
}

/// The past, minute by minute.
#[derive(Debug)]
pub struct History<'a> {
    world: &'a mut EmbeddedWorld,
}

impl Iterator for History<'_> {
    type Item = Vec<Delivery>;

    fn next(&mut self) -> Option<Vec<Delivery>> {
        let world = &mut *self.world;
        if world.now >= world.live {
            return None;
        }
        let until = world.now.plus_ms(60_000).min(world.live);
        if until == world.live {
            world.platform.set_batch_ms(LIVE_BATCH_MS);
        }
        let mut out = Vec::new();
        world.step(until, &mut out);
        Some(out)
    }
}

/// Rate relative to its mean: a sine with its peak at 18:00 UTC.
fn time_of_day(at: EventTime) -> f64 {
    let share = at.ms().rem_euclid(DAY_MS) as f64 / DAY_MS as f64;
    1.0 + DIURNAL * libm::cos((share - 0.75) * core::f64::consts::TAU)
}
