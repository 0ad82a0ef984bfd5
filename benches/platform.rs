//! How many invocations a second one core simulates: the virtual platform alone, without load,
//! detector or text. One iteration is a minute of virtual time, and the platform goes on from one
//! iteration to the next, so it is at its steady state. Requests were drawn before the clock
//! starts and are announced a second ahead, as a closed loop does; records are taken as values, and
//! in `read` also told one by one.
//!
//! `cargo bench --no-default-features --bench platform`
//!
//! - `estate`: 1,000 functions, 100 million calls a day, half of them through an API, popularity by
//!   Zipf's law with exponent 1, median duration 100 ms: the size that the simulator promises.
//! - `flood`: the same with 20,000 requests per second for one function that may run 1,000 at once,
//!   so that nine in ten are refused: what an attack costs.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    reason = "the numbers and names are the benchmark's own"
)]

use core::net::{IpAddr, Ipv4Addr};
use std::hint::black_box;

use bursar::simulation::draw::Draw;
use bursar::simulation::duration::DurationModel;
use bursar::simulation::platform::{
    ApiSpec, FunctionSpec, Packing, Platform, PlatformSettings, Request,
};
use bursar::simulation::wire::ApiKind;
use bursar::units::{EventTime, MemoryMb};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FUNCTIONS: usize = 1_000;
/// 100 million calls a day in a minute.
const CALLS: usize = 69_444;
/// Requests of the flood in a minute.
const FLOOD: usize = 20_000 * 60;
const MINUTE_MS: i64 = 60_000;
/// 2026-01-01T00:00:00Z.
const START: EventTime = EventTime::saturating_from_ms(1_767_225_600_000);

fn platform() -> Platform {
    let function = |index: usize| {
        let key = format!("111122223333:eu-west-1:function-{index}").parse().unwrap();
        let duration = DurationModel::log_normal(100.0, 900.0).unwrap();
        FunctionSpec {
            api: (index.is_multiple_of(2)).then(|| ApiSpec {
                api_id: format!("api{:07}", index / 20),
                stage: "prod".to_owned(),
                method: "GET".to_owned(),
                route: format!("/function/{index}"),
                kind: ApiKind::Rest,
            }),
            ..FunctionSpec::new(key, MemoryMb::try_new(512).unwrap(), duration)
        }
    };
    let settings = PlatformSettings {
        packing: Packing::Typed,
        ledger: true,
        gateway_rps: 100_000,
        ..PlatformSettings::default()
    };
    Platform::new(1, settings, (0..FUNCTIONS).map(function).collect()).unwrap()
}

/// A minute's requests, in order of time.
fn minute(flood: usize) -> Vec<Request> {
    let mut draw = Draw::new(7, 0);
    let mut requests: Vec<Request> = (0..CALLS + flood)
        .map(|number| {
            let rank = (draw.unit() * (FUNCTIONS as f64 + 1.0).ln()).exp() as usize - 1;
            let function = if number < CALLS { rank.min(FUNCTIONS - 1) } else { 0 };
            let address = Ipv4Addr::from(0x0b00_0000 + draw.below(500) as u32);
            Request {
                address: Some(IpAddr::V4(address)),
                user_agent: Some("bench/1"),
                attack: (number >= CALLS).then_some(0),
                ..Request::new(START.plus_ms(draw.below(60_000).cast_signed()), function)
            }
        })
        .collect();
    requests.sort_by_key(|request| request.at);
    requests
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("platform");
    group.sample_size(20);
    for (name, flood, is_read) in
        [("estate", 0, false), ("estate/read", 0, true), ("flood", FLOOD, false)]
    {
        let (mut platform, requests) = (platform(), minute(flood));
        let (mut deliveries, mut rows) = (Vec::new(), Vec::new());
        let mut begin_ms = 0;
        group.throughput(Throughput::Elements(requests.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for second in requests.chunk_by(|a, b| a.at.second() == b.at.second()) {
                    for request in second {
                        platform.offer(Request { at: request.at.plus_ms(begin_ms), ..*request });
                    }
                    let until = EventTime::from_second(second[0].at.second() + 1);
                    platform.advance(until.plus_ms(begin_ms - 1), &mut deliveries);
                    platform.take_ledger(&mut rows);
                    for delivery in deliveries.drain(..).filter(|_| is_read) {
                        platform.read(&delivery, &mut |record| {
                            black_box(record.at());
                        });
                    }
                    black_box(&rows);
                    rows.clear();
                }
                begin_ms += MINUTE_MS;
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
