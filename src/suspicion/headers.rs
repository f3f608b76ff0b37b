//! Headers that contradict each other or the browser that they claim to be.
//!
//! Only requests whose `User-Agent` claims a mainstream browser are looked at: everybody else is judged by the claim.
//! `Sec-CH-UA` (User-Agent Client Hints) and `Sec-Fetch-*` (Fetch Metadata) go to trustworthy origins only, so their
//! absence says something over HTTPS alone. Odd headers are no evidence by themselves: see [`score`](super::score).

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use memchr::memmem;

use super::Signal;
use crate::visitor::{AddressSource, Category, Visitor, fields};

/// What of the request head is judged here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'h> {
    pub(crate) method: &'h Method,
    pub(crate) version: Version,
    pub(crate) headers: &'h HeaderMap,
    /// As it arrived.
    pub(crate) path: &'h str,
    pub(crate) query: Option<&'h str>,
}

/// Families of browsers by engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Chromium,
    Firefox,
    Safari,
}

/// First versions that send a header.
const CHROMIUM_HINTS: u32 = 90;
const FETCH_METADATA: [(Engine, u32); 3] = [(Engine::Chromium, 80), (Engine::Firefox, 90), (Engine::Safari, 17)];
const ZSTD: [(Engine, u32); 2] = [(Engine::Chromium, 123), (Engine::Firefox, 126)];
const PRIORITY: [(Engine, u32); 2] = [(Engine::Chromium, 124), (Engine::Firefox, 128)];

/// Engine and major version of a mainstream browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Browser {
    engine: Engine,
    major: u32,
    /// Inside an app: such views leave out what the browser sends.
    embedded: bool,
}

impl Browser {
    fn of(ua: &str) -> Option<Self> {
        let version = |token: &str| {
            let at = memmem::find(ua.as_bytes(), token.as_bytes())?;
            let rest = ua.get(at + token.len()..)?;
            let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
            digits.parse::<u32>().ok()
        };
        // On iOS every browser is Safari inside, whatever it is called.
        let ios = ua.contains("iPhone") || ua.contains("iPad");
        if !ios && let Some(major) = version("Chrome/") {
            let embedded = ua.contains("; wv)") || ua.contains("Version/4.0 ");
            return Some(Self { engine: Engine::Chromium, major, embedded });
        }
        if !ios && let Some(major) = version("Firefox/") {
            return Some(Self { engine: Engine::Firefox, major, embedded: false });
        }
        if ua.contains("AppleWebKit/") && (ua.contains("Safari/") || ios) {
            let major = version("Version/");
            return Some(Self { engine: Engine::Safari, major: major.unwrap_or(0), embedded: major.is_none() });
        }
        None
    }

    fn since(self, table: &[(Engine, u32)]) -> bool {
        table.iter().any(|(engine, first)| *engine == self.engine && self.major >= *first)
    }

    /// The engine has a first version with it, and this one is older.
    fn before(self, table: &[(Engine, u32)]) -> bool {
        table.iter().any(|(engine, first)| *engine == self.engine && self.major < *first)
    }
}

/// The contradictions of one request.
pub(crate) fn contradictions(visitor: &Visitor, head: Head<'_>, fire: &mut impl FnMut(Signal)) {
    if visitor.agent.category != Category::Browser {
        return;
    }
    let ua = text(head.headers, header::USER_AGENT);
    content_negotiation(visitor, head, fire);
    transport(visitor, head, fire);
    let Some(browser) = Browser::of(ua) else { return };
    if visitor.foreign_hello {
        fire(Signal::Ja4Mismatch);
    }
    client_hints(visitor, head.headers, ua, browser, fire);
    fetch_metadata(visitor, head.headers, browser, fire);
    let zstd = text(head.headers, header::ACCEPT_ENCODING).contains("zstd");
    let priority = head.headers.contains_key(&fields::PRIORITY);
    if (zstd && browser.before(&ZSTD)) || (priority && browser.before(&PRIORITY)) {
        fire(Signal::OldBrowserNewHeaders);
    }
}

/// Another site's page had it fetched: whoever reads that one has not walked into anything.
pub(crate) fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    matches!(headers.get(&fields::SEC_FETCH_SITE).map(HeaderValue::as_bytes), Some(b"cross-site" | b"same-site"))
}

fn content_negotiation(visitor: &Visitor, head: Head<'_>, fire: &mut impl FnMut(Signal)) {
    let has = |name: HeaderName| head.headers.contains_key(name);
    if !has(header::ACCEPT) || !has(header::ACCEPT_ENCODING) {
        fire(Signal::NoAccept);
    }
    if !has(header::ACCEPT_LANGUAGE) {
        fire(Signal::NoAcceptLanguage);
    }
    if visitor.navigation && text(head.headers, header::ACCEPT) == "*/*" {
        fire(Signal::AcceptAny);
    }
    let twice = |name: HeaderName| head.headers.get_all(name).iter().nth(1).is_some();
    if [header::ACCEPT, header::USER_AGENT, header::HOST, header::ACCEPT_LANGUAGE].into_iter().any(twice) {
        fire(Signal::HeaderConflict);
    }
}

