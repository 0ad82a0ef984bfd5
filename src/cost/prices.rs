//! What things cost: list prices by region and day, with an operator's own prices on top.
//!
//! The built-in table is `data/prices.toml`; each row there names its source and says whether it
//! was read or assumed. A region that the table does not know is priced item by item at the
//! dearest known region, because an unknown price must not hide spend; [`Rates::known`] says so.

use std::collections::BTreeMap;

use crate::cost::price_file::{self, EVERY_REGION, PriceFile, PriceProblem};
use crate::record::Architecture;
use crate::units::{EventTime, MbMillis};

/// MB·ms in one GB-second: 1,024 MB × 1,000 ms.
pub(super) const MB_MS_PER_GB_SECOND: u64 = 1_024_000;

/// The most price steps of one item. The platform has three.
pub(super) const TIERS_MAX: usize = 8;

/// The most override files that can lie on top of each other.
const LAYERS_MAX: u8 = 16;

const BUILT_IN: &str = include_str!("data/prices.toml");

/// Everything that has a price, with the unit in which the price file states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Requests,
    X86,
    Arm,
    Ephemeral,
    HttpApi,
    RestApi,
    Logs,
    Egress,
    KinesisShard,
    KinesisPut,
    KinesisFanOutShard,
    KinesisFanOut,
    KinesisStream,
    KinesisIn,
    KinesisOut,
}

impl Item {
    pub(super) const ALL: [Item; 15] = [
        Item::Requests,
        Item::X86,
        Item::Arm,
        Item::Ephemeral,
        Item::HttpApi,
        Item::RestApi,
        Item::Logs,
        Item::Egress,
        Item::KinesisShard,
        Item::KinesisPut,
        Item::KinesisFanOutShard,
        Item::KinesisFanOut,
        Item::KinesisStream,
        Item::KinesisIn,
        Item::KinesisOut,
    ];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Item::Requests => "requests_million",
            Item::X86 => "x86_64_gb_second",
            Item::Arm => "arm64_gb_second",
            Item::Ephemeral => "ephemeral_gb_second",
            Item::HttpApi => "http_api_million",
            Item::RestApi => "rest_api_million",
            Item::Logs => "logs_gb",
            Item::Egress => "egress_gb",
            Item::KinesisShard => "kinesis_shard_hour",
            Item::KinesisPut => "kinesis_put_million",
            Item::KinesisFanOutShard => "kinesis_fan_out_shard_hour",
            Item::KinesisFanOut => "kinesis_fan_out_gb",
            Item::KinesisStream => "kinesis_on_demand_hour",
            Item::KinesisIn => "kinesis_on_demand_in_gb",
            Item::KinesisOut => "kinesis_on_demand_out_gb",
        }
    }

    pub(super) fn from_key(key: &str) -> Option<Self> {
        Item::ALL.into_iter().find(|item| item.key() == key)
    }

    pub(super) const fn has_tiers(self) -> bool {
        matches!(self, Item::X86 | Item::Arm)
    }

    /// The largest price that is accepted, in dollars: far above any list price and low enough
    /// that the price of every possible count fits 128 bits.
    pub(super) const fn usd_max(self) -> f64 {
        match self {
            Item::X86 | Item::Arm | Item::Ephemeral => 1.0,
            _ => 1_000.0,
        }
    }

    /// Femto-dollars per request, GB-second, hour or byte, rounded; `None` outside `0..=usd_max`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked in the line above"
    )]
    pub(super) fn femto_usd(self, usd: f64) -> Option<u64> {
        let scale = match self {
            Item::X86 | Item::Arm | Item::Ephemeral => 1e15,
            Item::KinesisShard | Item::KinesisFanOutShard | Item::KinesisStream => 1e15,
            Item::Requests | Item::HttpApi | Item::RestApi | Item::KinesisPut => 1e9,
            Item::Logs | Item::Egress => 1e6,
            Item::KinesisFanOut | Item::KinesisIn | Item::KinesisOut => 1e6,
        };
        // Positive form, so that NaN fails.
        if usd >= 0.0 && usd <= self.usd_max() { Some((usd * scale).round() as u64) } else { None }
    }
}

/// A price that falls in steps with the month's usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(
    /// Upper end of the step and femto-dollars per GB-second in it; never empty, ends ascending,
    /// the last one unbounded.
    Box<[(MbMillis, u64)]>,
);

