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

#[test]
fn busy_days_and_flash_crowds_are_crowds() {
    let reference = quiet();
    let services = Traffic::of((0..3_000).map(|index| call(user(index % 4)))).reference();
    // The surge, who was usual, and why it is a crowd.
    let new = |number: u32| call(attacker(number * number % 5_003));
    let surges: [(Vec<Call>, &Reference, Reason); 4] = [
        (users(600).collect(), &reference, Reason::ManySources),
        ((0..600).map(new).collect(), &reference, Reason::ManySources),
        ((0..600).map(new).collect(), &services, Reason::ManySources),
        ((0..600).map(|index| call(user(index % 4))).collect(), &services, Reason::UsualSources),
    ];
    for (index, (surge, reference, reason)) in surges.into_iter().enumerate() {
        let crowd = Traffic::of(surge).pane(reference).crowd(reference);
        let found = (crowd.verdict, crowd.reason);
        assert_eq!(found, (Verdict::Crowd, reason), "{index}: {crowd:?}");
    }
}

#[test]
fn a_surge_is_judged_anew_as_it_doubles() {
    let drawn = |index: u32| {
        let mixed = u64::from(index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        u32::try_from((mixed ^ (mixed >> 27)) % 2_000).unwrap()
    };
    let crowd = |count| (0..count).map(move |index| call(user(drawn(index))));
    let reference = Traffic::of(crowd(3_000)).reference();
    let long = Traffic::of(crowd(20_000)).pane(&reference).crowd(&reference);
    assert_eq!(long.verdict, Verdict::Crowd, "{long:?}");
    let hidden = crowd(2_000).chain(attack(2, 4_000));
    let hidden = Traffic::of(hidden).pane(&reference).crowd(&reference);
    assert_eq!(hidden.verdict, Verdict::Attack, "{hidden:?}");
}

#[test]
fn what_the_callers_do_not_tell_stays_unknown() {
    let reference = quiet();
    let services = Traffic::of((0..3_000).map(|index| call(user(index % 4)))).reference();
    let ever_new = |failed| (0..600).map(move |index| Call { failed, ..call(attacker(index)) });
    let alone = users(600).map(|ordinary| Call {
        address: if ordinary.address % 1_024 == 1 { ordinary.address } else { attacker(0) },
        ..ordinary
    });
    let surges: [(Vec<Call>, &Reference, Reason); 5] = [
        (users(10).collect(), &reference, Reason::FewKnown),
        (alone.collect(), &reference, Reason::OneSource),
        (ever_new(true).collect(), &reference, Reason::ErrorsRose),
        (
            (0..600).map(|index| call(user(index % 16 / 13))).collect(),
            &services,
            Reason::RegularGrew,
        ),
        (Vec::new(), &services, Reason::FewKnown),
    ];
    for (index, (surge, reference, reason)) in surges.into_iter().enumerate() {
        let crowd = Traffic::of(surge).pane(reference).crowd(reference);
        let found = (crowd.verdict, crowd.reason);
        assert_eq!(found, (Verdict::Unknown, reason), "{index}: {crowd:?}");
    }
}

#[test]
fn sources_rank_by_cost_and_not_by_requests() {
    let reference = quiet();
    let dear = attack(2, 4_000).map(|one| {
        let ms = if one.address == attacker(3) { 1_000 } else { one.ms };
        Call { ms, ..one }
    });
    let attribution = Traffic::of(dear).pane(&reference).attribution(&reference, &usual(0.5, 1.0));
    let first = attribution.sources.first().unwrap();
    assert_eq!(&*first.source, "198.51.3.1");
    // Ten of twenty-nine parts.
    assert!(first.low <= 10.0 / 29.0 && 10.0 / 29.0 <= first.high, "{first:?}");
    assert!((first.share - 10.0 / 29.0).abs() < 0.03, "{first:?}");
}

#[test]
fn a_network_is_named_for_its_many_members() {
    let reference = quiet();
    let neighbours = attack(2, 4_000).enumerate().map(|(index, one)| {
        let host = u32::try_from(index / 2 * 7 % 200).unwrap();
        if index % 2 == 0 { call(attacker(0) + host) } else { one }
    });
    let attribution =
        Traffic::of(neighbours).pane(&reference).attribution(&reference, &usual(0.5, 1.0));
    let named: Vec<&str> = attribution.networks().map(|source| &*source.source).collect();
    assert_eq!(named, ["198.51.0.0/24"], "{attribution:?}");
    assert!(!attribution.diffuse);
    // Twenty in one network can be named themselves.
    let few = attack(2, 4_000).map(|one| {
        let is_attack = one.address >= attacker(0);
        Call {
            address: if is_attack { attacker(0) + one.address / 256 % 32 } else { one.address },
            ..one
        }
    });
    let attribution = Traffic::of(few).pane(&reference).attribution(&reference, &usual(0.5, 1.0));
    assert_eq!(addresses(&attribution).len(), 20, "{attribution:?}");
    assert_eq!(attribution.networks().count(), 20);
}

#[test]
fn a_flood_from_everywhere_is_called_diffuse() {
    let reference = quiet();
    let flood = (0..20_000).map(|index| call(attacker((index * 7_919) % 16_000)));
    let attribution =
        Traffic::of(flood).pane(&reference).attribution(&reference, &usual(0.05, 1.0));
    assert!(attribution.diffuse);
    assert!(attribution.sources.is_empty(), "{attribution:?}");
}

#[test]
fn triggers_and_invocations_join_in_either_order_and_count_once() {
    let reference = quiet();
    let mut joined = Traffic::of([]);
    for (index, one) in (1_u64..).zip(attack(2, 4_000)) {
        let ms = if one.address == attacker(3) { 1_000 } else { 100 };
        let request = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if index.is_multiple_of(2) {
            joined.trigger(one.address, request);
            joined.cost(ms, request, false, &Source::default());
        } else {
            joined.cost(ms, request, false, &Source::default());
            joined.trigger(one.address, request);
        }
    }
    let pane = joined.pane(&reference);
    assert_eq!(pane.requests(), 4_000);
    let attribution = pane.attribution(&reference, &usual(0.25, 1.0));
    let first = attribution.along(Dimension::Address).next().unwrap();
    assert_eq!(&*first.source, "198.51.3.1");
    assert!((first.share - 10.0 / 29.0).abs() < 0.03, "{first:?}");
    // One route carries everything, and at least what is beyond the usual.
    let route = attribution.along(Dimension::Route).next().unwrap();
    assert!(&*route.source == "GET /items" && route.high == 1.0, "{route:?}");
}

#[test]
fn a_caller_whose_costs_never_come_is_charged_the_mean() {
    let reference = quiet();
    let mut triggers = Traffic::of([]);
    for one in attack(2, 4_000) {
        triggers.trigger(one.address, 0);
        triggers.cost(300, 0, false, &Source::default());
    }
    let pane = triggers.pane(&reference);
    let total = pane.table(Dimension::Address).total;
    assert!((total / (300.0 * 4_000.0) - 1.0).abs() < 0.02, "{total}");
}

#[test]
fn a_retry_of_the_platform_costs_its_caller() {
    let reference = quiet();
    let mut retried = Traffic::of([]);
    retried.trigger(attacker(0), 7);
    for _ in 0..3 {
        retried.cost(500, 7, true, &Source::default());
    }
    let pane = retried.pane(&reference);
    assert_eq!((pane.requests(), pane.table(Dimension::Address).total), (1, 1_500.0));
}

#[test]
fn the_pane_does_not_grow_with_the_number_of_sources() {
    let reference = Reference::default();
    let pane = Traffic::of((0..50_000).map(|index| call(index * 256))).pane(&reference);
    assert_eq!(pane.table(Dimension::Address).iter().count(), table::ENTRIES);
}

proptest::proptest! {
    #[test]
    fn a_table_bounds_what_an_exact_count_says(
        requests in proptest::collection::vec((0_u64..600, 1_u32..1_000), 1..3_000),
    ) {
        let mut table = table::Table::new(16);
        let mut exact = std::collections::BTreeMap::<u64, f64>::new();
        for &(source, cost) in &requests {
            // Low numbers come more often.
            let source = source * source / 600;
            table.add(source, source, f64::from(cost), b"name");
            *exact.entry(source).or_default() += f64::from(cost);
        }
        let least = table.iter().map(|known| known.weight).fold(f64::INFINITY, f64::min);
        for known in table.iter() {
            let truth = exact.remove(&known.hash).unwrap();
            let sure = known.weight - known.entry.error;
            proptest::prop_assert!(sure <= truth && truth <= known.weight);
        }
        // Who has lost its place never had more than whoever has least.
        for truth in exact.values() {
            proptest::prop_assert!(*truth <= least);
        }
    }

    #[test]
    fn what_is_ordinary_covers_the_truth(
        users in 1_u32..400, busy in 0_u32..50, requests in 500_u32..6_000,
    ) {
        // One user has `busy` per cent of the requests, the others share the rest alike. About an
        // eighth is as much as eight places can miss: who has that comes and goes among them.
        proptest::prop_assume!(!(8..20).contains(&busy));
        let of = |index: u32| {
            let shuffled = index.wrapping_mul(2_654_435_761) >> 8;
            if shuffled % 100 < busy { user(0) } else { user(1 + shuffled / 100 % users) }
        };
        let traffic = Traffic::of((0..requests).map(|index| call(of(index))));
        let reference = traffic.reference();
        let share = (0..requests).filter(|&index| of(index) == user(0)).count();
        let share = f64::from(u32::try_from(share).unwrap()) / f64::from(requests);
        let event = traffic.batch.events().iter().find(|event| {
            &*Dimension::Address.shown(traffic.batch.source_name(event.sources[0])) == "10.0.0.1"
        });
        if let Some(event) = event {
            let ordinary = reference.ordinary_address(event.sources[0].hash);
            proptest::prop_assert!(ordinary.low <= share + 0.02, "{ordinary:?} {share}");
            proptest::prop_assert!(share <= ordinary.high + 0.02, "{ordinary:?} {share}");
        }
    }
}
