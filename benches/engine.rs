//! How many records a second one core takes through the engine, and through the door before it.
//!
//! Every shape has the same estate of 100,000 functions and differs in one thing from its
//! neighbour. One iteration is a quarter of a million calls of the estate, with a tick after each
//! second of event time; names and amounts were drawn before the clock starts. `engine` measures
//! [`Engine::batch`] and [`Engine::tick`] on batches that are ready; `intake` the door alone:
//! hashing, routing, timeliness and the copy into a batch, one message a record, which is the
//! dearest form. A core that runs a shard pays for `engine`; the pipeline's core pays for `intake`.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::string_slice,
    reason = "the numbers and names are the benchmark's own"
)]

use core::net::Ipv4Addr;
use std::hint::black_box;

use bursar::cost::{CostSettings, PriceBook};
use bursar::engine::alarm::{Alarm, AlarmState, Output};
use bursar::engine::batch::Batch;
use bursar::engine::intake::{Entry, Intake};
use bursar::engine::rate_card::RateCard;
use bursar::engine::routes::Routes;
use bursar::engine::settings::{DetectionSettings, EngineSettings};
use bursar::engine::shard::Engine;
use bursar::record::{FunctionRef, Invocation, Position, Record, Source, Status};
use bursar::units::{AccountId, BilledMs, EventTime, MemoryMb};
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

/// A large estate, and far more state than any cache of one core holds.
const FUNCTIONS: usize = 100_000;
/// Accounts that the functions belong to: a large organisation has an account a team.
const ACCOUNTS: usize = 40;
/// Calls a second of the whole estate, 2.2 billion a day. An average function is then called every
/// four seconds, so a second has few calls and much closing of seconds: the dear case.
const CALLS_PER_SECOND: usize = 25_000;
/// Ten times as many, for the price of a call without so much closing.
const CALLS_PER_SECOND_DENSE: usize = 250_000;
/// Calls of the estate in one iteration: ten seconds or one.
const CALLS: usize = 250_000;
/// Records per batch, as configured by default.
const BATCH_RECORDS: usize = 4_096;
/// 2026-01-01T00:00:00Z.
const START_SECOND: i64 = 1_767_225_600;
/// Minutes of warm-up before the estate is at its full rate; the baseline takes ten to count.
const WARM_UP_MINUTES: usize = 15;
/// A function may grow by this factor a minute without an alarm; the envelope is 1.6.
const GROWTH: f64 = 1.5;
/// Calls a second that a function may start with without an alarm.
const FIRST_RATE: f64 = 20.0;

/// The function that is attacked.
const VICTIM: u32 = 7;

/// How calls are spread over functions.
#[derive(Clone, Copy)]
enum Popularity {
    /// Everybody is called alike: no function's state is still in the cache when it is needed.
    Uniform,
    /// Exponent 1.1: two in three calls go to 250 functions, as in real estates a few carry most.
    Zipf,
}

/// Where the calls of the attack, if any, come from.
#[derive(Clone, Copy)]
enum Attack {
    None,
    /// So many addresses call one function as often as the whole estate is called otherwise.
    From(u32),
}

#[derive(Clone, Copy)]
struct Shape {
    popularity: Popularity,
    calls_per_second: usize,
    /// Records carry the identity of their delivery, so each is looked up in a table.
    deliveries: bool,
    attack: Attack,
}

impl Shape {
    fn seconds(self) -> usize {
        CALLS / self.calls_per_second
    }

    fn records(self) -> Throughput {
        match self.attack {
            Attack::None => Throughput::Elements(CALLS as u64),
            Attack::From(_) => Throughput::Elements(2 * CALLS as u64),
        }
    }
}

/// Uniform, 25,000 calls a second, nothing else: each other shape changes one of these.
const PLAIN: Shape = Shape {
    popularity: Popularity::Uniform,
    calls_per_second: CALLS_PER_SECOND,
    deliveries: false,
    attack: Attack::None,
};

/// One record of the input, with the name beside it as in a message that has just been read.
struct Call {
    function: u32,
    name_at: u32,
    name_len: u16,
    billed_ms: u16,
    address: Option<u32>,
}

/// Calls in the order of the input, and their names in one piece.
#[derive(Default)]
struct Calls {
    calls: Vec<Call>,
    names: String,
}

impl Calls {
    fn push(&mut self, function: u32, name: &str, rng: &mut ChaCha8Rng, address: Option<u32>) {
        self.calls.push(Call {
            function,
            name_at: self.names.len() as u32,
            name_len: name.len() as u16,
            // Short calls dominate real estates; the engine's cost does not depend on the length.
            billed_ms: rng.random_range(5..200),
            address,
        });
        self.names.push_str(name);
    }
}

