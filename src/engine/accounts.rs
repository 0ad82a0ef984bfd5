//! Are many functions of one account a little too busy at once, none of them enough to tell?
//!
//! The functions of an account live in several shards, so this stands behind them. Each finished
//! minute of a function brings its e-value ([`MinuteRow::busyness`]); when all rows of a minute are
//! out, their mean is taken over the functions that the account had when the minute *began*, which
//! makes the weights predictable, and goes through [`Aggregate`]. A function without a row was
//! silent or is too new to have a baseline, and counts as zero. Of an account that was not known
//! then, nothing is said.
//!
//! The statistic has no money in it. So an alarm opens only where the functions above 1 together
//! burn the notice floor more than expected, where they are at least [`LIFTED_MIN`], and where none
//! of them has half of the excess: such a one has its own alarm. These conditions can only make
//! alarms rarer, so the promise holds.
//!
//! While an alarm is open the baselines of its functions go on learning: nothing is said of any one
//! of them. A thin attack that lasts is the new normal after some ten minutes, and then it closes.

use std::collections::BTreeMap;

use super::alarm::{
    AccountAlarm, AlarmState, Busyness, Channel, Class, Excess, FunctionExcess, LiftedFunctions,
    MinuteRow, Severity, alarm_id,
};
use super::assess::severity;
use super::detect::Thresholds;
use super::detect::aggregate::Aggregate;
use super::detect::rate::ChannelReading;
use super::settings::DetectionSettings;
use super::shard::{ACCOUNTS_MAX, ROWS_COMPLETE};
use crate::keep::{Bytes, Keep, Unfit, ensure, kept};
use crate::units::{AccountId, EventTime, NanoUsd};

/// With fewer functions above 1, each of them is better told by itself.
pub const LIFTED_MIN: u32 = 8;
/// The most by which one function may lift the mean of a minute: in a small account, too, it takes
/// some minutes or many functions.
const MEAN_SHARE_MAX: f64 = 30.0;
/// Functions that an alarm names.
const NAMED_MAX: usize = 10;
/// An alarm closes after so many minutes without evidence, as a notice of one function does.
const QUIET_MINUTES: u32 = 10;
/// Evidence below this has gone: what comes next is a new excess.
const AT_REST: f64 = 1.0;

/// How many functions each account has.
pub type Members = BTreeMap<AccountId, u64>;

/// All accounts that have something to say.
#[derive(Debug)]
pub struct Accounts {
    detection: DetectionSettings,
    threshold: f64,
    /// As of the beginning of the minute that closes next.
    members: Members,
    /// At most [`ACCOUNTS_MAX`]; the functions of others have only their own alarms.
    accounts: BTreeMap<AccountId, Account>,
}

impl Accounts {
    /// Nothing is known yet.
    pub fn new(detection: DetectionSettings) -> Self {
        Self {
            threshold: Thresholds::new(&detection).account,
            detection,
            members: Members::new(),
            accounts: BTreeMap::new(),
        }
    }

    /// Takes in a function's finished minute.
    pub fn row(&mut self, row: &MinuteRow) {
        let Some(busyness) = &row.busyness else {
            return;
        };
        let account = row.function.account;
        let Some(&functions) = self.members.get(&account) else {
            return;
        };
        if self.accounts.len() < ACCOUNTS_MAX || self.accounts.contains_key(&account) {
            self.accounts.entry(account).or_default().add(row, busyness, functions);
        }
    }

    /// Event time has reached `now`, a whole second, and the shards have spoken; `members` is as of
    /// the latest full minute.
    pub fn tick(&mut self, now: EventTime, members: &Members) -> Vec<AccountAlarm> {
        if now.second().rem_euclid(60) != ROWS_COMPLETE {
            return Vec::new();
        }
        let mut alarms = Vec::new();
        for (&id, account) in &mut self.accounts {
            let functions = self.members.get(&id).copied().unwrap_or(0);
            account.close(now, functions, self.threshold);
            alarms.extend(account.alarm(id, now, functions, self.threshold, &self.detection));
            account.minute = OpenMinute::default();
        }
        self.accounts.retain(|_, account| !account.is_at_rest());
        self.members.clone_from(members);
        alarms
    }

