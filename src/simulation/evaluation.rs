//! Scores of a replay, recomputed from files alone: the truth about the attacks, the decisions, and
//! the ledger where there is one. Nothing here knows how the decisions came about.
//!
//! - An alarm is judged by the moment at which it was raised to its severity. It belongs to an
//!   attack on its function if the record that raised it came at or after the attack's first one
//!   and its onset is no later than [`TOLERANCE_MS`] after the attack's last. A slow channel may
//!   therefore speak after the attack is over, but an alarm that was open before is false, and what
//!   it covers is not found by it. Alarms of an account or an application belong to the attacks on
//!   any function of the account.
//! - Severities and states are closed sets. Kinds of attack, channels, classes and scopes are open:
//!   whatever stands in the files is counted under its own name.
//! - Counts are pooled per kind of attack and never over kinds: a mean over floods and ramps would
//!   say which of them was tried more often.
//! - Everything is independent of the order in which different functions' lines stand in the file.

mod lines;

mod attack_case;

mod run;

mod interval;

mod report;

pub(crate) mod table;

#[cfg(test)]
mod tests;

pub use attack_case::{AlarmScore, AttackScore, AttributionScore, Found, SpendScore};
pub use interval::Interval;
pub use lines::{Severity, TruthFile};
pub use report::{FalseAlarms, FalseRate, KindScore, Promised, Report};
pub use run::{ActionScore, Actions, Decisions, FalseCount, Ledger, RunScore};

/// How long after the last record of an attack the onset of an alarm still counts as its doing:
/// callers that were turned away try again, and queues that were filled are worked off.
pub const TOLERANCE_MS: i64 = 60_000;

/// Alarms in one file of decisions. One is about 300 bytes here, and a run with so many is not in
/// need of a score.
pub const ALARMS_MAX: usize = 1_000_000;

/// Different sources that the alarms of one run may name, counted once for each attack.
pub const NAMES_MAX: usize = 4_000_000;

/// What is wrong with a file, and what to do. The caller knows the file and the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not JSON, or fields are missing or have no meaning.
    #[error("not a line of {of}: {cause}; give a file as bursar replay --{of} writes it, whole")]
    Line {
        /// Decisions or ledger.
        of: &'static str,
        /// What the parser says.
        cause: String,
    },
    /// A file was given in another's place.
    #[error("a line of kind {kind:?} belongs into a file of {other}, give this file as --{other}")]
    Swapped {
        /// What the line says it is.
        kind: &'static str,
        /// Where it belongs.
        other: &'static str,
    },
    /// A file from another version.
    #[error("{what} of form {found}, accepted: {accepted}; write the file anew with this version")]
    Form {
        /// Truth or decisions.
        what: &'static str,
        /// As it stands there.
        found: u32,
        /// What can be read.
        accepted: u32,
    },
    /// Decisions begin with what stands behind them.
    #[error("the first line is not of kind run: the beginning is missing, replay again")]
    NoRun,
    /// Decisions of several runs in one file.
    #[error("a second line of kind {0}: score one run at a time, split the file before each run")]
    Again(&'static str),
    /// Nothing comes behind the summary.
    #[error("a line after the summary: score one run at a time, split the file before each run")]
    AfterSummary,
    /// Decisions end with a summary.
    #[error("the file ends without a line of kind summary: it is cut off, replay again")]
    NoSummary,
    /// A number that cannot be.
    #[error("{0}, replay again")]
    Impossible(String),
    /// An attack that cannot be scored.
    #[error("attack {number}: {problem}, generate the truth again")]
    Attack {
        /// Counted from 1.
        number: usize,
        /// In words.
        problem: &'static str,
    },
    /// Truth and decisions of different streams.
    #[error("{0}; score each replay against the truth about its own records")]
    OtherTruth(String),
    /// Ledger and decisions of different runs.
    #[error(
        "the ledger comes to {ledger} nano-dollars and the summary of the decisions to {summary}; \
         give the whole ledger of the same replay"
    )]
    OtherLedger {
        /// Sum of the rows.
        ledger: String,
        /// Spend of the summary.
        summary: i64,
    },
    /// More than is kept.
    #[error("more than {max} {what}, split the run into shorter ones")]
    TooMany {
        /// Which list.
        what: &'static str,
        /// Its bound.
        max: usize,
    },
}
