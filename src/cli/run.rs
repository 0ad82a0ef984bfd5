//! `bursar run`: the daemon.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::config;
use crate::config::settings::InputKind;
use crate::runtime::daemon;

use super::output::{self, Existing};
use super::{Failure, environment, settings};

/// The settings of the demonstration; the environment lies over them. It acts, on its virtual
/// platform only, and takes seconds where production would take minutes, so that a whole attack
/// can be watched within one.
const DEMONSTRATION: &str = r#"
mode = "enforce"
[engine]
shards = 1
lateness = "4s"
[control]
settle = "5s"
quiet = "3s"
canary = "2s"
"#;

/// Read records as they come, find attacks, and throttle.
///
/// Without --config a virtual platform inside the process is watched, attacked and protected.
#[derive(Debug, Default, clap::Args)]
pub struct RunArgs {
    /// Settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs until the input ends or a signal comes.
///
/// # Errors
/// Settings, a port that is taken, an input that cannot be opened.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let mut settings = settings(args.config.as_ref())?;
    if args.config.is_none() && settings.input.kind == InputKind::Embedded {
        settings = config::load_text("the demonstration", DEMONSTRATION, environment())?;
    }
    crate::observe::logging::init(settings.log).context("cannot set up the log")?;
    let named = [settings.output.decisions.as_deref(), settings.output.ledger.as_deref()];
    // What goes to standard output must not be mixed with words for people.
    let machine = named.into_iter().flatten().any(output::is_stdout);
    let [decisions, ledger] = named;
    let decisions = decisions.map(output::open_chain).transpose();
    let ledger = output::open_if_named(ledger, Existing::Continue);
    let narration = (!machine).then(output::narration);
    let sinks = daemon::Sinks { decisions: decisions?, ledger: ledger?, narration };
    daemon::run(&settings, sinks)?;
    Ok(())
}
