//! The checks by DNS, which outlive a reload as long as their settings do.

use std::sync::{Mutex, PoisonError};

use crate::clock::SharedClock;
use crate::visitor::{DnsVerifier, VerifySettings};

/// The running checks.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<Option<(VerifySettings, DnsVerifier)>>);

impl Checks {
    /// How the queue does; `None`: nothing is checked.
    pub(super) fn waiting(&self) -> Option<super::admin::Lookups> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (queued, dropped) = held.as_ref()?.1.waiting();
        Some(super::admin::Lookups { queued, dropped })
    }

    /// The checks for these settings; `None`: switched off, or they cannot be started.
    pub(super) fn of(&self, settings: &VerifySettings, clock: &SharedClock) -> Option<DnsVerifier> {
        if !settings.dns {
            return None;
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, running)) = held.as_ref().filter(|(of, _)| of == settings) {
            return Some(running.clone());
        }
        match DnsVerifier::start(settings, clock.clone()) {
            Ok(started) => {
                *held = Some((settings.clone(), started.clone()));
                Some(started)
            }
            Err(error) => {
                tracing::warn!(target: "deckle", %error, "Robots are not checked by DNS.");
                None
            }
        }
    }
}
