//! The engine with its door, driven by calls in memory. Event time moves by one second a step.

use std::collections::BTreeMap;

use bursar::cost::{CostSettings, FunctionRates, PriceBook};
use bursar::engine::accounts::{Accounts, Members};
use bursar::engine::alarm::{AccountAlarm, Alarm, Output, Severity};
use bursar::engine::intake::Intake;
use bursar::engine::rate_card::RateCard;
use bursar::engine::routes::Routes;
use bursar::engine::settings::{DetectionSettings, EngineSettings};
use bursar::engine::shard::Engine;
use bursar::record::{
    Architecture, FunctionKey, FunctionRef, Invocation, Position, Record, Source, Status, Target,
    Trigger, TriggerKind,
};
use bursar::units::{BilledMs, EventTime, MemoryMb};

use crate::functions::Call;

/// 2026-03-02T00:00:00Z, a Monday: where time begins unless a trace has a weekday of its own.
pub(crate) const MONDAY: i64 = 1_772_409_600;

/// The region of all functions.
const REGION: &str = "us-east-1";

/// What an alarm is about that names no function of the driver, such as a whole account.
pub(crate) const NO_FUNCTION: usize = usize::MAX;

/// Less evidence than anybody shows.
const NO_EVIDENCE: f64 = -9.0;

/// A function by number, the only one of its account: no two of them are seen together.
pub(crate) fn lone_function(index: usize) -> FunctionKey {
    function_of(index, index)
}

/// A function by number, in an account by number.
pub(crate) fn function_of(account: usize, index: usize) -> FunctionKey {
    let account = (account + 1).to_string().parse().expect("at most twelve digits");
    FunctionKey { account, region: REGION.into(), name: format!("f{index}").into() }
}

/// Prices as the engine resolves them: of a function by itself, and of one behind an API.
#[derive(Clone, Copy)]
pub(crate) struct Prices([FunctionRates; 2]);

impl Prices {
    pub(crate) fn new() -> Self {
        let mut card = RateCard::new(PriceBook::builtin(), CostSettings::default());
        let (key, at) = (lone_function(0), EventTime::from_second(MONDAY));
        Self([false, true].map(|api| {
            let row = card.resolve(&key.as_ref(), Architecture::default(), api, at);
            *card.rates(row)
        }))
    }

    /// Dollars for one call.
    pub(crate) fn per_call(&self, api: bool, billed_ms: u32, memory_mb: u32) -> f64 {
        let mb_ms = f64::from(billed_ms) * f64::from(memory_mb);
        self.0[usize::from(api)].per_request(mb_ms)
    }
}

/// One alarm from its opening to its end.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) function: usize,
    /// Event time of the record that opened it.
    pub(crate) evidence_at: EventTime,
    /// When it was first said, and first said as a page.
    pub(crate) decided_at: EventTime,
    pub(crate) page_at: Option<EventTime>,
    /// At the opening: channels, and what the strongest of them expected and saw.
    pub(crate) channels: String,
    pub(crate) expected: f64,
    pub(crate) observed: f64,
    /// As last said.
    pub(crate) class: String,
    /// The most that was said while it was a page.
    pub(crate) page_usd_per_hour: f64,
    /// The most that was said.
    pub(crate) usd_per_hour: f64,
    pub(crate) last_at: EventTime,
}

/// What is said once, of a function or of an account.
struct Said {
    id: String,
    evidence_at: EventTime,
    decided_at: EventTime,
    severity: Severity,
    usd_per_hour: f64,
    channels: String,
    expected: f64,
    observed: f64,
    class: String,
}

impl From<&Alarm> for Said {
    fn from(alarm: &Alarm) -> Self {
        let names = alarm.channels.keys().map(|channel| channel.as_str());
        let strongest =
            alarm.channels.values().max_by(|a, b| a.evidence_log10.total_cmp(&b.evidence_log10));
        Self {
            id: alarm.id.clone(),
            evidence_at: alarm.evidence_at,
            decided_at: alarm.decided_at,
            severity: alarm.severity,
            usd_per_hour: alarm.excess_per_hour.usd(),
            channels: names.collect::<Vec<_>>().join("+"),
            expected: strongest.map_or(0.0, |reading| reading.expected),
            observed: strongest.map_or(0.0, |reading| reading.observed),
            class: format!("{:?}", alarm.class).to_lowercase(),
        }
    }
}

impl From<&AccountAlarm> for Said {
    fn from(alarm: &AccountAlarm) -> Self {
        Self {
            id: alarm.id.clone(),
            evidence_at: alarm.evidence_at,
            decided_at: alarm.decided_at,
            severity: alarm.severity,
            usd_per_hour: alarm.excess_per_hour.usd(),
            channels: "aggregate".to_owned(),
            expected: alarm.reading.expected,
            observed: alarm.reading.observed,
            class: "unknown".to_owned(),
        }
    }
}

