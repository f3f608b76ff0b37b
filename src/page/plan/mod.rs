//! What is done with a response, decided once, when its head is here: a pure function; and the plans of pages that were
//! seen before.
//!
//! A plan holds the edits of a page and hashes of its source in chunks of 16 KiB, nothing of the source itself until it is packed. While the
//! source of an answer agrees, it leaves with the plan's edits and this visitor's choices, and nothing is parsed. At the
//! first difference a scanner reads what has come so far, and goes on; what has left is what it would have sent.
//!
//! A page that is different each time in a nonce, a clock or a counter alone gets a plan that leaves these bytes out of its
//! hashes (`study.rs`, `volatile.rs`), where it is proven that they mean nothing to the scan (`inert.rs`).
//!
//! A plan that two readers have used is packed on a thread of its own (`packing.rs`). From then on its gzip copies are the
//! packed body with the bits of the mark, and with what is different each time as it stands in the source of this answer, once
//! the whole source agrees; in any doubt they take the ordinary way. Where its compressed bytes are known it need not be decoded
//! (`aliases.rs`), and where the site confirms that a page is still the same one, its source need not come at all
//! (`validators.rs`), unless it is different each time.

mod addresses;
mod aliases;
mod budget;
mod cache;
mod confirm;
mod counters;
mod doorkeeper;
mod draft;
mod edits;
mod hash;
mod hold;
mod inert;
mod packing;
mod place;
mod shelf;
mod source;
mod stored;
mod study;
mod template;
mod validators;
mod volatile;

use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::charset;
use super::encoding::{Coding, CodingError, content_codings};
use super::signature;
pub(crate) use addresses::PackedAddress;
pub(crate) use aliases::{Alias, Encoded, Opened, Pushed};
pub(crate) use cache::{Known, PlanCache};
pub(crate) use confirm::{Confirm, End};
pub use counters::{PlanCounters, PlanCounts};
pub(crate) use draft::Log;
#[cfg(feature = "cli")]
pub(crate) use packing::PackedPlan;
pub(crate) use place::Place;
pub(crate) use source::Source;
pub(crate) use stored::{Head, Sent, may_be_kept, nominates, strong_tag};
pub(crate) use study::Study;
pub(crate) use validators::{Held, Memory, Stored};

/// Why a response is not rewritten, or not to its end. The codes go to the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Skip {
    /// 1xx, 204, 205, 206, 304, 416, a redirect without a page.
    Status,
    /// Only the head of the page leaves: a link preview.
    Card,
    /// A `HEAD` request.
    Head,
    /// Not HTML.
    Type,
    /// No `Content-Type`.
    TypeMissing,
    /// XHTML: the scanner has no XML mode.
    Xhtml,
    /// `Content-Disposition: attachment`.
    Attachment,
    /// Server-sent events, multipart.
    StreamType,
    /// `Cache-Control: no-transform` (RFC 9110 §7.7).
    NoTransform,
    /// A content coding that deckle cannot read.
    CodingUnknown,
    /// More than two codings.
    CodingStacked,
    /// UTF-16, ISO-2022-JP and the like.
    CharsetUnsafe,
    /// The body does not begin with `<`.
    NotMarkup,
    /// Signed by RFC 9421 or C2PA.
    Signed,
    /// Another deckle has rewritten it.
    Already,
    /// `page.enabled = false` or `page.skip.paths`.
    Route,
    /// From a doubtful place on, see [`ambiguity`](super).
    Ambiguous,
    /// The scanner's memory limit.
    Memory,
    /// A fault in a handler.
    Handler,
    /// A page of frames.
    Frameset,
    /// Invalid UTF-8: from there on nothing is marked.
    BadUtf8,
}

impl Skip {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Card => "card",
            Self::Head => "head",
            Self::Type => "type",
            Self::TypeMissing => "type_missing",
            Self::Xhtml => "xhtml",
            Self::Attachment => "attachment",
            Self::StreamType => "stream_type",
            Self::NoTransform => "no_transform",
            Self::CodingUnknown => "coding_unknown",
            Self::CodingStacked => "coding_stacked",
            Self::CharsetUnsafe => "charset_unsafe",
            Self::NotMarkup => "not_markup",
            Self::Signed => "signed",
            Self::Already => "already",
            Self::Route => "route",
            Self::Ambiguous => "ambiguous",
            Self::Memory => "memory",
            Self::Handler => "handler",
            Self::Frameset => "frameset",
            Self::BadUtf8 => "bad_utf8",
        }
    }

    pub(crate) fn from_code(code: &str) -> Self {
        match code {
            "ambiguous" => Self::Ambiguous,
            "memory" => Self::Memory,
            "frameset" => Self::Frameset,
            "already" => Self::Already,
            "signed" => Self::Signed,
            "bad_utf8" => Self::BadUtf8,
            _ => Self::Handler,
        }
    }
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The body is rewritten; these codings are taken off, the last one first.
    Rewrite {
        codings: Vec<Coding>,
        /// If its first bytes look like a page: it has no type.
        sniff: bool,
        /// What goes in must be XML.
        xhtml: bool,
    },
    /// Only the header is changed, as it would be for the page.
    HeadersOnly(Skip),
    /// Nothing is changed.
    Untouched(Skip),
}

