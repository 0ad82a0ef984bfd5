//! The Grafana dashboards. They are made from the lists below; `BURSAR_BLESS=1` writes the files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Columns of Grafana's grid, and the height of a row of panels there.
const COLUMNS: u64 = 24;
const ROW: u64 = 8;

/// How a panel shows its series.
#[derive(Clone, Copy)]
enum Form {
    /// Over time.
    Graph,
    /// The last value.
    Number,
    /// A row for each series.
    Table,
}

struct Panel {
    title: &'static str,
    /// For whoever asks what it means.
    help: &'static str,
    form: Form,
    unit: &'static str,
    /// Columns.
    width: u64,
    /// Legends and what is asked of Prometheus.
    queries: &'static [(&'static str, &'static str)],
}

struct Board {
    uid: &'static str,
    title: &'static str,
    /// Variables besides the data source: a name, and the query for its values.
    variables: &'static [(&'static str, &'static str)],
    panels: &'static [Panel],
}

macro_rules! panels {
    ($($form:ident $width:literal $unit:literal $title:literal, $help:literal:
        $($legend:literal = $query:literal),+;)*) => {
        &[$(Panel {
            title: $title,
            help: $help,
            form: Form::$form,
            unit: $unit,
            width: $width,
            queries: &[$(($legend, $query)),+],
        }),*]
    };
}

const BOARDS: [Board; 4] = [FLEET, FUNCTION, CONTROL, PIPELINE];

const FLEET: Board = Board {
    uid: "bursar-fleet-wallet",
    title: "bursar: fleet wallet",
    variables: &[("scope", "label_values(bursar_budget_used_usd, scope)")],
    panels: panels! {
        Number 6 "currencyUSD" "Burning, an hour", "Estimated spend at the present rate.":
            "burning" = "sum(bursar_burn_usd_per_hour)";
        Number 6 "currencyUSD" "At risk, an hour",
            "Spend above normal at the present rate, of the functions where it is largest.":
            "at risk" = "sum(bursar_function_at_risk_usd_per_hour)";
        Number 6 "currencyUSD" "Spent in the last hour", "Estimated spend of all counted records.":
            "spent" = "sum(increase(bursar_spend_usd_total[1h]))";
        Number 6 "percentunit" "To be over budget",
            "Probability that the month ends above the budget; the worst.":
            "worst" = "max(bursar_budget_over_probability)";
        Graph 12 "currencyUSD" "This month beside the budget",
            "Spend so far, what the month may come to, and the budget.":
            "spent" = "bursar_budget_used_usd{scope=\"$scope\"}",
            "month, median" = "bursar_budget_projected_p50_usd{scope=\"$scope\"}",
            "month, one in ten" = "bursar_budget_projected_p90_usd{scope=\"$scope\"}",
            "budget" = "bursar_budget_used_usd{scope=\"$scope\"} + on (job, instance, scope) \
                bursar_budget_remaining_usd{scope=\"$scope\"}";
        Graph 12 "none" "How fast the budget burns",
            "At 1 it lasts just the month; 14.4 in both 1h and 5m, or 6 in 6h and 30m, is a page.":
            "{{window}}" = "bursar_budget_burn_ratio{scope=\"$scope\"}";
        Graph 12 "currencyUSD" "Burning, an hour, by function", "Those with most money at risk.":
            "{{function}}" = "topk(10, bursar_function_burn_usd_per_hour)";
        Graph 12 "currencyUSD" "At risk, an hour, by function", "Spend above normal.":
            "{{function}}" = "topk(10, bursar_function_at_risk_usd_per_hour)";
        Table 12 "s" "Until a budget is used up, one time in ten", "Infinite: not this month.":
            "{{scope}}" = "sort(bursar_budget_exhausted_p10_seconds)";
        Graph 12 "currencyUSD" "Spend and what the telemetry costs, an hour",
            "Rates over an hour.":
            "spend" = "bursar:spend_usd_per_hour:rate1h",
            "telemetry" = "bursar:telemetry_usd_per_hour:rate1h";
    },
};

