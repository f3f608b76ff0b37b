//! What stands in one copy of a page alone: the style sheet that tells browsers from scripts, and the link that only
//! programs follow. They go only into answers that no shared cache may store, or one visitor's would reach all.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::Full;

use super::ask::Ask;
use super::site::Site;
use crate::page::csp;
use crate::page::headers::is_for_shared_caches;
use crate::page::plan::has_directive;
use crate::slot::{Choose, Fill, Form, GapRow, PlaceHash, PlaceKind};
use crate::visitor::trap::BeaconOffer;
use crate::visitor::{TrapForm, Visitor};

/// The texts of one copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Fills {
    head: Option<Bytes>,
    foot: Option<Bytes>,
    /// What the head links to, until it has left.
    offer: Option<BeaconOffer>,
}

impl Fills {
    /// The copy carries nothing of its own.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none() && self.foot.is_none()
    }

    pub(super) fn around(self, marks: Box<dyn Choose>) -> Box<dyn Choose> {
        if self.is_empty() { marks } else { Box::new(Filled { marks, fills: self }) }
    }
}

impl Site {
    /// What the answer to this request carries; `headers` are the site's own.
    pub(super) fn fills(&self, ask: &Ask, headers: &HeaderMap) -> Fills {
        let Some(offers) = ask.offers.as_ref().filter(|_| self.is_for_one(ask, headers)) else {
            return Fills::default();
        };
        let mount = &self.mount;
        let sheet = offers.beacon.as_ref().filter(|_| styles_allowed(headers));
        // In the form of XML, which HTML reads the same way.
        Fills {
            head: sheet.map(|offer| format!("<link rel=\"stylesheet\" href=\"{mount}{}\"/>", offer.path).into()),
            offer: sheet.cloned(),
            foot: offers.link.as_ref().filter(|_| self.links).map(|(form, path)| {
                let hidden = "rel=\"nofollow\" tabindex=\"-1\" aria-hidden=\"true\" hidden=\"\"";
                match form {
                    TrapForm::Link => format!("<a href=\"{mount}{path}\" {hidden}></a>").into(),
                    TrapForm::Script => {
                        format!("<script type=\"ignore\"><a href=\"{mount}{path}\" rel=\"nofollow\"></a></script>")
                            .into()
                    }
                }
            }),
        }
    }

    /// May no shared cache store the answer?
    fn is_for_one(&self, ask: &Ask, headers: &HeaderMap) -> bool {
        ask.per_visitor || !may_be_shared(headers, self.settings.shared_cache)
    }
}

/// May a shared cache store an answer with these fields (RFC 9111 §3)? `usual`: those that say nothing.
fn may_be_shared(headers: &HeaderMap, usual: bool) -> bool {
    let lasts = [header::ETAG, header::LAST_MODIFIED, header::EXPIRES].iter().any(|name| headers.contains_key(name))
        || ["max-age", "s-maxage", "public"].iter().any(|name| has_directive(headers, name));
    let refuses = is_private(headers) || has_directive(headers, "no-store");
    headers.keys().any(is_for_shared_caches) || (!refuses && (lasts || usual))
}

/// Answers a browser that asks for the style sheet: there is nothing in it.
pub(super) fn sheet(head: &Parts) -> Option<Response<Full<Bytes>>> {
    let offered = head.extensions.get::<Visitor>().is_some_and(|visitor| visitor.beacon);
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    (offered && reads).then(|| {
        let mut response = Response::new(Full::default());
        let fields = [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    })
}

/// `private` that names fields is of these alone (RFC 9111 §5.2.2.7).
fn is_private(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| item.trim().eq_ignore_ascii_case("private"))
}

/// Do the policies of an answer let a style sheet of the page's own origin in?
fn styles_allowed(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_SECURITY_POLICY).iter();
    lines.filter_map(|line| line.to_str().ok()).all(csp::allows_own_sheets)
}

/// Marks with fills beside them.
struct Filled {
    marks: Box<dyn Choose>,
    fills: Fills,
}

