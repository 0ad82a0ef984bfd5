//! Names who carries the excess, and how much of it at least and at most.
//!
//! Shares and their bounds are of the cost. Who is named is asked twice, by cost and by requests:
//! costs of single requests differ by orders of magnitude, and where the usual ones are dearer than
//! the attack's, counting tells minutes sooner.

use std::cmp::Ordering;

use super::crowd::Verdict;
use super::pane::{Pane, prefix_hash};
use super::reference::{Ordinary, Reference};
use super::table::Known;
use super::{Attribution, SourceShare, Usual, shares_of};
use crate::engine::batch::Dimension;

/// Half-width of the bounds in standard errors, so that both hold together in 95 % of cases.
const Z: f64 = 2.24;
/// The same for the question whether a source is named at all: 95 % one-sided.
const Z_ACCUSED: f64 = 1.645;
/// How far the expected level itself may be off.
const LEVEL_ERROR: f64 = 0.05;
/// Second moment of a request's cost over its mean squared: that of an exponential law.
const COST_SPREAD: f64 = 2.0;
/// A source is named when, at its lower bound, it carries more than an ordinary source at most, and
/// this many times what it ordinarily does by the best estimate. Below that a busy legitimate
/// client would be accused.
const ACCUSED_RATIO: f64 = 3.0;
/// A regular's own share is known, so less will do; but regulars have their days as well.
const ACCUSED_RATIO_REGULAR: f64 = 1.5;
/// And at least so many mean requests beyond that, so that nobody is accused for a handful.
const ACCUSED_REQUESTS: f64 = 3.0;
/// And this share of the excess: who carries less does not matter, whoever it is.
const ACCUSED_SHARE: f64 = 0.002;
/// The costliest that carry this part of what all accused carry are named in any case;
const NAMED_PART: f64 = 0.9;
/// behind them, whoever carries less than this part of what the one before carries ends the list.
/// A small summary cannot vouch for every regular user, and over a long alarm one or the other
/// passes the tests above; attackers pull together, so such users stand behind a step down.
const STEP_DOWN: f64 = 0.5;
/// The most sources that are named in one alarm, costliest first.
pub const NAMED_MAX: usize = 64;
/// A network is named for its members when there are so many of them,
const MEMBERS_MIN: f64 = 8.0;
/// more than this many would have to be named one by one,
const MEMBERS_NAMED_MAX: usize = 32;
/// or these carry less than this part of what it carries, and none half of it.
const MEMBERS_PART: f64 = 0.8;
const MEMBER_PART_MAX: f64 = 0.5;

/// A source under accusation, and what it carries.
struct Accused {
    hash: u64,
    members: f64,
    /// Share of the excess requests, at least.
    requests_low: f64,
    share: SourceShare,
}

impl Accused {
    /// Share of the excess cost or of the excess requests, whichever is more.
    fn carries(&self) -> f64 {
        self.share.share.max(self.requests_low)
    }
}

/// What the requests of one dimension's table should have cost.
struct Due {
    dimension: Dimension,
    requests: f64,
    cost: f64,
    /// Cost of one usual request.
    unit: f64,
    /// Total cost over usual cost, in a crowd, where everybody does more.
    swell: f64,
    excess: f64,
    excess_low: f64,
    excess_high: f64,
    /// Excess of requests.
    excess_requests: f64,
    dispersion: f64,
}

