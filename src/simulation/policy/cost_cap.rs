//! A hard monthly cap that meters by itself and at once, as cost limits built on telemetry
//! extensions do: everything is stopped the moment the budget is spent, until the month is over.

use super::{Claims, KillSwitch, Policy, Second, names};
use crate::simulation::plant::SharedPlant;
use crate::simulation::scenario::Scenario;
use crate::units::NanoUsd;

/// Stops everything when the budget is spent.
#[derive(Debug)]
pub struct CostCap {
    budget: Option<NanoUsd>,
    switch: KillSwitch,
}

impl CostCap {
    /// For the scenario's budget; without one it never acts.
    pub fn new(scenario: &Scenario) -> Self {
        Self { budget: scenario.money.monthly, switch: KillSwitch::new(names(scenario)) }
    }
}

impl Policy for CostCap {
    fn name(&self) -> &'static str {
        "monthly cost cap"
    }

    fn second(&mut self, second: &Second<'_>, plant: &SharedPlant) {
        let over = self.budget.is_some_and(|budget| second.spent >= budget);
        self.switch.second(second.in_window && over, plant, second.end);
    }

    fn watches_budget(&self) -> bool {
        true
    }

    fn claims(&self) -> Claims {
        Claims::at(self.switch.pulled_at)
    }
}
