//! Decisions posted to other programs, signed: people's chat, a runbook, or a platform that bursar
//! has no hand for and that carries out what it is told.
//!
//! Every target has a thread and a short queue of its own, so that one that hangs holds up neither
//! detection nor another target. Redirects are not followed: a signed body goes where the settings
//! say and nowhere else.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio_rustls::rustls::crypto::ring;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::units::EventTime;

/// Decisions that wait for one target; of more, the newest are dropped and counted.
const WAITING_MAX: usize = 256;
/// One attempt, from looking up the name to the last byte of the answer.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Waits between attempts; after the last it is given up.
const BACK_OFF: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// A stop waits so long for what is still to be told.
const FAREWELL: Duration = Duration::from_secs(2);
/// What is read of an answer.
const ANSWER_BYTES_MAX: u64 = 4 << 10;
/// A secret is worth its name from 128 bits on.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=4_096;

/// Where decisions go, and by whose secret they are signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Where to.
    pub url: String,
    /// The file of the secret that both sides know.
    pub secret_file: PathBuf,
}

/// A target that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The secret cannot be read.
    #[error("webhooks.secret_file {path} cannot be read ({cause})")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The secret is none.
    #[error("webhooks.secret_file {path} does not hold 16 to 4096 bytes; `openssl rand -hex 32`")]
    Weak {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses a thread.
    #[error("no thread for a webhook ({0})")]
    Thread(#[from] std::io::Error),
}

/// What became of a decision at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It was taken.
    Delivered,
    /// It was taken and carried out, the answer says.
    Acknowledged {
        /// Of the decision.
        id: String,
        /// The host that says so.
        by: String,
        /// What it has to say.
        detail: String,
    },
    /// It was not.
    Failed,
}

struct Message {
    id: String,
    body: Arc<str>,
}

/// Posts decisions to all targets.
pub struct Messenger {
    targets: Vec<Sender<Message>>,
    over: Vec<Receiver<()>>,
}

impl std::fmt::Debug for Messenger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messenger").field("targets", &self.targets.len()).finish()
    }
}

impl Messenger {
    /// With a thread for each target, which tells `heard` what became of every decision.
    ///
    /// # Errors
    /// A secret that is of no use, or no thread.
    pub fn start(
        targets: &[Target],
        clock: fn() -> EventTime,
        heard: impl Fn(Delivery) + Clone + Send + 'static,
    ) -> Result<Self, WebhookError> {
        let (mut queues, mut over) = (Vec::new(), Vec::new());
        for target in targets {
            let secret = secret(&target.secret_file)?;
            let (queue, waiting) = bounded(WAITING_MAX);
            let (done, is_over) = bounded(0);
            let post = Post { url: target.url.clone(), secret, agent: agent(), clock };
            let heard = heard.clone();
            Builder::new().name("webhook".into()).spawn(move || {
                for message in waiting {
                    heard(post.deliver(&message));
                }
                drop(done);
            })?;
            queues.push(queue);
            over.push(is_over);
        }
        Ok(Self { targets: queues, over })
    }

    /// Hands a decision to every target; how many had no room for it.
    pub fn tell(&self, id: &str, decision: &Value) -> usize {
        let body: Arc<str> = decision.to_string().into();
        let full = self.targets.iter().filter(|queue| {
            let message = Message { id: id.to_owned(), body: Arc::clone(&body) };
            queue.try_send(message).is_err()
        });
        full.count()
    }
}

impl Drop for Messenger {
    /// What waits is told for as long as a stop can wait.
    fn drop(&mut self) {
        self.targets.clear();
        let deadline = crossbeam_channel::after(FAREWELL);
        for over in &self.over {
            crossbeam_channel::select! {
                recv(over) -> _ => {}
                recv(deadline) -> _ => return,
            }
        }
    }
}

/// Whether the secret is there and is one.
///
/// # Errors
/// What is wrong with it.
pub fn check(target: &Target) -> Result<(), WebhookError> {
    secret(&target.secret_file).map(drop)
}

