//! The first rung: refuse those who carry the excess, and whoever is named later.

use super::Control;
use crate::control::action::{ActuatorKind, Setting, Value, Verb};
use crate::control::case::Case;
use crate::engine::alarm::Alarm;
use crate::engine::attribution::SourceShare;
use crate::record::FunctionKey;
use crate::units::EventTime;

/// More names are added to a set at most this often: an edge takes one change a second, and each
/// has to arrive.
const NAMES_EVERY_SECONDS: i64 = 5;
/// The most entries of one set: the limit of an AWS WAF IP set.
const ADDRESSES_MAX: usize = 10_000;

impl Control {
    pub(super) fn throttle_sources(
        &mut self,
        function: &FunctionKey,
        case: &mut Case,
        alarm: &Alarm,
        named: &[&SourceShare],
        now: EventTime,
    ) {
        let covers: f64 = named.iter().map(|source| source.share).sum::<f64>().min(1.0);
        let ordinary: f64 = named.iter().map(|source| source.ordinary).sum::<f64>().min(1.0);
        let addresses: Vec<Box<str>> = named.iter().map(|source| source.source.clone()).collect();
        let reason = format!(
            "{} addresses carry {:.0} % of an excess of {} an hour; they are refused at the edge",
            addresses.len(),
            covers * 100.0,
            alarm.excess_per_hour
        );
        let to = Setting::Set(Value::Addresses(addresses));
        self.restrict(function, case, ActuatorKind::WafIpSet, to, (covers, ordinary), now, reason);
    }

    /// Attackers change their addresses, and not all are named at once: whoever is named beside
    /// those that are refused already is refused too. Whether that was done.
    pub(super) fn throttle_more_sources(
        &mut self,
        case: &mut Case,
        alarm: &Alarm,
        named: &[&SourceShare],
        now: EventTime,
    ) -> bool {
        let Some(source) = &mut case.source else {
            return false;
        };
        let Setting::Set(Value::Addresses(refused)) = &source.full else {
            return false;
        };
        if now.since_ms(source.changed_at) < NAMES_EVERY_SECONDS * 1_000 {
            return false;
        }
        let fresh: Vec<_> = named.iter().filter(|it| !refused.contains(&it.source)).collect();
        if fresh.is_empty() || refused.len() + fresh.len() > ADDRESSES_MAX {
            return false;
        }
        let reason = format!(
            "{} more addresses carry the excess of {} an hour; they are refused at the edge too",
            fresh.len(),
            alarm.excess_per_hour
        );
        let all = refused.iter().cloned().chain(fresh.iter().map(|it| it.source.clone()));
        let to = Setting::Set(Value::Addresses(all.collect()));
        source.covers = named.iter().map(|it| it.share).sum::<f64>().min(1.0);
        let ordinary: f64 = fresh.iter().map(|it| it.ordinary).sum();
        source.legit_refused_share = (source.legit_refused_share + ordinary).min(1.0);
        let source = source.clone();
        let intent = self.change(&source, Verb::Tighten, to, now, reason);
        self.intents.push(intent);
        case.waiting += 1;
        true
    }
}
