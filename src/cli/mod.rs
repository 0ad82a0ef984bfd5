//! The command line: one file per subcommand. Exit codes: 0 done, 1 failed, 2 usage or settings.

pub mod run;

pub mod replay;

pub mod learn;

pub mod generate;

pub mod evaluate;

pub mod simulate;
mod swarm;

pub mod tune;

pub mod score;

pub mod check;
#[cfg(feature = "aws")]
mod live;

#[cfg(feature = "aws")]
pub mod restrictions;

pub mod explain;

pub mod token;

pub mod audit;

pub mod state;

mod output;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::config::problems::ConfigProblems;
use crate::config::settings::Settings;

/// Keeps a serverless bill from being run up by somebody else.
///
/// Without a command it is `bursar run`, and without settings that is a demonstration: a virtual
/// platform inside the process is attacked, and bursar finds, throttles and restores.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  bursar                                      watch an attack on a virtual platform
  bursar check --config bursar.toml           what is wrong with my settings?
  bursar run --config bursar.toml             the daemon
  bursar replay records.jsonl.gz              what would it have done?
  bursar replay --decisions d.jsonl - < records.jsonl
  bursar learn --out baselines.jsonl.gz history.jsonl.gz   what is normal here?
  bursar evaluate --truth t.json --decisions d.jsonl   how good was it?
  bursar explain c7a8 --decisions d.jsonl     why was that done, or not done?
  bursar restrictions                         what is capped now?
  bursar restore --all                        give everything back, daemon or not
  bursar score requests.csv                   what is unusual in a metric export?";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Replay(replay::ReplayArgs),
    Learn(learn::LearnArgs),
    Generate(generate::GenerateArgs),
    Evaluate(evaluate::EvaluateArgs),
    Simulate(simulate::SimulateArgs),
    Tune(tune::TuneArgs),
    Score(score::ScoreArgs),
    Check(check::CheckArgs),
    Alarms(explain::AlarmsArgs),
    Explain(explain::ExplainArgs),
    Token(token::TokenArgs),
    Audit(audit::AuditArgs),
    State(state::StateArgs),
    #[cfg(feature = "aws")]
    Restrictions(restrictions::RestrictionsArgs),
    #[cfg(feature = "aws")]
    Restore(restrictions::RestoreArgs),
    #[cfg(feature = "aws")]
    StopActions(restrictions::StopActionsArgs),
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// The settings; exit code 2.
    Settings(ConfigProblems),
    /// Arguments that do not go together; exit code 2.
    Usage(String),
    /// Anything else; exit code 1.
    Other(anyhow::Error),
}

impl From<ConfigProblems> for Failure {
    fn from(problems: ConfigProblems) -> Self {
        Failure::Settings(problems)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Other(error)
    }
}

/// Runs the command that the process was called with and returns its exit code.
pub fn main() -> u8 {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or_else(|| Command::Run(run::RunArgs::default()));
    let done = match command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Learn(args) => learn::run(&args, &mut io::stderr()),
        Command::Generate(args) => generate::run(&args, &mut io::stderr()).map_err(Failure::Other),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Score(args) => score::run(&args, &mut io::stderr()).map_err(Failure::Other),
        Command::Check(args) => check::run(&args),
        Command::Alarms(args) => explain::alarms(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Token(args) => token::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::State(args) => state::run(&args, &mut io::stdout(), &mut io::stderr()),
        #[cfg(feature = "aws")]
        Command::Restrictions(args) => restrictions::list(&args),
        #[cfg(feature = "aws")]
        Command::Restore(args) => restrictions::restore(&args),
        #[cfg(feature = "aws")]
        Command::StopActions(args) => restrictions::stop(&args),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => tell(&failure),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a failed command says so")]
fn tell(failure: &Failure) -> u8 {
    match failure {
        Failure::Settings(problems) => {
            eprintln!("{problems}");
            2
        }
        Failure::Usage(problem) => {
            eprintln!("bursar: {problem}");
            2
        }
        // A reader that has gone (`bursar ... | head`) is no failure worth a word.
        Failure::Other(error) if is_broken_pipe(error) => 0,
        Failure::Other(error) => {
            eprintln!("bursar: {error:#}");
            1
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Settings from a file and the environment.
fn settings(file: Option<&PathBuf>) -> Result<Settings, Failure> {
    let loaded = crate::config::load(file.map(|file| Path::new(file.as_path())), environment());
    loaded.map_err(Failure::Settings)
}

/// The environment as text. Variables of others may hold anything; a character of ours that is no
/// UTF-8 is replaced and then refused with the rest of the value.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    })
}
