//! The metrics of one running program, made from the catalogue and resolved once.
//!
//! The registry is passed in, so that a test or a second instance has its own. Values are added
//! once for each batch and not for each record.

use prometheus::{Counter, Error, Gauge, Histogram, IntCounter, IntGauge, Registry, TextEncoder};

use super::access::AccessOutcome;
use super::budgets::{name, window};
use super::catalogue;
use super::largest::largest;
use super::series::{Counters, Gauges, Snapshot};
use super::series::{counter, gauge, histogram, int_counter, int_gauge};
use super::view::{FunctionView, Readiness};
use crate::cost::{BudgetOutlook, BudgetScope};
use crate::source::{Brokers, Lag};
use crate::units::NanoUsd;

/// What [`Metrics::encode`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Budgets with series of their own; those used up most come first.
pub const BUDGETS_SHOWN_MAX: usize = 100;

/// Inputs with a series of their own; those that wait longest come first.
pub const INPUTS_SHOWN_MAX: usize = 50;

/// Label values that belong to other parts of the program.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Why a record could not be read.
    pub rejected: &'a [&'a str],
    /// Kinds of records that say nothing about cost.
    pub ignored: &'a [&'a str],
    /// Channels of evidence.
    pub channels: &'a [&'a str],
    /// Severities of alarms.
    pub severities: &'a [&'a str],
    /// Verbs of actions.
    pub verbs: &'a [&'a str],
    /// Outcomes of actions.
    pub outcomes: &'a [&'a str],
    /// Actuators.
    pub actuators: &'a [&'a str],
}

/// What became of a record that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOutcome {
    /// In the buckets, totals and spend.
    Counted,
    /// In totals and spend only.
    Late,
    /// Seen before; in nothing.
    Duplicate,
    /// No function behind the entry point is known.
    Unrouted,
}

impl RecordOutcome {
    const NAMES: [&'static str; 4] = ["counted", "late", "duplicate", "unrouted"];

    const fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Unrouted => "unrouted",
        }
    }
}

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// A dead letter beyond the configured maximum.
    DeadLetterLimit,
    /// A dead letter that could not be written.
    DeadLetterWrite,
    /// A decision that could not be written.
    DecisionWrite,
    /// A ledger line that could not be written.
    LedgerWrite,
    /// A decision for a webhook that is too slow.
    WebhookQueue,
}

impl DropCause {
    const ALL: [DropCause; 5] = [
        Self::DeadLetterLimit,
        Self::DeadLetterWrite,
        Self::DecisionWrite,
        Self::LedgerWrite,
        Self::WebhookQueue,
    ];

    const fn labels(self) -> [&'static str; 2] {
        match self {
            Self::DeadLetterLimit => ["dead_letter_limit", "true"],
            Self::DeadLetterWrite => ["dead_letter_write", "false"],
            Self::DecisionWrite => ["decision_write", "false"],
            Self::LedgerWrite => ["ledger_write", "false"],
            Self::WebhookQueue => ["webhook_queue", "false"],
        }
    }
}

/// Where a budget stands.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetLevel {
    /// What it holds for.
    pub scope: BudgetScope,
    /// Spend of this calendar month.
    pub used: NanoUsd,
    /// What is left; negative when overspent.
    pub remaining: NanoUsd,
    /// Where it is going; none before it was worked out.
    pub outlook: Option<BudgetOutlook>,
}

