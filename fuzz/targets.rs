//! What must hold.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use deckle::page::{Findings, Marking, ProtectLayer, Replace, Settings};
use deckle::rights::image::{self, DataMining};
use deckle::rights::robots::Robots;
use deckle::rights::{Policy, fields, statement};
use deckle::secret::{Secret, Secrets};
use deckle::slot::{Slot, What};
use deckle::unit::Size;
use deckle::visitor::{ForwardedHeader, Peer, TrustedProxies, Visitor};
use deckle::watermark::{self, Level, Whitespace};
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt};

use crate::chunks::Chunks;
use crate::generate::{CODINGS, CSP, HOPS, HTML, ROBOTS, TAGS, USAGE, XMP, field, text};
use crate::undo::undo;

pub(crate) type Target = Box<dyn FnMut(&mut Rng)>;

/// deckle's page stage, a visitor, and a site that answers what it is told to.
struct Stage {
    layer: ProtectLayer,
    findings: Arc<Findings>,
    visitor: Visitor,
    runtime: Runtime,
}

/// What comes out: the fields of the request that reached the site, the fields of the answer, and its body.
type Exchange = (HeaderMap, HeaderMap, Vec<u8>);

impl Stage {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let config = "[rights]\nholder = \"The Post\"\n[rights.uses]\nai_train = \"deny\"\n";
        let rights = deckle::config::Config::from_toml(config).unwrap().rights;
        let mut settings = Settings::default();
        settings.guard.replace = vec![Replace::WpBuy, Replace::Ays];
        change(&mut settings);
        let secrets = Secrets::from(Secret::new(1, b"an example secret of 32 bytes or").unwrap());
        let mut marks = watermark::Settings::default();
        marks.channels.whitespace = Whitespace::Always;
        (marks.level, marks.markup) = (Some(Level::Variants), true);
        let list = |selectors: &[&str]| selectors.iter().map(|selector| (*selector).to_owned()).collect();
        marks.preserve = list(&[".poem", "section .box"]);
        marks.skip = list(&[".box", "main li"]);
        let findings = Arc::new(Findings::default());
        findings.learn_page(b"<!doctype html><title>t</title><article><p>x</p></article>");
        let layer = ProtectLayer::new(&settings, &rights, "/.deckle").unwrap();
        let marking = Marking { secrets, settings: marks, findings: Arc::clone(&findings), styles: Arc::default() };
        let layer = layer.marking(marking).unwrap();
        let mut request = Request::builder().uri("/a").header("host", "news.example").body(()).unwrap();
        request.extensions_mut().insert(Peer { address: ([203, 0, 113, 7], 1).into(), secure: false });
        let (head, ()) = request.into_parts();
        let arrived = Duration::from_secs(1_795_000_000);
        let visitor = Visitor::from_head(&head, &deckle::visitor::Settings::default(), arrived).unwrap();
        Self {
            layer,
            findings,
            visitor,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn exchange(&self, asked: HeaderMap, answered: HeaderMap, pieces: Vec<Bytes>) -> Exchange {
        let seen = Arc::new(Mutex::new(HeaderMap::new()));
        let site = {
            let (seen, answer) = (Arc::clone(&seen), Mutex::new(Some((answered, pieces))));
            tower::service_fn(move |request: Request<()>| {
                *seen.lock().unwrap() = request.headers().clone();
                let (headers, pieces) = answer.lock().unwrap().take().unwrap();
                let mut response = Response::new(Chunks(pieces.into_iter()));
                *response.headers_mut() = headers;
                std::future::ready(Ok::<_, Infallible>(response))
            })
        };
        let mut request = Request::new(());
        *request.uri_mut() = "/a".parse().unwrap();
        *request.headers_mut() = asked;
        request.extensions_mut().insert(self.visitor.clone());
        let response = self.runtime.block_on(self.layer.layer(site).oneshot(request)).unwrap();
        let (head, body) = response.into_parts();
        let body = self.runtime.block_on(body.collect()).unwrap().to_bytes().to_vec();
        let seen = seen.lock().unwrap().clone();
        (seen, head.headers, body)
    }
}

fn html() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))])
}

fn pieces(random: &mut Rng, page: &[u8]) -> Vec<Bytes> {
    let longest = *random.choice(&[1usize, 7, 60, 5_000, 40_000]).unwrap();
    let mut rest = page;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(random.usize(1..=longest).min(rest.len()));
        pieces.push(Bytes::copy_from_slice(now));
        rest = later;
    }
    pieces
}

