//! deckle's own answers: 429, 403, 402 and 503, as HTML, problem details (RFC 9457) or text, whichever the client prefers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use minijinja::{Value, context};
use uuid::Uuid;

use super::license::License;
use super::pages::Page;
use super::{ActionError, LimitReport};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// draft-ietf-httpapi-ratelimit-headers.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const LICENSE: &str = "Programs may fetch this page under a licence.";
/// Seconds after which a site that is down is asked again.
const COME_BACK: u64 = 30;

/// The forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Html,
    Problem,
    Text,
}

/// The compiled pages.
#[derive(Debug)]
pub(crate) struct Answers {
    page: Page,
    contact: Option<String>,
}

/// What an answer says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<u64>,
    /// The quota, for those to whom it is told.
    pub(super) quota: Option<LimitReport>,
    pub(super) request_id: Uuid,
}

impl Answers {
    /// # Errors
    /// [`ActionError::Page`] for a page of the site's own that does not hold.
    pub(crate) fn new(contact: Option<String>, templates: Option<&str>) -> Result<Self, ActionError> {
        let page = Page::new(templates, "refusal.html", include_str!("../../assets/pages/refusal.html"))?;
        let answers = Self { page, contact };
        let request_id = Uuid::nil();
        for (status, retry_after) in [
            (StatusCode::TOO_MANY_REQUESTS, Some(60)),
            (StatusCode::FORBIDDEN, None),
            (StatusCode::SERVICE_UNAVAILABLE, Some(COME_BACK)),
        ] {
            answers.page.check(answers.values(Refusal { status, retry_after, quota: None, request_id }), &[])?;
        }
        Ok(answers)
    }

    pub(super) fn refuse(&self, refusal: Refusal, request: &HeaderMap) -> Response<Full<Bytes>> {
        self.refuse_in(preferred(request), refusal)
    }

    /// The same where the request is gone.
    pub(super) fn refuse_in(&self, form: Form, refusal: Refusal) -> Response<Full<Bytes>> {
        // All that were refused at once shall not come back at once.
        let retry_after = refusal.retry_after.map(|seconds| seconds + fastrand::u64(0..=seconds / 5));
        let refusal = Refusal { retry_after, ..refusal };
        let (kind, body) = match form {
            Form::Html => match self.page.render(self.values(refusal)) {
                Ok(page) => ("text/html; charset=utf-8", page),
                Err(_) => ("text/plain; charset=utf-8", self.text(refusal)),
            },
            Form::Problem => ("application/problem+json", self.problem(refusal)),
            Form::Text => ("text/plain; charset=utf-8", self.text(refusal)),
        };
        let mut response = answer(refusal.status, kind, body);
        let headers = response.headers_mut();
        if let Some(seconds) = refusal.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((policy, left)) = refusal.quota.and_then(rate_limit) {
            headers.insert(RATE_LIMIT_POLICY, policy);
            headers.insert(RATE_LIMIT, left);
        }
        response
    }

    /// 503: the site cannot answer anybody.
    pub(crate) fn unavailable(&self, request_id: Uuid, request: &HeaderMap) -> Response<Full<Bytes>> {
        let (status, retry_after) = (StatusCode::SERVICE_UNAVAILABLE, Some(COME_BACK));
        self.refuse(Refusal { status, retry_after, quota: None, request_id }, request)
    }

