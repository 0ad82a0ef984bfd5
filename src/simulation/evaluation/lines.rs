//! What is read of the files. Fields that are not named here may come and go.

use core::net::IpAddr;
use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Flaw;
use crate::record::FunctionKey;
use crate::units::{AccountId, EventTime};

/// The form of truth files that can be read.
const TRUTH_FORM: u32 = 1;
/// The form of decisions that can be read.
const DECISIONS_FORM: u32 = 1;

/// The truth about one stream.
#[derive(Debug, Clone, Deserialize)]
pub struct TruthFile {
    pub(super) v: u32,
    pub(super) start: EventTime,
    pub(super) end: EventTime,
    pub(super) attacks: Vec<TrueAttack>,
    pub(super) records: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct TrueAttack {
    pub(super) kind: String,
    pub(super) functions: Vec<FunctionKey>,
    pub(super) first_record: Option<EventTime>,
    pub(super) last_record: Option<EventTime>,
    pub(super) sources: Vec<IpAddr>,
    #[serde(default)]
    pub(super) sources_cut: bool,
}

impl TruthFile {
    /// Whether attacks can be scored against it.
    pub(super) fn check(&self) -> Result<(), Flaw> {
        if self.v != TRUTH_FORM {
            return Err(Flaw::Form { what: "truth", found: self.v, accepted: TRUTH_FORM });
        }
        for (number, attack) in (1..).zip(&self.attacks) {
            let problem = match (attack.first_record, attack.last_record) {
                _ if attack.functions.is_empty() => "it has no victims",
                (Some(first), Some(last)) if first > last => "its last record is before its first",
                (Some(_), None) | (None, Some(_)) => "only one of first_record and last_record",
                _ => continue,
            };
            return Err(Flaw::Attack { number, problem });
        }
        Ok(())
    }
}

/// Whether somebody is told or woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Told.
    Notice,
    /// Woken.
    Page,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Opened,
    Updated,
    Closed,
}

