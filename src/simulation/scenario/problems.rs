//! What is wrong with a scenario: all of it at once, each with its line and key.

use std::fmt;

/// The longest part of a refused value that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// Everything that is wrong with one file; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioProblems {
    /// The file as it was named.
    pub file: String,
    /// In the order of lines.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line from 1; 0 where the file itself is the problem.
    pub line: usize,
    /// The path of the key, as in `load[1].rps`.
    pub key: String,
    /// What is wrong, and what is accepted.
    pub words: String,
}

impl fmt::Display for ScenarioProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if problem.line > 0 {
                write!(f, " line {}", problem.line)?;
            }
            f.write_str(": ")?;
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.words)?;
        }
        Ok(())
    }
}

impl std::error::Error for ScenarioProblems {}

/// A refused value on one line, and not too long.
pub(super) fn shown(value: &str) -> String {
    let line = value.replace(char::is_control, " ");
    if line.chars().count() <= SHOWN_CHARS_MAX {
        return line;
    }
    let start: String = line.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{start}...")
}
