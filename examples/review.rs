//! Reviews a log through the library: `cargo run --example review -- access.log`.

#![allow(clippy::print_stdout)] // An example talks to the person who runs it.

use deckle::review::{Review, Source};

fn main() {
    let sources: Vec<Source> = std::env::args_os().skip(1).map(|path| Source::Path(path.into())).collect();
    let report = Review::default().read(&sources).report;
    println!("{} hits, {} suspects", report.quality.hits, report.suspects.len());
    for suspect in report.suspects.iter().take(10) {
        println!("{:>3}  {}  {}", suspect.score, suspect.visitor, suspect.reasons.join("; "));
    }
}
