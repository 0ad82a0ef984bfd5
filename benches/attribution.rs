//! How well sources are named and an attack is told from a crowd, by seeded simulation.
//!
//! `cargo bench --no-default-features --bench attribution -- [--seed N] [--runs N] [--json OUT]`
//! writes tables as Markdown, and the same numbers as JSON where asked. Nothing is measured by the
//! clock; the same seed gives the same figures on every machine.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "the numbers are the simulation's own, and printing them is its purpose"
)]

use std::collections::{BTreeMap, BTreeSet};

use bursar::engine::attribution::crowd::Verdict;
use bursar::engine::attribution::pane::Pane;
use bursar::engine::attribution::reference::Reference;
use bursar::engine::attribution::{Attribution, Usual};
use bursar::engine::batch::{Batch, EventBody, EventKind, Timeliness};
use bursar::record::{Architecture, FunctionRef, Position, Source, Status};
use bursar::units::{AccountId, BilledMs, EventTime, MemoryMb};
use clap::Parser;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Zipf};
use serde::Serialize;

/// Ordinary clients of the function.
const USERS: u32 = 2_000;
/// Clients that a flash crowd is drawn from.
const STRANGERS: u32 = 20_000;
/// One client in so many shares one of a few addresses with others,
const BEHIND_NAT: u32 = 10;
/// and a population has so many such addresses for a thousand clients.
const NATS_PER_THOUSAND: u32 = 5;
/// Share of the requests that one batch client sends.
const BATCH_SHARE: f64 = 0.1;
/// Chance that a request belongs to the session of one of the latest requests.
const SESSION: f64 = 0.5;
/// How far back such a session reaches.
const SESSION_REACH: usize = 100;
/// Requests that the reference has seen.
const REFERENCE_REQUESTS: usize = 6_000;
/// Requests of a surge.
const SURGE_REQUESTS: usize = 2_000;
/// Mean billed time of an ordinary request, ms at 1 MB; times are exponential.
const MEAN_MS: f64 = 100.0;

