//! What control knows of one function in trouble.

use std::collections::BTreeSet;

use super::action::{ActuatorKind, Intent, Outcome, OutcomeKind, Setting, Verb};
use super::cap::Demand;
use super::gate::GateKind;
use super::ladder::EffectTold;
use super::restriction::{Effect, Restriction, Stage};
use super::settings::ControlSettings;
use crate::engine::alarm::{Alarm, Class, Pulse, Severity};
use crate::keep::kept;
use crate::record::FunctionKey;
use crate::units::{EventTime, NanoUsd};

/// Canary steps before the last, which gives everything back.
const CANARY_STEPS: u8 = 2;
/// At this share of its cap a function's concurrency may hide demand.
const SATURATED: f64 = 0.95;
/// Hold-down doubles at most this often: 2^10 × 5 minutes is 3.5 days.
const DOUBLINGS_MAX: u32 = 10;
/// A function may run so many times its cap at once before that is taken to be more: the mean of
/// durations and the rate are of different calls.
const CAP_SLACK: f64 = 1.1;
/// After so long a cap should show: the platform takes seconds, telemetry up to a minute.
const EFFECT_WITHIN_MS: i64 = 60_000;
/// A rung that does not take is tried after twice the time again, up to 2^6 times.
const FAILURES_MAX: u32 = 6;
/// A source throttle waits this many seconds for names; where none come, the cap goes first.
const NAMES_WITHIN_SECONDS: i64 = 5;
/// For so long a notice may become a page any second.
const SEVERITY_WITHIN_SECONDS: i64 = 30;
/// After a week without a trip a function is forgiven.
const FORGIVEN_AFTER_MS: i64 = 7 * 86_400_000;

/// One function with an alarm or a restriction, or that had one lately.
#[derive(Debug)]
pub(super) struct Case {
    /// The function.
    pub(super) function: FunctionKey,
    /// The open alarm as last stated.
    pub(super) alarm: Option<Alarm>,
    /// The latest alarm's name.
    pub(super) alarm_id: String,
    opened_at: EventTime,
    pulse: Option<Pulse>,
    /// When it last ran no more at once than its cap allows.
    fitted_at: Option<EventTime>,
    /// The throttle of its sources.
    pub(super) source: Option<Restriction>,
    /// The cap.
    pub(super) cap: Option<Restriction>,
    /// What it is capped by.
    pub(super) cap_by: ActuatorKind,
    /// The excess that was first acted on, an hour.
    pub(super) acted_on: NanoUsd,
    /// Since when demand has been normal.
    pub(super) quiet_since: Option<EventTime>,
    /// How often a canary was tripped.
    pub(super) trips: u32,
    last_trip: Option<EventTime>,
    /// When a rung last did not take.
    failed_at: Option<EventTime>,
    /// And how often in a row.
    failures: u32,
    /// A person has approved that this alarm is acted on.
    pub(super) approved: bool,
    /// Intents whose outcome is awaited.
    pub(super) waiting: u32,
    /// The gates that were given for this alarm as the reason for not acting.
    told: BTreeSet<GateKind>,
}

impl Case {
    /// A case that begins with `alarm`.
    pub(super) fn new(alarm: &Alarm) -> Self {
        Self::adopted(alarm.function.clone(), alarm.id.clone(), alarm.decided_at)
    }

    /// A case whose alarm is only known by name.
    pub(super) fn adopted(function: FunctionKey, alarm_id: String, opened_at: EventTime) -> Self {
        Self {
            function,
            alarm: None,
            alarm_id,
            opened_at,
            pulse: None,
            fitted_at: None,
            source: None,
            cap: None,
            cap_by: ActuatorKind::ReservedConcurrency,
            acted_on: NanoUsd::ZERO,
            quiet_since: None,
            trips: 0,
            last_trip: None,
            failed_at: None,
            failures: 0,
            approved: false,
            waiting: 0,
            told: BTreeSet::new(),
        }
    }

