//! What the client reports on the side: partitions given and taken, offsets to commit, and what
//! is wrong. Its callbacks run inside the polls of the source's own thread; the lock is never
//! held over a call of the client.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::statistics::Statistics;
use super::token::Tokens;
use crate::source::Brokers;

/// Attempts at the last commit, and the pause between them: one second together, well below the
/// session timeout, after which the group would go on without this member.
const LAST_COMMIT_ATTEMPTS_MAX: usize = 20;
const LAST_COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// The callbacks' end of a [`Group`].
#[derive(Debug, Clone)]
pub(super) struct GroupContext(pub(super) Arc<Group>);

/// What is shared between the callbacks and the source.
#[derive(Debug)]
pub(super) struct Group {
    topics: Vec<String>,
    tokens: Option<Tokens>,
    shared: Mutex<Shared>,
    /// There are changes to take.
    changed: AtomicBool,
    /// There are standing problems.
    troubled: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    changes: Vec<Change>,
    problems: BTreeMap<Concern, String>,
    /// Indexed by lane.
    offsets: Vec<Offsets>,
    joined: bool,
    brokers: Option<Brokers>,
    rebalances: u64,
    /// Those of the present client, as of its last statistics.
    rebalances_told: u64,
}

/// Partitions that changed hands.
#[derive(Debug)]
pub(super) enum Change {
    Given(Vec<(String, i32)>),
    Taken(Vec<(String, i32)>),
}

/// What a standing problem is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    /// There is no token to show, whatever becomes of the connections.
    Token,
    Connection,
    Group,
    Topic(String),
}

#[derive(Debug)]
struct Offsets {
    topic: String,
    partition: i32,
    /// The next offset to read after everything acknowledged in this assignment.
    acknowledged: Option<i64>,
    /// Given to the client to commit, and known to be committed. A rebalance may refuse a commit,
    /// and the client tells so only to one who waits; for the others, its statistics show what is
    /// committed, and what is not by then is sent again.
    sent: Option<i64>,
    confirmed: Option<i64>,
    high: Option<u64>,
    /// What lies above the committed offset.
    uncommitted: Option<u64>,
}

impl Group {
    pub(super) fn new(topics: Vec<String>, tokens: Option<Tokens>) -> Self {
        Self {
            topics,
            tokens,
            shared: Mutex::default(),
            changed: AtomicBool::new(false),
            troubled: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes since the last call, in order.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        if self.changed.swap(false, Ordering::Relaxed) {
            std::mem::take(&mut self.lock().changes)
        } else {
            Vec::new()
        }
    }

    /// A lane was given to this member: nothing is acknowledged in it yet. Lanes are announced in
    /// the order of their numbers.
    pub(super) fn begin_lane(&self, lane: u32, topic: &str, partition: i32) {
        let mut shared = self.lock();
        let fresh = Offsets {
            topic: topic.to_owned(),
            partition,
            acknowledged: None,
            sent: None,
            confirmed: None,
            high: None,
            uncommitted: None,
        };
        match shared.offsets.get_mut(lane as usize) {
            Some(offsets) => *offsets = fresh,
            None => shared.offsets.push(fresh),
        }
    }

    /// Everything below `next` is processed; never goes back.
    pub(super) fn acknowledge(&self, lane: u32, next: i64) {
        if let Some(offsets) = self.lock().offsets.get_mut(lane as usize) {
            offsets.acknowledged = offsets.acknowledged.max(Some(next));
        }
    }

    /// Partitions were taken away: nothing in them is this member's to commit any more.
    fn end_lanes(&self, list: &TopicPartitionList) {
        for offsets in &mut self.lock().offsets {
            if list.find_partition(&offsets.topic, offsets.partition).is_some() {
                offsets.acknowledged = None;
                offsets.high = None;
                offsets.uncommitted = None;
            }
        }
    }

    /// The client was lost with everything that was to be committed through it.
    pub(super) fn forget_assignment(&self) {
        let mut shared = self.lock();
        shared.joined = false;
        for offsets in &mut shared.offsets {
            offsets.acknowledged = None;
        }
    }

    /// What was acknowledged since the last call.
    pub(super) fn take_unsent(&self) -> Option<TopicPartitionList> {
        self.take(|offsets| offsets.acknowledged > offsets.sent)
    }

    /// What is acknowledged and not confirmed, of `only` if given: for the last commit there is.
    pub(super) fn take_unconfirmed(
        &self,
        only: Option<&TopicPartitionList>,
    ) -> Option<TopicPartitionList> {
        self.take(|offsets| {
            let wanted = only.is_none_or(|only| offsets.is_in(only));
            wanted && offsets.acknowledged > offsets.confirmed
        })
    }

    fn take(&self, wanted: impl Fn(&Offsets) -> bool) -> Option<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for offsets in &mut self.lock().offsets {
            let Some(next) = offsets.acknowledged else {
                continue;
            };
            let next = Offset::Offset(next);
            if wanted(offsets)
                && list.add_partition_offset(&offsets.topic, offsets.partition, next).is_ok()
            {
                offsets.sent = offsets.acknowledged;
            }
        }
        (list.count() > 0).then_some(list)
    }

