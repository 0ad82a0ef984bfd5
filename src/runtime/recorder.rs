//! Where decisions go: the decisions file, the ledger, the narration, the view and the metrics.
//! A file that cannot be written is said once and counted; it never stops the stream.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use crate::act::webhook::Messenger;
use crate::control::action::{Action, ActuatorKind};
use crate::control::ladder::{Abstention, Control, EffectTold};
use crate::control::restriction::Effect;
use crate::engine::alarm::{AccountAlarm, Alarm, AlarmState, Channel, MinuteRow, Severity};
use crate::keep::{Bytes, Keep, Unfit, keep_count};
use crate::observe::api::ApiState;
use crate::observe::budgets::BudgetLine;
use crate::observe::decisions::{
    AbstentionLine, ActionLine, AlarmLine, EffectLine, OrderLine, RunLine, SummaryLine,
};
use crate::observe::ledger::Ledger;
use crate::observe::metrics::DropCause;
use crate::observe::narration::Narration;
use crate::observe::orders::{Signed, Taken};
use crate::observe::story::Story;
use crate::observe::view::FunctionView;
use crate::record::FunctionKey;
use crate::units::{EventTime, NanoUsd};

/// Anything that lines are written to.
pub type Sink = Box<dyn Write + Send>;

/// A function leaves the view when it has not been called for this long.
const SHOWN_FOR_MS: i64 = 10 * 60_000;
/// Functions followed for the view; ten times what it shows of them at most in one request.
const FOLLOWED_MAX: usize = 20_000;
/// The view is refreshed once in this many seconds of event time.
const PUBLISH_SECONDS: i64 = 2;

/// Collects and passes on.
#[derive(Default)]
pub struct Recorder {
    decisions: Option<Sink>,
    ledger: Option<Ledger<Sink>>,
    narration: Option<Narration<Sink>>,
    api: Option<Arc<ApiState>>,
    messenger: Option<Messenger>,
    /// All lines, for the one JSON document at the end.
    kept: Option<Vec<serde_json::Value>>,
    story: Option<Box<Story>>,
    functions: BTreeMap<FunctionKey, FunctionView>,
    open: BTreeMap<String, Severity>,
    shown_restrictions: Vec<String>,
    /// Alarms that were or have become pages.
    pub pages: u64,
    /// Alarms that have been no more than notices.
    pub notices: u64,
    /// Actions.
    pub actions: u64,
    failed: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder that tells nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes decisions to `sink`.
    #[must_use]
    pub fn with_decisions(mut self, sink: Option<Sink>) -> Self {
        self.decisions = sink;
        self
    }

    /// Writes the ledger to `sink`.
    #[must_use]
    pub fn with_ledger(mut self, sink: Option<Sink>) -> Self {
        self.ledger = sink.map(Ledger::new);
        self
    }

    /// Tells it in plain words.
    #[must_use]
    pub fn with_narration(mut self, sink: Option<Sink>) -> Self {
        self.narration = sink.map(Narration::new);
        self
    }

    /// Keeps the view and the metrics up to date.
    #[must_use]
    pub fn with_api(mut self, api: Option<Arc<ApiState>>) -> Self {
        self.api = api;
        self
    }

    /// Posts what is decided.
    #[must_use]
    pub fn with_messenger(mut self, messenger: Option<Messenger>) -> Self {
        self.messenger = messenger;
        self
    }

    /// Keeps every line, so that [`Self::kept`] can give them back.
    #[must_use]
    pub fn keeping(mut self, keep: bool) -> Self {
        self.kept = keep.then(Vec::new);
        self
    }

    /// The lines so far.
    pub fn kept(&mut self) -> Vec<serde_json::Value> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Keeps what a report tells.
    #[must_use]
    pub fn with_story(mut self, keep: bool) -> Self {
        self.story = keep.then(Box::default);
        self
    }

    /// What a report tells, if it was kept.
    pub fn take_story(&mut self) -> Option<Box<Story>> {
        self.story.take()
    }

    /// What is running.
    pub fn run(&mut self, run: &RunLine) {
        self.line(run);
        if let Some(api) = &self.api {
            api.view.set_run(serde_json::json!(run));
            let mode = serde_json::json!(run.mode);
            api.metrics.set_config(&run.config_sha256, mode.as_str().unwrap_or_default());
        }
    }

    /// A sentence for people.
    pub fn say(&mut self, text: &str) {
        self.tell(|narration| narration.say(text));
    }