/// Handles of every metric of the catalogue.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// [`catalogue::MESSAGES`].
    pub messages: IntCounter,
    /// [`catalogue::MESSAGE_BYTES`].
    pub message_bytes: IntCounter,
    records: Counters,
    /// [`catalogue::RECORDS_REJECTED`], by reason.
    pub records_rejected: Counters,
    /// [`catalogue::RECORDS_IGNORED`], by kind.
    pub records_ignored: Counters,
    /// [`catalogue::WATERMARK`].
    pub watermark: Gauge,
    /// [`catalogue::EVENT_LAG`].
    pub event_lag: Gauge,
    /// [`catalogue::INPUT_BEHIND`].
    pub input_behind: Gauge,
    lags: Snapshot,
    /// [`catalogue::INPUT_REBALANCES`].
    pub rebalances: IntCounter,
    /// [`catalogue::INPUT_MISSED`].
    pub missed: IntCounter,
    /// [`catalogue::INPUT_BROKERS`], by state.
    brokers: Gauges,
    /// [`catalogue::FUNCTIONS_TRACKED`].
    pub functions_tracked: IntGauge,
    /// [`catalogue::FUNCTIONS_EVICTED`].
    pub functions_evicted: IntCounter,
    /// [`catalogue::FUNCTIONS_SHED`].
    pub functions_shed: IntCounter,
    spend: Counter,
    telemetry_logs: Counter,
    telemetry_stream: Counter,
    burn: Gauge,
    /// [`catalogue::ALARMS_OPEN`], by severity.
    pub alarms_open: Gauges,
    /// [`catalogue::ALARMS_OPENED`], by channel and severity.
    pub alarms_opened: Counters,
    /// [`catalogue::ACTIONS`], by verb and outcome.
    pub actions: Counters,
    /// [`catalogue::DRIFT`].
    pub drift: IntCounter,
    /// [`catalogue::RESTRICTIONS`], by actuator.
    pub restrictions: Gauges,
    /// [`catalogue::RESTRICTION_OLDEST`], by actuator.
    pub restriction_oldest: Gauges,
    /// [`catalogue::WITHOUT_EFFECT`], by actuator.
    pub without_effect: Gauges,
    ready: Snapshot,
    /// [`catalogue::STATE_SAVES`], by outcome.
    pub state_saves: Counters,
    /// [`catalogue::STATE_BYTES`].
    pub state_bytes: IntGauge,
    /// [`catalogue::STATE_SAVED`].
    pub state_saved: Gauge,
    /// [`catalogue::STATE_PAUSE`].
    pub state_pause: Histogram,
    /// [`catalogue::STATE_DAMAGED`].
    pub state_damaged: IntCounter,
    budgets: Snapshot,
    outlooks: Snapshot,
    burns: Snapshot,
    /// [`catalogue::DEAD_LETTERS`], by reason.
    pub dead_letters: Counters,
    drops: Counters,
    /// [`catalogue::ACCESS`], by outcome.
    pub access: Counters,
    /// [`catalogue::WEBHOOKS`], by outcome.
    pub webhooks: Counters,
    /// [`catalogue::QUEUE`].
    pub queue: IntGauge,
    /// [`catalogue::BATCH`].
    pub batch: Histogram,
    /// [`catalogue::DECISION_LATENCY`].
    pub decision_latency: Histogram,
    config: Snapshot,
    functions: Snapshot,
    functions_max: usize,
}