/// What the site says that is obeyed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Obeys {
    pub(crate) no_transform: bool,
    pub(crate) signatures: bool,
    /// Whether an answer that does not say so may be a page.
    pub(crate) types: bool,
    /// XHTML is left alone.
    pub(crate) xhtml: bool,
}

/// Decides about a response to a request with `method`.
pub(crate) fn decide(method: &Method, response: &Parts, obeys: Obeys) -> Decision {
    use Decision::{HeadersOnly, Rewrite, Untouched};
    let headers = &response.headers;
    if response.status == StatusCode::NOT_MODIFIED {
        return HeadersOnly(Skip::Status);
    }
    if !may_have_page(response.status) {
        return Untouched(Skip::Status);
    }
    // What stands in a redirect is not shown, and a permanent one is worth keeping as it is.
    if response.status.is_redirection() && headers.contains_key(header::LOCATION) {
        return Untouched(Skip::Status);
    }
    let (mut sniff, mut xhtml) = (false, false);
    match is_html(headers) {
        Err(Skip::Xhtml) if !obeys.xhtml => xhtml = true,
        Err(Skip::TypeMissing) if !obeys.types && !NAMES_A_FILE.iter().any(|name| headers.contains_key(name)) => {
            sniff = true;
        }
        Err(_) if response.status.is_redirection() => return Untouched(Skip::Status),
        Err(skip) => return Untouched(skip),
        Ok(()) => {}
    }
    if obeys.no_transform && has_directive(headers, "no-transform") {
        return Untouched(Skip::NoTransform);
    }
    if links_to_manifest(headers) || (obeys.signatures && signature::covers_a_page(headers)) {
        return Untouched(Skip::Signed);
    }
    if charset::from_header(headers).is_some_and(charset::is_refused) || names_utf7(headers) {
        return Untouched(Skip::CharsetUnsafe);
    }
    match content_codings(headers) {
        Err(CodingError::Unknown) => Untouched(Skip::CodingUnknown),
        Err(CodingError::Stacked) => Untouched(Skip::CodingStacked),
        Ok(_) if *method == Method::HEAD => HeadersOnly(Skip::Head),
        Ok(codings) => Rewrite { codings, sniff, xhtml },
    }
}

/// With one of these an answer without a type is no page, or nobody would take it for one.
const NAMES_A_FILE: [HeaderName; 3] =
    [header::X_CONTENT_TYPE_OPTIONS, header::CONTENT_DISPOSITION, header::CONTENT_ENCODING];

fn may_have_page(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::RANGE_NOT_SATISFIABLE
        )
}

fn is_html(headers: &HeaderMap) -> Result<(), Skip> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(first) = types.next() else { return Err(Skip::TypeMissing) };
    if types.any(|other| other != first) {
        return Err(Skip::Type);
    }
    let text = first.to_str().map_err(|_| Skip::Type)?;
    let media = text.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("text/html") {
        return Err(match media.to_ascii_lowercase().as_str() {
            "application/xhtml+xml" => Skip::Xhtml,
            "text/event-stream" => Skip::StreamType,
            other if other.starts_with("multipart/") => Skip::StreamType,
            _ => Skip::Type,
        });
    }
    let attachment = headers
        .get(header::CONTENT_DISPOSITION)
        .is_some_and(|v| v.as_bytes().get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"attachment")));
    if attachment { Err(Skip::Attachment) } else { Ok(()) }
}

/// UTF-7 has no label in the Encoding Standard, and `<` may be written in letters there.
fn names_utf7(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    memchr::memchr(b'7', value).is_some() && value.windows(5).any(|part| part.eq_ignore_ascii_case(b"utf-7"))
}

fn links_to_manifest(headers: &HeaderMap) -> bool {
    headers.get_all(header::LINK).iter().any(|v| memchr::memmem::find(v.as_bytes(), b"c2pa-manifest").is_some())
}

