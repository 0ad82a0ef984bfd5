//! Attacks, injected by rule into a load.

mod answers;
mod spec;
#[cfg(test)]
mod tests;
mod volume;

use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::simulation::draw::{Draw, derive};
use crate::simulation::load::{Callers, address, user_agent};
use crate::simulation::platform::{Outcome, Request, Way};
use crate::units::EventTime;

use answers::Answers;
use volume::Volume;

pub use spec::{AttackError, AttackKind, AttackShape, AttackSpec, GRAMMAR};

/// The numbers of attacks as clients begin here; those of legitimate ones lie below.
pub const CLIENT_FIRST: u32 = 1 << 31;

/// The most attacks in one run.
pub const ATTACKS_MAX: usize = 64;

/// The most addresses that one attack's truth lists; beyond them a rotating attack goes on, and
/// its list is marked as cut.
pub const SOURCES_LISTED_MAX: usize = 100_000;

/// A function that can be attacked.
#[derive(Debug, Clone, PartialEq)]
pub struct Victim<'a> {
    /// Its name, without account and region.
    pub name: &'a str,
    /// Its number.
    pub function: usize,
    /// Its legitimate callers, where it has an API.
    pub callers: Option<Callers>,
    /// In which way it is asked.
    pub way: Way,
    /// Legitimate requests per second, on average.
    pub mean_rps: f64,
}

/// An attack aimed at functions.
#[derive(Debug, Clone)]
pub struct Attack {
    /// Its number: the mark on its requests.
    pub number: u16,
    /// What was asked for.
    pub spec: AttackSpec,
    /// Its victims, by number of function.
    pub functions: Vec<usize>,
    /// Requests per second while it is on, over all victims; at its height where it grows.
    pub rps: f64,
    /// `rps` over the victims' own mean rate; `None` when they are never called.
    pub factor: Option<f64>,
    /// When it begins.
    pub onset: EventTime,
    /// When it is over.
    pub end: EventTime,
    /// The addresses used so far, without those of legitimate callers.
    pub sources: BTreeSet<IpAddr>,
    /// More were used than are listed.
    pub sources_cut: bool,
    draw: Draw,
    bits: u64,
    /// In which way the victims are asked, and by whom.
    doors: Vec<(Way, Option<Callers>)>,
    volume: Volume,
    /// The next second of activity to draw.
    second: u64,
    /// Drawn but beyond the time asked for.
    ahead: Vec<Request>,
    answers: Answers,
}

