//! Random schedules of everything that can happen to an account, its control plane and the process
//! that acts on it: what must hold whatever comes. `BURSAR_TEST_SCHEDULES` says how many.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{LATE_MS, MAPPING, RELEASE_AFTER_MS, Trouble};
use crate::act::concurrency::Concurrency;
use crate::act::plane::{ControlPlane, Fault, Feed, Release, Target};
use crate::act::{Actuator, Held};
use crate::control::action::{ActuatorKind, Room};
use crate::control::ladder::Control;
use crate::control::settings::{ControlSettings, Mode};
use crate::control::tests::{alarm, at, pulse};
use crate::engine::alarm::AlarmState;
use crate::record::FunctionKey;
use crate::store::journal::{Journal, Step, key};
use crate::units::EventTime;

/// How many there are where nobody says; from the one with the number `BURSAR_TEST_SCHEDULE`.
const SCHEDULES: u64 = 2_000;
/// Calls fail, people meddle and processes die for so long, seconds.
const TROUBLED: i64 = 1_200;
/// What is over by itself is over by then: the longest expiry, a release and what it takes.
const END: i64 = 9_000;
/// What legitimate callers need; see `control::tests::pulse`.
const NEEDED: u32 = 10;
/// A release that is refused is tried again for so long.
const RELEASE_AGE_MS: i64 = 1_800_000;
/// A read can be out of date for so long after a change, milliseconds.
const STALE_MS: i64 = 40_000;
/// Concurrency of the account: in a small one there is room for one cap or two.
const ACCOUNTS: [u32; 2] = [1_000, 160];
const TROUBLES: [Trouble; 9] = [
    Trouble::Busy,
    Trouble::BusyFor,
    Trouble::Refused,
    Trouble::Lost,
    Trouble::Unanswered,
    Trouble::Late,
    Trouble::Stale,
    Trouble::DiesBefore,
    Trouble::DiesAfter,
];

/// A function and its limit.
#[derive(Debug, Clone)]
struct Limited {
    has_queue: bool,
    prior: Option<u32>,
    limit: Option<u32>,
    /// What stood there before the last change, and when that was.
    before: Option<u32>,
    changed_at: EventTime,
    /// What others have set since the beginning.
    foreign: Vec<Option<u32>>,
    /// When it is flooded.
    floods: Vec<(i64, i64)>,
}

#[derive(Debug, Clone)]
enum Effect {
    Write(FunctionKey, Option<u32>),
    Leave(String, FunctionKey, EventTime, Option<u32>),
    Withdraw(String),
}

/// The account.
#[derive(Debug)]
struct Account {
    dice: ChaCha8Rng,
    functions: BTreeMap<FunctionKey, Limited>,
    /// Concurrency of all of them together.
    limit: u32,
    /// What must stay unreserved.
    minimum: u32,
    releases: BTreeMap<String, (FunctionKey, EventTime, Option<u32>)>,
    late: Vec<(EventTime, Effect)>,
    now: EventTime,
    /// Share of the calls that fail.
    failing: f64,
    /// What broke a rule.
    broken: Vec<String>,
    /// What has happened, for whoever looks into a schedule.
    story: Vec<String>,
}

impl Account {
    fn new(seed: u64) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let count = dice.random_range(1..=4);
        let limit = ACCOUNTS[usize::from(dice.random_bool(0.3))];
        let functions = (0..count).map(|number| {
            let has_prior = limit == ACCOUNTS[0] && dice.random_bool(0.4);
            let prior = has_prior.then(|| dice.random_range(40..=150));
            let floods = (0..dice.random_range(1..=2)).map(|_| {
                let from = dice.random_range(0..TROUBLED - 300);
                (from, from + dice.random_range(10..=300))
            });
            let limited = Limited {
                floods: floods.collect(),
                has_queue: dice.random_bool(0.25),
                prior,
                limit: prior,
                before: prior,
                changed_at: at(0),
                foreign: Vec::new(),
            };
            (format!("111122223333:eu-west-1:f{number}").parse().unwrap(), limited)
        });
        let functions = functions.collect();
        let failing = [0.0, 0.02, 0.1, 0.4][dice.random_range(0..4)];
        let minimum = [10, 50, 100][dice.random_range(0..3)];
        Self {
            dice,
            functions,
            limit,
            minimum,
            releases: BTreeMap::new(),
            late: Vec::new(),
            now: at(0),
            failing,
            broken: Vec::new(),
            story: Vec::new(),
        }
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        self.story.push(format!("{} {what}", self.now.since_ms(at(0)) / 1_000));
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Fault> {
        self.tell(format_args!("done: {effect:?}"));
        match effect {
            Effect::Write(function, value) => {
                let limited = &self.functions[&function];
                if !limited.has_queue
                    && self.reserved_beside(Some(&function)) + value.unwrap_or(0)
                        > self.limit - self.minimum
                {
                    return Err(Fault::Refused(format!(
                        "below its minimum value of [{}]",
                        self.minimum
                    )));
                }
                let too_low = value.is_some_and(|value| value < NEEDED);
                let too_high = match (limited.prior, value) {
                    _ if !limited.foreign.is_empty() => false,
                    (Some(prior), value) => value.is_none_or(|value| value > prior),
                    (None, _) => false,
                };
                if too_low || too_high {
                    self.broken.push(format!("A1, A7: {function} was given {value:?}"));
                }
                self.set(&function, value);
            }
            Effect::Leave(name, function, at, prior) => {
                self.releases.insert(name, (function, at, prior));
            }
            Effect::Withdraw(name) => drop(self.releases.remove(&name)),
        }
        Ok(())
    }

