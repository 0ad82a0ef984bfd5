//! One pass over a data set in which functions are attacked, each at its own time.

use bursar::engine::settings::DetectionSettings;
use bursar::record::FunctionKey;
use bursar::units::EventTime;

use super::kind::{Attack, Done};
use crate::driver::{Case, Driver, Prices, function_of};
use crate::functions::{Call, Clients};
use crate::traces::DataSet;

/// A page counts as the attack's for so long after its end: the engine may look once a minute.
const GRACE_SECONDS: i64 = 60;

/// What becomes of one attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Whom it was against, or all, and when.
    function: Option<usize>,
    start: EventTime,
    end: EventTime,
    /// Dollars an hour that the attack was worth, over its length.
    pub(crate) usd_per_hour: f64,
    /// Dollars until the page, or all of them.
    pub(crate) usd: f64,
    /// Seconds from its start to the page.
    pub(crate) page: Option<f64>,
    /// It was said, but not as a page.
    pub(crate) notice: bool,
    /// Highest log10 of the evidence while it went on.
    pub(crate) peak: f64,
    /// An alarm was open already when it began.
    pub(crate) open_before: bool,
}

/// A data set in which nobody attacks.
pub(crate) struct Calm {
    driver: Driver,
    start: i64,
    minutes: i64,
}

impl Calm {
    /// Peaks of the evidence of every function in windows of `seconds` after the learning.
    pub(crate) fn peaks(&self, seconds: i64, learning_minutes: usize) -> Vec<f64> {
        let length = minutes_until(seconds) as i64;
        let first = self.start.div_euclid(60) + learning_minutes as i64;
        let end = self.start.div_euclid(60) + self.minutes;
        let windows = (0..(end - first) / length).map(|index| first + index * length);
        let of = |function| windows.clone().map(move |from| (function, from));
        let all = (0..self.driver.functions()).flat_map(of);
        all.map(|(function, from)| self.driver.peak(function, from..from + length)).collect()
    }

    /// Whether there was a page at the time of an attack all the same.
    pub(crate) fn paged(&self, outcome: &Outcome) -> bool {
        let of = |case: &&Case| outcome.function.is_none_or(|function| case.function == function);
        let mut pages = self.driver.cases(0).iter().filter(of).filter_map(|case| case.page_at);
        pages.any(|at| (outcome.start..outcome.end).contains(&at))
    }
}

