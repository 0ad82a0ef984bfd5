//! Does a function feed itself? A recursion grows by the same factor in equal times; load does not.
//!
//! Calls are counted in buckets of three widths, so that some width sees a factor of about two to
//! eight from one bucket to the next for every doubling time from seconds to minutes. The null:
//! given the past, a bucket's mean is at most `GROWTH` times the level of the last few, or a
//! floor, with negative-binomial dispersion up to `PHI`. The e-value of a bucket is the
//! likelihood ratio against that, the Shiryaev-Roberts recursion (Shin, Ramdas, Rinaldo, arXiv
//! 2203.03532) runs over the buckets of a width, and the evidence is the mean over the widths. So
//! under the null the mean time to a false alarm at threshold A is at least A seconds, and four
//! times that as no bucket is narrower than four seconds.
//!
//! A burst breaks the null: a cron job goes from nothing to hundreds in a second. But it is flat
//! or over in the next bucket, and a recursion is not. So a bucket with no more calls than
//! tolerated has the e-value nought, that of any other is clipped, both of which keep it one, and
//! an alarm takes as many steep buckets as threshold and clip demand; a
//! step makes two at most, whatever its size. The level halves its distance to each new bucket, so
//! that a flat top is soon no growth, and a morning's ramp never is any.
//!
//! Where most calls come from the function itself, growth is what one expects to see, so the clip
//! is wider and fewer buckets settle it.

use super::negative_binomial;
use crate::keep::kept;

/// Bucket widths, seconds; each divides the next.
const WIDTHS: [u32; 3] = [4, 16, WIDEST as u32];
const WIDEST: u8 = 64;
/// Growth over the level that is normal.
const GROWTH: f64 = 1.2;
/// Dispersion that is normal.
const PHI: f64 = 0.1;
/// Calls in a bucket that are normal after silence: queues and fan-outs come in clumps.
const FLOOR: f64 = 4.0;
/// Factors of the mixture.
const FACTORS: [f64; 2] = [1.5, 3.0];
/// Weight of a new bucket in the level: an empty one halves it.
const WEIGHT: f64 = 0.5;
/// The most that one bucket may say: four steep ones in one width make a billion.
const CLIP: f64 = 300.0;
/// And where most calls come from the function itself: three.
const CLIP_SELF: f64 = 2_000.0;
/// Clamp of each width, in thresholds: enough, and a little more for rounding, for one alone to
/// lift the mean to the threshold, and the evidence falls again soon after.
const CLAMP: f64 = 1.25 * WIDTHS.len() as f64;
/// What a second leaves of the calls before it in the share of self-sourced ones.
const FADING: f32 = 0.9;
const LN_FADING: f64 = -0.105_360_515_657_826_3;

/// The state of the recursion channel of one function.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecursionChannel {
    widths: [Growth; WIDTHS.len()],
    /// Seconds since the widest bucket opened.
    age: u8,
    /// Calls of late, fading, and those of them that the function itself made.
    calls: f32,
    own: f32,
}

impl RecursionChannel {
    /// Takes in one closed second with `count` calls, of which `self_sourced` came from the
    /// function itself; 0 where callers cannot be seen.
    #[expect(clippy::cast_precision_loss, reason = "a share of counts needs no more")]
    pub fn second(&mut self, count: u64, self_sourced: u64, threshold: f64) {
        self.calls = self.calls * FADING + count as f32;
        self.own = self.own * FADING + self_sourced.min(count) as f32;
        let clip = if self.self_share() > 0.5 { CLIP_SELF } else { CLIP };
        self.age += 1;
        for (growth, width) in self.widths.iter_mut().zip(WIDTHS) {
            growth.calls += count as f32;
            if u32::from(self.age).is_multiple_of(width) {
                growth.close(clip, threshold);
            }
        }
        self.age %= WIDEST;
    }

    /// Takes in `seconds` seconds without a call, in closed form.
    #[expect(clippy::cast_possible_truncation, reason = "far below the range")]
    pub fn silence(&mut self, seconds: u64, threshold: f64) {
        let fading = libm::exp(LN_FADING * seconds as f64) as f32;
        self.calls *= fading;
        self.own *= fading;
        let widest = u64::from(WIDEST);
        for (growth, width) in self.widths.iter_mut().zip(WIDTHS.map(u64::from)) {
            let into = u64::from(self.age) % width;
            let closing = (into + seconds % width) / width + seconds / width;
            if closing > 0 {
                growth.close(CLIP, threshold);
                growth.close_empty(closing - 1);
            }
        }
        self.age = ((u64::from(self.age) + seconds % widest) % widest) as u8;
    }

    /// The evidence for a recursion.
    pub fn value(&self) -> f64 {
        let sum: f64 = self.widths.iter().map(|growth| f64::from(growth.evidence)).sum();
        sum / WIDTHS.len() as f64
    }

    /// The share of self-sourced calls in about the last ten seconds.
    pub fn self_share(&self) -> f64 {
        f64::from(self.own) / f64::from(self.calls).max(1e-9)
    }
}

/// One bucket width.
#[derive(Debug, Clone, Copy, Default)]
struct Growth {
    evidence: f32,
    /// Mean of the last few buckets, calls per bucket.
    level: f32,
    /// Calls in the open bucket.
    calls: f32,
}

impl Growth {
    #[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
    fn close(&mut self, clip: f64, threshold: f64) {
        let (calls, level) = (f64::from(self.calls), f64::from(self.level));
        let tolerated = (GROWTH * level).max(FLOOR);
        self.evidence = if calls > tolerated {
            let ratio = negative_binomial::evidence(calls, tolerated, PHI, &FACTORS).min(clip);
            let most = (CLAMP * threshold).min(f64::from(f32::MAX));
            ((f64::from(self.evidence) + 1.0) * ratio).min(most) as f32
        } else {
            0.0
        };
        self.level = (level + WEIGHT * (calls - level)) as f32;
        self.calls = 0.0;
    }

