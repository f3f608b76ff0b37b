//! Rows, columns, seals and tokens: the arithmetic of the mark.
//!
//! A mark is 48 bits. Its *row* in a class of places is ChaCha8 (RFC 8439 layout, eight rounds) under a key of the
//! secret; the *column* of a place is the SipHash-2-4 of the four folded words around it. The bit where row and column
//! meet says which of two alternatives stands there. White space has 4,096 columns, of which even ones are 1 with
//! probability 1/4, odd ones with 3/4: the bias keeps colluders traceable. The other classes have 512, without a bias. A
//! *seal* is 25 variation selectors of three bits, a *token* 15 letters of five: key id, mark, and 24 bits of HMAC.

use std::fmt;
use std::hash::Hasher as _;

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use data_encoding::HEXLOWER;
use siphasher::sip::SipHasher24;

use crate::secret::{HmacKey, Secret};
use crate::slot::{Class, PlaceHash, PlaceKind};

/// Columns of the gap channel.
pub const COLUMNS: usize = 4_096;
/// Words of 64 bits in a row of white space.
pub const WHITE_WORDS: usize = COLUMNS / 64;
/// The same in a row of another class.
pub const SHORT_WORDS: usize = 8;
/// Symbols of a seal.
pub const SEAL_SYMBOLS: usize = 25;
/// Letters of a token.
pub const TOKEN_LETTERS: usize = 15;
/// RFC 4648 §6, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
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

