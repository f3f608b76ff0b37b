//! What the log may hold about people: cut addresses, pseudonyms that cannot be resolved after two days, redacted
//! queries and paths.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::{AddressMode, Settings};
use crate::secret::hmac_sha256;

/// Days whose keys are kept: today's and yesterday's.
const KEPT_DAYS: u64 = 2;
const DAY: u64 = 86_400;
/// Segments of a path from this length on that are all hex or base64url are taken for secrets.
const TOKEN: usize = 32;

/// An address as the log shows it; `None`: not at all.
pub(crate) fn render_address(ip: IpAddr, settings: &Settings, full: bool) -> Option<String> {
    match settings.address {
        AddressMode::Pseudonym | AddressMode::None => None,
        AddressMode::Full => Some(ip.to_string()),
        AddressMode::Truncate if full => Some(ip.to_string()),
        AddressMode::Truncate => Some(match ip.to_canonical() {
            IpAddr::V4(v4) => Ipv4Net::new(v4, settings.ipv4_prefix.min(32))
                .map_or_else(|_| v4.to_string(), |n| n.trunc().to_string()),
            IpAddr::V6(v6) => Ipv6Net::new(v6, settings.ipv6_prefix.min(128))
                .map_or_else(|_| v6.to_string(), |n| n.trunc().to_string()),
        }),
    }
}

/// Random keys, one a UTC day, from which visitor ids are made; they are erased after two days, and with them the way
/// back from an id to an address.
#[derive(Debug)]
pub(crate) struct Pseudonyms {
    keys: BTreeMap<u64, Key>,
    file: Option<PathBuf>,
}

/// The same for all sinks: a visitor has one id.
pub(crate) type SharedPseudonyms = Arc<Mutex<Pseudonyms>>;

struct Key(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Pseudonyms {
    /// Keys that end with the process.
    pub(crate) fn in_memory() -> Self {
        Self { keys: BTreeMap::new(), file: None }
    }

    /// For several sinks; without a file ids change at a restart.
    pub(crate) fn shared(file: Option<&Path>) -> SharedPseudonyms {
        Arc::new(Mutex::new(file.map_or_else(Self::in_memory, Self::in_file)))
    }

    /// Keys in a file, mode 0600, read at the start.
    pub(crate) fn in_file(path: &Path) -> Self {
        let keys = std::fs::read_to_string(path).unwrap_or_default().lines().filter_map(parse_key).collect();
        Self { keys, file: Some(path.to_owned()) }
    }

    /// base32(HMAC(day key, address ‖ 0 ‖ user agent ‖ 0 ‖ site)), 20 letters. The user agent comes in two parts: of a long one
    /// the second is a hash.
    pub(crate) fn visitor_id(
        &mut self,
        time: Duration,
        client: Option<IpNet>,
        [user_agent, rest]: [&[u8]; 2],
        site: &str,
    ) -> Option<String> {
        let address: SmallVec<[u8; 8]> = match client?.addr() {
            IpAddr::V4(v4) => SmallVec::from_slice(&v4.octets()),
            IpAddr::V6(v6) => SmallVec::from_slice(v6.octets().get(..8)?),
        };
        let key = self.key(time.as_secs() / DAY)?;
        let digest = hmac_sha256(&key.0[..], &[&address, &[0], user_agent, rest, &[0], site.as_bytes()]);
        let mut id = BASE32_NOPAD.encode(digest.get(..12)?);
        id.make_ascii_lowercase();
        Some(id)
    }

    fn key(&mut self, day: u64) -> Option<&Key> {
        if !self.keys.contains_key(&day) {
            self.make_key(day)?;
        }
        self.keys.get(&day)
    }

    fn make_key(&mut self, day: u64) -> Option<()> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut()).ok()?;
        self.keys.insert(day, Key(bytes));
        self.keys.retain(|kept, _| kept + KEPT_DAYS > day);
        self.save();
        Some(())
    }

    fn save(&self) {
        let Some(path) = &self.file else { return };
        let text: String =
            self.keys.iter().map(|(day, key)| format!("{day} {}\n", HEXLOWER.encode(&key.0[..]))).collect();
        if let Err(error) = write_private(path, text.as_bytes()) {
            tracing::warn!(target: "deckle::audit", %error, "The day keys could not be written; ids change at a restart.");
        }
    }
}

fn parse_key(line: &str) -> Option<(u64, Key)> {
    let (day, hex) = line.split_once(' ')?;
    let bytes: [u8; 32] = HEXLOWER.decode(hex.trim().as_bytes()).ok()?.try_into().ok()?;
    Some((day.parse().ok()?, Key(Zeroizing::new(bytes))))
}

/// Writes a file that only its owner can read, by way of a temporary one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let temporary = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

impl Settings {
    /// Values of names that are not allowed are replaced, and tokens without a name.
    pub(super) fn redact_query(&self, query: &str) -> String {
        let searched = |name: &str| self.search_terms && matches!(name, "s" | "q");
        let allowed = |name: &str| {
            searched(name)
                || self.query_allow.iter().any(|entry| match entry.strip_suffix('*') {
                    Some(prefix) => name.starts_with(prefix),
                    None => entry == name,
                })
        };
        let mut out = String::with_capacity(query.len());
        for pair in query.split_inclusive(['&', ';']) {
            let (pair, end) = match pair.strip_suffix(['&', ';']) {
                Some(bare) => (bare, pair.get(bare.len()..).unwrap_or_default()),
                None => (pair, ""),
            };
            match pair.split_once('=') {
                Some((name, _)) if !allowed(name) => out.extend([name, "=REDACTED"]),
                None if is_private_segment(pair) => out.push_str("REDACTED"),
                _ => out.push_str(pair),
            }
            out.push_str(end);
        }
        out
    }

