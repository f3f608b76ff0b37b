//! From one request to its [`Assessment`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::cells::CellKey;
use super::conduct;
use super::conduct::Step;
use super::headers::{self, Head};
use super::page::{Asked, PathView};
use super::score::{Points, Weights, cap_without_assets, in_order};
use super::shared::Told;
use super::signals::{self, Group};
use super::state::{self, Keys, Record, Tick, flag};
use super::width::{Widened, Width};
use super::{Assessment, Fired, Limiter, Settings, Signal, Signals, SoftQuotas, State, SuspicionError, limiter};
use crate::rights::RobotsMemory;
use crate::visitor::{Category, TrapForm, Verification, Visitor};

/// Seconds after which a pass makes good standing.
const PASS_AGE: u64 = 600;
/// Score from which pages carry our style sheet.
const SUSPECT: u8 = 20;

/// Judges requests against the tables.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) state: Arc<State>,
    pub(super) weights: Weights,
    /// Odd headers count something.
    weighs_headers: bool,
    beacon: super::Beacon,
    pub(super) links: Option<TrapForm>,
    pub(super) canary: bool,
    pub(super) page_soft: Widened,
    pub(super) page_hour: Widened,
    net_page: Limiter,
    wide_page: Limiter,
    prefetch: Limiter,
    /// Members of a cohort are challenged from their second page on.
    press_cohorts: bool,
    pub(super) robots: OnceLock<Arc<RobotsMemory>>,
}

/// What a signal counts, in halves of its points.
pub(super) const ONCE: u8 = 2;

/// What the record of a sub-identity says.
#[derive(Debug, Clone, Copy)]
struct View {
    record: Record,
    known: bool,
    revisit: bool,
    signals: [(Option<Signal>, u8); 10],
}

impl Judge {
    pub(crate) fn new(state: Arc<State>, settings: &Settings, quotas: SoftQuotas) -> Result<Self, SuspicionError> {
        let weights = Weights::new(&settings.score)?;
        Ok(Self {
            weighs_headers: weights.weighs(Group::Headers),
            weights,
            beacon: settings.beacon,
            links: settings.trap.links.then_some(settings.trap.form),
            canary: settings.trap.canary,
            page_soft: Widened::new(&state, quotas.page_soft, quotas.widths, 0),
            page_hour: Widened::new(&state, quotas.page_hour, quotas.widths, 1),
            net_page: limiter(&state, quotas.net_page, 100),
            wide_page: limiter(&state, quotas.wide_page, 101),
            prefetch: limiter(&state, quotas.prefetch, 102),
            press_cohorts: settings.cohort.challenge,
            robots: OnceLock::new(),
            state,
        })
    }

    pub(crate) fn assess(&self, visitor: &Visitor, head: Head<'_>) -> Assessment {
        let start = self.state.clock().elapsed();
        self.assess_known(visitor, head, (self.state.keys(visitor), self.path_view(&visitor.path)), start)
    }

    /// The same where these are known: the keys of the visitor, and what its path says.
    pub(super) fn assess_known(
        &self,
        visitor: &Visitor,
        head: Head<'_>,
        (keys, path): (Option<Keys>, PathView),
        start: Duration,
    ) -> Assessment {
        let shown = self.counts_as_page(visitor, head.method, keys.as_ref(), path.hash);
        // Ten a minute weigh nothing: what is asked ahead may never be read.
        let ahead = shown
            && visitor.prefetch
            && keys.as_ref().is_some_and(|keys| self.prefetch.check_key(&keys.address).is_ok());
        let page = shown && !ahead;
        let asked = Asked { page, path, now: start };
        let mut fired = self.of_the_head(visitor, head);
        let mut assessment = keys
            .and_then(|keys| self.with_history(visitor, head, asked, keys, &mut fired))
            .unwrap_or_else(|| self.without_history(&fired, keys.is_some()));
        assessment.prefetched = ahead;
        assessment.counts_as_page = page;
        assessment.path = Some(path.hash);
        assessment.offer_beacon = match self.beacon {
            super::Beacon::Off => false,
            super::Beacon::Suspect => assessment.score >= SUSPECT,
            super::Beacon::Always => true,
        } && page
            && visitor.verification != Verification::Verified;
        assessment.cut_off = self.state.shared().is_some_and(|shared| !shared.is_online());
        assessment.bucket = self.weights.bucket(assessment.score);
        assessment.took = self.state.clock().elapsed().saturating_sub(start);
        assessment
    }

