//! Lines, as far as they are decided again. They outlive the chunks that they were read from.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::action::{Action, is_hard};
use crate::audit::reader::{DeckleFields, Evidence, Note};
use crate::review::engine::{KnownAgent, Row, Weight};
use crate::review::recount::place;
use crate::suspicion::{Fired, Group, PathKind, Points, Signal};
use crate::visitor::{Category, RouteClass, Verification};

/// Longest address, host, path and query that are kept, in bytes.
const LONGEST: [usize; 4] = [64, 255, 2_048, 1_024];
/// Agents that are looked for among those that are there, a power of two.
const RECENT: usize = 256;

/// A request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'e> {
    pub(super) time: Duration,
    /// As the report knows the visitor.
    pub(super) visitor: u64,
    pub(super) agent: &'e KnownAgent,
    /// So many hits stand behind it.
    pub(super) weight: Weight,
    /// The filters let it through; the others only leave their traces.
    pub(super) counted: bool,
    /// `None`: it was no request.
    pub(super) method: Option<&'e Method>,
    pub(super) status: Option<StatusCode>,
    pub(super) bytes: u64,
    /// What its media type says.
    pub(super) kind: Option<PathKind>,
    /// Of deckle's own log.
    pub(super) own: Option<&'e OwnLine>,
    /// Address, host, path and query, one after the other.
    text: &'e str,
    ends: [u16; 4],
}

impl<'e> Event<'e> {
    fn part(&self, from: u16, to: u16) -> &'e str {
        self.text.get(from.into()..to.into()).unwrap_or_default()
    }

    pub(super) fn address(&self) -> &'e str {
        self.part(0, self.ends[0])
    }

    pub(super) fn host(&self) -> &'e str {
        self.part(self.ends[0], self.ends[1])
    }

    pub(super) fn path(&self) -> &'e str {
        self.part(self.ends[1], self.ends[2])
    }

    pub(super) fn query(&self) -> Option<&'e str> {
        Some(self.part(self.ends[2], self.ends[3])).filter(|query| !query.is_empty())
    }
}

/// A request as it is kept, without what it shares with others.
#[derive(Debug)]
struct Kept {
    time: Duration,
    visitor: u64,
    weight: Weight,
    method: Option<Method>,
    bytes: u64,
    own: Option<Box<OwnLine>>,
    chunk: u32,
    /// Number of its agent.
    agent: u32,
    /// Where its text begins, and where the parts of it end, counted from there.
    start: u32,
    ends: [u16; 4],
    status: Option<StatusCode>,
    kind: Option<PathKind>,
    counted: bool,
}

/// Requests that one thread has read in a round, in the order of their lines. They are made and given away together: one
/// piece of text for all, and each agent once.
#[derive(Debug, Default)]
pub(crate) struct Events {
    kept: Vec<Kept>,
    text: String,
    agents: Vec<Arc<KnownAgent>>,
    /// Numbers of agents, by where these lie in memory.
    recent: Vec<u32>,
    /// The last chunk, and the time of its first request.
    last: Option<(u32, Duration)>,
}

impl Events {
    pub(crate) fn push(&mut self, row: &Row<'_>, chunk: u32, counted: bool, evidence: Option<&Evidence<'_>>) {
        let hit = &row.hit;
        if self.last.is_none_or(|(last, _)| last != chunk) {
            self.last = Some((chunk, hit.time));
        }
        let start = self.text.len();
        let parts = [&*hit.address, &*hit.host, &*hit.path, hit.query.as_deref().unwrap_or_default()];
        let mut ends = [0; 4];
        for ((part, most), end) in parts.into_iter().zip(LONGEST).zip(&mut ends) {
            self.text.push_str(part.get(..part.floor_char_boundary(most)).unwrap_or_default());
            *end = (self.text.len() - start) as u16;
        }
        let blank = Evidence::default();
        let own = |fields: &DeckleFields<'_>| OwnLine::of(fields, evidence.unwrap_or(&blank), row);
        let kept = Kept {
            time: hit.time,
            visitor: row.key,
            weight: row.weight,
            method: Method::from_bytes(hit.method.as_bytes()).ok(),
            bytes: hit.bytes,
            own: hit.deckle.as_deref().filter(|fields| !fields.brief).map(|fields| Box::new(own(fields))),
            chunk,
            agent: self.number(&row.agent),
            start: start as u32,
            ends,
            status: hit.status.and_then(|status| StatusCode::from_u16(status).ok()),
            kind: hit.content_type.as_deref().map(|kind| PathKind::of_content_type(kind.as_bytes())),
            counted,
        };
        self.kept.push(kept);
    }

