//! Attack or crowd: whether few callers return again and again, or many come.
//!
//! The question is put to one caller after the other: is this somebody new or one who was here
//! before, and how often? Every law of callers answers with a chance, and the chances multiply.
//! What few attackers would make likely, divided by what the most favourable of the crowds would,
//! is an e-value: under any of these crowds it exceeds 1,000 at any time at all in at most one of
//! 1,000 surges (Ville 1939; Ramdas, Grünwald, Vovk, Shafer, Statistical Science 38(4), 2023,
//! doi:10.1214/23-STS894). So an attack may be called one after fifteen requests.
//!
//! Crowds are Pitman-Yor laws (Annals of Probability 25(2), 1997, doi:10.1214/aop/1024404422), from
//! the flat to the ones with Zipf popularity of exponent 1.3. They are tied to the reference by one
//! number: two requests of a crowd come from the same address as often as two ordinary ones do.
//! Regulars are left out, since their doing more is a busy day; and one single address, whichever
//! it is, may do as it likes, since a batch job is no attack.

use serde::Serialize;

use super::pane::Pane;
use super::reference::Reference;

/// Chance that two requests have the same caller, beyond which no crowd goes. Zipf popularity with
/// exponent 1.3 among 2,000 has 0.1; it is assumed where the reference knows too few to tell.
pub(super) const UNLIKE_MAX: f64 = 0.1;
/// Discounts of the crowds: inverse exponents of their popularity; 0 is flat.
const DISCOUNTS: [f64; 3] = [0.0, 0.5, 0.77];
/// The same, each without and with one address apart; at the end the crowd in which nobody returns.
const CROWDS: usize = 2 * (DISCOUNTS.len() + 1);
/// Chance of a return, over requests so far, in that last crowd.
const RETURN_OF_NOBODY: f64 = 1e-4;
/// Attackers, about: powers of four, because the evidence hardly depends on it.
const ATTACKERS: [f64; 5] = [4.0, 16.0, 64.0, 256.0, 1_024.0];
/// Share of the requests that are others' all the same.
const BYSTANDERS: [f64; 2] = [0.1, 0.6];
const ATTACKS: usize = ATTACKERS.len() * BYSTANDERS.len();
/// Evidence is complete after so many requests of no regulars: what has not shown by then is not
/// to be seen in this way.
const REQUESTS_MAX: u32 = 1_024;
/// An attack is called one from this e-value on; its inverse is a crowd.
const ATTACK_LOG10: f64 = 3.0;
/// Requests before anything but an attack is said.
const REQUESTS_MIN: u64 = 15;
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
    /// Requests that were looked at: of no regular, and not more than tell something.
    pub compared: u32,
    /// Of these, how many came from an address that was there before.
    pub repeats: u32,
    /// How many of as many requests of ordinary callers would, at most.
    pub repeats_expected: f64,
    /// log10 of the evidence for few callers, at its highest.
    pub evidence_log10: f64,
    /// Share of requests from addresses that the reference has never seen, beyond the usual.
    pub new_share: f64,
    /// Share of requests that came from the eight busiest addresses, at least.
    pub top_share: f64,
    /// Share of requests that failed, where outcomes and callers stand in the same record.
    pub error_share: Option<f64>,
    /// The same while nothing was wrong.
    pub error_share_usual: Option<f64>,
}

/// Which callers return: evidence that grows request by request.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeats {
    /// Chance that two requests of a crowd have the same caller.
    unlike: f64,
    requests: u32,
    sources: u32,
    /// Requests of the address with the most, and which it is.
    most: u32,
    busiest: u64,
    crowds: [f64; CROWDS],
    attacks: [f64; ATTACKS],
    best: f64,
    complete: bool,
}

impl Repeats {
    /// Begins, against the callers that were ordinary until now.
    pub(super) fn new(reference: &Reference) -> Self {
        Self { unlike: reference.unlike(), ..Self::default() }
    }

