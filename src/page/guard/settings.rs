//! Section `[page.guard]` of the configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::replace::Replace;

/// What the guard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GuardMode {
    /// Nothing is inserted.
    Off,
    /// Long copies carry their source.
    Attribute,
    /// Long copies are cut to `quote_words` words and carry their source.
    Quote,
    /// Copying, the context menu on text and text selection are switched off.
    Block,
}

impl GuardMode {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Attribute => "attribute",
            Self::Quote => "quote",
            Self::Block => "block",
        }
    }

    pub(crate) fn from_code(code: &str) -> Option<Self> {
        [Self::Off, Self::Attribute, Self::Quote, Self::Block].into_iter().find(|mode| mode.code() == code)
    }
}

/// Section `[page.guard]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardSettings {
    /// `off`, `attribute`, `quote` or `block`.
    pub mode: GuardMode,
    /// Copies of more words than this carry their source; 1–1000.
    pub min_words: u32,
    /// Words that mode `quote` leaves; 10–500, at least `min_words`.
    pub quote_words: u32,
    /// Longer selections are left to the browser; 1,000–5,000,000 characters.
    pub max_chars: u32,
    /// Drags are treated as copies are.
    pub drag: bool,
    /// A selector of elements that are left alone, beside `[data-deckle="off"]`; at most 300 bytes.
    pub except: String,
    /// Name in the credit; empty: `og:site_name` of the page.
    pub site_name: String,
    /// Licence in the credit; empty: `rights.license.name`.
    pub license: String,
    /// What the credit holds, in order; `url` may not be left out.
    pub credit: Vec<CreditPart>,
    /// Whether a message tells that a copy was shortened or refused.
    pub toast: Toast,
    /// How long it stays; 2,000–20,000 ms.
    pub toast_ms: u32,
    /// Messages by language (BCP 47), instead of deckle's own or beside them.
    pub messages: BTreeMap<String, Messages>,
    /// Language of the messages where that of the page is not known.
    pub lang: String,
    /// Another host that serves the scripts; an absolute address. Unset: the site itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_base: Option<String>,
    /// Readers' browsers tell that something was copied, how long it was in four steps and from which page; never what.
    pub beacon: bool,
    /// Older plugins whose output goes: `wp-buy`, `ays`, `aios`.
    pub replace: Vec<Replace>,
    /// Mode `block`.
    pub block: BlockSettings,
    /// Pages without guard.
    pub skip: GuardSkipSettings,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            mode: GuardMode::Attribute,
            min_words: 30,
            quote_words: 60,
            max_chars: 200_000,
            drag: true,
            except: String::new(),
            site_name: String::new(),
            license: String::new(),
            credit: CreditPart::ALL.to_vec(),
            toast: Toast::Auto,
            toast_ms: 6_000,
            messages: BTreeMap::new(),
            lang: "en".to_owned(),
            asset_base: None,
            beacon: false,
            replace: Vec::new(),
            block: BlockSettings::default(),
            skip: GuardSkipSettings::default(),
        }
    }
}

/// When a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Toast {
    /// When a copy was shortened or refused.
    Auto,
    /// Never.
    Never,
}

/// Messages of one language; at most 160 bytes each. What is left out is deckle's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Messages {
    /// Copying is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    /// A copy was shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
}

/// Section `[page.guard.block]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlockSettings {
    /// Whether the page can be printed.
    pub print: Print,
    /// No context menu on plain text. Links, fields, Shift and the keyboard always have theirs.
    pub menu: bool,
    /// The same for pictures, which cannot be dragged either.
    pub images: bool,
    /// Keys that do nothing together with Ctrl or ⌘: a subset of `a` and `s`.
    pub keys: Vec<String>,
}

impl Default for BlockSettings {
    fn default() -> Self {
        Self { print: Print::Show, menu: true, images: false, keys: Vec::new() }
    }
}

/// What a printer gets in mode `block`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Print {
    /// The page.
    Show,
    /// Nothing.
    Hide,
}

/// Section `[page.guard.skip]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardSkipSettings {
    /// Globs of paths.
    pub paths: Vec<String>,
    /// Selectors; a page whose `html` element matches one has no guard.
    pub selectors: Vec<String>,
    /// A response field by which the site names the mode of one page; it goes no further.
    pub header: String,
}

impl Default for GuardSkipSettings {
    fn default() -> Self {
        Self { paths: Vec::new(), selectors: Vec::new(), header: "x-deckle-guard".to_owned() }
    }
}

/// One part of the credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CreditPart {
    /// Title of the page.
    Title,
    /// Its author.
    Author,
    /// Name of the site.
    Site,
    /// Address of the page.
    Url,
    /// The licence.
    License,
}

impl CreditPart {
    const ALL: [Self; 5] = [Self::Title, Self::Author, Self::Site, Self::Url, Self::License];

    pub(super) fn letter(self) -> char {
        match self {
            Self::Title => 't',
            Self::Author => 'a',
            Self::Site => 's',
            Self::Url => 'u',
            Self::License => 'l',
        }
    }
}

