//! Who may look: by token, by host, by the site that a request comes from.
//!
//! 1. On loopback nobody needs a token, unless one is set. On any other address everybody does.
//! 2. A program sends it as `Authorization: Bearer TOKEN` (RFC 6750). A person opens `/?token=TOKEN` and gets a cookie for
//!    twelve hours that holds a MAC and not the token. Browsers send cookies to all ports of a host (RFC 6265 §8.5): so its
//!    name has the port and the MAC is of this listener alone. Whoever gets one elsewhere cannot make a token of it.
//! 3. Without a token the host must be one that no name server can point elsewhere: an address, `localhost`, or the name
//!    in `proxy.admin`. So no page from elsewhere reads this one by DNS rebinding. A token does the same by itself.
//! 4. What another site's page asks for is refused, but for a link to the dashboard.

use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use zeroize::Zeroizing;

use crate::secret::hmac_sha256;
use crate::visitor::bare_host;

/// The port follows.
const COOKIE: &str = "deckle_admin_";
/// Seconds for which a cookie is good.
const COOKIE_TTL: u64 = 12 * 3_600;
const COOKIE_KEY: &[u8] = b"deckle-admin-cookie-2";
const TOKEN_KEY: &[u8] = b"deckle-admin-token-1";
/// Environment variable of the token.
const TOKEN_VARIABLE: &str = "DECKLE_ADMIN_TOKEN";
/// Lengths of a token.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// Why the admin listener does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Others can reach it, and nobody would be asked who he is.
    #[error(
        "`proxy.admin` listens on `{address}`, which is not loopback, and has no token: set `proxy.admin_token_file` or {TOKEN_VARIABLE}"
    )]
    NoToken {
        /// The address.
        address: SocketAddr,
    },
    /// Too short to be a secret, or not fit for an address line.
    #[error(
        "the token of `proxy.admin` must have 16 to 256 characters out of letters, digits and `-._~` (make one with: openssl rand -hex 32)"
    )]
    Token,
    /// The file cannot be read.
    #[error("`proxy.admin_token_file`: cannot read `{path}`")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Others can read the file.
    #[error("`proxy.admin_token_file`: `{path}` has mode {mode:o}; it must not be readable by others (chmod 600)")]
    Mode {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
}

/// The rules of one listener.
pub(super) struct Access {
    token: Option<Zeroizing<String>>,
    /// The host in `proxy.admin`.
    host: String,
    /// What it is bound to: no other listener takes its cookies.
    bound: SocketAddr,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is answered.
    Open,
    /// It showed the token in its address: it gets this cookie, and an address without token.
    Introduced(HeaderValue),
    /// It is not.
    Refused(StatusCode, &'static str),
}

/// The token from the environment, else from the file.
///
/// # Errors
/// [`AdminError`] for a file that cannot be read, or that others can read.
pub(super) fn read_token(file: Option<&str>) -> Result<Option<Zeroizing<String>>, AdminError> {
    // An empty variable is what is left of one that nobody has set.
    if let Some(token) = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()) {
        return Ok(Some(Zeroizing::new(token)));
    }
    let Some(path) = file else { return Ok(None) };
    let io = |source| AdminError::Io { path: path.to_owned(), source };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(AdminError::Mode { path: path.to_owned(), mode });
        }
    }
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

impl Access {
    /// `configured`: `proxy.admin`; `bound`: what became of it.
    ///
    /// # Errors
    /// [`AdminError`] for a token that cannot be one, or none where one is needed.
    pub(super) fn new(
        configured: &str,
        bound: SocketAddr,
        token: Option<Zeroizing<String>>,
    ) -> Result<Self, AdminError> {
        let fits = |token: &str| {
            LENGTHS.contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        };
        match &token {
            Some(token) if !fits(token) => return Err(AdminError::Token),
            None if !bound.ip().to_canonical().is_loopback() => return Err(AdminError::NoToken { address: bound }),
            _ => {}
        }
        Ok(Self { token, host: bare_host(configured).to_ascii_lowercase(), bound })
    }

