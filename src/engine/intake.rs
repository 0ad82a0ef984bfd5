//! The door of the engine: records get their function, their place in the input's order and their
//! timeliness, and are sorted into the batches of the shards. Event time moves here and nowhere
//! else, so every shard sees the same ticks at the same places.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::batch::{Batch, Event, EventBody, EventKind, Timeliness};
use super::frontier::{AHEAD_SECONDS, Frontier};
use super::partitions::{key_of, partition_of, shard_of};
use super::routes::Routes;
use crate::keep::{Bytes, Keep, Unfit, ensure};
use crate::record::{
    FunctionRef, Invocation, Position, Record, Source, Status, Target, Trigger, TriggerKind,
};
use crate::units::{BilledMs, EventTime};

/// The most records that may wait for event time to reach them.
const WAITING_MAX: usize = 65_536;
/// A live record may be this far ahead of the wall clock: clocks differ.
const SKEW_MS: i64 = 60_000;
/// At the end of an input, records further ahead than this are refused.
const TAIL_DAYS: i64 = 366;

/// What became of one record at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is in a batch.
    Taken,
    /// It is ahead of event time and waits.
    Waits,
    /// An access-log line whose function is not known.
    Unrouted,
    /// Its time lies in the future of the wall clock.
    Future,
}

/// Counts of what was not passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntakeCounters {
    /// Access-log lines whose function is not known.
    pub unrouted: u64,
    /// Records refused because their time lies too far ahead.
    pub future: u64,
}

/// The state of the door.
#[derive(Debug)]
pub struct Intake {
    routes: Routes,
    door: Door,
    newest: Option<EventTime>,
    unrouted: u64,
}

/// Where records wait or pass; apart from the routes, which lend it names.
#[derive(Debug)]
struct Door {
    frontier: Frontier,
    lateness_seconds: i64,
    sequence: u64,
    waiting: Batch,
    waiting_earliest: EventTime,
    batches: Vec<Batch>,
    first: Option<EventTime>,
    future: u64,
    refused: Vec<(Position, EventTime)>,
}

impl Intake {
    /// A door for `shards` shards.
    pub fn new(routes: Routes, lateness_seconds: u32, shards: usize) -> Self {
        Self {
            routes,
            door: Door {
                frontier: Frontier::default(),
                lateness_seconds: i64::from(lateness_seconds),
                sequence: 0,
                waiting: Batch::default(),
                waiting_earliest: EventTime::MAX,
                batches: (0..shards.max(1)).map(|_| Batch::default()).collect(),
                first: None,
                future: 0,
                refused: Vec::new(),
            },
            newest: None,
            unrouted: 0,
        }
    }

    /// Takes in one record; `wall` is the wall clock where the input is live.
    pub fn record(
        &mut self,
        record: &Record<'_>,
        position: Position,
        wall: Option<EventTime>,
    ) -> Entry {
        if wall.is_some_and(|wall| record.at().since_ms(wall) > SKEW_MS) {
            self.door.future += 1;
            return Entry::Future;
        }
        let entry = match record {
            Record::Invocation(invocation) => self.invocation(invocation, position),
            Record::Trigger(trigger) => self.trigger(trigger, EventKind::Trigger, position),
            Record::Refusal(refusal) => {
                self.trigger(&refusal.trigger, EventKind::Refusal(refusal.reason), position)
            }
        };
        if entry != Entry::Unrouted {
            let at = record.at();
            self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        }
        entry
    }

    /// One message has been taken in whole. Returns how far event time has come, once that is
    /// known.
    pub fn message(&mut self) -> Option<EventTime> {
        if let Some(newest) = self.newest.take() {
            self.door.frontier.message(newest);
        }
        self.door.frontier.now()
    }

    /// The input is silent before enough messages have come to tell the time: what has come must
    /// do.
    pub fn begin(&mut self) -> Option<EventTime> {
        if self.door.frontier.now().is_none() {
            self.door.frontier.begin();
        }
        self.door.frontier.now()
    }

    /// Moves event time by the driver's clock while the input is silent.
    pub fn idle(&mut self, to: EventTime) -> Option<EventTime> {
        self.door.frontier.now()?;
        Some(self.door.frontier.advance(to))
    }

