//! From the untyped tree to settings. A problem with one key does not hide those of the others:
//! the key keeps its default and reading goes on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use config::{Map, Value, ValueKind};

use super::keys::{KEYS, Key};
use super::kind::{Datum, Kind, quote};
use super::lists::{BUDGETS, BudgetEntry, COSTS, LISTS, List, ROUTES, RouteEntry, WEBHOOKS};
use super::problems::{Fault, Problem, nearest};
use super::raw::{RawConfig, is_under, join};
use super::rules;
use super::settings::Settings;
use crate::cost::{Budget, BudgetScope, Pattern};
use crate::engine::routes::ConfiguredRoute;
use crate::record::{FunctionKey, FunctionRef};
use crate::units::AccountId;

/// Reads everything, adding what is wrong to `problems`.
pub(super) fn read(raw: &RawConfig, problems: &mut Vec<Problem>) -> Settings {
    let mut settings = Settings::default();
    let mut reader = Reader { raw, problems };
    reader.section("", &raw.tree, &mut settings);
    settings.cost.functions = reader.list(&COSTS, |_, _, entry| Some(entry));
    let mut scopes = BTreeMap::new();
    settings.budgets = reader.list(&BUDGETS, |reader, path, entry| {
        let budget = reader.budget(path, entry)?;
        let first = reader.first(&mut scopes, budget.scope.clone(), path);
        first.then_some(budget)
    });
    let (account, region) = (settings.input.account, settings.input.region.clone());
    let mut entry_points = BTreeMap::new();
    settings.routes = reader.list(&ROUTES, |reader, path, entry| {
        let entry_point = (entry.api.clone(), entry.stage.clone(), entry.route.clone());
        let first = reader.first(&mut entry_points, entry_point, path);
        first.then(|| route(account, &region, entry)).flatten()
    });
    settings.webhooks = reader.list(&WEBHOOKS, |_, _, entry| Some(entry));
    rules::check(&settings, raw, problems);
    settings
}

struct Reader<'a> {
    raw: &'a RawConfig,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn section(&mut self, prefix: &str, table: &Map<String, Value>, settings: &mut Settings) {
        for (name, value) in table {
            let path = join(prefix, name);
            if let Some(key) = KEYS.iter().find(|key| key.path == path) {
                self.key(key, &path, value, settings);
            } else if LISTS.contains(&path.as_str()) {
                // Read afterwards, because entries may need the values of keys.
            } else if KEYS.iter().any(|key| is_under(key.path, &path)) {
                match &value.kind {
                    ValueKind::Table(table) => self.section(&path, table, settings),
                    _ => self.refuse(&path, Some(value), "a section with keys"),
                }
            } else {
                self.unknown(&path, value, nearest_key(&path));
            }
        }
    }

    /// Reads one value into its field.
    fn key<T>(&mut self, key: &Key<T>, path: &str, value: &Value, target: &mut T) {
        let datum = match key.kind {
            Kind::Properties(max) => properties(value, max),
            _ => key.kind.read(&value.kind, self.raw.is_variable(path)),
        };
        let fits = datum.is_some_and(|datum| (key.field)(target).set(datum));
        if !fits {
            // Properties may hold passwords.
            let shown = (!matches!(key.kind, Kind::Properties(_))).then_some(value);
            self.refuse(path, shown, &key.kind.accepted());
        }
    }

    /// The entries of one list that have all they need and that `finish` takes.
    fn list<T: Default, U>(
        &mut self,
        list: &List<T>,
        mut finish: impl FnMut(&mut Self, &str, T) -> Option<U>,
    ) -> Vec<U> {
        let Some(value) = self.raw.value(list.path) else {
            return Vec::new();
        };
        let ValueKind::Array(items) = &value.kind else {
            let accepted = format!("entries as [[{}]]", list.path);
            self.refuse(list.path, Some(value), &accepted);
            return Vec::new();
        };
        if items.len() > list.max {
            self.refuse(list.path, None, &format!("at most {} entries", list.max));
            return Vec::new();
        }
        let mut entries = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", list.path);
            let entry = self.entry(list, &path, item);
            entries.extend(entry.and_then(|entry| finish(self, &path, entry)));
        }
        entries
    }

    fn entry<T: Default>(&mut self, list: &List<T>, path: &str, item: &Value) -> Option<T> {
        let ValueKind::Table(table) = &item.kind else {
            self.refuse(path, Some(item), &format!("an entry as [[{}]]", list.path));
            return None;
        };
        let before = self.problems.len();
        let mut entry = T::default();
        for (name, value) in table {
            let path = join(path, name);
            match list.keys.iter().find(|key| key.path == name) {
                Some(key) => self.key(key, &path, value, &mut entry),
                None => {
                    let candidate = nearest(name, list.keys.iter().map(|key| key.path));
                    self.unknown(&path, value, candidate.map(str::to_owned));
                }
            }
        }
        for name in list.required {
            if !table.contains_key(*name) {
                let key = list.keys.iter().find(|key| key.path == *name);
                self.problems.push(Problem {
                    key: join(path, name),
                    given: None,
                    fault: Fault::Missing {
                        accepted: key.map(|key| key.kind.accepted()).unwrap_or_default(),
                    },
                    source: self.raw.source(path),
                });
            }
        }
        (self.problems.len() == before).then_some(entry)
    }

    fn budget(&mut self, path: &str, entry: BudgetEntry) -> Option<Budget> {
        let scope = match (entry.account, entry.function) {
            (Some(account), None) => BudgetScope::Account(account),
            (None, Some(pattern)) => BudgetScope::Function(Pattern::new(&pattern)),
            _ => {
                self.problems.push(Problem {
                    key: path.to_owned(),
                    given: None,
                    fault: Fault::Other("give exactly one of account and function".to_owned()),
                    source: self.raw.source(path),
                });
                return None;
            }
        };
        Some(Budget { scope, monthly: entry.monthly })
    }

    /// Whether no entry before `path` says the same; two would silently shadow each other.
    fn first<K: Ord>(&mut self, seen: &mut BTreeMap<K, String>, same: K, path: &str) -> bool {
        match seen.entry(same) {
            Entry::Vacant(vacant) => {
                vacant.insert(path.to_owned());
                true
            }
            Entry::Occupied(occupied) => {
                let words = format!("stands for the same as {}, keep one of them", occupied.get());
                self.problems.push(Problem {
                    key: path.to_owned(),
                    given: None,
                    fault: Fault::Other(words),
                    source: self.raw.source(path),
                });
                false
            }
        }
    }

    fn refuse(&mut self, path: &str, value: Option<&Value>, accepted: &str) {
        self.problems.push(Problem {
            key: path.to_owned(),
            given: value.map(show),
            fault: Fault::Refused { accepted: accepted.to_owned() },
            source: self.raw.source(path),
        });
    }

    fn unknown(&mut self, path: &str, value: &Value, nearest: Option<String>) {
        let table = matches!(value.kind, ValueKind::Table(_));
        self.problems.push(Problem {
            key: path.to_owned(),
            given: (!table).then(|| show(value)),
            fault: Fault::Unknown { nearest },
            source: self.raw.source(path),
        });
    }
}

