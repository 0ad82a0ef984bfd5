//! The search for settings: what would other settings have cost, over scenarios and seeds?
//!
//! Successive halving (Karnin, Koren, Somekh, ICML 2013, section 3): all candidates are tried on a
//! few seeds, the better half on twice as many, and so on. What a candidate costs is paired: all
//! face the same callers and the same attacks. Its rank is the mean price of what leaks and of what
//! is denied; the winner is then compared with the settings it started from on seeds that the
//! search has not seen, because the best of many is always partly lucky.

pub mod knobs;

pub mod price;

pub mod halving;

pub mod record;

pub mod search;

pub mod result;
