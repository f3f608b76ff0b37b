//! What a layer knows of pages, for the one that takes its place.

use std::fmt;
use std::sync::Arc;

use super::spare::KnownCodings;
use crate::page::plan::PlanCache;

/// Plans of pages that were seen before, packed ones among them, and the codings in which pages come. It is handed from one
/// layer to the next ([`ProtectLayer::known_pages`](crate::page::ProtectLayer::known_pages),
/// [`ProtectLayer::knowing`](crate::page::ProtectLayer::knowing)), so that after a reload no page has to be scanned anew.
/// Both share it while both are there.
///
/// ```
/// use deckle::page::{ProtectLayer, Settings};
/// let layer = || ProtectLayer::new(&Settings::default(), &Default::default(), "/.deckle").unwrap();
/// let old = layer();
/// let new = layer().knowing(old.known_pages());
/// # drop((old, new));
/// ```
#[derive(Clone)]
#[must_use]
pub struct KnownPages {
    /// `None`: the layer had no cache of plans.
    pub(super) plans: Option<Arc<PlanCache>>,
    pub(super) codings: Arc<KnownCodings>,
}

impl fmt::Debug for KnownPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownPages").finish_non_exhaustive()
    }
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
    use crate::page::{PageReport, Settings};
    use crate::rights;
    use crate::unit::Size;

    fn layer(change: impl FnOnce(&mut Settings)) -> ProtectLayer {
        let mut settings = Settings::default();
        change(&mut settings);
        ProtectLayer::new(&settings, &rights::Settings::default(), "/.deckle").unwrap()
    }

    /// Is the page known? From now on it is.
    async fn knows(layer: &ProtectLayer) -> bool {
        let site = tower::service_fn(|_: Request<()>| {
            let page = Bytes::from_static(b"<!doctype html><html><head><title>t</title></head><p>x</p>");
            let answer = Response::builder().header("content-type", "text/html; charset=utf-8");
            std::future::ready(Ok::<_, Infallible>(answer.body(Full::new(page)).unwrap()))
        });
        let request = Request::get("/a").header("host", "news.example").body(()).unwrap();
        let answer = layer.layer(site).oneshot(request).await.unwrap();
        let report = answer.extensions().get::<PageReport>().cloned().unwrap();
        answer.into_body().collect().await.unwrap();
        report.facts().known
    }

    #[tokio::test]
    async fn a_layer_goes_on_with_what_another_one_knows() {
        let old = layer(|_| {});
        assert_eq!([knows(&old).await, knows(&old).await], [false, true]);
        let new = layer(|_| {}).knowing(old.known_pages());
        assert!(knows(&new).await);
        assert!(Arc::ptr_eq(&new.known_pages().codings, &old.known_pages().codings));
        // What shapes pages makes others of them, and the old ones stay.
        let text = |settings: &mut Settings| settings.notice.text = Some("All rights reserved.".to_owned());
        let other = layer(text).knowing(new.known_pages());
        assert_eq!([knows(&other).await, knows(&other).await, knows(&old).await], [false, true, true]);
        // A cache that would be another one is.
        let changes: [fn(&mut Settings); 4] = [
            |_| {},
            |settings| settings.plan_cache = Size(8 << 20),
            |settings| settings.packed = !settings.packed,
            |settings| settings.packed_check += 1,
        ];
        let plans = |layer: &ProtectLayer| layer.known_pages().plans.unwrap();
        let same = changes.map(|change| Arc::ptr_eq(&plans(&layer(change).knowing(old.known_pages())), &plans(&old)));
        assert_eq!(same, [true, false, false, false]);
    }
}
