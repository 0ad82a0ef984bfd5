//! The ladder: throttle the source, then cap the function, then tighten; and the way back.
//!
//! The next rung follows only where the one before has had its time to settle and the excess goes
//! on. In mode observe nothing changes on the platform, so what a planned rung would have stopped
//! is taken off the excess by its share instead. The way back is a canary in three steps; who trips
//! it again waits twice as long for the next (yo-yo attacks, Bremler-Barr et al., INFOCOM 2017, aim
//! at the restore).

mod caps;
mod gates;
mod orders;
mod rooms;
mod saving;
mod sources;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use self::rooms::Rooms;
use super::action::{Action, ActuatorKind, Intent, Outcome, OutcomeKind, Setting, Value, Verb};
use super::case::Case;
use super::gate::{Gate, GateKind};
use super::maintenance::Window;
use super::restriction::{Effect, Restriction, Stage};
use super::settings::{ControlSettings, Mode};
use crate::cost::{Budget, Pattern};
use crate::engine::alarm::{Alarm, AlarmState, Pulse};
use crate::engine::attribution::SourceShare;
use crate::engine::shard::Directive;
use crate::record::FunctionKey;
use crate::units::{AccountId, EventTime, NanoUsd};

/// Shares of a restriction that the canary gives back, step by step.
const CANARY_SHARES: [f64; 3] = [0.25, 0.5, 1.0];
/// The most functions that are followed at once; alarms that open beyond it are left to people.
const CASES_MAX: usize = 10_000;

/// Why nothing was done although an alarm is open; once per alarm and gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Abstention {
    /// The alarm.
    pub alarm_id: String,
    /// The function.
    pub function: FunctionKey,
    /// The gate that stayed shut.
    pub gate: GateKind,
    /// Why, in plain words.
    pub reason: String,
    /// How all gates stood, in the order in which they are asked.
    pub gates: Vec<Gate>,
}

/// Whether a cap shows in what the function runs at once; told when that has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectTold {
    /// The cap.
    pub restriction_id: String,
    /// The alarm behind it.
    pub alarm_id: String,
    /// The function.
    pub function: FunctionKey,
    /// Seen or missing.
    pub effect: Effect,
    /// How many run at once, by Little's law.
    pub runs: f64,
    /// How many may.
    pub limit: u32,
    /// How long ago the cap was last changed, milliseconds.
    pub after_ms: i64,
}

/// The state of control.
#[derive(Debug)]
pub struct Control {
    settings: ControlSettings,
    never_touch: Vec<Pattern>,
    lossy: Vec<Pattern>,
    maintenance: Vec<Window>,
    budgets: Vec<Budget>,
    cases: BTreeMap<FunctionKey, Case>,
    restricted_lately: VecDeque<EventTime>,
    intents: Vec<Intent>,
    abstentions: Vec<Abstention>,
    directives: Vec<Directive>,
    effects: Vec<EffectTold>,
    spent: BTreeMap<usize, NanoUsd>,
    /// Functions that somebody else has taken in hand, and until when they are left alone.
    left_alone: BTreeMap<FunctionKey, EventTime>,
    /// Functions that a person wants back, until they are.
    wanted_back: BTreeMap<FunctionKey, orders::Wanted>,
    /// Why nothing new is begun.
    held_off: Option<String>,
    /// What the attacks on each account burn together, dollars an hour.
    at_stake: BTreeMap<AccountId, NanoUsd>,
    /// What their concurrency has room for.
    rooms: Rooms,
}

/// Names are waited for until they cover this part of the excess, or are late.
const NAMES_COVER: f64 = 0.9;

