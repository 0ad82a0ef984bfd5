//! The functions of the built-in shop. Rates and durations are made up to be typical: many quiet
//! functions, a few busy ones, web calls that are short and background work that is not.

use crate::record::FunctionKey;
use crate::simulation::duration::DurationModel;
use crate::simulation::platform::{ApiSpec, FunctionSpec};
use crate::simulation::wire::ApiKind;
use crate::units::MemoryMb;

/// How often a service is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// At random, at this mean rate.
    PerSecond(f64),
    /// On the beat.
    EveryMs(i64),
}

/// One function of the shop.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) pace: Pace,
    memory_mb: u64,
    median_ms: f64,
    /// Method and path, for those that have an API.
    pub(super) api: Option<(&'static str, &'static str)>,
}

/// A route of the shop's REST API.
const fn web(
    name: &'static str,
    rate: f64,
    memory_mb: u64,
    median_ms: f64,
    api: (&'static str, &'static str),
) -> Service {
    Service { name, pace: Pace::PerSecond(rate), memory_mb, median_ms, api: Some(api) }
}

/// Work that a queue or a bucket hands over.
const fn work(name: &'static str, rate: f64, memory_mb: u64, median_ms: f64) -> Service {
    Service { name, pace: Pace::PerSecond(rate), memory_mb, median_ms, api: None }
}

/// Work on a schedule.
const fn timer(name: &'static str, minutes: i64, memory_mb: u64, median_ms: f64) -> Service {
    let pace = Pace::EveryMs(minutes * 60_000);
    Service { name, pace, memory_mb, median_ms, api: None }
}

/// 80 requests per second in all.
pub(super) const SHOP: [Service; 40] = [
    web("checkout", 4.0, 512, 300.0, ("POST", "/checkout")),
    web("search", 12.0, 1_024, 120.0, ("GET", "/search")),
    web("product", 11.0, 256, 45.0, ("GET", "/products/{id}")),
    web("cart", 7.0, 256, 60.0, ("POST", "/cart")),
    web("home", 6.0, 256, 40.0, ("GET", "/")),
    web("recommendations", 5.0, 1_024, 90.0, ("GET", "/recommendations")),
    web("stock", 4.0, 128, 25.0, ("GET", "/stock/{id}")),
    web("login", 2.5, 256, 180.0, ("POST", "/login")),
    web("session", 5.0, 128, 15.0, ("GET", "/session")),
    web("reviews", 2.0, 256, 70.0, ("GET", "/reviews")),
    web("orders", 1.5, 256, 110.0, ("GET", "/orders")),
    web("profile", 1.2, 256, 80.0, ("GET", "/profile")),
    web("addresses", 0.6, 128, 50.0, ("GET", "/addresses")),
    web("shipping-quote", 1.0, 256, 240.0, ("POST", "/shipping")),
    web("coupons", 0.5, 128, 35.0, ("POST", "/coupons")),
    web("gift-cards", 0.1, 128, 60.0, ("POST", "/gift-cards")),
    web("returns", 0.05, 256, 150.0, ("POST", "/returns")),
    web("contact", 0.05, 128, 90.0, ("POST", "/contact")),
    web("newsletter", 0.1, 128, 40.0, ("POST", "/newsletter")),
    web("store-locator", 0.3, 256, 65.0, ("GET", "/stores")),
    work("payment-events", 1.8, 256, 130.0),
    work("order-events", 1.8, 256, 95.0),
    work("inventory-updates", 3.0, 256, 55.0),
    work("thumbnails", 0.8, 1_536, 850.0),
    work("image-tagging", 0.3, 2_048, 1_900.0),
    work("email-sender", 1.2, 128, 220.0),
    work("push-sender", 1.0, 128, 140.0),
    work("clickstream", 3.5, 512, 30.0),
    work("price-updates", 0.6, 512, 160.0),
    work("search-indexer", 1.0, 1_024, 400.0),
    work("invoice-pdf", 0.4, 1_024, 1_100.0),
    work("fraud-score", 0.4, 2_048, 350.0),
    work("audit-log", 0.2, 128, 20.0),
    work("video-previews", 0.02, 3_008, 14_000.0),
    timer("cache-warmer", 1, 256, 600.0),
    timer("abandoned-carts", 5, 512, 2_400.0),
    timer("exchange-rates", 10, 128, 300.0),
    timer("supplier-feed", 15, 1_024, 9_000.0),
    timer("daily-report", 60, 2_048, 25_000.0),
    timer("token-rotation", 30, 128, 180.0),
];

impl Service {
    pub(super) fn spec(&self) -> FunctionSpec {
        let place = ("111122223333", super::REGION);
        let memory = MemoryMb::try_new(self.memory_mb);
        // A tail of four times the median is usual for calls that wait for other services.
        let duration = DurationModel::log_normal(self.median_ms, self.median_ms * 4.0);
        let (Ok(memory), Ok(duration), Ok(account)) = (memory, duration, place.0.parse()) else {
            unreachable!("the table holds valid sizes and durations");
        };
        let key = FunctionKey { account, region: place.1.into(), name: self.name.into() };
        FunctionSpec {
            init_ms: 250,
            timeout_ms: 60_000,
            api: self.api.map(|(method, route)| ApiSpec {
                api_id: "sh0pgat3wy".to_owned(),
                stage: "prod".to_owned(),
                method: method.to_owned(),
                route: route.to_owned(),
                kind: ApiKind::Rest,
            }),
            ..FunctionSpec::new(key, memory, duration)
        }
    }
}
