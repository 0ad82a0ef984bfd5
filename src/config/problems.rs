//! What is wrong with a configuration: all of it at once, one line each, so that nobody has to
//! repair and retry key by key.

use std::fmt;

/// The longest part of a refused value that is printed, in characters.
const GIVEN_CHARS_MAX: usize = 60;

/// Every problem that was found; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblems(Vec<Problem>);

impl ConfigProblems {
    /// `None` where nothing is wrong.
    pub(super) fn of(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems, by key.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for ConfigProblems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigProblems {}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the key; empty where the file itself is the problem.
    pub key: String,
    /// The value as it came; `None` where there is none, or where it could be a secret.
    pub given: Option<String>,
    /// What is wrong with it.
    pub fault: Fault,
    /// Who said it.
    pub source: Source,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not in the accepted range, which is told.
    Refused {
        /// The range in words.
        accepted: String,
    },
    /// No such key.
    Unknown {
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// A needed key is not there.
    Missing {
        /// The range in words.
        accepted: String,
    },
    /// Anything else, in words.
    Other(String),
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The file, and the line where that is known.
    File {
        /// Its name as it was given.
        name: String,
        /// From 1.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(given) = &self.given {
            write!(f, " = {}", shorten(given))?;
        }
        if !self.key.is_empty() {
            f.write_str(": ")?;
        }
        match &self.fault {
            Fault::Refused { accepted } => write!(f, "not accepted, give {accepted}")?,
            Fault::Unknown { nearest: None } => f.write_str("unknown key, remove it")?,
            Fault::Unknown { nearest: Some(nearest) } => {
                write!(f, "unknown key, did you mean {nearest}?")?
            }
            Fault::Missing { accepted } => write!(f, "missing, give {accepted}")?,
            Fault::Other(words) => f.write_str(words)?,
        }
        match &self.source {
            Source::File { name, line } => {
                write!(f, " ({name}")?;
                if let Some(line) = line {
                    write!(f, " line {line}")?;
                }
                f.write_str(")")
            }
            Source::Variable(name) => write!(f, " (environment variable {name})"),
            Source::Default => f.write_str(" (default)"),
        }
    }
}

/// One line, and not too long a one.
fn shorten(given: &str) -> String {
    let one_line = given.replace(char::is_control, " ");
    if one_line.chars().count() <= GIVEN_CHARS_MAX {
        return one_line;
    }
    let start: String = one_line.chars().take(GIVEN_CHARS_MAX).collect();
    format!("{start}...")
}

/// The candidate that is most like `name`, if one is like it at all: at most a third of the
/// characters, and at least two, may differ.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(2);
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and substitutions of a character cost one each.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested_only_when_it_is_near() {
        let keys = ["shards", "lateness", "functions_max"];
        for (name, expected) in [
            ("shard", Some("shards")),
            ("latenes", Some("lateness")),
            ("function_max", Some("functions_max")),
            ("max_functions", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, keys.into_iter()), expected, "{name}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn long_and_many_lined_values_are_printed_short_and_on_one_line() {
        let problem = Problem {
            key: "log.level".to_owned(),
            given: Some(format!("a\nb{}", "x".repeat(500))),
            fault: Fault::Other("no".to_owned()),
            source: Source::Variable("BURSAR__LOG__LEVEL".to_owned()),
        };
        let line = problem.to_string();
        assert_eq!(line.lines().count(), 1);
        assert!(line.len() < 150, "{line}");
    }
}
