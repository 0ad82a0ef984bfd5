//! Settings to hands that reach a real platform, and what such hands held before the start.

use crate::act::dry_run::DryRun;
use crate::act::hands::Hands;
use crate::config::settings::Settings;
use crate::control::restriction::Restriction;
use crate::control::settings::Mode;
use crate::store::journal::Journal;

/// Hands, and the restrictions that are in force already.
pub type Reach = (Hands, Vec<Restriction>);

/// Hands for a live input.
///
/// # Errors
/// A journal that cannot be used, or that another process acts from.
pub fn reach(settings: &Settings) -> anyhow::Result<Reach> {
    match settings.control.mode {
        Mode::Approve | Mode::Enforce => lambda(settings),
        Mode::Observe => {
            warn_of_leftovers(settings);
            Ok((Hands::here(Box::new(DryRun)), Vec::new()))
        }
    }
}

fn warn_of_leftovers(settings: &Settings) {
    let path = std::path::Path::new(&settings.journal);
    let contents = path.exists().then(|| Journal::open(path).and_then(|held| held.contents()));
    let left = contents.and_then(Result::ok).map_or(0, |contents| contents.entries.len());
    if left > 0 {
        tracing::warn!(
            restrictions = left,
            "mode is observe, but the journal holds restrictions; `bursar restore --all` gives \
             them back"
        );
    }
}

#[cfg(not(feature = "aws"))]
fn lambda(_: &Settings) -> anyhow::Result<Reach> {
    anyhow::bail!(
        "lambda.enabled is true, but this bursar was built without it; build with --features aws"
    )
}

#[cfg(feature = "aws")]
fn lambda(settings: &Settings) -> anyhow::Result<Reach> {
    use crate::store::journal::Step;

    let journal = journal(settings)?;
    let lock = journal.take()?;
    let contents = journal.contents()?;
    let damaged = contents.damaged.first().map(|error| {
        tracing::error!(
            damaged = contents.damaged.len(),
            "the journal is damaged, nothing new is restricted: {error}"
        );
        format!("{error}")
    });
    let in_force = contents.entries.into_iter().filter(|entry| entry.step != Step::GivenBack);
    let adopted: Vec<Restriction> = in_force.map(|entry| entry.restriction).collect();
    if !adopted.is_empty() {
        tracing::info!(restrictions = adopted.len(), "taking over what is in force");
    }
    let own = settings.clone();
    let switch = journal.clone();
    let hands = Hands::apart(now, move || hand(&own))?
        .stopped_by(move || {
            let _held = &lock;
            damaged.clone().or_else(|| journal.stopped())
        })
        .switched_by(move |stopped| Ok(switch.set_stopped(stopped)?));
    Ok((hands, adopted))
}

#[cfg(feature = "aws")]
fn now() -> crate::units::EventTime {
    super::clock::as_event_time(super::clock::wall())
}

/// The journal of these settings.
///
/// # Errors
/// A directory that cannot be made.
#[cfg(feature = "aws")]
pub fn journal(settings: &Settings) -> anyhow::Result<Journal> {
    Ok(Journal::open(settings.journal.as_ref())?)
}

/// The calls to the cloud.
///
/// # Errors
/// The system refuses what calls need.
#[cfg(feature = "aws")]
pub fn plane(settings: &Settings) -> anyhow::Result<crate::act::lambda::Lambda> {
    use crate::act::lambda::{Lambda, LambdaSettings};

    let lambda = &settings.lambda;
    Ok(Lambda::new(&LambdaSettings {
        endpoint: (!lambda.endpoint.is_empty()).then(|| lambda.endpoint.clone()),
        requests_per_second: lambda.requests_per_second,
        release_role: (!lambda.release_role.is_empty()).then(|| lambda.release_role.clone()),
    })?)
}

/// The hand on concurrency.
///
/// # Errors
/// The journal, or the system refuses what calls need.
#[cfg(feature = "aws")]
pub fn hand(
    settings: &Settings,
) -> anyhow::Result<crate::act::concurrency::Concurrency<crate::act::lambda::Lambda>> {
    use crate::act::concurrency::Concurrency;

    let plane = plane(settings)?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let owner = format!("{}/{}", host.trim(), std::process::id());
    Ok(Concurrency::new(plane, journal(settings)?, owner))
}
