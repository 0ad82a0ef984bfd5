//! How much of a function runs at once on a real platform: its reserved concurrency, or the limit
//! of its queue. Read, journalled, sent, read again.
//!
//! The order is what makes it safe to lose the process at any moment. What stands there is read and
//! written to the journal before anything changes; a release is left on the platform, which gives
//! back when nobody renews it; then the change is sent and read back; and the journal forgets it
//! when the prior state stands again.

mod rooms;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::rooms::Rooms;
use super::plane::{ControlPlane, Fault, Feed, Release, Target};
use super::{Actuator, Found, Held};
use crate::control::action::{
    ActuatorKind, Intent, Outcome, OutcomeKind, Place, Room, Setting, Verb,
};
use crate::control::restriction::Restriction;
use crate::record::FunctionKey;
use crate::store::journal::{Contents, Entry, Journal, JournalError, Step, key};
use crate::units::EventTime;

/// A change is sent at most so often.
const SENDS_MAX: u32 = 4;
/// And looked for so often, since what was just written may be read late.
const LOOKS_MAX: u32 = 5;
/// First pause between attempts; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// The platform may ask for a longer one, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// At most so many restrictions are looked at in one round, so that changes do not wait for long;
/// the next goes on behind them.
const TENDED_MAX: usize = 25;
/// What was decided longer ago may no longer be right; what gives back always is.
const STALE_MS: i64 = 60_000;

/// How giving one restriction back went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenBack {
    /// The prior state stands again.
    Done,
    /// Somebody else has changed it since; it was left alone, and the entry with it.
    Foreign(Setting),
    /// The function is gone.
    Gone,
}

/// The hand on concurrency.
#[derive(Debug)]
pub struct Concurrency<P> {
    plane: P,
    journal: Journal,
    owner: String,
    /// The last entry of the round before.
    tended: String,
    rooms: Rooms,
    /// Where caps were at the last round, and a function there.
    places: BTreeMap<Place, FunctionKey>,
}

/// What a change is for: the kill switch stops the one and never the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Take,
    GiveBack,
}

impl Purpose {
    fn of(verb: Verb) -> Self {
        match verb {
            Verb::Restrict | Verb::Tighten => Purpose::Take,
            Verb::Relax | Verb::Restore | Verb::Expire => Purpose::GiveBack,
        }
    }
}

/// How a change ended.
enum Change {
    Done,
    /// Surely not carried out.
    Not(Fault),
    /// Perhaps.
    Unknown(String),
}

impl<P: ControlPlane> Concurrency<P> {
    /// A hand that writes into `journal` under the name of `owner`.
    pub fn new(plane: P, journal: Journal, owner: String) -> Self {
        Self {
            plane,
            journal,
            owner,
            tended: String::new(),
            rooms: Rooms::default(),
            places: BTreeMap::new(),
        }
    }

    /// Gives back what an entry of the journal says, whoever made it, and forgets it.
    ///
    /// # Errors
    /// The platform or the journal; the entry stays.
    pub fn give_back(&mut self, entry: &Entry, force: bool) -> anyhow::Result<GivenBack> {
        let given_back = self.write_back(entry, force)?;
        if !matches!(given_back, GivenBack::Foreign(_)) {
            self.forget(entry)?;
        }
        Ok(given_back)
    }

    fn write_back(&mut self, entry: &Entry, force: bool) -> anyhow::Result<GivenBack> {
        let restriction = &entry.restriction;
        let (target, function) = (Target::of(restriction), &restriction.function);
        let found = match self.look(target) {
            Ok(found) => found,
            Err(Fault::Missing(_)) => return Ok(GivenBack::Gone),
            Err(fault) => anyhow::bail!("cannot read {function}: {}", fault.words()),
        };
        if found != restriction.prior && !entry.is_own(&found) && !force {
            return Ok(GivenBack::Foreign(found));
        }
        match self.change(target, &found, &restriction.prior, Purpose::GiveBack) {
            Change::Done => Ok(GivenBack::Done),
            Change::Not(fault) => anyhow::bail!("cannot restore {function}: {}", fault.words()),
            Change::Unknown(words) => anyhow::bail!("cannot restore {function}: {words}"),
        }
    }

