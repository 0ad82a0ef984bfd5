//! The list of what the API serves: the router and the OpenAPI document both follow from it, and
//! so does what a request needs before it is let in.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::header::{ALLOW, CONNECTION};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use serde_json::{Map, Value, json};

use super::access::Right;
use super::admission::{ORDER_BYTES_MAX, admit};
use super::api::{self, ApiState, LIMIT_MAX, Order, error};

/// What is asked of whoever wants a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: whether the process is alive.
    Nothing,
    /// A key, where `server.read_needs_key` says so.
    Read,
    /// A key that may change.
    Change,
}

impl Needs {
    /// The right, if one is needed.
    pub(super) const fn right(self, read_needs_key: bool) -> Option<Right> {
        match self {
            Needs::Nothing => None,
            Needs::Read if read_needs_key => Some(Right::Read),
            Needs::Read => None,
            Needs::Change => Some(Right::Change),
        }
    }
}

/// One resource.
pub(super) struct Resource {
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    summary: &'static str,
    /// The one field of its JSON answer and that field's type, or text.
    answer: Option<(&'static str, &'static str)>,
    /// Status codes beside the usual ones.
    statuses: &'static [u16],
    serve: fn() -> MethodRouter<Arc<ApiState>>,
}

macro_rules! resources {
    ($($needs:ident $path:literal = $handler:ident, $answer:expr, $statuses:expr,
        $summary:literal;)*) => {
        /// All of them.
        pub(super) static RESOURCES: &[Resource] = &[$(Resource {
            path: $path,
            needs: Needs::$needs,
            summary: $summary,
            answer: $answer,
            statuses: &$statuses,
            serve: || served(Needs::$needs, api::$handler),
        }),*];
    };
}

resources! {
    Read "/metrics" = metrics, None, [500], "Metrics in the Prometheus text format.";
    Nothing "/healthz" = healthz, Some(("status", "string")), [], "Whether the process answers.";
    Nothing "/readyz" = readyz, Some(("components", "array")), [503],
        "Whether every part is up, and which is not.";
    Read "/api/v1/openapi.json" = openapi, Some(("paths", "object")), [], "This document.";
    Read "/api/v1/functions" = functions, Some(("functions", "array")), [400],
        "The functions with the most money at risk, or in another order.";
    Read "/api/v1/alarms" = alarms, Some(("alarms", "array")), [400], "Alarms that are open.";
    Read "/api/v1/restrictions" = restrictions, Some(("restrictions", "array")), [400],
        "Restrictions that are in force or planned.";
    Read "/api/v1/actions" = actions, Some(("actions", "array")), [400], "The latest actions.";
    Read "/api/v1/budgets" = budgets, Some(("budgets", "array")), [400], "How the budgets stand.";
    Read "/api/v1/run" = run, Some(("run", "object")), [400], "What is running.";
    Change "/api/v1/restrictions/{function}/restore" = restore, Some(("order", "object")),
        [404, 409],
        "Give a function back, and leave it alone for control.veto.";
    Change "/api/v1/functions/{function}/leave-alone" = leave_alone, Some(("order", "object")),
        [404, 409],
        "Leave a function alone for control.veto, and give it back if it is restricted.";
    Change "/api/v1/restore" = restore_all, Some(("order", "object")), [409],
        "Give everything back, and leave those functions alone for control.veto.";
    Change "/api/v1/alarms/{id}/approve" = approve, Some(("order", "object")), [404, 409],
        "In mode approve: let an open alarm be acted on.";
    Change "/api/v1/intents/{id}/ack" = acknowledge, Some(("order", "object")), [404, 409],
        "Say that an action was carried out elsewhere; it is written down.";
    Change "/api/v1/actions/stop" = stop, Some(("order", "object")), [409],
        "Begin no new restriction; what is in force is still given back.";
    Change "/api/v1/actions/resume" = resume, Some(("order", "object")), [409],
        "Allow new restrictions again.";
}

fn served<H, T>(needs: Needs, handler: H) -> MethodRouter<Arc<ApiState>>
where
    H: Handler<T, Arc<ApiState>>,
    T: 'static,
{
    match needs {
        Needs::Change => post(handler).fallback(|| async { not_allowed("POST", &["POST"]) }),
        Needs::Nothing | Needs::Read => {
            get(handler).fallback(|| async { not_allowed("GET, HEAD", &["GET", "HEAD"]) })
        }
    }
}

