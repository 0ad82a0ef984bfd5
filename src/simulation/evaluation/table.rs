//! The report for people.

use std::fmt;

use super::attack_case::{AttackScore, Found, SpendScore};
use super::interval::Interval;
use super::report::{DelayQuantiles, FalseRate, KindScore, MoneyQuantiles, Report};
use super::run::ActionScore;
use crate::units::NanoUsd;

/// Attacks that are shown one by one; all of them are in the JSON document.
const ATTACKS_SHOWN: usize = 50;
/// The same for false pages.
const FALSE_SHOWN: usize = 10;
/// The beginning of a victim's name, which in traces is a hash.
const NAME_CHARS: usize = 12;
/// What stands where there is nothing to say.
const NONE: &str = "-";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attacks(f)?;
        let rows = self.kinds.iter().map(|(kind, score)| kind_row(kind, score));
        aligned(
            f,
            "kind,attacks,paged,noticed,missed,share paged (95 %),evidence p50/p99,page p50/p99,\
             $ before page p50/p99,sources right/missed/wrong",
            rows.collect(),
        )?;
        self.false_alarms(f)?;
        let tell = |actions: &ActionScore| {
            let share = actions.legit_refused_share_max.map_or_else(String::new, |share| {
                format!(", up to {:.1} % of legitimate requests refused", 100.0 * share)
            });
            format!("{} planned, {} applied{share}", actions.planned, actions.applied)
        };
        writeln!(f, "actions in attacks    {}", tell(&self.actions.in_attack))?;
        writeln!(f, "actions without one   {}", tell(&self.actions.outside))?;
        for run in self.runs.iter().filter(|run| !run.unknown_lines.is_empty()) {
            let kinds = run.unknown_lines.iter().map(|(kind, count)| format!("{kind} {count}"));
            let kinds: Vec<_> = kinds.collect();
            writeln!(f, "unknown kinds of line {} ({})", kinds.join(", "), run.decisions)?;
        }
        Ok(())
    }
}

impl Report {
    fn attacks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.runs.iter().flat_map(|run| &run.attacks);
        let rows = all().take(ATTACKS_SHOWN).map(attack_row);
        aligned(
            f,
            "attack,victim,found by,channel,class,evidence,said,spent,of it excess,\
             right/missed/wrong,named",
            rows.collect(),
        )?;
        let more = all().count().saturating_sub(ATTACKS_SHOWN);
        if more > 0 {
            writeln!(f, "and {more} attacks more, see --json\n")?;
        }
        Ok(())
    }

    fn false_alarms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alarms = &self.false_alarms;
        writeln!(
            f,
            "function-days         {:.3}, of these {:.3} warm-up",
            alarms.function_days, alarms.warmup_function_days,
        )?;
        writeln!(f, "false pages           {}", rate(&alarms.pages))?;
        if let Some(promised) = &alarms.promised {
            let [pages, per_day] =
                [promised.pages, promised.pages_per_function_day].map(significant);
            writeln!(f, "  promised            at most {pages}, {per_day} a function-day")?;
        }
        let listed = self.runs.iter().flat_map(|run| &run.false_pages.alarms);
        for alarm in listed.take(FALSE_SHOWN) {
            let (at, id) = (alarm.decided_at, &alarm.id);
            writeln!(f, "  {at}  {id} {} {} {}", alarm.channel, alarm.class, alarm.about)?;
        }
        writeln!(f, "false notices         {}", rate(&alarms.notices))
    }
}

fn attack_row(attack: &AttackScore) -> Vec<String> {
    let alarm = attack.alarm.as_ref();
    let found = match attack.found {
        Found::Page => "page",
        Found::Notice => "notice",
        Found::Nothing if attack.already_open => "nothing, but one was open",
        Found::Nothing => "nothing",
        Found::NoRecords => "left no records",
    };
    let found = alarm.map_or_else(|| found.to_owned(), |alarm| format!("{found} {}", alarm.id));
    let more = if attack.functions > 1 { " ..." } else { "" };
    let named = &attack.attribution;
    let money = |of: fn(&SpendScore) -> Option<NanoUsd>| attack.spend.as_ref().and_then(of);
    vec![
        attack.kind.clone(),
        format!("{}{more}", short(&attack.function)),
        found,
        or_none(alarm.map(|alarm| alarm.channel.clone())),
        or_none(alarm.map(|alarm| alarm.class.clone())),
        or_none(attack.evidence_delay_ms.map(seconds)),
        or_none(attack.decision_delay_ms.map(seconds)),
        or_none(money(|spend| Some(spend.nano_usd)).map(|money| money.to_string())),
        or_none(money(|spend| spend.excess_nano_usd).map(|money| money.to_string())),
        format!("{}/{}/{}", named.right, named.missed, named.wrong),
        or_none(named.named_delay_ms.map(seconds)),
    ]
}

fn kind_row(kind: &str, score: &KindScore) -> Vec<String> {
    let share =
        score.paged_share.zip(score.paged_share_95).map(|(share, Interval { low, high })| {
            format!("{:.1} % ({:.1} to {:.1})", 100.0 * share, 100.0 * low, 100.0 * high)
        });
    let delay =
        |delay: DelayQuantiles| format!("{} {}", seconds(delay.median_ms), seconds(delay.p99_ms));
    let money = |money: MoneyQuantiles| format!("{} {}", money.median_nano_usd, money.p99_nano_usd);
    vec![
        kind.to_owned(),
        score.attacks.to_string(),
        score.paged.to_string(),
        score.noticed.to_string(),
        score.missed.to_string(),
        or_none(share),
        or_none(score.evidence_delay.map(delay)),
        or_none(score.decision_delay.map(delay)),
        or_none(score.before_page.map(money)),
        format!("{}/{}/{}", score.sources_right, score.sources_missed, score.sources_wrong),
    ]
}

fn rate(rate: &FalseRate) -> String {
    let Some((per_day, Interval { low, high })) =
        rate.per_function_day.zip(rate.per_function_day_95)
    else {
        return format!("{}, no function-days behind warm-up to divide by", rate.count);
    };
    let channels = rate.by_channel.iter().map(|(channel, count)| format!("{channel} {count}"));
    let channels: Vec<_> = channels.collect();
    let channels =
        if channels.is_empty() { String::new() } else { format!(" ({})", channels.join(", ")) };
    let [per_day, low, high] = [per_day, low, high].map(significant);
    let count = rate.count;
    format!("{count}{channels}, {per_day} a function-day behind warm-up (95 %: {low} to {high})")
}

/// The name of a function without account and region, cut where it is a hash.
fn short(function: &str) -> String {
    let name = function.splitn(3, ':').last().unwrap_or_default();
    let head: String = name.chars().take(NAME_CHARS).collect();
    if head.len() < name.len() { format!("{head}…") } else { head }
}

/// Rates go over many orders of magnitude: a promise is one page in a hundred thousand days.
fn significant(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        0.01.. => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

fn seconds(ms: i64) -> String {
    format!("{:.1} s", ms as f64 / 1e3)
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.to_owned())
}

/// Writes rows under a heading, columns apart by two blanks; nothing where there are no rows.
pub(crate) fn aligned(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    mut rows: Vec<Vec<String>>,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    rows.insert(0, heading.split(',').map(str::to_owned).collect());
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(f, "{}", line.trim_end())?;
    }
    writeln!(f)
}
