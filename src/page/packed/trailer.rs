//! The checksum of each copy, without a look at its bytes.
//!
//! CRC-32 (RFC 1952 §8) is affine: for two pages of one length, crc(x ⊕ d) is crc(x) ⊕ L(d), and L is linear. So each
//! state of a variable has one constant, the ⊕ of L over all its places, copied ones included.

use flate2::Crc;

use super::symbols::{COLUMNS, Channel, NONCE_LETTERS, NONCE_STATES, SEAL_STATES, SEAL_SYMBOLS, Template, Variable};

/// The polynomial, its highest power lowest.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// What each byte does to the checksum.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = times_x(crc);
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// What the states of each variable do to the checksum.
#[derive(Debug)]
pub(super) struct Effects {
    /// State 1, by column.
    pub(super) white: Vec<u32>,
    /// By symbol and state; empty without a place.
    pub(super) seal: Vec<[u32; SEAL_STATES]>,
    /// By letter and state; empty without a place.
    pub(super) nonce: Vec<[u32; NONCE_STATES]>,
}

/// The trailer: checksum and length (RFC 1952 §2.3.1).
pub(super) fn of(crc: u32, length: u32) -> [u8; 8] {
    (u64::from(length) << 32 | u64::from(crc)).to_le_bytes()
}

/// The checksum of a text.
pub(super) fn sum(text: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(text);
    crc.sum()
}

/// What a checksum is multiplied by where so many bytes follow: that of both is the product ⊕ the checksum of what follows.
/// It is x to the power of the bits (x is 1 << 30, and 1 is 1 << 31).
pub(super) fn shift(bytes: usize) -> u32 {
    let (mut product, mut square, mut rest) = (1 << 31, 1 << 23, bytes);
    while rest > 0 {
        if rest & 1 == 1 {
            product = times(product, square);
        }
        square = times(square, square);
        rest >>= 1;
    }
    product
}

/// The product of two polynomials, modulo that of CRC-32.
pub(super) fn times(a: u32, b: u32) -> u32 {
    let (mut product, mut power) = (0, b);
    for bit in (0..32).rev() {
        product ^= power & 0_u32.wrapping_sub(a >> bit & 1);
        power = times_x(power);
    }
    product
}

impl Effects {
    /// One walk from the last byte to the first place. The template is one that was not refused.
    pub(super) fn of(template: &Template) -> Self {
        let mut effects = Self { white: vec![0; COLUMNS], seal: Vec::new(), nonce: Vec::new() };
        // The effect of the highest bit of the byte that is followed by so many.
        let (mut highest, mut followed) = (TABLE[0x80], 0);
        for (at, variable) in template.places.iter().rev() {
            let behind = template.bytes.len() - 1 - *at as usize;
            while followed < behind {
                highest = (highest >> 8) ^ TABLE[(highest & 0xFF) as usize];
                followed += 1;
            }
            let bits = bits(highest);
            match *variable {
                Variable::White(column) => effects.white[usize::from(column)] ^= effect(bits, b' ' ^ b'\n'),
                Variable::Seal(symbol) => {
                    add(&mut effects.seal, SEAL_SYMBOLS, symbol, Channel::Seal.alphabet(), bits);
                }
                Variable::Nonce(letter) => {
                    add(&mut effects.nonce, NONCE_LETTERS, letter, Channel::Nonce.alphabet(), bits);
                }
            }
        }
        effects
    }
}

/// Adds a place with this variable, by the effects of the bits there.
fn add<const STATES: usize>(
    effects: &mut Vec<[u32; STATES]>,
    variables: usize,
    variable: u8,
    alphabet: &[u8],
    bits: [u32; 8],
) {
    effects.resize(variables, [0; STATES]);
    for (sum, byte) in effects[usize::from(variable)].iter_mut().zip(alphabet) {
        *sum ^= effect(bits, byte ^ alphabet[0]);
    }
}

