//! Dead letters to a Kafka topic: the value is the message as it came, the headers say the rest.
//!
//! Sending never waits: what finds the client's queue full, or reaches no broker in time, is
//! counted as lost.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::letter::{Letter, Sent};
use super::{Postbox, SAMPLE_BYTES_MAX};
use crate::source::kafka::token::Tokens;

/// How long a broker may be away before a letter is lost.
const DELIVERY_TIMEOUT_MS: &str = "30000";

/// How long a stop waits for the last ones; together with the rest of a stop it must stay below
/// what container runtimes allow.
const FLUSH: Duration = Duration::from_secs(1);

/// Beginnings of the input's properties that are about the way to the brokers.
const SHARED: [&str; 6] = ["broker.", "enable.ssl", "sasl.", "security.", "socket.", "ssl."];

/// Sends letters to one topic, up to a number of bytes.
pub struct Topic {
    producer: ThreadedProducer<Context>,
    topic: String,
    bytes_left: u64,
    lost: Arc<AtomicU64>,
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Counts what was not delivered.
struct Context {
    lost: Arc<AtomicU64>,
    tokens: Option<Tokens>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        Ok(self.tokens.as_ref().ok_or("nothing gives tokens")?.next()?)
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "dead letters: kafka client");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result
            && self.lost.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(%error, "a dead letter was not delivered, the next are only counted");
        }
    }
}

impl Topic {
    /// A topic of these brokers, reached as `properties` say.
    ///
    /// # Errors
    /// No client can be built from them.
    pub fn open(
        brokers: &[String],
        properties: &BTreeMap<String, String>,
        tokens: Option<Tokens>,
        topic: &str,
        bytes_max: u64,
    ) -> KafkaResult<Self> {
        let mut config = ClientConfig::new();
        for (key, value) in properties {
            if SHARED.iter().any(|beginning| key.starts_with(beginning)) {
                config.set(key, value);
            }
        }
        if tokens.is_some() {
            Tokens::prepare(&mut config);
        }
        config
            .set("bootstrap.servers", brokers.join(","))
            .set("client.id", "bursar-dead-letters")
            .set("message.timeout.ms", DELIVERY_TIMEOUT_MS)
            .set("queue.buffering.max.messages", "1000")
            .set("queue.buffering.max.kbytes", "16384")
            .set("compression.type", "zstd");
        let lost = Arc::new(AtomicU64::new(0));
        let context = Context { lost: Arc::clone(&lost), tokens };
        let producer = config.create_with_context(context)?;
        Ok(Self { producer, topic: topic.to_owned(), bytes_left: bytes_max, lost })
    }
}

impl Postbox for Topic {
    fn post(&mut self, letter: &Letter<'_>, sent: &Sent<'_>) -> bool {
        let payload = sent.payload.get(..SAMPLE_BYTES_MAX).unwrap_or(sent.payload);
        let size = payload.len() as u64;
        if size > self.bytes_left {
            self.bytes_left = 0;
            return false;
        }
        let mut headers = OwnedHeaders::new();
        for (key, value) in letter.told() {
            headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
        }
        for (key, value) in sent.headers.iter() {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = BaseRecord::<(), [u8]>::to(&self.topic).payload(payload).headers(headers);
        match self.producer.send(record) {
            Ok(()) => {
                self.bytes_left -= size;
                true
            }
            Err((error, _)) => {
                if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "a dead letter was not sent, the next are only counted");
                }
                false
            }
        }
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        if let Err(error) = self.producer.flush(FLUSH) {
            tracing::warn!(%error, "the last dead letters were not delivered");
        }
    }
}
