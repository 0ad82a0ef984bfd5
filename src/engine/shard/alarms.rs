//! The life of a function's alarm: it is raised, followed second by second, or gives way to one
//! that is more urgent.

use crate::engine::alarm::{Alarm, AlarmState, Channel, Severity, alarm_id};
use crate::engine::assess::{self, Standing};
use crate::engine::batch::Event;
use crate::engine::function::{FunctionState, Surroundings};
use crate::engine::open_alarm::OpenAlarm;
use crate::engine::watch::Watch;
use crate::units::EventTime;

/// Closes the notice that stands in the way of an alarm, if any.
pub(super) fn give_way(
    function: &FunctionState,
    watch: &mut Watch,
    now: EventTime,
    sequence: u64,
    around: &Surroundings<'_>,
) -> Option<Alarm> {
    let open = watch.alarm.take()?;
    let standing = Standing::new(function, watch, &open, now, around);
    let closed = standing.alarm(function, watch, &open, AlarmState::Closed, sequence, around);
    // Who has called for days is not who calls now.
    watch.pane = None;
    Some(closed)
}

/// Opens the alarm that `event` has led to.
pub(super) fn raise(
    function: &FunctionState,
    watch: &mut Watch,
    channel: Channel,
    event: &Event,
    now: EventTime,
    around: &Surroundings<'_>,
) -> Alarm {
    let onset = watch.onset_of(channel, event, around);
    let id = alarm_id("function", &function.to_key(), channel, onset);
    let usual = watch.usual(channel, function.mean_mb_ms());
    watch.open_pane(function.mean_mb_ms());
    let rate = watch.lasting_rate(now.second());
    let mut open = OpenAlarm::new(id, channel, onset, event, usual, rate);
    if channel < Channel::Yoyo {
        open.counted_from = onset;
        open.since = assess::usage_since(function, watch, onset.second());
    }
    open.gathered_usd = watch.gathered_usd(channel);
    let standing = Standing::new(function, watch, &open, now, around);
    (open.severity, open.no_crowd) = (standing.severity, standing.no_crowd);
    let sequence = event.sequence;
    let alarm = standing.alarm(function, watch, &open, AlarmState::Opened, sequence, around);
    watch.alarm = Some(Box::new(open));
    alarm
}

/// One second of an alarm that may be open: what there is to say of it.
pub(super) fn follow(
    function: &FunctionState,
    watch: &mut Watch,
    now: EventTime,
    sequence: u64,
    around: &Surroundings<'_>,
) -> Option<Alarm> {
    let mut open = watch.alarm.take()?;
    let clear = around.thresholds.clears(open.channel);
    // The seconds that opened it must be closed before closed seconds can clear it.
    let seen = around.boundary > open.evidence_at.second();
    let is_past = watch.is_past(&mut open, &function.calling(around), around);
    let quiet = seen && (watch.value(open.channel) < clear || is_past);
    let over = open.is_over(now.second(), quiet);
    let due = open.is_due(now.second());
    if !over && !due && !open.is_watched_closely(now.second()) {
        watch.alarm = Some(open);
        return None;
    }
    let mut standing = Standing::new(function, watch, &open, now, around);
    if quiet {
        // It is over but for the waiting: what it was at its worst it stays.
        standing.severity = open.severity;
    }
    let worse = standing.severity > open.severity;
    (open.severity, open.no_crowd) = (standing.severity, standing.no_crowd);
    let state = match (over, worse) {
        (true, _) => AlarmState::Closed,
        // As a page it is a new statement to whoever waits for pages only.
        (false, true) => AlarmState::Opened,
        (false, false) => AlarmState::Updated,
    };
    let renamed = open.names(standing.attribution()) && open.severity == Severity::Page;
    let say = over || due || worse || renamed;
    let alarm = say.then(|| standing.alarm(function, watch, &open, state, sequence, around));
    watch.alarm = Some(open);
    alarm
}
