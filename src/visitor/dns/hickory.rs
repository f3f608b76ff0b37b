//! [`Resolve`] by hickory-resolver, over the name servers of the system.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::config::ResolveHosts;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::confirm::{NoAnswer, Resolve};

/// Times a question without an answer is asked again.
const ATTEMPTS: usize = 2;
/// Answers that are kept.
const CACHE: u64 = 4_096;
const POSITIVE_TTL: Duration = Duration::from_hours(24);
const NEGATIVE_TTL: Duration = Duration::from_mins(10);
/// Answers with more records than these are not kept.
const LONG: usize = 8;

/// The resolver.
pub(super) struct Hickory(TokioResolver);

impl Hickory {
    /// One that asks the name servers that the system names; they are read once.
    pub(super) fn system(timeout: Duration) -> Result<Self, String> {
        let builder = TokioResolver::builder_tokio()
            .map_err(|error| format!("the name servers of the system cannot be read: {error}"))?;
        Self::build(builder, timeout)
    }

    /// One that asks a given name server.
    #[cfg(test)]
    pub(super) fn at(server: std::net::SocketAddr, timeout: Duration) -> Result<Self, String> {
        use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        Self::build(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()), timeout)
    }

    fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>, timeout: Duration) -> Result<Self, String> {
        let options = builder.options_mut();
        options.timeout = timeout;
        options.attempts = ATTEMPTS;
        options.cache_size = CACHE;
        options.positive_max_ttl = Some(POSITIVE_TTL);
        options.negative_max_ttl = Some(NEGATIVE_TTL);
        // Against answers from somebody who does not see the question.
        options.case_randomization = true;
        options.num_concurrent_reqs = 2;
        options.edns0 = true;
        // What this machine calls an address is no proof.
        options.use_hosts_file = ResolveHosts::Never;
        builder.build().map(Self).map_err(|error| format!("the DNS resolver cannot be made: {error}"))
    }

    /// Whoever owns a reverse zone chooses the length of its answers: long ones would fill the memory.
    fn forget_long(&self, name: Name, kind: RecordType, answer: &Lookup) {
        if answer.answers().len() + answer.authorities().len() + answer.additionals().len() > LONG {
            self.0.clear_lookup_cache(name, kind);
        }
    }
}

impl Resolve for Hickory {
    async fn names(&self, ip: IpAddr) -> Result<Vec<String>, NoAnswer> {
        let name = Name::from(ip);
        let answer = self.0.reverse_lookup(name.clone()).await.map_err(|error| why(&error))?;
        self.forget_long(name, RecordType::PTR, &answer);
        let names = answer.answers().iter().filter_map(|record| match &record.data {
            RData::PTR(name) => Some(name.to_ascii()),
            _ => None,
        });
        Ok(names.collect())
    }

    async fn addresses(&self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, NoAnswer> {
        // With the final dot, so that no search domain is tried. A name that cannot be asked for has no addresses.
        let name = Name::from_ascii(format!("{name}.")).map_err(|_| NoAnswer::NoRecords)?;
        // Of one family only: asked for both, one that fails is hidden behind the other.
        let (kind, answer) = match like {
            IpAddr::V4(_) => (RecordType::A, self.0.ipv4_lookup(name.clone()).await),
            IpAddr::V6(_) => (RecordType::AAAA, self.0.ipv6_lookup(name.clone()).await),
        };
        let answer = answer.map_err(|error| why(&error))?;
        self.forget_long(name, kind, &answer);
        Ok(answer.answers().iter().filter_map(|record| record.data.ip_addr()).collect())
    }
}

/// Only a server that resolves, and says that there is nothing, is believed that there is nothing.
fn why(error: &NetError) -> NoAnswer {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else { return NoAnswer::Trouble };
    match none.response_code {
        ResponseCode::NXDomain => NoAnswer::NoRecords,
        // With other servers' names instead of its own word it is a referral: this server does not resolve.
        ResponseCode::NoError if none.ns.is_none() || none.soa.is_some() => NoAnswer::NoRecords,
        _ => NoAnswer::Trouble,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::UdpSocket;

    use super::*;
    use crate::visitor::dns::confirm::Verdict::{Error, Failed, Verified};
    use crate::visitor::dns::confirm::confirm;

    const A: u16 = 1;
    const PTR: u16 = 12;
    const AAAA: u16 = 28;
    const SERVFAIL: u8 = 2;
    const NXDOMAIN: u8 = 3;
    const REFUSED: u8 = 5;

    /// What the name server of the test says to a question.
    enum Say {
        Names(&'static [&'static str]),
        Addresses(&'static [&'static str]),
        Code(u8),
        Silence,
    }