const FUNCTION: Board = Board {
    uid: "bursar-one-function",
    title: "bursar: one function",
    variables: &[
        ("account", "label_values(bursar_function_burn_usd_per_hour, account)"),
        ("region", "label_values(bursar_function_burn_usd_per_hour{account=\"$account\"}, region)"),
        (
            "function",
            "label_values(bursar_function_burn_usd_per_hour{account=\"$account\", \
             region=\"$region\"}, function)",
        ),
    ],
    panels: panels! {
        Number 8 "currencyUSD" "Burning, an hour", "Estimated spend at the present rate.":
            "burning" = "bursar_function_burn_usd_per_hour{account=\"$account\", \
                region=\"$region\", function=\"$function\"}";
        Number 8 "currencyUSD" "At risk, an hour", "Spend above normal.":
            "at risk" = "bursar_function_at_risk_usd_per_hour{account=\"$account\", \
                region=\"$region\", function=\"$function\"}";
        Number 8 "none" "Evidence, decimal logarithm",
            "Against what is normal for it; what an alarm needs depends on the promise.":
            "evidence" = "bursar_function_evidence_log10{account=\"$account\", \
                region=\"$region\", function=\"$function\"}";
        Graph 24 "currencyUSD" "Normal, and above",
            "What it spends, and how much of it is unusual.":
            "burning" = "bursar_function_burn_usd_per_hour{account=\"$account\", \
                region=\"$region\", function=\"$function\"}",
            "above normal" = "bursar_function_at_risk_usd_per_hour{account=\"$account\", \
                region=\"$region\", function=\"$function\"}";
        Graph 12 "none" "Evidence over time", "Decimal logarithm.":
            "evidence" = "bursar_function_evidence_log10{account=\"$account\", \
                region=\"$region\", function=\"$function\"}";
        Graph 12 "percentunit" "Its share of all that burns", "Of the whole fleet.":
            "share" = "bursar_function_burn_usd_per_hour{account=\"$account\", \
                region=\"$region\", function=\"$function\"} / on (job, instance) group_left () \
                (bursar_burn_usd_per_hour > 0)";
    },
};

const CONTROL: Board = Board {
    uid: "bursar-control-room",
    title: "bursar: control room",
    variables: &[],
    panels: panels! {
        Number 4 "none" "Open alarms", "A page acts, a notice tells.":
            "{{severity}}" = "sum by (severity) (bursar_alarms_open)";
        Number 5 "none" "Restrictions in force", "By what they act through.":
            "{{actuator}}" = "sum by (actuator) (bursar_restrictions_in_force)";
        Number 5 "s" "The oldest restriction", "How long it has been in force.":
            "{{actuator}}" = "max by (actuator) (bursar_restriction_oldest_seconds)";
        Number 5 "none" "Without effect", "Caps that do not show in what runs at once.":
            "{{actuator}}" = "sum by (actuator) (bursar_restrictions_without_effect)";
        Number 5 "none" "Changed by others, in a day",
            "Restrictions that somebody else has changed; bursar leaves them alone.":
            "changed" = "sum(increase(bursar_restrictions_changed_by_others_total[1d]))";
        Graph 12 "none" "Open alarms over time", "By severity.":
            "{{severity}}" = "sum by (severity) (bursar_alarms_open)";
        Graph 12 "none" "Alarms opened, by what gave them away", "In the last hour.":
            "{{channel}} {{severity}}" = "sum by (channel, severity) \
                (increase(bursar_alarms_opened_total[1h]))";
        Graph 12 "none" "Restrictions over time", "In force.":
            "{{actuator}}" = "sum by (actuator) (bursar_restrictions_in_force)";
        Graph 12 "none" "Actions", "In the last hour; planned: what mode observe would have done.":
            "{{verb}} {{outcome}}" = "sum by (verb, outcome) (increase(bursar_actions_total[1h]))";
        Graph 12 "s" "From the evidence's arrival to the decision", "The aim is ten seconds.":
            "half" = "histogram_quantile(0.5, sum by (le) \
                (rate(bursar_decision_latency_seconds_bucket[1h])))",
            "99 of 100" = "bursar:decision_latency_seconds:p99_1h";
        Graph 12 "none" "Keys shown over HTTP", "In the last hour; foreign: by other sites' pages.":
            "{{outcome}}" = "sum by (outcome) (increase(bursar_access_total[1h]))";
        Graph 12 "none" "Decisions posted to webhooks", "In the last hour.":
            "{{outcome}}" = "sum by (outcome) (increase(bursar_webhook_decisions_total[1h]))";
        Table 12 "none" "Configuration and version", "What is running.":
            "{{mode}} {{sha256}}" = "bursar_config_info",
            "{{version}}" = "bursar_build_info";
    },
};