impl Metrics {
    /// Registers every metric of the catalogue. `top_functions` bounds the per-function series.
    ///
    /// # Errors
    /// When the registry has one of the names already.
    pub fn try_new(
        registry: &Registry,
        labels: &Labels<'_>,
        top_functions: usize,
    ) -> Result<Self, Error> {
        let drops: Vec<_> = DropCause::ALL.iter().map(|drop| drop.labels()).collect();
        Snapshot::register(registry, &[catalogue::BUILD])?
            .publish([([env!("CARGO_PKG_VERSION").to_owned()], [1.0])].into_iter());
        let counters = |metric, values: &[&[&str]]| Counters::register(registry, metric, values);
        let gauges = |metric, values: &[&[&str]]| Gauges::register(registry, metric, values);
        Ok(Self {
            registry: registry.clone(),
            messages: int_counter(registry, &catalogue::MESSAGES)?,
            message_bytes: int_counter(registry, &catalogue::MESSAGE_BYTES)?,
            records: counters(&catalogue::RECORDS, &[&RecordOutcome::NAMES])?,
            records_rejected: counters(&catalogue::RECORDS_REJECTED, &[labels.rejected])?,
            records_ignored: counters(&catalogue::RECORDS_IGNORED, &[labels.ignored])?,
            watermark: gauge(registry, &catalogue::WATERMARK)?,
            event_lag: gauge(registry, &catalogue::EVENT_LAG)?,
            input_behind: gauge(registry, &catalogue::INPUT_BEHIND)?,
            lags: Snapshot::register(registry, &[catalogue::INPUT_LAG])?,
            rebalances: int_counter(registry, &catalogue::INPUT_REBALANCES)?,
            missed: int_counter(registry, &catalogue::INPUT_MISSED)?,
            brokers: gauges(&catalogue::INPUT_BROKERS, &[&["up", "connecting", "down"]])?,
            functions_tracked: int_gauge(registry, &catalogue::FUNCTIONS_TRACKED)?,
            functions_evicted: int_counter(registry, &catalogue::FUNCTIONS_EVICTED)?,
            functions_shed: int_counter(registry, &catalogue::FUNCTIONS_SHED)?,
            spend: counter(registry, &catalogue::SPEND)?,
            telemetry_logs: counter(registry, &catalogue::TELEMETRY_LOGS)?,
            telemetry_stream: counter(registry, &catalogue::TELEMETRY_STREAM)?,
            burn: gauge(registry, &catalogue::BURN)?,
            alarms_open: gauges(&catalogue::ALARMS_OPEN, &[labels.severities])?,
            alarms_opened: counters(
                &catalogue::ALARMS_OPENED,
                &[labels.channels, labels.severities],
            )?,
            actions: counters(&catalogue::ACTIONS, &[labels.verbs, labels.outcomes])?,
            drift: int_counter(registry, &catalogue::DRIFT)?,
            restrictions: gauges(&catalogue::RESTRICTIONS, &[labels.actuators])?,
            restriction_oldest: gauges(&catalogue::RESTRICTION_OLDEST, &[labels.actuators])?,
            without_effect: gauges(&catalogue::WITHOUT_EFFECT, &[labels.actuators])?,
            ready: Snapshot::register(registry, &[catalogue::READY])?,
            state_saves: counters(&catalogue::STATE_SAVES, &[&["written", "failed"]])?,
            state_bytes: int_gauge(registry, &catalogue::STATE_BYTES)?,
            state_saved: gauge(registry, &catalogue::STATE_SAVED)?,
            state_pause: histogram(registry, &catalogue::STATE_PAUSE)?,
            state_damaged: int_counter(registry, &catalogue::STATE_DAMAGED)?,
            budgets: Snapshot::register(
                registry,
                &[catalogue::BUDGET_USED, catalogue::BUDGET_REMAINING],
            )?,
            outlooks: Snapshot::register(
                registry,
                &[
                    catalogue::BUDGET_P50,
                    catalogue::BUDGET_P90,
                    catalogue::BUDGET_OVER,
                    catalogue::BUDGET_EXHAUSTED,
                ],
            )?,
            burns: Snapshot::register(registry, &[catalogue::BUDGET_BURN])?,
            dead_letters: counters(&catalogue::DEAD_LETTERS, &[labels.rejected])?,
            drops: Counters::register_rows(registry, &catalogue::DROPS, &drops)?,
            access: counters(&catalogue::ACCESS, &[&AccessOutcome::NAMES])?,
            webhooks: counters(&catalogue::WEBHOOKS, &[&["delivered", "failed"]])?,
            queue: int_gauge(registry, &catalogue::QUEUE)?,
            batch: histogram(registry, &catalogue::BATCH)?,
            decision_latency: histogram(registry, &catalogue::DECISION_LATENCY)?,
            config: Snapshot::register(registry, &[catalogue::CONFIG])?,
            functions: Snapshot::register(
                registry,
                &[
                    catalogue::FUNCTION_AT_RISK,
                    catalogue::FUNCTION_BURN,
                    catalogue::FUNCTION_EVIDENCE,
                ],
            )?,
            functions_max: top_functions,
        })
    }

    /// Counts records that were understood.
    pub fn add_records(&self, outcome: RecordOutcome, count: u64) {
        self.records.add(&[outcome.name()], count);
    }

    /// Counts what was left out.
    pub fn add_drops(&self, drop: DropCause, count: u64) {
        self.drops.add(&drop.labels(), count);
    }

    /// Adds spend; a counter cannot fall, so a negative amount is none.
    pub fn add_spend(&self, amount: NanoUsd) {
        self.spend.inc_by(amount.usd().max(0.0));
    }

