//! The facts of one request: what [`IdentifyLayer`](super::IdentifyLayer) runs.

use std::borrow::Cow;
#[cfg(feature = "verify-dns")]
use std::net::IpAddr;
#[cfg(feature = "axum")]
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use uuid::Uuid;

#[cfg(feature = "verify-dns")]
use super::DnsVerifier;
#[cfg(feature = "verify-dns")]
use super::Verification;
use super::fields;
use super::key::visitor_key;
use super::pass::Tokens;
use super::prefixes::PrefixSet;
use super::published::Ranges;
use super::route::{self, Routes, lower, normal};
#[cfg(feature = "web-bot-auth")]
use super::signature;
use super::trap::TrapPaths;
use super::{AddressSource, Agents, ClientAddress, Peer, RouteClass, Settings, Standing, Systems, TrustedProxies};
#[cfg(any(feature = "verify-dns", feature = "web-bot-auth"))]
use super::{Agent, verify};
use super::{Visitor, VisitorError};
use crate::hosts::{HostNames, bare_host};
use crate::secret::Secrets;

/// The facts that need no clock and no counter of their own; what [`IdentifyLayer`] runs on every request.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) proxies: TrustedProxies,
    pub(crate) agents: Arc<Agents>,
    ranges: Arc<ArcSwap<Ranges>>,
    pub(super) clouds: Arc<PrefixSet>,
    pub(super) routes: Routes,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    ja4: Option<HeaderName>,
    systems: Systems,
    keys: Option<Keys>,
    #[cfg(feature = "verify-dns")]
    dns: Option<DnsVerifier>,
    #[cfg(feature = "web-bot-auth")]
    signatures: Option<Arc<signature::Verifier>>,
}

/// What is recognised by a key of the site.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    tokens: Tokens,
    traps: Arc<TrapPaths>,
}

impl Keys {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        Self { tokens: Tokens::new(secrets), traps: Arc::new(TrapPaths::new(secrets)) }
    }
}

impl Facts {
    pub(crate) fn new(settings: &Settings) -> Result<Self, VisitorError> {
        check_verify(settings).map_err(|message| VisitorError::Verify { message })?;
        check_botauth(settings).map_err(|message| VisitorError::BotAuth { message })?;
        Ok(Self {
            proxies: TrustedProxies::configured(settings)?,
            agents: Agents::builtin(),
            ranges: Ranges::live(&settings.ranges)?,
            clouds: PrefixSet::clouds(),
            routes: Routes::new(&settings.routes).map_err(|(key, message)| VisitorError::Route { key, message })?,
            allow: settings.allow.clone(),
            deny: settings.deny.clone(),
            ja4: ja4_header(settings)?,
            systems: Systems::default(),
            keys: None,
            #[cfg(feature = "verify-dns")]
            dns: None,
            #[cfg(feature = "web-bot-auth")]
            signatures: None,
        })
    }

    /// Systems of addresses are looked up, too. What only judges a log has no use for them.
    pub(crate) fn with_systems(self, systems: Systems) -> Self {
        Self { systems, ..self }
    }

    /// Signatures are checked, too.
    #[cfg(feature = "web-bot-auth")]
    pub(crate) fn with_signatures(self, verifier: signature::Verifier) -> Self {
        Self { signatures: Some(Arc::new(verifier)), ..self }
    }

    /// With ranges that somebody keeps up to date.
    #[cfg(feature = "proxy")]
    pub(crate) fn with_ranges(self, ranges: Arc<ArcSwap<Ranges>>) -> Self {
        Self { ranges, ..self }
    }

    /// Robots are looked up, too; beside the requests.
    #[cfg(feature = "verify-dns")]
    pub(crate) fn with_dns(self, dns: DnsVerifier) -> Self {
        Self { dns: Some(dns), ..self }
    }

    /// What the DNS adds where the ranges prove nothing. Of an address that is not of the open net it knows nothing.
    #[cfg(feature = "verify-dns")]
    fn with_dns_answer(&self, proof: verify::Proof, agent: &Agent, ip: Option<IpAddr>) -> verify::Proof {
        let (Some(dns), Some(name), Some(ip)) = (&self.dns, agent.name.as_deref(), ip) else { return proof };
        let domains = self.agents.domains(name);
        if proof.state == Verification::Verified || domains.is_empty() || !verify::is_public(ip) {
            return proof;
        }
        proof.with_dns(dns.ask(name, domains, ip), self.ranges.load().is_indexer(name))
    }

