//! Opens inputs, tells their compression by the first bytes and not by the name, and reads ahead
//! from those that can keep one waiting.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use std::{fmt, mem};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded};

use super::SourceError;

/// Blocks that a pipe's thread may be ahead.
const BLOCKS_AHEAD: usize = 4;

/// A block of a pipe: what Linux pipes hold by default.
const BLOCK_BYTES: usize = 64 << 10;

/// RFC 1952 section 2.3.1.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// RFC 8878 section 3.1.1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// RFC 8878 section 3.1.2: the first byte is 0x50 to 0x5f. Parallel compressors begin with one.
const ZSTD_SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Where decompressed bytes come from.
pub(super) enum Input {
    /// A regular file.
    Direct(Box<dyn Read + Send>),
    /// Something that is read ahead by a thread.
    Piped(Pipe),
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Portion {
    Bytes(usize),
    /// A pipe has nothing now.
    Nothing,
    End,
}

/// The near end of a pipe's thread. The thread ends with its input, or when it has read something
/// that nobody takes any more.
#[derive(Debug)]
pub(super) struct Pipe {
    blocks: Receiver<io::Result<Vec<u8>>>,
    spent: Sender<Vec<u8>>,
    block: Vec<u8>,
    taken: usize,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Direct(_) => f.write_str("Direct"),
            Input::Piped(pipe) => pipe.fmt(f),
        }
    }
}

impl Input {
    /// Opens `path`, or standard input for `-`; also gives the size where there is one. Bytes are
    /// counted in `count` as they are stored.
    pub(super) fn open(
        path: &Path,
        count: &Arc<AtomicU64>,
    ) -> Result<(Self, Option<u64>), SourceError> {
        let unreadable =
            |cause| SourceError::Unreadable { path: path.display().to_string(), cause };
        let count = Arc::clone(count);
        if path == Path::new("-") {
            let open = move || decoded(Counted { inner: io::stdin(), count });
            return Ok((Self::piped(open).map_err(unreadable)?, None));
        }
        let facts = fs::metadata(path).map_err(unreadable)?;
        if facts.is_dir() {
            let path = path.display().to_string();
            return Err(SourceError::Directory { path });
        }
        if facts.is_file() {
            let inner = File::open(path).map_err(unreadable)?;
            let reader = decoded(Counted { inner, count }).map_err(unreadable)?;
            return Ok((Input::Direct(reader), Some(facts.len())));
        }
        // Opening a named pipe waits for its writer, so that is left to the thread too.
        let path = path.to_path_buf();
        let open = move || decoded(Counted { inner: File::open(path)?, count });
        Ok((Self::piped(open).map_err(unreadable)?, None))
    }

    /// Starts the thread that opens and reads.
    pub(super) fn piped(
        open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, blocks) = bounded(BLOCKS_AHEAD);
        let (spent, reuse) = bounded(BLOCKS_AHEAD);
        thread::Builder::new()
            .name("bursar-input".to_owned())
            .spawn(move || read_ahead(open, &sender, &reuse))?;
        Ok(Input::Piped(Pipe { blocks, spent, block: Vec::new(), taken: 0 }))
    }

    /// Reads into `into`, which has room; never waits for a pipe.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Portion> {
        match self {
            Input::Direct(reader) => Ok(match read_some(reader, into)? {
                0 => Portion::End,
                count => Portion::Bytes(count),
            }),
            Input::Piped(pipe) => pipe.read(into),
        }
    }

    pub(super) fn pipe(&self) -> Option<&Pipe> {
        match self {
            Input::Direct(_) => None,
            Input::Piped(pipe) => Some(pipe),
        }
    }
}

impl Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<Portion> {
        if self.taken == self.block.len() {
            match self.blocks.try_recv() {
                Ok(block) => {
                    let spent = mem::replace(&mut self.block, block?);
                    // A full channel means that the thread has enough blocks: drop this one.
                    drop(self.spent.try_send(spent));
                    self.taken = 0;
                }
                Err(TryRecvError::Empty) => return Ok(Portion::Nothing),
                Err(TryRecvError::Disconnected) => return Ok(Portion::End),
            }
        }
        let left = &self.block[self.taken..];
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(Portion::Bytes(count))
    }
}

/// Waits until one of the pipes has something or has ended; false when none had within `wait`.
pub(super) fn wait_for_any<'a>(pipes: impl Iterator<Item = &'a Pipe>, wait: Duration) -> bool {
    let mut select = Select::new();
    for pipe in pipes {
        select.recv(&pipe.blocks);
    }
    select.ready_timeout(wait).is_ok()
}

fn read_ahead(
    open: impl FnOnce() -> io::Result<Box<dyn Read + Send>>,
    sender: &Sender<io::Result<Vec<u8>>>,
    reuse: &Receiver<Vec<u8>>,
) {
    let mut reader = match open() {
        Ok(reader) => reader,
        Err(error) => {
            // Nobody listening any more is as good an end as any.
            drop(sender.send(Err(error)));
            return;
        }
    };
    loop {
        let mut block = reuse.try_recv().unwrap_or_default();
        block.resize(BLOCK_BYTES, 0);
        match read_some(&mut reader, &mut block) {
            Ok(0) => return,
            Ok(count) => {
                block.truncate(count);
                if sender.send(Ok(block)).is_err() {
                    return;
                }
            }
            Err(error) => {
                drop(sender.send(Err(error)));
                return;
            }
        }
    }
}

fn read_some(reader: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The decompressed content of `raw`.
pub(super) fn decoded(mut raw: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut head = [0; 4];
    let mut known = 0;
    while known < head.len() {
        match read_some(&mut raw, &mut head[known..])? {
            0 => break,
            count => known += count,
        }
    }
    let gzip = known >= 2 && head[..2] == GZIP_MAGIC;
    let zstd = known == 4
        && (head == ZSTD_MAGIC || (head[0] & 0xf0 == 0x50 && head[1..] == ZSTD_SKIPPABLE_MAGIC));
    let whole = Cursor::new(head).take(known as u64).chain(raw);
    Ok(if gzip {
        let buffered = BufReader::with_capacity(BLOCK_BYTES, whole);
        Box::new(flate2::bufread::MultiGzDecoder::new(buffered))
    } else if zstd {
        Box::new(zstd::stream::read::Decoder::new(whole)?)
    } else {
        Box::new(whole)
    })
}

/// Counts what passes.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