    /// `now`: seconds since 1970.
    pub(super) fn check<B>(&self, request: &Request<B>, now: u64) -> Entry {
        if is_foreign(request) {
            return Entry::Refused(StatusCode::FORBIDDEN, "This is not for other sites.\n");
        }
        let Some(token) = &self.token else {
            return if self.knows_host(request) {
                Entry::Open
            } else {
                Entry::Refused(StatusCode::MISDIRECTED_REQUEST, "This host is not served here: use the address.\n")
            };
        };
        let headers = request.headers();
        if bearer(headers).is_some_and(|shown| is_same(TOKEN_KEY, token, shown)) || self.has_cookie(headers, token, now)
        {
            return Entry::Open;
        }
        let shown = request.uri().query().and_then(|q| q.split('&').find_map(|pair| pair.strip_prefix("token=")));
        match shown {
            Some(shown) if is_same(TOKEN_KEY, token, shown) => Entry::Introduced(self.cookie(token, now + COOKIE_TTL)),
            _ => Entry::Refused(StatusCode::UNAUTHORIZED, "A token is needed: open /?token=TOKEN once.\n"),
        }
    }

    fn knows_host<B>(&self, request: &Request<B>) -> bool {
        let field = || request.headers().get(header::HOST).and_then(|v| v.to_str().ok());
        let host = request.uri().authority().map(http::uri::Authority::as_str).or_else(field);
        host.is_some_and(|host| is_known_host(bare_host(host), &self.host))
    }

    /// What a cookie proves: whoever made it knows the token, meant this listener, and said until when it is good.
    fn cookie_mac(&self, token: &str, until: u64) -> String {
        let listener = self.bound.to_string();
        let parts: [&[u8]; 4] = [COOKIE_KEY, &[0], &until.to_be_bytes(), listener.as_bytes()];
        HEXLOWER.encode(&hmac_sha256(token.as_bytes(), &parts))
    }

    fn cookie(&self, token: &str, until: u64) -> HeaderValue {
        let (port, mac) = (self.bound.port(), self.cookie_mac(token, until));
        let text = format!("{COOKIE}{port}={until}.{mac}; Path=/; Max-Age={COOKIE_TTL}; HttpOnly; SameSite=Strict");
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn has_cookie(&self, headers: &HeaderMap, token: &str, now: u64) -> bool {
        let name = format!("{COOKIE}{}=", self.bound.port());
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().strip_prefix(name.as_str())?.split_once('.'))
            .filter_map(|(until, mac)| Some((until.parse::<u64>().ok()?, mac)))
            .any(|(until, mac)| until > now && is_same(TOKEN_KEY, &self.cookie_mac(token, until), mac))
    }
}

fn is_known_host(name: &str, configured: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || (!configured.is_empty() && name.eq_ignore_ascii_case(configured))
}

/// Browsers say so (Fetch Metadata); a link to the page itself is fine.
fn is_foreign<B>(request: &Request<B>) -> bool {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    let other = site.is_some_and(|site| matches!(site, b"cross-site" | b"same-site"));
    let link = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode.as_bytes() == b"navigate");
    other && !(link && request.uri().path() == "/")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Compares MACs instead of the texts, and looks at every byte: how long it takes tells nothing of the texts.
