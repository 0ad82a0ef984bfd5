//! What the file and the environment say, merged by the `config` crate, still untyped, with where
//! each value came from.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use config::{Config, ConfigError, Environment, File, FileFormat, Map, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::keys::KEYS;
use super::kind::Kind;
use super::lists::LISTS;
use super::problems::{ConfigProblems, Fault, Problem, Source, nearest};

/// The largest file that is read; the longest allowed lists fit several times.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Variables that begin so are ours.
const PREFIX: &str = "BURSAR__";

/// Reads the text of a configuration file.
pub(super) fn read_file(path: &Path) -> Result<String, Problem> {
    let fault = |words: String| Problem {
        key: String::new(),
        given: None,
        fault: Fault::Other(words),
        source: Source::File { name: path.display().to_string(), line: None },
    };
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => fault(
            "the config file does not exist; check the path, or leave it out to run with the \
             defaults"
                .to_owned(),
        ),
        _ => fault(format!("the config file cannot be opened: {error}; check its permissions")),
    })?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| {
        fault(format!(
            "the config file cannot be read: {error}; it must be a regular file in UTF-8"
        ))
    })?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(fault(format!(
            "the config file is larger than {FILE_BYTES_MAX} bytes; shorten its lists"
        )));
    }
    Ok(text)
}

/// The merged tree.
#[derive(Debug)]
pub(super) struct RawConfig {
    /// Key by key; the environment lies over the file.
    pub(super) tree: Map<String, Value>,
    file: String,
    lines: BTreeMap<String, usize>,
    variables: BTreeMap<String, String>,
}

impl RawConfig {
    /// Merges; also gives the problems with names of variables.
    pub(super) fn merge(
        file: &str,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Vec<Problem>), ConfigProblems> {
        let lines = lines(file, text)?;
        let mut problems = Vec::new();
        let mut variables = BTreeMap::new();
        let mut values = Map::new();
        for (name, value) in environment.filter(|(name, _)| name.starts_with(PREFIX)) {
            match variable_path(&name) {
                Ok(path) => {
                    variables.insert(path, name.clone());
                    values.insert(name, value);
                }
                Err(fault) => problems.push(Problem {
                    key: name.trim_start_matches(PREFIX).replace("__", ".").to_lowercase(),
                    given: None,
                    fault,
                    source: Source::Variable(name),
                }),
            }
        }
        let environment = Environment::with_prefix("BURSAR")
            .prefix_separator("__")
            .separator("__")
            .source(Some(values));
        let merged = Config::builder()
            .add_source(File::from_str(text, FileFormat::Toml))
            .add_source(environment)
            .build()
            .map_err(|error| unreadable(file, &error))?;
        let ValueKind::Table(tree) = merged.cache.kind else {
            // The crate makes a table of two empty sources as well.
            return Err(whole_file(file, None, "the config file is not a table").into());
        };
        let raw = Self { tree, file: file.to_owned(), lines, variables };
        Ok((raw, problems))
    }

    /// The value at `path`, which names tables only.
    pub(super) fn value(&self, path: &str) -> Option<&Value> {
        let mut segments = path.split('.');
        let mut value = self.tree.get(segments.next()?)?;
        for segment in segments {
            let ValueKind::Table(table) = &value.kind else {
                return None;
            };
            value = table.get(segment)?;
        }
        Some(value)
    }

    /// Whether the value at `path` came from the environment.
    pub(super) fn is_variable(&self, path: &str) -> bool {
        self.variables.contains_key(path)
    }

    /// Where the value at `path` came from.
    pub(super) fn source(&self, path: &str) -> Source {
        if let Some(name) = self.variables.get(path) {
            return Source::Variable(name.clone());
        }
        match self.lines.get(path) {
            Some(line) => Source::File { name: self.file.clone(), line: Some(*line) },
            None => Source::Default,
        }
    }
}

/// The key that a variable sets.
fn variable_path(name: &str) -> Result<String, Fault> {
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    let segments: Vec<&str> = rest.split("__").collect();
    if !rest.bytes().all(upper) || segments.iter().any(|segment| segment.is_empty()) {
        return Err(Fault::Other(
            "not a variable name, give BURSAR__SECTION__KEY in upper case".to_owned(),
        ));
    }
    let path = segments.join(".").to_lowercase();
    if LISTS.iter().any(|list| is_under(&path, list)) {
        return Err(Fault::Other("lists of tables can be given in the file only".to_owned()));
    }
    let known = KEYS.iter().any(|key| match key.kind {
        Kind::Properties(_) => is_under(&path, key.path) && path != key.path,
        _ => key.path == path,
    });
    if known {
        return Ok(path);
    }
    let candidate = nearest(&path, KEYS.iter().map(|key| key.path));
    Err(Fault::Unknown {
        nearest: candidate
            .map(|path| format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())),
    })
}

/// Whether `path` is `parent` or below it.
pub(super) fn is_under(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The line of every key of the file.
fn lines(file: &str, text: &str) -> Result<BTreeMap<String, usize>, Problem> {
    let table = DeTable::parse(text).map_err(|error| syntax(file, text, &error))?;
    // The `config` crate reads a key at the top as a path; an index in it would be obeyed.
    let path_like = |name: &str| name.contains(['.', '[', ']']);
    if let Some(key) = table.get_ref().keys().find(|key| path_like(key.get_ref())) {
        let line = line_at(text, key.span().start);
        let words = format!("unknown key {:?}, write sections as [section]", key.get_ref());
        return Err(whole_file(file, Some(line), &words));
    }
    let starts: Vec<usize> = text.match_indices('\n').map(|(index, _)| index).collect();
    let mut lines = BTreeMap::new();
    collect_lines("", table.get_ref(), &starts, &mut lines);
    Ok(lines)
}

fn collect_lines(
    prefix: &str,
    table: &DeTable<'_>,
    starts: &[usize],
    lines: &mut BTreeMap<String, usize>,
) {
    for (key, value) in table {
        let path = join(prefix, key.get_ref());
        let line = starts.partition_point(|start| *start < key.span().start) + 1;
        lines.insert(path.clone(), line);
        match value.get_ref() {
            DeValue::Table(table) => collect_lines(&path, table, starts, lines),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let line = starts.partition_point(|start| *start < item.span().start) + 1;
                    if let DeValue::Table(table) = item.get_ref() {
                        lines.insert(path.clone(), line);
                        collect_lines(&path, table, starts, lines);
                    }
                }
            }
            _ => {}
        }
    }
}

/// `prefix.name`, or `name` at the top.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    before.filter(|byte| *byte == b'\n').count() + 1
}

fn syntax(file: &str, text: &str, error: &toml::de::Error) -> Problem {
    let line = error.span().map(|span| line_at(text, span.start));
    whole_file(file, line, &format!("not valid TOML: {}", error.message()))
}

/// The syntax was already checked; what is left are numbers that no integer type holds.
fn unreadable(file: &str, error: &ConfigError) -> Problem {
    let words = format!("not readable: {error}; look for a number with too many digits");
    whole_file(file, None, &words)
}

fn whole_file(file: &str, line: Option<usize>, words: &str) -> Problem {
    Problem {
        key: String::new(),
        given: None,
        fault: Fault::Other(words.replace('\n', " ")),
        source: Source::File { name: file.to_owned(), line },
    }
}
