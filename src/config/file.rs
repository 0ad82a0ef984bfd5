//! Settings back to text: the documented default file, and the fingerprint of what is in force.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::keys::{KEYS, Key};
use super::kind::{Datum, Kind, quote};
use super::lists::{BUDGETS, BudgetEntry, COSTS, List, ROUTES, WEBHOOKS};
use super::settings::Settings;
use crate::cost::BudgetScope;

/// Width of the comments, in columns.
const WIDTH: usize = 98;

const HEADER: &str = "\
# bursar: every setting with its default value, its meaning and its accepted range.
#
# A setting that is left out has the value that stands here. Lines that begin with # and no space
# are examples. Every setting outside of a list of tables can also be given in the environment:
# BURSAR__ENGINE__LATENESS is engine.lateness. Lists are separated by commas there.
";

/// Parts of librdkafka property names whose values are kept out of the fingerprint, because a hash
/// of a short password can be tried out.
const SECRETS: [&str; 6] = ["password", "secret", "key", "pem", "oauthbearer", "token"];

/// The documented default file: loading it gives `Settings::default()`.
pub fn default_file() -> String {
    let mut settings = Settings::default();
    let mut text = HEADER.to_owned();
    let mut section = "";
    for key in KEYS {
        let (path, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if path != section {
            section = path;
            line(&mut text, &format!("\n[{path}]"));
        }
        text.push('\n');
        comment(&mut text, key.doc);
        comment(&mut text, &format!("Accepted: {}.", key.kind.accepted()));
        if let Kind::Properties(_) = key.kind {
            line(&mut text, &format!("[{}]", key.path));
            section = key.path;
            continue;
        }
        let shown = (key.field)(&mut settings).get().map(|datum| key.kind.show(&datum));
        line(&mut text, &format!("{name} = {}", shown.unwrap_or_default()));
    }
    list(&mut text, &COSTS);
    list(&mut text, &BUDGETS);
    list(&mut text, &ROUTES);
    list(&mut text, &WEBHOOKS);
    text
}

/// A key whose value differs between two settings; values as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub path: &'static str,
    /// Its value in the first.
    pub from: String,
    /// Its value in the second.
    pub to: String,
}

/// The keys outside of lists whose values differ, in the order of the documented file.
pub fn changes(from: &Settings, to: &Settings) -> Vec<Change> {
    let (mut from, mut to) = (from.clone(), to.clone());
    let mut value = |key: &Key<Settings>| {
        let show = |settings| (key.field)(settings).get().map(|datum| key.kind.show(&datum));
        [show(&mut from), show(&mut to)].map(Option::unwrap_or_default)
    };
    let changes = KEYS.iter().map(|key| {
        let [from, to] = value(key);
        Change { path: key.path, from, to }
    });
    changes.filter(|change| change.from != change.to).collect()
}

/// A file that makes the second settings of the first: the keys that differ, with what they mean.
pub fn changed_file(from: &Settings, to: &Settings) -> String {
    let mut text = String::new();
    let mut section = "";
    for Change { path, from, to } in changes(from, to) {
        let (head, name) = path.rsplit_once('.').unwrap_or(("", path));
        if head != section {
            section = head;
            line(&mut text, &format!("\n[{head}]"));
        }
        text.push('\n');
        let doc = KEYS.iter().find(|key| key.path == path).map_or("", |key| key.doc);
        comment(&mut text, doc);
        comment(&mut text, &format!("Before: {from}."));
        line(&mut text, &format!("{name} = {to}"));
    }
    text
}

fn list<T>(text: &mut String, list: &List<T>) {
    text.push('\n');
    comment(text, list.doc);
    for key in list.keys {
        let needed = if list.required.contains(&key.path) { ", needed" } else { "" };
        let about =
            format!("{}: {}{needed}. Accepted: {}.", key.path, key.doc, key.kind.accepted());
        comment(text, &about);
    }
    for (index, mut example) in (list.examples)().into_iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        line(text, &format!("#[[{}]]", list.path));
        for (name, value) in shown(list.keys, &mut example) {
            line(text, &format!("#{name} = {value}"));
        }
    }
}

/// The keys that have a value, with the value as TOML.
fn shown<T>(keys: &[Key<T>], target: &mut T) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    for key in keys {
        if let Some(datum) = (key.field)(target).get() {
            pairs.push((key.path, key.kind.show(&datum)));
        }
    }
    pairs
}

fn comment(text: &mut String, words: &str) {
    let mut current = String::from("#");
    for word in words.split_whitespace() {
        if current.len() + 1 + word.len() > WIDTH {
            line(text, &current);
            current = String::from("#");
        }
        current.push(' ');
        current.push_str(word);
    }
    line(text, &current);
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

impl Settings {
    /// A fingerprint of what is in force: SHA-256, in hexadecimal, over every key in a fixed order,
    /// wherever its value came from. Passwords are left out; whether one is set is not.
    pub fn sha256(&self) -> String {
        let digest = Sha256::digest(self.canonical());
        digest.iter().fold(String::new(), |mut hex, byte| {
            let written = write!(hex, "{byte:02x}");
            debug_assert!(written.is_ok(), "writing to a string does not fail");
            hex
        })
    }

    fn canonical(&self) -> String {
        let mut copy = self.clone();
        let mut text = String::new();
        for key in KEYS {
            let value = match (key.field)(&mut copy).get() {
                Some(Datum::Map(mut map)) => {
                    for (name, value) in &mut map {
                        if SECRETS.iter().any(|part| name.contains(part)) {
                            "secret".clone_into(value);
                        }
                    }
                    key.kind.show(&Datum::Map(map))
                }
                Some(datum) => key.kind.show(&datum),
                None => String::new(),
            };
            line(&mut text, &format!("{} = {value}", key.path));
        }
        for entry in &mut copy.cost.functions {
            line(&mut text, &format!("{} {:?}", COSTS.path, shown(COSTS.keys, entry)));
        }
        for budget in &copy.budgets {
            let (account, function) = match &budget.scope {
                BudgetScope::Account(account) => (Some(*account), None),
                BudgetScope::Function(pattern) => (None, Some(pattern.as_str().to_owned())),
            };
            let mut entry = BudgetEntry { account, function, monthly: budget.monthly };
            line(&mut text, &format!("{} {:?}", BUDGETS.path, shown(BUDGETS.keys, &mut entry)));
        }
        for route in &copy.routes {
            let parts = [
                quote(&route.api),
                route.stage.as_deref().map(quote).unwrap_or_default(),
                route.route.as_deref().map(quote).unwrap_or_default(),
                quote(&route.function.to_string()),
            ];
            line(&mut text, &format!("{} {}", ROUTES.path, parts.join(" ")));
        }
        for target in &mut copy.webhooks {
            line(&mut text, &format!("{} {:?}", WEBHOOKS.path, shown(WEBHOOKS.keys, target)));
        }
        text
    }
}
