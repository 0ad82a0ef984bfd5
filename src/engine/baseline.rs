//! What is normal for one function: how often it is called, and how unevenly.
//!
//! Learned from closed minutes. The level is an exponentially weighted mean at two speeds (ten
//! minutes, six hours); the [peaks](super::peaks) are the busiest minutes by the calendar. What is
//! allowed is the larger of the two, and a single minute can raise it only so far (see
//! [`Baseline::minute`]).
//!
//! The highest of a thousand minutes is high by chance, too: allowed as it is, it would hide a
//! threefold flood of a steady function for seconds. So a minute counts as busy only as far as its
//! count surely exceeds what chance adds (its lower confidence bound).
//!
//! What an attack does must not become normal before it is found. So minutes are learned in blocks
//! of `BLOCK_CALLS` calls, about as many as a fivefold excess takes to find, and while the
//! evidence speaks against the function the block is held back for a while: if an alarm comes of
//! it, nothing was learned, and else it is learned a little later.
//!
//! The dispersion is estimated by the method of moments from the squares of the one-second counts
//! within their minute and then moved up to about the 90 % confidence bound: overstating it costs
//! delay, understating it would break the promise. A job that starts all its work within seconds is
//! far more uneven in its minute than the function is on the whole; so the most uneven minute of
//! late counts, too, as far as it surely was.

use serde::{Deserialize, Serialize};

use super::learned::MINUTES_MAX;
use super::peaks::Peaks;
use crate::keep::kept;
use crate::units::bounds::{up_to, within};

/// Time constants of the level, in minutes.
const TAU_FAST: f64 = 10.0;
const TAU_SLOW: f64 = 360.0;
/// Standard normal quantile that chance adds to the highest of a day's minutes, or a little less.
const Z_BUSY: f64 = 2.5;
/// Dispersion beyond this is no chance but a burst, and bursts are what peaks are for.
const PHI_CHANCE: f64 = 1.0;
/// Calls that make a block of minutes.
const BLOCK_CALLS: f32 = 64.0;
/// The longest block, in minutes. The first blocks are shorter: a quarter of what is known already.
const BLOCK_MINUTES: u32 = 60;
/// A block is held back for so many minutes and so many times [`BLOCK_CALLS`], or for the longest
/// block's time.
const HELD_MINUTES: u32 = 5;
const HELD_BLOCKS: f32 = 10.0;
/// Time constant of the dispersion, in minutes.
const TAU_DISPERSION: f64 = 60.0;
/// Dispersion is never taken to be less: no real traffic is Poisson at every scale.
const PHI_MIN: f64 = 0.05;
/// And never more: at this value single seconds carry no information.
const PHI_MAX: f64 = 1_000.0;
/// Dispersion of load that is tolerated without having been seen.
const PHI_UNSEEN: f64 = 0.1;
/// And calls that such load may bring at once: queues and fan-outs come in clumps, so a few dozen
/// calls of a quiet function say little, however dear they are.
const CLUMP_UNSEEN: f64 = 0.5;
/// A minute is surely uneven beyond so many standard errors: the most that chance does in days.
const Z_BURST: f64 = 3.5;
/// Calls that a minute needs for that.
const BURST_CALLS: f64 = 30.0;
/// The most by which a day may raise what is allowed: whoever raises a rate little by little gets
/// no further than that before it is told.
const GROWTH_A_DAY: f64 = 3.0;
const DAY_MINUTES: u32 = 1_440;
/// Half-life of the most uneven minute: two days, in minutes.
const HALF_LIFE: f64 = 2_880.0;
/// Dispersion of whole minutes that is never ruled out: load drifts within what is tolerated.
const PHI_MINUTE: f64 = 0.1;
/// Standard normal quantile of the upper confidence bound.
const Z_90: f64 = 1.28;

/// The learned state; rates are calls per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000>")]
    fast: f32,
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000>")]
    slow: f32,
    peaks: Peaks,
    /// Running means of (Σx² − Σx)/60 − mean² and of mean²; their ratio is the dispersion.
    #[serde(deserialize_with = "within::<_, _, 1_000_000_000_000_000_000>")]
    clumping: f32,
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000_000_000_000>")]
    square: f32,
    /// Dispersion of the most uneven minute, as far as it surely was, fading like the peaks.
    #[serde(deserialize_with = "up_to::<_, _, 1_000_000_000>")]
    bursts: f32,
    /// Running mean of (x − m)² − x/60, x being a minute's rate and m the rate that was expected.
    #[serde(deserialize_with = "within::<_, _, 1_000_000_000_000_000_000>")]
    wobble: f32,
    #[serde(deserialize_with = "up_to::<_, _, MINUTES_MAX>")]
    minutes: u32,
    #[serde(skip)]
    block: Block,
}

