//! The resources of the read-only API: what they are called, what they accept and what they answer.
//! All but the metrics are JSON, errors too.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::metrics::{self, Metrics};
use super::view::{FunctionView, View};

/// Functions in one answer, unless `limit` says otherwise.
pub const LIMIT_DEFAULT: usize = 100;

/// The largest `limit`; about 400 kB of JSON.
pub const LIMIT_MAX: usize = 1_000;

/// What the API reads.
#[derive(Debug)]
pub struct ApiState {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For everything else.
    pub view: Arc<View>,
}

/// Every resource, for the answer to a wrong path.
const PATHS: [&str; 9] = [
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/functions",
    "/api/v1/alarms",
    "/api/v1/restrictions",
    "/api/v1/actions",
    "/api/v1/budgets",
    "/api/v1/run",
];

/// Nothing is kept by caches, framed by pages or guessed to be of another type.
const HEADERS: [(HeaderName, &str); 3] =
    [(X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-store"), (X_FRAME_OPTIONS, "DENY")];

pub(super) fn router(state: Arc<ApiState>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/v1/functions", get(functions))
        .route("/api/v1/alarms", get(alarms))
        .route("/api/v1/restrictions", get(restrictions))
        .route("/api/v1/actions", get(actions))
        .route("/api/v1/budgets", get(budgets))
        .route("/api/v1/run", get(run))
        .fallback(not_found)
        .layer(from_fn(guard))
        .with_state(state)
}

/// Refuses whatever could change something or cost something, before any resource sees it.
async fn guard(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let body = headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length != HeaderValue::from_static("0"));
    let mut response = if ![Method::GET, Method::HEAD].contains(request.method()) {
        let words = "this API is read-only, use GET or HEAD";
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED, words, json!(["GET", "HEAD"]));
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        response
    } else if body {
        let words = "requests have no body here, leave it out";
        let mut response = error(StatusCode::PAYLOAD_TOO_LARGE, words, json!("no body"));
        // The body is not read, so the next request on this connection could not be found.
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        response
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn error(status: StatusCode, words: &str, accepted: Value) -> Response {
    let body = json!({ "error": words, "accepted": accepted });
    (status, Json(body)).into_response()
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "no such resource", json!(PATHS))
}

async fn metrics(State(state): State<Arc<ApiState>>) -> Response {
    state.metrics.publish_ready(&state.view.readiness());
    match state.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(failure) => {
            let words = failure.to_string();
            error(StatusCode::INTERNAL_SERVER_ERROR, &words, Value::Null)
        }
    }
}

async fn healthz() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

/// Ready when every component is, and at least one has spoken.
async fn readyz(State(state): State<Arc<ApiState>>) -> Response {
    let components = state.view.readiness();
    let ready = !components.is_empty() && components.iter().all(|component| component.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": ready, "components": components });
    (status, Json(body)).into_response()
}

type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

async fn functions(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    let mut limit = LIMIT_DEFAULT;
    let mut order = Order::default();
    let accepted = || {
        json!({
            "limit": format!("a whole number from 1 to {LIMIT_MAX}"),
            "order": Order::ALL.map(Order::name),
        })
    };
    let refused = |words: &str| error(StatusCode::BAD_REQUEST, words, accepted());
    let Ok(Query(pairs)) = pairs else {
        return refused("the query cannot be read");
    };
    for (name, value) in &pairs {
        match name.as_str() {
            "limit" => match value.parse() {
                Ok(number) if (1..=LIMIT_MAX).contains(&number) => limit = number,
                _ => return refused("limit is not accepted"),
            },
            "order" => match Order::ALL.into_iter().find(|order| order.name() == value) {
                Some(found) => order = found,
                None => return refused("order is not accepted"),
            },
            _ => return refused("unknown parameter"),
        }
    }
    let (functions, total) = state.view.functions(limit, |a, b| order.compare(a, b));
    let body = json!({ "functions": functions, "total": total });
    Json(body).into_response()
}

/// By what functions are ordered, the greatest first.
#[derive(Debug, Clone, Copy, Default)]
enum Order {
    #[default]
    AtRisk,
    Burn,
    Evidence,
    Requests,
    /// The only one where the least is first.
    Name,
}

impl Order {
    const ALL: [Order; 5] = [Self::AtRisk, Self::Burn, Self::Evidence, Self::Requests, Self::Name];

    const fn name(self) -> &'static str {
        match self {
            Self::AtRisk => "at_risk",
            Self::Burn => "burn",
            Self::Evidence => "evidence",
            Self::Requests => "requests",
            Self::Name => "name",
        }
    }

    fn compare(self, a: &FunctionView, b: &FunctionView) -> Ordering {
        let first = match self {
            Self::AtRisk => Ordering::Equal,
            Self::Burn => a.burn_nano_usd_per_hour.cmp(&b.burn_nano_usd_per_hour),
            Self::Evidence => a.evidence_log10.total_cmp(&b.evidence_log10),
            Self::Requests => a.requests_per_minute.total_cmp(&b.requests_per_minute),
            Self::Name => b.function.cmp(&a.function),
        };
        first.then_with(|| a.by_risk(b))
    }
}

/// The resources without parameters.
fn plain(pairs: &Pairs, body: Value) -> Response {
    match pairs {
        Ok(Query(pairs)) if pairs.is_empty() => Json(body).into_response(),
        _ => error(StatusCode::BAD_REQUEST, "unknown parameter", json!({})),
    }
}

async fn alarms(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "alarms": state.view.alarms() }))
}

async fn restrictions(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "restrictions": state.view.restrictions() }))
}

async fn actions(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "actions": state.view.actions() }))
}

async fn budgets(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "budgets": state.view.budgets() }))
}

async fn run(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "run": state.view.run() }))
}
