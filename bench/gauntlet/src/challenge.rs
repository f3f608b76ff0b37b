//! The work that a challenge asks for, as `assets/challenge.js` does it.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// More than this no page asks for.
const MAX_BITS: u32 = 20;

/// What stands in the attributes of the script.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) token: String,
    pub(crate) bits: u32,
    pub(crate) url: String,
}

/// The ways through a challenge.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    /// The page goes on by itself, or by its link.
    pub(crate) wait: Option<(Duration, String)>,
    pub(crate) work: Option<Work>,
}

impl Work {
    /// Where the answer goes: the first number that, behind the token, gives a hash with enough zero bits.
    pub(crate) fn answer(&self) -> Option<String> {
        let bits = (1..=MAX_BITS).contains(&self.bits).then_some(self.bits)?;
        let number = (0u64..1 << 32).find(|number| {
            let digest = Sha256::new().chain_update(&self.token).chain_update(number.to_le_bytes()).finalize();
            let first = digest.iter().take(4).fold(0u32, |word, byte| word << 8 | u32::from(*byte));
            first >> (32 - bits) == 0
        })?;
        Some(format!("{}&n={number}", self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_number_is_found() {
        let work = Work { token: "deckle-test-vector-1".into(), bits: 16, url: "/c?t=1".into() };
        assert_eq!(work.answer().as_deref(), Some("/c?t=1&n=12268"));
    }
}