    /// An alarm has opened.
    pub(super) fn open(&mut self, alarm: &Alarm) {
        self.opened_at = alarm.decided_at;
        if self.alarm_id != alarm.id {
            self.told.clear();
            self.approved = false;
        }
        self.alarm_id.clone_from(&alarm.id);
        self.quiet_since = None;
        self.alarm = Some(alarm.clone());
    }

    /// The newest pulse.
    pub(super) fn set_pulse(&mut self, pulse: Pulse) {
        self.pulse = Some(pulse);
    }

    /// Money at risk, dollars an hour, by which cases are ordered.
    pub(super) fn at_risk(&self) -> NanoUsd {
        self.alarm.as_ref().map_or(NanoUsd::ZERO, |alarm| alarm.excess_per_hour)
    }

    /// What an attack on it burns, or burnt before it was acted on; a crowd is none, nor is what
    /// wakes nobody.
    pub(super) fn at_stake(&self) -> NanoUsd {
        match &self.alarm {
            Some(alarm) if alarm.severity == Severity::Page && alarm.class == Class::Attack => {
                let before = if self.holds_nothing() { NanoUsd::ZERO } else { self.acted_on };
                alarm.excess_per_hour.max(before)
            }
            _ => NanoUsd::ZERO,
        }
    }

    /// Whether nothing is restricted or planned to be.
    pub(super) fn holds_nothing(&self) -> bool {
        self.source.is_none() && self.cap.is_none()
    }

    /// Its restrictions.
    pub(super) fn held(&self) -> Vec<Restriction> {
        self.source.iter().chain(&self.cap).cloned().collect()
    }

    /// Whether nothing is left to follow.
    pub(super) fn is_over(&self, now: EventTime) -> bool {
        let remembered = self.last_trip.is_some_and(|trip| now.since_ms(trip) < FORGIVEN_AFTER_MS);
        self.is_at_rest() && !remembered
    }

    /// Whether there is neither an alarm nor a restriction.
    pub(super) fn is_at_rest(&self) -> bool {
        self.alarm.is_none() && self.holds_nothing() && self.waiting == 0
    }

    /// What is asked of the function now.
    pub(super) fn demand(&self) -> Option<Demand> {
        let pulse = self.pulse.as_ref()?;
        Some(Demand {
            expected: pulse.expected,
            offered: pulse.served + pulse.throttled,
            seconds: pulse.billed_ms / 1e3,
            dispersion: pulse.dispersion,
            usd_per_call: pulse.usd_per_call,
        })
    }

    /// Excess burn that what is in force or planned does not stop, dollars an hour.
    pub(super) fn residual_per_hour(&self) -> f64 {
        let Some(pulse) = &self.pulse else {
            return 0.0;
        };
        let excess = (pulse.served - pulse.expected).max(0.0) * pulse.usd_per_call * 3_600.0;
        match &self.source {
            // A planned throttle does not show in what is served.
            Some(source) if !source.is_in_force() => excess * (1.0 - source.covers),
            _ => excess,
        }
    }

    /// Whether a restriction works so well that nobody can see whether the attack goes on.
    pub(super) fn is_saturated(&self) -> bool {
        let cap = self.cap.as_ref().filter(|cap| cap.is_in_force());
        let cap = cap.and_then(|cap| cap.current.number());
        match (cap, &self.pulse) {
            (Some(cap), Some(pulse)) => {
                pulse.served * pulse.billed_ms / 1e3 >= SATURATED * f64::from(cap)
            }
            // What cannot be seen changes nothing.
            (Some(_), None) => true,
            _ => false,
        }
    }

