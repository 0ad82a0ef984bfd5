//! bursar keeps a serverless bill from being run up by somebody else.
//!
//! The modules are listed in the order in which data passes through them; `ARCHITECTURE.md` has
//! the map and the rules that hold between them.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::float_cmp,
        reason = "tests compare with literals they wrote themselves"
    )
)]

pub mod record;
pub mod units;

pub mod keep;

pub mod config;

pub mod source;

pub mod decode;

pub mod engine;

pub mod cost;

pub mod control;

pub mod act;

#[cfg(feature = "aws")]
pub mod aws;

pub mod observe;

pub mod simulation;

pub mod score;

pub mod report;

pub mod runtime;

pub mod store;

pub mod swarm;

pub mod tune;

pub mod cli;
