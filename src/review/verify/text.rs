//! What was found out, in words.

use std::fmt;

use super::{Erased, Segment, Signatures, Verdict, Verification};

/// A name out of a log may hold anything.
fn clean(text: &str) -> String {
    text.chars().map(|c| if crate::audit::is_hidden(c) { '?' } else { c }).collect()
}

fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::SealedByNext { lines } => {
                write!(f, "ok, sealed by the next ({} after the last checkpoint)", count(*lines, "line"))
            }
            Self::Unsealed { lines } => write!(f, "unsealed tail {}", count(*lines, "line")),
            Self::NoCheckpoints => f.write_str("unsealed (no checkpoints)"),
            Self::Modified { block, first_seq, last_seq, why } => {
                write!(f, "MODIFIED block {block} (seq {first_seq}–{last_seq}): {}", clean(why))
            }
            Self::Missing => f.write_str("missing segment"),
            Self::BadSignature { seq, why } => write!(f, "bad signature (seq {seq}): {}", clean(why)),
        }
    }
}

impl fmt::Display for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self
            .ranges
            .iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}–{last}") })
            .collect();
        let named: u64 = self.ranges.iter().map(|(first, last)| last - first + 1).sum();
        let more = if named < self.count { " …" } else { "" };
        write!(f, "erased: {} (seq {}{more})", self.count, ranges.join(", "))
    }
}

impl fmt::Display for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(key) = &self.key else { return f.write_str("not signed") };
        let key = clean(key);
        match self.source {
            Some(source) => write!(f, "{} by {key} ({source})", count(self.valid, "signature")),
            None => write!(f, "{} by {key} not checked: the key is not known", count(self.unchecked, "signature")),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", clean(&self.name), self.verdict)?;
        if self.lines > 0 {
            write!(f, "; {} in {}; {}", count(self.lines, "line"), count(self.blocks, "block"), self.signatures)?;
        }
        if self.erased.count > 0 {
            write!(f, "\n  {}", self.erased)?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n  {}", clean(note)))
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            writeln!(f, "{segment}")?;
        }
        for what in &self.unreadable {
            writeln!(f, "not read: {}", clean(what))?;
        }
        let faults = self.segments.iter().filter(|segment| segment.verdict.is_fault()).count();
        let all = count(self.segments.len() as u64, "segment");
        if faults > 0 { writeln!(f, "{faults} of {all} not as written.") } else { writeln!(f, "{all}, as written.") }
    }
}
