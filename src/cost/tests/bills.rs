use proptest::prelude::*;

use super::{at, today, virginia};
use crate::cost::{
    Component, Drag, Exposure, FunctionRates, Gateway, PriceBook, RefusedCharge, TierMeter, Usage,
    loss_bound,
};
use crate::record::Architecture::{self, Arm64, X86_64};
use crate::units::{AccountId, MbMillis, MemoryMb, NanoUsd};

const GB_SECOND: u64 = 1_024_000;

fn usage(requests: u64, mb: u64, ms: u64) -> Usage {
    Usage { requests, mb_ms: MbMillis(requests * mb * ms), ..Usage::ZERO }
}

fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

#[test]
fn known_bills_come_out_to_the_last_nano_dollar() {
    let lambda = virginia(&Drag::NONE);
    for (name, used, expected) in [
        ("one request", usage(1, 128, 0), 200),
        (
            "one GB-second",
            usage(0, 0, 0).plus(Usage { mb_ms: MbMillis(GB_SECOND), ..Usage::ZERO }),
            16_667,
        ),
        // 1M x 128 MB x 100 ms = 12,500 GB-s: $0.2083334 + $0.20 (exact: 0.20833375).
        ("a small API for a month", usage(1_000_000, 128, 100), 408_333_750),
        // 3M x 1 GB x 1 s = 3M GB-s: $50.0001 + $0.60.
        ("three million heavy requests", usage(3_000_000, 1_024, 1_000), 50_600_100_000),
        // 1,000 environments x 10 GB for an hour: 36M GB-s = $600.0012.
        ("a default account on fire for an hour", usage(1_000, 10_240, 3_600_000), 600_001_400_000),
    ] {
        assert_eq!(lambda.cost(&used), NanoUsd(expected), "{name}");
    }
}

#[test]
fn an_api_adds_the_gateway_and_the_platforms_log_lines() {
    let rates = virginia(&Drag::default().seen(true));
    let parts = rates.breakdown(&usage(1_000_000, 128, 100));
    let part = |wanted| parts.iter().find(|(name, _)| *name == wanted).unwrap().1;
    assert_eq!(part(Component::Gateway), NanoUsd(1_000_000_000));
    assert_eq!(part(Component::Logs), NanoUsd(200_000_000));
    assert_eq!(part(Component::LambdaRequests), NanoUsd(200_000_000));
    assert_eq!(part(Component::LambdaCompute), NanoUsd(208_333_750));
    assert!((rates.per_request(12_800.0) - 1.608_333_75e-6).abs() < 1e-15);
    assert_eq!(rates.per_request(f64::NAN), rates.per_request(-1.0));
}

#[test]
fn a_refused_request_costs_what_the_configuration_says() {
    let refused = Usage { refused: 1_000_000, ..Usage::ZERO };
    for (gateway, charge, expected) in [
        (Gateway::HttpApi, RefusedCharge::Gateway, 1_000_000_000),
        (Gateway::RestApi, RefusedCharge::Gateway, 3_500_000_000),
        (Gateway::None, RefusedCharge::Gateway, 0),
        (Gateway::RestApi, RefusedCharge::Free, 0),
        (Gateway::RestApi, RefusedCharge::NanoUsd(600), 600_000_000),
    ] {
        let drag = Drag { gateway, refused: charge, ..Drag::default() };
        assert_eq!(virginia(&drag).cost(&refused), NanoUsd(expected), "{gateway:?} {charge:?}");
    }
}

#[test]
fn response_bytes_are_taken_from_the_log_or_from_the_configuration_never_both() {
    let seen = Usage { requests: 100_000, response_bytes: 1_000_000_000, ..Usage::ZERO };
    let egress = |response_bytes| {
        let rates = virginia(&Drag { response_bytes, ..Drag::NONE });
        rates.cost(&seen).minus(NanoUsd(20_000_000))
    };
    assert_eq!(egress(None), NanoUsd(90_000_000));
    assert_eq!(egress(Some(20_000)), NanoUsd(180_000_000));
    assert_eq!(egress(Some(0)), NanoUsd::ZERO);
}

