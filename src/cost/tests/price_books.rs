use super::{at, today};
use crate::cost::PriceBook;
use crate::cost::prices::StreamRates;
use crate::record::Architecture::{Arm64, X86_64};
use crate::units::MbMillis;

/// The commercial regions that have Lambda; China, GovCloud and the European sovereign cloud are
/// partitions of their own, with other prices and currencies.
const COMMERCIAL: [&str; 34] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

#[test]
fn every_commercial_region_has_every_price() {
    let book = PriceBook::builtin();
    assert_eq!(book.regions().collect::<Vec<_>>(), COMMERCIAL);
    for region in COMMERCIAL {
        for architecture in [X86_64, Arm64] {
            let rates = book.rates(region, architecture, today());
            assert!(rates.known, "{region}");
            let all = [
                rates.request,
                rates.compute.first(),
                rates.ephemeral_gb_second,
                rates.http_api,
                rates.rest_api,
                rates.log_byte,
                rates.egress_byte,
            ];
            assert!(all.iter().all(|price| *price > 0), "{region} {rates:?}");
        }
        let StreamRates {
            shard_hour,
            put_unit,
            fan_out_shard_hour,
            fan_out_byte,
            stream_hour,
            in_byte,
            out_byte,
        } = book.stream_rates(region, today());
        let by_the_hour = [shard_hour, fan_out_shard_hour, stream_hour];
        let by_the_piece = [put_unit, fan_out_byte, in_byte, out_byte];
        assert!([&by_the_hour[..], &by_the_piece[..]].concat().iter().all(|price| *price > 0));
        assert_eq!(book.log_byte(region, today()), book.rates(region, Arm64, today()).log_byte);
        let (x86, arm) = (book.rates(region, X86_64, today()), book.rates(region, Arm64, today()));
        assert!(arm.compute.dearest() <= x86.compute.dearest(), "{region}");
    }
}

#[test]
fn prices_are_exact_in_femto_dollars() {
    let book = PriceBook::builtin();
    let rates = book.rates("us-east-1", X86_64, today());
    assert_eq!(rates.request, 200_000_000);
    assert_eq!(rates.compute.first(), 16_666_700_000);
    assert_eq!(rates.ephemeral_gb_second, 30_900_000);
    assert_eq!(rates.http_api, 1_000_000_000);
    assert_eq!(rates.rest_api, 3_500_000_000);
    assert_eq!(rates.log_byte, 500_000);
    assert_eq!(rates.egress_byte, 90_000);
    assert!(!rates.assumed);
    for (region, request, x86, arm) in [
        ("af-south-1", 270, 22_100_000_000, 17_680_000_000),
        ("ap-east-1", 280, 22_920_000_000, 18_300_000_000),
        ("eu-south-1", 230, 19_517_200_000, 15_613_800_000),
        ("me-central-1", 250, 20_666_700_000, 16_533_400_000),
        ("ap-southeast-5", 180, 15_000_000_000, 12_000_000_000),
        ("eu-central-1", 200, 16_666_700_000, 13_333_400_000),
    ] {
        let rates = book.rates(region, X86_64, today());
        assert_eq!(rates.request, request * 1_000_000, "{region}");
        assert_eq!(rates.compute.first(), x86, "{region}");
        assert_eq!(book.rates(region, Arm64, today()).compute.first(), arm, "{region}");
    }
    assert!(book.rates("mx-central-1", X86_64, today()).assumed);
}

#[test]
fn an_unknown_region_is_priced_at_the_dearest_known_one() {
    let book = PriceBook::builtin();
    let rates = book.rates("xx-lunar-1", X86_64, today());
    assert!(!rates.known);
    assert_eq!(rates.compute.first(), 22_920_000_000);
    assert_eq!(rates.request, 280_000_000);
    assert_eq!(rates.ephemeral_gb_second, 58_600_000);
    assert_eq!(rates.rest_api, 4_250_000_000);
}

