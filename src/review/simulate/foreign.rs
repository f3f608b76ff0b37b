//! The log of another program: judged from nothing, by the code that judges live requests.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::{Method, StatusCode};

use super::event::{Event, refuses};
use super::{Outcome, SimulateError, SimulatedPolicy};
use crate::action::{Action, Rehearsal};
use crate::suspicion::{Keys, LoggedRequest, PathKind, PathView, Replay, State};
use crate::visitor::{Facts, LoggedHead, LoggedPath, Ranges, RouteClass, Verification, Visitor, VisitorKey};

/// Paths and visitors of which it is kept what follows from them alone; powers of two.
const PATHS: usize = 1 << 14;
const VISITORS: usize = 1 << 13;
/// Names of files that hold data.
const DATA: [&str; 5] = [".json", ".xml", ".txt", ".csv", ".yaml"];
const DAY: u64 = 86_400;

/// Decides about lines that say nothing but what was asked for and answered.
pub(super) struct Foreign {
    facts: Facts,
    rehearsal: Rehearsal,
    judge: Replay,
    ranges: Arc<Ranges>,
    paths: Paths,
    visitors: Visitors,
    /// Nearly every line names the same one.
    host: Arc<str>,
}

/// A path, and what follows from it.
#[derive(Debug, Clone)]
struct KnownPath {
    method: Method,
    text: Box<str>,
    class: LoggedPath,
    view: PathView,
    /// What it answers, where the log has no media type.
    guess: Option<PathKind>,
}

/// Paths: to find out what they are takes longer than all else, and most requests are for few of them.
struct Paths(Vec<Option<KnownPath>>);

impl Paths {
    /// `None` never happens: there is a place for each.
    fn get(&mut self, facts: &Facts, judge: &Replay, method: &Method, text: &str) -> Option<&KnownPath> {
        let hash = twox_hash::XxHash3_64::oneshot(text.as_bytes());
        let place = self.0.get_mut(hash as usize % PATHS)?;
        if place.as_ref().is_none_or(|known| known.method != *method || *known.text != *text) {
            let class = facts.logged_path(method, text);
            let (view, guess) = (judge.path(class.normal()), guess(&class));
            *place = Some(KnownPath { method: method.clone(), text: text.into(), class, view, guess });
        }
        place.as_ref()
    }
}

/// A visitor, and where it is remembered.
#[derive(Debug, Clone)]
struct KnownVisitor {
    name: u64,
    visitor: Visitor,
    keys: Option<Keys>,
    /// The day for which it is known whether it is what it says.
    checked: Option<u64>,
}

/// Visitors: who asks once asks again.
struct Visitors(Vec<Option<KnownVisitor>>);

impl Visitors {
    /// Who asks for a path of this class. `None` never happens: there is a place for each.
    fn get(
        &mut self,
        facts: &Facts,
        judge: &Replay,
        event: &Event<'_>,
        path: &LoggedPath,
    ) -> Option<&mut KnownVisitor> {
        let place = self.0.get_mut(event.visitor as usize % VISITORS)?;
        if place.as_ref().is_none_or(|known| known.name != event.visitor) {
            // Whoever stood there leaves memory. The host is that of a line before; it is set before anybody looks at it.
            let (host, key) = match place.take() {
                Some(KnownVisitor { visitor, .. }) => (visitor.host, renamed(visitor.key, event.visitor)),
                None => ("".into(), key_of(event.visitor)),
            };
            let head = LoggedHead {
                host,
                agent: event.agent.agent.clone(),
                verification: Verification::None,
                ip: address_of(event.address(), event.visitor),
                key,
                arrived: event.time,
            };
            let visitor = facts.visitor_of_log(head, path);
            let keys = judge.keys(&visitor);
            *place = Some(KnownVisitor { name: event.visitor, visitor, keys, checked: None });
        }
        let known = place.as_mut()?;
        facts.asks_for(&mut known.visitor, path, event.time);
        Some(known)
    }
}

impl KnownVisitor {
    /// Is it what it says?
    fn check(&mut self, ranges: &Ranges, event: &Event<'_>) {
        let agent = &event.agent.agent;
        if !agent.category.is_declared_bot() {
            return;
        }
        // Lists are those of a day: what they say changes at the first second of one, or behind it.
        let seconds = event.time.as_secs();
        let day = (!seconds.is_multiple_of(DAY)).then_some(seconds / DAY);
        if day.is_none() || self.checked != day {
            self.visitor.verification = ranges.look_up(agent, event.address(), event.time);
            self.checked = day;
        }
    }
}

