//! What stands between the last character of a block and its end tag.

use std::ops::Range;

/// Inline elements that neither break a word nor draw a box of their own.
const INLINE: [&str; 17] = [
    "a", "abbr", "b", "cite", "em", "font", "i", "mark", "q", "s", "small", "span", "strong", "sub", "sup", "time", "u",
];
/// Others that do not break a word, but no seal follows them.
const JOINING: [&str; 3] = ["bdi", "bdo", "ins"];

/// A tail that a seal may follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Runs of white space, by their place in the tail.
    pub(crate) spaces: Vec<Range<usize>>,
}

/// Behind these alone the symbols of a seal would mean something: a hieroglyph is turned (Unicode 17,
/// `StandardizedVariants.txt`).
pub(crate) fn ends_in_hieroglyph(text: &str) -> bool {
    let last = text.trim_end_matches(|c: char| c.is_ascii_whitespace()).chars().next_back();
    matches!(last, Some('\u{13000}'..='\u{143FF}'))
}

enum Piece<'t> {
    Space(Range<usize>),
    Start(&'t str),
    End(&'t str),
    Other,
}

/// Reads a tail: white space, ends of inline elements and empty inline elements. Anything else, and the end of a link,
/// whose text may be hidden or decorated as a whole: no seal.
pub(crate) fn read(source: &[u8]) -> Option<Tail> {
    let mut spaces = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for piece in pieces(source) {
        match piece {
            Piece::Space(range) => spaces.push(range),
            Piece::Start(name) if is_inline_name(name) => open.push(name),
            Piece::End(name) => match open.pop() {
                Some(start) if start.eq_ignore_ascii_case(name) => {}
                None if is_inline_name(name) && !name.eq_ignore_ascii_case("a") => {}
                _ => return None,
            },
            Piece::Start(_) | Piece::Other => return None,
        }
    }
    open.is_empty().then_some(Tail { spaces })
}

/// Only tags of inline elements stand between two text nodes, so a word may go on over them.
pub(crate) fn is_inline(source: &[u8]) -> bool {
    pieces(source).all(|piece| match piece {
        Piece::Start(name) | Piece::End(name) => {
            is_inline_name(name) || JOINING.iter().any(|joining| joining.eq_ignore_ascii_case(name))
        }
        Piece::Space(_) | Piece::Other => false,
    })
}

fn is_inline_name(name: &str) -> bool {
    INLINE.iter().any(|inline| inline.eq_ignore_ascii_case(name))
}

fn pieces(source: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = source.get(at..).filter(|r| !r.is_empty())?;
        let spaces = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        if spaces > 0 {
            at += spaces;
            return Some(Piece::Space(at - spaces..at));
        }
        let (length, piece) = tag(rest).unwrap_or((rest.len(), Piece::Other));
        at += length;
        Some(piece)
    })
}

fn tag(rest: &[u8]) -> Option<(usize, Piece<'_>)> {
    let after = rest.strip_prefix(b"<")?;
    let (after, is_end) = match after.strip_prefix(b"/") {
        Some(end) => (end, true),
        None => (after, false),
    };
    let length = after.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    let name = std::str::from_utf8(after.get(..length)?).ok().filter(|n| !n.is_empty())?;
    let close = close_of_tag(rest)?;
    Some((close + 1, if is_end { Piece::End(name) } else { Piece::Start(name) }))
}

/// The `>` of a tag, outside of quoted values.
fn close_of_tag(rest: &[u8]) -> Option<usize> {
    let mut quote = None;
    rest.iter().position(|b| match (quote, b) {
        (None, b'>') => true,
        (None, b'"' | b'\'') => {
            quote = Some(*b);
            false
        }
        (Some(q), b) => {
            if q == *b {
                quote = None;
            }
            false
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        assert_eq!(read(b""), Some(Tail { spaces: vec![] }));
        assert_eq!(read(b" </em>\n"), Some(Tail { spaces: vec![0..1, 6..7] }));
        assert_eq!(
            read(b"<span class=\"a>b\"></span> "),
            Some(Tail { spaces: Vec::from([(25, 26)].map(|(a, b)| a..b)) })
        );
        for bad in
            ["<br>", "</a>", "<img src=x>", "<!-- c -->", "<span>", "</code>", "<script></script>", "<", "</ins>"]
        {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }

    /// The lines of `StandardizedVariants.txt` (Unicode 17.0.0) whose selector is one of U+FE06 to U+FE0D.
    const TURNED: [&str; 14] = [
        "1312F FE06; rotated approximately 325 degrees [horizontal]; # EGYPTIAN HIEROGLYPH F044",
        "13139 FE06; rotated approximately 315 degrees [horizontal]; # EGYPTIAN HIEROGLYPH F051",
        "13184 FE06; rotated approximately 335 degrees; # EGYPTIAN HIEROGLYPH H006",
        "131DB FE06; rotated approximately 340 degrees; # EGYPTIAN HIEROGLYPH M029",
        "131EE FE06; rotated approximately 330 degrees; # EGYPTIAN HIEROGLYPH M044",
        "13205 FE06; rotated approximately 330 degrees [horizontal]; # EGYPTIAN HIEROGLYPH N021",
        "132A4 FE06; rotated approximately 315 degrees; # EGYPTIAN HIEROGLYPH P008",
        "132E9 FE06; rotated approximately 300 degrees; # EGYPTIAN HIEROGLYPH S020",
        "1332B FE06; rotated approximately 340 degrees [horizontal]; # EGYPTIAN HIEROGLYPH T031",
        "13338 FE06; rotated approximately 320 degrees [horizontal]; # EGYPTIAN HIEROGLYPH U006",
        "13370 FE06; rotated approximately 320 degrees; # EGYPTIAN HIEROGLYPH V005",
        "13371 FE06; rotated approximately 315 degrees; # EGYPTIAN HIEROGLYPH V006",
        "13419 FE06; rotated approximately 345 degrees; # EGYPTIAN HIEROGLYPH AA011",
        "14274 FE06; rotated approximately 340 degrees [horizontal]; # EGYPTIAN HIEROGLYPH-14274",
    ];

    #[test]
    fn no_block_that_is_sealed_ends_in_a_character_that_a_seal_would_turn() {
        for line in TURNED {
            let code = u32::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap();
            let text = format!("a sign: {}\n ", char::from_u32(code).unwrap());
            assert!(ends_in_hieroglyph(&text), "{line}");
        }
        for text in ["", " \n", "a full stop.", "\u{13139} and more", "\u{14400}", "\u{2019}"] {
            assert!(!ends_in_hieroglyph(text), "{text:?}");
        }
    }

    #[test]
    fn words_go_on_over_inline_tags_only() {
        assert!(is_inline(b"</b><i class='x>y'>"));
        assert!(is_inline(b"") && is_inline(b"</ins><bdo>"));
        assert!(!is_inline(b"<br>") && !is_inline(b"<!-- -->") && !is_inline(b"</b> <b>"));
    }
}
