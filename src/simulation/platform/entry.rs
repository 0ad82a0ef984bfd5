//! Records before they are text: what the log pipeline carries, and what a reader gets of it.

use core::net::IpAddr;

use super::model::FunctionSpec;
use crate::record::{
    Invocation, Record, Refusal, RefusalReason, RouteRef, Source, Status, Target, Trigger,
    TriggerKind,
};
use crate::simulation::draw::derive;
use crate::simulation::wire::{
    AccessEntry, EventEntry, LogBatch, LogStream, Report, RequestId, access_line, event_line,
};
use crate::units::{BilledMs, EventTime};

/// What runs is not published under a number: log streams are named after it.
const LATEST: &str = "$LATEST";

/// One record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    pub(super) at: EventTime,
    /// Index of the function.
    pub(super) function: u32,
    /// Random bits from which its ids follow.
    pub(super) bits: u64,
    /// Numbers all records of a platform.
    pub(super) sequence: u64,
    pub(super) kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum EntryKind {
    Invocation {
        duration_ms: f64,
        init_ms: Option<f64>,
        billed: BilledMs,
        status: Status,
        used_mb: u32,
    },
    /// A request to an API.
    Access {
        address: Option<IpAddr>,
        api_key: Option<&'static str>,
        user_agent: Option<&'static str>,
        status: u16,
        response_bytes: u64,
        /// It reached the function.
        is_integrated: bool,
    },
    /// An event from the function's origin.
    Event {
        principal: Option<&'static str>,
        /// The function's request id is the event's own.
        is_invocation: bool,
    },
}

impl Entry {
    /// The id of the invocation, which for an event with one is the id of its request.
    fn invocation_id(&self) -> RequestId {
        RequestId::new(self.bits, 0)
    }

    /// The gateway's or the event's own id.
    fn own_id(&self) -> RequestId {
        RequestId::new(self.bits, 1)
    }

    /// Adds the REPORT line, or gives back the line of an access log or of an event.
    pub(super) fn write(&self, spec: &FunctionSpec, batch: &mut LogBatch) -> Option<Vec<u8>> {
        match self.kind {
            EntryKind::Invocation { duration_ms, init_ms, billed, status, used_mb } => {
                let report = Report {
                    request_id: self.invocation_id(),
                    duration_ms,
                    billed,
                    memory: spec.memory,
                    used_mb,
                    init_ms,
                    status,
                };
                batch.push(self.at, self.sequence, &report);
                None
            }
            EntryKind::Access {
                address,
                api_key,
                user_agent,
                status,
                response_bytes,
                is_integrated,
            } => spec.api.as_ref().map(|api| {
                access_line(&AccessEntry {
                    request_id: self.own_id(),
                    address,
                    at: self.at,
                    kind: api.kind,
                    method: &api.method,
                    route: &api.route,
                    status,
                    response_bytes,
                    api_id: &api.api_id,
                    stage: &api.stage,
                    account: spec.key.account,
                    api_key,
                    user_agent,
                    integration: is_integrated.then(|| self.invocation_id()),
                })
            }),
            EntryKind::Event { principal, is_invocation } => spec.origin.as_ref().map(|origin| {
                event_line(&EventEntry {
                    at: self.at,
                    function: &spec.key,
                    kind: origin.kind,
                    request_id: if is_invocation { self.invocation_id() } else { self.own_id() },
                    origin: &origin.name,
                    principal,
                    sequence: self.sequence,
                })
            }),
        }
    }

    /// The same as a value; `route` is the API's method and path.
    pub(super) fn tell(&self, spec: &FunctionSpec, route: &str, tell: &mut dyn FnMut(&Record<'_>)) {
        match self.kind {
            EntryKind::Invocation { init_ms, billed, status, .. } => {
                let id = self.invocation_id().text();
                tell(&Record::Invocation(Invocation {
                    function: spec.key.as_ref(),
                    at: self.at,
                    billed,
                    memory: spec.memory,
                    #[expect(clippy::cast_possible_truncation, reason = "fits, but for digits")]
                    init_ms: init_ms.map(|init_ms| init_ms as f32),
                    status,
                    version: Some(LATEST),
                    architecture: None,
                    request_id: Some(id.as_str()),
                    delivery: Some(self.delivery()),
                    source: None,
                }));
            }
            EntryKind::Access { .. } => self.tell_access(spec, route, tell),
            EntryKind::Event { principal, is_invocation } => {
                let id = if is_invocation { self.invocation_id() } else { self.own_id() };
                let id = id.text();
                let origin = spec.origin.as_ref();
                tell(&Record::Trigger(Trigger {
                    target: Target::Function(spec.key.as_ref()),
                    at: self.at,
                    kind: origin.map_or(TriggerKind::Other, |origin| origin.kind),
                    source: Source {
                        address: None,
                        principal,
                        origin: origin.map(|origin| origin.name.as_str()),
                        user_agent: None,
                    },
                    request_id: Some(id.as_str()),
                    response_bytes: 0,
                    delivery: Some(self.delivery()),
                }));
            }
        }
    }

    fn tell_access(&self, spec: &FunctionSpec, route: &str, tell: &mut dyn FnMut(&Record<'_>)) {
        let EntryKind::Access {
            address,
            api_key,
            user_agent,
            status,
            response_bytes,
            is_integrated,
        } = self.kind
        else {
            return;
        };
        let Some(api) = &spec.api else {
            return;
        };
        let (own, invocation) = (self.own_id().text(), self.invocation_id().text());
        let trigger = Trigger {
            target: Target::Route(RouteRef {
                account: spec.key.account,
                region: &spec.key.region,
                api: &api.api_id,
                stage: &api.stage,
                route,
                lambda_request_id: is_integrated.then_some(invocation.as_str()),
            }),
            at: self.at,
            kind: TriggerKind::ApiGateway,
            source: Source { address, principal: api_key, origin: Some(&api.api_id), user_agent },
            request_id: Some(own.as_str()),
            response_bytes,
            delivery: None,
        };
        let reason = match status {
            403 if !is_integrated => Some(RefusalReason::Forbidden),
            429 if !is_integrated => Some(RefusalReason::Throttled),
            _ => None,
        };
        tell(&match reason {
            Some(reason) => Record::Refusal(Refusal { trigger, reason }),
            None => Record::Trigger(trigger),
        });
    }

    /// Identity of a delivery, the same when it comes again.
    fn delivery(&self) -> u64 {
        derive(self.sequence, 0).max(1)
    }
}

/// The log events of one function as one message.
pub(super) fn envelope(
    spec: &FunctionSpec,
    bits: u64,
    opened: EventTime,
    batch: &mut LogBatch,
) -> Vec<u8> {
    let stream = LogStream { at: opened, bits };
    batch.envelope(spec.key.account, &spec.key.name, &stream)
}
