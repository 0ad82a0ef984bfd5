//! What planned actions would have saved and refused, by the shares that they were stated with.
//!
//! - Refused sources would have taken their share of what each minute had beyond the expected, and
//!   the stated share of the expected requests with it.
//! - A cap lets in as many calls as it has room for at the mean duration of the minute; what comes
//!   beyond it costs nothing, and the stated share of the expected requests is among it.
//!
//! Callers who would have tried again or gone away are not in it: this is arithmetic over what did
//! happen, and `bursar simulate` answers the question with callers who react.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Place;
use crate::control::action::{Action, OutcomeKind, Verb};
use crate::engine::alarm::MinuteRow;
use crate::record::FunctionKey;
use crate::units::{EventTime, NanoUsd};

/// Plans that are reckoned with.
const PLANS_MAX: usize = 5_000;
/// Minutes of functions with a plan.
const MINUTES_MAX: usize = 200_000;

/// What would have come of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct WouldHave {
    /// Dollars that would not have been spent.
    pub saved_nano_usd: NanoUsd,
    /// What the restricted functions cost in the minutes in which something was planned.
    pub spent_nano_usd: NanoUsd,
    /// Requests that would have been refused.
    pub refused_requests: f64,
    /// Of these, legitimate.
    pub refused_legitimate_requests: f64,
    /// Plans and minutes that are not in it, because there were too many.
    pub omitted: u64,
}

/// Plans, and the minutes of their functions.
#[derive(Debug, Default)]
pub(super) struct Plans {
    plans: BTreeMap<FunctionKey, Vec<Plan>>,
    /// By the restriction's name, the function and the place of its present plan.
    open: BTreeMap<String, (FunctionKey, usize)>,
    count: usize,
    minutes: BTreeMap<Place, Minute>,
    omitted: u64,
}

/// A restriction as it would have stood for a while.
#[derive(Debug)]
struct Plan {
    from: EventTime,
    until: EventTime,
    hand: Hand,
    /// Of the legitimate requests.
    refused_share: f64,
}

#[derive(Debug)]
enum Hand {
    /// Sources with this share of the excess.
    Sources(f64),
    /// A concurrency.
    Cap(u32),
}

/// What a function did in a minute; its parts are added.
#[derive(Debug, Default)]
struct Minute {
    requests: f64,
    expected: f64,
    billed_ms: f64,
    usd: f64,
}

impl Plans {
    /// Takes in an action; `covers` is the share of the excess that its addresses carry.
    pub(super) fn action(&mut self, action: &Action, covers: f64) {
        let intent = &action.intent;
        if !matches!(action.outcome.kind, OutcomeKind::Planned | OutcomeKind::Applied) {
            return;
        }
        if let Some((function, place)) = self.open.remove(&intent.restriction_id)
            && let Some(plan) = self.plans.get_mut(&function).and_then(|all| all.get_mut(place))
        {
            plan.until = intent.decided_at;
        }
        let hand = match intent.to.number() {
            _ if matches!(intent.verb, Verb::Restore | Verb::Expire) => return,
            Some(cap) => Hand::Cap(cap),
            None if intent.to.addresses().is_empty() => return,
            None => Hand::Sources(covers),
        };
        if self.count >= PLANS_MAX {
            self.omitted += 1;
            return;
        }
        self.count += 1;
        let plans = self.plans.entry(intent.function.clone()).or_default();
        let open = (intent.function.clone(), plans.len());
        self.open.insert(intent.restriction_id.clone(), open);
        plans.push(Plan {
            from: intent.decided_at,
            until: EventTime::MAX,
            hand,
            refused_share: intent.legit_refused_share,
        });
    }

    /// Takes in a minute; it comes after everything that was decided in it.
    pub(super) fn minute(&mut self, row: &MinuteRow) {
        if !self.plans.contains_key(&row.function) {
            return;
        }
        let place = (row.function.clone(), row.minute);
        if self.minutes.len() >= MINUTES_MAX && !self.minutes.contains_key(&place) {
            self.omitted += 1;
            return;
        }
        let minute = self.minutes.entry(place).or_default();
        minute.requests += row.usage.requests as f64;
        minute.usd += row.nano_usd.usd();
        minute.expected = row.expected * 60.0;
        minute.billed_ms = row.billed_ms;
    }

    /// What all of it comes to.
    pub(super) fn would_have(&self) -> WouldHave {
        let mut sum = WouldHave { omitted: self.omitted, ..WouldHave::default() };
        for ((function, number), minute) in &self.minutes {
            let plans = self.plans.get(function).into_iter().flatten();
            let begin = EventTime::saturating_from_ms(number.saturating_mul(60_000));
            let held: Vec<(&Plan, f64)> = plans
                .map(|plan| (plan, overlap(plan, begin)))
                .filter(|(_, share)| *share > 0.0)
                .collect();
            if held.is_empty() || minute.requests <= 0.0 {
                continue;
            }
            let (refused, legitimate) = minute.under(&held);
            let saved = minute.usd * refused / minute.requests;
            sum.saved_nano_usd += NanoUsd::from_usd(saved);
            sum.spent_nano_usd += NanoUsd::from_usd(minute.usd);
            sum.refused_requests += refused;
            sum.refused_legitimate_requests += legitimate;
        }
        sum
    }
}

impl Minute {
    /// Requests that would have been refused, and how many of them legitimate.
    fn under(&self, held: &[(&Plan, f64)]) -> (f64, f64) {
        let expected = self.expected.min(self.requests);
        let (mut by_source, mut by_cap, mut legitimate) = (0.0, 0.0, 0.0);
        for (plan, share) in held {
            if let Hand::Sources(covers) = plan.hand {
                by_source += share * covers * (self.requests - expected);
            }
            legitimate += share * plan.refused_share * expected;
        }
        for (plan, share) in held {
            if let Hand::Cap(cap) = plan.hand {
                let room = f64::from(cap) * 60_000.0 / self.billed_ms.max(1.0);
                by_cap += share * (self.requests - by_source - room).max(0.0);
            }
        }
        let legitimate = legitimate.min(expected);
        let refused = (by_source + by_cap).max(legitimate).min(self.requests);
        (refused, legitimate)
    }
}

/// Share of the minute from `begin` on in which the plan stood.
fn overlap(plan: &Plan, begin: EventTime) -> f64 {
    let end = begin.plus_ms(60_000);
    let ms = plan.until.min(end).since_ms(plan.from.max(begin));
    ms.max(0) as f64 / 60_000.0
}
