//! The pipeline's counts as metrics. They are sums since the start; what is added is the difference
//! to the last time.

use std::collections::BTreeMap;

use crate::cost::FootprintBill;
use crate::decode::Ignored;
use crate::engine::shard::Counters;
use crate::observe::metrics::{BudgetLevel, DropCause, Metrics, RecordOutcome};
use crate::source::Progress;
use crate::units::NanoUsd;

use super::clock;
use super::door::Passed;
use super::feed::Feed;
use super::pipeline::Pipeline;

/// What was published last.
#[derive(Debug, Default)]
pub struct Gauges {
    passed: Passed,
    counters: Counters,
    unrouted: u64,
    spend: NanoUsd,
    footprint: FootprintBill,
    dead: BTreeMap<&'static str, u64>,
    kept: BTreeMap<&'static str, u64>,
    beyond: u64,
    failures: u64,
    progress: Progress,
    rebalances: u64,
    missed: u64,
}

impl Gauges {
    /// Counts from here on: what another process has counted, it has told.
    pub fn begin(pipeline: &Pipeline) -> Self {
        let totals = pipeline.totals();
        Self {
            passed: pipeline.passed(),
            counters: totals.counters,
            unrouted: pipeline.unrouted(),
            spend: totals.spend,
            footprint: pipeline.footprint(),
            ..Self::default()
        }
    }

    /// How far the source has come.
    pub fn note(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// Brings the metrics up to date.
    pub fn publish(&mut self, pipeline: &Pipeline, feed: &Feed, metrics: &Metrics) {
        let passed = pipeline.passed();
        metrics.messages.inc_by(passed.messages - self.passed.messages);
        metrics.message_bytes.inc_by(passed.bytes - self.passed.bytes);
        for (place, kind) in Ignored::ALL.iter().enumerate() {
            let new = passed.ignored[place] - self.passed.ignored[place];
            metrics.records_ignored.add(&[kind.as_str()], new);
        }
        self.passed = passed;

        let totals = pipeline.totals();
        let counters = totals.counters;
        let on_time = |counters: &Counters| counters.counted - counters.late;
        metrics.add_records(RecordOutcome::Counted, on_time(&counters) - on_time(&self.counters));
        metrics.add_records(RecordOutcome::Late, counters.late - self.counters.late);
        let duplicate = counters.duplicate - self.counters.duplicate;
        metrics.add_records(RecordOutcome::Duplicate, duplicate);
        metrics.functions_evicted.inc_by(counters.evicted - self.counters.evicted);
        metrics.functions_shed.inc_by(counters.shed - self.counters.shed);
        self.counters = counters;
        let functions = i64::try_from(totals.functions).unwrap_or(i64::MAX);
        metrics.functions_tracked.set(functions);

        let unrouted = pipeline.unrouted();
        metrics.add_records(RecordOutcome::Unrouted, unrouted - self.unrouted);
        self.unrouted = unrouted;

        let spent = totals.spend;
        // A total that is not yet known reads as zero; money never flows back.
        if spent > self.spend {
            metrics.add_spend(spent.minus(self.spend));
            self.spend = spent;
        }
        let footprint = pipeline.footprint();
        metrics.add_telemetry(
            footprint.logs.minus(self.footprint.logs),
            footprint.stream.minus(self.footprint.stream),
        );
        self.footprint = footprint;
        self.publish_dead(pipeline, metrics);
        self.publish_time(pipeline, feed, metrics);
        metrics.publish_budgets(pipeline.budgets().map(|(budget, used, outlook)| BudgetLevel {
            scope: budget.scope.clone(),
            used,
            remaining: budget.monthly.minus(used),
            outlook: outlook.copied(),
        }));
    }

    fn publish_dead(&mut self, pipeline: &Pipeline, metrics: &Metrics) {
        for (reason, count) in pipeline.dead().counts() {
            let last = self.dead.entry(reason).or_default();
            metrics.records_rejected.add(&[reason], count - *last);
            *last = count;
        }
        for (reason, count) in pipeline.dead().kept() {
            let last = self.kept.entry(reason).or_default();
            metrics.dead_letters.add(&[reason], count - *last);
            *last = count;
        }
        let beyond = pipeline.dead().beyond();
        metrics.add_drops(DropCause::DeadLetterLimit, beyond - self.beyond);
        self.beyond = beyond;
        let failures = pipeline.dead().failures();
        metrics.add_drops(DropCause::DeadLetterWrite, failures - self.failures);
        self.failures = failures;
    }

    fn publish_time(&mut self, pipeline: &Pipeline, feed: &Feed, metrics: &Metrics) {
        metrics.input_behind.set(self.progress.behind.unwrap_or_default().as_secs_f64());
        metrics.publish_lags(&self.progress.lags);
        metrics.set_brokers(self.progress.brokers.unwrap_or_default());
        metrics.rebalances.inc_by(self.progress.rebalances.saturating_sub(self.rebalances));
        self.rebalances = self.progress.rebalances;
        metrics.missed.inc_by(self.progress.missed.saturating_sub(self.missed));
        self.missed = self.progress.missed;
        metrics.queue.set(i64::try_from(feed.queued()).unwrap_or(i64::MAX));
        if let Some(now) = pipeline.now() {
            metrics.watermark.set(now.ms() as f64 / 1e3);
            let lag = clock::as_event_time(clock::wall()).since_ms(now);
            metrics.event_lag.set(lag as f64 / 1e3);
        }
    }
}
