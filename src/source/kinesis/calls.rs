//! Calls on their way, on the thread that reads.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinSet, yield_now};

use super::client::{Batch, Fault, Kinesis, Subscription};
use super::lineage::Listed;
use super::place::Place;
use super::settings::KinesisSettings;
use crate::source::SourceError;

/// Turns of the runtime between two chunks, so that answers go on coming in.
const TURNS: usize = 8;

/// What runs calls. They go on only within [`Calls::run`].
pub(super) struct Calls {
    running: JoinSet<Answer>,
    client: Kinesis,
    runtime: Runtime,
}

/// What a call came to; lanes are named where the call was for one.
pub(super) enum Answer {
    Shards(Result<Vec<Listed>, Fault>),
    Iterator(u32, Result<String, Fault>),
    Records(u32, Result<Batch, Fault>),
    Subscribed(u32, Result<Subscription, Fault>),
    Heard(u32, Subscription, Result<Option<Batch>, Fault>),
}

impl Calls {
    /// Finds region and credentials.
    pub(super) fn open(settings: &KinesisSettings) -> Result<Self, SourceError> {
        let refused = |cause: String| SourceError::KinesisSettings { cause };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| refused(error.to_string()))?;
        let client = runtime.block_on(Kinesis::find(settings)).ok_or_else(|| {
            refused("no region is known, set input.kinesis.region or AWS_REGION".to_owned())
        })?;
        Ok(Self { running: JoinSet::new(), client, runtime })
    }

    /// Lets calls go on, at most for so long or until one is done; gives what is done.
    pub(super) fn run(&mut self, wait: Duration) -> Result<Vec<Answer>, SourceError> {
        let running = &mut self.running;
        let mut next = self.runtime.block_on(async {
            if wait.is_zero() {
                for _ in 0..TURNS {
                    yield_now().await;
                }
                running.try_join_next()
            } else if running.is_empty() {
                tokio::time::sleep(wait).await;
                None
            } else {
                tokio::time::timeout(wait, running.join_next()).await.ok().flatten()
            }
        });
        let died = |error: JoinError| SourceError::KinesisCall { cause: error.to_string() };
        let mut answers = Vec::new();
        while let Some(answer) = next {
            answers.push(answer.map_err(died)?);
            next = running.try_join_next();
        }
        Ok(answers)
    }

    /// Drops what is on its way.
    pub(super) fn close(self) {
        drop(self.running);
        // A name that is being looked up must not hold up the stop.
        self.runtime.shutdown_background();
    }

    pub(super) fn shards(&mut self) {
        let client = self.client.clone();
        self.spawn(async move { Answer::Shards(client.shards().await) });
    }

    pub(super) fn iterator(&mut self, lane: u32, shard: String, at: Place) {
        let client = self.client.clone();
        self.spawn(async move { Answer::Iterator(lane, client.iterator(&shard, &at).await) });
    }

    pub(super) fn records(&mut self, lane: u32, iterator: String, limit: i32) {
        let client = self.client.clone();
        self.spawn(async move { Answer::Records(lane, client.records(iterator, limit).await) });
    }

    pub(super) fn subscribe(&mut self, lane: u32, shard: String, at: Place) {
        let client = self.client.clone();
        self.spawn(async move { Answer::Subscribed(lane, client.subscribe(&shard, &at).await) });
    }

    pub(super) fn listen(&mut self, lane: u32, mut open: Subscription) {
        let client = self.client.clone();
        self.spawn(async move {
            let heard = client.listen(&mut open).await;
            Answer::Heard(lane, open, heard)
        });
    }

    fn spawn(&mut self, call: impl Future<Output = Answer> + Send + 'static) {
        self.running.spawn_on(call, self.runtime.handle());
    }
}
