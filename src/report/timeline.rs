//! Lines over time, with what happened then.

use super::axis::{Clock, LEFT, RIGHT, Scale, Unit, across, begin, times};
use super::html::{Html, colour};

/// Points of a line: about one for each pixel.
pub(super) const POINTS_MAX: usize = 600;
/// Marks in a picture; more cannot be told apart.
const MARKS_MAX: usize = 200;
const HEIGHT: f64 = 220.0;
const BOTTOM: f64 = HEIGHT - 24.0;
const TOP: f64 = 10.0;

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) colour: usize,
    /// The one that the report is about.
    pub(super) bold: bool,
    /// Seconds and values, by time.
    pub(super) points: Vec<(f64, f64)>,
}

/// Something that was going on for a while.
#[derive(Debug)]
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) what: String,
}

/// Something that was said or done.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) is_action: bool,
    pub(super) what: String,
}

/// The picture.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    pub(super) title: &'a str,
    pub(super) unit: Unit,
    pub(super) clock: Clock,
    /// First and last second.
    pub(super) span: (f64, f64),
    pub(super) lines: &'a [Line],
    pub(super) bands: &'a [Band],
    pub(super) marks: &'a [Mark],
}

impl Timeline<'_> {
    /// Draws it.
    pub(super) fn draw(&self, html: &mut Html) {
        let x = Scale::linear(self.span.0, self.span.1, LEFT, RIGHT);
        let values = self.lines.iter().flat_map(|line| &line.points);
        let high = values.map(|(_, value)| *value).fold(0.0, f64::max);
        let y = Scale::linear(0.0, high * 1.05, BOTTOM, TOP);
        let mut svg = Html::default();
        begin(&mut svg, HEIGHT, self.title);
        for band in self.bands {
            let (from, to) = (x.at(band.from), x.at(band.to));
            svg.raw("<rect class=\"band\" x=\"").at(from).raw("\" y=\"").at(TOP);
            svg.raw("\" width=\"").at(to - from).raw("\" height=\"").at(BOTTOM - TOP);
            svg.raw("\"><title>").text(&band.what).raw("</title></rect>");
        }
        across(&mut svg, &y, self.unit);
        times(&mut svg, &x, self.clock, BOTTOM);
        for mark in self.marks.iter().take(MARKS_MAX) {
            svg.raw("<path class=\"").raw(if mark.is_action { "act" } else { "alarm" });
            svg.raw("\" d=\"M").at(x.at(mark.at)).raw(" ").at(TOP).raw("V").at(BOTTOM);
            svg.raw("\"><title>").text(&mark.what).raw("</title></path>");
        }
        for line in self.lines {
            svg.raw("<path class=\"l ").raw(colour(line.colour));
            svg.raw(if line.bold { " w\" d=\"" } else { "\" d=\"" });
            for (place, (at, value)) in line.points.iter().enumerate() {
                svg.raw(if place == 0 { "M" } else { "L" }).at(x.at(*at));
                svg.raw(" ").at(y.at(*value));
            }
            svg.raw("\"><title>").text(&line.name).raw("</title></path>");
        }
        svg.raw("</svg>");
        html.figure(self.title, &svg);
        html.legend(self.lines.iter().map(|line| (line.colour, line.name.as_str())));
    }
}

/// At most [`POINTS_MAX`] means over equal stretches of values that are `step` seconds apart: what
/// lies under the line stays the same.
pub(super) fn means(values: &[f64], step: f64) -> Vec<(f64, f64)> {
    let together = values.len().div_ceil(POINTS_MAX).max(1);
    let stretches = values.chunks(together).enumerate();
    let point = |(place, stretch): (usize, &[f64])| {
        let middle = (place * together) as f64 + stretch.len() as f64 / 2.0;
        (middle * step, stretch.iter().sum::<f64>() / stretch.len() as f64)
    };
    stretches.map(point).collect()
}

/// The running sum of values that are `step` seconds apart, from nothing on, in at most
/// [`POINTS_MAX`] points and the last.
pub(super) fn sums(values: &[f64], step: f64) -> Vec<(f64, f64)> {
    let together = values.len().div_ceil(POINTS_MAX - 1).max(1);
    let mut points = vec![(0.0, 0.0)];
    let (mut sum, mut seen) = (0.0, 0);
    for stretch in values.chunks(together) {
        sum += stretch.iter().sum::<f64>();
        seen += stretch.len();
        points.push((seen as f64 * step, sum));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_lines_keep_their_sum_and_their_bound() {
        for length in [0, 1, 599, 600, 601, 3_600, 90_001] {
            let values: Vec<f64> = (0..length).map(|value| f64::from(value % 7)).collect();
            let (means, sums) = (means(&values, 1.0), sums(&values, 1.0));
            assert!(means.len() <= POINTS_MAX && sums.len() <= POINTS_MAX, "{length}");
            let total: f64 = values.iter().sum();
            assert_eq!(sums.last().unwrap().1, total);
        }
    }
}