    /// An alarm has opened, changed or closed. `wall` is when its record arrived and when it was
    /// decided, where the input is live.
    pub fn alarm(&mut self, alarm: &Alarm, lane: &str, wall: Option<(EventTime, EventTime)>) {
        let line = AlarmLine::new(alarm, lane, wall);
        let channel = alarm.channels.keys().next().map_or("", |channel| channel.as_str());
        self.alarm_line(&line, channel);
        self.tell(|narration| narration.alarm(alarm));
        if let Some(story) = &mut self.story {
            story.alarm(alarm);
        }
        if let Some(api) = &self.api {
            if let Some((arrived, decided)) = wall.filter(|_| alarm.state == AlarmState::Opened) {
                let seconds = decided.since_ms(arrived).max(0) as f64 / 1e3;
                api.metrics.decision_latency.observe(seconds);
            }
            self.at_risk(alarm);
        }
    }

    /// The same for an alarm over an account; `decided` is the wall clock, where the input is live.
    pub fn account_alarm(&mut self, alarm: &AccountAlarm, decided: Option<EventTime>) {
        let line = AlarmLine::of_account(alarm, decided);
        self.alarm_line(&line, Channel::Aggregate.as_str());
        self.tell(|narration| narration.account_alarm(alarm));
        if let Some(story) = &mut self.story {
            story.account_alarm(alarm);
        }
    }

    /// Writes, counts and shows an alarm.
    fn alarm_line(&mut self, line: &AlarmLine<'_>, channel: &str) {
        self.line(line);
        match line.state {
            AlarmState::Opened => {
                if self.open.insert(line.id.to_owned(), line.severity) == Some(Severity::Notice) {
                    self.notices -= 1;
                }
                match line.severity {
                    Severity::Page => self.pages += 1,
                    Severity::Notice => self.notices += 1,
                }
            }
            AlarmState::Updated => {}
            AlarmState::Closed => {
                self.open.remove(line.id);
            }
        }
        if line.state != AlarmState::Updated {
            self.post(&line.name(), line);
        }
        let Some(api) = &self.api else {
            return;
        };
        if line.state == AlarmState::Opened {
            api.metrics.alarms_opened.add(&[channel, line.severity.as_str()], 1);
        }
        match line.state {
            AlarmState::Closed => api.view.remove_alarm(line.id),
            _ => api.view.put_alarm(line.id, serde_json::json!(line)),
        }
    }

    /// Posts a line to the webhooks; what one of them has no room for is counted.
    fn post(&self, id: &str, line: &impl Serialize) {
        let Some(messenger) = &self.messenger else {
            return;
        };
        let dropped = messenger.tell(id, &serde_json::json!(line));
        if let Some(api) = self.api.as_ref().filter(|_| dropped > 0) {
            api.metrics.add_drops(DropCause::WebhookQueue, dropped as u64);
        }
    }

    /// Whether an action of this name was shown lately.
    pub fn knows_action(&self, id: &str) -> bool {
        let shown = self.api.as_ref().map(|api| api.view.actions()).unwrap_or_default();
        shown.iter().any(|action| action.get("id").is_some_and(|known| known == id))
    }

    /// A function with an alarm is shown whether its minute has come or not.
    fn at_risk(&mut self, alarm: &Alarm) {
        let closed = alarm.state == AlarmState::Closed;
        let risk = if closed { NanoUsd::ZERO } else { alarm.excess_per_hour };
        let reading = alarm.channels.values().next();
        let view = self.functions.entry(alarm.function.clone());
        let view = view.or_insert_with(|| FunctionView {
            function: alarm.function.clone(),
            last_event: alarm.decided_at,
            requests_per_minute: 0.0,
            burn_nano_usd_per_hour: NanoUsd::ZERO,
            baseline_nano_usd_per_hour: NanoUsd::ZERO,
            money_at_risk_nano_usd_per_hour: NanoUsd::ZERO,
            evidence_log10: 0.0,
            billed_ms_mean: 0.0,
            memory_mb: 0,
            restriction: None,
        });
        view.money_at_risk_nano_usd_per_hour = risk;
        view.burn_nano_usd_per_hour = view.baseline_nano_usd_per_hour.plus(risk);
        view.evidence_log10 = reading.map_or(0.0, |reading| reading.evidence_log10);
        view.last_event = alarm.decided_at;
    }

    /// Something was done, or would have been.
    pub fn action(&mut self, action: &Action) {
        self.actions += 1;
        let line = ActionLine::new(action);
        self.line(&line);
        self.tell(|narration| narration.action(action));
        if let Some(story) = &mut self.story {
            story.action(action);
        }
        if let Some(api) = &self.api {
            // A step on the way to another limit is no refusal that anybody should look into.
            if action.outcome.instead.is_none() {
                let labels = [action.intent.verb.as_str(), action.outcome.kind.as_str()];
                api.metrics.actions.add(&labels, 1);
            }
            api.view.push_action(serde_json::json!(line));
        }
        self.post(&action.intent.id, &line);
    }