    /// Nothing is wanted any more; the release stays until that was seen once more.
    fn let_go(&self, entry: &Entry, now: EventTime) -> Result<(), JournalError> {
        let mut lingering = entry.clone();
        lingering.step = Step::GivenBack;
        lingering.restriction.changed_at = now;
        self.journal.put(&lingering)
    }

    /// What was wanted was surely not carried out: `found` stands as before.
    fn undo(
        &self,
        mut entry: Entry,
        verb: Verb,
        found: &Setting,
        now: EventTime,
    ) -> Result<(), JournalError> {
        entry.settle(found, now);
        if verb == Verb::Restrict { self.let_go(&entry, now) } else { self.journal.put(&entry) }
    }

    /// Withdraws the release and strikes the entry out. Where that fails, the entry says that
    /// nothing else is left to do.
    fn forget(&mut self, entry: &Entry) -> anyhow::Result<()> {
        if let Err(fault) = self.plane.withdraw_release(&Release::of(&entry.restriction)) {
            let mut given_back = entry.clone();
            given_back.step = Step::GivenBack;
            self.journal.put(&given_back)?;
            tracing::warn!(
                restriction = %entry.restriction.id,
                "its release cannot be withdrawn yet ({}); it writes the prior state once more",
                fault.words()
            );
            return Ok(());
        }
        self.journal.remove(&entry.key())?;
        Ok(())
    }

    fn contents(&self) -> Contents {
        let contents = self.journal.contents().unwrap_or_else(|error| {
            tracing::error!("{error}");
            Contents::default()
        });
        for damaged in &contents.damaged {
            tracing::error!("{damaged}");
        }
        contents
    }

    /// Asks until there is an answer, within reason.
    fn ask<T>(&mut self, call: impl Fn(&mut P) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut pause = PAUSE;
        let mut left = SENDS_MAX;
        loop {
            left -= 1;
            match call(&mut self.plane) {
                Err(Fault::Busy(_, wanted)) if left > 0 => self.rest(&mut pause, wanted),
                Err(Fault::Unclear(_)) if left > 0 => self.rest(&mut pause, None),
                answer => return answer,
            }
        }
    }

    fn look(&mut self, target: Target<'_>) -> Result<Setting, Fault> {
        self.ask(|plane| plane.limit(target)).map(Setting::of_number)
    }

    fn rest(&mut self, pause: &mut Duration, wanted: Option<Duration>) {
        self.plane.pause(wanted.unwrap_or(*pause).max(*pause).min(PAUSE_MAX));
        *pause *= 2;
    }

    /// Makes `to` stand where `found` was, and looks whether it does.
    fn change(
        &mut self,
        target: Target<'_>,
        found: &Setting,
        to: &Setting,
        purpose: Purpose,
    ) -> Change {
        if found == to {
            return Change::Done;
        }
        if *to == Setting::Unknown {
            return Change::Not(Fault::Refused("nobody knows what stood there".to_owned()));
        }
        let mut pause = PAUSE;
        let mut unclear = None;
        for send in 1..=SENDS_MAX {
            if let Some(words) = self.stops(purpose) {
                return match unclear {
                    Some(_) => Change::Unknown(words),
                    None => Change::Not(Fault::Refused(words)),
                };
            }
            let wanted = match self.plane.set_limit(target, to.number()) {
                Ok(()) => return self.confirm(target, to),
                Err(Fault::Busy(words, wanted)) if send < SENDS_MAX => {
                    let function = target.function;
                    tracing::debug!(%function, words, "the control plane is busy");
                    wanted
                }
                Err(Fault::Unclear(words)) => {
                    if self.look(target).is_ok_and(|now| now == *to) {
                        return Change::Done;
                    }
                    unclear = Some(words);
                    None
                }
                // An attempt before this one may still come through.
                Err(fault) => {
                    return match unclear {
                        Some(words) => Change::Unknown(words),
                        None => Change::Not(fault),
                    };
                }
            };
            if send < SENDS_MAX {
                self.rest(&mut pause, wanted);
            }
        }
        Change::Unknown(unclear.unwrap_or_default())
    }

    /// Why a change that takes something away must not be made now.
    fn stops(&self, purpose: Purpose) -> Option<String> {
        (purpose == Purpose::Take).then(|| self.journal.stopped()).flatten()
    }