    /// Most requests are of few agents: not each one counts as a reference, which another thread would give back.
    fn number(&mut self, agent: &Arc<KnownAgent>) -> u32 {
        if self.recent.is_empty() {
            self.recent = vec![0; RECENT];
        }
        let new = self.agents.len() as u32;
        let Some(number) = self.recent.get_mut(Arc::as_ptr(agent).addr() / 64 % RECENT) else { return new };
        if self.agents.get(*number as usize).is_none_or(|known| !Arc::ptr_eq(known, agent)) {
            self.agents.push(Arc::clone(agent));
            *number = new;
        }
        *number
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The same memory, for other requests: what is new comes from the system page by page.
    pub(super) fn emptied(mut self) -> Self {
        self.kept.clear();
        self.text.clear();
        self.agents.clear();
        // These are numbers of agents that are no more.
        self.recent.clear();
        self.last = None;
        self
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Time and chunk of each.
    pub(super) fn places(&self) -> impl Iterator<Item = (Duration, u32)> {
        self.kept.iter().map(|kept| (kept.time, kept.chunk))
    }

    /// When the first request of this chunk came, if none of a later one is there.
    pub(crate) fn first_of(&self, chunk: usize) -> Option<Duration> {
        self.last.filter(|(last, _)| *last as usize == chunk).map(|(_, time)| time)
    }

    pub(super) fn get(&self, at: usize) -> Option<Event<'_>> {
        let kept = self.kept.get(at)?;
        let start = kept.start as usize;
        Some(Event {
            time: kept.time,
            visitor: kept.visitor,
            agent: self.agents.get(kept.agent as usize)?,
            weight: kept.weight,
            counted: kept.counted,
            method: kept.method.as_ref(),
            status: kept.status,
            bytes: kept.bytes,
            kind: kept.kind,
            own: kept.own.as_deref(),
            text: self.text.get(start..start + usize::from(kept.ends[3])).unwrap_or_default(),
            ends: kept.ends,
        })
    }

    /// Takes over a request from others. Its place among these.
    pub(super) fn take(&mut self, from: &mut Self, at: usize) -> usize {
        let place = self.kept.len();
        let Some(kept) = from.kept.get_mut(at) else { return place };
        let (old, start) = (kept.start as usize, self.text.len());
        self.text.push_str(from.text.get(old..old + usize::from(kept.ends[3])).unwrap_or_default());
        let agent = from.agents.get(kept.agent as usize).map_or(0, |agent| self.number(agent));
        let (method, own) = (kept.method.take(), kept.own.take());
        self.kept.push(Kept { start: start as u32, agent, method, own, ..*kept });
        place
    }
}

/// A `policy` line: the configuration that was in force from then on.
#[derive(Debug)]
pub(crate) struct PolicyNote {
    pub(crate) time: Duration,
    pub(super) instance: String,
    /// TOML, without what is secret.
    pub(super) text: String,
}

impl PolicyNote {
    /// `None`: the line is of another kind.
    pub(crate) fn of(note: &Note) -> Option<Self> {
        let text = note.text.clone().filter(|_| note.kind == "policy")?;
        Some(Self { time: note.time, instance: note.instance.clone(), text })
    }
}

/// What else a decision hung on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Circumstances {
    pub(super) page: bool,
    pub(super) prefetch: bool,
    pub(super) first_request: bool,
    pub(super) pass: bool,
    pub(super) warm_up: bool,
    pub(super) valve: bool,
}

