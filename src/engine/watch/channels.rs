//! What each channel of a watch has to say: its evidence, its numbers, its money, its onset.

use super::{Calling, Watch};
use crate::engine::alarm::Channel;
use crate::engine::batch::Event;
use crate::engine::detect::rate::{ChannelReading, RateEvidence};
use crate::engine::detect::recursion::RecursionChannel;
use crate::engine::detect::yoyo::YoyoChannel;
use crate::engine::function::Surroundings;
use crate::engine::open_alarm::OpenAlarm;
use crate::engine::window::RING;
use crate::units::EventTime;

/// The excess is over when calls have kept to what is tolerated for so long,
const TOLERABLE_SECONDS: f64 = 20.0;
/// and so many would have been tolerated meanwhile: of fewer, some seconds say nothing.
const TOLERABLE_CALLS: f64 = 20.0;
/// What is dear or fails is over when hardly anybody calls: at this part of what is worth telling.
const PAST: f64 = 0.5;

impl Watch {
    /// Evidence of a channel; of the rate over the closed seconds.
    pub fn value(&self, channel: Channel) -> f64 {
        match channel {
            Channel::RateFast => self.evidence.value(),
            Channel::Duration => self.size.value(),
            Channel::Memory => self.size.memory_value(),
            Channel::Retry => self.retry.value(),
            Channel::Recursion => self.recursion.value(),
            Channel::Yoyo => self.yoyo.value_usd(),
            Channel::Cost => self.ledger.as_ref().map_or(0.0, |ledger| ledger.cost.value()),
            Channel::Leech => self.ledger.as_ref().map_or(0.0, |ledger| ledger.leech.value()),
            Channel::Aggregate => 0.0,
        }
    }

    /// The most that any channel has, the open seconds included.
    pub fn evidence_so_far(&self, around: &Surroundings<'_>) -> f64 {
        self.evidence().max(self.evidence_now(around).0.value())
    }

    /// The most that any channel has over the closed seconds.
    pub fn evidence(&self) -> f64 {
        let by_the_second =
            |channel: &Channel| !matches!(channel, Channel::Yoyo | Channel::Cost | Channel::Leech);
        let channels = Channel::ALL.into_iter().filter(by_the_second);
        channels.map(|channel| self.value(channel)).fold(0.0, f64::max)
    }

    /// How a channel stands, `rate` being the calls per second now and `expected` those before.
    pub fn reading(
        &self,
        channel: Channel,
        expected: f64,
        rate: f64,
        around: &Surroundings<'_>,
    ) -> ChannelReading {
        let value = match channel {
            Channel::RateFast => self.evidence_now(around).0.value(),
            _ => self.value(channel),
        };
        let (expected, observed) = match channel {
            Channel::RateFast | Channel::Recursion => (expected, rate),
            Channel::Yoyo => (0.0, value),
            Channel::Cost | Channel::Leech => self.sums_usd(channel),
            Channel::Duration => (self.size.expected_ms(), self.size.observed_ms()),
            Channel::Memory => (self.size.expected_mb(), self.size.observed_mb()),
            Channel::Retry => (self.retry.expected(), self.retry.observed()),
            Channel::Aggregate => (0.0, 0.0),
        };
        ChannelReading {
            evidence_log10: libm::log10(value.max(1e-9)),
            threshold_log10: libm::log10(around.thresholds.of(channel)),
            expected,
            observed,
        }
    }

    /// A change of what a call is, or of how it ends, is an alarm only where the money is worth it.
    pub(super) fn matters(
        &self,
        channel: Channel,
        calling: &Calling<'_>,
        around: &Surroundings<'_>,
    ) -> bool {
        let floor = around.detection.notice_floor_usd_per_hour;
        match channel {
            Channel::Yoyo => true,
            Channel::Cost | Channel::Leech => self.excess_per_hour(channel) >= floor,
            _ => {
                let rate = self.lasting_rate(self.served.newest());
                self.worth_per_hour(channel, rate, calling) >= floor
            }
        }
    }

    /// Dollars an hour that what `channel` has found costs at so many calls a second.
    fn worth_per_hour(&self, channel: Channel, rate: f64, calling: &Calling<'_>) -> f64 {
        let now = calling.usd_per_call();
        let (_, usual_mb_ms) = self.usual(channel, calling.mean_mb_ms);
        let per_call = match channel {
            Channel::RateFast | Channel::Recursion => now,
            Channel::Duration | Channel::Memory => now - calling.rates.per_request(usual_mb_ms),
            Channel::Retry => now * (self.retry.observed() - self.retry.expected()),
            Channel::Yoyo | Channel::Cost | Channel::Leech | Channel::Aggregate => 0.0,
        };
        per_call * rate * 3_600.0
    }