impl Choose for Filled {
    fn hash(&self, kind: PlaceKind, context: &[u8]) -> Option<PlaceHash> {
        self.marks.hash(kind, context)
    }

    fn gap(&mut self, column: u16) -> Option<u8> {
        self.marks.gap(column)
    }

    fn gaps(&mut self) -> Option<GapRow> {
        self.marks.gaps()
    }

    fn form(&mut self, form: Form, column: u16) -> Option<&'static str> {
        self.marks.form(form, column)
    }

    fn variant(&mut self, column: u16) -> usize {
        self.marks.variant(column)
    }

    fn seal(&mut self) -> Option<Bytes> {
        self.marks.seal()
    }

    fn token(&mut self) -> Option<Bytes> {
        self.marks.token()
    }

    fn fill(&mut self, place: Fill) -> Option<Bytes> {
        match place {
            Fill::Head => {
                // A page that is scanned once more is the same one.
                if let Some(offer) = self.fills.offer.take() {
                    (offer.placed)();
                }
                self.fills.head.clone()
            }
            Fill::Foot => self.fills.foot.clone(),
        }
    }

    fn has_fills(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::slot::Unmarked;

    #[test]
    fn a_style_sheet_is_told_of_once_when_it_is_placed() {
        let told = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&told);
        let placed = Arc::new(move || _ = tell.fetch_add(1, Ordering::Relaxed));
        let offer = Some(BeaconOffer { path: "/b/0.css".to_owned(), placed });
        let fills = Fills { head: Some("<link/>".into()), foot: Some("<a></a>".into()), offer };
        let mut filled = fills.around(Box::new(Unmarked));
        assert!(filled.has_fills() && !Unmarked.has_fills());
        assert!(filled.fill(Fill::Foot).is_some() && told.load(Ordering::Relaxed) == 0);
        assert_eq!(filled.fill(Fill::Head).as_deref(), Some(&b"<link/>"[..]));
        let _ = filled.fill(Fill::Head);
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    /// A page of which a part has left by its plan is read from its start when the rest turns out to be another one.
    #[test]
    fn fills_are_the_same_whenever_they_are_asked_for() {
        let fills = Fills {
            head: Some(Bytes::from_static(b"<link>")),
            foot: Some(Bytes::from_static(b"<a></a>")),
            ..Fills::default()
        };
        let mut choose = fills.around(crate::page::pipeline::unmarked());
        let both = |choose: &mut dyn Choose| [Fill::Head, Fill::Foot].map(|place| choose.fill(place));
        let first = both(choose.as_mut());
        assert_eq!(first, [Some(Bytes::from_static(b"<link>")), Some(Bytes::from_static(b"<a></a>"))]);
        assert_eq!(both(choose.as_mut()), first);
    }

    #[test]
    fn what_a_shared_cache_may_store_is_for_all() {
        for (fields, shared) in [
            ("", false),
            ("etag: \"v1\"", true),
            ("cache-control: max-age=60", true),
            ("cache-control: private, max-age=60", false),
            ("cache-control: Private\netag: \"v1\"", false),
            ("cache-control: no-store", false),
            // A field for some caches takes the place of the one for all.
            ("cache-control: no-store\ncdn-cache-control: max-age=600", true),
            ("cache-control: private\nsurrogate-control: max-age=3600", true),
            ("cdn-cache-control: max-age=600", true),
            ("cache-control: max-age=600, private=\"set-cookie\"", true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields.lines().filter_map(|line| line.split_once(": ")) {
                headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            assert_eq!(may_be_shared(&headers, false), shared, "{fields}");
        }
    }

    #[test]
    fn a_policy_may_keep_the_sheet_away() {
        for (policy, allowed) in [
            ("", true),
            ("script-src 'none'", true),
            ("default-src 'self'", true),
            ("default-src 'none'; STYLE-src 'self' https://cdn.example", true),
            ("default-src 'self'; style-src https://cdn.example", false),
            ("default-src 'none'", false),
            ("default-src *, style-src 'none'", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.parse().unwrap());
            assert_eq!(styles_allowed(&headers), allowed, "{policy}");
        }
    }
}
