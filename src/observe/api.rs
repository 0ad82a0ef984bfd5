//! The resources of the API: what they accept and what they answer. All but the metrics are JSON,
//! errors too.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Access;
use super::admission::Caller;
use super::metrics::{self, Metrics};
use super::orders::{self, Counter, Signed};
use super::resources;
use super::view::{FunctionView, View};
use crate::record::FunctionKey;

/// Functions in one answer, unless `limit` says otherwise.
pub const LIMIT_DEFAULT: usize = 100;

/// The largest `limit`; about 400 kB of JSON.
pub const LIMIT_MAX: usize = 1_000;

/// The longest reason of an order, in characters.
pub(super) const REASON_MAX: usize = 200;

/// What the API reads.
#[derive(Debug)]
pub struct ApiState {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For everything else.
    pub view: Arc<View>,
    /// Who may read and change; `None`: nobody changes anything.
    pub access: Option<Access>,
    /// Whether reading needs a key, too.
    pub read_needs_key: bool,
    /// What the server is called, besides its addresses.
    pub hosts: Vec<String>,
    /// Where orders are handed in; `None`: there is nobody to carry them out.
    pub orders: Option<Counter>,
}

impl ApiState {
    /// What everybody may read and nobody may change.
    pub fn read_only(metrics: Arc<Metrics>, view: Arc<View>) -> Self {
        Self { metrics, view, access: None, read_needs_key: false, hosts: Vec::new(), orders: None }
    }
}

pub(super) fn error(status: StatusCode, words: &str, accepted: Value) -> Response {
    let body = json!({ "error": words, "accepted": accepted });
    (status, Json(body)).into_response()
}

pub(super) async fn metrics(State(state): State<Arc<ApiState>>) -> Response {
    state.metrics.publish_ready(&state.view.readiness());
    match state.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(failure) => {
            let words = failure.to_string();
            error(StatusCode::INTERNAL_SERVER_ERROR, &words, Value::Null)
        }
    }
}

pub(super) async fn healthz() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

/// Ready when every component is, and at least one has spoken.
pub(super) async fn readyz(State(state): State<Arc<ApiState>>) -> Response {
    let components = state.view.readiness();
    let ready = !components.is_empty() && components.iter().all(|component| component.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": ready, "components": components });
    (status, Json(body)).into_response()
}

type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

pub(super) async fn functions(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
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
pub(super) enum Order {
    #[default]
    AtRisk,
    Burn,
    Evidence,
    Requests,
    /// The only one where the least is first.
    Name,
}

impl Order {
    pub(super) const ALL: [Order; 5] =
        [Self::AtRisk, Self::Burn, Self::Evidence, Self::Requests, Self::Name];

    pub(super) const fn name(self) -> &'static str {
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

pub(super) async fn alarms(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "alarms": state.view.alarms() }))
}

pub(super) async fn restrictions(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "restrictions": state.view.restrictions() }))
}

pub(super) async fn actions(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "actions": state.view.actions() }))
}

pub(super) async fn budgets(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "budgets": state.view.budgets() }))
}

pub(super) async fn run(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, json!({ "run": state.view.run() }))
}

pub(super) async fn openapi(State(state): State<Arc<ApiState>>, pairs: Pairs) -> Response {
    plain(&pairs, resources::document(state.read_needs_key))
}

type Named = Result<Path<String>, axum::extract::rejection::PathRejection>;

pub(super) async fn restore(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    body: Bytes,
) -> Response {
    match function(&named) {
        Ok(function) => ordered(&state, caller, orders::Order::Restore(function), &body).await,
        Err(refused) => *refused,
    }
}

pub(super) async fn leave_alone(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    body: Bytes,
) -> Response {
    match function(&named) {
        Ok(function) => ordered(&state, caller, orders::Order::LeaveAlone(function), &body).await,
        Err(refused) => *refused,
    }
}

pub(super) async fn restore_all(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    ordered(&state, caller, orders::Order::RestoreAll, &body).await
}

pub(super) async fn approve(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    body: Bytes,
) -> Response {
    match id(&named) {
        Some(id) => ordered(&state, caller, orders::Order::Approve(id), &body).await,
        None => error(StatusCode::NOT_FOUND, "no name of an alarm", json!("its id")),
    }
}

pub(super) async fn acknowledge(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    body: Bytes,
) -> Response {
    match id(&named) {
        Some(id) => ordered(&state, caller, orders::Order::Acknowledge(id), &body).await,
        None => error(StatusCode::NOT_FOUND, "no name of an action", json!("its id")),
    }
}

fn id(named: &Named) -> Option<String> {
    let Path(id) = named.as_ref().ok()?;
    let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.clone())
}

pub(super) async fn stop(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    ordered(&state, caller, orders::Order::Stop, &body).await
}

pub(super) async fn resume(
    State(state): State<Arc<ApiState>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    ordered(&state, caller, orders::Order::Resume, &body).await
}

fn function(named: &Named) -> Result<FunctionKey, Box<Response>> {
    let function = named.as_ref().ok().and_then(|Path(name)| name.parse().ok());
    function.ok_or_else(|| {
        let words = "no name of a function";
        Box::new(error(StatusCode::NOT_FOUND, words, json!("account:region:name")))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default)]
    reason: String,
}

/// Hands an order in. It is accepted, not done: what becomes of it is among the actions.
async fn ordered(state: &ApiState, caller: Caller, order: orders::Order, body: &[u8]) -> Response {
    let readable = |why: &Why| {
        why.reason.chars().count() <= REASON_MAX && !why.reason.contains(char::is_control)
    };
    let Some(Why { reason: why }) = serde_json::from_slice(body).ok().filter(readable) else {
        let accepted = json!({ "reason": format!("why, in up to {REASON_MAX} characters") });
        return error(StatusCode::BAD_REQUEST, "the order cannot be read", accepted);
    };
    let Some(counter) = &state.orders else {
        let words = "there is nobody here to carry orders out";
        return error(StatusCode::SERVICE_UNAVAILABLE, words, Value::Null);
    };
    let Caller { who, from } = caller;
    let told = json!({ "order": order.as_str(), "target": order.target(), "who": who });
    match counter.hand_in(Signed { order, who, from, why }).await {
        Ok(Ok(restrictions)) => {
            let body = json!({ "order": told, "restrictions": restrictions });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Ok(Err(refused)) => error(StatusCode::CONFLICT, &refused, Value::Null),
        Err(unheard) => error(StatusCode::SERVICE_UNAVAILABLE, &unheard.to_string(), Value::Null),
    }
}
