//! Names of header fields, made once: one that is looked up as text is parsed and put into lower case each time.

use http::{HeaderName, header};

/// Where the request was set off (Fetch Metadata).
pub(crate) static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How it was (Fetch Metadata).
pub(crate) static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// What the answer is for (Fetch Metadata).
pub(crate) static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// A person has set it off (Fetch Metadata).
pub(crate) static SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
/// Brands and versions of the browser (User-Agent Client Hints).
pub(crate) static SEC_CH_UA: HeaderName = HeaderName::from_static("sec-ch-ua");
/// It is one of a phone (User-Agent Client Hints).
pub(crate) static SEC_CH_UA_MOBILE: HeaderName = HeaderName::from_static("sec-ch-ua-mobile");
/// Its system (User-Agent Client Hints).
pub(crate) static SEC_CH_UA_PLATFORM: HeaderName = HeaderName::from_static("sec-ch-ua-platform");
/// Asked ahead of a click (Fetch, "Sec-Purpose").
pub(crate) static SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
/// The same, as Chromium and Safari said it before.
pub(crate) static PURPOSE: HeaderName = HeaderName::from_static("purpose");
/// The same, as Firefox said it before.
pub(crate) static X_MOZ: HeaderName = HeaderName::from_static("x-moz");
/// Asked for by a script, as older libraries say.
pub(crate) static X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
/// How urgent the answer is (RFC 9218 §5).
pub(crate) static PRIORITY: HeaderName = HeaderName::from_static("priority");
/// Belongs to the change to HTTP/2 in clear text (RFC 7540 §3.2.1).
pub(crate) static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Hops of a request.
pub(crate) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the client used.
pub(crate) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Hops of a request (RFC 7239 §4).
pub(crate) static FORWARDED: HeaderName = header::FORWARDED;