    pub(crate) fn with_keys(self, keys: Keys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Identifies one request. Total: every head gives a visitor. `names` count by how many networks its host is asked for.
    pub(crate) fn visitor(&self, head: &HeadView<'_>, arrived: Duration, names: Option<&HostNames>) -> Visitor {
        let address = self.proxies.client(head.peer.map(|p| p.address), head.headers);
        let agent = self.agents.classify(user_agent(head.headers).as_deref());
        // Of a field that did not parse nobody knows whose address it left.
        let ip = address.ip.filter(|_| address.source != AddressSource::Malformed);
        let proof = self.ranges.load().verify(&agent, ip, arrived);
        #[cfg(feature = "verify-dns")]
        let proof = self.with_dns_answer(proof, &agent, ip);
        let path = normal(head.path);
        let secure = self.is_secure(head);
        #[cfg(feature = "web-bot-auth")]
        let (agent, proof) = match &self.signatures {
            Some(verifier) => self.signed(verifier, head, secure, &address, (agent, proof), arrived),
            None => (agent, proof),
        };
        let asset_path = self.routes.is_asset_path(&path);
        let route = self.routes.classify(head.method, head.path, &path, asset_path, head.headers);
        let counted = names.zip(address.wide()).and_then(|(names, network)| names.known(head.asked, &network));
        let (host_networks, known) = counted.unzip();
        let host = lower(bare_host(short_host(head.host.unwrap_or_default())));
        let host: Arc<str> = known.filter(|known| **known == *host).unwrap_or_else(|| host.into());
        let own = (route == RouteClass::Own).then(|| self.routes.below_mount(&path)).flatten();
        let traps = self.keys.as_ref().map(|keys| &keys.traps);
        Visitor {
            pass: self.keys.as_ref().and_then(|keys| keys.tokens.pass_of(head.headers, secure, &host, arrived)),
            trap: traps.and_then(|traps| traps.trap(&path, own, &host, arrived)),
            beacon: traps.zip(own).is_some_and(|(traps, own)| traps.is_beacon(own, &host)),
            traps: traps.cloned(),
            prefetch: route::is_prefetch(head.headers),
            foreign_hello: self.ja4(head).is_some_and(is_foreign),
            asn: ip.and_then(|ip| self.systems.number(ip)),
            cloud: ip.is_some_and(|ip| self.clouds.holds(ip)),
            host,
            host_networks: host_networks.unwrap_or_default(),
            key: visitor_key(&address, head.headers),
            standing: self.standing(&address, route, &path),
            navigation: route::is_navigation(head.method, route, head.headers),
            asset_path,
            secure,
            address,
            agent,
            verification: proof.state,
            verification_method: proof.method,
            ranges_age: proof.age,
            indexer: proof.indexer,
            route,
            path: path.into(),
            enforceable: true,
            request_id: request_id(arrived),
            arrived,
        }
    }

    /// Does a proxy that is believed hand the request on?
    fn is_handed_on(&self, head: &HeadView<'_>) -> bool {
        head.peer.is_some_and(|p| self.proxies.trusts(p.address.ip().to_canonical()))
    }

    /// What a proxy that is believed says of the client's TLS.
    fn ja4<'h>(&self, head: &HeadView<'h>) -> Option<&'h str> {
        let name = self.ja4.as_ref()?;
        head.headers.get(name).filter(|_| self.is_handed_on(head))?.to_str().ok()
    }

    /// Is the connection of the client encrypted?
    fn is_secure(&self, head: &HeadView<'_>) -> bool {
        let said = head.headers.get(&fields::X_FORWARDED_PROTO).filter(|_| self.is_handed_on(head));
        head.peer.is_some_and(|p| p.secure) || said.is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(b"https"))
    }

    /// Who has signed the request, where that proves more than the address does.
    #[cfg(feature = "web-bot-auth")]
    fn signed(
        &self,
        verifier: &signature::Verifier,
        head: &HeadView<'_>,
        secure: bool,
        address: &ClientAddress,
        (agent, proof): (Agent, verify::Proof),
        arrived: Duration,
    ) -> (Agent, verify::Proof) {
        let Some(authority) = head.authority else { return (agent, proof) };
        let scheme = if secure { "https" } else { "http" };
        let target = signature::Target { method: head.method, scheme, authority, path_and_query: head.target };
        // A field that did not parse leaves the address of a proxy: no neighbourhood to compare.
        let network = address.net().filter(|_| address.source != AddressSource::Malformed);
        match verifier.check(&signature::Incoming { target, headers: head.headers, network }, arrived) {
            Ok(None) => (agent, proof),
            Ok(Some(host)) => {
                let agent = self.agents.signed_by(&host, agent);
                let indexer = agent.name.as_deref().is_some_and(|name| self.ranges.load().is_indexer(name));
                (agent, verify::Proof::signed(indexer))
            }
            Err(error) => {
                tracing::debug!(target: "deckle", code = error.code(), %error, "A signature does not hold.");
                (agent, proof.with_bad_signature(error.outcome()))
            }
        }
    }

    pub(super) fn standing(&self, address: &ClientAddress, route: RouteClass, path: &str) -> Standing {
        let inside = |list: &[IpNet]| address.ip.is_some_and(|ip| list.iter().any(|net| net.contains(&ip)));
        // Who a proxy asks for without a word is not the proxy.
        let is_known = address.source != AddressSource::Malformed;
        if self.routes.never(path) || (is_known && inside(&self.allow)) {
            Standing::Allowed
        } else if route != RouteClass::Wellknown && inside(&self.deny) {
            Standing::Denied
        } else {
            Standing::Ordinary
        }
    }
}

