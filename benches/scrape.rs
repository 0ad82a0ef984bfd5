//! What a scrape takes at a million functions: the refresh of the per-function series, which the
//! pipeline does every few seconds, and the text of `/metrics`, at its default and at its largest.
//!
//! `cargo bench --no-default-features --bench scrape`
//!
//! A scrape has to stay below 50 ms and 2 MB; the bench fails where it does not.
#![expect(clippy::unwrap_used, reason = "what goes wrong ends the measurement")]

use std::io::Write;
use std::time::Instant;

use bursar::observe::metrics::{Labels, Metrics};
use bursar::observe::view::FunctionView;
use bursar::record::FUNCTION_NAME_BYTES_MAX;
use bursar::units::{EventTime, NanoUsd};
use prometheus::Registry;

const FUNCTIONS: usize = 1_000_000;
const ROUNDS: usize = 101;
const SECONDS_MAX: f64 = 0.05;
const BYTES_MAX: usize = 2_000_000;

fn main() {
    let mut out = std::io::stdout().lock();
    writeln!(out, "functions  with series  name bytes  refresh ms  scrape ms p50/max  bytes")
        .unwrap();
    for (shown, name_bytes) in [(50, 20), (200, FUNCTION_NAME_BYTES_MAX)] {
        let functions: Vec<FunctionView> = (0..FUNCTIONS).map(|i| view(i, name_bytes)).collect();
        let metrics = Metrics::try_new(&Registry::new(), &LABELS, shown).unwrap();
        let refresh = seconds(|| metrics.publish_functions(functions.iter()));
        let mut bytes = 0;
        let mut scrapes: Vec<f64> =
            (0..ROUNDS).map(|_| seconds(|| bytes = metrics.encode().unwrap().len())).collect();
        scrapes.sort_unstable_by(f64::total_cmp);
        let (p50, max) = (scrapes[ROUNDS / 2], scrapes[ROUNDS - 1]);
        writeln!(
            out,
            "{FUNCTIONS:9}  {shown:11}  {name_bytes:10}  {:10.1}  {:9.2} {:7.2}  {bytes:5}",
            refresh * 1e3,
            p50 * 1e3,
            max * 1e3,
        )
        .unwrap();
        assert!(p50 < SECONDS_MAX && bytes < BYTES_MAX, "{p50} s, {bytes} bytes");
    }
}

/// As many values as the daemon has.
const LABELS: Labels<'_> = Labels {
    rejected: &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"],
    ignored: &["1", "2", "3", "4", "5", "6", "7", "8"],
    channels: &["1", "2", "3", "4", "5", "6", "7", "8", "9"],
    severities: &["notice", "page"],
    verbs: &["restrict", "tighten", "relax", "restore", "expire"],
    outcomes: &["planned", "applied", "refused", "failed"],
    actuators: &["waf_ip_set", "reserved_concurrency"],
};

fn view(i: usize, name_bytes: usize) -> FunctionView {
    let mut name = format!("{i:07}");
    name.extend(std::iter::repeat_n('f', name_bytes - name.len()));
    let money = NanoUsd(i64::try_from(i * 7_919 % FUNCTIONS).unwrap());
    FunctionView {
        function: format!("111122223333:eu-west-1:{name}").parse().unwrap(),
        last_event: EventTime::MIN,
        requests_per_minute: 1.0,
        burn_nano_usd_per_hour: money,
        baseline_nano_usd_per_hour: NanoUsd::ZERO,
        money_at_risk_nano_usd_per_hour: money,
        evidence_log10: 1.0,
        billed_ms_mean: 100.0,
        memory_mb: 128,
        restriction: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement of real time")]
fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}
