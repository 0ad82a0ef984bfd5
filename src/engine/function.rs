//! One function: its open seconds, its baseline, its evidence, its usage.
//!
//! Seconds are closed lazily, when the function is next touched or swept: whether a record is on
//! time was decided when it was taken in, so the result does not depend on when that happens.

use super::alarm::Channel;
use super::attribution::pane::Pane;
use super::attribution::reference::Reference;
use super::baseline::Baseline;
use super::batch::{Batch, Dimension, Event, EventKind, Timeliness};
use super::detect::duration::DurationChannel;
use super::detect::rate::{RateEvidence, RateModel};
use super::frontier::AHEAD_SECONDS;
use super::open_alarm::OpenAlarm;
use super::rate_card::{RateCard, RateIndex};
use super::settings::DetectionSettings;
use super::window::{RING, SecondRing};
use crate::cost::{FunctionRates, Usage};
use crate::record::{FunctionKey, Status};
use crate::units::{EventTime, MbMillis, MemoryMb};

/// The latest a record may be and still have a bucket.
pub const LATENESS_SECONDS_MAX: i64 = RING - AHEAD_SECONDS - 1;

/// Evidence from which on callers are noted by name.
const SUSPICION: f64 = 100.0;
/// More seconds than can ever open between two looks at the evidence.
const OPEN_SECONDS: u32 = 2 * 32;
/// A function younger than this has no baseline to speak of.
const YOUNG_MINUTES: u32 = 10;
/// So until then it must burn this many times the page floor before it is worth a page.
const YOUNG_FLOOR: f64 = 20.0;
/// A single minute may teach the baseline at most this many times what is tolerated now.
const LEARNED_AT_ONCE: f64 = 2.0;
/// Weight of one invocation in the mean usage per call.
const MEAN_WEIGHT: f64 = 1.0 / 64.0;

/// What a function's state needs to know besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Detection settings.
    pub detection: &'a DetectionSettings,
    /// Evidence at which a channel alarms.
    pub threshold: f64,
    /// First second that is still open everywhere.
    pub boundary: i64,
    /// First instant of the calendar month that event time is in. Records of the seconds around
    /// midnight count where event time stood when they came.
    pub month: EventTime,
    /// Minutes since the engine began to watch: a function that is first seen now was silent for
    /// as long, and that is a baseline too.
    pub watched_minutes: u64,
    /// Prices.
    pub rates: &'a RateCard,
}

/// Usage of one minute of event time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Minute {
    /// Minutes since the Unix epoch.
    pub number: i64,
    /// What was used.
    pub usage: Usage,
}

/// All that is kept of one function; at most 1 KiB with its name.
///
/// In the order in which a record needs it: there are far more functions than any cache holds, and
/// what a quiet invocation touches should be few lines in one piece. What only alarms need is last.
#[derive(Debug)]
#[repr(C)]
pub struct FunctionState {
    /// Keyed hash of the name.
    pub key: u64,
    /// Calls that the detector has seen.
    pub calls: u64,
    /// At this many calls the evidence is looked at; before, it cannot reach its target.
    next_check: u64,
    /// Nor before this many, where it is more, by a closer bound; then a look need not compute it.
    next_value: u64,
    closed: i64,
    month: EventTime,
    /// Mean MB·ms per call.
    pub mean_mb_ms: f64,
    /// Configured memory as last seen; 0 before the first invocation.
    pub memory_mb: u32,
    /// Where its usage is added up with that of its account.
    pub total: u32,
    /// The open alarm.
    pub alarm: Option<Box<OpenAlarm>>,
    /// Callers since evidence began to gather.
    pub pane: Option<Box<Pane>>,
    /// Price row.
    pub rate: RateIndex,
    /// Requests come to it through an API gateway.
    pub gateway_seen: bool,
    /// A restriction is in force, so demand may be hidden and nothing is learned.
    pub restricted: bool,
    /// Calls by second.
    pub served: SecondRing,
    /// Usage of the present calendar month.
    pub month_usage: Usage,
    minutes: [Minute; 2],
    /// Billed durations.
    pub duration: DurationChannel,
    /// Evidence over the closed seconds.
    evidence: RateEvidence,
    model: RateModel,
    /// The first second of the present excursion of the evidence, over the closed seconds.
    onset: i64,
    minute_calls: u64,
    minute_squares: u64,
    /// The same as `onset` with the open seconds, as of the last look.
    onset_now: i64,
    /// Calls per second that are tolerated, envelope and money floor included.
    pub tolerance: f64,
    /// What is normal.
    pub baseline: Baseline,
    reference: Reference,
    /// The second in which it was first seen.
    pub first_seen: i64,
    /// The concurrency cap in force.
    pub cap: Option<u32>,
    /// Its name.
    pub name: FunctionKey,
}

