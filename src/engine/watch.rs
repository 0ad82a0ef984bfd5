//! What is watched of a function that is called: its open seconds, its baseline, its evidence, its
//! callers.
//!
//! Seconds are closed lazily, when the function is next touched or swept: whether a record is on
//! time was decided when it was taken in, so the result does not depend on when that happens.

mod channels;
mod learned;
mod refusals;

use self::refusals::Refusals;
use super::account_share::AccountShare;
use super::alarm::{Channel, Severity};
use super::attribution::pane::Pane;
use super::attribution::reference::Reference;
use super::baseline::Baseline;
use super::batch::{Batch, Dimension, Event, Timeliness};
use super::detect::rate::{RateEvidence, RateModel};
use super::detect::recursion::RecursionChannel;
use super::detect::retry::RetryChannel;
use super::detect::size::SizeChannel;
use super::detect::yoyo::YoyoChannel;
use super::frontier::AHEAD_SECONDS;
use super::function::{Surroundings, YOUNG_MINUTES};
use super::ledger::{Ledger, WORTH_USD};
use super::open_alarm::OpenAlarm;
use super::window::{RING, SecondRing};
use crate::cost::{FunctionRates, Usage};
use crate::keep::kept;
use crate::record::{RefusalReason, Status};

/// The latest a record may be and still have a bucket.
pub const LATENESS_SECONDS_MAX: i64 = RING - AHEAD_SECONDS - 1;

/// Evidence from which on callers are noted by name.
const SUSPICION: f64 = 100.0;
/// More seconds than can ever open between two looks at the evidence.
const OPEN_SECONDS: u32 = 2 * 32;
/// Until a function has a baseline it must burn this many times the floor to be noticed.
const YOUNG_FLOOR: f64 = 20.0;
/// What is learned waits while the evidence is this many times what silence leaves of it.
const DOUBT: f64 = 30.0;
/// A single minute may teach the baseline at most this many times what is tolerated now.
const LEARNED_AT_ONCE: f64 = 1.0;
/// A function that has been silent this long, and was never busier than [`FORGETTABLE`], is not
/// watched any longer.
const IDLE_SECONDS: i64 = 3_600;
/// Calls per second that are forgotten without loss: three a minute.
const FORGETTABLE: f64 = 0.05;

/// The cap of a function without one.
const UNCAPPED: u32 = u32::MAX;

/// How a function is called at this moment, as its owner knows it.
#[derive(Debug, Clone, Copy)]
pub struct Calling<'a> {
    /// Prices.
    pub rates: &'a FunctionRates,
    /// Mean MB·ms per call.
    pub mean_mb_ms: f64,
    /// A restriction is in force.
    pub restricted: bool,
    /// Usage of the calendar month so far, and which month it is.
    pub used: Usage,
    /// See [`Calling::used`].
    pub month: i32,
}

impl Calling<'_> {
    fn usd_per_call(&self) -> f64 {
        self.rates.per_request(self.mean_mb_ms)
    }
}

/// What touching a function led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Nothing to tell.
    Quiet,
    /// Evidence of a channel has reached its threshold.
    Alarming(Channel),
}

/// The state of the detector for one function. In the order in which a quiet invocation needs it;
/// what only alarms need is last.
#[derive(Debug)]
#[repr(C)]
pub struct Watch {
    /// Calls that the detector has seen; wraps around, as does what it is compared with.
    calls: u32,
    /// At this many calls the evidence is looked at; before, it cannot reach its target.
    next_check: u32,
    /// Nor before this many, where it is more, by a closer bound; then a look need not compute it.
    next_value: u32,
    closed: u32,
    /// The open alarm.
    pub alarm: Option<Box<OpenAlarm>>,
    /// Callers since evidence began to gather.
    pub pane: Option<Box<Pane>>,
    /// Calls by second.
    pub served: SecondRing,
    /// Billed durations and memory.
    pub size: SizeChannel,
    /// Failures and repeats.
    pub retry: RetryChannel,
    /// Calls since the last closed second that the function itself asked for.
    own_calls: u16,
    /// What is normal was known before the engine began.
    pub has_past: bool,
    recursion: RecursionChannel,
    yoyo: YoyoChannel,
    /// Evidence over the closed seconds.
    evidence: RateEvidence,
    model: RateModel,
    /// The first second of the present excursion of the evidence, over the closed seconds.
    onset: u32,
    minute_calls: u32,
    minute_squares: f32,
    refusals: Refusals,
    /// Calls per second that are tolerated, envelope and money floor included.
    pub tolerance: f32,
    cap: u32,
    /// Its hours and days, once they cost something.
    pub ledger: Option<Box<Ledger>>,
    /// What is normal.
    pub baseline: Baseline,
    /// Its part in the evidence over its account.
    pub share: AccountShare,
    reference: Reference,
}

