//! Prices, usage to money, projections and budgets.
