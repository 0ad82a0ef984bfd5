//! Kafka: a member of a consumer group that shares the partitions of its topics, each partition a
//! lane, merged by event time.
//!
//! Nothing is committed before it is acknowledged: a message is read again after a crash rather
//! than lost. Connections are mended for ever; what is wrong meanwhile is a readiness reason.
//! A partition whose queue is full is paused, so that memory does not depend on how uneven the
//! partitions are.

mod group;
mod lanes;
mod resume;
mod settings;
mod statistics;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use self::group::{Change, Concern, Group, GroupContext};
use self::lanes::{Lanes, Lent};
use self::resume::Resume;
pub use self::settings::{KafkaSettings, PARTITION_BYTES_MIN, Start};
use self::token::Tokens;
use super::{Chunk, Clock, Headers, Lag, PeekTime, Progress, Read, Source, SourceError, headers};
use crate::decode::EVENT_HEADERS;
use crate::record::Position;
use crate::units::EventTime;

/// Time between commits: what is read again after a crash, against one small request a second.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Time between questions about a topic that was missing or forbidden.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// How long such a question may take; nothing is read meanwhile.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the brokers may take to say where a time is.
const POSITION_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages taken from the client before the next look at what can be handed out: under load the
/// client always has more, and what came first must not wait for it.
const INTAKE_MESSAGES_MAX: usize = 2_048;

/// Reads the partitions that the group gives to this member.
pub struct KafkaSource {
    settings: KafkaSettings,
    peek: PeekTime,
    clock: Clock,
    group: Arc<Group>,
    /// `None` after a close, or between a fatal error and the next client.
    consumer: Option<BaseConsumer<GroupContext>>,
    lanes: Lanes,
    /// The headers of one message.
    block: Vec<u8>,
    bytes_read: u64,
    paused: usize,
    committed_at: Duration,
    probed_at: Duration,
    /// Where to go on in partitions that were not given to this process yet.
    resume: Resume,
    closed: bool,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource")
            .field("settings", &self.settings)
            .field("group", &self.group)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

impl KafkaSource {
    /// Joins the group; brokers need not be there yet.
    ///
    /// # Errors
    /// Settings that no client can be built from.
    pub fn open(
        settings: KafkaSettings,
        peek: PeekTime,
        clock: Clock,
    ) -> Result<Self, SourceError> {
        let tokens = settings.token.clone().map(|source| Tokens::new(source, clock.wall));
        let group = Arc::new(Group::new(settings.topics.clone(), tokens));
        let consumer = join(&settings, &group)?;
        let now = (clock.elapsed)();
        Ok(Self {
            lanes: Lanes::new(settings.idle),
            settings,
            peek,
            clock,
            group,
            consumer: Some(consumer),
            block: Vec::new(),
            bytes_read: 0,
            paused: 0,
            committed_at: now,
            probed_at: now,
            resume: Resume::default(),
            closed: false,
        })
    }

    /// Before the first read: goes on behind these positions, whatever the group says.
    pub fn resume(&mut self, from: &[(String, Option<u64>)]) {
        self.resume = Resume::new(from);
    }

