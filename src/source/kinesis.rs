//! Kinesis: all shards of one stream, each a lane, merged by event time.
//!
//! The service keeps no positions for its readers. What is acknowledged goes into a checkpoint
//! file, at most a second later; after a crash what came since is read again rather than lost.
//! Failed calls are made again for ever; what is wrong meanwhile is a readiness reason.
//!
//! Calls are made on the thread that reads: they go on while it reads or waits, and rest while it
//! is held up, which is all the back-pressure there is.

mod aggregate;
mod calls;
mod checkpoint;
mod client;
mod lanes;
mod lineage;
mod place;
mod settings;
mod shard;

use std::time::Duration;

use self::calls::{Answer, Calls};
use self::checkpoint::Checkpoint;
use self::client::{Batch, Fault, Subscription};
use self::lanes::Lanes;
use self::lineage::{Lineage, Listed};
use self::place::Place;
pub use self::settings::{KinesisSettings, POLLS_PER_SECOND_MAX, SHARD_BYTES_MIN, Start};
use self::shard::{Shard, Step, back_off};
use super::{Chunk, Clock, PeekTime, Progress, Read, Source, SourceError};
use crate::cost::StreamUse;
use crate::record::Position;
use crate::units::EventTime;

/// Time between looks at the list of shards; a reshard that is seen in the answers does not wait
/// for it.
const LIST_INTERVAL: Duration = Duration::from_secs(30);

/// The same while a shard has ended whose children are not in the list yet.
const LIST_AGAIN: Duration = Duration::from_secs(2);

/// Time between writes of the checkpoint: what is read again after a crash.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Answers with records that are on their way at a time. One holds at most 10 MB, commonly what
/// its shard may queue.
const FETCHES_MAX: usize = 8;

/// A source with nothing to hand out that is further behind than this is catching up, and not idle.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// Reads the shards of a stream.
pub struct KinesisSource {
    settings: KinesisSettings,
    peek: PeekTime,
    clock: Clock,
    /// `None` before the first read, which is on the thread that it belongs to, and after a close.
    calls: Option<Calls>,
    lineage: Lineage,
    lanes: Lanes,
    /// Indexed by lane.
    shards: Vec<Shard>,
    /// Those that are not being listened to; indexed by lane.
    subscriptions: Vec<Option<Subscription>>,
    /// Lanes whose shard has ended and is not acknowledged to the end.
    ending: Vec<u32>,
    checkpoint: Checkpoint,
    /// Where shards begin that are there at the first start of all; afterwards `None`.
    start: Option<Place>,
    list: List,
    fetches: usize,
    /// The lane whose turn it is first.
    turn: usize,
    said: Option<String>,
    bytes_read: u64,
    stream: StreamUse,
    /// Up to when its hours are counted.
    held_until: Duration,
    saved_at: Duration,
    closed: bool,
}

/// Looking at the list of shards.
#[derive(Debug, Default)]
struct List {
    due: Duration,
    busy: bool,
    done: bool,
    failures: u32,
    trouble: Option<String>,
}

impl std::fmt::Debug for KinesisSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KinesisSource")
            .field("settings", &self.settings)
            .field("lineage", &self.lineage)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

impl KinesisSource {
    /// Reads the checkpoint. The stream need not be there yet.
    ///
    /// # Errors
    /// Settings that contradict themselves, or a checkpoint file that is of no use.
    pub fn open(
        settings: KinesisSettings,
        peek: PeekTime,
        clock: Clock,
    ) -> Result<Self, SourceError> {
        settings.check()?;
        let file = settings.checkpoint_file.as_deref();
        let checkpoint = Checkpoint::open(file, settings.stream_name())?;
        let start = match settings.start {
            Start::TrimHorizon => Place::Horizon,
            Start::Latest => Place::Time(EventTime::saturating_from_ms((clock.wall)().0)),
            Start::AtTimestamp(time) => Place::Time(time),
        };
        Ok(Self {
            lanes: Lanes::new(settings.idle),
            start: checkpoint.is_empty().then_some(start),
            saved_at: (clock.elapsed)(),
            settings,
            peek,
            clock,
            calls: None,
            lineage: Lineage::default(),
            shards: Vec::new(),
            subscriptions: Vec::new(),
            ending: Vec::new(),
            checkpoint,
            list: List::default(),
            fetches: 0,
            turn: 0,
            said: None,
            bytes_read: 0,
            stream: StreamUse::default(),
            held_until: (clock.elapsed)(),
            closed: false,
        })
    }

