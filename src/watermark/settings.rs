//! Section `[watermark]` of the configuration.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::unit::Size;

/// Forms of a page that different visitors may get.
const BUCKETS: std::ops::RangeInclusive<u32> = 2..=65_536;
/// Letters of the kinds of [`TypographicSettings::kinds`].
const KINDS: &str = "aqed";

/// How much a page may be marked. Each level holds those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Level {
    /// Not at all.
    Off,
    /// Seals and white space: same pixels, same accessible text, same find, same clipboard.
    InvisibleSafe,
    /// Apostrophes, quotes, ellipses and dashes as well: a proof-reader sees them.
    Typographic,
    /// And the alternatives that authors have written.
    Variants,
}

impl Level {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::InvisibleSafe => "invisible-safe",
            Self::Typographic => "typographic",
            Self::Variants => "variants",
        }
    }
}

/// Who gets a mark of their own. Written `visit`, `response` or `bucket(64)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// A visitor on a day (UTC).
    #[default]
    Visit,
    /// Each response.
    Response,
    /// One of so many groups of visitors, others for each page.
    Bucket(u32),
}

impl Scope {
    /// The stable spelling, without the number.
    pub fn code(self) -> &'static str {
        match self {
            Self::Visit => "visit",
            Self::Response => "response",
            Self::Bucket(_) => "bucket",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(n) => write!(f, "{}({n})", self.code()),
            Self::Visit | Self::Response => f.write_str(self.code()),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.strip_prefix("bucket(")?.strip_suffix(')')?.parse::<u32>().ok();
        match text {
            "visit" => Ok(Self::Visit),
            "response" => Ok(Self::Response),
            _ => number()
                .filter(|n| BUCKETS.contains(n))
                .map(Self::Bucket)
                .ok_or_else(|| format!("`{text}` is not visit, response, or bucket(2) to bucket(65536)")),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
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

/// The element around a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SealMarkup {
    /// `<span inert="">`.
    #[default]
    #[serde(rename = "inert")]
    Inert,
    /// Hidden from browsers without `inert`, too (`aria-hidden="TRUE"`).
    #[serde(rename = "inert+aria")]
    InertAria,
}

/// What spellings go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Each place has a bit of its own.
    #[default]
    Slot,
    /// All places of a paragraph have that of the first one.
    Block,
}

/// Pages of frameworks that compare the server's text with their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hydrated {
    /// They carry no marks.
    #[default]
    Skip,
    /// They do: the text of the article is not compared.
    Mark,
}

/// Section `[watermark]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Unset: `invisible-safe` with a secret, else `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Who gets a mark of their own.
    pub scope: Scope,
    /// The channels of the level.
    pub channels: ChannelSettings,
    /// Addresses of style sheets on other hosts that pages use.
    pub stylesheets: Vec<String>,
    /// `deckle proxy` fetches them when it starts.
    pub fetch_stylesheets: bool,
    /// The element around a seal.
    pub seal_markup: SealMarkup,
    /// Characters that are spelled in two ways.
    pub typographic: TypographicSettings,
    /// The mark in links, images and an attribute.
    pub markup: bool,
    /// Authored sentences, of which each copy holds one of several texts; not built yet.
    pub canary: bool,
    /// Selectors of what is the article; empty: `article`, `main`, `[role=main]`, `[itemprop=articleBody]`.
    pub roots: Vec<String>,
    /// Selectors of what keeps its white space; style sheets add to it.
    pub preserve: Vec<String>,
    /// Selectors of what is not marked, besides code, forms and what is hidden.
    pub skip: Vec<String>,
    /// Pages of frameworks that compare the server's text with their own.
    pub hydrated: Hydrated,
    /// Globs of paths that are marked; with `!` before them, that are not. Empty: all.
    pub paths: Vec<String>,
    /// Nothing is marked behind this offset of a page.
    pub max_page: Size,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: None,
            scope: Scope::Visit,
            channels: ChannelSettings::default(),
            stylesheets: Vec::new(),
            fetch_stylesheets: false,
            seal_markup: SealMarkup::Inert,
            typographic: TypographicSettings::default(),
            markup: false,
            canary: false,
            roots: Vec::new(),
            preserve: Vec::new(),
            skip: Vec::new(),
            hydrated: Hydrated::Skip,
            paths: Vec::new(),
            max_page: Size(4 << 20),
        }
    }
}

/// Section `[watermark.channels]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelSettings {
    /// Seals at the end of paragraphs.
    pub seal: bool,
    /// White space between words.
    pub whitespace: Whitespace,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self { seal: true, whitespace: Whitespace::Auto }
    }
}

/// Section `[watermark.typographic]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TypographicSettings {
    /// Of `a` (apostrophes), `q` (double quotes), `e` (ellipses), `d` (dashes). Unset: those of which both spellings
    /// are usual in the language of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<char>>,
    /// Whether each place has a bit of its own.
    pub consistency: Consistency,
}

impl Settings {
    /// Looks at all but selectors and globs, which the stage of pages knows.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if let Scope::Bucket(n) = self.scope
            && !BUCKETS.contains(&n)
        {
            let message = format!("`{}` is not bucket(2) to bucket(65536)", self.scope);
            return Err(("watermark.scope", message));
        }
        if let Some(kind) = self.typographic.kinds.iter().flatten().find(|kind| !KINDS.contains(**kind)) {
            return Err(("watermark.typographic.kinds", format!("`{kind}` is none of a, q, e, d")));
        }
        if self.canary {
            return Err(("watermark.canary", "authored sentences of several texts are not built yet".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words_and_a_number_in_bounds() {
        for text in ["visit", "response", "bucket(2)", "bucket(64)", "bucket(65536)"] {
            let scope: Scope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text);
            assert_eq!(serde_json::to_string(&scope).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Scope>(&format!("\"{text}\"")).unwrap(), scope);
        }
        for text in ["", "Visit", "bucket", "bucket()", "bucket(1)", "bucket(65537)", "bucket(64", "bucket(-2)"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        let error = serde_json::from_str::<Scope>("\"bucket(1)\"").unwrap_err().to_string();
        assert!(error.contains("bucket(2) to bucket(65536)"), "{error}");
    }

    #[test]
    fn what_does_not_hold_is_named_by_its_key() {
        let of = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().map_err(|(key, message)| format!("{key}: {message}"))
        };
        assert_eq!(of(|_| {}), Ok(()));
        assert_eq!(of(|s| s.typographic.kinds = Some(vec!['a', 'd'])), Ok(()));
        let table: [(&str, fn(&mut Settings)); 3] = [
            ("watermark.scope: `bucket(1)`", |s| s.scope = Scope::Bucket(1)),
            ("watermark.typographic.kinds: `x`", |s| s.typographic.kinds = Some(vec!['a', 'x'])),
            ("watermark.canary: ", |s| s.canary = true),
        ];
        for (error, change) in table {
            let got = of(change).unwrap_err();
            assert!(got.starts_with(error), "{got}");
        }
    }

    #[test]
    fn levels_hold_those_before_them() {
        assert!(Level::Off < Level::InvisibleSafe && Level::InvisibleSafe < Level::Typographic);
        assert!(Level::Typographic < Level::Variants);
        for level in [Level::Off, Level::InvisibleSafe, Level::Typographic, Level::Variants] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.code());
        }
    }
}
