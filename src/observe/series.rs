//! Shapes of metrics that the `prometheus` crate does not have: counters and gauges with a closed
//! set of labels, resolved once, and gauges whose whole set of series is replaced at a time.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Error, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use super::catalogue::Metric;

/// The label of what is in no closed set: a mistake in the program, which must not stop counting.
pub(super) const UNLISTED: &str = "unlisted";

fn opts(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: C) -> Result<C, Error> {
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

/// A whole-number counter without labels.
pub(super) fn int_counter(registry: &Registry, metric: &Metric) -> Result<IntCounter, Error> {
    register(registry, IntCounter::with_opts(opts(metric))?)
}

/// A counter without labels.
pub(super) fn counter(registry: &Registry, metric: &Metric) -> Result<Counter, Error> {
    register(registry, Counter::with_opts(opts(metric))?)
}

/// A whole-number gauge without labels.
pub(super) fn int_gauge(registry: &Registry, metric: &Metric) -> Result<IntGauge, Error> {
    register(registry, IntGauge::with_opts(opts(metric))?)
}

/// A gauge without labels.
pub(super) fn gauge(registry: &Registry, metric: &Metric) -> Result<Gauge, Error> {
    register(registry, Gauge::with_opts(opts(metric))?)
}

/// A histogram with the buckets of the catalogue.
pub(super) fn histogram(registry: &Registry, metric: &Metric) -> Result<Histogram, Error> {
    let opts = HistogramOpts::new(metric.name, metric.help).buckets(metric.buckets.to_vec());
    register(registry, Histogram::with_opts(opts)?)
}

/// Counters with a closed set of labels. All series exist from the start, at zero.
#[derive(Debug)]
pub struct Counters {
    vector: IntCounterVec,
    series: Vec<(Vec<String>, IntCounter)>,
    unlisted: Vec<&'static str>,
}

impl Counters {
    /// One counter for every combination of the label values.
    pub(super) fn register(
        registry: &Registry,
        metric: &Metric,
        values: &[&[&str]],
    ) -> Result<Self, Error> {
        Self::register_rows(registry, metric, &combinations(values))
    }

    /// One counter for every row of label values, where not all combinations occur.
    pub(super) fn register_rows<R: AsRef<[V]>, V: AsRef<str>>(
        registry: &Registry,
        metric: &Metric,
        rows: &[R],
    ) -> Result<Self, Error> {
        let vector = IntCounterVec::new(opts(metric), metric.labels)?;
        let mut series = Vec::new();
        for row in rows {
            let values = row.as_ref().iter();
            let labels: Vec<String> = values.map(|value| value.as_ref().to_owned()).collect();
            let counter = vector.get_metric_with_label_values(&labels)?;
            series.push((labels, counter));
        }
        Ok(Self {
            vector: register(registry, vector)?,
            series,
            unlisted: vec![UNLISTED; metric.labels.len()],
        })
    }

    /// Adds to the counter with these label values.
    pub fn add(&self, labels: &[&str], count: u64) {
        match find(&self.series, labels) {
            Some(counter) => counter.inc_by(count),
            None => self.vector.with_label_values(&self.unlisted).inc_by(count),
        }
    }
}

/// Gauges with a closed set of labels. All series exist from the start, at zero.
#[derive(Debug)]
pub struct Gauges {
    vector: IntGaugeVec,
    series: Vec<(Vec<String>, IntGauge)>,
    unlisted: Vec<&'static str>,
}

impl Gauges {
    /// One gauge for every combination of the label values.
    pub(super) fn register(
        registry: &Registry,
        metric: &Metric,
        values: &[&[&str]],
    ) -> Result<Self, Error> {
        let vector = IntGaugeVec::new(opts(metric), metric.labels)?;
        let mut series = Vec::new();
        for labels in combinations(values) {
            let gauge = vector.get_metric_with_label_values(&labels)?;
            series.push((labels, gauge));
        }
        Ok(Self {
            vector: register(registry, vector)?,
            series,
            unlisted: vec![UNLISTED; metric.labels.len()],
        })
    }

    /// Sets the gauge with these label values.
    pub fn set(&self, labels: &[&str], value: i64) {
        match find(&self.series, labels) {
            Some(gauge) => gauge.set(value),
            None => self.vector.with_label_values(&self.unlisted).set(value),
        }
    }
}

/// A scan: the sets have a few dozen members at most.
fn find<'a, S>(series: &'a [(Vec<String>, S)], labels: &[&str]) -> Option<&'a S> {
    let found = series.iter().find(|(values, _)| values == labels);
    found.map(|(_, series)| series)
}

fn combinations(values: &[&[&str]]) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    for values in values {
        let longer = all.iter().flat_map(|prefix: &Vec<String>| {
            values.iter().map(|value| {
                let mut labels = prefix.clone();
                labels.push((*value).to_owned());
                labels
            })
        });
        all = longer.collect();
    }
    all
}

/// Gauges that share their labels and whose series are replaced all at once: a scrape sees the old
/// set or the new one, and a function that dropped out leaves nothing behind.
#[derive(Debug, Clone)]
pub(super) struct Snapshot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gauges: Vec<GaugeVec>,
    gate: Mutex<()>,
}

impl Snapshot {
    /// `metrics` must have the same labels.
    pub(super) fn register(registry: &Registry, metrics: &[Metric]) -> Result<Self, Error> {
        let gauges = metrics
            .iter()
            .map(|metric| GaugeVec::new(opts(metric), metric.labels))
            .collect::<Result<_, _>>()?;
        let gate = Mutex::new(());
        register(registry, Self(Arc::new(Inner { gauges, gate })))
    }

    /// Replaces all series: label values, and one value for each metric. `L` is the number of
    /// labels in the catalogue; a row that does not fit is a mistake in the program.
    pub(super) fn publish<const L: usize, const V: usize>(
        &self,
        rows: impl Iterator<Item = ([String; L], [f64; V])>,
    ) {
        let _closed = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        for gauge in &self.0.gauges {
            gauge.reset();
        }
        for (labels, values) in rows {
            for (gauge, value) in self.0.gauges.iter().zip(values) {
                match gauge.get_metric_with_label_values(&labels) {
                    Ok(series) => series.set(value),
                    Err(error) => debug_assert!(false, "{error}"),
                }
            }
        }
    }
}

impl Collector for Snapshot {
    fn desc(&self) -> Vec<&Desc> {
        self.0.gauges.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _closed = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.gauges.iter().flat_map(Collector::collect).collect()
    }
}