    /// 402, as text or problem details: whoever gets it is a program, whatever its `Accept` pretends.
    pub(super) fn license(
        &self,
        license: &License,
        request_id: Uuid,
        verified: bool,
        request: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        let (status, fields) = license.answer(request, verified);
        let price = license.price.as_ref().map(ToString::to_string);
        let (kind, body) = if preferred(request) == Form::Problem {
            let mut problem = serde_json::json!({
                "type": "about:blank",
                "title": status.canonical_reason(),
                "status": status.as_u16(),
                "detail": LICENSE,
                "instance": format!("urn:uuid:{request_id}"),
                "license": license.url,
            });
            if let Some(object) = problem.as_object_mut() {
                let more = [("price", &price), ("terms", &license.page), ("contact", &self.contact)];
                object.extend(more.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v.clone()?.into()))));
            }
            ("application/problem+json", problem.to_string())
        } else {
            let line = |name: &str, value: Option<&str>| value.map(|v| format!("{name}: {v}\n")).unwrap_or_default();
            let body = format!(
                "{LICENSE}\nLicence: {}\n{}{}{}Request {request_id}\n",
                license.url,
                line("Price of a page", price.as_deref()),
                line("Terms", license.page.as_deref()),
                line("Questions", self.contact.as_deref()),
            );
            ("text/plain; charset=utf-8", body)
        };
        let mut response = answer(status, kind, body);
        response.headers_mut().extend(fields);
        response
    }

    fn values(&self, refusal: Refusal) -> Value {
        context! {
            title => title(refusal.status),
            message => message(refusal),
            limited => refusal.retry_after.is_some(),
            contact => self.contact.as_deref().map(link),
            request_id => refusal.request_id.to_string(),
        }
    }

    fn problem(&self, refusal: Refusal) -> String {
        let mut problem = serde_json::json!({
            "type": if refusal.status == StatusCode::TOO_MANY_REQUESTS { QUOTA_EXCEEDED } else { "about:blank" },
            "title": title(refusal.status),
            "status": refusal.status.as_u16(),
            "detail": message(refusal),
            "instance": format!("urn:uuid:{}", refusal.request_id),
        });
        if let Some(object) = problem.as_object_mut() {
            if let Some(contact) = &self.contact {
                object.insert("contact".to_owned(), contact.as_str().into());
            }
            if let Some(quota) = refusal.quota {
                object.insert("violated-policies".to_owned(), serde_json::json!([quota.name]));
            }
        }
        problem.to_string()
    }

    fn text(&self, refusal: Refusal) -> String {
        let contact = self.contact.as_deref().map(|c| format!("Questions: {c}\n")).unwrap_or_default();
        format!("{}\n{}\n{contact}Request {}\n", title(refusal.status), message(refusal), refusal.request_id)
    }
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"),
    );
    response
}

/// `RateLimit-Policy` and `RateLimit` of a quota that is used up. Nothing left reads the same in revisions 10 and 11.
fn rate_limit(quota: LimitReport) -> Option<(HeaderValue, HeaderValue)> {
    let (name, (size, window), wait) = (quota.name, quota.size, quota.retry_after?);
    let policy = HeaderValue::from_str(&format!("\"{name}\";q={size};w={window}")).ok()?;
    Some((policy, HeaderValue::from_str(&format!("\"{name}\";r=0;t={wait}")).ok()?))
}

/// Where a click on the contact leads, and what is shown.
pub(super) fn link(contact: &str) -> Value {
    let name = contact.strip_prefix("mailto:").unwrap_or(contact);
    let is_mail = !name.contains('/') && name.contains('@');
    context! { address => if is_mail { format!("mailto:{name}") } else { name.to_owned() }, name }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        StatusCode::SERVICE_UNAVAILABLE => "Not available at the moment",
        _ => "Not available",
    }
}

fn message(refusal: Refusal) -> String {
    match (refusal.status, refusal.retry_after) {
        (StatusCode::SERVICE_UNAVAILABLE, Some(seconds)) => {
            format!("The site cannot answer at the moment. Please try again in {seconds} seconds.")
        }
        (_, Some(seconds)) => {
            format!("This address has asked for many pages in a short time. Please try again in {seconds} seconds.")
        }
        _ => "This page is not available to automated programs.".to_owned(),
    }
}

