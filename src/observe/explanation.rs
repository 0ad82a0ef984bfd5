//! One alarm in plain words, from the lines of a decisions file: the evidence, the money, the
//! callers, what was done, and what was not done and which gate kept it.
//!
//! The daemon need not be there. A file is read twice, since an action may be asked for that comes
//! behind its alarm; what is kept of it is bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::unseen::seen;
use crate::units::{EventTime, NanoUsd};

/// Alarms that one beginning of a name may mean before the rest is not looked for.
const MEANT_MAX: usize = 16;
/// Events that are told of one alarm: its first ones and its latest.
const FIRST_EVENTS: usize = 100;
const LATEST_EVENTS: usize = 400;
/// Sources that are listed.
const SOURCES_LISTED: usize = 10;
/// Alarms that are listed: of more, those that are open and have cost most.
const ALARMS_LISTED_MAX: usize = 10_000;

/// An alarm's line, as far as it is told.
#[derive(Debug, Clone, Deserialize)]
pub struct AlarmTold {
    /// Its name.
    pub id: String,
    state: String,
    /// `notice` or `page`.
    pub severity: String,
    account: String,
    region: Option<String>,
    function: Option<String>,
    onset: EventTime,
    evidence_at: EventTime,
    /// When it was said.
    pub decided_at: EventTime,
    channels: BTreeMap<String, ReadingTold>,
    class: String,
    excess: ExcessTold,
    excess_nano_usd_per_hour: NanoUsd,
    projected: Option<ProjectedTold>,
    loss_bound_nano_usd: Option<NanoUsd>,
    attribution: Option<AttributionTold>,
}

#[derive(Debug, Clone, Deserialize)]
struct ReadingTold {
    evidence_log10: f64,
    threshold_log10: f64,
    expected: f64,
    observed: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct ExcessTold {
    requests: u64,
    nano_usd: NanoUsd,
}

#[derive(Debug, Clone, Deserialize)]
struct ProjectedTold {
    hour: SpreadTold,
    day: SpreadTold,
    month_end: SpreadTold,
}

#[derive(Debug, Clone, Deserialize)]
struct SpreadTold {
    p10_nano_usd: NanoUsd,
    p50_nano_usd: NanoUsd,
    p90_nano_usd: NanoUsd,
}

#[derive(Debug, Clone, Deserialize)]
struct AttributionTold {
    diffuse: bool,
    distinct: u64,
    sources: Vec<SourceTold>,
    crowd: CrowdTold,
}

#[derive(Debug, Clone, Deserialize)]
struct SourceTold {
    dimension: String,
    source: String,
    share: f64,
    low: f64,
    high: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct CrowdTold {
    verdict: String,
    reason: String,
    compared: u64,
    repeats: u64,
    repeats_expected: f64,
}

#[derive(Debug, Deserialize)]
struct GateTold {
    gate: String,
    open: bool,
    value: Value,
    needs: Value,
    unit: Option<String>,
}

impl AlarmTold {
    /// What it is over: the function, or the account.
    pub fn target(&self) -> String {
        match (&self.region, &self.function) {
            (Some(region), Some(function)) => format!("{}:{region}:{function}", self.account),
            _ => format!("account {}", self.account),
        }
    }

    fn is_closed(&self) -> bool {
        self.state == "closed"
    }

    fn place(&self) -> (bool, std::cmp::Reverse<NanoUsd>) {
        (self.is_closed(), std::cmp::Reverse(self.excess.nano_usd))
    }
}

impl fmt::Display for AlarmTold {
    /// One line of a list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, severity, class, .. } = self;
        let (lost, per_hour) = (self.excess.nano_usd, self.excess_nano_usd_per_hour);
        let target = self.target();
        write!(f, "{id}  {severity:<6}  {class:<7}  since {}  {lost} lost", self.onset)?;
        write!(f, ", {per_hour} an hour above normal  {target}")
    }
}

/// The alarms of a file as they were last told.
#[derive(Debug, Default)]
pub struct Alarms {
    told: BTreeMap<String, AlarmTold>,
    left_out: usize,
}

impl Alarms {
    /// Takes in a line; what is no alarm says nothing here, but a new run ends what was open.
    ///
    /// # Errors
    /// An alarm's line in which something is missing.
    pub fn take(&mut self, line: &Value, closed_too: bool) -> serde_json::Result<()> {
        if kind(line) == "run" && !closed_too {
            self.told.clear();
        }
        let Some(alarm) = alarm_in(line)? else {
            return Ok(());
        };
        if alarm.is_closed() && !closed_too {
            self.told.remove(&alarm.id);
            return Ok(());
        }
        self.told.insert(alarm.id.clone(), alarm);
        if self.told.len() >= 2 * ALARMS_LISTED_MAX {
            let mut told: Vec<_> = std::mem::take(&mut self.told).into_values().collect();
            told.sort_by_key(AlarmTold::place);
            self.left_out += told.len() - ALARMS_LISTED_MAX;
            told.truncate(ALARMS_LISTED_MAX);
            self.told = told.into_iter().map(|alarm| (alarm.id.clone(), alarm)).collect();
        }
        Ok(())
    }

