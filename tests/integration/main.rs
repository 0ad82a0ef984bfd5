//! The program from outside: the executable is started as a user would start it, and everything is
//! judged by what it writes, answers and exits with.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]
#![allow(clippy::print_stderr, reason = "what is left out and what went wrong must be seen")]

mod support;

mod cli;

mod replay;

mod learn;

mod evaluate;

mod explain;

mod simulate;

mod score;

mod report;

mod tune;

mod determinism;

mod bad_input;

mod outputs;

mod footprint;

mod daemon;

mod access;
mod attacker;
mod audit;
mod tls;
mod webhook;

mod dashboards;
mod deploy;
mod state;
mod watch;

#[cfg(feature = "kafka")]
mod broker;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_broker;
#[cfg(all(feature = "kafka", feature = "aws"))]
mod kafka_msk_iam;
#[cfg(feature = "kafka")]
mod kafka_state;
#[cfg(feature = "kafka")]
mod kafka_token;

#[cfg(feature = "kinesis")]
mod kinesis;
#[cfg(feature = "kinesis")]
mod kinesis_services;
#[cfg(feature = "kinesis")]
mod lambda;
#[cfg(feature = "kinesis")]
mod ministack;