/// Minutes that are not yet learned.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Block {
    calls: f32,
    minutes: u16,
    /// The lower half of the number of the surely busiest of them, and its calls per second.
    busiest_at: u16,
    busiest: f32,
}

#[expect(clippy::cast_possible_truncation, reason = "statistics kept in single precision")]
impl Baseline {
    /// Takes in the closed minute `number` since the epoch: `calls` in it, and the sum of the
    /// squares of its one-second counts. `limit` is the most, in calls per second, that is learned
    /// at once; `suspicious` says that there is evidence against it.
    pub fn minute(&mut self, number: u32, calls: u32, squares: f64, limit: f64, suspicious: bool) {
        let calls = f64::from(calls);
        let seen = calls / 60.0;
        if calls > 0.0 && !suspicious {
            let w = weight(TAU_DISPERSION, self.minutes, 1.0);
            let clumping = (squares - calls) / 60.0 - seen * seen;
            let sure = clumping / (seen * seen) - Z_BURST * self.dispersion_error(seen, 60.0);
            if calls >= BURST_CALLS {
                self.bursts = self.bursts.max(sure as f32);
            }
            self.clumping += (w * (clumping - f64::from(self.clumping))) as f32;
            self.square += (w * (seen * seen - f64::from(self.square))) as f32;
            let expected = f64::from(self.fast);
            let wobble = (seen - expected) * (seen - expected) - seen / 60.0;
            self.wobble += (w * (wobble - f64::from(self.wobble))) as f32;
        }
        self.note_busy(number, calls);
        let block = &mut self.block;
        block.calls += calls as f32;
        block.minutes = block.minutes.saturating_add(1);
        let minutes = u32::from(block.minutes);
        let known = self.minutes.saturating_add(minutes);
        let is_long = minutes >= (known / 4).clamp(1, BLOCK_MINUTES);
        let held = minutes < HELD_MINUTES || block.calls < HELD_BLOCKS * BLOCK_CALLS;
        let is_whole = block.calls >= BLOCK_CALLS && !(suspicious && held);
        if is_whole || is_long && !(suspicious && minutes < BLOCK_MINUTES) {
            self.learn(number, 0, limit);
        }
    }

    /// Takes in `minutes` minutes without a call, the last of them `number`, in closed form.
    pub fn silence(&mut self, number: u32, minutes: u64) {
        if minutes > 0 {
            self.learn(number, minutes, f64::INFINITY);
        }
    }

    /// Notes how busy a minute of a notice was. If the notice ends as one, that was no attack: a
    /// job that comes every hour must not be told every hour.
    pub fn note_busy(&mut self, number: u32, calls: f64) {
        let seen = calls / 60.0;
        let phi = self.learned_dispersion().min(PHI_CHANCE);
        let chance = libm::sqrt(calls * (1.0 + phi * seen)) / 60.0;
        let sure = (seen - Z_BUSY * chance) as f32;
        if sure > self.block.busiest {
            (self.block.busiest, self.block.busiest_at) = (sure, number as u16);
        }
    }

    /// Forgets what is not yet learned: it was an attack.
    pub fn discard(&mut self) {
        self.block = Block::default();
    }

    /// Goes on in minute `number` after `silent` minutes without a call and, before these, `unseen`
    /// ones of which nothing is known, which change nothing.
    pub fn go_on(&mut self, number: u32, unseen: u32, silent: u32) {
        self.peaks.skip(number.saturating_sub(silent), unseen);
        self.silence(number.saturating_sub(1), silent.into());
    }

