//! One number for each policy or function.

use super::axis::{RIGHT, Scale, Unit, begin};
use super::html::{Html, colour};

const ROW: f64 = 24.0;
/// Width of the names.
const NAMES: f64 = 150.0;
/// Room for a number beside the longest bar.
const NUMBER: f64 = 80.0;
/// Characters of a name that fit.
const NAME_CHARS: usize = 22;

/// A bar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) value: f64,
}

/// Draws them below one another.
pub(super) fn draw(html: &mut Html, title: &str, unit: Unit, bars: &[Bar]) {
    let high = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let x = Scale::linear(0.0, high, NAMES, RIGHT - NUMBER);
    let mut svg = Html::default();
    begin(&mut svg, ROW * bars.len() as f64, title);
    for (place, bar) in bars.iter().enumerate() {
        let top = place as f64 * ROW;
        let width = (x.at(bar.value) - NAMES).max(0.0);
        let short: String = bar.name.chars().take(NAME_CHARS).collect();
        svg.raw("<text class=\"e\" x=\"").at(NAMES - 6.0).raw("\" y=\"").at(top + 16.0);
        svg.raw("\">").text(&short).raw("<title>").text(&bar.name).raw("</title></text>");
        svg.raw("<rect class=\"f ").raw(colour(bar.colour)).raw("\" x=\"").at(NAMES);
        svg.raw("\" y=\"").at(top + 3.0).raw("\" width=\"").at(width.max(1.0));
        svg.raw("\" height=\"").at(ROW - 6.0).raw("\"/><text x=\"").at(NAMES + width + 6.0);
        svg.raw("\" y=\"").at(top + 16.0).raw("\">").text(&unit.show(bar.value)).raw("</text>");
    }
    svg.raw("</svg>");
    html.figure(title, &svg);
}
