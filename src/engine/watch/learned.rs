//! A watch that goes on from what another has learned.

use super::{Calling, Watch, minute_of};
use crate::engine::baseline::Baseline;
use crate::engine::detect::retry::RetryChannel;
use crate::engine::detect::size::SizeChannel;
use crate::engine::function::Surroundings;
use crate::engine::learned::Past;
use crate::engine::ledger::Ledger;

impl Watch {
    /// Just begun, it goes on from what was learned before the engine began.
    pub fn go_on(&mut self, past: Past, calling: &Calling<'_>, around: &Surroundings<'_>) {
        let closed = i64::from(self.closed);
        let (began, until) = (around.began.min(closed), i64::from(past.until));
        let whole = |seconds: i64| u32::try_from(seconds.max(0)).unwrap_or(0);
        let unseen = whole(began - until) / 60;
        let silent = whole(closed - began.max(until));
        self.has_past = true;
        self.baseline = past.baseline;
        self.baseline.go_on(minute_of(closed), unseen, silent / 60);
        (self.size, self.retry, self.ledger) = (past.size, past.retry, past.ledger);
        if let Some(ledger) = &mut self.ledger {
            let hour = closed.div_euclid(3_600);
            ledger.go_on(hour, i64::from(silent) / 3_600, calling);
        }
        self.retune(calling, around);
    }

    /// What was learned, without what is going on.
    pub fn into_learned(self) -> (Baseline, SizeChannel, RetryChannel, Option<Box<Ledger>>) {
        let mut baseline = self.baseline;
        baseline.discard();
        let ledger = self.ledger.map(|ledger| Box::new(ledger.learned()));
        (baseline, self.size.learned(), self.retry.learned(), ledger)
    }
}
