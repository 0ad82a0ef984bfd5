//! Usage since the first of the month, which decides the price step and the free allowance.
//!
//! The platform steps the price by usage per architecture and region over the whole billing
//! organisation (AWS Lambda Pricing, "AWS Lambda Pricing tiers"). Only the accounts that report
//! here are seen, so the step may be too early and the price too high, never too low.

use std::collections::BTreeMap;

use crate::cost::month::Month;
use crate::cost::prices::{MB_MS_PER_GB_SECOND, PriceBook, Rates};
use crate::cost::rates::round_half_up;
use crate::cost::usage::Usage;
use crate::keep::{Bytes, Keep, Unfit, ensure, kept};
use crate::record::Architecture;
use crate::units::{AccountId, EventTime, MbMillis, NanoUsd};

/// The most accounts × regions × architectures that are metered. Account and region come from
/// records; what does not fit is priced at the first, dearest step.
pub const METERS_MAX: usize = 16_384;

/// Requests a month that are free in every account (AWS Lambda Pricing, "Free tier").
pub const FREE_REQUESTS: u64 = 1_000_000;

/// GB-seconds a month that are free in every account, both architectures together, as MB·ms.
pub const FREE_MB_MS: MbMillis = MbMillis(400_000 * MB_MS_PER_GB_SECOND);

/// Month-to-date usage by account, region and architecture.
#[derive(Debug, Clone)]
pub struct TierMeter {
    month: Month,
    free_tier: bool,
    accounts: BTreeMap<AccountId, BTreeMap<Box<str>, [Reading; 2]>>,
    regions: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    requests: u64,
    mb_ms: MbMillis,
}

impl TierMeter {
    /// Empty meters for the month of `at`.
    pub fn new(free_tier: bool, at: EventTime) -> Self {
        TierMeter { month: Month::of(at), free_tier, accounts: BTreeMap::new(), regions: 0 }
    }

    /// Writes the meters down.
    pub fn keep(&self, out: &mut Vec<u8>) {
        let Self { month, free_tier: _, accounts, regions: _ } = self;
        month.keep(out);
        accounts.keep(out);
    }

