//! The daemon's decisions as a chain: every line carries the hash of the one before it and its own,
//! so that what is changed, removed, inserted or moved later shows.
//!
//! `"hash"` is the SHA-256 of the bytes of the line up to the comma before it, `"prev"` included;
//! the first line's `"prev"` is all zeros. Whoever may write the whole file can also write a whole
//! new chain, or leave out its end: only a hash that is kept elsewhere tells (Schneier and Kelsey,
//! "Secure audit logs to support computer forensics", 1999, doi:10.1145/317087.317089).

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufRead, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What the first line follows.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The longest line; an alarm with all its sources has a few hundred kilobytes.
const LINE_BYTES_MAX: usize = 16 << 20;
const PREV: &str = ",\"prev\":\"";
const HASH: &str = ",\"hash\":\"";
const DIGITS: usize = 64;
/// What ends a line.
const CLOSE: &str = "\"}";

/// A file of decisions that is only ever continued.
#[derive(Debug)]
pub struct Chain {
    path: PathBuf,
    file: File,
    head: String,
    line: Vec<u8>,
    /// The file ends within a line, which must not be taken for the beginning of the next.
    torn: bool,
}

impl Chain {
    /// Goes on behind the last whole line of a file, or of the newest one that was put aside under
    /// a longer name (`decisions.jsonl.1`) if there is nothing in this one yet.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let (mut head, torn) = end_of(path)?;
        if head.is_none() && file.metadata()?.len() == 0 {
            head = put_aside(path).and_then(|other| end_of(&other).ok()?.0);
        }
        let head = head.unwrap_or_else(|| BEGINNING.to_owned());
        Ok(Self { path: path.to_owned(), file, head, line: Vec::new(), torn })
    }

    fn append(&mut self) -> io::Result<()> {
        // Put aside by somebody who keeps logs short: the chain goes on in a new file.
        let moved = fs::metadata(&self.path).map_or(true, |there| !is_same(&there, &self.file));
        if moved {
            self.file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            self.torn = false;
        }
        let Some(open) = self.line.strip_suffix(b"}") else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut line = if self.torn { b"\n".to_vec() } else { Vec::new() };
        let begin = line.len();
        line.extend([open, PREV.as_bytes(), self.head.as_bytes(), b"\""].concat());
        let hash = digest(line.get(begin..).unwrap_or_default());
        line.extend([HASH, &hash, CLOSE, "\n"].concat().into_bytes());
        // Until it is there as a whole, it is not.
        self.torn = true;
        self.file.write_all(&line)?;
        self.torn = false;
        self.head = hash;
        Ok(())
    }
}

impl Write for Chain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            self.line.extend(text);
            if ends || self.line.len() > LINE_BYTES_MAX {
                let appended = self.append();
                self.line.clear();
                appended?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(unix)]
fn is_same(there: &Metadata, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &File) -> bool {
    true
}

/// The hash of the last whole line, and whether half of one comes behind it.
fn end_of(path: &Path) -> io::Result<(Option<String>, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(2 * LINE_BYTES_MAX as u64);
    file.seek(SeekFrom::Start(begin))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let torn = text.last().is_some_and(|byte| *byte != b'\n');
    let mut lines = text.split(|byte| *byte == b'\n').rev().skip(1);
    let last = lines.find(|line| !line.is_empty());
    Ok((last.and_then(|line| Some(Link::of(line)?.hash.to_owned())), torn))
}

/// The newest file beside this one whose name begins with its name.
fn put_aside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let beside = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?.filter_map(Result::ok);
    let older = beside.filter(|entry| {
        let other = entry.file_name().into_string().unwrap_or_default();
        other != name && other.starts_with(name) && entry.path().is_file()
    });
    let newest = older.max_by_key(|entry| entry.metadata().and_then(|found| found.modified()).ok());
    newest.map(|entry| entry.path())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What ties a line to the one before.
struct Link<'a> {
    prev: &'a str,
    hash: &'a str,
    is_whole: bool,
}

impl<'a> Link<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(CLOSE.as_bytes())?;
        let (hashed, hash) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
        let hashed = hashed.strip_suffix(HASH.as_bytes())?;
        let rest = hashed.strip_suffix(b"\"")?;
        let (rest, prev) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
        rest.strip_suffix(PREV.as_bytes())?;
        let (prev, hash) = (std::str::from_utf8(prev).ok()?, std::str::from_utf8(hash).ok()?);
        Some(Self { prev, hash, is_whole: digest(hashed) == hash })
    }
}

/// What is wrong with a line, the first of which ends the verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Its own hash does not fit.
    #[error("this line was changed")]
    Changed,
    /// It carries none.
    #[error("this line was inserted: it carries no hash")]
    Bare,
    /// It does not follow the one before.
    #[error("before this line, lines were removed, inserted or moved")]
    Gap,
    /// It begins a chain in the middle.
    #[error("a new chain begins here: what stood before it may have been removed")]
    Anew,
}

/// A verification, line by line, over the files of a chain, the oldest first.
#[derive(Debug, Default)]
pub struct Verification {
    head: Option<String>,
    /// What the first line follows.
    begins_behind: Option<String>,
    /// Whole lines.
    pub lines: u64,
    /// Halves of lines, as a crash or a full disk leaves them.
    pub torn: u64,
}

