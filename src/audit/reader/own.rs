//! deckle's own log: `docs/reference/record.md`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use data_encoding::BASE64;
use serde::de::{self, Deserialize, Deserializer, Visitor};

#[cfg(feature = "proxy")]
use super::hit::Evidence;
use super::hit::{DeckleFields, Hit, Skipped, Text};
use super::time::rfc3339;
use super::{Line, Note, PlanLine};
use crate::watermark::{SEPARATOR, VariantNote};

/// A text that is borrowed from the line, unless something in it was escaped.
#[derive(Default)]
struct Borrowed<'l>(Text<'l>);

impl<'de: 'l, 'l> Deserialize<'de> for Borrowed<'l> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

#[derive(serde::Deserialize)]
struct OwnLine<'l> {
    v: Option<u32>,
    #[serde(borrow, default)]
    time: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.kind")]
    kind: Option<Borrowed<'l>>,
    #[serde(rename = "deckle.seq", default)]
    seq: u64,
    #[serde(borrow, rename = "deckle.instance", default)]
    instance: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.site", default)]
    site: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.request.id", default)]
    request_id: Borrowed<'l>,
    #[serde(borrow, rename = "http.request.method", default)]
    method: Borrowed<'l>,
    #[serde(borrow, rename = "server.address", default)]
    host: Borrowed<'l>,
    #[serde(borrow, rename = "url.path", default)]
    path: Borrowed<'l>,
    #[serde(borrow, rename = "url.query")]
    query: Option<Borrowed<'l>>,
    #[serde(rename = "http.response.status_code")]
    status: Option<u16>,
    #[serde(rename = "http.response.body.size", default)]
    bytes: u64,
    #[serde(borrow, rename = "http.response.header.content-type")]
    content_type: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "client.address", default)]
    address: Borrowed<'l>,
    #[serde(rename = "client.asn")]
    asn: Option<u32>,
    #[serde(borrow, rename = "user_agent.original")]
    user_agent: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "http.request.header.referer")]
    referer: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.visitor.id", default)]
    visitor: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.visitor.category", default)]
    category: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.visitor.agent")]
    agent: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.visitor.verification", default)]
    verification: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.visitor.verification_method")]
    verification_method: Option<Borrowed<'l>>,
    #[serde(rename = "deckle.visitor.ranges_age_d")]
    ranges_age_d: Option<u32>,
    #[serde(borrow, rename = "deckle.visitor.token")]
    token: Option<Borrowed<'l>>,
    #[serde(rename = "deckle.score", default)]
    score: u8,
    #[serde(borrow, rename = "deckle.signals", default)]
    signals: Vec<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.action", default)]
    action: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.would_action")]
    would_action: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.challenge")]
    challenge: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.page.kind", default)]
    page_kind: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.page.article")]
    article: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.robots")]
    robots: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.robots.version")]
    robots_version: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.mark.id")]
    mark: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.mark.plan")]
    mark_plan: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.mark.seen")]
    mark_seen: Option<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.rewrite.skip")]
    rewrite_skip: Option<Borrowed<'l>>,
    #[serde(rename = "deckle.duration_us")]
    duration_us: Option<u64>,
    #[serde(rename = "deckle.upstream_us")]
    upstream_us: Option<u64>,
    #[serde(rename = "deckle.rewrite_us")]
    rewrite_us: Option<u64>,
    #[serde(rename = "deckle.complete", default)]
    complete: bool,
    #[serde(rename = "deckle.sample")]
    sample: Option<f32>,
    #[serde(rename = "dropped.channel_full", default)]
    dropped_full: u64,
    #[serde(rename = "dropped.io", default)]
    dropped_io: u64,
    #[serde(rename = "dropped.disk_full", default)]
    dropped_disk_full: u64,
    #[serde(rename = "dropped.shutdown", default)]
    dropped_shutdown: u64,
    #[serde(borrow)]
    reason: Option<Borrowed<'l>>,
    #[serde(borrow)]
    text: Option<Borrowed<'l>>,
    #[serde(borrow)]
    to: Option<Borrowed<'l>>,
}