    /// Writes them down.
    pub fn keep(&self, out: &mut Vec<u8>) {
        let Self { detection: _, threshold: _, members, accounts } = self;
        members.keep(out);
        accounts.keep(out);
    }

    /// Goes on from there.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.members = Keep::regain(from)?;
        self.accounts = Keep::regain(from)?;
        ensure(self.accounts.len() <= ACCOUNTS_MAX)
    }

    /// Whether no account has anything to remember.
    pub fn is_idle(&self) -> bool {
        self.accounts.is_empty()
    }
}

#[derive(Debug, Default)]
struct Account {
    aggregate: Aggregate,
    minute: OpenMinute,
    /// Since when evidence has been gathering, and what was too much since then.
    onset: EventTime,
    excess: Excess,
    alarm: Option<OpenAlarm>,
}

/// What the functions above 1 did in one minute.
#[derive(Debug, Default)]
struct OpenMinute {
    requests: u64,
    expected: f64,
    excess: Excess,
    /// Largest excess first, then by name.
    largest: Vec<FunctionExcess>,
}

#[derive(Debug)]
struct OpenAlarm {
    id: String,
    severity: Severity,
    evidence_at: EventTime,
    quiet_minutes: u32,
}

impl Account {
    fn add(&mut self, row: &MinuteRow, busyness: &Busyness, functions: u64) {
        self.aggregate.add(busyness.evidence.min(MEAN_SHARE_MAX * functions as f64));
        if busyness.evidence > 1.0 {
            self.minute.add(row, busyness);
        }
    }

    fn is_at_rest(&self) -> bool {
        self.alarm.is_none() && self.aggregate.value() < AT_REST
    }

    /// Closes the minute before `now`'s.
    fn close(&mut self, now: EventTime, functions: u64, threshold: f64) {
        if self.is_at_rest() {
            self.onset = EventTime::from_second((now.minute() - 1) * 60);
            self.excess = Excess::default();
        }
        add(&mut self.excess, &self.minute.excess);
        self.aggregate.close(functions, threshold);
    }

    /// What there is to say of the minute that has just closed.
    fn alarm(
        &mut self,
        id: AccountId,
        now: EventTime,
        functions: u64,
        threshold: f64,
        detection: &DetectionSettings,
    ) -> Option<AccountAlarm> {
        let evidence = self.aggregate.value();
        let per_hour = self.minute.excess.nano_usd.usd() * 60.0;
        let (mut open, mut state) = match self.alarm.take() {
            Some(open) => (open, AlarmState::Updated),
            None if evidence >= threshold && self.is_common(per_hour, detection) => {
                (OpenAlarm::new(id, self.onset, now), AlarmState::Opened)
            }
            None => return None,
        };
        open.quiet_minutes =
            if evidence < libm::sqrt(threshold) { open.quiet_minutes + 1 } else { 0 };
        let lost = self.excess.nano_usd.usd();
        let worth = severity(Class::Unknown, false, per_hour, lost, detection);
        if worth > open.severity {
            (open.severity, state) = (worth, AlarmState::Opened);
        }
        if open.quiet_minutes >= QUIET_MINUTES {
            state = AlarmState::Closed;
        }
        let alarm = AccountAlarm {
            id: open.id.clone(),
            state,
            severity: open.severity,
            account: id,
            onset: self.onset,
            evidence_at: open.evidence_at,
            decided_at: now,
            reading: ChannelReading {
                evidence_log10: libm::log10(evidence.max(1e-9)),
                threshold_log10: libm::log10(threshold),
                expected: self.minute.expected / 60.0,
                observed: self.minute.requests as f64 / 60.0,
            },
            excess: self.excess,
            excess_per_hour: NanoUsd::from_usd(per_hour),
            functions: LiftedFunctions {
                lifted: self.aggregate.lifted(),
                of: functions,
                largest: std::mem::take(&mut self.minute.largest),
            },
        };
        match state {
            AlarmState::Closed => self.aggregate.restart(),
            AlarmState::Opened | AlarmState::Updated => self.alarm = Some(open),
        }
        Some(alarm)
    }

