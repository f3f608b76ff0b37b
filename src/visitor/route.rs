//! What kind of thing a request asks for, judged from its head.
//!
//! The path is normalised first, the same way for classes, counting and traps: unreserved characters are
//! percent-decoded (RFC 3986 §6.2.2.2), dot segments resolved (§5.2.4), repeated slashes collapsed, `;parameters` cut
//! from each segment, a final dot or slash dropped. Case is kept. The upstream still gets the bytes that were sent.
//! `wellknown` and `own` match only when the path was already in its normal form, so that no spelling of an article
//! can pass as `robots.txt`.

use std::borrow::Cow;

use http::header::AsHeaderName;
use http::{HeaderMap, Method, header};
use regex::RegexSet;

use super::fields;

/// The class of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RouteClass {
    /// robots.txt, sitemaps, `/.well-known/`, favicons and the like: never limited.
    Wellknown,
    /// deckle's own paths under the mount.
    Own,
    /// A feed.
    Feed,
    /// Data for programs.
    Api,
    /// A style sheet, script, image, font or media file.
    Asset,
    /// A page.
    Page,
    /// A method that changes things, a range request, an upgrade.
    Other,
}

impl RouteClass {
    /// Reads the stable spelling.
    pub fn from_code(code: &str) -> Option<Self> {
        let all = [Self::Wellknown, Self::Own, Self::Feed, Self::Api, Self::Asset, Self::Page, Self::Other];
        all.into_iter().find(|route| route.code() == code)
    }

    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Wellknown => "wellknown",
            Self::Own => "own",
            Self::Feed => "feed",
            Self::Api => "api",
            Self::Asset => "asset",
            Self::Page => "page",
            Self::Other => "other",
        }
    }
}

/// Extensions of files that are not pages.
pub const ASSET_EXTENSIONS: [&str; 21] = [
    "css", "js", "mjs", "png", "jpg", "jpeg", "gif", "webp", "avif", "svg", "ico", "woff", "woff2", "ttf", "mp4",
    "m4a", "mp3", "webm", "ogg", "pdf", "zip",
];

/// Path patterns: `*` within a segment, `**` across segments. They are matched against the [normal form](normalise) of a
/// path, which has no final `/`; so one at the end of a pattern counts for nothing, and `/a/**` matches `/a`, too.
#[derive(Debug, Clone)]
pub struct PathGlobs {
    set: RegexSet,
}

impl PathGlobs {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// A text that names the pattern that does not compile.
    pub fn new<S: AsRef<str>>(globs: &[S]) -> Result<Self, String> {
        let patterns: Vec<String> = globs.iter().map(|g| glob_to_regex(g.as_ref())).collect();
        let set = RegexSet::new(patterns).map_err(|e| e.to_string())?;
        Ok(Self { set })
    }

    /// Does any pattern match this path?
    pub fn is_match(&self, path: &str) -> bool {
        !self.set.is_empty() && self.set.is_match(path)
    }
}

fn glob_to_regex(glob: &str) -> String {
    let mut out = String::from("(?s)^");
    // A path has no final slash, and who names all below a folder means its front page, too.
    let (glob, all_below) = match glob.strip_suffix("/**") {
        Some(folder) if !folder.is_empty() => (folder, true),
        _ => (glob.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(glob), false),
    };
    let mut chars = glob.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                out.push_str(".*");
            }
            '*' => out.push_str("[^/]*"),
            other => out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push_str(if all_below { "(?:/.*)?$" } else { "$" });
    out
}

/// The rules of one site.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    mount: String,
    feed: PathGlobs,
    api: PathGlobs,
    page: PathGlobs,
    asset: PathGlobs,
    never: PathGlobs,
}

/// In lower case; copied only where it is not yet.
pub(super) fn lower(text: &str) -> Cow<'_, str> {
    let is_lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    if is_lower { Cow::Borrowed(text) } else { Cow::Owned(text.to_ascii_lowercase()) }
}

