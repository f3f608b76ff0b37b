//! A response as a row of the table.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use uuid::Uuid;

use crate::audit::reader::{DeckleFields, Hit};

/// The fields are the columns of [`COLUMNS`](super::COLUMNS), in their order; what is not known is empty or 0.
#[derive(Debug, Clone, PartialEq, ::clickhouse::Row, Serialize)]
pub(crate) struct Row {
    pub(crate) ts: i64,
    pub(crate) site: String,
    pub(crate) instance: String,
    pub(crate) seq: u64,
    pub(crate) client_address: Ipv6Addr,
    pub(crate) address_precision: String,
    pub(crate) visitor_id: String,
    #[serde(with = "::clickhouse::serde::uuid")]
    pub(crate) request_id: Uuid,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) status: u16,
    pub(crate) response_bytes: u64,
    pub(crate) user_agent: String,
    pub(crate) referer: String,
    pub(crate) agent_name: String,
    pub(crate) visitor_category: String,
    pub(crate) verification: String,
    pub(crate) verification_method: String,
    pub(crate) score: u8,
    pub(crate) signals: Vec<String>,
    pub(crate) action: String,
    pub(crate) would_action: String,
    pub(crate) page_kind: String,
    pub(crate) article_id: String,
    pub(crate) mark_id: String,
    pub(crate) robots: String,
    pub(crate) rewrite_skip: String,
    pub(crate) complete: bool,
    pub(crate) duration_us: u32,
    pub(crate) upstream_us: u32,
    pub(crate) rewrite_us: u32,
    pub(crate) sample_rate: f32,
    pub(crate) content_type: String,
    pub(crate) challenge: String,
    pub(crate) robots_version: String,
    pub(crate) client_asn: u32,
}

/// What a review finds out about a hit of a foreign log.
#[derive(Debug)]
pub(crate) struct Known<'k> {
    /// As `audit.site`.
    pub(crate) site: &'k str,
    /// Stands for the file.
    pub(crate) instance: &'k str,
    /// Its line, from 1 on.
    pub(crate) line: u64,
    /// Tells visitors apart.
    pub(crate) visitor: u64,
    pub(crate) category: &'static str,
    pub(crate) agent: Option<&'k str>,
    pub(crate) verification: &'static str,
    pub(crate) page_kind: &'static str,
    pub(crate) article: Option<&'k str>,
}

impl Row {
    /// Of deckle's own log; `None`: the hit is of another one, or of its `access.log`, where lines have no number.
    pub(crate) fn own(hit: &Hit<'_>) -> Option<Self> {
        let fields: &DeckleFields<'_> = hit.deckle.as_deref().filter(|fields| !fields.brief)?;
        Some(Self {
            site: fields.site.to_string(),
            instance: fields.instance.to_string(),
            seq: fields.seq,
            visitor_id: fields.visitor.to_string(),
            // Foreign hits are known by an id that is nil; an older log may have none that is a UUID.
            request_id: Uuid::parse_str(&fields.request_id).unwrap_or(Uuid::max()),
            agent_name: text(fields.agent.as_deref()),
            visitor_category: fields.category.to_string(),
            verification: fields.verification.to_string(),
            verification_method: text(fields.verification_method.as_deref()),
            score: fields.score,
            signals: fields.signals.iter().map(ToString::to_string).collect(),
            action: fields.action.to_string(),
            would_action: text(fields.would_action.as_deref()),
            page_kind: fields.page_kind.to_string(),
            article_id: text(fields.article.as_deref()),
            mark_id: text(fields.mark.as_deref()),
            robots: text(fields.robots.as_deref()),
            rewrite_skip: text(fields.rewrite_skip.as_deref()),
            complete: fields.complete,
            rewrite_us: micros(fields.rewrite_us),
            sample_rate: fields.sample.unwrap_or(1.0),
            challenge: text(fields.challenge.as_deref()),
            robots_version: text(fields.robots_version.as_deref()),
            client_asn: fields.asn.unwrap_or(0),
            ..Self::any(hit)
        })
    }

