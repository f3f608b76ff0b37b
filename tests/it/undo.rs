//! Takes deckle's edits back out of a page.

use deckle::slot::{Edit, Slot, What};
use deckle::watermark::code::TOKEN_LETTERS;

const SEAL: &str = "<span inert=\"\">";

/// Takes the edits back out; the copy may be marked or not.
pub(crate) fn undo(copy: &[u8], source: &[u8], edits: &[Edit]) -> Result<Vec<u8>, String> {
    let (mut back, mut at, mut from) = (Vec::new(), 0usize, 0usize);
    for edit in edits {
        let (start, end) = (edit.range.start as usize, edit.range.end as usize);
        let kept = copy.get(at..at + (start - from)).ok_or("too short")?;
        back.extend_from_slice(kept);
        at += start - from;
        let rest = copy.get(at..).unwrap_or_default();
        at += match &edit.what {
            What::Fixed(bytes) => {
                rest.starts_with(bytes).then_some(bytes.len()).ok_or_else(|| format!("no insertion at {start}"))?
            }
            // In a page that shuts it out white space is as it was; a mark is one byte, and a word follows.
            What::Choice(Slot::Gap { .. } | Slot::Trim) if rest.starts_with(&source[start..end]) => end - start,
            What::Choice(Slot::Gap { .. }) => {
                matches!(rest.first(), Some(b' ' | b'\n')).then_some(1).ok_or("no gap")?
            }
            What::Choice(Slot::Form { form, .. }) => {
                let written = [false, true].into_iter().flat_map(|bit| [form.characters(bit), form.references(bit)]);
                let mut texts = std::iter::once(&source[start..end]).chain(written.map(str::as_bytes));
                texts.find(|text| rest.starts_with(text)).ok_or("no spelling")?.len()
            }
            What::Choice(Slot::Variant { alternatives, .. }) => {
                alternatives.iter().find(|text| rest.starts_with(text)).ok_or("no alternative")?.len()
            }
            What::Choice(Slot::Token(token)) => {
                let (before, after) = token.frame();
                if rest.starts_with(before.as_bytes()) { before.len() + TOKEN_LETTERS + after.len() } else { 0 }
            }
            // It stays where there is no seal; before one stands a tag, and no white space.
            What::Choice(Slot::Trim | Slot::Fill(_)) => 0,
            What::Choice(Slot::Seal) => match rest.strip_prefix(SEAL.as_bytes()) {
                Some(tail) => SEAL.len() + tail.windows(7).position(|w| w == b"</span>").ok_or("no end of seal")? + 7,
                // The style of the page would give it a box.
                None => 0,
            },
        };
        back.extend_from_slice(&source[start..end]);
        from = end;
    }
    back.extend_from_slice(copy.get(at..).ok_or("too short")?);
    Ok(back)
}
