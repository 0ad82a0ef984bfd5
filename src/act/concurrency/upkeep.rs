//! What is in force is looked after: carried on, renewed, given back where nobody wants it.

use super::{Change, Concurrency, GivenBack, Purpose};
use crate::act::Held;
use crate::act::plane::{ControlPlane, Fault, Release, Target};
use crate::control::action::Setting;
use crate::store::journal::{Entry, Step};
use crate::units::EventTime;

/// An expiry is written down anew when it has moved by this part of what is left until it.
const RENEWED_PART: i64 = 4;
/// What was given back is looked at once more after so long: a change before it may come through
/// late, and a read may be out of date after that.
const LINGERS_MS: i64 = 75_000;

impl<P: ControlPlane> Concurrency<P> {
    /// Looks after one restriction. Returns what stands where it should not, and whether it has
    /// lapsed.
    pub(super) fn look_after(
        &mut self,
        mut entry: Entry,
        held: &[Held],
        now: EventTime,
    ) -> anyhow::Result<Option<(Setting, bool)>> {
        let wanted = held.iter().find(|held| held.id == entry.restriction.id);
        let Some(Held { expires_at, .. }) = wanted.filter(|_| entry.step != Step::GivenBack) else {
            return self.clear(&entry, now).map(|()| None);
        };
        let restriction = entry.restriction.clone();
        let (target, function) = (Target::of(&restriction), &restriction.function);
        let found = match self.look(target).and_then(|found| self.look_again(&entry, found)) {
            Ok(found) => found,
            Err(Fault::Missing(_)) => {
                self.forget(&entry)?;
                return Ok(Some((Setting::Unknown, false)));
            }
            Err(fault) => anyhow::bail!("cannot be looked at: {}", fault.words()),
        };
        let wanted = entry.wanted().clone();
        let confirmed = entry.step == Step::Confirmed;
        if found == wanted && confirmed {
            return self.renew(entry, *expires_at, now).map(|()| None);
        }
        let lifted = confirmed && found == entry.restriction.prior;
        if lifted || !entry.is_own(&found) {
            let lapsed = lifted && now >= entry.restriction.expires_at;
            self.let_go(&entry, now)?;
            return Ok(Some((found, lapsed)));
        }
        // What gives back is carried on, and nothing is begun here that takes something away.
        let stands = if found != wanted && is_stricter(&wanted, &found) && !confirmed {
            found
        } else {
            let takes = is_stricter(&wanted, &found);
            let purpose = if takes { Purpose::Take } else { Purpose::GiveBack };
            match self.change(target, &found, &wanted, purpose) {
                Change::Done => wanted,
                Change::Not(fault) => {
                    tracing::warn!(%function, "a change is refused: {}", fault.words());
                    found
                }
                Change::Unknown(words) => anyhow::bail!("a change is still unanswered: {words}"),
            }
        };
        entry.settle(&stands, now);
        if stands == entry.restriction.prior {
            self.let_go(&entry, now)?;
        } else {
            self.journal.put(&entry)?;
        }
        Ok(Some((stands, false)))
    }

    /// Writes down that a restriction lapses later, here and on the platform. Done once in any
    /// case: the withdrawal of an earlier release of the same name may have come through late.
    fn renew(&mut self, mut entry: Entry, until: EventTime, now: EventTime) -> anyhow::Result<()> {
        let moved = until.since_ms(entry.restriction.expires_at);
        let is_due = moved > 0 && moved >= until.since_ms(now) / RENEWED_PART;
        let is_old = now.since_ms(entry.restriction.since) >= LINGERS_MS;
        if !is_due && (entry.is_secured() || !is_old) {
            return Ok(());
        }
        entry.restriction.expires_at = until.max(entry.restriction.expires_at);
        entry.secure(is_old);
        if let Err(fault) = self.plane.leave_release(&Release::of(&entry.restriction)) {
            anyhow::bail!("its release cannot be put off: {}", fault.words());
        }
        Ok(self.journal.put(&entry)?)
    }

    /// Clears away what nobody wants any more.
    fn clear(&mut self, entry: &Entry, now: EventTime) -> anyhow::Result<()> {
        if entry.step != Step::GivenBack {
            let id = &entry.restriction.id;
            tracing::warn!(restriction = %id, "nobody wants it, giving it back");
            self.write_back(entry, false)?;
            return Ok(self.let_go(entry, now)?);
        }
        if now.since_ms(entry.restriction.changed_at) < LINGERS_MS {
            return Ok(());
        }
        if let GivenBack::Foreign(_) = self.give_back(entry, false)? {
            self.forget(entry)?;
        }
        Ok(())
    }
}

/// Whether one leaves less room than the other.
fn is_stricter(one: &Setting, other: &Setting) -> bool {
    let room = |setting: &Setting| setting.number().unwrap_or(u32::MAX);
    room(one) < room(other)
}