    /// Mail addresses and long tokens in a path are replaced.
    pub(super) fn redact_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        if self.path_redact { redact_path(path) } else { Cow::Borrowed(path) }
    }
}

/// A path without mail addresses and long tokens. Most have none.
pub(crate) fn redact_path(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(is_private_segment) {
        return Cow::Borrowed(path);
    }
    let parts: Vec<&str> =
        path.split('/').map(|segment| if is_private_segment(segment) { "[redacted]" } else { segment }).collect();
    Cow::Owned(parts.join("/"))
}

fn is_private_segment(segment: &str) -> bool {
    // A token has so many bytes, and a mail address has an `@`.
    if segment.len() < TOKEN && memchr::memchr2(b'@', b'%', segment.as_bytes()).is_none() {
        return false;
    }
    let decoded = segment.replace("%40", "@");
    let mail = decoded.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    let token = decoded.len() >= TOKEN
        && decoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=~".contains(&b))
        && decoded.bytes().any(|b| b.is_ascii_digit())
        // Headlines are words between hyphens; tokens are not.
        && decoded.split(['-', '_', '.']).any(|word| word.len() >= 20);
    mail || token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Pseudonyms {
        let bytes: Vec<u8> = (0..32).collect();
        let key = Key(Zeroizing::new(bytes.try_into().unwrap()));
        Pseudonyms { keys: [(0, key)].into(), file: None }
    }

    fn id(ip: &str) -> String {
        let ip: IpAddr = ip.parse().unwrap();
        let address = crate::visitor::ClientAddress {
            ip: Some(ip.to_canonical()),
            peer: None,
            source: crate::visitor::AddressSource::Peer,
            hops: 0,
            spoof: false,
            trusted: false,
        };
        ids().visitor_id(Duration::ZERO, address.client(), [b"curl/8.5.0", b""], "news").unwrap()
    }

    #[test]
    fn ids_match_the_reference() {
        // Computed with Python's hmac and base64 modules.
        assert_eq!(id("203.0.113.9"), "7vxuxkzrciownrc37liq");
        assert_eq!(id("::ffff:203.0.113.9"), "7vxuxkzrciownrc37liq");
        assert_eq!(id("2001:db8:1:2::5"), "72inkz6uhoz7v4wanr6q");
        assert_eq!(id("2001:db8:1:2:ffff::9"), "72inkz6uhoz7v4wanr6q");
        assert_eq!(id("2001:db8:1:3::5"), "dzriyna7h5hawqbasziq");
    }

    #[test]
    fn keys_live_two_days_and_outlive_a_restart() {
        let dir = std::env::temp_dir().join(format!("deckle-keys-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("audit.keys");
        let client = Some("203.0.113.9/32".parse().unwrap());
        let at = |p: &mut Pseudonyms, day: u64| {
            p.visitor_id(Duration::from_secs(day * DAY), client, [&[], &[]], "s").unwrap()
        };
        let mut first = Pseudonyms::in_file(&path);
        let (one, two) = (at(&mut first, 100), at(&mut first, 101));
        assert_ne!(one, two);
        assert_eq!(at(&mut Pseudonyms::in_file(&path), 101), two);
        at(&mut first, 102);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(!kept.contains("100 ") && kept.contains("101 ") && kept.contains("102 "), "{kept}");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn addresses_are_cut() {
        let settings = Settings::default();
        let show = |ip: &str, full| render_address(ip.parse().unwrap(), &settings, full).unwrap();
        assert_eq!(show("203.0.113.9", false), "203.0.113.0/24");
        assert_eq!(show("::ffff:203.0.113.9", false), "203.0.113.0/24");
        assert_eq!(show("2001:db8:1:2::5", false), "2001:db8:1::/48");
        assert_eq!(show("203.0.113.9", true), "203.0.113.9");
        let none = Settings { address: AddressMode::None, ..Settings::default() };
        assert_eq!(render_address("203.0.113.9".parse().unwrap(), &none, true), None);
    }

    #[test]
    fn what_holds_nothing_private_is_not_copied() {
        for path in ["/", "", "/2026/a-b-c", "/a%20b/100%25", "/u/@ann", "/abcdefghijklmnopqrstuvwxyzabcdef/x"] {
            assert!(matches!(redact_path(path), Cow::Borrowed(kept) if kept == path), "{path}");
        }
        for path in ["/a@b.c", "/x/a%40b.c/", "/abcdefghijklmnopqrstuvwxyzabcde1"] {
            assert!(matches!(redact_path(path), Cow::Owned(_)), "{path}");
        }
    }

    #[test]
    fn paths_lose_tokens_and_keep_headlines() {
        let settings = Settings::default();
        let headline = "/2026/a-long-headline-with-more-than-thirty-two-characters-in-2026";
        assert_eq!(settings.redact_path(headline), headline);
        assert_eq!(settings.redact_path("/reset/9f2c4e1ab07d33569f2c4e1ab07d3356"), "/reset/[redacted]");
        assert_eq!(settings.redact_path("/u/ann@example.org/x"), "/u/[redacted]/x");
        assert_eq!(settings.redact_path("/u/ann%40example.org"), "/u/[redacted]");
        assert_eq!(settings.redact_path("/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln"), "/t/[redacted]");
        assert_eq!(
            settings.redact_query("p=1;token=x&page=2&9f2c4e1ab07d33569f2c4e1ab07d3356&utm_source=a"),
            "p=1;token=REDACTED&page=2&REDACTED&utm_source=a"
        );
    }
}
