//! Reports with pictures: one HTML file that loads nothing, runs nothing and opens anywhere.
//!
//! The pictures are static SVG made here: a few shapes do, they take their colours from the page
//! (so dark mode is a matter of CSS) and they are small, which those of a charting library are not.
//! What is drawn is thinned to a point for each pixel or so, so that a report's size depends on the
//! number of scenarios and policies alone.

pub mod simulation;

pub mod replay;

pub mod tuning;

mod axis;
mod bars;
mod lanes;
mod scatter;
mod timeline;

mod html;
