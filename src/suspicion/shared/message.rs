//! What is told to the store, and about whom.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use crate::secret::hmac_sha256;
use crate::suspicion::cells::CellKey;
use crate::suspicion::{Group, Quota, Width};

/// The groups whose points are shared. The store numbers them in this order, so it never changes.
pub(crate) const GROUPS: [Group; 4] = [Group::Rate, Group::Behaviour, Group::Trap, Group::Credit];

/// One number for each of [`GROUPS`].
pub(crate) type PerGroup = [f32; GROUPS.len()];

/// Whom a key stands for, in words that mean the same in all processes. (The keys of the tables do not: they are hashed
/// anew in each process.)
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'v> {
    /// All behind an address.
    Address(IpNet),
    /// A network that is treated as one visitor.
    Network(IpNet),
    /// A sub-identity, by the bytes of its key.
    Visitor(&'v [u8]),
    /// Who holds this pass.
    Pass([u8; 8]),
    /// A robot that is what it says.
    Agent(&'v str),
}

/// The name of a subject in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Name(u64);

impl Name {
    /// The first 64 bits of a keyed hash: whoever reads the store finds nobody by it.
    pub(super) fn of(key: &[u8; 32], subject: Subject<'_>) -> Self {
        let net = |net: IpNet| Cow::from(net.to_string().into_bytes());
        let (kind, whose) = match subject {
            Subject::Address(address) => (b'a', net(address)),
            Subject::Network(network) => (b'n', net(network)),
            Subject::Visitor(bytes) => (b'v', Cow::from(bytes)),
            Subject::Pass(id) => (b'p', Cow::from(id.to_vec())),
            Subject::Agent(name) => (b'g', Cow::from(name.as_bytes())),
        };
        let hash = hmac_sha256(key, &[&[kind, 0], &whose]);
        Self(hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The names of one visitor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// Of whom the quotas are.
    pub(crate) client: Name,
    /// Of whom the conduct is.
    pub(crate) sub: Name,
}

/// Bursts that may be owed: one, and eight that several processes gave before they heard of each other. `gcra.lua` has the
/// same bound.
const MOST_BURSTS: u32 = 9;

/// Cells that this process has given out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Debit {
    limiter: &'static str,
    width: Width,
    quota: Quota,
    cost: NonZeroU32,
    /// Where this process counts the same.
    pub(super) cell: CellKey,
}

impl Debit {
    pub(crate) fn new(limiter: &'static str, quota: Quota, cost: NonZeroU32, cell: CellKey) -> Self {
        Self { limiter, width: Width::One, quota, cost, cell }
    }

    /// By a limiter that is as wide as that; each width is counted on its own, as it is here.
    pub(crate) fn at(self, width: Width) -> Self {
        Self { width, ..self }
    }

    /// The braces keep all keys of one visitor together.
    pub(super) fn key(&self, name: Name) -> String {
        match self.width {
            Width::One => format!("dk1:{{{name}}}:l:{}", self.limiter),
            width => format!("dk1:{{{name}}}:l:{}:{}", self.limiter, width as u8),
        }
    }

    /// Time for one cell in µs, cells at once, cells now.
    pub(super) fn arguments(&self) -> (u64, u32, u32) {
        let every = self.quota.every.0.as_micros().max(1);
        (u64::try_from(every).unwrap_or(u64::MAX), self.quota.burst.get(), self.cost.get())
    }

    /// No quota of this process is in debt for longer, whatever another process has set for its own.
    pub(super) fn longest(&self) -> Duration {
        self.quota.every.0.saturating_mul(self.quota.burst.get().saturating_mul(MOST_BURSTS))
    }
}

/// What has become known of one visitor since the last time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gain {
    /// Points for what is true; told twice it counts once.
    pub(crate) level: PerGroup,
    /// Points for what has happened.
    pub(crate) added: PerGroup,
    /// Most points.
    pub(crate) most: PerGroup,
    /// Where this process remembers the same.
    pub(crate) record: CellKey,
    /// This process has not asked about the visitor before, and wants to know at once.
    pub(crate) first: bool,
}

impl Gain {
    /// What a later request has brought, on top.
    pub(super) fn add(&mut self, later: &Self) {
        for (level, more) in self.level.iter_mut().zip(later.level) {
            *level = level.max(more);
        }
        for (added, more) in self.added.iter_mut().zip(later.added) {
            *added += more;
        }
        *self = Self { most: later.most, record: later.record, first: self.first || later.first, ..*self };
    }

    /// Nothing that another process could not know as well.
    pub(super) fn is_empty(&self) -> bool {
        self.added.iter().all(|points| *points <= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn key() -> [u8; 32] {
        Secret::new(1, &(0..32).collect::<Vec<u8>>()).unwrap().derive("deckle-shared-1", "key")
    }

    fn address(text: &str) -> Subject<'static> {
        Subject::Address(text.parse().unwrap())
    }

    #[test]
    fn names_are_keyed_hashes() {
        // Computed with Python's hmac module.
        assert_eq!(Name::of(&key(), address("203.0.113.9/32")).to_string(), "6545666c8b2fc5c7");
        let visitor = Subject::Visitor(b"203.0.113.9/32\0curl/8.5.0\0\0");
        assert_eq!(Name::of(&key(), visitor).to_string(), "bae1628d130b12de");
        assert_ne!(Name::of(&[7; 32], visitor), Name::of(&key(), visitor), "another secret, another name");
    }

    #[test]
    fn kinds_stay_apart() {
        let net: IpNet = "203.0.113.0/24".parse().unwrap();
        let id = *b"01234567";
        let all = [
            Subject::Address(net),
            Subject::Network(net),
            Subject::Visitor(&id),
            Subject::Pass(id),
            Subject::Agent("01234567"),
        ];
        let names: std::collections::HashSet<Name> = all.map(|subject| Name::of(&key(), subject)).into();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn a_debit_says_where_and_how_much() {
        let name = Name::of(&key(), address("203.0.113.9/32"));
        let debit = Debit::new("page_hard", Quota::new(500, 120), NonZeroU32::MIN, CellKey(3));
        assert_eq!(debit.key(name), format!("dk1:{{{name}}}:l:page_hard"));
        assert_eq!(debit.at(Width::Many).key(name), format!("dk1:{{{name}}}:l:page_hard:2"));
        assert_eq!(debit.arguments(), (500_000, 120, 1));
        assert_eq!(debit.longest(), Duration::from_secs(9 * 60));
    }

    #[test]
    fn what_is_true_counts_once_and_what_happens_adds_up() {
        let gain = |level, added, first| Gain {
            level: [level; 4],
            added: [added; 4],
            most: [30.0; 4],
            record: CellKey(1),
            first,
        };
        let mut sum = gain(15.0, 6.0, true);
        sum.add(&gain(15.0, 6.0, false));
        sum.add(&gain(8.0, 0.0, false));
        assert_eq!((sum.level[0], sum.added[0], sum.first), (15.0, 12.0, true));
        assert!(gain(15.0, 0.0, false).is_empty() && !sum.is_empty());
    }
}