    fn set(&mut self, function: &FunctionKey, value: Option<u32>) {
        if let Some(limited) = self.functions.get_mut(function) {
            limited.before = std::mem::replace(&mut limited.limit, value);
            limited.changed_at = self.now;
        }
    }

    /// What caps have taken from the account, the largest of them left aside: the answer to the
    /// first one tells how large the account is.
    fn taken(&self) -> u32 {
        let own = self.functions.values();
        let own = own.filter(|it| !it.has_queue && it.prior.is_none() && it.foreign.is_empty());
        let own: Vec<u32> = own.filter_map(|limited| limited.limit).collect();
        own.iter().sum::<u32>() - own.iter().max().copied().unwrap_or(0)
    }

    /// Caps must not take more of the account than is their share.
    fn look(&mut self) {
        let (taken, share) = (self.taken(), self.limit / 2);
        if taken > share && self.broken.is_empty() {
            let second = self.now.since_ms(at(0)) / 1_000;
            self.broken.push(format!("A9: caps take {taken} of {share} at {second}"));
        }
    }

    fn reserved_beside(&self, function: Option<&FunctionKey>) -> u32 {
        let others = self.functions.iter();
        let others = others.filter(|(key, it)| Some(*key) != function && !it.has_queue);
        others.filter_map(|(_, limited)| limited.limit).sum()
    }

    /// What happens by itself until `now`.
    fn pass(&mut self, now: EventTime) {
        self.now = now;
        let late: Vec<_> = self.late.extract_if(.., |(at, _)| *at <= now).collect();
        let due: Vec<_> = self.releases.extract_if(.., |_, (_, at, _)| *at <= now).collect();
        for (_, effect) in late {
            drop(self.perform(effect));
        }
        for (name, (function, at, prior)) in due {
            // The platform tries for a while.
            let fails = self.perform(Effect::Write(function.clone(), prior)).is_err();
            if fails && now.since_ms(at) < RELEASE_AGE_MS {
                self.releases.insert(name, (function, at, prior));
            }
        }
    }

    /// Somebody else changes a limit.
    fn meddle(&mut self) {
        let number = self.dice.random_range(0..self.functions.len());
        let value = self.dice.random_bool(0.7).then(|| self.dice.random_range(20..=90));
        let function = self.functions.keys().nth(number).unwrap().clone();
        let room = self.limit - self.minimum;
        if self.reserved_beside(Some(&function)) + value.unwrap_or(0) > room {
            return;
        }
        if let Some(limited) = self.functions.get_mut(&function) {
            limited.foreign.push(value);
        }
        self.set(&function, value);
        self.tell(format_args!("function {number} is set to {value:?} by somebody else"));
    }

    /// Carries a call out, or not; whether reads show what stood before.
    fn call(&mut self, effect: Option<Effect>) -> Result<bool, Fault> {
        let fails = self.dice.random_bool(self.failing);
        let trouble = fails.then(|| TROUBLES[self.dice.random_range(0..TROUBLES.len())]);
        if let Some(trouble) = trouble {
            self.tell(format_args!("{trouble:?} for {effect:?}"));
        }
        let perform = |account: &mut Self| effect.clone().map_or(Ok(()), |it| account.perform(it));
        let said = || "said".to_owned();
        match trouble {
            None => perform(self).map(|()| false),
            Some(Trouble::Stale) => perform(self).map(|()| true),
            Some(Trouble::Busy) => Err(Fault::Busy(said(), None)),
            Some(Trouble::BusyFor) => Err(Fault::Busy(said(), Some(Duration::from_secs(1)))),
            Some(Trouble::Refused | Trouble::Missing) => Err(Fault::Refused(said())),
            Some(Trouble::Lost) => Err(Fault::Unclear(said())),
            Some(Trouble::Unanswered) => {
                perform(self)?;
                Err(Fault::Unclear(said()))
            }
            Some(Trouble::Late) => {
                let at = self.now.plus_ms(LATE_MS);
                self.late.extend(effect.map(|effect| (at, effect)));
                Err(Fault::Unclear(said()))
            }
            Some(Trouble::DiesBefore) => resume_unwind(Box::new(Death)),
            Some(Trouble::DiesAfter) => {
                drop(perform(self));
                resume_unwind(Box::new(Death))
            }
        }
    }
}

