//! `bursar simulate`: scenarios through the closed loop, scored beside the reference policies.

use std::io::{self, IsTerminal as _, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::settings::Settings;
use crate::report::{self, simulation::Picture};
use crate::runtime::guard::Guard;
use crate::runtime::recorded;
use crate::runtime::recorder::Recorder;
use crate::simulation::closed_loop::{self, Hand, Trial, trial};
use crate::simulation::plant::SharedPlant;
use crate::simulation::scenario::{self, Scenario};
use crate::simulation::scores::{GUARD, ScenarioScore, TrialScore};
use crate::simulation::truth::Truth;

use super::output::{self, Existing};
use super::{Failure, settings, swarm};

/// Version of the JSON form.
pub(super) const FORM: u32 = 1;

/// Run scenarios in virtual time and score bursar beside what people have without it.
///
/// Every policy meets the same callers and the same attack: load, virtual platform, policy,
/// controls, platform. One seed gives one result. Exit code 1 when something that a scenario
/// expects does not hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  bursar simulate --seeds 20 simulations/flood_few_sources.toml
  bursar simulate --json scores.json simulations/*.toml
  bursar simulate --swarm 1000

Scenarios are described in simulations/README.md.")]
pub struct SimulateArgs {
    /// Settings file for bursar; its mode is enforce in any case
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Instead of scenarios: draw so many small worlds from seeds, the first on, with faults and
    /// settings of their own, and check what must hold in all of them
    #[arg(long, value_name = "N", conflicts_with_all = ["scenarios", "config", "seeds", "report"],
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    swarm: Option<u64>,
    /// How many seeds, from the first on
    #[arg(long, value_name = "K", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The same as one JSON document; with - instead of the tables
    #[arg(long, value_name = "OUT.json")]
    pub(super) json: Option<PathBuf>,
    /// The same with pictures, as one HTML file that needs no network
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,
    /// What bursar said and did, one JSON object per line, as bursar replay writes it; needs one
    /// scenario and one seed
    #[arg(long, value_name = "OUT.jsonl", conflicts_with = "swarm")]
    decisions: Option<PathBuf>,
    /// Usage and money per minute and function under bursar, one JSON object per line
    #[arg(long, value_name = "OUT.jsonl", conflicts_with = "swarm")]
    ledger: Option<PathBuf>,
    /// Truth about the attacks as they went under bursar, for bursar evaluate
    #[arg(long, value_name = "OUT.json", conflicts_with = "swarm")]
    truth: Option<PathBuf>,
    /// Scenarios
    #[arg(required_unless_present = "swarm", value_name = "SCENARIO.toml")]
    scenarios: Vec<PathBuf>,
}

/// Simulates.
///
/// # Errors
/// Settings or scenarios that are refused, outputs that cannot be written, and expectations that
/// do not hold.
pub fn run(args: &SimulateArgs) -> Result<(), Failure> {
    if let Some(count) = args.swarm {
        return Ok(swarm::run(args, count)?);
    }
    let is_one = args.seeds == 1 && args.scenarios.len() == 1;
    if !is_one && (args.decisions.is_some() || args.ledger.is_some() || args.truth.is_some()) {
        return Err(Failure::Usage(
            "--decisions, --ledger and --truth are about one run: give one scenario and one seed"
                .to_owned(),
        ));
    }
    let settings = settings(args.config.as_ref())?;
    let scenarios = read_scenarios(&args.scenarios)?;
    simulate(args, &settings, &scenarios)?;
    Ok(())
}

/// Reads all scenarios, or says what is wrong with all of them.
///
/// # Errors
/// Something is.
pub(super) fn read_scenarios(paths: &[PathBuf]) -> Result<Vec<Scenario>, Failure> {
    let read: Vec<_> = paths.iter().map(|path| scenario::read(path, recorded::open)).collect();
    let problems: Vec<String> =
        read.iter().filter_map(|read| read.as_ref().err()).map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Err(Failure::Usage(format!("scenarios are refused:\n{}", problems.join("\n"))));
    }
    Ok(read.into_iter().filter_map(Result::ok).collect())
}

/// Everything that is read: scenarios and settings, and the files that they name.
pub(super) fn inputs(
    paths: &[PathBuf],
    scenarios: &[Scenario],
    config: Option<&PathBuf>,
    settings: &Settings,
) -> Vec<PathBuf> {
    let named = scenarios.iter().flat_map(|scenario| &scenario.files);
    let prices = settings.cost.prices_file.iter();
    paths.iter().chain(named).chain(config).chain(prices).cloned().collect()
}

fn simulate(
    args: &SimulateArgs,
    settings: &Settings,
    scenarios: &[Scenario],
) -> anyhow::Result<()> {
    let json = args.json.as_deref();
    let inputs = inputs(&args.scenarios, scenarios, args.config.as_ref(), settings);
    let files = [&args.json, &args.report, &args.decisions, &args.ledger, &args.truth];
    let outputs: Vec<&Path> = files.into_iter().filter_map(Option::as_deref).collect();
    output::check(&inputs, &outputs)?;
    let last = args.seed.checked_add(args.seeds).context("--seed + --seeds is too large")?;
    let tables = !outputs.iter().any(|path| output::is_stdout(path));
    let threads = threads(args);
    let bar = progress_bar(scenarios.len() as u64 * args.seeds);
    let (mut scores, mut pictures) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        bar.set_message(scenario.name.clone());
        let seeds: Vec<u64> = (args.seed..last).collect();
        let inside = (threads / seeds.len()).max(1);
        let trials = closed_loop::all(seeds, threads, |seed| {
            let trial = one(args, settings, scenario, seed, inside)?;
            bar.inc(1);
            // A trial is large; what is kept of it is small.
            let wanted = args.report.is_some() && seed == args.seed;
            let picture = wanted.then(|| Picture::new(scenario, &trial));
            Ok((TrialScore::new(scenario, &trial), picture))
        });
        let trials: Vec<_> = trials.into_iter().collect::<anyhow::Result<_>>()?;
        let (trials, drawn): (Vec<_>, Vec<_>) = trials.into_iter().unzip();
        pictures.extend(drawn.into_iter().flatten());
        let score = ScenarioScore::new(scenario, trials);
        if tables {
            bar.suspend(|| writeln!(io::stdout(), "{score}"))?;
        }
        scores.push(score);
    }
    bar.finish_and_clear();
    if let Some(path) = json {
        let value = serde_json::json!({ "v": FORM, "kind": "simulate", "scenarios": scores });
        output::write_json(path, &value)?;
    }
    if let Some(path) = &args.report {
        output::write_text(path, &report::simulation::render(&scores, &pictures))?;
    }
    let failed: Vec<&str> =
        scores.iter().filter(|score| !score.holds()).map(|score| score.scenario.as_str()).collect();
    anyhow::ensure!(
        failed.is_empty(),
        "what is expected does not hold in {}; see the lines below their tables",
        failed.join(", ")
    );
    Ok(())
}

fn one(
    args: &SimulateArgs,
    settings: &Settings,
    scenario: &Scenario,
    seed: u64,
    threads: usize,
) -> anyhow::Result<Trial> {
    let plant = SharedPlant::default();
    let sink = |path: &Option<PathBuf>| output::open_if_named(path.as_deref(), Existing::Replace);
    let recorder =
        Recorder::new().with_decisions(sink(&args.decisions)?).with_ledger(sink(&args.ledger)?);
    let guard = Guard::recorded(settings, scenario, &plant, recorder)?;
    let guards: Vec<Hand> = vec![(Box::new(guard), plant)];
    let trial = trial(scenario, seed, guards, threads).with_context(|| scenario.name.clone())?;
    if let Some((path, run)) = args.truth.as_ref().zip(trial.run_of(GUARD)) {
        let truth = Truth::of_run(scenario, &trial, run);
        output::write_json(path, &serde_json::to_value(&truth)?)?;
    }
    Ok(trial)
}

/// How many threads to use.
pub(super) fn threads(args: &SimulateArgs) -> usize {
    let threads = args.threads.map(usize::from);
    threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZeroUsize::get))
}

/// Progress on standard error, where that is a terminal.
pub(super) fn progress_bar(steps: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
