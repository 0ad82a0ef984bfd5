//! The calls to the service: one attempt each, with a time limit; who calls decides when to try
//! again. What can go wrong is put into words that say what to do.

use std::time::Duration;

use super::lineage::Listed;
use super::place::Place;
use super::settings::KinesisSettings;
use crate::aws::{self, Way};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};

/// Time for one attempt of a call.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// A subscription speaks every five seconds even when there is nothing to say.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Shards in one answer; 10,000 is the service's own limit, and pages are cheap.
const PAGE_SHARDS: i32 = 1_000;

/// The most shards of one stream; as many as 10,000 open ones, and those that they came from.
const SHARDS_MAX: usize = 50_000;

/// Makes calls for one stream.
#[derive(Debug, Clone)]
pub(super) struct Kinesis {
    client: Client,
    stream: String,
    region: String,
    consumer: Option<String>,
}

/// An open subscription to one shard.
pub(super) type Subscription = Box<SubscribeToShardOutput>;

/// A record as it came.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) sequence: Box<str>,
    pub(super) data: Vec<u8>,
}

/// An answer with records, perhaps none.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// The place that was come to: the last record's, or beyond where only a subscription looked.
    pub(super) through: Option<Box<str>>,
    /// How far behind the tip the answer was.
    pub(super) behind: Option<Duration>,
    /// Where the shard ends, those that follow it, if the service says.
    pub(super) children: Vec<Listed>,
    /// Where a poll goes on.
    pub(super) iterator: Option<String>,
    /// The shard has no more.
    pub(super) ended: bool,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The iterator is too old.
    Expired,
    /// The stream or the shard is not there.
    Missing(String),
    /// Anything else, in words.
    Failed(String),
}

impl Fault {
    pub(super) fn into_words(self) -> String {
        match self {
            Fault::Expired => "the iterator is too old".to_owned(),
            Fault::Missing(words) | Fault::Failed(words) => words,
        }
    }
}

impl Kinesis {
    /// Finds region and credentials; `None` where no region is known. Calls nobody but, on such a
    /// machine, the metadata service.
    pub(super) async fn find(settings: &KinesisSettings) -> Option<Self> {
        let way = Way {
            region: settings.known_region(),
            endpoint: settings.endpoint.clone(),
            attempt: ATTEMPT_TIMEOUT,
        };
        let config = aws::load(&way).await;
        let region = config.region()?.to_string();
        let (stream, consumer) = (settings.stream.clone(), settings.consumer_arn.clone());
        Some(Self { client: Client::new(&config), stream, region, consumer })
    }

