//! Everything about a site that shapes its pages, built once.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use encoding_rs::Encoding;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use http_body_util::Full;
use sha2::{Digest, Sha256};

use super::ask::Ask;
use super::beacon::Beacon;
use super::coding::Outgoing;
use super::fill::{self, Fills};
use super::layer::Marking;
use super::marks::{self, Marks};
use super::shape::{Address, Shape};
use super::told::Told;
use super::wish::Wish;
use crate::page::charset::{self, Charset, TextKind};
use crate::page::encoding::Coding;
use crate::page::etag::{EntityTag, TagMap};
use crate::page::guard::Guard;
use crate::page::head::HeadFindings;
use crate::page::headers::{self, Expected, Made};
use crate::page::marks::MarkRules;
use crate::page::notice::Notice;
use crate::page::pipeline::{Pipeline, Work, unmarked};
use crate::page::plan::{Encoded, Log, Memory, Obeys, Place, PlanCache, PlanCounters};
use crate::page::replace::{ReplaceWatch, Replacer};
use crate::page::rewrite::{Job, Rewriter};
use crate::page::splice::survey;
use crate::page::{Finding, PageError, Settings};
use crate::rights;
use crate::rights::RobotsMemory;
use crate::slot::{Edit, Unmarked};
use crate::visitor::{PathGlobs, check_mount};
use crate::watermark::{self, Incoming, Level, Mark, SealForm};

#[derive(Clone)]
pub(super) struct Site {
    pub(super) settings: Settings,
    /// In the public origin; `None`: it is not known.
    pub(super) public_host: Option<Arc<str>>,
    /// Charset of pages that name none.
    fallback: &'static Encoding,
    /// The field in which the site names the mode of the guard for one page.
    pub(super) guard_field: Option<HeaderName>,
    pub(super) policy: rights::Policy,
    /// It says nothing: most sites, and every response is asked.
    pub(super) silent: bool,
    /// Where deckle's own paths are.
    pub(super) mount: Arc<str>,
    /// Pages carry a link that only programs follow.
    pub(super) links: bool,
    pub(super) guard: Guard,
    beacon: Option<Arc<Beacon>>,
    pub(super) notice: Notice,
    pub(super) robots: Arc<RobotsMemory>,
    pub(super) replaced: Arc<ReplaceWatch>,
    pub(super) plans: Option<Arc<PlanCache>>,
    pub(super) skip: PathGlobs,
    pub(super) unguarded: PathGlobs,
    exempt: Arc<[lol_html::Selector]>,
    pub(super) marking: Option<Arc<Marks>>,
    /// What of its pages may carry marks.
    pub(super) rules: MarkRules,
    pub(super) told: Arc<Told>,
    /// Marks are only put in before this offset of a page.
    max_page: u64,
    /// Reads the marks that come in.
    pub(super) incoming: Arc<Incoming>,
    pub(super) version: u32,
    pub(super) activated: u64,
}

impl Site {
    pub(super) fn new(settings: &Settings, rights: &rights::Settings, mount: &str) -> Result<Self, PageError> {
        let value = |(key, message)| PageError::Value { key, message };
        settings.check()?;
        check_mount(mount).map_err(value)?;
        let policy = rights::Policy::new(rights)?;
        let (bytes, packed) = of_plans(settings);
        let public = settings.origin.as_ref().and_then(|origin| origin.split_once("://"));
        let mut site = Self {
            silent: policy.is_silent(),
            mount: mount.into(),
            links: false,
            policy,
            guard: Guard::new(&settings.guard, &rights.license.name, mount).at(settings.origin.as_deref()),
            beacon: if settings.guard.beacon { Beacon::new(mount).map(Arc::new) } else { None },
            notice: Notice::new(&settings.notice, &settings.guard.lang, rights).map_err(value)?,
            robots: Arc::default(),
            replaced: Arc::default(),
            plans: PlanCache::new(bytes, packed),
            skip: globs("page.skip.paths", &settings.skip.paths)?,
            unguarded: globs("page.guard.skip.paths", &settings.guard.skip.paths)?,
            exempt: settings.guard.skip.selectors.iter().filter_map(|s| s.parse().ok()).collect(),
            settings: settings.clone(),
            public_host: public.map(|(_, host)| host.into()),
            fallback: charset::fallback(&settings.fallback_charset),
            guard_field: settings.guard.skip.header.parse().ok(),
            marking: None,
            rules: MarkRules::default(),
            told: Arc::default(),
            max_page: watermark::Settings::default().max_page.0,
            incoming: Arc::default(),
            version: 0,
            activated: 0,
        };
        site.version = site.fingerprint(rights, mount);
        Ok(site)
    }