impl Circumstances {
    fn of(holds: impl Fn(&str) -> bool) -> Self {
        Self {
            page: holds("page"),
            prefetch: holds("prefetch"),
            first_request: holds("first_request"),
            pass: holds("pass"),
            warm_up: holds("warm_up"),
            valve: holds("safety_valve"),
        }
    }
}

/// What deckle's own log says about a decision.
#[derive(Debug)]
pub(super) struct OwnLine {
    pub(super) instance: Box<str>,
    /// The pseudonym is there: requests of one visitor are known as such.
    pub(super) is_known: bool,
    pub(super) category: Category,
    pub(super) name: Option<Arc<str>>,
    pub(super) verification: Verification,
    pub(super) route: RouteClass,
    pub(super) navigation: bool,
    pub(super) score: u8,
    pub(super) points: Points,
    pub(super) signals: Vec<Fired>,
    /// What was done, and what would have been; `None`: there was no decision.
    pub(super) action: Option<Action>,
    pub(super) would: Option<Action>,
    pub(super) rule: Box<str>,
    pub(super) observed: bool,
    /// Clamps of that time.
    pub(super) capped: bool,
    pub(super) circumstances: Circumstances,
    /// A quota has refused it.
    pub(super) is_over: bool,
    /// It was one of those that ask for no score.
    pub(super) is_hard: bool,
}

impl OwnLine {
    fn of(fields: &DeckleFields<'_>, evidence: &Evidence<'_>, row: &Row<'_>) -> Self {
        let is_clamped = |code: &str| evidence.clamps.iter().any(|clamp| clamp == code);
        let is_over = evidence.retry_after.is_some();
        let mut points = Points::default();
        for (group, number) in evidence.points.iter().filter_map(|text| pair(text)) {
            if let Some(group) = Group::ALL.into_iter().find(|known| known.code() == group) {
                *place(&mut points, group) = f32::from(number);
            }
        }
        let fired = |text: &str| {
            let (code, points) = pair(text)?;
            Some(Fired { signal: Signal::of_code(code)?, points })
        };
        let route = RouteClass::from_code(&evidence.route).unwrap_or(RouteClass::Other);
        // Before the log said so.
        let guessed = |code: &str| match code {
            "page" => row.kind.is_page() && !is_clamped("asset") && !is_clamped("route"),
            "prefetch" => false,
            code => is_clamped(code),
        };
        Self {
            instance: Box::from(&*fields.instance),
            is_known: !fields.visitor.is_empty(),
            category: row.category,
            name: fields.agent.as_deref().map(Arc::from),
            verification: Verification::from_code(&fields.verification).unwrap_or(Verification::None),
            route,
            navigation: evidence.navigation,
            score: fields.score.min(100),
            points,
            signals: fields.signals.iter().filter_map(|text| fired(text)).collect(),
            action: Action::from_code(&fields.action),
            would: fields.would_action.as_deref().and_then(Action::from_code),
            rule: Box::from(&*evidence.rule),
            observed: is_clamped("observe"),
            capped: is_clamped("max_action"),
            circumstances: match &evidence.circumstances {
                Some(told) => Circumstances::of(|code| told.iter().any(|known| known == code)),
                None => Circumstances::of(guessed),
            },
            is_over,
            is_hard: is_over && evidence.limit.as_deref().is_some_and(is_hard),
        }
    }

    /// Nobody got what was asked for.
    pub(super) fn was_refused(&self) -> bool {
        !self.observed && self.action.is_some_and(|action| refuses(action, self.is_over))
    }
}

/// Does this action refuse? A limit does where its quota is used up.
pub(super) fn refuses(action: Action, is_over: bool) -> bool {
    match action {
        Action::License | Action::Challenge | Action::Decoy | Action::Block => true,
        Action::Limit => is_over,
        _ => false,
    }
}

/// `code:points`.
fn pair(text: &str) -> Option<(&str, u8)> {
    let (code, points) = text.rsplit_once(':')?;
    Some((code, points.parse().ok()?))
}
