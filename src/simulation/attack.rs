//! Attacks, injected by rule into a load.

mod spec;
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::simulation::draw::{Draw, derive};
use crate::simulation::load::{address, user_agent};
use crate::simulation::platform::Request;
use crate::simulation::trace::{Trace, TriggerGroup};
use crate::units::EventTime;

pub use spec::{AttackError, AttackKind, AttackSpec, GRAMMAR};

/// The most attacks in one run.
pub const ATTACKS_MAX: usize = 64;

/// The most addresses that one attack's truth lists; beyond them a rotating attack goes on, and
/// its list is marked as cut.
pub const SOURCES_LISTED_MAX: usize = 100_000;

/// An attack aimed at the functions of a trace.
#[derive(Debug)]
pub struct Attack {
    /// Its number: the mark on its requests.
    pub number: u16,
    /// What was asked for.
    pub spec: AttackSpec,
    /// Its victims, by number of function.
    pub functions: Vec<usize>,
    /// Requests per second while it is on, over all victims.
    pub rps: f64,
    /// `rps` over the victims' own mean rate; `None` when they are never called.
    pub factor: Option<f64>,
    /// When it begins.
    pub onset: EventTime,
    /// When it is over.
    pub end: EventTime,
    /// The addresses used so far.
    pub sources: BTreeSet<IpAddr>,
    /// More were used than are listed.
    pub sources_cut: bool,
    draw: Draw,
    bits: u64,
    /// Which victims have callers.
    http: Vec<bool>,
    /// The next second of activity to draw.
    second: u64,
    /// Drawn but beyond the time asked for.
    ahead: Vec<Request>,
}

impl Attack {
    /// Aims `spec` at a trace whose window begins at `start`.
    ///
    /// # Errors
    /// Victims that are not in the trace, or times outside the window.
    pub fn new(
        spec: &AttackSpec,
        number: u16,
        trace: &Trace,
        seed: u64,
        start: EventTime,
    ) -> Result<Self, AttackError> {
        let window_ms = u64::from(trace.minutes) * 60_000;
        if spec.start_ms + spec.duration_ms > window_ms {
            return Err(AttackError::value(
                "start",
                &format!("{} s and duration {} s", spec.start_ms / 1_000, spec.duration_ms / 1_000),
                format!("an attack that is over within the {} emitted minutes", trace.minutes),
            ));
        }
        let functions = victims(spec, trace)?;
        let calls: u64 = functions.iter().map(|index| trace.functions[*index].calls()).sum();
        let mean = calls as f64 / (window_ms as f64 / 1_000.0);
        let rps = spec.rps.unwrap_or_else(|| (spec.factor * mean).max(spec.min_rps));
        let onset = start.plus_ms(spec.start_ms.cast_signed());
        let is_http = |index: &usize| trace.functions[*index].trigger == TriggerGroup::Http;
        Ok(Self {
            number,
            http: functions.iter().map(is_http).collect(),
            functions,
            rps,
            factor: (mean > 0.0).then_some(rps / mean),
            onset,
            end: onset.plus_ms(spec.duration_ms.cast_signed()),
            sources: BTreeSet::new(),
            sources_cut: false,
            draw: Draw::new(seed, 1_000 + u64::from(number)),
            bits: derive(seed, 1_000 + u64::from(number)),
            second: 0,
            ahead: Vec::new(),
            spec: spec.clone(),
        })
    }

    /// How many requests it makes in all.
    pub fn total(&self) -> u64 {
        requests_by(self.rps, self.spec.active_ms())
    }

    /// Appends its requests before `until`; each is given once.
    pub fn take(&mut self, until: EventTime, out: &mut Vec<Request>) {
        while self.second * 1_000 < self.spec.active_ms() && self.at(self.second * 1_000) < until {
            self.draw_second();
        }
        let later = self.ahead.extract_if(.., |request| request.at < until);
        out.extend(later);
    }

    /// Draws the requests of one second of activity: as many as the rate says, spread at random.
    fn draw_second(&mut self) {
        let from = self.second * 1_000;
        let to = (from + 1_000).min(self.spec.active_ms());
        let count = requests_by(self.rps, to) - requests_by(self.rps, from);
        for _ in 0..count {
            let offset = self.draw.below(to - from);
            let at = self.at(from + offset);
            let victim = usize::try_from(self.draw.below(self.functions.len() as u64)).unwrap_or(0);
            let source = self.draw.below(u64::from(self.spec.sources));
            let bits = derive(derive(self.bits, self.rotation(at)), source);
            let http = self.http[victim];
            if http {
                self.note(address(bits));
            }
            self.ahead.push(Request {
                address: http.then(|| address(bits)),
                user_agent: http.then(|| user_agent(derive(bits, 3))),
                attack: Some(self.number),
                ..Request::new(at, self.functions[victim])
            });
        }
        self.second += 1;
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

/// Requests in the first `active_ms`, rounded down, so that parts add up to the whole.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rate and time are bounded: at most 1e5 × 86,400"
)]
fn requests_by(rps: f64, active_ms: u64) -> u64 {
    (rps * active_ms as f64 / 1_000.0) as u64
}

/// The functions that a specification means.
fn victims(spec: &AttackSpec, trace: &Trace) -> Result<Vec<usize>, AttackError> {
    if spec.kind == AttackKind::Spread {
        let found = busiest(trace, spec.functions as usize);
        if found.len() < spec.functions as usize {
            let given = spec.functions.to_string();
            let accepted = format!("at most the {} that the trace has", found.len());
            return Err(AttackError::value("functions", &given, accepted));
        }
        return Ok(found);
    }
    if spec.function == "auto" {
        let found = busiest(trace, 1);
        let accepted = || "a trace with at least one function".to_owned();
        let none = || AttackError::value("function", "auto", accepted());
        return if found.is_empty() { Err(none()) } else { Ok(found) };
    }
    let names = trace.functions.iter().map(|function| &*function.key.name);
    if let Some(exact) = names.clone().position(|name| name == spec.function) {
        return Ok(vec![exact]);
    }
    let fitting = names.enumerate().filter(|(_, name)| name.starts_with(&spec.function));
    let found: Vec<usize> = fitting.map(|(index, _)| index).collect();
    if found.len() == 1 {
        return Ok(found);
    }
    let accepted = format!(
        "`auto`, or a name or prefix that fits one function of the trace, not {}",
        found.len()
    );
    Err(AttackError::value("function", &spec.function, accepted))
}

/// The functions with the most calls: those with an API if there are any, else any.
fn busiest(trace: &Trace, count: usize) -> Vec<usize> {
    let functions = trace.functions.iter().enumerate();
    let any_http = functions.clone().any(|(_, function)| function.trigger == TriggerGroup::Http);
    let mut found: Vec<_> = functions
        .filter(|(_, function)| !any_http || function.trigger == TriggerGroup::Http)
        .map(|(index, function)| (std::cmp::Reverse(function.calls()), index))
        .collect();
    found.sort_unstable();
    found.into_iter().take(count).map(|(_, index)| index).collect()
}
