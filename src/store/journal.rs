//! The journal of restrictions: what stood before, what was changed, and until when.
//!
//! A directory with one small file for each restriction that is or may be in force, so that no file
//! is ever locked: everything can be listed and given back while the daemon is dead or hangs, and a
//! damaged file hides no other. Each is written beside, flushed, renamed and read back before
//! anything changes on the platform, and says in its second line what the first one's digest is.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::control::action::{ActuatorKind, Setting};
use crate::control::restriction::Restriction;
use crate::record::FunctionKey;
use crate::units::EventTime;

/// Form of the entries.
const FORM: u32 = 1;
/// An entry is about a kibibyte; whatever is longer is none.
const ENTRY_BYTES_MAX: u64 = 1 << 20;
/// So many changes of one restriction are remembered.
const SENT_MAX: usize = 8;
const SUFFIX: &str = "json";
/// Stands in the directory while no new restriction is wanted.
const STOP_FILE: &str = "actions-stopped";
/// Held by the daemon that acts.
const LOCK_FILE: &str = "acting";

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A change was or is about to be sent; whether it came through is not known.
    Wanted,
    /// The platform was read, and it stands.
    Confirmed,
    /// The prior state stands again; the release on the platform is still to be withdrawn.
    GivenBack,
}

impl Step {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Wanted => "wanted",
            Step::Confirmed => "confirmed",
            Step::GivenBack => "given back",
        }
    }
}

/// The name of a setting.
pub fn key(function: &FunctionKey, actuator: ActuatorKind) -> String {
    format!("{:016x}", xxh3_64(format!("{function}|{}", actuator.as_str()).as_bytes()))
}

/// One restriction as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    v: u32,
    /// The process that made it: host and process number.
    pub owner: String,
    /// How far it has come.
    pub step: Step,
    /// The restriction, with what stood there before.
    pub restriction: Restriction,
    /// What was sent lately, newest last: an answer may have been lost and the change come through
    /// all the same, even after a later one.
    sent: Vec<Setting>,
    /// Its release was left when no earlier one's withdrawal could come through any more.
    #[serde(default)]
    secured: bool,
}

impl Entry {
    /// An entry about to be written.
    pub fn new(owner: String, restriction: Restriction) -> Self {
        let sent = restriction.perhaps.iter().cloned().collect();
        Self { v: FORM, owner, step: Step::Wanted, restriction, sent, secured: false }
    }

    /// The name under which the journal and the platform know it: there is one for each setting
    /// that can be restricted, whichever alarm is behind it.
    pub fn key(&self) -> String {
        key(&self.restriction.function, self.restriction.actuator)
    }

    /// Remembers what was sent for the same setting before.
    pub fn follow(&mut self, before: &Entry) {
        let own = std::mem::take(&mut self.sent);
        self.sent.clone_from(&before.sent);
        self.sent.push(before.wanted().clone());
        own.iter().for_each(|sent| self.remember(sent));
    }

    fn remember(&mut self, to: &Setting) {
        self.sent.retain(|sent| sent != to);
        self.sent.push(to.clone());
        let surplus = self.sent.len().saturating_sub(SENT_MAX);
        self.sent.drain(..surplus);
    }

    /// About to be changed to `to` from what was `found`.
    pub fn want(&mut self, to: &Setting, found: &Setting) {
        self.step = Step::Wanted;
        self.restriction.current = found.clone();
        self.restriction.perhaps = Some(to.clone());
        self.remember(to);
    }

    /// Whether its release surely stands.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// Its release was left, and surely stands if no earlier one is still being withdrawn.
    pub fn secure(&mut self, surely: bool) {
        self.secured = surely;
    }

    /// It stands.
    pub fn settle(&mut self, found: &Setting, now: EventTime) {
        self.step = Step::Confirmed;
        self.restriction.current = found.clone();
        self.restriction.perhaps = None;
        self.restriction.changed_at = now;
    }

    /// What should stand there.
    pub fn wanted(&self) -> &Setting {
        self.restriction.perhaps.as_ref().unwrap_or(&self.restriction.current)
    }

    /// Whether bursar may have put that there itself.
    pub fn is_own(&self, found: &Setting) -> bool {
        let untouched = self.step == Step::Wanted && self.restriction.current == *found;
        untouched || self.wanted() == found || self.sent.contains(found)
    }
}

/// Everything in the journal.
#[derive(Debug, Default)]
pub struct Contents {
    /// What can be read, by name.
    pub entries: Vec<Entry>,
    /// What cannot: which file and why.
    pub damaged: Vec<JournalError>,
}

/// Something about the journal that does not work.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system.
    #[error("journal {path}: {cause}")]
    System {
        /// Directory or file.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// A file that is no entry.
    #[error("journal {path}: {why}; mend it from a backup or remove it by hand")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another daemon.
    #[error("journal {path}: another bursar acts from it; two must not act on the same functions")]
    Taken {
        /// The lock file.
        path: PathBuf,
    },
}

/// A journal in a directory.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
}