/// The mount stands in markup and in policies: nothing in it needs to be escaped there.
pub(crate) fn check_mount(mount: &str) -> Result<(), (&'static str, String)> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
    if mount.starts_with('/') && !mount.ends_with('/') && !mount.contains("..") && mount.bytes().all(plain) {
        return Ok(());
    }
    let must = "must start with `/`, be made of letters, digits and `-._~/`, and hold no `..` and no final `/`";
    Err(("visitor.routes.mount", format!("`{mount}` {must}")))
}

impl Routes {
    pub(crate) fn new(settings: &super::RouteSettings) -> Result<Self, (&'static str, String)> {
        let globs = |key, list: &[String]| PathGlobs::new(list).map_err(|e| (key, e));
        let mount = settings.mount.clone();
        check_mount(&mount)?;
        let asset: Vec<String> = settings
            .asset
            .iter()
            .map(|entry| if entry.contains(['/', '*']) { entry.clone() } else { format!("**.{entry}") })
            .collect();
        Ok(Self {
            mount,
            feed: globs("visitor.routes.feed", &settings.feed)?,
            api: globs("visitor.routes.api", &settings.api)?,
            page: globs("visitor.routes.page", &settings.page)?,
            asset: globs("visitor.routes.asset", &asset)?,
            never: globs("visitor.routes.never", &settings.never)?,
        })
    }

    /// Does the path name an asset by its extension or a configured pattern?
    pub(crate) fn is_asset_path(&self, normal: &str) -> bool {
        self.asset.is_match(&lower(normal)) && !self.page.is_match(normal)
    }

    /// The part of one of deckle's own paths below the mount.
    pub(crate) fn below_mount<'p>(&self, normal: &'p str) -> Option<&'p str> {
        normal.strip_prefix(&self.mount)
    }

    pub(crate) fn never(&self, normal: &str) -> bool {
        self.never.is_match(normal)
    }

    /// `asset`: what [`Routes::is_asset_path`] says of the path.
    pub(crate) fn classify(
        &self,
        method: &Method,
        raw: &str,
        normal: &str,
        asset: bool,
        headers: &HeaderMap,
    ) -> RouteClass {
        if raw == normal || raw == "/" {
            if normal.strip_prefix(&self.mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return RouteClass::Own;
            }
            if is_wellknown(normal) {
                return RouteClass::Wellknown;
            }
        }
        if !matches!(*method, Method::GET | Method::HEAD) || headers.contains_key(header::UPGRADE) {
            return RouteClass::Other;
        }
        if self.page.is_match(normal) {
            return RouteClass::Page;
        }
        if self.feed.is_match(normal) || looks_like_feed(normal) {
            return RouteClass::Feed;
        }
        let dest = text(headers, &fields::SEC_FETCH_DEST);
        if asset
            || matches!(
                dest,
                "style" | "script" | "image" | "font" | "audio" | "video" | "track" | "manifest" | "worker"
            )
        {
            return RouteClass::Asset;
        }
        if headers.contains_key(header::RANGE) {
            return RouteClass::Other;
        }
        if self.api.is_match(normal) || asks_for_data(headers) {
            return RouteClass::Api;
        }
        RouteClass::Page
    }
}

/// Would this request be shown to a person as a page? Only those may be answered with a page of deckle's own.
pub(crate) fn is_navigation(method: &Method, route: RouteClass, headers: &HeaderMap) -> bool {
    let dest = text(headers, &fields::SEC_FETCH_DEST);
    let accept = text(headers, header::ACCEPT);
    route == RouteClass::Page
        && method == Method::GET
        && matches!(dest, "" | "document")
        && (accept.is_empty() || accept.contains("text/html") || accept.contains("*/*"))
        && !is_prefetch(headers)
}

