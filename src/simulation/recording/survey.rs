//! The first reading: which functions were called, how often and for how long, how far the records
//! are from the order of time, and what makes them no load.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::callers::{ByRequest, invocation_id, request_of};
use super::{Files, LAG_MS_MAX, id_bits, name_bits};
use crate::record::{
    Architecture, FunctionKey, Invocation, Record, RouteRef, Status, Target, Trigger, TriggerKind,
};
use crate::simulation::draw::derive;
use crate::simulation::duration::{DURATION_MS_MIN, DurationModel};
use crate::simulation::platform::{
    ApiSpec, FUNCTIONS_MAX, FunctionSpec, Origin, QueueSpec, StreamSpec,
};
use crate::simulation::wire::ApiKind;
use crate::units::{EventTime, MemoryMb, whole};

/// Messages in a row that are too late to matter, after which nobody reads on: a single one may
/// only be misdated.
const LATE_MESSAGES: u32 = 1_000;

/// So few calls at the beginning do not belong to the others, if these come much later: what is
/// misdated would leave nothing of the rest to be played.
const STRAY_CALLS: u64 = 10;

/// Messages without an invocation, after which there will be none: it is an access log.
const LOG_MESSAGES: u64 = 100_000;

/// Requests and runs that are remembered until the other one of a pair comes, some 20 MB. One pair
/// of each function is enough.
const PAIRS_MAX: usize = 1 << 16;

/// Bins in which durations are counted, for each doubling: 4 % wide.
const BINS_PER_DOUBLING: f64 = 16.0;

/// What is in a recording.
#[derive(Debug, Default)]
pub struct Survey {
    /// Recorded functions, by name. Where no invocation is recorded, those that requests name.
    pub functions: BTreeMap<FunctionKey, Seen>,
    /// Requests that name no function, by minute.
    pub unnamed: BTreeMap<i64, u32>,
    /// Invocations are recorded, not only requests.
    pub has_invocations: bool,
    /// The first call.
    pub first: Option<EventTime>,
    /// The last one.
    pub last: Option<EventTime>,
    /// How far records are from the order of their calls, in milliseconds.
    pub lag_ms: i64,
    /// Fingerprint of the calls.
    pub digest: u64,
    /// What the files were as far as can be told without reading them.
    pub stamp: u64,
    calls: u64,
    messages: u64,
    newest: Option<EventTime>,
    late: u32,
    doors: ByRequest<Door, PAIRS_MAX>,
    /// Of functions whose way is not known.
    runs: ByRequest<FunctionKey, PAIRS_MAX>,
}

/// What was seen of a function.
#[derive(Debug, Default)]
pub struct Seen {
    /// Calls by minute.
    pub minutes: BTreeMap<i64, u32>,
    memory: Option<MemoryMb>,
    architecture: Option<Architecture>,
    /// Of its runs, by logarithm.
    durations: BTreeMap<u16, u64>,
    longest_ms: f64,
    /// The longest of those that were cut off.
    timeout_ms: Option<f64>,
    init: (f64, u32),
    door: Option<Door>,
}

/// How calls come to a function.
#[derive(Debug, Clone)]
struct Door {
    kind: TriggerKind,
    origin: String,
    /// API, stage and route, where they are told.
    route: Option<(String, String, String)>,
}

impl Survey {
    /// Reads `files` until `span_ms` after the first call.
    ///
    /// # Errors
    /// What makes them no load, in words.
    pub fn of(files: &Files, span_ms: i64) -> Result<Self, String> {
        // Requests count only where there are no invocations, which is not known before the end.
        let mut survey = Self::read(files, span_ms, true)?;
        if survey.functions.is_empty() && survey.first.is_none() {
            survey = Self::read(files, span_ms, false)?;
        }
        Ok(survey)
    }

    fn read(files: &Files, span_ms: i64, has_invocations: bool) -> Result<Self, String> {
        let mut records = (files.open)(files)?;
        let stamp = records.stamp();
        let mut survey = Self { has_invocations, stamp, ..Self::default() };
        let mut wrong = None;
        while records.message(&mut |record| {
            let noted = survey.note(record, span_ms);
            wrong = wrong.take().or(noted.err());
        })? {
            survey.messages += 1;
            if wrong.is_some() {
                break;
            }
            let is_log = survey.first.is_none() && survey.messages >= LOG_MESSAGES;
            if survey.late >= LATE_MESSAGES || is_log {
                break;
            }
        }
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        if survey.first.is_none() && !has_invocations {
            let (count, why) = records.refused();
            let why = why.map_or(String::new(), |why| format!(", {count} parts refused: {why}"));
            return Err(format!(
                "no calls in {} messages{why}; give access logs, or records as bursar replay reads \
                 them",
                survey.messages
            ));
        }
        Ok(survey)
    }

