//! Dead letters as a source: the messages that could not be read, once they can be.
//!
//! Each is decoded whole, as when it first came, and only those of its parts are let in that were
//! refused then: the others are counted already. A part is told by its place among what the decoder
//! says of the message, so a new version must still say as much of the parts before it.

use std::path::PathBuf;
use std::time::Duration;

use super::letter::{Letter, PARTS};
use crate::record::Position;
use crate::source::file::{FileSettings, FileSource};
use crate::source::{Chunk, Headers, ProblemReason, Progress, Read, Source, SourceError, headers};
use crate::units::EventTime;

/// Reads files of dead letters, one after another.
#[derive(Debug)]
pub struct LetterSource {
    files: FileSource,
    lines: Chunk,
    block: Vec<u8>,
}

impl LetterSource {
    /// Opens the files; `-` is standard input.
    ///
    /// # Errors
    /// As [`FileSource::open`].
    pub fn open(paths: &[PathBuf]) -> Result<Self, SourceError> {
        // Letters lie in the order in which they were written, which is none of event time.
        let timeless: fn(&[u8]) -> Option<EventTime> = |_| None;
        let files = FileSource::open(paths, timeless, FileSettings::default())?;
        Ok(Self { files, lines: Chunk::new(), block: Vec::new() })
    }

    fn unpack(&mut self, chunk: &mut Chunk) {
        for problem in self.lines.problems() {
            let detail = problem.detail.to_owned();
            chunk.push_problem(problem.position, problem.reason, detail, problem.sample);
        }
        for line in self.lines.messages() {
            let Err(detail) = unpack(line.payload, line.position, &mut self.block, chunk) else {
                continue;
            };
            chunk.push_problem(line.position, ProblemReason::Letter, detail, line.payload);
        }
    }
}

fn unpack(
    line: &[u8],
    position: Position,
    block: &mut Vec<u8>,
    chunk: &mut Chunk,
) -> Result<(), String> {
    let letter: Letter<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let payload = letter.payload().ok_or("only the beginning of the message was kept")?;
    block.clear();
    for (name, value) in letter.headers.iter().filter(|(name, _)| *name != PARTS) {
        headers::push(block, name, value.as_bytes());
    }
    if !letter.parts.is_empty() {
        let parts: Vec<String> = letter.parts.iter().map(u32::to_string).collect();
        headers::push(block, PARTS, parts.join(",").as_bytes());
    }
    chunk.push(position, None, Headers::new(block), &payload);
    Ok(())
}

/// The parts that are wanted of a message, in no order; `None`: all.
pub(crate) fn wanted(headers: Headers<'_>) -> Option<Vec<u32>> {
    if headers.is_empty() {
        return None;
    }
    let (_, parts) = headers.iter().find(|(name, _)| *name == PARTS)?;
    let parts = std::str::from_utf8(parts).ok()?;
    Some(parts.split(',').filter_map(|part| part.parse().ok()).collect())
}

impl Source for LetterSource {
    fn read(&mut self, chunk: &mut Chunk, wait: Duration) -> Result<Read, SourceError> {
        chunk.clear();
        let read = self.files.read(&mut self.lines, wait)?;
        if read == Read::Messages {
            self.unpack(chunk);
        }
        Ok(read)
    }

    fn lanes(&self) -> Vec<String> {
        self.files.lanes()
    }

    fn acknowledge(&mut self, through: &[Position]) {
        self.files.acknowledge(through);
    }

    fn progress(&self) -> Progress {
        self.files.progress()
    }

    fn readiness(&self) -> Result<(), String> {
        self.files.readiness()
    }

    fn close(&mut self) {
        self.files.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_letter_gives_back_the_message_its_headers_and_its_parts() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in [
            r#"{"reason":"r","lane":"t/0","offset":7,"detail":"","parts":[1,30],
               "headers":{"ce_id":"x","bursar_parts":"9"},"text":"a \"b\"","truncated":false}"#,
            r#"{"reason":"r","lane":"t/0","offset":8,"detail":"","bytes_base64":"/wA=",
               "truncated":false}"#,
            r#"{"reason":"r","lane":"t/0","offset":9,"detail":"","text":"cut","truncated":true}"#,
            r#"{"kind":"invocation"}"#,
        ] {
            writeln!(file, "{}", line.replace('\n', "")).unwrap();
        }
        let mut source = LetterSource::open(&[file.path().to_owned()]).unwrap();
        let mut chunk = Chunk::new();
        assert_eq!(source.read(&mut chunk, Duration::ZERO).unwrap(), Read::Messages);
        let messages: Vec<_> = chunk.messages().collect();
        let payloads: Vec<_> = messages.iter().map(|message| message.payload).collect();
        assert_eq!(payloads, [&b"a \"b\""[..], b"\xff\0"]);
        assert_eq!(wanted(messages[0].headers), Some(vec![1, 30]));
        assert_eq!(messages[0].headers.iter().next(), Some(("ce_id", &b"x"[..])));
        assert_eq!(wanted(messages[1].headers), None);
        let problems: Vec<_> = chunk.problems().map(|p| (p.reason, p.position.offset)).collect();
        assert_eq!(problems, [(ProblemReason::Letter, 3), (ProblemReason::Letter, 4)]);
    }
}
