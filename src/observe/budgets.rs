//! A budget as a line of the decisions, as an answer of the API and in words.

use serde::Serialize;

use super::unseen::seen;
use crate::cost::{
    Budget, BudgetOutlook, BudgetScope, Burn, BurnUrgency, Quantiles, Warning, WarningState,
};
use crate::units::{EventTime, NanoUsd, whole};

/// How a budget stands, and what is said of it.
#[derive(Debug, Clone, Serialize)]
pub struct BudgetLine {
    kind: &'static str,
    /// Null where no warning stands or ends.
    id: Option<String>,
    budget: String,
    scope: &'static str,
    state: WarningState,
    severity: Option<BurnUrgency>,
    burn: Vec<BurnReading>,
    spent_month_nano_usd: NanoUsd,
    budget_nano_usd: NanoUsd,
    projected_month_end: Quantiles,
    p_over: f64,
    exhausted_in_s: Option<ExhaustedIn>,
    decided_at: EventTime,
}

#[derive(Debug, Clone, Serialize)]
struct BurnReading {
    long_minutes: i64,
    short_minutes: i64,
    factor: f64,
    severity: BurnUrgency,
    long: f64,
    short: f64,
    spent_nano_usd: NanoUsd,
    firing: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct ExhaustedIn {
    p10: u64,
    /// Null where it is not within the month.
    p50: Option<u64>,
}

impl BudgetLine {
    /// `warning`: what is said, or what stands; none where all is well.
    pub fn new(
        budget: &Budget,
        outlook: &BudgetOutlook,
        warning: Option<Warning>,
        decided_at: EventTime,
    ) -> Self {
        let name = name(&budget.scope);
        Self {
            kind: "budget",
            id: warning.map(|warning| format!("budget:{name}@{}", warning.since)),
            budget: name,
            scope: match budget.scope {
                BudgetScope::Account(_) => "account",
                BudgetScope::Function(_) => "function",
            },
            state: warning.map_or(WarningState::Standing, |warning| warning.state),
            severity: warning.map(|warning| warning.urgency),
            burn: outlook.burns.iter().map(BurnReading::new).collect(),
            spent_month_nano_usd: outlook.spent,
            budget_nano_usd: outlook.monthly,
            projected_month_end: outlook.month_end,
            p_over: outlook.over,
            exhausted_in_s: outlook.exhausted_p10.map(|p10| ExhaustedIn {
                p10: whole(p10.as_secs_f64()),
                p50: outlook.exhausted_p50.map(|p50| whole(p50.as_secs_f64())),
            }),
            decided_at,
        }
    }

    /// What the budget is called.
    pub fn name(&self) -> &str {
        &self.budget
    }

    /// In plain words, without the time.
    pub fn words(&self) -> String {
        let budget = seen(&self.budget);
        let (spent, ceiling) = (self.spent_month_nano_usd, self.budget_nano_usd);
        let what = match self.state {
            WarningState::Opened | WarningState::Updated => {
                let label = match (self.state, self.severity) {
                    (WarningState::Updated, _) => "UPDATE",
                    (_, Some(BurnUrgency::Page)) => "PAGE  ",
                    _ => "NOTICE",
                };
                let firing = self.burn.iter().filter(|burn| burn.firing);
                let burns: Vec<String> = firing.map(BurnReading::words).collect();
                format!("{label} budget {budget}: burns {}", burns.join(", "))
            }
            WarningState::Closed => format!("OVER   budget {budget}: burns no faster than it may"),
            WarningState::Standing => format!("BUDGET {budget}: {spent} of {ceiling} spent"),
        };
        let Quantiles { p10, p50, p90 } = self.projected_month_end;
        let percent = self.p_over * 100.0;
        let end = format!("{p50} at the month's end ({p10} to {p90}), {percent:.0} % to be over");
        let exhausted = match self.exhausted_in_s {
            Some(ExhaustedIn { p50: Some(0), .. }) => "; used up".to_owned(),
            Some(ExhaustedIn { p10, p50: Some(p50) }) => {
                format!("; used up in {}, one time in ten in {}", span(p50), span(p10))
            }
            Some(ExhaustedIn { p10, p50: None }) => {
                format!("; one time in ten used up in {}", span(p10))
            }
            None => String::new(),
        };
        match self.state {
            WarningState::Standing => format!("{what}; {end}{exhausted}"),
            _ => {
                format!("{what}\n              money: {spent} of {ceiling} spent; {end}{exhausted}")
            }
        }
    }
}

impl BurnReading {
    fn new(burn: &Burn) -> Self {
        Self {
            long_minutes: burn.pair.long_minutes,
            short_minutes: burn.pair.short_minutes,
            factor: burn.pair.factor,
            severity: burn.pair.urgency,
            long: burn.long,
            short: burn.short,
            spent_nano_usd: burn.spent,
            firing: burn.firing,
        }
    }

    fn words(&self) -> String {
        let Self { long, short, factor, .. } = self;
        let [over, within] = [self.long_minutes, self.short_minutes].map(window);
        format!("{long:.1} times its share in {over} and {short:.1} in {within} (from {factor})")
    }
}

/// What a budget is called: the account or the functions.
pub(super) fn name(scope: &BudgetScope) -> String {
    match scope {
        BudgetScope::Account(account) => account.to_string(),
        BudgetScope::Function(pattern) => pattern.as_str().to_owned(),
    }
}

/// A burn window by its length, for people and as a label.
pub(super) fn window(minutes: i64) -> String {
    match minutes {
        ..60 => format!("{minutes}m"),
        60..1_440 => format!("{}h", minutes / 60),
        _ => format!("{}d", minutes / 1_440),
    }
}

fn span(seconds: u64) -> String {
    let seconds = seconds as f64;
    match seconds {
        ..5_400.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}
