//! How fast messages become records, beside what the JSON parser alone needs for the same bytes.
//!
//! Each pair reads the same input. `parse` is sonic-rs into a borrowed struct that has exactly the
//! fields of the input, with nothing checked; `decode` is the whole way: recognising the format,
//! UTF-8 and nesting, parsing, ranges, times, addresses and names. The aim is that `decode` keeps
//! at least 80 % of the speed of `parse`.
#![expect(dead_code, reason = "the fields are there to be parsed; nothing reads them")]

use std::borrow::Cow;
use std::hint::black_box;
use std::io::{Read, Write};

use bursar::decode::{Context, Decoder, Ignored, Limits, Problem, Sink};
use bursar::record::Record;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

/// Messages per iteration: enough that no branch predictor learns the input by heart, little enough
/// to stay in the second-level cache, as a batch just received from the network does.
const MESSAGES: usize = 500;
/// Lines in an envelope: what a subscription sends for a function under load.
const LINES: usize = 50;

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

/// Counts, so that nothing is optimised away and a benchmark that refuses its input fails.
#[derive(Default)]
struct Counts {
    records: usize,
}

impl Sink for Counts {
    fn record(&mut self, record: &Record<'_>) {
        black_box(record);
        self.records += 1;
    }

    fn problem(&mut self, problem: Problem<'_>) {
        panic!("the benchmark's own input was refused: {problem:?}");
    }

    fn ignored(&mut self, _: Ignored) {}
}

fn decode_all(decoder: &mut Decoder, messages: &[Vec<u8>], records: usize) {
    let context = Context { account: Default::default(), region: "eu-west-1", function: None };
    let mut counts = Counts::default();
    for message in messages {
        decoder.decode(message, &context, &mut counts);
    }
    assert_eq!(counts.records, records);
}

fn pair(
    criterion: &mut Criterion,
    name: &str,
    messages: &[Vec<u8>],
    records: usize,
    mut parse: impl FnMut(&[u8]),
) {
    let bytes: usize = messages.iter().map(Vec::len).sum();
    let mut group: BenchmarkGroup<'_, _> = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| messages.iter().for_each(|message| parse(message)));
    });
    let mut decoder = Decoder::new(Limits::default());
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode_all(&mut decoder, messages, records));
    });
    group.finish();
}

/// JSON as it reads best in source.
fn quoted(text: &str) -> Vec<u8> {
    text.replace('\'', "\"").into_bytes()
}

fn request_id(rng: &mut ChaCha8Rng) -> String {
    let (a, b): (u64, u64) = (rng.random(), rng.random());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        (b >> 48) & 0xfff,
        b & 0xffff_ffff_ffff
    )
}

/// One record of bursar's own form as a collector writes it: the fields that every record has, the
/// caller in two of three, a cold start in one of twenty.
fn native_lines() -> Vec<Vec<u8>> {
    let mut rng = rng();
    (0..MESSAGES)
        .map(|index| {
            let id = request_id(&mut rng);
            let init = if rng.random_ratio(1, 20) { ",'init_ms':174.055" } else { "" };
            let caller = if rng.random_ratio(2, 3) {
                ",'source_ip':'203.0.113.7','user_agent':'Mozilla/5.0 (X11; Linux x86_64)'"
            } else {
                ""
            };
            quoted(&format!(
                "{{'kind':'invocation','account':'111122223333','region':'eu-west-1',\
                 'function':'checkout-{}','time':'2026-01-01T00:{:02}:{:02}.{:03}Z',\
                 'billed_ms':{},'memory_mb':512{init},'status':'success',\
                 'request_id':'{id}','id':'{id}-{index}'{caller}}}",
                index % 40,
                rng.random_range(0..60),
                rng.random_range(0..60),
                rng.random_range(0..1000),
                rng.random_range(1..3000),
            ))
        })
        .collect()
}

#[derive(Deserialize)]
struct NativeLine<'a> {
    kind: &'a str,
    account: &'a str,
    region: &'a str,
    function: &'a str,
    time: &'a str,
    billed_ms: u32,
    memory_mb: u32,
    init_ms: Option<f32>,
    status: &'a str,
    request_id: &'a str,
    id: &'a str,
    source_ip: Option<&'a str>,
    user_agent: Option<&'a str>,
}

