//! The report of a search for settings: what is paid in denied requests for what does not leak.

use super::axis::Unit;
use super::bars::{self, Bar};
use super::html::{Html, page};
use super::scatter::{self, Point};
use crate::tune::result::{Comparison, START, WINNER};

/// The whole report; `told` is what was done.
pub fn render(told: &str, comparison: &Comparison) -> String {
    let mut body = Html::default();
    for line in told.lines() {
        body.raw("<p class=\"say\">").text(line).raw("</p>\n");
    }
    let colour = |name: &str, on_frontier: bool| match name {
        START => 0,
        WINNER => 5,
        _ if on_frontier => 3,
        _ => 1,
    };
    let points = comparison.compared.iter().map(|compared| Point {
        name: compared.name.clone(),
        colour: colour(&compared.name, compared.on_frontier),
        bold: compared.name == WINNER,
        usd: compared.mean.beyond_usd,
        count: compared.mean.denied,
    });
    let points: Vec<Point> = points.collect();
    let axes = ("dollars leaked beyond the unavoidable", "legitimate requests denied");
    scatter::draw(&mut body, "Trade-off, means over unseen seeds", axes, &points);
    let bars = comparison.compared.iter().zip(&points).map(|(compared, point)| Bar {
        name: compared.name.clone(),
        colour: point.colour,
        value: compared.mean.usd,
    });
    let bars: Vec<Bar> = bars.collect();
    bars::draw(
        &mut body,
        "Cost of a run, denied requests and false actions priced",
        Unit::Usd,
        &bars,
    );
    body.raw("<h2>By scenario</h2>\n");
    let (heading, rows) = comparison.by_scenario();
    body.table(heading.split(','), &rows).raw("<h2>Frontier</h2>\n<div class=\"words\">");
    let (heading, rows) = comparison.frontier();
    body.table(heading.split(','), &rows).raw("</div>\n");
    page("bursar tune", &body)
}