/// Where a visitor asks from, as far as one address stands for one visitor. A name of a host, or a pseudonym, stands
/// for an address in a network of its own (RFC 4193).
pub(super) fn address_of(text: &str, visitor: u64) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    let is_name = text.bytes().any(|byte| byte.is_ascii_alphabetic()) && !text.contains('/') && text != "unknown";
    is_name.then(|| stand_in(visitor))
}

/// An address that nobody has.
pub(super) fn stand_in(visitor: u64) -> IpAddr {
    let [a, b, c, d] = [48, 32, 16, 0].map(|shift| (visitor >> shift) as u16);
    Ipv6Addr::new(0xfd00 | (a & 0xff), b, c, d, 0, 0, 0, a >> 8).into()
}

/// The key of a visitor that has no headers.
pub(super) fn key_of(visitor: u64) -> VisitorKey {
    VisitorKey(visitor.to_be_bytes().as_slice().into())
}

/// The same as [`key_of`], in the memory of another one.
fn renamed(mut key: VisitorKey, visitor: u64) -> VisitorKey {
    let new = visitor.to_be_bytes();
    match Arc::get_mut(&mut key.0) {
        Some(bytes) if bytes.len() == new.len() => bytes.copy_from_slice(&new),
        _ => return key_of(visitor),
    }
    key
}

/// What a path answers, where the log has no media type.
fn guess(path: &LoggedPath) -> Option<PathKind> {
    match path.route {
        RouteClass::Page if DATA.iter().any(|end| path.normal().ends_with(end)) => Some(PathKind::Data),
        RouteClass::Page => Some(PathKind::Html),
        RouteClass::Feed => Some(PathKind::Feed),
        RouteClass::Api => Some(PathKind::Data),
        _ => None,
    }
}

impl Foreign {
    pub(super) fn new(state: &Arc<State>, policy: &SimulatedPolicy) -> Result<Self, SimulateError> {
        let SimulatedPolicy { visitor, suspicion, action, rights, .. } = policy;
        let rehearsal = Rehearsal::new(Arc::clone(state), action, &rights.license, &visitor.routes)?;
        Ok(Self {
            facts: Facts::new(visitor)?,
            judge: Replay::new(Arc::clone(state), suspicion, action.limits.soft())?,
            rehearsal,
            ranges: Ranges::shipped(),
            paths: Paths(vec![None; PATHS]),
            visitors: Visitors(vec![None; VISITORS]),
            host: "".into(),
        })
    }

