//! The copy guard: one external script, named by its hash, and the tag that loads it.
//!
//! The script appends the source to a copy of more than `min_words` words. It stops no bot and no determined reader, and
//! is not meant to: a scraper takes the page before any script runs.

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::encoding::{Coding, Encoder};
use super::markup::{ascii_attribute, push_attribute};

/// Longest tag: with it a charset `meta` behind it stays within the first 1,024 bytes.
const MAX_TAG: usize = 900;
const SCRIPT: &[u8] = include_bytes!("../../assets/guard.core.min.js");

/// What the guard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GuardMode {
    /// Nothing is inserted.
    Off,
    /// Long copies carry their source.
    Attribute,
}

/// Section `[page.guard]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardSettings {
    /// `off` or `attribute`.
    pub mode: GuardMode,
    /// Copies of more words than this carry their source; 1–1000.
    pub min_words: u32,
    /// Longer selections are left to the browser; 1,000–5,000,000 characters.
    pub max_chars: u32,
    /// Drags carry their source, too.
    pub drag: bool,
    /// A selector of elements that are left alone, beside `[data-deckle="off"]`; at most 300 bytes.
    pub except: String,
    /// Name in the credit; empty: `og:site_name` of the page.
    pub site_name: String,
    /// Licence in the credit; empty: `rights.license.name`.
    pub license: String,
    /// What the credit holds, in order; `url` may not be left out.
    pub credit: Vec<CreditPart>,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            mode: GuardMode::Attribute,
            min_words: 30,
            max_chars: 200_000,
            drag: true,
            except: String::new(),
            site_name: String::new(),
            license: String::new(),
            credit: CreditPart::ALL.to_vec(),
        }
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
        range("page.guard.max_chars", self.max_chars, 1_000..=5_000_000)?;
        if !self.credit.contains(&CreditPart::Url) {
            return Err(("page.guard.credit", "`url` may not be left out".to_owned()));
        }
        if self.except.len() > 300 || (!self.except.is_empty() && self.except.parse::<lol_html::Selector>().is_err()) {
            return Err(("page.guard.except", format!("`{}` is no selector of at most 300 bytes", self.except)));
        }
        if self.license.len() > 200 {
            return Err(("page.guard.license", "more than 200 bytes".to_owned()));
        }
        Ok(())
    }
}

/// The script, ready to be served, and its tag.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    path: String,
    etag: HeaderValue,
    plain: Bytes,
    gzip: Bytes,
    br: Bytes,
    /// Absent in mode `off`.
    tag: Option<Bytes>,
    prefix: String,
}

impl Guard {
    pub(crate) fn new(settings: &GuardSettings, license: &str, mount: &str) -> Self {
        let digest = Sha256::digest(SCRIPT);
        let hex = HEXLOWER.encode(digest.get(..8).unwrap_or_default());
        let path = format!("{mount}/guard.{hex}.js");
        let tag = (settings.mode != GuardMode::Off).then(|| {
            let integrity = format!("sha256-{}", BASE64.encode(&digest));
            Bytes::from(tag(settings, license, &path, &integrity))
        });
        let etag = HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"guard\""));
        Self {
            etag,
            plain: Bytes::from_static(SCRIPT),
            gzip: compressed(Coding::Gzip),
            br: compressed(Coding::Br),
            tag,
            prefix: format!("{mount}/guard."),
            path,
        }
    }

    /// The tag for a page, if one goes out.
    pub(crate) fn tag(&self) -> Option<&Bytes> {
        self.tag.as_ref()
    }

    /// Answers requests for the script; `None`: not ours.
    pub(crate) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
        if !path.starts_with(&self.prefix) || !path.ends_with(".js") {
            return None;
        }
        let mut response = Response::new(Full::default());
        if path != self.path {
            // Never the current script under an old name: the page's integrity would refuse it anyway.
            *response.status_mut() = StatusCode::NOT_FOUND;
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return Some(response);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        self.serve(method, headers, &mut response);
        Some(response)
    }

    fn serve(&self, method: &Method, request: &HeaderMap, response: &mut Response<Full<Bytes>>) {
        let (coding, body) = self.negotiate(request);
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::VARY, "accept-encoding"),
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        headers.insert(header::ETAG, self.etag.clone());
        let known = request.get(header::IF_NONE_MATCH).is_some_and(|v| {
            v.to_str().is_ok_and(|list| {
                list == "*" || list.split(',').any(|t| t.trim().trim_start_matches("W/") == self.etag)
            })
        });
        if known {
            headers.remove(header::CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return;
        }
        if coding != Coding::Identity {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.code()));
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if *method == Method::GET {
            *response.body_mut() = Full::new(body);
        }
    }

    fn negotiate(&self, request: &HeaderMap) -> (Coding, Bytes) {
        let accepted = request.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let takes = |token: &str| {
            accepted.split(',').any(|item| {
                let (name, weight) = item.split_once(';').unwrap_or((item, ""));
                name.trim().eq_ignore_ascii_case(token)
                    && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
            })
        };
        if takes("br") {
            (Coding::Br, self.br.clone())
        } else if takes("gzip") {
            (Coding::Gzip, self.gzip.clone())
        } else {
            (Coding::Identity, self.plain.clone())
        }
    }
}

fn compressed(coding: Coding) -> Bytes {
    let mut out = Vec::new();
    let done =
        Encoder::new(coding).is_some_and(|mut e| e.push(SCRIPT, &mut out).and_then(|()| e.finish(&mut out)).is_ok());
    if done { Bytes::from(out) } else { Bytes::from_static(SCRIPT) }
}

