//! bursar as a policy of a simulation: the pipeline of the daemon with the same settings, driven in
//! virtual time, with a virtual platform's control plane as its hands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::act::Actuator;
use crate::act::hands::Hands;
use crate::act::virtual_platform::VirtualActuator;
use crate::config::settings::Settings;
use crate::control::settings::Mode;
use crate::cost::{Budget, BudgetScope};
use crate::engine::accounts::Accounts;
use crate::record::{FunctionKey, Position};
use crate::simulation::plant::SharedPlant;
use crate::simulation::platform::{Delivery, Platform};
use crate::simulation::policy::{Claims, Policy, Refusal};
use crate::simulation::scenario::Scenario;
use crate::units::{EventTime, NanoUsd};

use super::clock::Present;
use super::dead_letter::DeadLetters;
use super::pipeline::{Defaults, Parts, Pipeline};
use super::recorder::Recorder;
use super::shards::ShardDied;
use super::wiring;

/// bursar in a simulation.
#[derive(Debug)]
pub struct Guard {
    pipeline: Pipeline,
    began: EventTime,
    window: EventTime,
    offset: u64,
    claims: Claims,
    /// The place in the claims' refusals of what each restriction told last.
    told: BTreeMap<String, usize>,
    /// Alarms that have become pages.
    paged: BTreeSet<String>,
    died: bool,
    unwritten: bool,
}

impl Guard {
    /// A pipeline with these settings for this scenario, whose hands are on `plant`. It enforces,
    /// whatever the settings say: that is the question.
    ///
    /// # Errors
    /// Settings that cannot be put into effect.
    pub fn new(
        settings: &Settings,
        scenario: &Scenario,
        plant: &SharedPlant,
    ) -> anyhow::Result<Self> {
        Self::recorded(settings, scenario, plant, Recorder::new())
    }

    /// The same, which writes down what it says.
    ///
    /// # Errors
    /// Settings that cannot be put into effect.
    pub fn recorded(
        settings: &Settings,
        scenario: &Scenario,
        plant: &SharedPlant,
        recorder: Recorder,
    ) -> anyhow::Result<Self> {
        let mut settings = settings.clone();
        settings.control.mode = Mode::Enforce;
        let actuator = Box::new(VirtualActuator::new(Arc::clone(plant)));
        Ok(Self {
            pipeline: pipeline(settings, scenario, actuator, recorder)?,
            began: scenario.begin(),
            window: scenario.start,
            offset: 0,
            claims: Claims::default(),
            told: BTreeMap::new(),
            paged: BTreeSet::new(),
            died: false,
            unwritten: false,
        })
    }

    fn take(
        &mut self,
        catalog: &Platform,
        deliveries: &[Delivery],
        now: EventTime,
    ) -> Result<(), ShardDied> {
        if deliveries.is_empty() {
            self.pipeline.set_virtual_now(now);
            self.pipeline.silent()?;
            let passed = now.since_ms(self.began).max(0).unsigned_abs();
            return self.pipeline.idle(Duration::from_millis(passed));
        }
        self.pipeline.not_idle();
        for delivery in deliveries {
            self.offset += 1;
            self.pipeline.set_virtual_now(delivery.at);
            let position = Position { lane: 0, offset: self.offset };
            self.pipeline.values(position, |tell| catalog.read(delivery, tell))?;
        }
        self.pipeline.set_virtual_now(now);
        self.pipeline.flush()
    }

    fn hear(&mut self) {
        for line in self.pipeline.recorder().kept() {
            let is = |key: &str, value: &str| line[key].as_str() == Some(value);
            if is("kind", "action") && is("outcome", "applied") {
                self.hear_action(&line);
                continue;
            }
            if !is("kind", "alarm") || is("state", "closed") {
                continue;
            }
            let Some(at) = time(&line["decided_at"]).filter(|at| *at >= self.window) else {
                continue;
            };
            let function = function(&line);
            let id = line["id"].as_str().unwrap_or_default();
            // A notice may become a page later.
            if is("severity", "page") && self.paged.insert(id.to_owned()) {
                self.claims.alarms.push((at, function.clone()));
            }
            let bound = line["loss_bound_nano_usd"].as_i64();
            if let Some((function, bound)) = function.zip(bound) {
                self.claims.bounds.push((at, function, NanoUsd(bound)));
            }
        }
    }

