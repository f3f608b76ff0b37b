//! The log of another program: judged from nothing, by the code that judges live requests.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::{Method, StatusCode};

use super::event::{Event, refuses};
use super::{Outcome, SimulateError, SimulatedPolicy};
use crate::action::{Action, Rehearsal};
use crate::suspicion::{Assessment, LoggedRequest, PathKind, Replay, State};
use crate::visitor::{Facts, LoggedHead, LoggedPath, Ranges, RouteClass, Verification, Visitor, VisitorKey};

/// Paths whose class is kept, a power of two.
const PATHS: usize = 1 << 14;
/// Names of files that hold data.
const DATA: [&str; 5] = [".json", ".xml", ".txt", ".csv", ".yaml"];

/// Decides about lines that say nothing but what was asked for and answered.
pub(super) struct Foreign {
    facts: Facts,
    rehearsal: Rehearsal,
    judge: Replay,
    ranges: Arc<Ranges>,
    paths: Paths,
    /// Nearly every line names the same one.
    host: Arc<str>,
}

/// Classes of paths: to find one out takes longer than all else, and most requests are for few of them.
struct Paths(Vec<Option<(Method, Box<str>, LoggedPath)>>);

impl Paths {
    fn get(&mut self, facts: &Facts, method: &Method, path: &str) -> LoggedPath {
        let hash = twox_hash::XxHash3_64::oneshot(path.as_bytes());
        let Some(place) = self.0.get_mut(hash as usize % PATHS) else { return facts.logged_path(method, path) };
        if let Some((of, text, known)) = &*place
            && of == method
            && **text == *path
        {
            return known.clone();
        }
        let class = facts.logged_path(method, path);
        *place = Some((method.clone(), path.into(), class.clone()));
        class
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

/// What a path answers, where the log has no media type.
fn guess(visitor: &Visitor) -> Option<PathKind> {
    match visitor.route {
        RouteClass::Page if DATA.iter().any(|end| visitor.path.ends_with(end)) => Some(PathKind::Data),
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
            host: "".into(),
        })
    }

    /// `None`: it was no request.
    pub(super) fn decide(&mut self, event: &Event) -> Option<Outcome> {
        let method = event.method.as_ref().filter(|_| event.path().starts_with('/'))?;
        if *self.host != *event.host() {
            self.host = event.host().into();
        }
        let agent = &event.agent.agent;
        let path = self.paths.get(&self.facts, method, event.path());
        let head = LoggedHead {
            host: Arc::clone(&self.host),
            agent: agent.clone(),
            verification: if agent.category.is_declared_bot() {
                self.ranges.look_up(agent, event.address(), event.time)
            } else {
                Verification::None
            },
            ip: address_of(event.address(), event.visitor),
            key: key_of(event.visitor),
            arrived: event.time,
        };
        let visitor = self.facts.visitor_of_log(head, &path);
        let kind = event.kind.or_else(|| guess(&visitor));
        let line = LoggedRequest { method, path: event.path(), query: event.query(), status: event.status, kind };
        let assessment = self.judge.assess(&visitor, line);
        let decision = self.rehearsal.decide(&visitor, &assessment, method);
        let is_over = decision.limit.is_some_and(|limit| limit.retry_after.is_some());
        let refused = refuses(decision.action, is_over);
        if !refused {
            self.answered(&visitor, &assessment, line, event.bytes);
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

    /// The answer went out as the line says.
    fn answered(&self, visitor: &Visitor, assessment: &Assessment, line: LoggedRequest<'_>, bytes: u64) {
        self.judge.learn(visitor, assessment, line);
        if line.status == Some(StatusCode::OK) && matches!(line.kind, Some(PathKind::Feed | PathKind::Data)) {
            self.rehearsal.charge(visitor, assessment, bytes);
        }
    }
}