    /// Of another program's log, or of deckle's `access.log`.
    pub(crate) fn foreign(hit: &Hit<'_>, known: &Known<'_>) -> Self {
        let judged = hit.deckle.as_deref();
        Self {
            score: judged.map_or(0, |fields| fields.score),
            action: text(judged.map(|fields| &*fields.action)),
            mark_id: text(judged.and_then(|fields| fields.mark.as_deref())),
            site: known.site.to_owned(),
            instance: known.instance.to_owned(),
            seq: known.line,
            visitor_id: format!("{:016x}", known.visitor),
            agent_name: text(known.agent),
            visitor_category: known.category.to_owned(),
            verification: known.verification.to_owned(),
            page_kind: known.page_kind.to_owned(),
            article_id: text(known.article),
            ..Self::any(hit)
        }
    }

    /// What every log has.
    fn any(hit: &Hit<'_>) -> Self {
        let (client_address, address_precision) = address(&hit.address);
        Self {
            ts: millis(hit.time),
            client_address,
            address_precision,
            method: hit.method.to_string(),
            host: hit.host.to_string(),
            path: hit.path.to_string(),
            query: text(hit.query.as_deref()),
            status: hit.status.unwrap_or(0),
            response_bytes: hit.bytes,
            user_agent: text(hit.user_agent.as_deref()),
            referer: text(hit.referer.as_deref()),
            content_type: text(hit.content_type.as_deref()),
            duration_us: micros(hit.duration_us),
            upstream_us: micros(hit.upstream_us),
            complete: true,
            sample_rate: 1.0,
            request_id: Uuid::nil(),
            site: String::new(),
            instance: String::new(),
            seq: 0,
            visitor_id: String::new(),
            agent_name: String::new(),
            visitor_category: String::new(),
            verification: String::new(),
            verification_method: String::new(),
            score: 0,
            signals: Vec::new(),
            action: String::new(),
            would_action: String::new(),
            page_kind: String::new(),
            article_id: String::new(),
            mark_id: String::new(),
            robots: String::new(),
            rewrite_skip: String::new(),
            rewrite_us: 0,
            challenge: String::new(),
            robots_version: String::new(),
            client_asn: 0,
        }
    }

    /// About so many bytes in memory and on the way.
    pub(super) fn size(&self) -> usize {
        let long = [&self.path, &self.query, &self.user_agent, &self.referer, &self.article_id, &self.mark_id];
        let signals: usize = self.signals.iter().map(String::len).sum();
        size_of::<Self>() + long.iter().map(|text| text.len()).sum::<usize>() + signals
    }
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}

