//! A virtual serverless platform, loads and attacks: it writes the messages that the real platform
//! would write, and keeps the truth apart from them. It knows nothing of the detector.
//!
//! Time is virtual and every number is drawn from a seed, so one seed gives one byte stream. What
//! happens to a request that is let in (its duration, its ids) is drawn when the request is offered
//! and not when it runs: two control policies over one seed face the same work.

pub mod draw;
pub mod duration;
pub mod wire;

pub mod platform;

pub mod trace;

pub mod load;

pub mod attack;
pub mod recording;

pub mod truth;

pub mod generate;

pub mod scenario;
pub mod span;

pub mod world;

pub mod plant;
pub mod policy;

pub mod closed_loop;
pub mod scores;

pub mod evaluation;

pub mod embedded;
