//! [`State`]: what is remembered about visitors, in tables of fixed size, taken once.
//!
//! | table | geometry at size `medium` | bytes |
//! |---|---|---|
//! | limiter cells ([`cells`](super::cells)) | 98,304 sets of 8 words | 6,291,456 |
//! | visitors (`records.rs`) | 8,192 sets of 16 records of 128 bytes, 120 before them | 17,760,256 |
//! | networks (`networks.rs`) | 4,096 sets of 8 records of 64 bytes, 56 before them | 2,326,528 |
//! | makes of clients (`cohorts.rs`) | 1,024 sets of 8 records of 64 bytes, 56 before them | 581,632 |
//! | used challenges (`spent.rs`) | two filters of 262,144 bytes | 524,288 |
//! | what paths answer (`paths.rs`) | 65,536 words | 524,288 |
//! | how often paths are asked for (`paths.rs`) | 4 × 65,536 counters of 2 bytes | 524,288 |
//!
//! A lock is held for one read-modify-write, never across an await. A set that is busy is skipped: the request is judged
//! without history (`degraded`).

mod cohorts;
pub(crate) mod distinct;
mod marks;
mod networks;
mod paths;
pub(crate) mod records;
mod sets;
mod spent;
mod standing;
mod valve;

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::cells::{CellKey, CellStore};
#[cfg(feature = "redis")]
use super::score::decay;
#[cfg(feature = "redis")]
use super::shared::PerGroup;
use super::shared::{Names, Shared};
#[cfg(feature = "redis")]
use super::signals::Group;
use crate::clock::SharedClock;
use crate::visitor::Visitor;
use cohorts::Cohorts;
pub(crate) use cohorts::{Alarm, CohortStep};
use networks::Networks;
pub(crate) use networks::{Crowd, Neighbourhood, Step as NetStep};
pub(crate) use paths::PathKind;
use paths::{PathHeat, PathKinds};
use records::Records;
pub(crate) use records::{OFFENDER, Record, flag};
use spent::Spent;
pub(crate) use standing::{Standings, bit};
pub(crate) use valve::{Opened, Valve};

/// Seconds within which challenges are those of one moment.
const TOGETHER: u32 = 4;
/// Seconds without challenges.
const SPARED: u32 = 1_800;

/// 128 bits of the system's randomness.
fn random_key() -> [u8; 16] {
    let halves = [RandomState::new().hash_one(0u8), RandomState::new().hash_one(1u8)];
    let mut key = [0; 16];
    for (bytes, half) in key.chunks_mut(8).zip(halves) {
        bytes.copy_from_slice(&half.to_le_bytes());
    }
    key
}

/// Section `[suspicion.state]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateSettings {
    /// A quarter, all, or four times of 27 MiB.
    pub size: StateSize,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateSize {
    /// 6.8 MiB.
    Small,
    /// 27 MiB.
    #[default]
    Medium,
    /// 109 MiB.
    Large,
}

impl StateSize {
    fn of(self, medium: usize) -> usize {
        match self {
            Self::Small => medium / 4,
            Self::Medium => medium,
            Self::Large => medium * 4,
        }
    }
}

/// A point in time on the clock's `elapsed`, in sixteenths of a second; comes round in eight years.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    pub(crate) fn of(elapsed: Duration) -> Self {
        Self((elapsed.as_millis() as u64 * 16 / 1_000) as u32)
    }

    pub(crate) fn seconds(self) -> u32 {
        self.0 / 16
    }

    pub(crate) fn hour(self) -> u32 {
        self.seconds() / 3_600
    }

    pub(crate) fn seconds_since(self, then: Self) -> u32 {
        self.0.saturating_sub(then.0) / 16
    }

    pub(crate) fn ms_since(self, then: Self) -> u64 {
        u64::from(self.0.saturating_sub(then.0)) * 1_000 / 16
    }

    pub(crate) fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(16)))
    }
}

/// Under which keys a visitor is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    pub(crate) address: CellKey,
    /// The sub-identity, even where its network is judged as one.
    pub(crate) own: CellKey,
    /// Address, `User-Agent`, `Accept-Language` and `Sec-CH-UA`, or what the application says.
    pub(crate) sub: CellKey,
    pub(crate) pass: Option<CellKey>,
    pub(crate) net: (CellKey, Crowd),
    /// IPv6 only.
    pub(crate) wide: Option<CellKey>,
    /// The make of the client, of browsers only.
    pub(crate) make: Option<CellKey>,
    /// Under which names the other processes know it; none for readers in good standing.
    pub(crate) shared: Option<Names>,
}

