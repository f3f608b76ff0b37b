use crate::action::ActionError;
use crate::audit::SinkError;
use crate::secret::SecretError;
use crate::suspicion::{SharedError, SuspicionError};
use crate::visitor::VisitorError;

/// Why a layer could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Section `[visitor]`.
    #[error(transparent)]
    Visitor(#[from] VisitorError),
    /// Section `[suspicion]`.
    #[error(transparent)]
    Suspicion(#[from] SuspicionError),
    /// Section `[shared]`.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// Names in the shared store are made with the secret.
    #[error("`shared.url` is set, but the builder was given no secret")]
    SharedNoSecret,
    /// Section `[action]`.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// Section `[page]` or `[rights]`.
    #[cfg(feature = "html")]
    #[error(transparent)]
    Page(#[from] crate::page::PageError),
    /// Section `[audit]`.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody would put keys into the list.
    #[error(
        "`visitor.botauth.directories` is set, but a layer fetches no keys: hand them in by `Builder::directories`; `deckle proxy` fetches them itself"
    )]
    NoDirectories,
    /// A signature that covers the host proves nothing if any host will do.
    #[error("`visitor.botauth.directories` is set, but no name of the site: set `proxy.hosts` or `page.origin`")]
    NoHost,
    /// A level of marking without a secret to derive marks from.
    #[error("`watermark.level` is set, but the builder was given no secret")]
    NoSecret,
    /// Marks behind a shared cache.
    #[error(
        "`page.shared_cache` is set, and copies are marked: the cache would hand one visitor's copy to all; set `watermark.level = \"off\"`"
    )]
    SharedCache,
    /// A section whose feature is not compiled in.
    #[error("section `[{section}]` needs feature `{feature}`")]
    Feature {
        /// The section.
        section: &'static str,
        /// The feature.
        feature: &'static str,
    },
}
