//! Attacks by rule: what one of them adds to a function's calls, or changes in them.

use core::net::Ipv4Addr;

use bursar::simulation::draw::{Draw, derive};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::driver::Prices;
use crate::functions::{Call, Function};
use crate::laws::negative_binomial;

/// Addresses that attack.
pub(crate) const ATTACKERS: u64 = 20;
/// Lambda tries a failed asynchronous call again after one minute and after two more (developer
/// guide, "Understanding retry behavior").
const RETRIES_MS: [u32; 2] = [60_000, 180_000];
/// Limits of Lambda.
const BILLED_MS_MAX: u32 = 900_000;
const MEMORY_MB_MAX: u32 = 10_240;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// So many times the function's mean rate in all.
    Blast(f64),
    /// So many calls a second, whatever the function is used to.
    Flood(f64),
    /// 30 s of 20 times the mean, and at least 50 calls a second; then 90 s of nothing.
    YoYo,
    /// From one call a second, doubling every ten seconds up to 500.
    Recursion,
    /// Calls run so many times as long.
    Longer(u32),
    /// Calls have so many times the memory.
    Larger(u32),
    /// Every call fails, and every failure comes back twice with the same request id.
    Retries,
    /// So many more calls for each that the trace has.
    Leech(f64),
    /// That share grows from nothing by so much a day.
    Creep(f64),
}

impl Kind {
    pub(crate) fn name(self) -> String {
        match self {
            Kind::Blast(factor) => format!("blast x{factor}"),
            Kind::Flood(rate) => format!("blast {rate}/s on a near-idle function"),
            Kind::YoYo => "yo-yo 30 s on, 90 s off".to_owned(),
            Kind::Recursion => "recursion, doubling every 10 s".to_owned(),
            Kind::Longer(factor) => format!("duration x{factor}"),
            Kind::Larger(factor) => format!("memory x{factor}"),
            Kind::Retries => "retry storm, rate x3".to_owned(),
            Kind::Leech(share) => format!("leech x{}", 1.0 + share),
            Kind::Creep(per_day) => format!("creep +{:.0} % a day", per_day * 100.0),
        }
    }

    /// Calls per second that come on top, so many seconds after the beginning.
    fn extra(self, second: i64, mean: f64) -> f64 {
        match self {
            Kind::Blast(factor) => (factor - 1.0) * mean,
            Kind::Flood(rate) => rate,
            Kind::YoYo if second % 120 < 30 => (20.0 * mean).max(50.0),
            Kind::Recursion => 2.0_f64.powf((second / 10) as f64).min(500.0),
            _ => 0.0,
        }
    }

    /// Calls that come on top of each call of the trace, so many seconds after the beginning.
    fn share(self, second: i64) -> f64 {
        match self {
            Kind::Leech(share) => share,
            Kind::Creep(per_day) => (1.0 + per_day).powf(second as f64 / 86_400.0) - 1.0,
            _ => 0.0,
        }
    }
}

/// One attack on one function. Times are seconds since the data set's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) kind: Kind,
    pub(crate) start: i64,
    pub(crate) seconds: i64,
    /// Calls per second that the function has on average.
    pub(crate) mean: f64,
    pub(crate) seed: u64,
}

/// What an attack did in a minute.
pub(crate) struct Done<'a> {
    /// The minute's calls of all functions; the attacked one's are the last, from `own` on.
    pub(crate) calls: &'a mut Vec<Call>,
    pub(crate) own: usize,
    /// Calls that come back later, their time from the start of this minute.
    pub(crate) later: &'a mut Vec<Call>,
    /// What was spent by the attack, dollars by second since its start.
    pub(crate) usd: &'a mut Vec<f64>,
}

impl Done<'_> {
    fn spend(&mut self, second: i64, usd: f64) {
        let second = second.max(0) as usize;
        if self.usd.len() <= second {
            self.usd.resize(second + 1, 0.0);
        }
        self.usd[second] += usd;
    }
}

impl Attack {
    pub(crate) fn end(&self) -> i64 {
        self.start + self.seconds
    }

    /// Whether any of it falls into the minute.
    pub(crate) fn touches(&self, minute: usize) -> bool {
        let minute = minute as i64 * 60;
        minute + 60 > self.start && minute < self.end()
    }

    /// Second of the attack that a call of the minute falls into.
    fn second(&self, minute: usize, ms: u32) -> Option<i64> {
        let second = minute as i64 * 60 + i64::from(ms / 1_000);
        (self.start..self.end()).contains(&second).then_some(second - self.start)
    }