    /// Looks whether the cap shows in what runs at once; tells when that has changed.
    pub(super) fn watch_cap(&mut self, now: EventTime) -> Option<EffectTold> {
        let pulse = self.pulse.as_ref()?;
        let cap = self.cap.as_mut().filter(|cap| cap.is_in_force() && now > cap.changed_at)?;
        let limit = cap.current.number()?;
        let runs = pulse.served * pulse.billed_ms / 1e3;
        let effect = if runs <= CAP_SLACK * f64::from(limit) + 1.0 {
            self.fitted_at = Some(now);
            Effect::Seen
        } else {
            let since = self.fitted_at.map_or(cap.changed_at, |at| at.max(cap.changed_at));
            let is_late = now.since_ms(since) >= EFFECT_WITHIN_MS;
            if is_late { Effect::Missing } else { cap.effect }
        };
        let told = EffectTold {
            restriction_id: cap.id.clone(),
            alarm_id: cap.alarm_id.clone(),
            function: self.function.clone(),
            effect,
            runs,
            limit,
            after_ms: now.since_ms(cap.changed_at),
        };
        let before = std::mem::replace(&mut cap.effect, effect);
        (effect != before).then_some(told)
    }

    /// Whether something is in force of which nothing has been seen.
    pub(super) fn is_unseen(&self) -> bool {
        self.pulse.is_none() && self.cap.as_ref().is_some_and(Restriction::is_in_force)
    }

    /// Whether what has lapsed may be given back now: where that fails, ever more rarely.
    pub(super) fn may_lapse(&self, now: EventTime, settings: &ControlSettings) -> bool {
        self.has_expired(now) && (self.failures == 0 || self.has_settled(now, settings))
    }

    /// Every rung gets its time to show what it does.
    pub(super) fn has_settled(&self, now: EventTime, settings: &ControlSettings) -> bool {
        let settle = i64::from(settings.settle_seconds) * 1_000;
        let settle = settle << self.failures.saturating_sub(1).min(FAILURES_MAX);
        self.changed_at().is_none_or(|changed| now.since_ms(changed) >= settle)
    }

    /// When a restriction last changed.
    pub(super) fn changed_at(&self) -> Option<EventTime> {
        let held = self.source.iter().chain(&self.cap).map(|held| held.changed_at);
        held.chain(self.failed_at).max()
    }

    /// Whether it is time to say that this gate is shut, which is said once.
    pub(super) fn tells(&mut self, gate: GateKind, now: EventTime) -> bool {
        let open_for = now.since_ms(self.opened_at);
        let settles = match gate {
            GateKind::Severity => SEVERITY_WITHIN_SECONDS,
            _ => NAMES_WITHIN_SECONDS,
        };
        open_for >= settles * 1_000 && self.told.insert(gate)
    }

    /// Whether names of sources should have come by now.
    pub(super) fn names_are_late(&self, now: EventTime) -> bool {
        now.since_ms(self.opened_at) >= NAMES_WITHIN_SECONDS * 1_000
    }

    /// The number of canary steps taken.
    pub(super) fn canary_step(&self) -> u8 {
        let step = |held: &Restriction| match held.stage {
            Stage::Canary(step) => step,
            Stage::Planned | Stage::Applied => 0,
        };
        let planned = self.source.iter().chain(&self.cap).all(|held| !held.is_in_force());
        if planned {
            // Nothing to probe with: what was never in force is simply withdrawn.
            return CANARY_STEPS;
        }
        self.source.iter().chain(&self.cap).map(step).max().unwrap_or_default()
    }

    /// How long demand must have been normal before the first canary step: longer after each trip.
    pub(super) fn quiet_seconds(&self, settings: &ControlSettings) -> i64 {
        let quiet = i64::from(settings.quiet_seconds);
        match self.trips {
            0 => quiet,
            trips => {
                let hold = i64::from(settings.hold_down_seconds);
                quiet.max(hold << (trips - 1).min(DOUBLINGS_MAX))
            }
        }
    }

    /// Notes that the excess came back during the canary, which is over with that; true once.
    pub(super) fn retrip(&mut self, now: EventTime) -> bool {
        let mut canary = false;
        for held in self.source.iter_mut().chain(&mut self.cap) {
            if matches!(held.stage, Stage::Canary(_)) {
                canary = true;
                held.stage = Stage::Applied;
            }
        }
        if canary {
            self.trips += 1;
            self.last_trip = Some(now);
        }
        canary
    }