    /// Looks until something stands there that bursar may have put there itself, for a while: a
    /// single read may be out of date.
    fn look_again(&mut self, entry: &Entry, mut found: Setting) -> Result<Setting, Fault> {
        let mut pause = PAUSE;
        for _ in 1..LOOKS_MAX {
            let lifted = found == entry.restriction.prior && found != *entry.wanted();
            if entry.is_own(&found) && !lifted {
                break;
            }
            self.rest(&mut pause, None);
            found = self.look(Target::of(&entry.restriction))?;
        }
        Ok(found)
    }

    fn confirm(&mut self, target: Target<'_>, to: &Setting) -> Change {
        let mut pause = PAUSE;
        for look in 1..=LOOKS_MAX {
            if self.look(target).is_ok_and(|now| now == *to) {
                return Change::Done;
            }
            if look < LOOKS_MAX {
                self.rest(&mut pause, None);
            }
        }
        Change::Unknown("it was accepted, but does not show".to_owned())
    }

    fn try_apply(&mut self, intent: &Intent, now: EventTime) -> Result<Outcome, Outcome> {
        let unread = |kind, words: &str| outcome(kind, Setting::Unknown, words);
        if intent.actuator == ActuatorKind::WafIpSet {
            return Err(unread(OutcomeKind::Refused, "there is no hand for this actuator"));
        }
        let gives_back = matches!(intent.verb, Verb::Restore | Verb::Expire);
        if Purpose::of(intent.verb) == Purpose::Take && now.since_ms(intent.decided_at) > STALE_MS {
            return Err(unread(OutcomeKind::Refused, "it was decided too long ago"));
        }
        let known = match self.journal.get(&key(&intent.function, intent.actuator)) {
            Ok(known) => known,
            // Control knows what stood there.
            Err(error) if gives_back => {
                tracing::error!("{error}");
                None
            }
            Err(error) => return Err(unread(OutcomeKind::Refused, &error.to_string())),
        };
        let mapping = match intent.verb {
            Verb::Restrict => self.suits(intent)?,
            _ => known.as_ref().and_then(|entry| entry.restriction.mapping.clone()),
        };
        let Intent { function, actuator, .. } = intent;
        let target = Target { function, actuator: *actuator, mapping: mapping.as_deref() };
        let found = match self.look(target) {
            Ok(found) => found,
            Err(Fault::Missing(_)) if gives_back => {
                if let Some(entry) = &known {
                    self.forget(entry)
                        .map_err(|error| unread(OutcomeKind::Failed, &words(&error)))?;
                }
                return Ok(applied(Setting::Unknown, now, "the function is gone"));
            }
            Err(fault @ (Fault::Refused(_) | Fault::Missing(_))) => {
                return Err(unread(OutcomeKind::Refused, fault.words()));
            }
            Err(fault) => return Err(unread(OutcomeKind::Failed, fault.words())),
        };
        let same = |entry: &&Entry| entry.restriction.id == intent.restriction_id;
        let found = match known.as_ref().filter(same) {
            Some(entry) => self.look_again(entry, found.clone()).unwrap_or(found),
            None => found,
        };
        let own = known.as_ref().is_some_and(|entry| entry.is_own(&found));
        let refused = |words: &str| refusal(intent, &found, own, words);
        if known.as_ref().is_some_and(|entry| !same(&entry) && intent.verb != Verb::Restrict) {
            return Err(refused("the journal knows another restriction of this function"));
        }
        if let Some(objection) = intent.objection(&found).filter(|_| !own) {
            if let Some(entry) = known {
                self.let_go(&entry, now).map_err(|error| refused(&error.to_string()))?;
            }
            return Err(refused(&objection));
        }
        let entry = self
            .entry(known, intent, mapping, &found, now)
            .ok_or_else(|| refused("the journal does not know it; it was given back by hand"))?;
        if let Some(words) = self.stops(Purpose::of(intent.verb)) {
            return Err(refused(&words));
        }
        match self.journal.put(&entry) {
            // What the journal holds is enough to give it back.
            Err(error) if gives_back => tracing::error!("{error}"),
            written => written.map_err(|error| refused(&error.to_string()))?,
        }
        self.send(intent, entry, &found, now)
    }

