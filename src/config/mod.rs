//! Raw file and environment to validated settings, exactly once.
//!
//! `keys` is the one list of what may be set: the key, its meaning, its accepted range and where
//! its value goes. The reader, the documented default file and the fingerprint are made from it,
//! and every default comes from `Settings::default()`; so none of them can disagree.

pub mod settings;

mod keys;
mod kind;
mod lists;
mod names;

pub mod problems;

mod raw;
mod reader;
mod rules;

pub mod file;

use std::path::Path;

use problems::ConfigProblems;
use settings::Settings;

/// Reads the file, if there is one, lays the environment over it and checks everything.
///
/// Variables are named `BURSAR__SECTION__KEY`, upper case; others are left alone.
///
/// # Errors
/// All problems at once: an unreadable file, a mistake in its syntax, unknown keys, values out of
/// range, and settings that contradict each other.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, ConfigProblems> {
    match file {
        Some(path) => {
            let text = raw::read_file(path)?;
            load_text(&path.display().to_string(), &text, environment)
        }
        None => load_text("", "", environment),
    }
}

/// As [`load`], with the text of the file already read; `name` is what problems call it.
///
/// # Errors
/// As [`load`].
pub fn load_text(
    name: &str,
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, ConfigProblems> {
    let (raw, mut problems) = raw::RawConfig::merge(name, text, environment)?;
    let settings = reader::read(&raw, &mut problems);
    problems.sort_by_cached_key(|problem| (problem.key.clone(), problem.to_string()));
    match ConfigProblems::of(problems) {
        Some(problems) => Err(problems),
        None => Ok(settings),
    }
}

#[cfg(test)]
mod tests;
