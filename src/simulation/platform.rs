//! A Lambda-like platform in virtual time: environments, concurrency limits, an API gateway in
//! front, queues and streams beside it, a log pipeline behind, and a control plane whose changes
//! take a while to arrive.
//!
//! Every event has a time, and events of one time are handled in the order of their creation. A
//! refused direct invocation leaves nothing on the wire, as on the real platform, and a refused
//! API request leaves an access-log line.

mod bucket;
mod calendar;

mod model;
mod request;

mod ledger;
mod pool;

mod flight;
mod spare;

mod asynchronous;
mod queue;
mod stream;

mod entry;
mod pipeline;

mod control;

mod tariff;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use core::net::IpAddr;

use crate::record::{FunctionKey, Record};
use crate::simulation::draw::{Draw, derive};
use crate::simulation::wire::{ApiKind, LogBatch, gzip};
use crate::units::{AccountId, EventTime};

pub use control::{Command, ControlError, Controls, StageLimit};
pub use entry::Entry;
pub use ledger::{Counts, LedgerRow, Tally};
pub use model::{
    ApiSpec, AsyncSpec, FUNCTIONS_MAX, FunctionSpec, Origin, Packing, PipelineFaults,
    PlatformError, PlatformSettings, QueueSpec, StreamSpec, TIMEOUT_MS_MAX,
};
pub use pipeline::{Delivery, Feed, Payload};
pub use request::{Ending, Outcome, Request, Way};
pub use tariff::Tariff;

use bucket::Bucket;
use calendar::Calendar;
use control::{Effect, Stage};
use entry::{EntryKind, envelope};
use flight::{Flight, Job};
use ledger::Books;
use model::check;
use pipeline::Pipeline;
use pool::{Account, Pool};
use queue::{Held, Queue};
use spare::Spare;
use stream::Lane;

/// The most asynchronous, queue and stream events of one platform that are not settled; further
/// ones are given up at once. They hold about half a gigabyte.
pub const BACKLOG_MAX: u64 = 4_000_000;

/// The platform.
#[derive(Debug, Clone)]
pub struct Platform {
    settings: PlatformSettings,
    now: EventTime,
    functions: Vec<Function>,
    index: BTreeMap<FunctionKey, usize>,
    accounts: Vec<Account>,
    stages: Vec<Stage>,
    events: Calendar<Event>,
    pipeline: Pipeline,
    /// As the control plane tells it; `blocked_in_force` is what the edge knows.
    blocked: BTreeSet<IpAddr>,
    blocked_in_force: BTreeSet<IpAddr>,
    /// Control calls that may still be made.
    calls: Bucket,
    /// When the latest command takes effect.
    effective: EventTime,
    fates: Draw,
    books: Books,
    outcomes: Vec<Outcome>,
    /// Events that are not settled.
    backlog: u64,
    spare: Spare,
}

#[derive(Debug, Clone)]
struct Function {
    spec: FunctionSpec,
    /// Method and path of its API.
    route: String,
    account: usize,
    stage: Option<usize>,
    pool: Pool,
    /// As the control plane tells it.
    told: Controls,
    in_force: Controls,
    queue: Queue,
    lanes: Vec<Lane>,
    /// Events that are not settled.
    backlog: u64,
    bits: u64,
}

/// Everything that can happen. What belongs to it is boxed: events are moved often.
#[derive(Debug, Clone)]
enum Event {
    Arrive(Box<Job>),
    Complete(Box<Flight>),
    /// An asynchronous event tries again.
    Retry(Box<Job>),
    /// A poller tries again with its batch.
    Hold(Box<Held>),
    /// A message comes back.
    Visible(Box<Job>),
    /// More pollers may be there.
    Poll {
        function: usize,
    },
    /// The wait of a part of a stream is over.
    Resume {
        function: usize,
        lane: usize,
    },
    Deliver(u32),
    Effect(Box<Effect>),
}

