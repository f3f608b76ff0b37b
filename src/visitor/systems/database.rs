//! A file in the form of MaxMind DB, read whole: a mapped file that is replaced in place would change under its reader.

use std::net::IpAddr;

use ipnet::IpNet;
use maxminddb::{LookupResult, PathElement, Reader, WithinOptions};

use super::{System, SystemsError};

/// Networks that are looked at to see whether a file tells of systems at all.
const LOOKED_AT: usize = 1 << 16;

/// A database that is open.
#[derive(Debug)]
pub(super) struct Database(Reader<Vec<u8>>);

/// What stands in it for one address.
type Found<'d> = LookupResult<'d, Vec<u8>>;

impl Database {
    pub(super) fn open(path: &str) -> Result<Self, SystemsError> {
        let refuse = |message: String| SystemsError::Database { path: path.to_owned(), message };
        let bytes = std::fs::read(path)
            .map_err(|error| SystemsError::Io { path: path.to_owned(), message: error.to_string() })?;
        Self::read(bytes).map_err(refuse)
    }

    fn read(bytes: Vec<u8>) -> Result<Self, String> {
        let database = Self(Reader::from_source(bytes).map_err(|error| error.to_string())?);
        database.check()?;
        Ok(database)
    }

    /// A database of countries, say, reads as well, but knows no system.
    fn check(&self) -> Result<(), String> {
        // Networks without an entry count, so that the walk has an end.
        let all = WithinOptions::default().include_networks_without_data();
        for found in self.0.networks(all).map_err(|error| error.to_string())?.take(LOOKED_AT) {
            if number(&found.map_err(|error| error.to_string())?).is_some() {
                return Ok(());
            }
        }
        Err(format!("none of its first {LOOKED_AT} networks has the number of a system"))
    }

    pub(super) fn number(&self, ip: IpAddr) -> Option<u32> {
        number(&self.0.lookup(ip).ok()?)
    }

    pub(super) fn of(&self, net: IpNet) -> Option<System> {
        let found = self.0.lookup(net.addr()).ok()?;
        let number = number(&found)?;
        if found.network().ok()?.prefix() > net.prefix_len() {
            return None;
        }
        let named = ["autonomous_system_organization", "as_name", "name"];
        let organisation = named.iter().find_map(|key| text(&found, key)).map(str::to_owned);
        Some(System { number, organisation })
    }
}

fn number(found: &Found<'_>) -> Option<u32> {
    let plain: Option<u32> = found.decode_path(&[PathElement::Key("autonomous_system_number")]).ok().flatten();
    let number = plain.or_else(|| text(found, "asn")?.strip_prefix("AS")?.parse().ok());
    number.filter(|number| *number != 0)
}

fn text<'d>(found: &Found<'d>, key: &str) -> Option<&'d str> {
    found.decode_path(&[PathElement::Key(key)]).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::Systems;
    use super::super::mmdb::{Value, database};
    use super::*;
    use crate::visitor::{Settings, Visitor};

    const NUMBER: &str = "autonomous_system_number";
    const ORGANISATION: &str = "autonomous_system_organization";

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn example() -> Vec<u8> {
        database(&[
            (net("203.0.113.0/24"), &[(NUMBER, Value::Number(64_500)), (ORGANISATION, Value::Text("Example Hosting"))]),
            (net("2001:db8::/32"), &[(NUMBER, Value::Number(64_501)), ("country", Value::Text("DE"))]),
            (net("198.51.100.0/25"), &[("asn", Value::Text("AS64502")), ("as_name", Value::Text("Example Access"))]),
            (net("198.51.100.128/25"), &[("name", Value::Text("Example Transit")), ("asn", Value::Text("AS64503"))]),
            (net("192.0.2.0/26"), &[(NUMBER, Value::Number(0))]),
            (net("192.0.2.64/26"), &[(NUMBER, Value::Text("64504"))]),
            (net("192.0.2.128/26"), &[("asn", Value::Text("none"))]),
            (net("192.0.2.192/26"), &[("asn", Value::Number(64_505))]),
        ])
    }

    fn systems(bytes: Vec<u8>) -> Result<Systems, String> {
        Database::read(bytes).map(|database| Systems(Some(std::sync::Arc::new(database))))
    }

    #[test]
    fn addresses_of_both_families_have_numbers() {
        let systems = systems(example()).unwrap();
        for (ip, expected) in [
            ("203.0.113.9", Some(64_500)),
            ("::ffff:203.0.113.9", Some(64_500)),
            ("2001:db8::1", Some(64_501)),
            ("2001:db8:ffff::", Some(64_501)),
            ("198.51.100.9", Some(64_502)),
            ("198.51.100.200", Some(64_503)),
            ("203.0.114.1", None),
            ("2001:db9::1", None),
            ("127.0.0.1", None),
            // No system, or nothing that says which.
            ("192.0.2.1", None),
            ("192.0.2.65", None),
            ("192.0.2.129", None),
            ("192.0.2.193", None),
        ] {
            assert_eq!(systems.number(ip.parse().unwrap()), expected, "{ip}");
        }
        assert_eq!(Systems::default().number("203.0.113.9".parse().unwrap()), None);
    }

    #[test]
    fn of_a_network_the_whole_is_known_or_nothing() {
        let systems = systems(example()).unwrap();
        for (text, expected) in [
            ("203.0.113.0/24", Some((64_500, Some("Example Hosting")))),
            ("203.0.113.9/32", Some((64_500, Some("Example Hosting")))),
            ("2001:db8:1::/48", Some((64_501, None))),
            ("198.51.100.0/25", Some((64_502, Some("Example Access")))),
            ("198.51.100.128/25", Some((64_503, Some("Example Transit")))),
            ("198.51.100.0/24", None),
            ("203.0.113.0/16", None),
            ("192.0.2.0/26", None),
            ("10.0.0.0/8", None),
        ] {
            let found = systems.of(net(text));
            let found = found.as_ref().map(|system| (system.number, system.organisation.as_deref()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_database_of_systems_is_refused_and_says_why() {
        let refusal = |bytes: Vec<u8>| systems(bytes).unwrap_err();
        assert!(refusal(Vec::new()).contains("metadata"));
        assert!(refusal(b"no database".to_vec()).contains("metadata"));
        let whole = example();
        assert!(!refusal(whole[..whole.len() / 2].to_vec()).is_empty());
        let countries = database(&[(net("203.0.113.0/24"), &[("country", Value::Text("DE"))])]);
        assert!(refusal(countries).contains("networks has the number"));
        let settings = Settings { asn_db: Some("/nowhere/asn.mmdb".to_owned()), ..Settings::default() };
        let (head, ()) = http::Request::new(()).into_parts();
        let error = Visitor::from_head(&head, &settings, std::time::Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("`visitor.asn_db`: cannot read `/nowhere/asn.mmdb`"), "{error}");
    }

    #[test]
    fn no_byte_of_a_file_brings_a_request_down() {
        let whole = example();
        let mut read = 0;
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let Ok(systems) = systems(bytes) else { continue };
                read += 1;
                for ip in ["203.0.113.9", "198.51.100.9", "192.0.2.65", "2001:db8::1", "::1"] {
                    let ip: IpAddr = ip.parse().unwrap();
                    systems.number(ip);
                    systems.of(ip.into());
                }
            }
        }
        assert!(read > 0);
    }
}
