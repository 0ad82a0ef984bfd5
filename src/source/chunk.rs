//! A batch of undecoded messages in one arena that is reused between reads, so that reading does
//! not allocate per message.

use super::headers::Headers;
use crate::record::Position;
use crate::units::ProcessingTime;

/// Messages in a chunk. At 500 bytes a message this and the byte limit are reached together; a
/// chunk of that size is decoded in a few milliseconds, which bounds how long a tick waits.
pub const CHUNK_MESSAGES_MAX: usize = 4_096;

/// Bytes in a chunk; the message that crosses the limit is the last one.
pub const CHUNK_BYTES_MAX: usize = 2 << 20;

/// The part of a refused message that is kept for the dead letters.
pub const SAMPLE_BYTES_MAX: usize = 1 << 10;

/// A batch of messages, and of places where the input could not be read.
#[derive(Debug)]
pub struct Chunk {
    arena: Vec<u8>,
    messages: Vec<Entry>,
    problems: Vec<ProblemEntry>,
    messages_max: usize,
    bytes_max: usize,
}

/// One undecoded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where it stood.
    pub position: Position,
    /// When this process got it, from a live source.
    pub arrived: Option<ProcessingTime>,
    /// What the transport says beside it.
    pub headers: Headers<'a>,
    /// The message.
    pub payload: &'a [u8],
}

/// A place in the input that gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem<'a> {
    /// Where it is.
    pub position: Position,
    /// What kind.
    pub reason: ProblemReason,
    /// In words.
    pub detail: &'a str,
    /// The beginning of what could not be read, at most [`SAMPLE_BYTES_MAX`].
    pub sample: &'a [u8],
}

/// Why a place in the input gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemReason {
    /// A line longer than the limit; reading goes on behind it.
    Oversize,
    /// Compressed data that is cut off or broken, or an input that failed; its lane ends here.
    Damage,
    /// A dead letter that is none, or that holds only a part of its message.
    Letter,
}

impl ProblemReason {
    /// The word for dead letters and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProblemReason::Oversize => "oversize",
            ProblemReason::Damage => "damage",
            ProblemReason::Letter => "letter",
        }
    }
}

#[derive(Debug)]
struct Entry {
    position: Position,
    arrived: Option<ProcessingTime>,
    header_bytes: usize,
    start: usize,
    end: usize,
}

#[derive(Debug)]
struct ProblemEntry {
    position: Position,
    reason: ProblemReason,
    detail: String,
    start: usize,
    end: usize,
}

impl Default for Chunk {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunk {
    /// An empty chunk with the usual limits.
    pub fn new() -> Self {
        Self::with_limits(CHUNK_MESSAGES_MAX, CHUNK_BYTES_MAX)
    }

    /// An empty chunk that is full at so many messages or bytes (at least one message).
    pub fn with_limits(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            arena: Vec::new(),
            messages: Vec::new(),
            problems: Vec::new(),
            messages_max: messages_max.max(1),
            bytes_max: bytes_max.max(1),
        }
    }

