//! deckle's own log: what was observed of each request is taken as it stands, and decided anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::carry::{Carry, Priced};
use super::event::{Event, OwnLine, PolicyNote, refuses};
use super::foreign::{key_of, stand_in};
use super::rules::Rules;
use super::{Outcome, SimulateError, SimulatedPolicy};
use crate::action::{Action, Draft};
use crate::clock::{ManualClock, SharedClock};
use crate::suspicion::cells::CellKey;
use crate::suspicion::{Assessment, Fired, Signal, State, Widened, Width, cost_of_page};
use crate::visitor::{Agent, ClientAddress, Pass, RouteClass, Settings, Standing, Visitor};

/// Writers whose policies are known.
const WRITERS: usize = 64;
/// Policies that are in force somewhere at a time: the tables of each take some MiB.
const POLICIES: usize = 16;
/// Decided by one of the challenge's own addresses, which no policy changes.
const CHALLENGE: &str = "action.challenge";

/// Decides about lines of deckle's own log.
pub(super) struct Own {
    state: Arc<State>,
    clock: SharedClock,
    new: Rules,
    /// What was in force, by writer; `None`: it cannot be read.
    then: HashMap<String, Option<Arc<Rules>>>,
    /// The same by their texts: writers of one policy share it.
    policies: Vec<(String, Arc<Rules>)>,
    carry: Carry,
    blank: Visitor,
    changes: u64,
}

/// What a request would have come to.
struct Case {
    visitor: Visitor,
    assessment: Assessment,
    refused: bool,
}

impl Own {
    pub(super) fn new(
        state: &Arc<State>,
        clock: &Arc<ManualClock>,
        policy: &Arc<SimulatedPolicy>,
    ) -> Result<Self, SimulateError> {
        let clock: SharedClock = Arc::<ManualClock>::clone(clock);
        let (head, ()) = http::Request::new(()).into_parts();
        Ok(Self {
            state: Arc::clone(state),
            new: Rules::new(&clock, policy)?,
            clock,
            then: HashMap::new(),
            policies: Vec::new(),
            carry: Carry::default(),
            blank: Visitor::from_head(&head, &Settings::default(), Duration::ZERO)?,
            changes: 0,
        })
    }

    /// How often the log says under which policy it goes on.
    pub(super) fn changed_policies(&self) -> u64 {
        self.changes
    }

    /// Is it known what this writer's lines follow from?
    pub(super) fn knows(&self, writer: &str) -> bool {
        self.then.contains_key(writer)
    }

    /// From here on, this writer's lines follow from another policy.
    pub(super) fn follow(&mut self, note: &PolicyNote) {
        let rules = self.rules_of(&note.text);
        self.changes += u64::from(rules.is_some());
        if self.then.len() < WRITERS || self.then.contains_key(&note.instance) {
            self.then.insert(note.instance.clone(), rules);
        }
    }

    fn rules_of(&mut self, text: &str) -> Option<Arc<Rules>> {
        // Those that are in force nowhere any more.
        self.policies.retain(|(_, rules)| Arc::strong_count(rules) > 1);
        if let Some((_, rules)) = self.policies.iter().find(|(known, _)| known == text) {
            return Some(Arc::clone(rules));
        }
        if self.policies.len() >= POLICIES {
            return None;
        }
        let rules = Arc::new(Rules::of_log(&self.clock, text, &self.new.policy)?);
        self.policies.push((text.to_owned(), Arc::clone(&rules)));
        Some(rules)
    }

