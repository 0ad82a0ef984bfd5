//! Do invocations cost more each: do they run longer, or with more memory, than they used to?
//!
//! **Durations** are log-normal in the small and shift as a whole when something is wrong, so the
//! unit is the mean of ln(billed ms) over a block of sixteen invocations; blocks wash out the
//! mixture of cheap and dear requests that a single invocation would alarm on. Each block mean is
//! standardised against the learned mean and spread of blocks, the envelope is subtracted, the rest
//! is clipped to ±3, and the Shiryaev-Roberts recursion (Shin, Ramdas, Rinaldo, arXiv 2203.03532)
//! runs on exp(h·z − h²/2): an e-value for every law whose standardised mean is at most zero and
//! which is sub-Gaussian after the clipping.
//!
//! **Memory** is configured, not drawn: it is the same in every invocation until somebody changes
//! it. The null is therefore a belief and no measured law: that a whole block over the envelope,
//! without a new version, comes at most once in `RARITY` blocks. Then e = `RARITY` for such a
//! block and 0 for any other is an e-value, and two blocks in a row are enough for a page.
//!
//! A block opens at most once a second of event time, with that second's first invocations; the
//! others are left out. So a block obeys the same law at one call a minute and at a thousand a
//! second, and a run length of A blocks is at least A seconds. Records that come after a block of a
//! later second has opened only fill that block.
//!
//! A new version that has taken over starts the learning anew: a deploy may well change what a call
//! costs. Versions that share the traffic share the baseline, with the largest memory of a block as
//! its mark.

use serde::{Deserialize, Serialize};

use super::rounded_down;
use crate::keep::kept;
use crate::units::bounds::{up_to, within};

/// Invocations per block.
const BLOCK: u8 = 16;
/// Blocks before the channel says anything.
const BLOCKS_TO_LEARN: u32 = 20;
/// Up to this many times the learned size is normal; as for rates.
const LN_ENVELOPE: f64 = 0.47;
/// Blocks never count as steadier than this, so that a function of constant duration does not
/// alarm on a millisecond.
const SPREAD_MIN: f64 = 0.15;
/// Weight of a new block in the running means and spread.
const WEIGHT: f64 = 0.02;
/// From this evidence on a block is taken for a symptom and hardly learned from.
const SUSPICIOUS: f64 = 100.0;
/// What is left of the weight then: a shift that lasts and costs too little for an alarm is
/// accepted in the end, after thousands of blocks.
const WEIGHT_WHEN_SUSPICIOUS: f64 = 0.05;
/// Tilt of the e-value; 1 is the best for a shift of one spread beyond the envelope.
const TILT: f64 = 1.0;
/// At most one block in so many is wholly over the memory envelope without cause: about one a day
/// where calls are frequent. Any more, and one block could page by itself.
const RARITY: f64 = 1e5;
/// Evidence is clamped at this multiple of the threshold, so that it falls again soon after.
const CLAMP: f64 = 4.0;

/// What one invocation costs in time and memory, for one function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeChannel {
    /// Σ ln(billed ms) of the open block.
    #[serde(skip)]
    sum: f32,
    #[serde(skip)]
    duration_evidence: f32,
    #[serde(skip)]
    memory_evidence: f32,
    /// The second in which the latest block opened.
    #[serde(skip)]
    opened: u32,
    /// Invocations in the open block.
    #[serde(skip)]
    count: u8,
    /// Invocations of other versions in a row.
    #[serde(skip)]
    others: u8,
    blocks: u32,
    version: u32,
    /// Of the block means of ln(billed ms).
    #[serde(deserialize_with = "within::<_, _, 64>")]
    mean: f32,
    #[serde(deserialize_with = "up_to::<_, _, 10_000>")]
    variance: f32,
    #[serde(skip)]
    latest: f32,
    /// Mean of the largest ln(MB) of each block.
    #[serde(deserialize_with = "within::<_, _, 64>")]
    memory: f32,
    /// Smallest and largest MB of the open block, or of the latest while none is open.
    #[serde(skip)]
    least_mb: u16,
    #[serde(skip)]
    most_mb: u16,
}

impl SizeChannel {
    /// Takes in one invocation of event-time second `second`; `learning` is false while the
    /// baseline is frozen. Returns whether a block was completed, so that the evidence is worth
    /// looking at.
    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    pub fn invocation(
        &mut self,
        billed_ms: u32,
        memory_mb: u32,
        version: u32,
        second: i64,
        learning: bool,
        threshold: f64,
    ) -> bool {
        self.note_version(version);
        if self.count == 0 {
            let second = u32::try_from(second).unwrap_or(0);
            if second <= self.opened {
                return false;
            }
            self.opened = second;
            self.least_mb = u16::MAX;
            self.most_mb = 1;
        }
        self.sum += libm::log(f64::from(billed_ms.max(1))) as f32;
        let memory_mb = u16::try_from(memory_mb).unwrap_or(u16::MAX);
        self.least_mb = self.least_mb.min(memory_mb.max(1));
        self.most_mb = self.most_mb.max(memory_mb);
        self.count += 1;
        if self.count < BLOCK {
            return false;
        }
        self.close_block(learning, threshold);
        true
    }