/// Does `Cache-Control` hold this directive (RFC 9111 §5.2)?
pub(crate) fn has_directive(headers: &HeaderMap, directive: &str) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok()).any(|line| {
        line.split(',').any(|item| item.split('=').next().unwrap_or_default().trim().eq_ignore_ascii_case(directive))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, method: &Method, status: u16, headers: &[(&str, &str)]) -> Decision {
        let mut builder = http::Response::builder().status(status);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        decide(
            method,
            &parts,
            Obeys { no_transform: true, signatures: true, types: name != "sniffed", xhtml: name != "xhtml, wanted" },
        )
    }

    #[test]
    fn every_row_of_the_table() {
        use Decision::{HeadersOnly, Rewrite, Untouched};
        const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
        #[rustfmt::skip]
        let table: Vec<(&str, Method, u16, Vec<(&str, &str)>, Decision)> = vec![
            ("page", Method::GET, 200, vec![HTML], Rewrite { codings: vec![], sniff: false, xhtml: false }),
            ("upper case", Method::GET, 200, vec![("content-type", "TEXT/HTML")], Rewrite { codings: vec![], sniff: false, xhtml: false }),
            ("error page", Method::GET, 404, vec![HTML], Rewrite { codings: vec![], sniff: false, xhtml: false }),
            ("post", Method::POST, 200, vec![HTML], Rewrite { codings: vec![], sniff: false, xhtml: false }),
            ("gzip", Method::GET, 200, vec![HTML, ("content-encoding", "gzip")], Rewrite { codings: vec![Coding::Gzip], sniff: false, xhtml: false }),
            ("upgrade", Method::GET, 101, vec![HTML], Untouched(Skip::Status)),
            ("early hints", Method::GET, 103, vec![HTML], Untouched(Skip::Status)),
            ("no content", Method::GET, 204, vec![HTML], Untouched(Skip::Status)),
            ("partial", Method::GET, 206, vec![HTML], Untouched(Skip::Status)),
            ("not modified", Method::GET, 304, vec![], HeadersOnly(Skip::Status)),
            ("redirect", Method::GET, 301, vec![], Untouched(Skip::Status)),
            ("redirect with a place", Method::GET, 301, vec![HTML, ("location", "/b")], Untouched(Skip::Status)),
            ("redirect with a page", Method::GET, 302, vec![HTML], Rewrite { codings: vec![], sniff: false, xhtml: false }),
            ("reset content", Method::GET, 205, vec![HTML], Untouched(Skip::Status)),
            ("range", Method::GET, 416, vec![HTML], Untouched(Skip::Status)),
            ("head", Method::HEAD, 200, vec![HTML], HeadersOnly(Skip::Head)),
            ("image", Method::GET, 200, vec![("content-type", "image/png")], Untouched(Skip::Type)),
            ("no type", Method::GET, 200, vec![], Untouched(Skip::TypeMissing)),
            ("sniffed", Method::GET, 200, vec![], Rewrite { codings: vec![], sniff: true, xhtml: false }),
            ("sniffed", Method::GET, 200, vec![("x-content-type-options", "nosniff")], Untouched(Skip::TypeMissing)),
            ("sniffed", Method::GET, 200, vec![("content-encoding", "gzip")], Untouched(Skip::TypeMissing)),
            ("two types", Method::GET, 200, vec![HTML, ("content-type", "text/plain")], Untouched(Skip::Type)),
            ("markdown", Method::GET, 200, vec![("content-type", "text/markdown")], Untouched(Skip::Type)),
            ("xhtml", Method::GET, 200, vec![("content-type", "application/xhtml+xml")], Untouched(Skip::Xhtml)),
            ("xhtml, wanted", Method::GET, 200, vec![("content-type", "application/xhtml+xml")], Rewrite { codings: vec![], sniff: false, xhtml: true }),
            ("events", Method::GET, 200, vec![("content-type", "text/event-stream")], Untouched(Skip::StreamType)),
            ("attachment", Method::GET, 200, vec![HTML, ("content-disposition", "Attachment; filename=a")], Untouched(Skip::Attachment)),
            ("no-transform", Method::GET, 200, vec![HTML, ("cache-control", "public, No-Transform")], Untouched(Skip::NoTransform)),
            ("compress", Method::GET, 200, vec![HTML, ("content-encoding", "compress")], Untouched(Skip::CodingUnknown)),
            ("three codings", Method::GET, 200, vec![HTML, ("content-encoding", "gzip, br, zstd")], Untouched(Skip::CodingStacked)),
            ("utf-16", Method::GET, 200, vec![("content-type", "text/html; charset=utf-16le")], Untouched(Skip::CharsetUnsafe)),
            ("utf-7", Method::GET, 200, vec![("content-type", "text/html; charset=UTF-7")], Untouched(Skip::CharsetUnsafe)),
            ("signed", Method::GET, 200, vec![HTML, ("signature-input", "s=(\"content-digest\");created=1")], Untouched(Skip::Signed)),
            ("signed elsewhere", Method::GET, 200, vec![HTML, ("signature-input", "s=(\"@status\" \"date\")")], Rewrite { codings: vec![], sniff: false, xhtml: false }),
            ("signed in a form of its own", Method::GET, 200, vec![HTML, ("signature-input", "not (a dictionary")], Untouched(Skip::Signed)),
            ("c2pa", Method::GET, 200, vec![HTML, ("link", "</m>; rel=\"c2pa-manifest\"")], Untouched(Skip::Signed)),
        ];
        for (name, method, status, headers, expect) in table {
            assert_eq!(of(name, &method, status, &headers), expect, "{name}");
        }
    }

    /// The scan knows its reasons by their codes; the log gets the same ones.
    #[test]
    fn what_ends_a_scan_keeps_its_name() {
        for code in ["already", "signed", "frameset", "ambiguous", "memory", "handler", "bad_utf8"] {
            assert_eq!(Skip::from_code(code).code(), code);
        }
    }
}
