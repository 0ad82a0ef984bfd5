//! What a section says: tables for people, and measures with their sampling intervals for
//! comparison with another run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::numbers::shown;

/// Changes whenever files of another version cannot be compared.
const VERSION: u32 = 1;

/// All that was measured.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    version: u32,
    seed: u64,
    sample: f64,
    pub(crate) sections: Vec<Section>,
}

/// One part of the report.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Section {
    name: String,
    /// Sentences that say what was done.
    pub(crate) notes: Vec<String>,
    pub(crate) tables: Vec<Table>,
    /// By name.
    pub(crate) measures: BTreeMap<String, Measure>,
}

/// A table as it is printed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// A number and where it could lie: see `numbers::COMPARED`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measure {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) better: Better,
}

impl Measure {
    /// JSON knows no infinity, so that is written as the largest number.
    pub(crate) fn new(value: f64, (low, high): (f64, f64), better: Better) -> Self {
        let finite = |value: f64| value.clamp(-f64::MAX, f64::MAX);
        Self { value: finite(value), low: finite(low), high: finite(high), better }
    }

    fn shown(&self) -> String {
        let number = |value: f64| match value.abs() {
            f64::MAX => "no end".to_owned(),
            _ => shown(value),
        };
        format!("{} ({} to {})", number(self.value), number(self.low), number(self.high))
    }

    /// Whether this is worse than `before` by more than both samples explain.
    fn is_worse_than(&self, before: &Measure) -> bool {
        match self.better {
            Better::Higher => self.high < before.low,
            Better::Lower => self.low > before.high,
        }
    }
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.into(), columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text.push_str(&line(&self.columns));
        text.push_str(&line(&vec!["---".to_owned(); self.columns.len()]));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}

impl Section {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// A section that could not be computed, which must not be overlooked.
    pub(crate) fn skipped(name: &str, why: &str) -> Self {
        eprintln!("SKIPPED {name}: {why}");
        let mut section = Self::new(name);
        section.note(format!("**Skipped: {why}**"));
        section
    }

    pub(crate) fn measure(&mut self, name: String, measure: Measure) {
        self.measures.insert(name, measure);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n", self.name);
        self.notes.iter().for_each(|note| text.push_str(&format!("- {note}\n")));
        self.tables.iter().for_each(|table| text.push_str(&format!("\n{}", table.markdown())));
        text
    }
}

impl Report {
    pub(crate) fn new(seed: u64, sample: f64) -> Self {
        Self { version: VERSION, seed, sample, sections: Vec::new() }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# Detection report\n\nSeed {}", self.seed);
        let _infallible = writeln!(text, ", sample {}.", self.sample);
        for section in &self.sections {
            let _infallible = write!(text, "\n{}", section.markdown());
        }
        text
    }

    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())
    }

    pub(crate) fn read_json(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let report: Self = serde_json::from_str(&text)
            .with_context(|| format!("{}: not a report; write one with --json", path.display()))?;
        if report.version != VERSION {
            bail!("{}: version {}, expected {VERSION}", path.display(), report.version);
        }
        Ok(report)
    }

    /// Prints every number that is worse than in `before`, beyond what the samples explain. What
    /// only one of the two has measured is counted and not compared.
    pub(crate) fn is_no_worse_than(&self, before: &Report) -> Result<bool> {
        let (mut compared, mut worse) = (0, 0);
        for section in &self.sections {
            let old = before.sections.iter().find(|old| old.name == section.name);
            let Some(old) = old else {
                println!("not compared: section {} is not in the file", section.name);
                continue;
            };
            for (name, now) in &section.measures {
                let Some(then) = old.measures.get(name) else {
                    continue;
                };
                compared += 1;
                if now.is_worse_than(then) {
                    worse += 1;
                    println!("WORSE {} {name}: {} was {}", section.name, now.shown(), then.shown());
                }
            }
        }
        if compared == 0 {
            bail!("nothing could be compared; run sections that are in the file, with --data");
        }
        println!("{compared} numbers compared, {worse} worse");
        Ok(worse == 0)
    }
}
