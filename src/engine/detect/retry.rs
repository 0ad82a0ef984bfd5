//! Is the function paying for the same failing work again and again?
//!
//! A retry storm shows in two shares of the calls: those that fail, and those whose request was
//! seen before. The platform's own retries keep the request id, a queue's redeliveries do not, so
//! either share alone may tell. The null: given the past, the mean share of a block is at most the
//! envelope times an upper bound of what was learned, plus a floor.
//!
//! The likelihood ratio of one call, with share q against p, is q/p for a hit and (1 − q)/(1 − p)
//! for a miss. Calls of one second fail together when something that they all need is down, so
//! their ratios must not be multiplied; their *mean* is an e-value whatever their dependence
//! (Vovk & Wang, Ann. Statist. 49(3) 2021, doi 10.1214/20-AOS2020), namely a bet of bounded size on
//! the share of the block (Waudby-Smith & Ramdas, J. R. Stat. Soc. B 86(1) 2024,
//! doi 10.1093/jrsssb/qkad009). Only blocks are multiplied, by the Shiryaev-Roberts recursion, and
//! the evidence is the mean over both shares and a few q. A block lasts from a call to the first
//! one of a later second; so there is at most one look a second, and the mean time to a false alarm
//! at threshold A is at least A seconds.
//!
//! A dependency that is down for a minute breaks the null as well: its callers do pay for failing
//! work. Whether that is worth an alarm is for the caller to weigh in money.

use serde::{Deserialize, Serialize};

use super::rounded_down;
use crate::keep::kept;
use crate::units::bounds::up_to;

/// Shares up to this many times the learned bound are normal; as for rates.
const ENVELOPE: f64 = 1.6;
/// And so is one call in twenty, whatever was learned: a rare failure has no rate to speak of.
const FLOOR: f64 = 0.05;
/// Above this there is no room left for a rise.
const TOLERATED_MAX: f64 = 0.95;
/// The q of the mixture, as steps from the tolerated share towards 1.
const STEPS: [f64; 2] = [0.1, 0.6];
/// Blocks before the channel says anything.
const BLOCKS_TO_LEARN: u32 = 30;
/// Weight of a new block: about a quarter of an hour of steady calls.
const WEIGHT: f64 = 0.001;
/// From this evidence on a block is taken for a symptom and hardly learned from.
const SUSPICIOUS: f64 = 100.0;
/// What is left of the weight then.
const WEIGHT_WHEN_SUSPICIOUS: f64 = 0.05;
/// Standard normal quantile of the upper confidence bound.
const Z_90: f64 = 1.28;
/// Clamp of each component, in thresholds: one alone can lift the mean to the threshold, and the
/// evidence falls again soon after.
const CLAMP: f64 = 2.0 * STEPS.len() as f64;

/// The state of the retry channel of one function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryChannel {
    failures: Share,
    repeats: Share,
    /// The second of the open block, and what is in it.
    #[serde(skip)]
    second: u32,
    /// Of a second with more calls than fit, the first count.
    #[serde(skip)]
    calls: u16,
    #[serde(skip)]
    failed: u16,
    #[serde(skip)]
    repeated: u16,
    blocks: u32,
}

impl RetryChannel {
    /// Takes in one call of event-time second `second`: whether it failed, and whether its request
    /// was seen before. `learning` is false while the baseline is frozen. Returns whether a block
    /// was completed, so that the evidence is worth looking at.
    pub fn invocation(
        &mut self,
        failed: bool,
        repeat: bool,
        second: i64,
        learning: bool,
        threshold: f64,
    ) -> bool {
        let second = u32::try_from(second).unwrap_or(0);
        // An earlier second is a record out of order: it belongs to the open block.
        let complete = self.calls > 0 && second > self.second;
        if complete {
            self.close_block(learning, threshold);
        }
        if self.calls == 0 {
            self.second = second;
        }
        if self.calls < u16::MAX {
            self.calls += 1;
            self.failed += u16::from(failed);
            self.repeated += u16::from(repeat);
        }
        complete
    }

    /// The evidence for a retry storm.
    pub fn value(&self) -> f64 {
        self.failures.value().midpoint(self.repeats.value())
    }

    /// The tolerated share of the calls, of failures or repeats, whichever tells more.
    pub fn expected(&self) -> f64 {
        self.telling().tolerated(self.blocks)
    }

