//! What was in force when: one lane for each policy.

use super::axis::{Clock, LEFT, RIGHT, Scale, begin, times};
use super::html::{Html, colour};

/// Stretches in a lane; the rest is of the same kind.
const HOLDS_MAX: usize = 200;
/// Height of a lane.
const LANE: f64 = 26.0;
/// Width of the names.
const NAMES: f64 = 60.0;
/// A stretch this wide has room for its words.
const WORDS: f64 = 60.0;

/// Something that was in force.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hold {
    pub(super) from: f64,
    pub(super) to: f64,
    /// In a few characters.
    pub(super) words: String,
    /// In full.
    pub(super) what: String,
}

/// A policy and what it held.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) holds: Vec<Hold>,
}

/// Draws them.
pub(super) fn draw(html: &mut Html, title: &str, span: (f64, f64), lanes: &[Lane]) {
    let bottom = LANE * lanes.len() as f64;
    let x = Scale::linear(span.0, span.1, LEFT + NAMES, RIGHT);
    let mut svg = Html::default();
    begin(&mut svg, bottom + 24.0, title);
    for (place, lane) in lanes.iter().enumerate() {
        let top = place as f64 * LANE;
        svg.raw("<text class=\"e\" x=\"").at(LEFT + NAMES - 6.0).raw("\" y=\"").at(top + 17.0);
        svg.raw("\">").text(&lane.name).raw("</text><path class=\"g\" d=\"M").at(LEFT + NAMES);
        svg.raw(" ").at(top + LANE / 2.0).raw("H").at(RIGHT).raw("\"/>");
        for hold in lane.holds.iter().take(HOLDS_MAX) {
            let (from, to) = (x.at(hold.from), x.at(hold.to));
            svg.raw("<rect class=\"f ").raw(colour(lane.colour)).raw("\" x=\"").at(from);
            svg.raw("\" y=\"").at(top + 4.0).raw("\" width=\"").at((to - from).max(1.0));
            svg.raw("\" height=\"").at(LANE - 8.0).raw("\" opacity=\".45\"><title>");
            svg.text(&hold.what).raw("</title></rect>");
            if to - from >= WORDS {
                svg.raw("<text x=\"").at(from + 5.0).raw("\" y=\"").at(top + 17.0).raw("\">");
                svg.text(&hold.words).raw("</text>");
            }
        }
    }
    times(&mut svg, &x, Clock::Since, bottom);
    svg.raw("</svg>");
    html.figure(title, &svg);
}
