//! The token that brokers ask for (SASL OAUTHBEARER, RFC 7628), and where it comes from. The client
//! asks for the next one when four fifths of the present one's time are over, and ten seconds
//! after it got none.

mod file;
#[cfg(feature = "aws")]
mod msk_iam;

use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::client::OAuthToken;

use crate::units::{EventTime, ProcessingTime};

/// The longest that a token is taken for good without looking again. A broker that refuses one is
/// no reason for the client to ask for another, so this is how long a token that was put right
/// goes unseen.
const LIFE_MAX_MS: i64 = 60_000;

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A file that somebody else renews.
    File(PathBuf),
    /// The credentials of the cloud, by which a request of Amazon MSK is signed.
    #[cfg(feature = "aws")]
    MskIam {
        /// `None`: as the environment says.
        region: Option<String>,
    },
}

/// Gives the clients of one process their tokens.
#[derive(Debug)]
pub struct Tokens {
    source: TokenSource,
    wall: fn() -> ProcessingTime,
    #[cfg(feature = "aws")]
    signer: msk_iam::Signer,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file that cannot be read.
    #[error("cannot read {path} ({cause}), correct input.kafka.token_file or the file's rights")]
    Unreadable {
        /// As it was given.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file with something else in it.
    #[error("{path} holds no JSON Web Token that can be used ({cause}), have it written anew")]
    Unusable {
        /// As it was given.
        path: String,
        /// What is wrong, without the token's own words.
        cause: &'static str,
    },
    /// A file that nobody renews any more.
    #[error("the token in {path} expired at {at}, see to whoever renews it")]
    Expired {
        /// As it was given.
        path: String,
        /// The end of its time.
        at: EventTime,
    },
    /// Nowhere to sign for.
    #[error("no region is known, set input.kafka.token_region or AWS_REGION")]
    NoRegion,
    /// Nothing to sign with.
    #[error(
        "no credentials to sign a token with ({cause}), set AWS_PROFILE or AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or give this machine a role"
    )]
    NoCredentials {
        /// What was tried.
        cause: String,
    },
    /// Credentials or a region that no request can be made of.
    #[error("a token cannot be signed ({cause}), correct input.kafka.token_region")]
    Signing {
        /// What the signer said.
        cause: String,
    },
}

impl Tokens {
    /// Looks at nothing yet: what is wrong by the first connection may be right by the next.
    pub fn new(source: TokenSource, wall: fn() -> ProcessingTime) -> Self {
        Self {
            source,
            wall,
            #[cfg(feature = "aws")]
            signer: msk_iam::Signer::default(),
        }
    }

    /// What every client needs that shows tokens; the way may be another one than TLS.
    pub fn prepare(config: &mut ClientConfig) {
        config.set("sasl.mechanism", "OAUTHBEARER");
        if config.get("security.protocol").is_none() {
            config.set("security.protocol", "sasl_ssl");
        }
    }

    /// The token to show from now on. Waits for the credentials' service, where there is one.
    ///
    /// # Errors
    /// There is none now.
    pub fn next(&self) -> Result<OAuthToken, TokenError> {
        let now = (self.wall)();
        match &self.source {
            TokenSource::File(path) => file::read(path, now),
            #[cfg(feature = "aws")]
            TokenSource::MskIam { region } => self.signer.sign(region.as_deref(), now),
        }
    }
}
