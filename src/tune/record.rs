//! What is known already: a line for each finished evaluation, so that a search that was stopped
//! goes on where it was.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::Xxh3;

use super::price::Outcome;
use crate::simulation::scenario::Scenario;

/// Version of the lines' form.
const FORM: u32 = 1;
/// The most lines that are read.
const LINES_MAX: usize = 1_000_000;
/// The longest line.
const LINE_BYTES_MAX: u64 = 4_096;

/// What was evaluated: settings, scenario and seed, the first two as fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Job {
    /// SHA-256 of the settings.
    pub settings: String,
    /// SHA-256 of the scenario as it was read, and of what else an outcome depends on.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    v: u32,
    #[serde(flatten)]
    job: Job,
    #[serde(flatten)]
    outcome: Outcome,
}

/// How every line begins, so that nothing else is taken for half a line.
const BEGIN: &[u8] = b"{\"v\":1,";

/// What is known, and where it is kept.
#[derive(Debug, Default)]
pub struct Record {
    known: BTreeMap<Job, Outcome>,
    file: Option<File>,
}

impl Record {
    /// Reads what is known and goes on writing behind it.
    ///
    /// # Errors
    /// The file cannot be read or written, or is something else.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let show = || path.display().to_string();
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", show()))?;
        let mut record = Self { known: BTreeMap::new(), file: None };
        let mut reader = BufReader::new(&file);
        let mut whole = 0;
        for number in 1.. {
            let mut text = Vec::new();
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
            let read = read.with_context(show)? as u64;
            anyhow::ensure!(number <= LINES_MAX, "{} has over {LINES_MAX} lines", show());
            // A process that was stopped may have left half a line, and only as the last one.
            if text.last() != Some(&b'\n') && text.iter().zip(BEGIN).all(|(is, of)| is == of) {
                break;
            }
            let line = serde_json::from_slice::<Line>(&text).ok().filter(|line| line.v == FORM);
            let line = line.with_context(|| {
                format!("{} line {number} is no evaluation, name another file", show())
            })?;
            record.known.insert(line.job, line.outcome);
            whole += read;
        }
        file.set_len(whole).with_context(show)?;
        record.file = Some(file);
        Ok(record)
    }

    /// What came of it, if it is known.
    pub fn get(&self, job: &Job) -> Option<&Outcome> {
        self.known.get(job)
    }

    /// Notes what came of something.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&mut self, job: Job, outcome: Outcome) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let line = Line { v: FORM, job: job.clone(), outcome };
            let mut text = serde_json::to_vec(&line)?;
            text.push(b'\n');
            // One write, so that no two lines mix and at most the last one is torn.
            file.write_all(&text)?;
        }
        self.known.insert(job, outcome);
        Ok(())
    }
}

/// What outcomes depend on beside settings, scenario and seed, as a fingerprint: this very program,
/// because another build may come to other results, and the prices that the settings name.
///
/// # Errors
/// One of them cannot be read.
pub fn premises(prices_file: Option<&Path>) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let mut hash = Xxh3::new();
    for path in [Some(&*program), prices_file].into_iter().flatten() {
        let show = || format!("cannot read {} to tell its results apart", path.display());
        let mut reader = BufReader::new(File::open(path).with_context(show)?);
        loop {
            let part = reader.fill_buf().with_context(show)?;
            let length = part.len();
            if length == 0 {
                break;
            }
            hash.update(part);
            reader.consume(length);
        }
        // What one file ends with is not what the next begins with.
        hash.update(b"\0/\0");
    }
    Ok(format!("{:032x}", hash.digest128()))
}

/// A fingerprint of a scenario with everything that it brings along, and of the premises.
pub fn fingerprint(scenario: &Scenario, premises: &str) -> String {
    // What its files say is in the scenario; where they lie changes nothing.
    let scenario = Scenario { files: Vec::new(), ..scenario.clone() };
    let digest = Sha256::digest(format!("{premises} {scenario:?}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::recording::unread;
    use crate::simulation::scenario::read_text;

    const SHOP: &str = "question = \"?\"\n[[function]]\nname = \"api\"\n\
                        [[load]]\nfunction = \"api\"\nrps = 3\n";

    #[test]
    fn what_changes_an_outcome_changes_the_fingerprint_and_a_comment_does_not() {
        let print = |text: &str, premises: &str| {
            fingerprint(&read_text(Path::new("shop.toml"), text, unread).unwrap(), premises)
        };
        let same = print(SHOP, "a");
        assert_eq!(print(&format!("# Why.\n{SHOP}"), "a"), same);
        assert_ne!(print(SHOP, "b"), same);
        assert_ne!(print(&SHOP.replace('3', "4"), "a"), same);
    }

    #[test]
    fn other_prices_are_other_premises() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.toml");
        let premises = |text: &str| {
            std::fs::write(&path, text).unwrap();
            premises(Some(&path)).unwrap()
        };
        assert_eq!(premises("a"), premises("a"));
        assert_ne!(premises("a"), premises("b"));
        assert_ne!(premises(""), super::premises(None).unwrap());
        std::fs::remove_file(&path).unwrap();
        let error = super::premises(Some(&path)).unwrap_err();
        assert!(format!("{error:#}").contains("prices.toml"), "{error:#}");
    }
}
