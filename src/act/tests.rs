//! The hand on concurrency against a control plane that fails in every way at every call,
//! and a process that dies there.

#[cfg(feature = "aws")]
mod calls;
#[cfg(feature = "aws")]
mod cloud;
mod schedules;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Held;
use super::concurrency::Concurrency;
use super::plane::{ControlPlane, Fault, Feed, Release, Target};
use crate::act::Actuator;
use crate::control::action::{ActuatorKind, Room};
use crate::control::ladder::Control;
use crate::control::settings::{ControlSettings, Mode};
use crate::control::tests::{alarm, at, pulse};
use crate::engine::alarm::AlarmState;
use crate::record::FunctionKey;
use crate::store::journal::{Journal, Step};
use crate::units::EventTime;

/// How one call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Busy,
    BusyFor,
    Refused,
    Missing,
    /// No answer, and nothing was done.
    Lost,
    /// No answer, but it was done.
    Unanswered,
    /// No answer, and it is done much later.
    Late,
    /// A read that shows what stood there before.
    Stale,
    /// The process dies before the call,
    DiesBefore,
    /// or behind it.
    DiesAfter,
}

const TROUBLES: [Trouble; 10] = [
    Trouble::Busy,
    Trouble::BusyFor,
    Trouble::Refused,
    Trouble::Missing,
    Trouble::Lost,
    Trouble::Unanswered,
    Trouble::Late,
    Trouble::Stale,
    Trouble::DiesBefore,
    Trouble::DiesAfter,
];

/// What a call does to the platform.
#[derive(Debug, Clone)]
enum Effect {
    Read,
    Write(Option<u32>),
    Leave(String, EventTime, Option<u32>),
    Withdraw(String),
}

#[derive(Debug, Default)]
struct World {
    /// Whether a queue feeds the function.
    has_queue: bool,
    /// The limit in question: the reservation, or the queue's own.
    limit: Option<u32>,
    /// What stood there before the last write.
    before: Option<u32>,
    /// When a release gives back, and to what.
    releases: BTreeMap<String, (EventTime, Option<u32>)>,
    now: Option<EventTime>,
    calls: usize,
    /// From which call on what goes wrong, and for how many calls.
    trouble: Option<(usize, Trouble, usize)>,
    late: Vec<(EventTime, Effect)>,
    /// Calls about another limit than the right one.
    wrong: usize,
    /// Everything that was ever written.
    stood: Vec<Option<u32>>,
}

impl World {
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Read => {}
            Effect::Write(value) => {
                self.before = std::mem::replace(&mut self.limit, value);
                self.stood.push(value);
            }
            Effect::Leave(id, at, prior) => drop(self.releases.insert(id, (at, prior))),
            Effect::Withdraw(id) => drop(self.releases.remove(&id)),
        }
    }

    /// What is due by itself.
    fn pass(&mut self, now: EventTime) {
        self.now = Some(now);
        let late: Vec<_> = self.late.extract_if(.., |(at, _)| *at <= now).collect();
        late.into_iter().for_each(|(_, effect)| self.perform(effect));
        let fired: Vec<_> = self.releases.extract_if(.., |_, (at, _)| *at <= now).collect();
        fired.into_iter().for_each(|(_, (_, prior))| self.perform(Effect::Write(prior)));
    }

    /// Only the limit that loses nothing is ever looked at or changed.
    fn note(&mut self, target: Target<'_>) {
        let by_queue = target.actuator == ActuatorKind::SqsMaximumConcurrency;
        let is_known = target.mapping.is_none_or(|mapping| by_queue && mapping == MAPPING);
        self.wrong += usize::from(by_queue != self.has_queue || !is_known);
    }

    /// Whether nothing happens by itself any more.
    fn is_quiet(&self) -> bool {
        self.late.is_empty() && self.releases.is_empty()
    }

    /// Carries a call out, or not. Returns what a read shows.
    fn call(&mut self, effect: Effect) -> Result<Option<u32>, Fault> {
        let call = self.calls;
        self.calls += 1;
        let trouble =
            self.trouble.filter(|(first, _, times)| (*first..first + times).contains(&call));
        let said = || format!("call {call}");
        let of_function = matches!(effect, Effect::Read | Effect::Write(_));
        match trouble.map(|(_, trouble, _)| trouble) {
            None => self.perform(effect),
            Some(Trouble::Stale) => {
                self.perform(effect);
                return Ok(self.before);
            }
            Some(Trouble::Missing) if !of_function => self.perform(effect),
            Some(Trouble::Missing) => return Err(Fault::Missing(said())),
            Some(Trouble::Busy) => return Err(Fault::Busy(said(), None)),
            Some(Trouble::BusyFor) => {
                return Err(Fault::Busy(said(), Some(Duration::from_secs(1))));
            }
            Some(Trouble::Refused) => return Err(Fault::Refused(said())),
            Some(Trouble::Lost) => return Err(Fault::Unclear(said())),
            Some(Trouble::Unanswered) => {
                self.perform(effect);
                return Err(Fault::Unclear(said()));
            }
            Some(Trouble::Late) => {
                let at = self.now.map_or(EventTime::MIN, |now| now.plus_ms(LATE_MS));
                self.late.push((at, effect));
                return Err(Fault::Unclear(said()));
            }
            Some(Trouble::DiesBefore) => resume_unwind(Box::new("dies")),
            Some(Trouble::DiesAfter) => {
                self.perform(effect);
                resume_unwind(Box::new("dies"));
            }
        }
        Ok(self.limit)
    }
}

