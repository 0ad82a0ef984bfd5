//! What memory a record costs: none on its way through decoder, door and engine, and a bounded
//! amount for the function that it belongs to.
//!
//! A counting allocator watches each thread by itself, so the tests do not see one another.
#![expect(unsafe_code, reason = "an allocator is an unsafe trait; this one counts and passes on")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "the numbers are the test's own, and it may panic"
)]

use core::cell::Cell;
use core::net::Ipv4Addr;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;

use bursar::cost::{CostSettings, PriceBook};
use bursar::decode::{Context, Decoder, Ignored, Limits, Problem, Sink};
use bursar::engine::alarm::Output;
use bursar::engine::intake::Intake;
use bursar::engine::rate_card::RateCard;
use bursar::engine::routes::Routes;
use bursar::engine::settings::{DetectionSettings, EngineSettings};
use bursar::engine::shard::Engine;
use bursar::record::{FunctionRef, Invocation, Position, Record, Source, Status};
use bursar::units::{AccountId, BilledMs, EventTime, MemoryMb};

struct Counting;

thread_local! {
    /// Calls of the allocator that gave out memory, and bytes that are in use.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

fn note(allocations: u64, bytes: i64) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    LIVE_BYTES.set(LIVE_BYTES.get() + bytes);
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

// SAFETY: every call goes to the system's allocator with the arguments as they came. The counters
// are cells of the thread that need neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, signed(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, signed(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(0, -signed(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, signed(size) - signed(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `work` asks for memory.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// 2026-01-01T00:00:00Z.
const START_SECOND: i64 = 1_767_225_600;
/// The calls of a second are this far apart, in order, so that the last falls into the same second.
const APART_MS: f64 = 999.0;

/// 40 characters, as long as generated names are in practice.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("orders-production-checkout-api-{index:09}")).collect()
}

/// One call: which function, and from where if that is known.
#[derive(Clone, Copy)]
struct Call {
    function: usize,
    address: Option<u32>,
}

/// Memory that was asked for, and what for.
#[derive(Debug, Default)]
struct Asked {
    door: u64,
    batches: u64,
    ticks: u64,
    /// What the engine said, by kind: these are made of memory.
    alarms: u64,
    minutes: u64,
}

/// The door and one shard, driven as the pipeline and its thread drive them.
struct World {
    names: Vec<String>,
    account: AccountId,
    intake: Intake,
    engine: Engine,
    second: i64,
    offset: u64,
    asked: Asked,
}

impl World {
    fn new(functions: usize, deliveries_max: usize) -> Self {
        let settings = EngineSettings { deliveries_max, ..EngineSettings::default() };
        let rates = RateCard::new(PriceBook::builtin(), CostSettings::default());
        let intake = Intake::new(Routes::new(Vec::new()), settings.lateness_seconds, 1);
        let mut engine = Engine::new(settings, DetectionSettings::default(), rates, |_| true);
        engine.tick(EventTime::from_second(START_SECOND), 0, &[]);
        Self {
            names: names(functions),
            account: "111122223333".parse().unwrap(),
            intake,
            engine,
            second: START_SECOND,
            offset: 0,
            asked: Asked::default(),
        }
    }

    /// One second of calls, one message each, and the tick after it.
    fn second(&mut self, calls: impl ExactSizeIterator<Item = Call>) {
        let apart = APART_MS / calls.len().max(1) as f64;
        for (index, call) in calls.enumerate() {
            let after = (index as f64 * apart).floor();
            let at = EventTime::from_second(self.second).plus_ms(after as i64);
            let before = ALLOCATIONS.get();
            self.enter(call, at);
            self.asked.door += ALLOCATIONS.get() - before;
            // The default number of records per batch.
            if self.intake.batched() >= 4_096 {
                self.batch();
            }
        }
        self.batch();
        self.second += 1;
        let now = EventTime::from_second(self.second);
        let sequence = self.intake.sequence();
        self.asked.ticks += allocations(|| self.engine.tick(now, sequence, &[]));
        self.drain();
    }