    /// What the request alone says.
    fn of_the_head(&self, visitor: &Visitor, head: Head<'_>) -> Signals {
        let mut fired = Signals::new();
        let mut fire = |signal| self.fire(&mut fired, signal, ONCE);
        signals::claim(visitor.agent.category, visitor.verification).into_iter().for_each(&mut fire);
        if self.weighs_headers {
            headers::contradictions(visitor, head, &mut fire);
        }
        if visitor.verification == Verification::Verified {
            fire(Signal::VerifiedAgent);
        }
        if visitor.cloud && visitor.agent.category == Category::Browser {
            fire(Signal::CloudAddress);
        }
        fired
    }

    /// A signal counts so many halves of its points.
    pub(super) fn fire(&self, fired: &mut Signals, signal: Signal, halves: u8) {
        let points = (u16::from(self.weights.of(signal)) * u16::from(halves) / 2).min(255) as u8;
        let muted = || self.state.standings.is_muted(signal) || self.state.valve.is_muted(signal, || self.state.now());
        if points > 0 && !muted() {
            fired.push(Fired { signal, points });
        }
    }

    fn without_history(&self, fired: &[Fired], degraded: bool) -> Assessment {
        let of = |group| self.weights.group(group, 0.0, 0, fired);
        let points = Points {
            claim: of(Group::Claim),
            headers: of(Group::Headers),
            network: of(Group::Network),
            ..Points::default()
        };
        Assessment { score: points.score(), points, signals: in_order(fired.into()), degraded, ..Assessment::unknown() }
    }

