//! Settings to parts.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use crate::config::settings::{self as conf, Settings};
use crate::control::action::ActuatorKind;
use crate::control::ladder::Control;
use crate::cost::{
    AccountBook, CostSettings, Drag, DragOverride, Footprint, Pattern, PriceBook, StreamTerms,
};
use crate::engine::detect::Thresholds;
use crate::engine::intake::Intake;
use crate::engine::rate_card::RateCard;
use crate::engine::routes::Routes;
use crate::engine::shard::Engine;
use crate::observe::decisions::{FORM, Promise, RunLine};
use crate::observe::tls::{Tls, TlsError, TlsFiles};
use crate::units::NanoUsd;

use super::baselines::{self, Loaded};
use super::shards::Shards;

/// Something that only shows when the parts are put together.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The price file.
    #[error("cannot read cost.prices_file {path} ({cause})")]
    PricesUnreadable {
        /// As configured.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The price file's content.
    #[error("cost.prices_file is refused:\n{problems}")]
    PricesRefused {
        /// One a line.
        problems: String,
    },
    /// The file of baselines.
    #[error("cannot start from engine.baselines_file: {0:#}")]
    Baselines(anyhow::Error),
    /// Threads.
    #[error("cannot start the engine's threads ({0})")]
    Threads(#[from] io::Error),
}

/// Everything that prices something.
#[derive(Debug, Clone)]
pub struct Prices {
    /// For the engine.
    pub card: RateCard,
    /// For the budgets.
    pub bills: AccountBook,
    /// For what the telemetry itself costs.
    pub footprint: Footprint,
    /// Which price table it is.
    pub version: String,
}

/// The prices in force and what usage drags along.
///
/// # Errors
/// A price file that cannot be read or that is refused.
pub fn prices(settings: &Settings) -> Result<Prices, WiringError> {
    let cost = cost_settings(&settings.cost)?;
    let book: PriceBook = cost.price_book().map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        WiringError::PricesRefused { problems: lines.join("\n") }
    })?;
    let version = book.version().to_owned();
    let bills = AccountBook::new(book.clone(), cost.free_tier);
    let footprint = footprint(&settings.input, book.clone());
    Ok(Prices { card: RateCard::new(book, cost), bills, footprint, version })
}

fn footprint(input: &conf::InputSettings, prices: PriceBook) -> Footprint {
    let given = &input.kinesis;
    let of_arn = given.stream.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2));
    let set = Some(given.region.as_str()).filter(|region| !region.is_empty());
    let terms = StreamTerms {
        region: set.or(of_arn).unwrap_or(&input.region).to_owned(),
        capacity: given.capacity,
        fan_out: !given.consumer_arn.is_empty(),
    };
    Footprint::new(prices, input.region.clone(), terms)
}

/// Whose records do not count.
pub fn excluded(settings: &Settings) -> Vec<Pattern> {
    settings.input.exclude.iter().map(|text| Pattern::new(text)).collect()
}

/// How many shards there will be.
pub fn shard_count(settings: &Settings) -> usize {
    match settings.shards {
        0 => available_parallelism().map_or(1, NonZeroUsize::get),
        given => given,
    }
}

/// The engine's door and its shards, which start from a file of baselines if there is one.
///
/// # Errors
/// The system refuses a thread, or the file is of no use.
pub fn engine(
    settings: &Settings,
    rates: &RateCard,
    baselines: Option<&Path>,
) -> Result<(Intake, Shards), WiringError> {
    let count = shard_count(settings);
    let mut shards = Shards::start(count, |owns| {
        let (engine, detection) = (settings.engine.clone(), settings.detection.clone());
        Engine::new(engine, detection, rates.clone(), owns)
    })?;
    if let Some(path) = baselines {
        let loaded = baselines::load(path, &mut shards).map_err(WiringError::Baselines)?;
        tell_loaded(&loaded);
    }
    let routes = Routes::new(settings.routes.clone());
    Ok((Intake::new(routes, settings.engine.lateness_seconds, count), shards))
}

