//! The client's address: from the socket, or from a trusted proxy's header.
//!
//! Rules, in order:
//! 1. The peer is the socket's address; IPv4-mapped IPv6 is unmapped. Without one, state by address is skipped.
//! 2. A peer that is not trusted is the client, and no forwarding header is read.
//! 3. A trusted peer is asked through exactly one configured header; there is no falling back to another one, or the
//!    client could choose.
//! 4. `X-Forwarded-For` is walked from right to left over trusted hops; the first hop that is not trusted is the client.
//! 5. `Forwarded` (RFC 7239 §4, §5.2) likewise, over `for=`.
//! 6. A single-value header must stand once and hold one address.
//! 7. Private addresses are not skipped unless they are trusted.
//!
//! Whatever does not parse ends the walk: the client is the last good hop, and the source is `malformed`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::fields;

/// Most hops that are looked at.
const MAX_HOPS: usize = 32;
/// Longest forwarding header that is looked at, in bytes, all its lines together.
const MAX_BYTES: usize = 2_048;

/// Where the address came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressSource {
    /// The socket.
    Peer,
    /// `X-Forwarded-For` of a trusted peer.
    XForwardedFor,
    /// `Forwarded` of a trusted peer (RFC 7239).
    Forwarded,
    /// A header that holds one address.
    Single,
    /// A trusted peer's header that does not parse.
    Malformed,
    /// No peer is known.
    None,
}

impl AddressSource {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
            Self::Single => "single",
            Self::Malformed => "malformed",
            Self::None => "none",
        }
    }
}

/// Which header of a trusted peer is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// One header with one address, such as `CF-Connecting-IP`.
    Single(HeaderName),
}

/// The client's address and how it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The address, if any is known.
    pub ip: Option<IpAddr>,
    /// The socket's address, if it is another one.
    pub peer: Option<IpAddr>,
    /// Where it came from.
    pub source: AddressSource,
    /// Trusted hops that were walked over, the peer included.
    pub hops: u8,
    /// A peer that is not trusted sent a forwarding header that names somebody else. Nothing follows from it.
    pub spoof: bool,
    /// The peer is believed.
    pub trusted: bool,
}

impl ClientAddress {
    /// Nobody.
    pub const UNKNOWN: Self =
        Self { ip: None, peer: None, source: AddressSource::None, hops: 0, spoof: false, trusted: false };

    /// The client as one key: IPv4 /32, IPv6 /64; tunnelled IPv4 by the address inside (RFC 3056, 4380, 6052).
    pub fn client(&self) -> Option<IpNet> {
        self.ip.map(|ip| match embedded(ip) {
            IpAddr::V4(v4) => IpNet::V4(Ipv4Net::from(v4)),
            IpAddr::V6(v6) => prefix6(v6, 64),
        })
    }

    /// The neighbourhood: IPv4 /24, IPv6 /56.
    pub fn net(&self) -> Option<IpNet> {
        self.ip.map(|ip| match embedded(ip) {
            IpAddr::V4(v4) => Ipv4Net::new(v4, 24).map_or(IpNet::V4(Ipv4Net::from(v4)), |n| IpNet::V4(n.trunc())),
            IpAddr::V6(v6) => prefix6(v6, 56),
        })
    }

    /// The allocation: IPv4 /24, IPv6 /48.
    pub fn wide(&self) -> Option<IpNet> {
        self.ip.map(|ip| match embedded(ip) {
            IpAddr::V4(v4) => Ipv4Net::new(v4, 24).map_or(IpNet::V4(Ipv4Net::from(v4)), |n| IpNet::V4(n.trunc())),
            IpAddr::V6(v6) => prefix6(v6, 48),
        })
    }
}

fn prefix6(ip: Ipv6Addr, length: u8) -> IpNet {
    Ipv6Net::new(ip, length).map_or(IpNet::V6(Ipv6Net::from(ip)), |n| IpNet::V6(n.trunc()))
}

