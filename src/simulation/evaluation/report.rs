//! Several runs together: attacks pooled per kind, false alarms over all function-days.

use std::collections::BTreeMap;

use serde::Serialize;

use super::TOLERANCE_MS;
use super::attack_case::{AttackScore, Found};
use super::interval::{Interval, poisson, quantile, wilson};
use super::run::{ActionScore, Actions, FalseCount, RunScore};
use crate::units::NanoUsd;

/// Version of the form.
const FORM: u32 = 1;

/// The score of one or several runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of this form.
    pub v: u32,
    /// How long after an attack's last record the onset of an alarm still counts as its doing.
    pub tolerance_ms: i64,
    /// By kind of attack.
    pub kinds: BTreeMap<String, KindScore>,
    /// What was said without an attack.
    pub false_alarms: FalseAlarms,
    /// What was done or would have been.
    pub actions: Actions,
    /// One by one, in the order given.
    pub runs: Vec<RunScore>,
}

/// All attacks of one kind. What left no record is counted apart and nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct KindScore {
    /// Attacks that left records.
    pub attacks: u64,
    /// Attacks that left none.
    pub without_records: u64,
    /// Of the attacks, found by a page.
    pub paged: u64,
    /// By a notice only.
    pub noticed: u64,
    /// Not at all.
    pub missed: u64,
    /// Paged over attacks.
    pub paged_share: Option<f64>,
    /// Wilson's interval of that share.
    pub paged_share_95: Option<Interval>,
    /// From first record to sufficient evidence, over what was paged.
    pub evidence_delay: Option<DelayQuantiles>,
    /// From first record to the page, over what was paged.
    pub decision_delay: Option<DelayQuantiles>,
    /// What the victims cost before the page, over what was paged; null without ledgers.
    pub before_page: Option<MoneyQuantiles>,
    /// The same without what was expected, over what was paged by an alarm that says so.
    pub before_page_excess: Option<MoneyQuantiles>,
    /// What the victims cost during attacks that were not paged; null without ledgers.
    pub unpaged_nano_usd: Option<NanoUsd>,
    /// Addresses that the truth lists, summed over attacks.
    pub sources: u64,
    /// Of these, named.
    pub sources_right: u64,
    /// Of these, not named.
    pub sources_missed: u64,
    /// Named, but used by no attack.
    pub sources_wrong: u64,
}

/// Delays in milliseconds; the values are ones that occurred (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DelayQuantiles {
    /// Over how many attacks.
    pub count: u64,
    /// Median.
    pub median_ms: i64,
    /// 99 %: the largest below a hundred attacks.
    pub p99_ms: i64,
}

/// Money; the values are ones that occurred (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MoneyQuantiles {
    /// Over how many attacks.
    pub count: u64,
    /// Median.
    pub median_nano_usd: NanoUsd,
    /// 99 %: the largest below a hundred attacks.
    pub p99_nano_usd: NanoUsd,
}

/// What was said without an attack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FalseAlarms {
    /// Days that functions were followed, summed over functions and runs.
    pub function_days: f64,
    /// Of these, days in which a function had no baseline yet.
    pub warmup_function_days: f64,
    /// Pages.
    pub pages: FalseRate,
    /// Notices.
    pub notices: FalseRate,
    /// What the runs promised; null when one promised nothing.
    pub promised: Option<Promised>,
}

/// A count of false alarms, and its rate. Warm-up is taken off the days and not off the count, so
/// the rate can only look worse than it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FalseRate {
    /// How many.
    pub count: u64,
    /// The same by channel.
    pub by_channel: BTreeMap<String, u64>,
    /// Over the function-days behind warm-up; null where there are none.
    pub per_function_day: Option<f64>,
    /// The exact Poisson interval of that rate.
    pub per_function_day_95: Option<Interval>,
}

/// The promise over the same function-days.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Promised {
    /// False pages in a function's day, weighted by the runs' function-days.
    pub pages_per_function_day: f64,
    /// False pages in all function-days behind warm-up.
    pub pages: f64,
}

impl Report {
    /// Pools runs.
    pub fn new(runs: Vec<RunScore>) -> Self {
        let mut by_kind: BTreeMap<String, Vec<&AttackScore>> = BTreeMap::new();
        for attack in runs.iter().flat_map(|run| &run.attacks) {
            by_kind.entry(attack.kind.clone()).or_default().push(attack);
        }
        let kinds = by_kind.into_iter().map(|(kind, attacks)| (kind, KindScore::of(&attacks)));
        let sum = |part: fn(&Actions) -> ActionScore| {
            let parts = runs.iter().map(|run| part(&run.actions));
            parts.fold(ActionScore::default(), ActionScore::plus)
        };
        Self {
            v: FORM,
            tolerance_ms: TOLERANCE_MS,
            kinds: kinds.collect(),
            false_alarms: FalseAlarms::of(&runs),
            actions: Actions {
                in_attack: sum(|actions| actions.in_attack),
                outside: sum(|actions| actions.outside),
            },
            runs,
        }
    }
}

