//! The way of the data inside the process: messages are decoded, taken in, sent to the shards;
//! what the shards say goes to control, what control wants goes to the actuator, and everything is
//! recorded. Event time drives it; a live input lends its wall clock.

mod acting;
mod lanes;
mod saving;

use std::time::Duration;

use crate::act::hands::Hands;
use crate::control::ladder::Control;
use crate::cost::{AccountBook, Budget, BudgetOutlook, BudgetScope, Month, Pattern, Usage};
use crate::cost::{Footprint, FootprintBill, StreamUse};
use crate::decode::{Context, Decoder, EventHeaders, Ignored, Limits, Sink as _};
use crate::engine::accounts::Accounts;
use crate::engine::alarm::{MinuteRow, Output};
use crate::engine::intake::Intake;
use crate::engine::learned::Learned;
use crate::engine::rate_card::RateKey;
use crate::observe::decisions::{RecordCounts, SummaryLine};
use crate::record::{Position, Record};
use crate::source::{Chunk, Headers, Message};
use crate::units::{AccountId, EventTime, NanoUsd};

use super::clock::{self, Present};
use super::dead_letter::{DeadLetters, letters};
use super::door::{Door, FUTURE, Passed, lane_name, reach};
use super::recorder::Recorder;
use super::shards::{ShardDied, Shards, Totals};
use super::wallets::Wallets;

/// A gap in event time is walked second by second while anything is watched, up to two days; the
/// rest is one step.
const STEPS_MAX: i64 = 172_800;
/// And where nothing is watched up to here: by then every partition has been swept twice and has
/// nothing more to say.
const QUIET_STEPS: i64 = 130;
/// While a live input is further behind than this, control waits: what it sees is the past.
const FRESH_MS: i64 = 60_000;
/// A silent input moves event time by the wall clock, this much later.
const SILENCE_GRACE: Duration = Duration::from_secs(1);
/// Looks at a silent input that lie further apart than this are not one silence: the process was
/// stopped or blocked, and the records of that time are still to come.
const SILENCE_LOOK: Duration = Duration::from_secs(1);

/// What is assumed where messages do not say.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: String,
    /// The function; empty when there is none.
    pub function: String,
    /// Functions and log groups whose records do not count: what bursar itself runs on.
    pub exclude: Vec<Pattern>,
}

/// The parts, put together.
#[derive(Debug)]
pub struct Pipeline {
    decoder: Decoder,
    defaults: Defaults,
    intake: Intake,
    shards: Shards,
    accounts: Accounts,
    bills: AccountBook,
    billed: Vec<(AccountId, RateKey, Usage)>,
    footprint: Footprint,
    streamed: StreamUse,
    control: Control,
    hands: Hands,
    /// When what is in force was last looked after.
    tended: Option<EventTime>,
    recorder: Recorder,
    dead: DeadLetters,
    batch_records: usize,
    present: Present,
    /// Lanes by name, in an order that outlives the process, and where each of the source's is.
    lanes: Vec<String>,
    places: Vec<u32>,
    /// How far each has been taken in.
    reached: Vec<Option<u64>>,
    second: Option<i64>,
    anchor: Option<(EventTime, Duration)>,
    looked: Option<Duration>,
    stopping: bool,
    arrived: Option<EventTime>,
    month: Month,
    budget_spent: Vec<NanoUsd>,
    wallets: Wallets,
    passed: Passed,
}