/// The keys of lines about pages alone.
#[derive(serde::Deserialize)]
struct PageLine<'l> {
    #[serde(borrow, rename = "deckle.mark.plan")]
    id: Borrowed<'l>,
    #[serde(borrow, rename = "url.path", default)]
    path: Borrowed<'l>,
    #[serde(rename = "deckle.page.words", default)]
    words: u32,
    #[serde(borrow, rename = "deckle.page.sketch", default)]
    sketch: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.mark.variants", default)]
    variants: Vec<[Borrowed<'l>; 6]>,
}

/// What a `page` or `variants` line says; `None`: it is broken.
fn plan(line: &str) -> Option<Box<PlanLine>> {
    let line: PageLine<'_> = serde_json::from_str(line).ok()?;
    let sketch = BASE64.decode(line.sketch.0.as_bytes()).ok()?;
    let (hashes, []) = sketch.as_chunks::<4>() else { return None };
    Some(Box::new(PlanLine {
        id: line.id.0.into_owned(),
        path: line.path.0.into_owned(),
        words: line.words,
        sketch: hashes.iter().map(|hash| u32::from_be_bytes(*hash)).collect(),
        variants: line.variants.into_iter().map(variant).collect(),
    }))
}

fn variant([before_last, last, first, second, one, other]: [Borrowed<'_>; 6]) -> VariantNote {
    let words = [before_last, last, first, second].map(|word| word.0.into_owned().into_bytes());
    VariantNote {
        context: words.join(&SEPARATOR).into(),
        alternatives: [one, other].map(|text| text.0.into_owned().into()),
    }
}

/// The keys that are read for [`Evidence`] alone.
#[cfg(feature = "proxy")]
#[derive(serde::Deserialize)]
struct EvidenceLine<'l> {
    #[serde(borrow, rename = "deckle.points", default)]
    points: Vec<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.rule", default)]
    rule: Borrowed<'l>,
    #[serde(borrow, rename = "deckle.clamps", default)]
    clamps: Vec<Borrowed<'l>>,
    #[serde(borrow, rename = "deckle.circumstances")]
    circumstances: Option<Vec<Borrowed<'l>>>,
    #[serde(borrow, rename = "deckle.limit.name")]
    limit: Option<Borrowed<'l>>,
    #[serde(rename = "deckle.limit.retry_after")]
    retry_after: Option<u64>,
    #[serde(borrow, rename = "deckle.route", default)]
    route: Borrowed<'l>,
    #[serde(rename = "deckle.navigation", default)]
    navigation: bool,
}

#[cfg(feature = "proxy")]
fn texts(list: Vec<Borrowed<'_>>) -> Vec<Text<'_>> {
    list.into_iter().map(|text| text.0).collect()
}

/// What a line says about the decision; `None` for what is no line of deckle's log.
#[cfg(feature = "proxy")]
pub(crate) fn evidence(line: &[u8]) -> Option<Evidence<'_>> {
    let line: EvidenceLine<'_> = serde_json::from_slice(line).ok()?;
    Some(Evidence {
        points: texts(line.points),
        rule: line.rule.0,
        clamps: texts(line.clamps),
        circumstances: line.circumstances.map(texts),
        limit: own(line.limit),
        retry_after: line.retry_after,
        route: line.route.0,
        navigation: line.navigation,
    })
}

/// Is this a line of deckle's log? Cheap, for telling formats apart.
pub(crate) fn is_own(line: &str) -> bool {
    line.starts_with("{\"v\":") || (line.starts_with('{') && line.contains("\"deckle."))
}

pub(crate) fn parse(text: &str) -> Line<'_> {
    let Ok(line) = serde_json::from_str::<OwnLine<'_>>(text) else { return Line::Skipped(Skipped::Malformed) };
    if line.v != Some(1) && line.kind.as_ref().is_none_or(|kind| kind.0 != "erased") {
        return Line::Skipped(Skipped::Malformed);
    }
    let time = rfc3339(&line.time.0);
    let is = |kind: &str| line.kind.as_ref().is_some_and(|known| known.0 == kind);
    // A hit out of another program's log, as a table of `clickhouse` gives it back: deckle knew nothing of it.
    let foreign = is("foreign");
    if line.kind.is_some() && !is("hit") && !foreign {
        let plan = if is("page") || is("variants") { plan(text) } else { None };
        return Line::Other(Box::new(Note { plan, ..note(line, time.unwrap_or_default()) }));
    }
    match time {
        Some(time) if foreign => Line::Hit(Hit { deckle: None, ..hit(line, time) }),
        Some(time) => Line::Hit(hit(line, time)),
        None => Line::Skipped(Skipped::BadTime),
    }
}