    /// Somebody else has changed what was restricted.
    pub fn drift(&mut self) {
        if let Some(api) = &self.api {
            api.metrics.drift.inc();
        }
    }

    /// Something was not done.
    pub fn abstention(&mut self, abstention: &Abstention, now: EventTime) {
        self.line(&AbstentionLine::new(abstention, now));
        self.tell(|narration| narration.abstention(abstention, now));
    }

    /// A cap shows, or does not.
    pub fn effect(&mut self, effect: &EffectTold, now: EventTime) {
        self.line(&EffectLine::new(effect, now));
        self.tell(|narration| narration.effect(effect, now));
    }

    /// A person has ordered something.
    pub fn order(&mut self, signed: &Signed, taken: &Taken, now: EventTime) {
        let Signed { order, who, from, .. } = signed;
        let told = taken.as_ref().err().map_or("taken", String::as_str);
        tracing::info!(order = order.as_str(), target = order.target(), who, from, "order: {told}");
        self.line(&OrderLine::new(signed, taken, now));
    }

    /// Something is said of a budget.
    pub fn budget(&mut self, line: &BudgetLine, now: EventTime) {
        self.line(line);
        self.tell(|narration| narration.budget(line, now));
    }

    /// Whether anybody sees what is shown between decisions.
    pub fn is_watched(&self) -> bool {
        self.api.is_some()
    }

    /// How a budget stands, for the view.
    pub fn show_budget(&self, line: &BudgetLine) {
        if let Some(api) = &self.api {
            api.view.put_budget(line.name(), serde_json::json!(line));
        }
    }

    /// A function's minute is over.
    pub fn minute(&mut self, row: &MinuteRow) {
        if let Some(ledger) = &mut self.ledger {
            ledger.row(row);
        }
        if let Some(story) = &mut self.story {
            story.minute(row);
        }
        if self.api.is_some() {
            self.follow(row);
        }
    }

    fn follow(&mut self, row: &MinuteRow) {
        let known = self.functions.contains_key(&row.function);
        if !known && self.functions.len() >= FOLLOWED_MAX {
            return;
        }
        let requests = row.usage.requests as f64;
        let hourly = |amount: NanoUsd| NanoUsd(amount.0.saturating_mul(60));
        let per_call = if requests > 0.0 { row.nano_usd.usd() / requests } else { 0.0 };
        let baseline = NanoUsd::from_usd(row.expected * 3_600.0 * per_call);
        let old = self.functions.get(&row.function);
        let view = FunctionView {
            function: row.function.clone(),
            last_event: EventTime::saturating_from_ms((row.minute + 1).saturating_mul(60_000)),
            requests_per_minute: requests,
            burn_nano_usd_per_hour: hourly(row.nano_usd),
            baseline_nano_usd_per_hour: baseline,
            money_at_risk_nano_usd_per_hour: old
                .map_or(NanoUsd::ZERO, |old| old.money_at_risk_nano_usd_per_hour),
            evidence_log10: row.evidence_log10,
            billed_ms_mean: row.billed_ms,
            memory_mb: row.memory_mb,
            restriction: old.and_then(|old| old.restriction.clone()),
        };
        self.functions.insert(row.function.clone(), view);
    }

    /// Writes down what it has counted and what it has not written yet.
    pub fn keep(&self, out: &mut Vec<u8>) {
        self.open.keep(out);
        (self.pages, self.notices, self.actions).keep(out);
        keep_count(self.ledger.as_ref().map_or(0, |ledger| ledger.held().len()), out);
        self.ledger.iter().flat_map(Ledger::held).for_each(|row| row.keep(out));
    }

    /// Goes on from there.
    ///
    /// # Errors
    /// That is something else.
    pub fn regain(&mut self, from: &mut Bytes<'_>) -> Result<(), Unfit> {
        self.open = Keep::regain(from)?;
        (self.pages, self.notices, self.actions) = Keep::regain(from)?;
        for row in Vec::<MinuteRow>::regain(from)? {
            if let Some(ledger) = &mut self.ledger {
                ledger.row(&row);
            }
        }
        Ok(())
    }

    /// Event time has come to `now`.
    pub fn tick(&mut self, now: EventTime, control: &Control) {
        let written = self.ledger.as_mut().map_or(Ok(()), |ledger| ledger.write_complete(now));
        self.check(written);
        if self.api.is_some() && now.second().rem_euclid(PUBLISH_SECONDS) == 0 {
            self.publish(now, control);
        }
    }