/// A line of the decisions.
#[derive(Debug)]
pub(super) enum DecisionLine<'a> {
    Run(RunLine),
    Alarm(Box<AlarmLine<'a>>),
    Action(ActionLine<'a>),
    Remark,
    Summary(SummaryLine),
    Unknown(Cow<'a, str>),
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunLine {
    v: u32,
    pub(super) promise: Option<Promise>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Promise {
    pages_per_day: f64,
    estate_functions: u64,
}

impl Promise {
    /// False pages that one function may have in a day; `None` where that is no number.
    pub(super) fn per_function_day(self) -> Option<f64> {
        let rate = self.pages_per_day / self.estate_functions as f64;
        (rate.is_finite() && rate >= 0.0).then_some(rate)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct AlarmLine<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    pub(super) state: State,
    pub(super) severity: Severity,
    #[serde(borrow)]
    pub(super) scope: Cow<'a, str>,
    pub(super) account: AccountId,
    pub(super) region: Option<Cow<'a, str>>,
    pub(super) function: Option<Cow<'a, str>>,
    pub(super) onset: EventTime,
    pub(super) evidence_at: EventTime,
    pub(super) decided_at: EventTime,
    pub(super) channels: BTreeMap<String, Reading>,
    #[serde(borrow)]
    pub(super) class: Cow<'a, str>,
    pub(super) attribution: Attribution<'a>,
}

/// Numbers that are too large for JSON are null there.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Reading {
    evidence_log10: Option<f64>,
    threshold_log10: Option<f64>,
    expected: Option<f64>,
    observed: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Attribution<'a> {
    #[serde(borrow)]
    pub(super) sources: Vec<NamedSource<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NamedSource<'a> {
    #[serde(borrow)]
    pub(super) dimension: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) source: Cow<'a, str>,
}

/// What an alarm or an action is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `account:region:name`.
    Function(String),
    Account(AccountId),
}

impl AlarmLine<'_> {
    pub(super) fn place(&self) -> Place {
        match (&*self.scope, &self.region, &self.function) {
            ("function", Some(region), Some(function)) => {
                Place::Function(format!("{}:{region}:{function}", self.account))
            }
            _ => Place::Account(self.account),
        }
    }

    /// The channel that is furthest beyond its threshold, and its reading.
    pub(super) fn leading(&self) -> Option<(&str, Reading)> {
        let mut best: Option<(&str, Reading)> = None;
        for (channel, reading) in &self.channels {
            if best.is_none_or(|(_, other)| reading.margin() > other.margin()) {
                best = Some((channel, *reading));
            }
        }
        best
    }
}

impl Reading {
    fn margin(self) -> f64 {
        self.evidence_log10.unwrap_or(f64::MAX) - self.threshold_log10.unwrap_or(0.0)
    }

    /// The share of what was seen that the baseline expected; a ratio, so that it does not depend
    /// on the channel's unit.
    pub(super) fn expected_share(self) -> Option<f64> {
        let share = self.expected? / self.observed?;
        (share >= 0.0).then_some(share.min(1.0))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ActionLine<'a> {
    #[serde(borrow)]
    pub(super) alarm_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) verb: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) target: Cow<'a, str>,
    pub(super) decided_at: EventTime,
    #[serde(borrow)]
    pub(super) outcome: Cow<'a, str>,
    pub(super) legit_refused_share: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct SummaryLine {
    pub(super) records: RecordCounts,
    pub(super) function_days: f64,
    pub(super) warmup_function_days: f64,
    pub(super) first_event: Option<EventTime>,
    pub(super) last_event: Option<EventTime>,
    pub(super) spend_nano_usd: i64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct RecordCounts {
    pub(super) counted: u64,
    pub(super) duplicate: u64,
    pub(super) rejected: u64,
    #[serde(default)]
    pub(super) unrouted: u64,
}

/// A row of the ledger.
#[derive(Debug, Deserialize)]
pub(super) struct MinuteLine<'a> {
    pub(super) minute: EventTime,
    #[serde(borrow)]
    pub(super) function: Cow<'a, str>,
    pub(super) nano_usd: i64,
}

#[derive(Debug, Deserialize)]
struct KindOf<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

impl<'a> DecisionLine<'a> {
    pub(super) fn read(line: &'a [u8]) -> Result<Self, Flaw> {
        const OF: &str = "decisions";
        let KindOf { kind } = read(line, OF)?;
        Ok(match &*kind {
            "run" => DecisionLine::Run(RunLine::read(line)?),
            "alarm" => DecisionLine::Alarm(Box::new(read(line, OF)?)),
            "action" => DecisionLine::Action(read(line, OF)?),
            "abstention" | "effect" => DecisionLine::Remark,
            "summary" => DecisionLine::Summary(SummaryLine::read(line)?),
            "minute" => return Err(Flaw::Swapped { kind: "minute", other: "ledger" }),
            _ => DecisionLine::Unknown(kind),
        })
    }
}

impl RunLine {
    fn read(line: &[u8]) -> Result<Self, Flaw> {
        let run: Self = read(line, "decisions")?;
        if run.v != DECISIONS_FORM {
            let (found, accepted) = (run.v, DECISIONS_FORM);
            return Err(Flaw::Form { what: "decisions", found, accepted });
        }
        Ok(run)
    }
}

impl SummaryLine {
    fn read(line: &[u8]) -> Result<Self, Flaw> {
        let summary: Self = read(line, "decisions")?;
        let (days, warmup) = (summary.function_days, summary.warmup_function_days);
        // Written positively so that NaN fails.
        if 0.0 <= warmup && warmup <= days {
            Ok(summary)
        } else {
            Err(Flaw::Impossible(format!("{warmup} of {days} function-days are warm-up")))
        }
    }
}

/// A row of the ledger; the name of the kind where it is another one.
pub(super) fn ledger_line(line: &[u8]) -> Result<Result<MinuteLine<'_>, Cow<'_, str>>, Flaw> {
    const OF: &str = "ledger";
    let KindOf { kind } = read(line, OF)?;
    let swapped = |kind| Err(Flaw::Swapped { kind, other: "decisions" });
    match &*kind {
        "minute" => Ok(Ok(read(line, OF)?)),
        "run" => swapped("run"),
        "alarm" => swapped("alarm"),
        "summary" => swapped("summary"),
        _ => Ok(Err(kind)),
    }
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8], of: &'static str) -> Result<T, Flaw> {
    serde_json::from_slice(line).map_err(|error| {
        let text = error.to_string();
        // It counts lines from the beginning of this one.
        let cause = text.split(" at line ").next().unwrap_or_default();
        Flaw::Line { of, cause: format!("{cause} (column {})", error.column()) }
    })
}
