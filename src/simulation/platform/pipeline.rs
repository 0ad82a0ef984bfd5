//! The way of records from the platform to whoever reads them. Log events of one function are
//! collected into messages; each message takes a while, and may come late, twice, out of order or
//! not at all.

use super::entry::{Entry, EntryKind};
use super::model::PlatformSettings;
use crate::simulation::draw::Draw;
use crate::units::EventTime;

/// The most log events in one envelope: 500 REPORT lines are about 150 kB, well below the 1 MB
/// that a Kinesis record may have.
const BATCH_EVENTS_MAX: usize = 500;

/// Something that has come out of the log pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// When.
    pub at: EventTime,
    /// What.
    pub payload: Payload,
}

/// A message in the form that the settings ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// One envelope or one line.
    Text {
        /// As on the wire.
        bytes: Vec<u8>,
        /// How many records are in it.
        records: u32,
    },
    /// Records; [`super::Platform::read`] tells them.
    Entries(Vec<Entry>),
}

/// What kind of records a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// What invocations cost.
    Invocations,
    /// Who calls.
    Callers,
}

impl Delivery {
    /// Which function and what kind of records it is about, for values.
    pub fn about(&self) -> Option<(usize, Feed)> {
        let Payload::Entries(entries) = &self.payload else {
            return None;
        };
        let first = entries.first()?;
        let is_log = matches!(first.kind, EntryKind::Invocation { .. });
        let feed = if is_log { Feed::Invocations } else { Feed::Callers };
        Some((first.function as usize, feed))
    }

    /// The text of the message; empty for values.
    pub fn text(&self) -> &[u8] {
        match &self.payload {
            Payload::Text { bytes, .. } => bytes,
            Payload::Entries(_) => &[],
        }
    }

    /// How many records are in it.
    pub fn records(&self) -> u32 {
        match &self.payload {
            Payload::Text { records, .. } => *records,
            Payload::Entries(entries) => u32::try_from(entries.len()).unwrap_or(u32::MAX),
        }
    }
}

/// A message under way.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) opened: EventTime,
    /// Never empty, and of one function and one kind.
    pub(super) entries: Vec<Entry>,
    /// It comes again this much later.
    pub(super) again_ms: Option<i64>,
    /// It does not come.
    pub(super) is_lost: bool,
}

/// The message of a function that still takes log events.
#[derive(Debug, Clone, Copy)]
struct Open {
    message: u32,
    entries: usize,
    until: EventTime,
}

/// All messages under way.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    /// By function.
    open: Box<[Option<Open>]>,
    messages: Vec<Message>,
    free: Vec<u32>,
    sequence: u64,
    delays: Draw,
    faults: Draw,
    /// Messages that something goes wrong with.
    pub(super) faulty: u64,
    /// Nobody listens: messages take their time, and nothing is in them.
    is_mute: bool,
    /// When the last message of a mute pipeline would come.
    pub(super) last: EventTime,
}

impl Pipeline {
    pub(super) fn new(seed: u64, functions: usize) -> Self {
        Self {
            open: vec![None; functions].into_boxed_slice(),
            messages: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            delays: Draw::new(seed, 2),
            faults: Draw::new(seed, 5),
            faulty: 0,
            is_mute: false,
            last: EventTime::MIN,
        }
    }

    /// Nobody listens from now on.
    pub(super) fn mute(&mut self) {
        self.is_mute = true;
    }

    /// Takes a record in. Where that begins a message, gives back when it comes, and its number.
    pub(super) fn put(
        &mut self,
        now: EventTime,
        entry: Entry,
        settings: &PlatformSettings,
    ) -> Option<(EventTime, u32)> {
        self.sequence += 1;
        let entry = Entry { sequence: self.sequence, ..entry };
        let is_log = matches!(entry.kind, EntryKind::Invocation { .. });
        let function = entry.function as usize;
        if is_log && let Some(mut open) = self.open[function].filter(|open| now < open.until) {
            open.entries += 1;
            if !self.is_mute {
                self.messages[open.message as usize].entries.push(entry);
            }
            self.open[function] = (open.entries < BATCH_EVENTS_MAX).then_some(open);
            return None;
        }
        // Only log events are collected; access logs come line by line.
        let until = if is_log { now.plus_ms(i64::from(settings.batch_ms)) } else { now };
        let (delay_ms, again_ms, is_lost) = self.fortune(settings);
        let at = until.plus_ms(delay_ms);
        let number = if self.is_mute {
            self.last = self.last.max(at.plus_ms(again_ms.unwrap_or(0)));
            u32::MAX
        } else {
            self.keep(Message { opened: now, entries: vec![entry], again_ms, is_lost })
        };
        if is_log {
            self.open[function] = Some(Open { message: number, entries: 1, until });
        }
        (!self.is_mute).then_some((at, number))
    }

    /// Takes a message out.
    pub(super) fn take(&mut self, number: u32) -> Message {
        let message = &mut self.messages[number as usize];
        let function = message.entries.first().map_or(0, |entry| entry.function as usize);
        let taken = Message { entries: std::mem::take(&mut message.entries), ..*message };
        if self.open[function].is_some_and(|open| open.message == number) {
            self.open[function] = None;
        }
        self.free.push(number);
        taken
    }

    /// Keeps a message until it comes.
    pub(super) fn keep(&mut self, message: Message) -> u32 {
        if let Some(number) = self.free.pop() {
            self.messages[number as usize] = message;
            return number;
        }
        self.messages.push(message);
        u32::try_from(self.messages.len() - 1).unwrap_or(u32::MAX)
    }

    /// How long a message takes, whether it comes again, and whether it comes at all.
    fn fortune(&mut self, settings: &PlatformSettings) -> (i64, Option<i64>, bool) {
        let (low, high) = (settings.delay_ms_min, settings.delay_ms_max);
        let delay = u64::from(low) + self.delays.below(u64::from(high - low) + 1);
        let faults = &settings.faults;
        let mut delay = delay.cast_signed();
        if *faults == super::model::PipelineFaults::default() {
            return (delay, None, false);
        }
        // Five draws whatever the shares are, so that one of them does not move the others.
        let [late, how_late, duplicate, lost, reordered] = [(); 5].map(|()| self.faults.bits());
        let hits = |bits, share| crate::simulation::draw::unit(bits) < share;
        if hits(reordered, faults.reordered) {
            delay += i64::from(high);
        }
        if hits(late, faults.late) {
            let most = u64::from(faults.late_ms_max);
            delay += crate::simulation::draw::below(how_late, most + 1).cast_signed();
        }
        let again = hits(duplicate, faults.duplicate).then_some(i64::from(low.max(1)));
        let is_lost = hits(lost, faults.lost);
        let is_slow = hits(reordered, faults.reordered) || hits(late, faults.late);
        self.faulty += u64::from(is_slow || is_lost || again.is_some());
        (delay, again, is_lost)
    }
}
