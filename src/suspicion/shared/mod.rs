//! What several processes know together, by way of a store that speaks the protocol of Redis or Valkey, 6 or newer
//! (feature `redis`, section `[shared]`).
//!
//! 1. A process decides by what it knows itself, and at once. Then it tells the store, and the answer counts from the
//!    next request on. Nothing waits; with `shared.wait` the hard quota of pages waits for the answer, 3 ms at most.
//! 2. Only about clients with a score of 20 or more, or with five pages or more, is anything told or asked. Readers
//!    in good standing cause no traffic.
//! 3. Shared are the quotas of pages and the trickle of action `limit`, both of one client, the quota of a robot that
//!    is what it says, and the points for rate, behaviour, traps and credit. What a network does, each process sees for
//!    itself; which challenges were used, and whose robots were checked, too.
//! 4. The quotas are debited in the store as in the process (GCRA), by the clock of the store. A page that is gone counts
//!    there even if nothing was left; where the store counts a higher debt, the process takes it over. So what several
//!    gave too much is paid back to all of them, up to eight bursts. What is true counts once, however many processes see
//!    it; what happens is added, every 2 s.
//! 5. After five errors, or when of the answers of 10 s more than one in twenty takes longer than 10 ms, the store is
//!    left alone for about 30 s. The audit record then says `shared` in `deckle.degraded`.
//! 6. Keys are the first 64 bits of a hash keyed with the secret: no address and no `User-Agent` leaves the process.
//!    They expire when a quota is fresh again, points after a day.
//!
//! # What is promised
//! The limits of a single process always hold. Across N processes a client gets N times the burst at most, once;
//! within 2 s and a round trip it is down to the rate that they share. Points become the same everywhere sooner or
//! later, and as long as they are kept, none gets lost but by fading. A store that is dead takes the sharing with it,
//! never the site.
//!
//! # Deployment caveat
//! All processes need the same secret: under another one they use other names, and share nothing. The store should have
//! a `maxmemory` and the policy `volatile-lru`; `deckle check` says so. A cluster is not supported, and neither is TLS:
//! put the store on a network that only its clients can reach.

#[cfg(not(feature = "redis"))]
mod absent;
#[cfg(feature = "redis")]
mod advice;
#[cfg(feature = "redis")]
mod breaker;
#[cfg(feature = "redis")]
mod handle;
#[cfg_attr(not(feature = "redis"), allow(dead_code))] // Written by the judge, read by the worker.
mod message;
#[cfg(feature = "redis")]
mod script;
mod tell;
#[cfg(feature = "redis")]
mod worker;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(not(feature = "redis"))]
pub(crate) use absent::{Shared, Verdict};
#[cfg(feature = "redis")]
pub use advice::advice;
#[cfg(feature = "redis")]
pub(crate) use handle::{Shared, Verdict};
pub(crate) use message::{Debit, GROUPS, Names, PerGroup, Subject};
pub(super) use tell::Told;

use super::State;
use crate::secret::Secrets;

/// Section `[shared]`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SharedSettings {
    /// `redis://[user[:password]@]host[:port][/database]`, `valkey://` or `unix://`; unset: nothing is shared. Needs
    /// feature `redis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A request that the process would let through waits for the word of the store, 3 ms at most.
    pub wait: bool,
}

impl SharedSettings {
    /// Do the settings hold together? Whether the address can be used shows when it is.
    ///
    /// # Errors
    /// [`SharedError::Wait`], and [`SharedError::Feature`] in a build without feature `redis`.
    pub fn check(&self) -> Result<(), SharedError> {
        match (&self.url, self.wait) {
            (Some(_), _) if !cfg!(feature = "redis") => Err(SharedError::Feature),
            (None, true) => Err(SharedError::Wait),
            _ => Ok(()),
        }
    }
}

/// The address may hold a password.
impl fmt::Debug for SharedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_ref().map(|_| "set");
        f.debug_struct("SharedSettings").field("url", &url).field("wait", &self.wait).finish()
    }
}

/// Why nothing can be shared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// Not compiled in.
    #[error("`shared.url` needs feature `redis`")]
    Feature,
    /// There is nothing to wait for.
    #[error("`shared.wait` is set, but `shared.url` is not")]
    Wait,
    /// Not the address of a store. The reason never holds the address: there may be a password in it.
    #[error("`shared.url`: {reason}")]
    Url {
        /// What is wrong.
        reason: String,
    },
    /// There is no runtime that could talk to the store.
    #[error("`shared.url` needs a tokio runtime; build the layer inside of one")]
    Runtime,
    /// The store does not answer.
    #[error("the shared store does not answer: {reason}")]
    Silent {
        /// What it said instead.
        reason: String,
    },
}

impl State {
    /// From now on, shares what is remembered with all processes that have the same store and the same secret. Without
    /// an address it does nothing. Called again, as by a reload, it takes over [`SharedSettings::wait`], and keeps the
    /// store.
    ///
    /// A store that cannot be reached is no error: it is tried again, as long as the tables live.
    ///
    /// # Errors
    /// [`SharedError`] for settings that do not hold, and without a runtime.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use deckle::clock::SystemClock;
    /// use deckle::secret::Secrets;
    /// use deckle::suspicion::{SharedSettings, State};
    ///
    /// let state = Arc::new(State::new(SystemClock::shared()));
    /// let secrets = Secrets::random()?;
    /// assert!(state.share(&SharedSettings::default(), &secrets).is_ok(), "nothing to share");
    /// let settings = SharedSettings { url: Some("http://127.0.0.1/".to_owned()), ..SharedSettings::default() };
    /// assert!(state.share(&settings, &secrets).unwrap_err().to_string().contains("shared.url"));
    /// # Ok::<(), deckle::secret::SecretError>(())
    /// ```
    pub fn share(self: &Arc<Self>, settings: &SharedSettings, secrets: &Secrets) -> Result<(), SharedError> {
        settings.check()?;
        if let (Some(url), None) = (&settings.url, self.shared()) {
            self.set_shared(Shared::start(url, secrets, self)?);
        }
        if let Some(shared) = self.shared() {
            shared.set_waits(settings.wait);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_hold_together_and_hide_the_password() {
        let of = |text: &str| toml::from_str::<SharedSettings>(text).unwrap();
        assert!(of("").check().is_ok());
        assert!(matches!(of("wait = true").check(), Err(SharedError::Wait)));
        let with_url = of("url = \"redis://:hunter2@10.0.0.9/\"\nwait = true");
        assert_eq!(with_url.check().is_ok(), cfg!(feature = "redis"));
        assert!(!format!("{with_url:?}").contains("hunter2"));
        assert!(toml::from_str::<SharedSettings>("ttl = 3").is_err());
    }
}
