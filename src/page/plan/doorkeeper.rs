//! Which pages were seen lately: what nobody asks for twice within some thousand others is not worth packing. A Bloom
//! filter (Bloom 1970) of two generations, in a fixed 8 KiB.

/// Bits of a generation.
const BITS: usize = 32 * 1024;
/// Bits for each key.
const PROBES: u32 = 4;
/// Keys of a generation: then one key in 40 that was not seen counts as seen.
const MAX_KEYS: u32 = 4_096;

/// The keys are hashes already.
pub(super) struct Doorkeeper {
    young: Box<[u64; BITS / 64]>,
    old: Box<[u64; BITS / 64]>,
    /// Keys of the young one.
    keys: u32,
}

impl Default for Doorkeeper {
    fn default() -> Self {
        Self { young: Box::new([0; BITS / 64]), old: Box::new([0; BITS / 64]), keys: 0 }
    }
}

impl Doorkeeper {
    /// Was it seen lately? From now on it was.
    pub(super) fn see(&mut self, key: u64) -> bool {
        let young = has(&self.young, key);
        let seen = young || has(&self.old, key);
        if !young {
            if self.keys >= MAX_KEYS {
                std::mem::swap(&mut self.young, &mut self.old);
                self.young.fill(0);
                self.keys = 0;
            }
            self.keys += 1;
            for at in probes(key) {
                if let Some(word) = self.young.get_mut(at / 64) {
                    *word |= 1 << (at % 64);
                }
            }
        }
        seen
    }
}

fn has(bits: &[u64; BITS / 64], key: u64) -> bool {
    probes(key).all(|at| bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1))
}

/// Each from 15 bits of its own.
fn probes(key: u64) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |probe| (key >> (15 * probe)) as usize % BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_through_an_archive_is_not_remembered_and_what_is_seen_again_is() {
        let mut random = fastrand::Rng::with_seed(3);
        let archive: Vec<u64> = (0..100_000).map(|_| random.u64(..)).collect();
        let mut door = Doorkeeper::default();
        let daily = random.u64(..);
        door.see(daily);
        let mut let_in = 0;
        for (number, key) in archive.iter().chain(&archive).enumerate() {
            let_in += usize::from(door.see(*key));
            assert!(number % 1_000 != 0 || door.see(daily), "{number}");
        }
        assert!(let_in < 200_000 / 20, "{let_in}");
        assert!(archive[99_000..].iter().all(|key| door.see(*key)));
    }
}