impl Watch {
    /// A watch that begins at second `newest` with some earlier calls. Before `silent_since`
    /// nothing is known; from then on the function was as good as silent.
    pub fn new(
        newest: i64,
        earlier: impl Iterator<Item = i64> + Clone,
        silent_since: i64,
        calling: &Calling<'_>,
        around: &Surroundings<'_>,
    ) -> Self {
        let first = earlier.clone().min().unwrap_or(newest);
        let minutes = (first - silent_since).max(0).unsigned_abs() / 60;
        let mut watch = Self {
            calls: 0,
            next_check: 0,
            next_value: 0,
            closed: whole_second(around.boundary.min(first)),
            alarm: None,
            pane: None,
            served: SecondRing::new(first),
            size: SizeChannel::default(),
            retry: RetryChannel::default(),
            own_calls: 0,
            recursion: RecursionChannel::default(),
            yoyo: YoyoChannel::default(),
            evidence: RateEvidence::default(),
            model: RateModel::new(1.0, 1.0),
            onset: whole_second(first),
            minute_calls: 0,
            minute_squares: 0.0,
            refusals: Refusals::default(),
            tolerance: 0.0,
            cap: UNCAPPED,
            ledger: None,
            baseline: Baseline::after_silence(minute_of(first), minutes),
            share: AccountShare::default(),
            reference: Reference::default(),
            has_past: false,
        };
        for second in earlier {
            watch.served.add(second);
            watch.calls = watch.calls.wrapping_add(1);
        }
        watch.retune(calling, around);
        watch
    }

    /// Reads a little of everything that a quiet invocation needs, so that it is in the cache soon.
    pub fn touch(&self) -> u64 {
        let ring = self.served.touch();
        let model = self.size.value() + self.retry.value() + self.model.touch();
        ring ^ model.to_bits() ^ u64::from(self.minute_calls ^ self.calls)
    }

    /// Takes in one invocation; `repeat` when its request failed before.
    pub fn invocation(
        &mut self,
        event: &Event,
        repeat: bool,
        calling: &Calling<'_>,
        around: &Surroundings<'_>,
    ) -> Touch {
        if let Some(alarm) = &mut self.alarm {
            alarm.served(event.mb_ms, event.response_bytes);
        }
        if event.timeliness == Timeliness::Late {
            return Touch::Quiet;
        }
        let second = event.at.second();
        self.count(second, calling, around);
        let learning = !self.is_frozen(calling.restricted);
        let (failed, threshold) = (event.status != Status::Success, around.thresholds.other);
        let is_new = self.retry.invocation(failed, repeat, second, learning, threshold);
        self.own_calls = self.own_calls.saturating_add(event.own.into());
        let (billed, version) = (event.billed.get(), event.version);
        let block =
            self.size.invocation(billed, event.memory_mb, version, second, learning, threshold);
        if self.is_cold(around) {
            return Touch::Quiet;
        }
        if self.hears(Channel::RateFast) && self.has_reached(self.next_check) {
            self.close(calling, around);
            let threshold = around.thresholds.fast;
            if self.has_reached(self.next_value) && self.evaluate(calling, around) >= threshold {
                return Touch::Alarming(Channel::RateFast);
            }
        }
        if !block && !is_new {
            return Touch::Quiet;
        }
        let alarming = Channel::SELDOM.into_iter().find(|&channel| {
            self.hears(channel)
                && self.value(channel) >= around.thresholds.of(channel)
                && self.matters(channel, calling, around)
        });
        alarming.map_or(Touch::Quiet, Touch::Alarming)
    }