    /// A new version starts anew once it has taken over: a whole block without the old one. While
    /// two of them share the traffic they share the baseline too; 0 says nothing.
    fn note_version(&mut self, version: u32) {
        if version == 0 || version == self.version {
            self.others = 0;
        } else if self.version == 0 {
            self.version = version;
        } else {
            self.others += 1;
            if self.others >= BLOCK {
                *self = Self { version, opened: self.opened, ..Self::default() };
            }
        }
    }

    /// The evidence that invocations run longer.
    pub fn value(&self) -> f64 {
        self.duration_evidence.into()
    }

    /// The evidence that invocations run with more memory.
    pub fn memory_value(&self) -> f64 {
        self.memory_evidence.into()
    }

    /// Forgets the evidence, keeps what was learned.
    pub fn restart(&mut self) {
        self.duration_evidence = 0.0;
        self.memory_evidence = 0.0;
    }

    /// What was learned, without what is going on.
    pub fn learned(&self) -> Self {
        let Self { blocks, version, mean, variance, memory, .. } = *self;
        Self { blocks, version, mean, variance, memory, ..Self::default() }
    }

    /// Learned geometric mean of the billed duration, milliseconds.
    pub fn expected_ms(&self) -> f64 {
        libm::exp(f64::from(self.mean))
    }

    /// Geometric mean of the latest block, milliseconds.
    pub fn observed_ms(&self) -> f64 {
        libm::exp(f64::from(self.latest))
    }

    /// Learned memory, MB.
    pub fn expected_mb(&self) -> f64 {
        libm::exp(f64::from(self.memory))
    }

    /// Smallest memory of the latest block, MB; 0 before the first.
    pub fn observed_mb(&self) -> f64 {
        f64::from(self.least_mb)
    }

    fn close_block(&mut self, learning: bool, threshold: f64) {
        let duration = f64::from(self.sum) / f64::from(BLOCK);
        self.sum = 0.0;
        self.count = 0;
        if self.blocks >= BLOCKS_TO_LEARN {
            self.test_duration(duration, threshold);
            self.test_memory(threshold);
        }
        if learning || self.blocks < BLOCKS_TO_LEARN {
            self.learn(duration);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "for display only")]
    fn test_duration(&mut self, block: f64, threshold: f64) {
        self.latest = block as f32;
        let spread = libm::sqrt(f64::from(self.variance)).max(SPREAD_MIN);
        let z = ((block - f64::from(self.mean) - LN_ENVELOPE) / spread).clamp(-3.0, 3.0);
        let ratio = libm::exp(TILT * z - TILT * TILT / 2.0);
        let grown = (self.value() + 1.0) * ratio;
        self.duration_evidence = rounded_down(grown.min(CLAMP * threshold));
    }

    fn test_memory(&mut self, threshold: f64) {
        let excess = libm::log(f64::from(self.least_mb)) - f64::from(self.memory) - LN_ENVELOPE;
        let ratio = if excess > 0.0 { RARITY } else { 0.0 };
        let grown = (self.memory_value() + 1.0) * ratio;
        self.memory_evidence = rounded_down(grown.min(CLAMP * threshold));
    }

    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    fn learn(&mut self, duration: f64) {
        self.blocks = self.blocks.saturating_add(1);
        // Plain average first, then exponential.
        let weight = WEIGHT.max(1.0 / f64::from(self.blocks));
        let gate = |evidence| if evidence > SUSPICIOUS { WEIGHT_WHEN_SUSPICIOUS } else { 1.0 };
        let w = weight * gate(self.value());
        let off = duration - f64::from(self.mean);
        self.mean += (w * off) as f32;
        self.variance = ((1.0 - w) * (f64::from(self.variance) + w * off * off)) as f32;
        let w = weight * gate(self.memory_value());
        let off = libm::log(f64::from(self.most_mb)) - f64::from(self.memory);
        self.memory += (w * off) as f32;
    }
}

kept!(SizeChannel {
    sum,
    duration_evidence,
    memory_evidence,
    opened,
    count,
    others,
    blocks,
    version,
    mean,
    variance,
    latest,
    memory,
    least_mb,
    most_mb,
});

#[cfg(test)]
mod tests {
    use super::super::tests::{Draw, run_length};
    use super::*;
    use proptest::prelude::*;

    /// One invocation a second from `first`, each of `mb`; the seconds that it took.
    fn feed(
        channel: &mut SizeChannel,
        first: i64,
        durations: impl Iterator<Item = u32>,
        mb: u32,
        version: u32,
    ) -> i64 {
        let mut second = first;
        for billed in durations {
            second += 1;
            channel.invocation(billed, mb, version, second, true, 1e10);
        }
        second
    }

    /// A mixture of fast and slow requests, as an API has them.
    fn mixed(count: u32) -> impl Iterator<Item = u32> {
        (0..count).map(|i| if i.wrapping_mul(2_654_435_761) >> 30 == 0 { 900 } else { 40 })
    }