    /// Goes on from there.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.month = Keep::regain(from)?;
        self.accounts = Keep::regain(from)?;
        self.regions = self.accounts.values().map(BTreeMap::len).sum();
        ensure(self.regions <= METERS_MAX)
    }

    /// The month that is being metered.
    pub const fn month(&self) -> Month {
        self.month
    }

    /// Starts anew when `now` lies in a later month. Pass the time of the tick, which a single
    /// record cannot move.
    pub fn advance(&mut self, now: EventTime) {
        let month = Month::of(now);
        if month > self.month {
            self.month = month;
            self.accounts.clear();
            self.regions = 0;
        }
    }

    /// Counts usage of the tick at `at`, which first rolls the month over where it must. Usage of
    /// an earlier month, or of an account or region for which there is no room, is not metered:
    /// `false`.
    pub fn add(
        &mut self,
        account: AccountId,
        region: &str,
        architecture: Architecture,
        usage: &Usage,
        at: EventTime,
    ) -> bool {
        self.advance(at);
        if Month::of(at) < self.month || !self.make_room(account, region) {
            return false;
        }
        let regions = self.accounts.entry(account).or_default();
        if !regions.contains_key(region) {
            regions.insert(region.into(), [Reading::default(); 2]);
        }
        if let Some(readings) = regions.get_mut(region) {
            let reading = side_mut(readings, architecture);
            reading.requests = reading.requests.saturating_add(usage.requests);
            reading.mb_ms = reading.mb_ms.plus(usage.mb_ms);
        }
        true
    }

    /// Compute usage so far this month: what picks the price step of a decision.
    pub fn month_to_date(
        &self,
        account: AccountId,
        region: &str,
        architecture: Architecture,
    ) -> MbMillis {
        self.reading(account, region, architecture).mb_ms
    }

    /// What further usage adds to Lambda's own bill, over all price steps that it crosses; without
    /// the free allowance.
    pub fn added_cost(
        &self,
        account: AccountId,
        region: &str,
        architecture: Architecture,
        rates: &Rates,
        usage: &Usage,
    ) -> NanoUsd {
        let from = self.month_to_date(account, region, architecture);
        lambda_cost(rates, usage.requests, from, from.plus(usage.mb_ms))
    }

    /// Lambda's own bill of an account for the month so far, at prices of `at`. The free allowance
    /// is credited at the account's lowest prices, because the platform does not say where it
    /// credits it.
    pub fn account_cost(&self, account: AccountId, book: &PriceBook, at: EventTime) -> NanoUsd {
        self.bill(self.lines(account, book, at))
    }

    /// The same for a month in which the account comes to have used `whole` (requests and compute;
    /// never less than so far), spread over regions and architectures as its usage so far.
    pub fn projected_cost(
        &self,
        account: AccountId,
        book: &PriceBook,
        at: EventTime,
        whole: &Usage,
    ) -> NanoUsd {
        let mut lines = self.lines(account, book, at);
        let so_far = self.account_usage(account);
        for (_, reading) in &mut lines {
            reading.requests = scaled(reading.requests, whole.requests, so_far.requests);
            reading.mb_ms = MbMillis(scaled(reading.mb_ms.0, whole.mb_ms.0, so_far.mb_ms.0));
        }
        self.bill(lines)
    }

    /// Requests and compute of an account for the month so far.
    pub fn account_usage(&self, account: AccountId) -> Usage {
        let mut sum = Usage::ZERO;
        for reading in self.accounts.get(&account).into_iter().flat_map(|it| it.values().flatten())
        {
            sum += Usage { requests: reading.requests, mb_ms: reading.mb_ms, ..Usage::ZERO };
        }
        sum
    }

    fn lines(&self, account: AccountId, book: &PriceBook, at: EventTime) -> Vec<(Rates, Reading)> {
        let mut lines = Vec::new();
        for (region, readings) in self.accounts.get(&account).into_iter().flatten() {
            for architecture in [Architecture::X86_64, Architecture::Arm64] {
                let reading = side(readings, architecture);
                lines.push((book.rates(region, architecture, at), reading));
            }
        }
        lines
    }

    fn bill(&self, mut lines: Vec<(Rates, Reading)>) -> NanoUsd {
        let (mut free_requests, mut free_mb_ms) =
            if self.free_tier { (FREE_REQUESTS, FREE_MB_MS.0) } else { (0, 0) };
        lines.sort_by_key(|(rates, _)| rates.request);
        for (_, reading) in &mut lines {
            let credit = free_requests.min(reading.requests);
            free_requests -= credit;
            reading.requests -= credit;
        }
        lines.sort_by_key(|(rates, _)| rates.compute.first());
        lines
            .iter()
            .map(|(rates, reading)| {
                let credit = free_mb_ms.min(reading.mb_ms.0);
                free_mb_ms -= credit;
                lambda_cost(rates, reading.requests, MbMillis(credit), reading.mb_ms)
            })
            .sum()
    }

    fn reading(&self, account: AccountId, region: &str, architecture: Architecture) -> Reading {
        self.accounts
            .get(&account)
            .and_then(|regions| regions.get(region))
            .map_or_else(Reading::default, |readings| side(readings, architecture))
    }

    fn make_room(&mut self, account: AccountId, region: &str) -> bool {
        let known = self.accounts.get(&account).is_some_and(|it| it.contains_key(region));
        if !known {
            if self.regions >= METERS_MAX / 2 {
                return false;
            }
            self.regions += 1;
        }
        true
    }
}

/// `part` of a sum that grows from `from` to `to`, rounded up; it does not shrink, and a part of
/// nothing does not grow.
pub(super) fn scaled(part: u64, to: u64, from: u64) -> u64 {
    if from == 0 {
        return part;
    }
    let grown = u128::from(part) * u128::from(to.max(from));
    u64::try_from(grown.div_ceil(u128::from(from))).unwrap_or(u64::MAX)
}

fn lambda_cost(rates: &Rates, requests: u64, from: MbMillis, to: MbMillis) -> NanoUsd {
    let compute = rates.compute.between(from, to) / u128::from(MB_MS_PER_GB_SECOND);
    round_half_up(compute.saturating_add(u128::from(requests) * u128::from(rates.request)))
}

fn side(readings: &[Reading; 2], architecture: Architecture) -> Reading {
    let [x86, arm] = readings;
    match architecture {
        Architecture::X86_64 => *x86,
        Architecture::Arm64 => *arm,
    }
}

fn side_mut(readings: &mut [Reading; 2], architecture: Architecture) -> &mut Reading {
    let [x86, arm] = readings;
    match architecture {
        Architecture::X86_64 => x86,
        Architecture::Arm64 => arm,
    }
}

kept!(Reading { requests, mb_ms });
