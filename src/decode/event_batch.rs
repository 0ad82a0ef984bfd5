//! Events as AWS services hand them to a function: `{"Records":[...]}` from S3, SQS, SNS, Kinesis
//! and DynamoDB streams (AWS Lambda Developer Guide, the example events of "Using Lambda with ...";
//! Amazon S3 User Guide, "Event message structure"). Each record becomes a trigger, one that
//! cannot be read a problem of its own.
//!
//! | service | origin | who | time | identity |
//! |---|---|---|---|---|
//! | S3 | bucket ARN or name | `sourceIPAddress`, `principalId` | `eventTime` | sequencer (1) |
//! | SQS | `eventSourceARN` | `SenderId` | first received, else sent | `messageId` (2) |
//! | SNS | `TopicArn` | - | `Timestamp` | `MessageId` (3) |
//! | Kinesis | `eventSourceARN` | - | `approximateArrivalTimestamp` | `eventID` |
//! | DynamoDB | `eventSourceARN` | - | `ApproximateCreationDateTime` | `eventID` |
//!
//! Together with (1) bucket, key and event name, (2) the receive count, (3) the subscription.
//!
//! The receive count is part of the identity, because a message that is received again asks for
//! another invocation. What a record carries (`body`, `Message`, `data`, an image of a row) is
//! whatever its sender likes, and is never looked at.

use serde::Deserialize;
use sonic_rs::LazyValue;

use super::entry_point::{Owner, identity};
use super::field::Field;
use super::json;
use super::outcome::{Ignored, Reason, Refused, Sink};
use super::{Format, Place, RECORDS_MAX, time};
use crate::record::{Record, Source, Trigger, TriggerKind};
use crate::units::EventTime;

pub(super) const FORMAT: Format = Format {
    keys: &["Records"],
    array: false,
    text: |_| false,
    decode: |text, place, _, sink| decode(text, place, sink),
};

fn decode(text: &str, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
    json::check_nesting(text)?;
    let batch: Batch<'_> = json::parse(text)?;
    let records = batch.records.ok_or_else(|| Refused::missing("Records"))?;
    let mut count = 0;
    for record in json::elements("Records", &records)? {
        let record = record?;
        if count == RECORDS_MAX {
            let detail = format!("more than {RECORDS_MAX} in one message");
            return Err(Refused::new(Reason::TooManyRecords, detail));
        }
        count += 1;
        let raw = record.as_raw_str();
        let told = json::parse::<Event<'_>>(raw).and_then(|event| event.read(place, sink));
        if let Err(refused) = told {
            refused.tell(raw.as_bytes(), sink);
        }
    }
    if count == 0 {
        sink.ignored(Ignored::EmptyBatch);
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound(deserialize = "'de: 'a"))]
struct Batch<'a> {
    records: Option<LazyValue<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Event<'a> {
    #[serde(alias = "EventSource")]
    event_source: Field<'a>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: Field<'a>,
    aws_region: Field<'a>,
    event_name: Field<'a>,
    event_time: Field<'a>,
    #[serde(rename = "eventID")]
    event_id: Field<'a>,
    message_id: Field<'a>,
    #[serde(rename = "EventSubscriptionArn")]
    event_subscription_arn: Field<'a>,
    user_identity: Option<UserIdentity<'a>>,
    request_parameters: Option<RequestParameters<'a>>,
    response_elements: Option<ResponseElements<'a>>,
    s3: Option<S3<'a>>,
    attributes: Option<Attributes<'a>>,
    #[serde(rename = "Sns")]
    sns: Option<Sns<'a>>,
    kinesis: Option<Kinesis<'a>>,
    dynamodb: Option<DynamoDb<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct UserIdentity<'a> {
    principal_id: Field<'a>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct RequestParameters<'a> {
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Field<'a>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct ResponseElements<'a> {
    #[serde(rename = "x-amz-request-id")]
    request_id: Field<'a>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct S3<'a> {
    bucket: Option<Bucket<'a>>,
    object: Option<Object<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Bucket<'a> {
    name: Field<'a>,
    arn: Field<'a>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Object<'a> {
    key: Field<'a>,
    sequencer: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound(deserialize = "'de: 'a"))]
struct Attributes<'a> {
    approximate_receive_count: Field<'a>,
    approximate_first_receive_timestamp: Field<'a>,
    sent_timestamp: Field<'a>,
    sender_id: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound(deserialize = "'de: 'a"))]
