//! **Mark**: copies that tell where they came from.
//!
//! Two invisible channels: a *seal* at the end of each paragraph, and *white space* between words (a line feed for a
//! space). [`Marker`] chooses for one visitor; [`Tracer`] reads a copy and names the mark in it, with an exact chance of
//! error. Nothing here knows HTTP.
//!
//! # Caveat
//! Marks do not survive translation, paraphrase or retyping. A trace shows that a text passed through a response, not
//! who republished it.
//!
//! ```
//! use deckle::secret::{Secret, Secrets};
//! use deckle::slot::Choose;
//! use deckle::watermark::{Marker, SealForm, Tracer, Verdict};
//!
//! let secrets = Secrets::from(Secret::new(0, b"an example secret of 32 bytes or")?);
//! let marker = Marker::new(&secrets);
//! let mark = marker.mark_for(b"203.0.113.7", 20_600);
//! let seal = marker.choices(mark, false, SealForm::Characters).seal().unwrap();
//! let copy = format!("A paragraph of the article.{}", std::str::from_utf8(&seal).unwrap());
//!
//! let tracer = Tracer::new(&secrets);
//! assert_eq!(tracer.trace(&copy, &[mark].into()).verdict, Verdict::Traced);
//! assert_eq!(tracer.trace("A paragraph of the article.", &[mark].into()).verdict, Verdict::None);
//! # Ok::<(), deckle::secret::SecretError>(())
//! ```

pub mod code;
mod mark;
mod observe;
mod tail;
mod trace;

use serde::{Deserialize, Serialize};

pub use code::{Keys, Mark, Row};
pub use mark::{Choices, Marker, SealForm};
pub use observe::{Copy, Observation, SealHit};
pub use trace::{Evidence, Hit, Trace, Tracer, Verdict};

/// How much a page may be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Level {
    /// Not at all.
    Off,
    /// Seals and white space: same pixels, same accessible text, same find, same clipboard.
    InvisibleSafe,
}

impl Level {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::InvisibleSafe => "invisible-safe",
        }
    }
}

/// When white space is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whitespace {
    /// Only where it is known that the style sheets collapse white space.
    #[default]
    Auto,
    /// Always: the operator has looked at the style sheets.
    Always,
    /// Never.
    Off,
}

/// Section `[watermark]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Unset: `invisible-safe` with a secret, else `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The channels of the level.
    pub channels: ChannelSettings,
}

/// Section `[watermark.channels]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelSettings {
    /// White space between words.
    pub whitespace: Whitespace,
}
