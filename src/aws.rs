//! The way to the cloud's own APIs: region, credentials, TLS and time limits, for every client.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the calls go and how long one may take.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// `None`: as the environment says.
    pub region: Option<String>,
    /// Another service than the cloud's, for example on this machine.
    pub endpoint: Option<String>,
    /// For one attempt; there is only one, since whoever calls decides when to try again.
    pub attempt: Duration,
}

/// Finds region and credentials. Calls nobody but, where that is the only source of them, the
/// metadata service.
pub async fn load(way: &Way) -> SdkConfig {
    let http = match &way.endpoint {
        // A service on this machine: the machine's certificates are not asked for.
        Some(endpoint) if endpoint.starts_with("http://") => HttpClient::new().build_http(),
        _ => HttpClient::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https(),
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(way.attempt)
        .operation_timeout(way.attempt + CONNECT_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        // Subscriptions are silent for seconds; they have a limit of their own.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Ok(name) = AppName::new("bursar") {
        loader = loader.app_name(name);
    }
    if let Some(region) = &way.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &way.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    #[cfg(test)]
    {
        // Any signature will do for the servers of the tests.
        let nobody = aws_sdk_lambda::config::Credentials::new("test", "test", None, None, "test");
        loader = loader.credentials_provider(nobody);
    }
    loader.load().await
}
