//! Do invocations run longer than they used to?
//!
//! Durations are log-normal in the small and shift as a whole when something is wrong, so the unit
//! is the mean of ln(billed ms) over a block of sixteen invocations; blocks wash out the mixture of
//! cheap and dear requests that a single invocation would alarm on. Each block mean is
//! standardised against the learned mean and spread of blocks, the envelope is subtracted, the rest
//! is clipped to ±3, and the Shiryaev-Roberts recursion runs on exp(h·z − h²/2): an e-value for
//! every law whose standardised mean is at most zero and which is sub-Gaussian after the clipping.
//!
//! A new version that has taken over starts the learning anew: a deploy may well change how long a
//! function runs.

/// Invocations per block.
const BLOCK: u32 = 16;
/// Blocks before the channel says anything.
const BLOCKS_TO_LEARN: u32 = 20;
/// Means up to this many times the learned one are normal; as for rates.
const LN_ENVELOPE: f64 = 0.47;
/// Blocks never count as steadier than this, so that a function of constant duration does not
/// alarm on a millisecond.
const SPREAD_MIN: f64 = 0.15;
/// Weight of a new block in the running mean and spread.
const WEIGHT: f64 = 0.02;
/// From this evidence on a block is taken for a symptom and hardly learned from.
const SUSPICIOUS: f64 = 100.0;
/// What is left of the weight then: a shift that lasts and costs too little for an alarm is
/// accepted in the end, after thousands of blocks.
const WEIGHT_WHEN_SUSPICIOUS: f64 = 0.05;
/// Tilt of the e-value; 1 is the best for a shift of one spread beyond the envelope.
const TILT: f64 = 1.0;

/// The state of the duration channel of one function.
#[derive(Debug, Clone, Copy, Default)]
pub struct DurationChannel {
    sum: f64,
    count: u32,
    blocks: u32,
    mean: f64,
    square: f64,
    evidence: f64,
    version: u32,
    /// Invocations of other versions in a row.
    others: u32,
    latest: f32,
}

impl DurationChannel {
    /// Takes in one invocation; `learning` is false while the baseline is frozen. Returns whether a
    /// block was completed, so that the evidence is worth looking at.
    pub fn invocation(
        &mut self,
        billed_ms: u32,
        version: u32,
        learning: bool,
        threshold: f64,
    ) -> bool {
        self.note_version(version);
        self.sum += libm::log(f64::from(billed_ms.max(1)));
        self.count += 1;
        if self.count < BLOCK {
            return false;
        }
        let block = self.sum / f64::from(BLOCK);
        self.sum = 0.0;
        self.count = 0;
        self.block(block, learning, threshold);
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
                *self = Self { version, ..Self::default() };
            }
        }
    }

    /// The evidence that invocations run longer.
    pub fn value(&self) -> f64 {
        self.evidence
    }

    /// Forgets the evidence, keeps what was learned.
    pub fn restart(&mut self) {
        self.evidence = 0.0;
    }

    /// Learned geometric mean of the billed duration, milliseconds.
    pub fn expected_ms(&self) -> f64 {
        libm::exp(self.mean)
    }

    /// Geometric mean of the latest block, milliseconds.
    pub fn observed_ms(&self) -> f64 {
        libm::exp(f64::from(self.latest))
    }

    #[expect(clippy::cast_possible_truncation, reason = "for display only")]
    fn block(&mut self, block: f64, learning: bool, threshold: f64) {
        self.latest = block as f32;
        if self.blocks >= BLOCKS_TO_LEARN {
            let spread = libm::sqrt((self.square - self.mean * self.mean).max(0.0)).max(SPREAD_MIN);
            let z = ((block - self.mean - LN_ENVELOPE) / spread).clamp(-3.0, 3.0);
            let ratio = libm::exp(TILT * z - TILT * TILT / 2.0);
            self.evidence = ((self.evidence + 1.0) * ratio).min(100.0 * threshold);
        }
        if learning || self.blocks < BLOCKS_TO_LEARN {
            self.blocks = self.blocks.saturating_add(1);
            // Plain average first, then exponential.
            let mut weight = WEIGHT.max(1.0 / f64::from(self.blocks));
            if self.evidence > SUSPICIOUS {
                weight *= WEIGHT_WHEN_SUSPICIOUS;
            }
            self.mean += weight * (block - self.mean);
            self.square += weight * (block * block - self.square);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(channel: &mut DurationChannel, durations: impl Iterator<Item = u32>, version: u32) {
        for billed in durations {
            channel.invocation(billed, version, true, 1e10);
        }
    }

    /// A mixture of fast and slow requests, as an API has them.
    fn mixed(count: u32) -> impl Iterator<Item = u32> {
        (0..count).map(|i| if i.wrapping_mul(2_654_435_761) >> 30 == 0 { 900 } else { 40 })
    }

    #[test]
    fn five_times_the_duration_is_found_and_the_usual_mixture_is_not() {
        let mut channel = DurationChannel::default();
        feed(&mut channel, mixed(100_000), 1);
        assert!(channel.value() < 1e4, "{}", channel.value());
        feed(&mut channel, mixed(400).map(|billed| billed * 5), 1);
        assert!(channel.value() >= 1e10, "{}", channel.value());
    }

    #[test]
    fn a_new_version_is_learned_anew() {
        let mut channel = DurationChannel::default();
        feed(&mut channel, mixed(10_000), 1);
        feed(&mut channel, mixed(10_000).map(|billed| billed * 5), 2);
        assert!(channel.value() < 1e4, "{}", channel.value());
    }

    #[test]
    fn two_versions_that_share_the_traffic_do_not_blind_the_channel() {
        let mut channel = DurationChannel::default();
        let mut shared = |factor: u32, count| {
            for (index, billed) in (0_u32..).zip(mixed(count)) {
                let version = if index % 10 == 0 { 2 } else { 1 };
                channel.invocation(billed * factor, version, true, 1e10);
            }
            channel.value()
        };
        assert!(shared(1, 10_000) < 1e4);
        assert!(shared(5, 400) >= 1e10);
    }

    #[test]
    fn a_function_of_constant_duration_may_wobble_by_a_millisecond() {
        let mut channel = DurationChannel::default();
        feed(&mut channel, (0..10_000).map(|_| 3), 1);
        feed(&mut channel, (0..10_000).map(|_| 4), 1);
        assert!(channel.value() < 1e4, "{}", channel.value());
    }
}
