//! A trace and attacks in, messages and their truth out; one minute is held at a time.

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use jiff::civil::Date;
use jiff::tz::Offset;

use crate::simulation::attack::{ATTACKS_MAX, Attack, AttackError, AttackKind, AttackSpec, Victim};
use crate::simulation::load::{Callers, TraceLoad};
use crate::simulation::platform::{
    Delivery, FunctionSpec, Platform, PlatformError, PlatformSettings, Way,
};
use crate::simulation::trace::{
    Trace, TraceError, TraceFunction, TracePaths, TriggerGroup, Window,
};
use crate::simulation::truth::{self, AttackTruth, Truth};
use crate::units::{EventTime, OutOfRange};

/// The longest stream, in minutes: one month.
pub const MINUTES_MAX: u32 = crate::simulation::trace::MINUTE_MAX;

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateSettings {
    /// Where the calls come from.
    pub paths: TracePaths,
    /// Attacks to inject.
    pub attacks: Vec<AttackSpec>,
    /// Seed of every draw.
    pub seed: u64,
    /// Which minutes.
    pub window: Window,
    /// The day of minute zero.
    pub date: Date,
    /// Only the busiest functions.
    pub functions: Option<usize>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Minutes done.
    pub minutes: u32,
    /// Of how many.
    pub minutes_total: u32,
    /// Records written.
    pub records: u64,
}

/// Nothing or not everything was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// An attack.
    #[error(transparent)]
    Attack(#[from] AttackError),
    /// Too many attacks.
    #[error("{0} attacks, accepted: up to {ATTACKS_MAX}")]
    Attacks(usize),
    /// An attack that goes by what becomes of it.
    #[error(
        "an attack of kind {0:?} goes by the answers to its requests, and records are written \
         without them; use it in a scenario of bursar simulate"
    )]
    NoAnswers(AttackKind),
    /// The functions.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A date outside what records may have.
    #[error(transparent)]
    Date(#[from] OutOfRange),
    /// The output.
    #[error("could not write records: {0}; check that there is room")]
    Write(#[from] io::Error),
}

/// Writes one message per line, in the order of delivery, and returns the truth.
///
/// # Errors
/// Settings that do not fit the trace, or a trace or an output that fails.
pub fn generate(
    settings: &GenerateSettings,
    records: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Truth, GenerateError> {
    let mut trace = Trace::read(&settings.paths, settings.window)?;
    if let Some(count) = settings.functions {
        trace.keep_busiest(count);
    }
    let start = start(settings.date, trace.first_minute)?;
    let specs = trace.functions.iter().map(TraceFunction::spec).collect();
    let mut platform = Platform::new(settings.seed, PlatformSettings::default(), specs)?;
    let mut attacks = aim(settings, &trace, start)?;
    let mut load = TraceLoad::new(&trace, settings.seed, start);
    let mut lines = Lines { out: records, records: 0 };
    let (mut requests, mut deliveries) = (Vec::new(), Vec::new());
    let mut end = start;
    for minute in 0..trace.minutes {
        end = end.plus_ms(60_000);
        load.minute(minute, &mut requests);
        attacks.iter_mut().for_each(|attack| attack.take(end, &mut requests));
        // Stable, so that equal times stay in the order of functions and attacks.
        requests.sort_by_key(|request| request.at);
        requests.drain(..).for_each(|request| platform.offer(request));
        // A request at `end` belongs to the next minute.
        platform.advance(end.plus_ms(-1), &mut deliveries);
        lines.write(&mut deliveries)?;
        progress(Progress {
            minutes: minute + 1,
            minutes_total: trace.minutes,
            records: lines.records,
        });
    }
    while let Some(next) = platform.next_at() {
        platform.advance(next.plus_ms(1_000), &mut deliveries);
        lines.write(&mut deliveries)?;
    }
    let records = lines.records;
    let functions: Vec<&FunctionSpec> = platform.functions().collect();
    let tell = |attack: Attack| {
        let tally = platform.tally(Some(attack.number));
        AttackTruth::new(attack, &tally, &functions)
    };
    let name = settings.paths.calls.file_name().unwrap_or_default();
    Ok(Truth {
        v: truth::FORM,
        seed: settings.seed,
        trace: name.to_string_lossy().into_owned(),
        start,
        end,
        attacks: attacks.into_iter().map(tell).collect(),
        functions: functions.len() as u64,
        records,
    })
}

fn aim(
    settings: &GenerateSettings,
    trace: &Trace,
    start: EventTime,
) -> Result<Vec<Attack>, GenerateError> {
    if settings.attacks.len() > ATTACKS_MAX {
        return Err(GenerateError::Attacks(settings.attacks.len()));
    }
    let window_ms = u64::from(trace.minutes) * 60_000;
    let victims: Vec<Victim<'_>> = trace
        .functions
        .iter()
        .enumerate()
        .map(|(index, function)| Victim {
            name: &function.key.name,
            function: index,
            callers: (function.trigger == TriggerGroup::Http)
                .then(|| Callers::new(settings.seed, function.app)),
            way: Way::Sync,
            mean_rps: function.calls() as f64 / (window_ms as f64 / 1_000.0),
        })
        .collect();
    let attacks = (0..).zip(&settings.attacks).map(|(number, spec)| {
        if spec.kind.needs_answers() {
            return Err(GenerateError::NoAnswers(spec.kind));
        }
        Ok(Attack::new(spec, number, &victims, settings.seed, start, window_ms)?)
    });
    attacks.collect()
}

/// When a minute of that day begins; the whole month after it must be a valid time too.
fn start(date: Date, minute: u32) -> Result<EventTime, OutOfRange> {
    let midnight = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0));
    let midnight = midnight.map_or(i64::MIN, |stamp| stamp.as_millisecond());
    let month_ms = i64::from(MINUTES_MAX) * 60_000;
    EventTime::try_from_ms(midnight.saturating_add(2 * month_ms))?;
    Ok(EventTime::try_from_ms(midnight)?.plus_ms(i64::from(minute) * 60_000))
}

struct Lines<'a> {
    out: &'a mut dyn Write,
    records: u64,
}

impl Lines<'_> {
    fn write(&mut self, deliveries: &mut Vec<Delivery>) -> io::Result<()> {
        for delivery in deliveries.drain(..) {
            self.out.write_all(delivery.text())?;
            self.out.write_all(b"\n")?;
            self.records += u64::from(delivery.records());
        }
        Ok(())
    }
}
