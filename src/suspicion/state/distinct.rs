//! How many different things: linear counting (Whang, Vander-Zanden and Taylor, 1990) in one or two words.

/// Marks a thing by its hash. `true`: its bit was clear.
pub(crate) fn mark(bits: &mut [u64], hash: u64) -> bool {
    let at = (hash % (bits.len() as u64 * 64)) as usize;
    let Some(word) = bits.get_mut(at / 64) else { return false };
    let fresh = *word & (1 << (at % 64)) == 0;
    *word |= 1 << (at % 64);
    fresh
}

/// About so many were marked; a full map gives the most that it can tell.
pub(crate) fn estimate(bits: &[u64]) -> f32 {
    let size = bits.len() as f32 * 64.0;
    let clear: u32 = bits.iter().map(|word| word.count_zeros()).sum();
    -size * (clear.max(1) as f32 / size).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_near_what_was_counted() {
        // Set bits of 128: 64, 96, 112 are about 88.7, 177.4, 266.2 things.
        for (set, count) in [(0, 0.0), (64, 88.7), (96, 177.4), (112, 266.2)] {
            let mut bits = [0u64; 2];
            (0..set).for_each(|hash| assert!(mark(&mut bits, hash)));
            assert!((estimate(&bits) - count).abs() < 0.1, "{set}");
        }
        let mut bits = [0u64; 1];
        assert!(mark(&mut bits, 70) && !mark(&mut bits, 6));
        assert!(estimate(&[u64::MAX]).is_finite());
    }
}
