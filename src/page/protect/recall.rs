//! Packed pages that the site need not send: it is asked whether they are the same still.
//!
//! Where the head of a page is stored ([`plan::Head`](crate::page::plan)) and its packed form fits the copy that is asked for,
//! its validator goes along behind those of the client. A 304 that confirms it makes the plan the source (RFC 9110 §13.1.2),
//! and the answer is a 200 with the packed body and the stored head. `docs/packed.md` says which requests may use it.

use std::sync::Arc;

use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::ask::Ask;
use super::site::Site;
use super::wish::Wish;
use crate::page::accept::asks_for_none;
use crate::page::encoding::{Coding, content_codings};
use crate::page::etag::EntityTag;
use crate::page::headers::{self, Expected};
use crate::page::plan::{
    Decision, Head, Held, Memory, PlanCache, Sent, Stored, decide, has_directive, may_be_kept, nominates, strong_tag,
};
use crate::page::{Finding, PageBody, PagePolicy, PageReport, Rewrite};
use crate::watermark::{Mark, SealForm};

/// Requests of one key get one page, if the site answers them with one head and one source.
#[derive(Hash)]
struct Front<'a> {
    version: u32,
    links: bool,
    host: &'a str,
    target: &'a str,
    accepted: Option<&'a [u8]>,
    year: i16,
    no_slots: Option<&'static str>,
    body_is_root: bool,
}

/// What a request has to do with heads that are stored. It is let go with the head of the answer: a body may take long.
pub(super) struct Recall {
    front: u128,
    /// By what was known when the request came; a page that has to be made goes by what is known when its answer is here.
    finding: Option<Finding>,
    no_slots: Option<&'static str>,
    /// Nobody in particular has asked: the head of the answer may be stored.
    anonymous: bool,
    /// The request, if nothing fits it that is stored.
    sent: Option<HeaderMap>,
    stored: Option<Arc<Stored>>,
    asked: Option<Asked>,
}

/// A validator was sent.
struct Asked {
    held: Held,
    /// The tags that the client has sent, as the site's own.
    tags: Vec<EntityTag>,
}

impl Site {
    /// Looks for what is stored for a request, and asks the site whether it holds.
    pub(super) fn recall(&self, ask: &Ask, headers: &mut HeaderMap) -> Option<Recall> {
        let page = ask.enabled && ask.whole && ask.expected == Expected::Page && !ask.card && ask.document.is_none();
        let plans = self.plans.as_ref().filter(|plans| plans.packs() && page && ask.method == Method::GET);
        // Who gets no coding, or another one, gets nothing that is packed: no head is stored for such copies.
        let plans = plans?;
        let finding = self.finding(ask);
        let in_gzip = |codings: &[Coding]| self.outgoing(ask, codings, finding).coding == Coding::Gzip;
        if !plans.trusts(&ask.host) || (asks_for_none(headers) && !in_gzip(&[])) {
            return None;
        }
        let no_slots = self.no_slots(ask, finding);
        let front = plans.key(&Front {
            version: self.version,
            links: self.links,
            host: &ask.host,
            target: &ask.target,
            accepted: headers.get(header::ACCEPT_ENCODING).map(HeaderValue::as_bytes),
            year: ask.year,
            no_slots,
            body_is_root: self.body_is_root(finding),
        });
        let stored = plans.stored(front).filter(|stored| stored.head.fits(headers));
        let asked = stored.as_ref().filter(|stored| stored.is_ready()).and_then(|stored| {
            let codings = content_codings(&stored.head.fields).ok()?;
            let held = in_gzip(&codings).then(|| self.hold(ask, plans, stored, no_slots))??;
            let tags = tags_beside(headers, &stored.head.tag, stored.names_tags())?;
            if plans.compares_next() {
                return None;
            }
            add_tag(headers, &stored.head.tag, &tags);
            Some(Asked { held, tags })
        });
        let anonymous = is_anonymous(headers);
        let sent = (anonymous && stored.is_none()).then(|| headers.clone());
        Some(Recall { front, finding, no_slots, anonymous, sent, stored, asked })
    }

    /// The packed page, if this copy would leave in it.
    fn hold(
        &self,
        ask: &Ask,
        plans: &Arc<PlanCache>,
        stored: &Arc<Stored>,
        no_slots: Option<&'static str>,
    ) -> Option<Held> {
        let fields = &stored.head.fields;
        if !self.fills(ask, fields).is_empty() {
            return None;
        }
        let rules = self.page_rules(ask, no_slots.is_some());
        // With references in its seals no page is packed.
        let mut choose = self.choices(ask, no_slots, SealForm::Characters);
        Held::of(plans, stored, &rules, choose.as_mut())
    }