    /// `None`: it was no request.
    pub(super) fn decide(&mut self, event: &Event<'_>) -> Option<Outcome> {
        let Self { facts, rehearsal, judge, ranges, paths, visitors, host } = self;
        let method = event.method.filter(|_| event.path().starts_with('/'))?;
        let path = paths.get(facts, judge, method, event.path())?;
        let known = visitors.get(facts, judge, event, &path.class)?;
        known.check(ranges, event);
        if **host != *event.host() {
            *host = event.host().into();
        }
        if !Arc::ptr_eq(&known.visitor.host, host) {
            known.visitor.host = Arc::clone(host);
        }
        let KnownVisitor { visitor, keys, .. } = known;
        let kind = event.kind.or(path.guess);
        let line = LoggedRequest { method, path: event.path(), query: event.query(), status: event.status, kind };
        let assessment = judge.assess(visitor, line, (*keys, path.view));
        let decision = rehearsal.decide(visitor, &assessment, method);
        let is_over = decision.limit.is_some_and(|limit| limit.retry_after.is_some());
        let refused = refuses(decision.action, is_over);
        if !refused {
            // The answer went out as the line says.
            judge.learn(visitor, &assessment, line);
            if line.status == Some(StatusCode::OK) && matches!(line.kind, Some(PathKind::Feed | PathKind::Data)) {
                rehearsal.charge(visitor, &assessment, event.bytes);
            }
        }
        Some(Outcome {
            current: Action::Allow,
            simulated: decision.action,
            saved: if refused { event.bytes } else { 0 },
            rule: decision.rule,
            is_own: false,
            is_unaddressed: visitor.address.ip.is_none(),
            reproduced: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::event::Events;
    use super::super::tests::push;
    use super::*;
    use crate::clock::ManualClock;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    fn foreign() -> Foreign {
        let state = Arc::new(State::new(ManualClock::at(0)).keyed([7; 16]));
        Foreign::new(&state, &SimulatedPolicy::default()).unwrap()
    }

    #[test]
    fn visitors_that_share_a_place_are_not_taken_for_one_another() {
        let Foreign { facts, judge, mut visitors, .. } = foreign();
        let path = facts.logged_path(&Method::GET, "/news/a-b-c");
        let names = [5, 5 + VISITORS as u64];
        let mut of = |at: usize, seconds: u64| {
            let (address, mut events) = (["192.0.2.1", "198.51.100.1"][at], Events::default());
            push(&mut events, 0, (address, FIREFOX, "/news/a-b-c"), seconds);
            let mut event = events.get(0).unwrap();
            event.visitor = names[at];
            let known = visitors.get(&facts, &judge, &event, &path).unwrap();
            let fresh = judge.keys(&known.visitor).unwrap();
            let keys = known.keys.unwrap();
            assert_eq!((keys.own, keys.address, keys.net.0), (fresh.own, fresh.address, fresh.net.0));
            assert_eq!(known.visitor.address.ip, Some(address.parse().unwrap()));
            assert_eq!(known.visitor.arrived, Duration::from_secs(seconds));
            keys.own
        };
        let first = of(0, 1);
        assert_ne!(of(1, 2), first);
        assert_eq!((of(0, 3), of(0, 4)), (first, first));
    }

    #[test]
    fn a_key_is_the_same_in_memory_of_another() {
        let key = key_of(7);
        let shared = key.clone();
        assert_eq!((renamed(key, 9), shared), (key_of(9), key_of(7)), "it is another's still");
        assert_eq!(renamed(key_of(7), u64::MAX), key_of(u64::MAX));
        assert_eq!(renamed(VisitorKey(b"long".as_slice().into()), 9), key_of(9));
    }

    #[test]
    fn paths_that_share_a_place_are_not_taken_for_one_another() {
        let Foreign { facts, judge, mut paths, .. } = foreign();
        let place = |text: &str| twox_hash::XxHash3_64::oneshot(text.as_bytes()) as usize % PATHS;
        let (style, story) = ("/a/style.css", (0..).map(|n| format!("/news/story-of-{n}")));
        let story = story.take(1_000_000).find(|text| place(text) == place(style)).unwrap();
        for _ in 0..2 {
            for (text, route, guess) in
                [(style, RouteClass::Asset, None), (story.as_str(), RouteClass::Page, Some(PathKind::Html))]
            {
                let known = paths.get(&facts, &judge, &Method::GET, text).unwrap();
                assert_eq!((known.class.normal(), known.class.route, known.guess), (text, route, guess));
            }
        }
        assert_eq!(paths.get(&facts, &judge, &Method::POST, &story).unwrap().class.route, RouteClass::Other);
    }

    #[test]
    fn what_a_robot_claims_is_looked_up_again_where_the_answer_may_be_another() {
        let Foreign { facts, judge, ranges, mut visitors, .. } = foreign();
        let path = facts.logged_path(&Method::GET, "/news/a-b-c");
        let made = ranges.made().unwrap();
        let mut found = Vec::new();
        // A list says nothing about a time that is more than 180 days away.
        for seconds in [made, made + 1, made + 180 * DAY - 1, made + 180 * DAY, made + 180 * DAY + 1, made + 181 * DAY]
        {
            let mut events = Events::default();
            push(&mut events, 0, ("8.8.8.8", "GPTBot/1.2", "/news/a-b-c"), seconds);
            let event = events.get(0).unwrap();
            let known = visitors.get(&facts, &judge, &event, &path).unwrap();
            known.check(&ranges, &event);
            let fresh = ranges.look_up(&event.agent.agent, "8.8.8.8", event.time);
            assert_eq!(known.visitor.verification, fresh, "{seconds}");
            found.push(fresh);
        }
        assert_eq!(
            (found[0], found[3], found[4]),
            (Verification::Failed, Verification::Failed, Verification::Unverifiable)
        );
    }
}