    /// What the journal is to say of an intent, where it may be carried out.
    fn entry(
        &self,
        known: Option<Entry>,
        intent: &Intent,
        mapping: Option<String>,
        found: &Setting,
        now: EventTime,
    ) -> Option<Entry> {
        let begun = || Restriction::begun(intent, mapping, found, now);
        match (known, intent.verb) {
            // It was given back a moment ago and begins anew.
            (Some(before), Verb::Restrict) => {
                let is_own = before.is_own(found);
                let prior = if is_own { before.restriction.prior.clone() } else { found.clone() };
                let mut entry = Entry::new(self.owner.clone(), Restriction { prior, ..begun() });
                entry.follow(&before);
                Some(entry)
            }
            (Some(mut entry), verb) => {
                entry.want(&intent.to, found);
                let later = intent.expires_at.max(entry.restriction.expires_at);
                if Purpose::of(verb) == Purpose::Take {
                    entry.restriction.expires_at = later;
                }
                Some(entry)
            }
            (None, Verb::Tighten | Verb::Relax) => None,
            (None, _) => Some(Entry::new(self.owner.clone(), begun())),
        }
    }

    /// Whether this is the right limit for the way in which the function is fed. Returns the
    /// mapping of its queue.
    fn suits(&mut self, intent: &Intent) -> Result<Option<String>, Outcome> {
        let feed = self.ask(|plane| plane.feed(&intent.function)).map_err(|fault| {
            let kind = match fault {
                Fault::Refused(_) | Fault::Missing(_) => OutcomeKind::Refused,
                Fault::Busy(..) | Fault::Unclear(_) => OutcomeKind::Failed,
            };
            outcome(kind, Setting::Unknown, fault.words())
        })?;
        if let Some((words, instead)) = feed.objection(intent) {
            let refused = outcome(OutcomeKind::Refused, Setting::Unknown, words);
            return Err(Outcome { instead, ..refused });
        }
        Ok(match feed {
            Feed::Queue(mapping) if intent.actuator == ActuatorKind::SqsMaximumConcurrency => {
                Some(mapping)
            }
            _ => None,
        })
    }

    /// From the journal on.
    fn send(
        &mut self,
        intent: &Intent,
        mut entry: Entry,
        found: &Setting,
        now: EventTime,
    ) -> Result<Outcome, Outcome> {
        let own = entry.is_own(found);
        let refused = |words: &str| refusal(intent, found, own, words);
        // Also when it is made stricter: whoever began it may have died before it was left.
        if Purpose::of(intent.verb) == Purpose::Take
            && let Err(fault) = self.plane.leave_release(&Release::of(&entry.restriction))
        {
            // It may stand there all the same.
            self.undo(entry, intent.verb, found, now)
                .map_err(|error| refused(&error.to_string()))?;
            let words = format!("no release can be left on the platform: {}", fault.words());
            return Err(refused(&words));
        }
        let gives_back = matches!(intent.verb, Verb::Restore | Verb::Expire);
        let restriction = entry.restriction.clone();
        let target = Target::of(&restriction);
        match self.change(target, found, &intent.to, Purpose::of(intent.verb)) {
            Change::Done if !gives_back && matches!(self.journal.get(&entry.key()), Ok(None)) => {
                // Somebody has given it back from the journal while this was on its way.
                let prior = entry.restriction.prior.clone();
                drop(self.change(target, &intent.to, &prior, Purpose::GiveBack));
                // Looked at once more in any case, and its release withdrawn.
                if let Err(error) = self.let_go(&entry, now) {
                    tracing::error!("{error}");
                }
                Err(outcome(OutcomeKind::Refused, prior, "it was given back by hand"))
            }
            Change::Done => {
                entry.settle(&intent.to, now);
                if intent.verb == Verb::Tighten {
                    entry.restriction.full = intent.to.clone();
                }
                let kept =
                    if gives_back { self.let_go(&entry, now) } else { self.journal.put(&entry) };
                // The entry on disk says that it may stand, which is enough to give it back.
                let detail = kept.err().map_or_else(String::new, |error| error.to_string());
                Ok(applied(found.clone(), now, &detail))
            }
            Change::Not(fault) => {
                let undone = self.undo(entry, intent.verb, found, now);
                undone.map_err(|error| refused(&error.to_string()))?;
                Err(refused(fault.words()))
            }
            Change::Unknown(words) => Err(outcome(OutcomeKind::Failed, found.clone(), &words)),
        }
    }
}