    /// Takes what the client has, waiting for the first of it.
    fn intake(&mut self, wait: Duration) -> Result<(), SourceError> {
        let mut arrived = None;
        let mut wait = wait;
        for _ in 0..INTAKE_MESSAGES_MAX {
            let Some(consumer) = &self.consumer else {
                return self.rejoin();
            };
            let polled = consumer.poll(wait);
            wait = Duration::ZERO;
            let mut fatal = false;
            let more = polled.is_some();
            match polled {
                None => {}
                Some(Ok(message)) => {
                    let lent = Lent {
                        topic: message.topic(),
                        partition: message.partition(),
                        offset: u64::try_from(message.offset()).unwrap_or(0),
                        headers: Headers::new(pack(&message, &mut self.block)),
                        payload: message.payload().unwrap_or_default(),
                    };
                    // After the wait for it: what is taken together arrived together.
                    let arrived = *arrived.get_or_insert_with(self.clock.wall);
                    self.group.heard_from(lent.topic);
                    self.bytes_read += lent.payload.len() as u64;
                    if let Some(lane) = self.lanes.queue(lent, self.peek, arrived) {
                        let share = share(&self.settings, &self.lanes);
                        self.paused += usize::from(pause(consumer, &mut self.lanes, lane, share));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.group.settle(&Concern::Connection);
                    self.lanes.set_caught_up(partition);
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    tracing::error!(%code, "kafka: the client broke, a new one is built");
                    fatal = true;
                }
                // The client's error callback has seen it too, with the better text.
                Some(Err(_)) => {}
            }
            if fatal {
                self.leave();
                return self.rejoin();
            }
            self.apply_changes();
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Follows what the group has given and taken.
    fn apply_changes(&mut self) {
        for change in self.group.take_changes() {
            let now = (self.clock.elapsed)();
            match change {
                Change::Given(partitions) => {
                    tracing::info!(?partitions, "kafka: partitions given to this member");
                    if !self.begin_at_time(&partitions) || !self.go_on(&partitions) {
                        // Where to begin must be known before the first message.
                        self.leave();
                        return;
                    }
                    for (topic, partition) in partitions {
                        if let Some(lane) = self.lanes.give(&topic, partition, now) {
                            self.group.begin_lane(lane, &topic, partition);
                            self.unpause(lane);
                        }
                    }
                }
                Change::Taken(partitions) => {
                    tracing::info!(?partitions, "kafka: partitions taken from this member");
                    for (topic, partition) in partitions {
                        if let Some(lane) = self.lanes.lane_of(&topic, partition) {
                            self.lanes.take_away(lane);
                        }
                    }
                }
            }
        }
    }

    /// Moves those of the partitions to the time at which to begin, if there is one, in which the
    /// group has no position. False when the brokers do not answer.
    fn begin_at_time(&self, partitions: &[(String, i32)]) -> bool {
        let (Start::At(time), Some(consumer)) = (self.settings.start, &self.consumer) else {
            return true;
        };
        let found = seek_to_time(consumer, partitions, time);
        if let Err(error) = &found {
            tracing::warn!(%error, "kafka: where to begin is not known, the group is joined anew");
        }
        found.is_ok()
    }

    /// Moves those of the partitions to where this process goes on that it was not given before.
    /// False when the brokers do not answer.
    fn go_on(&mut self, partitions: &[(String, i32)]) -> bool {
        let Some(consumer) = &self.consumer else {
            return true;
        };
        let found = self.resume.seek(consumer, partitions);
        if let Err(error) = &found {
            tracing::warn!(%error, "kafka: where to go on is not known, the group is joined anew");
        }
        found.is_ok()
    }

    fn unpause(&mut self, lane: u32) {
        let Some(entry) = self.lanes.get_mut(lane) else {
            return;
        };
        if !entry.paused {
            return;
        }
        let list = list_of(&entry.topic, entry.number);
        let Some(consumer) = &self.consumer else {
            return;
        };
        match consumer.resume(&list) {
            Ok(()) => {
                entry.paused = false;
                self.paused -= 1;
            }
            // Tried again with the next chunk.
            Err(error) => tracing::debug!(%error, "kafka: a partition was not resumed"),
        }
    }

    fn resume_emptied(&mut self) {
        if self.paused == 0 {
            return;
        }
        let low = share(&self.settings, &self.lanes) / 2;
        let emptied = self
            .lanes
            .iter()
            .filter(|(_, entry)| entry.held && entry.paused && entry.queued_bytes() <= low);
        let emptied: Vec<u32> = emptied.map(|(lane, _)| lane).collect();
        for lane in emptied {
            self.unpause(lane);
        }
    }

    fn commit(&mut self) {
        let Some(consumer) = &self.consumer else {
            return;
        };
        if let Some(list) = self.group.take_unsent()
            && let Err(error) = consumer.commit(&list, CommitMode::Async)
        {
            self.group.note_commit(&Err(error), &list);
        }
    }

    /// Asks again about topics that were missing or forbidden. The client looks for itself as
    /// well, but reports only what goes wrong.
    fn probe(&mut self) {
        let Some(consumer) = &self.consumer else {
            return;
        };
        for topic in self.group.doubtful_topics() {
            let Ok(metadata) = consumer.fetch_metadata(Some(&topic), PROBE_TIMEOUT) else {
                continue;
            };
            let well = |t: &rdkafka::metadata::MetadataTopic| {
                t.error().is_none() && !t.partitions().is_empty()
            };
            if metadata.topics().iter().any(well) {
                self.group.settle(&Concern::Topic(topic));
            }
        }
    }

    fn keep_house(&mut self, now: Duration) {
        if now.saturating_sub(self.committed_at) >= COMMIT_INTERVAL {
            self.committed_at = now;
            self.commit();
        }
        if now.saturating_sub(self.probed_at) >= PROBE_INTERVAL {
            self.probed_at = now;
            self.probe();
        }
    }

    fn rejoin(&mut self) -> Result<(), SourceError> {
        let consumer = join(&self.settings, &self.group)
            .map_err(|error| SourceError::KafkaRestart { cause: error.to_string() })?;
        self.consumer = Some(consumer);
        Ok(())
    }

    /// Leaves the group; its callbacks commit what is acknowledged.
    fn leave(&mut self) {
        self.consumer = None;
        self.apply_changes();
        let held: Vec<u32> = self.lanes.iter().map(|(lane, _)| lane).collect();
        for lane in held {
            self.lanes.take_away(lane);
            if let Some(entry) = self.lanes.get_mut(lane) {
                entry.paused = false;
            }
        }
        self.paused = 0;
        self.group.forget_assignment();
    }
}

impl Source for KafkaSource {
    fn read(&mut self, chunk: &mut Chunk, wait: Duration) -> Result<Read, SourceError> {
        chunk.clear();
        if self.closed {
            return Ok(Read::End);
        }
        let begin = (self.clock.elapsed)();
        let deadline = begin.saturating_add(wait);
        self.keep_house(begin);
        // What is queued goes first: the client prefetches meanwhile, and its own limits hold it
        // back at less cost than a pause, which throws away what was prefetched. Handing out and
        // taking in within one read would also let a partition go whose messages nobody could
        // acknowledge yet.
        self.lanes.deliver(chunk, begin);
        if chunk.is_empty() {
            self.intake(Duration::ZERO)?;
        }
        loop {
            let now = (self.clock.elapsed)();
            let held = self.lanes.deliver(chunk, now);
            self.resume_emptied();
            if !chunk.is_empty() {
                return Ok(Read::Messages);
            }
            if now >= deadline {
                return Ok(Read::Idle);
            }
            // No longer than until a silent partition is left out, or a commit is due.
            let until = held.unwrap_or(deadline).min(deadline);
            self.intake(until.saturating_sub(now).min(COMMIT_INTERVAL))?;
            self.keep_house((self.clock.elapsed)());
        }
    }

    fn lanes(&self) -> Vec<String> {
        let name = |entry: &lanes::Partition| format!("{}/{}", entry.topic, entry.number);
        self.lanes.iter().map(|(_, entry)| name(entry)).collect()
    }

    fn acknowledge(&mut self, through: &[Position]) {
        for position in through {
            let known = self.lanes.get(position.lane);
            if known.is_some_and(|entry| entry.has_delivered(position.offset))
                && let Ok(offset) = i64::try_from(position.offset)
            {
                self.group.acknowledge(position.lane, offset.saturating_add(1));
            }
        }
    }

    fn progress(&self) -> Progress {
        let known = self.group.known();
        let mut lags: Vec<Lag> =
            self.settings.topics.iter().map(|topic| Lag::none(topic)).collect();
        for (lane, entry) in self.lanes.iter().filter(|(_, entry)| entry.held) {
            let (high, uncommitted) = known.get(lane as usize).copied().unwrap_or_default();
            if let Some(of) = lags.iter_mut().find(|of| *of.input == *entry.topic) {
                of.messages += self.lanes.lag(lane, high, uncommitted);
            }
        }
        Progress {
            bytes_read: self.bytes_read,
            lags,
            brokers: self.group.brokers(),
            rebalances: self.group.rebalances(),
            missed: self.resume.missed(),
            ..Progress::default()
        }
    }

    fn readiness(&self) -> Result<(), String> {
        self.group.readiness()
    }

    fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        if self.group.is_disconnected() {
            // A commit would wait for the session timeout, longer than a stop may take.
            if self.group.take_unconfirmed(None).is_some() {
                tracing::warn!("kafka: stopped without a broker, some messages are read again");
            }
            self.group.forget_assignment();
        } else if let Some(consumer) = &self.consumer {
            self.group.commit_last(consumer, None);
        }
        self.leave();
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.close();
    }
}

fn join(
    settings: &KafkaSettings,
    group: &Arc<Group>,
) -> Result<BaseConsumer<GroupContext>, SourceError> {
    let refused = |error: KafkaError| SourceError::KafkaSettings { cause: error.to_string() };
    let config = settings.client_config()?;
    let context = GroupContext(Arc::clone(group));
    let consumer: BaseConsumer<GroupContext> =
        config.create_with_context(context).map_err(refused)?;
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(refused)?;
    Ok(consumer)
}

fn seek_to_time(
    consumer: &BaseConsumer<GroupContext>,
    partitions: &[(String, i32)],
    time: EventTime,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    let committed = consumer.committed_offsets(list, POSITION_TIMEOUT)?;
    let mut dated = TopicPartitionList::new();
    for element in committed.elements() {
        if !matches!(element.offset(), Offset::Offset(_)) {
            let time = Offset::Offset(time.ms());
            dated.add_partition_offset(element.topic(), element.partition(), time)?;
        }
    }
    if dated.count() == 0 {
        return Ok(());
    }
    let begin = consumer.offsets_for_times(dated, POSITION_TIMEOUT)?;
    for element in begin.elements() {
        element.error()?;
    }
    let moved = consumer.seek_partitions(begin, POSITION_TIMEOUT)?;
    moved.elements().iter().try_for_each(|element| element.error())
}

/// What one partition may queue.
fn share(settings: &KafkaSettings, lanes: &Lanes) -> usize {
    (settings.queue_bytes_max / lanes.held().max(1)).max(PARTITION_BYTES_MIN)
}

/// Pauses a partition that has its share; true when it was not paused before.
fn pause(
    consumer: &BaseConsumer<GroupContext>,
    lanes: &mut Lanes,
    lane: u32,
    share: usize,
) -> bool {
    let Some(entry) = lanes.get_mut(lane) else {
        return false;
    };
    if entry.paused || entry.queued_bytes() < share {
        return false;
    }
    match consumer.pause(&list_of(&entry.topic, entry.number)) {
        Ok(()) => entry.paused = true,
        // Tried again with its next message.
        Err(error) => tracing::debug!(%error, "kafka: a partition was not paused"),
    }
    entry.paused
}

/// The headers that are looked at, in one block.
fn pack<'a>(message: &BorrowedMessage<'_>, block: &'a mut Vec<u8>) -> &'a [u8] {
    block.clear();
    for header in message.headers().into_iter().flat_map(BorrowedHeaders::iter) {
        if EVENT_HEADERS.contains(&header.key) {
            headers::push(block, header.key, header.value.unwrap_or_default());
        }
    }
    block
}

fn list_of(topic: &str, partition: i32) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    list
}

#[cfg(test)]
mod tests;