#[derive(Debug, Clone, Default)]
struct Plane(Arc<Mutex<World>>);

impl Plane {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlPlane for Plane {
    fn feed(&mut self, _: &FunctionKey) -> Result<Feed, Fault> {
        let mut world = self.world();
        world.call(Effect::Read)?;
        Ok(if world.has_queue { Feed::Queue(MAPPING.to_owned()) } else { Feed::Calls })
    }

    fn room(&mut self, _: &FunctionKey) -> Result<Option<Room>, Fault> {
        let limit = self.world().call(Effect::Read)?.unwrap_or(0);
        Ok(Some(Room { limit: 1_000, free: 900 - limit.min(900) }))
    }

    fn limit(&mut self, target: Target<'_>) -> Result<Option<u32>, Fault> {
        self.world().note(target);
        self.world().call(Effect::Read)
    }

    fn set_limit(&mut self, target: Target<'_>, value: Option<u32>) -> Result<(), Fault> {
        self.world().note(target);
        self.world().call(Effect::Write(value)).map(drop)
    }

    fn leave_release(&mut self, release: &Release<'_>) -> Result<(), Fault> {
        let at = release.expires_at.plus_ms(RELEASE_AFTER_MS);
        let effect = Effect::Leave(release.key.clone(), at, release.prior);
        self.world().call(effect).map(drop)
    }

    fn withdraw_release(&mut self, release: &Release<'_>) -> Result<(), Fault> {
        self.world().call(Effect::Withdraw(release.key.clone())).map(drop)
    }

