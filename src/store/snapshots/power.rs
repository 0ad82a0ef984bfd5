//! A folder whose power goes: what was not made to last may last all the same, or in part, or not.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::store::disk::Disk;

/// Bytes that reach the disk together.
const PAGE: usize = 64;

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    lasting: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Change {
    Name(String, usize),
    Remove(String),
}

/// What is on it.
#[derive(Debug)]
pub(super) struct State {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    lasting: BTreeMap<String, usize>,
    /// Changes of names that do not last yet.
    changes: Vec<Vec<Change>>,
    /// So many more calls, then the power goes.
    left: u32,
    /// One call in so many fails.
    failing: Option<u32>,
    draw: ChaCha8Rng,
}

/// A handle; the disk itself outlives the process that writes to it.
#[derive(Debug, Clone)]
pub(super) struct Power(Arc<Mutex<State>>);

impl Power {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            contents: Vec::new(),
            names: BTreeMap::new(),
            lasting: BTreeMap::new(),
            changes: Vec::new(),
            left: u32::MAX,
            failing: None,
            draw: ChaCha8Rng::seed_from_u64(seed),
        })))
    }

    pub(super) fn cut_after(&self, calls: u32) {
        self.0.lock().unwrap().left = calls;
    }

    pub(super) fn fail_one_in(&self, calls: Option<u32>) {
        self.0.lock().unwrap().failing = calls;
    }

    pub(super) fn draw(&self, below: u32) -> u32 {
        self.0.lock().unwrap().draw.next_u32() % below
    }

    /// The power comes back. Any of the changes that did not last may have.
    pub(super) fn restart(&self) {
        let state = &mut *self.0.lock().unwrap();
        for change in std::mem::take(&mut state.changes) {
            if state.draw.next_u32().is_multiple_of(2) {
                change.into_iter().for_each(|change| apply(&mut state.lasting, change));
            }
        }
        for content in &mut state.contents {
            let mut found = content.lasting.clone();
            if content.now.len() > found.len() && state.draw.next_u32().is_multiple_of(2) {
                let more = content.now.len() - found.len();
                let cut = state.draw.next_u32() as usize % (more + 1);
                found.resize(found.len() + cut, 0);
            }
            for (page, now) in content.now.chunks(PAGE).enumerate() {
                if state.draw.next_u32().is_multiple_of(2) {
                    let from = page * PAGE;
                    let to = found.len().min(from + now.len());
                    if from < to {
                        found[from..to].copy_from_slice(&now[..to - from]);
                    }
                }
            }
            content.now.clone_from(&found);
            content.lasting = found;
        }
        state.names = state.lasting.clone();
        state.left = u32::MAX;
    }

    /// A bit of the newest file changes.
    pub(super) fn rot(&self) {
        let state = &mut *self.0.lock().unwrap();
        let newest = state.names.values().copied().max();
        if let Some(content) = newest.map(|index| &mut state.contents[index]) {
            let place = state.draw.next_u32() as usize % content.now.len();
            content.now[place] ^= 1 << (state.draw.next_u32() % 8);
            content.lasting.clone_from(&content.now);
        }
    }

    fn call<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let state = &mut *self.0.lock().unwrap();
        if state.left == 0 {
            return Err(io::Error::other("there is no power"));
        }
        state.left -= 1;
        if state.failing.is_some_and(|one_in| state.draw.next_u32().is_multiple_of(one_in)) {
            return Err(ErrorKind::StorageFull.into());
        }
        work(state)
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: Change) {
    match change {
        Change::Name(name, content) => names.insert(name, content),
        Change::Remove(name) => names.remove(&name),
    };
}

impl State {
    fn change(&mut self, change: Vec<Change>) {
        change.iter().for_each(|change| apply(&mut self.names, change.clone()));
        self.changes.push(change);
    }

    fn content(&mut self, name: &str) -> io::Result<&mut Content> {
        let index = *self.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(&mut self.contents[index])
    }
}

impl Disk for Power {
    fn create(&mut self, name: &str) -> io::Result<()> {
        self.call(|state| {
            if let Some(&index) = state.names.get(name) {
                state.contents[index].now.clear();
                return Ok(());
            }
            state.contents.push(Content::default());
            let index = state.contents.len() - 1;
            state.change(vec![Change::Name(name.to_owned(), index)]);
            Ok(())
        })
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.call(|state| {
            let part = state.draw.next_u32() as usize % (bytes.len() + 1);
            // The power may go in the middle of it.
            let end = if state.left == 0 { part } else { bytes.len() };
            state.content(name)?.now.extend_from_slice(&bytes[..end]);
            Ok(())
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.call(|state| {
            let content = state.content(name)?;
            content.lasting.clone_from(&content.now);
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.call(|state| {
            let index = *state.names.get(from).ok_or(ErrorKind::NotFound)?;
            let remove = Change::Remove(from.to_owned());
            state.change(vec![remove, Change::Name(to.to_owned(), index)]);
            Ok(())
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.call(|state| {
            state.changes.clear();
            state.lasting = state.names.clone();
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.call(|state| {
            state.change(vec![Change::Remove(name.to_owned())]);
            Ok(())
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let content = self.0.lock().unwrap().content(name)?.now.clone();
        Ok(Box::new(io::Cursor::new(content)))
    }
}

/// What a writer forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Careless {
    /// Files are not made to last.
    Files,
    /// Names are not.
    Names,
    /// The last snapshot is written over.
    InPlace,
}

/// The disk as such a writer uses it.
pub(super) struct CarelessDisk(pub(super) Power, pub(super) Careless);

impl Disk for CarelessDisk {
    fn create(&mut self, name: &str) -> io::Result<()> {
        let old = self.0.names()?.into_iter().rfind(|name| name.ends_with("bursar"));
        if let (Careless::InPlace, Some(old)) = (self.1, old) {
            self.0.create(&old)?;
            return self.0.rename(&old, name);
        }
        self.0.create(name)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.append(name, bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        if self.1 == Careless::Files { Ok(()) } else { self.0.sync(name) }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if self.1 == Careless::Names { Ok(()) } else { self.0.sync_names() }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        self.0.open(name)
    }
}