    /// All shards, open and closed.
    pub(super) async fn shards(&self) -> Result<Vec<Listed>, Fault> {
        let mut listed = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let call = self.client.list_shards().max_results(PAGE_SHARDS);
            // A token stands for the stream that it came from, and tolerates no name beside it.
            let call = match (token.take(), self.arn()) {
                (Some(token), _) => call.next_token(token),
                (None, Some(arn)) => call.stream_arn(arn),
                (None, None) => call.stream_name(&self.stream),
            };
            let page = call.send().await.map_err(|error| self.fault("ListShards", &error))?;
            for shard in page.shards() {
                let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
                let range = shard.sequence_number_range();
                listed.push(Listed {
                    id: shard.shard_id().to_owned(),
                    parents: parents.into_iter().flatten().map(str::to_owned).collect(),
                    closed: range.is_some_and(|range| range.ending_sequence_number().is_some()),
                });
            }
            if listed.len() > SHARDS_MAX {
                let words = format!(
                    "kinesis: the stream {} has more than {SHARDS_MAX} shards, merge some",
                    self.stream
                );
                return Err(Fault::Failed(words));
            }
            match page.next_token() {
                Some(next) => token = Some(next.to_owned()),
                None => return Ok(listed),
            }
        }
    }

    /// An iterator at this place.
    pub(super) async fn iterator(&self, shard: &str, at: &Place) -> Result<String, Fault> {
        let call = self.client.get_shard_iterator().shard_id(shard);
        let call = match self.arn() {
            Some(arn) => call.stream_arn(arn),
            None => call.stream_name(&self.stream),
        };
        let call = match at {
            Place::Horizon | Place::End => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Place::Time(time) => call
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(time.ms())),
            Place::After(sequence) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(&**sequence),
        };
        let answer = call.send().await.map_err(|error| self.fault("GetShardIterator", &error))?;
        let none =
            || Fault::Failed("kinesis: GetShardIterator gave none, it is tried again".into());
        answer.shard_iterator.ok_or_else(none)
    }

    /// Records behind the iterator.
    pub(super) async fn records(&self, iterator: String, limit: i32) -> Result<Batch, Fault> {
        let call = self.client.get_records().shard_iterator(iterator).limit(limit);
        let call = call.set_stream_arn(self.arn().map(str::to_owned));
        let answer = call.send().await.map_err(|error| self.fault("GetRecords", &error))?;
        let records: Vec<Record> = answer.records.into_iter().map(record).collect();
        Ok(Batch {
            through: records.last().map(|record| record.sequence.clone()),
            records,
            behind: answer.millis_behind_latest.map(millis),
            children: answer.child_shards.unwrap_or_default().into_iter().map(child).collect(),
            ended: answer.next_shard_iterator.is_none(),
            iterator: answer.next_shard_iterator,
        })
    }

    /// Opens a subscription from this place on.
    pub(super) async fn subscribe(&self, shard: &str, at: &Place) -> Result<Subscription, Fault> {
        let from = StartingPosition::builder();
        let from = match at {
            Place::Horizon | Place::End => from.r#type(ShardIteratorType::TrimHorizon),
            Place::Time(time) => from
                .r#type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(time.ms())),
            Place::After(sequence) => {
                from.r#type(ShardIteratorType::AfterSequenceNumber).sequence_number(&**sequence)
            }
        };
        let from = from.build().map_err(|error| Fault::Failed(error.to_string()))?;
        let call = self.client.subscribe_to_shard().shard_id(shard).starting_position(from);
        let call = call.set_consumer_arn(self.consumer.clone());
        let opened = call.send().await.map_err(|error| self.fault("SubscribeToShard", &error))?;
        Ok(Box::new(opened))
    }

    /// What the subscription says next; `None` when it is over.
    pub(super) async fn listen(&self, open: &mut Subscription) -> Result<Option<Batch>, Fault> {
        match tokio::time::timeout(SILENCE_MAX, open.event_stream.recv()).await {
            Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => {
                Ok(Some(heard(event)))
            }
            // A kind of event that is not known yet: the subscription goes on behind it, anew.
            Ok(Ok(Some(_) | None)) => Ok(None),
            Ok(Err(error)) => Err(self.fault("SubscribeToShard", &error)),
            Err(_) => Err(Fault::Failed(format!(
                "kinesis: a subscription to {} fell silent, it is opened anew",
                self.stream
            ))),
        }
    }

    fn arn(&self) -> Option<&str> {
        self.stream.starts_with("arn:").then_some(self.stream.as_str())
    }

    /// What went wrong, and what to do about it.
    fn fault<E, R>(&self, call: &str, error: &SdkError<E, R>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let (stream, region) = (&self.stream, &self.region);
        let Some(code) = error.as_service_error().and_then(ProvideErrorMetadata::code) else {
            let cause = DisplayErrorContext(error).to_string();
            return Fault::Failed(transport(call, &cause, region));
        };
        let said = error.as_service_error().and_then(ProvideErrorMetadata::message);
        let said = said.map_or(code.to_owned(), |said| format!("{code}: {said}"));
        match code {
            "ExpiredIteratorException" => Fault::Expired,
            "ResourceNotFoundException" => Fault::Missing(format!(
                "kinesis: the stream {stream} or what is asked of it is not there in {region} \
                 ({call}: {said}), create it or correct input.kinesis.stream and region"
            )),
            "AccessDeniedException" | "KMSAccessDeniedException" => Fault::Failed(format!(
                "kinesis: access to the stream {stream} is denied ({said}), allow kinesis:{call} \
                 and, for an encrypted stream, kms:Decrypt"
            )),
            "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "IncompleteSignature" => {
                Fault::Failed(format!("kinesis: the credentials are refused ({said}), renew them"))
            }
            "InvalidArgumentException" if call == "GetShardIterator" => Fault::Failed(format!(
                "kinesis: the place to go on from is refused ({said}); if the stream {stream} was \
                 deleted and created anew, remove input.kinesis.checkpoint_file"
            )),
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "ThrottlingException"
            | "KMSThrottlingException"
            | "ResourceInUseException" => Fault::Failed(format!(
                "kinesis: {call} on {stream} is throttled ({said}), it is tried again; if this \
                     lasts, others read the shard too: give bursar a consumer of its own"
            )),
            _ => Fault::Failed(format!("kinesis: {call} failed ({said}), it is tried again")),
        }
    }
}

/// A call that got no answer.
fn transport(call: &str, cause: &str, region: &str) -> String {
    if cause.contains("redential") {
        return format!(
            "kinesis: no credentials ({cause}), set AWS_PROFILE or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or run with a role"
        );
    }
    if cause.contains("ertificate") {
        return format!(
            "kinesis: {call} met a certificate that is not trusted here ({cause}), install the \
             system's root certificates (ca-certificates), or add that of a proxy to them"
        );
    }
    format!(
        "kinesis: {call} got no answer in {region} ({cause}), check the network, \
         input.kinesis.region and input.kinesis.endpoint; it is tried again"
    )
}

fn record(record: aws_sdk_kinesis::types::Record) -> Record {
    Record { sequence: record.sequence_number.into(), data: record.data.into_inner() }
}

fn heard(event: SubscribeToShardEvent) -> Batch {
    let children = event.child_shards.unwrap_or_default();
    let through = event.continuation_sequence_number;
    Batch {
        records: event.records.into_iter().map(record).collect(),
        behind: Some(millis(event.millis_behind_latest)),
        // At the end of a shard there is nowhere to go on from.
        ended: through.is_empty() || !children.is_empty(),
        through: (!through.is_empty()).then(|| through.into()),
        children: children.into_iter().map(child).collect(),
        iterator: None,
    }
}

fn child(child: aws_sdk_kinesis::types::ChildShard) -> Listed {
    Listed { id: child.shard_id, parents: child.parent_shards, closed: false }
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
