//! The source on a thread of its own, with a bounded queue of chunks to the pipeline. When the
//! pipeline is slow the queue fills and the source waits: back-pressure, no buffer that grows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::record::Position;
use crate::source::{Chunk, Progress, Read, Retry, Source, SourceError};

/// How long a read waits for the first message, and a stop request at most for the source.
const WAIT: Duration = Duration::from_millis(100);

/// Something from the source.
#[derive(Debug)]
pub enum Fed {
    /// Messages, with the names of the lanes when there are new ones.
    Chunk(Chunk, Option<Vec<String>>, Progress),
    /// Nothing came; the reason when the source is not ready.
    Idle(Option<String>, Progress),
    /// Nothing will come any more.
    End,
    /// The source gave up.
    Failed(SourceError),
}

/// The receiving end.
#[derive(Debug)]
pub struct Feed {
    fed: Receiver<Fed>,
    spare: Sender<Chunk>,
    acknowledged: Option<Sender<Vec<Position>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts reading; at most `queue` chunks wait. `stop` ends it after the current read.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(source: Box<dyn Source>, queue: usize, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let queue = queue.max(1);
        let (full, fed) = bounded(queue);
        // Chunks in circulation: those queued, one being filled and one being worked on.
        let (spare, empty) = bounded(queue + 2);
        for _ in 0..queue + 2 {
            // The channel has room for exactly these.
            if spare.send(Chunk::new()).is_err() {
                break;
            }
        }
        // One short list per chunk, taken before the next read.
        let (acknowledged, acks) = bounded(queue + 2);
        let stopping = Arc::clone(&stop);
        let serve = move || serve(source, &full, &empty, &acks, &stopping);
        let thread = Some(Builder::new().name("source".into()).spawn(serve)?);
        Ok(Self { fed, spare, acknowledged: Some(acknowledged), stop, thread })
    }

    /// Waits for what comes next, at most `wait`; `None` when nothing came.
    pub fn next(&self, wait: Duration) -> Option<Fed> {
        match self.fed.recv_timeout(wait) {
            Ok(fed) => Some(fed),
            Err(RecvTimeoutError::Timeout) => None,
            // The thread is gone: it has said why before, or it has panicked.
            Err(RecvTimeoutError::Disconnected) => Some(Fed::End),
        }
    }

    /// Gives a chunk back and acknowledges what is done.
    pub fn done(&self, chunk: Chunk, through: Vec<Position>) {
        // A source that has ended wants neither.
        drop(self.spare.send(chunk));
        if let Some(acknowledged) = &self.acknowledged {
            drop(acknowledged.send(through));
        }
    }

    /// Chunks that wait now.
    pub fn queued(&self) -> usize {
        self.fed.len()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // With this the source knows that it has heard of everything that is done.
        self.acknowledged = None;
        // A sender that waits for room must see that nobody will make any.
        while self.fed.recv_timeout(WAIT).is_ok() {}
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the source thread had panicked");
        }
    }
}

/// The source's loop. It ends when the source has, when it fails for good, when it is told to stop,
/// or when nobody listens any more.
fn serve(
    mut source: Box<dyn Source>,
    full: &Sender<Fed>,
    empty: &Receiver<Chunk>,
    acks: &Receiver<Vec<Position>>,
    stop: &AtomicBool,
) {
    let mut known_lanes = usize::MAX;
    let mut spare: Option<Chunk> = None;
    while !stop.load(Ordering::Relaxed) {
        for through in acks.try_iter() {
            source.acknowledge(&through);
        }
        let Some(mut chunk) = spare.take().or_else(|| empty.recv_timeout(WAIT).ok()) else {
            continue;
        };
        let fed = match source.read(&mut chunk, WAIT) {
            Ok(Read::Messages) => {
                let lanes = source.lanes();
                let new = (lanes.len() != known_lanes).then_some(lanes);
                known_lanes = new.as_ref().map_or(known_lanes, Vec::len);
                Fed::Chunk(chunk, new, source.progress())
            }
            Ok(Read::Idle) => {
                spare = Some(chunk);
                Fed::Idle(source.readiness().err(), source.progress())
            }
            Ok(Read::End) => Fed::End,
            Err(error) => match error.retry() {
                Retry::After(pause) => {
                    tracing::warn!(%error, ?pause, "the source failed and is read again");
                    std::thread::sleep(pause.min(Duration::from_secs(5)));
                    spare = Some(chunk);
                    Fed::Idle(Some(error.to_string()), source.progress())
                }
                Retry::Fatal => Fed::Failed(error),
            },
        };
        let last = matches!(fed, Fed::End | Fed::Failed(_));
        if full.send(fed).is_err() || last {
            break;
        }
    }
    // What was acknowledged last must still reach the source before it closes.
    while let Ok(through) = acks.recv() {
        source.acknowledge(&through);
    }
    source.close();
}
