//! What one thing costs of another: a point for each policy.

use super::axis::{LEFT, RIGHT, Scale, Unit, across, begin};
use super::html::{Html, colour};

const HEIGHT: f64 = 300.0;
const BOTTOM: f64 = HEIGHT - 40.0;
const TOP: f64 = 14.0;
/// Names are at least this far apart, one above the other.
const APART: f64 = 14.0;
/// Room for a name.
const NAME: f64 = 120.0;

/// A policy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) bold: bool,
    /// To the right, dollars.
    pub(super) usd: f64,
    /// Upwards, a count.
    pub(super) count: f64,
}

/// Draws them on logarithmic scales, on which nothing at all has a place of its own at the edge.
pub(super) fn draw(html: &mut Html, title: &str, (right, up): (&str, &str), points: &[Point]) {
    let x = Scale::log(points.iter().map(|point| point.usd), LEFT + 10.0, RIGHT - 110.0);
    let y = Scale::log(points.iter().map(|point| point.count), BOTTOM, TOP);
    let mut svg = Html::default();
    begin(&mut svg, HEIGHT, title);
    across(&mut svg, &y, Unit::Count);
    for tick in x.ticks() {
        svg.raw("<path class=\"g\" d=\"M").at(x.at(tick)).raw(" ").at(TOP).raw("V").at(BOTTOM);
        svg.raw("\"/><text class=\"t m\" x=\"").at(x.at(tick)).raw("\" y=\"").at(BOTTOM + 16.0);
        svg.raw("\">").text(&Unit::Usd.show(tick)).raw("</text>");
    }
    svg.raw("<text class=\"t m\" x=\"").at((LEFT + RIGHT) / 2.0).raw("\" y=\"").at(HEIGHT - 6.0);
    svg.raw("\">").text(right).raw(" → · ").text(up).raw(" ↑</text>");
    let mut placed: Vec<(f64, f64)> = Vec::new();
    for point in points {
        let (cx, cy) = (x.at(point.usd), y.at(point.count));
        let is_taken = |at: f64| {
            let near = |&(x, y): &(f64, f64)| (x - cx).abs() < NAME && (y - at).abs() < APART;
            placed.iter().any(near)
        };
        // Points of policies that deny nothing lie on the line below, so names move upwards.
        let rows = (0..u16::try_from(points.len()).unwrap_or(u16::MAX)).map(f64::from);
        let free = rows.map(|row| cy - row * APART).find(|at| !is_taken(*at));
        let beside = free.unwrap_or(cy).max(TOP);
        placed.push((cx, beside));
        let shown = [Unit::Usd.show(point.usd), Unit::Count.show(point.count)];
        svg.raw("<circle class=\"f ").raw(colour(point.colour)).raw("\" cx=\"").at(cx);
        svg.raw("\" cy=\"").at(cy).raw("\" r=\"").at(if point.bold { 7.0 } else { 5.0 });
        svg.raw("\"><title>").text(&format!("{}: {}", point.name, shown.join(", ")));
        svg.raw("</title></circle><text x=\"").at(cx + 10.0).raw("\" y=\"").at(beside + 4.0);
        svg.raw("\">").text(&point.name).raw("</text>");
    }
    svg.raw("</svg>");
    html.figure(title, &svg);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_at_one_place_stand_above_one_another_within_the_picture() {
        let point = |name: &str| Point {
            name: name.to_owned(),
            colour: 0,
            bold: false,
            usd: 1.0,
            count: 0.0,
        };
        let points = ["a", "b", "c", "d"].map(point);
        let mut html = Html::default();
        draw(&mut html, "t", ("right", "up"), &points);
        let text = format!("{html:?}");
        let names = text.split("</circle><text").skip(1);
        let places = names.map(|rest| rest.split("y=\\\"").nth(1).unwrap().split('\\').next());
        let places: Vec<f64> = places.map(|place| place.unwrap().parse().unwrap()).collect();
        assert_eq!(places, [264.0, 250.0, 236.0, 222.0]);
    }
}
