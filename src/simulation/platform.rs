//! A Lambda-like platform in virtual time: environments, concurrency limits, an API gateway in
//! front, a log pipeline behind, and a control plane whose changes take a while to arrive.
//!
//! Every event has a time and a number in order of creation, and is handled in that order.
//! Synchronous calls only: a refused direct invocation leaves nothing on the wire, as on the real
//! platform, and a refused API request leaves an access-log line.

mod model;
mod pool;
mod surface;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use core::net::IpAddr;

use crate::record::FunctionKey;
use crate::simulation::draw::{Draw, below, derive, unit};
use crate::simulation::wire::{
    AccessEntry, ApiKind, LogBatch, LogStream, Report, RequestId, access_line, gzip,
};
use crate::units::{AccountId, BilledMs, EventTime, MbMillis};

pub use model::{
    ApiSpec, Delivery, FUNCTIONS_MAX, FunctionSpec, Packing, PlatformError, PlatformSettings,
    Request, TIMEOUT_MS_MAX, Tally,
};
pub use surface::{Command, ControlError};

use model::check;
use pool::{Account, Pool, Start};

/// The most log events in one envelope: 500 REPORT lines are about 150 kB, well below the 1 MB
/// that a Kinesis record may have.
const BATCH_EVENTS_MAX: u32 = 500;

/// The platform.
#[derive(Debug)]
pub struct Platform {
    settings: PlatformSettings,
    now: EventTime,
    /// Numbers events and deliveries in order of creation.
    sequence: u64,
    functions: Vec<Function>,
    index: BTreeMap<FunctionKey, usize>,
    accounts: Vec<Account>,
    events: BTreeMap<(EventTime, u64), Event>,
    deliveries: BTreeMap<(EventTime, u64), Delivery>,
    /// As the control plane tells it; `blocked_in_force` is what the edge knows.
    blocked: BTreeSet<IpAddr>,
    blocked_in_force: BTreeSet<IpAddr>,
    /// When the latest command takes effect.
    effective: EventTime,
    fates: Draw,
    delays: Draw,
    /// Index 0 is legitimate, n + 1 is attack n.
    tallies: Vec<Tally>,
}

#[derive(Debug)]
struct Function {
    spec: FunctionSpec,
    account: usize,
    pool: Pool,
    /// As the control plane tells it.
    reserved: Option<u32>,
    reserved_in_force: Option<u32>,
    log: LogBatch,
    /// Tells a flush of the current batch from one of an earlier batch.
    log_number: u64,
    bits: u64,
}

/// Everything that can happen.
#[derive(Debug)]
enum Event {
    Arrive(Request, u64),
    Complete(Box<Flight>),
    Flush { function: usize, number: u64 },
    Reserve { function: usize, value: Option<u32> },
    Block(BTreeSet<IpAddr>),
}

