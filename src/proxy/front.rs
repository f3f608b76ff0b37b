//! What the front page tells before the first reader comes.

use super::upstream::Upstream;
use super::{Parts, Site};
use crate::config::Config;

impl Parts {
    /// One page is read, so that copies are marked from the start, and the site is asked whether it compresses for deckle
    /// what it compresses for others. A failure is no error: the first page that a reader asks for teaches the same.
    pub(super) async fn read_front_page(&self, config: &Config) {
        match Site::configured(config, &self.secrets) {
            Ok(Site::Upstream(upstream)) => {
                if !self.learned.findings.knows_any()
                    && let Some(page) = upstream.front_page().await
                {
                    self.learned.findings.learn_page(&page);
                }
                if !config.page.compress && hides_its_codings(&upstream).await {
                    tracing::warn!(
                        target: "deckle",
                        "The site compresses its pages, but not those that are asked for through a proxy, so readers get them \
                         uncompressed now. Set `gzip_proxied any;` where the site is nginx, or `page.compress = true` here."
                    );
                }
            }
            Ok(Site::Demo(demo, _)) if !self.learned.findings.knows_any() => {
                if let Some(page) = demo.page("/") {
                    self.learned.findings.learn_page(&page);
                }
            }
            _ => {}
        }
    }
}

/// A gateway has to name itself in `Via` (RFC 9110 §7.6.3), and by its defaults nginx compresses nothing for whoever does.
async fn hides_its_codings(upstream: &Upstream) -> bool {
    upstream.compresses(true).await == Some(false) && upstream.compresses(false).await == Some(true)
}