    /// Open ones before others, then the costliest first; and how many are left out.
    pub fn listed(&self) -> (Vec<&AlarmTold>, usize) {
        let mut alarms: Vec<_> = self.told.values().collect();
        alarms.sort_by_key(|alarm| alarm.place());
        let more = alarms.len().saturating_sub(ALARMS_LISTED_MAX);
        alarms.truncate(ALARMS_LISTED_MAX);
        (alarms, self.left_out + more)
    }
}

/// The alarms that the beginning of a name may mean: an alarm's own, or that of an action or
/// restriction that came of it.
#[derive(Debug)]
pub struct Meant {
    beginning: String,
    alarms: BTreeSet<String>,
}

impl Meant {
    /// By a beginning of a name.
    pub fn new(beginning: &str) -> Self {
        Self { beginning: beginning.to_owned(), alarms: BTreeSet::new() }
    }

    /// Takes in a line of the first reading.
    pub fn take(&mut self, line: &Value) {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let alarm = match text("kind") {
            "alarm" => text("id"),
            "action" | "abstention" => text("alarm_id"),
            _ => return,
        };
        let names = [alarm, text("id"), text("restriction_id")];
        let is_meant = names.iter().any(|name| name.starts_with(&self.beginning));
        if is_meant && !alarm.is_empty() && self.alarms.len() < MEANT_MAX {
            self.alarms.insert(alarm.to_owned());
        }
    }

