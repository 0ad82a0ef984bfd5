//! Every metric that is exported: the one list, from which the metrics are made and the
//! documentation is written. Names are `bursar_<noun>_<unit>`, counters end in `_total`.

use std::fmt::Write as _;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl MetricKind {
    /// The name that the exposition format uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is known of a metric before it has a value.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its full name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// What its value counts.
    pub unit: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    /// Upper bounds of the buckets, for a histogram.
    pub buckets: &'static [f64],
}

/// From the cost of a small batch to a batch that holds everything up.
const BATCH_BUCKETS: &[f64] =
    &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The aim is ten seconds from arrival to decision; the buckets are closest around it.
const LATENCY_BUCKETS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 300.0];

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal, $unit:literal, $labels:expr, $help:literal
        $(, $buckets:expr)?;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: MetricKind::$kind,
                unit: $unit,
                labels: &$labels,
                help: $help,
                buckets: catalogue!(@buckets $($buckets)?),
            };
        )*
        /// Every metric, in the order of the documentation.
        pub const CATALOGUE: &[Metric] = &[$($constant),*];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:expr) => { $buckets };
}

catalogue! {
    MESSAGES = Counter "bursar_messages_total", "messages", [],
        "Messages taken from the input.";
    MESSAGE_BYTES = Counter "bursar_message_bytes_total", "bytes", [],
        "Bytes of these messages, before unpacking.";
    RECORDS = Counter "bursar_records_total", "records", ["outcome"],
        "Records that were understood; late: in totals and spend only.";
    RECORDS_REJECTED = Counter "bursar_records_rejected_total", "records", ["reason"],
        "Records that could not be read.";
    RECORDS_IGNORED = Counter "bursar_records_ignored_total", "records", ["kind"],
        "Records that were read and say nothing about cost.";
    WATERMARK = Gauge "bursar_watermark_seconds", "seconds since 1970", [],
        "Event time up to which one-second buckets are closed.";
    EVENT_LAG = Gauge "bursar_event_lag_seconds", "seconds", [],
        "How far the newest event time is behind the clock.";
    INPUT_BEHIND = Gauge "bursar_input_behind_seconds", "seconds", [],
        "How long what was read last had been waiting in the stream, where the stream says so: \
         Kinesis, the shard that is furthest behind.";
    INPUT_LAG = Gauge "bursar_input_lag_messages", "messages", ["input"],
        "Messages that wait in a Kafka topic's partitions that this process holds; the 50 topics \
         with the most.";
    INPUT_REBALANCES = Counter "bursar_input_rebalances_total", "rebalances", [],
        "How often the consumer group gave partitions to this process or took them.";
    INPUT_MISSED = Counter "bursar_input_missed_total", "messages", [],
        "Messages that were to be read after a restart and that the input did not hold any more.";
    INPUT_BROKERS = Gauge "bursar_input_brokers", "connections", ["state"],
        "Kafka brokers that are known, by the state of the connection; down: there is none, \
         whether it is needed now or not.";
    FUNCTIONS_TRACKED = Gauge "bursar_functions_tracked", "functions", [],
        "Functions with state.";
    FUNCTIONS_EVICTED = Counter "bursar_functions_evicted_total", "functions", [],
        "Idle functions whose state was dropped to make room.";
    FUNCTIONS_SHED = Counter "bursar_functions_shed_total", "functions", [],
        "New functions for which there was no room; their usage is in the overflow totals.";
    SPEND = Counter "bursar_spend_usd_total", "US dollars", [],
        "Estimated spend of all counted records.";
    TELEMETRY_LOGS = Counter "bursar_telemetry_logs_usd_total", "US dollars", [],
        "Estimated cost of the telemetry itself: ingestion of the log text that carried records.";
    TELEMETRY_STREAM = Counter "bursar_telemetry_stream_usd_total", "US dollars", [],
        "Estimated cost of the telemetry itself: the Kinesis stream that is read, while it is.";
    BURN = Gauge "bursar_burn_usd_per_hour", "US dollars an hour", [],
        "Estimated spend at the present rate.";
    ALARMS_OPEN = Gauge "bursar_alarms_open", "alarms", ["severity"],
        "Alarms that are open.";
    ALARMS_OPENED = Counter "bursar_alarms_opened_total", "alarms", ["channel", "severity"],
        "Alarms that were opened, by channel of the evidence; aggregate: of an account.";
    ACTIONS = Counter "bursar_actions_total", "actions", ["verb", "outcome"],
        "Actions that control decided on.";
    RESTRICTIONS = Gauge "bursar_restrictions_in_force", "restrictions", ["actuator"],
        "Restrictions in force.";
    RESTRICTION_OLDEST = Gauge "bursar_restriction_oldest_seconds", "seconds", ["actuator"],
        "How long the oldest restriction in force has been so; 0: there is none.";
    WITHOUT_EFFECT = Gauge "bursar_restrictions_without_effect", "restrictions", ["actuator"],
        "Caps in force although more runs at once than they allow, for a minute by now.";
    DRIFT = Counter "bursar_restrictions_changed_by_others_total", "restrictions", [],
        "Restrictions that somebody else has changed or lifted, and that were left alone then.";
    STATE_SAVES = Counter "bursar_state_saves_total", "snapshots", ["outcome"],
        "Snapshots of the state: written, or failed, after which it is tried again.";
    STATE_BYTES = Gauge "bursar_state_bytes", "bytes", [],
        "Size of the latest snapshot.";
    STATE_SAVED = Gauge "bursar_state_saved_timestamp_seconds", "seconds since the epoch", [],
        "When the latest snapshot was begun; what came later is read again after a crash.";
    STATE_PAUSE = Histogram "bursar_state_pause_seconds", "seconds", [],
        "How long the beginning of a snapshot held up records.", BATCH_BUCKETS;
    STATE_DAMAGED = Counter "bursar_state_damaged_total", "snapshots", [],
        "Snapshots that were damaged at the start and were put aside.";
    BUDGET_USED = Gauge "bursar_budget_used_usd", "US dollars", ["scope"],
        "Spend of this calendar month under a budget.";
    BUDGET_REMAINING = Gauge "bursar_budget_remaining_usd", "US dollars", ["scope"],
        "What is left of a budget for this calendar month; negative when overspent.";
    BUDGET_P50 = Gauge "bursar_budget_projected_p50_usd", "US dollars", ["scope"],
        "Median of the spend of the whole month under a budget.";
    BUDGET_P90 = Gauge "bursar_budget_projected_p90_usd", "US dollars", ["scope"],
        "Spend of the whole month that is exceeded one time in ten.";
    BUDGET_OVER = Gauge "bursar_budget_over_probability", "probability", ["scope"],
        "Probability that the month ends above a budget.";
    BUDGET_EXHAUSTED = Gauge "bursar_budget_exhausted_p10_seconds", "seconds", ["scope"],
        "Time in which a budget is used up one time in ten; +Inf: not within the month.";
    BUDGET_BURN = Gauge "bursar_budget_burn_ratio", "ratio", ["scope", "window"],
        "Spend in the last minutes to days over what the budget and the season allow for them.";
    DEAD_LETTERS = Counter "bursar_dead_letters_total", "records", ["reason"],
        "Rejected records that were kept in the dead-letter file or topic.";
    DROPS = Counter "bursar_drops_total", "items", ["cause", "intended"],
        "What was left out, and whether that was intended (a configured limit) or not (a failure).";
    ACCESS = Counter "bursar_access_total", "requests", ["outcome"],
        "Requests that needed a key: granted, denied, limited; foreign: for another host, or from \
         another origin's page.";
    WEBHOOKS = Counter "bursar_webhook_decisions_total", "decisions", ["outcome"],
        "Decisions posted to webhooks; failed: given up after five attempts, or refused.";
    READY = Gauge "bursar_component_ready", "1 or 0", ["component"],
        "Whether a part of the program is up, as /readyz says.";
    QUEUE = Gauge "bursar_queue_chunks", "chunks", [],
        "Chunks of messages that wait for the engine.";
    BATCH = Histogram "bursar_batch_seconds", "seconds", [],
        "Time to decode and count a batch.", BATCH_BUCKETS;
    DECISION_LATENCY = Histogram "bursar_decision_latency_seconds", "seconds", [],
        "Time from the arrival of the evidence to the decision.", LATENCY_BUCKETS;
    BUILD = Gauge "bursar_build_info", "1", ["version"],
        "The version that is running.";
    CONFIG = Gauge "bursar_config_info", "1", ["sha256", "mode"],
        "The configuration in force.";
    FUNCTION_AT_RISK = Gauge "bursar_function_at_risk_usd_per_hour", "US dollars an hour",
        ["account", "region", "function"],
        "Spend above normal at the present rate, of the functions where it is largest.";
    FUNCTION_BURN = Gauge "bursar_function_burn_usd_per_hour", "US dollars an hour",
        ["account", "region", "function"],
        "Estimated spend at the present rate, of the same functions.";
    FUNCTION_EVIDENCE = Gauge "bursar_function_evidence_log10", "decimal logarithm",
        ["account", "region", "function"],
        "Evidence against the baseline, of the same functions.";
}

/// The page `docs/metrics.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Served at `/metrics` in the Prometheus text format. Series with labels from closed sets \
         exist from the start at zero.\nPer-function series exist for `metrics.top_functions` \
         functions only, those with the most money at risk.\n\n\
         | name | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for metric in CATALOGUE {
        let labels: Vec<String> = metric.labels.iter().map(|name| format!("`{name}`")).collect();
        let written = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            metric.unit,
            labels.join(", "),
            metric.help,
        );
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
    text
}
