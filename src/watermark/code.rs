//! Rows, columns and seals: the arithmetic of the mark.
//!
//! A mark is 48 bits. Its *row* is 4,096 bits of ChaCha8 (RFC 8439 layout, eight rounds) under a key of the secret; the
//! *column* of a gap is the SipHash-2-4 of the four folded words around it. The bit where row and column meet says
//! whether the gap is a space or a line feed. Even columns are 1 with probability 1/4, odd ones with 3/4: the bias keeps
//! colluders traceable. A *seal* is 25 variation selectors, three bits each: key id, mark, and 24 bits of HMAC.

use std::fmt;
use std::hash::Hasher as _;

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use siphasher::sip::SipHasher24;

use crate::secret::{Secret, hmac_sha256};

/// Columns of the gap channel.
pub const COLUMNS: usize = 4_096;
/// Symbols of a seal.
pub const SEAL_SYMBOLS: usize = 25;
/// The first of the eight symbols, U+FE06.
const FIRST_SYMBOL: u32 = 0xFE06;
const DOMAIN: &str = "deckle-watermark-1";
const MARK_BITS: u64 = (1 << 48) - 1;

/// The mark of a copy: key id and 48 bits. Written `k1-0123456789ab`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// Which secret made it.
    pub kid: u8,
    /// 48 bits.
    pub id: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}-{:012x}", self.kid, self.id)
    }
}

impl std::str::FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kid, id) = text.strip_prefix('k').and_then(|t| t.split_once('-')).ok_or(())?;
        if id.len() != 12 {
            return Err(());
        }
        let kid = kid.parse().map_err(drop)?;
        Ok(Self { kid, id: u64::from_str_radix(id, 16).map_err(drop)? })
    }
}

/// The keys of one secret.
#[derive(Clone)]
pub struct Keys {
    kid: u8,
    id: [u8; 32],
    slot: [u8; 16],
    row: [u8; 32],
    seal: [u8; 32],
}

impl Keys {
    /// Derives them.
    pub fn new(secret: &Secret) -> Self {
        let key = |label| secret.derive(DOMAIN, label);
        let mut slot = [0; 16];
        slot.copy_from_slice(&key("slot")[..16]);
        Self { kid: secret.kid(), id: key("id"), slot, row: key("row"), seal: key("seal") }
    }

    /// Which secret they belong to.
    pub fn kid(&self) -> u8 {
        self.kid
    }

    /// The mark of a visitor on a day: stable over reloads, adds up over the articles of a visit.
    pub fn visit_mark(&self, visitor: &[u8], unix_day: u32) -> Mark {
        let digest = hmac_sha256(&self.id, &[b"visit", &[0], visitor, &[0], &unix_day.to_be_bytes()]);
        let id = digest.iter().take(6).fold(0u64, |id, byte| id << 8 | u64::from(*byte));
        Mark { kid: self.kid, id }
    }

    /// The column of a gap, by its four folded words joined with 0x1F.
    pub fn column(&self, context: &[u8]) -> usize {
        (self.context_hash(context) % COLUMNS as u64) as usize
    }

    fn context_hash(&self, context: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.slot);
        hasher.write(b"Ws");
        hasher.write(context);
        hasher.finish()
    }

    /// The row of a mark.
    pub fn row(&self, mark: u64) -> Row {
        let mut nonce = [0u8; 12];
        nonce[0] = b'W';
        nonce[1] = 1;
        nonce[6..].copy_from_slice(&mark.to_be_bytes()[2..]);
        let mut stream = [0u8; COLUMNS / 4];
        ChaCha8::new(&self.row.into(), &nonce.into()).apply_keystream(&mut stream);
        let (a, b) = stream.split_at(COLUMNS / 8);
        let mut bits = [0u64; COLUMNS / 64];
        for ((word, a), b) in bits.iter_mut().zip(a.chunks_exact(8)).zip(b.chunks_exact(8)) {
            let (a, b) = (little_endian(a), little_endian(b));
            *word = (a & b & EVEN) | ((a | b) & !EVEN);
        }
        Row { bits }
    }

    fn seal_tag(&self, mark: u64) -> u128 {
        let body: Vec<u8> = std::iter::once(self.kid).chain(mark.to_be_bytes()[2..].iter().copied()).collect();
        let digest = hmac_sha256(&self.seal, &[&body]);
        digest.iter().take(3).fold(0u128, |tag, byte| tag << 8 | u128::from(*byte))
    }

    /// The symbols of a mark's seal, 0–7 each.
    pub fn seal(&self, mark: u64) -> [u8; SEAL_SYMBOLS] {
        let value = u128::from(self.kid) << 72 | u128::from(mark & MARK_BITS) << 24 | self.seal_tag(mark);
        std::array::from_fn(|i| (value >> (72 - 3 * i) & 7) as u8)
    }

    /// The mark of a seal, if it verifies under these keys.
    pub fn unseal(&self, symbols: &[u8]) -> Option<Mark> {
        let symbols: &[u8; SEAL_SYMBOLS] = symbols.try_into().ok()?;
        let value = symbols.iter().fold(0u128, |v, s| v << 3 | u128::from(*s & 7));
        let (kid, mark) = ((value >> 72) as u8, (value >> 24) as u64 & MARK_BITS);
        // Not secret: the tag is printed in every copy.
        (kid == self.kid && value & 0xFF_FFFF == self.seal_tag(mark)).then_some(Mark { kid, id: mark })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.kid)
    }
}

