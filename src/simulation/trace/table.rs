//! A comma-separated table, one bounded line at a time, that knows where it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

/// The longest line, in bytes: a month of minutes with five digits each.
pub const LINE_BYTES_MAX: usize = 512 * 1_024;

/// A trace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file is not there or cannot be read.
    #[error("{path}, line {line}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Line number from 1; 0 when it could not be opened.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// A compression that is not read.
    #[error("{path} is compressed with {form}, which is not read; decompress it with `{tool} -d`")]
    Compressed {
        /// The file.
        path: PathBuf,
        /// For example `xz`.
        form: &'static str,
        /// What unpacks it.
        tool: &'static str,
    },
    /// A line that is too long.
    #[error("{path}, line {line}: longer than {LINE_BYTES_MAX} bytes; is this a table of calls?")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
    },
    /// A column is wrong.
    #[error("{path}, line {line}, column {column}: {problem}")]
    Column {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// Number from 1, and name where it has one.
        column: String,
        /// What is wrong, and what is accepted.
        problem: String,
    },
    /// The window is not in the trace.
    #[error(
        "{path} has {count} minutes from {first}, not {asked_count} from {asked}; choose \
         --start-minute and --minutes inside them"
    )]
    Window {
        /// The file.
        path: PathBuf,
        /// Its first minute.
        first: u32,
        /// How many it has.
        count: u32,
        /// The first minute asked for.
        asked: u32,
        /// How many were asked for.
        asked_count: u32,
    },
}

/// An open table, at one of its lines.
pub(super) struct Table {
    path: PathBuf,
    input: Box<dyn BufRead>,
    line: u64,
    header: Vec<String>,
    text: String,
    fields: Vec<Range<usize>>,
}

impl Table {
    /// Opens a table, plain or gzip by its first bytes, and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, TraceError> {
        let fail = |source| TraceError::Io { path: path.to_owned(), line: 0, source };
        let mut input = BufReader::new(File::open(path).map_err(fail)?);
        let head = input.fill_buf().map_err(fail)?;
        for (magic, form, tool) in [
            (&b"\xfd7zXZ"[..], "xz", "xz"),
            (b"\x28\xb5\x2f\xfd", "zstd", "zstd"),
            (b"BZh", "bzip2", "bzip2"),
        ] {
            if head.starts_with(magic) {
                return Err(TraceError::Compressed { path: path.to_owned(), form, tool });
            }
        }
        let input: Box<dyn BufRead> = if head.starts_with(b"\x1f\x8b") {
            Box::new(BufReader::new(MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        let mut table = Self {
            path: path.to_owned(),
            input,
            line: 0,
            header: Vec::new(),
            text: String::new(),
            fields: Vec::new(),
        };
        if !table.read_line()? {
            return Err(table.error(0, "the file is empty; expected a header"));
        }
        table.header = table.text.split(',').map(|name| name.trim().to_owned()).collect();
        Ok(table)
    }

    /// Moves to the next line; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, TraceError> {
        if !self.read_line()? {
            return Ok(false);
        }
        self.fields.clear();
        let mut start = 0;
        for field in self.text.split(',') {
            self.fields.push(start..start + field.len());
            start += field.len() + 1;
        }
        if self.fields.len() != self.header.len() {
            let (found, wanted) = (self.fields.len(), self.header.len());
            let problem = format!("the line has {found} columns, the header {wanted}");
            return Err(self.error(found.min(wanted), &problem));
        }
        Ok(true)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn header(&self) -> Vec<String> {
        self.header.clone()
    }

    /// Where the header has this name.
    pub(super) fn column(&self, name: &str) -> Result<usize, TraceError> {
        let place = self.header.iter().position(|column| column == name);
        place.ok_or_else(|| self.error(0, &format!("the header has no column {name}")))
    }

    /// A field of the current line; empty ones are refused.
    pub(super) fn text(&self, column: usize) -> Result<&str, TraceError> {
        let range = self.fields.get(column).cloned().unwrap_or(0..0);
        match self.text.get(range).map(str::trim) {
            None | Some("") => Err(self.error(column, "the field is empty")),
            Some(text) => Ok(text),
        }
    }

    /// A field that is a finite number from zero.
    pub(super) fn number(&self, column: usize) -> Result<f64, TraceError> {
        let text = self.text(column)?;
        let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            self.error(column, &format!("{shown:?} is not a number from 0"))
        })
    }

    /// An error at a column of the current line.
    pub(super) fn error(&self, column: usize, problem: &str) -> TraceError {
        let name = self.header.get(column).map(|name| format!(" ({name})"));
        TraceError::Column {
            path: self.path.clone(),
            line: self.line.max(1),
            column: format!("{}{}", column + 1, name.unwrap_or_default()),
            problem: problem.to_owned(),
        }
    }

    fn read_line(&mut self) -> Result<bool, TraceError> {
        self.line += 1;
        self.text.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut self.input).take(limit).read_line(&mut self.text);
        let read = read.map_err(|source| TraceError::Io {
            path: self.path.clone(),
            line: self.line,
            source,
        })?;
        if read > LINE_BYTES_MAX {
            return Err(TraceError::Line { path: self.path.clone(), line: self.line });
        }
        let kept = self.text.trim_end_matches(['\r', '\n']).len();
        self.text.truncate(kept);
        Ok(read > 0)
    }
}