impl Platform {
    /// A platform on which nothing has happened yet.
    ///
    /// # Errors
    /// Functions or settings that the real platform would refuse.
    pub fn new(
        seed: u64,
        settings: PlatformSettings,
        functions: Vec<FunctionSpec>,
    ) -> Result<Self, PlatformError> {
        check(&settings, &functions)?;
        let mut platform = Self {
            now: EventTime::MIN,
            functions: Vec::with_capacity(functions.len()),
            index: BTreeMap::new(),
            accounts: Vec::new(),
            stages: Vec::new(),
            events: Calendar::new(EventTime::MIN),
            pipeline: Pipeline::new(seed, functions.len()),
            blocked: BTreeSet::new(),
            blocked_in_force: BTreeSet::new(),
            calls: Bucket::new(settings.control_rps, 1_000, settings.control_rps),
            effective: EventTime::MIN,
            fates: Draw::new(seed, 1),
            books: Books::new(functions.len(), settings.ledger),
            outcomes: Vec::new(),
            backlog: 0,
            spare: Spare::default(),
            settings,
        };
        let mut accounts: BTreeMap<(AccountId, Box<str>), usize> = BTreeMap::new();
        let mut stages: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (index, spec) in functions.into_iter().enumerate() {
            let place = (spec.key.account, spec.key.region.clone());
            let account = *accounts.entry(place).or_insert_with(|| {
                platform.accounts.push(Account::new(&platform.settings));
                platform.accounts.len() - 1
            });
            let stage = spec.api.as_ref().map(|api| {
                *stages.entry((api.api_id.clone(), api.stage.clone())).or_insert_with(|| {
                    platform.stages.push(Stage::default());
                    platform.stages.len() - 1
                })
            });
            if platform.index.insert(spec.key.clone(), index).is_some() {
                return Err(PlatformError::Duplicate(spec.key));
            }
            let pool = Pool::new(&platform.settings);
            let bits = derive(seed, index as u64);
            platform.functions.push(Function::new(spec, account, stage, pool, bits));
        }
        for index in 0..platform.functions.len() {
            if let Some(value) = platform.functions[index].spec.reserved {
                platform.check_reservation(index, value)?;
                let told = Controls { reserved: Some(value), ..platform.functions[index].told };
                platform.functions[index].told = told;
                platform.take_effect(Effect::Function(index, told));
            }
        }
        Ok(platform)
    }

    /// Announces a request. What will become of it is drawn here, whether or not it is let in.
    ///
    /// # Panics
    /// When there is no such function.
    pub fn offer(&mut self, request: Request) {
        assert!(request.function < self.functions.len(), "no such function");
        let job = Job { request, fate: self.fates.bits(), attempts: 0, waits: 0 };
        let job = self.spare.job(job);
        self.schedule(request.at, Event::Arrive(job));
    }

    /// Moves time to `until`, and appends what the log pipeline delivers up to then, in order.
    ///
    /// # Panics
    /// When a ledger is kept and eight million rows of it were not taken.
    pub fn advance(&mut self, until: EventTime, out: &mut Vec<Delivery>) {
        while let Some((at, event)) = self.events.pop(until) {
            self.now = at;
            self.handle(event, out);
        }
        self.now = self.now.max(until);
    }

    /// When something happens next, unless more is offered; `None` when all is done and delivered.
    pub fn next_at(&self) -> Option<EventTime> {
        let last = Some(self.pipeline.last).filter(|last| *last > self.now);
        self.events.next_at().or(last)
    }

    /// From now on nobody reads what the log pipeline delivers. All else goes on as it would.
    pub fn mute(&mut self) {
        self.pipeline.mute();
    }

    /// Appends what clients have heard since the last time, in order.
    pub fn take_outcomes(&mut self, out: &mut Vec<Outcome>) {
        out.append(&mut self.outcomes);
    }

