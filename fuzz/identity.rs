//! What must hold of whoever says who it is: signatures and passes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use deckle::DeckleLayer;
use deckle::clock::ManualClock;
use deckle::config::Config;
use deckle::secret::{Secret, Secrets};
use deckle::visitor::{Directories, Directory, IdentifyLayer, Method, Peer, Settings, Verification, Visitor};
use ed25519_dalek::{Signer, SigningKey};
use fastrand::Rng;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt};

use crate::generate::{SIGNATURES, field};
use crate::targets::Target;

const NOW: u64 = 1_795_000_000;
const FIELDS: [HeaderName; 3] = [
    HeaderName::from_static("signature-agent"),
    HeaderName::from_static("signature-input"),
    HeaderName::from_static("signature"),
];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn secrets() -> Secrets {
    Secrets::from(Secret::new(1, b"an example secret of 32 bytes or").unwrap())
}

fn peer<B>(mut request: Request<B>) -> Request<B> {
    request.extensions_mut().insert(Peer { address: ([203, 0, 113, 7], 1).into(), secure: false });
    request
}

/// Whom a layer sees.
fn visitor(runtime: &Runtime, layer: &IdentifyLayer, request: Request<()>) -> Visitor {
    let service = layer.layer(tower::service_fn(async |request: Request<()>| {
        Ok::<_, Infallible>(Response::new(request.extensions().get::<Visitor>().unwrap().clone()))
    }));
    let Ok(answer) = runtime.block_on(service.oneshot(peer(request)));
    answer.into_body()
}

/// One byte more, less or other.
fn changed(random: &mut Rng, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    let at = random.usize(..value.len());
    match random.u8(..3) {
        0 => drop(value.remove(at)),
        1 => value.insert(at, random.u8(b' '..=b'~')),
        _ => value[at] ^= 1 << random.u8(..7),
    }
    value
}

/// A signature that its key has not made over what arrived proves nothing.
pub(crate) fn signatures() -> Target {
    let key = SigningKey::from_bytes(&[7; 32]);
    let x = BASE64URL_NOPAD.encode(key.verifying_key().as_bytes());
    let keys = format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}]}}");
    let keys = Directory::parse(keys.as_bytes()).unwrap();
    let keyid = keys.keyids().next().unwrap().to_owned();
    let directories = Directories::new(&["https://crawler.example".to_owned()]).unwrap();
    directories.replace("https://crawler.example", keys);
    let layer = IdentifyLayer::with_clock(&Settings::default(), ManualClock::at(NOW)).unwrap();
    let botauth = deckle::visitor::BotAuthSettings::default();
    let layer = layer.directories(Arc::new(directories), vec!["news.example".to_owned()], &botauth);
    let runtime = runtime();
    let proven = move |path: &[u8], host: &[u8], fields: &[Vec<u8>; 3]| {
        let request = Request::builder().uri(std::str::from_utf8(path).ok()?).header("host", host);
        let mut request = request.body(()).ok()?;
        for (name, value) in FIELDS.into_iter().zip(fields) {
            request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
        }
        let visitor = visitor(&runtime, &layer, request);
        Some(visitor.verification == Verification::Verified && visitor.verification_method == Some(Method::Signature))
    };
    Box::new(move |random| {
        if random.bool() {
            let mut words = || field(random, SIGNATURES, 20).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
            let fields = [words(), words(), words()];
            assert_ne!(proven(b"/a", b"news.example", &fields), Some(true), "{fields:?}");
            return;
        }
        let (path, agent) = (format!("/a?{}", random.u32(..)), "sig1=\"https://crawler.example\"");
        let params = format!(
            "(\"@authority\" \"@path\" \"@query\" \"signature-agent\";key=\"sig1\");created={};expires={};keyid=\"{keyid}\";tag=\"web-bot-auth\"",
            NOW - random.u64(..3_600),
            NOW + random.u64(1..3_600),
        );
        let base = format!(
            "\"@authority\": news.example\n\"@path\": /a\n\"@query\": {}\n\"signature-agent\";key=\"sig1\": \"https://crawler.example\"\n\
             \"@signature-params\": {params}",
            &path[2..]
        );
        let signature = format!("sig1=:{}:", BASE64.encode(&key.sign(base.as_bytes()).to_bytes()));
        let fields = [agent.into(), format!("sig1={params}").into_bytes(), signature.into_bytes()];
        assert_eq!(proven(path.as_bytes(), b"news.example", &fields), Some(true), "{base}");
        let (mut path, mut host, mut forged) = (path.into_bytes(), b"news.example".to_vec(), fields);
        let target = match random.u8(..5) {
            0 => &mut path,
            1 => &mut host,
            2 => &mut forged[0],
            3 => &mut forged[1],
            _ => &mut forged[2],
        };
        *target = changed(random, target);
        let means_the_same = is_spelt_otherwise(&host, &forged);
        assert!(means_the_same || proven(&path, &host, &forged) != Some(true), "{path:?} {host:?} {forged:?}");
    })
}