    #[test]
    fn five_times_the_duration_is_found_and_the_usual_mixture_is_not() {
        let mut channel = SizeChannel::default();
        let now = feed(&mut channel, 0, mixed(100_000), 128, 1);
        assert!(channel.value() < 1e4, "{}", channel.value());
        feed(&mut channel, now, mixed(400).map(|billed| billed * 5), 128, 1);
        assert!(channel.value() >= 1e10, "{}", channel.value());
        assert!(channel.memory_value() <= 0.0);
    }

    #[test]
    fn a_new_version_is_learned_anew() {
        let mut channel = SizeChannel::default();
        let now = feed(&mut channel, 0, mixed(10_000), 128, 1);
        feed(&mut channel, now, mixed(10_000).map(|billed| billed * 5), 512, 2);
        assert!(channel.value() < 1e4, "{}", channel.value());
        assert!(channel.memory_value() <= 0.0);
    }

    #[test]
    fn two_versions_that_share_the_traffic_do_not_blind_the_channel() {
        let mut channel = SizeChannel::default();
        let mut second = 0;
        let mut shared = |factor: u32, count| {
            for (index, billed) in (0_u32..).zip(mixed(count)) {
                let version = if index % 10 == 0 { 2 } else { 1 };
                second += 1;
                channel.invocation(billed * factor, 64 * version, version, second, true, 1e10);
            }
            assert!(channel.memory_value() <= 0.0);
            channel.value()
        };
        assert!(shared(1, 10_000) < 1e4);
        assert!(shared(5, 400) >= 1e10);
    }

    #[test]
    fn a_function_of_constant_duration_may_wobble_by_a_millisecond() {
        let mut channel = SizeChannel::default();
        let now = feed(&mut channel, 0, (0..10_000).map(|_| 3), 128, 1);
        feed(&mut channel, now, (0..10_000).map(|_| 4), 128, 1);
        assert!(channel.value() < 1e4, "{}", channel.value());
    }

    #[test]
    fn four_times_the_memory_is_found_in_two_whole_blocks_and_is_over_with_the_first_that_is_not() {
        let mut channel = SizeChannel::default();
        let now = feed(&mut channel, 0, mixed(10_000), 256, 1);
        let now = feed(&mut channel, now, mixed(2 * u32::from(BLOCK)), 1024, 1);
        assert!(channel.memory_value() >= 1e10, "{}", channel.memory_value());
        assert!((channel.expected_mb() - 256.0).abs() < 20.0);
        assert!((channel.observed_mb() - 1024.0).abs() < 1e-9);
        feed(&mut channel, now, mixed(BLOCK.into()), 256, 1);
        assert!(channel.memory_value() <= 0.0);
    }

    #[test]
    fn a_thousand_calls_a_second_are_one_block_a_second() {
        let mut channel = SizeChannel::default();
        let mut blocks = 0;
        for second in 1..=50 {
            for _ in 0..1_000 {
                blocks += u32::from(channel.invocation(10, 128, 0, second, true, 1e10));
            }
        }
        assert_eq!(blocks, 50);
        for call in 0..16 * 12 {
            let second = 51 + call / 16;
            channel.invocation(50, 128, 0, second, true, 1e10);
        }
        assert!(channel.value() >= 1e10, "x5 within 12 s: {}", channel.value());
    }

    #[test]
    fn the_run_length_in_blocks_keeps_the_promise_where_the_mean_is_at_the_envelope() {
        // The mean itself is learned, so the null is approached from the learned side: blocks of a
        // log-normal law that has moved up by all of the envelope.
        for threshold in [100.0, 1_000.0] {
            let length = run_length(threshold, 200, |seed| {
                let mut draw = Draw::new(seed);
                let mut channel = SizeChannel::default();
                let mut second = 0;
                let mut block = move |shift: f64, learning| {
                    second += 1;
                    for _ in 0..BLOCK {
                        let ln = 6.0 + shift + draw.normal();
                        channel.invocation(ln.exp() as u32, 128, 0, second, learning, threshold);
                    }
                    channel.value().max(channel.memory_value())
                };
                for _ in 0..500 {
                    block(0.0, true);
                }
                move || block(LN_ENVELOPE, false)
            });
            assert!(length >= threshold, "{length} of {threshold}");
        }
    }

    proptest! {
        #[test]
        fn evidence_is_a_number_whatever_comes(
            calls in proptest::collection::vec(
                (any::<u32>(), any::<u32>(), 0_u32..3, any::<i64>(), any::<bool>()), 0..2_000)
        ) {
            let mut channel = SizeChannel::default();
            for (billed, mb, version, second, learning) in calls {
                channel.invocation(billed, mb, version, second, learning, 1e10);
                for value in [channel.value(), channel.memory_value(), channel.expected_ms(),
                    channel.observed_ms(), channel.expected_mb(), channel.observed_mb()] {
                    prop_assert!(value.is_finite() && value >= 0.0);
                }
            }
        }
    }
}
