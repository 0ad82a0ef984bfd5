//! One function: what it used, and, once it is called often enough to be watched, its [`Watch`].
//!
//! Most functions of an estate are hardly ever called. They have the small form only: name, usage
//! and the last calls, at most 256 bytes; three calls within seconds or eight within an hour are
//! what it takes for a watch, and that is less than any evidence needs. A watch that has nothing to
//! remember is given up again.

use super::batch::{Batch, Event, EventKind, Timeliness};
use super::detect::Thresholds;
use super::learned::Past;
use super::partitions::key_of;
use super::rate_card::{RateCard, RateIndex};
use super::settings::DetectionSettings;
use super::watch::{Calling, Touch, Watch};
use super::window::RING;
use crate::cost::{FunctionRates, Usage};
use crate::keep::{Bytes, Keep, Unfit, ensure, kept};
use crate::record::{FunctionKey, FunctionRef};
use crate::units::{AccountId, EventTime, MbMillis, MemoryMb};

/// So many calls within [`RING`] seconds begin a watch.
const CALLS_CLOSE: usize = 3;
/// And so many within an hour.
const CALLS_AN_HOUR: u8 = 8;
/// Weight of one invocation in the mean usage per call.
const MEAN_WEIGHT: f32 = 1.0 / 64.0;
/// A function younger than this has no baseline to speak of.
pub const YOUNG_MINUTES: u32 = 10;

/// What a function's state needs to know besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Detection settings.
    pub detection: &'a DetectionSettings,
    /// Evidence at which the channels alarm.
    pub thresholds: Thresholds,
    /// First second that is still open everywhere.
    pub boundary: i64,
    /// The calendar month that event time is in. Records of the seconds around midnight count where
    /// event time stood when they came.
    pub month: i32,
    /// Since which second the engine has been watching: a function that is first seen now was
    /// silent since then, and that is a baseline too.
    pub began: i64,
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

/// What one minute can hold, in less room: no platform runs four billion calls of a function in
/// one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct MinuteUsage {
    mb_ms: MbMillis,
    response_bytes: u64,
    requests: u32,
    refused: u32,
}

impl MinuteUsage {
    fn add(&mut self, usage: &Usage) {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        self.mb_ms = self.mb_ms.plus(usage.mb_ms);
        self.response_bytes = self.response_bytes.saturating_add(usage.response_bytes);
        self.requests = self.requests.saturating_add(small(usage.requests));
        self.refused = self.refused.saturating_add(small(usage.refused));
    }

    fn whole(&self) -> Usage {
        Usage {
            requests: self.requests.into(),
            mb_ms: self.mb_ms,
            refused: self.refused.into(),
            response_bytes: self.response_bytes,
        }
    }
}

/// All that is kept of one function: at most 256 bytes with its name, and 1 KiB with its watch.
///
/// In the order in which a record needs it: there are far more functions than any cache holds.
#[derive(Debug)]
#[repr(C)]
pub struct FunctionState {
    /// Keyed hash of the name.
    pub key: u64,
    /// What is watched second by second; `None` for a function that is hardly ever called.
    pub watch: Option<Box<Watch>>,
    /// Mean MB·ms per call.
    mean_mb_ms: f32,
    /// Configured memory as last seen; 0 before the first invocation.
    pub memory_mb: u32,
    /// Where its usage is added up with that of its account.
    pub total: u32,
    month: i32,
    /// The newest minute with usage, and how many minutes before it the other one was.
    minute: u32,
    minute_usage: [MinuteUsage; 2],
    /// Usage of the present calendar month.
    pub month_usage: Usage,
    /// The seconds of the newest calls before a watch.
    recent: [u32; CALLS_CLOSE - 1],
    /// The hour in which it was last called before a watch, and how often.
    hour: u16,
    /// The second in which it was first seen.
    first_seen: u32,
    /// Price row.
    pub rate: RateIndex,
    hour_calls: u8,
    minute_before: u8,
    region_len: u8,
    /// Requests come to it through an API gateway.
    pub gateway_seen: bool,
    /// A restriction is in force, so demand may be hidden and nothing is learned.
    restricted: bool,
    /// The round of saving in which it was last written down, one of two.
    pub round: bool,
    account: AccountId,
    /// The region and the function's own name, one behind the other.
    name: Box<str>,
}