const PIPELINE: Board = Board {
    uid: "bursar-pipeline-health",
    title: "bursar: pipeline health",
    variables: &[],
    panels: panels! {
        Number 4 "none" "Ready", "1: up; 0: /readyz says why not.":
            "{{component}}" = "min by (component) (bursar_component_ready)";
        Number 4 "s" "Behind the clock", "The newest event time.":
            "lag" = "max(bursar_event_lag_seconds)";
        Number 4 "s" "Behind the stream", "Where the stream says so: Kinesis.":
            "behind" = "max(bursar_input_behind_seconds)";
        Number 4 "none" "Functions", "With state.":
            "functions" = "sum(bursar_functions_tracked)";
        Number 4 "dateTimeAsIso" "Event time", "Up to which seconds are closed.":
            "watermark" = "min(bursar_watermark_seconds) * 1000";
        Number 4 "none" "Chunks that wait", "For the engine.":
            "chunks" = "sum(bursar_queue_chunks)";
        Graph 12 "cps" "Messages and records", "A second.":
            "messages" = "sum(rate(bursar_messages_total[$__rate_interval]))",
            "records {{outcome}}" =
                "sum by (outcome) (rate(bursar_records_total[$__rate_interval]))";
        Graph 12 "Bps" "Bytes", "Before unpacking.":
            "bytes" = "sum(rate(bursar_message_bytes_total[$__rate_interval]))";
        Graph 12 "cps" "Records that could not be read", "By reason, a second.":
            "{{reason}}" =
                "sum by (reason) (rate(bursar_records_rejected_total[$__rate_interval]))";
        Graph 12 "cps" "Records that say nothing about cost", "By kind, a second.":
            "{{kind}}" = "sum by (kind) (rate(bursar_records_ignored_total[$__rate_interval]))";
        Graph 12 "s" "Behind", "The clock, and the stream.":
            "clock" = "max(bursar_event_lag_seconds)",
            "stream" = "max(bursar_input_behind_seconds)";
        Graph 12 "none" "Kafka: messages that wait", "By topic.":
            "{{input}}" = "sum by (input) (bursar_input_lag_messages)";
        Graph 12 "none" "Kafka: brokers and rebalances", "Connections by state.":
            "{{state}}" = "sum by (state) (bursar_input_brokers)",
            "rebalances, in an hour" = "sum(increase(bursar_input_rebalances_total[1h]))";
        Graph 12 "s" "A batch", "Time to decode and count it.":
            "half" = "histogram_quantile(0.5, sum by (le) \
                (rate(bursar_batch_seconds_bucket[$__rate_interval])))",
            "99 of 100" = "histogram_quantile(0.99, sum by (le) \
                (rate(bursar_batch_seconds_bucket[$__rate_interval])))";
        Graph 12 "none" "Left out", "In the last hour; intended: a configured limit.":
            "{{cause}}, intended {{intended}}" = "sum by (cause, intended) \
                (increase(bursar_drops_total[1h]))",
            "dead letters kept" = "sum(increase(bursar_dead_letters_total[1h]))";
        Graph 12 "none" "Functions that lost their state", "In the last hour.":
            "idle, made room" = "sum(increase(bursar_functions_evicted_total[1h]))",
            "no room for them" = "sum(increase(bursar_functions_shed_total[1h]))";
        Graph 12 "currencyUSD" "What the telemetry costs, an hour", "Estimated.":
            "logs" = "sum(rate(bursar_telemetry_logs_usd_total[1h])) * 3600",
            "stream" = "sum(rate(bursar_telemetry_stream_usd_total[1h])) * 3600";
        Graph 12 "percentunit" "Share of records that cannot be read", "Over five minutes.":
            "{{instance}}" = "bursar:rejected:ratio5m";
        Graph 12 "none" "Snapshots of the state",
            "In the last hour; missed: messages that had left the stream.":
            "{{outcome}}" = "sum by (outcome) (increase(bursar_state_saves_total[1h]))",
            "damaged" = "sum(increase(bursar_state_damaged_total[1h]))",
            "missed" = "sum(increase(bursar_input_missed_total[1h]))";
        Graph 12 "s" "Pause for a snapshot", "How long its beginning held up records.":
            "99 of 100" = "histogram_quantile(0.99, sum by (le) \
                (increase(bursar_state_pause_seconds_bucket[1h])))";
        Number 4 "bytes" "Size of the state", "The latest snapshot.":
            "bytes" = "max(bursar_state_bytes)";
        Number 4 "dateTimeAsIso" "State saved", "When the latest snapshot was begun.":
            "saved" = "max(bursar_state_saved_timestamp_seconds) * 1000";
    },
};

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

