//! Is the function called more often than its baseline allows?
//!
//! A Shiryaev-Roberts e-detector (Shin, Ramdas, Rinaldo, arXiv 2203.03532) over one-second counts:
//! the likelihood ratio of a negative-binomial count with mean r·L against one with mean L, for
//! several growth factors r, each with the recursion M ← e·(M + 1), averaged. L is the tolerance:
//! the baseline already inflated by the envelope. The ratio is c·q^x with q > 1, and the
//! probability generating function of the negative binomial rises in its mean and in its
//! dispersion; so E\[e\] ≤ 1 for every mean up to L and every dispersion up to the assumed one, and
//! the mean time to a false alarm at threshold A is at least A seconds.
//!
//! A Poisson model would be cheaper and wrong: real traffic is overdispersed, and with a dispersion
//! of only 0.2 a nominal run length of 1,000 buckets collapses to 47.
//!
//! Late records only add to counts, and the ratio rises in the count; so the open buckets may be
//! tested before they close. Such an alarm can come before the closed bucket's, never wrongly.

use serde::Serialize;

use super::rounded_down;

/// Growth factors of the mixture: from a slow rise to a flood.
pub const FACTORS: [f64; 5] = [1.5, 2.0, 4.0, 10.0, 50.0];

/// Each component is clamped at this multiple of the threshold: enough, and a little more for
/// rounding, for one component alone to lift the mean to the threshold. Clamping down keeps the
/// guarantee and lets the evidence fall again soon after the attack.
const CLAMP: f64 = 1.25 * FACTORS.len() as f64;

/// The per-second likelihood ratio for one tolerance and dispersion: e = c·q^x per factor.
///
/// In single precision, for there are many; rounded down, so that the mean stays at most one.
#[derive(Debug, Clone, Copy)]
pub struct RateModel {
    c: [f32; FACTORS.len()],
    q: [f32; FACTORS.len()],
    ln_q_max: f32,
}

impl RateModel {
    /// For a tolerated mean of `tolerance` per second and dispersion `phi` (variance = mean +
    /// phi·mean²); both above zero.
    pub fn new(tolerance: f64, phi: f64) -> Self {
        let tolerance = tolerance.clamp(1e-9, 1e12);
        let phi = phi.clamp(1e-6, 1e6);
        let mut model = Self { c: [0.0; 5], q: [0.0; 5], ln_q_max: 0.0 };
        let mut ln_q_max = 0.0_f64;
        for (index, factor) in FACTORS.into_iter().enumerate() {
            let a = libm::log((1.0 + phi * tolerance) / (1.0 + phi * factor * tolerance));
            let ln_q = libm::log(factor) + a;
            model.c[index] = rounded_down(libm::exp(a / phi));
            model.q[index] = rounded_down(libm::exp(ln_q));
            ln_q_max = ln_q_max.max(ln_q);
        }
        model.ln_q_max = rounded_down(ln_q_max).next_up();
        model
    }

    /// Reads from all of its cache lines.
    pub fn touch(&self) -> f64 {
        f64::from(self.c[0] + self.ln_q_max)
    }

    /// The evidence that lasting silence leads to.
    pub fn rest(&self) -> f64 {
        let ratios = self.c.map(f64::from);
        ratios.iter().map(|c| c / (1.0 - c)).sum::<f64>() / FACTORS.len() as f64
    }

    /// Whether [`RateEvidence::calls_to`] is 1 for this threshold, whatever the evidence.
    pub fn is_steep(&self, threshold: f64, open_seconds: u32) -> bool {
        let calls = libm::log(threshold / f64::from(open_seconds)) / f64::from(self.ln_q_max);
        calls < 1.0 - 1e-9
    }

    /// The likelihood ratios of a second with `count` calls.
    fn ratios(&self, count: u64) -> [f64; FACTORS.len()] {
        let (c, q) = (self.c.map(f64::from), self.q.map(f64::from));
        match count {
            0 => c,
            1 => std::array::from_fn(|index| c[index] * q[index]),
            _ => {
                let powers = powers(&q, count);
                std::array::from_fn(|index| c[index] * powers[index])
            }
        }
    }
}

