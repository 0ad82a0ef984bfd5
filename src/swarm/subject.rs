//! bursar under test: the pipeline of the daemon, what it was given, and what it has said.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::defect::Defect;
use super::plan::Plan;
use crate::act::Actuator;
use crate::engine::alarm::Channel;
use crate::record::{Invocation, Position, Record};
use crate::runtime::guard;
use crate::runtime::pipeline::Pipeline;
use crate::runtime::recorder::Recorder;
use crate::simulation::platform::{Delivery, Platform};
use crate::units::{BilledMs, EventTime, MbMillis, MemoryMb};

/// What an invocation by a function that is not there looks like: see [`Defect::Phantoms`].
const PHANTOM_MS: u64 = 100;
/// What a refusal is mistaken for: see [`Defect::CountsRefusals`].
const MISTAKEN_MS: u64 = 10_000;

/// bursar.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) pipeline: Pipeline,
    began: EventTime,
    offset: u64,
    /// Records of refusals are kept from it.
    without_refusals: bool,
    pub(super) given: Given,
    pub(super) said: Said,
    defect: Option<Defect>,
}

/// The invocations that were delivered, each once.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) requests: u64,
    pub(super) usage: MbMillis,
    /// The same by function.
    pub(super) functions: BTreeMap<Box<str>, (u64, MbMillis)>,
    /// Invocations, counted as often as they came.
    pub(super) came: u64,
    pub(super) records: u64,
    seen: HashSet<u64>,
}

/// An alarm that is open.
#[derive(Debug)]
pub(super) struct Open {
    /// None for the account as a whole.
    pub(super) function: Option<Box<str>>,
    /// Only channels that count by the hour and longer speak of it.
    pub(super) is_slow: bool,
}

/// The first alarm about a function.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    /// When it opened.
    pub(super) at: EventTime,
    /// By how many decades evidence about the function has exceeded the threshold at most.
    pub(super) margin_log10: f64,
}

/// What was said of alarms.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) open: BTreeMap<String, Open>,
    /// Each function's first alarm.
    pub(super) first: BTreeMap<Box<str>, First>,
    pub(super) opened: u64,
}

impl Subject {
    pub(super) fn new(
        plan: &Plan,
        hands: Box<dyn Actuator>,
        without_refusals: bool,
        defect: Option<Defect>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            pipeline: guard::pipeline(
                plan.settings.clone(),
                &plan.scenario,
                hands,
                Recorder::new(),
            )?,
            began: plan.scenario.begin(),
            offset: 0,
            without_refusals,
            given: Given::default(),
            said: Said::default(),
            defect,
        })
    }

    /// Takes what was delivered up to `now`; `None` is a source that is not well.
    pub(super) fn read(
        &mut self,
        catalog: &Platform,
        deliveries: Option<&[Delivery]>,
        now: EventTime,
    ) -> anyhow::Result<()> {
        match deliveries {
            None => {
                self.pipeline.set_virtual_now(now);
                self.pipeline.unwell();
            }
            Some([]) => {
                self.pipeline.set_virtual_now(now);
                self.pipeline.silent()?;
                let passed = now.since_ms(self.began).max(0).unsigned_abs();
                self.pipeline.idle(Duration::from_millis(passed))?;
            }
            Some(deliveries) => {
                self.pipeline.not_idle();
                for delivery in deliveries {
                    self.message(catalog, delivery)?;
                }
                self.pipeline.set_virtual_now(now);
                self.pipeline.flush()?;
            }
        }
        self.hear(now);
        Ok(())
    }

    fn message(&mut self, catalog: &Platform, delivery: &Delivery) -> anyhow::Result<()> {
        self.offset += 1;
        self.pipeline.set_virtual_now(delivery.at);
        let position = Position { lane: 0, offset: self.offset };
        let is_missed =
            self.defect == Some(Defect::MissedMessage) && self.offset.is_multiple_of(100);
        let (given, defect) = (&mut self.given, self.defect);
        let without_refusals = self.without_refusals;
        self.pipeline.values(position, |tell| {
            catalog.read(delivery, &mut |record| {
                given.note(record);
                let is_refusal = matches!(record, Record::Refusal(_));
                if is_missed || (is_refusal && without_refusals) {
                    return;
                }
                tell(record);
                distort(defect, catalog, record, tell);
            });
        })?;
        Ok(())
    }

    /// Takes what still waits; the counts are complete then.
    pub(super) fn finish(&mut self, now: EventTime) -> anyhow::Result<()> {
        self.pipeline.finish()?;
        self.hear(now);
        Ok(())
    }

    fn hear(&mut self, now: EventTime) {
        for line in self.pipeline.recorder().kept() {
            if line["kind"].as_str() != Some("alarm") {
                continue;
            }
            let (Some(id), Some(state)) = (line["id"].as_str(), line["state"].as_str()) else {
                continue;
            };
            let function = line["function"].as_str();
            match state {
                "opened" => self.said.open(id, function, is_slow(&line), now),
                "closed" if self.defect != Some(Defect::DeafToClosing) => {
                    self.said.open.remove(id);
                }
                _ => {}
            }
            if let Some(first) = function.and_then(|name| self.said.first.get_mut(name)) {
                first.margin_log10 = first.margin_log10.max(margin_log10(&line));
            }
        }
    }
}