/// By `Accept` (RFC 9110 §12.5.1): whichever form is named with the highest weight; `*/*` alone means text.
pub(super) fn preferred(headers: &HeaderMap) -> Form {
    let mut best = (0u16, Form::Text);
    for value in headers.get_all(header::ACCEPT) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "text/html" | "application/xhtml+xml" => Form::Html,
                "application/problem+json" | "application/json" => Form::Problem,
                "text/plain" => Form::Text,
                _ => continue,
            };
            let weight = parts
                .find_map(|p| p.strip_prefix("q="))
                .map_or(1_000, |q| (q.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0) * 1_000.0) as u16);
            if weight > best.0 {
                best = (weight, form);
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn refuse(accept: &str, contact: Option<&str>) -> (HeaderMap, String) {
        told(accept, contact, None)
    }

    fn told(accept: &str, contact: Option<&str>, quota: Option<LimitReport>) -> (HeaderMap, String) {
        let answers = Answers::new(contact.map(str::to_owned), None).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let refusal =
            Refusal { status: StatusCode::TOO_MANY_REQUESTS, retry_after: Some(20), quota, request_id: Uuid::nil() };
        let (head, body) = answers.refuse(refusal, &headers).into_parts();
        let bytes = futures_lite(body);
        (head.headers, String::from_utf8(bytes).unwrap())
    }

    fn futures_lite(body: Full<Bytes>) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(body.collect()).unwrap().to_bytes().to_vec()
    }

    #[test]
    fn the_form_follows_accept() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, kind) in [
            (browser, "text/html; charset=utf-8"),
            ("application/json", "application/problem+json"),
            ("application/json;q=0.2, text/html;q=0.1", "application/problem+json"),
            ("*/*", "text/plain; charset=utf-8"),
            ("nonsense;;q=zz", "text/plain; charset=utf-8"),
        ] {
            let (headers, body) = refuse(accept, None);
            assert_eq!(headers[header::CONTENT_TYPE], kind, "{accept}");
            let wait: u64 = headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((20..=24).contains(&wait), "{wait}");
            assert!(!headers.contains_key(RATE_LIMIT) && !headers.contains_key(RATE_LIMIT_POLICY));
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            assert!(body.contains(&format!("{wait} seconds")), "{body}");
            assert!(!body.contains("noindex"));
        }
    }

    #[test]
    fn a_site_that_is_down_blames_nobody() {
        let answers = Answers::new(None, None).unwrap();
        for accept in ["text/html", "application/json", "*/*"] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            let (head, body) = answers.unavailable(Uuid::nil(), &headers).into_parts();
            let body = String::from_utf8(futures_lite(body)).unwrap();
            assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(head.headers[header::CACHE_CONTROL], "no-store");
            assert!(head.headers.contains_key(header::RETRY_AFTER) && !head.headers.contains_key(RATE_LIMIT));
            assert!(body.contains("cannot answer at the moment") && !body.contains("many pages"), "{body}");
            assert!(!body.contains("quota"), "{body}");
        }
    }

    #[test]
    fn whoever_reads_the_rules_is_told_the_quota() {
        let quota = LimitReport { name: "page_hard", retry_after: Some(20), size: (120, 60) };
        let (headers, body) = told("application/problem+json", None, Some(quota));
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"page_hard\";q=120;w=60");
        assert_eq!(headers[RATE_LIMIT], "\"page_hard\";r=0;t=20");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["type"], QUOTA_EXCEEDED);
        assert_eq!(problem["violated-policies"], serde_json::json!(["page_hard"]));
    }

    #[test]
    fn a_site_has_its_own_words() {
        let dir = std::env::temp_dir().join(format!("deckle-pages-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let folder = dir.to_str();
        let with = |text: &str| {
            std::fs::write(dir.join("refusal.html"), text).unwrap();
            Answers::new(Some("desk@example.org".to_owned()), folder)
        };
        let page = with("<p>{{ message }} <a href=\"{{ contact.address }}\">{{ contact.name }}</a>").unwrap();
        let refusal =
            Refusal { status: StatusCode::FORBIDDEN, retry_after: None, quota: None, request_id: Uuid::nil() };
        let page = page.page.render(page.values(refusal)).unwrap();
        assert!(page.contains("automated programs. <a href=\"mailto:desk@example.org\">desk@example.org"), "{page}");
        for (text, says) in [
            ("{{ mesage }}".to_owned(), "refusal.html"),
            ("{% if limited %}x{% else %}{{ mesage }}{% endif %}".to_owned(), "refusal.html"),
            ("\n{% if %}".to_owned(), "refusal.html:2"),
            ("x".repeat(20_000), "20000 bytes"),
        ] {
            let error = with(&text).unwrap_err().to_string();
            assert!(error.contains("action.templates") && error.contains(says), "{error}");
        }
        std::fs::remove_file(dir.join("refusal.html")).unwrap();
        assert!(Answers::new(None, folder).is_ok(), "without a file of that name ours is taken");
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(Answers::new(None, folder).unwrap_err().to_string().contains("no such folder"));
    }

    #[test]
    fn problems_are_valid_and_pages_escape() {
        let (_, body) = refuse("application/problem+json", Some("mailto:desk@example.org"));
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], 429);
        assert_eq!(problem["contact"], "mailto:desk@example.org");
        let (_, page) = refuse("text/html", Some("\"><script>alert(1)</script>"));
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
    }
}