struct Sns<'a> {
    message_id: Field<'a>,
    topic_arn: Field<'a>,
    timestamp: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Kinesis<'a> {
    approximate_arrival_timestamp: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound(deserialize = "'de: 'a"))]
struct DynamoDb<'a> {
    approximate_creation_date_time: Field<'a>,
}

/// What the services say in their different ways.
struct Told<'a> {
    kind: TriggerKind,
    at: EventTime,
    origin: &'a str,
    /// Tells entry points apart that lead to different functions though their origin is the same.
    route: &'a str,
    source: Source<'a>,
    request_id: Option<&'a str>,
    delivery: Option<u64>,
}

impl<'a> Event<'a> {
    fn read(&self, place: &Place<'_>, sink: &mut dyn Sink) -> Result<(), Refused> {
        let told = match self.event_source.text("eventSource")? {
            Some("aws:s3") => self.s3(place)?,
            Some("aws:sqs") => self.sqs(place)?,
            Some("aws:sns") => self.sns(place)?,
            Some("aws:kinesis") => {
                let event = part(&self.kinesis, "kinesis")?;
                let time = &event.approximate_arrival_timestamp;
                self.stream(TriggerKind::Kinesis, time, "approximateArrivalTimestamp", place)?
            }
            Some("aws:dynamodb") => {
                let event = part(&self.dynamodb, "dynamodb")?;
                let time = &event.approximate_creation_date_time;
                self.stream(TriggerKind::DynamoDb, time, "ApproximateCreationDateTime", place)?
            }
            Some(other) => {
                let detail = format!(
                    "eventSource {other:?}, accepted: aws:s3, :sqs, :sns, :kinesis, :dynamodb"
                );
                return Err(Refused::new(Reason::UnknownFormat, detail));
            }
            None => return Err(Refused::missing("eventSource")),
        };
        let mut owner = Owner::of_arn(told.origin, place)?;
        if let Some(region) = self.aws_region.text("awsRegion")? {
            owner.region = region;
        }
        sink.record(&Record::Trigger(Trigger {
            target: owner.target(place, told.origin, told.route)?,
            at: told.at,
            kind: told.kind,
            source: Source { origin: Some(told.origin), ..told.source },
            request_id: told.request_id,
            response_bytes: 0,
            delivery: told.delivery,
        }));
        Ok(())
    }

    fn s3<'s>(&'s self, place: &Place<'_>) -> Result<Told<'s>, Refused> {
        let event = part(&self.s3, "s3")?;
        let bucket = part(&event.bucket, "bucket")?;
        let name = bucket.name.text("name")?;
        let origin = bucket.arn.text("arn")?.or(name);
        let origin = origin.ok_or_else(|| Refused::missing("bucket name"))?;
        let event_name = self.event_name.text("eventName")?.unwrap_or_default();
        let mut delivery = None;
        if let Some(object) = &event.object
            && let Some(sequencer) = object.sequencer.text("sequencer")?
        {
            let key = object.key.text("key")?.unwrap_or_default();
            delivery = Some(identity(&[origin, key, sequencer, event_name]));
        }
        let mut source = Source::default();
        if let Some(identity) = &self.user_identity {
            source.principal = identity.principal_id.text("principalId")?;
        }
        if let Some(request) = &self.request_parameters {
            // A service that acts for somebody stands here with its name.
            let address = request.source_ip_address.text("sourceIPAddress")?;
            source.address = address.and_then(|text| text.parse().ok());
        }
        let request_id = match &self.response_elements {
            Some(elements) => elements.request_id.text("x-amz-request-id")?,
            None => None,
        };
        let at = written(&self.event_time, "eventTime", place)?;
        let kind = TriggerKind::S3;
        Ok(Told { kind, at, origin, route: event_name, source, request_id, delivery })
    }

