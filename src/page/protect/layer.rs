use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::known::KnownPages;
use super::service::Protect;
use super::site::Site;
use super::spare::KnownCodings;
#[cfg(feature = "cli")]
use crate::page::plan::PackedPlan;
use crate::page::{Findings, PageError, PlanCounters, Settings, Styles};
use crate::rights;
use crate::rights::RobotsMemory;
use crate::secret::Secrets;
use crate::slot::Edit;
use crate::watermark;

/// Layer that rewrites outgoing pages.
///
/// Under a tokio runtime it needs that runtime's timers (`enable_time`), as Tower's own layers do; under none, a page that was
/// seen before waits for nothing.
///
/// ```
/// use deckle::page::{ProtectLayer, Settings};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{Layer, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let layer = ProtectLayer::new(&Settings::default(), &Default::default(), "/.deckle").unwrap();
/// let site = |page: &'static str| tower::service_fn(move |_: Request<()>| async move {
///     let body = Full::new(bytes::Bytes::from(page));
///     Ok::<_, std::convert::Infallible>(Response::builder().header("content-type", "text/html").body(body).unwrap())
/// });
/// let get = || Request::builder().uri("/").body(()).unwrap();
/// let page = layer.layer(site("<!doctype html><title>t</title>")).oneshot(get()).await.unwrap();
/// assert!(page.into_body().collect().await.unwrap().to_bytes().starts_with(b"<!doctype html><script src="));
/// // A fragment is left alone.
/// let part = layer.layer(site("<p>part</p>")).oneshot(get()).await.unwrap();
/// assert_eq!(part.into_body().collect().await.unwrap().to_bytes(), "<p>part</p>");
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ProtectLayer {
    site: Arc<Site>,
    codings: Arc<KnownCodings>,
}

/// How copies are marked.
#[derive(Debug, Clone)]
pub struct Marking {
    /// The secret that marks are derived from.
    pub secrets: Secrets,
    /// Section `[watermark]`.
    pub settings: watermark::Settings,
    /// What was learned about the site; shared, so that it can outlive a reload.
    pub findings: Arc<Findings>,
    /// What is known of the site's style sheets; shared for the same reason.
    pub styles: Arc<Styles>,
}

impl ProtectLayer {
    /// A layer that inserts guard and notice, and marks nothing. `mount` is where its own paths are.
    ///
    /// # Errors
    /// [`PageError`] for settings that do not hold.
    pub fn new(settings: &Settings, rights: &rights::Settings, mount: &str) -> Result<Self, PageError> {
        Ok(Self { site: Arc::new(Site::new(settings, rights, mount)?), codings: KnownCodings::new() })
    }

    /// Marks copies, too; at level `off` it reads the marks that come in, and no more.
    ///
    /// # Errors
    /// [`PageError`] for a selector or a glob of `[watermark]` that does not hold.
    pub fn marking(self, marking: Marking) -> Result<Self, PageError> {
        let mut site = Arc::unwrap_or_clone(self.site);
        site.mark_with(marking)?;
        Ok(Self { site: Arc::new(site), codings: self.codings })
    }

    /// Marks nothing, and says so: of alternatives that authors have written the first one stands in all copies.
    pub(crate) fn without_marks(self, settings: &watermark::Settings) -> Result<Self, PageError> {
        let mut site = Arc::unwrap_or_clone(self.site);
        site.without_marks(settings)?;
        Ok(Self { site: Arc::new(site), codings: self.codings })
    }

    /// When the present way of rewriting began, in seconds since 1970: copies that are older are fetched anew.
    pub fn activated(self, seconds: u64) -> Self {
        let mut site = Arc::unwrap_or_clone(self.site);
        site.activated = seconds;
        Self { site: Arc::new(site), codings: self.codings }
    }

    /// Pages carry a link that only programs follow.
    pub(crate) fn links(self, links: bool) -> Self {
        let mut site = Arc::unwrap_or_clone(self.site);
        site.links = links;
        Self { site: Arc::new(site), codings: self.codings }
    }

    /// The last good robots.txt of each host, to outlive this layer.
    pub fn robots(self, memory: Arc<RobotsMemory>) -> Self {
        let mut site = Arc::unwrap_or_clone(self.site);
        site.robots = memory;
        Self { site: Arc::new(site), codings: self.codings }
    }

    /// The pages that this layer knows, for one that takes its place ([`ProtectLayer::knowing`]).
    pub fn known_pages(&self) -> KnownPages {
        KnownPages { plans: self.site.plans.clone(), codings: Arc::clone(&self.codings) }
    }

    /// Takes on the pages that another layer knows, in place of its own and of [`ProtectLayer::plan_counters`]: what they do is
    /// counted where that layer has counted it. Plans are taken on only if `page.plan_cache`, `page.packed` and
    /// `page.packed_check` are the same. Whatever else changes, no page gets a plan that is not its own. Hosts whose
    /// validators were not believed are believed again.
    pub fn knowing(self, known: KnownPages) -> Self {
        let mut site = Arc::unwrap_or_clone(self.site);
        site.take_plans(known.plans);
        Self { site: Arc::new(site), codings: known.codings }
    }

    /// What plans of known pages do is counted here, to outlive this layer. Plans that it has are forgotten.
    pub fn plan_counters(self, counters: Arc<PlanCounters>) -> Self {
        let mut site = Arc::unwrap_or_clone(self.site);
        site.count_plans(counters);
        Self { site: Arc::new(site), codings: self.codings }
    }

    /// The list of edits that a page in this `Content-Type` would get, slots included: what deckle would change, and
    /// where. What only its end tells (see [`Finding`](crate::page::Finding)) counts as known.
    pub fn edits(&self, page: &[u8], content_type: &str) -> Vec<Edit> {
        self.site.edits(page, content_type)
    }

    /// Waits until all pages are packed that wait for it, a minute at most.
    #[cfg(feature = "cli")]
    pub(crate) fn settle(&self) {
        if let Some(plans) = &self.site.plans {
            plans.settle();
        }
    }

    /// What its plan of this page holds. `None`: the page is not packed.
    #[cfg(feature = "cli")]
    pub(crate) fn packed_plan(&self, source: &bytes::Bytes) -> Option<PackedPlan> {
        self.site.plans.as_ref()?.packed_plan(source)
    }

    /// The number that stands for everything that shapes a page; it changes with the configuration and the crate.
    pub fn version(&self) -> u32 {
        self.site.version
    }
}

impl fmt::Debug for ProtectLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectLayer").field("version", &self.site.version).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ProtectLayer {
    type Service = Protect<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Protect::new(inner, Arc::clone(&self.site), Arc::clone(&self.codings))
    }
}
