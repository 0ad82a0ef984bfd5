//! Legitimate load: who calls, and when, so that each minute has exactly the trace's calls.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::simulation::draw::{Draw, below, derive};
use crate::simulation::platform::Request;
use crate::simulation::trace::{Trace, TraceFunction, TriggerGroup};
use crate::units::EventTime;

/// Users of one application, where nobody says how many.
const USERS: u32 = 500;

/// Timers fire within this many milliseconds of their time.
const TIMER_JITTER_MS: u64 = 200;

const MINUTE_MS: u64 = 60_000;

/// What clients call themselves.
const USER_AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/143.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_2 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/143.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/19.2 Safari",
    "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0",
    "okhttp/5.3.0",
    "axios/1.13.2",
    "python-requests/2.32.5",
];

/// The users of one application: their addresses follow from a number, so no table is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Callers {
    bits: u64,
    users: u32,
    /// Logarithm of their number and one.
    ln_users: f64,
}

impl Callers {
    /// The users of `app`; other seeds have other users.
    pub fn new(seed: u64, app: u64) -> Self {
        Self { bits: derive(seed ^ app, 20), users: 0, ln_users: 0.0 }.of(USERS)
    }

    /// The same with so many users.
    #[must_use]
    pub fn of(self, users: u32) -> Self {
        Self { users, ln_users: libm::log(f64::from(users) + 1.0), ..self }
    }

    /// Someone, anyone like the next: people who come once.
    pub fn draw_evenly(self, draw: &mut Draw) -> (IpAddr, &'static str) {
        self.user(draw.below(u64::from(self.users)))
    }

    /// Someone: address and user agent. The n-th most active user calls about 1/n as often as the
    /// first (Zipf's law with exponent 1, by inverting its continuous form).
    pub fn draw(self, draw: &mut Draw) -> (IpAddr, &'static str) {
        let rank = libm::exp(draw.unit() * self.ln_users);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and USERS + 1"
        )]
        self.user(rank as u64)
    }

    fn user(self, number: u64) -> (IpAddr, &'static str) {
        let user = derive(self.bits, number);
        (address(user), user_agent(derive(user, 2)))
    }
}

/// An address that belongs to these bits: nine of ten IPv4 from outside the reserved blocks, the
/// rest IPv6 from the documentation prefix (RFC 3849).
pub fn address(bits: u64) -> IpAddr {
    if below(derive(bits, 0), 10) == 0 {
        let [a, b, c, d, e, f, g, h] = derive(bits, 1).to_be_bytes();
        let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let host = [u16::from_be_bytes([e, f]), u16::from_be_bytes([g, h])];
        return IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, high, low, 0, 0, host[0], host[1]));
    }
    let [_, _, _, _, _, b, c, d] = derive(bits, 1).to_be_bytes();
    // First bytes in which no block is reserved for special use (RFC 6890).
    let first = 11 + below(derive(bits, 2), 89);
    IpAddr::V4(Ipv4Addr::new(u8::try_from(first).unwrap_or(11), b, c, d))
}

/// A user agent that belongs to these bits.
pub fn user_agent(bits: u64) -> &'static str {
    USER_AGENTS[usize::from(bits.to_le_bytes()[0]) % USER_AGENTS.len()]
}

/// The calls of a trace, minute by minute.
#[derive(Debug)]
pub struct TraceLoad<'a> {
    functions: &'a [TraceFunction],
    start: EventTime,
    seed: u64,
    draw: Draw,
}

impl<'a> TraceLoad<'a> {
    /// The trace's first minute begins at `start`. Functions are numbered as in the trace.
    pub fn new(trace: &'a Trace, seed: u64, start: EventTime) -> Self {
        Self { functions: &trace.functions, start, seed, draw: Draw::new(seed, 3) }
    }

