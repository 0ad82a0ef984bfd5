//! `bursar simulate --swarm`: many small worlds, and what must hold in all of them.

use std::io::{self, Write as _};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::simulation::closed_loop;
use crate::swarm::{self, Effort, Report};

use super::output;
use super::simulate::{FORM, SimulateArgs, progress_bar, threads};

/// Seeds are run in lots; after each the results are told in the order of the seeds.
const LOT: u64 = 64;
/// After so many seeds that failed no further lot is begun: more of them say little more.
const FAILED_MAX: usize = 20;

/// Runs `count` seeds.
///
/// # Errors
/// Outputs that cannot be written, and anything that does not hold.
pub(super) fn run(args: &SimulateArgs, count: u64) -> anyhow::Result<()> {
    let last = args.seed.checked_add(count).context("--seed + --swarm is too large")?;
    output::check(&[], &args.json.as_deref().into_iter().collect::<Vec<_>>())?;
    let tables = !args.json.as_deref().is_some_and(output::is_stdout);
    let bar = progress_bar(count);
    bar.set_message("seeds");
    let mut effort = Effort::default();
    let mut failed: Vec<Report> = Vec::new();
    let mut next = args.seed;
    while next < last && failed.len() < FAILED_MAX {
        let lot: Vec<u64> = (next..last.min(next.saturating_add(LOT))).collect();
        next = next.saturating_add(LOT).min(last);
        let reports = closed_loop::all(lot, threads(args), |seed| {
            let report = swarm::seed(seed, None).with_context(|| format!("seed {seed}"));
            bar.inc(1);
            report
        });
        for report in reports {
            let report = report?;
            effort = effort.plus(report.effort);
            if !report.broken.is_empty() {
                if tables {
                    bar.suspend(|| tell(&report))?;
                }
                failed.push(report);
            }
        }
    }
    bar.finish_and_clear();
    if tables {
        let mut out = io::stdout();
        writeln!(out, "{}", summary(&effort, failed.len()))?;
    }
    if let Some(path) = &args.json {
        output::write_json(path, &document(args.seed, &effort, &failed))?;
    }
    let more = if next < last { "; the other seeds were not run" } else { "" };
    anyhow::ensure!(
        failed.is_empty(),
        "{} of {} seeds failed, each with the command that replays it above{more}",
        failed.len(),
        effort.seeds
    );
    Ok(())
}

fn tell(report: &Report) -> io::Result<()> {
    let mut out = io::stdout();
    for broken in &report.broken {
        let (name, second) = (broken.invariant.as_str(), broken.second);
        writeln!(out, "{name} seed {} second {second}: {}", report.seed, broken.words)?;
    }
    writeln!(out, "   replay: {}", replay(report.seed))
}

fn replay(seed: u64) -> String {
    format!("bursar simulate --swarm 1 --seed {seed}")
}

fn summary(effort: &Effort, failed: usize) -> String {
    let hours = effort.simulated_ms / 3_600_000;
    format!(
        "{} seeds, {failed} failed: {hours} simulated hours, {} invocations, {} records, {} faults \
         injected, {} alarms, {} control calls",
        effort.seeds,
        effort.invocations,
        effort.records,
        effort.faults,
        effort.alarms,
        effort.actions
    )
}

fn document(seed: u64, effort: &Effort, failed: &[Report]) -> Value {
    let failures = failed.iter().map(|report| {
        let broken = report.broken.iter().map(|broken| {
            json!({
                "invariant": broken.invariant.as_str(),
                "second": broken.second,
                "words": broken.words,
            })
        });
        json!({
            "seed": report.seed,
            "broken": broken.collect::<Vec<_>>(),
            "replay": replay(report.seed),
        })
    });
    json!({
        "v": FORM,
        "kind": "swarm",
        "seed": seed,
        "effort": effort,
        "failures": failures.collect::<Vec<_>>(),
    })
}
