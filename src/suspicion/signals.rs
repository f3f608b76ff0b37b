//! The signals, one variant each, with their weights and stable codes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::visitor::{Category, Verification};

/// Groups of signals; each is capped on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Group {
    /// What the visitor claims to be.
    Claim,
    /// Headers that contradict each other or the claim.
    Headers,
    /// Where it asks from.
    Network,
    /// How fast it takes pages.
    Rate,
    /// How it moves through the site.
    Behaviour,
    /// What only a program finds.
    Trap,
    /// What speaks for it; taken off.
    Credit,
}

const MINUTE: u32 = 60;
const DAY: u32 = 86_400;

impl Group {
    /// All groups, in the order of their evidence.
    pub const ALL: [Self; 7] =
        [Self::Claim, Self::Headers, Self::Network, Self::Rate, Self::Behaviour, Self::Trap, Self::Credit];

    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Headers => "headers",
            Self::Network => "network",
            Self::Rate => "rate",
            Self::Behaviour => "behaviour",
            Self::Trap => "trap",
            Self::Credit => "credit",
        }
    }

    /// Most points of the group, unless the configuration says otherwise.
    pub fn cap(self) -> u8 {
        match self {
            Self::Claim => 60,
            Self::Headers => 25,
            Self::Network => 20,
            Self::Rate => 30,
            Self::Behaviour => 50,
            Self::Trap => 100,
            Self::Credit => 40,
        }
    }

    /// Seconds after which half of the points are left. Claim and headers are judged anew with each request.
    pub fn half_life(self) -> Option<u32> {
        match self {
            Self::Claim | Self::Headers => None,
            Self::Network => Some(60 * MINUTE),
            Self::Rate => Some(5 * MINUTE),
            Self::Behaviour => Some(30 * MINUTE),
            Self::Trap | Self::Credit => Some(DAY),
        }
    }
}

/// What makes a signal count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It counts while it is true.
    Level,
    /// It adds its points each time it happens.
    Event,
}

macro_rules! signals {
    ($($(#[doc = $doc:literal])+ $name:ident $code:literal $group:ident $kind:ident $weight:literal,)+) => {
        /// One piece of evidence. The order is that of the codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Signal {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Signal {
            /// All signals, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Their codes.
            const CODES: &'static [&'static str] = &[$($code,)+];

            /// The stable spelling.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The group it belongs to.
            pub const fn group(self) -> Group {
                match self { $(Self::$name => Group::$group,)+ }
            }

            /// What makes it count.
            pub fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }

            /// Points, unless the configuration says otherwise.
            pub fn weight(self) -> u8 {
                match self { $(Self::$name => $weight,)+ }
            }
        }
    };
}

