//! The state that outlives the process: read at the start, written every now and then and at a
//! graceful stop.
//!
//! The pipeline hands over what it has written down; compressing and writing it is another
//! thread's work. It says when a snapshot counts, and nothing waits for it but a stop.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::config::settings::Settings;
use crate::engine::saved::Part;
use crate::observe::api::ApiState;
use crate::record::Position;
use crate::store::disk::Folder;
use crate::store::snapshot::Header;
use crate::store::snapshots::{Found, Newest, Snapshots, Writing};

use super::clock;
use super::pipeline::Pipeline;
use super::shards::ShardDied;

/// Whoever holds this file's lock writes to the folder.
const LOCK: &str = "lock";
/// The first snapshot does not wait for the interval: until then a lane has no position.
const FIRST_AFTER: Duration = Duration::from_secs(5);
/// Functions that are written down at once while there is nothing else to do.
const IDLE_FUNCTIONS: usize = 4_096;
/// For so long, before the input is looked at again.
const IDLE_WORK: Duration = Duration::from_millis(20);
/// A disk that is behind by so many parts is not given more without need.
const PARTS_WAITING: usize = 64;
/// A stop waits so long for its last snapshot; with what is given back before, less than its grace.
const PATIENCE: Duration = Duration::from_secs(4);

/// Work for the thread that writes.
enum Job {
    Begin(Box<Header>),
    Part(Part),
    End,
}

/// The folder of the state, locked.
#[derive(Debug)]
pub struct Kept {
    snapshots: Snapshots,
    /// What there is to go on from.
    pub found: Option<Found>,
    damaged: Vec<String>,
    lock: File,
    interval: Duration,
    path: PathBuf,
}

impl Kept {
    /// Opens the folder that the settings name, if they name one.
    ///
    /// # Errors
    /// It cannot be used, another process uses it, or what is in it is another version's.
    pub fn open(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let Some(path) = settings.state_directory.clone() else {
            return Ok(None);
        };
        let shown = path.display();
        let unusable = || format!("cannot use state.directory {shown}");
        let folder = Folder::open(path.clone()).with_context(unusable)?;
        let lock = lock(&path).with_context(unusable)?;
        let mut snapshots = Snapshots::open(Box::new(folder)).with_context(unusable)?;
        let Newest { found, damaged } = snapshots.newest().map_err(|(name, error)| {
            anyhow::anyhow!("cannot go on from {}: {error}", path.join(name).display())
        })?;
        for (name, error) in &damaged {
            tracing::error!(name, %error, "a snapshot of the state is of no use and was put aside");
        }
        let damaged = damaged.into_iter().map(|(name, _)| name).collect();
        let interval = Duration::from_secs(settings.state_interval_seconds.into());
        Ok(Some(Self { snapshots, found, damaged, lock, interval, path }))
    }

    /// How far each lane of the input is known.
    pub fn positions(&self) -> &[(String, Option<u64>)] {
        self.found.as_ref().map_or(&[], |found| &found.header.positions)
    }

