//! Threads, each with the engine of some partitions. The pipeline sends all of them work, does
//! something else, and takes all answers before it sends again; so there is at most one batch per
//! shard on the way and its memory comes back to be used again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::cost::{FunctionRates, Usage};
use crate::engine::accounts::Members;
use crate::engine::alarm::Output;
use crate::engine::batch::Batch;
use crate::engine::learned::Learned;
use crate::engine::partitions::{key_of, partition_of, shard_of};
use crate::engine::rate_card::RateKey;
use crate::engine::saved::Part;
use crate::engine::shard::{Counters, Directive, Dropped, Engine, Observed};
use crate::keep::Unfit;
use crate::units::{AccountId, EventTime, NanoUsd};

/// Functions that are written down with every job while the state is saved: a millisecond's work.
const SAVED_AT_ONCE: usize = 1_024;

/// Work for a shard.
enum Job {
    Batch(Batch),
    Tick { now: EventTime, sequence: u64, directives: Arc<[Directive]> },
    Finish { sequence: u64 },
    StartFrom(Vec<Learned>),
    Learned,
    Look,
    Save,
    SaveOn(usize),
    Regain { part: Arc<Part>, first: bool },
}

/// What a shard gives back.
#[derive(Debug, Default)]
struct Answer {
    batch: Batch,
    outputs: Vec<(u64, u64, Output)>,
    counters: Counters,
    functions: usize,
    watched: usize,
    usage: Vec<UsageRow>,
    members: Vec<(AccountId, u64)>,
    observed: Observed,
    dormant: usize,
    learned: Vec<Learned>,
    saved: Vec<Part>,
    saving: bool,
    regained: Option<Result<Dropped, Unfit>>,
}

/// Usage of one account at one price.
pub type UsageRow = (AccountId, RateKey, FunctionRates, Usage);

/// One shard. A single one works where it is asked: a thread would only add the way to it and back.
enum Shard {
    Here { engine: Box<Engine>, answer: Option<Box<Answer>> },
    Thread { jobs: Option<Sender<Job>>, answers: Receiver<Answer>, thread: Option<JoinHandle<()>> },
}

/// All shards of the process.
pub struct Shards {
    shards: Vec<Shard>,
    asked: bool,
    spare: Vec<Batch>,
    totals: Totals,
    /// Parts of the state that were written since the last time, and whether there are more.
    saved: Vec<Part>,
    saving: bool,
}

/// Sums over all shards as of the last answers.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    /// What became of the records.
    pub counters: Counters,
    /// Functions that are tracked.
    pub functions: usize,
    /// Functions with an alarm or a restriction.
    pub watched: usize,
    /// Time that functions were followed.
    pub observed: Observed,
    /// Usage by account and price, in that order; as of the last full minute, or of the finish.
    pub usage: Vec<UsageRow>,
    /// How many functions each account has; as of the same moment.
    pub members: Members,
    /// What that costs.
    pub spend: NanoUsd,
}

/// A shard's thread has died. It is a defect; the log has the panic.
#[derive(Debug, thiserror::Error)]
#[error("an engine thread has died, see the log for the panic; restart bursar")]
pub struct ShardDied;

/// Why shards cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RegainError {
    /// One has died.
    #[error(transparent)]
    Died(#[from] ShardDied),
    /// There is nothing to go on from.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shards").field("count", &self.shards.len()).finish_non_exhaustive()
    }
}

