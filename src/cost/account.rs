//! What an account's bill stands at: Lambda's own part over its price steps and the free
//! allowance, and beside it what the invocations dragged along.

use std::collections::BTreeMap;

use crate::cost::prices::PriceBook;
use crate::cost::projection::Quantiles;
use crate::cost::rates::{Component, FunctionRates};
use crate::cost::tiers::{TierMeter, scaled};
use crate::cost::usage::Usage;
use crate::keep::{Bytes, Keep, Unfit};
use crate::record::Architecture;
use crate::units::{AccountId, EventTime, NanoUsd};

/// What an account will have used in the whole month, month to date included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageQuantiles {
    /// One time in ten it stays below.
    pub p10: Usage,
    /// The median.
    pub p50: Usage,
    /// One time in ten it goes above.
    pub p90: Usage,
}

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

    /// Writes the bills down.
    pub fn keep(&self, out: &mut Vec<u8>) {
        let Self { prices: _, meter, drag } = self;
        meter.keep(out);
        drag.keep(out);
    }

    /// Goes on from there.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.meter.regain(from)?;
        self.drag = Keep::regain(from)?;
        Ok(())
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

    /// What an account has used this month; [`Usage::times`] of it is a projection.
    pub fn used(&self, account: AccountId) -> Usage {
        self.meter.account_usage(account)
    }

    /// What the bill will stand at when the month ends, if the account comes to have used
    /// `projected`: over all price steps and the free allowance, at prices of `at`, the mix of
    /// regions and architectures staying as it is. What goes beside Lambda grows with the requests.
    /// Never less than the bill so far.
    pub fn month_end(
        &self,
        account: AccountId,
        at: EventTime,
        projected: &UsageQuantiles,
    ) -> Quantiles {
        let drag = self.drag.get(&account).copied().unwrap_or_default();
        let drag = u64::try_from(drag.0).unwrap_or(0);
        let so_far = self.used(account);
        let bill = |whole: &Usage| {
            let lambda = self.meter.projected_cost(account, &self.prices, at, whole);
            let drag = scaled(drag, whole.requests, so_far.requests);
            lambda.plus(NanoUsd(i64::try_from(drag).unwrap_or(i64::MAX)))
        };
        let p10 = bill(&projected.p10);
        let p50 = bill(&projected.p50).max(p10);
        Quantiles { p10, p50, p90: bill(&projected.p90).max(p50) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Drag;
    use crate::units::MbMillis;

    fn charged(free_tier: bool, months: &[&str]) -> NanoUsd {
        let (book, account, now) = book(free_tier, months);
        book.spent(account, now)
    }

    fn book(free_tier: bool, months: &[&str]) -> (AccountBook, AccountId, EventTime) {
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
        (book, account, now)
    }

    #[test]
    fn a_month_end_is_priced_over_its_steps_and_the_free_allowance() {
        for free_tier in [false, true] {
            let (book, account, now) = book(free_tier, &["2026-01-10T00:00:00Z"]);
            let used = book.used(account);
            let projected =
                UsageQuantiles { p10: used, p50: used.times(2.0), p90: used.times(10_000.0) };
            let end = book.month_end(account, now, &projected);
            assert_eq!(end.p10, book.spent(account, now));
            // As if the same usage had been charged twice.
            let twice = charged(free_tier, &["2026-01-10T00:00:00Z"; 2]);
            assert_eq!(end.p50, twice);
            // 20 billion GB-s: 6 at the first price, 9 at 10 % less, 5 at 20 % less.
            let compute = 16_666.7 * (6.0 + 9.0 * 0.9 + 5.0 * 0.8);
            let flat = 8_000.0;
            let free = if free_tier { 6.86668 } else { 0.0 };
            let expected = compute + flat - free;
            assert!((end.p90.usd() / expected - 1.0).abs() < 1e-4, "{} {expected}", end.p90);
        }
    }

    #[test]
    fn an_account_that_used_nothing_or_less_than_so_far_keeps_its_bill() {
        let (book, account, now) = book(false, &["2026-01-10T00:00:00Z"]);
        let less = UsageQuantiles::default();
        assert_eq!(book.month_end(account, now, &less).p90, book.spent(account, now));
        let nobody = "1".parse().unwrap();
        let much = Usage { requests: u64::MAX, mb_ms: MbMillis(u64::MAX), ..Usage::ZERO };
        let much = UsageQuantiles { p10: much, p50: much, p90: much };
        assert_eq!(book.month_end(nobody, now, &much), Quantiles::default());
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
