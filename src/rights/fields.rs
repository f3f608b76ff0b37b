//! Response fields: what is declared about one resource.
//!
//! `Content-Usage` (draft-ietf-aipref-attach-05), `tdm-reservation` and `tdm-policy` (TDM Reservation Protocol, W3C
//! Community Group report of 2024-05-10), `X-Robots-Tag`, `Link: rel="license"` (RSL 1.0), and Content-Signal where asked
//! for. A field of the site's own stays unless it is looser; then the stricter of both goes out.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::signal;
use super::uses::{Pref, Use, Uses};
use super::{ImagePreview, Policy, SnippetSettings};

const CONTENT_USAGE: HeaderName = HeaderName::from_static("content-usage");
const CONTENT_SIGNAL: HeaderName = HeaderName::from_static("content-signal");
const TDM_RESERVATION: HeaderName = HeaderName::from_static("tdm-reservation");
const TDM_POLICY: HeaderName = HeaderName::from_static("tdm-policy");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
/// Media type of an RSL document.
pub(crate) const RSL_TYPE: &str = "application/rsl+xml";

/// Declares what is said about one resource in the head of its response.
pub fn declare(policy: &Policy, uses: Uses, headers: &mut HeaderMap) {
    let settings = policy.settings();
    merge(headers, &CONTENT_USAGE, |own| signal::merge_content_usage(own, uses));
    if settings.content_signal_header {
        merge(headers, &CONTENT_SIGNAL, |own| signal::merge_content_signal(own, uses));
    }
    declare_tdm(headers, reservation(uses), settings.tdm_policy.as_deref());
    let missing = missing_robots(headers, uses, &settings.snippet);
    if !missing.is_empty() {
        append(headers, &X_ROBOTS_TAG, &missing.join(", "));
    }
    if let Some(url) = &settings.license.url
        && !links_license(headers)
    {
        append(headers, &header::LINK, &format!("<{url}>; rel=\"license\"; type=\"{RSL_TYPE}\""));
    }
}

/// What the fields of a response say of it to everybody: `Content-Usage`, Content-Signal, `tdm-reservation`, and `none`,
/// `noindex`, `noai`, `noimageai` and `noarchive` of `X-Robots-Tag`. Of two statements the stricter one.
pub fn says(headers: &HeaderMap) -> Uses {
    let mut said = signal::content_usage(&lines(headers, &CONTENT_USAGE).join(", "));
    said.extend(signal::content_signal(&lines(headers, &CONTENT_SIGNAL).join(", ")));
    said.extend(reserved(headers).map(|reserved| (Use::Tdm, if reserved { Pref::Deny } else { Pref::Allow })));
    said.extend(directives(headers).iter().filter_map(|(name, _)| {
        let of = match name.as_str() {
            "none" | "noindex" => Use::Search,
            "noai" | "noimageai" => Use::AiTrain,
            "noarchive" => Use::Archive,
            _ => return None,
        };
        Some((of, Pref::Deny))
    }));
    let mut uses = Uses::default();
    for (of, pref) in said {
        uses.set(of, uses.get(of).max(pref));
    }
    uses
}

/// What the fields of a page say of the images in it: `noai`, `noimageai` and `noimageindex` of `X-Robots-Tag`.
pub fn says_of_images(headers: &HeaderMap) -> Uses {
    let directives = directives(headers);
    let refuses = |names: &[&str]| {
        let refused = directives.iter().any(|(name, _)| names.contains(&name.as_str()));
        if refused { Pref::Deny } else { Pref::Unstated }
    };
    Uses { search: refuses(&["noimageindex"]), ai_train: refuses(&["noai", "noimageai"]), ..Uses::default() }
}

/// TDMRep's one bit: a refusal of training is one of mining, too. `None`: nothing is said.
pub(crate) fn reservation(uses: Uses) -> Option<bool> {
    match uses.tdm.max(if uses.ai_train == Pref::Deny { Pref::Deny } else { Pref::Unstated }) {
        Pref::Deny => Some(true),
        Pref::Allow => Some(false),
        Pref::Unstated => None,
    }
}

/// What the fields say about text and data mining. Of several lines one that reserves is enough.
pub(crate) fn reserved(headers: &HeaderMap) -> Option<bool> {
    let says = |line: &HeaderValue| match line.as_bytes() {
        b"1" => Some(true),
        b"0" => Some(false),
        _ => None,
    };
    headers.get_all(&TDM_RESERVATION).iter().filter_map(says).max()
}

#[cfg(feature = "html")]
/// The address of the policy that goes with a reservation.
pub(crate) fn tdm_policy(headers: &HeaderMap) -> Option<&str> {
    headers.get(&TDM_POLICY).and_then(|v| v.to_str().ok())
}

/// One value out of all lines of a field and ours; `None`: they stay.
fn merge(headers: &mut HeaderMap, name: &HeaderName, with: impl FnOnce(Option<&str>) -> Option<String>) {
    let lines = lines(headers, name);
    let own = lines.join(", ");
    if let Some(value) = with((!lines.is_empty()).then_some(own.as_str())) {
        set(headers, name, &value);
    }
}

