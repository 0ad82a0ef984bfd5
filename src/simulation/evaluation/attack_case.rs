//! One attack: what of it was found, when, at what cost, and who was named.

use core::net::IpAddr;
use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use super::TOLERANCE_MS;
use super::lines::{AlarmLine, NamedSource, Place, Severity, TrueAttack};
use crate::units::{EventTime, NanoUsd};

const MINUTE_MS: i64 = 60_000;

/// Whether an attack was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Somebody was woken.
    Page,
    /// It was told and no more.
    Notice,
    /// Nobody heard of it.
    Nothing,
    /// It left no record, so there was nothing to be found; it counts nowhere.
    NoRecords,
}

/// An alarm as it was when it was raised to its severity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlarmScore {
    /// As in the decisions.
    pub id: String,
    /// The highest it came to.
    pub severity: Severity,
    /// `account:region:name`, or the account.
    pub about: String,
    /// The channel furthest beyond its threshold.
    pub channel: String,
    /// The last one that was said of it.
    pub class: String,
    /// As in the decisions.
    pub onset: EventTime,
    /// As in the decisions.
    pub evidence_at: EventTime,
    /// As in the decisions.
    pub decided_at: EventTime,
}

/// Who was named, against who it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttributionScore {
    /// Addresses that the truth lists.
    pub sources: u64,
    /// Of these, named.
    pub right: u64,
    /// Of these, not named.
    pub missed: u64,
    /// Addresses named that no attack used.
    pub wrong: u64,
    /// Addresses named that the truth would not list either way, because its list was cut.
    pub unjudged: u64,
    /// From the attack's first record until one of its sources was named.
    pub named_delay_ms: Option<i64>,
}

/// What the victims cost while the attack was on, by the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpendScore {
    /// `page`: until it was paged; `end`: until its last record, because it was not.
    pub until: &'static str,
    /// Everything, a minute's money taken evenly over the minute.
    pub nano_usd: NanoUsd,
    /// Without the share that the alarm expected; null where it expects nothing in numbers.
    pub excess_nano_usd: Option<NanoUsd>,
}

/// One attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttackScore {
    /// As in the truth.
    pub kind: String,
    /// The first victim.
    pub function: String,
    /// How many there are.
    pub functions: u64,
    /// Event time of its first record.
    pub first_record: Option<EventTime>,
    /// Of its last.
    pub last_record: Option<EventTime>,
    /// Whether it was found.
    pub found: Found,
    /// By what: the first page, else the first notice.
    pub alarm: Option<AlarmScore>,
    /// From the first record until the evidence sufficed.
    pub evidence_delay_ms: Option<i64>,
    /// From the first record until it was said.
    pub decision_delay_ms: Option<i64>,
    /// Alarms that belong to it and became pages.
    pub pages: u64,
    /// Alarms that belong to it and stayed notices.
    pub notices: u64,
    /// A false alarm stood open on a victim when it began, which may have kept another from
    /// opening.
    pub already_open: bool,
    /// Who was named.
    pub attribution: AttributionScore,
    /// Null without a ledger.
    pub spend: Option<SpendScore>,
}

/// An alarm's line at which it came to a severity.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) severity: Severity,
    pub(super) onset: EventTime,
    pub(super) evidence_at: EventTime,
    pub(super) decided_at: EventTime,
    pub(super) channel: Box<str>,
    pub(super) expected_share: Option<f64>,
}

impl Call {
    pub(super) fn new(line: &AlarmLine<'_>) -> Self {
        let leading = line.leading();
        Self {
            severity: line.severity,
            onset: line.onset,
            evidence_at: line.evidence_at,
            decided_at: line.decided_at,
            channel: leading.map_or("", |(channel, _)| channel).into(),
            expected_share: leading.and_then(|(_, reading)| reading.expected_share()),
        }
    }
}

