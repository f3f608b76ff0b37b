//! What counts as a page, and what a page may carry.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::Assessment;
use super::conduct::{self, Step};
use super::headers::Head;
use super::judge::Judge;
use super::state::{Keys, PathKind, Tick, flag};
use crate::visitor::trap::{BeaconOffer, Offers};
use crate::visitor::{Category, RouteClass, Verification, Visitor};

/// What a path says by itself: the same for all who ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathView {
    /// Under the key of the tables.
    pub(super) hash: u64,
    number: Option<u32>,
    article: bool,
}

/// What is asked for, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// It counts as a page.
    pub(super) page: bool,
    pub(super) path: PathView,
    /// Of the clock, which is read once for all.
    pub(super) now: Duration,
}

impl Judge {
    /// Looks at a path in its normal form.
    pub(super) fn path_view(&self, path: &str) -> PathView {
        PathView {
            hash: self.state.path_hash(path),
            number: conduct::number_in(path),
            article: conduct::looks_like_article(path),
        }
    }

    /// A path is what it has answered, not what the request says about itself; before it has answered anything, it is
    /// a page unless it names a file, and unless this visitor has asked for pages by the names of files before.
    pub(super) fn counts_as_page(&self, visitor: &Visitor, method: &Method, keys: Option<&Keys>, path: u64) -> bool {
        let known = self.state.path_kind(path).map(|kind| kind == PathKind::Html);
        let looks_like_page = || !visitor.asset_path && visitor.route != RouteClass::Feed;
        match visitor.route {
            RouteClass::Wellknown | RouteClass::Own => false,
            RouteClass::Page => *method != Method::HEAD && known != Some(false),
            _ if *method == Method::GET => known.unwrap_or_else(|| looks_like_page() || self.is_known_for_pages(keys)),
            _ if *method == Method::HEAD => false,
            // Sites run the page for any other method, too.
            _ => known.unwrap_or_else(|| *method != Method::OPTIONS && self.is_known_for_pages(keys)),
        }
    }

    fn is_known_for_pages(&self, keys: Option<&Keys>) -> bool {
        let flags = keys.and_then(|keys| self.state.with_record(keys.own, |record, _| record.flags));
        flags.is_some_and(|flags| flags & flag::LATE_AGAIN != 0)
    }

    /// What the page may carry for this visitor alone.
    pub(crate) fn offers(self: &Arc<Self>, visitor: &Visitor, of: &Assessment) -> Option<Offers> {
        let traps = visitor.traps.as_ref().filter(|_| of.counts_as_page)?;
        let form = self.links.filter(|_| visitor.verification != Verification::Verified);
        let beacon =
            of.offer_beacon.then(|| BeaconOffer { path: traps.beacon(&visitor.host), placed: self.on_placed(of.keys) });
        let link = form.map(|form| (form, traps.link(&visitor.host, visitor.arrived)));
        (beacon.is_some() || link.is_some()).then_some(Offers { beacon, link })
    }

    /// Counts a page with our style sheet in it when it leaves.
    fn on_placed(self: &Arc<Self>, keys: Option<Keys>) -> Arc<dyn Fn() + Send + Sync> {
        let judge = Arc::clone(self);
        Arc::new(move || {
            // A fault of ours loses a lesson and nothing else.
            let _ = catch_unwind(AssertUnwindSafe(|| keys.iter().for_each(|keys| judge.note_offer(keys))));
        })
    }

    /// Is it a robot that says so, on a path that its robots.txt forbids? Only kinds that are bound by the file alone: what
    /// acts for a person need not ask, archives say that they do not, and some crawlers of search engines and of
    /// advertisers go by the group of another name, or by none.
    pub(super) fn ignores_robots(&self, visitor: &Visitor, head: Head<'_>) -> bool {
        use Category::{Academic, AiSearch, AiTrain, Seo};
        let bound = matches!(visitor.agent.category, AiTrain | AiSearch | Seo | Academic);
        let Some(name) = visitor.agent.name.as_deref().filter(|_| bound) else { return false };
        let Some(robots) = self.robots.get() else { return false };
        let target = match head.query {
            Some(query) => Cow::Owned(format!("{}?{query}", head.path)),
            None => Cow::Borrowed(head.path),
        };
        robots.forbids(&visitor.host, name, &target, visitor.arrived.as_secs())
    }

    pub(super) fn step(&self, visitor: &Visitor, head: Head<'_>, of: Asked) -> Step {
        let Asked { page, path, now } = of;
        let (now, now_ms) = (Tick::of(now), now.as_millis() as u32);
        let PathView { hash, number, article } = path;
        let heat = if page { self.state.heat(hash, now) } else { 0 };
        let conditional = [http::header::IF_NONE_MATCH, http::header::IF_MODIFIED_SINCE];
        Step {
            page,
            article,
            path: hash,
            number,
            query: conduct::unknown_parameters(head.query, |text| self.state.path_hash(text)),
            deep_direct: page && conduct::is_deep_direct(visitor, head.headers, article, heat),
            conditional: conditional.iter().any(|name| head.headers.contains_key(name)),
            robots: &*visitor.path == "/robots.txt",
            now,
            now_ms,
        }
    }
}