    fn enter(&mut self, call: Call, at: EventTime) {
        self.offset += 1;
        let address = call.address.map(|address| Ipv4Addr::from_bits(address).into());
        let record = Record::Invocation(Invocation {
            function: FunctionRef {
                account: self.account,
                region: "eu-west-1",
                name: &self.names[call.function],
            },
            at,
            billed: BilledMs::try_new(20 + self.offset % 7).unwrap(),
            memory: MemoryMb::try_new(512).unwrap(),
            init_ms: None,
            status: Status::Success,
            version: Some("17"),
            architecture: None,
            request_id: Some("8f5a2c1e-5c57-4b3a-9d3e-0b9d5a6f7c11"),
            delivery: Some(self.offset),
            source: address.map(|address| Source {
                address: Some(address),
                principal: Some("AIDACKCEVSQ6C2EXAMPLE"),
                ..Source::default()
            }),
        });
        self.intake.record(&record, Position { lane: 0, offset: self.offset }, None);
        self.intake.message();
        self.intake.release();
    }

    fn batch(&mut self) {
        let batch = &mut self.intake.batches()[0];
        self.asked.batches += allocations(|| self.engine.batch(batch));
        batch.clear();
        self.drain();
    }

    fn drain(&mut self) {
        for (_, _, output) in self.engine.drain() {
            match output {
                Output::Alarm(_) => self.asked.alarms += 1,
                Output::Minute(_) => self.asked.minutes += 1,
                Output::Pulse(_) => {}
            }
        }
    }

    /// Calls in an order that visits every function in turn and looks like none.
    fn everybody(&self, calls: usize) -> impl ExactSizeIterator<Item = Call> + use<> {
        let (count, from) = (self.names.len(), self.offset as usize);
        (0..calls).map(move |index| Call {
            function: (from + index) * 7_919 % count,
            address: Some(0xc633_6400 + (index % 50) as u32),
        })
    }
}

#[test]
fn a_record_of_a_known_function_takes_no_memory() {
    // Few enough identities of deliveries that their tables are full after the warm-up.
    let mut world = World::new(10_000, 64);
    for _ in 0..20 {
        world.second(world.everybody(10_000));
    }
    assert_eq!(world.engine.functions(), 10_000);
    world.asked = Asked::default();
    for _ in 0..120 {
        world.second(world.everybody(10_000));
    }
    let asked = &world.asked;
    assert_eq!(world.engine.counters().duplicate, 0);
    assert_eq!((asked.door, asked.batches, asked.alarms), (0, 0, 0), "{asked:?}");
    // A row has a box and two names; what is beyond that goes to lists that are made at each tick.
    assert!((10_000..=20_000).contains(&asked.minutes), "{asked:?}");
    assert!(asked.ticks <= 5 * asked.minutes + 120 * 20, "{asked:?}");
}

#[test]
fn a_record_of_an_attack_from_ever_new_addresses_takes_no_memory() {
    let mut world = World::new(1_000, 64);
    for _ in 0..660 {
        world.second(world.everybody(1_000));
    }
    let flood = |from: u32| {
        (0..5_000).map(move |index| Call { function: 7, address: Some(0x0a00_0000 + from + index) })
    };
    for second in 0..10 {
        world.second(flood(second * 5_000));
    }
    assert!(world.asked.alarms > 0, "the flood has been found");
    world.asked = Asked::default();
    for second in 10..40 {
        world.second(flood(second * 5_000));
    }
    let asked = &world.asked;
    assert_eq!((asked.door, asked.batches), (0, 0), "{asked:?}");
}

#[test]
fn a_function_takes_256_bytes_with_its_name_and_one_kibibyte_once_it_is_watched() {
    const FUNCTIONS: usize = 100_000;
    let mut world = World::new(FUNCTIONS, 1);
    let everybody = || (0..FUNCTIONS).map(|function| Call { function, address: None });
    // The batch and the tables of deliveries are there for all functions, however many.
    world.second((0..FUNCTIONS / 100).map(|function| Call { function, address: None }));
    let (before, known) = (LIVE_BYTES.get(), world.engine.functions());
    world.second(everybody());
    assert_eq!(world.engine.functions(), FUNCTIONS);
    let sparse = (LIVE_BYTES.get() - before) / signed(FUNCTIONS - known);
    assert!((128..=256).contains(&sparse), "{sparse} bytes a function that is hardly called");
    // The third call within seconds begins a watch.
    (0..3).for_each(|_| world.second(everybody()));
    let watched = (LIVE_BYTES.get() - before) / signed(FUNCTIONS - known);
    assert!((512..=1_024).contains(&watched), "{watched} bytes a function that is called");
}