impl Said {
    fn open(&mut self, id: &str, function: Option<&str>, is_slow: bool, now: EventTime) {
        self.opened += 1;
        self.open.insert(id.to_owned(), Open { function: function.map(Into::into), is_slow });
        if let Some(function) = function {
            let first = First { at: now, margin_log10: f64::NEG_INFINITY };
            self.first.entry(function.into()).or_insert(first);
        }
    }

    /// Whether an alarm about the function is open.
    pub(super) fn is_open(&self, function: &str) -> bool {
        self.open.values().any(|open| open.function.as_deref() == Some(function))
    }

    /// Whether an alarm is open that should be over when its cause is.
    pub(super) fn lasts(&self) -> bool {
        self.open.values().any(|open| !open.is_slow)
    }
}

impl Given {
    fn note(&mut self, record: &Record<'_>) {
        self.records += 1;
        let Record::Invocation(invocation) = record else {
            return;
        };
        self.came += 1;
        if invocation.delivery.is_some_and(|delivery| !self.seen.insert(delivery)) {
            return;
        }
        let used = MbMillis::of(invocation.billed, invocation.memory);
        self.requests += 1;
        self.usage = self.usage.plus(used);
        let name = invocation.function.name;
        match self.functions.get_mut(name) {
            Some((requests, usage)) => (*requests, *usage) = (*requests + 1, usage.plus(used)),
            None => drop(self.functions.insert(name.into(), (1, used))),
        }
    }
}

/// By how many decades an alarm's evidence exceeds its threshold.
fn margin_log10(alarm: &Value) -> f64 {
    let channels = alarm["channels"].as_object().into_iter().flatten();
    let margin = |(_, of): (&String, &Value)| {
        Some(of["evidence_log10"].as_f64()? - of["threshold_log10"].as_f64()?)
    };
    channels.filter_map(margin).fold(f64::NEG_INFINITY, f64::max)
}

/// Whether an alarm is about hours or longer.
fn is_slow(alarm: &Value) -> bool {
    let slow = [Channel::Yoyo, Channel::Cost, Channel::Leech].map(Channel::as_str);
    let channels = alarm["channels"].as_object().into_iter().flatten();
    channels.into_iter().all(|(name, _)| slow.contains(&name.as_str()))
}

/// What a defect makes of a record beside the record itself.
fn distort(
    defect: Option<Defect>,
    catalog: &Platform,
    record: &Record<'_>,
    tell: &mut dyn FnMut(&Record<'_>),
) {
    let (Ok(memory), Some(first)) = (MemoryMb::try_new(128), catalog.functions().next()) else {
        return;
    };
    let told = |ms, function, at| {
        BilledMs::try_new(ms).ok().map(|billed| {
            Record::Invocation(Invocation {
                function,
                at,
                billed,
                memory,
                init_ms: None,
                status: crate::record::Status::Success,
                version: None,
                architecture: None,
                request_id: None,
                delivery: None,
                source: None,
            })
        })
    };
    match (defect, record) {
        (Some(Defect::Phantoms), Record::Invocation(invocation)) => {
            let name = format!("phantom-{}", invocation.at.ms() / 1_000 % 10);
            let mut function = first.key.as_ref();
            function.name = &name;
            told(PHANTOM_MS, function, invocation.at).iter().for_each(tell);
        }
        (Some(Defect::CountsRefusals), Record::Refusal(refusal)) => {
            told(MISTAKEN_MS, first.key.as_ref(), refusal.trigger.at).iter().for_each(tell);
        }
        _ => {}
    }
}