    /// Lets a pipeline that has seen nothing go on, if there is anything to go on from.
    ///
    /// # Errors
    /// What is whole cannot be used all the same.
    pub fn regain(&self, pipeline: &mut Pipeline) -> anyhow::Result<()> {
        let Some(Found { name, header }) = &self.found else {
            return Ok(());
        };
        let began = clock::elapsed();
        let mut dropped = 0;
        let take = |part, _| -> anyhow::Result<()> {
            dropped += pipeline.regain(part)?;
            Ok(())
        };
        self.snapshots.parts(name, take).with_context(|| {
            let path = self.path.join(name);
            format!(
                "cannot go on from {}; move it away to go on from the one before",
                path.display()
            )
        })?;
        pipeline.regained()?;
        let (functions, took) = (header.functions, clock::elapsed().saturating_sub(began));
        tracing::info!(name, functions, ?took, "going on from the state");
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "there is no room for some functions, they are learned anew; raise \
                 engine.functions_max to keep them"
            );
        }
        Ok(())
    }

    /// Writes what a pipeline knows, once; into a folder in which there is nothing yet.
    ///
    /// # Errors
    /// There is something, or it cannot be written.
    pub fn write(mut self, pipeline: &mut Pipeline) -> anyhow::Result<()> {
        if let Some(found) = &self.found {
            let path = self.path.join(&found.name);
            anyhow::bail!(
                "{} is there already and would be forgotten; move it away first",
                path.display()
            );
        }
        let outline = pipeline.save()?;
        let (wall, positions) = (clock::wall().0, outline.positions);
        let header = Header::new(wall, outline.now, outline.functions, positions);
        let mut writing = self.snapshots.begin(&header)?;
        self.snapshots.part(&mut writing, &outline.whole)?;
        loop {
            pipeline.save_on(IDLE_FUNCTIONS)?;
            let (parts, done) = pipeline.saved();
            for part in &parts {
                self.snapshots.part(&mut writing, part)?;
            }
            if done {
                break;
            }
        }
        self.snapshots.end(writing)?;
        Ok(())
    }

    /// From here on it is written.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(self, api: &ApiState) -> io::Result<Keeper> {
        let why = match (&self.found, self.damaged.last()) {
            (Some(found), None) => format!("going on from {}", found.name),
            (Some(found), Some(bad)) => {
                format!("{bad} was damaged and put aside, going on from {} before it", found.name)
            }
            (None, None) => "nothing to go on from yet".to_owned(),
            (None, Some(bad)) => {
                format!("{bad} was damaged and put aside, there was no other: all begins anew")
            }
        };
        api.metrics.state_damaged.inc_by(self.damaged.len() as u64);
        api.view.set_ready("state", true, why);
        // Its length is bounded by the state's: the parts are there whether they wait here or not.
        let (jobs, work) = unbounded();
        let (told, results) = bounded(1);
        let snapshots = self.snapshots;
        let serve = move || serve(snapshots, &work, &told);
        let thread = Builder::new().name("state".into()).spawn(serve)?;
        Ok(Keeper {
            interval: self.interval,
            due: clock::elapsed() + self.interval.min(FIRST_AFTER),
            jobs: Some(jobs),
            results,
            phase: Phase::Resting,
            created_ms: 0,
            lanes: Vec::new(),
            lanes_written: self.found.map_or_else(Vec::new, |found| lanes(&found.header)),
            failing: false,
            thread: Some(thread),
            _lock: self.lock,
        })
    }
}

/// A lock that ends with the process.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path.join(LOCK))?;
    file.try_lock().map_err(|_| {
        anyhow::anyhow!("another bursar uses it; give each process a folder of its own")
    })?;
    Ok(file)
}

/// Which lanes have a position.
fn lanes(header: &Header) -> Vec<bool> {
    header.positions.iter().map(|(_, last)| last.is_some()).collect()
}

/// Where a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is none.
    Resting,
    /// The shards write theirs down.
    Gathering,
    /// All is handed over.
    Writing,
}

/// Sees to it that the state is written.
#[derive(Debug)]
pub struct Keeper {
    interval: Duration,
    due: Duration,
    jobs: Option<Sender<Job>>,
    results: Receiver<io::Result<u64>>,
    phase: Phase,
    created_ms: i64,
    /// Lanes that have a position in the snapshot that is written, and in one that counts.
    lanes: Vec<bool>,
    lanes_written: Vec<bool>,
    failing: bool,
    thread: Option<JoinHandle<()>>,
    _lock: File,
}

impl Keeper {
    /// To be called between two chunks of messages; `idle` when there is none.
    ///
    /// # Errors
    /// A shard has died.
    pub fn attend(
        &mut self,
        pipeline: &mut Pipeline,
        api: &ApiState,
        idle: bool,
    ) -> Result<(), ShardDied> {
        self.hear(api);
        if self.phase == Phase::Resting && clock::elapsed() >= self.due {
            self.begin(pipeline, api)?;
        }
        let until = clock::elapsed() + IDLE_WORK;
        self.gather(pipeline);
        while idle
            && self.phase == Phase::Gathering
            && clock::elapsed() < until
            && self.jobs.as_ref().is_some_and(|jobs| jobs.len() < PARTS_WAITING)
        {
            pipeline.save_on(IDLE_FUNCTIONS)?;
            self.gather(pipeline);
        }
        Ok(())
    }