fn lines(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect()
}

fn declare_tdm(headers: &mut HeaderMap, ours: Option<bool>, policy: Option<&str>) {
    let own = reserved(headers);
    if let Some(reserved) = ours
        && own.is_none_or(|own| !own && reserved)
    {
        set(headers, &TDM_RESERVATION, if reserved { "1" } else { "0" });
    }
    let reserved = own == Some(true) || ours == Some(true);
    if let Some(policy) = policy.filter(|_| reserved && !headers.contains_key(&TDM_POLICY)) {
        set(headers, &TDM_POLICY, policy);
    }
}

/// Names and values in the lines of `X-Robots-Tag` that are for all agents, in lower case.
fn directives(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .get_all(&X_ROBOTS_TAG)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .filter(|line| !is_for_one_agent(line))
        .flat_map(|line| line.split(','))
        .map(|part| part.split_once(':').unwrap_or((part, "")))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_ascii_lowercase()))
        .collect()
}

/// Directives that the site's own lines for all agents do not hold yet.
fn missing_robots(headers: &HeaderMap, uses: Uses, snippet: &SnippetSettings) -> Vec<String> {
    let own = directives(headers);
    let has = |name: &str| own.iter().any(|(own, _)| own == name);
    let number = |name: &str| {
        own.iter().filter(|(own, _)| own == name).filter_map(|(_, v)| v.parse::<i32>().ok()).map(limit).min()
    };
    let mut missing = Vec::new();
    for (refused, names) in [
        (uses.search, &["noindex"][..]),
        (uses.ai_train, &["noai", "noimageai"]),
        (uses.archive, &["noarchive"]),
        (if snippet.notranslate { Pref::Deny } else { Pref::Unstated }, &["notranslate"]),
    ] {
        let all_of_them = names.iter().filter(|name| refused == Pref::Deny && !has(name));
        missing.extend(all_of_them.filter(|name| **name != "noindex" || !has("none")).map(|name| (*name).to_owned()));
    }
    for (name, ours) in [("max-snippet", snippet.max_snippet), ("max-video-preview", snippet.max_video)] {
        let own = if name == "max-snippet" && has("nosnippet") { Some(0) } else { number(name) };
        if let Some(ours) = ours.filter(|ours| own.is_none_or(|own| limit(*ours) < own)) {
            missing.push(format!("{name}:{ours}"));
        }
    }
    let image = |value: &str| match value {
        "none" => Some(ImagePreview::None),
        "standard" => Some(ImagePreview::Standard),
        "large" => Some(ImagePreview::Large),
        _ => None,
    };
    let own = own.iter().filter(|(name, _)| name == "max-image-preview").filter_map(|(_, v)| image(v)).min();
    if let Some(ours) = snippet.max_image.filter(|ours| own.is_none_or(|own| *ours < own)) {
        let word = ["none", "standard", "large"].into_iter().find(|word| image(word) == Some(ours)).unwrap_or_default();
        missing.push(format!("max-image-preview:{word}"));
    }
    missing
}

/// −1 means no limit.
fn limit(value: i32) -> i32 {
    if value < 0 { i32::MAX } else { value }
}

/// `googlebot: nosnippet` speaks to one agent; `max-snippet:50` to all.
fn is_for_one_agent(line: &str) -> bool {
    const VALUED: [&str; 4] = ["max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"];
    line.split_once(':').is_some_and(|(name, _)| {
        !name.contains(',') && !VALUED.iter().any(|valued| name.trim().eq_ignore_ascii_case(valued))
    })
}

fn links_license(headers: &HeaderMap) -> bool {
    headers.get_all(header::LINK).iter().filter_map(|v| v.to_str().ok()).any(|line| {
        let line = line.to_ascii_lowercase();
        line.contains("license") && line.contains(RSL_TYPE)
    })
}

