use std::sync::Arc;

use tower_layer::Layer;

use super::service::Assess;
use crate::suspicion::{Judge, SoftQuotas, State};

/// Layer that puts an [`Assessment`](crate::suspicion::Assessment) into the extensions of every request that has a
/// [`Visitor`](crate::visitor::Visitor). Requests without one pass untouched.
#[derive(Clone, Debug)]
#[must_use]
pub struct AssessLayer {
    judge: Arc<Judge>,
}

impl AssessLayer {
    /// Judges by `state`, which the layer shares with [`EnforceLayer`](crate::action::EnforceLayer).
    pub fn new(state: Arc<State>, quotas: SoftQuotas) -> Self {
        Self { judge: Arc::new(Judge::new(state, quotas)) }
    }
}

impl<S> Layer<S> for AssessLayer {
    type Service = Assess<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Assess::new(inner, Arc::clone(&self.judge))
    }
}
