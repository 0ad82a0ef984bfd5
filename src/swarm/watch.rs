//! The independent eye: it looks at the platform and at what the hands did, and knows nothing of
//! what is inside bursar but which restrictions it takes to be in force.

use std::collections::{BTreeMap, VecDeque};

use super::hands::Deed;
use super::invariant::{Findings, Invariant};
use super::lab::Lab;
use super::plan::Plan;
use super::subject::{Said, Subject};
use crate::control::action::{ActuatorKind, OutcomeKind, Verb};
use crate::control::settings::Mode;
use crate::record::FunctionKey;
use crate::simulation::plant::lock;
use crate::units::EventTime;

/// Restrictions of one function: its sources and its cap.
const RESTRICTIONS: u64 = 2;
/// Calls a second that change something, of one account (Lambda quotas).
const CALLS_MAX: u64 = 15;
/// Beyond the time after which a restriction lapses: event time is this much behind at most, in
/// milliseconds, besides what records take on their way.
const BEHIND_MS: i64 = 60_000;

/// Who set what stands at a function.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// bursar did, and has not given it back.
    is_ours: bool,
    /// What stood there before.
    prior: Option<u32>,
    /// What somebody else has set since.
    foreign: Option<Option<u32>>,
    /// What bursar takes to be in force.
    believed: Option<Option<u32>>,
    /// An answer was lost: belief and truth differ by no fault of bursar's.
    is_muddled: bool,
}

/// Looks on.
pub(super) struct Watch<'a> {
    plan: &'a Plan,
    deeds: usize,
    foreign: usize,
    calls: u64,
    standing: BTreeMap<FunctionKey, Standing>,
    fresh: VecDeque<EventTime>,
    /// The latest restriction and when it was changed, in event time.
    decided: Option<(String, i64)>,
    /// An answer about the refused addresses was lost.
    is_set_muddled: bool,
    /// When an alarm about a function was last open.
    alarmed: BTreeMap<FunctionKey, EventTime>,
    pub(super) findings: Findings,
}

