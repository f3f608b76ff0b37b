//! Prefix codes of at most so many bits, in which the bytes of a channel have codes of one length.
//!
//! A group of 2ᵏ symbols is one leaf, k bits above its members, with the sum of their weights. Nothing is lost by that
//! against any other code in which they have one length: two leaves of one depth can always be made siblings by a
//! change of places at that depth.

use super::symbols::Channels;
use super::tokens::{DISTANCES, END};

/// Longest code of literals, lengths and distances (RFC 1951 §3.2.7).
pub(super) const MAX_LENGTH: u8 = 15;

/// A canonical code (RFC 1951 §3.2.2).
#[derive(Debug, Clone)]
pub(super) struct Code {
    /// Bits of each symbol; 0: it has no code.
    pub(super) lengths: Vec<u8>,
    /// The codes, the first bit lowest, as they are written.
    pub(super) bits: Vec<u16>,
}

impl Code {
    /// The shortest code for what was counted, at least two symbols of it. `limit`: its longest one.
    pub(super) fn of(counts: &[u32], limit: u8, channels: Channels) -> Self {
        let mut weights = counts.to_vec();
        // Some decoders reject a code of one symbol.
        let used = weights.iter().filter(|weight| **weight > 0).count();
        weights
            .iter_mut()
            .filter(|weight| **weight == 0)
            .take(2_usize.saturating_sub(used))
            .for_each(|weight| *weight = 1);
        let mut limits = vec![limit; weights.len()];
        for alphabet in channels.alphabets() {
            let members = || alphabet.iter().map(|byte| usize::from(*byte));
            let sum: u32 = members().map(|member| std::mem::take(&mut weights[member])).sum();
            let leaf = usize::from(alphabet[0]);
            weights[leaf] = sum.max(1);
            limits[leaf] = limit - depth(alphabet);
        }
        let mut lengths = package_merge(&weights, &limits);
        for alphabet in channels.alphabets() {
            let length = lengths[usize::from(alphabet[0])] + depth(alphabet);
            for byte in alphabet {
                lengths[usize::from(*byte)] = length;
            }
        }
        Self::of_lengths(lengths)
    }

    /// The codes that RFC 1951 §3.2.6 fixes: of literals and lengths, and of distances.
    pub(super) fn fixed() -> (Self, Self) {
        (Self::of_lengths((0..288).map(fixed_length).collect()), Self::of_lengths(vec![5; DISTANCES]))
    }

    fn of_lengths(lengths: Vec<u8>) -> Self {
        let mut next = [0_u32; MAX_LENGTH as usize + 1];
        let mut code = 0;
        for (length, first) in next.iter_mut().enumerate().skip(1) {
            *first = code;
            code = (code + lengths.iter().filter(|own| usize::from(**own) == length).count() as u32) << 1;
        }
        let bits = lengths.iter().map(|length| {
            let next = &mut next[usize::from(*length)];
            let code = *next;
            *next += 1;
            // A code of no bits is nothing.
            code.reverse_bits().checked_shr(32 - u32::from(*length)).unwrap_or_default() as u16
        });
        Self { bits: bits.collect(), lengths }
    }

    /// The bits of what was counted.
    pub(super) fn size(&self, counts: &[u32]) -> u64 {
        counts.iter().zip(&self.lengths).map(|(count, length)| u64::from(*count) * u64::from(*length)).sum()
    }
}

/// The bits of a literal or length in a fixed block (RFC 1951 §3.2.6). The bytes of each channel have codes of one
/// length here, too.
pub(super) fn fixed_length(symbol: usize) -> u8 {
    match symbol {
        144..END => 9,
        END..280 => 7,
        _ => 8,
    }
}

/// How far the members of a group stand below its leaf.
fn depth(alphabet: &[u8]) -> u8 {
    alphabet.len().ilog2() as u8
}

/// A leaf, or a package of two items of the level below. A package has each leaf at most once a level, so 32 bits hold
/// the weights of the longest page.
#[derive(Debug, Clone, Copy)]
struct Item {
    weight: u32,
    leaf: Option<u16>,
}

