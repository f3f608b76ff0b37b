//! The copy guard: external scripts, named by their hashes, and the tag that loads one of them.
//!
//! In mode `attribute` a copy of more than `min_words` words carries its source; `quote` shortens it besides; `block` takes
//! copying away, for sites that insist. None of them stops a bot or a determined reader: a scraper takes the page before
//! any script runs.

mod language;
mod script;
mod tag;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::csp::Target;
use super::replace::Replace;
use language::{LANGUAGES, candidates};
use script::{Kind, Script};

/// What the guard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

    fn letter(self) -> char {
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
    text.parse::<http::Uri>().is_ok_and(|uri| {
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

/// All scripts, ready to be served, and what their tags say.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    settings: GuardSettings,
    license: String,
    /// `core` first.
    scripts: Vec<Script>,
    prefix: String,
}

impl Guard {
    pub(crate) fn new(settings: &GuardSettings, license: &str, mount: &str) -> Self {
        let license = if settings.license.is_empty() { license } else { &settings.license };
        let mut scripts = vec![Script::new(Kind::Core, "", "", mount)];
        for (language, block, quote) in messages(settings) {
            scripts.push(Script::new(Kind::Quote, &language, &quote, mount));
            scripts.push(Script::new(Kind::Block, &language, &block, mount));
        }
        Self { license: license.to_owned(), scripts, prefix: format!("{mount}/guard."), settings: settings.clone() }
    }

    /// The script for a mode and a language; `None` in mode `off`.
    fn script(&self, mode: GuardMode, lang: Option<&str>) -> Option<&Script> {
        let kind = match mode {
            GuardMode::Off => return None,
            GuardMode::Attribute => return self.scripts.first(),
            GuardMode::Quote => Kind::Quote,
            GuardMode::Block => Kind::Block,
        };
        let of = |tag: &str| {
            let known =
                |name: &String| self.scripts.iter().find(|s| s.kind == kind && s.lang.eq_ignore_ascii_case(name));
            candidates(tag).iter().find_map(known)
        };
        lang.and_then(of).or_else(|| of(&self.settings.lang)).or_else(|| of("en"))
    }

    /// What a policy has to let run.
    pub(crate) fn target(&self, mode: GuardMode, lang: Option<&str>, origin: Option<&str>) -> Option<Target> {
        let script = self.script(mode, lang)?;
        let base = self.settings.asset_base.as_deref().or(origin);
        Some(Target {
            url: base.map(|base| format!("{}{}", base.trim_end_matches('/'), script.path)),
            own: self.settings.asset_base.is_none(),
            hash: script.integrity.clone(),
        })
    }

    /// The tag of a page; `None` in mode `off`.
    pub(crate) fn tag(&self, mode: GuardMode, lang: Option<&str>, nonce: Option<&str>) -> Option<Bytes> {
        let script = self.script(mode, lang)?;
        Some(Bytes::from(tag::tag(&self.settings, mode, script, &self.license, nonce)))
    }

    /// Stands for all scripts: it changes when one of them does.
    pub(crate) fn fingerprint(&self) -> impl Iterator<Item = &str> {
        self.scripts.iter().map(|s| s.integrity.as_str())
    }

    /// Answers requests for a script; `None`: not ours.
    pub(crate) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
        if !path.starts_with(&self.prefix) || !path.ends_with(".js") {
            return None;
        }
        Some(match self.scripts.iter().find(|s| s.path == path) {
            Some(script) => script.answer(method, headers),
            // Never the current script under an old name: the page's integrity would refuse it anyway.
            None => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NOT_FOUND;
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
        })
    }
}

/// deckle's own messages with the site's in their place or beside them.
fn messages(settings: &GuardSettings) -> Vec<(String, String, String)> {
    let own = |tag: &str| {
        let find = |name: &String| LANGUAGES.iter().find(|(lang, ..)| lang.eq_ignore_ascii_case(name));
        candidates(tag).iter().find_map(find).copied().or(LANGUAGES.first().copied()).unwrap_or_default()
    };
    let mut all: Vec<(String, String, String)> = LANGUAGES
        .iter()
        .filter(|(lang, ..)| !settings.messages.keys().any(|k| k.eq_ignore_ascii_case(lang)))
        .map(|(lang, block, quote)| ((*lang).to_owned(), (*block).to_owned(), (*quote).to_owned()))
        .collect();
    for (lang, messages) in &settings.messages {
        let (_, block, quote) = own(lang);
        let text = |set: &Option<String>, own: &str| set.clone().unwrap_or_else(|| own.to_owned());
        all.push((lang.clone(), text(&messages.block, block), text(&messages.quote, quote)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(settings: &GuardSettings) -> Guard {
        Guard::new(settings, "CC BY 4.0", "/.deckle")
    }

    #[test]
    fn the_script_is_served_by_its_hash_only() {
        let guard = guard(&GuardSettings::default());
        let path = guard.scripts[0].path.clone();
        let mut headers = HeaderMap::new();
        let get = |path: &str, headers: &HeaderMap| guard.answer(&Method::GET, path, headers);
        let response = get(&path, &headers).unwrap();
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        let etag = response.headers()[header::ETAG].clone();
        headers.insert(header::ACCEPT_ENCODING, "gzip, br;q=0.5".parse().unwrap());
        assert_eq!(get(&path, &headers).unwrap().headers()[header::CONTENT_ENCODING], "br");
        headers.insert(header::IF_NONE_MATCH, etag);
        assert_eq!(get(&path, &headers).unwrap().status(), 304);
        assert_eq!(get("/.deckle/guard.0000000000000000.js", &headers).unwrap().status(), 404);
        assert_eq!(guard.answer(&Method::POST, &path, &headers).unwrap().status(), 405);
        assert!(get("/guard.js", &headers).is_none());
    }

    #[test]
    fn every_language_of_every_mode_has_a_script_of_its_own() {
        let guard = guard(&GuardSettings::default());
        let paths: std::collections::BTreeSet<&str> = guard.scripts.iter().map(|s| s.path.as_str()).collect();
        assert_eq!(paths.len(), 1 + 2 * LANGUAGES.len());
        let lang = |mode, tag: &str| guard.script(mode, Some(tag)).unwrap().lang.as_str();
        for (tag, expected) in [
            ("de-CH", "de"),
            ("pt-BR", "pt-BR"),
            ("pt-AO", "pt"),
            ("zh-TW", "zh-Hant"),
            ("xx-!!", "en"),
            ("", "en"),
            ("nn", "nb"),
        ] {
            assert_eq!(lang(GuardMode::Quote, tag), expected, "{tag}");
            assert_eq!(lang(GuardMode::Block, tag), expected, "{tag}");
        }
        assert_eq!(lang(GuardMode::Attribute, "de"), "");
        assert!(guard.tag(GuardMode::Off, None, None).is_none());
    }

    #[test]
    fn messages_of_the_site_take_the_place_of_ours() {
        let mine = Messages { block: Some("Nope.".into()), quote: None };
        let settings = GuardSettings {
            messages: [("de".to_owned(), mine.clone()), ("gsw".to_owned(), mine)].into(),
            lang: "gsw".to_owned(),
            ..GuardSettings::default()
        };
        let all = messages(&settings);
        let of = |lang: &str| all.iter().filter(|(l, ..)| l == lang).collect::<Vec<_>>();
        assert_eq!(of("de").len(), 1);
        assert_eq!(of("de")[0].1, "Nope.");
        assert!(of("de")[0].2.starts_with("Ein kurzer Auszug"), "what is left out is ours");
        assert!(of("gsw")[0].2.starts_with("A short excerpt"));
        assert_eq!(guard(&settings).script(GuardMode::Block, Some("xx")).unwrap().lang, "gsw");
    }

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
