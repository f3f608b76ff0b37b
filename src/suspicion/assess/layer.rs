use std::sync::Arc;

use tower_layer::Layer;

use super::service::Assess;
use crate::suspicion::judge::Judge;
use crate::suspicion::{Settings, SoftQuotas, State, SuspicionError};

/// Layer that puts an [`Assessment`](crate::suspicion::Assessment) into the extensions of every request that has a
/// [`Visitor`](crate::visitor::Visitor). Requests without one pass untouched.
#[derive(Clone, Debug)]
#[must_use]
pub struct AssessLayer {
    judge: Arc<Judge>,
}

impl AssessLayer {
    /// Judges by `state`, which the layer shares with [`EnforceLayer`](crate::action::EnforceLayer).
    ///
    /// # Errors
    /// [`SuspicionError`] for settings that do not hold.
    pub fn new(state: Arc<State>, settings: &Settings, quotas: SoftQuotas) -> Result<Self, SuspicionError> {
        Ok(Self { judge: Arc::new(Judge::new(state, settings, quotas)?) })
    }
}

impl<S> Layer<S> for AssessLayer {
    type Service = Assess<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Assess::new(inner, Arc::clone(&self.judge))
    }
}
