//! What was found, beside what the search started from, on seeds that it has not seen.

use std::fmt;
use std::ops::Range;

use super::knobs::Candidate;
use super::search::{Found, Mean, Progress, Search};
use crate::config::file::changes;
use crate::simulation::evaluation::table::aligned;
use crate::simulation::scenario::Scenario;
use crate::units::NanoUsd;

/// The name of the settings that the search started from.
pub const START: &str = "start";
/// The name of what it found.
pub const WINNER: &str = "found";

/// Settings and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// `start`, `found`, or a letter.
    pub name: String,
    /// The mean over all scenarios.
    pub mean: Mean,
    /// The mean for each scenario.
    pub scenarios: Vec<Mean>,
    /// It keeps its promises, and nothing that does is better in one respect and as good in the
    /// others.
    pub on_frontier: bool,
    /// What is different from the start, in words.
    pub changes: String,
}

/// All finalists, the one that leaks least first.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Names of the scenarios.
    pub scenarios: Vec<String>,
    /// The finalists.
    pub compared: Vec<Compared>,
}

impl Comparison {
    /// Compares on the unseen seeds.
    pub fn new<F: Fn(Progress) + Sync>(
        search: &Search<'_, F>,
        scenarios: &[Scenario],
        candidates: &[Candidate],
        found: &Found,
        unseen: Range<u64>,
    ) -> Self {
        let compared = found.finalists.iter().enumerate().map(|(place, finalist)| {
            let candidate = &candidates[finalist.candidate];
            let mean = |scenario| search.mean(candidate, scenario, unseen.clone());
            let name = match finalist.candidate {
                0 => START.to_owned(),
                winner if winner == found.winner => WINNER.to_owned(),
                _ => format!("other {}", place + 1),
            };
            let changes = changes(&candidates[0].settings, &candidate.settings);
            let changes = changes.iter().map(|change| format!("{} {}", change.path, change.to));
            Compared {
                name,
                mean: mean(None),
                scenarios: (0..scenarios.len()).map(|place| mean(Some(place))).collect(),
                on_frontier: finalist.on_frontier,
                changes: changes.collect::<Vec<_>>().join(", "),
            }
        });
        Self {
            scenarios: scenarios.iter().map(|scenario| scenario.name.clone()).collect(),
            compared: compared.collect(),
        }
    }

    /// Whether something was found that costs less than the start.
    pub fn is_better(&self) -> bool {
        self.compared.iter().any(|compared| compared.name == WINNER)
    }

    /// Heading and rows: each scenario under the start and under what was found.
    pub fn by_scenario(&self) -> (&'static str, Vec<Vec<String>>) {
        let shown = |compared: &&Compared| [START, WINNER].contains(&compared.name.as_str());
        let mut shown: Vec<&Compared> = self.compared.iter().filter(shown).collect();
        shown.sort_by_key(|compared| compared.name != START);
        let mut rows = Vec::new();
        for (place, scenario) in self.scenarios.iter().enumerate() {
            for compared in &shown {
                let names = [scenario.clone(), compared.name.clone()];
                rows.push([names.as_slice(), &cells(&compared.scenarios[place])].concat());
            }
        }
        for compared in &shown {
            let names = ["all".to_owned(), compared.name.clone()];
            rows.push([names.as_slice(), &cells(&compared.mean)].concat());
        }
        ("scenario,settings,leaked beyond,denied,false actions,broken,cost", rows)
    }

    /// Heading and rows: the finalists that keep their promises and that no other one beats.
    pub fn frontier(&self) -> (&'static str, Vec<Vec<String>>) {
        let best = self.compared.iter().filter(|compared| compared.on_frontier);
        let rows = best.map(|compared| {
            let name = [compared.name.clone()];
            let changes = [compared.changes.clone()];
            [name.as_slice(), &cells(&compared.mean), &changes].concat()
        });
        (
            "frontier,leaked beyond,denied,false actions,broken,cost,different from the start",
            rows.collect(),
        )
    }
}

fn cells(mean: &Mean) -> [String; 5] {
    let money = |usd| NanoUsd::from_usd(usd).to_string();
    let count = |count: f64| format!("{count:.1}");
    let [denied, false_actions] = [mean.denied, mean.false_actions].map(count);
    [money(mean.beyond_usd), denied, false_actions, count(mean.broken), money(mean.usd)]
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (heading, rows) = self.by_scenario();
        aligned(f, heading, rows)?;
        let (heading, rows) = self.frontier();
        aligned(f, heading, rows)
    }
}
