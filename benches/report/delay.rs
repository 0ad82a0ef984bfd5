//! How long an attack goes on before it is said, beside the least that any detector with the same
//! promise could need.
//!
//! The bound is Lorden's (Annals of Mathematical Statistics 42, 1971): with a mean time to a false
//! alarm of A looks, the mean delay is at least about ln A / D, where D is the divergence of the
//! attack's law from the law that is still tolerated, a look. Tolerated here is the envelope times
//! the true rate with the true dispersion; what the engine has to learn it also has to allow for.

use anyhow::Result;
use bursar::engine::detect::Thresholds;
use bursar::engine::settings::DetectionSettings;
use bursar::simulation::draw::derive;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::Plan;
use crate::driver::{Driver, MONDAY, Prices, lone_function};
use crate::functions::Call;
use crate::laws::{divergence, negative_binomial};
use crate::numbers::{COMPARED, Sorted, share_interval, shown};
use crate::parallel;
use crate::results::{Better, Measure, Section, Table};

/// Dispersion of the traffic: variance = mean + 0.1·mean², a second at a time.
const PHI: f64 = 0.1;
/// The attack begins in a random second of the hour after the learning.
const WAIT_SECONDS: u64 = 3_600;
/// How long an attack is waited for: this many times the bound, and at least ten minutes.
const PATIENCE: f64 = 40.0;
const PATIENCE_SECONDS_MIN: f64 = 600.0;
/// Runs at full size, after two hours of learning and after more than a day.
const RUNS: [(u32, usize); 2] = [(2, 400), (26, 80)];

/// A function and what befalls it.
#[derive(Clone, Copy)]
struct Cell {
    /// Calls a second.
    rate: f64,
    factor: f64,
    billed_ms: u32,
    memory_mb: u32,
    learning_hours: u32,
    runs: usize,
}

impl Cell {
    fn bound_seconds(&self) -> f64 {
        let settings = DetectionSettings::default();
        let tolerated = settings.envelope * self.rate;
        let divergence = divergence(self.factor * self.rate, tolerated, PHI);
        Thresholds::new(&settings).fast.ln() / divergence
    }

    /// How long a run is waited for.
    fn patience_seconds(&self) -> u64 {
        (PATIENCE * self.bound_seconds()).max(PATIENCE_SECONDS_MIN) as u64
    }

    fn excess_usd_per_hour(&self) -> f64 {
        let per_call = Prices::new().per_call(false, self.billed_ms, self.memory_mb);
        (self.factor - 1.0) * self.rate * per_call * 3_600.0
    }
}

/// What became of one attack; times are seconds from its beginning.
struct Run {
    evidence: Option<f64>,
    said: Option<f64>,
    records: Option<f64>,
    /// Alarms while nothing was wrong.
    before: usize,
}

pub(crate) fn section(plan: &Plan) -> Result<Section> {
    let settings = DetectionSettings::default();
    let mut section = Section::new("delay");
    section.note(format!(
        "Negative-binomial traffic, phi {PHI} a second, one function; settings as shipped, so a \
         channel's threshold is A = {:.3e}. From a random second on, the rate is multiplied.",
        Thresholds::new(&settings).fast
    ));
    section.note(format!(
        "Bound: ln A / divergence of the attack's law from the law at {} times the true rate.",
        settings.envelope
    ));
    section.note(
        "Delays in seconds from the first second of the attack to the record that gave the \
         evidence, and to the alarm; whether that is a notice or a page is a matter of money, not \
         of evidence. A run without an alarm counts as longer than any other in the quantiles, and \
         as long as it was waited for (40 times the bound, at least ten minutes) in the mean.",
    );
    let normal = |rate, billed_ms, memory_mb, factors: &[f64]| {
        let cells = RUNS.iter().flat_map(|&(learning_hours, runs)| {
            let runs = plan.scaled(runs, 10);
            factors.iter().map(move |&factor| Cell {
                rate,
                factor,
                billed_ms,
                memory_mb,
                learning_hours,
                runs,
            })
        });
        cells.collect::<Vec<_>>()
    };
    let factors = [3.0, 5.0, 10.0, 20.0];
    let busy = normal(10.0, 100, 512, &factors);
    // Dear enough that the floor is below the envelope: 1.6 x 0.01 calls a second cost $0.03/h.
    let mut slow = normal(0.01, 3_000, 10_240, &factors);
    slow.extend(normal(0.1, 2_000, 2_048, &factors));
    slow.extend(normal(1.0, 1_000, 1_024, &factors));
    let mut cheap = normal(0.1, 100, 128, &[20.0, 100.0, 1_000.0]);
    cheap.extend(normal(1.0, 100, 128, &[5.0, 20.0, 100.0]));
    for (title, cells) in [
        ("Busy function", busy),
        ("Slow functions, whose calls are dear", slow),
        ("Cheap functions, where the money floor decides", cheap),
    ] {
        eprintln!("  {title}");
        let table = table(&mut section, title, &cells, plan.seed);
        section.tables.push(table);
    }
    Ok(section)
}

