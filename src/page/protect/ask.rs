//! What a request asks for, and what is changed in it so that its answer can be rewritten.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri, header};
use uuid::Uuid;

use super::document::{self, Document};
use super::recall;
use super::site::Site;
use crate::action::Action;
use crate::page::PageKind;
use crate::page::accept::{Accepted, accepted};
use crate::page::encoding::Coding;
use crate::page::etag::EntityTag;
use crate::page::headers::{self, Expected};
use crate::visitor::trap::Offers;
use crate::visitor::{ASSET_EXTENSIONS, RouteClass, Visitor, VisitorKey, normalise};
use crate::watermark::{Mark, MarkSubject};

const DAY: u64 = 86_400;
/// Bytes of a host that are looked at; all of them are ASCII.
const MAX_HOST: usize = 255;

/// What is known about a request when its answer comes.
pub(super) struct Ask {
    pub(super) method: Method,
    /// A part was asked for, and the site heard of it.
    pub(super) ranged: bool,
    /// All of it was asked for, under no condition but `If-None-Match`.
    pub(super) whole: bool,
    /// The answer may be for this client alone.
    pub(super) personal: bool,
    /// Only the head of a page may leave.
    pub(super) card: bool,
    /// A document of rights is asked for.
    pub(super) document: Option<Document>,
    pub(super) host: Arc<str>,
    pub(super) path: Arc<str>,
    /// The kind of the path, once it was asked for.
    kind: OnceLock<PageKind>,
    /// As it was asked for, with its query.
    pub(super) target: Arc<str>,
    pub(super) expected: Expected,
    /// The coding that a page gets that comes without one.
    pub(super) preferred: Coding,
    /// The client wants a page, and likes no coding better than gzip.
    pub(super) likes_gzip: bool,
    /// Seconds since 1970.
    pub(super) arrived: u64,
    pub(super) year: i16,
    pub(super) enabled: bool,
    /// The mark that this visitor's copies carry.
    pub(super) mark: Option<Mark>,
    /// The mark of another copy, which the request brought along.
    pub(super) seen: Option<Mark>,
    /// Copies differ by visitor, even if this one carries no mark.
    pub(super) per_visitor: bool,
    pub(super) unmarked: Option<&'static str>,
    /// What the copy may carry for this visitor alone.
    pub(super) offers: Option<Offers>,
    /// What tells the visitor from others.
    pub(super) visitor: Option<VisitorKey>,
    /// The tags that the client sent, for a 304 to name the one that it confirms.
    pub(super) sent_tags: Arc<[EntityTag]>,
}

impl Ask {
    /// The coding that a page leaves in: the one it came in, the outermost if there were two.
    pub(super) fn outgoing(&self, codings: &[Coding]) -> Coding {
        codings.last().copied().unwrap_or(self.preferred)
    }

    /// Which pages this one is like, for all that is learned of pages.
    pub(super) fn kind(&self) -> &PageKind {
        self.kind.get_or_init(|| PageKind::of(&self.path))
    }

    /// May a 304 be that of a page? The tag that it confirms says so, else the path.
    pub(super) fn may_be_page(&self) -> bool {
        self.expected == Expected::Page || self.sent_tags.iter().any(EntityTag::is_of_a_copy)
    }
}

/// A deckle further out in the same process has changed the request already; these tags were sent.
#[derive(Clone)]
struct Prepared(Arc<[EntityTag]>);

fn sent_tags(headers: &HeaderMap) -> Arc<[EntityTag]> {
    // Most requests are under no condition, and share one empty list.
    if !headers.contains_key(header::IF_NONE_MATCH) {
        return Arc::default();
    }
    let lines = headers.get_all(header::IF_NONE_MATCH).iter();
    lines.filter_map(|line| EntityTag::parse_list(line.as_bytes())).flatten().collect()
}