#[derive(Parser)]
struct Arguments {
    /// Seed of everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs of each row.
    #[arg(long, default_value_t = 200)]
    runs: u32,
    /// File for the figures as JSON.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Passed by cargo; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One request: from which address, for how long, and whether it is the attack's.
#[derive(Clone, Copy)]
struct Call {
    address: u32,
    ms: u64,
    attack: bool,
    failed: bool,
}

fn call(address: u32, rng: &mut ChaCha8Rng) -> Call {
    let drawn: f64 = Exp1.sample(rng);
    Call { address, ms: (MEAN_MS * drawn).ceil() as u64, attack: false, failed: false }
}

/// A law of clients by address.
#[derive(Clone)]
struct Population {
    addresses: Vec<u32>,
    zipf: Option<Zipf<f64>>,
    batch: Option<u32>,
    latest: Vec<u32>,
    sessions: bool,
}

impl Population {
    /// Clients with Zipf popularity, or all alike; `net` sets populations apart.
    fn new(count: u32, exponent: Option<f64>, net: u32, rng: &mut ChaCha8Rng) -> Self {
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
    fn servers(count: u32) -> Self {
        let addresses = (0..count).map(|client| (10 << 24) + client * 256 + 1).collect();
        Self { addresses, zipf: None, batch: None, latest: Vec::new(), sessions: false }
    }

    fn draw(&mut self, rng: &mut ChaCha8Rng) -> u32 {
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
fn batch_of(calls: &[Call], seconds: f64, joined: bool) -> Batch {
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
fn splitmix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn reference_of(population: &mut Population, rng: &mut ChaCha8Rng) -> Reference {
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

fn pane_of(batch: &Batch, reference: &Reference) -> Pane {
    let mut pane = Pane::new(MEAN_MS, reference);
    batch.events().iter().for_each(|event| pane.add(batch, event, reference));
    pane
}

/// Who attacks, and how the figures are counted.
#[derive(Clone, Copy)]
struct Attack {
    name: &'static str,
    attackers: u32,
    /// All in one network.
    neighbours: bool,
    /// Attack requests over ordinary requests.
    strength: f64,
    /// The first so many attackers' requests take ten times as long.
    dear: u32,
    /// The first attacker shares the address of so many in a hundred ordinary requests.
    shared: u32,
    /// Callers and costs stand in two records.
    joined: bool,
    exponent: Option<f64>,
}

const TWENTY: Attack = Attack {
    name: "20 attackers among 2,000 users, excess as large as usual",
    attackers: 20,
    neighbours: false,
    strength: 1.0,
    dear: 0,
    shared: 0,
    joined: false,
    exponent: None,
};

const ATTACKS: [Attack; 14] = [
    TWENTY,
    Attack { name: "the same, excess half as large as usual", strength: 0.5, ..TWENTY },
    Attack { name: "the same, ten times as large", strength: 10.0, ..TWENTY },
    Attack { name: "the same, thrice as large", strength: 3.0, ..TWENTY },
    Attack { name: "the same, thrice, Zipf 1.1", strength: 3.0, exponent: Some(1.1), ..TWENTY },
    Attack { name: "the same, users with Zipf 1.1", exponent: Some(1.1), ..TWENTY },
    Attack { name: "the same, ten times, Zipf 1.3", strength: 10.0, exponent: Some(1.3), ..TWENTY },
    Attack { name: "callers and costs joined by request id", joined: true, ..TWENTY },
    Attack { name: "five of the twenty cost ten times as much", dear: 5, ..TWENTY },
    Attack { name: "the same, joined", dear: 5, joined: true, ..TWENTY },
    Attack {
        name: "5 attackers, one at an address with 30 % of the users, thrice as large",
        attackers: 5,
        strength: 3.0,
        shared: 30,
        ..TWENTY
    },
    Attack { name: "only that one attacks", attackers: 1, shared: 30, ..TWENTY },
    Attack { name: "200 addresses of one /24", attackers: 200, neighbours: true, ..TWENTY },
    Attack { name: "20,000 attackers", attackers: 20_000, strength: 5.0, ..TWENTY },
];

impl Attack {
    fn address(&self, attacker: u32) -> u32 {
        match (self.neighbours, self.shared > 0 && attacker == 0) {
            (_, true) => (10 << 24) + 2,
            (true, _) => (203 << 24) + attacker + 1,
            (false, _) => (203 << 24) + attacker * 256 + 1,
        }
    }

    fn run(&self, rng: &mut ChaCha8Rng) -> NamedRun {
        let mut users = Population::new(USERS, self.exponent, 10, rng);
        let mut ordinary = |rng: &mut ChaCha8Rng| {
            let shared = self.shared > 0 && rng.random_range(0..100) < self.shared;
            if shared { (10 << 24) + 2 } else { users.draw(rng) }
        };
        let mut quiet = Population { sessions: false, ..Population::servers(1) };
        quiet.addresses = (0..REFERENCE_REQUESTS).map(|_| ordinary(rng)).collect();
        let mut reference = Reference::default();
        let calls: Vec<Call> = quiet.addresses.iter().map(|&one| call(one, rng)).collect();
        let batch = batch_of(&calls, 1.0, false);
        batch.events().iter().for_each(|event| reference.add(event.sources[0], false));

        let seconds = 20.0;
        let count = poisson(2_000.0, rng);
        let mut calls: Vec<Call> = (0..count).map(|_| call(ordinary(rng), rng)).collect();
        for _ in 0..poisson(2_000.0 * self.strength, rng) {
            let attacker = rng.random_range(0..self.attackers);
            let one = call(self.address(attacker), rng);
            let factor = if attacker < self.dear { 10 } else { 1 };
            calls.push(Call { attack: true, ms: one.ms * factor, ..one });
        }
        calls.shuffle(rng);
        let batch = batch_of(&calls, seconds, self.joined);
        let pane = pane_of(&batch, &reference);
        let usual = Usual { per_second: 2_000.0 / seconds, mb_ms: MEAN_MS, dispersion: 1.0 };
        self.judge(&pane.attribution(&reference, &usual), &calls)
    }

    fn judge(&self, attribution: &Attribution, calls: &[Call]) -> NamedRun {
        let mut costs: BTreeMap<String, u64> = BTreeMap::new();
        let attack = calls.iter().filter(|call| call.attack);
        let mut total = 0;
        for call in attack {
            let octets = call.address.to_be_bytes();
            let host = if self.neighbours { 0 } else { octets[3] };
            let name = format!("{}.{}.{}.{host}", octets[0], octets[1], octets[2]);
            let name = if self.neighbours { name + "/24" } else { name };
            *costs.entry(name).or_default() += call.ms;
            total += call.ms;
        }
        let named: Vec<_> = attribution.networks().collect();
        let right = named.iter().filter(|source| costs.contains_key(&*source.source));
        let (mut covered, mut width) = (true, 0.0);
        for source in right.clone() {
            let truth = costs[&*source.source] as f64 / total as f64;
            covered &= source.low <= truth && truth <= source.high;
            width += source.high - source.low;
        }
        let dear: BTreeSet<_> = (0..self.dear).map(|index| format!("203.0.{index}.1")).collect();
        let first: BTreeSet<_> =
            named.iter().take(self.dear as usize).map(|source| source.source.to_string()).collect();
        NamedRun {
            named: right.clone().count() as f64 / costs.len() as f64,
            all: right.clone().count() == costs.len(),
            wrong: named.len() - right.clone().count(),
            covered: covered && right.clone().count() > 0,
            width: width / right.count().max(1) as f64,
            diffuse: attribution.diffuse,
            dearest_first: dear == first,
        }
    }
}

fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> usize {
    let law = rand_distr::Poisson::new(mean).expect("a positive mean");
    law.sample(rng) as usize
}

struct NamedRun {
    named: f64,
    all: bool,
    wrong: usize,
    covered: bool,
    width: f64,
    diffuse: bool,
    dearest_first: bool,
}

/// One row of the first table; shares of runs.
#[derive(Serialize)]
struct NamedRow {
    name: &'static str,
    named: f64,
    all_named: f64,
    wrongly_named: f64,
    both_bounds_hold: f64,
    width: f64,
    diffuse: f64,
    dearest_first: f64,
}

fn naming(arguments: &Arguments) -> Vec<NamedRow> {
    let rows = ATTACKS.iter().enumerate().map(|(index, attack)| {
        let runs: Vec<NamedRun> = (0..arguments.runs)
            .map(|run| attack.run(&mut rng(arguments.seed, 1_000 + index as u64, run)))
            .collect();
        let share = |of: fn(&NamedRun) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        NamedRow {
            name: attack.name,
            named: share(|run| run.named),
            all_named: share(|run| f64::from(u8::from(run.all))),
            wrongly_named: share(|run| run.wrong as f64),
            both_bounds_hold: share(|run| f64::from(u8::from(run.covered))),
            width: share(|run| run.width),
            diffuse: share(|run| f64::from(u8::from(run.diffuse))),
            dearest_first: share(|run| f64::from(u8::from(run.dearest_first))),
        }
    });
    rows.collect()
}

fn rng(seed: u64, row: u64, run: u32) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(splitmix(seed ^ splitmix(row << 32 | u64::from(run))))
}

/// Who calls usually.
#[derive(Clone, Copy)]
enum Callers {
    Alike,
    Zipf(f64),
    Servers(u32),
}

impl Callers {
    fn name(self) -> String {
        match self {
            Callers::Alike => "2,000 users alike".into(),
            Callers::Zipf(exponent) => format!("2,000 users, Zipf {exponent:.1}, NAT, batch"),
            Callers::Servers(count) => format!("{count} server-side clients"),
        }
    }

    fn population(self, rng: &mut ChaCha8Rng) -> Population {
        match self {
            Callers::Alike => Population::new(USERS, None, 10, rng),
            Callers::Zipf(exponent) => Population::new(USERS, Some(exponent), 10, rng),
            Callers::Servers(count) => Population::servers(count),
        }
    }
}

/// What comes on top.
#[derive(Clone, Copy)]
enum Surge {
    /// So many attackers.
    Attackers(u32),
    /// The same callers, proportionally more.
    Busy,
    /// New callers, alike or with the Zipf popularity of the usual ones.
    Flash(Option<f64>),
    /// The same with one of them sending three in ten requests.
    FlashAndBatch(Option<f64>),
    /// Every request from a new address; failing or not.
    EverNew(bool),
}

impl Surge {
    fn name(self) -> String {
        match self {
            Surge::Attackers(count) => format!("{count} attackers"),
            Surge::Busy => "busy day".into(),
            Surge::Flash(None) => "flash crowd, alike".into(),
            Surge::Flash(Some(exponent)) => format!("flash crowd, Zipf {exponent:.1}"),
            Surge::FlashAndBatch(None) => "flash crowd, alike, and a new batch job".into(),
            Surge::FlashAndBatch(Some(exponent)) => {
                format!("flash crowd, Zipf {exponent:.1}, and a new batch job")
            }
            Surge::EverNew(false) => "ever new addresses".into(),
            Surge::EverNew(true) => "ever new addresses, failing".into(),
        }
    }

    /// Requests in order, one in `usual_in` of them ordinary.
    fn calls(self, usual: &mut Population, usual_in: u32, rng: &mut ChaCha8Rng) -> Vec<Call> {
        let exponent = match self {
            Surge::Flash(exponent) | Surge::FlashAndBatch(exponent) => exponent,
            _ => None,
        };
        let mut strangers = Population::new(STRANGERS, exponent, 20, rng);
        (0..SURGE_REQUESTS as u32)
            .map(|index| {
                if rng.random_range(0..usual_in) == 0 {
                    return call(usual.draw(rng), rng);
                }
                let address = match self {
                    Surge::Attackers(count) => (203 << 24) + rng.random_range(0..count) * 256 + 1,
                    Surge::Busy => usual.draw(rng),
                    Surge::Flash(_) => strangers.draw(rng),
                    Surge::FlashAndBatch(_) if rng.random_bool(0.3) => 99 << 24,
                    Surge::FlashAndBatch(_) => strangers.draw(rng),
                    Surge::EverNew(_) => (203 << 24) + index * 256 + 1,
                };
                let failed = matches!(self, Surge::EverNew(true)) && rng.random_bool(0.5);
                Call { failed, ..call(address, rng) }
            })
            .collect()
    }
}

/// One row of the tables of verdicts; shares of runs.
#[derive(Serialize)]
struct VerdictRow {
    usual: String,
    surge: String,
    attack: f64,
    crowd: f64,
    unknown: f64,
    /// Requests until an attack was called one: median and 95th percentile, where there are.
    requests_p50: Option<usize>,
    requests_p95: Option<usize>,
    within_50: f64,
    within_100: f64,
}

fn verdicts(arguments: &Arguments, rows: &[(Callers, Surge, u32)], first: u64) -> Vec<VerdictRow> {
    let row = |(index, &(callers, surge, usual_in)): (usize, &(Callers, Surge, u32))| {
        let mut counts = [0.0; 3];
        let mut called: Vec<usize> = Vec::new();
        for run in 0..arguments.runs {
            let rng = &mut rng(arguments.seed, first + index as u64, run);
            let mut population = callers.population(rng);
            let reference = reference_of(&mut population, rng);
            let calls = surge.calls(&mut population, usual_in, rng);
            let batch = batch_of(&calls, 10.0, false);
            let mut pane = Pane::new(MEAN_MS, &reference);
            let mut when = None;
            for (place, event) in batch.events().iter().enumerate() {
                pane.add(&batch, event, &reference);
                let early = matches!(surge, Surge::Attackers(_)) && place < 400;
                if early && pane.crowd(&reference).verdict == Verdict::Attack && when.is_none() {
                    when = Some(place + 1);
                }
            }
            let verdict = pane.crowd(&reference).verdict;
            counts[verdict as usize] += 1.0 / f64::from(arguments.runs);
            called.extend(when);
        }
        called.sort_unstable();
        let place = |part: f64| called.get((part * f64::from(arguments.runs)) as usize).copied();
        let within = |most: usize| {
            called.iter().filter(|&&requests| requests <= most).count() as f64
                / f64::from(arguments.runs)
        };
        VerdictRow {
            usual: callers.name(),
            surge: surge.name(),
            attack: counts[Verdict::Attack as usize],
            crowd: counts[Verdict::Crowd as usize],
            unknown: counts[Verdict::Unknown as usize],
            requests_p50: place(0.5),
            requests_p95: place(0.95),
            within_50: within(50),
            within_100: within(100),
        }
    };
    rows.iter().enumerate().map(row).collect()
}

fn attack_rows() -> Vec<(Callers, Surge, u32)> {
    let usual = [
        Callers::Alike,
        Callers::Zipf(1.0),
        Callers::Zipf(1.3),
        Callers::Servers(1),
        Callers::Servers(5),
    ];
    let mut rows: Vec<_> =
        usual.iter().map(|&callers| (callers, Surge::Attackers(20), 11)).collect();
    rows.push((Callers::Alike, Surge::Attackers(20), 2));
    for count in [5, 100, 500] {
        rows.push((Callers::Alike, Surge::Attackers(count), 11));
        rows.push((Callers::Zipf(1.0), Surge::Attackers(count), 11));
        rows.push((Callers::Servers(5), Surge::Attackers(count), 11));
    }
    rows
}

fn benign_rows() -> Vec<(Callers, Surge, u32)> {
    let mut rows = Vec::new();
    for exponent in [1.0, 1.1, 1.2, 1.3] {
        let usual = Callers::Zipf(exponent);
        rows.push((usual, Surge::Busy, 11));
        rows.push((usual, Surge::Flash(Some(exponent)), 11));
        rows.push((usual, Surge::Flash(Some(exponent)), 3));
        rows.push((usual, Surge::FlashAndBatch(Some(exponent)), 11));
        rows.push((Callers::Servers(5), Surge::Flash(Some(exponent)), 11));
    }
    rows.push((Callers::Alike, Surge::Busy, 11));
    rows.push((Callers::Alike, Surge::Flash(None), 11));
    rows.push((Callers::Alike, Surge::FlashAndBatch(None), 11));
    rows.push((Callers::Servers(5), Surge::Busy, 11));
    rows.push((Callers::Servers(5), Surge::Flash(None), 11));
    rows.push((Callers::Servers(1), Surge::Flash(None), 11));
    rows
}

fn botnet_rows() -> Vec<(Callers, Surge, u32)> {
    [Callers::Alike, Callers::Zipf(1.0), Callers::Servers(5)]
        .into_iter()
        .flat_map(|usual| [false, true].map(|failing| (usual, Surge::EverNew(failing), 11)))
        .collect()
}

/// All figures.
#[derive(Serialize)]
struct Figures {
    seed: u64,
    runs: u32,
    naming: Vec<NamedRow>,
    attacks: Vec<VerdictRow>,
    benign: Vec<VerdictRow>,
    botnets: Vec<VerdictRow>,
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn print_naming(rows: &[NamedRow]) {
    println!(
        "| attack | of them named | all named | wrongly named, mean | both bounds hold | mean width | diffuse \
              | dearest first |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for row in rows {
        println!(
            "| {} | {} | {} | {:.2} | {} | {:.3} | {} | {} |",
            row.name,
            percent(row.named),
            percent(row.all_named),
            row.wrongly_named,
            percent(row.both_bounds_hold),
            row.width,
            percent(row.diffuse),
            percent(row.dearest_first),
        );
    }
}

fn print_verdicts(rows: &[VerdictRow]) {
    println!(
        "| usual callers | surge | attack | crowd | unknown | requests to `attack`, p50 | p95 \
              | within 50 | within 100 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let shown = |value: Option<usize>| value.map_or("-".into(), |value| value.to_string());
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.usual,
            row.surge,
            percent(row.attack),
            percent(row.crowd),
            percent(row.unknown),
            shown(row.requests_p50),
            shown(row.requests_p95),
            percent(row.within_50),
            percent(row.within_100),
        );
    }
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let figures = Figures {
        seed: arguments.seed,
        runs: arguments.runs,
        naming: naming(&arguments),
        attacks: verdicts(&arguments, &attack_rows(), 2_000),
        benign: verdicts(&arguments, &benign_rows(), 3_000),
        botnets: verdicts(&arguments, &botnet_rows(), 4_000),
    };
    println!("Seed {}, {} runs a row.\n\n## Naming\n", figures.seed, figures.runs);
    print_naming(&figures.naming);
    for (title, rows) in [
        ("Attacks", &figures.attacks),
        ("Benign surges", &figures.benign),
        ("Botnets with ever new addresses", &figures.botnets),
    ] {
        println!("\n## {title}\n");
        print_verdicts(rows);
    }
    match &arguments.json {
        Some(path) => std::fs::write(path, serde_json::to_string_pretty(&figures)? + "\n"),
        None => Ok(()),
    }
}
