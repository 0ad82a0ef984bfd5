//! How much may be spent in a month, and on what.

use serde::{Deserialize, Serialize};

use crate::cost::pattern::Pattern;
use crate::record::FunctionRef;
use crate::units::{AccountId, NanoUsd};

/// What a budget covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// One account.
    Account(AccountId),
    /// All functions that a pattern names, together.
    Function(Pattern),
}

/// A ceiling on the spend of a calendar month, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Budget {
    /// What it covers.
    pub scope: BudgetScope,
    /// The ceiling.
    pub monthly: NanoUsd,
}

impl Budget {
    /// Whether spend of `function` counts against this budget.
    pub fn covers(&self, function: &FunctionRef<'_>) -> bool {
        match &self.scope {
            BudgetScope::Account(account) => *account == function.account,
            BudgetScope::Function(pattern) => pattern.matches(function),
        }
    }

    /// What is left of the month's money; never negative.
    pub fn remaining(&self, spent: NanoUsd) -> NanoUsd {
        self.monthly.minus(spent).max(NanoUsd::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_covers_its_scope_and_never_owes() {
        let mine: AccountId = "111122223333".parse().unwrap();
        let function = FunctionRef::try_new(mine, "eu-west-1", "pay-card").unwrap();
        let monthly = NanoUsd(100);
        for (scope, expected) in [
            (BudgetScope::Account(mine), true),
            (BudgetScope::Account("1".parse().unwrap()), false),
            (BudgetScope::Function(Pattern::new("pay-*")), true),
            (BudgetScope::Function(Pattern::new("mail")), false),
        ] {
            assert_eq!(Budget { scope, monthly }.covers(&function), expected);
        }
        let budget = Budget { scope: BudgetScope::Account(mine), monthly };
        assert_eq!(budget.remaining(NanoUsd(30)), NanoUsd(70));
        assert_eq!(budget.remaining(NanoUsd(130)), NanoUsd::ZERO);
    }
}