/// What a process that dies on purpose unwinds with.
struct Death;

#[derive(Debug, Clone)]
struct Plane(Arc<Mutex<Account>>);

impl Plane {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlPlane for Plane {
    fn feed(&mut self, function: &FunctionKey) -> Result<Feed, Fault> {
        let mut account = self.account();
        account.call(None)?;
        let has_queue = account.functions[function].has_queue;
        Ok(if has_queue { Feed::Queue(MAPPING.to_owned()) } else { Feed::Calls })
    }

    fn room(&mut self, _: &FunctionKey) -> Result<Option<Room>, Fault> {
        let mut account = self.account();
        account.call(None)?;
        let limit = account.limit;
        let reserved = account.reserved_beside(None);
        Ok(Some(Room { limit, free: (limit - account.minimum).saturating_sub(reserved) }))
    }

    fn limit(&mut self, target: Target<'_>) -> Result<Option<u32>, Fault> {
        let mut account = self.account();
        let is_stale = account.call(None)?;
        let limited = &account.functions[target.function];
        let is_stale = is_stale && account.now.since_ms(limited.changed_at) < STALE_MS;
        let found = if is_stale { limited.before } else { limited.limit };
        let by_queue = limited.has_queue;
        if by_queue != (target.actuator == ActuatorKind::SqsMaximumConcurrency) {
            account.broken.push(format!("the wrong limit of {}", target.function));
        }
        Ok(found)
    }

    fn set_limit(&mut self, target: Target<'_>, value: Option<u32>) -> Result<(), Fault> {
        self.account().call(Some(Effect::Write(target.function.clone(), value))).map(drop)
    }

    fn leave_release(&mut self, release: &Release<'_>) -> Result<(), Fault> {
        let at = release.expires_at.plus_ms(RELEASE_AFTER_MS);
        let function = release.target.function.clone();
        let effect = Effect::Leave(release.key.clone(), function, at, release.prior);
        self.account().call(Some(effect)).map(drop)
    }

    fn withdraw_release(&mut self, release: &Release<'_>) -> Result<(), Fault> {
        self.account().call(Some(Effect::Withdraw(release.key.clone()))).map(drop)
    }

    fn pause(&mut self, _: Duration) {}
}

struct Process {
    control: Control,
    hand: Concurrency<Plane>,
    /// Functions whose alarm is open.
    open: BTreeSet<FunctionKey>,
}

impl Process {
    fn start(plane: &Plane, journal: &Journal, second: i64, expiry_seconds: u32) -> Self {
        let settings = ControlSettings {
            mode: Mode::Enforce,
            expiry_seconds,
            rungs: vec![ActuatorKind::ReservedConcurrency, ActuatorKind::SqsMaximumConcurrency],
            ..ControlSettings::default()
        };
        let mut control = Control::new(settings, Vec::new());
        for entry in journal.contents().unwrap().entries {
            if entry.step != Step::GivenBack {
                control.adopt(entry.restriction, at(second));
            }
        }
        let hand = Concurrency::new(plane.clone(), journal.clone(), "test".to_owned());
        Self { control, hand, open: BTreeSet::new() }
    }

