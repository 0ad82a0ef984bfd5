//! Ground truth: what was asked, what became of it and what it used, kept apart for legitimate
//! requests and attacks. Never on the wire.

use super::request::Ending;
use crate::units::{EventTime, MbMillis};

/// The most rows that wait to be taken, about 1.6 GB: who advances by long steps has to take them
/// in between.
const ROWS_MAX: usize = 1 << 23;

/// Sums over requests of one origin. A synchronous request is settled when it starts or is turned
/// away, any other when it succeeds or is given up: once that has happened to all of them,
/// `offered` is `served` + `throttled` + `limited` + `blocked` + `dead`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests that came.
    pub offered: u64,
    /// Let in: synchronous ones when they start, whatever comes of it, others when they succeed.
    pub served: u64,
    /// Refused at a concurrency, rate or scaling limit, behind the gateway.
    pub throttled: u64,
    /// Refused at a limit of the gateway.
    pub limited: u64,
    /// Refused at the firewall.
    pub blocked: u64,
    /// Given up: dead letters, expired, or no room in a backlog.
    pub dead: u64,
    /// Attempts that found no room and wait for another.
    pub deferred: u64,
    /// Requests of completed invocations that failed or were cut off.
    pub failed: u64,
    /// Completed invocations, each with its price per request. One with a batch counts for the
    /// origin of its first request.
    pub invocations: u64,
    /// What completed invocations were billed for.
    pub usage: MbMillis,
    /// Bytes of answers through an API.
    pub response_bytes: u64,
    /// Bytes of log text, besides what every invocation writes.
    pub log_bytes: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            offered: self.offered + other.offered,
            served: self.served + other.served,
            throttled: self.throttled + other.throttled,
            limited: self.limited + other.limited,
            blocked: self.blocked + other.blocked,
            dead: self.dead + other.dead,
            deferred: self.deferred + other.deferred,
            failed: self.failed + other.failed,
            invocations: self.invocations + other.invocations,
            usage: self.usage.plus(other.usage),
            response_bytes: self.response_bytes + other.response_bytes,
            log_bytes: self.log_bytes + other.log_bytes,
        }
    }

    /// Requests of which it is not yet known what becomes of them.
    pub fn unsettled(&self) -> u64 {
        let settled = self.served + self.throttled + self.limited + self.blocked + self.dead;
        self.offered.saturating_sub(settled)
    }

    /// The sum that an ending counts in.
    pub(super) fn of(&mut self, ending: Ending) -> &mut u64 {
        match ending {
            Ending::Served | Ending::Failed | Ending::TimedOut => &mut self.served,
            Ending::Throttled => &mut self.throttled,
            Ending::Limited => &mut self.limited,
            Ending::Blocked => &mut self.blocked,
            Ending::Dead => &mut self.dead,
        }
    }
}

/// Sums, and when the records about them were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// The sums.
    pub counts: Counts,
    /// When the first record about them was written.
    pub first_record: Option<EventTime>,
    /// When the last one was.
    pub last_record: Option<EventTime>,
}

/// One second of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRow {
    /// Whole seconds since 1970.
    pub second: i64,
    /// Index of the function.
    pub function: u32,
    /// Legitimate requests.
    pub legitimate: Counts,
    /// All attacks.
    pub attack: Counts,
}

/// All sums of one platform.
#[derive(Debug, Clone)]
pub(super) struct Books {
    /// Index 0 is legitimate, n + 1 is attack n.
    tallies: Vec<Tally>,
    rows: Vec<LedgerRow>,
    /// For each function its newest row, which may be of an earlier second or taken already.
    newest: Option<Box<[u32]>>,
}

impl Books {
    pub(super) fn new(functions: usize, ledger: bool) -> Self {
        let newest = ledger.then(|| vec![0; functions].into_boxed_slice());
        Self { tallies: vec![Tally::default()], rows: Vec::new(), newest }
    }

    /// Counts something about a request for `function`.
    pub(super) fn book(
        &mut self,
        now: EventTime,
        function: usize,
        attack: Option<u16>,
        change: impl Fn(&mut Counts),
    ) {
        change(&mut self.tally_mut(attack).counts);
        if let Some(newest) = &mut self.newest {
            let second = now.second();
            let index = u32::try_from(function).unwrap_or(u32::MAX);
            let known = self.rows.get(newest[function] as usize);
            if known.is_none_or(|row| row.second != second || row.function != index) {
                assert!(self.rows.len() < ROWS_MAX, "the ledger is kept and never taken");
                newest[function] = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
                let (legitimate, attack) = (Counts::default(), Counts::default());
                self.rows.push(LedgerRow { second, function: index, legitimate, attack });
            }
            if let Some(row) = self.rows.get_mut(newest[function] as usize) {
                let counts = if attack.is_none() { &mut row.legitimate } else { &mut row.attack };
                change(counts);
            }
        }
    }

    /// A record about a request was written.
    pub(super) fn recorded(&mut self, now: EventTime, attack: Option<u16>) {
        let tally = self.tally_mut(attack);
        tally.first_record.get_or_insert(now);
        tally.last_record = Some(now);
    }

    pub(super) fn tally(&self, attack: Option<u16>) -> Tally {
        self.tallies.get(place_of(attack)).copied().unwrap_or_default()
    }

    pub(super) fn take_rows(&mut self, out: &mut Vec<LedgerRow>) {
        out.append(&mut self.rows);
    }

    fn tally_mut(&mut self, attack: Option<u16>) -> &mut Tally {
        let place = place_of(attack);
        if place >= self.tallies.len() {
            self.tallies.resize(place + 1, Tally::default());
        }
        &mut self.tallies[place]
    }
}

fn place_of(attack: Option<u16>) -> usize {
    attack.map_or(0, |attack| usize::from(attack) + 1)
}
