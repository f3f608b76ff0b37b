//! Copies: text, Markdown or HTML, as they lie there.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;

use super::args::TraceArgs;
use super::markdown::without_markup;
use crate::page::plain_text;
use crate::watermark::{Note, Observation, Suspect, Tracer};

/// How often an interrupt is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// What is kept of a copy.
pub(super) struct Copy {
    pub(super) name: String,
    /// Its bytes; empty unless they are evidence.
    pub(super) bytes: Vec<u8>,
    /// Its text, for alternatives that only the log knows.
    pub(super) text: String,
    pub(super) seen: Observation,
    /// What reading had to say.
    pub(super) notes: Vec<Note>,
}

impl Copy {
    /// Reads a copy. `one_form`: a paragraph has one spelling of each kind.
    pub(super) fn read(
        path: &Path,
        args: &TraceArgs,
        tracer: &Tracer,
        one_form: bool,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let most = args.max_bytes.0;
        let bytes = bytes_of(path, most.saturating_add(1), stop);
        let mut bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
        let cut = bytes.len() as u64 > most;
        bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        let source = String::from_utf8_lossy(whole_characters(&bytes, cut));
        let mut notes = Vec::new();
        notes.extend(cut.then_some(Note::Truncated));
        notes.extend(matches!(source, Cow::Owned(_)).then_some(Note::BadUtf8));
        let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let is_html = args.html || (!args.text && (has_html_name(path) || begins_with_tag(&source)));
        let text = if is_html { plain_text(&source) } else { without_markup(&source) };
        let mut seen = tracer.observe(&Suspect { text: &text, label: &name });
        // Tags and addresses are gone from the text.
        seen.add_tokens(&source);
        seen.add_forms(&text, one_form);
        drop(source);
        let bytes = if args.evidence.is_some() { bytes } else { Vec::new() };
        Ok(Self { name, bytes, text, seen, notes })
    }
}

/// At most so many bytes of a file. Whoever is to send them may keep us waiting: an interrupt must not.
fn bytes_of(path: &Path, most: u64, stop: &AtomicBool) -> std::io::Result<Vec<u8>> {
    let (path, (send, receive)) = (path.to_owned(), mpsc::channel());
    let read = move || {
        let mut bytes = Vec::new();
        let result = if path == Path::new("-") {
            std::io::stdin().lock().take(most).read_to_end(&mut bytes)
        } else {
            File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
        };
        // Nobody listens after an interrupt.
        let _ = send.send(result.map(|_| bytes));
    };
    std::thread::Builder::new().name("deckle-copy".to_owned()).spawn(read)?;
    loop {
        match receive.recv_timeout(GLANCE) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => {}
            Err(_) => return Err(ErrorKind::Interrupted.into()),
        }
    }
}

/// A cut may have gone through a character.
fn whole_characters(bytes: &[u8], cut: bool) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if cut && error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    }
}

fn has_html_name(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["html", "htm", "xhtml"].iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// A tag, a comment or a declaration, and no arrow or heart.
fn begins_with_tag(text: &str) -> bool {
    let text = text.trim_start_matches('\u{FEFF}').trim_start();
    let mut chars = text.chars();
    chars.next() == Some('<') && chars.next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '!' | '/' | '?'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_begins_with_a_tag() {
        for html in ["<p>a", " \n<!doctype html>", "\u{FEFF}<html>", "</div>", "<?xml ?>"] {
            assert!(begins_with_tag(html), "{html}");
        }
        for text in ["<3 you", "", "<", "a <p>", "< p>"] {
            assert!(!begins_with_tag(text), "{text}");
        }
        assert!(has_html_name(Path::new("a/b.HTM")) && !has_html_name(Path::new("html")));
    }

    #[test]
    fn a_cut_goes_through_no_character() {
        let bytes = "aé".as_bytes();
        assert_eq!(whole_characters(&bytes[..2], true), b"a");
        assert_eq!(whole_characters(&bytes[..2], false), &bytes[..2], "that is not UTF-8");
        assert_eq!(whole_characters(b"\xFFa", true), b"\xFFa");
        assert_eq!(whole_characters(bytes, true), bytes);
    }
}
