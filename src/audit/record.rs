//! [`AuditRecord`]: one response, one line.
//!
//! Keys are those of OpenTelemetry's semantic conventions where there is one, `deckle.*` otherwise; their order is fixed;
//! an absent value is an absent key. `docs/reference/record.md` explains each.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::cut::{MAX_METHOD, Notes, Overlong, cut, trace_context};
use super::json::ObjectWriter;
use super::privacy::{Pseudonyms, render_address};
use super::{Escalate, Settings};
use crate::action::{Action, ChallengeStep, Decision};
use crate::rights::robots::RobotsText;
use crate::suspicion::{Assessment, Fired};
use crate::visitor::{Category, Method, RouteClass, Verification, Visitor, bare_host};
use crate::watermark::{Carriers, PlanNote};

/// Methods that are named as they are (RFC 9110 §9, RFC 5789).
pub(super) const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Everything that is written about one response. It takes a few KiB at most: of what a client has sent it holds no more than is
/// written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditRecord {
    /// When the request arrived, since 1970.
    pub time: Duration,
    /// Its id.
    pub request_id: Uuid,
    /// Method as sent, first 32 bytes.
    pub method: Cow<'static, str>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host, lower case, first 255 characters.
    pub host: Arc<str>,
    /// Path as sent; of more than 2,048 bytes: redacted and cut.
    pub path: Arc<str>,
    /// Query as sent, redacted when written; of more than 1,024 bytes: redacted and cut.
    pub query: Option<String>,
    /// What the client saw; absent when it saw nothing.
    pub status: Option<u16>,
    /// Bytes handed to the connection.
    pub body_size: u64,
    /// Media type.
    pub content_type: Option<String>,
    /// `1.0`, `1.1`, `2` or `3`.
    pub protocol: &'static str,
    /// `User-Agent` as sent, first 516 bytes.
    pub user_agent: Option<Vec<u8>>,
    /// `Referer` as sent, first 516 bytes; without its query when written.
    pub referer: Option<Vec<u8>>,
    /// `traceparent` (W3C Trace Context), if it names a trace; of more than 64 bytes: the ids of trace and span.
    pub trace_parent: Option<String>,
    /// Who asked.
    pub visitor: Option<Visitor>,
    /// How sure.
    pub assessment: Option<Assessment>,
    /// What was done.
    pub decision: Option<Decision>,
    /// What happened to the page.
    pub page: Option<PageSummary>,
    /// Arrival to end of body.
    pub duration: Duration,
    /// The inner call to its response head.
    pub upstream: Option<Duration>,
    /// The whole body went out.
    pub complete: bool,
    /// What went wrong.
    pub error: Option<&'static str>,
    /// What is known of values that were too long.
    pub(crate) overlong: Option<Box<Overlong>>,
}

/// What the record says about a page.
#[derive(Debug, Clone, Default)]
pub struct PageSummary {
    /// `done`, `headers`, `skipped`, `partial` or `aborted`.
    pub rewrite: &'static str,
    /// Why not further.
    pub skip: Option<&'static str>,
    /// Decoded bytes read and rewritten.
    pub body_in: u64,
    /// Rewritten bytes before encoding.
    pub body_out: u64,
    /// Coding of the upstream and of the answer.
    pub encoding: Option<(&'static str, &'static str)>,
    /// The mark of the copy.
    pub mark: Option<String>,
    /// How much the page may be marked.
    pub mark_level: &'static str,
    /// Places that carry the mark.
    pub carriers: Carriers,
    /// What is told of the page, the same for all its copies.
    pub plan: Option<Arc<PlanNote>>,
    /// Why there is no mark.
    pub mark_skip: Option<&'static str>,
    /// Channels that were not used here, and why: `w:css_unknown`.
    pub mark_off: Vec<&'static str>,
    /// That a script compares the text of the page was seen when marks had been placed. It is counted, and not in the log.
    pub mark_late: bool,
    /// The mark of another copy, which the request brought along.
    pub mark_seen: Option<String>,
    /// What the upstream did wrong.
    pub error: Option<&'static str>,
    /// A robots.txt that left whole.
    pub robots: Option<RobotsText>,
}