#[cfg(feature = "web-bot-auth")]
fn check_botauth(settings: &Settings) -> Result<(), String> {
    settings.botauth.check()
}

#[cfg(not(feature = "web-bot-auth"))]
fn check_botauth(settings: &Settings) -> Result<(), String> {
    let message = || "section `[visitor.botauth]` needs feature `web-bot-auth`".to_owned();
    settings.botauth.as_ref().map_or(Ok(()), |_| Err(message()))
}

#[cfg(feature = "verify-dns")]
fn check_verify(settings: &Settings) -> Result<(), String> {
    settings.verify.check()
}

#[cfg(not(feature = "verify-dns"))]
fn check_verify(settings: &Settings) -> Result<(), String> {
    let message = || "section `[visitor.verify]` needs feature `verify-dns`".to_owned();
    settings.verify.as_ref().map_or(Ok(()), |_| Err(message()))
}

fn ja4_header(settings: &Settings) -> Result<Option<HeaderName>, VisitorError> {
    let parse = |name: &String| name.parse().map_err(|_| VisitorError::Ja4 { value: name.clone() });
    settings.ja4_header.as_ref().map(parse).transpose()
}

/// Is this the JA4 of no browser of today? They all offer HTTP/2 over TCP and HTTP/3 over QUIC, with TLS 1.3. What does not
/// parse says nothing (FoxIO, "JA4: TLS client fingerprinting": protocol, version, SNI, two counts of two digits, ALPN).
fn is_foreign(ja4: &str) -> bool {
    let greeting = ja4.split('_').next().unwrap_or_default();
    let [protocol, v1, v2, b'd' | b'i', counts @ .., a1, a2] = greeting.as_bytes() else { return false };
    if counts.len() != 4 || !counts.iter().all(u8::is_ascii_digit) {
        return false;
    }
    match (*protocol, [*v1, *v2], [*a1, *a2]) {
        (b't', version, alpn) => version != *b"13" || alpn != *b"h2",
        (b'q', version, alpn) => version != *b"13" || alpn != *b"h3",
        _ => false,
    }
}

/// What of a request the facts are read from.
#[derive(Debug)]
pub(crate) struct HeadView<'h> {
    pub(crate) method: &'h http::Method,
    pub(crate) path: &'h str,
    /// Path and query, byte for byte.
    #[cfg(feature = "web-bot-auth")]
    pub(crate) target: &'h str,
    /// Host and port; `None`: none is named, or two are.
    #[cfg(feature = "web-bot-auth")]
    pub(crate) authority: Option<&'h str>,
    pub(crate) host: Option<&'h str>,
    /// Host and port as they stand there, however often.
    pub(crate) asked: &'h str,
    pub(crate) headers: &'h HeaderMap,
    pub(crate) peer: Option<Peer>,
}

