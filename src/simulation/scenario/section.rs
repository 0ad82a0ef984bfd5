//! A table of a scenario, read key by key. What does not fit is noted and replaced by what is
//! usual, so that reading goes on and all problems are told at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Problem, shown};
use crate::simulation::span::parse_span;

/// Where problems and line numbers are kept while a file is read.
#[derive(Debug)]
pub(super) struct Notes {
    /// Byte offsets of the line breaks.
    breaks: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
}

impl Notes {
    pub(super) fn new(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { breaks, problems: RefCell::default() }
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        self.breaks.partition_point(|at| *at < offset) + 1
    }

    pub(super) fn note(&self, line: usize, key: impl Into<String>, words: impl Into<String>) {
        let problem = Problem { line, key: key.into(), words: words.into() };
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems
    }
}

/// One table, and which of its keys were asked for.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    table: Option<&'a DeTable<'a>>,
    line: usize,
    asked: RefCell<BTreeSet<&'static str>>,
    notes: &'a Notes,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, notes: &'a Notes) -> Self {
        Self { path: String::new(), table: Some(table), line: 1, asked: RefCell::default(), notes }
    }

    /// A table below this one; one that is not there has no keys.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let (table, line) = match self.value(key) {
            Some((DeValue::Table(table), line)) => (Some(table), line),
            Some((_, line)) => {
                self.refuse(key, line, format!("not accepted, write it as [{key}]"));
                (None, line)
            }
            None => (None, self.line),
        };
        let path = self.key(key);
        Section { path, table, line, asked: RefCell::default(), notes: self.notes }
    }

    /// The tables of a list below this one, written as `[[key]]`.
    pub(super) fn list(&self, key: &'static str, most: usize) -> Vec<Section<'a>> {
        let Some((value, line)) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value else {
            self.refuse(key, line, format!("not accepted, write entries as [[{key}]]"));
            return Vec::new();
        };
        if items.len() > most {
            self.refuse(key, line, format!("{} entries, accepted: up to {most}", items.len()));
            return Vec::new();
        }
        let entries = items.iter().enumerate().map(|(index, item)| {
            let path = format!("{}[{index}]", self.key(key));
            let line = self.notes.line(item.span().start);
            let table = match item.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => {
                    let words = format!("not accepted, write entries as [[{key}]]");
                    self.notes.note(line, path.clone(), words);
                    None
                }
            };
            Section { path, table, line, asked: RefCell::default(), notes: self.notes }
        });
        entries.collect()
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the table is there.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn text(&self, key: &'static str) -> Option<&'a str> {
        match self.value(key)? {
            (DeValue::String(text), _) => Some(text),
            (other, line) => {
                self.refuse(key, line, format!("{}: not accepted, give a text", written(other)));
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn needed(&self, key: &'static str) -> &'a str {
        if !self.has(key) {
            self.missing(key, "a text");
        }
        self.text(key).unwrap_or_default()
    }

    /// A list of texts that must be there, and not empty.
    pub(super) fn texts(&self, key: &'static str) -> Vec<&'a str> {
        let accepted = "a list of texts, such as [\"monday.jsonl.gz\"]";
        let Some((value, line)) = self.value(key) else {
            self.missing(key, accepted);
            return Vec::new();
        };
        let text = |item: &'a Spanned<DeValue<'a>>| match item.get_ref() {
            DeValue::String(text) => Some(&**text),
            _ => None,
        };
        let texts: Option<Vec<_>> = match value {
            DeValue::Array(items) => items.iter().map(text).collect(),
            _ => None,
        };
        texts.filter(|texts| !texts.is_empty()).unwrap_or_else(|| {
            self.refuse(key, line, format!("{}: not accepted, give {accepted}", written(value)));
            Vec::new()
        })
    }

    pub(super) fn flag(&self, key: &'static str) -> bool {
        match self.value(key) {
            None => false,
            Some((DeValue::Boolean(flag), _)) => *flag,
            Some((other, line)) => {
                let words = format!("{}: not accepted, give true or false", written(other));
                self.refuse(key, line, words);
                false
            }
        }
    }

    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let (value, line) = self.value(key)?;
        let number = match value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(_) => written(value).parse().ok(),
            _ => None,
        };
        let fits = number.filter(|number| range.contains(number));
        if fits.is_none() {
            let (low, high) = (range.start(), range.end());
            let words = format!("{}: not accepted, give {low} to {high}", written(value));
            self.refuse(key, line, words);
        }
        fits
    }

    pub(super) fn whole(&self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let (value, line) = self.value(key)?;
        let number = match value {
            DeValue::Integer(_) => written(value).parse().ok(),
            _ => None,
        };
        let fits = number.filter(|number| range.contains(number));
        if fits.is_none() {
            let (low, high) = (range.start(), range.end());
            let words =
                format!("{}: not accepted, give a whole number, {low} to {high}", written(value));
            self.refuse(key, line, words);
        }
        fits
    }

    /// A length of time such as `90s` or `1h30m`, in milliseconds.
    pub(super) fn span(&self, key: &'static str, (least, most): (&str, &str)) -> Option<u64> {
        let (value, line) = self.value(key)?;
        let ms = match value {
            DeValue::String(text) => parse_span(text),
            _ => None,
        };
        let range = parse_span(least).unwrap_or(0)..=parse_span(most).unwrap_or(u64::MAX);
        let fits = ms.filter(|ms| range.contains(ms));
        if fits.is_none() {
            let words = format!(
                "{}: not accepted, give a time such as \"90s\" or \"1h30m\", {least} to {most}",
                written(value)
            );
            self.refuse(key, line, words);
        }
        fits
    }

    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let (value, line) = self.value(key)?;
        let text = match value {
            DeValue::String(text) => text,
            _ => "",
        };
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let words = format!("{}: not accepted, give {}", written(value), names.join(", "));
            self.refuse(key, line, words);
        }
        found.map(|(_, choice)| *choice)
    }

    /// All keys with their values as texts, but for those in `without`.
    pub(super) fn pairs(&self, without: &[&str]) -> Vec<(&'a str, String)> {
        let Some(table) = self.table else {
            return Vec::new();
        };
        let keys = table.iter().filter(|(key, _)| !without.contains(&&**key.get_ref()));
        let pair = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key: &'a std::borrow::Cow<'a, str> = key.get_ref();
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                other => written(other),
            };
            (&**key, text)
        };
        keys.map(pair).collect()
    }

    /// Notes a problem with a key of this table; with the table where the key is not there.
    pub(super) fn problem(&self, key: &str, words: impl fmt::Display) {
        let line = self.table.and_then(|table| table.get_key_value(key));
        let line = line.map_or(self.line, |(key, _)| self.notes.line(key.span().start));
        let words = words.to_string();
        self.notes.note(line, self.key(key), words);
    }

    pub(super) fn missing(&self, key: &'static str, accepted: &str) {
        self.notes.note(self.line, self.key(key), format!("missing, give {accepted}"));
    }

    /// Notes the keys that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        let Some(table) = self.table else {
            return;
        };
        for key in table.keys() {
            if !asked.contains(&**key.get_ref()) {
                let known: Vec<&str> = asked.iter().copied().collect();
                let words = format!("unknown key, accepted: {}", known.join(", "));
                let line = self.notes.line(key.span().start);
                self.notes.note(line, self.key(&shown(key.get_ref())), words);
            }
        }
    }

    fn value(&self, key: &'static str) -> Option<(&'a DeValue<'a>, usize)> {
        self.asked.borrow_mut().insert(key);
        let (name, value) = self.table?.get_key_value(key)?;
        Some((value.get_ref(), self.notes.line(name.span().start)))
    }

    fn refuse(&self, key: &str, line: usize, words: String) {
        self.notes.note(line, self.key(key), words);
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A value as it stands in the file.
fn written(value: &DeValue<'_>) -> String {
    let text = match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    shown(&text)
}