impl Attack {
    /// Aims `spec` at some of `victims`, within a window that begins at `start`.
    ///
    /// # Errors
    /// Victims that are not there, or times outside the window.
    pub fn new(
        spec: &AttackSpec,
        number: u16,
        victims: &[Victim<'_>],
        seed: u64,
        start: EventTime,
        window_ms: u64,
    ) -> Result<Self, AttackError> {
        if spec.start_ms + spec.duration_ms > window_ms {
            return Err(AttackError::value(
                "start",
                &format!("{} s and duration {} s", spec.start_ms / 1_000, spec.duration_ms / 1_000),
                format!("an attack that is over within {} minutes", window_ms / 60_000),
            ));
        }
        let aimed = aimed(spec, victims)?;
        let mean: f64 = aimed.iter().map(|victim| victim.mean_rps).sum();
        let rps = spec.rps.unwrap_or_else(|| (spec.factor * mean).max(spec.min_rps));
        let onset = start.plus_ms(spec.start_ms.cast_signed());
        let bits = derive(seed, 1_000 + u64::from(number));
        Ok(Self {
            number,
            doors: aimed.iter().map(|victim| (victim.way, victim.callers)).collect(),
            functions: aimed.iter().map(|victim| victim.function).collect(),
            rps,
            factor: (mean > 0.0).then_some(rps / mean),
            onset,
            end: onset.plus_ms(spec.duration_ms.cast_signed()),
            sources: BTreeSet::new(),
            sources_cut: false,
            draw: Draw::new(seed, 1_000 + u64::from(number)),
            bits,
            volume: Volume::new(spec, rps, bits),
            second: 0,
            ahead: Vec::new(),
            answers: Answers::new(spec.kind),
            spec: spec.clone(),
        })
    }

    /// How many requests it makes in all, where nobody answers.
    pub fn total(&self) -> u64 {
        self.volume.until(self.spec.active_ms())
    }

    /// Appends its requests before `until`; each is given once.
    pub fn take(&mut self, until: EventTime, out: &mut Vec<Request>) {
        while self.second * 1_000 < self.spec.active_ms() && self.at(self.second * 1_000) < until {
            self.draw_second();
        }
        let later = self.ahead.extract_if(.., |request| request.at < until);
        out.extend(later);
    }

    /// Hears what became of one of its requests.
    pub fn answer(&mut self, outcome: &Outcome) {
        let more = self.answers.hear(outcome, self.spec.fanout);
        if outcome.at >= self.end {
            return;
        }
        for _ in 0..more {
            let request = self.request(outcome.at.plus_ms(1));
            self.ahead.push(request);
        }
    }

    /// The addresses in use at `at`, without those of legitimate callers.
    pub fn addresses(&self, at: EventTime) -> BTreeSet<IpAddr> {
        if self.doors.iter().all(|(_, callers)| callers.is_none()) {
            return BTreeSet::new();
        }
        let set = derive(self.bits, self.rotation(at));
        (0..u64::from(self.spec.sources)).map(|source| address(derive(set, source))).collect()
    }

    /// Draws the requests of one second of activity: as many as the rate says, spread at random.
    fn draw_second(&mut self) {
        let from = self.second * 1_000;
        let to = (from + 1_000).min(self.spec.active_ms());
        let mut count = self.volume.until(to) - self.volume.until(from);
        if self.spec.kind == AttackKind::Recursion {
            // It is started once; the rest is its own doing.
            count = if self.second == 0 { count.max(1) } else { 0 };
        }
        let count = self.answers.willing(self.at(from), count);
        for _ in 0..count {
            let offset = self.draw.below(to - from);
            let request = self.request(self.at(from + offset));
            self.ahead.push(request);
        }
        self.second += 1;
    }

    fn request(&mut self, at: EventTime) -> Request {
        let victim = usize::try_from(self.draw.below(self.functions.len() as u64)).unwrap_or(0);
        let source = self.draw.below(u64::from(self.spec.sources));
        let bits = derive(derive(self.bits, self.rotation(at)), source);
        let (way, callers) = self.doors[victim];
        let way = match way {
            Way::Stream { .. } => Way::Stream { key: u16::try_from(bits & 0xffff).unwrap_or(0) },
            way => way,
        };
        let caller = callers.map(|callers| self.caller(callers, bits));
        Request {
            way,
            address: caller.map(|(address, _)| address),
            user_agent: caller.map(|(_, user_agent)| user_agent),
            #[expect(clippy::cast_possible_truncation, reason = "at most 10,000")]
            stretch: self.spec.slow as f32,
            #[expect(clippy::cast_possible_truncation, reason = "at most 1")]
            error_share: self.spec.fail as f32,
            response_bytes: self.spec.response,
            log_bytes: self.spec.log,
            needed_mb: self.spec.memory,
            attack: Some(self.number),
            client: self.spec.kind.needs_answers().then_some(CLIENT_FIRST + u32::from(self.number)),
            ..Request::new(at, self.functions[victim])
        }
    }

    fn caller(&mut self, callers: Callers, bits: u64) -> (IpAddr, &'static str) {
        if self.spec.overlap > 0.0 && self.draw.unit() < self.spec.overlap {
            return callers.draw(&mut self.draw);
        }
        self.note(address(bits));
        (address(bits), user_agent(derive(bits, 3)))
    }

    fn note(&mut self, address: IpAddr) {
        if self.sources.len() < SOURCES_LISTED_MAX {
            self.sources.insert(address);
        } else {
            self.sources_cut |= !self.sources.contains(&address);
        }
    }

    /// Which set of addresses is in use.
    fn rotation(&self, at: EventTime) -> u64 {
        let passed = at.since_ms(self.onset).max(0).unsigned_abs();
        self.spec.rotate_ms.map_or(0, |rotate_ms| passed / rotate_ms)
    }

    /// The time after `active_ms` of activity.
    fn at(&self, active_ms: u64) -> EventTime {
        let (on, off) = (self.spec.on_ms, self.spec.off_ms);
        self.onset.plus_ms((active_ms / on * (on + off) + active_ms % on).cast_signed())
    }
}

/// The functions that a specification means.
fn aimed<'a, 'b>(
    spec: &AttackSpec,
    victims: &'b [Victim<'a>],
) -> Result<Vec<&'b Victim<'a>>, AttackError> {
    if spec.kind == AttackKind::Spread {
        let found = busiest(victims, spec.functions as usize);
        if found.len() < spec.functions as usize {
            let given = spec.functions.to_string();
            let accepted = format!("at most the {} that there are", found.len());
            return Err(AttackError::value("functions", &given, accepted));
        }
        return Ok(found);
    }
    if spec.function == "auto" {
        let found = busiest(victims, 1);
        let none = || AttackError::value("function", "auto", "auto where there is a function");
        return if found.is_empty() { Err(none()) } else { Ok(found) };
    }
    if let Some(exact) = victims.iter().find(|victim| victim.name == spec.function) {
        return Ok(vec![exact]);
    }
    let fitting = victims.iter().filter(|victim| victim.name.starts_with(&spec.function));
    let found: Vec<_> = fitting.collect();
    if found.len() == 1 {
        return Ok(found);
    }
    let accepted =
        format!("`auto`, or a name or prefix that fits one function, not {}", found.len());
    Err(AttackError::value("function", &spec.function, accepted))
}

/// The functions with the most calls: those with an API if there are any, else any.
fn busiest<'a, 'b>(victims: &'b [Victim<'a>], count: usize) -> Vec<&'b Victim<'a>> {
    let any_http = victims.iter().any(|victim| victim.callers.is_some());
    let mut found: Vec<_> =
        victims.iter().filter(|victim| !any_http || victim.callers.is_some()).collect();
    // Stable, so that the first of equals stays first.
    found.sort_by(|a, b| b.mean_rps.total_cmp(&a.mean_rps));
    found.truncate(count);
    found
}
