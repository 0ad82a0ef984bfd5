//! What it costs to be told: the log text that carried the records, and the stream that brought it.
//!
//! An estimate from what was read, at list prices; each assumption is on the dear side or named:
//! - Log text is priced as ingested into CloudWatch Logs, at the first price step and without the
//!   service's own bytes per event. Only lines that carried records count. It is not additional
//!   to what the functions cost: their own drag has the lines that the platform writes.
//! - A stream is taken to be there for this reader alone. Its hours are counted while it is read,
//!   for the shards that are being read: a parent stands for its children until it has ended.
//! - A record is as large as its data, without its partition key.
//! - On demand, enhanced fan-out is priced as other reading, which understates it.

use serde::Serialize;

use crate::cost::prices::PriceBook;
use crate::cost::rates::round_half_up;
use crate::keep::{Bytes, Keep, Unfit};
use crate::units::{EventTime, NanoUsd};

/// A PUT payload unit of a provisioned stream, in bytes (Amazon Kinesis Data Streams pricing).
const PUT_UNIT_BYTES: u64 = 25 << 10;
/// What the size of a record is rounded up to on demand (the same page).
const IN_UNIT_BYTES: u64 = 1 << 10;
const MS_PER_HOUR: u128 = 3_600_000;

/// What was used of a Kinesis stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamUse {
    put_units: u64,
    in_bytes: u64,
    out_bytes: u64,
    shard_ms: u64,
    stream_ms: u64,
}

impl StreamUse {
    /// A record of so many bytes was read.
    pub fn record(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.put_units += bytes.div_ceil(PUT_UNIT_BYTES).max(1);
        self.in_bytes += bytes.div_ceil(IN_UNIT_BYTES).max(1) * IN_UNIT_BYTES;
        self.out_bytes += bytes;
    }

    /// So many shards were read for so long.
    pub fn hold(&mut self, shards: usize, ms: u64) {
        self.shard_ms = self.shard_ms.saturating_add(ms.saturating_mul(shards as u64));
        let there = if shards > 0 { ms } else { 0 };
        self.stream_ms = self.stream_ms.saturating_add(there);
    }

    fn since(&self, last: &Self) -> Self {
        Self {
            put_units: self.put_units.saturating_sub(last.put_units),
            in_bytes: self.in_bytes.saturating_sub(last.in_bytes),
            out_bytes: self.out_bytes.saturating_sub(last.out_bytes),
            shard_ms: self.shard_ms.saturating_sub(last.shard_ms),
            stream_ms: self.stream_ms.saturating_sub(last.stream_ms),
        }
    }
}

/// How a stream is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// By the shard and hour.
    Provisioned,
    /// By what goes in and out.
    OnDemand,
}

/// The terms of the stream that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTerms {
    /// Where it is.
    pub region: String,
    /// How it is paid for.
    pub capacity: Capacity,
    /// Whether it is read by enhanced fan-out.
    pub fan_out: bool,
}

/// What it has cost to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct FootprintBill {
    /// Ingestion of the log text that carried records.
    pub logs: NanoUsd,
    /// The stream.
    pub stream: NanoUsd,
}

/// Prices what was read, each part at the prices of the time when it was charged.
#[derive(Debug, Clone)]
pub struct Footprint {
    prices: PriceBook,
    region: String,
    terms: StreamTerms,
    log_bytes: u64,
    used: StreamUse,
    /// Femto-dollars.
    logs: u128,
    /// Femto-dollars × milliseconds of an hour, so that nothing is rounded yet.
    stream: u128,
}

impl Footprint {
    /// Nothing so far; `region` is that of the log groups.
    pub fn new(prices: PriceBook, region: String, terms: StreamTerms) -> Self {
        let used = StreamUse::default();
        Self { prices, region, terms, log_bytes: 0, used, logs: 0, stream: 0 }
    }

    /// Writes down what was charged.
    pub fn keep(&self, out: &mut Vec<u8>) {
        let Self { prices: _, region: _, terms: _, log_bytes, used: _, logs, stream } = self;
        (*log_bytes, *logs, *stream).keep(out);
    }