    /// Adds what it has cost to be told.
    pub fn add_telemetry(&self, logs: NanoUsd, stream: NanoUsd) {
        self.telemetry_logs.inc_by(logs.usd().max(0.0));
        self.telemetry_stream.inc_by(stream.usd().max(0.0));
    }

    /// Says what is spent in an hour at the present rate.
    pub fn set_burn(&self, per_hour: NanoUsd) {
        self.burn.set(per_hour.usd());
    }

    /// Says which configuration is in force, replacing the one before.
    pub fn set_config(&self, sha256: &str, mode: &str) {
        let labels = [sha256.to_owned(), mode.to_owned()];
        self.config.publish([(labels, [1.0])].into_iter());
    }

    /// Says which parts of the program are up.
    pub fn publish_ready(&self, components: &[Readiness]) {
        let row =
            |part: &Readiness| ([part.component.to_owned()], [f64::from(u8::from(part.ready))]);
        self.ready.publish(components.iter().map(row));
    }

    /// Replaces the per-input series. Takes any number and keeps the [`INPUTS_SHOWN_MAX`] with the
    /// most waiting.
    pub fn publish_lags(&self, lags: &[Lag]) {
        let kept = largest(lags.iter(), INPUTS_SHOWN_MAX, |a, b| {
            a.messages.cmp(&b.messages).then_with(|| b.input.cmp(&a.input))
        });
        let row = |lag: &&Lag| ([lag.input.to_string()], [lag.messages as f64]);
        self.lags.publish(kept.iter().map(row));
    }

    /// Says how many connections are in which state.
    pub fn set_brokers(&self, brokers: Brokers) {
        let Brokers { up, connecting, down } = brokers;
        for (state, count) in [("up", up), ("connecting", connecting), ("down", down)] {
            self.brokers.set(&[state], i64::from(count));
        }
    }

    /// Replaces the per-budget series. Takes any number and keeps the [`BUDGETS_SHOWN_MAX`] with
    /// the least left.
    pub fn publish_budgets(&self, levels: impl Iterator<Item = BudgetLevel>) {
        let kept = largest(levels, BUDGETS_SHOWN_MAX, |a, b| {
            let least_left = b.remaining.cmp(&a.remaining);
            least_left.then_with(|| b.scope.cmp(&a.scope))
        });
        self.budgets.publish(
            kept.iter()
                .map(|level| ([name(&level.scope)], [level.used.usd(), level.remaining.usd()])),
        );
        let known = |level: &BudgetLevel| Some((name(&level.scope), level.outlook?));
        self.outlooks.publish(kept.iter().filter_map(known).map(|(scope, outlook)| {
            let exhausted = outlook.exhausted_p10.map_or(f64::INFINITY, |p10| p10.as_secs_f64());
            let end = outlook.month_end;
            ([scope], [end.p50.usd(), end.p90.usd(), outlook.over, exhausted])
        }));
        self.burns.publish(kept.iter().filter_map(known).flat_map(|(scope, outlook)| {
            outlook.burns.into_iter().flat_map(move |burn| {
                let row = |minutes, burn| ([scope.clone(), window(minutes)], [burn]);
                let pair = burn.pair;
                [row(pair.long_minutes, burn.long), row(pair.short_minutes, burn.short)]
            })
        }));
    }