impl Shards {
    /// Starts `count` threads; `engine` makes the engine for the partitions that are asked for.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(
        count: usize,
        engine: impl Fn(&dyn Fn(usize) -> bool) -> Engine,
    ) -> io::Result<Self> {
        let shards = (0..count)
            .map(|index| {
                let engine = engine(&|partition| shard_of(partition, count) == index);
                if count == 1 {
                    return Ok(Shard::Here { engine: Box::new(engine), answer: None });
                }
                let (jobs, work) = bounded::<Job>(1);
                let (answer, answers) = bounded(1);
                let name = format!("engine-{index}");
                let thread = Builder::new().name(name).spawn(move || serve(engine, &work, &answer));
                Ok(Shard::Thread { jobs: Some(jobs), answers, thread: Some(thread?) })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let (spare, totals, saved) = (Vec::new(), Totals::default(), Vec::new());
        Ok(Self { shards, asked: false, spare, totals, saved, saving: false })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shards.len()
    }

    /// Sends each shard its batch, leaving empty ones in their place.
    ///
    /// # Errors
    /// A shard has died.
    pub fn send(&mut self, batches: &mut [Batch]) -> Result<(), ShardDied> {
        debug_assert!(!self.asked, "answers must be taken before more is sent");
        for (shard, batch) in self.shards.iter_mut().zip(batches) {
            let full = std::mem::replace(batch, self.spare.pop().unwrap_or_default());
            shard.ask(Job::Batch(full))?;
        }
        self.asked = true;
        Ok(())
    }

    /// Tells every shard that event time has come to `now`.
    ///
    /// # Errors
    /// A shard has died.
    pub fn tick(
        &mut self,
        now: EventTime,
        sequence: u64,
        directives: Vec<Directive>,
    ) -> Result<(), ShardDied> {
        let directives: Arc<[Directive]> = directives.into();
        self.ask_all(|| Job::Tick { now, sequence, directives: Arc::clone(&directives) })
    }

    /// Tells every shard that the input has ended.
    ///
    /// # Errors
    /// A shard has died.
    pub fn finish(&mut self, sequence: u64) -> Result<(), ShardDied> {
        self.ask_all(|| Job::Finish { sequence })
    }

    /// Before the first tick: hands each shard what was learned of its functions, and returns how
    /// many all of them have room for.
    ///
    /// # Errors
    /// A shard has died.
    pub fn start_from(
        &mut self,
        learned: impl Iterator<Item = Learned>,
    ) -> Result<usize, ShardDied> {
        let mut lots: Vec<Vec<Learned>> = self.shards.iter().map(|_| Vec::new()).collect();
        for learned in learned {
            let partition = partition_of(key_of(learned.function.as_ref()));
            lots[shard_of(partition, self.shards.len())].push(learned);
        }
        for (shard, lot) in self.shards.iter_mut().zip(lots) {
            shard.ask(Job::StartFrom(lot))?;
        }
        self.shards.iter_mut().map(|shard| Ok(shard.answer()?.dormant)).sum()
    }

    /// At the end: what was learned of all functions, sorted by their names. The engines are empty
    /// then.
    ///
    /// # Errors
    /// A shard has died.
    pub fn learned(&mut self) -> Result<Vec<Learned>, ShardDied> {
        self.ask_all(|| Job::Learned)?;
        self.asked = false;
        let mut learned = Vec::new();
        for shard in &mut self.shards {
            learned.append(&mut shard.answer()?.learned);
        }
        learned.sort_unstable_by(|a, b| a.function.cmp(&b.function));
        Ok(learned)
    }

    /// Waits for the answers that are due and returns the outputs in the input's order.
    ///
    /// # Errors
    /// A shard has died.
    pub fn collect(&mut self) -> Result<Vec<(u64, u64, Output)>, ShardDied> {
        let mut outputs = Vec::new();
        if !std::mem::take(&mut self.asked) {
            return Ok(outputs);
        }
        let mut totals = Totals::default();
        self.saving = false;
        let mut usage: BTreeMap<(AccountId, RateKey), (FunctionRates, Usage)> = BTreeMap::new();
        for shard in &mut self.shards {
            let answer = shard.answer()?;
            outputs.extend(answer.outputs);
            self.saved.extend(answer.saved);
            self.saving |= answer.saving;
            totals.counters += answer.counters;
            totals.functions += answer.functions;
            totals.watched += answer.watched;
            totals.observed += answer.observed;
            for (account, functions) in answer.members {
                *totals.members.entry(account).or_default() += functions;
            }
            for (account, key, rates, used) in answer.usage {
                usage.entry((account, key)).or_insert((rates, Usage::ZERO)).1 += used;
            }
            let mut batch = answer.batch;
            batch.clear();
            self.spare.push(batch);
        }
        let rows = usage.into_iter();
        totals.usage =
            rows.map(|((account, key), (rates, used))| (account, key, rates, used)).collect();
        if totals.usage.is_empty() {
            totals.usage = std::mem::take(&mut self.totals.usage);
            totals.members = std::mem::take(&mut self.totals.members);
            totals.spend = self.totals.spend;
        } else {
            totals.spend = totals.usage.iter().map(|(_, _, rates, used)| rates.cost(used)).sum();
        }
        self.totals = totals;
        // One key's outputs at one place come from one shard, in its order: the sort is stable.
        outputs.sort_by_key(|&(sequence, key, _)| (sequence, key));
        Ok(outputs)
    }

    /// Sums as of the last answers.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Brings the sums up to date.
    ///
    /// # Errors
    /// A shard has died.
    pub fn look(&mut self) -> Result<(), ShardDied> {
        self.ask_all(|| Job::Look)?;
        self.collect().map(drop)
    }

    /// Begins to write the state down as it is now, with all answers taken. Every job goes on with
    /// it.
    ///
    /// # Errors
    /// A shard has died.
    pub fn save(&mut self) -> Result<(), ShardDied> {
        self.ask_all(|| Job::Save)?;
        self.collect().map(drop)
    }

    /// Goes on writing, where there is nothing else to do.
    ///
    /// # Errors
    /// A shard has died.
    pub fn save_on(&mut self, functions: usize) -> Result<(), ShardDied> {
        self.ask_all(|| Job::SaveOn(functions))?;
        self.collect().map(drop)
    }

    /// The parts that were written since the last time, and whether that was all.
    pub fn saved(&mut self) -> (Vec<Part>, bool) {
        (std::mem::take(&mut self.saved), !self.saving)
    }

    /// Before the first record: goes on from a part. Returns for how many functions there is no
    /// room any more.
    ///
    /// # Errors
    /// The part is of no use, or a shard has died.
    pub fn regain(&mut self, part: &Arc<Part>) -> Result<u64, RegainError> {
        for (index, shard) in self.shards.iter_mut().enumerate() {
            shard.ask(Job::Regain { part: Arc::clone(part), first: index == 0 })?;
        }
        let mut dropped = 0;
        for shard in &mut self.shards {
            dropped += shard.answer()?.regained.ok_or(ShardDied)??.functions;
        }
        Ok(dropped)
    }

    /// As of the latest full minute before the state was written.
    pub fn set_members(&mut self, members: Members) {
        self.totals.members = members;
    }

    fn ask_all(&mut self, job: impl Fn() -> Job) -> Result<(), ShardDied> {
        debug_assert!(!self.asked, "answers must be taken before more is sent");
        for shard in &mut self.shards {
            shard.ask(job())?;
        }
        self.asked = true;
        Ok(())
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            let Shard::Thread { jobs, thread, .. } = shard else {
                continue;
            };
            // A closed channel ends the thread.
            *jobs = None;
            if let Some(thread) = thread.take()
                && thread.join().is_err()
            {
                tracing::error!("an engine thread had panicked");
            }
        }
    }
}