    /// Notes a request of an address that has had `before`.
    pub(super) fn note(&mut self, hash: u64, before: u32) {
        if self.complete {
            return;
        }
        let apart = hash == self.busiest && self.most > 1;
        for (index, log) in self.crowds.iter_mut().enumerate() {
            let discount = DISCOUNTS.get(index / 2).copied();
            let law = Law::new(discount, self.unlike);
            let chance = if index % 2 == 0 || self.most < 2 {
                law.chance(before, self.requests, self.sources)
            } else {
                let share = f64::from(self.most - 1) / f64::from(self.requests + 1);
                let others = self.requests - self.most;
                let chance = law.chance(before, others, self.sources - 1);
                if apart { share } else { (1.0 - share) * chance }
            };
            *log += libm::log(chance);
        }
        for index in 0..ATTACKS {
            let attackers = ATTACKERS[index / BYSTANDERS.len()];
            let bystanders = BYSTANDERS[index % BYSTANDERS.len()];
            let chance = self.chance_of_few(before, attackers, bystanders);
            self.attacks[index] += libm::log(chance);
        }
        self.requests += 1;
        self.sources += u32::from(before == 0);
        if before + 1 > self.most {
            self.most = before + 1;
            self.busiest = hash;
        }
        self.best = self.best.max(self.evidence());
        self.complete = self.requests >= REQUESTS_MAX;
    }

    /// Nothing more can be learned: not every address is still known.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// So many attackers share the requests in any proportions (Laplace's rule of succession);
    /// bystanders are always new.
    fn chance_of_few(&self, before: u32, attackers: f64, bystanders: f64) -> f64 {
        let (requests, sources) = (f64::from(self.requests), f64::from(self.sources));
        let places = requests + attackers.max(sources);
        let own = 1.0 - bystanders;
        match before {
            0 => own * (attackers - sources).max(0.0) / places + bystanders,
            _ => own * (f64::from(before) + 1.0) / places,
        }
    }

    /// Natural logarithm of the evidence.
    fn evidence(&self) -> f64 {
        let most = |logs: &[f64]| logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let likeliest = most(&self.attacks);
        let sum: f64 = self.attacks.iter().map(|log| libm::exp(log - likeliest)).sum();
        likeliest + libm::log(sum / ATTACKS as f64) - most(&self.crowds)
    }
}

/// A law of the next caller.
struct Law {
    discount: f64,
    concentration: f64,
}

impl Law {
    fn new(discount: Option<f64>, unlike: f64) -> Self {
        let (discount, unlike) = discount.map_or((0.0, RETURN_OF_NOBODY), |d| (d, unlike));
        // Two requests have the same caller with chance (1 - discount) / (1 + concentration).
        Self { discount, concentration: (1.0 - discount) / unlike.max(1e-6) - 1.0 }
    }

    fn chance(&self, before: u32, requests: u32, sources: u32) -> f64 {
        if requests == 0 {
            return 1.0;
        }
        let places = f64::from(requests) + self.concentration;
        match before {
            0 => (self.concentration + self.discount * f64::from(sources)) / places,
            _ => (f64::from(before) - self.discount) / places,
        }
    }
}

impl Crowd {
    /// What the callers in `pane` look like, against those of `reference`.
    pub(super) fn of(pane: &Pane, reference: &Reference) -> Self {
        let repeats = pane.repeats();
        let requests = pane.requests();
        let least = 1.0 / repeats.unlike.max(1e-6) - 1.0;
        let compared = f64::from(repeats.requests);
        let mut crowd = Self {
            requests,
            distinct: pane.distinct(),
            compared: repeats.requests,
            repeats: repeats.requests - repeats.sources,
            repeats_expected: (compared - least * libm::log1p(compared / least)).max(0.0),
            evidence_log10: repeats.best / core::f64::consts::LN_10,
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
        let repeats = pane.repeats();
        let now_log10 = repeats.evidence() / core::f64::consts::LN_10;
        let alone = f64::from(repeats.most) >= ALONE * self.requests as f64;
        if self.evidence_log10 >= ATTACK_LOG10 {
            (Verdict::Attack, Reason::Repeats)
        } else if self.requests < REQUESTS_MIN {
            (Verdict::Unknown, Reason::FewKnown)
        } else if alone {
            (Verdict::Unknown, Reason::OneSource)
        } else if grown(pane, reference) {
            (Verdict::Unknown, Reason::RegularGrew)
        } else if self.errors_rose() {
            (Verdict::Unknown, Reason::ErrorsRose)
        } else if 1.0 - self.new_share >= USUAL && now_log10 <= 0.0 {
            (Verdict::Crowd, Reason::UsualSources)
        } else if now_log10 <= -ATTACK_LOG10 {
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
fn new_share(pane: &Pane, reference: &Reference) -> f64 {
    let (usual, all) = (reference.strange_share(), reference.strange_share_of_strangers());
    if reference.requests() == 0 || all <= usual {
        return 0.0;
    }
    ((pane.strange_share() - usual) / (all - usual)).clamp(0.0, 1.0)
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
