//! The same decisions in plain words, for a person at a terminal.

use std::io::{self, Write};

use crate::control::action::{Action, OutcomeKind, Setting, Value, Verb};
use crate::control::gate::GateKind;
use crate::control::ladder::{Abstention, EffectTold};
use crate::control::restriction::Effect;
use crate::control::settings::Mode;
use crate::engine::alarm::{AccountAlarm, Alarm, AlarmState, Channel, Class};
use crate::engine::detect::rate::ChannelReading;
use crate::record::FunctionKey;
use crate::units::EventTime;

use super::budgets::BudgetLine;
use super::decisions::SummaryLine;
use super::unseen::seen;

/// Sources that are named before the rest is only counted.
const SOURCES_NAMED: usize = 3;
/// Functions of an account's alarm that are named.
const FUNCTIONS_NAMED: usize = 3;

/// Tells what happens, one paragraph each.
#[derive(Debug)]
pub struct Narration<W> {
    writer: W,
}

impl<W: Write> Narration<W> {
    /// A narration to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer }
    }

    /// A sentence of its own.
    ///
    /// # Errors
    /// The writer's.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.writer, "{text}")?;
        self.writer.flush()
    }

    /// An alarm has opened, changed or closed; opened once more when it has become a page.
    ///
    /// # Errors
    /// The writer's.
    pub fn alarm(&mut self, alarm: &Alarm) -> io::Result<()> {
        let clock = clock(alarm.decided_at);
        let name = name(&alarm.function);
        match alarm.state {
            AlarmState::Opened => {
                let severity = alarm.severity.as_str().to_uppercase();
                writeln!(self.writer, "{clock}  {severity}   {name}: {}", what(alarm))?;
                let delay = alarm.evidence_at.since_ms(alarm.onset);
                for (channel, reading) in &alarm.channels {
                    self.evidence(delay, *channel, reading)?;
                }
                self.money(alarm)?;
            }
            AlarmState::Updated => {
                let kind = match alarm.class {
                    Class::Attack => "an attack by few sources",
                    Class::Crowd => "a crowd of ordinary callers",
                    Class::Runaway => "a runaway of the function itself",
                    Class::Unknown => "by nobody in particular",
                };
                let excess = alarm.excess.nano_usd;
                writeln!(self.writer, "{clock}  UPDATE {name}: {kind}; {excess} lost so far")?;
                self.sources(alarm)?;
                self.money(alarm)?;
            }
            AlarmState::Closed => {
                let lasted = alarm.decided_at.since_ms(alarm.onset) as f64 / 1e3;
                let excess = alarm.excess.nano_usd;
                writeln!(
                    self.writer,
                    "{clock}  OVER   {name}: demand is normal again {lasted:.0} s after the onset; \
                     it cost {excess} more than usual"
                )?;
            }
        }
        self.writer.flush()
    }

    /// An alarm over an account; opened once more when it has become a page.
    ///
    /// # Errors
    /// The writer's.
    pub fn account_alarm(&mut self, alarm: &AccountAlarm) -> io::Result<()> {
        let clock = clock(alarm.decided_at);
        let AccountAlarm { account, reading, excess, functions, .. } = alarm;
        let lost = excess.nano_usd;
        match alarm.state {
            AlarmState::Closed => {
                let lasted = alarm.decided_at.since_ms(alarm.onset) as f64 / 1e3;
                writeln!(
                    self.writer,
                    "{clock}  OVER   account {account}: its functions are no busier than has \
                     become usual {lasted:.0} s after the onset; they cost {lost} more"
                )?;
                return self.writer.flush();
            }
            AlarmState::Updated => {
                writeln!(self.writer, "{clock}  UPDATE account {account}: {lost} lost so far")?;
            }
            AlarmState::Opened => {
                let severity = alarm.severity.as_str().to_uppercase();
                writeln!(
                    self.writer,
                    "{clock}  {severity}   account {account}: {} of {} functions are called too \
                     often at once: {:.1} times a second, {:.1} are expected",
                    functions.lifted, functions.of, reading.observed, reading.expected
                )?;
                let delay = alarm.evidence_at.since_ms(alarm.onset);
                self.evidence(delay, Channel::Aggregate, reading)?;
            }
        }
        let named = functions.largest.iter().take(FUNCTIONS_NAMED);
        let names: Vec<String> = named.map(|function| name(&function.function)).collect();
        let per_hour = alarm.excess_per_hour;
        writeln!(self.writer, "              money: {per_hour} an hour above normal")?;
        if !names.is_empty() {
            writeln!(self.writer, "              most of it: {}", names.join(", "))?;
        }
        self.writer.flush()
    }

    fn evidence(
        &mut self,
        delay_ms: i64,
        channel: Channel,
        reading: &ChannelReading,
    ) -> io::Result<()> {
        writeln!(
            self.writer,
            "              found {:.1} s after the onset by {}: evidence 10^{:.1}, an alarm \
             from 10^{:.1}",
            delay_ms as f64 / 1e3,
            channel.as_str(),
            reading.evidence_log10,
            reading.threshold_log10
        )
    }

    fn money(&mut self, alarm: &Alarm) -> io::Result<()> {
        writeln!(
            self.writer,
            "              money: {} an hour above normal; {} in the next hour ({} to {}), at \
             most {} whatever comes",
            alarm.excess_per_hour,
            alarm.projected.hour.p50,
            alarm.projected.hour.p10,
            alarm.projected.hour.p90,
            alarm.loss_bound
        )
    }

    fn sources(&mut self, alarm: &Alarm) -> io::Result<()> {
        let attribution = &alarm.attribution;
        let named: Vec<_> = attribution.networks().collect();
        if named.is_empty() {
            return match attribution.distinct {
                0 => Ok(()),
                distinct => writeln!(
                    self.writer,
                    "              sources: diffuse, about {distinct} addresses"
                ),
            };
        }
        let share: f64 = named.iter().map(|source| source.share).sum::<f64>().min(1.0);
        let first: Vec<&str> = named.iter().take(SOURCES_NAMED).map(|s| &*s.source).collect();
        let more = named.len().saturating_sub(SOURCES_NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        writeln!(
            self.writer,
            "              sources: {} of about {} addresses carry {:.0} % of the excess: {}{rest}",
            named.len(),
            attribution.distinct,
            share * 100.0,
            first.join(", ")
        )
    }

    /// What became of something that control wanted.
    ///
    /// # Errors
    /// The writer's.
    pub fn action(&mut self, action: &Action) -> io::Result<()> {
        let Action { intent, outcome, mode } = action;
        let would = if *mode == Mode::Observe { "would " } else { "" };
        let verb = match intent.verb {
            Verb::Restrict => "restrict",
            Verb::Tighten => "tighten",
            Verb::Relax => "relax",
            Verb::Restore => "restore",
            Verb::Expire => "let lapse",
        };
        writeln!(
            self.writer,
            "{}  ACTION {}: {would}{verb} {} {} -> {} ({})",
            clock(intent.decided_at),
            name(&intent.function),
            intent.actuator.as_str(),
            shown(&outcome.from),
            shown(&intent.to),
            outcome.kind.as_str()
        )?;
        writeln!(self.writer, "              why: {}", intent.reason)?;
        if matches!(intent.verb, Verb::Restrict | Verb::Tighten) {
            writeln!(
                self.writer,
                "              cost: an expected {:.1} % of legitimate requests are refused",
                intent.legit_refused_share * 100.0
            )?;
        }
        if matches!(outcome.kind, OutcomeKind::Refused | OutcomeKind::Failed) {
            writeln!(self.writer, "              the platform says: {}", outcome.detail)?;
        }
        self.writer.flush()
    }

    /// Why nothing was done about an alarm.
    ///
    /// # Errors
    /// The writer's.
    pub fn abstention(&mut self, abstention: &Abstention, now: EventTime) -> io::Result<()> {
        // That a notice is one has been said.
        if abstention.gate == GateKind::Severity {
            return Ok(());
        }
        writeln!(
            self.writer,
            "{}  NO ACTION {}: {}",
            clock(now),
            name(&abstention.function),
            abstention.reason
        )
    }

    /// A cap shows, or does not.
    ///
    /// # Errors
    /// The writer's.
    pub fn effect(&mut self, told: &EffectTold, now: EventTime) -> io::Result<()> {
        let words = match told.effect {
            Effect::Missing => "the cap does not show",
            Effect::Seen | Effect::Awaited => "the cap shows",
        };
        writeln!(
            self.writer,
            "{}  EFFECT    {}: {words}; {:.1} run at once, {} may, {:.0} s after the change",
            clock(now),
            name(&told.function),
            told.runs,
            told.limit,
            told.after_ms as f64 / 1e3
        )
    }

    /// A budget burns too fast, or how it stands.
    ///
    /// # Errors
    /// The writer's.
    pub fn budget(&mut self, line: &BudgetLine, now: EventTime) -> io::Result<()> {
        writeln!(self.writer, "{}  {}", clock(now), line.words())?;
        self.writer.flush()
    }

    /// The end of a run.
    ///
    /// # Errors
    /// The writer's.
    pub fn summary(&mut self, summary: &SummaryLine) -> io::Result<()> {
        let records = summary.records;
        writeln!(
            self.writer,
            "{} records counted ({} late), {} duplicate, {} rejected, {} of unknown route; {} \
             functions over {:.2} function-days; spend {}; {} pages, {} notices, {} actions",
            records.counted,
            records.late,
            records.duplicate,
            records.rejected,
            records.unrouted,
            summary.functions,
            summary.function_days,
            summary.spend_nano_usd,
            summary.pages,
            summary.notices,
            summary.actions
        )?;
        self.writer.flush()
    }
}