/// The IPv4 address inside 6to4, Teredo and NAT64 addresses, else the address itself.
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |hi: u16, lo: u16| IpAddr::V4(Ipv4Addr::from(u32::from(hi) << 16 | u32::from(lo)));
    match (a, b) {
        (0x2002, _) => v4(b, c),
        (0x2001, 0) => v4(!g, !h),
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => v4(g, h),
        _ => ip,
    }
}

/// The peers that are believed, and the header that they are asked through.
#[derive(Debug, Clone)]
pub struct TrustedProxies {
    prefixes: Vec<IpNet>,
    header: ForwardedHeader,
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self { prefixes: Vec::new(), header: ForwardedHeader::XForwardedFor }
    }
}

impl TrustedProxies {
    /// Believes `prefixes` about `header`.
    pub fn new(prefixes: Vec<IpNet>, header: ForwardedHeader) -> Self {
        Self { prefixes, header }
    }

    /// Nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Is this hop believed?
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.prefixes.iter().any(|p| p.contains(&ip))
    }

    /// The client of a request that came from `peer` with these headers.
    pub fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> ClientAddress {
        let Some(peer) = peer.map(|p| p.ip().to_canonical()) else {
            return ClientAddress::UNKNOWN;
        };
        let found = |ip: IpAddr, source, hops| ClientAddress {
            ip: Some(ip),
            peer: (ip != peer).then_some(peer),
            source,
            hops,
            spoof: false,
            trusted: true,
        };
        if !self.trusts(peer) {
            let spoof = !is_private(peer) && self.names_another(peer, headers);
            return ClientAddress { spoof, trusted: false, ..found(peer, AddressSource::Peer, 0) };
        }
        match &self.header {
            ForwardedHeader::XForwardedFor => {
                let lines = headers.get_all(&fields::X_FORWARDED_FOR).iter().rev();
                let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
                self.walk(peer, elements, hop, AddressSource::XForwardedFor, &found)
            }
            ForwardedHeader::Forwarded => {
                let lines = headers.get_all(&fields::FORWARDED).iter().rev();
                let elements = lines.flat_map(|line| Elements(Some(line.as_bytes())));
                self.walk(peer, elements, forwarded_for, AddressSource::Forwarded, &found)
            }
            ForwardedHeader::Single(name) => {
                let mut lines = headers.get_all(name).iter();
                match (lines.next(), lines.next()) {
                    (None, _) => found(peer, AddressSource::Peer, 0),
                    (Some(line), None) => match line.to_str().ok().and_then(|l| hop(l.trim())) {
                        Some(ip) => found(ip, AddressSource::Single, 1),
                        None => found(peer, AddressSource::Malformed, 1),
                    },
                    _ => found(peer, AddressSource::Malformed, 1),
                }
            }
        }
    }

    /// From right to left over trusted hops. What stands left of the client is the client's own, and is not looked at.
    fn walk<'l>(
        &self,
        peer: IpAddr,
        elements: impl Iterator<Item = &'l [u8]>,
        parse: fn(&str) -> Option<IpAddr>,
        source: AddressSource,
        found: &dyn Fn(IpAddr, AddressSource, u8) -> ClientAddress,
    ) -> ClientAddress {
        let (mut last, mut any) = (peer, false);
        for (index, element) in elements.enumerate() {
            any = true;
            let hops = (index + 1).min(MAX_HOPS) as u8;
            let text = std::str::from_utf8(element).ok().filter(|text| index < MAX_HOPS && text.len() <= MAX_BYTES);
            match text.and_then(|text| parse(text.trim_matches([' ', '\t']))) {
                None => return found(last, AddressSource::Malformed, hops),
                Some(ip) if self.trusts(ip) => last = ip,
                Some(ip) => return found(ip, source, hops),
            }
        }
        // Every hop is trusted: the left-most one is the client.
        found(last, if any { source } else { AddressSource::Peer }, 0)
    }

    fn names_another(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let own = match &self.header {
            ForwardedHeader::XForwardedFor => &fields::X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => &fields::FORWARDED,
            ForwardedHeader::Single(name) => name,
        };
        headers
            .get_all(own)
            .iter()
            .any(|value| value.to_str().map_or(true, |text| text.trim().parse::<IpAddr>().ok() != Some(peer)))
    }
}

