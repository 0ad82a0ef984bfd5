//! Who called: what requests say of the invocations that they ask for, until these are told.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use super::id_bits;
use crate::record::{Record, Source, Target, Trigger};
use crate::units::EventTime;

/// What is remembered of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Caller {
    pub(super) address: Option<IpAddr>,
    /// Stands for the client's description of itself.
    pub(super) agent: Option<u64>,
    pub(super) response_bytes: u64,
}

impl Caller {
    pub(super) fn new(source: &Source<'_>, response_bytes: u64) -> Self {
        Self { address: source.address, agent: source.user_agent.map(id_bits), response_bytes }
    }
}

/// Something known by request id, in the order in which it became known. At most so many entries;
/// of those beyond them the oldest are forgotten.
#[derive(Debug, Clone)]
pub(super) struct ByRequest<T, const MAX: usize> {
    known: BTreeMap<u64, T>,
    order: VecDeque<(EventTime, u64)>,
}

impl<T, const MAX: usize> Default for ByRequest<T, MAX> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<T, const MAX: usize> ByRequest<T, MAX> {
    pub(super) fn put(&mut self, id: u64, at: EventTime, what: T) {
        if self.known.insert(id, what).is_some() {
            return;
        }
        self.order.push_back((at, id));
        if self.order.len() > MAX {
            self.forget_oldest();
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        self.known.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets what became known before `time`, as far as nothing later stands before it.
    pub(super) fn forget(&mut self, time: EventTime) {
        while self.order.front().is_some_and(|(at, _)| *at < time) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.known.remove(&oldest);
        }
    }
}

/// The request that a record tells of, if it is no invocation.
pub(super) fn request_of<'a>(record: &'a Record<'a>) -> Option<&'a Trigger<'a>> {
    match record {
        Record::Invocation(_) => None,
        Record::Trigger(trigger) => Some(trigger),
        Record::Refusal(refusal) => Some(&refusal.trigger),
    }
}

/// The request id of the invocation that a request asks for, where it tells one.
pub(super) fn invocation_id<'a>(trigger: &Trigger<'a>) -> Option<&'a str> {
    match trigger.target {
        Target::Function(_) => trigger.request_id,
        Target::Route(route) => route.lambda_request_id,
    }
}