/// The input side: who exists, how often each is called, and the door of the engine.
struct Estate {
    rng: ChaCha8Rng,
    names: Vec<String>,
    accounts: Vec<AccountId>,
    shape: Shape,
    zipf: Zipf<f64>,
    intake: Intake,
    second: i64,
    offset: u64,
}

/// What the engine gets.
enum Step {
    Batch(Batch),
    Tick(EventTime, u64),
}

impl Estate {
    fn new(shape: Shape) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let names = (0..FUNCTIONS).map(|index| name(index, &mut rng)).collect();
        let accounts = (0..ACCOUNTS).map(|index| format!("7{index:011}").parse());
        let routes = Routes::new(Vec::new());
        Self {
            names,
            accounts: accounts.collect::<Result<_, _>>().expect("twelve digits"),
            shape,
            zipf: Zipf::new(FUNCTIONS as f64, 1.1).expect("valid parameters"),
            intake: Intake::new(routes, EngineSettings::default().lateness_seconds, 1),
            second: START_SECOND,
            offset: 0,
            rng,
        }
    }

    fn draw(&mut self) -> u32 {
        let rank = match self.shape.popularity {
            Popularity::Uniform => self.rng.random_range(0..FUNCTIONS),
            Popularity::Zipf => self.zipf.sample(&mut self.rng) as usize - 1,
        };
        rank as u32
    }

    /// One second of the estate at its full rate.
    fn calls(&mut self, attack: bool) -> Calls {
        let mut calls = Calls::default();
        for _ in 0..self.shape.calls_per_second {
            let function = self.draw();
            calls.push(function, &self.names[function as usize], &mut self.rng, None);
            if let (Attack::From(addresses), true) = (self.shape.attack, attack) {
                let address = Some(self.rng.random_range(0..addresses));
                calls.push(VICTIM, &self.names[VICTIM as usize], &mut self.rng, address);
            }
        }
        calls
    }

    /// The same with every function called no more often than `limit` times.
    fn calls_at_most(&mut self, limit: usize) -> Calls {
        let mut counts = vec![0_usize; FUNCTIONS];
        let mut calls = self.calls(false);
        calls.calls.retain(|call| {
            counts[call.function as usize] += 1;
            counts[call.function as usize] <= limit
        });
        calls
    }

    /// Puts a second of calls through the door, one message a record.
    fn enter(&mut self, calls: &Calls, mut full: impl FnMut(&mut Batch)) {
        let ms = 1_000.0 / calls.calls.len() as f64;
        for (index, call) in calls.calls.iter().enumerate() {
            let at = self.second * 1_000 + (index as f64 * ms) as i64;
            self.offset += 1;
            let name_at = call.name_at as usize;
            let name = &calls.names[name_at..name_at + usize::from(call.name_len)];
            let account = self.accounts[call.function as usize % ACCOUNTS];
            let source = call.address.map(|address| Source {
                address: Some(Ipv4Addr::from_bits(0xc633_0000 + address).into()),
                ..Source::default()
            });
            let record = Record::Invocation(Invocation {
                function: FunctionRef { account, region: "eu-west-1", name },
                at: EventTime::saturating_from_ms(at),
                billed: BilledMs::try_new(u64::from(call.billed_ms)).expect("in range"),
                memory: MemoryMb::try_new(512).expect("in range"),
                init_ms: None,
                status: Status::Success,
                version: None,
                architecture: None,
                request_id: None,
                delivery: self.shape.deliveries.then_some(self.offset),
                source,
            });
            let position = Position { lane: 0, offset: self.offset };
            black_box::<Entry>(self.intake.record(&record, position, None));
            black_box(self.intake.message());
            self.intake.release();
            if self.intake.batched() >= BATCH_RECORDS {
                full(&mut self.intake.batches()[0]);
            }
        }
        full(&mut self.intake.batches()[0]);
        self.second += 1;
    }

    /// A second of calls, made into work for the engine.
    fn steps(&mut self, calls: &Calls) -> Vec<Step> {
        let mut steps = Vec::new();
        self.enter(calls, |batch| steps.push(Step::Batch(std::mem::take(batch))));
        steps.push(Step::Tick(EventTime::from_second(self.second), self.intake.sequence()));
        steps
    }

    /// Event time passes and nobody calls.
    fn silence(&mut self, seconds: i64, engine: &mut Engine) {
        for _ in 0..seconds {
            self.second += 1;
            engine.tick(EventTime::from_second(self.second), self.intake.sequence(), &[]);
            engine.drain().for_each(drop);
        }
    }

    /// Teaches the engine what is normal, as a start on a real estate would: everybody is seen at
    /// once, busy functions grow into their rate, and the baseline's first ten minutes pass.
    fn warm_up(&mut self, engine: &mut Engine) -> usize {
        let mut first = Calls::default();
        for function in 0..FUNCTIONS {
            first.push(function as u32, &self.names[function], &mut self.rng, None);
        }
        engine.tick(EventTime::from_second(self.second), 0, &[]);
        let steps = self.steps(&first);
        let mut alarms = run(engine, &steps);
        self.silence(59, engine);
        let busiest = match self.shape.popularity {
            Popularity::Uniform => 1,
            Popularity::Zipf => WARM_UP_MINUTES,
        };
        for minute in 0..busiest {
            let limit = FIRST_RATE * GROWTH.powi(minute as i32);
            for _ in 0..60 {
                let calls = self.calls_at_most(limit as usize);
                let steps = self.steps(&calls);
                alarms += run(engine, &steps);
            }
        }
        self.silence(60 * (WARM_UP_MINUTES - busiest) as i64, engine);
        // The sweep comes to every function, and the attack is found, before anything is measured.
        for _ in 0..60 {
            let calls = self.calls(true);
            let steps = self.steps(&calls);
            alarms += run(engine, &steps);
        }
        alarms
    }
}

