//! Is a robot what it says? What its operator publishes about it ([`published`](super::published)) proves it or denies it, a
//! signature does, or the DNS where the operator asks for that.
//!
//! With feature `verify-dns`, an agent whose operator names the domains that it asks from is looked up where the list does
//! not prove it. It is a liar only if neither proves it: a list that denies it alone waits for the DNS.

use std::net::IpAddr;

#[cfg(feature = "verify-dns")]
use super::dns::DnsAnswer;
#[cfg(feature = "web-bot-auth")]
use super::signature::Outcome;

/// How far a claim to be some agent is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verification {
    /// No claim that could be checked.
    None,
    /// A claim without a way to check it.
    Unverifiable,
    /// Checked and true.
    Verified,
    /// Checked and false.
    Failed,
    /// It could not be checked now: the list is too old, or the DNS did not say.
    Error,
    /// It is being checked, and that has only begun: nothing is held against it.
    Pending,
}

impl Verification {
    /// Reads the stable spelling.
    pub fn from_code(code: &str) -> Option<Self> {
        let all = [Self::None, Self::Unverifiable, Self::Verified, Self::Failed, Self::Error, Self::Pending];
        all.into_iter().find(|state| state.code() == code)
    }

    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unverifiable => "unverifiable",
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Pending => "pending",
        }
    }
}

/// How a claim was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// The operator's published address ranges.
    Range,
    /// Forward-confirmed reverse DNS.
    Dns,
    /// A signature of the operator's (RFC 9421).
    Signature,
}

impl Method {
    /// The stable spelling.
    pub fn code(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Dns => "dns",
            Self::Signature => "signature",
        }
    }
}

/// How far a claim is proven, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) state: Verification,
    pub(super) method: Option<Method>,
    /// Days since the list was made.
    pub(super) age: Option<u32>,
    /// It is proven, and reads for an index of a search engine.
    pub(super) indexer: bool,
    /// The address is in the list, which is too old to prove it.
    pub(super) listed: bool,
}

impl Proof {
    pub(super) fn unproven(state: Verification) -> Self {
        Self { state, method: None, age: None, indexer: false, listed: false }
    }

    /// A signature that holds is the strongest proof. `indexer`: who signed reads for an index.
    #[cfg(feature = "web-bot-auth")]
    pub(super) fn signed(indexer: bool) -> Self {
        Self { method: Some(Method::Signature), indexer, ..Self::unproven(Verification::Verified) }
    }

    /// With a signature that does not hold. Whoever asks from the operator's own network is the operator: a proxy on the
    /// way may have broken the signature. Whom an address disproves, no signature that cannot be judged makes better.
    #[cfg(feature = "web-bot-auth")]
    pub(super) fn with_bad_signature(self, outcome: Outcome) -> Self {
        match (outcome, self.state) {
            (_, Verification::Verified | Verification::Failed) => self,
            (Outcome::Failed, _) => Self { method: Some(Method::Signature), ..Self::unproven(Verification::Failed) },
            (Outcome::Unverifiable, Verification::None) => Self::unproven(Verification::Unverifiable),
            (Outcome::Unverifiable, _) => self,
        }
    }

    /// Where the ranges prove nothing: what follows together with the DNS. `indexer`: it reads for an index, if it is what
    /// it says.
    #[cfg(feature = "verify-dns")]
    pub(super) fn with_dns(self, answer: DnsAnswer, indexer: bool) -> Self {
        let by_dns = |state| Self { method: Some(Method::Dns), ..Self::unproven(state) };
        match answer {
            DnsAnswer::Verified => Self { indexer, ..by_dns(Verification::Verified) },
            // One of the two is wrong.
            DnsAnswer::Failed if self.listed => self,
            DnsAnswer::Failed => by_dns(Verification::Failed),
            DnsAnswer::Error => by_dns(Verification::Error),
            DnsAnswer::Pending { grace: true } => Self::unproven(Verification::Pending),
            DnsAnswer::Pending { grace: false } => Self::unproven(Verification::Unverifiable),
        }
    }
}

/// An address of the open net, which no translator has made (RFC 6890, RFC 6598, RFC 6052).
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || shared
                || a == 0)
        }
        IpAddr::V6(ip) => {
            let start = ip.segments();
            let translated = start[0] == 0x64 && start[1] == 0xff9b;
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || translated)
        }
    }
}
