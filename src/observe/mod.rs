//! What is going on, told to people and machines: metrics, the read-only HTTP API, the log.
//!
//! Nothing here feeds back into detection or control, and everything has a maximum, because names
//! of functions are chosen by others.

pub mod view;

mod largest;

pub mod catalogue;
pub mod metrics;

mod series;

pub mod api;
pub mod http;

mod connection;

pub mod budgets;
pub mod decisions;
pub mod explanation;
pub mod ledger;
pub mod narration;

pub mod logging;

pub mod story;

pub mod unseen;
