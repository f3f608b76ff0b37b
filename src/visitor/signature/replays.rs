//! [`Replays`]: signatures that were shown.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};

use ipnet::IpNet;

/// How many signatures are remembered: sets, and places in each.
const REPLAYS: (usize, usize) = (12_500, 8);

/// Signatures that held, and the network that showed each first, until they expire.
///
/// Only what a listed key has signed gets in, so that nobody else can fill it. Fixed in size; a full set gives up what
/// expires first.
#[derive(Debug)]
pub(super) struct Replays {
    /// Taken when the first signature holds.
    sets: OnceLock<Box<[Mutex<[Seen; REPLAYS.1]>]>>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    signature: u64,
    network: u64,
    /// Seconds since 1970; 0 is a free place.
    expires: i64,
}

impl Replays {
    pub(super) fn new() -> Self {
        Self { sets: OnceLock::new(), hasher: RandomState::new() }
    }

    /// Notes a signature. False: another network has shown it before.
    pub(super) fn admit(&self, signature: &[u8; 64], network: IpNet, expires: i64, now: i64) -> bool {
        let (signature, network) = (self.hasher.hash_one(signature), self.hasher.hash_one(network));
        let index = usize::try_from(signature % REPLAYS.0 as u64).unwrap_or_default();
        let sets = self.sets.get_or_init(|| (0..REPLAYS.0).map(|_| Mutex::default()).collect());
        let Some(set) = sets.get(index) else { return true };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = set.iter().find(|seen| seen.signature == signature && seen.expires > now) {
            return seen.network == network;
        }
        if let Some(place) = set.iter_mut().min_by_key(|seen| seen.expires) {
            *place = Seen { signature, network, expires };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_belongs_to_the_network_that_shows_it_first() {
        let replays = Replays::new();
        let [home, away] = ["203.0.113.0/24", "198.51.100.0/24"].map(|net| net.parse::<IpNet>().unwrap());
        assert!(replays.admit(&[1; 64], home, 200, 100));
        assert!(replays.admit(&[1; 64], home, 200, 150));
        assert!(!replays.admit(&[1; 64], away, 200, 199));
        assert!(replays.admit(&[2; 64], away, 200, 100));
        assert!(replays.admit(&[1; 64], away, 300, 200), "the first one has expired");
    }

    #[test]
    fn the_memory_of_signatures_does_not_grow() {
        let replays = Replays::new();
        let home = "203.0.113.0/24".parse::<IpNet>().unwrap();
        let places = REPLAYS.0 * REPLAYS.1;
        assert_eq!(places, 100_000);
        for n in 0..2 * places as u64 {
            let mut signature = [0; 64];
            signature[..8].copy_from_slice(&n.to_le_bytes());
            assert!(replays.admit(&signature, home, 1_000 + n as i64, 1));
        }
        let used = |set: &Mutex<[Seen; 8]>| set.lock().unwrap().iter().filter(|seen| seen.expires > 0).count();
        let used: usize = replays.sets.get().unwrap().iter().map(used).sum();
        assert!(used <= places && used > places * 9 / 10, "{used}");
    }
}