impl Tiers {
    /// `prices` in femto-dollars per GB-second with `up_to` GB-seconds between them.
    pub(super) fn try_new(prices: &[u64], up_to: &[u64]) -> Option<Self> {
        if prices.is_empty() || prices.len() != up_to.len() + 1 {
            return None;
        }
        let ends = up_to
            .iter()
            .map(|bound| MbMillis(bound.saturating_mul(MB_MS_PER_GB_SECOND)))
            .chain([MbMillis(u64::MAX)]);
        Some(Tiers(ends.zip(prices.iter().copied()).collect()))
    }

    /// Femto-dollars per GB-second before any usage.
    pub fn first(&self) -> u64 {
        self.marginal(MbMillis(0))
    }

    /// The largest price of any step, which is the one to use in a bound: at the turn of the month
    /// the meter starts anew.
    pub fn dearest(&self) -> u64 {
        self.0.iter().map(|(_, price)| *price).max().unwrap_or(0)
    }

    /// Femto-dollars per GB-second for the next GB-second after `month_to_date`.
    pub fn marginal(&self, month_to_date: MbMillis) -> u64 {
        let step = self.0.iter().find(|(end, _)| month_to_date < *end).or(self.0.last());
        step.map_or(0, |(_, price)| *price)
    }

    /// The price of everything between two readings of the meter, in femto-dollars × 1,024,000 so
    /// that nothing is rounded yet.
    pub(super) fn between(&self, from: MbMillis, to: MbMillis) -> u128 {
        let mut sum = 0u128;
        let mut at = from.0;
        for (end, price) in &self.0 {
            let stop = end.0.min(to.0);
            sum += u128::from(stop.saturating_sub(at)) * u128::from(*price);
            at = at.max(stop);
        }
        sum
    }
}

/// The prices of one region and architecture on one day, in femto-dollars (1e-15 USD).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// Per Lambda request.
    pub request: u64,
    /// Per GB-second of memory.
    pub compute: Tiers,
    /// Per GB-second of storage beyond 512 MB.
    pub ephemeral_gb_second: u64,
    /// Per HTTP API request.
    pub http_api: u64,
    /// Per REST API request.
    pub rest_api: u64,
    /// Per byte of log text.
    pub log_byte: u64,
    /// Per byte sent to the internet.
    pub egress_byte: u64,
    /// False where a price of the region is missing and the dearest known one stands in for it.
    pub known: bool,
    /// True where some price was not read for this region but assumed equal to another's.
    pub assumed: bool,
}

/// What a Kinesis stream costs in one region on one day, in femto-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamRates {
    /// Per hour of a shard.
    pub(super) shard_hour: u64,
    /// Per PUT payload unit of 25 KiB.
    pub(super) put_unit: u64,
    /// Per hour of a shard and consumer with enhanced fan-out.
    pub(super) fan_out_shard_hour: u64,
    /// Per byte that goes to such a consumer.
    pub(super) fan_out_byte: u64,
    /// Per hour of a stream on demand.
    pub(super) stream_hour: u64,
    /// Per byte put on demand.
    pub(super) in_byte: u64,
    /// Per byte read on demand.
    pub(super) out_byte: u64,
}

/// Prices by region, item and day.
#[derive(Debug, Clone)]
pub struct PriceBook {
    version: String,
    layers: u8,
    regions: BTreeMap<Box<str>, Vec<Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    item: Item,
    /// 0 is built in; a higher layer wins on every day on which it has a row.
    layer: u8,
    from: EventTime,
    prices: Tiers,
    assumed: bool,
}

impl PriceBook {
    /// The list prices that came with this version.
    ///
    /// # Panics
    /// Never: the text is part of the program, and a test reads it.
    pub fn builtin() -> Self {
        let file = price_file::parse(BUILT_IN)
            .unwrap_or_else(|problems| panic!("built-in prices are malformed: {problems:?}"));
        let mut book = PriceBook {
            version: file.version.clone().unwrap_or_default(),
            layers: 0,
            regions: BTreeMap::new(),
        };
        book.add(file, 0);
        book
    }