impl<'a> Watch<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            deeds: 0,
            foreign: 0,
            calls: 0,
            standing: BTreeMap::new(),
            fresh: VecDeque::new(),
            decided: None,
            is_set_muddled: false,
            alarmed: BTreeMap::new(),
            findings: Findings::default(),
        }
    }

    /// Everything that must hold at any time.
    pub(super) fn look(&mut self, lab: &Lab<'_>, deeds: &[Deed], subject: &Subject) {
        for (_, function, value) in &lab.foreign[self.foreign..] {
            let standing = self.standing.entry(function.clone()).or_default();
            // Nobody can tell who has set what stands there already.
            if standing.believed == Some(*value) {
                continue;
            }
            let was_ours = standing.is_ours || standing.foreign.is_some();
            *standing = Standing { foreign: was_ours.then_some(*value), ..Standing::default() };
        }
        self.foreign = lab.foreign.len();
        let second = lab.second();
        for deed in &deeds[self.deeds..] {
            self.deed(deed, second);
        }
        let changed = (deeds.len() - self.deeds) as u64;
        self.deeds = deeds.len();
        self.quota(lab, changed, second);
        self.truth(lab, second);
        self.bounds(subject, second);
        self.note_alarms(lab.now, &subject.said);
        self.lapses(lab, second);
    }

    fn deed(&mut self, deed: &Deed, second: i64) {
        let control = &self.plan.settings.control;
        let name = &*deed.intent.function.name;
        let is_enforced = control.mode == Mode::Enforce;
        self.findings.check(Invariant::A3, is_enforced || !deed.is_done, second, || {
            format!("{name} was changed in mode observe")
        });
        let is_forbidden = control.never_touch.iter().any(|never| **never == *name);
        self.findings.check(Invariant::A4, !is_forbidden, second, || {
            format!("{:?} of {name}, which must not be touched", deed.intent.verb)
        });
        let decided = (deed.intent.restriction_id.clone(), deed.intent.decided_at.second());
        let is_new = self.decided.as_ref() != Some(&decided);
        self.decided = Some(decided);
        self.findings.check(Invariant::Q1, is_new, second, || {
            format!("one restriction of {name} is changed twice in a second")
        });
        if deed.intent.verb == Verb::Restrict {
            self.begin(deed, second);
        }
        match deed.intent.actuator {
            ActuatorKind::ReservedConcurrency | ActuatorKind::SqsMaximumConcurrency => {
                self.limit(deed, second);
            }
            ActuatorKind::WafIpSet => {
                self.is_set_muddled |= deed.is_done && deed.outcome.kind != OutcomeKind::Applied;
            }
        }
    }

    /// At most so many functions a minute, counted as control counts: by its own clock.
    fn begin(&mut self, deed: &Deed, second: i64) {
        let decided = deed.intent.decided_at;
        let standing = self.standing.get(&deed.intent.function);
        if standing.is_some_and(|standing| standing.believed.is_some()) {
            return;
        }
        while self.fresh.front().is_some_and(|at| decided.since_ms(*at) >= 60_000) {
            self.fresh.pop_front();
        }
        // Sources and cap of one function count once.
        self.fresh.push_back(decided);
        let most = u64::from(self.plan.settings.control.functions_per_minute_max) * RESTRICTIONS;
        let count = self.fresh.len() as u64;
        self.findings.check(Invariant::Q1, count <= most, second, || {
            format!("{count} restrictions were begun within a minute, {most} are allowed")
        });
    }

    fn limit(&mut self, deed: &Deed, second: i64) {
        let floor = self.plan.settings.control.cap_floor;
        let name = &deed.intent.function.name;
        let standing = self.standing.entry(deed.intent.function.clone()).or_default();
        let is_end = matches!(deed.intent.verb, Verb::Restore | Verb::Expire);
        if deed.outcome.kind == OutcomeKind::Applied {
            standing.believed = (!is_end).then(|| deed.intent.to.number());
        } else if deed.is_done {
            standing.is_muddled = true;
        }
        if !deed.is_done {
            return;
        }
        if !is_end {
            if !standing.is_ours {
                (standing.is_ours, standing.prior) = (true, deed.before);
                standing.foreign = None;
            }
            if let Some(cap) = deed.after {
                self.findings.check(Invariant::A1, cap >= floor, second, || {
                    format!("{name} was capped at {cap}, the floor is {floor}")
                });
                let (bound, most) = match standing.prior {
                    Some(prior) => (Invariant::A7, prior),
                    None => (Invariant::A1, self.plan.scenario.platform.concurrency),
                };
                self.findings.check(bound, cap <= most, second, || {
                    format!("{name} was given {cap}, before bursar came it had {most}")
                });
            }
            return;
        }
        let foreign = standing.foreign;
        if let Some(foreign) = foreign {
            self.findings.check(Invariant::A6, deed.after == foreign, second, || {
                let (was, is) = (shown(foreign), shown(deed.after));
                format!("{name} was set to {was} by somebody else, and to {is} by lifting a cap")
            });
        }
        if deed.after == standing.prior || foreign.is_some() {
            *standing = Standing::default();
        }
    }

    fn quota(&mut self, lab: &Lab<'_>, changed: u64, second: i64) {
        let calls = lock(&lab.plant).calls();
        let made = calls - std::mem::replace(&mut self.calls, calls);
        let is_enforced = self.plan.settings.control.mode == Mode::Enforce;
        self.findings.check(Invariant::A3, is_enforced || made == 0, second, || {
            format!("{made} control calls in mode observe")
        });
        self.findings.check(Invariant::Q1, made <= changed, second, || {
            format!("{made} control calls for {changed} changes")
        });
        self.findings.check(Invariant::Q1, made <= CALLS_MAX, second, || {
            format!("{made} control calls in a second, {CALLS_MAX} are accepted")
        });
    }

    /// Beliefs and the truth.
    fn truth(&mut self, lab: &Lab<'_>, second: i64) {
        for (function, standing) in &self.standing {
            let Some(believed) = standing.believed.filter(|_| !standing.is_muddled) else {
                continue;
            };
            let told = lab.told(function);
            self.findings.check(Invariant::A5, told == believed, second, || {
                let (told, believed) = (shown(told), shown(believed));
                format!("{} is at {told}, and is taken to be at {believed}", function.name)
            });
        }
    }

    fn bounds(&mut self, subject: &Subject, second: i64) {
        let deployed = self.plan.scenario.functions.len();
        let tracked = subject.pipeline.totals().functions;
        self.findings.check(Invariant::B1, tracked <= deployed, second, || {
            format!("{tracked} functions are tracked, {deployed} are deployed")
        });
        let open = subject.said.open.len();
        self.findings.check(Invariant::B1, open <= deployed + 1, second, || {
            format!("{open} alarms are open about {deployed} functions")
        });
        let held = subject.pipeline.control().restrictions().count() as u64;
        self.findings.check(Invariant::B1, held <= deployed as u64 * RESTRICTIONS, second, || {
            format!("{held} restrictions are held on {deployed} functions")
        });
    }

    fn note_alarms(&mut self, now: EventTime, said: &Said) {
        for spec in &self.plan.scenario.functions {
            if said.is_open(&spec.key.name) {
                self.alarmed.insert(spec.key.clone(), now);
            }
        }
    }

    /// What is not renewed lapses.
    fn lapses(&mut self, lab: &Lab<'_>, second: i64) {
        let platform = &self.plan.scenario.platform;
        let expiry = i64::from(self.plan.settings.control.expiry_seconds) * 1_000;
        let way = platform.delay_ms_max + platform.batch_ms + platform.faults.late_ms_max;
        let grace = expiry + BEHIND_MS + i64::from(way);
        let calm = self.plan.calm_from();
        let last = |at: Option<&EventTime>| at.copied().map_or(calm, |at| at.max(calm));
        for (function, standing) in &self.standing {
            let idle_ms = lab.now.since_ms(last(self.alarmed.get(function)));
            let is_late = standing.is_ours && idle_ms > grace;
            let kept = if standing.is_muddled { Invariant::A8 } else { Invariant::A2 };
            self.findings.check(kept, !is_late, second, || {
                let seconds = idle_ms / 1_000;
                format!("{} is still capped {seconds} s after its alarm closed", function.name)
            });
        }
        let idle_ms = lab.now.since_ms(last(self.alarmed.values().max()));
        let is_late = idle_ms > grace && !lock(&lab.plant).blocked().is_empty();
        let kept = if self.is_set_muddled { Invariant::A8 } else { Invariant::A2 };
        self.findings.check(kept, !is_late, second, || {
            let seconds = idle_ms / 1_000;
            format!("addresses are still refused {seconds} s after the last alarm closed")
        });
    }

    /// What is still in bursar's hands: with what it cannot know of, and what it must know of.
    pub(super) fn is_holding(&self, lab: &Lab<'_>) -> (bool, bool) {
        let refuses = !lock(&lab.plant).blocked().is_empty();
        let ours = || self.standing.values().filter(|standing| standing.is_ours);
        let knows = ours().any(|standing| !standing.is_muddled);
        (refuses || ours().next().is_some(), knows || (refuses && !self.is_set_muddled))
    }
}

fn shown(value: Option<u32>) -> String {
    value.map_or("unset".to_owned(), |value| value.to_string())
}
