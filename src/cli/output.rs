//! Files that a command writes; compressed by their name.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;

use crate::runtime::recorder::Sink;

/// Creates a file to write lines to; `-` is standard output.
///
/// # Errors
/// It cannot be created.
pub(super) fn create(path: &Path) -> anyhow::Result<Sink> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

/// The same for a path that may not be given.
///
/// # Errors
/// It cannot be created.
pub(super) fn create_if_named(path: Option<&Path>) -> anyhow::Result<Option<Sink>> {
    path.map(create).transpose()
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
    let mut sink = create(path)?;
    serde_json::to_writer_pretty(&mut sink, value).context("cannot write JSON")?;
    sink.write_all(b"\n")?;
    sink.flush()?;
    Ok(())
}
