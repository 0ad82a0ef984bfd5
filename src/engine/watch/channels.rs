//! What each channel of a watch has to say: its evidence, its numbers, its money, its onset.

use super::{Calling, Watch};
use crate::engine::alarm::Channel;
use crate::engine::batch::Event;
use crate::engine::detect::rate::ChannelReading;
use crate::engine::function::Surroundings;
use crate::engine::open_alarm::OpenAlarm;
use crate::engine::window::RING;
use crate::units::EventTime;

/// The excess is over when calls have kept to what is tolerated for so long.
const TOLERABLE_SECONDS: i64 = 20;

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

    /// The most that any channel has.
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
            Channel::Cost => self.ledger.as_ref().map_or((0.0, 0.0), |ledger| ledger.hours_usd()),
            Channel::Leech => self.ledger.as_ref().map_or((0.0, 0.0), |ledger| ledger.days_usd()),
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
        let usual = calling.usd_per_call();
        let grown = |ratio: f64| calling.rates.per_request(calling.mean_mb_ms * ratio) - usual;
        let per_call = match channel {
            Channel::Yoyo => return true,
            Channel::Cost | Channel::Leech => {
                let excess = self.excess_per_hour(channel);
                return excess >= around.detection.notice_floor_usd_per_hour;
            }
            Channel::Aggregate => return false,
            Channel::RateFast | Channel::Recursion => usual,
            Channel::Duration => grown(self.size.observed_ms() / self.size.expected_ms().max(1.0)),
            Channel::Memory => grown(self.size.observed_mb() / self.size.expected_mb().max(1.0)),
            Channel::Retry => usual * (self.retry.observed() - self.retry.expected()),
        };
        let per_hour = per_call * self.lasting_rate(self.served.newest()) * 3_600.0;
        per_hour >= around.detection.notice_floor_usd_per_hour
    }

    /// Calls per second over all the seconds before `now` that are remembered, or as usual where
    /// that is more: of a function that is seldom called, one call in the last second says nothing.
    pub fn lasting_rate(&self, now: i64) -> f64 {
        self.served.rate(now, RING).max(self.baseline.expected())
    }

    /// Whether as many are called for as is tolerated, refused ones included. Evidence alone takes
    /// minutes to say so where traffic is uneven, as a normal second then says little against an
    /// excess.
    pub fn is_tolerable(&self, alarm: &OpenAlarm) -> bool {
        let from = self.closed() - TOLERABLE_SECONDS;
        let called = |second| self.served.get(second) + alarm.refused_in(second);
        let calls: u64 = (from..self.closed()).map(called).sum();
        alarm.channel == Channel::RateFast
            && from > alarm.evidence_at.second()
            && calls as f64 <= f64::from(self.tolerance) * TOLERABLE_SECONDS as f64
    }

    /// Dollars an hour that its hours or days are above what is expected of them.
    pub fn excess_per_hour(&self, channel: Channel) -> f64 {
        self.ledger.as_ref().map_or(0.0, |ledger| match channel {
            Channel::Leech => ledger.leeched_per_hour(),
            _ => {
                let (expected, observed) = ledger.hours_usd();
                observed - expected
            }
        })
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
