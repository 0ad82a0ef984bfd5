//! `bursar run`: the daemon.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::config::settings::{InputKind, Settings};
use crate::control::settings::{ControlSettings, Mode};
use crate::runtime::daemon;

use super::{Failure, output, settings};

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
        demonstrate(&mut settings);
    }
    crate::observe::logging::init(settings.log).context("cannot set up the log")?;
    let decisions = output::create_if_named(settings.output.decisions.as_deref())?;
    let ledger = output::create_if_named(settings.output.ledger.as_deref())?;
    let sinks = daemon::Sinks { decisions, ledger, narration: Some(output::narration()) };
    daemon::run(&settings, sinks)?;
    Ok(())
}

/// The embedded default acts, on its virtual platform only, and takes seconds where production
/// would take minutes, so that a whole attack can be watched within one.
fn demonstrate(settings: &mut Settings) {
    settings.engine.lateness_seconds = 4;
    settings.control = ControlSettings {
        mode: Mode::Enforce,
        settle_seconds: 5,
        quiet_seconds: 3,
        canary_seconds: 2,
        ..settings.control.clone()
    };
}
