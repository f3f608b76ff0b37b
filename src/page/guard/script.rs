//! The scripts, each under a name that holds its hash: `/.deckle/guard.9f2c4e1ab07d3356.js`.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use sha2::{Digest, Sha256};

use super::super::csp::Target;
use super::super::encoding::{Coding, Encoder};

/// What a script can do. One source gives all three (`scripts/guard`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Mode `attribute`.
    Core,
    /// Mode `quote`, and `attribute` with the beacon.
    Quote,
    /// Mode `block`.
    Block,
}

impl Kind {
    fn source(self) -> &'static str {
        let file = match self {
            Self::Core => include_str!("../../../assets/guard.core.min.js"),
            Self::Quote => include_str!("../../../assets/guard.quote.min.js"),
            Self::Block => include_str!("../../../assets/guard.block.min.js"),
        };
        // The first line names the source that the file was made of.
        file.split_once('\n').map_or(file, |(_, script)| script)
    }
}

/// One script, ready to be served.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) kind: Kind,
    pub(super) lang: String,
    pub(super) path: String,
    /// `sha256-…`.
    pub(super) integrity: Arc<str>,
    /// What a policy has to let run.
    pub(super) target: Target,
    etag: HeaderValue,
    plain: Bytes,
    gzip: OnceLock<Bytes>,
    br: OnceLock<Bytes>,
}

impl Script {
    /// The script of a kind that says `message` in `lang`.
    pub(super) fn new(kind: Kind, lang: &str, message: &str, mount: &str) -> Self {
        let text = serde_json::Value::from(format!("{lang}\n{message}")).to_string().replace("</", "<\\/");
        let body = kind.source().replace("\"MESSAGES\"", &text);
        let digest = Sha256::digest(&body);
        let hex = HEXLOWER.encode(digest.get(..8).unwrap_or_default());
        Self {
            kind,
            lang: lang.to_owned(),
            path: format!("{mount}/guard.{hex}.js"),
            integrity: format!("sha256-{}", BASE64.encode(&digest)).into(),
            target: Target::default(),
            // Weak: one for all codings.
            etag: HeaderValue::from_str(&format!("W/\"{hex}\"")).unwrap_or(HeaderValue::from_static("W/\"guard\"")),
            plain: Bytes::from(body),
            gzip: OnceLock::new(),
            br: OnceLock::new(),
        }
    }

    pub(super) fn answer(&self, method: &Method, request: &HeaderMap) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        if !matches!(*method, Method::GET | Method::HEAD) {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::VARY, "accept-encoding"),
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        headers.insert(header::ETAG, self.etag.clone());
        if self.is_known(request) {
            headers.remove(header::CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let (coding, body) = self.negotiate(request);
        if coding != Coding::Identity {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.code()));
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if *method == Method::GET {
            *response.body_mut() = Full::new(body);
        }
        response
    }

    fn is_known(&self, request: &HeaderMap) -> bool {
        request.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).is_some_and(|list| {
            list == "*" || list.split(',').any(|tag| weak(tag.trim().as_bytes()) == weak(self.etag.as_bytes()))
        })
    }

    fn negotiate(&self, request: &HeaderMap) -> (Coding, Bytes) {
        let accepted = request.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let takes = |token: &str| {
            accepted.split(',').any(|item| {
                let (name, weight) = item.split_once(';').unwrap_or((item, ""));
                name.trim().eq_ignore_ascii_case(token)
                    && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
            })
        };
        let packed = |coding, cell: &OnceLock<Bytes>| cell.get_or_init(|| compressed(coding, &self.plain)).clone();
        if takes("br") {
            (Coding::Br, packed(Coding::Br, &self.br))
        } else if takes("gzip") {
            (Coding::Gzip, packed(Coding::Gzip, &self.gzip))
        } else {
            (Coding::Identity, self.plain.clone())
        }
    }
}