    /// Goes on from there. What is used of a stream is counted anew by every process.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        (self.log_bytes, self.logs, self.stream) = Keep::regain(from)?;
        Ok(())
    }

    /// Charges what was used since the last time; both are sums since the start.
    pub fn charge(&mut self, log_bytes: u64, used: StreamUse, at: EventTime) {
        let bytes = log_bytes.saturating_sub(self.log_bytes);
        if bytes > 0 {
            let price = self.prices.log_byte(&self.region, at);
            self.logs = self.logs.saturating_add(u128::from(bytes) * u128::from(price));
        }
        let new = used.since(&self.used);
        if new != StreamUse::default() {
            self.stream = self.stream.saturating_add(self.price(&new, at));
        }
        (self.log_bytes, self.used) = (log_bytes, used);
    }

    /// What was charged, each part rounded once, half up.
    pub fn bill(&self) -> FootprintBill {
        FootprintBill {
            logs: round_half_up(self.logs),
            stream: round_half_up(self.stream / MS_PER_HOUR),
        }
    }

    fn price(&self, used: &StreamUse, at: EventTime) -> u128 {
        let rates = self.prices.stream_rates(&self.terms.region, at);
        let times = |count: u64, price: u64| u128::from(count) * u128::from(price);
        let (hours, pieces) = match self.terms.capacity {
            Capacity::Provisioned => {
                let (mut shard_hour, mut out_byte) = (rates.shard_hour, 0);
                if self.terms.fan_out {
                    shard_hour += rates.fan_out_shard_hour;
                    out_byte = rates.fan_out_byte;
                }
                let put = times(used.put_units, rates.put_unit);
                (times(used.shard_ms, shard_hour), put + times(used.out_bytes, out_byte))
            }
            Capacity::OnDemand => {
                let (into, out) = (used.in_bytes, used.out_bytes);
                let moved = times(into, rates.in_byte) + times(out, rates.out_byte);
                (times(used.stream_ms, rates.stream_hour), moved)
            }
        };
        hours.saturating_add(pieces.saturating_mul(MS_PER_HOUR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> EventTime {
        text.parse().unwrap()
    }

    fn terms(capacity: Capacity, fan_out: bool) -> StreamTerms {
        StreamTerms { region: "us-east-1".to_owned(), capacity, fan_out }
    }

    /// Two shards for an hour and a million records of 30,000 bytes.
    fn an_hour() -> StreamUse {
        let mut used = StreamUse::default();
        used.hold(2, 3_600_000);
        (0..1_000_000).for_each(|_| used.record(30_000));
        used
    }

    fn stream(terms: StreamTerms) -> f64 {
        let mut footprint = Footprint::new(PriceBook::builtin(), "us-east-1".to_owned(), terms);
        footprint.charge(0, an_hour(), at("2026-01-05T00:00:00Z"));
        assert_eq!(footprint.bill().logs, NanoUsd::ZERO);
        footprint.bill().stream.usd()
    }

    #[test]
    fn a_stream_is_priced_by_its_terms() {
        for (capacity, fan_out, usd) in [
            // 2 × $0.015, and 2 million PUT units at $0.014.
            (Capacity::Provisioned, false, 0.03 + 0.028),
            // The same hours again, and 30 GB at $0.013.
            (Capacity::Provisioned, true, 0.03 + 0.028 + 0.03 + 0.39),
            // $0.04, 30.72 GB in at $0.08 and 30 GB out at $0.04.
            (Capacity::OnDemand, false, 0.04 + 2.4576 + 1.2),
            (Capacity::OnDemand, true, 0.04 + 2.4576 + 1.2),
        ] {
            let found = stream(terms(capacity, fan_out));
            assert!((found - usd).abs() < 1e-9, "{capacity:?} {fan_out}: {found}");
        }
    }

    #[test]
    fn log_text_is_priced_by_its_region_and_only_once() {
        for (region, nano) in [("us-east-1", 500), ("ap-northeast-1", 760), ("xx-lunar-1", 760)] {
            let terms = terms(Capacity::Provisioned, false);
            let mut footprint = Footprint::new(PriceBook::builtin(), region.to_owned(), terms);
            for sum in [400, 400, 1_000] {
                footprint.charge(sum, StreamUse::default(), at("2026-01-05T00:00:00Z"));
            }
            let bill = FootprintBill { logs: NanoUsd(nano), stream: NanoUsd::ZERO };
            assert_eq!(footprint.bill(), bill, "{region}");
        }
    }

    #[test]
    fn what_was_charged_keeps_the_price_of_its_day() {
        let prices = PriceBook::builtin().with_overrides(
            "[[price]]\nitem = \"logs_gb\"\nregions = [\"us-east-1\"]\nusd = 1\n\
             from = 2026-03-01\n",
        );
        let terms = terms(Capacity::Provisioned, false);
        let mut footprint = Footprint::new(prices.unwrap(), "us-east-1".to_owned(), terms);
        footprint.charge(1_000, StreamUse::default(), at("2026-02-28T00:00:00Z"));
        footprint.charge(2_000, StreamUse::default(), at("2026-03-01T00:00:00Z"));
        assert_eq!(footprint.bill().logs, NanoUsd(1_500));
    }

    #[test]
    fn sizes_are_rounded_up_as_the_service_does() {
        for (bytes, put_units, in_bytes) in [
            (0, 1, 1_024),
            (1, 1, 1_024),
            (1_025, 1, 2_048),
            (25_600, 1, 25_600),
            (25_601, 2, 26_624),
            (1 << 20, 41, 1 << 20),
        ] {
            let mut used = StreamUse::default();
            used.record(bytes);
            let found = (used.put_units, used.in_bytes, used.out_bytes);
            assert_eq!(found, (put_units, in_bytes, bytes as u64));
        }
    }

    #[test]
    fn the_longest_run_of_the_largest_stream_does_not_overflow() {
        let most = u64::MAX;
        let used = StreamUse {
            put_units: most,
            in_bytes: most,
            out_bytes: most,
            shard_ms: most,
            stream_ms: most,
        };
        for capacity in [Capacity::Provisioned, Capacity::OnDemand] {
            let terms = terms(capacity, true);
            let mut footprint = Footprint::new(PriceBook::builtin(), "us-east-1".to_owned(), terms);
            footprint.charge(most, used, EventTime::MIN);
            assert!(footprint.bill().stream > NanoUsd::ZERO);
        }
    }
}