    /// Appends what the ledger has gathered since the last time; a second may come in two parts.
    /// Empty unless the settings ask for a ledger.
    pub fn take_ledger(&mut self, out: &mut Vec<LedgerRow>) {
        self.books.take_rows(out);
    }

    /// Tells the records of a delivery that was made as values, as a reader of the text would find
    /// them.
    pub fn read(&self, delivery: &Delivery, tell: &mut dyn FnMut(&Record<'_>)) {
        if let Payload::Entries(entries) = &delivery.payload {
            for entry in entries {
                let function = &self.functions[entry.function as usize];
                entry.tell(&function.spec, &function.route, tell);
            }
        }
    }

    /// The time reached.
    pub fn now(&self) -> EventTime {
        self.now
    }

    /// The functions, in the order given.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionSpec> {
        self.functions.iter().map(|function| &function.spec)
    }

    /// Running invocations of a function.
    pub fn busy(&self, function: usize) -> u32 {
        self.functions.get(function).map_or(0, |function| function.pool.busy())
    }

    /// Environments of a function, running or idle.
    pub fn environments(&self, function: usize) -> usize {
        let function = self.functions.get(function);
        function.map_or(0, |function| function.pool.environments(self.now))
    }

    /// Asynchronous, queue and stream events of a function that are not settled.
    pub fn backlog(&self, function: usize) -> u64 {
        self.functions.get(function).map_or(0, |function| function.backlog)
    }

    /// Messages of the log pipeline that came or will come late, twice, out of order or never.
    pub fn faulty(&self) -> u64 {
        self.pipeline.faulty
    }

    /// Ground truth: legitimate requests (`None`), or those of one attack.
    pub fn tally(&self, attack: Option<u16>) -> Tally {
        self.books.tally(attack)
    }

    /// Changes how long log events are collected, for batches that begin from now on.
    pub fn set_batch_ms(&mut self, batch_ms: u32) {
        self.settings.batch_ms = batch_ms;
    }

    fn handle(&mut self, event: Event, out: &mut Vec<Delivery>) {
        match event {
            Event::Arrive(job) => self.arrive(job),
            Event::Complete(flight) => self.complete(flight),
            Event::Retry(job) => self.try_async(job),
            Event::Hold(held) => self.hand_over(*held),
            Event::Visible(job) => self.enqueue(job),
            Event::Poll { function } => self.poll_again(function),
            Event::Resume { function, lane } => self.resume(function, lane),
            Event::Deliver(message) => self.deliver(message, out),
            Event::Effect(effect) => self.take_effect(*effect),
        }
    }

    fn arrive(&mut self, mut job: Box<Job>) {
        job.request.at = self.now;
        let (index, way) = (job.request.function, job.request.way);
        self.books.book(self.now, index, job.request.attack, |counts| counts.offered += 1);
        if way == Way::Sync {
            return self.call(job);
        }
        self.functions[index].backlog += 1;
        self.backlog += 1;
        if self.functions[index].spec.origin.is_some() {
            let (principal, is_invocation) = (job.request.api_key, way == Way::Async);
            self.write(index, self.now, job.fate, EntryKind::Event { principal, is_invocation });
        }
        if self.backlog > BACKLOG_MAX {
            return self.settle(&job, Ending::Dead);
        }
        match way {
            Way::Sync | Way::Async => self.try_async(job),
            Way::Queue => self.enqueue(job),
            Way::Stream { key } => self.append(job, key),
        }
    }

    /// A synchronous request: through the edge, if there is an API, and to the function.
    fn call(&mut self, job: Box<Job>) {
        let (index, attack) = (job.request.function, job.request.attack);
        let start = match self.pass_edge(&job) {
            Err(ending) => Err(ending),
            Ok(()) => self.start(index, true).ok_or(Ending::Throttled),
        };
        match start {
            Ok(start) => {
                self.books.book(self.now, index, attack, |counts| counts.served += 1);
                self.launch(start, job, Vec::new(), self.now);
            }
            Err(ending) => {
                self.books.book(self.now, index, attack, |counts| *counts.of(ending) += 1);
                let status = if ending == Ending::Blocked { 403 } else { 429 };
                self.answer(&job, self.now, status, false);
                self.tell(&job.request, ending);
                self.spare.keep_job(job);
            }
        }
    }