#[test]
fn extra_storage_weighs_most_on_a_small_function() {
    let rates = PriceBook::builtin().rates("us-east-1", X86_64, today());
    let drag = Drag { storage_mb: 512 + 1_024, ..Drag::NONE };
    let hour = Usage { mb_ms: MbMillis(1_024 * 3_600_000), ..Usage::ZERO };
    let with = |mb: Option<u64>| {
        let memory = mb.map(|mb| MemoryMb::try_new(mb).unwrap());
        FunctionRates::new(&rates, MbMillis(0), &drag, memory).cost(&hour)
    };
    // 3,600 GB-s of memory and as much storage: $0.06000012 + $0.00011124.
    assert_eq!(with(Some(1_024)), NanoUsd(60_111_360));
    assert_eq!(with(None), with(Some(128)));
    assert!(with(None) > with(Some(1_024)));
}

#[test]
fn crossing_price_steps_costs_the_sum_of_the_steps() {
    let book = PriceBook::builtin();
    let rates = book.rates("us-east-1", X86_64, today());
    let mut meter = TierMeter::new(false, today());
    let gb_seconds = |count: u64| Usage { mb_ms: MbMillis(count * GB_SECOND), ..Usage::ZERO };
    // AWS: 6B at 0.0000166667, 9B at 0.000015, the rest at 0.0000133334.
    let whole = gb_seconds(20_000_000_000);
    let bill = NanoUsd(100_000_200_000_000 + 135_000_000_000_000 + 66_667_000_000_000);
    assert_eq!(meter.added_cost(account(), "us-east-1", X86_64, &rates, &whole), bill);

    let mut sum = NanoUsd::ZERO;
    for part in [5_000_000_000, 4_000_000_000, 10_000_000_000, 1_000_000_000] {
        let used = gb_seconds(part);
        sum += meter.added_cost(account(), "us-east-1", X86_64, &rates, &used);
        assert!(meter.add(account(), "us-east-1", X86_64, &used, today()));
    }
    assert_eq!(sum, bill);
    assert_eq!(meter.account_cost(account(), &book, today()), bill);

    let month_to_date = meter.month_to_date(account(), "us-east-1", X86_64);
    assert_eq!(rates.compute.marginal(month_to_date), 13_333_400_000);
    let elsewhere = meter.month_to_date(account(), "us-east-1", Arm64);
    assert_eq!(elsewhere, MbMillis(0), "each architecture has its own steps");
}

#[test]
fn a_step_begins_with_the_first_gb_second_after_its_boundary() {
    let rates = PriceBook::builtin().rates("eu-west-1", Arm64, today());
    let edge = 7_500_000_000 * GB_SECOND;
    for (month_to_date, expected) in [
        (0, 13_333_400_000),
        (edge - 1, 13_333_400_000),
        (edge, 12_000_100_000),
        (u64::MAX, 10_666_700_000),
    ] {
        assert_eq!(rates.compute.marginal(MbMillis(month_to_date)), expected);
    }
    assert_eq!(rates.compute.dearest(), rates.compute.first());
}

#[test]
fn meters_start_anew_with_the_month_and_do_not_go_back() {
    let mut meter = TierMeter::new(false, at("2028-02-29T23:59:59Z"));
    let used = usage(10, 128, 1_000);
    let mut add = |time: &str| {
        let counted = meter.add(account(), "us-east-1", X86_64, &used, at(time));
        (counted, meter.month_to_date(account(), "us-east-1", X86_64).0 / used.mb_ms.0)
    };
    assert_eq!(add("2028-02-29T23:59:59.999Z"), (true, 1));
    assert_eq!(add("2028-02-01T00:00:00Z"), (true, 2));
    assert_eq!(add("2028-03-01T00:00:00Z"), (true, 1));
    assert_eq!(add("2028-02-29T23:59:59Z"), (false, 1));
    assert_eq!(add("2029-01-01T00:00:00Z"), (true, 1));
}