    /// What is to be remembered of an answer, whose head is as the site has sent it.
    pub(super) fn memory(&self, ask: &Ask, recall: Option<&Recall>, answer: &Parts) -> Option<Memory> {
        let (plans, recall) = (self.plans.as_ref()?, recall?);
        if answer.status != StatusCode::OK {
            return None;
        }
        let mut head = match (&recall.sent, &recall.stored) {
            (Some(fields), _) => Head::of(answer, &Sent::Request(fields)),
            (None, Some(stored)) if recall.anonymous => {
                let head = Head::of(answer, &Sent::Like(&stored.head));
                if head.is_none() {
                    plans.forget(recall.front, stored);
                }
                head
            }
            _ => None,
        };
        let tag = recall.stored.as_ref().and_then(|_| strong_tag(&answer.headers));
        let expected = recall.stored.clone().filter(|stored| tag.as_ref() == Some(&stored.head.tag));
        if let Some(stored) = expected.as_ref().filter(|stored| !stored.head.is_that_of(answer)) {
            // Its validator does not stand for its fields: neither of the two heads is for all.
            plans.forget(recall.front, stored);
            head = None;
        }
        (head.is_some() || expected.is_some()).then(|| Memory::new(&ask.host, recall.front, expected, head))
    }

    /// The same, when all is decided about the page. `None`: it will not be packed, or is another one than was thought.
    pub(super) fn wished(
        &self,
        memory: Memory,
        recall: Option<&Recall>,
        wish: &Wish,
        finding: Option<Finding>,
    ) -> Option<Memory> {
        let (plans, recall) = (self.plans.as_ref()?, recall?);
        let as_thought = recall.finding == finding && !wish.unmarked && !wish.xhtml;
        as_thought.then(|| memory.wished(plans.key(wish)))
    }

    /// The page that the site has confirmed; `answer`: its 304.
    pub(super) fn confirmed<R>(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        confirmed: &Confirmed<'_>,
        answer: Response<R>,
    ) -> Response<PageBody<R>> {
        let Confirmed { plans, recall, stored, held, odd } = *confirmed;
        let (mut head, _) = answer.into_parts();
        head.status = StatusCode::OK;
        head.headers = stored.head.updated(&head.headers);
        if odd {
            // Nobody knows whether the page has it still.
            head.headers.remove(header::ETAG);
            head.headers.remove(header::LAST_MODIFIED);
        }
        if let Some(policy) = stored.head.policy.filter(|_| head.extensions.get::<PagePolicy>().is_none()) {
            head.extensions.insert(policy);
        }
        // A cookie, and for whom it is, is said of this answer.
        let mut again = may_be_kept(&head.headers);
        let mut wish = self.wish(ask, &mut head);
        self.declare(ask, &mut wish, head.status, &mut head.headers);
        again &= matches!(decide(&ask.method, &head, self.obeys(ask)), Decision::Rewrite { sniff: false, .. });
        self.amend_policies(&mut wish, &mut head.headers, false);
        if !again || plans.key(&wish) != stored.wish {
            // The page is what it was, and the site wants something else to be put in: the next answer has it.
            plans.forget(recall.front, stored);
        }
        let codings = content_codings(&stored.head.fields).unwrap_or_default();
        if let Some(address) = self.outgoing(ask, &codings, recall.finding).address {
            address.note(true);
        }
        let page = held.confirm(ask.visitor.as_ref().map(|visitor| plans.reader(&visitor.0)));
        self.on_end(ask, StatusCode::OK)(&page.outcome);
        let report = PageReport::new(Rewrite::Done, None);
        {
            let mut facts = report.facts_mut();
            facts.coding_in = Some(codings.last().copied().unwrap_or(Coding::Identity));
            facts.coding_out = Some(Coding::Gzip);
            facts.mark = ask.mark.filter(|_| recall.no_slots.is_none()).map(Mark::text);
            facts.mark_level = self.level().code();
            facts.mark_skip = recall.no_slots;
            (facts.body_in, facts.body_out, facts.known) = (page.read, page.written, true);
            facts.found(page.outcome);
        }
        self.edit_headers(ask, &wish, recall.finding, &mut head.headers, Coding::Gzip, false);
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(page.body.remaining()));
        head.extensions.insert(report);
        Response::from_parts(head, PageBody::packed(page.body))
    }
}

/// What a 304 confirms.
#[derive(Clone, Copy)]
pub(super) struct Confirmed<'a> {
    plans: &'a Arc<PlanCache>,
    recall: &'a Recall,
    stored: &'a Arc<Stored>,
    held: &'a Held,
    /// By another validator than its own: the page leaves without one.
    odd: bool,
}

impl<'a> Confirmed<'a> {
    /// `None`: it is no 304, or one for the client.
    pub(super) fn by<R>(answer: &Response<R>, ask: &Ask, recall: Option<&'a Recall>, site: &'a Site) -> Option<Self> {
        if answer.status() != StatusCode::NOT_MODIFIED {
            return None;
        }
        let (plans, recall) = (site.plans.as_ref()?, recall?);
        let (stored, Asked { held, tags }) = recall.stored.as_ref().zip(recall.asked.as_ref())?;
        let named = Named::by(&stored.head.tag, tags, answer.headers());
        match named {
            Named::Ours => stored.learn_that_it_names_tags(),
            Named::Weak | Named::Odd => {
                plans.distrust(&ask.host);
                plans.forget(recall.front, stored);
            }
            Named::Nothing | Named::Theirs => {}
        }
        // Where nothing else was asked, an odd one means our page, or one that the site takes for it.
        let is_for_us = match named {
            Named::Ours | Named::Weak | Named::Nothing => true,
            Named::Theirs => false,
            Named::Odd => tags.is_empty(),
        };
        let odd = matches!(named, Named::Weak | Named::Odd);
        is_for_us.then_some(Self { plans, recall, stored, held, odd })
    }
}