impl Mark {
    /// As it is written. Each marked copy has it in its record, so it is put together without the machinery of `fmt`.
    pub(crate) fn text(self) -> String {
        let [_, _, id @ ..] = self.id.to_be_bytes();
        ["k", &self.kid.to_string(), "-", &HEXLOWER.encode(&id)].concat()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
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

/// Most contexts are shorter, in bytes.
const USUAL_CONTEXT: usize = 128;

/// The keys of one secret.
#[derive(Clone)]
pub struct Keys {
    kid: u8,
    id: HmacKey,
    slot: [u8; 16],
    row: [u8; 32],
    seal: HmacKey,
}

impl Keys {
    /// Derives them.
    pub fn new(secret: &Secret) -> Self {
        let key = |label| secret.derive(DOMAIN, label);
        let mut slot = [0; 16];
        slot.copy_from_slice(&key("slot")[..16]);
        let ready = |label| HmacKey::new(&key(label));
        Self { kid: secret.kid(), id: ready("id"), slot, row: key("row"), seal: ready("seal") }
    }

    /// Which secret they belong to.
    pub fn kid(&self) -> u8 {
        self.kid
    }

    /// The mark of a visitor on a day: stable over reloads, adds up over the articles of a visit.
    pub fn visit_mark(&self, visitor: &[u8], unix_day: u32) -> Mark {
        self.mark(&[b"visit", &[0], visitor, &[0], &unix_day.to_be_bytes()])
    }

    /// The mark of one response, by the id of its request as it is logged.
    pub fn response_mark(&self, request_id: &[u8]) -> Mark {
        self.mark(&[b"response", &[0], request_id])
    }

    /// The mark of one of `n` forms of a page, the one that this visitor gets.
    pub fn bucket_mark(&self, n: u32, visitor: &[u8], path: &[u8]) -> Mark {
        let chosen = self.id.tag(&[b"choose", &[0], visitor, &[0], path]);
        let chosen = chosen.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let bucket = (chosen % u64::from(n.max(1))) as u32;
        self.mark(&[b"bucket", &[0], path, &[0], &bucket.to_be_bytes()])
    }

    fn mark(&self, parts: &[&[u8]]) -> Mark {
        let digest = self.id.tag(parts);
        let id = digest.iter().take(6).fold(0u64, |id, byte| id << 8 | u64::from(*byte));
        Mark { kid: self.kid, id }
    }

    /// The hash of a place, by its four folded words joined with [`SEPARATOR`](crate::slot::SEPARATOR).
    pub fn hash(&self, kind: PlaceKind, context: &[u8]) -> PlaceHash {
        let mut hasher = SipHasher24::new_with_key(&self.slot);
        let prefix = [kind.class().byte(), kind.byte()];
        // Hashed in one piece it takes half the time, and there is one for each gap of a new page.
        let mut whole = [0; USUAL_CONTEXT];
        if let Some(whole) = whole.get_mut(..prefix.len() + context.len()) {
            let (start, rest) = whole.split_at_mut(prefix.len());
            start.copy_from_slice(&prefix);
            rest.copy_from_slice(context);
            return PlaceHash(hasher.hash(whole));
        }
        hasher.write(&prefix);
        hasher.write(context);
        PlaceHash(hasher.finish())
    }

    /// The row of a mark in white space, where no memory may be asked for: one is made for each mark that is searched.
    pub fn white_row(&self, mark: u64, out: &mut [u64; WHITE_WORDS]) {
        let mut stream = [0u8; COLUMNS / 4];
        self.key_stream(Class::White, mark, &mut stream);
        let (a, b) = stream.split_at(COLUMNS / 8);
        let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        for (word, (a, b)) in out.iter_mut().zip(words) {
            let (a, b) = (u64::from_le_bytes(*a), u64::from_le_bytes(*b));
            *word = (a & b & EVEN) | ((a | b) & !EVEN);
        }
    }

    /// The row of a mark in another class.
    pub fn short_row(&self, class: Class, mark: u64, out: &mut [u64; SHORT_WORDS]) {
        let mut stream = [0u8; SHORT_WORDS * 8];
        self.key_stream(class, mark, &mut stream);
        for (word, bytes) in out.iter_mut().zip(stream.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }

    /// The row of a mark in any class.
    pub fn row(&self, class: Class, mark: u64) -> Row {
        if class == Class::White {
            let mut bits = [0; WHITE_WORDS];
            self.white_row(mark, &mut bits);
            return Row { bits: bits.into() };
        }
        let mut bits = [0; SHORT_WORDS];
        self.short_row(class, mark, &mut bits);
        Row { bits: bits.into() }
    }

    /// `stream` holds zeros.
    fn key_stream(&self, class: Class, mark: u64, stream: &mut [u8]) {
        let mut nonce = [0u8; 12];
        nonce[0] = class.byte();
        nonce[1] = 1;
        nonce[6..].copy_from_slice(&mark.to_be_bytes()[2..]);
        ChaCha8::new(&self.row.into(), &nonce.into()).apply_keystream(stream);
    }

    fn tag(&self, mark: u64) -> u128 {
        let digest = self.seal.tag(&[&[self.kid], &mark.to_be_bytes()[2..]]);
        digest.iter().take(3).fold(0u128, |tag, byte| tag << 8 | u128::from(*byte))
    }

    /// Key id, mark and tag: 75 bits.
    fn signed(&self, mark: u64) -> u128 {
        u128::from(self.kid) << 72 | u128::from(mark & MARK_BITS) << 24 | self.tag(mark)
    }

    /// The mark in 75 bits, if the tag says that it is one of these keys.
    fn verified(&self, signed: u128) -> Option<Mark> {
        let (kid, mark) = ((signed >> 72) as u8, (signed >> 24) as u64 & MARK_BITS);
        // Not secret: the tag is printed in every copy.
        (kid == self.kid && signed & 0xFF_FFFF == self.tag(mark)).then_some(Mark { kid, id: mark })
    }

    /// The symbols of a mark's seal, 0–7 each.
    pub fn seal(&self, mark: u64) -> [u8; SEAL_SYMBOLS] {
        let signed = self.signed(mark);
        std::array::from_fn(|i| (signed >> (72 - 3 * i) & 7) as u8)
    }

    /// The mark of a seal, if it verifies under these keys.
    pub fn unseal(&self, symbols: &[u8]) -> Option<Mark> {
        let symbols: &[u8; SEAL_SYMBOLS] = symbols.try_into().ok()?;
        // The first symbol is the key id: of eight windows of anything, seven cost nothing.
        if symbols[0] & 7 != self.kid {
            return None;
        }
        self.verified(symbols.iter().fold(0u128, |signed, symbol| signed << 3 | u128::from(*symbol & 7)))
    }

    /// What a seal says, in letters and digits.
    pub fn token(&self, mark: u64) -> [u8; TOKEN_LETTERS] {
        let signed = self.signed(mark);
        std::array::from_fn(|i| ALPHABET[(signed >> (70 - 5 * i) & 31) as usize])
    }

    /// The mark of a token, if it verifies under these keys.
    pub fn untoken(&self, letters: &[u8]) -> Option<Mark> {
        let letters: &[u8; TOKEN_LETTERS] = letters.try_into().ok()?;
        let signed = letters.iter().try_fold(0u128, |signed, letter| {
            let value = ALPHABET.iter().position(|known| known == letter)?;
            Some(signed << 5 | value as u128)
        })?;
        self.verified(signed)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.kid)
    }
}

/// Bits of even columns.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// The bits of one mark in one class, one a column.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    bits: Box<[u64]>,
}

impl Row {
    /// The bit of a column; false beyond the last one.
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
    use crate::secret::hmac_sha256;

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
        assert_eq!(Mark { kid: 7, id: 0xF }.to_string(), "k7-00000000000f");
        for bad in ["", "k1", "1-0a7637d9891c", "k1-0a76", "k1-0a7637d9891g"] {
            assert!(bad.parse::<Mark>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_derived_as_in_the_reference() {
        let keys = keys();
        // Computed with Python's hmac module.
        assert_eq!(HEXLOWER.encode(&keys.row), "246a71f1276a1b880ca77f498d35db0ab9451c85b303a4623fbbc91a1202e597");
        for (key, expect) in [
            (&keys.seal, "e5c12066a8f6662da0e8c77f43a3cba32295b71cb9eb086c9c57a0e86c5d3590"),
            (&keys.id, "894de8f7d19ca6126ce6d335a28dee7e9ebdb0b0557f5ab00decbb6bff225798"),
        ] {
            let expect = HEXLOWER.decode(expect.as_bytes()).unwrap();
            assert_eq!(key.tag(&[b"message"]), hmac_sha256(&expect, &[b"message"]));
        }
        assert_eq!(HEXLOWER.encode(&keys.slot), "efc388cf6f490d781d44f8b9b5870629", "the first half");
    }

    #[test]
    fn marks_of_responses_and_of_buckets() {
        let keys = keys();
        // Computed with Python's hmac module.
        let response = keys.response_mark(b"01a20d60-78a5-7600-95a1-c9088b570c38");
        assert_eq!(response.to_string(), "k1-5856d04ce211");
        for (n, visitor, path, expect) in [
            (64, "203.0.113.7", "/a", "k1-b9f6ea15abed"),
            (64, "203.0.113.7", "/b", "k1-7b86bb3b4e2c"),
            (65_536, "203.0.113.7", "/a", "k1-091f13f87ba4"),
            (64, "198.51.100.9", "/a", "k1-be3c3b54625d"),
            // The same bucket as 203.0.113.7.
            (64, "203.0.113.10", "/a", "k1-b9f6ea15abed"),
        ] {
            let mark = keys.bucket_mark(n, visitor.as_bytes(), path.as_bytes());
            assert_eq!(mark.to_string(), expect, "{n} {visitor} {path}");
        }
        assert_eq!(keys.bucket_mark(0, b"a", b"/"), keys.bucket_mark(1, b"b", b"/"), "none is one");
    }

    #[test]
    fn the_hash_is_the_siphash_of_its_paper() {
        let (key, message): (Vec<u8>, Vec<u8>) = ((0..16).collect(), (0..15).collect());
        let mut hasher = SipHasher24::new_with_key(&key.try_into().unwrap());
        hasher.write(&message);
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn columns() {
        use PlaceKind::{Apostrophe, Dash, Ellipsis, Quotes, Space, Variant};
        let keys = keys();
        let on = context(["the", "committee", "said", "on"]);
        // All but the first two computed in Python, by the definition of SipHash-2-4.
        for (kind, context, hash, column) in [
            (Space, &on, 0x76dc_3450_631f_e15e, 350),
            (Apostrophe, &context(["it", "wont", "publish", "the"]), 0xaa84_dfa4_50a4_e0e7, 231),
            (Quotes, &on, 0x21c6_a12d_8ecc_f92e, 302),
            (Ellipsis, &on, 0x5227_b54f_4984_af33, 307),
            (Dash, &on, 0x8a58_3dbc_1599_2533, 307),
            (Variant, &on, 0x29d0_7774_a807_c773, 371),
        ] {
            let got = keys.hash(kind, context);
            assert_eq!((got, got.column(kind.class())), (PlaceHash(hash), column), "{kind:?}");
        }
        assert_eq!(Class::White.columns(), COLUMNS);
    }

    #[test]
    fn planes_and_short_rows_start_as_in_the_reference() {
        let start = |class, at: usize| {
            let mut stream = [0u8; COLUMNS / 4];
            keys().key_stream(class, MARK, &mut stream);
            HEXLOWER.encode(&stream[at..at + 16])
        };
        assert_eq!(start(Class::White, 0), "df1aa7b055c463edf2595844c86605a6");
        assert_eq!(start(Class::White, COLUMNS / 8), "40ef5522aba3bba511b4ec2063fe12aa");
        assert_eq!(start(Class::Typographic, 0), "00d91d52e06ca5839bf482dea1054669");
        // Computed in Python, by RFC 8439 with eight rounds.
        assert_eq!(start(Class::Variant, 0), "3d260e10c370218deee962bca844599f");
        for (class, first, ones) in [
            (Class::Typographic, "0000000010011011101110000100101000000111001101101010010111000001", 265),
            (Class::Variant, "1011110001100100011100000000100011000011000011101000010010110001", 264),
        ] {
            let row = keys().row(class, MARK);
            let bits: String = (0..64).map(|i| if row.bit(i) { '1' } else { '0' }).collect();
            assert_eq!(bits, first, "{class:?}");
            assert_eq!((0..class.columns()).filter(|i| row.bit(*i)).count(), ones, "{class:?}");
            assert!(!row.bit(class.columns()), "{class:?}");
        }
        // The apostrophe of `columns`.
        assert!(!keys().row(Class::Typographic, MARK).bit(231));
    }

    #[test]
    fn tokens_are_read_back_under_their_own_key_only() {
        let text = |keys: &Keys, mark| String::from_utf8(keys.token(mark).to_vec()).unwrap();
        let zero = Keys::new(&Secret::new(0, &(0..32).collect::<Vec<u8>>()).unwrap());
        // Computed in Python; `base64.b32encode` of the 75 bits says the same.
        assert_eq!(text(&keys(), MARK), "easgrlhrgvt2q5s");
        assert_eq!(text(&keys(), MARK + 1), "easgrlhrgwfjli4");
        assert_eq!(text(&zero, MARK), "aasgrlhrgv4ndyr");
        assert_eq!(keys().untoken(b"easgrlhrgvt2q5s"), Some(Mark { kid: 1, id: MARK }));
        assert_eq!(zero.untoken(b"easgrlhrgvt2q5s"), None);
        for bad in ["", "easgrlhrgvt2q5", "easgrlhrgvt2q5sa", "easgrlhrgvt2q5t", "EASGRLHRGVT2Q5S", "easgrlhrgvt2q51"] {
            assert_eq!(keys().untoken(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn rows() {
        let row = keys().row(Class::White, MARK);
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
        assert_eq!(HEXLOWER.encode(&stream), "3e00ef2f895f40d67f5bb8e81f09a5a1");
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
        // Of another key, whatever else it says.
        assert_eq!(keys().unseal(&zero.seal(MARK)), None);
        symbols[12] ^= 1;
        assert_eq!(keys().unseal(&symbols), None);
        assert_eq!(keys().unseal(&symbols[1..]), None);
    }
}
