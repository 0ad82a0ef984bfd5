//! Ways to guard a wallet. The reference policies are what people have without bursar, as it is
//! recommended and set up with common numbers; each stands in a file of its own. None of them sees
//! the truth but the oracle, which is there to show what could be done at best.

mod budget_alarm;
mod cost_cap;
mod meter;
mod metric_alarm;
mod nothing;
mod oracle;
mod seasonal_band;
mod source_limit;

use crate::record::FunctionKey;
use crate::simulation::plant::{Plant, SharedPlant, lock};
use crate::simulation::platform::{Command, Delivery, LedgerRow, Platform, Request};
use crate::simulation::scenario::Scenario;
use crate::units::{EventTime, NanoUsd};

pub use budget_alarm::BudgetAlarm;
pub use cost_cap::CostCap;
pub use metric_alarm::MetricAlarm;
pub use nothing::Nothing;
pub use oracle::Oracle;
pub use seasonal_band::SeasonalBand;
pub use source_limit::SourceLimit;

/// A way to guard a wallet.
pub trait Policy: Send {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Whether it listens to the log pipeline.
    fn reads(&self) -> bool {
        false
    }

    /// What the log pipeline has delivered up to `now`, in order; `catalog` tells what is inside.
    fn read(&mut self, _catalog: &Platform, _deliveries: &[Delivery], _now: EventTime) {}

    /// A second is over.
    fn second(&mut self, _second: &Second<'_>, _plant: &SharedPlant) {}

    /// All is over.
    fn over(&mut self) {}

    /// What it has said so far.
    fn claims(&self) -> Claims;

    /// Whether it promises to give everything back and never to go below one invocation at once.
    fn promises(&self) -> bool {
        false
    }

    /// Why it does not work any more.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Whether it acts on a budget that is spent and on nothing else.
    fn watches_budget(&self) -> bool {
        false
    }

    /// Whether it acts on attacks that it knows of and on nothing else.
    fn needs_attack(&self) -> bool {
        false
    }
}

/// What can be seen without reading records: the platform's own metrics and counters.
#[derive(Debug, Clone, Copy)]
pub struct Second<'a> {
    /// It ends.
    pub end: EventTime,
    /// The scored window has begun.
    pub in_window: bool,
    /// What was counted since the last time.
    pub rows: &'a [LedgerRow],
    /// What came to the edge.
    pub requests: &'a [Request],
    /// What the month has cost so far.
    pub spent: NanoUsd,
}

/// What a policy has said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims {
    /// When it first said in the window that something is wrong, for each function.
    pub alarms: Vec<(EventTime, Option<FunctionKey>)>,
    /// When it told which bound on the next hour's cost.
    pub bounds: Vec<(EventTime, FunctionKey, NanoUsd)>,
    /// What it told would be refused.
    pub refusals: Vec<Refusal>,
}

/// A restriction, and which share of legitimate requests it would refuse.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// From when on it holds.
    pub from: EventTime,
    /// Until when, if it was changed since.
    pub until: Option<EventTime>,
    /// Whose.
    pub function: FunctionKey,
    /// As it was told.
    pub share: f64,
}

impl Claims {
    /// One alarm about everything, if there was any.
    fn at(alarm: Option<EventTime>) -> Self {
        Self { alarms: alarm.map(|at| (at, None)).into_iter().collect(), ..Self::default() }
    }
}

/// What people have, beginning with nothing.
pub fn references(scenario: &Scenario) -> Vec<Box<dyn Policy>> {
    vec![
        Box::new(Nothing),
        Box::new(BudgetAlarm::new(scenario)),
        Box::new(MetricAlarm::new(scenario)),
        Box::new(SeasonalBand::new(scenario)),
        Box::new(SourceLimit::new(scenario)),
        Box::new(CostCap::new(scenario)),
    ]
}

/// Stops functions; what the platform refuses is left, as a simple script would.
fn stop(functions: &[FunctionKey], plant: &mut Plant, now: EventTime) {
    for function in functions {
        let function = function.clone();
        drop(plant.command(Command::SetReserved { function, value: 0 }, now));
    }
}

/// Gives a function what it had.
fn give_back(function: FunctionKey, prior: Option<u32>) -> Command {
    match prior {
        Some(value) => Command::SetReserved { function, value },
        None => Command::ClearReserved { function },
    }
}

/// The names of all functions.
fn names(scenario: &Scenario) -> Vec<FunctionKey> {
    scenario.functions.iter().map(|spec| spec.key.clone()).collect()
}

/// Stops functions under a quota of control calls: as many a second as are accepted.
#[derive(Debug, Default)]
struct KillSwitch {
    functions: Vec<FunctionKey>,
    next: usize,
    pulled_at: Option<EventTime>,
}

/// Control calls a second that the script makes.
const CALLS_PER_SECOND: usize = 10;

impl KillSwitch {
    fn new(functions: Vec<FunctionKey>) -> Self {
        Self { functions, next: 0, pulled_at: None }
    }

    /// Goes on stopping; `pull` begins with it.
    fn second(&mut self, pull: bool, plant: &SharedPlant, now: EventTime) {
        if pull {
            self.pulled_at.get_or_insert(now);
        }
        if self.pulled_at.is_some() && self.next < self.functions.len() {
            let end = (self.next + CALLS_PER_SECOND).min(self.functions.len());
            stop(&self.functions[self.next..end], &mut lock(plant), now);
            self.next = end;
        }
    }
}