fn secret(path: &Path) -> Result<Vec<u8>, WebhookError> {
    let read = std::fs::read(path);
    let secret = read.map_err(|cause| WebhookError::Unreadable { path: path.to_owned(), cause })?;
    let secret = secret.trim_ascii().to_vec();
    match SECRET_BYTES.contains(&secret.len()) {
        true => Ok(secret),
        false => Err(WebhookError::Weak { path: path.to_owned() }),
    }
}

/// The signature's header: `t=SECONDS,v1=HEX`, where `v1` is the HMAC-SHA256 of `SECONDS.BODY`.
/// With the time in it, a receiver can refuse what is older than a few minutes, so that what was
/// overheard cannot be sent again.
pub fn signature(secret: &[u8], at: EventTime, body: &str) -> String {
    let seconds = at.second();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        // HMAC takes keys of any length.
        return String::new();
    };
    mac.update(format!("{seconds}.{body}").as_bytes());
    let digits = mac.finalize().into_bytes();
    let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={digits}")
}

fn agent() -> Agent {
    let found = rustls_native_certs::load_native_certs();
    let roots = found.certs.iter().map(|root| Certificate::from_der(root).to_owned());
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(ATTEMPT))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("bursar/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

struct Post {
    url: String,
    secret: Vec<u8>,
    agent: Agent,
    clock: fn() -> EventTime,
}

/// What came of one attempt.
enum Attempt {
    Taken(String),
    /// It makes sense to try again.
    Later(String),
    Refused(String),
}

impl Post {
    fn deliver(&self, message: &Message) -> Delivery {
        let host = self.host();
        let mut waits = BACK_OFF.iter();
        loop {
            let why = match self.attempt(message) {
                Attempt::Taken(answer) => return acknowledged(&message.id, host, &answer),
                Attempt::Refused(why) => why,
                Attempt::Later(why) => match waits.next() {
                    Some(wait) => {
                        std::thread::sleep(*wait);
                        continue;
                    }
                    None => why,
                },
            };
            // Paths of webhooks are often secrets themselves.
            tracing::warn!(host, decision = message.id, "a webhook was not delivered: {why}");
            return Delivery::Failed;
        }
    }

    fn attempt(&self, message: &Message) -> Attempt {
        // Signed anew each time, or a late attempt would be too old to be taken.
        let signed = signature(&self.secret, (self.clock)(), &message.body);
        let posted = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", &message.id)
            .header("Bursar-Signature", &signed)
            .send(message.body.as_bytes());
        let mut answer = match posted {
            Ok(answer) => answer,
            Err(error) => return Attempt::Later(error.to_string()),
        };
        let status = answer.status();
        match status.as_u16() {
            200..300 => {
                let mut text = String::new();
                let body = answer.body_mut().as_reader().take(ANSWER_BYTES_MAX);
                // It was taken, whatever is left of the answer.
                drop({ body }.read_to_string(&mut text));
                Attempt::Taken(text)
            }
            300..400 => Attempt::Refused(format!("{status}: redirects are not followed")),
            408 | 425 | 429 | 500.. => Attempt::Later(status.to_string()),
            _ => Attempt::Refused(status.to_string()),
        }
    }

    fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default()
    }
}

/// An answer `{"acknowledged": true, "detail": "…"}` says that it was carried out.
fn acknowledged(id: &str, by: &str, answer: &str) -> Delivery {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    if answer.get("acknowledged") != Some(&Value::Bool(true)) {
        return Delivery::Delivered;
    }
    let detail = answer.get("detail").and_then(Value::as_str).unwrap_or_default();
    let detail = detail.chars().filter(|c| !c.is_control()).take(200).collect();
    Delivery::Acknowledged { id: id.to_owned(), by: by.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_time_and_the_body() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let at = EventTime::from_second(1_700_000_000);
        let signed = signature(b"0123456789abcdef", at, "{}");
        let digits = "e4f8e2ecae2295b2ddb2f0b5584c8275\
                      e226c0ebe9b3b819e70156bb67122e3e";
        assert_eq!(signed, format!("t=1700000000,v1={digits}"));
    }
}
