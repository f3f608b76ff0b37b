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

use std::borrow::Cow;
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
                self.walk(peer, joined(headers, &fields::X_FORWARDED_FOR), AddressSource::XForwardedFor, &found)
            }
            ForwardedHeader::Forwarded => {
                self.walk(peer, joined(headers, &fields::FORWARDED), AddressSource::Forwarded, &found)
            }
            ForwardedHeader::Single(name) => {
                let mut lines = headers.get_all(name).iter();
                match (lines.next(), lines.next()) {
                    (None, _) => found(peer, AddressSource::Peer, 0),
                    (Some(line), None) => match line.to_str().ok().and_then(|l| l.trim().parse::<IpAddr>().ok()) {
                        Some(ip) => found(ip.to_canonical(), AddressSource::Single, 1),
                        None => found(peer, AddressSource::Malformed, 1),
                    },
                    _ => found(peer, AddressSource::Malformed, 1),
                }
            }
        }
    }

    /// From right to left over trusted hops.
    fn walk(
        &self,
        peer: IpAddr,
        line: Joined<'_>,
        source: AddressSource,
        found: &dyn Fn(IpAddr, AddressSource, u8) -> ClientAddress,
    ) -> ClientAddress {
        let line = match line {
            Joined::Absent => return found(peer, AddressSource::Peer, 0),
            Joined::Malformed => return found(peer, AddressSource::Malformed, 1),
            Joined::Line(line) => line,
        };
        if source == AddressSource::Forwarded {
            let elements = split_outside_quotes(&line).into_iter().rev();
            return self.follow(peer, elements, forwarded_for, source, found);
        }
        self.follow(peer, line.rsplit(','), hop, source, found)
    }

    fn follow<'l>(
        &self,
        peer: IpAddr,
        elements: impl Iterator<Item = &'l str>,
        parse: fn(&str) -> Option<IpAddr>,
        source: AddressSource,
        found: &dyn Fn(IpAddr, AddressSource, u8) -> ClientAddress,
    ) -> ClientAddress {
        let mut last = peer;
        for (index, element) in elements.enumerate() {
            let hops = (index + 1).min(MAX_HOPS) as u8;
            let parsed = if index < MAX_HOPS { parse(element.trim_matches([' ', '\t'])) } else { None };
            match parsed {
                None => return found(last, AddressSource::Malformed, hops),
                Some(ip) if self.trusts(ip) => last = ip,
                Some(ip) => return found(ip, source, hops),
            }
        }
        // Every hop is trusted: the left-most one is the client.
        found(last, source, 0)
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

enum Joined<'h> {
    Absent,
    Malformed,
    Line(Cow<'h, str>),
}

/// All lines of a field, joined with commas in order (RFC 9110 §5.3).
fn joined<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Joined<'h> {
    let mut line: Option<Cow<'h, str>> = None;
    for value in headers.get_all(name) {
        let Ok(text) = value.to_str() else { return Joined::Malformed };
        // Nearly always there is one, which is read where it stands.
        let all = match line {
            None => Cow::Borrowed(text),
            Some(before) => Cow::Owned(format!("{before},{text}")),
        };
        if all.len() > MAX_BYTES {
            return Joined::Malformed;
        }
        line = Some(all);
    }
    line.map_or(Joined::Absent, Joined::Line)
}

/// Splits at commas, but not inside quoted strings (RFC 9110 §5.6.4).
fn split_outside_quotes(line: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.extend(line.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(line.get(start..));
    parts
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
    let pair = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    })?;
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
    }
}