    fn sqs<'s>(&'s self, place: &Place<'_>) -> Result<Told<'s>, Refused> {
        let attributes = part(&self.attributes, "attributes")?;
        let received = &attributes.approximate_first_receive_timestamp;
        let at = match millis(received, "ApproximateFirstReceiveTimestamp")? {
            Some(at) => Some(at),
            None => millis(&attributes.sent_timestamp, "SentTimestamp")?,
        };
        let count = attributes.approximate_receive_count.text("ApproximateReceiveCount")?;
        let message = self.message_id.text("messageId")?;
        Ok(Told {
            kind: TriggerKind::Sqs,
            at: at.or(place.at).ok_or_else(|| Refused::missing("SentTimestamp"))?,
            origin: self.arn()?,
            route: "",
            source: Source {
                principal: attributes.sender_id.text("SenderId")?,
                ..Source::default()
            },
            request_id: message,
            delivery: message.map(|id| identity(&[id, count.unwrap_or_default()])),
        })
    }

    fn sns<'s>(&'s self, place: &Place<'_>) -> Result<Told<'s>, Refused> {
        let event = part(&self.sns, "Sns")?;
        let message = event.message_id.text("MessageId")?;
        let subscription = self.event_subscription_arn.text("EventSubscriptionArn")?;
        let topic = event.topic_arn.text("TopicArn")?;
        Ok(Told {
            kind: TriggerKind::Sns,
            at: written(&event.timestamp, "Timestamp", place)?,
            origin: topic.ok_or_else(|| Refused::missing("TopicArn"))?,
            route: "",
            source: Source::default(),
            request_id: message,
            delivery: message.map(|id| identity(&[subscription.unwrap_or_default(), id])),
        })
    }

    fn stream<'s>(
        &'s self,
        kind: TriggerKind,
        seconds: &Field<'_>,
        name: &'static str,
        place: &Place<'_>,
    ) -> Result<Told<'s>, Refused> {
        let at = match seconds.seconds(name)? {
            Some(ms) => Some(time::epoch_ms(ms)?),
            None => place.at,
        };
        let id = self.event_id.text("eventID")?;
        Ok(Told {
            kind,
            at: at.ok_or_else(|| Refused::missing(name))?,
            origin: self.arn()?,
            route: "",
            source: Source::default(),
            request_id: id,
            delivery: id.map(|id| identity(&[id])),
        })
    }

    fn arn(&self) -> Result<&str, Refused> {
        let arn = self.event_source_arn.text("eventSourceARN")?;
        arn.ok_or_else(|| Refused::missing("eventSourceARN"))
    }
}

fn part<'s, T>(part: &'s Option<T>, name: &str) -> Result<&'s T, Refused> {
    part.as_ref().ok_or_else(|| Refused::missing(name))
}

fn written(field: &Field<'_>, name: &str, place: &Place<'_>) -> Result<EventTime, Refused> {
    match field.text(name)? {
        Some(text) => time::rfc3339(name, text),
        None => place.at.ok_or_else(|| Refused::missing(name)),
    }
}

/// Milliseconds since 1970, in a string.
fn millis(field: &Field<'_>, name: &str) -> Result<Option<EventTime>, Refused> {
    let Some(text) = field.text(name)? else {
        return Ok(None);
    };
    match text.parse() {
        Ok(ms) => time::epoch_ms(ms).map(Some),
        Err(_) => Err(Refused::malformed(name, text, "milliseconds since 1970")),
    }
}
