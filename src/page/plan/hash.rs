//! Hashes of source, and of the bytes in which it comes.

use std::sync::Arc;

use twox_hash::XxHash3_64;

/// Hashes chunks of source. Its key is random, so no page can be made that passes for another.
#[derive(Clone)]
pub(super) struct ChunkHash(Arc<[u8; 192]>);

impl ChunkHash {
    /// `None`: the secret is too short.
    pub(super) fn new(secret: [u8; 192]) -> Option<Self> {
        XxHash3_64::oneshot_with_secret(&secret, &[]).ok()?;
        Some(Self(Arc::new(secret)))
    }

    pub(super) fn of(&self, chunk: &[u8]) -> u64 {
        // `new` has seen that the secret is long enough.
        XxHash3_64::oneshot_with_secret(&*self.0, chunk).unwrap_or_default()
    }
}