    /// Lets calls go on, at most for so long, and takes in what they have come to.
    fn run_calls(&mut self, wait: Duration) -> Result<(), SourceError> {
        let answers = match &mut self.calls {
            Some(calls) => calls.run(wait)?,
            None => Vec::new(),
        };
        for answer in answers {
            self.take_in(answer);
        }
        Ok(())
    }

    fn take_in(&mut self, answer: Answer) {
        let now = (self.clock.elapsed)();
        match answer {
            Answer::Shards(Ok(listed)) => self.on_shards(&listed, now),
            Answer::Shards(Err(fault)) => {
                let words = fault.into_words();
                self.say(&words);
                self.list.busy = false;
                self.list.due = now.saturating_add(back_off(self.list.failures, self.seed(0)));
                self.list.failures = self.list.failures.saturating_add(1);
                self.list.trouble = Some(words);
            }
            Answer::Iterator(lane, Ok(iterator)) => {
                self.shards[lane as usize].on_iterator(iterator);
            }
            Answer::Iterator(lane, Err(fault)) => self.on_fault(lane, fault, now),
            Answer::Records(lane, result) => {
                self.fetches -= 1;
                match result {
                    Ok(batch) => self.on_records(lane, batch, now),
                    Err(fault) => self.on_fault(lane, fault, now),
                }
            }
            Answer::Subscribed(lane, Ok(subscription)) => {
                self.shards[lane as usize].on_subscribed();
                self.subscriptions[lane as usize] = Some(subscription);
            }
            Answer::Subscribed(lane, Err(fault)) => self.on_fault(lane, fault, now),
            Answer::Heard(lane, subscription, Ok(Some(batch))) => {
                self.subscriptions[lane as usize] = Some(subscription);
                self.on_records(lane, batch, now);
            }
            Answer::Heard(lane, _, Ok(None)) => self.shards[lane as usize].on_unsubscribed(),
            Answer::Heard(lane, _, Err(fault)) => self.on_fault(lane, fault, now),
        }
    }

    fn on_shards(&mut self, listed: &[Listed], now: Duration) {
        self.learn(listed);
        self.lineage.forget_unlisted(listed);
        let is_listed = |id: &str| listed.iter().any(|shard| shard.id == id);
        for lane in (0..).take(self.shards.len()) {
            let name = &self.lanes.get(lane).shard;
            if self.shards[lane as usize].is_missing() && !is_listed(name) {
                tracing::warn!("kinesis: {name} is gone, what was left in it is lost");
                self.end(lane);
            }
        }
        let lineage = &self.lineage;
        self.checkpoint.retain(|id| lineage.knows(id));
        self.start = None;
        // The list may be older than the end of a shard that was seen meanwhile.
        let heirless = |&lane: &u32| !lineage.has_child(&self.lanes.get(lane).shard);
        let misses = lineage.misses_children() || self.ending.iter().any(heirless);
        let again = if misses { LIST_AGAIN } else { LIST_INTERVAL };
        self.list = List { due: now.saturating_add(again), done: true, ..List::default() };
    }

    /// Adds shards that were not known, and remembers where they begin.
    fn learn(&mut self, listed: &[Listed]) {
        for shard in listed {
            if self.lineage.knows(&shard.id) {
                self.lineage.close(shard);
                continue;
            }
            let place = match (self.checkpoint.get(&shard.id), &self.start) {
                (Some(place), _) => place.clone(),
                (None, Some(_)) if shard.closed && self.settings.start == Start::Latest => {
                    Place::End
                }
                (None, Some(start)) => start.clone(),
                (None, None) => Place::Horizon,
            };
            self.checkpoint.set(&shard.id, place.clone());
            self.lineage.add(shard, place);
        }
    }