fn not_allowed(allow: &'static str, methods: &[&str]) -> Response {
    let words = "this resource knows other methods";
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, words, json!(methods));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn not_found() -> Response {
    let paths: Vec<&str> = RESOURCES.iter().map(|resource| resource.path).collect();
    error(StatusCode::NOT_FOUND, "no such resource", json!(paths))
}

pub(super) fn router(state: Arc<ApiState>) -> Router {
    let all = RESOURCES
        .iter()
        .fold(Router::new(), |router, resource| router.route(resource.path, (resource.serve)()));
    all.fallback(not_found).layer(from_fn_with_state(Arc::clone(&state), admit)).with_state(state)
}

/// The API as an OpenAPI 3.1 document (<https://spec.openapis.org/oas/v3.1.0>).
pub(super) fn document(read_needs_key: bool) -> Value {
    let mut paths = Map::new();
    for resource in RESOURCES {
        let method = if resource.needs == Needs::Change { "post" } else { "get" };
        let operation = operation(resource, read_needs_key);
        paths.insert(resource.path.to_owned(), json!({ method: operation }));
    }
    let text = json!({ "type": "string" });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "bursar",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error", "accepted"],
                    "properties": { "error": text, "accepted": {} },
                },
                "Reason": {
                    "type": "object",
                    "properties": {
                        "reason": {
                            "type": "string",
                            "maxLength": api::REASON_MAX,
                            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
                        },
                    },
                    "additionalProperties": false,
                },
            },
        },
    })
}

fn operation(resource: &Resource, read_needs_key: bool) -> Value {
    let changes = resource.needs == Needs::Change;
    let good = if changes { "202" } else { "200" };
    let mut responses = Map::new();
    responses.insert(
        good.to_owned(),
        json!({
            "description": resource.summary,
            "content": content(resource),
        }),
    );
    let mut others = vec![400, 405, 413, 431];
    let needs_key = resource.needs.right(read_needs_key).is_some();
    if needs_key {
        others.extend([401, 403, 429]);
    }
    if changes {
        others.extend([411, 415, 503]);
    }
    others.extend(resource.statuses);
    let schema = json!({ "$ref": "#/components/schemas/Error" });
    for status in others {
        // Whoever is not ready says so in the same words as whoever is.
        let content = match (status, resource.path) {
            (503, "/readyz") => content(resource),
            _ => json!({ "application/json": { "schema": schema } }),
        };
        let response = json!({ "description": "What is wrong, in words.", "content": content });
        responses.insert(status.to_string(), response);
    }
    let mut operation = json!({
        "summary": resource.summary,
        "operationId": resource.path.trim_start_matches('/').replace(['/', '{', '}'], "_"),
        "parameters": parameters(resource),
        "responses": responses,
    });
    if needs_key {
        operation["security"] = json!([{ "key": [] }]);
    }
    if changes {
        operation["x-body-bytes-max"] = json!(ORDER_BYTES_MAX);
        operation["requestBody"] = json!({
            "required": true,
            "content": {
                "application/json": { "schema": { "$ref": "#/components/schemas/Reason" } },
            },
        });
    }
    operation
}

fn content(resource: &Resource) -> Value {
    let Some((field, kind)) = resource.answer else {
        return json!({ "text/plain": { "schema": { "type": "string" } } });
    };
    // There is no run before the engine has said so.
    let kind = if field == "run" { json!([kind, "null"]) } else { json!(kind) };
    let properties = json!({ field: { "type": kind } });
    let schema = json!({ "type": "object", "required": [field], "properties": properties });
    json!({ "application/json": { "schema": schema } })
}

fn parameters(resource: &Resource) -> Value {
    if resource.path.contains("{function}") {
        let schema = json!({ "type": "string", "example": "111122223333:eu-west-1:checkout" });
        return json!([{ "name": "function", "in": "path", "required": true, "schema": schema }]);
    }
    if resource.path.contains("{id}") {
        let schema = json!({ "type": "string", "pattern": "^[0-9a-f]{1,32}$" });
        return json!([{ "name": "id", "in": "path", "required": true, "schema": schema }]);
    }
    if resource.path != "/api/v1/functions" {
        return json!([]);
    }
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX });
    let order = json!({ "type": "string", "enum": Order::ALL.map(Order::name) });
    json!([
        { "name": "limit", "in": "query", "schema": limit },
        { "name": "order", "in": "query", "schema": order },
    ])
}