impl Panel {
    fn json(&self, id: u64, x: u64, y: u64) -> Value {
        let instant = !matches!(self.form, Form::Graph);
        let target = |(name, (legend, query)): (char, &(&str, &str))| {
            json!({
                "refId": name,
                "datasource": datasource(),
                "expr": query,
                "legendFormat": legend,
                "instant": instant,
                "range": !instant,
                "format": if matches!(self.form, Form::Table) { "table" } else { "time_series" },
            })
        };
        let targets: Vec<Value> = ('A'..='Z').zip(self.queries).map(target).collect();
        let (kind, options) = match self.form {
            Form::Graph => {
                let legend = json!({ "displayMode": "list", "placement": "bottom",
                    "showLegend": true, "calcs": [] });
                ("timeseries", json!({ "legend": legend, "tooltip": { "mode": "multi" } }))
            }
            Form::Number => {
                let reduce = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
                ("stat", json!({ "reduceOptions": reduce, "graphMode": "none" }))
            }
            Form::Table => ("table", json!({ "showHeader": true })),
        };
        json!({
            "id": id,
            "type": kind,
            "title": self.title,
            "description": self.help,
            "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height() },
            "fieldConfig": { "defaults": { "unit": self.unit }, "overrides": [] },
            "options": options,
            "targets": targets,
        })
    }

    fn height(&self) -> u64 {
        if matches!(self.form, Form::Number) { ROW / 2 } else { ROW }
    }
}

impl Board {
    fn path(&self) -> PathBuf {
        let name = self.uid.trim_start_matches("bursar-");
        deploy().join(format!("grafana/dashboards/{name}.json"))
    }

    fn json(&self) -> Value {
        let (mut x, mut y, mut row) = (0, 0, 0);
        let mut panels = Vec::new();
        for (panel, id) in self.panels.iter().zip(1..) {
            if x + panel.width > COLUMNS {
                (x, y, row) = (0, y + row, 0);
            }
            panels.push(panel.json(id, x, y));
            x += panel.width;
            row = row.max(panel.height());
        }
        let mut variables = vec![json!({
            "type": "datasource", "name": "datasource", "label": "Data source",
            "query": "prometheus", "hide": 0,
        })];
        variables.extend(self.variables.iter().map(|(name, query)| {
            json!({
                "type": "query", "name": name, "datasource": datasource(),
                "query": { "query": query, "refId": name }, "refresh": 2, "sort": 1, "hide": 0,
            })
        }));
        json!({
            "uid": self.uid,
            "title": self.title,
            "tags": ["bursar"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "timezone": "utc",
            "refresh": "5s",
            "time": { "from": "now-1h", "to": "now" },
            "templating": { "list": variables },
            "panels": panels,
        })
    }
}

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Everything that the dashboards ask of Prometheus, with values for their variables.
pub(crate) fn queries() -> Vec<String> {
    let panels = BOARDS.iter().flat_map(|board| board.panels);
    let texts = panels.flat_map(|panel| panel.queries).map(|(_, text)| text);
    texts
        .map(|text| {
            text.replace("$scope", "111122223333")
                .replace("$account", "111122223333")
                .replace("$region", "eu-west-1")
                .replace("$function", "checkout")
                .replace("$__rate_interval", "1m")
        })
        .collect()
}

#[test]
fn the_dashboards_are_generated_and_what_they_show_is_told_apart() {
    for board in &BOARDS {
        let text = serde_json::to_string_pretty(&board.json()).unwrap() + "\n";
        if std::env::var_os("BURSAR_BLESS").is_some() {
            fs::create_dir_all(board.path().parent().unwrap()).unwrap();
            fs::write(board.path(), &text).unwrap();
        }
        let found = fs::read_to_string(board.path()).unwrap_or_default();
        assert_eq!(found, text, "stale, run the test with BURSAR_BLESS=1");
        for panel in board.panels {
            let same = board.panels.iter().filter(|other| other.title == panel.title).count();
            assert!(same == 1, "{}: two panels {}", board.title, panel.title);
            assert!(panel.help.ends_with('.') && panel.width <= COLUMNS, "{}", panel.title);
        }
        let asked: Vec<_> = board.variables.iter().map(|(name, _)| format!("${name}")).collect();
        let all = queries_of(board);
        for variable in asked {
            assert!(all.contains(&variable), "{}: nothing needs {variable}", board.title);
        }
    }
    let files = fs::read_dir(deploy().join("grafana/dashboards")).unwrap().count();
    assert_eq!(files, BOARDS.len(), "a dashboard that nothing makes");
}

fn queries_of(board: &Board) -> String {
    let texts = board.panels.iter().flat_map(|panel| panel.queries).map(|(_, text)| *text);
    texts.collect::<Vec<_>>().join("\n")
}