    /// The same share in the latest block.
    pub fn observed(&self) -> f64 {
        f64::from(self.telling().latest)
    }

    /// Forgets the evidence, keeps what was learned.
    pub fn restart(&mut self) {
        self.failures.evidence = [0.0; STEPS.len()];
        self.repeats.evidence = [0.0; STEPS.len()];
    }

    /// What was learned, without what is going on.
    pub fn learned(&self) -> Self {
        let share = |share: Share| Share { learned: share.learned, ..Share::default() };
        Self {
            failures: share(self.failures),
            repeats: share(self.repeats),
            blocks: self.blocks,
            ..Self::default()
        }
    }

    fn telling(&self) -> &Share {
        if self.repeats.value() > self.failures.value() { &self.repeats } else { &self.failures }
    }

    fn close_block(&mut self, learning: bool, threshold: f64) {
        let calls = f64::from(self.calls);
        let suspicious = self.value() > SUSPICIOUS;
        let learned = learning || self.blocks < BLOCKS_TO_LEARN;
        for (share, hits) in [(&mut self.failures, self.failed), (&mut self.repeats, self.repeated)]
        {
            let seen = f64::from(hits) / calls;
            if self.blocks >= BLOCKS_TO_LEARN {
                share.test(seen, self.blocks, threshold);
            }
            if learned {
                let gate = if suspicious { WEIGHT_WHEN_SUSPICIOUS } else { 1.0 };
                share.learn(seen, gate * weight(self.blocks));
            }
        }
        self.blocks = self.blocks.saturating_add(u32::from(learned));
        (self.calls, self.failed, self.repeated) = (0, 0, 0);
    }
}

/// One of the two shares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    #[serde(skip)]
    evidence: [f32; STEPS.len()],
    #[serde(deserialize_with = "up_to::<_, _, 1>")]
    learned: f32,
    #[serde(skip)]
    latest: f32,
}

impl Share {
    fn value(&self) -> f64 {
        self.evidence.iter().map(|&one| f64::from(one)).sum::<f64>() / STEPS.len() as f64
    }

    /// The largest mean share that is normal. A block counts as a single draw, however many calls
    /// are in it: no less can be said of calls that fail together.
    fn tolerated(&self, blocks: u32) -> f64 {
        let share = f64::from(self.learned);
        // Of an exponential mean with weight w the variance is w/(2 − w) of a draw's; of a plain
        // one over 1/w draws it is w of it.
        let bound = share + Z_90 * libm::sqrt(share * (1.0 - share) * weight(blocks));
        (ENVELOPE * bound + FLOOR).min(TOLERATED_MAX)
    }