/// A data set, whose functions go by these names.
pub(crate) struct Stage<'a> {
    pub(crate) set: &'a DataSet,
    pub(crate) names: Vec<FunctionKey>,
    pub(crate) clients: &'a Clients,
    pub(crate) seed: u64,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(set: &'a DataSet, clients: &'a Clients, seed: u64) -> Self {
        let names = set.functions.iter().map(|function| function.key.clone()).collect();
        Self { set, names, clients, seed }
    }

    fn driver(&self) -> Driver {
        let apis = self.set.functions.iter().map(|function| function.api);
        let functions = self.names.iter().cloned().zip(apis);
        let mut driver = Driver::new(functions, self.set.start, DetectionSettings::default());
        driver.keep_evidence();
        driver
    }

    /// The same with all functions in one account.
    pub(crate) fn in_one_account(&self) -> Self {
        let names = (0..self.names.len()).map(|index| function_of(0, index)).collect();
        Self { names, ..*self }
    }

    /// The same time without any attack.
    pub(crate) fn calm(&self) -> Calm {
        let nobody = vec![Vec::new(); self.set.functions.len()];
        let (driver, _) = self.drive(&nobody, self.set.minutes);
        Calm { driver, start: self.set.start, minutes: self.set.minutes as i64 }
    }

    /// Attacks functions and says what became of the last attack on each; functions with no attack
    /// are left out of the pass.
    pub(crate) fn attack(&self, attacks: &[Vec<Attack>]) -> Vec<Option<Outcome>> {
        let last = attacks.iter().flatten().map(Attack::end).max().unwrap_or(0);
        let minutes = minutes_until(last + GRACE_SECONDS);
        let (driver, usd) = self.drive(attacks, minutes.min(self.set.minutes));
        let each = attacks.iter().zip(&usd).enumerate();
        each.map(|(function, (attacks, usd))| {
            attacks
                .last()
                .map(|attack| outcome(&driver, self.set.start, Some(function), attack, usd))
        })
        .collect()
    }

    /// Attacks functions of one account at the same time and says what becomes of it as a whole:
    /// the first page about any of them, or about the account, is that of the attack.
    pub(crate) fn campaign(&self, attacks: &[Vec<Attack>]) -> Outcome {
        let Some(attack) = attacks.iter().flatten().next() else {
            unreachable!("a campaign attacks somebody");
        };
        let minutes = minutes_until(attack.end() + GRACE_SECONDS);
        let (driver, usd) = self.drive(attacks, minutes.min(self.set.minutes));
        let mut all = Vec::new();
        for (second, usd) in usd.iter().flat_map(|of_one| of_one.iter().enumerate()) {
            all.resize(all.len().max(second + 1), 0.0);
            all[second] += usd;
        }
        outcome(&driver, self.set.start, None, attack, &all)
    }

    /// Returns also what the last attack on each function has spent, by second.
    fn drive(&self, attacks: &[Vec<Attack>], minutes: usize) -> (Driver, Vec<Vec<f64>>) {
        let prices = Prices::new();
        let mut driver = self.driver();
        let mut spent = vec![Vec::new(); attacks.len()];
        let mut later: Vec<(usize, Call)> = Vec::new();
        let (mut calls, mut returning) = (Vec::new(), Vec::new());
        let attacked = attacks.iter().any(|attacks| !attacks.is_empty());
        for minute in 0..minutes {
            calls.clear();
            calls.extend(later.extract_if(.., |(due, _)| *due == minute).map(|(_, call)| call));
            for (index, function) in self.set.functions.iter().enumerate() {
                let over = attacks[index].last().map(|attack| attack.end() + GRACE_SECONDS);
                let needed = over.map_or(!attacked, |over| (minute as i64) * 60 <= over);
                if !needed {
                    continue;
                }
                let own = calls.len();
                let number = index as u32;
                function.minute(number, minute, self.seed, Some(self.clients), &mut calls);
                let mut unseen = Vec::new();
                for (at, attack) in attacks[index].iter().enumerate() {
                    let is_last = at + 1 == attacks[index].len();
                    let usd = if is_last { &mut spent[index] } else { &mut unseen };
                    if attack.touches(minute) {
                        let later = &mut returning;
                        let done = Done { calls: &mut calls, own, later, usd };
                        attack.minute(function, number, minute, &prices, done);
                    }
                }
            }
            later.extend(returning.drain(..).map(|call: Call| {
                let due = minute + (call.ms / 60_000) as usize;
                (due, Call { ms: call.ms % 60_000, ..call })
            }));
            driver.minute(&mut calls);
        }
        (driver, spent)
    }
}

/// What became of an attack on a function, or on all of them.
fn outcome(
    driver: &Driver,
    set_start: i64,
    function: Option<usize>,
    attack: &Attack,
    usd: &[f64],
) -> Outcome {
    let start = EventTime::from_second(set_start + attack.start);
    let end = EventTime::from_second(set_start + attack.end() + GRACE_SECONDS);
    let meant = |case: &&Case| function.is_none_or(|function| case.function == function);
    let cases = || driver.cases(0).iter().filter(meant);
    let open_before = cases().any(|case| case.decided_at < start && case.last_at >= start);
    let page = cases().filter_map(|case| case.page_at).find(|at| (start..end).contains(at));
    let said = cases().any(|case| (start..end).contains(&case.decided_at));
    let page = page.map(|at| at.since_ms(start) as f64 / 1e3);
    let total: f64 = usd.iter().sum();
    Outcome {
        function,
        start,
        end,
        usd_per_hour: total * 3_600.0 / attack.seconds as f64,
        usd: page.map_or(total, |page| until(usd, page)),
        page,
        notice: said && page.is_none(),
        peak: function.map_or(0.0, |at| driver.peak(at, start.minute()..end.minute() + 1)),
        open_before,
    }
}

/// Minutes that a stretch of so many seconds can touch.
fn minutes_until(seconds: i64) -> usize {
    (seconds / 60 + 2) as usize
}

/// What was spent in the first `seconds`; evenly within a second.
fn until(usd: &[f64], seconds: f64) -> f64 {
    let whole = (seconds as usize).min(usd.len());
    let part = usd.get(whole).copied().unwrap_or(0.0) * seconds.fract();
    usd[..whole].iter().sum::<f64>() + part
}