    fn zone(name: &str, kind: u16) -> Say {
        match (name, kind) {
            ("1.66.249.66.in-addr.arpa", PTR) => Say::Names(&["crawl-66-249-66-1.GoogleBot.com"]),
            ("crawl-66-249-66-1.googlebot.com", A) => Say::Addresses(&["66.249.66.1"]),
            ("2.66.249.66.in-addr.arpa", PTR) => Say::Names(&["gone.googlebot.com"]),
            ("3.66.249.66.in-addr.arpa", PTR) => Say::Code(NXDOMAIN),
            ("4.66.249.66.in-addr.arpa", PTR) => Say::Names(&[]),
            ("6.66.249.66.in-addr.arpa", PTR) => Say::Silence,
            ("7.66.249.66.in-addr.arpa", PTR) => Say::Names(&["sick.googlebot.com"]),
            ("5.66.249.66.in-addr.arpa", PTR) | ("sick.googlebot.com", A) => Say::Code(SERVFAIL),
            ("8.66.249.66.in-addr.arpa", PTR) => Say::Names(&["bogus.googlebot.com", "own.evil.example"]),
            ("own.evil.example", A) => Say::Addresses(&["66.249.66.8"]),
            ("9.66.249.66.in-addr.arpa", PTR) => Say::Code(REFUSED),
            ("10.66.249.66.in-addr.arpa", PTR) => Say::Names(&["many.googlebot.com"]),
            ("many.googlebot.com", A) => Say::Addresses(&[
                "198.51.100.1",
                "198.51.100.2",
                "198.51.100.3",
                "198.51.100.4",
                "198.51.100.5",
                "198.51.100.6",
                "198.51.100.7",
                "198.51.100.8",
                "66.249.66.10",
            ]),
            (reverse, PTR) if reverse.ends_with(".1.0.8.4.0.6.8.4.1.0.0.2.ip6.arpa") => {
                Say::Names(&["six.googlebot.com"])
            }
            ("six.googlebot.com", AAAA) => Say::Addresses(&["2001:4860:4801:10::1"]),
            _ => Say::Code(NXDOMAIN),
        }
    }

    /// The name in lower case, the type, and where the question ends (RFC 1035 §4.1.2).
    fn question(query: &[u8]) -> (String, u16, usize) {
        let (mut at, mut labels) = (12, Vec::new());
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
            at = end;
        }
        (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
    }

    fn name_data(name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for label in name.split('.') {
            out.push(label.len() as u8);
            out.extend(label.as_bytes());
        }
        out.push(0);
        out
    }

    fn address_data(address: &str) -> (u16, Vec<u8>) {
        match address.parse::<IpAddr>().unwrap() {
            IpAddr::V4(ip) => (A, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
        }
    }

    /// The whole packet (RFC 1035 §4.1), with the question as it came: its letters' case is checked.
    fn reply(query: &[u8]) -> Option<Vec<u8>> {
        let (name, kind, end) = question(query);
        let (code, records): (u8, Vec<(u16, Vec<u8>)>) = match zone(&name, kind) {
            Say::Names(names) => (0, names.iter().map(|name| (PTR, name_data(name))).collect()),
            Say::Addresses(addresses) => (0, addresses.iter().map(|address| address_data(address)).collect()),
            Say::Code(code) => (code, Vec::new()),
            Say::Silence => return None,
        };
        // A response, recursion wished for and available.
        let mut out = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        out.extend(&query[12..end]);
        for (kind, data) in records {
            // The owner is the name of the question, at byte 12.
            out.extend([0xC0, 12]);
            out.extend(kind.to_be_bytes());
            // Class IN, five minutes.
            out.extend([0, 1, 0, 0, 1, 44]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        Some(out)
    }

    /// Ends after so many questions, whatever the resolver does.
    async fn serve(socket: UdpSocket) {
        let mut packet = [0; 512];
        for _ in 0..500 {
            let Ok((length, peer)) = socket.recv_from(&mut packet).await else { return };
            if let Some(reply) = reply(&packet[..length]) {
                let _ = socket.send_to(&reply, peer).await;
            }
        }
    }

    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(serve(socket));
        address
    }

    #[tokio::test]
    async fn answers_of_a_name_server_are_read_for_what_they_say() {
        let server = server().await;
        let patient = Hickory::at(server, Duration::from_secs(5)).unwrap();
        let hasty = Hickory::at(server, Duration::from_millis(50)).unwrap();
        let suffixes: [Box<str>; 1] = [".googlebot.com".into()];
        for (what, ip, resolver, verdict) in [
            ("confirmed", "66.249.66.1", &patient, Verified),
            ("confirmed, from the cache", "66.249.66.1", &patient, Verified),
            ("confirmed, IPv4 that is mapped", "::ffff:66.249.66.1", &patient, Verified),
            ("confirmed, IPv6", "2001:4860:4801:10::1", &patient, Verified),
            ("another address of that name", "2001:4860:4801:10::2", &patient, Failed),
            ("a name that does not exist", "66.249.66.2", &patient, Failed),
            ("NXDOMAIN for the address", "66.249.66.3", &patient, Failed),
            ("no names for the address", "66.249.66.4", &patient, Failed),
            ("SERVFAIL for the address", "66.249.66.5", &patient, Error),
            ("no answer for the address", "66.249.66.6", &hasty, Error),
            ("SERVFAIL for the name", "66.249.66.7", &patient, Error),
            ("two names, of which none does both", "66.249.66.8", &patient, Failed),
            ("a server that refuses", "66.249.66.9", &patient, Error),
            ("a long answer", "66.249.66.10", &patient, Verified),
            ("a long answer that was forgotten", "66.249.66.10", &patient, Verified),
        ] {
            let checked = confirm(resolver, ip.parse().unwrap(), &suffixes, Duration::from_secs(30)).await;
            assert_eq!(checked, verdict, "{what}");
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_asked_for_has_no_addresses() {
        let resolver = Hickory::at(server().await, Duration::from_secs(5)).unwrap();
        let like: IpAddr = "66.249.66.1".parse().unwrap();
        let name = format!("{}.googlebot.com", "a".repeat(64));
        assert_eq!(resolver.addresses(&name, like).await, Err(NoAnswer::NoRecords));
    }
}