    #[expect(clippy::cast_possible_truncation, reason = "for display only")]
    fn test(&mut self, seen: f64, blocks: u32, threshold: f64) {
        self.latest = seen as f32;
        let p = self.tolerated(blocks);
        for (evidence, step) in self.evidence.iter_mut().zip(STEPS) {
            let q = p + step * (1.0 - p);
            let ratio = seen * (q / p) + (1.0 - seen) * ((1.0 - q) / (1.0 - p));
            let grown = (f64::from(*evidence) + 1.0) * ratio;
            *evidence = rounded_down(grown.min(CLAMP * threshold));
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    fn learn(&mut self, seen: f64, weight: f64) {
        let moved = f64::from(self.learned) + weight * (seen - f64::from(self.learned));
        self.learned = moved.clamp(0.0, 1.0) as f32;
    }
}

/// Weight of a new block: a plain average at first, exponential later.
fn weight(blocks: u32) -> f64 {
    WEIGHT.max(1.0 / (f64::from(blocks) + 1.0))
}

kept!(RetryChannel { failures, repeats, second, calls, failed, repeated, blocks });
kept!(Share { evidence, learned, latest });

#[cfg(test)]
mod tests {
    use super::super::tests::{Draw, run_length};
    use super::*;
    use proptest::prelude::*;

    const A: f64 = 1e9;

    /// One second of `calls` calls, of which so many fail and repeat.
    fn second(channel: &mut RetryChannel, at: i64, calls: u32, failed: u32, repeated: u32) {
        for call in 0..calls {
            channel.invocation(call < failed, call < repeated, at, true, A);
        }
    }

    /// A thousand quiet seconds: one call in fifty fails.
    fn quiet() -> RetryChannel {
        let mut channel = RetryChannel::default();
        (1..=1_000).for_each(|at| second(&mut channel, at, 50, 1, 0));
        channel
    }

    /// Seconds until the alarm.
    fn delay(mut channel: RetryChannel, calls: u32, failed: u32, repeated: u32) -> i64 {
        let last = (1..200).find(|&at| {
            second(&mut channel, 1_000 + at, calls, failed, repeated);
            channel.value() >= A
        });
        last.expect("no alarm")
    }

    #[test]
    fn a_storm_is_found_within_seconds_by_failures_or_by_repeats_alone() {
        assert!(quiet().value() < 10.0);
        assert!(delay(quiet(), 100, 90, 60) <= 12);
        assert!(delay(quiet(), 100, 2, 66) <= 12);
        assert!(delay(quiet(), 100, 50, 0) <= 20);
        assert!(delay(quiet(), 1, 1, 0) <= 15);
    }

    #[test]
    fn evidence_is_gone_a_minute_after_the_storm() {
        let mut channel = quiet();
        (1_001..1_600).for_each(|at| second(&mut channel, at, 100, 90, 60));
        assert!(channel.value() >= A);
        assert!(channel.observed() > channel.expected());
        (1_600..1_900).for_each(|at| second(&mut channel, at, 50, 1, 0));
        assert!(channel.value() < 100.0, "{}", channel.value());
    }

    #[test]
    fn a_function_that_always_fails_a_lot_is_normal() {
        let mut channel = RetryChannel::default();
        (1..=5_000).for_each(|at| second(&mut channel, at, 10, 4 + u32::from(at % 3 == 0), 3));
        assert!(channel.value() < 100.0, "{}", channel.value());
    }

    #[test]
    fn one_bad_second_is_no_storm_however_many_calls_are_in_it() {
        let mut channel = quiet();
        second(&mut channel, 1_001, 1_000_000, 1_000_000, 1_000_000);
        second(&mut channel, 1_002, 50, 1, 0);
        assert!(channel.value() < 100.0, "{}", channel.value());
    }

    #[test]
    fn the_mean_of_the_ratio_is_at_most_one_for_every_share_up_to_the_tolerated_one() {
        for learned in [0.0, 0.01, 0.3, 0.9, 1.0] {
            let share = Share { learned, ..Share::default() };
            let p = share.tolerated(100);
            for mean in [0.0, p / 2.0, p] {
                // Of all laws on [0, 1] with this mean, those on its ends: the ratio is linear.
                let after = |seen: f64| {
                    let mut share = share;
                    share.test(seen, 100, A);
                    share.value()
                };
                assert!(mean * after(1.0) + (1.0 - mean) * after(0.0) <= 1.0 + 1e-9);
            }
        }
    }

    #[test]
    fn the_run_length_keeps_the_promise_where_whole_seconds_fail_together() {
        for threshold in [100.0, 1_000.0] {
            let length = run_length(threshold, 200, |seed| {
                let mut draw = Draw::new(seed);
                let mut channel = quiet();
                // Both nulls at their edge, as dependent as can be.
                let p = channel.failures.tolerated(1_000);
                let rarer = channel.repeats.tolerated(1_000) / p;
                let mut at = 1_000;
                move || {
                    at += 1;
                    let down = draw.happens(p);
                    let repeated = down && draw.happens(rarer);
                    for _ in 0..20 {
                        channel.invocation(down, repeated, at, false, threshold);
                    }
                    channel.value()
                }
            });
            assert!(length >= threshold, "{length} of {threshold}");
        }
    }

    proptest! {
        #[test]
        fn evidence_is_a_number_whatever_comes(
            calls in proptest::collection::vec(
                (any::<bool>(), any::<bool>(), any::<i64>(), any::<bool>()), 0..500)
        ) {
            let mut channel = RetryChannel::default();
            for (failed, repeat, second, learning) in calls {
                channel.invocation(failed, repeat, second, learning, A);
                for value in [channel.value(), channel.expected(), channel.observed()] {
                    prop_assert!(value.is_finite() && value >= 0.0);
                }
            }
        }
    }
}