fn is_same(key: &[u8], ours: &str, shown: &str) -> bool {
    let (ours, shown) = (hmac_sha256(key, &[ours.as_bytes()]), hmac_sha256(key, &[shown.as_bytes()]));
    ours.iter().zip(shown).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";
    const LOOPBACK: &str = "127.0.0.1:9000";

    fn access(configured: &str, bound: &str, token: Option<&str>) -> Result<Access, AdminError> {
        Access::new(configured, bound.parse().unwrap(), token.map(|token| Zeroizing::new(token.to_owned())))
    }

    fn get(uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let request =
            fields.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap()
    }

    fn is_open(access: &Access, uri: &str, fields: &[(&str, &str)]) -> bool {
        access.check(&get(uri, fields), 100) == Entry::Open
    }

    #[test]
    fn only_loopback_goes_without_a_token() {
        assert!(access(LOOPBACK, LOOPBACK, None).is_ok() && access("[::1]:0", "[::1]:9000", None).is_ok());
        assert!(matches!(access("0.0.0.0:0", "0.0.0.0:9000", None), Err(AdminError::NoToken { .. })));
        assert!(access("0.0.0.0:0", "0.0.0.0:9000", Some(TOKEN)).is_ok());
        for token in ["", "short", "0123456789abcde\u{e9}", "0123456789abcdef&"] {
            assert!(matches!(access(LOOPBACK, LOOPBACK, Some(token)), Err(AdminError::Token)), "{token}");
        }
    }

    #[test]
    fn without_a_token_the_host_must_be_one_that_stays() {
        let access = access("admin.example:9000", LOOPBACK, None).unwrap();
        for host in
            ["127.0.0.1:9000", "127.0.0.1", "[::1]:9000", "[::1]", "localhost:9000", "LocalHost", "admin.example"]
        {
            assert!(is_open(&access, "/", &[("host", host)]), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9000", "127.1", ""] {
            assert!(!is_open(&access, "/", &[("host", host)]), "{host}");
        }
        assert!(!is_open(&access, "/", &[]) && !is_open(&access, "http://evil.example/", &[("host", "127.0.0.1")]));
    }

    #[test]
    fn pages_of_other_sites_get_nothing() {
        let access = access(LOOPBACK, LOOPBACK, None).unwrap();
        let from = |uri: &str, site, mode| {
            is_open(&access, uri, &[("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)])
        };
        assert!(
            from("/events", "same-origin", "cors")
                && from("/", "none", "navigate")
                && from("/", "cross-site", "navigate")
        );
        assert!(!from("/events", "cross-site", "cors") && !from("/", "cross-site", "no-cors"));
        assert!(!from("/snapshot.json", "cross-site", "navigate"));
    }

    #[test]
    fn a_token_opens_by_field_and_by_cookie() {
        let access = access("0.0.0.0:0", "0.0.0.0:9000", Some(TOKEN)).unwrap();
        assert!(is_open(&access, "/metrics", &[("authorization", "Bearer 0123456789abcdef")]));
        assert!(is_open(&access, "/", &[("authorization", "bearer 0123456789abcdef"), ("host", "any.example")]));
        for wrong in ["Bearer 0123456789abcdee", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef"] {
            assert!(!is_open(&access, "/metrics", &[("authorization", wrong)]), "{wrong}");
        }
        let refused = access.check(&get("/?token=wrong", &[]), 100);
        assert!(matches!(refused, Entry::Refused(StatusCode::UNAUTHORIZED, _)));
        let Entry::Introduced(cookie) = access.check(&get("/?a=b&token=0123456789abcdef", &[]), 100) else {
            panic!("not introduced")
        };
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(TOKEN));
        let pair = cookie.split(';').next().unwrap();
        assert!(is_open(&access, "/events", &[("cookie", &format!("other=1; {pair}"))]));
        let late = access.check(&get("/events", &[("cookie", pair)]), 100 + COOKIE_TTL);
        assert!(matches!(late, Entry::Refused(..)), "its time is over");
        let longer = pair.replace(&format!("={}", 100 + COOKIE_TTL), "=99999999999");
        assert_ne!(longer, pair);
        assert!(!is_open(&access, "/events", &[("cookie", &longer)]), "nobody makes it last longer");
    }

    #[test]
    fn a_cookie_is_good_at_its_own_listener_and_as_nothing_else() {
        let of = |port: u16| access("0.0.0.0:0", &format!("127.0.0.1:{port}"), Some(TOKEN)).unwrap();
        let (ours, theirs) = (of(9_000), of(9_001));
        let Entry::Introduced(cookie) = ours.check(&get("/?token=0123456789abcdef", &[]), 100) else {
            panic!("not introduced")
        };
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let (name, value) = pair.split_once('=').unwrap();
        assert_eq!(name, "deckle_admin_9000", "two dashboards of a host keep their cookies apart");
        assert!(is_open(&ours, "/", &[("cookie", &pair)]));
        // Another port of the host gets it, too.
        assert!(!is_open(&theirs, "/", &[("cookie", &pair)]));
        assert!(!is_open(&theirs, "/", &[("cookie", &format!("deckle_admin_9001={value}"))]));
        for of in [&ours, &theirs] {
            assert!(!is_open(of, "/", &[("authorization", &format!("Bearer {value}"))]));
            assert!(!is_open(of, &format!("/?token={value}"), &[]));
        }
    }
}
