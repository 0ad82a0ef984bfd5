//! Files that a command writes; compressed by their name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::runtime::recorder::Sink;

/// What happens to a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is replaced: the output of one finished run.
    Replace,
    /// It is continued: the record of a daemon, which a restart must not wipe.
    Continue,
}

/// An output must not replace what is being read, nor another output.
///
/// # Errors
/// It would.
pub(super) fn refuse_overwriting(inputs: &[PathBuf], outputs: &[&Path]) -> anyhow::Result<()> {
    for (place, output) in outputs.iter().enumerate() {
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if outputs[..place].iter().any(|other| whole(other) == whole(output)) {
            anyhow::bail!("{} is named for two outputs, name another file", output.display());
        }
    }
    for output in outputs.iter().filter(|path| !is_stdout(path)) {
        let same = |input: &&PathBuf| match (input.canonicalize(), output.canonicalize()) {
            (Ok(input), Ok(output)) => input == output,
            // What is not there yet cannot be overwritten.
            _ => false,
        };
        if let Some(input) = inputs.iter().find(same) {
            anyhow::bail!("{} is an input, name another file for the output", input.display());
        }
    }
    Ok(())
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