/// The effects of the bits of a byte, the lowest first, by that of the highest: each is the one above times x.
fn bits(highest: u32) -> [u32; 8] {
    let mut bits = [highest; 8];
    for bit in (0..7).rev() {
        bits[bit] = times_x(bits[bit + 1]);
    }
    bits
}

/// The effect of a byte that is different in these bits.
fn effect(bits: [u32; 8], difference: u8) -> u32 {
    bits.iter().enumerate().filter(|(bit, _)| difference >> bit & 1 == 1).fold(0_u32, |sum, (_, effect)| sum ^ effect)
}

const fn times_x(effect: u32) -> u32 {
    (effect >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(effect & 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(bytes: &[u8], places: &[(u32, Variable)]) -> Template {
        Template { bytes: bytes.to_vec(), places: places.to_vec(), ..Template::default() }
    }

    /// Computed with Python's zlib.
    #[test]
    fn the_constants_are_those_of_an_implementation_apart() {
        let page = template(b"a b", &[(1, Variable::White(9))]);
        assert_eq!(of(sum(&page.bytes), 3), [0xD3, 0x5C, 0x6C, 0x80, 3, 0, 0, 0]);
        assert_eq!(sum(b"a\nb"), 0xEF07_90FB);
        assert_eq!(Effects::of(&page).white[9], 0x6F6B_CC28);
        let page = template(&[b' '; 4_096], &[(0, Variable::White(0))]);
        assert_eq!(Effects::of(&page).white[0], 0x8E2D_15B4);
    }

    #[test]
    fn each_state_does_what_its_byte_does() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20 {
            let mut bytes: Vec<u8> = (0..random.usize(60..300)).map(|_| random.u8(..)).collect();
            let mut places = Vec::new();
            let variables =
                [Variable::White(3), Variable::Seal(24), Variable::Nonce(0), Variable::White(3), Variable::Seal(24)];
            for (index, variable) in variables.into_iter().enumerate() {
                let at = 11 * index + random.usize(..11);
                bytes[at] = variable.channel().alphabet()[0];
                places.push((at as u32, variable));
            }
            let page = template(&bytes, &places);
            let effects = Effects::of(&page);
            for (variable, by_state) in [
                (Variable::White(3), &[0, effects.white[3]][..]),
                (Variable::Seal(24), &effects.seal[24][..]),
                (Variable::Nonce(0), &effects.nonce[0][..]),
            ] {
                for (byte, effect) in variable.channel().alphabet().iter().zip(by_state) {
                    let mut copy = bytes.clone();
                    places.iter().filter(|(_, own)| *own == variable).for_each(|(at, _)| copy[*at as usize] = *byte);
                    assert_eq!(sum(&copy), sum(&bytes) ^ effect, "{variable:?} {byte}");
                }
            }
            assert!(effects.white.iter().enumerate().all(|(column, effect)| column == 3 || *effect == 0));
        }
    }

    #[test]
    fn what_has_no_place_has_no_table() {
        let effects = Effects::of(&template(b"a b", &[]));
        assert!(effects.seal.is_empty() && effects.nonce.is_empty() && effects.white.iter().all(|effect| *effect == 0));
    }

    #[test]
    fn checksums_of_texts_make_that_of_both() {
        assert_eq!((shift(0), shift(1), times(0x1234_5678, 1 << 31)), (1 << 31, 1 << 23, 0x1234_5678));
        let mut random = fastrand::Rng::with_seed(8);
        for length in [0, 1, 2, 7, 64, 65, 999, 70_000] {
            let mut text = vec![0; 300];
            random.fill(&mut text);
            let mut behind = vec![0; length];
            random.fill(&mut behind);
            let joined = times(sum(&text), shift(length)) ^ sum(&behind);
            assert_eq!(joined, sum(&[&text[..], &behind[..]].concat()), "{length}");
            // By another implementation.
            let (mut both, mut second) = (Crc::new(), Crc::new());
            both.update(&text);
            second.update(&behind);
            both.combine(&second);
            assert_eq!(joined, both.sum(), "{length}");
        }
    }
}
