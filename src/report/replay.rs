//! The report of a replay: how busy it was, what bursar said, and what would have happened.

use super::axis::{Clock, Unit};
use super::bars::{self, Bar};
use super::html::{Html, page};
use super::timeline::{Line, Mark, Timeline};
use crate::engine::alarm::Class;
use crate::observe::decisions::SummaryLine;
use crate::observe::story::{AlarmStory, Cell, Story};
use crate::units::EventTime;

/// Functions that are shown.
const FUNCTIONS_SHOWN: usize = 20;
/// Rows of a table.
const ROWS_SHOWN: usize = 500;

/// The whole report.
pub fn render(story: &Story, summary: &SummaryLine) -> String {
    let mut body = Html::default();
    head(&mut body, summary);
    would_have(&mut body, story);
    pictures(&mut body, story);
    excesses(&mut body, story);
    alarms(&mut body, story);
    actions(&mut body, story);
    page("bursar replay", &body)
}

fn head(body: &mut Html, summary: &SummaryLine) {
    let time = |at: Option<EventTime>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let rows = [
        ("from", time(summary.first_event)),
        ("until", time(summary.last_event)),
        ("records", summary.records.counted.to_string()),
        ("functions", summary.functions.to_string()),
        ("spend", summary.spend_nano_usd.to_string()),
        ("pages", summary.pages.to_string()),
        ("notices", summary.notices.to_string()),
        ("planned actions", summary.actions.to_string()),
    ];
    let rows: Vec<_> = rows.map(|(name, value)| vec![name.to_owned(), value]).into();
    body.table(["recorded", ""].into_iter(), &rows);
}

fn would_have(body: &mut Html, story: &Story) {
    let found = story.would_have();
    body.raw("<h2>What would have happened</h2>\n<p class=\"say\">");
    if story.actions.is_empty() {
        body.raw("Nothing would have been changed.</p>\n");
        return;
    }
    let whole = |requests: f64| format!("{requests:.0}");
    body.text(&format!(
        "While bursar would have held something back, the functions concerned cost {}. It would \
         have saved {} of that and refused {} requests, {} of them legitimate.",
        found.spent_nano_usd,
        found.saved_nano_usd,
        whole(found.refused_requests),
        whole(found.refused_legitimate_requests),
    ));
    body.raw("</p>\n<p>Reckoned from the shares that the planned actions state, over the minutes ");
    body.raw("as they were: callers who try again or stay away are not in it.");
    if found.omitted > 0 {
        body.text(&format!(" {} plans and minutes more were too many.", found.omitted));
    }
    body.raw("</p>\n");
}

fn pictures(body: &mut Html, story: &Story) {
    let cells = &story.cells;
    let Some((from, to)) = cells.span() else {
        return;
    };
    let start = EventTime::from_second(from);
    let since = |at: EventTime| at.since_ms(start) as f64 / 1e3;
    let alarms = story.alarms.values().map(|alarm| Mark {
        at: since(alarm.at),
        is_action: false,
        what: format!("{} {}", severity(alarm), alarm.about),
    });
    let actions = story.actions.iter().map(|action| Mark {
        at: since(action.at),
        is_action: true,
        what: action.what.clone(),
    });
    let marks: Vec<Mark> = alarms.chain(actions).collect();
    let line = |name: &str, colour, of: &dyn Fn(&Cell) -> f64| {
        let points = cells.line(of).into_iter().map(|(at, value)| (at - from as f64, value));
        Line { name: name.to_owned(), colour, bold: false, points: points.collect() }
    };
    let minutes = cells.minutes as f64;
    let load = [
        line("requests a second", 3, &|cell| cell.requests as f64 / minutes / 60.0),
        line("turned away a second", 1, &|cell| cell.refused as f64 / minutes / 60.0),
    ];
    let timeline = Timeline {
        title: "Requests a second; dashed: alarms and planned actions",
        unit: Unit::Count,
        clock: Clock::Utc(start),
        span: (0.0, (to - from) as f64),
        lines: &load,
        bands: &[],
        marks: &marks,
    };
    timeline.draw(body);
    let spend = [line("dollars a minute", 5, &|cell| cell.nano_usd.usd() / minutes)];
    Timeline { title: "Spend a minute", unit: Unit::Usd, lines: &spend, ..timeline }.draw(body);
}

fn severity(alarm: &AlarmStory) -> &'static str {
    if alarm.page { "page" } else { "notice" }
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Attack => "attack",
        Class::Crowd => "crowd",
        Class::Runaway => "runaway",
        Class::Unknown => "-",
    }
}

fn excesses(body: &mut Html, story: &Story) {
    let largest = story.excesses().into_iter().filter(|(_, excess)| excess.0 > 0);
    let bars = largest.take(FUNCTIONS_SHOWN).map(|(name, excess)| Bar {
        // Account and region are in the tables below; beside a bar there is no room for them.
        name: name.splitn(3, ':').last().unwrap_or_default().to_owned(),
        colour: 6,
        value: excess.usd(),
    });
    let bars: Vec<Bar> = bars.collect();
    if !bars.is_empty() {
        body.raw("<h2>Where the excess was</h2>\n");
        bars::draw(body, "Dollars beyond the expected, by function", Unit::Usd, &bars);
    }
}

fn alarms(body: &mut Html, story: &Story) {
    if story.alarms.is_empty() {
        return;
    }
    let mut alarms: Vec<_> = story.alarms.iter().collect();
    alarms.sort_by_key(|(id, alarm)| (alarm.at, (*id).clone()));
    let rows = alarms.iter().take(ROWS_SHOWN).map(|(id, alarm)| {
        vec![
            alarm.about.clone(),
            severity(alarm).to_owned(),
            alarm.at.to_string(),
            if alarm.closed { alarm.until.to_string() } else { "open".to_owned() },
            class(alarm.class).to_owned(),
            alarm.excess.to_string(),
            (*id).clone(),
        ]
    });
    let heading = ["about", "severity", "said", "closed", "looks like", "excess", "alarm"];
    body.raw("<h2>Alarms</h2>\n").table(heading.into_iter(), &rows.collect::<Vec<_>>());
    more(body, alarms.len(), story);
}

fn actions(body: &mut Html, story: &Story) {
    if story.actions.is_empty() {
        return;
    }
    let rows = story.actions.iter().take(ROWS_SHOWN).map(|action| {
        let share = format!("{:.3} %", 100.0 * action.legit_refused_share);
        vec![action.at.to_string(), action.what.clone(), share, action.reason.clone()]
    });
    let heading = ["when", "what", "legitimate refused", "why"];
    body.raw("<h2>Planned actions</h2>\n<div class=\"words\">");
    body.table(heading.into_iter(), &rows.collect::<Vec<_>>()).raw("</div>\n");
    more(body, story.actions.len(), story);
}

fn more(body: &mut Html, count: usize, story: &Story) {
    let more = count.saturating_sub(ROWS_SHOWN);
    if more > 0 || story.omitted > 0 {
        let text = format!("{more} more, and {} that were only counted.", story.omitted);
        body.raw("<p>").text(&text).raw("</p>\n");
    }
}