/// A request that is running.
#[derive(Debug)]
struct Flight {
    request: Request,
    /// Random bits that decide everything about it.
    fate: u64,
    duration_ms: f64,
    init_ms: Option<f64>,
    billed: BilledMs,
    timed_out: bool,
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
            sequence: 0,
            functions: Vec::with_capacity(functions.len()),
            index: BTreeMap::new(),
            accounts: Vec::new(),
            events: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            blocked: BTreeSet::new(),
            blocked_in_force: BTreeSet::new(),
            effective: EventTime::MIN,
            fates: Draw::new(seed, 1),
            delays: Draw::new(seed, 2),
            tallies: vec![Tally::default()],
            settings,
        };
        let mut accounts: BTreeMap<(AccountId, Box<str>), usize> = BTreeMap::new();
        for (index, spec) in functions.into_iter().enumerate() {
            let place = (spec.key.account, spec.key.region.clone());
            let account = *accounts.entry(place).or_insert_with(|| {
                platform.accounts.push(Account::new(platform.settings.concurrency));
                platform.accounts.len() - 1
            });
            if platform.index.insert(spec.key.clone(), index).is_some() {
                return Err(PlatformError::Duplicate(spec.key));
            }
            platform.functions.push(Function {
                account,
                pool: Pool::new(&platform.settings),
                reserved: None,
                reserved_in_force: None,
                log: LogBatch::default(),
                log_number: 0,
                bits: derive(seed, index as u64),
                spec,
            });
        }
        for index in 0..platform.functions.len() {
            if let Some(value) = platform.functions[index].spec.reserved {
                platform.check_reservation(index, value)?;
                platform.functions[index].reserved = Some(value);
                platform.reserve(index, Some(value));
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
        let slots = tally_index(request.attack) + 1;
        if self.tallies.len() < slots {
            self.tallies.resize(slots, Tally::default());
        }
        let fate = self.fates.bits();
        self.schedule(request.at, Event::Arrive(request, fate));
    }

    /// Moves time to `until`, and appends what the log pipeline delivers up to then, in order.
    pub fn advance(&mut self, until: EventTime, out: &mut Vec<Delivery>) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.handle(event);
        }
        self.now = self.now.max(until);
        while let Some(entry) = self.deliveries.first_entry() {
            if entry.key().0 > until {
                break;
            }
            out.push(entry.remove());
        }
    }

    /// When something happens next, unless more is offered; `None` when all is done and delivered.
    pub fn next_at(&self) -> Option<EventTime> {
        let event = self.events.first_key_value().map(|(key, _)| key.0);
        let delivery = self.deliveries.first_key_value().map(|(key, _)| key.0);
        event.into_iter().chain(delivery).min()
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

    /// Ground truth: legitimate requests (`None`), or those of one attack.
    pub fn tally(&self, attack: Option<u16>) -> Tally {
        self.tallies.get(tally_index(attack)).copied().unwrap_or_default()
    }

    /// Changes how long log events are collected, for batches that begin from now on.
    pub fn set_batch_ms(&mut self, batch_ms: u32) {
        self.settings.batch_ms = batch_ms;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive(request, fate) => self.arrive(request, fate),
            Event::Complete(flight) => self.complete(&flight),
            Event::Flush { function, number } => {
                if self.functions[function].log_number == number {
                    self.flush(function);
                }
            }
            Event::Reserve { function, value } => self.reserve(function, value),
            Event::Block(addresses) => self.blocked_in_force = addresses,
        }
    }

    fn arrive(&mut self, request: Request, fate: u64) {
        let now = self.now;
        let tally = &mut self.tallies[tally_index(request.attack)];
        tally.offered += 1;
        let function = &mut self.functions[request.function];
        let rest = function.spec.api.as_ref().is_some_and(|api| api.kind == ApiKind::Rest);
        let known = |address| self.blocked_in_force.contains(&address);
        if rest && request.address.is_some_and(known) {
            tally.blocked += 1;
            self.answer(&request, now, fate, 403, None);
            return;
        }
        let account = &mut self.accounts[function.account];
        let reserved = function.reserved_in_force;
        let start = match account.admits(reserved, function.pool.busy()) {
            true => function.pool.start(now),
            false => None,
        };
        let Some(start) = start else {
            tally.throttled += 1;
            self.answer(&request, now, fate, 429, None);
            return;
        };
        tally.served += 1;
        account.started(reserved);
        let flight = function.spec.flight(request, fate, start);
        let done = now.plus_ms(i64::from(flight.billed.get()));
        self.schedule(done, Event::Complete(Box::new(flight)));
    }

    fn complete(&mut self, flight: &Flight) {
        let index = flight.request.function;
        let function = &mut self.functions[index];
        function.pool.finish(self.now);
        self.accounts[function.account].finished(function.reserved_in_force);
        let tally = &mut self.tallies[tally_index(flight.request.attack)];
        tally.usage = tally.usage.plus(MbMillis::of(flight.billed, function.spec.memory));
        let id = RequestId::new(flight.fate, 0);
        let report = Report {
            request_id: id,
            duration_ms: flight.duration_ms,
            billed: flight.billed,
            memory: function.spec.memory,
            used_mb: function.used_mb(flight.fate),
            init_ms: flight.init_ms,
            timed_out: flight.timed_out,
        };
        self.sequence += 1;
        function.log.push(self.now, self.sequence, &report);
        let (count, number) = (function.log.count(), function.log_number);
        if count >= BATCH_EVENTS_MAX {
            self.flush(index);
        } else if count == 1 {
            let at = self.now.plus_ms(i64::from(self.settings.batch_ms));
            self.schedule(at, Event::Flush { function: index, number });
        }
        let arrived = self.now.plus_ms(-i64::from(flight.billed.get()));
        // A handler that is cut off answers nothing, and the gateway says so.
        let status = if flight.timed_out { 504 } else { 200 };
        self.answer(&flight.request, arrived, flight.fate, status, Some(id));
    }

    /// Writes the access-log line of a request, if it came through an API.
    fn answer(
        &mut self,
        request: &Request,
        arrived: EventTime,
        fate: u64,
        status: u16,
        integration: Option<RequestId>,
    ) {
        let spec = &self.functions[request.function].spec;
        let line = spec.api.as_ref().map(|api| {
            access_line(&AccessEntry {
                request_id: RequestId::new(fate, 1),
                address: request.address,
                at: arrived,
                kind: api.kind,
                method: &api.method,
                route: &api.route,
                status,
                response_bytes: response_bytes(status, fate),
                api_id: &api.api_id,
                stage: &api.stage,
                account: spec.key.account,
                api_key: request.api_key,
                user_agent: request.user_agent,
                integration,
            })
        });
        if integration.is_some() || line.is_some() {
            let tally = &mut self.tallies[tally_index(request.attack)];
            tally.first_record.get_or_insert(self.now);
            tally.last_record = Some(self.now);
        }
        if let Some(line) = line {
            self.deliver(line, 1);
        }
    }

    fn flush(&mut self, function: usize) {
        let function = &mut self.functions[function];
        function.log_number += 1;
        let records = function.log.count();
        let stream = LogStream { at: self.now, bits: function.bits };
        let key = &function.spec.key;
        let envelope = function.log.envelope(key.account, &key.name, &stream);
        match self.settings.packing {
            Packing::Plain => self.deliver(envelope, records),
            Packing::Gzip => self.deliver(gzip(&envelope), records),
        }
    }

    fn deliver(&mut self, payload: Vec<u8>, records: u32) {
        let (low, high) = (self.settings.delay_ms_min, self.settings.delay_ms_max);
        let delay = u64::from(low) + self.delays.below(u64::from(high - low) + 1);
        let at = self.now.plus_ms(delay.cast_signed());
        self.sequence += 1;
        self.deliveries.insert((at, self.sequence), Delivery { at, payload, records });
    }

    fn schedule(&mut self, at: EventTime, event: Event) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), event);
    }
}