/// The validator that a 304 names (RFC 9110 §15.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Ours,
    /// Ours as a weak one: the page means the same, and may be another one byte by byte.
    Weak,
    /// One of the client's tags.
    Theirs,
    /// None, and no tag but ours was sent.
    Nothing,
    /// One that was not sent, several, or none where it must.
    Odd,
}

impl Named {
    /// `tags`: those of the client; none of them is ours.
    fn by(ours: &EntityTag, tags: &[EntityTag], confirmed: &HeaderMap) -> Self {
        let mut lines = confirmed.get_all(header::ETAG).iter();
        let Some(line) = lines.next() else {
            return if tags.is_empty() { Self::Nothing } else { Self::Odd };
        };
        match EntityTag::parse(line.as_bytes()).filter(|_| lines.next().is_none()) {
            Some(tag) if tag == *ours => Self::Ours,
            Some(tag) if tag.opaque == ours.opaque => Self::Weak,
            Some(tag) if tags.iter().any(|other| other.opaque == tag.opaque) => Self::Theirs,
            _ => Self::Odd,
        }
    }
}

/// The tags of the client, beside which another one may be sent. `None`: it has the same one, or the site could not say which it
/// confirms.
fn tags_beside(headers: &HeaderMap, tag: &EntityTag, names_tags: bool) -> Option<Vec<EntityTag>> {
    if !headers.contains_key(header::IF_NONE_MATCH) {
        return Some(Vec::new());
    }
    let tags = headers::none_match(headers)?;
    (names_tags && tags.iter().all(|other| other.opaque != tag.opaque)).then_some(tags)
}

/// Asks by a tag, too, behind those of the client.
fn add_tag(headers: &mut HeaderMap, tag: &EntityTag, tags: &[EntityTag]) {
    let all: Vec<EntityTag> = tags.iter().chain([tag]).cloned().collect();
    headers::set_none_match(headers, &all);
}