    fn on_records(&mut self, lane: u32, batch: Batch, now: Duration) {
        let arrived = (self.clock.wall)();
        let bytes = batch.records.iter().map(|record| record.data.len()).sum();
        self.bytes_read += bytes as u64;
        batch.records.iter().for_each(|record| self.stream.record(record.data.len()));
        let answer = shard::Answer {
            through: batch.through.as_deref(),
            records: batch.records.len(),
            bytes,
            behind: batch.behind,
        };
        let shard = &mut self.shards[lane as usize];
        shard.on_records(answer, batch.iterator);
        let at_tip = shard.behind() == Some(Duration::ZERO);
        let last = batch.records.last().map(|record| record.sequence.clone());
        for record in batch.records {
            self.lanes.queue(lane, record, self.peek, arrived);
        }
        if let Some(through) = batch.through
            && last.as_ref() != Some(&through)
        {
            self.lanes.pass(lane, through, arrived);
        }
        if batch.ended {
            // An answer that names the children saves the wait for the list.
            self.learn(&batch.children);
            self.end(lane);
            self.list.due = now;
        } else if at_tip && !self.lineage.is_closed(&self.lanes.get(lane).shard) {
            self.lanes.set_caught_up(lane);
        }
    }

    fn on_fault(&mut self, lane: u32, fault: Fault, now: Duration) {
        let shard = &mut self.shards[lane as usize];
        if matches!(fault, Fault::Expired) {
            tracing::debug!(shard = self.lanes.get(lane).shard, "kinesis: an iterator expired");
            shard.on_expired();
            return;
        }
        let missing = matches!(fault, Fault::Missing(_));
        if missing {
            self.list.due = self.list.due.min(now.saturating_add(LIST_AGAIN));
        }
        let words = fault.into_words();
        shard.on_failure(now, words.clone(), missing);
        self.say(&words);
    }

    fn end(&mut self, lane: u32) {
        self.shards[lane as usize].end();
        self.subscriptions[lane as usize] = None;
        self.lanes.end(lane);
        self.ending.push(lane);
    }

    /// Warns, but not of the same again.
    fn say(&mut self, words: &str) {
        if self.said.as_deref() != Some(words) {
            tracing::warn!("{words}");
            self.said = Some(words.to_owned());
        }
    }

    /// Notes what is done, begins with shards whose turn has come, writes the checkpoint.
    fn keep_house(&mut self, now: Duration) {
        self.hold(now);
        self.settle();
        for (shard, place) in self.lineage.begin_due() {
            tracing::info!(shard, ?place, "kinesis: reading a shard");
            let lane = self.lanes.add(shard, now);
            let seed = self.seed(u64::from(lane) + 1);
            self.shards.push(Shard::new(place, self.settings.manner(), seed));
            self.subscriptions.push(None);
        }
        if now.saturating_sub(self.saved_at) >= SAVE_INTERVAL {
            self.saved_at = now;
            self.checkpoint.save();
        }
    }

    /// Counts the time for which the stream has been there, in whole milliseconds.
    fn hold(&mut self, now: Duration) {
        let ms = now.saturating_sub(self.held_until).as_millis();
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        self.held_until = self.held_until.saturating_add(Duration::from_millis(ms));
        let shards = self.reading().count();
        self.stream.hold(shards, ms);
    }

    /// Leaves shards that were handed out to their end. Their children must begin before anything
    /// more is handed out: between a parent and its children nobody would hold the others back.
    fn settle(&mut self) {
        for (lane, sequence) in self.lanes.take_done() {
            let place = Place::After(sequence);
            self.checkpoint.set(&self.lanes.get(lane).shard, place);
        }
        let (lanes, lineage) = (&mut self.lanes, &mut self.lineage);
        self.ending.retain(|&lane| {
            let entry = lanes.get(lane);
            if !entry.is_drained() {
                return true;
            }
            lineage.finish(&entry.shard);
            let (settled, left) = (entry.is_settled(), lineage.has_child(&entry.shard));
            if settled {
                self.checkpoint.set(&entry.shard, Place::End);
            }
            if left {
                lanes.leave(lane);
            }
            !(settled && left)
        });
    }

