//! Access control of Amazon MSK by IAM: the token is a request to connect, signed as a URL and
//! never sent as one (AWS Signature Version 4 in query parameters; what stands in it follows the
//! AWS MSK IAM SASL signers for Go and Python).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use rdkafka::client::OAuthToken;
use tokio::runtime::{Builder, Runtime};

use super::TokenError;
use crate::aws::{self, Way};
use crate::units::ProcessingTime;

/// As long as the signers make them; brokers take no longer ones.
const LIFE: Duration = Duration::from_secs(900);

/// For one attempt at credentials, and for all: the client reads nothing meanwhile.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// The name under which the service checks signatures.
const SERVICE: &str = "kafka-cluster";

/// Signs, with what it found out about the cloud the first time.
#[derive(Debug, Default)]
pub(super) struct Signer(Mutex<Option<Cloud>>);

#[derive(Debug)]
struct Cloud {
    runtime: Runtime,
    config: SdkConfig,
}

impl Signer {
    pub(super) fn sign(
        &self,
        region: Option<&str>,
        now: ProcessingTime,
    ) -> Result<OAuthToken, TokenError> {
        let mut cloud = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cloud = match &mut *cloud {
            Some(cloud) => cloud,
            none => none.insert(Cloud::find(region)?),
        };
        let credentials = cloud.credentials()?;
        let region = cloud.config.region().ok_or(TokenError::NoRegion)?;
        token(&credentials, region.as_ref(), now)
    }
}

impl Cloud {
    fn find(region: Option<&str>) -> Result<Self, TokenError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| TokenError::NoCredentials { cause: error.to_string() })?;
        let way =
            Way { region: region.map(str::to_owned), endpoint: None, attempt: ATTEMPT_TIMEOUT };
        let config = runtime.block_on(aws::load(&way));
        Ok(Self { runtime, config })
    }

    /// Asked for each time: roles give new ones by the hour.
    fn credentials(&self) -> Result<Credentials, TokenError> {
        let refused = |cause: String| TokenError::NoCredentials { cause };
        let Some(provider) = self.config.credentials_provider() else {
            return Err(refused("nothing provides any".to_owned()));
        };
        self.runtime
            .block_on(async {
                let asked = provider.provide_credentials();
                tokio::time::timeout(CREDENTIALS_TIMEOUT, asked).await
            })
            .map_err(|_| refused("their service does not answer".to_owned()))?
            .map_err(|error| refused(error.to_string()))
    }
}

fn token(
    credentials: &Credentials,
    region: &str,
    now: ProcessingTime,
) -> Result<OAuthToken, TokenError> {
    let refused = |cause: String| TokenError::Signing { cause };
    // Signatures know whole seconds.
    let at = Duration::from_secs(u64::try_from(now.0 / 1_000).unwrap_or(0));
    let at = UNIX_EPOCH + at;
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFE);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(at)
        .settings(settings)
        .build()
        .map_err(|error| refused(error.to_string()))?
        .into();
    let mut url =
        format!("https://kafka.{region}.amazonaws.com/?Action={}", encode("kafka-cluster:Connect"));
    let request =
        SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(b""))
            .map_err(|error| refused(error.to_string()))?;
    let signed = sign(request, &params).map_err(|error| refused(error.to_string()))?;
    let agent = concat!("bursar/", env!("CARGO_PKG_VERSION"));
    let params = signed.output().params().iter().map(|(name, value)| (*name, value.as_ref()));
    // The agent stands behind the signature, which does not cover it.
    for (name, value) in params.chain([("User-Agent", agent)]) {
        url.push('&');
        url.push_str(name);
        url.push('=');
        url.push_str(&encode(value));
    }
    let until = credentials.expiry().map_or(at + LIFE, |expiry| expiry.min(at + LIFE));
    let until = until.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(OAuthToken {
        token: BASE64_URL_SAFE_NO_PAD.encode(url),
        principal_name: credentials.access_key_id().to_owned(),
        lifetime_ms: i64::try_from(until.as_millis()).unwrap_or(i64::MAX),
    })
}

/// Everything but unreserved characters as `%XX` (RFC 3986, section 2.3).
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-05T12:00:00.9Z.
    const NOW: ProcessingTime = ProcessingTime(1_767_614_400_900);
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// The URL and the end of the token's time.
    fn signed(session: Option<&str>, expiry_s: Option<u64>) -> (String, i64) {
        let expiry = expiry_s.map(|s| UNIX_EPOCH + Duration::from_secs(s));
        let session = session.map(str::to_owned);
        let credentials = Credentials::new("AKIDEXAMPLE", SECRET, session, expiry, "test");
        let token = token(&credentials, "eu-west-1", NOW).unwrap();
        assert_eq!(token.principal_name, "AKIDEXAMPLE");
        let url = BASE64_URL_SAFE_NO_PAD.decode(token.token).unwrap();
        (String::from_utf8(url).unwrap(), token.lifetime_ms)
    }

    /// The signatures are those that Python's `hmac` and `hashlib` give by the four steps of
    /// "Create a signed AWS API request" (AWS IAM User Guide), and that botocore 1.43 gives.
    #[test]
    fn a_token_is_the_url_that_the_service_checks() {
        let begin = "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect\
                     &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260105\
                     %2Feu-west-1%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20260105T120000Z\
                     &X-Amz-Expires=900&X-Amz-SignedHeaders=host";
        let agent = concat!("&User-Agent=bursar%2F", env!("CARGO_PKG_VERSION"));
        for (session, rest) in [
            (
                None,
                "&X-Amz-Signature=\
                 15a559144ff4594e9c113dc3b4796119df67dde1902574b321c7a315f5c5d837",
            ),
            (
                Some("FwoGZXIvYXdzEJr//session+token=="),
                "&X-Amz-Signature=\
                 3ab68960174262eeaca4d8a87247047e4a18a49f0df2c7fb67468fde056aa97f\
                 &X-Amz-Security-Token=FwoGZXIvYXdzEJr%2F%2Fsession%2Btoken%3D%3D",
            ),
        ] {
            let (url, _) = signed(session, None);
            assert_eq!(url, format!("{begin}{rest}{agent}"));
        }
    }

    #[test]
    fn a_token_lives_a_quarter_of_an_hour_and_no_longer_than_its_credentials() {
        let begin_s = 1_767_614_400;
        assert_eq!(signed(None, None).1, (begin_s as i64 + 900) * 1_000);
        assert_eq!(signed(None, Some(begin_s + 60)).1, (begin_s as i64 + 60) * 1_000);
        assert_eq!(signed(None, Some(begin_s + 3_600)).1, (begin_s as i64 + 900) * 1_000);
    }
}