/// Does the request ask for all of a page, under no condition but `If-None-Match`?
pub(super) fn asks_for_all(headers: &HeaderMap) -> bool {
    let others = [header::RANGE, header::IF_RANGE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    let dated = headers.contains_key(header::IF_MODIFIED_SINCE) && !headers.contains_key(header::IF_NONE_MATCH);
    !dated && !others.iter().any(|name| headers.contains_key(name))
}

/// Does nothing in a request make the answer one for this client alone, and may it be stored?
fn is_anonymous(headers: &HeaderMap) -> bool {
    let named = [header::COOKIE, header::AUTHORIZATION].iter().any(|name| headers.contains_key(name));
    !named && !has_directive(headers, "no-store") && !nominates(headers)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderName, Request, request};
    use http_body::Body as _;
    use http_body_util::{BodyExt, Full};
    use memchr::memmem;
    use tower::ServiceExt;

    use super::*;
    use crate::page::encoding::Decoder;
    use crate::page::protect::spare::KnownCodings;
    use crate::page::protect::{Marking, Protect};
    use crate::page::{Findings, PageFacts, Settings};
    use crate::rights;
    use crate::secret::{Secret, Secrets};
    use crate::visitor::trap::{BeaconOffer, Offers};
    use crate::visitor::{self, Visitor};
    use crate::watermark::{self, Whitespace};

    /// A site with one page, and what it was asked.
    #[derive(Clone, Default)]
    struct Origin(Arc<Mutex<State>>);

    #[derive(Clone, Default)]
    struct State {
        text: &'static str,
        fields: Vec<(&'static str, &'static str)>,
        /// Of a 304.
        confirmed: Vec<(&'static str, &'static str)>,
        /// It answers with the page, whatever is asked.
        stubborn: bool,
        asked: Vec<HeaderMap>,
    }

    const PLAIN: [(&str, &str); 6] = [
        ("etag", "\"v1\""),
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("vary", "accept-encoding"),
        ("content-security-policy", "default-src 'self'"),
        ("x-own", "1"),
    ];

    impl Origin {
        fn new(text: &'static str) -> Self {
            let origin = Self::default();
            origin.change(|state| (state.text, state.fields) = (text, PLAIN.to_vec()));
            origin.name("\"v1\"");
            origin
        }

        fn change(&self, change: impl FnOnce(&mut State)) {
            change(&mut self.0.lock().unwrap());
        }

        /// Another tag.
        fn name(&self, tag: &'static str) {
            self.field("etag", tag);
            self.change(|state| state.confirmed = vec![("etag", tag), ("cache-control", "max-age=60")]);
        }

        fn field(&self, name: &'static str, value: &'static str) {
            self.change(|state| {
                state.fields.retain(|(other, _)| *other != name);
                state.fields.push((name, value));
            });
        }

        fn answer(&self, asked: &HeaderMap) -> Response<Full<Bytes>> {
            let mut state = self.0.lock().unwrap();
            state.asked.push(asked.clone());
            let field = |name: &str| state.fields.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
            let text = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let same = field("etag").is_some_and(|tag| text(header::IF_NONE_MATCH).split(", ").any(|of| of == tag));
            let mut response = Response::new(Full::default());
            let fields = if !state.stubborn && same {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                &state.confirmed
            } else {
                *response.body_mut() = Full::from(page(state.text));
                &state.fields
            };
            for &(name, value) in fields {
                response.headers_mut().append(name, HeaderValue::from_static(value));
            }
            response
        }

        /// What it was asked by last.
        fn asked_by(&self, name: HeaderName) -> Option<String> {
            let state = self.0.lock().unwrap();
            state.asked.last()?.get(name).map(|value| value.to_str().unwrap().to_owned())
        }

        fn tags(&self) -> Option<String> {
            self.asked_by(header::IF_NONE_MATCH)
        }
    }

    fn page(text: &str) -> String {
        let words = "<p>The committee said on Monday that it will not publish the full report before the end of the \
            month, because members cannot agree on its wording.</p>\n";
        format!("<!doctype html><html><head><title>{text}</title></head><body><article>{}", words.repeat(30))
    }

    const ARTICLE: &[u8] = b"<!doctype html><title>t</title><article><p>x</p></article>";

    fn site() -> Arc<Site> {
        let findings = Arc::new(Findings::default());
        findings.learn_page(ARTICLE);
        site_with(findings)
    }

    fn site_with(findings: Arc<Findings>) -> Arc<Site> {
        site_of(&Settings { compress: true, ..Settings::default() }, findings)
    }

    fn site_of(settings: &Settings, findings: Arc<Findings>) -> Arc<Site> {
        let mut site = Site::new(settings, &rights::Settings::default(), "/.deckle").unwrap();
        let secrets = Secrets::from(Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap());
        let mut settings = watermark::Settings::default();
        settings.channels.whitespace = Whitespace::Always;
        site.mark_with(Marking { secrets, settings, findings, styles: Arc::default() }).unwrap();
        Arc::new(site)
    }

    struct Answer {
        status: StatusCode,
        headers: HeaderMap,
        facts: PageFacts,
        length: Option<u64>,
        body: Bytes,
    }

    impl Answer {
        fn tag(&self) -> String {
            self.headers[header::ETAG].to_str().unwrap().to_owned()
        }

        fn shows(&self, text: &str) -> bool {
            let mut page = Vec::new();
            Decoder::new(self.coding(), 1 << 20).push(&self.body, &mut page).unwrap();
            memmem::find(&page, format!("<title>{text}</title>").as_bytes()).is_some()
        }

        fn coding(&self) -> Coding {
            content_codings(&self.headers).unwrap()[0]
        }
    }

    fn head_of(reader: u32, change: impl FnOnce(&mut request::Parts)) -> request::Parts {
        let request = Request::get("/a").header("host", "news.example").header("accept-encoding", "gzip");
        let request = request.header("user-agent", format!("reader {reader}"));
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        change(&mut head);
        let arrived = Duration::from_secs(1_795_000_000);
        head.extensions.insert(Visitor::from_head(&head, &visitor::Settings::default(), arrived).unwrap());
        head
    }

    async fn ask(site: &Arc<Site>, origin: &Origin, reader: u32, change: impl FnOnce(&mut request::Parts)) -> Answer {
        let head = head_of(reader, change);
        let origin = origin.clone();
        let inner = tower::service_fn(move |request: Request<()>| {
            std::future::ready(Ok::<_, Infallible>(origin.answer(request.headers())))
        });
        let protect = Protect::new(inner, Arc::clone(site), KnownCodings::new());
        let (head, body) = protect.oneshot(Request::from_parts(head, ())).await.unwrap().into_parts();
        let report = head.extensions.get::<PageReport>().cloned().unwrap();
        let length = body.size_hint().exact();
        let body = body.collect().await.unwrap().to_bytes();
        site.plans.as_ref().unwrap().settle();
        Answer { status: head.status, headers: head.headers, facts: report.facts(), length, body }
    }

    async fn get(site: &Arc<Site>, origin: &Origin, reader: u32) -> Answer {
        ask(site, origin, reader, |_| {}).await
    }

    fn with(name: &'static str, value: &str) -> impl FnOnce(&mut request::Parts) + use<> {
        let value = value.parse::<HeaderValue>().unwrap();
        move |head: &mut request::Parts| _ = head.headers.insert(name, value)
    }

    /// A page that is packed, and whose head two readers have got.
    async fn warm(origin: &Origin) -> Arc<Site> {
        let site = site();
        warm_again(&site, origin).await;
        site
    }

    async fn warm_again(site: &Arc<Site>, origin: &Origin) {
        for reader in 1..5 {
            get(site, origin, reader).await;
        }
    }

    #[tokio::test]
    async fn a_page_that_is_packed_leaves_in_gzip_where_the_client_likes_nothing_better() {
        use Coding::{Br, Gzip};
        let origin = Origin::new("one");
        let site = site();
        let mut reader = 0;
        let mut codings = async |site: &Arc<Site>, accepts: &str, text: &str, count: usize| {
            let mut codings = Vec::new();
            for _ in 0..count {
                reader += 1;
                let got = ask(site, &origin, reader, with("accept-encoding", accepts)).await;
                assert!(got.shows(text), "{accepts}, reader {reader}");
                assert_eq!(got.facts.coding_out, Some(got.coding()));
                assert_eq!(got.headers["vary"], "accept-encoding");
                codings.push(got.coding());
            }
            codings
        };
        let all = "gzip, deflate, br, zstd";
        assert_eq!(
            codings(&site, all, "one", 5).await,
            [Br, Br, Br, Gzip, Gzip],
            "two readers have it, and a third sees that it is packed"
        );
        assert_eq!(site.plans.as_ref().unwrap().counts().packed_answers, 2);
        for accepts in ["gzip;q=0.9, br", "br, zstd", "br;q=0.5, gzip;q=0.4"] {
            assert_eq!(codings(&site, accepts, "one", 1).await, [Br], "{accepts}");
        }
        assert_eq!(codings(&site, all, "one", 1).await, [Gzip]);
        // Another page leaves in the coding that was said, and is not packed yet.
        origin.change(|state| state.text = "two");
        origin.name("\"v2\"");
        assert_eq!(codings(&site, all, "two", 5).await, [Gzip; 5]);
        let settings = Settings { compress: true, prefer_packed: false, ..Settings::default() };
        let findings = Arc::new(Findings::default());
        findings.learn_page(ARTICLE);
        assert_eq!(codings(&site_of(&settings, findings), all, "two", 6).await, [Br; 6]);
    }

    fn confirmed(site: &Site) -> u64 {
        site.plans.as_ref().unwrap().counts().packed_confirmed
    }

    #[tokio::test]
    async fn a_page_in_whose_charset_nothing_is_marked_is_packed_too() {
        let origin = Origin::new("one");
        origin.field("content-type", "text/html");
        let site = warm(&origin).await;
        let counts = || site.plans.as_ref().unwrap().counts();
        let (before, got) = (counts().packed_answers, get(&site, &origin, 9).await);
        assert_eq!((counts().packed_answers, got.facts.mark_skip), (before + 1, Some("charset_late")));
        assert!(got.shows("one"));
    }

    #[tokio::test]
    async fn a_page_that_is_confirmed_leaves_as_if_it_had_come() {
        let (origin, stubborn) = (Origin::new("one"), Origin::new("one"));
        stubborn.change(|state| state.stubborn = true);
        let (site, other) = (warm(&origin).await, warm(&stubborn).await);
        assert_eq!(origin.tags(), None, "nothing was stored before");
        for (number, reader) in (10..16).enumerate() {
            let cookie = || with(if u32::is_multiple_of(reader, 2) { "cookie" } else { "x-other" }, "a=b");
            let (got, expect) =
                (ask(&site, &origin, reader, cookie()).await, ask(&other, &stubborn, reader, cookie()).await);
            assert_eq!((origin.tags().as_deref(), confirmed(&site)), (Some("\"v1\""), number as u64 + 1));
            assert!(got.status == StatusCode::OK && got.shows("one") && got.body == expect.body);
            let length = got.body.len() as u64;
            assert_eq!((got.length, expect.length), (Some(length), None));
            let mut headers = expect.headers;
            headers.insert("content-length", length.into());
            assert_eq!(got.headers, headers);
            assert!(got.tag().starts_with("W/\"v1~dk") && got.headers["cache-control"] == "private, no-cache");
            let facts = |facts: &PageFacts| {
                let how = (facts.rewrite, facts.skip, facts.known, facts.guard_placed, facts.notice_placed);
                let bytes = (facts.body_in, facts.body_out, facts.coding_in, facts.coding_out);
                let mark = (facts.mark.clone(), facts.mark_level, facts.mark_skip, facts.mark_off.clone());
                (how, bytes, mark, facts.mark_late, facts.carriers, facts.plan.clone(), facts.error)
            };
            assert_eq!(facts(&got.facts), facts(&expect.facts));
            assert!(got.facts.known && got.facts.carriers.white > 100 && got.facts.mark.is_some());
        }
        let counts = site.plans.as_ref().unwrap().counts();
        let others = other.plans.as_ref().unwrap().counts();
        assert_eq!((counts.hits, counts.packed_answers), (others.hits, others.packed_answers));
        assert_eq!(others.packed_confirmed, 0);
    }

    #[test]
    fn nothing_is_looked_for_where_a_copy_cannot_leave_packed() {
        let site = site();
        for (accepted, looks) in [("gzip", true), ("br, gzip", true), ("br", true), ("identity", false), ("*", false)] {
            let mut head = head_of(1, with("accept-encoding", accepted));
            let mut ask = site.ask(&mut head);
            assert_eq!(site.recall(&ask, &mut head.headers).is_some(), looks, "{accepted}");
            // A page that is known to come so is asked for without a coding, and leaves as before.
            ask.preferred = Coding::Gzip;
            assert!(site.recall(&ask, &mut head.headers).is_some(), "{accepted}");
        }
    }

    #[tokio::test]
    async fn nothing_of_a_request_is_kept_while_its_answer_leaves() {
        let origin = Origin::new("one");
        let read = Bytes::from(vec![b'a'; 64]);
        let head = head_of(1, |head| {
            head.headers.insert("x-own", HeaderValue::from_maybe_shared(read.clone()).unwrap());
        });
        let other = origin.clone();
        let inner = tower::service_fn(move |request: Request<()>| {
            std::future::ready(Ok::<_, Infallible>(other.answer(request.headers())))
        });
        let protect = Protect::new(inner, site(), KnownCodings::new());
        let answer = protect.oneshot(Request::from_parts(head, ())).await.unwrap();
        origin.change(|state| state.asked.clear());
        assert!(!answer.body().is_end_stream() && read.is_unique());
    }

    #[tokio::test]
    async fn what_another_page_teaches_while_the_site_answers_holds_for_the_answer() {
        let findings = Arc::new(Findings::default());
        let (origin, site) = (Origin::new("one"), site_with(Arc::clone(&findings)));
        let inner = tower::service_fn(move |request: Request<()>| {
            findings.learn_page(ARTICLE);
            std::future::ready(Ok::<_, Infallible>(origin.answer(request.headers())))
        });
        let protect = Protect::new(inner, site, KnownCodings::new());
        let answer = protect.oneshot(Request::from_parts(head_of(1, |_| {}), ())).await.unwrap();
        let facts = answer.extensions().get::<PageReport>().unwrap().facts();
        assert_eq!((facts.mark.is_some(), facts.mark_skip), (true, None));
        assert!(answer.headers().contains_key("etag"), "it need not be kept from caches");
    }

    #[tokio::test]
    async fn requests_that_must_not_use_it_are_answered_by_the_site() {
        let origin = Origin::new("one");
        let site = warm(&origin).await;
        let date = "Sun, 01 Feb 2026 00:00:00 GMT";
        for (name, value) in [
            ("range", "bytes=0-9"),
            ("if-range", "\"v1\""),
            ("if-match", "\"v1\""),
            ("if-unmodified-since", date),
            ("if-modified-since", date),
            ("if-none-match", "*"),
            ("authorization", "Basic eDp5"),
            ("accept-encoding", "br"),
            ("accept-encoding", "gzip, br"),
            ("accept-encoding", "identity"),
        ] {
            let answer = ask(&site, &origin, 10, with(name, value)).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}");
            assert!(!origin.tags().unwrap_or_default().contains("v1"), "{name}");
        }
        for method in [Method::HEAD, Method::POST] {
            ask(&site, &origin, 10, |head| head.method = method).await;
            assert_eq!(origin.tags(), None);
        }
        // A style sheet is offered to this copy alone.
        let beacon = Some(BeaconOffer { path: "/b/0.css".to_owned(), placed: Arc::new(|| {}) });
        let offers = Offers { beacon, link: None };
        ask(&site, &origin, 10, |head| _ = head.extensions.insert(offers)).await;
        assert_eq!((origin.tags(), confirmed(&site)), (None, 0));
        for (name, value) in [("cookie", "a=b"), ("accept-language", "de"), ("if-none-match", "\"x\"")] {
            ask(&site, &origin, 10, with(name, value)).await;
            assert_eq!(origin.tags().as_deref(), Some("\"v1\""), "{name}");
        }
        assert_eq!(confirmed(&site), 3);
        // What is public may be confirmed for those who prove who they are, too.
        let origin = Origin::new("one");
        origin.field("cache-control", "public, max-age=60");
        let site = warm(&origin).await;
        ask(&site, &origin, 10, with("authorization", "Basic eDp5")).await;
        assert_eq!(confirmed(&site), 1);
    }

    #[tokio::test]
    async fn answers_that_must_not_be_stored_are_not() {
        for (name, value) in [
            ("set-cookie", "a=b"),
            ("cache-control", "private"),
            ("cache-control", "no-store"),
            ("vary", "*"),
            ("vary", "accept-encoding, x-forwarded-proto"),
            ("etag", "W/\"v1\""),
            ("etag", "v1"),
        ] {
            let origin = Origin::new("one");
            origin.field(name, value);
            let site = warm(&origin).await;
            for reader in 10..13 {
                assert!(get(&site, &origin, reader).await.facts.known);
                assert_eq!(origin.tags(), None, "{name}: {value}");
            }
        }
        // Nor is what somebody in particular has got.
        for (name, value) in [("cookie", "a=b"), ("authorization", "Basic eDp5"), ("cache-control", "no-store")] {
            let origin = Origin::new("one");
            origin.field("cache-control", "public");
            let site = site();
            for reader in 1..7 {
                ask(&site, &origin, reader, with(name, value)).await;
                assert_eq!(origin.tags(), None, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_head_is_for_the_fields_that_it_varies_by() {
        let origin = Origin::new("one");
        origin.field("vary", "accept-language, cookie");
        let site = warm(&origin).await;
        for (name, value, asked) in [("x-a", "b", true), ("accept-language", "de", false), ("cookie", "a=b", false)] {
            ask(&site, &origin, 10, with(name, value)).await;
            assert_eq!(origin.tags().is_some(), asked, "{name}");
        }
        // What somebody in particular has got took the place of nothing.
        for (reader, asked) in [(11, false), (12, true)] {
            ask(&site, &origin, reader, with("accept-language", "de")).await;
            assert_eq!(origin.tags().is_some(), asked, "{reader}");
        }
    }

    #[tokio::test]
    async fn a_page_that_has_changed_comes_as_usual_and_is_confirmed_the_next_time() {
        let origin = Origin::new("one");
        let site = warm(&origin).await;
        assert!(get(&site, &origin, 10).await.shows("one"));
        origin.change(|state| state.text = "two");
        origin.name("\"v2\"");
        for reader in 1..4 {
            let answer = get(&site, &origin, reader).await;
            assert!(answer.shows("two") && answer.length.is_none() && answer.tag().starts_with("W/\"v2~dk"));
            assert_eq!(origin.tags().as_deref(), Some("\"v1\""));
        }
        assert!(get(&site, &origin, 4).await.shows("two"));
        assert_eq!(origin.tags(), None, "one reader has got its head");
        assert!(get(&site, &origin, 10).await.shows("two"));
        assert_eq!((origin.tags().as_deref(), confirmed(&site)), (Some("\"v2\""), 2));
        assert_eq!(site.plans.as_ref().unwrap().counts().validator_mismatches, 0);
    }

    #[tokio::test]
    async fn a_site_whose_tags_lie_is_found_out_and_not_believed_again() {
        let origin = Origin::new("one");
        let site = warm(&origin).await;
        origin.change(|state| state.text = "two");
        let mut lies = 0;
        while !get(&site, &origin, 10).await.shows("two") {
            lies += 1;
            assert!(lies < 256, "one of 256 is compared");
        }
        assert_eq!(site.plans.as_ref().unwrap().counts().validator_mismatches, 1);
        for reader in 10..20 {
            assert!(get(&site, &origin, reader).await.shows("two"));
            assert_eq!(origin.tags(), None);
        }
        assert_eq!(confirmed(&site), lies);
    }

    #[tokio::test]
    async fn the_tags_of_a_client_go_before_ours_and_a_304_says_whose_is_meant() {
        let origin = Origin::new("one");
        let site = warm(&origin).await;
        let own = get(&site, &origin, 10).await.tag();
        let again = |tag: &str| ask(&site, &origin, 10, with("if-none-match", tag));
        // The same tag: the client has this very copy.
        let answer = again(&own).await;
        assert_eq!((answer.status, origin.tags().as_deref()), (StatusCode::NOT_MODIFIED, Some("\"v1\"")));
        assert!(answer.tag() == own && answer.body.is_empty() && confirmed(&site) == 1);
        origin.change(|state| state.text = "two");
        origin.name("\"v2\"");
        warm_again(&site, &origin).await;
        get(&site, &origin, 10).await;
        let answer = again(&own).await;
        assert_eq!((answer.status, origin.tags().as_deref()), (StatusCode::OK, Some("\"v1\", \"v2\"")));
        assert!(answer.shows("two") && answer.tag().starts_with("W/\"v2~dk") && confirmed(&site) == 3);
        // The page is what it was.
        origin.change(|state| state.text = "one");
        origin.name("\"v1\"");
        let answer = again(&own).await;
        assert_eq!((answer.status, origin.tags().as_deref()), (StatusCode::NOT_MODIFIED, Some("\"v1\", \"v2\"")));
        assert!(answer.tag() == own && confirmed(&site) == 3);
        // It does not say whose tag it means: the client's question was there first.
        origin.change(|state| state.confirmed = Vec::new());
        assert_eq!(again(&own).await.status, StatusCode::NOT_MODIFIED);
        assert!(!site.plans.as_ref().unwrap().trusts("news.example"));
    }

    #[tokio::test]
    async fn while_nobody_knows_what_a_304_says_the_tags_of_a_client_go_alone() {
        let origin = Origin::new("one");
        let site = warm(&origin).await;
        let own = ask(&site, &origin, 10, with("range", "bytes=0-9")).await.tag();
        origin.change(|state| state.text = "two");
        origin.name("\"v2\"");
        warm_again(&site, &origin).await;
        // What is said of another page says nothing of this one.
        for reader in 1..6 {
            ask(&site, &origin, reader, |head| head.uri = "/a?page=2".parse().unwrap()).await;
        }
        assert_eq!((origin.tags().as_deref(), confirmed(&site)), (Some("\"v2\""), 1));
        let answer = ask(&site, &origin, 10, with("if-none-match", &own)).await;
        assert_eq!((answer.status, origin.tags().as_deref()), (StatusCode::OK, Some("\"v1\"")));
        assert_eq!(confirmed(&site), 1);
    }

    #[tokio::test]
    async fn a_304_with_an_odd_tag_is_answered_and_ends_it() {
        let date = ("last-modified", "Sun, 01 Feb 2026 00:00:00 GMT");
        for (fields, asked) in [
            (vec![("etag", "W/\"v1\""), date], false),
            (vec![("etag", "\"v0\"")], false),
            (vec![("etag", "v1")], false),
            (vec![("etag", "\"v1\""), ("etag", "\"v0\"")], false),
            (vec![date], true),
            (vec![], true),
        ] {
            let origin = Origin::new("one");
            let site = warm(&origin).await;
            origin.change(|state| state.confirmed.clone_from(&fields));
            let answer = get(&site, &origin, 10).await;
            assert!(answer.status == StatusCode::OK && answer.shows("one") && confirmed(&site) == 1);
            let tag = answer.headers.get(header::ETAG).map(|tag| tag.to_str().unwrap().starts_with("W/\"v1~dk"));
            assert_eq!(tag, asked.then_some(true), "{fields:?}");
            assert!(!answer.headers.contains_key(header::LAST_MODIFIED), "{fields:?}");
            assert_eq!(site.plans.as_ref().unwrap().heads(), usize::from(asked), "{fields:?}");
            get(&site, &origin, 10).await;
            assert_eq!(origin.tags().is_some(), asked, "{fields:?}");
        }
    }

    /// A proxy takes away what `Connection` names, so nobody knows here what the site was asked.
    #[tokio::test]
    async fn whoever_keeps_a_field_from_the_site_leaves_no_head_behind() {
        let origin = Origin::new("one");
        let site = site();
        for reader in 1..8 {
            ask(&site, &origin, reader, |head| {
                with("accept-language", "de")(head);
                with("connection", "accept-language")(head);
            })
            .await;
        }
        assert_eq!((origin.tags(), site.plans.as_ref().unwrap().heads()), (None, 0));
    }

    /// The client has another version, and the site has begun to compress in front.
    #[tokio::test]
    async fn our_tag_as_a_weak_one_is_no_304_for_the_client() {
        let origin = Origin::new("one");
        let site = warm(&origin).await;
        get(&site, &origin, 10).await;
        let old = get(&site, &origin, 10).await.tag().replace("v1", "v0");
        origin.change(|state| state.confirmed = vec![("etag", "W/\"v1\"")]);
        let answer = ask(&site, &origin, 10, with("if-none-match", &old)).await;
        assert!(answer.status == StatusCode::OK && answer.shows("one"), "{}", answer.status);
        assert!(!answer.headers.contains_key(header::ETAG));
    }

    #[tokio::test]
    async fn a_head_is_used_when_two_readers_have_got_the_same_and_is_never_overwritten() {
        let origin = Origin::new("one");
        let site = site();
        let own = async |reader| {
            let answer = get(&site, &origin, reader).await;
            (origin.tags().is_some(), answer.headers["x-own"].to_str().unwrap().to_owned())
        };
        // The third one gets the page when it is packed, and then nobody else asks.
        for reader in [1, 2, 3, 3, 3] {
            assert_eq!(own(reader).await, (false, "1".to_owned()));
        }
        origin.field("x-own", "2");
        for (reader, asked) in [(4, false), (5, false), (6, false), (7, true)] {
            assert_eq!(own(reader).await, (asked, "2".to_owned()), "{reader}");
        }
        // A page that comes all the same has something else in its head, whoever asks.
        for name in ["x-other", "cookie"] {
            origin.field("x-own", "3");
            ask(&site, &origin, 8, |head| {
                with("if-none-match", "*")(head);
                with(name, "a=b")(head);
            })
            .await;
            origin.field("x-own", "2");
            for (reader, asked) in [(4, false), (5, false), (6, true)] {
                assert_eq!(own(reader).await, (asked, "2".to_owned()), "{name} {reader}");
            }
        }
    }

    #[tokio::test]
    async fn of_those_that_could_ask_and_of_no_others_one_is_compared() {
        let origin = Origin::new("one");
        let site = warm(&origin).await;
        let own = get(&site, &origin, 10).await.tag();
        for _ in 0..250 {
            ask(&site, &origin, 10, with("if-none-match", &own)).await;
        }
        for _ in 0..10 {
            get(&site, &origin, 10).await;
            assert!(origin.tags().is_some());
        }
    }

    /// A 304 may say that the page is to be made in another way, and the source is not here to do so.
    #[tokio::test]
    async fn what_a_304_says_of_the_page_holds_and_the_next_answer_is_made_by_it() {
        for (name, value) in [
            ("content-security-policy", "script-src 'none'"),
            ("cache-control", "no-transform"),
            ("cache-control", "no-store"),
            ("content-language", "de"),
        ] {
            let origin = Origin::new("one");
            let site = warm(&origin).await;
            origin.change(|state| state.confirmed = vec![("etag", "\"v1\""), (name, value)]);
            let answer = get(&site, &origin, 10).await;
            assert!(answer.shows("one") && confirmed(&site) == 1);
            assert!(answer.headers.contains_key(name));
            get(&site, &origin, 10).await;
            assert_eq!((origin.tags(), confirmed(&site)), (None, 1), "{name}: {value}");
        }
        // What it says of itself changes nothing for the next one.
        for (name, value) in [("set-cookie", "a=b"), ("cache-control", "private"), ("x-own", "2")] {
            let origin = Origin::new("one");
            let site = warm(&origin).await;
            origin.change(|state| state.confirmed = vec![("etag", "\"v1\""), (name, value)]);
            let answer = get(&site, &origin, 10).await;
            assert!(answer.headers[name].to_str().unwrap().starts_with(value));
            origin.name("\"v1\"");
            let answer = get(&site, &origin, 10).await;
            assert!(!answer.headers.contains_key("set-cookie") && answer.headers["x-own"] == "1");
            assert_eq!((origin.tags().as_deref(), confirmed(&site)), (Some("\"v1\""), 2), "{name}");
        }
    }
}