    fn note(&mut self, record: &Record<'_>, span_ms: i64) -> Result<(), String> {
        match (record, self.has_invocations) {
            (Record::Invocation(invocation), true) => {
                let start = started(invocation);
                self.pass(invocation.at, start, span_ms)?;
                let seen = self.seen(invocation.function.to_key())?;
                seen.run(invocation);
                seen.count(start);
                if seen.door.is_none()
                    && let Some(id) = invocation.request_id.map(id_bits)
                {
                    self.look_for_door(invocation, id);
                }
                let billed = u64::from(invocation.billed.get());
                self.digest(start, name_bits(invocation.function) ^ billed.rotate_left(32));
            }
            (Record::Invocation(_), false) => {}
            (_, true) => {
                if let Some(trigger) = request_of(record) {
                    self.note_door(trigger);
                }
            }
            (_, false) => {
                if let Some(trigger) = request_of(record) {
                    self.pass(trigger.at, trigger.at, span_ms)?;
                    match trigger.target {
                        Target::Function(function) => {
                            self.seen(function.to_key())?.count(trigger.at);
                        }
                        Target::Route(_) => count(&mut self.unnamed, trigger.at),
                    }
                    let caller = trigger
                        .source
                        .address
                        .map_or(0, |address| xxh3_64(address.to_string().as_bytes()));
                    self.digest(trigger.at, caller);
                }
            }
        }
        Ok(())
    }

    /// A record at `told` about a call at `start` is read.
    fn pass(&mut self, told: EventTime, start: EventTime, span_ms: i64) -> Result<(), String> {
        let gap_ms = self.last.map_or(0, |last| start.since_ms(last));
        if self.calls > 0 && self.calls <= STRAY_CALLS && gap_ms > LAG_MS_MAX {
            return Err(format!(
                "the first calls are {} minutes before all others, at {}; leave them out",
                gap_ms / 60_000,
                self.first.unwrap_or(start)
            ));
        }
        self.calls += 1;
        let first = *self.first.get_or_insert(start);
        self.first = Some(first.min(start));
        self.last = self.last.max(Some(start));
        let newest = told.max(self.newest.unwrap_or(told));
        self.newest = Some(newest);
        let lag_ms = newest.since_ms(start);
        if lag_ms > LAG_MS_MAX {
            return Err(format!(
                "times go back by {} minutes at message {}, accepted: {} minutes; sort the records \
                 by time",
                lag_ms / 60_000,
                self.messages + 1,
                LAG_MS_MAX / 60_000
            ));
        }
        self.lag_ms = self.lag_ms.max(lag_ms);
        let is_late = start.since_ms(first) > span_ms + 2 * LAG_MS_MAX;
        self.late = if is_late { self.late + 1 } else { 0 };
        Ok(())
    }

    fn digest(&mut self, at: EventTime, bits: u64) {
        self.digest = derive(self.digest ^ bits, at.ms().unsigned_abs());
    }

    fn seen(&mut self, function: FunctionKey) -> Result<&mut Seen, String> {
        if self.functions.len() >= FUNCTIONS_MAX && !self.functions.contains_key(&function) {
            return Err(format!("more than {FUNCTIONS_MAX} functions; keep the busiest only"));
        }
        Ok(self.functions.entry(function).or_default())
    }

    fn note_door(&mut self, trigger: &Trigger<'_>) {
        let route = match trigger.target {
            Target::Route(route) => Some(route),
            Target::Function(_) => None,
        };
        let texts = |route: RouteRef<'_>| {
            (route.api.to_owned(), route.stage.to_owned(), route.route.to_owned())
        };
        let origin = trigger.source.origin.unwrap_or_default().to_owned();
        let door = Door { kind: trigger.kind, origin, route: route.map(texts) };
        let id = invocation_id(trigger).map(id_bits);
        let function = match trigger.target {
            Target::Function(function) => Some(function.to_key()),
            Target::Route(_) => id.and_then(|id| self.runs.get(id)).cloned(),
        };
        match function.and_then(|function| self.functions.get_mut(&function)) {
            Some(seen) => {
                seen.door.get_or_insert(door);
            }
            None => {
                if let Some(id) = id {
                    self.doors.put(id, trigger.at, door);
                }
            }
        }
    }

    /// The request may have been told before its run, or will be after it.
    fn look_for_door(&mut self, invocation: &Invocation<'_>, id: u64) {
        let function = invocation.function.to_key();
        match self.doors.get(id) {
            Some(door) => {
                if let Some(seen) = self.functions.get_mut(&function) {
                    seen.door = Some(door.clone());
                }
            }
            None => self.runs.put(id, invocation.at, function),
        }
    }
}

/// When a recorded invocation began.
pub(super) fn started(invocation: &Invocation<'_>) -> EventTime {
    invocation.at.plus_ms(-i64::from(invocation.billed.get()))
}