/// Names who carries the excess in `pane`.
pub(super) fn attribute(pane: &Pane, reference: &Reference, usual: &Usual) -> Attribution {
    let crowd = pane.crowd(reference);
    let mut sources = Vec::new();
    let mut by_requests = 0.0_f64;
    for dimension in Dimension::ALL.into_iter().filter(|&one| one != Dimension::Prefix) {
        let due = Due::new(dimension, pane, usual, crowd.verdict);
        let mut accused = due.accused(pane, reference);
        accused.truncate(before_step_down(&accused));
        if dimension == Dimension::Address {
            let due = Due::new(Dimension::Prefix, pane, usual, crowd.verdict);
            fold(&mut accused, due.accused(pane, reference));
            by_requests = accused.iter().map(|accused| accused.requests_low).sum();
        }
        sources.extend(accused.into_iter().map(|accused| accused.share));
    }
    sources.sort_by(costliest_first);
    let of_network = |source: &&SourceShare| source.dimension.is_network();
    let named = joint_low(sources.iter().filter(of_network));
    let keyed = shares_of(&sources, Dimension::Principal).map(|source| source.low);
    let keyed = keyed.fold(0.0, f64::max);
    sources.truncate(NAMED_MAX);
    let diffuse = named < 0.5 && keyed < 0.5 && by_requests < 0.5;
    Attribution { diffuse, distinct: pane.distinct(), sources, crowd }
}

/// Lower bound of what several sources carry together. Their counts are independent, so the widths
/// of their bounds add as squares; the sum of the bounds would call twenty equal sources nobody.
fn joint_low<'a>(sources: impl Iterator<Item = &'a SourceShare>) -> f64 {
    let (mut sum, mut squares) = (0.0, 0.0);
    for source in sources {
        sum += source.share;
        squares += (source.share - source.low) * (source.share - source.low);
    }
    sum - libm::sqrt(squares)
}

fn costliest_first(a: &SourceShare, b: &SourceShare) -> Ordering {
    b.share.total_cmp(&a.share).then_with(|| a.source.cmp(&b.source))
}

/// How many of the accused, costliest first, stand before the step down to the regular users.
fn before_step_down(accused: &[Accused]) -> usize {
    let all: f64 = accused.iter().map(Accused::carries).sum();
    let (mut covered, mut before) = (0.0, 0.0);
    let step = accused.iter().position(|accused| {
        let carries = accused.carries();
        let is_step = covered >= NAMED_PART * all && carries < STEP_DOWN * before;
        covered += carries;
        before = carries;
        is_step
    });
    step.unwrap_or(accused.len())
}

/// Puts networks in the place of their addresses where these would not do.
fn fold(addresses: &mut Vec<Accused>, networks: Vec<Accused>) {
    for network in networks {
        let inside = |address: &&Accused| prefix_hash(address.hash) == network.hash;
        let shares = || addresses.iter().filter(inside).map(|address| address.share.share);
        let (named, sum) = (shares().count(), shares().sum::<f64>());
        let alone = shares().fold(0.0, f64::max) >= MEMBER_PART_MAX * network.share.share;
        let few = named <= MEMBERS_NAMED_MAX && sum >= MEMBERS_PART * network.share.share;
        if network.members >= MEMBERS_MIN && !alone && !few {
            addresses.retain(|address| prefix_hash(address.hash) != network.hash);
            addresses.push(network);
        }
    }
}

impl Due {
    fn new(dimension: Dimension, pane: &Pane, usual: &Usual, verdict: Verdict) -> Self {
        let table = pane.table(dimension);
        // Where only some records say who called, only as many of the usual ones would have.
        let known = (table.requests as f64 / pane.all_requests().max(1) as f64).min(1.0);
        let requests = usual.per_second * pane.seconds() * known;
        let unit = if usual.mb_ms > 0.0 { usual.mb_ms } else { pane.mean_mb_ms() };
        let cost = requests * unit;
        let counted = usual.dispersion.max(1.0) * requests * COST_SPREAD * unit * unit;
        let width = libm::sqrt(counted + LEVEL_ERROR * LEVEL_ERROR * cost * cost);
        let excess = (table.total - cost).max(unit);
        let grown = if cost > 0.0 { (table.total / cost).max(1.0) } else { 1.0 };
        Self {
            dimension,
            requests,
            cost,
            unit,
            swell: if verdict == Verdict::Crowd { grown } else { 1.0 },
            excess,
            excess_low: (excess - Z * width).max(unit),
            excess_high: excess + Z * width,
            excess_requests: (table.requests as f64 - requests).max(1.0),
            dispersion: usual.dispersion.max(1.0),
        }
    }

