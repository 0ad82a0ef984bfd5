//! How well `bursar score` finds labelled anomalies, and how fast.
//!
//! `cargo bench --no-default-features --bench score -- --nab DIR --cloud-monitoring DIR`
//!
//! The data are not part of the project: <https://github.com/numenta/NAB> and
//! <https://github.com/microsoft/cloud-monitoring-dataset>, both MIT. One threshold holds for all
//! files. What a threshold is worth on files that it was not chosen on is shown by half-splits: it
//! is chosen on one half of the files and judged on the other.
#![expect(clippy::print_stdout, reason = "the report is what this is for")]

#[path = "score/cloud.rs"]
mod cloud;
#[path = "score/detectors.rs"]
mod detectors;
#[path = "score/input.rs"]
mod input;
#[path = "score/nab.rs"]
mod nab;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use bursar::score::Settings;
use clap::Parser;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::cloud::Found;
use crate::detectors::{DETECTORS, Detector, Scored};
use crate::input::Series;
use crate::nab::{PROFILES, normalised};

/// Half-splits of the files; both halves are judged, so twice as many results.
const SPLITS: usize = 100;
const SEED: u64 = 7;

/// By how much each setting is varied.
const VARIED: [f64; 2] = [0.8, 1.2];

/// Options.
#[derive(Debug, Parser)]
struct Options {
    /// The Numenta Anomaly Benchmark: data/ and windows.json, or the repository
    #[arg(long, value_name = "DIR")]
    nab: Option<PathBuf>,
    /// The Microsoft cloud monitoring data
    #[arg(long, value_name = "DIR")]
    cloud_monitoring: Option<PathBuf>,
    /// All figures as one JSON document
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// Given by cargo; means nothing here
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut report = Map::new();
    // Without data the bands keep their usual thresholds, and bursar always does.
    let mut chosen = DETECTORS.each_ref().map(Detector::usual_threshold);
    if let Some(root) = &options.nab {
        let all = input::nab(root)?;
        check_the_rules(&all)?;
        report.insert("nab".to_owned(), judge_nab(&all, &mut chosen));
        report.insert("sensitivity".to_owned(), vary(&all));
        report.insert("speed".to_owned(), time(&all));
    }
    if let Some(root) = &options.cloud_monitoring {
        let all = input::cloud_monitoring(root)?;
        report.insert("cloud_monitoring".to_owned(), judge_cloud(&all, &chosen));
    }
    if report.is_empty() {
        println!("nothing to judge: give --nab DIR or --cloud-monitoring DIR, see --help");
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}

impl Detector {
    fn usual_threshold(&self) -> f64 {
        self.threshold.unwrap_or(Settings::default().alarm_score)
    }
}

/// Raw scores by file, threshold and profile: whatever is asked of the benchmark is a sum of these.
struct Sweep {
    thresholds: Vec<f64>,
    raw: Vec<Vec<[f64; 3]>>,
    windows: Vec<usize>,
}

impl Sweep {
    fn new(all: &[Series], scored: &[Scored], usual: f64) -> Self {
        // Steps of 2 % from a sixteenth of the usual threshold to sixteen times it.
        let steps = -140..=140;
        let thresholds: Vec<f64> = steps.map(|step| usual * 1.02_f64.powi(step)).collect();
        let raw = all.iter().zip(scored).map(|(series, scored)| {
            let at = |&threshold: &f64| {
                let detections = scored.detections(threshold);
                PROFILES.map(|profile| series.truth.raw(&detections, profile))
            };
            thresholds.iter().map(at).collect()
        });
        let raw = raw.collect();
        let windows = all.iter().map(|series| series.truth.windows.len()).collect();
        Self { thresholds, raw, windows }
    }

    fn score(&self, files: &[usize], threshold: usize, profile: usize) -> f64 {
        let raw = files.iter().map(|&file| self.raw[file][threshold][profile]).sum();
        let windows = files.iter().map(|&file| self.windows[file]).sum();
        normalised(raw, windows, PROFILES[profile])
    }