/// Bits of even columns.
pub(crate) const EVEN: u64 = 0x5555_5555_5555_5555;

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The bits of one mark, one a column.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    pub(crate) bits: [u64; COLUMNS / 64],
}

impl Row {
    /// The bit of a column below [`COLUMNS`]; false beyond.
    pub fn bit(&self, column: usize) -> bool {
        self.bits.get(column / 64).is_some_and(|word| word >> (column % 64) & 1 == 1)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Row(..)")
    }
}

/// The character of a symbol.
pub fn symbol_char(symbol: u8) -> char {
    char::from_u32(FIRST_SYMBOL + u32::from(symbol & 7)).unwrap_or('\u{FE06}')
}

/// The symbol of a character, if it is one.
pub fn char_symbol(c: char) -> Option<u8> {
    u32::from(c).checked_sub(FIRST_SYMBOL).filter(|s| *s < 8).map(|s| s as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: u64 = 0x0123_4567_89ab;

    fn keys() -> Keys {
        Keys::new(&Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap())
    }

    fn context(words: [&str; 4]) -> Vec<u8> {
        words.join("\x1F").into_bytes()
    }

    #[test]
    fn visit_marks() {
        let keys = keys();
        assert_eq!(keys.visit_mark(b"203.0.113.7", 20_600).to_string(), "k1-0a7637d9891c");
        assert_eq!(keys.visit_mark(b"203.0.113.7", 20_601).to_string(), "k1-a9c3d92ac8ce");
        assert_eq!(keys.visit_mark(b"2001:db8::/64", 20_600).to_string(), "k1-ce443f5332b9");
        assert_eq!("k1-0a7637d9891c".parse::<Mark>(), Ok(keys.visit_mark(b"203.0.113.7", 20_600)));
        for bad in ["", "k1", "1-0a7637d9891c", "k1-0a76", "k1-0a7637d9891g"] {
            assert!(bad.parse::<Mark>().is_err(), "{bad}");
        }
    }

    #[test]
    fn columns() {
        let keys = keys();
        assert_eq!(keys.context_hash(&context(["the", "committee", "said", "on"])), 0x76dc_3450_631f_e15e);
        assert_eq!(keys.column(&context(["the", "committee", "said", "on"])), 350);
    }

    #[test]
    fn rows() {
        let row = keys().row(MARK);
        let first: String = (0..64).map(|i| if row.bit(i) { '1' } else { '0' }).collect();
        assert_eq!(first, "0101001101010101111001010100010111010101010001011101010110110101");
        let ones = |odd: usize| (0..COLUMNS / 2).filter(|i| row.bit(2 * i + odd)).count();
        assert_eq!((ones(0), ones(1)), (508, 1_512));
        assert!(!row.bit(COLUMNS));
    }

    #[test]
    fn the_cipher_is_eight_rounds_of_chacha() {
        let mut stream = [0u8; 16];
        ChaCha8::new(&[0; 32].into(), &[0; 12].into()).apply_keystream(&mut stream);
        assert_eq!(data_encoding::HEXLOWER.encode(&stream), "3e00ef2f895f40d67f5bb8e81f09a5a1");
    }

    #[test]
    fn seals() {
        let text = |keys: &Keys, mark| keys.seal(mark).iter().map(u8::to_string).collect::<String>();
        assert_eq!(text(&keys(), MARK), "1002215053170465317241662");
        assert_eq!(text(&keys(), MARK + 1), "1002215053170465425126434");
        let zero = Keys::new(&Secret::new(0, &(0..32).collect::<Vec<u8>>()).unwrap());
        assert_eq!(text(&zero, MARK), "0002215053170465361507421");
        let mut symbols = keys().seal(MARK);
        assert_eq!(keys().unseal(&symbols), Some(Mark { kid: 1, id: MARK }));
        assert_eq!(zero.unseal(&symbols), None);
        symbols[12] ^= 1;
        assert_eq!(keys().unseal(&symbols), None);
        assert_eq!(keys().unseal(&symbols[1..]), None);
    }
}