    /// Whether an alarm of `channel` would be news beside one that is open.
    fn hears(&self, channel: Channel) -> bool {
        self.alarm.as_ref().is_none_or(|alarm| alarm.gives_way_to(channel))
    }

    /// Adds a call to its second.
    fn count(&mut self, second: i64, calling: &Calling<'_>, around: &Surroundings<'_>) {
        if second > self.served.newest() {
            self.close(calling, around);
        }
        if second >= self.closed() {
            self.served.add(second);
            self.calls = self.calls.wrapping_add(1);
        }
    }

    /// Whether the baseline must not learn now.
    pub fn is_frozen(&self, restricted: bool) -> bool {
        restricted || self.alarm.as_ref().is_some_and(|alarm| alarm.freezes(self.closed()))
    }

    /// Closes every second before the boundary.
    pub fn close(&mut self, calling: &Calling<'_>, around: &Surroundings<'_>) {
        while self.closed() < around.boundary {
            let refused = self.alarm.as_ref().map_or(i64::MIN, |alarm| alarm.newest_refusal());
            if self.closed() > self.served.newest().max(refused) {
                self.close_silence(calling, around);
            } else {
                self.close_second(calling, around);
            }
        }
    }

    fn close_second(&mut self, calling: &Calling<'_>, around: &Surroundings<'_>) {
        let second = self.closed();
        let served = self.served.get(second);
        // While an alarm is open, what was turned away still counts as demand: a restriction that
        // works must not look like an attack that has ended. It never opens an alarm.
        let refused = self.alarm.as_ref().map_or(0, |alarm| alarm.refused_in(second));
        self.evidence.second(&self.model, served + refused, around.thresholds.fast);
        let own = std::mem::take(&mut self.own_calls);
        self.recursion.second(served, own.into(), around.thresholds.other);
        self.minute_calls =
            self.minute_calls.saturating_add(u32::try_from(served).unwrap_or(u32::MAX));
        self.minute_squares += served as f32 * served as f32;
        self.set_closed(self.closed() + 1);
        if self.evidence.is_at_rest() {
            self.onset = whole_second(self.closed());
        }
        if self.closed().rem_euclid(60) == 0 {
            self.close_minute(calling, around);
        }
    }

    fn close_silence(&mut self, calling: &Calling<'_>, around: &Surroundings<'_>) {
        let to_minute = 60 - self.closed().rem_euclid(60);
        let part = (around.boundary - self.closed()).min(to_minute);
        self.evidence.silence(&self.model, part.unsigned_abs());
        self.recursion.silence(part.unsigned_abs(), around.thresholds.other);
        self.set_closed(self.closed() + part);
        if self.closed().rem_euclid(60) == 0 {
            self.close_minute(calling, around);
            let minutes = (around.boundary - self.closed()).div_euclid(60);
            if minutes > 0 {
                let minutes = minutes.unsigned_abs();
                self.evidence.silence(&self.model, minutes * 60);
                self.recursion.silence(minutes * 60, around.thresholds.other);
                self.yoyo.silence(minutes, around.thresholds.yoyo);
                self.set_closed(self.closed() + 60 * i64::try_from(minutes).unwrap_or(0));
                if !self.is_frozen(calling.restricted) {
                    self.baseline.silence(minute_of(self.closed()) - 1, minutes);
                    self.refusals.silence(minutes);
                }
                self.retune(calling, around);
            }
        }
        if self.evidence.is_at_rest() {
            self.onset = whole_second(self.closed());
        }
    }