    /// Whether the excess of the latest minute is worth telling and is not one function's.
    fn is_common(&self, per_hour: f64, detection: &DetectionSettings) -> bool {
        let all = self.minute.excess.nano_usd.0;
        let largest = self.minute.largest.first().map_or(0, |first| first.excess.nano_usd.0);
        self.aggregate.lifted() >= LIFTED_MIN
            && largest < all - largest
            && per_hour >= detection.notice_floor_usd_per_hour
    }
}

impl OpenMinute {
    fn add(&mut self, row: &MinuteRow, busyness: &Busyness) {
        self.requests = self.requests.saturating_add(row.usage.requests);
        self.expected += busyness.expected;
        add(&mut self.excess, &busyness.excess);
        let size = busyness.excess.nano_usd;
        let place = self.largest.partition_point(|other| {
            (other.excess.nano_usd, &row.function) > (size, &other.function)
        });
        if place < NAMED_MAX {
            self.largest.truncate(NAMED_MAX - 1);
            let function = row.function.clone();
            self.largest.insert(place, FunctionExcess { function, excess: busyness.excess });
        }
    }
}

impl OpenAlarm {
    fn new(account: AccountId, onset: EventTime, now: EventTime) -> Self {
        Self {
            id: alarm_id("account", &account, Channel::Aggregate, onset),
            severity: Severity::Notice,
            evidence_at: EventTime::from_second(now.minute() * 60),
            quiet_minutes: 0,
        }
    }
}

fn add(sum: &mut Excess, more: &Excess) {
    sum.requests = sum.requests.saturating_add(more.requests);
    sum.mb_ms = sum.mb_ms.saturating_add(more.mb_ms);
    sum.nano_usd += more.nano_usd;
}

kept!(Account { aggregate, minute, onset, excess, alarm });
kept!(OpenMinute { requests, expected, excess, largest }
    if |minute| minute.largest.len() <= NAMED_MAX);
