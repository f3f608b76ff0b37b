use tower_layer::{Layer, Stack};

use super::builder::Builder;
use super::service::{Deckle, ProtectOf};
use crate::action::EnforceLayer;
use crate::audit::AuditLayer;
use crate::suspicion::AssessLayer;
use crate::visitor::IdentifyLayer;

#[cfg(feature = "html")]
pub(super) type Protecting = crate::page::ProtectLayer;
#[cfg(not(feature = "html"))]
pub(super) type Protecting = tower_layer::Identity;

type Layers = Stack<Protecting, Stack<EnforceLayer, Stack<AuditLayer, Stack<AssessLayer, IdentifyLayer>>>>;

/// The whole of deckle as one layer. See the [module docs](crate::layer).
#[derive(Clone, Debug)]
#[must_use]
pub struct DeckleLayer {
    layers: Layers,
    #[cfg(feature = "html")]
    protect: Protecting,
}

impl DeckleLayer {
    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The number that stands for everything that shapes a page.
    #[cfg(feature = "html")]
    pub fn version(&self) -> u32 {
        self.protect.version()
    }

    /// The pages that it knows, for a layer that takes its place ([`Builder::known_pages`]).
    #[cfg(feature = "html")]
    pub fn known_pages(&self) -> crate::page::KnownPages {
        self.protect.known_pages()
    }

    pub(super) fn new(
        identify: IdentifyLayer,
        assess: AssessLayer,
        audit: AuditLayer,
        enforce: EnforceLayer,
        protect: Protecting,
    ) -> Self {
        let outer = Stack::new(audit, Stack::new(assess, identify));
        Self {
            #[cfg(feature = "html")]
            protect: protect.clone(),
            layers: Stack::new(protect, Stack::new(enforce, outer)),
        }
    }
}

impl<S> Layer<S> for DeckleLayer
where
    Protecting: Layer<S, Service = ProtectOf<S>>,
{
    type Service = Deckle<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deckle::new(self.layers.layer(inner))
    }
}