    /// So many buckets without a call.
    fn close_empty(&mut self, buckets: u64) {
        if buckets > 0 {
            self.evidence = 0.0;
            let buckets = i32::try_from(buckets).unwrap_or(i32::MAX);
            self.level = libm::ldexpf(self.level, -buckets);
        }
    }
}

kept!(RecursionChannel { widths, age, calls, own });
kept!(Growth { evidence, level, calls });

#[cfg(test)]
mod tests {
    use super::super::tests::{Draw, run_length};
    use super::*;
    use proptest::prelude::*;

    const A: f64 = 1e9;

    /// Seconds, and calls per second, at which an alarm comes; None within `seconds`.
    fn alarm(
        self_share: f64,
        seconds: u32,
        rate: impl Fn(f64) -> f64,
        draw: &mut Draw,
    ) -> Option<(u32, f64)> {
        let mut channel = RecursionChannel::default();
        (0..600).for_each(|_| channel.second(draw.count(1.0, 0.05), 0, A));
        for second in 0..seconds {
            let rate = rate(f64::from(second));
            let count = draw.count(rate, 0.01);
            channel.second(count, (count as f64 * self_share) as u64, A);
            if channel.value() >= A {
                return Some((second, rate));
            }
        }
        None
    }

    #[test]
    fn a_doubling_is_found_at_a_few_hundred_calls_a_second_however_long_it_takes() {
        for (doubling, seconds_max, rate_max) in
            [(3.0, 32, 700.0), (10.0, 90, 500.0), (30.0, 300, 1_000.0), (60.0, 430, 150.0)]
        {
            for seed in 0..20 {
                let mut draw = Draw::new(seed);
                let grows = |second: f64| (second / doubling).exp2();
                let (seconds, rate) = alarm(0.0, 600, grows, &mut draw).expect("no alarm");
                assert!(seconds <= seconds_max && rate <= rate_max, "{doubling}: {seconds} {rate}");
                let (own, _) = alarm(1.0, 600, grows, &mut draw).expect("no alarm");
                assert!(own <= seconds_max, "{doubling}: {own}");
            }
        }
    }

    #[test]
    fn steps_bursts_and_a_morning_are_no_recursion() {
        type Load = fn(f64) -> f64;
        let loads: [(&str, Load); 5] = [
            ("step", |second| if second < 103.0 { 1.0 } else { 5_000.0 }),
            ("step within a second", |second| if second < 111.0 { 1.0 } else { 100_000.0 }),
            ("cron", |second| if second % 60.0 < 2.0 { 500.0 } else { 1.0 }),
            ("hourly drain", |second| 1.0 + 2_000.0 * (-(second % 3_600.0) / 40.0).exp()),
            ("morning", |second| (second / 900.0).exp2()),
        ];
        for (name, load) in loads {
            for seed in 0..10 {
                let found = alarm(0.0, 7_200, load, &mut Draw::new(seed));
                assert!(found.is_none(), "{name}: {found:?}");
            }
        }
    }

    #[test]
    fn evidence_is_gone_a_quarter_of_an_hour_after_the_growth_has_stopped() {
        let mut channel = RecursionChannel::default();
        for second in 0..200_i32 {
            channel.second(f64::from(second / 10).exp2() as u64, 0, A);
        }
        assert!(channel.value() >= A);
        (0..900).for_each(|_| channel.second(1 << 20, 0, A));
        assert!(channel.value() < 100.0, "{}", channel.value());
    }

    #[test]
    fn the_run_length_keeps_the_promise_for_stationary_load() {
        for (threshold, rate) in [(100.0, 0.5), (100.0, 5.0), (100.0, 200.0), (1_000.0, 5.0)] {
            let length = run_length(threshold, 100, |seed| {
                let mut draw = Draw::new(seed);
                let mut channel = RecursionChannel::default();
                (0..300).for_each(|_| channel.second(draw.count(rate, PHI), 0, threshold));
                move || {
                    channel.second(draw.count(rate, PHI), 0, threshold);
                    channel.value()
                }
            });
            assert!(length >= threshold, "{rate}: {length} of {threshold}");
        }
    }

    #[test]
    fn its_state_is_small() {
        assert!(size_of::<RecursionChannel>() <= 48);
    }

    proptest! {
        #[test]
        fn silence_equals_seconds_without_calls(
            calls in proptest::collection::vec(0_u64..500, 0..200), gap in 0_u64..9_000
        ) {
            let mut stepped = RecursionChannel::default();
            calls.iter().for_each(|&count| stepped.second(count, count / 2, A));
            let mut jumped = stepped;
            (0..gap).for_each(|_| stepped.second(0, 0, A));
            jumped.silence(gap, A);
            prop_assert_eq!(stepped.age, jumped.age);
            let (a, b) = (stepped.value(), jumped.value());
            prop_assert!((a - b).abs() <= 1e-5 * a.max(1.0), "{} {}", a, b);
        }

        #[test]
        fn evidence_is_a_number_whatever_comes(
            steps in proptest::collection::vec(
                (0_u64..1 << 40, any::<u64>(), prop_oneof![0_u64..100, any::<u64>()]), 0..50)
        ) {
            let mut channel = RecursionChannel::default();
            for (count, own, gap) in steps {
                channel.second(count, own, 1e300);
                channel.silence(gap, A);
                prop_assert!(channel.value().is_finite() && channel.value() >= 0.0);
                prop_assert!((0.0..=1.0).contains(&channel.self_share()));
            }
        }
    }
}
