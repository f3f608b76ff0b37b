//! deckle's own answers: 429 and 403, as HTML, problem details (RFC 9457) or text, whichever the client prefers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use minijinja::{Environment, context};
use uuid::Uuid;

/// The forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Problem,
    Text,
}

/// The compiled pages.
#[derive(Debug)]
pub(super) struct Answers {
    pages: Environment<'static>,
    contact: Option<String>,
}

/// What an answer says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<u64>,
    pub(super) request_id: Uuid,
}

impl Answers {
    pub(super) fn new(contact: Option<String>) -> Result<Self, minijinja::Error> {
        let mut pages = Environment::new();
        // Names end in `.html`: minijinja escapes by name.
        pages.add_template("refusal.html", include_str!("../../assets/pages/refusal.html"))?;
        Ok(Self { pages, contact })
    }

    pub(super) fn refuse(&self, refusal: Refusal, request: &HeaderMap) -> Response<Full<Bytes>> {
        let (kind, body) = match preferred(request) {
            Form::Html => match self.html(refusal) {
                Ok(page) => ("text/html; charset=utf-8", page),
                Err(_) => ("text/plain; charset=utf-8", self.text(refusal)),
            },
            Form::Problem => ("application/problem+json", self.problem(refusal)),
            Form::Text => ("text/plain; charset=utf-8", self.text(refusal)),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = refusal.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
            ),
        );
        if let Some(seconds) = refusal.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn html(&self, refusal: Refusal) -> Result<String, minijinja::Error> {
        self.pages.get_template("refusal.html")?.render(context! {
            title => title(refusal.status),
            message => message(refusal),
            limited => refusal.retry_after.is_some(),
            contact => self.contact.as_deref().map(link),
            request_id => refusal.request_id.to_string(),
        })
    }

    fn problem(&self, refusal: Refusal) -> String {
        let mut problem = serde_json::json!({
            "type": "about:blank",
            "title": title(refusal.status),
            "status": refusal.status.as_u16(),
            "detail": message(refusal),
            "instance": format!("urn:uuid:{}", refusal.request_id),
        });
        if let (Some(contact), Some(object)) = (&self.contact, problem.as_object_mut()) {
            object.insert("contact".to_owned(), contact.as_str().into());
        }
        problem.to_string()
    }

    fn text(&self, refusal: Refusal) -> String {
        let contact = self.contact.as_deref().map(|c| format!("Questions: {c}\n")).unwrap_or_default();
        format!("{}\n{}\n{contact}Request {}\n", title(refusal.status), message(refusal), refusal.request_id)
    }
}

/// Where a click on the contact leads, and what is shown.
fn link(contact: &str) -> minijinja::Value {
    let name = contact.strip_prefix("mailto:").unwrap_or(contact);
    let is_mail = !name.contains('/') && name.contains('@');
    context! { address => if is_mail { format!("mailto:{name}") } else { name.to_owned() }, name }
}

fn title(status: StatusCode) -> &'static str {
    if status == StatusCode::TOO_MANY_REQUESTS { "Too many requests" } else { "Not available" }
}

fn message(refusal: Refusal) -> String {
    match refusal.retry_after {
        Some(seconds) => {
            format!("This address has asked for many pages in a short time. Please try again in {seconds} seconds.")
        }
        None => "This page is not available to automated programs.".to_owned(),
    }
}

/// By `Accept` (RFC 9110 §12.5.1): whichever form is named with the highest weight; `*/*` alone means text.
fn preferred(headers: &HeaderMap) -> Form {
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
        let answers = Answers::new(contact.map(str::to_owned)).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let refusal = Refusal { status: StatusCode::TOO_MANY_REQUESTS, retry_after: Some(20), request_id: Uuid::nil() };
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
            assert_eq!(headers[header::RETRY_AFTER], "20");
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            assert!(body.contains("20 seconds"), "{body}");
            assert!(!body.contains("noindex"));
        }
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
