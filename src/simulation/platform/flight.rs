//! An invocation: how it starts, how long it takes, what it is billed and what comes of it.

use super::entry::{Entry, EntryKind};
use super::model::FunctionSpec;
use super::pool::Start;
use super::request::{Ending, Request, Way};
use super::{Event, Function, Platform};
use crate::record::Status;
use crate::simulation::draw::{below, derive, unit};
use crate::units::{BilledMs, EventTime, MbMillis};

/// A request and what has happened to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) request: Request,
    /// Random bits that decide everything about it.
    pub(super) fate: u64,
    /// Attempts that failed, or receives from a queue.
    pub(super) attempts: u16,
    /// Attempts in a row that found no room.
    pub(super) waits: u16,
}

/// An invocation that is running.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) first: Job,
    /// The rest of a batch.
    pub(super) rest: Vec<Job>,
    /// When a queue handed the batch out.
    pub(super) received: EventTime,
    /// Random bits from which its id follows.
    bits: u64,
    duration_ms: f64,
    init_ms: Option<f64>,
    billed: BilledMs,
    pub(super) status: Status,
    /// It ran out of memory.
    killed: bool,
}

impl Job {
    /// What it takes when it is let in, whenever that is.
    fn work_ms(&self, spec: &FunctionSpec) -> f64 {
        let drawn = || spec.duration.quantile(unit(derive(self.fate, 8)));
        self.request.run_ms.map_or_else(drawn, f64::from) * f64::from(self.request.stretch)
    }

    /// Whether this attempt fails.
    fn fails(&self, spec: &FunctionSpec) -> bool {
        let share = 1.0 - (1.0 - spec.error_share) * (1.0 - f64::from(self.request.error_share));
        share > 0.0 && unit(derive(self.fate, 16 + u64::from(self.attempts))) < share
    }

    /// Whether it needs more memory than there is.
    fn kills(&self, spec: &FunctionSpec) -> bool {
        self.request.needed_mb.is_some_and(|needed| needed > spec.memory.get())
    }

    /// How old it is.
    pub(super) fn age_ms(&self, now: EventTime) -> i64 {
        now.since_ms(self.request.at)
    }

    /// The id of an invocation that begins with this job. Retries of an asynchronous event keep
    /// it, a batch that is read again gets a new one.
    fn invocation_bits(&self) -> u64 {
        match self.request.way {
            Way::Sync | Way::Async => self.fate,
            Way::Queue | Way::Stream { .. } => derive(self.fate, 1_000 + u64::from(self.attempts)),
        }
    }
}