    /// `None`: nothing was decided about it.
    pub(super) fn decide(&mut self, event: &Event<'_>, line: &OwnLine) -> Option<Outcome> {
        let done = line.action.filter(|_| !line.rule.is_empty())?;
        let Self { state, new, then, carry, blank, .. } = self;
        let (new, old) = (&*new, then.get(&*line.instance).and_then(Option::as_deref));
        let current = as_carried_out(done, line, old.unwrap_or(new));
        let visitor = visitor_of(event, line, blank);
        let logged = as_logged(line, state, &visitor);
        let was = old.map(|old| {
            let assessment = weighed(&logged, old, None);
            old.draft(&visitor, &assessment, line.is_hard, line.circumstances)
        });
        let case = anew(event, (line, &logged), visitor, (old.unwrap_or(new), new), carry);
        let case = reclassed(case, event, old, new);
        let will = new.draft(&case.visitor, &case.assessment, case.refused, line.circumstances);
        let stands = &*line.rule == CHALLENGE
            || will.action == current
            || was.as_ref().map_or_else(|| may_follow(&will, line, current), |was| was.action == will.action);
        let simulated = if stands { current } else { will.action };
        let is_over = if stands {
            line.is_over
        } else {
            simulated == Action::Limit && (case.refused || is_used_up(new, &case.assessment))
        };
        let refused = refuses(simulated, is_over);
        Some(Outcome {
            current,
            simulated,
            saved: if refused && !line.was_refused() { event.bytes } else { 0 },
            rule: will.rule,
            is_own: true,
            is_unaddressed: !line.is_known,
            reproduced: was.is_some_and(|was| &*line.rule == CHALLENGE || leads_to(was.action, current)),
        })
    }
}

/// The trickle of action `limit`.
fn is_used_up(rules: &Rules, assessment: &Assessment) -> bool {
    rules.quotas.hard.trickle(assessment).is_some_and(|limit| limit.retry_after.is_some())
}

/// What was done; in mode `observe`, what would have been.
fn as_carried_out(done: Action, line: &OwnLine, rules: &Rules) -> Action {
    let Some(would) = line.would.filter(|_| line.observed) else { return done };
    // The log says it before the clamps of the moment.
    let mut action = rules.capped(would, line);
    if line.circumstances.warm_up {
        action = action.min(Action::Limit);
    }
    // Only what follows from the score.
    if line.circumstances.valve && &*line.rule == "suspicion.score.buckets" {
        action = action.min(Action::Tag);
    }
    action
}

/// May an action have ended like this, when it was carried out?
fn leads_to(drafted: Action, done: Action) -> bool {
    use Action::{Block, Challenge, Decoy, Limit, Slow, Tag};
    drafted == done
        || matches!((drafted, done), (Slow, Tag) | (Challenge, Tag | Limit) | (Limit, Challenge) | (Decoy, Block))
}

/// Where nobody knows the policy of that time: may the line follow from this one?
fn may_follow(will: &Draft, line: &OwnLine, current: Action) -> bool {
    let same_rule = line.is_hard || will.rule.to_string() == *line.rule;
    same_rule && leads_to(will.action, current)
}

fn visitor_of(event: &Event<'_>, line: &OwnLine, blank: &Visitor) -> Visitor {
    let address = ClientAddress { ip: line.is_known.then(|| stand_in(event.visitor)), ..ClientAddress::UNKNOWN };
    let issued = event.time.as_secs() as u32;
    Visitor {
        address,
        agent: Agent { category: line.category, name: line.name.clone() },
        verification: line.verification,
        route: line.route,
        navigation: line.navigation,
        standing: match &*line.rule {
            "visitor.allow" => Standing::Allowed,
            "visitor.deny" => Standing::Denied,
            _ => Standing::Ordinary,
        },
        // Only a fresh one matters, and it is known whether it was.
        pass: line.circumstances.pass.then_some(Pass { id: [0; 8], issued, expires: u32::MAX }),
        // As sent: hardly ever is there a question to it.
        path: event.path().into(),
        key: key_of(event.visitor),
        arrived: event.time,
        ..blank.clone()
    }
}

/// The judgment of that time.
fn as_logged(line: &OwnLine, state: &State, visitor: &Visitor) -> Assessment {
    let keys = state.keys(visitor);
    let client: Option<CellKey> = keys.map(|keys| keys.own);
    Assessment {
        score: line.score,
        points: line.points,
        signals: line.signals.as_slice().into(),
        first_request: line.circumstances.first_request,
        counts_as_page: line.circumstances.page,
        prefetched: line.circumstances.prefetch,
        vouched: line.circumstances.pass,
        // A visitor is who has the pseudonym; who else is at the address stands in no line.
        client,
        address: client,
        keys,
        ..Assessment::unknown()
    }
}

