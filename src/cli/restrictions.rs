//! `bursar restrictions`, `bursar restore` and `bursar stop-actions`: what is in force, and how to
//! end it. All three work from the journal alone, with the daemon dead or hung.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::act::concurrency::GivenBack;
use crate::config::settings::Settings;
use crate::control::action::Setting;
use crate::runtime::{clock, reach};
use crate::store::journal::{Contents, Entry, Journal};
use crate::units::EventTime;

use super::{Failure, settings};

/// List what is restricted, since when, and what stood there before.
#[derive(Debug, clap::Args)]
pub struct RestrictionsArgs {
    /// Settings file, which says where the journal is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Give back what is restricted, from the journal alone, with the daemon dead or hung.
///
/// A daemon that is alive leaves what was given back by hand alone for `control.veto`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// Functions, by name or as account:region:name
    #[arg(value_name = "FUNCTION", required_unless_present_any = ["all", "expired"])]
    functions: Vec<String>,
    /// Everything
    #[arg(long, conflicts_with_all = ["functions", "expired"])]
    all: bool,
    /// What is past its time, for a timer
    #[arg(long, conflicts_with = "functions")]
    expired: bool,
    /// Also what somebody else has changed since
    #[arg(long)]
    force: bool,
    /// Only say what would be given back
    #[arg(long)]
    dry_run: bool,
    /// Settings file, which says where the journal is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Stop all new restrictions at once, whether the daemon is well or not; restores go on.
#[derive(Debug, clap::Args)]
pub struct StopActionsArgs {
    /// And give everything back
    #[arg(long, conflicts_with = "resume")]
    restore: bool,
    /// Allow restrictions again
    #[arg(long)]
    resume: bool,
    /// Settings file, which says where the journal is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Lists.
///
/// # Errors
/// Settings, or a journal that cannot be read; damaged entries are told after the others.
pub fn list(args: &RestrictionsArgs) -> Result<(), Failure> {
    let settings = settings(args.config.as_ref())?;
    let contents = contents(&settings)?;
    let mut out = io::stdout().lock();
    let written = if args.json {
        contents.entries.iter().try_for_each(|entry| {
            let line = serde_json::to_string(entry).map_err(io::Error::from)?;
            writeln!(out, "{line}")
        })
    } else {
        table(&mut out, &contents.entries)
    };
    written.map_err(anyhow::Error::from)?;
    complain(&contents)
}

fn table(out: &mut impl Write, entries: &[Entry]) -> io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "nothing is restricted");
    }
    for entry in entries {
        let restriction = &entry.restriction;
        writeln!(
            out,
            "{}  {}  {}\n  {} {} (before: {}), since {}, until {}\n  {}",
            restriction.id,
            restriction.function,
            entry.step.as_str(),
            restriction.actuator.as_str(),
            shown(entry.wanted()),
            shown(&restriction.prior),
            restriction.since,
            restriction.expires_at,
            restriction.reason
        )?;
    }
    Ok(())
}

/// Restores.
///
/// # Errors
/// Settings, the journal, or a restriction that could not be given back.
pub fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let settings = settings(args.config.as_ref())?;
    let contents = contents(&settings)?;
    let now = clock::as_event_time(clock::wall());
    let chosen: Vec<&Entry> =
        contents.entries.iter().filter(|entry| is_chosen(args, entry, now)).collect();
    for name in &args.functions {
        if !chosen.iter().any(|entry| is_named(entry, name)) {
            return Err(Failure::Other(anyhow::anyhow!(
                "nothing in the journal is about {name}; `bursar restrictions` lists what is"
            )));
        }
    }
    give_back(&settings, &chosen, args.force, args.dry_run)?;
    complain(&contents)
}

/// Stops or resumes.
///
/// # Errors
/// Settings, the journal, or a restriction that could not be given back.
pub fn stop(args: &StopActionsArgs) -> Result<(), Failure> {
    let settings = settings(args.config.as_ref())?;
    let journal = journal(Path::new(&settings.journal))?;
    journal.set_stopped(!args.resume).map_err(anyhow::Error::from)?;
    say(if args.resume {
        "new restrictions are allowed again"
    } else {
        "no new restrictions from now on; `bursar stop-actions --resume` allows them again"
    })?;
    if args.restore {
        let contents = contents(&settings)?;
        give_back(&settings, &contents.entries.iter().collect::<Vec<_>>(), false, false)?;
        complain(&contents)?;
    }
    Ok(())
}

fn is_chosen(args: &RestoreArgs, entry: &Entry, now: EventTime) -> bool {
    let named = args.functions.iter().any(|name| is_named(entry, name));
    args.all || named || (args.expired && entry.restriction.expires_at <= now)
}

fn is_named(entry: &Entry, name: &str) -> bool {
    let function = &entry.restriction.function;
    *function.name == *name || function.to_string() == name
}

fn contents(settings: &Settings) -> Result<Contents, Failure> {
    let path = Path::new(&settings.journal);
    Ok(journal(path)?.contents().map_err(anyhow::Error::from)?)
}

/// A journal that is there: a path that is not is most likely another daemon's.
fn journal(path: &Path) -> Result<Journal, Failure> {
    if !path.is_dir() {
        return Err(Failure::Other(anyhow::anyhow!(
            "there is no journal at {}; name the settings of the daemon with --config",
            path.display()
        )));
    }
    Ok(Journal::open(path).map_err(anyhow::Error::from)?)
}

/// What could not be read is a failure, after everything else was done.
fn complain(contents: &Contents) -> Result<(), Failure> {
    let Some(first) = contents.damaged.first() else {
        return Ok(());
    };
    let count = contents.damaged.len();
    Err(Failure::Other(anyhow::anyhow!("{count} entries cannot be read, the first: {first}")))
}

fn give_back(
    settings: &Settings,
    chosen: &[&Entry],
    force: bool,
    dry_run: bool,
) -> Result<(), Failure> {
    if chosen.is_empty() {
        return say("nothing to give back");
    }
    if dry_run {
        for entry in chosen {
            let restriction = &entry.restriction;
            let (now, before) = (shown(entry.wanted()), shown(&restriction.prior));
            say(&format!("{}: {now} would become {before}", restriction.function))?;
        }
        return Ok(());
    }
    let mut hand = reach::hand(settings)?;
    let mut failed = 0_usize;
    for entry in chosen {
        let restriction = &entry.restriction;
        let function = &restriction.function;
        let words = match hand.give_back(entry, force) {
            Ok(GivenBack::Done) => format!("{function}: {} again", shown(&restriction.prior)),
            Ok(GivenBack::Foreign(found)) => format!(
                "{function}: somebody else has set it to {}, left alone; --force overrides",
                shown(&found)
            ),
            Ok(GivenBack::Gone) => format!("{function}: the function is gone"),
            Err(error) => {
                failed += 1;
                format!("{function}: {error:#}")
            }
        };
        say(&words)?;
    }
    if failed > 0 {
        let all = chosen.len();
        return Err(Failure::Other(anyhow::anyhow!(
            "{failed} of {all} could not be given back and stay in the journal; try again"
        )));
    }
    Ok(())
}

fn shown(setting: &Setting) -> String {
    match setting {
        Setting::Unset => "no reservation".to_owned(),
        Setting::Unknown => "unknown".to_owned(),
        Setting::Set(_) => match setting.number() {
            Some(number) => format!("a reservation of {number}"),
            None => format!("{} addresses", setting.addresses().len()),
        },
    }
}

fn say(words: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{words}").map_err(|error| Failure::Other(error.into()))
}
