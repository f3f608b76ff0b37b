//! The page of a challenge.

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use minijinja::{Value, context};
use uuid::Uuid;

use super::Challenger;
use super::words::words;
use crate::action::ActionError;
use crate::action::answer::link;
use crate::visitor::Visitor;
use crate::visitor::pass::Challenge;

/// Seconds in `Retry-After`.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
/// Made by `scripts/challenge`.
const SCRIPT: &str = include_str!("../../../assets/challenge.min.js");

/// So that the page is no longer than 6 KiB: a path of more bytes, as it is escaped, is not told to the script, and one of
/// still more is not returned to.
const LONG: (usize, usize) = (580, 880);

/// A token, and what is left of its wait.
pub(super) struct Wait {
    pub(super) token: String,
    /// Seconds until the browser goes on.
    pub(super) seconds: u64,
    /// Seconds that are shown; other than `seconds` for those who came too early.
    pub(super) left: u64,
}

/// The script, without the line that names its source.
fn script() -> &'static str {
    SCRIPT.split_once('\n').map_or(SCRIPT, |(_, script)| script).trim_end()
}

impl Challenger {
    /// A new challenge; `target` is the path to return to.
    pub(in crate::action) fn issue(
        &self,
        visitor: &Visitor,
        target: &str,
        language: Option<&str>,
        tries: u8,
    ) -> Response<Full<Bytes>> {
        let mut nonce = [0; 12];
        fastrand::fill(&mut nonce);
        let issued = visitor.arrived.as_secs() as u32;
        let challenge = Challenge { bits: self.settings.bits, tries, issued, nonce };
        let token = self.tokens.challenge(challenge, &visitor.host);
        let wait = self.settings.wait.0.as_secs();
        self.page(visitor, target, language, &Wait { token, seconds: wait, left: wait })
    }

    pub(super) fn page(
        &self,
        visitor: &Visitor,
        target: &str,
        language: Option<&str>,
        wait: &Wait,
    ) -> Response<Full<Bytes>> {
        let mut random = [0; 16];
        fastrand::fill(&mut random);
        let nonce = BASE64URL_NOPAD.encode(&random);
        let mut target = escaped(target);
        if target.len() > LONG.1 {
            "%2F".clone_into(&mut target);
        }
        let page = self.html.render(self.values(&target, language, wait, &nonce, visitor.request_id));
        // A page that cannot be made leaves the way on: a link.
        let page = page.unwrap_or_else(|_| {
            format!("<!doctype html><a href=\"{}\">&rarr;</a>", self.leads("w", wait, &target).replace('&', "&amp;"))
        });
        let mut response = Response::new(Full::new(Bytes::from(page)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; worker-src blob:; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        );
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    /// Where a way past leads; `target` is escaped.
    fn leads(&self, way: &str, wait: &Wait, target: &str) -> String {
        format!("{}/c/{way}?t={}&u={target}", self.mount, wait.token)
    }

    fn values(&self, target: &str, language: Option<&str>, wait: &Wait, nonce: &str, request_id: Uuid) -> Value {
        let long = target.len() > LONG.0;
        let words = words(language);
        context! {
            words => context! {
                title => words.title,
                message => words.message,
                waiting => words.waiting,
                early => words.early,
                opening => words.opening,
                proceed => words.proceed,
                contact => words.contact,
                request => words.request,
            },
            lang => words.lang,
            dir => words.dir,
            wait => wait.seconds,
            left => wait.left,
            wait_url => self.leads("w", wait, target),
            work_url => if long { String::new() } else { self.leads("p", wait, target) },
            token => wait.token.as_str(),
            bits => if long { 0 } else { self.settings.bits },
            nonce,
            script => script(),
            contact => self.contact.as_deref().map(link),
            request_id => request_id.to_string(),
        }
    }

    /// Does a page of the site's own lead on?
    ///
    /// # Errors
    /// [`ActionError::Page`] names what it lacks.
    pub(super) fn check(&self) -> Result<(), ActionError> {
        for left in [5, 2] {
            let wait = Wait { token: "sample".to_owned(), seconds: 5, left };
            let sample = self.values("%2F", None, &wait, "sample", Uuid::nil());
            // As minijinja writes it into an attribute.
            let way = self.leads("w", &wait, "%2F").replace('&', "&amp;").replace('/', "&#x2f;");
            let (link, refresh) = (format!("href=\"{way}\""), format!("content=\"5; url={way}\""));
            let must_hold = [
                (&*link, "a link with `href=\"{{ wait_url }}\"`: without scripts and refresh it is the only way on"),
                (&*refresh, "`<meta http-equiv=\"refresh\" content=\"{{ wait }}; url={{ wait_url }}\">`"),
            ];
            self.html.check(sample, &must_hold)?;
        }
        Ok(())
    }
}

/// Percent-encoded, but for what is never reserved (RFC 3986 §2.3); a slash would be longer in HTML.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_script_is_what_its_source_says() {
        let source = include_str!("../../../assets/challenge.js");
        let line = format!("/*src:sha256-{}*/", HEXLOWER.encode(&Sha256::digest(source)));
        assert_eq!(SCRIPT.lines().next(), Some(line.as_str()), "run scripts/challenge");
        assert!(!script().contains("</script") && !script().contains("<!--") && script().starts_with('('));
    }

    #[test]
    fn what_stands_in_an_address_is_escaped() {
        assert_eq!(escaped("/a?x=1&y=\"<>'é"), "%2Fa%3Fx%3D1%26y%3D%22%3C%3E%27%C3%A9");
    }
}