impl KindScore {
    fn of(attacks: &[&AttackScore]) -> Self {
        let mut score = Self::default();
        let mut unpaged = None;
        for attack in attacks {
            match attack.found {
                Found::Page => score.paged += 1,
                Found::Notice => score.noticed += 1,
                Found::Nothing => score.missed += 1,
                Found::NoRecords => {
                    score.without_records += 1;
                    continue;
                }
            }
            if let Some(spend) = attack.spend.as_ref() {
                let part = if attack.found == Found::Page { NanoUsd::ZERO } else { spend.nano_usd };
                unpaged = Some(unpaged.unwrap_or(NanoUsd::ZERO).plus(part));
            }
            score.attacks += 1;
            score.sources += attack.attribution.sources;
            score.sources_right += attack.attribution.right;
            score.sources_missed += attack.attribution.missed;
            score.sources_wrong += attack.attribution.wrong;
        }
        let paged = || attacks.iter().filter(|attack| attack.found == Found::Page);
        let spent = || paged().filter_map(|attack| attack.spend.as_ref());
        Self {
            paged_share: ratio(score.paged, score.attacks as f64),
            paged_share_95: wilson(score.paged, score.attacks),
            evidence_delay: delays(paged().filter_map(|attack| attack.evidence_delay_ms)),
            decision_delay: delays(paged().filter_map(|attack| attack.decision_delay_ms)),
            before_page: money(spent().map(|spend| spend.nano_usd)),
            before_page_excess: money(spent().filter_map(|spend| spend.excess_nano_usd)),
            unpaged_nano_usd: unpaged,
            ..score
        }
    }
}

impl FalseAlarms {
    fn of(runs: &[RunScore]) -> Self {
        let days = |run: &RunScore| run.function_days - run.warmup_function_days;
        let judged: f64 = runs.iter().map(days).sum();
        let promised = runs.iter().map(|run| {
            let rate = run.promised_pages_per_function_day?;
            Some(rate * days(run))
        });
        let promised: Option<f64> = promised.sum();
        let rate =
            |part: fn(&RunScore) -> &FalseCount| FalseRate::of(runs.iter().map(part), judged);
        Self {
            function_days: runs.iter().map(|run| run.function_days).sum(),
            warmup_function_days: runs.iter().map(|run| run.warmup_function_days).sum(),
            pages: rate(|run| &run.false_pages),
            notices: rate(|run| &run.false_notices),
            promised: promised
                .filter(|_| judged > 0.0)
                .map(|pages| Promised { pages_per_function_day: pages / judged, pages }),
        }
    }
}

impl FalseRate {
    fn of<'a>(counts: impl Iterator<Item = &'a FalseCount>, days: f64) -> Self {
        let mut rate = Self::default();
        for count in counts {
            rate.count += count.count;
            for (channel, count) in &count.by_channel {
                *rate.by_channel.entry(channel.clone()).or_default() += count;
            }
        }
        rate.per_function_day = ratio(rate.count, days);
        rate.per_function_day_95 = rate.per_function_day.map(|_| {
            let Interval { low, high } = poisson(rate.count);
            Interval { low: low / days, high: high / days }
        });
        rate
    }
}

fn ratio(count: u64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| count as f64 / of)
}

/// How many, the median and the 99 % quantile.
fn quantiles(values: impl Iterator<Item = i64>) -> Option<(u64, i64, i64)> {
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    Some((values.len() as u64, quantile(&values, 0.5)?, quantile(&values, 0.99)?))
}

fn delays(values: impl Iterator<Item = i64>) -> Option<DelayQuantiles> {
    let (count, median_ms, p99_ms) = quantiles(values)?;
    Some(DelayQuantiles { count, median_ms, p99_ms })
}

fn money(values: impl Iterator<Item = NanoUsd>) -> Option<MoneyQuantiles> {
    let (count, median, p99) = quantiles(values.map(|money| money.0))?;
    Some(MoneyQuantiles { count, median_nano_usd: NanoUsd(median), p99_nano_usd: NanoUsd(p99) })
}
