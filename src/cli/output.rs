//! Files that a command writes; compressed by their name.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::runtime::recorder::Sink;

/// What happens to a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is replaced: the output of one finished run.
    Replace,
    /// It is continued: the record of a daemon, which a restart must not wipe.
    Continue,
}

/// An output must not replace what is being read.
///
/// # Errors
/// It would.
pub(super) fn refuse_overwriting(inputs: &[PathBuf], outputs: &[&Path]) -> anyhow::Result<()> {
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