    /// A restriction whose alarm is open does not lapse.
    pub(super) fn renew(&mut self, now: EventTime, settings: &ControlSettings) {
        let expires_at = now.plus_ms(i64::from(settings.expiry_seconds) * 1_000);
        for held in self.source.iter_mut().chain(&mut self.cap) {
            held.expires_at = expires_at;
        }
    }

    /// Whether a restriction's time is over.
    pub(super) fn has_expired(&self, now: EventTime) -> bool {
        self.source.iter().chain(&self.cap).any(|held| now >= held.expires_at)
    }

    /// Where a restriction by this actuator stands.
    pub(super) fn place(&mut self, actuator: ActuatorKind) -> &mut Option<Restriction> {
        match actuator {
            ActuatorKind::WafIpSet => &mut self.source,
            ActuatorKind::ReservedConcurrency | ActuatorKind::SqsMaximumConcurrency => {
                &mut self.cap
            }
        }
    }

    /// Where the restriction of this name stands.
    pub(super) fn held_by_id(&mut self, id: &str) -> Option<&mut Option<Restriction>> {
        let places = [&mut self.source, &mut self.cap];
        places.into_iter().find(|place| place.as_ref().is_some_and(|held| held.id == id))
    }

    /// Brings the restriction in line with what became of an intent. Returns whether somebody else
    /// has changed what it restricts.
    pub(super) fn settle(&mut self, intent: &Intent, outcome: &Outcome) -> bool {
        self.waiting = self.waiting.saturating_sub(1);
        let took = matches!(outcome.kind, OutcomeKind::Applied | OutcomeKind::Planned);
        self.failures = if took { 0 } else { self.failures.saturating_add(1) };
        if let Some(instead) = outcome.instead {
            self.turn_to(instead, intent.decided_at);
            return false;
        }
        if self.place(intent.actuator).is_none() {
            return false;
        }
        let is_known = outcome.from != Setting::Unknown;
        if outcome.kind == OutcomeKind::Refused
            && is_known
            && intent.verb != Verb::Restrict
            && intent.objection(&outcome.from).is_some()
        {
            // Whoever changed it owns it now.
            return self.place(intent.actuator).take().is_some();
        }
        let ends = matches!(intent.verb, Verb::Restore | Verb::Expire);
        match (outcome.kind, intent.verb) {
            (OutcomeKind::Applied | OutcomeKind::Planned, _) if ends => {
                *self.place(intent.actuator) = None;
            }
            // The rung did not take: it is tried again after its time to settle, or the next one.
            (OutcomeKind::Refused | OutcomeKind::Failed, Verb::Restrict)
                if outcome.kind == OutcomeKind::Refused || !is_known =>
            {
                *self.place(intent.actuator) = None;
                self.failed_at = Some(intent.decided_at);
            }
            _ => {
                if let Some(held) = self.place(intent.actuator) {
                    held.settle(intent, outcome);
                }
            }
        }
        false
    }

    /// What was tried is not the right way to restrict this function; something else is, at once
    /// unless it was the other way round a moment ago.
    fn turn_to(&mut self, instead: ActuatorKind, now: EventTime) {
        let is_first = self.cap_by == ActuatorKind::ReservedConcurrency;
        (self.failures, self.failed_at) =
            if is_first { (0, None) } else { (self.failures, Some(now)) };
        self.cap_by = instead;
        self.cap = None;
    }
}

kept!(Case {
    function,
    alarm,
    alarm_id,
    opened_at,
    pulse,
    fitted_at,
    source,
    cap,
    cap_by,
    acted_on,
    quiet_since,
    trips,
    last_trip,
    failed_at,
    failures,
    approved,
    waiting,
    told,
});