fn micros(value: Option<u64>) -> u32 {
    u32::try_from(value.unwrap_or(0)).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Network and what it was cut to: `full`, `/24`; `none` where there is no address, such as with the name of a host.
fn address(logged: &str) -> (Ipv6Addr, String) {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let bare = logged.split_once('%').map_or(logged, |(bare, _zone)| bare);
    match (bare.parse::<IpAddr>(), bare.parse::<IpNet>()) {
        (Ok(ip), _) => (mapped(ip), "full".to_owned()),
        (_, Ok(net)) => (mapped(net.network()), format!("/{}", net.prefix_len())),
        _ => (Ipv6Addr::UNSPECIFIED, "none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use ::clickhouse::Row as _;

    use super::super::COLUMNS;
    use super::*;
    use crate::audit::reader::{Format, Line, Reader};

    fn row(line: &str) -> Row {
        let mut reader = Reader::new(Format::Deckle);
        match reader.read(line.as_bytes()) {
            Line::Hit(hit) => Row::own(&hit).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_fields_are_the_columns() {
        let columns: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(Row::COLUMN_NAMES, columns);
    }

    #[test]
    fn a_line_of_the_log_fills_its_columns() {
        let row = row(
            r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.seq":7,"deckle.instance":"w1","deckle.site":"news","deckle.request.id":"0193b1c2-5a31-7c44-9d10-6f2b8e7a1c55","http.request.method":"GET","server.address":"news.example","url.path":"/a","url.query":"p=1","http.response.status_code":200,"http.response.body.size":48213,"http.response.header.content-type":"text/html","client.address":"203.0.113.0/24","client.asn":64500,"user_agent.original":"curl/8","deckle.visitor.id":"q7k2","deckle.visitor.category":"library","deckle.visitor.agent":"curl","deckle.visitor.verification":"failed","deckle.visitor.verification_method":"range","deckle.score":70,"deckle.signals":["a:1","b:2"],"deckle.action":"allow","deckle.would_action":"block","deckle.page.kind":"article","deckle.page.article":"/a","deckle.robots":"allowed","deckle.mark.id":"k1-0123456789ab","deckle.rewrite.skip":"route","deckle.duration_us":5000000000,"deckle.upstream_us":15320,"deckle.rewrite_us":611,"deckle.complete":true,"deckle.sample":0.5}"#,
        );
        assert_eq!((row.ts, row.seq, row.site.as_str(), row.instance.as_str()), (1_795_466_712_345, 7, "news", "w1"));
        assert_eq!(row.request_id.to_string(), "0193b1c2-5a31-7c44-9d10-6f2b8e7a1c55");
        assert_eq!(
            (row.client_address.to_string(), row.address_precision.as_str()),
            ("::ffff:203.0.113.0".into(), "/24")
        );
        assert_eq!((row.status, row.response_bytes, row.score, row.signals.len()), (200, 48_213, 70, 2));
        assert_eq!(row.client_asn, 64_500);
        assert_eq!((row.verification.as_str(), row.verification_method.as_str()), ("failed", "range"));
        assert_eq!((row.action.as_str(), row.would_action.as_str()), ("allow", "block"));
        assert_eq!((row.robots.as_str(), row.rewrite_skip.as_str()), ("allowed", "route"));
        assert_eq!((row.duration_us, row.upstream_us, row.rewrite_us), (u32::MAX, 15_320, 611));
        assert!(row.complete && (row.sample_rate - 0.5).abs() < f32::EPSILON);
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let row = row(r#"{"v":1,"time":"2026-11-23T20:45:12.345Z","deckle.seq":7,"url.path":"/a"}"#);
        assert_eq!((row.client_address, row.address_precision.as_str()), (Ipv6Addr::UNSPECIFIED, "none"));
        assert_eq!((row.status, row.query.as_str(), row.user_agent.as_str(), row.signals.len()), (0, "", "", 0));
        assert!(!row.request_id.is_nil(), "nil is for foreign hits");
        assert!((row.sample_rate - 1.0).abs() < f32::EPSILON && !row.complete);
    }

    #[test]
    fn addresses_of_every_form() {
        for (logged, stored, precision) in [
            ("203.0.113.9", "::ffff:203.0.113.9", "full"),
            ("203.0.113.77/24", "::ffff:203.0.113.0", "/24"),
            ("::ffff:203.0.113.9", "::ffff:203.0.113.9", "full"),
            ("2001:db8:1::/48", "2001:db8:1::", "/48"),
            ("fe80::1%eth0", "fe80::1", "full"),
            ("piweba3y.prodigy.example", "::", "none"),
            ("", "::", "none"),
        ] {
            let (address, cut) = address(logged);
            assert_eq!((address.to_string().as_str(), cut.as_str()), (stored, precision), "{logged}");
        }
    }

    #[test]
    fn a_foreign_hit_has_no_request() {
        let line = r#"203.0.113.7 - - [20/Nov/2026:10:14:07 +0100] "GET /a?x=1 HTTP/1.1" 200 512 "-" "curl/8""#;
        let mut reader = Reader::new(Format::Combined);
        let Line::Hit(hit) = reader.read(line.as_bytes()) else { panic!() };
        assert_eq!(Row::own(&hit), None);
        let known = Known {
            site: "news",
            instance: "foreign-0",
            line: 3,
            visitor: 0xAB,
            category: "library",
            agent: Some("curl"),
            verification: "none",
            page_kind: "index",
            article: None,
        };
        let row = Row::foreign(&hit, &known);
        assert!(row.request_id.is_nil());
        assert_eq!((row.seq, row.visitor_id.as_str(), row.status), (3, "00000000000000ab", 200));
        assert_eq!((row.path.as_str(), row.query.as_str(), row.page_kind.as_str()), ("/a", "x=1", "index"));
    }
}
