//! What a character that belongs to no word is, by those beside it.

use std::ops::Range;

use super::is_word_char;

/// On which side of what is quoted a double quote stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Opening,
    Closing,
    /// It cannot be told, or it stands for inches.
    Unclear,
}

impl Side {
    /// The neighbours decide; a curly one must agree with them, or it would be told apart from a straight one.
    pub(super) fn of(c: char, before: Option<char>, next: Option<char>) -> Self {
        let opens = before
            .is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '[' | '{' | '—' | '–' | '-' | '/' | '\'' | '‘'));
        let closes = next.is_none_or(|c| {
            let sign = matches!(c, ')' | ']' | '}' | '—' | '–' | '-' | '/' | '\'' | '’')
                || matches!(c, ',' | '.' | ';' | ':' | '?' | '!' | '…');
            c.is_whitespace() || sign
        });
        match (opens, closes) {
            (true, false) if c != '”' => Self::Opening,
            (false, true) if c != '“' && !before.is_some_and(char::is_numeric) => Self::Closing,
            _ => Self::Unclear,
        }
    }
}

/// A run of dots.
#[derive(Debug)]
pub(super) struct Dots {
    pub(super) at: Range<u64>,
    count: u8,
    /// A tag stands in it, or an ellipsis beside it.
    broken: bool,
}

impl Dots {
    /// Reads a dot or an ellipsis. The answer is an ellipsis: its place, and which of the two it is.
    pub(super) fn read(
        open: &mut Option<Self>,
        c: char,
        at: Range<u64>,
        seam: bool,
        before: Option<char>,
        next: Option<char>,
    ) -> Option<(Range<u64>, bool)> {
        let is_dot = |c: Option<char>| matches!(c, Some('.' | '…'));
        if c == '…' {
            *open = None;
            return (!is_dot(before) && !is_dot(next)).then_some((at, true));
        }
        match open {
            Some(dots) if before == Some('.') => {
                dots.at.end = at.end;
                dots.count = dots.count.saturating_add(1);
                dots.broken |= seam;
            }
            _ => *open = Some(Self { at, count: 1, broken: is_dot(before) }),
        }
        if next == Some('.') {
            return None;
        }
        let dots = open.take()?;
        (dots.count == 3 && !dots.broken && next != Some('…')).then_some((dots.at, false))
    }
}

/// White space behind a word, which may be that of a dash.
#[derive(Debug)]
pub(super) struct Pause {
    /// From the white space on.
    pub(super) at: Range<u64>,
    word: char,
    /// The dash is there.
    pub(super) dashed: bool,
}

impl Pause {
    /// Reads a character. The answer is a dash between two words: its place with the white space around it, and which of the
    /// two it is.
    pub(super) fn read(
        open: &mut Option<Self>,
        c: char,
        at: Range<u64>,
        seam: bool,
        before: Option<char>,
        next: Option<char>,
    ) -> Option<(Range<u64>, bool)> {
        let goes_on = before.is_some_and(|c| is_white(c) || c == '–') && !seam;
        match (c, open.take()) {
            ('—', _) => return joins(before?, next?).then_some((at, false)),
            ('–', Some(pause)) if goes_on && !pause.dashed && next.is_some_and(is_white) => {
                *open = Some(Self { at: pause.at.start..at.end, dashed: true, ..pause });
            }
            (c, _) if is_white(c) && before.is_some_and(is_word_char) => {
                *open = before.map(|word| Self { at, word, dashed: false });
            }
            (c, Some(pause)) if is_white(c) && goes_on => {
                let pause = Self { at: pause.at.start..at.end, ..pause };
                match next {
                    Some(next) if pause.dashed && is_word_char(next) => {
                        return joins(pause.word, next).then_some((pause.at, true));
                    }
                    Some(next) if pause.dashed && !is_white(next) => {}
                    _ => *open = Some(pause),
                }
            }
            _ => {}
        }
        None
    }
}

fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{C}')
}

/// Between numbers a dash says from where to where.
fn joins(before: char, next: char) -> bool {
    is_word_char(before) && is_word_char(next) && !(before.is_numeric() && next.is_numeric())
}