    /// Learns the block and so many silent minutes after it.
    fn learn(&mut self, number: u32, silent: u64, limit: f64) {
        let block = std::mem::take(&mut self.block);
        let minutes = u64::from(block.minutes) + silent;
        let span = minutes as f64;
        let rate = (f64::from(block.calls) / (60.0 * span)).min(limit);
        let fast = weight(TAU_FAST, self.minutes, span);
        let slow = weight(TAU_SLOW, self.minutes, span);
        self.fast += (fast * (rate - f64::from(self.fast))) as f32;
        self.slow += (slow * (rate - f64::from(self.slow))) as f32;
        self.peaks.pass(number, minutes);
        self.bursts *= libm::exp2(-span / HALF_LIFE) as f32;
        // Of a block before a longer silence the minute is not known any more.
        if block.busiest > 0.0 && silent < u64::from(u16::MAX) {
            let ago = (number as u16).wrapping_sub(block.busiest_at);
            let busiest_at = number.saturating_sub(ago.into());
            self.peaks.minute(busiest_at, f64::from(block.busiest).min(limit));
        }
        let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
        self.minutes = self.minutes.saturating_add(minutes);
    }

    /// A baseline of a function that was silent for `minutes` minutes, the last of them `number`.
    pub fn after_silence(number: u32, minutes: u64) -> Self {
        let mut baseline = Self::default();
        baseline.silence(number, minutes);
        baseline
    }

    /// How many minutes it has been learning, silent ones included.
    pub fn minutes(&self) -> u32 {
        self.minutes
    }

    /// The rate to expect now.
    pub fn expected(&self) -> f64 {
        f64::from(self.fast).min(self.allowed_today())
    }

    /// The highest rate that is known to be normal in minute `number`.
    pub fn allowed(&self, number: u32) -> f64 {
        self.peaks.allowed(number).max(self.slow.into())
    }

    /// The most that may be allowed today, however it came about; none in the first day, which has
    /// no other to be compared with.
    pub fn allowed_today(&self) -> f64 {
        if self.minutes >= DAY_MINUTES && self.peaks.before_today() > 0.0 {
            GROWTH_A_DAY * self.peaks.before_today()
        } else {
            f64::INFINITY
        }
    }

    /// The highest rate that is known to be normal in any minute.
    pub fn highest(&self) -> f64 {
        self.peaks.highest().max(self.fast.max(self.slow).into())
    }

    /// Upper bound of the dispersion (variance = mean + phi·mean²) of traffic with mean
    /// `tolerance`, of which `allowed` is of the learned kind and the rest only tolerated.
    pub fn dispersion(&self, allowed: f64, tolerance: f64) -> f64 {
        let learned = self.learned_dispersion().max(self.bursts.into());
        let tolerated = (tolerance - allowed).max(0.0);
        let known = (tolerance - tolerated).max(0.0);
        let unseen = PHI_UNSEEN * tolerated * tolerated + CLUMP_UNSEEN * tolerated;
        let mixed = learned * known * known + unseen;
        (mixed / (tolerance * tolerance).max(f64::MIN_POSITIVE)).clamp(PHI_MIN, PHI_MAX)
    }

    /// The same for the count of a whole minute. The clumps of single seconds count for a sixtieth,
    /// and what minutes do beyond that comes on top, as far as the load is of the learned kind.
    pub fn minute_dispersion(&self, allowed: f64, tolerance: f64) -> f64 {
        let known = (allowed / tolerance.max(f64::MIN_POSITIVE)).min(1.0);
        let wobble = self.learned_wobble() * known * known;
        self.dispersion(allowed, tolerance) / 60.0 + PHI_MINUTE + wobble
    }

    /// Upper bound of the dispersion of minutes around what was expected of them. It is relative to
    /// the minutes with calls, so that of a function that is seldom called it is about one at most.
    fn learned_wobble(&self) -> f64 {
        if self.square <= 0.0 {
            return 0.0;
        }
        let mean = 60.0 * libm::sqrt(f64::from(self.square));
        let phi = (f64::from(self.wobble) / f64::from(self.square)).max(0.0);
        // As in `learned_dispersion`, with one count a minute.
        let error = libm::sqrt(2.0 / f64::from(self.minutes.clamp(1, 60))) * (1.0 / mean + phi);
        (phi + Z_90 * error).min(PHI_MAX)
    }

    /// Upper bound of the dispersion on the whole, single bursts left aside.
    pub fn learned_dispersion(&self) -> f64 {
        if self.square <= 0.0 {
            return PHI_UNSEEN;
        }
        let mean = libm::sqrt(f64::from(self.square));
        let phi = (f64::from(self.clumping) / f64::from(self.square)).max(0.0);
        let seconds = 60.0 * f64::from(self.minutes.clamp(1, 60));
        (phi + Z_90 * error_of(phi, mean, seconds)).clamp(PHI_MIN, PHI_MAX)
    }