impl Journal {
    /// The journal in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        fs::create_dir_all(directory).map_err(|cause| system(directory, cause))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Makes this process the only one that acts from it, for as long as the file lives.
    ///
    /// # Errors
    /// There is one already, or the system refuses.
    pub fn take(&self) -> Result<File, JournalError> {
        let path = self.directory.join(LOCK_FILE);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|cause| system(&path, cause))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(JournalError::Taken { path }),
            Err(fs::TryLockError::Error(cause)) => Err(system(&path, cause)),
        }
    }

    /// Writes an entry over the one of the same name, and reads it back.
    ///
    /// # Errors
    /// The system, or what was read back is not what was written.
    pub fn put(&self, entry: &Entry) -> Result<(), JournalError> {
        let path = self.path(&entry.key())?;
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        let line = serde_json::to_string(entry)
            .map_err(|error| damaged(&path, format!("cannot be written ({error})")))?;
        let text = format!("{line}\n{}\n", digest(&line));
        let write = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|cause| system(&path, cause))?;
        match read(&path)? {
            Some(found) if found == *entry => Ok(()),
            _ => Err(damaged(&path, "does not hold what was written to it".to_owned())),
        }
    }

    /// The entry of a restriction.
    ///
    /// # Errors
    /// The system, or a damaged entry.
    pub fn get(&self, key: &str) -> Result<Option<Entry>, JournalError> {
        read(&self.path(key)?)
    }

    /// Removes an entry; one that is not there is no error.
    ///
    /// # Errors
    /// The system.
    pub fn remove(&self, key: &str) -> Result<(), JournalError> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Ok(()) => File::open(&self.directory)
                .and_then(|directory| directory.sync_all())
                .map_err(|cause| system(&self.directory, cause)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(system(&path, cause)),
        }
    }

    /// Everything in it, sorted by name.
    ///
    /// # Errors
    /// A directory that cannot be read. A file that cannot is among the damaged.
    pub fn contents(&self) -> Result<Contents, JournalError> {
        let mut paths = Vec::new();
        let listed =
            fs::read_dir(&self.directory).map_err(|cause| system(&self.directory, cause))?;
        for item in listed {
            let path = item.map_err(|cause| system(&self.directory, cause))?.path();
            if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
                paths.push(path);
            }
        }
        paths.sort();
        let mut contents = Contents::default();
        for path in paths {
            match read(&path) {
                Ok(Some(entry)) => contents.entries.push(entry),
                Ok(None) => {}
                Err(error) => contents.damaged.push(error),
            }
        }
        Ok(contents)
    }

    /// Why nothing new is to be restricted, if somebody has said so.
    pub fn stopped(&self) -> Option<String> {
        let path = self.directory.join(STOP_FILE);
        // Where that cannot be told, it is taken to be.
        path.try_exists().unwrap_or(true).then(|| {
            format!(
                "actions are stopped by {}; `bursar stop-actions --resume` allows them again",
                path.display()
            )
        })
    }

    /// Stops new restrictions, or allows them again.
    ///
    /// # Errors
    /// The system.
    pub fn set_stopped(&self, stopped: bool) -> Result<(), JournalError> {
        let path = self.directory.join(STOP_FILE);
        let done = if stopped { File::create(&path).map(drop) } else { fs::remove_file(&path) };
        match done {
            Err(cause) if stopped || cause.kind() != io::ErrorKind::NotFound => {
                Err(system(&path, cause))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, JournalError> {
        let path = self.directory.join(key).with_extension(SUFFIX);
        let plain = (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric());
        if plain { Ok(path) } else { Err(damaged(&path, "its name is none of ours".to_owned())) }
    }
}

fn read(path: &Path) -> Result<Option<Entry>, JournalError> {
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(system(path, cause)),
    };
    if size > ENTRY_BYTES_MAX {
        return Err(damaged(path, format!("{size} bytes are no entry")));
    }
    let text = fs::read_to_string(path).map_err(|cause| system(path, cause))?;
    let mut lines = text.lines();
    let (Some(line), Some(sum), None) = (lines.next(), lines.next(), lines.next()) else {
        return Err(damaged(path, "it is cut off".to_owned()));
    };
    if sum != digest(line) {
        return Err(damaged(path, "its digest does not match".to_owned()));
    }
    let entry: Entry = serde_json::from_str(line)
        .map_err(|error| damaged(path, format!("it cannot be understood ({error})")))?;
    if entry.v != FORM {
        return Err(damaged(path, format!("form {} is not known, only {FORM}", entry.v)));
    }
    if path.file_stem().is_none_or(|stem| stem != entry.key().as_str()) {
        return Err(damaged(path, "it is about another restriction than its name says".to_owned()));
    }
    Ok(Some(entry))
}

fn digest(line: &str) -> String {
    Sha256::digest(line.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn system(path: &Path, cause: io::Error) -> JournalError {
    JournalError::System { path: path.to_owned(), cause }
}

fn damaged(path: &Path, why: String) -> JournalError {
    JournalError::Damaged { path: path.to_owned(), why }
}