    fn second(&mut self, second: i64, plane: &Plane) {
        let now = at(second);
        let functions = plane.account().functions.clone();
        for (function, limited) in functions {
            let flooded = limited.floods.iter().any(|(from, to)| (*from..*to).contains(&second));
            let offered = if flooded { 400.0 } else { 10.0 };
            let most = limited.limit.map_or(offered, |limit| f64::from(limit) / 0.3);
            let served = offered.min(most);
            self.control.pulse(pulse(&function.name, served, offered - served));
            let state = match (flooded, self.open.contains(&function)) {
                (true, false) => AlarmState::Opened,
                (false, true) => AlarmState::Closed,
                _ => continue,
            };
            let mut alarm = alarm(&function.name, state, 5.0, 0, second);
            let begun = limited.floods.iter().position(|(from, _)| *from <= second);
            alarm.id = format!("alarm-{}-{begun:?}", function.name);
            self.control.alarm(&alarm);
            if flooded {
                self.open.insert(function)
            } else {
                self.open.remove(&function)
            };
        }
        self.control.tick(now);
        for intent in self.control.intents() {
            let outcome = self.hand.apply(&intent, now);
            let (verb, name, to) = (intent.verb, &intent.function.name, &intent.to);
            plane.account().tell(format_args!("{verb:?} {name} to {to:?}: {outcome:?}"));
            self.control.outcome(intent, outcome);
        }
        if second % 10 == 0 {
            let held = self.control.restrictions().map(|held| Held {
                id: held.id.clone(),
                expires_at: held.expires_at,
                in_force: held.is_in_force(),
            });
            let held: Vec<_> = held.collect();
            for found in self.hand.tend(&held, now) {
                plane.account().tell(format_args!("{found:?}"));
                self.control.found(&found.id, &found.setting, found.lapsed, now);
            }
            for (place, room) in self.hand.rooms(now) {
                self.control.room(place, room);
            }
        }
    }
}

/// Runs one schedule. Returns what broke a rule, and how many limits were changed.
fn run(seed: u64, journal: &Journal) -> Vec<String> {
    let plane = Plane(Arc::new(Mutex::new(Account::new(seed))));
    let mut dice = ChaCha8Rng::seed_from_u64(!seed);
    let expiry = [300, 900, 3_600][dice.random_range(0..3)];
    let dies_for_good = dice.random_bool(0.2).then(|| dice.random_range(0..TROUBLED));
    let meddling = [0.0, 0.0, 0.002, 0.01][dice.random_range(0..4)];
    let jumping = [0.0, 0.0, 0.005][dice.random_range(0..3)];
    let mut process = Some(Process::start(&plane, journal, 0, expiry));
    let mut second = 0;
    while second < END {
        plane.account().pass(at(second));
        if second >= TROUBLED {
            plane.account().failing = 0.0;
        } else if dice.random_bool(meddling) {
            plane.account().meddle();
        }
        if dies_for_good.is_some_and(|last| second >= last) {
            process = None;
        }
        let Some(living) = &mut process else {
            let over = plane.account().releases.is_empty() && plane.account().late.is_empty();
            if over {
                break;
            }
            second += 60;
            continue;
        };
        plane.account().look();
        match catch_unwind(AssertUnwindSafe(|| living.second(second, &plane))) {
            Err(cause) if cause.is::<Death>() => {
                process = Some(Process::start(&plane, journal, second, expiry));
            }
            Err(cause) => resume_unwind(cause),
            Ok(()) => {}
        }
        let over = second > TROUBLED && second % 10 == 0;
        if over && process.as_ref().is_some_and(|living| living.control.is_idle()) {
            let account = plane.account();
            let settled = account.releases.is_empty() && account.late.is_empty();
            if settled && journal.contents().unwrap().entries.is_empty() {
                break;
            }
        }
        let jumps = second < TROUBLED && dice.random_bool(jumping);
        second += if jumps { dice.random_range(30..400) } else { 1 };
    }
    let mut account = plane.account();
    let mut broken = std::mem::take(&mut account.broken);
    broken.extend(left_over(&account, journal, process.is_some()));
    if !broken.is_empty() {
        broken.append(&mut account.story);
    }
    for function in account.functions.keys() {
        for actuator in ActuatorKind::ALL {
            journal.remove(&key(function, actuator)).unwrap();
        }
    }
    broken
}

/// What is still there in the end and should not be.
fn left_over(account: &Account, journal: &Journal, lives: bool) -> Vec<String> {
    let mut broken = Vec::new();
    let mut kept = 0;
    for (function, limited) in &account.functions {
        let mut may_stand = limited.foreign.clone();
        may_stand.push(limited.prior);
        if may_stand.contains(&limited.limit) {
            continue;
        }
        // What others have reserved since may leave no room for what stood there.
        let beside = account.reserved_beside(Some(function));
        let most = may_stand.iter().flatten().max().copied().unwrap_or(0);
        if !limited.has_queue && beside + most > account.limit - account.minimum {
            kept += 1;
        } else {
            let (is, was) = (limited.limit, limited.prior);
            broken.push(format!("A2: {function} is left at {is:?}, it was at {was:?}"));
        }
    }
    if !account.releases.is_empty() {
        broken.push(format!("a release is left over: {:?}", account.releases));
    }
    let left = journal.contents().unwrap();
    if lives && left.entries.len() > kept || !left.damaged.is_empty() {
        broken.push(format!("the journal is left with {left:?}"));
    }
    broken
}

#[test]
fn whatever_happens_in_whichever_order_nothing_is_stranded_and_nobody_is_starved() {
    let wanted = std::env::var("BURSAR_TEST_SCHEDULES").ok();
    let schedules: u64 = wanted.map_or(SCHEDULES, |text| text.parse().unwrap());
    let first = std::env::var("BURSAR_TEST_SCHEDULE").map_or(0, |text| text.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let directory =
                    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
                let journal = Journal::open(directory.path()).unwrap();
                for seed in
                    (first + thread..first + schedules).step_by(usize::try_from(threads).unwrap())
                {
                    let broken = run(seed, &journal);
                    assert!(broken.is_empty(), "schedule {seed}: {broken:#?}");
                }
            });
        }
    });
}