/// What touching a function led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Nothing to tell.
    Quiet,
    /// Evidence of a channel has reached its threshold.
    Alarming(Channel),
}

impl FunctionState {
    /// A function that is first seen with `event`; `total` is where its usage is added up.
    pub fn new(
        name: FunctionKey,
        event: &Event,
        rate: RateIndex,
        total: u32,
        around: &Surroundings<'_>,
    ) -> Self {
        let first = event.at.second();
        let mut state = Self {
            key: event.key,
            calls: 0,
            next_check: 0,
            next_value: 0,
            total,
            closed: around.boundary.min(first),
            served: SecondRing::new(first),
            evidence: RateEvidence::default(),
            model: RateModel::new(1.0, 1.0),
            tolerance: 0.0,
            onset: first,
            onset_now: first,
            baseline: Baseline::after_silence(around.watched_minutes),
            minute_calls: 0,
            minute_squares: 0,
            minutes: [Minute::default(); 2],
            month_usage: Usage::ZERO,
            month: around.month,
            mean_mb_ms: event.mb_ms.0 as f64,
            duration: DurationChannel::default(),
            reference: Reference::default(),
            rate,
            gateway_seen: event.gateway,
            first_seen: first,
            memory_mb: event.memory_mb,
            restricted: false,
            cap: None,
            pane: None,
            alarm: None,
            name,
        };
        state.minutes[0].number = event.at.minute();
        state.retune(around);
        state
    }

    /// Reads a little of everything that a quiet invocation needs, so that it is in the cache soon.
    pub fn touch(&self) -> u64 {
        let ring = self.served.touch();
        let usage = self.month_usage.requests ^ self.minutes[1].usage.requests;
        let model = self.duration.value() + self.model.touch();
        ring ^ usage ^ model.to_bits() ^ self.minute_calls
    }

    /// Takes in one record.
    pub fn take(&mut self, batch: &Batch, event: &Event, around: &Surroundings<'_>) -> Touch {
        self.account(event, around);
        match event.kind {
            EventKind::Invocation => {
                self.note_sources(batch, event);
                self.invocation(event, around)
            }
            EventKind::Trigger => {
                self.note_sources(batch, event);
                Touch::Quiet
            }
            EventKind::Refusal(reason) => {
                if let Some(alarm) = &mut self.alarm {
                    alarm.turned_away(event, reason);
                }
                Touch::Quiet
            }
        }
    }

    fn invocation(&mut self, event: &Event, around: &Surroundings<'_>) -> Touch {
        if self.memory_mb == 0 {
            // Known so far only from triggers: the price of a call is not yet known.
            self.mean_mb_ms = event.mb_ms.0 as f64;
            self.memory_mb = event.memory_mb;
            self.retune(around);
        }
        self.memory_mb = event.memory_mb;
        if !self.is_frozen() {
            self.mean_mb_ms += MEAN_WEIGHT * (event.mb_ms.0 as f64 - self.mean_mb_ms);
        }
        if let Some(alarm) = &mut self.alarm {
            alarm.served(event.mb_ms, event.response_bytes);
        }
        if event.timeliness == Timeliness::Late {
            return Touch::Quiet;
        }
        self.count(event.at.second(), around);
        let learning = !self.is_frozen();
        let block =
            self.duration.invocation(event.billed.get(), event.version, learning, around.threshold);
        if self.alarm.is_some() {
            return Touch::Quiet;
        }
        if self.calls >= self.next_check {
            self.close(around);
            if self.calls >= self.next_value && self.evaluate(around) >= around.threshold {
                return Touch::Alarming(Channel::RateFast);
            }
        }
        if block && self.duration_matters(around) {
            return Touch::Alarming(Channel::Duration);
        }
        Touch::Quiet
    }

    /// Adds a call to its second.
    fn count(&mut self, second: i64, around: &Surroundings<'_>) {
        if second > self.served.newest() {
            self.close(around);
        }
        if second >= self.closed {
            self.served.add(second);
            self.calls += 1;
        }
    }

    /// Whether the baseline must not learn now.
    pub fn is_frozen(&self) -> bool {
        self.alarm.is_some() || self.restricted
    }