/// Does a browser ask ahead of a click?
pub(crate) fn is_prefetch(headers: &HeaderMap) -> bool {
    let names = [&fields::SEC_PURPOSE, &fields::PURPOSE, &fields::X_MOZ];
    names.into_iter().any(|name| text(headers, name).contains("prefetch"))
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> &str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

fn asks_for_data(headers: &HeaderMap) -> bool {
    let accept = text(headers, header::ACCEPT);
    let data = !accept.contains("html") && (accept.contains("json") || accept.contains("xml"));
    data || headers.contains_key(&fields::X_REQUESTED_WITH) || text(headers, &fields::SEC_FETCH_MODE) == "cors"
}

fn looks_like_feed(path: &str) -> bool {
    const NAMES: [&str; 8] = ["feed", "rss", "atom", "rss.xml", "atom.xml", "feed.xml", "feed.json", "index.xml"];
    let last = path.rsplit('/').next().unwrap_or_default();
    let extension = last.rsplit_once('.').map(|(_, extension)| extension);
    NAMES.iter().any(|name| last.eq_ignore_ascii_case(name))
        || extension.is_some_and(|end| ["rss", "atom"].iter().any(|feed| end.eq_ignore_ascii_case(feed)))
}

fn is_wellknown(path: &str) -> bool {
    let single = path.get(1..).is_some_and(|name| {
        !name.contains('/')
            && (matches!(name, "robots.txt" | "ads.txt" | "security.txt" | "license.xml" | "ai.txt")
                || name.starts_with("favicon")
                || (name.starts_with("sitemap") && name.ends_with(".xml")))
    });
    single || path.starts_with("/.well-known/")
}

/// The normal form of a path.
pub fn normalise(raw: &str) -> String {
    normal(raw).into_owned()
}

/// The same; copied only where it is another one. Most paths have that form but for a final slash.
pub(super) fn normal(raw: &str) -> Cow<'_, str> {
    let bare = raw.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(raw);
    if is_normal(bare) { Cow::Borrowed(bare) } else { Cow::Owned(resolved(raw)) }
}

/// Nothing is to be decoded, cut or left out.
fn is_normal(path: &str) -> bool {
    let plain = !path.ends_with('.') && !path.bytes().any(|b| matches!(b, b'%' | b'\\' | b';'));
    let is_kept = |segment: &str| !matches!(segment, "" | "." | "..");
    path == "/" || (plain && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_kept)))
}

fn resolved(raw: &str) -> String {
    let decoded = decode_unreserved(raw);
    let mut out = String::with_capacity(decoded.len() + 1);
    for segment in decoded.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            other => {
                out.push('/');
                out.push_str(other);
            }
        }
    }
    while out.ends_with('.') {
        out.pop();
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

/// Percent-decoded (RFC 3986 §2.1); `None`: a sign of percent without two digits, or no UTF-8.
#[cfg(feature = "html")]
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let is_sound = |behind: &str| behind.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).all(is_sound).then_some(())?;
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

