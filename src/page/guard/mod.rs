//! The copy guard: external scripts, named by their hashes, and the tag that loads one of them.
//!
//! In mode `attribute` a copy of more than `min_words` words carries its source; `quote` shortens it besides; `block` takes
//! copying away, for sites that insist. None of them stops a bot or a determined reader: a scraper takes the page before
//! any script runs.

mod language;
mod script;
mod settings;
mod tag;

use std::sync::Arc;

use super::csp::Target;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use language::LANGUAGES;
pub(crate) use language::candidates;
use script::{Kind, Script};
pub use settings::{BlockSettings, CreditPart, GuardMode, GuardSettings, GuardSkipSettings, Messages, Print, Toast};

/// All scripts, ready to be served, and what their tags say.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    settings: GuardSettings,
    license: String,
    /// `core` first.
    scripts: Vec<Script>,
    prefix: String,
    beacon: String,
}

impl Guard {
    pub(crate) fn new(settings: &GuardSettings, license: &str, mount: &str) -> Self {
        let license = if settings.license.is_empty() { license } else { &settings.license };
        let mut scripts = vec![Script::new(Kind::Core, "", "", mount)];
        for (language, block, quote) in messages(settings) {
            scripts.push(Script::new(Kind::Quote, &language, &quote, mount));
            scripts.push(Script::new(Kind::Block, &language, &block, mount));
        }
        let guard = Self {
            license: license.to_owned(),
            scripts,
            prefix: format!("{mount}/guard."),
            beacon: format!("{mount}/copied"),
            settings: settings.clone(),
        };
        guard.at(None)
    }

    /// The public origin of the site, if it is known: by it a policy can name a script by its address.
    pub(crate) fn at(mut self, origin: Option<&str>) -> Self {
        let base = self.settings.asset_base.as_deref().or(origin);
        let beacon: Option<Arc<str>> = origin.map(|origin| format!("{origin}{}", self.beacon).into());
        for script in &mut self.scripts {
            script.target = Target {
                url: base.map(|base| format!("{}{}", base.trim_end_matches('/'), script.path).into()),
                own: self.settings.asset_base.is_none(),
                hash: Arc::clone(&script.integrity),
                calls: self.settings.beacon,
                beacon: beacon.clone(),
            };
        }
        self
    }

    /// The script for a mode and a language; `None` in mode `off`.
    fn script(&self, mode: GuardMode, lang: Option<&str>) -> Option<&Script> {
        let kind = match mode {
            GuardMode::Off => return None,
            GuardMode::Attribute if !self.settings.beacon => return self.scripts.first(),
            GuardMode::Attribute | GuardMode::Quote => Kind::Quote,
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
    pub(crate) fn target(&self, mode: GuardMode, lang: Option<&str>) -> Option<Target> {
        Some(self.script(mode, lang)?.target.clone())
    }

    /// The tag of a page; `None` in mode `off`.
    pub(crate) fn tag(&self, mode: GuardMode, lang: Option<&str>, nonce: Option<&str>, beacon: bool) -> Option<Bytes> {
        let script = self.script(mode, lang)?;
        let beacon = if beacon && self.settings.beacon { self.beacon.as_str() } else { "" };
        let parts = tag::Parts { mode, script, license: &self.license, nonce: nonce.unwrap_or_default(), beacon };
        Some(Bytes::from(tag::tag(&self.settings, &parts)))
    }

    /// Stands for all scripts: it changes when one of them does.
    pub(crate) fn fingerprint(&self) -> impl Iterator<Item = &str> {
        self.scripts.iter().map(|s| &*s.integrity)
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
    fn a_script_has_an_address_in_full_where_the_origin_or_another_base_is_known() {
        let settings = GuardSettings::default();
        let target =
            |settings: &GuardSettings, origin| guard(settings).at(origin).target(GuardMode::Quote, Some("de")).unwrap();
        let plain = target(&settings, None);
        assert_eq!((plain.url, plain.own, plain.beacon), (None, true, None));
        let known = target(&settings, Some("https://news.example"));
        let url = known.url.unwrap();
        assert!(url.starts_with("https://news.example/.deckle/guard.") && url.ends_with(".js"), "{url}");
        assert_eq!((known.own, known.beacon.as_deref()), (true, Some("https://news.example/.deckle/copied")));
        let asset_base = Some("https://cdn.example/".to_owned());
        let apart = target(&GuardSettings { asset_base, ..settings }, Some("https://news.example"));
        assert_eq!((apart.url.as_deref(), apart.own), (Some(&*url.replace("news.", "cdn.")), false));
        assert_eq!([&plain.hash, &apart.hash], [&known.hash; 2]);
        assert!(guard(&GuardSettings::default()).target(GuardMode::Off, None).is_none());
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
        assert!(guard.tag(GuardMode::Off, None, None, true).is_none());
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
}
