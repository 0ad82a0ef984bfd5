//! What happens to a request before a resource sees it: whom it is for, whether it can be told from
//! what a web page makes a browser send, what it carries, and whose it is.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, HOST, HeaderName, ORIGIN, REFERRER_POLICY, RETRY_AFTER, TRANSFER_ENCODING,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use super::access::{AccessOutcome, Right, Verdict};
use super::api::{ApiState, error};
use super::connection::Peer;
use super::resources::{Needs, RESOURCES};

/// An order says why it is given, and no more.
pub(super) const ORDER_BYTES_MAX: u64 = 4_096;
/// No token is longer.
const AUTHORIZATION_BYTES_MAX: usize = 256;
/// After so long there is room for another order of the same key.
const RETRY_SECONDS: &str = "2";

/// Nothing is kept by caches, framed by pages, guessed to be of another type, run, or told to
/// whoever is linked to.
const HEADERS: [(HeaderName, &str); 6] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (X_FRAME_OPTIONS, "DENY"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Who was let in, for the resource.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) who: String,
    pub(super) from: String,
}

/// Lets a request through or answers it.
pub(super) async fn admit(
    State(state): State<Arc<ApiState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let judged = judge(&state, &mut request);
    let mut response = match judged {
        Ok(()) => next.run(request).await,
        Err(refused) => *refused,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn judge(state: &ApiState, request: &mut Request) -> Result<(), Box<Response>> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let resource = RESOURCES.iter().find(|resource| Some(resource.path) == path);
    // What there is not needs nothing, and gets nothing.
    let needs = resource.map_or(Needs::Nothing, |resource| resource.needs);
    let changes = needs == Needs::Change;
    let host = host(state, request)?;
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let fits = if changes { request.method() == Method::POST } else { reads };
    if resource.is_some() && !fits {
        // The resource says which methods it has and ends the connection, whatever comes with it.
        return Ok(());
    }
    body(request.headers(), changes)?;
    if changes {
        not_from_a_page(state, request.headers(), &host)?;
    }
    if let Some(right) = needs.right(state.read_needs_key) {
        let caller = caller(state, request, right)?;
        request.extensions_mut().insert(caller);
    }
    Ok(())
}

/// A page of somebody else's can have its own name point to this address (DNS rebinding), and is
/// then told from us by that name alone. Addresses and names without a dot are no such names:
/// nobody can register them.
fn host(state: &ApiState, request: &Request) -> Result<String, Box<Response>> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    // HTTP/1.0 has no such header, and no browser speaks it.
    if request.version() < Version::HTTP_11 && !request.headers().contains_key(HOST) {
        return Ok(String::new());
    }
    let Some(named) = named else {
        return refuse(StatusCode::BAD_REQUEST, "give one Host header", json!("one Host header"));
    };
    let name = match named.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => named.split(':').next().unwrap_or_default(),
    };
    let is_ours = name.parse::<IpAddr>().is_ok()
        || (!name.is_empty() && !name.contains('.'))
        || state.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
    if is_ours {
        return Ok(named.to_owned());
    }
    state.metrics.access.add(&[AccessOutcome::Foreign.as_str()], 1);
    let words = "this server is not called that; add the name to server.hosts if it is";
    refuse(StatusCode::MISDIRECTED_REQUEST, words, json!("an address, or a name of server.hosts"))
}

/// Only an order has a body, a short one whose length is said.
fn body(headers: &HeaderMap, changes: bool) -> Result<(), Box<Response>> {
    let length = headers.get(CONTENT_LENGTH).map(|value| value.to_str().ok()?.parse::<u64>().ok());
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    if !changes {
        let words = "requests have no body here, leave it out";
        return match length {
            None | Some(Some(0)) if !chunked => Ok(()),
            _ => refuse(StatusCode::PAYLOAD_TOO_LARGE, words, json!("no body")),
        };
    }
    let accepted = json!(format!("at most {ORDER_BYTES_MAX} bytes of JSON, with Content-Length"));
    match length {
        Some(Some(0..=ORDER_BYTES_MAX)) if !chunked => Ok(()),
        Some(Some(_)) if !chunked => {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long", accepted)
        }
        _ => refuse(StatusCode::LENGTH_REQUIRED, "the body's length is not said", accepted),
    }
}

