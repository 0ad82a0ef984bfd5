use super::*;
use crate::cost::{CostSettings, PriceBook};
use crate::units::NanoUsd;

fn tariff(specs: &[FunctionSpec]) -> Tariff {
    Tariff::new(specs.iter(), &CostSettings::default(), &PriceBook::builtin(), START)
}

#[test]
fn a_million_of_each_costs_what_the_price_lists_say() {
    let specs = [
        with_api("rest", constant(9.0), ApiKind::Rest),
        with_api("http", constant(9.0), ApiKind::Http),
        function("direct", constant(9.0)),
    ];
    let tariff = tariff(&specs);
    let million = 1_000_000;
    // Dollars: $0.20 of requests, $0.20 of logs (400 bytes at $0.50 per GB), and the gateway.
    for (function, counts, usd) in [
        (0, Counts { invocations: million, ..Counts::default() }, 0.20 + 0.20 + 3.50),
        (1, Counts { invocations: million, ..Counts::default() }, 0.20 + 0.20 + 1.00),
        (2, Counts { invocations: million, ..Counts::default() }, 0.20 + 0.20),
        // Refused by the function's limits, behind the gateway.
        (0, Counts { throttled: million, ..Counts::default() }, 3.50),
        (1, Counts { throttled: million, ..Counts::default() }, 1.00),
        (2, Counts { throttled: million, ..Counts::default() }, 0.0),
        (0, Counts { limited: million, ..Counts::default() }, 0.0),
        (0, Counts { blocked: million, ..Counts::default() }, 0.60),
        (2, Counts { dead: million, deferred: million, ..Counts::default() }, 0.0),
        // 1,000 GB-seconds at $0.0000166667, and 10 GB at $0.09.
        (2, Counts { usage: MbMillis(1_024_000_000), ..Counts::default() }, 0.016_666_7),
        (0, Counts { response_bytes: 10_000 * million, ..Counts::default() }, 0.90),
        // 10 GB of log text at $0.50.
        (2, Counts { log_bytes: 10_000 * million, ..Counts::default() }, 5.00),
    ] {
        let cost = tariff.cost(function, &counts);
        assert_eq!(cost, NanoUsd::from_usd(usd), "{function} {counts:?}");
        let parts = tariff.breakdown(function, &counts);
        assert_eq!(parts.iter().map(|(_, cost)| *cost).sum::<NanoUsd>(), cost);
    }
}

#[test]
fn a_ledger_is_priced_row_by_row() {
    let specs = vec![with_api("f", constant(99.5), ApiKind::Http)];
    let settings = PlatformSettings { ledger: true, ..PlatformSettings::default() };
    let tariff = tariff(&specs);
    let mut platform = Platform::new(1, settings, specs).unwrap();
    for index in 0..1_000 {
        let response_bytes = Some(1_000);
        platform.offer(Request { response_bytes, ..request(START.plus_ms(index * 500), 0) });
    }
    drain(&mut platform);
    let mut rows = Vec::new();
    platform.take_ledger(&mut rows);
    let cost = |row: &LedgerRow| tariff.cost(row.function as usize, &row.legitimate).usd();
    let spent: f64 = rows.iter().map(cost).sum();
    // A thousand requests of 0.05 GB-seconds with 1 kB each; one of them starts an environment.
    let calls = 1_000.0 * (2e-7 + 2e-7 + 1e-6 + 9e-8);
    let compute = 1_000.0 * 0.05 * 0.000_016_666_7;
    assert!((spent - calls - compute).abs() < 2e-6, "{spent} {calls} {compute}");
}

#[test]
fn log_text_is_paid_by_whoever_causes_it_for_every_run() {
    let specs = vec![function("f", constant(9.0))];
    let settings = PlatformSettings { ledger: true, ..PlatformSettings::default() };
    let mut platform = Platform::new(1, settings, specs).unwrap();
    let costly = Request { log_bytes: 1_000_000, attack: Some(0), ..request(START, 0) };
    // A run that fails is tried twice more.
    platform.offer(Request { way: Way::Async, error_share: 1.0, ..costly });
    platform.offer(request(START, 0));
    drain(&mut platform);
    assert_eq!(platform.tally(Some(0)).counts.log_bytes, 3_000_000);
    assert_eq!(platform.tally(None).counts.log_bytes, 0);
}

#[test]
fn a_run_without_enough_memory_fails_and_takes_its_environment_along() {
    let inits = |needed_mb: Option<u32>| {
        let mut platform = platform(vec![function("f", constant(9.0))]);
        for second in 0..5 {
            platform.offer(Request { needed_mb, ..request(START.plus_ms(second * 1_000), 0) });
        }
        let (reports, _) = records(&drain(&mut platform));
        let failed = reports.iter().filter(|line| line.contains("Status: error")).count();
        let cold = reports.iter().filter(|line| line.contains("Init Duration")).count();
        let full =
            reports.iter().filter(|line| field(line, "Used: ").to_bits() == 512_f64.to_bits());
        (reports.len(), failed, cold, full.count(), platform.busy(0))
    };
    assert_eq!(inits(None), (5, 0, 1, 0, 0));
    assert_eq!(inits(Some(512)), (5, 0, 1, 5, 0), "as much as there is");
    assert_eq!(inits(Some(513)), (5, 5, 5, 5, 0));
}