#[test]
fn an_override_holds_from_its_day_and_wins_over_list_prices() {
    let book = PriceBook::builtin()
        .with_overrides(
            r#"
            version = "acme-7"
            [[price]]
            item = "x86_64_gb_second"
            regions = ["us-east-1"]
            usd = [0.00001, 0.000009]
            up_to_gb_seconds = [1_000]
            from = 2026-03-01
            [[price]]
            item = "requests_million"
            regions = ["*"]
            usd = 0
            from = "2026-06-01"
            [[price]]
            item = "logs_gb"
            regions = ["us-moon-1"]
            usd = 2
            "#,
        )
        .unwrap();
    assert_eq!(book.version(), format!("{}+acme-7", PriceBook::builtin().version()));
    for (day, compute, request) in [
        ("2026-02-28T23:59:59.999Z", 16_666_700_000, 200_000_000),
        ("2026-03-01T00:00:00Z", 10_000_000_000, 200_000_000),
        ("2026-06-01T00:00:00Z", 10_000_000_000, 0),
    ] {
        let rates = book.rates("us-east-1", X86_64, at(day));
        assert_eq!((rates.compute.first(), rates.request), (compute, request), "{day}");
    }
    let rates = book.rates("us-east-1", X86_64, today());
    assert_eq!(rates.compute.marginal(MbMillis(1_024_000_000)), 9_000_000_000);

    // A region of one's own: its one price holds, the others come from the dearest region.
    let moon = book.rates("us-moon-1", X86_64, today());
    assert!(!moon.known);
    assert_eq!(moon.log_byte, 2_000_000);
    assert_eq!(moon.compute.first(), 22_920_000_000);
}

/// At least one mistake of every kind.
const BROKEN: &str = r#"
version = ""
prices = 1
[[price]]
item = "gb_hour"
regions = []
usd = "cheap"
colour = "red"
[[price]]
item = "requests_million"
regions = ["US East"]
usd = -1
from = "tomorrow"
assumed = "yes"
source = 3
[[price]]
item = "x86_64_gb_second"
regions = ["us-east-1"]
usd = [0.1, nan, 0.1]
up_to_gb_seconds = [10, 5]
[[price]]
item = "logs_gb"
regions = ["us-east-1"]
usd = [1, 2]
up_to_gb_seconds = [10]
[[price]]
item = "egress_gb"
regions = ["us-east-1", "us-east-1"]
usd = 1_001
[[price]]
item = "rest_api_million"
regions = ["us-east-1", "us-east-1"]
usd = 1
from = 2013-12-31
[[price]]
item = "http_api_million"
regions = ["us-east-1", "us-east-1"]
usd = 1
"#;

#[test]
fn everything_that_is_wrong_with_an_override_is_told_at_once() {
    let problems = PriceBook::builtin().with_overrides(BROKEN).unwrap_err();
    let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    let expected = [
        "price[0].colour",
        "price[0].item",
        "price[0].regions",
        "price[1].assumed",
        "price[1].from",
        "price[1].regions[0]",
        "price[1].source",
        "price[1].usd[0]",
        "price[2].up_to_gb_seconds[1]",
        "price[2].usd[1]",
        "price[3].up_to_gb_seconds",
        "price[4].usd[0]",
        "price[5].from",
        "price[6].regions",
        "prices",
        "version",
    ];
    assert_eq!(keys, expected);
    let told = |key: &str| problems.iter().find(|problem| problem.key == key).unwrap().to_string();
    assert_eq!(told("price[1].usd[0]"), "price[1].usd[0]: -1, accepted: 0 to 1000 dollars");
    assert_eq!(told("price[2].usd[1]"), "price[2].usd[1]: NaN, accepted: 0 to 1 dollars");
    assert!(told("price[2].up_to_gb_seconds[1]").contains("5, accepted: 11 to 10000000000000"));
    assert!(told("price[0].item").contains("requests_million, x86_64_gb_second"));
    assert!(told("price[6].regions").contains("priced twice"));
}

#[test]
fn a_file_that_is_not_toml_or_too_large_is_refused() {
    let refused = |text: &str| {
        let problems = PriceBook::builtin().with_overrides(text).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "file");
        problems[0].problem.clone()
    };
    assert!(refused("[[price").starts_with("not TOML"));
    assert!(refused(&" ".repeat(2 << 20)).contains("accepted: up to"));
    assert!(PriceBook::builtin().with_overrides("").is_ok());
}
