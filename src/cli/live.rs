//! `bursar check --live`: what the cloud allows, and whether what is in force is what the journal
//! says. Nothing that exists is changed: writes are tried on a name that nobody has.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::act::lambda::Lambda;
use crate::act::plane::{ControlPlane, Fault, Release, Target};
use crate::config::settings::{Release as By, Settings};
use crate::control::action::{ActuatorKind, Setting};
use crate::control::restriction::Restriction;
use crate::record::{FunctionKey, FunctionRef};
use crate::runtime::{clock, reach};
use crate::store::journal::{Contents, Entry, Journal, Step};

/// A mapping that nobody has.
const NO_MAPPING: &str = "00000000-0000-4000-8000-000000000000";
/// A release that is left for the check stands so long at most.
const PROBE_MS: i64 = 3_600_000;

struct Live<'a> {
    settings: &'a Settings,
    plane: Lambda,
    problems: usize,
}

/// Looks, and says what is found, one line each. Returns how many problems there are.
///
/// # Errors
/// Calls that cannot be made at all, a journal that cannot be read.
pub(super) fn check(settings: &Settings) -> anyhow::Result<usize> {
    let journal = Journal::open(settings.journal.as_ref())?;
    let contents = journal.contents()?;
    let mut live = Live { settings, plane: reach::plane(settings)?, problems: 0 };
    for region in regions(settings, &contents) {
        live.permissions(&region)?;
    }
    live.routes()?;
    for damaged in &contents.damaged {
        live.say(false, &damaged.to_string())?;
    }
    for entry in &contents.entries {
        live.restriction(entry)?;
    }
    if let Some(reason) = journal.stopped() {
        live.say(true, &reason)?;
    }
    Ok(live.problems)
}

/// Where something is or may be restricted.
fn regions(settings: &Settings, contents: &Contents) -> BTreeSet<Box<str>> {
    let routed = settings.routes.iter().map(|route| route.function.region.clone());
    let held = contents.entries.iter().map(|entry| entry.restriction.function.region.clone());
    let own: Box<str> = settings.input.region.as_str().into();
    routed.chain(held).chain([own]).collect()
}

impl Live<'_> {
    fn say(&mut self, good: bool, words: &str) -> io::Result<()> {
        self.problems += usize::from(!good);
        writeln!(io::stdout(), "{}  {words}", if good { "ok " } else { "BAD" })
    }

    /// Says how a call went that must find nothing.
    fn probed(&mut self, call: &str, done: Result<(), Fault>) -> io::Result<()> {
        match done {
            Ok(()) | Err(Fault::Missing(_)) => self.say(true, &format!("{call} is allowed")),
            Err(fault) => self.say(false, &format!("{call}: {}", fault.words())),
        }
    }

    fn permissions(&mut self, region: &str) -> anyhow::Result<()> {
        match self.plane.account(region) {
            Ok(limits) => self.say(
                true,
                &format!(
                    "{region}: concurrency {} in all, {} of it unreserved",
                    limits.concurrency, limits.unreserved
                ),
            )?,
            Err(fault) => self.say(false, &format!("{region}: {}", fault.words()))?,
        }
        let name = format!("bursar-check-{:x}-{:x}", std::process::id(), clock::wall().0);
        let nobody = FunctionRef::try_new(self.settings.input.account, region, &name)?.to_key();
        let target = reserved(&nobody);
        let read = self.plane.limit(target).map(drop);
        self.probed(&format!("{region}: lambda:GetFunctionConcurrency"), read)?;
        let put = self.plane.set_limit(target, Some(1));
        self.probed(&format!("{region}: lambda:PutFunctionConcurrency"), put)?;
        let delete = self.plane.set_limit(target, None);
        self.probed(&format!("{region}: lambda:DeleteFunctionConcurrency"), delete)?;
        let feed = self.plane.feed(&nobody).map(drop);
        self.probed(&format!("{region}: lambda:ListEventSourceMappings"), feed)?;
        let queue = ActuatorKind::SqsMaximumConcurrency;
        let mapping = Target { actuator: queue, mapping: Some(NO_MAPPING), ..target };
        let read = self.plane.limit(mapping).map(drop);
        self.probed(&format!("{region}: lambda:GetEventSourceMapping"), read)?;
        let update = self.plane.set_limit(mapping, Some(queue.range().1));
        self.probed(&format!("{region}: lambda:UpdateEventSourceMapping"), update)?;
        match self.settings.lambda.release {
            By::Schedule => self.release(region, &nobody)?,
            By::Timer => self.say(
                true,
                "a timer is to run `bursar restore --expired`; whether it does is not seen here",
            )?,
            By::Nobody => self.say(true, "nothing is restricted without lambda.release")?,
        }
        Ok(())
    }

    /// Only making one shows whether the role may be lent.
    fn release(&mut self, region: &str, nobody: &FunctionKey) -> anyhow::Result<()> {
        let now = clock::as_event_time(clock::wall());
        let key = nobody.name.trim_start_matches("bursar-").to_owned();
        let expires_at = now.plus_ms(PROBE_MS);
        let release = Release { key, target: reserved(nobody), prior: None, expires_at };
        let left = self.plane.leave_release(&release);
        // Each renewal moves it.
        let left = left.and_then(|()| self.plane.leave_release(&release));
        let is_left = left.is_ok();
        self.probed(
            &format!(
                "{region}: scheduler:CreateSchedule and UpdateSchedule with lambda.release_role"
            ),
            left,
        )?;
        if is_left {
            let withdrawn = self.plane.withdraw_release(&release);
            self.probed(&format!("{region}: scheduler:DeleteSchedule"), withdrawn)?;
        }
        Ok(())
    }

    fn routes(&mut self) -> anyhow::Result<()> {
        for route in &self.settings.routes {
            let words = format!("the route of API {} leads to {}", route.api, route.function);
            match self.plane.limit(reserved(&route.function)) {
                Ok(_) => self.say(true, &words)?,
                Err(fault) => self.say(false, &format!("{words}: {}", fault.words()))?,
            }
        }
        Ok(())
    }

    fn restriction(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let Restriction { id, function, expires_at, prior, .. } = &entry.restriction;
        let found = match self.plane.limit(Target::of(&entry.restriction)) {
            Ok(value) => Setting::of_number(value),
            Err(fault) => {
                self.say(false, &format!("restriction {id}: {function}: {}", fault.words()))?;
                return Ok(());
            }
        };
        let wanted = if entry.step == Step::GivenBack { prior } else { entry.wanted() };
        let late = *expires_at <= clock::as_event_time(clock::wall());
        let drifted = found != *wanted;
        let words = match (drifted, late && entry.step != Step::GivenBack) {
            (true, _) => "drifted: something else stands there than what is wanted",
            (false, true) => "past its time; `bursar restore --expired` gives it back",
            (false, false) => "as the journal says",
        };
        let good = words.starts_with("as");
        self.say(good, &format!("restriction {id}: {function}: {words}"))?;
        Ok(())
    }
}

fn reserved(function: &FunctionKey) -> Target<'_> {
    Target { function, actuator: ActuatorKind::ReservedConcurrency, mapping: None }
}
