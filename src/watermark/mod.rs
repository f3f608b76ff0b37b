//! **Mark**: copies that tell where they came from.
//!
//! Two invisible channels: a *seal* at the end of each paragraph, and *white space* between words (a line feed for a
//! space). Three that a site has to ask for: *spellings*, an author's *alternatives*, and *tags*. [`Marker`] chooses for
//! one visitor; [`Tracer`] reads a copy and names the mark in it, with an exact chance of error. Nothing here knows HTTP.
//!
//! # Caveat
//! Marks do not survive translation, paraphrase or retyping. A trace shows that a text passed through a response, not
//! who republished it.
//!
//! ```
//! use deckle::secret::{Secret, Secrets};
//! use deckle::slot::Choose;
//! use deckle::watermark::{Channels, MarkSubject, Marker, SealForm, Settings, Tracer, Verdict};
//!
//! let secrets = Secrets::from(Secret::new(0, b"an example secret of 32 bytes or")?);
//! let marker = Marker::new(&secrets, &Settings::default());
//! let mark = marker.mark_for(&MarkSubject { visitor: b"203.0.113.7", unix_day: 20_600, request_id: b"", path: "/a" });
//! let channels = Channels { seal: true, ..Channels::default() };
//! let seal = marker.choices(mark, channels, SealForm::Characters).seal().unwrap();
//! let copy = format!("A paragraph of the article.{}", std::str::from_utf8(&seal).unwrap());
//!
//! let tracer = Tracer::new(&secrets);
//! assert_eq!(tracer.trace(&copy, &[mark].into()).verdict, Verdict::Traced);
//! assert_eq!(tracer.trace("A paragraph of the article.", &[mark].into()).verdict, Verdict::None);
//! # Ok::<(), deckle::secret::SecretError>(())
//! ```

pub mod code;
mod mark;
mod settings;
mod trace;

pub use code::{Keys, Mark, Row};
pub use mark::{Channels, Choices, Incoming, MarkSubject, Marker, SealForm};
pub use settings::{
    ChannelSettings, Consistency, Hydrated, Level, Scope, SealMarkup, Settings, TypographicSettings, Whitespace,
};
pub use trace::{
    BucketHit, Buckets, Candidates, Channel, ChannelReport, Evidence, Hit, Note, Observation, Overlap, Scoring,
    SealHit, Suspect, Trace, Tracer, Verdict, Working, bucket_tail,
};

pub use crate::slot::{Alternatives, Carriers, PlanNote, SEPARATOR, VariantNote};