/// What is kept of a component: not too much, and never more than it is.
fn kept(value: f64, threshold: f64) -> f32 {
    rounded_down(value.min(CLAMP * threshold))
}

/// [`power`] of each base; side by side, so that the processor can multiply several at once.
fn powers<const N: usize>(bases: &[f64; N], exponent: u64) -> [f64; N] {
    if exponent > MULTIPLIED_MAX {
        return bases.map(|base| power(base, exponent));
    }
    let mut results = [1.0; N];
    let (mut squares, mut rest) = (*bases, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            results.iter_mut().zip(&squares).for_each(|(result, square)| *result *= square);
        }
        squares.iter_mut().for_each(|square| *square *= *square);
        rest >>= 1;
    }
    results
}

/// Up to this exponent, multiplying is cheaper than a logarithm and an exponential.
const MULTIPLIED_MAX: u64 = 64;

/// `base` to an integer power.
fn power(base: f64, exponent: u64) -> f64 {
    if exponent > MULTIPLIED_MAX {
        return libm::exp(libm::log(base) * exponent as f64);
    }
    let [result] = powers(&[base], exponent);
    result
}

/// What has been gathered against the baseline so far.
#[derive(Debug, Clone, Copy)]
pub struct RateEvidence {
    m: [f32; FACTORS.len()],
    /// CUSUM (as a ratio, not its logarithm) of one factor of the mixture. Its last 1 is the
    /// maximum-likelihood estimate of when the excess began.
    since: f32,
}

impl Default for RateEvidence {
    fn default() -> Self {
        Self { m: [0.0; FACTORS.len()], since: 1.0 }
    }
}

/// The factor that dates the onset. A smaller one would take the noise before it for its start.
const ONSET_FACTOR: usize = 2;

impl RateEvidence {
    /// Takes in one second in which the function was called `count` times.
    pub fn second(&mut self, model: &RateModel, count: u64, threshold: f64) {
        let ratios = model.ratios(count);
        for (m, ratio) in self.m.iter_mut().zip(ratios) {
            *m = kept((f64::from(*m) + 1.0) * ratio, threshold);
        }
        self.since = kept(f64::from(self.since) * ratios[ONSET_FACTOR], threshold).max(1.0);
    }

    /// Takes in `seconds` seconds without a call, in closed form.
    pub fn silence(&mut self, model: &RateModel, seconds: u64) {
        if seconds == 0 {
            return;
        }
        for (m, c) in self.m.iter_mut().zip(model.c.map(f64::from)) {
            let decay = power(c, seconds);
            // Sum of the geometric series c + c² + … + c^k.
            let restarts = if c < 1.0 { c * (1.0 - decay) / (1.0 - c) } else { seconds as f64 };
            *m = rounded_down(f64::from(*m) * decay + restarts);
        }
        let decay = power(model.c[ONSET_FACTOR].into(), seconds);
        self.since = rounded_down(f64::from(self.since) * decay).max(1.0);
    }

    /// The evidence: the mean over the mixture.
    pub fn value(&self) -> f64 {
        self.m.iter().map(|&m| f64::from(m)).sum::<f64>() / FACTORS.len() as f64
    }

    /// Whether nothing speaks for an excess that has already begun.
    pub fn is_at_rest(&self) -> bool {
        self.since <= 1.0
    }

    /// The least number of further calls that could lift the evidence to `threshold`, wherever in
    /// the open seconds they fall. One call multiplies a component by at most q; a second that
    /// opens adds at most one to it, for which `open_seconds` is set aside.
    pub fn calls_to(&self, model: &RateModel, threshold: f64, open_seconds: u32) -> u64 {
        let most = self.m.iter().fold(0.0_f32, |most, &m| most.max(m));
        let most = f64::from(most) + f64::from(open_seconds);
        if most >= threshold {
            return 1;
        }
        let calls = libm::log(threshold / most) / f64::from(model.ln_q_max);
        // At least one; a float too large for the integer saturates, and that many never come.
        crate::units::whole(calls).max(1)
    }