    /// Closes every second before the boundary.
    pub fn close(&mut self, around: &Surroundings<'_>) {
        while self.closed < around.boundary {
            let refused = self.alarm.as_ref().map_or(i64::MIN, |alarm| alarm.newest_refusal());
            if self.closed > self.served.newest().max(refused) {
                self.close_silence(around);
            } else {
                self.close_second(around);
            }
        }
    }

    fn close_second(&mut self, around: &Surroundings<'_>) {
        let second = self.closed;
        let served = self.served.get(second);
        // While an alarm is open, what was turned away still counts as demand: a restriction that
        // works must not look like an attack that has ended. It never opens an alarm.
        let refused = self.alarm.as_ref().map_or(0, |alarm| alarm.refused_in(second));
        self.evidence.second(&self.model, served + refused, around.threshold);
        self.minute_calls += served;
        self.minute_squares += served * served;
        self.closed += 1;
        if self.evidence.is_at_rest() {
            self.onset = self.closed;
        }
        if self.closed.rem_euclid(60) == 0 {
            self.close_minute(around);
        }
    }

    fn close_silence(&mut self, around: &Surroundings<'_>) {
        let to_minute = 60 - self.closed.rem_euclid(60);
        let part = (around.boundary - self.closed).min(to_minute);
        self.evidence.silence(&self.model, part.unsigned_abs());
        self.closed += part;
        if self.closed.rem_euclid(60) == 0 {
            self.close_minute(around);
            let minutes = (around.boundary - self.closed).div_euclid(60);
            if minutes > 0 {
                self.evidence.silence(&self.model, minutes.unsigned_abs() * 60);
                self.closed += minutes * 60;
                if !self.is_frozen() {
                    self.baseline.silence(minutes.unsigned_abs());
                    self.retune(around);
                }
            }
        }
        if self.evidence.is_at_rest() {
            self.onset = self.closed;
        }
    }

    fn close_minute(&mut self, around: &Surroundings<'_>) {
        if !self.is_frozen() {
            let limit = LEARNED_AT_ONCE * self.tolerance;
            self.baseline.minute(self.minute_calls, self.minute_squares, limit);
            self.retune(around);
        }
        self.minute_calls = 0;
        self.minute_squares = 0;
    }

    /// What is tolerated follows from the baseline and from what a call costs.
    fn retune(&mut self, around: &Surroundings<'_>) {
        let usd_per_call = self.rates(around).per_request(self.mean_mb_ms);
        let factor = if self.is_warm() { 1.0 } else { YOUNG_FLOOR };
        let floor = around.detection.page_floor_usd_per_hour * factor / 3_600.0;
        let worth = floor / usd_per_call.max(f64::MIN_POSITIVE);
        let allowed = self.baseline.allowed() * around.detection.envelope;
        self.tolerance = allowed.max(worth);
        let phi = self.baseline.dispersion(allowed, self.tolerance);
        self.model = RateModel::new(self.tolerance, phi);
        self.next_check = self.calls.saturating_add(1);
        self.next_value = 0;
    }

    /// The evidence with the open seconds in it; sets when to look next. All is closed that can be.
    fn evaluate(&mut self, around: &Surroundings<'_>) -> f64 {
        let mut evidence = self.evidence;
        let mut onset = self.onset;
        for second in self.closed..=self.served.newest() {
            evidence.second(&self.model, self.served.get(second), around.threshold);
            if evidence.is_at_rest() {
                onset = second + 1;
            }
        }
        self.onset_now = onset;
        let value = evidence.value();
        let target = if value < SUSPICION { SUSPICION } else { around.threshold };
        self.next_check = self.calls + evidence.calls_to(&self.model, target, OPEN_SECONDS);
        self.next_value = 0;
        let target = SUSPICION.min(around.threshold);
        if value < target && self.model.is_steep(SUSPICION, OPEN_SECONDS) {
            self.next_value = self.calls + 1 + evidence.calls_below(&self.model, target);
        }
        if value >= SUSPICION {
            self.open_pane();
        }
        value
    }

    /// From now on callers are noted by name.
    pub fn open_pane(&mut self) {
        if self.pane.is_none() {
            self.pane = Some(Box::new(Pane::new(self.mean_mb_ms, &self.reference)));
        }
    }

    /// Evidence over the closed seconds.
    pub fn evidence(&self) -> f64 {
        self.evidence.value()
    }

    /// Evidence over everything that is known, for reports.
    pub fn evidence_now(&self, around: &Surroundings<'_>) -> f64 {
        let mut evidence = self.evidence;
        for second in self.closed..=self.served.newest() {
            evidence.second(&self.model, self.served.get(second), around.threshold);
        }
        evidence.value()
    }