signals! {
    /// A browser that accepts anything, for a navigation.
    AcceptAny "accept_any" Headers Level 4,
    /// Eight sub-identities or more on one address within ten minutes, four times as many as are proven.
    AgentRotation "agent_rotation" Behaviour Level 26,
    /// Twelve or more articles in a row, with no front or section page between.
    ArticleRun "article_run" Behaviour Level 8,
    /// Three pages or more with assets over ten minutes or more.
    AssetsSeen "assets_seen" Credit Level 15,
    /// 60 different pages or more within the hour; 180 or more count twice.
    Breadth "breadth" Behaviour Level 8,
    /// Eight or more different queries with an unknown parameter on one path.
    CacheBusting "cache_busting" Behaviour Level 8,
    /// Says that it is a robot that it is not.
    ClaimFailed "claim_failed" Claim Level 60,
    /// Looks like a robot that is in no table.
    ClaimGeneric "claim_generic" Claim Level 20,
    /// Says that it is an automated browser.
    ClaimHeadless "claim_headless" Claim Level 40,
    /// Says that it is an HTTP library or a download tool.
    ClaimLibrary "claim_library" Claim Level 25,
    /// Says nothing.
    ClaimNoAgent "claim_no_agent" Claim Level 20,
    /// Says that it is a scanner.
    ClaimScanner "claim_scanner" Claim Level 40,
    /// Says that it is a crawler of a kind that cannot be checked.
    ClaimUnverifiable "claim_unverifiable" Claim Level 15,
    /// `Sec-CH-UA` of a browser that does not send it.
    ClientHintsForeign "client_hints_foreign" Headers Level 12,
    /// `Sec-CH-UA-Platform` or `-Mobile` contradicts the `User-Agent`.
    ClientHintsPlatform "client_hints_platform" Headers Level 12,
    /// `Sec-CH-UA` names another version than the `User-Agent`.
    ClientHintsVersion "client_hints_version" Headers Level 12,
    /// A browser that asks from a data centre.
    CloudAddress "cloud_address" Network Level 8,
    /// One of many of the same make on as many addresses, none of whom fetches what browsers fetch; from its second page on.
    Cohort "cohort" Behaviour Level 10,
    /// A conditional request that was answered 304.
    ConditionalOk "conditional_ok" Credit Event 2,
    /// Five or more deep pages that few others read, each without a referrer.
    DeepDirect "deep_direct" Behaviour Level 6,
    /// A path that only those ask for who look for holes.
    ExploitProbe "exploit_probe" Trap Event 40,
    /// `Sec-Fetch-*` in a combination that no browser sends.
    FetchMetadataImpossible "fetch_metadata_impossible" Headers Level 8,
    /// A browser that asks to change to HTTP/2 in clear text.
    H2cUpgrade "h2c_upgrade" Headers Level 15,
    /// A header twice that may stand once.
    HeaderConflict "header_conflict" Headers Level 3,
    /// A page asked for by a link that only programs see.
    HoneyLink "honey_link" Trap Event 70,
    /// A browser that speaks HTTP/1.0.
    HttpVersion "http_version" Headers Level 4,
    /// Five or more pages while it was asked to wait.
    IgnoredRetryAfter "ignored_retry_after" Rate Event 10,
    /// A browser whose TLS greeting is that of a library, as a trusted proxy says.
    Ja4Mismatch "ja4_mismatch" Headers Level 12,
    /// A quota of the network was used up.
    NetLimit "net_limit" Network Event 8,
    /// A browser without `Accept` or `Accept-Encoding`.
    NoAccept "no_accept" Headers Level 8,
    /// A browser without `Accept-Language`.
    NoAcceptLanguage "no_accept_language" Headers Level 6,
    /// Claims a browser, read six pages or more in more than 2 s (or 41 in less), and fetched no asset.
    NoAssets "no_assets" Behaviour Level 20,
    /// Was offered ten style sheets of ours or more, and fetched none, nor any other asset.
    NoBeacon "no_beacon" Behaviour Level 15,
    /// A browser of the Chromium family without `Sec-CH-UA`, over HTTPS.
    ClientHintsMissing "no_client_hints" Headers Level 8,
    /// Came back 20 times or more to pages with an entity tag, and never asked whether they changed.
    NoConditional "no_conditional" Behaviour Level 6,
    /// A browser that should send `Sec-Fetch-*`, and does not, over HTTPS.
    NoFetchMetadata "no_fetch_metadata" Headers Level 8,
    /// More than a quarter of 20 pages or more were not there.
    NotFoundShare "not_found_share" Behaviour Level 10,
    /// Five or more offenders in the same network within the hour.
    OffenderNeighbours "offender_neighbours" Network Level 8,
    /// An old browser with headers that came later.
    OldBrowserNewHeaders "old_browser_new_headers" Headers Level 8,
    /// The quota of one page in 12 s was used up.
    PageHour "page_hour" Rate Event 10,
    /// The quota of one page in 3 s was used up.
    PageSoft "page_soft" Rate Event 6,
    /// Holds a valid pass.
    PassToken "pass_token" Credit Level 40,
    /// Eight gaps between pages or more, nearly equal.
    RegularGaps "regular_gaps" Behaviour Level 12,
    /// A path that stands in robots.txt alone.
    RobotsCanary "robots_canary" Trap Event 60,
    /// A robot that says so, on a path that robots.txt has forbidden to it for a day or more.
    RobotsDisallowed "robots_disallowed" Behaviour Event 10,
    /// Numbers or dates in paths, one after the other.
    SeqIds "seq_ids" Behaviour Level 10,
    /// One pass from eight networks or more within the hour, or under many names in one of them.
    TokenNetworks "token_networks" Behaviour Level 30,
    /// Another trap after the first.
    TrapRepeat "trap_repeat" Trap Event 30,
    /// Is what it says.
    VerifiedAgent "verified_agent" Credit Level 40,
}

impl Signal {
    /// The signal of this code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|signal| signal.code() == code)
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::of_code(&code).ok_or_else(|| de::Error::unknown_variant(&code, Self::CODES))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What the claim says, as far as it is proven.
pub(crate) fn claim(category: Category, verification: Verification) -> Option<Signal> {
    match verification {
        Verification::Verified | Verification::Pending => return None,
        Verification::Failed => return Some(Signal::ClaimFailed),
        _ => {}
    }
    Some(match category {
        Category::Headless => Signal::ClaimHeadless,
        Category::Scanner => Signal::ClaimScanner,
        Category::Library => Signal::ClaimLibrary,
        Category::UnknownBot => Signal::ClaimGeneric,
        Category::None => Signal::ClaimNoAgent,
        Category::AiTrain | Category::AiSearch | Category::AiUser | Category::Seo => Signal::ClaimUnverifiable,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_found_by_its_code() {
        for signal in Signal::ALL {
            assert_eq!(Signal::of_code(signal.code()), Some(*signal));
            assert!(signal.weight() <= signal.group().cap(), "{signal}");
        }
        assert_eq!(Signal::of_code("no_such"), None);
    }
}