impl Site {
    /// Reads a request, and changes it so that its answer can be rewritten.
    pub(super) fn ask(&self, head: &mut Parts) -> Ask {
        let seen = self.take_token(&mut head.uri);
        let visitor = head.extensions.get::<Visitor>();
        let path = visitor.map_or_else(|| normalise(head.uri.path()).into(), |v| Arc::clone(&v.path));
        let asset = visitor.map_or_else(|| has_asset_extension(&path), |v| v.asset_path);
        let expected = match visitor.map(|v| v.route) {
            _ if asset => Expected::Asset,
            // Media often have no extension. Whoever lies about what it wants gets no part of a page: it would say that it is HTML.
            // Where pages need not say so (`page.sniff`), nothing but the path is believed.
            Some(RouteClass::Asset) if !self.settings.sniff => Expected::Asset,
            Some(RouteClass::Feed | RouteClass::Api | RouteClass::Wellknown) => Expected::Data,
            _ => Expected::Page,
        };
        let enabled = self.settings.enabled && !self.skip.is_match(&path);
        let arrived = visitor.map_or_else(today, |v| v.arrived.as_secs());
        let spared = self.marking.as_ref().and_then(|marks| marks.spare(&path));
        let (mark, unmarked) = match spared {
            Some(why) => (None, Some(why)),
            None => self.mark_of(visitor, arrived, &path),
        };
        let prepared = head.extensions.get::<Prepared>().cloned();
        let sent_tags = match &prepared {
            Some(Prepared(tags)) => Arc::clone(tags),
            None => sent_tags(&head.headers),
        };
        let host = host_of(&head.uri, &head.headers);
        let host = match visitor {
            Some(visitor) if *visitor.host == *host => Arc::clone(&visitor.host),
            _ => host.into(),
        };
        let target = target_of(&head.uri);
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        let document = Document::of(&self.policy, &host, head.uri.path())
            .filter(|document| reads && document.matters(&self.policy));
        let prefers_packed = self.settings.prefer_packed && expected == Expected::Page;
        let asks_for_coding = self.settings.compress || prefers_packed;
        let Accepted { preferred, gzip } = if asks_for_coding { accepted(&head.headers) } else { Accepted::NONE };
        let mut ask = Ask {
            ranged: false,
            whole: recall::asks_for_all(&head.headers),
            card: head.extensions.get::<Action>() == Some(&Action::Card),
            personal: document.is_some() && is_personal(head),
            document,
            offers: head.extensions.get::<Offers>().cloned(),
            visitor: visitor.map(|visitor| visitor.key.clone()),
            sent_tags,
            method: head.method.clone(),
            host,
            path,
            kind: OnceLock::new(),
            target,
            expected,
            arrived,
            preferred: if self.settings.compress { preferred } else { Coding::Identity },
            likes_gzip: gzip && prefers_packed,
            year: year_of(arrived),
            enabled,
            per_visitor: self.marking.is_some() && spared.is_none(),
            mark,
            seen,
            unmarked,
        };
        if ask.card {
            // The whole head, and nothing that a card could be taken for later.
            document::prepare(&mut head.headers, true);
        } else if let Some(document) = document {
            document::prepare(&mut head.headers, document.says(&self.policy));
        } else if enabled && prepared.is_none() {
            head.extensions.insert(Prepared(Arc::clone(&ask.sent_tags)));
            self.with_tags(&ask, false, |tags| {
                headers::prepare_request(&ask.method, &mut head.headers, ask.expected, tags, self.activated);
            });
        }
        ask.ranged = head.method == Method::GET && head.headers.contains_key(header::RANGE);
        ask
    }