    /// Lets in the records that waited and that event time has reached by now.
    pub fn release(&mut self) {
        let Some(now) = self.door.frontier.now() else {
            return;
        };
        let reach = now.plus_ms(AHEAD_SECONDS * 1_000);
        if self.door.waiting.is_empty() || self.door.waiting_earliest > reach {
            return;
        }
        let waiting = std::mem::take(&mut self.door.waiting);
        self.door.waiting_earliest = EventTime::MAX;
        for event in waiting.events() {
            if event.at <= reach {
                let timeliness = self.door.timeliness(event.at, now);
                self.door.admit(&waiting, event, timeliness);
            } else {
                self.door.waiting_earliest = self.door.waiting_earliest.min(event.at);
                self.door.waiting.copy(&waiting, event, event.sequence, event.timeliness);
            }
        }
    }

    /// The input has ended: lets in what still waits, as late. It counts in totals and spend, and
    /// moves no time: a few last records cannot vouch for one another. What is absurdly far ahead
    /// is refused.
    pub fn admit_rest(&mut self) {
        let Some(now) = self.door.frontier.now() else {
            return;
        };
        let waiting = std::mem::take(&mut self.door.waiting);
        self.door.waiting_earliest = EventTime::MAX;
        for event in waiting.events() {
            if event.at.since_ms(now) > TAIL_DAYS * 86_400_000 {
                self.door.refuse(event.position, event.at);
            } else {
                self.door.admit(&waiting, event, Timeliness::Late);
            }
        }
    }

    /// Records that waited for event time and that it never came near: where they stood, and their
    /// time. To be taken after every message.
    pub fn take_refused(&mut self) -> impl Iterator<Item = (Position, EventTime)> {
        self.door.refused.drain(..)
    }

    /// The filled batches, one a shard; the caller clears them.
    pub fn batches(&mut self) -> &mut [Batch] {
        &mut self.door.batches
    }

    /// How many records are in the batches.
    pub fn batched(&self) -> usize {
        self.door.batches.iter().map(Batch::len).sum()
    }

    /// Whether a batch's text is near its end.
    pub fn is_full(&self) -> bool {
        self.door.batches.iter().any(Batch::is_full)
    }

    /// Place in the input: the number of records so far.
    pub fn sequence(&self) -> u64 {
        self.door.sequence
    }

    /// How far event time has come.
    pub fn now(&self) -> Option<EventTime> {
        self.door.frontier.now()
    }

    /// Event time of the earliest record that was on time.
    pub fn first(&self) -> Option<EventTime> {
        self.door.first
    }

    /// Counts of what was not passed on.
    pub fn counters(&self) -> IntakeCounters {
        IntakeCounters { unrouted: self.unrouted, future: self.door.future }
    }

    /// Writes the door down; between two messages, with empty batches.
    pub fn keep(&self, out: &mut Vec<u8>) {
        debug_assert!(self.batched() == 0 && self.newest.is_none(), "between two messages");
        let Self { routes, door, newest: _, unrouted } = self;
        let Door {
            frontier,
            lateness_seconds: _,
            sequence,
            waiting,
            waiting_earliest,
            batches: _,
            first,
            future,
            refused: _,
        } = door;
        routes.keep(out);
        unrouted.keep(out);
        frontier.keep(out);
        (*sequence, *first, *future).keep(out);
        waiting.keep(out);
        waiting_earliest.keep(out);
    }

