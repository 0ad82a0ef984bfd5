//! The last rung: a cap on the function, as low as the money asks for and no lower than legitimate
//! callers need.

use super::Control;
use super::rooms::Left;
use crate::control::action::{ActuatorKind, LossClass, Setting, Value, Verb};
use crate::control::cap::{Cap, Demand};
use crate::control::case::Case;
use crate::control::gate::{Gate, GateKind};
use crate::control::room::Claim;
use crate::cost::Month;
use crate::engine::alarm::Alarm;
use crate::record::FunctionKey;
use crate::units::{EventTime, NanoUsd};

/// A queue's limit that leaves more than this share of what is asked for is not worth while: it
/// would only spread the same messages over a longer time.
const WORTHWHILE: f64 = 0.9;
/// Nor is a cap made stricter for others' sake by less.
const NOTABLE: f64 = 0.9;
/// A tightened cap is this share of the one before.
const TIGHTEN: f64 = 0.7;
/// A budget is at risk when the excess would spend what is left of it within so many hours.
const AT_RISK_HOURS: f64 = 24.0;

impl Control {
    pub(super) fn cap(
        &mut self,
        function: &FunctionKey,
        case: &mut Case,
        alarm: &Alarm,
        now: EventTime,
    ) {
        let Some(demand) = case.demand() else {
            return;
        };
        let floor = self.settings.action_floor_usd_per_hour;
        let residual = case.residual_per_hour();
        if residual < floor {
            if case.holds_nothing() {
                let unit = "dollars an hour at least";
                let gate = Gate::of_numbers(GateKind::Cap, false, residual, floor, unit);
                let gate = gate.because(|| {
                    format!(
                        "no caller can be refused, and ${residual:.2} an hour above normal are \
                         not worth a cap"
                    )
                });
                self.abstain(case, alarm, now, gate);
            }
            return;
        }
        let allowance = self.allowance(function, &demand, now);
        let kind = case.cap_by;
        let (least, _) = kind.range();
        let cap = demand.cap(allowance, self.settings.cap_floor.max(least));
        debug_assert!(cap.value >= cap.legitimate.max(self.settings.cap_floor), "A1");
        let needs = worthwhile(kind, demand.concurrency());
        if f64::from(cap.value) > needs {
            if case.holds_nothing() {
                let (kind, unit) = (GateKind::Cap, "concurrent runs at most");
                let gate = Gate::of_numbers(kind, false, cap.value.into(), needs, unit);
                let gate = gate.because(|| {
                    format!(
                        "a cap would stop next to nothing: {} concurrent runs are allowed \
                         (legitimate callers need {}, ${allowance:.2} an hour pay for the rest), \
                         all together ask for {:.0}",
                        cap.value,
                        cap.legitimate,
                        demand.concurrency()
                    )
                });
                self.abstain(case, alarm, now, gate);
            }
            return;
        }
        let Some((cap, shared)) = self.fit(case, alarm, &demand, cap, now) else {
            return;
        };
        let reason = format!(
            "{}; {} concurrent runs are what {} (legitimate callers need {}, all together ask for \
             {:.0})",
            why_here(case, alarm),
            cap.value,
            shared.unwrap_or_else(|| format!("${allowance:.2} an hour allows")),
            cap.legitimate,
            demand.concurrency()
        );
        let to = Setting::Set(Value::Number(cap.value));
        let refused_share = match self.loss_class(function, kind) {
            LossClass::Lossless => 0.0,
            LossClass::Refusing | LossClass::Lossy => cap.refused_share,
        };
        let shares = (1.0, refused_share);
        self.restrict(function, case, kind, to, shares, now, reason);
    }

    /// The cap as the account has room for it, and where that is less than was wanted, why. Where
    /// not even legitimate callers find room, none, which is said.
    fn fit(
        &mut self,
        case: &mut Case,
        alarm: &Alarm,
        demand: &Demand,
        cap: Cap,
        now: EventTime,
    ) -> Option<(Cap, Option<String>)> {
        let is_reserved = case.cap_by == ActuatorKind::ReservedConcurrency;
        let left = self.left_for(&case.function).filter(|_| is_reserved);
        let Some(Left { room, level }) = left else {
            let waits = is_reserved && self.asks_room(&case.function);
            return (!waits).then_some((cap, None));
        };
        let claim = Claim { least: cap.legitimate, most: cap.value };
        let value = claim.at(level).min(room);
        if value >= claim.least {
            let why = || format!("the account's caps leave to each, {room} in all");
            let shared = (value < cap.value).then(why);
            return Some((demand.at(value, cap.legitimate), shared));
        }
        if case.holds_nothing() {
            let (kind, unit) = (GateKind::Room, "concurrent runs at most");
            let gate = Gate::of_numbers(kind, false, claim.least.into(), room.into(), unit);
            let gate = gate.because(|| {
                format!(
                    "legitimate callers need {} concurrent runs, and caps may reserve {room} more \
                     of the account's; its limit and control.account_share decide that",
                    claim.least
                )
            });
            self.abstain(case, alarm, now, gate);
        }
        None
    }

