//! Remarks beside a verdict.

/// A remark; its [code](Note::code) does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Note {
    /// Fewer than 25 words, and no seal.
    TooShort,
    /// Every gap is a space: something has collapsed the white space.
    WhitespaceCollapsed,
    /// The lines end where a fixed width ends them.
    HardWrapped,
    /// No two words stand apart by white space alone, with two words on each side.
    NoGaps,
    /// Only one spelling of each kind is there: something has made them uniform.
    QuotesUniform,
    /// Nothing of the kind is there.
    NoForms,
    /// No place of an authored alternative was found.
    NoVariants,
    /// Only ASCII: something may have left out the rest.
    AsciiOnly,
    /// No mark fits better than by accident.
    NotSignificant,
    /// A run of seal symbols that no key verifies: of another site, of a key that is not loaded, or damaged.
    ForeignSeal,
    /// A seal is genuine, and its mark is not among those searched.
    LogMissing,
    /// The seal and the text name different marks: a seal may have been moved.
    Conflict,
    /// Another mark than the sealed one fits the text better, though not well enough to be named.
    Doubtful,
    /// Visitors share a mark that was found.
    Collision,
    /// The text is that of a page of this site, without a mark.
    Twin,
    /// About so many more words would decide.
    NeedsWords(u32),
    /// Marks of the log that could not be searched: their key is not loaded.
    KeysMissing(u64),
    /// The copy was longer than what is read.
    Truncated,
    /// Some of it is not UTF-8; those bytes were replaced.
    BadUtf8,
    /// The search was stopped.
    Stopped,
}

impl Note {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::WhitespaceCollapsed => "whitespace_collapsed",
            Self::HardWrapped => "hard_wrapped",
            Self::NoGaps => "no_gaps",
            Self::QuotesUniform => "quotes_uniform",
            Self::NoForms => "no_forms",
            Self::NoVariants => "no_variants",
            Self::AsciiOnly => "ascii_only",
            Self::NotSignificant => "not_significant",
            Self::ForeignSeal => "foreign_seal",
            Self::LogMissing => "log_missing",
            Self::Conflict => "conflict",
            Self::Doubtful => "doubtful",
            Self::Collision => "collision",
            Self::Twin => "twin",
            Self::NeedsWords(_) => "needs_words",
            Self::KeysMissing(_) => "keys_missing",
            Self::Truncated => "truncated",
            Self::BadUtf8 => "bad_utf8",
            Self::Stopped => "stopped",
        }
    }
}