    /// The alarms.
    pub fn alarms(&self) -> &BTreeSet<String> {
        &self.alarms
    }
}

/// What is told of one alarm.
#[derive(Debug)]
pub struct Explanation {
    id: String,
    latest: Option<AlarmTold>,
    /// As it burnt most, when it was worth most.
    worst: Option<AlarmTold>,
    severity: String,
    /// The alarm as it stood when the first restriction took effect.
    restricted: Option<(EventTime, AlarmTold)>,
    events: Vec<String>,
    late_events: VecDeque<String>,
    left_out: u64,
}

impl Explanation {
    /// Of the alarm of this name.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            latest: None,
            worst: None,
            severity: String::new(),
            restricted: None,
            events: Vec::new(),
            late_events: VecDeque::new(),
            left_out: 0,
        }
    }

    /// Whether the alarm's own lines were there.
    pub fn is_known(&self) -> bool {
        self.latest.is_some()
    }

    /// Takes in a line of the second reading. What is done to the function while the alarm is open
    /// belongs to it, even if it began for an earlier one.
    ///
    /// # Errors
    /// An alarm's line in which something is missing.
    pub fn take(&mut self, line: &Value) -> serde_json::Result<()> {
        let open = self.latest.as_ref().filter(|alarm| !alarm.is_closed());
        let target = open.map(AlarmTold::target).unwrap_or_default();
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("kind") {
            "run" if !target.is_empty() => {
                self.tell("bursar has started anew and follows it no more".to_owned());
            }
            "alarm" if text("id") == self.id => {
                if let Some(alarm) = alarm_in(line)? {
                    self.alarm(alarm);
                }
            }
            "abstention" if text("alarm_id") == self.id => {
                let mut told = format!("{}  no action: {}", text("decided_at"), text("reason"));
                let gates = line.get("gates").cloned().unwrap_or_default();
                for gate in Vec::<GateTold>::deserialize(gates).unwrap_or_default() {
                    told = told + "\n      " + &gate.to_string();
                }
                self.tell(told);
            }
            "effect" if text("alarm_id") == self.id || text("target") == target => {
                let number = |key: &str| line.get(key).and_then(Value::as_f64).unwrap_or(0.0);
                self.tell(format!(
                    "{}  effect {}: {:.1} run at once, {:.0} may, {:.0} s after the change",
                    text("decided_at"),
                    text("effect"),
                    number("concurrency"),
                    number("cap"),
                    number("after_seconds")
                ));
            }
            "action" if text("alarm_id") == self.id || text("target") == target => {
                let share = line.get("legit_refused_share").and_then(Value::as_f64);
                let told = format!(
                    "{}  {} {} -> {}: {}{} because {} ({:.1} % of legitimate requests refused, as \
                     expected)",
                    text("decided_at"),
                    text("verb"),
                    text("actuator"),
                    setting(line.get("to")),
                    text("outcome"),
                    if text("mode") == "observe" { " (only observed)" } else { "" },
                    text("reason"),
                    100.0 * share.unwrap_or(0.0)
                );
                self.tell(told);
                if text("outcome") == "applied" && self.restricted.is_none() {
                    let at = text("effective_at").parse().ok();
                    self.restricted = at.zip(self.latest.clone());
                }
            }
            "order" if text("target") == target || text("target").is_empty() => {
                let (at, who, from) = (text("decided_at"), text("who"), text("from"));
                let (order, why) = (text("order").replace('_', " "), text("why"));
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                self.tell(format!("{at}  {who} at {from} orders: {order}{why}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn alarm(&mut self, alarm: AlarmTold) {
        let (at, per_hour) = (alarm.decided_at, alarm.excess_nano_usd_per_hour);
        if alarm.is_closed() {
            let lost = alarm.excess.nano_usd;
            self.tell(format!("{at}  over; it cost {lost} more than usual"));
        } else if alarm.severity != self.severity {
            let Some(how) = alarm.channels.keys().cloned().reduce(|all, one| all + ", " + &one)
            else {
                return;
            };
            let severity = &alarm.severity;
            self.tell(format!("{at}  {severity} by {how}, at {per_hour} an hour above normal"));
        }
        let rank = |alarm: &AlarmTold| (alarm.severity == "page", alarm.excess_nano_usd_per_hour);
        if self.worst.as_ref().is_none_or(|worst| rank(&alarm) >= rank(worst)) {
            self.worst = Some(alarm.clone());
        }
        self.severity.clone_from(&alarm.severity);
        self.latest = Some(alarm);
    }

    fn tell(&mut self, event: String) {
        if self.events.len() < FIRST_EVENTS {
            self.events.push(event);
            return;
        }
        if self.late_events.len() >= LATEST_EVENTS {
            self.late_events.pop_front();
            self.left_out += 1;
        }
        self.late_events.push_back(event);
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(latest), Some(worst)) = (&self.latest, &self.worst) {
            latest.head(f)?;
            worst.whole(f)?;
            self.without(latest, f)?;
        }
        writeln!(f, "\nWhat happened")?;
        self.events.iter().try_for_each(|event| writeln!(f, "  {event}"))?;
        if self.left_out > 0 {
            writeln!(f, "  … {} more …", self.left_out)?;
        }
        self.late_events.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}

impl Explanation {
    /// What would have happened without: the excess would have gone on as it was when the first
    /// restriction took effect. An attacker who would have given up earlier, or done more, is not
    /// known.
    fn without(&self, latest: &AlarmTold, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWithout bursar")?;
        let Some((at, then)) = &self.restricted else {
            return writeln!(f, "  the same: nothing was restricted");
        };
        let seconds = latest.decided_at.since_ms(*at).max(0) as f64 / 1e3;
        let rate = then.excess_nano_usd_per_hour;
        let more = NanoUsd::from_usd(rate.usd() * seconds / 3_600.0);
        let paid = latest.excess.nano_usd.minus(then.excess.nano_usd);
        writeln!(
            f,
            "  about {more} above normal in the {seconds:.0} s since {at}, when the first \
             restriction took effect,"
        )?;
        writeln!(f, "  had it gone on at {rate} an hour as it was then; with it, {paid}")
    }
}

impl AlarmTold {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, severity, state, onset, .. } = self;
        let state = if state == "closed" { "over" } else { "open" };
        writeln!(f, "{severity} {id}, {state}, {}", self.target())?;
        let evidence_after = self.evidence_at.since_ms(*onset) as f64 / 1e3;
        let ExcessTold { requests, nano_usd } = &self.excess;
        writeln!(f, "  began     {onset}; the evidence was there {evidence_after:.1} s later")?;
        writeln!(f, "  cost      {nano_usd} and {requests} requests above normal so far")
    }

    fn whole(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, per_hour) = (self.decided_at, self.excess_nano_usd_per_hour);
        writeln!(f, "At its worst, {at}")?;
        for (channel, reading) in &self.channels {
            let ReadingTold { evidence_log10, threshold_log10, expected, observed } = reading;
            writeln!(
                f,
                "  evidence  {channel}: 10^{evidence_log10:.1}, 10^{threshold_log10:.1} are \
                 needed; {observed:.3} where {expected:.3} are expected"
            )?;
        }
        writeln!(f, "  money     {per_hour} an hour above normal")?;
        if let Some(ProjectedTold { hour, day, month_end }) = &self.projected {
            writeln!(f, "            {hour} within an hour if nobody acts, {day} within a day")?;
            writeln!(f, "            {month_end} by the end of the month")?;
        }
        if let Some(bound) = self.loss_bound_nano_usd {
            writeln!(f, "            at worst, whatever comes: {bound} in an hour")?;
        }
        self.attribution.as_ref().map_or(Ok(()), |attribution| attribution.whole(f))
    }
}

