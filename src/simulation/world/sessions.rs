//! Users who come, ask several times, wait for each answer, and try again when they are refused:
//! after a pause that doubles and is drawn from its second half, as client libraries do
//! (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015, calls it equal jitter).

use core::net::IpAddr;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::stream::visitors;
use crate::simulation::draw::{Draw, derive, unit};
use crate::simulation::load::Callers;
use crate::simulation::platform::{Ending, Outcome, Request, Way};
use crate::simulation::scenario::{Load, Pace, Scenario, Season, Surge, way};
use crate::units::{EventTime, whole};

/// Users at once; who comes beyond does not.
const USERS_MAX: usize = 1 << 24;
/// Pauses double at most this often.
const DOUBLINGS_MAX: u32 = 10;

/// All users who are here.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    seed: u64,
    crowds: Vec<Crowd>,
    users: Vec<User>,
    free: Vec<u32>,
    /// When who asks next.
    next: BinaryHeap<Reverse<(EventTime, u64, u32)>>,
    sequence: u64,
}

/// The users of one function.
#[derive(Debug, Clone)]
struct Crowd {
    function: usize,
    way: Way,
    callers: Option<Callers>,
    season: Season,
    start: EventTime,
    surges: Vec<(Surge, Callers)>,
    per_second: f64,
    requests: f64,
    think_ms: f64,
    retries: u32,
    back_off_ms: u64,
    draw: Draw,
}

#[derive(Debug, Clone, Copy)]
struct User {
    crowd: usize,
    caller: Option<(IpAddr, &'static str)>,
    /// Requests that are still to be answered.
    left: u64,
    tries: u32,
    bits: u64,
}

impl Sessions {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            crowds: Vec::new(),
            users: Vec::new(),
            free: Vec::new(),
            next: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.crowds.is_empty()
    }

    pub(super) fn add(
        &mut self,
        scenario: &Scenario,
        load: &Load,
        callers: Option<Callers>,
        number: u64,
    ) {
        let Pace::Sessions { per_second, requests, think_ms, retries, back_off_ms } = load.pace
        else {
            return;
        };
        let surges = (0..).zip(&scenario.surges);
        let own = surges.filter(|(_, surge)| surge.functions.contains(&load.function));
        self.crowds.push(Crowd {
            function: load.function,
            way: way(&scenario.functions[load.function]),
            callers,
            season: load.season,
            start: scenario.start,
            surges: own
                .map(|(index, surge)| (surge.clone(), visitors(self.seed, index, surge)))
                .collect(),
            per_second,
            requests,
            think_ms,
            retries,
            back_off_ms,
            draw: Draw::new(self.seed, super::stream::DRAWS + number),
        });
    }

    /// Lets in the users who come within the second that begins at `from`.
    pub(super) fn second(&mut self, from: EventTime) {
        for index in 0..self.crowds.len() {
            for (at, user) in self.crowds[index].arrivals(index, from) {
                let number = match self.free.pop() {
                    Some(number) => {
                        self.users[number as usize] = user;
                        number
                    }
                    None if self.users.len() < USERS_MAX => {
                        self.users.push(user);
                        u32::try_from(self.users.len() - 1).unwrap_or(0)
                    }
                    None => continue,
                };
                self.schedule(at, number);
            }
        }
    }

    /// Appends the requests before `until`.
    pub(super) fn take(&mut self, until: EventTime, out: &mut Vec<Request>) {
        while let Some(Reverse((at, _, _))) = self.next.peek()
            && *at < until
            && let Some(Reverse((at, _, number))) = self.next.pop()
        {
            let user = &self.users[number as usize];
            let crowd = &self.crowds[user.crowd];
            out.push(Request {
                way: crowd.way,
                address: user.caller.map(|(address, _)| address),
                user_agent: user.caller.map(|(_, user_agent)| user_agent),
                client: Some(number),
                ..Request::new(at, crowd.function)
            });
        }
    }

    pub(super) fn answer(&mut self, outcome: &Outcome) {
        let number = outcome.client;
        let Some(user) = self.users.get_mut(number as usize) else {
            return;
        };
        let crowd = &self.crowds[user.crowd];
        user.bits = derive(user.bits, 1);
        let place = unit(user.bits);
        let refused = !matches!(outcome.ending, Ending::Served);
        if refused && user.tries < crowd.retries {
            let pause = crowd.back_off_ms << user.tries.min(DOUBLINGS_MAX);
            user.tries += 1;
            let pause = whole(pause as f64 * (0.5 + 0.5 * place));
            self.schedule(outcome.at.plus_ms(pause.cast_signed()), number);
            return;
        }
        // Who is refused for good goes away, and so does who has finished.
        user.left = if refused { 0 } else { user.left - 1 };
        user.tries = 0;
        if user.left == 0 {
            self.free.push(number);
            return;
        }
        let think = whole(-crowd.think_ms * libm::log(1.0 - place));
        self.schedule(outcome.at.plus_ms(think.cast_signed()), number);
    }

    fn schedule(&mut self, at: EventTime, number: u32) {
        self.sequence += 1;
        self.next.push(Reverse((at, self.sequence, number)));
    }
}

impl Crowd {
    fn arrivals(&mut self, index: usize, from: EventTime) -> Vec<(EventTime, User)> {
        let rate = self.per_second * self.season.factor(from, self.start);
        let mut users = Vec::new();
        for _ in 0..self.draw.poisson(rate) {
            let caller = self.callers.map(|callers| callers.draw(&mut self.draw));
            users.push(self.user(index, from, caller));
        }
        for place in 0..self.surges.len() {
            let (surge, visitors) = &self.surges[place];
            let (more, visitors) = (surge.factor_at(from.since_ms(self.start)) - 1.0, *visitors);
            for _ in 0..self.draw.poisson(rate * more) {
                let caller = self.callers.map(|_| visitors.draw_evenly(&mut self.draw));
                users.push(self.user(index, from, caller));
            }
        }
        users
    }

    fn user(
        &mut self,
        crowd: usize,
        from: EventTime,
        caller: Option<(IpAddr, &'static str)>,
    ) -> (EventTime, User) {
        let at = from.plus_ms(self.draw.below(1_000).cast_signed());
        // Geometric, from one request on.
        let go_on = 1.0 - 1.0 / self.requests;
        let left = if go_on > 0.0 {
            1 + whole((libm::log(1.0 - self.draw.unit()) / libm::log(go_on)).floor())
        } else {
            1
        };
        (at, User { crowd, caller, left, tries: 0, bits: self.draw.bits() })
    }
}