    pub(super) fn mark_with(&mut self, marking: Marking) -> Result<(), PageError> {
        let marks = Marks::new(&marking)?;
        self.incoming = Arc::new(Incoming::new(&marking.secrets));
        let Some(marks) = marks else { return self.without_marks(&marking.settings) };
        self.obey(&marking.settings)?;
        self.count_in(&[&[marks.marker.kid()], &serde_json::to_vec(&marking.settings).unwrap_or_default()]);
        self.marking = Some(Arc::new(marks));
        Ok(())
    }

    /// What is said of marks says that there are none.
    pub(super) fn without_marks(&mut self, settings: &watermark::Settings) -> Result<(), PageError> {
        self.obey(settings)?;
        // Which alternatives there are depends on these.
        let regions = (&settings.roots, &settings.skip, &settings.preserve, &settings.hydrated, &settings.max_page);
        self.count_in(&[b"first alternatives", &serde_json::to_vec(&regions).unwrap_or_default()]);
        Ok(())
    }

    fn obey(&mut self, settings: &watermark::Settings) -> Result<(), PageError> {
        self.rules = marks::rules(settings, &self.mount)?;
        self.max_page = settings.max_page.0;
        Ok(())
    }

    /// What plans do is counted here from now on, in a new cache.
    pub(super) fn count_plans(&mut self, counters: Arc<PlanCounters>) {
        let (bytes, packed) = of_plans(&self.settings);
        self.plans = PlanCache::counting(bytes, packed, counters);
    }

    /// Goes on with plans of another layer, if its cache is as one of this would be. All that shapes a page is in their keys.
    pub(super) fn take_plans(&mut self, plans: Option<Arc<PlanCache>>) {
        let (bytes, packed) = of_plans(&self.settings);
        if let Some(plans) = plans.filter(|plans| plans.is_for(bytes, packed)) {
            plans.trust_all();
            self.plans = Some(plans);
        }
    }

    /// This shapes pages, too.
    fn count_in(&mut self, parts: &[&[u8]]) {
        let mut hash = Sha256::new();
        hash.update(self.version.to_be_bytes());
        for part in parts {
            hash.update(part);
        }
        self.version = first_32_bits(&hash.finalize());
        self.rules.version = self.version;
    }

    /// How much its pages may be marked.
    pub(super) fn level(&self) -> Level {
        self.marking.as_ref().map_or(Level::Off, |marks| marks.level)
    }

    /// The first 32 bits of a hash over everything that shapes a page.
    fn fingerprint(&self, rights: &rights::Settings, mount: &str) -> u32 {
        let mut hash = Sha256::new();
        hash.update(env!("CARGO_PKG_VERSION"));
        self.guard.fingerprint().for_each(|integrity| hash.update(integrity));
        for part in [serde_json::to_vec(&self.settings), serde_json::to_vec(rights)] {
            hash.update(part.unwrap_or_default());
        }
        hash.update(mount);
        first_32_bits(&hash.finalize())
    }

    /// Answers what is asked of deckle itself: a script of the guard, a beacon.
    pub(super) fn own(&self, head: &Parts) -> Option<Response<Full<Bytes>>> {
        let beacon = || self.beacon.as_ref().and_then(|beacon| beacon.answer(head));
        self.guard.answer(&head.method, head.uri.path(), &head.headers).or_else(beacon).or_else(|| fill::sheet(head))
    }