    /// What may be acknowledged of `through`. After a crash a lane without a position in any
    /// snapshot begins where the source says, so nothing of it must be acknowledged before.
    pub fn acknowledged(&self, pipeline: &Pipeline, mut through: Vec<Position>) -> Vec<Position> {
        through.retain(|&position| {
            let lane = pipeline.own(position).lane as usize;
            self.lanes_written.get(lane).copied().unwrap_or(false)
        });
        through
    }

    /// The last snapshot, at a graceful stop.
    ///
    /// # Errors
    /// A shard has died.
    pub fn finish(mut self, pipeline: &mut Pipeline, api: &ApiState) -> Result<(), ShardDied> {
        let deadline = clock::elapsed() + PATIENCE;
        for last in [false, true] {
            if last {
                self.begin(pipeline, api)?;
            }
            while self.phase == Phase::Gathering {
                pipeline.save_on(IDLE_FUNCTIONS)?;
                self.gather(pipeline);
            }
            if self.phase == Phase::Writing {
                let left = deadline.saturating_sub(clock::elapsed());
                match self.results.recv_timeout(left) {
                    Ok(result) => self.told(result, api),
                    Err(_) => {
                        tracing::error!(
                            "the last state was not written in time; the next start goes on from \
                             the one before"
                        );
                        // The thread goes on for as long as the process does.
                        self.thread = None;
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, pipeline: &mut Pipeline, api: &ApiState) -> Result<(), ShardDied> {
        let began = clock::elapsed();
        let outline = pipeline.save()?;
        self.created_ms = clock::wall().0;
        let header =
            Header::new(self.created_ms, outline.now, outline.functions, outline.positions);
        self.lanes = lanes(&header);
        self.give(Job::Begin(Box::new(header)));
        self.give(Job::Part(outline.whole));
        self.phase = Phase::Gathering;
        self.due = began + self.interval;
        api.metrics.state_pause.observe((clock::elapsed() - began).as_secs_f64());
        Ok(())
    }

    /// Hands over what the shards have written down.
    fn gather(&mut self, pipeline: &mut Pipeline) {
        if self.phase != Phase::Gathering {
            return;
        }
        let (parts, done) = pipeline.saved();
        parts.into_iter().for_each(|part| self.give(Job::Part(part)));
        if done {
            self.give(Job::End);
            self.phase = Phase::Writing;
        }
    }

    fn give(&self, job: Job) {
        // A thread that is gone has told of it.
        if let Some(jobs) = &self.jobs {
            drop(jobs.send(job));
        }
    }

    fn hear(&mut self, api: &ApiState) {
        if let Ok(result) = self.results.try_recv() {
            self.told(result, api);
        }
    }

    fn told(&mut self, result: io::Result<u64>, api: &ApiState) {
        self.phase = Phase::Resting;
        match result {
            Ok(bytes) => {
                self.lanes_written.clone_from(&self.lanes);
                api.metrics.state_saves.add(&["written"], 1);
                api.metrics.state_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
                api.metrics.state_saved.set(self.created_ms as f64 / 1e3);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the state is written again");
                }
                api.view.set_ready("state", true, "written");
            }
            Err(error) => {
                api.metrics.state_saves.add(&["failed"], 1);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(
                        %error,
                        "the state could not be written, it is tried again; the one before is \
                         untouched"
                    );
                }
                api.view.set_ready("state", true, format!("could not be written: {error}"));
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // A closed channel ends the thread.
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the state had panicked");
        }
    }
}

/// The writer's loop: each snapshot ends with one result, whatever came of it.
fn serve(mut snapshots: Snapshots, jobs: &Receiver<Job>, told: &Sender<io::Result<u64>>) {
    let mut writing: io::Result<Writing> = Err(io::Error::other("it was not begun"));
    for job in jobs {
        match job {
            Job::Begin(header) => writing = snapshots.begin(&header),
            Job::Part(part) => {
                if let Ok(begun) = &mut writing
                    && let Err(error) = snapshots.part(begun, &part)
                {
                    writing = Err(error);
                }
            }
            Job::End => {
                let begun =
                    std::mem::replace(&mut writing, Err(io::Error::other("it was not begun")));
                let result = begun.and_then(|writing| snapshots.end(writing));
                if told.send(result).is_err() {
                    return;
                }
            }
        }
    }
}