    fn pause(&mut self, _: Duration) {}
}

const MAPPING: &str = "6c2a5e0e-3a7c-4a52-9d0f-1f6b1a0c7d11";
/// A change that comes through this much later, milliseconds.
const LATE_MS: i64 = 20_000;
const RELEASE_AFTER_MS: i64 = 300_000;
/// The flood lasts so many seconds.
const FLOOD: i64 = 40;
/// Everything is over after so many: also what the platform gives back by itself.
const END: i64 = 5_000;

/// A process: control and its hand on the same journal as the ones before it.
struct Process {
    control: Control,
    hand: Concurrency<Plane>,
}

impl Process {
    fn start(plane: &Plane, journal: &Journal, second: i64) -> Self {
        let settings = ControlSettings {
            mode: Mode::Enforce,
            rungs: vec![ActuatorKind::ReservedConcurrency, ActuatorKind::SqsMaximumConcurrency],
            ..ControlSettings::default()
        };
        let mut control = Control::new(settings, Vec::new());
        for entry in journal.contents().unwrap().entries {
            if entry.step != Step::GivenBack {
                control.adopt(entry.restriction, at(second));
            }
        }
        if second < FLOOD {
            control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, second));
        }
        let hand = Concurrency::new(plane.clone(), journal.clone(), "test".to_owned());
        Self { control, hand }
    }

    fn second(&mut self, second: i64, plane: &Plane) {
        let now = at(second);
        let offered = if second < FLOOD { 400.0 } else { 10.0 };
        let cap = plane.world().limit;
        let served = cap.map_or(offered, |cap| (f64::from(cap) / 0.3).min(offered));
        self.control.pulse(pulse("f", served, offered - served));
        if second == FLOOD {
            self.control.alarm(&alarm("f", AlarmState::Closed, 0.0, 0, second));
        }
        self.control.tick(now);
        for intent in self.control.intents() {
            let outcome = self.hand.apply(&intent, now);
            self.control.outcome(intent, outcome);
        }
        self.tend(second);
    }

    fn tend(&mut self, second: i64) {
        if second % 10 != 0 {
            return;
        }
        let held = self.control.restrictions().map(|held| Held {
            id: held.id.clone(),
            expires_at: held.expires_at,
            in_force: held.is_in_force(),
        });
        let held: Vec<_> = held.collect();
        for found in self.hand.tend(&held, at(second)) {
            self.control.found(&found.id, &found.setting, found.lapsed, at(second));
        }
    }
}

/// How a run ended.
struct Ended {
    plane: Plane,
    journal: Journal,
    _directory: tempfile::TempDir,
}

/// Runs a flood with this trouble; a process that dies is followed by another unless `alone`.
fn run(before: Before, trouble: Option<(usize, Trouble, usize)>, alone: bool) -> Ended {
    // Thousands of journals are flushed: in memory where that can be had.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let plane = Plane::default();
    let Before { has_queue, prior } = before;
    *plane.world() = World { has_queue, limit: prior, before: prior, trouble, ..World::default() };
    let mut process = Some(Process::start(&plane, &journal, 0));
    for second in 0..END {
        plane.world().pass(at(second));
        let Some(living) = &mut process else { continue };
        let lived = catch_unwind(AssertUnwindSafe(|| living.second(second, &plane)));
        if lived.is_err() {
            process = (!alone).then(|| Process::start(&plane, &journal, second));
        } else if second > FLOOD
            && living.control.is_idle()
            && plane.world().is_quiet()
            && journal.contents().unwrap().entries.is_empty()
        {
            break;
        }
    }
    Ended { plane, journal, _directory: directory }
}

impl Ended {
    /// What stood there stands again, and nothing is left over.
    fn assert_clean(&self, prior: Option<u32>, case: &str) {
        self.assert_given_back(prior, case);
        let world = self.plane.world();
        assert!(world.releases.is_empty(), "{case}: a release is left over");
        let left = self.journal.contents().unwrap();
        assert!(left.entries.is_empty() && left.damaged.is_empty(), "{case}: {left:?}");
    }

    fn assert_given_back(&self, prior: Option<u32>, case: &str) {
        let world = self.plane.world();
        assert_eq!(world.limit, prior, "{case}: {:?}", world.stood);
        assert_eq!(world.wrong, 0, "{case}");
        for value in world.stood.iter().flatten() {
            assert!(*value >= 10, "{case}: {value} is less than legitimate callers need");
            assert!(prior.is_none_or(|prior| *value <= prior), "{case}: {value} is too wide");
        }
    }
}

/// What stands there before the flood.
#[derive(Debug, Clone, Copy)]
struct Before {
    has_queue: bool,
    prior: Option<u32>,
}

const BEFORE: [Before; 3] = [
    Before { has_queue: false, prior: None },
    Before { has_queue: false, prior: Some(60) },
    Before { has_queue: true, prior: Some(60) },
];

