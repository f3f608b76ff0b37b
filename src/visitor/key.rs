//! The key of a visitor: what tells one from the other where no application says more.

use std::io::{self, Write};

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::{ClientAddress, VisitorKey};

/// Bytes of nearly all keys: these are put together on the stack, and copied once.
const USUAL_KEY: usize = 512;

/// Keys are kept as long as records are, and clients choose how long their header fields are: of a longer key stand here its
/// first bytes, and behind them the SHA-256 of the others. That is more bytes than any key has that is kept whole.
pub(super) fn visitor_key(address: &ClientAddress, headers: &HeaderMap) -> VisitorKey {
    let mut key = KeyWriter { room: [0; USUAL_KEY], length: 0, rest: None };
    // Writing there cannot fail.
    let _ = write_key(&mut key, address, headers);
    let start = key.room.get(..key.length).unwrap_or_default();
    VisitorKey(match key.rest {
        None => start.into(),
        Some(rest) => [start, rest.finalize().as_slice()].concat().into(),
    })
}

/// Takes the bytes of a key, in memory of a fixed size.
struct KeyWriter {
    room: [u8; USUAL_KEY],
    /// How much of the room is taken.
    length: usize,
    /// Hashes what found no room.
    rest: Option<Sha256>,
}

impl Write for KeyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.get_mut(self.length..).unwrap_or_default();
        let (fits, others) = bytes.split_at(bytes.len().min(room.len()));
        room.split_at_mut(fits.len()).0.copy_from_slice(fits);
        self.length += fits.len();
        if !others.is_empty() {
            self.rest.get_or_insert_default().update(others);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// address text ‖ 00 ‖ User-Agent ‖ 00 ‖ Accept-Language ‖ 00 ‖ Sec-CH-UA.
fn write_key(key: &mut impl Write, address: &ClientAddress, headers: &HeaderMap) -> io::Result<()> {
    if let Some(net) = address.client() {
        write!(key, "{net}")?;
    }
    for name in ["user-agent", "accept-language", "sec-ch-ua"] {
        key.write_all(&[0])?;
        key.write_all(headers.get(name).map_or(&[][..], |v| v.as_bytes()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of these bytes.
    fn of_bytes(whole: &[u8]) -> Vec<u8> {
        let (start, rest) = whole.split_at(whole.len().min(USUAL_KEY));
        if rest.is_empty() { start.to_vec() } else { [start, &Sha256::digest(rest)[..]].concat() }
    }

    #[test]
    fn a_key_of_any_length_holds_the_address_and_three_headers() {
        let address = ClientAddress { ip: Some([203, 0, 113, 9].into()), ..ClientAddress::UNKNOWN };
        let mut keys = std::collections::BTreeSet::new();
        for length in [0, 200, USUAL_KEY - 29, USUAL_KEY - 28, USUAL_KEY - 27, USUAL_KEY, 4 * USUAL_KEY, 300_000] {
            let agent = "a".repeat(length);
            let mut headers = HeaderMap::new();
            headers.insert("user-agent", agent.parse().unwrap());
            headers.insert("accept-language", "de,en;q=0.5".parse().unwrap());
            let expect = format!("203.0.113.9/32\0{agent}\0de,en;q=0.5\0");
            assert_eq!(&*visitor_key(&address, &headers).0, of_bytes(expect.as_bytes()));
            assert!(visitor_key(&address, &headers).0.len() <= USUAL_KEY + 32);
            let nobody = visitor_key(&ClientAddress::UNKNOWN, &headers);
            assert_eq!(&*nobody.0, of_bytes(&expect.as_bytes()["203.0.113.9/32".len()..]));
            keys.extend([visitor_key(&address, &headers).0, nobody.0]);
            headers.insert("sec-ch-ua", "x".parse().unwrap());
            keys.insert(visitor_key(&address, &headers).0);
        }
        assert_eq!(keys.len(), 3 * 8, "long ones differ as short ones do");
    }
}
