//! Which function an entry point leads to. Access logs name the API, not the function.
//!
//! A route is known from the configuration, or it is learned: where the access log carries the
//! Lambda request id of the integration, the same id stands in the invocation's own record, and one
//! match settles the route. Callers choose neither. Both tables are bounded and forget the oldest;
//! ids are noted while some route is unknown, and now and then to see whether a known one has been
//! pointed elsewhere, so a settled stream pays next to nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::keep::{Bytes, Keep, Unfit, ensure};
use crate::record::{FunctionKey, FunctionRef, RouteRef};

/// The most learned routes; beyond it the oldest is forgotten and learned again when needed.
const LEARNED_MAX: usize = 65_536;
/// The most ids that wait for their counterpart, in each direction.
const WAITING_MAX: usize = 8_192;
/// Invocation ids are noted for this many records after an unknown route was last seen.
const NOTED_AFTER: u64 = 100_000;
/// Known routes are looked at again once in this many records, because APIs are re-pointed,
const REVISED_EVERY: u64 = 65_536;
/// for this many records.
const REVISED_FOR: u64 = 1_024;

/// A route as the configuration gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredRoute {
    /// API id or access-log group.
    pub api: String,
    /// Stage; any when absent.
    pub stage: Option<String>,
    /// Route key; any when absent.
    pub route: Option<String>,
    /// Where it leads.
    pub function: FunctionKey,
}

impl ConfiguredRoute {
    fn matches(&self, route: &RouteRef<'_>) -> bool {
        let fits = |given: &Option<String>, seen: &str| given.as_ref().is_none_or(|g| g == seen);
        self.api == route.api && fits(&self.stage, route.stage) && fits(&self.route, route.route)
    }
}

/// Map of bounded size that forgets its oldest entries.
#[derive(Debug)]
struct Bounded<V> {
    entries: HashMap<u64, V>,
    order: VecDeque<u64>,
    max: usize,
}

impl<V> Bounded<V> {
    fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), max }
    }

    fn insert(&mut self, key: u64, value: V) {
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }
}

/// Everything that is known of routes.
#[derive(Debug)]
pub struct Routes {
    configured: Vec<ConfiguredRoute>,
    learned: Bounded<FunctionKey>,
    /// Hash of a Lambda request id → function that ran.
    ran: Bounded<FunctionKey>,
    /// Hash of a Lambda request id → hash of the route that asked for it.
    asked: Bounded<u64>,
    records: u64,
    noted_until: u64,
}

impl Routes {
    /// Starts with what the configuration knows.
    pub fn new(configured: Vec<ConfiguredRoute>) -> Self {
        Self {
            configured,
            learned: Bounded::new(LEARNED_MAX),
            ran: Bounded::new(WAITING_MAX),
            asked: Bounded::new(WAITING_MAX),
            records: 0,
            noted_until: 0,
        }
    }

    /// An invocation ran: perhaps it answers a request of an unknown route.
    pub fn invocation(&mut self, function: &FunctionRef<'_>, request_id: Option<&str>) {
        self.records += 1;
        let Some(id) = request_id.filter(|_| self.is_noting()) else {
            return;
        };
        let id = xxh3_64(id.as_bytes());
        if let Some(route) = self.asked.entries.remove(&id) {
            self.learned.insert(route, function.to_key());
        } else {
            self.ran.insert(id, function.to_key());
        }
    }

    /// Writes down what was learned and what waits.
    pub fn keep(&self, out: &mut Vec<u8>) {
        let Self { configured: _, learned, ran, asked, records, noted_until } = self;
        learned.keep(out);
        ran.keep(out);
        asked.keep(out);
        (*records, *noted_until).keep(out);
    }