#[test]
fn without_trouble_a_flood_is_capped_and_everything_is_given_back() {
    for before in BEFORE {
        let (ended, prior) = (run(before, None, false), before.prior);
        ended.assert_clean(prior, &format!("{before:?}"));
        let stood = ended.plane.world().stood.clone();
        assert!(stood.len() >= 4, "a cap, two canary steps and the restore: {stood:?}");
        assert_eq!(stood.last(), Some(&prior));
    }
}

#[test]
fn whatever_goes_wrong_at_whichever_call_nothing_is_lost_doubled_or_stranded() {
    for before in BEFORE {
        let (calls, prior) = (run(before, None, false).plane.world().calls, before.prior);
        for call in 0..calls {
            for trouble in TROUBLES {
                for times in [1, 3, 30] {
                    let gone = trouble == Trouble::Missing;
                    let times = if gone { usize::MAX / 2 } else { times };
                    let ended = run(before, Some((call, trouble, times)), false);
                    let case = format!("{before:?}, {trouble:?} from call {call}, {times} times");
                    if gone {
                        let left = ended.journal.contents().unwrap().entries;
                        assert!(left.is_empty(), "{case}: {left:?}");
                    } else {
                        ended.assert_clean(prior, &case);
                    }
                    let dies = matches!(trouble, Trouble::DiesBefore | Trouble::DiesAfter);
                    if times == 1 && !dies {
                        let caps = ended.plane.world().stood.iter().flatten().count();
                        assert!(caps > 0, "{case}: it was never capped");
                    }
                    if gone || times == 1 && matches!(trouble, Trouble::Stale) {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn a_daemon_that_never_comes_back_leaves_nothing_restricted() {
    for before in BEFORE {
        let (calls, prior) = (run(before, None, false).plane.world().calls, before.prior);
        for call in 0..calls {
            for trouble in [Trouble::DiesBefore, Trouble::DiesAfter] {
                let ended = run(before, Some((call, trouble, 1)), true);
                ended.assert_given_back(prior, &format!("{before:?}, {trouble:?} at call {call}"));
            }
            // The platform answers nobody any more, or refuses.
            for trouble in [Trouble::Lost, Trouble::Unanswered, Trouble::Refused] {
                let ended = run(before, Some((call, trouble, usize::MAX / 2)), false);
                ended
                    .assert_given_back(prior, &format!("{before:?}, {trouble:?} from call {call}"));
            }
        }
    }
}

#[test]
fn a_flood_that_comes_back_at_once_is_capped_again_and_not_taken_for_a_strangers_doing() {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let plane = Plane::default();
    let mut process = Process::start(&plane, &journal, 0);
    let mut begun = None;
    for second in 1..END {
        plane.world().pass(at(second));
        let restored = second > FLOOD && plane.world().limit.is_none();
        if begun.is_none() && restored {
            let mut again = alarm("f", AlarmState::Opened, 5.0, 0, second);
            again.id = "another".to_owned();
            process.control.alarm(&again);
            begun = Some(second);
        }
        if begun.is_some_and(|begun| second < begun + 300) {
            process.control.pulse(pulse("f", 400.0, 0.0));
            process.control.tick(at(second));
            for intent in process.control.intents() {
                let outcome = process.hand.apply(&intent, at(second));
                process.control.outcome(intent, outcome);
            }
            process.tend(second);
            let capped = plane.world().limit.is_some();
            let releases = plane.world().releases.clone();
            let early = releases.values().any(|(due, _)| *due < at(second + 3_000));
            assert!(!capped || !early, "{second}: the first cap's release is still armed");
            assert!(capped || begun.is_some_and(|begun| second < begun + 20), "{second}");
        } else {
            process.second(second, &plane);
        }
        if begun.is_some_and(|begun| second == begun + 300) {
            let mut over = alarm("f", AlarmState::Closed, 0.0, 0, second);
            over.id = "another".to_owned();
            process.control.alarm(&over);
        }
    }
    assert!(begun.is_some());
    let ended = Ended { plane, journal, _directory: directory };
    ended.assert_clean(None, "a second flood");
}