fn what(alarm: &Alarm) -> String {
    let Some((channel, reading)) = alarm.channels.first_key_value() else {
        return String::new();
    };
    match channel {
        Channel::RateFast | Channel::Aggregate => format!(
            "called {:.0} times a second, {:.1} are expected",
            reading.observed, reading.expected
        ),
        Channel::Duration => {
            format!("runs {:.0} ms, {:.0} ms are expected", reading.observed, reading.expected)
        }
        Channel::Memory => {
            format!("runs with {:.0} MB, usual are {:.0} MB", reading.observed, reading.expected)
        }
        Channel::Retry => format!(
            "{:.0} % of its calls fail or are repeats, up to {:.0} % are normal",
            reading.observed * 100.0,
            reading.expected * 100.0
        ),
        Channel::Recursion => format!(
            "its calls multiply: {:.0} a second, {:.1} are expected",
            reading.observed, reading.expected
        ),
        Channel::Cost => format!(
            "has cost ${:.2} in an hour, ${:.2} are expected",
            reading.observed, reading.expected
        ),
        Channel::Leech => format!(
            "has cost ${:.2} in a day, ${:.2} are expected",
            reading.observed, reading.expected
        ),
        Channel::Yoyo => format!("bursts have cost ${:.2} above the allowed", reading.observed),
    }
}

fn shown(setting: &Setting) -> String {
    match setting {
        Setting::Unknown => "?".to_owned(),
        Setting::Unset => "unset".to_owned(),
        Setting::Set(Value::Number(number)) => number.to_string(),
        Setting::Set(Value::Addresses(addresses)) => format!("{} addresses", addresses.len()),
    }
}

/// The bare name.
fn name(function: &FunctionKey) -> String {
    seen(&function.name)
}

/// Time of day; the date stands in the decisions file.
fn clock(at: EventTime) -> String {
    at.to_string().chars().skip(11).take(12).collect()
}
