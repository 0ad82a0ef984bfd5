//! The little that snapshots need of a file system, so that a test can cut its power.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::path::PathBuf;

/// One folder.
pub trait Disk: Send {
    /// Begins an empty file.
    ///
    /// # Errors
    /// The system's, as everywhere here.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Writes behind what a file has.
    ///
    /// # Errors
    /// Perhaps not all of it was written.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Returns when what a file has lasts.
    ///
    /// # Errors
    /// It may not.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of what has it.
    ///
    /// # Errors
    /// It has kept its name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Returns when names last.
    ///
    /// # Errors
    /// They may not.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// The names of all files.
    ///
    /// # Errors
    /// They are not known.
    fn names(&self) -> io::Result<Vec<String>>;

    /// What a file has.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>>;
}

/// A real folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    open: Option<(String, File)>,
}

impl Folder {
    /// A folder, which is made where it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self { path, open: None })
    }

    /// A folder that is only read.
    pub const fn existing(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        match &mut self.open {
            Some((open, file)) if open == name => Ok(file),
            _ => Err(io::Error::other("it was not begun")),
        }
    }
}

impl Disk for Folder {
    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // Names of functions and callers are in it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        self.open = Some((name.to_owned(), options.open(self.path.join(name))?));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.open = None;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        match File::open(&self.path)?.sync_all() {
            // Some file systems know no such thing.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            done => done,
        }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        entries.map(name).collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::BufReader::with_capacity(1 << 20, File::open(self.path.join(name))?)))
    }
}