    /// Goes on from there.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.routes.regain(from)?;
        self.unrouted = Keep::regain(from)?;
        let door = &mut self.door;
        door.frontier = Keep::regain(from)?;
        (door.sequence, door.first, door.future) = Keep::regain(from)?;
        door.waiting = Keep::regain(from)?;
        door.waiting_earliest = Keep::regain(from)?;
        ensure(door.waiting.len() <= WAITING_MAX)
    }

    fn invocation(&mut self, invocation: &Invocation<'_>, position: Position) -> Entry {
        self.routes.invocation(&invocation.function, invocation.request_id);
        let version = invocation.version.map_or(0, |version| {
            // Zero means unknown; the low half is as good a hash as any.
            u32::try_from(xxh3_64(version.as_bytes()) & 0xffff_ffff).unwrap_or(1).max(1)
        });
        let body = EventBody {
            sequence: 0,
            position,
            at: invocation.at,
            delivery: invocation.delivery.unwrap_or(0),
            request: request_of(invocation.request_id),
            billed: invocation.billed,
            memory: Some(invocation.memory),
            response_bytes: 0,
            version,
            kind: EventKind::Invocation,
            timeliness: Timeliness::OnTime,
            gateway: false,
            status: invocation.status,
            architecture: invocation.architecture.unwrap_or_default(),
        };
        let source = invocation.source.unwrap_or_default();
        self.door.enter(invocation.function, body, &source, "")
    }

    fn trigger(&mut self, trigger: &Trigger<'_>, kind: EventKind, position: Position) -> Entry {
        let (request_id, path) = match &trigger.target {
            Target::Function(_) => (trigger.request_id, ""),
            // The function's own id; an API has another for itself.
            Target::Route(route) => (route.lambda_request_id.or(trigger.request_id), route.route),
        };
        let body = EventBody {
            sequence: 0,
            position,
            at: trigger.at,
            delivery: trigger.delivery.unwrap_or(0),
            request: request_of(request_id),
            billed: BilledMs::default(),
            memory: None,
            response_bytes: trigger.response_bytes,
            version: 0,
            kind,
            timeliness: Timeliness::OnTime,
            gateway: trigger.kind == TriggerKind::ApiGateway,
            status: Status::Success,
            architecture: crate::record::Architecture::default(),
        };
        match trigger.target {
            Target::Function(function) => self.door.enter(function, body, &trigger.source, path),
            Target::Route(route) => match self.routes.resolve(&route) {
                Some(function) => self.door.enter(function, body, &trigger.source, path),
                None => {
                    self.unrouted += 1;
                    Entry::Unrouted
                }
            },
        }
    }
}

/// See [`Event::request`].
fn request_of(id: Option<&str>) -> u64 {
    id.filter(|id| !id.is_empty()).map_or(0, |id| xxh3_64(id.as_bytes()).max(1))
}

impl Door {
    fn enter(
        &mut self,
        function: FunctionRef<'_>,
        body: EventBody,
        source: &Source<'_>,
        route: &str,
    ) -> Entry {
        let key = key_of(function);
        // A log event's id is unique within its log group only, that is, within its function.
        let delivery = match body.delivery {
            0 => 0,
            id => xxh3_64_with_seed(&id.to_le_bytes(), key).max(1),
        };
        let body = EventBody { delivery, ..body };
        let now = self.frontier.now();
        let reach = now.map(|now| now.plus_ms(AHEAD_SECONDS * 1_000));
        if reach.is_none_or(|reach| body.at > reach) {
            if self.waiting.len() >= WAITING_MAX || self.waiting.is_full() {
                self.refuse_waiting();
            }
            self.waiting_earliest = self.waiting_earliest.min(body.at);
            self.waiting.push(function, key, body, source, route);
            return Entry::Waits;
        }
        let timeliness = now.map_or(Timeliness::OnTime, |now| self.timeliness(body.at, now));
        self.sequence += 1;
        self.note_first(body.at, timeliness);
        let body = EventBody { sequence: self.sequence, timeliness, ..body };
        let shard = shard_of(partition_of(key), self.batches.len());
        self.batches[shard].push(function, key, body, source, route);
        Entry::Taken
    }

    fn admit(&mut self, waiting: &Batch, event: &Event, timeliness: Timeliness) {
        self.sequence += 1;
        self.note_first(event.at, timeliness);
        let shard = shard_of(partition_of(event.key), self.batches.len());
        self.batches[shard].copy(waiting, event, self.sequence, timeliness);
    }

    fn timeliness(&self, at: EventTime, now: EventTime) -> Timeliness {
        if at.second() < now.second() - self.lateness_seconds {
            Timeliness::Late
        } else {
            Timeliness::OnTime
        }
    }

    fn note_first(&mut self, at: EventTime, timeliness: Timeliness) {
        if timeliness == Timeliness::OnTime {
            self.first = Some(self.first.map_or(at, |first| first.min(at)));
        }
    }

    fn refuse(&mut self, position: Position, at: EventTime) {
        self.future += 1;
        self.refused.push((position, at));
    }

    fn refuse_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_earliest = EventTime::MAX;
        for event in waiting.events() {
            self.refuse(event.position, event.at);
        }
    }
}
