//! The headers of clients: one file of `headers/` for each program.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use serde::Deserialize;

use crate::profile::{files, read};
use crate::site::{HOST, ORIGIN};

/// All programs, by the names of their files.
pub(crate) type HeaderSets = BTreeMap<String, HeaderSet>;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Page,
    Style,
    Script,
    Image,
}

/// What one program sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderSet {
    /// It sends `Sec-Fetch-*`, whose values depend on the request.
    #[serde(default)]
    fetch_metadata: bool,
    /// `Sec-Fetch-User`, too.
    #[serde(default)]
    fetch_user: bool,
    #[serde(default)]
    http10: bool,
    /// `Accept-Language`, one a client.
    #[serde(default)]
    languages: Vec<String>,
    /// Versions and systems, one a client.
    variant: Vec<BTreeMap<String, String>>,
    #[serde(default)]
    page: BTreeMap<String, String>,
    #[serde(default)]
    style: BTreeMap<String, String>,
    #[serde(default)]
    script: BTreeMap<String, String>,
    #[serde(default)]
    image: BTreeMap<String, String>,
}

/// What one client sends.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) version: Version,
    fetch_metadata: bool,
    fetch_user: bool,
    by_kind: BTreeMap<Kind, HeaderMap>,
}

/// Reads the folder.
pub(crate) fn load(dir: &Path) -> Result<HeaderSets> {
    let mut sets = HeaderSets::new();
    for file in files(dir)? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        sets.insert(name, read(&file)?);
    }
    Ok(sets)
}

impl HeaderSet {
    /// A client like this; the first of all where they are `equal`.
    pub(crate) fn identity(&self, extra: &BTreeMap<String, String>, equal: bool, rng: &mut Rng) -> Result<Identity> {
        let mut pick = |count: usize| if equal || count == 0 { 0 } else { rng.usize(0..count) };
        let variant = self.variant.get(pick(self.variant.len())).cloned().unwrap_or_default();
        let language = self.languages.get(pick(self.languages.len()));
        let mut by_kind = BTreeMap::new();
        for (kind, own) in [
            (Kind::Page, &self.page),
            (Kind::Style, &self.style),
            (Kind::Script, &self.script),
            (Kind::Image, &self.image),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(HOST));
            let more = (kind == Kind::Page).then_some(extra).into_iter().flatten();
            for (name, value) in variant.iter().chain(own).chain(more) {
                insert(&mut headers, name, value)?;
            }
            if let Some(language) = language {
                insert(&mut headers, "accept-language", language)?;
            }
            by_kind.insert(kind, headers);
        }
        let version = if self.http10 { Version::HTTP_10 } else { Version::HTTP_11 };
        Ok(Identity { version, fetch_metadata: self.fetch_metadata, fetch_user: self.fetch_user, by_kind })
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<()> {
    let name = HeaderName::try_from(name).with_context(|| format!("`{name}` is no field name"))?;
    let value = HeaderValue::try_from(value).with_context(|| format!("{name}: `{value}`"))?;
    headers.insert(name, value);
    Ok(())
}

impl Identity {
    /// The fields of one request that follows from another page, of this site or elsewhere.
    pub(crate) fn headers(&self, kind: Kind, from: Option<&str>) -> HeaderMap {
        let mut headers = self.by_kind.get(&kind).cloned().unwrap_or_default();
        let here = from.is_some_and(|from| from.starts_with('/'));
        let referer = from.map(|from| if here { format!("{ORIGIN}{from}") } else { from.to_owned() });
        if let Some(value) = referer.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(header::REFERER, value);
        }
        if self.fetch_metadata {
            self.add_fetch_metadata(&mut headers, kind, from.map(|_| here));
        }
        headers
    }

    /// Fetch Metadata Request Headers (W3C).
    fn add_fetch_metadata(&self, headers: &mut HeaderMap, kind: Kind, here: Option<bool>) {
        let mut set = |name: &'static str, value: &'static str| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        };
        set(
            "sec-fetch-dest",
            match kind {
                Kind::Page => "document",
                Kind::Style => "style",
                Kind::Script => "script",
                Kind::Image => "image",
            },
        );
        set("sec-fetch-mode", if kind == Kind::Page { "navigate" } else { "no-cors" });
        set(
            "sec-fetch-site",
            match here {
                None => "none",
                Some(true) => "same-origin",
                Some(false) => "cross-site",
            },
        );
        if kind == Kind::Page && self.fetch_user {
            set("sec-fetch-user", "?1");
        }
    }
}