    /// The mark of this visitor's copies, or why they carry none.
    fn mark_of(&self, visitor: Option<&Visitor>, arrived: u64, path: &str) -> (Option<Mark>, Option<&'static str>) {
        let (Some(marks), Some(visitor)) = (&self.marking, visitor) else { return (None, Some("level_off")) };
        // A proven search engine gets the unmarked page, so that its snippets stay clean.
        if visitor.indexer {
            return (None, Some("verified_search"));
        }
        let mut buffer = Uuid::encode_buffer();
        let request_id = visitor.request_id.hyphenated().encode_lower(&mut buffer).as_bytes();
        let who = MarkSubject { visitor: &visitor.key.0, unix_day: (arrived / DAY) as u32, request_id, path };
        (Some(marks.marker.mark_for(&who)), None)
    }

    /// Takes the mark of another copy out of the address: a link in that copy was followed, or an image was asked for. What
    /// is not ours stays, for the site to read.
    fn take_token(&self, uri: &mut Uri) -> Option<Mark> {
        let query = uri.query()?;
        let read = |pair: &&str| pair.strip_prefix("k=").and_then(|token| self.incoming.read(token));
        let seen = query.split('&').find_map(|pair| read(&pair))?;
        let kept: Vec<&str> = query.split('&').filter(|pair| read(pair).is_none()).collect();
        let path = uri.path();
        let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        *uri = Uri::from_parts(parts).ok()?;
        Some(seen)
    }
}

/// Something in the request may make the answer one for this client alone.
fn is_personal(head: &Parts) -> bool {
    let named = [header::COOKIE, header::AUTHORIZATION];
    head.uri.query().is_some() || named.iter().any(|name| head.headers.contains_key(name))
}

