//! Likelihood ratios of counts whose law changes from look to look, so that nothing is worth
//! tabulating beforehand.
//!
//! The ratio of a negative-binomial count with mean r·L against one with mean L is c·q^x with
//! q > 1, and the probability generating function rises in the mean and in the dispersion. So its
//! mean is at most one for every mean up to L and every dispersion up to the assumed one; the mean
//! over several r keeps that.

/// The largest ratio that is handed out; sums and products of a few stay finite.
pub const RATIO_MAX: f64 = 1e60;

/// The e-value of `count` against a tolerated mean of `tolerated` and dispersion `phi` (variance =
/// mean + phi·mean²), averaged over growth factors. Never above [`RATIO_MAX`].
pub fn evidence<const N: usize>(count: f64, tolerated: f64, phi: f64, factors: &[f64; N]) -> f64 {
    let tolerated = tolerated.clamp(1e-9, 1e15);
    let phi = phi.clamp(1e-6, 1e6);
    let ratio = |&factor: &f64| {
        // 1 + phi·L against 1 + phi·r·L, as one number near zero so that small ones stay exact.
        let a = -libm::log1p(phi * (factor - 1.0) * tolerated / (1.0 + phi * tolerated));
        libm::exp(count * (libm::log(factor) + a) + a / phi).min(RATIO_MAX)
    };
    factors.iter().map(ratio).sum::<f64>() / N as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::negative_binomial;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_mean_is_at_most_one_for_every_smaller_mean_and_dispersion(
            tolerated in 0.01_f64..30.0, phi in 0.01_f64..1.0,
            share in 0.01_f64..1.0, calm in 0.05_f64..1.0
        ) {
            let factors = [1.2, 2.0, 8.0];
            let law = negative_binomial(tolerated * share, phi * calm, 20_000);
            let mean: f64 = (0_u32..)
                .zip(&law)
                .map(|(x, ln)| ln.exp() * evidence(f64::from(x), tolerated, phi, &factors))
                .sum();
            prop_assert!(mean <= 1.0 + 1e-9, "{}", mean);
        }

        #[test]
        fn evidence_is_a_number_whatever_comes(
            count in 0_u64..1 << 50, tolerated in proptest::num::f64::ANY,
            phi in proptest::num::f64::ANY
        ) {
            prop_assume!(!tolerated.is_nan() && !phi.is_nan());
            let value = evidence(count as f64, tolerated, phi, &[1.5, 50.0]);
            prop_assert!((0.0..=RATIO_MAX).contains(&value));
        }
    }
}