fn compressed(coding: Coding, plain: &Bytes) -> Bytes {
    let mut out = Vec::new();
    let done =
        Encoder::new(coding).is_some_and(|mut e| e.push(plain, &mut out).and_then(|()| e.finish(&mut out)).is_ok());
    // An encoder into memory does not fail; if it did, no script would be better than a wrong one.
    if done { Bytes::from(out) } else { Bytes::new() }
}

/// A tag for the weak comparison (RFC 9110 §8.8.3.2).
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::super::language::LANGUAGES;
    use super::*;

    const SOURCE: &str = include_str!("../../../assets/guard.js");

    #[test]
    fn the_minified_files_are_made_of_the_source() {
        let hash = HEXLOWER.encode(&Sha256::digest(SOURCE));
        for file in [
            include_str!("../../../assets/guard.core.min.js"),
            include_str!("../../../assets/guard.quote.min.js"),
            include_str!("../../../assets/guard.block.min.js"),
        ] {
            assert!(file.starts_with(&format!("/*src:sha256-{hash}*/\n")), "run scripts/guard");
        }
    }

    /// Bytes as they are, and with gzip at its best.
    fn sizes(script: &Script) -> (usize, usize) {
        use std::io::Write as _;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&script.plain).unwrap();
        (script.plain.len(), gzip.finish().unwrap().len())
    }

    #[test]
    fn every_script_keeps_its_budget() {
        let core = sizes(&Script::new(Kind::Core, "", "", "/.deckle"));
        println!("core: {} bytes, gzip {}", core.0, core.1);
        assert!(core.0 <= 4_608 && core.1 <= 2_200, "{core:?}");
        for kind in [Kind::Quote, Kind::Block] {
            let most = LANGUAGES.map(|(lang, block, quote)| {
                let message = if kind == Kind::Quote { quote } else { block };
                sizes(&Script::new(kind, lang, message, "/.deckle"))
            });
            let (plain, gzip) =
                (most.map(|m| m.0).into_iter().max().unwrap(), most.map(|m| m.1).into_iter().max().unwrap());
            println!("{kind:?}: at most {plain} bytes, gzip {gzip}");
            assert!(plain <= 6_400 && gzip <= 3_050, "{kind:?} {plain} {gzip}");
        }
    }

    #[test]
    fn messages_are_put_in_and_cannot_end_the_script() {
        let script = Script::new(Kind::Quote, "xx", "</script>\"it’s", "/.deckle");
        let text = std::str::from_utf8(&script.plain).unwrap();
        assert!(text.contains(r#""xx\n<\/script>\"it’s""#), "{text}");
        assert!(!text.contains("MESSAGES"));
    }

    /// The beacon is sent and forgotten; nothing else leaves the page, and nothing is waited for.
    #[test]
    fn scripts_ask_for_nothing_and_wait_for_nothing() {
        for (kind, beacons) in [(Kind::Core, 0), (Kind::Quote, 1), (Kind::Block, 1)] {
            let text = kind.source();
            assert_eq!(text.matches("sendBeacon(").count(), beacons, "{kind:?}");
            for call in [
                "fetch(",
                "XMLHttpRequest",
                "WebSocket",
                "EventSource",
                "RTCPeerConnection",
                "import(",
                "importScripts",
                "serviceWorker",
                "Worker(",
                "new Image",
                ".src=",
                "await",
                "async",
                ".then(",
                "Promise",
            ] {
                assert!(!text.contains(call), "{kind:?} {call}");
            }
        }
    }

    #[test]
    fn coded_answers_hold_the_script() {
        use std::io::Read as _;
        let script = Script::new(Kind::Core, "", "", "/.deckle");
        let mut gzip = String::new();
        let packed = compressed(Coding::Gzip, &script.plain);
        flate2::read::GzDecoder::new(&*packed).read_to_string(&mut gzip).unwrap();
        assert_eq!(gzip, script.plain);
        assert!(packed.len() < script.plain.len());
    }
}
