//! From outcomes to the table.

use std::fmt::Write;

use serde_json::{Value, json};

use super::PARTS;
use super::data::{CALLS, DAYS, DOLLARS, MONTHS, WEEKS};

/// One forecast of a period's total, and what it was.
pub(crate) struct Outcome {
    pub(crate) set: &'static str,
    pub(crate) part: f64,
    pub(crate) truth: f64,
    pub(crate) p10: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    /// If the mean so far went on.
    pub(crate) persisted: f64,
    /// The last period's total.
    pub(crate) repeated: Option<f64>,
}

/// Outcomes of one data set, or of several, at one part of the period.
pub(crate) struct Row {
    set: &'static str,
    part: f64,
    pairs: usize,
    below: usize,
    above: usize,
    width: f64,
    pinball: f64,
    persisted: f64,
    repeated: Option<f64>,
}

/// The rows of every set that is there, and of all independent pairs together.
pub(crate) fn rows(outcomes: &[Outcome]) -> Vec<Row> {
    let sets = WEEKS.iter().chain(&MONTHS).chain(&[DAYS, CALLS, DOLLARS]);
    let mut rows = Vec::new();
    for set in sets {
        let of_set = PARTS.map(|part| Row::of(set, part, outcomes, |it| it.set == *set));
        rows.extend(of_set.into_iter().flatten());
    }
    // Months are made of the same weeks, and dollars of the same calls.
    let independent = |it: &Outcome| WEEKS.contains(&it.set) || [DAYS, DOLLARS].contains(&it.set);
    rows.extend(
        PARTS.into_iter().filter_map(|part| Row::of("pooled", part, outcomes, independent)),
    );
    rows
}

/// A Markdown table.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| series | gone | pairs | in p10-p90 | 95 % interval | below | above | median width / \
         truth | pinball | mean goes on | as last period |\n|---|---|---|---|---|---|---|---|---|\
         ---|---|\n",
    );
    for row in rows {
        let (low, high) = wilson(row.inside(), row.pairs);
        let percent = |part: f64| format!("{:.0} %", 100.0 * part);
        let repeated = row.repeated.map_or(String::from("-"), |it| format!("{it:.3}"));
        writeln!(
            text,
            "| {} | {} | {} | {:.1} % | {:.0}-{:.0} % | {} | {} | {:.2} | {:.3} | {:.3} | {} |",
            row.set,
            percent(row.part),
            row.pairs,
            100.0 * row.inside() as f64 / row.pairs as f64,
            100.0 * low,
            100.0 * high,
            percent(row.below as f64 / row.pairs as f64),
            percent(row.above as f64 / row.pairs as f64),
            row.width,
            row.pinball,
            row.persisted,
            repeated,
        )
        .unwrap();
    }
    text
}

impl Row {
    fn of(
        set: &'static str,
        part: f64,
        outcomes: &[Outcome],
        belongs: impl Fn(&Outcome) -> bool,
    ) -> Option<Self> {
        let at = |it: &&Outcome| (it.part - part).abs() < 1e-9 && it.truth > 0.0 && belongs(it);
        let outcomes: Vec<&Outcome> = outcomes.iter().filter(at).collect();
        let mean = |loss: &dyn Fn(&Outcome) -> f64| {
            let losses = outcomes.iter().map(|it| loss(it) / it.truth);
            losses.sum::<f64>() / outcomes.len() as f64
        };
        let mut widths: Vec<f64> = outcomes.iter().map(|it| (it.p90 - it.p10) / it.truth).collect();
        widths.sort_by(f64::total_cmp);
        // A set's first period has no last one; the mean stands in for it.
        let repeating = outcomes.iter().filter(|it| it.repeated.is_some()).count();
        let repeated = |it: &Outcome| pinball([it.repeated.unwrap_or(it.persisted); 3], it.truth);
        Some(Row {
            set,
            part,
            pairs: outcomes.len(),
            below: outcomes.iter().filter(|it| it.truth < it.p10 - tolerance(it)).count(),
            above: outcomes.iter().filter(|it| it.truth > it.p90 + tolerance(it)).count(),
            width: *widths.get(widths.len() / 2)?,
            pinball: mean(&|it| pinball([it.p10, it.p50, it.p90], it.truth)),
            persisted: mean(&|it| pinball([it.persisted; 3], it.truth)),
            repeated: (2 * repeating >= outcomes.len()).then(|| mean(&repeated)),
        })
    }

    fn inside(&self) -> usize {
        self.pairs - self.below - self.above
    }

    pub(crate) fn json(&self) -> Value {
        let (low, high) = wilson(self.inside(), self.pairs);
        json!({
            "series": self.set, "gone": self.part, "pairs": self.pairs, "inside": self.inside(),
            "below": self.below, "above": self.above, "wilson_low": low, "wilson_high": high,
            "median_width": self.width, "pinball": self.pinball,
            "pinball_mean_goes_on": self.persisted, "pinball_as_last_period": self.repeated,
        })
    }
}

/// Rounding of sums is no miss.
fn tolerance(outcome: &Outcome) -> f64 {
    1e-9 * outcome.truth
}

/// Mean loss of the three quantiles.
fn pinball(said: [f64; 3], truth: f64) -> f64 {
    let loss = |(part, said): (f64, f64)| {
        let miss = truth - said;
        if miss > 0.0 { part * miss } else { (part - 1.0) * miss }
    };
    [0.1, 0.5, 0.9].into_iter().zip(said).map(loss).sum::<f64>() / 3.0
}

/// 95 % interval of a proportion.
fn wilson(hits: usize, of: usize) -> (f64, f64) {
    let (n, z) = (of as f64, 1.96);
    let p = hits as f64 / n;
    let center = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((center - half).max(0.0), (center + half).min(1.0))
}