impl Case {
    fn new(function: usize, said: &Said) -> Self {
        Self {
            function,
            evidence_at: said.evidence_at,
            decided_at: said.decided_at,
            page_at: None,
            channels: said.channels.clone(),
            expected: said.expected,
            observed: said.observed,
            class: String::new(),
            page_usd_per_hour: 0.0,
            usd_per_hour: 0.0,
            last_at: said.decided_at,
        }
    }

    fn update(&mut self, said: &Said) {
        self.usd_per_hour = self.usd_per_hour.max(said.usd_per_hour);
        if said.severity == Severity::Page {
            self.page_at.get_or_insert(said.decided_at);
            self.page_usd_per_hour = self.page_usd_per_hour.max(said.usd_per_hour);
        }
        self.class.clone_from(&said.class);
        self.last_at = said.decided_at;
    }

    /// Whether control would act on it: a page, worth more than the floor, and not a crowd.
    pub(crate) fn would_act(&self, floor_usd_per_hour: f64) -> bool {
        self.page_at.is_some()
            && self.page_usd_per_hour > floor_usd_per_hour
            && self.class != "crowd"
    }
}

/// A function as the driver knows it.
struct Known {
    key: FunctionKey,
    api: bool,
    seen: bool,
}

/// The engine's side of the report.
pub(crate) struct Driver {
    intake: Intake,
    engines: Vec<Engine>,
    accounts: Vec<Accounts>,
    members: Members,
    functions: Vec<Known>,
    index: BTreeMap<FunctionKey, usize>,
    second: i64,
    offset: u64,
    records: u64,
    cases: Vec<Vec<Case>>,
    open: Vec<BTreeMap<String, usize>>,
    /// The ledger's evidence by function, of the first engine: minute since 1970 and log10.
    evidence: Option<Vec<Vec<(i64, f64)>>>,
}

impl Driver {
    /// An engine for `functions` (name, and whether it is called through an API), which begins to
    /// watch at `start`.
    pub(crate) fn new(
        functions: impl IntoIterator<Item = (FunctionKey, bool)>,
        start: i64,
        settings: DetectionSettings,
    ) -> Self {
        Self::with_engines(functions, start, vec![settings])
    }

    /// Several engines that see the same records.
    pub(crate) fn with_engines(
        functions: impl IntoIterator<Item = (FunctionKey, bool)>,
        start: i64,
        settings: Vec<DetectionSettings>,
    ) -> Self {
        let functions: Vec<_> =
            functions.into_iter().map(|(key, api)| Known { key, api, seen: false }).collect();
        let index = functions.iter().enumerate().map(|(at, known)| (known.key.clone(), at));
        let engine = |detection| {
            let rates = RateCard::new(PriceBook::builtin(), CostSettings::default());
            Engine::new(EngineSettings::default(), detection, rates, |_| true)
        };
        let lateness = EngineSettings::default().lateness_seconds;
        let mut driver = Self {
            intake: Intake::new(Routes::new(Vec::new()), lateness, 1),
            index: index.collect(),
            functions,
            second: start,
            offset: 0,
            records: 0,
            cases: vec![Vec::new(); settings.len()],
            open: vec![BTreeMap::new(); settings.len()],
            accounts: settings.iter().cloned().map(Accounts::new).collect(),
            members: Members::new(),
            engines: settings.into_iter().map(engine).collect(),
            evidence: None,
        };
        driver.tick();
        driver
    }

    /// Keeps the evidence that the ledger and the alarms show.
    pub(crate) fn keep_evidence(&mut self) {
        self.evidence = Some(vec![Vec::new(); self.functions.len()]);
    }

    /// The highest log10 of a function's evidence in some minutes since 1970, as far as the ledger
    /// and the alarms show it.
    pub(crate) fn peak(&self, function: usize, minutes: std::ops::Range<i64>) -> f64 {
        let kept = self.evidence.as_ref().map_or(&[][..], |kept| &kept[function]);
        let from = kept.partition_point(|&(minute, _)| minute < minutes.start);
        let within = kept[from..].iter().take_while(|&&(minute, _)| minute < minutes.end);
        within.map(|&(_, log10)| log10).fold(NO_EVIDENCE, f64::max)
    }

    /// The second that comes next.
    pub(crate) fn now(&self) -> i64 {
        self.second
    }

