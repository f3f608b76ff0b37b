//! What symbols cost, by how often they stand in a block (Shannon 1948), where codes of some have one length.
//!
//! In whole numbers, so that every machine makes the same bytes of a page: a bit is 256.

use super::symbols::Channels;

/// A bit.
pub(super) const BIT: i64 = 256;
/// What one more symbol takes in the table of a block, by experience.
const IN_TABLE: i64 = 7 * BIT / 2;
/// The logarithm of 5/2: what does not stand in a block counts 0.4 times.
const UNSEEN: i64 = 338;
/// No code is longer (RFC 1951 §3.2.7).
const LONGEST: i64 = 15 * BIT;

/// 256 times the logarithm of 1 + index / 256.
const FRACTION: [u8; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        // Each squaring gives a bit of the logarithm: is the square 2 or more?
        let mut number = (256 + index as u64) << 22;
        let mut fraction = 0;
        let mut bit = 0;
        while bit < 8 {
            number = (number * number) >> 30;
            fraction <<= 1;
            if number >= 2 << 30 {
                number >>= 1;
                fraction += 1;
            }
            bit += 1;
        }
        table[index] = fraction;
        index += 1;
    }
    table
};

/// The bits of what is counted, and of the table that its code needs. The symbols of a channel are one.
pub(super) fn bits(counts: &[u32], channels: Channels) -> i64 {
    let whole = log_of_sum(counts);
    let leaf = |count: u32, below: i64| match count {
        0 => 0,
        _ => i64::from(count) * ((whole - log(count)).max(BIT) + below) + IN_TABLE,
    };
    let apart: i64 = counts.iter().map(|count| leaf(*count, 0)).sum();
    channels.alphabets().fold(apart, |bits, alphabet| {
        let members = alphabet.iter().map(|byte| counts[usize::from(*byte)]);
        let apart: i64 = members.clone().map(|count| leaf(count, 0)).sum();
        bits - apart + leaf(members.sum(), depth(alphabet))
    })
}

/// The cost of each symbol.
pub(super) fn prices(counts: &[u32], channels: Channels) -> Vec<i64> {
    let whole = log_of_sum(counts);
    let price = |count: u32| match count {
        0 => whole + UNSEEN,
        _ => (whole - log(count)).max(BIT),
    };
    let mut prices: Vec<i64> = counts.iter().map(|count| price(*count).min(LONGEST)).collect();
    for alphabet in channels.alphabets() {
        let count: u32 = alphabet.iter().map(|byte| counts[usize::from(*byte)]).sum();
        for byte in alphabet {
            prices[usize::from(*byte)] = (price(count) + depth(alphabet)).min(LONGEST);
        }
    }
    prices
}

/// How far the members of a group stand below it.
fn depth(alphabet: &[u8]) -> i64 {
    i64::from(alphabet.len().ilog2()) * BIT
}

fn log_of_sum(counts: &[u32]) -> i64 {
    log(counts.iter().sum::<u32>().max(1))
}

/// The logarithm to base 2 of a number that is not 0.
fn log(number: u32) -> i64 {
    let power = number.ilog2();
    let mantissa = (number << (31 - power)) >> 23;
    i64::from(power) * BIT + i64::from(FRACTION[(mantissa & 0xFF) as usize])
}

#[cfg(test)]
mod tests {
    use super::super::symbols::Channel;
    use super::*;

    #[test]
    fn logarithms_are_right_to_a_hundredth_of_a_bit() {
        for number in (1..2_000).chain([65_535, 8_388_608, 123_456_789, u32::MAX]) {
            let exact = f64::from(number).log2();
            let got = log(number) as f64 / BIT as f64;
            assert!(got <= exact && exact - got < 0.01, "{number}: {got} for {exact}");
        }
    }

    #[test]
    fn four_of_a_kind_take_two_bits_each() {
        let counts = [10, 0, 10, 10, 10];
        assert_eq!(bits(&counts, Channels::default()), 80 * BIT + 4 * IN_TABLE);
        let unseen = 5 * BIT + 82 + UNSEEN;
        assert_eq!(prices(&counts, Channels::default()), [2 * BIT, unseen, 2 * BIT, 2 * BIT, 2 * BIT]);
        assert_eq!(bits(&[0; 5], Channels::default()), 0);
    }

    #[test]
    fn the_members_of_a_channel_cost_the_same() {
        let mut counts = [0; 286];
        (counts[usize::from(b' ')], counts[usize::from(b'a')]) = (96, 32);
        let mut white = Channels::default();
        white.insert(Channel::White);
        let prices = prices(&counts, white);
        // Three quarters of all take the least, one bit, and one more to tell the two.
        assert_eq!((prices[10], prices[32], prices[97]), (2 * BIT, 2 * BIT, 2 * BIT));
        assert_eq!(bits(&counts, white) - bits(&counts, Channels::default()), 96 * BIT);
    }
}
