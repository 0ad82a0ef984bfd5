//! Attack or crowd: whether few callers return again and again, or many come.
//!
//! The evidence of returns is gathered in `repeats`; here it is read together with errors, the
//! share of new callers and who carries most.
//!
//! A botnet with ever new addresses looks like a crowd to all this, and is called one unless its
//! requests fail more often than usual.

use serde::Serialize;

use super::pane::Pane;
use super::reference::Reference;
use crate::keep::{kept, kept_words};

/// An attack is called one from this e-value on.
const ATTACK_LOG10: f64 = 3.0;
/// Requests before anything but an attack is said.
const REQUESTS_MIN: u64 = 15;
/// In no crowd have the eight busiest more than this share of the requests.
const TOP_SHARE_MAX: f64 = 0.8;
/// Strangers and usual callers must differ by so much in what the filter says of them: a handful
/// of attackers may otherwise all happen to be taken for known.
const TELLING: f64 = 0.75;
/// One address with this share of the surge may be a batch job.
const ALONE: f64 = 0.5;
/// A surge is the usual callers' when so much of it comes from them.
const USUAL: f64 = 0.5;
/// A regular that carries half of the surge and twice what it usually may has grown by itself.
const GROWN_SHARE: f64 = 0.5;
const GROWN_RATIO: f64 = 2.0;
/// Errors have risen when they lie so many standard errors, and a tenth of the requests, higher.
const ERRORS_SIGMA: f64 = 4.0;
const ERRORS_RISE: f64 = 0.1;

/// What the callers look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Few return again and again.
    Attack,
    /// Many come, or the usual ones come more.
    Crowd,
    /// The callers do not tell.
    #[default]
    Unknown,
}

/// The feature that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No record said who called, or too few did.
    #[default]
    FewKnown,
    /// The same callers return more often than any crowd's would.
    Repeats,
    /// One address carries half: an attacker as well as a batch job.
    OneSource,
    /// A regular carries half, and far more than usual.
    RegularGrew,
    /// Callers look like a crowd, but far more of their requests fail than usual.
    ErrorsRose,
    /// The usual callers come, only more of them or more often.
    UsualSources,
    /// Many new callers with few requests each.
    ManySources,
    /// Neither is likely enough.
    Unclear,
}

/// What the callers look like, and the counts that say so.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Crowd {
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Requests whose address was known.
    pub requests: u64,
    /// Addresses, about.
    pub distinct: u64,
    /// Requests that were looked at lately: of no regular, and not more than tell something.
    pub compared: u32,
    /// Of these, how many came from an address that was there before.
    pub repeats: u32,
    /// How many of as many requests of ordinary callers would, at most.
    pub repeats_expected: f64,
    /// log10 of the evidence for few callers, at its highest.
    pub evidence_log10: f64,
    /// Share of requests from addresses that the reference has never seen, beyond the usual; not
    /// known where ordinary callers are too many to be remembered.
    pub new_share: Option<f64>,
    /// Share of requests that came from the eight busiest addresses, at least.
    pub top_share: f64,
    /// Share of requests that failed, where outcomes and callers stand in the same record.
    pub error_share: Option<f64>,
    /// The same while nothing was wrong.
    pub error_share_usual: Option<f64>,
}

impl Crowd {
    /// What the callers in `pane` look like, against those of `reference`.
    pub(super) fn of(pane: &Pane, reference: &Reference) -> Self {
        let piece = pane.repeats().piece();
        let requests = pane.requests();
        let least = 1.0 / piece.unlike() - 1.0;
        let compared = f64::from(piece.requests());
        let mut crowd = Self {
            requests,
            distinct: pane.distinct(),
            compared: piece.requests(),
            repeats: piece.returns(),
            repeats_expected: (compared - least * libm::log1p(compared / least)).max(0.0),
            evidence_log10: pane.repeats().best() / core::f64::consts::LN_10,
            new_share: new_share(pane, reference),
            top_share: pane.top_share(),
            error_share: pane.failed_share(),
            error_share_usual: reference.failed_share(),
            ..Self::default()
        };
        (crowd.verdict, crowd.reason) = crowd.judge(pane, reference);
        crowd
    }

    fn judge(&self, pane: &Pane, reference: &Reference) -> (Verdict, Reason) {
        let (repeats, piece) = (pane.repeats(), pane.repeats().piece());
        let is_crowd = repeats.is_crowd();
        if self.evidence_log10 >= ATTACK_LOG10 {
            (Verdict::Attack, Reason::Repeats)
        } else if self.requests < REQUESTS_MIN {
            (Verdict::Unknown, Reason::FewKnown)
        } else if piece.most_share() >= ALONE {
            (Verdict::Unknown, Reason::OneSource)
        } else if grown(pane, reference) {
            (Verdict::Unknown, Reason::RegularGrew)
        } else if self.errors_rose() {
            (Verdict::Unknown, Reason::ErrorsRose)
        } else if self.new_share.is_some_and(|share| share <= 1.0 - USUAL)
            && (is_crowd || piece.evidence() <= 0.0)
        {
            (Verdict::Crowd, Reason::UsualSources)
        } else if is_crowd && self.top_share <= TOP_SHARE_MAX {
            (Verdict::Crowd, Reason::ManySources)
        } else {
            (Verdict::Unknown, Reason::Unclear)
        }
    }

    fn errors_rose(&self) -> bool {
        let (Some(now), Some(usual)) = (self.error_share, self.error_share_usual) else {
            return false;
        };
        let middle = 0.5 * (now + usual);
        let width = libm::sqrt(middle * (1.0 - middle) / self.requests as f64);
        now - usual >= (ERRORS_SIGMA * width).max(ERRORS_RISE)
    }
}

/// The filter takes some strangers for known, and among many callers some known for strangers; both
/// are known from the reference, and between the two lies the share.
fn new_share(pane: &Pane, reference: &Reference) -> Option<f64> {
    let (usual, all) = (reference.strange_share(), reference.strange_share_of_strangers());
    let known = reference.requests() > 0 && all - usual >= TELLING;
    known.then(|| ((pane.strange_share() - usual) / (all - usual)).clamp(0.0, 1.0))
}

fn grown(pane: &Pane, reference: &Reference) -> bool {
    let requests = pane.requests() as f64;
    pane.addresses().any(|(hash, own)| {
        let share = f64::from(own) / requests;
        share >= GROWN_SHARE
            && reference.is_regular_address(hash)
            && share > GROWN_RATIO * reference.ordinary_address(hash).high
    })
}

kept_words!(Verdict { Attack = 0, Crowd = 1, Unknown = 2 });
kept_words!(Reason {
    FewKnown = 0,
    Repeats = 1,
    OneSource = 2,
    RegularGrew = 3,
    ErrorsRose = 4,
    UsualSources = 5,
    ManySources = 6,
    Unclear = 7,
});
kept!(Crowd {
    verdict,
    reason,
    requests,
    distinct,
    compared,
    repeats,
    repeats_expected,
    evidence_log10,
    new_share,
    top_share,
    error_share,
    error_share_usual,
});
