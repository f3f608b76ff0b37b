use std::sync::Arc;

use tower_layer::Layer;

use super::service::Assess;
use crate::rights::RobotsMemory;
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

    /// Holds robots to the robots.txt that [`ProtectLayer`](crate::page::ProtectLayer) has seen go out, by the same memory.
    /// The first memory that is given counts.
    pub fn robots(self, memory: Arc<RobotsMemory>) -> Self {
        let _ = self.judge.robots.set(memory);
        self
    }
}

impl<S> Layer<S> for AssessLayer {
    type Service = Assess<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Assess::new(inner, Arc::clone(&self.judge))
    }
}