impl<'h> HeadView<'h> {
    pub(crate) fn of(
        method: &'h http::Method,
        uri: &'h http::Uri,
        headers: &'h HeaderMap,
        extensions: &http::Extensions,
    ) -> Self {
        // HTTP/2 puts it into the address (RFC 9113 §8.3.1).
        let mut lines = headers.get_all(http::header::HOST).iter();
        let named = lines.next().and_then(|line| line.to_str().ok());
        #[cfg(feature = "web-bot-auth")]
        let only = named.filter(|_| lines.next().is_none());
        let authority = uri.authority().map(http::uri::Authority::as_str);
        Self {
            method,
            path: uri.path(),
            #[cfg(feature = "web-bot-auth")]
            target: uri.path_and_query().map_or("", |target| target.as_str()),
            #[cfg(feature = "web-bot-auth")]
            authority: authority.or(only),
            host: uri.host().or(named),
            asked: authority.or(named).unwrap_or_default(),
            headers,
            peer: peer_of(extensions),
        }
    }
}

/// The socket of a request, from deckle's own extension or axum's.
pub(crate) fn peer_of(extensions: &http::Extensions) -> Option<Peer> {
    let own = extensions.get::<Peer>().copied();
    #[cfg(feature = "axum")]
    let own = own.or_else(|| {
        extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| Peer { address: info.0, secure: false })
    });
    own
}

/// The `User-Agent` as text; bytes that are not UTF-8 are replaced. Hardly any has such, and to look for them piece by piece takes
/// longer than to see that there are none.
fn user_agent(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let sent = headers.get(http::header::USER_AGENT)?.as_bytes();
    Some(str::from_utf8(sent).map_or_else(|_| String::from_utf8_lossy(sent), Cow::Borrowed))
}

/// Names one request: UUID version 7 (RFC 9562 §5.7). Its random part tells requests of one millisecond apart, and is no
/// secret: asking the system for it would take longer than all the rest.
pub(crate) fn request_id(arrived: Duration) -> Uuid {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(arrived.as_millis() as u64, &random).into_uuid()
}

/// Bytes of a host that are looked at: no name has more (RFC 1035 §2.3.4), and it is kept as long as records are.
const MAX_HOST: usize = 255;

fn short_host(sent: &str) -> &str {
    sent.split_at(sent.floor_char_boundary(MAX_HOST)).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_of_a_browser_offers_what_browsers_speak() {
        for (ja4, foreign) in [
            ("t13d1516h2_8daaf6152771_02713d6af862", false),
            ("t13d1715h2_5b57614c22b0_3d5424432f57", false),
            ("q13d0312h3_55b375c5d22e_06cda9e17597", false),
            ("t13i1516h2", false),
            ("t13d181000_85036bcba153_d41ae481755e", true),
            ("t12d150600_x_y", true),
            ("t13d1812h1_x_y", true),
            ("t12d1516h2_x_y", true),
            ("q13d0312h2_x_y", true),
            ("", false),
            ("t13", false),
            ("t13dxx16h1_x_y", false),
            ("d13d1516d1", false),
            ("\u{e4}13d1516h1", false),
        ] {
            assert_eq!(is_foreign(ja4), foreign, "{ja4}");
        }
    }

    #[test]
    fn a_host_is_no_longer_than_names_can_be() {
        let host = |name: &str| {
            let request = http::Request::builder().uri("/").header("host", name).body(()).unwrap();
            Visitor::from_head(&request.into_parts().0, &Settings::default(), Duration::ZERO).unwrap().host
        };
        assert_eq!(&*host("News.Example.:8080"), "news.example");
        assert_eq!(&*host(&"A".repeat(300_000)), "a".repeat(255).as_str());
    }

    #[test]
    fn only_a_proxy_that_is_believed_says_so() {
        let mut settings = Settings {
            trusted_proxies: vec!["10.0.0.0/8".to_owned()],
            ja4_header: Some("X-JA4".to_owned()),
            ..Settings::default()
        };
        for (peer, expect) in [([10, 0, 0, 1], true), ([203, 0, 113, 1], false)] {
            let mut request = http::Request::builder().uri("/").header("x-ja4", "t13d1812h1_x_y").body(()).unwrap();
            request.extensions_mut().insert(Peer { address: (peer, 1).into(), secure: true });
            let (head, ()) = request.into_parts();
            assert_eq!(Visitor::from_head(&head, &settings, Duration::ZERO).unwrap().foreign_hello, expect, "{peer:?}");
        }
        settings.ja4_header = Some("x ja4".to_owned());
        assert!(Facts::new(&settings).unwrap_err().to_string().contains("visitor.ja4_header"));
    }
}
