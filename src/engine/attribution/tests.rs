use super::crowd::{Reason, Verdict};
use super::*;
use crate::engine::batch::{Batch, EventBody, EventKind, Timeliness};
use crate::record::{Architecture, FunctionRef, Position, Source, Status};
use crate::units::{BilledMs, EventTime, MemoryMb};

/// One call: who, and for how long at 1 MB, so that milliseconds are MB·ms.
#[derive(Clone, Copy)]
struct Call {
    address: u32,
    ms: u64,
    failed: bool,
}

fn call(address: u32) -> Call {
    Call { address, ms: 100, failed: false }
}

/// Traffic of one function, some milliseconds apart.
struct Traffic {
    batch: Batch,
    at: EventTime,
}

impl Traffic {
    fn of(calls: impl IntoIterator<Item = Call>) -> Self {
        let mut traffic = Self { batch: Batch::default(), at: EventTime::from_second(0) };
        calls.into_iter().for_each(|call| traffic.invocation(call, 0));
        traffic
    }

    fn body(&mut self, request: u64) -> EventBody {
        self.at = self.at.plus_ms(1);
        EventBody {
            sequence: 0,
            position: Position::default(),
            at: self.at,
            delivery: 0,
            request,
            billed: BilledMs::default(),
            memory: None,
            response_bytes: 0,
            version: 0,
            kind: EventKind::Trigger,
            timeliness: Timeliness::OnTime,
            gateway: false,
            status: Status::Success,
            architecture: Architecture::X86_64,
        }
    }

    fn push(&mut self, body: EventBody, source: &Source<'_>, route: &str) {
        let function = FunctionRef::try_new("1".parse().unwrap(), "eu-west-1", "f").unwrap();
        self.batch.push(function, 0, body, source, route);
    }

    /// An invocation with its caller in the same record.
    fn invocation(&mut self, call: Call, request: u64) {
        self.cost(call.ms, request, call.failed, &source(call.address));
    }

    /// An invocation of an unknown caller.
    fn cost(&mut self, ms: u64, request: u64, failed: bool, source: &Source<'_>) {
        let body = EventBody {
            billed: BilledMs::try_new(ms).unwrap(),
            memory: Some(MemoryMb::try_new(1).unwrap()),
            kind: EventKind::Invocation,
            status: if failed { Status::Error } else { Status::Success },
            ..self.body(request)
        };
        self.push(body, source, "");
    }

    /// A trigger of a known caller.
    fn trigger(&mut self, address: u32, request: u64) {
        let body = self.body(request);
        self.push(body, &source(address), "GET /items");
    }

    fn reference(&self) -> Reference {
        let mut reference = Reference::default();
        for event in self.batch.events() {
            reference.add(event.sources[0], event.status != Status::Success);
        }
        reference
    }

    fn pane(&self, reference: &Reference) -> Pane {
        let mut pane = Pane::new(100.0, reference);
        self.batch.events().iter().for_each(|event| pane.add(&self.batch, event, reference));
        pane
    }
}

fn source(address: u32) -> Source<'static> {
    let address = core::net::Ipv4Addr::from_bits(address);
    Source { address: Some(address.into()), ..Source::default() }
}

/// Each in a network of its own.
fn user(number: u32) -> u32 {
    0x0a00_0001 + number * 256
}

fn attacker(number: u32) -> u32 {
    0xc633_0001 + number * 256
}

/// Two thousand users in a scattered order.
fn users(count: u32) -> impl Iterator<Item = Call> {
    (0..count).map(|index| call(user((index * 7_919) % 2_000)))
}

fn quiet() -> Reference {
    Traffic::of(users(3_000)).reference()
}

/// Requests come a millisecond apart; `expected` of these are ordinary.
fn usual(expected: f64, of: f64) -> Usual {
    Usual { per_second: expected / of * 1_000.0, mb_ms: 100.0, dispersion: 1.0 }
}

/// Users, and every `one_in`-th request one of 20 attackers.
fn attack(one_in: u32, count: u32) -> impl Iterator<Item = Call> {
    users(count).enumerate().map(move |(index, ordinary)| {
        let index = u32::try_from(index).unwrap();
        let is_attack = index.is_multiple_of(one_in);
        if is_attack { call(attacker(index / one_in % 20)) } else { ordinary }
    })
}

fn addresses(attribution: &Attribution) -> Vec<&str> {
    attribution.along(Dimension::Address).map(|source| &*source.source).collect()
}

#[test]
fn twenty_attackers_among_two_thousand_users_are_named_and_nobody_else() {
    let reference = quiet();
    let attribution =
        Traffic::of(attack(2, 4_000)).pane(&reference).attribution(&reference, &usual(0.5, 1.0));
    assert!(!attribution.diffuse);
    assert_eq!(attribution.sources.len(), 20, "{attribution:?}");
    for source in &attribution.sources {
        assert!(source.source.starts_with("198.51."), "{source:?}");
        assert!(source.low <= 0.05 && source.high >= 0.05, "{source:?}");
    }
    assert!((900..1_150).contains(&attribution.distinct), "{}", attribution.distinct);
    assert_eq!(attribution.crowd.verdict, Verdict::Attack);
}

#[test]
fn an_attack_is_called_one_within_fifteen_to_fifty_requests() {
    let reference = quiet();
    // No more evenly than chance would have it.
    let drawn = |index: u32| attacker((index * index * 31 + index * 17) % 20);
    let first = (1..=50).find(|&count| {
        let pane = Traffic::of((0..count).map(|index| call(drawn(index)))).pane(&reference);
        pane.crowd(&reference).verdict == Verdict::Attack
    });
    assert!(first.is_some_and(|first| first <= 25), "{first:?}");

    let services = Traffic::of((0..3_000).map(|index| call(user(index % 4)))).reference();
    let first = (1..=400).find(|&count| {
        let pane = Traffic::of((0..count).map(|index| call(drawn(index)))).pane(&services);
        pane.crowd(&services).verdict == Verdict::Attack
    });
    assert!(first.is_some_and(|first| first <= 150), "{first:?}");
}
