//! How numbers become places on a picture, and what stands beside them.

use super::html::Html;
use crate::units::{EventTime, NanoUsd};

/// Width of a picture.
pub(super) const WIDTH: f64 = 640.0;
/// Where the drawing begins, right of the numbers.
pub(super) const LEFT: f64 = 60.0;
/// Where it ends.
pub(super) const RIGHT: f64 = WIDTH - 12.0;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Pieces.
    Count,
    /// Dollars.
    Usd,
}

impl Unit {
    /// A number of them, in few characters.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Unit::Usd if value.abs() >= 1_000.0 => format!("${}", short(value)),
            Unit::Usd => NanoUsd::from_usd(value).to_string(),
            Unit::Count => short(value),
        }
    }
}

/// Three significant digits.
fn short(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        1e9.. => (value / 1e9, " G"),
        1e6.. => (value / 1e6, " M"),
        1e4.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
    format!("{}{suffix}", text.trim_end_matches('.'))
}

/// From numbers to places along one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// `low` at `from`, `high` at `to`.
    pub(super) fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, from, to, log: false }
    }

    /// By powers of ten over everything in `values` that is more than nothing; nothing itself
    /// stands a power below, where no number can be.
    pub(super) fn log(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let positive = values.filter(|value| *value > 0.0 && value.is_finite());
        let logs: Vec<f64> = positive.map(f64::log10).collect();
        let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 0.0) };
        Self {
            low: low.floor() - 1.0,
            high: high.ceil().max(low.floor() + 1.0),
            from,
            to,
            log: true,
        }
    }

    /// The place of a number.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = match self.log {
            true if value > 0.0 => value.log10(),
            true => self.low,
            false => value,
        };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// Round numbers along the scale.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.log {
            let count = crate::units::whole(self.high - self.low);
            let step = count.div_ceil(7).max(1);
            let powers = (1..=count).step_by(usize::try_from(step).unwrap_or(1));
            return powers.map(|power| 10_f64.powf(self.low + power as f64)).fold(
                vec![0.0],
                |mut ticks, tick| {
                    ticks.push(tick);
                    ticks
                },
            );
        }
        let rough = (self.high - self.low) / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        multiples(self.low, self.high, step)
    }
}

fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step).ceil();
    let ticks = (0..32).map(|place| (first + f64::from(place)) * step);
    ticks.take_while(|tick| *tick <= high * (1.0 + 1e-9)).collect()
}

/// What a time axis tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// Time since the beginning.
    Since,
    /// The time of day; the axis counts seconds from here on.
    Utc(EventTime),
}

/// Steps between times that are shown, in seconds.
const STEPS: [f64; 18] = [
    1.0,
    5.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1_800.0,
    3_600.0,
    7_200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    604_800.0,
    2_592_000.0,
];

impl Clock {
    /// Times to show between `low` and `high`, in seconds, with their words.
    fn ticks(self, low: f64, high: f64) -> Vec<(f64, String)> {
        let rough = (high - low) / 7.0;
        let step = STEPS.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        // The times that are shown are round ones in UTC.
        let shift = match self {
            Clock::Since => 0.0,
            Clock::Utc(start) => (start.ms() as f64 / 1e3).rem_euclid(step),
        };
        let ticks = multiples(low + shift, high + shift, step).into_iter();
        ticks.map(|tick| (tick - shift, self.show(tick - shift, step))).collect()
    }

    fn show(self, seconds: f64, step: f64) -> String {
        match self {
            Clock::Since if step >= 3_600.0 => format!("{} h", short(seconds / 3_600.0)),
            Clock::Since if step >= 60.0 => format!("{} min", short(seconds / 60.0)),
            Clock::Since => format!("{} s", short(seconds)),
            Clock::Utc(start) => {
                let ms = i64::try_from(crate::units::whole(seconds * 1e3)).unwrap_or(0);
                let stamp = start.plus_ms(ms).to_string();
                let part = match step {
                    86_400.0.. => stamp.get(..10),
                    60.0.. => stamp.get(11..16),
                    _ => stamp.get(11..19),
                };
                part.unwrap_or_default().to_owned()
            }
        }
    }
}

/// Begins a picture of this height.
pub(super) fn begin(svg: &mut Html, height: f64, what: &str) {
    svg.raw("<svg role=\"img\" viewBox=\"0 0 ").at(WIDTH).raw(" ").at(height);
    svg.raw("\" aria-label=\"").text(what).raw("\">");
}

/// Draws lines across at round numbers.
pub(super) fn across(svg: &mut Html, y: &Scale, unit: Unit) {
    for tick in y.ticks() {
        let at = y.at(tick);
        svg.raw("<path class=\"g\" d=\"M").at(LEFT).raw(" ").at(at).raw("H").at(RIGHT);
        svg.raw("\"/><text class=\"t e\" x=\"").at(LEFT - 6.0).raw("\" y=\"").at(at + 4.0);
        svg.raw("\">").text(&unit.show(tick)).raw("</text>");
    }
}

/// Writes times below the line at `bottom`.
pub(super) fn times(svg: &mut Html, x: &Scale, clock: Clock, bottom: f64) {
    for (tick, words) in clock.ticks(x.low, x.high) {
        svg.raw("<text class=\"t m\" x=\"").at(x.at(tick)).raw("\" y=\"").at(bottom + 16.0);
        svg.raw("\">").text(&words).raw("</text>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let scale = Scale::linear(0.0, 3.7, 100.0, 0.0);
        assert_eq!(scale.ticks(), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(scale.at(3.7), 0.0);
        let scale = Scale::log([0.0, 0.02, 5.0].into_iter(), 0.0, 4.0);
        assert_eq!(scale.ticks(), [0.0, 0.01, 0.1, 1.0, 10.0]);
        assert_eq!((scale.at(0.0), scale.at(0.01), scale.at(10.0)), (0.0, 1.0, 4.0));
        let start = "2026-03-01T10:20:00Z".parse().unwrap();
        let words = Clock::Utc(start).ticks(0.0, 3_600.0);
        let words: Vec<_> = words.iter().map(|(at, words)| (*at, words.as_str())).collect();
        assert_eq!(words[..2], [(0.0, "10:20"), (600.0, "10:30")]);
    }

    #[test]
    fn numbers_have_three_digits() {
        let cases = [(0.0, "0"), (0.5, "0.5"), (12.34, "12.3"), (1_234.0, "1234"), (4e7, "40 M")];
        for (value, shown) in cases {
            assert_eq!(Unit::Count.show(value), shown);
        }
        assert_eq!(Unit::Usd.show(0.0123), "$0.012");
        assert_eq!(Unit::Usd.show(45_600.0), "$45.6 k");
    }

    #[test]
    fn nothing_to_show_is_no_trouble() {
        for scale in [Scale::linear(0.0, 0.0, 0.0, 9.0), Scale::log([].into_iter(), 0.0, 9.0)] {
            assert!(scale.at(0.0).is_finite() && scale.ticks().len() < 20);
        }
        assert!(Scale::linear(0.0, f64::NAN, 0.0, 9.0).ticks().len() < 40);
    }
}