/// Changes that RFC 9421 takes no notice of: the case of a host, blanks between what is structured, bits behind the end of
/// base64 and the slash of an origin.
fn is_spelt_otherwise(host: &[u8], fields: &[Vec<u8>; 3]) -> bool {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let parse = |bytes: &[u8]| sfv::Parser::new(&text(bytes)).parse::<sfv::Dictionary>().ok();
    let plain = |bytes: &[u8]| parse(bytes).map(|value| sfv::FieldType::serialize(&value).unwrap_or_default());
    let whole = fields.iter().any(|field| plain(field).is_some_and(|plain| plain != text(field)));
    whole || host != b"news.example" && text(host).trim_end_matches(['.', ':']).eq_ignore_ascii_case("news.example")
}

/// Nobody has passed a challenge who shows anything but the pass that was given.
pub(crate) fn passes() -> Target {
    let runtime = runtime();
    let clock = ManualClock::at(NOW);
    let config = "mode = \"enforce\"\n[suspicion.score]\nsignals = { claim_headless = 75 }\ncaps = { claim = 75 }\n";
    let layer = DeckleLayer::builder().config(Config::from_toml(config).unwrap()).secret(secrets());
    let layer = layer.clock(clock.clone()).build().unwrap();
    clock.advance(Duration::from_secs(61));
    let service = layer.layer(tower::service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"<!doctype html><title>t</title>"))))
    }));
    let get = |path: &str| {
        let request = Request::builder().uri(path).header("host", "news.example").header("accept", "text/html");
        let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36";
        let request = peer(request.header("user-agent", agent).body(()).unwrap());
        let answer = runtime.block_on(service.clone().oneshot(request)).unwrap();
        let (head, body) = answer.into_parts();
        (head, runtime.block_on(body.collect()).unwrap().to_bytes())
    };
    let (_, page) = get("/news/a-b-c");
    let page = String::from_utf8(page.to_vec()).unwrap();
    let way = page.split_once("class=\"go\" href=\"").unwrap().1.split('"').next().unwrap();
    let way = way.replace("&#x2f;", "/").replace("&amp;", "&");
    clock.advance(Duration::from_secs(5));
    let (head, _) = get(&way);
    let line = head.headers["set-cookie"].to_str().unwrap();
    let pass = line.split(';').next().unwrap().as_bytes().to_vec();
    let identify = IdentifyLayer::with_clock(&Settings::default(), clock).unwrap().secret(&secrets());
    let passed = move |cookie: &[u8]| {
        let request = Request::builder().uri("/").header("host", "news.example").header("cookie", cookie);
        visitor(&runtime, &identify, request.body(()).ok()?).pass
    };
    assert!(passed(&pass).is_some());
    Box::new(move |random| {
        let mut forged = pass.clone();
        for _ in 0..random.usize(1..3) {
            forged = changed(random, &forged);
        }
        // Blanks around, and further cookies beside it, change nothing.
        let same = forged.split(|b| *b == b';').any(|cookie| cookie.trim_ascii() == pass);
        assert!(same || passed(&forged).is_none(), "{}", forged.escape_ascii());
    })
}