    /// This book with an operator's prices on top: a row that holds on a day wins over every
    /// built-in row of the same region and item on that day. New regions are accepted.
    ///
    /// # Errors
    /// Everything that is wrong with the text, each with its key and accepted range.
    pub fn with_overrides(mut self, toml_text: &str) -> Result<Self, Vec<PriceProblem>> {
        let file = price_file::parse(toml_text)?;
        if self.layers >= LAYERS_MAX {
            return Err(vec![PriceProblem {
                key: "file".to_owned(),
                problem: format!("more than {LAYERS_MAX} override files; merge some of them"),
            }]);
        }
        self.layers += 1;
        let name = file.version.as_deref().unwrap_or("overrides");
        self.version = format!("{}+{name}", self.version);
        let layer = self.layers;
        self.add(file, layer);
        Ok(self)
    }

    /// The day of the newest source of the built-in prices, `+` the version of every override.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Every region that has at least one price, in alphabetical order.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.regions.keys().map(AsRef::as_ref)
    }

    /// The prices at `at`.
    pub fn rates(&self, region: &str, architecture: Architecture, at: EventTime) -> Rates {
        let mut known = true;
        let mut assumed = false;
        let mut price = |item: Item| {
            let entry = self.entry(region, item, at).or_else(|| {
                known = false;
                self.dearest(item, at)
            });
            entry.map_or_else(free, |entry| {
                assumed |= entry.assumed;
                entry.prices.clone()
            })
        };
        let compute = price(match architecture {
            Architecture::X86_64 => Item::X86,
            Architecture::Arm64 => Item::Arm,
        });
        Rates {
            request: price(Item::Requests).first(),
            compute,
            ephemeral_gb_second: price(Item::Ephemeral).first(),
            http_api: price(Item::HttpApi).first(),
            rest_api: price(Item::RestApi).first(),
            log_byte: price(Item::Logs).first(),
            egress_byte: price(Item::Egress).first(),
            known,
            assumed,
        }
    }

    /// The price of a byte of log text at `at`.
    pub(super) fn log_byte(&self, region: &str, at: EventTime) -> u64 {
        self.first(region, Item::Logs, at)
    }

    /// The prices of a stream at `at`.
    pub(super) fn stream_rates(&self, region: &str, at: EventTime) -> StreamRates {
        let price = |item| self.first(region, item, at);
        StreamRates {
            shard_hour: price(Item::KinesisShard),
            put_unit: price(Item::KinesisPut),
            fan_out_shard_hour: price(Item::KinesisFanOutShard),
            fan_out_byte: price(Item::KinesisFanOut),
            stream_hour: price(Item::KinesisStream),
            in_byte: price(Item::KinesisIn),
            out_byte: price(Item::KinesisOut),
        }
    }

    fn first(&self, region: &str, item: Item, at: EventTime) -> u64 {
        let entry = self.entry(region, item, at).or_else(|| self.dearest(item, at));
        entry.map_or(0, |entry| entry.prices.first())
    }

    fn entry(&self, region: &str, item: Item, at: EventTime) -> Option<&Entry> {
        in_force(self.regions.get(region)?, item, at)
    }

    fn dearest(&self, item: Item, at: EventTime) -> Option<&Entry> {
        self.regions
            .values()
            .filter_map(|entries| in_force(entries, item, at))
            .max_by_key(|entry| entry.prices.dearest())
    }

    fn add(&mut self, file: PriceFile, layer: u8) {
        for row in file.rows {
            let every = row.regions.iter().any(|region| region == EVERY_REGION);
            let regions: Vec<Box<str>> = if every {
                self.regions.keys().cloned().collect()
            } else {
                row.regions.into_iter().map(Into::into).collect()
            };
            for region in regions {
                self.regions.entry(region).or_default().push(Entry {
                    item: row.item,
                    layer,
                    from: row.from,
                    prices: row.prices.clone(),
                    assumed: row.assumed,
                });
            }
        }
    }
}

/// The newest row of the highest layer that already holds.
fn in_force(entries: &[Entry], item: Item, at: EventTime) -> Option<&Entry> {
    entries
        .iter()
        .filter(|entry| entry.item == item && entry.from <= at)
        .max_by_key(|entry| (entry.layer, entry.from))
}

fn free() -> Tiers {
    Tiers(Box::new([(MbMillis(u64::MAX), 0)]))
}
