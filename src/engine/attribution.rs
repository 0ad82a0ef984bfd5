//! Who carries the excess, and whether they are a crowd.
//!
//! The *reference* is small, always on and nameless: who called while nothing was wrong. The *pane*
//! is larger, knows names and costs, and is started when evidence begins to gather; so it sees
//! almost nothing but the suspicious traffic. What a source costs beyond what the reference allows
//! it is its excess, with bounds from the summaries' own errors and from counting.

pub mod crowd;
mod join;
mod naming;
pub mod pane;
pub mod reference;
mod repeats;
mod table;

use serde::Serialize;

use self::crowd::Crowd;
pub use self::naming::NAMED_MAX;
use self::pane::Pane;
use self::reference::Reference;
use super::batch::Dimension;
use crate::keep::kept;

/// What a function would have done anyway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Requests per second.
    pub per_second: f64,
    /// Cost of one, MB·ms; 0 where it is not known.
    pub mb_ms: f64,
    /// Variance of the number of requests over its mean.
    pub dispersion: f64,
}

impl Pane {
    /// Names who carries what is beyond `usual` since this pane was opened.
    pub fn attribution(&self, reference: &Reference, usual: &Usual) -> Attribution {
        naming::attribute(self, reference, usual)
    }
}

/// Which sources carry the excess cost, or that nobody in particular does.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Attribution {
    /// No set of addresses and networks, and no single principal, carries half of the excess.
    pub diffuse: bool,
    /// About how many addresses called since the evidence began to gather.
    pub distinct: u64,
    /// Who carries what, largest share first. A network stands for all its addresses.
    pub sources: Vec<SourceShare>,
    /// What the callers look like together.
    pub crowd: Crowd,
}

impl Attribution {
    /// The named sources along one dimension.
    pub fn along(&self, dimension: Dimension) -> impl Iterator<Item = &SourceShare> {
        shares_of(&self.sources, dimension)
    }

    /// The named addresses and networks: what an edge can refuse.
    pub fn networks(&self) -> impl Iterator<Item = &SourceShare> {
        self.sources.iter().filter(|source| source.dimension.is_network())
    }
}

fn shares_of(sources: &[SourceShare], dimension: Dimension) -> impl Iterator<Item = &SourceShare> {
    sources.iter().filter(move |source| source.dimension == dimension)
}

/// One source's share of the excess cost, 0 to 1; both bounds hold together in 95 % of cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceShare {
    /// Along which line it was told apart.
    pub dimension: Dimension,
    /// Its name.
    pub source: Box<str>,
    /// Best estimate.
    pub share: f64,
    /// It carries at least this.
    pub low: f64,
    /// It carries at most this.
    pub high: f64,
    /// Share of the legitimate requests that are usually its own.
    #[serde(skip)]
    pub ordinary: f64,
}

kept!(Attribution { diffuse, distinct, sources, crowd });
kept!(SourceShare { dimension, source, share, low, high, ordinary });

#[cfg(test)]
mod tests;