impl Control {
    /// Control with nothing in force.
    pub fn new(settings: ControlSettings, budgets: Vec<Budget>) -> Self {
        let patterns =
            |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect::<Vec<_>>();
        let (never_touch, lossy) = (patterns(&settings.never_touch), patterns(&settings.lossy));
        let maintenance = settings.maintenance.iter().filter_map(|text| Window::parse(text));
        let maintenance = maintenance.collect();
        Self {
            settings,
            never_touch,
            lossy,
            maintenance,
            budgets,
            cases: BTreeMap::new(),
            restricted_lately: VecDeque::new(),
            intents: Vec::new(),
            abstentions: Vec::new(),
            directives: Vec::new(),
            effects: Vec::new(),
            spent: BTreeMap::new(),
            left_alone: BTreeMap::new(),
            wanted_back: BTreeMap::new(),
            held_off: None,
            at_stake: BTreeMap::new(),
            rooms: Rooms::default(),
        }
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// The budgets, in the order of their indices.
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// An alarm has opened, changed or closed.
    pub fn alarm(&mut self, alarm: &Alarm) {
        if !self.cases.contains_key(&alarm.function) && self.cases.len() >= CASES_MAX {
            return;
        }
        let case = self.cases.entry(alarm.function.clone()).or_insert_with(|| Case::new(alarm));
        match alarm.state {
            AlarmState::Opened => case.open(alarm),
            AlarmState::Updated => case.alarm = Some(alarm.clone()),
            AlarmState::Closed => case.alarm = None,
        }
    }

    /// How a watched function is doing.
    pub fn pulse(&mut self, pulse: Pulse) {
        if let Some(case) = self.cases.get_mut(&pulse.function) {
            case.set_pulse(pulse);
        }
    }

    /// What the budget at `index` has been charged this month.
    pub fn spent(&mut self, index: usize, amount: NanoUsd) {
        self.spent.insert(index, amount);
    }

    /// Decides, once a second of event time.
    pub fn tick(&mut self, now: EventTime) {
        let minute_ago = now.plus_ms(-60_000);
        while self.restricted_lately.front().is_some_and(|&at| at <= minute_ago) {
            self.restricted_lately.pop_front();
        }
        self.remind();
        self.at_stake.clear();
        for (function, case) in &self.cases {
            let stake = self.at_stake.entry(function.account).or_default();
            *stake = stake.plus(case.at_stake());
        }
        self.share_rooms(now);
        // The costliest first: control planes are slow, and the limit per minute is small.
        let mut order: Vec<(NanoUsd, FunctionKey)> =
            self.cases.iter().map(|(function, case)| (case.at_risk(), function.clone())).collect();
        order.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (_, function) in order {
            if let Some(mut case) = self.cases.remove(&function) {
                self.decide(&function, &mut case, now);
                if !case.is_over(now) {
                    self.cases.insert(function, case);
                }
            }
        }
    }

    /// Lifts what has lapsed and decides nothing else: what is seen now is the past.
    pub fn expire(&mut self, now: EventTime) {
        let functions: Vec<_> = self.cases.keys().cloned().collect();
        for function in functions {
            if let Some(mut case) = self.cases.remove(&function) {
                if case.waiting == 0 && case.may_lapse(now, &self.settings) {
                    self.lift(&mut case, Verb::Expire, now);
                }
                self.cases.insert(function, case);
            }
        }
    }

    /// Takes the intents since the last time; each wants its outcome back.
    pub fn intents(&mut self) -> Vec<Intent> {
        std::mem::take(&mut self.intents)
    }

    /// Takes the reasons for not acting since the last time.
    pub fn abstentions(&mut self) -> Vec<Abstention> {
        std::mem::take(&mut self.abstentions)
    }

    /// Takes what has been seen of caps since the last time.
    pub fn effects(&mut self) -> Vec<EffectTold> {
        std::mem::take(&mut self.effects)
    }

    /// Takes what the engine should know, for its next tick.
    pub fn directives(&mut self) -> Vec<Directive> {
        std::mem::take(&mut self.directives)
    }

    /// Whether no function has an alarm or a restriction.
    pub fn is_idle(&self) -> bool {
        self.cases.values().all(Case::is_at_rest)
    }

    /// All restrictions, planned ones included.
    pub fn restrictions(&self) -> impl Iterator<Item = &Restriction> {
        self.cases.values().flat_map(|case| case.source.iter().chain(case.cap.iter()))
    }

    /// What became of an intent. Returns the line for the decisions.
    pub fn outcome(&mut self, intent: Intent, outcome: Outcome) -> Action {
        let mode = self.settings.mode;
        debug_assert!(
            mode != Mode::Observe || outcome.kind != OutcomeKind::Applied,
            "A3: applied in mode observe"
        );
        let mut foreign = false;
        self.told(&intent, outcome.room);
        if let Some(case) = self.cases.get_mut(&intent.function) {
            foreign = case.settle(&intent, &outcome);
            let in_force = |restriction: &Option<Restriction>| {
                restriction.as_ref().is_some_and(Restriction::is_in_force)
            };
            self.directives.push(Directive {
                function: intent.function.clone(),
                restricted: in_force(&case.source) || in_force(&case.cap),
                cap: case
                    .cap
                    .as_ref()
                    .filter(|cap| cap.is_in_force())
                    .and_then(|cap| cap.current.number()),
            });
        }
        if foreign {
            self.leave_alone(intent.function.clone(), intent.decided_at);
        }
        Action { intent, outcome, mode }
    }

    /// Gives everything back at once: the daemon is going down.
    pub fn restore_all(&mut self, now: EventTime) {
        let functions: Vec<_> = self.cases.keys().cloned().collect();
        for function in functions {
            if let Some(case) = self.cases.remove(&function) {
                for restriction in case.held().iter().filter(|held| held.is_in_force()) {
                    let reason = "bursar is stopping and leaves nothing behind".to_owned();
                    let to = restriction.prior.clone();
                    let intent = self.change(restriction, Verb::Restore, to, now, reason);
                    self.intents.push(intent);
                }
                self.cases.insert(function, case);
            }
        }
    }

    fn decide(&mut self, function: &FunctionKey, case: &mut Case, now: EventTime) {
        self.effects.extend(case.watch_cap(now));
        if case.waiting > 0 {
            return;
        }
        if case.has_expired(now) {
            if case.may_lapse(now, &self.settings) {
                self.lift(case, Verb::Expire, now);
            }
            return;
        }
        match case.alarm.clone() {
            Some(alarm) => self.climb(function, case, &alarm, now),
            None => self.descend(case, now),
        }
    }

    fn climb(&mut self, function: &FunctionKey, case: &mut Case, alarm: &Alarm, now: EventTime) {
        case.quiet_since = None;
        if let Some(shut) = self.shut_gate(case, alarm, now) {
            self.abstain(case, alarm, now, shut);
            return;
        }
        case.renew(now, &self.settings);
        if case.retrip(now) && self.tighten_fully(case, now) {
            return;
        }
        let named: Vec<&SourceShare> = alarm.attribution.networks().collect();
        let refusable = self.settings.rungs.contains(&ActuatorKind::WafIpSet);
        let separable = refusable && !named.is_empty() && !alarm.attribution.diffuse;
        if separable && self.throttle_more_sources(case, alarm, &named, now) {
            return;
        }
        if !case.has_settled(now, &self.settings) {
            return;
        }
        let covers: f64 = named.iter().map(|source| source.share).sum();
        if case.source.is_none() && separable && covers < NAMES_COVER && !case.names_are_late(now) {
            // More names are about to come, and a set is not changed every second.
        } else if case.source.is_none() && separable {
            self.throttle_sources(function, case, alarm, &named, now);
        } else if refusable && case.holds_nothing() && !case.names_are_late(now) {
            // Names may still come.
        } else if case.cap.is_none() {
            self.cap(function, case, alarm, now);
        } else {
            self.tighten(case, now);
        }
    }

    /// The canary was tripped: back to full strength.
    fn tighten_fully(&mut self, case: &mut Case, now: EventTime) -> bool {
        for restriction in case.held() {
            if restriction.is_in_force() && restriction.current != restriction.full {
                let reason = format!("the excess came back; trip {}", case.trips);
                let to = restriction.full.clone();
                let intent = self.change(&restriction, Verb::Tighten, to, now, reason);
                self.intents.push(intent);
                case.waiting += 1;
            }
        }
        case.waiting > 0
    }

    fn descend(&mut self, case: &mut Case, now: EventTime) {
        if case.holds_nothing() {
            return;
        }
        if case.is_saturated() {
            case.quiet_since = None;
            return;
        }
        let quiet_since = *case.quiet_since.get_or_insert(now);
        let step = case.canary_step();
        let wait = match step {
            0 => case.quiet_seconds(&self.settings),
            _ => i64::from(self.settings.canary_seconds),
        };
        let from = if step == 0 {
            quiet_since
        } else {
            case.changed_at().unwrap_or(quiet_since).max(quiet_since)
        };
        if now.since_ms(from) < wait * 1_000 {
            return;
        }
        let share = CANARY_SHARES[usize::from(step).min(CANARY_SHARES.len() - 1)];
        if share >= 1.0 {
            self.lift(case, Verb::Restore, now);
        } else {
            self.relax(case, step, share, now);
        }
    }

    fn relax(&mut self, case: &mut Case, step: u8, share: f64, now: EventTime) {
        for restriction in case.held() {
            let room = self.left_for(&restriction.function).map(|left| left.room);
            let to = relaxed(&restriction, share, room);
            let reason = format!(
                "demand has been normal; canary step {} gives back {:.0} %",
                step + 1,
                share * 100.0
            );
            let intent = self.change(&restriction, Verb::Relax, to, now, reason);
            self.intents.push(intent);
            case.waiting += 1;
        }
    }

    /// Gives both restrictions back.
    fn lift(&mut self, case: &mut Case, verb: Verb, now: EventTime) {
        let reason = match verb {
            Verb::Expire => "its time is over and nobody renewed it",
            _ => "demand stayed normal through the canary steps",
        };
        for restriction in case.held() {
            let to = restriction.prior.clone();
            let intent = self.change(&restriction, verb, to, now, reason.to_owned());
            self.intents.push(intent);
            case.waiting += 1;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one intent, used twice")]
    fn restrict(
        &mut self,
        function: &FunctionKey,
        case: &mut Case,
        actuator: ActuatorKind,
        to: Setting,
        (covers, refused): (f64, f64),
        now: EventTime,
        reason: String,
    ) {
        let planned = || format!("{} {}: {reason}", actuator.as_str(), told(&to));
        if self.waits_for_approval(case, now, planned) {
            return;
        }
        if case.holds_nothing() {
            self.restricted_lately.push_back(now);
            case.acted_on = case.at_risk();
        }
        let text = format!("{function}|{}|{}", actuator.as_str(), case.alarm_id);
        let restriction = Restriction {
            id: format!("{:012x}", xxh3_64(text.as_bytes()) >> 16),
            alarm_id: case.alarm_id.clone(),
            function: function.clone(),
            actuator,
            mapping: None,
            prior: Setting::Unknown,
            full: to.clone(),
            current: Setting::Unknown,
            perhaps: None,
            loss_class: self.loss_class(function, actuator),
            stage: Stage::Planned,
            effect: Effect::Awaited,
            since: now,
            changed_at: now,
            expires_at: now.plus_ms(i64::from(self.settings.expiry_seconds) * 1_000),
            covers,
            legit_refused_share: refused,
            reason: reason.clone(),
        };
        let intent = self.change(&restriction, Verb::Restrict, to, now, reason);
        self.intents.push(intent);
        *case.place(actuator) = Some(restriction);
        case.waiting += 1;
    }

    fn change(
        &mut self,
        restriction: &Restriction,
        verb: Verb,
        to: Setting,
        now: EventTime,
        reason: String,
    ) -> Intent {
        debug_assert!(
            matches!(verb, Verb::Relax | Verb::Restore | Verb::Expire)
                || !self.never_touch.iter().any(|p| p.matches(&restriction.function.as_ref())),
            "A4: an intent for a function that must not be touched"
        );
        let text = format!("{}|{}|{}", restriction.id, verb.as_str(), now.ms());
        let intent = Intent {
            id: format!("{:012x}", xxh3_64(text.as_bytes()) >> 16),
            alarm_id: restriction.alarm_id.clone(),
            restriction_id: restriction.id.clone(),
            function: restriction.function.clone(),
            verb,
            actuator: restriction.actuator,
            from: restriction.current.clone(),
            perhaps: restriction.perhaps.clone(),
            to,
            loss_class: restriction.loss_class,
            expires_at: restriction.expires_at,
            decided_at: now,
            reason,
            legit_refused_share: match verb {
                Verb::Restrict | Verb::Tighten => restriction.legit_refused_share,
                Verb::Relax | Verb::Restore | Verb::Expire => 0.0,
            },
        };
        self.take_room(&intent);
        intent
    }
}

/// A setting in a few words.
fn told(setting: &Setting) -> String {
    match setting {
        Setting::Set(Value::Number(number)) => number.to_string(),
        Setting::Set(Value::Addresses(addresses)) => format!("of {} addresses", addresses.len()),
        Setting::Unset | Setting::Unknown => "unset".to_owned(),
    }
}

/// A restriction with `share` of it given back, as far as the account has room for more.
fn relaxed(restriction: &Restriction, share: f64, room: Option<u32>) -> Setting {
    match &restriction.full {
        Setting::Set(Value::Number(cap)) => {
            // A cap is opened by its own size: 25 % back is a third more room, 50 % twice as much.
            let wider = crate::units::whole(f64::from(*cap) / (1.0 - share));
            let (_, most) = restriction.actuator.range();
            let most = restriction.prior.number().unwrap_or(most);
            let current = restriction.current.number().unwrap_or(0);
            let most = room.map_or(most, |room| most.min(current.saturating_add(room)));
            let wider = u32::try_from(wider).unwrap_or(u32::MAX).min(most);
            // What gives back never takes.
            Setting::Set(Value::Number(wider.max(current)))
        }
        Setting::Set(Value::Addresses(addresses)) => {
            // Sorted by what they cost: the cheapest are let in first.
            let given_back = crate::units::whole(addresses.len() as f64 * share);
            let keep = (addresses.len() as u64).saturating_sub(given_back);
            let keep = usize::try_from(keep).unwrap_or(addresses.len());
            Setting::Set(Value::Addresses(addresses.iter().take(keep).cloned().collect()))
        }
        other => other.clone(),
    }
}