    /// Replaces the per-function series. Takes any number and keeps those with the most money at
    /// risk, as many as configured.
    pub fn publish_functions<'a>(&self, functions: impl Iterator<Item = &'a FunctionView>) {
        let kept = largest(functions, self.functions_max, |a, b| a.by_risk(b));
        self.functions.publish(kept.iter().map(|view| {
            let labels = [
                view.function.account.to_string(),
                view.function.region.to_string(),
                view.function.name.to_string(),
            ];
            let values = [
                view.money_at_risk_nano_usd_per_hour.usd(),
                view.burn_nano_usd_per_hour.usd(),
                view.evidence_log10,
            ];
            (labels, values)
        }));
    }

    /// Everything as text, in the format that [`CONTENT_TYPE`] names.
    ///
    /// # Errors
    /// None in practice: only names that the registry would have refused cannot be written.
    pub fn encode(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::catalogue::{CATALOGUE, MetricKind, markdown};
    use super::super::view::tests::function;
    use super::*;
    use crate::cost::Wallet;
    use crate::record::FUNCTION_NAME_BYTES_MAX;
    use crate::units::EventTime;

    const LABELS: Labels<'_> = Labels {
        rejected: &["not_json", "too_long"],
        ignored: &["control_message"],
        channels: &["rate_fast", "rate_slow"],
        severities: &["notice", "page"],
        verbs: &["restrict", "restore"],
        outcomes: &["planned", "applied"],
        actuators: &["reserved_concurrency"],
    };

    fn metrics(top_functions: usize) -> Metrics {
        Metrics::try_new(&Registry::new(), &LABELS, top_functions).unwrap()
    }

    fn budget(number: u64, remaining: i64) -> BudgetLevel {
        BudgetLevel {
            scope: BudgetScope::Account(number.to_string().parse().unwrap()),
            used: NanoUsd(1_500_000_000),
            remaining: NanoUsd(remaining),
            outlook: Some(Wallet::new(NanoUsd(1)).outlook(EventTime::MIN)),
        }
    }

    /// Everything has a value.
    fn filled() -> Metrics {
        let metrics = metrics(3);
        metrics.publish_functions([function("f", 2_000_000_000)].iter());
        metrics.publish_budgets([budget(1, -500_000_000)].into_iter());
        metrics.publish_lags(&[Lag { input: "costs".into(), messages: 12 }]);
        metrics.set_brokers(Brokers { up: 2, connecting: 0, down: 1 });
        metrics.set_config("abc", "observe");
        let why = "no broker answers".to_owned();
        metrics.publish_ready(&[Readiness { component: "input", ready: false, why }]);
        metrics
    }

    #[test]
    fn every_metric_of_the_catalogue_is_exported_and_no_other() {
        let text = filled().encode().unwrap();
        let exported: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(str::to_owned)
            .collect();
        let listed: BTreeSet<String> = CATALOGUE
            .iter()
            .map(|metric| format!("{} {}", metric.name, metric.kind.name()))
            .collect();
        assert_eq!(exported, listed);
        for metric in CATALOGUE {
            let name = metric.name;
            assert!(name.starts_with("bursar_"), "{name}");
            let counter = metric.kind == MetricKind::Counter;
            assert_eq!(name.ends_with("_total"), counter, "{name}");
            let buckets = !metric.buckets.is_empty();
            assert_eq!(buckets, metric.kind == MetricKind::Histogram, "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{name}");
        }
    }

    #[test]
    fn series_of_closed_sets_exist_at_zero_from_the_start() {
        let text = metrics(3).encode().unwrap();
        for series in [
            "bursar_records_total{outcome=\"unrouted\"} 0",
            "bursar_records_rejected_total{reason=\"too_long\"} 0",
            "bursar_alarms_opened_total{channel=\"rate_slow\",severity=\"page\"} 0",
            "bursar_actions_total{outcome=\"applied\",verb=\"restore\"} 0",
            "bursar_restrictions_in_force{actuator=\"reserved_concurrency\"} 0",
            "bursar_restriction_oldest_seconds{actuator=\"reserved_concurrency\"} 0",
            "bursar_drops_total{cause=\"dead_letter_limit\",intended=\"true\"} 0",
            "bursar_decision_latency_seconds_count 0",
        ] {
            assert!(text.lines().any(|line| line == series), "{series}\n{text}");
        }
        assert!(!text.contains("unlisted"));
        assert!(!text.contains("cause=\"dead_letter_limit\",intended=\"false\""));
    }

    #[test]
    fn values_arrive_and_a_label_outside_of_its_set_is_still_counted() {
        let metrics = filled();
        metrics.add_records(RecordOutcome::Late, 3);
        metrics.add_drops(DropCause::LedgerWrite, 2);
        metrics.add_spend(NanoUsd(250_000_000));
        metrics.add_spend(NanoUsd(-1));
        metrics.add_telemetry(NanoUsd(500_000_000), NanoUsd(-1));
        metrics.records_rejected.add(&["invented"], 4);
        metrics.alarms_open.set(&["page"], 1);
        metrics.decision_latency.observe(4.0);
        metrics.set_config("def", "enforce");
        let text = metrics.encode().unwrap();
        for series in [
            "bursar_records_total{outcome=\"late\"} 3",
            "bursar_drops_total{cause=\"ledger_write\",intended=\"false\"} 2",
            "bursar_spend_usd_total 0.25",
            "bursar_telemetry_logs_usd_total 0.5",
            "bursar_telemetry_stream_usd_total 0",
            "bursar_records_rejected_total{reason=\"unlisted\"} 4",
            "bursar_alarms_open{severity=\"page\"} 1",
            "bursar_decision_latency_seconds_bucket{le=\"5\"} 1",
            "bursar_budget_remaining_usd{scope=\"000000000001\"} -0.5",
            "bursar_input_lag_messages{input=\"costs\"} 12",
            "bursar_input_brokers{state=\"up\"} 2",
            "bursar_component_ready{component=\"input\"} 0",
            "bursar_budget_over_probability{scope=\"000000000001\"} 0",
            "bursar_budget_exhausted_p10_seconds{scope=\"000000000001\"} inf",
            "bursar_budget_burn_ratio{scope=\"000000000001\",window=\"1h\"} 0",
            "bursar_function_at_risk_usd_per_hour{account=\"111122223333\",function=\"f\",\
             region=\"eu-west-1\"} 2",
            "bursar_config_info{mode=\"enforce\",sha256=\"def\"} 1",
        ] {
            assert!(text.lines().any(|line| line == series), "{series}\n{text}");
        }
        assert!(!text.contains("sha256=\"abc\""), "the old configuration is still there");
    }

    #[test]
    fn a_million_functions_make_no_more_series_than_configured() {
        let one = |i: i64| function(&format!("f{i}"), i);
        let metrics = metrics(50);
        let all: Vec<FunctionView> = (0..1_000_000).map(one).collect();
        metrics.publish_functions(all.iter());
        let series = |text: &str, name: &str| {
            text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count()
        };
        let text = metrics.encode().unwrap();
        for metric in
            [catalogue::FUNCTION_AT_RISK, catalogue::FUNCTION_BURN, catalogue::FUNCTION_EVIDENCE]
        {
            assert_eq!(series(&text, metric.name), 50, "{}", metric.name);
        }
        assert!(text.contains("function=\"f999999\"") && text.contains("function=\"f999950\""));
        metrics.publish_functions([one(7)].iter());
        let text = metrics.encode().unwrap();
        assert_eq!(series(&text, catalogue::FUNCTION_BURN.name), 1, "old series stay behind");

        metrics.publish_budgets((1..5_000).map(|i| budget(i, i as i64)));
        let text = metrics.encode().unwrap();
        assert_eq!(series(&text, catalogue::BUDGET_USED.name), BUDGETS_SHOWN_MAX);
        assert!(text.contains("scope=\"000000000001\""), "the tightest is shown");

        let lag = |i: u64| Lag { input: format!("topic-{i:04}").into(), messages: i };
        metrics.publish_lags(&(0..1_000).map(lag).collect::<Vec<_>>());
        let text = metrics.encode().unwrap();
        assert_eq!(series(&text, catalogue::INPUT_LAG.name), INPUTS_SHOWN_MAX);
        assert!(text.contains("input=\"topic-0999\""), "the longest is shown");
    }

    #[test]
    fn a_scrape_is_bounded_whatever_the_names_are() {
        // As many as can be configured, with the longest names there are, of characters that the
        // format has to escape.
        let metrics = metrics(200);
        let name = |i: u32| format!("{i:04}{}", "\"".repeat(FUNCTION_NAME_BYTES_MAX - 4));
        let all: Vec<FunctionView> = (0..10_000).map(|i| function(&name(i), 1)).collect();
        metrics.publish_functions(all.iter());
        metrics.publish_budgets((0..10_000).map(|i| budget(i, 1)));
        let lag = |i: u32| Lag { input: format!("{i:0249}").into(), messages: 1 };
        metrics.publish_lags(&(0..10_000).map(lag).collect::<Vec<_>>());
        let bytes = metrics.encode().unwrap().len();
        assert!((400_000..2_000_000).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn the_documentation_is_generated_from_the_catalogue() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("BURSAR_BLESS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, markdown(), "stale, run the test with BURSAR_BLESS=1");
    }
}
