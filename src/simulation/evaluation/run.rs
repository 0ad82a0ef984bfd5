//! One replay: its decisions against the truth, then its ledger.

use std::collections::BTreeMap;

use serde::Serialize;

use super::attack_case::{AlarmScore, AttackCase, AttackScore, Call, Named, Raised};
use super::lines::{
    ActionLine, AlarmLine, DecisionLine, Place, RunLine, Severity, State, SummaryLine, TruthFile,
    ledger_line,
};
use super::{ALARMS_MAX, Flaw, NAMES_MAX};
use crate::units::{AccountId, EventTime};

/// False alarms that are listed one by one; all are counted.
const FALSE_LISTED_MAX: usize = 100;
/// Unknown kinds of line that are told apart.
const KINDS_MAX: usize = 32;
/// Rows are rounded one by one and the summary once; beyond that a hundredth is left for tiers.
const LEDGER_SHARE: i128 = 100;

/// One replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunScore {
    /// The file of decisions.
    pub decisions: String,
    /// In the order of the truth.
    pub attacks: Vec<AttackScore>,
    /// Days that functions were followed, summed over functions.
    pub function_days: f64,
    /// Of these, days in which a function had no baseline yet.
    pub warmup_function_days: f64,
    /// False pages in a function's day that the run promised not to exceed.
    pub promised_pages_per_function_day: Option<f64>,
    /// Pages that belong to no attack.
    pub false_pages: FalseCount,
    /// Notices that belong to no attack.
    pub false_notices: FalseCount,
    /// What was done or would have been.
    pub actions: Actions,
    /// Lines of kinds that are not known, by kind.
    pub unknown_lines: BTreeMap<String, u64>,
}

/// Alarms that belong to no attack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FalseCount {
    /// How many.
    pub count: u64,
    /// The same by channel.
    pub by_channel: BTreeMap<String, u64>,
    /// The first hundred.
    pub alarms: Vec<AlarmScore>,
}

/// What was done or would have been: restrictions and tightenings, not what gives back.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Actions {
    /// While an attack on the target was on, or had just been.
    pub in_attack: ActionScore,
    /// While none was.
    pub outside: ActionScore,
}

/// Actions of one sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ActionScore {
    /// Would have been taken.
    pub planned: u64,
    /// Came into force.
    pub applied: u64,
    /// The largest share of legitimate requests that one of these said it would refuse.
    pub legit_refused_share_max: Option<f64>,
}

impl ActionScore {
    fn add(&mut self, action: &ActionLine<'_>) {
        match &*action.outcome {
            "planned" => self.planned += 1,
            "applied" => self.applied += 1,
            _ => return,
        }
        self.see(action.legit_refused_share);
    }

    fn see(&mut self, share: Option<f64>) {
        let shares = self.legit_refused_share_max.into_iter().chain(share);
        self.legit_refused_share_max = shares.reduce(f64::max);
    }

    /// Both together.
    #[must_use]
    pub(super) fn plus(mut self, other: Self) -> Self {
        self.planned += other.planned;
        self.applied += other.applied;
        self.see(other.legit_refused_share_max);
        self
    }
}

/// Decisions while they are read, line by line.
#[derive(Debug)]
pub struct Decisions {
    name: String,
    start: EventTime,
    end: EventTime,
    records: u64,
    cases: Cases,
    run: Option<RunLine>,
    summary: Option<SummaryLine>,
    alarms: BTreeMap<Box<str>, Raised>,
    names: usize,
    actions: Actions,
    unknown: Unknown,
}

/// Attacks, and where to find them.
#[derive(Debug)]
struct Cases {
    list: Vec<AttackCase>,
    by_function: BTreeMap<String, Vec<usize>>,
    by_account: BTreeMap<AccountId, Vec<usize>>,
}

impl Cases {
    fn at(&self, place: &Place) -> &[usize] {
        let found = match place {
            Place::Function(function) => self.by_function.get(function),
            Place::Account(account) => self.by_account.get(account),
        };
        found.map(Vec::as_slice).unwrap_or_default()
    }

    fn owners(&self, place: &Place, onset: EventTime, evidence_at: EventTime) -> Vec<usize> {
        let owns = |index: &usize| self.list[*index].owns(onset, evidence_at);
        self.at(place).iter().copied().filter(owns).collect()
    }
}