    /// Goes on from there.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.learned.regain(from)?;
        self.ran.regain(from)?;
        self.asked.regain(from)?;
        (self.records, self.noted_until) = Keep::regain(from)?;
        Ok(())
    }

    fn is_noting(&self) -> bool {
        let revising = self.records % REVISED_EVERY < REVISED_FOR;
        self.records <= self.noted_until || (revising && !self.learned.entries.is_empty())
    }

    /// Where a route leads, if it is known by now.
    pub fn resolve(&mut self, route: &RouteRef<'_>) -> Option<FunctionRef<'_>> {
        self.records += 1;
        if let Some(index) = self.configured.iter().position(|known| known.matches(route)) {
            return Some(self.configured[index].function.as_ref());
        }
        let key = key_of(route);
        let known = self.learned.entries.contains_key(&key);
        if !known {
            self.noted_until = self.records + NOTED_AFTER;
        }
        if let Some(id) = route.lambda_request_id
            && self.is_noting()
        {
            let id = xxh3_64(id.as_bytes());
            match self.ran.entries.remove(&id) {
                Some(function) => self.learned.insert(key, function),
                None => self.asked.insert(id, key),
            }
        }
        self.learned.entries.get(&key).map(FunctionKey::as_ref)
    }
}

fn key_of(route: &RouteRef<'_>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&route.account.get().to_le_bytes());
    for part in [route.region, route.api, route.stage, route.route] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    hash.digest()
}

impl<V: Keep> Bounded<V> {
    fn keep(&self, out: &mut Vec<u8>) {
        self.order.keep(out);
        // In an order of its own, so that the same state is the same bytes.
        self.entries.len().keep(out);
        for (key, value) in self.entries.iter().collect::<BTreeMap<_, _>>() {
            key.keep(out);
            value.keep(out);
        }
    }

    fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.order = Keep::regain(from)?;
        let count = usize::regain(from)?;
        ensure(self.order.len() <= self.max && count <= self.order.len())?;
        self.entries = (0..count).map(|_| <(u64, V)>::regain(from)).collect::<Result<_, _>>()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> FunctionRef<'_> {
        FunctionRef::try_new("1".parse().unwrap(), "eu-west-1", name).unwrap()
    }

    fn route<'a>(path: &'a str, id: Option<&'a str>) -> RouteRef<'a> {
        RouteRef {
            account: "1".parse().unwrap(),
            region: "eu-west-1",
            api: "a1b2c3",
            stage: "prod",
            route: path,
            lambda_request_id: id,
        }
    }

    #[test]
    fn one_shared_request_id_settles_a_route_in_either_order() {
        let mut routes = Routes::new(Vec::new());
        assert_eq!(routes.resolve(&route("GET /a", Some("id-1"))), None);
        routes.invocation(&function("a"), Some("id-1"));
        assert_eq!(routes.resolve(&route("GET /a", None)), Some(function("a")));

        routes.invocation(&function("b"), Some("id-2"));
        assert_eq!(routes.resolve(&route("GET /b", Some("id-2"))), Some(function("b")));
        assert_eq!(routes.resolve(&route("GET /b", Some("id-9"))), Some(function("b")));
    }

    #[test]
    fn a_configured_route_needs_no_id_and_goes_first() {
        let configured = ConfiguredRoute {
            api: "a1b2c3".into(),
            stage: None,
            route: Some("GET /a".into()),
            function: function("configured").to_key(),
        };
        let mut routes = Routes::new(vec![configured]);
        assert_eq!(routes.resolve(&route("GET /a", None)), Some(function("configured")));
        assert_eq!(routes.resolve(&route("GET /b", None)), None);
    }

    #[test]
    fn a_route_that_is_pointed_elsewhere_is_learned_again() {
        let mut routes = Routes::new(Vec::new());
        for number in 0..200_000 {
            let name = if number < 50_000 { "old" } else { "new" };
            let id = number.to_string();
            routes.invocation(&function(name), Some(&id));
            routes.resolve(&route("GET /a", Some(&id)));
        }
        assert_eq!(routes.resolve(&route("GET /a", None)), Some(function("new")));
    }

    #[test]
    fn invented_routes_and_ids_do_not_grow_the_tables() {
        let mut routes = Routes::new(Vec::new());
        for number in 0..200_000 {
            let text = number.to_string();
            routes.resolve(&route(&text, Some(&text)));
            routes.invocation(&function("f"), Some(&format!("x{number}")));
        }
        assert!(routes.asked.entries.len() <= WAITING_MAX);
        assert!(routes.ran.entries.len() <= WAITING_MAX);
        assert!(routes.learned.entries.len() <= LEARNED_MAX);
    }
}
