//! What it costs to write the state of an estate down and to go on from it: how long records are
//! held up, how large it is, how long it takes. On one shard, with all functions being called while
//! it is written, which is the dearest case: every one of them has to be written before it changes.
//!
//! `cargo bench --no-default-features --bench state -- 1000000` is for a million functions.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, measures real time and may panic"
)]

use core::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bursar::cost::{CostSettings, PriceBook};
use bursar::engine::intake::Intake;
use bursar::engine::rate_card::RateCard;
use bursar::engine::routes::Routes;
use bursar::engine::saved::Part;
use bursar::engine::settings::{DetectionSettings, EngineSettings};
use bursar::engine::shard::Engine;
use bursar::record::{FunctionRef, Invocation, Position, Record, Source, Status};
use bursar::store::disk::Folder;
use bursar::store::snapshot::Header;
use bursar::store::snapshots::Snapshots;
use bursar::units::{BilledMs, EventTime, MemoryMb};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// 2026-01-01T00:00:00Z.
const START_SECOND: i64 = 1_767_225_600;
/// As configured by default.
const BATCH_RECORDS: usize = 4_096;
/// As the daemon does it.
const SAVED_AT_ONCE: usize = 1_024;
/// Every function is called once in so many seconds,
const ROUND_SECONDS: usize = 4;
/// and so often before its state is written: each is watched then and has a few open seconds.
const ROUNDS: usize = 12;

struct World {
    intake: Intake,
    engine: Engine,
    draw: ChaCha8Rng,
    second: usize,
    functions: usize,
    parts: Vec<Part>,
    longest: Duration,
}

impl World {
    fn new(functions: usize) -> Self {
        Self {
            intake: Intake::new(Routes::new(Vec::new()), 10, 1),
            engine: engine(functions),
            draw: ChaCha8Rng::seed_from_u64(1),
            second: 0,
            functions,
            parts: Vec::new(),
            longest: Duration::ZERO,
        }
    }

    /// One second of the estate. False when nothing is left to write.
    fn second(&mut self) -> bool {
        let mut saving = true;
        let share = self.functions / ROUND_SECONDS;
        let at = START_SECOND + i64::try_from(self.second).unwrap();
        let from = self.second % ROUND_SECONDS * share;
        for number in from..from + share {
            let name = format!("service-{number}");
            let ms = at * 1_000 + self.draw.random_range(0..1_000);
            let address = Ipv4Addr::from(self.draw.random_range(0x0a00_0000..0x0a01_0000));
            let record = Record::Invocation(Invocation {
                function: FunctionRef::try_new("111122223333".parse().unwrap(), "eu-west-1", &name)
                    .unwrap(),
                at: EventTime::saturating_from_ms(ms),
                billed: BilledMs::try_new(self.draw.random_range(5..200)).unwrap(),
                memory: MemoryMb::try_new(512).unwrap(),
                init_ms: None,
                status: Status::Success,
                version: None,
                architecture: None,
                request_id: None,
                delivery: Some(self.draw.random()),
                source: Some(Source { address: Some(address.into()), ..Source::default() }),
            });
            self.intake.record(&record, Position::default(), None);
            if let Some(now) = self.intake.message()
                && now.second() >= at
                && number % 10_000 == 0
            {
                self.intake.release();
            }
            if self.intake.batched() >= BATCH_RECORDS {
                saving = self.batch();
            }
        }
        self.intake.release();
        self.batch();
        let sequence = self.intake.sequence();
        self.engine.tick(EventTime::from_second(at), sequence, &[]);
        self.engine.drain().for_each(drop);
        self.second += 1;
        saving
    }

    fn batch(&mut self) -> bool {
        let began = Instant::now();
        let batch = &mut self.intake.batches()[0];
        self.engine.batch(batch);
        batch.clear();
        let done = self.engine.save_on(SAVED_AT_ONCE);
        self.longest = self.longest.max(began.elapsed());
        self.engine.drain().for_each(drop);
        self.parts.extend(self.engine.saved());
        !done
    }
}

fn engine(functions: usize) -> Engine {
    let settings = EngineSettings { functions_max: 2 * functions, ..EngineSettings::default() };
    let rates = RateCard::new(PriceBook::builtin(), CostSettings::default());
    Engine::new(settings, DetectionSettings::default(), rates, |_| true)
}

fn main() {
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let functions: usize = given.unwrap_or(100_000);
    let mut world = World::new(functions);
    for _ in 0..ROUNDS * ROUND_SECONDS {
        world.second();
    }
    let without = std::mem::take(&mut world.longest);
    println!("{functions} functions; longest batch without saving {without:?}");

    let began = Instant::now();
    world.engine.save();
    println!("pause at the beginning {:?}", began.elapsed());
    let began = Instant::now();
    let mut seconds = 1;
    while world.second() {
        seconds += 1;
    }
    let while_saving = world.longest;
    println!("longest batch while saving {while_saving:?}, done after {seconds} s of event time");
    println!("which took {:?}", began.elapsed());
    world.parts.extend(world.engine.saved());

    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path().to_owned()).unwrap();
    let mut snapshots = Snapshots::open(Box::new(disk)).unwrap();
    let began = Instant::now();
    let header = Header::new(0, None, functions as u64, Vec::new());
    let mut writing = snapshots.begin(&header).unwrap();
    for part in &world.parts {
        snapshots.part(&mut writing, part).unwrap();
    }
    let bytes = snapshots.end(writing).unwrap();
    let raw: usize = world.parts.iter().map(|part| part.bytes.len()).sum();
    println!("{raw} bytes, {bytes} compressed, written in {:?}", began.elapsed());
    drop(world);

    let began = Instant::now();
    let found = snapshots.newest().unwrap().found.unwrap();
    println!("checked in {:?}", began.elapsed());
    let mut engine = engine(functions);
    snapshots
        .parts(&found.name, |part, _| -> Result<(), bursar::store::snapshot::SnapshotError> {
            engine.regain(&part, true).unwrap();
            Ok(())
        })
        .unwrap();
    println!("gone on from after {:?}, {} functions", began.elapsed(), engine.functions());
}
