//! The world of a scenario: everybody who asks for something, as one stream of requests. What
//! becomes of requests comes back, because users try again and some attacks adapt.
//!
//! What somebody does is drawn from a stream of draws of their own, so that all policies over one
//! seed meet the same callers for as long as these are answered alike.

mod sessions;
mod stream;
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::simulation::attack::{Attack, AttackError, CLIENT_FIRST, Victim};
use crate::simulation::draw::Draw;
use crate::simulation::load::Callers;
use crate::simulation::platform::{FunctionSpec, Outcome, Request};
use crate::simulation::recording::Playback;
use crate::simulation::scenario::{Deploy, Pace, Scenario, way};
use crate::units::EventTime;

use sessions::Sessions;
use stream::Stream;

/// Requests are drawn for whole seconds.
const SECOND_MS: i64 = 1_000;
/// Where somebody waits for answers, they are carried back this often, in milliseconds: shorter
/// than the time in which a person or a retry reacts.
const ANSWER_MS: i64 = 100;

/// Streams of draws from here on belong to recordings.
const RECORDING_DRAWS: u64 = 5_000;

/// Everybody who asks.
#[derive(Debug, Clone)]
pub struct World {
    streams: Vec<Stream>,
    playbacks: Vec<Playback>,
    deploys: Vec<Deploy>,
    /// When the window begins, from which deploys are reckoned.
    start: EventTime,
    sessions: Sessions,
    attacks: Vec<Attack>,
    /// Requests are drawn up to here.
    drawn: EventTime,
    /// Drawn, but later than what was asked for.
    ahead: Vec<Request>,
    is_closed: bool,
}

impl World {
    /// The world at the beginning of the scenario's past.
    ///
    /// # Errors
    /// An attack that has no victim.
    pub fn new(scenario: &Scenario, seed: u64) -> Result<Self, AttackError> {
        let mut streams = Vec::new();
        let mut sessions = Sessions::new(seed);
        for (number, load) in (0..).zip(&scenario.loads) {
            let callers = callers(scenario, load.function, seed);
            match load.pace {
                Pace::Sessions { .. } => sessions.add(scenario, load, callers, number),
                // The recording brings them.
                Pace::Replayed { .. } => {}
                _ => streams.push(Stream::new(scenario, load, callers, seed, number)),
            }
        }
        let victims = victims(scenario, seed);
        let attacks = (0..).zip(&scenario.attacks).map(|(number, spec)| {
            Attack::new(spec, number, &victims, seed, scenario.start, scenario.length_ms)
        });
        Ok(Self {
            streams,
            playbacks: playbacks(scenario, seed),
            deploys: scenario.deploys.clone(),
            start: scenario.start,
            sessions,
            attacks: attacks.collect::<Result<_, _>>()?,
            drawn: scenario.begin(),
            ahead: Vec::new(),
            is_closed: false,
        })
    }

    /// How far time may go before answers have to be carried back, in milliseconds.
    pub fn step_ms(&self) -> i64 {
        if self.is_closed {
            return SECOND_MS;
        }
        let listening = self.attacks.iter().any(|attack| attack.spec.kind.needs_answers());
        if listening || !self.sessions.is_empty() { ANSWER_MS } else { SECOND_MS }
    }

    /// From now on nobody asks.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Appends all requests before `until`, in the order of their times; each is given once.
    pub fn take(&mut self, until: EventTime, out: &mut Vec<Request>) {
        if self.is_closed {
            return;
        }
        while self.drawn < until {
            let drawn = self.drawn;
            for stream in &mut self.streams {
                stream.second(drawn, &mut self.ahead);
            }
            self.sessions.second(drawn);
            self.drawn = drawn.plus_ms(SECOND_MS);
        }
        for playback in &mut self.playbacks {
            playback.take(until, &mut self.ahead);
        }
        self.sessions.take(until, &mut self.ahead);
        for attack in &mut self.attacks {
            attack.take(until, &mut self.ahead);
        }
        let first = out.len();
        if self.drawn == until {
            out.append(&mut self.ahead);
        } else {
            out.extend(self.ahead.extract_if(.., |request| request.at < until));
        }
        // Stable, so that equal times stay in the order of loads and attacks.
        out[first..].sort_by_cached_key(|request| request.at);
        self.deploy(&mut out[first..]);
    }

    /// Whoever asks gets the version that is deployed.
    fn deploy(&self, requests: &mut [Request]) {
        for deploy in &self.deploys {
            let since = self.start.plus_ms(deploy.start_ms.cast_signed());
            #[expect(clippy::cast_possible_truncation, reason = "at most 1,000")]
            let slow = deploy.slow as f32;
            for request in requests.iter_mut() {
                if request.at >= since && deploy.functions.contains(&request.function) {
                    request.stretch *= slow;
                }
            }
        }
    }

    /// Why recorded load broke off, if it did.
    pub fn fault(&self) -> Option<&str> {
        self.playbacks.iter().find_map(Playback::fault)
    }

    /// Hears what became of a request that wanted to know.
    pub fn answer(&mut self, outcome: &Outcome) {
        if self.is_closed {
            return;
        }
        match outcome.client.checked_sub(CLIENT_FIRST) {
            Some(number) => {
                let attack = usize::try_from(number).ok().and_then(|at| self.attacks.get_mut(at));
                if let Some(attack) = attack {
                    attack.answer(outcome);
                }
            }
            None => self.sessions.answer(outcome),
        }
    }

    /// The truth about the attacks.
    pub fn attacks(&self) -> &[Attack] {
        &self.attacks
    }

    /// Addresses that attacks use at `at` and nobody else does.
    pub fn hostile(&self, at: EventTime) -> BTreeSet<IpAddr> {
        let on = |attack: &&Attack| attack.onset <= at && at < attack.end;
        self.attacks.iter().filter(on).flat_map(|attack| attack.addresses(at)).collect()
    }
}

fn playbacks(scenario: &Scenario, seed: u64) -> Vec<Playback> {
    let doors: Vec<_> =
        scenario.functions.iter().map(|spec| (way(spec), spec.api.is_some())).collect();
    let recordings = (0..).zip(&scenario.recordings);
    let playback = |(number, recording): (u64, &_)| {
        Playback::new(recording, doors.clone(), Draw::new(seed, RECORDING_DRAWS + number))
    };
    recordings.map(playback).collect()
}

/// The callers of a function, where it has an API.
fn callers(scenario: &Scenario, function: usize, seed: u64) -> Option<Callers> {
    scenario.functions[function].api.as_ref()?;
    let load = scenario.loads.iter().find(|load| load.function == function);
    Some(load.map_or(Callers::new(seed, 0), |load| Callers::new(seed, load.app).of(load.users)))
}

fn victims<'a>(scenario: &'a Scenario, seed: u64) -> Vec<Victim<'a>> {
    let mut means = vec![0.0; scenario.functions.len()];
    for load in &scenario.loads {
        means[load.function] += load.pace.mean_rps();
    }
    let functions = scenario.functions.iter().enumerate().zip(means);
    let victim = |((function, spec), mean_rps): ((usize, &'a FunctionSpec), f64)| Victim {
        name: &spec.key.name,
        function,
        callers: callers(scenario, function, seed),
        way: way(spec),
        mean_rps,
    };
    functions.map(victim).collect()
}