impl AttributionTold {
    fn whole(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { diffuse, distinct, sources, crowd } = self;
        let CrowdTold { verdict, reason, compared, repeats, repeats_expected } = crowd;
        let reason = reason.replace('_', " ");
        write!(f, "  callers   {verdict}, {reason}")?;
        if *compared > 0 {
            write!(
                f,
                ": of {compared} requests {repeats} came from a caller seen before, a crowd's \
                 would be {repeats_expected:.0}"
            )?;
        }
        writeln!(f)?;
        if *diffuse {
            writeln!(f, "            diffuse: about {distinct} sources, none of which stands out")?;
        }
        for SourceTold { dimension, source, share, low, high } in
            sources.iter().take(SOURCES_LISTED)
        {
            let [share, low, high] = [share, low, high].map(|part| 100.0 * part);
            writeln!(f, "            {share:5.1} % ({low:.1} to {high:.1})  {dimension} {source}")?;
        }
        let more = sources.len().saturating_sub(SOURCES_LISTED);
        if more > 0 {
            writeln!(f, "            and {more} more")?;
        }
        Ok(())
    }
}

impl fmt::Display for GateTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.open { "open" } else { "SHUT" };
        let gate = self.gate.replace('_', " ");
        match (self.value.as_f64(), self.needs.as_f64()) {
            (Some(value), Some(needs)) => {
                let unit = self.unit.as_deref().unwrap_or_default();
                write!(f, "{state}  {gate}: {value:.2}, needed {needs:.2} {unit}")?;
                if self.open {
                    return Ok(());
                }
                write!(f, "; off by {:.2}", (value - needs).abs())
            }
            _ => {
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (value, needs) = (word(&self.value), word(&self.needs));
                write!(f, "{state}  {gate}: {value}")?;
                if value == needs { Ok(()) } else { write!(f, ", needed {needs}") }
            }
        }
    }
}

impl fmt::Display for SpreadTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} to {})", self.p50_nano_usd, self.p10_nano_usd, self.p90_nano_usd)
    }
}

fn kind(line: &Value) -> &str {
    line.get("kind").and_then(Value::as_str).unwrap_or_default()
}

fn alarm_in(line: &Value) -> serde_json::Result<Option<AlarmTold>> {
    if kind(line) == "alarm" { AlarmTold::deserialize(line).map(Some) } else { Ok(None) }
}

/// A line without what would act on a terminal: names in it were chosen by others.
pub fn harmless(line: Value) -> Value {
    match line {
        Value::String(text) => Value::String(seen(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(harmless).collect()),
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(key, value)| (seen(&key), harmless(value))).collect(),
        ),
        other => other,
    }
}

fn setting(to: Option<&Value>) -> String {
    match to.and_then(|to| to.get("value")) {
        Some(Value::Array(addresses)) => format!("{} addresses", addresses.len()),
        Some(value) => value.to_string(),
        None => "as it was".to_owned(),
    }
}