    pub(crate) fn functions(&self) -> usize {
        self.functions.len()
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// All alarms so far, of one engine, in the order in which they were opened.
    pub(crate) fn cases(&self, engine: usize) -> &[Case] {
        &self.cases[engine]
    }

    /// Feeds the calls of the next minute, in any order.
    pub(crate) fn minute(&mut self, calls: &mut [Call]) {
        calls.sort_unstable_by_key(|call| (call.ms, call.function, call.billed_ms));
        let mut rest: &[Call] = calls;
        for second in 1..=60 {
            let of_second = rest.partition_point(|call| call.ms < second * 1_000);
            let (now, later) = rest.split_at(of_second);
            self.second(now);
            rest = later;
        }
    }

    /// Feeds the calls of the next second, in order. Of their time only the part within the second
    /// counts.
    pub(crate) fn second(&mut self, calls: &[Call]) {
        for call in calls {
            self.call(call);
        }
        if !calls.is_empty() {
            self.intake.message();
            if self.intake.now().is_none() {
                self.intake.begin();
            }
            self.intake.release();
        }
        self.second += 1;
        self.intake.idle(EventTime::from_second(self.second));
        for index in 0..self.engines.len() {
            self.engines[index].batch(&self.intake.batches()[0]);
            self.drain(index);
        }
        self.intake.batches()[0].clear();
        self.tick();
    }

    fn tick(&mut self) {
        let now = EventTime::from_second(self.second);
        for index in 0..self.engines.len() {
            self.engines[index].tick(now, self.intake.sequence(), &[]);
            self.drain(index);
        }
        if self.second.rem_euclid(60) == 0 {
            // All engines have seen the same functions.
            self.members.clear();
            for (account, functions) in self.engines[0].members() {
                *self.members.entry(account).or_default() += functions;
            }
        }
        for index in 0..self.accounts.len() {
            for alarm in self.accounts[index].tick(now, &self.members) {
                self.say(index, NO_FUNCTION, &Said::from(&alarm));
            }
        }
    }

    fn say(&mut self, engine: usize, function: usize, said: &Said) {
        let cases = &mut self.cases[engine];
        let place = *self.open[engine].entry(said.id.clone()).or_insert(cases.len());
        if place == cases.len() {
            cases.push(Case::new(function, said));
        }
        cases[place].update(said);
    }

    fn call(&mut self, call: &Call) {
        let known = &mut self.functions[call.function as usize];
        let first = !std::mem::replace(&mut known.seen, true);
        let at = EventTime::saturating_from_ms(self.second * 1_000 + i64::from(call.ms % 1_000));
        let address = call.client.map(Into::into);
        let request = (call.request != 0).then(|| call.request.to_string());
        let record = Record::Invocation(Invocation {
            function: known.key.as_ref(),
            at,
            billed: BilledMs::try_new(u64::from(call.billed_ms)).expect("within Lambda's limits"),
            memory: MemoryMb::try_new(u64::from(call.memory_mb)).expect("within Lambda's limits"),
            init_ms: None,
            status: if call.failed { Status::Error } else { Status::Success },
            version: None,
            architecture: None,
            request_id: request.as_deref(),
            delivery: None,
            source: address.map(|_| Source { address, ..Source::default() }),
        });
        self.offset += 1;
        self.records += 1;
        let position = Position { lane: 0, offset: self.offset };
        self.intake.record(&record, position, None);
        if first && known.api {
            // One line of an access log, so that the engine knows of the gateway and its price.
            let trigger = gateway_line(known.key.as_ref(), at);
            self.intake.record(&trigger, position, None);
        }
    }

    fn drain(&mut self, engine: usize) {
        let outputs: Vec<_> = self.engines[engine].drain().collect();
        for (_, _, output) in outputs {
            match output {
                Output::Alarm(alarm) => {
                    let function = self.index.get(&alarm.function).copied();
                    if let (Some(kept), 0, Some(function)) = (&mut self.evidence, engine, function)
                    {
                        let log10 = alarm.channels.values().map(|reading| reading.evidence_log10);
                        let most = log10.fold(NO_EVIDENCE, f64::max);
                        note(&mut kept[function], alarm.decided_at.minute(), most);
                    }
                    self.say(engine, function.unwrap_or(NO_FUNCTION), &Said::from(&*alarm));
                }
                Output::Minute(row) => {
                    self.accounts[engine].row(&row);
                    if let (Some(kept), 0) = (&mut self.evidence, engine) {
                        let function = self.index[&row.function];
                        note(&mut kept[function], row.minute, row.evidence_log10);
                    }
                }
                Output::Pulse(_) => {}
            }
        }
    }
}

/// Keeps evidence in the order of minutes. A row of the ledger comes up to a minute after its end.
fn note(kept: &mut Vec<(i64, f64)>, minute: i64, log10: f64) {
    let at = kept.partition_point(|&(known, _)| known <= minute);
    kept.insert(at, (minute, log10));
}

fn gateway_line(function: FunctionRef<'_>, at: EventTime) -> Record<'_> {
    Record::Trigger(Trigger {
        target: Target::Function(function),
        at,
        kind: TriggerKind::ApiGateway,
        source: Source::default(),
        request_id: None,
        response_bytes: 0,
        delivery: None,
    })
}
