//! Invocations a minute of every function, as a cloud monitor shows them, and an alarm on them that
//! stops a function after three bad minutes in a row.

use std::collections::BTreeMap;

use super::{Claims, Second, give_back, stop};
use crate::record::FunctionKey;
use crate::simulation::plant::{SharedPlant, lock};
use crate::simulation::scenario::Scenario;
use crate::units::EventTime;

/// A minute's metric can be seen this many seconds after the minute.
const LATE_SECONDS: i64 = 60;
/// Bad minutes in a row.
const OF: u32 = 3;
/// Nobody sets an alarm on less than one call a second.
pub(super) const LEAST: u64 = 60;
/// A stopped function has no traffic by which it could recover: somebody looks after an hour and
/// gives it back.
const PERSON_AFTER_MS: i64 = 3_600_000;

/// Counts minutes.
#[derive(Debug, Default)]
pub(super) struct Meter {
    minute: Option<i64>,
    counts: Vec<u64>,
}

impl Meter {
    pub(super) fn new(functions: usize) -> Self {
        Self { minute: None, counts: vec![0; functions] }
    }

    /// Adds a second; gives back the finished minute and its counts when another has begun.
    pub(super) fn second(&mut self, second: &Second<'_>) -> Option<(i64, Vec<u64>)> {
        for row in second.rows {
            if let Some(count) = self.counts.get_mut(row.function as usize) {
                *count += row.legitimate.invocations + row.attack.invocations;
            }
        }
        // The second that ends a minute ends with it.
        let minute = second.end.plus_ms(-1).minute();
        self.minute = Some(minute);
        if second.end.ms() % 60_000 != 0 {
            return None;
        }
        let fresh = vec![0; self.counts.len()];
        Some((minute, std::mem::replace(&mut self.counts, fresh)))
    }
}

/// Stops functions whose minutes were bad three times in a row.
#[derive(Debug)]
pub(super) struct ThreeOfThree {
    /// Each with the reserved concurrency that it had.
    functions: Vec<(FunctionKey, Option<u32>)>,
    bad: Vec<u32>,
    stopped: BTreeMap<usize, EventTime>,
    /// What was found, and when it can be seen.
    due: Vec<(EventTime, usize)>,
    claims: Claims,
}

impl ThreeOfThree {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let functions = scenario.functions.iter().map(|spec| (spec.key.clone(), spec.reserved));
        let functions: Vec<_> = functions.collect();
        let bad = vec![0; functions.len()];
        let (stopped, due, claims) = (BTreeMap::new(), Vec::new(), Claims::default());
        Self { functions, bad, stopped, due, claims }
    }

    /// A minute of a function is over.
    pub(super) fn minute(&mut self, function: usize, is_bad: bool, end: EventTime) {
        let bad = &mut self.bad[function];
        *bad = if is_bad { *bad + 1 } else { 0 };
        if *bad == OF {
            self.due.push((end.plus_ms(LATE_SECONDS * 1_000), function));
        }
    }

    /// Acts on what can be seen by now.
    pub(super) fn second(&mut self, now: EventTime, plant: &SharedPlant) {
        for (_, function) in self.due.extract_if(.., |(at, _)| *at <= now) {
            let name = self.functions[function].0.clone();
            self.claims.alarms.push((now, Some(name.clone())));
            if self.stopped.insert(function, now).is_none() {
                stop(&[name], &mut lock(plant), now);
            }
        }
        let over = |_: &usize, since: &mut EventTime| now.since_ms(*since) >= PERSON_AFTER_MS;
        for (function, _) in self.stopped.extract_if(.., over) {
            let (function, prior) = self.functions[function].clone();
            drop(lock(plant).command(give_back(function, prior), now));
        }
    }

    pub(super) fn claims(&self) -> Claims {
        self.claims.clone()
    }
}