fn tell_loaded(loaded: &Loaded) {
    let (functions, until) = (loaded.header.functions, loaded.header.last_event);
    tracing::info!(functions, %until, "starting from baselines");
    if loaded.dropped > 0 {
        tracing::warn!(
            dropped = loaded.dropped,
            "there is no room for some functions with baselines, the idlest are learned anew; \
             raise engine.functions_max to keep them"
        );
    }
}

/// TLS for the HTTP server, if it is to speak that.
///
/// # Errors
/// Files of no use.
pub fn tls(server: &conf::ServerSettings) -> Result<Option<Tls>, TlsError> {
    let (Some(certificate), Some(key)) = (&server.tls_certificate, &server.tls_key) else {
        return Ok(None);
    };
    let (certificate, key) = (certificate.clone(), key.clone());
    Tls::open(&TlsFiles { certificate, key, client_ca: server.tls_client_ca.clone() }).map(Some)
}

/// Control with its budgets.
pub fn control(settings: &Settings) -> Control {
    let mut control = settings.control.clone();
    if settings.lambda.enabled && settings.input.kind != conf::InputKind::Embedded {
        control.rungs =
            vec![ActuatorKind::ReservedConcurrency, ActuatorKind::SqsMaximumConcurrency];
    }
    Control::new(control, settings.budgets.clone())
}

/// The first line of the decisions.
pub fn run_line(settings: &Settings, prices: String) -> RunLine {
    let detection = &settings.detection;
    let embedded = settings.input.kind == conf::InputKind::Embedded;
    RunLine {
        v: FORM,
        kind: "run",
        version: env!("CARGO_PKG_VERSION"),
        config_sha256: settings.sha256(),
        prices,
        seed: embedded.then_some(settings.input.embedded_seed),
        mode: settings.control.mode,
        bucket_ms: 1_000,
        lateness_ms: settings.engine.lateness_seconds.saturating_mul(1_000),
        promise: Promise {
            pages_per_day: detection.pages_per_day,
            estate_functions: detection.estate_functions,
            threshold_log10: Thresholds::new(detection).fast.log10(),
            envelope: detection.envelope,
        },
    }
}

fn cost_settings(cost: &conf::CostConfig) -> Result<CostSettings, WiringError> {
    let prices_override = match &cost.prices_file {
        Some(path) => Some(fs::read_to_string(path).map_err(|cause| {
            WiringError::PricesUnreadable { path: path.display().to_string(), cause }
        })?),
        None => None,
    };
    let general = Drag {
        gateway: cost.gateway,
        log_bytes: bytes(cost.log_bytes_per_invocation),
        response_bytes: (cost.response_bytes > 0).then(|| bytes(cost.response_bytes)),
        downstream_nano_usd: downstream(cost.extra_usd_per_million_requests),
        ..Drag::default()
    };
    let functions = cost.functions.iter().map(|entry| DragOverride {
        functions: Pattern::new(&entry.pattern),
        drag: Drag {
            gateway: entry.gateway.unwrap_or(general.gateway),
            log_bytes: entry.log_bytes_per_invocation.map_or(general.log_bytes, bytes),
            response_bytes: entry.response_bytes.map(bytes).or(general.response_bytes),
            downstream_nano_usd: entry
                .extra_usd_per_million_requests
                .map_or(general.downstream_nano_usd, downstream),
            ..general
        },
    });
    Ok(CostSettings {
        drag: general,
        functions: functions.collect(),
        free_tier: cost.free_tier,
        prices_override,
    })
}

fn bytes(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Dollars a million requests are thousands of nano-dollars a request.
fn downstream(usd_per_million: f64) -> u64 {
    NanoUsd::from_usd(usd_per_million / 1e6).0.max(0).unsigned_abs()
}
