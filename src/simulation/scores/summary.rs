//! One policy over all seeds.

use serde::Serialize;

use super::run::RunScore;
use crate::simulation::scenario::Expect;
use crate::units::whole;

/// One policy over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyScore {
    /// Its name.
    pub policy: &'static str,
    /// Attacks, over all seeds.
    pub attacks: u64,
    /// Of these, noticed.
    pub detected: u64,
    /// From onset to alarm, over what was noticed, in milliseconds.
    pub detection_delay_ms: Option<Spread>,
    /// Runs in which the attack was contained.
    pub contained: u64,
    /// From onset, over what was contained, in milliseconds.
    pub contained_ms: Option<Spread>,
    /// Dollars.
    pub leaked_usd: Option<Spread>,
    /// Dollars.
    pub saved_usd: Option<Spread>,
    /// Milliseconds of the attack's burn.
    pub beyond_ms: Option<Spread>,
    /// The leak over the least that is reached at no more requests denied.
    pub oracle_ratio: Option<Spread>,
    /// Legitimate requests.
    pub denied: Option<Spread>,
    /// Share of legitimate requests.
    pub denied_share: Option<Spread>,
    /// Changes that let in less.
    pub actions: u64,
    /// Of these, false.
    pub false_actions: u64,
    /// For each function and month, mean over the seeds.
    pub false_actions_per_function_month: f64,
    /// Milliseconds after the end.
    pub restored_ms: Option<Spread>,
    /// Runs that still held something at the end.
    pub holding: u64,
    /// Changes that let in less again after more.
    pub oscillations: u64,
    /// Control calls.
    pub calls: u64,
    /// Bounds that were told.
    pub bounds: u64,
    /// Bounds that were passed.
    pub bounds_passed: u64,
    /// The same hour's spend without anybody's doing over the bound, the most of each seed.
    pub bound_reach: Option<Spread>,
    /// Share of legitimate requests that was said to be refused while something was held.
    pub refused_told: Option<Spread>,
    /// Share that was denied then.
    pub refused_measured: Option<Spread>,
    /// Seeds in which it watched a budget and had no reason to act.
    pub idle: u64,
    /// Promises that were not kept.
    pub broken: u64,
    /// One by one.
    pub runs: Vec<RunScore>,
}

/// How a number is spread over seeds; quantiles are values that occurred (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99 %: the largest below a hundred values.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let rank = |at: f64| {
            let rank = whole(at * values.len() as f64).max(1) - 1;
            values.get(usize::try_from(rank).ok()?).copied()
        };
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Self { mean, p50: rank(0.5)?, p99: rank(0.99)?, max: *values.last()? })
    }
}

impl PolicyScore {
    pub(super) fn new(runs: Vec<RunScore>) -> Self {
        let spread = |of: &dyn Fn(&RunScore) -> Option<f64>| Spread::of(runs.iter().filter_map(of));
        let sum = |of: &dyn Fn(&RunScore) -> u64| runs.iter().map(of).sum::<u64>();
        let ms = |value: Option<i64>| value.map(|ms| ms as f64);
        let delays = || runs.iter().flat_map(|run| &run.detection_delays_ms);
        let rate = runs.iter().map(|run| run.false_actions_per_function_month).sum::<f64>();
        let counted = |is: &dyn Fn(&RunScore) -> bool| sum(&|run| u64::from(is(run)));
        Self {
            policy: runs.first().map_or("", |run| run.policy),
            attacks: delays().count() as u64,
            detected: delays().flatten().count() as u64,
            detection_delay_ms: Spread::of(delays().flatten().map(|ms| *ms as f64)),
            contained: counted(&|run| run.contained_ms.is_some()),
            contained_ms: spread(&|run| ms(run.contained_ms)),
            leaked_usd: spread(&|run| Some(run.leaked_nano_usd.usd())),
            saved_usd: spread(&|run| Some(run.saved_nano_usd.usd())),
            beyond_ms: spread(&|run| ms(run.beyond_ms)),
            oracle_ratio: spread(&|run| run.oracle_ratio),
            denied: spread(&|run| Some(run.denied as f64)),
            denied_share: spread(&|run| Some(run.denied_share)),
            actions: sum(&|run| run.actions),
            false_actions: sum(&|run| run.false_actions),
            false_actions_per_function_month: rate / runs.len().max(1) as f64,
            restored_ms: spread(&|run| ms(run.restored_ms)),
            holding: counted(&|run| run.holding),
            oscillations: sum(&|run| run.oscillations),
            calls: sum(&|run| run.calls),
            bounds: sum(&|run| run.bounds),
            bounds_passed: sum(&|run| run.bounds_passed),
            bound_reach: spread(&|run| run.bound_reach),
            refused_told: spread(&|run| run.refused_told),
            refused_measured: spread(&|run| run.refused_measured),
            idle: counted(&|run| run.is_idle),
            broken: sum(&|run| run.broken.len() as u64),
            runs,
        }
    }
}

