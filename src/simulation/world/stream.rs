//! The calls of one function by callers who do not wait for an answer.

use crate::simulation::draw::{Draw, PoissonLaw};
use crate::simulation::load::{Callers, offset};
use crate::simulation::platform::{Request, Way};
use crate::simulation::scenario::{Load, Pace, Scenario, Season, Surge, way};
use crate::units::EventTime;

/// Streams of draws before this number belong to others.
pub(super) const DRAWS: u64 = 10_000;

/// A load on one function.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    function: usize,
    way: Way,
    callers: Option<Callers>,
    pace: Pace,
    season: Season,
    /// When the past begins, and when the window does.
    begin: EventTime,
    start: EventTime,
    surges: Vec<(Surge, Callers)>,
    draw: Draw,
    /// The minute for which the rate was worked out, and calls per second in it.
    minute: Option<i64>,
    rps: f64,
    calm: PoissonLaw,
}

impl Stream {
    pub(super) fn new(
        scenario: &Scenario,
        load: &Load,
        callers: Option<Callers>,
        seed: u64,
        number: u64,
    ) -> Self {
        let surges = (0..).zip(&scenario.surges);
        let own = surges.filter(|(_, surge)| surge.functions.contains(&load.function));
        let visitors =
            |(index, surge): (u64, &Surge)| (surge.clone(), visitors(seed, index, surge));
        Self {
            function: load.function,
            way: way(&scenario.functions[load.function]),
            callers,
            pace: load.pace.clone(),
            season: load.season,
            begin: scenario.begin(),
            start: scenario.start,
            surges: own.map(visitors).collect(),
            draw: Draw::new(seed, DRAWS + number),
            minute: None,
            rps: 0.0,
            calm: PoissonLaw::new(0.0),
        }
    }

    /// Appends the calls of the second that begins at `from`; those of a recorded minute when it
    /// begins.
    pub(super) fn second(&mut self, from: EventTime, out: &mut Vec<Request>) {
        let new_minute = self.minute != Some(from.minute());
        self.minute = Some(from.minute());
        if new_minute {
            self.rps = self.pace.mean_rps() * self.season.factor(from, self.start);
            self.calm = PoissonLaw::new(self.rps);
        }
        match &self.pace {
            Pace::Random { dispersion, .. } => {
                let dispersion = *dispersion;
                self.random(from, dispersion, out);
            }
            Pace::Beat { every_ms, calls } => {
                let (every, calls) = (every_ms.cast_signed(), *calls);
                let beat = (from.ms() + every - 1).div_euclid(every) * every;
                if beat < from.ms() + 1_000 {
                    for _ in 0..calls {
                        let at = EventTime::saturating_from_ms(beat);
                        out.push(self.request(at, self.callers));
                    }
                }
            }
            Pace::Recorded { counts, beat } if new_minute => {
                let minute = from.minute() - self.begin.minute();
                let count = usize::try_from(minute).ok().and_then(|at| counts.get(at));
                let (count, beat) = (count.copied().unwrap_or(0), *beat);
                for call in 0..u64::from(count) {
                    let late = offset(&mut self.draw, call, count, beat);
                    out.push(self.request(from.plus_ms(late.cast_signed()), self.callers));
                }
            }
            Pace::Recorded { .. } | Pace::Replayed { .. } | Pace::Sessions { .. } => {}
        }
    }

    fn random(&mut self, from: EventTime, dispersion: f64, out: &mut Vec<Request>) {
        if self.rps <= 0.0 {
            return;
        }
        let wobble = if dispersion > 0.0 { self.draw.gamma(dispersion) } else { 1.0 };
        let law = if dispersion > 0.0 { PoissonLaw::new(self.rps * wobble) } else { self.calm };
        for _ in 0..self.draw.poisson_of(&law) {
            let at = self.at_random(from);
            out.push(self.request(at, self.callers));
        }
        for index in 0..self.surges.len() {
            let (surge, visitors) = &self.surges[index];
            let (more, visitors) = (surge.factor_at(from.since_ms(self.start)) - 1.0, *visitors);
            if more <= 0.0 {
                continue;
            }
            for _ in 0..self.draw.poisson(self.rps * more * wobble) {
                let at = self.at_random(from);
                let caller = self.callers.map(|_| visitors.draw_evenly(&mut self.draw));
                let mut request = self.request(at, None);
                request.address = caller.map(|(address, _)| address);
                request.user_agent = caller.map(|(_, user_agent)| user_agent);
                out.push(request);
            }
        }
    }

    fn at_random(&mut self, from: EventTime) -> EventTime {
        from.plus_ms(self.draw.below(1_000).cast_signed())
    }

    fn request(&mut self, at: EventTime, callers: Option<Callers>) -> Request {
        let caller = callers.map(|callers| callers.draw(&mut self.draw));
        let way = match self.way {
            Way::Stream { .. } => {
                Way::Stream { key: u16::try_from(self.draw.below(1 << 16)).unwrap_or(0) }
            }
            way => way,
        };
        Request {
            way,
            address: caller.map(|(address, _)| address),
            user_agent: caller.map(|(_, user_agent)| user_agent),
            ..Request::new(at, self.function)
        }
    }
}

/// The callers that a surge brings.
pub(super) fn visitors(seed: u64, index: u64, surge: &Surge) -> Callers {
    Callers::new(seed, 1 << 50 | index).of(surge.users)
}
