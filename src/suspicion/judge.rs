//! From one request to its [`Assessment`].

use std::num::NonZeroU32;
use std::sync::Arc;

use http::Method;

use super::cells::CellKey;
use super::conduct::{self, Step};
use super::headers::{self, Head};
use super::score::{Points, Weights, cap_without_assets, in_order};
use super::signals::{self, Group};
use super::state::{self, Keys, PathKind, Record, Tick, distinct, flag};
use super::width::{Widened, Width};
use super::{Assessment, Fired, Limiter, Settings, Signal, SoftQuotas, State, SuspicionError, limiter};
use crate::visitor::trap::Offers;
use crate::visitor::{Category, RouteClass, Verification, Visitor};

/// Sub-identities of one address within ten minutes.
const ROTATION: u32 = 8;
const ROTATION_WINDOW: u32 = 600;
const DAY: u32 = 86_400;
/// Seconds after which a pass makes good standing.
const PASS_AGE: u64 = 600;
/// Score from which pages carry our style sheet.
const SUSPECT: u8 = 20;

/// Judges requests against the tables.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) state: Arc<State>,
    pub(super) weights: Weights,
    beacon: super::Beacon,
    links: bool,
    pub(super) page_soft: Widened,
    pub(super) page_hour: Widened,
    net_page: Limiter,
    wide_page: Limiter,
    prefetch: Limiter,
}

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
        Ok(Self {
            weights: Weights::new(&settings.score)?,
            beacon: settings.beacon,
            links: settings.trap.links,
            page_soft: Widened::new(&state, quotas.page_soft, quotas.widths, 0),
            page_hour: Widened::new(&state, quotas.page_hour, quotas.widths, 1),
            net_page: limiter(&state, quotas.net_page, 100),
            wide_page: limiter(&state, quotas.wide_page, 101),
            prefetch: limiter(&state, quotas.prefetch, 102),
            state,
        })
    }

    pub(crate) fn assess(&self, visitor: &Visitor, head: Head<'_>) -> Assessment {
        let start = self.state.clock().elapsed();
        let mut page = self.counts_as_page(visitor, head.method);
        let keys = self.state.keys(visitor);
        if let Some(keys) = &keys
            && page
            && visitor.prefetch
            && self.prefetch.check_key(&keys.address).is_ok()
        {
            page = false;
        }
        let mut fired = self.of_the_head(visitor, head);
        let mut assessment = keys
            .and_then(|keys| self.with_history(visitor, head, page, keys, &mut fired))
            .unwrap_or_else(|| self.without_history(&fired, keys.is_some()));
        assessment.counts_as_page = page;
        assessment.offer_beacon = match self.beacon {
            super::Beacon::Off => false,
            super::Beacon::Suspect => assessment.score >= SUSPECT,
            super::Beacon::Always => true,
        } && page
            && visitor.verification != Verification::Verified;
        assessment.bucket = self.weights.bucket(assessment.score);
        assessment.took = self.state.clock().elapsed().saturating_sub(start);
        assessment
    }

    /// What the page may carry for this visitor alone.
    pub(crate) fn offers(&self, visitor: &Visitor, of: &Assessment) -> Option<Offers> {
        let traps = visitor.traps.as_ref().filter(|_| of.counts_as_page)?;
        let link = self.links && visitor.verification != Verification::Verified;
        let beacon = of.offer_beacon.then(|| traps.beacon(&visitor.host));
        let link = link.then(|| traps.link(&visitor.host, visitor.arrived));
        (beacon.is_some() || link.is_some()).then_some(Offers { beacon, link })
    }

    /// A path is what it has answered, not what the request says about itself; before it has answered anything, it is
    /// a page unless it names a file.
    fn counts_as_page(&self, visitor: &Visitor, method: &Method) -> bool {
        let known = self.state.path_kind(&visitor.path).map(|kind| kind == PathKind::Html);
        match visitor.route {
            RouteClass::Wellknown | RouteClass::Own => false,
            RouteClass::Page => *method != Method::HEAD,
            _ if *method == Method::GET => known.unwrap_or(!visitor.asset_path && visitor.route != RouteClass::Feed),
            _ => *method == Method::POST && known == Some(true),
        }
    }

    /// What the request alone says.
    fn of_the_head(&self, visitor: &Visitor, head: Head<'_>) -> Vec<Fired> {
        let mut fired = Vec::new();
        let mut fire = |signal| self.fire(&mut fired, signal, 1);
        signals::claim(visitor.agent.category, visitor.verification).into_iter().for_each(&mut fire);
        headers::contradictions(visitor, head, &mut fire);
        if visitor.verification == Verification::Verified {
            fire(Signal::VerifiedAgent);
        }
        if visitor.cloud && visitor.agent.category == Category::Browser {
            fire(Signal::CloudAddress);
        }
        fired
    }

    pub(super) fn fire(&self, fired: &mut Vec<Fired>, signal: Signal, times: u8) {
        let points = self.weights.of(signal).saturating_mul(times);
        if points > 0 && !self.state.standings.is_muted(signal) {
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
        Assessment { score: points.score(), points, signals: in_order(fired), degraded, ..Assessment::unknown() }
    }

    /// `None`: a table was busy.
    fn with_history(
        &self,
        visitor: &Visitor,
        head: Head<'_>,
        page: bool,
        keys: Keys,
        fired: &mut Vec<Fired>,
    ) -> Option<Assessment> {
        let step = self.step(visitor, head, page);
        let mut sub = keys.sub;
        let mut view = self.count(sub, visitor, &step)?;
        let bare = view.record.assets == 0 && view.record.beacons == 0;
        let protected = view.record.flags & flag::PROTECTED != 0 || keys.pass.is_some();
        let (near, collapsed) = self.state.neighbourhood(&keys, page, !bare);
        let collapsed = collapsed.filter(|_| bare && !protected);
        if let Some(net) = collapsed {
            sub = net;
            view = self.count(net, visitor, &step)?;
        }
        let proven = conduct::is_proven(&view.record);
        let address = self.address(&keys, &view, proven, page, step.now)?;
        for (signal, times) in view.signals {
            if let Some(signal) = signal {
                self.fire(fired, signal, times);
            }
        }
        if address.rotates && !protected {
            self.fire(fired, Signal::AgentRotation, 1);
        }
        if near.offenders {
            self.fire(fired, Signal::OffenderNeighbours, 1);
        }
        if page && !protected && self.net_refuses(&keys) {
            self.fire(fired, Signal::NetLimit, 1);
        }
        self.traps(visitor, &view.record, fired);
        let void = self.pass(visitor, &keys, step.now, fired);
        // A pass that goes around has one quota still, wherever it is shown.
        let client = match keys.pass {
            Some(pass) => pass,
            None if collapsed.is_some() || proven => sub,
            None => keys.address,
        };
        let width = if client == keys.address { address.width } else { Width::of(u32::from(view.record.cold.min(4))) };
        // Whoever shares the address' quota pays its price, under whatever name.
        let shared_price = if client == keys.address || !view.known { address.last_score } else { 0 };
        let last = view.record.last_score.max(shared_price);
        if page {
            self.soft_refusals(client, last, width, fired);
        }
        let rate = self.state.with_record(client, |record, _| {
            if conduct::ignores_wait(record, &step) {
                self.fire(fired, Signal::IgnoredRetryAfter, 1);
            }
            record.rate = self.weights.group(Group::Rate, record.rate, step.now.ms_since(record.rate_at), fired);
            record.rate_at = step.now;
            record.rate
        })?;
        // A newcomer behind an address that others share pays for half of what happens there.
        let shared = client == keys.address && address.people > 0;
        let rate = if shared { rate / 2.0 } else { rate };
        cap_without_assets(fired, rate);
        let points = self.points(fired, &view.record, &address, rate, step.now);
        let keys = Keys { sub, ..keys };
        self.remember(&keys, Proof::of(visitor), &points, fired, &step);
        Some(Assessment {
            score: points.score(),
            points,
            signals: in_order(fired),
            first_request: !view.known && !address.known && collapsed.is_none(),
            read_robots: conduct::has_read_robots(&view.record, step.now),
            degraded: false,
            client: Some(client),
            address: Some(keys.address),
            keys: Some(keys),
            width,
            shared: shared || collapsed.is_some(),
            vouched: keys.pass.is_some() && !void,
            proven: proven || keys.pass.is_some(),
            revisit: view.revisit,
            spared: step.now < view.record.spared_until,
            issued: view.record.issued,
            ..Assessment::unknown()
        })
    }

    fn step(&self, visitor: &Visitor, head: Head<'_>, page: bool) -> Step {
        let path = self.state.path_hash(&visitor.path);
        let article = conduct::looks_like_article(&visitor.path);
        let heat = if page { self.state.heat(path) } else { 0 };
        let conditional = [http::header::IF_NONE_MATCH, http::header::IF_MODIFIED_SINCE];
        Step {
            page,
            article,
            path,
            number: conduct::number_in(&visitor.path),
            query: conduct::unknown_parameters(head.query, |text| self.state.path_hash(text)),
            deep_direct: page && conduct::is_deep_direct(visitor, head.headers, article, heat),
            conditional: conditional.iter().any(|name| head.headers.contains_key(name)),
            robots: &*visitor.path == "/robots.txt",
            now: self.state.now(),
            now_ms: self.state.clock().elapsed().as_millis() as u32,
        }
    }

    fn count(&self, key: CellKey, visitor: &Visitor, step: &Step) -> Option<View> {
        let of = conduct::Circumstances {
            browser: visitor.agent.category == Category::Browser,
            blind: self.state.standings.blind(),
            now: step.now,
        };
        self.state.with_record(key, |record, known| {
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

    /// What the address has seen, with this visitor among the others.
    fn address(&self, keys: &Keys, view: &View, proven: bool, page: bool, now: Tick) -> Option<Address> {
        self.state.with_record(keys.address, |record, known| {
            // The window of an address begins with its first request and is counted in seconds.
            if now.seconds().saturating_sub(record.last_number) >= ROTATION_WINDOW {
                record.last_number = now.seconds();
                record.distinct[0] = 0;
            }
            if now.seconds_since(record.first_seen) >= DAY {
                record.first_seen = now;
                record.distinct[1] = 0;
            }
            if page {
                distinct::mark(&mut record.distinct[..1], keys.sub.0);
            }
            if proven {
                distinct::mark(&mut record.distinct[1..], keys.sub.0);
            }
            let people = record.distinct[1].count_ones() + u32::from(view.record.cold.min(4)).saturating_sub(1);
            Address {
                people,
                width: Width::of(people),
                rotates: record.distinct[0].count_ones() >= ROTATION && people == 0 && record.assets == 0,
                network: record.network,
                decay_at: record.decay_at,
                last_score: record.last_score,
                known,
            }
        })
    }

    fn net_refuses(&self, keys: &Keys) -> bool {
        let net = self.net_page.check_key(&keys.net.0).is_err();
        let wide = keys.wide.is_some_and(|wide| self.wide_page.check_key(&wide).is_err());
        net || wide
    }

    /// The price of a page rises with suspicion; a refusal is a signal.
    fn soft_refusals(&self, client: CellKey, last_score: u8, width: Width, fired: &mut Vec<Fired>) {
        let cost = match last_score {
            0..20 => NonZeroU32::MIN,
            20..40 => NonZeroU32::MIN.saturating_add(1),
            _ => NonZeroU32::MIN.saturating_add(2),
        };
        for (limiters, signal) in [(&self.page_soft, Signal::PageSoft), (&self.page_hour, Signal::PageHour)] {
            if !matches!(limiters.of(width).check_key_n(&client, cost), Ok(Ok(()))) {
                self.fire(fired, signal, 1);
            }
        }
    }

    fn points(&self, fired: &mut Vec<Fired>, record: &Record, address: &Address, rate: f32, now: Tick) -> Points {
        if conduct::has_history(record, now) {
            self.fire(fired, Signal::AssetsSeen, 1);
        }
        let elapsed = now.ms_since(record.decay_at);
        let of = |group, stored| self.weights.group(group, stored, elapsed, fired);
        Points {
            claim: of(Group::Claim, 0.0),
            headers: of(Group::Headers, 0.0),
            network: self.weights.group(Group::Network, address.network, now.ms_since(address.decay_at), fired),
            rate,
            behaviour: of(Group::Behaviour, record.behaviour),
            trap: of(Group::Trap, record.trap),
            credit: of(Group::Credit, record.credit),
        }
    }

    /// Writes down what this request came to.
    fn remember(&self, keys: &Keys, of: Proof, points: &Points, fired: &[Fired], step: &Step) {
        let (sub, score) = (keys.sub, points.score());
        let trap = fired.iter().find_map(|f| match f.signal {
            Signal::HoneyLink => Some(1),
            Signal::RobotsCanary => Some(2),
            _ => None,
        });
        let bits = fired.iter().filter_map(|f| state::bit(f.signal)).fold(0u32, |bits, at| bits | 1 << at);
        let standing = self.state.with_record(sub, |record, _| {
            record.behaviour = points.behaviour;
            record.trap = points.trap;
            record.credit = points.credit;
            record.traps |= trap.unwrap_or(0);
            record.decay_at = step.now;
            record.last_score = score;
            let history = conduct::has_history(record, step.now) && score < SUSPECT;
            if history || of.passed.is_some() || of.verified {
                record.flags |= flag::PROTECTED;
            }
            let good = history || of.passed.is_some_and(|seconds| seconds >= PASS_AGE);
            let fresh = bits & !record.fired;
            record.fired |= bits;
            (good, record.flags & flag::STANDING != 0, record.fired, fresh, record.assets > 0)
        });
        self.state.with_record(keys.address, |record, _| {
            record.network = points.network;
            record.decay_at = step.now;
            record.last_score = score;
        });
        if score >= state::OFFENDER {
            self.state.note_offender(keys);
        }
        let Some((true, counted, all, fresh, assets)) = standing else { return };
        let counts = counted || self.state.standings.enter(keys.net.0.0, assets, step.now);
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
}

impl Proof {
    fn of(visitor: &Visitor) -> Self {
        let age = |issued: u32| visitor.arrived.as_secs().saturating_sub(u64::from(issued));
        Self {
            passed: visitor.pass.map(|pass| age(pass.issued)),
            verified: visitor.verification == Verification::Verified,
        }
    }
}

/// What the record of an address says.
#[derive(Debug, Clone, Copy)]
struct Address {
    people: u32,
    width: Width,
    rotates: bool,
    network: f32,
    decay_at: Tick,
    last_score: u8,
    known: bool,
}