/// Whether something that must hold does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The key in `[expect]`, or what always holds.
    pub what: &'static str,
    /// The limit.
    pub limit: f64,
    /// What was found; null where there was nothing to measure, which does not hold.
    pub found: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

/// By how much the share that was said to be refused differs from what was denied, relative to
/// this; below one in a hundred, to one in a hundred.
fn refusal_error(run: &RunScore) -> Option<f64> {
    let (told, measured) = run.refused_told.zip(run.refused_measured)?;
    Some((told - measured).abs() / measured.max(0.01))
}

/// Judges a policy; the worst seed counts, but for medians.
pub(super) fn verdicts(expect: &Expect, score: &PolicyScore) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut most = |what, limit: Option<f64>, found: Option<f64>| {
        if let Some(limit) = limit {
            let holds = found.is_some_and(|found| found <= limit);
            verdicts.push(Verdict { what, limit, found, holds });
        }
    };
    let ms = |limit: Option<u64>| limit.map(|ms| ms as f64);
    let max = |spread: Option<Spread>| spread.map(|spread| spread.max);
    let all_detected = score.detected == score.attacks;
    let detection = score.detection_delay_ms.filter(|_| all_detected);
    most("detected_within", ms(expect.detected_within_ms), max(detection));
    most("beyond_p50", ms(expect.beyond_p50_ms), score.beyond_ms.map(|spread| spread.p50));
    most("beyond_p99", ms(expect.beyond_p99_ms), score.beyond_ms.map(|spread| spread.p99));
    most("oracle_ratio_max", expect.oracle_ratio_max, max(score.oracle_ratio));
    most("denied_share_max", expect.denied_share_max, max(score.denied_share));
    let restored = score.restored_ms.filter(|_| score.holding == 0);
    most("restored_within", ms(expect.restored_within_ms), max(restored));
    let actions = score.runs.iter().map(|run| run.actions).max();
    let actions = actions.map(|actions| actions as f64);
    most("actions_max", expect.actions_max.map(f64::from), actions);
    if expect.bound_holds {
        // Where nothing was told nothing has held.
        let passed = (score.bounds > 0).then_some(score.bounds_passed as f64);
        most("bound_holds", Some(0.0), passed);
    }
    let error = score.runs.iter().filter_map(refusal_error).max_by(f64::total_cmp);
    most("refused_error_max", expect.refused_error_max, error);
    most("broken promises", Some(0.0), Some(score.broken as f64));
    if let Some(limit) = expect.saved_share_min {
        let share = |run: &RunScore| {
            let (saved, leaked) = (run.saved_nano_usd.usd(), run.leaked_nano_usd.usd());
            (saved + leaked > 0.0).then(|| saved / (saved + leaked))
        };
        let found = score.runs.iter().filter_map(share).min_by(f64::total_cmp);
        let holds = found.is_some_and(|found| found >= limit);
        verdicts.push(Verdict { what: "saved_share_min", limit, found, holds });
    }
    verdicts
}