impl AuditRecord {
    /// Something was done about it, so it must not be lost in a flood.
    pub(crate) fn has_priority(&self) -> bool {
        self.decision.as_ref().is_some_and(|d| d.action > Action::Allow)
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.visitor.as_ref().and_then(|v| v.address.ip)
    }

    /// Declared robots, impostors and whoever was challenged or refused are named in full; readers are not.
    pub(super) fn escalates(&self, from: Escalate) -> bool {
        let Escalate::From(least) = from else { return false };
        let robot = |v: &Visitor| v.agent.category.is_declared_bot() || v.verification == Verification::Failed;
        self.visitor.as_ref().is_some_and(robot) || self.decision.as_ref().is_some_and(|d| d.action.is_at_least(least))
    }

    /// The share of its like that is written; `None`: this one is not. Only files of pages that browsers asked for, and to
    /// which nothing was done, may be left out.
    pub(crate) fn sample(&self, share: f32) -> Option<f32> {
        let reader = self.visitor.as_ref().is_some_and(|v| v.agent.category == Category::Browser);
        let plain = self.decision.as_ref().is_none_or(|d| d.action == Action::Allow && d.would.is_none());
        if share >= 1.0 || !reader || !plain || !matches!(self.page_kind(), "asset" | "media") {
            return Some(1.0);
        }
        // The last bytes of the id are random.
        let [.., high, low] = self.request_id.as_bytes();
        let drawn = f32::from(u16::from_be_bytes([*high, *low])) / 65_536.0;
        (drawn < share).then_some(share)
    }

