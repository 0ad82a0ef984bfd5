//! The cloud's own budget with an action behind it: billing data are refreshed every eight to
//! twelve hours (AWS Cost Management user guide, "Best practices for AWS Budgets"), and then
//! everything is stopped, because the bill does not say which function it was.

use std::collections::VecDeque;

use super::{Claims, KillSwitch, Policy, Second, names};
use crate::simulation::plant::SharedPlant;
use crate::simulation::scenario::Scenario;
use crate::units::NanoUsd;

/// The bill is this old when it is seen: the better end of what is documented.
const LATE_MINUTES: usize = 8 * 60;

/// Stops everything when the bill of eight hours ago is over the budget.
#[derive(Debug)]
pub struct BudgetAlarm {
    budget: Option<NanoUsd>,
    /// What the month had cost before the past: no bill is less.
    before: NanoUsd,
    bills: VecDeque<NanoUsd>,
    minute: i64,
    switch: KillSwitch,
}

impl BudgetAlarm {
    /// For the scenario's budget; without one it never acts.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            budget: scenario.money.monthly,
            before: scenario.money.spent,
            bills: VecDeque::new(),
            minute: i64::MIN,
            switch: KillSwitch::new(names(scenario)),
        }
    }
}

impl Policy for BudgetAlarm {
    fn name(&self) -> &'static str {
        "budget 8 h late"
    }

    fn second(&mut self, second: &Second<'_>, plant: &SharedPlant) {
        if second.end.minute() != self.minute {
            self.minute = second.end.minute();
            self.bills.push_back(second.spent);
        }
        let mut seen = self.before;
        if self.bills.len() > LATE_MINUTES {
            self.bills.drain(..self.bills.len() - LATE_MINUTES - 1);
            seen = self.bills.front().copied().unwrap_or_default();
        }
        let over = self.budget.is_some_and(|budget| seen >= budget);
        self.switch.second(second.in_window && over, plant, second.end);
    }

    fn watches_budget(&self) -> bool {
        true
    }

    fn claims(&self) -> Claims {
        Claims::at(self.switch.pulled_at)
    }
}
