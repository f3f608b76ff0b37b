//! The handle of a build without feature `redis`: there never is one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::SharedError;
use super::message::{Debit, Gain, Name, Subject};
use crate::secret::Secrets;
use crate::suspicion::State;

/// The store that processes share.
#[derive(Debug, Clone)]
pub(crate) enum Shared {}

impl Shared {
    pub(super) fn start(_: &str, _: &Secrets, _: &Arc<State>) -> Result<Self, SharedError> {
        Err(SharedError::Feature)
    }

    pub(crate) fn is_online(&self) -> bool {
        match *self {}
    }

    pub(crate) fn waits(&self) -> bool {
        match *self {}
    }

    pub(super) fn set_waits(&self, _: bool) {
        match *self {}
    }

    pub(crate) fn name(&self, _: Subject<'_>) -> Name {
        match *self {}
    }

    pub(crate) fn debit(&self, _: Name, _: Debit) {
        match *self {}
    }

    pub(crate) fn ask(&self, _: Name, _: Debit) -> Option<Verdict> {
        match *self {}
    }

    pub(super) fn tell(&self, _: Name, _: Gain) {
        match *self {}
    }
}

/// The word of the store about one request.
#[derive(Debug)]
pub(crate) enum Verdict {}

impl Future for Verdict {
    type Output = Option<Duration>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match *self {}
    }
}
