//! What an account's bill stands at: Lambda's own part over its price steps and the free
//! allowance, and beside it what the invocations dragged along.

use std::collections::BTreeMap;

use crate::cost::prices::PriceBook;
use crate::cost::rates::{Component, FunctionRates};
use crate::cost::tiers::TierMeter;
use crate::cost::usage::Usage;
use crate::record::Architecture;
use crate::units::{AccountId, EventTime, NanoUsd};

/// Month-to-date bills of all accounts.
#[derive(Debug, Clone)]
pub struct AccountBook {
    prices: PriceBook,
    meter: TierMeter,
    drag: BTreeMap<AccountId, NanoUsd>,
}

impl AccountBook {
    /// Empty bills. `free_tier`: the monthly free allowance is credited.
    pub fn new(prices: PriceBook, free_tier: bool) -> Self {
        Self { prices, meter: TierMeter::new(free_tier, EventTime::MIN), drag: BTreeMap::new() }
    }

    /// Charges further usage at the tick `at`; a later month than the last starts anew.
    pub fn charge(
        &mut self,
        account: AccountId,
        (region, architecture): (&str, Architecture),
        rates: &FunctionRates,
        usage: &Usage,
        at: EventTime,
    ) {
        let month = self.meter.month();
        let metered = self.meter.add(account, region, architecture, usage, at);
        if self.meter.month() != month {
            self.drag.clear();
        }
        let lambda = [Component::LambdaRequests, Component::LambdaCompute];
        let beside = |(part, amount): (Component, NanoUsd)| {
            // What the meter has no room for still costs its list price.
            if metered && lambda.contains(&part) { NanoUsd::ZERO } else { amount }
        };
        let beside = rates.breakdown(usage).into_iter().map(beside).sum();
        *self.drag.entry(account).or_default() += beside;
    }

    /// What an account's bill stands at, at prices of `at`.
    pub fn spent(&self, account: AccountId, at: EventTime) -> NanoUsd {
        let drag = self.drag.get(&account).copied().unwrap_or_default();
        self.meter.account_cost(account, &self.prices, at).plus(drag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Drag;
    use crate::units::MbMillis;

    fn charged(free_tier: bool, months: &[&str]) -> NanoUsd {
        let prices = PriceBook::builtin();
        let mut book = AccountBook::new(prices.clone(), free_tier);
        let account = "111122223333".parse().unwrap();
        // 2 M requests of 1 s at 1 GB: $0.40 and $33.3334, and 400 bytes of logs each: $0.40.
        let usage =
            Usage { requests: 2_000_000, mb_ms: MbMillis(2_048_000_000_000), ..Usage::ZERO };
        let mut now = EventTime::MIN;
        for month in months {
            now = month.parse().unwrap();
            let rates = prices.rates("us-east-1", Architecture::X86_64, now);
            let rates = FunctionRates::new(&rates, MbMillis(0), &Drag::default(), None);
            book.charge(account, ("us-east-1", Architecture::X86_64), &rates, &usage, now);
        }
        book.spent(account, now)
    }

    #[test]
    fn a_bill_has_lambdas_part_the_rest_and_the_free_allowance() {
        let january = "2026-01-10T00:00:00Z";
        assert_eq!(charged(false, &[january]), NanoUsd(34_133_400_000));
        // A million requests and 400,000 GB-s are free: $0.20 and $6.66668.
        assert_eq!(charged(true, &[january]), NanoUsd(27_266_720_000));
        assert_eq!(charged(false, &[january, january]), NanoUsd(68_266_800_000));
    }

    #[test]
    fn a_new_month_starts_anew() {
        let months = ["2026-01-31T23:59:00Z", "2026-02-01T00:00:00Z"];
        assert_eq!(charged(false, &months), NanoUsd(34_133_400_000));
    }
}