/// Counts what a message holds.
#[derive(Default)]
struct Counts {
    records: BTreeMap<&'static str, u64>,
}

impl Sink for Counts {
    fn record(&mut self, record: &Record<'_>) {
        let kind = match record {
            Record::Invocation(_) => "invocation",
            Record::Trigger(_) => "trigger",
            Record::Refusal(_) => "refusal",
        };
        *self.records.entry(kind).or_default() += 1;
    }

    fn problem(&mut self, problem: Problem<'_>) {
        panic!("the test's own input was refused: {problem:?}");
    }

    fn ignored(&mut self, kind: Ignored) {
        *self.records.entry(kind.as_str()).or_default() += 1;
    }
}

/// Memory that is asked for by a decoder that has seen its input before.
fn asked_by_decoder(messages: &[Vec<u8>], kinds: &[&'static str]) -> u64 {
    let context = Context { account: AccountId::default(), region: "eu-west-1", function: None };
    let mut decoder = Decoder::new(Limits::default());
    let mut counts = Counts::default();
    let mut read = || {
        allocations(|| {
            messages.iter().for_each(|message| decoder.decode(message, &context, &mut counts));
        })
    };
    read();
    let asked = read();
    assert!(counts.records.keys().eq(kinds), "{:?}", counts.records);
    asked
}

/// JSON as it reads best in source.
fn quoted(text: &str) -> Vec<u8> {
    text.replace('\'', "\"").into_bytes()
}

#[test]
fn decoding_a_native_line_takes_no_memory() {
    let line = |index: u32| {
        let common = format!(
            "'account':'111122223333','region':'eu-west-1','function':'checkout-{}',\
             'time':'2026-01-01T00:00:{:02}.{index:03}Z','request_id':'8f5a2c1e-{index:04}',\
             'id':'8f5a2c1e-{index}','source_ip':'203.0.113.7','principal':'key-{index}',\
             'user_agent':'Mozilla/5.0 (X11; Linux x86_64)'",
            index % 40,
            index % 60,
        );
        quoted(&match index % 3 {
            0 => format!(
                "{{'kind':'invocation',{common},'billed_ms':{index},'memory_mb':512,\
                 'init_ms':174.055,'status':'error','version':'17','architecture':'arm64'}}"
            ),
            1 => format!(
                "{{'kind':'trigger',{common},'trigger':'api_gateway','response_bytes':{index}}}"
            ),
            _ => format!("{{'kind':'refusal',{common},'reason':'throttled'}}"),
        })
    };
    let lines: Vec<_> = (100..1_000).map(line).collect();
    assert_eq!(asked_by_decoder(&lines, &["invocation", "refusal", "trigger"]), 0);
}

#[test]
fn decoding_a_line_of_an_envelope_takes_no_memory() {
    let event = |index: u32| {
        format!(
            "{{'id':'3195310660696698337880902507980421114328961542429{index:07}',\
             'timestamp':17672256{index:05},'message':'REPORT RequestId: \
             8f5a2c1e-5c57-4b3a-9d3e-0b9d5a6f7c11\\tDuration: 11.64 ms\\t\
             Billed Duration: 12 ms\\tMemory Size: 128 MB\\tMax Memory Used: 74 MB\\t\\n'}}"
        )
    };
    let envelope = |index: u32, lines: u32| {
        let events: Vec<_> = (index..index + lines).map(event).collect();
        quoted(&format!(
            "{{'messageType':'DATA_MESSAGE','owner':'111122223333',\
             'logGroup':'/aws/lambda/checkout-{index}',\
             'logStream':'2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef',\
             'subscriptionFilters':['bursar'],'logEvents':[{}]}}",
            events.join(",")
        ))
    };
    let asked = |lines: u32| {
        let envelopes: Vec<_> = (0..20).map(|index| envelope(index * lines, lines)).collect();
        asked_by_decoder(&envelopes, &["invocation"])
    };
    // The parser makes room for one line with its escapes resolved, in three steps, once for all
    // lines of an envelope.
    assert_eq!((asked(1), asked(50), asked(500)), (60, 60, 60));
}

#[test]
fn the_count_is_not_always_zero() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8]))), 1);
    let before = LIVE_BYTES.get();
    let kept = std::hint::black_box(vec![0_u8; 100]);
    assert_eq!(LIVE_BYTES.get() - before, 100);
    drop(kept);
    assert_eq!(LIVE_BYTES.get() - before, 0);
}