    /// So many further calls cannot lift the evidence to `threshold`, however many seconds they
    /// take. Closer than [`RateEvidence::calls_to`] where q is large, and dearer.
    ///
    /// A call multiplies a component by at most q. The seconds that open add to it no more than the
    /// geometric series c + c² + …, and their calls multiply that as well.
    pub fn calls_below(&self, model: &RateModel, threshold: f64) -> u64 {
        // Rounding is a few parts in 10^15 per step.
        let below = threshold * (1.0 - 1e-9);
        let mut reached: [f64; FACTORS.len()] = std::array::from_fn(|index| {
            let c = f64::from(model.c[index]);
            f64::from(self.m[index]) + c / (1.0 - c)
        });
        let (mut growth, mut calls, mut step) = (model.q.map(f64::from), 0, 1);
        loop {
            reached.iter_mut().zip(&growth).for_each(|(reached, growth)| *reached *= growth);
            // Positive form, so that infinity and NaN end the search as well.
            if !reached.iter().all(|&reached| reached < below) || step > MULTIPLIED_MAX {
                return calls;
            }
            growth.iter_mut().for_each(|growth| *growth *= *growth);
            calls += step;
            step *= 2;
        }
    }
}

/// Evidence beside its threshold, as it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ChannelReading {
    /// log10 of the e-value.
    pub evidence_log10: f64,
    /// log10 of the value at which it is an alarm.
    pub threshold_log10: f64,
    /// What the baseline allows, in the channel's unit.
    pub expected: f64,
    /// What was seen, in the channel's unit.
    pub observed: f64,
}