    fn publish(&mut self, now: EventTime, control: &Control) {
        let Some(api) = self.api.clone() else {
            return;
        };
        self.functions.retain(|_, view| {
            now.since_ms(view.last_event) < SHOWN_FOR_MS || view.restriction.is_some()
        });
        let mut shown = Vec::new();
        for view in self.functions.values_mut() {
            view.restriction = None;
        }
        for restriction in control.restrictions() {
            api.view.put_restriction(&restriction.id, serde_json::json!(restriction));
            shown.push(restriction.id.clone());
            if let Some(view) = self.functions.get_mut(&restriction.function) {
                view.restriction = Some(restriction.id.clone());
            }
        }
        for gone in self.shown_restrictions.iter().filter(|id| !shown.contains(id)) {
            api.view.remove_restriction(gone);
        }
        self.shown_restrictions = shown;
        for actuator in ActuatorKind::ALL {
            let held = control.restrictions().filter(|held| held.actuator == actuator);
            let held: Vec<_> = held.filter(|held| held.is_in_force()).collect();
            let missing = held.iter().filter(|held| held.effect == Effect::Missing).count();
            let missing = i64::try_from(missing).unwrap_or(i64::MAX);
            api.metrics.without_effect.set(&[actuator.as_str()], missing);
            let ages = held.iter().map(|held| now.since_ms(held.since));
            let (count, oldest) =
                ages.fold((0, 0), |(count, oldest), age| (count + 1, age.max(oldest)));
            api.metrics.restrictions.set(&[actuator.as_str()], count);
            api.metrics.restriction_oldest.set(&[actuator.as_str()], oldest / 1_000);
        }
        let burn = self.functions.values().map(|view| view.burn_nano_usd_per_hour).sum();
        api.metrics.set_burn(burn);
        api.view.publish_functions(self.functions.values().cloned());
        api.metrics.publish_functions(self.functions.values());
        // Behind the functions' series: who reads of an alarm asks where.
        for severity in [Severity::Notice, Severity::Page] {
            let count = self.open.values().filter(|&&open| open == severity).count();
            api.metrics.alarms_open.set(&[severity.as_str()], count as i64);
        }
    }

    /// The end.
    pub fn summary(&mut self, summary: &SummaryLine) {
        self.line(summary);
        self.tell(|narration| narration.summary(summary));
        let written = self.ledger.as_mut().map_or(Ok(()), Ledger::finish);
        self.check(written);
        let flushed = self.decisions.as_mut().map_or(Ok(()), |decisions| decisions.flush());
        self.check(flushed);
    }

    /// What was said so far reaches whoever reads it, whatever becomes of the process.
    pub fn flush(&mut self) {
        let written = self.ledger.as_mut().map_or(Ok(()), Ledger::flush);
        self.check(written);
        let flushed = self.decisions.as_mut().map_or(Ok(()), |decisions| decisions.flush());
        self.check(flushed);
    }

    /// The end of this process, not of the input: minutes stay open.
    pub fn pause(&mut self, summary: &SummaryLine) {
        self.line(summary);
        self.tell(|narration| narration.summary(summary));
        self.flush();
    }

    /// Whether something could not be written.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    fn line(&mut self, line: &impl Serialize) {
        if let Some(kept) = &mut self.kept {
            kept.push(serde_json::json!(line));
        }
        if let Some(decisions) = &mut self.decisions {
            let written = serde_json::to_writer(&mut *decisions, line)
                .map_err(io::Error::from)
                .and_then(|()| decisions.write_all(b"\n"))
                // A decision is worth a write of its own: whoever follows the file sees it at once.
                .and_then(|()| decisions.flush());
            self.check(written);
        }
    }

    /// Tells it in plain words. A listener who has gone (`| head`) is not missed.
    fn tell(&mut self, what: impl FnOnce(&mut Narration<Sink>) -> io::Result<()>) {
        let Some(narration) = &mut self.narration else {
            return;
        };
        match what(narration) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.narration = None,
            told => self.check(told),
        }
    }

    fn check(&mut self, written: io::Result<()>) {
        let Err(error) = written else {
            return;
        };
        match &self.api {
            Some(api) => api.metrics.add_drops(DropCause::DecisionWrite, 1),
            // Whoever reads a replay and goes (`bursar replay ... | head`) has had enough.
            None if error.kind() == io::ErrorKind::BrokenPipe => return,
            None => {}
        }
        if !self.failed {
            self.failed = true;
            tracing::error!(%error, "decisions cannot be written; the stream goes on");
        }
    }
}