/// One alarm, from its first line to its last.
#[derive(Debug)]
pub(super) struct Raised {
    pub(super) place: Place,
    pub(super) first_at: EventTime,
    pub(super) closed_at: Option<EventTime>,
    pub(super) class: Box<str>,
    /// At the highest severity it came to.
    pub(super) call: Call,
}

impl Raised {
    pub(super) fn score(&self, id: &str) -> AlarmScore {
        AlarmScore {
            id: id.to_owned(),
            severity: self.call.severity,
            about: match &self.place {
                Place::Function(function) => function.clone(),
                Place::Account(account) => format!("account {account}"),
            },
            channel: self.call.channel.to_string(),
            class: self.class.to_string(),
            onset: self.call.onset,
            evidence_at: self.call.evidence_at,
            decided_at: self.call.decided_at,
        }
    }
}

/// One attack while the files are read.
#[derive(Debug)]
pub(super) struct AttackCase {
    truth: TrueAttack,
    sources: BTreeSet<IpAddr>,
    right: BTreeSet<IpAddr>,
    wrong: BTreeSet<Box<str>>,
    unjudged: BTreeSet<Box<str>>,
    named_at: Option<EventTime>,
    best: Option<(AlarmScore, Option<f64>)>,
    pages: u64,
    notices: u64,
    already_open: bool,
    /// Nano-dollars times milliseconds of a minute: divided once, at the end.
    spent: i128,
}

impl AttackCase {
    pub(super) fn new(mut truth: TrueAttack) -> Self {
        let sources = std::mem::take(&mut truth.sources);
        Self {
            truth,
            sources: sources.iter().map(IpAddr::to_canonical).collect(),
            right: BTreeSet::new(),
            wrong: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            named_at: None,
            best: None,
            pages: 0,
            notices: 0,
            already_open: false,
            spent: 0,
        }
    }

    fn span(&self) -> Option<(EventTime, EventTime)> {
        self.truth.first_record.zip(self.truth.last_record)
    }

    /// Whether an alarm on a victim belongs to it.
    pub(super) fn owns(&self, onset: EventTime, evidence_at: EventTime) -> bool {
        self.span().is_some_and(|(first, last)| {
            evidence_at >= first && onset <= last.plus_ms(TOLERANCE_MS)
        })
    }

    /// Whether it is on, or has just been.
    pub(super) fn is_on(&self, at: EventTime) -> bool {
        self.owns(at, at)
    }

    pub(super) fn used(&self, address: IpAddr) -> bool {
        self.sources.contains(&address)
    }

    pub(super) fn list_is_cut(&self) -> bool {
        self.truth.sources_cut
    }

    /// Somebody was named by an alarm that belongs to it; `accused` says whether another attack
    /// that the alarm belongs to used the address. True when the name is new.
    pub(super) fn name(&mut self, named: &Named<'_>, at: EventTime) -> bool {
        match named.address {
            Some(address) if self.used(address) => {
                self.named_at = Some(self.named_at.map_or(at, |earlier| earlier.min(at)));
                self.right.insert(address)
            }
            _ if named.used => false,
            _ if named.unjudged => self.unjudged.insert(named.name.into()),
            _ => self.wrong.insert(named.name.into()),
        }
    }

    /// An alarm belongs to it.
    pub(super) fn found_by(&mut self, id: &str, raised: &Raised) {
        match raised.call.severity {
            Severity::Page => self.pages += 1,
            Severity::Notice => self.notices += 1,
        }
        let alarm = raised.score(id);
        // Pages before notices, then the earliest; the id only so that ties do not depend on order.
        let rank = |alarm: &AlarmScore| {
            (Reverse(alarm.severity), alarm.decided_at, alarm.evidence_at, alarm.id.clone())
        };
        if self.best.as_ref().is_none_or(|(best, _)| rank(&alarm) < rank(best)) {
            self.best = Some((alarm, raised.call.expected_share));
        }
    }