crate::keep::kept!(RateModel { c, q, ln_q_max });
crate::keep::kept!(ChannelReading { evidence_log10, threshold_log10, expected, observed });
crate::keep::kept!(RateEvidence { m, since });

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Logarithms of negative-binomial probabilities, by recurrence from that of zero.
    fn negative_binomial(mean: f64, phi: f64, counts: u64) -> Vec<f64> {
        let size = 1.0 / phi;
        let p = phi * mean / (1.0 + phi * mean);
        let mut ln = vec![size * (-p).ln_1p()];
        for x in 0..counts {
            let last = ln[x as usize];
            ln.push(last + (p * (size + x as f64) / (x as f64 + 1.0)).ln());
        }
        ln
    }

    #[test]
    fn the_mean_of_the_ratio_is_at_most_one_for_every_smaller_mean_and_dispersion() {
        for (tolerance, phi) in [(0.1, 0.3), (1.0, 0.1), (10.0, 0.1), (10.0, 1.0), (50.0, 0.02)] {
            let model = RateModel::new(tolerance, phi);
            for (share, calm) in [(1.0, 1.0), (1.0, 0.5), (0.7, 1.0), (0.3, 0.2), (0.01, 1.0)] {
                let law = negative_binomial(tolerance * share, phi * calm, 20_000);
                for index in 0..FACTORS.len() {
                    let (c, q) = (f64::from(model.c[index]), f64::from(model.q[index]));
                    let (ln_c, ln_q) = (c.ln(), q.ln());
                    let ratios = (0_u64..).map(|x| ln_c + ln_q * x as f64);
                    let mean: f64 = law.iter().zip(ratios).map(|(p, e)| (p + e).exp()).sum();
                    assert!(mean <= 1.0 + 1e-9, "{tolerance} {phi} {share} {calm}: {mean}");
                }
            }
        }
    }

    #[test]
    fn a_flood_is_evident_within_a_second_and_normal_traffic_never() {
        let model = RateModel::new(16.0, 0.1);
        let threshold = 1e10;
        let mut evidence = RateEvidence::default();
        for second in 0..10_000_u64 {
            evidence.second(&model, 5 + second % 11, threshold);
            assert!(evidence.value() < 1e3);
        }
        evidence.second(&model, 200, threshold);
        assert!(evidence.value() >= threshold);
    }

    /// The most evidence while `calls` calls come, spread over `spread` seconds.
    fn highest(mut evidence: RateEvidence, model: &RateModel, calls: u64, spread: usize) -> f64 {
        let mut seconds = vec![0_u64; spread];
        for call in 0..calls {
            seconds[call as usize % spread] += 1;
        }
        let after = seconds.into_iter().map(|count| {
            evidence.second(model, count, f64::MAX / 1e6);
            evidence.value()
        });
        after.fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn silence_in_closed_form_equals_seconds_without_calls(
            tolerance in 0.01_f64..100.0, phi in 0.01_f64..5.0,
            calls in 0_u64..50, gap in 0_u64..200
        ) {
            let model = RateModel::new(tolerance, phi);
            let mut stepped = RateEvidence::default();
            stepped.second(&model, calls, 1e10);
            let mut jumped = stepped;
            for _ in 0..gap {
                stepped.second(&model, 0, f64::MAX);
            }
            jumped.silence(&model, gap);
            let (a, b) = (stepped.value(), jumped.value());
            prop_assert!((a - b).abs() <= 1e-4 * a.max(b).max(1e-30));
        }

        #[test]
        fn no_alarm_comes_before_the_promised_number_of_calls(
            tolerance in 0.01_f64..100.0, phi in 0.01_f64..2.0,
            past in proptest::collection::vec(0_u64..40, 0..20), spread in 1_usize..8
        ) {
            let threshold = 1e8;
            let model = RateModel::new(tolerance, phi);
            let mut evidence = RateEvidence::default();
            for count in past {
                evidence.second(&model, count, threshold);
            }
            prop_assume!(evidence.value() < threshold);
            // One call fewer, over any number of seconds up to the allowance, is no alarm.
            let calls = evidence.calls_to(&model, threshold, 32).min(1_000_000) - 1;
            let most = highest(evidence, &model, calls, spread);
            prop_assert!(most < threshold, "{} of {}", most, threshold);
        }

        #[test]
        fn no_alarm_comes_with_as_many_calls_as_the_closer_bound_allows_however_long_they_take(
            tolerance in 0.001_f64..100.0, phi in 0.01_f64..2.0, threshold in 10.0_f64..1e6,
            past in proptest::collection::vec(0_u64..40, 0..20), spread in 1_usize..400
        ) {
            let model = RateModel::new(tolerance, phi);
            let mut evidence = RateEvidence::default();
            for count in past {
                evidence.second(&model, count, 1e8);
            }
            prop_assume!(evidence.value() < threshold);
            let calls = evidence.calls_below(&model, threshold);
            // Where there is no bound there is nothing to show.
            if calls > 0 {
                let most = highest(evidence, &model, calls, spread);
                prop_assert!(most < threshold, "{} of {}", most, threshold);
            }
        }

        #[test]
        fn where_the_model_is_steep_the_first_bound_is_one_call_whatever_came_before(
            tolerance in 0.01_f64..5.0, phi in 0.01_f64..0.2,
            past in proptest::collection::vec(0_u64..20, 0..20)
        ) {
            let model = RateModel::new(tolerance, phi);
            prop_assert!(model.is_steep(100.0, 64));
            let mut evidence = RateEvidence::default();
            for count in past {
                evidence.second(&model, count, 1e8);
                prop_assert_eq!(evidence.calls_to(&model, 100.0, 64), 1);
            }
        }

        #[test]
        fn evidence_is_a_number_whatever_comes(
            tolerance in proptest::num::f64::ANY, phi in proptest::num::f64::ANY,
            counts in proptest::collection::vec(0_u64..1 << 40, 0..20)
        ) {
            prop_assume!(!tolerance.is_nan() && !phi.is_nan());
            let model = RateModel::new(tolerance, phi);
            let mut evidence = RateEvidence::default();
            for count in counts {
                evidence.second(&model, count, 1e10);
                prop_assert!(evidence.value().is_finite() && evidence.value() >= 0.0);
            }
        }
    }
}