    /// The firewall, then the limits of the gateway.
    fn pass_edge(&mut self, job: &Job) -> Result<(), Ending> {
        let function = &self.functions[job.request.function];
        let Some(api) = &function.spec.api else {
            return Ok(());
        };
        let known = |address| self.blocked_in_force.contains(&address);
        if api.kind == ApiKind::Rest && job.request.address.is_some_and(known) {
            return Err(Ending::Blocked);
        }
        let stage = function.stage.and_then(|stage| self.stages[stage].bucket.as_mut());
        if stage.is_some_and(|bucket| !bucket.take(self.now))
            || !self.accounts[function.account].gateway.take(self.now)
        {
            return Err(Ending::Limited);
        }
        Ok(())
    }

    /// An asynchronous, queue or stream event is settled for good.
    fn settle(&mut self, job: &Job, ending: Ending) {
        let (index, attack) = (job.request.function, job.request.attack);
        self.functions[index].backlog -= 1;
        self.backlog -= 1;
        self.books.book(self.now, index, attack, |counts| *counts.of(ending) += 1);
        self.tell(&job.request, ending);
    }

    /// An attempt of such an event found no room.
    fn defer(&mut self, job: &Job) {
        let (index, attack) = (job.request.function, job.request.attack);
        self.books.book(self.now, index, attack, |counts| counts.deferred += 1);
    }

    fn tell(&mut self, request: &Request, ending: Ending) {
        if let Some(client) = request.client {
            self.outcomes.push(Outcome { client, at: self.now, ending });
        }
    }

    /// A message arrives.
    fn deliver(&mut self, number: u32, out: &mut Vec<Delivery>) {
        let mut message = self.pipeline.take(number);
        if let Some(again_ms) = message.again_ms.take() {
            let copy = self.pipeline.keep(message.clone());
            self.schedule(self.now.plus_ms(again_ms), Event::Deliver(copy));
        }
        if message.is_lost {
            return;
        }
        let at = self.now;
        let Some(first) = message.entries.first() else {
            return;
        };
        if self.settings.packing == Packing::Typed {
            return out.push(Delivery { at, payload: Payload::Entries(message.entries) });
        }
        let function = &self.functions[first.function as usize];
        let mut batch = LogBatch::default();
        let write = |line, entry: &Entry| entry.write(&function.spec, &mut batch).or(line);
        let line = message.entries.iter().fold(None, write);
        let records = batch.count().max(1);
        let bytes = line.unwrap_or_else(|| {
            let plain = envelope(&function.spec, function.bits, message.opened, &mut batch);
            if self.settings.packing == Packing::Gzip { gzip(&plain) } else { plain }
        });
        out.push(Delivery { at, payload: Payload::Text { bytes, records } });
    }

    fn schedule(&mut self, at: EventTime, event: Event) {
        self.events.push(at.max(self.now), event);
    }
}

impl Function {
    fn new(
        spec: FunctionSpec,
        account: usize,
        stage: Option<usize>,
        pool: Pool,
        bits: u64,
    ) -> Self {
        let told = Controls {
            // A reservation takes its share of the account when all functions are there.
            reserved: None,
            queue_concurrency: spec.queue.concurrency,
            is_reading: true,
            asynchronous: spec.asynchronous,
        };
        let lanes = usize::from(spec.stream.shards) * usize::from(spec.stream.parallel);
        Self {
            route: spec.api.as_ref().map_or_else(String::new, ApiSpec::route_key),
            account,
            stage,
            pool,
            told,
            in_force: told,
            queue: Queue::default(),
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            backlog: 0,
            bits,
            spec,
        }
    }
}