/// An envelope of `REPORT` lines only: log groups with the subscription filter `REPORT`, which is
/// what bursar's own deployment sets up. Every line has five escaped tabs and a line break.
fn envelopes(count: usize) -> Vec<Vec<u8>> {
    let mut rng = rng();
    (0..count)
        .map(|index| {
            let lines: Vec<String> = (0..LINES).map(|line| log_event(&mut rng, line)).collect();
            quoted(&format!(
                "{{'messageType':'DATA_MESSAGE','owner':'111122223333',\
                 'logGroup':'/aws/lambda/checkout-{index}',\
                 'logStream':'2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef',\
                 'subscriptionFilters':['bursar'],'logEvents':[{}]}}",
                lines.join(",")
            ))
        })
        .collect()
}

fn log_event(rng: &mut ChaCha8Rng, line: usize) -> String {
    let ms = rng.random_range(1.0..3000.0_f64);
    let init = if rng.random_ratio(1, 20) { r"Init Duration: 166.62 ms\t" } else { "" };
    format!(
        "{{'id':'3195310660696698337880902507980421114328961542429{line:07}','timestamp':{},\
         'message':'REPORT RequestId: {}\\tDuration: {ms:.2} ms\\tBilled Duration: {} ms\\t\
         Memory Size: 128 MB\\tMax Memory Used: 74 MB\\t{init}\\n'}}",
        1_767_225_600_000_u64 + rng.random_range(0..60_000),
        request_id(rng),
        ms.ceil(),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    message_type: &'a str,
    owner: &'a str,
    log_group: &'a str,
    log_stream: &'a str,
    #[serde(borrow)]
    log_events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    id: &'a str,
    timestamp: u64,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

fn zipped(plain: &[u8]) -> Vec<u8> {
    // Level 6 is what CloudWatch Logs uses.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(plain).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// One line of a REST API's access log with the template that bursar recommends.
fn access_lines() -> Vec<Vec<u8>> {
    let mut rng = rng();
    (0..MESSAGES)
        .map(|index| {
            let status = ["200", "200", "200", "404", "429"][index % 5];
            let function_ran = status != "429";
            let invocation = request_id(&mut rng);
            let joined = if function_ran { invocation.as_str() } else { "-" };
            quoted(&format!(
                "{{'requestId':'{}','ip':'203.0.113.{}','caller':'-','user':'-',\
                 'requestTime':'01/Jan/2026:00:00:{:02} +0000','requestTimeEpoch':'{}',\
                 'httpMethod':'GET','resourcePath':'/orders/{{id}}','status':'{status}',\
                 'protocol':'HTTP/1.1','responseLength':'{}','apiId':'a1b2c3d4e5',\
                 'stage':'prod','userAgent':'Mozilla/5.0 (X11; Linux x86_64)',\
                 'integrationRequestId':'{joined}'}}",
                request_id(&mut rng),
                index % 256,
                index % 60,
                1_767_225_600_000_u64 + rng.random_range(0..60_000),
                rng.random_range(20..20_000),
            ))
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessLine<'a> {
    request_id: &'a str,
    ip: &'a str,
    caller: &'a str,
    user: &'a str,
    request_time: &'a str,
    request_time_epoch: &'a str,
    http_method: &'a str,
    resource_path: &'a str,
    status: &'a str,
    protocol: &'a str,
    response_length: &'a str,
    api_id: &'a str,
    stage: &'a str,
    user_agent: &'a str,
    integration_request_id: &'a str,
}

fn parsed<'a, T: Deserialize<'a>>(message: &'a [u8]) -> T {
    sonic_rs::from_slice(message).expect("the benchmark's own input")
}

fn decode(criterion: &mut Criterion) {
    let lines = native_lines();
    pair(criterion, "native", &lines, MESSAGES, |message| {
        black_box(parsed::<NativeLine<'_>>(message));
    });
    let lines = access_lines();
    pair(criterion, "access_log", &lines, MESSAGES, |message| {
        black_box(parsed::<AccessLine<'_>>(message));
    });
    let plain = envelopes(10);
    pair(criterion, "envelope", &plain, 10 * LINES, |message| {
        black_box(parsed::<Envelope<'_>>(message));
    });
    let gzip: Vec<_> = plain.iter().map(|message| zipped(message)).collect();
    let mut buffer = Vec::new();
    pair(criterion, "envelope_gzip", &gzip, 10 * LINES, |message| {
        buffer.clear();
        let mut reader = GzDecoder::new(message);
        reader.read_to_end(&mut buffer).expect("the benchmark's own input");
        black_box(parsed::<Envelope<'_>>(&buffer));
    });
}

criterion_group!(benches, decode);
criterion_main!(benches);