    /// Makes the calls that are due; gives the moment at which the next one is.
    fn make_calls(&mut self, now: Duration) -> Option<Duration> {
        let share = self.share();
        let calls = self.calls.as_mut()?;
        let mut next = None;
        if !self.list.busy {
            if self.list.due <= now {
                self.list.busy = true;
                calls.shards();
            } else {
                next = Some(self.list.due);
            }
        }
        let count = self.shards.len();
        for lane in (self.turn..count).chain(0..self.turn.min(count)) {
            let shard = &mut self.shards[lane];
            let id = u32::try_from(lane).unwrap_or(u32::MAX);
            let entry = self.lanes.get(id);
            // Half a share is left empty first, so that answers are not many and small.
            let queued = entry.queued_bytes();
            let room = if queued > share / 2 { 0 } else { share - queued };
            match shard.step(now, room) {
                Step::Rest => {}
                Step::Wait(until) => next = Some(next.map_or(until, |next| until.min(next))),
                Step::Iterator(place) => {
                    calls.iterator(id, entry.shard.clone(), place);
                    shard.asked(now);
                }
                Step::Records { iterator, limit } => {
                    if self.fetches == FETCHES_MAX {
                        self.turn = lane;
                        return next;
                    }
                    self.fetches += 1;
                    calls.records(id, iterator, limit);
                    shard.asked(now);
                }
                Step::Subscribe(place) => {
                    calls.subscribe(id, entry.shard.clone(), place);
                    shard.asked(now);
                }
                Step::Listen => {
                    if let Some(open) = self.subscriptions[lane].take() {
                        calls.listen(id, open);
                    }
                    shard.listening();
                }
            }
        }
        next
    }

    /// What one shard may queue.
    fn share(&self) -> usize {
        (self.settings.queue_bytes_max / self.reading().count().max(1)).max(SHARD_BYTES_MIN)
    }

    /// How far the shard that is furthest behind is behind its tip.
    fn behind(&self) -> Option<Duration> {
        self.reading().filter_map(Shard::behind).max()
    }

    fn reading(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter(|shard| !shard.has_ended())
    }

    /// Differs between processes and shards.
    fn seed(&self, shard: u64) -> u64 {
        (self.clock.wall)().0.unsigned_abs().rotate_left(20) ^ shard
    }
}

impl Source for KinesisSource {
    fn read(&mut self, chunk: &mut Chunk, wait: Duration) -> Result<Read, SourceError> {
        chunk.clear();
        if self.closed {
            return Ok(Read::End);
        }
        if self.calls.is_none() {
            // Calls belong to the thread that makes them.
            self.calls = Some(Calls::open(&self.settings)?);
        }
        let deadline = (self.clock.elapsed)().saturating_add(wait);
        loop {
            let now = (self.clock.elapsed)();
            let held = self.lanes.deliver(chunk, now);
            self.keep_house(now);
            let due = self.make_calls(now);
            if !chunk.is_empty() {
                self.run_calls(Duration::ZERO)?;
                return Ok(Read::Messages);
            }
            if now >= deadline {
                return Ok(Read::Idle);
            }
            let until = [held, due].into_iter().flatten().fold(deadline, Duration::min);
            self.run_calls(until.saturating_sub(now))?;
        }
    }

    fn lanes(&self) -> Vec<String> {
        let stream = self.settings.stream_name();
        self.lanes.iter().map(|lane| format!("{stream}/{}", lane.shard)).collect()
    }

    fn acknowledge(&mut self, through: &[Position]) {
        for &position in through {
            self.lanes.acknowledge(position);
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            bytes_read: self.bytes_read,
            behind: self.behind(),
            stream: self.stream,
            ..Progress::default()
        }
    }

    fn readiness(&self) -> Result<(), String> {
        if let Some(trouble) = &self.list.trouble {
            return Err(trouble.clone());
        }
        let stream = self.settings.stream_name();
        if !self.list.done {
            return Err(format!("kinesis: waiting for the list of the shards of {stream}"));
        }
        let mut troubles = self.reading().filter_map(Shard::trouble);
        if let Some(first) = troubles.next() {
            let count = 1 + troubles.count();
            return Err(format!("{count} of {} shards: {first}", self.reading().count()));
        }
        if self.reading().any(|shard| shard.behind().is_none()) {
            return Err(format!("kinesis: waiting for the first answer of shards of {stream}"));
        }
        match self.behind() {
            Some(behind) if behind > BEHIND_MAX => {
                Err(format!("kinesis: {stream} is read {} s behind its tip", behind.as_secs()))
            }
            _ => Ok(()),
        }
    }

    fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.settle();
        self.checkpoint.save();
        if let Some(calls) = self.calls.take() {
            calls.close();
        }
    }
}

impl Drop for KinesisSource {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
