//! Execution environments of a function, and what an account lets run at once.

use std::collections::VecDeque;

use crate::simulation::platform::PlatformSettings;
use crate::units::EventTime;

/// How an invocation starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// In an environment that was idle.
    Warm,
    /// In a new one.
    Cold,
}

/// The environments of one function.
#[derive(Debug)]
pub(super) struct Pool {
    keep_alive_ms: i64,
    /// Since when each idle environment is idle, oldest first. The youngest is used first, so the
    /// oldest ones run into the keep-alive.
    idle: VecDeque<EventTime>,
    busy: u32,
    /// Starts that are left, in units of 1 / `scaling_period_ms` start, so that a continuous refill
    /// is exact in integers: each millisecond brings `environments` units, a start costs `period`.
    credit: u64,
    environments: u64,
    period: u64,
    refilled: EventTime,
}

impl Pool {
    pub(super) fn new(settings: &PlatformSettings) -> Self {
        let environments = u64::from(settings.scaling_environments);
        let period = u64::from(settings.scaling_period_ms);
        Self {
            keep_alive_ms: i64::from(settings.keep_alive_ms),
            idle: VecDeque::new(),
            busy: 0,
            credit: environments * period,
            environments,
            period,
            refilled: EventTime::MIN,
        }
    }

    pub(super) fn busy(&self) -> u32 {
        self.busy
    }

    /// Takes an environment; `None` when a new one is needed and the scaling rate is used up.
    pub(super) fn start(&mut self, now: EventTime) -> Option<Start> {
        while self.idle.front().is_some_and(|since| now.since_ms(*since) > self.keep_alive_ms) {
            self.idle.pop_front();
        }
        if self.idle.pop_back().is_some() {
            self.busy += 1;
            return Some(Start::Warm);
        }
        let passed = u64::try_from(now.since_ms(self.refilled)).unwrap_or(0);
        let refill = passed.saturating_mul(self.environments);
        self.credit = self.credit.saturating_add(refill).min(self.environments * self.period);
        self.refilled = now;
        self.credit = self.credit.checked_sub(self.period)?;
        self.busy += 1;
        Some(Start::Cold)
    }

    /// An invocation is done; its environment stays for a while.
    pub(super) fn finish(&mut self, now: EventTime) {
        self.busy -= 1;
        self.idle.push_back(now);
    }
}

/// What one account may run at once in one region.
#[derive(Debug)]
pub(super) struct Account {
    concurrency: u32,
    /// Sum of the reservations in force.
    reserved: u32,
    /// Running invocations of functions without a reservation.
    unreserved_busy: u32,
}

impl Account {
    pub(super) fn new(concurrency: u32) -> Self {
        Self { concurrency, reserved: 0, unreserved_busy: 0 }
    }

    /// Whether a function with this reservation and this many running may start one more.
    pub(super) fn admits(&self, reserved: Option<u32>, busy: u32) -> bool {
        match reserved {
            Some(limit) => busy < limit,
            None => self.unreserved_busy < self.concurrency - self.reserved,
        }
    }

    pub(super) fn started(&mut self, reserved: Option<u32>) {
        self.unreserved_busy += u32::from(reserved.is_none());
    }

    pub(super) fn finished(&mut self, reserved: Option<u32>) {
        self.unreserved_busy -= u32::from(reserved.is_none());
    }

    /// A function with `busy` running invocations changes its reservation; those that run move
    /// between the pools with it.
    pub(super) fn moved(&mut self, from: Option<u32>, to: Option<u32>, busy: u32) {
        self.reserved = self.reserved - from.unwrap_or(0) + to.unwrap_or(0);
        match (from, to) {
            (None, Some(_)) => self.unreserved_busy -= busy,
            (Some(_), None) => self.unreserved_busy += busy,
            _ => {}
        }
    }
}