/// Browsers attach no Authorization header by themselves, and may not send JSON to another origin
/// without asking first, which is never granted here. Where they say who asks, that is heard, too.
fn not_from_a_page(state: &ApiState, headers: &HeaderMap, host: &str) -> Result<(), Box<Response>> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(&CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        let words = "orders are JSON, say so in Content-Type";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, words, json!("application/json"));
    }
    let same = |origin: &str| {
        let origin = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    };
    let site = HeaderName::from_static("sec-fetch-site");
    let other_site = headers.contains_key(&site) && text(&site) != Some("same-origin");
    let other_origin = headers.contains_key(ORIGIN) && !text(&ORIGIN).is_some_and(same);
    if other_site || other_origin {
        state.metrics.access.add(&[AccessOutcome::Foreign.as_str()], 1);
        let words = "a page of another origin gives no orders here";
        return refuse(StatusCode::FORBIDDEN, words, json!("no Origin, or this server's own"));
    }
    Ok(())
}

fn caller(state: &ApiState, request: &Request, right: Right) -> Result<Caller, Box<Response>> {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<Peer>>() else {
        return refuse(StatusCode::FORBIDDEN, "nobody knows where this comes from", Value::Null);
    };
    let Some(access) = &state.access else {
        let words = "this API is read-only; server.access_file says who may give orders";
        return refuse(StatusCode::FORBIDDEN, words, json!(["GET", "HEAD"]));
    };
    let token = request.headers().get(AUTHORIZATION).map(|value| {
        let value = value.to_str().ok().filter(|value| value.len() <= AUTHORIZATION_BYTES_MAX);
        let (scheme, token) = value.and_then(|value| value.split_once(' ')).unwrap_or_default();
        // What is no bearer token is shown all the same, and known to nobody.
        if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" }
    });
    let from = peer.address.ip();
    let count = |outcome: AccessOutcome| state.metrics.access.add(&[outcome.as_str()], 1);
    let verdict = access.judge(token, peer.certificate.as_ref(), right, from);
    let verdict = verdict.map_err(|error| {
        tracing::error!("{error}");
        count(AccessOutcome::Denied);
        let words = "the access file cannot be used, see the log; nobody is let in";
        Box::new(super::api::error(StatusCode::SERVICE_UNAVAILABLE, words, Value::Null))
    })?;
    let path = request.uri().path();
    match verdict {
        Verdict::Known(who) => {
            count(AccessOutcome::Granted);
            Ok(Caller { who, from: from.to_string() })
        }
        Verdict::Hasty(who) => {
            count(AccessOutcome::Limited);
            tracing::warn!(who, %from, "too many orders by one key");
            later("too many orders by this key, wait")
        }
        Verdict::Stranger { tiresome: true } => {
            count(AccessOutcome::Limited);
            later("too many unknown keys from this address, wait")
        }
        Verdict::Forbidden(who) => {
            count(AccessOutcome::Denied);
            tracing::warn!(who, %from, path, "this key may look and not change");
            refuse(StatusCode::FORBIDDEN, "this key may look and not change", json!("change"))
        }
        Verdict::Stranger { tiresome: false } => {
            count(AccessOutcome::Denied);
            tracing::warn!(%from, path, "a key that server.access_file does not have");
            unknown("this key is not known")
        }
        Verdict::Nobody => {
            count(AccessOutcome::Denied);
            unknown("a key is needed: Authorization: Bearer TOKEN")
        }
    }
}

fn unknown<T>(words: &str) -> Result<T, Box<Response>> {
    let mut response = error(StatusCode::UNAUTHORIZED, words, json!("a token of `bursar token`"));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    close(response)
}

fn later<T>(words: &str) -> Result<T, Box<Response>> {
    let mut response = error(StatusCode::TOO_MANY_REQUESTS, words, Value::Null);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    close(response)
}

fn refuse<T>(status: StatusCode, words: &str, accepted: Value) -> Result<T, Box<Response>> {
    close(error(status, words, accepted))
}

/// The body was not read, so the next request on this connection could not be found.
fn close<T>(mut response: Response) -> Result<T, Box<Response>> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Err(Box::new(response))
}
