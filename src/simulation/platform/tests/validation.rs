//! Against what others have published: the simulator `SimFaaS` (Mahmoudi and Khazaei, "`SimFaaS`: A
//! Performance Simulator for Serverless Computing Platforms", CLOSER 2021, arXiv 2102.08904), the
//! measurements on Lambda beside it (pacslab/serverless-performance-modeling, 28 h each), and
//! queueing theory.

use super::*;

/// Seconds of a warm call, exponential; a cold one takes 0.11 more.
const WARM_MS: f64 = 1_870.0;

/// One rate of calls, and what others found for it.
struct Case {
    per_second: f64,
    /// Percentage of cold starts: published for `SimFaaS`, measured on Lambda.
    published: f64,
    measured: f64,
    /// Version 0.2.2 run for so many calls (600 s threshold, warm 1.87 s, cold 1.98 s, seed 1):
    /// share of cold starts, and mean number of instances.
    calls: f64,
    cold: f64,
    instances: f64,
}

const CASES: [Case; 5] = [
    case(0.0019, 31.8, 31.7, (75_768.0, 0.32540, 0.6833)),
    case(0.0029, 17.7, 14.8, (86_568.0, 0.18242, 0.8340)),
    case(0.0057, 4.87, 4.85, (113_748.0, 0.04302, 1.0036)),
    case(0.0164, 2.29, 1.76, (163_589.0, 0.02212, 1.2500)),
    case(0.1, 0.66, 0.55, (199_843.0, 0.006_495, 2.5846)),
];

const fn case(per_second: f64, published: f64, measured: f64, run: (f64, f64, f64)) -> Case {
    let (calls, cold, instances) = run;
    Case { per_second, published, measured, calls, cold, instances }
}

/// An exponential law, cut at one in three million.
fn exponential(mean_ms: f64) -> DurationModel {
    let knot = |step: u32| {
        let x = f64::from(step) * 0.05;
        (100.0 * (1.0 - (-x).exp()), x * mean_ms)
    };
    let mut knots: Vec<_> = (0..300).map(knot).collect();
    knots.push((100.0, 15.0 * mean_ms));
    DurationModel::percentiles(&knots).unwrap()
}

/// Standard errors between two shares of so many calls.
fn deviation(a: f64, a_calls: f64, b: f64, b_calls: f64) -> f64 {
    let pooled = (a * a_calls + b * b_calls) / (a_calls + b_calls);
    (a - b).abs() / (pooled * (1.0 - pooled) * (1.0 / a_calls + 1.0 / b_calls)).sqrt()
}

/// Poisson calls of one function; looks at it `looks` times in equal steps.
fn run(rate: f64, calls: u32, looks: u32, reserved: Option<u32>) -> (Counts, u64, f64, f64) {
    let spec = FunctionSpec {
        init_ms: 110,
        timeout_ms: 900_000,
        reserved,
        ..function("f", exponential(WARM_MS))
    };
    let settings = PlatformSettings { packing: Packing::Typed, ..PlatformSettings::default() };
    let mut platform = Platform::new(1, settings, vec![spec]).unwrap();
    let mut draw = Draw::new(11, 0);
    let mut at_ms = 0.0;
    for _ in 0..calls {
        at_ms += draw.wait(1_000.0 / rate);
        platform.offer(request(START.plus_ms(at_ms as i64), 0));
    }
    let (mut cold, mut environments, mut busy) = (0, 0, 0);
    let mut out = Vec::new();
    for look in 1..=looks {
        let until = at_ms * f64::from(look) / f64::from(looks);
        platform.advance(START.plus_ms(until as i64), &mut out);
        environments += platform.environments(0);
        busy += platform.busy(0);
    }
    out.extend(drain(&mut platform));
    for delivery in out {
        platform.read(&delivery, &mut |record| {
            let Record::Invocation(invocation) = record else {
                return;
            };
            cold += u64::from(invocation.init_ms.is_some());
        });
    }
    let mean = |sum: f64| sum / f64::from(looks);
    let counts = platform.tally(None).counts;
    (counts, cold, mean(environments as f64), mean(f64::from(busy)))
}

#[test]
fn cold_starts_and_instances_are_those_of_simfaas_and_of_lambda() {
    for case in CASES {
        let calls = 60_000;
        let (_, cold, instances, busy) = run(case.per_second, calls, 60_000, None);
        let (calls, rate) = (f64::from(calls), case.per_second);
        let share = cold as f64 / calls;
        // Cold starts come in groups, so a deviation is larger than for independent calls.
        let from_run = deviation(share, calls, case.cold, case.calls);
        assert!(from_run < 4.0, "{rate}/s: {share}, {} ({from_run:.1})", case.cold);
        let lasted = rate * 28.0 * 3_600.0;
        for other in [case.published, case.measured] {
            let from_other = deviation(share, calls, other / 100.0, lasted);
            assert!(from_other < 2.0, "{rate}/s: {share}, {other} ({from_other:.1})");
        }
        let off = instances / case.instances - 1.0;
        assert!(off.abs() < 0.02, "{rate}/s: {instances} instances, {}", case.instances);
        // Little's law for those that run; as many looks as calls see about as many of them.
        let running = rate * (WARM_MS + share * 110.0) / 1_000.0;
        let slack = 4.0 * (running / calls).sqrt();
        assert!((busy - running).abs() < slack, "{rate}/s: {busy} run, {running}");
    }
}

#[test]
fn refusals_at_a_limit_follow_erlang_b() {
    // The last is what version 0.2.2 of SimFaaS gives for the same.
    for (rate, servers, simfaas) in [(4.0, 10, 0.0997), (6.0, 10, 0.2716)] {
        let calls = 100_000;
        let (counts, ..) = run(rate, calls, 10, Some(servers));
        assert_eq!(counts.offered, counts.served + counts.throttled);
        let share = counts.throttled as f64 / f64::from(calls);
        let load = rate * WARM_MS / 1_000.0;
        let erlang =
            (1..=servers).fold(1.0, |blocked, n| load * blocked / (f64::from(n) + load * blocked));
        // Refusals come in groups: a tenth of the calls count as independent.
        let slack = 3.0 * (erlang * (1.0 - erlang) / (f64::from(calls) / 10.0)).sqrt();
        assert!((share - erlang).abs() < slack, "{rate}/s: {share}, {erlang}");
        assert!((share - simfaas).abs() < slack, "{rate}/s: {share}, {simfaas}");
    }
}