impl<P: ControlPlane> Actuator for Concurrency<P> {
    fn apply(&mut self, intent: &Intent, now: EventTime) -> Outcome {
        let outcome = self.try_apply(intent, now).unwrap_or_else(|outcome| outcome);
        // Where nothing was looked at there is nothing new to tell.
        let is_asked = intent.actuator == ActuatorKind::ReservedConcurrency
            && Purpose::of(intent.verb) == Purpose::Take
            && outcome.instead.is_none();
        let room = is_asked.then(|| self.rooms.after(&mut self.plane, intent, &outcome, now));
        Outcome { room: room.flatten(), ..outcome }
    }

    fn tend(&mut self, held: &[Held], now: EventTime) -> Vec<Found> {
        let contents = self.contents();
        // What is not in the journal any more was given back by hand.
        let ids = contents.entries.iter().map(|entry| entry.restriction.id.as_str());
        let known: BTreeSet<&str> = ids.collect();
        let readable = contents.damaged.is_empty();
        let restrictions = contents.entries.iter().map(|entry| &entry.restriction);
        let caps = restrictions.filter(|it| it.actuator == ActuatorKind::ReservedConcurrency);
        self.places = caps.map(|cap| (Place::of(&cap.function), cap.function.clone())).collect();
        let lifted =
            held.iter().filter(|held| readable && held.in_force && !known.contains(&*held.id));
        let mut found: Vec<Found> = lifted
            .map(|held| Found { id: held.id.clone(), setting: Setting::Unknown, lapsed: false })
            .collect();
        let (done, mut next): (Vec<Entry>, Vec<Entry>) =
            contents.entries.into_iter().partition(|entry| entry.key() <= self.tended);
        next.extend(done);
        next.truncate(TENDED_MAX);
        let mut unwell: BTreeSet<Box<str>> = BTreeSet::new();
        for entry in next {
            let (id, region) =
                (entry.restriction.id.clone(), entry.restriction.function.region.clone());
            self.tended = entry.key();
            if unwell.contains(&region) {
                continue;
            }
            match self.look_after(entry, held, now) {
                Ok(None) => {}
                Ok(Some((setting, lapsed))) => found.push(Found { id, setting, lapsed }),
                Err(error) => {
                    tracing::warn!(restriction = %id, "{error:#}");
                    unwell.insert(region);
                }
            }
        }
        found
    }

    fn rooms(&mut self, now: EventTime) -> Vec<(Place, Room)> {
        let places = std::mem::take(&mut self.places);
        let told = places.into_iter().filter_map(|(place, function)| {
            self.rooms.of(&mut self.plane, &function, now).map(|room| (place, room))
        });
        told.collect()
    }

    fn finish(&mut self, _: EventTime) {
        for entry in self.contents().entries {
            if entry.step == Step::GivenBack
                && let Err(error) = self.give_back(&entry, false).and_then(|done| match done {
                    GivenBack::Foreign(_) => self.forget(&entry),
                    GivenBack::Done | GivenBack::Gone => Ok(()),
                })
            {
                tracing::warn!(restriction = %entry.restriction.id, "{error:#}");
            }
        }
    }
}

/// What bursar has put there itself, an earlier change perhaps that a late read shows, is nobody
/// else's: control must not take it for a stranger's.
fn refusal(intent: &Intent, found: &Setting, own: bool, words: &str) -> Outcome {
    let is_misleading = own && intent.objection(found).is_some();
    let from = if is_misleading { Setting::Unknown } else { found.clone() };
    outcome(OutcomeKind::Refused, from, words)
}

fn applied(from: Setting, now: EventTime, detail: &str) -> Outcome {
    Outcome { effective_at: Some(now), ..outcome(OutcomeKind::Applied, from, detail) }
}

fn outcome(kind: OutcomeKind, from: Setting, detail: &str) -> Outcome {
    Outcome::of(kind, from, detail.to_owned())
}

fn words(error: &anyhow::Error) -> String {
    format!("{error:#}")
}