fn set(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn append(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "holder = 'News Example Ltd'\nnotice = '(c) 2026 News Example Ltd'\n\
        license = { url = 'https://news.example/license.xml' }\n\
        uses = { search = 'allow', ai_input = 'deny', ai_train = 'deny' }\n\
        [[scope]]\npath = '/press/'\nuses = { ai_train = 'allow' }\n[[scope]]\nagents = ['CCBot']\nuses = { crawl = 'deny' }";

    fn run(policy: &str, path: &str, own: &[(&'static str, &str)]) -> Vec<String> {
        let policy = Policy::new(&toml::from_str(policy).unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in own {
            headers.append(*name, value.parse().unwrap());
        }
        declare(&policy, policy.resolve(path), &mut headers);
        let mut lines: Vec<String> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn one_statement_gives_every_field() {
        let link = "link: <https://news.example/license.xml>; rel=\"license\"; type=\"application/rsl+xml\"";
        assert_eq!(
            run(GOLDEN, "/story/1", &[]),
            ["content-usage: search=y, train-ai=n", link, "tdm-reservation: 1", "x-robots-tag: noai, noimageai"]
        );
        assert_eq!(run(GOLDEN, "/press/2", &[]), ["content-usage: search=y, train-ai=y", link]);
        assert_eq!(run("holder = 'x'", "/", &[]), Vec::<String>::new(), "what is not stated is not said");
    }

    #[test]
    fn the_stricter_of_both_goes_out() {
        let deny = "uses = { ai_train = 'deny', archive = 'deny' }\nsnippet = { max_snippet = 160, max_image = 'standard' }\ntdm_policy = 'https://a.example/tdm'";
        #[rustfmt::skip]
        let table: [(&str, &[(&str, &str)], &[&str]); 10] = [
            (deny, &[("content-usage", "train-ai=y;x=1, foo=z")], &["content-usage: train-ai=n, foo=z"]),
            (deny, &[("content-usage", "foo=z"), ("content-usage", "train-ai=n")], &["content-usage: foo=z", "content-usage: train-ai=n"]),
            (deny, &[("tdm-reservation", "0"), ("tdm-policy", "https://own.example/")], &["tdm-policy: https://own.example/", "tdm-reservation: 1"]),
            (deny, &[("tdm-reservation", "yes")], &["tdm-reservation: 1", "tdm-policy: https://a.example/tdm"]),
            ("uses = { tdm = 'allow' }", &[("tdm-reservation", "1")], &["tdm-reservation: 1"]),
            (deny, &[("x-robots-tag", "max-snippet:50, noai")], &["x-robots-tag: max-snippet:50, noai", "x-robots-tag: noimageai, noarchive, max-image-preview:standard"]),
            (deny, &[("x-robots-tag", "max-snippet:-1, max-image-preview:large")], &["x-robots-tag: noai, noimageai, noarchive, max-snippet:160, max-image-preview:standard"]),
            (deny, &[("x-robots-tag", "nosnippet"), ("x-robots-tag", "googlebot: noarchive")], &["x-robots-tag: noai, noimageai, noarchive, max-image-preview:standard"]),
            ("uses = { search = 'deny' }\ni_mean_it = true", &[("x-robots-tag", "none")], &["x-robots-tag: none", "content-usage: search=n"]),
            ("uses = { tdm = 'allow' }", &[("tdm-reservation", "x"), ("tdm-reservation", "1")], &["tdm-reservation: 1"]),
        ];
        for (policy, own, expected) in table {
            let got = run(policy, "/", own);
            for line in expected {
                assert!(got.iter().any(|l| l == line), "{own:?}: no `{line}` in {got:#?}");
            }
        }
        let got = run("uses = { search = 'deny' }\ni_mean_it = true", "/", &[("x-robots-tag", "none")]);
        assert!(!got.iter().any(|l| l.contains("noindex")), "{got:?}");
    }

    #[test]
    fn a_licence_of_the_site_s_own_is_not_given_twice() {
        let own = "<https://own.example/l.xml>; rel=license; type=\"application/rsl+xml\"";
        let links: Vec<String> =
            run(GOLDEN, "/", &[("link", own)]).into_iter().filter(|l| l.starts_with("link")).collect();
        assert_eq!(links, [format!("link: {own}")]);
        assert_eq!(
            run(GOLDEN, "/", &[("link", "</x>; rel=preload")]).iter().filter(|l| l.starts_with("link")).count(),
            2
        );
    }

    #[test]
    fn fields_are_read_as_they_are_written() {
        let policy = Policy::new(&toml::from_str(GOLDEN).unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        declare(&policy, policy.resolve("/story"), &mut headers);
        let said = Uses { search: Pref::Allow, ai_train: Pref::Deny, tdm: Pref::Deny, ..Uses::default() };
        assert_eq!(says(&headers), said, "Content-Usage has no word for input");
        for (name, value, of, pref) in [
            ("content-signal", "ai-input=no", Use::AiInput, Pref::Deny),
            ("x-robots-tag", "NoIndex, max-snippet:20", Use::Search, Pref::Deny),
            ("x-robots-tag", "none", Use::Search, Pref::Deny),
            ("x-robots-tag", "googlebot: noindex", Use::Search, Pref::Unstated),
            ("x-robots-tag", "noimageai", Use::AiTrain, Pref::Deny),
            ("x-robots-tag", "noarchive", Use::Archive, Pref::Deny),
            ("tdm-reservation", "0", Use::Tdm, Pref::Allow),
        ] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]);
            assert_eq!(says(&headers).get(of), pref, "{name}: {value}");
        }
        let page = HeaderMap::from_iter([(X_ROBOTS_TAG, HeaderValue::from_static("noindex, noimageindex, noai"))]);
        let said = Uses { search: Pref::Deny, ai_train: Pref::Deny, ..Uses::default() };
        assert_eq!(says_of_images(&page), said);
        let page = HeaderMap::from_iter([(X_ROBOTS_TAG, HeaderValue::from_static("noindex"))]);
        assert_eq!(says_of_images(&page), Uses::default(), "that is the page itself");
    }

    #[test]
    fn declared_twice_is_declared_once() {
        let policy = Policy::new(&toml::from_str(GOLDEN).unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        let uses = policy.resolve("/story");
        declare(&policy, uses, &mut headers);
        let once = headers.clone();
        declare(&policy, uses, &mut headers);
        assert_eq!(headers, once);
    }
}
