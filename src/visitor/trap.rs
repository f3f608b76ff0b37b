//! Paths that no reader follows, and the style sheet that every browser fetches.
//!
//! | path | who asks for it |
//! |---|---|
//! | `<mount>/t/<16 hex>` | whoever follows every link of a page, hidden ones too; good for the day and the day after |
//! | `/archive-<8 hex>/` | whoever reads robots.txt to learn what to fetch |
//! | `<mount>/b/<16 hex>.css` | every browser that shows a page which links to it |
//!
//! The digits are the start of HMAC-SHA-256 over what the link is for, so that a link that somebody posts elsewhere leads
//! nobody into a trap next week.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::secret::{HmacKey, Secrets};

const DOMAIN: &str = "deckle-trap-1";
const DAY: u64 = 86_400;

/// What a request walked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trap {
    /// A link that only programs see.
    HoneyLink,
    /// A path that stands in robots.txt alone.
    RobotsCanary,
}

/// How the link for programs stands in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrapForm {
    /// A hidden `<a>`: whoever parses the page finds it.
    #[default]
    Link,
    /// An `<a>` as the text of a `<script>` of an unknown type: only who looks for `href` in the text of a page finds it.
    Script,
}

/// In the extensions of a request: what the page may carry for this visitor alone, by its path below the mount.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "html"), expect(dead_code, reason = "pages are not rewritten"))]
pub(crate) struct Offers {
    pub(crate) beacon: Option<BeaconOffer>,
    pub(crate) link: Option<(TrapForm, String)>,
}

/// A style sheet of ours that the page may link to.
#[derive(Clone)]
#[cfg_attr(not(feature = "html"), expect(dead_code, reason = "pages are not rewritten"))]
pub(crate) struct BeaconOffer {
    pub(crate) path: String,
    /// To be called when the link leaves in a page: what was to carry it may turn out to be none.
    pub(crate) placed: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for BeaconOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BeaconOffer").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Makes the paths, and knows them again.
#[derive(Clone)]
pub(crate) struct TrapPaths {
    key: HmacKey,
}

impl TrapPaths {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        Self { key: HmacKey::new(&secrets.active().derive(DOMAIN, "mac")) }
    }

    /// The hidden link of a host today, below the mount.
    pub(crate) fn link(&self, host: &str, now: Duration) -> String {
        format!("/t/{}", self.digits::<8>(&["link", &day(now, 0), host]))
    }

    /// The path that stands in robots.txt only.
    #[cfg(any(feature = "html", test))]
    pub(crate) fn canary(&self) -> String {
        format!("/archive-{}/", self.digits::<4>(&["canary"]))
    }

    /// A style sheet below the mount that nobody has fetched before.
    pub(crate) fn beacon(&self, host: &str) -> String {
        let nonce = format!("{:08x}", fastrand::u32(..));
        format!("/b/{nonce}{}.css", self.digits::<4>(&["beacon", &nonce, host]))
    }

    /// What a path is, if it is one of these; `own` is the part below the mount.
    pub(crate) fn trap(&self, path: &str, own: Option<&str>, host: &str, now: Duration) -> Option<Trap> {
        if let Some(digits) = own.and_then(|own| own.strip_prefix("/t/")) {
            let good = |ago: u64| self.digits::<8>(&["link", &day(now, ago), host]) == digits;
            return (good(0) || good(1)).then_some(Trap::HoneyLink);
        }
        let digits = path.strip_prefix("/archive-")?.get(..8)?;
        (digits == self.digits::<4>(&["canary"])).then_some(Trap::RobotsCanary)
    }

    /// Is the part below the mount a style sheet that we offered?
    pub(crate) fn is_beacon(&self, own: &str, host: &str) -> bool {
        let digits = own.strip_prefix("/b/").and_then(|rest| rest.strip_suffix(".css"));
        digits
            .and_then(|digits| Some((digits.get(..8)?, digits.get(8..)?)))
            .is_some_and(|(nonce, mac)| mac == self.digits::<4>(&["beacon", nonce, host]))
    }

    fn digits<const N: usize>(&self, parts: &[&str]) -> String {
        let joined = parts.join("\0");
        HEXLOWER.encode(&self.key.tag(&[joined.as_bytes()])[..N])
    }
}

/// The UTC day, so many days ago.
fn day(now: Duration, ago: u64) -> String {
    (now.as_secs() / DAY).saturating_sub(ago).to_string()
}

impl std::fmt::Debug for TrapPaths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrapPaths")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_known_again_for_their_time_and_host() {
        let paths = TrapPaths::new(&Secrets::parse(&("01".repeat(31) + "02")).unwrap());
        let at = |days: u64| Duration::from_secs(days * DAY + 60);
        let link = paths.link("a.example", at(100));
        assert_eq!(link.len(), "/t/".len() + 16);
        let trap = |host, days| paths.trap("/x", Some(&link), host, at(days));
        assert_eq!((trap("a.example", 100), trap("a.example", 101)), (Some(Trap::HoneyLink), Some(Trap::HoneyLink)));
        assert_eq!((trap("a.example", 102), trap("b.example", 100)), (None, None));
        let canary = paths.canary();
        let deep = format!("{canary}2019/05/");
        assert_eq!(paths.trap(&deep, None, "a.example", at(0)), Some(Trap::RobotsCanary));
        assert_eq!(paths.trap("/archive-00000000/", None, "a.example", at(0)), None);
        assert_eq!(paths.trap("/archive-é", None, "a.example", at(0)), None);
        let beacon = paths.beacon("a.example");
        assert!(paths.is_beacon(&beacon, "a.example") && !paths.is_beacon(&beacon, "b.example"));
        assert!(!paths.is_beacon("/b/.css", "a.example") && !paths.is_beacon("/b/0000000000000000.css", "a.example"));
        assert_ne!(beacon, paths.beacon("a.example"));
    }
}
