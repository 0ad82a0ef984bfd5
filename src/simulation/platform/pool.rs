//! Execution environments of a function, and what an account lets run at once.

use std::collections::VecDeque;

use super::bucket::Bucket;
use super::model::PlatformSettings;
use crate::units::EventTime;

/// Each environment takes at most ten synchronous requests per second (Lambda quotas).
const RPS_PER_ENVIRONMENT: u32 = 10;

/// How an invocation starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// In an environment that was idle.
    Warm,
    /// In a new one.
    Cold,
}

/// The environments of one function.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    keep_alive_ms: i64,
    /// Since when each idle environment is idle, oldest first. The youngest is used first, so the
    /// oldest ones run into the keep-alive.
    idle: VecDeque<EventTime>,
    busy: u32,
    starts: Bucket,
    /// Synchronous requests of a function with a reservation.
    requests: Option<Bucket>,
}

impl Pool {
    pub(super) fn new(settings: &PlatformSettings) -> Self {
        let starts = settings.scaling_environments;
        Self {
            keep_alive_ms: i64::from(settings.keep_alive_ms),
            idle: VecDeque::new(),
            busy: 0,
            starts: Bucket::new(starts, settings.scaling_period_ms, starts),
            requests: None,
        }
    }

    pub(super) fn busy(&self) -> u32 {
        self.busy
    }

    /// Environments, busy and idle.
    pub(super) fn environments(&self, now: EventTime) -> usize {
        let expired = self.idle.iter().take_while(|since| self.is_expired(**since, now)).count();
        self.busy as usize + self.idle.len() - expired
    }

    /// Takes an environment; `None` when a new one is needed and the scaling rate is used up.
    pub(super) fn start(&mut self, now: EventTime) -> Option<Start> {
        while self.idle.front().is_some_and(|since| self.is_expired(*since, now)) {
            self.idle.pop_front();
        }
        if self.idle.pop_back().is_some() {
            self.busy += 1;
            return Some(Start::Warm);
        }
        self.starts.take(now).then(|| {
            self.busy += 1;
            Start::Cold
        })
    }

    /// An invocation is done; its environment stays for a while.
    pub(super) fn finish(&mut self, now: EventTime) {
        self.busy -= 1;
        self.idle.push_back(now);
    }

    /// An invocation is done, and its environment with it.
    pub(super) fn lose(&mut self) {
        self.busy -= 1;
    }

    fn is_expired(&self, since: EventTime, now: EventTime) -> bool {
        now.since_ms(since) > self.keep_alive_ms
    }
}

/// What one account may run at once in one region.
#[derive(Debug, Clone)]
pub(super) struct Account {
    concurrency: u32,
    /// Sum of the reservations in force.
    reserved: u32,
    /// Running invocations of functions without a reservation.
    unreserved_busy: u32,
    /// Their synchronous requests.
    requests: Bucket,
    /// What its APIs let in.
    pub(super) gateway: Bucket,
}

impl Account {
    pub(super) fn new(settings: &PlatformSettings) -> Self {
        Self {
            concurrency: settings.concurrency,
            reserved: 0,
            unreserved_busy: 0,
            requests: request_bucket(settings.concurrency),
            gateway: Bucket::new(settings.gateway_rps, 1_000, settings.gateway_burst),
        }
    }

    /// Takes an environment for a function with this reservation; `None` at a limit.
    pub(super) fn start(
        &mut self,
        pool: &mut Pool,
        reserved: Option<u32>,
        is_sync: bool,
        now: EventTime,
    ) -> Option<Start> {
        let (room, requests) = match reserved {
            Some(limit) => (pool.busy < limit, pool.requests.as_mut()),
            None => {
                let room = self.unreserved_busy < self.concurrency - self.reserved;
                (room, Some(&mut self.requests))
            }
        };
        if !room || (is_sync && requests.is_some_and(|requests| !requests.take(now))) {
            return None;
        }
        let start = pool.start(now)?;
        self.unreserved_busy += u32::from(reserved.is_none());
        Some(start)
    }

    pub(super) fn finished(&mut self, reserved: Option<u32>) {
        self.unreserved_busy -= u32::from(reserved.is_none());
    }

    /// A function changes its reservation; invocations that run move between the pools with it.
    pub(super) fn moved(&mut self, pool: &mut Pool, from: Option<u32>, to: Option<u32>) {
        if from == to {
            return;
        }
        self.reserved = self.reserved - from.unwrap_or(0) + to.unwrap_or(0);
        match (from, to) {
            (None, Some(_)) => self.unreserved_busy -= pool.busy,
            (Some(_), None) => self.unreserved_busy += pool.busy,
            _ => {}
        }
        pool.requests = to.map(request_bucket);
    }
}

/// Synchronous requests that so many environments may take, up to a second's worth at once.
fn request_bucket(concurrency: u32) -> Bucket {
    let rps = concurrency.saturating_mul(RPS_PER_ENVIRONMENT);
    Bucket::new(rps, 1_000, rps)
}