/// The same under some rules, priced anew or not.
fn weighed(logged: &Assessment, rules: &Rules, priced: Option<Priced>) -> Assessment {
    let mut of = logged.clone();
    if let Some(Priced { score, points, signals }) = priced {
        (of.score, of.points, of.signals) = (score, points, signals.into());
    }
    of.bucket = rules.weights.bucket(of.score);
    let challenges = rules.policy.suspicion.cohort.challenge;
    of.pressed = challenges && of.signals.iter().any(|fired| fired.signal == Signal::Cohort);
    of
}

/// What the new rules make of a line. What they have in common with the old ones stands.
fn anew(
    event: &Event<'_>,
    (line, logged): (&OwnLine, &Assessment),
    visitor: Visitor,
    (old, new): (&Rules, &Rules),
    carry: &mut Carry,
) -> Case {
    let priced = (!old.scores_as(new)).then(|| {
        let signals = pages_asked_anew(event, (line, logged), (old, new), carry);
        carry.price((event.visitor, event.time), line, &signals, (old, new))
    });
    let assessment = weighed(logged, new, priced);
    let refused = if old.refuses_as(new) {
        line.is_hard
    } else {
        let [was, will] = [old, new].map(|rules| rules.quotas.hard.refuses(&visitor, logged).is_some());
        if was == will { line.is_hard } else { will }
    };
    Case { visitor, assessment, refused }
}

/// The signals of a line, where the quotas of pages, or what pages cost, are others.
fn pages_asked_anew(
    event: &Event<'_>,
    (line, logged): (&OwnLine, &Assessment),
    (old, new): (&Rules, &Rules),
    carry: &Carry,
) -> Vec<Fired> {
    let mut fired = line.signals.clone();
    let Some(client) = logged.client.filter(|_| line.circumstances.page) else { return fired };
    let [before, after] = carry.get(event.visitor).map_or([0; 2], |carried| carried.scores);
    let is_over =
        |quota: &Widened, score| !matches!(quota.of(Width::One).check_key_n(&client, cost_of_page(score)), Ok(Ok(())));
    for ((signal, one), (_, other)) in old.quotas.soft.iter().zip(&new.quotas.soft) {
        let is_there = fired.iter().any(|fired| fired.signal == *signal);
        match (is_over(one, before), is_over(other, after)) {
            (false, true) if !is_there => fired.push(Fired { signal: *signal, points: old.weights.of(*signal) }),
            (true, false) => fired.retain(|fired| fired.signal != *signal),
            _ => {}
        }
    }
    fired
}

/// With the operator's lists and classes of paths, where these are others.
fn reclassed(mut case: Case, event: &Event<'_>, old: Option<&Rules>, new: &Rules) -> Case {
    let Some(old) = old else { return case };
    if !old.lists_as(new) {
        case.visitor.standing = new.standing(event.address(), &case.visitor.path);
    }
    let Some(method) = event.method.filter(|_| !old.routes_as(new)) else { return case };
    let [was, will] = [old, new].map(|rules| rules.facts.logged_path(method, event.path()));
    if was.route != will.route {
        (case.visitor.route, case.visitor.navigation) = (will.route, will.navigation);
        case.assessment.counts_as_page = will.route == RouteClass::Page;
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_of_many_writers_take_no_more_memory_than_they_may() {
        let (clock, policy) = (ManualClock::at(0), Arc::new(SimulatedPolicy::default()));
        let state = Arc::new(State::with_size(clock.clone(), policy.suspicion.state.size));
        let mut own = Own::new(&state, &clock, &policy).unwrap();
        let mut follow = |writer: usize, score: usize| {
            let text = format!("[suspicion.score.signals]\nclaim_library = {score}\n");
            own.follow(&PolicyNote { time: Duration::ZERO, instance: format!("w{writer}"), text });
            let known = own.then.get(&format!("w{writer}")).is_some_and(Option::is_some);
            (known, own.policies.len())
        };
        for writer in 0..WRITERS {
            assert_eq!(follow(writer, 10), (true, 1), "they share it");
        }
        for writer in 0..WRITERS {
            let (known, policies) = follow(writer, 11 + writer);
            assert_eq!((known, policies <= POLICIES), (writer < POLICIES - 1, true), "{writer}");
        }
    }
}