    /// Forgets the messages and keeps the memory, unless one huge message had blown it up.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.problems.clear();
        self.arena.clear();
        self.arena.shrink_to(self.bytes_max.saturating_mul(2));
    }

    /// Adds a copy of a message.
    pub fn push(
        &mut self,
        position: Position,
        arrived: Option<ProcessingTime>,
        headers: Headers<'_>,
        payload: &[u8],
    ) {
        let start = self.arena.len();
        self.arena.extend_from_slice(headers.as_bytes());
        self.arena.extend_from_slice(payload);
        self.messages.push(Entry {
            position,
            arrived,
            header_bytes: headers.as_bytes().len(),
            start,
            end: self.arena.len(),
        });
    }

    /// Adds a place that gave no message; the sample is cut at [`SAMPLE_BYTES_MAX`].
    pub fn push_problem(
        &mut self,
        position: Position,
        reason: ProblemReason,
        detail: String,
        sample: &[u8],
    ) {
        let start = self.arena.len();
        let kept = sample.get(..SAMPLE_BYTES_MAX).unwrap_or(sample);
        self.arena.extend_from_slice(kept);
        self.problems.push(ProblemEntry { position, reason, detail, start, end: self.arena.len() });
    }

    /// The messages, in the order in which they were added.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        self.messages.iter().map(|entry| self.of_entry(entry))
    }

    /// One of them, by its place.
    pub fn message(&self, place: usize) -> Option<Message<'_>> {
        self.messages.get(place).map(|entry| self.of_entry(entry))
    }

    fn of_entry(&self, entry: &Entry) -> Message<'_> {
        let all = &self.arena[entry.start..entry.end];
        let (headers, payload) = all.split_at(entry.header_bytes);
        Message {
            position: entry.position,
            arrived: entry.arrived,
            headers: Headers::new(headers),
            payload,
        }
    }

    /// The places that gave no message, in the order in which they were added.
    pub fn problems(&self) -> impl ExactSizeIterator<Item = Problem<'_>> {
        self.problems.iter().map(|entry| Problem {
            position: entry.position,
            reason: entry.reason,
            detail: &entry.detail,
            sample: &self.arena[entry.start..entry.end],
        })
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Neither messages nor problems.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.problems.is_empty()
    }

    /// A limit is reached.
    pub fn is_full(&self) -> bool {
        self.messages.len() + self.problems.len() >= self.messages_max
            || self.arena.len() >= self.bytes_max
    }

    /// Bytes of headers, payloads and samples.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::headers::push;

    fn at(offset: u64) -> Position {
        Position { lane: 0, offset }
    }

    #[test]
    fn messages_come_back_as_they_were_pushed() {
        let (mut chunk, none, mut block) = (Chunk::new(), Headers::default(), Vec::new());
        push(&mut block, "name", b"value");
        chunk.push(at(1), None, none, b"one");
        chunk.push(at(2), Some(ProcessingTime(7)), none, b"");
        chunk.push(at(3), None, Headers::new(&block), b"three\0\xff");
        let seen: Vec<_> = chunk.messages().map(|m| (m.headers.iter().next(), m.payload)).collect();
        let header = Some(("name", &b"value"[..]));
        assert_eq!(seen, [(None, &b"one"[..]), (None, b""), (header, b"three\0\xff")]);
        assert_eq!(chunk.messages().nth(1).unwrap().arrived, Some(ProcessingTime(7)));
        assert_eq!((chunk.len(), chunk.bytes()), (3, 3 + block.len() + 7));
    }

    #[test]
    fn a_chunk_is_full_at_either_limit_and_takes_at_least_one_message() {
        let mut chunk = Chunk::with_limits(0, 10);
        assert!(!chunk.is_full());
        chunk.push(at(1), None, Headers::default(), b"x");
        assert!(chunk.is_full());
        let mut chunk = Chunk::with_limits(100, 10);
        chunk.push(at(1), None, Headers::default(), &[b'x'; 9]);
        assert!(!chunk.is_full());
        chunk.push(at(2), None, Headers::default(), b"x");
        assert!(chunk.is_full());
    }

    #[test]
    fn clearing_keeps_the_memory_but_not_that_of_a_giant() {
        let mut chunk = Chunk::with_limits(10, 1_000);
        chunk.push(at(1), None, Headers::default(), &[b'x'; 900]);
        let kept = chunk.arena.capacity();
        chunk.clear();
        assert!(chunk.is_empty());
        assert_eq!(chunk.arena.capacity(), kept);
        chunk.push(at(2), None, Headers::default(), &vec![b'x'; 1 << 20]);
        chunk.clear();
        assert!(chunk.arena.capacity() <= 2_000);
    }

    #[test]
    fn samples_of_problems_are_cut() {
        let mut chunk = Chunk::new();
        let long = vec![b'x'; 5_000];
        chunk.push_problem(at(9), ProblemReason::Oversize, "long".to_owned(), &long);
        let problem = chunk.problems().next().unwrap();
        assert_eq!(problem.sample.len(), SAMPLE_BYTES_MAX);
        assert_eq!(problem.position.offset, 9);
        assert!(!chunk.is_empty());
        assert_eq!(chunk.len(), 0);
    }
}
