//! `deckle review`.

use std::path::Path;

use anyhow::Context;

use super::args::ReviewArgs;
use super::output::{self, Exit};
use crate::review::{Review, Source, read_into, terminal};

pub(super) fn run(args: &ReviewArgs) -> anyhow::Result<Exit> {
    let mut review = Review::new();
    let mut unread = 0;
    for path in &args.paths {
        let source = if path == Path::new("-") { Source::Stdin } else { Source::Path(path.clone()) };
        if let Err(error) = read_into(&source, &mut review) {
            output::complain(&error.into());
            unread += 1;
        }
    }
    let report = review.report();
    if unread == args.paths.len() && report.quality.lines == 0 {
        return Ok(Exit::Usage);
    }
    match args.json.as_deref() {
        Some(path) => {
            let json = serde_json::to_string_pretty(&report)? + "\n";
            if path == Path::new("-") {
                output::print(&json)?;
            } else {
                std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
                output::print(&terminal(&report, output::width()))?;
            }
        }
        None => output::print(&terminal(&report, output::width()))?,
    }
    Ok(if unread > 0 { Exit::Partial } else { Exit::Done })
}