    /// The threshold with the best score on some files; the first of equal ones.
    fn best(&self, files: &[usize], profile: usize) -> usize {
        let score = |threshold| self.score(files, threshold, profile);
        let better = |best, next| if score(next) > score(best) { next } else { best };
        (0..self.thresholds.len()).reduce(better).unwrap_or_default()
    }

    /// Mean scores on halves of the files, at the thresholds that are best on the other halves.
    fn cross_validated(&self) -> [f64; 3] {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut files: Vec<usize> = (0..self.windows.len()).collect();
        let mut sums = [0.0; 3];
        for _ in 0..SPLITS {
            files.shuffle(&mut rng);
            let (one, other) = files.split_at(files.len() / 2);
            for (chosen_on, judged_on) in [(one, other), (other, one)] {
                for (profile, sum) in sums.iter_mut().enumerate() {
                    *sum += self.score(judged_on, self.best(chosen_on, profile), profile);
                }
            }
        }
        sums.map(|sum| sum / (2 * SPLITS) as f64)
    }

    fn at(&self, threshold: usize) -> [f64; 3] {
        let files: Vec<usize> = (0..self.windows.len()).collect();
        [0, 1, 2].map(|profile| self.score(&files, threshold, profile))
    }

    fn best_of_all(&self, profile: usize) -> usize {
        self.best(&(0..self.windows.len()).collect::<Vec<_>>(), profile)
    }
}

/// The rules themselves: finding each window at its first record is perfect, silence is nothing.
fn check_the_rules(all: &[Series]) -> anyhow::Result<()> {
    let windows = all.iter().map(|series| series.truth.windows.len()).sum();
    for profile in PROFILES {
        let total = |detections: fn(&Series) -> Vec<usize>| {
            let raw = all.iter().map(|series| series.truth.raw(&detections(series), profile));
            normalised(raw.sum(), windows, profile)
        };
        let perfect = total(|series| series.truth.windows.iter().map(|w| *w.start()).collect());
        let silent = total(|_| Vec::new());
        let holds = (perfect - 100.0).abs() < 1e-9 && silent.abs() < 1e-9;
        ensure!(holds, "{}: perfect {perfect}, silent {silent}", profile.name);
    }
    Ok(())
}

/// Prints a row for each detector and threshold. The best thresholds of the bands are kept in
/// `chosen`.
fn judge_nab(all: &[Series], chosen: &mut [f64; 4]) -> Value {
    let windows: usize = all.iter().map(|series| series.truth.windows.len()).sum();
    println!("\n## Numenta Anomaly Benchmark: {} files, {windows} windows\n", all.len());
    println!("| detector | threshold | standard | low FP | low FN |\n|---|---|---|---|---|");
    let mut rows = Vec::new();
    for (detector, chosen) in DETECTORS.iter().zip(chosen) {
        let usual = detector.usual_threshold();
        let scored: Vec<Scored> = all.iter().map(detector.run).collect();
        let sweep = Sweep::new(all, &scored, usual);
        let best = sweep.best_of_all(0);
        if detector.threshold.is_some() {
            *chosen = sweep.thresholds[best];
        }
        let own = [0, 1, 2].map(|profile| sweep.at(sweep.best_of_all(profile))[profile]);
        let value = |threshold: f64| format!("{threshold:.3}");
        for (kind, threshold, scores) in [
            ("usual", value(usual), sweep.at(sweep.thresholds.len() / 2)),
            ("best for standard", value(sweep.thresholds[best]), sweep.at(best)),
            ("best for each profile", String::new(), own),
            ("of the other half of the files", String::new(), sweep.cross_validated()),
        ] {
            let [standard, low_fp, low_fn] = scores;
            let name = detector.name;
            println!("| {name} | {kind} {threshold} | {standard:.1} | {low_fp:.1} | {low_fn:.1} |");
            rows.push(json!({
                "detector": name, "threshold": kind, "value": threshold,
                "standard": standard, "low_fp": low_fp, "low_fn": low_fn,
            }));
        }
    }
    json!({ "files": all.len(), "windows": windows, "splits": SPLITS, "seed": SEED, "rows": rows })
}

/// What becomes of the standard score when one setting is a fifth off.
fn vary(all: &[Series]) -> Value {
    println!("\n## Standard score with one setting a fifth off\n");
    println!("| setting | -20 % | as it is | +20 % |\n|---|---|---|---|");
    type Change = fn(&mut Settings, f64);
    let changes: [(&str, Change); 4] = [
        ("warmup_records", |settings, factor| {
            let records = settings.warmup_records as f64 * factor;
            settings.warmup_records = bursar::units::whole(records);
        }),
        ("refractory_share", |settings, factor| settings.refractory_share *= factor),
        ("habituation", |settings, factor| settings.habituation *= factor),
        ("alarm_score", |settings, factor| settings.alarm_score *= factor),
    ];
    let score = |settings: Settings| {
        let run = |series: &Series| detectors::bursar(series, settings);
        let scored: Vec<Scored> = all.iter().map(run).collect();
        let sweep = Sweep::new(all, &scored, settings.alarm_score);
        (sweep.at(sweep.thresholds.len() / 2)[0], sweep.at(sweep.best_of_all(0))[0])
    };
    let shown = |(usual, best): (f64, f64)| format!("{usual:.1} ({best:.1})");
    let unchanged = score(Settings::default());
    let mut rows = Vec::new();
    for (name, change) in changes {
        let [less, more] = VARIED.map(|factor| {
            let mut settings = Settings::default();
            change(&mut settings, factor);
            score(settings)
        });
        println!("| {name} | {} | {} | {} |", shown(less), shown(unchanged), shown(more));
        rows.push(json!({ "setting": name, "less": less, "unchanged": unchanged, "more": more }));
    }
    println!("\nIn brackets: at the threshold that is best then.");
    Value::Array(rows)
}

#[expect(clippy::disallowed_methods, reason = "speed is measured in real time")]
fn time(all: &[Series]) -> Value {
    let records: usize = all.iter().map(|series| series.values.len()).sum();
    let start = Instant::now();
    for series in all {
        std::hint::black_box(detectors::bursar(series, Settings::default()));
    }
    let per_second = records as f64 / start.elapsed().as_secs_f64();
    println!("\n{records} records at {per_second:.0} a second");
    json!({ "records": records, "records_per_second": per_second })
}

/// Prints a row for each detector at its usual threshold, and for the bands also at the one that is
/// best on NAB.
fn judge_cloud(all: &[Series], chosen: &[f64; 4]) -> Value {
    println!("\n## Microsoft cloud monitoring data: {} series\n", all.len());
    println!("| detector | threshold | rises found | false alarms per series and day |");
    println!("|---|---|---|---|");
    let mut rows = Vec::new();
    for (detector, &chosen) in DETECTORS.iter().zip(chosen) {
        let scored: Vec<Scored> = all.iter().map(detector.run).collect();
        let mut thresholds = vec![("usual", detector.usual_threshold())];
        if detector.threshold.is_some_and(|usual| chosen > usual) {
            thresholds.push(("best on NAB", chosen));
        }
        for (kind, threshold) in thresholds {
            let mut sum = Found::default();
            for (series, scored) in all.iter().zip(&scored) {
                sum.add(series, &scored.detections(threshold));
            }
            let (name, recall, price) = (detector.name, sum.recall(), sum.false_alarms_per_day());
            println!(
                "| {name} | {kind} {threshold:.3} | {} of {} ({:.0} %) | {price:.3} |",
                sum.found,
                sum.rises,
                100.0 * recall,
            );
            rows.push(json!({
                "detector": name, "threshold": kind, "value": threshold, "rises": sum.rises,
                "found": sum.found, "recall": recall, "false_alarms": sum.false_alarms,
                "series_days": sum.days, "false_alarms_per_series_day": price,
            }));
        }
    }
    Value::Array(rows)
}