    /// Appends the calls of minute number `minute`, function by function.
    pub fn minute(&mut self, minute: u32, out: &mut Vec<Request>) {
        let begin = self.start.plus_ms(i64::from(minute) * MINUTE_MS.cast_signed());
        for (index, function) in self.functions.iter().enumerate() {
            let count = function.counts.get(minute as usize).copied().unwrap_or(0);
            let callers = Callers::new(self.seed, function.app);
            for call in 0..u64::from(count) {
                let beat = function.trigger == TriggerGroup::Timer;
                let offset = offset(&mut self.draw, call, count, beat);
                let http = function.trigger == TriggerGroup::Http;
                let caller = http.then(|| callers.draw(&mut self.draw));
                out.push(Request {
                    address: caller.map(|(address, _)| address),
                    user_agent: caller.map(|(_, user_agent)| user_agent),
                    ..Request::new(begin.plus_ms(offset.cast_signed()), index)
                });
            }
        }
    }
}

/// When call number `call` of the `count` of a minute comes, in milliseconds.
pub fn offset(draw: &mut Draw, call: u64, count: u32, beat: bool) -> u64 {
    if beat {
        // Evenly over the minute, beginning with it: a schedule fires on the beat.
        let jitter = draw.below(TIMER_JITTER_MS);
        return (call * MINUTE_MS / u64::from(count) + jitter).min(MINUTE_MS - 1);
    }
    // Given their number, the times of a Poisson process are uniform.
    draw.below(MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::simulation::duration::DurationModel;
    use crate::units::MemoryMb;

    const START: EventTime = EventTime::saturating_from_ms(1_767_600_000_000);

    fn function(name: &str, trigger: TriggerGroup, counts: &[u32]) -> TraceFunction {
        TraceFunction {
            key: format!("1:us-east-1:{name}").parse().unwrap(),
            app: 5,
            trigger,
            counts: counts.to_vec(),
            duration: DurationModel::log_normal(10.0, 20.0).unwrap(),
            memory: MemoryMb::try_new(128).unwrap(),
        }
    }

    fn requests(seed: u64, minute: u32) -> Vec<Request> {
        let trace = Trace {
            functions: vec![
                function("web", TriggerGroup::Http, &[10_000, 7]),
                function("clock", TriggerGroup::Timer, &[1, 60]),
                function("queue", TriggerGroup::Other, &[0, 300]),
            ],
            first_minute: 0,
            minutes: 2,
        };
        let mut out = Vec::new();
        TraceLoad::new(&trace, seed, START).minute(minute, &mut out);
        out
    }

    #[test]
    fn each_minute_has_exactly_its_calls_inside_it() {
        for (minute, counts) in [(0, [10_000, 1, 0]), (1, [7, 60, 300])] {
            let mut found = [0; 3];
            let begin = START.plus_ms(i64::from(minute) * 60_000);
            for request in requests(1, minute) {
                found[request.function] += 1;
                assert!((0..60_000).contains(&request.at.since_ms(begin)), "{request:?}");
            }
            assert_eq!(found, counts);
        }
        assert_eq!(requests(1, 0), requests(1, 0));
        assert_ne!(requests(1, 0), requests(2, 0));
    }

    #[test]
    fn timers_fire_on_the_beat_with_a_small_jitter() {
        let begin = START.plus_ms(60_000);
        let fires = requests(1, 1).into_iter().filter(|request| request.function == 1);
        for (second, request) in (0..).zip(fires) {
            let late = request.at.since_ms(begin) - second * 1_000;
            assert!((0..200).contains(&late), "{late}");
            assert_eq!(request.address, None);
        }
    }

    #[test]
    fn callers_are_a_population_with_few_heavy_and_many_light_users() {
        let mut calls: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for request in requests(1, 0).iter().filter(|request| request.function == 0) {
            *calls.entry(request.address.unwrap()).or_default() += 1;
        }
        let most = *calls.values().max().unwrap();
        assert!((400..=500).contains(&calls.len()), "{}", calls.len());
        // 1 / ln(501) of the calls times ln 2: the first user has about 11 percent.
        assert!((900..1_300).contains(&most), "{most}");
        assert!(calls.keys().any(IpAddr::is_ipv6) && calls.keys().any(IpAddr::is_ipv4));
    }
}