    /// `None`: a table was busy.
    fn with_history(
        &self,
        visitor: &Visitor,
        head: Head<'_>,
        asked: Asked,
        keys: Keys,
        fired: &mut Signals,
    ) -> Option<Assessment> {
        let page = asked.page;
        let keys = Keys { make: self.make(visitor, head), ..keys };
        let step = self.step(visitor, head, asked);
        let mut view = self.count(keys.own, visitor, &step)?;
        let mine = view.record;
        let bare = view.record.assets == 0 && view.record.beacons == 0;
        let pass = self.pass(visitor, &keys, fired);
        let vouched = pass.credit.is_some();
        let protected = view.record.flags & flag::PROTECTED != 0 || vouched;
        let (near, collapsed) = self.state.neighbourhood(&keys, page, !bare, step.now);
        let cohort = self.cohort(&keys, &step, mine.pages, bare).filter(|_| !protected);
        let collapsed = collapsed.filter(|_| bare && !protected);
        if let Some(net) = collapsed {
            view = self.count(net, visitor, &step)?;
        }
        let keys = Keys { sub: collapsed.unwrap_or(keys.own), ..keys };
        let proven = conduct::is_proven(&view.record);
        let address = self.address(&keys, proven, page, step.now)?;
        for (signal, halves) in view.signals {
            if let Some(signal) = signal {
                self.fire(fired, signal, halves);
            }
        }
        if address.rotates && !protected {
            self.fire(fired, Signal::AgentRotation, if address.others > 0 { ONCE / 2 } else { ONCE });
        }
        if let Some(signal) = cohort {
            self.fire(fired, signal, ONCE);
        }
        if page && self.ignores_robots(visitor, head) {
            self.fire(fired, Signal::RobotsDisallowed, ONCE);
        }
        if near.offenders {
            self.fire(fired, Signal::OffenderNeighbours, ONCE);
        }
        if page && !protected && self.net_refuses(&keys) {
            self.fire(fired, Signal::NetLimit, ONCE);
        }
        let verified = visitor.verification == Verification::Verified;
        if visitor.trap.is_some() {
            let spared = visitor.prefetch || verified || headers::comes_from_elsewhere(head.headers);
            self.traps(visitor, &view.record, spared, fired);
        }
        // A pass that goes around has one quota still, wherever it is shown.
        let client = match keys.pass {
            Some(pass) => pass,
            None if collapsed.is_some() || proven => keys.sub,
            None => keys.address,
        };
        let width = if client == keys.address { address.width } else { Width::of(u32::from(view.record.cold.min(4))) };
        // Whoever shares the address' quota pays its price, under whatever name.
        let shared_price = if client == keys.address || !view.known { address.last_score } else { 0 };
        let last = view.record.last_score.max(shared_price).saturating_sub(pass.credit.unwrap_or(0));
        let paid = page.then(|| self.soft_refusals(client, last, width, fired));
        let rate = self.state.with_record_at(client, step.now, |record, _| {
            if conduct::ignores_wait(record, &step) {
                self.fire(fired, Signal::IgnoredRetryAfter, ONCE);
            }
            // A new pass does not make the address that it is shown from a stranger.
            let before = if pass.fresh { address.rate } else { record.rate };
            // To wait as one was asked to is no peace: whoever comes back to the second goes on where it was.
            let since = record.rate_at.max(record.wait_until.min(step.now));
            record.rate = self.weights.group(Group::Rate, before, step.now.ms_since(since), fired);
            record.rate_at = step.now;
            record.rate
        })?;
        // A newcomer behind an address that others share pays for half of what happens there.
        let shared = client == keys.address && address.others > 0;
        let rate = if shared { rate / 2.0 } else { rate };
        cap_without_assets(fired, rate);
        let network = if protected { 0.0 } else { address.network };
        let points = self.points(fired, &view.record, (network, address.decay_at), rate, step.now);
        self.remember(
            &keys,
            Proof { passed: if vouched { age_of_pass(visitor) } else { None }, verified, protected },
            &points,
            fired,
            &step,
        );
        let told = Told { client, width, pages: view.record.pages, paid, points: &points, fired };
        let keys = Keys { shared: self.tell(visitor, &keys, told), ..keys };
        Some(Assessment {
            score: points.score(),
            points,
            pressed: self.press_cohorts && fired.iter().any(|f| f.signal == Signal::Cohort),
            signals: in_order(std::mem::take(fired)),
            first_request: !view.known && !address.known && collapsed.is_none(),
            read_robots: conduct::has_read_robots(&view.record, step.now),
            degraded: false,
            client: Some(client),
            // The newcomers of a network that is one visitor share a single quota.
            address: Some(collapsed.unwrap_or(keys.address)),
            keys: Some(keys),
            width,
            address_width: address.width,
            shared: shared || collapsed.is_some(),
            vouched,
            proven: proven || vouched,
            browses: conduct::browses(&mine),
            standing: mine.flags & flag::PROTECTED != 0 || vouched,
            revisit: view.revisit,
            spared: step.now < mine.spared_until,
            issued: mine.issued,
            ..Assessment::unknown()
        })
    }

    fn count(&self, key: CellKey, visitor: &Visitor, step: &Step) -> Option<View> {
        let of = conduct::Circumstances {
            browser: visitor.agent.category == Category::Browser,
            blind: self.state.standings.blind(),
            now: step.now,
        };
        self.state.with_record_at(key, step.now, |record, known| {
            let revisit = conduct::count(record, step);
            let mut signals = [(None, 0); 10];
            let mut places = signals.iter_mut();
            conduct::signals(record, of, &mut |signal, times| {
                if let Some(place) = places.next() {
                    *place = (Some(signal), times);
                }
            });
            View { record: *record, known, revisit, signals }
        })
    }

