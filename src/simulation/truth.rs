//! The truth about a generated stream: for scoring only, never for the detector.

use core::net::IpAddr;

use serde::Serialize;

use crate::record::FunctionKey;
use crate::simulation::attack::{Attack, AttackKind};
use crate::simulation::closed_loop::{Run, Trial};
use crate::simulation::platform::{FunctionSpec, Tally};
use crate::simulation::scenario::Scenario;
use crate::units::EventTime;

/// What was generated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// Version of this form.
    pub v: u32,
    /// Seed of every draw.
    pub seed: u64,
    /// The trace's file name, without its folder, or the scenario's name.
    pub trace: String,
    /// The emitted minutes begin; calls run on and their records follow a little after `end`.
    pub start: EventTime,
    /// They end.
    pub end: EventTime,
    /// In the order given.
    pub attacks: Vec<AttackTruth>,
    /// Deployed functions.
    pub functions: u64,
    /// Log events and access-log lines.
    pub records: u64,
}

/// Version of the form.
pub const FORM: u32 = 1;

impl Truth {
    /// What a policy met in a simulation.
    pub fn of_run(scenario: &Scenario, trial: &Trial, run: &Run) -> Self {
        let functions: Vec<&FunctionSpec> = scenario.functions.iter().collect();
        let met = trial.attacks.iter().zip(&run.sources).zip(&run.tallies);
        let attacks = met.map(|((attack, sources), tally)| {
            let mut attack = attack.clone();
            (attack.sources, attack.sources_cut) = (sources.listed.clone(), sources.cut);
            AttackTruth::new(attack, tally, &functions)
        });
        Self {
            v: FORM,
            seed: trial.seed,
            trace: scenario.name.clone(),
            start: scenario.begin(),
            end: scenario.end(),
            attacks: attacks.collect(),
            functions: functions.len() as u64,
            records: run.records,
        }
    }
}

/// One attack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackTruth {
    /// Kind.
    pub kind: AttackKind,
    /// Victims.
    pub functions: Vec<FunctionKey>,
    /// Its first moment.
    pub onset: EventTime,
    /// Its last.
    pub end: EventTime,
    /// Event time of the first record that it caused; `None` when it caused none.
    pub first_record: Option<EventTime>,
    /// Event time of the last.
    pub last_record: Option<EventTime>,
    /// Requests made, served or not.
    pub requests: u64,
    /// Addresses used.
    pub sources: Vec<IpAddr>,
    /// More were used than are listed.
    pub sources_cut: bool,
    /// Times the victims' mean rate; `None` when they are never called.
    pub factor: Option<f64>,
    /// Requests per second while it was on.
    pub rps: f64,
}

impl AttackTruth {
    /// What became of an attack.
    pub fn new(attack: Attack, tally: &Tally, functions: &[&FunctionSpec]) -> Self {
        let key = |index: &usize| functions[*index].key.clone();
        Self {
            kind: attack.spec.kind,
            functions: attack.functions.iter().map(key).collect(),
            onset: attack.onset,
            end: attack.end,
            first_record: tally.first_record,
            last_record: tally.last_record,
            requests: tally.counts.offered,
            sources: attack.sources.into_iter().collect(),
            sources_cut: attack.sources_cut,
            factor: attack.factor,
            rps: attack.rps,
        }
    }
}