    /// Appends the line.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        seq: u64,
        settings: &Settings,
        sample: f32,
        pseudonyms: &mut Pseudonyms,
    ) {
        let mut notes = Notes::default();
        let mut object = ObjectWriter::new(out);
        object.number("v", 1);
        object.shown("time", format_args!("{:.3}", timestamp(self.time)));
        object.number("deckle.seq", seq);
        object.text("deckle.instance", &settings.instance());
        object.text("deckle.site", &settings.site);
        object.shown("deckle.request.id", self.request_id);
        self.write_request(&mut object, &mut notes, settings);
        self.write_response(&mut object);
        self.write_client(&mut object, &mut notes, settings, pseudonyms);
        self.write_decision(&mut object);
        self.write_page(&mut object, settings);
        object.number("deckle.duration_us", micros(self.duration));
        object.number_if("deckle.upstream_us", self.upstream.map(micros));
        object.number_if("deckle.decide_us", self.assessment.as_ref().map(|a| micros(a.took)));
        object.flag("deckle.complete", self.complete);
        object.text_if("deckle.error", self.fault());
        if sample < 1.0 {
            object.decimal("deckle.sample", sample);
        }
        if let Some((trace, span)) = self.trace_parent.as_deref().and_then(trace_context) {
            object.text("trace_id", trace);
            object.text("span_id", span);
        }
        object.list("deckle.truncated", &notes.truncated);
        object.list("deckle.lossy", &notes.lossy);
        object.end();
    }

    fn write_request(&self, object: &mut ObjectWriter<'_>, notes: &mut Notes, settings: &Settings) {
        let known = METHODS.contains(&&*self.method);
        object.text("http.request.method", if known { &self.method } else { "_OTHER" });
        if !known {
            object.text("http.request.method_original", cut(&self.method, MAX_METHOD));
        }
        object.text("url.scheme", self.scheme);
        let known = settings.hosts.is_empty() || settings.hosts.iter().any(|h| h.as_str() == bare_host(&self.host));
        object.text("server.address", if self.host.is_empty() || !known { "_other" } else { &self.host });
        object.text("url.path", &self.path_text(notes, settings));
        object.text_if("url.query", self.query_text(notes, settings).as_deref());
    }

    /// The pseudonym of the visitor; `None`: without an address there is none.
    pub(super) fn visitor_id(&self, settings: &Settings, pseudonyms: &mut Pseudonyms) -> Option<String> {
        let client = self.visitor.as_ref()?.address.client();
        pseudonyms.visitor_id(self.time, client, self.user_agent_parts(), &settings.site)
    }

    /// What went wrong, of the page first.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.page.as_ref().and_then(|page| page.error).or(self.error)
    }

    fn write_response(&self, object: &mut ObjectWriter<'_>) {
        object.number_if("http.response.status_code", self.status.map(u64::from));
        object.number("http.response.body.size", self.body_size);
        object.text_if("http.response.header.content-type", self.content_type.as_deref());
        object.text("network.protocol.version", self.protocol);
    }

    fn write_client(
        &self,
        object: &mut ObjectWriter<'_>,
        notes: &mut Notes,
        settings: &Settings,
        pseudonyms: &mut Pseudonyms,
    ) {
        if let Some(ip) = self.address() {
            object.text_if(
                "client.address",
                render_address(ip, settings, self.escalates(settings.address_escalate)).as_deref(),
            );
        }
        if let Some(visitor) = &self.visitor {
            object.shown_if("network.peer.address", visitor.address.peer);
            object.text("deckle.client.source", visitor.address.source.code());
            if visitor.address.hops > 0 {
                object.number("deckle.client.hops", visitor.address.hops.into());
            }
            object.number_if("client.asn", visitor.asn.map(u64::from));
        }
        object.text_if("user_agent.original", self.user_agent_text(notes).as_deref());
        object.text_if("http.request.header.referer", self.referer_text(notes, settings).as_deref());
        let Some(visitor) = &self.visitor else { return };
        object.text_if("deckle.visitor.id", self.visitor_id(settings, pseudonyms).as_deref());
        object.text("deckle.visitor.category", visitor.agent.category.code());
        object.text_if("deckle.visitor.agent", visitor.agent.name.as_deref());
        object.text("deckle.visitor.verification", visitor.verification.code());
        object.text_if("deckle.visitor.verification_method", visitor.verification_method.map(Method::code));
        object.number_if("deckle.visitor.ranges_age_d", visitor.ranges_age.map(u64::from));
        object.text_if("deckle.visitor.token", self.token());
        object.text("deckle.route", visitor.route.code());
        object.flag("deckle.navigation", visitor.navigation);
    }

    /// What became of a pass that was shown.
    fn token(&self) -> Option<&'static str> {
        self.visitor.as_ref()?.pass?;
        let vouched = self.assessment.as_ref().is_some_and(|assessment| assessment.vouched);
        Some(if vouched { "valid" } else { "shared" })
    }

    /// What the decision hung on beside all else in the line, whether it changed anything or not.
    fn circumstances(&self, decision: &Decision) -> impl Iterator<Item = &'static str> {
        let known = self.visitor.as_ref().zip(self.assessment.as_ref());
        let all = known.map(|(visitor, of)| {
            [
                (of.counts_as_page, "page"),
                (of.prefetched, "prefetch"),
                (of.first_request, "first_request"),
                (of.has_fresh_pass(visitor), "pass"),
                (decision.moment.warm_up, "warm_up"),
                (decision.moment.valve, "safety_valve"),
            ]
        });
        all.into_iter().flatten().filter(|(holds, _)| *holds).map(|(_, code)| code)
    }

    fn write_decision(&self, object: &mut ObjectWriter<'_>) {
        if let Some(assessment) = &self.assessment {
            object.number("deckle.score", assessment.score.into());
            object.list("deckle.points", &assessment.points.codes());
            object.each("deckle.signals", assessment.signals.iter().map(Points));
        }
        if let Some(decision) = &self.decision {
            object.text("deckle.action", decision.action.code());
            object.text_if("deckle.would_action", decision.would.map(Action::code));
            object.shown("deckle.rule", &decision.rule);
            object.each("deckle.clamps", decision.clamps.iter().map(|clamp| clamp.code()));
            object.each("deckle.circumstances", self.circumstances(decision));
            if let Some(limit) = decision.limit {
                object.text("deckle.limit.name", limit.name);
                object.number_if("deckle.limit.retry_after", limit.retry_after);
            }
            object.text_if("deckle.challenge", decision.challenge.map(ChallengeStep::code));
            object.number_if("deckle.delay_ms", decision.delay.map(|d| d.as_millis() as u64));
        }
        if let Some(assessment) = &self.assessment {
            let degraded = [(assessment.degraded, "record"), (assessment.cut_off, "shared")];
            object.each("deckle.degraded", degraded.into_iter().filter(|(is, _)| *is).map(|(_, code)| code));
        }
    }

    fn write_page(&self, object: &mut ObjectWriter<'_>, settings: &Settings) {
        let kind = self.page_kind();
        object.text("deckle.page.kind", kind);
        if kind == "article" {
            object.text("deckle.page.article", cut(&self.article(settings), 64));
        }
        let Some(page) = &self.page else { return };
        if let Some(mark) = &page.mark {
            object.text("deckle.mark.id", mark);
            object.text("deckle.mark.level", page.mark_level);
            object.list("deckle.mark.carriers", &page.carriers.codes());
            if let Some(plan) = &page.plan {
                object.shown("deckle.mark.plan", format_args!("{:016x}", u64::from_be_bytes(plan.id)));
            }
        }
        object.list("deckle.mark.off", &page.mark_off);
        object.text_if("deckle.mark.seen", page.mark_seen.as_deref());
        if page.mark.is_none() {
            object.text_if("deckle.mark.skip", page.mark_skip);
        }
        object.text_if("deckle.robots.version", page.robots.as_ref().map(|r| r.version.as_str()));
        object.text("deckle.rewrite", page.rewrite);
        object.text_if("deckle.rewrite.skip", page.skip);
        if let Some((before, after)) = page.encoding {
            object.number("deckle.body.in", page.body_in);
            object.number("deckle.body.out", page.body_out);
            object.text("deckle.encoding.in", before);
            object.text("deckle.encoding.out", after);
        }
    }

    pub(super) fn page_kind(&self) -> &'static str {
        let html = self.content_type.as_deref() == Some("text/html");
        match self.visitor.as_ref().map(|v| v.route) {
            Some(RouteClass::Wellknown) if &*self.path == "/robots.txt" => "robots",
            Some(RouteClass::Wellknown) if self.is_like_sitemap() => "sitemap",
            Some(RouteClass::Feed) if !html => "feed",
            Some(RouteClass::Api) if !html => "api",
            Some(RouteClass::Asset) if !html => asset_kind(self.content_type.as_deref()),
            Some(_) if html && self.is_like_article() => "article",
            Some(_) if html => "index",
            _ => "other",
        }
    }
}

