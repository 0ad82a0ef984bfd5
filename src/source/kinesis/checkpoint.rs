//! Acknowledged positions in a file, because the service keeps none.
//!
//! The file is one JSON object, written whole beside its place and then put there, so that a crash
//! leaves the old one or the new one. What was acknowledged after the last write is read again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::source::SourceError;

/// The form of the file.
const FORM: u32 = 1;

/// What is acknowledged, shard by shard.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: Option<PathBuf>,
    content: Content,
    unsaved: bool,
    /// The last write failed; said once.
    failing: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: u32,
    stream: String,
    shards: BTreeMap<String, Place>,
}

impl Checkpoint {
    /// Reads the file, if it is there, and makes sure that it can be written.
    pub(super) fn open(path: Option<&Path>, stream: &str) -> Result<Self, SourceError> {
        let empty = Content { v: FORM, stream: stream.to_owned(), shards: BTreeMap::new() };
        let Some(path) = path else {
            return Ok(Self { path: None, content: empty, unsaved: false, failing: false });
        };
        let refused =
            |cause: String| SourceError::Checkpoint { path: path.display().to_string(), cause };
        let content = match fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => empty,
            Err(error) => return Err(refused(error.to_string())),
        };
        if content.v != FORM {
            return Err(refused(format!("it has form {}, this bursar knows {FORM}", content.v)));
        }
        if content.stream != stream {
            return Err(refused(format!("it is of the stream {}", content.stream)));
        }
        let path = Some(path.to_owned());
        let mut opened = Self { path, content, unsaved: true, failing: false };
        opened.write().map_err(|error| refused(error.to_string()))?;
        Ok(opened)
    }

    /// No shard is in it: this is the first start.
    pub(super) fn is_empty(&self) -> bool {
        self.content.shards.is_empty()
    }

    pub(super) fn get(&self, shard: &str) -> Option<&Place> {
        self.content.shards.get(shard)
    }

    pub(super) fn set(&mut self, shard: &str, place: Place) {
        if let Some(known) = self.content.shards.get_mut(shard) {
            *known = place;
        } else {
            self.content.shards.insert(shard.to_owned(), place);
        }
        self.unsaved = true;
    }

    /// Forgets the other shards.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let before = self.content.shards.len();
        self.content.shards.retain(|shard, _| keep(shard));
        self.unsaved |= self.content.shards.len() != before;
    }

    /// Writes what is new. A failure is said once and tried again with the next write.
    pub(super) fn save(&mut self) {
        match self.write() {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("kinesis: the checkpoint file is written again");
            }
            Ok(()) => {}
            Err(error) if !self.failing => {
                self.failing = true;
                let path = self.path.as_deref().unwrap_or(Path::new("")).display();
                tracing::warn!(%error, "kinesis: cannot write {path}, it is tried again; after a \
                                        crash records since the last write are read again");
            }
            Err(_) => {}
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(path) = self.path.as_deref().filter(|_| self.unsaved) else {
            return Ok(());
        };
        let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let mut other = std::ffi::OsString::from(".new-");
        other.push(name);
        let other = path.with_file_name(other);
        let mut file = File::create(&other)?;
        let mut text = serde_json::to_vec(&self.content)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&other, path)?;
        // The new name lasts only with its folder; where folders cannot be synced it must do.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            drop(folder.sync_all());
        }
        self.unsaved = false;
        Ok(())
    }
}