    /// Commits what is not confirmed and waits for it. While the group is still sharing out its
    /// partitions the coordinator refuses commits, so it is asked again for a while.
    pub(super) fn commit_last(
        &self,
        consumer: &BaseConsumer<GroupContext>,
        only: Option<&TopicPartitionList>,
    ) {
        for _ in 0..LAST_COMMIT_ATTEMPTS_MAX {
            let Some(list) = self.take_unconfirmed(only) else {
                return;
            };
            let result = consumer.commit(&list, CommitMode::Sync);
            self.note_commit(&result, &list);
            match result {
                Ok(()) => return,
                Err(error) if is_passing(&error) => thread::sleep(LAST_COMMIT_PAUSE),
                Err(_) => break,
            }
        }
        tracing::warn!("kafka: the last offsets were not committed, messages are read again");
    }

    /// How a commit went, partition by partition; what failed is due again.
    pub(super) fn note_commit(&self, result: &KafkaResult<()>, list: &TopicPartitionList) {
        for offsets in &mut self.lock().offsets {
            let Some(element) = list.find_partition(&offsets.topic, offsets.partition) else {
                continue;
            };
            let failed = result.as_ref().err().cloned().or(element.error().err());
            match (failed, element.offset()) {
                (None, Offset::Offset(next)) => {
                    offsets.confirmed = offsets.confirmed.max(Some(next));
                }
                (None, _) => {}
                (Some(error), _) => {
                    let (topic, partition) = (&offsets.topic, offsets.partition);
                    tracing::debug!(%error, topic, partition, "kafka: an offset is due again");
                    offsets.sent = None;
                }
            }
        }
    }

    /// Of each lane, one past the last offset that the partition is known to hold, and how many
    /// messages are not committed.
    pub(super) fn known(&self) -> Vec<(Option<u64>, Option<u64>)> {
        self.lock().offsets.iter().map(|offsets| (offsets.high, offsets.uncommitted)).collect()
    }

    /// The connections, once the client has told of them.
    pub(super) fn brokers(&self) -> Option<Brokers> {
        self.lock().brokers
    }

    /// How often partitions were given to this member or taken from it.
    pub(super) fn rebalances(&self) -> u64 {
        self.lock().rebalances
    }

    /// # Errors
    /// All standing problems, in words.
    pub(super) fn readiness(&self) -> Result<(), String> {
        let shared = self.lock();
        if !shared.problems.is_empty() {
            let reasons: Vec<&str> = shared.problems.values().map(String::as_str).collect();
            return Err(reasons.join("; "));
        }
        if !shared.joined {
            let topics = self.topics.join(", ");
            return Err(format!("kafka: waiting to be given partitions of {topics}"));
        }
        Ok(())
    }

    /// Topics with a standing problem, unless no broker can be asked about them.
    pub(super) fn doubtful_topics(&self) -> Vec<String> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let shared = self.lock();
        if shared.problems.contains_key(&Concern::Connection) {
            return Vec::new();
        }
        let topic = |concern: &Concern| match concern {
            Concern::Topic(topic) => Some(topic.clone()),
            Concern::Token | Concern::Connection | Concern::Group => None,
        };
        shared.problems.keys().filter_map(topic).collect()
    }

    pub(super) fn is_disconnected(&self) -> bool {
        self.lock().problems.contains_key(&Concern::Connection)
    }

    fn lacks_token(&self) -> bool {
        self.lock().problems.contains_key(&Concern::Token)
    }

    fn raise(&self, concern: Concern, reason: String) {
        self.troubled.store(true, Ordering::Relaxed);
        let mut shared = self.lock();
        if shared.problems.get(&concern) != Some(&reason) {
            tracing::warn!("{reason}");
            shared.problems.insert(concern, reason);
        }
    }

    /// A problem is over, if there was one.
    pub(super) fn settle(&self, concern: &Concern) {
        if !self.troubled.load(Ordering::Relaxed) {
            return;
        }
        let mut shared = self.lock();
        if let Some(reason) = shared.problems.remove(concern) {
            tracing::info!("over: {reason}");
        }
        self.troubled.store(!shared.problems.is_empty(), Ordering::Relaxed);
    }

    /// Something came from a topic, so broker and topic are well.
    pub(super) fn heard_from(&self, topic: &str) {
        if self.troubled.load(Ordering::Relaxed) {
            self.settle(&Concern::Connection);
            self.settle(&Concern::Topic(topic.to_owned()));
        }
    }

    /// The topic that an error text names; the longest, since one name may contain another.
    fn named_in(&self, reason: &str) -> Option<&String> {
        let named = self.topics.iter().filter(|topic| reason.contains(topic.as_str()));
        named.max_by_key(|topic| topic.len())
    }

    fn note(&self, change: Change) {
        let mut shared = self.lock();
        shared.changes.push(change);
        self.changed.store(true, Ordering::Relaxed);
    }
}