/// The function of a route may be a bare name. `None` does not happen: region and function were
/// checked, and refused ones never come here.
fn route(account: AccountId, region: &str, entry: RouteEntry) -> Option<ConfiguredRoute> {
    let function = entry.function.parse::<FunctionKey>().or_else(|_| {
        FunctionRef::try_new(account, region, &entry.function).map(|function| function.to_key())
    });
    Some(ConfiguredRoute {
        api: entry.api,
        stage: entry.stage,
        route: entry.route,
        function: function.ok()?,
    })
}

/// A key or section of a similar name, or of the same name in another section.
fn nearest_key(path: &str) -> Option<String> {
    let mut candidates: BTreeSet<&str> = BTreeSet::new();
    for key in KEYS.iter().map(|key| key.path).chain(LISTS) {
        candidates.insert(key);
        candidates.extend(key.match_indices('.').filter_map(|(end, _)| key.get(..end)));
    }
    let last = path.rsplit('.').next();
    let elsewhere = || candidates.iter().find(|path| path.rsplit('.').next() == last).copied();
    nearest(path, candidates.iter().copied()).or_else(elsewhere).map(str::to_owned)
}

/// Nested tables become dotted names, because `sasl.password = ""` is a table in TOML and so is
/// `SASL__PASSWORD` in the environment.
fn properties(value: &Value, max: usize) -> Option<Datum> {
    let ValueKind::Table(table) = &value.kind else {
        return None;
    };
    let mut flat = Vec::new();
    for (name, value) in table {
        flatten(name, value, &mut flat)?;
    }
    // The same name can come from the file in one spelling and from the environment in the other;
    // the later one stays, and that is the environment's.
    flat.sort();
    let map: BTreeMap<String, String> =
        flat.into_iter().map(|(name, _, text)| (name, text)).collect();
    (map.len() <= max).then_some(Datum::Map(map))
}

/// Adds name, whether it came from the environment, and text of all that is below `value`.
fn flatten(name: &str, value: &Value, flat: &mut Vec<(String, bool, String)>) -> Option<()> {
    let text = match &value.kind {
        ValueKind::Table(table) => {
            for (inner, value) in table {
                flatten(&join(name, inner), value, flat)?;
            }
            return Some(());
        }
        ValueKind::String(text) => text.clone(),
        ValueKind::Boolean(flag) => flag.to_string(),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::Float(number) => number.to_string(),
        _ => return None,
    };
    // Only the environment gives an origin: the file is read as a text without a name.
    flat.push((name.to_owned(), value.origin().is_some(), text));
    Some(())
}

/// A value as it would stand in the file.
fn show(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => quote(text),
        ValueKind::Array(items) => {
            let shown: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", shown.join(", "))
        }
        ValueKind::Table(_) => "{ ... }".to_owned(),
        other => other.to_string(),
    }
}
