//! The key of a visitor: what tells one from the other where no application says more.

use std::io::{self, Write};

use http::{HeaderMap, HeaderValue, header};
use ipnet::{IpNet, Ipv4Net};
use sha2::{Digest, Sha256};

use super::{ClientAddress, VisitorKey, fields};

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
    match address.client() {
        Some(IpNet::V4(net)) => write_v4(key, net)?,
        Some(IpNet::V6(net)) => write!(key, "{net}")?,
        None => {}
    }
    let values =
        [headers.get(header::USER_AGENT), headers.get(header::ACCEPT_LANGUAGE), headers.get(&fields::SEC_CH_UA)];
    for value in values {
        key.write_all(&[0])?;
        key.write_all(value.map_or(&[][..], HeaderValue::as_bytes))?;
    }
    Ok(())
}

/// As `Display` has it, which takes longer than all the rest of a key.
fn write_v4(key: &mut impl Write, net: Ipv4Net) -> io::Result<()> {
    let [a, b, c, d] = net.addr().octets();
    for (number, before) in [(a, ""), (b, "."), (c, "."), (d, "."), (net.prefix_len(), "/")] {
        key.write_all(before.as_bytes())?;
        let digits = [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit);
        let leading = usize::from(number < 100) + usize::from(number < 10);
        key.write_all(digits.split_at(leading).1)?;
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
    fn an_address_stands_in_a_key_as_it_is_displayed() {
        for ip in ["0.0.0.0", "203.0.113.9", "10.99.100.255", "1.10.19.200", "2001:db8::1", "::ffff:192.0.2.1"] {
            let address = ClientAddress { ip: Some(ip.parse().unwrap()), ..ClientAddress::UNKNOWN };
            let expect = format!("{}\0\0\0", address.client().unwrap());
            assert_eq!(&*visitor_key(&address, &HeaderMap::new()).0, expect.as_bytes(), "{ip}");
        }
        let mut text = Vec::new();
        for prefix in 0..=32 {
            let net = Ipv4Net::new([192, 0, 2, 1].into(), prefix).unwrap();
            text.clear();
            write_v4(&mut text, net).unwrap();
            assert_eq!(text, net.to_string().as_bytes());
        }
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