/// Elements of a line of `Forwarded` from the right, split at commas outside quoted strings (RFC 9110 §5.6.4). What a proxy has
/// appended is well-formed, and from there a quote that a client has left open holds nothing.
struct Elements<'l>(Option<&'l [u8]>);

impl<'l> Iterator for Elements<'l> {
    type Item = &'l [u8];

    fn next(&mut self) -> Option<&'l [u8]> {
        let line = self.0.take()?;
        let mut quoted = false;
        let separates = |at: &usize| {
            let byte = line.get(*at).copied().unwrap_or_default();
            quoted ^= byte == b'"' && !is_escaped(line, *at);
            byte == b',' && !quoted
        };
        // No element of a proxy is longer.
        let least = line.len().saturating_sub(MAX_BYTES + 1);
        let Some(comma) = (least..line.len()).rev().find(separates) else { return Some(line) };
        let (before, element) = line.split_at(comma);
        self.0 = Some(before);
        element.get(1..)
    }
}

/// Does an odd number of backslashes stand before it?
fn is_escaped(line: &[u8], at: usize) -> bool {
    let before = line.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// `IP`, `IP:port`, `[v6]` or `[v6]:port`.
fn hop(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical())
}

/// The node of `for=` in one element of `Forwarded` (RFC 7239 §4): IPv6 must be bracketed, and so quoted.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    // Of two nobody knows which one the proxy means; nor what is inside of a quote that is not closed.
    let quotes = element.bytes().enumerate().filter(|(at, byte)| *byte == b'"' && !is_escaped(element.as_bytes(), *at));
    let (Some(pair), None, 0) = (pairs.next(), pairs.next(), quotes.count() % 2) else { return None };
    let unquoted = pair.strip_prefix('"').and_then(|p| p.strip_suffix('"'));
    let node = match unquoted {
        Some(quoted) => quoted.replace('\\', ""),
        None => pair.to_owned(),
    };
    let v6 = node.contains('[') || node.matches(':').count() > 1;
    if v6 && (unquoted.is_none() || !node.starts_with('[')) {
        return None;
    }
    hop(&node)
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressSource::{Forwarded, Malformed, Peer, Single, XForwardedFor};
    use proptest::prelude::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn trusting(prefix: &str, header: ForwardedHeader) -> TrustedProxies {
        TrustedProxies::new(if prefix.is_empty() { vec![] } else { vec![prefix.parse().unwrap()] }, header)
    }

    #[test]
    fn the_walk_finds_the_client() {
        let xff = || ForwardedHeader::XForwardedFor;
        let cf = || ForwardedHeader::Single("cf-connecting-ip".parse().unwrap());
        #[rustfmt::skip]
        let table: Vec<(&str, &str, &str, ForwardedHeader, &[(&'static str, &str)], &str, AddressSource)> = vec![
            ("untrusted peer", "198.51.100.9", "", xff(), &[("x-forwarded-for", "1.2.3.4")], "198.51.100.9", Peer),
            ("client-supplied hop", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "6.6.6.6, 203.0.113.7")], "203.0.113.7", XForwardedFor),
            ("over a trusted hop", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "203.0.113.7, 10.1.1.1")], "203.0.113.7", XForwardedFor),
            ("unknown", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "203.0.113.7, unknown")], "10.0.0.2", Malformed),
            ("unknown behind a hop", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "unknown, 10.1.1.1")], "10.1.1.1", Malformed),
            ("two lines", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.7")], "203.0.113.7", XForwardedFor),
            ("port", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "203.0.113.7:5123")], "203.0.113.7", XForwardedFor),
            ("bracketed", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "[2001:db8::1]:80")], "2001:db8::1", XForwardedFor),
            ("empty element", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "203.0.113.7,")], "10.0.0.2", Malformed),
            ("all trusted", "10.0.0.2", "10.0.0.0/8", xff(), &[("x-forwarded-for", "10.3.3.3, 10.1.1.1")], "10.3.3.3", XForwardedFor),
            ("private is a client", "10.0.0.2", "10.0.0.2/32", xff(), &[("x-forwarded-for", "192.168.1.4")], "192.168.1.4", XForwardedFor),
            ("no header", "10.0.0.2", "10.0.0.0/8", xff(), &[], "10.0.0.2", Peer),
            ("forwarded v6", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "for=\"[2001:db8::7]:99\";proto=https")], "2001:db8::7", Forwarded),
            ("forwarded unbracketed", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "for=2001:db8::7")], "10.0.0.2", Malformed),
            ("forwarded any case", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "proto=http;FOR=203.0.113.7")], "203.0.113.7", Forwarded),
            ("forwarded obfuscated", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "for=_hidden")], "10.0.0.2", Malformed),
            ("forwarded without for", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "proto=https")], "10.0.0.2", Malformed),
            ("no other header", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("x-forwarded-for", "203.0.113.7")], "10.0.0.2", Peer),
            ("forwarded open quote", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "for=66.249.66.1;x=\", for=203.0.113.7;proto=https")], "203.0.113.7", Forwarded),
            ("forwarded open quote, two lines", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "for=66.249.66.1;x=\""), ("forwarded", "for=\"[2001:db8::7]:99\"")], "2001:db8::7", Forwarded),
            ("forwarded open quote of a trusted hop's", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "for=66.249.66.1;x=\", for=10.0.0.3")], "10.0.0.3", Malformed),
            ("forwarded quoted comma", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "for=203.0.113.7;x=\"a\\\", for=66.249.66.1\"")], "203.0.113.7", Forwarded),
            ("forwarded two", "10.0.0.2", "10.0.0.0/8", ForwardedHeader::Forwarded, &[("forwarded", "for=66.249.66.1;for=203.0.113.7")], "10.0.0.2", Malformed),
            ("single with a port", "173.245.48.5", "173.245.48.0/20", cf(), &[("cf-connecting-ip", "203.0.113.9:4711")], "203.0.113.9", Single),
            ("mapped", "::ffff:203.0.113.5", "", xff(), &[], "203.0.113.5", Peer),
            ("single", "173.245.48.5", "173.245.48.0/20", cf(), &[("cf-connecting-ip", "203.0.113.9")], "203.0.113.9", Single),
            ("single twice", "173.245.48.5", "173.245.48.0/20", cf(), &[("cf-connecting-ip", "203.0.113.9"), ("cf-connecting-ip", "203.0.113.8")], "173.245.48.5", Malformed),
        ];
        for (name, peer, trusted, header, lines, expect, source) in table {
            let peer = Some(SocketAddr::new(peer.parse().unwrap(), 1));
            let got = trusting(trusted, header).client(peer, &headers(lines));
            assert_eq!(got.ip, Some(expect.parse().unwrap()), "{name}");
            assert_eq!(got.source, source, "{name}");
        }
    }

    #[test]
    fn a_walk_is_bounded() {
        let proxies = trusting("10.0.0.0/8", ForwardedHeader::XForwardedFor);
        let peer = Some("10.0.0.2:1".parse().unwrap());
        let many = "10.0.0.1,".repeat(40) + "10.0.0.1";
        assert_eq!(proxies.client(peer, &headers(&[("x-forwarded-for", &many)])).source, Malformed);
        let long = "1".repeat(3_000);
        assert_eq!(proxies.client(peer, &headers(&[("x-forwarded-for", &long)])).source, Malformed);
    }

    #[test]
    fn what_a_client_writes_to_the_left_spoils_nothing() {
        let peer = Some("10.0.0.2:1".parse().unwrap());
        let proxies = trusting("10.0.0.0/8", ForwardedHeader::XForwardedFor);
        for claim in [b"\xff".to_vec(), b"x".repeat(3_000), b"10.0.0.1,".repeat(400)] {
            let own = b"203.0.113.7".to_vec();
            let (mut one, mut two) = (HeaderMap::new(), HeaderMap::new());
            let value = |bytes: &[u8]| http::HeaderValue::from_bytes(bytes).unwrap();
            one.insert("x-forwarded-for", value(&[&claim[..], b", ", &own].concat()));
            two.append("x-forwarded-for", value(&claim));
            two.append("x-forwarded-for", value(&own));
            for map in [one, two] {
                let got = proxies.client(peer, &map);
                assert_eq!((got.ip, got.source), (Some("203.0.113.7".parse().unwrap()), XForwardedFor));
            }
        }
    }

    #[test]
    fn only_a_public_untrusted_peer_that_names_another_is_noted() {
        let proxies = TrustedProxies::default();
        let map = headers(&[("x-forwarded-for", "1.2.3.4")]);
        assert!(proxies.client(Some("198.51.100.9:1".parse().unwrap()), &map).spoof);
        assert!(!proxies.client(Some("192.168.0.9:1".parse().unwrap()), &map).spoof);
        let same = headers(&[("x-forwarded-for", "198.51.100.9")]);
        assert!(!proxies.client(Some("198.51.100.9:1".parse().unwrap()), &same).spoof);
        assert_eq!(proxies.client(None, &map).source, AddressSource::None);
    }

    #[test]
    fn keys_have_the_documented_lengths() {
        let key = |ip: &str| {
            let a = ClientAddress { ip: Some(ip.parse().unwrap()), peer: None, source: Peer, ..ClientAddress::UNKNOWN };
            [a.client(), a.net(), a.wide()].map(|n| n.unwrap().to_string())
        };
        assert_eq!(
            key("2001:db8:12:3456:1::1"),
            ["2001:db8:12:3456::/64", "2001:db8:12:3400::/56", "2001:db8:12::/48"]
        );
        assert_eq!(key("203.0.113.7"), ["203.0.113.7/32", "203.0.113.0/24", "203.0.113.0/24"]);
        assert_eq!(key("2002:cb00:7107::1")[0], "203.0.113.7/32");
        assert_eq!(key("2001:0:4136:e378:8000:63bf:34ff:8ef8")[0], "203.0.113.7/32");
        assert_eq!(key("64:ff9b::cb00:7107")[0], "203.0.113.7/32");
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_always_the_client(value in "[ -~]{0,80}", ip in any::<u32>()) {
            let ip = IpAddr::V4(Ipv4Addr::from(ip));
            let mut map = HeaderMap::new();
            map.insert("x-forwarded-for", value.parse().unwrap());
            map.insert("forwarded", value.parse().unwrap());
            let got = TrustedProxies::default().client(Some(SocketAddr::new(ip, 1)), &map);
            prop_assert_eq!(got.ip, Some(ip));
        }

        #[test]
        fn a_claim_left_of_an_untrusted_hop_is_never_believed(claim in "[ -~]{0,60}") {
            let proxies = trusting("10.0.0.0/8", ForwardedHeader::XForwardedFor);
            let line = format!("{claim}, 203.0.113.7");
            let got = proxies.client(Some("10.0.0.2:1".parse().unwrap()), &headers(&[("x-forwarded-for", &line)]));
            prop_assert_eq!(got.ip, Some("203.0.113.7".parse().unwrap()));
        }

        #[test]
        fn nor_is_it_in_forwarded(claim in "[ -~]{0,60}", quoted in any::<bool>(), lines in any::<bool>()) {
            let proxies = trusting("10.0.0.0/8", ForwardedHeader::Forwarded);
            let own = if quoted { "for=\"203.0.113.7:99\";proto=https" } else { "for=203.0.113.7" };
            let line = format!("{claim}, {own}");
            let split: &[(&'static str, &str)] =
                if lines { &[("forwarded", &claim), ("forwarded", own)] } else { &[("forwarded", &line)] };
            let got = proxies.client(Some("10.0.0.2:1".parse().unwrap()), &headers(split));
            prop_assert_eq!(got.ip, Some("203.0.113.7".parse().unwrap()));
        }
    }
}