    /// Keeps what a restriction would refuse, and ends what it said before.
    fn hear_action(&mut self, line: &Value) {
        let Some((restriction, from)) =
            line["restriction_id"].as_str().zip(time(&line["effective_at"]))
        else {
            return;
        };
        if let Some(before) = self.told.remove(restriction) {
            self.claims.refusals[before].until = Some(from);
        }
        let tightens = matches!(line["verb"].as_str(), Some("restrict" | "tighten"));
        let function = line["target"].as_str().and_then(|target| target.parse().ok());
        let share = line["legit_refused_share"].as_f64();
        if let Some((function, share)) = function.zip(share).filter(|_| tightens) {
            self.told.insert(restriction.to_owned(), self.claims.refusals.len());
            self.claims.refusals.push(Refusal { from, until: None, function, share });
        }
    }
}

fn time(value: &Value) -> Option<EventTime> {
    value.as_str()?.parse().ok()
}

/// The daemon's pipeline for this scenario, with these hands.
///
/// # Errors
/// Settings that cannot be put into effect.
pub fn pipeline(
    mut settings: Settings,
    scenario: &Scenario,
    actuator: Box<dyn Actuator>,
    recorder: Recorder,
) -> anyhow::Result<Pipeline> {
    // A simulation has its own threads, one for each policy and seed.
    settings.shards = 1;
    settings.baselines_file = None;
    let account = scenario.functions.first().map(|spec| spec.key.account);
    if let Some((monthly, account)) = scenario.money.monthly.zip(account) {
        // It sees the month from the beginning of the past on, so its budget is what was left.
        let monthly = monthly.minus(scenario.money.spent).max(NanoUsd::ZERO);
        settings.budgets.push(Budget { scope: BudgetScope::Account(account), monthly });
    }
    let prices = wiring::prices(&settings)?;
    let (intake, shards) =
        wiring::engine(&settings, &prices.card, settings.baselines_file.as_deref())?;
    let mut recorder = recorder.keeping(true);
    recorder.run(&wiring::run_line(&settings, prices.version.clone()));
    Ok(Pipeline::new(Parts {
        defaults: Defaults {
            account: settings.input.account,
            region: settings.input.region.clone(),
            function: String::new(),
            exclude: Vec::new(),
        },
        intake,
        shards,
        accounts: Accounts::new(settings.detection.clone()),
        bills: prices.bills,
        footprint: prices.footprint,
        control: wiring::control(&settings),
        hands: Hands::here(actuator),
        recorder,
        dead: DeadLetters::open(None, 0, 0)?,
        batch_records: settings.batch_records,
        present: Present::Virtual(scenario.begin()),
    }))
}

fn function(line: &Value) -> Option<FunctionKey> {
    let account = line["account"].as_str()?.parse().ok()?;
    let (region, name) = (line["region"].as_str()?.into(), line["function"].as_str()?.into());
    Some(FunctionKey { account, region, name })
}

impl Policy for Guard {
    fn name(&self) -> &'static str {
        "bursar"
    }

    fn reads(&self) -> bool {
        true
    }

    fn read(&mut self, catalog: &Platform, deliveries: &[Delivery], now: EventTime) {
        if !self.died {
            self.died = self.take(catalog, deliveries, now).is_err();
        }
        self.hear();
    }

    fn over(&mut self) {
        if !self.died {
            self.died = self.pipeline.finish().is_err();
            self.unwritten = self.pipeline.recorder().has_failed();
        }
    }

    fn claims(&self) -> Claims {
        self.claims.clone()
    }

    fn promises(&self) -> bool {
        true
    }

    fn fault(&self) -> Option<String> {
        let faults = [
            (self.died, "a shard of the pipeline has died"),
            (self.unwritten, "decisions or ledger could not be written, see the log"),
        ];
        faults.iter().find(|(is, _)| *is).map(|(_, words)| (*words).to_owned())
    }
}