fn decode_unreserved(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        // What a server may take for a slash is one here.
        if byte == b'\\' {
            out.push(b'/');
            at += 1;
            continue;
        }
        let decoded = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .map(|b| if b == b'\\' { b'/' } else { b })
            .filter(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(b));
        match decoded {
            Some(plain) => {
                out.push(plain);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn routes() -> Routes {
        Routes::new(&super::super::RouteSettings::default()).unwrap()
    }

    fn class(path: &str) -> RouteClass {
        let (routes, normal) = (routes(), normalise(path));
        routes.classify(&Method::GET, path, &normal, routes.is_asset_path(&normal), &HeaderMap::new())
    }

    #[test]
    fn spellings_of_one_path_are_one_path() {
        for spelling in [
            "/robots.txt/../a/1",
            "/.deckle/../a/1",
            "//a/1",
            "/a/%31",
            "/a/1/",
            "/a/1;x.css",
            "/%2e%2e/a/1",
            "/a/./1",
            "/a/1.",
            "/.well-known/..%2fa%2F1",
            "/favicon%2f..%2fa/1/../../a/1",
            "/.deckle/..%2fa/1",
            "/.well-known/..\\a\\1",
            "/a%5c1",
        ] {
            assert_eq!(normalise(spelling), "/a/1", "{spelling}");
            assert_eq!(class(spelling), RouteClass::Page, "{spelling}");
        }
        assert_eq!(normalise("/"), "/");
        assert_eq!(normalise("/caf%C3%A9"), "/caf%C3%A9");
    }

    #[test]
    fn classes() {
        #[rustfmt::skip]
        let table = [
            ("/robots.txt", RouteClass::Wellknown), ("/sitemap.xml", RouteClass::Wellknown),
            ("/sitemap-news.xml", RouteClass::Wellknown), ("/.well-known/security.txt", RouteClass::Wellknown),
            ("/favicon.ico", RouteClass::Wellknown), ("/.deckle/guard.0.js", RouteClass::Own),
            ("/.decklex", RouteClass::Page), ("/feed/", RouteClass::Feed), ("/news/rss.xml", RouteClass::Feed),
            ("/a/site.css", RouteClass::Asset), ("/IMG/A.JPG", RouteClass::Asset), ("/2026/story", RouteClass::Page),
            ("//robots.txt", RouteClass::Page), ("/x/robots.txt", RouteClass::Page),
        ];
        for (path, expect) in table {
            assert_eq!(class(path), expect, "{path}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-requested-with", "XMLHttpRequest".parse().unwrap());
        assert_eq!(routes().classify(&Method::GET, "/a", "/a", false, &headers), RouteClass::Api);
        assert_eq!(routes().classify(&Method::POST, "/a", "/a", false, &HeaderMap::new()), RouteClass::Other);
    }

    #[test]
    fn globs_know_segments() {
        let globs = PathGlobs::new(&["/a/*", "/b/**", "!x"]).unwrap();
        assert!(globs.is_match("/a/1") && !globs.is_match("/a/1/2") && globs.is_match("/b/1/2"));
        assert!(globs.is_match("/b") && !globs.is_match("/bb") && !globs.is_match("/a"), "a folder with all below it");
        let globs = PathGlobs::new(&["/c/", "**/d/"]).unwrap();
        assert!(globs.is_match("/c") && globs.is_match("/x/d") && !globs.is_match("/c/1"), "as paths are compared");
        for all in ["/**", "**", "/"] {
            assert!(PathGlobs::new(&[all]).unwrap().is_match("/"));
            assert_eq!(PathGlobs::new(&[all]).unwrap().is_match("/a/b"), all != "/");
        }
    }

    #[test]
    fn only_pages_asked_for_by_people_are_navigations() {
        let with = |name: &'static str, value: &str| {
            let mut h = HeaderMap::new();
            h.insert(name, value.parse().unwrap());
            is_navigation(&Method::GET, RouteClass::Page, &h)
        };
        assert!(is_navigation(&Method::GET, RouteClass::Page, &HeaderMap::new()));
        assert!(with("accept", "text/html,*/*;q=0.8"));
        assert!(!with("accept", "application/json"));
        assert!(!with("sec-fetch-dest", "empty"));
        assert!(!with("sec-purpose", "prefetch;prerender"));
        assert!(!is_navigation(&Method::HEAD, RouteClass::Page, &HeaderMap::new()));
    }

    #[test]
    fn what_is_normal_but_for_a_final_slash_is_not_copied() {
        for (path, expect) in
            [("/", "/"), ("//", "/"), ("/a", "/a"), ("/a/", "/a"), ("/2026/a-b.html", "/2026/a-b.html")]
        {
            assert!(matches!(normal(path), Cow::Borrowed(same) if same == expect), "{path}");
        }
        for (path, expect) in
            [("", "/"), ("a", "/a"), ("/a//", "/a"), ("/a./", "/a"), ("/..a/.b", "/..a/.b"), ("/.", "/")]
        {
            assert_eq!(normal(path), expect, "{path}");
        }
        assert!(matches!(lower("/a"), Cow::Borrowed("/a")) && lower("/A") == "/a");
    }

    #[test]
    fn feeds_are_known_in_any_case() {
        for path in ["/a/FEED", "/news.RSS", "/x/Atom.xml", "/x/.atom", "/a.b.rss"] {
            assert!(looks_like_feed(path), "{path}");
        }
        for path in ["/feeds", "/rss/a", "/a.rss/b", "/arss", "/a.rssx", "/"] {
            assert!(!looks_like_feed(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_path_that_is_not_copied_is_what_resolving_makes_of_it(path in "/?([ab.;%2eE\\\\]{0,3}/){0,4}[a.;]{0,2}") {
            prop_assert_eq!(normal(&path), resolved(&path));
        }

        #[test]
        fn the_normal_form_is_stable(path in "/[ -~]{0,40}") {
            let once = normalise(&path);
            prop_assert!(once.starts_with('/'));
            prop_assert!(!once.contains("//") && !once.contains("/../"));
        }
    }
}