    /// Standard error of the dispersion of so many seconds with mean `mean`, were they like all.
    fn dispersion_error(&self, mean: f64, seconds: f64) -> f64 {
        let square = f64::from(self.square).max(f64::MIN_POSITIVE);
        error_of((f64::from(self.clumping) / square).max(0.0), mean, seconds)
    }
}

/// The factorial second moment of Poisson counts with mean m over T seconds has a standard error of
/// m·√(2/T); extra dispersion widens it in proportion.
fn error_of(phi: f64, mean: f64, seconds: f64) -> f64 {
    libm::sqrt(2.0 / seconds) * (1.0 / mean + phi)
}

/// Weight of `span` new minutes: a plain average at first, exponential later.
fn weight(tau: f64, minutes: u32, span: f64) -> f64 {
    let steady = 1.0 - libm::exp(-span / tau);
    steady.max(span / (f64::from(minutes) + span))
}

kept!(Baseline { fast, slow, peaks, clumping, square, bursts, wobble, minutes, block });
kept!(Block { calls, minutes, busiest_at, busiest });

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(per_second: impl Fn(u64) -> u64, minutes: u64) -> Baseline {
        let mut baseline = Baseline::default();
        for minute in 0..minutes {
            let counts = (0..60).map(|second| per_second(minute * 60 + second));
            let (calls, squares) = counts.fold((0, 0), |(n, s), x| (n + x, s + x * x));
            let calls = u32::try_from(calls).unwrap();
            baseline.minute(number(minute), calls, squares as f64, f64::MAX, false);
        }
        baseline
    }

    fn number(minute: u64) -> u32 {
        29_540_160 + u32::try_from(minute).unwrap()
    }

    #[test]
    fn steady_traffic_has_its_rate_and_little_dispersion() {
        let baseline = learn(|second| 10 + second % 3, 60);
        assert!((baseline.expected() - 11.0).abs() < 0.1);
        assert!(baseline.allowed(number(60)) < 11.1);
        assert!(baseline.dispersion(11.0, 11.0) < 0.1);
    }

    #[test]
    fn a_cron_job_is_remembered_as_a_peak_and_as_clumps() {
        let baseline = learn(|second| if second % 3_600 == 0 { 600 } else { 0 }, 360);
        assert!(baseline.allowed(number(360)) > 6.0, "{}", baseline.allowed(number(360)));
        assert!(baseline.dispersion(10.0, 10.0) > 10.0);
    }

    #[test]
    fn one_wild_minute_teaches_no_more_than_its_limit() {
        let mut baseline = learn(|_| 1, 60);
        baseline.minute(number(60), 60_000, 6e7, 3.0, false);
        assert!(baseline.allowed(number(61)) <= 3.0);
    }

    #[test]
    fn a_day_raises_what_is_allowed_by_a_limit_and_the_first_day_by_what_comes() {
        // Two percent more each minute, from ten calls a second on.
        let ramp = |minute: u32| 600.0 * 1.02_f64.powi(minute.cast_signed());
        let mut baseline = learn(|_| 10, 600);
        assert!(baseline.allowed_today().is_infinite());
        (600..780).for_each(|minute| {
            baseline.minute(number(minute), ramp(minute as u32 - 600) as u32, 0.0, 1e9, false);
        });
        assert!(baseline.allowed(number(780)) > 200.0);
        let mut baseline = learn(|_| 10, 4_320);
        (4_320..4_500).for_each(|minute| {
            baseline.minute(number(minute), ramp(minute as u32 - 4_320) as u32, 0.0, 1e9, false);
        });
        assert!(baseline.allowed(number(4_500)) > 200.0);
        assert!((20.0..31.0).contains(&baseline.allowed_today()), "{}", baseline.allowed_today());
        // The next day begins where this one has ended.
        baseline.silence(number(5_900), 1_400);
        assert!(baseline.allowed_today() > 200.0);
    }

    #[test]
    fn silence_in_closed_form_equals_silent_minutes() {
        let mut stepped = learn(|_| 5, 400);
        let mut jumped = stepped;
        for minute in 400..520 {
            stepped.minute(number(minute), 0, 0.0, f64::MAX, false);
        }
        jumped.silence(number(519), 120);
        assert!((stepped.expected() - jumped.expected()).abs() < 1e-3);
        let end = number(520);
        assert!((stepped.allowed(end) - jumped.allowed(end)).abs() < 1e-2);
        assert_eq!(stepped.minutes(), jumped.minutes());
    }
}
