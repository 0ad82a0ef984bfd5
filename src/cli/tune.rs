//! `bursar tune`: which settings would have cost least, over scenarios and seeds?

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use crate::config::file::changed_file;
use crate::config::settings::Settings;
use crate::report;
use crate::simulation::scenario::Scenario;
use crate::tune::halving::{Round, rounds};
use crate::tune::knobs::{Candidate, Load, candidates};
use crate::tune::price::Prices;
use crate::tune::record::{Record, premises};
use crate::tune::result::Comparison;
use crate::tune::search::{Progress, Search};

use super::simulate::{inputs, progress_bar, read_scenarios};
use super::{Failure, environment, output};

/// Search settings of detection and control over scenarios and seeds, and write the best ones down.
///
/// What a run costs is what leaks beyond the unavoidable, a price for each legitimate request
/// denied, and a price for each false action. Candidates are drawn around the settings in force,
/// halved round by round, and what is left is compared on seeds that the search has not seen. One
/// seed gives one result.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  bursar tune --out tuned.toml simulations/flood_*.toml simulations/flash_crowd.toml
  bursar tune --state tune.jsonl --evaluations 5000 simulations/*.toml   goes on after a stop

Give attacks and harmless surprises together: settings that see attacks only learn to act on
everything.")]
pub struct TuneArgs {
    /// Settings file to start from
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Runs of one candidate over one scenario and seed that the search may take; turning back what
    /// does not pay and the comparison at the end come on top
    #[arg(long, value_name = "N", default_value_t = 400,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    evaluations: u64,
    /// The first seed, also of the candidates
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The most seeds that a candidate is tried on; the comparison takes as many others
    #[arg(long, value_name = "K", default_value_t = 4,
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// What it costs to deny a legitimate request, in dollars
    #[arg(long, value_name = "USD", default_value_t = 0.01, value_parser = usd)]
    denied_usd: f64,
    /// What it costs to restrict something that nobody attacks, in dollars
    #[arg(long, value_name = "USD", default_value_t = 10.0, value_parser = usd)]
    false_action_usd: f64,
    /// Where to write the settings that are different [default: standard output]
    #[arg(long, value_name = "OUT.toml", default_value = "-", hide_default_value = true)]
    out: PathBuf,
    /// Finished runs, one JSON object per line, written as each is done; what stands there is not
    /// run again by the same program with the same scenario, settings and seed
    #[arg(long, value_name = "FILE.jsonl")]
    state: Option<PathBuf>,
    /// The trade-off as one HTML file that needs no network
    #[arg(long, value_name = "OUT.html")]
    report: Option<PathBuf>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Scenarios
    #[arg(required = true, value_name = "SCENARIO.toml")]
    scenarios: Vec<PathBuf>,
}

/// Tunes.
///
/// # Errors
/// Settings or scenarios that are refused, too few evaluations, files that cannot be written.
pub fn run(args: &TuneArgs) -> Result<(), Failure> {
    let scenarios = read_scenarios(&args.scenarios)?;
    let mut names = BTreeSet::new();
    if let Some(twice) = scenarios.iter().find(|scenario| !names.insert(&scenario.name)) {
        let name = &twice.name;
        return Err(Failure::Usage(format!("scenario {name} is given twice, give it once")));
    }
    let count = scenarios.len() as u64;
    let rounds = rounds(args.evaluations, count, args.seeds);
    let Some(first) = rounds.first() else {
        return Err(Failure::Usage(format!(
            "--evaluations {} are too few to compare two settings on {count} scenarios, give at \
             least {}",
            args.evaluations,
            2 * count
        )));
    };
    let drawn = usize::try_from(first.candidates).unwrap_or(usize::MAX);
    let load =
        |turned| crate::config::load(args.config.as_deref(), environment().chain::<Vec<_>>(turned));
    let candidates = candidates(drawn, args.seed, &load)?;
    tune(args, &scenarios, &rounds, candidates, &load)?;
    Ok(())
}

fn tune(
    args: &TuneArgs,
    scenarios: &[Scenario],
    rounds: &[Round],
    mut candidates: Vec<Candidate>,
    load: &Load<'_>,
) -> anyhow::Result<()> {
    let state = args.state.as_deref();
    let start = &candidates[0].settings;
    let inputs = inputs(&args.scenarios, scenarios, args.config.as_ref(), start);
    let outputs: Vec<&Path> = state.into_iter().chain(args.report.as_deref()).collect();
    output::check(&inputs, &[&outputs[..], &[&args.out]].concat())?;
    let [seen, unseen] = seeds(args)?;
    let threads = args.threads.map(usize::from);
    let threads = threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZeroUsize::get));
    let prices = Prices { denied_usd: args.denied_usd, false_action_usd: args.false_action_usd };
    let record = state.map(Record::open).transpose()?.unwrap_or_default();
    let premises = premises(start.cost.prices_file.as_deref())?;
    let bar = progress_bar(0);
    let tell = |progress: Progress| {
        bar.set_length(progress.expected);
        bar.set_position(progress.done);
    };
    let search = Search::new(scenarios, prices, threads, (record, &premises), tell);
    let found = search.run(&mut candidates, load, rounds, args.seed, unseen.clone())?;
    bar.finish_and_clear();
    let comparison = Comparison::new(&search, scenarios, &candidates, &found, unseen.clone());
    let told = about(args, rounds, scenarios.len(), &comparison);
    if !output::is_stdout(&args.out) {
        write!(io::stdout(), "{told}\n{comparison}")?;
    }
    let base = &candidates[0].settings;
    let file = file(&told, &comparison, base, &candidates[found.winner].settings);
    output::write_text(&args.out, &file)?;
    if let Some(path) = &args.report {
        output::write_text(path, &report::tuning::render(&told, &comparison))?;
    }
    debug_assert!(seen.end <= unseen.start, "what is compared was not seen");
    Ok(())
}

/// The seeds of the search, and those of the comparison.
fn seeds(args: &TuneArgs) -> anyhow::Result<[std::ops::Range<u64>; 2]> {
    let middle = args.seed.checked_add(args.seeds);
    let end = middle.and_then(|middle| middle.checked_add(args.seeds));
    let both = middle.zip(end).map(|(middle, end)| [args.seed..middle, middle..end]);
    both.ok_or_else(|| anyhow::anyhow!("--seed + twice --seeds is too large"))
}

/// What was done, in sentences.
fn about(args: &TuneArgs, rounds: &[Round], scenarios: usize, comparison: &Comparison) -> String {
    let plan = rounds.iter().map(|round| format!("{} on {}", round.candidates, round.seeds));
    let plan = plan.collect::<Vec<_>>().join(", ");
    let first = args.seed + args.seeds;
    let last = first + args.seeds - 1;
    let verdict = if comparison.is_better() {
        "The settings that were found cost less there, too."
    } else {
        "Nothing that was found costs less there than the settings it started from and keeps all \
         promises: keep them."
    };
    format!(
        "Settings tried, on how many seeds of each of {scenarios} scenarios: {plan}.\n\
         A denied request is priced ${}, a false action ${}; what is told here are means over \
         runs on seeds {first} to {last}, which the search has not seen.\n{verdict}\n",
        args.denied_usd, args.false_action_usd,
    )
}

/// The settings file, with what it is and what it would have cost before the keys.
fn file(told: &str, comparison: &Comparison, base: &Settings, winner: &Settings) -> String {
    let mut text = String::from(
        "# Written by bursar tune, to be laid over the settings it \
                                 started from.\n#\n",
    );
    for line in told.lines().chain([""]).chain(comparison.to_string().lines()) {
        let written = writeln!(text, "{}", format!("# {line}").trim_end());
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
    text + &changed_file(base, winner)
}

/// An amount of money that can be a price.
fn usd(text: &str) -> Result<f64, String> {
    let accepted = || "a number from 0 to 1000000 is needed".to_owned();
    let usd: f64 = text.parse().map_err(|_| accepted())?;
    // Positive form, so that NaN fails.
    if (0.0..=1e6).contains(&usd) { Ok(usd) } else { Err(accepted()) }
}
