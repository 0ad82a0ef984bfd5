//! The swarm: many small worlds, each drawn from a seed with everything that can go wrong in it,
//! and what must hold in all of them whatever happens.
//!
//! Every world is run with bursar in the loop, and then again with one thing changed: records that
//! stop coming (M1), without the records of refusals (M2), and without bursar (M3). First it is
//! looked every second whether anything is unsafe; then nothing more goes wrong, and everything has
//! to come to rest. This way of testing is that of deterministic simulators of databases
//! (`FoundationDB`: Zhou et al., SIGMOD 2021, section 4; `TigerBeetle`'s VOPR). A seed decides
//! everything, so a failure is replayed by its seed alone.

pub mod defect;
pub mod invariant;

mod dice;
mod estate;
mod tuning;

mod plan;

mod hands;
mod lab;
mod subject;

mod forge;
mod watch;

mod run;
mod twins;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use defect::Defect;
use invariant::{Broken, Findings, Invariant};
use plan::Plan;

/// What came of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What did not hold.
    pub broken: Vec<Broken>,
    /// What was done to find out.
    pub effort: Effort,
}

/// How much was simulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// Worlds.
    pub seeds: u64,
    /// Virtual time of all runs, in milliseconds.
    pub simulated_ms: u64,
    /// Invocations on the virtual platforms.
    pub invocations: u64,
    /// Records that were delivered.
    pub records: u64,
    /// Messages that came late, twice, out of order or never, answers of the control plane that
    /// were spoilt, and changes by others.
    pub faults: u64,
    /// Alarms that opened.
    pub alarms: u64,
    /// Changes that were asked of the control plane.
    pub actions: u64,
}

impl Effort {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            seeds: self.seeds + other.seeds,
            simulated_ms: self.simulated_ms + other.simulated_ms,
            invocations: self.invocations + other.invocations,
            records: self.records + other.records,
            faults: self.faults + other.faults,
            alarms: self.alarms + other.alarms,
            actions: self.actions + other.actions,
        }
    }
}

/// Runs the world of a seed in all its forms.
///
/// # Errors
/// A world that the virtual platform or bursar refuses, which is a defect of the swarm.
pub fn seed(seed: u64, defect: Option<Defect>) -> anyhow::Result<Report> {
    let done = catch_unwind(AssertUnwindSafe(|| world(seed, defect)));
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let words = text.unwrap_or_else(|| "a panic without words".to_owned());
        let broken = vec![Broken { invariant: Invariant::P1, second: 0, words }];
        let effort = Effort { seeds: 1, ..Effort::default() };
        Ok(Report { seed, broken, effort })
    })
}

fn world(seed: u64, defect: Option<Defect>) -> anyhow::Result<Report> {
    let plan = Plan::new(seed);
    let mut main = run::run(&plan, defect)?;
    let mut findings: Findings = std::mem::take(&mut main.findings);
    let cut_ms = twins::cut(&plan, &main, &mut findings, defect)?;
    let refusals_ms = twins::refusals(&plan, &main, &mut findings, defect)?;
    let (unguarded_ms, unguarded) = twins::unguarded(&plan, &main, &mut findings)?;
    let main_ms = main.end.since_ms(plan.scenario.begin());
    let effort = Effort {
        seeds: 1,
        simulated_ms: (main_ms + cut_ms + refusals_ms + unguarded_ms).unsigned_abs(),
        invocations: main.invocations + unguarded,
        records: main.records,
        faults: main.faults,
        alarms: main.said.opened,
        actions: main.deeds.len() as u64,
    };
    Ok(Report { seed, broken: findings.into_vec(), effort })
}