fn transport(visitor: &Visitor, head: Head<'_>, fire: &mut impl FnMut(Signal)) {
    let asks = text(head.headers, header::UPGRADE).eq_ignore_ascii_case("h2c");
    if asks || head.headers.contains_key(&fields::HTTP2_SETTINGS) {
        fire(Signal::H2cUpgrade);
    }
    // Behind a proxy the version is the proxy's.
    let direct = visitor.address.source == AddressSource::Peer && !visitor.address.trusted;
    if direct && head.version == Version::HTTP_10 {
        fire(Signal::HttpVersion);
    }
}

fn client_hints(visitor: &Visitor, headers: &HeaderMap, ua: &str, browser: Browser, fire: &mut impl FnMut(Signal)) {
    let hints = text(headers, &fields::SEC_CH_UA);
    if browser.engine != Engine::Chromium {
        if !hints.is_empty() {
            fire(Signal::ClientHintsForeign);
        }
        return;
    }
    if hints.is_empty() {
        if visitor.secure && browser.major >= CHROMIUM_HINTS && !browser.embedded {
            fire(Signal::ClientHintsMissing);
        }
        return;
    }
    if chromium_version(hints).is_some_and(|major| major != browser.major) {
        fire(Signal::ClientHintsVersion);
    }
    let platform = text(headers, &fields::SEC_CH_UA_PLATFORM).trim_matches('"');
    let mobile = match text(headers, &fields::SEC_CH_UA_MOBILE) {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    };
    let contradicts_mobile = mobile.is_some_and(|mobile| mobile && !ua.contains("Mobile"));
    if !platform_fits(platform, ua) || contradicts_mobile {
        fire(Signal::ClientHintsPlatform);
    }
}

/// The version beside the brand `Chromium`.
fn chromium_version(hints: &str) -> Option<u32> {
    let rest = hints.split_once("\"Chromium\";v=\"")?.1;
    rest.split(['"', '.']).next()?.parse().ok()
}

fn platform_fits(platform: &str, ua: &str) -> bool {
    match platform {
        "Windows" => ua.contains("Windows"),
        "macOS" => ua.contains("Macintosh"),
        "Android" => ua.contains("Android"),
        "Linux" => ua.contains("Linux") && !ua.contains("Android"),
        "Chrome OS" | "Chromium OS" => ua.contains("CrOS"),
        _ => true,
    }
}