/// The tables of one site.
pub struct State {
    cells: Arc<CellStore>,
    records: Records,
    networks: Networks,
    cohorts: Cohorts,
    spent: Spent,
    kinds: PathKinds,
    heat: PathHeat,
    pub(crate) standings: Standings,
    pub(crate) valve: Valve,
    shared: OnceLock<Shared>,
    key: [u8; 16],
    clock: SharedClock,
    started: Duration,
}

impl State {
    /// Empty tables of size `medium`; all memory is taken here.
    pub fn new(clock: SharedClock) -> Self {
        Self::with_size(clock, StateSize::Medium)
    }

    /// Empty tables; all memory is taken here.
    pub fn with_size(clock: SharedClock, size: StateSize) -> Self {
        Self {
            cells: Arc::new(CellStore::new(size.of(CellStore::DEFAULT_SETS))),
            records: Records::new(size.of(8_192)),
            networks: Networks::new(size.of(4_096)),
            cohorts: Cohorts::new(size.of(1_024)),
            spent: Spent::new(size.of(262_144 / 8)),
            kinds: PathKinds::new(size.of(65_536)),
            heat: PathHeat::new(size.of(65_536)),
            standings: Standings::new(),
            valve: Valve::new(),
            shared: OnceLock::new(),
            key: random_key(),
            started: clock.elapsed(),
            clock,
        }
    }

    /// Places visitors in the tables by this key instead of a random one, so that equal requests are judged alike in each
    /// run: for simulations. Whoever knows the key can choose visitors that push others out.
    #[must_use]
    pub fn keyed(mut self, key: [u8; 16]) -> Self {
        self.key = key;
        self
    }

    fn hash(&self, value: impl Hash) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// Bytes of all tables; locks come on top, 100 KiB at size `medium`.
    pub fn bytes(&self) -> usize {
        self.cells.bytes()
            + self.records.bytes()
            + self.networks.bytes()
            + self.cohorts.bytes()
            + self.spent.bytes()
            + self.kinds.bytes()
            + self.heat.bytes()
    }

    /// The cells that all quotas share.
    pub(crate) fn cells(&self) -> &Arc<CellStore> {
        &self.cells
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Time since the tables were made.
    pub(crate) fn uptime(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.started)
    }

    /// The store that processes share, if there is one.
    pub(crate) fn shared(&self) -> Option<&Shared> {
        self.shared.get()
    }

    /// Once; the worker of a second one ends with its handle.
    pub(crate) fn set_shared(&self, shared: Shared) {
        let _ = self.shared.set(shared);
    }

    /// Points that other processes know of: the higher ones count.
    #[cfg(feature = "redis")]
    pub(crate) fn raise(&self, key: CellKey, [rate, behaviour, trap, credit]: PerGroup) {
        let now = self.now();
        self.records.amend(key, |record| {
            let since = now.ms_since(record.decay_at);
            record.rate = decay(Group::Rate, record.rate, now.ms_since(record.rate_at)).max(rate);
            record.behaviour = decay(Group::Behaviour, record.behaviour, since).max(behaviour);
            record.trap = decay(Group::Trap, record.trap, since).max(trap);
            record.credit = decay(Group::Credit, record.credit, since).max(credit);
            // Of an address; it keeps its time together with the others.
            record.network = decay(Group::Network, record.network, since);
            (record.rate_at, record.decay_at) = (now, now);
        });
    }

    pub(crate) fn now(&self) -> Tick {
        Tick::of(self.clock.elapsed())
    }

    /// The keys of a visitor. No address, no keys.
    pub(crate) fn keys(&self, visitor: &Visitor) -> Option<Keys> {
        let address = visitor.address.client()?;
        let net = visitor.address.net()?;
        let wide = visitor.address.wide().filter(|wide| matches!(wide, IpNet::V6(_)));
        let crowd = if wide.is_some() { Crowd::V6 } else { Crowd::V4 };
        let own = CellKey(self.hash((1u8, &*visitor.key.0)));
        let key = |kind: u8, net: IpNet| CellKey(self.hash((kind, net)));
        Some(Keys {
            address: key(0, address),
            own,
            sub: own,
            pass: visitor.pass.map(|pass| CellKey(self.hash((4u8, pass.id)))),
            net: (key(5, net), crowd),
            wide: wide.map(|wide| key(6, wide)),
            make: None,
            shared: None,
        })
    }