impl FunctionSpec {
    /// What this request will do when it starts now.
    fn flight(&self, request: Request, fate: u64, start: Start) -> Flight {
        let limit = f64::from(self.timeout_ms);
        let wanted = self.duration.quantile(unit(derive(fate, 8)));
        let duration_ms = wanted.min(limit);
        // Initialisation varies by a fifth around its mean.
        let spread = 0.8 + 0.4 * unit(derive(fate, 9));
        let init_ms = (start == Start::Cold).then(|| f64::from(self.init_ms) * spread);
        let billed = BilledMs::try_from_f64(duration_ms + init_ms.unwrap_or(0.0));
        Flight {
            request,
            fate,
            duration_ms,
            init_ms,
            billed: billed.unwrap_or_default(),
            timed_out: wanted >= limit,
        }
    }
}

impl Function {
    /// Thirty to eighty percent of what is configured, the same for a function but for a few MB.
    fn used_mb(&self, fate: u64) -> u32 {
        let memory = self.spec.memory.get();
        let base = memory * 3 / 10 + memory / 2 * u32::from(self.bits.to_le_bytes()[0]) / 255;
        base + u32::from(fate.to_le_bytes()[0] % 4)
    }
}

fn tally_index(attack: Option<u16>) -> usize {
    attack.map_or(0, |attack| usize::from(attack) + 1)
}

/// The gateway's own refusals have fixed bodies; answers of functions have 200 to 8,000 bytes.
fn response_bytes(status: u16, fate: u64) -> u64 {
    match status {
        403 => br#"{"message":"Forbidden"}"#.len() as u64,
        429 => br#"{"message":"Too Many Requests"}"#.len() as u64,
        504 => br#"{"message":"Endpoint request timed out"}"#.len() as u64,
        _ => 200 + below(derive(fate, 10), 7_800),
    }
}