impl Offsets {
    fn is_in(&self, list: &TopicPartitionList) -> bool {
        list.find_partition(&self.topic, self.partition).is_some()
    }
}

/// Whether the coordinator may take the same commit a moment later.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::RebalanceInProgress
        )
    )
}

fn partitions(list: &TopicPartitionList) -> Vec<(String, i32)> {
    let elements = list.elements();
    elements.iter().map(|e| (e.topic().to_owned(), e.partition())).collect()
}

impl ConsumerContext for GroupContext {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else {
            return;
        };
        // The next owner begins at what is committed now. A lost assignment has its next owner
        // already; committing to it would move that one back.
        if !consumer.assignment_lost() {
            self.0.commit_last(consumer, Some(list));
        }
        self.0.end_lanes(list);
        self.0.note(Change::Taken(partitions(list)));
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                self.0.lock().joined = true;
                for (topic, _) in partitions(list) {
                    self.0.heard_from(&topic);
                }
                self.0.settle(&Concern::Group);
                self.0.note(Change::Given(partitions(list)));
            }
            Rebalance::Revoke(_) | Rebalance::Error(_) => {}
        }
    }
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self.0.tokens.as_ref().ok_or("nothing gives tokens")?;
        match tokens.next() {
            Ok(token) => {
                self.0.settle(&Concern::Token);
                Ok(token)
            }
            Err(error) => {
                self.0.raise(Concern::Token, format!("kafka: {error}"));
                Err(error.into())
            }
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "kafka client: {message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(facility, "kafka client: {message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, "kafka client: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "kafka client: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        let text = format!("kafka: {reason}");
        match code {
            Code::PartitionEOF => {}
            // Why they are is said before.
            Code::AllBrokersDown if self.0.is_disconnected() => {}
            Code::Authentication if self.0.lacks_token() => {}
            Code::AllBrokersDown
            | Code::Authentication
            | Code::ClusterAuthorizationFailed
            | Code::Resolve
            | Code::SaslAuthenticationFailed => self.0.raise(Concern::Connection, text),
            Code::GroupAuthorizationFailed => self.0.raise(Concern::Group, text),
            Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition => match self.0.named_in(reason) {
                Some(topic) => self.0.raise(Concern::Topic(topic.clone()), text),
                None => {
                    for topic in &self.0.topics {
                        self.0.raise(Concern::Topic(topic.clone()), text.clone());
                    }
                }
            },
            // Single connections come and go; the client mends them and logs them itself.
            _ => tracing::debug!(%error, reason, "kafka client"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let statistics: Statistics = match serde_json::from_slice(statistics) {
            Ok(statistics) => statistics,
            Err(error) => {
                tracing::debug!(%error, "kafka: statistics could not be read");
                return;
            }
        };
        if statistics.is_connected() {
            self.0.settle(&Concern::Connection);
        }
        let mut shared = self.0.lock();
        shared.brokers = Some(statistics.brokers());
        let told = statistics.rebalances();
        // A new client counts from zero.
        let before = if told < shared.rebalances_told { 0 } else { shared.rebalances_told };
        shared.rebalances += told - before;
        shared.rebalances_told = told;
        for offsets in &mut shared.offsets {
            let partition = statistics.partition(&offsets.topic, offsets.partition);
            let known = |number: i64| u64::try_from(number).ok();
            offsets.high = partition.and_then(|p| known(p.hi_offset));
            offsets.uncommitted = partition.and_then(|p| known(p.consumer_lag));
            let committed = partition.map(|p| p.committed_offset).filter(|&next| next >= 0);
            offsets.confirmed = offsets.confirmed.max(committed);
            offsets.sent = offsets.sent.min(offsets.confirmed);
        }
    }
}