/// The parts that a pipeline is made of.
#[derive(Debug)]
pub struct Parts {
    /// What is assumed where messages do not say.
    pub defaults: Defaults,
    /// The engine's door.
    pub intake: Intake,
    /// The engine.
    pub shards: Shards,
    /// Behind it, the accounts as a whole.
    pub accounts: Accounts,
    /// The accounts' bills.
    pub bills: AccountBook,
    /// What the telemetry itself costs.
    pub footprint: Footprint,
    /// Control.
    pub control: Control,
    /// Control's hands.
    pub hands: Hands,
    /// Where everything is told.
    pub recorder: Recorder,
    /// Where what cannot be read goes.
    pub dead: DeadLetters,
    /// Records per batch.
    pub batch_records: usize,
    /// What the present is.
    pub present: Present,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    pub fn new(parts: Parts) -> Self {
        let wallets = Wallets::new(parts.control.budgets());
        let budget_spent = vec![NanoUsd::ZERO; parts.control.budgets().len()];
        Self {
            decoder: Decoder::new(Limits::default()),
            defaults: parts.defaults,
            intake: parts.intake,
            shards: parts.shards,
            accounts: parts.accounts,
            bills: parts.bills,
            billed: Vec::new(),
            footprint: parts.footprint,
            streamed: StreamUse::default(),
            control: parts.control,
            hands: parts.hands,
            tended: None,
            recorder: parts.recorder,
            dead: parts.dead,
            batch_records: parts.batch_records.max(1),
            present: parts.present,
            lanes: Vec::new(),
            places: Vec::new(),
            reached: Vec::new(),
            second: None,
            anchor: None,
            looked: None,
            stopping: false,
            arrived: None,
            month: Month::of(EventTime::MIN),
            budget_spent,
            wallets,
            passed: Passed::default(),
        }
    }

    /// Takes in a chunk of messages and returns the last position of each lane in it.
    ///
    /// # Errors
    /// A shard has died.
    pub fn chunk(&mut self, chunk: &Chunk) -> Result<Vec<Position>, ShardDied> {
        let mut through: Vec<Position> = Vec::new();
        for problem in chunk.problems() {
            self.passed.rejected += 1;
            let reason = problem.reason.as_str();
            let Position { lane, offset } = self.own(problem.position);
            let lane = lane_name(&self.lanes, lane);
            self.dead.offer(reason, lane, offset, problem.detail, problem.sample);
            reach(&mut through, problem.position);
        }
        for message in chunk.messages() {
            self.arrived = message.arrived.map(clock::as_event_time);
            self.message(&Message { position: self.own(message.position), ..message })?;
            reach(&mut through, message.position);
        }
        self.note(&through);
        if self.is_live() {
            self.flush()?;
        }
        Ok(through)
    }