/// Any bytes in any pieces: what leaves, without the edits, is what came.
pub(crate) fn rewriter() -> Target {
    let stage = Stage::new(|settings| settings.plan_cache = Size(0));
    Box::new(move |random| {
        let page = text(random, HTML, 60);
        stage.findings.load_json("{}");
        stage.findings.learn_page(&page);
        let marked = stage.findings.knows_any();
        let cut = pieces(random, &page);
        // What the style of the page says counts for the next one.
        let mut edits = stage.layer.edits(&page, "text/html; charset=utf-8");
        let (_, _, copy) = stage.exchange(HeaderMap::new(), html(), cut);
        // What cannot be read to its end teaches nothing, and is not marked.
        let stays = |what: &What| matches!(what, What::Fixed(_) | What::Choice(Slot::Variant { .. }));
        edits.retain(|edit| marked || stays(&edit.what));
        // A page that is left alone has no edits to take out.
        if copy != page {
            let back = undo(&copy, &page, &edits).unwrap();
            assert!(back == page, "{}\n{}\n{edits:?}", page.escape_ascii(), copy.escape_ascii());
        }
    })
}

/// A page that is known leaves as one that is parsed does, whatever has changed in it.
pub(crate) fn plans() -> Target {
    let (known, parsed) = (Stage::new(|_| {}), Stage::new(|settings| settings.plan_cache = Size(0)));
    let mut last = Vec::new();
    Box::new(move |random| {
        if last.is_empty() || random.u8(..) < 40 {
            let part = text(random, HTML, 30);
            last = [b"<!doctype html><title>t</title><article>".to_vec(), part.repeat(random.usize(1..600))].concat();
        } else if random.bool() {
            let at = random.usize(..last.len());
            last.splice(at..at, text(random, HTML, 3));
        }
        last.truncate(100_000);
        let cut = pieces(random, &last);
        let (_, _, copy) = known.exchange(HeaderMap::new(), html(), cut.clone());
        let (_, _, expected) = parsed.exchange(HeaderMap::new(), html(), cut);
        assert!(copy == expected, "{} bytes", last.len());
    })
}

/// A policy is what it was, but for what stands behind one value.
pub(crate) fn csp() -> Target {
    let stage = Stage::new(|settings| settings.origin = Some("https://news.example".to_owned()));
    let page = Bytes::from_static(b"<!doctype html><title>t</title>");
    Box::new(move |random| {
        let name = header::CONTENT_SECURITY_POLICY;
        let Some(policy) = field(random, CSP, 24) else { return };
        let mut answered = html();
        answered.insert(&name, policy.clone());
        let (_, sent, _) = stage.exchange(HeaderMap::new(), answered, vec![page.clone()]);
        // `'none'` gives way to a value.
        let bytes = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).replace("'none'", "").into_bytes();
        let (before, after) = (bytes(&policy), bytes(&sent[&name]));
        let mut rest = before.iter().peekable();
        for byte in &after {
            rest.next_if_eq(&byte);
        }
        assert!(rest.next().is_none(), "{policy:?} became {:?}", sent[&name]);
        // A directive of its own takes over the values of `default-src`.
        assert!(after.len() <= 3 * before.len() + 2_000, "{policy:?} became {:?}", sent[&name]);
    })
}

/// A tag goes out and comes back; what comes from elsewhere is never passed on as the site's.
pub(crate) fn entity_tags() -> Target {
    let stage = Stage::new(|_| {});
    let page = Bytes::from_static(b"<!doctype html><title>t</title>");
    Box::new(move |random| {
        let (Some(tag), Some(list)) = (field(random, TAGS, 5), field(random, TAGS, 9)) else { return };
        let mut answered = html();
        answered.insert(header::ETAG, tag.clone());
        let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, list.clone()), (header::IF_MATCH, list)]);
        let (_, sent, _) = stage.exchange(asked, answered, vec![page.clone()]);
        let Some(ours) = sent.get(header::ETAG) else { return };
        let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, ours.clone())]);
        let (seen, ..) = stage.exchange(asked, html(), vec![]);
        // A tag that ends like one of ours is taken for one.
        let foreign = memchr::memmem::find(tag.as_bytes(), b"~dk").is_none();
        if foreign {
            assert_eq!(seen.get(header::IF_NONE_MATCH), Some(&tag));
        }
    })
}