    /// A false alarm stood on a victim.
    pub(super) fn note_open(&mut self, raised: &Raised) {
        self.already_open |= self.truth.first_record.is_some_and(|first| {
            raised.first_at < first && raised.closed_at.is_none_or(|closed| closed > first)
        });
    }

    fn page(&self) -> Option<&(AlarmScore, Option<f64>)> {
        self.best.as_ref().filter(|(alarm, _)| alarm.severity == Severity::Page)
    }

    /// A victim's minute.
    pub(super) fn spend(&mut self, minute: EventTime, nano_usd: i64) {
        let Some((first, last)) = self.span() else {
            return;
        };
        let until = self.page().map_or(last, |(page, _)| page.decided_at);
        let overlap = until.min(minute.plus_ms(MINUTE_MS)).since_ms(first.max(minute)).max(0);
        self.spent += i128::from(nano_usd) * i128::from(overlap);
    }

    pub(super) fn score(self, with_ledger: bool) -> AttackScore {
        let spend = with_ledger.then(|| self.spend_score());
        let found = match &self.best {
            _ if self.truth.first_record.is_none() => Found::NoRecords,
            None => Found::Nothing,
            Some((alarm, _)) if alarm.severity == Severity::Page => Found::Page,
            Some(_) => Found::Notice,
        };
        let first = self.truth.first_record;
        let since = |at: EventTime| first.map(|first| at.since_ms(first));
        let alarm = self.best.map(|(alarm, _)| alarm);
        AttackScore {
            kind: self.truth.kind,
            function: self.truth.functions.first().map(ToString::to_string).unwrap_or_default(),
            functions: self.truth.functions.len() as u64,
            first_record: first,
            last_record: self.truth.last_record,
            found,
            evidence_delay_ms: alarm.as_ref().and_then(|alarm| since(alarm.evidence_at)),
            decision_delay_ms: alarm.as_ref().and_then(|alarm| since(alarm.decided_at)),
            alarm,
            pages: self.pages,
            notices: self.notices,
            already_open: self.already_open,
            attribution: AttributionScore {
                sources: self.sources.len() as u64,
                right: self.right.len() as u64,
                missed: (self.sources.len() - self.right.len()) as u64,
                wrong: self.wrong.len() as u64,
                unjudged: self.unjudged.len() as u64,
                named_delay_ms: self.named_at.and_then(since),
            },
            spend,
        }
    }

    fn spend_score(&self) -> SpendScore {
        let half = i128::from(MINUTE_MS / 2);
        let nano_usd = (self.spent + half).div_euclid(i128::from(MINUTE_MS));
        let nano_usd = NanoUsd(i64::try_from(nano_usd).unwrap_or(i64::MAX));
        let share = self.page().and_then(|(_, share)| *share);
        SpendScore {
            until: if self.page().is_some() { "page" } else { "end" },
            nano_usd,
            excess_nano_usd: share.map(|share| NanoUsd::from_usd(nano_usd.usd() * (1.0 - share))),
        }
    }
}

/// A source that a line names, and what is known of it over all attacks the line belongs to.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) address: Option<IpAddr>,
    /// One of these attacks used it.
    pub(super) used: bool,
    /// None is known to have, but a list was cut.
    pub(super) unjudged: bool,
}

impl<'a> Named<'a> {
    /// `None` along other dimensions than the address: the truth does not speak of them.
    pub(super) fn new<'c>(
        source: &'a NamedSource<'_>,
        mut owners: impl Iterator<Item = &'c AttackCase> + Clone,
    ) -> Option<Self> {
        if source.dimension != "address" {
            return None;
        }
        let address = source.source.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let used = |case: &AttackCase| address.is_some_and(|address| case.used(address));
        Some(Self {
            name: &source.source,
            address,
            used: owners.clone().any(used),
            unjudged: owners.any(AttackCase::list_is_cut),
        })
    }
}