impl Decisions {
    /// Starts with the truth; `name` is what the score calls the run.
    ///
    /// # Errors
    /// A truth that attacks cannot be scored against.
    pub fn new(name: String, truth: TruthFile) -> Result<Self, Flaw> {
        truth.check()?;
        let mut by_function: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut by_account: BTreeMap<AccountId, Vec<usize>> = BTreeMap::new();
        for (index, attack) in truth.attacks.iter().enumerate() {
            for function in &attack.functions {
                for list in [
                    by_function.entry(function.to_string()).or_default(),
                    by_account.entry(function.account).or_default(),
                ] {
                    if list.last() != Some(&index) {
                        list.push(index);
                    }
                }
            }
        }
        Ok(Self {
            name,
            start: truth.start,
            end: truth.end,
            records: truth.records,
            cases: Cases {
                list: truth.attacks.into_iter().map(AttackCase::new).collect(),
                by_function,
                by_account,
            },
            run: None,
            summary: None,
            alarms: BTreeMap::new(),
            names: 0,
            actions: Actions::default(),
            unknown: Unknown::default(),
        })
    }

    /// Takes in the next line.
    ///
    /// # Errors
    /// A line that is none, or that cannot stand there.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Flaw> {
        let line = DecisionLine::read(line)?;
        match line {
            DecisionLine::Run(_) if self.run.is_some() => return Err(Flaw::Again("run")),
            DecisionLine::Run(run) => {
                self.run = Some(run);
                return Ok(());
            }
            _ if self.run.is_none() => return Err(Flaw::NoRun),
            _ if self.summary.is_some() => return Err(Flaw::AfterSummary),
            DecisionLine::Alarm(alarm) => self.alarm(&alarm)?,
            DecisionLine::Action(action) => self.action(&action),
            DecisionLine::Remark => {}
            DecisionLine::Summary(summary) => self.summary = Some(summary),
            DecisionLine::Unknown(kind) => self.unknown.add(&kind),
        }
        Ok(())
    }

    fn alarm(&mut self, line: &AlarmLine<'_>) -> Result<(), Flaw> {
        let place = line.place();
        self.names(line, &place)?;
        if !self.alarms.contains_key(&*line.id) {
            if self.alarms.len() >= ALARMS_MAX {
                return Err(Flaw::TooMany { what: "alarms", max: ALARMS_MAX });
            }
            let raised = Raised {
                place,
                first_at: line.evidence_at,
                closed_at: None,
                class: "".into(),
                call: Call::new(line),
            };
            self.alarms.insert((*line.id).into(), raised);
        }
        let Some(raised) = self.alarms.get_mut(&*line.id) else {
            return Ok(());
        };
        if line.severity > raised.call.severity {
            raised.call = Call::new(line);
        }
        if *raised.class != *line.class {
            raised.class = (*line.class).into();
        }
        raised.closed_at = (line.state == State::Closed).then_some(line.decided_at);
        Ok(())
    }

    fn names(&mut self, line: &AlarmLine<'_>, place: &Place) -> Result<(), Flaw> {
        let owners = self.cases.owners(place, line.onset, line.evidence_at);
        for source in &line.attribution.sources {
            let attacks = owners.iter().map(|index| &self.cases.list[*index]);
            let Some(named) = Named::new(source, attacks) else {
                continue;
            };
            for index in &owners {
                let new = self.cases.list[*index].name(&named, line.decided_at);
                self.names += usize::from(new);
            }
            if self.names > NAMES_MAX {
                return Err(Flaw::TooMany { what: "named sources", max: NAMES_MAX });
            }
        }
        Ok(())
    }

    fn action(&mut self, action: &ActionLine<'_>) {
        if !matches!(&*action.verb, "restrict" | "tighten") {
            return;
        }
        let alarm = self.alarms.get(&*action.alarm_id);
        // The target of a rung need not be a function; the alarm behind it knows whom it is for.
        let of_alarm = alarm.map(|raised| self.cases.at(&raised.place)).unwrap_or_default();
        let of_target = self.cases.by_function.get(&*action.target);
        let mut near = of_alarm.iter().chain(of_target.into_iter().flatten());
        if near.any(|index| self.cases.list[*index].is_on(action.decided_at)) {
            self.actions.in_attack.add(action);
        } else {
            self.actions.outside.add(action);
        }
    }

    /// Ends with the last line.
    ///
    /// # Errors
    /// A file that is cut off, or that belongs to another truth.
    pub fn finish(self) -> Result<Judged, Flaw> {
        let (Some(run), Some(summary)) = (&self.run, self.summary) else {
            return Err(if self.run.is_none() { Flaw::NoRun } else { Flaw::NoSummary });
        };
        self.check(&summary)?;
        let promised = run.promise.and_then(super::lines::Promise::per_function_day);
        let mut cases = self.cases;
        let (mut pages, mut notices) = (FalseCount::default(), FalseCount::default());
        let mut alarms: Vec<_> = self.alarms.into_iter().collect();
        // By time, so that the list of false alarms has the first ones.
        alarms.sort_by(|(id, a), (other, b)| {
            (a.call.decided_at, id).cmp(&(b.call.decided_at, other))
        });
        for (id, raised) in &alarms {
            let owners = cases.owners(&raised.place, raised.call.onset, raised.call.evidence_at);
            owners.iter().for_each(|index| cases.list[*index].found_by(id, raised));
            if owners.is_empty() {
                let near = cases.at(&raised.place).to_vec();
                near.iter().for_each(|index| cases.list[*index].note_open(raised));
                match raised.call.severity {
                    Severity::Page => pages.add(id, raised),
                    Severity::Notice => notices.add(id, raised),
                }
            }
        }
        let score = RunScore {
            decisions: self.name,
            attacks: Vec::new(),
            function_days: summary.function_days,
            warmup_function_days: summary.warmup_function_days,
            promised_pages_per_function_day: promised,
            false_pages: pages,
            false_notices: notices,
            actions: self.actions,
            unknown_lines: BTreeMap::new(),
        };
        Ok(Judged { cases, summary, score, unknown: self.unknown })
    }

    /// Truth and decisions must be about the same records.
    fn check(&self, summary: &SummaryLine) -> Result<(), Flaw> {
        let told = &self.records;
        let seen = summary.records;
        let read = [seen.counted, seen.unrouted, seen.duplicate, seen.rejected];
        let read = read.into_iter().fold(0, u64::saturating_add);
        // What is rejected may be a whole envelope, so with damage the counts need not agree.
        if read != *told && seen.rejected == 0 {
            let text = format!("the truth is about {told} records and the decisions about {read}");
            return Err(Flaw::OtherTruth(text));
        }
        if let (Some(first), Some(last)) = (summary.first_event, summary.last_event)
            && (last < self.start || first > self.end)
        {
            let (start, end) = (self.start, self.end);
            return Err(Flaw::OtherTruth(format!(
                "the truth is about {start} to {end} and the decisions about {first} to {last}"
            )));
        }
        Ok(())
    }
}