    /// A longer duration is an alarm only where the money is worth a page.
    fn duration_matters(&self, around: &Surroundings<'_>) -> bool {
        if self.duration.value() < around.threshold {
            return false;
        }
        let rates = self.rates(around);
        let ratio = self.duration.observed_ms() / self.duration.expected_ms().max(1.0);
        let usual = rates.per_request(self.mean_mb_ms);
        let now = rates.per_request(self.mean_mb_ms * ratio);
        let per_hour = (now - usual) * self.baseline.expected() * 3_600.0;
        per_hour >= around.detection.page_floor_usd_per_hour
    }

    fn account(&mut self, event: &Event, around: &Surroundings<'_>) {
        let usage = event.usage();
        let minute = event.at.minute();
        if minute > self.minutes[0].number && event.timeliness == Timeliness::OnTime {
            // The sweep takes rows out well before a second roll-over could overwrite one; what
            // is left is carried along so that the sum stays whole.
            let left = self.minutes[1].usage;
            self.minutes[1] = self.minutes[0];
            self.minutes[1].usage += left;
            self.minutes[0] = Minute { number: minute, usage: Usage::ZERO };
        }
        let late = minute == self.minutes[1].number && self.minutes[1].usage != Usage::ZERO;
        self.minutes[usize::from(late)].usage += usage;
        if around.month > self.month {
            self.month = around.month;
            self.month_usage = Usage::ZERO;
        }
        self.month_usage += usage;
    }

    /// Takes out the rows of minutes that end at or before `minute`.
    pub fn take_minutes(&mut self, minute: i64) -> impl Iterator<Item = Minute> {
        let mut rows = [None, None];
        for (index, held) in self.minutes.iter_mut().enumerate().rev() {
            if held.number < minute && held.usage != Usage::ZERO {
                rows[1 - index] = Some(*held);
                held.usage = Usage::ZERO;
            }
        }
        rows.into_iter().flatten()
    }

    fn note_sources(&mut self, batch: &Batch, event: &Event) {
        let address = event.sources[Dimension::Address as usize];
        if let Some(pane) = &mut self.pane {
            pane.add(batch, event, &self.reference);
        } else if address.is_known() && !self.is_frozen() {
            self.reference.add(address, event.status != Status::Success);
        }
    }

    /// Who called while nothing was wrong.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The function's prices.
    pub fn rates<'a>(&self, around: &Surroundings<'a>) -> &'a FunctionRates {
        around.rates.rates(self.rate)
    }

    /// Usage that `calls` calls of the usual size would be.
    pub fn usual(&self, calls: f64) -> Usage {
        Usage {
            requests: crate::units::whole(calls),
            mb_ms: MbMillis(crate::units::whole(calls * self.mean_mb_ms)),
            ..Usage::ZERO
        }
    }

    /// Mean billed duration in milliseconds, as the usage says.
    pub fn billed_ms(&self) -> f64 {
        self.mean_mb_ms / f64::from(self.memory_mb.max(1))
    }

    /// Configured memory.
    pub fn memory(&self) -> Option<MemoryMb> {
        MemoryMb::try_new(u64::from(self.memory_mb)).ok()
    }

    /// When the excess began that `channel` has found in the second of `event`.
    pub fn onset_of(&self, channel: Channel, event: &Event) -> EventTime {
        let second = event.at.second();
        EventTime::from_second(match channel {
            Channel::RateFast => self.onset_now.min(second),
            Channel::Duration => second,
        })
    }

    /// Seconds from when it was first seen to `now`, and how many of them it had no baseline.
    pub fn observed(&self, now: i64) -> (u64, u64) {
        let seconds = (now - self.first_seen).max(0).unsigned_abs();
        (seconds, seconds.min(60 * u64::from(YOUNG_MINUTES)))
    }

    /// Whether the function has a baseline.
    pub fn is_warm(&self) -> bool {
        self.baseline.minutes() >= YOUNG_MINUTES
    }

    /// The alarm has closed: learning goes on, and the duration channel starts anew.
    pub fn alarm_is_over(&mut self, around: &Surroundings<'_>) {
        self.alarm = None;
        self.duration.restart();
        self.retune(around);
    }

    /// Evidence has gone: the names that were noted meanwhile are forgotten.
    pub fn calm_down(&mut self) {
        if self.alarm.is_none() && self.evidence.is_at_rest() {
            self.pane = None;
        }
    }
}