    /// Calls per second over all the seconds before `now` that are remembered, or as usual where
    /// that is more: of a function that is seldom called, one call in the last second says nothing.
    pub fn lasting_rate(&self, now: i64) -> f64 {
        self.served.rate(now, RING).max(self.baseline.expected())
    }

    /// Whether what led to the alarm is over although evidence still stands: it takes minutes to
    /// go where traffic is uneven, as a normal second then says little against an excess, and does
    /// not move where nobody calls any more.
    pub fn is_past(
        &self,
        alarm: &mut OpenAlarm,
        calling: &Calling<'_>,
        around: &Surroundings<'_>,
    ) -> bool {
        let tolerance = f64::from(self.tolerance);
        let usual = self.refusals.per_second() * around.detection.envelope;
        let lull = alarm.follow_calls(self.closed(), tolerance + usual);
        let seconds = lull.seconds as f64;
        match alarm.channel {
            Channel::RateFast => {
                seconds >= TOLERABLE_SECONDS && seconds * tolerance >= TOLERABLE_CALLS
            }
            Channel::Duration | Channel::Memory | Channel::Retry => {
                let worth = self.worth_per_hour(alarm.channel, lull.rate, calling);
                worth < PAST * around.detection.notice_floor_usd_per_hour
            }
            _ => false,
        }
    }

    /// Calls per second, and MB·ms per call, before `channel` spoke. What it says has already moved
    /// the mean that follows quickest, so that is taken back to what the channel expects.
    pub fn usual(&self, channel: Channel, mean_mb_ms: f64) -> (f64, f64) {
        let back = |(expected, observed): (f64, f64)| {
            if observed > expected { (expected / observed).max(0.0) } else { 1.0 }
        };
        let rate = self.baseline.expected();
        match channel {
            Channel::Duration => {
                (rate, mean_mb_ms * back((self.size.expected_ms(), self.size.observed_ms())))
            }
            Channel::Memory => {
                (rate, mean_mb_ms * back((self.size.expected_mb(), self.size.observed_mb())))
            }
            Channel::Cost | Channel::Leech => (rate * back(self.sums_usd(channel)), mean_mb_ms),
            _ => (rate, mean_mb_ms),
        }
    }

    /// Dollars that a slow channel has gathered before it spoke.
    pub fn gathered_usd(&self, channel: Channel) -> f64 {
        let (expected, observed) = match channel {
            Channel::Yoyo => (0.0, self.yoyo.value_usd()),
            Channel::Cost | Channel::Leech => self.sums_usd(channel),
            _ => return 0.0,
        };
        (observed - expected).max(0.0)
    }

    /// Dollars of the latest hour or day that were expected, and that it cost.
    fn sums_usd(&self, channel: Channel) -> (f64, f64) {
        self.ledger.as_ref().map_or((0.0, 0.0), |ledger| match channel {
            Channel::Leech => ledger.days_usd(),
            _ => ledger.hours_usd(),
        })
    }

    /// Forgets the evidence of a channel, keeps what was learned.
    pub(super) fn restart(&mut self, channel: Channel) {
        match channel {
            Channel::RateFast => {
                self.evidence = RateEvidence::default();
                self.onset = self.closed;
            }
            Channel::Recursion => self.recursion = RecursionChannel::default(),
            Channel::Duration | Channel::Memory => self.size.restart(),
            Channel::Retry => self.retry.restart(),
            Channel::Yoyo => self.yoyo = YoyoChannel::default(),
            Channel::Cost => self.ledger.iter_mut().for_each(|ledger| ledger.cost.restart()),
            Channel::Leech => self.ledger.iter_mut().for_each(|ledger| ledger.leech.restart()),
            Channel::Aggregate => {}
        }
    }

    /// Dollars an hour that its hours or days are above what is expected of them.
    pub fn excess_per_hour(&self, channel: Channel) -> f64 {
        let (expected, observed) = self.sums_usd(channel);
        let hours = if channel == Channel::Leech { 24.0 } else { 1.0 };
        (observed - expected) / hours
    }

    /// When the excess began that `channel` has found in the second of `event`.
    pub fn onset_of(
        &self,
        channel: Channel,
        event: &Event,
        around: &Surroundings<'_>,
    ) -> EventTime {
        let second = event.at.second();
        EventTime::from_second(match channel {
            Channel::RateFast => self.evidence_now(around).1.min(second),
            Channel::Duration | Channel::Memory | Channel::Retry | Channel::Aggregate => second,
            // It has grown by half for half a dozen buckets of four seconds at the least.
            Channel::Recursion => second - 16,
            Channel::Yoyo => second - 60 * i64::from(self.yoyo.minutes()),
            Channel::Cost => second - 3_600,
            Channel::Leech => second - 86_400,
        })
    }
}