    /// What callers of a function notice of a restriction.
    pub(super) fn loss_class(&self, function: &FunctionKey, actuator: ActuatorKind) -> LossClass {
        let may_lose = || self.lossy.iter().any(|pattern| pattern.matches(&function.as_ref()));
        match actuator {
            ActuatorKind::SqsMaximumConcurrency => LossClass::Lossless,
            ActuatorKind::ReservedConcurrency if may_lose() => LossClass::Lossy,
            ActuatorKind::ReservedConcurrency | ActuatorKind::WafIpSet => LossClass::Refusing,
        }
    }

    /// Whether a budget of the function would not last for [`AT_RISK_HOURS`]. That acts by itself,
    /// whoever calls: it is the one case in which a crowd is throttled.
    pub(super) fn budget_is_at_risk(&self, function: &FunctionKey, alarm: &Alarm) -> bool {
        let least = self.budgets_left(function).map(NanoUsd::usd).reduce(f64::min);
        least.is_some_and(|left| left < AT_RISK_HOURS * alarm.excess_per_hour.usd())
    }

    /// What is left of each budget that covers the function.
    fn budgets_left(&self, function: &FunctionKey) -> impl Iterator<Item = NanoUsd> {
        let budgets = self.budgets.iter().enumerate();
        let covering = budgets.filter(|(_, budget)| budget.covers(&function.as_ref()));
        covering.map(|(index, budget)| {
            budget.remaining(self.spent.get(&index).copied().unwrap_or_default())
        })
    }

    /// Dollars an hour that the function may burn: what its budgets leave for the rest of the
    /// month, or its usual burn plus the action floor where it has none.
    pub(super) fn allowance(&self, function: &FunctionKey, demand: &Demand, now: EventTime) -> f64 {
        let usual = demand.expected * demand.usd_per_call * 3_600.0;
        let hours = Month::of(now).hours_left(now).max(1.0);
        let rates = self.budgets_left(function).map(|left| left.usd() / hours);
        rates.reduce(f64::min).unwrap_or(usual + self.settings.action_floor_usd_per_hour)
    }

    pub(super) fn tighten(&mut self, case: &mut Case, now: EventTime) {
        let (Some(demand), Some(cap)) = (case.demand(), case.cap.clone()) else {
            return;
        };
        let Some(value) = cap.current.number().filter(|_| cap.is_in_force()) else {
            return;
        };
        let burn = demand.concurrency().min(f64::from(value)) / demand.seconds.max(1e-3)
            * demand.usd_per_call
            * 3_600.0;
        let allowance = self.allowance(&cap.function, &demand, now);
        let (least, _) = cap.actuator.range();
        let legitimate = demand.legitimate(self.settings.cap_floor.max(least));
        let lower = crate::units::whole((f64::from(value) * TIGHTEN).floor());
        let lower = u32::try_from(lower).unwrap_or(value).max(legitimate);
        let fair = Claim { least: legitimate, most: value }.at(self.level_of(&cap));
        let (lower, reason) = if burn > allowance && lower < value {
            let reason = format!(
                "under the cap of {value} the function still burns ${burn:.2} an hour, \
                 ${allowance:.2} are allowed"
            );
            (lower, reason)
        } else if f64::from(fair) <= NOTABLE * f64::from(value) {
            (fair, "other functions under attack need room in the account, too".to_owned())
        } else {
            return;
        };
        let to = Setting::Set(Value::Number(lower));
        let mut intent = self.change(&cap, Verb::Tighten, to, now, reason);
        if cap.loss_class != LossClass::Lossless {
            intent.legit_refused_share = demand.at(lower, legitimate).refused_share;
        }
        self.intents.push(intent);
        case.waiting += 1;
    }
}

/// The largest limit that is worth while where so much is asked for. A cap that stops little now
/// may stop a loop that grows.
pub(super) fn worthwhile(kind: ActuatorKind, asked: f64) -> f64 {
    let (_, most) = kind.range();
    match kind {
        ActuatorKind::SqsMaximumConcurrency => (WORTHWHILE * asked).floor().min(most.into()),
        ActuatorKind::ReservedConcurrency | ActuatorKind::WafIpSet => (asked.ceil() - 1.0).max(0.0),
    }
}

/// Why it is the turn of a cap.
fn why_here(case: &Case, alarm: &Alarm) -> &'static str {
    let named = !alarm.attribution.sources.is_empty() && !alarm.attribution.diffuse;
    if case.cap_by == ActuatorKind::SqsMaximumConcurrency {
        "a queue feeds it and keeps what is too much, until it is read or too old"
    } else if case.source.is_some() {
        "the excess goes on beside the refused addresses"
    } else if named {
        "no actuator here can refuse the callers that are named"
    } else if alarm.attribution.distinct > 0 {
        "the callers cannot be told apart"
    } else {
        "nothing is known of the callers"
    }
}