kept!(OpenAlarm { id, severity, evidence_at, quiet_minutes });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Usage;

    const START: i64 = 29_666_667;

    /// A minute of function `number`, which is worth `evidence` and has cost `nano_usd` too much.
    fn row(minute: i64, number: usize, evidence: f64, nano_usd: i64) -> MinuteRow {
        let excess = Excess { requests: 9, mb_ms: 900, nano_usd: NanoUsd(nano_usd) };
        MinuteRow {
            minute: START + minute,
            function: format!("111122223333:eu-west-1:f{number:04}").parse().unwrap(),
            usage: Usage { requests: 10, ..Usage::ZERO },
            nano_usd: NanoUsd(nano_usd),
            expected: 0.0,
            billed_ms: 100.0,
            memory_mb: 128,
            evidence_log10: 0.0,
            busyness: Some(Busyness { evidence, expected: 1.0, excess }),
        }
    }

    /// Feeds the rows of a minute and says when it is complete.
    fn minute(accounts: &mut Accounts, minute: i64, rows: &[(f64, i64)]) -> Vec<AccountAlarm> {
        for (number, &(evidence, nano_usd)) in rows.iter().enumerate() {
            accounts.row(&row(minute, number, evidence, nano_usd));
        }
        let members = Members::from([("111122223333".parse().unwrap(), 100)]);
        let second = (START + minute + 1) * 60;
        let alarms = (0..60).flat_map(|s| {
            let said = accounts.tick(EventTime::from_second(second + s), &members);
            assert!(said.is_empty() || s == ROWS_COMPLETE);
            said
        });
        alarms.collect()
    }

    /// States over the minutes since the members are known.
    fn states(rows: &[(f64, i64)], minutes: i64) -> Vec<(i64, AlarmState, Severity)> {
        let mut accounts = Accounts::new(DetectionSettings::default());
        minute(&mut accounts, 0, &[]);
        let said = (1..=minutes).flat_map(|number| {
            let said = minute(&mut accounts, number, rows);
            said.into_iter().map(move |alarm| (number, alarm.state, alarm.severity))
        });
        said.collect()
    }

    /// A thousandth of a dollar is three times the notice floor in a minute.
    const DEAR: i64 = 1_000_000;

    #[test]
    fn many_functions_that_are_each_a_little_too_busy_are_an_alarm() {
        use AlarmState::{Opened, Updated};
        use Severity::Notice;
        let expected = [(3, Opened, Notice), (4, Updated, Notice), (5, Updated, Notice)];
        assert_eq!(states(&[(1e6, DEAR / 100); 100], 5), expected, "all of them");
        let said = states(&[(1e6, DEAR / 20); 20], 4);
        assert_eq!(said, [(4, Opened, Notice)], "one in five");
    }

    #[test]
    fn whatever_else_is_no_alarm_over_an_account() {
        for (what, rows) in [
            ("too few", vec![(1e7, DEAR); 7]),
            ("too cheap", vec![(1e7, 10); 20]),
            ("no evidence", vec![(1.1, DEAR); 50]),
            ("not more than one", vec![(1.0, DEAR); 100]),
            ("one of them has half", [vec![(1e7, 20 * DEAR)], vec![(1e7, DEAR); 20]].concat()),
        ] {
            assert_eq!(states(&rows, 10), [], "{what}");
        }
        let half = [vec![(1e7, 19 * DEAR)], vec![(1e7, DEAR); 20]].concat();
        assert_eq!(states(&half, 4).len(), 1, "{half:?}");
    }

    #[test]
    fn of_an_account_that_was_not_known_when_the_minute_began_nothing_is_said() {
        let mut accounts = Accounts::new(DetectionSettings::default());
        let rows = [(1e7, DEAR); 100];
        assert!(minute(&mut accounts, 0, &rows).is_empty());
        assert!(minute(&mut accounts, 1, &rows).is_empty());
        assert!(minute(&mut accounts, 2, &rows).is_empty());
        assert_eq!(minute(&mut accounts, 3, &rows).len(), 1);
    }

    #[test]
    fn an_alarm_says_who_and_how_much_becomes_a_page_and_closes_after_ten_quiet_minutes() {
        let mut accounts = Accounts::new(DetectionSettings::default());
        let busy: Vec<(f64, i64)> = (0..90).map(|n| (1e7, n * DEAR)).collect();
        minute(&mut accounts, 0, &[]);
        assert!((1..3).all(|number| minute(&mut accounts, number, &busy).is_empty()));
        let opened = minute(&mut accounts, 3, &busy).pop().unwrap();
        assert_eq!((opened.state, opened.severity), (AlarmState::Opened, Severity::Page));
        assert_eq!(opened.onset, EventTime::from_second((START + 1) * 60));
        assert_eq!(opened.evidence_at, EventTime::from_second((START + 4) * 60));
        assert_eq!(opened.excess.nano_usd, NanoUsd(3 * 4_005 * DEAR));
        assert_eq!(opened.excess_per_hour, NanoUsd(60 * 4_005 * DEAR));
        assert_eq!((opened.functions.lifted, opened.functions.of), (90, 100));
        let names = opened.functions.largest.iter().map(|f| &*f.function.name).collect::<Vec<_>>();
        assert_eq!((names.len(), names[0], names[9]), (10, "f0089", "f0080"));
        let after: Vec<_> = (4..20).flat_map(|n| minute(&mut accounts, n, &[])).collect();
        assert_eq!(after.len(), 10);
        let closed = after.last().unwrap();
        assert_eq!((closed.state, &closed.id), (AlarmState::Closed, &opened.id));
        assert_eq!(closed.excess, opened.excess);
        assert!(accounts.is_idle());
    }

    #[test]
    fn accounts_beyond_the_limit_are_left_to_their_functions() {
        let mut accounts = Accounts::new(DetectionSettings::default());
        let ids = (0..ACCOUNTS_MAX + 10).map(|number| number.to_string().parse().unwrap());
        let members: Members = ids.map(|id| (id, 100)).collect();
        let complete = |minute: i64| EventTime::from_second((START + minute) * 60 + ROWS_COMPLETE);
        accounts.tick(complete(0), &members);
        for &account in members.keys() {
            let mut row = row(0, 0, 2.0, DEAR);
            row.function.account = account;
            accounts.row(&row);
        }
        assert_eq!(accounts.accounts.len(), ACCOUNTS_MAX);
        accounts.tick(complete(1), &members);
        assert!(accounts.is_idle());
    }
}
