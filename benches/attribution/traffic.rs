//! Who calls, and what the engine sees of it.

use bursar::engine::attribution::pane::Pane;
use bursar::engine::attribution::reference::Reference;
use bursar::engine::batch::{Batch, EventBody, EventKind, Timeliness};
use bursar::record::{Architecture, FunctionRef, Position, Source, Status};
use bursar::units::{AccountId, BilledMs, EventTime, MemoryMb};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Zipf};

/// Ordinary clients of the function.
pub(crate) const USERS: u32 = 2_000;
/// One client in so many shares one of a few addresses with others,
pub(crate) const BEHIND_NAT: u32 = 10;
/// and a population has so many such addresses for a thousand clients.
pub(crate) const NATS_PER_THOUSAND: u32 = 5;
/// Share of the requests that one batch client sends.
pub(crate) const BATCH_SHARE: f64 = 0.1;
/// Chance that a request belongs to the session of one of the latest requests.
pub(crate) const SESSION: f64 = 0.5;
/// How far back such a session reaches.
pub(crate) const SESSION_REACH: usize = 100;
/// Requests that the reference has seen.
pub(crate) const REFERENCE_REQUESTS: usize = 6_000;
/// Mean billed time of an ordinary request, ms at 1 MB; times are exponential.
pub(crate) const MEAN_MS: f64 = 100.0;

/// One request: from which address, for how long, and whether it is the attack's.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) address: u32,
    pub(crate) ms: u64,
    pub(crate) attack: bool,
    pub(crate) failed: bool,
}

pub(crate) fn call(address: u32, rng: &mut ChaCha8Rng) -> Call {
    let drawn: f64 = Exp1.sample(rng);
    Call { address, ms: (MEAN_MS * drawn).ceil() as u64, attack: false, failed: false }
}

/// A law of clients by address.
#[derive(Clone)]
pub(crate) struct Population {
    pub(crate) addresses: Vec<u32>,
    pub(crate) zipf: Option<Zipf<f64>>,
    pub(crate) batch: Option<u32>,
    pub(crate) latest: Vec<u32>,
    pub(crate) sessions: bool,
}

impl Population {
    /// Clients with Zipf popularity, or all alike; `net` sets populations apart.
    pub(crate) fn new(count: u32, exponent: Option<f64>, net: u32, rng: &mut ChaCha8Rng) -> Self {
        let nats = (count * NATS_PER_THOUSAND / 1_000).max(1);
        let address = |client: u32, rng: &mut ChaCha8Rng| {
            let shared = exponent.is_some() && rng.random_range(0..BEHIND_NAT) == 0;
            let host = if shared { rng.random_range(0..nats) } else { nats + client };
            (net << 24) + host * 256 + 1
        };
        Self {
            addresses: (0..count).map(|client| address(client, rng)).collect(),
            zipf: exponent.and_then(|exponent| Zipf::new(f64::from(count), exponent).ok()),
            batch: exponent.map(|_| (net << 24) + 2),
            latest: Vec::new(),
            sessions: exponent.is_some(),
        }
    }

    /// A few server-side clients.
    pub(crate) fn servers(count: u32) -> Self {
        let addresses = (0..count).map(|client| (10 << 24) + client * 256 + 1).collect();
        Self { addresses, zipf: None, batch: None, latest: Vec::new(), sessions: false }
    }

    pub(crate) fn draw(&mut self, rng: &mut ChaCha8Rng) -> u32 {
        if let Some(batch) = self.batch
            && rng.random_bool(BATCH_SHARE)
        {
            return batch;
        }
        let back = rng.random_range(1..=SESSION_REACH);
        let address = if self.sessions && rng.random_bool(SESSION) && self.latest.len() >= back {
            self.latest[self.latest.len() - back]
        } else {
            let index = match &self.zipf {
                Some(zipf) => zipf.sample(rng) as usize - 1,
                None => rng.random_range(0..self.addresses.len()),
            };
            self.addresses[index]
        };
        self.latest.push(address);
        address
    }
}

/// Puts requests into a batch, evenly over `seconds`.
pub(crate) fn batch_of(calls: &[Call], seconds: f64, joined: bool) -> Batch {
    let mut batch = Batch::default();
    let function =
        FunctionRef { account: AccountId::default(), region: "eu-west-1", name: "checkout" };
    let body = |index: usize, request: u64| EventBody {
        sequence: 0,
        position: Position::default(),
        at: EventTime::from_second(0)
            .plus_ms((index as f64 * 1e3 * seconds / calls.len() as f64) as i64),
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
    };
    for (index, call) in calls.iter().enumerate() {
        let request = if joined { splitmix(index as u64) } else { 0 };
        let address = core::net::Ipv4Addr::from_bits(call.address);
        let source = Source { address: Some(address.into()), ..Source::default() };
        let invocation = EventBody {
            billed: BilledMs::try_new(call.ms).expect("in range"),
            memory: MemoryMb::try_new(1).ok(),
            kind: EventKind::Invocation,
            status: if call.failed { Status::Error } else { Status::Success },
            ..body(index, request)
        };
        if joined {
            let trigger = body(index, request);
            let nobody = Source::default();
            // Either may come first.
            if index % 2 == 0 {
                batch.push(function, 0, trigger, &source, "GET /");
                batch.push(function, 0, invocation, &nobody, "");
            } else {
                batch.push(function, 0, invocation, &nobody, "");
                batch.push(function, 0, trigger, &source, "GET /");
            }
        } else {
            batch.push(function, 0, invocation, &source, "");
        }
    }
    batch
}

/// Sebastiano Vigna's splitmix64, for ids that look like hashes.
pub(crate) fn splitmix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

pub(crate) fn reference_of(population: &mut Population, rng: &mut ChaCha8Rng) -> Reference {
    let calls: Vec<Call> = (0..REFERENCE_REQUESTS)
        .map(|_| {
            let failed = rng.random_bool(0.01);
            Call { failed, ..call(population.draw(rng), rng) }
        })
        .collect();
    let batch = batch_of(&calls, 1.0, false);
    let mut reference = Reference::default();
    for event in batch.events() {
        reference.add(event.sources[0], event.status != Status::Success);
    }
    reference
}

pub(crate) fn pane_of(batch: &Batch, reference: &Reference) -> Pane {
    let mut pane = Pane::new(MEAN_MS, reference);
    batch.events().iter().for_each(|event| pane.add(batch, event, reference));
    pane
}

pub(crate) fn rng(seed: u64, row: u64, run: u32) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(splitmix(seed ^ splitmix(row << 32 | u64::from(run))))
}
