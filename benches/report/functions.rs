//! Functions whose past is known as counts, made into calls again.

use core::net::Ipv4Addr;

use bursar::record::FunctionKey;
use bursar::simulation::draw::{Draw, derive};
use bursar::simulation::duration::DurationModel;

/// One call to come; times are milliseconds from the start of its minute.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Call {
    pub(crate) ms: u32,
    pub(crate) function: u32,
    pub(crate) billed_ms: u32,
    pub(crate) memory_mb: u32,
    pub(crate) client: Option<Ipv4Addr>,
    pub(crate) failed: bool,
    /// The platform's request id, 0 where it says nothing: only its repetition matters.
    pub(crate) request: u32,
}

/// What is known of a function's past.
#[derive(Clone)]
pub(crate) enum Counts {
    Minutes(Vec<u32>),
    Seconds(Vec<u16>),
}

/// How long its calls run.
#[derive(Clone)]
pub(crate) enum Duration {
    Constant(u32),
    Law(DurationModel),
}

/// One function.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) key: FunctionKey,
    /// It is called through an API, which has its own price, by clients that have addresses.
    pub(crate) api: bool,
    pub(crate) counts: Counts,
    pub(crate) duration: Duration,
    pub(crate) memory_mb: u32,
}

impl Function {
    pub(crate) fn calls_in(&self, minute: usize) -> u64 {
        match &self.counts {
            Counts::Minutes(counts) => u64::from(counts[minute]),
            Counts::Seconds(counts) => {
                counts[minute * 60..][..60].iter().map(|&count| u64::from(count)).sum()
            }
        }
    }

    /// A billed duration, in whole milliseconds.
    pub(crate) fn billed_ms(&self, draw: &mut Draw) -> u32 {
        match &self.duration {
            Duration::Constant(ms) => *ms,
            Duration::Law(law) => law.quantile(draw.unit()).ceil().max(1.0) as u32,
        }
    }

    /// The calls of one minute. Where only their number is known their times are uniform in the
    /// minute, as those of a Poisson process are given their number. Draws depend on seed,
    /// function and minute alone, so what else happens does not change them.
    pub(crate) fn minute(
        &self,
        index: u32,
        minute: usize,
        seed: u64,
        clients: Option<&Clients>,
        calls: &mut Vec<Call>,
    ) {
        let total = self.calls_in(minute);
        if total == 0 {
            return;
        }
        let mut draw = Draw::new(derive(seed, u64::from(index)), minute as u64);
        let clients = clients.filter(|_| self.api);
        let mut push = |ms: u64, draw: &mut Draw| {
            calls.push(Call {
                ms: ms as u32,
                function: index,
                billed_ms: self.billed_ms(draw),
                memory_mb: self.memory_mb,
                client: clients.map(|clients| clients.one(index, total, draw)),
                ..Call::default()
            });
        };
        match &self.counts {
            Counts::Minutes(_) => (0..total).for_each(|_| {
                let ms = draw.below(60_000);
                push(ms, &mut draw);
            }),
            Counts::Seconds(counts) => {
                for (second, &count) in (0..60).zip(&counts[minute * 60..][..60]) {
                    for _ in 0..count {
                        let ms = second * 1_000 + draw.below(1_000);
                        push(ms, &mut draw);
                    }
                }
            }
        }
    }
}

/// Who calls: a pool in which few clients are busy and most are not. When more calls come, more
/// clients have come, and each calls as often as before: that is what a crowd is.
pub(crate) struct Clients {
    /// A client stands here as often as it is busy.
    places: Vec<u32>,
}

/// Places in the pool; the busiest minute of the traces uses all of them.
const PLACES: usize = 1 << 18;
/// Places per call of a minute: a client with one place calls every fourth minute.
const PLACES_PER_CALL: u64 = 4;
/// Places that are in use however few calls come.
const PLACES_MIN: u64 = 64;
/// Tail index of the law of how busy clients are, and its end: the busiest calls 16 times a minute.
const TAIL: f64 = 1.2;
const BUSIEST: f64 = 64.0;

impl Clients {
    pub(crate) fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, 0);
        let mut places = Vec::with_capacity(PLACES);
        for client in 0.. {
            let busy = (1.0 - draw.unit()).powf(-1.0 / TAIL).min(BUSIEST);
            places.extend(std::iter::repeat_n(client, busy as usize));
            if places.len() >= PLACES {
                return Self { places };
            }
        }
        Self { places }
    }

    /// Who makes one of `calls` calls of a minute.
    fn one(&self, function: u32, calls: u64, draw: &mut Draw) -> Ipv4Addr {
        let open = (calls * PLACES_PER_CALL).clamp(PLACES_MIN, self.places.len() as u64);
        let client = self.places[draw.below(open) as usize];
        address(u64::from(function) << 32 | u64::from(client))
    }
}

/// An address in 11.0.0.0 .. 127.0.0.0, by a number.
fn address(number: u64) -> Ipv4Addr {
    let bits = derive(0x0b_0000, number) as u32;
    Ipv4Addr::from_bits((11 << 24) + bits % (116 << 24))
}