/// The depths of the best tree whose leaves are no deeper than their limits; 0 for what has no weight (Larmore and
/// Hirschberg 1990).
fn package_merge(weights: &[u32], limits: &[u8]) -> Vec<u8> {
    let mut leaves: Vec<usize> = (0..weights.len()).filter(|leaf| weights[*leaf] > 0).collect();
    leaves.sort_by_key(|leaf| weights[*leaf]);
    // From the deepest level up: the leaves that may be so deep, and packages, by weight.
    let mut levels: Vec<Vec<Item>> = Vec::new();
    for level in (1..=limits.iter().copied().max().unwrap_or_default()).rev() {
        let below = levels.last().map(Vec::as_slice).unwrap_or_default();
        let pairs = below.as_chunks::<2>().0.iter();
        let mut packages = pairs.map(|[a, b]| Item { weight: a.weight + b.weight, leaf: None }).peekable();
        let mut items = Vec::with_capacity(2 * leaves.len());
        for leaf in leaves.iter().filter(|leaf| limits[**leaf] >= level) {
            let weight = weights[*leaf];
            while let Some(package) = packages.next_if(|package| package.weight < weight) {
                items.push(package);
            }
            items.push(Item { weight, leaf: Some(*leaf as u16) });
        }
        items.extend(packages);
        levels.push(items);
    }
    // A tree of n leaves takes 2n - 2 items, and of each package both halves. A leaf is as deep as it is taken often.
    let mut depths = vec![0; weights.len()];
    let mut taken = (2 * leaves.len()).saturating_sub(2);
    for items in levels.iter().rev() {
        let mut packages = 0;
        for item in items.iter().take(taken) {
            match item.leaf {
                Some(leaf) => depths[usize::from(leaf)] += 1,
                None => packages += 1,
            }
        }
        taken = 2 * packages;
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::super::symbols::Channel;
    use super::super::tokens::LITERALS;
    use super::*;

    fn channels(of: &[Channel]) -> Channels {
        let mut channels = Channels::default();
        for channel in of {
            channels.insert(*channel);
        }
        channels
    }

    /// Does the code have room for each of its symbols, and for no other?
    fn is_complete(lengths: &[u8]) -> bool {
        lengths.iter().filter(|length| **length > 0).map(|length| 1_u64 << (32 - length)).sum::<u64>() == 1 << 32
    }

    /// The bits of Huffman's code, by his own rule.
    fn huffman(counts: &[u32]) -> u64 {
        let mut weights: Vec<u64> = counts.iter().filter(|count| **count > 0).map(|count| u64::from(*count)).collect();
        let mut bits = 0;
        while weights.len() > 1 {
            weights.sort_unstable_by_key(|weight| std::cmp::Reverse(*weight));
            let pair: u64 = weights.split_off(weights.len() - 2).into_iter().sum();
            bits += pair;
            weights.push(pair);
        }
        bits
    }

    fn random_counts(random: &mut fastrand::Rng, of: usize) -> Vec<u32> {
        let mut count = || {
            let most = 1 << random.u32(1..8);
            if random.u8(..) < 90 { random.u32(..most) } else { 0 }
        };
        let mut counts: Vec<u32> = (0..of).map(|_| count()).collect();
        // What each channel needs at least, and the end.
        for byte in [b' ', b'A', 0x86] {
            counts[usize::from(byte)] = 9;
        }
        counts[END] = 1;
        counts
    }

    #[test]
    fn without_groups_it_is_huffmans_code() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..40 {
            let counts = random_counts(&mut random, LITERALS);
            let code = Code::of(&counts, MAX_LENGTH, Channels::default());
            assert!(is_complete(&code.lengths));
            assert_eq!(code.size(&counts), huffman(&counts));
        }
    }

    #[test]
    fn the_bytes_of_a_channel_have_one_length_and_the_code_is_the_best_such() {
        use Channel::{Nonce, Seal, White};
        let mut random = fastrand::Rng::with_seed(6);
        for round in 0..40 {
            let counts = random_counts(&mut random, LITERALS);
            let present = [White, Seal, Nonce];
            let present = channels(&present[..=round % 3]);
            let code = Code::of(&counts, MAX_LENGTH, present);
            assert!(is_complete(&code.lengths) && code.lengths.iter().all(|length| *length <= MAX_LENGTH));
            let (mut merged, mut below) = (counts.clone(), 0);
            for alphabet in present.alphabets() {
                let length = code.lengths[usize::from(alphabet[0])];
                assert!(length > 0 && alphabet.iter().all(|byte| code.lengths[usize::from(*byte)] == length));
                let sum: u32 = alphabet.iter().map(|byte| std::mem::take(&mut merged[usize::from(*byte)])).sum();
                merged[usize::from(alphabet[0])] = sum;
                below += u64::from(sum) * u64::from(depth(alphabet));
            }
            assert_eq!(code.size(&counts), huffman(&merged) + below, "{round}");
        }
    }

    #[test]
    fn no_code_is_longer_than_its_limit() {
        // Fibonacci's numbers make the deepest trees.
        let mut counts = vec![0; LITERALS];
        let (mut a, mut b) = (1_u32, 1);
        for count in counts.iter_mut().take(40) {
            *count = a;
            (a, b) = (b, (a + b).min(1 << 24));
        }
        counts[END] = 1;
        for present in [&[][..], &[Channel::Seal], &[Channel::White, Channel::Seal, Channel::Nonce]] {
            let code = Code::of(&counts, MAX_LENGTH, channels(present));
            assert_eq!(code.lengths.iter().max(), Some(&MAX_LENGTH));
            assert!(is_complete(&code.lengths));
        }
        let code = Code::of(&counts[..19], 7, Channels::default());
        assert!(is_complete(&code.lengths) && code.lengths.iter().all(|length| (1..=7).contains(length)));
        // A limit costs what it must and no more: the best code of three symbols in two bits.
        assert_eq!(Code::of(&[1, 9, 90], 2, Channels::default()).lengths, [2, 2, 1]);
    }

    #[test]
    fn there_are_always_two_codes() {
        for counts in [[0, 0, 0, 0], [0, 0, 7, 0], [7, 0, 0, 0], [0, 3, 3, 0]] {
            let code = Code::of(&counts, MAX_LENGTH, Channels::default());
            assert_eq!(code.lengths.iter().map(|length| u32::from(*length == 1)).sum::<u32>(), 2, "{counts:?}");
            assert!(counts.iter().zip(&code.lengths).all(|(count, length)| *count == 0 || *length == 1));
        }
    }

    #[test]
    fn codes_are_those_of_the_example_of_the_standard() {
        // RFC 1951 §3.2.2.
        let code = Code::of_lengths(vec![3, 3, 3, 3, 3, 2, 4, 4]);
        let codes = code.bits.iter().zip(&code.lengths);
        let letter = |bits: u16, bit: u8| if bits >> bit & 1 == 1 { '1' } else { '0' };
        let written = codes.map(|(bits, length)| (0..*length).map(|bit| letter(*bits, bit)).collect::<String>());
        let written: Vec<String> = written.collect();
        assert_eq!(written, ["010", "011", "100", "101", "110", "00", "1110", "1111"]);
        let (literals, distances) = Code::fixed();
        for (symbol, length, code) in [
            (0, 8, 0x30),
            (143, 8, 0xBF),
            (144, 9, 0x190),
            (255, 9, 0x1FF),
            (256, 7, 0),
            (279, 7, 0x17),
            (280, 8, 0xC0),
            (287, 8, 0xC7),
        ] {
            let got = u32::from(literals.bits[symbol]).reverse_bits() >> (32 - length);
            assert_eq!((literals.lengths[symbol], got), (length as u8, code), "{symbol}");
        }
        assert_eq!((distances.bits[1], distances.lengths[1]), (0b1_0000, 5));
        // Places may stand in them.
        for alphabet in channels(&[Channel::White, Channel::Seal, Channel::Nonce]).alphabets() {
            assert!(alphabet.iter().all(|byte| literals.lengths[usize::from(*byte)] == 8));
        }
    }
}