impl Flight {
    fn new(spec: &FunctionSpec, start: Start, first: Job, rest: Vec<Job>, now: EventTime) -> Self {
        let limit = f64::from(spec.timeout_ms);
        let wanted: f64 =
            first.work_ms(spec) + rest.iter().map(|job| job.work_ms(spec)).sum::<f64>();
        let duration_ms = wanted.min(limit);
        // Initialisation varies by a fifth around its mean.
        let spread = 0.8 + 0.4 * unit(derive(first.fate, 9));
        let init_ms = (start == Start::Cold).then(|| f64::from(spec.init_ms) * spread);
        let billed = BilledMs::try_from_f64(duration_ms + init_ms.unwrap_or(0.0));
        // The kernel kills what needs more than there is, and the next run starts anew (Lambda
        // developer guide, "Configure Lambda function memory" and "Execution environment").
        let killed = first.kills(spec) || rest.iter().any(|job| job.kills(spec));
        let status = if wanted >= limit {
            Status::Timeout
        } else if killed || first.fails(spec) || rest.iter().any(|job| job.fails(spec)) {
            Status::Error
        } else {
            Status::Success
        };
        let (bits, billed) = (first.invocation_bits(), billed.unwrap_or_default());
        Self { first, rest, received: now, bits, duration_ms, init_ms, billed, status, killed }
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl Platform {
    /// Takes an environment of a function; `None` at a limit.
    pub(super) fn start(&mut self, index: usize, is_sync: bool) -> Option<Start> {
        let function = &mut self.functions[index];
        let reserved = function.in_force.reserved;
        self.accounts[function.account].start(&mut function.pool, reserved, is_sync, self.now)
    }

    /// Runs jobs in an environment that was taken.
    pub(super) fn launch(
        &mut self,
        start: Start,
        first: Box<Job>,
        rest: Vec<Job>,
        received: EventTime,
    ) {
        let spec = &self.functions[first.request.function].spec;
        let flight = Flight { received, ..Flight::new(spec, start, *first, rest, self.now) };
        let done = self.now.plus_ms(i64::from(flight.billed.get()));
        self.spare.keep_job(first);
        let flight = self.spare.flight(flight);
        self.schedule(done, Event::Complete(flight));
    }

    /// An invocation is over.
    pub(super) fn complete(&mut self, mut flight: Box<Flight>) {
        let index = flight.first.request.function;
        let function = &mut self.functions[index];
        if flight.killed {
            function.pool.lose();
        } else {
            function.pool.finish(self.now);
        }
        self.accounts[function.account].finished(function.in_force.reserved);
        let kind = EntryKind::Invocation {
            duration_ms: flight.duration_ms,
            init_ms: flight.init_ms,
            billed: flight.billed,
            status: flight.status,
            used_mb: function.used_mb(&flight),
        };
        self.write(index, self.now, flight.bits, kind);
        self.bill(&flight);
        match flight.first.request.way {
            Way::Sync => self.answer_call(&flight),
            Way::Async => {
                let job = self.spare.job(flight.first);
                self.settle_async(job, flight.status);
            }
            Way::Queue => self.settle_queue(&flight),
            Way::Stream { key } => self.settle_stream(&mut flight, key),
        }
        self.spare.keep_flight(flight);
    }

    /// Books what an invocation used, each job of a batch with its share of the time.
    fn bill(&mut self, flight: &Flight) {
        let spec = &self.functions[flight.first.request.function].spec;
        let usage = MbMillis::of(flight.billed, spec.memory).0;
        if flight.rest.is_empty() {
            return self.bill_job(&flight.first, flight.status, 1, usage);
        }
        let works: Vec<f64> = flight.jobs().map(|job| job.work_ms(spec)).collect();
        let (total, mut passed) = (works.iter().sum::<f64>(), 0.0);
        let (mut billed, mut invocations) = (0, 1);
        for (place, (job, work)) in flight.jobs().zip(works).enumerate() {
            // Running totals are rounded down and the last one is the whole, so parts add up.
            passed += work;
            let is_last = place == flight.rest.len();
            let up_to = if is_last { usage } else { part(usage, passed / total).min(usage) };
            self.bill_job(job, flight.status, invocations, up_to - billed);
            (billed, invocations) = (up_to, 0);
        }
    }

    fn bill_job(&mut self, job: &Job, status: Status, invocations: u64, mb_ms: u64) {
        let (index, attack) = (job.request.function, job.request.attack);
        let log_bytes = u64::from(job.request.log_bytes);
        self.books.recorded(self.now, attack);
        self.books.book(self.now, index, attack, |counts| {
            counts.log_bytes += log_bytes;
            counts.usage = counts.usage.plus(MbMillis(mb_ms));
            counts.invocations += invocations;
            counts.failed += u64::from(status != Status::Success);
        });
    }

    /// The caller of a synchronous request hears of its end.
    fn answer_call(&mut self, flight: &Flight) {
        let job = &flight.first;
        // A handler that is cut off or fails answers nothing, and the gateway says so.
        let (status, ending) = match flight.status {
            Status::Success => (200, Ending::Served),
            Status::Error => (502, Ending::Failed),
            Status::Timeout => (504, Ending::TimedOut),
        };
        let arrived = self.now.plus_ms(-i64::from(flight.billed.get()));
        self.answer(job, arrived, status, true);
        self.tell(&job.request, ending);
    }

    /// Writes the access-log line of a request, if it came through an API.
    pub(super) fn answer(
        &mut self,
        job: &Job,
        arrived: EventTime,
        status: u16,
        is_integrated: bool,
    ) {
        let (index, attack) = (job.request.function, job.request.attack);
        if self.functions[index].spec.api.is_none() {
            return;
        }
        let response_bytes = response_bytes(status, job);
        let kind = EntryKind::Access {
            address: job.request.address,
            api_key: job.request.api_key,
            user_agent: job.request.user_agent,
            status,
            response_bytes,
            is_integrated,
        };
        self.write(index, arrived, job.fate, kind);
        self.books.recorded(self.now, attack);
        self.books.book(self.now, index, attack, |counts| counts.response_bytes += response_bytes);
    }

    /// Hands a record to the log pipeline.
    pub(super) fn write(&mut self, index: usize, at: EventTime, bits: u64, kind: EntryKind) {
        let function = u32::try_from(index).unwrap_or(u32::MAX);
        let entry = Entry { at, function, bits, sequence: 0, kind };
        if let Some((at, message)) = self.pipeline.put(self.now, entry, &self.settings) {
            self.schedule(at, Event::Deliver(message));
        }
    }
}

impl Function {
    /// Thirty to eighty percent of what is configured, the same for a function but for a few MB;
    /// more where a request needs more, up to what there is.
    fn used_mb(&self, flight: &Flight) -> u32 {
        let (memory, fate) = (self.spec.memory.get(), flight.bits);
        let base = memory * 3 / 10 + memory / 2 * u32::from(self.bits.to_le_bytes()[0]) / 255;
        let usual = base + u32::from(fate.to_le_bytes()[0] % 4);
        let needed = flight.jobs().filter_map(|job| job.request.needed_mb).max();
        needed.map_or(usual, |needed| needed.max(usual).min(memory))
    }
}

/// The gateway's own answers have fixed bodies; answers of functions have 200 to 8,000 bytes.
fn response_bytes(status: u16, job: &Job) -> u64 {
    match (status, job.request.response_bytes) {
        (403, _) => br#"{"message":"Forbidden"}"#.len() as u64,
        (429, _) => br#"{"message":"Too Many Requests"}"#.len() as u64,
        (502, _) => br#"{"message":"Internal server error"}"#.len() as u64,
        (504, _) => br#"{"message":"Endpoint request timed out"}"#.len() as u64,
        (_, Some(bytes)) => u64::from(bytes),
        (_, None) => 200 + below(derive(job.fate, 10), 7_800),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of the whole; float to integer `as` saturates"
)]
fn part(whole: u64, share: f64) -> u64 {
    (whole as f64 * share) as u64
}