    fn close_minute(&mut self, calling: &Calling<'_>, around: &Surroundings<'_>) {
        let usd = calling.usd_per_call();
        let allowed = 60.0 * f64::from(self.tolerance) * usd;
        // What a flood costs is told with its own alarm.
        let told = self.alarm.as_ref().is_some_and(|alarm| alarm.channel <= Channel::Recursion);
        let spent = if told { 0.0 } else { f64::from(self.minute_calls) * usd };
        self.yoyo.minute(spent, allowed, around.thresholds.yoyo);
        if self.is_cold(around) {
            Channel::ALL.into_iter().for_each(|channel| self.restart(channel));
        }
        // The minute that has just ended.
        let number = minute_of(self.closed()) - 1;
        if self.minute_calls > 0 && self.is_warm() {
            let envelope = around.detection.envelope;
            self.share.minute(number, self.minute_calls.into(), &self.baseline, envelope);
        }
        let is_frozen = self.is_frozen(calling.restricted);
        self.refusals.close(!is_frozen);
        if !is_frozen {
            let limit = LEARNED_AT_ONCE * f64::from(self.tolerance);
            let (calls, squares) = (self.minute_calls, f64::from(self.minute_squares));
            let suspicious = self.evidence.value() >= DOUBT * (1.0 + self.model.rest());
            self.baseline.minute(number, calls, squares, limit, suspicious);
        } else if self.alarm.as_ref().is_some_and(|alarm| alarm.severity == Severity::Notice) {
            self.baseline.note_busy(number, self.minute_calls.into());
        }
        // Whatever is learned or not, the calendar goes on.
        self.retune(calling, around);
        self.minute_calls = 0;
        self.minute_squares = 0.0;
        self.close_hour(calling, around);
    }

    fn close_hour(&mut self, calling: &Calling<'_>, around: &Surroundings<'_>) {
        if self.closed().rem_euclid(3_600) >= 60 && self.ledger.is_none() {
            return;
        }
        let (hour, frozen) = (self.closed().div_euclid(3_600), self.is_frozen(calling.restricted));
        match &mut self.ledger {
            Some(ledger) => ledger.close(hour, frozen, calling, &around.thresholds),
            None if calling.rates.cost(&calling.used).usd() >= WORTH_USD => {
                let silent = i64::from(self.baseline.minutes()) / 60;
                self.ledger = Some(Box::new(Ledger::new(hour, silent, calling)));
            }
            None => {}
        }
    }

    /// What is tolerated follows from the baseline and from what a call costs.
    #[expect(clippy::cast_possible_truncation, reason = "kept for display and limits")]
    pub fn retune(&mut self, calling: &Calling<'_>, around: &Surroundings<'_>) {
        let factor = if self.is_warm() { 1.0 } else { YOUNG_FLOOR };
        let floor = around.detection.notice_floor_usd_per_hour * factor;
        // Dollars an hour that one call a second costs.
        let hourly_usd = 3_600.0 * calling.usd_per_call().max(f64::MIN_POSITIVE);
        let worth = floor / hourly_usd;
        // What has grown slowly may be honest, and wakes nobody before it is worth it.
        let page_worth = around.detection.page_floor_usd_per_hour / hourly_usd;
        let envelope = around.detection.envelope;
        let today = (self.baseline.allowed_today() * envelope).max(page_worth);
        let allowed = self.baseline.allowed(minute_of(self.closed())) * envelope;
        let allowed = allowed.min(today);
        let tolerance = allowed.max(worth);
        let phi = self.baseline.dispersion(allowed, tolerance);
        self.model = RateModel::new(tolerance, phi);
        self.tolerance = tolerance as f32;
        self.next_check = self.ahead(1);
        self.next_value = self.calls;
    }

    /// The evidence with the open seconds in it; sets when to look next. All is closed that can be.
    fn evaluate(&mut self, calling: &Calling<'_>, around: &Surroundings<'_>) -> f64 {
        let threshold = around.thresholds.fast;
        let evidence = self.evidence_now(around).0;
        let value = evidence.value();
        let target = if value < SUSPICION { SUSPICION } else { threshold };
        self.next_check = self.ahead(evidence.calls_to(&self.model, target, OPEN_SECONDS));
        self.next_value = self.calls;
        let target = SUSPICION.min(threshold);
        if value < target && self.model.is_steep(SUSPICION, OPEN_SECONDS) {
            let below = evidence.calls_below(&self.model, target);
            self.next_value = self.ahead(below.saturating_add(1));
        }
        if value >= SUSPICION {
            self.open_pane(calling.mean_mb_ms);
        }
        value
    }

    /// From now on callers are noted by name.
    pub fn open_pane(&mut self, mean_mb_ms: f64) {
        if self.pane.is_none() {
            self.pane = Some(Box::new(Pane::new(mean_mb_ms, &self.reference)));
        }
    }