fn asset_kind(content_type: Option<&str>) -> &'static str {
    let media =
        content_type.is_some_and(|t| t.starts_with("image/") || t.starts_with("video/") || t.starts_with("audio/"));
    if media { "media" } else { "asset" }
}

/// RFC 3339 in UTC with three decimals.
pub(crate) fn render_time(unix: Duration) -> String {
    format!("{:.3}", timestamp(unix))
}

/// What no calendar has is 1970.
fn timestamp(unix: Duration) -> Timestamp {
    Timestamp::from_millisecond(unix.as_millis() as i64).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A signal and its points, such as `rate:12`.
struct Points<'f>(&'f Fired);

impl fmt::Display for Points<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.signal, self.0.points)
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

#[cfg(test)]
pub(crate) use tests::blank;

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain answer.
    pub(crate) fn blank() -> AuditRecord {
        AuditRecord {
            time: Duration::from_millis(1_795_466_712_345),
            request_id: Uuid::nil(),
            method: "GET".into(),
            scheme: "https",
            host: "news.example".into(),
            path: "/2026/11/20/a-b-c".into(),
            query: None,
            status: Some(200),
            body_size: 10,
            content_type: Some("text/html".into()),
            protocol: "1.1",
            user_agent: None,
            referer: None,
            trace_parent: None,
            visitor: None,
            assessment: None,
            decision: None,
            page: None,
            duration: Duration::from_micros(5),
            upstream: None,
            complete: true,
            error: None,
            overlong: None,
        }
    }

    fn line(record: &AuditRecord) -> serde_json::Value {
        let mut out = Vec::new();
        record.write(&mut out, 7, &Settings::default(), 1.0, &mut Pseudonyms::in_memory());
        assert_eq!(out.split(|b| *b == b'\n').count(), 2);
        assert!(out.len() < 16_384);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn times_have_three_decimals() {
        assert_eq!(render_time(Duration::from_millis(1_795_466_712_345)), "2026-11-23T20:45:12.345Z");
        assert_eq!(render_time(Duration::from_millis(1_795_466_712_000)), "2026-11-23T20:45:12.000Z");
        assert_eq!(render_time(Duration::from_millis(i64::MAX as u64)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn long_and_broken_values_are_cut_and_noted() {
        let mut record = blank();
        record.user_agent = Some([b"a\xFFb".to_vec(), vec![b'x'; 70_208]].concat());
        record.method = "PROPFINDX".into();
        let json = line(&record);
        assert_eq!(json["user_agent.original"].as_str().unwrap().len(), 512);
        assert_eq!(json["deckle.truncated"][0], "user_agent.original:70213");
        assert_eq!(json["deckle.lossy"][0], "user_agent.original");
        assert_eq!(json["http.request.method"], "_OTHER");
        assert_eq!(json["http.request.method_original"], "PROPFINDX");
        assert!(json.get("deckle.score").is_none());
    }

    #[test]
    fn queries_and_referrers_tell_no_secrets() {
        let mut record = blank();
        record.query = Some("p=42&token=abc&utm_source=x&flag".into());
        record.referer = Some(b"https://google.com/search?q=secret".to_vec());
        let json = line(&record);
        assert_eq!(json["url.query"], "p=42&token=REDACTED&utm_source=x&flag");
        assert_eq!(json["http.request.header.referer"], "https://google.com/");
        record.referer = Some(b"https://news.example/a?x=1#f".to_vec());
        assert_eq!(line(&record)["http.request.header.referer"], "https://news.example/a");
    }

    #[test]
    fn what_a_decision_hung_on_is_told_where_it_changed_nothing_too() {
        use crate::action::{Clamps, Moment, Rule};
        use crate::suspicion::Assessment;
        use crate::visitor::{self, Pass};
        let (head, ()) = http::Request::new(()).into_parts();
        let mut visitor = Visitor::from_head(&head, &visitor::Settings::default(), Duration::from_secs(900)).unwrap();
        let decision = Decision {
            action: Action::Allow,
            would: None,
            rule: Rule::Score,
            clamps: Clamps::new(),
            limit: None,
            delay: None,
            challenge: None,
            moment: Moment { warm_up: true, valve: false },
        };
        let assessment = Assessment { counts_as_page: true, vouched: true, ..Assessment::unknown() };
        let record = |visitor: &Visitor, assessment: &Assessment| AuditRecord {
            visitor: Some(visitor.clone()),
            assessment: Some(assessment.clone()),
            decision: Some(decision.clone()),
            ..blank()
        };
        let json = line(&record(&visitor, &assessment));
        assert_eq!(json["deckle.circumstances"], serde_json::json!(["page", "first_request", "warm_up"]));
        assert!(json.get("deckle.visitor.token").is_none());
        visitor.pass = Some(Pass { id: [1; 8], issued: 800, expires: 9_000 });
        let json = line(&record(&visitor, &assessment));
        assert_eq!(json["deckle.circumstances"], serde_json::json!(["page", "first_request", "pass", "warm_up"]));
        assert_eq!(json["deckle.visitor.token"], "valid");
        let none = Assessment { counts_as_page: false, first_request: false, vouched: false, ..assessment };
        let json = line(&record(&visitor, &none));
        assert_eq!(json["deckle.circumstances"], serde_json::json!(["warm_up"]));
        assert_eq!(json["deckle.visitor.token"], "shared", "it goes around");
    }

    #[test]
    fn the_system_of_an_address_is_told_where_it_is_known() {
        let (head, ()) = http::Request::new(()).into_parts();
        let visitor = Visitor::from_head(&head, &crate::visitor::Settings::default(), Duration::ZERO).unwrap();
        let known = Visitor { asn: Some(64_500), ..visitor.clone() };
        let of = |visitor: Visitor| line(&AuditRecord { visitor: Some(visitor), ..blank() });
        assert_eq!(of(known)["client.asn"], 64_500);
        assert_eq!(of(visitor).get("client.asn"), None);
    }

    #[test]
    fn what_is_known_of_a_mark_stands_in_its_order() {
        let keys = |page: PageSummary| -> Vec<(String, serde_json::Value)> {
            let mut out = Vec::new();
            let record = AuditRecord { page: Some(page), ..blank() };
            record.write(&mut out, 7, &Settings::default(), 1.0, &mut Pseudonyms::in_memory());
            let text = String::from_utf8(out).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            let mut keys: Vec<_> = json.as_object().unwrap().clone().into_iter().collect();
            keys.retain(|(key, _)| key.starts_with("deckle.mark."));
            keys.sort_by_key(|(key, _)| text.find(&format!("\"{key}\"")));
            keys
        };
        let marked = PageSummary {
            mark: Some("k1-0123456789ab".into()),
            mark_level: "typographic",
            carriers: Carriers { seals: 13, forms: 9, ..Carriers::default() },
            plan: Some(Arc::new(PlanNote { id: [0, 1, 2, 3, 252, 253, 254, 255], ..PlanNote::default() })),
            mark_skip: Some("not told"),
            mark_off: vec!["w:css_unknown"],
            mark_seen: Some("k0-000000000001".into()),
            ..PageSummary::default()
        };
        let expect = [
            ("deckle.mark.id", serde_json::json!("k1-0123456789ab")),
            ("deckle.mark.level", "typographic".into()),
            ("deckle.mark.carriers", serde_json::json!(["s:13", "t:9"])),
            ("deckle.mark.plan", "00010203fcfdfeff".into()),
            ("deckle.mark.off", serde_json::json!(["w:css_unknown"])),
            ("deckle.mark.seen", "k0-000000000001".into()),
        ];
        assert_eq!(keys(marked.clone()), expect.map(|(key, value)| (key.to_owned(), value)));
        let unmarked = PageSummary { mark: None, mark_off: Vec::new(), mark_skip: Some("learning"), ..marked };
        let expect = [("deckle.mark.seen", "k0-000000000001"), ("deckle.mark.skip", "learning")];
        assert_eq!(keys(unmarked), expect.map(|(key, value)| (key.to_owned(), serde_json::Value::from(value))));
        assert!(keys(PageSummary::default()).is_empty());
    }

    #[test]
    fn trace_ids_come_from_the_header() {
        let mut record = blank();
        record.trace_parent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
        assert_eq!(line(&record)["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        record.trace_parent = Some("nonsense".into());
        assert!(line(&record).get("trace_id").is_none());
    }
}