impl FunctionState {
    /// A function that is first seen with `event`; `total` is where its usage is added up.
    pub fn new(
        name: FunctionRef<'_>,
        event: &Event,
        rate: RateIndex,
        total: u32,
        around: &Surroundings<'_>,
    ) -> Self {
        let first = second_of(event.at);
        Self {
            key: event.key,
            watch: None,
            mean_mb_ms: event.mb_ms.0 as f32,
            memory_mb: event.memory_mb,
            total,
            month: around.month,
            minute: first / 60,
            minute_usage: [MinuteUsage::default(); 2],
            month_usage: Usage::ZERO,
            recent: [0; CALLS_CLOSE - 1],
            hour: 0,
            first_seen: first,
            rate,
            hour_calls: 0,
            minute_before: 0,
            region_len: u8::try_from(name.region.len()).unwrap_or(0),
            gateway_seen: event.gateway,
            restricted: false,
            round: false,
            account: name.account,
            name: [name.region, name.name].concat().into_boxed_str(),
        }
    }

    /// Reads a little of everything that a quiet invocation needs, so that it is in the cache soon;
    /// the watch is touched by itself.
    pub fn touch(&self) -> u64 {
        self.month_usage.requests ^ self.minute_usage[0].mb_ms.0
    }

    /// Its name.
    pub fn name(&self) -> FunctionRef<'_> {
        let (region, name) = self.name.split_at(self.region_len.into());
        FunctionRef { account: self.account, region, name }
    }

    /// Its name, to keep.
    pub fn to_key(&self) -> FunctionKey {
        self.name().to_key()
    }

    /// The second of its newest call.
    pub fn newest(&self) -> i64 {
        let called = i64::from(self.recent[CALLS_CLOSE - 2].max(self.first_seen));
        self.watch.as_ref().map_or(called, |watch| watch.served.newest())
    }

    /// Whether anything would be lost with it: an alarm, a restriction.
    pub fn is_needed(&self) -> bool {
        self.restricted || self.watch.as_ref().is_some_and(|watch| watch.alarm.is_some())
    }

    /// Whether a restriction is in force.
    pub fn is_restricted(&self) -> bool {
        self.restricted
    }

    /// The concurrency cap in force.
    pub fn cap(&self) -> Option<u32> {
        self.watch.as_ref().and_then(|watch| watch.cap())
    }

    /// Notes what control says of it. A function under a restriction is watched.
    pub fn direct(&mut self, restricted: bool, cap: Option<u32>, around: &Surroundings<'_>) {
        self.restricted = restricted;
        if restricted {
            self.begin_watch(around);
        }
        if let Some(watch) = &mut self.watch {
            watch.set_cap(cap);
        }
    }

    /// Takes in one record; `repeat` says that the same request has failed before.
    pub fn take(
        &mut self,
        batch: &Batch,
        event: &Event,
        repeat: bool,
        around: &Surroundings<'_>,
    ) -> Touch {
        self.account(event, around);
        match event.kind {
            EventKind::Invocation => self.invocation(batch, event, repeat, around),
            EventKind::Trigger => {
                if let Some(watch) = &mut self.watch {
                    watch.note_sources(batch, event, self.restricted);
                }
                Touch::Quiet
            }
            EventKind::Refusal(reason) => {
                if let Some(watch) = &mut self.watch {
                    watch.turned_away(event, reason);
                }
                Touch::Quiet
            }
        }
    }

    fn invocation(
        &mut self,
        batch: &Batch,
        event: &Event,
        repeat: bool,
        around: &Surroundings<'_>,
    ) -> Touch {
        let first = self.memory_mb == 0;
        if first {
            // Known so far only from triggers: the price of a call is not yet known.
            self.mean_mb_ms = event.mb_ms.0 as f32;
        }
        self.memory_mb = event.memory_mb;
        let frozen = self.watch.as_ref().is_some_and(|watch| watch.is_frozen(self.restricted));
        if !frozen {
            self.mean_mb_ms += MEAN_WEIGHT * (event.mb_ms.0 as f32 - self.mean_mb_ms);
        }
        if self.watch.is_none() && !self.is_lively(event) {
            return Touch::Quiet;
        }
        let calling = self.calling(around);
        let watch = match &mut self.watch {
            Some(watch) => watch,
            None => self.begin_watch(around),
        };
        if first {
            watch.retune(&calling, around);
        }
        watch.note_sources(batch, event, calling.restricted);
        watch.invocation(event, repeat, &calling, around)
    }

    /// Counts a call of a function without a watch, and says whether it should have one now.
    fn is_lively(&mut self, event: &Event) -> bool {
        if event.timeliness == Timeliness::Late {
            return false;
        }
        let second = second_of(event.at);
        let hour = hour_of(second);
        if hour != self.hour {
            (self.hour, self.hour_calls) = (hour, 0);
        }
        self.hour_calls = self.hour_calls.saturating_add(1);
        let oldest = self.recent[0];
        let close = oldest > 0 && i64::from(second.abs_diff(oldest)) < RING;
        if close || self.hour_calls >= CALLS_AN_HOUR {
            return true;
        }
        self.recent = [self.recent[1], second];
        self.recent.sort_unstable();
        false
    }

    /// Begins a watch with the calls before it that are still in the open.
    fn begin_watch(&mut self, around: &Surroundings<'_>) -> &mut Watch {
        let calling = self.calling(around);
        let silent_since = around.began.min(self.first_seen.into());
        let (newest, recent) = (self.newest(), self.recent);
        self.watch.get_or_insert_with(|| {
            let recent = recent.into_iter().map(i64::from);
            let recent = recent.filter(|&second| newest - second < RING);
            Box::new(Watch::new(newest, recent, silent_since, &calling, around))
        })
    }

    /// First seen by this engine, it goes on from what another has learned of it.
    pub fn go_on(&mut self, past: Past, around: &Surroundings<'_>) {
        (self.mean_mb_ms, self.memory_mb) = (past.mean_mb_ms, past.memory_mb);
        let calling = self.calling(around);
        self.begin_watch(around).go_on(past, &calling, around);
    }

    /// What was learned of it, if it is watched; all is closed that can be.
    pub fn into_past(self, around: &Surroundings<'_>) -> Option<Past> {
        let newest = self.newest();
        let (baseline, size, retry, ledger) = self.watch?.into_learned();
        Some(Past {
            until: u32::try_from(around.boundary).unwrap_or(0),
            newest: u32::try_from(newest).unwrap_or(0),
            mean_mb_ms: self.mean_mb_ms,
            memory_mb: self.memory_mb,
            baseline,
            size,
            retry,
            ledger,
        })
    }

    /// Closes every second before the boundary.
    pub fn close(&mut self, around: &Surroundings<'_>) {
        let calling = self.calling(around);
        if let Some(watch) = &mut self.watch {
            watch.close(&calling, around);
        }
    }

    /// Its alarm has closed.
    pub fn alarm_is_over(&mut self, around: &Surroundings<'_>) {
        let calling = self.calling(around);
        if let Some(watch) = &mut self.watch {
            watch.alarm_is_over(&calling, around);
        }
    }

    /// Forgets the names that were noted while evidence gathered that has gone, and gives up a
    /// watch that has nothing to remember.
    pub fn calm_down(&mut self, now: i64) {
        let Some(watch) = &mut self.watch else {
            return;
        };
        watch.calm_down();
        if !self.restricted && watch.is_idle(now) {
            self.recent = [0; CALLS_CLOSE - 1];
            self.recent[CALLS_CLOSE - 2] = u32::try_from(watch.served.newest()).unwrap_or(0);
            self.watch = None;
        }
    }

    /// How it is called and what a call costs.
    pub(super) fn calling<'a>(&self, around: &Surroundings<'a>) -> Calling<'a> {
        Calling {
            rates: self.rates(around),
            mean_mb_ms: self.mean_mb_ms(),
            restricted: self.restricted,
            used: self.month_usage,
            month: self.month,
        }
    }

    fn account(&mut self, event: &Event, around: &Surroundings<'_>) {
        let usage = event.usage();
        let minute = second_of(event.at) / 60;
        if minute > self.minute && event.timeliness == Timeliness::OnTime {
            // The sweep takes rows out well before a second roll-over could overwrite one; what
            // is left is carried along so that the sum stays whole.
            let left = self.minute_usage[1].whole();
            self.minute_before = u8::try_from(minute - self.minute).unwrap_or(u8::MAX);
            self.minute_usage[1] = self.minute_usage[0];
            self.minute_usage[1].add(&left);
            self.minute = minute;
            self.minute_usage[0] = MinuteUsage::default();
        }
        let before = self.minute.saturating_sub(self.minute_before.into());
        let late = minute == before && self.minute_usage[1] != MinuteUsage::default();
        self.minute_usage[usize::from(late)].add(&usage);
        if around.month > self.month {
            self.month = around.month;
            self.month_usage = Usage::ZERO;
        }
        self.month_usage += usage;
    }

    /// Takes out the rows of minutes that end at or before `minute`.
    pub fn take_minutes(&mut self, minute: i64) -> impl Iterator<Item = Minute> + use<> {
        let mut rows = [None, None];
        // The sweep comes every minute, so that an older one is always the last but one.
        let before = self.minute.saturating_sub(self.minute_before.into());
        for (index, number) in [(1, i64::from(before)), (0, i64::from(self.minute))] {
            if number < minute && self.minute_usage[index] != MinuteUsage::default() {
                let usage = std::mem::take(&mut self.minute_usage[index]);
                rows[1 - index] = Some(Minute { number, usage: usage.whole() });
            }
        }
        rows.into_iter().flatten()
    }

    /// Writes it down; its price row in words, since every shard numbers its own.
    pub fn keep(&self, card: &RateCard, out: &mut Vec<u8>) {
        // How long it is, for shards to which it does not belong.
        let at = out.len();
        0_u32.keep(out);
        let Self {
            key,
            watch,
            mean_mb_ms,
            memory_mb,
            total: _,
            month,
            minute,
            minute_usage,
            month_usage,
            recent,
            hour,
            first_seen,
            rate,
            hour_calls,
            minute_before,
            region_len: _,
            gateway_seen,
            restricted,
            round: _,
            account: _,
            name: _,
        } = self;
        key.keep(out);
        self.to_key().keep(out);
        (card.key(*rate).architecture(), card.priced_at(*rate)).keep(out);
        (*gateway_seen, *restricted, *hour_calls, *minute_before).keep(out);
        (*mean_mb_ms, *memory_mb, *month, *minute).keep(out);
        (*minute_usage, *month_usage, *recent).keep(out);
        (*hour, *first_seen).keep(out);
        watch.keep(out);
        let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Reads back one of those functions that `owns` says yes to, by their keys; `None` for others.
    ///
    /// # Errors
    /// That is no function.
    pub fn regain(
        from: &mut Bytes<'_>,
        card: &mut RateCard,
        owns: impl Fn(u64) -> bool,
    ) -> Result<Option<Self>, Unfit> {
        let length = from.count()?;
        let mut from = Bytes::new(from.take(length)?);
        let key = u64::regain(&mut from)?;
        if !owns(key) {
            return Ok(None);
        }
        let from = &mut from;
        let name = FunctionKey::regain(from)?;
        let name = name.as_ref();
        ensure(key_of(name) == key)?;
        let (architecture, priced_at) = Keep::regain(from)?;
        let (gateway_seen, restricted): (bool, bool) = Keep::regain(from)?;
        let (hour_calls, minute_before) = Keep::regain(from)?;
        let (mean_mb_ms, memory_mb, month, minute) = Keep::regain(from)?;
        let (minute_usage, month_usage, recent) = Keep::regain(from)?;
        let (hour, first_seen) = Keep::regain(from)?;
        let watch: Option<Box<Watch>> = Keep::regain(from)?;
        ensure(from.is_empty() && (watch.is_some() || !restricted))?;
        Ok(Some(Self {
            key,
            watch,
            mean_mb_ms,
            memory_mb,
            total: 0,
            month,
            minute,
            minute_usage,
            month_usage,
            recent,
            hour,
            first_seen,
            rate: card.resolve(&name, architecture, gateway_seen, priced_at),
            hour_calls,
            minute_before,
            region_len: u8::try_from(name.region.len()).unwrap_or(0),
            gateway_seen,
            restricted,
            round: false,
            account: name.account,
            name: [name.region, name.name].concat().into_boxed_str(),
        }))
    }

    /// The function's prices.
    pub fn rates<'a>(&self, around: &Surroundings<'a>) -> &'a FunctionRates {
        around.rates.rates(self.rate)
    }

    /// Usage that `calls` calls of the usual size would be.
    pub fn usual(&self, calls: f64) -> Usage {
        usage_of(calls, self.mean_mb_ms())
    }

    /// Mean MB·ms per call.
    pub fn mean_mb_ms(&self) -> f64 {
        self.mean_mb_ms.into()
    }

    /// Mean billed duration in milliseconds, as the usage says.
    pub fn billed_ms(&self) -> f64 {
        self.mean_mb_ms() / f64::from(self.memory_mb.max(1))
    }

    /// Configured memory.
    pub fn memory(&self) -> Option<MemoryMb> {
        MemoryMb::try_new(u64::from(self.memory_mb)).ok()
    }

    /// Seconds from when it was first seen to `now`, and how many of them it had no baseline.
    pub fn observed(&self, now: i64) -> (u64, u64) {
        let seconds = (now - i64::from(self.first_seen)).max(0).unsigned_abs();
        let has_past = self.watch.as_ref().is_some_and(|watch| watch.has_past);
        let young = if has_past { 0 } else { 60 * u64::from(YOUNG_MINUTES) };
        (seconds, seconds.min(young))
    }
}

kept!(MinuteUsage { mb_ms, response_bytes, requests, refused });

/// The hour, told from those before it for seven years.
fn hour_of(second: u32) -> u16 {
    u16::try_from(second / 3_600 % (1 << 16)).unwrap_or(0)
}

/// Seconds since the epoch; the range of event time ends before they would overflow.
/// Usage of so many calls with so many MB·ms each.
pub fn usage_of(calls: f64, mb_ms: f64) -> Usage {
    Usage {
        requests: crate::units::whole(calls),
        mb_ms: MbMillis(crate::units::whole(calls * mb_ms)),
        ..Usage::ZERO
    }
}

fn second_of(at: EventTime) -> u32 {
    u32::try_from(at.second()).unwrap_or(0)
}