/// How long its handler ran, in milliseconds: what is billed has the initialisation in it.
pub(super) fn run_ms(invocation: &Invocation<'_>) -> f64 {
    let init_ms = f64::from(invocation.init_ms.unwrap_or(0.0));
    (f64::from(invocation.billed.get()) - init_ms).max(DURATION_MS_MIN)
}

fn count(minutes: &mut BTreeMap<i64, u32>, at: EventTime) {
    let count = minutes.entry(at.minute()).or_default();
    *count = count.saturating_add(1);
}

impl Seen {
    fn count(&mut self, at: EventTime) {
        count(&mut self.minutes, at);
    }

    fn run(&mut self, invocation: &Invocation<'_>) {
        let ms = run_ms(invocation);
        self.memory = self.memory.max(Some(invocation.memory));
        self.architecture = self.architecture.or(invocation.architecture);
        *self.durations.entry(bin(ms)).or_default() += 1;
        self.longest_ms = self.longest_ms.max(ms);
        if invocation.status == Status::Timeout {
            self.timeout_ms = Some(self.timeout_ms.unwrap_or(0.0).max(ms));
        }
        if let Some(init_ms) = invocation.init_ms {
            self.init = (self.init.0 + f64::from(init_ms), self.init.1 + 1);
        }
    }

    /// The function as it would have to be deployed to have these records. Its API is taken for a
    /// REST API; a mapping hands out one event at a time, because each recorded run is a call.
    pub fn spec(&self, key: &FunctionKey) -> Option<FunctionSpec> {
        let usual = FunctionSpec::new(key.clone(), self.memory?, self.duration()?);
        let mean_init = self.init.0 / f64::from(self.init.1.max(1));
        let init_ms = u32::try_from(whole(mean_init)).unwrap_or(u32::MAX);
        let timeout = self.timeout_ms.and_then(|ms| u32::try_from(whole(ms)).ok());
        let kind = self.door.as_ref().map(|door| door.kind);
        let api = match kind {
            Some(TriggerKind::ApiGateway | TriggerKind::LoadBalancer) => Some(ApiKind::Rest),
            Some(TriggerKind::FunctionUrl) => Some(ApiKind::Http),
            _ => None,
        };
        let is_event = api.is_none() && !matches!(kind, None | Some(TriggerKind::Other));
        let origin = |door: &Door| Origin { kind: door.kind, name: door.origin.clone() };
        Some(FunctionSpec {
            architecture: self.architecture.unwrap_or_default(),
            init_ms: if self.init.1 > 0 { init_ms } else { usual.init_ms },
            timeout_ms: timeout.unwrap_or(usual.timeout_ms).min(usual.timeout_ms),
            api: api.map(|kind| self.api(key, kind)),
            origin: self.door.as_ref().filter(|_| is_event).map(origin),
            queue: QueueSpec { batch: 1, ..usual.queue },
            stream: StreamSpec { batch: 1, shards: 100, parallel: 10, ..usual.stream },
            ..usual
        })
    }

    fn api(&self, key: &FunctionKey, kind: ApiKind) -> ApiSpec {
        let route = self.door.as_ref().and_then(|door| door.route.clone());
        let (api, stage, route) = route.unwrap_or_default();
        let (method, path) = route.split_once(' ').unwrap_or(("GET", &route));
        let or = |text: &str, usual: &str| if text.is_empty() { usual } else { text }.to_owned();
        ApiSpec {
            api_id: or(&api, &format!("{:010x}", name_bits(key.as_ref()) >> 24)),
            stage: or(&stage, "prod"),
            method: method.to_owned(),
            route: or(path, &format!("/{}", key.name)),
            kind,
        }
    }

    /// What its runs took, for the calls of attacks: recorded ones bring their own durations.
    fn duration(&self) -> Option<DurationModel> {
        let total: u64 = self.durations.values().sum();
        let percents = [0.0, 1.0, 25.0, 50.0, 75.0, 99.0, 100.0];
        let points = percents.map(|percent: f64| (percent, self.quantile(percent / 100.0, total)));
        DurationModel::percentiles(&points).ok()
    }

    fn quantile(&self, share: f64, total: u64) -> f64 {
        let mut passed = 0;
        let reaches = |(_, count): &(&u16, &u64)| {
            passed += **count;
            passed as f64 >= share * total as f64
        };
        let bin = self.durations.iter().find(reaches).map_or(0, |(bin, _)| *bin);
        let upper = DURATION_MS_MIN * libm::exp2((f64::from(bin) + 1.0) / BINS_PER_DOUBLING);
        upper.min(self.longest_ms)
    }
}

fn bin(ms: f64) -> u16 {
    let place = libm::log2(ms / DURATION_MS_MIN) * BINS_PER_DOUBLING;
    u16::try_from(whole(place.floor())).unwrap_or(u16::MAX)
}