    /// Takes in one message of a simulation, whose records are values: `tell` hands them out. It is
    /// to be followed by [`Self::flush`], like a chunk's last one.
    ///
    /// # Errors
    /// A shard has died.
    pub fn values(
        &mut self,
        position: Position,
        tell: impl FnOnce(&mut dyn FnMut(&Record<'_>)),
    ) -> Result<(), ShardDied> {
        self.arrived = self.present.now();
        self.enter(position, Headers::default(), &[], |_, _, door| {
            tell(&mut |record| door.record(record));
        })
    }

    /// Takes what was sent in to its end.
    ///
    /// # Errors
    /// A shard has died.
    pub fn flush(&mut self) -> Result<(), ShardDied> {
        self.dispatch()?;
        self.settle()
    }

    /// Moves the clock of a simulation.
    pub fn set_virtual_now(&mut self, now: EventTime) {
        self.present = Present::Virtual(now);
    }

    fn is_live(&self) -> bool {
        self.present != Present::Recorded
    }

    fn message(&mut self, message: &Message<'_>) -> Result<(), ShardDied> {
        let Message { position, headers, payload, .. } = *message;
        self.passed.bytes += payload.len() as u64;
        let event = EventHeaders::of(headers.iter());
        self.enter(position, headers, payload, |decoder, context, door| match event {
            None => decoder.decode(payload, context, door),
            Some(event) => decoder.decode_event(payload, &event, context, door),
        })
    }

    /// Lets one message in, as `read` tells it.
    fn enter(
        &mut self,
        position: Position,
        headers: Headers<'_>,
        payload: &[u8],
        read: impl FnOnce(&mut Decoder, &Context<'_>, &mut Door<'_>),
    ) -> Result<(), ShardDied> {
        self.passed.messages += 1;
        let context = Context {
            account: self.defaults.account,
            region: &self.defaults.region,
            function: Some(self.defaults.function.as_str()).filter(|name| !name.is_empty()),
        };
        let mut door = Door {
            intake: &mut self.intake,
            dead: &mut self.dead,
            passed: &mut self.passed,
            position,
            wall: self.arrived,
            exclude: &self.defaults.exclude,
            excluded: false,
            wanted: letters::wanted(headers),
            parts: 0,
        };
        read(&mut self.decoder, &context, &mut door);
        let lane = lane_name(&self.lanes, position.lane);
        self.dead.message(lane, position.offset, headers, payload);
        self.taken()
    }

    /// One message has been taken in whole.
    fn taken(&mut self) -> Result<(), ShardDied> {
        self.tell_refused();
        if let Some(now) = self.intake.message() {
            self.advance(now)?;
        }
        self.intake.release();
        if self.intake.batched() >= self.batch_records || self.intake.is_full() {
            self.dispatch()?;
        }
        Ok(())
    }

    /// Nothing more comes for now: the first few messages need not wait for others.
    ///
    /// # Errors
    /// A shard has died.
    pub fn silent(&mut self) -> Result<(), ShardDied> {
        if self.is_live()
            && self.second.is_none()
            && let Some(now) = self.intake.begin()
        {
            self.advance(now)?;
            self.intake.release();
            self.dispatch()?;
            self.settle()?;
        }
        Ok(())
    }

    /// A live input is well and has nothing to say; `elapsed` is the monotonic clock. Event time
    /// goes on at its pace. Recorded input has no pace of its own: nothing happens.
    ///
    /// # Errors
    /// A shard has died.
    pub fn idle(&mut self, elapsed: Duration) -> Result<(), ShardDied> {
        let Some(now) = self.intake.now().filter(|_| self.is_live()) else {
            return Ok(());
        };
        let broken = self.looked.is_none_or(|last| elapsed.saturating_sub(last) > SILENCE_LOOK);
        self.looked = Some(elapsed);
        if broken {
            self.anchor = None;
        }
        let (since, at) = *self.anchor.get_or_insert((now, elapsed));
        let silent = elapsed.saturating_sub(at).saturating_sub(SILENCE_GRACE);
        let target = since.plus_ms(i64::try_from(silent.as_millis()).unwrap_or(i64::MAX));
        if target > now
            && let Some(now) = self.intake.idle(target)
        {
            self.advance(now)?;
            self.intake.release();
            self.dispatch()?;
            self.settle()?;
        }
        Ok(())
    }

    /// The silence is over, or nobody knows whether it is one.
    pub fn not_idle(&mut self) {
        self.anchor = None;
        self.looked = None;
    }

    /// Nothing can be read: event time stands still, and what is in force lapses all the same.
    pub fn unwell(&mut self) {
        self.not_idle();
        let Some(present) = self.present.now().filter(|_| !self.stopping) else { return };
        self.control.expire(present);
        self.act(present);
    }

    /// The input has ended: takes in what still waits, closes everything and sums up.
    ///
    /// # Errors
    /// A shard has died.
    pub fn finish(&mut self) -> Result<SummaryLine, ShardDied> {
        self.take_rest()?;
        self.shards.finish(self.intake.sequence())?;
        self.settle()?;
        if let Some(now) = self.intake.now() {
            self.bill(now);
            self.charge_wallets(now);
            self.wallets.finish(now, self.control.budgets(), &mut self.recorder);
        }
        self.charge_footprint(self.intake.now().or(self.present.now()).unwrap_or(EventTime::MIN));
        let summary = self.summary();
        self.recorder.summary(&summary);
        Ok(summary)
    }

    /// The input has ended: takes in what still waits and gives back what was learned, instead of
    /// a summary.
    ///
    /// # Errors
    /// A shard has died.
    pub fn learned(&mut self) -> Result<Vec<Learned>, ShardDied> {
        self.take_rest()?;
        self.shards.learned()
    }

    /// The times of the first and the last event, if there was any.
    pub fn span(&self) -> Option<(EventTime, EventTime)> {
        self.intake.first().zip(self.intake.now())
    }

    fn take_rest(&mut self) -> Result<(), ShardDied> {
        if let Some(now) = self.intake.begin() {
            self.advance(now)?;
            self.intake.release();
            self.intake.admit_rest();
        }
        self.tell_refused();
        self.dispatch()?;
        self.settle()
    }

    /// What passed so far.
    pub fn passed(&self) -> Passed {
        self.passed
    }

    /// How much of a stream was used, since the start.
    pub fn streamed(&mut self, used: StreamUse) {
        self.streamed = used;
    }

    /// What it has cost to be told, up to the last full minute.
    pub fn footprint(&self) -> FootprintBill {
        self.footprint.bill()
    }

    /// What the engine has counted.
    pub fn totals(&self) -> &Totals {
        self.shards.totals()
    }

    /// Where everything is told.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Dead letters, for their counts.
    pub fn dead(&self) -> &DeadLetters {
        &self.dead
    }

    /// How far event time has come.
    pub fn now(&self) -> Option<EventTime> {
        self.intake.now()
    }

    /// What control does and holds.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Records that were not passed on at the door.
    pub fn unrouted(&self) -> u64 {
        self.intake.counters().unrouted
    }

    /// Each budget, its spend of the month, and where that is going.
    pub fn budgets(&self) -> impl Iterator<Item = (&Budget, NanoUsd, Option<&BudgetOutlook>)> {
        let spent = self.budget_spent.iter().copied();
        let outlooks = self.wallets.outlooks().iter().map(Option::as_ref);
        let budgets = self.control.budgets().iter().zip(spent).zip(outlooks);
        budgets.map(|((budget, spent), outlook)| (budget, spent, outlook))
    }

    fn advance(&mut self, now: EventTime) -> Result<(), ShardDied> {
        let to = now.second();
        let from = self.second.unwrap_or(to - 1);
        let mut second = from;
        while second < to {
            let watched = self.shards.totals().watched > 0 || !self.accounts.is_idle();
            let quiet = !watched && self.control.is_idle();
            let steps = if quiet { QUIET_STEPS } else { STEPS_MAX };
            second = if second - from >= steps { to } else { second + 1 };
            self.tick(EventTime::from_second(second))?;
            self.second = Some(second);
        }
        Ok(())
    }

    fn tick(&mut self, now: EventTime) -> Result<(), ShardDied> {
        self.dispatch()?;
        self.settle()?;
        let directives = self.control.directives();
        self.shards.tick(now, self.intake.sequence(), directives)?;
        self.settle()?;
        for alarm in self.accounts.tick(now, &self.shards.totals().members) {
            self.recorder.account_alarm(&alarm, self.present.now());
        }
        let month = Month::of(now);
        if month != self.month {
            self.month = month;
            self.budget_spent.fill(NanoUsd::ZERO);
        }
        if now.second().rem_euclid(60) == 0 {
            self.bill(now);
            self.charge_wallets(now);
            self.charge_footprint(now);
        }
        for (index, spent) in self.budget_spent.iter().enumerate() {
            self.control.spent(index, *spent);
        }
        if !self.stopping {
            // What is seen of the past can no longer be acted on, but what is in force must still
            // lapse in time.
            match self.present.now().filter(|present| self.is_catching_up(now, *present)) {
                Some(present) => self.control.expire(present),
                None => {
                    self.control.hold_off(self.hands.stopped());
                    self.control.tick(now);
                }
            }
            self.act(now);
        }
        self.recorder.tick(now, &self.control);
        Ok(())
    }

    /// Whether what is seen is the past, about which nothing can be done any more.
    fn is_catching_up(&self, now: EventTime, present: EventTime) -> bool {
        self.control.mode().acts() && present.since_ms(now) > FRESH_MS
    }

    /// Sends the batches to the shards, after taking what they have to say of the last.
    fn dispatch(&mut self) -> Result<(), ShardDied> {
        if self.intake.batched() == 0 {
            return Ok(());
        }
        self.settle()?;
        self.shards.send(self.intake.batches())
    }

    /// Takes what the shards have to say.
    fn settle(&mut self) -> Result<(), ShardDied> {
        for (_, _, output) in self.shards.collect()? {
            match output {
                Output::Alarm(alarm) => {
                    self.control.alarm(&alarm);
                    let lane = lane_name(&self.lanes, alarm.position.lane);
                    let wall = self.arrived.zip(self.present.now());
                    self.recorder.alarm(&alarm, lane, wall);
                }
                Output::Pulse(pulse) => self.control.pulse(pulse),
                Output::Minute(row) => self.minute(&row),
            }
        }
        Ok(())
    }

    /// Charges what was used since the last full minute to the accounts' bills.
    fn bill(&mut self, now: EventTime) {
        let usage = self.shards.totals().usage.clone();
        for (account, key, rates, used) in &usage {
            let order = |row: &(AccountId, RateKey, Usage)| (row.0, &row.1).cmp(&(*account, key));
            let last = self.billed.binary_search_by(order);
            let new = used.since(&last.map_or(Usage::ZERO, |place| self.billed[place].2));
            let place = (key.region(), key.architecture());
            self.bills.charge(*account, place, rates, &new, now);
        }
        self.billed =
            usage.into_iter().map(|(account, key, _, used)| (account, key, used)).collect();
        for (budget, spent) in self.control.budgets().iter().zip(&mut self.budget_spent) {
            if let BudgetScope::Account(account) = budget.scope {
                *spent = self.bills.spent(account, now);
            }
        }
    }

    /// Charges what it took to be told since the last time.
    fn charge_footprint(&mut self, now: EventTime) {
        self.footprint.charge(self.passed.log_bytes, self.streamed, now);
    }

    fn charge_wallets(&mut self, now: EventTime) {
        let (budgets, spent) = (self.control.budgets(), &self.budget_spent);
        self.wallets.charge(now, budgets, spent, &mut self.recorder);
    }

    fn minute(&mut self, row: &MinuteRow) {
        self.accounts.row(row);
        let at = EventTime::saturating_from_ms(row.minute.saturating_mul(60_000));
        if Month::of(at) == self.month {
            let budgets = self.control.budgets().iter().zip(&mut self.budget_spent);
            for (budget, spent) in budgets {
                // Accounts have a bill of their own, with price steps over all their functions.
                let own = matches!(budget.scope, BudgetScope::Function(_));
                if own && budget.covers(&row.function.as_ref()) {
                    *spent += row.nano_usd;
                }
            }
        }
        self.recorder.minute(row);
    }

    /// Notes the records whose time was too far ahead to wait for.
    fn tell_refused(&mut self) {
        for (position, at) in self.intake.take_refused() {
            let detail = format!("event time {at} is too far ahead of the stream");
            let lane = lane_name(&self.lanes, position.lane);
            self.dead.offer(FUTURE, lane, position.offset, &detail, &[]);
        }
    }

    fn summary(&self) -> SummaryLine {
        let totals = self.shards.totals();
        let door = self.intake.counters();
        let days = |seconds: u64| seconds as f64 / 86_400.0;
        SummaryLine {
            kind: "summary",
            records: RecordCounts {
                counted: totals.counters.counted,
                late: totals.counters.late,
                duplicate: totals.counters.duplicate,
                rejected: self.passed.rejected + door.future,
                unrouted: door.unrouted,
                excluded: self.passed.ignored_as(Ignored::Excluded),
            },
            functions: totals.functions,
            function_days: days(totals.observed.function_seconds),
            warmup_function_days: days(totals.observed.warmup_seconds),
            first_event: self.intake.first(),
            last_event: self.intake.now(),
            spend_nano_usd: totals.spend,
            telemetry_nano_usd: self.footprint.bill(),
            pages: self.recorder.pages,
            notices: self.recorder.notices,
            actions: self.recorder.actions,
        }
    }
}