impl Verification {
    /// Takes in one line, without its end.
    ///
    /// # Errors
    /// The chain is broken here.
    pub fn take(&mut self, line: &[u8]) -> Result<(), Break> {
        let Some(link) = Link::of(line) else {
            // Nobody reads half a line as a decision.
            if serde_json::from_slice::<Value>(line).is_ok() {
                return Err(Break::Bare);
            }
            self.torn += u64::from(!line.is_empty());
            return Ok(());
        };
        if !link.is_whole {
            return Err(Break::Changed);
        }
        match &self.head {
            None => self.begins_behind = Some(link.prev.to_owned()),
            Some(head) if head == link.prev => {}
            Some(_) if link.prev == BEGINNING => return Err(Break::Anew),
            Some(_) => return Err(Break::Gap),
        }
        self.head = Some(link.hash.to_owned());
        self.lines += 1;
        Ok(())
    }

    /// Takes in a file.
    ///
    /// # Errors
    /// The system, or the number of the line where the chain is broken, and how.
    pub fn file(&mut self, mut reader: impl BufRead) -> io::Result<Result<(), (u64, Break)>> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let most = LINE_BYTES_MAX as u64 * 2;
            if reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if let Err(broken) = self.take(line.strip_suffix(b"\n").unwrap_or(&line)) {
                return Ok(Err((number, broken)));
            }
        }
        Ok(Ok(()))
    }

    /// The hash of the last line, if there is one.
    pub fn head(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// The hash that the first line follows, where that is not the beginning of the chain.
    pub fn begins_behind(&self) -> Option<&str> {
        self.begins_behind.as_deref().filter(|prev| *prev != BEGINNING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(chain: &mut Chain, words: &str) {
        writeln!(chain, "{{\"kind\":\"{words}\"}}").unwrap();
    }

    fn verified(text: &str) -> Result<Verification, (u64, Break)> {
        let mut verification = Verification::default();
        verification.file(text.as_bytes()).unwrap().map(|()| verification)
    }

    fn chained(words: &[&str]) -> (tempfile::TempDir, PathBuf, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decisions.jsonl");
        let mut chain = Chain::open(&path).unwrap();
        words.iter().for_each(|words| write(&mut chain, words));
        let text = fs::read_to_string(&path).unwrap();
        (folder, path, text)
    }

    #[test]
    fn a_chain_is_whole_and_its_lines_are_json() {
        let (_folder, _, text) = chained(&["run", "alarm", "action"]);
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["hash"].as_str().unwrap().len(), DIGITS);
        }
        let whole = verified(&text).unwrap();
        assert_eq!((whole.lines, whole.torn, whole.begins_behind()), (3, 0, None));
        assert!(text.ends_with(&format!("{}\"}}\n", whole.head().unwrap())));
    }

    #[test]
    fn the_first_line_that_was_tampered_with_is_found() {
        let (_folder, _, text) = chained(&["one", "two", "three", "four"]);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let [one, two, three, four] = lines[..] else { panic!("{text}") };
        let bare = "{\"kind\":\"five\"}\n";
        let changed = two.replace("two", "2");
        let (other_folder, _, other) = chained(&["else"]);
        drop(other_folder);
        for (text, expected) in [
            ([one, &changed, three, four].concat(), (2, Break::Changed)),
            ([one, three, four].concat(), (2, Break::Gap)),
            ([one, three, two, four].concat(), (2, Break::Gap)),
            ([one, two, two, three].concat(), (3, Break::Gap)),
            ([one, two, bare, three].concat(), (3, Break::Bare)),
            ([one, two, &other, three].concat(), (3, Break::Anew)),
        ] {
            assert_eq!(verified(&text).unwrap_err(), expected, "{text}");
        }
        // What only a hash that is kept elsewhere can tell.
        assert_ne!(verified(&[one, two].concat()).unwrap().head(), verified(&text).unwrap().head());
        assert!(verified(&[three, four].concat()).unwrap().begins_behind().is_some());
    }

    #[test]
    fn it_goes_on_behind_a_restart_a_torn_line_and_a_rotation() {
        let (folder, path, _) = chained(&["one", "two"]);
        write(&mut Chain::open(&path).unwrap(), "after a restart");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"kind\":\"al").unwrap();
        let mut chain = Chain::open(&path).unwrap();
        write(&mut chain, "after a crash");
        let whole = verified(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((whole.lines, whole.torn), (4, 1));
        // While it runs, and while it does not.
        let aside = ["decisions.jsonl.2", "decisions.jsonl.1"].map(|name| folder.path().join(name));
        fs::rename(&path, &aside[0]).unwrap();
        write(&mut chain, "after a rotation");
        drop(chain);
        fs::rename(&path, &aside[1]).unwrap();
        let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
        File::options().append(true).open(&aside[1]).unwrap().set_modified(later).unwrap();
        write(&mut Chain::open(&path).unwrap(), "after both");
        let texts = [&aside[0], &aside[1], &path].map(|path| fs::read_to_string(path).unwrap());
        let whole = verified(&texts.concat()).unwrap();
        assert_eq!((whole.lines, whole.torn), (6, 1));
        assert_eq!(verified(&[&*texts[0], &*texts[2]].concat()).unwrap_err(), (6, Break::Gap));
    }
}