/// The site is asked for nothing that deckle cannot read.
pub(crate) fn accept_encoding() -> Target {
    let stage = Stage::new(|settings| settings.compress = true);
    let page = Bytes::from_static(b"<!doctype html><title>t</title>");
    Box::new(move |random| {
        let Some(value) = field(random, CODINGS, 10) else { return };
        let asked = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
        let (seen, sent, body) = stage.exchange(asked, html(), vec![page.clone()]);
        for item in seen[header::ACCEPT_ENCODING].to_str().unwrap().split(',') {
            let token = item.split(';').next().unwrap().trim().to_ascii_lowercase();
            assert!(["gzip", "x-gzip", "br", "zstd", "deflate", "identity"].contains(&token.as_str()), "{item:?}");
        }
        assert_eq!(sent.contains_key(header::CONTENT_ENCODING), !body.starts_with(b"<!doctype"));
    })
}

/// Whoever stands behind no proxy that is trusted is who the socket says.
pub(crate) fn forwarded() -> Target {
    let trusted = vec!["10.0.0.0/8".parse().unwrap()];
    let kinds = [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded];
    let proxies = kinds.map(|kind| TrustedProxies::new(trusted.clone(), kind));
    Box::new(move |random| {
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "forwarded"] {
            for _ in 0..random.usize(0..3) {
                headers.extend(field(random, HOPS, 9).map(|value| (HeaderName::from_static(name), value)));
            }
        }
        for proxies in &proxies {
            let stranger = ([203, 0, 113, 7], 1).into();
            let client = proxies.client(Some(stranger), &headers);
            assert_eq!(client.ip, Some([203, 0, 113, 7].into()));
            proxies.client(Some(([10, 0, 0, 9], 1).into()), &headers);
            assert_eq!(proxies.client(None, &headers).ip, None);
        }
    })
}

/// The site's file stays, and nothing in it is loosened.
pub(crate) fn robots() -> Target {
    let config = "[rights]\nlicense.url = \"https://a.example/l.xml\"\n[rights.uses]\nai_train = \"deny\"\nsearch = \"allow\"\n\
        [[rights.scope]]\nagents = [\"CCBot\"]\nuses = { crawl = \"deny\" }\n[[rights.scope]]\npath = \"/x\"\nuses = { ai_train = \"allow\" }\n";
    let policy = Policy::new(&deckle::config::Config::from_toml(config).unwrap().rights).unwrap();
    Box::new(move |random| {
        let own = text(random, ROBOTS, 20);
        let Some(merged) = statement::robots_txt(&policy, Some(&own)) else { return };
        assert!(merged.starts_with(&own));
        let (before, after) = (Robots::parse(&own), Robots::parse(&merged));
        for agent in ["GPTBot", "CCBot", "Googlebot", "x"] {
            for path in ["/", "/x", "/aXb", "/~a", "/robots.txt", "/\u{30C4}"] {
                let loosened = after.allows(agent, path) && !before.allows(agent, path);
                assert!(!loosened, "{agent} {path}: {}", String::from_utf8_lossy(&own));
            }
        }
    })
}

/// Whatever the site says, the refusal is there and can be read.
pub(crate) fn content_usage() -> Target {
    let config = "[rights]\n[rights.uses]\nai_train = \"deny\"\n";
    let policy = Policy::new(&deckle::config::Config::from_toml(config).unwrap().rights).unwrap();
    let uses = policy.resolve("/");
    let name = HeaderName::from_static("content-usage");
    Box::new(move |random| {
        let mut headers = HeaderMap::new();
        for _ in 0..random.usize(0..3) {
            headers.extend(field(random, USAGE, 8).map(|value| (name.clone(), value)));
        }
        fields::declare(&policy, uses, &mut headers);
        let lines: Vec<&str> = headers.get_all(&name).iter().map(|v| v.to_str().unwrap()).collect();
        let all: sfv::Dictionary = sfv::Parser::new(&lines.join(", ")).parse().unwrap();
        let item = match all.get("train-ai") {
            Some(sfv::ListEntry::Item(item)) => item.bare_item.as_token().map(sfv::TokenRef::as_str),
            _ => None,
        };
        assert_eq!(item, Some("n"), "{lines:?}");
    })
}

/// Whatever stands in an image before a packet, the packet is read.
pub(crate) fn images() -> Target {
    let packet = b"\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
        <r:Description xmlns:p='http://ns.useplus.org/ldf/xmp/1.0/' p:DataMining='DMI-PROHIBITED'/></r:RDF></x:xmpmeta>";
    Box::new(move |random| {
        let image = [text(random, XMP, 60).as_slice(), packet].concat();
        let reading = image::read(&image);
        assert!(reading.values.contains(&DataMining::Prohibited), "{}", image.escape_ascii());
        assert!(reading.values.len() <= DataMining::ALL.len() && reading.unknown.len() <= 8);
    })
}