fn fetch_metadata(visitor: &Visitor, headers: &HeaderMap, browser: Browser, fire: &mut impl FnMut(Signal)) {
    let (mode, dest) = (text(headers, &fields::SEC_FETCH_MODE), text(headers, &fields::SEC_FETCH_DEST));
    if mode.is_empty() && dest.is_empty() && text(headers, &fields::SEC_FETCH_SITE).is_empty() {
        if visitor.secure && browser.since(&FETCH_METADATA) && !browser.embedded {
            fire(Signal::NoFetchMetadata);
        }
        return;
    }
    let frames = ["document", "iframe", "frame", "embed", "object", "fencedframe"];
    let navigates_nowhere = mode == "navigate" && !dest.is_empty() && !frames.contains(&dest);
    if navigates_nowhere || (mode == "no-cors" && text(headers, &fields::SEC_FETCH_USER) == "?1") {
        fire(Signal::FetchMetadataImpossible);
    }
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> &str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suspicion::Group;

    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36";
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15";
    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/139.0 Mobile/15E148 Safari/604.1";

    const BASE: [(&str, &str); 3] =
        [("accept", "text/html,*/*;q=0.8"), ("accept-encoding", "gzip, br"), ("accept-language", "de,en;q=0.5")];
    const FETCH: [(&str, &str); 4] = [
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-user", "?1"),
        ("sec-fetch-dest", "document"),
    ];
    const HINTS: [(&str, &str); 3] = [
        ("sec-ch-ua", "\"Not;A=Brand\";v=\"99\", \"Google Chrome\";v=\"139\", \"Chromium\";v=\"139\""),
        ("sec-ch-ua-mobile", "?0"),
        ("sec-ch-ua-platform", "\"Windows\""),
    ];

    fn fired(ua: &str, secure: bool, version: Version, fields: &[&[(&'static str, &str)]]) -> Vec<Signal> {
        let mut request = http::Request::builder().uri("/news/a").version(version).header("user-agent", ua);
        for (name, value) in fields.iter().flat_map(|part| part.iter()) {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(crate::visitor::Peer { address: ([203, 0, 113, 1], 1).into(), secure });
        let (head, ()) = request.into_parts();
        let settings = crate::visitor::Settings::default();
        let visitor = Visitor::from_head(&head, &settings, std::time::Duration::ZERO).unwrap();
        let mut out = Vec::new();
        let view = Head { method: &head.method, version: head.version, headers: &head.headers, path: "/", query: None };
        contradictions(&visitor, view, &mut |signal| out.push(signal));
        assert!(out.iter().all(|signal| signal.group() == Group::Headers), "where these weigh nothing, nobody looks");
        out.sort_unstable();
        out
    }

    #[test]
    fn a_greeting_of_a_library_contradicts_a_browser_and_nobody_else() {
        let fires = |ua: &str, foreign: bool| {
            let (head, ()) = http::Request::builder().header("user-agent", ua).body(()).unwrap().into_parts();
            let mut visitor =
                Visitor::from_head(&head, &crate::visitor::Settings::default(), std::time::Duration::ZERO).unwrap();
            visitor.foreign_hello = foreign;
            let view =
                Head { method: &head.method, version: head.version, headers: &head.headers, path: "/", query: None };
            let mut all = Vec::new();
            contradictions(&visitor, view, &mut |signal| all.push(signal));
            all.contains(&Signal::Ja4Mismatch)
        };
        assert!(fires(CHROME, true) && fires(IPHONE, true));
        assert!(!fires(CHROME, false) && !fires("curl/8.7.1", true));
    }

    #[test]
    fn browsers_contradict_nothing() {
        let h2 = Version::HTTP_2;
        for (name, ua, fields) in [
            ("Chrome", CHROME, [&BASE[..], &FETCH, &HINTS].as_slice()),
            ("Firefox", FIREFOX, &[&BASE, &FETCH]),
            ("Safari", SAFARI, &[&BASE, &FETCH]),
            ("Chrome on iOS", IPHONE, &[&BASE]),
            (
                "an app's view",
                "Mozilla/5.0 (Linux; Android 14; wv) AppleWebKit/537.36 Version/4.0 Chrome/139.0 Mobile Safari/537.36",
                &[&BASE],
            ),
            (
                "an app's view on iOS",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 [FBAN/FBIOS]",
                &[&BASE],
            ),
            ("Safari 12", "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/12.1 Safari/605.1.15", &[&BASE]),
        ] {
            assert_eq!(fired(ua, true, h2, fields), [], "{name}");
        }
        // Over plain HTTP neither hints nor fetch metadata are sent.
        assert_eq!(fired(CHROME, false, Version::HTTP_11, &[&BASE]), []);
    }

    #[test]
    fn each_contradiction_has_its_signal() {
        use Signal::*;
        let all = [&BASE[..], &FETCH, &HINTS];
        let with =
            |extra: &[(&'static str, &str)]| fired(CHROME, true, Version::HTTP_2, &[all[0], all[1], all[2], extra]);
        assert_eq!(
            fired(CHROME, true, Version::HTTP_2, &[]),
            [NoAccept, NoAcceptLanguage, ClientHintsMissing, NoFetchMetadata]
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
        assert_eq!(with(&[("upgrade", "h2c"), ("http2-settings", "AAMAAABk")]), [H2cUpgrade]);
        assert_eq!(with(&[("accept", "*/*")]), [HeaderConflict]);
        assert_eq!(fired(CHROME, false, Version::HTTP_10, &[&BASE]), [HttpVersion]);
        assert_eq!(fired(FIREFOX, false, Version::HTTP_11, &[&[("accept", "*/*")], &BASE[1..]]), [AcceptAny]);
        assert_eq!(fired(SAFARI, true, Version::HTTP_2, &[&BASE, &FETCH, &HINTS[..1]]), [ClientHintsForeign]);
        let stealth = [
            ("sec-ch-ua", "\"Chromium\";v=\"156\", \"Not)A;Brand\";v=\"24\""),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", "\"Linux\""),
        ];
        let lazy = fired(CHROME, true, Version::HTTP_2, &[&BASE, &FETCH, &stealth]);
        assert_eq!(lazy, [ClientHintsPlatform, ClientHintsVersion]);
        let impossible = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "image"), ("sec-fetch-site", "none")];
        assert_eq!(fired(FIREFOX, true, Version::HTTP_2, &[&BASE, &impossible]), [FetchMetadataImpossible]);
        let old = "Mozilla/5.0 (X11; Linux x86_64; rv:102.0) Gecko/20100101 Firefox/102.0";
        let modern = [("accept", "text/html"), ("accept-language", "en"), ("accept-encoding", "gzip, zstd")];
        assert_eq!(fired(old, true, Version::HTTP_2, &[&modern, &FETCH]), [OldBrowserNewHeaders]);
    }

    #[test]
    fn only_browsers_are_looked_at() {
        assert_eq!(fired("curl/8.5.0", true, Version::HTTP_10, &[]), []);
        assert_eq!(fired("Lynx/2.9.0", true, Version::HTTP_10, &[]), []);
    }
}
