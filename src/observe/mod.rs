//! What is going on, told to people and machines: metrics, the HTTP API, the log.
//!
//! Nothing here feeds back into detection, and into control only what a person orders; everything
//! has a maximum, because names of functions are chosen by others.

pub mod view;

mod largest;

pub mod catalogue;
pub mod metrics;

mod series;

pub mod access;
pub mod orders;

pub mod api;
pub mod http;

mod admission;
mod connection;
mod resources;
mod seats;

pub mod tls;

pub mod budgets;
pub mod decisions;
pub mod explanation;
pub mod ledger;
pub mod narration;

pub mod logging;

pub mod story;

pub mod unseen;