fn table(section: &mut Section, title: &str, cells: &[Cell], seed: u64) -> Table {
    let mut table = Table::new(
        title,
        &[
            "calls/s",
            "factor",
            "excess $/h",
            "learned h",
            "runs",
            "found",
            "alarms before",
            "evidence median s",
            "p95 s",
            "alarm median s",
            "p95 s",
            "mean s",
            "bound s",
            "mean / bound",
            "records median",
            "bound in records",
        ],
    );
    for (index, cell) in cells.iter().enumerate() {
        let seed = derive(seed, index as u64);
        let runs = parallel::map(cell.runs, |run| attack(cell, derive(seed, run as u64)));
        let found = runs.iter().filter(|run| run.said.is_some()).count();
        let before: usize = runs.iter().map(|run| run.before).sum();
        let evidence = Sorted::new(runs.iter().map(|run| run.evidence));
        let said = Sorted::new(runs.iter().map(|run| run.said));
        let records = Sorted::new(runs.iter().map(|run| run.records));
        let bound = cell.bound_seconds();
        let patience = cell.patience_seconds() as f64;
        let mean = runs.iter().map(|run| run.evidence.unwrap_or(patience)).sum::<f64>();
        let mean = mean / runs.len() as f64;
        let at_least = if found < runs.len() { "≥ " } else { "" };
        table.row(vec![
            cell.rate.to_string(),
            format!("x{}", cell.factor),
            shown(cell.excess_usd_per_hour()),
            cell.learning_hours.to_string(),
            runs.len().to_string(),
            found.to_string(),
            before.to_string(),
            shown(evidence.quantile(0.5)),
            shown(evidence.quantile(0.95)),
            shown(said.quantile(0.5)),
            shown(said.quantile(0.95)),
            format!("{at_least}{}", shown(mean)),
            shown(bound),
            format!("{at_least}{}", shown(mean / bound)),
            shown(records.quantile(0.5)),
            shown(bound * cell.rate * cell.factor),
        ]);
        let name = format!(
            "{} calls/s of {} MB x {} ms, x{}, {} h learned",
            cell.rate, cell.memory_mb, cell.billed_ms, cell.factor, cell.learning_hours
        );
        let share = found as f64 / runs.len() as f64;
        let found =
            Measure::new(share, share_interval(found, runs.len(), COMPARED), Better::Higher);
        section.measure(format!("{name}: share found"), found);
        for (what, p) in [("median", 0.5), ("p95", 0.95)] {
            let delay =
                Measure::new(said.quantile(p), said.quantile_interval(p, COMPARED), Better::Lower);
            section.measure(format!("{name}: {what} seconds to the alarm"), delay);
        }
    }
    table
}

/// One function learns, is attacked, and is watched until it is said.
fn attack(cell: &Cell, seed: u64) -> Run {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let settings = DetectionSettings::default();
    let mut driver = Driver::new([(lone_function(0), false)], MONDAY, settings);
    let mut calls = Vec::new();
    let calm = u64::from(cell.learning_hours) * 3_600 + rng.next_u64() % WAIT_SECONDS;
    for _ in 0..calm {
        draw_second(cell, cell.rate, &mut rng, &mut calls);
        driver.second(&calls);
    }
    let before = driver.cases(0).len();
    let began = driver.now() * 1_000;
    let since = |at: bursar::units::EventTime| (at.ms() - began) as f64 / 1e3;
    let mut records = Vec::new();
    for _ in 0..cell.patience_seconds() {
        draw_second(cell, cell.factor * cell.rate, &mut rng, &mut calls);
        let second = driver.now() * 1_000 - began;
        records.extend(calls.iter().map(|call| second + i64::from(call.ms)));
        driver.second(&calls);
        if let Some(case) = driver.cases(0).get(before) {
            let evidence = since(case.evidence_at);
            let until = records.iter().filter(|&&ms| ms as f64 <= evidence * 1e3).count();
            return Run {
                evidence: Some(evidence),
                said: Some(since(case.decided_at)),
                records: Some(until as f64),
                before,
            };
        }
    }
    Run { evidence: None, said: None, records: None, before }
}

/// A second's calls, in order.
fn draw_second(cell: &Cell, mean: f64, rng: &mut ChaCha8Rng, calls: &mut Vec<Call>) {
    calls.clear();
    let count = negative_binomial(mean, PHI, rng);
    calls.extend((0..count).map(|_| Call {
        ms: (rng.next_u64() % 1_000) as u32,
        billed_ms: cell.billed_ms,
        memory_mb: cell.memory_mb,
        ..Call::default()
    }));
    calls.sort_unstable_by_key(|call| call.ms);
}