    pub(super) fn obeys(&self, ask: &Ask) -> Obeys {
        Obeys {
            no_transform: self.settings.respect_no_transform,
            signatures: !self.settings.break_signatures,
            types: !self.settings.sniff || ask.expected == Expected::Asset,
            xhtml: !self.settings.xhtml,
        }
    }

    /// Entity tags as this visitor's copies carry them.
    pub(super) fn with_tags<T>(&self, ask: &Ask, volatile: bool, f: impl FnOnce(&TagMap<'_>) -> T) -> T {
        let visitor = |opaque: &[u8]| -> String {
            let (Some(mark), Some(marks)) = (ask.mark, &self.marking) else { return String::new() };
            HEXLOWER.encode(&marks.tag_of(mark, opaque))
        };
        let visitor: Option<&dyn Fn(&[u8]) -> String> = if ask.mark.is_some() { Some(&visitor) } else { None };
        // A notice with the running year makes another page on New Year's Day.
        f(&TagMap { version: self.version.wrapping_add(ask.year.unsigned_abs().into()), visitor, volatile })
    }

    /// Changes the header of an answer.
    pub(super) fn edit_headers(
        &self,
        ask: &Ask,
        wish: &Wish,
        finding: Option<Finding>,
        headers: &mut HeaderMap,
        coding: Coding,
        not_modified: bool,
    ) {
        // Until the site is known a copy carries no mark: it must not be kept for later.
        let provisional = ask.per_visitor && finding.is_none() && !not_modified;
        let confirmed = if not_modified { headers.get(header::ETAG).cloned() } else { None };
        let volatile = self.settings.length_jitter || wish.policies.as_ref().is_some_and(|p| p.nonce().is_some());
        self.with_tags(ask, volatile, |tags| {
            let made = Made { coding, tags, per_visitor: ask.per_visitor, provisional, activated: self.activated };
            headers::rewrite_response(headers, &made, not_modified);
            // The client knows its copy by the tag that it sent, coding included.
            let upstream = confirmed.and_then(|v| EntityTag::parse(v.as_bytes()));
            let sent = ask.sent_tags.iter().find(|t| upstream.is_some() && tags.none_match(t, false) == upstream);
            if let Some(value) = sent.and_then(EntityTag::to_header) {
                headers.insert(header::ETAG, value);
            }
        });
    }

    /// The way of one page, and its mark if it gets one.
    pub(super) fn pipeline(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        wish: &Wish,
        finding: Option<Finding>,
        (status, response): (StatusCode, &HeaderMap),
        (codings, Outgoing { coding: outgoing, address }): (&[Coding], Outgoing),
        (fills, memory): (Fills, Option<Memory>),
    ) -> (Pipeline, Option<Mark>, Option<&'static str>) {
        let no_slots = wish.unmarked.then_some("policy").or(wish.xhtml.then_some("xhtml"));
        let no_slots = no_slots.or_else(|| self.no_slots(ask, finding));
        let body_is_root = self.body_is_root(finding);
        let fills_nothing = fills.is_empty();
        let (site, for_page, wish) = (Arc::clone(self), Arc::clone(ask), wish.clone());
        let start = Box::new(move |charset: Charset, room: usize| {
            let mut work = site.start(&for_page, wish, charset, room, no_slots, body_is_root);
            work.choose = fills.around(work.choose);
            if let Some(place) = &mut work.place {
                place.memory = memory.map(|memory| Arc::new(memory.ruled(&work.job.marks)));
            }
            work
        });
        let header = charset::from_header(response);
        let may_be_packed = outgoing == Coding::Gzip && !codings.is_empty() && fills_nothing;
        let plans = self.plans.as_ref().filter(|plans| may_be_packed && plans.packs());
        let encoded = plans.map(|plans| {
            let charset = header.map(Encoding::name);
            Encoded::new(
                plans,
                plans.key(&(self.version, &ask.host, Address::of(ask), charset, codings, no_slots, body_is_root)),
            )
        });
        let pipeline = Pipeline::new(
            codings,
            outgoing,
            self.settings.max_decoded.0,
            header,
            self.fallback,
            start,
            self.on_end(ask, status),
        );
        // What is there for one copy alone is never packed.
        let pipeline = pipeline.encoded(encoded).at(address.filter(|_| fills_nothing));
        (pipeline, ask.mark.filter(|_| no_slots.is_none()), no_slots)
    }

    fn start(
        self: &Arc<Self>,
        ask: &Ask,
        wish: Wish,
        charset: Charset,
        room: usize,
        no_slots: Option<&'static str>,
        body_is_root: bool,
    ) -> Work {
        let rules = self.page_rules(ask, no_slots.is_some());
        let address = Address::of(ask);
        let exact = address.is_exact(ask);
        let shape = Shape {
            version: self.version,
            host: &ask.host,
            address,
            year: ask.year,
            wish: &wish,
            charset: charset.encoding.name(),
            declared: charset.declared,
            room,
            no_slots,
            body_is_root,
            links: self.links,
            forms: rules.forms,
            variants: rules.variants,
            tokens: rules.tokens,
            style: rules.sheets.as_ref().map_or(0, |sheets| sheets.fingerprint()),
        };
        // A nonce is another one each time, in the page as in its head.
        let same = !self.settings.length_jitter && wish.policies.as_ref().is_none_or(|p| p.nonce().is_none());
        let place = self.plans.as_ref().filter(|_| same).map(|cache| Place {
            cache: Arc::clone(cache),
            key: cache.key(&shape),
            now: ask.arrived,
            exact,
            reader: ask.visitor.as_ref().map(|visitor| cache.reader(&visitor.0)),
            memory: None,
        });
        let choose = match charset.text_kind() {
            // In such a page nothing can be marked but its tags, so all copies are one, and may be packed as one.
            TextKind::None(_) if !rules.tokens => unmarked(),
            TextKind::Utf8 => self.choices(ask, no_slots, SealForm::Characters),
            _ => self.choices(ask, no_slots, SealForm::References),
        };
        let (site, year) = (Arc::clone(self), ask.year);
        let language = wish.language.clone();
        let job = Job {
            charset,
            policies: wish.policies.clone(),
            // What the site has named for this very page is stronger than a selector.
            exempt: if wish.named { Arc::default() } else { Arc::clone(&self.exempt) },
            replacer: Replacer::new(&self.settings.guard.replace),
            insert: Arc::new(move |findings: &HeadFindings| site.insert(findings, &wish, year, room)),
            no_slots,
            body_is_root,
            learn: self.marking.is_some(),
            max_memory: self.settings.max_memory.0 as usize,
            window: self.settings.window.0,
            esi: self.settings.esi,
            max_page: self.max_page,
            foot: self.links,
            marks: rules,
            language,
        };
        Work { job, choose, place }
    }

    /// The edits of a page that is here as a whole.
    pub(super) fn edits(self: &Arc<Self>, page: &[u8], content_type: &str) -> Vec<Edit> {
        let mut headers = HeaderMap::new();
        if let Ok(value) = content_type.parse() {
            headers.insert(header::CONTENT_TYPE, value);
        }
        let charset = charset::decide(charset::from_header(&headers), page, self.fallback);
        let (mut head, ()) = http::Request::new(()).into_parts();
        let ask = self.ask(&mut head);
        let shown = survey(page, &self.rules);
        let no_slots = shown.filter(|f| f.hydrated && !self.rules.hydrated_ok).map(|_| "hydrated");
        let mut response = Response::new(()).into_parts().0;
        response.headers = headers.clone();
        let mut wish = self.wish(&ask, &mut response);
        self.amend_policies(&mut wish, &mut headers, false);
        let room = charset::room(charset::from_header(&response.headers), page);
        let work = self.start(&ask, wish, charset, room, no_slots, self.body_is_root(shown));
        let mut rewriter = Rewriter::new(work.job).keep(Log::Edits(Vec::new()));
        let mut out = Vec::new();
        rewriter.push(page, &mut Unmarked, &mut out);
        rewriter.finish(&mut Unmarked, &mut out);
        match rewriter.take_log() {
            Log::Edits(edits) => edits,
            _ => Vec::new(),
        }
    }
}

/// The room for plans in bytes, and of how many packed copies one is compared; `None`: no page is packed.
fn of_plans(settings: &Settings) -> (u64, Option<u32>) {
    (settings.plan_cache.0, settings.packed.then_some(settings.packed_check))
}

fn globs(key: &'static str, paths: &[String]) -> Result<PathGlobs, PageError> {
    PathGlobs::new(paths).map_err(|message| PageError::Value { key, message })
}

fn first_32_bits(digest: &[u8]) -> u32 {
    digest.iter().take(4).fold(0, |v, b| v << 8 | u32::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Findings;
    use crate::secret::{Secret, Secrets};
    use crate::watermark::{self, Whitespace};

    #[test]
    fn the_version_stands_for_all_that_shapes_a_page() {
        let of = |page: &Settings, rights: &rights::Settings, mount: &str| Site::new(page, rights, mount).unwrap();
        let plain = || of(&Settings::default(), &rights::Settings::default(), "/.deckle");
        let marked = |kid: u8, whitespace: Whitespace, level: Option<Level>| {
            let mut site = plain();
            let mut settings = watermark::Settings { level, ..watermark::Settings::default() };
            settings.channels.whitespace = whitespace;
            let secret = Secret::new(kid, &(0..32).collect::<Vec<u8>>()).unwrap();
            let (findings, styles) = (Arc::default(), Arc::default());
            site.mark_with(Marking { secrets: Secrets::from(secret), settings, findings, styles }).unwrap();
            site
        };
        let mut guard = Settings::default();
        guard.guard.min_words += 1;
        let mut notice = Settings::default();
        notice.notice.text = Some("All rights reserved.".to_owned());
        let holder = rights::Settings { holder: "The Post".to_owned(), ..rights::Settings::default() };
        let off = |kid, whitespace| marked(kid, whitespace, Some(Level::Off)).version;
        assert_eq!(plain().version, plain().version);
        let same = off(1, Whitespace::Auto);
        assert_eq!(same, off(2, Whitespace::Always), "what shapes no page counts for nothing");
        let mut skipping = plain();
        skipping
            .without_marks(&watermark::Settings { skip: vec![".x".to_owned()], ..watermark::Settings::default() })
            .unwrap();
        let others = [
            ("nothing", plain().version),
            ("no marks, but what is skipped", skipping.version),
            ("a setting of the guard", of(&guard, &rights::Settings::default(), "/.deckle").version),
            ("a setting of the notice", of(&notice, &rights::Settings::default(), "/.deckle").version),
            ("the holder of the rights", of(&Settings::default(), &holder, "/.deckle").version),
            // It stands in the address of the script.
            ("the mount", of(&Settings::default(), &rights::Settings::default(), "/.other").version),
            ("no marks, but the first alternatives", same),
            ("marks", marked(1, Whitespace::Auto, None).version),
            ("another secret", marked(2, Whitespace::Auto, None).version),
            ("another channel", marked(1, Whitespace::Always, None).version),
        ];
        for (i, (name, version)) in others.iter().enumerate() {
            let twin = others.iter().take(i).find(|(_, other)| other == version);
            assert!(twin.is_none(), "{name}: as {:?}", twin.map(|(name, _)| name));
        }
        // The crate's version and the scripts are in it, and the year comes on top.
        let site = plain();
        for (crates, same) in [(env!("CARGO_PKG_VERSION"), true), ("0.0.0", false)] {
            let mut hash = Sha256::new();
            hash.update(crates);
            site.guard.fingerprint().for_each(|integrity| hash.update(integrity));
            hash.update(serde_json::to_vec(&Settings::default()).unwrap());
            hash.update(serde_json::to_vec(&rights::Settings::default()).unwrap());
            hash.update("/.deckle");
            assert_eq!(first_32_bits(&hash.finalize()) == site.version, same, "{crates}");
        }
        let (mut head, ()) = http::Request::builder().uri("/a").body(()).unwrap().into_parts();
        let mut ask = site.ask(&mut head);
        for year in [2026, 2027] {
            ask.year = year;
            let version = site.with_tags(&ask, false, |tags| tags.version);
            assert_eq!(version, site.version.wrapping_add(year.unsigned_abs().into()), "{year}");
        }
    }

    /// Another request may teach the site while this one is answered.
    #[test]
    fn head_and_body_of_an_answer_go_by_what_was_known_when_it_came() {
        let secret = Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap();
        let mut site = Site::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        let findings = Arc::new(Findings::default());
        site.mark_with(Marking {
            secrets: Secrets::from(secret),
            settings: watermark::Settings::default(),
            findings: Arc::clone(&findings),
            styles: Arc::default(),
        })
        .unwrap();
        let (mut head, ()) = http::Request::builder().uri("/a").body(()).unwrap().into_parts();
        let mut ask = site.ask(&mut head);
        (ask.mark, ask.unmarked) = (Some("k1-0123456789ab".parse().unwrap()), None);
        let (site, ask) = (Arc::new(site), Arc::new(ask));
        let before = site.finding(&ask);
        findings.learn(&ask.host, &ask.path, Finding { has_root: true, hydrated: false, amp: false });
        let mut response = Response::builder().header("etag", "\"v1\"").body(()).unwrap().into_parts().0;
        let wish = site.wish(&ask, &mut response);
        for (finding, marked) in [(before, false), (site.finding(&ask), true)] {
            let mut headers = response.headers.clone();
            let plain = Outgoing { coding: Coding::Identity, address: None };
            let (_, mark, no_mark) =
                site.pipeline(&ask, &wish, finding, (StatusCode::OK, &headers), (&[], plain), (Fills::default(), None));
            site.edit_headers(&ask, &wish, finding, &mut headers, Coding::Identity, false);
            assert_eq!((mark.is_some(), no_mark), (marked, (!marked).then_some("learning")));
            assert_eq!(headers.contains_key("etag"), marked, "an unmarked copy must not be kept: {headers:?}");
        }
    }

    #[test]
    fn the_visitors_part_of_a_tag_matches_the_reference() {
        let secret = Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap();
        let mut site = Site::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        site.mark_with(Marking {
            secrets: Secrets::from(secret),
            settings: watermark::Settings::default(),
            findings: Arc::new(Findings::default()),
            styles: Arc::default(),
        })
        .unwrap();
        let (mut head, ()) = http::Request::builder().uri("/a").body(()).unwrap().into_parts();
        let mut ask = site.ask(&mut head);
        ask.year = 0;
        ask.mark = Some("k1-0123456789ab".parse().unwrap());
        site.version = 3;
        // Computed with Python's hmac module.
        for (tag, coding, expect) in [
            ("\"abc\"", Coding::Gzip, "W/\"abc~dk3s-fe3f4481.g\""),
            ("\"v1\"", Coding::Identity, "W/\"v1~dk3s-9b595e5b.i\""),
            ("W/\"a,b\"", Coding::Gzip, "W/\"a,b~dk3-2e6eae69.g\""),
        ] {
            let tag = EntityTag::parse(tag.as_bytes()).unwrap();
            let got = site.with_tags(&ask, false, |tags| tags.outgoing(&tag, coding));
            assert_eq!(got.to_header().unwrap(), expect);
        }
    }
}
