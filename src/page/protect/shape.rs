//! What shapes a page besides its source, and where the page is.

use std::borrow::Cow;

use http::Method;

use super::ask::Ask;
use super::wish::Wish;
use crate::page::marks::Variants;
use crate::slot::FormKinds;
use crate::visitor::is_tracking;

/// All that shapes a page but its source: two pages with one shape and one source get the same edits.
#[derive(Hash)]
pub(super) struct Shape<'a> {
    pub(super) version: u32,
    pub(super) host: &'a str,
    pub(super) address: Address<'a>,
    pub(super) year: i16,
    pub(super) wish: &'a Wish,
    pub(super) charset: &'a str,
    pub(super) declared: bool,
    pub(super) room: usize,
    pub(super) no_slots: Option<&'static str>,
    pub(super) body_is_root: bool,
    pub(super) links: bool,
    pub(super) forms: FormKinds,
    pub(super) variants: Variants,
    pub(super) tokens: bool,
    /// What style sheets say of places.
    pub(super) style: u64,
}

/// The address of a page, as far as it tells one page from another.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Address<'a> {
    /// In its normal form.
    path: &'a str,
    /// The path up to its last slash as it was asked for: of `/story` and `/story/` a sheet `s.css` is not the same one.
    directory: &'a str,
    /// What names a page in many systems, without the parameters that tell only how somebody came.
    query: Cow<'a, str>,
}

impl<'a> Address<'a> {
    pub(super) fn of(ask: &'a Ask) -> Self {
        let (raw, query) = parts(&ask.target);
        let directory = raw.rfind('/').and_then(|at| raw.get(..=at)).unwrap_or_default();
        let query = if !query.is_empty() && query.split('&').any(is_tracking) {
            let kept: Vec<&str> = query.split('&').filter(|parameter| !is_tracking(parameter)).collect();
            Cow::Owned(kept.join("&"))
        } else {
            Cow::Borrowed(query)
        };
        Self { path: &ask.path, directory, query }
    }

    /// Does it tell all of what was asked for? What it leaves out may stand in the page all the same, as may what a form has
    /// sent: such a page says nothing of the next one.
    pub(super) fn is_exact(&self, ask: &Ask) -> bool {
        let (raw, query) = parts(&ask.target);
        let last = raw.get(self.directory.len()..).unwrap_or_default();
        let named = last.is_empty() || self.path.rsplit('/').next() == Some(last);
        matches!(ask.method, Method::GET | Method::HEAD) && named && self.query == query
    }
}

/// Path and query as they were asked for.
fn parts(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use tower::{Layer, ServiceExt};

    use super::*;
    use crate::page::protect::ProtectLayer;
    use crate::page::protect::site::Site;
    use crate::page::{PageReport, Settings};
    use crate::rights;

    #[test]
    fn an_address_is_told_by_path_directory_and_query() {
        let site = Site::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        let check = |target: &str, (path, directory, query): (&str, &str, &str), exact: bool| {
            let (mut head, ()) = Request::get(target).body(()).unwrap().into_parts();
            let ask = site.ask(&mut head);
            let address = Address::of(&ask);
            assert_eq!(address, Address { path, directory, query: query.into() }, "{target}");
            assert_eq!(address.is_exact(&ask), exact, "{target}");
        };
        check("/", ("/", "/", ""), true);
        check("/a/story", ("/a/story", "/a/", ""), true);
        check("/a/story/", ("/a/story", "/a/story/", ""), true);
        check("/?p=1&page=2", ("/", "/", "p=1&page=2"), true);
        check("/a/story?utm_source=x&p=1&gclid=y", ("/a/story", "/a/", "p=1"), false);
        check("/a/story?fbclid=z", ("/a/story", "/a/", ""), false);
        check("/a/story;x=1", ("/a/story", "/a/", ""), false);
        check("/a/st%6Fry", ("/a/story", "/a/", ""), false);
    }

    /// Is it known, if the site answers with a page that shows this?
    async fn known(layer: &ProtectLayer, method: Method, target: &str, shows: &str) -> bool {
        let page =
            format!("<!doctype html><html><head><title>t</title><link rel=canonical href='{shows}'></head><p>x</p>");
        let site = tower::service_fn(move |_: Request<()>| {
            let answer = Response::builder().header("content-type", "text/html; charset=utf-8");
            std::future::ready(Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(page.clone()))).unwrap()))
        });
        let request = Request::builder().method(method).uri(target).header("host", "news.example").body(()).unwrap();
        let answer = layer.layer(site).oneshot(request).await.unwrap();
        let report = answer.extensions().get::<PageReport>().cloned().unwrap();
        answer.into_body().collect().await.unwrap();
        report.facts().known
    }

    #[tokio::test]
    async fn pages_that_their_query_names_are_known_apart() {
        let layer = ProtectLayer::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        for round in 0..3 {
            for number in 0..20 {
                let target = format!("/?p={number}");
                assert_eq!(known(&layer, Method::GET, &target, &target).await, round > 0, "{target}");
            }
        }
        assert!(known(&layer, Method::GET, "/?utm_source=a&p=7&fbclid=b", "/?p=7").await, "the same page");
    }

    #[tokio::test]
    async fn a_page_that_shows_its_address_keeps_the_plan_of_the_plain_one() {
        let layer = ProtectLayer::new(&Settings::default(), &rights::Settings::default(), "/.deckle").unwrap();
        // The first one is taken, whatever its address is.
        assert!(!known(&layer, Method::GET, "/story?fbclid=0", "/story?fbclid=0").await);
        assert!(!known(&layer, Method::GET, "/story", "/story").await);
        assert!(known(&layer, Method::GET, "/story", "/story").await);
        for number in 0..20 {
            for end in ["?utm_source=", "?x=", ";x=", "?fbclid="] {
                let target = format!("/story{end}{number}");
                assert_eq!(known(&layer, Method::GET, &target, &target).await, target == "/story?fbclid=0", "{target}");
            }
            let sent = format!("/story#{number}");
            assert!(!known(&layer, Method::POST, "/story", &sent).await, "what a form has sent");
        }
        assert!(known(&layer, Method::GET, "/story", "/story").await);
    }
}
