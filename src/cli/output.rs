//! Files that a command writes; compressed by their name.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, metadata, remove_file, rename};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::runtime::recorder::Sink;
use crate::store::chain::Chain;

/// What happens to a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is replaced: the output of one finished run.
    Replace,
    /// It is continued: the record of a daemon, which a restart must not wipe.
    Continue,
}

/// Outputs that can be written, and that replace neither what is read nor one another: told before
/// the work, because after hours of it that would be too late.
///
/// # Errors
/// The first that cannot, or would.
pub(super) fn check(inputs: &[PathBuf], outputs: &[&Path]) -> anyhow::Result<()> {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for (place, output) in outputs.iter().enumerate() {
        let is_same = |other: &&Path| {
            let same = || identity(other).is_some_and(|id| Some(id) == identity(output));
            whole(other) == whole(output) || same()
        };
        if outputs[..place].iter().any(is_same) {
            anyhow::bail!("{} is named for two outputs, name another file", output.display());
        }
    }
    for output in outputs.iter().filter(|path| !is_stdout(path)) {
        let is_same =
            |input: &&PathBuf| identity(input).is_some_and(|id| Some(id) == identity(output));
        // What is not there yet cannot be overwritten.
        if let Some(input) = inputs.iter().find(is_same) {
            anyhow::bail!("{} is an input, name another file for the output", input.display());
        }
        probe(output).with_context(|| format!("cannot write {}", output.display()))?;
    }
    Ok(())
}

/// Tries to open a file for writing and leaves everything as it was.
fn probe(path: &Path) -> io::Result<()> {
    match metadata(path) {
        // A pipe would wait for its reader, and a device may do something.
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        Err(_) => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            remove_file(path)
        }
    }
}

/// What tells a regular file from all others, by whatever way it is reached: also by a hard link.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = metadata(path).ok().filter(Metadata::is_file)?;
    Some((found.dev(), found.ino()))
}

/// What tells a regular file from all others.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    metadata(path).ok().filter(Metadata::is_file)?;
    path.canonicalize().ok()
}

/// Opens a file to write lines to; `-` is standard output.
///
/// # Errors
/// It cannot be written.
pub(super) fn open(path: &Path, existing: Existing) -> anyhow::Result<Sink> {
    if is_stdout(path) {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let mut options = OpenOptions::new();
    match existing {
        Existing::Replace => options.write(true).truncate(true),
        Existing::Continue => options.append(true),
    };
    let file = options.create(true).open(path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

/// Opens the record of a daemon's decisions, which is continued as one chain over restarts.
///
/// # Errors
/// It cannot be written.
pub(super) fn open_chain(path: &Path) -> anyhow::Result<Sink> {
    let is_file = metadata(path).map_or(true, |found| found.is_file());
    // What is no file cannot be read back, and nobody verifies it.
    if is_stdout(path) || !is_file {
        return open(path, Existing::Continue);
    }
    let chain = Chain::open(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Box::new(chain))
}

/// Whether a path names standard output.
pub(super) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// The same for a path that may not be given.
///
/// # Errors
/// It cannot be written.
pub(super) fn open_if_named(
    path: Option<&Path>,
    existing: Existing,
) -> anyhow::Result<Option<Sink>> {
    path.map(|path| open(path, existing)).transpose()
}

/// Standard output for the narration.
pub(super) fn narration() -> Sink {
    Box::new(BufWriter::new(io::stdout()))
}

/// Writes a whole document.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> anyhow::Result<()> {
    let mut sink = open(path, Existing::Replace)?;
    serde_json::to_writer_pretty(&mut sink, value).context("cannot write JSON")?;
    sink.write_all(b"\n")?;
    sink.flush()?;
    Ok(())
}

/// Writes a whole text.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut sink = open(path, Existing::Replace)?;
    let written = sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// A file that is compressed as its name says; it must be finished, or its end is missing.
pub(super) enum Packed {
    Plain(Box<dyn Write>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Packed {
    /// Opens it; `-` is standard output.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Plain(Box::new(BufWriter::new(io::stdout().lock()))));
        }
        let file = BufWriter::new(File::create(path)?);
        let extension = path.extension().unwrap_or_default();
        Ok(match extension.to_str() {
            Some("gz") => Self::Gzip(GzEncoder::new(file, Compression::default())),
            Some("zst") => Self::Zstd(zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?),
            _ => Self::Plain(Box::new(file)),
        })
    }

    /// Where to write.
    pub(super) fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out,
            Self::Zstd(out) => out,
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
            Self::Zstd(out) => out.finish()?.flush(),
        }
    }
}

/// Writes a whole file under another name beside it and then puts it in its place, so that whoever
/// reads it never finds half of one.
///
/// # Errors
/// It cannot be written.
pub(super) fn replace_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
    // The ending stays, because it says how to compress.
    let mut other = OsString::from(".new-");
    other.push(name);
    let other = path.with_file_name(other);
    let whole = || {
        let mut packed = Packed::create(&other)?;
        write(packed.writer())?;
        packed.finish()?;
        File::open(&other)?.sync_all()?;
        rename(&other, path)
    };
    let done = whole();
    if done.is_err() {
        // What is there of it is of no use; that it cannot be removed either changes nothing.
        drop(remove_file(&other));
    }
    done.with_context(|| format!("cannot write {}", path.display()))
}
