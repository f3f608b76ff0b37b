//! Reviews a log through the library: `cargo run --example review -- access.log`.

#![allow(clippy::print_stdout)] // An example talks to the person who runs it.

use deckle::review::{Review, Source, read_into};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut review = Review::new();
    for path in std::env::args_os().skip(1) {
        read_into(&Source::Path(path.into()), &mut review)?;
    }
    let report = review.report();
    println!("{} hits, {} suspects", report.quality.hits, report.suspects.len());
    for suspect in report.suspects.iter().take(10) {
        println!("{:>3}  {}  {}", suspect.score, suspect.visitor, suspect.reasons.join("; "));
    }
    Ok(())
}