/// Names as people make them: 40 characters, the first ones alike.
fn name(index: usize, rng: &mut ChaCha8Rng) -> String {
    format!("orders-production-{index:08}-{:013x}", rng.next_u64() >> 12)
}

fn new_engine() -> Engine {
    let rates = RateCard::new(PriceBook::builtin(), CostSettings::default());
    let detection =
        DetectionSettings { estate_functions: FUNCTIONS as u64, ..DetectionSettings::default() };
    Engine::new(EngineSettings::default(), detection, rates, |_| true)
}

/// Returns how many alarms were opened.
fn run(engine: &mut Engine, steps: &[Step]) -> usize {
    let mut alarms = 0;
    for step in steps {
        match step {
            Step::Batch(batch) => engine.batch(batch),
            Step::Tick(now, sequence) => engine.tick(*now, *sequence, &[]),
        }
        for (_, _, output) in engine.drain() {
            let opened = |alarm: &Alarm| alarm.state == AlarmState::Opened;
            alarms += usize::from(matches!(&output, Output::Alarm(alarm) if opened(alarm)));
            black_box(output);
        }
    }
    alarms
}

/// A warm engine and the estate that it watches.
fn warm(shape: Shape) -> (Estate, Engine) {
    let mut estate = Estate::new(shape);
    let mut engine = new_engine();
    let alarms = estate.warm_up(&mut engine);
    assert_eq!(engine.functions(), FUNCTIONS);
    let expected = usize::from(matches!(shape.attack, Attack::From(_)));
    assert_eq!(alarms, expected, "alarms while warming up");
    (estate, engine)
}

fn engine_alone(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, shape: Shape) {
    // Made when it is first needed: a benchmark that is not asked for costs nothing.
    let mut made = None;
    group.throughput(shape.records());
    group.bench_function(name, |bencher| {
        let (estate, engine) = made.get_or_insert_with(|| warm(shape));
        bencher.iter_batched(
            || {
                let seconds = (0..shape.seconds()).map(|_| {
                    let calls = estate.calls(true);
                    estate.steps(&calls)
                });
                seconds.flatten().collect::<Vec<_>>()
            },
            // The batches come back, so that freeing them is not measured.
            |steps| {
                run(engine, &steps);
                steps
            },
            BatchSize::PerIteration,
        );
    });
}

fn door_alone(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, shape: Shape) {
    let mut made = None;
    group.throughput(shape.records());
    group.bench_function(name, |bencher| {
        let (estate, seconds) = made.get_or_insert_with(|| {
            let mut estate = Estate::new(shape);
            let seconds = (0..shape.seconds()).map(|_| estate.calls(true));
            let seconds: Vec<Calls> = seconds.collect();
            (estate, seconds)
        });
        bencher.iter(|| seconds.iter().for_each(|calls| estate.enter(calls, Batch::clear)));
    });
}

fn engine(criterion: &mut Criterion) {
    let zipf = Shape { popularity: Popularity::Zipf, ..PLAIN };
    let dense = Shape { calls_per_second: CALLS_PER_SECOND_DENSE, ..PLAIN };
    let deliveries = Shape { deliveries: true, ..PLAIN };

    let mut group = criterion.benchmark_group("engine");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    engine_alone(&mut group, "uniform", PLAIN);
    engine_alone(&mut group, "zipf", zipf);
    engine_alone(&mut group, "dense", dense);
    engine_alone(&mut group, "deliveries", deliveries);
    // An attack must not be able to slow down what is to find it: twenty addresses are named one
    // by one, a botnet changes the table of callers with nearly every record.
    for (name, addresses) in [("attack_20", 20), ("attack_60000", 60_000)] {
        engine_alone(&mut group, name, Shape { attack: Attack::From(addresses), ..PLAIN });
    }
    group.finish();

    let mut group = criterion.benchmark_group("intake");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    door_alone(&mut group, "uniform", PLAIN);
    door_alone(&mut group, "deliveries", deliveries);
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