    /// Who carries more than is ordinary, costliest first.
    fn accused(&self, pane: &Pane, reference: &Reference) -> Vec<Accused> {
        let sources = pane.table(self.dimension).iter();
        let accused = sources.filter_map(|known| {
            let hash = known.hash;
            let (ordinary, ratio) = match self.dimension {
                Dimension::Address if reference.is_regular_address(hash) => {
                    (reference.ordinary_address(hash), ACCUSED_RATIO_REGULAR)
                }
                Dimension::Address => (reference.ordinary_address(hash), ACCUSED_RATIO),
                Dimension::Prefix => (reference.ordinary_prefix(hash), ACCUSED_RATIO),
                // Nothing is known along this line, and an API serves everybody: accused only for
                // what is beyond all that was expected.
                _ => (Ordinary { low: 0.0, share: 1.0, high: 1.0 }, 1.0),
            };
            self.accuse(&ordinary, ratio, &known).map(|share| Accused {
                hash,
                members: known.entry.members(),
                requests_low: self.requests_low(&ordinary, &known),
                share,
            })
        });
        let mut accused: Vec<_> = accused.collect();
        accused.sort_by(|a, b| {
            b.carries().total_cmp(&a.carries()).then_with(|| costliest_first(&a.share, &b.share))
        });
        accused
    }

    /// Share of the excess requests, at least: without the error of counting, which evens out over
    /// the sources that are named together.
    fn requests_low(&self, ordinary: &Ordinary, known: &Known<'_>) -> f64 {
        let own = f64::from(known.entry.requests) - ordinary.high * self.requests;
        (own / self.excess_requests).clamp(0.0, 1.0)
    }

    /// Whether a source has made more requests than is ordinary.
    fn calls_too_often(&self, ordinary: &Ordinary, ratio: f64, known: &Known<'_>) -> bool {
        let made = f64::from(known.entry.requests);
        let due = ordinary.high * self.requests;
        let most = due + Z_ACCUSED * libm::sqrt(due * self.dispersion);
        let allowed = ratio * ordinary.share * self.requests + ACCUSED_REQUESTS;
        let at_most = most * self.swell + ACCUSED_SHARE * self.excess_requests;
        made - Z_ACCUSED * libm::sqrt(made) >= allowed.max(at_most)
    }

    fn accuse(&self, ordinary: &Ordinary, ratio: f64, known: &Known<'_>) -> Option<SourceShare> {
        let &Known { weight, entry, name, .. } = known;
        let least = weight - entry.error;
        let width = Z * libm::sqrt(entry.squares);
        let own = |share: f64, sigma: f64| {
            let counted = share * self.requests * COST_SPREAD * self.unit * self.unit;
            (share * self.cost + sigma * libm::sqrt(counted)).max(0.0)
        };
        let (own_low, own_high) = (own(ordinary.low, -Z), own(ordinary.high, Z));
        let allowed = ratio * ordinary.share * self.cost + ACCUSED_REQUESTS * self.unit;
        let at_most = own(ordinary.high, Z_ACCUSED) * self.swell + ACCUSED_SHARE * self.excess;
        let costs_too_much = least - Z_ACCUSED * libm::sqrt(entry.squares) >= allowed.max(at_most);
        if !costs_too_much && !self.calls_too_often(ordinary, ratio, known) {
            return None;
        }
        let low = ((least - width - own_high) / self.excess_high).clamp(0.0, 1.0);
        let high = ((weight + width - own_low) / self.excess_low).clamp(low, 1.0);
        Some(SourceShare {
            dimension: self.dimension,
            source: self.dimension.shown(name),
            share: ((least - ordinary.share * self.cost) / self.excess).clamp(low, high),
            low,
            high,
            ordinary: ordinary.share,
        })
    }
}
