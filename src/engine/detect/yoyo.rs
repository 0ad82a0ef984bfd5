//! Does somebody spend in bursts that are always over before anything lasts?
//!
//! A yo-yo attack (Bremler-Barr, Brosh, Sides, INFOCOM 2017, doi 10.1109/INFOCOM.2017.8057010)
//! floods for half a minute and waits until the restrictions are lifted again. Evidence that a
//! recovery clears never sees more than one burst; so this channel adds up *dollars*: whatever was
//! spent above the allowed runs into a bucket, and only a constant leak empties it. A quiet minute
//! is no credit against a dear one.
//!
//! This is money and no e-value: it promises dollars, not a run length. With leak ℓ and capacity C
//! - excess that stays below ℓ on average never fills it, whatever its shape;
//! - a single burst of less than C of excess never does, so the capacity must be more than any
//!   honest burst costs above the allowed: the dearest cron job, a crowd, one backfill;
//! - excess of mean e > ℓ fills it after C / (e − ℓ): what is lost by then is at most C plus what
//!   has leaked. Bursts of 30 s every two minutes at five times the leak have a mean of 1.25 ℓ.
//!
//! With a part of the page floor as leak, a capacity of so many hours of the leak is emptied in
//! as many.
//! The level is held at twice the capacity, so that it is below it again within that time however
//! large the flood was.

use super::rounded_down;
use crate::keep::kept;

/// The level never exceeds this many capacities.
const CLAMP: f64 = 2.0;

/// The two constants of the bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct YoyoSettings {
    /// Dollars an hour of excess that are not worth an alarm.
    pub leak_usd_per_hour: f64,
    /// Dollars of gathered excess that are: more than any honest burst.
    pub capacity_usd: f64,
}

/// Dollars above the allowed that have not leaked away, for one function.
#[derive(Debug, Clone, Copy, Default)]
pub struct YoyoChannel {
    level_usd: f32,
    /// Minutes since the bucket was last empty; 0 while it is.
    minutes: u32,
}

impl YoyoChannel {
    /// Takes in one closed minute in which so many dollars were spent of so many allowed.
    pub fn minute(&mut self, spent_usd: f64, allowed_usd: f64, settings: YoyoSettings) {
        let excess = spent_usd - allowed_usd;
        // Positive form: what is not a number is no excess.
        let excess = if excess > 0.0 { excess } else { 0.0 };
        let most = CLAMP * settings.capacity_usd;
        self.drain(excess, 1, settings);
        self.level_usd = self.level_usd.min(rounded_down(most));
    }

    /// Takes in `minutes` minutes in which no more was spent than allowed, in closed form.
    pub fn silence(&mut self, minutes: u64, settings: YoyoSettings) {
        self.drain(0.0, minutes, settings);
    }

    /// Gathered excess, dollars.
    pub fn value_usd(&self) -> f64 {
        self.level_usd.into()
    }

    /// How long ago it began to gather, minutes; 0 where nothing has.
    pub fn minutes(&self) -> u32 {
        self.minutes
    }

    fn drain(&mut self, excess_usd: f64, minutes: u64, settings: YoyoSettings) {
        let leak = settings.leak_usd_per_hour / 60.0 * minutes as f64;
        self.level_usd = rounded_down((self.value_usd() + excess_usd - leak).max(0.0));
        self.minutes = if self.level_usd > 0.0 {
            self.minutes.saturating_add(u32::try_from(minutes).unwrap_or(u32::MAX))
        } else {
            0
        };
    }
}

kept!(YoyoChannel { level_usd, minutes });

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: YoyoSettings = YoyoSettings { leak_usd_per_hour: 0.6, capacity_usd: 1.2 };

    #[test]
    fn bursts_that_never_last_are_found_by_what_they_cost_together() {
        // 30 s on and 90 s off: every second minute holds one burst of 0.10 $.
        let mut channel = YoyoChannel::default();
        let found = (1..=120).find(|minute| {
            channel.minute(if minute % 2 == 0 { 0.11 } else { 0.01 }, 0.01, SETTINGS);
            channel.value_usd() >= SETTINGS.capacity_usd
        });
        // A mean of 0.05 $ a minute against a leak of 0.01: 1.2 / 0.04 minutes.
        assert_eq!(found, Some(30));
        assert!((28..=30).contains(&channel.minutes()));
    }

    #[test]
    fn one_burst_below_the_capacity_is_ignored_and_so_are_many_below_the_leak() {
        let mut channel = YoyoChannel::default();
        channel.minute(1.2, 0.0, SETTINGS);
        assert!(channel.value_usd() < SETTINGS.capacity_usd);
        let mut channel = YoyoChannel::default();
        for minute in 0..100_000 {
            channel.minute(if minute % 60 == 0 { 0.5 } else { 0.0 }, 0.0, SETTINGS);
            assert!(channel.value_usd() < SETTINGS.capacity_usd);
        }
    }

    #[test]
    fn it_is_below_the_capacity_within_hours_of_any_flood() {
        let mut channel = YoyoChannel::default();
        (0..60).for_each(|_| channel.minute(1_000.0, 0.0, SETTINGS));
        assert!(channel.value_usd() >= SETTINGS.capacity_usd);
        channel.silence(121, SETTINGS);
        assert!(channel.value_usd() < SETTINGS.capacity_usd);
        channel.silence(u64::MAX, SETTINGS);
        assert!(channel.value_usd() <= 0.0);
        assert_eq!(channel.minutes(), 0);
    }

    proptest! {
        #[test]
        fn silence_in_closed_form_equals_minutes_without_excess(
            spent in 0.0_f64..2.0, gap in 0_u16..300
        ) {
            let mut stepped = YoyoChannel::default();
            stepped.minute(spent, 0.1, SETTINGS);
            let mut jumped = stepped;
            (0..gap).for_each(|_| stepped.minute(0.0, 0.1, SETTINGS));
            jumped.silence(u64::from(gap), SETTINGS);
            prop_assert!((stepped.value_usd() - jumped.value_usd()).abs() < 1e-4);
        }

        #[test]
        fn the_loss_before_an_alarm_is_at_most_the_capacity_and_what_has_leaked(
            excess in proptest::collection::vec(0.0_f64..0.3, 1..500)
        ) {
            let mut channel = YoyoChannel::default();
            let (mut lost, mut leaked) = (0.0, 0.0);
            for spent in excess {
                channel.minute(spent, 0.0, SETTINGS);
                if channel.value_usd() >= SETTINGS.capacity_usd {
                    break;
                }
                lost += spent;
                leaked += SETTINGS.leak_usd_per_hour / 60.0;
                prop_assert!(lost <= SETTINGS.capacity_usd + leaked + 1e-9);
            }
        }

        #[test]
        fn the_level_is_a_number_whatever_comes(
            minutes in proptest::collection::vec(
                (proptest::num::f64::ANY, proptest::num::f64::ANY, any::<u64>()), 0..50)
        ) {
            let mut channel = YoyoChannel::default();
            for (spent, allowed, gap) in minutes {
                channel.minute(spent, allowed, SETTINGS);
                prop_assert!((0.0..=2.4).contains(&channel.value_usd()));
                channel.silence(gap, SETTINGS);
                prop_assert!((0.0..=2.4).contains(&channel.value_usd()));
            }
        }
    }
}
