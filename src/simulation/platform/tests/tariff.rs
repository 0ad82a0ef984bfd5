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
