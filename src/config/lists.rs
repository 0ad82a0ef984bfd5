//! The lists of tables that a file may have, and what an entry of each may say.

use super::keys::{Key, PATTERN, USD_MAX, key};
use super::kind::Kind;
use super::names::{any_text, is_function, is_hook, is_pattern, not_empty};
use super::settings::FunctionCost;
use crate::act::webhook::Target;
use crate::cost::Gateway;
use crate::units::{AccountId, NanoUsd};

/// The entries of a list of tables, for example `[[budgets]]`.
pub(super) struct List<T: 'static> {
    pub(super) path: &'static str,
    /// Most entries.
    pub(super) max: usize,
    /// Keys that every entry must have.
    pub(super) required: &'static [&'static str],
    pub(super) keys: &'static [Key<T>],
    pub(super) doc: &'static str,
    /// Entries that the documented file shows as comments.
    pub(super) examples: fn() -> Vec<T>,
}

/// Where the lists of tables are, for the reader's dispatch.
pub(super) const LISTS: [&str; 4] = [COSTS.path, BUDGETS.path, ROUTES.path, WEBHOOKS.path];

pub(super) const COSTS: List<FunctionCost> = List {
    path: "cost.functions",
    max: 10_000,
    required: &["match"],
    doc: "Functions whose cost is different; the first that matches counts, and what it leaves \
          out keeps the value above.",
    examples: || {
        vec![FunctionCost {
            pattern: "checkout-*".to_owned(),
            gateway: Some(Gateway::HttpApi),
            log_bytes_per_invocation: Some(2_048),
            response_bytes: Some(10_240),
            extra_usd_per_million_requests: Some(6.25),
        }]
    },
    keys: COST_KEYS,
};

static COST_KEYS: &[Key<FunctionCost>] = &[
    key("match", |c| &mut c.pattern, Kind::Text(PATTERN, is_pattern), "which functions"),
    key("gateway", |c| &mut c.gateway, Kind::Choice(Gateway::NAMES), "as cost.gateway"),
    key(
        "log_bytes_per_invocation",
        |c| &mut c.log_bytes_per_invocation,
        Kind::Size(0, 1 << 30),
        "as cost.log_bytes_per_invocation",
    ),
    key(
        "response_bytes",
        |c| &mut c.response_bytes,
        Kind::Size(0, 1 << 30),
        "as cost.response_bytes",
    ),
    key(
        "extra_usd_per_million_requests",
        |c| &mut c.extra_usd_per_million_requests,
        Kind::Real(0.0, USD_MAX),
        "as cost.extra_usd_per_million_requests",
    ),
];

/// A budget as it stands in the file: the scope is one of two keys.
#[derive(Debug, Default)]
pub(super) struct BudgetEntry {
    pub(super) account: Option<AccountId>,
    pub(super) function: Option<String>,
    pub(super) monthly: NanoUsd,
}

pub(super) const BUDGETS: List<BudgetEntry> = List {
    path: "budgets",
    max: 10_000,
    required: &["monthly_usd"],
    doc: "Ceilings for a calendar month (UTC), for an account or for all functions that match.",
    examples: || {
        let account = BudgetEntry {
            account: "111122223333".parse().ok(),
            function: None,
            monthly: NanoUsd::from_usd(500.0),
        };
        let function = BudgetEntry {
            account: None,
            function: Some("checkout-*".to_owned()),
            monthly: NanoUsd::from_usd(50.0),
        };
        vec![account, function]
    },
    keys: BUDGET_KEYS,
};

static BUDGET_KEYS: &[Key<BudgetEntry>] = &[
    key(
        "account",
        |b| &mut b.account,
        Kind::Text("an account number of 1 to 12 digits", any_text),
        "the account",
    ),
    key("function", |b| &mut b.function, Kind::Text(PATTERN, is_pattern), "or the functions"),
    key("monthly_usd", |b| &mut b.monthly, Kind::Real(0.01, USD_MAX), "the ceiling in dollars"),
];

/// A route as it stands in the file: the function may be a bare name.
#[derive(Debug, Default)]
pub(super) struct RouteEntry {
    pub(super) api: String,
    pub(super) stage: Option<String>,
    pub(super) route: Option<String>,
    pub(super) function: String,
}

pub(super) const ROUTES: List<RouteEntry> = List {
    path: "routes",
    max: 100_000,
    required: &["api", "function"],
    doc: "Which function stands behind an entry point: access logs name the API only.",
    examples: || {
        vec![RouteEntry {
            api: "a1b2c3d4e5".to_owned(),
            stage: Some("prod".to_owned()),
            route: Some("POST /orders".to_owned()),
            function: "checkout".to_owned(),
        }]
    },
    keys: ROUTE_KEYS,
};

static ROUTE_KEYS: &[Key<RouteEntry>] = &[
    key(
        "api",
        |r| &mut r.api,
        Kind::Text("an API id or log group", not_empty),
        "API id, origin of events (an ARN), or log group of the access records",
    ),
    key("stage", |r| &mut r.stage, Kind::Text("a stage name", not_empty), "stage; left out: any"),
    key(
        "route",
        |r| &mut r.route,
        Kind::Text("a route key", not_empty),
        "route key, or method and resource path; left out: any",
    ),
    key(
        "function",
        |r| &mut r.function,
        Kind::Text("a function name, bare or as account:region:name", is_function),
        "the function; a bare name is in input.account and input.region",
    ),
];

pub(super) const WEBHOOKS: List<Target> = List {
    path: "webhooks",
    max: 16,
    required: &["url", "secret_file"],
    doc: "Where actions and the beginnings and ends of alarms are posted as JSON, signed.",
    examples: || {
        vec![Target {
            url: "https://hooks.example/bursar".to_owned(),
            secret_file: "/etc/bursar/webhook.secret".into(),
        }]
    },
    keys: WEBHOOK_KEYS,
};

static WEBHOOK_KEYS: &[Key<Target>] = &[
    key(
        "url",
        |t| &mut t.url,
        Kind::Text("https://…, or http:// to a loopback address or a name without a dot", is_hook),
        "where to; redirects are not followed",
    ),
    key(
        "secret_file",
        |t| &mut t.secret_file,
        Kind::Text("a path", not_empty),
        "a file of 16 to 4096 bytes, the key of the HMAC-SHA256 in Bursar-Signature",
    ),
];