#[test]
fn the_free_allowance_is_credited_once_per_account_and_only_when_asked_for() {
    let book = PriceBook::builtin();
    // 512 MB, 3M requests of 1 s: the worked example of the Lambda pricing page: 1.1M GB-s and 2M
    // requests remain after the allowance, $18.33337 + $0.40.
    let used = usage(3_000_000, 512, 1_000);
    for (free, expected) in [(true, 18_733_370_000), (false, 25_600_050_000)] {
        let mut meter = TierMeter::new(free, today());
        meter.add(account(), "us-east-1", X86_64, &used, today());
        assert_eq!(meter.account_cost(account(), &book, today()), NanoUsd(expected));
    }
    let mut meter = TierMeter::new(true, today());
    for region in ["us-east-1", "ap-east-1"] {
        meter.add(account(), region, X86_64, &usage(900_000, 128, 1), today());
    }
    // The cheaper region is credited first; 800,000 requests are left at Hong Kong's $0.28 per
    // million.
    assert_eq!(meter.account_cost(account(), &book, today()), NanoUsd(224_000_000));
}

#[test]
fn meters_are_bounded() {
    let mut meter = TierMeter::new(false, today());
    meter.add(account(), "us-east-1", X86_64, &usage(3, 128, 10), today());
    meter.add(account(), "eu-west-1", Arm64, &usage(5, 128, 10), today());
    let accepted = (0..20_000)
        .filter(|number| {
            let region = format!("r-{number}");
            meter.add(account(), &region, X86_64, &usage(1, 128, 1), today())
        })
        .count();
    assert_eq!(accepted, crate::cost::tiers::METERS_MAX / 2 - 2);
}

#[test]
fn a_cap_bounds_the_loss_but_the_gateway_goes_on() {
    let memory = MemoryMb::try_new(10_240).unwrap();
    let quiet = Exposure { gateway_per_second: 0, duration_ms_min: 1_000, ..Exposure::default() };
    // 1,000 x 10 GB: $0.166667 a second of compute; requests: 1,000 a second at 200 nano-dollars.
    let lambda = virginia(&Drag::NONE);
    let second = loss_bound(1_000, memory, &lambda, 1.0, &quiet);
    assert_eq!(second, NanoUsd(166_667_000 + 2 * 200_000));
    // A cap of zero stops Lambda; an HTTP API at 10,000 a second still costs $36 an hour.
    let drag = Drag { log_bytes: 0, gateway: Gateway::HttpApi, ..Drag::default() };
    let hour = loss_bound(0, memory, &virginia(&drag), 3_600.0, &Exposure::default());
    assert_eq!(hour, NanoUsd(36_000_000_000));

    let shut = |exposure: Exposure| loss_bound(0, memory, &lambda, 60.0, &exposure);
    let none = Exposure { gateway_per_second: 0, ..Exposure::default() };
    assert_eq!(shut(none), NanoUsd::ZERO);
    assert!(shut(Exposure { in_flight_above_cap: 1, ..none }) > NanoUsd(150_000_000));
    assert!(shut(Exposure { provisioned: 1, ..none }) > NanoUsd(10_000_000));
    for seconds in [f64::NAN, -1.0, 0.0] {
        assert_eq!(loss_bound(0, memory, &lambda, seconds, &none), NanoUsd::ZERO);
    }
}

#[test]
fn quick_asynchronous_calls_escape_the_request_limit_of_synchronous_ones() {
    let memory = MemoryMb::try_new(128).unwrap();
    let quick = Exposure { gateway_per_second: 0, duration_ms_min: 2, ..Exposure::default() };
    let bound = |exposure: &Exposure| loss_bound(10, memory, &virginia(&Drag::NONE), 1.0, exposure);
    let compute = 20_834;
    assert_eq!(bound(&quick), NanoUsd(compute + 110 * 200));
    let queued = Exposure { asynchronous: true, ..quick };
    assert_eq!(bound(&queued), NanoUsd(compute + 5_010 * 200));
}

fn any_usage() -> impl Strategy<Value = Usage> {
    let count = || prop_oneof![0..1_000u64, 0..1u64 << 40, 0..=1u64 << 63];
    (count(), count(), count(), count()).prop_map(|(requests, mb_ms, refused, response_bytes)| {
        Usage { requests, mb_ms: MbMillis(mb_ms), refused, response_bytes }
    })
}