    /// Does to a minute what the attack does.
    pub(crate) fn minute(
        &self,
        function: &Function,
        index: u32,
        minute: usize,
        prices: &Prices,
        mut done: Done<'_>,
    ) {
        let mut draw = Draw::new(derive(self.seed, u64::from(index)), minute as u64);
        match self.kind {
            Kind::Longer(_) | Kind::Larger(_) => self.enlarge(function, minute, prices, &mut done),
            Kind::Retries => self.retry(function, minute, prices, &mut done),
            Kind::Leech(_) | Kind::Creep(_) => {
                self.multiply(function, minute, prices, &mut done, &mut draw);
            }
            Kind::Blast(_) | Kind::Flood(_) | Kind::YoYo | Kind::Recursion => {
                let mut rng = ChaCha8Rng::seed_from_u64(draw.bits());
                for second in 0..60_u32 {
                    let Some(since) = self.second(minute, second * 1_000) else {
                        continue;
                    };
                    let extra = self.kind.extra(since, self.mean);
                    let count =
                        if extra > 0.0 { negative_binomial(extra, 0.0, &mut rng) } else { 0 };
                    for _ in 0..count {
                        let ms = second * 1_000 + draw.below(1_000) as u32;
                        self.push(function, index, ms, since, prices, &mut done, &mut draw);
                    }
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are the call")]
    fn push(
        &self,
        function: &Function,
        index: u32,
        ms: u32,
        since: i64,
        prices: &Prices,
        done: &mut Done<'_>,
        draw: &mut Draw,
    ) {
        let by_clients = function.api && self.kind != Kind::Recursion;
        let call = Call {
            ms,
            function: index,
            billed_ms: function.billed_ms(draw),
            memory_mb: function.memory_mb,
            client: by_clients.then(|| attacker(draw)),
            ..Call::default()
        };
        done.spend(since, prices.per_call(function.api, call.billed_ms, call.memory_mb));
        done.calls.push(call);
    }

    fn enlarge(&self, function: &Function, minute: usize, prices: &Prices, done: &mut Done<'_>) {
        for at in done.own..done.calls.len() {
            let mut call = done.calls[at];
            let Some(since) = self.second(minute, call.ms) else {
                continue;
            };
            let usual = prices.per_call(function.api, call.billed_ms, call.memory_mb);
            match self.kind {
                Kind::Longer(factor) => {
                    call.billed_ms = (call.billed_ms * factor).min(BILLED_MS_MAX);
                }
                Kind::Larger(factor) => {
                    call.memory_mb = (call.memory_mb * factor).min(MEMORY_MB_MAX);
                }
                _ => {}
            }
            let now = prices.per_call(function.api, call.billed_ms, call.memory_mb);
            done.spend(since, now - usual);
            done.calls[at] = call;
        }
    }

    fn retry(&self, function: &Function, minute: usize, prices: &Prices, done: &mut Done<'_>) {
        for at in done.own..done.calls.len() {
            let call = &mut done.calls[at];
            let Some(since) = self.second(minute, call.ms) else {
                continue;
            };
            call.failed = true;
            call.request = (minute * 1_000_000 + at + 1) as u32;
            let call = *call;
            for delay in RETRIES_MS {
                let again = Call { ms: call.ms + delay, ..call };
                let usd = prices.per_call(function.api, call.billed_ms, call.memory_mb);
                done.spend(since + i64::from(delay / 1_000), usd);
                done.later.push(again);
            }
        }
    }

    fn multiply(
        &self,
        function: &Function,
        minute: usize,
        prices: &Prices,
        done: &mut Done<'_>,
        draw: &mut Draw,
    ) {
        for at in done.own..done.calls.len() {
            let call = done.calls[at];
            let Some(since) = self.second(minute, call.ms) else {
                continue;
            };
            let share = self.kind.share(since);
            let more = share.floor() as usize + usize::from(draw.unit() < share.fract());
            for _ in 0..more {
                let ms = call.ms - call.ms % 1_000 + draw.below(1_000) as u32;
                self.push(function, call.function, ms, since, prices, done, draw);
            }
        }
    }
}

/// One of the addresses that attack, in 198.51.100.0/24 (RFC 5737).
fn attacker(draw: &mut Draw) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xc633_6400 + 1 + draw.below(ATTACKERS) as u32)
}
