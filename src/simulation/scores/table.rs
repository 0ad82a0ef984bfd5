//! The scores for people.

use std::fmt;

use super::summary::{PolicyScore, Spread};
use super::{ScenarioScore, Verdict};
use crate::simulation::evaluation::table::aligned;
use crate::units::NanoUsd;

/// What stands where there is nothing to say.
const NONE: &str = "-";
const HEADING: &str = "policy,noticed,after p50/p99,contained,after p50,leaked,\
                       beyond delays p50/p99,saved,x oracle,denied,share,false actions,\
                       restored after p50,again,calls,bounds passed,refused told/measured,broken";
/// What stands in the row of a policy that watches a budget which is never spent.
const IDLE: &str = "cannot act here";

impl fmt::Display for ScenarioScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.question)?;
        let seeds = self.seeds.len();
        writeln!(f, "{seeds} {}", if seeds == 1 { "seed" } else { "seeds" })?;
        aligned(f, HEADING, self.table().1)?;
        for verdict in &self.expect {
            writeln!(f, "  {verdict}")?;
        }
        Ok(())
    }
}

impl ScenarioScore {
    /// The heading and a row for each policy.
    pub fn table(&self) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let rows = self.policies.iter().map(|score| row(score, self.seeds.len()));
        (HEADING.split(',').collect(), rows.collect())
    }
}

fn row(score: &PolicyScore, seeds: usize) -> Vec<String> {
    let of = |spread: Option<Spread>, show: &dyn Fn(Spread) -> String| {
        spread.map_or_else(|| NONE.to_owned(), show)
    };
    let attacked = score.attacks > 0;
    let if_attacked = |text: String| if attacked { text } else { NONE.to_owned() };
    let money = |usd: f64| NanoUsd::from_usd(usd).to_string();
    if score.idle == seeds as u64 && seeds > 0 {
        let mut cells = vec![NONE.to_owned(); HEADING.split(',').count()];
        (cells[0], cells[1]) = (score.policy.to_owned(), IDLE.to_owned());
        return cells;
    }
    let both = |spread: Spread| format!("{} {}", seconds(spread.p50), seconds(spread.p99));
    vec![
        score.policy.to_owned(),
        if_attacked(format!("{}/{}", score.detected, score.attacks)),
        of(score.detection_delay_ms, &both),
        if_attacked(format!("{}/{seeds}", score.contained)),
        of(score.contained_ms, &|spread| seconds(spread.p50)),
        if_attacked(of(score.leaked_usd, &|spread| money(spread.mean))),
        of(score.beyond_ms, &both),
        if_attacked(of(score.saved_usd, &|spread| money(spread.mean))),
        of(score.oracle_ratio, &|spread| format!("{:.2}", spread.mean)),
        of(score.denied, &|spread| format!("{:.1}", spread.mean)),
        of(score.denied_share, &|spread| format!("{:.3} %", 100.0 * spread.mean)),
        format!("{} of {}", score.false_actions, score.actions),
        if score.holding > 0 {
            format!("not in {}/{seeds}", score.holding)
        } else {
            of(score.restored_ms, &|spread| seconds(spread.p50))
        },
        score.oscillations.to_string(),
        score.calls.to_string(),
        of(score.bound_reach, &|reach| {
            // Behind it how much of the bound is spent without anybody's doing.
            format!("{}/{}, {:.0} %", score.bounds_passed, score.bounds, 100.0 * reach.max)
        }),
        score.refused_told.zip(score.refused_measured).map_or_else(
            || NONE.to_owned(),
            |(told, measured)| format!("{:.1}/{:.1} %", 100.0 * told.mean, 100.0 * measured.mean),
        ),
        score.broken.to_string(),
    ]
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.map_or_else(|| NONE.to_owned(), |found| format!("{found:.4}"));
        let holds = if self.holds { "holds" } else { "DOES NOT HOLD" };
        write!(f, "{}: {found}, limit {}: {holds}", self.what, self.limit)
    }
}

fn seconds(ms: f64) -> String {
    if ms >= 600_000.0 {
        return format!("{:.0} min", ms / 60_000.0);
    }
    format!("{:.1} s", ms / 1_000.0)
}
