//! What must hold of logs that anybody may have written into: lines of all formats, format strings, expressions.

use std::time::Duration;

use crate::generate::{LINES, WORDS, text};
use crate::targets::Target;
use deckle::audit::reader::{Format, Line, Reader, detect};
use deckle::review::{Condition, FilterArgs, Filters};

/// A line is one of the five things that it can be, whatever format was named, and is read the same a second time.
pub(crate) fn lines() -> Target {
    Box::new(|rng| {
        let bytes = text(rng, LINES, 12);
        let lines = || bytes.split(|byte| *byte == b'\n');
        detect(lines());
        let format = Format::ALL[rng.usize(..Format::ALL.len())];
        let read = |text: &[&[u8]]| {
            let mut reader = Reader::new(format).trust_xff(3);
            let read = |line: &&[u8]| match reader.read(line) {
                Line::Hit(hit) => {
                    assert!(hit.time > Duration::ZERO, "{hit:?}");
                    format!("{:?}", hit.into_owned())
                }
                other => format!("{other:?}"),
            };
            text.iter().map(read).collect::<Vec<String>>()
        };
        let all: Vec<&[u8]> = lines().collect();
        assert_eq!(read(&all), read(&all));
    })
}

/// What is typed is taken or refused, and reads lines or refuses them.
pub(crate) fn typed() -> Target {
    Box::new(|rng| {
        let typed = String::from_utf8_lossy(&text(rng, WORDS, 10)).into_owned();
        if let Ok(mut reader) = Reader::with_log_format(&typed) {
            reader.read(&text(rng, LINES, 8));
        }
        let expression =
            FilterArgs { expression: Some(typed.clone()), since: Some(typed.clone()), ..FilterArgs::default() };
        let _ = Filters::new(&FilterArgs { since: None, ..expression.clone() }, Duration::from_secs(1_795_000_000));
        let _ = Filters::new(&FilterArgs { expression: None, ..expression }, Duration::from_secs(1_795_000_000));
        if let Ok(condition) = Condition::parse(&typed) {
            let again = Condition::parse(&condition.to_string()).unwrap();
            assert_eq!(again.to_string(), condition.to_string());
        }
    })
}
