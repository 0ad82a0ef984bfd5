//! Who called: what requests say of the invocations that they ask for, until these are told.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use super::id_bits;
use crate::record::{Record, Source, Target, Trigger};

/// Requests that are remembered, some 100 MB; of those beyond it the oldest are forgotten, and
/// their invocations have no caller.
const CALLERS_MAX: usize = 1 << 20;

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

/// Something known by request id, oldest first.
#[derive(Debug, Clone)]
pub(super) struct ByRequest<T> {
    known: BTreeMap<u64, T>,
    order: VecDeque<u64>,
}

impl<T> Default for ByRequest<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<T> ByRequest<T> {
    pub(super) fn put(&mut self, id: &str, what: T) {
        let id = id_bits(id);
        if self.known.insert(id, what).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > CALLERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        self.known.get(&id)
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