    /// Evidence over everything that is known, and since which second it has been gathering.
    fn evidence_now(&self, around: &Surroundings<'_>) -> (RateEvidence, i64) {
        let mut evidence = self.evidence;
        let mut onset = i64::from(self.onset);
        for second in self.closed()..=self.served.newest() {
            evidence.second(&self.model, self.served.get(second), around.thresholds.fast);
            if evidence.is_at_rest() {
                onset = second + 1;
            }
        }
        (evidence, onset)
    }

    fn closed(&self) -> i64 {
        self.closed.into()
    }

    fn set_closed(&mut self, second: i64) {
        self.closed = whole_second(second);
    }

    /// The number that calls will have reached after so many more, or after a billion.
    fn ahead(&self, calls: u64) -> u32 {
        let most = 1 << 30;
        self.calls.wrapping_add(u32::try_from(calls).unwrap_or(most).min(most))
    }

    fn has_reached(&self, calls: u32) -> bool {
        self.calls.wrapping_sub(calls) < 1 << 31
    }

    /// Notes who calls.
    pub fn note_sources(&mut self, batch: &Batch, event: &Event, restricted: bool) {
        let address = event.sources[Dimension::Address as usize];
        if let Some(pane) = &mut self.pane {
            pane.add(batch, event, &self.reference);
        } else if address.is_known() && !self.is_frozen(restricted) {
            self.reference.add(address, event.status != Status::Success);
        }
    }

    /// Who called while nothing was wrong.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The concurrency cap in force.
    pub fn cap(&self) -> Option<u32> {
        Some(self.cap).filter(|&cap| cap != UNCAPPED)
    }

    /// Notes the concurrency cap in force.
    pub fn set_cap(&mut self, cap: Option<u32>) {
        self.cap = cap.unwrap_or(UNCAPPED);
    }

    /// Whether nobody has watched for long enough to know anything: then nothing is said, since
    /// any busy function looks like a flood.
    fn is_cold(&self, around: &Surroundings<'_>) -> bool {
        !self.has_past && self.closed() - around.began < 60 * i64::from(YOUNG_MINUTES)
    }

    /// Whether the function has a baseline.
    fn is_warm(&self) -> bool {
        self.baseline.minutes() >= YOUNG_MINUTES
    }

    /// Notes a request that was turned away.
    pub fn turned_away(&mut self, event: &Event, reason: RefusalReason) {
        match &mut self.alarm {
            Some(alarm) => alarm.turned_away(event, reason),
            None => self.refusals.note(),
        }
    }

    /// The alarm has closed: learning goes on, and the channel that spoke starts anew.
    pub fn alarm_is_over(&mut self, calling: &Calling<'_>, around: &Surroundings<'_>) {
        let Some(alarm) = self.alarm.take() else {
            return;
        };
        // What led to a page is not to be learned.
        if alarm.severity == Severity::Page {
            self.baseline.discard();
            (self.minute_calls, self.minute_squares) = (0, 0.0);
        }
        self.restart(alarm.channel);
        self.retune(calling, around);
    }

    /// Evidence has gone: the names that were noted meanwhile are forgotten.
    pub fn calm_down(&mut self) {
        if self.alarm.is_none() && self.evidence.is_at_rest() {
            self.pane = None;
        }
    }

    /// Whether it has nothing to remember.
    pub fn is_idle(&self, now: i64) -> bool {
        self.alarm.is_none()
            && self.pane.is_none()
            && self.ledger.is_none()
            && now - self.served.newest() >= IDLE_SECONDS
            && self.baseline.allowed(minute_of(self.closed())) < FORGETTABLE
    }
}

/// Minutes since the epoch; event time has a range that they fit in.
fn minute_of(second: i64) -> u32 {
    u32::try_from(second.div_euclid(60)).unwrap_or(1)
}

/// Seconds since the epoch; the range of event time ends before they would overflow.
fn whole_second(second: i64) -> u32 {
    u32::try_from(second).unwrap_or(0)
}

kept!(Watch {
    calls,
    next_check,
    next_value,
    closed,
    alarm,
    pane,
    served,
    size,
    retry,
    own_calls,
    has_past,
    recursion,
    yoyo,
    evidence,
    model,
    onset,
    minute_calls,
    minute_squares,
    refusals,
    tolerance,
    cap,
    ledger,
    baseline,
    share,
    reference,
});
