//! The wallets of all budgets: fed once a minute, heard, and shown.

use crate::cost::{Budget, BudgetOutlook, Wallet};
use crate::keep::{Bytes, Keep, Unfit, keep_count};
use crate::observe::budgets::BudgetLine;
use crate::units::{EventTime, NanoUsd};

use super::recorder::Recorder;

/// A budget's outlook is worked out anew once in this many minutes; in each a part of the budgets
/// has its turn, because a projection costs a hundred times as much as a charge.
const REFRESH_MINUTES: i64 = 5;

/// One wallet for each budget, in the order of the configuration.
#[derive(Debug)]
pub struct Wallets {
    wallets: Vec<Wallet>,
    outlooks: Vec<Option<BudgetOutlook>>,
}

impl Wallets {
    /// Wallets that have seen nothing.
    pub fn new(budgets: &[Budget]) -> Self {
        let wallets = budgets.iter().map(|budget| Wallet::new(budget.monthly)).collect();
        Self { wallets, outlooks: vec![None; budgets.len()] }
    }

    /// The outlooks that were worked out last; none before there was somebody to see them.
    pub fn outlooks(&self) -> &[Option<BudgetOutlook>] {
        &self.outlooks
    }

    /// At the full minute `now` the budgets stand at `spent`.
    pub fn charge(
        &mut self,
        now: EventTime,
        budgets: &[Budget],
        spent: &[NanoUsd],
        recorder: &mut Recorder,
    ) {
        let wallets = self.wallets.iter_mut().zip(&mut self.outlooks);
        let budgets = budgets.iter().zip(spent).zip(wallets);
        for (turn, ((budget, &spent), (wallet, shown))) in (now.minute()..).zip(budgets) {
            let warning = wallet.charge(now, spent);
            let due = shown.is_none() || turn.rem_euclid(REFRESH_MINUTES) == 0;
            if warning.is_none() && !(due && recorder.is_watched()) {
                continue;
            }
            let outlook = wallet.outlook(now);
            let line = BudgetLine::new(budget, &outlook, warning, now);
            if warning.is_some() {
                recorder.budget(&line, now);
            }
            recorder.show_budget(&BudgetLine::new(budget, &outlook, wallet.standing(), now));
            *shown = Some(outlook);
        }
    }

    /// Writes them down, each with whose it is and what was spent of it.
    pub fn keep(&self, budgets: &[Budget], spent: &[NanoUsd], out: &mut Vec<u8>) {
        keep_count(self.wallets.len(), out);
        for ((budget, &spent), wallet) in budgets.iter().zip(spent).zip(&self.wallets) {
            whose(budget).keep(out);
            spent.keep(out);
            wallet.keep(out);
        }
    }

    /// Goes on with those that there still are.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(
        &mut self,
        budgets: &[Budget],
        spent: &mut [NanoUsd],
        from: &mut Bytes<'_>,
    ) -> Result<(), Unfit> {
        let mut known = Vec::<(String, NanoUsd, Wallet)>::regain(from)?;
        for ((budget, spent), wallet) in budgets.iter().zip(spent).zip(&mut self.wallets) {
            let name = whose(budget);
            if let Some(place) = known.iter().position(|(other, ..)| *other == name) {
                let (_, amount, other) = known.remove(place);
                *spent = amount;
                wallet.regain(other);
            }
        }
        Ok(())
    }

    /// The input has ended: says how every budget stands.
    pub fn finish(&mut self, now: EventTime, budgets: &[Budget], recorder: &mut Recorder) {
        for (budget, wallet) in budgets.iter().zip(&self.wallets) {
            let (outlook, standing) = (wallet.outlook(now), wallet.standing());
            recorder.budget(&BudgetLine::new(budget, &outlook, standing, now), now);
        }
    }
}

/// A budget's scope in words, by which it is known again.
fn whose(budget: &Budget) -> String {
    serde_json::to_string(&budget.scope).unwrap_or_default()
}