    fn net_refuses(&self, keys: &Keys) -> bool {
        let net = self.net_page.check_key(&keys.net.0).is_err();
        let wide = keys.wide.is_some_and(|wide| self.wide_page.check_key(&wide).is_err());
        net || wide
    }

    fn points(
        &self,
        fired: &mut Signals,
        record: &Record,
        (network, network_at): (f32, Tick),
        rate: f32,
        now: Tick,
    ) -> Points {
        if conduct::has_history(record, now) {
            self.fire(fired, Signal::AssetsSeen, ONCE);
        }
        let elapsed = now.ms_since(record.decay_at);
        let of = |group, stored| self.weights.group(group, stored, elapsed, fired);
        Points {
            claim: of(Group::Claim, 0.0),
            headers: of(Group::Headers, 0.0),
            network: self.weights.group(Group::Network, network, now.ms_since(network_at), fired),
            rate,
            behaviour: of(Group::Behaviour, record.behaviour),
            trap: of(Group::Trap, record.trap),
            credit: of(Group::Credit, record.credit),
        }
    }

    /// Writes down what this request came to.
    fn remember(&self, keys: &Keys, of: Proof, points: &Points, fired: &[Fired], step: &Step) {
        let sub = keys.sub;
        let trap = fired.iter().find_map(|f| match f.signal {
            Signal::HoneyLink => Some(1),
            Signal::RobotsCanary => Some(2),
            _ => None,
        });
        // What a pass or a proof gives goes with it.
        let fleeting = fired.iter().filter(|f| matches!(f.signal, Signal::PassToken | Signal::VerifiedAgent));
        let fleeting: f32 = fleeting.map(|f| f32::from(f.points)).sum();
        let lasting = (points.credit - fleeting).max(0.0);
        // A pass speaks for who shows it, and for nobody who looks the same.
        let score = Points { credit: lasting, ..*points }.score();
        let bits = fired.iter().filter_map(|f| state::bit(f.signal)).fold(0u32, |bits, at| bits | 1 << at);
        let standing = self.state.with_record_at(sub, step.now, |record, _| {
            record.behaviour = points.behaviour;
            record.trap = points.trap;
            record.credit = lasting;
            record.traps |= trap.unwrap_or(0);
            record.decay_at = step.now;
            record.last_score = score;
            let history = conduct::has_history(record, step.now) && score < SUSPECT;
            if history || of.verified {
                record.flags |= flag::PROTECTED;
            }
            let good = history || of.passed.is_some_and(|seconds| seconds >= PASS_AGE);
            let fresh = bits & !record.fired;
            record.fired |= bits;
            (good, record.flags & flag::STANDING != 0, record.fired, fresh, record.assets > 0)
        });
        self.state.with_record_at(keys.address, step.now, |record, _| {
            // On whom the network does not count, it has no say about the network.
            if !of.protected {
                record.network = points.network;
                record.decay_at = step.now;
            }
            record.last_score = score;
        });
        if score >= state::OFFENDER {
            self.state.note_offender(keys);
        }
        let Some((true, counted, all, fresh, assets)) = standing else { return };
        let net = keys.wide.unwrap_or(keys.net.0);
        let counts = counted || self.state.standings.enter(net.0, assets, step.now);
        if !counts {
            return;
        }
        for signal in self.state.standings.fired(if counted { fresh } else { all }) {
            tracing::warn!(%signal, "fires on more than 2 % of the sessions in good standing: muted for the day");
        }
        if !counted {
            self.state.with_record(sub, |record, _| record.flags |= flag::STANDING);
        }
    }
}

/// What a visitor has shown of itself.
#[derive(Debug, Clone, Copy)]
struct Proof {
    /// Seconds since it passed a challenge.
    passed: Option<u64>,
    verified: bool,
    /// Networks do not drag it down.
    protected: bool,
}

/// Seconds since the visitor passed a challenge.
fn age_of_pass(visitor: &Visitor) -> Option<u64> {
    visitor.pass.map(|pass| visitor.arrived.as_secs().saturating_sub(u64::from(pass.issued)))
}