fn any_drag() -> impl Strategy<Value = Drag> {
    let gateway = prop_oneof![Just(Gateway::None), Just(Gateway::HttpApi), Just(Gateway::RestApi)];
    let refused = prop_oneof![
        Just(RefusedCharge::Gateway),
        Just(RefusedCharge::Free),
        any::<u64>().prop_map(RefusedCharge::NanoUsd),
    ];
    let bytes = any::<Option<u32>>();
    (gateway, any::<u32>(), bytes, any::<u64>(), refused, any::<u32>()).prop_map(
        |(gateway, log_bytes, response_bytes, downstream_nano_usd, refused, storage_mb)| Drag {
            gateway,
            log_bytes,
            response_bytes,
            downstream_nano_usd,
            refused,
            storage_mb,
        },
    )
}

fn any_rates() -> impl Strategy<Value = FunctionRates> {
    let regions = ["us-east-1", "af-south-1", "sa-east-1", "nowhere-1"];
    let architecture = prop_oneof![Just(X86_64), Just(Arm64)];
    (any_drag(), 0..regions.len(), architecture, any::<u64>()).prop_map(
        move |(drag, region, architecture, month_to_date): (_, _, Architecture, _)| {
            let rates = PriceBook::builtin().rates(regions[region], architecture, today());
            FunctionRates::new(&rates, MbMillis(month_to_date), &drag, None)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn usage_adds_up_in_any_order(a in any_usage(), b in any_usage(), c in any_usage()) {
        prop_assert_eq!(a.plus(b).plus(c), a.plus(b.plus(c)));
        prop_assert_eq!(a.plus(b), b.plus(a));
    }

    #[test]
    fn the_parts_of_a_bill_sum_to_the_bill(rates in any_rates(), used in any_usage()) {
        let whole = rates.cost(&used);
        let sum: NanoUsd = rates.breakdown(&used).into_iter().map(|(_, part)| part).sum();
        prop_assert_eq!(sum, whole);
        prop_assert!(rates.breakdown(&used).iter().all(|(_, part)| *part >= NanoUsd::ZERO));
    }

    #[test]
    fn splitting_usage_moves_a_bill_by_rounding_alone(
        rates in any_rates(), a in any_usage(), b in any_usage(),
    ) {
        let (whole, parts) = (rates.cost(&a.plus(b)), rates.cost(&a).plus(rates.cost(&b)));
        if parts < NanoUsd::MAX && a.requests < 1 << 62 && b.requests < 1 << 62 {
            let rest = [a, b].map(|it| it.mb_ms.0.max(it.refused).max(it.response_bytes));
            prop_assume!(rest.iter().all(|count| *count <= 1 << 62));
            prop_assert!((whole.0 - parts.0).abs() <= 1, "{:?} {:?}", whole, parts);
        }
    }

    #[test]
    fn more_usage_never_costs_less(rates in any_rates(), a in any_usage(), b in any_usage()) {
        prop_assert!(rates.cost(&a.plus(b)) >= rates.cost(&a));
        prop_assert!(rates.per_request(a.mb_ms.0 as f64).is_finite());
    }

    #[test]
    fn a_loss_bound_is_never_below_what_the_allowed_usage_costs(
        rates in any_rates(), cap in 0..5_000u32, mb in 128..10_240u64, ms in 1..10_000u32,
        seconds in 0.0..100_000.0f64, gateway in 0..20_000u32,
    ) {
        let exposure = Exposure {
            duration_ms_min: ms, gateway_per_second: gateway, ..Exposure::default()
        };
        let memory = MemoryMb::try_new(mb).unwrap();
        let bound = loss_bound(cap, memory, &rates, seconds, &exposure);
        // The cap fully busy with invocations of the shortest duration, the gateway at its limit.
        let per_second = (f64::from(cap) * 10.0).min(f64::from(cap) * 1e3 / f64::from(ms));
        let served = (per_second * seconds) as u64;
        let arrived = (f64::from(gateway) * seconds) as u64;
        let busiest = Usage {
            requests: served,
            mb_ms: MbMillis((f64::from(cap) * seconds * 1e3) as u64 * mb),
            refused: arrived.saturating_sub(served),
            response_bytes: 0,
        };
        prop_assert!(bound.plus(NanoUsd(1)) >= rates.cost(&busiest), "{:?}", bound);
        let longer = loss_bound(cap, memory, &rates, seconds * 2.0, &exposure);
        let wider = loss_bound(cap + 1, memory, &rates, seconds, &exposure);
        prop_assert!(longer >= bound && wider >= bound);
    }
}
