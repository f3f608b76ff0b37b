//! The report for readers: a terminal, Markdown, CSV, HTML. What a section holds is said once, as tables of cells;
//! the text renderers only lay them out, so that their numbers cannot differ.

mod cells;
mod csv;
mod difference;
mod grid;
mod html;
mod markdown;
#[cfg(test)]
mod sample;
mod sections;
mod simulation;
mod suspects;
mod terminal;
mod text;

pub use csv::csv;
pub use html::html;
pub use markdown::markdown;
pub use terminal::{Look, terminal};