impl GuardSettings {
    /// The name of the first key that does not hold, with what is wrong.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let range = |key, value: u32, range: std::ops::RangeInclusive<u32>| {
            if range.contains(&value) {
                Ok(())
            } else {
                Err((key, format!("{value} is not in {}..={}", range.start(), range.end())))
            }
        };
        range("page.guard.min_words", self.min_words, 1..=1_000)?;
        range("page.guard.quote_words", self.quote_words, 10..=500)?;
        range("page.guard.max_chars", self.max_chars, 1_000..=5_000_000)?;
        range("page.guard.toast_ms", self.toast_ms, 2_000..=20_000)?;
        if self.quote_words < self.min_words && self.mode == GuardMode::Quote {
            let message = format!("{} is less than `page.guard.min_words`, {}", self.quote_words, self.min_words);
            return Err(("page.guard.quote_words", message));
        }
        if !self.credit.contains(&CreditPart::Url) {
            return Err(("page.guard.credit", "`url` may not be left out".to_owned()));
        }
        if self.except.len() > 300 || (!self.except.is_empty() && !is_selector(&self.except)) {
            return Err(("page.guard.except", format!("`{}` is no selector of at most 300 bytes", self.except)));
        }
        if self.license.len() > 200 {
            return Err(("page.guard.license", "more than 200 bytes".to_owned()));
        }
        self.check_messages()?;
        if let Some(base) = self.asset_base.as_ref().filter(|base| !is_base(base)) {
            return Err(("page.guard.asset_base", format!("`{base}` is no absolute http or https address")));
        }
        if let Some(key) = self.block.keys.iter().find(|key| !matches!(key.as_str(), "a" | "s")) {
            return Err(("page.guard.block.keys", why_not(key)));
        }
        if let Some(selector) = self.skip.selectors.iter().find(|s| !is_selector(s)) {
            return Err(("page.guard.skip.selectors", format!("`{selector}` is no selector")));
        }
        if self.skip.header.parse::<http::HeaderName>().is_err() {
            return Err(("page.guard.skip.header", format!("`{}` is no name of a field", self.skip.header)));
        }
        Ok(())
    }

    fn check_messages(&self) -> Result<(), (&'static str, String)> {
        const KEY: &str = "page.guard.messages";
        for (language, messages) in &self.messages {
            let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            if language.is_empty() || language.len() > 35 || !language.bytes().all(valid) {
                return Err((KEY, format!("`{language}` is no language tag")));
            }
            for text in [&messages.block, &messages.quote].into_iter().flatten() {
                if text.is_empty() || text.len() > 160 || text.chars().any(char::is_control) {
                    return Err((KEY, format!("the text for `{language}` must have 1 to 160 bytes and no controls")));
                }
            }
        }
        Ok(())
    }
}

fn is_selector(text: &str) -> bool {
    text.parse::<lol_html::Selector>().is_ok()
}

fn is_base(text: &str) -> bool {
    // It goes into a Content-Security-Policy, where these would end it.
    let harmless = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b';' | b',' | b'#' | b'"' | b'\''));
    harmless
        && text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some() && uri.query().is_none()
        })
}

fn why_not(key: &str) -> String {
    let why = match key {
        "c" | "x" => "copying is handled where it happens, whatever the key",
        "f" | "p" | "u" | "i" | "j" => {
            "it takes search, print or the browser's own tools from readers and stops nobody"
        }
        _ => "only `a` and `s` can be switched off",
    };
    format!("`{key}`: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_name_their_key() {
        let key = |s: GuardSettings| s.check().unwrap_err().0;
        let base = GuardSettings::default;
        let message = |text: &str| [("en".to_owned(), Messages { block: Some(text.into()), quote: None })].into();
        let keys = |key: &str| BlockSettings { keys: vec![key.into()], ..BlockSettings::default() };
        let skip = GuardSkipSettings::default;
        #[rustfmt::skip]
        let table = [
            (GuardSettings { min_words: 0, ..base() }, "page.guard.min_words"),
            (GuardSettings { quote_words: 9, ..base() }, "page.guard.quote_words"),
            (GuardSettings { mode: GuardMode::Quote, min_words: 100, ..base() }, "page.guard.quote_words"),
            (GuardSettings { max_chars: 1, ..base() }, "page.guard.max_chars"),
            (GuardSettings { toast_ms: 1, ..base() }, "page.guard.toast_ms"),
            (GuardSettings { credit: vec![CreditPart::Title], ..base() }, "page.guard.credit"),
            (GuardSettings { except: "a[".into(), ..base() }, "page.guard.except"),
            (GuardSettings { messages: message("a\nb"), ..base() }, "page.guard.messages"),
            (GuardSettings { messages: message(&"x".repeat(161)), ..base() }, "page.guard.messages"),
            (GuardSettings { asset_base: Some("cdn.example".into()), ..base() }, "page.guard.asset_base"),
            (GuardSettings { asset_base: Some("https://cdn.example/a;b".into()), ..base() }, "page.guard.asset_base"),
            (GuardSettings { asset_base: Some("https://cdn.example/a,b".into()), ..base() }, "page.guard.asset_base"),
            (GuardSettings { block: keys("c"), ..base() }, "page.guard.block.keys"),
            (GuardSettings { skip: GuardSkipSettings { selectors: vec!["a[".into()], ..skip() }, ..base() }, "page.guard.skip.selectors"),
            (GuardSettings { skip: GuardSkipSettings { header: "a b".into(), ..skip() }, ..base() }, "page.guard.skip.header"),
        ];
        for (settings, expected) in table {
            assert_eq!(key(settings), expected);
        }
        assert!(base().check().is_ok());
        let error = toml::from_str::<GuardSettings>("mode = \"maze\"").unwrap_err().to_string();
        assert!(["off", "attribute", "quote", "block"].iter().all(|mode| error.contains(mode)), "{error}");
    }
}