impl Shard {
    fn ask(&mut self, job: Job) -> Result<(), ShardDied> {
        match self {
            Shard::Here { engine, answer } => {
                *answer = Some(Box::new(work(engine, job)));
                Ok(())
            }
            Shard::Thread { jobs, .. } => {
                jobs.as_ref().ok_or(ShardDied)?.send(job).map_err(|_| ShardDied)
            }
        }
    }

    fn answer(&mut self) -> Result<Answer, ShardDied> {
        match self {
            Shard::Here { answer, .. } => answer.take().map(|answer| *answer).ok_or(ShardDied),
            Shard::Thread { answers, .. } => answers.recv().map_err(|_| ShardDied),
        }
    }
}

/// A shard's loop: it ends when the pipeline lets go of its channel.
fn serve(mut engine: Engine, jobs: &Receiver<Job>, answers: &Sender<Answer>) {
    while let Ok(job) = jobs.recv() {
        if answers.send(work(&mut engine, job)).is_err() {
            return;
        }
    }
}

fn work(engine: &mut Engine, job: Job) -> Answer {
    let mut answer = Answer::default();
    match job {
        Job::Batch(batch) => {
            engine.batch(&batch);
            answer.batch = batch;
        }
        Job::Tick { now, sequence, directives } => {
            engine.tick(now, sequence, &directives);
            if now.second().rem_euclid(60) == 0 {
                answer.usage = engine.usage().collect();
                answer.members = engine.members().collect();
            }
        }
        Job::Finish { sequence } => {
            engine.finish(sequence);
            answer.usage = engine.usage().collect();
            answer.members = engine.members().collect();
            answer.observed = engine.observed();
        }
        Job::StartFrom(learned) => {
            learned.into_iter().for_each(|learned| engine.start_from(learned));
            answer.dormant = engine.dormant();
        }
        Job::Learned => answer.learned = engine.learned(),
        Job::Look => {
            answer.usage = engine.usage().collect();
            answer.members = engine.members().collect();
            answer.observed = engine.observed();
        }
        Job::Save => engine.save(),
        Job::SaveOn(functions) => drop(engine.save_on(functions)),
        Job::Regain { part, first } => answer.regained = Some(engine.regain(&part, first)),
    }
    answer.saving = !engine.save_on(SAVED_AT_ONCE);
    answer.saved = engine.saved();
    answer.outputs.extend(engine.drain());
    answer.counters = engine.counters();
    answer.functions = engine.functions();
    answer.watched = engine.watched();
    answer
}