/// Decisions against the truth; what is left is the money.
#[derive(Debug)]
pub struct Judged {
    cases: Cases,
    summary: SummaryLine,
    score: RunScore,
    unknown: Unknown,
}

impl Judged {
    /// The score without money.
    pub fn score(self) -> RunScore {
        self.finish(false)
    }

    /// Goes on with the ledger.
    pub fn with_ledger(self) -> Ledger {
        Ledger { judged: self, rows: 0, total: 0 }
    }

    fn finish(self, with_ledger: bool) -> RunScore {
        let attacks = self.cases.list.into_iter().map(|case| case.score(with_ledger)).collect();
        RunScore { attacks, unknown_lines: self.unknown.0, ..self.score }
    }
}

/// The ledger while it is read, line by line.
#[derive(Debug)]
pub struct Ledger {
    judged: Judged,
    rows: i128,
    total: i128,
}

impl Ledger {
    /// Takes in the next line.
    ///
    /// # Errors
    /// A line that is none.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Flaw> {
        match ledger_line(line)? {
            Ok(row) => {
                self.rows += 1;
                self.total += i128::from(row.nano_usd);
                let cases = &mut self.judged.cases;
                for index in cases.by_function.get(&*row.function).into_iter().flatten() {
                    cases.list[*index].spend(row.minute, row.nano_usd);
                }
            }
            Err(kind) => self.judged.unknown.add(&kind),
        }
        Ok(())
    }

    /// Ends with the last line.
    ///
    /// # Errors
    /// A ledger that is cut off or of another run: its sum is not that of the decisions.
    pub fn finish(self) -> Result<RunScore, Flaw> {
        let summary = self.judged.summary.spend_nano_usd;
        let off = (self.total - i128::from(summary)).abs();
        if off > self.rows + i128::from(summary).abs() / LEDGER_SHARE {
            return Err(Flaw::OtherLedger { ledger: self.total.to_string(), summary });
        }
        Ok(self.judged.finish(true))
    }
}

impl FalseCount {
    fn add(&mut self, id: &str, raised: &Raised) {
        self.count += 1;
        *self.by_channel.entry(raised.call.channel.to_string()).or_default() += 1;
        if self.alarms.len() < FALSE_LISTED_MAX {
            self.alarms.push(raised.score(id));
        }
    }
}

/// Lines of kinds that are not known.
#[derive(Debug, Default)]
struct Unknown(BTreeMap<String, u64>);

impl Unknown {
    fn add(&mut self, kind: &str) {
        let full = self.0.len() >= KINDS_MAX && !self.0.contains_key(kind);
        let kind = if full { "others" } else { kind };
        *self.0.entry(kind.to_owned()).or_default() += 1;
    }
}