fn has_asset_extension(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(_, extension)| ASSET_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

fn host_of<'h>(uri: &'h Uri, headers: &'h HeaderMap) -> Cow<'h, str> {
    let header = || headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let text = uri.authority().map_or_else(header, |a| a.as_str());
    let text = text.get(..MAX_HOST).unwrap_or(text);
    if text.bytes().any(|b| b.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

/// Path and query, in memory of their own: a page may outlive what was read of the connection.
fn target_of(uri: &Uri) -> Arc<str> {
    let Some(target) = uri.path_and_query().map(PathAndQuery::as_str) else { return uri.path().into() };
    // `http://host?query` has no path, and is asked for by `/`.
    if target.starts_with(['/', '*']) { target.into() } else { format!("/{target}").into() }
}

/// For a layer that stands alone: nobody has said when the request arrived, and the notice shows the year.
fn today() -> u64 {
    jiff::Timestamp::now().as_second().unsigned_abs()
}

fn year_of(unix: u64) -> i16 {
    jiff::Timestamp::from_second(unix as i64).map_or(1970, |t| jiff::tz::TimeZone::UTC.to_datetime(t).year())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::page::{Marking, Settings};
    use crate::rights;
    use crate::secret::{Secret, Secrets};
    use crate::watermark::{self, Level};

    #[test]
    fn the_mark_of_another_copy_is_taken_out_of_the_address() {
        let site = |level| {
            let mut site = Site::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
            let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
            let settings = watermark::Settings { level, ..watermark::Settings::default() };
            let (findings, styles) = (Arc::default(), Arc::default());
            site.mark_with(Marking { secrets, settings, findings, styles }).unwrap();
            site
        };
        // Links of the time before it was switched off are still out there.
        for site in [site(None), site(Some(Level::Off))] {
            for (asked, passed, seen) in [
                ("/a?k=easgrlhrgvt2q5s", "/a", true),
                ("/a.png?w=2&k=easgrlhrgvt2q5s&k=easgrlhrgwfjli4&", "/a.png?w=2&", true),
                ("http://news.example/a?k=1&k=easgrlhrgvt2q5s", "http://news.example/a?k=1", true),
                ("/a?k=easgrlhrgvt2q5t", "/a?k=easgrlhrgvt2q5t", false),
                ("/a?kk=easgrlhrgvt2q5s&k", "/a?kk=easgrlhrgvt2q5s&k", false),
                ("/a?k=7&p=1", "/a?k=7&p=1", false),
                ("/a", "/a", false),
            ] {
                let (mut head, ()) = http::Request::builder().uri(asked).body(()).unwrap().into_parts();
                let ask = site.ask(&mut head);
                assert_eq!(head.uri.to_string(), passed);
                assert!(passed.ends_with(&*ask.target), "{passed}: {}", ask.target);
                assert_eq!(
                    ask.seen.map(|mark| mark.to_string()).as_deref(),
                    seen.then_some("k1-0123456789ab"),
                    "{asked}"
                );
            }
        }
        let plain = Site::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        let (mut head, ()) = http::Request::builder().uri("/a?k=easgrlhrgvt2q5s").body(()).unwrap().into_parts();
        assert_eq!((plain.ask(&mut head).seen, head.uri.query()), (None, Some("k=easgrlhrgvt2q5s")));
    }

    /// What is left of a request for a part, by what the browser says that it wants it for.
    #[test]
    fn media_without_an_extension_may_be_asked_for_in_parts() {
        let asked = |sniff: bool, dest: &'static str| {
            let settings = Settings { sniff, ..Settings::default() };
            let site = Site::new(&settings, &rights::Settings::default(), "/.deckle").unwrap();
            let request = http::Request::builder().uri("/video/123").header("sec-fetch-dest", dest);
            let request = request.header("range", "bytes=0-1").header("if-none-match", "\"v1\"").body(()).unwrap();
            let (mut head, ()) = request.into_parts();
            let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
            head.extensions.insert(visitor);
            let ask = site.ask(&mut head);
            let kept = ["range", "if-none-match"].map(|name| head.headers.contains_key(name));
            (kept, ask.ranged, ask.may_be_page())
        };
        for dest in ["video", "audio", "track", "image", "font"] {
            assert_eq!(asked(false, dest), ([true, true], true, false), "{dest}");
        }
        for dest in ["document", "iframe", "empty", ""] {
            assert_eq!(asked(false, dest), ([false, false], false, true), "{dest}");
        }
        assert_eq!(asked(true, "video"), ([false, false], false, true), "what says nothing of its type may be a page");
    }

    #[test]
    fn a_request_shares_the_host_of_the_visitor_and_has_a_target_that_begins_with_a_path() {
        let site = Site::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        for (uri, host, target, shared) in [
            ("/a/b?c", "news.example", "/a/b?c", true),
            ("/a", "news.example:8080", "/a", false),
            ("http://News.example?c", "elsewhere.example", "/?c", true),
        ] {
            let request = http::Request::builder().uri(uri).header("host", host).body(()).unwrap();
            let (mut head, ()) = request.into_parts();
            let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
            let name = Arc::clone(&visitor.host);
            head.extensions.insert(visitor);
            let ask = site.ask(&mut head);
            assert_eq!((&*ask.target, Arc::ptr_eq(&ask.host, &name)), (target, shared), "{uri}");
            assert!(ask.host.starts_with("news.example"), "{}", ask.host);
            assert!(std::ptr::eq(ask.kind(), ask.kind()));
        }
    }

    #[test]
    fn years_and_hosts() {
        assert_eq!(year_of(1_795_000_000), 2026);
        for (uri, target) in [("http://news.example", "/"), ("*", "*"), ("news.example:443", "")] {
            assert_eq!(&*target_of(&uri.parse().unwrap()), target, "{uri}");
        }
        let (head, ()) = http::Request::builder().uri("http://News.Example/a").body(()).unwrap().into_parts();
        assert_eq!(host_of(&head.uri, &head.headers), "news.example");
        let (head, ()) = http::Request::builder().header("host", "A".repeat(300)).body(()).unwrap().into_parts();
        assert_eq!(host_of(&head.uri, &head.headers), "a".repeat(255));
        assert!(has_asset_extension("/a/b.CSS") && !has_asset_extension("/a.css/b"));
    }
}