/// The order of the attributes is fixed; optional ones are left out, not empty.
fn tag(settings: &GuardSettings, license: &str, path: &str, integrity: &str) -> String {
    let license = if settings.license.is_empty() { license } else { &settings.license };
    let full = render(settings, path, integrity, &settings.site_name, license);
    if full.len() <= MAX_TAG {
        return full;
    }
    let shorter = render(settings, path, integrity, &settings.site_name, "");
    if shorter.len() <= MAX_TAG { shorter } else { render(settings, path, integrity, "", "") }
}

fn render(settings: &GuardSettings, path: &str, integrity: &str, site: &str, license: &str) -> String {
    let mut tag = format!(
        "<script src=\"{}\" integrity=\"{integrity}\" crossorigin=\"anonymous\" defer data-deckle=\"guard\" data-mode=\"attribute\"",
        ascii_attribute(path)
    );
    let number = |value: u32, default: u32| if value == default { String::new() } else { value.to_string() };
    let credit: String = settings.credit.iter().map(|c| c.letter()).collect();
    push_attribute(&mut tag, "data-min", &number(settings.min_words, 30));
    push_attribute(&mut tag, "data-cap", &number(settings.max_chars, 200_000));
    push_attribute(&mut tag, "data-site", site);
    push_attribute(&mut tag, "data-license", license);
    push_attribute(&mut tag, "data-credit", if credit == "tasul" { "" } else { &credit });
    push_attribute(&mut tag, "data-except", &settings.except);
    push_attribute(&mut tag, "data-drag", if settings.drag { "" } else { "0" });
    tag.push_str("></script>");
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(settings: &GuardSettings) -> Guard {
        Guard::new(settings, "CC BY 4.0", "/.deckle")
    }

    #[test]
    fn the_tag_is_ascii_escaped_and_named_by_its_hash() {
        let settings = GuardSettings { site_name: "Die \"Zeitung\" & <Söhne>".into(), ..GuardSettings::default() };
        let guard = guard(&settings);
        let tag = std::str::from_utf8(guard.tag().unwrap()).unwrap();
        assert!(tag.is_ascii());
        assert!(tag.starts_with("<script src=\"/.deckle/guard."), "{tag}");
        assert!(
            tag.contains(" crossorigin=\"anonymous\" defer data-deckle=\"guard\" data-mode=\"attribute\" data-site="),
            "{tag}"
        );
        assert!(
            tag.contains("data-site=\"Die &quot;Zeitung&quot; &amp; &lt;S&#246;hne&gt;\" data-license=\"CC BY 4.0\""),
            "{tag}"
        );
        assert!(!tag.contains("data-min") && !tag.contains("data-drag"), "{tag}");
        let digest = BASE64.encode(&Sha256::digest(SCRIPT));
        assert!(tag.contains(&format!("integrity=\"sha256-{digest}\"")));
    }

    #[test]
    fn a_long_tag_drops_the_licence_then_the_site() {
        let settings =
            GuardSettings { site_name: "ü".repeat(80), license: "ß".repeat(90), ..GuardSettings::default() };
        let tag = guard(&settings).tag.unwrap();
        assert!(tag.len() <= MAX_TAG);
        assert!(!tag.windows(12).any(|w| w == b"data-license"));
        let settings = GuardSettings { site_name: "ü".repeat(300), ..GuardSettings::default() };
        assert!(guard(&settings).tag.unwrap().len() <= MAX_TAG);
    }

    #[test]
    fn the_script_is_served_by_its_hash_only() {
        let guard = guard(&GuardSettings::default());
        let mut headers = HeaderMap::new();
        let get = |path: &str, headers: &HeaderMap| guard.answer(&Method::GET, path, headers);
        let response = get(&guard.path, &headers).unwrap();
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        headers.insert(header::ACCEPT_ENCODING, "gzip, br;q=0.5".parse().unwrap());
        assert_eq!(get(&guard.path, &headers).unwrap().headers()[header::CONTENT_ENCODING], "br");
        headers.insert(header::IF_NONE_MATCH, guard.etag.clone());
        assert_eq!(get(&guard.path, &headers).unwrap().status(), 304);
        assert_eq!(get("/.deckle/guard.0000000000000000.js", &headers).unwrap().status(), 404);
        assert_eq!(guard.answer(&Method::POST, &guard.path, &headers).unwrap().status(), 405);
        assert!(get("/guard.js", &headers).is_none());
        assert!(guard.br.len() < guard.plain.len() && guard.gzip.len() < guard.plain.len());
    }

    #[test]
    fn bad_settings_name_their_key() {
        let key = |s: GuardSettings| s.check().unwrap_err().0;
        let base = GuardSettings::default;
        assert_eq!(key(GuardSettings { min_words: 0, ..base() }), "page.guard.min_words");
        assert_eq!(key(GuardSettings { max_chars: 1, ..base() }), "page.guard.max_chars");
        assert_eq!(key(GuardSettings { credit: vec![CreditPart::Title], ..base() }), "page.guard.credit");
        assert_eq!(key(GuardSettings { except: "a[".into(), ..base() }), "page.guard.except");
        assert!(base().check().is_ok());
        assert!(toml::from_str::<GuardSettings>("mode = \"maze\"").unwrap_err().to_string().contains("attribute"));
    }
}