    /// The key of a robot that is what it says.
    pub(crate) fn agent_key(&self, name: &str) -> CellKey {
        CellKey(self.hash((2u8, name)))
    }

    /// The key of whoever says so from one network: an impostor spends the quota of its neighbours, not the robot's.
    pub(crate) fn claimed_agent_key(&self, name: &str, net: CellKey) -> CellKey {
        CellKey(self.hash((7u8, name, net.0)))
    }

    /// The key of a make: names of header fields, `User-Agent` and languages.
    pub(crate) fn make_key(&self, names: u32, agent: &[u8], languages: &[u8]) -> CellKey {
        CellKey(self.hash((10u8, names, agent, languages)))
    }

    /// Reads and changes one record under its lock. `None`: the set is busy.
    pub(crate) fn with_record<T>(&self, key: CellKey, f: impl FnOnce(&mut Record, bool) -> T) -> Option<T> {
        self.with_record_at(key, self.now(), f)
    }

    /// The same at a time that was read before.
    pub(crate) fn with_record_at<T>(
        &self,
        key: CellKey,
        now: Tick,
        f: impl FnOnce(&mut Record, bool) -> T,
    ) -> Option<T> {
        self.records.with(key, now, f)
    }

    /// What the networks of a visitor say about it.
    pub(crate) fn neighbourhood(
        &self,
        keys: &Keys,
        page: bool,
        with_assets: bool,
        now: Tick,
    ) -> (Neighbourhood, Option<CellKey>) {
        let step = |crowd| NetStep { member: keys.address.0, page, with_assets, crowd };
        let (net, crowd) = keys.net;
        let near = self.networks.step(net, now, step(crowd));
        let wide = keys.wide.map(|wide| (wide, self.networks.step(wide, now, step(Crowd::Wide))));
        let collapsed = wide.filter(|(_, of)| of.collapsed).map(|(wide, _)| wide).or(near.collapsed.then_some(net));
        (near, collapsed)
    }

    /// A sub-identity has fetched its first asset, after so many pages.
    pub(crate) fn credit_pages(&self, keys: &Keys, pages: u16) {
        for net in std::iter::once(keys.net.0).chain(keys.wide) {
            self.networks.credit(net, self.now(), pages);
        }
        if let Some(make) = keys.make {
            self.cohorts.credit(make, self.now(), pages);
        }
    }

    /// A page of a client of some make.
    pub(crate) fn note_make(&self, make: CellKey, step: CohortStep, now: Tick) -> Alarm {
        self.cohorts.step(make, now, step)
    }

    /// Whoever it is has become an offender.
    pub(crate) fn note_offender(&self, keys: &Keys) {
        self.networks.note_offender(keys.net.0, self.now(), keys.sub.0);
    }

    /// A refusal was carried out: requests before `wait` is over are noted.
    pub(crate) fn note_refusal(&self, client: CellKey, wait: Duration) {
        let now = self.now();
        self.with_record(client, |record, _| {
            if record.wait_until < now {
                record.refused_in_wait = 0;
                record.flags &= !flag::CHARGED;
            }
            record.wait_until = record.wait_until.max(now.plus_seconds(wait.as_secs() as u32));
        });
    }

    /// A challenge goes out to this sub-identity. Those of one moment count as one: tabs that are opened together.
    pub(crate) fn note_challenge(&self, sub: CellKey) {
        let now = self.now();
        self.with_record(sub, |record, _| {
            if record.issued == 0 || now.seconds_since(record.spared_until) >= TOGETHER {
                record.issued = record.issued.saturating_add(1);
            }
            record.spared_until = record.spared_until.max(now);
        });
    }

    /// A challenge was passed.
    pub(crate) fn forget_challenges(&self, sub: CellKey) {
        self.with_record(sub, |record, _| record.issued = 0);
    }

    /// Challenges lead nowhere for this sub-identity: none for half an hour.
    pub(crate) fn spare(&self, sub: CellKey) {
        let until = self.now().plus_seconds(SPARED);
        self.with_record(sub, |record, _| (record.spared_until, record.issued) = (until, 0));
    }