fn note(line: OwnLine<'_>, time: Duration) -> Note {
    let kind = line.kind.map(|kind| kind.0.into_owned()).unwrap_or_default();
    // What an `end` line counts stands in `gap` lines, too, but for what was lost after the last of them.
    let [full, io, disk] = [line.dropped_full, line.dropped_io, line.dropped_disk_full];
    let dropped = full.saturating_add(io).saturating_add(disk).saturating_add(line.dropped_shutdown);
    Note {
        time,
        dropped: if kind == "gap" { dropped } else { 0 },
        clock_step: line.reason.is_some_and(|reason| reason.0 == "clock_step"),
        seq: line.seq,
        instance: line.instance.0.into_owned(),
        host: line.host.0.into_owned(),
        robots_version: line.robots_version.map(|version| version.0.into_owned()),
        text: line.text.map(|text| text.0.into_owned()),
        to: line.to.map(|to| to.0.into_owned()),
        plan: None,
        kind,
    }
}

fn own(text: Option<Borrowed<'_>>) -> Option<Text<'_>> {
    text.map(|text| text.0)
}

fn hit(line: OwnLine<'_>, time: Duration) -> Hit<'_> {
    Hit {
        time,
        address: line.address.0,
        user_agent: own(line.user_agent),
        method: line.method.0,
        host: if line.host.0 == "_other" { Cow::Borrowed("") } else { line.host.0 },
        path: line.path.0,
        query: own(line.query),
        status: line.status,
        bytes: line.bytes,
        referer: own(line.referer),
        content_type: own(line.content_type),
        foreign_signal: None,
        duration_us: line.duration_us,
        upstream_us: line.upstream_us,
        local_time: false,
        ambiguous_time: false,
        deckle: Some(Box::new(DeckleFields {
            seq: line.seq,
            instance: line.instance.0,
            site: line.site.0,
            request_id: line.request_id.0,
            visitor: line.visitor.0,
            category: line.category.0,
            agent: own(line.agent),
            verification: line.verification.0,
            verification_method: own(line.verification_method),
            ranges_age_d: line.ranges_age_d,
            asn: line.asn,
            score: line.score,
            signals: line.signals.into_iter().map(|signal| signal.0).collect(),
            action: line.action.0,
            would_action: own(line.would_action),
            challenge: own(line.challenge),
            token: own(line.token),
            page_kind: line.page_kind.0,
            article: own(line.article),
            robots: own(line.robots),
            robots_version: own(line.robots_version),
            mark: own(line.mark),
            mark_plan: own(line.mark_plan),
            mark_seen: own(line.mark_seen),
            rewrite_skip: own(line.rewrite_skip),
            rewrite_us: line.rewrite_us,
            complete: line.complete,
            sample: line.sample.filter(|share| *share > 0.0 && *share < 1.0),
            brief: false,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "proxy")]
    fn what_a_decision_hung_on_is_read_apart() {
        let line = br#"{"v":1,"deckle.points":["claim:25"],"deckle.rule":"suspicion.score.buckets","deckle.clamps":["observe"],"deckle.circumstances":["page"],"deckle.limit.name":"limited","deckle.limit.retry_after":20,"deckle.route":"page","deckle.navigation":true}"#;
        let read = evidence(line).unwrap();
        assert_eq!((read.points[0].as_ref(), read.rule.as_ref()), ("claim:25", "suspicion.score.buckets"));
        assert_eq!((read.clamps.len(), read.circumstances.as_ref().map(Vec::len)), (1, Some(1)));
        assert_eq!((read.limit.as_deref(), read.retry_after, read.navigation), (Some("limited"), Some(20), true));
        assert_eq!(evidence(b"{\"v\":1}").unwrap(), Evidence::default());
        assert!(evidence(b"203.0.113.9 - -").is_none());
    }

    #[test]
    fn lines_about_pages_say_what_they_are_made_of() {
        let plan = |line: &str| match parse(line) {
            Line::Other(note) => note.plan,
            other => panic!("{other:?}"),
        };
        let page = r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.kind":"page","deckle.seq":7,"url.path":"/a","deckle.mark.plan":"0123456789abcdef","deckle.page.words":612,"deckle.page.sketch":"AAAAAQAAAAL/////"}"#;
        let expect = PlanLine {
            id: "0123456789abcdef".to_owned(),
            path: "/a".to_owned(),
            words: 612,
            sketch: vec![1, 2, u32::MAX],
            variants: Vec::new(),
        };
        assert_eq!(plan(page).as_deref(), Some(&expect));
        let variants = r#"{"v":1,"deckle.kind":"variants","deckle.mark.plan":"0123456789abcdef","deckle.mark.variants":[["it","is","so","","al\"though","though"]]}"#;
        let variants = plan(variants).unwrap();
        let note = &variants.variants[0];
        assert_eq!((&note.context[..], &note.alternatives[0][..]), (&b"it\x1Fis\x1Fso\x1F"[..], &b"al\"though"[..]));
        assert_eq!(
            (note.alternatives[1].len(), variants.id.as_str(), variants.sketch.len()),
            (6, expect.id.as_str(), 0)
        );
        let hit = r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.mark.plan":"0123456789abcdef","deckle.mark.seen":"k1-0123456789ab"}"#;
        let Line::Hit(hit) = parse(hit) else { panic!("{hit}") };
        let deckle = hit.deckle.unwrap();
        assert_eq!(deckle.mark_plan.as_deref(), Some("0123456789abcdef"));
        assert_eq!(deckle.mark_seen.as_deref(), Some("k1-0123456789ab"));
        // What is broken is a line all the same.
        for broken in [
            page.replace("AAAAAQ", "AAAA"),
            page.replace("AAAAAQ", "!AAAAQ"),
            page.replace("mark.plan", "mark.other"),
            page.replace("\"page\"", "\"gap\""),
        ] {
            assert_eq!(plan(&broken), None, "{broken}");
        }
    }

    #[test]
    fn lines_of_the_own_log() {
        let line = r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.request.id":"x","http.request.method":"GET","url.path":"/a\"b","http.response.status_code":200,"client.address":"203.0.113.0/24","client.asn":64500,"deckle.mark.id":"k0-0123456789ab","deckle.score":40,"deckle.signals":["a:1"],"future.key":[1]}"#;
        let Line::Hit(hit) = parse(line) else { panic!("{line}") };
        assert_eq!(hit.time, Duration::from_millis(1_795_466_712_345));
        assert_eq!((hit.path.as_ref(), hit.address.as_ref()), ("/a\"b", "203.0.113.0/24"));
        assert!(matches!(hit.address, Cow::Borrowed(_)), "nothing is copied without need");
        let deckle = hit.deckle.unwrap();
        assert_eq!((deckle.mark.as_deref(), deckle.score, deckle.signals.len()), (Some("k0-0123456789ab"), 40, 1));
        assert_eq!(deckle.asn, Some(64_500));
        let gap =
            r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.kind":"gap","dropped.channel_full":7,"dropped.io":1}"#;
        let Line::Other(note) = parse(gap) else { panic!("{gap}") };
        assert_eq!((note.kind.as_str(), note.dropped), ("gap", 8));
        let foreign = r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.kind":"foreign","url.path":"/a","deckle.page.kind":"index"}"#;
        let Line::Hit(hit) = parse(foreign) else { panic!("{foreign}") };
        assert_eq!((hit.path.as_ref(), hit.deckle), ("/a", None));
        for (line, reason) in [
            ("{\"v\":2}", Skipped::Malformed),
            ("{", Skipped::Malformed),
            ("{\"v\":1,\"time\":\"yesterday\"}", Skipped::BadTime),
        ] {
            assert_eq!(parse(line), Line::Skipped(reason), "{line}");
        }
    }
}