    /// Marks a challenge as used. `false`: it was used before.
    pub(crate) fn spend(&self, nonce: &[u8; 12]) -> bool {
        let id = [self.hash((8u8, nonce)), self.hash((9u8, nonce))];
        self.spent.spend(id, self.now())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("bytes", &self.bytes()).field("cells", &self.cells).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn key(i: u64) -> CellKey {
        CellKey(i.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn flood(state: &State) {
        for i in 0..1_000_000u64 {
            state.with_record(key(i), |r, _| r.pages = 1);
        }
    }

    #[test]
    fn the_tables_have_the_stated_size() {
        assert_eq!(size_of::<Record>(), 128);
        let state = State::new(ManualClock::at(0));
        assert_eq!(state.bytes(), 28_532_736);
        flood(&state);
        assert_eq!(state.bytes(), 28_532_736);
        assert_eq!(State::with_size(ManualClock::at(0), StateSize::Small).bytes(), 28_532_736 / 4);
    }

    #[test]
    fn a_flood_of_newcomers_forgets_neither_readers_nor_offenders() {
        let clock = ManualClock::at(0);
        let state = State::new(clock.clone());
        let readers: Vec<CellKey> = (1..=1_000u64).map(|i| CellKey(i.wrapping_mul(0xD6E8_FEB8_6659_FD93))).collect();
        let offenders: Vec<CellKey> = (1..=100u64).map(|i| CellKey(i.wrapping_mul(0xC2B2_AE3D_27D4_EB4F))).collect();
        for key in &readers {
            state.with_record(*key, |r, _| r.flags |= flag::PROTECTED);
        }
        for key in &offenders {
            state.with_record(*key, |r, _| r.last_score = 80);
        }
        flood(&state);
        let kept = |keys: &[CellKey]| {
            keys.iter().filter(|key| state.with_record(**key, |_, known| known) == Some(true)).count()
        };
        assert!(kept(&readers) >= 990 && kept(&offenders) >= 99, "{} {}", kept(&readers), kept(&offenders));
    }

    #[test]
    fn whoever_is_protected_yields_after_an_hour_only() {
        let clock = ManualClock::at(0);
        let state = State::with_size(clock.clone(), StateSize::Small);
        // All in one set: the index is that of the high bits.
        let reader = |i: u64| CellKey(0x7777_0000_0000_0000 | i);
        let protect = |i: u64| state.with_record(reader(i), |r, _| r.flags |= flag::PROTECTED);
        (1..=5).for_each(|i| _ = protect(i));
        let newcomers = || (100..130u64).for_each(|i| _ = state.with_record(reader(i), |_, _| ()));
        let known = |i: u64| state.with_record(reader(i), |_, known| known) == Some(true);
        newcomers();
        assert!((1..=4).all(known), "four places");
        clock.advance(Duration::from_secs(3_601));
        protect(6);
        newcomers();
        assert!(known(6), "an hour later one of them makes room");
    }

    #[test]
    fn counters_are_halved_by_the_hour() {
        let clock = ManualClock::at(0);
        let state = State::new(clock.clone());
        state.with_record(key(5), |r, _| (r.pages, r.assets, r.beacons) = (9, 1, 1));
        clock.advance(Duration::from_secs(2 * 3_600));
        let aged = state.with_record(key(5), |r, _| (r.pages, r.assets, r.beacons));
        assert_eq!(aged, Some((2, 1, 1)), "that there were assets is not forgotten");
    }

    #[test]
    #[cfg(feature = "redis")]
    fn what_others_know_raises_and_lowers_nothing() {
        let state = State::new(ManualClock::at(0));
        state.with_record(key(5), |record, _| record.trap = 10.0);
        state.raise(key(5), [1.0, 2.0, 40.0, 0.0]);
        state.raise(key(5), [0.0, 0.0, 5.0, 0.0]);
        let now = state.with_record(key(5), |record, _| (record.rate, record.behaviour, record.trap)).unwrap();
        assert_eq!(now, (1.0, 2.0, 40.0));
        state.raise(key(6), [9.0; 4]);
        assert_eq!(state.with_record(key(6), |_, known| known), Some(false));
    }

    #[test]
    fn a_busy_set_is_skipped() {
        let state = State::new(ManualClock::at(0));
        let inside = state.with_record(CellKey(5), |_, _| state.with_record(CellKey(5), |_, _| ()));
        assert_eq!(inside, Some(None));
    }
}
